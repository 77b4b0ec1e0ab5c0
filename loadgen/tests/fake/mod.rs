//! A small daemon for tests of the load generator: speaks the link protocol on real sockets, one thread a link, and
//! approves everything, except what its manners say.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use codec::link::frame::{Assembler, Frame, Head, Kind};
use codec::link::message::{Hello, Opened, Report, Send, VERSION, Welcome};

/// How the daemon behaves.
#[derive(Clone, Debug)]
pub struct Manners {
    /// Requests a link may have open.
    pub credit: u32,
    /// Every link that does not ask for this line is sent to the address.
    pub go_to: Option<(String, String)>,
    /// Stops reading after this many requests.
    pub deaf_after: u64,
    /// Sleeps after each read, as a daemon does that is too slow.
    pub pause: Duration,
    /// Every n-th request is refused by the issuer, 0 for none.
    pub refuse_every: u64,
    /// Every n-th request gets 8970 C12.
    pub abnormal_every: u64,
    /// Every n-th request finds no route, and is accepted when it comes again.
    pub no_route_every: u64,
    /// Every n-th request gets no answer.
    pub silent_every: u64,
    /// Closes the link after this many requests, once.
    pub cut_after: u64,
}

impl Default for Manners {
    fn default() -> Self {
        Manners {
            credit: 64,
            go_to: None,
            deaf_after: u64::MAX,
            pause: Duration::ZERO,
            refuse_every: 0,
            abnormal_every: 0,
            no_route_every: 0,
            silent_every: 0,
            cut_after: u64::MAX,
        }
    }
}

/// A running daemon. Its threads end with their links.
pub struct Fake {
    /// Where it listens.
    pub address: SocketAddr,
    /// SEND frames that came.
    pub requests: Arc<AtomicU64>,
    /// ACK frames that came.
    pub acks: Arc<AtomicU64>,
}

impl Fake {
    /// Starts a daemon on a free port.
    pub fn start(manners: Manners) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let fake = Fake {
            address: listener.local_addr().expect("an address"),
            requests: Arc::default(),
            acks: Arc::default(),
        };
        let (requests, acks) = (fake.requests.clone(), fake.acks.clone());
        std::thread::spawn(move || {
            for (number, stream) in (1..).zip(listener.incoming().flatten()) {
                let link = Link {
                    number,
                    manners: manners.clone(),
                    requests: requests.clone(),
                    acks: acks.clone(),
                    out: Vec::new(),
                };
                std::thread::spawn(move || link.serve(stream));
            }
        });
        fake
    }
}

/// One link.
struct Link {
    number: u32,
    manners: Manners,
    requests: Arc<AtomicU64>,
    acks: Arc<AtomicU64>,
    out: Vec<u8>,
}

impl Link {
    /// Serves until either side ends the link.
    fn serve(mut self, mut stream: TcpStream) {
        let mut input = vec![0; 64 * 1024];
        let mut assembler = Assembler::new();
        loop {
            let Ok(got @ 1..) = stream.read(&mut input) else {
                return;
            };
            let mut rest = &input[..got];
            while !rest.is_empty() {
                let split = assembler.split(rest).expect("the generator sends frames");
                rest = &rest[split.consumed..];
                if let Some(frame) = split.frame
                    && !self.frame(&frame)
                {
                    return;
                }
            }
            if stream.write_all(&self.out).is_err() {
                return;
            }
            self.out.clear();
            if self.requests.load(SeqCst) >= self.manners.deaf_after {
                // Keeps the link open and reads no more; the process's end ends it.
                loop {
                    std::thread::park();
                }
            }
            std::thread::sleep(self.manners.pause);
        }
    }

    /// Answers a frame; false to close the link.
    fn frame(&mut self, frame: &Frame<'_>) -> bool {
        let mut head = Head::new(Kind::Pong);
        (head.session, head.request, head.credit) =
            (frame.head.session, frame.head.request, self.manners.credit);
        match frame.head.kind {
            Kind::Hello => {
                let hello = Hello::decode(frame.body).expect("a HELLO");
                self.welcome(head, hello.line);
            }
            Kind::Open => {
                (head.kind, head.session) =
                    (Kind::Opened, self.number * 1000 + head.request as u32);
                let opened = Opened {
                    token: [0; 16],
                    highest: 0,
                };
                head.write(&opened.encode(), &mut self.out);
            }
            Kind::Send => return self.request(head, frame.body),
            Kind::Ack => {
                self.acks.fetch_add(1, SeqCst);
                head.kind = Kind::Confirm;
                head.write(&[], &mut self.out);
            }
            other => panic!("the generator sent {other:?}"),
        }
        true
    }

    fn welcome(&mut self, mut head: Head, line: &str) {
        let away = self.manners.go_to.as_ref().filter(|(own, _)| own != line);
        let welcome = Welcome {
            version: VERSION,
            shard: 0,
            features: 0,
            epoch: 1,
            line_id: 1,
            t31_ms: 58_000,
            t32_ms: 58_000,
            t34_ms: 30_000,
            t35_ms: 750_000,
            event_ms: 1_000,
            sends_ordered: 5,
            go_to: away.map_or("", |(_, address)| address),
            endpoints: "",
        };
        let mut body = Vec::new();
        welcome.encode(&mut body);
        head.kind = Kind::Welcome;
        head.write(&body, &mut self.out);
    }

    fn request(&mut self, mut head: Head, body: &[u8]) -> bool {
        let number = self.requests.fetch_add(1, SeqCst) + 1;
        let every = |n: u64| n > 0 && number.is_multiple_of(n);
        let manners = &self.manners;
        if number == manners.cut_after {
            return false;
        }
        if every(manners.silent_every) {
            return true;
        }
        if every(manners.no_route_every) {
            (head.kind, head.code) = (Kind::Ended, 19);
            head.write(&[], &mut self.out);
            return true;
        }
        let send = Send::decode(body).expect("a SEND");
        let (mut mti, mut data) = (send.mti, send.data.to_vec());
        if every(manners.abnormal_every) {
            mti = *b"8970";
            data[..3].copy_from_slice(b"C12");
        } else {
            mti[2] = if every(manners.refuse_every) {
                b'5'
            } else {
                b'2'
            };
        }
        let report = Report {
            centre_id: *b"11",
            centre_seq: *b"000001",
            issuer: send.issuer,
            acquirer: send.acquirer,
            mti,
            date: *b"1130",
            data: &[],
        };
        head.kind = Kind::Report;
        let body = [&report.encode_head()[..], &data].concat();
        head.write(&body, &mut self.out);
        true
    }
}
