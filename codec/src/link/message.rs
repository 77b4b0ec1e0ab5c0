//! The bodies of link frames. Fixed-width fields stand in the order of the structs; text is ASCII as the
//! centre writes it, numbers are little-endian. Every decoder takes any bytes and answers with a named error.

use super::frame::{Kind, LinkError};

/// The first bytes of HELLO.
pub const MAGIC: [u8; 8] = *b"SEKISHO\x1a";
/// The protocol version this build speaks.
pub const VERSION: u16 = 1;
/// The longest line name (connection code) in HELLO.
pub const LINE_NAME_MAX: usize = 16;

/// Reads fields off the front of a body.
struct Reader<'a> {
    kind: Kind,
    body: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn new(kind: Kind, body: &'a [u8]) -> Self {
        Reader {
            kind,
            body,
            rest: body,
        }
    }
    fn error(&self) -> LinkError {
        LinkError::Body {
            kind: self.kind,
            len: self.body.len(),
        }
    }
    fn array<const N: usize>(&mut self) -> Result<[u8; N], LinkError> {
        let Some((head, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(self.error());
        };
        self.rest = rest;
        Ok(*head)
    }
    fn slice(&mut self, len: usize) -> Result<&'a [u8], LinkError> {
        let Some((head, rest)) = self.rest.split_at_checked(len) else {
            return Err(self.error());
        };
        self.rest = rest;
        Ok(head)
    }
    fn u8(&mut self) -> Result<u8, LinkError> {
        Ok(self.array::<1>()?[0])
    }
    fn u16(&mut self) -> Result<u16, LinkError> {
        Ok(u16::from_le_bytes(self.array()?))
    }
    fn u32(&mut self) -> Result<u32, LinkError> {
        Ok(u32::from_le_bytes(self.array()?))
    }
    fn u64(&mut self) -> Result<u64, LinkError> {
        Ok(u64::from_le_bytes(self.array()?))
    }
    fn text(&mut self) -> Result<&'a str, LinkError> {
        let len = usize::from(self.u8()?);
        let bytes = self.slice(len)?;
        std::str::from_utf8(bytes).map_err(|_| self.error())
    }
}

/// Appends a text of at most 255 bytes with its length in front.
fn put_text(text: &str, out: &mut Vec<u8>) {
    let bytes = &text.as_bytes()[..text.len().min(255)];
    out.push(bytes.len() as u8);
    out.extend_from_slice(bytes);
}

/// HELLO: what the client speaks and which line it wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello<'a> {
    /// The lowest version the client speaks.
    pub version_min: u16,
    /// The highest version the client speaks.
    pub version_max: u16,
    /// Feature bits the client understands; none is defined in version 1.
    pub features: u64,
    /// The daemon's boot epoch the client knew last, 0 if none.
    pub epoch: u64,
    /// Connection code of the wanted line; empty for the listener's default line.
    pub line: &'a str,
}

impl<'a> Hello<'a> {
    /// Reads a HELLO body. The magic has to be right before anything else is looked at.
    ///
    /// # Errors
    /// [`LinkError::Body`] if the magic or a field is missing.
    pub fn decode(body: &'a [u8]) -> Result<Self, LinkError> {
        let mut r = Reader::new(Kind::Hello, body);
        if r.array::<8>()? != MAGIC {
            return Err(r.error());
        }
        Ok(Hello {
            version_min: r.u16()?,
            version_max: r.u16()?,
            features: r.u64()?,
            epoch: r.u64()?,
            line: r.text()?,
        })
    }

    /// Appends the body.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&self.version_min.to_le_bytes());
        out.extend_from_slice(&self.version_max.to_le_bytes());
        out.extend_from_slice(&self.features.to_le_bytes());
        out.extend_from_slice(&self.epoch.to_le_bytes());
        put_text(self.line, out);
    }
}

/// WELCOME: what was agreed, and the times the library needs for its own waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Welcome<'a> {
    /// The version that both will use.
    pub version: u16,
    /// The shard that answered.
    pub shard: u16,
    /// Feature bits in force.
    pub features: u64,
    /// Changes with every start of the daemon.
    pub epoch: u64,
    /// The line's stable number.
    pub line_id: u32,
    /// t31 in milliseconds: business request to report.
    pub t31_ms: u32,
    /// t32 in milliseconds: fault message to report.
    pub t32_ms: u32,
    /// t34 in milliseconds: sign-on.
    pub t34_ms: u32,
    /// t35 in milliseconds: sign-off.
    pub t35_ms: u32,
    /// How long a synchronous wait for events lasts, in milliseconds.
    pub event_ms: u32,
    /// Sends of a fault message that an API-ordered cancel may take.
    pub sends_ordered: u32,
    /// Where the line lives, as `host:port` or a socket path; empty if it lives here.
    pub go_to: &'a str,
    /// Other endpoints to try when this one is gone, opaque, separated by spaces.
    pub endpoints: &'a str,
}

