//! The newest settled transactions: what a query, a repeated request or a late ACK is answered from.
//!
//! A ring that forgets the oldest; what it has forgotten is in the journal.

use super::LineNo;
use super::tx::{Outcome, hash};
use hashbrown::HashTable;

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
    capacity: usize,
    next: usize,
    by_key: HashTable<u32>,
    by_request: HashTable<u32>,
}

fn request_hash(token: &[u8; 16], request: u64) -> u64 {
    hash(token) ^ hash(&request.to_le_bytes())
}

impl Recent {
    /// A ring of `capacity` transactions; no memory is taken later.
    #[must_use]
    pub fn new(capacity: usize) -> Recent {
        let capacity = capacity.max(1);
        Recent {
            ring: Vec::with_capacity(capacity),
            capacity,
            next: 0,
            by_key: HashTable::with_capacity(capacity * 2),
            by_request: HashTable::with_capacity(capacity * 2),
        }
    }

    /// Adds one, forgetting the oldest if the ring is full.
    pub fn push(&mut self, settled: Settled) {
        let at = self.next as u32;
        self.next = (self.next + 1) % self.capacity;
        if let Some(old) = self.ring.get_mut(at as usize) {
            let (old_key, old_request) = (hash(&old.key), request_hash(&old.token, old.request));
            *old = settled;
            for (table, hash) in [
                (&mut self.by_key, old_key),
                (&mut self.by_request, old_request),
            ] {
                if let Ok(entry) = table.find_entry(hash, |other| *other == at) {
                    entry.remove();
                }
            }
        } else {
            self.ring.push(settled);
        }
        let ring = &self.ring;
        self.by_key.insert_unique(hash(&settled.key), at, |other| {
            hash(&ring[*other as usize].key)
        });
        let rehash =
            |other: &u32| request_hash(&ring[*other as usize].token, ring[*other as usize].request);
        self.by_request
            .insert_unique(request_hash(&settled.token, settled.request), at, rehash);
    }

    /// The newest settled transaction of a line with this key.
    #[must_use]
    pub fn by_key(&self, line: LineNo, key: &[u8; 24]) -> Option<&Settled> {
        let of = |index: &u32| &self.ring[*index as usize];
        self.by_key
            .iter_hash(hash(key))
            .map(of)
            .filter(|old| old.line == line && old.key == *key)
            .max_by_key(|old| old.id)
    }

    /// The settled transaction of a client request.
    #[must_use]
    pub fn by_request(&self, token: &[u8; 16], request: u64) -> Option<&Settled> {
        let hash = request_hash(token, request);
        let same = |index: &u32| {
            let old = &self.ring[*index as usize];
            old.request == request && old.token == *token
        };
        self.by_request
            .find(hash, same)
            .map(|index| &self.ring[*index as usize])
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
