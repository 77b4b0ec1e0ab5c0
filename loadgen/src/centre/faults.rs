//! Fault commands on outward routes: checked, held against the request they undo, answered (`spec/cafis.md` 8.4).

use codec::cafis::field::number;
use codec::cafis::header::{Assigned, Header, data};
use codec::cafis::mti::Mti;
use codec::cafis::report;
use codec::cafis::section::{Section10, set_master_mti};

use super::behaviour::Decision;
use super::business::{day_of, echoed, is_our_fault, is_unmasked};
use super::checks::{self, Code, IssuerState};
use super::ledger::{Anomaly, CancelledBy, EntryId, Outcome, digest};
use super::line::{Verdict, Waiting};
use super::sim::{BLANK, Sim};

const NS_PER_MS: u64 = 1_000_000;

impl Sim {
    /// 8910, 8920, 8930 or 8940.
    pub(super) fn fault(
        &mut self,
        session: u32,
        frame: &[u8],
        header: &Header<'_>,
        over_long: bool,
        decision: &Decision,
    ) {
        if Section10::of(frame).is_err() {
            self.anomaly(session, Some(header), Anomaly::NoSection, BLANK);
            return;
        }
        let position = usize::from(self.sessions[session as usize].line);
        let mti = header.mti();
        let confirm = matches!(mti, Mti::CANCEL_CONFIRM | Mti::CANCEL_CONFIRM_AGAIN);
        let (table, count) = if confirm {
            (&checks::CONFIRM[..], &mut self.stats.confirms)
        } else {
            (&checks::CANCEL[..], &mut self.stats.cancels)
        };
        *count += 1;
        // The issuer fields of a turnaround's fault command may be zero as the request's were (8.2).
        let facts = self.facts(position, frame, header, over_long, true);
        let failure = checks::first_failure(table, &facts);
        let slot = facts
            .route
            .and_then(|route| self.lines[position].slot(route));
        let last = slot.and_then(|slot| self.lines[position].outward[slot].last);
        let entry =
            match last.filter(|last| confirm && header.sequence() == Some(last.facts.sequence)) {
                Some(last) => Some(last.entry),
                None => header.sequence().and_then(|sequence| {
                    self.ledger.find(position as u16, day_of(header), sequence)
                }),
            };
        if let Some(entry) = entry.and_then(|id| self.ledger.get_mut(id)) {
            entry.faults = entry.faults.saturating_add(1);
        }
        if let Some(code) = failure {
            self.reject_fault(session, frame, header, entry, code, decision);
            return;
        }
        self.hold_against_request(session, frame, header, entry, confirm);
        let assigned = match last {
            Some(last) if confirm => last.assigned,
            _ => echoed(header),
        };
        let (verdict, wait_ns) = self.fault_verdict(position, decision);
        if let Some(slot) = slot {
            self.stop_waiting(position, slot);
        }
        if !matches!(verdict, Verdict::Abnormal(_)) {
            self.mark_cancelled(position, entry, mti);
        }
        match slot {
            Some(slot) if wait_ns > 0 => {
                let waiting = Waiting {
                    fault: true,
                    frame: self.keep(frame),
                    session,
                    entry,
                    assigned,
                    verdict,
                    decision: *decision,
                    sequence: header.sequence().unwrap_or(0),
                    day: header.originator_day(),
                };
                self.wait(position, slot, waiting, wait_ns);
            }
            _ => self.fault_report(session, frame, mti, entry, assigned, verdict, decision),
        }
    }

    /// What the issuer, or a rule, makes of a fault command, and after how long.
    fn fault_verdict(&self, line: usize, decision: &Decision) -> (Verdict, u64) {
        let by_code = |code: Code| {
            if code.rides_on_report() {
                Verdict::TakenOver(code)
            } else {
                Verdict::Abnormal(code)
            }
        };
        let state = match self.lines[line].issuer {
            IssuerState::Up | IssuerState::NoService => Verdict::Good,
            IssuerState::Busy => by_code(Code(*b"C12")),
            IssuerState::Failed => by_code(Code(*b"C13")),
            IssuerState::Ended => by_code(Code(*b"C14")),
            IssuerState::Silent => {
                return (
                    by_code(Code(*b"C50")),
                    self.config.timers.t15_ms * NS_PER_MS,
                );
            }
        };
        (decision.code.map_or(state, by_code), decision.delay_ns)
    }

    /// The centre waits no more for the issuer on this route: the cancel wins (O-38).
    fn stop_waiting(&mut self, line: usize, slot: usize) {
        if let Some(waiting) = self.lines[line].outward[slot].waiting.take() {
            self.recycle(waiting.frame);
        }
    }

