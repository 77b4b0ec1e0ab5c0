//! Recovery: from what lies on the disk to the durable facts, and to the place where writing goes on.
//!
//! It reads only; the cut that it may have to make is recorded by the writer in the header of the next segment,
//! before anything else. So it can be interrupted at any point and started again with the same result.

use thiserror::Error;

use super::RecordNo;
use super::store::{SegmentStore, StoreError};
use super::writer::StartPoint;
use crate::core::fact::{Fact, FactError, FactHead};

/// What recovery found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Where the writer goes on, always in a fresh segment.
    pub start: StartPoint,
    /// The last record that counts; 0 if there is none.
    pub last_record: RecordNo,
    /// Segments that hold records that count, rising; older ones than the newest checkpoint included.
    pub kept: Vec<u64>,
    /// Segments that hold nothing that counts: prepared and never used, or their header never became durable.
    pub unused: Vec<u64>,
    /// The segment whose checkpoint was used; 0 for a new journal.
    pub checkpoint: u64,
    /// The torn tail, if there is one.
    pub cut: Option<Cut>,
    /// The last fact is `Stopped`: the shutdown was orderly. Also true for a new journal.
    pub clean: bool,
    /// Facts given to `apply`.
    pub facts: u64,
    /// Bytes read.
    pub bytes: u64,
}

/// A torn tail: the writes that were in flight when the process or the machine stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Its segment.
    pub segment: u64,
    /// From this offset on nothing counts.
    pub offset: u64,
    /// Whole blocks behind the first bad one; none of their effects was ever released.
    pub blocks_behind: u32,
}

/// Why the journal cannot be recovered.
#[derive(Debug, Error)]
pub enum RecoverError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Durable bytes are wrong.
    #[error(
        "journal segment {segment} is damaged at offset {offset}: {reason}; restore the journal directory from its replica or backup, the daemon does not start on a journal with a hole"
    )]
    Corrupt {
        /// The segment.
        segment: u64,
        /// Where in it, bytes.
        offset: u64,
        /// What is wrong.
        reason: Damage,
    },
    /// A segment that the sequence needs is not there.
    #[error(
        "journal segment {segment} is missing, segment {needed_by} follows it: put the file back"
    )]
    Missing {
        /// The segment that is not there.
        segment: u64,
        /// The segment that needs it.
        needed_by: u64,
    },
    /// The directory holds another shard's journal.
    #[error(
        "journal segment {segment} belongs to shard {found}, this is shard {shard}: correct the directory, or the shard numbers in the configuration"
    )]
    WrongShard {
        /// The segment.
        segment: u64,
        /// Whose it is.
        found: u32,
        /// Who asked.
        shard: u32,
    },
    /// Another build wrote it.
    #[error(
        "journal segment {segment} cannot be read by this build: {reason}; start the build that wrote it, shut it down in order, then move its journal away"
    )]
    OtherBuild {
        /// The segment.
        segment: u64,
        /// What differs.
        reason: super::segment::SegmentFault,
    },
    /// A record that is whole and still no fact of this build.
    #[error(
        "journal segment {segment} at offset {offset}: {reason}; start the build that wrote it"
    )]
    UnknownRecord {
        /// The segment.
        segment: u64,
        /// Its block's offset, bytes.
        offset: u64,
        /// What is wrong with it.
        reason: FactError,
    },
}

/// What is wrong with bytes that were durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Damage {
    /// The segment's header.
    #[error("{0}, but blocks follow it")]
    Header(super::segment::SegmentFault),
    /// A block that was known to be durable.
    #[error("{fault}, but later blocks show that this one was durable")]
    Block {
        /// What is wrong with it.
        fault: super::block::BlockFault,
    },
    /// The block is whole, but not the one that has to follow here.
    #[error("block {found} stands where block {wanted} has to follow")]
    Order {
        /// Its number.
        found: u64,
        /// The number that has to follow.
        wanted: u64,
    },
    /// A later segment says that this one reaches further, or ends in another block.
    #[error("segment {next} goes on from another end of it")]
    End {
        /// The later segment.
        next: u64,
    },
    /// The records of a block are not as many or as long as its header says.
    #[error("the block's records do not fill it")]
    Records,
    /// A checkpoint that does not stand at the start of its segment, or whose number of facts is wrong.
    #[error("the checkpoint is not as it has to be")]
    Checkpoint,
}

/// Recovers the journal of `shard`: finds the newest complete checkpoint and gives it and every fact after it to
/// `apply`, in order. Nothing is given of a journal that is refused for damage in its blocks.
///
/// # Errors
/// The journal cannot be read, or must not be gone on with; the message says where and what to do.
pub fn recover(
    store: &mut dyn SegmentStore,
    shard: u32,
    apply: &mut dyn FnMut(RecordNo, &FactHead, &Fact<'_>),
) -> Result<Recovered, RecoverError> {
    let _ = (store, shard, apply);
    unreachable!("being written")
}
