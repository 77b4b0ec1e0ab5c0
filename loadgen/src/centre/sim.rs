//! The centre without its sockets: frames in, bytes to send out, timers in between.
//!
//! [`Sim`] knows lines and sessions by position and time by what it is told, so that the event loop in `turn.rs`
//! drives it over TCP and unit tests drive it by hand. Parts: `business.rs` answers requests, `faults.rs` fault commands,
//! `service.rs` opens and closes service, `inward.rs` plays the issuer that asks the gateway, `command.rs` takes orders.

use codec::cafis::field::put_number;
use codec::cafis::frame::{Frame, FrameError, HEADER_LEN};
use codec::cafis::header::{Assigned, Header, HeaderField, set_route, set_sequence, set_trailer};
use codec::cafis::mti::{Mti, lookup};
use codec::cafis::report;
use codec::cafis::section::TransactionKey;

use super::behaviour::{Behaviour, Decision, Effect, Subject};
use super::checks::Code;
use super::config::{CentreConfig, ReportSession};
use super::ledger::{Anomaly, EntryId, Event, Ledger};
use super::line::{Line, Service};
use super::stats::Stats;
use super::timers::{Timer, TimerQueue};

const NS_PER_MS: u64 = 1_000_000;
const SEQUENCE_MAX: u32 = 999_999;
/// Three spaces: no event code.
pub(super) const BLANK: Code = Code(*b"   ");

/// The time, read once a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Nanoseconds since the start.
    pub ns: u64,
    /// Microseconds since 1970.
    pub us: u64,
}

/// What the event loop is asked to do with a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Connect the session.
    Connect(u32),
    /// Send what is queued, then close.
    Close(u32),
}

/// A frame that is on its way to the gateway.
#[derive(Debug)]
pub struct Late {
    /// On which session.
    pub session: u32,
    /// The request it answers.
    pub entry: Option<EntryId>,
    /// Its bytes.
    pub frame: Vec<u8>,
}

/// One connection, up or not.
#[derive(Debug)]
pub struct Session {
    /// Position of its line.
    pub line: u16,
    /// Bytes to be sent.
    pub out: Vec<u8>,
    /// Frames among them.
    pub frames: usize,
    /// When the first of them was queued.
    pub since_ns: u64,
    /// Whether it stands in [`Sim::dirty`].
    pub dirty: bool,
    /// Whether it is connected.
    pub up: bool,
    /// Whether it may say nothing more, because half a frame went out.
    pub mute: bool,
    /// Whether it exceeds the agreed number; such a one is not connected again.
    pub extra: bool,
    /// Failed attempts since it was up last.
    pub failures: u32,
    /// Whether it was ever up.
    pub known: bool,
}

impl Session {
    fn new(line: u16, extra: bool) -> Session {
        Session {
            line,
            out: Vec::with_capacity(4096),
            frames: 0,
            since_ns: 0,
            dirty: false,
            up: false,
            mute: false,
            extra,
            failures: 0,
            known: false,
        }
    }
}

/// How a connection ended, which decides when the next attempt is made (`spec/cafis.md` 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Closed in order, by either side.
    Orderly,
    /// Broken, or the attempt failed.
    Broken,
}

/// How frames are cut for the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cutting {
    /// Bytes of one write at most; 0 for no limit.
    pub split: usize,
    /// Frames that are gathered before they are sent; 0 or 1 for none.
    pub merge: usize,
}

/// How long frames are held back for [`Cutting::merge`] at most.
pub const MERGE_NS_MAX: u64 = 20 * NS_PER_MS;

/// The centre.
pub struct Sim {
    pub(super) config: CentreConfig,
    pub(super) lines: Vec<Line>,
    /// Every connection; the agreed ones first, line by line.
    pub sessions: Vec<Session>,
    pub(super) ledger: Ledger,
    pub(super) behaviour: Behaviour,
    pub(super) timers: TimerQueue,
    pub(super) now: Now,
    pub(super) stats: Stats,
    sequences: [u32; 128],
    pub(super) month_day: [u8; 4],
    /// Where an answer is put together.
    pub(super) scratch: Vec<u8>,
    pool: Vec<Vec<u8>>,
    /// Sessions with bytes to send.
    pub dirty: Vec<u32>,
    /// What the sockets are asked to do.
    pub actions: Vec<Action>,
    /// How frames are cut.
    pub cutting: Cutting,
    /// Whether all sessions were up once.
    pub(super) ready: bool,
    /// Whether the centre is to stop.
    pub quit: bool,
}

