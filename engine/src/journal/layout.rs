//! Where every byte of a journal lies. Each header is declared once, and from that declaration come its struct, its
//! reader, its writer and its table of fields, which tests and documentation walk.
//!
//! All numbers are little-endian. A segment is [`SEGMENT_HEADER_LEN`] bytes of header, then blocks, each starting at a
//! multiple of [`BLOCK_ALIGN`] and padded with zeros to one. A block is its header, then records, each starting at a
//! multiple of [`RECORD_ALIGN`]. A record is its header, then its payload, padded with zeros.

use crate::core::fact::{FACT_VERSION, Fact};

/// Blocks start and end at multiples of this, as O_DIRECT asks.
pub const BLOCK_ALIGN: usize = 4096;
/// Records start and end at multiples of this, as archived facts ask.
pub const RECORD_ALIGN: usize = 16;
/// The version of everything on this page. A build reads its own version and no other.
pub const FORMAT_VERSION: u32 = 1;
/// The longest record, header included: a fact with two frames of 1,024 bytes, and as much again for safety.
pub const RECORD_LEN_MAX: usize = 4096;
/// The most blocks in flight that a segment header may name.
pub const BLOCKS_IN_FLIGHT_MAX: usize = 16;
/// The longest block, and so the most memory that reading one takes.
pub const BLOCK_LEN_MAX: usize = 16 << 20;

/// First bytes of a segment: `SEKISHO1`.
pub const SEGMENT_MAGIC: u64 = u64::from_le_bytes(*b"SEKISHO1");
/// First bytes of a block: `SKBLOCK1`.
pub const BLOCK_MAGIC: u64 = u64::from_le_bytes(*b"SKBLOCK1");

/// First bytes of an index: `SKINDEX1`.
pub const INDEX_MAGIC: u64 = u64::from_le_bytes(*b"SKINDEX1");
/// The version of an index. One of another version is made anew, since it says nothing that its segment does not.
pub const INDEX_VERSION: u32 = 1;
/// Bytes of an index's header, and of each of its pages.
pub const INDEX_PAGE_LEN: usize = 4096;

/// One field of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name, as in the struct.
    pub name: &'static str,
    /// Bytes from the start of the header.
    pub offset: usize,
    /// Bytes it takes.
    pub width: usize,
}

/// A value of fixed width in a header.
trait Wire: Copy {
    fn put(self, out: &mut [u8]);
    fn get(bytes: &[u8]) -> Self;
}

macro_rules! wire_numbers {
    ($($number:ty)*) => {
        $(impl Wire for $number {
            #[inline]
            fn put(self, out: &mut [u8]) { out.copy_from_slice(&self.to_le_bytes()); }
            #[inline]
            fn get(bytes: &[u8]) -> Self {
                let mut raw = [0; size_of::<$number>()];
                raw.copy_from_slice(bytes);
                <$number>::from_le_bytes(raw)
            }
        })*
    };
}

wire_numbers! { u16 u32 u64 }

impl<const N: usize> Wire for [u8; N] {
    fn put(self, out: &mut [u8]) {
        out.copy_from_slice(&self);
    }
    fn get(bytes: &[u8]) -> Self {
        let mut raw = [0; N];
        raw.copy_from_slice(bytes);
        raw
    }
}

