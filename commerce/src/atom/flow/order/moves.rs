//! What a merchant does to an order: cancel, ship, deliver (`spec/atom.md` 10.1). An order that is where it should go
//! answers as if it had just come there; so a repeated request is harmless without a key.

use serde_json::json;

use super::super::rows::{self, AttemptRow, OrderRow};
use super::super::state::{OrderCause, OrderStatus, Outcome, Phase};
use super::super::{Caller, Flow, FlowError, Reply, audit, outbox};
use crate::store::Tx;

impl Flow {
    /// Cancels an order that nobody paid.
    ///
    /// # Errors
    /// `invalid_state` if it is past that, `attempt_open` if it is not known yet what became of an attempt: then a query is
    /// on its way.
    pub async fn cancel(&self, who: &Caller, id: &str) -> Result<Reply, FlowError> {
        let now_ms = self.clock.now_ms();
        let mut tx = self.store.begin().await?;
        let order = self.take_of(&mut tx, who, id).await?;
        if order.status == OrderStatus::Pending {
            let attempts = rows::attempts_of(tx.conn(), id).await?;
            for attempt in attempts.iter().filter(|attempt| !attempt.is_over()) {
                if attempt.hold.is_some() {
                    return Err(FlowError::invalid_state(
                        id,
                        "a payment of the order waits for an operator's decision",
                    ));
                }
                if attempt.was_never_sent() {
                    let mut after = attempt.clone();
                    after.phase = Phase::Abandoned;
                    rows::save_attempt(&mut tx, attempt, &mut after, now_ms).await?;
                    continue;
                }
                drop(tx);
                let due_ms = self
                    .pull_attempts(std::slice::from_ref(&attempt.id))
                    .await?;
                let wait_s = (due_ms.unwrap_or(now_ms) - now_ms)
                    .max(0)
                    .unsigned_abs()
                    .div_ceil(1000);
                return Err(FlowError::AttemptUnsettled {
                    order_id: id.to_owned(),
                    retry_after_s: wait_s + 2,
                });
            }
        }
        self.move_order(tx, who, order, OrderStatus::Cancelled, OrderCause::Cancel)
            .await
    }

    /// Ships a paid order.
    ///
    /// # Errors
    /// `invalid_state` if it is not paid, not confirmed although that is required, or on hold.
    pub async fn ship(&self, who: &Caller, id: &str) -> Result<Reply, FlowError> {
        let mut tx = self.store.begin().await?;
        let order = self.take_of(&mut tx, who, id).await?;
        if order.status == OrderStatus::Paid {
            if self.settings.require_confirm_before_ship && order.confirmed_at.is_none() {
                return Err(FlowError::invalid_state(
                    id,
                    "the payment is not confirmed by a status query yet",
                ));
            }
            let attempts = rows::attempts_of(tx.conn(), id).await?;
            if let Some(hold) = attempts.iter().find_map(|attempt| attempt.hold.as_ref()) {
                return Err(FlowError::invalid_state(
                    id,
                    format!("the order is on hold ({hold}); resolve the issue first"),
                ));
            }
        }
        self.move_order(tx, who, order, OrderStatus::Shipped, OrderCause::Ship)
            .await
    }

    /// Notes that a shipped order arrived.
    ///
    /// # Errors
    /// `invalid_state` if it is not shipped.
    pub async fn deliver(&self, who: &Caller, id: &str) -> Result<Reply, FlowError> {
        let mut tx = self.store.begin().await?;
        let order = self.take_of(&mut tx, who, id).await?;
        self.move_order(tx, who, order, OrderStatus::Delivered, OrderCause::Deliver)
            .await
    }

    /// Takes the order if it is this merchant's.
    pub(in crate::atom::flow) async fn take_of(
        &self,
        tx: &mut Tx,
        who: &Caller,
        id: &str,
    ) -> Result<OrderRow, FlowError> {
        let order = rows::take_order(tx, id).await?;
        let order = order.filter(|order| order.merchant_id == who.merchant_id);
        order.ok_or_else(|| FlowError::no_order(id))
    }

