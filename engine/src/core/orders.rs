//! Orders and questions: system cancel and query by transaction key, and what operators and applications ask of a line.

use super::date::{date_of, next_day};
use super::line::Recovery;
use super::service::{Orders, Service};
use super::tx::{Cause, NO_TX, Outcome, Phase, Waiter};
use super::{Core, Gate, LineNo, LinkId, Notice, Order, Output, Timer, fact};
use codec::cafis::mti::Mti;
use codec::link::message::{self, State, Status, TransactionState};
use codec::link::{Head, Kind as Frames, rc};

/// What came of a search of the journal for a key that it knows, or may know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// The newest transaction of the key.
    Past(Past<'a>),
    /// The journal could not be read: nobody knows whether there is one.
    Unreadable,
}

/// What the journal holds of a transaction that the core has forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Past<'a> {
    /// Transaction id.
    pub tx: u64,
    /// Trace id.
    pub trace: u64,
    /// How it ended; `Outcome::None` if no end is on record.
    pub outcome: Outcome,
    /// Flags of the request.
    pub flags: u16,
    /// Originator sequence.
    pub sequence: u32,
    /// Cut date of the sequence.
    pub cut_date: u32,
    /// Token of the API session.
    pub api: [u8; 16],
    /// Client request id.
    pub request: u64,
    /// The fault message sent last, 0 if there was none.
    pub fault: u16,
    /// The request as a fault image.
    pub image: &'a [u8],
    /// The masked report, empty if there was none.
    pub report: &'a [u8],
}

/// A system cancel reaches back this many cut dates (spec/fexics.md 4.5).
pub const CANCEL_DAYS: u32 = 3;
/// Searches of the journal under way.
const LOOKUPS: usize = 64;

/// What a search of the journal is for.
#[derive(Clone, Copy)]
struct Lookup {
    waiter: Waiter,
    line: LineNo,
    cancel: bool,
}

/// The searches of the journal under way; the cookie is the place.
pub(super) struct Lookups([Option<Lookup>; LOOKUPS]);

impl Lookups {
    pub(super) fn new() -> Lookups {
        Lookups([None; LOOKUPS])
    }

    /// Searches under way.
    pub(super) fn count(&self) -> usize {
        self.0.iter().flatten().count()
    }
}

/// How far an orderly stop is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shutdown {
    No,
    /// Lines are signing off.
    Draining,
    /// The last record is written.
    Stopped,
}

impl Shutdown {
    pub(super) fn is_on(self) -> bool {
        self != Shutdown::No
    }
}

fn waiter_of(link: LinkId, head: &Head) -> Waiter {
    Waiter {
        link,
        session: head.session,
        request: head.request,
    }
}

impl Core {
    /// CANCEL: settle this transaction at the centre (spec/cafis.md 8.1 D).
    pub(super) fn cancel<O: Output>(
        &mut self,
        link: LinkId,
        line: LineNo,
        head: &Head,
        key: [u8; 24],
        out: &mut O,
    ) {
        let waiter = waiter_of(link, head);
        if self.line(line).sessions.count() == 0 {
            return self.done(waiter, rc::ERR_ALL_CENTER_SESSION, out);
        }
        if !self.line(line).faults_may_go() {
            return self.done(waiter, rc::PKG_IS_SIGNOFF_OR_SWITCHING, out);
        }
        if let Some(index) = self.txs.find(line, &key) {
            return self.cancel_open(index, waiter, out);
        }
        match self.recent.by_key(line, &key).map(|old| old.outcome) {
            Some(
                Outcome::Cancelled | Outcome::NotProcessed | Outcome::NotSent | Outcome::Unanswered,
            ) => {
                self.done(waiter, rc::OK, out);
            }
            _ => self.look_up(line, waiter, key, true, out),
        }
    }

