//! The index of a closed segment: which blocks hold facts of a transaction key.
//!
//! An index is a sorted list of numbers, one for each pair of a key and a block that holds a fact of it: the key's
//! hash above, the block's place below. It says where to look and nothing else. Who follows it reads the blocks, which
//! have checksums of their own, and compares whole keys, so that two keys of one hash cost time and nothing more.
//!
//! *Never believed without proof.* An index names its segment by the salt, by the end that the segment behind goes on
//! from, and by the link there, which stands for every byte of the segment. Each page has a checksum. One that does
//! not agree is a named [`IndexFault`], and the segment is read instead: all that an index says can be made from it
//! again. It is made off the shard, by the keeper when a segment has closed, and is no part of recovery.

mod build;

pub use build::{Builder, Progress};

use thiserror::Error;

use super::block::Seed;
use super::buffer::AlignedBuf;
use super::layout::{
    BLOCK_ALIGN, INDEX_FIELDS_LEN, INDEX_MAGIC, INDEX_PAGE_FIELDS_LEN, INDEX_PAGE_LEN,
    INDEX_VERSION, IndexFields, IndexPageFields, SegmentFields,
};
use super::segment::{SegmentEnd, SegmentHeader};
use super::store::{SegmentStore, StoreError};

/// Bits of an entry that say where the block starts, in units of [`BLOCK_ALIGN`]: segments of up to 4 GiB.
const PLACE_BITS: u32 = 20;
/// Entries of a page.
const PAGE_ENTRIES: usize = (INDEX_PAGE_LEN - INDEX_PAGE_FIELDS_LEN) / 8;

/// A closed segment: what its index has to agree with.
#[derive(Clone, Copy, Debug)]
pub struct Closed {
    /// Its header.
    pub header: SegmentFields,
    /// Where the segment behind goes on from.
    pub end: SegmentEnd,
}

/// Why an index is not believed.
#[derive(Debug, Error)]
pub enum IndexFault {
    /// There is none.
    #[error("there is none")]
    Absent,
    /// Bytes were changed or are missing.
    #[error("its checksum at offset {offset} is wrong")]
    Damaged {
        /// Start of the header or the page, bytes.
        offset: u64,
    },
    /// Another build made it.
    #[error("its format is version {found}, this build reads version {INDEX_VERSION}")]
    Version {
        /// The version it names.
        found: u32,
    },
    /// It is whole, and not of what the segment holds now.
    #[error("it was made from another segment, or from another end of this one")]
    Stale,
    /// A whole index that differs from what its segment holds.
    #[error("it does not say what its segment holds")]
    Wrong,
    /// It cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The upper bits of a key's entries.
fn hash_of(key: &[u8; 24]) -> u64 {
    let mut hash = 0x9e37_79b9_7f4a_7c15_u64;
    for word in key.chunks_exact(8) {
        let word = word
            .iter()
            .fold(0, |word, byte| word << 8 | u64::from(*byte));
        hash = (hash ^ word).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash ^= hash >> 29;
    }
    (hash.wrapping_mul(0x94d0_49bb_1331_11eb) ^ hash >> 32) >> PLACE_BITS
}

/// The checksum of a page or, with its place left out, of the header.
fn checksum(seed: Seed, number: u64, rest: &[u8]) -> u32 {
    crc32c::crc32c_append(seed.continued(number), rest)
}

/// Reads the header of the segment's index and holds it against the segment.
///
/// # Errors
/// Why the index is not believed.
pub fn judge(store: &mut dyn SegmentStore, closed: &Closed) -> Result<IndexFields, IndexFault> {
    let mut page = AlignedBuf::new(INDEX_PAGE_LEN);
    let len = store.read_index(closed.header.segment, 0, &mut page)?;
    if len == 0 {
        return Err(IndexFault::Absent);
    }
    let damaged = IndexFault::Damaged { offset: 0 };
    let Some(raw) = page.first_chunk::<INDEX_FIELDS_LEN>() else {
        return Err(damaged);
    };
    let fields = IndexFields::read(raw);
    if len < INDEX_PAGE_LEN || fields.magic != INDEX_MAGIC {
        return Err(damaged);
    }
    if fields.format != INDEX_VERSION {
        return Err(IndexFault::Version {
            found: fields.format,
        });
    }
    // The header's own salt: so that a whole index of another segment is told apart from a damaged one.
    if fields.crc != Seed::of(&fields.salt).checksum(&page) {
        return Err(damaged);
    }
    let end = (fields.end, fields.end_block, fields.chain);
    let same = fields.salt == closed.header.salt
        && (fields.segment, fields.shard) == (closed.header.segment, closed.header.shard)
        && end == (closed.end.offset, closed.end.block, closed.end.chain)
        && u64::from(fields.pages) == fields.entries.div_ceil(PAGE_ENTRIES as u64);
    if same {
        Ok(fields)
    } else {
        Err(IndexFault::Stale)
    }
}

/// The places, rising, of every block that may hold facts of the key.
///
/// # Errors
/// Why the index is not believed.
pub fn find(
    store: &mut dyn SegmentStore,
    closed: &Closed,
    key: &[u8; 24],
) -> Result<Vec<u64>, IndexFault> {
    let wanted = hash_of(key);
    let mut pages = Pages::open(store, closed)?;
    // The first page whose last entry is not below what is looked for.
    let (mut low, mut high) = (0, pages.fields.pages);
    while low < high {
        let middle = low + (high - low) / 2;
        let last = pages.read(middle)?.last();
        if last.is_some_and(|entry| entry >> PLACE_BITS < wanted) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let mut places = Vec::new();
    for page in low..pages.fields.pages {
        for entry in pages.read(page)? {
            match (entry >> PLACE_BITS).cmp(&wanted) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => {
                    places.push((entry & ((1 << PLACE_BITS) - 1)) * BLOCK_ALIGN as u64);
                }
                std::cmp::Ordering::Greater => return Ok(places),
            }
        }
    }
    Ok(places)
}

/// Reads the whole index and compares it with one that is made anew from the segment.
///
/// # Errors
/// Why the index is not believed.
pub fn verify(
    store: &mut dyn SegmentStore,
    closed: &Closed,
    anew: &[u8],
) -> Result<IndexFields, IndexFault> {
    let mut pages = Pages::open(store, closed)?;
    for page in 0..pages.fields.pages {
        pages.load(page)?;
        let from = (page as usize + 1) * INDEX_PAGE_LEN;
        if anew.get(from..from + INDEX_PAGE_LEN) != Some(&pages.memory[..]) {
            return Err(IndexFault::Wrong);
        }
    }
    let whole = (pages.fields.pages as usize + 1) * INDEX_PAGE_LEN;
    if anew.len() == whole {
        Ok(pages.fields)
    } else {
        Err(IndexFault::Wrong)
    }
}

/// The pages of an index that agrees with its segment.
struct Pages<'a> {
    store: &'a mut dyn SegmentStore,
    fields: IndexFields,
    memory: AlignedBuf,
}

