//! A line: its centre sessions, routes, service state and sequence numbers.

use super::SessionId;
use super::config::LineConfig;
use super::fact::CUT_DATES;
use super::service::Service;
use super::tx::{NO_TX, TxRef, Waiter};
use super::wheel::TimerId;
use std::collections::VecDeque;

/// The contracted number of sessions is 10 at most; one more is the excess that closes all.
pub const SESSIONS_MAX: usize = 10;
/// The largest number of outward routes, and as many inward ones.
pub const ROUTES_MAX: usize = 189;
/// The largest originator sequence.
pub const SEQUENCE_MAX: u32 = 999_999;

/// The centre sessions of a line, in the order they came.
#[derive(Default)]
pub struct Sessions {
    ids: [Option<SessionId>; SESSIONS_MAX + 1],
    count: usize,
    turn: usize,
}

impl Sessions {
    /// How many are up.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Adds one.
    pub fn add(&mut self, session: SessionId) {
        self.ids[self.count] = Some(session);
        self.count += 1;
    }

    /// Removes one; false if it is not there.
    pub fn remove(&mut self, session: SessionId) -> bool {
        let Some(at) = self.ids[..self.count]
            .iter()
            .position(|id| *id == Some(session))
        else {
            return false;
        };
        self.ids.copy_within(at + 1..self.count, at);
        self.count -= 1;
        self.ids[self.count] = None;
        true
    }

    /// Takes all out.
    pub fn drain(&mut self) -> [Option<SessionId>; SESSIONS_MAX + 1] {
        self.count = 0;
        std::mem::take(&mut self.ids)
    }

    /// Whether a session is up.
    #[must_use]
    pub fn contains(&self, session: SessionId) -> bool {
        self.ids[..self.count].contains(&Some(session))
    }

    /// The session whose turn it is.
    pub fn next_in_turn(&mut self) -> Option<SessionId> {
        if self.count == 0 {
            return None;
        }
        self.turn = (self.turn + 1) % self.count;
        self.ids[self.turn]
    }
}

/// An outward route.
#[derive(Clone, Copy)]
pub struct Route {
    /// The transaction that has it, or `NO_TX`.
    pub tx: u32,
    /// Sequence of the last transaction that was on it, to tell a duplicate report from one that matches nothing.
    pub last_sequence: u32,
}

/// The outward routes 2, 4, … 2n, one transaction each.
pub struct Routes {
    table: Box<[Route]>,
    /// Bit n stands for route 2(n+1); set while it is free.
    free: [u64; ROUTES_MAX.div_ceil(64)],
    /// Routes that a fault message reserves.
    pub held: u16,
    /// Whether the alarm of held routes is raised.
    pub alarm: bool,
}

impl Routes {
    fn new(count: u16) -> Routes {
        let mut routes = Routes {
            table: vec![
                Route {
                    tx: NO_TX,
                    last_sequence: 0
                };
                usize::from(count)
            ]
            .into_boxed_slice(),
            free: [0; 3],
            held: 0,
            alarm: false,
        };
        (0..usize::from(count)).for_each(|at| routes.free[at / 64] |= 1 << (at % 64));
        routes
    }

    /// Place in the table of an outward route number.
    fn place(&self, number: u16) -> Option<usize> {
        (number >= 2 && number.is_multiple_of(2))
            .then(|| usize::from(number / 2 - 1))
            .filter(|at| *at < self.table.len())
    }

    /// The smallest free number.
    #[must_use]
    pub fn smallest_free(&self) -> Option<u16> {
        let word = self.free.iter().position(|word| *word != 0)?;
        Some(((word * 64 + self.free[word].trailing_zeros() as usize + 1) * 2) as u16)
    }

    /// Whether this number is of the contract and free.
    #[must_use]
    pub fn is_free(&self, number: u16) -> bool {
        self.place(number)
            .is_some_and(|at| self.table[at].tx == NO_TX)
    }

    /// The route of a number, if it is of the contract.
    #[must_use]
    pub fn get(&self, number: u16) -> Option<&Route> {
        self.place(number).map(|at| &self.table[at])
    }

