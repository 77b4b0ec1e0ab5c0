//! Requests of applications: from a SEND frame to a durable, sent request.

use super::config::RouteBusy;
use super::date::day_digits;
use super::line::{Recovery, Sequences};
use super::service::Service;
use super::tx::{FLAG_ID, FLAG_TURNAROUND, Outcome, Phase};
use super::{CentreSend, Core, Gate, LineNo, LinkId, Output, Space, Timer};
use super::{fact, wheel::TimerId};
use codec::cafis::fault::make_image;
use codec::cafis::frame::{HEADER_LEN, TRAILER_MAX};
use codec::cafis::header::{HeaderBuilder, set_engine_fields};
use codec::cafis::mti::{Class, Kind, Mti, is_turnaround, lookup};
use codec::cafis::section::Section10;
use codec::link::message::Send;
use codec::link::{Head, Kind as Frames, LinkError, frame, rc};

impl Core {
    /// SEND: a request of the application, or its answer to a request of the centre.
    pub(super) fn send<O: Output>(
        &mut self,
        link: LinkId,
        line: LineNo,
        head: &Head,
        body: &[u8],
        out: &mut O,
    ) -> Result<(), LinkError> {
        let send = Send::decode(body)?;
        let Some(api) = self.api_on(link, head.session) else {
            self.ended(link, head, rc::NO_SESSION_ID, Gate::Now, out);
            return Ok(());
        };
        let maybe_known = head.flags & frame::FLAG_AGAIN != 0
            || head.request <= self.apis.slots[api as usize].highest;
        if maybe_known && self.send_again(link, api, head, out) {
            return Ok(());
        }
        let code = match self.admit(link, line, &send) {
            Ok(Admission::Request) => return self.new_request(link, line, api, head, &send, out),
            Ok(Admission::Answer) => self.answer_inward(line, head, &send, out),
            Err(code) => code,
        };
        match code {
            rc::OK => {
                let head = Head {
                    session: head.session,
                    request: head.request,
                    ..Head::new(Frames::Accepted)
                };
                out.link(link, Gate::Durable, &head, [&[], &[]]);
            }
            code => self.ended(link, head, code, Gate::Now, out),
        }
        Ok(())
    }

    /// ENDED for a request that has no transaction.
    pub(super) fn ended<O: Output>(
        &mut self,
        link: LinkId,
        head: &Head,
        code: u16,
        gate: Gate,
        out: &mut O,
    ) {
        let head = Head {
            code,
            session: head.session,
            request: head.request,
            trace: head.trace,
            credit: self.cfg.credit,
            ..Head::new(Frames::Ended)
        };
        out.link(link, gate, &head, [&[], &[]]);
    }

    /// Whether a telegram may be taken now; the order of the checks is that of spec/fexics.md 4.5.
    fn admit(&mut self, link: LinkId, line: LineNo, send: &Send<'_>) -> Result<Admission, u16> {
        let row = Mti::from_digits(send.mti)
            .and_then(lookup)
            .ok_or(rc::INVALID_PARAM)?;
        if send.data.len() > TRAILER_MAX || matches!(row.class, Class::Fault | Class::Control) {
            return Err(rc::INVALID_PARAM);
        }
        let state = self.line(line);
        if state.sessions.count() == 0 {
            return Err(rc::ERR_ALL_CENTER_SESSION);
        }
        match row.kind {
            Kind::Approval | Kind::Refusal => return Ok(Admission::Answer),
            Kind::Request if row.mti != Mti::COUNTER_NOTICE => {}
            _ => return Err(rc::INVALID_PARAM),
        }
        let stopping = state.service != Service::Open || state.recovery == Recovery::Running;
        if stopping || self.shutdown.is_on() {
            return Err(rc::PKG_IS_SIGNOFF_OR_SWITCHING);
        }
        if Section10::new(send.data).is_err() {
            return Err(rc::INVALID_MSG);
        }
        if self.space == Space::Low {
            return Err(rc::ERR_JOURNAL);
        }
        let credit = self.cfg.credit;
        match self.links.get(link) {
            Some(link) if link.outstanding < credit => Ok(Admission::Request),
            _ => Err(rc::ERROR_DAEMON),
        }
    }

