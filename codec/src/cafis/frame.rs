//! Framing: cutting the byte stream of one centre connection into frames (`spec/cafis.md` 2.6).
//!
//! The stream is a plain concatenation of header and as many bytes as the trailer length says. A frame that lies
//! whole in what was received is handed out where it lies; only one that is cut by a receive is copied, into a
//! buffer as long as the longest frame the three digits can announce. The follow-on timer is a deadline that the
//! caller asks for: nothing here knows the time. There is no resynchronisation: after any [`FrameError`] the
//! connection is to be closed and the [`Assembler`] thrown away.

use std::fmt;

use thiserror::Error;

use super::field::number;

/// Bytes of the common control header.
pub const HEADER_LEN: usize = 63;
/// Bytes after the header of the longest legal frame.
pub const TRAILER_MAX: usize = 961;
/// Bytes of the longest legal frame.
pub const FRAME_MAX: usize = HEADER_LEN + TRAILER_MAX;
/// Bytes of the longest frame that three digits can announce; it is read to its end before it is refused.
pub const ANNOUNCED_MAX: usize = HEADER_LEN + 999;

const TRAILER_AT: usize = 60;

const _: () =
    assert!(FRAME_MAX == 1024 && FRAME_MAX < ANNOUNCED_MAX && TRAILER_AT + 3 == HEADER_LEN);

/// A frame cut out of the stream, header included.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A frame of legal length.
    Whole(&'a [u8]),
    /// A frame whose trailer length is 962 to 999: complete, but not to be processed (O-7).
    OverLong(&'a [u8]),
}

impl<'a> Frame<'a> {
    /// The bytes, whatever the length.
    pub fn bytes(&self) -> &'a [u8] {
        match *self {
            Frame::Whole(bytes) | Frame::OverLong(bytes) => bytes,
        }
    }

    fn of(bytes: &'a [u8]) -> Frame<'a> {
        if bytes.len() <= FRAME_MAX {
            Frame::Whole(bytes)
        } else {
            Frame::OverLong(bytes)
        }
    }
}

/// Shows the length alone: the bytes hold card data.
impl fmt::Debug for Frame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, bytes) = match self {
            Frame::Whole(bytes) => ("Whole", bytes),
            Frame::OverLong(bytes) => ("OverLong", bytes),
        };
        write!(f, "{name}({} bytes)", bytes.len())
    }
}

/// What one call of [`Assembler::split`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split<'a> {
    /// The frame that became complete, if one did.
    pub frame: Option<Frame<'a>>,
    /// How many bytes of the input were used. Call again with the rest until nothing is left.
    pub consumed: usize,
}

/// Why a connection cannot go on. The partial frame is lost and the connection is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// The trailer length is not three digits, so the end of the frame is unknown.
    #[error("trailer length {bytes:02x?} is not three digits")]
    TrailerNotDigits {
        /// The three bytes.
        bytes: [u8; 3],
    },
    /// The rest of a frame did not come in time.
    #[error("the frame stopped after {have} bytes and the follow-on timer expired")]
    FollowOnTimeout {
        /// Bytes of the frame that had come.
        have: usize,
    },
    /// The peer ended the stream inside a frame.
    #[error("the stream ended {have} bytes into a frame")]
    EndInMidFrame {
        /// Bytes of the frame that had come.
        have: usize,
    },
}

/// Cuts the stream of one connection into frames. Takes its memory at the start and none later.
pub struct Assembler {
    follow_on_ns: u64,
    last_byte_ns: u64,
    have: usize,
    partial: Box<[u8; ANNOUNCED_MAX]>,
}

impl Assembler {
    /// An assembler for a new connection, which gives the rest of a frame `follow_on_ns` nanoseconds after each byte.
    pub fn new(follow_on_ns: u64) -> Assembler {
        Assembler {
            follow_on_ns,
            last_byte_ns: 0,
            have: 0,
            partial: Box::new([0; ANNOUNCED_MAX]),
        }
    }

