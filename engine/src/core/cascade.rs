//! The fault cascade: 8910, 8920, 8930, 8940 and what follows from their answers (spec/cafis.md 8).

use super::tx::{Cause, FLAG_ID, Outcome, Phase, Waiter, byte_enum};
use super::{CentreSend, Core, LineNo, Notice, Output, Timer, fact, wheel::TimerId};
use codec::cafis::fault::{ReportFields, write_cancel, write_cancel_confirm};
use codec::cafis::header::Header;
use codec::cafis::mti::Mti;
use codec::cafis::section::Section10;
use codec::link::rc;

/// A C60 within this time after the opening is answered by waiting, not by a new sign-on (spec/cafis.md O-18).
pub const OPEN_IS_YOUNG_NS: u64 = 60_000_000_000;
/// How long such a fault message waits; it does not count against the budget.
pub const YOUNG_DELAY_NS: u64 = 10_000_000_000;

byte_enum! {
    /// What follows from the centre's answer to a fault message (spec/cafis.md 8.5).
    Verdict {
        /// Undone at the issuer, or taken over by the centre: settled.
        Cancelled = 1,
        /// The centre never received the request: settled.
        NotProcessed = 2,
        /// All issuer routes are busy: the next send after a pause.
        Busy = 3,
        /// Congestion: one more send after a pause, then escalated.
        Congested = 4,
        /// The centre has ended service: held until the next start.
        Hold = 5,
        /// The centre does not regard us as open: held, and sign on again.
        NotOpen = 6,
        /// Our data is wrong for the centre: unresolved, an operator is called.
        Stop = 7,
        /// The centre does not regard us as open yet: the next send after a short pause, which costs none.
        NotOpenYet = 8,
    }
}

/// Which answers a row of the table is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// 8950 or 8960.
    Report,
    /// 8970 to anything.
    Abnormal,
    /// 8970 to 8930 or 8940.
    AbnormalToConfirm,
}

/// spec/cafis.md 8.5; the first row that fits decides.
const VERDICTS: &[(Answer, &[u8; 3], Verdict)] = &[
    (Answer::Report, b"   ", Verdict::Cancelled),
    (Answer::Report, b"C13", Verdict::Cancelled),
    (Answer::Report, b"C14", Verdict::Cancelled),
    (Answer::Report, b"C50", Verdict::Cancelled),
    (Answer::Report, b"C35", Verdict::Cancelled),
    (Answer::Abnormal, b"C12", Verdict::Busy),
    (Answer::Abnormal, b"C33", Verdict::Congested),
    (Answer::Abnormal, b"C15", Verdict::Hold),
    (Answer::Abnormal, b"C60", Verdict::NotOpen),
    (Answer::AbnormalToConfirm, b"C56", Verdict::NotProcessed),
];

/// The verdict on an answer; a code that the table does not know stops the cascade.
#[must_use]
pub fn verdict(fault: u16, answer: Mti, code: [u8; 3]) -> Verdict {
    let abnormal = answer == Mti::ABNORMAL;
    let confirm = fault == 8930 || fault == 8940;
    let fits = |row: Answer| match row {
        Answer::Report => !abnormal,
        Answer::Abnormal => abnormal,
        Answer::AbnormalToConfirm => abnormal && confirm,
    };
    VERDICTS
        .iter()
        .find(|(row, of, _)| fits(*row) && **of == code)
        .map_or(Verdict::Stop, |(_, _, verdict)| *verdict)
}

/// The message after this one, if it stays unanswered.
#[must_use]
pub fn successor(fault: u16) -> u16 {
    match fault {
        8910 | 8920 => 8920,
        _ => 8940,
    }
}

impl Core {
    /// Begins a cascade with 8910 or 8930, or lets it wait for an order if automatic cancels are switched off.
    pub(super) fn start_cascade<O: Output>(
        &mut self,
        index: u32,
        mti: u16,
        cause: Cause,
        out: &mut O,
    ) {
        let (line, id_business) = (self.txs[index].line, self.txs[index].flags & FLAG_ID != 0);
        let cfg = &self.lines[usize::from(line.0)].cfg;
        let allowed = cfg.automatic && (cfg.id_cascade || !id_business);
        if cause != Cause::Ordered && !allowed {
            self.stop_tx_timer(index);
            self.commit(
                line,
                index,
                fact::Escalated {
                    next: mti,
                    cause: Cause::NoAutomatic as u8,
                },
                out,
            );
            return self.escalated(index, Cause::NoAutomatic, out);
        }
        self.activate(index, mti, cause, out);
    }

