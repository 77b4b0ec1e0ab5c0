//! The state of the simulator, and what happens in it by itself when time passes.
//!
//! No sockets here and no tasks: every call takes effect at once under one lock, and what must be sent is returned. Time is
//! the simulator's own clock.

use std::collections::{BTreeMap, HashMap, VecDeque};

use serde::Serialize;

use super::callback;
use super::clock::{Clock, day_begins, day_of};
use super::config::{Keys, Switches};
use super::faults::Faults;
use super::records::{Payment, PaymentState, Refund, RefundState, Seen, Token};

/// First token.
const TOKEN_FIRST: u64 = 15_000_000_000_001;
/// First number of a payment.
const PAYMENT_FIRST: u64 = 11_000_000_900_001;
/// First number of a refund.
const REFUND_FIRST: u64 = 700_001;
/// Calls that are remembered one by one.
const SEEN_MAX: usize = 10_000;
/// Half an hour after midnight the runs of the day begin.
const DAY_RUN_MS: i64 = 1_800_000;

/// Callbacks that must arrive one after the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Parcel {
    /// Which payment they are about.
    pub atom_txn_id: u64,
    /// Their bodies, the next one first.
    pub bodies: VecDeque<String>,
    /// How often the next one may still be tried again.
    pub tries_left: u32,
}

/// What is going to happen.
#[derive(Clone, Debug)]
pub enum Due {
    /// Callbacks leave.
    Send(Parcel),
    /// The bank decides about a pending payment.
    Decide {
        /// Which.
        atom_txn_id: u64,
        /// And how.
        state: PaymentState,
    },
    /// Atom gives a captured payment back.
    Reverse {
        /// Which.
        atom_txn_id: u64,
    },
    /// A refund is paid out, or fails.
    PayOut {
        /// Which.
        refund_txn_id: u64,
    },
}

/// Everything that is known about one `merchTxnId`.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Its token.
    pub token: u64,
    /// Payments made with it.
    pub payments: Vec<u64>,
}

/// The state.
pub struct World {
    /// The seed.
    pub seed: u64,
    /// The clock.
    pub clock: Clock,
    /// The switches.
    pub switches: Switches,
    /// The rules of what goes wrong.
    pub faults: Faults,
    /// Tokens by their number.
    pub tokens: HashMap<u64, Token>,
    /// Payments by their number.
    pub payments: BTreeMap<u64, Payment>,
    /// Refunds by their number.
    pub refunds: BTreeMap<u64, Refund>,
    /// What belongs to a number of the merchant.
    pub known: HashMap<String, Known>,
    /// The merchant's numbers of refunds, with ours.
    pub refund_ids: HashMap<String, Vec<u64>>,
    /// The refunds of a payment.
    pub refunds_of: HashMap<u64, Vec<u64>>,
    /// Calls, the last ones.
    pub seen: VecDeque<Seen>,
    /// Calls, counted by place and code.
    pub counts: BTreeMap<String, u64>,
    agenda: BTreeMap<(i64, u64), Due>,
    agenda_next: u64,
}

impl World {
    /// An empty world.
    #[must_use]
    pub fn new(seed: u64, clock: Clock, switches: Switches) -> World {
        World {
            seed,
            clock,
            switches,
            faults: Faults::new(seed),
            tokens: HashMap::new(),
            payments: BTreeMap::new(),
            refunds: BTreeMap::new(),
            known: HashMap::new(),
            refund_ids: HashMap::new(),
            refunds_of: HashMap::new(),
            seen: VecDeque::new(),
            counts: BTreeMap::new(),
            agenda: BTreeMap::new(),
            agenda_next: 0,
        }
    }

    /// The number of the next token.
    #[must_use]
    pub fn next_token(&self) -> u64 {
        TOKEN_FIRST + self.tokens.len() as u64
    }

    /// The number of the next payment.
    #[must_use]
    pub fn next_payment(&self) -> u64 {
        PAYMENT_FIRST + self.payments.len() as u64
    }