    fn cancel_open<O: Output>(&mut self, index: u32, waiter: Waiter, out: &mut O) {
        let tx = &self.txs[index];
        let (phase, fault, turnaround, line) = (tx.phase, tx.fault, tx.turnaround(), tx.line);
        if turnaround && !tx.in_cascade() {
            // No fault message may follow it, and the centre keeps nothing of it: there is nothing to undo.
            return self.done(waiter, rc::NG, out);
        }
        match phase {
            Phase::Buffered => {
                self.refuse_unsent(index, rc::TIME_OUT, Gate::Durable, out);
                return self.done(waiter, rc::OK, out);
            }
            Phase::Reported if !self.txs[index].has_report() => {
                self.end_request(index, out);
                self.settle_undelivered(index, Cause::Ordered, out);
                return self.done(waiter, rc::OK, out);
            }
            _ => {}
        }
        let Some(place) = self.txs[index]
            .waiters
            .iter_mut()
            .find(|place| place.is_none())
        else {
            return self.done(waiter, rc::USE_SESSION_ID, out);
        };
        *place = Some(waiter);
        match phase {
            Phase::Accepted | Phase::Sent => {
                self.end_request(index, out);
                self.start_cascade(index, 8930, Cause::Ordered, out);
            }
            Phase::Reported => {
                self.end_request(index, out);
                self.txs[index].given_up = true;
                self.start_cascade(index, 8910, Cause::Ordered, out);
            }
            // It waits for a route.
            Phase::Held
                if self.txs[index].route == 0 && !self.line(line).cancel_queue.is_empty() =>
            {
                self.bound_route_wait(index);
            }
            Phase::Held | Phase::Escalated => self.activate(index, fault, Cause::Ordered, out),
            // A cascade that runs is joined.
            Phase::FaultSent | Phase::FaultDelay | Phase::Free | Phase::Buffered => {}
        }
    }

    fn look_up<O: Output>(
        &mut self,
        line: LineNo,
        waiter: Waiter,
        key: [u8; 24],
        cancel: bool,
        out: &mut O,
    ) {
        let Some(cookie) = self.lookups.0.iter().position(Option::is_none) else {
            return self.done(waiter, rc::ERR_CENTER_BUSY, out);
        };
        self.lookups.0[cookie] = Some(Lookup {
            waiter,
            line,
            cancel,
        });
        out.order(Order::Lookup {
            cookie: cookie as u32,
            line: self.line_id(line),
            key,
        });
    }

    /// The journal was searched.
    pub(super) fn looked_up<O: Output>(
        &mut self,
        cookie: u32,
        found: Option<Found<'_>>,
        out: &mut O,
    ) {
        let Some(Lookup {
            waiter,
            line,
            cancel,
        }) = self
            .lookups
            .0
            .get_mut(cookie as usize)
            .and_then(Option::take)
        else {
            return;
        };
        let found = match found {
            Some(Found::Past(past)) => Ok(past),
            Some(Found::Unreadable) => Err(rc::ERR_JOURNAL),
            None => Err(rc::ERR_SEARCHJOURNAL),
        };
        if !cancel {
            return self.state_frame(waiter, found.map(|found| state_of(&found)), out);
        }
        let found = match found {
            Ok(found) => found,
            Err(code) => return self.done(waiter, code, out),
        };
        // Another order may have brought it back, or even settled it, while the journal was searched.
        if let Some(key) = codec::cafis::section::TransactionKey::of(found.image) {
            let open = self.txs.find(line, &key.0);
            if let Some(index) = open.filter(|index| self.txs[*index].id == found.tx) {
                return self.cancel_open(index, waiter, out);
            }
            let newer = self.recent.by_key(line, &key.0);
            if newer.is_some_and(|old| old.id == found.tx && old.outcome == Outcome::Cancelled) {
                return self.done(waiter, rc::OK, out);
            }
        }
        match found.outcome {
            Outcome::Delivered | Outcome::Unresolved | Outcome::Purged => {
                self.cancel_settled(line, waiter, &found, out)
            }
            Outcome::None => self.done(waiter, rc::ERR_SEARCHJOURNAL, out),
            Outcome::Cancelled | Outcome::NotProcessed | Outcome::NotSent | Outcome::Unanswered => {
                self.done(waiter, rc::OK, out);
            }
        }
    }

