//! One contestant, one load, one stretch of time: the figures that all comparisons are made of.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::load::{Load, Report};
use super::machine::{Meter, Used, baseline};
use crate::Failure;
use crate::build::Programs;
use crate::process::{Process, words};
use crate::site::{Plan, Site};

/// Seconds before the measured ones.
const WARMUP: u64 = 1;
/// How long the machine is watched at rest before each run.
const REST: Duration = Duration::from_millis(1500);
/// How much longer than its measured seconds a load may take.
const MARGIN: Duration = Duration::from_secs(60);
/// The generator shares its core with what it loads, so it lags by turns of the scheduler: this much is let pass.
const LAG_US: &str = "20000";

/// A thing in the middle that runs, with the far end behind it.
pub struct Contestant {
    /// What tables call it.
    pub name: String,
    /// It.
    pub middle: Process,
    /// The centre or the echo behind it.
    pub far: Process,
    /// The options with which the load finds it.
    pub options: Vec<OsString>,
    /// Where its files are.
    pub dir: PathBuf,
}

/// A daemon and its centre on their cores; `centre` are further options of the centre.
///
/// # Errors
/// One of them does not start.
pub fn start_sekishod(
    name: &str,
    programs: &Programs,
    plan: &Plan,
    dir: PathBuf,
    cores: (Option<usize>, Option<usize>),
    centre: &[&str],
) -> Result<Contestant, Failure> {
    let site = Site::prepare(&dir, plan)?;
    let middle = site.start_daemon(programs, cores.0)?;
    let options = [&["--no-ledger"], centre].concat();
    let (far, _) = site.start_centre(programs, cores.1, &options)?;
    Ok(Contestant {
        name: name.to_owned(),
        middle,
        far,
        options: site.load_options(),
        dir,
    })
}

/// How a load arrives.
#[derive(Clone, Copy, Debug)]
pub enum Arrival {
    /// At a fixed rate, whatever happens.
    Open(u32),
    /// As fast as it is answered.
    Closed,
}

/// The figures of one run. Costs are processor seconds per million transactions.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// Who was measured.
    pub contestant: String,
    /// The load's report.
    pub report: Report,
    /// Of the process in the middle.
    pub process: f64,
    /// The same with the kernel's threads, less what these take at rest.
    pub with_kernel: f64,
    /// The machine's busy time, less what it is at rest and less the load's own.
    pub machine: f64,
    /// The share of the machine that was busy at rest, 0 to 1.
    pub rest: f64,
}

/// Measures a contestant under a load on a core.
///
/// # Errors
/// The load fails, or one of the processes has died.
pub fn measure(
    contestant: &Contestant,
    programs: &Programs,
    core: Option<usize>,
    arrival: Arrival,
    seconds: u64,
    more: &[OsString],
) -> Result<Measured, Failure> {
    let ids = (contestant.middle.id(), contestant.far.id());
    let rest = baseline(ids.0, ids.1, REST);
    let (warmup, duration) = (WARMUP.to_string(), seconds.to_string());
    let mut args = words([
        &"--warmup",
        &warmup,
        &"--duration",
        &duration,
        &"--drain",
        &"20",
    ]);
    args.extend(words([
        &"--lag-p99-us",
        &LAG_US,
        &"--late-us",
        &LAG_US,
        &"--late-percent",
        &"2",
    ]));
    match arrival {
        Arrival::Open(rate) => args.extend(words([&"--rate", &rate.to_string()])),
        Arrival::Closed => args.extend(words([&"--closed"])),
    }
    args.extend(contestant.options.iter().cloned());
    args.extend(more.iter().cloned());
    let limit = Duration::from_secs(WARMUP + seconds) + MARGIN;
    let meter = Meter::start(ids.0, ids.1);
    let load = Load {
        programs,
        args,
        core,
        dir: &contestant.dir,
        limit,
    };
    let (report, load_ns) = load.run()?;
    let used = meter.stop();
    for process in [&contestant.middle, &contestant.far] {
        if !process.alive() {
            return Err(process.failed("died under the load"));
        }
    }
    Ok(figures(contestant, report, load_ns, &used, &rest))
}

/// Puts the figures of a run together.
fn figures(
    contestant: &Contestant,
    report: Report,
    load_ns: u64,
    used: &Used,
    rest: &Used,
) -> Measured {
    let at_rest = |ns: u64| ns as f64 * used.wall_ns as f64 / rest.wall_ns.max(1) as f64;
    let million = report.sent.max(1) as f64 / 1e6;
    let seconds = |ns: f64| ns / 1e9 / million;
    let kernel = used.kernel_ns as f64 - at_rest(rest.kernel_ns);
    let load = (load_ns + used.far_ns + used.own_ns) as f64;
    let busy_at_rest = at_rest(rest.rest_ns());
    Measured {
        contestant: contestant.name.clone(),
        process: seconds(used.middle_ns as f64),
        with_kernel: seconds(used.middle_ns as f64 + kernel.max(0.0)),
        // Below nothing when the rest was not at rest: then it says so.
        machine: seconds(used.busy_ns as f64 - busy_at_rest - load),
        rest: rest.idle_share(),
        report,
    }
}
