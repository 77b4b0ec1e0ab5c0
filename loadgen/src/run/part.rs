//! One measured stretch: warm up, measure, wait for what is open. A search has several, a plain run one.

use std::io::Write;

use super::drive::{Counters, Drive, DriveError, Sink};
use super::hlog::{Hlog, HlogError};
use super::outcome::Outcome;
use super::pace::{Lag, Pacer};
use super::talk::Talk;
use super::tally::Tally;

/// The interval of the live line and of the interval log.
const TICK_NS: u64 = 1_000_000_000;

/// How long a part that does not send its backlog still sends what was due at its very end.
const BACKLOG_GRACE_NS: u64 = 100_000_000;

/// Where the seconds of a part go.
pub(crate) struct Outputs<'a> {
    /// A line a second, if wanted.
    pub(crate) live: Option<&'a mut dyn Write>,
    pub(crate) hlog: Option<&'a mut Hlog>,
    pub(crate) sink: Sink<'a>,
}

/// The times of a part, in nanoseconds from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) warmup_ns: u64,
    pub(crate) measured_ns: u64,
    pub(crate) drain_ns: u64,
    /// What is due but unsent at the end is still sent while it drains. A search has no use for that: the rate was
    /// too high, and the answer is known.
    pub(crate) send_backlog: bool,
}

/// What a part brought.
pub(crate) struct Part {
    pub(crate) tally: Tally,
    pub(crate) lag: Lag,
    pub(crate) counters: Counters,
}

/// A part failed.
#[derive(Debug, thiserror::Error)]
pub enum PartError {
    /// The loop could not go on.
    #[error(transparent)]
    Drive(#[from] DriveError),
    /// The interval log could not be written.
    #[error(transparent)]
    Hlog(#[from] HlogError),
}

/// Runs one part to its end: until everything sent has been answered, or the drain is over.
pub(crate) fn run<T: Talk>(
    drive: &mut Drive<T>,
    mut pacer: Pacer,
    times: Times,
    out: &mut Outputs<'_>,
) -> Result<Part, PartError> {
    let end_ns = times.warmup_ns + times.measured_ns;
    let drain_until = end_ns + times.drain_ns;
    let send_until = if times.send_backlog {
        drain_until
    } else {
        drain_until.min(end_ns + BACKLOG_GRACE_NS)
    };
    let mut tally = Tally::new(times.warmup_ns, end_ns);
    drive.take_counters();
    let base_ns = drive.now();
    let mut tick_ns = 0;
    loop {
        let now_ns = drive.now() - base_ns;
        if now_ns >= tick_ns + TICK_NS {
            tick(drive, &mut tally, (tick_ns, now_ns), &pacer, out)?;
            // Whole seconds, even after a turn that was long.
            tick_ns = now_ns - now_ns % TICK_NS;
        }
        if now_ns >= send_until {
            drive.end_unsent(base_ns, &mut pacer, &mut tally, &mut *out.sink);
        }
        if now_ns >= drain_until {
            drive.end_open(base_ns, &mut tally, &mut *out.sink);
        }
        if pacer.finished(now_ns) && !drive.busy() {
            break;
        }
        let wakes = [tick_ns + TICK_NS, send_until, drain_until];
        let wake_ns = wakes.into_iter().filter(|wake| *wake > now_ns).min();
        drive.turn(
            base_ns,
            &mut pacer,
            &mut tally,
            &mut *out.sink,
            wake_ns.unwrap_or(now_ns),
        )?;
    }
    let now_ns = drive.now() - base_ns;
    tick(drive, &mut tally, (tick_ns, now_ns), &pacer, out)?;
    Ok(Part {
        tally,
        lag: pacer.lag().clone(),
        counters: drive.take_counters(),
    })
}

/// Ends a second: totals, interval log, live line.
fn tick<T: Talk>(
    drive: &Drive<T>,
    tally: &mut Tally,
    (from_ns, to_ns): (u64, u64),
    pacer: &Pacer,
    out: &mut Outputs<'_>,
) -> Result<(), PartError> {
    let second = tally.tick(from_ns, to_ns, out.hlog.as_deref_mut())?;
    if let Some(live) = &mut out.live {
        let seconds = (to_ns - from_ns).max(1) as f64 / 1e9;
        let us = |ns: u64| ns as f64 / 1e3;
        // A live line that nobody can read any more (a closed pipe) must not end the run.
        let _ = writeln!(
            live,
            "{:>5.0} s {:>9.0} tps   p50 {:>8.0}  p99 {:>8.0}  p99.9 {:>8.0} us   open {:>6}  errors {:>6}  lag p99 {:>6.0} us",
            to_ns as f64 / 1e9,
            second.ended as f64 / seconds,
            us(second.p50_ns),
            us(second.p99_ns),
            us(second.p999_ns),
            drive.in_flight(),
            second.errors,
            us(pacer.lag().histogram().value_at_quantile(0.99)),
        );
    }
    Ok(())
}

impl Part {
    /// The share of measured requests that were neither approved nor refused, 0 to 1.
    pub(crate) fn error_share(&self) -> f64 {
        let good: u64 = self
            .tally
            .by_outcome()
            .iter()
            .filter(|(outcome, _)| matches!(outcome, Outcome::Approved | Outcome::Refused))
            .map(|(_, histogram)| histogram.len())
            .sum();
        1.0 - good as f64 / self.tally.overall().len().max(1) as f64
    }
}
