//! One call of REFUND: the mark before it, the call, and what its outcome makes of the refund.
//!
//! The mark is durable before a byte leaves: state, time, the exact characters of the total and a digest of the request.
//! Each mark has a number; an outcome is written only for the number it belongs to, so an answer that comes after
//! another process has given the call up is still taken, and an answer to an older call never is.

use std::time::Duration;

use super::balance;
use super::lines::{self, Line, LineState};
use super::rows::{self, Held, RefundRow};
use super::schedule;
use super::settle::{self, Change};
use super::state::{Cause, RefundState};
use crate::atom::call::CallError;
use crate::atom::flow::issues::Kind;
use crate::atom::flow::state::Outcome;
use crate::atom::flow::{AttemptRow, Flow, FlowError, OrderRow};
use crate::atom::wire::codes::Refusal;
use crate::atom::wire::messages::{RefundAnswer, RefundLine, RefundRequest};
use crate::store::Tx;

/// How long a call keeps a refund to itself. Longer than the longest call (30 s and the waits of its unsent repeats).
pub const CALL_LEASE_MS: i64 = 120_000;
/// The call is not begun when less than this is left of the lease: the process was held up after its mark.
pub const CALL_ROOM_MS: i64 = 60_000;

/// Why a refund is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sending {
    /// It has never left us.
    First,
    /// Nobody knows what became of the last call, and it may be made again.
    Again,
}

/// How a submission went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Submission {
    /// The refund's state tells it.
    Done,
    /// Nothing left us; the refund is as it was, and may be sent after this long.
    NotSent(Duration),
    /// The refund is not in the state to be sent, or somebody is busy with it.
    NotNow,
}

struct Marked {
    number: i64,
    lease_until: i64,
    request: RefundRequest,
}

enum Mark {
    Made(Marked),
    Unsendable,
    NotNow,
}

impl Flow {
    /// Sends a refund once, if it is in the state for it and nobody else is busy with it.
    pub(super) async fn submit(&self, id: &str, sending: Sending) -> Result<Submission, FlowError> {
        self.points.reach("refund.submit.begin").await;
        let marked = match self.mark(id, sending).await? {
            Mark::Made(marked) => marked,
            Mark::Unsendable => return Ok(Submission::Done),
            Mark::NotNow => return Ok(Submission::NotNow),
        };
        self.points.reach("refund.submit.marked").await;
        let outcome = if self.clock.now_ms() + CALL_ROOM_MS > marked.lease_until {
            None
        } else {
            Some(self.atom.refund(&marked.request).await)
        };
        self.points.reach("refund.submit.answered").await;
        let waits = match &outcome {
            None => Some(Duration::ZERO),
            Some(Err(CallError::NotSent { .. })) => Some(Duration::ZERO),
            Some(Err(CallError::CircuitOpen { retry_after, .. })) => Some(*retry_after),
            Some(_) => None,
        };
        self.write_outcome(id, &marked, outcome).await?;
        self.points.reach("refund.submit.written").await;
        Ok(waits.map_or(Submission::Done, Submission::NotSent))
    }

    async fn mark(&self, id: &str, sending: Sending) -> Result<Mark, FlowError> {
        let now_ms = self.clock.now_ms();
        let mut tx = self.store.begin().await?;
        let (order, before) = self.take_refund(&mut tx, id).await?;
        let from = match sending {
            Sending::First => RefundState::Requested,
            Sending::Again => RefundState::Unknown,
        };
        // One that was never sent and is held waits for the configuration to be mended, whoever asks. Sending again is what
        // a person decided about one that is held, or the job about one that is not.
        let waits = sending == Sending::First && before.held.is_some();
        if before.state != from || before.is_leased(now_ms) || waits {
            return Ok(Mark::NotNow);
        }
        let paid = balance::attempt_of(&mut tx, &before).await?;
        if paid.outcome == Outcome::Reversed && !before.surplus {
            self.refuse_reversed(&mut tx, &order, &before).await?;
            tx.commit().await?;
            return Ok(Mark::Unsendable);
        }
        let lines = lines::load(&mut tx, &before).await?;
        let request = refund_request(&paid, &before, &lines);
        let mut after = before.clone();
        match self.atom.refund_mark(&request) {
            Ok(mark) => {
                after.amount_text = Some(mark.amount_text);
                after.request_digest = Some(mark.digest);
            }
            Err(error) => {
                after.held = Some(Held::Configuration);
                after.next_check_at = None;
                self.raise_for(
                    &mut tx,
                    &after,
                    Kind::RefundConfiguration,
                    &error.to_string(),
                )
                .await?;
                rows::save(&mut tx, &before, &after, Cause::Mark, now_ms).await?;
                tx.commit().await?;
                return Ok(Mark::Unsendable);
            }
        }
        after.state = RefundState::Submitting;
        after.submitted_at = Some(now_ms);
        after.attempts += 1;
        after.misses = 0;
        after.held = None;
        if sending == Sending::Again {
            after.resends += 1;
        }
        let lease_until = now_ms + CALL_LEASE_MS;
        after.lease(&self.process, lease_until);
        after.next_check_at = Some(lease_until);
        let change = Change {
            order: &order,
            before: &before,
            after: &after,
            lines: &lines,
            cause: Cause::Mark,
            who: &self.process,
        };
        self.settle(&mut tx, &change).await?;
        self.points.reach("refund.submit.marking").await;
        tx.commit().await?;
        Ok(Mark::Made(Marked {
            number: after.attempts,
            lease_until,
            request,
        }))
    }