    /// A new activation: a fresh budget, then the message.
    pub(super) fn activate<O: Output>(&mut self, index: u32, mti: u16, cause: Cause, out: &mut O) {
        let cfg = &self.lines[usize::from(self.txs[index].line.0)].cfg;
        let budget = match cause {
            Cause::Ordered => cfg.sends_ordered,
            Cause::Probe => 1,
            _ => cfg.sends_automatic,
        };
        let tx = &mut self.txs[index];
        (tx.budget, tx.sends, tx.congested) = (budget, 0, 0);
        self.send_fault(index, mti, cause, out);
    }

    /// Sends a fault message, or holds it where it cannot go now.
    fn send_fault<O: Output>(&mut self, index: u32, mti: u16, cause: Cause, out: &mut O) {
        self.stop_tx_timer(index);
        let line = self.txs[index].line;
        if !self.line(line).faults_may_go() {
            return self.hold(index, mti, cause, out);
        }
        let Some(route) = self.fault_route(index, mti) else {
            self.hold(index, mti, cause, out);
            self.bound_route_wait(index);
            let waiting = self.txs.reference(index);
            return self.line(line).cancel_queue.push_back(waiting);
        };
        let (sends, congested) = (self.txs[index].sends + 1, self.txs[index].congested);
        self.commit(
            line,
            index,
            fact::Fault {
                mti,
                route,
                sends,
                cause: cause as u8,
                congested,
            },
            out,
        );
        let mut frame = std::mem::take(&mut self.scratch);
        frame.clear();
        let image = self.txs.image(index);
        match mti {
            8930 | 8940 => write_cancel_confirm(image, mti == 8940, &mut frame),
            _ => {
                if let Ok(report) = Header::new(self.txs.report(index)) {
                    write_cancel(
                        image,
                        &ReportFields::of(&report),
                        route,
                        mti == 8920,
                        &mut frame,
                    );
                }
            }
        }
        assert!(
            !frame.is_empty(),
            "an {mti} for transaction {} that has no report",
            self.txs[index].id
        );
        let tx = self.txs.reference(index);
        out.centre(
            CentreSend {
                line,
                session: None,
                tx: Some(tx),
            },
            &frame,
        );
        self.scratch = frame;
        out.notice(
            self.line_id(line),
            Notice::Fault {
                mti,
                tx: self.txs[index].id,
                sends,
                cause,
            },
        );
        self.check_held(line, out);
    }

    /// 8930 and 8940 keep the request's route, 8920 that of its 8910; an 8910 takes the request's route if it is
    /// free, else the smallest free one (spec/cafis.md 6.3, 6.4).
    fn fault_route(&self, index: u32, mti: u16) -> Option<u16> {
        let tx = &self.txs[index];
        if tx.route != 0 {
            return Some(tx.route);
        }
        let routes = &self.lines[usize::from(tx.line.0)].routes;
        let original = self
            .txs
            .header(index)
            .and_then(|header| header.route())
            .filter(|route| routes.is_free(*route));
        match mti {
            8930 | 8940 => original,
            _ => original.or_else(|| routes.smallest_free()),
        }
    }

    pub(super) fn line_id(&self, line: LineNo) -> u32 {
        self.lines[usize::from(line.0)].cfg.id
    }

    /// Holds a fault message until service is open, or until a route is free.
    pub(super) fn hold<O: Output>(&mut self, index: u32, next: u16, cause: Cause, out: &mut O) {
        self.stop_tx_timer(index);
        let (line, route) = (self.txs[index].line, self.txs[index].route);
        self.commit(
            line,
            index,
            fact::Held {
                next,
                route,
                cause: cause as u8,
            },
            out,
        );
        if !self.lines[usize::from(line.0)].faults_may_go() {
            self.held_back(index, out);
        }
    }

    /// Nobody waits for a message that is held until service opens: orders are answered, a recovery run goes on.
    fn held_back<O: Output>(&mut self, index: u32, out: &mut O) {
        let line = self.txs[index].line;
        let code = if self.line(line).sessions.count() == 0 {
            rc::ERR_ALL_CENTER_SESSION
        } else {
            rc::PKG_IS_SIGNOFF_OR_SWITCHING
        };
        self.answer_waiters(index, code, out);
        self.leave_recovery(index, code, out);
        self.check_held(line, out);
    }

