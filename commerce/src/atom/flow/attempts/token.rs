//! What AUTH's outcome makes of the attempt: one transaction, guarded by the attempt still waiting for this very call.

use serde_json::json;

use super::super::idempotency::Use;
use super::super::issues::{self, Kind, NewIssue};
use super::super::requery::first_query_ms;
use super::super::rows::{self, AttemptRow, OrderRow};
use super::super::state::Phase;
use super::super::{Caller, Flow, FlowError, Reply, audit};
use super::shown;
use crate::atom::call::{CallError, ErrorClass};
use crate::atom::wire::codes::Refusal;
use crate::atom::wire::messages::AuthAnswer;
use crate::store::{StoreError, Tx};

/// How a call ended for the caller of start-payment.
pub(super) enum Called {
    /// With this answer.
    Answer(Result<Reply, FlowError>),
    /// Refused in a way that a new id may not be; this attempt is stored and waits for its call.
    Again(Box<AttemptRow>),
}

impl Flow {
    /// Writes the outcome of a call. `again` permits one more attempt after a refusal that a new id may pass.
    pub(super) async fn write_token(
        &self,
        who: &Caller,
        claim: &Use<'_>,
        called: &AttemptRow,
        outcome: Result<AuthAnswer, CallError>,
        again: bool,
    ) -> Result<Called, FlowError> {
        let now_ms = self.clock.now_ms();
        let mut tx = self.store.begin().await?;
        let order = rows::take_order(&mut tx, &called.order_id).await?;
        let order =
            order.ok_or_else(|| StoreError::broken("orders", &called.order_id, "is gone"))?;
        let before = rows::attempt(&mut tx, &called.id).await?;
        let before =
            before.ok_or_else(|| StoreError::broken("payment_attempts", &called.id, "is gone"))?;
        if before.phase != Phase::Initializing || before.auth_calls != called.auth_calls {
            return Ok(Called::Answer(
                self.overtaken(claim, tx, &order, before, outcome).await,
            ));
        }
        let mut after = before.clone();
        after.auth_in_flight = false;
        let answer = match outcome {
            Ok(answer) => {
                after.phase = Phase::TokenGenerated;
                after.atom_token_id = Some(answer.token.expose().to_owned());
                after.token_at = Some(now_ms);
                after.next_requery_at = Some(first_query_ms(&self.settings, now_ms));
                log::info!(
                    "Token received atomTokenId={} attempt={} orderId={} durationMs={}",
                    answer.token,
                    after.id,
                    order.id,
                    now_ms - before.auth_at
                );
                match self.must_wait_for_payment(&order, now_ms) {
                    Ok(()) => {
                        after.phase = Phase::UserPayment;
                        Ok(Reply::new(
                            201,
                            shown(&order, &after, &self.checkout, &self.settings),
                        ))
                    }
                    // It was paid or cancelled meanwhile; the token goes to nobody.
                    Err(error) => Err(error),
                }
            }
            Err(error) => {
                log::warn!(
                    "Payment not started error={error} attempt={} orderId={}",
                    after.id,
                    order.id
                );
                Err(self.refused(&mut tx, &mut after, &error).await?)
            }
        };
        self.save_step(&mut tx, who, &before, &mut after).await?;
        let retried = again
            && after.auth_error.as_deref() == Some(Refusal::NewIdMayPass.name())
            && self.must_wait_for_payment(&order, now_ms).is_ok()
            && self
                .must_be_few(&rows::attempts_of(tx.conn(), &order.id).await?, now_ms)
                .is_ok();
        if retried {
            let channel = after.asked_channel.clone();
            let next = self
                .insert_attempt(&mut tx, who, &order, channel.as_deref())
                .await?;
            claim.attach(&mut tx, &next.id).await?;
            tx.commit().await?;
            return Ok(Called::Again(Box::new(next)));
        }
        if let Ok(reply) = &answer {
            claim.finish(&mut tx, reply.status, &reply.body).await?;
        }
        self.points.reach("payment.start.token_stored").await;
        tx.commit().await?;
        self.points.reach("payment.start.token_committed").await;
        Ok(Called::Answer(answer))
    }

