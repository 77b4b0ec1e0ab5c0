//! Service state and control telegrams: sign-on, sign-off, and what the centre starts and ends.
//!
//! The two tables are spec/cafis.md 9.3 (what to do with a telegram while something of ours is outstanding) and
//! the state changes of 5.9; where they differ the first decides.

use super::line::Line;
use super::tx::{Cause, NO_TX, Waiter, byte_enum};
use super::{CentreSend, Core, LineNo, Notice, Order, Output, SessionId, Timer};
use super::{fact, wheel::TimerId};
use codec::cafis::control::{self, GatewayControl};
use codec::cafis::mti::Mti;
use codec::link::rc;

byte_enum! {
    /// A line's service state (spec/cafis.md 5.9).
    Service {
        /// No session.
        Down = 0,
        /// Sessions are up, service is closed.
        Closed = 1,
        /// 7020 is sent.
        Starting = 2,
        /// Open; held fault messages go out first.
        HeldSend = 3,
        /// Open.
        Open = 4,
        /// The centre announced the end.
        PreEnd = 5,
        /// 0720 is sent.
        Ending = 6,
        /// The centre failed: all sessions were lost while service was open.
        Failed = 7,
    }
}

/// What of ours is outstanding: the rows of spec/cafis.md 9.3 that a state selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// 7020.
    SignOn,
    /// 0720.
    SignOff,
    /// Requests or fault messages, or nothing.
    Reports,
    /// The centre failed.
    CentreFailed,
    /// Service is closed.
    Closed,
}

/// What comes from the centre by itself: the columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// 0010.
    Start,
    /// A general request.
    Request,
    /// 0610.
    EndNotice,
    /// 0910.
    End,
    /// 9210.
    LineCheck,
    /// 8910, 8920, 8930, 8940.
    Fault,
    /// A report to one of ours.
    Report,
    /// 4110.
    Counter,
}

/// What to do with it: the numbers of the table, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Answer, and go on waiting.
    Answer,
    /// Answer, and follow the end procedure.
    FollowEnd,
    /// Answer, and service is open.
    OpenAtOnce,
    /// Drop it.
    Drop,
    /// A valid report.
    Accept,
    /// Answer, and hold what is outstanding: it will not be answered any more.
    AnswerAndHold,
}

/// spec/cafis.md 9.3, in the order of [`Incoming`].
const ACTIONS: [(Waiting, [Action; 8]); 5] = {
    use Action::{
        Accept as P, Answer as A, AnswerAndHold as H, Drop as D, FollowEnd as E, OpenAtOnce as O,
    };
    [
        (Waiting::SignOn, [O, D, E, E, A, D, D, A]),
        (Waiting::SignOff, [A, A, E, E, A, A, P, A]),
        (Waiting::Reports, [A, A, A, E, A, A, P, H]),
        (Waiting::CentreFailed, [O, D, E, E, A, D, D, D]),
        (Waiting::Closed, [O, D, D, D, D, D, D, D]),
    ]
};

impl Service {
    /// The row of the table.
    #[must_use]
    pub fn waiting(self) -> Waiting {
        match self {
            Service::Starting => Waiting::SignOn,
            Service::Ending => Waiting::SignOff,
            Service::HeldSend | Service::Open | Service::PreEnd => Waiting::Reports,
            Service::Failed => Waiting::CentreFailed,
            Service::Down | Service::Closed => Waiting::Closed,
        }
    }

    /// What to do with a telegram that the centre sends by itself.
    #[must_use]
    pub fn action(self, incoming: Incoming) -> Action {
        let waiting = self.waiting();
        let row = ACTIONS.iter().find(|(row, _)| *row == waiting);
        row.map_or(Action::Drop, |(_, actions)| actions[incoming as usize])
    }
}

impl Core {
    pub(super) fn line(&mut self, line: LineNo) -> &mut Line {
        &mut self.lines[usize::from(line.0)]
    }

