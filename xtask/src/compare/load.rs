//! `loadgen run` as a part of a measurement: start it, wait for it, read its report.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Failure;
use crate::build::Programs;
use crate::process::{Process, Start, words};

/// What is taken of the report's figures of latency, in microseconds.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Figures {
    /// How many requests.
    pub count: u64,
    /// Median.
    pub p50_us: f64,
    /// 99th percentile.
    pub p99_us: f64,
    /// 99.9th percentile.
    pub p999_us: f64,
    /// The largest.
    pub max_us: f64,
}

/// The latencies of one outcome.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Outcome {
    /// Its name.
    pub outcome: String,
    /// How many requests.
    pub count: u64,
}

/// One rate of a search.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Step {
    /// Requests per second that were offered.
    pub offered: f64,
    /// Answers per second.
    pub achieved: f64,
    /// 99th percentile.
    pub p99_us: f64,
    /// Why the rate is too high.
    pub failed: Option<String>,
}

/// What is taken of a report.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Report {
    /// Why the figures say nothing about the thing in the middle.
    pub invalid_because: Option<String>,
    /// Connections.
    pub links: usize,
    /// Lines.
    pub lines: usize,
    /// API sessions.
    pub sessions: usize,
    /// Requests per second that were offered.
    pub offered: f64,
    /// Requests per second that ended.
    pub achieved: f64,
    /// Requests sent in all.
    pub sent: u64,
    /// Requests sent again because no route was free.
    pub sent_again: u64,
    /// Latencies of all.
    pub overall: Figures,
    /// By outcome.
    pub outcomes: Vec<Outcome>,
    /// The generator's own lag.
    pub lag: Figures,
    /// The rates that a search tried.
    pub steps: Vec<Step>,
    /// The highest of them that was kept up with.
    pub peak: Option<f64>,
}

impl Report {
    /// Measured requests that were not approved.
    pub fn failed(&self) -> u64 {
        self.outcomes
            .iter()
            .filter(|row| row.outcome != "approved")
            .map(|row| row.count)
            .sum()
    }
}

/// A load to run.
pub struct Load<'a> {
    /// The programs.
    pub programs: &'a Programs,
    /// Its options, `run` not included.
    pub args: Vec<OsString>,
    /// The core it runs on.
    pub core: Option<usize>,
    /// Where its files go.
    pub dir: &'a Path,
    /// How long it may run.
    pub limit: Duration,
}

impl Load<'_> {
    /// Runs it to its end; gives its report and the processor time it took in nanoseconds.
    ///
    /// # Errors
    /// It fails, or runs longer than it may. A run that is invalid by its lag is no error: the report says so.
    pub fn run(self) -> Result<(Report, u64), Failure> {
        let json = self.dir.join("load.json");
        let mut args = words([&"run", &"--json", &json]);
        args.extend(self.args);
        let log = self.dir.join("load.log");
        let load = Process::start(Start {
            name: "the load",
            program: &self.programs.loadgen,
            args,
            core: self.core,
            log: log.clone(),
            show: None,
        })?;
        let (status, cpu_ns) = load.wait(self.limit)?;
        if !matches!(status.code(), Some(0 | 3)) {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            return Err(format!("the load failed with {status}: {}", text.trim()));
        }
        let text = std::fs::read_to_string(&json)
            .map_err(|error| format!("{}: {error}", json.display()))?;
        let report =
            serde_json::from_str(&text).map_err(|error| format!("{}: {error}", json.display()))?;
        Ok((report, cpu_ns))
    }
}
