//! Medians, spreads, tables, and the files under bench/results.

use std::fs;

use serde::Serialize;

use super::machine::Machine;
use super::run::Measured;
use crate::Failure;
use crate::build;

/// A machine that is busier than this at rest measures others as well.
const REST_MAX: f64 = 0.03;

/// The median of some figures, and how far they lie apart.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Median {
    /// The middle one.
    pub median: f64,
    /// The smallest.
    pub least: f64,
    /// The largest.
    pub most: f64,
}

impl Median {
    /// Of at least one figure.
    pub fn of(figures: impl Iterator<Item = f64>) -> Median {
        let mut figures: Vec<f64> = figures.collect();
        figures.sort_by(f64::total_cmp);
        let at = |index: usize| figures.get(index).copied().unwrap_or(f64::NAN);
        let last = figures.len().saturating_sub(1);
        Median {
            median: (at(last / 2) + at(figures.len() / 2)) / 2.0,
            least: at(0),
            most: at(last),
        }
    }
}

/// What is said of a contestant over all rounds.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Who.
    pub contestant: String,
    /// Answers per second.
    pub tps: Median,
    /// Median latency, microseconds.
    pub p50_us: Median,
    /// 99th percentile.
    pub p99_us: Median,
    /// 99.9th percentile.
    pub p999_us: Median,
    /// Processor seconds per million transactions: the process.
    pub process: Median,
    /// The same with the kernel's threads.
    pub with_kernel: Median,
    /// The same from the machine's busy time.
    pub machine: Median,
    /// Requests that failed, over all rounds.
    pub failed: u64,
    /// Runs that were invalid.
    pub invalid: usize,
}

/// Summarises the runs of one contestant.
pub fn summary(contestant: &str, runs: &[Measured]) -> Summary {
    let mine = || runs.iter().filter(|run| run.contestant == contestant);
    Summary {
        contestant: contestant.to_owned(),
        tps: Median::of(mine().map(|run| run.report.achieved)),
        p50_us: Median::of(mine().map(|run| run.report.overall.p50_us)),
        p99_us: Median::of(mine().map(|run| run.report.overall.p99_us)),
        p999_us: Median::of(mine().map(|run| run.report.overall.p999_us)),
        process: Median::of(mine().map(|run| run.process)),
        with_kernel: Median::of(mine().map(|run| run.with_kernel)),
        machine: Median::of(mine().map(|run| run.machine)),
        failed: mine().map(|run| run.report.failed()).sum(),
        invalid: mine()
            .filter(|run| run.report.invalid_because.is_some())
            .count(),
    }
}

/// Prints the summaries as a table, and what casts doubt on them.
pub fn print_table(title: &str, summaries: &[Summary], runs: &[Measured]) {
    println!("\n{title}");
    println!(
        "{:<26}{:>9}{:>9}{:>9}{:>9}   CPU s per million: {:<20} {:<20} machine",
        "", "TPS", "p50 us", "p99", "p99.9", "process", "+ kernel threads"
    );
    for row in summaries {
        let cost =
            |cost: &Median| format!("{:.2} ({:.2}-{:.2})", cost.median, cost.least, cost.most);
        println!(
            "{:<26}{:>9.0}{:>9.0}{:>9.0}{:>9.0}                      {:<20} {:<20} {}",
            row.contestant,
            row.tps.median,
            row.p50_us.median,
            row.p99_us.median,
            row.p999_us.median,
            cost(&row.process),
            cost(&row.with_kernel),
            cost(&row.machine),
        );
    }
    for row in summaries
        .iter()
        .filter(|row| row.failed > 0 || row.invalid > 0)
    {
        println!(
            "  {}: {} requests failed, {} runs invalid",
            row.contestant, row.failed, row.invalid
        );
    }
    let rest = Median::of(runs.iter().map(|run| run.rest * 100.0));
    if rest.most > REST_MAX * 100.0 {
        println!(
            "  NOT QUIET: the machine was {:.0} % busy at rest ({:.0}-{:.0} %): other work is in these figures",
            rest.median, rest.least, rest.most
        );
    }
}

/// Prints how the first of two costs relates to the second.
pub fn print_ratio(of: &Summary, to: &Summary) {
    let ratio = |of: &Median, to: &Median| of.median / to.median;
    println!(
        "  {} / {}: process {:.2}, + kernel threads {:.2}, machine {:.2}",
        of.contestant,
        to.contestant,
        ratio(&of.process, &to.process),
        ratio(&of.with_kernel, &to.with_kernel),
        ratio(&of.machine, &to.machine),
    );
}

/// A file of results.
#[derive(Serialize)]
struct File<'a, T> {
    machine: Machine,
    setting: &'a str,
    results: T,
}

/// Writes results to bench/results/NAME.json.
///
/// # Errors
/// The file cannot be written.
pub fn write(name: &str, setting: &str, results: impl Serialize) -> Result<(), Failure> {
    let dir = build::root().join("bench/results");
    let path = dir.join(format!("{name}.json"));
    let fail = |error: std::io::Error| format!("{}: {error}", path.display());
    let file = File {
        machine: Machine::here(),
        setting,
        results,
    };
    let text = serde_json::to_string_pretty(&file).map_err(|error| fail(error.into()))?;
    fs::create_dir_all(&dir)
        .and_then(|()| fs::write(&path, text + "\n"))
        .map_err(fail)?;
    println!("  written to bench/results/{name}.json");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The median of an odd and of an even number of figures, in any order, with its bounds.
    #[test]
    fn medians_are_in_the_middle() {
        let odd = Median::of([5.0, 1.0, 3.0].into_iter());
        assert_eq!((odd.median, odd.least, odd.most), (3.0, 1.0, 5.0));
        let even = Median::of([4.0, 1.0, 2.0, 100.0].into_iter());
        assert_eq!((even.median, even.least, even.most), (3.0, 1.0, 100.0));
        assert!(Median::of(std::iter::empty()).median.is_nan());
    }
}
