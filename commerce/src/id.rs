//! Names of things: a prefix that says what it is, then a ULID (48 bits of time, 80 random bits).
//!
//! They sort by time to the millisecond, need no coordination between processes, and cannot be guessed. Rows that must be
//! read back in the order in which they were written take a name [`in_order`].

use std::sync::atomic::{AtomicU32, Ordering};

use crate::clock::Clock;

/// Characters of a ULID.
pub const ULID_CHARS: usize = 26;

const RANDOM_BITS: u32 = 80;
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// A new name with this prefix, of the system's time.
pub fn new(prefix: &str) -> String {
    at(prefix, Clock::system().now_ms())
}

/// A new name with this prefix, of the given time.
pub fn at(prefix: &str, now_ms: i64) -> String {
    named(
        prefix,
        now_ms,
        rand::random::<u128>() >> (128 - RANDOM_BITS),
    )
}

/// A new name that sorts behind those this process made in the same millisecond: a counter stands before 48 random bits.
/// For rows that nobody has to guess.
pub fn in_order(prefix: &str, now_ms: i64) -> String {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let count = u128::from(MADE.fetch_add(1, Ordering::Relaxed));
    let random = rand::random::<u128>() >> (128 - RANDOM_BITS + 32);
    named(prefix, now_ms, count << (RANDOM_BITS - 32) | random)
}

fn named(prefix: &str, now_ms: i64, low: u128) -> String {
    let time = u128::from(now_ms.max(0).unsigned_abs()) & ((1 << 48) - 1);
    let value = time << RANDOM_BITS | low;
    let mut name = String::with_capacity(prefix.len() + ULID_CHARS);
    name.push_str(prefix);
    for place in (0..ULID_CHARS).rev() {
        let digit = (value >> (5 * place)) & 31;
        name.push(char::from(ALPHABET[digit as usize]));
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names have the published form, sort by time, and do not repeat.
    #[test]
    fn form_and_order() {
        let first = at("G", 1_736_917_200_000);
        assert_eq!(first.len(), 27);
        assert!(first.starts_with("G01JHM"), "{first}");
        assert!(first < at("G", 1_736_917_200_001));
        let many: std::collections::BTreeSet<String> = (0..10_000).map(|_| at("", 5)).collect();
        assert_eq!(many.len(), 10_000);
        let rows: Vec<String> = (0..1_000).map(|_| in_order("", 5)).collect();
        assert!(rows.is_sorted());
    }
}
