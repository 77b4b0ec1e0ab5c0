//! The centre, and the issuer behind it: a ledger, the checks of spec/cafis.md 8.4 and 9.5, and its moods.
//!
//! It knows the interface and nothing of the gateway. What only a fault of the gateway can cause (C51, C53, C55, C58,
//! an 8930 that does not fit its own request, a fault message with other bytes than 8.3 says) is an error here and
//! ends the run.

mod faults;
mod service;

use std::collections::{BTreeMap, BTreeSet};

use super::plan::Mood;
use super::rng::Rng;
use super::{MS, SEC};
use codec::cafis::header::{Assigned, Header, data};
use codec::cafis::mti::{Class, Kind, Mti, is_turnaround, lookup};
use codec::cafis::report::{NO_ERROR, counter_report, report_from};
use codec::cafis::section::{Section11, TransactionKey};

/// What the centre wants done.
pub enum Act {
    /// A frame for the gateway, on this session or on any.
    Send(Option<u64>, Vec<u8>),
    /// Come back with this after so many nanoseconds.
    After(u64, Later),
}

/// What the centre comes back to.
#[derive(Clone, Debug)]
pub enum Later {
    /// The report to a request is ready.
    Report(usize, Vec<u8>, State),
    /// An answer to a fault message on a route is ready; the number is that of the start of service.
    Answer(usize, Vec<u8>, u64),
    /// A second copy, or a stray.
    Again(Vec<u8>, u64),
    /// A command was not answered in time.
    Unanswered(u64),
    /// Time for 0910 after 0620.
    End,
    /// Time for 0010 again.
    Start,
    /// Time for 0810.
    Permit(Vec<u8>),
    /// Nobody answered an inward request.
    Inward(u16, u64),
}

/// How a request stands at the centre.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The issuer has not answered.
    Processing,
    /// Done.
    Approved,
    /// Refused by the issuer.
    Refused,
    /// Not completed: 8970.
    Abnormal,
    /// Undone on the gateway's order.
    Cancelled,
    /// Undone by the centre itself, which could not deliver the report.
    Void,
}

/// A request in the ledger.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Transaction key.
    pub key: [u8; 24],
    /// Originator sequence.
    pub sequence: u32,
    /// Originator day.
    pub day: [u8; 2],
    /// The request as it came.
    pub request: Vec<u8>,
    /// Whether the centre answers it itself.
    pub turnaround: bool,
    /// Amount, 0 if it has none.
    pub amount: u64,
    /// Where it stands.
    pub state: State,
    /// The report that was made.
    pub report: Vec<u8>,
    /// What the centre assigned.
    pub assigned: Assigned,
}

/// Service towards the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Closed in order.
    Closed,
    /// Open.
    Open,
    /// The end was announced and confirmed.
    Ending,
    /// The gateway failed.
    Failed,
}

/// A command that waits for its answer.
pub struct Command {
    mti: Mti,
    frame: Vec<u8>,
    session: Option<u64>,
    number: u64,
}

/// One line of the centre.
pub struct Centre {
    company: [u8; 11],
    routes: u16,
    rng: Rng,
    /// Its moods; all zero once the world heals.
    pub mood: Mood,
    /// Sessions that it believes to be up.
    pub sessions: Vec<u64>,
    /// Service.
    pub service: Service,
    /// Every request ever received.
    pub ledger: Vec<Entry>,
    /// The newest entry of a key.
    pub by_key: BTreeMap<[u8; 24], usize>,
    /// Keys that were settled by telephone: whatever of theirs is still on its way comes too late.
    pub by_hand: BTreeSet<[u8; 24]>,
    last_on_route: BTreeMap<u16, usize>,
    busy: BTreeMap<u16, usize>,
    command: Option<Command>,
    inward: BTreeMap<u16, (Vec<u8>, u64)>,
    synchronous_until: u64,
    /// How often everything under way was given up.
    starts: u64,
    sequence: u32,
    numbers: u64,
    /// Inward requests that were answered, by the answer's type.
    pub inward_answers: BTreeMap<u16, u64>,
    now: u64,
    acts: Vec<Act>,
}

