//! The typed configuration. Values here are checked: ranges and relations hold (see `keys` and `check`), lists of shards
//! and lines are never empty, names and numbers are unique, paths are resolved against the directory of the file.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The whole configuration of one daemon.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where journal and state lie; one directory belongs to one daemon.
    pub data_dir: PathBuf,
    /// What goes to the log.
    pub log_level: LogLevel,
    /// The log file; without it the log goes to standard error.
    pub log_file: Option<PathBuf>,
    /// How card data is masked wherever it is shown.
    pub masking: Masking,
    /// The shards, by number; at least one.
    pub shards: Vec<Shard>,
    /// The listener for applications.
    pub api: Api,
    /// The journal of each shard.
    pub journal: Journal,
    /// What happens after a stop that was no shutdown.
    pub recovery: Recovery,
    /// The lines in the order of the file; at least one.
    pub lines: Vec<Line>,
}

/// What is logged (`spec/fexics.md 7.5`): each level holds those before it; `IoEvent` is `Error` plus masked dumps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Severe faults, and dumps of all messages.
    IoEvent,
    /// Severe faults.
    Error,
    /// What should be looked at.
    Warning,
    /// Changes of state.
    Information,
    /// Details and dumps.
    Debug,
}

/// Which digits of a card number stay readable (`spec/fexics.md 5.5`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Masking {
    /// The last four digits are masked.
    Jcca,
    /// The first twelve digits are masked.
    PciDss,
}

/// One thread with its ring, lines and journal.
#[derive(Debug, Clone, PartialEq)]
pub struct Shard {
    /// The core it is pinned to; without it the kernel chooses.
    pub core: Option<usize>,
    /// How long it polls before it sleeps.
    pub spin: Duration,
    /// How long it gathers work before it wakes, when there is much of it.
    pub gather: Duration,
}

/// The listener for applications and what it grants them.
#[derive(Debug, Clone, PartialEq)]
pub struct Api {
    /// The TCP address of shard 0, always loopback. See [`Api::tcp_of`].
    pub tcp: Option<SocketAddr>,
    /// The Unix socket of shard 0. See [`Api::unix_of`].
    pub unix: Option<PathBuf>,
    /// The line an application gets that names none. Always the name of a line.
    pub default_line: String,
    /// Links (connections) at a time.
    pub max_links: usize,
    /// API sessions at a time, over all links.
    pub max_sessions: usize,
    /// Outstanding requests of one link.
    pub credit: u32,
    /// How long a lost link may be resumed before its sessions count as gone.
    pub resume_grace: Duration,
    /// How long after its report a transaction may stay undelivered before it is given up.
    pub delivery_limit: Duration,
    /// How long a receive for events waits.
    pub event_receive_timeout: Duration,
    /// How long a new link may take for its handshake.
    pub handshake: Duration,
    /// Events kept for one session that does not fetch them.
    pub event_queue: usize,
}

/// The journal of each shard.
#[derive(Debug, Clone, PartialEq)]
pub struct Journal {
    /// Size of a segment in MiB. See [`Journal::segment_bytes`].
    pub segment_mib: u32,
    /// Segments preallocated at start.
    pub segments_min: u32,
    /// Segments at most; what they hold is the bound on disk space.
    pub segments_max: u32,
    /// How long a closed segment is kept; 0: it is recycled as soon as possible.
    pub retention_days: u32,
    /// Block writes in flight.
    pub blocks_in_flight: u32,
    /// Size of a block at most, in KiB.
    pub block_kib_max: u32,
    /// Writes are durable. False only for benchmarks.
    pub sync: bool,
    /// Share of the segments that only open transactions may use, in percent.
    pub reserve_percent: u32,
}

/// What happens after a stop that was no shutdown.
#[derive(Debug, Clone, PartialEq)]
pub struct Recovery {
    /// Who starts it.
    pub mode: RecoveryMode,
}

/// Who starts recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecoveryMode {
    /// The daemon, after sign-on.
    Automatic,
    /// An operator or an application (`FX_CtrlRecovery`).
    Command,
}

/// One contract with the centre.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// The connection code: 1 to 16 of `A-Z a-z 0-9 _ -`, unique.
    pub name: String,
    /// The number the journal knows the line by, 1 or more, unique. It must never change while a journal is kept.
    pub id: u16,
    /// The shard that owns it; an index into [`Config::shards`].
    pub shard: usize,
    /// Our company code, 1 to 7 letters and digits. See [`Line::originator`].
    pub company: String,
    /// Our sub code, 4 letters and digits.
    pub sub: String,
    /// Where the centre connects to; at least one.
    pub listen: Vec<SocketAddr>,
    /// Sessions the centre opens, over all addresses, 1 to 10.
    pub accept_count: u32,
    /// Routes to the centre, and as many from it, 1 to 189.
    pub route_count: u16,
    /// TCP keepalive on the centre's sessions, if it is on.
    pub keepalive: Option<Keepalive>,
    /// Who signs on.
    pub sign_on: SignOn,
    /// What a request meets when no route is free.
    pub route_busy: RouteBusy,
    /// Requests of the centre are answered by the daemon (`spec/fexics.md 2.9`).
    pub auto_reply: bool,
    /// A session that comes while service is open is checked with 9210 (`spec/cafis.md 5.7`).
    pub line_check: bool,
    /// Whether this is [`Api::default_line`]; true for exactly one line.
    pub default: bool,
    /// Waiting times.
    pub timers: Timers,
    /// How faults are settled.
    pub cascade: Cascade,
}

