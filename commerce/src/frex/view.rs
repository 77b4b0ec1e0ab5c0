//! What people and programs see of an order, its requests, the alerts and the runs (`spec/frex.md` 12). Never buyer data.

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Row as _};

use super::decide::OF_ORDER;
use super::error::FrexError;
use super::key::RequestType;
use super::model::{
    AuthorizeState, BillingState, CloseReason, Order, Pair, RegState, Request, RequestState,
    ResultState, StrState,
};
use super::{health, lease, tables};
use crate::clock::{parse_rfc3339, rfc3339};
use crate::store::Store;

/// Where an order stands, in one word.
#[must_use]
pub fn stage(pair: &Pair) -> &'static str {
    let Some(info) = &pair.info else {
        return if pair.order.state == StrState::Del {
            "cancelled"
        } else {
            "placed"
        };
    };
    if info.result == ResultState::Cancel {
        return if info.close_reason == Some(CloseReason::FrexNg) {
            "refused"
        } else {
            "cancelled"
        };
    }
    if pair.order.state == StrState::Del {
        return if info.delete_rejected {
            "attention"
        } else {
            "cancelling"
        };
    }
    let differs = info.billed_amount != pair.order.amount;
    match (info.reg, info.result, info.billing, info.authorize) {
        (RegState::Error, ..) | (_, _, BillingState::Error, _) => "attention",
        (_, ResultState::Order, ..) => "registering",
        (_, ResultState::Update, ..) => "changing",
        (_, ResultState::Billing, ..) => "billing",
        (_, ResultState::Delete, ..) => "cancelling",
        (_, _, BillingState::Complete, _) => "billed",
        _ if info.rejected_amount == Some(pair.order.amount) => "attention",
        _ if differs => "changing",
        (.., AuthorizeState::None) => "screening",
        (.., AuthorizeState::Delay) => "held",
        (.., AuthorizeState::Complete) => "approved",
        (.., AuthorizeState::Ng) => "refused",
    }
}

/// The label of a request for people: the words of the old column `Response`, derived from type and state. `faults` says how often our
/// own code failed on it: what ends by the agency's word has none.
#[must_use]
pub const fn label(
    kind: RequestType,
    state: RequestState,
    unclear: bool,
    faults: i64,
) -> &'static str {
    match (kind.is_mutation(), state) {
        (_, RequestState::Error) if unclear => "ended, outcome unknown",
        (_, RequestState::Error) if faults > 0 => "given up after our own failures",
        (true, RequestState::Standby) => "waiting to be sent",
        (true, RequestState::Sending) => "being sent",
        (true, RequestState::Unknown) => "outcome unknown",
        (true, RequestState::Complete) => "accepted",
        (false, RequestState::Standby) => "result requested",
        (false, RequestState::Complete) => "result received",
        (_, RequestState::Error) => "refused",
        (_, RequestState::Skipped) => "no longer needed",
        // A question is never marked: it may be asked again at will.
        (false, RequestState::Sending | RequestState::Unknown) => "being asked",
    }
}

fn time(ms: i64) -> Value {
    if ms == 0 {
        Value::Null
    } else {
        rfc3339(ms).into()
    }
}

/// A request, masked.
#[must_use]
pub fn request(row: &Request) -> Value {
    json!({
        "key": row.key.to_string(),
        "order_no": row.key.order_no,
        "type": row.kind().as_str(),
        "state": row.state.as_str(),
        "label": label(row.kind(), row.state, row.unclear, row.faults),
        "accept_no": row.accept_no,
        "amount": row.amount,
        "attempts": row.attempt_count,
        "unclear": row.unclear,
        "response": row.response,
        "last_error": row.last_error,
        "created_at": time(row.created_at),
        "sent_at": time(row.sent_at),
        "next_attempt_at": time(row.next_attempt_at),
        "done_at": time(row.done_at),
    })
}

