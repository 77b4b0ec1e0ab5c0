//! What happened to one order, oldest first: its own marks, requests and the agency's answers, alerts, decisions.

use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AssertSqlSafe, Row as _};

use super::words;
use crate::frex::alert::AlertKind;
use crate::frex::decide::OF_ORDER;
use crate::frex::error::FrexError;
use crate::frex::key::RequestType;
use crate::frex::model::{Pair, RequestState};
use crate::frex::view::label;
use crate::pages::admin::timeline::Moment;
use crate::pages::look::Tone;
use crate::store::Store;

/// Rows of each kind that are read at most.
const ROWS_MAX: i64 = 500;

/// The moments of an order.
///
/// # Errors
/// The database's.
pub async fn read(store: &Store, pair: &Pair) -> Result<Vec<Moment>, FrexError> {
    let number = pair.order.order_no.as_str();
    let mut moments = marks(pair);
    for (sql, read) in SOURCES {
        for row in &rows(store, sqlx::query(*sql), number).await? {
            moments.extend(read(row)?);
        }
    }
    let sql = format!("{DECISIONS} WHERE {OF_ORDER} ORDER BY d.id LIMIT $2");
    for row in &rows(store, sqlx::query(AssertSqlSafe(sql)), number).await? {
        moments.extend(decisions(row)?);
    }
    // Stable: what happened in one millisecond stays in the order of the sources.
    moments.sort_by_key(|moment| moment.at_ms);
    Ok(moments)
}

async fn rows<'q>(
    store: &Store,
    query: Query<'q, Any, AnyArguments>,
    number: &'q str,
) -> Result<Vec<AnyRow>, FrexError> {
    let rows = query.bind(number).bind(ROWS_MAX);
    Ok(rows.fetch_all(store.pool()).await?)
}

/// A statement by order number and limit, and what a row of it tells.
type Source = (
    &'static str,
    fn(&AnyRow) -> Result<Vec<Moment>, sqlx::Error>,
);

const SOURCES: &[Source] = &[
    (
        "SELECT type, state, accept_no, attempt_count, unclear, faults, last_error, created_at, sent_at, done_at FROM frex_request \
         WHERE order_no = $1 ORDER BY id LIMIT $2",
        requests,
    ),
    (
        "SELECT d.request_type, d.accept_no, d.authori_word, d.codes, d.received_at FROM frex_response_detail d \
         JOIN frex_request r ON r.request_key = d.request_key WHERE r.order_no = $1 ORDER BY d.id LIMIT $2",
        answers,
    ),
    (
        "SELECT a.kind, a.detail, a.first_seen, a.resolved_at, COALESCE(k.label, a.resolved_by) AS resolved_by FROM frex_alert a \
         LEFT JOIN api_keys k ON k.id = a.resolved_by WHERE a.order_no = $1 ORDER BY a.id LIMIT $2",
        alerts,
    ),
];

/// Decisions, each with the name of its operator's key.
const DECISIONS: &str = "SELECT d.subject, d.action, COALESCE(k.label, d.operator) AS operator, d.note, d.state, d.decided_at \
    FROM frex_decision d LEFT JOIN api_keys k ON k.id = d.operator";

fn moment(
    at_ms: i64,
    tone: Tone,
    what: impl Into<String>,
    who: &str,
    detail: impl Into<String>,
) -> Moment {
    Moment {
        at_ms,
        tone,
        what: what.into(),
        who: who.to_owned(),
        detail: detail.into(),
    }
}

fn marks(pair: &Pair) -> Vec<Moment> {
    let mut moments = vec![moment(
        pair.order.created_at,
        Tone::Calm,
        "Order placed",
        "shop",
        "",
    )];
    let info = pair.info.as_ref();
    let closed = info
        .and_then(|info| info.close_reason)
        .map_or("", |reason| reason.as_str());
    let marks = [
        (
            pair.order.order_end_at,
            Tone::Good,
            "Delivery marked by the shop",
            "",
        ),
        (
            info.map_or(0, |info| info.reg_at),
            Tone::Good,
            "Registered with the agency",
            "",
        ),
        (
            info.map_or(0, |info| info.authorized_at),
            Tone::Good,
            "Approved by screening",
            "",
        ),
        (
            info.map_or(0, |info| info.billed_at),
            Tone::Good,
            "Billed",
            "",
        ),
        (
            info.map_or(0, |info| info.closed_at),
            Tone::Calm,
            "Closed",
            closed,
        ),
    ];
    for (at_ms, tone, what, detail) in marks {
        if at_ms != 0 {
            moments.push(moment(at_ms, tone, what, "", detail));
        }
    }
    moments
}

