//! Refunds, from the request to the money paid out (`spec/atom.md` 11).
//!
//! A refund takes its amount from the attempt's balance when it is asked for, and gives it back only when it is definitely
//! refused or has failed. What is sent is marked durably before, and what nobody knows is looked up, never guessed:
//!
//! - [`request`]: a merchant asks; rules and reservation. [`system`]: we ask ourselves, for captures that no order covers.
//! - [`submit`]: one call, its mark and its outcome. [`followup`]: the job that sends, looks up and asks what is due.
//! - [`settle`], [`balance`]: what a change does to lines, attempt and order. [`resolve`]: what an operator decides.
//! - [`state`], [`schedule`], [`finding`]: the tables. [`rows`], [`lines`]: the statements. [`view`]: what is shown.
//!
//! *Invariant*: the sum of the refunds of a capture that are neither rejected nor failed never exceeds it, and is what the
//! attempt has reserved.

pub mod balance;
pub mod finding;
pub mod followup;
pub mod lines;
pub mod points;
pub mod request;
pub mod resolve;
pub mod rows;
pub mod schedule;
pub mod settle;
pub mod state;
pub mod submit;
pub mod system;
pub mod view;

use sqlx::Row;

use self::rows::RefundRow;
use self::state::RefundState;
use super::issues::{self, Kind, NewIssue};
use super::state::Outcome;
use super::{Flow, FlowError, OrderRow, audit, take_order};
use crate::store::{StoreError, Tx};

pub use followup::FollowupReport;
pub use points::POINTS;

impl Flow {
    /// A refund that must be there.
    async fn known_refund(&self, tx: &mut Tx, id: &str) -> Result<RefundRow, FlowError> {
        let refund = rows::load(tx, id).await?;
        refund.ok_or_else(|| FlowError::NotFound {
            what: "refund",
            id: id.to_owned(),
        })
    }

    /// Takes the refund's order, and reads the refund as it is from then on.
    async fn take_refund(&self, tx: &mut Tx, id: &str) -> Result<(OrderRow, RefundRow), FlowError> {
        let order_id = self.known_refund(tx, id).await?.order_id;
        let order = take_order(tx, &order_id).await?;
        let order =
            order.ok_or_else(|| StoreError::broken("refunds", id, "its order is missing"))?;
        Ok((order, self.known_refund(tx, id).await?))
    }

    async fn audit_refund(
        &self,
        tx: &mut Tx,
        refund: &RefundRow,
        who: &str,
        before: &str,
        after: &str,
        cause: &str,
    ) -> Result<(), FlowError> {
        log::info!(
            "Refund state changed refund={} orderId={} from={before:?} to={after:?} code={cause}",
            refund.id,
            refund.order_id
        );
        let entry = audit::Entry {
            who,
            what: "refund",
            id: &refund.id,
            order_id: Some(&refund.order_id),
            before,
            after,
            cause,
        };
        audit::write(tx, self.clock.now_ms(), &entry).await?;
        Ok(())
    }

    /// Calls a person for a refund.
    async fn raise_for(
        &self,
        tx: &mut Tx,
        refund: &RefundRow,
        kind: Kind,
        detail: &str,
    ) -> Result<(), FlowError> {
        let issue = NewIssue {
            kind,
            order_id: Some(&refund.order_id),
            attempt_id: Some(&refund.attempt_id),
            refund_id: Some(&refund.id),
            about: "",
            detail: serde_json::json!({
                "state": refund.state.as_str(), "amount": refund.amount, "why": detail,
            }),
        };
        issues::open(tx, self.clock.now_ms(), &issue).await?;
        Ok(())
    }

