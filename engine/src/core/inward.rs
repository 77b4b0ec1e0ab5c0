//! Requests of the centre on odd routes (spec/cafis.md 9.4): handed to an application that listens, or answered here.

use super::line::Inward;
use super::report::{Drop, body_of};
use super::service::{Action, Incoming};
use super::tx::{NO_TX, Waiter};
use super::{CentreSend, Core, Gate, LineNo, LinkId, Output, Timer, fact};
use codec::cafis::fault::make_image;
use codec::cafis::frame::HEADER_LEN;
use codec::cafis::header::{Header, data, set_mti, set_trailer};
use codec::cafis::mti::{Kind, Mti, lookup};
use codec::cafis::section::{SECTION_10_LEN, set_error_code};
use codec::link::message::Send;
use codec::link::{Head, Kind as Frames, rc};

/// The error code of an automatic refusal: business not handled here.
const NOT_HANDLED: [u8; 3] = *b"G98";

impl Core {
    /// A request, notice or fault command of the centre.
    pub(super) fn inward<O: Output>(
        &mut self,
        line: LineNo,
        what: Incoming,
        mti: Mti,
        frame: &[u8],
        out: &mut O,
    ) {
        let action = self.line(line).service.action(what);
        if action == Action::Drop {
            return self.drop_telegram(line, Drop::OutOfState, frame, out);
        }
        match what {
            Incoming::Request => return self.inward_request(line, mti, frame, out),
            Incoming::Fault => self.forget_inward(line, frame),
            _ => {}
        }
        let Some(answer) = lookup(mti).and_then(|row| row.answers.first().copied()) else {
            return;
        };
        if !self.record_inward(line, answer, frame, out) {
            return;
        }
        self.answer_control(line, None, mti, frame, out);
        if action == Action::AnswerAndHold {
            // The centre has stopped watching what is under way: it will not be answered any more.
            self.hold_all(line, super::tx::Cause::ServiceEnd, out);
            if self.line(line).service == super::service::Service::Open {
                // No end was announced, so no start need follow: the probe sends what is held.
                self.arm_probe(line);
            }
        }
    }

    fn inward_request<O: Output>(&mut self, line: LineNo, mti: Mti, frame: &[u8], out: &mut O) {
        let listener = self
            .apis
            .slots
            .iter()
            .position(|api| api.open && api.listens && api.line == line);
        let Some(index) = listener.filter(|_| !self.line(line).cfg.auto_reply) else {
            return self.refuse_inward(line, mti, frame, out);
        };
        let (Some(link), Ok(header)) = (self.apis.slots[index].link, Header::new(frame)) else {
            return;
        };
        let room = self.line(line).inward.len() < self.line(line).inward.capacity();
        let Some(route) = header.route().filter(|_| room) else {
            return self.refuse_inward(line, mti, frame, out);
        };
        let Some(kept) = self.inward_frames.keep(frame) else {
            return self.refuse_inward(line, mti, frame, out);
        };
        if !self.record_inward(line, Mti(0), frame, out) {
            return self.inward_frames.give_back(kept);
        }
        let deadline_ns = self.now.mono_ns + self.line(line).cfg.t13_ns;
        let timer = self
            .wheel
            .arm(deadline_ns, Timer::Inward(line, route).pack());
        let waiter = Waiter {
            link,
            session: self.apis.slots[index].number,
            request: 0,
        };
        self.line(line).inward.push(Inward {
            route,
            waiter,
            frame: kept,
            timer,
        });
        let report = body_of(&header, frame);
        let head = Head {
            session: waiter.session,
            ..Head::new(Frames::Request)
        };
        out.link(
            link,
            Gate::Durable,
            &head,
            [&report.encode_head(), report.data],
        );
    }

    /// Writes down a telegram that the centre began, masked; false if it cannot be masked, and is dropped.
    fn record_inward<O: Output>(
        &mut self,
        line: LineNo,
        answer: Mti,
        frame: &[u8],
        out: &mut O,
    ) -> bool {
        let Some(masked) = self.masked_copy(frame) else {
            self.drop_telegram(line, Drop::Format, frame, out);
            return false;
        };
        let (mti, frame) = (answer.0, &masked[..]);
        self.commit(line, NO_TX, fact::Answered { mti, frame }, out);
        self.scratch = masked;
        true
    }