    /// Atom has taken the payment back meanwhile, so the customer has his money. What was never sent is refused; what may
    /// have been taken the first time stays open and is not sent again.
    async fn refuse_reversed(
        &self,
        tx: &mut Tx,
        order: &OrderRow,
        before: &RefundRow,
    ) -> Result<(), FlowError> {
        let mut lines = lines::load(tx, before).await?;
        let mut after = before.clone();
        if before.state == RefundState::Requested {
            reject_open(&mut lines);
            after.held = None;
            settle_by_lines(&mut after, &lines, self.clock.now_ms());
        } else {
            after.held = Some(Held::Undecided);
            let why = "the payment was reversed since, so it is not sent again";
            self.raise_for(tx, &after, Kind::RefundUndecided, why)
                .await?;
        }
        let change = Change {
            order,
            before,
            after: &after,
            lines: &lines,
            cause: Cause::Mark,
            who: &self.process,
        };
        self.settle(tx, &change).await
    }

    /// Atom has taken a further capture of an attempt back meanwhile: what was not sent of its refunds is refused. Whether one
    /// may have left us.
    pub(in crate::atom::flow) async fn refuse_surplus_refunds(
        &self,
        tx: &mut Tx,
        order: &OrderRow,
        attempt: &AttemptRow,
        atom_txn_id: &str,
    ) -> Result<bool, FlowError> {
        let mut sent = false;
        for refund in rows::of_surplus(tx, &attempt.id, atom_txn_id).await? {
            match refund.state {
                RefundState::Requested => self.refuse_reversed(tx, order, &refund).await?,
                _ => sent = true,
            }
        }
        Ok(sent)
    }

    async fn write_outcome(
        &self,
        id: &str,
        marked: &Marked,
        outcome: Option<Result<RefundAnswer, CallError>>,
    ) -> Result<(), FlowError> {
        let now_ms = self.clock.now_ms();
        let mut tx = self.store.begin().await?;
        let (order, before) = self.take_refund(&mut tx, id).await?;
        let waiting = matches!(before.state, RefundState::Submitting | RefundState::Unknown);
        if before.attempts != marked.number || !waiting {
            // A look-up, an operator or a later call has settled it since; they know more than this outcome, unless it was
            // released and is taken after all.
            let taken = |answer: &RefundAnswer| answer.lines.iter().any(|line| line.initiated);
            if before.state == RefundState::Rejected
                && matches!(&outcome, Some(Ok(answer)) if taken(answer))
            {
                let why = "it was marked as rejected, and now the gateway has accepted it";
                self.raise_for(&mut tx, &before, Kind::RefundAcceptedLate, why)
                    .await?;
                tx.commit().await?;
            }
            return Ok(());
        }
        let mut lines = lines::load(&mut tx, &before).await?;
        let mut after = before.clone();
        after.release();
        let alarm = match outcome {
            Some(Ok(answer)) => answered(&mut after, &mut lines, &answer, now_ms),
            Some(Err(error)) => failed(&mut after, &mut lines, &error, now_ms),
            None => {
                not_sent(&mut after, now_ms);
                None
            }
        };
        if let Some((kind, detail)) = alarm {
            self.raise_for(&mut tx, &after, kind, &detail).await?;
        }
        let change = Change {
            order: &order,
            before: &before,
            after: &after,
            lines: &lines,
            cause: Cause::Answer,
            who: &self.process,
        };
        self.settle(&mut tx, &change).await?;
        self.points.reach("refund.submit.writing").await;
        tx.commit().await?;
        Ok(())
    }
}