/// An order with its requests and open alerts; none if there is no such order.
///
/// # Errors
/// The database's, or a broken row.
pub async fn order(store: &Store, order_no: &str) -> Result<Option<(Order, Value)>, FrexError> {
    let mut conn = store.pool().acquire().await?;
    let Some(pair) = tables::peek_pairs(&mut conn, &[order_no])
        .await?
        .remove(order_no)
    else {
        return Ok(None);
    };
    let requests = tables::requests_of(&mut conn, order_no).await?;
    drop(conn);
    let alerts = alerts(
        store,
        &AlertFilter {
            order_no: Some(order_no),
            ..AlertFilter::default()
        },
    )
    .await?;
    let (order, info) = (&pair.order, pair.info.as_ref());
    let view = json!({
        "order_no": order.order_no,
        "stage": stage(&pair),
        "strState": order.state.as_str(),
        "strOrderState": order.stage.as_str(),
        "strMoneyInput": order.money.as_str(),
        "strPayType": order.pay_type,
        "order_amount": order.amount,
        "agency_amount": info.map_or(0, |info| info.billed_amount),
        "np_transaction_id": info.map_or("", |info| info.np.as_str()),
        "reg_state": info.map(|info| info.reg.as_str()),
        "result_state": info.map(|info| info.result.as_str()),
        "authorize_state": info.map(|info| info.authorize.as_str()),
        "billing_state": info.map(|info| info.billing.as_str()),
        "rejected_amount": info.and_then(|info| info.rejected_amount),
        "delete_rejected": info.is_some_and(|info| info.delete_rejected),
        "close_reason": info.and_then(|info| info.close_reason).map(CloseReason::as_str),
        "version": order.version,
        "requests": requests.iter().map(request).collect::<Vec<_>>(),
        "alerts": alerts,
    });
    Ok(Some((pair.order, view)))
}

/// Which requests are wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestFilter<'a> {
    /// In this state.
    pub state: Option<RequestState>,
    /// Of this type.
    pub kind: Option<RequestType>,
    /// Of this order.
    pub order_no: Option<&'a str>,
    /// After this id.
    pub after: Option<&'a str>,
    /// At most so many.
    pub limit: i64,
}

/// Requests, oldest first, with their ids.
///
/// # Errors
/// The database's, or a broken row.
pub async fn requests(
    store: &Store,
    filter: RequestFilter<'_>,
) -> Result<Vec<(String, Value)>, FrexError> {
    // Only what is asked for is said, and words as words, so that the indexes of a state or an order are used.
    let mut sql = format!(
        "SELECT {} FROM frex_request r WHERE r.id > $1",
        Request::COLUMNS
    );
    if let Some(state) = filter.state {
        sql.push_str(&format!(" AND r.state = '{state}'"));
    }
    if let Some(kind) = filter.kind {
        sql.push_str(&format!(" AND r.type = '{kind}'"));
    }
    if filter.order_no.is_some() {
        sql.push_str(" AND r.order_no = $3");
    }
    sql.push_str(" ORDER BY r.id LIMIT $2");
    let mut query = sqlx::query(AssertSqlSafe(sql))
        .bind(filter.after.unwrap_or(""))
        .bind(filter.limit);
    if let Some(order_no) = filter.order_no {
        query = query.bind(order_no);
    }
    let rows = query.fetch_all(store.pool()).await?;
    let rows: Result<Vec<Request>, FrexError> = rows
        .iter()
        .map(|row| Request::read(row).map_err(Into::into))
        .collect();
    Ok(rows?
        .iter()
        .map(|row| (row.id.clone(), request(row)))
        .collect())
}

/// Which alerts are wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct AlertFilter<'a> {
    /// Of this order.
    pub order_no: Option<&'a str>,
    /// Resolved ones too.
    pub resolved: bool,
    /// After this id.
    pub after: Option<&'a str>,
    /// At most so many; 0 = 1,000.
    pub limit: i64,
}