    /// The automatic refusal: the same bytes with xx50 and G98. The notice of a service end in a reconciliation is
    /// answered with its ready code where the line answers by itself.
    fn refuse_inward<O: Output>(&mut self, line: LineNo, mti: Mti, frame: &[u8], out: &mut O) {
        let auto_reply = self.line(line).cfg.auto_reply;
        let end_notice = auto_reply
            && mti == Mti::OTHER_REQUEST
            && data(frame).get(SECTION_10_LEN..) == Some(b"598@10@");
        let kind = if end_notice {
            Kind::Approval
        } else {
            Kind::Refusal
        };
        let Some(answer) = lookup(mti).and_then(|row| row.answer(kind)) else {
            return self.drop_telegram(line, Drop::UnknownType, frame, out);
        };
        if !self.record_inward(line, answer, frame, out) {
            return;
        }
        self.scratch.clear();
        self.scratch.extend_from_slice(frame);
        set_mti(&mut self.scratch, answer);
        if end_notice {
            let code = self.scratch.len() - 3;
            self.scratch[code..code + 2].copy_from_slice(b"20");
        } else {
            set_error_code(&mut self.scratch, NOT_HANDLED);
        }
        out.centre(
            CentreSend {
                line,
                session: None,
                tx: None,
            },
            &self.scratch,
        );
    }

    /// The application's answer to a request of the centre: the request's header with another type and length.
    pub(super) fn answer_inward<O: Output>(
        &mut self,
        line: LineNo,
        head: &Head,
        send: &Send<'_>,
        out: &mut O,
    ) -> u16 {
        let asked = |inward: &Inward| {
            Header::new(&inward.frame).is_ok_and(|header| {
                header.centre_id() == send.centre_id && header.centre_seq() == send.centre_seq
            })
        };
        let Some(at) = self
            .line(line)
            .inward
            .iter()
            .position(|inward| inward.waiter.session == head.session && asked(inward))
        else {
            return rc::INVALID_PARAM;
        };
        let Some(answer) = Mti::from_digits(send.mti) else {
            return rc::INVALID_PARAM;
        };
        let mut frame = std::mem::take(&mut self.scratch);
        frame.clear();
        frame.extend_from_slice(&self.line(line).inward[at].frame[..HEADER_LEN]);
        frame.extend_from_slice(send.data);
        set_mti(&mut frame, answer);
        set_trailer(&mut frame, send.data.len() as u16);
        let whole = frame.len();
        frame.extend_from_within(..);
        let code = if make_image(&mut frame[whole..]).is_ok() {
            let inward = self.line(line).inward.swap_remove(at);
            self.wheel.cancel(inward.timer);
            self.inward_frames.give_back(inward.frame);
            self.commit(
                line,
                NO_TX,
                fact::Answered {
                    mti: answer.0,
                    frame: &frame[whole..],
                },
                out,
            );
            out.centre(
                CentreSend {
                    line,
                    session: None,
                    tx: None,
                },
                &frame[..whole],
            );
            rc::OK
        } else {
            rc::INVALID_MSG
        };
        self.scratch = frame;
        code
    }

    /// t13: the application did not answer, so the centre gets the refusal.
    pub(super) fn inward_timer<O: Output>(&mut self, line: LineNo, route: u16, out: &mut O) {
        let Some(at) = self
            .line(line)
            .inward
            .iter()
            .position(|inward| inward.route == route)
        else {
            return;
        };
        self.refuse_taken(line, at, out);
    }

    /// The link of the application that was asked is gone.
    pub(super) fn inward_link_lost<O: Output>(&mut self, line: LineNo, link: LinkId, out: &mut O) {
        while let Some(at) = self
            .line(line)
            .inward
            .iter()
            .position(|inward| inward.waiter.link == link)
        {
            self.refuse_taken(line, at, out);
        }
    }

    /// Refuses a request that an application had been given.
    fn refuse_taken<O: Output>(&mut self, line: LineNo, at: usize, out: &mut O) {
        let inward = self.line(line).inward.swap_remove(at);
        self.wheel.cancel(inward.timer);
        let mti = Header::new(&inward.frame).map_or(Mti(0), |header| header.mti());
        self.refuse_inward(line, mti, &inward.frame, out);
        self.inward_frames.give_back(inward.frame);
    }

    /// A fault command undoes an inward request that an application has not answered yet.
    fn forget_inward(&mut self, line: LineNo, frame: &[u8]) {
        let Some(route) = Header::new(frame).ok().and_then(|header| header.route()) else {
            return;
        };
        let inward = &mut self.lines[usize::from(line.0)].inward;
        if let Some(at) = inward.iter().position(|inward| inward.route == route) {
            let gone = inward.swap_remove(at);
            self.wheel.cancel(gone.timer);
            self.inward_frames.give_back(gone.frame);
        }
    }
}
