//! `sekisho journal verify`: walks every segment of a journal and judges it as recovery would, and the older segments,
//! which recovery never reads, as well.
//!
//! Each segment but the newest must reach the end that the one after it goes on from. Of the newest, recovery itself says
//! whether its end is a torn tail or damage. The index of each closed segment is made again in memory and compared: one that
//! differs is no damage of the journal, since it can be made anew, but is named. Where a daemon is writing, the end has moved on a moment later.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use engine::journal::block::BlockFault;
use engine::journal::index::{self, Builder, Closed, IndexFault};
use engine::journal::layout::SegmentFields;
use engine::journal::recover::{RecoverError, SegmentReader, Step, recover};
use engine::journal::segment::{SegmentEnd, SegmentFault, SegmentHeader};
use engine::journal::store::file::FileStore;
use engine::journal::store::{SegmentStore, StoreError};

use crate::failure::Failure;

/// How often a journal that a daemon is writing is looked at again before its end counts as what it looks like.
const LOOKS_MAX: usize = 5;

/// A place in a journal and what is there.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    segment: u64,
    offset: u64,
    what: String,
}

/// A segment that was walked.
struct Walked {
    header: SegmentFields,
    end: SegmentEnd,
    /// What stands where its good blocks end.
    stop: Result<BlockFault, String>,
}

/// What is known of a shard's journal.
#[derive(Default)]
struct Report {
    walked: BTreeMap<u64, Walked>,
    /// Segments without a header to go by.
    headless: BTreeMap<u64, SegmentFault>,
    blocks: u64,
    records: u64,
    bytes: u64,
    torn: Vec<Finding>,
    damage: Vec<Finding>,
    /// Indexes that agree with their segment.
    indexes: u64,
    /// Indexes that are not believed.
    spoiled: Vec<(u64, IndexFault)>,
    /// The end moved while it was read.
    live: bool,
}

/// Verifies the shards' journals and prints what was found.
///
/// # Errors
/// A journal cannot be read, or is damaged.
pub fn run(dir: &Path, shards: &[u32], out: &mut impl Write) -> Result<(), Failure> {
    let mut damaged = 0;
    for &shard in shards {
        let report = verify(&mut FileStore::read_only(dir, shard)?, shard)?;
        let state = match (report.damage.len(), report.live) {
            (0, false) => "sound",
            (0, true) => "sound as far as it is written; a daemon is writing on",
            _ => "DAMAGED",
        };
        writeln!(
            out,
            "shard {shard}: {} segments in use, {} prepared, {} blocks, {} records, {} bytes; {state}.",
            report.walked.len(),
            report.headless.len(),
            report.blocks,
            report.records,
            report.bytes
        )?;
        for (name, findings) in [("torn tail", &report.torn), ("DAMAGE", &report.damage)] {
            for Finding {
                segment,
                offset,
                what,
            } in findings
            {
                writeln!(out, "  segment {segment}, offset {offset}: {name}: {what}")?;
            }
        }
        if report.indexes > 0 {
            writeln!(
                out,
                "  {} indexes agree with their segments",
                report.indexes
            )?;
        }
        for (segment, fault) in &report.spoiled {
            writeln!(
                out,
                "  segment {segment}: its index is not believed: {fault}; a search reads the segment instead, the daemon makes it anew"
            )?;
        }
        damaged += report.damage.len();
    }
    match damaged {
        0 => Ok(()),
        places => Err(Failure::Damaged(places)),
    }
}

/// Looks until nothing moves that could be mistaken for damage. A daemon that writes makes the end look torn, and going on
/// to its next segment makes the one before look cut short.
fn verify(store: &mut dyn SegmentStore, shard: u32) -> Result<Report, Failure> {
    let mut look = 1;
    loop {
        let before = newest_end(store, shard)?;
        let mut report = Report::look(store, shard)?;
        if newest_end(store, shard)? == before {
            return Ok(report);
        }
        report.live = true;
        let writing = before.map_or(0, |end| end.segment);
        let found = report.torn.len() + report.damage.len();
        report.torn.retain(|finding| finding.segment < writing);
        report.damage.retain(|finding| finding.segment < writing);
        let certain = report.torn.len() + report.damage.len() == found;
        if certain || look == LOOKS_MAX {
            return Ok(report);
        }
        look += 1;
    }
}

impl Report {
    fn look(store: &mut dyn SegmentStore, shard: u32) -> Result<Report, Failure> {
        let mut report = Report::default();
        for segment in store.list()? {
            report.walk(store, shard, segment)?;
        }
        report.judge_sequence();
        report.judge_newest(store, shard)?;
        report.judge_indexes(store)?;
        Ok(report)
    }

