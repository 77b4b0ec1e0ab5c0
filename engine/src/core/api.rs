//! Links and API sessions: the handshake, opening, resuming and closing, and what each frame leads to.

use super::fact;
use super::line::enlist;
use super::tx::{Cause, NO_API, NO_TX, Phase, Waiter};
use super::wheel::TimerId;
use super::{Core, Gate, LineNo, LinkId, Notice, Order, Output, Timer};
use codec::link::message::{self, Hello, Opened, Welcome};
use codec::link::{Frame, Head, Kind, LinkError, frame, rc};

/// One link.
#[derive(Clone, Copy)]
pub(super) struct Link {
    /// `None` while the slot is unused.
    pub id: Option<LinkId>,
    /// The line that the handshake chose.
    pub line: Option<LineNo>,
    /// First of its API sessions.
    pub first_api: u32,
    /// Requests that are not settled from the library's point of view.
    pub outstanding: u32,
}

/// The links of a shard.
pub(super) struct Links {
    slots: Vec<Link>,
}

const UNUSED: Link = Link {
    id: None,
    line: None,
    first_api: NO_API,
    outstanding: 0,
};

impl Links {
    pub(super) fn new(capacity: usize) -> Links {
        Links {
            slots: vec![UNUSED; capacity],
        }
    }

    pub(super) fn up(&mut self, link: LinkId) {
        let slot = &mut self.slots[link.0 as u32 as usize];
        assert!(slot.id.is_none(), "link slot {} is in use", link.0 as u32);
        *slot = Link {
            id: Some(link),
            ..UNUSED
        };
    }

    /// Links in use.
    pub(super) fn count(&self) -> usize {
        self.slots.iter().filter(|slot| slot.id.is_some()).count()
    }

    /// Requests that they have outstanding.
    pub(super) fn outstanding(&self) -> u32 {
        self.slots.iter().map(|slot| slot.outstanding).sum()
    }

    fn down(&mut self, link: LinkId) -> Option<Link> {
        let slot = self
            .slots
            .get_mut(link.0 as u32 as usize)
            .filter(|slot| slot.id == Some(link))?;
        Some(std::mem::replace(slot, UNUSED))
    }

    pub(super) fn get(&mut self, link: LinkId) -> Option<&mut Link> {
        self.slots
            .get_mut(link.0 as u32 as usize)
            .filter(|slot| slot.id == Some(link))
    }
}

/// One API session.
pub(super) struct Api {
    /// False while the slot is unused.
    pub open: bool,
    /// Its number on the link: the slot plus one below, above how often the slot was used. So what is still on its way
    /// for a session that was closed never belongs to the next one in its slot.
    pub number: u32,
    /// Proof of the session.
    pub token: [u8; 16],
    /// Its line.
    pub line: LineNo,
    /// The link it is on; `None` while it waits to be resumed.
    pub link: Option<LinkId>,
    /// The highest request id that was taken, also one that only waited for a route: it is never taken again.
    pub highest: u64,
    /// The highest request id on record.
    pub recorded: u64,
    /// First and last of its open transactions, in the order of acceptance.
    pub first_tx: u32,
    /// Last of its open transactions.
    pub last_tx: u32,
    /// Neighbours in the link's list.
    pub next: u32,
    /// Neighbours in the link's list.
    pub prev: u32,
    /// Runs while it waits to be resumed.
    pub timer: TimerId,
    /// It waits for requests of the centre.
    pub listens: bool,
}

impl Api {
    /// A request of this id is on record.
    pub(super) fn note_recorded(&mut self, request: u64) {
        self.recorded = self.recorded.max(request);
        self.highest = self.highest.max(request);
    }
}

/// Bits of a session's number that hold its slot plus one.
const SLOT_BITS: u32 = 21;

/// The API sessions of a shard.
pub(super) struct Apis {
    pub(super) slots: Vec<Api>,
    free: Vec<u32>,
    minted: u64,
    pub(super) open: usize,
}

