//! What is durable: block writes are issued in order and complete in any, and only the prefix counts.

use super::RecordNo;
use super::layout::BLOCKS_IN_FLIGHT_MAX;
use super::writer::Ticket;

/// How far the journal is durable without a gap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Synced {
    /// Every write up to this one has completed.
    pub ticket: Ticket,
    /// Every record up to this one is durable: what waited for it may go.
    pub record: RecordNo,
}

/// The writes in flight. A write that failed or was short is never told to it: the shard stops instead.
#[derive(Clone, Debug)]
pub struct Prefix {
    /// In flight or completed out of order, by ticket modulo the length: its last record, and whether it completed.
    slots: [(RecordNo, bool); BLOCKS_IN_FLIGHT_MAX],
    issued: Ticket,
    synced: Synced,
}

impl Prefix {
    /// Nothing in flight; `durable` is the last record that recovery found, 0 for a new journal.
    #[must_use]
    pub fn new(durable: RecordNo) -> Prefix {
        Prefix {
            slots: [(RecordNo(0), false); BLOCKS_IN_FLIGHT_MAX],
            issued: Ticket(0),
            synced: Synced {
                ticket: Ticket(0),
                record: durable,
            },
        }
    }

    /// A sealed block was handed to the disk. Panics if it was not the next in order, or one too many.
    pub fn issued(&mut self, ticket: Ticket, last_record: RecordNo) {
        assert!(
            ticket.0 == self.issued.0 + 1,
            "write {} issued after {}",
            ticket.0,
            self.issued.0
        );
        assert!(
            self.in_flight() < BLOCKS_IN_FLIGHT_MAX,
            "{BLOCKS_IN_FLIGHT_MAX} writes are in flight already"
        );
        self.slots[slot(ticket)] = (last_record, false);
        self.issued = ticket;
    }

    /// A write completed in full. Gives how far the journal is durable now.
    pub fn completed(&mut self, ticket: Ticket) -> Synced {
        assert!(
            ticket > self.synced.ticket && ticket <= self.issued && !self.slots[slot(ticket)].1,
            "write {} completed, but {} to {} are in flight",
            ticket.0,
            self.synced.ticket.0 + 1,
            self.issued.0
        );
        self.slots[slot(ticket)].1 = true;
        while self.synced.ticket < self.issued {
            let next = Ticket(self.synced.ticket.0 + 1);
            let (record, done) = self.slots[slot(next)];
            if !done {
                break;
            }
            self.synced = Synced {
                ticket: next,
                record,
            };
        }
        self.synced
    }

    /// How far the journal is durable.
    #[inline]
    #[must_use]
    pub fn synced(&self) -> Synced {
        self.synced
    }

    /// Writes issued and not durable as a prefix yet.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        (self.issued.0 - self.synced.ticket.0) as usize
    }
}

fn slot(ticket: Ticket) -> usize {
    (ticket.0 % BLOCKS_IN_FLIGHT_MAX as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Completions in any order release records only as a prefix.
    #[test]
    fn only_the_prefix_counts() {
        let mut prefix = Prefix::new(RecordNo(7));
        for write in 1..=4 {
            prefix.issued(Ticket(write), RecordNo(7 + 10 * write));
        }
        assert_eq!(prefix.completed(Ticket(3)).record, RecordNo(7));
        assert_eq!(prefix.completed(Ticket(1)).record, RecordNo(17));
        assert_eq!(prefix.completed(Ticket(4)).record, RecordNo(17));
        let all = prefix.completed(Ticket(2));
        assert_eq!((all.record, all.ticket), (RecordNo(47), Ticket(4)));
        assert_eq!(prefix.in_flight(), 0);
    }

    /// A completion told twice is our own error and stops the shard.
    #[test]
    #[should_panic(expected = "write 1 completed")]
    fn a_completion_counts_once() {
        let mut prefix = Prefix::new(RecordNo(0));
        prefix.issued(Ticket(1), RecordNo(1));
        prefix.issued(Ticket(2), RecordNo(2));
        prefix.completed(Ticket(1));
        prefix.completed(Ticket(1));
    }
}
