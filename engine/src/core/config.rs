//! What the core needs to know of the configuration. Times in nanoseconds; made from the `config` crate by the shard.

/// How a request is treated when no route is free (spec/cafis.md 6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteBusy {
    /// Refuse it at once.
    ErrorReply,
    /// Let it wait for a route, first in, first out, at most t31.
    Buffering,
}

/// One line.
#[derive(Clone, Debug)]
pub struct LineConfig {
    /// Connection code.
    pub name: String,
    /// Stable id in the journal.
    pub id: u32,
    /// Epoch of the line on this shard.
    pub epoch: u32,
    /// The gateway's company code 7 and sub code 4.
    pub company: [u8; 11],
    /// Contracted number of centre sessions, 1 to 10.
    pub accept_count: u16,
    /// Outward routes, 1 to 189.
    pub route_count: u16,
    /// Sign on without being told to.
    pub sign_on: bool,
    /// What happens when no route is free.
    pub route_busy: RouteBusy,
    /// Refuse inward requests at once instead of asking an application.
    pub auto_reply: bool,
    /// Inward request to the application's answer.
    pub t13_ns: u64,
    /// General request to report.
    pub t31_ns: u64,
    /// Fault message to report.
    pub t32_ns: u64,
    /// Check of a session, 9210 to 9220.
    pub t33_ns: u64,
    /// Check a session that comes while service is open.
    pub line_check: bool,
    /// Sign-on.
    pub t34_ns: u64,
    /// Sign-off.
    pub t35_ns: u64,
    /// Between sign-on tries.
    pub t36_ns: u64,
    /// Wait for events, told to the library.
    pub event_ns: u64,
    /// Start a cascade without being told to (spec/cafis.md O-14).
    pub automatic: bool,
    /// The same for iD business (spec/cafis.md 8.2).
    pub id_cascade: bool,
    /// Sends of a fault message in an automatic activation.
    pub sends_automatic: u16,
    /// Sends of a fault message in an ordered activation.
    pub sends_ordered: u16,
    /// How often a fault message is repeated after C33.
    pub c33_repeats: u8,
    /// Pause after C12 and C33.
    pub retry_delay_ns: u64,
    /// Between probes of escalated transactions.
    pub probe_interval_ns: u64,
    /// Held routes, in percent, that raise the alarm.
    pub hold_alarm_percent: u16,
}

/// Nanoseconds of a second.
const SECOND: u64 = 1_000_000_000;

impl LineConfig {
    /// A line with the timers of the interface (spec/cafis.md 7) and the defaults of the configuration; what simulations,
    /// tests and benchmarks start from.
    #[must_use]
    pub fn standard(name: &str, id: u32, routes: u16, sessions: u16) -> LineConfig {
        LineConfig {
            name: name.to_owned(),
            id,
            epoch: 1,
            company: *b"TEST0010000",
            accept_count: sessions,
            route_count: routes,
            sign_on: true,
            route_busy: RouteBusy::ErrorReply,
            auto_reply: false,
            t13_ns: 55 * SECOND,
            t31_ns: 58 * SECOND,
            t32_ns: 58 * SECOND,
            t33_ns: 30 * SECOND,
            line_check: false,
            t34_ns: 30 * SECOND,
            t35_ns: 750 * SECOND,
            t36_ns: 60 * SECOND,
            event_ns: 90 * SECOND,
            automatic: true,
            id_cascade: true,
            sends_automatic: 6,
            sends_ordered: 5,
            c33_repeats: 1,
            retry_delay_ns: 60 * SECOND,
            probe_interval_ns: 60 * SECOND,
            hold_alarm_percent: 50,
        }
    }
}

/// One shard.
#[derive(Clone, Debug)]
pub struct CoreConfig {
    /// Number of the shard.
    pub shard: u16,
    /// Changes with every start.
    pub boot: u64,
    /// Secret that API tokens are made from.
    pub secret: [u64; 2],
    /// The lines of this shard.
    pub lines: Vec<LineConfig>,
    /// The line of a HELLO that names none.
    pub default_line: String,
    /// Lines of other shards, with where an application finds them.
    pub elsewhere: Vec<(String, String)>,
    /// Links at a time.
    pub links_max: usize,
    /// API sessions at a time.
    pub sessions_max: usize,
    /// Settled transactions that a query answers without the journal.
    pub recent_max: usize,
    /// Requests that a link may have outstanding.
    pub credit: u32,
    /// How long a lost link's API sessions wait to be resumed.
    pub resume_grace_ns: u64,
    /// How long a report waits for its application.
    pub delivery_limit_ns: u64,
    /// Settle what a stop left open without being told to.
    pub recovery_automatic: bool,
    /// How long an orderly stop may take.
    pub drain_ns: u64,
}

impl CoreConfig {
    /// Transactions at a time: as many again as there are routes may wait for their application or for a route.
    #[must_use]
    pub fn transactions_max(&self) -> usize {
        self.lines
            .iter()
            .map(|line| usize::from(line.route_count))
            .sum::<usize>()
            * 2
            + 64
    }
}
