//! The head of a link frame, and cutting a stream into frames.
//!
//! The head stands at the front of every frame; all numbers are little-endian:
//!
//! | offset | width | field |
//! |---:|---:|---|
//! | 0 | 4 | length of the whole frame in bytes, 32 to 4096 |
//! | 4 | 1 | kind ([`Kind`]) |
//! | 5 | 1 | flags ([`FLAG_QUIET`], [`FLAG_AGAIN`]) |
//! | 6 | 2 | code: a return code ([`super::rc`]) in answers, else 0 |
//! | 8 | 4 | API session number, given by OPENED; 0 for the link itself |
//! | 12 | 4 | credit: how many requests the link may have outstanding in all (daemon to client), else 0 |
//! | 16 | 8 | client request id; rises by at least 1 with each new request of an API session |
//! | 24 | 8 | trace id, carried through to the journal |
//!
//! An answer repeats the API session and the request id of the frame it answers. OPEN and RESUME have neither: they are
//! answered in their order, a refusal by ENDED with session and request 0.

use thiserror::Error;

/// Bytes of the head.
pub const HEAD_LEN: usize = 32;
/// The largest frame. A centre telegram carries at most 961 bytes of data; REPORT is the largest frame used.
pub const FRAME_MAX: usize = 4096;
/// SEND: no ACCEPTED is wanted. REPORT and CONFIRM: never set.
pub const FLAG_QUIET: u8 = 1;
/// SEND: this request id may have been sent before (after a resume). REPORT: handed out again.
pub const FLAG_AGAIN: u8 = 2;

/// Declares the kinds once, for the enum and the decoder.
macro_rules! kinds {
    ($($value:literal $name:ident $text:literal;)*) => {
        /// What a frame is. Kinds below 0x80 go from the client to the daemon, the others back.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Kind { $(#[doc = $text] $name = $value,)* }
        impl Kind {
            /// Every kind, for tables and tests.
            pub const ALL: &'static [Kind] = &[$(Kind::$name,)*];
            /// The kind of a head's byte 4.
            #[must_use]
            pub const fn from_byte(byte: u8) -> Option<Kind> {
                match byte { $($value => Some(Kind::$name),)* _ => None }
            }
        }
    };
}

kinds! {
    0x01 Hello "First frame of a link: magic, versions, features, line name.";
    0x02 Open "Opens an API session; answered by OPENED.";
    0x03 Resume "Takes an API session over to this link by its token; answered by OPENED with FLAG_AGAIN, or ENDED-like code 7.";
    0x04 Close "Closes an API session; answered by DONE.";
    0x05 Send "A telegram for the centre.";
    0x06 Ack "The library holds the report; asks for CONFIRM.";
    0x07 GiveUp "The library will not hand this request's report out any more (its receive returned RC_TIME_OUT).";
    0x08 Query "Asks for a transaction's state by its key; answered by STATE.";
    0x09 Cancel "System cancel by transaction key; answered by DONE when it is settled.";
    0x0A Control "An operator's or administrator's order; answered by DONE or STATUS.";
    0x0B Listen "This API session waits for centre requests (body: 1 on, 0 off); answered by DONE.";
    0x0C Ping "Keep-alive; answered by PONG.";
    0x81 Welcome "The handshake is accepted.";
    0x82 Refused "The handshake is refused; the daemon closes the link after it.";
    0x83 Opened "An API session is open, or resumed (FLAG_AGAIN).";
    0x84 Accepted "The request is durable and was handed to the centre session.";
    0x85 Report "The centre's report to a request.";
    0x86 Ended "The request is over without a report: code says why.";
    0x87 Confirm "Answer to ACK. Code 0: delivered, durable. Code 10: given up before; do not hand it out.";
    0x88 State "Answer to QUERY.";
    0x89 Done "Answer to CLOSE, CANCEL, CONTROL and LISTEN: code.";
    0x8A Status "Answer to CONTROL status and cut-date orders.";
    0x8B Event "An event block for every API session of the link.";
    0x8C Request "A request of the centre, for the API session that listens.";
    0x8D Pong "Answer to PING.";
}

/// The decoded head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// What the frame is.
    pub kind: Kind,
    /// `FLAG_*` bits.
    pub flags: u8,
    /// A return code in answers.
    pub code: u16,
    /// The API session number, 0 for the link itself.
    pub session: u32,
    /// Requests that the link may have outstanding (daemon to client).
    pub credit: u32,
    /// The client request id.
    pub request: u64,
    /// The trace id.
    pub trace: u64,
}

