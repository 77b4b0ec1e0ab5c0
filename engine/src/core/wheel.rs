//! Timers: two fixed, single-level wheels over one table of entries.
//!
//! The fine wheel has 8,192 slots of 10 ms; what lies beyond its horizon (82 s) goes to the coarse one, 4,096
//! slots of 1 s. Entries are linked by `u32` inside a table of their own, so that arming and cancelling touch
//! little memory and never allocate; within a slot they expire in the order of arming. Deadlines are rounded
//! up: a timer never fires early. How many expire at once is bounded by the caller, who simply stops asking.

/// Nothing follows.
const NONE: u32 = u32::MAX;
const FINE_SLOTS: usize = 8192;
const COARSE_SLOTS: usize = 4096;
/// Width of a fine slot in nanoseconds.
pub const FINE_NS: u64 = 10_000_000;
const COARSE_NS: u64 = 1_000_000_000;

/// A running timer. A handle that expired or was cancelled is recognised by its generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerId {
    index: u32,
    generation: u32,
}

impl TimerId {
    /// A handle of no timer.
    pub const NONE: TimerId = TimerId {
        index: NONE,
        generation: 0,
    };
}

#[derive(Clone, Copy)]
struct Entry {
    next: u32,
    prev: u32,
    generation: u32,
    /// The list it is in: a fine slot, FINE_SLOTS + a coarse slot, or NONE while it is free.
    list: u32,
    deadline_ns: u64,
    what: u64,
}

#[derive(Clone, Copy)]
struct List {
    first: u32,
    last: u32,
}

/// The wheels. `what` is the caller's word for what a timer is about.
pub struct Wheel {
    lists: Box<[List]>,
    /// One bit for each fine slot that holds a timer, so that a sleeper finds the next one quickly.
    occupied: [u64; FINE_SLOTS / 64],
    entries: Vec<Entry>,
    free: u32,
    running: usize,
    /// The slot that is looked at next, in whole slots since time zero.
    fine_at: u64,
    coarse_at: u64,
}

impl Wheel {
    /// A wheel that can hold `capacity` timers at a time; no memory is taken later.
    #[must_use]
    pub fn new(capacity: usize, now_ns: u64) -> Wheel {
        assert!(capacity < NONE as usize, "a wheel of {capacity} timers");
        Wheel {
            lists: vec![
                List {
                    first: NONE,
                    last: NONE
                };
                FINE_SLOTS + COARSE_SLOTS
            ]
            .into_boxed_slice(),
            occupied: [0; FINE_SLOTS / 64],
            entries: Vec::with_capacity(capacity),
            free: NONE,
            running: 0,
            fine_at: now_ns / FINE_NS,
            coarse_at: now_ns / COARSE_NS,
        }
    }

    /// How many timers run.
    #[must_use]
    pub fn len(&self) -> usize {
        self.running
    }

