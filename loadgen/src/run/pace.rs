//! What is due now, and how late the generator itself is.
//!
//! A latency that is measured from the intended time blames the daemon for everything. That is right only while the
//! generator keeps its own schedule, so its lag is measured too: the time from when a send was due *and possible* to
//! when it was made. While every link is out of credit or room the daemon is the one that is late, and the wait
//! counts in the latency alone. A run whose generator lagged is invalid: its numbers say nothing about the daemon.

use hdrhistogram::Histogram;

use super::schedule::Schedule;
use super::tally::new_histogram;

/// How much lag a valid run may have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LagBounds {
    /// The 99th percentile of the lag, at most, in nanoseconds.
    pub p99_ns: u64,
    /// A send that lags more than this, in nanoseconds, is late.
    pub late_ns: u64,
    /// The share of late sends, at most, 0 to 1.
    pub late_share: f64,
}

impl Default for LagBounds {
    fn default() -> Self {
        LagBounds {
            p99_ns: 1_000_000,
            late_ns: 10_000_000,
            late_share: 0.001,
        }
    }
}

/// The generator's lag of a run, or of a part of one.
#[derive(Clone, Debug)]
pub struct Lag {
    histogram: Histogram<u64>,
    late: u64,
    bounds: LagBounds,
}

/// Why a run is invalid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Invalid {
    /// The 99th percentile of the lag is above its bound (both in nanoseconds).
    Lag {
        /// What it was.
        p99_ns: u64,
        /// What it may be.
        bound_ns: u64,
    },
    /// Too many sends were late.
    Late {
        /// The share that was.
        share: f64,
        /// The share that may be.
        bound: f64,
    },
}

impl std::fmt::Display for Invalid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Invalid::Lag { p99_ns, bound_ns } => write!(
                f,
                "the generator lagged {} us at p99 (bound {} us)",
                p99_ns / 1000,
                bound_ns / 1000
            ),
            Invalid::Late { share, bound } => write!(
                f,
                "{:.3} % of the sends were late (bound {:.3} %)",
                share * 100.0,
                bound * 100.0
            ),
        }
    }
}

impl Lag {
    /// No lag yet.
    #[must_use]
    pub fn new(bounds: LagBounds) -> Lag {
        Lag {
            histogram: new_histogram(),
            late: 0,
            bounds,
        }
    }

    fn record(&mut self, lag_ns: u64) {
        self.histogram.saturating_record(lag_ns);
        self.late += u64::from(lag_ns > self.bounds.late_ns);
    }

    /// The lag of every send, in nanoseconds.
    #[must_use]
    pub fn histogram(&self) -> &Histogram<u64> {
        &self.histogram
    }

    /// The share of sends that were late, 0 to 1.
    #[must_use]
    pub fn late_share(&self) -> f64 {
        self.late as f64 / self.histogram.len().max(1) as f64
    }

    /// Why the run says nothing about the daemon; `None` if it is valid.
    #[must_use]
    pub fn invalid(&self) -> Option<Invalid> {
        let p99_ns = self.histogram.value_at_quantile(0.99);
        // The histogram answers with the highest value of a bucket: that alone must not pass the bound.
        if self.histogram.lowest_equivalent(p99_ns) > self.bounds.p99_ns {
            return Some(Invalid::Lag {
                p99_ns,
                bound_ns: self.bounds.p99_ns,
            });
        }
        let share = self.late_share();
        (share > self.bounds.late_share).then_some(Invalid::Late {
            share,
            bound: self.bounds.late_share,
        })
    }
}

/// Where the next send comes from.
enum Source {
    /// A schedule; latency counts from its times.
    Open(Schedule),
    /// Whatever a connection has room for, until this time; latency counts from the send.
    Closed { end_ns: u64 },
}

/// Hands out what is due and records the lag of each send. Knows no clock: times are passed in, in nanoseconds
/// from the start of the run.
pub struct Pacer {
    source: Source,
    measured_from_ns: u64,
    blocked: bool,
    free_since_ns: u64,
    lag: Lag,
}

impl Pacer {
    /// Follows a schedule; sends intended before `measured_from_ns` are the warm-up and count in no lag.
    #[must_use]
    pub fn open(schedule: Schedule, measured_from_ns: u64, bounds: LagBounds) -> Pacer {
        Pacer::new(Source::Open(schedule), measured_from_ns, bounds)
    }

    /// Sends whenever there is room, until `end_ns`. There is no lag, since nothing is intended.
    #[must_use]
    pub fn closed(end_ns: u64, measured_from_ns: u64) -> Pacer {
        Pacer::new(
            Source::Closed { end_ns },
            measured_from_ns,
            LagBounds::default(),
        )
    }

    fn new(source: Source, measured_from_ns: u64, bounds: LagBounds) -> Pacer {
        Pacer {
            source,
            measured_from_ns,
            blocked: false,
            free_since_ns: 0,
            lag: Lag::new(bounds),
        }
    }