impl Apis {
    pub(super) fn new(capacity: usize) -> Apis {
        Apis {
            slots: Vec::with_capacity(capacity),
            free: Vec::with_capacity(capacity),
            minted: 0,
            open: 0,
        }
    }

    /// Takes a slot; `None` if there is none.
    pub(super) fn take(&mut self, token: [u8; 16], line: LineNo) -> Option<u32> {
        let mut api = Api {
            open: true,
            number: self.slots.len() as u32 + 1,
            token,
            line,
            link: None,
            highest: 0,
            recorded: 0,
            first_tx: NO_TX,
            last_tx: NO_TX,
            next: NO_API,
            prev: NO_API,
            timer: TimerId::NONE,
            listens: false,
        };
        self.open += 1;
        if let Some(index) = self.free.pop() {
            let slot = &mut self.slots[index as usize];
            api.number = slot.number.wrapping_add(1 << SLOT_BITS);
            *slot = api;
            return Some(index);
        }
        if self.slots.len() == self.slots.capacity() {
            self.open -= 1;
            return None;
        }
        self.slots.push(api);
        Some((self.slots.len() - 1) as u32)
    }

    pub(super) fn give_back(&mut self, index: u32) {
        self.slots[index as usize].open = false;
        self.free.push(index);
        self.open -= 1;
    }

    /// The session with this token. A resume is rare, so a walk is cheap enough.
    pub(super) fn by_token(&self, token: &[u8; 16]) -> Option<u32> {
        self.slots
            .iter()
            .position(|api| api.open && api.token == *token)
            .map(|at| at as u32)
    }

    /// A token that nobody can guess who does not hold the secret, and that differs in every boot.
    fn mint(&mut self, secret: [u64; 2], boot: u64) -> [u8; 16] {
        self.minted += 1;
        let mix = |seed: u64| {
            let mut word =
                seed ^ boot.rotate_left(17) ^ self.minted.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            for _ in 0..3 {
                word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb) ^ seed;
            }
            word ^ word >> 31
        };
        let mut token = [0; 16];
        token[..8].copy_from_slice(&mix(secret[0]).to_le_bytes());
        token[8..].copy_from_slice(&mix(secret[1]).to_le_bytes());
        token
    }
}

impl Core {
    pub(super) fn api(&mut self, index: u32) -> Option<&mut Api> {
        self.apis
            .slots
            .get_mut(index as usize)
            .filter(|api| api.open)
    }

    /// The API session that a frame names, if it is on this link.
    pub(super) fn api_on(&mut self, link: LinkId, number: u32) -> Option<u32> {
        let index = (number & ((1 << SLOT_BITS) - 1)).checked_sub(1)?;
        self.api(index)
            .filter(|api| api.link == Some(link) && api.number == number)
            .map(|_| index)
    }

    /// The number on the link of the session in a slot; 0 if there is none.
    pub(super) fn api_number(&self, index: u32) -> u32 {
        self.apis
            .slots
            .get(index as usize)
            .map_or(0, |api| api.number)
    }

    /// A frame came on a link.
    pub(super) fn link_frame<O: Output>(&mut self, link: LinkId, frame: &Frame<'_>, out: &mut O) {
        let Some(state) = self.links.get(link) else {
            return;
        };
        let done = match (state.line, frame.head.kind) {
            (None, Kind::Hello) => self.hello(link, frame.body, out),
            (None, kind) => Err(LinkError::Body {
                kind,
                len: frame.body.len(),
            }),
            (Some(line), kind) => self.welcomed_frame(link, line, kind, frame, out),
        };
        if let Err(fault) = done {
            self.refuse_link(
                link,
                rc::ERROR_SOCKET,
                "this is not the protocol of this daemon",
                out,
            );
            out.notice(0, Notice::LinkFault { link, fault });
        }
    }