    /// Cancels a transaction that was settled: it is brought back from the journal first.
    fn cancel_settled<O: Output>(
        &mut self,
        line: LineNo,
        waiter: Waiter,
        found: &Past<'_>,
        out: &mut O,
    ) {
        let mut limit = found.cut_date;
        (0..CANCEL_DAYS).for_each(|_| limit = next_day(limit));
        if self.line(line).sequences.cut_date > limit {
            return self.done(waiter, rc::ERR_SEARCHJOURNAL, out);
        }
        let image = codec::cafis::header::Header::new(found.image);
        let abnormal = codec::cafis::header::Header::new(found.report)
            .is_ok_and(|report| report.mti() == Mti::ABNORMAL);
        if abnormal {
            return self.done(waiter, rc::OK, out);
        }
        if found.flags & super::tx::FLAG_TURNAROUND != 0 {
            return self.done(waiter, rc::NG, out);
        }
        let next = match (found.fault, found.report.is_empty()) {
            (0, true) => 8930,
            (0, false) => 8910,
            (fault, _) => super::cascade::successor(fault),
        };
        let original = image.ok().and_then(|header| header.route()).unwrap_or(0);
        let confirm = next == 8930 || next == 8940;
        if confirm && !self.line(line).routes.is_free(original) {
            return self.done(waiter, rc::ROUTE_BUSY, out);
        }
        let Some(index) = self.txs.take(found.tx, line) else {
            return self.done(waiter, rc::ERROR_DAEMON, out);
        };
        self.txs[index].trace = found.trace;
        let open = fact::Open {
            phase: Phase::Held as u8,
            cause: Cause::Ordered as u8,
            congested: 0,
            route: if confirm { original } else { 0 },
            flags: found.flags,
            fault: next,
            sends: 0,
            sequence: found.sequence,
            cut_date: found.cut_date,
            api: found.api,
            request: found.request,
            image: found.image,
            report: found.report,
        };
        self.commit(line, index, open, out);
        // Its number may lie ahead of the last one given out.
        self.find_ahead(line);
        self.txs[index].given_up = true;
        self.txs[index].waiters[0] = Some(waiter);
        self.activate(index, next, Cause::Ordered, out);
    }

    /// QUERY: where a transaction stands.
    pub(super) fn query<O: Output>(
        &mut self,
        link: LinkId,
        line: LineNo,
        head: &Head,
        key: [u8; 24],
        out: &mut O,
    ) {
        let waiter = waiter_of(link, head);
        if let Some(index) = self.txs.find(line, &key) {
            let tx = &self.txs[index];
            let state = match tx.phase {
                Phase::Reported => TransactionState::Reported,
                Phase::Escalated => TransactionState::Escalated,
                _ if tx.in_cascade() => TransactionState::Cancelling,
                _ => TransactionState::Open,
            };
            let state = State {
                state,
                transaction: tx.id,
                request_mti: Mti(tx.mti).digits(),
                report_mti: Mti(tx.report_mti).digits(),
            };
            return self.state_frame(waiter, Ok(state), out);
        }
        match self.recent.by_key(line, &key) {
            Some(old) => {
                let state = State {
                    state: outcome_state(old.outcome),
                    transaction: old.id,
                    request_mti: Mti(old.mti).digits(),
                    report_mti: Mti(old.report_mti).digits(),
                };
                self.state_frame(waiter, Ok(state), out);
            }
            None => self.look_up(line, waiter, key, false, out),
        }
    }

    /// STATE: where the transaction stands, or the code that says why nothing is known of it.
    fn state_frame<O: Output>(&mut self, waiter: Waiter, state: Result<State, u16>, out: &mut O) {
        let unknown = State {
            state: TransactionState::Unknown,
            transaction: 0,
            request_mti: *b"0000",
            report_mti: *b"0000",
        };
        let code = state.err().unwrap_or(rc::OK);
        let head = Head {
            code,
            session: waiter.session,
            request: waiter.request,
            ..Head::new(Frames::State)
        };
        out.link(
            waiter.link,
            Gate::Durable,
            &head,
            [&state.unwrap_or(unknown).encode(), &[]],
        );
    }

    /// CONTROL: what an operator or application asks of a line.
    pub(super) fn control_order<O: Output>(
        &mut self,
        link: LinkId,
        line: LineNo,
        head: &Head,
        order: message::Order,
        route: u16,
        out: &mut O,
    ) {
        use message::Order::{Connect, CutOver, CutRequest, Disconnect, Purge, SignOff, SignOn};
        let waiter = waiter_of(link, head);
        match order {
            message::Order::Status => self.status(line, waiter, out),
            Connect => self.connect(line, waiter, out),
            Disconnect => self.disconnect(line, waiter, out),
            SignOn => {
                let code = self.force_sign_on(line, out);
                self.done(waiter, code, out);
            }
            SignOff => {
                if matches!(self.line(line).service, Service::Closed | Service::Down) {
                    return self.done(waiter, rc::OK, out);
                }
                self.stop_control_timer(line);
                self.hold_all(line, Cause::ServiceEnd, out);
                let down = self.line(line).sessions.count() == 0;
                self.set_service(
                    line,
                    if down { Service::Down } else { Service::Closed },
                    out,
                );
                self.answer_orders(line, Orders::SignOn, rc::NG, out);
                self.answer_orders(line, Orders::SignOff, rc::OK, out);
                self.done(waiter, rc::OK, out);
            }
            message::Order::Shutdown => self.shut_down(waiter, out),
            message::Order::ShutdownForce => {
                self.done(waiter, rc::OK, out);
                self.shutdown = Shutdown::Stopped;
                out.order(Order::Stop { clean: false });
            }
            message::Order::Recovery => self.recovery_order(line, waiter, out),
            CutRequest | CutOver => {
                self.cut_over(line, order == CutOver, out);
                self.done(waiter, rc::OK, out);
            }
            Purge => {
                let code = self.purge(line, route, out);
                self.done(waiter, code, out);
            }
        }
    }

