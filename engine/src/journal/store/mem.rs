//! The simulation's disk: segments in memory, writes that are in flight until they complete, and crashes that leave
//! any part of what was in flight, as a disk without power may.
//!
//! It has no clock and no chance of its own: which writes complete when, and what a crash leaves, the caller says.

use std::collections::BTreeMap;

use super::{SegmentStore, StoreError};

/// The unit that a disk writes whole or not at all.
pub const SECTOR: usize = 512;

/// A write that has not completed.
#[derive(Clone, Debug)]
pub struct InFlight {
    /// The caller's name for it.
    pub tag: u64,
    /// The segment.
    pub segment: u64,
    /// Where, bytes.
    pub offset: u64,
    /// What.
    pub bytes: Vec<u8>,
}

impl InFlight {
    /// Sectors that it covers.
    #[must_use]
    pub fn sectors(&self) -> usize {
        self.bytes.len().div_ceil(SECTOR)
    }
}

/// A disk made of memory.
#[derive(Clone, Debug, Default)]
pub struct MemStore {
    segments: BTreeMap<u64, Vec<u8>>,
    indexes: BTreeMap<u64, Vec<u8>>,
    in_flight: Vec<InFlight>,
}

impl MemStore {
    /// An empty disk.
    #[must_use]
    pub fn new() -> MemStore {
        MemStore::default()
    }

    /// Prepares a segment of zeros, durable at once.
    pub fn create(&mut self, segment: u64, bytes: usize) {
        self.segments.insert(segment, vec![0; bytes]);
    }

    /// Recycles a segment as the keeper does: a new number, the header zeroed, the old blocks left where they are.
    pub fn recycle(&mut self, segment: u64, number: u64) {
        if let Some(mut bytes) = self.segments.remove(&segment) {
            let header = bytes.len().min(crate::journal::layout::SEGMENT_HEADER_LEN);
            bytes[..header].fill(0);
            self.segments.insert(number, bytes);
        }
    }

    /// Gives a segment an index.
    pub fn put_index(&mut self, segment: u64, bytes: Vec<u8>) {
        self.indexes.insert(segment, bytes);
    }

    /// Removes a segment.
    pub fn remove(&mut self, segment: u64) {
        self.segments.remove(&segment);
    }

    /// Issues a write. Readers do not see it before it completes.
    pub fn write(&mut self, tag: u64, segment: u64, offset: u64, bytes: &[u8]) {
        self.in_flight.push(InFlight {
            tag,
            segment,
            offset,
            bytes: bytes.to_vec(),
        });
    }

    /// The writes in flight, in the order in which they were issued.
    #[must_use]
    pub fn in_flight(&self) -> &[InFlight] {
        &self.in_flight
    }

    /// A write completes: it is durable. Panics if there is none of that tag.
    pub fn complete(&mut self, tag: u64) {
        let place = self.in_flight.iter().position(|write| write.tag == tag);
        let write = self
            .in_flight
            .remove(place.expect("the write is in flight"));
        self.land(&write, |_| true);
    }

    /// The power fails. `survives(write, sector)` says which sectors of the writes in flight reached the disk.
    pub fn crash(&mut self, mut survives: impl FnMut(&InFlight, usize) -> bool) {
        for write in std::mem::take(&mut self.in_flight) {
            self.land(&write, |sector| survives(&write, sector));
        }
    }

    fn land(&mut self, write: &InFlight, mut sector_lands: impl FnMut(usize) -> bool) {
        let Some(segment) = self.segments.get_mut(&write.segment) else {
            return;
        };
        for (sector, bytes) in write.bytes.chunks(SECTOR).enumerate() {
            let at = write.offset as usize + sector * SECTOR;
            if sector_lands(sector)
                && let Some(place) = segment.get_mut(at..at + bytes.len())
            {
                place.copy_from_slice(bytes);
            }
        }
    }

    /// The bytes of a segment that are on the disk, to be looked at or damaged.
    pub fn bytes_mut(&mut self, segment: u64) -> Option<&mut Vec<u8>> {
        self.segments.get_mut(&segment)
    }
}

impl SegmentStore for MemStore {
    fn list(&mut self) -> Result<Vec<u64>, StoreError> {
        Ok(self.segments.keys().copied().collect())
    }

    fn claim(&mut self, segment: u64) -> Result<u64, StoreError> {
        match self.segments.get(&segment) {
            Some(bytes) => Ok(bytes.len() as u64),
            None => Err(StoreError::Missing { segment }),
        }
    }

    fn read_at(&mut self, segment: u64, offset: u64, out: &mut [u8]) -> Result<usize, StoreError> {
        match self.segments.get(&segment) {
            Some(bytes) => Ok(copy_from(bytes, offset, out)),
            None => Err(StoreError::Missing { segment }),
        }
    }

    fn read_index(
        &mut self,
        segment: u64,
        offset: u64,
        out: &mut [u8],
    ) -> Result<usize, StoreError> {
        let bytes = self.indexes.get(&segment).map_or(&[][..], |bytes| bytes);
        Ok(copy_from(bytes, offset, out))
    }
}

/// As much as there is at `offset`.
fn copy_from(bytes: &[u8], offset: u64, out: &mut [u8]) -> usize {
    let from = bytes.len().min(offset as usize);
    let len = out.len().min(bytes.len() - from);
    out[..len].copy_from_slice(&bytes[from..from + len]);
    len
}