/// The request for all lines that are not settled.
fn refund_request(paid: &AttemptRow, refund: &RefundRow, lines: &[Line]) -> RefundRequest {
    let open = lines.iter().filter(|line| line.state == LineState::Open);
    RefundRequest {
        merch_txn_id: paid.merch_txn_id.clone(),
        atom_txn_id: refund.atom_txn_id.clone(),
        currency: refund.currency.clone(),
        lines: open
            .map(|line| RefundLine {
                product: line.product.clone(),
                prod_refund_id: line.prod_refund_id.clone(),
                amount: line.amount,
            })
            .collect(),
    }
}

fn reject_open(lines: &mut [Line]) {
    for line in lines.iter_mut() {
        if line.state == LineState::Open {
            line.state = LineState::Rejected;
        }
    }
}

type Alarm = Option<(Kind, String)>;

/// The gateway took the request. To a repeated call a refusal proves nothing about the first one, which the gateway may
/// be refusing to do twice; so there only acceptance settles a line.
fn answered(
    after: &mut RefundRow,
    lines: &mut [Line],
    answer: &RefundAnswer,
    now_ms: i64,
) -> Alarm {
    after.gateway_code = Some(answer.status_code.clone());
    after.unsent = 0;
    let repeated = after.resends > 0;
    for told in &answer.lines {
        let ours = lines
            .iter_mut()
            .find(|line| line.prod_refund_id == told.prod_refund_id);
        let Some(line) = ours.filter(|line| line.state == LineState::Open) else {
            continue;
        };
        if told.initiated {
            line.state = LineState::Accepted;
            line.refund_txn_id = told.refund_txn_id.clone();
        } else if !repeated {
            line.state = LineState::Rejected;
            after.gateway_code = Some(told.status_code.clone());
        }
    }
    settle_by_lines(after, lines, now_ms);
    None
}

fn failed(after: &mut RefundRow, lines: &mut [Line], error: &CallError, now_ms: i64) -> Alarm {
    match error {
        CallError::NotSent { .. } | CallError::CircuitOpen { .. } => {
            not_sent(after, now_ms);
            None
        }
        CallError::Invalid { .. } => {
            not_sent(after, now_ms);
            hold(after, Held::Configuration, Kind::RefundConfiguration, error)
        }
        CallError::Refused { code, refusal, .. } => {
            after.gateway_code = Some(code.clone());
            after.unsent = 0;
            if matches!(
                refusal,
                Refusal::Merchant | Refusal::Signature | Refusal::Request
            ) {
                not_sent(after, now_ms);
                return hold(after, Held::Configuration, Kind::RefundConfiguration, error);
            }
            if after.resends == 0 {
                reject_open(lines);
            }
            settle_by_lines(after, lines, now_ms);
            None
        }
        CallError::Ambiguous { .. } => {
            after.unsent = 0;
            settle_by_lines(after, lines, now_ms);
            if after.resends == 0 {
                return None;
            }
            after.held = Some(Held::Undecided);
            Some((
                Kind::RefundUndecided,
                format!("sent again, and again no answer: {error}"),
            ))
        }
    }
}

/// Nothing left us, or nothing of it was taken. The call counts as not made, except that a repeated call leaves the
/// question open that its first one raised.
fn not_sent(after: &mut RefundRow, now_ms: i64) {
    if after.resends > 0 {
        after.resends -= 1;
        after.state = RefundState::Unknown;
    } else {
        after.state = RefundState::Requested;
    }
    after.next_check_at = Some(schedule::next_unsent_try_ms(after.unsent, now_ms));
    after.unsent += 1;
}

fn hold(after: &mut RefundRow, held: Held, kind: Kind, error: &CallError) -> Alarm {
    after.held = Some(held);
    if after.state == RefundState::Requested {
        after.next_check_at = None;
    }
    Some((kind, error.to_string()))
}

/// The state and amount that the lines make, and when to look next.
pub(super) fn settle_by_lines(after: &mut RefundRow, lines: &[Line], now_ms: i64) {
    settle::follow_lines(after, lines);
    let submitted_ms = after.submitted_at.unwrap_or(now_ms);
    after.next_check_at = match after.state {
        RefundState::Unknown => schedule::next_unknown_check_ms(submitted_ms, now_ms),
        RefundState::Accepted => schedule::next_accepted_check_ms(submitted_ms, now_ms),
        _ => None,
    };
}
