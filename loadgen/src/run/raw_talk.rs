//! Plain centre frames on a TCP connection, for the comparison with a relay that understands nothing.
//!
//! The same bytes that a gateway would send to a centre: the 63-byte header, an originator sequence, one request open
//! on each route. The reply is found by its route. There is no sign-on and nothing to confirm.

use codec::cafis::frame::{Assembler, HEADER_LEN};
use codec::cafis::header::{self, HeaderBuilder};
use codec::cafis::mti::Mti;

use super::outcome::Outcome;
use super::talk::{Done, Fate, Open, Order, Talk, TalkError};
use super::telegram::Telegrams;

/// Outward routes are the even numbers from 2 (spec/cafis.md 2.1), so a connection has at most this many.
pub(crate) const ROUTES_MAX: usize = 4_999;
/// Originator sequences wrap after this one.
const SEQUENCE_MAX: u32 = 999_999;
/// The rest of a frame may take as long as spec/cafis.md 2.6 grants.
const FOLLOW_ON_NS: u64 = 60_000_000_000;

/// One connection.
pub(crate) struct RawTalk {
    assembler: Assembler,
    routes: Vec<Option<Open>>,
    free: Vec<u16>,
    sequence: u32,
    up: bool,
}

impl RawTalk {
    /// A connection with this many routes, 1 to [`ROUTES_MAX`].
    pub(crate) fn new(routes: usize) -> RawTalk {
        assert!((1..=ROUTES_MAX).contains(&routes), "{routes} routes");
        RawTalk {
            assembler: Assembler::new(FOLLOW_ON_NS),
            routes: vec![None; routes],
            free: (0..routes as u16).rev().collect(),
            sequence: 0,
            up: false,
        }
    }

    /// The open request that a reply with this header answers, taken off its route.
    fn take(&mut self, header: &header::Header<'_>) -> Option<Open> {
        let route = header.route()?;
        let slot = (route / 2).checked_sub(1).filter(|_| route % 2 == 0)?;
        let open = self.routes.get_mut(usize::from(slot))?;
        if open.as_ref()?.id != u64::from(header.sequence()?) {
            return None;
        }
        self.free.push(slot);
        open.take()
    }
}

impl Talk for RawTalk {
    fn begin(&mut self, _out: &mut Vec<u8>) {
        self.assembler = Assembler::new(FOLLOW_ON_NS);
        self.up = true;
    }

    fn ready(&self) -> bool {
        self.up
    }

    fn moved(&mut self) -> Option<String> {
        None
    }

    fn room(&self, _now_ns: u64) -> usize {
        if self.up { self.free.len() } else { 0 }
    }

    fn in_flight(&self) -> usize {
        self.routes.len() - self.free.len()
    }

    fn held_until_ns(&self) -> Option<u64> {
        None
    }

    fn send(&mut self, order: Order, telegrams: &mut Telegrams, out: &mut Vec<u8>) {
        let Some(slot) = self.free.pop() else {
            unreachable!("a request was sent on a connection without a free route");
        };
        self.sequence = self.sequence % SEQUENCE_MAX + 1;
        let telegram = telegrams.make(order.serial);
        let header = HeaderBuilder {
            route: (slot + 1) * 2,
            sequence: self.sequence,
            acquirer: telegram.acquirer,
            issuer: telegram.issuer,
            mti: Mti::from_digits(telegram.mti).unwrap_or_default(),
            originator_day: *b"30",
            trailer: telegram.data.len() as u16,
            ..HeaderBuilder::default()
        };
        out.extend_from_slice(&header.to_bytes());
        out.extend_from_slice(telegram.data);
        self.routes[usize::from(slot)] = Some(Open {
            order,
            id: u64::from(self.sequence),
            reported: None,
        });
    }

