//! `loadgen run`: an open-loop load on the link protocol, and the same on plain centre frames.
//!
//! Send times are decided before the run ([`schedule`]) and latency counts from them, so a stall of the daemon costs
//! every request that it held up (no coordinated omission). No send is skipped: what finds no room waits, and what
//! still waits at the end is counted as unsent. The generator's own lag is measured too, and a run with too much of it is
//! invalid ([`pace`]). One thread drives every connection ([`drive`]), with no allocation for a transaction.

pub mod drive;
pub mod echo;
pub mod endpoint;
pub mod hlog;
mod link_talk;
pub mod options;
pub mod outcome;
pub mod pace;
pub mod part;
mod poll;
mod raw_talk;
pub mod report;
pub mod schedule;
pub mod search;
pub mod talk;
pub mod tally;
pub mod telegram;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use thiserror::Error;

use crate::books::app;
use drive::{Drive, DriveError, Style};
use endpoint::Endpoint;
use hlog::{Hlog, HlogError};
use link_talk::LinkTalk;
use options::{OptionError, RunArgs};
use outcome::Outcome;
use pace::Pacer;
use part::{Outputs, Part, PartError, Times};
use raw_talk::RawTalk;
use report::{Heading, RunReport};
use schedule::{Rates, Schedule};
use search::{Search, Step};
use talk::Talk;
use telegram::Telegrams;

/// Exit code of a run that is invalid because the generator lagged.
pub const EXIT_INVALID: u8 = 3;
/// Book entries for which room is made if the number of requests is not known beforehand.
const BOOK_GUESS: u64 = 1 << 24;