    /// No connection can take a request from now on.
    pub fn block(&mut self) {
        self.blocked = true;
    }

    /// Some connection can take a request, at `now_ns`.
    pub fn unblock(&mut self, now_ns: u64) {
        if self.blocked {
            self.blocked = false;
            self.free_since_ns = now_ns;
        }
    }

    /// The intended time of a send that is due at `now_ns`; the caller sends it at once.
    pub fn take(&mut self, now_ns: u64) -> Option<u64> {
        match &mut self.source {
            Source::Closed { end_ns } => (now_ns < *end_ns).then_some(now_ns),
            Source::Open(schedule) => {
                let intended = schedule.peek().filter(|time| *time <= now_ns)?;
                schedule.next();
                if intended >= self.measured_from_ns {
                    self.lag
                        .record(now_ns - intended.max(self.free_since_ns).min(now_ns));
                }
                Some(intended)
            }
        }
    }

    /// Whether every send of the run has been handed out.
    #[must_use]
    pub fn finished(&self, now_ns: u64) -> bool {
        match &self.source {
            Source::Closed { end_ns } => now_ns >= *end_ns,
            Source::Open(schedule) => schedule.peek().is_none(),
        }
    }

    /// When the next send is due, once there is room for it; `None` if there is no more.
    #[must_use]
    pub fn next_ns(&self, now_ns: u64) -> Option<u64> {
        match &self.source {
            Source::Closed { end_ns } => (now_ns < *end_ns).then_some(now_ns),
            Source::Open(schedule) => schedule.peek(),
        }
    }

    /// There is a schedule, all of whose sends have to be accounted for.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self.source, Source::Open(_))
    }

    /// The lag so far.
    #[must_use]
    pub fn lag(&self) -> &Lag {
        &self.lag
    }
}

#[cfg(test)]
mod tests {
    use super::super::schedule::{Arrivals, Rates};
    use super::*;

    fn pacer(rate: f64, seconds: u64) -> Pacer {
        let rates = Rates {
            from: rate,
            to: rate,
            warmup_ns: 0,
            measured_ns: seconds * 1_000_000_000,
        };
        Pacer::open(
            Schedule::new(rates, Arrivals::Even),
            0,
            LagBounds::default(),
        )
    }

    /// Takes everything that is due at each of the given times; returns how many that was.
    fn play(pacer: &mut Pacer, times: impl Iterator<Item = u64>) -> u64 {
        times
            .map(|now| std::iter::from_fn(|| pacer.take(now)).count() as u64)
            .sum()
    }

    /// A generator that wakes in time sends every request of the schedule, none before its time, and is valid.
    #[test]
    fn a_punctual_generator_is_valid() {
        let mut pacer = pacer(10_000.0, 1);
        assert_eq!(play(&mut pacer, (0..).step_by(20_000).take(50_000)), 10_000);
        assert!(pacer.finished(1_000_000_000));
        assert_eq!(pacer.lag().histogram().len(), 10_000);
        assert_eq!(pacer.lag().invalid(), None);
    }

    /// A generator that stops for 50 ms still sends everything, and what it sent late makes the run invalid.
    #[test]
    fn a_stalled_generator_skips_nothing_and_is_invalid() {
        let mut pacer = pacer(10_000.0, 1);
        let times = (0..50_000u64)
            .map(|turn| turn * 20_000)
            .filter(|now| !(200_000_000..250_000_000).contains(now));
        assert_eq!(play(&mut pacer, times), 10_000);
        assert_eq!(pacer.lag().histogram().len(), 10_000);
        assert!(
            matches!(pacer.lag().invalid(), Some(Invalid::Lag { p99_ns, .. }) if p99_ns > 40_000_000)
        );
        assert!((pacer.lag().late_share() - 0.04).abs() < 0.001);
    }

    /// Lag that spares the 99th percentile is still found by the share of late sends.
    #[test]
    fn few_but_late_sends_are_found() {
        let mut pacer = pacer(10_000.0, 10);
        let times = (0..500_000u64)
            .map(|turn| turn * 20_000)
            .filter(|now| !(200_000_000..250_000_000).contains(now));
        assert_eq!(play(&mut pacer, times), 100_000);
        assert!(matches!(pacer.lag().invalid(), Some(Invalid::Late { .. })));
    }

    /// While the daemon gives no credit the generator does not lag: the wait counts in the latency only.
    #[test]
    fn waiting_for_credit_is_not_lag() {
        let mut pacer = pacer(1_000.0, 1);
        pacer.block();
        pacer.unblock(500_000_000);
        assert_eq!(pacer.take(500_000_000), Some(0));
        assert_eq!(
            play(&mut pacer, (500_000_000..1_000_000_001).step_by(100_000)),
            999
        );
        assert_eq!(pacer.lag().invalid(), None);
        assert!(pacer.lag().histogram().max() <= 200_000);
    }
}