    /// Whether no timer runs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.running == 0
    }

    /// Starts a timer that fires at `deadline_ns` or up to one slot later.
    ///
    /// # Panics
    /// If more timers run than the wheel was made for: the tables that own timers are sized together with it.
    pub fn arm(&mut self, deadline_ns: u64, what: u64) -> TimerId {
        let index = if self.free == NONE {
            assert!(
                self.entries.len() < self.entries.capacity(),
                "more than {} timers",
                self.entries.capacity()
            );
            self.entries.push(Entry {
                next: NONE,
                prev: NONE,
                generation: 0,
                list: NONE,
                deadline_ns: 0,
                what: 0,
            });
            (self.entries.len() - 1) as u32
        } else {
            let index = self.free;
            self.free = self.entries[index as usize].next;
            index
        };
        let entry = &mut self.entries[index as usize];
        entry.deadline_ns = deadline_ns;
        entry.what = what;
        let generation = entry.generation;
        self.running += 1;
        self.place(index);
        TimerId { index, generation }
    }

    /// Stops a timer. A handle that is not running any more is let be.
    pub fn cancel(&mut self, id: TimerId) {
        if self
            .entries
            .get(id.index as usize)
            .is_some_and(|entry| entry.generation == id.generation && entry.list != NONE)
        {
            self.unlink(id.index);
            self.release(id.index);
        }
    }

    /// The next timer that is due at `now_ns`, taken out; `None` when no more is due.
    pub fn expire(&mut self, now_ns: u64) -> Option<u64> {
        let fine_now = now_ns / FINE_NS;
        while self.fine_at <= fine_now {
            let slot = (self.fine_at % FINE_SLOTS as u64) as usize;
            let first = self.lists[slot].first;
            if first != NONE {
                let what = self.entries[first as usize].what;
                self.unlink(first);
                self.release(first);
                return Some(what);
            }
            if self.fine_at == fine_now {
                break;
            }
            self.fine_at += 1;
            self.refill();
        }
        None
    }

    /// A time before which nothing can expire, for a sleep; at most one horizon away.
    #[must_use]
    pub fn next_ns(&self) -> Option<u64> {
        if self.running == 0 {
            return None;
        }
        let horizon_ns = (self.fine_at + FINE_SLOTS as u64 / 2) * FINE_NS;
        let (first, bit) = (
            (self.fine_at % FINE_SLOTS as u64) as usize / 64,
            self.fine_at % 64,
        );
        let words = self.occupied.len();
        for step in 0..=words {
            let at = (first + step) % words;
            // The first word is looked at twice: what lies behind the current slot in it comes last.
            let mask = match step {
                0 => u64::MAX << bit,
                step if step == words => !(u64::MAX << bit),
                _ => u64::MAX,
            };
            let word = self.occupied[at] & mask;
            if word != 0 {
                let slot = (at * 64) as u64 + u64::from(word.trailing_zeros());
                let ahead = (slot + FINE_SLOTS as u64 - self.fine_at % FINE_SLOTS as u64)
                    % FINE_SLOTS as u64;
                return Some(((self.fine_at + ahead) * FINE_NS).min(horizon_ns));
            }
        }
        Some(horizon_ns)
    }

    /// Moves the timers of the coarse slots that came within the fine horizon.
    fn refill(&mut self) {
        let horizon_ns = (self.fine_at + FINE_SLOTS as u64 - 200) * FINE_NS;
        while (self.coarse_at + 1) * COARSE_NS <= horizon_ns {
            let list = FINE_SLOTS + (self.coarse_at % COARSE_SLOTS as u64) as usize;
            self.coarse_at += 1;
            let mut index = std::mem::replace(
                &mut self.lists[list],
                List {
                    first: NONE,
                    last: NONE,
                },
            )
            .first;
            while index != NONE {
                let next = self.entries[index as usize].next;
                self.place(index);
                index = next;
            }
        }
    }

    /// Puts an entry at the end of the list that its deadline belongs to.
    fn place(&mut self, index: u32) {
        let deadline_ns = self.entries[index as usize].deadline_ns;
        let fine = deadline_ns.div_ceil(FINE_NS).max(self.fine_at);
        let list = if fine < self.fine_at + FINE_SLOTS as u64 {
            (fine % FINE_SLOTS as u64) as usize
        } else {
            let coarse = (deadline_ns / COARSE_NS)
                .clamp(self.coarse_at, self.coarse_at + COARSE_SLOTS as u64 - 1);
            FINE_SLOTS + (coarse % COARSE_SLOTS as u64) as usize
        };
        if let Some(word) = self.occupied.get_mut(list / 64) {
            *word |= 1 << (list % 64);
        }
        let last = self.lists[list].last;
        let entry = &mut self.entries[index as usize];
        (entry.list, entry.prev, entry.next) = (list as u32, last, NONE);
        self.lists[list].last = index;
        match last {
            NONE => self.lists[list].first = index,
            last => self.entries[last as usize].next = index,
        }
    }

    fn unlink(&mut self, index: u32) {
        let Entry {
            next, prev, list, ..
        } = self.entries[index as usize];
        match prev {
            NONE => self.lists[list as usize].first = next,
            prev => self.entries[prev as usize].next = next,
        }
        match next {
            NONE => self.lists[list as usize].last = prev,
            next => self.entries[next as usize].prev = prev,
        }
        if self.lists[list as usize].first == NONE
            && let Some(word) = self.occupied.get_mut(list as usize / 64)
        {
            *word &= !(1 << (list % 64));
        }
    }

    fn release(&mut self, index: u32) {
        let entry = &mut self.entries[index as usize];
        entry.generation = entry.generation.wrapping_add(1);
        entry.list = NONE;
        entry.next = self.free;
        self.free = index;
        self.running -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Timers of every range fire once, never early, at most one slot late, in order; cancelled ones never.
    #[test]
    fn never_early_never_lost() {
        let start = 123_456_789_012;
        let mut wheel = Wheel::new(4000, start);
        let deadline = |n: u64| start + (n * n * 77_777_777) % 2_000_000_000_000;
        let handles: Vec<_> = (0..4000).map(|n| wheel.arm(deadline(n), n)).collect();
        handles.iter().step_by(3).for_each(|id| wheel.cancel(*id));
        let mut fired = vec![0; 4000];
        let mut now = start;
        while !wheel.is_empty() {
            now += 3_333_333;
            let next = wheel.next_ns().expect("timers run");
            let earliest = (0..4000)
                .filter(|n| n % 3 != 0 && fired[*n as usize] == 0)
                .map(deadline)
                .min();
            assert!(
                next <= earliest.expect("timers run").next_multiple_of(FINE_NS),
                "a sleep would miss a timer"
            );
            assert!(
                now < start + 2_100_000_000_000,
                "{} timers never fired",
                wheel.len()
            );
            while let Some(what) = wheel.expire(now) {
                fired[what as usize] += 1;
                assert!(
                    now >= deadline(what),
                    "timer {what} early by {} ns",
                    deadline(what) - now
                );
                assert!(
                    now - deadline(what) < FINE_NS + 3_333_333,
                    "timer {what} late"
                );
            }
        }
        for (n, fired) in fired.iter().enumerate() {
            assert_eq!(*fired, usize::from(n % 3 != 0), "timer {n}");
        }
        handles.iter().for_each(|id| wheel.cancel(*id));
        assert_eq!(wheel.len(), 0, "old handles are let be");
    }

    /// After a long sleep everything due fires, also from the coarse wheel, and a jump loses nothing.
    #[test]
    fn a_jump_in_time_loses_nothing() {
        let mut wheel = Wheel::new(10, 0);
        for n in 0..10 {
            wheel.arm(n * 100_000_000_000, n);
        }
        let mut seen = Vec::new();
        while let Some(what) = wheel.expire(5_000_000_000_000) {
            seen.push(what);
        }
        assert_eq!(seen, (0..10).collect::<Vec<_>>());
    }
}
