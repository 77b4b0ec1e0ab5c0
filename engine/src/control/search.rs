//! Searches of the journal for a transaction that the core has forgotten.

use std::path::Path;
use std::sync::mpsc::Receiver;

use super::{Message, Reach};
use crate::core::cascade::Verdict;
use crate::core::fact::Fact;
use crate::core::tx::Outcome;
use crate::core::{Found, Past};
use crate::journal::index::{Builder, Closed, IndexFault};
use crate::journal::recover::RecoverError;
use crate::journal::search;
use crate::journal::store::file::FileStore;

/// A search.
pub(super) struct Job {
    pub shard: usize,
    pub cookie: u32,
    pub line: u32,
    pub key: [u8; 24],
}

/// [`Found`] with its own memory, to cross threads.
#[derive(Clone, Debug)]
pub enum OwnedFound {
    /// A transaction, with its frames beside it.
    Past {
        /// All but the frames.
        facts: Past<'static>,
        /// The fault image.
        image: Vec<u8>,
        /// The masked report, empty if there was none.
        report: Vec<u8>,
    },
    /// The journal could not be read.
    Unreadable,
}

impl OwnedFound {
    /// As the core takes it.
    #[must_use]
    pub fn borrow(&self) -> Found<'_> {
        match self {
            OwnedFound::Past {
                facts,
                image,
                report,
            } => Found::Past(Past {
                image,
                report,
                ..*facts
            }),
            OwnedFound::Unreadable => Found::Unreadable,
        }
    }
}

/// Answers searches until the last shard is gone.
pub(super) fn serve(jobs: &Receiver<Job>, dir: &Path, shards: &[Reach]) {
    for job in jobs {
        let number = job.shard as u32;
        let (found, bad_indexes) = match search::search(dir, number, Some(job.line), job.key) {
            Ok(searched) => (searched.found.as_ref().map(gather), searched.bad_indexes),
            Err(error) => {
                log::error!("search of the journal: {error}");
                (Some(OwnedFound::Unreadable), Vec::new())
            }
        };
        let shard = &shards[job.shard];
        let _ = shard.inbox.send(Message::LookedUp {
            cookie: job.cookie,
            found,
        });
        shard.waker.wake();
        for (closed, fault) in bad_indexes {
            mend_index(dir, number, closed, &fault);
        }
    }
}

/// Makes an index anew that a search could not believe; the search itself has read the segment instead.
fn mend_index(dir: &Path, shard: u32, closed: Closed, fault: &IndexFault) {
    let segment = closed.header.segment;
    let mended = FileStore::read_only(dir, shard).map_err(RecoverError::from);
    let mended = mended.and_then(|mut store| {
        log::warn!(
            "journal index {} is not believed: {fault}; it is made anew",
            store.index_path(segment).display()
        );
        match Builder::whole(&mut store, closed)? {
            Some(index) => Ok(store.write_index(segment, &index, "search")?),
            None => Ok(()),
        }
    });
    if let Err(error) = mended {
        log::error!("the index of journal segment {segment} cannot be made anew: {error}");
    }
}

/// What the core needs of a found transaction's facts.
fn gather(found: &search::Found) -> OwnedFound {
    let mut facts = Past {
        tx: found.tx,
        trace: 0,
        outcome: Outcome::None,
        flags: 0,
        sequence: 0,
        cut_date: 0,
        api: [0; 16],
        request: 0,
        fault: 0,
        image: &[],
        report: &[],
    };
    for record in &found.facts {
        facts.trace = record.fields.trace;
        match record.fact() {
            Ok(Fact::Request(request)) => {
                (facts.flags, facts.sequence, facts.cut_date) =
                    (request.flags, request.sequence, request.cut_date);
                (facts.api, facts.request) = (request.api, request.request);
            }
            Ok(Fact::Open(open)) => {
                (facts.flags, facts.sequence, facts.cut_date) =
                    (open.flags, open.sequence, open.cut_date);
                (facts.api, facts.request, facts.outcome) = (open.api, open.request, Outcome::None);
                let never_sent = matches!(open.fault, 8910 | 8930);
                facts.fault = if never_sent { 0 } else { open.fault };
            }
            Ok(Fact::Fault(fault)) => facts.fault = fault.mti,
            Ok(Fact::NotSent(_)) => facts.outcome = Outcome::NotSent,
            Ok(Fact::Delivered(_)) => facts.outcome = Outcome::Delivered,
            Ok(Fact::Ended(ended)) => {
                facts.outcome = Outcome::from_byte(ended.outcome).unwrap_or(Outcome::Unresolved)
            }
            Ok(Fact::FaultReport(report)) => {
                facts.outcome = match Verdict::from_byte(report.verdict) {
                    Some(Verdict::Cancelled) => Outcome::Cancelled,
                    Some(Verdict::NotProcessed) => Outcome::NotProcessed,
                    Some(Verdict::Stop) => Outcome::Unresolved,
                    _ => facts.outcome,
                };
            }
            _ => {}
        }
    }
    OwnedFound::Past {
        facts,
        image: found.request_image.clone(),
        report: found.report.clone().unwrap_or_default(),
    }
}
