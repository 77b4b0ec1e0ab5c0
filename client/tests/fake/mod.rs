//! A scripted daemon on real sockets: it keeps a small book of transactions, answers as the link protocol says,
//! and misbehaves exactly as the test's [`Rules`] tell it. It stands in for sekishod in the client's tests only.

// Each test binary uses its own part of this module.
#![allow(dead_code)]

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use codec::link::frame::{FLAG_AGAIN, Kind};
use codec::link::message::{
    Hello, Opened, Order, Report, Send, State, Status, TransactionState, VERSION, Welcome,
    decode_key, decode_token,
};
use codec::link::{Assembler, Head};

/// What the daemon does with a SEND.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnSend {
    /// ACCEPTED, then REPORT.
    Report,
    /// ACCEPTED, and no report.
    Accept,
    /// ENDED with this code.
    Refuse(u16),
    /// ACCEPTED, then ENDED with this code.
    AcceptThenEnd(u16),
    /// Nothing.
    Ignore,
}

/// What the daemon does with an ACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnAck {
    /// Delivered, CONFIRM.
    Confirm,
    /// It came too late: CONFIRM 10.
    TooLate,
    /// Nothing.
    Ignore,
}

/// How the daemon behaves from now on.
#[derive(Clone, Debug)]
pub struct Rules {
    pub credit: u32,
    pub on_send: OnSend,
    pub on_ack: OnAck,
    /// DONE's code, for every order.
    pub done: u16,
    /// Orders get no answer.
    pub ignore_orders: bool,
    /// STATUS.
    pub status: Status,
    pub state: TransactionState,
    /// Code of a refusal of OPEN.
    pub refuse_open: Option<u16>,
    /// RESUME is refused with code 7.
    pub forget_sessions: bool,
    pub version: u16,
    pub refuse_hello: Option<u16>,
    /// HELLO is answered with these bytes.
    pub garbage: Option<Vec<u8>>,
    /// Frames are read and nothing is answered.
    pub mute: bool,
    pub t31_ms: u32,
    pub event_ms: u32,
    pub go_to: String,
    /// The connection is cut at this frame, counted over both directions and all connections.
    pub cut_at: Option<usize>,
    /// The frame at which it is cut still counts: it is processed, or reaches the client.
    pub cut_behind: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            credit: 16,
            on_send: OnSend::Report,
            on_ack: OnAck::Confirm,
            done: 0,
            ignore_orders: false,
            status: Status {
                service: 4,
                cut_date: 20_261_130,
                ..Status::default()
            },
            state: TransactionState::Delivered,
            refuse_open: None,
            forget_sessions: false,
            version: VERSION,
            refuse_hello: None,
            garbage: None,
            mute: false,
            t31_ms: 58_000,
            event_ms: 90_000,
            go_to: String::new(),
            cut_at: None,
            cut_behind: false,
        }
    }
}

/// A transaction in the fake daemon's book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    pub request: u64,
    pub mti: [u8; 4],
    pub data: Vec<u8>,
    pub fate: Fate,
}

/// How far a transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Open,
    Reported,
    Delivered,
    Ended(u16),
}

/// What the daemon remembers over connections.
#[derive(Default)]
struct Memory {
    sessions: Vec<SessionMemory>,
    /// Every frame that came, in order, as kind and flags.
    heard: Vec<(Kind, u8)>,
    frames: usize,
    connections: Vec<Arc<TcpStream>>,
    keys_cancelled: Vec<[u8; 24]>,
    lines: Vec<String>,
}

#[derive(Default)]
struct SessionMemory {
    token: [u8; 16],
    /// Its number on the newest connection.
    number: u32,
    closed: bool,
    book: Vec<Transaction>,
}

/// The daemon. It stops when it is dropped.
pub struct Fake {
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    rules: Mutex<Rules>,
    memory: Mutex<Memory>,
    stop: AtomicBool,
}

impl Shared {
    fn rules(&self) -> Rules {
        self.rules.lock().expect("rules").clone()
    }
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().expect("memory")
    }
}