    fn welcomed_frame<O: Output>(
        &mut self,
        link: LinkId,
        line: LineNo,
        kind: Kind,
        frame: &Frame<'_>,
        out: &mut O,
    ) -> Result<(), LinkError> {
        let head = &frame.head;
        match kind {
            Kind::Send => return self.send(link, line, head, frame.body, out),
            Kind::Ack => self.ack(link, head, out),
            Kind::GiveUp => self.give_up_request(link, head, out),
            Kind::Open => self.open(link, line, head, out),
            Kind::Resume => self.resume(link, line, head, message::decode_token(frame.body)?, out),
            Kind::Close => self.close_api(link, head, out),
            Kind::Query => self.query(
                link,
                line,
                head,
                message::decode_key(kind, frame.body)?,
                out,
            ),
            Kind::Cancel => self.cancel(
                link,
                line,
                head,
                message::decode_key(kind, frame.body)?,
                out,
            ),
            Kind::Control => {
                let (order, route) = message::Order::decode(frame.body)?;
                self.control_order(link, line, head, order, route, out);
            }
            Kind::Listen => self.listen(link, head, frame.body.first() == Some(&1), out),
            Kind::Ping => out.link(
                link,
                Gate::Now,
                &Head {
                    request: head.request,
                    ..Head::new(Kind::Pong)
                },
                [&[], &[]],
            ),
            _ => {
                return Err(LinkError::Body {
                    kind,
                    len: frame.body.len(),
                });
            }
        }
        Ok(())
    }

    /// Tells a link why it is closed, and closes it.
    fn refuse_link<O: Output>(&mut self, link: LinkId, code: u16, text: &str, out: &mut O) {
        out.link(
            link,
            Gate::Now,
            &Head {
                code,
                ..Head::new(Kind::Refused)
            },
            [text.as_bytes(), &[]],
        );
        out.order(Order::CloseLink(link));
    }

    fn hello<O: Output>(
        &mut self,
        link: LinkId,
        body: &[u8],
        out: &mut O,
    ) -> Result<(), LinkError> {
        let hello = Hello::decode(body)?;
        if hello.version_min > message::VERSION || hello.version_max < message::VERSION {
            let text = "no common version of the link protocol: this daemon speaks version 1; install the matching library";
            self.refuse_link(link, rc::ERROR_SOCKET, text, out);
            return Ok(());
        }
        let name = if hello.line.is_empty() {
            self.cfg.default_line.as_str()
        } else {
            hello.line
        };
        let here = self.cfg.lines.iter().position(|line| line.name == name);
        let elsewhere = self.cfg.elsewhere.iter().find(|(line, _)| line == name);
        let go_to = match (here, elsewhere) {
            (Some(_), _) => "",
            (None, Some((_, endpoint))) => endpoint.as_str(),
            (None, None) => {
                let text = "the daemon has no line of this name: see the [[line]] tables of its configuration";
                self.refuse_link(link, rc::INVALID_PARAM, text, out);
                return Ok(());
            }
        };
        let mut welcome = Welcome {
            version: message::VERSION,
            shard: self.cfg.shard,
            features: 0,
            epoch: self.cfg.boot,
            line_id: 0,
            t31_ms: 0,
            t32_ms: 0,
            t34_ms: 0,
            t35_ms: 0,
            event_ms: 0,
            sends_ordered: 0,
            go_to,
            endpoints: "",
        };
        if let Some(at) = here {
            let cfg = &self.cfg.lines[at];
            let ms = |ns: u64| (ns / 1_000_000) as u32;
            welcome.line_id = cfg.id;
            (welcome.t31_ms, welcome.t32_ms) = (ms(cfg.t31_ns), ms(cfg.t32_ns));
            (welcome.t34_ms, welcome.t35_ms) = (ms(cfg.t34_ns), ms(cfg.t35_ns));
            (welcome.event_ms, welcome.sends_ordered) =
                (ms(cfg.event_ns), u32::from(cfg.sends_ordered));
        }
        self.scratch.clear();
        welcome.encode(&mut self.scratch);
        let head = Head {
            credit: self.cfg.credit,
            ..Head::new(Kind::Welcome)
        };
        out.link(link, Gate::Now, &head, [&self.scratch, &[]]);
        match here {
            Some(at) => {
                if let Some(state) = self.links.get(link) {
                    state.line = Some(LineNo(at as u16));
                }
            }
            None => out.order(Order::CloseLink(link)),
        }
        Ok(())
    }

