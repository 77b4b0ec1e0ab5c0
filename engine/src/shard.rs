//! The shard: one thread that turns completions into events, events into effects, and effects into submissions.
//!
//! A turn is one system call; then every completion goes to the pipeline, timers fire, what the durable prefix
//! released goes to the sockets, and blocks go to the disk. How a turn waits is [`pace`]'s: it sleeps only after it has
//! polled without finding work for the configured time. It never waits for anything else: segments come from the
//! keeper's thread, searches of the journal and the log are the control thread's.

mod conn;
mod journal;
mod pace;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::control::{Console, Message};
use crate::core::state::ApplyError;
use crate::core::{Event, LineNo, LinkId, Notice, Now, Order, SessionId, Space};
use crate::driver::{
    BlockBuf, CloseReason, Completion, DiskError, Driver, DriverError, RecvBytes, SocketId,
    SocketOptions, Wait, Waker,
};
use crate::journal::recover::RecoverError;
use crate::journal::store::StoreError;
use crate::journal::writer::WriterError;
use crate::pipeline::{Pipeline, Sink};
use crate::settings;
use config::Config;
use conn::{Conn, Peer, link_id, session_id, socket_of};
use journal::Files;
use pace::Pace;

/// Why a shard cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum ShardError {
    /// The ring or a listener.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// The journal's directory.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The journal's contents.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// The journal and the configuration do not fit.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// A block could not be written: the journal stays truthful because nothing more is done.
    #[error(
        "{0}; the shard stops, start it again when the disk is sound: recovery then settles what is open"
    )]
    Write(DiskError),
    /// A record could not be appended.
    #[error("{0}; the shard stops, start it again: recovery then settles what is open")]
    Append(WriterError),
    /// The data directory cannot be made.
    #[error(
        "cannot make the journal directory {path}: {error}; check data_dir and its permissions"
    )]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The kernel's answer.
        error: std::io::Error,
    },
}

/// How a shard ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// An orderly shutdown.
    Clean,
    /// A forced one: the next start runs recovery.
    Forced,
}

/// How long a stopping shard lets sockets take their last bytes.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Between looks at half-read telegrams, silent handshakes and the space on the disk.
const HOUSEKEEPING_NS: u64 = 250_000_000;
/// The longest sleep.
const SLEEP_MAX: Duration = Duration::from_millis(250);
/// Permission bits of the API's Unix socket: the daemon's user and group.
const UNIX_MODE: u32 = 0o660;
/// Listener tag of applications; below it are the lines.
const TAG_API: u64 = 1 << 32;
/// Monotonic time starts an hour in, so that no age is ever negative.
const TIME_ZERO_NS: u64 = 3_600_000_000_000;

/// One shard.
pub struct Shard {
    config: Config,
    number: usize,
    driver: Driver,
    pipeline: Pipeline<BlockBuf>,
    files: Files,
    conns: Vec<Option<Conn>>,
    links: usize,
    /// What came while the journal had no room, in order.
    stalled: VecDeque<Stalled>,
    start: Instant,
    housekeeping_ns: u64,
    inbox: Receiver<Message>,
    console: Console,
    space: Space,
    /// Orders and broken sockets that a release left behind.
    orders: Vec<Order>,
    broken: Vec<SocketId>,
    ended: Option<Ended>,
}

/// Something that waits for room in the journal.
enum Stalled {
    Bytes(SocketId, RecvBytes),
    Closed(SocketId),
}

/// The two clocks, read once a turn.
fn read_clock(start: Instant) -> Now {
    let wall = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Now {
        mono_ns: start.elapsed().as_nanos() as u64 + TIME_ZERO_NS,
        wall_ns: wall.as_nanos() as u64,
    }
}

