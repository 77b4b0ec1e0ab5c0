//! Fault messages at the centre (spec/cafis.md 8.4).

use super::{Centre, Entry, Later, State};
use crate::sim::SEC;
use codec::cafis::fault::{ReportFields, make_image, write_cancel, write_cancel_confirm};
use codec::cafis::header::{Assigned, Header};
use codec::cafis::mti::Mti;
use codec::cafis::report::{NO_ERROR, report_from};
use codec::cafis::section::TransactionKey;

impl Centre {
    pub(super) fn fault(&mut self, route: u16, mti: Mti, frame: &[u8]) -> Result<(), String> {
        let confirm = matches!(mti, Mti::CANCEL_CONFIRM | Mti::CANCEL_CONFIRM_AGAIN);
        let header = Header::new(frame).map_err(|error| format!("C58: {error}"))?;
        let key = TransactionKey::of(frame).ok_or("C34: no section 1-0")?.0;
        let named = |entry: &Entry| {
            entry.key == key
                && Some(entry.sequence) == header.sequence()
                && entry.day == header.originator_day()
        };
        let at = self.ledger.iter().position(named);
        if self.by_hand.contains(&key) {
            return self.fault_after_telephone(at, route, mti, frame);
        }
        // A command that crossed the answer to the one before finds its transaction undone and its route given away.
        let crossed = at.is_some_and(|at| self.ledger[at].state == State::Cancelled);
        if let Some(other) = self.busy.get(&route).filter(|other| Some(**other) != at) {
            if crossed {
                return self.refuse_fault(frame, *b"C51");
            }
            return Err(format!(
                "C51: {} for {:?} on route {route}, which has request {}",
                mti.0,
                header.sequence(),
                self.ledger[*other].sequence
            ));
        }
        let Some(at) = at else {
            if !confirm {
                return Err(format!("8.4: an {} for a request that never came", mti.0));
            }
            // The request never arrived, so the last on this route is another: C56, as the interface has it.
            return self.refuse_fault(frame, *b"C56");
        };
        if self.ledger[at].turnaround {
            return Err(format!("8.2: an {} for a turnaround request", mti.0));
        }
        self.expect_bytes(at, route, mti, frame)?;
        if confirm && self.last_on_route.get(&route) != Some(&at) {
            if crossed {
                return self.refuse_fault(frame, *b"C56");
            }
            return Err(format!(
                "C56 by the gateway's own fault: {} on route {route}, where request {} was not the last",
                mti.0, self.ledger[at].sequence
            ));
        }
        if let Some(code) = self.refusal() {
            return self.refuse_fault(frame, code);
        }
        self.answer_fault(at, route, mti, frame)
    }

    /// A command for what was settled by telephone: it was on its way then, or an application ordered it afterwards.
    fn fault_after_telephone(
        &mut self,
        at: Option<usize>,
        route: u16,
        mti: Mti,
        frame: &[u8],
    ) -> Result<(), String> {
        let confirm = matches!(mti, Mti::CANCEL_CONFIRM | Mti::CANCEL_CONFIRM_AGAIN);
        if self.busy.contains_key(&route) {
            return self.refuse_fault(frame, *b"C51");
        }
        if confirm && (at.is_none() || self.last_on_route.get(&route) != at.as_ref()) {
            return self.refuse_fault(frame, *b"C56");
        }
        if let Some(code) = self.refusal() {
            return self.refuse_fault(frame, code);
        }
        let answer = if confirm {
            Mti::CANCEL_CONFIRM_REPORT
        } else {
            Mti::CANCEL_REPORT
        };
        let assigned = self.assign(b'1');
        let mut report = Vec::new();
        report_from(frame, answer, assigned, NO_ERROR, None, &mut report);
        self.send(report);
        Ok(())
    }

    /// Byte for byte what 8.3 says.
    fn expect_bytes(&self, at: usize, route: u16, mti: Mti, frame: &[u8]) -> Result<(), String> {
        let entry = &self.ledger[at];
        let mut image = entry.request.clone();
        make_image(&mut image).map_err(|error| format!("8.3: {error}"))?;
        let mut expected = Vec::new();
        match mti {
            Mti::CANCEL_CONFIRM | Mti::CANCEL_CONFIRM_AGAIN => {
                write_cancel_confirm(&image, mti == Mti::CANCEL_CONFIRM_AGAIN, &mut expected);
            }
            _ => {
                let report = Header::new(&entry.report)
                    .map_err(|_| format!("8.4: an {} and there was no report", mti.0))?;
                let fields = ReportFields::of(&report);
                write_cancel(
                    &image,
                    &fields,
                    route,
                    mti == Mti::CANCEL_AGAIN,
                    &mut expected,
                );
            }
        }
        if expected == frame {
            return Ok(());
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Err(format!(
            "8.3: {} is\n  {}\n  not\n  {}",
            mti.0,
            text(frame),
            text(&expected)
        ))
    }

    fn refuse_fault(&mut self, frame: &[u8], code: [u8; 3]) -> Result<(), String> {
        let mut report = Vec::new();
        let header = Header::new(frame).map_err(|error| format!("C58: {error}"))?;
        report_from(
            frame,
            Mti::ABNORMAL,
            header.assigned(),
            code,
            None,
            &mut report,
        );
        self.send(report);
        Ok(())
    }

    fn answer_fault(
        &mut self,
        at: usize,
        route: u16,
        mti: Mti,
        frame: &[u8],
    ) -> Result<(), String> {
        let undone = self.ledger[at].state == State::Cancelled;
        if !undone {
            self.busy.insert(route, at);
        }
        if !undone && self.rng.chance(self.mood.busy) {
            let code = *self.rng.pick(&[b"C12", b"C33"]);
            self.busy.remove(&route);
            return self.refuse_fault(frame, *code);
        }
        let heard = !self.rng.chance(self.mood.silent / 2);
        if !heard {
            return Ok(());
        }
        self.ledger[at].state = State::Cancelled;
        if self.rng.chance(self.mood.silent) {
            return Ok(());
        }
        let confirm = matches!(mti, Mti::CANCEL_CONFIRM | Mti::CANCEL_CONFIRM_AGAIN);
        let answer = if confirm {
            Mti::CANCEL_CONFIRM_REPORT
        } else {
            Mti::CANCEL_REPORT
        };
        let code = match self.rng.chance(self.mood.taken_over) {
            true => **self.rng.pick(&[b"C13", b"C14", b"C50"]),
            false => NO_ERROR,
        };
        let assigned = match self.ledger[at].assigned {
            Assigned::NOT_YET => self.assign(b'1'),
            assigned => assigned,
        };
        let mut report = Vec::new();
        report_from(frame, answer, assigned, code, None, &mut report);
        // What is undone already is answered at once.
        let delay = match !undone && self.rng.chance(self.mood.late) {
            true => self.rng.between(55 * SEC, 80 * SEC),
            false => 0,
        };
        if self.rng.chance(self.mood.twice) {
            self.after(delay + SEC, Later::Again(report.clone(), self.starts));
        }
        match undone {
            true => {
                self.busy.retain(|_, entry| *entry != at);
                self.send(report);
            }
            false => self.after(delay, Later::Answer(at, report, self.starts)),
        }
        Ok(())
    }
}