impl Centre {
    /// A centre without sessions.
    #[must_use]
    pub fn new(company: [u8; 11], routes: u16, mood: Mood, rng: Rng) -> Centre {
        Centre {
            company,
            routes,
            rng,
            mood,
            sessions: Vec::new(),
            service: Service::Closed,
            ledger: Vec::new(),
            by_key: BTreeMap::new(),
            by_hand: BTreeSet::new(),
            last_on_route: BTreeMap::new(),
            busy: BTreeMap::new(),
            command: None,
            inward: BTreeMap::new(),
            synchronous_until: 0,
            starts: 0,
            sequence: 4710,
            numbers: 0,
            inward_answers: BTreeMap::new(),
            now: 0,
            acts: Vec::new(),
        }
    }

    /// What is to be done since the last call.
    pub fn acts(&mut self) -> Vec<Act> {
        std::mem::take(&mut self.acts)
    }

    /// The next number that the centre assigns.
    fn assign(&mut self, class: u8) -> Assigned {
        self.sequence += 1;
        let mut centre_seq = [0; 6];
        centre_seq.copy_from_slice(format!("{:06}", self.sequence).as_bytes());
        Assigned {
            centre_id: [class, b'1'],
            centre_seq,
            month_day: *b"1130",
        }
    }

    fn send(&mut self, frame: Vec<u8>) {
        self.acts.push(Act::Send(None, frame));
    }

    fn after(&mut self, ns: u64, what: Later) {
        self.acts.push(Act::After(ns, what));
    }

    /// A frame of the gateway.
    ///
    /// # Errors
    /// What only a fault of the gateway can cause.
    pub fn frame(&mut self, now: u64, session: u64, frame: &[u8]) -> Result<(), String> {
        self.now = now;
        let header = Header::new(frame).map_err(|error| format!("C58: {error}"))?;
        let (mti, Some(route)) = (header.mti(), header.route()) else {
            return Err("C58: the route is no number".into());
        };
        let row = lookup(mti).ok_or(format!("C54: unknown type {}", mti.0))?;
        if header.trailer().map(usize::from) != Some(frame.len() - 63) || frame.len() > 1024 {
            return Err(format!("C03: a frame of {} bytes", frame.len()));
        }
        match row.class {
            Class::Control => self.control(session, mti, frame),
            _ if route >= 3 && route % 2 == 1 => self.inward_answer(route, mti, frame),
            _ if route == 0 || route % 2 == 1 || route > self.routes * 2 => Err(format!(
                "C55: {} on route {route} of {}",
                mti.0,
                self.routes * 2
            )),
            Class::Fault if row.kind == Kind::Command => self.fault(route, mti, frame),
            Class::Business | Class::Service if row.kind == Kind::Request => {
                self.request(route, mti, frame)
            }
            _ => Err(format!("C54: {} on route {route}", mti.0)),
        }
    }

    /// The code that the state of service gives to everything, if it is not simply open.
    fn refusal(&self) -> Option<[u8; 3]> {
        match (&self.command, self.service) {
            (_, Service::Closed | Service::Failed) => Some(*b"C60"),
            (Some(command), _) if command.mti == Mti::START_COMMAND => Some(*b"C60"),
            (Some(command), _) if command.mti != Mti::LINE_CHECK => Some(*b"C15"),
            (_, Service::Ending) => Some(*b"C15"),
            _ if self.now < self.synchronous_until => Some(*b"C60"),
            _ => None,
        }
    }