/// What a shard is made of; it is put together on the thread that will run it.
pub struct Setup {
    /// The whole configuration.
    pub config: Config,
    /// Which of its shards this is.
    pub number: usize,
    /// Changes with every start of the daemon.
    pub boot: u64,
    /// From the operating system's random source.
    pub secret: [u64; 2],
    /// Messages of other threads.
    pub inbox: Receiver<Message>,
    /// The way to the log and to searches.
    pub console: Console,
}

impl Shard {
    /// Recovers the journal, opens the listeners, and is ready to run. Business is taken only after this.
    ///
    /// # Errors
    /// The ring, the journal or a listener, each with what to do.
    pub fn new(setup: Setup) -> Result<Shard, ShardError> {
        let Setup {
            config,
            number,
            boot,
            secret,
            inbox,
            console,
        } = setup;
        let start = Instant::now();
        let mut driver = Driver::new(settings::driver(&config, number))?;
        let core = settings::core(&config, number, boot, secret);
        let (files, pipeline) =
            journal::open(&config, number, core, read_clock(start), &mut driver)?;
        let sockets = settings::driver(&config, number).sockets_max as usize;
        let mut shard = Shard {
            driver,
            pipeline,
            files,
            conns: (0..sockets).map(|_| None).collect(),
            links: 0,
            stalled: VecDeque::with_capacity(4096),
            start,
            housekeeping_ns: 0,
            inbox,
            console,
            space: Space::Ok,
            orders: Vec::with_capacity(64),
            broken: Vec::with_capacity(64),
            ended: None,
            number,
            config,
        };
        shard.listen()?;
        Ok(shard)
    }

    /// A handle that wakes the shard from other threads.
    pub fn waker(&self) -> Waker {
        self.driver.waker()
    }

    fn listen(&mut self) -> Result<(), ShardError> {
        let (number, config) = (self.number, &self.config);
        for (at, line) in settings::lines_of(config, number).enumerate() {
            for address in &line.listen {
                let bound =
                    self.driver
                        .listen_tcp(*address, at as u64, &settings::centre_socket(line))?;
                log::info!("line {}: waiting for the centre on {bound}", line.name);
            }
        }
        if let Some(address) = config.api.tcp_of(number) {
            let bound = self
                .driver
                .listen_tcp(address, TAG_API, &SocketOptions::default())?;
            log::info!("shard {number}: applications on {bound}");
        }
        if let Some(path) = config.api.unix_of(number) {
            self.driver
                .listen_unix(&path, UNIX_MODE, TAG_API, &SocketOptions::default())?;
            log::info!("shard {number}: applications on {}", path.display());
        }
        Ok(())
    }

    /// Runs until an order or the disk ends it.
    ///
    /// # Errors
    /// The ring or the disk failed; the journal is truthful up to what is durable.
    pub fn run(mut self) -> Result<Ended, ShardError> {
        let told = &self.config.shards[self.number];
        let mut now = read_clock(self.start);
        let mut pace = Pace::new(told.spin, told.gather, now);
        loop {
            let turn = self.driver.turn(pace.wait(now, || self.quiet(now)))?;
            now = read_clock(self.start);
            pace.turned(now, turn.ready);
            if turn.ready > 0 {
                self.completions(now)?;
            }
            self.pipeline.step(now, Event::Tick);
            self.housekeeping(now);
            self.release(now);
            self.files
                .write_blocks(&mut self.pipeline, &mut self.driver)?;
            if let Some(fault) = self.pipeline.fault() {
                return Err(ShardError::Append(fault));
            }
            self.report();
            if let Some(ended) = self.ended {
                self.last_words();
                return Ok(ended);
            }
        }
    }

    /// How long nothing has to happen by itself.
    fn quiet(&self, now: Now) -> Duration {
        let timer = self
            .pipeline
            .next_timer_ns()
            .map(|at_ns| Duration::from_nanos(at_ns.saturating_sub(now.mono_ns)));
        timer.unwrap_or(SLEEP_MAX).min(SLEEP_MAX)
    }

