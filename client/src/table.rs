//! What a link knows: its API sessions, and per session the requests that are not over. One mutex guards it all.
//!
//! A session is known here by a key of ours. The daemon's session number belongs to one connection and may change
//! with a resume, so it is looked up in `numbers`, which is emptied whenever the connection breaks.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Condvar};
use std::time::Instant;

use codec::link::frame::{FLAG_AGAIN, Kind};
use codec::link::message::{State, Status};
use codec::link::{Head, rc};
use socket2::Socket;

use crate::connect::Agreed;
use crate::session::{CentreItem, Delivery, RequestId, Telegram};

/// Our name of an API session within its link.
pub(crate) type SessionKey = u64;

/// The connection under a link.
pub(crate) enum Conn {
    /// Business may be sent.
    Up(Arc<Socket>),
    /// The handshake is done, API sessions are being taken over.
    Resuming { socket: Arc<Socket>, since: Instant },
    /// There is none since then.
    Down { since: Instant },
    /// The last user of the link is gone.
    Closed,
}

/// Everything a link knows.
pub(crate) struct Table {
    pub conn: Conn,
    pub agreed: Agreed,
    /// How many requests the daemon lets this link have outstanding.
    pub credit: u32,
    /// Requests from SEND to CONFIRM or ENDED, over all sessions.
    pub outstanding: u32,
    pub sessions: BTreeMap<SessionKey, Entry>,
    /// The daemon's session numbers on this connection.
    pub numbers: HashMap<u32, SessionKey>,
    /// Sessions whose OPEN is unanswered; the daemon answers in order.
    pub opening: VecDeque<SessionKey>,
    /// Sessions still to be taken over; the front one's RESUME is unanswered.
    pub resuming: VecDeque<SessionKey>,
    /// Frames to be written, in order.
    pub outbox: Vec<u8>,
    /// Events kept per session; the oldest goes first.
    pub events_max: usize,
    pub next_key: SessionKey,
}

/// Whether a session can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Living,
    /// The daemon refused RESUME.
    Lost,
    /// The daemon refused OPEN with this code.
    Refused(u16),
}

/// One API session.
pub(crate) struct Entry {
    pub fate: Fate,
    /// The daemon's number, while the session is attached to the connection.
    pub number: Option<u32>,
    /// Proof of the session, once it was opened.
    pub token: Option<[u8; 16]>,
    pub next_request: u64,
    /// Requests that are not over, by id.
    pub pending: BTreeMap<u64, Pending>,
    /// What receive hands out, in the order it came.
    pub arrivals: VecDeque<Arrival>,
    /// The report whose ACK is unanswered; it is always the next to be handed out.
    pub acked: Option<u64>,
    /// The send call under way.
    pub sending: Option<Sending>,
    /// Events and centre requests.
    pub centre: VecDeque<CentreItem>,
    pub listening: bool,
    /// The order under way: one at a time, as one call at a time uses a session.
    pub order: Option<Order>,
    /// Rung when something changed for a call of this session.
    pub bell: Arc<Condvar>,
}

/// A request between SEND and its end.
pub(crate) struct Pending {
    /// The SEND body, to be repeated after a resume.
    pub body: Vec<u8>,
    pub trace: u64,
    /// An answer to a centre request: over with ACCEPTED.
    pub answer: bool,
    pub phase: Phase,
}

/// How far a request is.
pub(crate) enum Phase {
    /// SEND was or will be written, nothing has come back.
    Sent,
    Accepted,
    /// The report lies in `arrivals`, nobody took it.
    Reported(Telegram),
    /// A receive call took the report, CONFIRM has not come.
    Acked(Telegram),
    /// Its call timed out while the session was detached: the resume says GIVEUP, which ends it.
    GivenUp,
}

/// What receive hands out.
pub(crate) enum Arrival {
    /// A report not yet acknowledged.
    Report(u64),
    /// A report whose delivery is durable.
    Delivered(Delivery),
    /// A request that is over without one.
    Ended(u64, u16),
}

/// The send call under way, and what became of it.
pub(crate) struct Sending {
    pub request: u64,
    pub outcome: Option<Result<(), u16>>,
}

