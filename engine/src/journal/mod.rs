//! The journal: what a shard writes down before anything moves, and what it is rebuilt from.
//!
//! A journal is a sequence of segments, each a file: a header, a checkpoint of the whole state, then the facts that
//! came after it, in blocks. One block is one group commit. The writer makes blocks, recovery reads them back, and
//! neither does I/O: the shard writes through its ring, the simulation to a disk made of memory, recovery reads
//! through [`store::SegmentStore`].
//!
//! *Invariants.* Record numbers rise by one and never repeat in a shard. A segment's header is durable before its
//! first block is issued, and every block of the segment before is durable before that header is issued. At most K
//! blocks are in flight. Nothing durable is ever written again until its segment is recycled.

pub mod block;
pub mod book;
pub mod buffer;
pub mod durable;
pub mod index;
pub mod keeper;
pub mod layout;
pub mod read;
pub mod recover;
pub mod search;
pub mod segment;
pub mod store;
mod track;
pub mod writer;

#[cfg(test)]
mod tests;

use std::fmt;

/// Number of a record, from 1, rising by one over all segments of a shard; 0 stands before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordNo(pub u64);

impl RecordNo {
    /// The record after this one.
    #[must_use]
    pub const fn next(self) -> RecordNo {
        RecordNo(self.0 + 1)
    }
}

impl fmt::Display for RecordNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}