    fn open<O: Output>(&mut self, link: LinkId, line: LineNo, head: &Head, out: &mut O) {
        let token = self.apis.mint(self.cfg.secret, self.cfg.boot);
        let Some(index) = self.apis.take(token, line) else {
            let head = Head {
                code: rc::ERROR_DAEMON,
                request: head.request,
                ..Head::new(Kind::Ended)
            };
            // It has to come behind the answers to the OPENs before.
            return out.link(link, Gate::Durable, &head, [&[], &[]]);
        };
        self.commit(line, NO_TX, fact::ApiOpened { token }, out);
        self.attach(index, link);
        self.opened_frame(link, index, head.request, 0, out);
    }

    fn opened_frame<O: Output>(
        &mut self,
        link: LinkId,
        index: u32,
        request: u64,
        flags: u8,
        out: &mut O,
    ) {
        let api = &self.apis.slots[index as usize];
        let body = Opened {
            token: api.token,
            highest: api.highest,
        }
        .encode();
        let head = Head {
            session: api.number,
            request,
            flags,
            credit: self.cfg.credit,
            ..Head::new(Kind::Opened)
        };
        out.link(link, Gate::Durable, &head, [&body, &[]]);
    }

    /// Puts an API session on a link.
    fn attach(&mut self, index: u32, link: LinkId) {
        let outstanding = self.count_outstanding(index);
        let Some(state) = self.links.get(link) else {
            return;
        };
        let first = std::mem::replace(&mut state.first_api, index);
        state.outstanding += outstanding;
        let api = &mut self.apis.slots[index as usize];
        (api.link, api.next, api.prev) = (Some(link), first, NO_API);
        let timer = std::mem::replace(&mut api.timer, TimerId::NONE);
        self.wheel.cancel(timer);
        if let Some(next) = self.apis.slots.get_mut(first as usize) {
            next.prev = index;
        }
    }

    /// Requests that applications on links wait for.
    pub(super) fn awaited(&self) -> u32 {
        let attached = |index: &usize| {
            let api = &self.apis.slots[*index];
            api.open && api.link.is_some()
        };
        let apis = (0..self.apis.slots.len()).filter(attached);
        apis.map(|index| self.count_outstanding(index as u32)).sum()
    }

    fn count_outstanding(&self, index: u32) -> u32 {
        let mut count = 0;
        let mut at = self.apis.slots[index as usize].first_tx;
        while let Some(tx) = self.txs.get(at) {
            count += u32::from(!tx.given_up && !tx.in_cascade());
            at = tx.next;
        }
        count
    }

    /// Takes an API session off its link.
    fn detach(&mut self, index: u32) {
        let outstanding = self.count_outstanding(index);
        let api = &mut self.apis.slots[index as usize];
        let Some(link) = api.link.take() else { return };
        let (next, prev) = (api.next, api.prev);
        api.listens = false;
        if let Some(next) = self.apis.slots.get_mut(next as usize) {
            next.prev = prev;
        }
        if let Some(prev) = self.apis.slots.get_mut(prev as usize) {
            prev.next = next;
        } else if let Some(state) = self.links.get(link) {
            state.first_api = next;
        }
        if let Some(state) = self.links.get(link) {
            state.outstanding = state.outstanding.saturating_sub(outstanding);
        }
    }

