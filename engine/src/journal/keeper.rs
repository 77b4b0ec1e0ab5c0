//! The keeper: a thread that has the next segment ready before the shard needs it, and recycles what is no longer
//! needed. Everything slow about files happens here, so that the shard never waits.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use super::recover::Recovered;
use super::segment::NewSegment;
use super::store::StoreError;
use super::store::file::FileStore;

/// What the keeper goes by.
#[derive(Clone, Debug)]
pub struct KeeperConfig {
    /// Bytes of every segment.
    pub segment_bytes: u64,
    /// Segments held ready.
    pub segments_min: u32,
    /// Segments in all.
    pub segments_max: u32,
    /// How long a segment is kept after its last write.
    pub retention: Duration,
    /// Percent of `segments_max` that only open transactions may use.
    pub reserve_percent: u32,
    /// Segments are opened O_DIRECT.
    pub direct: bool,
    /// Segments are opened O_DSYNC. False only for benchmarks.
    pub dsync: bool,
}

/// How much space is left, as admission has to see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// Enough.
    Ok,
    /// Only the reserve is left: new business is refused, open transactions go on.
    Low,
    /// Not a single segment is at hand or can be made.
    Full,
}

/// A segment ready to be written.
#[derive(Debug)]
pub struct Prepared {
    /// For `Writer::switch`.
    pub segment: NewSegment,
    /// The open file, locked: keep it open until every write on it has completed.
    pub file: File,
    /// Its path, for messages.
    pub path: PathBuf,
}

/// The shard's handle of its keeper. Dropping it ends the thread after what it is just doing.
#[derive(Debug)]
pub struct Keeper(());

impl Keeper {
    /// Starts the thread, once `segments_min` segments are ready: a disk that cannot hold them is reported here.
    /// `wake` is called from the thread whenever there is news to poll for.
    ///
    /// # Errors
    /// The directory is not writable or the disk is full.
    pub fn start(
        store: FileStore,
        config: KeeperConfig,
        recovered: &Recovered,
        wake: impl Fn() + Send + 'static,
    ) -> Result<Keeper, StoreError> {
        let _ = (store, config, recovered, wake);
        unreachable!("being written")
    }

    /// The next segment, if it is ready; the one after it is prepared at once.
    pub fn take(&mut self) -> Option<Prepared> {
        None
    }

    /// The checkpoint in `segment` is durable: what is older may be recycled once its retention is over.
    pub fn checkpoint_durable(&mut self, segment: u64) {
        let _ = segment;
    }

    /// How much space is left.
    pub fn space(&mut self) -> Space {
        Space::Ok
    }

    /// What the keeper could not do last, for the log; each error is given once.
    pub fn error(&mut self) -> Option<StoreError> {
        None
    }
}
