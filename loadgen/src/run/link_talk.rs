//! An application's side of the link protocol, as a load generator needs it: many requests, no waiting.
//!
//! HELLO, then OPEN for each API session, then SEND ... REPORT, ACK, CONFIRM. The slot of an open request is part of
//! its request id, so an answer finds it without a search. A broken link is made anew, not resumed: its open requests
//! are lost to the application, which is what the books want to see settled.

use codec::link::frame::{Assembler, FLAG_QUIET, Frame, Head, Kind};
use codec::link::message::{Hello, Opened, Report, SEND_HEAD_LEN, Send, VERSION, Welcome};
use codec::link::rc;

use super::outcome::Outcome;
use super::talk::{Done, Fate, Open, Order, Talk, TalkError};
use super::telegram::Telegrams;

/// Low bits of a request id: the slot. The high bits count up, so ids rise.
const SLOT_BITS: u32 = 20;
/// How long a link waits after RC 19 if no answer of its own gives a route back sooner.
const BUSY_HOLD_NS: u64 = 1_000_000;
/// How often a line may be somewhere else.
const HOPS_MAX: u32 = 4;

/// Where the handshake stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No connection, or HELLO is out.
    Greeting,
    /// So many API sessions are still to be opened.
    Opening(usize),
    /// Requests may be sent.
    Ready,
}

/// What a link is to do.
#[derive(Clone, Debug)]
pub(crate) struct LinkPlan {
    /// Connection code of the line, empty for the listener's default line.
    pub(crate) line: String,
    /// API sessions to open.
    pub(crate) sessions: usize,
    /// Requests that may be open at most, besides the daemon's credit; 0 for no bound of our own.
    pub(crate) outstanding: usize,
    /// Ask for no ACCEPTED.
    pub(crate) quiet: bool,
    /// Send a request again that found no route.
    pub(crate) retry_busy: bool,
}

/// One link.
pub(crate) struct LinkTalk {
    plan: LinkPlan,
    assembler: Assembler,
    phase: Phase,
    hops: u32,
    moved: Option<String>,
    sessions: Vec<u32>,
    next_session: usize,
    credit: usize,
    slots: Vec<Option<Open>>,
    free: Vec<u32>,
    count: u64,
    busy_until_ns: u64,
}

impl LinkTalk {
    pub(crate) fn new(plan: LinkPlan) -> LinkTalk {
        LinkTalk {
            sessions: Vec::with_capacity(plan.sessions),
            plan,
            assembler: Assembler::new(),
            phase: Phase::Greeting,
            hops: 0,
            moved: None,
            next_session: 0,
            credit: 0,
            slots: Vec::new(),
            free: Vec::new(),
            count: 0,
            busy_until_ns: 0,
        }
    }

    /// How many requests may be open in all.
    fn limit(&self) -> usize {
        match self.plan.outstanding {
            0 => self.credit,
            bound => self.credit.min(bound),
        }
        .min(1 << SLOT_BITS)
    }

    /// Takes a credit; memory for the slots grows with it, never while it stays.
    fn set_credit(&mut self, credit: u32) {
        self.credit = credit as usize;
        while self.slots.len() < self.limit() {
            self.free.push(self.slots.len() as u32);
            self.slots.push(None);
        }
    }

    fn on_handshake(&mut self, frame: &Frame<'_>, out: &mut Vec<u8>) -> Result<(), TalkError> {
        let code = frame.head.code;
        match (self.phase, frame.head.kind) {
            (Phase::Greeting, Kind::Welcome) => {
                let welcome = Welcome::decode(frame.body)?;
                if !welcome.go_to.is_empty() {
                    self.hops += 1;
                    if self.hops > HOPS_MAX {
                        return Err(TalkError::GoneAround {
                            line: self.plan.line.clone(),
                            hops: HOPS_MAX,
                        });
                    }
                    self.moved = Some(welcome.go_to.to_owned());
                    return Ok(());
                }
                self.set_credit(frame.head.credit);
                for number in 0..self.plan.sessions {
                    let mut head = Head::new(Kind::Open);
                    head.request = number as u64 + 1;
                    head.write(&[], out);
                }
                self.phase = Phase::Opening(self.plan.sessions);
                Ok(())
            }
            (Phase::Greeting, Kind::Refused) => Err(TalkError::Refused {
                line: self.plan.line.clone(),
                code,
                name: rc::name(code),
                text: match std::str::from_utf8(frame.body) {
                    Ok("") | Err(_) => String::new(),
                    Ok(text) => format!(": {text}"),
                },
            }),
            (Phase::Opening(left), Kind::Opened) => {
                if code != rc::OK {
                    return Err(TalkError::NoSession {
                        code,
                        name: rc::name(code),
                    });
                }
                let opened = Opened::decode(frame.body)?;
                self.count = self.count.max(opened.highest >> SLOT_BITS);
                self.sessions.push(frame.head.session);
                self.phase = match left - 1 {
                    0 => Phase::Ready,
                    left => Phase::Opening(left),
                };
                Ok(())
            }
            (_, Kind::Ended) => Err(TalkError::NoSession {
                code,
                name: rc::name(code),
            }),
            (_, Kind::Event) => Ok(()),
            (_, kind) => Err(TalkError::Unexpected { kind }),
        }
    }

    /// The slot of an open request, if the id is one that was given out and is still open.
    fn slot(&self, id: u64) -> Option<usize> {
        let slot = (id & ((1 << SLOT_BITS) - 1)) as usize;
        let open = self.slots.get(slot)?.as_ref()?;
        (open.id == id).then_some(slot)
    }

