//! Finding a transaction in the journal by its key, newest segment first.
//!
//! What is open at the end stands in the newest checkpoint or behind it, so the newest segment tells whether an
//! unsettled transaction of the key exists; older segments are looked at only for what is settled, and for the first
//! facts of what was found. They have closed, and each has an [`index`] that says which of its blocks to read; only the
//! newest segment, and one whose index is missing or cannot be believed, is read from its beginning.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use codec::link::message::TransactionState;

use super::RecordNo;
use super::block::Record;
use super::buffer::AlignedBuf;
use super::index::{self, Closed, IndexFault};
use super::layout::{RecordFields, kind_named};
use super::read::{Ends, Tally, walk_blocks, walk_segment};
use super::recover::{Block, RecoverError};
use super::store::SegmentStore;
use super::store::file::FileStore;
use super::track::{Track, key_of};
use crate::core::fact::{Fact, FactError};

/// A record of its own, out of its block.
#[derive(Clone, Debug)]
pub struct OwnedRecord {
    /// Its number.
    pub number: RecordNo,
    /// Its header.
    pub fields: RecordFields,
    payload: AlignedBuf,
}

impl OwnedRecord {
    /// The fact.
    ///
    /// # Errors
    /// An unknown type or version, or bytes that are no archive of it.
    pub fn fact(&self) -> Result<Fact<'_>, FactError> {
        Fact::read(self.fields.kind, self.fields.version, &self.payload)
    }
}

/// A transaction that was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its id.
    pub tx: u64,
    /// Its line.
    pub line: u32,
    /// Where it stands.
    pub state: TransactionState,
    /// Nothing more happens to it by itself.
    pub settled: bool,
    /// The request as a fault image.
    pub request_image: Vec<u8>,
    /// The masked report, if there is one.
    pub report: Option<Vec<u8>>,
    /// Its facts, oldest first; from the `Open` of a checkpoint on where the segment of the request is gone.
    pub facts: Vec<OwnedRecord>,
}

/// What a search found.
#[derive(Debug)]
pub struct Searched {
    /// The transaction; `None` if the journal has none of the key.
    pub found: Option<Found>,
    /// What was read.
    pub read: Tally,
    /// Indexes that could not be believed, with their segment, so that the segment was read instead.
    pub bad_indexes: Vec<(Closed, IndexFault)>,
}

/// Finds the newest transaction of a key that is not settled, else the newest; of one line only, or of any.
///
/// # Errors
/// The directory cannot be read, or the journal is damaged.
pub fn search(
    dir: &Path,
    shard: u32,
    line: Option<u32>,
    key: [u8; 24],
) -> Result<Searched, RecoverError> {
    search_store(&mut FileStore::read_only(dir, shard)?, shard, line, key)
}

/// [`search`] in any store.
///
/// # Errors
/// As [`search`].
pub fn search_store(
    store: &mut dyn SegmentStore,
    shard: u32,
    line: Option<u32>,
    key: [u8; 24],
) -> Result<Searched, RecoverError> {
    let mut search = Search {
        line,
        key,
        read: Tally::default(),
        bad_indexes: Vec::new(),
    };
    let mut found = Facts::new();
    let segments = store.list()?;
    let mut ends = Ends::of(&segments);
    for segment in segments.into_iter().rev() {
        let Some(header) = ends.look(store, shard, segment)? else {
            continue;
        };
        let closed = ends.of_segment(segment).map(|end| Closed { header, end });
        for (tx, mut facts) in search.facts_of(store, shard, segment, closed)? {
            let newer = found.entry(tx).or_default();
            facts.append(newer);
            *newer = facts;
        }
        // Older segments cannot hold a newer transaction, nor one that is still open and not here.
        if choose(&found).is_some_and(|tx| has_request(&found[&tx])) {
            break;
        }
    }
    let chosen = choose(&found).and_then(|tx| found.remove(&tx).map(|facts| (tx, facts)));
    Ok(Searched {
        found: chosen.map(|(tx, facts)| describe(key, tx, facts)),
        read: search.read,
        bad_indexes: search.bad_indexes,
    })
}

/// Facts by transaction, oldest first.
type Facts = BTreeMap<u64, Vec<OwnedRecord>>;

