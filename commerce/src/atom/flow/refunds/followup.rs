//! The follow-up job: what is due is sent, looked up or asked about (`spec/atom.md` 11.3).
//!
//! It never guesses. An unknown refund is settled by what the gateway lists; a refund that it does not list is sent again
//! only where the switch says that the gateway refuses a repeated `prodRefundId`, and once; everything else ends with a
//! person. A refund is claimed by a lease before it is worked on, so any number of processes can run the job.

use super::finding::{self, LineFinding, Meaning};
use super::lines::{self, Line, LineState};
use super::rows::{self, Held, RefundRow};
use super::schedule;
use super::settle::{self, Change};
use super::state::{Cause, RefundState};
use super::submit::{CALL_LEASE_MS, Sending};
use crate::atom::call::CallError;
use crate::atom::flow::issues::Kind;
use crate::atom::flow::{Flow, FlowError};
use crate::atom::wire::messages::{RefundStatusAnswer, RefundStatusRequest};

/// How many due refunds one run takes.
pub const FOLLOWUP_BATCH_MAX: i64 = 50;
/// How long a refund that could not be worked on is left alone.
const PUT_OFF_MS: i64 = 5 * 60_000;

/// What one run of the job did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FollowupReport {
    /// System refunds queued for captures that no order covers.
    pub queued: usize,
    /// Refunds sent, or tried to be.
    pub sent: usize,
    /// Refunds whose caller is gone.
    pub given_up: usize,
    /// Refunds looked up.
    pub looked_up: usize,
    /// Refunds that another process was quicker to take.
    pub lost: usize,
    /// Refunds that could not be worked on; they are tried again.
    pub failed: usize,
}

impl FollowupReport {
    /// Whether the run found nothing to do.
    pub fn is_idle(&self) -> bool {
        *self == FollowupReport::default()
    }
}

/// What a look-up makes of a refund.
struct Learned {
    after: RefundRow,
    lines: Vec<Line>,
    alarms: Vec<(Kind, String)>,
    send_again: bool,
}

impl Flow {
    /// Works on what is due, at most [`FOLLOWUP_BATCH_MAX`] refunds.
    pub async fn run_refund_followup_once(&self) -> Result<FollowupReport, FlowError> {
        let mut report = FollowupReport {
            queued: self.queue_system_refunds().await?,
            ..Default::default()
        };
        let mut tx = self.store.begin().await?;
        let due = rows::due(&mut tx, self.clock.now_ms(), FOLLOWUP_BATCH_MAX).await?;
        drop(tx);
        for refund in due {
            let id = refund.id.clone();
            match self.follow_up(refund, &mut report).await {
                Ok(()) => {}
                Err(FlowError::Store(error)) if error.is_conflict() => report.lost += 1,
                // The others must not wait for it.
                Err(error) => {
                    report.failed += 1;
                    log::error!("Refund not followed up refund={id} error={error}");
                    self.put_off(&id).await?;
                }
            }
        }
        Ok(report)
    }

    async fn follow_up(
        &self,
        refund: RefundRow,
        report: &mut FollowupReport,
    ) -> Result<(), FlowError> {
        match refund.state {
            RefundState::Requested if refund.held.is_none() => {
                self.submit(&refund.id, Sending::First).await?;
                report.sent += 1;
            }
            RefundState::Submitting => {
                self.give_up(&refund.id, false).await?;
                report.given_up += 1;
            }
            RefundState::Unknown | RefundState::Accepted => {
                if self.look_up(refund).await? {
                    report.looked_up += 1;
                } else {
                    report.lost += 1;
                }
            }
            _ => self.check_no_more(&refund).await?,
        }
        Ok(())
    }

    /// Tries a refund later that could not be worked on. Its row may be what is broken, so nothing else of it is touched.
    async fn put_off(&self, id: &str) -> Result<(), FlowError> {
        let now_ms = self.clock.now_ms();
        sqlx::query("UPDATE refunds SET next_check_at = $1 WHERE id = $2 AND next_check_at <= $3")
            .bind(now_ms + PUT_OFF_MS)
            .bind(id)
            .bind(now_ms)
            .execute(self.store.pool())
            .await
            .map_err(crate::store::StoreError::from)?;
        Ok(())
    }

