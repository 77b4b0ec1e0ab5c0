//! What a run did, step by step; and who is told of it.

use serde::{Deserialize, Serialize};

use super::key::RequestType;
use super::steps::outcome::Tally;

/// What a step did in a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepReport {
    /// Its name.
    pub step: String,
    /// Orders that needed it.
    pub selected: u64,
    /// Orders closed without a call.
    pub closed: u64,
    /// Items sent or asked about.
    pub sent: u64,
    /// Accepted, found or done.
    pub done: u64,
    /// Refused.
    pub refused: u64,
    /// Outcome unclear.
    pub unknown: u64,
    /// Not ready.
    pub pending: u64,
    /// No longer wanted.
    pub skipped: u64,
    /// Not executed; later again.
    pub back: u64,
    /// Never received; sent again.
    pub resent: u64,
    /// Our code failed on them.
    pub failed: u64,
    /// Whether its time slice ended before its work.
    pub cut: bool,
    /// How long it took.
    pub duration_ms: i64,
    /// Why it failed as a whole.
    pub error: Option<String>,
    /// Items of calls that the agency answered.
    #[serde(skip)]
    pub answered: u64,
    /// When it began, unix ms.
    #[serde(skip)]
    pub began_at: i64,
}

impl StepReport {
    /// Counts an item.
    pub fn count(&mut self, tally: Tally) {
        let counter = match tally {
            Tally::Done => &mut self.done,
            Tally::Refused => &mut self.refused,
            Tally::Unknown => &mut self.unknown,
            Tally::Pending => &mut self.pending,
            Tally::Skipped => &mut self.skipped,
            Tally::Back => &mut self.back,
            Tally::Resend => &mut self.resent,
        };
        *counter += 1;
    }

    /// Whether it did anything at all.
    #[must_use]
    pub fn idle(&self) -> bool {
        let began = self.selected + self.closed + self.sent;
        let ended = self.done + self.refused + self.unknown + self.pending + self.skipped;
        let again = self.back + self.resent + self.failed;
        began + ended + again == 0 && self.error.is_none()
    }
}

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunReport {
    /// Its id.
    pub run_id: String,
    /// Its number.
    pub fence: i64,
    /// Who asked for it: `schedule`, or an operator's name.
    pub cause: String,
    /// When it began, unix ms.
    pub started_at: i64,
    /// When it ended, unix ms.
    pub ended_at: i64,
    /// Requests found in SENDING.
    pub recovered: u64,
    /// The steps, in their order.
    pub steps: Vec<StepReport>,
}

impl RunReport {
    /// Whether no step failed as a whole.
    #[must_use]
    pub fn whole(&self) -> bool {
        self.steps.iter().all(|step| step.error.is_none())
    }

    /// What it did, in one line of the log.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut text = format!("{} ms", self.ended_at - self.started_at);
        if self.recovered > 0 {
            text += &format!(", {} found in SENDING", self.recovered);
        }
        for step in self.steps.iter().filter(|step| !step.idle()) {
            text += &format!(
                "; {} selected {} closed {} sent {} done {} refused {} unknown {} pending {} skipped {} back {} failed {}",
                step.step,
                step.selected,
                step.closed,
                step.sent,
                step.done,
                step.refused,
                step.unknown,
                step.pending,
                step.skipped,
                step.back,
                step.failed
            );
        }
        text
    }

    /// Whether no step did anything.
    #[must_use]
    pub fn idle(&self) -> bool {
        self.recovered == 0 && self.steps.iter().all(StepReport::idle)
    }
}

/// Hears what the worker does, for metrics. Every method does nothing unless it is written.
pub trait Observer: Send + Sync {
    /// An item of a step is written down.
    fn item(&self, _step: &'static str, _tally: Tally) {}
    /// Requests leave that left before.
    fn resent(&self, _kind: RequestType, _count: usize) {}
    /// An order is billed.
    fn billed(&self, _amount: i64) {}
    /// Screening said something new about an order: `approved`, `refused` or `held`.
    fn screened(&self, _word: &'static str) {}
    /// Rules of section 17 were found broken, so often.
    fn violated(&self, _rule: &'static str, _count: usize) {}
    /// A message to people was sent, or was not: by which way, and how it went.
    fn notice(&self, _channel: &'static str, _result: &'static str) {}
    /// A step ended.
    fn step_ended(&self, _report: &StepReport) {}
    /// A run ended.
    fn run_ended(&self, _report: &RunReport) {}
}

/// Hears nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {}