impl Fake {
    /// Listens on a free port of the loopback.
    pub fn start(rules: Rules) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let shared = Arc::new(Shared {
            rules: Mutex::new(rules),
            memory: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let inner = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                if inner.stop.load(Ordering::SeqCst) {
                    return;
                }
                let stream = Arc::new(stream.expect("accepted"));
                stream.set_nodelay(true).expect("a TCP socket");
                inner.memory().connections.push(stream.clone());
                let inner = inner.clone();
                thread::spawn(move || Connection::new(&inner, &stream).run());
            }
        });
        Fake { port, shared }
    }

    /// Changes how the daemon behaves from now on.
    pub fn rule(&self, change: impl FnOnce(&mut Rules)) {
        change(&mut self.shared.rules.lock().expect("rules"));
    }

    /// Cuts every connection.
    pub fn cut(&self) {
        for stream in self.shared.memory().connections.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Stops listening, so that connecting is refused, and cuts every connection.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        self.cut();
    }

    /// Sends a frame to the newest connection, unasked.
    pub fn push(&self, head: Head, body: &[u8]) {
        let mut out = Vec::new();
        head.write(body, &mut out);
        let stream = self.shared.memory().connections.last().cloned();
        (&*stream.expect("a connection"))
            .write_all(&out)
            .expect("written");
    }

    /// The centre answers what is open: REPORTs on the newest connection.
    pub fn report_open(&self) {
        let mut reports = Vec::new();
        for session in &mut self.shared.memory().sessions {
            for transaction in &mut session.book {
                if transaction.fate == Fate::Open {
                    transaction.fate = Fate::Reported;
                    let mut head = Head::new(Kind::Report);
                    (head.session, head.request) = (session.number, transaction.request);
                    reports.push((head, report(transaction)));
                }
            }
        }
        for (head, body) in reports {
            self.push(head, &body);
        }
    }

    /// The number of the newest session on the newest connection.
    pub fn session_number(&self) -> u32 {
        let memory = self.shared.memory();
        memory.sessions.last().expect("a session").number
    }

    /// Every transaction of every session.
    pub fn book(&self) -> Vec<Transaction> {
        let memory = self.shared.memory();
        memory
            .sessions
            .iter()
            .flat_map(|s| s.book.clone())
            .collect()
    }

    /// Kinds and flags of all frames heard.
    pub fn heard(&self) -> Vec<(Kind, u8)> {
        self.shared.memory().heard.clone()
    }

    /// How many frames of a kind were heard.
    pub fn count(&self, kind: Kind) -> usize {
        self.heard().iter().filter(|(k, _)| *k == kind).count()
    }

    /// Line names of the HELLOs.
    pub fn lines(&self) -> Vec<String> {
        self.shared.memory().lines.clone()
    }

    /// Keys of the CANCELs.
    pub fn keys_cancelled(&self) -> Vec<[u8; 24]> {
        self.shared.memory().keys_cancelled.clone()
    }

    /// Frames in both directions so far.
    pub fn frames(&self) -> usize {
        self.shared.memory().frames
    }

    /// Waits until `holds`, for at most ten seconds.
    pub fn until(&self, what: &str, holds: impl Fn(&Fake) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !holds(self) {
            assert!(Instant::now() < deadline, "never happened: {what}");
            thread::yield_now();
        }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.stop();
    }
}

/// One accepted connection.
struct Connection<'a> {
    shared: &'a Shared,
    stream: &'a TcpStream,
    /// Session number on this connection to place in memory.
    numbers: HashMap<u32, usize>,
}

/// The connection is over.
struct Cut;

impl<'a> Connection<'a> {
    fn new(shared: &'a Shared, stream: &'a TcpStream) -> Self {
        Connection {
            shared,
            stream,
            numbers: HashMap::new(),
        }
    }

    fn run(mut self) {
        let mut assembler = Assembler::new();
        let mut buffer = [0; 4096];
        'reading: while let Ok(len) = (&mut &*self.stream).read(&mut buffer) {
            if len == 0 {
                break;
            }
            let mut rest = &buffer[..len];
            while !rest.is_empty() {
                let Ok(split) = assembler.split(rest) else {
                    break 'reading;
                };
                let used = split.consumed;
                if let Some(frame) = split.frame {
                    let (head, body) = (frame.head, frame.body.to_vec());
                    if self.heard(head, &body).is_err() {
                        break 'reading;
                    }
                }
                rest = &rest[used..];
            }
        }
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Counts a frame; true if the connection is to be cut here.
    fn counts(&self) -> bool {
        let cut_at = self.shared.rules().cut_at;
        let mut memory = self.shared.memory();
        memory.frames += 1;
        cut_at == Some(memory.frames)
    }

    fn heard(&mut self, head: Head, body: &[u8]) -> Result<(), Cut> {
        let rules = self.shared.rules();
        let cut = self.counts();
        if cut && !rules.cut_behind {
            return Err(Cut);
        }
        self.shared.memory().heard.push((head.kind, head.flags));
        if cut {
            // The frame counts, its answers do not get out.
            let _ = self.answers(&rules, head, body);
            return Err(Cut);
        }
        for (head, body) in self.answers(&rules, head, body) {
            let cut = self.counts();
            if cut && !rules.cut_behind {
                return Err(Cut);
            }
            let mut out = Vec::new();
            head.write(&body, &mut out);
            (&mut &*self.stream).write_all(&out).map_err(|_| Cut)?;
            if cut {
                return Err(Cut);
            }
        }
        if rules.garbage.is_some() || rules.refuse_hello.is_some() {
            return Err(Cut);
        }
        Ok(())
    }