    /// A request id that may be known: it is answered from what is on record, never sent a second time. False if it
    /// was never accepted.
    fn send_again<O: Output>(&mut self, link: LinkId, api: u32, head: &Head, out: &mut O) -> bool {
        if let Some(index) = self.tx_of_request(api, head.request) {
            let accepted = Head {
                session: head.session,
                request: head.request,
                ..Head::new(Frames::Accepted)
            };
            if self.txs[index].phase != Phase::Buffered {
                out.link(link, Gate::Durable, &accepted, [&[], &[]]);
            }
            if self.txs[index].given_up || self.txs[index].in_cascade() {
                self.ended(link, head, rc::TIME_OUT, Gate::Durable, out);
            } else if self.txs[index].in_recovery {
                // Its report is masked on record and is not handed out: recovery cancels it.
                self.end_request(index, out);
            } else if self.txs[index].phase == Phase::Reported {
                self.report_frame(index, frame::FLAG_AGAIN, out);
            }
            return true;
        }
        let (token, highest) = (
            self.apis.slots[api as usize].token,
            self.apis.slots[api as usize].highest,
        );
        if head.request > highest {
            return false;
        }
        match self
            .recent
            .by_request(&token, head.request)
            .map(|old| (old.outcome, old.code))
        {
            Some((Outcome::Delivered, _)) => {
                let head = Head {
                    session: head.session,
                    request: head.request,
                    ..Head::new(Frames::Confirm)
                };
                out.link(link, Gate::Durable, &head, [&[], &[]]);
            }
            Some((_, code)) => self.ended(link, head, code, Gate::Durable, out),
            // Settled too long ago to be remembered by its id. RC_TIME_OUT would say that the daemon settles it, and
            // it may have been delivered: the application asks by its key, which the journal finds.
            None => self.ended(link, head, rc::ERROR_SOCKET, Gate::Durable, out),
        }
        true
    }

    /// Takes a request that was admitted: at once if a route is free, else by the line's setting.
    fn new_request<O: Output>(
        &mut self,
        link: LinkId,
        line: LineNo,
        api: u32,
        head: &Head,
        send: &Send<'_>,
        out: &mut O,
    ) -> Result<(), LinkError> {
        let state = self.line(line);
        let waits = state.routes.smallest_free().is_none() || !state.buffered.is_empty();
        if (waits && state.cfg.route_busy == RouteBusy::ErrorReply) || !self.txs.has_room() {
            self.ended(link, head, rc::ROUTE_BUSY, Gate::Now, out);
            return Ok(());
        }
        let mut frame = std::mem::take(&mut self.scratch);
        build(send, &mut frame);
        let Some(index) = self.txs.take(self.last_tx + 1, line) else {
            unreachable!("the table had room a moment ago");
        };
        self.last_tx += 1;
        let tx = &mut self.txs[index];
        (tx.request, tx.trace, tx.link_flags) = (head.request, head.trace, head.flags);
        tx.flags = flags_of(send);
        tx.token = self.apis.slots[api as usize].token;
        self.link_api(index, api);
        if let Some(link) = self.links.get(link) {
            link.outstanding += 1;
        }
        let mut code = rc::OK;
        if waits {
            self.buffer(line, index, &frame);
        } else {
            code = self.accept(line, index, &mut frame, out);
        }
        self.scratch = frame;
        if code != rc::OK {
            self.refuse_unsent(index, code, Gate::Now, out);
        }
        Ok(())
    }

