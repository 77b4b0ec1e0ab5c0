//! Service at the centre: sign-on, start, end, line checks, and its own requests on inward routes.

use super::{Act, Centre, Command, Later, Service};
use crate::sim::SEC;
use crate::sim::telegram::{self, Business};
use codec::cafis::control::{self, CentreControl, GatewayControl};
use codec::cafis::header::{Header, HeaderBuilder};
use codec::cafis::mti::Mti;
use codec::cafis::report::report_from;

impl Centre {
    /// A session is up.
    pub fn connected(&mut self, session: u64) {
        self.sessions.push(session);
    }

    /// A session is gone.
    pub fn disconnected(&mut self, session: u64) {
        self.sessions.retain(|other| *other != session);
        if let Some(command) = &self.command
            && command.session == Some(session)
        {
            self.command = None;
        }
        if self.sessions.is_empty() {
            self.gateway_failed();
            if self.service != Service::Closed {
                self.service = Service::Failed;
            }
        }
    }

    /// A control telegram of the gateway (the rows of 9.2 that matter to it).
    pub(super) fn control(&mut self, session: u64, mti: Mti, frame: &[u8]) -> Result<(), String> {
        let expected = |what: GatewayControl| {
            let mut expected = Vec::new();
            what.write(self.company, &mut expected);
            if expected == frame {
                return Ok(());
            }
            Err(format!("2.2: {} is not as it has to be", mti.0))
        };
        let waits = self
            .command
            .as_ref()
            .is_some_and(|command| command.mti != Mti::LINE_CHECK);
        match mti {
            Mti::SIGN_ON => {
                expected(GatewayControl::SignOn)?;
                if waits {
                    return Ok(());
                }
                self.gateway_failed();
                self.sign_on_permitted(frame);
            }
            Mti::SIGN_OFF => {
                expected(GatewayControl::SignOff)?;
                if waits || self.service != Service::Open {
                    return Ok(());
                }
                let wait = *self.rng.pick(&[0, SEC, 15 * SEC]);
                self.after(wait, Later::Permit(frame.to_vec()));
            }
            Mti::LINE_CHECK => {
                expected(GatewayControl::LineCheck)?;
                if self.rng.chance(self.mood.silent) {
                    return Ok(());
                }
                let mut report = Vec::new();
                let assigned = self.assign(b'0');
                report_from(
                    frame,
                    Mti::LINE_CHECK_REPORT,
                    assigned,
                    *b"   ",
                    None,
                    &mut report,
                );
                self.acts.push(Act::Send(Some(session), report));
            }
            _ => return self.command_answered(session, mti, frame),
        }
        Ok(())
    }

    fn sign_on_permitted(&mut self, frame: &[u8]) {
        self.opened();
        let mut report = Vec::new();
        let mut assigned = self.assign(b'0');
        assigned.month_day = *b"0000";
        report_from(
            frame,
            Mti::SIGN_ON_PERMITTED,
            assigned,
            *b"   ",
            None,
            &mut report,
        );
        self.send(report);
    }

    fn opened(&mut self) {
        self.service = Service::Open;
        if self.rng.chance(self.mood.synchronous) {
            self.synchronous_until = self.now + self.rng.between(1, 20) * SEC;
        }
    }

    pub(super) fn permit(&mut self, frame: Vec<u8>) {
        if self.service != Service::Open || self.command.is_some() {
            return;
        }
        self.gateway_failed();
        self.service = Service::Closed;
        let mut report = Vec::new();
        let mut assigned = self.assign(b'0');
        assigned.month_day = *b"0000";
        report_from(
            &frame,
            Mti::SIGN_OFF_PERMITTED,
            assigned,
            *b"   ",
            None,
            &mut report,
        );
        self.send(report);
    }

    fn command(&mut self, what: CentreControl, wait: u64) {
        if self.sessions.is_empty() || self.command.is_some() {
            return;
        }
        let mut frame = Vec::new();
        let assigned = self.assign(b'0');
        what.write(self.company, assigned, &mut frame);
        self.numbers += 1;
        let session = match what {
            CentreControl::LineCheck => Some(*self.rng.pick(&self.sessions)),
            _ => None,
        };
        self.command = Some(Command {
            mti: what.mti(),
            frame: frame.clone(),
            session,
            number: self.numbers,
        });
        self.acts.push(Act::Send(session, frame));
        self.after(wait, Later::Unanswered(self.numbers));
    }

    /// 0010, if there is reason for it.
    pub fn start(&mut self) {
        if self.service != Service::Open {
            self.command(CentreControl::Start, 30 * SEC);
        }
    }

    /// 0610, or 0910 at once.
    pub fn begin_end(&mut self) {
        if self.service != Service::Open {
            return;
        }
        match self.rng.chance(700) {
            true => self.command(CentreControl::EndNotice, 30 * SEC),
            false => self.command(CentreControl::End, 30 * SEC),
        }
    }

    pub(super) fn end(&mut self) {
        if self.service == Service::Ending {
            if self.rng.chance(300) {
                self.counter_notice();
            }
            self.command(CentreControl::End, 30 * SEC);
        }
    }