impl Sim {
    /// A centre whose sessions are all to be connected at once.
    ///
    /// # Errors
    /// The first rule of the scenario that cannot be put in force.
    pub fn new(config: CentreConfig) -> Result<Sim, super::behaviour::RuleError> {
        let mut sessions = Vec::new();
        let mut lines = Vec::new();
        for (position, line) in config.lines.iter().enumerate() {
            let first = sessions.len() as u32;
            sessions.extend((0..line.sessions).map(|_| Session::new(position as u16, false)));
            lines.push(Line::new(line.clone(), first..sessions.len() as u32));
        }
        let mut behaviour = Behaviour::new(config.seed);
        for spec in &config.scenario.rules {
            let position = |name: &str| config.lines.iter().position(|line| line.name == name);
            behaviour.set(spec.rule(|name| position(name).map(|at| at as u16))?);
        }
        let mut sim = Sim {
            ledger: Ledger::new(lines.len(), config.ledger, config.ledger_capacity),
            actions: (0..sessions.len() as u32).map(Action::Connect).collect(),
            sequences: [config.first_sequence; 128],
            lines,
            sessions,
            behaviour,
            timers: TimerQueue::default(),
            now: Now::default(),
            stats: Stats::default(),
            month_day: *b"0000",
            scratch: Vec::with_capacity(2048),
            pool: Vec::new(),
            dirty: Vec::new(),
            cutting: Cutting::default(),
            ready: false,
            quit: false,
            config,
        };
        sim.read_calendar();
        Ok(sim)
    }

    /// Tells the time of this turn.
    #[inline]
    pub fn set_now(&mut self, now: Now) {
        let another_minute = now.us / 60_000_000 != self.now.us / 60_000_000;
        self.now = now;
        if another_minute {
            self.read_calendar();
        }
    }

    /// The monotonic time of this turn.
    #[inline]
    pub fn now_ns(&self) -> u64 {
        self.now.ns
    }

    /// How long the rest of a frame may take.
    pub fn follow_on_ns(&self) -> u64 {
        self.config.timers.follow_on_ms * NS_PER_MS
    }

    fn read_calendar(&mut self) {
        self.month_day = self
            .config
            .month_day
            .unwrap_or_else(|| japan_month_day(self.now.us));
    }

    /// The book.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// What was counted.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// A session beyond the agreed number.
    pub(super) fn add_extra(&mut self, line: usize) -> u32 {
        self.sessions.push(Session::new(line as u16, true));
        self.sessions.len() as u32 - 1
    }

    /// Names of the lines, in their order.
    pub fn line_names(&self) -> Vec<&str> {
        self.lines
            .iter()
            .map(|line| line.config.name.as_str())
            .collect()
    }

    /// Where a session is to be connected.
    pub fn gateway_of(&self, session: u32) -> std::net::SocketAddr {
        let line = &self.lines[usize::from(self.sessions[session as usize].line)].config;
        line.gateways[session as usize % line.gateways.len()]
    }

    /// Whether all agreed sessions are up.
    pub fn all_up(&self) -> bool {
        self.lines
            .iter()
            .all(|line| line.up >= line.config.sessions)
    }

    /// A session is connected.
    pub fn on_connected(&mut self, session: u32) {
        let state = &mut self.sessions[session as usize];
        (state.up, state.mute, state.known, state.failures) = (true, false, true, 0);
        if state.extra {
            return;
        }
        let line = usize::from(state.line);
        self.lines[line].up += 1;
        if self.lines[line].up == self.lines[line].config.sessions
            && self.config.start_by_centre
            && matches!(self.lines[line].service, Service::Closed | Service::Failed)
        {
            self.start(line);
        }
        if !self.ready && self.all_up() {
            self.ready = true;
            for (at, command) in self.config.scenario.commands.iter().enumerate() {
                self.timers
                    .arm(self.now.ns + command.ms * NS_PER_MS, Timer::Scenario(at));
            }
        }
    }

    /// A session is gone, or an attempt failed. Arms the next attempt.
    pub fn on_closed(&mut self, session: u32, ended: Ended) {
        let timers = self.config.timers;
        let state = &mut self.sessions[session as usize];
        state.out.clear();
        state.frames = 0;
        let was_up = std::mem::take(&mut state.up);
        if state.extra {
            return;
        }
        let delay_ms = match ended {
            Ended::Orderly => timers.reconnect_orderly_ms,
            Ended::Broken if !state.known => timers.reconnect_orderly_ms,
            Ended::Broken if state.failures < timers.reconnect_count => timers.reconnect_ms,
            Ended::Broken => timers.reconnect_slow_ms,
        };
        state.failures += u32::from(ended == Ended::Broken);
        self.timers
            .arm(self.now.ns + delay_ms * NS_PER_MS, Timer::Connect(session));
        if was_up {
            let line = usize::from(state.line);
            self.lines[line].up -= 1;
            if self.lines[line].up == 0 {
                self.partner_failed(line);
            }
        }
    }