    /// The attempt is past its call: it was given up for dead, or a message about it came before the answer to AUTH.
    async fn overtaken(
        &self,
        claim: &Use<'_>,
        mut tx: Tx,
        order: &OrderRow,
        attempt: AttemptRow,
        outcome: Result<AuthAnswer, CallError>,
    ) -> Result<Reply, FlowError> {
        let told = matches!(
            attempt.phase,
            Phase::CallbackReceived | Phase::SignatureVerified | Phase::Completed
        );
        if !told {
            return Err(FlowError::GatewayTimeout);
        }
        let now_ms = self.clock.now_ms();
        let mut after = attempt.clone();
        after.auth_in_flight = false;
        if let Ok(answer) = outcome {
            after.atom_token_id = Some(answer.token.expose().to_owned());
            after.token_at = Some(now_ms);
        }
        rows::save_attempt(&mut tx, &attempt, &mut after, now_ms).await?;
        if let Err(error) = self.must_be_payable(order, &after, now_ms) {
            tx.commit().await?;
            return Err(error);
        }
        let reply = Reply::new(201, shown(order, &after, &self.checkout, &self.settings));
        claim.finish(&mut tx, reply.status, &reply.body).await?;
        tx.commit().await?;
        Ok(reply)
    }

    async fn refused(
        &self,
        tx: &mut Tx,
        after: &mut AttemptRow,
        error: &CallError,
    ) -> Result<FlowError, FlowError> {
        let retry_after_s = error.retry_after().map_or(5, |wait| wait.as_secs() + 1);
        let answer = match error {
            CallError::NotSent { .. } => {
                after.auth_error = Some("not_sent".to_owned());
                after.next_requery_at = None;
                FlowError::GatewayUnavailable { retry_after_s }
            }
            CallError::CircuitOpen { .. } => {
                after.auth_error = Some("circuit_open".to_owned());
                after.next_requery_at = None;
                FlowError::GatewayUnavailable { retry_after_s }
            }
            CallError::Ambiguous { doubt, .. } => {
                after.phase = Phase::AuthUnknown;
                after.auth_error = Some(doubt.name().to_owned());
                FlowError::GatewayTimeout
            }
            CallError::Refused { code, refusal, .. } => {
                after.phase = Phase::AuthFailed;
                after.auth_error = Some(refusal.name().to_owned());
                after.status_code = Some(code.clone());
                after.next_requery_at = None;
                FlowError::GatewayRejected {
                    class: error.class().name(),
                }
            }
            CallError::Invalid { .. } => {
                after.phase = Phase::AuthFailed;
                after.auth_error = Some("invalid".to_owned());
                after.next_requery_at = None;
                FlowError::GatewayRejected {
                    class: error.class().name(),
                }
            }
        };
        let ours = matches!(
            error.class(),
            ErrorClass::Authentication | ErrorClass::Signature
        );
        if ours
            || matches!(
                error,
                CallError::Invalid { .. }
                    | CallError::Refused {
                        refusal: Refusal::Request,
                        ..
                    }
            )
        {
            let raised = NewIssue {
                kind: Kind::GatewayConfiguration,
                order_id: None,
                attempt_id: None,
                refund_id: None,
                about: "auth",
                detail: json!({"error": error.to_string(), "attempt_id": after.id}),
            };
            issues::open(tx, self.clock.now_ms(), &raised).await?;
        }
        Ok(answer)
    }

    /// Saves an attempt with an audit entry if its phase or outcome moved.
    pub(in crate::atom::flow) async fn save_step(
        &self,
        tx: &mut Tx,
        who: &Caller,
        before: &AttemptRow,
        after: &mut AttemptRow,
    ) -> Result<(), FlowError> {
        let now_ms = self.clock.now_ms();
        rows::save_attempt(tx, before, after, now_ms).await?;
        if (before.phase, before.outcome) == (after.phase, after.outcome) {
            return Ok(());
        }
        audit::write(
            tx,
            now_ms,
            &audit::Entry {
                who: &who.actor,
                what: "attempt",
                id: &after.id,
                order_id: Some(&after.order_id),
                before: &format!("{} {}", before.phase, before.outcome),
                after: &format!("{} {}", after.phase, after.outcome),
                cause: &who.request_id,
            },
        )
        .await?;
        Ok(())
    }
}