/// Alerts, oldest first.
///
/// # Errors
/// The database's.
pub async fn alerts(store: &Store, filter: &AlertFilter<'_>) -> Result<Vec<Value>, FrexError> {
    let open = if filter.resolved {
        ""
    } else {
        "AND resolved_at = 0"
    };
    let of_order = if filter.order_no.is_some() {
        "AND order_no = $3"
    } else {
        ""
    };
    let sql = format!(
        "SELECT id, kind, severity, order_no, request_key, codes, detail, first_seen, last_seen, count, resolved_at, resolved_by \
         FROM frex_alert WHERE id > $1 {of_order} {open} ORDER BY id LIMIT $2"
    );
    let mut query = sqlx::query(AssertSqlSafe(sql))
        .bind(filter.after.unwrap_or(""))
        .bind(if filter.limit == 0 {
            1_000
        } else {
            filter.limit
        });
    if let Some(order_no) = filter.order_no {
        query = query.bind(order_no);
    }
    let rows = query.fetch_all(store.pool()).await?;
    let mut list = Vec::with_capacity(rows.len());
    for row in rows {
        let codes: String = row.try_get("codes")?;
        let text = |field: &str| row.try_get::<String, _>(field);
        let number = |field: &str| row.try_get::<i64, _>(field);
        list.push(json!({
            "id": text("id")?,
            "kind": text("kind")?,
            "severity": text("severity")?,
            "order_no": text("order_no")?,
            "request_key": text("request_key")?,
            "codes": serde_json::from_str::<Value>(&codes).unwrap_or_default(),
            "detail": text("detail")?,
            "first_seen": time(number("first_seen")?),
            "last_seen": time(number("last_seen")?),
            "count": number("count")?,
            "resolved_at": time(number("resolved_at")?),
            "resolved_by": text("resolved_by")?,
        }));
    }
    Ok(list)
}

/// Runs, newest first.
///
/// # Errors
/// The database's.
pub async fn runs(store: &Store, limit: i64) -> Result<Vec<Value>, FrexError> {
    runs_before(store, None, limit).await
}

/// Runs older than one, newest first.
///
/// # Errors
/// The database's.
pub async fn runs_before(
    store: &Store,
    run_id: Option<&str>,
    limit: i64,
) -> Result<Vec<Value>, FrexError> {
    let rows = sqlx::query(
        "SELECT id, owner, fence, cause, state, started_at, ended_at, report FROM frex_run \
         WHERE $1 = '' OR (started_at, id) < (SELECT b.started_at, b.id FROM frex_run b WHERE b.id = $1) \
         ORDER BY started_at DESC, id DESC LIMIT $2",
    )
    .bind(run_id.unwrap_or(""))
    .bind(limit)
    .fetch_all(store.pool())
    .await?;
    let mut list = Vec::with_capacity(rows.len());
    for row in rows {
        let report: String = row.try_get("report")?;
        list.push(json!({
            "run_id": row.try_get::<String, _>("id")?,
            "owner": row.try_get::<String, _>("owner")?,
            "fence": row.try_get::<i64, _>("fence")?,
            "cause": row.try_get::<String, _>("cause")?,
            "state": row.try_get::<String, _>("state")?,
            "started_at": time(row.try_get("started_at")?),
            "ended_at": time(row.try_get("ended_at")?),
            "report": serde_json::from_str::<Value>(&report).unwrap_or_default(),
        }));
    }
    Ok(list)
}

/// How the worker stands, over all processes.
///
/// # Errors
/// The database's.
pub async fn worker(store: &Store, now: i64) -> Result<Value, FrexError> {
    let lease = lease::view(store).await?;
    let running = lease.expires_at > now;
    Ok(json!({
        "paused": lease.paused_by.is_some(),
        "paused_by": lease.paused_by,
        "running": running,
        "owner": running.then_some(lease.owner),
        "fence": lease.fence,
        "next_run_at": time(lease.next_run_at),
        "last_success_at": time(health::last_success(store).await?),
    }))
}

/// One thing of an order's history: when, what, and the row's own order among those of the same time.
type Event = (i64, String, Value);

