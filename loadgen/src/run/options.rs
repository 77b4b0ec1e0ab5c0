//! The options of `loadgen run`, and what follows from them.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use thiserror::Error;

use super::endpoint::Endpoint;
use super::link_talk::LinkPlan;
use super::pace::LagBounds;
use super::raw_talk::ROUTES_MAX;
use super::schedule::{Arrivals, Rates};
use super::telegram::{Identity, Mix, date_of, put_digits};

/// Two rates per second, written `FROM..TO`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateRange {
    /// The first.
    pub from: f64,
    /// The second.
    pub to: f64,
}

impl FromStr for RateRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rate = |text: &str| {
            text.parse::<f64>()
                .ok()
                .filter(|rate| (0.0..1e9).contains(rate))
        };
        text.split_once("..")
            .and_then(|(from, to)| Some((rate(from)?, rate(to)?)))
            .filter(|(from, to)| from + to > 0.0)
            .map(|(from, to)| RateRange { from, to })
            .ok_or_else(|| "wanted FROM..TO in requests per second, as in 1000..50000".into())
    }
}

/// `loadgen run`: sends requests at times decided beforehand and measures from these times.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// The daemon: HOST:PORT, or the path of a Unix socket
    #[arg(long, value_name = "ADDRESS", required_unless_present = "raw")]
    pub connect: Option<Endpoint>,
    /// Send plain centre frames to this address instead, one outstanding on each route, and count the replies
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["connect", "book"])]
    pub raw: Option<Endpoint>,

    /// Requests per second
    #[arg(long, default_value_t = 1000.0, value_name = "N")]
    pub rate: f64,
    /// Go from one rate to another during the run
    #[arg(long, value_name = "FROM..TO", conflicts_with = "rate")]
    pub ramp: Option<RateRange>,
    /// Find the highest rate between two that the daemon keeps up with, by bisection; every step lasts --duration
    #[arg(long, value_name = "LOW..HIGH", conflicts_with_all = ["rate", "ramp", "closed"])]
    pub search: Option<RateRange>,
    /// Search: a rate counts as kept up while the 99th percentile stays below this many milliseconds
    #[arg(long, default_value_t = 50.0, value_name = "MS")]
    pub search_p99_ms: f64,
    /// Search: stop when the bounds are this close, in per cent
    #[arg(long, default_value_t = 2.0, value_name = "PERCENT")]
    pub search_percent: f64,
    /// No schedule: every link keeps --outstanding requests open (for comparisons with a relay)
    #[arg(long, requires = "outstanding", conflicts_with_all = ["rate", "ramp"])]
    pub closed: bool,
    /// Send at random times (a Poisson process) instead of evenly
    #[arg(long)]
    pub poisson: bool,
    /// Seed of the random times
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
    /// Seconds that are measured
    #[arg(long, default_value_t = 10.0, value_name = "S")]
    pub duration: f64,
    /// Seconds before them, sent but not measured
    #[arg(long, default_value_t = 1.0, value_name = "S")]
    pub warmup: f64,
    /// Seconds to wait for open requests after the last send
    #[arg(long, default_value_t = 70.0, value_name = "S")]
    pub drain: f64,

    /// Links (connections); with several lines, links per line
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub links: usize,
    /// Open requests per link at most, besides the daemon's credit
    #[arg(long, value_name = "N")]
    pub outstanding: Option<usize>,
    /// API sessions in all, shared out over the links; each link has at least one
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub sessions: usize,
    /// Connection codes of the lines; without any, the listener's default line
    #[arg(long, value_delimiter = ',', value_name = "CODE,...")]
    pub lines: Vec<String>,
    /// Lines named by a prefix and a number from 1, such as L0001 to L1000
    #[arg(
        long,
        value_name = "TEXT",
        requires = "lines_count",
        conflicts_with = "lines"
    )]
    pub lines_prefix: Option<String>,
    /// How many such lines
    #[arg(long, value_name = "N", requires = "lines_prefix")]
    pub lines_count: Option<usize>,
    /// Digits of their number [default: as many as the count has]
    #[arg(long, value_name = "N", requires = "lines_prefix")]
    pub lines_digits: Option<usize>,
    /// Ask the daemon for ACCEPTED frames as well
    #[arg(long)]
    pub accepted: bool,
    /// A request that finds no free route (RC 19) fails, instead of being sent again
    #[arg(long)]
    pub no_retry: bool,
    /// A link that breaks stays broken
    #[arg(long)]
    pub no_reconnect: bool,

    /// Shares of the kinds of request: 3110, 3210, 3310, 3510
    #[arg(long, default_value = "3110=1", value_name = "MTI=SHARE,...")]
    pub mix: Mix,
    /// Originating company and sub code, 11 characters
    #[arg(long, default_value = "TEST0010000", value_name = "CODE")]
    pub acquirer: String,
    /// Destination company and sub code, 11 characters
    #[arg(long, default_value = "TEST9000000", value_name = "CODE")]
    pub issuer: String,
    /// First five characters of the terminal ids; runs with the same ones repeat keys [default: from the clock]
    #[arg(long, value_name = "CODE")]
    pub installer: Option<String>,
    /// Processing date YYMMDD [default: today in Japan]
    #[arg(long, value_name = "YYMMDD")]
    pub date: Option<String>,

    /// Never sleep: poll the sockets all the time
    #[arg(long)]
    pub spin: bool,
    /// Gather due sends for so many microseconds, so that a high rate costs fewer system calls; counts as lag
    #[arg(long, default_value_t = 20, value_name = "US")]
    pub gather_us: u64,
    /// The run is invalid if the generator's own lag passes this many microseconds at p99
    #[arg(long, default_value_t = 1000, value_name = "US")]
    pub lag_p99_us: u64,
    /// A send that lags more than this many microseconds is late
    #[arg(long, default_value_t = 10_000, value_name = "US")]
    pub late_us: u64,
    /// The run is invalid if more than this share of the sends is late, in per cent
    #[arg(long, default_value_t = 0.1, value_name = "PERCENT")]
    pub late_percent: f64,
    /// Seconds to wait until every link is ready
    #[arg(long, default_value_t = 10, value_name = "S")]
    pub connect_timeout: u64,

    /// Print a line a second
    #[arg(long)]
    pub live: bool,
    /// Write the result as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write an HdrHistogram interval log, one interval a second and outcome
    #[arg(long, value_name = "FILE", conflicts_with = "search")]
    pub hlog: Option<PathBuf>,
    /// Write the application's book: the key and the outcome of every request
    #[arg(long, value_name = "FILE")]
    pub book: Option<PathBuf>,
}