impl<'a> Pages<'a> {
    fn open(store: &'a mut dyn SegmentStore, closed: &Closed) -> Result<Pages<'a>, IndexFault> {
        let fields = judge(store, closed)?;
        Ok(Pages {
            store,
            fields,
            memory: AlignedBuf::new(INDEX_PAGE_LEN),
        })
    }

    /// Reads a page and holds it against its checksum.
    fn load(&mut self, page: u32) -> Result<(), IndexFault> {
        let offset = (u64::from(page) + 1) * INDEX_PAGE_LEN as u64;
        let damaged = IndexFault::Damaged { offset };
        let (segment, seed) = (self.fields.segment, Seed::of(&self.fields.salt));
        let len = self.store.read_index(segment, offset, &mut self.memory)?;
        let Some((front, rest)) = self.memory.split_first_chunk::<INDEX_PAGE_FIELDS_LEN>() else {
            return Err(damaged);
        };
        let front = IndexPageFields::read(front);
        let good = len == INDEX_PAGE_LEN
            && front.page == page
            && front.crc == checksum(seed, u64::from(page), rest);
        if good { Ok(()) } else { Err(damaged) }
    }

    /// The entries of a page.
    fn read(&mut self, page: u32) -> Result<impl DoubleEndedIterator<Item = u64>, IndexFault> {
        self.load(page)?;
        let before = u64::from(page) * PAGE_ENTRIES as u64;
        let count = (self.fields.entries.saturating_sub(before) as usize).min(PAGE_ENTRIES);
        let raw = self.memory[INDEX_PAGE_FIELDS_LEN..].chunks_exact(8);
        Ok(raw
            .take(count)
            .map(|raw| u64::from_le_bytes(raw.try_into().unwrap_or_default())))
    }
}

/// What an index is written as: the header, then its pages. `entries` are sorted.
fn write(closed: &Closed, entries: &[u64]) -> Vec<u8> {
    let seed = closed.header.seed();
    let pages = entries.len().div_ceil(PAGE_ENTRIES);
    let mut out = vec![0; (pages + 1) * INDEX_PAGE_LEN];
    let (head, rest) = out.split_at_mut(INDEX_PAGE_LEN);
    let mut fields = IndexFields {
        magic: INDEX_MAGIC,
        crc: 0,
        format: INDEX_VERSION,
        salt: closed.header.salt,
        segment: closed.header.segment,
        shard: closed.header.shard,
        pages: pages as u32,
        end: closed.end.offset,
        end_block: closed.end.block,
        chain: closed.end.chain,
        entries: entries.len() as u64,
        reserved: [0; 16],
    };
    let put = |head: &mut [u8], fields: &IndexFields| {
        let front = head.first_chunk_mut::<INDEX_FIELDS_LEN>();
        fields.write(front.expect("a page is longer than the header's fields"));
    };
    put(head, &fields);
    fields.crc = seed.checksum(head);
    put(head, &fields);
    let of_pages = rest.chunks_exact_mut(INDEX_PAGE_LEN);
    for (number, (page, entries)) in of_pages.zip(entries.chunks(PAGE_ENTRIES)).enumerate() {
        let (front, rest) = page.split_at_mut(INDEX_PAGE_FIELDS_LEN);
        for (place, entry) in rest.chunks_exact_mut(8).zip(entries) {
            place.copy_from_slice(&entry.to_le_bytes());
        }
        let fields = IndexPageFields {
            crc: checksum(seed, number as u64, rest),
            page: number as u32,
        };
        let front = front.first_chunk_mut::<INDEX_PAGE_FIELDS_LEN>();
        fields.write(front.expect("a page is longer than its front"));
    }
    out
}