impl Head {
    /// A head of this kind with every other field zero.
    #[must_use]
    pub const fn new(kind: Kind) -> Head {
        Head {
            kind,
            flags: 0,
            code: 0,
            session: 0,
            credit: 0,
            request: 0,
            trace: 0,
        }
    }

    /// The head before a body of `body_len` bytes, as its four little-endian words. They are made in registers, so that
    /// whoever appends them one by one never reads back what was just written in smaller pieces.
    #[must_use]
    #[inline]
    pub const fn words(&self, body_len: usize) -> [u64; 4] {
        let len = (HEAD_LEN + body_len) as u64;
        let first =
            len | (self.kind as u64) << 32 | (self.flags as u64) << 40 | (self.code as u64) << 48;
        let second = self.session as u64 | (self.credit as u64) << 32;
        [first, second, self.request, self.trace]
    }

    /// The 32 bytes of this head before a body of `body_len` bytes.
    #[must_use]
    pub fn encode(&self, body_len: usize) -> [u8; HEAD_LEN] {
        let mut out = [0u8; HEAD_LEN];
        for (place, word) in out.chunks_exact_mut(8).zip(self.words(body_len)) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        out
    }

    /// Appends a whole frame, head and body, to `out`.
    pub fn write(&self, body: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&self.encode(body.len()));
        out.extend_from_slice(body);
    }
}

/// A whole frame as it lies in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The decoded head.
    pub head: Head,
    /// What follows the head.
    pub body: &'a [u8],
}

/// Why a link must be closed. The stream is never resynchronised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LinkError {
    /// The length field is below the head or above [`FRAME_MAX`].
    #[error(
        "frame length {len} is outside 32..=4096: not a Sekisho link, or another version of it"
    )]
    Length {
        /// The length that was found.
        len: u32,
    },
    /// Byte 4 names no kind.
    #[error("unknown frame kind 0x{kind:02x}")]
    Kind {
        /// The byte that was found.
        kind: u8,
    },
    /// The body is too short, or not what its kind demands.
    #[error("malformed {kind:?} body of {len} bytes")]
    Body {
        /// The frame's kind.
        kind: Kind,
        /// Bytes of the body.
        len: usize,
    },
}

/// One result of [`Assembler::split`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split<'a> {
    /// The frame that became complete, if one did.
    pub frame: Option<Frame<'a>>,
    /// How many bytes of the input were used up.
    pub consumed: usize,
}

/// Cuts a stream into frames. Whole frames are slices of the input; only a partial frame is copied.
///
/// Owns no memory until a frame arrives in pieces; from then on it keeps [`FRAME_MAX`] bytes.
#[derive(Default)]
pub struct Assembler {
    partial: Vec<u8>,
    /// The frame in `partial` was complete and has been handed out: it goes with the next call.
    handed_out: bool,
}

impl Assembler {
    /// An empty assembler.
    #[must_use]
    pub fn new() -> Assembler {
        Assembler::default()
    }

    /// The bytes of a half-read frame.
    #[must_use]
    pub fn partial(&self) -> &[u8] {
        if self.handed_out { &[] } else { &self.partial }
    }

    /// Forgets a half-read frame; the memory is kept for the next stream.
    pub fn clear(&mut self) {
        self.partial.clear();
        self.handed_out = false;
    }

    /// Takes at most one frame. The caller repeats with the rest while `consumed < input.len()`.
    ///
    /// # Errors
    /// A head that cannot be one: the link must be closed.
    pub fn split<'a>(&'a mut self, input: &'a [u8]) -> Result<Split<'a>, LinkError> {
        if self.handed_out {
            self.clear();
        }
        if !self.partial.is_empty() {
            return self.resume(input);
        }
        if let Some((frame, consumed)) = parse(input)? {
            return Ok(Split {
                frame: Some(frame),
                consumed,
            });
        }
        self.partial.reserve_exact(FRAME_MAX);
        self.partial.extend_from_slice(input);
        Ok(Split {
            frame: None,
            consumed: input.len(),
        })
    }

