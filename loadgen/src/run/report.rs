//! The result of a run: what is printed, and the same as JSON.

use std::fmt;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::part::Part;
use super::search::Step;

/// Figures of one histogram of times, in microseconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// How many values there are.
    pub count: u64,
    /// Their mean.
    pub mean_us: f64,
    /// Median.
    pub p50_us: f64,
    /// 90th percentile.
    pub p90_us: f64,
    /// 99th percentile.
    pub p99_us: f64,
    /// 99.9th percentile.
    pub p999_us: f64,
    /// 99.99th percentile.
    pub p9999_us: f64,
    /// The largest.
    pub max_us: f64,
}

impl Figures {
    fn of(histogram: &Histogram<u64>) -> Figures {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        Figures {
            count: histogram.len(),
            mean_us: if histogram.is_empty() {
                0.0
            } else {
                histogram.mean() / 1e3
            },
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            p9999_us: at(0.9999),
            max_us: histogram.max() as f64 / 1e3,
        }
    }
}

/// The latencies of one outcome.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OutcomeFigures {
    /// Its name.
    pub outcome: String,
    /// Its latencies.
    #[serde(flatten)]
    pub figures: Figures,
}

/// The result of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunReport {
    /// The figures say something about the daemon.
    pub valid: bool,
    /// Why they do not.
    pub invalid_because: Option<String>,
    /// `open`, `closed` or `search`.
    pub mode: String,
    /// Connections.
    pub links: usize,
    /// Lines they are for.
    pub lines: usize,
    /// API sessions on them.
    pub sessions: usize,
    /// Requests per second that were offered, on average; 0 in the closed mode.
    pub offered: f64,
    /// Requests per second that ended while the run was measured.
    pub achieved: f64,
    /// Seconds that were measured.
    pub seconds: f64,
    /// Requests sent, the warm-up included.
    pub sent: u64,
    /// Requests sent again because no route was free.
    pub sent_again: u64,
    /// Connections that broke.
    pub links_broken: u64,
    /// Latencies of all measured requests.
    pub overall: Figures,
    /// The same by outcome.
    pub outcomes: Vec<OutcomeFigures>,
    /// How late the generator itself sent.
    pub lag: Figures,
    /// The share of sends beyond the bound of lateness, 0 to 1.
    pub late_share: f64,
    /// Turns of the generator's loop.
    pub turns: u64,
    /// The longest of them, in microseconds.
    pub turn_max_us: f64,
    /// The rates that a search tried.
    pub steps: Vec<Step>,
    /// The highest of them that was kept up with.
    pub peak: Option<f64>,
    /// First five characters of the terminal ids of this run.
    pub installer: String,
}

/// What a report says besides its measurements.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heading {
    pub(crate) mode: &'static str,
    pub(crate) links: usize,
    pub(crate) lines: usize,
    pub(crate) sessions: usize,
    pub(crate) offered: f64,
    pub(crate) seconds: f64,
    pub(crate) installer: String,
}

impl RunReport {
    /// The report of one part.
    pub(crate) fn of(part: &Part, heading: &Heading) -> RunReport {
        let invalid = part.lag.invalid();
        RunReport {
            valid: invalid.is_none(),
            invalid_because: invalid.map(|why| why.to_string()),
            mode: heading.mode.to_owned(),
            links: heading.links,
            lines: heading.lines,
            sessions: heading.sessions,
            offered: heading.offered,
            achieved: part.tally.rate(),
            seconds: heading.seconds,
            sent: part.counters.sent,
            sent_again: part.counters.again,
            links_broken: part.counters.broken,
            overall: Figures::of(part.tally.overall()),
            outcomes: part
                .tally
                .by_outcome()
                .iter()
                .map(|(outcome, histogram)| OutcomeFigures {
                    outcome: outcome.to_string(),
                    figures: Figures::of(histogram),
                })
                .collect(),
            lag: Figures::of(part.lag.histogram()),
            late_share: part.lag.late_share(),
            turns: part.counters.turns,
            turn_max_us: part.counters.turn_max_ns as f64 / 1e3,
            steps: Vec::new(),
            peak: None,
            installer: heading.installer.clone(),
        }
    }

    /// How many measured requests ended with this outcome.
    #[must_use]
    pub fn count(&self, outcome: &str) -> u64 {
        self.outcomes
            .iter()
            .find(|row| row.outcome == outcome)
            .map_or(0, |row| row.figures.count)
    }
}

/// One row of the table, all times in microseconds.
fn row(f: &mut fmt::Formatter<'_>, name: &str, figures: &Figures) -> fmt::Result {
    writeln!(
        f,
        "{name:<16}{:>11}{:>10.0}{:>10.0}{:>10.0}{:>10.0}{:>10.0}{:>11.0}",
        figures.count,
        figures.mean_us,
        figures.p50_us,
        figures.p99_us,
        figures.p999_us,
        figures.p9999_us,
        figures.max_us
    )
}

impl fmt::Display for RunReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            let verdict = match step.failed {
                None => "kept up".to_owned(),
                Some(why) => format!("too much: {why:?}").to_lowercase(),
            };
            writeln!(
                f,
                "{:>10.0}/s offered {:>10.0}/s answered   p99 {:>9.0} us   {verdict}",
                step.offered, step.achieved, step.p99_us
            )?;
        }
        if self.mode == "search" {
            match self.peak {
                Some(peak) => writeln!(f, "peak: {peak:.0}/s")?,
                None => writeln!(f, "peak: below the lower bound of the search")?,
            }
        }
        writeln!(
            f,
            "{} links on {} lines, {} API sessions; {} mode; {:.0}/s offered, {:.0}/s answered over {:.1} s",
            self.links,
            self.lines,
            self.sessions,
            self.mode,
            self.offered,
            self.achieved,
            self.seconds
        )?;
        writeln!(
            f,
            "sent {}, of these again {}; links broken {}; terminals {}...; longest turn {:.0} us",
            self.sent, self.sent_again, self.links_broken, self.installer, self.turn_max_us
        )?;
        writeln!(
            f,
            "{:<16}{:>11}{:>10}{:>10}{:>10}{:>10}{:>10}{:>11}",
            "latency, us", "count", "mean", "p50", "p99", "p99.9", "p99.99", "max"
        )?;
        row(f, "all", &self.overall)?;
        for outcome in &self.outcomes {
            row(f, &outcome.outcome, &outcome.figures)?;
        }
        row(f, "generator lag", &self.lag)?;
        if let Some(why) = &self.invalid_because {
            writeln!(
                f,
                "INVALID: {why}. These figures say nothing about the daemon."
            )?;
        }
        Ok(())
    }
}
