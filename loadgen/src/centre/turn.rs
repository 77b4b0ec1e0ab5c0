//! The event loop: one thread, non-blocking sockets, every session's answers in one write a turn.
//!
//! mio's readiness is edge-triggered. A read that does not fill the buffer has emptied the socket, and a later byte or
//! end of stream makes a new edge, so that a turn costs one read a session; only an event that already tells of the
//! end is read to it. What is in `Io` is about descriptors, and what the frames mean is `Sim`'s.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use codec::cafis::frame::Assembler;
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::{SockRef, TcpKeepalive};

use super::ledger::Book;
use super::sim::{Action, Ended, MERGE_NS_MAX, Now, Sim};

const READ_LEN: usize = 64 * 1024;
const EVENTS: usize = 1024;
/// The token of the waker; sessions count from 0.
pub(super) const WAKER: Token = Token(usize::MAX);
/// How often half-read frames are looked at, and the longest sleep.
const TICK_NS: u64 = 200_000_000;
const KEEPALIVE: (u64, u64, u32) = (40, 6, 8);

/// An order and where its reply goes.
pub(super) enum Order {
    /// In the words of the control port.
    Command { text: String, reply: Sender<String> },
    /// A copy of the ledger.
    Ledger { reply: Sender<Book> },
}

struct Connection {
    stream: Option<TcpStream>,
    connecting: bool,
    sent: usize,
    close: bool,
    assembler: Assembler,
}

struct Io {
    poll: Poll,
    connections: Vec<Connection>,
    follow_on_ns: u64,
    buffer: Vec<u8>,
    started: Instant,
    next_tick_ns: u64,
    /// Sessions whose frames wait for the next turn: cut, held back, or refused by a full socket buffer.
    behind: Vec<u32>,
}

/// Runs a centre until it is told to stop. `ready` is told once, when all sessions are up.
pub(super) fn run(
    sim: &mut Sim,
    poll: Poll,
    orders: &Receiver<Order>,
    spin: bool,
    mut ready: impl FnMut(&Sim),
) -> io::Result<()> {
    let mut io = Io {
        poll,
        connections: Vec::new(),
        follow_on_ns: sim.follow_on_ns(),
        buffer: vec![0; READ_LEN],
        started: Instant::now(),
        next_tick_ns: TICK_NS,
        behind: Vec::new(),
    };
    let mut events = Events::with_capacity(EVENTS);
    let mut announced = false;
    sim.set_now(io.now());
    loop {
        io.act(sim)?;
        io.flush(sim);
        // A flush may have found broken connections and asked for new ones.
        if sim.actions.is_empty() {
            if sim.quit {
                return Ok(());
            }
            io.wait(sim, &mut events, spin)?;
            if spin && events.is_empty() {
                // A load generator may share the core and poll as well.
                std::thread::yield_now();
            }
        }
        sim.set_now(io.now());
        let mut woken = spin;
        for event in &events {
            if event.token() == WAKER {
                woken = true;
            } else {
                io.on_event(sim, event);
            }
        }
        events.clear();
        sim.on_timers();
        io.tick(sim);
        if woken {
            obey(sim, orders);
        }
        if !announced && sim.all_up() {
            announced = true;
            ready(sim);
        }
    }
}

/// Obeys the orders that came; when nobody can give orders any more, the centre stops.
fn obey(sim: &mut Sim, orders: &Receiver<Order>) {
    loop {
        match orders.try_recv() {
            // Who does not wait for the reply does not get it.
            Ok(Order::Command { text, reply }) => {
                let answer = sim.command(&text);
                let _ = reply.send(answer);
            }
            Ok(Order::Ledger { reply }) => {
                let _ = reply.send(Book::of(sim.ledger(), &sim.line_names()));
            }
            Err(TryRecvError::Empty) => return,
            Err(TryRecvError::Disconnected) => {
                sim.quit = true;
                return;
            }
        }
    }
}

impl Io {
    fn now(&self) -> Now {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Now {
            ns: self.started.elapsed().as_nanos() as u64,
            us: wall.as_micros() as u64,
        }
    }

    /// Sleeps until something happens; not at all while frames are held back or polling is asked for.
    fn wait(&mut self, sim: &Sim, events: &mut Events, spin: bool) -> io::Result<()> {
        let now_ns = self.started.elapsed().as_nanos() as u64;
        let due_ns = sim.next_ns().unwrap_or(u64::MAX).min(self.next_tick_ns);
        let idle = !spin && self.behind.is_empty();
        let sleep = if idle {
            Duration::from_nanos(due_ns.saturating_sub(now_ns))
        } else {
            Duration::ZERO
        };
        match self.poll.poll(events, Some(sleep)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            other => other,
        }
    }

    fn act(&mut self, sim: &mut Sim) -> io::Result<()> {
        while let Some(action) = sim.actions.pop() {
            match action {
                Action::Connect(session) => self.connect(sim, session)?,
                Action::Close(session) => {
                    let connection = &mut self.connections[session as usize];
                    connection.close = true;
                    self.behind.push(session);
                }
            }
        }
        Ok(())
    }

