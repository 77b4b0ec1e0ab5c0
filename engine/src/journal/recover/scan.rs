//! Reading one segment in order, and judging the place where its good blocks end.

use super::{Cut, Damage, RecoverError};
use crate::core::fact::Fact;
use crate::journal::RecordNo;
use crate::journal::block::{self, BlockFault, Record, Records, Seed};
use crate::journal::buffer::AlignedBuf;
use crate::journal::layout::{
    BLOCK_ALIGN, BLOCK_HEADER_LEN, BlockFields, SEGMENT_HEADER_LEN, SegmentFields, block_padded,
    kind_named,
};
use crate::journal::segment::{self, SegmentEnd, SegmentFault, SegmentHeader};
use crate::journal::store::{SegmentStore, StoreError};

/// Bytes read at a time.
const WINDOW_LEN: usize = 4 << 20;

/// A part of a segment in memory, moved along as it is read.
struct Window {
    memory: AlignedBuf,
    segment: u64,
    start: u64,
    len: usize,
    /// Bytes read from the store.
    read: u64,
}

impl Window {
    fn new(segment: u64) -> Window {
        Window {
            memory: AlignedBuf::new(WINDOW_LEN),
            segment,
            start: 0,
            len: 0,
            read: 0,
        }
    }

    /// The `len` bytes at `offset`, a multiple of [`BLOCK_ALIGN`]; fewer where the segment ends.
    fn at(
        &mut self,
        store: &mut dyn SegmentStore,
        offset: u64,
        len: usize,
    ) -> Result<&[u8], StoreError> {
        let inside = offset >= self.start && offset + len as u64 <= self.start + self.len as u64;
        if !inside {
            if len > self.memory.len() {
                self.memory = AlignedBuf::new(block_padded(len));
            }
            self.len = store.read_at(self.segment, offset, &mut self.memory)?;
            self.start = offset;
            self.read += self.len as u64;
        }
        let from = (offset - self.start) as usize;
        Ok(&self.memory[from..self.len.min(from + len)])
    }
}

/// A good block in its place.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    /// Its segment.
    pub segment: u64,
    /// Where it starts, bytes.
    pub offset: u64,
    /// Its header.
    pub fields: BlockFields,
    /// All of it.
    pub bytes: &'a [u8],
}

impl<'a> Block<'a> {
    /// Its records.
    #[must_use]
    pub fn records(&self) -> Records<'a> {
        Records::of(self.bytes, &self.fields)
    }
}

/// What stands where the next block has to follow.
#[derive(Debug)]
pub enum Step<'a> {
    /// The block that has to follow.
    Block(Block<'a>),
    /// No good block: the end, a torn tail, or damage.
    Bad(BlockFault),
}

/// Reads a segment's blocks in order.
pub struct SegmentReader {
    window: Window,
    shard: u32,
    header: SegmentFields,
    seed: Seed,
    /// Where the next block has to follow, and what it has to chain to.
    end: SegmentEnd,
    last_record: RecordNo,
}

impl SegmentReader {
    /// Reads the segment's header; `Ok(Err)` if it is none that this build reads.
    ///
    /// # Errors
    /// The store's.
    pub fn open(
        store: &mut dyn SegmentStore,
        shard: u32,
        segment: u64,
    ) -> Result<Result<SegmentReader, SegmentFault>, StoreError> {
        let mut window = Window::new(segment);
        let header = segment::parse(window.at(store, 0, SEGMENT_HEADER_LEN)?, shard, segment);
        Ok(header.map(|header| SegmentReader {
            window,
            shard,
            header,
            seed: header.seed(),
            end: SegmentEnd {
                segment,
                offset: SEGMENT_HEADER_LEN as u64,
                block: 0,
                chain: header.link(),
                cut: false,
            },
            last_record: header.record_before(),
        }))
    }

    /// The segment's header.
    #[must_use]
    pub fn header(&self) -> &SegmentFields {
        &self.header
    }

    /// Where the good blocks end, as far as they were read.
    #[must_use]
    pub fn end(&self) -> SegmentEnd {
        self.end
    }

    /// The last record read.
    #[must_use]
    pub fn last_record(&self) -> RecordNo {
        self.last_record
    }