/// An option has a value that makes no sense.
#[derive(Debug, PartialEq, Eq, Error)]
#[error("--{option}: {reason}")]
pub struct OptionError {
    option: &'static str,
    reason: String,
}

/// A refusal of an option.
fn bad<T>(option: &'static str, reason: impl Into<String>) -> Result<T, OptionError> {
    Err(OptionError {
        option,
        reason: reason.into(),
    })
}

/// Seconds of an option in nanoseconds.
fn nanoseconds(option: &'static str, seconds: f64) -> Result<u64, OptionError> {
    if (0.0..=1e6).contains(&seconds) {
        Ok((seconds * 1e9) as u64)
    } else {
        bad(
            option,
            format!("{seconds} is no time between 0 and a million seconds"),
        )
    }
}

/// A text of exactly `N` printable characters.
fn fixed<const N: usize>(option: &'static str, text: &str) -> Result<[u8; N], OptionError> {
    match <[u8; N]>::try_from(text.as_bytes()) {
        Ok(bytes) if bytes.iter().all(|b| (0x20..0x7f).contains(b)) => Ok(bytes),
        _ => bad(option, format!("`{text}` is not {N} printable characters")),
    }
}

impl RunArgs {
    /// Warm-up, measured part and the wait after it, in nanoseconds.
    pub(crate) fn times(&self) -> Result<(u64, u64, u64), OptionError> {
        let measured = nanoseconds("duration", self.duration)?;
        if measured == 0 {
            return bad("duration", "nothing would be measured");
        }
        Ok((
            nanoseconds("warmup", self.warmup)?,
            measured,
            nanoseconds("drain", self.drain)?,
        ))
    }