fn requests(row: &AnyRow) -> Result<Vec<Moment>, sqlx::Error> {
    let (kind, state): (String, String) = (row.try_get("type")?, row.try_get("state")?);
    let name = words::request(&kind);
    let known = RequestType::from_name(&kind).zip(RequestState::from_word(&state));
    let (unclear, faults): (i64, i64) = (row.try_get("unclear")?, row.try_get("faults")?);
    let now = known.map_or("ended", |(kind, state)| {
        label(kind, state, unclear != 0, faults)
    });
    let (accept_no, error): (String, String) =
        (row.try_get("accept_no")?, row.try_get("last_error")?);
    let sends: i64 = row.try_get("attempt_count")?;
    let mut moments = vec![moment(
        row.try_get("created_at")?,
        Tone::Calm,
        format!("{name}: written down"),
        "worker",
        "",
    )];
    let sent_at: i64 = row.try_get("sent_at")?;
    if sent_at != 0 {
        let detail = if sends > 1 {
            format!("sent {sends} times, last at this time")
        } else {
            String::new()
        };
        moments.push(moment(
            sent_at,
            Tone::Busy,
            format!("{name}: sent"),
            "worker",
            detail,
        ));
    }
    let done_at: i64 = row.try_get("done_at")?;
    if done_at != 0 {
        let tone = if state == "ERROR" {
            Tone::Bad
        } else {
            Tone::Good
        };
        let detail = [accept_no, error].join(" ").trim().to_owned();
        moments.push(moment(
            done_at,
            tone,
            format!("{name}: {now}"),
            "worker",
            detail,
        ));
    }
    Ok(moments)
}

fn answers(row: &AnyRow) -> Result<Vec<Moment>, sqlx::Error> {
    let text = |column: &str| row.try_get::<String, _>(column);
    let kind = text("request_type")?;
    let name = words::request(&kind);
    let codes: Vec<String> = serde_json::from_str(&text("codes")?).unwrap_or_default();
    let parts = [
        text("accept_no")?,
        text("authori_word")?.replace('_', " "),
        codes.join(", "),
    ];
    let parts: Vec<&str> = parts
        .iter()
        .map(String::as_str)
        .filter(|part| !part.is_empty())
        .collect();
    let what = format!("{name}: the agency answered");
    Ok(vec![moment(
        row.try_get("received_at")?,
        Tone::Calm,
        what,
        "agency",
        parts.join(" · "),
    )])
}

fn alerts(row: &AnyRow) -> Result<Vec<Moment>, sqlx::Error> {
    let text = |column: &str| row.try_get::<String, _>(column);
    let kind = text("kind")?;
    let name =
        AlertKind::from_word(&kind).map_or(kind.clone(), |kind| kind.as_str().replace('_', " "));
    let mut moments = vec![moment(
        row.try_get("first_seen")?,
        Tone::Bad,
        format!("Alert: {name}"),
        "",
        text("detail")?,
    )];
    let resolved_at: i64 = row.try_get("resolved_at")?;
    if resolved_at != 0 {
        let by = text("resolved_by")?;
        moments.push(moment(
            resolved_at,
            Tone::Good,
            format!("Alert resolved: {name}"),
            &by,
            "",
        ));
    }
    Ok(moments)
}

fn decisions(row: &AnyRow) -> Result<Vec<Moment>, sqlx::Error> {
    let text = |column: &str| row.try_get::<String, _>(column);
    let (action, state) = (text("action")?.replace('_', " "), text("state")?);
    let what = match state.as_str() {
        "PROPOSED" | "SECONDED" => format!("Proposed: {action}"),
        _ => format!("Decided: {action}"),
    };
    let detail = format!("{}: {}", text("subject")?, text("note")?);
    Ok(vec![moment(
        row.try_get("decided_at")?,
        Tone::Busy,
        what,
        &text("operator")?,
        detail,
    )])
}
