//! What operators see and decide about deferred payment.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Desk, Once, wire};
use crate::atom::flow::Reply;
use crate::frex::decide::{self, DecideError, Decided, Decider, OrderAction, RequestAction};
use crate::frex::key::RequestType;
use crate::frex::model::RequestState;
use crate::frex::shop::Shop;
use crate::frex::view::{self, AlertFilter, RequestFilter};
use crate::http::App;
use crate::http::body::{Json, Path, Query};
use crate::http::problem::Problem;
use crate::http::reply::{Answer, IdempotencyKey, caller};

/// Entries of a page that names no limit.
const LIMIT_DEFAULT: i64 = 50;
/// Entries of a page at most.
const LIMIT_MAX: i64 = 200;
/// Characters of an order's number, and of a cursor.
const ORDER_NO_MAX: usize = 40;
const CURSOR_MAX: usize = 200;

/// Which steps a run by hand makes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    #[serde(default)]
    steps: Vec<String>,
}

/// The query of the list of requests.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestQuery {
    state: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    order_no: Option<String>,
    limit: Option<i64>,
    cursor: Option<String>,
}

/// The query of the list of alerts.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertQuery {
    #[serde(default)]
    resolved: bool,
    order_no: Option<String>,
    limit: Option<i64>,
    cursor: Option<String>,
}

/// The query of the list of runs.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    limit: Option<i64>,
    cursor: Option<String>,
}

/// A decision about a request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestDecision {
    action: String,
    #[serde(rename = "acceptNo")]
    accept_no: Option<String>,
    #[serde(default)]
    note: String,
}

/// A decision about an order.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OrderDecision {
    action: String,
    #[serde(default)]
    note: String,
}

/// Whether a company may use the method.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Joiner {
    use_frex: bool,
}

/// `POST /v1/admin/frex/batch`
pub async fn batch(State(app): State<App>, desk: Desk, body: Json) -> Result<Response, Problem> {
    let batch: Batch = wire::body(body.or_empty())?;
    let worker = desk.frex.worker.clone();
    let begun = worker.begin(&desk.principal.key_id, &batch.steps).await?;
    let answer = json!({"run_id": begun.run_id()});
    // At a stop the process waits for it as for a request.
    let busy = app.busy.clone().read_owned().await;
    tokio::spawn(async move {
        // The run has told its failure in log, report and alert.
        let _ = worker.go(begun).await;
        drop(busy);
    });
    Ok((StatusCode::ACCEPTED, axum::Json(answer)).into_response())
}

/// `GET /v1/admin/frex/requests`
pub async fn requests(desk: Desk, Query(query): Query<RequestQuery>) -> Result<Answer, Problem> {
    let limit = limit(query.limit)?;
    let filter = RequestFilter {
        state: word("state", query.state.as_deref(), RequestState::from_word)?,
        kind: word("type", query.kind.as_deref(), RequestType::from_name)?,
        order_no: plain("order_no", ORDER_NO_MAX, query.order_no.as_deref())?,
        after: plain("cursor", CURSOR_MAX, query.cursor.as_deref())?,
        limit: limit + 1,
    };
    let rows = view::requests(&desk.frex.shop.store, filter).await?;
    let rows = rows.into_iter().map(|(id, row)| (row, Some(id))).collect();
    Ok(page(rows, limit))
}

/// `GET /v1/admin/frex/alerts`
pub async fn alerts(desk: Desk, Query(query): Query<AlertQuery>) -> Result<Answer, Problem> {
    let limit = limit(query.limit)?;
    let filter = AlertFilter {
        order_no: plain("order_no", ORDER_NO_MAX, query.order_no.as_deref())?,
        resolved: query.resolved,
        after: plain("cursor", CURSOR_MAX, query.cursor.as_deref())?,
        limit: limit + 1,
    };
    let rows = view::alerts(&desk.frex.shop.store, &filter).await?;
    Ok(page(named(rows, "id"), limit))
}

