//! Sessions and links: frames keep their order on each, and take their time.

use std::collections::BTreeMap;

use super::{Happening, ToGateway, World};
use crate::sim::{MS, SEC};

/// A centre session or a link.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    /// Line or application.
    pub owner: usize,
    /// The gateway has it.
    pub gateway: bool,
    /// The peer has it.
    pub peer: bool,
    /// When the last thing on the way to the gateway, and to the peer, arrives.
    last: [u64; 2],
    /// What would arrive at the gateway, or at the peer, after this is lost.
    cut: [u64; 2],
    /// It is broken: both sides know or will know.
    broken: bool,
}

/// An end of a wire; the number is its place in [`Wire`].
#[derive(Clone, Copy)]
pub(crate) enum End {
    Gateway = 0,
    Peer = 1,
}

/// Every wire. Sessions and links share the numbers.
#[derive(Default)]
pub(crate) struct Wires {
    pub all: BTreeMap<u64, Wire>,
    pub next: u64,
    /// Places of the gateway's table of links.
    pub slots: Vec<bool>,
}

/// Links have their place in the gateway's table in the low half of their number.
pub(crate) fn is_link(number: u64) -> bool {
    number >> 32 != 0
}

impl World {
    /// How long a frame takes.
    fn delay(&mut self) -> u64 {
        if self.manual {
            return 10_000;
        }
        match self.rng.below(20) {
            0 => self.rng.below(4 * SEC),
            1..=4 => self.rng.below(80 * MS),
            _ => self.rng.below(MS),
        }
    }

    /// When something put on this wire now arrives at an end of it.
    fn arrives(&mut self, number: u64, end: End) -> Option<u64> {
        let soonest = self.now + self.delay();
        let wire = self.wires.all.get_mut(&number)?;
        let last = &mut wire.last[end as usize];
        *last = soonest.max(*last + 1);
        Some(*last)
    }

    fn new_wire(&mut self, number: u64, owner: usize) {
        let wire = Wire {
            owner,
            gateway: false,
            peer: true,
            last: [0; 2],
            cut: [u64::MAX; 2],
            broken: false,
        };
        self.wires.all.insert(number, wire);
    }

    /// Puts something on the way to the gateway.
    pub(in crate::sim) fn send_gateway(&mut self, number: u64, what: ToGateway) {
        if let Some(time) = self.arrives(number, End::Gateway) {
            self.at(time, Happening::Gateway(self.boot, what));
        }
    }

    /// The centre connects.
    pub fn connect_session(&mut self, line: usize) -> u64 {
        self.wires.next += 1;
        let session = self.wires.next;
        self.new_wire(session, line);
        self.centres[line].connected(session);
        self.note(|| format!("centre {line} connects session {session}"));
        self.send_gateway(session, ToGateway::SessionUp(session));
        session
    }

    /// An application connects; `None` if the gateway has no place.
    pub fn connect_link(&mut self, app: usize) -> Option<u64> {
        if self.wires.slots.is_empty() {
            self.wires.slots = vec![false; self.plan.core.links_max];
        }
        let slot = self.wires.slots.iter().position(|used| !used)?;
        self.wires.slots[slot] = true;
        self.wires.next += 1;
        let link = self.wires.next << 32 | slot as u64;
        self.new_wire(link, app);
        self.note(|| format!("app {app} connects link {link:x}"));
        self.send_gateway(link, ToGateway::LinkUp(link));
        self.apps[app].connected(link);
        self.flush_app(app);
        Some(link)
    }

    /// A test's centre says something.
    pub fn centre_says(&mut self, session: u64, frame: &[u8]) {
        self.send_gateway(session, ToGateway::Telegram(session, frame.to_vec()));
    }

    /// Sessions that the gateway has, in the order they came.
    #[must_use]
    pub fn sessions(&self) -> Vec<u64> {
        let up = self
            .wires
            .all
            .iter()
            .filter(|(number, wire)| !is_link(**number) && wire.gateway);
        up.map(|(number, _)| *number).collect()
    }