/// A search under way.
struct Search {
    line: Option<u32>,
    key: [u8; 24],
    read: Tally,
    bad_indexes: Vec<(Closed, IndexFault)>,
}

impl Search {
    /// The facts in one segment of every transaction of the key: of a closed one by its index, if that is to be believed.
    fn facts_of(
        &mut self,
        store: &mut dyn SegmentStore,
        shard: u32,
        segment: u64,
        closed: Option<Closed>,
    ) -> Result<Facts, RecoverError> {
        let (mut read, line, key) = (self.read, self.line, self.key);
        let mut facts = Facts::new();
        if let Some(closed) = closed {
            match index::find(store, &closed, &key) {
                Ok(places) => {
                    let mut visit = |_: &Block<'_>, record: &Record<'_>| {
                        gather(&mut facts, line, &key, record);
                        ControlFlow::Continue(())
                    };
                    read.segments += 1;
                    if walk_blocks(store, &closed.header, &places, &mut read, &mut visit)? {
                        self.read = read;
                        return Ok(facts);
                    }
                    // A block that is not good: the walk below says where, unless the segment is simply gone.
                    facts.clear();
                }
                Err(IndexFault::Absent) => {}
                Err(fault) => self.bad_indexes.push((closed, fault)),
            }
        }
        let end = closed.map(|closed| closed.end);
        let mut visit = |_: &Block<'_>, record: &Record<'_>| {
            gather(&mut facts, line, &key, record);
            ControlFlow::Continue(())
        };
        let whole = walk_segment(
            store,
            shard,
            segment,
            end.as_ref(),
            &mut self.read,
            &mut visit,
        )?;
        assert!(whole.is_continue(), "the visitor never breaks");
        Ok(facts)
    }
}

/// Keeps a record if it is of a transaction of the key. Within a segment the first fact of each transaction has the key.
fn gather(facts: &mut Facts, line: Option<u32>, key: &[u8; 24], record: &Record<'_>) {
    let tx = record.fields.tx;
    let begins = matches!(record.fields.kind, REQUEST | OPEN);
    let ours = tx != 0
        && (facts.contains_key(&tx)
            || begins
                && line.is_none_or(|line| line == record.fields.line)
                && record.fact().is_ok_and(|fact| key_of(&fact) == Some(*key)));
    if ours {
        facts.entry(tx).or_default().push(OwnedRecord {
            number: record.number,
            fields: record.fields,
            payload: AlignedBuf::copy_of(record.payload),
        });
    }
}

/// The newest that is not settled, else the newest.
fn choose(found: &Facts) -> Option<u64> {
    let open = found
        .iter()
        .rev()
        .find(|(_, facts)| !follow([0; 24], 0, facts).settled);
    open.or_else(|| found.iter().next_back()).map(|(tx, _)| *tx)
}

fn has_request(facts: &[OwnedRecord]) -> bool {
    facts
        .first()
        .is_some_and(|fact| fact.fields.kind == REQUEST)
}

fn follow(key: [u8; 24], tx: u64, facts: &[OwnedRecord]) -> Track {
    let line = facts.first().map_or(0, |fact| fact.fields.line);
    let mut track = Track::new(key, line, tx);
    for fact in facts.iter().filter_map(|record| record.fact().ok()) {
        track.apply(&fact);
    }
    track
}

fn describe(key: [u8; 24], tx: u64, facts: Vec<OwnedRecord>) -> Found {
    let track = follow(key, tx, &facts);
    let (mut request_image, mut report) = (Vec::new(), None);
    for fact in facts.iter().filter_map(|record| record.fact().ok()) {
        match fact {
            Fact::Request(request) => request_image = request.image.to_vec(),
            Fact::Report(seen) => report = Some(seen.frame.to_vec()),
            Fact::Open(open) => {
                request_image = open.image.to_vec();
                report = (!open.report.is_empty()).then(|| open.report.to_vec());
            }
            _ => {}
        }
    }
    Found {
        tx,
        line: track.line,
        state: track.state,
        settled: track.settled,
        request_image,
        report,
        facts,
    }
}

const REQUEST: u16 = kind_named("Request");
const OPEN: u16 = kind_named("Open");
