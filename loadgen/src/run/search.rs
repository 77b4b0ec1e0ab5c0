//! Finding the peak: the highest rate that is kept up with, between two bounds, by bisection.
//!
//! Kept up with means: the answers come at the rate of the requests, the 99th percentile stays below its bound, hardly
//! anything fails, and the generator itself did not lag. Latency counts from the intended time, so a rate that is
//! too high shows at once: its queue grows for as long as the step lasts.

use serde::Serialize;

use super::pace::Invalid;
use super::part::Part;

/// Answers per request that count as keeping up.
const KEPT_UP: f64 = 0.99;
/// Answers that may be missing at the end of any step, so that a short or slow one is not judged by one request.
const STRAGGLERS: f64 = 3.0;
/// Share of failed requests that is let pass.
const ERRORS_MAX: f64 = 0.001;

/// What was found at one rate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// Requests per second that were offered.
    pub offered: f64,
    /// Answers per second.
    pub achieved: f64,
    /// The 99th percentile of the latency, in microseconds.
    pub p99_us: f64,
    /// Why the rate is too high; nothing if it was kept up with.
    pub failed: Option<Failed>,
}

/// Why a rate is too high.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Failed {
    /// The generator lagged: the rate is beyond the generator, not beyond the daemon.
    Generator,
    /// Fewer answers than requests.
    Behind,
    /// The latency grew beyond its bound.
    Latency,
    /// Too many requests failed.
    Errors,
}

impl Step {
    /// Judges what a part at this rate brought.
    pub(crate) fn judge(offered: f64, part: &Part, p99_max_us: f64) -> Step {
        let p99_us = part.tally.overall().value_at_quantile(0.99) as f64 / 1e3;
        let invalid: Option<Invalid> = part.lag.invalid();
        let found = Found {
            lagged: invalid.is_some(),
            achieved: part.tally.rate(),
            slack: STRAGGLERS / part.tally.seconds(),
            p99_us,
            errors: part.error_share(),
        };
        Step {
            offered,
            achieved: found.achieved,
            p99_us,
            failed: found.failed(offered, p99_max_us),
        }
    }
}

/// The figures that a step is judged by.
#[derive(Clone, Copy, Debug)]
struct Found {
    lagged: bool,
    achieved: f64,
    /// Answers per second that may be missing.
    slack: f64,
    p99_us: f64,
    errors: f64,
}

impl Found {
    fn failed(&self, offered: f64, p99_max_us: f64) -> Option<Failed> {
        if self.lagged {
            Some(Failed::Generator)
        } else if self.errors > ERRORS_MAX {
            Some(Failed::Errors)
        } else if self.achieved + self.slack < KEPT_UP * offered {
            Some(Failed::Behind)
        } else if self.p99_us > p99_max_us {
            Some(Failed::Latency)
        } else {
            None
        }
    }
}

/// Which rate to try next.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    low: f64,
    high: f64,
    percent: f64,
    /// `low` has been tried and kept up with.
    low_holds: bool,
    tried_low: bool,
    tried_high: bool,
}

impl Search {
    pub(crate) fn new(low: f64, high: f64, percent: f64) -> Search {
        Search {
            low,
            high: high.max(low),
            percent: percent.max(0.1),
            low_holds: false,
            tried_low: false,
            tried_high: false,
        }
    }

    /// The next rate to try: first the lower bound, then the upper, then the middle of what is left.
    pub(crate) fn next(&self) -> Option<f64> {
        if !self.tried_low {
            Some(self.low)
        } else if !self.low_holds || self.high - self.low <= self.high * self.percent / 100.0 {
            None
        } else if !self.tried_high {
            Some(self.high)
        } else {
            Some((self.low + self.high) / 2.0)
        }
    }

    /// Notes whether the rate of `next` was kept up with.
    pub(crate) fn note(&mut self, rate: f64, holds: bool) {
        if !self.tried_low {
            self.tried_low = true;
            self.low_holds = holds;
        } else if holds {
            self.low = rate;
        } else {
            self.high = rate;
        }
        self.tried_high |= rate >= self.high;
    }

    /// The highest rate that was kept up with.
    pub(crate) fn peak(&self) -> Option<f64> {
        self.low_holds.then_some(self.low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tries rates against a daemon that keeps up with `limit`; returns the peak found and how many steps it took.
    fn play(mut search: Search, limit: f64) -> (Option<f64>, u32) {
        let mut steps = 0;
        while let Some(rate) = search.next() {
            search.note(rate, rate <= limit);
            steps += 1;
            assert!(steps < 50, "the search does not end");
        }
        (search.peak(), steps)
    }

    /// The peak is found to the resolution asked for, from any place between the bounds.
    #[test]
    fn the_peak_is_found() {
        for limit in [100_000.0, 123_456.0, 299_000.0, 399_999.0] {
            let (peak, steps) = play(Search::new(50_000.0, 400_000.0, 2.0), limit);
            let peak = peak.expect("a peak");
            assert!(peak <= limit && peak > limit * 0.97, "{peak} for {limit}");
            assert!(steps <= 12, "{steps} steps");
        }
    }

    /// Bounds that are both too high or both kept up with end the search at once, with an honest answer.
    #[test]
    fn a_peak_outside_the_bounds_is_not_invented() {
        assert_eq!(play(Search::new(1_000.0, 2_000.0, 2.0), 10.0), (None, 1));
        assert_eq!(
            play(Search::new(1_000.0, 2_000.0, 2.0), 1e6),
            (Some(2_000.0), 2)
        );
    }

    /// Each reason is found, and a generator that lagged is blamed before the daemon is.
    #[test]
    fn each_reason_is_told() {
        let good = Found {
            lagged: false,
            achieved: 999.0,
            slack: 3.0,
            p99_us: 900.0,
            errors: 0.0,
        };
        assert_eq!(good.failed(1000.0, 1000.0), None);
        let rows = [
            (
                Found {
                    lagged: true,
                    achieved: 1.0,
                    ..good
                },
                Failed::Generator,
            ),
            (
                Found {
                    achieved: 980.0,
                    ..good
                },
                Failed::Behind,
            ),
            (
                Found {
                    p99_us: 1001.0,
                    ..good
                },
                Failed::Latency,
            ),
            (
                Found {
                    errors: 0.01,
                    ..good
                },
                Failed::Errors,
            ),
        ];
        for (found, failed) in rows {
            assert_eq!(found.failed(1000.0, 1000.0), Some(failed));
        }
    }
}
