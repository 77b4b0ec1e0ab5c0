//! Recovery: from what lies on the disk to the durable facts, and to the place where writing goes on.
//!
//! It reads only; the cut that it may have to make is recorded by the writer in the header of the next segment,
//! before anything else. So it can be interrupted at any point and started again with the same result.

mod scan;

pub use scan::{Block, SegmentReader, Step};

use scan::CheckpointWatch;
use thiserror::Error;

use super::RecordNo;
use super::segment::{SegmentEnd, SegmentFault, SegmentHeader};
use super::store::{SegmentStore, StoreError};
use super::writer::StartPoint;
use crate::core::fact::{Fact, FactError, FactHead};

/// What recovery found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Where the writer goes on, always in a fresh segment.
    pub start: StartPoint,
    /// The last record that counts; 0 if there is none.
    pub last_record: RecordNo,
    /// Segments of the journal, rising: those that recovery went by, and every older one, unread.
    pub kept: Vec<u64>,
    /// Segments that hold nothing that counts: prepared and never used, or their header never became durable.
    pub unused: Vec<u64>,
    /// The segment whose checkpoint was used; 0 for a new journal.
    pub checkpoint: u64,
    /// The torn tail, if there is one.
    pub cut: Option<Cut>,
    /// The last fact is `Stopped`: the shutdown was orderly. Also true for a new journal.
    pub clean: bool,
    /// Facts given to `apply`.
    pub facts: u64,
    /// Bytes read.
    pub bytes: u64,
}

/// A torn tail: the writes that were in flight when the process or the machine stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Its segment.
    pub segment: u64,
    /// From this offset on nothing counts.
    pub offset: u64,
    /// Whole blocks behind the first bad one; none of their effects was ever released.
    pub blocks_behind: u32,
}

/// Why the journal cannot be recovered.
#[derive(Debug, Error)]
pub enum RecoverError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Durable bytes are wrong.
    #[error(
        "journal segment {segment} is damaged at offset {offset}: {reason}; restore the journal directory from its replica or backup, the daemon does not start on a journal with a hole"
    )]
    Corrupt {
        /// The segment.
        segment: u64,
        /// Where in it, bytes.
        offset: u64,
        /// What is wrong.
        reason: Damage,
    },
    /// A segment that the sequence needs is not there.
    #[error(
        "journal segment {segment} is missing, segment {needed_by} follows it: put the file back"
    )]
    Missing {
        /// The segment that is not there.
        segment: u64,
        /// The segment that needs it.
        needed_by: u64,
    },
    /// The directory holds another shard's journal.
    #[error(
        "journal segment {segment} belongs to shard {found}, this is shard {shard}: correct the directory, or the shard numbers in the configuration"
    )]
    WrongShard {
        /// The segment.
        segment: u64,
        /// Whose it is.
        found: u32,
        /// Who asked.
        shard: u32,
    },
    /// Another build wrote it.
    #[error(
        "journal segment {segment} cannot be read by this build: {reason}; start the build that wrote it, shut it down in order, then move its journal away"
    )]
    OtherBuild {
        /// The segment.
        segment: u64,
        /// What differs.
        reason: SegmentFault,
    },
    /// A record that is whole and still no fact of this build.
    #[error(
        "journal segment {segment} at offset {offset}: {reason}; start the build that wrote it"
    )]
    UnknownRecord {
        /// The segment.
        segment: u64,
        /// Its block's offset, bytes.
        offset: u64,
        /// What is wrong with it.
        reason: FactError,
    },
}

/// What is wrong with bytes that were durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Damage {
    /// The segment's header.
    #[error("{0}, although it was durable")]
    Header(SegmentFault),
    /// A block that was known to be durable.
    #[error("{fault}, but later blocks show that this one was durable")]
    Block {
        /// What is wrong with it.
        fault: super::block::BlockFault,
    },
    /// The block is whole, but not the one that has to follow here.
    #[error("block {found} stands where block {wanted} has to follow")]
    Order {
        /// Its number.
        found: u64,
        /// The number that has to follow.
        wanted: u64,
    },
    /// A later segment says that this one reaches further, or ends in another block.
    #[error("segment {next} goes on from another end of it")]
    End {
        /// The later segment.
        next: u64,
    },
    /// The segment ends in another block than the one that the segment behind goes on from.
    #[error("the segment has to go on up to offset {end}")]
    Short {
        /// Where it has to end, bytes.
        end: u64,
    },
    /// The records of a block are not as many or as long as its header says.
    #[error("the block's records do not fill it")]
    Records,
    /// A checkpoint that does not stand at the start of its segment, or whose number of facts is wrong.
    #[error("the checkpoint is not as it has to be")]
    Checkpoint,
}

