//! The loop of the generator: one thread, all connections, each turn read everything, send everything that is due,
//! and give each connection one write.
//!
//! Requests wait in the schedule, not in a queue: what is due and finds no connection with room is simply taken
//! later, and its latency counts from the time it was meant for. Connections with room stand in a ring, so finding
//! one costs the same with one line and with a thousand.

use std::collections::VecDeque;
use std::io;
use std::time::Instant;

use thiserror::Error;

use super::endpoint::{Endpoint, Stream};
use super::outcome::Outcome;
use super::pace::Pacer;
use super::poll::Poller;
use super::talk::{Done, Fate, Order, Talk, TalkError};
use super::tally::Tally;
use super::telegram::Telegrams;

/// Bytes read from a connection at a time.
const INPUT_LEN: usize = 64 * 1024;
/// A connection whose kernel buffer is full and that has this many unwritten bytes besides takes no request: its
/// peer has stopped reading.
const BACKLOG_MAX: usize = 256 * 1024;
/// Events taken from the kernel at a time.
const EVENTS_MAX: usize = 1024;
/// Sends of one turn. After these the sockets are served, so that a burst does not hold up the answers.
const SENDS_MAX: usize = 16_384;
/// How long a broken connection rests before it is made anew.
const RECONNECT_NS: u64 = 100_000_000;

/// Why a run could not go on.
#[derive(Debug, Error)]
pub enum DriveError {
    /// The first connection of a run failed.
    #[error("cannot connect to {endpoint}: {source}")]
    Connect {
        /// Where to.
        endpoint: Endpoint,
        /// What the system said.
        source: io::Error,
    },
    /// A peer did not behave while the run was being set up.
    #[error("{endpoint}: {source}")]
    Talk {
        /// The peer.
        endpoint: Endpoint,
        /// What it did.
        source: TalkError,
    },
    /// A connection was closed while the run was being set up.
    #[error("{endpoint} closed the connection before it was ready")]
    Closed {
        /// The peer.
        endpoint: Endpoint,
    },
    /// Not every connection was ready in time.
    #[error(
        "{ready} of {all} connections were ready after {seconds} s; the first that was not: {endpoint}"
    )]
    NotReady {
        /// How many were.
        ready: usize,
        /// How many were wanted.
        all: usize,
        /// How long was waited.
        seconds: u64,
        /// One of those that were not.
        endpoint: Endpoint,
    },
    /// A daemon sent the link to something that is no address.
    #[error("{endpoint} sent the link to `{go_to}`, which is no address")]
    GoTo {
        /// The daemon.
        endpoint: Endpoint,
        /// What it named.
        go_to: String,
    },
    /// Waiting for sockets failed.
    #[error("cannot wait for sockets: {0}")]
    Poll(#[from] io::Error),
}

/// A connection and its place in the loop.
struct Port<T> {
    endpoint: Endpoint,
    stream: Option<Stream>,
    talk: T,
    out: Vec<u8>,
    written: usize,
    /// The kernel took less than was offered: wait until it takes more.
    stuck: bool,
    dirty: bool,
    in_ring: bool,
    retry_at_ns: Option<u64>,
}

impl<T: Talk> Port<T> {
    fn can_send(&self, now_ns: u64) -> bool {
        self.stream.is_some()
            && !(self.stuck && self.out.len() - self.written >= BACKLOG_MAX)
            && self.talk.room(now_ns) > 0
    }
}

/// How the loop waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Style {
    /// Never sleep.
    pub(crate) spin: bool,
    /// A broken connection is made anew.
    pub(crate) reconnect: bool,
    /// Due sends are gathered for this long, so that a high rate does not cost a system call a request.
    pub(crate) gather_ns: u64,
}

/// What the loop counted besides the tally.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests handed to connections, repeats not counted.
    pub sent: u64,
    /// Requests sent again because no route was free.
    pub again: u64,
    /// Connections that broke.
    pub broken: u64,
    /// Turns of the loop.
    pub turns: u64,
    /// The longest turn, from the end of a wait to the start of the next, in nanoseconds.
    pub turn_max_ns: u64,
}

/// Takes the end of every request. The book does.
pub(crate) type Sink<'a> = &'a mut dyn FnMut(u64, Outcome);

/// All connections of a run.
pub(crate) struct Drive<T> {
    poller: Poller,
    ports: Vec<Port<T>>,
    ring: VecDeque<usize>,
    dirty: Vec<usize>,
    held: Vec<usize>,
    again: VecDeque<Order>,
    done: Vec<Done>,
    telegrams: Telegrams,
    input: Box<[u8]>,
    start: Instant,
    style: Style,
    in_flight: usize,
    next_serial: u64,
    send_from_ns: u64,
    counters: Counters,
}

