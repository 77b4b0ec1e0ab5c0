//! What an operator decides about a refund that nobody could settle (`POST /v1/admin/refunds/{id}/resolve`).
//!
//! Each action is a row of a table: from which states it is permitted, and whether it moves money, which needs two
//! people. A decision never contradicts what is known: nothing is sent again that the gateway has listed, and nothing is
//! released that it has accepted.

use serde::Deserialize;
use serde_json::json;

use super::lines::{self, Line, LineState};
use super::rows::{Held, RefundRow};
use super::schedule::MISS_AGE_MS;
use super::settle::Change;
use super::state::{Cause, RefundState};
use super::submit::{self, Sending};
use crate::atom::flow::idempotency::{Begin, REFUND_LIFE_MS, Use};
use crate::atom::flow::operators::{self, Consent, Subject};
use crate::atom::flow::{Caller, Flow, FlowError, OrderRow, Reply};
use crate::store::Tx;

use RefundState::{Accepted, Requested, Unknown};

/// Characters of the longest note.
pub const NOTE_CHARS_MAX: usize = 500;

/// What an operator can do with a refund.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundAction {
    /// Look it up at once.
    Lookup,
    /// Send it: for the first time after the configuration was mended, or once more under the same number.
    Resend,
    /// The gateway told on another way that it has initiated it.
    MarkAccepted,
    /// The money was paid out.
    MarkProcessed,
    /// It was never taken: its amount can be asked for again.
    MarkRejected,
    /// It was accepted, and the money was not paid out.
    MarkFailed,
}

use RefundAction::{Lookup, MarkAccepted, MarkFailed, MarkProcessed, MarkRejected, Resend};

/// Action, its word, the states it is permitted from, and whether it moves money.
pub const ACTIONS: &[(RefundAction, &str, &[RefundState], bool)] = &[
    (Lookup, "lookup", &[Unknown, Accepted], false),
    (Resend, "resend", &[Requested, Unknown], true),
    (MarkAccepted, "mark_accepted", &[Unknown], true),
    (MarkProcessed, "mark_processed", &[Unknown, Accepted], true),
    (MarkRejected, "mark_rejected", &[Requested, Unknown], true),
    (MarkFailed, "mark_failed", &[Accepted], true),
];

/// The body of the request.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefundDecision {
    /// What to do.
    pub action: RefundAction,
    /// Why, for the audit.
    pub note: String,
}

impl Flow {
    /// Carries out what an operator decides, or stores it as proposed where a second one is needed.
    ///
    /// # Errors
    /// The request breaks a rule, the state does not permit it, the same operator proposed it, or the database fails.
    pub async fn resolve_refund(
        &self,
        caller: &Caller,
        id: &str,
        key: Option<&str>,
        body: &[u8],
    ) -> Result<Reply, FlowError> {
        let route = format!("/v1/admin/refunds/{id}/resolve");
        let request = Use::new(&caller.merchant_id, route, key, body)?;
        let decision: RefundDecision = serde_json::from_slice(body)
            .map_err(|error| FlowError::field("body", error.to_string()))?;
        check_note(&decision.note)?;
        let (_, word, states, moves_money) = row_of(decision.action);
        let now_ms = self.clock.now_ms();
        let mut tx = self.store.begin().await?;
        match request.begin(&mut tx, now_ms, REFUND_LIFE_MS).await? {
            Begin::First => {}
            Begin::Replay(reply) => return Ok(reply),
            // The decision itself is one transaction; what was cut off is only what follows it, and the job does that.
            Begin::Running { .. } => return Err(FlowError::RequestInProgress),
        }
        let (order, refund) = self.take_refund(&mut tx, id).await?;
        if !states.contains(&refund.state) || refund.is_leased(now_ms) {
            let detail = format!("{word} is not for a refund that is {}", refund.state);
            return Err(FlowError::invalid_state(&order.id, detail));
        }
        may_be_decided(&order, &refund, decision.action, now_ms)?;
        let subject = Subject {
            what: "refund",
            id,
            order_id: Some(&order.id),
        };
        let consent = match moves_money {
            true => self.consent(&mut tx, subject, word, caller).await?,
            false => Consent::Given,
        };
        let body = if consent == Consent::Proposed {
            let mut body = operators::proposed_body(word, caller);
            body["refund_id"] = json!(id);
            body
        } else {
            self.carry_out(&mut tx, &order, &refund, decision.action, caller)
                .await?;
            operators::forget(&mut tx, subject).await?;
            let after = format!("{word}: {}", decision.note);
            self.audit_decision(&mut tx, subject, caller, refund.state.as_str(), &after)
                .await?;
            let settled = self.known_refund(&mut tx, id).await?;
            let mut body = self.refund_body(&mut tx, &settled).await?;
            body["result"] = json!("done");
            body["action"] = json!(word);
            body
        };
        request.finish(&mut tx, 200, &body).await?;
        self.points.reach("refund.resolve.writing").await;
        tx.commit().await?;
        self.points.reach("refund.resolve.written").await;
        if consent == Consent::Given && decision.action == Resend && refund.state == Unknown {
            self.submit(id, Sending::Again).await?;
        }
        Ok(Reply::new(200, body))
    }

