//! The core: sans-IO state machines of the lines, their sessions, routes and transactions.
//!
//! [`Core::step`] takes the time and one event and answers through an [`Output`]: records for the journal, frames
//! for centre sessions and links, orders for the shard. The core makes no system call, reads no clock and takes no
//! memory once it is made. Whatever changes durable state is first written as a [`fact::Fact`] and then applied by
//! the same function that recovery uses ([`state`]), so the state after a crash is the fold of the durable facts.
//!
//! Every frame it hands out waits, in the shard, for the last record appended before it to be durable. The only
//! frames that do not wait ([`Gate::Now`]) are refusals that changed nothing, handshake frames and PONG.

pub mod api;
pub mod cascade;
pub mod check;
pub mod config;
pub mod date;
pub mod fact;
pub mod inward;
pub mod line;
pub mod orders;
pub mod recent;
pub mod recovery;
pub mod report;
pub mod request;
pub mod service;
pub mod state;
pub mod telegram;
pub mod tx;
pub mod wheel;

use api::{Apis, Links};
use codec::link;
use config::CoreConfig;
use fact::{Fact, FactHead};
use line::Line;
use recent::Recent;
use tx::Txs;
use wheel::Wheel;

pub use orders::{Found, Past};

/// The time of a turn, read once by the shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Monotonic nanoseconds; what timers run on.
    pub mono_ns: u64,
    /// Nanoseconds since 1970 UTC; what records and dates carry.
    pub wall_ns: u64,
}

/// A line by its place in the shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LineNo(pub u16);

/// A centre session. The shard gives the numbers and never uses one twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId(pub u64);

/// A link. The low 32 bits are its place in the shard's table, the high ones make it unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkId(pub u64);

/// Number of a record in the shard's journal.
pub type RecordNo = u64;

/// Room in the journal, as the shard sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// New business is taken.
    Ok,
    /// Only what finishes open transactions is taken.
    Low,
}

/// What happens to the core.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// The centre connected to a line's listener.
    SessionUp {
        /// The line.
        line: LineNo,
        /// The new session.
        session: SessionId,
    },
    /// A centre session is gone, closed by either side.
    SessionDown {
        /// The line.
        line: LineNo,
        /// The session.
        session: SessionId,
    },
    /// A whole frame came from the centre; longer than 1,024 bytes if the trailer says so.
    Telegram {
        /// The line.
        line: LineNo,
        /// The session it came on.
        session: SessionId,
        /// Header and data.
        frame: &'a [u8],
    },
    /// A stream was accepted from an application.
    LinkUp {
        /// The new link.
        link: LinkId,
    },
    /// A link is gone.
    LinkDown {
        /// The link.
        link: LinkId,
    },
    /// A whole frame came on a link.
    LinkFrame {
        /// The link.
        link: LinkId,
        /// The frame.
        frame: link::Frame<'a>,
    },
    /// The journal was searched for a key ([`Order::Lookup`]).
    LookedUp {
        /// The order's cookie.
        cookie: u32,
        /// What came of it; `None` if the journal knows no such key.
        found: Option<Found<'a>>,
    },
    /// Room in the journal changed.
    Space(Space),
    /// The operating system asks the daemon to stop: sign off, hold the rest, stop.
    Terminate,
    /// Time passed: timers that are due fire, at most [`TIMERS_PER_TURN`] of them.
    Tick,
}

/// How many timers one [`Event::Tick`] lets fire; the rest follows with the next.
pub const TIMERS_PER_TURN: usize = 256;

/// Whether a frame for a link waits for the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// It leaves once the last record appended before it is durable.
    Durable,
    /// It leaves at once: nothing depends on it.
    Now,
}

/// A frame for the centre that waits for its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CentreSend {
    /// The line.
    pub line: LineNo,
    /// The session it has to use; `None` for any usable one.
    pub session: Option<SessionId>,
    /// The transaction whose timer starts when the frame is handed to the session.
    pub tx: Option<tx::TxRef>,
}

/// What the shard has to do besides sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Close a centre session once what waits for it has been sent.
    CloseSession(SessionId),
    /// Close a link once what waits for it has been sent.
    CloseLink(LinkId),
    /// Search the journal for the newest transaction of a key; answered by [`Event::LookedUp`].
    Lookup {
        /// Comes back with the answer.
        cookie: u32,
        /// Stable line id.
        line: u32,
        /// The transaction key.
        key: [u8; 24],
    },
    /// Stop the shard; everything appended is to be durable first.
    Stop {
        /// Whether it was an orderly shutdown.
        clean: bool,
    },
}

