//! An order as it is read (`spec/atom.md` 15.3), by its merchant and by its customer.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::Row;
use subtle::ConstantTimeEq;

use super::super::rows::{self, AttemptRow, OrderRow};
use super::super::state::{Outcome, Phase};
use super::super::{Flow, FlowError, Reply};
use crate::clock::rfc3339;
use crate::store::StoreError;

/// The chain of the seed as one word: the phase, or once a message was believed what it said (10.2).
pub fn payment_status(phase: Phase, outcome: Outcome) -> &'static str {
    match (phase, outcome) {
        (Phase::Completed, Outcome::Success) => "completed",
        (Phase::SignatureVerified, Outcome::Success) => "payment_success",
        (Phase::SignatureVerified | Phase::Completed, Outcome::Failed) => "payment_failed",
        (_, Outcome::Reversed) => "reversed",
        (phase, _) => phase.as_str(),
    }
}

impl Flow {
    /// The whole order. `merchant_id` is whose it must be; an operator sees any.
    ///
    /// # Errors
    /// There is none for this caller, or the database fails.
    pub async fn order_view(
        &self,
        merchant_id: Option<&str>,
        id: &str,
    ) -> Result<Reply, FlowError> {
        let order = rows::find_order(&self.store, id).await?;
        let order =
            order.filter(|order| merchant_id.is_none_or(|merchant| order.merchant_id == merchant));
        let order = order.ok_or_else(|| FlowError::no_order(id))?;
        let mut conn = self
            .store
            .pool()
            .acquire()
            .await
            .map_err(StoreError::from)?;
        let attempts = rows::attempts_of(&mut conn, id).await?;
        let refunds = refunds_of(&mut conn, id).await?;
        Ok(Reply {
            version: Some(order.version),
            ..Reply::new(200, self.shown(&order, &attempts, refunds))
        })
    }

    /// What the customer's browser may see: status and amount.
    ///
    /// # Errors
    /// There is no such order, or the token is not its own: the two look the same from outside.
    pub async fn customer_view(&self, id: &str, token: &str) -> Result<Reply, FlowError> {
        let order = rows::find_order(&self.store, id).await?;
        let digest = hex::encode(Sha256::digest(token));
        let good = |order: &OrderRow| -> bool {
            order
                .read_token_sha256
                .as_bytes()
                .ct_eq(digest.as_bytes())
                .into()
        };
        let order = order.filter(good).ok_or_else(|| FlowError::no_order(id))?;
        let body = json!({
            "order_id": order.id,
            "status": order.status.as_str(),
            "amount": order.amount,
            "currency": order.currency,
        });
        Ok(Reply {
            version: Some(order.version),
            ..Reply::new(200, body)
        })
    }

    /// The same number of what can be given back as a refund is held against.
    fn shown(&self, order: &OrderRow, attempts: &[AttemptRow], refunds: Vec<Value>) -> Value {
        let paid = attempts
            .iter()
            .find(|attempt| Some(&attempt.id) == order.paid_attempt_id.as_ref());
        let refundable = paid.map_or(0, |attempt| self.refundable(order, attempt));
        let attempts_shown = attempts.iter().map(|attempt| {
            json!({
                "attempt_id": attempt.id,
                "phase": attempt.phase.as_str(),
                "outcome": attempt.outcome.as_str(),
                "payment_status": payment_status(attempt.phase, attempt.outcome),
                "atom_txn_id": attempt.atom_txn_id,
                "status_code": attempt.status_code,
                "surcharge": attempt.surcharge.unwrap_or(0),
            })
        });
        json!({
            "order_id": order.id,
            "status": order.status.as_str(),
            "amount": order.amount,
            "currency": order.currency,
            "payment_method": order.payment_method,
            "paid_at": order.paid_at.map(rfc3339),
            "confirmed_at": order.confirmed_at.map(rfc3339),
            "refunded_amount": order.refunded_amount,
            "refund_state": order.refund_state,
            "refundable_amount": refundable,
            "attempts": attempts_shown.collect::<Vec<_>>(),
            "refunds": refunds,
            "holds": attempts.iter().filter_map(|attempt| attempt.hold.clone()).collect::<Vec<_>>(),
        })
    }
}

async fn refunds_of(
    conn: &mut sqlx::AnyConnection,
    order_id: &str,
) -> Result<Vec<Value>, StoreError> {
    let rows = sqlx::query(
        "SELECT id, amount, state FROM refunds WHERE order_id = $1 ORDER BY created_at, id",
    )
    .bind(order_id)
    .fetch_all(conn)
    .await?;
    let refunds = rows.iter().map(|row| {
        Ok(json!({
            "refund_id": row.try_get::<String, _>("id")?,
            "amount": row.try_get::<i64, _>("amount")?,
            "state": row.try_get::<String, _>("state")?,
        }))
    });
    refunds.collect()
}
