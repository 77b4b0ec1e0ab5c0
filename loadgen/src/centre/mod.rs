//! A CAFIS centre and the issuers behind it, for tests, demonstrations and load.
//!
//! It plays the centre's side of `spec/cafis.md` on real sockets: it connects to gateways that listen, opens service,
//! checks and answers what comes in, keeps a ledger, and misbehaves when it is told to. One thread serves all lines,
//! because it has to share a core with the load generator while a gateway does its work on another.
//!
//! `config` says what to play, `sim` and its parts are the centre without sockets, `turn` is the event loop,
//! `behaviour` the faults, `command` the control port's words, `ledger` and `ledger_file` the book. It is not an
//! independent implementation of the telegrams: layouts come from `codec`, which has golden frames of its own.

mod behaviour;
mod business;
mod checks;
pub mod cli;
mod command;
pub mod config;
mod control_port;
mod faults;
mod format;
mod inward;
pub mod ledger;
mod ledger_file;
mod line;
mod os;
#[cfg(test)]
mod play_tests;
mod section_e;
mod service;
mod sim;
mod stats;
mod timers;
mod turn;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use mio::{Poll, Waker};
use thiserror::Error;

pub use behaviour::{RuleError, RuleSpec, Scenario, TimedCommand};
pub use checks::Code;
pub use command::HELP;
pub use config::{CentreConfig, LineConfig, ReportSession, Timers};
pub use stats::Stats;

use ledger::{Book, Ledger};
use sim::Sim;
use turn::Order;

/// The centre; [`Centre::start_thread`] is all there is to do with it.
pub struct Centre;

/// Why a centre cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// No line to play.
    #[error("there is no line to play; give --line at=HOST:PORT or --daemon FILE")]
    NoLine,
    /// A rule of the scenario cannot be put in force.
    #[error("the scenario cannot be played: {0}")]
    Rule(#[from] RuleError),
    /// The event loop cannot be set up.
    #[error("the event loop cannot be set up: {0}")]
    Io(#[from] io::Error),
}

impl Centre {
    /// Starts a centre on a thread of its own. Several may run in one process.
    ///
    /// # Errors
    /// A configuration without lines, a wrong rule, or a system without descriptors to spare.
    pub fn start_thread(config: CentreConfig) -> Result<Handle, StartError> {
        if config.lines.is_empty() {
            return Err(StartError::NoLine);
        }
        let spin = config.spin;
        let mut sim = Sim::new(config)?;
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), turn::WAKER)?);
        let (orders, taken) = channel();
        let (ready_to, ready) = channel();
        let thread = std::thread::Builder::new()
            .name("centre".into())
            .spawn(move || {
                let told = turn::run(&mut sim, poll, &taken, spin, |sim| {
                    // Nobody has to wait for it.
                    let _ = ready_to.send(sim.sessions.len());
                });
                told.map(|()| Finished { sim })
            })?;
        Ok(Handle {
            remote: Remote { orders, waker },
            ready,
            thread,
        })
    }
}

/// Gives orders to a running centre, from any thread.
#[derive(Clone)]
pub struct Remote {
    orders: Sender<Order>,
    waker: Arc<Waker>,
}

impl Remote {
    /// Gives one order in the words of [`HELP`] and waits for the reply, `ok ...` or `error ...`.
    pub fn control(&self, command: &str) -> String {
        let (reply, answer) = channel();
        let gone = || "error the centre has stopped".to_owned();
        if !self.send(Order::Command {
            text: command.to_owned(),
            reply,
        }) {
            return gone();
        }
        answer.recv().unwrap_or_else(|_| gone())
    }

    /// A copy of the ledger as it stands; empty once the centre has stopped.
    pub fn ledger(&self) -> Book {
        let (reply, answer) = channel();
        if !self.send(Order::Ledger { reply }) {
            return Book::default();
        }
        answer.recv().unwrap_or_default()
    }

    fn send(&self, order: Order) -> bool {
        self.orders.send(order).is_ok() && self.waker.wake().is_ok()
    }
}

/// A running centre. Dropping it stops the centre without waiting for it.
pub struct Handle {
    remote: Remote,
    ready: Receiver<usize>,
    thread: JoinHandle<io::Result<Finished>>,
}

impl Handle {
    /// Gives one order; see [`Remote::control`].
    pub fn control(&self, command: &str) -> String {
        self.remote.control(command)
    }

    /// A copy of the ledger as it stands.
    pub fn ledger(&self) -> Book {
        self.remote.ledger()
    }

    /// Something that gives orders from elsewhere.
    pub fn remote(&self) -> Remote {
        self.remote.clone()
    }

    /// Waits until all agreed sessions have been up; returns how many, or `None` if they were not within `limit`.
    pub fn wait_ready(&self, limit: Duration) -> Option<usize> {
        self.ready.recv_timeout(limit).ok()
    }

    /// Stops the centre and returns what is left of it.
    ///
    /// # Errors
    /// Why the event loop had ended before.
    pub fn stop(self) -> io::Result<Finished> {
        self.remote.control("quit");
        self.join()
    }

    /// Waits until somebody else stops the centre.
    ///
    /// # Errors
    /// Why the event loop ended.
    pub fn join(self) -> io::Result<Finished> {
        drop(self.ready);
        match self.thread.join() {
            Ok(finished) => finished,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// A centre that has stopped.
pub struct Finished {
    sim: Sim,
}

impl Finished {
    /// Its ledger.
    pub fn ledger(&self) -> &Ledger {
        self.sim.ledger()
    }

    /// Its counters.
    pub fn stats(&self) -> &Stats {
        self.sim.stats()
    }

    /// Writes the ledger to a file.
    ///
    /// # Errors
    /// Why the file cannot be written.
    pub fn write_ledger(&self, path: &Path) -> io::Result<()> {
        ledger::write(path, self.sim.ledger(), &self.sim.line_names())
    }
}
