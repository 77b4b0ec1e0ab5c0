//! `loadgen echo`: the far end of the comparison with a blind relay. Answers every centre frame with the same bytes and
//! the message type ten higher, as a centre's approval would be, with the batching of the simulator: everything read
//! in one go is answered in one write.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;

use clap::Args;

use codec::cafis::frame::Assembler;
use codec::cafis::header::{Header, set_mti};
use codec::cafis::mti::Mti;

use super::poll::Poller;

const INPUT_LEN: usize = 64 * 1024;
const EVENTS_MAX: usize = 1024;
/// The token of the listener; connections count from 1.
const LISTENER: usize = 0;
/// Unanswered bytes after which a connection is not read until its peer reads.
const BACKLOG_MAX: usize = 1024 * 1024;
const FOLLOW_ON_NS: u64 = 60_000_000_000;
/// How long a wait lasts at most, so that `run_until` sees its stop.
const WAIT_NS: u64 = 50_000_000;

/// `loadgen echo`: answers centre frames with themselves, MTI + 10.
#[derive(Args, Clone, Debug)]
pub struct EchoArgs {
    /// Where to listen: HOST:PORT; port 0 takes a free one, which is printed
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: String,
    /// Never sleep: poll the sockets all the time
    #[arg(long)]
    pub spin: bool,
}

/// One connection.
struct Peer {
    stream: TcpStream,
    assembler: Assembler,
    out: Vec<u8>,
    written: usize,
    stuck: bool,
}

/// Runs `loadgen echo` until it is stopped from outside.
#[must_use]
pub fn main(args: &EchoArgs) -> ExitCode {
    let listened = TcpListener::bind(&args.listen).and_then(|listener| {
        println!("ready {}", listener.local_addr()?);
        Ok(listener)
    });
    match listened.and_then(|listener| serve(&listener, args.spin, || false)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("loadgen echo: {}: {error}", args.listen);
            ExitCode::FAILURE
        }
    }
}

/// Serves connections of `listener` until `stop` says so.
///
/// # Errors
/// The listener or the waiting failed; the fault of one connection ends that connection only.
pub fn serve(listener: &TcpListener, spin: bool, stop: impl Fn() -> bool) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut poller = Poller::new(EVENTS_MAX)?;
    poller.add(listener, LISTENER)?;
    let mut peers: HashMap<usize, Peer> = HashMap::new();
    let mut next_token = LISTENER + 1;
    let mut input = vec![0; INPUT_LEN];
    while !stop() {
        let events = poller.wait(if spin { 0 } else { WAIT_NS })?;
        for number in 0..events {
            let event = poller.event(number);
            if event.token == LISTENER {
                while let Some(peer) = accept(listener)? {
                    poller.add(&peer.stream, next_token)?;
                    peers.insert(next_token, peer);
                    next_token += 1;
                }
            } else if let Some(peer) = peers.get_mut(&event.token)
                && !peer.turn(&poller, event.token, &mut input)
            {
                peers.remove(&event.token);
            }
        }
    }
    Ok(())
}

fn accept(listener: &TcpListener) -> io::Result<Option<Peer>> {
    match listener.accept() {
        Ok((stream, _)) => {
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            Ok(Some(Peer {
                stream,
                assembler: Assembler::new(FOLLOW_ON_NS),
                out: Vec::with_capacity(INPUT_LEN),
                written: 0,
                stuck: false,
            }))
        }
        // A connection that went away before it was accepted is no fault of the listener.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::WouldBlock | ErrorKind::ConnectionAborted
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

impl Peer {
    /// Reads, answers and writes once; false if the connection is over.
    fn turn(&mut self, poller: &Poller, token: usize, input: &mut [u8]) -> bool {
        if self.out.len() - self.written < BACKLOG_MAX {
            match self.stream.read(input) {
                Ok(0) => return false,
                Ok(got) => {
                    if !self.answer(&input[..got]) {
                        return false;
                    }
                }
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(_) => return false,
            }
        }
        self.write(poller, token).is_ok()
    }

    /// Answers every whole frame; false if the bytes are no frames.
    fn answer(&mut self, mut input: &[u8]) -> bool {
        while !input.is_empty() {
            let Ok(split) = self.assembler.split(0, input) else {
                return false;
            };
            input = &input[split.consumed..];
            let Some(frame) = split.frame else { continue };
            let bytes = frame.bytes();
            let Ok(header) = Header::new(bytes) else {
                return false;
            };
            let at = self.out.len();
            self.out.extend_from_slice(bytes);
            set_mti(&mut self.out[at..], Mti((header.mti().0 + 10) % 10_000));
        }
        true
    }

    fn write(&mut self, poller: &Poller, token: usize) -> io::Result<()> {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(taken) => self.written += taken,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        let stuck = self.written < self.out.len();
        if !stuck {
            self.out.clear();
            self.written = 0;
        }
        if stuck != self.stuck {
            self.stuck = stuck;
            poller.want_write(&self.stream, token, stuck)?;
        }
        Ok(())
    }
}
