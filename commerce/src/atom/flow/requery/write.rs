//! What a status answer makes of the attempt.

use serde_json::json;

use super::super::apply::{Applied, News};
use super::super::issues::{self, Kind, NewIssue};
use super::super::rows::{self, AttemptRow, OrderRow};
use super::super::state::{Outcome, Phase, Source};
use super::super::{Caller, Flow, FlowError};
use super::job::Asked;
use super::schedule::{failure_check_ms, next_query_ms, resolved_ms, token_end_ms};
use crate::atom::call::CallError;
use crate::atom::wire::codes::Class;
use crate::atom::wire::messages::{StatusAnswer, StatusTransaction};
use crate::store::{StoreError, Tx};

/// Queries without agreement after which a success is told to somebody: the schedule's first hour.
const CONFIRM_QUERIES_MAX: i64 = 6;

impl Flow {
    /// Writes an answer, or that there was none, and when to ask next.
    pub(super) async fn write_answer(
        &self,
        asked: &AttemptRow,
        answer: Result<StatusAnswer, CallError>,
    ) -> Result<Asked, FlowError> {
        let now_ms = self.clock.now_ms();
        let mut tx = self.store.begin().await?;
        let order = rows::take_order(&mut tx, &asked.order_id).await?;
        let order =
            order.ok_or_else(|| StoreError::broken("orders", &asked.order_id, "is gone"))?;
        let before = rows::attempt(&mut tx, &asked.id).await?;
        let before =
            before.ok_or_else(|| StoreError::broken("payment_attempts", &asked.id, "is gone"))?;
        let mut after = before.clone();
        after.requery_count += 1;
        after.queried_at = Some(now_ms);
        let (result, ended) = match answer {
            Ok(answer) => {
                // Read anew: a callback may have come while we asked.
                let answer = match &before.atom_txn_id {
                    Some(capture) if before.outcome.is_captured() => answer.about(capture),
                    _ => answer,
                };
                match &answer.transaction {
                    Some(said) => {
                        self.told(&mut tx, &order, &before, after, said, &answer)
                            .await?
                    }
                    None => {
                        self.no_data(&mut tx, &before, after).await?;
                        ("no_data", Asked::Same)
                    }
                }
            }
            Err(error) => {
                self.unanswered(&mut tx, &before, after, &error).await?;
                ("unanswered", Asked::Unanswered)
            }
        };
        self.release(&mut tx, &asked.id).await?;
        self.points.reach("requery.writing").await;
        tx.commit().await?;
        self.observer.requery(result);
        Ok(ended)
    }

    /// Atom knows the attempt.
    async fn told(
        &self,
        tx: &mut Tx,
        order: &OrderRow,
        before: &AttemptRow,
        mut after: AttemptRow,
        said: &StatusTransaction,
        answer: &StatusAnswer,
    ) -> Result<(&'static str, Asked), FlowError> {
        let now_ms = self.clock.now_ms();
        log_difference(before, said);
        if said.reading.class == Class::Failed && !before.outcome.is_captured() {
            self.clear(&mut after, now_ms);
        }
        let news = News::of_status("requery", said, before);
        let applied = self.apply(tx, order, before, &news, after).await?;
        let current = rows::attempt(tx, &before.id).await?;
        let current =
            current.ok_or_else(|| StoreError::broken("payment_attempts", &before.id, "is gone"))?;
        // Which capture is one too many is known only now that one of them may have paid.
        for other in answer.captures_besides(current.atom_txn_id.as_deref()) {
            let number = other.atom_txn_id.as_deref().unwrap_or("");
            self.surplus_capture(tx, order, &current, number, &other.amounts)
                .await?;
        }
        self.tell_if_over(tx, &current).await?;
        Ok(match applied {
            Applied::Raised(_) => (applied.as_str(), Asked::Raised),
            _ => (applied.as_str(), Asked::Same),
        })
    }

    /// Atom does not know the attempt: within the token's lifetime that says nothing, after it nobody paid.
    async fn no_data(
        &self,
        tx: &mut Tx,
        before: &AttemptRow,
        mut after: AttemptRow,
    ) -> Result<(), FlowError> {
        let now_ms = self.clock.now_ms();
        let expired = now_ms >= token_end_ms(before, &self.settings);
        match before.outcome {
            Outcome::None | Outcome::Failed
                if expired && !matches!(before.phase, Phase::SignatureVerified) =>
            {
                if before.phase.leads_to(Phase::Abandoned) {
                    after.phase = Phase::Abandoned;
                }
                self.clear(&mut after, now_ms);
                self.close_unresolved(tx, &after).await?;
            }
            Outcome::Success
                if before.confirmed_at.is_none() && after.requery_count >= CONFIRM_QUERIES_MAX =>
            {
                self.tell_unresolved(tx, &after, Kind::UnconfirmedSuccess)
                    .await?;
            }
            _ => {}
        }
        self.write_scheduled(tx, before, after).await
    }

