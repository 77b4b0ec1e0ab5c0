//! Checking a session: 9210 on one that comes while service is open, 9220 awaited on the same one
//! (spec/cafis.md 5.7). By setting; the answer to the centre's own 9210 is in [`super::service`].

use super::service::Service;
use super::{CentreSend, Core, LineNo, Notice, Order, Output, SessionId, Timer};
use codec::cafis::control::GatewayControl;

impl Core {
    /// A session came up: asks whether the centre hears us on it. One check of a line is open at a time.
    pub(super) fn check_session<O: Output>(
        &mut self,
        line: LineNo,
        session: SessionId,
        out: &mut O,
    ) {
        let state = &self.lines[usize::from(line.0)];
        let wanted = state.cfg.line_check && state.service == Service::Open;
        if !wanted || state.checked.is_some() {
            return;
        }
        let (company, t33_ns) = (state.cfg.company, state.cfg.t33_ns);
        self.scratch.clear();
        GatewayControl::LineCheck.write(company, &mut self.scratch);
        let send = CentreSend {
            line,
            session: Some(session),
            tx: None,
        };
        out.centre(send, &self.scratch);
        let deadline_ns = self.now.mono_ns + t33_ns;
        let timer = self.wheel.arm(deadline_ns, Timer::Check(line).pack());
        self.line(line).checked = Some((session, timer));
    }

    /// 9220: right on the session that was asked, a failure of that session on another (O-15); false if nothing was
    /// asked.
    pub(super) fn check_answered<O: Output>(
        &mut self,
        line: LineNo,
        session: SessionId,
        out: &mut O,
    ) -> bool {
        let Some((asked, timer)) = self.line(line).checked.take() else {
            return false;
        };
        self.wheel.cancel(timer);
        if asked != session {
            self.check_failed(line, asked, out);
        }
        true
    }

    /// t33.
    pub(super) fn check_timer<O: Output>(&mut self, line: LineNo, out: &mut O) {
        if let Some((asked, _)) = self.line(line).checked.take() {
            self.check_failed(line, asked, out);
        }
    }

    fn check_failed<O: Output>(&mut self, line: LineNo, asked: SessionId, out: &mut O) {
        if self.line(line).sessions.contains(asked) {
            out.notice(self.line_id(line), Notice::CheckFailed);
            out.order(Order::CloseSession(asked));
            self.session_down(line, asked, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::{CoreConfig, LineConfig};
    use super::super::fact::{Fact, FactHead};
    use super::super::{Event, Gate, LinkId, Now, RecordNo};
    use super::*;
    use codec::cafis::control::answer;
    use codec::cafis::mti::Mti;

    const SECOND: u64 = 1_000_000_000;

    /// Takes frames and orders as they come.
    #[derive(Default)]
    struct Taken {
        frames: Vec<(Option<SessionId>, Vec<u8>)>,
        orders: Vec<Order>,
    }

    impl Output for Taken {
        fn record(&mut self, _: &FactHead, _: &Fact<'_>) -> RecordNo {
            0
        }
        fn centre(&mut self, send: CentreSend, frame: &[u8]) {
            self.frames.push((send.session, frame.to_vec()));
        }
        fn link(&mut self, _: LinkId, _: Gate, _: &codec::link::Head, _: [&[u8]; 2]) {}
        fn order(&mut self, order: Order) {
            self.orders.push(order);
        }
        fn notice(&mut self, _: u32, _: Notice) {}
    }

    fn line() -> LineConfig {
        LineConfig {
            line_check: true,
            ..LineConfig::standard("C01", 1, 2, 2)
        }
    }

    /// A line that is open on sessions 1 and 2, has lost session 2, and gets session 3; gives the time then.
    fn with_a_new_session(out: &mut Taken) -> (Core, Now) {
        let now = Now {
            mono_ns: SECOND,
            wall_ns: 1_795_392_000 * SECOND,
        };
        let cfg = CoreConfig {
            shard: 0,
            boot: 1,
            secret: [1, 2],
            lines: vec![line()],
            default_line: "C01".into(),
            elsewhere: Vec::new(),
            links_max: 1,
            sessions_max: 1,
            recent_max: 1,
            credit: 1,
            resume_grace_ns: SECOND,
            delivery_limit_ns: SECOND,
            recovery_automatic: true,
            drain_ns: SECOND,
        };
        let mut core = Core::new(cfg, now);
        core.start(out);
        let line = LineNo(0);
        for session in [1, 2].map(SessionId) {
            core.step(now, Event::SessionUp { line, session }, out);
        }
        let mut permitted = Vec::new();
        answer(&out.frames[0].1, Mti::SIGN_ON_PERMITTED, &mut permitted);
        let session = SessionId(1);
        let frame = &permitted;
        core.step(
            now,
            Event::Telegram {
                line,
                session,
                frame,
            },
            out,
        );
        core.step(
            now,
            Event::SessionDown {
                line,
                session: SessionId(2),
            },
            out,
        );
        out.frames.clear();
        core.step(
            now,
            Event::SessionUp {
                line,
                session: SessionId(3),
            },
            out,
        );
        (core, now)
    }

    /// 9210 goes out on the new session alone, and 9220 there ends the check; 9220 on another session, or none
    /// within t33, closes it.
    #[test]
    fn a_new_session_has_to_answer() {
        let line = LineNo(0);
        for (answered_on, closed) in [(Some(3), false), (Some(1), true), (None, true)] {
            let mut out = Taken::default();
            let (mut core, mut now) = with_a_new_session(&mut out);
            let (asked, frame) = out.frames.pop().expect("a 9210");
            assert_eq!((asked, &frame[43..47]), (Some(SessionId(3)), &b"9210"[..]));
            if let Some(session) = answered_on.map(SessionId) {
                let mut report = Vec::new();
                answer(&frame, Mti::LINE_CHECK_REPORT, &mut report);
                let frame = &report;
                core.step(
                    now,
                    Event::Telegram {
                        line,
                        session,
                        frame,
                    },
                    &mut out,
                );
            }
            now.mono_ns += 31 * SECOND;
            core.step(now, Event::Tick, &mut out);
            let orders: Vec<Order> = out.orders;
            let expected = if closed {
                vec![Order::CloseSession(SessionId(3))]
            } else {
                Vec::new()
            };
            assert_eq!(orders, expected, "9220 on {answered_on:?}");
            assert_eq!(core.lines[0].service, Service::Open);
        }
    }
}
