//! Opening and closing service, from the centre's side (`spec/cafis.md` 5.2 to 5.5, 9.2).

use codec::cafis::control::CentreControl;
use codec::cafis::frame::HEADER_LEN;
use codec::cafis::header::{Assigned, Header, NO_COMPANY, set_mti};
use codec::cafis::mti::Mti;

use super::behaviour::Decision;
use super::ledger::Anomaly;
use super::line::{Command, Service};
use super::sim::{BLANK, Sim};
use super::timers::Timer;

const NS_PER_MS: u64 = 1_000_000;

/// What a control request does in a state (`spec/cafis.md` 9.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reaction {
    /// d: dropped.
    Drop,
    /// q: answered, and the line opens.
    Open,
    /// R: what is in flight is given up first.
    Restart,
    /// p for 0720: the line closes once the inward routes are free.
    SignOff,
}

/// The reactions to 7020 and 0720 by state; a 4110 that waits for its answer makes both a drop.
const REACTIONS: [(Service, Reaction, Reaction); 7] = [
    (Service::Closed, Reaction::Open, Reaction::Drop),
    (Service::Failed, Reaction::Open, Reaction::Drop),
    (Service::Starting, Reaction::Drop, Reaction::Drop),
    (Service::Open, Reaction::Restart, Reaction::SignOff),
    (Service::SigningOff, Reaction::Restart, Reaction::Drop),
    (Service::Notified, Reaction::Drop, Reaction::Drop),
    (Service::Ending, Reaction::Drop, Reaction::Drop),
];

fn reaction(service: Service, mti: Mti) -> Reaction {
    let row = REACTIONS.iter().find(|row| row.0 == service);
    row.map_or(Reaction::Drop, |row| {
        if mti == Mti::SIGN_ON { row.1 } else { row.2 }
    })
}

impl Sim {
    /// A control request of the gateway, on route 0000.
    pub(super) fn control_request(
        &mut self,
        session: u32,
        frame: &[u8],
        header: &Header<'_>,
        decision: &Decision,
    ) {
        self.stats.control += 1;
        let line = usize::from(self.sessions[session as usize].line);
        let mti = header.mti();
        let right = frame.len() == HEADER_LEN
            && matches!(mti, Mti::SIGN_ON | Mti::SIGN_OFF | Mti::LINE_CHECK)
            && header.acquirer() == self.lines[line].config.company
            && header.issuer() == NO_COMPANY;
        if !right {
            self.anomaly(session, Some(header), Anomaly::BadControl, BLANK);
            return;
        }
        if mti == Mti::LINE_CHECK {
            let (assigned, _) = self.assign(line, b'0');
            self.build(frame, Mti::LINE_CHECK_REPORT, assigned, BLANK, None);
            // 9220 is tied to the connection of its 9210 (5.1.3), whatever the rules say of sessions.
            if !decision.silent {
                let report = self.scratch.clone();
                self.push(session, &report);
            }
            return;
        }
        let what = if self.lines[line].counter_out {
            Reaction::Drop
        } else {
            reaction(self.lines[line].service, mti)
        };
        match what {
            Reaction::Drop => self.stats.control_dropped += 1,
            Reaction::Open => self.permit(session, line, frame, decision),
            Reaction::Restart => {
                self.abandon(line);
                self.lines[line].command = None;
                self.permit(session, line, frame, decision);
            }
            Reaction::SignOff => {
                self.lines[line].service = Service::SigningOff;
                self.lines[line].sign_off = Some((frame.to_vec(), session));
                if self.config.counter_at_end && self.inward_idle(line) {
                    self.counter(line);
                } else {
                    self.finish_sign_off(line);
                }
            }
        }
    }

    /// Answers 7020 and opens the line.
    fn permit(&mut self, session: u32, line: usize, frame: &[u8], decision: &Decision) {
        self.lines[line].service = Service::Open;
        self.answer_control(session, line, frame, Mti::SIGN_ON_PERMITTED, decision);
    }

    /// Sends 0810 if one is due and nothing incoming is open any more.
    pub(super) fn finish_sign_off(&mut self, line: usize) {
        if !self.inward_idle(line) {
            return;
        }
        if let Some((frame, session)) = self.lines[line].sign_off.take() {
            self.lines[line].service = Service::Closed;
            self.answer_control(
                session,
                line,
                &frame,
                Mti::SIGN_OFF_PERMITTED,
                &Decision::default(),
            );
            self.abandon(line);
        }
    }

    fn inward_idle(&self, line: usize) -> bool {
        self.lines[line].inward.iter().all(Option::is_none)
    }

    /// 7110 and 0810 carry the centre's id and number, and no date (`spec/cafis.md` 2.2).
    fn answer_control(
        &mut self,
        session: u32,
        line: usize,
        frame: &[u8],
        mti: Mti,
        decision: &Decision,
    ) {
        let (assigned, _) = self.assign(line, b'0');
        let assigned = Assigned {
            month_day: *b"0000",
            ..assigned
        };
        self.build(frame, mti, assigned, BLANK, None);
        self.emit(session, None, decision);
    }

