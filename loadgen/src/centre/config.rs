//! What a simulated centre is told at its start: lines, timers, and how much it writes down.

use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use thiserror::Error;

use super::behaviour::Scenario;

/// Routes of a contract at most (`spec/cafis.md` 6.1).
pub const ROUTES_MAX: u16 = 189;
/// Connections of one company code at most (`spec/cafis.md` 5.1).
pub const SESSIONS_MAX: usize = 10;

/// One line: a contract between the centre and one gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineConfig {
    /// Connection code, as the ledger and the commands call the line.
    pub name: String,
    /// Where the gateway listens. Sessions are spread over the addresses in turn.
    pub gateways: Vec<SocketAddr>,
    /// Agreed number of connections, 1 to 10.
    pub sessions: usize,
    /// The gateway's company code (7, padded with spaces) and sub code (4).
    pub company: [u8; 11],
    /// Which part of the centre serves the line: 1-9, A-Z or a-z.
    pub x2: u8,
    /// Outward routes of the contract, 1 to 189; there are as many inward ones.
    pub routes: u16,
}

/// Durations of the centre, in milliseconds. The defaults are those of `spec/cafis.md` 5.1 and 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// Wait for 0120 and 0920.
    pub t10_ms: u64,
    /// Between attempts of 0010.
    pub t11_ms: u64,
    /// Wait for 0620.
    pub t12_ms: u64,
    /// Wait for the issuer's report, and for the gateway's report to an incoming request.
    pub t13_ms: u64,
    /// Wait for the report to a fault command.
    pub t15_ms: u64,
    /// Rest of an incomplete frame.
    pub follow_on_ms: u64,
    /// First attempts to connect again after a failure.
    pub reconnect_ms: u64,
    /// How many attempts are made at that interval.
    pub reconnect_count: u32,
    /// Interval of the attempts that follow.
    pub reconnect_slow_ms: u64,
    /// After an orderly close by the gateway, and until a session was up for the first time (O-37).
    pub reconnect_orderly_ms: u64,
}

impl Default for Timers {
    fn default() -> Self {
        Timers {
            t10_ms: 30_000,
            t11_ms: 210_000,
            t12_ms: 30_000,
            t13_ms: 55_000,
            t15_ms: 55_000,
            follow_on_ms: 60_000,
            reconnect_ms: 80_000,
            reconnect_count: 4,
            reconnect_slow_ms: 180_000,
            reconnect_orderly_ms: 1_000,
        }
    }
}

/// On which connection a report goes out (`spec/cafis.md` 5.1.3 allows any).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReportSession {
    /// The one the request came on: cheapest, and the default.
    #[default]
    Same,
    /// Another one wherever there is another one.
    Other,
    /// All in turn, as the real centre does.
    InTurn,
}

/// Everything a [`super::Centre`] needs to start.
#[derive(Clone, Debug)]
pub struct CentreConfig {
    /// The lines to play.
    pub lines: Vec<LineConfig>,
    /// Durations.
    pub timers: Timers,
    /// Issuer codes (11) that are registered; empty means every code.
    pub issuers: Vec<[u8; 11]>,
    /// First centre sequence of every X2, 1 to 999999.
    pub first_sequence: u32,
    /// The centre's MMDD; today in Japan if absent.
    pub month_day: Option<[u8; 4]>,
    /// Approval number of every approval; numbered by the centre sequence if absent.
    pub approval: Option<[u8; 7]>,
    /// Whether the ledger of transactions is kept. Sequences are checked in any case.
    pub ledger: bool,
    /// Transactions for which memory is taken at the start; more make the ledger grow.
    pub ledger_capacity: usize,
    /// Poll without sleeping.
    pub spin: bool,
    /// On which connection reports go out.
    pub report_session: ReportSession,
    /// Open the service by 0010 as soon as the line is up (O-16).
    pub start_by_centre: bool,
    /// Send 4110 before 0810 and before 0910, as some contracts ask.
    pub counter_at_end: bool,
    /// Rules and commands in force from the start.
    pub scenario: Scenario,
    /// Seed of every percentage and of uniform delays.
    pub seed: u64,
}

impl Default for CentreConfig {
    fn default() -> Self {
        CentreConfig {
            lines: Vec::new(),
            timers: Timers::default(),
            issuers: Vec::new(),
            first_sequence: 1,
            month_day: None,
            approval: None,
            ledger: true,
            ledger_capacity: 65_536,
            spin: false,
            report_session: ReportSession::Same,
            start_by_centre: false,
            counter_at_end: false,
            scenario: Scenario::default(),
            seed: 1,
        }
    }
}