    /// Whoever ordered a cancel that waits for a route waits as long as all its sends might take, then is told RC 36
    /// (spec/fexics.md 2.7, case 4). The cancel itself goes on waiting.
    pub(super) fn bound_route_wait(&mut self, index: u32) {
        let waited_for = self.txs[index].waiters.iter().any(Option::is_some);
        if waited_for && self.txs[index].timer == TimerId::NONE {
            let cfg = &self.lines[usize::from(self.txs[index].line.0)].cfg;
            let wait_ns = u64::from(cfg.sends_ordered) * cfg.t32_ns;
            self.arm_tx_timer(index, wait_ns);
        }
    }

    /// 8910 messages that wait for a route go before new requests.
    pub(super) fn serve_cancel_queue<O: Output>(&mut self, line: LineNo, out: &mut O) {
        while self.line(line).routes.smallest_free().is_some() && self.line(line).faults_may_go() {
            let Some(waiting) = self.line(line).cancel_queue.pop_front() else {
                return;
            };
            let Some(tx) = self.txs.at(waiting) else {
                continue;
            };
            if tx.phase == Phase::Held && tx.route == 0 {
                let (next, cause) = (tx.fault, tx.cause);
                self.send_fault(waiting.index(), next, cause, out);
            }
        }
    }

    /// t32, or the end of a pause: the next re-command, or the end of this activation.
    pub(super) fn send_next_fault<O: Output>(&mut self, index: u32, out: &mut O) {
        let tx = &self.txs[index];
        let next = successor(tx.fault);
        if tx.sends < tx.budget {
            return self.send_fault(index, next, tx.cause, out);
        }
        self.escalate(index, Cause::SendsUsedUp, out);
    }

    fn escalate<O: Output>(&mut self, index: u32, why: Cause, out: &mut O) {
        self.stop_tx_timer(index);
        let (line, next) = (self.txs[index].line, successor(self.txs[index].fault));
        let was_probe = self.txs[index].cause == Cause::Probe;
        self.commit(
            line,
            index,
            fact::Escalated {
                next,
                cause: why as u8,
            },
            out,
        );
        if was_probe {
            return self.arm_probe(line);
        }
        self.escalated(index, why, out);
    }

    /// The hold is kept, an operator is called, and whoever waits is told.
    fn escalated<O: Output>(&mut self, index: u32, why: Cause, out: &mut O) {
        let (line, id, next) = (
            self.txs[index].line,
            self.txs[index].id,
            self.txs[index].fault,
        );
        out.notice(
            self.line_id(line),
            Notice::Escalated {
                tx: id,
                next,
                cause: why,
            },
        );
        self.answer_waiters(index, rc::ERR_RETRY_OVER, out);
        self.leave_recovery(index, rc::NG, out);
        self.arm_probe(line);
        self.check_held(line, out);
    }

    /// The centre's answer to a fault message.
    pub(super) fn fault_report<O: Output>(
        &mut self,
        index: u32,
        mti: Mti,
        frame: &[u8],
        out: &mut O,
    ) {
        let line = self.txs[index].line;
        let code = Section10::of(frame).map_or(*b"   ", |section| section.error_code());
        let opened_ns = self.line(line).opened_ns;
        let found = match verdict(self.txs[index].fault, mti, code) {
            Verdict::NotOpen if self.now.mono_ns - opened_ns < OPEN_IS_YOUNG_NS => {
                Verdict::NotOpenYet
            }
            found => found,
        };
        let Some(masked) = self.masked_copy(frame) else {
            return self.drop_telegram(line, super::report::Drop::Format, frame, out);
        };
        self.stop_tx_timer(index);
        let (id, probe) = (self.txs[index].id, self.txs[index].cause == Cause::Probe);
        let waiters = self.txs[index].waiters;
        let (in_recovery, escalated) = (
            self.txs[index].in_recovery,
            self.txs[index].phase == Phase::Escalated,
        );
        self.commit(
            line,
            index,
            fact::FaultReport {
                verdict: found as u8,
                frame: &masked,
            },
            out,
        );
        self.scratch = masked;
        match found {
            Verdict::Cancelled => self.settled(line, id, Outcome::Cancelled, waiters, rc::OK, out),
            Verdict::NotProcessed => {
                self.settled(line, id, Outcome::NotProcessed, waiters, rc::OK, out)
            }
            Verdict::Stop => {
                out.notice(self.line_id(line), Notice::Unresolved { tx: id, code });
                self.settled(line, id, Outcome::Unresolved, waiters, rc::NG, out);
                self.line(line).recovery_code = if in_recovery {
                    rc::NG
                } else {
                    self.line(line).recovery_code
                };
            }
            Verdict::Busy => self.pause(index, out),
            Verdict::Congested if self.txs[index].congested > self.line(line).cfg.c33_repeats => {
                self.answer_waiters(index, rc::ERR_CENTER_BUSY, out);
                self.escalate(index, Cause::Congested, out);
            }
            Verdict::Congested => self.pause(index, out),
            Verdict::Hold => self.hold_for_start(index, out),
            Verdict::NotOpen => {
                self.hold_for_start(index, out);
                self.not_open_at_centre(line, out);
            }
            Verdict::NotOpenYet => self.arm_tx_timer(index, YOUNG_DELAY_NS),
        }
        if in_recovery {
            self.recovery_progress(line, out);
        }
        if probe || escalated {
            self.revive(line, Cause::Revived, out);
        }
    }

