//! The journal's book: what the durable facts say, kept by the simulation itself.

use std::collections::{BTreeMap, BTreeSet};

use super::disk::Block;
use engine::core::Core;
use engine::core::Now;
use engine::core::cascade::Verdict;
use engine::core::config::CoreConfig;
use engine::core::fact::{Fact, FactHead};
use engine::core::tx::Outcome;
use engine::core::{Found, Past};

/// A transaction as the facts have it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Stable line id.
    pub line: u32,
    /// Trace id.
    pub trace: u64,
    /// Transaction key.
    pub key: [u8; 24],
    /// Route of the request.
    pub route: u16,
    /// Flags of the request.
    pub flags: u16,
    /// Originator sequence.
    pub sequence: u32,
    /// Its cut date.
    pub cut_date: u32,
    /// API token.
    pub api: [u8; 16],
    /// Client request id.
    pub request: u64,
    /// The fault image.
    pub image: Vec<u8>,
    /// The masked report.
    pub report: Vec<u8>,
    /// Fault messages with their routes, in order.
    pub faults: Vec<(u16, u16)>,
    /// The last end.
    pub outcome: Outcome,
    /// How often it was delivered.
    pub delivered: u32,
    /// How often it ended.
    pub ends: u32,
    /// How often it was brought back.
    pub opens: u32,
}

/// The book.
#[derive(Default)]
pub struct Book {
    /// By transaction id.
    pub entries: BTreeMap<u64, Entry>,
    /// Transaction ids of a line and key, oldest first.
    pub by_key: BTreeMap<(u32, [u8; 24]), Vec<u64>>,
    /// Numbers used: line, cut date, sequence.
    pub numbers: BTreeSet<(u32, u32, u32)>,
    /// Messages of the centre that were answered, by what the centre assigned to them.
    pub inward: BTreeSet<Vec<u8>>,
    /// Recorded service state of each line.
    pub service: BTreeMap<u32, u8>,
    /// The last record taken in.
    pub last: u64,
    /// Dropped telegrams by reason.
    pub dropped: BTreeMap<u8, u64>,
    /// Lines and keys of transactions that an operator gave up since somebody looked.
    pub purged: Vec<(u32, [u8; 24])>,
    /// Transactions that were open before the beginning: cut date and sequence.
    open_before: BTreeMap<u64, (u32, u32, u32)>,
    in_checkpoint: bool,
}

/// The key in a stored frame.
fn key_of(frame: &[u8]) -> [u8; 24] {
    codec::cafis::section::TransactionKey::of(frame).map_or([b' '; 24], |key| key.0)
}

impl Book {
    /// A book that knows what stood before the beginning.
    #[must_use]
    pub fn new(first: &[(FactHead, Fact<'static>)]) -> Book {
        let open = first.iter().filter_map(|(head, fact)| match fact {
            Fact::Open(open) => Some((head.tx, (head.line, open.cut_date, open.sequence))),
            _ => None,
        });
        Book {
            open_before: open.collect(),
            ..Book::default()
        }
    }

    /// Takes a block in.
    ///
    /// # Errors
    /// Invariant 5: a number of a cut date was used before.
    pub fn take(&mut self, block: &Block) -> Result<(), String> {
        for record in block.records() {
            self.last = record.number.0;
            let fact = record.fact().map_err(|error| format!("8: {error}"))?;
            match fact {
                Fact::CheckpointBegin(_) => self.in_checkpoint = true,
                Fact::CheckpointEnd(_) => self.in_checkpoint = false,
                _ if self.in_checkpoint => {}
                fact => self.fact(&record.head(), &fact)?,
            }
        }
        Ok(())
    }

    fn fact(&mut self, head: &FactHead, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Service(service) => {
                self.service.insert(head.line, service.state);
            }
            Fact::Answered(answered) => {
                self.inward.insert(answered.frame[10..21].to_vec());
            }
            Fact::Dropped(dropped) => *self.dropped.entry(dropped.reason).or_default() += 1,
            Fact::Request(request) => {
                let number = (head.line, request.cut_date, request.sequence);
                if self.open_before.values().any(|open| *open == number) {
                    return Err(format!(
                        "5: sequence {} is still open and used again",
                        request.sequence
                    ));
                }
                if !self
                    .numbers
                    .insert((head.line, request.cut_date, request.sequence))
                {
                    return Err(format!(
                        "5: sequence {} of {} on line {} is used a second time, by transaction {}",
                        request.sequence, request.cut_date, head.line, head.tx
                    ));
                }
                let key = key_of(request.image);
                let entry = Entry {
                    line: head.line,
                    trace: head.trace,
                    key,
                    route: request.route,
                    flags: request.flags,
                    sequence: request.sequence,
                    cut_date: request.cut_date,
                    api: request.api,
                    request: request.request,
                    image: request.image.to_vec(),
                    report: Vec::new(),
                    faults: Vec::new(),
                    outcome: Outcome::None,
                    delivered: 0,
                    ends: 0,
                    opens: 1,
                };
                self.entries.insert(head.tx, entry);
                self.by_key
                    .entry((head.line, key))
                    .or_default()
                    .push(head.tx);
            }
            fact => {
                if let Some(entry) = self.entries.get_mut(&head.tx) {
                    entry.fact(fact);
                    if matches!(fact, Fact::Ended(_)) && entry.outcome == Outcome::Purged {
                        self.purged.push((entry.line, entry.key));
                    }
                } else {
                    // One of before the beginning: C56 ends it, or an operator does.
                    let over = match fact {
                        Fact::FaultReport(report) => report.verdict == Verdict::NotProcessed as u8,
                        fact => matches!(fact, Fact::Ended(_)),
                    };
                    if over {
                        self.open_before.remove(&head.tx);
                    }
                }
            }
        }
        Ok(())
    }

    /// The newest transaction of a key.
    #[must_use]
    pub fn newest(&self, line: u32, key: &[u8; 24]) -> Option<(u64, &Entry)> {
        let tx = self.by_key.get(&(line, *key))?.last()?;
        self.entries.get(tx).map(|entry| (*tx, entry))
    }

    /// The transaction of a client request.
    #[must_use]
    pub fn of_request(&self, api: &[u8; 16], request: u64) -> Option<&Entry> {
        let same = |entry: &&Entry| entry.request == request && entry.api == *api;
        self.entries.values().rev().find(same)
    }
}

impl Entry {
    fn end(&mut self, outcome: Outcome) {
        self.outcome = outcome;
        self.ends += 1;
        self.delivered += u32::from(outcome == Outcome::Delivered);
    }

