//! The disk: writes take their time, complete in any order, and a crash leaves any part of what was in flight.

use std::collections::BTreeMap;

use super::rng::Rng;
use super::telegram;
use engine::journal::RecordNo;
use engine::journal::block::Records;
use engine::journal::buffer::AlignedBuf;
use engine::journal::layout::{BLOCK_HEADER_LEN, BLOCK_MAGIC, BlockFields};
use engine::journal::segment::NewSegment;
use engine::journal::store::mem::{MemStore, SECTOR};
use engine::journal::writer::{Sealed, Ticket};

/// A block that was handed to the disk, in order.
pub struct Block {
    /// Number of its last record.
    pub last: u64,
    fields: BlockFields,
    bytes: AlignedBuf,
}

impl Block {
    /// Its records.
    #[must_use]
    pub fn records(&self) -> Records<'_> {
        Records::of(&self.bytes, &self.fields)
    }
}

struct Write {
    buffer: AlignedBuf,
    last: u64,
    done: bool,
    place: (u64, u64, usize),
}

/// The disk and what was written to it since the beginning.
pub struct Disk {
    /// The store that recovery reads.
    pub store: MemStore,
    /// Every block ever written, in order, without those that a crash took back.
    pub blocks: Vec<Block>,
    writes: BTreeMap<u64, Write>,
    /// The last record of which everything up to it has completed.
    pub durable: u64,
    rng: Rng,
    segment_bytes: u64,
}

impl Disk {
    /// An empty disk.
    #[must_use]
    pub fn new(seed: u64, segment_bytes: u64) -> Disk {
        Disk {
            store: MemStore::new(),
            blocks: Vec::new(),
            writes: BTreeMap::new(),
            durable: 0,
            rng: Rng::new(seed, 2),
            segment_bytes,
        }
    }

    /// Prepares the next segment: a new one, or an old one that nothing needs any more.
    pub fn prepare(&mut self, number: u64, needed_from: u64) -> NewSegment {
        let old = self.segments().into_iter().find(|old| *old < needed_from);
        match old {
            Some(old) if self.rng.chance(700) => self.store.recycle(old, number),
            _ => self.store.create(number, self.segment_bytes as usize),
        }
        let mut salt = [0; 16];
        salt[..8].copy_from_slice(&self.rng.word().to_le_bytes());
        salt[8..].copy_from_slice(&self.rng.word().to_le_bytes());
        NewSegment { number, salt }
    }

    fn segments(&mut self) -> Vec<u64> {
        use engine::journal::store::SegmentStore;
        self.store.list().unwrap_or_default()
    }

    /// Takes a block. Gives it back as read, unless it is a segment's header.
    ///
    /// # Errors
    /// Invariant 11: it holds what must not be stored.
    pub fn write(&mut self, sealed: Sealed<AlignedBuf>) -> Result<Option<&Block>, String> {
        let bytes = &sealed.buffer[..sealed.len];
        let sentinels: [&[u8]; 3] = [
            telegram::PIN,
            telegram::SECURITY_CODE,
            telegram::DISCRETIONARY,
        ];
        for sentinel in sentinels {
            if bytes
                .windows(sentinel.len())
                .any(|window| window == sentinel)
            {
                let what = String::from_utf8_lossy(sentinel);
                return Err(format!(
                    "11: {what}, which must not be stored, is in block {} of segment {}",
                    sealed.block, sealed.segment
                ));
            }
        }
        let head = bytes
            .first_chunk::<BLOCK_HEADER_LEN>()
            .map(BlockFields::read);
        let fields = head.filter(|fields| fields.magic == BLOCK_MAGIC);
        let block = fields.map(|fields| Block {
            last: sealed.last_record.0,
            fields,
            bytes: AlignedBuf::copy_of(&bytes[..fields.length as usize]),
        });
        self.store
            .write(sealed.ticket.0, sealed.segment, sealed.offset, bytes);
        let write = Write {
            last: sealed.last_record.0,
            done: false,
            place: (sealed.segment, sealed.offset, sealed.len),
            buffer: sealed.buffer,
        };
        self.writes.insert(sealed.ticket.0, write);
        let Some(block) = block else { return Ok(None) };
        self.blocks.push(block);
        Ok(self.blocks.last())
    }

    /// A write completes; its buffer comes back once. Buffers of writes behind it wait for nothing.
    pub fn complete(&mut self, ticket: Ticket) -> AlignedBuf {
        self.store.complete(ticket.0);
        let write = self.writes.get_mut(&ticket.0).expect("it is in flight");
        write.done = true;
        let buffer = std::mem::replace(&mut write.buffer, AlignedBuf::new(0));
        while let Some(first) = self.writes.first_entry()
            && first.get().done
        {
            self.durable = first.remove().last;
        }
        buffer
    }

    /// The machine stops. What was in flight survives as nothing, all, a prefix, or any part of it, torn at any
    /// sector; bits of what was not synced may be wrong.
    pub fn crash(&mut self) {
        let mode = self.rng.below(5);
        let prefix = self.rng.below(8);
        let rng = &mut self.rng;
        let mut torn = BTreeMap::new();
        self.store.crash(|write, _sector| match mode {
            0 => false,
            1 => true,
            2 => write.tag % 8 < prefix,
            3 => *torn.entry(write.tag).or_insert_with(|| rng.chance(500)),
            _ => rng.chance(700),
        });
        if self.rng.chance(300) {
            let unsynced: Vec<_> = self.writes.values().filter(|write| !write.done).collect();
            if !unsynced.is_empty() {
                let (segment, offset, len) =
                    unsynced[self.rng.below(unsynced.len() as u64) as usize].place;
                let sector = self.rng.below((len / SECTOR) as u64) * SECTOR as u64;
                let at = offset + sector + self.rng.below(SECTOR as u64);
                if let Some(bytes) = self.store.bytes_mut(segment)
                    && bytes[at as usize] != 0
                {
                    bytes[at as usize] ^= 1 << self.rng.below(8);
                }
            }
        }
        self.writes.clear();
    }

    /// Recovery has decided what counts: the rest never was.
    pub fn cut_back(&mut self, last: RecordNo) {
        self.blocks.retain(|block| block.last <= last.0);
        self.durable = last.0;
    }

    /// How long the next write takes.
    pub fn latency(&mut self, most_ns: u64) -> u64 {
        let slow = self.rng.chance(20);
        self.rng.between(20_000, most_ns) * if slow { 10 } else { 1 }
    }
}