    /// A transaction is over: its waiters are answered and its route serves the next.
    fn settled<O: Output>(
        &mut self,
        line: LineNo,
        id: u64,
        outcome: Outcome,
        waiters: [Option<Waiter>; super::tx::WAITERS],
        code: u16,
        out: &mut O,
    ) {
        out.notice(self.line_id(line), Notice::Settled { tx: id, outcome });
        for waiter in waiters.into_iter().flatten() {
            self.done(waiter, code, out);
        }
        self.check_held(line, out);
        self.route_freed(line, out);
    }

    /// C12 and C33: the next send after a pause.
    fn pause<O: Output>(&mut self, index: u32, out: &mut O) {
        let wait_ns = self.lines[usize::from(self.txs[index].line.0)]
            .cfg
            .retry_delay_ns;
        self.arm_tx_timer(index, wait_ns);
        self.leave_recovery(index, rc::ERR_CENTER_BUSY, out);
    }

    /// C15: service has ended at the centre, whatever we believe.
    fn hold_for_start<O: Output>(&mut self, index: u32, out: &mut O) {
        let (line, route, next) = (
            self.txs[index].line,
            self.txs[index].route,
            successor(self.txs[index].fault),
        );
        self.commit(
            line,
            index,
            fact::Held {
                next,
                route,
                cause: Cause::NotOpen as u8,
            },
            out,
        );
        self.answer_waiters(index, rc::PKG_IS_SIGNOFF_OR_SWITCHING, out);
        self.leave_recovery(index, rc::PKG_IS_SIGNOFF_OR_SWITCHING, out);
        if self.line(line).probe_timer == TimerId::NONE {
            // No start need follow if the centre meant less than it said.
            self.arm_probe(line);
        }
    }

    /// Tells everyone who waits for this transaction's cascade.
    pub(super) fn answer_waiters<O: Output>(&mut self, index: u32, code: u16, out: &mut O) {
        for waiter in std::mem::take(&mut self.txs[index].waiters)
            .into_iter()
            .flatten()
        {
            self.done(waiter, code, out);
        }
    }

    /// Raises the alarm when half of the routes are held, and lowers it when a quarter is.
    fn check_held<O: Output>(&mut self, line: LineNo, out: &mut O) {
        let id = self.line_id(line);
        let state = self.line(line);
        let (held, routes) = (
            u32::from(state.routes.held),
            u32::from(state.cfg.route_count),
        );
        let limit = u32::from(state.cfg.hold_alarm_percent);
        if !state.routes.alarm && held * 100 >= routes * limit && held > 0 {
            state.routes.alarm = true;
            out.notice(
                id,
                Notice::RoutesHeld {
                    held: held as u16,
                    routes: routes as u16,
                },
            );
        } else if state.routes.alarm && held * 200 < routes * limit {
            state.routes.alarm = false;
        }
    }

    /// Starts the probe timer of a line that has escalated transactions.
    pub(super) fn arm_probe(&mut self, line: LineNo) {
        let (old, wait_ns) = (
            self.line(line).probe_timer,
            self.line(line).cfg.probe_interval_ns,
        );
        self.wheel.cancel(old);
        let timer = self
            .wheel
            .arm(self.now.mono_ns + wait_ns, Timer::Probe(line).pack());
        self.line(line).probe_timer = timer;
    }

    /// One escalated transaction asks whether the centre answers again. Those that wait for an order are left alone.
    pub(super) fn probe_timer<O: Output>(&mut self, line: LineNo, out: &mut O) {
        self.line(line).probe_timer = TimerId::NONE;
        if !self.line(line).faults_may_go() {
            return;
        }
        if self.oldest(line, |tx| tx.phase == Phase::Held).is_some() {
            return self.send_held(line, out);
        }
        if let Some(index) = self.oldest(line, |tx| {
            tx.phase == Phase::Escalated && tx.cause != Cause::NoAutomatic
        }) {
            let next = self.txs[index].fault;
            self.activate(index, next, Cause::Probe, out);
        }
    }

