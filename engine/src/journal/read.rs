//! Reading a journal with tools, beside a running daemon or without one: every record that counts, oldest first.
//!
//! Nothing is locked or changed. The end of the newest segment moves while the daemon works, and a segment that is
//! recycled while it is read simply ends. Payloads hold card data: whoever shows them masks them.

use std::ops::ControlFlow;
use std::path::Path;

use super::block::Record;
use super::recover::{Block, RecoverError, SegmentReader, Step};
use super::store::file::FileStore;
use super::store::{SegmentStore, StoreError};

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Segments with a good header.
    pub segments: u64,
    /// Blocks.
    pub blocks: u64,
    /// Records.
    pub records: u64,
    /// Bytes of the blocks, padding included.
    pub bytes: u64,
}

/// Walks every record of a shard in a directory, oldest first, until `visit` breaks.
///
/// # Errors
/// The directory cannot be read, or a whole block stands where it does not belong.
pub fn walk_dir(
    dir: &Path,
    shard: u32,
    visit: &mut dyn FnMut(&Block<'_>, &Record<'_>) -> ControlFlow<()>,
) -> Result<Tally, RecoverError> {
    let mut store = FileStore::read_only(dir, shard)?;
    let segments = store.list()?;
    let mut tally = Tally::default();
    for segment in segments {
        if walk_segment(&mut store, shard, segment, &mut tally, visit)?.is_break() {
            break;
        }
    }
    Ok(tally)
}

/// Walks the records of one segment. A segment without a good header holds nothing, and one that is gone neither.
///
/// # Errors
/// As [`walk_dir`].
pub fn walk_segment(
    store: &mut dyn SegmentStore,
    shard: u32,
    segment: u64,
    tally: &mut Tally,
    visit: &mut dyn FnMut(&Block<'_>, &Record<'_>) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, RecoverError> {
    let mut reader = match SegmentReader::open(store, shard, segment) {
        Ok(Ok(reader)) => reader,
        Ok(Err(_)) | Err(StoreError::Missing { .. }) => return Ok(ControlFlow::Continue(())),
        Err(error) => return Err(error.into()),
    };
    tally.segments += 1;
    while let Step::Block(block) = reader.step(store)? {
        tally.blocks += 1;
        tally.bytes += block.bytes.len() as u64;
        for record in block.records() {
            tally.records += 1;
            if visit(&block, &record).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }
    Ok(ControlFlow::Continue(()))
}