    /// Gives a free route to a transaction.
    pub fn take(&mut self, number: u16, tx: u32, sequence: u32) {
        let Some(at) = self.place(number) else {
            panic!("route {number} is not of the contract")
        };
        assert!(self.table[at].tx == NO_TX, "route {number} is taken twice");
        self.table[at] = Route {
            tx,
            last_sequence: sequence,
        };
        self.free[at / 64] &= !(1 << (at % 64));
    }

    /// Frees a route.
    pub fn give_back(&mut self, number: u16) {
        let Some(at) = self.place(number) else { return };
        self.table[at].tx = NO_TX;
        self.free[at / 64] |= 1 << (at % 64);
    }

    /// How many routes are taken.
    #[must_use]
    pub fn busy(&self) -> u16 {
        self.table.len() as u16
            - self
                .free
                .iter()
                .map(|word| word.count_ones() as u16)
                .sum::<u16>()
    }
}

/// The last originator sequence of each remembered cut date.
#[derive(Default)]
pub struct Sequences {
    /// The cut date in force, YYYYMMDD; 0 before the first.
    pub cut_date: u32,
    /// Remembered dates, 0 where unused.
    pub dates: [u32; CUT_DATES],
    /// Their last numbers.
    pub last: [u32; CUT_DATES],
}

impl Sequences {
    fn slot(&mut self, date: u32) -> usize {
        if let Some(at) = self.dates.iter().position(|other| *other == date) {
            return at;
        }
        // The oldest date gives way; a return to a forgotten one starts anew, days after anything of it was open.
        let at = (0..CUT_DATES).min_by_key(|at| self.dates[*at]).unwrap_or(0);
        (self.dates[at], self.last[at]) = (date, 0);
        at
    }

    /// Puts a cut date in force; its numbers go on where they stopped.
    pub fn set_date(&mut self, date: u32) {
        self.slot(date);
        self.cut_date = date;
    }

    /// Notes that a number was used.
    pub fn used(&mut self, date: u32, sequence: u32) {
        let at = self.slot(date);
        self.last[at] = sequence;
    }

    /// The last number of the date in force.
    #[must_use]
    pub fn last(&self) -> u32 {
        self.dates
            .iter()
            .position(|date| *date == self.cut_date)
            .map_or(0, |at| self.last[at])
    }

    /// The number after `sequence`; 999999 is followed by 1 (spec/cafis.md O-32).
    #[must_use]
    pub fn after(sequence: u32) -> u32 {
        sequence % SEQUENCE_MAX + 1
    }
}

/// An inward request that an application answers.
pub struct Inward {
    /// Its route, odd.
    pub route: u16,
    /// The link and API session it went to.
    pub waiter: Waiter,
    /// The request: a refusal has to carry the same bytes. Its memory is one of the core's [`InwardFrames`].
    pub frame: Vec<u8>,
    /// Runs for t13.
    pub timer: TimerId,
}

/// Memory for the requests of the centre that applications are to answer; taken once, for all lines of a shard.
pub struct InwardFrames(Vec<Vec<u8>>);

/// Requests of the centre that a shard keeps for applications at a time; what comes beyond them is refused.
pub const INWARD_MAX: usize = 256;

impl InwardFrames {
    pub(super) fn new() -> InwardFrames {
        let frame = || Vec::with_capacity(codec::cafis::frame::FRAME_MAX);
        InwardFrames((0..INWARD_MAX).map(|_| frame()).collect())
    }

    /// A copy of a frame; `None` if all memory is in use, or the frame is longer than one may be.
    pub(super) fn keep(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        if frame.len() > codec::cafis::frame::FRAME_MAX {
            return None;
        }
        let mut copy = self.0.pop()?;
        copy.extend_from_slice(frame);
        Some(copy)
    }

    pub(super) fn give_back(&mut self, mut frame: Vec<u8>) {
        frame.clear();
        self.0.push(frame);
    }
}

/// The settling of what a stop that was no shutdown left open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// Nothing was left open, or it is done.
    None,
    /// Something is open; the run starts with the next sign-on, or on order.
    Needed,
    /// Fault messages are on their way; business waits.
    Running,
}

/// How many orders may wait for a line at a time.
pub const ORDERS: usize = 8;