impl<T: Talk> Drive<T> {
    /// Connects every port and waits until all are ready to send, `seconds` at most.
    pub(crate) fn connect(
        ports: Vec<(Endpoint, T)>,
        telegrams: Telegrams,
        style: Style,
        seconds: u64,
    ) -> Result<Drive<T>, DriveError> {
        let count = ports.len();
        let mut drive = Drive {
            poller: Poller::new(EVENTS_MAX)?,
            ports: Vec::with_capacity(count),
            ring: VecDeque::with_capacity(count),
            dirty: Vec::with_capacity(count),
            held: Vec::with_capacity(count),
            again: VecDeque::with_capacity(1024),
            done: Vec::with_capacity(4096),
            telegrams,
            input: vec![0; INPUT_LEN].into_boxed_slice(),
            start: Instant::now(),
            style,
            in_flight: 0,
            next_serial: 0,
            send_from_ns: 0,
            counters: Counters::default(),
        };
        for (at, (endpoint, talk)) in ports.into_iter().enumerate() {
            drive.ports.push(Port {
                endpoint,
                stream: None,
                talk,
                out: Vec::with_capacity(BACKLOG_MAX / 16),
                written: 0,
                stuck: false,
                dirty: false,
                in_ring: false,
                retry_at_ns: None,
            });
            drive.open(at)?;
        }
        let deadline = drive.now() + seconds * 1_000_000_000;
        while let Some(late) = drive.ports.iter().find(|port| !port.talk.ready()) {
            if drive.now() >= deadline {
                return Err(DriveError::NotReady {
                    ready: drive.ports.iter().filter(|p| p.talk.ready()).count(),
                    all: count,
                    seconds,
                    endpoint: late.endpoint.clone(),
                });
            }
            drive.flush();
            let events = drive.poller.wait(10_000_000)?;
            drive.serve(events, &mut None, &mut |_, _| {})?;
        }
        drive.flush();
        Ok(drive)
    }

