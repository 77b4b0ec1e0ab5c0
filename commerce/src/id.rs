//! Names of things: a prefix that says what it is, then a ULID (48 bits of time, 80 random bits).
//!
//! They sort by time within the millisecond, need no coordination between processes, and cannot be guessed.

use crate::clock::Clock;

/// Characters of a ULID.
pub const ULID_CHARS: usize = 26;

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// A new name with this prefix, of the system's time.
pub fn new(prefix: &str) -> String {
    at(prefix, Clock::system().now_ms())
}

/// A new name with this prefix, of the given time.
pub fn at(prefix: &str, now_ms: i64) -> String {
    let mut random = [0_u8; 10];
    rand::fill(&mut random);
    let low = random
        .iter()
        .fold(0_u128, |sum, byte| sum << 8 | u128::from(*byte));
    let time = u128::from(now_ms.max(0).unsigned_abs()) & ((1 << 48) - 1);
    let value = time << 80 | low;
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
    }
}