    /// Lets a request wait for a route, at most t31 (spec/cafis.md 6.2).
    fn buffer(&mut self, line: LineNo, index: u32, frame: &[u8]) {
        self.txs.set_report(index, frame);
        let wait_ns = self.line(line).cfg.t31_ns;
        let timer = self
            .wheel
            .arm(self.now.mono_ns + wait_ns, Timer::Tx(index).pack());
        self.txs[index].timer = timer;
        let (api, request) = (self.txs[index].api, self.txs[index].request);
        if let Some(api) = self.api(api) {
            api.highest = api.highest.max(request);
        }
        let waiting = self.txs.reference(index);
        self.line(line).buffered.push_back(waiting);
    }

    /// Gives free routes to what waits for one: 8910 first, then requests in their order.
    pub(super) fn route_freed<O: Output>(&mut self, line: LineNo, out: &mut O) {
        self.serve_cancel_queue(line, out);
        while self.line(line).routes.smallest_free().is_some() {
            let Some(waiting) = self.line(line).buffered.pop_front() else {
                return;
            };
            let index = waiting.index();
            if self
                .txs
                .at(waiting)
                .is_none_or(|tx| tx.phase != Phase::Buffered)
            {
                continue;
            }
            let timer = std::mem::replace(&mut self.txs[index].timer, TimerId::NONE);
            self.wheel.cancel(timer);
            let mut frame = std::mem::take(&mut self.scratch);
            frame.clear();
            frame.extend_from_slice(self.txs.report(index));
            self.txs.set_report(index, &[]);
            let code = match self.line(line).service {
                Service::Open => self.accept(line, index, &mut frame, out),
                _ => rc::PKG_IS_SIGNOFF_OR_SWITCHING,
            };
            self.scratch = frame;
            if code != rc::OK {
                self.refuse_unsent(index, code, Gate::Durable, out);
            }
        }
    }

    /// Gives the request its route and number, writes it down, and hands it out. `frame` is the request without
    /// the fields that the engine fills.
    fn accept<O: Output>(
        &mut self,
        line: LineNo,
        index: u32,
        frame: &mut Vec<u8>,
        out: &mut O,
    ) -> u16 {
        let sequence = self.next_sequence(line);
        let state = self.line(line);
        let Some(route) = state.routes.smallest_free() else {
            return rc::ROUTE_BUSY;
        };
        let cut_date = state.sequences.cut_date;
        set_engine_fields(frame, route, sequence, day_digits(cut_date));
        let request = frame.len();
        frame.extend_from_within(..);
        if make_image(&mut frame[request..]).is_err() {
            // What cannot be divided into sections cannot be stored without the data that must not be stored.
            return rc::INVALID_MSG;
        }
        let tx = &self.txs[index];
        let fact = fact::Request {
            route,
            flags: tx.flags,
            sequence,
            cut_date,
            api: tx.token,
            request: tx.request,
            image: &frame[request..],
        };
        self.commit(line, index, fact, out);
        let tx = self.txs.reference(index);
        out.centre(
            CentreSend {
                line,
                session: None,
                tx: Some(tx),
            },
            &frame[..request],
        );
        if self.txs[index].link_flags & frame::FLAG_QUIET == 0 {
            self.tell(index, Frames::Accepted, rc::OK, out);
        }
        rc::OK
    }

    /// The next originator sequence, never one that is still open in this cut date.
    fn next_sequence(&mut self, line: LineNo) -> u32 {
        let mut next = Sequences::after(self.line(line).sequences.last());
        if next == 1 {
            self.find_ahead(line);
        }
        while next == self.line(line).ahead {
            self.find_ahead_of(line, next);
            next = Sequences::after(next);
        }
        next
    }

    /// Looks for the next number that an open transaction of the cut date still has; 0 if there is none ahead.
    pub(super) fn find_ahead(&mut self, line: LineNo) {
        let last = self.line(line).sequences.last();
        self.find_ahead_of(line, last);
    }

