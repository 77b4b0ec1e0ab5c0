//! News for merchants, stored in the transaction of the change they tell of, and given at least once.

use serde_json::Value;

use crate::id;
use crate::store::{StoreError, Tx};

/// Stores an event of an order, to be given from now on.
///
/// # Errors
/// The database fails.
pub async fn put(
    tx: &mut Tx,
    now_ms: i64,
    order_id: &str,
    event: &str,
    payload: &Value,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO outbox (id, merchant_id, order_id, event, payload, created_at, next_try_at) \
         SELECT $1, merchant_id, id, $2, $3, $4, $4 FROM orders WHERE id = $5",
    )
    .bind(id::in_order("evt_", now_ms))
    .bind(event)
    .bind(payload.to_string())
    .bind(now_ms)
    .bind(order_id)
    .execute(tx.conn())
    .await?;
    Ok(())
}