/// Something for the log or an operator. Numbers only: the shard passes it on without allocating.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The number of a line's centre sessions changed.
    Sessions {
        /// How many are up.
        up: u16,
        /// How many are contracted.
        contracted: u16,
    },
    /// A session did not answer 9210 as it should; it is closed.
    CheckFailed,
    /// One session more than contracted: all are closed (spec/cafis.md 5.1.5).
    ExcessSession,
    /// The service state changed.
    Service(service::Service),
    /// A sign-on got no answer within t34.
    SignOnTimeout,
    /// The cut date changed.
    CutDate {
        /// The date before, YYYYMMDD.
        old: u32,
        /// The new date, YYYYMMDD.
        new: u32,
    },
    /// A telegram of the centre was dropped.
    Dropped {
        /// Why.
        why: report::Drop,
        /// Its message type.
        mti: u16,
        /// Its route.
        route: u16,
    },
    /// A fault message goes out.
    Fault {
        /// 8910 to 8940.
        mti: u16,
        /// The transaction.
        tx: u64,
        /// Sends in this activation.
        sends: u16,
        /// Why the cascade runs.
        cause: tx::Cause,
    },
    /// A transaction was settled at the centre.
    Settled {
        /// The transaction.
        tx: u64,
        /// How.
        outcome: tx::Outcome,
    },
    /// Alarm: a transaction is escalated; its hold is kept.
    Escalated {
        /// The transaction.
        tx: u64,
        /// The message type of the next try.
        next: u16,
        /// Why.
        cause: tx::Cause,
    },
    /// Alarm: the centre refused a fault message for good; the transaction stays unresolved.
    Unresolved {
        /// The transaction.
        tx: u64,
        /// The centre's error code.
        code: [u8; 3],
    },
    /// Alarm: this many routes of the line are held.
    RoutesHeld {
        /// Held routes.
        held: u16,
        /// Routes of the contract.
        routes: u16,
    },
    /// A link broke the protocol and is closed.
    LinkFault {
        /// The link.
        link: LinkId,
        /// What was wrong.
        fault: link::LinkError,
    },
    /// Recovery has this many transactions to settle.
    Recovery {
        /// Open transactions.
        open: u32,
    },
    /// Recovery is over.
    RecoveryDone,
}

/// Where the core's answers go. The implementation keeps the order of calls.
pub trait Output {
    /// Appends a record and returns its number.
    fn record(&mut self, head: &FactHead, fact: &Fact<'_>) -> RecordNo;
    /// A frame for the centre; when it is released the shard asks [`Core::release`] for the session.
    fn centre(&mut self, send: CentreSend, frame: &[u8]);
    /// A frame for a link: the head, and the body in two parts.
    fn link(&mut self, link: LinkId, gate: Gate, head: &link::Head, body: [&[u8]; 2]);
    /// Something else to do, in order with the gated frames.
    fn order(&mut self, order: Order);
    /// A line of log. `line` is the stable line id, 0 for the shard.
    fn notice(&mut self, line: u32, notice: Notice);
}

/// What a timer is about; packed into the wheel's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timer {
    /// A transaction's timer; its phase says which.
    Tx(u32),
    /// A line waits for the answer to its own control telegram (t34, t35).
    Control(LineNo),
    /// A session has not answered 9210 (t33).
    Check(LineNo),
    /// Time to sign on again (t36).
    SignOn(LineNo),
    /// Probe of escalated transactions.
    Probe(LineNo),
    /// A lost link's API session was not resumed.
    Api(u32),
    /// An inward request got no answer of an application (t13).
    Inward(LineNo, u16),
    /// `resume_grace` after the start is over.
    Grace,
    /// The drain of a shutdown took too long.
    Drain,
}

impl Timer {
    fn pack(self) -> u64 {
        let (tag, value) = match self {
            Timer::Tx(index) => (0, u64::from(index)),
            Timer::Control(line) => (1, u64::from(line.0)),
            Timer::SignOn(line) => (2, u64::from(line.0)),
            Timer::Probe(line) => (3, u64::from(line.0)),
            Timer::Api(index) => (4, u64::from(index)),
            Timer::Inward(line, route) => (5, u64::from(line.0) << 16 | u64::from(route)),
            Timer::Check(line) => (8, u64::from(line.0)),
            Timer::Grace => (6, 0),
            Timer::Drain => (7, 0),
        };
        tag << 32 | value
    }