    fn completions(&mut self, now: Now) -> Result<(), ShardError> {
        while let Some(completion) = self.driver.next() {
            match completion {
                Completion::Received { socket, bytes } => {
                    if self.stalled.is_empty() && self.pipeline.has_room() {
                        self.received(now, socket, &bytes);
                    } else {
                        self.stalled.push_back(Stalled::Bytes(socket, bytes));
                    }
                }
                Completion::Written {
                    tag,
                    buffer,
                    result,
                } => {
                    result.map_err(ShardError::Write)?;
                    self.files
                        .written(&mut self.pipeline, &mut self.driver, tag, buffer);
                }
                Completion::Sent { .. } => {}
                Completion::Accepted {
                    listener, socket, ..
                } => self.accepted(now, listener, socket),
                Completion::AcceptFailed { listener, reason } => {
                    log::warn!(
                        "shard {}: a connection to listener {listener:#x} was not accepted: {reason:?}",
                        self.number
                    );
                }
                Completion::Closed { socket, reason } => {
                    if let CloseReason::Error(errno) = reason {
                        log::debug!(
                            "shard {}: connection {} broke: {errno}",
                            self.number,
                            socket.index
                        );
                    }
                    if self.stalled.is_empty() {
                        self.ended(now, socket);
                    } else {
                        self.stalled.push_back(Stalled::Closed(socket));
                    }
                }
                Completion::SendFailed { socket, .. } => self.closed(now, socket),
                Completion::Woken => self.woken(now),
            }
        }
        while self.pipeline.has_room()
            && let Some(next) = self.stalled.pop_front()
        {
            match next {
                Stalled::Bytes(socket, bytes) => self.received(now, socket, &bytes),
                Stalled::Closed(socket) => self.ended(now, socket),
            }
        }
        Ok(())
    }

    fn accepted(&mut self, now: Now, listener: u64, socket: SocketId) {
        let peer = if listener >= TAG_API {
            if self.links >= self.config.api.max_links {
                log::warn!(
                    "shard {}: all {} links are in use, one more was closed: see api.max_links",
                    self.number,
                    self.links
                );
                return self.driver.abort(socket);
            }
            self.links += 1;
            self.pipeline.step(
                now,
                Event::LinkUp {
                    link: link_id(socket),
                },
            );
            Peer::Link {
                assembler: codec::link::Assembler::new(),
                since_ns: now.mono_ns,
                spoke: false,
            }
        } else {
            let line = LineNo(listener as u16);
            let follow_on = self.line(line).timers.follow_on.as_nanos() as u64;
            self.pipeline.step(
                now,
                Event::SessionUp {
                    line,
                    session: session_id(socket),
                },
            );
            Peer::Centre {
                line,
                assembler: codec::cafis::frame::Assembler::new(follow_on),
            }
        };
        self.conns[socket.index as usize] = Some(Conn { socket, peer });
    }

    fn line(&self, line: LineNo) -> &config::Line {
        let mut lines = settings::lines_of(&self.config, self.number);
        match lines.nth(usize::from(line.0)) {
            Some(line) => line,
            None => unreachable!("line {} has no configuration", line.0),
        }
    }

    /// Bytes of a socket: every whole frame is an event.
    fn received(&mut self, now: Now, socket: SocketId, bytes: &[u8]) {
        let Some(mut conn) = self.conns[socket.index as usize]
            .take()
            .filter(|conn| conn.socket == socket)
        else {
            return;
        };
        let good = match &mut conn.peer {
            Peer::Centre { line, assembler } => {
                telegrams(&mut self.pipeline, now, *line, socket, assembler, bytes)
                    .map_err(|fault| {
                        log::warn!(
                            "line {}: session {} closed: {fault}",
                            self.line(*line).name,
                            socket.index
                        )
                    })
                    .is_ok()
            }
            Peer::Link {
                assembler, spoke, ..
            } => link_frames(&mut self.pipeline, now, socket, assembler, bytes)
                .map(|whole| *spoke |= whole)
                .map_err(|fault| {
                    log::warn!(
                        "shard {}: link {} closed: {fault}",
                        self.number,
                        socket.index
                    )
                })
                .is_ok(),
        };
        self.conns[socket.index as usize] = Some(conn);
        if !good {
            self.closed(now, socket);
        }
    }