/// Declares a header: its length, and its fields with their offsets.
macro_rules! header {
    ($(#[doc = $doc:literal])* $name:ident $len:ident = $bytes:literal {
        $($(#[doc = $field_doc:literal])* $offset:literal $field:ident: $ty:ty,)*
    }) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name { $($(#[doc = $field_doc])* pub $field: $ty,)* }

        #[doc = concat!("Bytes of a [`", stringify!($name), "`].")]
        pub const $len: usize = $bytes;

        impl $name {
            /// The fields in the order in which they lie; what is behind the last is zero.
            pub const FIELDS: &'static [Field] = &[$(
                Field { name: stringify!($field), offset: $offset, width: size_of::<$ty>() },
            )*];

            /// Writes every field; `out` is as long as the header.
            #[inline]
            pub fn write(&self, out: &mut [u8; $bytes]) {
                $(self.$field.put(&mut out[$offset..$offset + size_of::<$ty>()]);)*
            }

            /// Reads every field, judging none.
            #[inline]
            #[must_use]
            pub fn read(bytes: &[u8; $bytes]) -> $name {
                $name { $($field: <$ty>::get(&bytes[$offset..$offset + size_of::<$ty>()]),)* }
            }
        }

        const _: () = assert!(tiles($name::FIELDS, $bytes));
    };
}

/// Whether the fields follow each other without a gap and fill the header.
const fn tiles(fields: &[Field], len: usize) -> bool {
    let (mut at, mut index) = (0, 0);
    while index < fields.len() {
        if fields[index].offset != at {
            return false;
        }
        at += fields[index].width;
        index += 1;
    }
    at == len
}

header! {
    /// The header of a segment. The rest of its 4 KiB is zero.
    SegmentFields SEGMENT_FIELDS_LEN = 128 {
        /// [`SEGMENT_MAGIC`].
        0 magic: u64,
        /// CRC32C of the 4 KiB without these four bytes, seeded with the salt.
        8 crc: u32,
        /// [`FORMAT_VERSION`].
        12 format: u32,
        /// Fresh random bytes, part of every checksum, so that a recycled segment's old blocks never pass.
        16 salt: [u8; 16],
        /// The segment's number, from 1, never used twice in a shard.
        32 segment: u64,
        /// The shard it belongs to.
        40 shard: u32,
        /// The key that its blocks are sealed with; 0: not sealed.
        44 key: u32,
        /// [`SCHEMA`] of the build that wrote it.
        48 schema: u64,
        /// Bytes of the segment, header included.
        56 bytes: u64,
        /// Number of the first record.
        64 first_record: u64,
        /// Chain head: the link of the last block that counts in the segment before, or of its header.
        72 chain: u64,
        /// Number of the segment before; 0: there is none.
        80 previous: u64,
        /// Where the segment before ends: the offset behind its last block that counts.
        88 previous_end: u64,
        /// Number of its last block that counts; 0: its header alone.
        96 previous_block: u64,
        /// 1 if recovery cut the segment before at that end; what lies behind counts for nothing.
        104 previous_cut: u32,
        /// K: the most blocks in flight at a time.
        108 blocks_in_flight: u32,
        /// The longest block.
        112 block_max: u32,
        /// Zero.
        116 reserved: [u8; 12],
    }
}

header! {
    /// The header of a block.
    BlockFields BLOCK_HEADER_LEN = 128 {
        /// [`BLOCK_MAGIC`].
        0 magic: u64,
        /// CRC32C of what is on the disk, padding included, without these four bytes, seeded with the segment's salt.
        8 crc: u32,
        /// Exact length, this header included, without padding.
        12 length: u32,
        /// Number of the segment it was written for.
        16 segment: u64,
        /// Its number in the segment, from 1.
        24 number: u64,
        /// Number of its first record.
        32 first_record: u64,
        /// The last record that was known durable, with all before it, when the block was sealed.
        40 synced: u64,
        /// The link of the block before, or of the segment's header.
        48 chain: u64,
        /// Records in it, at least 1.
        56 count: u32,
        /// The shard.
        60 shard: u32,
        /// Room for the tag of a sealed block; zero.
        64 tag: [u8; 16],
        /// Zero.
        80 reserved: [u8; 48],
    }
}

header! {
    /// The header of a record.
    RecordFields RECORD_HEADER_LEN = 48 {
        /// Type of the fact.
        0 kind: u16,
        /// Version of the fact's layout.
        2 version: u16,
        /// Stable line id; 0: the whole shard.
        4 line: u32,
        /// The line's epoch.
        8 epoch: u32,
        /// Bytes of the payload, without padding.
        12 length: u32,
        /// Transaction id; 0: none.
        16 tx: u64,
        /// Trace id; 0: none.
        24 trace: u64,
        /// Wall time, nanoseconds since 1970 UTC.
        32 wall_ns: u64,
        /// Zero.
        40 reserved: u64,
    }
}

header! {
    /// The header of a closed segment's index.
    IndexFields INDEX_FIELDS_LEN = 96 {
        /// [`INDEX_MAGIC`].
        0 magic: u64,
        /// CRC32C of the 4 KiB without these four bytes, seeded with the salt.
        8 crc: u32,
        /// [`INDEX_VERSION`].
        12 format: u32,
        /// The salt of the segment that it was made from.
        16 salt: [u8; 16],
        /// The segment.
        32 segment: u64,
        /// The shard.
        40 shard: u32,
        /// Pages behind this header.
        44 pages: u32,
        /// Where the segment ends: the offset behind its last block that counts.
        48 end: u64,
        /// Number of that block; 0: the segment holds its header alone.
        56 end_block: u64,
        /// The link of that block: through its chain it stands for every byte that counts in the segment.
        64 chain: u64,
        /// Entries in all pages.
        72 entries: u64,
        /// Zero.
        80 reserved: [u8; 16],
    }
}

header! {
    /// The front of a page of an index.
    IndexPageFields INDEX_PAGE_FIELDS_LEN = 8 {
        /// CRC32C of the rest of the page, seeded with the salt.
        0 crc: u32,
        /// The page's number, from 0.
        4 page: u32,
    }
}

/// Bytes of a segment's header on the disk.
pub const SEGMENT_HEADER_LEN: usize = BLOCK_ALIGN;

const _: () = assert!(BLOCK_HEADER_LEN.is_multiple_of(RECORD_ALIGN));
const _: () = assert!(RECORD_HEADER_LEN.is_multiple_of(RECORD_ALIGN));
const _: () = assert!(SEGMENT_FIELDS_LEN <= SEGMENT_HEADER_LEN);

/// What this build's records look like: a hash over the tables above and the list of facts with their version. A
/// journal of another schema is refused, never guessed at.
pub const SCHEMA: u64 = schema();

const fn schema() -> u64 {
    let mut hash = FNV_START;
    let tables = [
        SegmentFields::FIELDS,
        BlockFields::FIELDS,
        RecordFields::FIELDS,
    ];
    let mut table = 0;
    while table < tables.len() {
        let mut index = 0;
        while index < tables[table].len() {
            let field = tables[table][index];
            hash = fnv(hash, field.name.as_bytes());
            hash = fnv(hash, &[field.offset as u8, field.width as u8]);
            index += 1;
        }
        table += 1;
    }
    let mut index = 0;
    while index < Fact::KINDS.len() {
        let (kind, name) = Fact::KINDS[index];
        hash = fnv(fnv(hash, &kind.to_le_bytes()), name.as_bytes());
        index += 1;
    }
    fnv(hash, &FACT_VERSION.to_le_bytes())
}

const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

const fn fnv(mut hash: u64, bytes: &[u8]) -> u64 {
    let mut index = 0;
    while index < bytes.len() {
        hash = (hash ^ bytes[index] as u64).wrapping_mul(FNV_PRIME);
        index += 1;
    }
    hash
}

/// The next multiple of [`BLOCK_ALIGN`].
#[inline]
#[must_use]
pub const fn block_padded(len: usize) -> usize {
    len.next_multiple_of(BLOCK_ALIGN)
}

/// The next multiple of [`RECORD_ALIGN`].
#[inline]
#[must_use]
pub const fn record_padded(len: usize) -> usize {
    len.next_multiple_of(RECORD_ALIGN)
}

/// The number of a fact type, from the facts' own table.
pub(super) const fn kind_named(name: &str) -> u16 {
    let mut index = 0;
    while index < Fact::KINDS.len() {
        let (kind, known) = Fact::KINDS[index];
        if same(known.as_bytes(), name.as_bytes()) {
            return kind;
        }
        index += 1;
    }
    panic!("no such fact")
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    let mut index = 0;
    while index < a.len() && index < b.len() && a[index] == b[index] {
        index += 1;
    }
    index == a.len() && index == b.len()
}
