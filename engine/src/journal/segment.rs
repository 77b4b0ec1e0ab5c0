//! A segment's header: written once, durable before the first block, and the judge over all of them.

use thiserror::Error;

use super::RecordNo;
use super::block::{Seed, link};
use super::layout::{
    BLOCK_ALIGN, BLOCK_HEADER_LEN, BLOCK_LEN_MAX, BLOCKS_IN_FLIGHT_MAX, FORMAT_VERSION, SCHEMA,
    SEGMENT_FIELDS_LEN, SEGMENT_HEADER_LEN, SEGMENT_MAGIC, SegmentFields,
};

/// A prepared segment that the writer may go on in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewSegment {
    /// Its number, higher than any before.
    pub number: u64,
    /// Random bytes never used before.
    pub salt: [u8; 16],
}

/// Where a segment ends that another follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SegmentEnd {
    /// Its number; 0: there is none.
    pub segment: u64,
    /// Offset behind the last block that counts.
    pub offset: u64,
    /// Number of that block; 0: the header alone.
    pub block: u64,
    /// The link of that block, or of the header: what the next chain starts from.
    pub chain: u64,
    /// Whether recovery cut it there.
    pub cut: bool,
}

/// Why bytes are not the header of the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SegmentFault {
    /// They do not start like a segment.
    #[error("there is no segment header")]
    Absent,
    /// The checksum is wrong.
    #[error("the header's checksum {found:08x} should be {wanted:08x}")]
    Checksum {
        /// On the disk.
        found: u32,
        /// Of the bytes.
        wanted: u32,
    },
    /// The header is whole, but of another segment: the file was recycled, or renamed.
    #[error("the header is that of segment {segment}")]
    Renamed {
        /// The segment it names.
        segment: u64,
    },
    /// The header is of another shard: files were mixed up.
    #[error("it belongs to shard {shard}")]
    Shard {
        /// The shard it names.
        shard: u32,
    },
    /// Another format.
    #[error("its format is version {format}, this build reads version {FORMAT_VERSION}")]
    Format {
        /// The version it names.
        format: u32,
    },
    /// Other facts.
    #[error("its records have schema {schema:016x}, this build reads {SCHEMA:016x}")]
    Schema {
        /// The schema it names.
        schema: u64,
    },
    /// Sealed with a key that this build cannot use.
    #[error("it is sealed with key {key}, and this build has no keys")]
    Sealed {
        /// The key's number.
        key: u32,
    },
    /// A value that no writer writes.
    #[error("its header holds values that cannot be")]
    Impossible,
}

/// Reads and judges a segment's header.
///
/// # Errors
/// Why it is none, or none that this build reads.
pub fn parse(bytes: &[u8], shard: u32, segment: u64) -> Result<SegmentFields, SegmentFault> {
    let Some(whole) = bytes.first_chunk::<SEGMENT_HEADER_LEN>() else {
        return Err(SegmentFault::Absent);
    };
    let Some(raw) = whole.first_chunk::<SEGMENT_FIELDS_LEN>() else {
        return Err(SegmentFault::Absent);
    };
    let fields = SegmentFields::read(raw);
    if fields.magic != SEGMENT_MAGIC {
        return Err(SegmentFault::Absent);
    }
    // Before the checksum, which another format may compute in another way: its journal must never look unused.
    if fields.format != FORMAT_VERSION {
        return Err(SegmentFault::Format {
            format: fields.format,
        });
    }
    let wanted = Seed::of(&fields.salt).checksum(whole);
    if fields.crc != wanted {
        return Err(SegmentFault::Checksum {
            found: fields.crc,
            wanted,
        });
    }
    judge(&fields, shard, segment)?;
    Ok(fields)
}

/// Whether a whole header is one that this build can go by.
fn judge(fields: &SegmentFields, shard: u32, segment: u64) -> Result<(), SegmentFault> {
    if fields.shard != shard {
        return Err(SegmentFault::Shard {
            shard: fields.shard,
        });
    }
    if fields.segment != segment {
        return Err(SegmentFault::Renamed {
            segment: fields.segment,
        });
    }
    if fields.schema != SCHEMA {
        return Err(SegmentFault::Schema {
            schema: fields.schema,
        });
    }
    if fields.key != 0 {
        return Err(SegmentFault::Sealed { key: fields.key });
    }
    let in_flight = fields.blocks_in_flight as usize;
    let block_max = fields.block_max as usize;
    let sound = (1..=BLOCKS_IN_FLIGHT_MAX).contains(&in_flight)
        && (BLOCK_HEADER_LEN..=BLOCK_LEN_MAX).contains(&block_max)
        && fields.bytes.is_multiple_of(BLOCK_ALIGN as u64)
        && fields.previous < segment
        && fields.first_record > 0;
    if sound {
        Ok(())
    } else {
        Err(SegmentFault::Impossible)
    }
}

/// The header's place in the sequence: what the segment before was, and what the next chain starts from.
pub trait SegmentHeader {
    /// The end of the segment before.
    fn previous(&self) -> SegmentEnd;
    /// The link of this header: the chain of the segment's first block.
    fn link(&self) -> u64;
    /// The start value of the segment's checksums.
    fn seed(&self) -> Seed;
    /// The record right before the first of this segment.
    fn record_before(&self) -> RecordNo;
}

impl SegmentHeader for SegmentFields {
    fn previous(&self) -> SegmentEnd {
        SegmentEnd {
            segment: self.previous,
            offset: self.previous_end,
            block: self.previous_block,
            chain: self.chain,
            cut: self.previous_cut != 0,
        }
    }

    fn link(&self) -> u64 {
        link(self.crc, self.chain)
    }

    fn seed(&self) -> Seed {
        Seed::of(&self.salt)
    }

    fn record_before(&self) -> RecordNo {
        RecordNo(self.first_record.saturating_sub(1))
    }
}

/// Writes a whole header block; `fields.crc` is ignored. Gives the link for the first block.
pub(super) fn seal(buffer: &mut [u8], mut fields: SegmentFields) -> u64 {
    let whole = &mut buffer[..SEGMENT_HEADER_LEN];
    whole.fill(0);
    fields.crc = 0;
    put(whole, &fields);
    fields.crc = Seed::of(&fields.salt).checksum(whole);
    put(whole, &fields);
    link(fields.crc, fields.chain)
}

fn put(whole: &mut [u8], fields: &SegmentFields) {
    let front = whole.first_chunk_mut::<SEGMENT_FIELDS_LEN>();
    fields.write(front.expect("a header block is longer than its fields"));
}
