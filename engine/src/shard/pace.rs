//! How a shard waits for work: polling, asleep until something comes, or asleep for a while in which much comes.
//!
//! A waking costs the same for one completion as for a hundred, and so does a durable write. So a shard that is told to
//! gather (`gather_us`), and that has more to do than one waking at a time is worth, sleeps on while things come. A
//! quiet shard never does: a lone transaction is not made to wait for company.

use std::time::Duration;

use crate::core::Now;
use crate::driver::Wait;

/// Completions in the time of gathering from which on it gathers. A transaction is about ten of them when each wakes the
/// shard, so one application that sends its next request when it has its answer stays below.
const GATHER_FROM: u64 = 16;
/// It goes on while there are so many: a transaction that shares its sends and writes with others is only four or five.
const GATHER_WHILE: u64 = 6;
/// The rate is taken over so many times of gathering.
const WINDOW: u64 = 4;

/// The loop's pace: what it was told, and how much came lately.
pub(super) struct Pace {
    spin_ns: u64,
    gather_ns: u64,
    /// When something came last.
    worked_ns: u64,
    /// The window that is counted, and completions in it.
    since_ns: u64,
    count: u64,
    /// Whether the last whole window had enough in it.
    gathering: bool,
}

impl Pace {
    /// Polls for `spin` after work; gathers for `gather` at a time when much is going on.
    pub(super) fn new(spin: Duration, gather: Duration, now: Now) -> Pace {
        Pace {
            spin_ns: spin.as_nanos() as u64,
            gather_ns: gather.as_nanos() as u64,
            worked_ns: now.mono_ns,
            since_ns: now.mono_ns,
            count: 0,
            gathering: false,
        }
    }

    /// A turn has ended with so many completions.
    pub(super) fn turned(&mut self, now: Now, completions: u32) {
        if completions > 0 {
            self.worked_ns = now.mono_ns;
        }
        self.count += u64::from(completions);
        let elapsed_ns = now.mono_ns - self.since_ns;
        if elapsed_ns >= self.gather_ns * WINDOW && elapsed_ns > 0 {
            let least = if self.gathering {
                GATHER_WHILE
            } else {
                GATHER_FROM
            };
            self.gathering = self.count * self.gather_ns / elapsed_ns >= least;
            (self.since_ns, self.count) = (now.mono_ns, 0);
        }
    }

    /// How the next turn waits, when nothing has to happen by itself for `quiet`, which is asked for only before a sleep.
    pub(super) fn wait(&self, now: Now, quiet: impl FnOnce() -> Duration) -> Wait {
        if now.mono_ns - self.worked_ns < self.spin_ns {
            Wait::Poll
        } else if self.gathering {
            Wait::Gather(quiet().min(Duration::from_nanos(self.gather_ns)))
        } else {
            Wait::AtMost(quiet())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Duration = Duration::from_millis(250);

    fn at_us(us: u64) -> Now {
        Now {
            mono_ns: us * 1000,
            wall_ns: 0,
        }
    }

    /// Shows that a shard polls after work for as long as it was told, and then sleeps until something comes.
    #[test]
    fn polls_then_sleeps() {
        let mut pace = Pace::new(Duration::from_micros(50), Duration::ZERO, at_us(0));
        pace.turned(at_us(100), 3);
        assert_eq!(pace.wait(at_us(149), || QUIET), Wait::Poll);
        assert_eq!(pace.wait(at_us(150), || QUIET), Wait::AtMost(QUIET));
    }

    /// Shows that gathering begins when enough comes in its time, is cut short by what has to happen by itself, and ends
    /// with the rush.
    #[test]
    fn gathers_while_much_comes() {
        let gather = Duration::from_micros(500);
        let mut pace = Pace::new(Duration::ZERO, gather, at_us(0));
        let mut turn = |us, completions| {
            pace.turned(at_us(us), completions);
            pace.wait(at_us(us), || QUIET)
        };
        assert_eq!(turn(100, 10), Wait::AtMost(QUIET), "nothing is known yet");
        assert_eq!(turn(2000, 60), Wait::Gather(gather), "70 in 2 ms");
        assert_eq!(turn(2500, 1), Wait::Gather(gather));
        assert_eq!(turn(4000, 25), Wait::Gather(gather), "26 in 2 ms go on");
        assert_eq!(turn(6000, 1), Wait::AtMost(QUIET), "1 in 2 ms");
        assert_eq!(turn(8000, 26), Wait::AtMost(QUIET), "26 do not begin");
        pace.turned(at_us(10_000), 64);
        assert_eq!(
            pace.wait(at_us(10_000), || Duration::from_micros(20)),
            Wait::Gather(Duration::from_micros(20))
        );
    }

    /// Shows that a rush after a long rest is no reason to gather before it has lasted.
    #[test]
    fn a_lone_transaction_waits_for_nobody() {
        let mut pace = Pace::new(Duration::ZERO, Duration::from_micros(500), at_us(0));
        pace.turned(at_us(1_000_000), 2);
        pace.turned(at_us(1_000_100), 2);
        assert_eq!(pace.wait(at_us(1_000_100), || QUIET), Wait::AtMost(QUIET));
    }
}
