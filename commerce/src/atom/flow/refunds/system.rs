//! Refunds that we ask for ourselves: money that was captured and that no order covers.
//!
//! A late capture is given back of our own accord (switch) as soon as a status query has confirmed it; a duplicate one when
//! an operator says so. Either way the open issue is what asks, so a crash loses nothing, and a capture is given back by one
//! living refund at most: the database holds that, not this code.

use serde_json::Value;
use sqlx::Row;

use super::balance;
use super::request::number_lines;
use super::rows::{self, Origin, RefundRow};
use crate::atom::flow::issues::Kind;
use crate::atom::flow::state::Outcome;
use crate::atom::flow::{AttemptRow, Flow, FlowError, OrderRow, attempt, take_order};
use crate::store::{StoreError, Tx};

/// How many captures one run looks at.
const BATCH_MAX: i64 = 50;

/// A capture to be given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::atom::flow) struct Surplus {
    /// The issue that asks.
    pub(in crate::atom::flow) issue_id: String,
    /// The order that the money does not belong to.
    pub(in crate::atom::flow) order_id: String,
    /// The attempt that captured it.
    pub(in crate::atom::flow) attempt_id: String,
    /// A second capture of that attempt: number and minor units. `None` for the attempt's own.
    pub(in crate::atom::flow) second: Option<(String, i64)>,
}

impl Surplus {}

impl Flow {
    /// The second capture that an issue's details name, if they name one.
    pub(in crate::atom::flow) fn second_of(
        &self,
        detail: &str,
        attempt: &AttemptRow,
    ) -> Option<(String, i64)> {
        let detail: Value = serde_json::from_str(detail).ok()?;
        let number = detail.get("atom_txn_id")?.as_str()?;
        let other = attempt.atom_txn_id.as_deref() != Some(number);
        let minor = |name: &str| detail.get(name).and_then(Value::as_i64);
        let named = minor("amount").filter(|amount| *amount > 0);
        let amount = named.or_else(|| self.captured_of(minor("total"), minor("surcharge")));
        other.then(|| (number.to_owned(), amount.unwrap_or(attempt.amount)))
    }

    /// What can be given back of a capture of this total, which includes the surcharge; minor units. `None` where no total
    /// is told.
    pub(in crate::atom::flow) fn captured_of(
        &self,
        total: Option<i64>,
        surcharge: Option<i64>,
    ) -> Option<i64> {
        let total = total.filter(|total| *total > 0)?;
        if self.settings.refund_includes_surcharge {
            return Some(total);
        }
        Some(total - surcharge.unwrap_or(0).clamp(0, total - 1))
    }

    /// Queues the refund of every confirmed late capture that has had none. The number queued.
    pub(super) async fn queue_system_refunds(&self) -> Result<usize, FlowError> {
        if !self.settings.auto_refund_late_capture {
            return Ok(0);
        }
        let waiting = sqlx::query(
            "SELECT i.id, i.order_id, i.attempt_id FROM issues i \
             JOIN payment_attempts a ON a.id = i.attempt_id \
             WHERE i.kind = $1 AND i.closed_at IS NULL AND a.outcome = 'success' \
             AND a.confirmed_at IS NOT NULL AND (a.hold IS NULL OR a.hold = $1) \
             AND NOT EXISTS (SELECT 1 FROM refunds r WHERE r.issue_id = i.id) \
             ORDER BY i.opened_at, i.id LIMIT $2",
        )
        .bind(Kind::LateCapture.as_str())
        .bind(BATCH_MAX)
        .fetch_all(self.store.pool())
        .await
        .map_err(StoreError::from)?;
        let mut queued = 0;
        for row in &waiting {
            let read = |name: &str| row.try_get::<String, _>(name).map_err(StoreError::from);
            let surplus = Surplus {
                issue_id: read("id")?,
                order_id: read("order_id")?,
                attempt_id: read("attempt_id")?,
                second: None,
            };
            let mut tx = self.store.begin().await?;
            let order = self.order_of_surplus(&mut tx, &surplus).await?;
            if rows::of_issue(&mut tx, &surplus.issue_id).await?.is_some() {
                continue;
            }
            let by = (&*self.process, "late capture confirmed");
            if self
                .queue_surplus(&mut tx, &order, &surplus, by)
                .await?
                .is_some()
            {
                self.points.reach("refund.system.reserved").await;
                tx.commit().await?;
                self.points.reach("refund.system.committed").await;
                queued += 1;
            }
        }
        Ok(queued)
    }

    async fn order_of_surplus(
        &self,
        tx: &mut Tx,
        surplus: &Surplus,
    ) -> Result<OrderRow, StoreError> {
        let order = take_order(tx, &surplus.order_id).await?;
        order.ok_or_else(|| StoreError::broken("issues", &surplus.issue_id, "its order is missing"))
    }

    /// Stores the refund of a capture while its order is taken. `None` if nothing is left of it to give back.
    pub(in crate::atom::flow) async fn queue_surplus(
        &self,
        tx: &mut Tx,
        order: &OrderRow,
        surplus: &Surplus,
        by: (&str, &str),
    ) -> Result<Option<RefundRow>, FlowError> {
        let now_ms = self.clock.now_ms();
        let found = attempt(tx, &surplus.attempt_id).await?;
        let missing = || StoreError::broken("issues", &surplus.issue_id, "its attempt is missing");
        let paid = found.ok_or_else(missing)?;
        let mut refund = balance::new_refund(&paid, Origin::System, 0, now_ms);
        if let Some((number, amount)) = &surplus.second {
            refund.atom_txn_id = number.clone();
            refund.surplus = true;
            refund.amount = *amount;
        } else {
            let whole = self.captured(&paid);
            refund.amount = whole - paid.refund_reserved;
            if paid.outcome != Outcome::Success || refund.amount < 1 {
                return Ok(None);
            }
            let reserved =
                balance::reserve(tx, &paid.id, refund.amount, whole, Origin::System, now_ms)
                    .await?;
            if !reserved {
                return Ok(None);
            }
        }
        refund.issue_id = Some(surplus.issue_id.clone());
        refund.reason = "captured without an order to pay".to_owned();
        refund.next_check_at = Some(now_ms);
        let split = self.split_of(order, refund.amount)?;
        let lines = number_lines(&refund.id, split);
        match self.store_requested(tx, order, &refund, &lines, by).await {
            Ok(()) => Ok(Some(refund)),
            Err(FlowError::Store(error)) if error.is_duplicate() => Ok(None),
            Err(error) => Err(error),
        }
    }
}
