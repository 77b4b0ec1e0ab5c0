//! Makes the index of every closed segment that has none to be believed, in slices between the keeper's other work.

use std::collections::{BTreeSet, VecDeque};

use crate::journal::index::{self, Builder, Closed, IndexFault, Progress};
use crate::journal::read::header_of;
use crate::journal::recover::RecoverError;
use crate::journal::segment::SegmentHeader;
use crate::journal::store::file::FileStore;
use crate::journal::store::{SegmentStore, StoreError};

/// Bytes of a segment that one step reads: well below a millisecond of work.
const SLICE_BYTES: u64 = 1 << 20;

/// What the thread's files are called while they are written.
const WRITER: &str = "keeper";

/// The keeper's part that makes indexes.
pub(super) struct Indexer {
    /// Segments below this one have closed.
    checkpoint: u64,
    /// Segments up to this one are in the queue, or were looked at.
    looked_at: u64,
    queue: VecDeque<u64>,
    /// All segments, when the queue was made.
    segments: Vec<u64>,
    work: Option<Builder>,
    /// No closed segment is left to look at.
    idle: bool,
}

impl Indexer {
    /// Takes stock: an index whose segment is gone is removed.
    pub(super) fn new(store: &mut FileStore, checkpoint: u64) -> Result<Indexer, StoreError> {
        let segments: BTreeSet<u64> = store.list()?.into_iter().collect();
        for index in store.indexes()? {
            if !segments.contains(&index) {
                store.remove_index(index)?;
            }
        }
        Ok(Indexer {
            checkpoint,
            looked_at: 0,
            queue: VecDeque::new(),
            segments: Vec::new(),
            work: None,
            idle: false,
        })
    }

    /// A checkpoint is durable: the segments before it have closed.
    pub(super) fn checkpoint_durable(&mut self, segment: u64) {
        self.checkpoint = self.checkpoint.max(segment);
        self.idle = false;
    }

    /// Does a slice of work; false if there is none.
    pub(super) fn step(&mut self, store: &mut FileStore) -> bool {
        if self.idle {
            return false;
        }
        let done = match self.work.take() {
            Some(builder) => self.go_on(store, builder),
            None => self.begin(store),
        };
        match done {
            Ok(()) => {}
            // Recycled meanwhile: nobody will look for its index.
            Err(RecoverError::Store(StoreError::Missing { .. })) => {}
            Err(error) => log::warn!(
                "journal: a segment gets no index, so that searches read all of it: {error}"
            ),
        }
        !self.idle
    }

    /// Looks at the next closed segment.
    fn begin(&mut self, store: &mut FileStore) -> Result<(), RecoverError> {
        let Some(segment) = self.queue.pop_front() else {
            return Ok(self.look_around(store)?);
        };
        let shard = store.shard();
        let looked = self.look_at(store, shard, segment);
        if self.work.is_none() {
            store.let_go(segment);
        }
        looked
    }

    /// Lists the closed segments that have not been looked at; there is nothing to do where there are none.
    fn look_around(&mut self, store: &mut FileStore) -> Result<(), StoreError> {
        self.segments = store.list()?;
        let closed = self
            .segments
            .iter()
            .filter(|segment| (self.looked_at + 1..self.checkpoint).contains(*segment));
        self.queue = closed.copied().collect();
        self.looked_at = self.looked_at.max(self.checkpoint.saturating_sub(1));
        self.idle = self.queue.is_empty();
        Ok(())
    }

    fn look_at(
        &mut self,
        store: &mut FileStore,
        shard: u32,
        segment: u64,
    ) -> Result<(), RecoverError> {
        let Some(header) = header_of(store, shard, segment)? else {
            return Ok(());
        };
        let later = self.segments.iter().copied().filter(|next| *next > segment);
        for next in later.collect::<Vec<_>>() {
            let behind = header_of(store, shard, next)?;
            store.let_go(next);
            if let Some(end) = behind.map(|behind| behind.previous()) {
                // A segment that recovery left without checkpoint may stand between; the first good one decides.
                return match end.segment == segment {
                    true => self.examine(store, Closed { header, end }),
                    false => Ok(()),
                };
            }
        }
        Ok(())
    }

    fn examine(&mut self, store: &mut FileStore, closed: Closed) -> Result<(), RecoverError> {
        match index::judge(store, &closed) {
            Ok(_) => return Ok(()),
            Err(IndexFault::Absent) => {}
            Err(fault) => log::warn!(
                "journal index {} is not believed: {fault}; it is made anew",
                store.index_path(closed.header.segment).display()
            ),
        }
        self.work = Builder::new(store, closed)?;
        Ok(())
    }

    fn go_on(&mut self, store: &mut FileStore, mut builder: Builder) -> Result<(), RecoverError> {
        let segment = builder.segment();
        match builder.step(store, SLICE_BYTES) {
            Ok(Progress::More) => {
                self.work = Some(builder);
                return Ok(());
            }
            Ok(Progress::Done) => {}
            Err(error) => {
                store.let_go(segment);
                return Err(error);
            }
        }
        store.let_go(segment);
        store.write_index(segment, &builder.finish(), WRITER)?;
        log::debug!("journal segment {segment} has its index");
        Ok(())
    }
}