    fn status<O: Output>(&mut self, line: LineNo, waiter: Waiter, out: &mut O) {
        let others = self
            .apis
            .slots
            .iter()
            .filter(|api| api.open && api.line == line && api.link != Some(waiter.link));
        let api_sessions = others.count() as u32;
        let state = self.line(line);
        let status = Status {
            service: state.service as u8,
            recovering: state.recovery == Recovery::Running,
            cut_date: state.sequences.cut_date,
            sessions: state.sessions.count() as u16,
            sessions_contracted: state.cfg.accept_count,
            api_sessions,
            routes: state.cfg.route_count,
            routes_busy: state.routes.busy(),
            routes_held: state.routes.held,
            escalated: state.escalated as u16,
            sequence: state.sequences.last(),
        };
        self.scratch.clear();
        status.encode(&mut self.scratch);
        let head = Head {
            session: waiter.session,
            request: waiter.request,
            ..Head::new(Frames::Status)
        };
        out.link(waiter.link, Gate::Durable, &head, [&self.scratch, &[]]);
    }

    fn connect<O: Output>(&mut self, line: LineNo, waiter: Waiter, out: &mut O) {
        if self.line(line).sessions.count() == 0 {
            return self.done(waiter, rc::ERR_ALL_CENTER_SESSION, out);
        }
        let switching = matches!(
            self.line(line).service,
            Service::Starting | Service::HeldSend | Service::PreEnd | Service::Ending
        );
        if switching || self.line(line).recovery == Recovery::Running || self.shutdown.is_on() {
            return self.done(waiter, rc::PKG_IS_SIGNOFF_OR_SWITCHING, out);
        }
        self.enlist(line, Orders::SignOn, waiter, out);
        self.sign_on(line, out);
    }

    fn disconnect<O: Output>(&mut self, line: LineNo, waiter: Waiter, out: &mut O) {
        if self.line(line).sessions.count() == 0 {
            return self.done(waiter, rc::ERR_ALL_CENTER_SESSION, out);
        }
        if self.line(line).service != Service::Open || self.line(line).recovery == Recovery::Running
        {
            return self.done(waiter, rc::PKG_IS_SIGNOFF_OR_SWITCHING, out);
        }
        self.enlist(line, Orders::SignOff, waiter, out);
        self.sign_off(line, out);
    }

    /// State only, no telegram (FX_CtrlSignOn); used when the centre already regards the line as open.
    fn force_sign_on<O: Output>(&mut self, line: LineNo, out: &mut O) -> u16 {
        match self.line(line).service {
            Service::Open | Service::HeldSend => {}
            _ => {
                // A sign-off under way has come to nothing.
                self.answer_orders(line, Orders::SignOff, rc::NG, out);
                self.opened(line, out);
            }
        }
        rc::OK
    }

    fn recovery_order<O: Output>(&mut self, line: LineNo, waiter: Waiter, out: &mut O) {
        let ready = self.grace_over;
        let state = self.line(line);
        let code = match state.service {
            _ if state.sessions.count() == 0 => rc::ERR_ALL_CENTER_SESSION,
            // A run in progress is joined, and given what waits for an order: that may hold the routes it needs.
            Service::Open if ready => rc::OK,
            _ => rc::PKG_IS_SIGNOFF_OR_SWITCHING,
        };
        if code != rc::OK {
            return self.done(waiter, code, out);
        }
        self.enlist(line, Orders::Recovery, waiter, out);
        if self.run_recovery(line, out) {
            self.recovery_progress(line, out);
        } else {
            self.answer_orders(line, Orders::Recovery, rc::OK, out);
        }
    }

    /// The cut date by the rule of spec/fexics.md 2.6, or set to the system date.
    fn cut_over<O: Output>(&mut self, line: LineNo, to_system_date: bool, out: &mut O) {
        let system = date_of(self.now.wall_ns);
        let old = self.line(line).sequences.cut_date;
        let date = match old.cmp(&system) {
            _ if to_system_date => system,
            std::cmp::Ordering::Less => system,
            std::cmp::Ordering::Equal => next_day(system),
            std::cmp::Ordering::Greater => old,
        };
        if date != old {
            self.commit(line, NO_TX, fact::CutDateSet { date }, out);
            out.notice(self.line_id(line), Notice::CutDate { old, new: date });
        }
    }