    fn answers(&mut self, rules: &Rules, head: Head, body: &[u8]) -> Vec<(Head, Vec<u8>)> {
        let answer = |kind, code| {
            let mut answer = head;
            (answer.kind, answer.code, answer.flags) = (kind, code, 0);
            (answer, Vec::new())
        };
        if rules.mute && head.kind != Kind::Hello {
            return Vec::new();
        }
        match head.kind {
            Kind::Hello => self.hello(rules, body),
            Kind::Open => match rules.refuse_open {
                Some(code) => vec![answer(Kind::Ended, code)],
                None => self.open(),
            },
            Kind::Resume => self.resume(rules, body),
            Kind::Ping => vec![answer(Kind::Pong, 0)],
            Kind::Send | Kind::Ack | Kind::GiveUp => self.business(rules, head, body),
            Kind::Close => {
                let place = self.numbers[&head.session];
                self.shared.memory().sessions[place].closed = true;
                vec![answer(Kind::Done, 0)]
            }
            _ if rules.ignore_orders => Vec::new(),
            Kind::Query => {
                let state = State {
                    state: rules.state,
                    transaction: 1,
                    request_mti: *b"3110",
                    report_mti: *b"3120",
                };
                let (head, _) = answer(Kind::State, 0);
                vec![(head, state.encode().to_vec())]
            }
            Kind::Cancel => {
                let key = decode_key(Kind::Cancel, body).expect("a key");
                self.shared.memory().keys_cancelled.push(key);
                vec![answer(Kind::Done, rules.done)]
            }
            Kind::Control => {
                let (order, _) = Order::decode(body).expect("an order");
                if order == Order::Status {
                    let mut out = Vec::new();
                    rules.status.encode(&mut out);
                    let (head, _) = answer(Kind::Status, 0);
                    vec![(head, out)]
                } else {
                    vec![answer(Kind::Done, rules.done)]
                }
            }
            Kind::Listen => vec![answer(Kind::Done, 0)],
            kind => panic!("a client sent {kind:?}"),
        }
    }

    fn hello(&mut self, rules: &Rules, body: &[u8]) -> Vec<(Head, Vec<u8>)> {
        let hello = Hello::decode(body).expect("a HELLO");
        self.shared.memory().lines.push(hello.line.to_owned());
        if let Some(garbage) = &rules.garbage {
            let _ = (&mut &*self.stream).write_all(garbage);
            return Vec::new();
        }
        if let Some(code) = rules.refuse_hello {
            let mut head = Head::new(Kind::Refused);
            head.code = code;
            return vec![(head, b"in the daemon's words".to_vec())];
        }
        let mut out = Vec::new();
        Welcome {
            version: rules.version,
            shard: 0,
            features: 0,
            epoch: 1,
            line_id: 1,
            t31_ms: rules.t31_ms,
            t32_ms: rules.t31_ms,
            t34_ms: rules.t31_ms,
            t35_ms: rules.t31_ms,
            event_ms: rules.event_ms,
            sends_ordered: 1,
            go_to: &rules.go_to,
            endpoints: "",
        }
        .encode(&mut out);
        let mut head = Head::new(Kind::Welcome);
        head.credit = rules.credit;
        vec![(head, out)]
    }

    /// Numbers differ from connection to connection, as they may.
    fn attach(&mut self, place: usize) -> u32 {
        let mut memory = self.shared.memory();
        let number = (memory.frames * 100 + place + 1) as u32;
        memory.sessions[place].number = number;
        drop(memory);
        self.numbers.insert(number, place);
        number
    }

    fn open(&mut self) -> Vec<(Head, Vec<u8>)> {
        let place = {
            let mut memory = self.shared.memory();
            let place = memory.sessions.len();
            memory.sessions.push(SessionMemory {
                token: [place as u8 + 1; 16],
                ..SessionMemory::default()
            });
            place
        };
        self.opened(place, 0)
    }

    fn opened(&mut self, place: usize, flags: u8) -> Vec<(Head, Vec<u8>)> {
        let number = self.attach(place);
        let memory = self.shared.memory();
        let session = &memory.sessions[place];
        let mut head = Head::new(Kind::Opened);
        (head.session, head.flags) = (number, flags);
        let highest = session.book.iter().map(|t| t.request).max().unwrap_or(0);
        let opened = Opened {
            token: session.token,
            highest,
        };
        vec![(head, opened.encode().to_vec())]
    }