    /// Bytes read from the store.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.window.read
    }

    /// The next block, if a good one follows.
    ///
    /// # Errors
    /// The store's; `Corrupt` for a whole block of this segment that does not belong here.
    pub fn step(&mut self, store: &mut dyn SegmentStore) -> Result<Step<'_>, RecoverError> {
        let at = self.end;
        let fields = match self.parse_at(store, at.offset)? {
            Ok(fields) => fields,
            Err(fault) => return Ok(Step::Bad(fault)),
        };
        let corrupt = |reason| RecoverError::Corrupt {
            segment: at.segment,
            offset: at.offset,
            reason,
        };
        let follows = fields.number == at.block + 1
            && fields.chain == at.chain
            && fields.first_record == self.last_record.next().0
            && fields.length <= self.header.block_max;
        if !follows {
            return Err(corrupt(Damage::Order {
                found: fields.number,
                wanted: at.block + 1,
            }));
        }
        let padded = block_padded(fields.length as usize);
        self.end.offset += padded as u64;
        self.end.block += 1;
        self.end.chain = block::link(fields.crc, fields.chain);
        self.last_record.0 += u64::from(fields.count);
        let block = Block {
            segment: at.segment,
            offset: at.offset,
            fields,
            bytes: self.window.at(store, at.offset, padded)?,
        };
        let mut records = block.records();
        records.by_ref().for_each(drop);
        if !records.is_whole() {
            return Err(corrupt(Damage::Records));
        }
        Ok(Step::Block(block))
    }

    /// The block at `offset`, whichever it is.
    fn parse_at(
        &mut self,
        store: &mut dyn SegmentStore,
        offset: u64,
    ) -> Result<Result<BlockFields, BlockFault>, StoreError> {
        let (shard, segment) = (self.shard, self.header.segment);
        if offset >= self.header.bytes {
            return Ok(Err(BlockFault::Absent));
        }
        let front = self.window.at(store, offset, BLOCK_HEADER_LEN)?;
        let length = match block::parse_header(front, shard, segment) {
            Ok(fields) => block_padded(fields.length as usize),
            Err(fault) => return Ok(Err(fault)),
        };
        if offset + length as u64 > self.header.bytes {
            return Ok(Err(BlockFault::Beyond));
        }
        let whole = self.window.at(store, offset, length)?;
        Ok(block::parse(whole, self.seed, shard, segment))
    }

    /// Judges the end of the newest segment: `fault` is what stands where the next block has to follow. A torn tail
    /// is what K writes in flight can leave, in any order; anything else is damage.
    pub(super) fn judge_tail(
        &mut self,
        store: &mut dyn SegmentStore,
        fault: BlockFault,
    ) -> Result<Option<Cut>, RecoverError> {
        let at = self.end;
        let durable = RecoverError::Corrupt {
            segment: at.segment,
            offset: at.offset,
            reason: Damage::Block { fault },
        };
        let in_flight = u64::from(self.header.blocks_in_flight);
        let mut behind = 0;
        let mut offset = at.offset + BLOCK_ALIGN as u64;
        while offset < self.header.bytes {
            let Ok(fields) = self.parse_at(store, offset)? else {
                offset += BLOCK_ALIGN as u64;
                continue;
            };
            // Block n + K was issued only after block n had completed, and a mark says so outright.
            let issued_after = fields.number > at.block + in_flight;
            if issued_after || fields.synced > self.last_record.0 || fields.number <= at.block + 1 {
                return Err(durable);
            }
            behind += 1;
            offset += block_padded(fields.length as usize) as u64;
        }
        let begun = !matches!(fault, BlockFault::Absent | BlockFault::Foreign { .. });
        Ok((begun || behind > 0).then_some(Cut {
            segment: at.segment,
            offset: at.offset,
            blocks_behind: behind,
        }))
    }
}

/// Whether any block was written for this segment: then its header had been durable before.
pub(super) fn has_blocks(
    store: &mut dyn SegmentStore,
    shard: u32,
    segment: u64,
    bytes: u64,
) -> Result<bool, StoreError> {
    let mut window = Window::new(segment);
    let mut offset = SEGMENT_HEADER_LEN as u64;
    while offset < bytes {
        let front = window.at(store, offset, BLOCK_HEADER_LEN)?;
        if block::parse_header(front, shard, segment).is_ok() {
            return Ok(true);
        }
        offset += BLOCK_ALIGN as u64;
    }
    Ok(false)
}

/// Follows the checkpoint that every segment starts with.
#[derive(Debug, Default)]
pub(super) struct CheckpointWatch {
    facts: u64,
    complete: bool,
}

impl CheckpointWatch {
    /// Looks at the next record. `None`: it is not as a checkpoint has to be.
    pub(super) fn look(&mut self, record: &Record<'_>) -> Option<()> {
        let begins = record.fields.kind == CHECKPOINT_BEGIN;
        let ends = record.fields.kind == CHECKPOINT_END;
        if begins != (self.facts == 0) || (self.complete && ends) {
            return None;
        }
        self.facts += 1;
        if ends {
            match record.fact() {
                Ok(Fact::CheckpointEnd(end)) if end.facts == self.facts => self.complete = true,
                _ => return None,
            }
        }
        Some(())
    }

    /// Whether the checkpoint is complete.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }
}

const CHECKPOINT_BEGIN: u16 = kind_named("CheckpointBegin");
const CHECKPOINT_END: u16 = kind_named("CheckpointEnd");
