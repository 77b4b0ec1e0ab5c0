//! Money was captured, or went back: what it does to the order.

use serde_json::json;
use sqlx::Row;

use super::super::issues::Kind;
use super::super::requery;
use super::super::rows::{AttemptRow, OrderRow};
use super::super::state::{OrderCause, OrderStatus, Outcome, Phase, Source};
use super::super::{Flow, FlowError};
use super::{Applied, Change};
use crate::store::{StoreError, Tx};

impl Flow {
    pub(super) async fn success(
        &self,
        tx: &mut Tx,
        change: &mut Change<'_>,
    ) -> Result<Applied, FlowError> {
        if change.before.outcome == Outcome::Success {
            return self.confirm(tx, change).await;
        }
        if self.is_claimed(tx, change).await? {
            let detail = json!({"atom_txn_id": change.news.atom_txn_id});
            self.open_issue(tx, change, Kind::CaptureClaimedTwice, "", detail)
                .await?;
            return Ok(Applied::Mismatch);
        }
        let applied = self.raise(change, Outcome::Success, Phase::Completed);
        if applied != Applied::Raised(Outcome::Success) {
            return Ok(applied);
        }
        change.after.settled_at = Some(change.now_ms);
        change.after.cleared_at = None;
        self.observer
            .attempt(change.after.sub_channel.as_deref().unwrap_or(""), true);
        let order = self
            .pay(tx, change.order, &change.after, change.news.cause)
            .await?;
        if change.news.source == Source::Status {
            self.note_confirmed(tx, change, &order).await?;
        }
        Ok(applied)
    }

    /// Gives a captured attempt to its order, if the order waits for it; otherwise it is a surplus, which a person or a
    /// refund settles. An attempt on hold changes nothing.
    pub(in crate::atom::flow) async fn pay(
        &self,
        tx: &mut Tx,
        order: &OrderRow,
        attempt: &AttemptRow,
        cause: &str,
    ) -> Result<OrderRow, FlowError> {
        let now_ms = self.clock.now_ms();
        if attempt.hold.is_some() {
            return Ok(order.clone());
        }
        match order.status {
            OrderStatus::Pending => {
                let mut after = order.clone();
                after.status = OrderStatus::Paid;
                after.paid_attempt_id = Some(attempt.id.clone());
                after.payment_method = attempt.sub_channel.clone();
                after.paid_at = Some(now_ms);
                self.write_step(tx, order, &mut after, OrderCause::Payment, "atom", cause)
                    .await?;
                Ok(after)
            }
            OrderStatus::Cancelled => {
                self.surplus(tx, order, attempt, Kind::LateCapture).await?;
                Ok(order.clone())
            }
            OrderStatus::Paid
            | OrderStatus::Shipped
            | OrderStatus::Delivered
            | OrderStatus::Refunded => {
                self.surplus(tx, order, attempt, Kind::DuplicateCapture)
                    .await?;
                Ok(order.clone())
            }
        }
    }

    async fn surplus(
        &self,
        tx: &mut Tx,
        order: &OrderRow,
        attempt: &AttemptRow,
        kind: Kind,
    ) -> Result<(), FlowError> {
        let atom_txn_id = attempt.atom_txn_id.as_deref().unwrap_or("");
        let raised = super::NewIssue {
            kind,
            order_id: Some(&order.id),
            attempt_id: Some(&attempt.id),
            refund_id: None,
            about: atom_txn_id,
            detail: json!({
                "atom_txn_id": atom_txn_id, "amount": attempt.amount, "order_status": order.status.as_str(),
            }),
        };
        if super::issues::open(tx, self.clock.now_ms(), &raised).await? {
            self.count_surplus(kind);
        }
        Ok(())
    }

