//! Searches of the journal for a transaction that the core has forgotten.

use std::path::Path;
use std::sync::mpsc::Receiver;

use super::{Message, Reach};
use crate::core::Found;
use crate::core::cascade::Verdict;
use crate::core::fact::Fact;
use crate::core::tx::Outcome;
use crate::journal::search;

/// A search.
pub(super) struct Job {
    pub shard: usize,
    pub cookie: u32,
    pub line: u32,
    pub key: [u8; 24],
}

/// [`Found`] with its own memory, to cross threads.
#[derive(Clone, Debug)]
pub struct OwnedFound {
    facts: Found<'static>,
    image: Vec<u8>,
    report: Vec<u8>,
}

impl OwnedFound {
    /// As the core takes it.
    #[must_use]
    pub fn borrow(&self) -> Found<'_> {
        Found {
            image: &self.image,
            report: &self.report,
            ..self.facts
        }
    }
}

/// Answers searches until the last shard is gone.
pub(super) fn serve(jobs: &Receiver<Job>, dir: &Path, shards: &[Reach]) {
    for job in jobs {
        let found = match search::search(dir, job.shard as u32, Some(job.line), job.key) {
            Ok(found) => found.map(|found| gather(&found)),
            Err(error) => {
                log::error!("search of the journal: {error}");
                None
            }
        };
        let shard = &shards[job.shard];
        let _ = shard.inbox.send(Message::LookedUp {
            cookie: job.cookie,
            found,
        });
        shard.waker.wake();
    }
}

/// What the core needs of a found transaction's facts.
fn gather(found: &search::Found) -> OwnedFound {
    let mut facts = Found {
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
    OwnedFound {
        facts,
        image: found.request_image.clone(),
        report: found.report.clone().unwrap_or_default(),
    }
}