    /// Nanoseconds since the connections were begun.
    pub(crate) fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// What was counted since this was asked last.
    pub(crate) fn take_counters(&mut self) -> Counters {
        std::mem::take(&mut self.counters)
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(crate) fn telegrams(&self) -> &Telegrams {
        &self.telegrams
    }

    /// Requests that were given a number so far, over all parts of a run.
    pub(crate) fn serials(&self) -> u64 {
        self.next_serial
    }

    fn open(&mut self, at: usize) -> Result<(), DriveError> {
        let port = &mut self.ports[at];
        let fail = |source| DriveError::Connect {
            endpoint: port.endpoint.clone(),
            source,
        };
        let stream = port.endpoint.connect().map_err(fail)?;
        self.poller.add(&stream, at).map_err(fail)?;
        port.stream = Some(stream);
        port.out.clear();
        port.written = 0;
        port.stuck = false;
        port.retry_at_ns = None;
        port.talk.begin(&mut port.out);
        self.soil(at);
        Ok(())
    }

    /// Notes that a connection has something to write.
    fn soil(&mut self, at: usize) {
        if !self.ports[at].dirty {
            self.ports[at].dirty = true;
            self.dirty.push(at);
        }
    }

    /// One turn of the loop at offset `base_ns` of the clock: wait, read, send what is due, write.
    pub(crate) fn turn(
        &mut self,
        base_ns: u64,
        pacer: &mut Pacer,
        tally: &mut Tally,
        sink: Sink<'_>,
        wake_ns: u64,
    ) -> Result<(), DriveError> {
        let now = self.now();
        let timeout = self.timeout(now, base_ns, pacer, wake_ns);
        let events = self.poller.wait(timeout)?;
        if events == 0 && self.style.spin {
            // The centre may share the core and poll as well; the kernel's own threads run between the two.
            std::thread::yield_now();
        }
        let woken = self.now();
        self.serve(events, &mut Some((base_ns, &mut *tally)), &mut *sink)?;
        let now = self.now();
        self.wake_ports(now)?;
        self.send_due(now, base_ns, pacer);
        self.flush();
        // A connection that broke while it was written to has ended requests as well.
        self.settle(base_ns, tally, sink);
        self.counters.turns += 1;
        self.counters.turn_max_ns = self.counters.turn_max_ns.max(self.now() - woken);
        Ok(())
    }

    /// How long the kernel may keep us: until a send is due that can be made, a held port is free, or `wake_ns`.
    fn timeout(&self, now: u64, base_ns: u64, pacer: &Pacer, wake_ns: u64) -> u64 {
        if self.style.spin {
            return 0;
        }
        let mut wake = base_ns + wake_ns;
        if !self.ring.is_empty() {
            if !self.again.is_empty() {
                return 0;
            }
            let next = pacer.next_ns(now - base_ns);
            let next = next.map_or(u64::MAX, |next| (base_ns + next).max(self.send_from_ns));
            wake = wake.min(next);
        }
        for at in &self.held {
            let port = &self.ports[*at];
            let free = port.retry_at_ns.or(port.talk.held_until_ns());
            wake = wake.min(free.unwrap_or(now));
        }
        wake.saturating_sub(now)
    }

    /// Looks again at ports that waited for time to pass: to be connected, or to be offered to the daemon again.
    fn wake_ports(&mut self, now: u64) -> Result<(), DriveError> {
        for _ in 0..self.held.len() {
            let at = self.held.swap_remove(0);
            let port = &self.ports[at];
            let due = port.retry_at_ns.or(port.talk.held_until_ns()).unwrap_or(0);
            if now < due {
                self.held.push(at);
                continue;
            }
            if port.stream.is_none() && self.open(at).is_err() {
                self.ports[at].retry_at_ns = Some(now + RECONNECT_NS);
                self.held.push(at);
                continue;
            }
            self.consider(at, now);
        }
        Ok(())
    }

    /// Puts a port with room into the ring, and one that waits for time onto the list of those.
    fn consider(&mut self, at: usize, now: u64) {
        let port = &mut self.ports[at];
        if port.in_ring {
            return;
        }
        if port.can_send(now) {
            port.in_ring = true;
            self.ring.push_back(at);
        } else if port.talk.held_until_ns().is_some_and(|until| until > now)
            && !self.held.contains(&at)
        {
            self.held.push(at);
        }
    }

    fn send_due(&mut self, now: u64, base_ns: u64, pacer: &mut Pacer) {
        if now < self.send_from_ns {
            return;
        }
        for _ in 0..SENDS_MAX {
            let Some(at) = self.next_port(now) else {
                pacer.block();
                return;
            };
            pacer.unblock(now - base_ns);
            let order = match self.again.pop_front() {
                Some(order) => order,
                None => {
                    let Some(intended_ns) = pacer.take(now - base_ns) else {
                        return;
                    };
                    self.counters.sent += 1;
                    self.number(intended_ns)
                }
            };
            self.send_from_ns = now + self.style.gather_ns;
            self.ring.pop_front();
            let port = &mut self.ports[at];
            port.in_ring = false;
            port.talk.send(order, &mut self.telegrams, &mut port.out);
            self.in_flight += 1;
            self.soil(at);
            self.consider(at, now);
        }
    }

    /// Gives the next request its number.
    fn number(&mut self, intended_ns: u64) -> Order {
        self.next_serial += 1;
        Order {
            serial: self.next_serial - 1,
            intended_ns,
        }
    }

    /// The port at the front of the ring, after those that lost their room have left it.
    fn next_port(&mut self, now: u64) -> Option<usize> {
        while let Some(at) = self.ring.front().copied() {
            if self.ports[at].can_send(now) {
                return Some(at);
            }
            self.ring.pop_front();
            self.ports[at].in_ring = false;
            self.consider(at, now);
        }
        None
    }

    /// Reads every socket that has something. While `tally` is none the run is being set up, and any fault ends it.
    fn serve(
        &mut self,
        events: usize,
        tally: &mut Option<(u64, &mut Tally)>,
        sink: Sink<'_>,
    ) -> Result<(), DriveError> {
        for number in 0..events {
            let event = self.poller.event(number);
            let at = event.token;
            if event.writable {
                self.soil(at);
            }
            if event.readable
                && let Err(fault) = self.read(at)
            {
                if tally.is_none() {
                    return Err(fault);
                }
                self.break_off(at);
            }
            if let Some((base_ns, tally)) = tally {
                self.settle(*base_ns, tally, sink);
            }
            if let Some(go_to) = self.ports[at].talk.moved() {
                self.move_port(at, go_to)?;
            }
            let now = self.now();
            self.consider(at, now);
        }
        Ok(())
    }

    /// Reads a socket until it has no more.
    fn read(&mut self, at: usize) -> Result<(), DriveError> {
        loop {
            let port = &mut self.ports[at];
            let Some(stream) = &port.stream else {
                return Ok(());
            };
            let got = match stream.read(&mut self.input) {
                Ok(0) => {
                    return Err(DriveError::Closed {
                        endpoint: port.endpoint.clone(),
                    });
                }
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => {
                    return Err(DriveError::Connect {
                        endpoint: port.endpoint.clone(),
                        source,
                    });
                }
            };
            let now = self.start.elapsed().as_nanos() as u64;
            let before = port.out.len();
            port.talk
                .receive(now, &self.input[..got], &mut port.out, &mut self.done)
                .map_err(|source| DriveError::Talk {
                    endpoint: port.endpoint.clone(),
                    source,
                })?;
            if port.out.len() != before {
                self.soil(at);
            }
            // A short read has emptied the socket; a full one may have left something.
            if got < self.input.len() {
                return Ok(());
            }
        }
    }

    /// Books what has ended.
    fn settle(&mut self, base_ns: u64, tally: &mut Tally, sink: Sink<'_>) {
        if self.done.is_empty() {
            return;
        }
        let now = self.now() - base_ns;
        self.in_flight -= self.done.len();
        for done in self.done.drain(..) {
            match done.fate {
                Fate::Again => {
                    self.counters.again += 1;
                    self.again.push_back(done.order);
                }
                Fate::Over(outcome) => {
                    tally.record(outcome, done.order.intended_ns, now);
                    sink(done.order.serial, outcome);
                }
            }
        }
    }

    /// A connection broke: its open requests are lost, and it is made anew after a rest.
    fn break_off(&mut self, at: usize) {
        let now = self.now();
        let port = &mut self.ports[at];
        port.stream = None;
        port.out.clear();
        port.written = 0;
        port.talk.abandon(Outcome::Lost, &mut self.done);
        self.counters.broken += 1;
        if self.style.reconnect {
            port.retry_at_ns = Some(now + RECONNECT_NS);
            if !self.held.contains(&at) {
                self.held.push(at);
            }
        }
    }

    fn move_port(&mut self, at: usize, go_to: String) -> Result<(), DriveError> {
        let port = &mut self.ports[at];
        port.endpoint = go_to.parse().map_err(|_| DriveError::GoTo {
            endpoint: port.endpoint.clone(),
            go_to,
        })?;
        self.open(at)
    }

    /// One write for every connection that has something to say.
    fn flush(&mut self) {
        while let Some(at) = self.dirty.pop() {
            self.ports[at].dirty = false;
            if self.write(at).is_err() {
                self.break_off(at);
            }
        }
    }

    fn write(&mut self, at: usize) -> io::Result<()> {
        let port = &mut self.ports[at];
        let Some(stream) = &port.stream else {
            return Ok(());
        };
        while port.written < port.out.len() {
            match stream.write(&port.out[port.written..]) {
                Ok(taken) => port.written += taken,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        let stuck = port.written < port.out.len();
        if !stuck {
            port.out.clear();
            port.written = 0;
        } else if port.written > BACKLOG_MAX {
            port.out.drain(..port.written);
            port.written = 0;
        }
        if stuck != port.stuck {
            port.stuck = stuck;
            self.poller.want_write(stream, at, stuck)?;
        }
        let now = self.now();
        self.consider(at, now);
        Ok(())
    }

    /// The time for answers is up: what is open was not answered.
    pub(crate) fn end_open(&mut self, base_ns: u64, tally: &mut Tally, sink: Sink<'_>) {
        for port in &mut self.ports {
            port.talk.abandon(Outcome::Unanswered, &mut self.done);
        }
        self.settle(base_ns, tally, sink);
    }

    /// The time for sending is up: what was due and found no room was never sent, and is counted as that.
    pub(crate) fn end_unsent(
        &mut self,
        base_ns: u64,
        pacer: &mut Pacer,
        tally: &mut Tally,
        sink: Sink<'_>,
    ) {
        let now = self.now() - base_ns;
        // Had there been room until now, they would be late by the generator's fault; there was none.
        pacer.unblock(now);
        while let Some(order) = self.again.pop_front() {
            tally.record(Outcome::Unsent, order.intended_ns, now);
            sink(order.serial, Outcome::Unsent);
        }
        while pacer.is_open()
            && let Some(intended_ns) = pacer.take(now)
        {
            let order = self.number(intended_ns);
            tally.record(Outcome::Unsent, intended_ns, now);
            sink(order.serial, Outcome::Unsent);
        }
    }

    /// Whether a request is open or waits to be sent again.
    pub(crate) fn busy(&self) -> bool {
        self.in_flight > 0 || !self.again.is_empty()
    }
}
