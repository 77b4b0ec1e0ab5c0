//! Counts of the last minutes: what a rate "over 5 minutes" is computed from at the moment somebody asks.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

/// The grain of a window, in ms.
const SLOT_MS: i64 = 10_000;

/// Counts by key over the last `length_ms`, to the grain of a slot.
pub struct Window<K> {
    length_ms: i64,
    slots: Mutex<VecDeque<Slot<K>>>,
}

struct Slot<K> {
    number: i64,
    counts: HashMap<K, u64>,
}

impl<K: Eq + Hash + Clone> Window<K> {
    /// An empty window.
    pub fn new(length_ms: i64) -> Self {
        Self {
            length_ms,
            slots: Mutex::new(VecDeque::new()),
        }
    }

    /// Counts one of `key` at `now_ms`. A clock that went back counts into the newest slot.
    pub fn add(&self, now_ms: i64, key: K) {
        let number = now_ms / SLOT_MS;
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        self.forget(&mut slots, number);
        if slots.back().is_none_or(|slot| slot.number < number) {
            slots.push_back(Slot {
                number,
                counts: HashMap::new(),
            });
        }
        let newest = slots.back_mut().expect("a slot was just pushed");
        *newest.counts.entry(key).or_default() += 1;
    }

    /// What the window holds at `now_ms`.
    pub fn sums(&self, now_ms: i64) -> HashMap<K, u64> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        self.forget(&mut slots, now_ms / SLOT_MS);
        let mut sums = HashMap::new();
        for slot in slots.iter() {
            for (key, count) in &slot.counts {
                *sums.entry(key.clone()).or_default() += count;
            }
        }
        sums
    }

    fn forget(&self, slots: &mut VecDeque<Slot<K>>, number: i64) {
        let oldest = number - self.length_ms / SLOT_MS;
        while slots.front().is_some_and(|slot| slot.number <= oldest) {
            slots.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is older than the window is not counted any more.
    #[test]
    fn old_counts_leave() {
        let window = Window::new(60_000);
        window.add(0, "a");
        window.add(30_000, "a");
        window.add(30_000, "b");
        assert_eq!(window.sums(30_000), HashMap::from([("a", 2), ("b", 1)]));
        assert_eq!(window.sums(65_000), HashMap::from([("a", 1), ("b", 1)]));
        assert_eq!(window.sums(200_000), HashMap::new());
    }
}