    /// The peer has ended a connection; what is lost when it did so in the middle of a telegram is named.
    fn ended(&mut self, now: Now, socket: SocketId) {
        if let Some(conn) = &self.conns[socket.index as usize]
            && conn.socket == socket
            && let Peer::Centre { line, assembler } = &conn.peer
            && let Some(fault) = assembler.end_of_stream()
        {
            log::warn!(
                "line {}: session {} ended: {fault}",
                self.line(*line).name,
                socket.index
            );
        }
        self.closed(now, socket);
    }

    /// A socket is of no use any more: the core forgets it, and it is closed if the peer has not done so.
    fn closed(&mut self, now: Now, socket: SocketId) {
        let Some(conn) = self.conns[socket.index as usize].take_if(|conn| conn.socket == socket)
        else {
            return;
        };
        match conn.peer {
            Peer::Centre { line, .. } => {
                self.pipeline.step(
                    now,
                    Event::SessionDown {
                        line,
                        session: session_id(socket),
                    },
                );
            }
            Peer::Link { .. } => {
                self.links -= 1;
                self.pipeline.step(
                    now,
                    Event::LinkDown {
                        link: link_id(socket),
                    },
                );
            }
        }
        self.driver.abort(socket);
    }

    fn woken(&mut self, now: Now) {
        while let Ok(message) = self.inbox.try_recv() {
            match message {
                Message::Terminate => self.pipeline.step(now, Event::Terminate),
                Message::LookedUp { cookie, found } => {
                    let found = found.as_ref().map(|found| found.borrow());
                    self.pipeline.step(now, Event::LookedUp { cookie, found });
                }
            }
        }
    }

    /// What the durable prefix has reached goes to the sockets.
    fn release(&mut self, now: Now) {
        let mut sink = Sockets {
            driver: &mut self.driver,
            orders: &mut self.orders,
            broken: &mut self.broken,
        };
        self.pipeline.release(now, &mut sink);
        while let Some(socket) = self.broken.pop() {
            log::warn!(
                "shard {}: connection {} does not read, it is closed",
                self.number,
                socket.index
            );
            self.closed(now, socket);
        }
        let mut orders = std::mem::take(&mut self.orders);
        for order in orders.drain(..) {
            self.order(now, order);
        }
        self.orders = orders;
    }

    fn order(&mut self, now: Now, order: Order) {
        match order {
            Order::CloseSession(SessionId(number)) => {
                let socket = socket_of(number);
                if self.conns[socket.index as usize]
                    .take_if(|conn| conn.socket == socket)
                    .is_some()
                {
                    self.driver.close_after_flush(socket);
                }
            }
            Order::CloseLink(LinkId(number)) => {
                let socket = socket_of(number);
                if self.conns[socket.index as usize]
                    .take_if(|conn| conn.socket == socket)
                    .is_some()
                {
                    self.links -= 1;
                    self.driver.close_after_flush(socket);
                    self.pipeline.step(
                        now,
                        Event::LinkDown {
                            link: LinkId(number),
                        },
                    );
                }
            }
            Order::Lookup { cookie, line, key } => self.console.look_up(cookie, line, key),
            Order::Stop { clean } => {
                self.ended = Some(if clean { Ended::Clean } else { Ended::Forced })
            }
        }
    }