/// `GET /v1/admin/frex/runs`
pub async fn runs(desk: Desk, Query(query): Query<PageQuery>) -> Result<Answer, Problem> {
    let limit = limit(query.limit)?;
    let store = &desk.frex.shop.store;
    let after = plain("cursor", CURSOR_MAX, query.cursor.as_deref())?;
    let rows = view::runs_before(store, after, limit + 1).await?;
    Ok(page(named(rows, "run_id"), limit))
}

/// `GET /v1/admin/frex/orders/{order_no}/history`
pub async fn history(desk: Desk, Path(order_no): Path) -> Result<Answer, Problem> {
    let store = &desk.frex.shop.store;
    let found = view::history(store, &order_no).await?;
    let items = found.ok_or_else(|| Problem::not_found(format!("There is no order {order_no}")))?;
    Ok(Reply::new(200, json!({"order_no": order_no, "items": items})).into())
}

/// `GET /v1/admin/frex/worker`
pub async fn worker(desk: Desk) -> Result<Answer, Problem> {
    state(&desk).await
}

/// `POST /v1/admin/frex/pause`
pub async fn pause(desk: Desk) -> Result<Answer, Problem> {
    set_paused(&desk, true).await
}

/// `POST /v1/admin/frex/resume`
pub async fn resume(desk: Desk) -> Result<Answer, Problem> {
    set_paused(&desk, false).await
}

async fn set_paused(desk: &Desk, paused: bool) -> Result<Answer, Problem> {
    let by = Decider::without_note(&desk.principal.key_id);
    desk.frex.shop.set_paused(paused, by).await?;
    state(desk).await
}

async fn state(desk: &Desk) -> Result<Answer, Problem> {
    let now = desk.frex.shop.clock.now_ms();
    let body = view::worker(&desk.frex.shop.store, now).await?;
    Ok(Reply::new(200, body).into())
}

/// `POST /v1/admin/frex/requests/{request_key}/resolve`
pub async fn resolve_request(
    State(app): State<App>,
    desk: Desk,
    Path(subject): Path,
    key: IdempotencyKey,
    body: Json,
) -> Result<Answer, Problem> {
    let wanted: RequestDecision = wire::body(&body.0)?;
    let action = word("action", Some(&wanted.action), RequestAction::from_word)?;
    let action = action.ok_or_else(|| Problem::invalid("action", "is missing"))?;
    let note = checked(&wanted.note)?;
    let (who, operator) = (caller(&desk.principal), desk.principal.key_id.as_str());
    let by = Decider { operator, note };
    let route = format!("/v1/admin/frex/requests/{subject}/resolve");
    let shop = &desk.frex.shop;
    let once = Once::new(&app, &who, route, &key, &body.0);
    let reply = once
        .done(|again| async move {
            let accept_no = wanted.accept_no.as_deref();
            let decided = shop.resolve_request(&subject, action, accept_no, by).await;
            decision(shop, &subject, action.as_str(), by, again, decided).await
        })
        .await?;
    Ok(reply.into())
}

/// `POST /v1/admin/frex/orders/{order_no}/resolve`
pub async fn resolve_order(
    State(app): State<App>,
    desk: Desk,
    Path(subject): Path,
    key: IdempotencyKey,
    body: Json,
) -> Result<Answer, Problem> {
    let wanted: OrderDecision = wire::body(&body.0)?;
    let action = word("action", Some(&wanted.action), OrderAction::from_word)?;
    let action = action.ok_or_else(|| Problem::invalid("action", "is missing"))?;
    let note = checked(&wanted.note)?;
    let (who, operator) = (caller(&desk.principal), desk.principal.key_id.as_str());
    let by = Decider { operator, note };
    let route = format!("/v1/admin/frex/orders/{subject}/resolve");
    let shop = &desk.frex.shop;
    let once = Once::new(&app, &who, route, &key, &body.0);
    let reply = once
        .done(|again| async move {
            let decided = shop.resolve_order(&subject, action, by).await;
            decision(shop, &subject, action.as_str(), by, again, decided).await
        })
        .await?;
    Ok(reply.into())
}

