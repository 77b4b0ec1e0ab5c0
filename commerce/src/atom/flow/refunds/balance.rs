//! What can be given back of a payment: the rules of `spec/atom.md` 11.2 about amounts, and the columns that carry them.
//!
//! Everything here runs while the order is taken. Amounts are minor units.

use super::rows::{Origin, RefundRow};
use super::schedule;
use super::state::RefundState;
use crate::atom::flow::issues::Kind;
use crate::atom::flow::state::{OrderCause, OrderStatus, Outcome};
use crate::atom::flow::{AttemptRow, Flow, FlowError, OrderRow, attempt};
use crate::id;
use crate::store::{StoreError, Tx, one};

/// What a change of a refund does to the attempt's balance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Moved {
    pub(super) reserved: i64,
    pub(super) done: i64,
}

/// Whether a merchant may ask money back of an order in this status.
pub(super) fn is_refundable(status: OrderStatus) -> bool {
    matches!(
        status,
        OrderStatus::Paid | OrderStatus::Shipped | OrderStatus::Delivered
    )
}

/// A new refund of an attempt's own capture, not stored yet.
pub(super) fn new_refund(of: &AttemptRow, origin: Origin, amount: i64, now_ms: i64) -> RefundRow {
    RefundRow {
        id: id::at("RF", now_ms),
        order_id: of.order_id.clone(),
        attempt_id: of.id.clone(),
        atom_txn_id: of.atom_txn_id.clone().unwrap_or_default(),
        surplus: false,
        amount,
        currency: of.currency.clone(),
        reason: String::new(),
        origin,
        issue_id: None,
        state: RefundState::Requested,
        refund_txn_id: None,
        gateway_code: None,
        remarks: None,
        attempts: 0,
        resends: 0,
        unsent: 0,
        misses: 0,
        held: None,
        next_check_at: Some(now_ms + schedule::UNSENT_FIRST_MS),
        submitted_at: None,
        amount_text: None,
        request_digest: None,
        lease_owner: None,
        lease_until: None,
        version: 1,
        created_at: now_ms,
    }
}

/// Takes `amount` from the attempt's balance, or nothing: check and reservation are this one statement, so requests that
/// come at the same time cannot both have the last of it. `false` if the balance does not reach.
///
/// A merchant's refund also needs an attempt without hold; a system refund gives back what is held.
pub(super) async fn reserve(
    tx: &mut Tx,
    attempt_id: &str,
    amount: i64,
    captured: i64,
    origin: Origin,
    now_ms: i64,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE payment_attempts SET refund_reserved = refund_reserved + $1, \
         version = version + 1, updated_at = $2 \
         WHERE id = $3 AND outcome = 'success' AND atom_txn_id IS NOT NULL \
         AND (hold IS NULL OR $4 = 1) AND refund_reserved + $1 <= $5",
    )
    .bind(amount)
    .bind(now_ms)
    .bind(attempt_id)
    .bind(i64::from(origin == Origin::System))
    .bind(captured)
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Applies what a settled refund changes in the attempt's balance.
pub(super) async fn move_balance(
    tx: &mut Tx,
    refund: &RefundRow,
    moved: Moved,
    now_ms: i64,
) -> Result<(), StoreError> {
    let done = sqlx::query(
        "UPDATE payment_attempts SET refund_reserved = refund_reserved + $1, \
         refund_done = refund_done + $2, version = version + 1, updated_at = $3 \
         WHERE id = $4 AND refund_reserved + $1 >= refund_done + $2 AND refund_done + $2 >= 0",
    )
    .bind(moved.reserved)
    .bind(moved.done)
    .bind(now_ms)
    .bind(&refund.attempt_id)
    .execute(tx.conn())
    .await?;
    match done.rows_affected() {
        1 => Ok(()),
        _ => {
            let what = format!("refund {} does not fit its balance: {moved:?}", refund.id);
            Err(StoreError::broken(
                "payment_attempts",
                &refund.attempt_id,
                &what,
            ))
        }
    }
}

