//! Reading a journal with tools, beside a running daemon or without one: every record that counts, oldest first.
//!
//! Nothing is locked or changed. The end of the newest segment moves while the daemon works, and a segment that is
//! recycled while it is read simply ends. Every older one has an end that the segment behind it names: what does not
//! reach it is damaged. Payloads hold card data: whoever shows them masks them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;

use super::block::{self, Record};
use super::buffer::AlignedBuf;
use super::layout::{SEGMENT_HEADER_LEN, SegmentFields, block_padded};
use super::recover::{Block, Damage, RecoverError, SegmentReader, Step};
use super::segment::{self, SegmentEnd, SegmentHeader};
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

/// What is called with every record, and may end the walk.
pub type Visit<'a> = dyn FnMut(&Block<'_>, &Record<'_>) -> ControlFlow<()> + 'a;

/// Walks every record of a shard in a directory, oldest first, until `visit` breaks.
///
/// # Errors
/// The directory cannot be read, a whole block stands where it does not belong, or a segment does not reach the end
/// that the one behind it goes on from.
pub fn walk_dir(dir: &Path, shard: u32, visit: &mut Visit<'_>) -> Result<Tally, RecoverError> {
    let mut store = FileStore::read_only(dir, shard)?;
    let segments = store.list()?;
    let mut ends = Ends::of(&segments);
    for &segment in segments.iter().rev() {
        ends.look(&mut store, shard, segment)?;
    }
    let mut tally = Tally::default();
    for segment in segments {
        let end = ends.of_segment(segment);
        if walk_segment(&mut store, shard, segment, end.as_ref(), &mut tally, visit)?.is_break() {
            break;
        }
        store.let_go(segment);
    }
    Ok(tally)
}

/// Where segments end, as those behind them say: gathered from the newest to the oldest.
#[derive(Debug)]
pub(super) struct Ends {
    segments: BTreeSet<u64>,
    ends: BTreeMap<u64, SegmentEnd>,
}

impl Ends {
    pub(super) fn of(segments: &[u64]) -> Ends {
        Ends {
            segments: segments.iter().copied().collect(),
            ends: BTreeMap::new(),
        }
    }

    /// Where the segment ends; `None` if none goes on from it.
    pub(super) fn of_segment(&self, segment: u64) -> Option<SegmentEnd> {
        self.ends.get(&segment).copied()
    }

    /// Reads the header of the next older segment and notes what it goes on from. `None` if it holds nothing, or has
    /// been recycled since the directory was read.
    ///
    /// # Errors
    /// It cannot be read; a later segment goes on from it and its header is bad; or what it goes on from is missing.
    pub(super) fn look(
        &mut self,
        store: &mut dyn SegmentStore,
        shard: u32,
        segment: u64,
    ) -> Result<Option<SegmentFields>, RecoverError> {
        let Some(header) = header_of(store, shard, segment)? else {
            let needed = self.ends.contains_key(&segment);
            if !needed || !store.list()?.contains(&segment) {
                return Ok(None);
            }
            return match SegmentReader::open(store, shard, segment)? {
                Ok(reader) => Ok(Some(*reader.header())),
                Err(fault) => Err(RecoverError::Corrupt {
                    segment,
                    offset: 0,
                    reason: Damage::Header(fault),
                }),
            };
        };
        let previous = header.previous();
        self.ends.insert(previous.segment, previous);
        let oldest = self.segments.first().copied().unwrap_or(0);
        // What is older than the oldest has been recycled.
        if previous.segment > oldest && !self.segments.contains(&previous.segment) {
            return Err(RecoverError::Missing {
                segment: previous.segment,
                needed_by: segment,
            });
        }
        Ok(Some(header))
    }
}

/// A segment's header; `None` if it has none that this build reads, or is gone.
///
/// # Errors
/// It cannot be read.
pub fn header_of(
    store: &mut dyn SegmentStore,
    shard: u32,
    segment: u64,
) -> Result<Option<SegmentFields>, StoreError> {
    let mut front = AlignedBuf::new(SEGMENT_HEADER_LEN);
    match store.read_at(segment, 0, &mut front) {
        Ok(len) => Ok(segment::parse(&front[..len], shard, segment).ok()),
        Err(StoreError::Missing { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Walks the records of one segment: up to `end`, if the segment behind it names one, else as far as its blocks are
/// good. A segment without a good header holds nothing, and one that is gone or recycled meanwhile neither.
///
/// # Errors
/// As [`walk_dir`].
pub fn walk_segment(
    store: &mut dyn SegmentStore,
    shard: u32,
    segment: u64,
    end: Option<&SegmentEnd>,
    tally: &mut Tally,
    visit: &mut Visit<'_>,
) -> Result<ControlFlow<()>, RecoverError> {
    let mut reader = match SegmentReader::open(store, shard, segment) {
        Ok(Ok(reader)) => reader,
        Ok(Err(_)) | Err(StoreError::Missing { .. }) => return Ok(ControlFlow::Continue(())),
        Err(error) => return Err(error.into()),
    };
    tally.segments += 1;
    let until = end.map_or(u64::MAX, |end| end.offset);
    while reader.end().offset < until {
        let offset = reader.end().offset;
        let block = match reader.step(store)? {
            Step::Block(block) => block,
            Step::Bad(_) if end.is_none() || !store.list()?.contains(&segment) => break,
            Step::Bad(fault) => {
                return Err(RecoverError::Corrupt {
                    segment,
                    offset,
                    reason: Damage::Block { fault },
                });
            }
        };
        if visit_block(&block, tally, visit).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Bytes that are read at first of a block whose length is not known.
const FIRST_READ: usize = 64 << 10;

/// Walks the records of some blocks of a closed segment, in the order of `places`. False if a block is not good, or the
/// segment is gone: then nothing is known of it.
///
/// # Errors
/// It cannot be read.
pub fn walk_blocks(
    store: &mut dyn SegmentStore,
    header: &SegmentFields,
    places: &[u64],
    tally: &mut Tally,
    visit: &mut Visit<'_>,
) -> Result<bool, StoreError> {
    let (segment, shard, seed) = (header.segment, header.shard, header.seed());
    let mut memory = AlignedBuf::new(FIRST_READ);
    for &offset in places {
        let mut len = match store.read_at(segment, offset, &mut memory) {
            Ok(len) => len,
            Err(StoreError::Missing { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        let Ok(front) = block::parse_header(&memory[..len], shard, segment) else {
            return Ok(false);
        };
        let whole = block_padded(front.length as usize);
        if whole > memory.len() {
            memory = AlignedBuf::new(whole);
        }
        if whole > len {
            len = store.read_at(segment, offset, &mut memory)?;
        }
        let bytes = &memory[..len.min(whole)];
        let Ok(fields) = block::parse(bytes, seed, shard, segment) else {
            return Ok(false);
        };
        let block = Block {
            segment,
            offset,
            fields,
            bytes,
        };
        if visit_block(&block, tally, visit).is_break() {
            break;
        }
    }
    Ok(true)
}

fn visit_block(block: &Block<'_>, tally: &mut Tally, visit: &mut Visit<'_>) -> ControlFlow<()> {
    tally.blocks += 1;
    tally.bytes += block.bytes.len() as u64;
    for record in block.records() {
        tally.records += 1;
        visit(block, &record)?;
    }
    ControlFlow::Continue(())
}
