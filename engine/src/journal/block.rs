//! One block: how its records are laid in, how it is sealed, and how its bytes are judged and walked.
//!
//! A block is judged in two steps. [`parse`] asks whether bytes are a block that this segment's salt vouches for;
//! whether it is the block that has to stand here (number, records, chain) is for the one who reads in order.

use thiserror::Error;

use super::RecordNo;
use super::layout::{
    BLOCK_HEADER_LEN, BLOCK_LEN_MAX, BLOCK_MAGIC, BlockFields, RECORD_HEADER_LEN, RecordFields,
    block_padded, record_padded,
};
use crate::core::fact::{FACT_VERSION, Fact, FactError, FactHead};

const CRC_AT: usize = 8;
const CRC_END: usize = 12;

/// The start value of every checksum of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(u32);

impl Seed {
    /// The start value of a page's checksum in an index: the page's number makes it one of its place.
    pub(super) fn continued(self, number: u64) -> u32 {
        crc32c::crc32c_append(self.0, &number.to_le_bytes())
    }

    /// From the segment's salt.
    #[must_use]
    pub fn of(salt: &[u8; 16]) -> Seed {
        Seed(crc32c::crc32c(salt))
    }

    /// CRC32C over a block or a segment header as it lies on the disk, without the checksum itself.
    #[must_use]
    pub fn checksum(self, bytes: &[u8]) -> u32 {
        let front = crc32c::crc32c_append(self.0, &bytes[..CRC_AT]);
        crc32c::crc32c_append(front, &bytes[CRC_END..])
    }
}

/// What the next block carries as its chain: it binds this block's checksum and, through its chain, all before it.
#[must_use]
pub fn link(crc: u32, chain: u64) -> u64 {
    u64::from(crc32c::crc32c_append(crc, &chain.to_le_bytes())) << 32 | u64::from(crc)
}

/// Why bytes are not a block of the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BlockFault {
    /// They do not start like a block: nothing was written here, or its first sector was lost.
    #[error("there is no block")]
    Absent,
    /// The block belongs to another segment: the file was recycled.
    #[error("the block was written for segment {segment} of shard {shard}")]
    Foreign {
        /// Its shard.
        shard: u32,
        /// Its segment.
        segment: u64,
    },
    /// Its length is impossible.
    #[error("the block's length {length} cannot be")]
    Length {
        /// The length it names.
        length: u32,
    },
    /// It ends behind the segment.
    #[error("the block ends behind the segment")]
    Beyond,
    /// The checksum is wrong: bytes are missing, changed, or of an earlier use of the file.
    #[error("checksum {found:08x} should be {wanted:08x}")]
    Checksum {
        /// On the disk.
        found: u32,
        /// Of the bytes.
        wanted: u32,
    },
}

/// Reads the header at the front of `bytes` if it is one of a block of the segment. The checksum is not looked at.
///
/// # Errors
/// Why it is none.
pub fn parse_header(bytes: &[u8], shard: u32, segment: u64) -> Result<BlockFields, BlockFault> {
    let Some(raw) = bytes.first_chunk::<BLOCK_HEADER_LEN>() else {
        return Err(BlockFault::Beyond);
    };
    let fields = BlockFields::read(raw);
    if fields.magic != BLOCK_MAGIC {
        return Err(BlockFault::Absent);
    }
    if fields.segment != segment || fields.shard != shard {
        return Err(BlockFault::Foreign {
            shard: fields.shard,
            segment: fields.segment,
        });
    }
    let length = fields.length as usize;
    let least = BLOCK_HEADER_LEN as u64 + u64::from(fields.count) * RECORD_HEADER_LEN as u64;
    if fields.count == 0 || (length as u64) < least || length > BLOCK_LEN_MAX {
        return Err(BlockFault::Length {
            length: fields.length,
        });
    }
    Ok(fields)
}

/// Reads the block at the front of `bytes`, checksum included.
///
/// # Errors
/// Why there is none; `Beyond` also means that `bytes` is too short.
pub fn parse(
    bytes: &[u8],
    seed: Seed,
    shard: u32,
    segment: u64,
) -> Result<BlockFields, BlockFault> {
    let fields = parse_header(bytes, shard, segment)?;
    let Some(whole) = bytes.get(..block_padded(fields.length as usize)) else {
        return Err(BlockFault::Beyond);
    };
    let wanted = seed.checksum(whole);
    if fields.crc == wanted {
        Ok(fields)
    } else {
        Err(BlockFault::Checksum {
            found: fields.crc,
            wanted,
        })
    }
}