    fn unpack(word: u64) -> Timer {
        let (index, line) = (word as u32, LineNo(word as u16));
        match word >> 32 {
            0 => Timer::Tx(index),
            1 => Timer::Control(line),
            2 => Timer::SignOn(line),
            3 => Timer::Probe(line),
            4 => Timer::Api(index),
            5 => Timer::Inward(LineNo((index >> 16) as u16), index as u16),
            6 => Timer::Grace,
            7 => Timer::Drain,
            8 => Timer::Check(line),
            tag => unreachable!("timer tag {tag}"),
        }
    }
}

/// How full the tables are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Transactions that are not settled.
    pub transactions: usize,
    /// Running timers.
    pub timers: usize,
    /// Links.
    pub links: usize,
    /// Requests that links have outstanding.
    pub outstanding: u32,
    /// The same, counted anew: requests that an application on a link waits for.
    pub awaited: u32,
    /// API sessions.
    pub api_sessions: usize,
    /// Routes that are taken.
    pub routes_busy: u32,
    /// Routes that are held.
    pub routes_held: u32,
    /// Escalated transactions.
    pub escalated: u32,
    /// Transactions of recovery runs.
    pub in_recovery: u32,
    /// Requests and cancels that wait for a route.
    pub waiting: usize,
    /// Orders that wait for an answer, searches of the journal included.
    pub orders: usize,
    /// Requests of the centre that wait for an application.
    pub inward: usize,
}

impl Usage {
    /// Whether all is settled and every application has left.
    #[must_use]
    pub fn is_baseline(&self) -> bool {
        *self == Usage::default()
    }
}

/// All state of one shard.
pub struct Core {
    cfg: CoreConfig,
    lines: Vec<Line>,
    txs: Txs,
    apis: Apis,
    links: Links,
    recent: Recent,
    wheel: Wheel,
    lookups: orders::Lookups,
    now: Now,
    last_tx: u64,
    space: Space,
    shutdown: orders::Shutdown,
    /// Whether `resume_grace` after the start has passed.
    grace_over: bool,
    /// The newest facts end with an orderly stop.
    stopped_clean: bool,
    /// Slots by transaction id, while a journal is applied.
    by_id: std::collections::BTreeMap<u64, u32>,
    inward_frames: line::InwardFrames,
    /// Frames are put together here; taken and put back by whoever builds one.
    scratch: Vec<u8>,
}

impl Core {
    /// A core without history. [`Core::apply`] then rebuilds what the journal holds, and [`Core::start`] begins work.
    #[must_use]
    pub fn new(cfg: CoreConfig, now: Now) -> Core {
        let routes: usize = cfg
            .lines
            .iter()
            .map(|line| usize::from(line.route_count))
            .sum();
        let timers = cfg.transactions_max() + cfg.sessions_max + cfg.lines.len() * 4 + routes + 8;
        Core {
            lines: cfg.lines.iter().map(Line::new).collect(),
            txs: Txs::new(cfg.transactions_max()),
            apis: Apis::new(cfg.sessions_max),
            links: Links::new(cfg.links_max),
            recent: Recent::new(cfg.recent_max),
            wheel: Wheel::new(timers, now.mono_ns),
            lookups: orders::Lookups::new(),
            now,
            last_tx: u64::from(cfg.shard) << 48,
            space: Space::Ok,
            shutdown: orders::Shutdown::No,
            grace_over: false,
            stopped_clean: true,
            by_id: std::collections::BTreeMap::new(),
            inward_frames: line::InwardFrames::new(),
            scratch: Vec::with_capacity(4096),
            cfg,
        }
    }

    /// Takes one event. Never fails: what is wrong with an event is answered, recorded or noticed.
    pub fn step<O: Output>(&mut self, now: Now, event: Event<'_>, out: &mut O) {
        debug_assert!(now.mono_ns >= self.now.mono_ns, "time runs backwards");
        self.now = now;
        if self.shutdown == orders::Shutdown::Stopped {
            // The last record is written; nothing may stand behind it.
            return;
        }
        match event {
            Event::Telegram {
                line,
                session,
                frame,
            } => self.telegram(line, session, frame, out),
            Event::LinkFrame { link, frame } => self.link_frame(link, &frame, out),
            Event::Tick => self.tick(out),
            Event::SessionUp { line, session } => self.session_up(line, session, out),
            Event::SessionDown { line, session } => self.session_down(line, session, out),
            Event::LinkUp { link } => self.links.up(link),
            Event::LinkDown { link } => self.link_down(link, out),
            Event::LookedUp { cookie, found } => self.looked_up(cookie, found, out),
            Event::Space(space) => self.space = space,
            Event::Terminate => self.terminate(out),
        }
    }

