//! The writer: facts in, sealed blocks out. It knows no file; who owns one writes what [`Writer::seal_next`] gives.
//!
//! Facts are laid at once into the block under construction, so that nothing is copied later. A block is numbered,
//! chained and checksummed only when it leaves, in order: that is when its place and what is durable are known. The
//! writer holds back what must not leave yet: more than K blocks in flight, a segment's header before all blocks of
//! the segment before are durable, and blocks before their header is.

mod stage;

use std::collections::VecDeque;
use std::ops::DerefMut;

use thiserror::Error;

use super::RecordNo;
use super::block::{self, Draft, Seed};
use super::buffer::AlignedBuf;
use super::durable::Synced;
use super::layout::{
    BLOCK_ALIGN, BLOCK_HEADER_LEN, BLOCK_LEN_MAX, BLOCK_MAGIC, BLOCKS_IN_FLIGHT_MAX, BlockFields,
    FORMAT_VERSION, RECORD_LEN_MAX, SCHEMA, SEGMENT_HEADER_LEN, SEGMENT_MAGIC, SegmentFields,
    block_padded,
};
use super::segment::{self, NewSegment, SegmentEnd};
use crate::core::fact::{Fact, FactError, FactHead};
use stage::Stage;

/// Number of a write since the writer was made, from 1, in the order in which they leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// The sizes of a writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriterConfig {
    /// The shard.
    pub shard: u32,
    /// Bytes of every segment, a multiple of [`BLOCK_ALIGN`].
    pub segment_bytes: u64,
    /// The longest block, a multiple of [`BLOCK_ALIGN`]; every buffer has at least this many bytes.
    pub block_max: usize,
    /// K: the most writes in flight.
    pub blocks_in_flight: usize,
}

/// Where the writer goes on: what recovery found, or nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StartPoint {
    /// The last record that counts.
    pub last_record: RecordNo,
    /// The end of the last segment that counts.
    pub previous: SegmentEnd,
    /// The highest segment number ever seen; the next segment's is higher.
    pub segment_highest: u64,
}

/// Why a fact was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WriterError {
    /// `switch` was never called: there is no segment to write to.
    #[error("there is no journal segment yet")]
    NoSegment,
    /// The segment is full: switch first.
    #[error("journal segment {segment} is full")]
    SegmentFull {
        /// Its number.
        segment: u64,
    },
    /// Every buffer is in use; the caller did not look at `room`.
    #[error("no journal buffer is free")]
    NoBuffer,
    /// The fact is longer than a block.
    #[error("a record of type {kind} is longer than a block")]
    TooLong {
        /// Its type.
        kind: u16,
    },
    /// The checkpoint does not fit into a segment.
    #[error("the checkpoint does not fit into a journal segment of {segment_bytes} bytes")]
    CheckpointTooLong {
        /// Bytes of a segment.
        segment_bytes: u64,
    },
}

/// A block that is ready for the disk.
#[derive(Debug)]
pub struct Sealed<B> {
    /// Which write this is; `Prefix` is told it at issue and at completion.
    pub ticket: Ticket,
    /// The segment it goes to.
    pub segment: u64,
    /// Where in it, bytes.
    pub offset: u64,
    /// Bytes at the front of the buffer to write, a multiple of [`BLOCK_ALIGN`].
    pub len: usize,
    /// Its number in the segment; 0: the header.
    pub block: u64,
    /// Its last record: durable when this write and all before it are.
    pub last_record: RecordNo,
    /// The bytes. Comes back through `give_buffer`.
    pub buffer: B,
}

/// What waits to leave.
#[derive(Debug)]
enum Waiting<B> {
    Header(NewSegment),
    Block(Draft<B>),
    /// A block of a checkpoint, in memory of the writer.
    Staged(Draft<AlignedBuf>),
}

/// The segment that leaving blocks go to.
#[derive(Clone, Copy, Debug)]
struct Leaving {
    end: SegmentEnd,
    seed: Seed,
    /// The write of its header.
    header: Ticket,
}

/// The segment that facts are laid into.
#[derive(Clone, Copy, Debug)]
struct Filling {
    segment: u64,
    /// Where the next block will start.
    offset: u64,
}

