//! An order as the API answers it (`spec/atom.md` 15.3), read back for the pages.
//!
//! The pages speak to the flow through the same JSON that merchants get, so state and amounts are the ones the API shows. What
//! the API does not repeat to the merchant, such as the reference, is added from the order's row.

use serde::Deserialize;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::look::Tone;
use crate::clock::rfc3339;
use crate::store::StoreError;

/// One order.
#[derive(Clone, Default, Debug, Deserialize)]
#[serde(default)]
pub struct Order {
    /// Its id.
    pub order_id: String,
    /// Whose order it is.
    pub merchant_id: String,
    /// The merchant's own reference.
    pub merchant_order_ref: String,
    /// Who ordered, as the merchant names them.
    pub user_id: String,
    /// Status of `spec/atom.md` 10.1.
    pub status: String,
    /// Why it has this status, if that is not plain.
    pub status_reason: Option<String>,
    /// Minor units.
    pub amount: i64,
    /// ISO code.
    pub currency: String,
    /// Sub-channel of the payment.
    pub payment_method: Option<String>,
    /// When it was paid.
    pub paid_at: Option<String>,
    /// When a status query agreed.
    pub confirmed_at: Option<String>,
    /// When it expires unpaid.
    pub expires_at: Option<String>,
    /// When it was made.
    pub created_at: Option<String>,
    /// Accepted and processed refunds, minor units.
    pub refunded_amount: i64,
    /// `none`, `partial` or `full`.
    pub refund_state: String,
    /// What may still be refunded, minor units.
    pub refundable_amount: i64,
    /// Attempts, oldest first.
    pub attempts: Vec<Attempt>,
    /// Refunds, oldest first.
    pub refunds: Vec<Refund>,
    /// Kinds of the issues that hold it.
    pub holds: Vec<String>,
}

impl Order {
    /// Adds what stands in the order's row only.
    ///
    /// # Errors
    /// The row has other columns.
    pub fn add(&mut self, row: &AnyRow) -> Result<(), StoreError> {
        let text = |column: &str| row.try_get::<Option<String>, _>(column);
        self.merchant_id = row.try_get("merchant_id")?;
        self.merchant_order_ref = row.try_get("merchant_order_ref")?;
        self.user_id = text("user_id")?.unwrap_or_default();
        self.status_reason = text("status_reason")?;
        self.created_at = Some(rfc3339(row.try_get("created_at")?));
        self.expires_at = Some(rfc3339(row.try_get("expires_at")?));
        Ok(())
    }
}

/// One payment attempt.
#[derive(Clone, Default, Debug, Deserialize)]
#[serde(default)]
pub struct Attempt {
    /// Its id.
    pub attempt_id: String,
    /// Our id at Atom.
    pub merch_txn_id: Option<String>,
    /// How far processing went.
    pub phase: String,
    /// What Atom decided.
    pub outcome: String,
    /// The seed's name of phase and outcome.
    pub payment_status: String,
    /// Atom's id.
    pub atom_txn_id: Option<String>,
    /// Atom's code.
    pub status_code: Option<String>,
    /// Minor units on top of the amount.
    pub surcharge: Option<i64>,
}

/// One refund.
#[derive(Clone, Default, Debug, Deserialize)]
#[serde(default)]
pub struct Refund {
    /// Its id.
    pub refund_id: String,
    /// Minor units.
    pub amount: i64,
    /// State of `spec/atom.md` 11.1.
    pub state: String,
}

/// The colour of a status, state, phase or outcome; the word itself is always shown too.
#[must_use]
pub fn tone(word: &str) -> Tone {
    match word {
        "paid" | "shipped" | "delivered" | "success" | "processed" | "accepted" | "completed" => {
            Tone::Good
        }
        "pending" | "requested" | "submitting" | "initializing" | "token_generated"
        | "user_payment" | "callback_received" | "signature_verified" | "partial" => Tone::Busy,
        "failed" | "rejected" | "unknown" | "reversed" | "auth_failed" | "auth_unknown" => {
            Tone::Bad
        }
        _ => Tone::Calm,
    }
}
