//! From an endpoint to a link that may carry API sessions: HELLO, WELCOME, and the way to another endpoint.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use codec::link::frame::Kind;
use codec::link::message::{Hello, VERSION, Welcome};
use codec::link::{Assembler, Frame, Head, LinkError, rc};
use socket2::Socket;

use crate::endpoint::{Endpoint, send_all};
use crate::error::ConnectError;

/// How many times a daemon may send a link on to another endpoint.
const HOPS_MAX: usize = 4;
/// Time for one connection and its handshake.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Bytes asked of the socket at a time.
const READ_LEN: usize = 64 * 1024;

/// What the handshake agreed on (WELCOME).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// The protocol version in use.
    pub version: u16,
    /// The shard that owns the line.
    pub shard: u16,
    /// Changes with every start of the daemon.
    pub epoch: u64,
    /// The line's stable number.
    pub line_id: u32,
    /// t31: business request to report.
    pub t31: Duration,
    /// t32: fault message to report.
    pub t32: Duration,
    /// t34: sign-on.
    pub t34: Duration,
    /// t35: sign-off.
    pub t35: Duration,
    /// How long a synchronous wait for events lasts.
    pub event_wait: Duration,
    /// Sends of a fault message that an API-ordered cancel may take.
    pub sends_ordered: u32,
    /// Other endpoints to try when this one is gone.
    pub(crate) endpoints: Vec<Endpoint>,
}

/// A connection that has its WELCOME.
pub(crate) struct Established {
    pub frames: FrameReader,
    pub agreed: Agreed,
    pub credit: u32,
    /// Where the line lives: the endpoint to begin with after a break.
    pub endpoint: Endpoint,
}

/// Frames off a socket, without loss of what the handshake's last read brought with it.
pub(crate) struct FrameReader {
    pub socket: Arc<Socket>,
    assembler: Assembler,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl FrameReader {
    fn new(socket: Socket) -> FrameReader {
        FrameReader {
            socket: Arc::new(socket),
            assembler: Assembler::new(),
            buffer: vec![0; READ_LEN],
            start: 0,
            end: 0,
        }
    }

    /// Reads once, when every frame of the last read has been taken. An end of stream is an error.
    pub fn fill(&mut self) -> io::Result<()> {
        self.start = 0;
        self.end = 0;
        loop {
            match (&*self.socket).read(&mut self.buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(len) => {
                    self.end = len;
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The next whole frame of what was read; `None` when another read is needed.
    pub fn take(&mut self) -> Result<Option<Frame<'_>>, LinkError> {
        if self.start == self.end {
            return Ok(None);
        }
        let split = self.assembler.split(&self.buffer[self.start..self.end])?;
        self.start += split.consumed;
        Ok(split.frame)
    }
}

/// Connects, shakes hands, and goes where the daemon says the line lives.
pub(crate) fn establish(
    first: &Endpoint,
    line: &str,
    epoch: u64,
) -> Result<Established, ConnectError> {
    let mut endpoint = first.clone();
    for hops in 0..=HOPS_MAX {
        let (established, go_to) = shake_hands(&endpoint, line, epoch)?;
        if go_to.is_empty() {
            return Ok(established);
        }
        match Endpoint::parse(&go_to) {
            Some(next) if hops < HOPS_MAX => endpoint = next,
            _ => {
                return Err(ConnectError::Redirects {
                    endpoint: endpoint.to_string(),
                    go_to,
                    hops,
                });
            }
        }
    }
    unreachable!("the last hop returns")
}

fn shake_hands(
    endpoint: &Endpoint,
    line: &str,
    epoch: u64,
) -> Result<(Established, String), ConnectError> {
    let name = || endpoint.to_string();
    let unreachable = |source| ConnectError::Unreachable {
        endpoint: name(),
        source,
    };
    let silent = |source| ConnectError::NoWelcome {
        endpoint: name(),
        source,
    };
    let not_a_link = |source| ConnectError::NotALink {
        endpoint: name(),
        source,
    };
    let socket = endpoint.connect(CONNECT_LIMIT).map_err(unreachable)?;
    let mut hello = Vec::new();
    Hello {
        version_min: VERSION,
        version_max: VERSION,
        features: 0,
        epoch,
        line,
    }
    .encode(&mut hello);
    let mut out = Vec::new();
    Head::new(Kind::Hello).write(&hello, &mut out);
    send_all(&socket, &out).map_err(silent)?;
    let mut frames = FrameReader::new(socket);
    let (head, body) = first_frame(&mut frames, silent, not_a_link)?;
    match head.kind {
        Kind::Welcome => {}
        Kind::Refused if head.code == rc::ERROR_SOCKET => {
            return Err(ConnectError::Version {
                endpoint: name(),
                ours: VERSION,
                text: words(&body),
            });
        }
        Kind::Refused => {
            return Err(ConnectError::Refused {
                endpoint: name(),
                code: head.code,
                text: words(&body),
            });
        }
        kind => {
            return Err(ConnectError::Unexpected {
                endpoint: name(),
                kind,
            });
        }
    }
    let welcome = Welcome::decode(&body).map_err(not_a_link)?;
    if welcome.version != VERSION {
        return Err(ConnectError::Version {
            endpoint: name(),
            ours: VERSION,
            text: String::new(),
        });
    }
    let established = Established {
        frames,
        agreed: agreed(&welcome),
        credit: head.credit,
        endpoint: endpoint.clone(),
    };
    Ok((established, welcome.go_to.to_owned()))
}

/// The daemon's first frame, waited for within [`CONNECT_LIMIT`] in all, however few bytes come at a time.
fn first_frame(
    frames: &mut FrameReader,
    silent: impl Fn(io::Error) -> ConnectError,
    not_a_link: impl Fn(LinkError) -> ConnectError,
) -> Result<(Head, Vec<u8>), ConnectError> {
    let deadline = Instant::now() + CONNECT_LIMIT;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(silent(io::ErrorKind::TimedOut.into()));
        }
        frames
            .socket
            .set_read_timeout(Some(left))
            .map_err(&silent)?;
        frames.fill().map_err(&silent)?;
        if let Some(frame) = frames.take().map_err(&not_a_link)? {
            return Ok((frame.head, frame.body.to_vec()));
        }
    }
}

/// What REFUSED says in words, to stand behind a message of ours.
fn words(body: &[u8]) -> String {
    match String::from_utf8_lossy(body) {
        text if text.is_empty() => String::new(),
        text => format!(": {text}"),
    }
}

fn agreed(welcome: &Welcome<'_>) -> Agreed {
    let millis = |ms: u32| Duration::from_millis(u64::from(ms));
    Agreed {
        version: welcome.version,
        shard: welcome.shard,
        epoch: welcome.epoch,
        line_id: welcome.line_id,
        t31: millis(welcome.t31_ms),
        t32: millis(welcome.t32_ms),
        t34: millis(welcome.t34_ms),
        t35: millis(welcome.t35_ms),
        event_wait: millis(welcome.event_ms),
        sends_ordered: welcome.sends_ordered,
        endpoints: welcome
            .endpoints
            .split_ascii_whitespace()
            .filter_map(Endpoint::parse)
            .collect(),
    }
}