    async fn unanswered(
        &self,
        tx: &mut Tx,
        before: &AttemptRow,
        mut after: AttemptRow,
        error: &CallError,
    ) -> Result<(), FlowError> {
        let now_ms = self.clock.now_ms();
        if let CallError::CircuitOpen { retry_after, .. } = error {
            // Nothing was asked.
            after.requery_count = before.requery_count;
            after.queried_at = before.queried_at;
            let wait_ms = i64::try_from(retry_after.as_millis()).unwrap_or(60_000);
            after.next_requery_at = Some(now_ms + wait_ms.max(1));
            rows::save_attempt(tx, before, &mut after, now_ms).await?;
            return Ok(());
        }
        log::warn!("Requery not answered error={error} attempt={}", before.id);
        if matches!(error, CallError::Refused { .. } | CallError::Invalid { .. }) {
            let raised = NewIssue {
                kind: Kind::GatewayConfiguration,
                order_id: None,
                attempt_id: None,
                refund_id: None,
                about: "status",
                detail: json!({"error": error.to_string(), "attempt_id": before.id}),
            };
            issues::open(tx, now_ms, &raised).await?;
        }
        self.write_scheduled(tx, before, after).await
    }

    async fn write_scheduled(
        &self,
        tx: &mut Tx,
        before: &AttemptRow,
        mut after: AttemptRow,
    ) -> Result<(), FlowError> {
        after.next_requery_at = next_query_ms(&after, &self.settings, self.clock.now_ms());
        let actor = Caller {
            merchant_id: String::new(),
            actor: self.process.to_string(),
            request_id: "requery".to_owned(),
        };
        self.save_step(tx, &actor, before, &mut after).await?;
        self.tell_if_over(tx, &after).await
    }

    /// Marks that a query after the token's lifetime saw no payment, and, once T+1 is over, that this is final.
    fn clear(&self, after: &mut AttemptRow, now_ms: i64) {
        if now_ms >= token_end_ms(after, &self.settings) {
            after.cleared_at.get_or_insert(now_ms);
        }
        if now_ms >= failure_check_ms(after) {
            after.final_at.get_or_insert(now_ms);
        }
    }

    /// Its time is over and something is still open: somebody is told, nothing is guessed. What became of a payment should
    /// be known before the last query; it is asked for on.
    async fn tell_if_over(&self, tx: &mut Tx, attempt: &AttemptRow) -> Result<(), FlowError> {
        let asked_out = attempt.next_requery_at.is_none();
        let late = || self.clock.now_ms() >= resolved_ms(attempt, &self.settings);
        let kind = match attempt.outcome {
            Outcome::Success if asked_out && attempt.final_at.is_none() => Kind::UnconfirmedSuccess,
            _ if attempt.is_unresolved() && (asked_out || late()) => Kind::UnresolvedAttempt,
            _ => return Ok(()),
        };
        self.tell_unresolved(tx, attempt, kind).await
    }

    /// Gives the claim on an attempt back.
    pub(super) async fn release(&self, tx: &mut Tx, id: &str) -> Result<(), FlowError> {
        sqlx::query(
            "UPDATE payment_attempts SET lease_owner = NULL, lease_until = NULL \
             WHERE id = $1 AND lease_owner = $2",
        )
        .bind(id)
        .bind(&*self.process)
        .execute(tx.conn())
        .await
        .map_err(StoreError::from)?;
        Ok(())
    }
}

/// The log's word that a query says another thing than a message that was believed.
fn log_difference(before: &AttemptRow, said: &StatusTransaction) {
    let told = matches!(
        before.status_source,
        Some(Source::Callback | Source::Return)
    );
    if told && differs(before.outcome, said.reading.class) {
        log::warn!(
            "Requery result differs from the callback attempt={} callback={} status={}",
            before.id,
            before.status_code.as_deref().unwrap_or(""),
            said.status_code
        );
    }
}

/// Whether a query's result is another one than what was told. That something is decided by now is no difference.
fn differs(told: Outcome, said: Class) -> bool {
    match told {
        Outcome::None | Outcome::Pending => false,
        Outcome::Failed => matches!(said, Class::Pending | Class::Success | Class::Reversed),
        Outcome::Success => matches!(said, Class::Pending | Class::Failed | Class::Reversed),
        Outcome::Reversed => matches!(said, Class::Pending | Class::Failed | Class::Success),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Either way round is a difference, agreement and a question that is still open are none.
    #[test]
    fn what_differs() {
        for (told, said, other) in [
            (Outcome::Success, Class::Failed, true),
            (Outcome::Failed, Class::Success, true),
            (Outcome::Success, Class::Reversed, true),
            (Outcome::Success, Class::Pending, true),
            (Outcome::Success, Class::Success, false),
            (Outcome::Failed, Class::Failed, false),
            (Outcome::Pending, Class::Success, false),
            (Outcome::None, Class::Failed, false),
            (Outcome::Success, Class::NoData, false),
            (Outcome::Failed, Class::RequestError, false),
        ] {
            assert_eq!(differs(told, said), other, "{told} {said:?}");
        }
    }
}