    /// Takes at most one frame from the front of `input`, received at `now_ns`.
    ///
    /// The frame borrows from `input` if it began and ends there, from the assembler otherwise.
    pub fn split<'a>(&'a mut self, now_ns: u64, input: &'a [u8]) -> Result<Split<'a>, FrameError> {
        if self.have == 0
            && let Some(header) = input.first_chunk::<HEADER_LEN>()
        {
            let length = announced(header)?;
            if let Some(bytes) = input.get(..length) {
                return Ok(Split {
                    frame: Some(Frame::of(bytes)),
                    consumed: length,
                });
            }
        }
        if input.is_empty() {
            return Ok(Split {
                frame: None,
                consumed: 0,
            });
        }
        self.last_byte_ns = now_ns;
        let mut consumed = self.take(HEADER_LEN, input);
        if self.have < HEADER_LEN {
            return Ok(Split {
                frame: None,
                consumed,
            });
        }
        let length = match self.partial.first_chunk::<HEADER_LEN>() {
            Some(header) => announced(header)?,
            None => HEADER_LEN,
        };
        consumed += self.take(length, &input[consumed..]);
        if self.have < length {
            return Ok(Split {
                frame: None,
                consumed,
            });
        }
        self.have = 0;
        Ok(Split {
            frame: Some(Frame::of(&self.partial[..length])),
            consumed,
        })
    }

    /// When the follow-on timer expires, in the caller's nanoseconds; `None` between frames.
    pub fn deadline_ns(&self) -> Option<u64> {
        (self.have > 0).then(|| self.last_byte_ns.saturating_add(self.follow_on_ns))
    }

    /// The error to report if the follow-on timer has expired at `now_ns`.
    pub fn expired(&self, now_ns: u64) -> Option<FrameError> {
        let deadline_ns = self.deadline_ns()?;
        (now_ns >= deadline_ns).then_some(FrameError::FollowOnTimeout { have: self.have })
    }

    /// The error to report when the peer ends the stream; `None` if it ended between frames.
    pub fn end_of_stream(&self) -> Option<FrameError> {
        (self.have > 0).then_some(FrameError::EndInMidFrame { have: self.have })
    }

    /// The bytes of the frame that is not complete yet.
    pub fn partial(&self) -> &[u8] {
        &self.partial[..self.have]
    }

    /// Copies from `input` until the partial frame has `goal` bytes; returns how many were copied.
    fn take(&mut self, goal: usize, input: &[u8]) -> usize {
        let count = goal.saturating_sub(self.have).min(input.len());
        self.partial[self.have..self.have + count].copy_from_slice(&input[..count]);
        self.have += count;
        count
    }
}

/// Shows how much is held, never what: the bytes hold card data.
impl fmt::Debug for Assembler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assembler")
            .field("have", &self.have)
            .finish_non_exhaustive()
    }
}