    /// Half-read telegrams, silent handshakes, and the space on the disk.
    fn housekeeping(&mut self, now: Now) {
        if now.mono_ns < self.housekeeping_ns {
            return;
        }
        self.housekeeping_ns = now.mono_ns + HOUSEKEEPING_NS;
        let handshake_ns = self.config.api.handshake.as_nanos() as u64;
        for at in 0..self.conns.len() {
            let Some(conn) = &self.conns[at] else {
                continue;
            };
            let socket = conn.socket;
            let overdue = match &conn.peer {
                Peer::Centre { line, assembler } => {
                    assembler.expired(now.mono_ns).is_some_and(|fault| {
                        log::warn!(
                            "line {}: session {at} closed: {fault}",
                            self.line(*line).name
                        );
                        true
                    })
                }
                Peer::Link {
                    since_ns, spoke, ..
                } => !spoke && now.mono_ns - since_ns > handshake_ns,
            };
            if overdue {
                self.closed(now, socket);
            }
        }
        let space = self.files.space();
        if space != self.space {
            self.space = space;
            self.pipeline.step(now, Event::Space(space));
        }
    }

    /// Notices go to the log; nothing waits for it.
    fn report(&mut self) {
        let console = &mut self.console;
        let lost = self
            .pipeline
            .notices(|line, notice: Notice| console.notice(line, notice));
        if lost > 0 {
            log::warn!(
                "shard {}: {lost} notices were lost in one turn",
                self.number
            );
        }
    }

    /// Lets the last answers reach their sockets.
    fn last_words(&mut self) {
        let deadline = Instant::now() + LAST_WORDS;
        for conn in self.conns.iter_mut().filter_map(Option::take) {
            self.driver.close_after_flush(conn.socket);
        }
        while self.driver.sockets_open() > 0 && Instant::now() < deadline {
            if self
                .driver
                .turn(Wait::AtMost(Duration::from_millis(20)))
                .is_err()
            {
                return;
            }
            while self.driver.next().is_some() {}
        }
    }
}

/// Released frames on their way to the sockets' buffers.
struct Sockets<'a> {
    driver: &'a mut Driver,
    orders: &'a mut Vec<Order>,
    broken: &'a mut Vec<SocketId>,
}

impl Sockets<'_> {
    fn append(&mut self, number: u64, frame: &[u8]) {
        let socket = socket_of(number);
        if let Some(mut out) = self.driver.out(socket)
            && out.append(frame).is_err()
            && !self.broken.contains(&socket)
        {
            self.broken.push(socket);
        }
    }
}

impl Sink for Sockets<'_> {
    fn centre(&mut self, session: SessionId, frame: &[u8]) {
        self.append(session.0, frame);
    }

    fn link(&mut self, link: LinkId, frame: &[u8]) {
        self.append(link.0, frame);
    }

    fn order(&mut self, order: Order) {
        self.orders.push(order);
    }
}

fn telegrams(
    pipeline: &mut Pipeline<BlockBuf>,
    now: Now,
    line: LineNo,
    socket: SocketId,
    assembler: &mut codec::cafis::frame::Assembler,
    mut bytes: &[u8],
) -> Result<(), codec::cafis::frame::FrameError> {
    while !bytes.is_empty() {
        let split = assembler.split(now.mono_ns, bytes)?;
        if let Some(frame) = split.frame {
            pipeline.step(
                now,
                Event::Telegram {
                    line,
                    session: session_id(socket),
                    frame: frame.bytes(),
                },
            );
        }
        bytes = &bytes[split.consumed..];
    }
    Ok(())
}

/// Gives every whole frame to the core; says whether there was one.
fn link_frames(
    pipeline: &mut Pipeline<BlockBuf>,
    now: Now,
    socket: SocketId,
    assembler: &mut codec::link::Assembler,
    mut bytes: &[u8],
) -> Result<bool, codec::link::LinkError> {
    let mut whole = false;
    while !bytes.is_empty() {
        let split = assembler.split(bytes)?;
        if let Some(frame) = split.frame {
            whole = true;
            pipeline.step(
                now,
                Event::LinkFrame {
                    link: link_id(socket),
                    frame,
                },
            );
        }
        bytes = &bytes[split.consumed..];
    }
    Ok(whole)
}