    fn connect(&mut self, sim: &mut Sim, session: u32) -> io::Result<()> {
        while self.connections.len() <= session as usize {
            self.connections.push(Connection {
                stream: None,
                connecting: false,
                sent: 0,
                close: false,
                assembler: Assembler::new(self.follow_on_ns),
            });
        }
        let follow_on_ns = self.follow_on_ns;
        let connection = &mut self.connections[session as usize];
        let opened = TcpStream::connect(sim.gateway_of(session)).and_then(|mut stream| {
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll
                .registry()
                .register(&mut stream, Token(session as usize), interest)?;
            Ok(stream)
        });
        match opened {
            Ok(stream) => {
                *connection = Connection {
                    stream: Some(stream),
                    connecting: true,
                    sent: 0,
                    close: false,
                    assembler: Assembler::new(follow_on_ns),
                };
                Ok(())
            }
            // Out of descriptors is ours to say; a refusal is the gateway's, and is tried again.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
                Err(error)
            }
            Err(_) => {
                sim.on_closed(session, Ended::Broken);
                Ok(())
            }
        }
    }

    fn on_event(&mut self, sim: &mut Sim, event: &Event) {
        let session = event.token().0;
        let connection = &mut self.connections[session];
        let Some(stream) = &connection.stream else {
            return;
        };
        if connection.connecting {
            let failed = matches!(stream.take_error(), Ok(Some(_)) | Err(_));
            match stream.peer_addr() {
                Ok(_) if !failed => {
                    connection.connecting = false;
                    prepare(stream);
                    sim.on_connected(session as u32);
                }
                Err(error) if !failed && error.kind() == ErrorKind::NotConnected => return,
                _ => return self.close(sim, session as u32, Ended::Broken),
            }
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.read(sim, session, event.is_read_closed() || event.is_error());
        }
        if event.is_writable() && !sim.sessions[session].out.is_empty() {
            self.behind.push(session as u32);
        }
    }

    /// Reads what is there and hands out its frames.
    fn read(&mut self, sim: &mut Sim, session: usize, to_end: bool) {
        loop {
            let connection = &mut self.connections[session];
            let Some(stream) = &mut connection.stream else {
                return;
            };
            let have = match stream.read(&mut self.buffer) {
                Ok(0) => {
                    if let Some(error) = connection.assembler.end_of_stream() {
                        sim.on_framing(session as u32, error);
                    }
                    return self.close(sim, session as u32, Ended::Orderly);
                }
                Ok(have) => have,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return self.close(sim, session as u32, Ended::Broken),
            };
            let now_ns = sim.now_ns();
            let mut rest = &self.buffer[..have];
            while !rest.is_empty() {
                match connection.assembler.split(now_ns, rest) {
                    Ok(split) => {
                        rest = &rest[split.consumed..];
                        if let Some(frame) = split.frame {
                            sim.on_frame(session as u32, frame);
                        }
                    }
                    Err(error) => {
                        sim.on_framing(session as u32, error);
                        return self.close(sim, session as u32, Ended::Orderly);
                    }
                }
            }
            if have < READ_LEN && !to_end {
                return;
            }
        }
    }

    /// Writes what is queued, once a session.
    fn flush(&mut self, sim: &mut Sim) {
        let mut sessions = std::mem::take(&mut sim.dirty);
        sessions.append(&mut self.behind);
        for session in sessions.drain(..) {
            sim.sessions[session as usize].dirty = false;
            if self.write(sim, session as usize) {
                let state = &mut sim.sessions[session as usize];
                if !state.dirty {
                    state.dirty = true;
                    self.behind.push(session);
                }
            }
        }
        // Give the memory back, so that no turn allocates.
        if sim.dirty.is_empty() {
            sim.dirty = sessions;
        }
    }

    /// Writes; says whether the session has to be looked at in the next turn again.
    fn write(&mut self, sim: &mut Sim, session: usize) -> bool {
        let cutting = sim.cutting;
        let now_ns = sim.now_ns();
        let connection = &mut self.connections[session];
        let state = &mut sim.sessions[session];
        let Some(stream) = &mut connection.stream else {
            return false;
        };
        let pending = state.out.len() - connection.sent;
        let gather = cutting.merge > state.frames && now_ns - state.since_ns < MERGE_NS_MAX;
        if pending > 0 && gather && !connection.close {
            return true;
        }
        while connection.sent < state.out.len() {
            let mut part = &state.out[connection.sent..];
            if cutting.split > 0 {
                part = &part[..part.len().min(cutting.split)];
            }
            match stream.write(part) {
                Ok(count) => {
                    connection.sent += count;
                    if cutting.split > 0 && connection.sent < state.out.len() {
                        return true;
                    }
                }
                // The next writable edge brings it back.
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    self.close(sim, session as u32, Ended::Broken);
                    return false;
                }
            }
        }
        state.out.clear();
        state.frames = 0;
        connection.sent = 0;
        if connection.close {
            self.close(sim, session as u32, Ended::Orderly);
        }
        false
    }

    fn close(&mut self, sim: &mut Sim, session: u32, ended: Ended) {
        let connection = &mut self.connections[session as usize];
        if let Some(mut stream) = connection.stream.take() {
            // A descriptor that is closed leaves the poll by itself; this only says it first.
            let _ = self.poll.registry().deregister(&mut stream);
        }
        connection.connecting = false;
        connection.close = false;
        connection.sent = 0;
        sim.on_closed(session, ended);
    }

    /// Closes sessions whose half-read frame has waited too long.
    fn tick(&mut self, sim: &mut Sim) {
        let now_ns = sim.now_ns();
        if now_ns < self.next_tick_ns {
            return;
        }
        self.next_tick_ns = now_ns + TICK_NS;
        for session in 0..self.connections.len() {
            if let Some(error) = self.connections[session].assembler.expired(now_ns)
                && self.connections[session].stream.is_some()
            {
                sim.on_framing(session as u32, error);
                self.close(sim, session as u32, Ended::Orderly);
            }
        }
    }
}

/// Options of a connection; where the system has none of them the connection works without.
fn prepare(stream: &TcpStream) {
    let (idle, interval, count) = KEEPALIVE;
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(idle))
        .with_interval(Duration::from_secs(interval))
        .with_retries(count);
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
}