    fn request(&mut self, route: u16, mti: Mti, frame: &[u8]) -> Result<(), String> {
        let header = Header::new(frame).map_err(|error| format!("C58: {error}"))?;
        let sequence = header
            .sequence()
            .filter(|n| *n != 0)
            .ok_or("C58: the sequence")?;
        let key = TransactionKey::of(frame).ok_or("C34: no section 1-0")?.0;
        if self.by_hand.contains(&key) {
            return Ok(());
        }
        let turnaround = is_turnaround(mti, data(frame));
        if turnaround && self.busy.contains_key(&route) {
            // The route of a turnaround request is free as soon as nobody waits for it, so a slow session may bring it
            // behind the route's next user. It does no harm: its 8970 fits nothing.
            let mut report = Vec::new();
            report_from(
                frame,
                Mti::ABNORMAL,
                Assigned::NOT_YET,
                *b"C51",
                None,
                &mut report,
            );
            self.send(report);
            return Ok(());
        }
        if let Some(other) = self.busy.get(&route) {
            let other = &self.ledger[*other];
            return Err(format!(
                "C51: request {sequence} on route {route}, which has request {} ({:?})",
                other.sequence, other.state
            ));
        }
        if header.acquirer() != self.company {
            return Err("C53: another company".into());
        }
        let again =
            |entry: &Entry| entry.sequence == sequence && entry.day == header.originator_day();
        if self.ledger.iter().any(again) {
            return Err(format!(
                "5: the centre received sequence {sequence} twice in one cut date"
            ));
        }
        let entry = Entry {
            key,
            sequence,
            day: header.originator_day(),
            request: frame.to_vec(),
            turnaround,
            amount: Section11::of(frame)
                .ok()
                .and_then(|section| section.amount())
                .unwrap_or(0)
                .into(),
            state: State::Processing,
            report: Vec::new(),
            assigned: Assigned::NOT_YET,
        };
        let at = self.ledger.len();
        self.ledger.push(entry);
        self.by_key.insert(key, at);
        self.last_on_route.insert(route, at);
        if !turnaround {
            self.busy.insert(route, at);
        }
        match self.refusal() {
            Some(code) => self.abnormal(at, code, 0),
            None => self.decide(at, mti),
        }
        Ok(())
    }

    /// What becomes of a request that passed every check.
    fn decide(&mut self, at: usize, mti: Mti) {
        let mut dice = self.rng.below(1000);
        let mut falls = |share: u64| {
            let hit = dice < share;
            dice = dice.wrapping_sub(if hit { 0 } else { share });
            hit
        };
        let (refuse, abnormal) = (falls(self.mood.refuse), falls(self.mood.abnormal));
        let (silent, late) = (falls(self.mood.silent), falls(self.mood.late));
        let turnaround = self.ledger[at].turnaround;
        let delay = match late {
            true => self.rng.between(53 * SEC, 75 * SEC),
            false if turnaround => self.rng.between(0, 50 * MS),
            false => *self.rng.pick(&[0, 5 * MS, 300 * MS, 2 * SEC]),
        };
        if abnormal {
            let code = *self
                .rng
                .pick(&[b"C12", b"C13", b"C14", b"C33", b"C50", b"C57"]);
            return self.abnormal(at, *code, delay);
        }
        let (kind, state) = match refuse && !turnaround {
            true => (Kind::Refusal, State::Refused),
            false => (Kind::Approval, State::Approved),
        };
        let answer =
            lookup(mti).and_then(|row| row.answer(kind).or_else(|| row.answers.first().copied()));
        let assigned = self.assign(b'1');
        let entry = &mut self.ledger[at];
        entry.assigned = assigned;
        let mut report = Vec::new();
        if mti == Mti::COUNTER_ENQUIRY {
            counter_report(&entry.request, assigned, &counters(), &mut report);
        } else {
            let (error, approval) = match kind {
                Kind::Refusal => (*b"G54", None),
                _ if turnaround => (NO_ERROR, None),
                _ => (NO_ERROR, Some(*b"0012345")),
            };
            let answer = answer.unwrap_or(Mti::ABNORMAL);
            report_from(
                &entry.request,
                answer,
                assigned,
                error,
                approval,
                &mut report,
            );
        }
        if silent {
            // Processed, and the report never leaves; of a turnaround request nothing stays behind.
            (entry.report, entry.state) = (report, state);
            return;
        }
        self.after(delay, Later::Report(at, report, state));
    }

    fn abnormal(&mut self, at: usize, code: [u8; 3], delay: u64) {
        let assigned = match &code {
            b"C12" | b"C13" | b"C14" | b"C50" => self.assign(b'1'),
            _ => Assigned::NOT_YET,
        };
        let mut report = Vec::new();
        let request = &self.ledger[at].request;
        report_from(request, Mti::ABNORMAL, assigned, code, None, &mut report);
        if delay == 0 {
            return self.deliver(at, report, State::Abnormal);
        }
        self.after(delay, Later::Report(at, report, State::Abnormal));
    }

