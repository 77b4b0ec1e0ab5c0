//! How a command fails: one sentence for the operator, and the exit status of spec/fexics.md 5 for his scripts.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use client::{ClientError, ConnectError};
use codec::cafis::section::TransactionKey;
use codec::link::rc;
use engine::journal::recover::RecoverError;
use engine::journal::store::StoreError;

use crate::config;

/// Exit statuses (spec/fexics.md 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Success = 0,
    /// The command line or the configuration is wrong.
    Usage = 1,
    /// The daemon cannot be reached.
    Unreachable = 2,
    /// The state of the line does not allow it.
    State = 3,
    /// The centre refused.
    Centre = 4,
    /// No answer came.
    NoAnswer = 5,
    /// A key or a file is not there.
    NotFound = 6,
    /// Anything else.
    Other = 9,
}

impl Exit {
    /// The statuses as the help shows them.
    pub const HELP: &'static str = "Exit status: 0 done, 1 wrong usage, 2 daemon not reachable, 3 refused by the \
        line's state, 4 refused by the centre, 5 no answer, 6 key or file not found, 9 any other error.";
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Why a command failed.
#[derive(Debug)]
pub enum Failure {
    /// A configuration cannot be used.
    Config(config::Failure),
    /// `--connect` is no address.
    Address(String),
    /// The configuration has no such line.
    NoLine {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// A command for one line was given for several.
    WhichLine(Vec<String>),
    /// Nobody can reach this line by the configuration.
    NoEndpoint(String),
    /// No link to the daemon.
    Connect(ConnectError),
    /// The daemon did not do what it was asked.
    Call {
        /// As in "cannot ...".
        action: String,
        /// Why.
        error: ClientError,
        /// Overrides what its return code says in general.
        because: Option<&'static str>,
    },
    /// Lines are still signed on.
    SignedOn(Vec<String>),
    /// Applications still have API sessions.
    InUse {
        /// As in "cannot ...".
        action: String,
        /// Lines with how many sessions.
        lines: Vec<(String, u32)>,
    },
    /// The journal cannot be read.
    Journal(RecoverError),
    /// There is no journal in this directory.
    NoJournal(PathBuf),
    /// The journal has no segments of this shard.
    NoShard {
        /// The directory.
        dir: PathBuf,
        /// What was asked for.
        shard: u32,
    },
    /// No transaction has this key.
    NoKey(TransactionKey),
    /// The journal holds nothing that was asked for.
    NoRecord(PathBuf),
    /// The journal is damaged in so many places, which were shown.
    Damaged(usize),
    /// Standard output cannot be written.
    Output(io::Error),
}

impl Failure {
    /// Its exit status.
    pub fn exit(&self) -> Exit {
        match self {
            Failure::Config(_)
            | Failure::Address(_)
            | Failure::NoLine { .. }
            | Failure::WhichLine(_)
            | Failure::NoEndpoint(_) => Exit::Usage,
            Failure::Connect(ConnectError::Refused { code, .. }) if *code == rc::INVALID_PARAM => {
                Exit::Usage
            }
            Failure::Connect(_) => Exit::Unreachable,
            Failure::Call { error, .. } => call_exit(*error),
            Failure::SignedOn(_) | Failure::InUse { .. } => Exit::State,
            Failure::Journal(RecoverError::Store(StoreError::NoDirectory { .. }))
            | Failure::NoJournal(_)
            | Failure::NoShard { .. }
            | Failure::NoKey(_)
            | Failure::NoRecord(_) => Exit::NotFound,
            Failure::Journal(_) | Failure::Damaged(_) | Failure::Output(_) => Exit::Other,
        }
    }
}

fn call_exit(error: ClientError) -> Exit {
    match error {
        ClientError::NotConnected => Exit::Unreachable,
        ClientError::LinkLost | ClientError::SessionLost | ClientError::NoAnswer => Exit::NoAnswer,
        _ => match error.rc() {
            rc::NG | rc::ERR_CENTER_BUSY | rc::ERROR_CENTER => Exit::Centre,
            rc::TIME_OUT | rc::ERR_RETRY_OVER => Exit::NoAnswer,
            rc::ERR_SEARCHJOURNAL => Exit::NotFound,
            rc::ROUTE_BUSY
            | rc::APPL_IS_REMAINED
            | rc::PKG_IS_NOT_SIGNOFF
            | rc::PKG_IS_SIGNOFF_OR_SWITCHING
            | rc::ERR_ALL_CENTER_SESSION => Exit::State,
            _ => Exit::Other,
        },
    }
}

/// The reason and the way out of a return code.
fn explain(code: u16) -> &'static str {
    match code {
        rc::NG => "it was refused; the daemon's log says by whom",
        rc::TIME_OUT => "the centre did not answer in time; see `sekisho status`, then repeat it",
        rc::ERR_CENTER_BUSY => "the daemon or the centre is congested; repeat it later",
        rc::USE_SESSION_ID => "the same is under way already; wait for it",
        rc::ROUTE_BUSY => "its route is in use; repeat it when `sekisho status` shows a free one",
        rc::APPL_IS_REMAINED => "applications still use the daemon; close them first",
        rc::PKG_IS_NOT_SIGNOFF => "a line is not signed off; give `sekisho signoff` first",
        rc::PKG_IS_SIGNOFF_OR_SWITCHING => {
            "the line is signed off, or its state is changing; see `sekisho status`, and sign on with `sekisho signon` if it is off"
        }
        rc::ERR_SEARCHJOURNAL => {
            "the journal holds no such transaction; check date, terminal and sequence"
        }
        rc::ERR_RETRY_OVER => {
            "the centre left all re-commands unanswered, or no route was free for them; the daemon settles it when there is an answer or a route"
        }
        rc::ERR_JOURNAL => {
            "the journal cannot take a record or cannot be read; the daemon's log says where, check the disk's space and rights"
        }
        rc::ERR_ALL_CENTER_SESSION => {
            "the centre has no session with the daemon; check the line to the centre, which is the one that connects"
        }
        rc::INVALID_PARAM => "the daemon does not accept the argument; check it",
        _ => "the daemon's log says more",
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Config(failure) => failure.fmt(out),
            Failure::Address(text) => write!(
                out,
                "--connect {text:?} is no address; give HOST:PORT, or the path of a Unix socket with a / in it."
            ),
            Failure::NoLine { name, known } => write!(
                out,
                "the configuration has no line {name:?}; it has {}.",
                known.join(", ")
            ),
            Failure::WhichLine(known) => write!(
                out,
                "this is for one line and the configuration has several; say --line with one of {}.",
                known.join(", ")
            ),
            Failure::NoEndpoint(name) => write!(
                out,
                "line {name} cannot be reached: the configuration has neither api.tcp nor api.unix; give --connect."
            ),
            Failure::Connect(error) => error.fmt(out),
            Failure::Call {
                action,
                error,
                because,
            } => explained(action, *error, *because, out),
            Failure::SignedOn(lines) => write!(
                out,
                "cannot shut the daemon down: {} not signed off ({}); give `sekisho signoff` first, or say --force.",
                lines.join(", "),
                rc::name(rc::PKG_IS_NOT_SIGNOFF)
            ),
            Failure::InUse { action, lines } => {
                let lines: Vec<String> = lines
                    .iter()
                    .map(|(line, count)| format!("{line} has {count} open API session(s)"))
                    .collect();
                write!(
                    out,
                    "cannot {action}: {} ({}), {}; {}, as `sekisho status` shows.",
                    rc::name(rc::APPL_IS_REMAINED),
                    rc::APPL_IS_REMAINED,
                    explain(rc::APPL_IS_REMAINED),
                    lines.join(", ")
                )
            }
            Failure::Journal(error) => write!(out, "{error}."),
            Failure::NoJournal(dir) => write!(
                out,
                "{} holds no journal; give the data directory of a daemon, or the directory \"journal\" in it.",
                dir.display()
            ),
            Failure::NoShard { dir, shard } => write!(
                out,
                "{} holds no journal of shard {shard}; leave --shard out to read all.",
                dir.display()
            ),
            Failure::NoKey(key) => write!(
                out,
                "the journal holds no transaction {key}; check date, terminal and sequence."
            ),
            Failure::NoRecord(dir) => write!(
                out,
                "{} holds no record that was asked for; check --from, --tx and --key.",
                dir.display()
            ),
            Failure::Damaged(places) => write!(
                out,
                "the journal is damaged in {places} place(s), listed above; restore it from its replica or backup before the daemon is started again."
            ),
            Failure::Output(error) => write!(out, "standard output cannot be written: {error}."),
        }
    }
}

/// The error of a call, with its return code by name.
fn explained(
    action: &str,
    error: ClientError,
    because: Option<&str>,
    out: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    match error {
        ClientError::Refused { code } | ClientError::Ended { code, .. } => {
            let reason = because.unwrap_or_else(|| explain(code));
            write!(
                out,
                "cannot {action}: {} ({code}), {reason}.",
                rc::name(code)
            )
        }
        ClientError::TimeOut => write!(
            out,
            "cannot {action}: {} ({}), {}.",
            rc::name(rc::TIME_OUT),
            rc::TIME_OUT,
            explain(rc::TIME_OUT)
        ),
        error => write!(
            out,
            "cannot {action}: {error}; see whether sekishod runs, and its log."
        ),
    }
}

impl From<config::Failure> for Failure {
    fn from(failure: config::Failure) -> Failure {
        Failure::Config(failure)
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Failure {
        Failure::Connect(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Output(error)
    }
}

impl From<RecoverError> for Failure {
    fn from(error: RecoverError) -> Failure {
        Failure::Journal(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        Failure::Journal(error.into())
    }
}