/// The answer to a decision. A request that was begun before and finds its decision made is answered as it would have been.
async fn decision(
    shop: &Shop,
    subject: &str,
    action: &'static str,
    by: Decider<'_>,
    again: bool,
    decided: Result<Decided, DecideError>,
) -> Result<Reply, Problem> {
    let decided = match decided {
        Err(DecideError::NotFitting { .. })
            if again && shop.decided(subject, action, by).await? =>
        {
            Decided::Done
        }
        other => other?,
    };
    let (status, state) = match decided {
        Decided::Done => (StatusCode::OK, "done"),
        Decided::NeedsSecond => (StatusCode::ACCEPTED, "needs_second_operator"),
    };
    let body = json!({"subject": subject, "action": action, "state": state});
    Ok(Reply::new(status.as_u16(), body))
}

/// `POST /v1/admin/frex/alerts/{alert_id}/resolve`
pub async fn resolve_alert(desk: Desk, Path(alert_id): Path) -> Result<Answer, Problem> {
    let by = Decider::without_note(&desk.principal.key_id);
    if !desk.frex.shop.resolve_alert(&alert_id, by).await? {
        return Err(Problem::not_found("There is no open alert of this id"));
    }
    Ok(Reply::new(200, json!({"id": alert_id, "state": "resolved"})).into())
}

/// `PUT /v1/admin/frex/joiners/{joiner_id}`
pub async fn joiner(desk: Desk, Path(joiner_id): Path, body: Json) -> Result<Answer, Problem> {
    let wanted: Joiner = wire::body(body.or_empty())?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !(1..=64).contains(&joiner_id.len()) || !joiner_id.chars().all(plain) {
        return Err(Problem::invalid(
            "joiner_id",
            "must be 1 to 64 letters, digits, '-', '_' or '.'",
        ));
    }
    let by = Decider::without_note(&desk.principal.key_id);
    desk.frex
        .shop
        .set_joiner(&joiner_id, wanted.use_frex, by)
        .await?;
    let body = json!({"joiner_id": joiner_id, "use_frex": wanted.use_frex});
    Ok(Reply::new(200, body).into())
}

fn checked(note: &str) -> Result<&str, Problem> {
    decide::is_note(note)
        .then_some(note)
        .ok_or_else(|| Problem::invalid("note", "must be one line of at most 500 characters"))
}

fn word<T>(
    field: &str,
    given: Option<&str>,
    read: fn(&str) -> Option<T>,
) -> Result<Option<T>, Problem> {
    given
        .map(|text| {
            read(text).ok_or_else(|| {
                Problem::invalid(field, "is none of the words that /openapi.json lists")
            })
        })
        .transpose()
}

fn limit(given: Option<i64>) -> Result<i64, Problem> {
    match given {
        None => Ok(LIMIT_DEFAULT),
        Some(limit) if (1..=LIMIT_MAX).contains(&limit) => Ok(limit),
        Some(_) => Err(Problem::invalid(
            "limit",
            format!("must be from 1 to {LIMIT_MAX}"),
        )),
    }
}

/// A text that can only be letters, digits, hyphens and underscores.
fn plain<'a>(field: &str, max: usize, given: Option<&'a str>) -> Result<Option<&'a str>, Problem> {
    let is_plain = |text: &str| {
        let fits = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_');
        (1..=max).contains(&text.len()) && text.bytes().all(fits)
    };
    match given {
        Some(text) if !is_plain(text) => Err(Problem::invalid(
            field,
            format!("must be 1 to {max} of A-Z a-z 0-9 - _"),
        )),
        _ => Ok(given),
    }
}

/// Rows with the cursors that stand in them.
fn named(rows: Vec<Value>, member: &str) -> Vec<(Value, Option<String>)> {
    rows.into_iter()
        .map(|row| {
            let cursor = row[member].as_str().map(str::to_owned);
            (row, cursor)
        })
        .collect()
}

/// A page of rows of which one more than wanted was read.
fn page(mut rows: Vec<(Value, Option<String>)>, limit: i64) -> Answer {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().and_then(|(_, cursor)| cursor.clone());
    let items: Vec<Value> = rows.into_iter().map(|(row, _)| row).collect();
    let body = json!({"items": items, "next_cursor": next.filter(|_| more)});
    Reply::new(200, body).into()
}