impl<'a> Welcome<'a> {
    /// Reads a WELCOME body.
    ///
    /// # Errors
    /// [`LinkError::Body`] if a field is missing.
    pub fn decode(body: &'a [u8]) -> Result<Self, LinkError> {
        let mut r = Reader::new(Kind::Welcome, body);
        Ok(Welcome {
            version: r.u16()?,
            shard: r.u16()?,
            features: r.u64()?,
            epoch: r.u64()?,
            line_id: r.u32()?,
            t31_ms: r.u32()?,
            t32_ms: r.u32()?,
            t34_ms: r.u32()?,
            t35_ms: r.u32()?,
            event_ms: r.u32()?,
            sends_ordered: r.u32()?,
            go_to: r.text()?,
            endpoints: r.text()?,
        })
    }

    /// Appends the body.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.version.to_le_bytes());
        out.extend_from_slice(&self.shard.to_le_bytes());
        out.extend_from_slice(&self.features.to_le_bytes());
        out.extend_from_slice(&self.epoch.to_le_bytes());
        let words = [
            self.line_id,
            self.t31_ms,
            self.t32_ms,
            self.t34_ms,
            self.t35_ms,
            self.event_ms,
            self.sends_ordered,
        ];
        for word in words {
            out.extend_from_slice(&word.to_le_bytes());
        }
        put_text(self.go_to, out);
        put_text(self.endpoints, out);
    }
}

/// OPENED: the API session's number is in the head. RESUME has only the token as body ([`decode_token`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Proof of the session, to resume it on another link.
    pub token: [u8; 16],
    /// The highest request id that the daemon has on record for this session; new ids start above it.
    pub highest: u64,
}

impl Opened {
    /// Reads an OPENED body.
    ///
    /// # Errors
    /// [`LinkError::Body`] if a field is missing.
    pub fn decode(body: &[u8]) -> Result<Self, LinkError> {
        let mut r = Reader::new(Kind::Opened, body);
        Ok(Opened {
            token: r.array()?,
            highest: r.u64()?,
        })
    }

    /// The body.
    #[must_use]
    pub fn encode(&self) -> [u8; 24] {
        let mut out = [0; 24];
        out[..16].copy_from_slice(&self.token);
        out[16..].copy_from_slice(&self.highest.to_le_bytes());
        out
    }
}

/// The token in a RESUME body.
///
/// # Errors
/// [`LinkError::Body`] if it is not 16 bytes.
pub fn decode_token(body: &[u8]) -> Result<[u8; 16], LinkError> {
    Reader::new(Kind::Resume, body).array()
}

/// Bytes before the data in a SEND body.
pub const SEND_HEAD_LEN: usize = 34;
/// Bytes before the data in a REPORT or REQUEST body.
pub const REPORT_HEAD_LEN: usize = 38;

/// SEND: the fields that an application supplies (spec/fexics.md 4.5), then the data part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Send<'a> {
    /// Centre id: `00` in requests.
    pub centre_id: [u8; 2],
    /// Centre sequence: six spaces in requests.
    pub centre_seq: [u8; 6],
    /// Destination company 7 and sub code 4.
    pub issuer: [u8; 11],
    /// Originating company 7 and sub code 4.
    pub acquirer: [u8; 11],
    /// Message type, four digits.
    pub mti: [u8; 4],
    /// Data part, at most 961 bytes.
    pub data: &'a [u8],
}

impl<'a> Send<'a> {
    /// Reads a SEND body.
    ///
    /// # Errors
    /// [`LinkError::Body`] if it is shorter than its fixed fields.
    pub fn decode(body: &'a [u8]) -> Result<Self, LinkError> {
        let mut r = Reader::new(Kind::Send, body);
        Ok(Send {
            centre_id: r.array()?,
            centre_seq: r.array()?,
            issuer: r.array()?,
            acquirer: r.array()?,
            mti: r.array()?,
            data: r.rest,
        })
    }

    /// Appends the body.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.centre_id);
        out.extend_from_slice(&self.centre_seq);
        out.extend_from_slice(&self.issuer);
        out.extend_from_slice(&self.acquirer);
        out.extend_from_slice(&self.mti);
        out.extend_from_slice(self.data);
    }
}