    /// Changes the state, on record; events 44 and 45 go to the applications.
    pub(super) fn set_service<O: Output>(&mut self, line: LineNo, to: Service, out: &mut O) {
        let from = self.line(line).service;
        if from == to {
            return;
        }
        self.commit(line, NO_TX, fact::Service { state: to as u8 }, out);
        out.notice(self.lines[usize::from(line.0)].cfg.id, Notice::Service(to));
        let on = |service: Service| matches!(service, Service::HeldSend | Service::Open);
        let off = |service: Service| matches!(service, Service::Closed | Service::Down);
        if on(to) && !on(from) && from != Service::PreEnd {
            self.broadcast(line, 44, &[], out);
        } else if off(to) && !off(from) && from != Service::Starting {
            self.broadcast(line, 45, &[], out);
        }
    }

    /// The centre connected: one session too many closes all (spec/cafis.md 5.1.5).
    pub(super) fn session_up<O: Output>(&mut self, line: LineNo, session: SessionId, out: &mut O) {
        let state = self.line(line);
        state.sessions.add(session);
        let (up, contracted, id) = (
            state.sessions.count() as u16,
            state.cfg.accept_count,
            state.cfg.id,
        );
        if up > contracted {
            out.notice(id, Notice::ExcessSession);
            for session in state.sessions.drain().into_iter().flatten() {
                out.order(Order::CloseSession(session));
            }
            self.sessions_lost(line, out);
            return;
        }
        out.notice(id, Notice::Sessions { up, contracted });
        if state.service == Service::Down {
            self.set_service(line, Service::Closed, out);
        }
        self.check_session(line, session, out);
        if up < contracted {
            return self.arm_sign_on(line);
        }
        self.broadcast(line, 41, &[], out);
        let stopping = self.shutdown.is_on();
        let state = self.line(line);
        match state.service {
            Service::Closed | Service::Failed if state.cfg.sign_on && !stopping => {
                self.sign_on(line, out)
            }
            Service::Open => self.send_held(line, out),
            _ => {}
        }
    }

    /// A centre session is gone.
    pub(super) fn session_down<O: Output>(
        &mut self,
        line: LineNo,
        session: SessionId,
        out: &mut O,
    ) {
        let state = self.line(line);
        if !state.sessions.remove(session) {
            return;
        }
        let (up, contracted, id) = (
            state.sessions.count() as u16,
            state.cfg.accept_count,
            state.cfg.id,
        );
        out.notice(id, Notice::Sessions { up, contracted });
        match up {
            0 => self.sessions_lost(line, out),
            _ => self.broadcast(line, 42, &[], out),
        }
    }

    /// All sessions are gone: the partner failed (spec/cafis.md 5.6).
    fn sessions_lost<O: Output>(&mut self, line: LineNo, out: &mut O) {
        self.broadcast(line, 43, &[], out);
        let service = self.line(line).service;
        let pending = service == Service::Starting;
        self.stop_control_timer(line);
        match service {
            Service::Down | Service::Failed => {}
            Service::Closed => self.set_service(line, Service::Down, out),
            _ => {
                self.hold_all(line, Cause::CentreLost, out);
                self.set_service(line, Service::Failed, out);
            }
        }
        if pending {
            self.answer_orders(line, Orders::SignOn, rc::ERR_ALL_CENTER_SESSION, out);
        }
        if service == Service::Ending {
            self.answer_orders(line, Orders::SignOff, rc::ERR_ALL_CENTER_SESSION, out);
            self.line_ended(out);
        }
    }

    /// Sends 7020; what was open before is held first, since 7020 resets it at the centre.
    pub(super) fn sign_on<O: Output>(&mut self, line: LineNo, out: &mut O) {
        let state = self.line(line);
        if state.sessions.count() == 0 || state.service == Service::Starting {
            return;
        }
        let (company, t34_ns) = (state.cfg.company, state.cfg.t34_ns);
        if !matches!(state.service, Service::Closed | Service::Failed) {
            self.hold_all(line, Cause::NotOpen, out);
        }
        self.stop_sign_on_timer(line);
        self.set_service(line, Service::Starting, out);
        self.control(line, GatewayControl::SignOn, company, out);
        self.arm_control_timer(line, t34_ns);
    }

    /// Sends 0720 (spec/cafis.md 5.4).
    pub(super) fn sign_off<O: Output>(&mut self, line: LineNo, out: &mut O) {
        let (company, t35_ns) = (self.line(line).cfg.company, self.line(line).cfg.t35_ns);
        self.refuse_buffered(line, rc::PKG_IS_SIGNOFF_OR_SWITCHING, out);
        self.set_service(line, Service::Ending, out);
        self.control(line, GatewayControl::SignOff, company, out);
        self.arm_control_timer(line, t35_ns);
    }