/// TCP keepalive; interval x count is at least 48 s (`spec/cafis.md 5.1`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence before the first probe.
    pub idle: Duration,
    /// Between probes.
    pub interval: Duration,
    /// Probes without answer that end the connection.
    pub count: u32,
}

/// Who signs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignOn {
    /// The daemon, once the contracted sessions are up, again after t36.
    Automatic,
    /// An operator or an application (`FX_Connect`).
    Command,
}

/// What a request meets when no route is free (`spec/fexics.md 2.8`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteBusy {
    /// An error at once (RC 19).
    ErrorReply,
    /// It waits for what is left of t31.
    Buffering,
}

/// Waiting times of a line (`spec/cafis.md 7`, gateway side).
#[derive(Debug, Clone, PartialEq)]
pub struct Timers {
    /// General request to report.
    pub t31: Duration,
    /// Fault message to its answer.
    pub t32: Duration,
    /// 9210 to 9220.
    pub t33: Duration,
    /// 7020 to 7110.
    pub t34: Duration,
    /// 0720 to 0810.
    pub t35: Duration,
    /// Between attempts to sign on.
    pub t36: Duration,
    /// Request of the centre to the application's report.
    pub t13: Duration,
    /// Between packets of one incomplete frame.
    pub follow_on: Duration,
}

/// How faults are settled (`spec/cafis.md 8`).
#[derive(Debug, Clone, PartialEq)]
pub struct Cascade {
    /// The daemon starts it by itself on a time-out or a lost report.
    pub automatic: bool,
    /// Fault messages of an automatic cascade, the first included.
    pub sends_automatic: u32,
    /// Fault messages of a cascade that an application ordered, the first included.
    pub sends_ordered: u32,
    /// How often a fault message refused with C33 is repeated.
    pub c33_repeats: u32,
    /// Wait after C12 and C33 before the repeat.
    pub retry_delay: Duration,
    /// Between probes of a centre that left escalated transactions unanswered.
    pub probe_interval: Duration,
    /// Held routes of a line that raise the alarm, in percent.
    pub hold_alarm_percent: u32,
    /// Fault messages for iD business, where they are optional.
    pub id_cascade: bool,
}

impl Api {
    /// The TCP address of a shard: its number is added to the port, which was checked to stay a port.
    pub fn tcp_of(&self, shard: usize) -> Option<SocketAddr> {
        self.tcp.map(|mut address| {
            let port = usize::from(address.port()) + shard;
            address
                .set_port(u16::try_from(port).expect("the port range was checked for every shard"));
            address
        })
    }

    /// The Unix socket of a shard: `.n` is appended for each but the first.
    pub fn unix_of(&self, shard: usize) -> Option<PathBuf> {
        self.unix.as_ref().map(|path| {
            let mut path = path.clone().into_os_string();
            if shard > 0 {
                path.push(format!(".{shard}"));
            }
            path.into()
        })
    }
}

impl Journal {
    /// Size of a segment in bytes.
    pub fn segment_bytes(&self) -> u64 {
        u64::from(self.segment_mib) << 20
    }

    /// Size of a block at most, in bytes.
    pub fn block_bytes_max(&self) -> u64 {
        u64::from(self.block_kib_max) << 10
    }
}

impl Line {
    /// Company code, padded right with spaces to 7 bytes, and sub code: the acquirer fields of the header
    /// (`spec/cafis.md 2.1`).
    pub fn originator(&self) -> [u8; 11] {
        let mut code = [b' '; 11];
        code[..self.company.len()].copy_from_slice(self.company.as_bytes());
        code[7..].copy_from_slice(self.sub.as_bytes());
        code
    }
}

impl LogLevel {
    /// The values in the order of [`LogLevel::NAMES`].
    pub const ALL: [Self; 5] = [
        Self::IoEvent,
        Self::Error,
        Self::Warning,
        Self::Information,
        Self::Debug,
    ];
    /// As they are written.
    pub const NAMES: [&'static str; 5] = ["ioevent", "error", "warning", "information", "debug"];
}

impl Masking {
    /// The values in the order of [`Masking::NAMES`].
    pub const ALL: [Self; 2] = [Self::Jcca, Self::PciDss];
    /// As they are written.
    pub const NAMES: [&'static str; 2] = ["jcca", "pcidss"];
}

impl RecoveryMode {
    /// The values in the order of [`RecoveryMode::NAMES`].
    pub const ALL: [Self; 2] = [Self::Automatic, Self::Command];
    /// As they are written.
    pub const NAMES: [&'static str; 2] = ["automatic", "command"];
}

impl SignOn {
    /// The values in the order of [`SignOn::NAMES`].
    pub const ALL: [Self; 2] = [Self::Automatic, Self::Command];
    /// As they are written.
    pub const NAMES: [&'static str; 2] = ["automatic", "command"];
}

impl RouteBusy {
    /// The values in the order of [`RouteBusy::NAMES`].
    pub const ALL: [Self; 2] = [Self::ErrorReply, Self::Buffering];
    /// As they are written.
    pub const NAMES: [&'static str; 2] = ["error_reply", "buffering"];
}
