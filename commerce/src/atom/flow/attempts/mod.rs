//! Attempts to pay: begun here, ended by news.
//!
//! The row is durable, with the call counted and marked as under way, before AUTH is sent; the token is durable, and the
//! attempt in the customer's hands, before the token leaves us. Whoever finds an attempt whose call is marked and older than
//! [`AUTH_LEASE_MS`] knows that its caller is gone, and that nobody knows what became of the call.

mod reserve;
mod start;
mod token;

use serde_json::{Value, json};

use super::rows::{AttemptRow, OrderRow};
use super::{Checkout, FlowSettings};
use crate::clock::rfc3339;

/// Longer than any AUTH call with its repeats (20 s): after it the caller is taken for dead.
pub const AUTH_LEASE_MS: i64 = 30_000;
/// How often one attempt may be sent that never left us.
pub const AUTH_CALLS_MAX: i64 = 3;

/// The attempt as start-payment answers it (15.2). Without a token there is nothing to check out with.
fn shown(
    order: &OrderRow,
    attempt: &AttemptRow,
    checkout: &Checkout,
    settings: &FlowSettings,
) -> Value {
    let mut shown = json!({
        "attempt_id": attempt.id,
        "merch_txn_id": attempt.merch_txn_id,
        "phase": attempt.phase.as_str(),
    });
    if let (Some(token), Some(token_at)) = (&attempt.atom_token_id, attempt.token_at) {
        shown["checkout"] = json!({
            "script": checkout.script,
            "env": checkout.env,
            "options": {
                "atomTokenId": token,
                "merchId": checkout.merch_id,
                "custEmail": order.customer_email,
                "custMobile": order.customer_mobile,
                "returnUrl": checkout.return_url,
            },
        });
        shown["token_expires_at"] = json!(rfc3339(token_at + settings.token_lifetime_ms()));
    }
    shown
}
