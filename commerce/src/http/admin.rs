//! What operators see and decide.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::App;
use super::auth::Operator;
use super::body::{Json, Path, Query};
use super::problem::Problem;
use super::reply::{Answer, IdempotencyKey, caller};
use crate::atom::flow::OrderFilter;
use crate::atom::flow::issues::IssueFilter;

/// Characters of what orders are filtered by.
const HOLD_MAX: usize = 64;
const MERCH_TXN_ID_MAX: usize = 32;
const ATOM_TXN_ID_MAX: usize = 20;
/// Entries of a page that names no limit.
const LIMIT_DEFAULT: i64 = 50;

/// Entries of a page at most.
const LIMIT_MAX: i64 = 200;

/// The query of the list of orders.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderQuery {
    status: Option<String>,
    refund_state: Option<String>,
    hold: Option<String>,
    from: Option<String>,
    to: Option<String>,
    merch_txn_id: Option<String>,
    atom_txn_id: Option<String>,
    merchant_id: Option<String>,
    limit: Option<i64>,
    cursor: Option<String>,
}

/// The query of the list of issues.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssueQuery {
    kind: Option<String>,
    state: Option<IssueState>,
    order_id: Option<String>,
    limit: Option<i64>,
    cursor: Option<String>,
}

/// Which issues are asked for.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum IssueState {
    Open,
    Closed,
    All,
}

/// `GET /v1/admin/orders`
pub async fn orders(
    State(app): State<App>,
    _: Operator,
    Query(query): Query<OrderQuery>,
) -> Result<Answer, Problem> {
    let filter = OrderFilter {
        status: query.status,
        refund_state: query.refund_state,
        hold: made_of("hold", HOLD_MAX, query.hold, |it| {
            it.is_ascii_lowercase() || it == b'_'
        })?,
        from: instant("from", query.from.as_deref())?,
        to: instant("to", query.to.as_deref())?,
        merch_txn_id: made_of("merch_txn_id", MERCH_TXN_ID_MAX, query.merch_txn_id, |it| {
            it.is_ascii_uppercase() || it.is_ascii_digit()
        })?,
        atom_txn_id: made_of("atom_txn_id", ATOM_TXN_ID_MAX, query.atom_txn_id, |it| {
            it.is_ascii_digit()
        })?,
        merchant_id: query.merchant_id,
        limit: limit(query.limit)?,
        cursor: query.cursor,
    };
    Ok(app.flow.list_orders(&filter).await?.into())
}

/// `GET /v1/admin/orders/{order_id}`
pub async fn order(
    State(app): State<App>,
    _: Operator,
    Path(id): Path,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let reply = app.flow.order_view(None, &id).await?;
    Ok(Answer::from(reply).unless_known(&headers))
}

/// `POST /v1/admin/orders/{order_id}/requery`
pub async fn requery(
    State(app): State<App>,
    _: Operator,
    Path(id): Path,
) -> Result<Answer, Problem> {
    Ok(app.flow.requery_now(&id).await?.into())
}

/// `GET /v1/admin/issues`
pub async fn issues(
    State(app): State<App>,
    _: Operator,
    Query(query): Query<IssueQuery>,
) -> Result<Answer, Problem> {
    let filter = IssueFilter {
        kind: query.kind,
        open: match query.state.unwrap_or(IssueState::Open) {
            IssueState::Open => Some(true),
            IssueState::Closed => Some(false),
            IssueState::All => None,
        },
        order_id: query.order_id,
        limit: limit(query.limit)?,
        cursor: query.cursor,
    };
    Ok(app.flow.issues(&filter).await?.into())
}

/// `POST /v1/admin/issues/{issue_id}/resolve`
pub async fn resolve_issue(
    State(app): State<App>,
    Operator(who): Operator,
    Path(id): Path,
    key: IdempotencyKey,
    body: Json,
) -> Result<Answer, Problem> {
    let reply = app
        .flow
        .resolve_issue(&caller(&who), &id, key.text(), &body.0)
        .await?;
    Ok(reply.into())
}

/// `POST /v1/admin/refunds/{refund_id}/resolve`
pub async fn resolve_refund(
    State(app): State<App>,
    Operator(who): Operator,
    Path(id): Path,
    key: IdempotencyKey,
    body: Json,
) -> Result<Answer, Problem> {
    let reply = app
        .flow
        .resolve_refund(&caller(&who), &id, key.text(), &body.0)
        .await?;
    Ok(reply.into())
}

/// A filter by a word that can only be made of such characters.
fn made_of(
    field: &str,
    max: usize,
    given: Option<String>,
    fits: fn(u8) -> bool,
) -> Result<Option<String>, Problem> {
    match given {
        Some(word) if word.is_empty() || word.len() > max || !word.bytes().all(fits) => {
            Err(Problem::invalid(field, "is no value of this kind"))
        }
        _ => Ok(given),
    }
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

/// A time of a query in ms.
fn instant(field: &str, given: Option<&str>) -> Result<Option<i64>, Problem> {
    let Some(text) = given else { return Ok(None) };
    let at = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| {
        Problem::invalid(
            field,
            "must be an RFC 3339 time such as 2025-01-15T05:00:00Z",
        )
    })?;
    let ms = at.unix_timestamp_nanos() / 1_000_000;
    Ok(Some(i64::try_from(ms).unwrap_or(i64::MAX)))
}
