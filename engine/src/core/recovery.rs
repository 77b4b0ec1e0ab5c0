//! Start, and settling what a stop that was no shutdown left open.
//!
//! After the facts of the journal have been applied, everything that was under way becomes a hold before any route
//! is given out. A report that is on record waits for `resume_grace`, so that a library that already holds it can
//! say so; then it is cancelled with 8910, the rest with 8930, 8940 or 8920. By setting this happens with the
//! sign-on, or on order. While the run is on, new business is refused.

use super::date::date_of;
use super::line::Recovery;
use super::service::{Orders, Service};
use super::tx::{Cause, NO_TX, Outcome, Phase, Tx};
use super::{Core, LineNo, Notice, Output, Timer, cascade::successor, fact};
use codec::link::rc;

impl Core {
    /// Begins work after the journal has been applied.
    pub fn start<O: Output>(&mut self, out: &mut O) {
        self.by_id.clear();
        let clean = std::mem::take(&mut self.stopped_clean);
        self.commit_shard(
            fact::Booted {
                boot: self.cfg.boot,
            },
            out,
        );
        for at in 0..self.lines.len() {
            let line = LineNo(at as u16);
            if self.line(line).service != Service::Down {
                self.commit(
                    line,
                    NO_TX,
                    fact::Service {
                        state: Service::Down as u8,
                    },
                    out,
                );
            }
            if self.line(line).sequences.cut_date == 0 {
                let date = date_of(self.now.wall_ns);
                self.commit(line, NO_TX, fact::CutDateSet { date }, out);
            }
            self.find_ahead(line);
        }
        for index in self.txs.indices() {
            self.hold_at_start(index, clean, out);
        }
        for (at, api) in self
            .apis
            .slots
            .iter_mut()
            .enumerate()
            .filter(|(_, api)| api.open)
        {
            let deadline_ns = self.now.mono_ns + self.cfg.resume_grace_ns;
            api.timer = self.wheel.arm(deadline_ns, Timer::Api(at as u32).pack());
        }
        for at in 0..self.lines.len() {
            let line = LineNo(at as u16);
            let open = self.line(line).in_recovery;
            if open > 0 {
                self.line(line).recovery = Recovery::Needed;
                out.notice(self.line_id(line), Notice::Recovery { open });
            }
        }
        self.grace_over = self
            .lines
            .iter()
            .all(|line| line.recovery == Recovery::None);
        if !self.grace_over {
            self.wheel.arm(
                self.now.mono_ns + self.cfg.resume_grace_ns,
                Timer::Grace.pack(),
            );
        }
    }

    /// What a stop left under way is a hold from now on.
    fn hold_at_start<O: Output>(&mut self, index: u32, clean: bool, out: &mut O) {
        let Some(tx) = self.txs.get(index) else {
            return;
        };
        let (line, phase, turnaround, fault) = (tx.line, tx.phase, tx.turnaround(), tx.fault);
        match phase {
            Phase::Accepted | Phase::Sent if turnaround => {
                return self.commit(
                    line,
                    index,
                    fact::Ended {
                        outcome: Outcome::Unanswered as u8,
                    },
                    out,
                );
            }
            Phase::Accepted | Phase::Sent => self.hold(index, 8930, Cause::Recovery, out),
            Phase::FaultSent | Phase::FaultDelay => {
                self.hold(index, successor(fault), Cause::Recovery, out)
            }
            Phase::Reported | Phase::Held | Phase::Escalated | Phase::Free | Phase::Buffered => {}
        }
        // What an orderly stop held goes out with the next start of service in any case.
        if !clean || phase == Phase::Reported {
            self.txs[index].in_recovery = true;
            self.line(line).in_recovery += 1;
        }
        // Its application may still say that it holds the report; no other word of it counts.
        self.txs[index].given_up = phase != Phase::Reported;
    }

    /// `resume_grace` after the start is over.
    pub(super) fn grace_timer<O: Output>(&mut self, out: &mut O) {
        self.grace_over = true;
        for at in 0..self.lines.len() {
            let line = LineNo(at as u16);
            if self.line(line).service == Service::HeldSend {
                self.send_held(line, out);
            }
        }
    }