    fn control<O: Output>(
        &mut self,
        line: LineNo,
        what: GatewayControl,
        company: [u8; 11],
        out: &mut O,
    ) {
        self.scratch.clear();
        what.write(company, &mut self.scratch);
        out.centre(
            CentreSend {
                line,
                session: None,
                tx: None,
            },
            &self.scratch,
        );
    }

    fn arm_control_timer(&mut self, line: LineNo, wait_ns: u64) {
        self.stop_control_timer(line);
        let timer = self
            .wheel
            .arm(self.now.mono_ns + wait_ns, Timer::Control(line).pack());
        self.line(line).control_timer = timer;
    }

    pub(super) fn stop_control_timer(&mut self, line: LineNo) {
        let timer = std::mem::replace(&mut self.line(line).control_timer, TimerId::NONE);
        self.wheel.cancel(timer);
    }

    /// Starts t36 if the line signs on by itself.
    fn arm_sign_on(&mut self, line: LineNo) {
        let stopping = self.shutdown.is_on();
        let state = self.line(line);
        if !state.cfg.sign_on || stopping {
            return;
        }
        let (old, wait_ns) = (state.sign_on_timer, state.cfg.t36_ns);
        self.wheel.cancel(old);
        let timer = self
            .wheel
            .arm(self.now.mono_ns + wait_ns, Timer::SignOn(line).pack());
        self.line(line).sign_on_timer = timer;
    }

    /// No sign-on by itself is due any more: one is under way, or service is open. A timer of before must not undo a sign-off.
    fn stop_sign_on_timer(&mut self, line: LineNo) {
        let timer = std::mem::replace(&mut self.line(line).sign_on_timer, TimerId::NONE);
        self.wheel.cancel(timer);
    }

    /// t36: sign on with the sessions that are there.
    pub(super) fn sign_on_timer<O: Output>(&mut self, line: LineNo, out: &mut O) {
        if matches!(self.line(line).service, Service::Closed | Service::Failed)
            && !self.shutdown.is_on()
        {
            self.sign_on(line, out);
        }
    }

    /// t34 or t35 expired.
    pub(super) fn control_timer<O: Output>(&mut self, line: LineNo, out: &mut O) {
        match self.line(line).service {
            Service::Starting => {
                out.notice(self.line(line).cfg.id, Notice::SignOnTimeout);
                self.set_service(line, Service::Closed, out);
                self.answer_orders(line, Orders::SignOn, rc::TIME_OUT, out);
                self.arm_sign_on(line);
            }
            Service::Ending => {
                self.close(line, out);
            }
            _ => {}
        }
    }

    /// Service is open: held messages go out, then business is taken (spec/cafis.md 5.2.3, 5.2.4).
    pub(super) fn opened<O: Output>(&mut self, line: LineNo, out: &mut O) {
        self.stop_control_timer(line);
        self.stop_sign_on_timer(line);
        let opened_ns = self.now.mono_ns;
        self.line(line).opened_ns = opened_ns;
        self.set_service(line, Service::HeldSend, out);
        self.send_held(line, out);
        self.answer_orders(line, Orders::SignOn, rc::OK, out);
    }

    /// Service ends: what is outstanding is held.
    fn close<O: Output>(&mut self, line: LineNo, out: &mut O) {
        self.stop_control_timer(line);
        self.hold_all(line, Cause::ServiceEnd, out);
        let pending_sign_on = self.line(line).service == Service::Starting;
        self.set_service(line, Service::Closed, out);
        self.answer_orders(line, Orders::SignOff, rc::OK, out);
        if pending_sign_on {
            self.answer_orders(line, Orders::SignOn, rc::NG, out);
        }
        self.line_ended(out);
    }