    fn fact(&mut self, fact: &Fact<'_>) {
        match fact {
            Fact::Report(report) => self.report = report.frame.to_vec(),
            Fact::Fault(fault) => self.faults.push((fault.mti, fault.route)),
            Fact::Delivered(_) => self.end(Outcome::Delivered),
            Fact::NotSent(_) => self.end(Outcome::NotSent),
            Fact::Ended(ended) => {
                self.end(Outcome::from_byte(ended.outcome).unwrap_or(Outcome::None));
            }
            Fact::FaultReport(report) => match Verdict::from_byte(report.verdict) {
                Some(Verdict::Cancelled) => self.end(Outcome::Cancelled),
                Some(Verdict::NotProcessed) => self.end(Outcome::NotProcessed),
                Some(Verdict::Stop) => self.end(Outcome::Unresolved),
                _ => {}
            },
            Fact::Open(_) => {
                self.outcome = Outcome::None;
                self.opens += 1;
            }
            _ => {}
        }
    }

    /// As the control thread answers a search.
    #[must_use]
    pub fn found(&self, tx: u64) -> Found<'_> {
        Found::Past(Past {
            tx,
            trace: self.trace,
            outcome: self.outcome,
            flags: self.flags,
            sequence: self.sequence,
            cut_date: self.cut_date,
            api: self.api,
            request: self.request,
            fault: self.faults.last().map_or(0, |fault| fault.0),
            image: &self.image,
            report: &self.report,
        })
    }
}

/// A core that is given facts and nothing else.
pub struct Shadow {
    core: Core,
    in_checkpoint: bool,
}

impl Shadow {
    /// Before the first fact; `first` are facts that stand before the beginning.
    #[must_use]
    pub fn new(cfg: &CoreConfig, first: &[(FactHead, Fact<'static>)]) -> Shadow {
        let mut core = Core::new(cfg.clone(), Now::default());
        for (head, fact) in first {
            core.apply(head, fact).expect("the world's own facts fit");
        }
        Shadow {
            core,
            in_checkpoint: false,
        }
    }

    /// Folds a block in, leaving out checkpoints: they say nothing new.
    ///
    /// # Errors
    /// Invariant 8.
    pub fn take(&mut self, block: &Block) -> Result<(), String> {
        for record in block.records() {
            let fact = record.fact().map_err(|error| format!("8: {error}"))?;
            match fact {
                Fact::CheckpointBegin(_) => self.in_checkpoint = true,
                Fact::CheckpointEnd(_) => self.in_checkpoint = false,
                _ if self.in_checkpoint => {}
                fact => self
                    .core
                    .apply(&record.head(), &fact)
                    .map_err(|error| format!("8: record {}: {error}", record.number))?,
            }
        }
        Ok(())
    }

    /// The state as a checkpoint.
    #[must_use]
    pub fn dump(&self) -> Vec<String> {
        dump(&self.core)
    }
}

/// The durable state of a core, as lines to compare. What differs by nature (times, boot, the places of API
/// sessions) is left out.
#[must_use]
pub fn dump(core: &Core) -> Vec<String> {
    let mut lines = Vec::new();
    core.checkpoint(&mut |head, fact| match fact {
        // Ids that were given to requests of which nothing was written may be given again.
        Fact::CheckpointBegin(_) => {}
        Fact::CheckpointEnd(end) => lines.push(format!("facts {}", end.facts)),
        Fact::Open(open) => {
            let hash = |bytes: &[u8]| {
                bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                    (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
                })
            };
            let bare = engine::core::fact::Open {
                image: &[],
                report: &[],
                ..*open
            };
            lines.push(format!(
                "line {} tx {} trace {} {bare:?} image {} {:x} report {} {:x}",
                head.line,
                head.tx,
                head.trace,
                open.image.len(),
                hash(open.image),
                open.report.len(),
                hash(open.report)
            ));
        }
        fact => lines.push(format!("line {} {fact:?}", head.line)),
    });
    let apis = |line: &String| line.contains("CheckpointApi");
    let mut sorted: Vec<_> = lines.iter().filter(|line| apis(line)).cloned().collect();
    sorted.sort();
    lines.retain(|line| !apis(line));
    lines.extend(sorted);
    lines
}

/// Where two dumps differ, for a message.
#[must_use]
pub fn difference(one: &[String], other: &[String]) -> Option<String> {
    if one == other {
        return None;
    }
    let only = |a: &[String], b: &[String]| {
        let lines: Vec<_> = a.iter().filter(|line| !b.contains(line)).cloned().collect();
        lines.join("\n    ")
    };
    Some(format!(
        "\n  first:\n    {}\n  second:\n    {}",
        only(one, other),
        only(other, one)
    ))
}