    /// The session a released frame goes out on, with its transaction's timer started; `None` if it must not be
    /// sent any more, because its session is gone or its transaction was given another turn meanwhile.
    pub fn release(&mut self, now: Now, send: &CentreSend) -> Option<SessionId> {
        let line = &mut self.lines[usize::from(send.line.0)];
        let behind = send.tx.and_then(|tx| self.txs.at(tx)?.sent_on);
        let session = match send.session.or(behind) {
            Some(session) if line.sessions.contains(session) => Some(session),
            Some(_) if send.session.is_some() => None,
            _ => line.sessions.next_in_turn(),
        }?;
        if let Some(tx) = send.tx {
            let (t31, t32) = (line.cfg.t31_ns, line.cfg.t32_ns);
            let tx_slot = self.txs.at(tx)?;
            let wait_ns = match tx_slot.phase {
                tx::Phase::Accepted => t31,
                tx::Phase::FaultSent => t32,
                _ => return None,
            };
            if tx_slot.phase == tx::Phase::Accepted {
                tx_slot.phase = tx::Phase::Sent;
            }
            tx_slot.sent_on = Some(session);
            let old = std::mem::replace(&mut tx_slot.timer, wheel::TimerId::NONE);
            self.wheel.cancel(old);
            let timer = self
                .wheel
                .arm(now.mono_ns + wait_ns, Timer::Tx(tx.index()).pack());
            self.txs[tx.index()].timer = timer;
        }
        Some(session)
    }

    /// Until when nothing happens by itself.
    #[must_use]
    pub fn next_timer_ns(&self) -> Option<u64> {
        let stopped = self.shutdown == orders::Shutdown::Stopped;
        self.wheel.next_ns().filter(|_| !stopped)
    }

    /// How full the tables are.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let mut usage = Usage {
            transactions: self.txs.open(),
            timers: self.wheel.len(),
            links: self.links.count(),
            outstanding: self.links.outstanding(),
            awaited: self.awaited(),
            api_sessions: self.apis.open,
            orders: self.lookups.count(),
            ..Usage::default()
        };
        for line in &self.lines {
            usage.routes_busy += u32::from(line.routes.busy());
            usage.routes_held += u32::from(line.routes.held);
            usage.escalated += line.escalated;
            usage.in_recovery += line.in_recovery;
            usage.waiting += line.buffered.len() + line.cancel_queue.len();
            usage.inward += line.inward.len();
            let orders = [
                &line.sign_on_orders,
                &line.sign_off_orders,
                &line.recovery_orders,
            ];
            usage.orders += orders.into_iter().flatten().flatten().count();
        }
        usage
    }

    fn tick<O: Output>(&mut self, out: &mut O) {
        for _ in 0..TIMERS_PER_TURN {
            let Some(word) = self.wheel.expire(self.now.mono_ns) else {
                return;
            };
            match Timer::unpack(word) {
                Timer::Tx(index) => self.tx_timer(index, out),
                Timer::Control(line) => self.control_timer(line, out),
                Timer::Check(line) => self.check_timer(line, out),
                Timer::SignOn(line) => self.sign_on_timer(line, out),
                Timer::Probe(line) => self.probe_timer(line, out),
                Timer::Api(index) => self.api_expired(index, out),
                Timer::Inward(line, route) => self.inward_timer(line, route, out),
                Timer::Grace => self.grace_timer(out),
                Timer::Drain => self.drained(out),
            }
        }
    }

    /// Writes a fact and applies it. `index` is the transaction it is about, or `tx::NO_TX`.
    fn commit<'f, O: Output>(
        &mut self,
        line: LineNo,
        index: u32,
        fact: impl Into<Fact<'f>>,
        out: &mut O,
    ) {
        let fact = fact.into();
        let (tx, trace) = self.txs.get(index).map_or((0, 0), |tx| (tx.id, tx.trace));
        let line_cfg = &self.lines[usize::from(line.0)].cfg;
        let head = FactHead {
            line: line_cfg.id,
            epoch: line_cfg.epoch,
            tx,
            trace,
            wall_ns: self.now.wall_ns,
        };
        out.record(&head, &fact);
        self.put(line, index, &head, &fact);
    }

    /// Writes a fact of the whole shard; such facts change no transaction.
    fn commit_shard<'f, O: Output>(&mut self, fact: impl Into<Fact<'f>>, out: &mut O) {
        out.record(
            &FactHead {
                wall_ns: self.now.wall_ns,
                ..FactHead::default()
            },
            &fact.into(),
        );
    }
}