    fn receive(
        &mut self,
        now_ns: u64,
        mut input: &[u8],
        _out: &mut Vec<u8>,
        done: &mut Vec<Done>,
    ) -> Result<(), TalkError> {
        // The assembler lends out its own bytes: what it found is copied out of it before the routes are touched.
        while !input.is_empty() {
            let split = self.assembler.split(now_ns, input)?;
            input = &input[split.consumed..];
            let Some(frame) = split.frame else { continue };
            let bytes = frame.bytes();
            let Some(head) = bytes.first_chunk::<HEADER_LEN>().copied() else {
                continue;
            };
            let error = header::data(bytes).first_chunk::<3>().copied();
            let Ok(header) = header::Header::new(&head) else {
                continue;
            };
            if let Some(open) = self.take(&header) {
                let outcome = Outcome::of_report(header.mti().digits(), error.unwrap_or(*b"   "));
                done.push(Done {
                    order: open.order,
                    fate: Fate::Over(outcome),
                });
            }
        }
        Ok(())
    }

    fn abandon(&mut self, outcome: Outcome, done: &mut Vec<Done>) {
        for (slot, open) in self.routes.iter_mut().enumerate() {
            if let Some(open) = open.take() {
                self.free.push(slot as u16);
                done.push(Done {
                    order: open.order,
                    fate: Fate::Over(outcome),
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::telegram::Identity;
    use super::*;

    fn telegrams() -> Telegrams {
        let identity = Identity {
            acquirer: *b"TEST0010000",
            issuer: *b"TEST9000000",
            installer: *b"12345",
            date: *b"991130",
        };
        Telegrams::new(identity, "3110=1".parse().expect("a mix"))
    }

    /// Every route carries one request; replies come in any order and any pieces, and each ends its own request.
    #[test]
    fn replies_are_found_by_their_route() {
        let (mut talk, mut telegrams, mut out) = (RawTalk::new(3), telegrams(), Vec::new());
        talk.begin(&mut out);
        for serial in 0..3 {
            let order = Order {
                serial,
                intended_ns: serial,
            };
            talk.send(order, &mut telegrams, &mut out);
        }
        assert_eq!((talk.room(0), out.len()), (0, 3 * 208));
        let mut replies: Vec<Vec<u8>> = out.chunks(208).map(<[u8]>::to_vec).collect();
        for (n, reply) in replies.iter_mut().enumerate() {
            header::set_mti(reply, Mti(if n == 1 { 3150 } else { 3120 }));
        }
        replies.reverse();
        let mut done = Vec::new();
        for piece in replies.concat().chunks(7) {
            talk.receive(0, piece, &mut Vec::new(), &mut done)
                .expect("good frames");
        }
        let ends: Vec<_> = done
            .iter()
            .map(|done| (done.order.serial, done.fate))
            .collect();
        assert_eq!(
            ends,
            [
                (2, Fate::Over(Outcome::Approved)),
                (1, Fate::Over(Outcome::Refused)),
                (0, Fate::Over(Outcome::Approved))
            ]
        );
        assert_eq!(talk.room(0), 3);
    }

    /// A reply on a free route, an odd route or with another sequence ends nothing.
    #[test]
    fn a_wrong_reply_ends_nothing() {
        let (mut talk, mut telegrams, mut out) = (RawTalk::new(2), telegrams(), Vec::new());
        talk.begin(&mut out);
        let order = Order {
            serial: 0,
            intended_ns: 0,
        };
        talk.send(order, &mut telegrams, &mut out);
        let mut done = Vec::new();
        for (route, sequence) in [(4, 1), (3, 1), (2, 2), (0, 1), (9998, 1)] {
            let mut reply = out.clone();
            header::set_route(&mut reply, route);
            header::set_sequence(&mut reply, sequence);
            talk.receive(0, &reply, &mut Vec::new(), &mut done)
                .expect("a frame");
        }
        assert_eq!((done.len(), talk.in_flight()), (0, 1));
        talk.abandon(Outcome::Lost, &mut done);
        assert_eq!((done.len(), talk.in_flight()), (1, 0));
    }
}