    fn on_frame(
        &mut self,
        now_ns: u64,
        frame: &Frame<'_>,
        out: &mut Vec<u8>,
        done: &mut Vec<Done>,
    ) -> Result<(), TalkError> {
        let head = &frame.head;
        let Some(slot) = self.slot(head.request) else {
            // Events, answers to nothing that is open any more (a report after its time-out), and other news.
            return Ok(());
        };
        let Some(open) = self.slots[slot].as_mut() else {
            return Ok(());
        };
        let fate = match head.kind {
            Kind::Report => {
                let report = Report::decode(frame.body)?;
                let error = report.data.first_chunk::<3>().copied();
                open.reported = Some(Outcome::of_report(report.mti, error.unwrap_or(*b"   ")));
                let mut ack = Head::new(Kind::Ack);
                (ack.session, ack.request, ack.trace) = (head.session, head.request, head.trace);
                ack.write(&[], out);
                return Ok(());
            }
            Kind::Confirm => Fate::Over(match (head.code, open.reported) {
                (rc::OK, Some(outcome)) => outcome,
                _ => Outcome::NotDelivered,
            }),
            Kind::Ended if head.code == rc::ROUTE_BUSY && self.plan.retry_busy => {
                self.busy_until_ns = now_ns + BUSY_HOLD_NS;
                Fate::Again
            }
            Kind::Ended => Fate::Over(Outcome::of_ended(head.code)),
            _ => return Ok(()),
        };
        if fate != Fate::Again {
            self.busy_until_ns = 0;
        }
        done.push(Done {
            order: open.order,
            fate,
        });
        self.slots[slot] = None;
        self.free.push(slot as u32);
        Ok(())
    }
}

impl Talk for LinkTalk {
    fn begin(&mut self, out: &mut Vec<u8>) {
        self.assembler.clear();
        self.phase = Phase::Greeting;
        self.sessions.clear();
        self.busy_until_ns = 0;
        let hello = Hello {
            version_min: VERSION,
            version_max: VERSION,
            features: 0,
            epoch: 0,
            line: &self.plan.line,
        };
        let mut body = Vec::with_capacity(64);
        hello.encode(&mut body);
        Head::new(Kind::Hello).write(&body, out);
    }

    fn ready(&self) -> bool {
        self.phase == Phase::Ready
    }

    fn moved(&mut self) -> Option<String> {
        self.moved.take()
    }

    fn room(&self, now_ns: u64) -> usize {
        if self.phase != Phase::Ready || now_ns < self.busy_until_ns {
            return 0;
        }
        self.limit().saturating_sub(self.in_flight())
    }

    fn in_flight(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    fn held_until_ns(&self) -> Option<u64> {
        (self.busy_until_ns > 0).then_some(self.busy_until_ns)
    }

    fn send(&mut self, order: Order, telegrams: &mut Telegrams, out: &mut Vec<u8>) {
        let Some(slot) = self.free.pop() else {
            unreachable!("a request was sent on a link without room");
        };
        self.count += 1;
        let id = self.count << SLOT_BITS | u64::from(slot);
        let telegram = telegrams.make(order.serial);
        let mut head = Head::new(Kind::Send);
        head.flags = if self.plan.quiet { FLAG_QUIET } else { 0 };
        head.session = self.sessions[self.next_session % self.sessions.len()];
        self.next_session = (self.next_session + 1) % self.sessions.len();
        head.request = id;
        head.trace = order.serial + 1;
        out.extend_from_slice(&head.encode(SEND_HEAD_LEN + telegram.data.len()));
        let send = Send {
            centre_id: *b"00",
            centre_seq: *b"      ",
            issuer: telegram.issuer,
            acquirer: telegram.acquirer,
            mti: telegram.mti,
            data: telegram.data,
        };
        send.encode(out);
        self.slots[slot as usize] = Some(Open {
            order,
            id,
            reported: None,
        });
    }

    fn receive(
        &mut self,
        now_ns: u64,
        input: &[u8],
        out: &mut Vec<u8>,
        done: &mut Vec<Done>,
    ) -> Result<(), TalkError> {
        // The assembler lends out its own bytes, so it steps aside while a frame is looked at.
        let mut assembler = std::mem::take(&mut self.assembler);
        let result = self.receive_with(&mut assembler, now_ns, input, out, done);
        self.assembler = assembler;
        result
    }

    fn abandon(&mut self, outcome: Outcome, done: &mut Vec<Done>) {
        for (slot, open) in self.slots.iter_mut().enumerate() {
            if let Some(open) = open.take() {
                self.free.push(slot as u32);
                done.push(Done {
                    order: open.order,
                    fate: Fate::Over(outcome),
                });
            }
        }
    }
}

impl LinkTalk {
    fn receive_with(
        &mut self,
        assembler: &mut Assembler,
        now_ns: u64,
        mut input: &[u8],
        out: &mut Vec<u8>,
        done: &mut Vec<Done>,
    ) -> Result<(), TalkError> {
        while !input.is_empty() && self.moved.is_none() {
            let split = assembler.split(input)?;
            input = &input[split.consumed..];
            let Some(frame) = split.frame else { continue };
            if self.phase != Phase::Ready {
                self.on_handshake(&frame, out)?;
                continue;
            }
            if frame.head.credit != 0 && frame.head.credit as usize != self.credit {
                self.set_credit(frame.head.credit);
            }
            self.on_frame(now_ns, &frame, out, done)?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "link_talk_tests.rs"]
mod tests;
