//! Buyer data is removed when it is no longer needed (`spec/frex.md` 14); states and amounts stay.

use super::error::FrexError;
use crate::clock::DAY_MS;
use crate::store::Store;

/// Buyer data `u` of orders that ended before `$1`: billed, closed, or cancelled before the worker began with them. Nobody changes it
/// after the end, so only what was not changed for that long is looked at.
const ENDED: &str = "u.updated_at < $1 AND EXISTS (SELECT 1 FROM frex_order o LEFT JOIN frex_state_info s ON s.order_no = o.order_no \
    WHERE o.order_no = u.order_no AND ((s.order_no IS NULL AND o.str_state = 'DEL' AND o.created_at < $1) \
    OR (s.result_state = 'CANCEL' AND s.closed_at < $1) \
    OR (s.result_state = 'COMPLETE' AND s.billing_state = 'COMPLETE' AND s.billed_at < $1)))";

/// Removes buyer data of orders that ended so many days ago. The number of orders.
///
/// # Errors
/// The database's.
pub async fn buyer_data(store: &Store, days: u32, now: i64) -> Result<u64, FrexError> {
    let sql = format!("DELETE FROM frex_user_info AS u WHERE {ENDED}");
    let done = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(now - i64::from(days) * DAY_MS)
        .execute(store.pool())
        .await?;
    let removed = done.rows_affected();
    if removed > 0 {
        log::info!("frex: buyer data of {removed} orders was removed, {days} days after their end");
    }
    Ok(removed)
}