    /// Takes an API session over to this link, with everything that the other one did not bring to its end.
    fn resume<O: Output>(
        &mut self,
        link: LinkId,
        line: LineNo,
        head: &Head,
        token: [u8; 16],
        out: &mut O,
    ) {
        let Some(index) = self
            .apis
            .by_token(&token)
            .filter(|index| self.apis.slots[*index as usize].line == line)
        else {
            let head = Head {
                code: rc::NO_SESSION_ID,
                request: head.request,
                ..Head::new(Kind::Ended)
            };
            return out.link(link, Gate::Now, &head, [&[], &[]]);
        };
        self.detach(index);
        self.attach(index, link);
        self.opened_frame(link, index, head.request, frame::FLAG_AGAIN, out);
        let mut at = self.apis.slots[index as usize].first_tx;
        while let Some(tx) = self.txs.get(at) {
            let next = tx.next;
            // After a restart the report is masked on record and is not handed out again; an ACK of it still counts.
            if tx.phase == Phase::Reported && !tx.given_up && !tx.in_recovery {
                self.report_frame(at, frame::FLAG_AGAIN, out);
            }
            at = next;
        }
    }

    fn close_api<O: Output>(&mut self, link: LinkId, head: &Head, out: &mut O) {
        let code = match self.api_on(link, head.session) {
            Some(index) => {
                self.abandon_api(index, Cause::ApiClosed, out);
                rc::OK
            }
            None => rc::NO_SESSION_ID,
        };
        let head = Head {
            code,
            session: head.session,
            request: head.request,
            ..Head::new(Kind::Done)
        };
        out.link(link, Gate::Durable, &head, [&[], &[]]);
    }

    /// A link is gone: its API sessions wait to be resumed.
    pub(super) fn link_down<O: Output>(&mut self, link: LinkId, out: &mut O) {
        let Some(state) = self.links.get(link) else {
            return;
        };
        let line = state.line;
        while let Some(index) = self
            .links
            .get(link)
            .map(|state| state.first_api)
            .filter(|index| *index != NO_API)
        {
            self.detach(index);
            let deadline_ns = self.now.mono_ns + self.cfg.resume_grace_ns;
            let timer = self.wheel.arm(deadline_ns, Timer::Api(index).pack());
            self.apis.slots[index as usize].timer = timer;
        }
        self.links.down(link);
        if let Some(line) = line {
            self.inward_link_lost(line, link, out);
        }
    }

    /// `resume_grace` is over.
    pub(super) fn api_expired<O: Output>(&mut self, index: u32, out: &mut O) {
        if self.api(index).is_some_and(|api| api.link.is_none()) {
            self.abandon_api(index, Cause::LinkLost, out);
        }
    }

    /// Gives up everything of an API session, and the session.
    fn abandon_api<O: Output>(&mut self, index: u32, cause: Cause, out: &mut O) {
        self.detach(index);
        let (line, token) = (
            self.apis.slots[index as usize].line,
            self.apis.slots[index as usize].token,
        );
        let timer = std::mem::replace(&mut self.apis.slots[index as usize].timer, TimerId::NONE);
        self.wheel.cancel(timer);
        // Taken off first: giving up may settle a transaction, and with it its place in the list.
        while self
            .txs
            .get(self.apis.slots[index as usize].first_tx)
            .is_some()
        {
            let at = self.apis.slots[index as usize].first_tx;
            self.unlink_api(at);
            self.txs[at].api = NO_API;
            self.give_up(at, cause, out);
        }
        self.commit(line, NO_TX, fact::ApiClosed { token }, out);
        if self.api(index).is_some_and(|api| api.token == token) {
            self.apis.give_back(index);
        }
    }