    async fn carry_out(
        &self,
        tx: &mut Tx,
        order: &OrderRow,
        before: &RefundRow,
        action: RefundAction,
        caller: &Caller,
    ) -> Result<(), FlowError> {
        let now_ms = self.clock.now_ms();
        let mut after = before.clone();
        let mut lines = lines::load(tx, before).await?;
        after.held = None;
        match action {
            Lookup => {
                after.held = before.held;
                after.next_check_at = Some(now_ms);
            }
            // A request that never left is sent by the job; one whose fate is unknown by this call, after the commit. Should
            // that not come about, the job looks it up and asks again.
            Resend if before.state == Requested => after.next_check_at = Some(now_ms),
            Resend => {}
            MarkAccepted => decide(&mut after, &mut lines, LineState::Accepted, now_ms),
            MarkProcessed => decide(&mut after, &mut lines, LineState::Processed, now_ms),
            MarkRejected => decide(&mut after, &mut lines, LineState::Rejected, now_ms),
            MarkFailed => decide(&mut after, &mut lines, LineState::Failed, now_ms),
        }
        let change = Change {
            order,
            before,
            after: &after,
            lines: &lines,
            cause: Cause::Operator,
            who: &caller.actor,
        };
        self.settle(tx, &change).await
    }
}

/// Whether an action suits what the gateway has said of the refund, or can have said by now. Sending again is for one that
/// definite answers do not list; releasing it for one that is not listed otherwise, and whose request cannot arrive any more.
fn may_be_decided(
    order: &OrderRow,
    refund: &RefundRow,
    action: RefundAction,
    now_ms: i64,
) -> Result<(), FlowError> {
    let contradicts = refund.held == Some(Held::Contradiction);
    let on_its_way = refund
        .submitted_at
        .is_none_or(|sent| now_ms < sent + MISS_AGE_MS);
    let why = match (action, refund.state) {
        (Resend, Unknown) if contradicts || refund.misses == 0 => {
            "the gateway has not yet said that it does not list this refund; look it up first"
        }
        (MarkRejected, Unknown) if contradicts => {
            "the gateway lists this refund: mark it as accepted or processed, or look it up again"
        }
        (MarkRejected, Unknown) if on_its_way => {
            "its request may still arrive at the gateway: wait for 15 minutes from its sending"
        }
        _ => return Ok(()),
    };
    Err(FlowError::invalid_state(&order.id, why))
}

fn decide(after: &mut RefundRow, lines: &mut [Line], to: LineState, now_ms: i64) {
    mark(lines, to);
    after.release();
    submit::settle_by_lines(after, lines, now_ms);
}

/// Gives every line that is not settled, or was accepted, the state that the operator decided.
fn mark(lines: &mut [Line], to: LineState) {
    let open_only = matches!(to, LineState::Accepted | LineState::Rejected);
    for line in lines.iter_mut() {
        let from = line.state;
        if from == LineState::Open || (from == LineState::Accepted && !open_only) {
            line.state = to;
        }
    }
}

/// A decision has a reason.
pub(in crate::atom::flow) fn check_note(note: &str) -> Result<(), FlowError> {
    if note.trim().is_empty() || note.chars().count() > NOTE_CHARS_MAX {
        return Err(FlowError::field(
            "note",
            "1 to 500 characters: why you decide so",
        ));
    }
    Ok(())
}

fn row_of(action: RefundAction) -> (RefundAction, &'static str, &'static [RefundState], bool) {
    let row = ACTIONS.iter().find(|row| row.0 == action);
    *row.expect("every action has a row")
}

#[cfg(test)]
mod tests {
    use super::super::settle::state_of;
    use super::*;

    /// Whatever stands in the lines of a split refund, a decision that its state permits leads to a state that it may go to.
    #[test]
    fn every_decision_of_a_split_refund_is_a_step() {
        let line = |state| Line {
            product: String::new(),
            prod_refund_id: String::new(),
            amount: 1,
            state,
            refund_txn_id: None,
        };
        let marks = [
            (MarkAccepted, LineState::Accepted),
            (MarkProcessed, LineState::Processed),
            (MarkRejected, LineState::Rejected),
            (MarkFailed, LineState::Failed),
        ];
        for (action, to) in marks {
            for first in LineState::ALL {
                for second in LineState::ALL {
                    let mut lines = [line(first), line(second)];
                    let state = state_of(&lines);
                    if !row_of(action).2.contains(&state) {
                        continue;
                    }
                    mark(&mut lines, to);
                    let after = state_of(&lines);
                    assert!(
                        state == after || state.may_become(after, Cause::Operator),
                        "{first:?} and {second:?}, {action:?}: {state} -> {after}"
                    );
                }
            }
        }
    }
}
