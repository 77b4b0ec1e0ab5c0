//! Transactions: the table of everything that is not settled.
//!
//! A transaction has a slot from its acceptance to its settlement. Its fault image and its report lie in two
//! arenas beside the table, one fixed piece per slot; slots are reused last-in first-out, so that little memory is
//! touched as long as little is open.

use super::LineNo;
use super::wheel::TimerId;
use codec::cafis::frame::FRAME_MAX;
use codec::cafis::header::Header;
use hashbrown::HashTable;
use std::ops::{Index, IndexMut};

/// No slot.
pub const NO_TX: u32 = u32::MAX;

/// The request is answered by the centre itself: no fault message may ever follow it.
pub const FLAG_TURNAROUND: u16 = 1;
/// iD business, whose fault messages are optional.
pub const FLAG_ID: u16 = 2;

/// A transaction, safe against reuse of its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxRef {
    index: u32,
    id: u64,
}

impl TxRef {
    /// Its slot.
    #[must_use]
    pub fn index(self) -> u32 {
        self.index
    }
}

/// Declares a byte-sized enum with its decoder.
macro_rules! byte_enum {
    ($(#[doc = $doc:literal])* $name:ident { $($(#[doc = $item_doc:literal])* $item:ident = $value:literal,)* }) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum $name { $($(#[doc = $item_doc])* $item = $value,)* }
        impl $name {
            /// Every value, for tables and tests.
            pub const ALL: &'static [$name] = &[$($name::$item,)*];
            /// The value of a byte in a record.
            #[must_use]
            pub fn from_byte(byte: u8) -> Option<$name> {
                Self::ALL.iter().copied().find(|value| *value as u8 == byte)
            }
        }
    };
}
pub(crate) use byte_enum;

byte_enum! {
    /// Where a transaction stands.
    Phase {
        /// The slot is free.
        Free = 0,
        /// It waits for a route; nothing is on record.
        Buffered = 1,
        /// Its request is on record and waits to be durable.
        Accepted = 2,
        /// Its request went to a centre session; t31 runs.
        Sent = 3,
        /// Its report is on record; the application has not confirmed it.
        Reported = 4,
        /// A fault message is on record; t32 runs once it is sent.
        FaultSent = 6,
        /// The centre is congested: the next fault message waits.
        FaultDelay = 7,
        /// A fault message waits for service, or for a free route (8910).
        Held = 8,
        /// All sends were used up; the hold is kept.
        Escalated = 9,
    }
}

byte_enum! {
    /// Why a cascade runs, a request was not sent, or a message is held.
    Cause {
        /// None.
        None = 0,
        /// t31 expired.
        Timeout = 1,
        /// The application's receive ended before the report came to it.
        GaveUp = 2,
        /// Its API session was closed.
        ApiClosed = 3,
        /// Its link was lost and not resumed in time.
        LinkLost = 4,
        /// The report waited too long for the application.
        DeliveryLimit = 5,
        /// An application or operator ordered it.
        Ordered = 6,
        /// A stop that was no shutdown left it open.
        Recovery = 7,
        /// All centre sessions were lost.
        CentreLost = 8,
        /// The service is ending.
        ServiceEnd = 9,
        /// The centre says that it does not regard us as open (C60) or has ended (C15).
        NotOpen = 10,
        /// Sends used up.
        SendsUsedUp = 11,
        /// The centre stays congested (second C33).
        Congested = 12,
        /// Automatic cancels are switched off: it waits for an order.
        NoAutomatic = 13,
        /// It is the probe for the line's escalated transactions.
        Probe = 14,
        /// The centre came back.
        Revived = 15,
    }
}

byte_enum! {
    /// How a transaction ended.
    Outcome {
        /// Not settled.
        None = 0,
        /// Delivered to the application.
        Delivered = 1,
        /// Cancelled at the centre (8950 or 8960).
        Cancelled = 2,
        /// The centre never processed it (8970 to the request, or C56 to a cancel-confirm).
        NotProcessed = 3,
        /// Never sent.
        NotSent = 4,
        /// A turnaround request without answer, or whose answer was not taken: nothing to cancel.
        Unanswered = 5,
        /// The centre refused the fault message for good.
        Unresolved = 6,
        /// An operator purged its route.
        Purged = 7,
    }
}

/// Who waits for a cascade's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiter {
    /// The link that ordered it.
    pub link: super::LinkId,
    /// The API session number on it.
    pub session: u32,
    /// The order's request id.
    pub request: u64,
}

/// How many orders may wait for one transaction.
pub const WAITERS: usize = 4;

