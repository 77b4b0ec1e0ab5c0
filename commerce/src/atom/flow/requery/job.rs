//! One run of the job: claim what is due, ask for it, a few at a time.

use std::sync::PoisonError;

use serde_json::json;
use tokio::task::JoinSet;

use super::super::attempts::AUTH_LEASE_MS;
use super::super::issues::{self, Kind, NewIssue};
use super::super::rows::{self, AttemptRow};
use super::super::state::Phase;
use super::super::{Flow, FlowError};
use super::schedule::resolved_ms;
use crate::atom::wire::messages::StatusRequest;
use crate::store::StoreError;

/// Attempts claimed at once. A claim is worked off well within its lease.
const BATCH_MAX: i64 = 200;

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequeryReport {
    /// Attempts asked for.
    pub asked: usize,
    /// Those whose outcome rose.
    pub raised: usize,
    /// Those that gave no definite answer.
    pub unanswered: usize,
    /// Those whose answer could not be written; they are asked for again.
    pub failed: usize,
}

/// How one query ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// The outcome rose.
    Raised,
    /// Nothing new.
    Same,
    /// No definite answer.
    Unanswered,
}

impl Flow {
    /// Asks for what is due, as far as the pace permits. Call it about every second.
    ///
    /// # Errors
    /// The database fails before anything was asked.
    pub async fn run_requery_once(&self) -> Result<RequeryReport, FlowError> {
        let rate = self.settings.queries_per_s_max;
        let allowed = self.pace(|pace, now_ms| pace.take(BATCH_MAX, rate, now_ms));
        let claimed = if allowed > 0 {
            self.claim(allowed).await?
        } else {
            Vec::new()
        };
        let unused = allowed - i64::try_from(claimed.len()).expect("a batch is small");
        self.pace(|pace, _| pace.give(unused));
        let mut report = RequeryReport {
            asked: claimed.len(),
            ..RequeryReport::default()
        };
        let mut running = JoinSet::new();
        let mut waiting = claimed.into_iter();
        loop {
            while running.len() < self.settings.queries_at_once_max.max(1) {
                let Some(id) = waiting.next() else { break };
                let flow = self.clone();
                running.spawn(async move { flow.ask(&id).await });
            }
            match running.join_next().await {
                None => return Ok(report),
                Some(Ok(Ok(Asked::Raised))) => report.raised += 1,
                Some(Ok(Ok(Asked::Unanswered))) => report.unanswered += 1,
                Some(Ok(Ok(Asked::Same))) => {}
                Some(Ok(Err(error))) => {
                    log::error!("Requery not written error={error}");
                    report.failed += 1;
                }
                Some(Err(gone)) => {
                    log::error!("Requery broke off: {gone}");
                    report.failed += 1;
                }
            }
        }
    }

    pub(super) fn pace<T>(&self, act: impl FnOnce(&mut super::Pace, i64) -> T) -> T {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        act(&mut pace, self.clock.now_ms())
    }

    /// Asks for one attempt and writes what is said.
    async fn ask(&self, id: &str) -> Result<Asked, FlowError> {
        let attempt = self.prepare_query(id).await?;
        let Some(attempt) = attempt else {
            return Ok(Asked::Same);
        };
        let request = StatusRequest {
            merch_txn_id: attempt.merch_txn_id.clone(),
            merch_txn_date_ist: attempt.merch_txn_date_ist.clone(),
            amount: attempt.amount,
            currency: attempt.currency.clone(),
            atom_txn_id: attempt.atom_txn_id.clone(),
        };
        self.points.reach("requery.before_call").await;
        let answer = self.atom.status(&request).await;
        self.points.reach("requery.after_call").await;
        let asked = self.write_answer(&attempt, answer).await?;
        self.points.reach("requery.written").await;
        Ok(asked)
    }

    /// The attempt to ask for. One whose AUTH call lost its caller becomes unknown first; one whose caller lives is left to
    /// him; one that was never sent is taken off the list.
    async fn prepare_query(&self, id: &str) -> Result<Option<AttemptRow>, FlowError> {
        let mut conn = self
            .store
            .pool()
            .acquire()
            .await
            .map_err(StoreError::from)?;
        let seen = rows::attempt_on(&mut conn, id).await?;
        drop(conn);
        let seen = seen.ok_or_else(|| StoreError::broken("payment_attempts", id, "is gone"))?;
        if seen.phase != Phase::Initializing {
            return Ok(Some(seen));
        }
        let now_ms = self.clock.now_ms();
        let mut tx = self.store.begin().await?;
        rows::take_order(&mut tx, &seen.order_id).await?;
        let before = rows::attempt(&mut tx, id).await?;
        let before = before.ok_or_else(|| StoreError::broken("payment_attempts", id, "is gone"))?;
        let mut after = before.clone();
        let calling = before.phase == Phase::Initializing && before.auth_in_flight;
        let calls_until_ms = before.auth_at + AUTH_LEASE_MS;
        let asked = if before.was_never_sent() {
            after.next_requery_at = None;
            false
        } else if calling && now_ms < calls_until_ms {
            // Somebody pulled the query to now. An answer to AUTH is on its way, and is not to be thrown away.
            after.next_requery_at = Some(calls_until_ms);
            false
        } else if before.phase == Phase::Initializing {
            after.phase = Phase::AuthUnknown;
            after.auth_in_flight = false;
            after.auth_error = Some("caller_gone".to_owned());
            true
        } else {
            true
        };
        rows::save_attempt(&mut tx, &before, &mut after, now_ms).await?;
        if !asked {
            self.release(&mut tx, id).await?;
        }
        self.points.reach("requery.given_up").await;
        tx.commit().await?;
        Ok(asked.then_some(after))
    }

    /// It is known now what became of an attempt of which nobody could tell in the time.
    pub(in crate::atom::flow) async fn close_unresolved(
        &self,
        tx: &mut crate::store::Tx,
        attempt: &AttemptRow,
    ) -> Result<(), FlowError> {
        let now_ms = self.clock.now_ms();
        if now_ms < resolved_ms(attempt, &self.settings) {
            return Ok(());
        }
        sqlx::query(
            "UPDATE issues SET closed_at = $1, resolution = $2 \
             WHERE order_id = $3 AND attempt_id = $4 AND kind = $5 AND closed_at IS NULL",
        )
        .bind(now_ms)
        .bind(format!("attempt {} {}", attempt.phase, attempt.outcome))
        .bind(&attempt.order_id)
        .bind(&attempt.id)
        .bind(Kind::UnresolvedAttempt.as_str())
        .execute(tx.conn())
        .await
        .map_err(StoreError::from)?;
        Ok(())
    }

    /// Nobody could tell in the time.
    pub(super) async fn tell_unresolved(
        &self,
        tx: &mut crate::store::Tx,
        attempt: &AttemptRow,
        kind: Kind,
    ) -> Result<(), FlowError> {
        let raised = NewIssue {
            kind,
            order_id: Some(&attempt.order_id),
            attempt_id: Some(&attempt.id),
            refund_id: None,
            about: attempt.atom_txn_id.as_deref().unwrap_or(""),
            detail: json!({
                "phase": attempt.phase.as_str(), "outcome": attempt.outcome.as_str(),
                "queries": attempt.requery_count, "status_code": attempt.status_code,
            }),
        };
        issues::open(tx, self.clock.now_ms(), &raised).await?;
        Ok(())
    }
}
