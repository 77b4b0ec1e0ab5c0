//! Making an index: one walk over a closed segment, in slices, so that whoever does it can do other things between.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::{Closed, PLACE_BITS, hash_of, write};
use crate::journal::layout::{BLOCK_ALIGN, kind_named};
use crate::journal::recover::{Damage, RecoverError, SegmentReader, Step};
use crate::journal::store::SegmentStore;
use crate::journal::track::key_of;

const REQUEST: u16 = kind_named("Request");
const OPEN: u16 = kind_named("Open");

/// Transaction ids rise by one; a multiplication spreads them well enough.
#[derive(Default)]
struct TxHasher(u64);

impl Hasher for TxHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }
    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// How far a [`Builder`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There is more to read.
    More,
    /// All was read: [`Builder::finish`].
    Done,
}

/// An index in the making.
pub struct Builder {
    closed: Closed,
    reader: SegmentReader,
    /// The hash of each transaction's key.
    keys: HashMap<u64, u64, BuildHasherDefault<TxHasher>>,
    entries: Vec<u64>,
}

impl Builder {
    /// Begins with a closed segment; `None` if it has become another, or is too long to be indexed.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn new(
        store: &mut dyn SegmentStore,
        closed: Closed,
    ) -> Result<Option<Builder>, RecoverError> {
        let (shard, segment) = (closed.header.shard, closed.header.segment);
        let reader = SegmentReader::open(store, shard, segment)?;
        let fits = closed.end.offset <= (BLOCK_ALIGN as u64) << PLACE_BITS;
        let same = |reader: &SegmentReader| *reader.header() == closed.header && fits;
        Ok(reader.ok().filter(same).map(|reader| Builder {
            closed,
            reader,
            keys: HashMap::default(),
            entries: Vec::new(),
        }))
    }

    /// The segment.
    #[must_use]
    pub fn segment(&self) -> u64 {
        self.closed.header.segment
    }

    /// Reads on, about `bytes` of blocks.
    ///
    /// # Errors
    /// The segment cannot be read, or does not reach its end.
    pub fn step(
        &mut self,
        store: &mut dyn SegmentStore,
        bytes: u64,
    ) -> Result<Progress, RecoverError> {
        let end = self.closed.end;
        let until = end.offset.min(self.reader.end().offset + bytes);
        while self.reader.end().offset < until {
            let offset = self.reader.end().offset;
            let block = match self.reader.step(store)? {
                Step::Block(block) => block,
                Step::Bad(fault) => {
                    return Err(RecoverError::Corrupt {
                        segment: end.segment,
                        offset,
                        reason: Damage::Block { fault },
                    });
                }
            };
            let place = offset / BLOCK_ALIGN as u64;
            for record in block.records() {
                let tx = record.fields.tx;
                if tx == 0 {
                    continue;
                }
                if matches!(record.fields.kind, REQUEST | OPEN)
                    && let Some(key) = record.fact().ok().as_ref().and_then(key_of)
                {
                    self.keys.insert(tx, hash_of(&key));
                }
                if let Some(hash) = self.keys.get(&tx) {
                    self.entries.push(hash << PLACE_BITS | place);
                }
            }
        }
        let reached = self.reader.end();
        if reached.offset < end.offset {
            return Ok(Progress::More);
        }
        if (reached.offset, reached.block, reached.chain) == (end.offset, end.block, end.chain) {
            return Ok(Progress::Done);
        }
        Err(RecoverError::Corrupt {
            segment: end.segment,
            offset: reached.offset,
            reason: Damage::Short { end: end.offset },
        })
    }

    /// The index as it is stored.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.entries.sort_unstable();
        self.entries.dedup();
        write(&self.closed, &self.entries)
    }

    /// Makes an index in one go.
    ///
    /// # Errors
    /// As [`Builder::step`]; `None` as [`Builder::new`].
    pub fn whole(
        store: &mut dyn SegmentStore,
        closed: Closed,
    ) -> Result<Option<Vec<u8>>, RecoverError> {
        let Some(mut builder) = Builder::new(store, closed)? else {
            return Ok(None);
        };
        while builder.step(store, u64::MAX / 2)? == Progress::More {}
        Ok(Some(builder.finish()))
    }
}
