//! Where segments lie, as recovery sees it: a directory of files, or the simulation's disk in memory.

pub mod file;
pub mod mem;

use std::path::PathBuf;

use thiserror::Error;

use crate::driver::DiskError;

/// Why a store cannot give what it was asked for.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The disk, or the file system, refuses.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// There is no journal directory.
    #[error(
        "there is no journal directory {path}: create it, or correct data_dir in the configuration"
    )]
    NoDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// The journal directory cannot be made or written.
    #[error(
        "the journal directory {path} cannot be written ({errno}): make it writable for the daemon's user, or change data_dir in the configuration"
    )]
    NotWritable {
        /// The directory.
        path: PathBuf,
        /// The kernel's answer.
        errno: crate::driver::Errno,
    },
    /// Every segment is in use and none may be recycled.
    #[error(
        "all {segments_max} journal segments are in use: raise journal.segments_max, or lower journal.retention_days"
    )]
    NoSegment {
        /// The limit.
        segments_max: usize,
    },
    /// The keeper's thread cannot be started.
    #[error("the journal keeper's thread cannot be started: {errno}")]
    Thread {
        /// The kernel's answer.
        errno: crate::driver::Errno,
    },
    /// The keeper's thread has ended.
    #[error(
        "the journal keeper's thread has ended; no further segment will come, restart the daemon"
    )]
    KeeperGone,
    /// A segment that was listed is gone.
    #[error("journal segment {segment} is not there")]
    Missing {
        /// Its number.
        segment: u64,
    },
    /// Reading failed.
    #[error("journal segment {segment} cannot be read at offset {offset}: {reason}")]
    Read {
        /// Its number.
        segment: u64,
        /// Where.
        offset: u64,
        /// The kernel's answer.
        reason: crate::driver::Errno,
    },
}

impl StoreError {
    /// Whether the disk, or the user's share of it, is full.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        let errno = match self {
            StoreError::Disk(DiskError::Path { errno, .. }) => errno.0,
            _ => 0,
        };
        errno == libc::ENOSPC || errno == libc::EDQUOT
    }
}

/// The segments of one shard, to be read.
pub trait SegmentStore {
    /// The numbers of all segments that have their name, rising; prepared ones that were never used may be among them.
    ///
    /// # Errors
    /// The directory cannot be read.
    fn list(&mut self) -> Result<Vec<u64>, StoreError>;

    /// Makes sure that what is read from now on is what is durable and stays so: waits until no earlier process can
    /// still write to the segment, then syncs it. Gives its length in bytes.
    ///
    /// # Errors
    /// It is in use, gone, or cannot be synced.
    fn claim(&mut self, segment: u64) -> Result<u64, StoreError>;

    /// Reads at `offset` into `out`, as much as there is; fewer bytes than asked for mean the segment's end.
    ///
    /// # Errors
    /// The disk's.
    fn read_at(&mut self, segment: u64, offset: u64, out: &mut [u8]) -> Result<usize, StoreError>;

    /// Reads at `offset` of a segment's index into `out`, as much as there is; nothing where there is no index.
    ///
    /// # Errors
    /// The disk's.
    fn read_index(
        &mut self,
        segment: u64,
        offset: u64,
        out: &mut [u8],
    ) -> Result<usize, StoreError>;
}
