//! Money was captured, or went back: what it does to the order.

use serde_json::json;
use sqlx::Row;

use super::super::issues::Kind;
use super::super::requery;
use super::super::rows::{AttemptRow, OrderRow};
use super::super::state::{OrderCause, OrderStatus, Outcome, Phase, Source};
use super::super::{Flow, FlowError};
use super::{Applied, Change};
use crate::atom::wire::messages::Amounts;
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
            let number = change.news.atom_txn_id;
            let detail = json!({"atom_txn_id": number});
            let about = number.unwrap_or("");
            self.open_issue(tx, change, Kind::CaptureClaimedTwice, about, detail)
                .await?;
            return Ok(Applied::Mismatch);
        }
        let applied = self.raise(change, Outcome::Success, Phase::Completed);
        if applied != Applied::Raised(Outcome::Success) {
            return Ok(applied);
        }
        change.after.settled_at = Some(change.now_ms);
        change.after.cleared_at = None;
        change.after.final_at = None;
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
        let detail = json!({
            "atom_txn_id": atom_txn_id, "amount": attempt.amount, "order_status": order.status.as_str(),
        });
        self.raise_surplus(tx, (order, attempt), kind, atom_txn_id, detail)
            .await
    }

    /// A further capture under an attempt that has one.
    pub(in crate::atom::flow) async fn surplus_capture(
        &self,
        tx: &mut Tx,
        order: &OrderRow,
        attempt: &AttemptRow,
        atom_txn_id: &str,
        amounts: &Amounts,
    ) -> Result<(), FlowError> {
        let told = self.captured_of(amounts.total, amounts.surcharge);
        let detail = json!({
            "atom_txn_id": atom_txn_id, "first_atom_txn_id": attempt.atom_txn_id,
            "amount": told.unwrap_or(attempt.amount),
            "total": amounts.total, "surcharge": amounts.surcharge,
        });
        let kind = Kind::DuplicateCapture;
        self.raise_surplus(tx, (order, attempt), kind, atom_txn_id, detail)
            .await
    }

    /// Atom gave a further capture back of its own accord: there is nothing left of it to decide about, and a refund of it that
    /// may have left us gives it back twice.
    pub(super) async fn surplus_is_gone(
        &self,
        tx: &mut Tx,
        order: &OrderRow,
        attempt: &AttemptRow,
        atom_txn_id: &str,
    ) -> Result<(), FlowError> {
        if self
            .refuse_surplus_refunds(tx, order, attempt, atom_txn_id)
            .await?
        {
            let raised = super::NewIssue {
                kind: Kind::ReversedAndRefunded,
                order_id: Some(&order.id),
                attempt_id: Some(&attempt.id),
                refund_id: None,
                about: atom_txn_id,
                detail: json!({"order_status": order.status.as_str(), "atom_txn_id": atom_txn_id}),
            };
            super::issues::open(tx, self.clock.now_ms(), &raised).await?;
        }
        let subject = super::issues::subject(
            Some(&attempt.order_id),
            Some(&attempt.id),
            None,
            atom_txn_id,
        );
        sqlx::query(
            "UPDATE issues SET closed_at = $1, resolution = 'reversed by the gateway' \
             WHERE order_id = $2 AND kind = $3 AND subject = $4 AND closed_at IS NULL",
        )
        .bind(self.clock.now_ms())
        .bind(&attempt.order_id)
        .bind(Kind::DuplicateCapture.as_str())
        .bind(subject)
        .execute(tx.conn())
        .await
        .map_err(StoreError::from)?;
        Ok(())
    }

    /// Raises an issue about a capture that is too much, and counts it if it is new.
    async fn raise_surplus(
        &self,
        tx: &mut Tx,
        (order, attempt): (&OrderRow, &AttemptRow),
        kind: Kind,
        atom_txn_id: &str,
        detail: serde_json::Value,
    ) -> Result<(), FlowError> {
        let raised = super::NewIssue {
            kind,
            order_id: Some(&order.id),
            attempt_id: Some(&attempt.id),
            refund_id: None,
            about: atom_txn_id,
            detail,
        };
        if super::issues::open(tx, self.clock.now_ms(), &raised)
            .await?
            .is_new()
        {
            self.count_surplus(kind);
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
        let by = ("atom", change.news.cause);
        self.confirm_order(tx, order, &after.id, by).await
    }

    /// The payment of the order, if it is this attempt, is certain enough to ship. `by` is who says so, and why.
    pub(in crate::atom::flow) async fn confirm_order(
        &self,
        tx: &mut Tx,
        order: &OrderRow,
        attempt_id: &str,
        (who, cause): (&str, &str),
    ) -> Result<(), FlowError> {
        if order.paid_attempt_id.as_deref() == Some(attempt_id) && order.confirmed_at.is_none() {
            let mut confirmed = order.clone();
            confirmed.confirmed_at = Some(self.clock.now_ms());
            self.write_step(tx, order, &mut confirmed, OrderCause::Payment, who, cause)
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
        // There is no money left to decide about.
        change.after.hold = None;
        let by = ("atom", change.news.code);
        self.follow_reversal(tx, change.order, change.before, by)
            .await?;
        Ok(applied)
    }

    /// The payment is gone: what that does to the order, and to refunds of it. `by` is who says so, and why.
    pub(in crate::atom::flow) async fn follow_reversal(
        &self,
        tx: &mut Tx,
        order: &OrderRow,
        attempt: &AttemptRow,
        (who, cause): (&str, &str),
    ) -> Result<(), FlowError> {
        let now_ms = self.clock.now_ms();
        let detail = json!({
            "order_status": order.status.as_str(), "amount": attempt.amount,
            "atom_txn_id": attempt.atom_txn_id, "refunds": attempt.refund_reserved,
        });
        let issue = |kind| super::NewIssue {
            kind,
            order_id: Some(&order.id),
            attempt_id: Some(&attempt.id),
            refund_id: None,
            about: "",
            detail: detail.clone(),
        };
        if attempt.refund_reserved > 0 {
            let raised = issue(Kind::ReversedAndRefunded);
            super::issues::open(tx, now_ms, &raised).await?;
        }
        if order.paid_attempt_id.as_deref() != Some(attempt.id.as_str()) {
            return Ok(());
        }
        match order.status {
            OrderStatus::Paid => {
                let (to, by) = (OrderStatus::Cancelled, OrderCause::Reversal);
                self.step_order(tx, order, to, by, who, cause).await?;
            }
            OrderStatus::Shipped | OrderStatus::Delivered => {
                let raised = issue(Kind::ReversedAfterShip);
                super::issues::open(tx, now_ms, &raised).await?;
            }
            // Of a refunded order the other issue tells.
            OrderStatus::Refunded | OrderStatus::Pending | OrderStatus::Cancelled => {}
        }
        Ok(())
    }
}