    fn command_answered(&mut self, session: u64, mti: Mti, frame: &[u8]) -> Result<(), String> {
        let known = matches!(
            mti,
            Mti::START_READY | Mti::END_READY | Mti::END_REPORT | Mti::LINE_CHECK_REPORT
        );
        if !known {
            return Err(format!("C54: control type {} from the gateway", mti.0));
        }
        let Some(command) = self.command.take() else {
            return Ok(());
        };
        let mut expected = Vec::new();
        control::answer(&command.frame, mti, &mut expected);
        let answers = codec::cafis::mti::is_answered_by(command.mti, mti);
        if !answers || expected != frame {
            // The answer to an earlier command, or one that the centre no longer waits for.
            self.command = Some(command);
            return Ok(());
        }
        if command.session.is_some_and(|wanted| wanted != session) {
            return Err("5.7: 9220 came on another session than its 9210".into());
        }
        match mti {
            Mti::START_READY => self.opened(),
            Mti::END_READY => {
                self.service = Service::Ending;
                let wait = *self.rng.pick(&[SEC, 30 * SEC, 70 * SEC]);
                // At times the centre thinks better of it and starts anew.
                let again = self.rng.chance(300) && self.mood.silent > 0;
                self.after(wait, if again { Later::Start } else { Later::End });
            }
            Mti::END_REPORT => {
                self.gateway_failed();
                self.service = Service::Closed;
                if self.rng.chance(500) {
                    let wait = self.rng.between(10, 100) * SEC;
                    self.after(wait, Later::Start);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// t10, t12 or t16 is over.
    pub(super) fn unanswered(&mut self, number: u64) {
        let Some(command) = self.command.take_if(|command| command.number == number) else {
            return;
        };
        match command.mti {
            Mti::START_COMMAND => self.after(210 * SEC, Later::Start),
            Mti::END_NOTICE | Mti::END_COMMAND => {
                self.gateway_failed();
                self.service = Service::Closed;
            }
            _ => {}
        }
    }

    fn counter_notice(&mut self) {
        let Some(route) = self.free_inward() else {
            return;
        };
        let frame = self.inward_frame(route, Mti::COUNTER_NOTICE, &super::counters());
        self.ask(route, frame);
    }

    /// The centre asks something by itself.
    pub fn ask_something(&mut self) {
        if self.service != Service::Open || self.sessions.is_empty() {
            return;
        }
        let dice = self.rng.below(10);
        if dice < 2 {
            return self.command(CentreControl::LineCheck, 30 * SEC);
        }
        let Some(route) = self.free_inward() else {
            return;
        };
        let key = telegram::key(900_000_000 + self.numbers);
        let frame = match dice {
            2 => self.inward_frame(route, Mti::COUNTER_NOTICE, &super::counters()),
            3..=5 => {
                let mut data = telegram::data(Business::Test, &key, 0, false);
                data.truncate(47);
                data.extend_from_slice(b"14111111111111111199120100000@");
                self.inward_frame(route, Mti::LOST_CARD_REQUEST, &data)
            }
            6 => {
                let data = telegram::data(Business::Authorisation, &key, 1, true);
                self.inward_frame(route, Mti::CANCEL_CONFIRM, &data)
            }
            _ => {
                let data = telegram::data(Business::Authorisation, &key, 1, true);
                self.inward_frame(route, Mti::AUTH_REQUEST, &data)
            }
        };
        self.ask(route, frame);
    }

    fn free_inward(&self) -> Option<u16> {
        (1..=self.routes)
            .map(|n| n * 2 + 1)
            .find(|route| !self.inward.contains_key(route))
    }

    fn inward_frame(&mut self, route: u16, mti: Mti, data: &[u8]) -> Vec<u8> {
        let assigned = self.assign(b'1');
        let header = HeaderBuilder {
            route,
            sequence: if mti == Mti::COUNTER_NOTICE { 0 } else { 77 },
            centre_id: assigned.centre_id,
            centre_seq: assigned.centre_seq,
            month_day: assigned.month_day,
            acquirer: if mti == Mti::COUNTER_NOTICE {
                *b"00000000000"
            } else {
                telegram::ISSUER
            },
            issuer: self.company,
            mti,
            originator_day: *b"30",
            trailer: data.len() as u16,
            ..HeaderBuilder::default()
        };
        [&header.to_bytes()[..], data].concat()
    }

    fn ask(&mut self, route: u16, frame: Vec<u8>) {
        self.numbers += 1;
        self.inward.insert(route, (frame.clone(), self.numbers));
        self.after(56 * SEC, Later::Inward(route, self.numbers));
        self.send(frame);
    }

    pub(super) fn inward_unanswered(&mut self, route: u16, number: u64) {
        if self.inward.get(&route).is_some_and(|(_, of)| *of == number) {
            self.inward.remove(&route);
        }
    }

    /// Every protected field has to be the request's (spec/cafis.md 9.4).
    pub(super) fn inward_answer(
        &mut self,
        route: u16,
        mti: Mti,
        frame: &[u8],
    ) -> Result<(), String> {
        let Some((asked, _)) = self.inward.get(&route) else {
            return Ok(());
        };
        let old = Header::new(asked).map_err(|error| error.to_string())?;
        let new = Header::new(frame).map_err(|error| error.to_string())?;
        if old.centre_seq() != new.centre_seq() {
            return Ok(());
        }
        let (old, new) = (old.bytes(), new.bytes());
        if old[..43] != new[..43] || old[47..60] != new[47..60] {
            return Err(format!(
                "9.4: {} differs from its request in a protected field",
                mti.0
            ));
        }
        let key = |frame: &[u8]| codec::cafis::section::TransactionKey::of(frame).map(|key| key.0);
        if mti != Mti::COUNTER_NOTICE_REPORT && key(asked) != key(frame) {
            return Err(format!(
                "9.4: {} has another transaction key than its request",
                mti.0
            ));
        }
        *self.inward_answers.entry(mti.0).or_default() += 1;
        self.inward.remove(&route);
        Ok(())
    }
}