    /// The gateway's answer to a command, on route 0001. It must be the command with another type.
    pub(super) fn control_answer(&mut self, session: u32, frame: &[u8], header: &Header<'_>) {
        self.stats.control += 1;
        let line = usize::from(self.sessions[session as usize].line);
        let expected = self.lines[line].command.as_ref().and_then(|command| {
            let answer = answer_to(command.mti)?;
            let mut frame = command.frame.clone();
            set_mti(&mut frame, answer);
            Some((command.mti, frame))
        });
        let Some((command, _)) = expected.filter(|(_, expected)| expected == frame) else {
            self.anomaly(session, Some(header), Anomaly::AnswerDiffers, BLANK);
            return;
        };
        self.lines[line].command = None;
        match command {
            Mti::START_COMMAND => self.lines[line].service = Service::Open,
            Mti::END_COMMAND => {
                self.lines[line].service = Service::Closed;
                self.abandon(line);
            }
            _ => {}
        }
    }

    /// Sends a command and waits for its answer; says whether a session could take it.
    fn send_command(&mut self, line: usize, control: CentreControl, wait_ms: u64) -> bool {
        let (assigned, _) = self.assign(line, b'0');
        let mut frame = Vec::with_capacity(HEADER_LEN);
        control.write(self.lines[line].config.company, assigned, &mut frame);
        if !self.push_on_line(line, &frame) {
            return false;
        }
        let state = &mut self.lines[line];
        state.generation = state.generation.wrapping_add(1);
        let generation = state.generation;
        state.command = Some(Command {
            frame,
            mti: control.mti(),
        });
        let due = self.now.ns + wait_ms * NS_PER_MS;
        self.timers.arm(
            due,
            Timer::Command {
                line: line as u16,
                generation,
            },
        );
        true
    }

    /// 0010.
    pub(super) fn start(&mut self, line: usize) -> bool {
        let sent = self.send_command(line, CentreControl::Start, self.config.timers.t10_ms);
        if sent {
            self.lines[line].service = Service::Starting;
        }
        sent
    }

    /// 0610.
    pub(super) fn end_notice(&mut self, line: usize) -> bool {
        let sent = self.send_command(line, CentreControl::EndNotice, self.config.timers.t12_ms);
        if sent {
            self.lines[line].service = Service::Notified;
        }
        sent
    }

    /// 0910.
    pub(super) fn end(&mut self, line: usize) -> bool {
        let sent = self.send_command(line, CentreControl::End, self.config.timers.t10_ms);
        if sent {
            self.lines[line].service = Service::Ending;
        }
        sent
    }

    /// 9210. It says nothing about service, and t16 only means that the answer did not come.
    pub(super) fn line_check(&mut self, line: usize) -> bool {
        const T16_MS: u64 = 30_000;
        self.send_command(line, CentreControl::LineCheck, T16_MS)
    }

    /// t10, t12 or t16 of a command.
    pub(super) fn command_expired(&mut self, line: usize, generation: u32) {
        if self.lines[line].generation != generation {
            return;
        }
        let Some(command) = self.lines[line].command.take() else {
            return;
        };
        match command.mti {
            Mti::START_COMMAND => {
                self.lines[line].service = Service::Closed;
                let due = self.now.ns + self.config.timers.t11_ms * NS_PER_MS;
                self.timers.arm(
                    due,
                    Timer::StartAgain {
                        line: line as u16,
                        generation,
                    },
                );
            }
            Mti::END_COMMAND => {
                self.lines[line].service = Service::Closed;
                self.abandon(line);
            }
            _ => {}
        }
    }
}

fn answer_to(command: Mti) -> Option<Mti> {
    Some(match command {
        Mti::START_COMMAND => Mti::START_READY,
        Mti::END_NOTICE => Mti::END_READY,
        Mti::END_COMMAND => Mti::END_REPORT,
        Mti::LINE_CHECK => Mti::LINE_CHECK_REPORT,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every state has its row, and a sign-on while open restarts: it is no health check.
    #[test]
    fn every_state_reacts() {
        assert_eq!(reaction(Service::Open, Mti::SIGN_ON), Reaction::Restart);
        assert_eq!(reaction(Service::Closed, Mti::SIGN_ON), Reaction::Open);
        assert_eq!(reaction(Service::Notified, Mti::SIGN_ON), Reaction::Drop);
        assert_eq!(reaction(Service::Open, Mti::SIGN_OFF), Reaction::SignOff);
        for (service, ..) in REACTIONS {
            assert_eq!(REACTIONS.iter().filter(|row| row.0 == service).count(), 1);
        }
    }
}