    /// Reads all of a segment. One that is recycled meanwhile belongs to the journal no longer.
    fn walk(
        &mut self,
        store: &mut dyn SegmentStore,
        shard: u32,
        segment: u64,
    ) -> Result<(), Failure> {
        let mut reader = match SegmentReader::open(store, shard, segment) {
            Ok(Ok(reader)) => reader,
            Ok(Err(fault)) => {
                self.headless.insert(segment, fault);
                return Ok(());
            }
            Err(StoreError::Missing { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let stop = loop {
            match reader.step(store) {
                Ok(Step::Block(block)) => {
                    self.blocks += 1;
                    self.bytes += block.bytes.len() as u64;
                    for record in block.records() {
                        self.records += 1;
                        if let Err(error) = record.fact() {
                            self.damage.push(Finding {
                                segment,
                                offset: block.offset,
                                what: format!("record {}: {error}", record.number),
                            });
                        }
                    }
                }
                Ok(Step::Bad(fault)) => break Ok(fault),
                Err(RecoverError::Corrupt { reason, .. }) => break Err(reason.to_string()),
                Err(error) => return Err(error.into()),
            }
        };
        let (header, end) = (*reader.header(), reader.end());
        self.walked.insert(segment, Walked { header, end, stop });
        Ok(())
    }

    /// Whether each segment reaches the end that the one after it goes on from.
    fn judge_sequence(&mut self) {
        let oldest = self.walked.keys().next().copied();
        let newest = self.walked.keys().next_back().copied();
        let mut continued = Vec::new();
        for (&next, later) in &self.walked {
            let wanted = later.header.previous();
            continued.push(wanted.segment);
            match self.walked.get(&wanted.segment) {
                Some(walked) => match walked.judge_end(wanted, next) {
                    Ok(()) if wanted.cut => self.torn.push(Finding {
                        segment: wanted.segment,
                        offset: wanted.offset,
                        what: format!("cut by recovery; segment {next} goes on from there"),
                    }),
                    Ok(()) => {}
                    Err(finding) => self.damage.push(finding),
                },
                // What is older than the oldest has been recycled.
                None if wanted.segment == 0 || Some(next) == oldest => {}
                None => {
                    let what = match self.headless.remove(&wanted.segment) {
                        Some(fault) => format!("{fault}, and segment {next} goes on from it"),
                        None => format!("the file is missing, and segment {next} goes on from it"),
                    };
                    self.damage.push(Finding {
                        segment: wanted.segment,
                        offset: 0,
                        what,
                    });
                }
            }
        }
        for &segment in self.walked.keys() {
            if !continued.contains(&segment) && Some(segment) != newest {
                self.damage.push(Finding {
                    segment,
                    offset: 0,
                    what: "no later segment goes on from it".to_owned(),
                });
            }
        }
    }

    /// Whether the indexes say what sound segments hold.
    fn judge_indexes(&mut self, store: &mut dyn SegmentStore) -> Result<(), Failure> {
        let headers = self.walked.values().map(|walked| walked.header);
        for header in headers.clone() {
            let Some(end) = headers
                .clone()
                .map(|behind| behind.previous())
                .find(|end| end.segment == header.segment)
            else {
                continue;
            };
            let closed = Closed { header, end };
            match index::judge(store, &closed) {
                Err(IndexFault::Absent) => continue,
                Err(fault) => {
                    self.spoiled.push((header.segment, fault));
                    continue;
                }
                Ok(_) => {}
            }
            // Of a damaged segment nothing can be made; that it is damaged was found above.
            if let Ok(Some(anew)) = Builder::whole(store, closed) {
                match index::verify(store, &closed, &anew) {
                    Ok(_) => self.indexes += 1,
                    Err(fault) => self.spoiled.push((header.segment, fault)),
                }
            }
        }
        Ok(())
    }

    /// What recovery says of the newest segment, which none goes on from.
    fn judge_newest(&mut self, store: &mut dyn SegmentStore, shard: u32) -> Result<(), Failure> {
        match recover(store, shard, &mut |_, _, _| {}) {
            Ok(recovered) => self.torn.extend(recovered.cut.map(|cut| Finding {
                segment: cut.segment,
                offset: cut.offset,
                what: format!(
                    "{} whole blocks behind it; nothing of it was ever released, the next start cuts it",
                    cut.blocks_behind
                ),
            })),
            Err(error) => {
                let finding = finding_of(error)?;
                let known = |other: &Finding| other.segment == finding.segment;
                if !self.damage.iter().any(known) {
                    self.damage.push(finding);
                }
            }
        }
        Ok(())
    }
}

impl Walked {
    /// Whether it ends where segment `next` goes on.
    fn judge_end(&self, wanted: SegmentEnd, next: u64) -> Result<(), Finding> {
        let end = self.end;
        if (end.offset, end.block, end.chain) == (wanted.offset, wanted.block, wanted.chain) {
            return Ok(());
        }
        let what = match &self.stop {
            Err(reason) => reason.clone(),
            Ok(fault) if end.offset < wanted.offset => {
                format!(
                    "{fault}, and the segment goes on up to offset {}",
                    wanted.offset
                )
            }
            Ok(_) => format!("segment {next} goes on from another end of it"),
        };
        Err(Finding {
            segment: end.segment,
            offset: end.offset,
            what,
        })
    }
}

/// Where the newest segment's good blocks end now, read afresh.
fn newest_end(store: &mut dyn SegmentStore, shard: u32) -> Result<Option<SegmentEnd>, Failure> {
    for segment in store.list()?.into_iter().rev() {
        let Ok(mut reader) = SegmentReader::open(store, shard, segment)? else {
            continue;
        };
        while let Ok(Step::Block(_)) = reader.step(store) {}
        return Ok(Some(reader.end()));
    }
    Ok(None)
}

/// What recovery refuses, as a place; other errors are not of the journal's bytes.
fn finding_of(error: RecoverError) -> Result<Finding, Failure> {
    let (segment, offset, what) = match error {
        RecoverError::Corrupt {
            segment,
            offset,
            reason,
        } => (segment, offset, reason.to_string()),
        RecoverError::Missing { segment, needed_by } => (
            segment,
            0,
            format!("the file is missing, and segment {needed_by} goes on from it"),
        ),
        RecoverError::UnknownRecord {
            segment,
            offset,
            reason,
        } => (segment, offset, reason.to_string()),
        other => return Err(other.into()),
    };
    Ok(Finding {
        segment,
        offset,
        what,
    })
}
