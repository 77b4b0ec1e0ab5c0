//! Reports of the centre, their delivery to the application, and what follows when nobody takes them.

use super::service::{Action, Incoming, Service};
use super::tx::{Cause, NO_TX, Outcome, Phase, byte_enum};
use super::wheel::TimerId;
use super::{Core, Gate, LineNo, LinkId, Output, Timer, fact};
use codec::cafis::fault::{Mismatch, matches_sent};
use codec::cafis::header::{Header, data};
use codec::cafis::mti::{Mti, is_answered_by};
use codec::cafis::section::Section10;
use codec::link::message::Report;
use codec::link::{Head, Kind as Frames, rc};

byte_enum! {
    /// Why a telegram of the centre was dropped (spec/cafis.md 9.1).
    Drop {
        /// It answers nothing that is outstanding.
        NoMatch = 1,
        /// The transaction that it answers is over.
        Duplicate = 2,
        /// Its sections cannot be told apart, or its header holds no numbers.
        Format = 3,
        /// It is longer than 1,024 bytes.
        TooLong = 4,
        /// The interface has no such message type.
        UnknownType = 5,
        /// The service state does not allow it.
        OutOfState = 6,
        /// It fits the transaction on its route, but is no answer to what was sent.
        Unexpected = 7,
    }
}

impl Core {
    /// A report on an outward route, on whichever session it came (spec/cafis.md 9.1).
    pub(super) fn report<O: Output>(
        &mut self,
        line: LineNo,
        route: u16,
        mti: Mti,
        frame: &[u8],
        out: &mut O,
    ) {
        let state = self.line(line);
        if state.service.action(Incoming::Report) == Action::Drop {
            return self.drop_telegram(line, Drop::OutOfState, frame, out);
        }
        let Some(place) = state.routes.get(route) else {
            return self.drop_telegram(line, Drop::NoMatch, frame, out);
        };
        let (index, last_sequence) = (place.tx, place.last_sequence);
        if index == NO_TX {
            let again =
                Header::new(frame).is_ok_and(|header| header.sequence() == Some(last_sequence));
            let why = if again && last_sequence != 0 {
                Drop::Duplicate
            } else {
                Drop::NoMatch
            };
            return self.drop_telegram(line, why, frame, out);
        }
        let tx = &self.txs[index];
        let request = Mti(tx.mti);
        let (expected, fault_sent) = match tx.phase {
            Phase::Sent => (request, false),
            Phase::FaultSent | Phase::FaultDelay => (Mti(tx.fault), true),
            // What is to be sent next tells whether anything was sent before.
            Phase::Held | Phase::Escalated if tx.fault == 8920 || tx.fault == 8940 => {
                (Mti(tx.fault), true)
            }
            Phase::Held | Phase::Escalated => (request, false),
            _ => return self.drop_telegram(line, Drop::NoMatch, frame, out),
        };
        let in_cascade = tx.in_cascade();
        match matches_sent(self.txs.image(index), expected, route, frame) {
            Ok(()) if fault_sent && !answers_request(mti, frame) => {
                self.fault_report(index, mti, frame, out)
            }
            Ok(()) if in_cascade => self.late_report(index, frame, out),
            Ok(()) => self.accept_report(index, mti, frame, out),
            Err(Mismatch::Type { .. }) if in_cascade && is_answered_by(request, mti) => {
                self.late_report(index, frame, out)
            }
            Err(Mismatch::Type { .. }) => self.drop_telegram(line, Drop::Unexpected, frame, out),
            Err(_) => self.drop_telegram(line, Drop::NoMatch, frame, out),
        }
    }

    /// A report that comes while the cancel is on its way: journal only, the cancel wins (spec/cafis.md 8.5, O-30).
    fn late_report<O: Output>(&mut self, index: u32, frame: &[u8], out: &mut O) {
        let line = self.txs[index].line;
        let Some(masked) = self.masked_copy(frame) else {
            return self.drop_telegram(line, Drop::Format, frame, out);
        };
        self.commit(line, index, fact::LateReport { frame: &masked }, out);
        self.scratch = masked;
    }

