//! What the pages read from the tables beyond `frex::view`: a page of orders, what waits for a second operator, answers.

use sqlx::Row as _;

use crate::frex::error::FrexError;
use crate::frex::model::Pair;
use crate::frex::tables;
use crate::frex::view;
use crate::store::Store;

/// Orders on a page of the list.
pub const PAGE_ROWS: usize = 50;

/// Which orders are wanted.
#[derive(Clone, Copy, Default, Debug)]
pub struct Wanted<'a> {
    /// Begins with this number.
    pub number: &'a str,
    /// One of [`SHOWN`]; anything else is all.
    pub only: &'a str,
    /// Older than this order.
    pub before: &'a str,
}

/// The choices of the filter: word, label, and the condition on `frex_order o`.
pub const SHOWN: &[(&str, &str, &str)] = &[
    ("", "all orders", ""),
    (
        "alerts",
        "with open alerts",
        "AND EXISTS (SELECT 1 FROM frex_alert a WHERE a.order_no = o.order_no AND a.resolved_at = 0)",
    ),
    (
        "unknown",
        "with a request whose outcome is unknown",
        "AND EXISTS (SELECT 1 FROM frex_request r WHERE r.order_no = o.order_no AND r.state = 'UNKNOWN')",
    ),
    (
        "open",
        "not billed, cancelled or refused",
        "AND NOT EXISTS (SELECT 1 FROM frex_state_info s WHERE s.order_no = o.order_no \
         AND (s.result_state = 'CANCEL' OR s.billing_state = 'COMPLETE'))",
    ),
];

/// One order of the list.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The order and its state.
    pub pair: Pair,
    /// Its stage, in a word.
    pub stage: &'static str,
    /// Its open alerts.
    pub alerts: i64,
}

/// A page of orders, newest first, and the number after which the next one begins.
///
/// # Errors
/// The database's, or a broken row.
pub async fn orders(
    store: &Store,
    wanted: Wanted<'_>,
) -> Result<(Vec<Listed>, Option<String>), FrexError> {
    let condition = SHOWN
        .iter()
        .find(|(word, ..)| *word == wanted.only)
        .map_or("", |(.., sql)| *sql);
    let sql = format!(
        "SELECT o.order_no, (SELECT COUNT(*) FROM frex_alert a WHERE a.order_no = o.order_no AND a.resolved_at = 0) AS alerts \
         FROM frex_order o WHERE ($1 = '' OR substr(o.order_no, 1, length(CAST($1 AS TEXT))) = $1) \
         AND ($2 = '' OR (o.created_at, o.order_no) < (SELECT b.created_at, b.order_no FROM frex_order b WHERE b.order_no = $2)) \
         {condition} ORDER BY o.created_at DESC, o.order_no DESC LIMIT $3"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(wanted.number)
        .bind(wanted.before)
        .bind(PAGE_ROWS as i64 + 1)
        .fetch_all(store.pool())
        .await?;
    let mut found = Vec::with_capacity(rows.len());
    for row in &rows {
        found.push((
            row.try_get::<String, _>("order_no")?,
            row.try_get::<i64, _>("alerts")?,
        ));
    }
    let more = found.len() > PAGE_ROWS;
    found.truncate(PAGE_ROWS);
    let next = found
        .last()
        .filter(|_| more)
        .map(|(number, _)| number.clone());
    let numbers: Vec<&str> = found.iter().map(|(number, _)| number.as_str()).collect();
    let mut conn = store.pool().acquire().await?;
    let mut pairs = tables::peek_pairs(&mut conn, &numbers).await?;
    let listed = found.into_iter().filter_map(|(number, alerts)| {
        let pair = pairs.remove(&number)?;
        let stage = view::stage(&pair);
        Some(Listed {
            pair,
            stage,
            alerts,
        })
    });
    Ok((listed.collect(), next))
}

/// An order with its state; none if there is no such order.
///
/// # Errors
/// The database's, or a broken row.
pub async fn pair(store: &Store, order_no: &str) -> Result<Option<Pair>, FrexError> {
    let mut conn = store.pool().acquire().await?;
    Ok(tables::peek_pairs(&mut conn, &[order_no])
        .await?
        .remove(order_no))
}

/// What a first operator said about a request and a second one must say too.
#[derive(Clone, Debug)]
pub struct Proposed {
    /// The request's key.
    pub key: String,
    /// The decision.
    pub action: String,
    /// The key id of the operator.
    pub by: String,
}

/// What waits for a second operator at an order.
///
/// # Errors
/// The database's.
pub async fn proposed(store: &Store, order_no: &str) -> Result<Vec<Proposed>, FrexError> {
    let rows = sqlx::query(
        "SELECT d.subject, d.action, d.operator FROM frex_decision d JOIN frex_request r ON r.request_key = d.subject \
         WHERE r.order_no = $1 AND d.state = 'PROPOSED' ORDER BY d.id",
    )
    .bind(order_no)
    .fetch_all(store.pool())
    .await?;
    let mut list = Vec::with_capacity(rows.len());
    for row in &rows {
        list.push(Proposed {
            key: row.try_get("subject")?,
            action: row.try_get("action")?,
            by: row.try_get("operator")?,
        });
    }
    Ok(list)
}

/// What an operator's key is called; the id itself where it has no name.
///
/// # Errors
/// The database's.
pub async fn name_of(store: &Store, key_id: &str) -> Result<String, FrexError> {
    let label: Option<String> = sqlx::query_scalar("SELECT label FROM api_keys WHERE id = $1")
        .bind(key_id)
        .fetch_optional(store.pool())
        .await?;
    let named = label.filter(|label| !label.is_empty());
    Ok(named.unwrap_or_else(|| key_id.to_owned()))
}
