//! What is to happen later: a heap of deadlines. Delays are for faults and tests, so a heap is cheap enough.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::sim::Late;

/// Something to be done at its time. Generations tell a timer whose reason is gone from one that still counts.
#[derive(Debug)]
pub enum Timer {
    /// Connect a session.
    Connect(u32),
    /// The issuer answers, or t13 or t15 ends the wait for it.
    Issuer {
        /// Position of the line.
        line: u16,
        /// Position of the outward route.
        slot: usize,
        /// Generation of the wait.
        token: u32,
    },
    /// A frame that was on its way arrives.
    Release(Late),
    /// t10, t12 or t16 of the line's command.
    Command {
        /// Position of the line.
        line: u16,
        /// Generation of the command.
        generation: u32,
    },
    /// t11: 0010 once more.
    StartAgain {
        /// Position of the line.
        line: u16,
        /// Generation of the 0010 that was not answered.
        generation: u32,
    },
    /// t13 or t15 of an incoming transaction.
    Inward {
        /// Position of the line.
        line: u16,
        /// Position of the inward route.
        slot: usize,
        /// Generation of the transaction.
        generation: u32,
    },
    /// A command of the scenario, by position.
    Scenario(usize),
}

/// The timers of the centre.
#[derive(Debug, Default)]
pub struct TimerQueue {
    heap: BinaryHeap<Due>,
    armed: u64,
}

#[derive(Debug)]
struct Due {
    at_ns: u64,
    order: u64,
    timer: Timer,
}

impl TimerQueue {
    /// Arms a timer for `at_ns`.
    pub fn arm(&mut self, at_ns: u64, timer: Timer) {
        self.armed += 1;
        self.heap.push(Due {
            at_ns,
            order: self.armed,
            timer,
        });
    }

    /// The earliest deadline.
    pub fn next_ns(&self) -> Option<u64> {
        self.heap.peek().map(|due| due.at_ns)
    }

    /// Takes the earliest timer whose deadline has come; those of one deadline come in the order in which they were armed.
    pub fn pop(&mut self, now_ns: u64) -> Option<Timer> {
        if self.next_ns()? > now_ns {
            return None;
        }
        self.heap.pop().map(|due| due.timer)
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at_ns, other.order).cmp(&(self.at_ns, self.order))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Due {}