/// One open transaction.
#[derive(Clone, Debug)]
pub struct Tx {
    /// 64-bit id, never used twice by a shard.
    pub id: u64,
    /// Where it stands.
    pub phase: Phase,
    /// Why its cascade runs.
    pub cause: Cause,
    /// Its line.
    pub line: LineNo,
    /// Its current route, 0 if it has none.
    pub route: u16,
    /// `FLAG_*` bits.
    pub flags: u16,
    /// Originator sequence.
    pub sequence: u32,
    /// Cut date of the sequence.
    pub cut_date: u32,
    /// Slot of its API session, `NO_API` if there is none any more.
    pub api: u32,
    /// Token of its API session.
    pub token: [u8; 16],
    /// Client request id.
    pub request: u64,
    /// Trace id.
    pub trace: u64,
    /// SEND's flags.
    pub link_flags: u8,
    /// The application will not take the report.
    pub given_up: bool,
    /// It belongs to the recovery run in progress.
    pub in_recovery: bool,
    /// Transaction key.
    pub key: [u8; 24],
    /// Message type of the request.
    pub mti: u16,
    /// Message type of the report, 0 if there is none.
    pub report_mti: u16,
    /// The fault message sent last (FaultSent, FaultDelay) or to be sent next (Held, Escalated); 0 if none.
    pub fault: u16,
    /// Sends of this activation.
    pub sends: u16,
    /// Sends that this activation may take.
    pub budget: u16,
    /// C33 answers of this activation.
    pub congested: u8,
    /// The session that its last frame went out on: a fault message follows it there, so that it cannot overtake.
    pub sent_on: Option<super::SessionId>,
    /// Its timer.
    pub timer: TimerId,
    /// Who waits for the cascade's end.
    pub waiters: [Option<Waiter>; WAITERS],
    /// Length of the fault image.
    pub image_len: u16,
    /// Length of the report.
    pub report_len: u16,
    /// Neighbours in the API session's list.
    pub next: u32,
    /// Neighbours in the API session's list.
    pub prev: u32,
}

/// No API session.
pub const NO_API: u32 = u32::MAX;

impl Tx {
    fn free() -> Tx {
        Tx {
            id: 0,
            phase: Phase::Free,
            cause: Cause::None,
            line: LineNo(0),
            route: 0,
            flags: 0,
            sequence: 0,
            cut_date: 0,
            api: NO_API,
            token: [0; 16],
            request: 0,
            trace: 0,
            link_flags: 0,
            given_up: false,
            in_recovery: false,
            key: [b' '; 24],
            mti: 0,
            report_mti: 0,
            fault: 0,
            sends: 0,
            budget: 0,
            congested: 0,
            sent_on: None,
            timer: TimerId::NONE,
            waiters: [None; WAITERS],
            image_len: 0,
            report_len: 0,
            next: NO_TX,
            prev: NO_TX,
        }
    }

    /// Whether the centre answers this request itself.
    #[must_use]
    pub fn turnaround(&self) -> bool {
        self.flags & FLAG_TURNAROUND != 0
    }

    /// Whether an approval or refusal is on record (an abnormal report starts nothing).
    #[must_use]
    pub fn has_report(&self) -> bool {
        self.report_mti != 0 && self.report_mti != 8970
    }

    /// Whether it is being settled at the centre.
    #[must_use]
    pub fn in_cascade(&self) -> bool {
        matches!(
            self.phase,
            Phase::FaultSent | Phase::FaultDelay | Phase::Held | Phase::Escalated
        )
    }
}

/// The table.
pub struct Txs {
    slots: Vec<Tx>,
    free: Vec<u32>,
    images: Box<[u8]>,
    reports: Box<[u8]>,
    by_key: HashTable<u32>,
    open: usize,
}

/// Bytes of an arena piece: a frame, and one cache line more, so that the fronts of pieces do not all fall into the
/// same few sets of the cache.
const PIECE: usize = FRAME_MAX + 64;

impl Txs {
    /// A table for `capacity` transactions; no memory is taken later.
    #[must_use]
    pub fn new(capacity: usize) -> Txs {
        assert!(capacity < NO_TX as usize, "{capacity} transactions");
        Txs {
            slots: Vec::with_capacity(capacity),
            free: Vec::with_capacity(capacity),
            images: vec![0; capacity * PIECE].into_boxed_slice(),
            reports: vec![0; capacity * PIECE].into_boxed_slice(),
            // Twice the room: removals leave marks behind, and the table then tidies itself in place.
            by_key: HashTable::with_capacity(capacity * 2),
            open: 0,
        }
    }