/// REPORT and REQUEST: what the library hands out (spec/fexics.md 4.5, FX_ReceiveMsg_CF).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report<'a> {
    /// Centre id.
    pub centre_id: [u8; 2],
    /// Centre sequence.
    pub centre_seq: [u8; 6],
    /// Destination company 7 and sub code 4.
    pub issuer: [u8; 11],
    /// Originating company 7 and sub code 4.
    pub acquirer: [u8; 11],
    /// Message type, four digits.
    pub mti: [u8; 4],
    /// Centre month-day, MMDD.
    pub date: [u8; 4],
    /// Data part.
    pub data: &'a [u8],
}

impl<'a> Report<'a> {
    /// Reads a REPORT or REQUEST body.
    ///
    /// # Errors
    /// [`LinkError::Body`] if it is shorter than its fixed fields.
    pub fn decode(body: &'a [u8]) -> Result<Self, LinkError> {
        let mut r = Reader::new(Kind::Report, body);
        Ok(Report {
            centre_id: r.array()?,
            centre_seq: r.array()?,
            issuer: r.array()?,
            acquirer: r.array()?,
            mti: r.array()?,
            date: r.array()?,
            data: r.rest,
        })
    }

    /// The fixed fields, to be followed by the data.
    #[must_use]
    pub fn encode_head(&self) -> [u8; REPORT_HEAD_LEN] {
        let mut out = [0; REPORT_HEAD_LEN];
        out[0..2].copy_from_slice(&self.centre_id);
        out[2..8].copy_from_slice(&self.centre_seq);
        out[8..19].copy_from_slice(&self.issuer);
        out[19..30].copy_from_slice(&self.acquirer);
        out[30..34].copy_from_slice(&self.mti);
        out[34..38].copy_from_slice(&self.date);
        out
    }
}

/// The transaction key of QUERY and CANCEL: processing date 6, terminal id 13, terminal sequence 5.
///
/// # Errors
/// [`LinkError::Body`] if it is not 24 bytes.
pub fn decode_key(kind: Kind, body: &[u8]) -> Result<[u8; 24], LinkError> {
    let mut r = Reader::new(kind, body);
    let key = r.array()?;
    if r.rest.is_empty() {
        Ok(key)
    } else {
        Err(r.error())
    }
}

/// Where a transaction stands, in STATE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TransactionState {
    /// The journal has no such key.
    Unknown = 0,
    /// Accepted, no report yet.
    Open = 1,
    /// A report is on record, its delivery is not.
    Reported = 2,
    /// Delivered to the application, durable.
    Delivered = 3,
    /// Being cancelled at the centre.
    Cancelling = 4,
    /// Cancelled at the centre.
    Cancelled = 5,
    /// The centre never processed it (8970, or 8970 C56 to a cancel-confirm).
    NotProcessed = 6,
    /// All sends were used up or the centre refused the cancel; the hold is kept where the centre may still answer.
    Escalated = 7,
    /// Never sent.
    NotSent = 8,
    /// A turnaround request that got no answer: nothing to cancel.
    Unanswered = 9,
}

impl TransactionState {
    /// The state of a byte.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        use TransactionState::*;
        Some(match byte {
            0 => Unknown,
            1 => Open,
            2 => Reported,
            3 => Delivered,
            4 => Cancelling,
            5 => Cancelled,
            6 => NotProcessed,
            7 => Escalated,
            8 => NotSent,
            9 => Unanswered,
            _ => return None,
        })
    }
}

/// STATE: the newest transaction of the key that is not settled, else the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// Where it stands.
    pub state: TransactionState,
    /// The daemon's transaction id, 0 if unknown.
    pub transaction: u64,
    /// The request's message type, zeros if unknown.
    pub request_mti: [u8; 4],
    /// The report's message type, zeros if there is none.
    pub report_mti: [u8; 4],
}

impl State {
    /// Reads a STATE body.
    ///
    /// # Errors
    /// [`LinkError::Body`] if a field is missing or the state is unknown.
    pub fn decode(body: &[u8]) -> Result<Self, LinkError> {
        let mut r = Reader::new(Kind::State, body);
        let state = r.u8()?;
        let Some(state) = TransactionState::from_byte(state) else {
            return Err(r.error());
        };
        Ok(State {
            state,
            transaction: r.u64()?,
            request_mti: r.array()?,
            report_mti: r.array()?,
        })
    }

    /// The body.
    #[must_use]
    pub fn encode(&self) -> [u8; 17] {
        let mut out = [0; 17];
        out[0] = self.state as u8;
        out[1..9].copy_from_slice(&self.transaction.to_le_bytes());
        out[9..13].copy_from_slice(&self.request_mti);
        out[13..17].copy_from_slice(&self.report_mti);
        out
    }
}