/// One line.
pub struct Line {
    /// Its configuration.
    pub cfg: LineConfig,
    /// Its centre sessions.
    pub sessions: Sessions,
    /// Service state.
    pub service: Service,
    /// Outward routes.
    pub routes: Routes,
    /// Sequence numbers.
    pub sequences: Sequences,
    /// A sequence that is still open in the cut date and lies ahead of the last one given out (after a wrap).
    pub ahead: u32,
    /// t34 or t35, whichever runs.
    pub control_timer: TimerId,
    /// The session that a 9210 of ours is open on, and its t33.
    pub checked: Option<(SessionId, TimerId)>,
    /// t36.
    pub sign_on_timer: TimerId,
    /// Runs while something is escalated.
    pub probe_timer: TimerId,
    /// Monotonic time at which service opened.
    pub opened_ns: u64,
    /// Where the settling of what a stop left open stands.
    pub recovery: Recovery,
    /// Transactions of the recovery run that are not settled.
    pub in_recovery: u32,
    /// Return code of the recovery run so far.
    pub recovery_code: u16,
    /// Transactions that wait for a route with an 8910, oldest first.
    pub cancel_queue: VecDeque<TxRef>,
    /// Requests that wait for a route, oldest first.
    pub buffered: VecDeque<TxRef>,
    /// How many transactions are escalated.
    pub escalated: u32,
    /// Who waits for a sign-on.
    pub sign_on_orders: [Option<Waiter>; ORDERS],
    /// Who waits for a sign-off.
    pub sign_off_orders: [Option<Waiter>; ORDERS],
    /// Who waits for the recovery run.
    pub recovery_orders: [Option<Waiter>; ORDERS],
    /// Inward requests that applications answer.
    pub inward: Vec<Inward>,
}

impl Line {
    /// A line without sessions or history.
    #[must_use]
    pub fn new(cfg: &LineConfig) -> Line {
        let waiting = usize::from(cfg.route_count) * 2 + 64;
        Line {
            sessions: Sessions::default(),
            service: Service::Down,
            routes: Routes::new(cfg.route_count),
            sequences: Sequences::default(),
            ahead: 0,
            control_timer: TimerId::NONE,
            checked: None,
            sign_on_timer: TimerId::NONE,
            probe_timer: TimerId::NONE,
            opened_ns: 0,
            recovery: Recovery::None,
            in_recovery: 0,
            recovery_code: 0,
            cancel_queue: VecDeque::with_capacity(waiting),
            buffered: VecDeque::with_capacity(waiting),
            escalated: 0,
            sign_on_orders: [None; ORDERS],
            sign_off_orders: [None; ORDERS],
            recovery_orders: [None; ORDERS],
            inward: Vec::with_capacity(usize::from(cfg.route_count)),
            cfg: cfg.clone(),
        }
    }

    /// Whether fault messages may go out.
    #[must_use]
    pub fn faults_may_go(&self) -> bool {
        matches!(self.service, Service::Open | Service::HeldSend) && self.sessions.count() > 0
    }
}

/// Puts a waiter into the first free place; false if all are taken.
pub fn enlist(orders: &mut [Option<Waiter>], waiter: Waiter) -> bool {
    match orders.iter_mut().find(|place| place.is_none()) {
        Some(place) => {
            *place = Some(waiter);
            true
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The smallest free even number is given out, up to the contract, and comes back.
    #[test]
    fn smallest_free_route_first() {
        let mut routes = Routes::new(189);
        for expected in 1..=189 {
            let number = routes.smallest_free().expect("a free route");
            assert_eq!(number, expected * 2);
            routes.take(number, u32::from(number), 1);
        }
        assert_eq!(routes.smallest_free(), None);
        routes.give_back(378);
        routes.give_back(130);
        assert_eq!((routes.smallest_free(), routes.busy()), (Some(130), 187));
        for outside in [0, 1, 3, 380, 9999] {
            assert!(routes.get(outside).is_none(), "route {outside}");
        }
    }

    /// A return to a cut date continues its numbers, and 999999 is followed by 1.
    #[test]
    fn sequences_continue_per_cut_date() {
        let mut sequences = Sequences::default();
        sequences.set_date(20261130);
        sequences.used(20261130, 17);
        sequences.set_date(20261201);
        assert_eq!(sequences.last(), 0);
        sequences.set_date(20261130);
        assert_eq!(sequences.last(), 17);
        assert_eq!(Sequences::after(999_999), 1);
    }
}