/// Puts header, padding and checksum around the records in `buffer`; `fields.crc` is ignored. Gives the length on
/// the disk and the link for the next block.
pub(super) fn seal(buffer: &mut [u8], mut fields: BlockFields, seed: Seed) -> (usize, u64) {
    let length = fields.length as usize;
    let whole = &mut buffer[..block_padded(length)];
    whole[length..].fill(0);
    fields.crc = 0;
    put_header(whole, &fields);
    fields.crc = seed.checksum(whole);
    whole[CRC_AT..CRC_END].copy_from_slice(&fields.crc.to_le_bytes());
    (whole.len(), link(fields.crc, fields.chain))
}

fn put_header(block: &mut [u8], fields: &BlockFields) {
    let header = block.first_chunk_mut::<BLOCK_HEADER_LEN>();
    fields.write(header.expect("a block is longer than its header"));
}

/// Records being laid into memory, behind room for the header.
#[derive(Debug)]
pub(super) struct Draft<M> {
    pub(super) memory: M,
    /// Bytes so far, header room included.
    pub(super) len: usize,
    /// Bytes it may take.
    pub(super) limit: usize,
    pub(super) count: u32,
    pub(super) first: RecordNo,
}

impl<M: std::ops::DerefMut<Target = [u8]>> Draft<M> {
    pub(super) fn new(memory: M, limit: usize, first: RecordNo) -> Draft<M> {
        Draft {
            memory,
            len: BLOCK_HEADER_LEN,
            limit,
            count: 0,
            first,
        }
    }

    /// Adds a record; on an error the draft is as before.
    #[inline]
    pub(super) fn push(&mut self, head: &FactHead, fact: &Fact<'_>) -> Result<(), FactError> {
        let space = &mut self.memory[self.len..self.limit];
        let no_space = FactError::NoSpace {
            kind: fact.kind(),
            space: space.len(),
        };
        let Some((front, payload)) = space.split_first_chunk_mut::<RECORD_HEADER_LEN>() else {
            return Err(no_space);
        };
        let length = fact.write(payload)?;
        let padded = record_padded(length);
        if padded > payload.len() {
            return Err(no_space);
        }
        payload[length..padded].fill(0);
        let fields = RecordFields {
            kind: fact.kind(),
            version: FACT_VERSION,
            line: head.line,
            epoch: head.epoch,
            length: length as u32,
            tx: head.tx,
            trace: head.trace,
            wall_ns: head.wall_ns,
            reserved: 0,
        };
        fields.write(front);
        self.len += RECORD_HEADER_LEN + padded;
        self.count += 1;
        Ok(())
    }

    pub(super) fn last(&self) -> RecordNo {
        RecordNo(self.first.0 + u64::from(self.count) - 1)
    }
}

/// A record as it lies in a block.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Its number.
    pub number: RecordNo,
    /// Its header.
    pub fields: RecordFields,
    /// The archived fact, aligned if the block is.
    pub payload: &'a [u8],
}

impl<'a> Record<'a> {
    /// The part in front of every fact.
    #[must_use]
    pub fn head(&self) -> FactHead {
        FactHead {
            line: self.fields.line,
            epoch: self.fields.epoch,
            tx: self.fields.tx,
            trace: self.fields.trace,
            wall_ns: self.fields.wall_ns,
        }
    }

    /// The fact, every byte of it checked.
    ///
    /// # Errors
    /// An unknown type or version, or bytes that are no archive of it.
    pub fn fact(&self) -> Result<Fact<'a>, FactError> {
        Fact::read(self.fields.kind, self.fields.version, self.payload)
    }
}

/// The records of a block whose checksum holds. Ends early, with `None`, where a length runs out of the block;
/// [`Records::is_whole`] tells.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    rest: &'a [u8],
    next: RecordNo,
    left: u32,
}

impl<'a> Records<'a> {
    /// `block` starts with the block that `fields` were read from.
    #[must_use]
    pub fn of(block: &'a [u8], fields: &BlockFields) -> Records<'a> {
        Records {
            rest: block
                .get(BLOCK_HEADER_LEN..fields.length as usize)
                .unwrap_or(&[]),
            next: RecordNo(fields.first_record),
            left: fields.count,
        }
    }

    /// Whether all records were given and nothing is left over: the count and the length agree.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.left == 0 && self.rest.is_empty()
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        if self.left == 0 {
            return None;
        }
        let (front, rest) = self.rest.split_first_chunk::<RECORD_HEADER_LEN>()?;
        let fields = RecordFields::read(front);
        let length = fields.length as usize;
        let (payload, rest) = rest.split_at_checked(record_padded(length))?;
        self.rest = rest;
        self.left -= 1;
        let number = self.next;
        self.next = RecordNo(number.0.wrapping_add(1));
        Some(Record {
            number,
            fields,
            payload: &payload[..length],
        })
    }
}