/// Recovers the journal of `shard`: finds the newest complete checkpoint and gives it and every fact after it to
/// `apply`, in order. Nothing is given of a journal that is refused for damage in its blocks.
///
/// # Errors
/// The journal cannot be read, or must not be gone on with; the message says where and what to do.
pub fn recover(
    store: &mut dyn SegmentStore,
    shard: u32,
    apply: &mut dyn FnMut(RecordNo, &FactHead, &Fact<'_>),
) -> Result<Recovered, RecoverError> {
    let listed = store.list()?;
    let highest = listed.last().copied().unwrap_or(0);
    let mut recovery = Recovery {
        store,
        shard,
        bytes: 0,
    };
    let Some(newest) = recovery.newest(&listed)? else {
        return Ok(Recovered {
            start: StartPoint {
                segment_highest: highest,
                ..StartPoint::default()
            },
            last_record: RecordNo(0),
            kept: Vec::new(),
            unused: listed,
            checkpoint: 0,
            cut: None,
            clean: true,
            facts: 0,
            bytes: recovery.bytes,
        });
    };
    let tail = recovery.survey(newest, None)?;
    let mut chain = vec![tail.end.segment];
    let mut base = tail;
    while !base.complete && base.previous.segment != 0 {
        base = recovery.step_back(&base, &listed)?;
        chain.push(base.end.segment);
    }
    let (kept, unused) = recovery.sort_out(&listed, &chain)?;
    let (facts, clean) = recovery.replay(&base, apply)?;
    Ok(Recovered {
        start: StartPoint {
            last_record: tail.last_record,
            previous: tail.end,
            segment_highest: highest,
        },
        last_record: tail.last_record,
        kept,
        unused,
        checkpoint: if base.complete { base.end.segment } else { 0 },
        cut: tail.cut,
        clean,
        facts,
        bytes: recovery.bytes,
    })
}

/// What counts of a segment.
#[derive(Clone, Copy)]
struct Survey {
    /// Where it starts from.
    previous: SegmentEnd,
    first_record: u64,
    end: SegmentEnd,
    last_record: RecordNo,
    /// Its checkpoint is complete.
    complete: bool,
    cut: Option<Cut>,
}

struct Recovery<'a> {
    store: &'a mut dyn SegmentStore,
    shard: u32,
    bytes: u64,
}

