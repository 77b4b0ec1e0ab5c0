//! Latencies by outcome: of the running second, and of the whole.
//!
//! One histogram record a transaction: it goes to the running second's histogram of its outcome. Once a second these
//! are written to the interval log, added to the totals and emptied. All memory is there after an outcome's first
//! transaction; the common outcomes have theirs from the start.

use hdrhistogram::Histogram;

use super::hlog::{Hlog, HlogError};
use super::outcome::Outcome;

/// The longest latency that is told apart, in nanoseconds; longer ones count as this.
const LATENCY_MAX_NS: u64 = 600_000_000_000;
/// The finest step, in nanoseconds. With three digits it keeps a histogram within 200 KiB.
const LATENCY_UNIT_NS: u64 = 1_000;

/// A histogram of times in nanoseconds, exact to three digits and to about a microsecond.
pub(crate) fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(LATENCY_UNIT_NS, LATENCY_MAX_NS, 3)
        .unwrap_or_else(|error| unreachable!("constant bounds are good: {error}"))
}

/// The histograms of one outcome.
#[derive(Clone)]
struct Row {
    outcome: Outcome,
    second: Histogram<u64>,
    total: Histogram<u64>,
}

impl Row {
    fn new(outcome: Outcome) -> Row {
        Row {
            outcome,
            second: new_histogram(),
            total: new_histogram(),
        }
    }
}

/// What one second brought, for the live line.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Second {
    /// Transactions that ended.
    pub ended: u64,
    /// Of these, the ones that were neither approved nor refused.
    pub errors: u64,
    /// Latencies of all of them, in nanoseconds.
    pub p50_ns: u64,
    /// 99th percentile.
    pub p99_ns: u64,
    /// 99.9th percentile.
    pub p999_ns: u64,
}

/// Counts and latencies of a run. Only transactions of the measured part enter the totals.
pub struct Tally {
    rows: Vec<Row>,
    scratch: Histogram<u64>,
    overall: Histogram<u64>,
    from_ns: u64,
    until_ns: u64,
    last_end_ns: u64,
    ended_within: u64,
    warmup_ended: u64,
}

impl Tally {
    /// Measures the transactions whose intended time lies in `from_ns..until_ns`.
    #[must_use]
    pub fn new(from_ns: u64, until_ns: u64) -> Tally {
        let known = [Outcome::Approved, Outcome::Refused, Outcome::TimeOut];
        Tally {
            rows: known.map(Row::new).to_vec(),
            scratch: new_histogram(),
            overall: new_histogram(),
            from_ns,
            until_ns,
            last_end_ns: from_ns,
            ended_within: 0,
            warmup_ended: 0,
        }
    }

    /// Counts a transaction that was meant for `intended_ns` and ended at `now_ns`.
    pub fn record(&mut self, outcome: Outcome, intended_ns: u64, now_ns: u64) {
        if now_ns >= self.from_ns && now_ns < self.until_ns {
            self.ended_within += 1;
        }
        if intended_ns < self.from_ns {
            self.warmup_ended += 1;
            return;
        }
        self.last_end_ns = self.last_end_ns.max(now_ns);
        let at = match self.rows.iter().position(|row| row.outcome == outcome) {
            Some(at) => at,
            None => {
                self.rows.push(Row::new(outcome));
                self.rows.len() - 1
            }
        };
        let latency = now_ns.saturating_sub(intended_ns);
        self.rows[at].second.saturating_record(latency);
    }

    /// Ends a second that began at `start_ns` and ends at `now_ns`.
    ///
    /// # Errors
    /// The interval log could not be written.
    pub fn tick(
        &mut self,
        start_ns: u64,
        now_ns: u64,
        hlog: Option<&mut Hlog>,
    ) -> Result<Second, HlogError> {
        self.scratch.reset();
        let mut errors = 0;
        for row in &self.rows {
            add(&mut self.scratch, &row.second);
            if !matches!(row.outcome, Outcome::Approved | Outcome::Refused) {
                errors += row.second.len();
            }
        }
        if let Some(hlog) = hlog {
            for row in self.rows.iter().filter(|row| !row.second.is_empty()) {
                hlog.write(row.outcome, &row.second, start_ns, now_ns)?;
            }
        }
        for row in self.rows.iter_mut().filter(|row| !row.second.is_empty()) {
            add(&mut row.total, &row.second);
            row.second.reset();
        }
        add(&mut self.overall, &self.scratch);
        Ok(Second {
            ended: self.scratch.len(),
            errors,
            p50_ns: self.scratch.value_at_quantile(0.5),
            p99_ns: self.scratch.value_at_quantile(0.99),
            p999_ns: self.scratch.value_at_quantile(0.999),
        })
    }