/// The length of the frame that begins with `header`.
#[inline]
fn announced(header: &[u8; HEADER_LEN]) -> Result<usize, FrameError> {
    let [.., a, b, c] = *header;
    match number(&[a, b, c]) {
        Some(trailer) => Ok(HEADER_LEN + trailer as usize),
        None => Err(FrameError::TrailerNotDigits { bytes: [a, b, c] }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOLLOW_ON_NS: u64 = 60_000_000_000;

    fn frame(trailer: usize) -> Vec<u8> {
        let mut bytes = vec![b'0'; TRAILER_AT];
        bytes.extend_from_slice(format!("{trailer:03}").as_bytes());
        bytes.extend((0..trailer).map(|index| index as u8));
        bytes
    }

    /// A frame that lies whole in the input is handed out from there; its neighbour waits for the next call.
    #[test]
    fn whole_frames_are_not_copied() {
        let mut assembler = Assembler::new(FOLLOW_ON_NS);
        let input = [frame(0), frame(145)].concat();
        let split = assembler.split(1, &input).expect("a legal frame");
        let Some(Frame::Whole(bytes)) = split.frame else {
            panic!("no frame: {split:?}")
        };
        assert_eq!(
            (bytes.as_ptr(), bytes.len(), split.consumed),
            (input.as_ptr(), 63, 63)
        );
        assert_eq!(assembler.deadline_ns(), None);
    }

    /// The follow-on timer restarts with every byte of an incomplete frame, is never early, and stops with its end.
    #[test]
    fn the_follow_on_timer_runs_from_the_last_byte() {
        let mut assembler = Assembler::new(FOLLOW_ON_NS);
        let bytes = frame(10);
        assert_eq!(
            assembler.split(5, &bytes[..1]).map(|split| split.consumed),
            Ok(1)
        );
        assert_eq!(assembler.deadline_ns(), Some(FOLLOW_ON_NS + 5));
        assert_eq!(
            assembler
                .split(7, &bytes[1..70])
                .map(|split| split.consumed),
            Ok(69)
        );
        assert_eq!(
            assembler.split(9, &[]).map(|split| split.consumed),
            Ok(0),
            "no byte, no restart"
        );
        assert_eq!(assembler.deadline_ns(), Some(FOLLOW_ON_NS + 7));
        assert_eq!(assembler.expired(FOLLOW_ON_NS + 6), None);
        assert_eq!(
            assembler.expired(FOLLOW_ON_NS + 7),
            Some(FrameError::FollowOnTimeout { have: 70 })
        );
        assert_eq!(
            assembler.end_of_stream(),
            Some(FrameError::EndInMidFrame { have: 70 })
        );
        assert_eq!(assembler.partial(), &bytes[..70]);
        let split = assembler.split(8, &bytes[70..]).expect("the rest");
        assert_eq!(split.frame, Some(Frame::Whole(&bytes)));
        assert_eq!(
            (assembler.deadline_ns(), assembler.end_of_stream()),
            (None, None)
        );
    }

    /// A trailer length that is no number is named with its bytes, whether the header came whole or in pieces.
    #[test]
    fn a_trailer_that_is_no_number_is_an_error() {
        let mut bytes = frame(0);
        bytes[61] = b'x';
        let error = FrameError::TrailerNotDigits { bytes: *b"0x0" };
        assert_eq!(Assembler::new(0).split(0, &bytes), Err(error));
        let mut assembler = Assembler::new(0);
        assert!(assembler.split(0, &bytes[..30]).is_ok());
        assert_eq!(assembler.split(0, &bytes[30..]), Err(error));
        assert_eq!(
            error.to_string(),
            "trailer length [30, 78, 30] is not three digits"
        );
    }

    /// 961 is the longest legal trailer; 962 to 999 are read to their end and named over-long, whole or in pieces.
    #[test]
    fn over_long_frames_are_read_to_their_end() {
        for trailer in [0, 1, 960, 961, 962, 999] {
            let bytes = frame(trailer);
            let wanted = if trailer <= TRAILER_MAX {
                Frame::Whole(&bytes)
            } else {
                Frame::OverLong(&bytes)
            };
            let mut assembler = Assembler::new(0);
            assert_eq!(
                assembler.split(0, &bytes),
                Ok(Split {
                    frame: Some(wanted),
                    consumed: bytes.len()
                })
            );
            let (head, tail) = bytes.split_at(62);
            assert_eq!(
                assembler.split(0, head),
                Ok(Split {
                    frame: None,
                    consumed: 62
                })
            );
            assert_eq!(
                assembler.split(0, tail),
                Ok(Split {
                    frame: Some(wanted),
                    consumed: tail.len()
                })
            );
        }
    }

    /// What is printed of a frame is its length, never its bytes.
    #[test]
    fn debug_output_shows_no_bytes() {
        assert_eq!(
            format!("{:?}", Frame::Whole(b"4111111111111111")),
            "Whole(16 bytes)"
        );
        let mut assembler = Assembler::new(0);
        assert!(assembler.split(0, b"4111111111111111").is_ok());
        assert_eq!(format!("{assembler:?}"), "Assembler { have: 16, .. }");
    }
}