    /// Makes a refund whose caller is gone unknown. With `at_start` also one whose lease runs: the spec asks for it, and
    /// an answer that still comes is taken from `unknown` too.
    pub(in crate::atom::flow) async fn give_up(
        &self,
        id: &str,
        at_start: bool,
    ) -> Result<(), FlowError> {
        let now_ms = self.clock.now_ms();
        let mut tx = self.store.begin().await?;
        let (order, before) = self.take_refund(&mut tx, id).await?;
        if before.state != RefundState::Submitting || (before.is_leased(now_ms) && !at_start) {
            return Ok(());
        }
        let mut after = before.clone();
        after.state = RefundState::Unknown;
        after.release();
        let submitted_ms = before.submitted_at.unwrap_or(now_ms);
        after.next_check_at = schedule::next_unknown_check_ms(submitted_ms, now_ms);
        if after.next_check_at.is_none() {
            // It lay longer than the whole schedule: one look-up is made before a person is asked.
            after.next_check_at = Some(now_ms);
        }
        let lines = lines::load(&mut tx, &before).await?;
        let change = Change {
            order: &order,
            before: &before,
            after: &after,
            lines: &lines,
            cause: Cause::Recovery,
            who: &self.process,
        };
        self.settle(&mut tx, &change).await?;
        self.points.reach("refund.give_up.writing").await;
        tx.commit().await?;
        Ok(())
    }