/// The writer of one shard's journal. `B` is a block buffer aligned to [`BLOCK_ALIGN`].
#[derive(Debug)]
pub struct Writer<B> {
    config: WriterConfig,
    spare: Vec<B>,
    open: Option<Draft<B>>,
    waiting: VecDeque<Waiting<B>>,
    /// Bytes of what waits, without the open block.
    waiting_bytes: usize,
    /// Of what waits, how many have no buffer yet; one spare buffer is kept for them.
    unbuffered: usize,
    staging: Vec<AlignedBuf>,
    filling: Option<Filling>,
    leaving: Leaving,
    last: RecordNo,
    left: RecordNo,
    issued: Ticket,
}

impl<B: DerefMut<Target = [u8]>> Writer<B> {
    /// A writer without a segment: `give_buffer` and `switch` come first. Panics on sizes that cannot be.
    #[must_use]
    pub fn new(config: WriterConfig, start: StartPoint) -> Writer<B> {
        let WriterConfig {
            segment_bytes,
            block_max,
            blocks_in_flight,
            ..
        } = config;
        assert!(
            (1..=BLOCKS_IN_FLIGHT_MAX).contains(&blocks_in_flight),
            "{blocks_in_flight} blocks in flight"
        );
        assert!(
            block_max.is_multiple_of(BLOCK_ALIGN)
                && (2 * BLOCK_ALIGN..=BLOCK_LEN_MAX).contains(&block_max),
            "blocks of {block_max} bytes"
        );
        assert!(
            segment_bytes.is_multiple_of(BLOCK_ALIGN as u64) && segment_bytes > block_max as u64,
            "segments of {segment_bytes} bytes with blocks of {block_max}"
        );
        Writer {
            config,
            spare: Vec::with_capacity(4 * BLOCKS_IN_FLIGHT_MAX),
            open: None,
            waiting: VecDeque::with_capacity(4 * BLOCKS_IN_FLIGHT_MAX),
            waiting_bytes: 0,
            unbuffered: 0,
            staging: Vec::new(),
            filling: None,
            leaving: Leaving {
                end: start.previous,
                seed: Seed::of(&[0; 16]),
                header: Ticket(0),
            },
            last: start.last_record,
            left: start.last_record,
            issued: Ticket(0),
        }
    }

    /// Adds an unused buffer, new or back from a write.
    pub fn give_buffer(&mut self, buffer: B) {
        assert!(
            buffer.len() >= self.config.block_max
                && buffer.as_ptr().addr().is_multiple_of(BLOCK_ALIGN),
            "a buffer of {} bytes for blocks of {}, or not aligned",
            buffer.len(),
            self.config.block_max
        );
        self.spare.push(buffer);
    }

    /// Buffers that new blocks may still take.
    #[inline]
    #[must_use]
    pub fn buffers_free(&self) -> usize {
        self.spare
            .len()
            .saturating_sub(usize::from(self.unbuffered > 0))
    }

    /// Bytes of records, at [`RECORD_LEN_MAX`] each at most, that `append` takes for certain before anything leaves.
    #[must_use]
    pub fn room(&self) -> usize {
        let Some(filling) = self.filling else {
            return 0;
        };
        let usable = |block: usize| block.saturating_sub(RECORD_LEN_MAX);
        let open = self.open.as_ref().map_or(0, |open| open.limit - open.len);
        let behind = filling.offset + self.open.as_ref().map_or(0, |open| open.limit as u64);
        let blocks = (self.config.segment_bytes.saturating_sub(behind) as usize
            / self.config.block_max)
            .min(self.buffers_free());
        usable(open) + blocks * usable(self.config.block_max - BLOCK_HEADER_LEN)
    }

    /// The record appended last.
    #[inline]
    #[must_use]
    pub fn last_record(&self) -> RecordNo {
        self.last
    }