    /// A report leaves, unless the request was undone meanwhile.
    fn deliver(&mut self, at: usize, report: Vec<u8>, state: State) {
        if self.ledger[at].state != State::Processing {
            return;
        }
        self.ledger[at].state = state;
        self.ledger[at].report.clone_from(&report);
        self.busy.retain(|_, entry| *entry != at);
        if self.rng.chance(self.mood.stray) {
            let stray = self.stray(&report);
            self.send(stray);
        }
        if self.rng.chance(self.mood.twice) {
            let wait = *self.rng.pick(&[0, SEC, 20 * SEC]);
            self.after(wait, Later::Again(report.clone(), self.starts));
        }
        self.send(report);
    }

    /// A report that fits nothing: a wrong sequence, day, key or type, another route, a section cut short.
    fn stray(&mut self, report: &[u8]) -> Vec<u8> {
        let mut stray = report.to_vec();
        // A 4920 carries no section 1-0, so nothing in its data can be told to be wrong.
        let kinds = if &report[43..47] == b"4920" { 4 } else { 7 };
        match self.rng.below(kinds) {
            0 => stray[4] ^= 1,
            1 => stray[53] ^= 1,
            2 => stray[43..47].copy_from_slice(b"0990"),
            3 => stray[2..4].copy_from_slice(b"98"),
            4 => stray[63 + 30] ^= 1,
            5 => stray[43..47].copy_from_slice(b"3450"),
            _ => {
                stray.truncate(63 + 20);
                stray[60..63].copy_from_slice(b"020");
            }
        }
        stray
    }

    /// Something the centre wanted to come back to.
    pub fn later(&mut self, now: u64, what: Later) {
        self.now = now;
        match what {
            Later::Report(at, report, state) => self.deliver(at, report, state),
            Later::Answer(at, frame, start) => {
                // What was under way when the gateway failed is not answered after its restart.
                if start == self.starts {
                    self.busy.retain(|_, entry| *entry != at);
                    self.send(frame);
                }
            }
            Later::Again(frame, start) => {
                if start == self.starts {
                    self.send(frame);
                }
            }
            Later::Inward(route, number) => self.inward_unanswered(route, number),
            Later::Unanswered(number) => self.unanswered(number),
            Later::End => self.end(),
            Later::Start => self.start(),
            Later::Permit(frame) => self.permit(frame),
        }
    }

    /// The gateway is gone, or says that it starts anew: what was under way can never be delivered.
    fn gateway_failed(&mut self) {
        for entry in &mut self.ledger {
            if entry.state == State::Processing {
                entry.state = State::Void;
            }
        }
        self.starts += 1;
        self.busy.clear();
        self.inward.clear();
        self.command = None;
    }

    /// An operator of the gateway purged a route and settles its transaction by telephone: undone, if it ever came.
    pub fn settle_by_hand(&mut self, key: [u8; 24]) {
        self.by_hand.insert(key);
        if let Some(&at) = self.by_key.get(&key) {
            self.ledger[at].state = State::Void;
            self.busy.retain(|_, entry| *entry != at);
        }
    }

    /// Approvals that stand, and their sum.
    #[must_use]
    pub fn totals(&self) -> (u64, u64) {
        let standing = self
            .ledger
            .iter()
            .filter(|e| e.state == State::Approved && !e.turnaround);
        standing.fold((0, 0), |(count, sum), entry| {
            (count + 1, sum + entry.amount)
        })
    }
}

/// Section E of 212 bytes.
fn counters() -> Vec<u8> {
    let mut counters = vec![b'0'; 212];
    counters[211] = b'@';
    counters
}

/// What the centre comes back to, in a word.
#[must_use]
pub fn name(what: &Later) -> &'static str {
    match what {
        Later::Report(..) => "a report is ready",
        Later::Answer(..) => "an answer to a fault message is ready",
        Later::Again(..) => "a second copy leaves",
        Later::Unanswered(_) => "a command's timer is over",
        Later::End => "0910 is due",
        Later::Start => "0010 is due",
        Later::Permit(_) => "0810 is due",
        Later::Inward(..) => "an inward request's timer is over",
    }
}