    fn mark_cancelled(&mut self, line: usize, entry: Option<EntryId>, mti: Mti) {
        let Some(entry) = entry.and_then(|id| self.ledger.get_mut(id)) else {
            return;
        };
        if entry.cancelled.is_none() {
            entry.cancelled = Some(CancelledBy::Command(mti));
            if entry.outcome == Outcome::Approved {
                self.lines[line].counters.count(entry.mti, -1);
            }
        }
    }

    /// Notes where a fault command is not what the request and its report ask for.
    fn hold_against_request(
        &mut self,
        session: u32,
        frame: &[u8],
        header: &Header<'_>,
        entry: Option<EntryId>,
        confirm: bool,
    ) {
        let Some(id) = entry else {
            self.anomaly(session, Some(header), Anomaly::CancelUnknown, BLANK);
            return;
        };
        let mut scratch = std::mem::take(&mut self.scratch);
        let unmasked = is_unmasked(frame, &mut scratch);
        let master = Section10::of(frame)
            .map(|section| section.master_mti())
            .unwrap_or(Mti(0));
        scratch.clear();
        scratch.extend_from_slice(frame);
        set_master_mti(&mut scratch, Mti(0));
        let image = digest(data(&scratch));
        self.scratch = scratch;
        let Some(entry) = self.ledger.get_mut(id) else {
            return;
        };
        let report = match entry.outcome {
            Outcome::Approved => Some(entry.mti.0 + 10),
            Outcome::Refused(_) => Some(entry.mti.0 + 40),
            Outcome::None | Outcome::Abnormal(_) => None,
        };
        let master_fits = if confirm {
            master == entry.mti
        } else {
            Some(master.0) == report
        };
        let number_fits = confirm || number(&header.centre_seq()) == Some(entry.centre_seq);
        let differs = image != entry.image || !master_fits || !number_fits;
        let mut found = [None, None];
        if unmasked {
            entry.anomalies |= Anomaly::Unmasked.bit();
            found[0] = Some(Anomaly::Unmasked);
        }
        if differs {
            entry.anomalies |= Anomaly::ImageDiffers.bit();
            found[1] = Some(Anomaly::ImageDiffers);
        }
        for anomaly in found.into_iter().flatten() {
            self.anomaly(session, Some(header), anomaly, BLANK);
        }
    }

    /// 8970 to a fault command that failed a check.
    fn reject_fault(
        &mut self,
        session: u32,
        frame: &[u8],
        header: &Header<'_>,
        entry: Option<EntryId>,
        code: Code,
        decision: &Decision,
    ) {
        if is_our_fault(code) {
            self.anomaly(session, Some(header), Anomaly::Refused, code);
        }
        if &code.0 == b"C03" {
            self.stats.fault_abnormal += 1;
            self.scratch.clear();
            report::refuse_over_long(frame, &mut self.scratch);
            self.emit(session, None, decision);
            return;
        }
        let mti = header.mti();
        self.fault_report(
            session,
            frame,
            mti,
            entry,
            echoed(header),
            Verdict::Abnormal(code),
            decision,
        );
    }

    /// Answers a fault command.
    #[expect(
        clippy::too_many_arguments,
        reason = "a report is made of all of these, and no two belong together"
    )]
    pub(super) fn fault_report(
        &mut self,
        session: u32,
        frame: &[u8],
        mti: Mti,
        entry: Option<EntryId>,
        assigned: Assigned,
        verdict: Verdict,
        decision: &Decision,
    ) {
        let confirm = matches!(mti, Mti::CANCEL_CONFIRM | Mti::CANCEL_CONFIRM_AGAIN);
        let done = if confirm {
            Mti::CANCEL_CONFIRM_REPORT
        } else {
            Mti::CANCEL_REPORT
        };
        let (answer, code) = match verdict {
            Verdict::Good | Verdict::Refused(_) => (done, BLANK),
            Verdict::TakenOver(code) => (done, code),
            Verdict::Abnormal(code) => (Mti::ABNORMAL, code),
        };
        let assigned = match Header::new(frame) {
            Ok(header) if answer == Mti::ABNORMAL && !code.assigns() => echoed(&header),
            _ => assigned,
        };
        if answer == Mti::ABNORMAL {
            self.stats.fault_abnormal += 1;
        } else {
            self.stats.undone += 1;
        }
        if let Some(entry) = entry.and_then(|id| self.ledger.get_mut(id)) {
            entry.cancel_code = code;
        }
        self.build(frame, answer, assigned, code, None);
        self.emit(session, None, decision);
    }
}
