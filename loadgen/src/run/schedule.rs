//! When each request is meant to be sent: decided before the run, by nothing that happens in it.
//!
//! Both kinds of arrivals come from one picture. `expected(t)` is the number of sends up to `t`; send `i` stands where
//! it passes `i`. Evenly spaced arrivals walk the positions 0, 1, 2...; Poisson arrivals walk a unit-rate Poisson
//! process, so a ramp is the same process on a bent clock. Nothing here reads a clock.

/// Nanoseconds in a second.
const SECOND: f64 = 1e9;

/// Sends per second over the time of a run: constant while warming up, then going evenly from one rate to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Rate at the start and during the warm-up, per second.
    pub from: f64,
    /// Rate at the end, per second.
    pub to: f64,
    /// Length of the warm-up, in nanoseconds.
    pub warmup_ns: u64,
    /// Length of what is measured, in nanoseconds.
    pub measured_ns: u64,
}

impl Rates {
    /// Where the measured part ends.
    #[must_use]
    pub const fn end_ns(&self) -> u64 {
        self.warmup_ns + self.measured_ns
    }

    /// How many sends the run holds, rounded up. A Poisson run holds about as many.
    #[must_use]
    pub fn total(&self) -> u64 {
        let warm = self.from * self.warmup_ns as f64 / SECOND;
        let measured = (self.from + self.to) / 2.0 * self.measured_ns as f64 / SECOND;
        (warm + measured).ceil() as u64
    }

    /// The time in nanoseconds at which the expected number of sends passes `position`; infinite if it never does.
    fn time_of(&self, position: f64) -> f64 {
        let warm = self.from * self.warmup_ns as f64 / SECOND;
        if position < warm {
            return position / self.from * SECOND;
        }
        let rest = position - warm;
        let seconds = self.measured_ns as f64 / SECOND;
        let slope = (self.to - self.from) / seconds;
        let after = if slope == 0.0 {
            rest / self.from
        } else {
            // The root of slope/2 t^2 + from t = rest, in the form that stays exact for a small slope.
            let root = (self.from * self.from + 2.0 * slope * rest).sqrt();
            if root.is_nan() {
                f64::INFINITY
            } else {
                2.0 * rest / (self.from + root)
            }
        };
        // 0/0 is the first send of a ramp from nothing: it stands at the start.
        let after = if after.is_nan() { 0.0 } else { after };
        self.warmup_ns as f64 + after * SECOND
    }
}

/// How sends are spaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrivals {
    /// Evenly.
    Even,
    /// As a Poisson process from this seed.
    Poisson(u64),
}

/// The intended send times of one run, in nanoseconds from its start, never falling.
#[derive(Clone, Debug)]
pub struct Schedule {
    rates: Rates,
    arrivals: Arrivals,
    position: f64,
    count: u64,
    next_ns: Option<u64>,
}

impl Schedule {
    /// The schedule of these rates.
    ///
    /// # Panics
    /// If a rate is negative, both are zero, or nothing is measured: the options refuse that before.
    #[must_use]
    pub fn new(rates: Rates, arrivals: Arrivals) -> Schedule {
        assert!(rates.from >= 0.0 && rates.to >= 0.0 && rates.from + rates.to > 0.0);
        assert!(rates.measured_ns > 0, "a run of no length has no schedule");
        let mut schedule = Schedule {
            rates,
            arrivals,
            position: 0.0,
            count: 0,
            next_ns: None,
        };
        if let Arrivals::Poisson(state) = &mut schedule.arrivals {
            schedule.position = exponential(state);
        }
        schedule.settle();
        schedule
    }

    /// The next intended time, without taking it; `None` when the schedule is used up.
    #[must_use]
    pub const fn peek(&self) -> Option<u64> {
        self.next_ns
    }

    /// Works out the time of the send at the present position.
    fn settle(&mut self) {
        let time = self.rates.time_of(self.position);
        self.next_ns = (time < self.rates.end_ns() as f64).then_some(time as u64);
    }

    fn advance(&mut self) {
        self.count += 1;
        match &mut self.arrivals {
            // Counted, not summed, so that a thousand million sends do not drift.
            Arrivals::Even => self.position = self.count as f64,
            Arrivals::Poisson(state) => self.position += exponential(state),
        }
        self.settle();
    }
}

impl Iterator for Schedule {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let time = self.next_ns?;
        self.advance();
        Some(time)
    }
}

/// The next number of a splitmix64 sequence.
pub(crate) fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// An exponentially distributed number of mean 1.
fn exponential(state: &mut u64) -> f64 {
    let uniform = ((splitmix(state) >> 11) + 1) as f64 / (1u64 << 53) as f64;
    -uniform.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn rates(from: f64, to: f64, warmup_ns: u64, measured_ns: u64) -> Rates {
        Rates {
            from,
            to,
            warmup_ns,
            measured_ns,
        }
    }

    /// A constant rate gives exactly rate x time sends, evenly spaced to the nanosecond, whatever the rate.
    #[test]
    fn a_constant_rate_skips_nothing() {
        for rate in [1u64, 7, 1_000, 333_333] {
            let plan = rates(rate as f64, rate as f64, S, 2 * S);
            let times: Vec<u64> = Schedule::new(plan, Arrivals::Even).collect();
            assert_eq!(times.len() as u64, 3 * rate);
            assert_eq!(plan.total(), 3 * rate);
            for (i, time) in times.iter().enumerate() {
                let exact = i as u64 * S / rate;
                assert!(time.abs_diff(exact) <= 1, "send {i} at {time}, not {exact}");
            }
        }
    }

    /// A ramp sends the mean of its two rates, slow at the slow end and fast at the fast end, in both directions.
    #[test]
    fn a_ramp_bends_evenly() {
        for (from, to) in [(100.0, 900.0), (900.0, 100.0), (0.0, 1000.0), (1000.0, 0.0)] {
            let plan = rates(from, to, 0, 10 * S);
            let times: Vec<u64> = Schedule::new(plan, Arrivals::Even).collect();
            assert!((times.len() as u64).abs_diff(plan.total()) <= 1);
            assert!(times.is_sorted());
            let first = times.iter().filter(|t| **t < S).count() as f64;
            let expected = from + (to - from) / 20.0;
            assert!(
                (first - expected).abs() <= 2.0,
                "{first} in the first second, not {expected}"
            );
        }
    }

    /// Poisson arrivals keep the rate, their gaps have the spread of an exponential, and a seed repeats them.
    #[test]
    fn poisson_arrivals_keep_the_rate() {
        let plan = rates(10_000.0, 10_000.0, 0, 10 * S);
        let times: Vec<u64> = Schedule::new(plan, Arrivals::Poisson(5)).collect();
        assert!((times.len() as f64 - 100_000.0).abs() < 2_000.0);
        let gaps: Vec<f64> = times.windows(2).map(|w| (w[1] - w[0]) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        let spread = variance.sqrt() / mean;
        assert!((spread - 1.0).abs() < 0.05, "spread {spread}");
        let again: Vec<u64> = Schedule::new(plan, Arrivals::Poisson(5)).collect();
        assert_eq!(times, again);
    }
}