    /// As [`Core::find_ahead`], beginning behind `last`.
    fn find_ahead_of(&mut self, line: LineNo, last: u32) {
        let date = self.line(line).sequences.cut_date;
        let open = self.txs.indices().filter_map(|index| self.txs.get(index));
        let ahead =
            open.filter(|tx| tx.line == line && tx.cut_date == date && tx.phase != Phase::Buffered);
        let distance = |sequence: u32| {
            (sequence + super::line::SEQUENCE_MAX - last - 1) % super::line::SEQUENCE_MAX
        };
        let next = ahead
            .map(|tx| tx.sequence)
            .min_by_key(|sequence| distance(*sequence))
            .unwrap_or(0);
        self.line(line).ahead = next;
    }

    /// Tells a request's application something about it, if it is still there.
    pub(super) fn tell<O: Output>(&mut self, index: u32, kind: Frames, code: u16, out: &mut O) {
        let tx = &self.txs[index];
        let Some(api) = self.apis.slots.get(tx.api as usize) else {
            return;
        };
        let Some(link) = api.link else { return };
        let head = Head {
            code,
            session: api.number,
            request: tx.request,
            trace: tx.trace,
            credit: self.cfg.credit,
            ..Head::new(kind)
        };
        out.link(link, Gate::Durable, &head, [&[], &[]]);
    }

    /// The request does not count against its link's credit any more.
    pub(super) fn credit_back(&mut self, index: u32) {
        let Some(link) = self
            .apis
            .slots
            .get(self.txs[index].api as usize)
            .and_then(|api| api.link)
        else {
            return;
        };
        if let Some(link) = self.links.get(link) {
            link.outstanding = link.outstanding.saturating_sub(1);
        }
    }

    /// Takes back a request of which nothing is on record.
    pub(super) fn refuse_unsent<O: Output>(
        &mut self,
        index: u32,
        code: u16,
        gate: Gate,
        out: &mut O,
    ) {
        let tx = &self.txs[index];
        let head = Head {
            request: tx.request,
            trace: tx.trace,
            session: self.api_number(tx.api),
            ..Head::new(Frames::Ended)
        };
        let link = self
            .apis
            .slots
            .get(tx.api as usize)
            .and_then(|api| api.link);
        self.credit_back(index);
        self.unlink_api(index);
        let timer = std::mem::replace(&mut self.txs[index].timer, TimerId::NONE);
        self.wheel.cancel(timer);
        self.txs.give_back(index);
        if let Some(link) = link {
            self.ended(link, &head, code, gate, out);
        }
    }

    /// Refuses every request of a line that waits for a route.
    pub(super) fn refuse_buffered<O: Output>(&mut self, line: LineNo, code: u16, out: &mut O) {
        while let Some(waiting) = self.line(line).buffered.pop_front() {
            if self
                .txs
                .at(waiting)
                .is_some_and(|tx| tx.phase == Phase::Buffered)
            {
                self.refuse_unsent(waiting.index(), code, Gate::Durable, out);
            }
        }
    }
}

/// What an admitted telegram is.
enum Admission {
    /// A request to the centre.
    Request,
    /// The answer to a request of the centre.
    Answer,
}

/// The frame of a request without what the engine fills in (spec/cafis.md 2.3, 2.4).
fn build(send: &Send<'_>, out: &mut Vec<u8>) {
    let header = HeaderBuilder {
        acquirer: send.acquirer,
        issuer: send.issuer,
        centre_id: send.centre_id,
        centre_seq: send.centre_seq,
        mti: Mti::from_digits(send.mti).unwrap_or(Mti(0)),
        trailer: send.data.len() as u16,
        ..HeaderBuilder::default()
    };
    out.clear();
    out.extend_from_slice(&[0; HEADER_LEN]);
    if let Some(place) = out.first_chunk_mut::<HEADER_LEN>() {
        header.write(place);
    }
    out.extend_from_slice(send.data);
}

fn flags_of(send: &Send<'_>) -> u16 {
    let mti = Mti::from_digits(send.mti).unwrap_or(Mti(0));
    let id_service = Section10::new(send.data).is_ok_and(|section| section.service_id() == b'J');
    u16::from(is_turnaround(mti, send.data)) * FLAG_TURNAROUND + u16::from(id_service) * FLAG_ID
}
