//! Resident memory of the daemon with 1,000 API sessions, at rest and under load.

use std::fs;

use serde::Serialize;

use super::run::{Arrival, measure, start_sekishod};
use super::{CompareArgs, results};
use crate::Failure;
use crate::build::Programs;
use crate::process::words;
use crate::site::{Plan, fresh_dir};

const CORES: (Option<usize>, Option<usize>) = (Some(0), Some(1));
const LINES: usize = 16;
/// API sessions in all, and the links that share them.
const SESSIONS: usize = 1000;
const LINKS: usize = 64;
const RATE: u32 = 20_000;
/// What design and issue allow, MiB.
const BOUND_MIB: f64 = 256.0;

/// Resident memory, MiB.
#[derive(Serialize)]
struct Resident {
    at_start: f64,
    after_load: f64,
    highest: f64,
}

/// Measures and prints it.
///
/// # Errors
/// The daemon does not start or dies, or needs more than its bound.
pub fn run(args: &CompareArgs, programs: &Programs) -> Result<(), Failure> {
    let dir = fresh_dir("compare-memory")?;
    let plan = Plan {
        lines: LINES,
        routes: 128,
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
    let id = contestant.middle.id();
    let at_start = status_mib(id, "VmRSS:")?;
    let (links, sessions) = ((LINKS / LINES).to_string(), SESSIONS.to_string());
    let more = words([&"--links", &links, &"--sessions", &sessions]);
    let run = measure(
        &contestant,
        programs,
        CORES.1,
        Arrival::Open(RATE),
        args.seconds,
        &more,
    )?;
    let resident = Resident {
        at_start,
        after_load: status_mib(id, "VmRSS:")?,
        highest: status_mib(id, "VmHWM:")?,
    };
    let setting = format!(
        "resident memory: {} API sessions on {} links, {LINES} lines of {} routes, {RATE}/s",
        run.report.sessions, run.report.links, plan.routes
    );
    println!(
        "\n{setting}\n  {:.1} MiB at the start, {:.1} MiB after the load, {:.1} MiB at most (bound {BOUND_MIB:.0} MiB)",
        resident.at_start, resident.after_load, resident.highest
    );
    let high = resident.highest;
    results::write("memory", &setting, (resident, run))?;
    if high > BOUND_MIB {
        return Err(format!(
            "the daemon needed {high:.1} MiB, more than {BOUND_MIB:.0} MiB"
        ));
    }
    Ok(())
}

/// A size in /proc/ID/status, in MiB.
fn status_mib(id: u32, name: &str) -> Result<f64, Failure> {
    let text = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let found = text.lines().find_map(|line| {
        line.strip_prefix(name)?
            .split_whitespace()
            .next()?
            .parse::<f64>()
            .ok()
    });
    found
        .map(|kib| kib / 1024.0)
        .ok_or_else(|| format!("/proc/{id}/status has no {name}"))
}