impl Recovery<'_> {
    /// The newest segment that was begun. Newer files whose header never became durable hold nothing.
    fn newest(&mut self, listed: &[u64]) -> Result<Option<SegmentReader>, RecoverError> {
        for &segment in listed.iter().rev() {
            let bytes = self.store.claim(segment)?;
            match SegmentReader::open(self.store, self.shard, segment)? {
                Ok(reader) => return Ok(Some(reader)),
                Err(fault @ (SegmentFault::Absent | SegmentFault::Checksum { .. })) => {
                    if scan::has_blocks(self.store, self.shard, segment, bytes)? {
                        return Err(self.refuse(segment, fault));
                    }
                }
                Err(fault) => return Err(self.refuse(segment, fault)),
            }
        }
        Ok(None)
    }

    /// A header that cannot be gone by.
    fn refuse(&self, segment: u64, fault: SegmentFault) -> RecoverError {
        match fault {
            SegmentFault::Shard { shard } => RecoverError::WrongShard {
                segment,
                found: shard,
                shard: self.shard,
            },
            SegmentFault::Format { .. }
            | SegmentFault::Schema { .. }
            | SegmentFault::Sealed { .. } => RecoverError::OtherBuild {
                segment,
                reason: fault,
            },
            SegmentFault::Absent
            | SegmentFault::Checksum { .. }
            | SegmentFault::Renamed { .. }
            | SegmentFault::Impossible => RecoverError::Corrupt {
                segment,
                offset: 0,
                reason: Damage::Header(fault),
            },
        }
    }

    /// Finds out what counts of a segment: all up to `end`, if the segment after it names one, else up to its tail.
    fn survey(
        &mut self,
        mut reader: SegmentReader,
        end: Option<(SegmentEnd, u64)>,
    ) -> Result<Survey, RecoverError> {
        let mut watch = CheckpointWatch::default();
        let mut cut = None;
        loop {
            let at = reader.end();
            let corrupt = |reason| RecoverError::Corrupt {
                segment: at.segment,
                offset: at.offset,
                reason,
            };
            if let Some((end, next)) = end
                && at.offset >= end.offset
            {
                let same = (at.offset, at.block, at.chain) == (end.offset, end.block, end.chain);
                if same {
                    break;
                }
                return Err(corrupt(Damage::End { next }));
            }
            match reader.step(self.store)? {
                Step::Block(block) => {
                    let sound = block.records().all(|record| watch.look(&record).is_some());
                    if !sound {
                        return Err(corrupt(Damage::Checkpoint));
                    }
                }
                Step::Bad(fault) if end.is_some() => {
                    return Err(corrupt(Damage::Block { fault }));
                }
                Step::Bad(fault) => {
                    cut = reader.judge_tail(self.store, fault)?;
                    break;
                }
            }
        }
        self.bytes += reader.bytes_read();
        Ok(Survey {
            previous: reader.header().previous(),
            first_record: reader.header().first_record,
            end: SegmentEnd {
                cut: cut.is_some(),
                ..reader.end()
            },
            last_record: reader.last_record(),
            complete: watch.is_complete(),
            cut,
        })
    }

    /// The segment before one whose checkpoint is not complete. It was durable to its end before the later header was issued.
    fn step_back(&mut self, later: &Survey, listed: &[u64]) -> Result<Survey, RecoverError> {
        let (segment, next) = (later.previous.segment, later.end.segment);
        if !listed.contains(&segment) {
            return Err(RecoverError::Missing {
                segment,
                needed_by: next,
            });
        }
        self.store.claim(segment)?;
        let reader = SegmentReader::open(self.store, self.shard, segment)?
            .map_err(|fault| self.refuse(segment, fault))?;
        let survey = self.survey(reader, Some((later.previous, next)))?;
        if survey.last_record.0 + 1 != later.first_record {
            return Err(RecoverError::Corrupt {
                segment,
                offset: survey.end.offset,
                reason: Damage::End { next },
            });
        }
        Ok(survey)
    }

    /// Which files are of the journal, and which hold nothing. `chain` is the newest segment and those before it
    /// back to the checkpoint; files between them that nobody goes on from must never have been begun.
    fn sort_out(
        &mut self,
        listed: &[u64],
        chain: &[u64],
    ) -> Result<(Vec<u64>, Vec<u64>), RecoverError> {
        let (mut kept, mut unused) = (Vec::new(), Vec::new());
        let newest = chain.first().copied().unwrap_or(0);
        let base = chain.last().copied().unwrap_or(0);
        for &segment in listed {
            if segment < base || chain.contains(&segment) {
                kept.push(segment);
                continue;
            }
            if segment < newest && SegmentReader::open(self.store, self.shard, segment)?.is_ok() {
                return Err(RecoverError::Corrupt {
                    segment,
                    offset: 0,
                    reason: Damage::End { next: newest },
                });
            }
            unused.push(segment);
        }
        Ok((kept, unused))
    }

    /// Gives the facts from the checkpoint on; later segments of the chain hold nothing but incomplete checkpoints.
    fn replay(
        &mut self,
        base: &Survey,
        apply: &mut dyn FnMut(RecordNo, &FactHead, &Fact<'_>),
    ) -> Result<(u64, bool), RecoverError> {
        if !base.complete {
            // The very first checkpoint never became durable, so nothing else did.
            return Ok((0, true));
        }
        let segment = base.end.segment;
        let mut reader = SegmentReader::open(self.store, self.shard, segment)?
            .map_err(|fault| self.refuse(segment, fault))?;
        let (mut facts, mut clean) = (0, false);
        while reader.end().offset < base.end.offset {
            let offset = reader.end().offset;
            let block = match reader.step(self.store)? {
                Step::Block(block) => block,
                Step::Bad(fault) => {
                    return Err(RecoverError::Corrupt {
                        segment,
                        offset,
                        reason: Damage::Block { fault },
                    });
                }
            };
            for record in block.records() {
                let fact = record
                    .fact()
                    .map_err(|reason| RecoverError::UnknownRecord {
                        segment,
                        offset,
                        reason,
                    })?;
                apply(record.number, &record.head(), &fact);
                facts += 1;
                clean = matches!(fact, Fact::Stopped(_));
            }
        }
        self.bytes += reader.bytes_read();
        Ok((facts, clean))
    }
}