/// A run failed.
#[derive(Debug, Error)]
pub enum RunError {
    /// An option makes no sense.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// The connections could not be made.
    #[error(transparent)]
    Drive(#[from] DriveError),
    /// It broke off in the middle.
    #[error(transparent)]
    Part(#[from] PartError),
    /// The interval log could not be written.
    #[error(transparent)]
    Hlog(#[from] HlogError),
    /// A file of results could not be written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Runs `loadgen run`: prints the table, and answers with the exit code (0 good, 1 failed, 3 invalid).
#[must_use]
pub fn main(args: &RunArgs) -> ExitCode {
    let mut live = io::stdout();
    match run(args, &mut live) {
        Ok(report) => {
            print!("{report}");
            if report.valid {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(EXIT_INVALID)
            }
        }
        Err(error) => {
            eprintln!("loadgen run: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the load to its end, and writes the files that were asked for. Live lines go to `live`.
///
/// # Errors
/// See [`RunError`]. A run that is invalid is no error: the report says so.
pub fn run(args: &RunArgs, live: &mut dyn Write) -> Result<RunReport, RunError> {
    let identity = args.identity()?;
    // Looked at before anything is connected: a bad option is the first thing that is said.
    args.rates()?;
    let telegrams = Telegrams::new(identity.clone(), args.mix.clone());
    let style = Style {
        spin: args.spin,
        reconnect: !args.no_reconnect,
        gather_ns: if args.closed {
            0
        } else {
            args.gather_us * 1000
        },
    };
    let mut heading = Heading {
        installer: String::from_utf8_lossy(&identity.installer).into_owned(),
        seconds: args.duration,
        ..Heading::default()
    };
    match (&args.raw, &args.connect) {
        (Some(endpoint), _) => {
            let routes = args.raw_routes()?;
            let port = |_| (endpoint.clone(), RawTalk::new(routes));
            let ports: Vec<_> = (0..args.links).map(port).collect();
            (heading.links, heading.lines) = (ports.len(), 0);
            let drive = Drive::connect(ports, telegrams, style, args.connect_timeout)?;
            with(drive, args, heading, live)
        }
        (None, Some(endpoint)) => {
            let plans = args.link_plans()?;
            (heading.links, heading.lines) = (plans.len(), args.line_names()?.len());
            heading.sessions = plans.iter().map(|plan| plan.sessions).sum();
            let port = |plan| (endpoint.clone(), LinkTalk::new(plan));
            let ports: Vec<(Endpoint, LinkTalk)> = plans.into_iter().map(port).collect();
            let drive = Drive::connect(ports, telegrams, style, args.connect_timeout)?;
            with(drive, args, heading, live)
        }
        (None, None) => unreachable!("the options demand one of the two"),
    }
}

/// Runs the load on connections that are ready.
fn with<T: Talk>(
    mut drive: Drive<T>,
    args: &RunArgs,
    mut heading: Heading,
    live: &mut dyn Write,
) -> Result<RunReport, RunError> {
    let mut hlog = match &args.hlog {
        Some(path) => Some(Hlog::create(path, SystemTime::now())?),
        None => None,
    };
    let mut book: Vec<Outcome> = Vec::new();
    let keep = args.book.is_some();
    if keep {
        let known = !args.closed && args.search.is_none();
        let count = if known {
            args.rates()?.total()
        } else {
            BOOK_GUESS
        };
        book.reserve((count + count / 50) as usize);
    }
    // Requests end out of their order: the ones between are unanswered until they end too.
    let mut sink = |serial: u64, outcome: Outcome| {
        if keep {
            let at = serial as usize;
            if at >= book.len() {
                book.resize(at + 1, Outcome::Unanswered);
            }
            book[at] = outcome;
        }
    };
    let mut out = Outputs {
        live: args.live.then_some(live),
        hlog: hlog.as_mut(),
        sink: &mut sink,
    };
    let report = if args.search.is_some() {
        search_peak(&mut drive, args, &mut heading, &mut out)?
    } else {
        let (part, offered) = plain(&mut drive, args, &mut out)?;
        heading.mode = if args.closed { "closed" } else { "open" };
        heading.offered = offered;
        RunReport::of(&part, &heading)
    };
    if let Some(hlog) = hlog {
        hlog.finish()?;
    }
    if let Some(path) = &args.book {
        book.resize(drive.serials() as usize, Outcome::Unanswered);
        app::write(path, drive.telegrams(), &book).map_err(|source| RunError::File {
            path: path.clone(),
            source,
        })?;
    }
    if let Some(path) = &args.json {
        write_json(path, &report)?;
    }
    Ok(report)
}

/// One part with the rates of the options; returns it and the mean rate offered.
fn plain<T: Talk>(
    drive: &mut Drive<T>,
    args: &RunArgs,
    out: &mut Outputs<'_>,
) -> Result<(Part, f64), RunError> {
    let times = times(args)?;
    let rates = args.rates()?;
    let (pacer, offered) = if args.closed {
        let end_ns = times.warmup_ns + times.measured_ns;
        (Pacer::closed(end_ns, times.warmup_ns), 0.0)
    } else {
        (open_pacer(args, rates), (rates.from + rates.to) / 2.0)
    };
    Ok((part::run(drive, pacer, times, out)?, offered))
}

fn open_pacer(args: &RunArgs, rates: Rates) -> Pacer {
    let schedule = Schedule::new(rates, args.arrivals());
    Pacer::open(schedule, rates.warmup_ns, args.bounds())
}

fn times(args: &RunArgs) -> Result<Times, OptionError> {
    let (warmup_ns, measured_ns, drain_ns) = args.times()?;
    Ok(Times {
        warmup_ns,
        measured_ns,
        drain_ns,
        send_backlog: args.search.is_none(),
    })
}

/// Tries rates until the peak is found; the report is that of the highest rate that was kept up with.
fn search_peak<T: Talk>(
    drive: &mut Drive<T>,
    args: &RunArgs,
    heading: &mut Heading,
    out: &mut Outputs<'_>,
) -> Result<RunReport, RunError> {
    let times = times(args)?;
    let base = args.rates()?;
    let bounds = args.search.unwrap_or(options::RateRange {
        from: base.from,
        to: base.to,
    });
    let mut search = Search::new(bounds.from, bounds.to, args.search_percent);
    let (mut steps, mut best) = (Vec::new(), None);
    heading.mode = "search";
    while let Some(rate) = search.next() {
        let rates = Rates {
            from: rate,
            to: rate,
            ..base
        };
        let part = part::run(drive, open_pacer(args, rates), times, out)?;
        let step = Step::judge(rate, &part, args.search_p99_ms * 1e3);
        let holds = step.failed.is_none();
        if let Some(live) = &mut out.live {
            // As with the live line: a closed pipe must not end the run.
            let _ = writeln!(
                live,
                "tried {rate:.0}/s: {}",
                if holds { "kept up" } else { "too much" }
            );
        }
        heading.offered = rate;
        if holds || best.is_none() {
            best = Some(RunReport::of(&part, heading));
        }
        search.note(rate, holds);
        steps.push(step);
    }
    let Some(mut report) = best else {
        unreachable!("a search tries its lower bound at least");
    };
    report.steps = steps;
    report.peak = search.peak();
    Ok(report)
}

fn write_json(path: &Path, report: &RunReport) -> Result<(), RunError> {
    let text = serde_json::to_string_pretty(report).map_err(io::Error::other);
    text.and_then(|text| fs::write(path, text + "\n"))
        .map_err(|source| RunError::File {
            path: path.to_owned(),
            source,
        })
}