/// An order under way.
pub(crate) struct Order {
    pub request: u64,
    pub kind: Kind,
    pub body: Vec<u8>,
    /// It does no harm to send it again after a resume.
    pub repeatable: bool,
    pub written: bool,
    pub answer: Option<Answer>,
}

/// What answered an order.
#[derive(Clone, Copy)]
pub(crate) enum Answer {
    Done(u16),
    State(State),
    Status(Status),
    /// The link broke, and the order must not be repeated.
    Lost,
}

impl Entry {
    pub fn new() -> Entry {
        Entry {
            fate: Fate::Living,
            number: None,
            token: None,
            next_request: 1,
            pending: BTreeMap::new(),
            arrivals: VecDeque::new(),
            acked: None,
            sending: None,
            centre: VecDeque::new(),
            listening: false,
            order: None,
            bell: Arc::new(Condvar::new()),
        }
    }

    /// The next client request id.
    pub fn take_id(&mut self) -> u64 {
        let id = self.next_request;
        self.next_request += 1;
        id
    }
}

impl Table {
    /// The open connection, if one can be written to.
    pub fn socket(&self) -> Option<&Arc<Socket>> {
        match &self.conn {
            Conn::Up(socket) | Conn::Resuming { socket, .. } => Some(socket),
            Conn::Down { .. } | Conn::Closed => None,
        }
    }

    /// Since when no business can be sent.
    pub fn down_since(&self) -> Option<Instant> {
        match self.conn {
            Conn::Up(_) => None,
            Conn::Resuming { since, .. } | Conn::Down { since } => Some(since),
            // A closed link has no user that could ask; a race at the very end sees it as just lost.
            Conn::Closed => Some(Instant::now()),
        }
    }

    /// Puts a frame of an attached session into the outbox. Without a connection it is left to the resume.
    pub fn put(&mut self, number: Option<u32>, frame: Head, body: &[u8]) {
        if let Some(number) = number {
            let head = Head {
                session: number,
                ..frame
            };
            head.write(body, &mut self.outbox);
        }
    }

    /// Puts the frame that begins the take-over of the next session; with none left the link is up.
    pub fn resume_next(&mut self) {
        while let Some(key) = self.resuming.front() {
            if let Some(token) = self.sessions.get(key).and_then(|entry| entry.token) {
                Head::new(Kind::Resume).write(&token, &mut self.outbox);
                return;
            }
            self.resuming.pop_front();
        }
        if let Conn::Resuming { socket, .. } = &self.conn {
            self.conn = Conn::Up(socket.clone());
        }
        self.ring_all();
    }

    /// The connection is gone: sessions are detached, and what must not be repeated is over.
    pub fn detach(&mut self, now: Instant) {
        if matches!(self.conn, Conn::Closed) {
            return;
        }
        let since = self.down_since().unwrap_or(now);
        self.conn = Conn::Down { since };
        self.numbers.clear();
        self.opening.clear();
        self.resuming.clear();
        self.outbox.clear();
        for entry in self.sessions.values_mut() {
            entry.number = None;
            if let Some(order) = &mut entry.order
                && order.written
                && !order.repeatable
                && order.answer.is_none()
            {
                order.answer = Some(Answer::Lost);
            }
        }
        self.ring_all();
    }