    /// Bytes that have not left yet, headers included and padding not.
    #[inline]
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        let open = self.open.as_ref().filter(|open| open.count > 0);
        self.waiting_bytes + open.map_or(0, |open| open.len)
    }

    /// Writes a fact down; it is durable once its record number is.
    ///
    /// # Errors
    /// Nothing was taken. With `room` looked at before, none comes.
    #[inline]
    pub fn append(&mut self, head: &FactHead, fact: &Fact<'_>) -> Result<RecordNo, WriterError> {
        if self.open.is_none() {
            self.begin()?;
        }
        match self.push(head, fact) {
            Err(FactError::NoSpace { kind, .. }) => self.append_in_next(head, fact, kind),
            pushed => Ok(taken(pushed, &mut self.last)),
        }
    }

    #[inline]
    fn push(&mut self, head: &FactHead, fact: &Fact<'_>) -> Result<(), FactError> {
        self.open
            .as_mut()
            .expect("a block is open")
            .push(head, fact)
    }

    /// The open block was too short for the fact.
    #[cold]
    fn append_in_next(
        &mut self,
        head: &FactHead,
        fact: &Fact<'_>,
        kind: u16,
    ) -> Result<RecordNo, WriterError> {
        let open = self.open.as_ref().expect("a block is open");
        if open.count > 0 {
            self.close();
            self.begin()?;
            if let Ok(()) = self.push(head, fact) {
                self.last = self.last.next();
                return Ok(self.last);
            }
        }
        match (&self.open, self.filling) {
            (Some(open), Some(filling)) if open.limit < self.config.block_max => {
                Err(WriterError::SegmentFull {
                    segment: filling.segment,
                })
            }
            _ => Err(WriterError::TooLong { kind }),
        }
    }

    /// Opens a block at the end of the segment.
    fn begin(&mut self) -> Result<(), WriterError> {
        let filling = self.filling.ok_or(WriterError::NoSegment)?;
        let left = (self.config.segment_bytes - filling.offset) as usize;
        if left == 0 {
            return Err(WriterError::SegmentFull {
                segment: filling.segment,
            });
        }
        if self.buffers_free() == 0 {
            return Err(WriterError::NoBuffer);
        }
        let memory = self.spare.pop().ok_or(WriterError::NoBuffer)?;
        let limit = left.min(self.config.block_max);
        self.open = Some(Draft::new(memory, limit, self.last.next()));
        Ok(())
    }

    /// Moves the open block behind what waits; an empty one gives its buffer back.
    fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        if open.count == 0 {
            self.spare.push(open.memory);
            return;
        }
        if let Some(filling) = &mut self.filling {
            filling.offset += block_padded(open.len) as u64;
        }
        self.waiting_bytes += open.len;
        self.waiting.push_back(Waiting::Block(open));
    }

    /// Whether the segment is so full that the next one should be switched to now; true without a segment.
    #[must_use]
    pub fn needs_segment(&self) -> bool {
        let margin = ((self.config.blocks_in_flight + 2) * self.config.block_max) as u64;
        let margin = margin.min(self.config.segment_bytes / 8);
        self.filled() + margin >= self.config.segment_bytes
    }

    /// Whether half of the segment is used, so that the next one should be at hand; true without a segment.
    #[must_use]
    pub fn wants_next_segment(&self) -> bool {
        self.filled() >= self.config.segment_bytes / 2
    }

    fn filled(&self) -> u64 {
        let open = self.open.as_ref().map_or(0, |open| open.len as u64);
        self.filling
            .map_or(self.config.segment_bytes, |filling| filling.offset + open)
    }

    /// Goes on in a new segment: what was appended stays in the old one, then come the header and the checkpoint,
    /// which must be the state after exactly those facts, from `CheckpointBegin` to `CheckpointEnd`. Gives the
    /// number of the latter: once it is durable, recovery needs no older segment.
    ///
    /// # Errors
    /// `CheckpointTooLong`: the journal cannot go on, the shard has to stop. What was appended before still leaves.
    pub fn switch(
        &mut self,
        new: NewSegment,
        checkpoint: impl FnOnce(&mut dyn FnMut(&FactHead, &Fact<'_>)),
    ) -> Result<RecordNo, WriterError> {
        let old = self
            .filling
            .map_or(self.leaving.end.segment, |filling| filling.segment);
        assert!(
            new.number > old,
            "segment {} after segment {old}",
            new.number
        );
        self.close();
        self.waiting.push_back(Waiting::Header(new));
        self.waiting_bytes += SEGMENT_HEADER_LEN;
        self.unbuffered += 1;
        self.filling = Some(Filling {
            segment: new.number,
            offset: SEGMENT_HEADER_LEN as u64,
        });
        let mut stage = Stage::new(self);
        checkpoint(&mut |head, fact| stage.add(head, fact));
        stage.finish()
    }

    /// The next block that may leave, sealed; `None` if nothing waits, or what waits must not leave yet. Issue it at
    /// once, and tell `Prefix`: blocks leave in order.
    pub fn seal_next(&mut self, synced: Synced) -> Option<Sealed<B>> {
        let in_flight = self.issued.0 - synced.ticket.0;
        if in_flight >= self.config.blocks_in_flight as u64 {
            return None;
        }
        match self.waiting.front() {
            Some(Waiting::Header(_)) if in_flight > 0 => return None,
            Some(Waiting::Header(_)) => {}
            _ if synced.ticket < self.leaving.header => return None,
            Some(_) => {}
            None if self.open.as_ref().is_some_and(|open| open.count > 0) => self.close(),
            None => return None,
        }
        if !matches!(self.waiting.front(), Some(Waiting::Block(_))) && self.spare.is_empty() {
            return None;
        }
        match self.waiting.pop_front()? {
            Waiting::Header(new) => {
                self.unbuffered -= 1;
                self.waiting_bytes -= SEGMENT_HEADER_LEN;
                Some(self.seal_header(new))
            }
            Waiting::Block(draft) => {
                self.waiting_bytes -= draft.len;
                Some(self.seal_block(draft, synced))
            }
            Waiting::Staged(staged) => {
                self.unbuffered -= 1;
                self.waiting_bytes -= staged.len;
                let mut memory = self.spare.pop()?;
                memory[..staged.len].copy_from_slice(&staged.memory[..staged.len]);
                let draft = Draft {
                    memory,
                    len: staged.len,
                    limit: staged.limit,
                    count: staged.count,
                    first: staged.first,
                };
                self.staging.push(staged.memory);
                Some(self.seal_block(draft, synced))
            }
        }
    }

    fn seal_header(&mut self, new: NewSegment) -> Sealed<B> {
        let mut buffer = self.spare.pop().expect("a spare buffer was seen");
        let previous = self.leaving.end;
        let chain = segment::seal(
            &mut buffer,
            SegmentFields {
                magic: SEGMENT_MAGIC,
                crc: 0,
                format: FORMAT_VERSION,
                salt: new.salt,
                segment: new.number,
                shard: self.config.shard,
                key: 0,
                schema: SCHEMA,
                bytes: self.config.segment_bytes,
                first_record: self.left.next().0,
                chain: previous.chain,
                previous: previous.segment,
                previous_end: previous.offset,
                previous_block: previous.block,
                previous_cut: previous.cut.into(),
                blocks_in_flight: self.config.blocks_in_flight as u32,
                block_max: self.config.block_max as u32,
                reserved: [0; 12],
            },
        );
        self.issued.0 += 1;
        self.leaving = Leaving {
            end: SegmentEnd {
                segment: new.number,
                offset: SEGMENT_HEADER_LEN as u64,
                block: 0,
                chain,
                cut: false,
            },
            seed: Seed::of(&new.salt),
            header: self.issued,
        };
        Sealed {
            ticket: self.issued,
            segment: new.number,
            offset: 0,
            len: SEGMENT_HEADER_LEN,
            block: 0,
            last_record: self.left,
            buffer,
        }
    }

    fn seal_block(&mut self, draft: Draft<B>, synced: Synced) -> Sealed<B> {
        let last_record = draft.last();
        let end = &mut self.leaving.end;
        let fields = BlockFields {
            magic: BLOCK_MAGIC,
            crc: 0,
            length: draft.len as u32,
            segment: end.segment,
            number: end.block + 1,
            first_record: draft.first.0,
            synced: synced.record.0,
            chain: end.chain,
            count: draft.count,
            shard: self.config.shard,
            tag: [0; 16],
            reserved: [0; 48],
        };
        let mut buffer = draft.memory;
        let (len, chain) = block::seal(&mut buffer, fields, self.leaving.seed);
        let offset = end.offset;
        assert!(
            offset + len as u64 <= self.config.segment_bytes,
            "a block of {len} bytes at {offset} leaves the segment"
        );
        end.offset += len as u64;
        end.block += 1;
        end.chain = chain;
        self.left = last_record;
        self.issued.0 += 1;
        Sealed {
            ticket: self.issued,
            segment: end.segment,
            offset,
            len,
            block: end.block,
            last_record,
            buffer,
        }
    }
}

#[inline]
fn taken(pushed: Result<(), FactError>, last: &mut RecordNo) -> RecordNo {
    assert!(
        pushed.is_ok(),
        "a fact is written or has no space: {pushed:?}"
    );
    *last = last.next();
    *last
}
