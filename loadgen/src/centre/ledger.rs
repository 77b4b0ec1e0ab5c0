//! The centre's book: what each transaction was, what became of it, and what was wrong.
//!
//! One entry a request, found by line, day and originator sequence through a table that is filled page by page, and
//! by transaction key through a hash table, which tells that a key came twice. Memory is taken at the start.
//! Fault commands are rare and look everything up; a request costs one write and one probe. `ledger_file.rs`
//! writes the book down and reads it.

use codec::cafis::mti::Mti;
use codec::cafis::section::TransactionKey;
use hashbrown::HashTable;

use super::checks::Code;
pub use super::ledger_file::{Book, ReadError, parse, read, write};

/// What became of a request at the centre.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// No result: the issuer was still being waited for.
    None,
    /// xx20.
    Approved,
    /// xx50, with the issuer's code.
    Refused(Code),
    /// 8970, with the centre's code.
    Abnormal(Code),
}

/// Who undid a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelledBy {
    /// The fault command of this type.
    Command(Mti),
    /// The centre, because it could not deliver the report (`spec/cafis.md` 5.6).
    Centre,
}

/// Something about a message that should not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Anomaly {
    /// An originator sequence came a second time within a cut date.
    DuplicateSequence,
    /// A transaction key came a second time.
    KeyAgain,
    /// 8910 or 8920 for a request the centre never saw.
    CancelUnknown,
    /// A fault command is not the image of its request.
    ImageDiffers,
    /// A fault command carries a PIN, a security code or discretionary data.
    Unmasked,
    /// A message on a route where it cannot be.
    WrongRoute,
    /// An answer to a command that was not out, or not the command's bytes.
    AnswerDiffers,
    /// A control request with a wrong code, type or trailer.
    BadControl,
    /// A message without a complete section 1-0, or without a message type.
    NoSection,
    /// Bytes that are no frame, or half of one.
    Framing,
    /// The centre refused it with a code of its checks.
    Refused,
}

/// Every anomaly with the word it has in the ledger.
pub const ANOMALIES: [(Anomaly, &str); 11] = [
    (Anomaly::DuplicateSequence, "duplicate-sequence"),
    (Anomaly::KeyAgain, "key-again"),
    (Anomaly::CancelUnknown, "cancel-unknown"),
    (Anomaly::ImageDiffers, "image-differs"),
    (Anomaly::Unmasked, "unmasked"),
    (Anomaly::WrongRoute, "wrong-route"),
    (Anomaly::AnswerDiffers, "answer-differs"),
    (Anomaly::BadControl, "bad-control"),
    (Anomaly::NoSection, "no-section"),
    (Anomaly::Framing, "framing"),
    (Anomaly::Refused, "refused-by-check"),
];

impl Anomaly {
    /// Its bit in [`Entry::anomalies`].
    pub fn bit(self) -> u16 {
        1 << (self as u8)
    }

    /// Its word in the ledger.
    pub fn word(self) -> &'static str {
        ANOMALIES[self as usize].1
    }
}

/// One request. Times are microseconds since 1970, 0 for never.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Date, terminal and terminal sequence.
    pub key: TransactionKey,
    /// Position of the line in the configuration.
    pub line: u16,
    /// Day of the cut date.
    pub day: u8,
    /// Originator sequence.
    pub sequence: u32,
    /// Outward route.
    pub route: u16,
    /// The request's type.
    pub mti: Mti,
    /// What became of it.
    pub outcome: Outcome,
    /// When the request came.
    pub request_us: u64,
    /// When the report left; 0 if it was never sent.
    pub report_us: u64,
    /// Number given by the centre; 0 if none.
    pub centre_seq: u32,
    /// Who undid it, if somebody did.
    pub cancelled: Option<CancelledBy>,
    /// Code of the last 8950, 8960 or 8970: three spaces for undone, three dots for none sent.
    pub cancel_code: Code,
    /// Fault commands received for it.
    pub faults: u16,
    /// Bits of [`Anomaly`].
    pub anomalies: u16,
    /// Digest of the fault image's data sections.
    pub image: u64,
}

/// The code of [`Entry::cancel_code`] while no fault command was answered.
pub const NO_CODE: Code = Code(*b"...");

/// Position of an entry. Without a ledger every request has the position [`UNKEPT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryId(u32);

/// Stands for a request that was seen and is not kept.
pub const UNKEPT: EntryId = EntryId(u32::MAX);

/// Why a line's sequence was seen again or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    /// How often the sequence had wrapped, plus 1; 0 for a free slot.
    lap: u32,
    entry: EntryId,
}