    /// The latencies of every measured transaction, after the last tick.
    #[must_use]
    pub fn overall(&self) -> &Histogram<u64> {
        &self.overall
    }

    /// The latencies by outcome, in the order of [`Outcome`], outcomes that did not occur left out.
    #[must_use]
    pub fn by_outcome(&self) -> Vec<(Outcome, &Histogram<u64>)> {
        let mut rows: Vec<_> = self
            .rows
            .iter()
            .filter(|row| !row.total.is_empty())
            .map(|row| (row.outcome, &row.total))
            .collect();
        rows.sort_by_key(|(outcome, _)| *outcome);
        rows
    }

    /// Transactions that ended a second while the run was measured, whatever they were meant for.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.ended_within as f64 / self.seconds()
    }

    /// How long was measured.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        (self.until_ns - self.from_ns) as f64 / 1e9
    }

    /// Transactions that were meant for the warm-up and ended.
    #[must_use]
    pub fn warmup_ended(&self) -> u64 {
        self.warmup_ended
    }

    /// When the last measured transaction ended, in nanoseconds from the start.
    #[must_use]
    pub fn last_end_ns(&self) -> u64 {
        self.last_end_ns
    }
}

/// Adds `part` to `whole`; both were made by [`new_histogram`], so it cannot fail.
fn add(whole: &mut Histogram<u64>, part: &Histogram<u64>) {
    whole
        .add(part)
        .unwrap_or_else(|error| unreachable!("histograms of one shape add up: {error}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Latency counts from the intended time, outcomes are kept apart, and the warm-up is left out.
    #[test]
    fn latencies_are_kept_by_outcome() {
        let mut tally = Tally::new(1000 * MS, 3000 * MS);
        tally.record(Outcome::Approved, 500 * MS, 900 * MS);
        for n in 0..1000 {
            let intended = (1000 + n) * MS;
            tally.record(Outcome::Approved, intended, intended + (n + 1) * MS);
        }
        tally.record(Outcome::Abnormal(*b"C12"), 1500 * MS, 1502 * MS);
        tally.record(Outcome::TimeOut, 1500 * MS, 9500 * MS);
        let second = tally.tick(0, 10_000 * MS, None).expect("no log to fail");
        assert_eq!((second.ended, second.errors), (1002, 2));
        assert!(
            second.p50_ns.abs_diff(500 * MS) < 2 * MS,
            "{}",
            second.p50_ns
        );
        assert_eq!(tally.overall().len(), 1002);
        assert_eq!(tally.warmup_ended(), 1);
        let outcomes: Vec<_> = tally
            .by_outcome()
            .iter()
            .map(|(o, h)| (*o, h.len()))
            .collect();
        assert_eq!(
            outcomes,
            [
                (Outcome::Approved, 1000),
                (Outcome::Abnormal(*b"C12"), 1),
                (Outcome::TimeOut, 1)
            ]
        );
        assert_eq!(tally.last_end_ns(), 9500 * MS);
        // Of the approved, those that ended before 3 s of the run count in the rate; all did, by 2999 ms.
        assert!(
            (tally.rate() - 1001.0 / 2.0).abs() < 1.0,
            "{}",
            tally.rate()
        );
    }

    /// Three digits are exact: no quantile is off by more than a thousandth of itself and a microsecond.
    #[test]
    fn quantiles_are_exact_to_three_digits() {
        let mut histogram = new_histogram();
        for value in 1..=100_000u64 {
            histogram.saturating_record(value * 10_000);
        }
        for quantile in [0.5, 0.9, 0.99, 0.999] {
            let exact = quantile * 1e9;
            let got = histogram.value_at_quantile(quantile) as f64;
            assert!(
                (got - exact).abs() <= exact / 1000.0 + 1024.0,
                "{quantile}: {got}"
            );
        }
        histogram.saturating_record(u64::MAX);
        assert!(histogram.max() >= LATENCY_MAX_NS);
    }

    /// A second is counted once: after the tick the next one starts from nothing.
    #[test]
    fn a_tick_empties_the_second() {
        let mut tally = Tally::new(0, 10_000 * MS);
        tally.record(Outcome::Refused, 0, MS);
        assert_eq!(tally.tick(0, MS, None).expect("no log").ended, 1);
        assert_eq!(
            tally.tick(MS, 2 * MS, None).expect("no log"),
            Second::default()
        );
        assert_eq!(tally.overall().len(), 1);
    }
}
