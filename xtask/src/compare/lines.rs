//! What a transaction costs at several numbers of lines, with everything on one core and the same rate for all. A link
//! belongs to a line, so a thousand lines have a thousand links; fewer lines share out 64.

use super::run::{Arrival, Contestant, Measured, measure, start_sekishod};
use super::{CompareArgs, results};
use crate::Failure;
use crate::build::Programs;
use crate::process::words;
use crate::site::{Plan, fresh_dir};

const CORE: Option<usize> = Some(0);
/// Links, where the lines are fewer.
const LINKS: usize = 64;
/// Routes of all lines together, and bounds for those of one.
const ROUTES_ALL: usize = 2048;
const ROUTES_LEAST: usize = 8;
const ROUTES_MOST: usize = 189;

/// Measures and prints it.
///
/// # Errors
/// A daemon does not start or dies.
pub fn run(args: &CompareArgs, programs: &Programs, counts: &[usize]) -> Result<(), Failure> {
    let dir = fresh_dir("compare-lines")?;
    let mut contestants = Vec::new();
    for &lines in counts {
        let routes = (ROUTES_ALL / lines.max(1)).clamp(ROUTES_LEAST, ROUTES_MOST);
        let plan = Plan {
            lines,
            sessions: 1,
            routes,
            spin_us: 0,
            links_max: lines + LINKS,
            ..Plan::default()
        };
        let name = format!("{lines} lines, {} links", lines * per_line(lines));
        let contestant = start_sekishod(
            &name,
            programs,
            &plan,
            dir.join(lines.to_string()),
            (CORE, CORE),
            &[],
        )?;
        contestants.push((lines, contestant));
    }
    let mut runs: Vec<Measured> = Vec::new();
    for round in 0..args.rounds {
        for turn in 0..contestants.len() {
            let (lines, contestant) = &contestants[(round + turn) % contestants.len()];
            runs.push(one(args, programs, *lines, contestant)?);
        }
    }
    let names = contestants
        .iter()
        .map(|(_, contestant)| contestant.name.as_str());
    let summaries: Vec<_> = names.map(|name| results::summary(name, &runs)).collect();
    let setting = format!(
        "{}/s open loop, everything on core 0, polling off, 1 centre session a line",
        args.rate_single
    );
    results::print_table(&format!("cost by lines: {setting}"), &summaries, &runs);
    if let (Some(first), Some(last)) = (summaries.first(), summaries.last()) {
        results::print_ratio(last, first);
    }
    results::write("lines", &setting, (summaries, runs))
}

/// Links of each line.
fn per_line(lines: usize) -> usize {
    (LINKS / lines.max(1)).max(1)
}

fn one(
    args: &CompareArgs,
    programs: &Programs,
    lines: usize,
    contestant: &Contestant,
) -> Result<Measured, Failure> {
    let links = per_line(lines).to_string();
    let more = words([&"--links", &links]);
    measure(
        contestant,
        programs,
        CORE,
        Arrival::Open(args.rate_single),
        args.seconds,
        &more,
    )
}
