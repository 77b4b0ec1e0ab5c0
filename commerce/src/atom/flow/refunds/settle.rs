//! The one place where a change of a refund reaches its lines, the attempt's balance and the order.
//!
//! Every writer of refunds takes the order's row first ([`take_order`](crate::atom::flow::take_order)), so the changes of one order come one after the
//! other on both databases, and what is read after it is current.

use super::balance::{self, Moved};
use super::lines::{self, Line, LineState};
use super::rows::{self, RefundRow};
use super::state::{Cause, RefundState};
use crate::atom::flow::{Flow, FlowError, OrderRow, outbox};
use crate::store::Tx;

/// A refund before and after, with its lines as they are after.
pub(super) struct Change<'a> {
    /// The order as it was taken.
    pub(super) order: &'a OrderRow,
    pub(super) before: &'a RefundRow,
    pub(super) after: &'a RefundRow,
    pub(super) lines: &'a [Line],
    pub(super) cause: Cause,
    /// Who is named in the audit: a process, or an operator.
    pub(super) who: &'a str,
}

/// What the lines together make of the refund.
pub(super) fn state_of(lines: &[Line]) -> RefundState {
    let any = |state: LineState| lines.iter().any(|line| line.state == state);
    if any(LineState::Open) {
        RefundState::Unknown
    } else if any(LineState::Accepted) {
        RefundState::Accepted
    } else if any(LineState::Processed) {
        RefundState::Processed
    } else if any(LineState::Failed) {
        RefundState::Failed
    } else {
        RefundState::Rejected
    }
}

/// Sets a refund's state and amount to what its lines say. A refund of which something is given back has the sum of those
/// lines as its amount (11.2 rule 6); one that is wholly refused keeps the amount asked for, as a record.
pub(super) fn follow_lines(refund: &mut RefundRow, lines: &[Line]) {
    refund.state = state_of(lines);
    let given: i64 = lines
        .iter()
        .filter(|line| line.state.counts_as_refunded())
        .map(|line| line.amount)
        .sum();
    if refund.state.counts_as_refunded() {
        refund.amount = given;
        let numbered = lines.iter().find(|line| line.state.counts_as_refunded());
        if let Some(number) = numbered.and_then(|line| line.refund_txn_id.clone()) {
            refund.refund_txn_id = Some(number);
        }
    }
}

impl Flow {
    /// Writes a change of a refund with all that follows from it. The caller has taken the order.
    pub(super) async fn settle(&self, tx: &mut Tx, change: &Change<'_>) -> Result<(), FlowError> {
        let Change {
            order,
            before,
            after,
            lines,
            cause,
            who,
        } = *change;
        let now_ms = self.clock.now_ms();
        rows::save(tx, before, after, cause, now_ms).await?;
        lines::save(tx, &after.id, lines).await?;
        self.points.reach("refund.settle.saved").await;
        let moved = Moved {
            reserved: after.reserved() - before.reserved(),
            done: after.done() - before.done(),
        };
        if !after.surplus && moved != Moved::default() {
            balance::move_balance(tx, after, moved, now_ms).await?;
            self.points.reach("refund.settle.balance").await;
        }
        if before.state != after.state || before.amount != after.amount {
            self.follow_balance(tx, order, after).await?;
            self.points.reach("refund.settle.order").await;
            let cause = after.gateway_code.as_deref().unwrap_or("");
            self.audit_refund(tx, after, who, &described(before), &described(after), cause)
                .await?;
            self.tell_merchant(tx, after, now_ms).await?;
            self.settle_issues(tx, after, now_ms).await?;
            self.observer.refund(after.state.as_str());
        }
        Ok(())
    }

    async fn tell_merchant(
        &self,
        tx: &mut Tx,
        refund: &RefundRow,
        now_ms: i64,
    ) -> Result<(), FlowError> {
        let event = match refund.state {
            RefundState::Accepted => "refund.accepted",
            RefundState::Processed => "refund.processed",
            RefundState::Rejected => "refund.rejected",
            RefundState::Failed => "refund.failed",
            RefundState::Requested | RefundState::Submitting | RefundState::Unknown => {
                return Ok(());
            }
        };
        let payload = serde_json::json!({
            "refund_id": refund.id, "order_id": refund.order_id, "state": refund.state.as_str(),
            "amount": refund.amount, "currency": refund.currency,
        });
        outbox::put(tx, now_ms, &refund.order_id, event, &payload).await?;
        Ok(())
    }
}

fn described(refund: &RefundRow) -> String {
    format!("{} {}", refund.state, refund.amount)
}