const PAGE: usize = 1_024;
const PAGES: usize = 1_000_000usize.div_ceil(PAGE);
const DAYS: usize = 32;

/// Sequences of one line on one day.
struct Day {
    pages: Vec<Option<Box<[Seen; PAGE]>>>,
    last: u32,
    lap: u32,
}

/// An anomaly that belongs to no entry, or is worth a line of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When, microseconds since 1970.
    pub at_us: u64,
    /// Line.
    pub line: u16,
    /// What.
    pub anomaly: Anomaly,
    /// Type of the message, 0 if it has none.
    pub mti: u16,
    /// Its route, 0 if it has none.
    pub route: u16,
    /// Its originator sequence, 0 if it has none.
    pub sequence: u32,
    /// The code answered; three spaces if none.
    pub code: Code,
}

/// Events kept in full; what exceeds it is only counted.
pub const EVENTS_MAX: usize = 10_000;

/// The book.
pub struct Ledger {
    keep: bool,
    entries: Vec<Entry>,
    by_key: HashTable<u32>,
    days: Vec<[Option<Box<Day>>; DAYS]>,
    events: Vec<Event>,
    counts: [u64; ANOMALIES.len()],
}

impl Ledger {
    /// An empty book for `lines` lines; with `keep` off only sequences are remembered.
    pub fn new(lines: usize, keep: bool, capacity: usize) -> Ledger {
        let capacity = if keep { capacity } else { 0 };
        Ledger {
            keep,
            entries: Vec::with_capacity(capacity),
            by_key: HashTable::with_capacity(capacity),
            days: (0..lines).map(|_| [const { None }; DAYS]).collect(),
            events: Vec::new(),
            counts: [0; ANOMALIES.len()],
        }
    }

    /// Whether entries are kept.
    pub fn keeps(&self) -> bool {
        self.keep
    }

    /// Every entry, oldest first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The events kept.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// How often each anomaly was seen, in the order of [`ANOMALIES`].
    pub fn counts(&self) -> &[u64; ANOMALIES.len()] {
        &self.counts
    }

    /// How often one anomaly was seen.
    pub fn count(&self, anomaly: Anomaly) -> u64 {
        self.counts[anomaly as usize]
    }

    /// Enters a request and notes a sequence or a key that came before.
    pub fn enter(&mut self, mut entry: Entry) -> EntryId {
        let id = if self.keep {
            EntryId(self.entries.len() as u32)
        } else {
            UNKEPT
        };
        if self.see(entry.line, entry.day, entry.sequence, id) {
            entry.anomalies |= Anomaly::DuplicateSequence.bit();
            self.note(event_of(&entry, Anomaly::DuplicateSequence));
        }
        if !self.keep {
            return id;
        }
        if has_identity(&entry.key) {
            let hash = hash(&entry.key.0);
            let entries = &self.entries;
            let same = |&at: &u32| entries[at as usize].key == entry.key;
            if let Some(at) = self.by_key.find_mut(hash, same) {
                *at = id.0;
                entry.anomalies |= Anomaly::KeyAgain.bit();
                self.note(event_of(&entry, Anomaly::KeyAgain));
            } else {
                self.by_key
                    .insert_unique(hash, id.0, |&at| self::hash(&entries[at as usize].key.0));
            }
        }
        self.entries.push(entry);
        id
    }

    /// The entry, unless it is not kept.
    pub fn get_mut(&mut self, id: EntryId) -> Option<&mut Entry> {
        self.entries.get_mut(id.0 as usize)
    }

    /// The newest request of a line with this day and sequence, if one was ever seen.
    pub fn find(&self, line: u16, day: u8, sequence: u32) -> Option<EntryId> {
        let day = self.days[usize::from(line)]
            .get(usize::from(day))?
            .as_ref()?;
        let page = day.pages[sequence as usize / PAGE].as_ref()?;
        let seen = page[sequence as usize % PAGE];
        (seen.lap > 0).then_some(seen.entry)
    }

    /// Counts an anomaly and keeps its event while there is room.
    pub fn note(&mut self, event: Event) {
        self.counts[event.anomaly as usize] += 1;
        if self.events.len() < EVENTS_MAX {
            self.events.push(event);
        }
    }

