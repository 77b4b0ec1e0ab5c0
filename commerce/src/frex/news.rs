//! What the merchant is told of its orders: that screening approved or refused one (`spec/frex.md` 5.7, "customer notice"), that it is
//! billed, that it is cancelled.
//!
//! An event is a row of the outbox, written in the transaction of the fact, and given by [`crate::notify`] like those about payments.
//! Where the merchant has no address nobody asks for it, and nothing is written.

use serde_json::json;

use super::error::FrexError;
use super::model::Pair;
use super::settings::WorkerSettings;
use super::view;
use crate::id;
use crate::store::Tx;

/// The stages that are told, with their events.
const EVENTS: [(&str, &str); 4] = [
    ("approved", "frex.approved"),
    ("refused", "frex.refused"),
    ("billed", "frex.billed"),
    ("cancelled", "frex.cancelled"),
];

/// Writes the event of an order that comes to a stage which the merchant is told of.
///
/// # Errors
/// The database's.
pub async fn tell(
    tx: &mut Tx,
    settings: &WorkerSettings,
    before: &Pair,
    after: &Pair,
    now: i64,
) -> Result<(), FrexError> {
    let stage = view::stage(after);
    let event = EVENTS.iter().find(|row| row.0 == stage).map(|row| row.1);
    let (Some(merchant), Some(event)) = (&settings.told_merchant, event) else {
        return Ok(());
    };
    if stage == view::stage(before) {
        return Ok(());
    }
    let order = &after.order;
    let news = json!({
        "order_no": order.order_no, "joiner_id": order.joiner_id, "stage": stage, "amount": order.amount,
    });
    sqlx::query(
        "INSERT INTO outbox (id, merchant_id, order_id, event, payload, created_at, next_try_at) VALUES ($1, $2, $3, $4, $5, $6, $6)",
    )
    .bind(id::in_order("evt_", now))
    .bind(merchant.as_str())
    .bind(order.order_no.as_str())
    .bind(event)
    .bind(news.to_string())
    .bind(now)
    .execute(tx.conn())
    .await?;
    Ok(())
}