    /// How many transactions are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open
    }

    /// Room for one more.
    #[must_use]
    pub fn has_room(&self) -> bool {
        !self.free.is_empty() || self.slots.len() < self.slots.capacity()
    }

    /// Takes a slot for a transaction of this line; `None` if the table is full.
    pub fn take(&mut self, id: u64, line: LineNo) -> Option<u32> {
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.slots.len() < self.slots.capacity() => {
                self.slots.push(Tx::free());
                (self.slots.len() - 1) as u32
            }
            None => return None,
        };
        self.open += 1;
        let slot = &mut self.slots[index as usize];
        (slot.id, slot.line, slot.phase) = (id, line, Phase::Buffered);
        Some(index)
    }

    /// Enters the key of a transaction, so that it is found by it.
    pub fn enter_key(&mut self, index: u32, key: [u8; 24]) {
        self.slots[index as usize].key = key;
        let hash = hash(&key);
        let slots = &self.slots;
        self.by_key
            .insert_unique(hash, index, |other| self::hash(&slots[*other as usize].key));
    }

    /// Gives a slot back.
    pub fn give_back(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        assert!(
            slot.phase != Phase::Free,
            "transaction slot {index} freed twice"
        );
        if let Ok(entry) = self
            .by_key
            .find_entry(hash(&slot.key), |other| *other == index)
        {
            entry.remove();
        }
        *slot = Tx::free();
        self.free.push(index);
        self.open -= 1;
    }

    /// The newest open transaction of a line with this key.
    #[must_use]
    pub fn find(&self, line: LineNo, key: &[u8; 24]) -> Option<u32> {
        let same = |index: &&u32| {
            let tx = &self.slots[**index as usize];
            tx.line == line && tx.key == *key
        };
        self.by_key
            .iter_hash(hash(key))
            .filter(same)
            .copied()
            .max_by_key(|index| self.slots[*index as usize].id)
    }

    /// A transaction that is still in its slot.
    pub fn at(&mut self, tx: TxRef) -> Option<&mut Tx> {
        self.slots
            .get_mut(tx.index as usize)
            .filter(|slot| slot.id == tx.id)
    }

    /// The transaction in a slot, if there is one.
    #[must_use]
    pub fn get(&self, index: u32) -> Option<&Tx> {
        self.slots
            .get(index as usize)
            .filter(|tx| tx.phase != Phase::Free)
    }

    /// A reference that outlives the slot.
    #[must_use]
    pub fn reference(&self, index: u32) -> TxRef {
        TxRef {
            index,
            id: self.slots[index as usize].id,
        }
    }

    /// Slots in use, oldest slot first.
    pub fn indices(&self) -> impl Iterator<Item = u32> + use<> {
        0..self.slots.len() as u32
    }

    /// The request as a fault image.
    #[must_use]
    pub fn image(&self, index: u32) -> &[u8] {
        let at = index as usize * PIECE;
        &self.images[at..at + usize::from(self.slots[index as usize].image_len)]
    }

    /// Stores the fault image.
    pub fn set_image(&mut self, index: u32, image: &[u8]) {
        let at = index as usize * PIECE;
        self.images[at..at + image.len()].copy_from_slice(image);
        self.slots[index as usize].image_len = image.len() as u16;
    }

    /// The report, or the unsent frame of a buffered request; empty if there is none.
    #[must_use]
    pub fn report(&self, index: u32) -> &[u8] {
        let at = index as usize * PIECE;
        &self.reports[at..at + usize::from(self.slots[index as usize].report_len)]
    }

    /// Stores the report, or the unsent frame of a buffered request.
    pub fn set_report(&mut self, index: u32, report: &[u8]) {
        let at = index as usize * PIECE;
        self.reports[at..at + report.len()].copy_from_slice(report);
        self.slots[index as usize].report_len = report.len() as u16;
    }

    /// Header of the fault image.
    #[must_use]
    pub fn header(&self, index: u32) -> Option<Header<'_>> {
        Header::new(self.image(index)).ok()
    }
}

impl Index<u32> for Txs {
    type Output = Tx;
    fn index(&self, index: u32) -> &Tx {
        &self.slots[index as usize]
    }
}

impl IndexMut<u32> for Txs {
    fn index_mut(&mut self, index: u32) -> &mut Tx {
        &mut self.slots[index as usize]
    }
}

/// A fixed mixing of a key: the core may not differ from run to run.
pub(super) fn hash(key: &[u8]) -> u64 {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for chunk in key.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        state = (state ^ u64::from_le_bytes(word)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        state ^= state >> 32;
    }
    state
}
