//! A centre whose every byte a test decides: one TCP session, with just enough to open service.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use codec::cafis::control::CentreControl;
use codec::cafis::frame::{Assembler, Frame};
use codec::cafis::header::{Assigned, Header, set_assigned, set_mti};
use codec::cafis::mti::Mti;

use super::{PATIENCE, Plan, until};

/// What the centre assigns to whatever it answers.
const ASSIGNED: Assigned = Assigned {
    centre_id: *b"11",
    centre_seq: *b"000471",
    month_day: *b"1130",
};

/// One session of a scripted centre.
pub struct RawCentre {
    stream: TcpStream,
    assembler: Assembler,
    input: Vec<u8>,
}

impl RawCentre {
    /// Connects to the first line of a plan. The daemon may still be starting.
    ///
    /// # Panics
    /// If nothing listens in time.
    pub fn connect(plan: &Plan) -> RawCentre {
        let address = plan.centre_address(0);
        let stream = until("a listening line", || TcpStream::connect(address).ok());
        stream.set_nodelay(true).expect("an option");
        RawCentre {
            stream,
            assembler: Assembler::new(0),
            input: Vec::new(),
        }
    }

    /// Connects as the only session of the line, and answers the daemon's sign-on.
    pub fn open(plan: &Plan) -> RawCentre {
        let mut centre = RawCentre::connect(plan);
        centre.permit_sign_on();
        centre
    }

    /// Waits for 7020 and answers 7110.
    pub fn permit_sign_on(&mut self) {
        let request = self.next_of(7020);
        self.answer(&request, 7110);
    }

    /// Sends bytes as they are.
    ///
    /// # Panics
    /// If the connection is gone.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.stream
            .write_all(bytes)
            .expect("the session takes bytes");
    }

    /// Sends a control telegram of the centre.
    pub fn control(&mut self, control: CentreControl) {
        self.bytes(&RawCentre::control_bytes(control));
    }

    /// Answers a frame: the same bytes with this message type and what the centre assigns.
    pub fn answer(&mut self, frame: &[u8], mti: u16) {
        self.bytes(&answer_to(frame, mti));
    }

    /// The next frame, or none if the daemon closed the session.
    ///
    /// # Panics
    /// If neither comes in time.
    pub fn next_or_end(&mut self) -> Option<Vec<u8>> {
        self.next_within(PATIENCE)
            .expect("a frame, or the end of the session, in time")
    }

    /// The next frame.
    ///
    /// # Panics
    /// If none comes.
    pub fn next_frame(&mut self) -> Vec<u8> {
        self.next_or_end()
            .expect("a frame, not the end of the session")
    }

    /// The next frame, which must have this message type.
    ///
    /// # Panics
    /// If it has another.
    pub fn next_of(&mut self, mti: u16) -> Vec<u8> {
        let frame = self.next_frame();
        assert_eq!(mti_of(&frame), mti, "{}", String::from_utf8_lossy(&frame));
        frame
    }

    /// What comes within a time: a frame or, inside, the end; `None` for silence.
    ///
    /// # Panics
    /// If the daemon sends what is no frame.
    pub fn next_within(&mut self, limit: Duration) -> Option<Option<Vec<u8>>> {
        self.stream
            .set_read_timeout(Some(limit))
            .expect("an option");
        loop {
            let split = self
                .assembler
                .split(0, &self.input)
                .expect("frames of the daemon");
            let frame = split.frame.map(|frame| match frame {
                Frame::Whole(bytes) => bytes.to_vec(),
                Frame::OverLong(bytes) => panic!("the daemon sent {} bytes", bytes.len()),
            });
            let consumed = split.consumed;
            self.input.drain(..consumed);
            if frame.is_some() {
                return Some(frame);
            }
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes) {
                Ok(0) => return Some(None),
                Ok(len) => self.input.extend_from_slice(&bytes[..len]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Some(None),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) => panic!("nothing from the daemon: {error}"),
            }
        }
    }

    /// The connection itself.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// The answer to a frame, for a test to spoil before it sends it.
    pub fn answer_bytes(frame: &[u8], mti: u16) -> Vec<u8> {
        answer_to(frame, mti)
    }

    /// A control telegram of the centre for the first line of a plan (spec/cafis.md 2.2).
    pub fn control_bytes(control: CentreControl) -> Vec<u8> {
        let mut frame = Vec::new();
        control.write(*b"TEST0010000", ASSIGNED, &mut frame);
        frame
    }
}

fn mti_of(frame: &[u8]) -> u16 {
    Header::new(frame).map_or(0, |header| header.mti().0)
}

fn answer_to(frame: &[u8], mti: u16) -> Vec<u8> {
    let mut answer = frame.to_vec();
    set_mti(&mut answer, Mti(mti));
    set_assigned(&mut answer, ASSIGNED);
    answer
}