    /// Service has opened: held messages go out before anything new (spec/cafis.md 5.2.4, 8.6).
    pub(super) fn send_held<O: Output>(&mut self, line: LineNo, out: &mut O) {
        let automatic = self.cfg.recovery_automatic;
        if self.line(line).recovery == Recovery::Needed && automatic && !self.grace_over {
            return;
        }
        // A run that a lost centre interrupted goes on.
        let with_recovery = match self.line(line).recovery {
            Recovery::None => false,
            Recovery::Needed => automatic,
            Recovery::Running => true,
        };
        if with_recovery {
            self.line(line).recovery = Recovery::Running;
            self.excuse_waiting_for_order(line);
        }
        self.line(line).cancel_queue.clear();
        let waits = |tx: &Tx| {
            matches!(tx.phase, Phase::Held | Phase::Escalated) && tx.cause != Cause::NoAutomatic
        };
        self.send_all(
            line,
            |tx| waits(tx) && (with_recovery || !tx.in_recovery),
            Cause::Revived,
            out,
        );
        if with_recovery {
            self.settle_reported(line, out);
        }
        // Nothing of the run may be lost where all of it was delivered or settled before.
        self.recovery_progress(line, out);
        self.set_service(line, Service::Open, out);
        self.route_freed(line, out);
    }

    /// Takes what waits for an order out of a run that nobody ordered: the run would wait for it for ever.
    fn excuse_waiting_for_order(&mut self, line: LineNo) {
        for index in self.txs.indices() {
            let waits = |tx: &&Tx| {
                tx.line == line && tx.phase == Phase::Escalated && tx.cause == Cause::NoAutomatic
            };
            if self.txs.get(index).filter(waits).is_some()
                && std::mem::take(&mut self.txs[index].in_recovery)
            {
                self.line(line).in_recovery -= 1;
            }
        }
    }

    /// A recovery run that an operator or application ordered; false if there is nothing to do.
    pub(super) fn run_recovery<O: Output>(&mut self, line: LineNo, out: &mut O) -> bool {
        // An order also gives another turn to what is escalated and to what an earlier run left.
        for index in self.txs.indices() {
            let Some(tx) = self
                .txs
                .get(index)
                .filter(|tx| tx.line == line && !tx.in_recovery)
            else {
                continue;
            };
            if matches!(tx.phase, Phase::Held | Phase::Escalated) {
                self.txs[index].in_recovery = true;
                self.line(line).in_recovery += 1;
            }
        }
        if self.line(line).in_recovery == 0 {
            self.line(line).recovery = Recovery::None;
            return false;
        }
        self.line(line).recovery = Recovery::Running;
        self.line(line).recovery_code = rc::OK;
        self.send_all(
            line,
            |tx| tx.in_recovery && matches!(tx.phase, Phase::Held | Phase::Escalated),
            Cause::Recovery,
            out,
        );
        self.settle_reported(line, out);
        true
    }

    /// A new activation for every transaction of the line that fits, oldest first.
    fn send_all<O: Output>(
        &mut self,
        line: LineNo,
        fits: impl Fn(&Tx) -> bool,
        cause: Cause,
        out: &mut O,
    ) {
        let mut from = 0;
        while let Some(index) = self.oldest(line, |tx| fits(tx) && tx.id > from) {
            from = self.txs[index].id;
            let next = self.txs[index].fault;
            self.activate(index, next, cause, out);
        }
    }

    /// Reports of before the stop that nobody confirmed.
    fn settle_reported<O: Output>(&mut self, line: LineNo, out: &mut O) {
        while let Some(index) =
            self.oldest(line, |tx| tx.in_recovery && tx.phase == Phase::Reported)
        {
            self.end_request(index, out);
            self.settle_undelivered(index, Cause::Recovery, out);
        }
    }

    /// A transaction of the run goes on by itself or is given to an operator: the run does not wait for it.
    pub(super) fn leave_recovery<O: Output>(&mut self, index: u32, code: u16, out: &mut O) {
        let line = self.txs[index].line;
        if self.line(line).recovery != Recovery::Running
            || !std::mem::take(&mut self.txs[index].in_recovery)
        {
            return;
        }
        let state = self.line(line);
        state.in_recovery -= 1;
        state.recovery_code = code;
        self.recovery_progress(line, out);
    }

    /// Ends the run when nothing of it is left.
    pub(super) fn recovery_progress<O: Output>(&mut self, line: LineNo, out: &mut O) {
        let state = self.line(line);
        if state.recovery == Recovery::None || state.in_recovery > 0 {
            return;
        }
        state.recovery = Recovery::None;
        let code = std::mem::replace(&mut state.recovery_code, rc::OK);
        out.notice(self.line_id(line), Notice::RecoveryDone);
        self.answer_orders(line, Orders::Recovery, code, out);
    }
}