    /// The rates of a run without a search.
    pub(crate) fn rates(&self) -> Result<Rates, OptionError> {
        let (warmup_ns, measured_ns, _) = self.times()?;
        let RateRange { from, to } = self.ramp.unwrap_or(RateRange {
            from: self.rate,
            to: self.rate,
        });
        if !(from >= 0.0 && to >= 0.0 && from + to > 0.0 && from + to < 1e9) {
            return bad("rate", format!("{} is no rate", self.rate));
        }
        Ok(Rates {
            from,
            to,
            warmup_ns,
            measured_ns,
        })
    }

    pub(crate) fn arrivals(&self) -> Arrivals {
        if self.poisson {
            Arrivals::Poisson(self.seed)
        } else {
            Arrivals::Even
        }
    }

    pub(crate) fn bounds(&self) -> LagBounds {
        LagBounds {
            p99_ns: self.lag_p99_us * 1000,
            late_ns: self.late_us * 1000,
            late_share: self.late_percent / 100.0,
        }
    }

    /// What is the same in every request; the clock fills what was not given.
    pub(crate) fn identity(&self) -> Result<Identity, OptionError> {
        let seconds = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let installer = match &self.installer {
            Some(text) => fixed("installer", text)?,
            None => {
                let mut digits = [0; 5];
                put_digits(&mut digits, (seconds % 100_000) as u32);
                digits
            }
        };
        let date = match &self.date {
            Some(text) if text.bytes().all(|b| b.is_ascii_digit()) => fixed("date", text)?,
            Some(text) => return bad("date", format!("`{text}` is not YYMMDD")),
            None => date_of(seconds),
        };
        Ok(Identity {
            acquirer: fixed("acquirer", &self.acquirer)?,
            issuer: fixed("issuer", &self.issuer)?,
            installer,
            date,
        })
    }

    /// The names of the lines; one empty name for the default line.
    pub(crate) fn line_names(&self) -> Result<Vec<String>, OptionError> {
        let names: Vec<String> = match (&self.lines_prefix, self.lines_count) {
            (Some(prefix), Some(count)) => {
                let digits = self.lines_digits.unwrap_or(count.to_string().len());
                (1..=count)
                    .map(|n| format!("{prefix}{n:0digits$}"))
                    .collect()
            }
            _ if self.lines.is_empty() => vec![String::new()],
            _ => self.lines.clone(),
        };
        let max = codec::link::message::LINE_NAME_MAX;
        match names.iter().find(|name| name.len() > max) {
            Some(name) => bad("lines", format!("`{name}` is longer than {max} characters")),
            None if names.is_empty() => bad("lines-count", "there is no line"),
            None => Ok(names),
        }
    }

    /// The plans of all links, the links of a line not next to each other.
    pub(crate) fn link_plans(&self) -> Result<Vec<LinkPlan>, OptionError> {
        if self.links == 0 {
            return bad("links", "without a link nothing can be sent");
        }
        let names = self.line_names()?;
        let links = self.links * names.len();
        let base = LinkPlan {
            line: String::new(),
            sessions: self.sessions.div_ceil(links).max(1),
            outstanding: self.outstanding.unwrap_or(0),
            quiet: !self.accepted,
            retry_busy: !self.no_retry,
        };
        if self.outstanding == Some(0) {
            return bad(
                "outstanding",
                "a link without an open request sends nothing",
            );
        }
        Ok((0..links)
            .map(|n| LinkPlan {
                line: names[n % names.len()].clone(),
                ..base.clone()
            })
            .collect())
    }

    /// Routes of each raw connection.
    pub(crate) fn raw_routes(&self) -> Result<usize, OptionError> {
        let routes = self.outstanding.unwrap_or(1);
        if (1..=ROUTES_MAX).contains(&routes) && self.links > 0 {
            Ok(routes)
        } else {
            bad(
                "outstanding",
                format!("a connection has 1 to {ROUTES_MAX} routes"),
            )
        }
    }
}