    /// Frees a route by force; what was on it stays unresolved at the centre.
    fn purge<O: Output>(&mut self, line: LineNo, route: u16, out: &mut O) -> u16 {
        let Some(index) = self
            .line(line)
            .routes
            .get(route)
            .map(|place| place.tx)
            .filter(|tx| *tx != NO_TX)
        else {
            return rc::INVALID_PARAM;
        };
        let (id, waiters) = (self.txs[index].id, self.txs[index].waiters);
        self.end_request(index, out);
        self.commit(
            line,
            index,
            fact::Ended {
                outcome: Outcome::Purged as u8,
            },
            out,
        );
        out.notice(
            self.line_id(line),
            Notice::Settled {
                tx: id,
                outcome: Outcome::Purged,
            },
        );
        for waiter in waiters.into_iter().flatten() {
            self.done(waiter, rc::NG, out);
        }
        self.recovery_progress(line, out);
        self.route_freed(line, out);
        rc::OK
    }

    fn shut_down<O: Output>(&mut self, waiter: Waiter, out: &mut O) {
        let off = |service| matches!(service, Service::Down | Service::Closed | Service::Failed);
        if !self.lines.iter().all(|line| off(line.service)) {
            return self.done(waiter, rc::PKG_IS_NOT_SIGNOFF, out);
        }
        self.done(waiter, rc::OK, out);
        self.stop(out);
    }

    /// The operating system asks for a stop: sign off, then stop.
    pub(super) fn terminate<O: Output>(&mut self, out: &mut O) {
        if self.shutdown.is_on() {
            return;
        }
        self.shutdown = Shutdown::Draining;
        self.wheel
            .arm(self.now.mono_ns + self.cfg.drain_ns, Timer::Drain.pack());
        for at in 0..self.lines.len() {
            let line = LineNo(at as u16);
            if matches!(self.line(line).service, Service::Open | Service::HeldSend) {
                self.sign_off(line, out);
            }
        }
        self.line_ended(out);
    }

    /// A line has closed: the stop goes on when it was the last.
    pub(super) fn line_ended<O: Output>(&mut self, out: &mut O) {
        let off = |service| {
            matches!(
                service,
                Service::Down | Service::Closed | Service::Failed | Service::Starting
            )
        };
        if self.shutdown == Shutdown::Draining && self.lines.iter().all(|line| off(line.service)) {
            self.stop(out);
        }
    }

    /// The drain took too long: what is outstanding is held, as if the centre had answered.
    pub(super) fn drained<O: Output>(&mut self, out: &mut O) {
        if self.shutdown == Shutdown::Draining {
            self.stop(out);
        }
    }

    /// Everything that is open becomes a hold; then the last record.
    fn stop<O: Output>(&mut self, out: &mut O) {
        for at in 0..self.lines.len() {
            let line = LineNo(at as u16);
            self.hold_all(line, Cause::ServiceEnd, out);
            let state = Service::Closed;
            self.commit(line, NO_TX, fact::Service { state: state as u8 }, out);
            while let Some(index) = self.oldest(line, |tx| tx.phase == Phase::Reported) {
                self.end_request(index, out);
                self.settle_undelivered(index, Cause::ServiceEnd, out);
            }
        }
        self.shutdown = Shutdown::Stopped;
        self.commit_shard(
            fact::Stopped {
                boot: self.cfg.boot,
            },
            out,
        );
        out.order(Order::Stop { clean: true });
    }
}

/// The state that a settled transaction shows.
fn outcome_state(outcome: Outcome) -> TransactionState {
    match outcome {
        Outcome::None => TransactionState::Open,
        Outcome::Delivered => TransactionState::Delivered,
        Outcome::Cancelled => TransactionState::Cancelled,
        Outcome::NotProcessed => TransactionState::NotProcessed,
        Outcome::NotSent => TransactionState::NotSent,
        Outcome::Unanswered => TransactionState::Unanswered,
        Outcome::Unresolved | Outcome::Purged => TransactionState::Escalated,
    }
}

fn state_of(found: &Past<'_>) -> State {
    let mti = |frame: &[u8]| {
        codec::cafis::header::Header::new(frame).map_or(*b"0000", |header| header.mti().digits())
    };
    State {
        state: outcome_state(found.outcome),
        transaction: found.tx,
        request_mti: mti(found.image),
        report_mti: mti(found.report),
    }
}