    /// Asks the gateway for the refunds of the payment and writes what it says about this one. `false` if another
    /// process was quicker.
    async fn look_up(&self, due: RefundRow) -> Result<bool, FlowError> {
        let now_ms = self.clock.now_ms();
        let mut claimed = due.clone();
        claimed.lease(&self.process, now_ms + CALL_LEASE_MS);
        let mut tx = self.store.begin().await?;
        match rows::save(&mut tx, &due, &claimed, Cause::Lookup, now_ms).await {
            Ok(()) => {}
            Err(error) if error.is_conflict() => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        let products = lines::load(&mut tx, &due)
            .await?
            .into_iter()
            .map(|line| line.product)
            .collect();
        tx.commit().await?;
        claimed.version += 1;
        self.points.reach("refund.look_up.claimed").await;
        let request = RefundStatusRequest {
            atom_txn_id: due.atom_txn_id.clone(),
            products,
        };
        let answer = self.atom.refund_status(&request).await;
        self.points.reach("refund.look_up.answered").await;
        let send_again = self.write_findings(&claimed, answer).await?;
        self.points.reach("refund.look_up.written").await;
        if send_again {
            self.submit(&due.id, Sending::Again).await?;
        }
        Ok(true)
    }

    async fn write_findings(
        &self,
        claimed: &RefundRow,
        answer: Result<RefundStatusAnswer, CallError>,
    ) -> Result<bool, FlowError> {
        let now_ms = self.clock.now_ms();
        let mut tx = self.store.begin().await?;
        let (order, before) = self.take_refund(&mut tx, &claimed.id).await?;
        if before.version != claimed.version {
            // Somebody has settled it since, or taken it over after the lease; this look-up is old news.
            return Ok(false);
        }
        let lines = lines::load(&mut tx, &before).await?;
        let learned = self.learn(&before, lines, answer, now_ms);
        for (kind, detail) in &learned.alarms {
            self.raise_for(&mut tx, &learned.after, *kind, detail)
                .await?;
        }
        let change = Change {
            order: &order,
            before: &before,
            after: &learned.after,
            lines: &learned.lines,
            cause: Cause::Lookup,
            who: &self.process,
        };
        self.settle(&mut tx, &change).await?;
        self.points.reach("refund.look_up.writing").await;
        tx.commit().await?;
        Ok(learned.send_again)
    }

    fn learn(
        &self,
        before: &RefundRow,
        lines: Vec<Line>,
        answer: Result<RefundStatusAnswer, CallError>,
        now_ms: i64,
    ) -> Learned {
        let mut learned = Learned {
            after: before.clone(),
            lines,
            alarms: Vec::new(),
            send_again: false,
        };
        learned.after.release();
        match answer {
            Ok(answer) => self.learn_from_list(&mut learned, &answer, now_ms),
            Err(error @ CallError::Refused { .. }) => {
                learned
                    .alarms
                    .push((Kind::RefundConfiguration, error.to_string()));
            }
            // Nothing learned; the next look-up may do better.
            Err(_) => {}
        }
        schedule_next(&mut learned, now_ms);
        learned
    }

    fn learn_from_list(&self, learned: &mut Learned, answer: &RefundStatusAnswer, now_ms: i64) {
        let mut absent = false;
        let mut contradicts = false;
        for line in learned.lines.iter_mut() {
            let table = &self.settings.refund_remarks;
            let found =
                finding::find_line(&answer.entries, &line.prod_refund_id, line.amount, table);
            match found {
                LineFinding::Listed {
                    meaning,
                    word_known,
                    remarks,
                    refund_txn_id,
                } => {
                    if !word_known {
                        let detail = format!("remarks {remarks:?} are not in the table");
                        learned.alarms.push((Kind::RefundRemarksUnknown, detail));
                    }
                    line.state = raised(line.state, meaning);
                    line.refund_txn_id = refund_txn_id.or(line.refund_txn_id.take());
                    learned.after.remarks = Some(remarks);
                }
                LineFinding::Absent => absent |= line.state == LineState::Open,
                other => {
                    contradicts = true;
                    learned.alarms.push(contradiction(line, &other));
                }
            }
        }
        if contradicts {
            learned.after.held = Some(Held::Contradiction);
            return;
        }
        let was = learned.after.clone();
        settle::follow_lines(&mut learned.after, &learned.lines);
        if was.state.counts_as_refunded() && learned.after.done() < was.amount {
            let detail = format!(
                "accepted {}, and {} of it failed",
                was.amount,
                was.amount - learned.after.done()
            );
            learned.alarms.push((Kind::RefundFailed, detail));
        }
        if learned.after.state != RefundState::Unknown {
            learned.after.held = None;
        } else if absent {
            self.count_miss(learned, now_ms);
        }
    }

    /// The gateway answered definitely and does not list an open line (11.3, third row).
    fn count_miss(&self, learned: &mut Learned, now_ms: i64) {
        let after = &mut learned.after;
        after.misses += 1;
        let age_ms = now_ms - after.submitted_at.unwrap_or(now_ms);
        if after.misses < schedule::MISSES_NEEDED || age_ms < schedule::MISS_AGE_MS {
            return;
        }
        if after.resends > 0 {
            after.held = Some(Held::Undecided);
            let detail = format!(
                "sent {} times, not listed by {} answers",
                after.attempts, after.misses
            );
            learned.alarms.push((Kind::RefundUndecided, detail));
        } else if self.settings.refund_auto_resend {
            learned.send_again = true;
        } else {
            after.held = Some(Held::NotListed);
            let detail = format!(
                "not listed by {} definite answers; an operator decides",
                after.misses
            );
            learned.alarms.push((Kind::RefundNotListed, detail));
        }
    }

    /// An end state, or a held request, does not stay in the queue.
    async fn check_no_more(&self, refund: &RefundRow) -> Result<(), FlowError> {
        let mut after = refund.clone();
        after.next_check_at = None;
        let mut tx = self.store.begin().await?;
        rows::save(&mut tx, refund, &after, Cause::Lookup, self.clock.now_ms()).await?;
        tx.commit().await?;
        Ok(())
    }
}

fn schedule_next(learned: &mut Learned, now_ms: i64) {
    let after = &mut learned.after;
    let submitted_ms = after.submitted_at.unwrap_or(after.created_at);
    match after.state {
        RefundState::Unknown => {
            after.next_check_at = schedule::next_unknown_check_ms(submitted_ms, now_ms);
            if after.next_check_at.is_none() {
                after.held.get_or_insert(Held::Undecided);
                learned.alarms.push((
                    Kind::RefundUndecided,
                    "no look-up up to T+3 could tell".to_owned(),
                ));
            }
        }
        RefundState::Accepted => {
            after.next_check_at = schedule::next_accepted_check_ms(submitted_ms, now_ms);
            if after.next_check_at.is_none() {
                learned.alarms.push((
                    Kind::RefundNotPaidOut,
                    "accepted, and not reported paid out".to_owned(),
                ));
            }
        }
        _ => after.next_check_at = None,
    }
}

fn contradiction(line: &Line, found: &LineFinding) -> (Kind, String) {
    let id = &line.prod_refund_id;
    match found {
        LineFinding::TimesHundred => (
            Kind::RefundAmountMismatch,
            format!(
                "{id}: listed with 100 times {}: paise for rupees?",
                line.amount
            ),
        ),
        LineFinding::Repeated { times } => (
            Kind::RefundListedTwice,
            format!("{id}: listed {times} times"),
        ),
        LineFinding::OtherAmount { listed } => (
            Kind::RefundAmountMismatch,
            format!("{id}: sent {}, listed {listed:?}", line.amount),
        ),
        LineFinding::Listed { .. } | LineFinding::Absent => {
            unreachable!("a line that is listed as sent, or not at all, contradicts nothing")
        }
    }
}

/// What a word about a line makes of it. A line never falls back, and one that was accepted cannot be refused any more,
/// only fail.
fn raised(state: LineState, meaning: Meaning) -> LineState {
    match (state, meaning) {
        (LineState::Open, Meaning::Accepted) => LineState::Accepted,
        (LineState::Open, Meaning::Rejected) => LineState::Rejected,
        (LineState::Open | LineState::Accepted, Meaning::Processed) => LineState::Processed,
        (LineState::Open, Meaning::Failed) => LineState::Failed,
        (LineState::Accepted, Meaning::Failed | Meaning::Rejected) => LineState::Failed,
        (state, _) => state,
    }
}