    async fn move_order(
        &self,
        mut tx: Tx,
        who: &Caller,
        order: OrderRow,
        to: OrderStatus,
        by: OrderCause,
    ) -> Result<Reply, FlowError> {
        if order.status != to {
            if !order.status.may_become(to, by) {
                let detail = format!("the order is {}, which does not become {to}", order.status);
                return Err(FlowError::invalid_state(&order.id, detail));
            }
            self.step_order(&mut tx, &order, to, by, &who.actor, &who.request_id)
                .await?;
            self.points.reach("order.move.stored").await;
            tx.commit().await?;
            self.points.reach("order.move.committed").await;
        } else {
            tx.rollback().await?;
        }
        self.order_view(Some(&who.merchant_id), &order.id).await
    }

    /// Moves a taken order one step, with audit and news. What the step sets besides is the caller's matter.
    pub(in crate::atom::flow) async fn step_order(
        &self,
        tx: &mut Tx,
        order: &OrderRow,
        to: OrderStatus,
        by: OrderCause,
        actor: &str,
        cause: &str,
    ) -> Result<OrderRow, FlowError> {
        let mut after = order.clone();
        after.status = to;
        after.status_reason = (to == OrderStatus::Cancelled).then(|| by.as_str().to_owned());
        self.write_step(tx, order, &mut after, by, actor, cause)
            .await?;
        Ok(after)
    }

    /// Writes an order's step that was made in memory, with audit and news.
    pub(in crate::atom::flow) async fn write_step(
        &self,
        tx: &mut Tx,
        before: &OrderRow,
        after: &mut OrderRow,
        by: OrderCause,
        actor: &str,
        cause: &str,
    ) -> Result<(), FlowError> {
        let now_ms = self.clock.now_ms();
        rows::save_order(tx, before, after, by, now_ms).await?;
        if before.status == after.status {
            return Ok(());
        }
        audit::write(
            tx,
            now_ms,
            &audit::Entry {
                who: actor,
                what: "order",
                id: &after.id,
                order_id: Some(&after.id),
                before: before.status.as_str(),
                after: after.status.as_str(),
                cause,
            },
        )
        .await?;
        let news = json!({
            "order_id": after.id, "merchant_order_ref": after.merchant_order_ref,
            "status": after.status.as_str(), "reason": after.status_reason,
            "amount": after.amount, "currency": after.currency,
        });
        outbox::put(
            tx,
            now_ms,
            &after.id,
            &format!("order.{}", after.status),
            &news,
        )
        .await?;
        log::info!(
            "Order state changed orderId={} from={} to={} cause={by}",
            after.id,
            before.status,
            after.status
        );
        Ok(())
    }
}

impl AttemptRow {
    /// Whether nothing can come of it any more without a surprise: it was refused, or a status query after the token's
    /// lifetime said that nobody paid, or the money went back.
    pub fn is_over(&self) -> bool {
        if self.hold.is_some() {
            return false;
        }
        if self.outcome.is_captured() {
            return self.is_given_back();
        }
        self.phase == Phase::AuthFailed
            || self.cleared_at.is_some()
            || (self.phase == Phase::Abandoned
                && self.atom_token_id.is_none()
                && self.auth_error.is_some())
    }

    /// Whether nobody could tell yet if it was paid.
    pub fn is_unresolved(&self) -> bool {
        let told = self.outcome != Outcome::None && self.outcome != Outcome::Pending;
        !told && self.cleared_at.is_none() && self.phase != Phase::AuthFailed
    }

    /// Whether AUTH never left us, so that nobody can pay by it.
    pub fn was_never_sent(&self) -> bool {
        self.phase == Phase::Initializing && !self.auth_in_flight
    }
}