    /// A control telegram of the centre, or its answer to one of ours.
    pub(super) fn control_telegram<O: Output>(
        &mut self,
        line: LineNo,
        session: SessionId,
        mti: Mti,
        frame: &[u8],
        out: &mut O,
    ) -> bool {
        let service = self.line(line).service;
        let incoming = match mti {
            Mti::SIGN_ON_PERMITTED => {
                // After a crossing start the permission is late and dropped silently (spec/cafis.md 5.3.3).
                if service == Service::Starting {
                    self.opened(line, out);
                }
                return true;
            }
            Mti::SIGN_OFF_PERMITTED => {
                if service != Service::Ending {
                    return false;
                }
                self.close(line, out);
                return true;
            }
            Mti::LINE_CHECK_REPORT => return self.check_answered(line, session, out),
            Mti::START_COMMAND => Incoming::Start,
            Mti::END_NOTICE => Incoming::EndNotice,
            Mti::END_COMMAND => Incoming::End,
            Mti::LINE_CHECK => Incoming::LineCheck,
            _ => return false,
        };
        let action = service.action(incoming);
        if action == Action::Drop {
            return false;
        }
        let same_session = (incoming == Incoming::LineCheck).then_some(session);
        self.answer_control(line, same_session, mti, frame, out);
        match (incoming, action) {
            (Incoming::Start, Action::OpenAtOnce) => self.opened(line, out),
            // The centre starts anew although we did not see it end: what was held meanwhile goes out.
            (Incoming::Start, _) if service == Service::PreEnd => self.opened(line, out),
            (Incoming::Start, _) if service == Service::Open => self.send_held(line, out),
            (Incoming::EndNotice, Action::FollowEnd | Action::Answer)
                if service != Service::Failed =>
            {
                self.stop_control_timer(line);
                self.refuse_buffered(line, rc::PKG_IS_SIGNOFF_OR_SWITCHING, out);
                self.set_service(line, Service::PreEnd, out);
            }
            (Incoming::End, _) => self.close(line, out),
            _ => {}
        }
        true
    }

    /// Answers with the same bytes and the answer's message type; nothing else may differ.
    pub(super) fn answer_control<O: Output>(
        &mut self,
        line: LineNo,
        session: Option<SessionId>,
        mti: Mti,
        frame: &[u8],
        out: &mut O,
    ) {
        let Some(answer) =
            codec::cafis::mti::lookup(mti).and_then(|row| row.answers.first().copied())
        else {
            return;
        };
        self.scratch.clear();
        control::answer(frame, answer, &mut self.scratch);
        out.centre(
            CentreSend {
                line,
                session,
                tx: None,
            },
            &self.scratch,
        );
    }

    /// Tells everyone who waits for a line's order how it ended.
    pub(super) fn answer_orders<O: Output>(
        &mut self,
        line: LineNo,
        which: Orders,
        code: u16,
        out: &mut O,
    ) {
        let orders = which.of(self.line(line));
        for waiter in std::mem::take(orders).into_iter().flatten() {
            self.done(waiter, code, out);
        }
    }
}

/// Which orders of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Orders {
    /// FX_Connect.
    SignOn,
    /// FX_Disconnect.
    SignOff,
    /// FX_CtrlRecovery.
    Recovery,
}

impl Orders {
    pub(super) fn of(self, line: &mut Line) -> &mut [Option<Waiter>; super::line::ORDERS] {
        match self {
            Orders::SignOn => &mut line.sign_on_orders,
            Orders::SignOff => &mut line.sign_off_orders,
            Orders::Recovery => &mut line.recovery_orders,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole table, state by state: who is answered, who is dropped, and what opens or ends service.
    #[test]
    fn decisions_of_every_state() {
        use Incoming::*;
        let columns = [
            Start, Request, EndNotice, End, LineCheck, Fault, Report, Counter,
        ];
        for service in Service::ALL {
            for (at, incoming) in columns.iter().enumerate() {
                assert_eq!(
                    *incoming as usize, at,
                    "the columns stand in the order of the enum"
                );
                let action = service.action(*incoming);
                let closed = matches!(service, Service::Down | Service::Closed);
                if closed {
                    let expected = if *incoming == Start {
                        Action::OpenAtOnce
                    } else {
                        Action::Drop
                    };
                    assert_eq!(action, expected, "{service:?} {incoming:?}");
                }
                if *incoming == End && !closed {
                    assert_eq!(action, Action::FollowEnd, "{service:?}");
                }
                if *incoming == Report {
                    let open = matches!(service.waiting(), Waiting::SignOff | Waiting::Reports);
                    assert_eq!(action == Action::Accept, open, "{service:?}");
                }
            }
        }
    }
}