    /// A frame of the gateway for the centre.
    pub(crate) fn send_centre(&mut self, session: u64, frame: Vec<u8>) {
        let text = super::deliver::telegram(&frame);
        self.note(|| format!("  gateway -> centre {text} on {session}"));
        if let Some(time) = self.arrives(session, End::Peer) {
            self.at(time, Happening::CentreFrame(session, frame));
        }
    }

    /// A frame of the gateway for an application.
    pub(crate) fn send_app(&mut self, link: u64, frame: Vec<u8>) {
        let text = super::deliver::link_frame(&frame);
        self.note(|| format!("  gateway -> app {text} on {link:x}"));
        if let Some(time) = self.arrives(link, End::Peer) {
            self.at(time, Happening::AppFrame(link, frame));
        }
    }

    /// Whether something that arrives now at this end still arrives.
    pub(crate) fn carries(&self, number: u64, end: End) -> bool {
        self.wires.all.get(&number).is_some_and(|wire| {
            let has = match end {
                End::Gateway => wire.gateway,
                End::Peer => wire.peer,
            };
            has && self.now <= wire.cut[end as usize]
        })
    }

    /// Whether a wire broke before the gateway ever saw it.
    pub(crate) fn stillborn(&self, number: u64) -> bool {
        self.wires
            .all
            .get(&number)
            .is_none_or(|wire| self.now > wire.cut[End::Gateway as usize])
    }

    /// A wire breaks: what is on the way is lost, each side learns of it in its own time.
    pub fn break_wire(&mut self, number: u64, quiet_ns: u64) {
        let (gateway_wait, peer_wait) = (self.rng.below(quiet_ns), self.rng.below(quiet_ns));
        let (now, boot) = (self.now, self.boot);
        let Some(wire) = self.wires.all.get_mut(&number).filter(|wire| !wire.broken) else {
            return;
        };
        wire.broken = true;
        wire.cut = [now; 2];
        self.note(|| format!("wire {number:x} breaks"));
        self.after(gateway_wait, Happening::Gateway(boot, down(number)));
        self.after(peer_wait, peer_down(number));
    }

    /// The gateway closes a wire; what it has written still arrives.
    pub(crate) fn close_wire(&mut self, number: u64) {
        let now = self.now;
        let Some(wire) = self.wires.all.get_mut(&number) else {
            return;
        };
        wire.broken = true;
        wire.cut[End::Gateway as usize] = now;
        if is_link(number) {
            self.at(now, Happening::Gateway(self.boot, down(number)));
        } else {
            wire.gateway = false;
        }
        if let Some(time) = self.arrives(number, End::Peer) {
            self.at(time, peer_down(number));
        }
    }

    /// The gateway is gone: every wire breaks. What it had written may still arrive, or not.
    pub(crate) fn break_everything(&mut self) {
        let now = self.now;
        let quiet = *self.rng.pick(&[SEC, 5 * SEC, 48 * SEC]);
        let mut news = Vec::new();
        for (number, wire) in self.wires.all.iter_mut().filter(|(_, wire)| wire.peer) {
            let flushed = if self.rng.chance(500) {
                self.rng.below(SEC)
            } else {
                0
            };
            wire.cut[0] = wire.cut[0].min(now);
            wire.cut[1] = wire.cut[1].min(now + flushed);
            (wire.broken, wire.gateway) = (true, false);
            news.push((now + flushed + self.rng.below(quiet), peer_down(*number)));
        }
        self.wires.slots.fill(false);
        news.into_iter()
            .for_each(|(time, what)| self.at(time, what));
    }
}

fn down(number: u64) -> ToGateway {
    match is_link(number) {
        true => ToGateway::LinkDown(number),
        false => ToGateway::SessionDown(number),
    }
}

fn peer_down(number: u64) -> Happening {
    match is_link(number) {
        true => Happening::AppDown(number),
        false => Happening::CentreDown(number),
    }
}