    /// A connection cannot go on, because its bytes are no frames.
    pub fn on_framing(&mut self, session: u32, _error: FrameError) {
        let line = self.sessions[session as usize].line;
        self.note(Event {
            at_us: self.now.us,
            line,
            anomaly: Anomaly::Framing,
            mti: 0,
            route: 0,
            sequence: 0,
            code: BLANK,
        });
    }

    /// A frame arrived on a session.
    #[inline]
    pub fn on_frame(&mut self, session: u32, frame: Frame<'_>) {
        self.stats.frames_in += 1;
        let bytes = frame.bytes();
        let Ok(header) = Header::new(bytes) else {
            self.anomaly(session, None, Anomaly::NoSection, BLANK);
            return;
        };
        let decision = self.decide(session, &header, bytes);
        if decision.deaf {
            self.stats.lost += 1;
            return;
        }
        let over_long = matches!(frame, Frame::OverLong(_));
        match header.route() {
            Some(0) => self.control_request(session, bytes, &header, &decision),
            Some(1) => self.control_answer(session, bytes, &header),
            Some(route) if route % 2 == 1 => self.inward_answer(session, route, bytes, &header),
            _ => self.outward(session, bytes, &header, over_long, &decision),
        }
    }

    #[inline]
    fn decide(&mut self, session: u32, header: &Header<'_>, frame: &[u8]) -> Decision {
        if self.behaviour.is_plain() {
            return Decision::default();
        }
        let line = self.sessions[session as usize].line;
        self.behaviour.decide(&Subject {
            line,
            mti: header.mti(),
            key: TransactionKey::of(frame),
        })
    }

    #[inline]
    fn outward(
        &mut self,
        session: u32,
        frame: &[u8],
        header: &Header<'_>,
        over_long: bool,
        decision: &Decision,
    ) {
        match header.mti() {
            mti if is_served(mti) => self.request(session, frame, header, over_long, decision),
            Mti::CANCEL | Mti::CANCEL_AGAIN | Mti::CANCEL_CONFIRM | Mti::CANCEL_CONFIRM_AGAIN => {
                self.fault(session, frame, header, over_long, decision);
            }
            mti if lookup(mti).is_some() => {
                self.anomaly(session, Some(header), Anomaly::WrongRoute, BLANK);
            }
            _ => self.request(session, frame, header, over_long, decision),
        }
    }

    /// Does what is due.
    pub fn on_timers(&mut self) {
        while let Some(timer) = self.timers.pop(self.now.ns) {
            match timer {
                Timer::Connect(session) => self.actions.push(Action::Connect(session)),
                Timer::Issuer { line, slot, token } => {
                    self.issuer_answers(usize::from(line), slot, token)
                }
                Timer::Release(late) => {
                    self.scratch.clear();
                    self.scratch.extend_from_slice(&late.frame);
                    self.recycle(late.frame);
                    self.deliver(late.session, late.entry, &Decision::default());
                }
                Timer::Command { line, generation } => {
                    self.command_expired(usize::from(line), generation)
                }
                Timer::StartAgain { line, generation } => {
                    if self.lines[usize::from(line)].generation == generation {
                        self.start(usize::from(line));
                    }
                }
                Timer::Inward {
                    line,
                    slot,
                    generation,
                } => {
                    self.inward_expired(usize::from(line), slot, generation);
                }
                Timer::Scenario(at) => {
                    let command = self.config.scenario.commands[at].command.clone();
                    let reply = self.command(&command);
                    eprintln!("scenario: {command}: {reply}");
                }
            }
        }
    }

    /// The next deadline.
    pub fn next_ns(&self) -> Option<u64> {
        self.timers.next_ns()
    }

    /// The next number of the centre, with the X1 that says what it is for.
    #[inline]
    pub(super) fn assign(&mut self, line: usize, x1: u8) -> (Assigned, u32) {
        let x2 = self.lines[line].config.x2;
        let next = &mut self.sequences[usize::from(x2 & 0x7f)];
        let number = *next;
        *next = if number >= SEQUENCE_MAX {
            1
        } else {
            number + 1
        };
        let mut centre_seq = [0; 6];
        put_number(&mut centre_seq, number);
        (
            Assigned {
                centre_id: [x1, x2],
                centre_seq,
                month_day: self.month_day,
            },
            number,
        )
    }