/// What happened to an order, oldest first: requests, answers, decisions and alerts. None if there is no such order.
///
/// # Errors
/// The database's, or a broken row.
pub async fn history(store: &Store, order_no: &str) -> Result<Option<Vec<Value>>, FrexError> {
    let mut conn = store.pool().acquire().await?;
    let found = tables::peek_pairs(&mut conn, &[order_no]).await?;
    let Some(pair) = found.get(order_no) else {
        return Ok(None);
    };
    let requests = tables::requests_of(&mut conn, order_no).await?;
    drop(conn);
    let placed = json!({"what": "placed", "amount_now": pair.order.amount});
    let mut events: Vec<Event> = vec![(pair.order.created_at, String::new(), placed)];
    for row in &requests {
        let key = row.key.to_string();
        let stages = [
            ("wanted", row.created_at),
            ("sent", row.sent_at),
            ("ended", row.done_at),
        ];
        for (what, at) in stages.into_iter().filter(|(_, at)| *at > 0) {
            let mut event = json!({"what": what, "request": key});
            if what == "ended" {
                event["state"] = row.state.as_str().into();
                event["accept_no"] = row.accept_no.as_str().into();
                event["error"] = row.last_error.as_str().into();
            }
            events.push((at, row.id.clone(), event));
        }
    }
    events.extend(answers(store, order_no).await?);
    events.extend(decisions(store, order_no).await?);
    let filter = AlertFilter {
        order_no: Some(order_no),
        resolved: true,
        ..AlertFilter::default()
    };
    for alert in alerts(store, &filter).await? {
        let at = alert["first_seen"].as_str().and_then(parse_rfc3339);
        let id = alert["id"].as_str().unwrap_or_default().to_owned();
        let event = json!({
            "what": "alert",
            "kind": alert["kind"],
            "severity": alert["severity"],
            "detail": alert["detail"],
            "count": alert["count"],
            "resolved_by": alert["resolved_by"],
        });
        events.push((at.unwrap_or_default(), id, event));
    }
    // What happened in one millisecond stays as it was written; times of alerts are whole seconds.
    events.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    let events = events.into_iter().map(|(at, _, mut event)| {
        event["at"] = time(at);
        event
    });
    Ok(Some(events.collect()))
}

async fn answers(store: &Store, order_no: &str) -> Result<Vec<Event>, FrexError> {
    let rows = sqlx::query(
        "SELECT d.id, d.request_key, d.np_transaction_id, d.authori_result, d.authori_word, d.codes, d.received_at \
         FROM frex_response_detail d JOIN frex_request r ON r.request_key = d.request_key WHERE r.order_no = $1",
    )
    .bind(order_no)
    .fetch_all(store.pool())
    .await?;
    let event = |row: &sqlx::any::AnyRow| {
        let codes: String = row.try_get("codes")?;
        let event = json!({
            "what": "answered",
            "request": row.try_get::<String, _>("request_key")?,
            "np_transaction_id": row.try_get::<String, _>("np_transaction_id")?,
            "screening": row.try_get::<String, _>("authori_word")?,
            "authori_result": row.try_get::<String, _>("authori_result")?,
            "codes": serde_json::from_str::<Value>(&codes).unwrap_or_default(),
        });
        Ok((row.try_get("received_at")?, row.try_get("id")?, event))
    };
    rows.iter().map(event).collect()
}

/// Decisions of people that belong to the order's history.
async fn decisions(store: &Store, order_no: &str) -> Result<Vec<Event>, FrexError> {
    let sql = format!(
        "SELECT d.id, d.subject, d.action, d.operator, d.note, d.state, d.decided_at FROM frex_decision d WHERE {OF_ORDER}"
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(order_no)
        .fetch_all(store.pool())
        .await?;
    let event = |row: &sqlx::any::AnyRow| {
        let text = |field: &str| row.try_get::<String, _>(field);
        let event = json!({
            "what": "decided",
            "subject": text("subject")?,
            "action": text("action")?,
            "operator": text("operator")?,
            "note": text("note")?,
            "state": text("state")?,
        });
        Ok((row.try_get("decided_at")?, row.try_get("id")?, event))
    };
    rows.iter().map(event).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "Refused" is the agency's word: what ended unclear, or by our own failures, is called so.
    #[test]
    fn an_end_is_called_what_it_is() {
        let label = |unclear, faults| {
            super::label(
                RequestType::BillingReg,
                RequestState::Error,
                unclear,
                faults,
            )
        };
        assert_eq!(label(false, 0), "refused");
        assert_eq!(label(true, 0), "ended, outcome unknown");
        assert_eq!(label(true, 5), "ended, outcome unknown");
        assert_eq!(label(false, 5), "given up after our own failures");
    }
}