/// The orders of a CONTROL frame; the body is this byte and, for PURGE, the route number as u16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Order {
    /// Answered by STATUS.
    Status = 0,
    /// Sign on with 7020; DONE when the centre answered or t34 passed (FX_Connect).
    Connect = 1,
    /// Sign off with 0720; DONE when the centre answered or t35 passed (FX_Disconnect).
    Disconnect = 2,
    /// Set the state to signed on, without a telegram (FX_CtrlSignOn).
    SignOn = 3,
    /// Set the state to signed off, without a telegram (FX_CtrlSignOff).
    SignOff = 4,
    /// Stop the daemon; refused with RC 23 unless every line is signed off.
    Shutdown = 5,
    /// Stop the daemon at once; recovery is needed at the next start.
    ShutdownForce = 6,
    /// Settle what a stop left open; DONE when the run is over (FX_CtrlRecovery).
    Recovery = 7,
    /// Change the cut date by the rule of spec/fexics.md 2.6 (FX_SendCutOverMsg).
    CutRequest = 8,
    /// Set the cut date to the system date.
    CutOver = 9,
    /// Free a route by force; its transaction is recorded as unresolved (spec/cafis.md 6.3).
    Purge = 10,
}

impl Order {
    /// Every order, for tables and tests.
    pub const ALL: [Order; 11] = [
        Order::Status,
        Order::Connect,
        Order::Disconnect,
        Order::SignOn,
        Order::SignOff,
        Order::Shutdown,
        Order::ShutdownForce,
        Order::Recovery,
        Order::CutRequest,
        Order::CutOver,
        Order::Purge,
    ];

    /// Reads a CONTROL body: the order, and the route number of PURGE (0 otherwise).
    ///
    /// # Errors
    /// [`LinkError::Body`] if the order is unknown or the route is missing.
    pub fn decode(body: &[u8]) -> Result<(Order, u16), LinkError> {
        let mut r = Reader::new(Kind::Control, body);
        let byte = r.u8()?;
        let Some(order) = Order::ALL.get(usize::from(byte)) else {
            return Err(r.error());
        };
        let route = if *order == Order::Purge { r.u16()? } else { 0 };
        Ok((*order, route))
    }
}

/// STATUS: what `FX_Is*`, `FX_GetCutDate` and the operator's command show of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The service state, as the core numbers it ([`SERVICE_STATES`]).
    pub service: u8,
    /// Recovery is running or pending.
    pub recovering: bool,
    /// Cut date as the number YYYYMMDD.
    pub cut_date: u32,
    /// Centre sessions that are up.
    pub sessions: u16,
    /// Centre sessions that are contracted.
    pub sessions_contracted: u16,
    /// Open API sessions, the asking link's own not counted.
    pub api_sessions: u32,
    /// Routes of the contract.
    pub routes: u16,
    /// Routes with an open transaction.
    pub routes_busy: u16,
    /// Routes held for a fault message.
    pub routes_held: u16,
    /// Escalated transactions.
    pub escalated: u16,
    /// The last originator sequence number of the cut date.
    pub sequence: u32,
}

/// Names of the service states, by their number in [`Status::service`] (spec/cafis.md 5.9).
pub const SERVICE_STATES: [&str; 8] = [
    "DOWN",
    "CLOSED",
    "STARTING",
    "HELD-SEND",
    "OPEN",
    "PRE-END",
    "ENDING",
    "FAILED",
];

impl Status {
    /// Signed on, as `FX_IsSignOn` means it: OPEN or HELD-SEND.
    #[must_use]
    pub fn signed_on(&self) -> bool {
        self.service == 3 || self.service == 4
    }

    /// Switching or recovering, as `FX_IsSwitch` means it.
    #[must_use]
    pub fn switching(&self) -> bool {
        self.recovering || self.service == 2 || self.service == 5 || self.service == 6
    }

    /// Reads a STATUS body.
    ///
    /// # Errors
    /// [`LinkError::Body`] if a field is missing.
    pub fn decode(body: &[u8]) -> Result<Self, LinkError> {
        let mut r = Reader::new(Kind::Status, body);
        Ok(Status {
            service: r.u8()?,
            recovering: r.u8()? != 0,
            cut_date: r.u32()?,
            sessions: r.u16()?,
            sessions_contracted: r.u16()?,
            api_sessions: r.u32()?,
            routes: r.u16()?,
            routes_busy: r.u16()?,
            routes_held: r.u16()?,
            escalated: r.u16()?,
            sequence: r.u32()?,
        })
    }

