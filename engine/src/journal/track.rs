//! One transaction followed through its facts, for tools. The core decides; this only reads what it wrote down.

use codec::cafis::header::Header;
use codec::cafis::section::{Section10, TransactionKey};
use codec::link::message::TransactionState;

use crate::core::cascade::Verdict;
use crate::core::fact::Fact;
use crate::core::tx::{Outcome, Phase};

/// What the facts so far say of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Track {
    pub(super) key: [u8; 24],
    pub(super) line: u32,
    pub(super) tx: u64,
    pub(super) sequence: u32,
    pub(super) cut_date: u32,
    pub(super) request_mti: u16,
    pub(super) report_mti: Option<u16>,
    /// Error code of the report.
    pub(super) error: [u8; 3],
    pub(super) state: TransactionState,
    /// Nothing more will happen to it by itself.
    pub(super) settled: bool,
}

/// The transaction key of a fact that begins a transaction, or brings it into a checkpoint.
pub(super) fn key_of(fact: &Fact<'_>) -> Option<[u8; 24]> {
    let image = match fact {
        Fact::Request(request) => request.image,
        Fact::Open(open) => open.image,
        _ => return None,
    };
    TransactionKey::of(image).map(|key| key.0)
}

impl Track {
    /// A transaction whose first fact, or whose checkpoint, is applied next.
    pub(super) fn new(key: [u8; 24], line: u32, tx: u64) -> Track {
        Track {
            key,
            line,
            tx,
            sequence: 0,
            cut_date: 0,
            request_mti: 0,
            report_mti: None,
            error: *b"   ",
            state: TransactionState::Open,
            settled: false,
        }
    }

    /// Goes on by one fact of this transaction.
    pub(super) fn apply(&mut self, fact: &Fact<'_>) {
        match fact {
            Fact::Request(request) => {
                (self.sequence, self.cut_date) = (request.sequence, request.cut_date);
                self.request_mti = mti(request.image).unwrap_or(0);
                self.stand(TransactionState::Open);
            }
            Fact::Open(open) => {
                (self.sequence, self.cut_date) = (open.sequence, open.cut_date);
                self.request_mti = mti(open.image).unwrap_or(0);
                if !open.report.is_empty() {
                    self.report(open.report);
                }
                self.stand(phase_state(open.phase));
            }
            Fact::Report(report) => {
                self.report(report.frame);
                self.stand(TransactionState::Reported);
            }
            Fact::Fault(_) | Fact::Held(_) => self.stand(TransactionState::Cancelling),
            Fact::Escalated(_) => self.stand(TransactionState::Escalated),
            Fact::FaultReport(report) => self.fault_report(report.verdict),
            Fact::NotSent(_) => self.settle(TransactionState::NotSent),
            Fact::Delivered(_) => self.settle(TransactionState::Delivered),
            Fact::Ended(ended) => self.settle(outcome_state(ended.outcome)),
            _ => {}
        }
    }

    fn report(&mut self, frame: &[u8]) {
        self.report_mti = mti(frame);
        self.error = Section10::of(frame).map_or(*b"   ", |section| section.error_code());
    }

    fn fault_report(&mut self, verdict: u8) {
        match Verdict::from_byte(verdict) {
            Some(Verdict::Cancelled) => self.settle(TransactionState::Cancelled),
            Some(Verdict::NotProcessed) => self.settle(TransactionState::NotProcessed),
            Some(Verdict::Stop) | None => self.settle(TransactionState::Escalated),
            Some(
                Verdict::Busy
                | Verdict::Congested
                | Verdict::Hold
                | Verdict::NotOpen
                | Verdict::NotOpenYet,
            ) => {
                self.stand(TransactionState::Cancelling);
            }
        }
    }

    fn stand(&mut self, state: TransactionState) {
        (self.state, self.settled) = (state, false);
    }

    fn settle(&mut self, state: TransactionState) {
        (self.state, self.settled) = (state, true);
    }
}

fn mti(frame: &[u8]) -> Option<u16> {
    Header::new(frame).ok().map(|header| header.mti().0)
}

fn phase_state(phase: u8) -> TransactionState {
    match Phase::from_byte(phase) {
        Some(Phase::Free | Phase::Buffered | Phase::Accepted | Phase::Sent) => {
            TransactionState::Open
        }
        Some(Phase::Reported) => TransactionState::Reported,
        Some(Phase::FaultSent | Phase::FaultDelay | Phase::Held) | None => {
            TransactionState::Cancelling
        }
        Some(Phase::Escalated) => TransactionState::Escalated,
    }
}

fn outcome_state(outcome: u8) -> TransactionState {
    match Outcome::from_byte(outcome) {
        Some(Outcome::None) => TransactionState::Open,
        Some(Outcome::Delivered) => TransactionState::Delivered,
        Some(Outcome::Cancelled) => TransactionState::Cancelled,
        Some(Outcome::NotProcessed) => TransactionState::NotProcessed,
        Some(Outcome::NotSent) => TransactionState::NotSent,
        Some(Outcome::Unanswered) => TransactionState::Unanswered,
        Some(Outcome::Unresolved | Outcome::Purged) | None => TransactionState::Escalated,
    }
}
