//! Segments as files of a directory: `journal-<shard>-<number>.seg`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{SegmentStore, StoreError};

/// The journal directory of one shard, locked for this process.
#[derive(Debug)]
pub struct FileStore {
    dir: PathBuf,
    shard: u32,
}

impl FileStore {
    /// Opens the directory, which exists, and takes its lock, waiting at most `patience`.
    ///
    /// # Errors
    /// There is no such directory, it is not writable, or another daemon holds it.
    pub fn open(dir: &Path, shard: u32, patience: Duration) -> Result<FileStore, StoreError> {
        let _ = (dir, shard, patience);
        unreachable!("being written")
    }

    /// Opens the directory to read only, for tools: nothing is locked or synced, so a running daemon is not disturbed.
    ///
    /// # Errors
    /// There is no such directory.
    pub fn read_only(dir: &Path, shard: u32) -> Result<FileStore, StoreError> {
        let _ = (dir, shard);
        unreachable!("being written")
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The shard.
    pub fn shard(&self) -> u32 {
        self.shard
    }
}

impl SegmentStore for FileStore {
    fn list(&mut self) -> Result<Vec<u64>, StoreError> {
        unreachable!("being written")
    }
    fn claim(&mut self, _segment: u64) -> Result<u64, StoreError> {
        unreachable!("being written")
    }
    fn read_at(&mut self, _: u64, _: u64, _: &mut [u8]) -> Result<usize, StoreError> {
        unreachable!("being written")
    }
}