    /// Sets the next number of every X2.
    pub(super) fn set_sequences(&mut self, next: u32) {
        self.sequences = [next; 128];
    }

    /// A copy of a frame in memory that is used again.
    pub(super) fn keep(&mut self, frame: &[u8]) -> Vec<u8> {
        let mut buffer = self.pool.pop().unwrap_or_else(|| Vec::with_capacity(1100));
        buffer.clear();
        buffer.extend_from_slice(frame);
        buffer
    }

    /// Gives memory of [`Sim::keep`] back.
    pub(super) fn recycle(&mut self, buffer: Vec<u8>) {
        const POOL_MAX: usize = 4096;
        if self.pool.len() < POOL_MAX {
            self.pool.push(buffer);
        }
    }

    /// Notes something odd about a message on a session.
    pub(super) fn anomaly(
        &mut self,
        session: u32,
        header: Option<&Header<'_>>,
        anomaly: Anomaly,
        code: Code,
    ) {
        let line = self.sessions[session as usize].line;
        self.note(Event {
            at_us: self.now.us,
            line,
            anomaly,
            mti: header.map_or(0, |header| header.mti().0),
            route: header.and_then(Header::route).unwrap_or(0),
            sequence: header.and_then(Header::sequence).unwrap_or(0),
            code,
        });
    }

    pub(super) fn note(&mut self, event: Event) {
        self.stats.anomalies += 1;
        self.ledger.note(event);
    }

    /// Sends the answer in [`Sim::scratch`] as the rules want it.
    #[inline]
    pub(super) fn emit(&mut self, session: u32, entry: Option<EntryId>, decision: &Decision) {
        if decision.silent {
            self.stats.silenced += 1;
        } else if decision.cut {
            self.actions.push(Action::Close(session));
        } else if decision.late_ns > 0 {
            let scratch = std::mem::take(&mut self.scratch);
            let frame = self.keep(&scratch);
            self.scratch = scratch;
            let due = self.now.ns + decision.late_ns;
            self.timers.arm(
                due,
                Timer::Release(Late {
                    session,
                    entry,
                    frame,
                }),
            );
        } else {
            self.deliver(session, entry, decision);
        }
    }

    /// Puts the answer in [`Sim::scratch`] on a session.
    #[inline]
    fn deliver(&mut self, session: u32, entry: Option<EntryId>, decision: &Decision) {
        let other = decision.other_session || self.config.report_session != ReportSession::Same;
        let plain = !other && decision.wire.is_none();
        let state = &self.sessions[session as usize];
        let target = if plain && state.up && !state.mute {
            Some(session)
        } else {
            self.usable(session, other, decision.other_session)
        };
        let Some(target) = target else {
            self.undeliverable(entry);
            return;
        };
        if let Some(entry) = entry.and_then(|id| self.ledger.get_mut(id))
            && entry.report_us == 0
        {
            entry.report_us = self.now.us;
        }
        match decision.wire {
            None => self.push_scratch(target),
            Some(effect) => self.push_spoiled(target, effect),
        }
    }

    /// A session of the same line that can send; round robin, and not `session` itself where there is a choice and
    /// another one is asked for.
    fn usable(&mut self, session: u32, rotate: bool, another: bool) -> Option<u32> {
        let position = usize::from(self.sessions[session as usize].line);
        let can = |at: u32| {
            let state = &self.sessions[at as usize];
            state.up && !state.mute
        };
        if !rotate && can(session) {
            return Some(session);
        }
        let line = &self.lines[position];
        let count = line.sessions.len() as u32;
        let avoid = another || self.config.report_session == ReportSession::Other;
        let mut found = None;
        for step in 1..=count {
            let at = line.sessions.start + (line.turn - line.sessions.start + step) % count;
            if can(at) && (!avoid || at != session || found.is_none()) {
                found = Some(at);
                if !avoid || at != session {
                    break;
                }
            }
        }
        if let Some(at) = found {
            self.lines[position].turn = at;
        }
        found
    }

    /// Sends a frame of the centre's own on any session of a line.
    pub(super) fn push_on_line(&mut self, line: usize, frame: &[u8]) -> bool {
        let first = self.lines[line].sessions.start;
        let Some(target) = self.usable(first, true, false) else {
            return false;
        };
        self.push(target, frame);
        true
    }

