//! The newest settled transactions: what a query, a repeated request or a late ACK is answered from.
//!
//! A ring that forgets the oldest, and two direct-mapped indexes into it, by key and by request. An index entry that
//! meets another of the same place is overwritten, so a transaction may be forgotten a little earlier than its turn:
//! what is forgotten is in the journal. In exchange an entry costs three stores and no search.

use super::LineNo;
use super::tx::{Outcome, hash};

/// A settled transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Transaction id.
    pub id: u64,
    /// Its line.
    pub line: LineNo,
    /// How it ended.
    pub outcome: Outcome,
    /// The return code its application was, or would be, told.
    pub code: u16,
    /// Message type of the request.
    pub mti: u16,
    /// Message type of the report, 0 if there is none.
    pub report_mti: u16,
    /// Client request id.
    pub request: u64,
    /// Token of the API session.
    pub token: [u8; 16],
    /// Transaction key.
    pub key: [u8; 24],
}

/// The ring.
pub struct Recent {
    ring: Vec<Settled>,
    next: usize,
    by_key: Box<[u32]>,
    by_request: Box<[u32]>,
}

/// No entry.
const NONE: u32 = u32::MAX;

fn request_hash(token: &[u8; 16], request: u64) -> u64 {
    hash(token) ^ request.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Where an index keeps what has this hash. The low bits of a product are weak, so the high ones count.
fn place(index: &[u32], hash: u64) -> usize {
    (hash >> 20) as usize & (index.len() - 1)
}

impl Recent {
    /// A ring of `capacity` transactions; no memory is taken later.
    #[must_use]
    pub fn new(capacity: usize) -> Recent {
        let capacity = capacity.max(1);
        let index = || vec![NONE; (capacity * 4).next_power_of_two()].into_boxed_slice();
        Recent {
            ring: Vec::with_capacity(capacity),
            next: 0,
            by_key: index(),
            by_request: index(),
        }
    }

    /// Adds one, forgetting the oldest if the ring is full.
    pub fn push(&mut self, settled: Settled) {
        let at = self.next;
        if at == self.ring.len() {
            self.ring.push(settled);
        } else {
            self.ring[at] = settled;
        }
        self.next = (at + 1) % self.ring.capacity();
        let (by_key, by_request) = (&mut self.by_key, &mut self.by_request);
        by_key[place(by_key, hash(&settled.key))] = at as u32;
        by_request[place(by_request, request_hash(&settled.token, settled.request))] = at as u32;
    }

    /// The newest settled transaction of a line with this key.
    #[must_use]
    pub fn by_key(&self, line: LineNo, key: &[u8; 24]) -> Option<&Settled> {
        let at = self.by_key[place(&self.by_key, hash(key))];
        self.ring
            .get(at as usize)
            .filter(|old| old.line == line && old.key == *key)
    }

    /// The settled transaction of a client request.
    #[must_use]
    pub fn by_request(&self, token: &[u8; 16], request: u64) -> Option<&Settled> {
        let at = self.by_request[place(&self.by_request, request_hash(token, request))];
        self.ring
            .get(at as usize)
            .filter(|old| old.request == request && old.token == *token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ring finds the newest of a key and forgets exactly what is older than its capacity.
    #[test]
    fn newest_wins_and_oldest_goes() {
        let settled = |id: u64, key: u8| Settled {
            id,
            line: LineNo(0),
            outcome: Outcome::Delivered,
            code: 0,
            mti: 3110,
            report_mti: 3120,
            request: id,
            token: [1; 16],
            key: [key; 24],
        };
        let mut recent = Recent::new(4);
        for id in 1..=6 {
            recent.push(settled(id, (id % 2) as u8));
        }
        assert_eq!(
            recent.by_key(LineNo(0), &[0; 24]).map(|old| old.id),
            Some(6)
        );
        assert_eq!(
            recent.by_key(LineNo(1), &[0; 24]),
            None,
            "another line's key is another key"
        );
        assert_eq!(recent.by_request(&[1; 16], 2), None, "forgotten");
        assert_eq!(recent.by_request(&[1; 16], 3).map(|old| old.id), Some(3));
        assert_eq!(
            recent.by_request(&[2; 16], 3),
            None,
            "another session's request"
        );
    }
}