    /// The report to a request: on record, then to the application.
    fn accept_report<O: Output>(&mut self, index: u32, mti: Mti, frame: &[u8], out: &mut O) {
        let line = self.txs[index].line;
        let Some(masked) = self.masked_copy(frame) else {
            return self.drop_telegram(line, Drop::Format, frame, out);
        };
        self.stop_tx_timer(index);
        self.commit(line, index, fact::Report { frame: &masked }, out);
        self.scratch = masked;
        // The record is masked; what the application gets, and may get again, is not.
        self.txs.set_report(index, frame);
        let code = Section10::of(frame).map_or(*b"   ", |section| section.error_code());
        if self.txs[index].given_up {
            self.settle_undelivered(index, Cause::GaveUp, out);
        } else {
            self.arm_tx_timer(index, self.cfg.delivery_limit_ns);
            self.report_frame(index, 0, out);
        }
        self.route_freed(line, out);
        if mti == Mti::ABNORMAL && code == *b"C60" {
            self.not_open_at_centre(line, out);
        }
    }

    /// Hands the report to the library.
    pub(super) fn report_frame<O: Output>(&mut self, index: u32, flags: u8, out: &mut O) {
        let tx = &self.txs[index];
        let Some(link) = self
            .apis
            .slots
            .get(tx.api as usize)
            .and_then(|api| api.link)
        else {
            return;
        };
        let frame = self.txs.report(index);
        let Ok(header) = Header::new(frame) else {
            return;
        };
        let report = body_of(&header, frame);
        let head = Head {
            flags,
            session: self.api_number(tx.api),
            request: tx.request,
            trace: tx.trace,
            credit: self.cfg.credit,
            ..Head::new(Frames::Report)
        };
        out.link(
            link,
            Gate::Durable,
            &head,
            [&report.encode_head(), report.data],
        );
    }

    /// ACK: the library holds the report. Whether that counts as delivered is decided here, and told by CONFIRM.
    pub(super) fn ack<O: Output>(&mut self, link: LinkId, head: &Head, out: &mut O) {
        let Some(api) = self.api_on(link, head.session) else {
            let head = Head {
                code: rc::NO_SESSION_ID,
                ..confirm_head(head, self.cfg.credit)
            };
            return out.link(link, Gate::Now, &head, [&[], &[]]);
        };
        let code = match self.tx_of_request(api, head.request) {
            Some(index)
                if self.txs[index].phase == Phase::Reported && !self.txs[index].given_up =>
            {
                let line = self.txs[index].line;
                let in_recovery = self.txs[index].in_recovery;
                self.stop_tx_timer(index);
                self.credit_back(index);
                self.commit(
                    line,
                    index,
                    fact::Delivered {
                        request: head.request,
                    },
                    out,
                );
                if in_recovery {
                    self.recovery_progress(line, out);
                }
                rc::OK
            }
            Some(_) => rc::TIME_OUT,
            None => {
                let token = self.apis.slots[api as usize].token;
                match self.recent.by_request(&token, head.request) {
                    Some(old) if old.outcome == Outcome::Delivered => rc::OK,
                    Some(_) => rc::TIME_OUT,
                    // Forgotten: it may have been delivered, so the application has to ask by its key.
                    None => rc::ERROR_SOCKET,
                }
            }
        };
        let head = Head {
            code,
            ..confirm_head(head, self.cfg.credit)
        };
        out.link(link, Gate::Durable, &head, [&[], &[]]);
    }

    /// GIVEUP: the library's receive ended with a time-out.
    pub(super) fn give_up_request<O: Output>(&mut self, link: LinkId, head: &Head, out: &mut O) {
        let Some(api) = self.api_on(link, head.session) else {
            return;
        };
        if let Some(index) = self.tx_of_request(api, head.request) {
            self.give_up(index, Cause::GaveUp, out);
        }
        // Said in any case: only then does the library forget the request and count its credit as free.
        self.ended(link, head, rc::TIME_OUT, Gate::Durable, out);
    }

    /// The application will not take this transaction's report any more.
    pub(super) fn give_up<O: Output>(&mut self, index: u32, cause: Cause, out: &mut O) {
        if self.txs[index].given_up || self.txs[index].in_cascade() {
            return;
        }
        if self.txs[index].phase == Phase::Buffered {
            return self.refuse_unsent(index, rc::TIME_OUT, Gate::Durable, out);
        }
        self.credit_back(index);
        match self.txs[index].phase {
            Phase::Reported => {
                self.txs[index].given_up = true;
                self.stop_tx_timer(index);
                self.settle_undelivered(index, cause, out);
            }
            _ => self.txs[index].given_up = true,
        }
    }

