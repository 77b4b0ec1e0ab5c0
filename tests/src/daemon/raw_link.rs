//! An application without the client library: it says whatever a test wants, and sees every frame.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

use codec::link::message::{Hello, VERSION};
use codec::link::{Assembler, Head, Kind};

use super::{PATIENCE, Payment, Plan};

/// A bare connection to the API port.
pub struct RawLink {
    stream: TcpStream,
    assembler: Assembler,
    input: Vec<u8>,
}

impl RawLink {
    /// Connects and says nothing.
    ///
    /// # Panics
    /// If nothing listens.
    pub fn connect(plan: &Plan) -> RawLink {
        let stream =
            TcpStream::connect(("127.0.0.1", plan.api_port)).expect("the API port listens");
        stream.set_nodelay(true).expect("an option");
        stream.set_read_timeout(Some(PATIENCE)).expect("an option");
        RawLink {
            stream,
            assembler: Assembler::new(),
            input: Vec::new(),
        }
    }

    /// Connects, shakes hands for the default line, and opens an API session: its number and its token.
    ///
    /// # Panics
    /// If the daemon does not play along.
    pub fn open(plan: &Plan) -> (RawLink, u32, [u8; 16]) {
        let mut link = RawLink::connect(plan);
        link.greet();
        link.frame(Head::new(Kind::Open), &[]);
        let (head, body) = link.next_frame();
        assert_eq!(head.kind, Kind::Opened);
        let token = body[..16].try_into().expect("a token");
        (link, head.session, token)
    }

    /// Shakes hands for the default line.
    ///
    /// # Panics
    /// If the daemon does not welcome us.
    pub fn greet(&mut self) {
        self.frame(Head::new(Kind::Hello), &hello(VERSION, ""));
        assert_eq!(self.next_frame().0.kind, Kind::Welcome);
    }

    /// Sends bytes as they are.
    ///
    /// # Panics
    /// If the connection is gone.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the link takes bytes");
    }

    /// Sends a frame.
    pub fn frame(&mut self, head: Head, body: &[u8]) {
        let mut out = Vec::new();
        head.write(body, &mut out);
        self.bytes(&out);
    }

    /// Sends a frame of an API session's request without a body.
    pub fn request_frame(&mut self, kind: Kind, session: u32, request: u64) {
        self.frame(
            Head {
                session,
                request,
                ..Head::new(kind)
            },
            &[],
        );
    }

    /// Sends a payment.
    pub fn send(&mut self, session: u32, request: u64, flags: u8, payment: &Payment) {
        let mut body = Vec::new();
        payment.send().encode(&mut body);
        self.frame(
            Head {
                session,
                request,
                flags,
                ..Head::new(Kind::Send)
            },
            &body,
        );
    }

    /// The next frame.
    ///
    /// # Panics
    /// If none comes.
    pub fn next_frame(&mut self) -> (Head, Vec<u8>) {
        self.next_or_end()
            .expect("a frame, not the end of the link")
    }

    /// The next frame of this kind; others are passed over.
    pub fn next_of(&mut self, kind: Kind) -> (Head, Vec<u8>) {
        loop {
            let (head, body) = self.next_frame();
            if head.kind == kind {
                return (head, body);
            }
        }
    }

    /// The next frame, or none if the daemon closed the link.
    ///
    /// # Panics
    /// If neither comes in time.
    pub fn next_or_end(&mut self) -> Option<(Head, Vec<u8>)> {
        loop {
            let split = self
                .assembler
                .split(&self.input)
                .expect("frames of the daemon");
            let frame = split.frame.map(|frame| (frame.head, frame.body.to_vec()));
            let consumed = split.consumed;
            self.input.drain(..consumed);
            if frame.is_some() {
                return frame;
            }
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes) {
                Ok(0) => return None,
                Ok(len) => self.input.extend_from_slice(&bytes[..len]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("nothing from the daemon: {error}"),
            }
        }
    }

    /// Waits until the daemon has closed the link, and returns the frames before that.
    pub fn end(&mut self) -> Vec<(Head, Vec<u8>)> {
        std::iter::from_fn(|| self.next_or_end()).collect()
    }

    /// Cuts the connection.
    pub fn cut(self) {
        // It may be cut already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// The connection itself.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }
}

/// The body of a HELLO.
pub fn hello(version: u16, line: &str) -> Vec<u8> {
    let mut body = Vec::new();
    let hello = Hello {
        version_min: version,
        version_max: version,
        features: 0,
        epoch: 0,
        line,
    };
    hello.encode(&mut body);
    body
}