    /// Appends the body.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.service, u8::from(self.recovering)]);
        out.extend_from_slice(&self.cut_date.to_le_bytes());
        out.extend_from_slice(&self.sessions.to_le_bytes());
        out.extend_from_slice(&self.sessions_contracted.to_le_bytes());
        out.extend_from_slice(&self.api_sessions.to_le_bytes());
        for half in [
            self.routes,
            self.routes_busy,
            self.routes_held,
            self.escalated,
        ] {
            out.extend_from_slice(&half.to_le_bytes());
        }
        out.extend_from_slice(&self.sequence.to_le_bytes());
    }
}

/// EVENT: the code (41 to 50) is in the head; the body is empty, or for 50 names the dropped telegram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DroppedTelegram {
    /// Message type.
    pub mti: [u8; 4],
    /// Destination company and sub code.
    pub issuer: [u8; 11],
    /// Originator sequence.
    pub sequence: [u8; 6],
    /// Transaction key, spaces where the telegram has none.
    pub key: [u8; 24],
}

impl DroppedTelegram {
    /// Reads the body of an EVENT; `None` if it is empty.
    ///
    /// # Errors
    /// [`LinkError::Body`] if it is neither empty nor whole.
    pub fn decode(body: &[u8]) -> Result<Option<Self>, LinkError> {
        if body.is_empty() {
            return Ok(None);
        }
        let mut r = Reader::new(Kind::Event, body);
        Ok(Some(DroppedTelegram {
            mti: r.array()?,
            issuer: r.array()?,
            sequence: r.array()?,
            key: r.array()?,
        }))
    }

    /// The body.
    #[must_use]
    pub fn encode(&self) -> [u8; 45] {
        let mut out = [0; 45];
        out[0..4].copy_from_slice(&self.mti);
        out[4..15].copy_from_slice(&self.issuer);
        out[15..21].copy_from_slice(&self.sequence);
        out[21..45].copy_from_slice(&self.key);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every body decodes to what was encoded.
    #[test]
    fn bodies_round_trip() {
        let mut out = Vec::new();
        let hello = Hello {
            version_min: 1,
            version_max: 3,
            features: 5,
            epoch: 9,
            line: "C01",
        };
        hello.encode(&mut out);
        assert_eq!(Hello::decode(&out), Ok(hello));
        out.clear();
        let welcome = Welcome {
            version: 1,
            shard: 1,
            features: 0,
            epoch: 77,
            line_id: 4,
            t31_ms: 58_000,
            t32_ms: 58_000,
            t34_ms: 30_000,
            t35_ms: 750_000,
            event_ms: 90_000,
            sends_ordered: 5,
            go_to: "127.0.0.1:5001",
            endpoints: "",
        };
        welcome.encode(&mut out);
        assert_eq!(Welcome::decode(&out), Ok(welcome));
        let opened = Opened {
            token: [7; 16],
            highest: 12,
        };
        assert_eq!(Opened::decode(&opened.encode()), Ok(opened));
        out.clear();
        let send = Send {
            centre_id: *b"00",
            centre_seq: *b"      ",
            issuer: *b"TEST9000000",
            acquirer: *b"TEST0010000",
            mti: *b"3110",
            data: b"data",
        };
        send.encode(&mut out);
        assert_eq!(Send::decode(&out), Ok(send));
        let state = State {
            state: TransactionState::Cancelled,
            transaction: 8,
            request_mti: *b"3110",
            report_mti: *b"0000",
        };
        assert_eq!(State::decode(&state.encode()), Ok(state));
        out.clear();
        let status = Status {
            service: 4,
            recovering: true,
            cut_date: 20261130,
            sequence: 17,
            ..Status::default()
        };
        status.encode(&mut out);
        assert_eq!(Status::decode(&out), Ok(status));
        let dropped = DroppedTelegram {
            mti: *b"3120",
            issuer: *b"TEST9000000",
            sequence: *b"000100",
            key: [b'1'; 24],
        };
        assert_eq!(
            DroppedTelegram::decode(&dropped.encode()),
            Ok(Some(dropped))
        );
    }

    proptest::proptest! {
        /// No body makes a decoder panic.
        #[test]
        fn any_body_is_survived(body in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let _ = (Hello::decode(&body), Welcome::decode(&body), Opened::decode(&body), decode_token(&body));
            let _ = (Send::decode(&body), Report::decode(&body), decode_key(Kind::Query, &body), State::decode(&body));
            let _ = (Order::decode(&body), Status::decode(&body), DroppedTelegram::decode(&body));
        }
    }
}