    #[inline]
    fn push_scratch(&mut self, target: u32) {
        let scratch = std::mem::take(&mut self.scratch);
        self.push(target, &scratch);
        self.scratch = scratch;
    }

    #[inline]
    pub(super) fn push(&mut self, target: u32, frame: &[u8]) {
        let state = &mut self.sessions[target as usize];
        if state.frames == 0 {
            state.since_ns = self.now.ns;
        }
        state.out.extend_from_slice(frame);
        state.frames += 1;
        if !state.dirty {
            state.dirty = true;
            self.dirty.push(target);
        }
        self.stats.frames_out += 1;
    }

    /// Sends the answer in [`Sim::scratch`] with something wrong about it.
    fn push_spoiled(&mut self, target: u32, effect: Effect) {
        match effect {
            Effect::Duplicate => {
                self.push_scratch(target);
                self.push_scratch(target);
            }
            Effect::WrongSequence => {
                let sequence = Header::new(&self.scratch)
                    .ok()
                    .and_then(|header| header.sequence());
                set_sequence(&mut self.scratch, sequence.unwrap_or(0) % SEQUENCE_MAX + 1);
                self.push_scratch(target);
            }
            Effect::Unmatched => {
                self.push_scratch(target);
                let line = usize::from(self.sessions[target as usize].line);
                let slots = self.lines[line].outward.len();
                let idle = (0..slots)
                    .rev()
                    .find(|&slot| self.lines[line].outward[slot].last.is_none());
                set_route(&mut self.scratch, 2 * idle.unwrap_or(slots - 1) as u16 + 2);
                set_sequence(&mut self.scratch, SEQUENCE_MAX);
                self.push_scratch(target);
            }
            Effect::BadTrailer => {
                let at = HeaderField::Trailer.field().offset;
                self.scratch[at..at + 3].copy_from_slice(b"A12");
                self.push_scratch(target);
            }
            Effect::LongTrailer(length) => {
                self.scratch.resize(HEADER_LEN + usize::from(length), b' ');
                set_trailer(&mut self.scratch, length);
                self.push_scratch(target);
            }
            Effect::HalfFrame(close) => {
                let half = self.scratch.len() / 2;
                self.scratch.truncate(half);
                self.push_scratch(target);
                self.sessions[target as usize].mute = true;
                if close {
                    self.actions.push(Action::Close(target));
                }
            }
            _ => self.push_scratch(target),
        }
    }

    /// Builds an answer in [`Sim::scratch`].
    #[inline]
    pub(super) fn build(
        &mut self,
        frame: &[u8],
        mti: Mti,
        assigned: Assigned,
        error: Code,
        approval: Option<[u8; 7]>,
    ) {
        self.scratch.clear();
        report::report_from(frame, mti, assigned, error.0, approval, &mut self.scratch);
    }
}

/// What the centre answers on an outward route as a request.
#[inline]
pub(super) fn is_served(mti: Mti) -> bool {
    matches!(
        mti,
        Mti::AUTH_REQUEST
            | Mti::SALE_REQUEST
            | Mti::BUSINESS_CANCEL_REQUEST
            | Mti::ENQUIRY_REQUEST
            | Mti::OTHER_REQUEST
            | Mti::LOST_CARD_REQUEST
            | Mti::COUNTER_ENQUIRY
    )
}

/// MMDD in Japan at a time in microseconds since 1970.
pub fn japan_month_day(us: u64) -> [u8; 4] {
    const JAPAN_S: u64 = 9 * 3600;
    // Days to civil date, counted from March so that the leap day comes last.
    let days = (us / 1_000_000 + JAPAN_S) / 86_400 + 719_468;
    let of_era = days % 146_097;
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let mut digits = [0; 4];
    put_number(&mut digits, (month * 100 + day) as u32);
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The date is Japan's: it changes at 15:00 UTC, and leap days exist.
    #[test]
    fn the_date_is_that_of_japan() {
        assert_eq!(&japan_month_day(0), b"0101");
        assert_eq!(&japan_month_day(1_700_000_000_000_000), b"1115"); // 2023-11-14 22:13 UTC
        assert_eq!(&japan_month_day(1_709_132_400_000_000 - 1), b"0228"); // 2024-02-28 14:59:59 UTC
        assert_eq!(
            &japan_month_day(1_709_132_400_000_000 + 86_400_000_000),
            b"0301"
        );
        assert_eq!(&japan_month_day(1_709_132_400_000_000), b"0229");
    }
}