    /// The centre is back: every escalated transaction of the line comes to life again.
    pub(super) fn revive<O: Output>(&mut self, line: LineNo, cause: Cause, out: &mut O) {
        if !self.line(line).faults_may_go() || self.line(line).escalated == 0 {
            return;
        }
        let wanted =
            |tx: &super::tx::Tx| tx.phase == Phase::Escalated && tx.cause != Cause::NoAutomatic;
        let last = self.last_tx;
        let mut from = 0;
        while let Some(index) = self.oldest(line, |tx| wanted(tx) && tx.id > from && tx.id <= last)
        {
            from = self.txs[index].id;
            let next = self.txs[index].fault;
            self.activate(index, next, cause, out);
        }
    }

    /// The oldest transaction of a line that fits.
    pub(super) fn oldest(
        &self,
        line: LineNo,
        fits: impl Fn(&super::tx::Tx) -> bool,
    ) -> Option<u32> {
        let open = self.txs.indices().filter(|index| {
            self.txs
                .get(*index)
                .is_some_and(|tx| tx.line == line && fits(tx))
        });
        open.min_by_key(|index| self.txs[*index].id)
    }

    /// Service is gone, or about to be reset: everything of the line that is under way is held
    /// (spec/cafis.md 5.4.3, 5.5.4, 5.6).
    pub(super) fn hold_all<O: Output>(&mut self, line: LineNo, cause: Cause, out: &mut O) {
        let lost = cause == Cause::CentreLost;
        self.refuse_buffered(
            line,
            if lost {
                rc::ERR_ALL_CENTER_SESSION
            } else {
                rc::PKG_IS_SIGNOFF_OR_SWITCHING
            },
            out,
        );
        self.line(line).cancel_queue.clear();
        for index in self.txs.indices() {
            let Some(tx) = self.txs.get(index).filter(|tx| tx.line == line) else {
                continue;
            };
            let next = successor(tx.fault);
            match tx.phase {
                Phase::Accepted => {
                    if !self.txs[index].given_up {
                        let code = rc::ERR_ALL_CENTER_SESSION;
                        self.tell(index, codec::link::Kind::Ended, code, out);
                        self.credit_back(index);
                    }
                    self.commit(line, index, fact::NotSent { cause: cause as u8 }, out);
                }
                Phase::Sent if tx.turnaround() => {
                    self.end_request(index, out);
                    self.commit(
                        line,
                        index,
                        fact::Ended {
                            outcome: Outcome::Unanswered as u8,
                        },
                        out,
                    );
                }
                Phase::Sent => {
                    self.hold(index, 8930, cause, out);
                    self.held_back(index, out);
                    self.end_request(index, out);
                }
                Phase::FaultSent | Phase::FaultDelay => {
                    self.hold(index, next, cause, out);
                    self.held_back(index, out);
                }
                // It waited for a route.
                Phase::Held => self.held_back(index, out),
                Phase::Free | Phase::Buffered | Phase::Reported | Phase::Escalated => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each row of the answer table, and that what it does not know stops the cascade instead of repeating it.
    #[test]
    fn every_answer_has_a_verdict() {
        let report = |fault, code: &[u8; 3]| {
            verdict(fault, Mti(if fault < 8930 { 8950 } else { 8960 }), *code)
        };
        let abnormal = |fault, code: &[u8; 3]| verdict(fault, Mti::ABNORMAL, *code);
        for fault in [8910, 8920, 8930, 8940] {
            for code in [b"   ", b"C13", b"C14", b"C50", b"C35"] {
                assert_eq!(report(fault, code), Verdict::Cancelled);
            }
            assert_eq!(abnormal(fault, b"C12"), Verdict::Busy);
            assert_eq!(abnormal(fault, b"C33"), Verdict::Congested);
            assert_eq!(abnormal(fault, b"C15"), Verdict::Hold);
            assert_eq!(abnormal(fault, b"C60"), Verdict::NotOpen);
            for code in [
                b"C01", b"C03", b"C17", b"C34", b"C51", b"C53", b"C54", b"C55", b"C57", b"C58",
                b"ZZZ",
            ] {
                assert_eq!(abnormal(fault, code), Verdict::Stop, "{fault} {code:?}");
            }
        }
        assert_eq!(abnormal(8930, b"C56"), Verdict::NotProcessed);
        assert_eq!(abnormal(8940, b"C56"), Verdict::NotProcessed);
        assert_eq!(abnormal(8910, b"C56"), Verdict::Stop);
        assert_eq!(report(8930, b"G12"), Verdict::Stop);
    }
}