    /// Closes what a settled refund settles: the questions about the refund itself, and the capture it gave back, whose hold
    /// ends with its issue. A capture whose refund fails after it was accepted is again one to decide about.
    async fn settle_issues(
        &self,
        tx: &mut Tx,
        refund: &RefundRow,
        now_ms: i64,
    ) -> Result<(), FlowError> {
        if !refund.state.is_definite() {
            return Ok(());
        }
        let resolution = format!("refund {}", refund.state);
        for kind in Kind::OF_UNSETTLED_REFUNDS {
            sqlx::query(
                "UPDATE issues SET closed_at = $1, resolution = $2 \
                 WHERE refund_id = $3 AND kind = $4 AND closed_at IS NULL",
            )
            .bind(now_ms)
            .bind(&resolution)
            .bind(&refund.id)
            .bind(kind.as_str())
            .execute(tx.conn())
            .await
            .map_err(StoreError::from)?;
        }
        // Of a split payment a part may have been refused: then money is left to decide about.
        let gone = refund.surplus || balance::attempt_of(tx, refund).await?.is_given_back();
        let given_back = gone && refund.state.counts_as_refunded();
        if let (Some(issue_id), true) = (&refund.issue_id, given_back) {
            let closed = sqlx::query(
                "UPDATE issues SET closed_at = $1, resolution = $2 \
                 WHERE id = $3 AND closed_at IS NULL RETURNING kind",
            )
            .bind(now_ms)
            .bind(&resolution)
            .bind(issue_id)
            .fetch_optional(tx.conn())
            .await
            .map_err(StoreError::from)?;
            let kind: Option<String> = closed
                .map(|row| row.try_get("kind"))
                .transpose()
                .map_err(StoreError::from)?;
            if refund.surplus {
                self.end_hold_by(tx, refund, kind.as_deref()).await?;
            } else {
                balance::end_hold(tx, &refund.attempt_id, now_ms).await?;
            }
        }
        if let (Some(issue_id), RefundState::Failed) = (&refund.issue_id, refund.state) {
            let kind = issues::reopen(tx, issue_id).await?;
            let holds = kind.filter(|kind| Kind::HOLDING.contains(kind));
            if let (Some(kind), false) = (holds, refund.surplus) {
                balance::hold_again(tx, &refund.attempt_id, kind, now_ms).await?;
            }
        }
        Ok(())
    }

    /// What held the attempt was another capture than its own, and that one is given back: its own may pay the order now.
    async fn end_hold_by(
        &self,
        tx: &mut Tx,
        refund: &RefundRow,
        kind: Option<&str>,
    ) -> Result<(), FlowError> {
        let held = balance::attempt_of(tx, refund).await?;
        if kind.is_none() || held.hold.as_deref() != kind {
            return Ok(());
        }
        balance::end_hold(tx, &refund.attempt_id, self.clock.now_ms()).await?;
        let free = balance::attempt_of(tx, refund).await?;
        let order = take_order(tx, &refund.order_id).await?;
        let waits = |order: &OrderRow| order.paid_attempt_id.as_deref() != Some(free.id.as_str());
        if let Some(order) = order.filter(waits)
            && free.outcome == Outcome::Success
        {
            let paid = self.pay(tx, &order, &free, &refund.id).await?;
            if free.confirmed_at.is_some() {
                let by = ("atom", refund.id.as_str());
                self.confirm_order(tx, &paid, &free.id, by).await?;
            }
        }
        Ok(())
    }

    /// How many refunds are in each state, for gauges.
    ///
    /// # Errors
    /// The database fails.
    pub async fn refunds_by_state(&self) -> Result<Vec<(String, i64)>, FlowError> {
        let rows = sqlx::query(
            "SELECT state, CAST(COUNT(*) AS BIGINT) AS n FROM refunds GROUP BY state ORDER BY state",
        )
        .fetch_all(self.store.pool())
        .await
        .map_err(StoreError::from)?;
        let read = rows
            .iter()
            .map(|row| Ok((row.try_get("state")?, row.try_get("n")?)));
        read.collect::<Result<_, sqlx::Error>>()
            .map_err(|error| StoreError::from(error).into())
    }
}