    /// Attaches a session to the connection, and repeats what is unanswered in the order it was first said.
    pub fn attach(&mut self, key: SessionKey, number: u32, token: [u8; 16], highest: u64) {
        let Some(entry) = self.sessions.get_mut(&key) else {
            return;
        };
        entry.number = Some(number);
        entry.token = Some(token);
        entry.next_request = entry.next_request.max(highest.saturating_add(1));
        self.numbers.insert(number, key);
        for (id, pending) in &entry.pending {
            let (kind, flags, body): (_, _, &[u8]) = match pending.phase {
                Phase::Sent | Phase::Accepted => (Kind::Send, FLAG_AGAIN, &pending.body),
                Phase::Reported(_) => continue,
                Phase::Acked(_) => (Kind::Ack, 0, &[]),
                Phase::GivenUp => (Kind::GiveUp, 0, &[]),
            };
            let mut head = Head::new(kind);
            (head.flags, head.session) = (flags, number);
            (head.request, head.trace) = (*id, pending.trace);
            head.write(body, &mut self.outbox);
        }
        // GIVEUP has no answer: with it the request is off the account here, as it is at the daemon.
        let before = entry.pending.len();
        entry
            .pending
            .retain(|_, pending| !matches!(pending.phase, Phase::GivenUp));
        self.outstanding -= (before - entry.pending.len()) as u32;
        if entry.listening {
            let mut head = Head::new(Kind::Listen);
            (head.session, head.request) = (number, entry.take_id());
            head.write(&[1], &mut self.outbox);
        }
        if let Some(order) = &mut entry.order
            && order.answer.is_none()
        {
            let mut head = Head::new(order.kind);
            (head.session, head.request) = (number, order.request);
            head.write(&order.body, &mut self.outbox);
            order.written = true;
        }
        entry.bell.notify_all();
    }

    /// The session cannot be used any more; what it had outstanding is off the link's account.
    pub fn lose(&mut self, key: SessionKey, fate: Fate) {
        if let Some(entry) = self.sessions.get_mut(&key) {
            entry.fate = fate;
            self.outstanding -= entry.pending.len() as u32;
            entry.pending.clear();
            entry.bell.notify_all();
        }
    }

    /// Forgets a session.
    pub fn remove(&mut self, key: SessionKey) {
        if let Some(entry) = self.sessions.remove(&key) {
            self.outstanding -= entry.pending.len() as u32;
            if let Some(number) = entry.number {
                self.numbers.remove(&number);
            }
        }
    }

    /// Whether the session's report with an unanswered ACK is to be waited for.
    pub fn confirming(&self, key: SessionKey) -> bool {
        let entry = self.sessions.get(&key);
        entry.is_some_and(|entry| entry.acked.is_some())
    }

    /// What receive looks at next; nothing while the CONFIRM of the report before is awaited. What was delivered is
    /// handed out even when the session has been lost since.
    pub fn take_arrival(&mut self, key: SessionKey) -> Option<Arrival> {
        let entry = self.sessions.get_mut(&key)?;
        match entry.arrivals.front()? {
            _ if entry.acked.is_some() => None,
            Arrival::Report(_) if entry.fate != Fate::Living => None,
            _ => entry.arrivals.pop_front(),
        }
    }

    /// Gives up one request, or all, of the session, if it has no report.
    pub fn give_up(&mut self, key: SessionKey, only: Option<u64>) {
        let Some(entry) = self.sessions.get_mut(&key) else {
            return;
        };
        let (number, outbox) = (entry.number, &mut self.outbox);
        let before = entry.pending.len();
        entry.pending.retain(|id, pending| {
            let meant = only.is_none_or(|only| only == *id);
            if !meant || !matches!(pending.phase, Phase::Sent | Phase::Accepted) {
                return true;
            }
            // Detached, it has to wait for the resume, which says it to the daemon.
            pending.phase = Phase::GivenUp;
            let Some(number) = number else {
                return true;
            };
            let mut head = Head::new(Kind::GiveUp);
            (head.session, head.request, head.trace) = (number, *id, pending.trace);
            head.write(&[], outbox);
            false
        });
        self.outstanding -= (before - entry.pending.len()) as u32;
    }

    /// Wakes every call of the link, to look again at what it waits for.
    pub fn ring_all(&self) {
        for entry in self.sessions.values() {
            entry.bell.notify_all();
        }
    }
}

impl Arrival {
    /// The request it is about.
    pub fn request(&self) -> u64 {
        match self {
            Arrival::Report(request) | Arrival::Ended(request, _) => *request,
            Arrival::Delivered(delivery) => {
                let RequestId(request) = delivery.request;
                request
            }
        }
    }
}

/// A code that ends a request which the daemon had taken: its send succeeded, its receive fails.
pub(crate) fn ends_after_accepted(code: u16) -> bool {
    code == rc::TIME_OUT
}