    fn resume(&mut self, rules: &Rules, body: &[u8]) -> Vec<(Head, Vec<u8>)> {
        let token = decode_token(body).expect("a token");
        let place = {
            let memory = self.shared.memory();
            memory
                .sessions
                .iter()
                .position(|s| s.token == token && !s.closed)
        };
        match place {
            Some(place) if !rules.forget_sessions => self.opened(place, FLAG_AGAIN),
            _ => {
                let mut head = Head::new(Kind::Ended);
                head.code = 7;
                vec![(head, Vec::new())]
            }
        }
    }

    fn business(&mut self, rules: &Rules, head: Head, body: &[u8]) -> Vec<(Head, Vec<u8>)> {
        let place = self.numbers[&head.session];
        let mut memory = self.shared.memory();
        let book = &mut memory.sessions[place].book;
        let known = book.iter().position(|t| t.request == head.request);
        let answer = |kind, flags, code| {
            let mut answer = head;
            (answer.kind, answer.code, answer.flags) = (kind, code, flags);
            (answer, Vec::new())
        };
        match (head.kind, known) {
            (Kind::Send, None) => {
                assert!(
                    book.iter().all(|t| t.request < head.request),
                    "request ids rise"
                );
                let send = Send::decode(body).expect("a SEND");
                let mut transaction = Transaction {
                    request: head.request,
                    mti: send.mti,
                    data: send.data.to_vec(),
                    fate: Fate::Open,
                };
                let mut out = Vec::new();
                match rules.on_send {
                    OnSend::Ignore => {}
                    OnSend::Refuse(code) => {
                        transaction.fate = Fate::Ended(code);
                        out.push(answer(Kind::Ended, 0, code));
                    }
                    OnSend::Accept => out.push(answer(Kind::Accepted, 0, 0)),
                    OnSend::AcceptThenEnd(code) => {
                        transaction.fate = Fate::Ended(code);
                        out.push(answer(Kind::Accepted, 0, 0));
                        out.push(answer(Kind::Ended, 0, code));
                    }
                    OnSend::Report => {
                        out.push(answer(Kind::Accepted, 0, 0));
                        // An answer to a centre request gets no report.
                        if matches!(send.mti[2], b'1') {
                            transaction.fate = Fate::Reported;
                            out.push((answer(Kind::Report, 0, 0).0, report(&transaction)));
                        }
                    }
                }
                book.push(transaction);
                out
            }
            (Kind::Send, Some(at)) => {
                assert!(head.flags & FLAG_AGAIN != 0, "a repeated SEND says so");
                let transaction = &book[at];
                match transaction.fate {
                    Fate::Open => vec![answer(Kind::Accepted, 0, 0)],
                    Fate::Reported => vec![
                        answer(Kind::Accepted, 0, 0),
                        (answer(Kind::Report, FLAG_AGAIN, 0).0, report(transaction)),
                    ],
                    Fate::Delivered => vec![answer(Kind::Confirm, 0, 0)],
                    Fate::Ended(code) => vec![answer(Kind::Ended, 0, code)],
                }
            }
            (Kind::Ack, Some(at)) => {
                if rules.on_ack == OnAck::Ignore {
                    return Vec::new();
                }
                if rules.on_ack == OnAck::TooLate && book[at].fate == Fate::Reported {
                    book[at].fate = Fate::Ended(10);
                }
                match book[at].fate {
                    Fate::Reported | Fate::Delivered => {
                        book[at].fate = Fate::Delivered;
                        vec![answer(Kind::Confirm, 0, 0)]
                    }
                    Fate::Ended(_) => vec![answer(Kind::Confirm, 0, 10)],
                    Fate::Open => panic!("ACK without a report"),
                }
            }
            (Kind::GiveUp, known) => {
                // Like sekishod, it has no answer to this.
                if let Some(at) = known
                    && matches!(book[at].fate, Fate::Open | Fate::Reported)
                {
                    book[at].fate = Fate::Ended(10);
                }
                Vec::new()
            }
            (kind, _) => panic!("{kind:?} for request {} that never came", head.request),
        }
    }
}

/// REPORT's body: the request's data under xx20.
fn report(transaction: &Transaction) -> Vec<u8> {
    let mut mti = transaction.mti;
    mti[2] = b'2';
    let head = Report {
        centre_id: *b"01",
        centre_seq: *b"000042",
        issuer: *b"TEST9000000",
        acquirer: *b"TEST0010000",
        mti,
        date: *b"1123",
        data: b"",
    };
    let mut out = head.encode_head().to_vec();
    out.extend_from_slice(&transaction.data);
    out
}