/// Why a line cannot be played.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum LineError {
    /// An item of a line's description has no `=`.
    #[error(
        "'{item}' is no key=value; a line is described as at=HOST:PORT,sessions=2,company=TEST001"
    )]
    NoValue {
        /// The item.
        item: String,
    },
    /// A key nobody knows.
    #[error(
        "'{key}' is not a key of a line; known are name, at, sessions, company, sub, x2 and routes"
    )]
    UnknownKey {
        /// The key.
        key: String,
    },
    /// A value out of its range.
    #[error("{key}={value}: must be {range}")]
    BadValue {
        /// The key.
        key: &'static str,
        /// What was given.
        value: String,
        /// What is allowed.
        range: &'static str,
    },
    /// No gateway address.
    #[error("the line says no at=HOST:PORT, the address on which the gateway listens")]
    NoGateway,
    /// The daemon's configuration cannot be used.
    #[error("{problem}")]
    Daemon {
        /// The first problem, in one sentence.
        problem: String,
    },
}

/// Joins company and sub code as the header holds them: seven bytes padded with spaces, then four.
pub fn company_code(company: &str, sub: &str) -> Option<[u8; 11]> {
    let fits = !company.is_empty() && company.len() <= 7 && sub.len() == 4;
    if !fits
        || !company
            .bytes()
            .chain(sub.bytes())
            .all(|b| b.is_ascii_graphic())
    {
        return None;
    }
    let mut code = [b' '; 11];
    code[..company.len()].copy_from_slice(company.as_bytes());
    code[7..].copy_from_slice(sub.as_bytes());
    Some(code)
}

impl FromStr for LineConfig {
    type Err = LineError;

    /// Reads `key=value,...`; `at` may be given several times.
    fn from_str(text: &str) -> Result<Self, LineError> {
        let mut line = LineConfig {
            name: "C01".into(),
            gateways: Vec::new(),
            sessions: 1,
            company: *b"TEST0010000",
            x2: b'1',
            routes: ROUTES_MAX,
        };
        let (mut company, mut sub) = ("TEST001".to_owned(), "0000".to_owned());
        for item in text.split(',') {
            let Some((key, value)) = item.split_once('=') else {
                return Err(LineError::NoValue {
                    item: item.to_owned(),
                });
            };
            let bad = |key, range| LineError::BadValue {
                key,
                value: value.to_owned(),
                range,
            };
            match key.trim() {
                "name" => line.name = value.to_owned(),
                "at" => {
                    let mut found = value
                        .to_socket_addrs()
                        .map_err(|_| bad("at", "HOST:PORT"))?;
                    line.gateways
                        .push(found.next().ok_or_else(|| bad("at", "HOST:PORT"))?);
                }
                "sessions" => {
                    let known = value
                        .parse()
                        .ok()
                        .filter(|n| (1..=SESSIONS_MAX).contains(n));
                    line.sessions = known.ok_or_else(|| bad("sessions", "1 to 10"))?;
                }
                "company" => company = value.to_owned(),
                "sub" => sub = value.to_owned(),
                "x2" => {
                    let known = value
                        .bytes()
                        .next()
                        .filter(|b| value.len() == 1 && is_x2(*b));
                    line.x2 = known.ok_or_else(|| bad("x2", "one of 1-9, A-Z, a-z"))?;
                }
                "routes" => {
                    let known = value.parse().ok().filter(|n| (1..=ROUTES_MAX).contains(n));
                    line.routes = known.ok_or_else(|| bad("routes", "1 to 189"))?;
                }
                other => {
                    return Err(LineError::UnknownKey {
                        key: other.to_owned(),
                    });
                }
            }
        }
        if line.gateways.is_empty() {
            return Err(LineError::NoGateway);
        }
        line.company = company_code(&company, &sub).ok_or(LineError::BadValue {
            key: "company",
            value: format!("{company}/{sub}"),
            range: "1 to 7 printable characters and a sub code of 4",
        })?;
        Ok(line)
    }
}

/// Whether a byte may be the X2 of a centre id.
pub fn is_x2(byte: u8) -> bool {
    matches!(byte, b'1'..=b'9' | b'A'..=b'Z' | b'a'..=b'z')
}

/// Makes `count` lines of one: ports and names are counted up (`L` becomes `L0001`, ...), and a run of `#` in the
/// company code becomes the number of the line.
pub fn repeat(template: &str, count: usize) -> Result<Vec<LineConfig>, LineError> {
    let mut lines = Vec::with_capacity(count);
    for index in 0..count {
        let hashes = template.matches('#').count();
        let number = format!("{:0hashes$}", index + 1);
        let text = if hashes == 0 {
            template.to_owned()
        } else {
            template.replace(&"#".repeat(hashes), &number)
        };
        let mut line: LineConfig = text.parse()?;
        if count > 1 {
            line.name = format!("{}{:04}", line.name, index + 1);
        }
        for gateway in &mut line.gateways {
            let port = usize::from(gateway.port()) + index;
            let known = u16::try_from(port).map_err(|_| LineError::BadValue {
                key: "at",
                value: port.to_string(),
                range: "a port of at most 65535 for the last line as well",
            })?;
            gateway.set_port(known);
        }
        lines.push(line);
    }
    Ok(lines)
}