    /// Completes a frame whose first bytes were copied by an earlier call.
    fn resume<'a>(&'a mut self, input: &'a [u8]) -> Result<Split<'a>, LinkError> {
        let mut consumed = self.fill(input, 4);
        let Some(len) = frame_len(&self.partial)? else {
            return Ok(Split {
                frame: None,
                consumed,
            });
        };
        consumed += self.fill(&input[consumed..], len);
        self.handed_out = self.partial.len() == len;
        let frame = parse(&self.partial)?.map(|(frame, _)| frame);
        Ok(Split { frame, consumed })
    }

    /// Copies from `input` until `partial` holds `want` bytes; returns how many were taken.
    fn fill(&mut self, input: &[u8], want: usize) -> usize {
        let take = want.saturating_sub(self.partial.len()).min(input.len());
        self.partial.extend_from_slice(&input[..take]);
        take
    }
}

/// The length that a frame's first four bytes state; `None` while they are not all there.
fn frame_len(bytes: &[u8]) -> Result<Option<usize>, LinkError> {
    let Some(four) = bytes.first_chunk::<4>() else {
        return Ok(None);
    };
    let len = u32::from_le_bytes(*four);
    if (HEAD_LEN as u32..=FRAME_MAX as u32).contains(&len) {
        Ok(Some(len as usize))
    } else {
        Err(LinkError::Length { len })
    }
}

/// The frame at the front of `input`, if all of it is there.
fn parse(input: &[u8]) -> Result<Option<(Frame<'_>, usize)>, LinkError> {
    let Some(len) = frame_len(input)? else {
        return Ok(None);
    };
    if let Some(&kind) = input.get(4)
        && Kind::from_byte(kind).is_none()
    {
        return Err(LinkError::Kind { kind });
    }
    let Some(bytes) = input.get(..len) else {
        return Ok(None);
    };
    let Some((head, body)) = bytes.split_first_chunk::<HEAD_LEN>() else {
        return Ok(None);
    };
    let Some(kind) = Kind::from_byte(head[4]) else {
        return Err(LinkError::Kind { kind: head[4] });
    };
    let half = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
    let head = Head {
        kind,
        flags: head[5],
        code: half(6),
        session: word(8),
        credit: word(12),
        request: long(16),
        trace: long(24),
    };
    Ok(Some((Frame { head, body }, len)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever way a stream is cut, the same frames come out, and nothing is left over.
    #[test]
    fn any_cut_gives_the_same_frames() {
        let mut stream = Vec::new();
        for (n, kind) in Kind::ALL.iter().enumerate() {
            let mut head = Head::new(*kind);
            (head.request, head.session, head.trace) =
                (n as u64 * 3, n as u32, u64::MAX - n as u64);
            head.write(&vec![n as u8; n * 37], &mut stream);
        }
        for step in 1..120 {
            let mut assembler = Assembler::new();
            let mut seen = 0;
            for chunk in stream.chunks(step) {
                let mut rest = chunk;
                while !rest.is_empty() {
                    let split = assembler.split(rest).expect("a good stream");
                    if let Some(frame) = split.frame {
                        assert_eq!(frame.head.kind, Kind::ALL[seen]);
                        assert_eq!(frame.head.request, seen as u64 * 3);
                        assert_eq!(frame.body, vec![seen as u8; seen * 37]);
                        seen += 1;
                    }
                    rest = &rest[split.consumed..];
                }
            }
            assert_eq!(seen, Kind::ALL.len(), "cut every {step} bytes");
            assert!(assembler.partial().is_empty());
        }
    }

    /// A length that no frame can have, and an unknown kind, are named; the caller then closes the link.
    #[test]
    fn garbage_is_named() {
        assert_eq!(
            Assembler::new().split(b"GET / HTTP/1.1\r\n"),
            Err(LinkError::Length { len: 0x2054_4547 })
        );
        let mut frame = Head::new(Kind::Ping).encode(0);
        frame[4] = 0x7f;
        assert_eq!(
            Assembler::new().split(&frame),
            Err(LinkError::Kind { kind: 0x7f })
        );
    }

    proptest::proptest! {
        /// No bytes make the decoder panic, whatever way they are cut.
        #[test]
        fn any_bytes_are_survived(chunks in proptest::collection::vec(proptest::collection::vec(proptest::num::u8::ANY, 0..80), 0..20)) {
            let mut assembler = Assembler::new();
            'stream: for chunk in &chunks {
                let mut rest = &chunk[..];
                while !rest.is_empty() {
                    match assembler.split(rest) {
                        Ok(split) => rest = &rest[split.consumed..],
                        Err(_) => break 'stream,
                    }
                }
            }
        }
    }
}