    /// A further capture under an attempt that has one.
    pub(in crate::atom::flow) async fn surplus_capture(
        &self,
        tx: &mut Tx,
        change: &Change<'_>,
        atom_txn_id: &str,
    ) -> Result<(), FlowError> {
        let detail = json!({
            "atom_txn_id": atom_txn_id, "first_atom_txn_id": change.before.atom_txn_id,
            "amount": change.before.amount,
        });
        if self
            .open_issue(tx, change, Kind::DuplicateCapture, atom_txn_id, detail)
            .await?
        {
            self.count_surplus(Kind::DuplicateCapture);
        }
        Ok(())
    }

    fn count_surplus(&self, kind: Kind) {
        match kind {
            Kind::LateCapture => self.observer.late_capture(),
            _ => self.observer.duplicate_capture(),
        }
    }

    /// A success is told again. From a status answer that is the agreement which shipping waits for.
    async fn confirm(&self, tx: &mut Tx, change: &mut Change<'_>) -> Result<Applied, FlowError> {
        if change.news.source != Source::Status {
            return Ok(Applied::NoEffect);
        }
        let order = change.order.clone();
        self.note_confirmed(tx, change, &order).await?;
        Ok(Applied::Confirmed)
    }

    async fn note_confirmed(
        &self,
        tx: &mut Tx,
        change: &mut Change<'_>,
        order: &OrderRow,
    ) -> Result<(), FlowError> {
        let now_ms = change.now_ms;
        let after = &mut change.after;
        after.recon_status = change
            .news
            .recon_status
            .map(str::to_owned)
            .or(after.recon_status.take());
        after.confirmed_at.get_or_insert(now_ms);
        if after
            .settled_at
            .is_some_and(|settled| now_ms >= requery::reversal_check_ms(settled))
        {
            after.final_at.get_or_insert(now_ms);
        }
        let paid_by_it = order.paid_attempt_id.as_deref() == Some(after.id.as_str());
        if paid_by_it && order.confirmed_at.is_none() {
            let mut confirmed = order.clone();
            confirmed.confirmed_at = Some(now_ms);
            let by = OrderCause::Payment;
            self.write_step(tx, order, &mut confirmed, by, "atom", change.news.cause)
                .await?;
        }
        Ok(())
    }

    /// Whether another attempt has this capture.
    async fn is_claimed(&self, tx: &mut Tx, change: &Change<'_>) -> Result<bool, FlowError> {
        let found = sqlx::query(
            "SELECT id FROM payment_attempts WHERE atom_txn_id = $1 AND id <> $2 \
             AND outcome IN ('success', 'reversed')",
        )
        .bind(change.news.atom_txn_id)
        .bind(&change.before.id)
        .fetch_optional(tx.conn())
        .await
        .map_err(StoreError::from)?;
        if let Some(row) = &found {
            let other: String = row.try_get("id").map_err(StoreError::from)?;
            log::warn!(
                "Capture claimed twice attempt={} other={other}",
                change.before.id
            );
        }
        Ok(found.is_some())
    }

    /// Atom gave the payment back of its own accord (10.1).
    pub(super) async fn reversed(
        &self,
        tx: &mut Tx,
        change: &mut Change<'_>,
    ) -> Result<Applied, FlowError> {
        let applied = self.raise(change, Outcome::Reversed, Phase::Completed);
        if applied != Applied::Raised(Outcome::Reversed) {
            return Ok(applied);
        }
        change.after.final_at = Some(change.now_ms);
        let order = change.order;
        if order.paid_attempt_id.as_deref() != Some(change.before.id.as_str()) {
            return Ok(applied);
        }
        if order.status == OrderStatus::Paid {
            let by = OrderCause::Reversal;
            self.step_order(
                tx,
                order,
                OrderStatus::Cancelled,
                by,
                "atom",
                change.news.code,
            )
            .await?;
        } else {
            let detail =
                json!({"order_status": order.status.as_str(), "amount": change.before.amount});
            self.open_issue(tx, change, Kind::ReversedAfterShip, "", detail)
                .await?;
        }
        Ok(applied)
    }
}