/// Ends the hold of an attempt whose capture was given back.
pub(super) async fn end_hold(tx: &mut Tx, attempt_id: &str, now_ms: i64) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE payment_attempts SET hold = NULL, version = version + 1, updated_at = $1 \
         WHERE id = $2 AND hold IS NOT NULL",
    )
    .bind(now_ms)
    .bind(attempt_id)
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Holds an attempt again whose refund did not last.
pub(super) async fn hold_again(
    tx: &mut Tx,
    attempt_id: &str,
    kind: Kind,
    now_ms: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE payment_attempts SET hold = $1, version = version + 1, updated_at = $2 \
         WHERE id = $3 AND hold IS NULL AND outcome = 'success'",
    )
    .bind(kind.as_str())
    .bind(now_ms)
    .bind(attempt_id)
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// The attempt that a refund names.
pub(super) async fn attempt_of(tx: &mut Tx, refund: &RefundRow) -> Result<AttemptRow, StoreError> {
    let found = attempt(tx, &refund.attempt_id).await?;
    found.ok_or_else(|| StoreError::broken("refunds", &refund.id, "its attempt is missing"))
}

impl Flow {
    /// What was captured of an attempt, as far as it can be given back to its order: never more than the gateway says it
    /// captured. Of a capture on hold, which no order has, all of it.
    pub(super) fn captured(&self, attempt: &AttemptRow) -> i64 {
        let surcharge = attempt.surcharge.unwrap_or(0);
        let told = attempt.told_amount();
        let included = if self.settings.refund_includes_surcharge {
            surcharge
        } else {
            0
        };
        match attempt.hold {
            Some(_) => told + included,
            None => attempt.amount.min(told) + included,
        }
    }

    /// What can still be given back of an attempt.
    pub(in crate::atom::flow) fn refundable(&self, order: &OrderRow, attempt: &AttemptRow) -> i64 {
        let paid_by_it = order.paid_attempt_id.as_deref() == Some(&attempt.id);
        if paid_by_it && is_refundable(order.status) && attempt.is_good() {
            (self.captured(attempt) - attempt.refund_reserved).max(0)
        } else {
            0
        }
    }

    /// Brings the order's refund columns and its status in line with the paid attempt's balance (11.2 rule 4, 10.1), and
    /// counts a new version of the order.
    pub(super) async fn follow_balance(
        &self,
        tx: &mut Tx,
        order: &OrderRow,
        refund: &RefundRow,
    ) -> Result<(), FlowError> {
        let mut after = order.clone();
        let mut cause = OrderCause::Refund;
        // An order that another attempt paid, or none, is given nothing back by a late or duplicate capture's refund.
        if order.paid_attempt_id.as_deref() == Some(&refund.attempt_id) && !refund.surplus {
            let attempt = attempt_of(tx, refund).await?;
            let full = attempt.refund_done >= self.captured(&attempt);
            let refund_state = match attempt.refund_done {
                0 => "none",
                _ if full => "full",
                _ => "partial",
            };
            if full && is_refundable(order.status) {
                after.status_before_refund = Some(order.status);
                after.status = OrderStatus::Refunded;
            } else if !full && order.status == OrderStatus::Refunded {
                let back = order.status_before_refund;
                after.status = back.ok_or_else(|| {
                    StoreError::broken("orders", &order.id, "it has no status to go back to")
                })?;
                after.status_before_refund = None;
                cause = OrderCause::RefundFailed;
            }
            let done = sqlx::query(
                "UPDATE orders SET refunded_amount = $1, refund_state = $2 \
                 WHERE id = $3 AND version = $4",
            )
            .bind(attempt.refund_done)
            .bind(refund_state)
            .bind(&order.id)
            .bind(order.version)
            .execute(tx.conn())
            .await
            .map_err(StoreError::from)?;
            one(&done, "orders", &order.id)?;
        }
        self.write_step(tx, order, &mut after, cause, &self.process, &refund.id)
            .await?;
        Ok(())
    }
}

/// Why a payment cannot be given back, in words; `None` if it can.
pub(super) fn obstacle(attempt: &AttemptRow) -> Option<String> {
    if let Some(hold) = &attempt.hold {
        return Some(format!("the payment is on hold: {hold}"));
    }
    if attempt.outcome != Outcome::Success || attempt.atom_txn_id.is_none() {
        return Some(format!("the payment is {}", attempt.outcome));
    }
    None
}
