//! What a run came to, printed and as JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::RunAtomArgs;
use super::api::Unexpected;
use super::order::Done;

/// Longer than any answer may take, in microseconds.
const TIME_MAX_US: u64 = 120_000_000;

/// Times of one step.
#[derive(Clone, Debug)]
pub struct Step(Histogram<u64>);

impl Default for Step {
    fn default() -> Self {
        // Three digits from 1 us to two minutes: a histogram of known bounds.
        Step(Histogram::new_with_bounds(1, TIME_MAX_US, 3).expect("these bounds make a histogram"))
    }
}

impl Step {
    fn add(&mut self, time_us: Option<u64>) {
        if let Some(us) = time_us {
            self.0.saturating_record(us);
        }
    }

    fn ms(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1e3
    }
}

impl Serialize for Step {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let figures = BTreeMap::from([
            ("count", self.0.len() as f64),
            ("max_ms", self.0.max() as f64 / 1e3),
            ("p50_ms", self.ms(0.5)),
            ("p90_ms", self.ms(0.9)),
            ("p99_ms", self.ms(0.99)),
        ]);
        figures.serialize(serializer)
    }
}

/// How bad callbacks of one kind went.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Trials {
    /// How many were tried.
    pub tried: u64,
    /// How they were answered.
    pub answers: BTreeMap<u16, u64>,
    /// How many were answered wrongly, or had an effect.
    pub wrong: u64,
}

/// The result.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// `open` at a rate, `closed` with workers.
    pub mode: &'static str,
    /// Orders a second that were asked for.
    pub offered: Option<f64>,
    /// Workers.
    pub workers: usize,
    /// Orders that were driven.
    pub orders: u64,
    /// Seconds that it took.
    pub seconds: f64,
    /// Orders a second.
    pub orders_per_second: f64,
    /// From when an order should have begun to its answered callback.
    pub order: Step,
    /// Creating it.
    pub create: Step,
    /// Starting its payment.
    pub start: Step,
    /// Its callback.
    pub callback: Step,
    /// Its refund.
    pub refund: Step,
    /// Callbacks sent once more.
    pub duplicate: Step,
    /// How many of these a second.
    pub duplicates_per_second: f64,
    /// How orders ended.
    pub ended: BTreeMap<String, u64>,
    /// Bad callbacks by kind.
    pub bad: BTreeMap<String, Trials>,
    /// What was not as it should be, and how often.
    pub errors: BTreeMap<String, u64>,
    /// Orders with a lost callback that were paid by a status query.
    pub settled: u64,
    /// Those that were not, when the wait was over.
    pub unsettled: u64,
}

impl Report {
    /// Adds an order.
    pub fn add(&mut self, done: &Done) {
        self.orders += 1;
        self.order.add(done.times.order_us);
        self.create.add(done.times.create_us);
        self.start.add(done.times.start_us);
        self.callback.add(done.times.callback_us);
        self.refund.add(done.times.refund_us);
        if let Some(error) = &done.error {
            *self.errors.entry(error.clone()).or_default() += 1;
        } else if let Some(ended) = done.ended {
            *self.ended.entry(ended.to_owned()).or_default() += 1;
        }
        if let Some(trial) = &done.trial {
            let name = serde_json::to_value(trial.kind).unwrap_or_default();
            let trials = self
                .bad
                .entry(name.as_str().unwrap_or_default().to_owned())
                .or_default();
            trials.tried += 1;
            *trials.answers.entry(trial.status).or_default() += 1;
            trials.wrong += u64::from(!trial.right());
        }
    }

    /// Adds a callback that was sent once more.
    pub fn add_duplicate(&mut self, answer: Result<(u16, u64), Unexpected>) {
        match answer {
            Ok((200, us)) => self.duplicate.add(Some(us)),
            Ok((status, _)) => {
                *self
                    .errors
                    .entry(format!("duplicate: {status}"))
                    .or_default() += 1
            }
            Err(error) => *self.errors.entry(error).or_default() += 1,
        }
    }

    /// Notes how long it took and how it was driven.
    pub fn finish(&mut self, took: Duration, args: &RunAtomArgs) {
        self.seconds = took.as_secs_f64();
        self.orders_per_second = self.orders as f64 / self.seconds.max(1e-9);
        self.offered = args.rate;
        (self.mode, self.workers) = match args.rate {
            Some(_) => ("open", 0),
            None => ("closed", args.workers),
        };
    }

    /// How many things were wrong.
    #[must_use]
    pub fn wrong(&self) -> u64 {
        let bad: u64 = self.bad.values().map(|trials| trials.wrong).sum();
        bad + self.errors.values().sum::<u64>()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.offered {
            Some(rate) => write!(f, "{} orders, {rate} a second offered", self.orders)?,
            None => write!(f, "{} orders, {} at a time", self.orders, self.workers)?,
        }
        writeln!(
            f,
            ": {:.1} a second over {:.1} s",
            self.orders_per_second, self.seconds
        )?;
        let steps = [
            ("order", &self.order),
            ("create", &self.create),
            ("start", &self.start),
            ("callback", &self.callback),
            ("refund", &self.refund),
            ("duplicate", &self.duplicate),
        ];
        writeln!(
            f,
            "{:<10}{:>8}{:>10}{:>10}{:>10}{:>10}",
            "ms", "count", "p50", "p90", "p99", "max"
        )?;
        for (name, step) in steps.iter().filter(|(_, step)| !step.0.is_empty()) {
            let (p50, p90, p99) = (step.ms(0.5), step.ms(0.9), step.ms(0.99));
            let max = step.0.max() as f64 / 1e3;
            writeln!(
                f,
                "{name:<10}{:>8}{p50:>10.2}{p90:>10.2}{p99:>10.2}{max:>10.2}",
                step.0.len()
            )?;
        }
        if self.duplicates_per_second > 0.0 {
            let rate = self.duplicates_per_second;
            writeln!(
                f,
                "{rate:>8.0}  callbacks a second that were sent once more"
            )?;
        }
        for (how, count) in &self.ended {
            writeln!(f, "{count:>8}  {how}")?;
        }
        if self.settled + self.unsettled > 0 {
            writeln!(
                f,
                "{:>8}  paid by a status query, {} still waiting",
                self.settled, self.unsettled
            )?;
        }
        for (kind, trials) in &self.bad {
            let right = trials.tried - trials.wrong;
            writeln!(
                f,
                "{:>8}  bad callbacks: {kind}, {right} of them without effect",
                trials.tried
            )?;
        }
        for (what, count) in &self.errors {
            writeln!(f, "{count:>8}  WRONG: {what}")?;
        }
        Ok(())
    }
}