    /// Puts a transaction at the end of its API session's list.
    pub(super) fn link_api(&mut self, tx: u32, index: u32) {
        let api = &mut self.apis.slots[index as usize];
        let last = std::mem::replace(&mut api.last_tx, tx);
        match last {
            NO_TX => api.first_tx = tx,
            last => self.txs[last].next = tx,
        }
        let slot = &mut self.txs[tx];
        (slot.api, slot.prev, slot.next) = (index, last, NO_TX);
    }

    /// Takes a transaction out of its API session's list.
    pub(super) fn unlink_api(&mut self, tx: u32) {
        let (index, next, prev) = (self.txs[tx].api, self.txs[tx].next, self.txs[tx].prev);
        if index == NO_API {
            return;
        }
        let api = &mut self.apis.slots[index as usize];
        match prev {
            NO_TX => api.first_tx = next,
            prev => self.txs[prev].next = next,
        }
        match next {
            NO_TX => api.last_tx = prev,
            next => self.txs[next].prev = prev,
        }
        (self.txs[tx].next, self.txs[tx].prev) = (NO_TX, NO_TX);
    }

    /// The open transaction of a request id. The oldest come first, and they are asked for first.
    pub(super) fn tx_of_request(&self, index: u32, request: u64) -> Option<u32> {
        let mut at = self.apis.slots.get(index as usize)?.first_tx;
        while let Some(tx) = self.txs.get(at) {
            if tx.request == request {
                return Some(at);
            }
            at = tx.next;
        }
        None
    }

    /// An event for every link of a line.
    pub(super) fn broadcast<O: Output>(
        &mut self,
        line: LineNo,
        code: u16,
        body: &[u8],
        out: &mut O,
    ) {
        for link in self
            .links
            .slots
            .iter()
            .filter(|link| link.line == Some(line))
            .filter_map(|link| link.id)
        {
            out.link(
                link,
                Gate::Durable,
                &Head {
                    code,
                    ..Head::new(Kind::Event)
                },
                [body, &[]],
            );
        }
    }

    /// Answers an order.
    pub(super) fn done<O: Output>(&mut self, waiter: Waiter, code: u16, out: &mut O) {
        let head = Head {
            code,
            session: waiter.session,
            request: waiter.request,
            ..Head::new(Kind::Done)
        };
        out.link(waiter.link, Gate::Durable, &head, [&[], &[]]);
    }

    /// Lets an order wait for a line, or refuses it when too many wait already.
    pub(super) fn enlist<O: Output>(
        &mut self,
        line: LineNo,
        which: super::service::Orders,
        waiter: Waiter,
        out: &mut O,
    ) {
        if !enlist(which.of(&mut self.lines[usize::from(line.0)]), waiter) {
            self.done(waiter, rc::PKG_IS_SIGNOFF_OR_SWITCHING, out);
        }
    }

    fn listen<O: Output>(&mut self, link: LinkId, head: &Head, on: bool, out: &mut O) {
        let code = match self.api_on(link, head.session) {
            Some(index) => {
                self.apis.slots[index as usize].listens = on;
                rc::OK
            }
            None => rc::NO_SESSION_ID,
        };
        let head = Head {
            code,
            session: head.session,
            request: head.request,
            ..Head::new(Kind::Done)
        };
        out.link(link, Gate::Now, &head, [&[], &[]]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A slot that is used again gives another number, and neither 0 nor that of another slot.
    #[test]
    fn numbers_do_not_come_back() {
        let mut apis = Apis::new(3);
        let take = |apis: &mut Apis| {
            let index = apis.take([0; 16], LineNo(0)).expect("a slot");
            (index, apis.slots[index as usize].number)
        };
        let (_, first) = take(&mut apis);
        let mut seen = std::collections::BTreeSet::from([0, first]);
        for _ in 0..2000 {
            let (index, number) = take(&mut apis);
            assert!(seen.insert(number), "number {number} comes back");
            assert_eq!(number & ((1 << SLOT_BITS) - 1), index + 1);
            apis.give_back(index);
        }
    }
}
