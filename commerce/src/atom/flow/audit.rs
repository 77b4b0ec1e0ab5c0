//! Who did what: added to in the transaction of the change, never changed.

use serde_json::{Value, json};
use sqlx::Row;

use crate::clock::rfc3339;
use crate::id;
use crate::store::{Store, StoreError, Tx};

/// One entry.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Who: an API key, an operator, a process, or `atom`.
    pub who: &'a str,
    /// What kind of thing: `order`, `attempt`, `refund`, `issue`.
    pub what: &'static str,
    /// Which one.
    pub id: &'a str,
    /// The order it belongs to.
    pub order_id: Option<&'a str>,
    /// The state before; empty for a new thing.
    pub before: &'a str,
    /// The state after.
    pub after: &'a str,
    /// Why: a code, a request, a callback's id.
    pub cause: &'a str,
}

/// Adds an entry.
///
/// # Errors
/// The database fails.
pub async fn write(tx: &mut Tx, now_ms: i64, entry: &Entry<'_>) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO audit (id, at, who, what, what_id, order_id, state_before, state_after, cause) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(id::in_order("aud_", now_ms))
    .bind(now_ms)
    .bind(entry.who)
    .bind(entry.what)
    .bind(entry.id)
    .bind(entry.order_id)
    .bind(entry.before)
    .bind(entry.after)
    .bind(entry.cause)
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// What happened to an order and everything that belongs to it, the oldest first, as JSON objects
/// `{at, who, what, id, before, after, cause}`.
///
/// # Errors
/// The database fails.
pub async fn of_order(store: &Store, order_id: &str) -> Result<Vec<Value>, StoreError> {
    let rows = sqlx::query(
        "SELECT at, who, what, what_id, state_before, state_after, cause FROM audit \
         WHERE order_id = $1 ORDER BY at, id",
    )
    .bind(order_id)
    .fetch_all(store.pool())
    .await?;
    let entries = rows.iter().map(|row| {
        Ok(json!({
            "at": rfc3339(row.try_get("at")?),
            "who": row.try_get::<String, _>("who")?,
            "what": row.try_get::<String, _>("what")?,
            "id": row.try_get::<String, _>("what_id")?,
            "before": row.try_get::<String, _>("state_before")?,
            "after": row.try_get::<String, _>("state_after")?,
            "cause": row.try_get::<String, _>("cause")?,
        }))
    });
    entries.collect()
}
