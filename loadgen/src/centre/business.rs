//! Requests on outward routes: checked, entered, answered for the issuer (`spec/cafis.md` 9.5, 3.2, 3.3).
//!
//! The quick way is one pass: checks, numbers, ledger, answer. Only a request that has to wait for the issuer is
//! copied. Not played: relayed advice (C35 comes by rule only), and the counters of a reconciliation.

use codec::cafis::fault::make_image;
use codec::cafis::header::{Assigned, Header, data};
use codec::cafis::mti::{Kind, Mti, is_turnaround, lookup};
use codec::cafis::report;
use codec::cafis::section::{Section10, TransactionKey};

use super::behaviour::Decision;
use super::checks::{self, Code, Facts, IssuerState, Last};
use super::format;
use super::ledger::{Anomaly, CancelledBy, Entry, EntryId, NO_CODE, Outcome, digest};
use super::line::{LastRequest, Verdict, Waiting};
use super::section_e;
use super::sim::{BLANK, Sim, is_served};
use super::timers::Timer;

const NS_PER_MS: u64 = 1_000_000;
const ISSUER_SILENT: Code = Code(*b"C50");

impl Sim {
    /// A general request.
    pub(super) fn request(
        &mut self,
        session: u32,
        frame: &[u8],
        header: &Header<'_>,
        over_long: bool,
        decision: &Decision,
    ) {
        let position = usize::from(self.sessions[session as usize].line);
        let Ok(common) = Section10::of(frame) else {
            self.anomaly(session, Some(header), Anomaly::NoSection, BLANK);
            return;
        };
        self.stats.requests += 1;
        let mti = header.mti();
        let turnaround = is_turnaround(mti, data(frame));
        let facts = self.facts(position, frame, header, over_long, turnaround);
        let (route, sequence) = (facts.route, facts.sequence);
        let failure = checks::first_failure(&checks::GENERAL, &facts);
        let accepted = failure.is_none_or(Code::assigns);
        let mut entry = self.blank_entry(position, header, common.key());
        let assigned = if accepted {
            let (assigned, number) = self.assign(position, b'1');
            entry.centre_seq = number;
            assigned
        } else {
            echoed(header)
        };
        if !accepted {
            let code = failure.unwrap_or(BLANK);
            self.reject(session, frame, header, entry, code, decision);
            return;
        }
        if self.ledger.keeps() {
            entry.image = self.image_digest(frame);
        }
        let verdict = verdict_of(failure, turnaround, decision);
        let id = self.ledger.enter(entry);
        let slot = route.and_then(|route| self.lines[position].slot(route));
        let Some(slot) = slot else {
            unreachable!("route {route:?} passed the check of the contract");
        };
        self.lines[position].outward[slot].last = Some(LastRequest {
            facts: Last {
                sequence: sequence.unwrap_or(0),
                day: header.originator_day(),
                proxy: header.proxy_report(),
                issuer: header.issuer(),
            },
            entry: id,
            assigned,
        });
        let silent = !turnaround && self.lines[position].issuer == IssuerState::Silent;
        let wait_ns = if silent {
            self.config.timers.t13_ms * NS_PER_MS
        } else {
            decision.delay_ns
        };
        if wait_ns == 0 {
            self.report(session, frame, mti, id, assigned, verdict, decision);
            return;
        }
        let verdict = if silent {
            Verdict::Abnormal(ISSUER_SILENT)
        } else {
            verdict
        };
        let frame = self.keep(frame);
        let waiting = Waiting {
            fault: false,
            frame,
            session,
            entry: Some(id),
            assigned,
            verdict,
            decision: *decision,
            sequence: sequence.unwrap_or(0),
            day: header.originator_day(),
        };
        self.wait(position, slot, waiting, wait_ns);
    }

    /// The ledger's entry of a request that has just come.
    fn blank_entry(&self, line: usize, header: &Header<'_>, key: TransactionKey) -> Entry {
        Entry {
            key,
            line: line as u16,
            day: day_of(header),
            sequence: header.sequence().unwrap_or(0),
            route: header.route().unwrap_or(0),
            mti: header.mti(),
            outcome: Outcome::None,
            request_us: self.now.us,
            report_us: 0,
            centre_seq: 0,
            cancelled: None,
            cancel_code: NO_CODE,
            faults: 0,
            anomalies: 0,
            image: 0,
        }
    }

    /// Leaves a message waiting for the issuer on its route.
    pub(super) fn wait(&mut self, line: usize, slot: usize, waiting: Waiting, wait_ns: u64) {
        let route = &mut self.lines[line].outward[slot];
        route.token = route.token.wrapping_add(1);
        let token = route.token;
        let before = route.waiting.replace(waiting);
        if let Some(before) = before {
            self.recycle(before.frame);
        }
        self.timers.arm(
            self.now.ns + wait_ns,
            Timer::Issuer {
                line: line as u16,
                slot,
                token,
            },
        );
    }