    /// The number of the next refund.
    #[must_use]
    pub fn next_refund(&self) -> u64 {
        REFUND_FIRST + self.refunds.len() as u64
    }

    /// Notes what will happen at a time.
    pub fn plan(&mut self, at_ms: i64, due: Due) {
        self.agenda.insert((at_ms, self.agenda_next), due);
        self.agenda_next += 1;
    }

    /// When the runs of the nth day after this time begin.
    #[must_use]
    pub fn day_run_ms(now_ms: i64, days: i64) -> i64 {
        day_begins(day_of(now_ms) + days) + DAY_RUN_MS
    }

    /// When something happens next.
    #[must_use]
    pub fn next_due_ms(&self) -> Option<i64> {
        self.agenda.keys().next().map(|(at_ms, _)| *at_ms)
    }

    /// Lets happen what is due; what leaves the house is returned.
    pub fn pass_time(&mut self, keys: &Keys) -> Vec<Parcel> {
        let now_ms = self.clock.now_ms();
        let mut parcels = Vec::new();
        while let Some(entry) = self
            .agenda
            .first_entry()
            .filter(|entry| entry.key().0 <= now_ms)
        {
            let ((at_ms, _), due) = entry.remove_entry();
            match due {
                Due::Send(parcel) => parcels.push(parcel),
                Due::Decide { atom_txn_id, state } => self.decide(keys, atom_txn_id, state, at_ms),
                Due::Reverse { atom_txn_id } => self.reverse(atom_txn_id, at_ms),
                Due::PayOut { refund_txn_id } => self.pay_out(refund_txn_id),
            }
        }
        parcels
    }

    /// The bank's decision about a pending payment, and the callback that tells it.
    fn decide(&mut self, keys: &Keys, atom_txn_id: u64, state: PaymentState, at_ms: i64) {
        let Some(payment) = self.payments.get_mut(&atom_txn_id) else {
            return;
        };
        if payment.state != PaymentState::Pending {
            return;
        }
        let (code, message) = match state {
            PaymentState::Captured => ("OTS0000", "SUCCESS"),
            _ => ("OTS0600", "FAILED"),
        };
        payment.decide(state, code, message, at_ms);
        callback::plan(self, keys, atom_txn_id);
    }

    fn reverse(&mut self, atom_txn_id: u64, at_ms: i64) {
        let payment = self.payments.get_mut(&atom_txn_id);
        if let Some(payment) = payment.filter(|it| it.state == PaymentState::Captured) {
            payment.decide(PaymentState::Reversed, "OTS0001", "AUTO REVERSAL", at_ms);
        }
    }

    fn pay_out(&mut self, refund_txn_id: u64) {
        if let Some(refund) = self.refunds.get_mut(&refund_txn_id) {
            refund.state = if refund.will_fail {
                RefundState::Failed
            } else {
                RefundState::Processed
            };
        }
    }

    /// Remembers a call.
    pub fn note(&mut self, seen: Seen) {
        let key = format!("{} {}", super::faults::word(seen.api), seen.code);
        *self.counts.entry(key).or_default() += 1;
        if self.seen.len() == SEEN_MAX {
            self.seen.pop_front();
        }
        self.seen.push_back(seen);
    }

    /// The ledger: all payments and refunds, as amounts in paise.
    #[must_use]
    pub fn ledger(&self) -> Ledger<'_> {
        Ledger {
            seed: self.seed,
            now_ms: self.clock.now_ms(),
            tokens: self.tokens.len(),
            payments: self.payments.values().collect(),
            refunds: self.refunds.values().collect(),
        }
    }
}

/// What happened to the money.
#[derive(Serialize)]
pub struct Ledger<'a> {
    seed: u64,
    now_ms: i64,
    tokens: usize,
    payments: Vec<&'a Payment>,
    refunds: Vec<&'a Refund>,
}