    /// Remembers a sequence; says whether it was there already. 999999 is followed by 1 (O-32): a number from the
    /// low quarter after one from the high quarter begins a new lap, and late ones belong to the lap before.
    fn see(&mut self, line: u16, day: u8, sequence: u32, entry: EntryId) -> bool {
        const QUARTER: u32 = 250_000;
        let slot = &mut self.days[usize::from(line)][usize::from(day) % DAYS];
        let day = slot.get_or_insert_with(|| {
            Box::new(Day {
                pages: vec![None; PAGES],
                last: 0,
                lap: 1,
            })
        });
        let mut lap = day.lap;
        if sequence < QUARTER && day.last > 3 * QUARTER {
            day.lap += 1;
            lap = day.lap;
            day.last = sequence;
        } else if sequence > 3 * QUARTER && day.last < QUARTER && day.lap > 1 {
            lap -= 1;
        } else {
            day.last = sequence;
        }
        let page = day.pages[sequence as usize / PAGE].get_or_insert_with(|| {
            Box::new(
                [Seen {
                    lap: 0,
                    entry: UNKEPT,
                }; PAGE],
            )
        });
        let seen = &mut page[sequence as usize % PAGE];
        let again = seen.lap == lap;
        *seen = Seen { lap, entry };
        again
    }
}

fn event_of(entry: &Entry, anomaly: Anomaly) -> Event {
    Event {
        at_us: entry.request_us,
        line: entry.line,
        anomaly,
        mti: entry.mti.0,
        route: entry.route,
        sequence: entry.sequence,
        code: Code(*b"   "),
    }
}

/// Terminal and terminal sequence are spaces where they are not used, and such a key names nothing (O-34).
fn has_identity(key: &TransactionKey) -> bool {
    key.0[6..].iter().any(|&byte| byte != b' ')
}

/// Folds a key into 64 bits. The keys differ in few digits, which two multiplications spread over all bits.
pub fn hash(key: &[u8; 24]) -> u64 {
    digest(key)
}

/// A digest of bytes, eight at a time; not for enemies, only for telling telegrams apart.
pub fn digest(bytes: &[u8]) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut state = (bytes.len() as u64).wrapping_mul(ODD);
    let mut mix = |word: [u8; 8]| {
        let wide = u128::from(state ^ u64::from_le_bytes(word)) * u128::from(ODD);
        state = (wide as u64) ^ ((wide >> 64) as u64);
        state = state.wrapping_add(ODD);
    };
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        let mut taken = [0; 8];
        taken.copy_from_slice(word);
        mix(taken);
    }
    let rest = words.remainder();
    let mut taken = [0; 8];
    taken[..rest.len()].copy_from_slice(rest);
    mix(taken);
    let wide = u128::from(state) * u128::from(ODD);
    (wide as u64) ^ ((wide >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(sequence: u32, key: u8) -> Entry {
        let mut bytes = *b"991130123459900000100123";
        bytes[23] = key;
        Entry {
            key: TransactionKey(bytes),
            line: 0,
            day: 30,
            sequence,
            route: 2,
            mti: Mti(3110),
            outcome: Outcome::Approved,
            request_us: 1,
            report_us: 2,
            centre_seq: 1,
            cancelled: None,
            cancel_code: NO_CODE,
            faults: 0,
            anomalies: 0,
            image: 0,
        }
    }

    /// A sequence or a key that comes again within a day is noted on the entry and counted, and the newest is found.
    #[test]
    fn what_comes_again_is_noted() {
        let mut ledger = Ledger::new(1, true, 4);
        ledger.enter(entry(1, b'a'));
        ledger.enter(entry(2, b'a'));
        let third = ledger.enter(entry(2, b'b'));
        assert_eq!(ledger.count(Anomaly::KeyAgain), 1);
        assert_eq!(ledger.count(Anomaly::DuplicateSequence), 1);
        assert_eq!(ledger.entries()[1].anomalies, Anomaly::KeyAgain.bit());
        assert_eq!(ledger.find(0, 30, 2), Some(third));
        assert_eq!(ledger.find(0, 30, 3), None);
        assert_eq!(ledger.find(0, 29, 2), None);
    }

    /// The wrap from 999999 to 1 is no repetition, even when messages overtake each other there; a true one is.
    #[test]
    fn a_wrap_is_not_a_repetition() {
        let mut ledger = Ledger::new(1, false, 0);
        let order = (1..=999_997).chain([1, 999_998, 2, 999_999, 3]);
        for sequence in order {
            ledger.enter(entry(sequence, b'a'));
        }
        assert_eq!(ledger.count(Anomaly::DuplicateSequence), 0);
        ledger.enter(entry(999_999, b'a'));
        ledger.enter(entry(3, b'a'));
        assert_eq!(ledger.count(Anomaly::DuplicateSequence), 2);
    }

    /// The words of the anomalies stand at the places their numbers say.
    #[test]
    fn every_anomaly_has_its_word() {
        for (at, (anomaly, word)) in ANOMALIES.iter().enumerate() {
            assert_eq!(*anomaly as usize, at);
            assert_eq!(anomaly.word(), *word);
        }
    }
}