    /// A report that nobody took: 8910 undoes an approval or refusal; an abnormal report and a turnaround start nothing.
    pub(super) fn settle_undelivered<O: Output>(&mut self, index: u32, cause: Cause, out: &mut O) {
        let (line, turnaround, has_report) = {
            let tx = &self.txs[index];
            (tx.line, tx.turnaround(), tx.has_report())
        };
        self.txs[index].given_up = true;
        if turnaround || !has_report {
            let outcome = if has_report {
                Outcome::Unanswered
            } else {
                Outcome::NotProcessed
            };
            self.commit(
                line,
                index,
                fact::Ended {
                    outcome: outcome as u8,
                },
                out,
            );
            self.recovery_progress(line, out);
        } else {
            self.start_cascade(index, 8910, cause, out);
        }
    }

    /// A transaction's timer expired; its phase says which one it was.
    pub(super) fn tx_timer<O: Output>(&mut self, index: u32, out: &mut O) {
        let Some(tx) = self.txs.get(index) else {
            return;
        };
        let (line, phase) = (tx.line, tx.phase);
        self.txs[index].timer = TimerId::NONE;
        match phase {
            Phase::Buffered => self.refuse_unsent(index, rc::ROUTE_BUSY, Gate::Durable, out),
            Phase::Sent => self.report_timed_out(index, out),
            Phase::Reported => {
                self.tell(index, Frames::Ended, rc::TIME_OUT, out);
                self.give_up(index, Cause::DeliveryLimit, out);
            }
            Phase::FaultSent | Phase::FaultDelay => self.send_next_fault(index, out),
            // No route for it in all the time that its sends might have taken.
            Phase::Held => self.answer_waiters(index, rc::ERR_RETRY_OVER, out),
            Phase::Free | Phase::Accepted | Phase::Escalated => {
                debug_assert!(false, "a timer of line {} in phase {phase:?}", line.0);
            }
        }
    }

    /// t31: the application is told, and the cancel-confirm begins (spec/cafis.md 8.1 A, 8.2).
    fn report_timed_out<O: Output>(&mut self, index: u32, out: &mut O) {
        let line = self.txs[index].line;
        if self.txs[index].turnaround() {
            self.end_request(index, out);
            self.commit(
                line,
                index,
                fact::Ended {
                    outcome: Outcome::Unanswered as u8,
                },
                out,
            );
            self.route_freed(line, out);
        } else {
            self.start_cascade(index, 8930, Cause::Timeout, out);
            self.end_request(index, out);
        }
    }

    /// Tells the application that no report will come: the daemon settles the transaction.
    pub(super) fn end_request<O: Output>(&mut self, index: u32, out: &mut O) {
        if !self.txs[index].given_up {
            self.tell(index, Frames::Ended, rc::TIME_OUT, out);
            self.credit_back(index);
            self.txs[index].given_up = true;
        }
    }

    pub(super) fn stop_tx_timer(&mut self, index: u32) {
        let timer = std::mem::replace(&mut self.txs[index].timer, TimerId::NONE);
        self.wheel.cancel(timer);
    }

    pub(super) fn arm_tx_timer(&mut self, index: u32, wait_ns: u64) {
        self.stop_tx_timer(index);
        let timer = self
            .wheel
            .arm(self.now.mono_ns + wait_ns, Timer::Tx(index).pack());
        self.txs[index].timer = timer;
    }

    /// C60: the centre does not regard us as open. A state that is young may not have reached it yet (O-18).
    pub(super) fn not_open_at_centre<O: Output>(&mut self, line: LineNo, out: &mut O) {
        let now_ns = self.now.mono_ns;
        let state = self.line(line);
        if state.service == Service::Open
            && now_ns - state.opened_ns >= super::cascade::OPEN_IS_YOUNG_NS
        {
            self.sign_on(line, out);
        }
    }
}

/// A telegram of the centre as the library hands it out, in REPORT and REQUEST alike.
pub(super) fn body_of<'a>(header: &Header<'_>, frame: &'a [u8]) -> Report<'a> {
    Report {
        centre_id: header.centre_id(),
        centre_seq: header.centre_seq(),
        issuer: header.issuer(),
        acquirer: header.acquirer(),
        mti: header.mti().digits(),
        date: header.month_day(),
        data: data(frame),
    }
}

fn confirm_head(ack: &Head, credit: u32) -> Head {
    Head {
        session: ack.session,
        request: ack.request,
        trace: ack.trace,
        credit,
        ..Head::new(Frames::Confirm)
    }
}

/// Whether an 8970 answers the request rather than the fault message: only the fault message carries a master MTI.
fn answers_request(mti: Mti, frame: &[u8]) -> bool {
    mti == Mti::ABNORMAL && Section10::of(frame).is_ok_and(|section| section.master_mti() == Mti(0))
}