    /// The issuer's answer is there, or t13 or t15 has expired.
    pub(super) fn issuer_answers(&mut self, line: usize, slot: usize, token: u32) {
        let route = &mut self.lines[line].outward[slot];
        if route.token != token {
            return;
        }
        let Some(waiting) = route.waiting.take() else {
            return;
        };
        let Waiting {
            frame,
            session,
            entry,
            assigned,
            verdict,
            decision,
            fault,
            ..
        } = waiting;
        let Ok(mti) = Header::new(&frame).map(|header| header.mti()) else {
            unreachable!("a frame of {} bytes was kept without a header", frame.len());
        };
        if fault {
            self.fault_report(session, &frame, mti, entry, assigned, verdict, &decision);
        } else if let Some(entry) = entry {
            self.report(session, &frame, mti, entry, assigned, verdict, &decision);
        }
        self.recycle(frame);
    }

    /// What the checks may know of a message.
    pub(super) fn facts<'a>(
        &'a self,
        line: usize,
        frame: &[u8],
        header: &Header<'a>,
        over_long: bool,
        turnaround: bool,
    ) -> Facts<'a> {
        let state = &self.lines[line];
        let route = header.route();
        let sequence = header.sequence();
        let on_route = route
            .and_then(|route| state.slot(route))
            .map(|slot| &state.outward[slot]);
        let mti = header.mti();
        let general = is_served(mti);
        let taken = on_route
            .and_then(|route| route.waiting.as_ref())
            .is_some_and(|waiting| {
                general
                    || Some(waiting.sequence) != sequence
                    || waiting.day != header.originator_day()
            });
        Facts {
            header: *header,
            route,
            sequence,
            over_long,
            route_max: state.route_max(),
            route_taken: taken,
            company: state.config.company,
            x2: state.config.x2,
            issuers: &self.config.issuers,
            served: general,
            turnaround,
            sections: format::verdict(mti, data(frame)),
            last: on_route.and_then(|route| route.last).map(|last| last.facts),
            open: state.is_open(),
            ending: state.is_ending(),
            congested: state.congested,
            issuer: state.issuer,
        }
    }

    /// Digest of the data sections a fault command for this request has to carry; 0 if no image can be made of it.
    fn image_digest(&mut self, frame: &[u8]) -> u64 {
        self.scratch.clear();
        self.scratch.extend_from_slice(frame);
        match make_image(&mut self.scratch) {
            Ok(()) => digest(data(&self.scratch)),
            Err(_) => 0,
        }
    }

    /// 8970 to a request that failed a check.
    fn reject(
        &mut self,
        session: u32,
        frame: &[u8],
        header: &Header<'_>,
        mut entry: Entry,
        code: Code,
        decision: &Decision,
    ) {
        if is_our_fault(code) {
            entry.anomalies |= Anomaly::Refused.bit();
            self.anomaly(session, Some(header), Anomaly::Refused, code);
        }
        entry.outcome = Outcome::Abnormal(code);
        self.stats.abnormal += 1;
        // A sequence that is no number, or zero, names nothing and would only spoil the table of sequences.
        let id = (entry.sequence > 0).then(|| self.ledger.enter(entry));
        self.scratch.clear();
        if &code.0 == b"C03" {
            report::refuse_over_long(frame, &mut self.scratch);
        } else {
            report::report_from(
                frame,
                Mti::ABNORMAL,
                echoed(header),
                code.0,
                None,
                &mut self.scratch,
            );
        }
        self.emit(session, id, decision);
    }

    /// Answers a request as the issuer decided.
    #[expect(
        clippy::too_many_arguments,
        reason = "a report is made of all of these, and no two belong together"
    )]
    fn report(
        &mut self,
        session: u32,
        frame: &[u8],
        mti: Mti,
        id: EntryId,
        assigned: Assigned,
        verdict: Verdict,
        decision: &Decision,
    ) {
        let line = usize::from(self.sessions[session as usize].line);
        let refusal = || lookup(mti).and_then(|message| message.answer(Kind::Refusal));
        let outcome = match verdict {
            Verdict::Refused(code) if refusal().is_some() => Outcome::Refused(code),
            Verdict::Abnormal(code) | Verdict::TakenOver(code) => Outcome::Abnormal(code),
            Verdict::Good | Verdict::Refused(_) => Outcome::Approved,
        };
        match outcome {
            Outcome::Approved | Outcome::None => {
                self.stats.approved += 1;
                self.lines[line].counters.count(mti, 1);
                self.approve(line, frame, mti, assigned);
            }
            Outcome::Refused(code) => {
                self.stats.refused += 1;
                self.build(
                    frame,
                    refusal().unwrap_or(Mti::ABNORMAL),
                    assigned,
                    code,
                    None,
                );
            }
            Outcome::Abnormal(code) => {
                self.stats.abnormal += 1;
                let assigned = if code.assigns() {
                    assigned
                } else {
                    Assigned::NOT_YET
                };
                self.build(frame, Mti::ABNORMAL, assigned, code, None);
            }
        }
        if let Some(entry) = self.ledger.get_mut(id) {
            entry.outcome = outcome;
        }
        self.emit(session, Some(id), decision);
    }

    /// Builds the approval of a request.
    fn approve(&mut self, line: usize, frame: &[u8], mti: Mti, assigned: Assigned) {
        let code = data(frame).get(47..51);
        match (mti, code) {
            (Mti::COUNTER_ENQUIRY, _) => {
                let state = &self.lines[line];
                let counters =
                    section_e::counters(&state.config.company, &self.month_day, &state.counters);
                self.scratch.clear();
                report::counter_report(frame, assigned, &counters, &mut self.scratch);
            }
            (Mti::ENQUIRY_REQUEST, Some(b"301@" | b"302@")) => {
                self.scratch.clear();
                report::counter_report(frame, assigned, b"NO ENTRIES@", &mut self.scratch);
                codec::cafis::header::set_mti(&mut self.scratch, Mti::ENQUIRY_APPROVAL);
            }
            _ => {
                let approval = match mti {
                    Mti::AUTH_REQUEST | Mti::SALE_REQUEST | Mti::BUSINESS_CANCEL_REQUEST => Some(
                        self.config
                            .approval
                            .unwrap_or_else(|| approval_of(assigned)),
                    ),
                    _ => None,
                };
                let answer = lookup(mti).and_then(|message| message.answer(Kind::Approval));
                self.build(
                    frame,
                    answer.unwrap_or(Mti(mti.0 + 10)),
                    assigned,
                    BLANK,
                    approval,
                );
            }
        }
    }

    /// The centre could not hand over a report: it undoes the request at the issuer (`spec/cafis.md` 5.6).
    pub(super) fn undeliverable(&mut self, entry: Option<EntryId>) {
        self.stats.undelivered += 1;
        if let Some(entry) = entry.and_then(|id| self.ledger.get_mut(id))
            && entry.cancelled.is_none()
            && matches!(entry.outcome, Outcome::Approved | Outcome::Refused(_))
        {
            entry.cancelled = Some(CancelledBy::Centre);
        }
    }

    /// The gateway has failed: what waits for the issuer is undone there, and gets no report any more.
    pub(super) fn partner_failed(&mut self, line: usize) {
        self.lines[line].service = super::line::Service::Failed;
        self.lines[line].command = None;
        self.abandon(line);
    }

    /// Ends everything in flight on a line.
    pub(super) fn abandon(&mut self, line: usize) {
        for slot in 0..self.lines[line].outward.len() {
            let Some(waiting) = self.lines[line].outward[slot].waiting.take() else {
                continue;
            };
            if !waiting.fault
                && let Some(entry) = waiting.entry.and_then(|id| self.ledger.get_mut(id))
            {
                entry.cancelled = Some(CancelledBy::Centre);
            }
            self.recycle(waiting.frame);
        }
        self.lines[line]
            .inward
            .iter_mut()
            .for_each(|inward| *inward = None);
        self.lines[line].counter_out = false;
        self.lines[line].sign_off = None;
    }
}

