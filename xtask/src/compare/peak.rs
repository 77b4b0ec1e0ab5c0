//! The durable peak: the engine alone on core 0, load and centre on core 1. A search finds the highest rate that is kept
//! up with, and a longer run just below it says what that costs.

use std::time::Duration;

use super::load::Load;
use super::results::Median;
use super::run::{Arrival, measure, start_sekishod};
use super::{CompareArgs, results};
use crate::Failure;
use crate::build::Programs;
use crate::process::words;
use crate::site::{Plan, fresh_dir};

const CORES: (Option<usize>, Option<usize>) = (Some(0), Some(1));
/// Lines and their routes: 3,024 transactions at a time.
const LINES: usize = 16;
const ROUTES: usize = 189;
/// Between these rates the peak is searched.
const RATES: &str = "20000..500000";
/// Bisection steps that a search takes at most.
const STEPS_MAX: u64 = 12;
/// The run after a search is at this share of the peak.
const BELOW: f64 = 0.95;

/// Measures and prints it.
///
/// # Errors
/// The daemon does not start or dies, or not even the lowest rate is kept up with.
pub fn run(args: &CompareArgs, programs: &Programs) -> Result<(), Failure> {
    let dir = fresh_dir("compare-peak")?;
    let plan = Plan {
        lines: LINES,
        routes: ROUTES,
        core: CORES.0,
        ..Plan::default()
    };
    let contestant = start_sekishod(
        "sekishod, durable",
        programs,
        &plan,
        dir.join("durable"),
        CORES,
        &[],
    )?;
    let step = args.seconds.min(4).to_string();
    let (mut searches, mut runs) = (Vec::new(), Vec::new());
    for _ in 0..args.rounds.min(3) {
        let mut more = words([
            &"--links",
            &"1",
            &"--search",
            &RATES,
            &"--duration",
            &step,
            &"--warmup",
            &"1",
        ]);
        more.extend(words([
            &"--drain",
            &"5",
            &"--lag-p99-us",
            &"20000",
            &"--late-us",
            &"20000",
        ]));
        more.extend(contestant.options.iter().cloned());
        let limit = Duration::from_secs((args.seconds.min(4) + 6) * STEPS_MAX + 30);
        let load = Load {
            programs,
            args: more,
            core: CORES.1,
            dir: &contestant.dir,
            limit,
        };
        let (report, _) = load.run()?;
        let peak = report
            .peak
            .ok_or("not even the lowest rate of the search was kept up with")?;
        let rate = (peak * BELOW) as u32;
        let more = words([&"--links", &"1"]);
        runs.push(measure(
            &contestant,
            programs,
            CORES.1,
            Arrival::Open(rate),
            args.seconds,
            &more,
        )?);
        searches.push(report);
    }
    let setting = format!(
        "durable peak: {LINES} lines of {ROUTES} routes, {LINES} links, {LINES} API sessions; engine on core 0 polling {} us \
         before it sleeps, load and centre on core 1",
        plan.spin_us
    );
    let peak = Median::of(searches.iter().filter_map(|search| search.peak));
    println!("\n{setting}");
    for step in searches.iter().flat_map(|search| &search.steps) {
        let verdict = step.failed.as_deref().unwrap_or("kept up");
        println!(
            "  {:>9.0}/s offered {:>9.0}/s answered   p99 {:>9.0} us   {verdict}",
            step.offered, step.achieved, step.p99_us
        );
    }
    println!(
        "  peak {:.0}/s ({:.0}-{:.0})",
        peak.median, peak.least, peak.most
    );
    let summary = results::summary(&contestant.name, &runs);
    results::print_table(
        &format!("at {:.0} % of the peak", BELOW * 100.0),
        std::slice::from_ref(&summary),
        &runs,
    );
    results::write("peak", &setting, (peak, summary, searches, runs))
}