/// What the issuer will say, unless it stays silent.
fn verdict_of(failure: Option<Code>, turnaround: bool, decision: &Decision) -> Verdict {
    match (failure.or(decision.code), decision.refuse) {
        (Some(code), _) => Verdict::Abnormal(code),
        (None, Some(code)) if !turnaround => Verdict::Refused(code),
        _ => Verdict::Good,
    }
}

/// The centre's fields as the message has them.
pub(super) fn echoed(header: &Header<'_>) -> Assigned {
    Assigned {
        centre_id: header.centre_id(),
        centre_seq: header.centre_seq(),
        month_day: header.month_day(),
    }
}

/// Day of the cut date; 0 if it is no number.
pub(super) fn day_of(header: &Header<'_>) -> u8 {
    let [a, b] = header.originator_day();
    match (a, b) {
        (b'0'..=b'3', b'0'..=b'9') => ((a - b'0') * 10 + (b - b'0')).min(31),
        _ => 0,
    }
}

/// Codes that say that a gateway's data is wrong, not that something is down.
pub(super) fn is_our_fault(code: Code) -> bool {
    !matches!(
        &code.0,
        b"C12" | b"C13" | b"C14" | b"C15" | b"C33" | b"C50" | b"C60"
    )
}

/// Whether a fault command carries something that its image would not.
pub(super) fn is_unmasked(frame: &[u8], scratch: &mut Vec<u8>) -> bool {
    scratch.clear();
    scratch.extend_from_slice(frame);
    make_image(scratch).is_err() || scratch != frame
}

fn approval_of(assigned: Assigned) -> [u8; 7] {
    let mut number = [b'0'; 7];
    number[1..].copy_from_slice(&assigned.centre_seq);
    number
}
