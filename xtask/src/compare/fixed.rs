//! Latency at a fixed rate beside the disk's own: a transaction waits for three durable writes, one after the other, so
//! its median is held against the median of such a write on the same disk, measured twice: between the rounds on a
//! disk at rest, and beside the load, a few writes a second. Load and centre poll as the engine does, so that what is
//! measured is not how long a sleeping core takes to wake.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::results::Median;
use super::run::{Arrival, measure, start_sekishod};
use super::{CompareArgs, results};
use crate::Failure;
use crate::build::Programs;
use crate::process::words;
use crate::site::{Plan, fresh_dir};

/// The engine's core, and that of load and centre.
const CORES: (Option<usize>, Option<usize>) = (Some(0), Some(1));
/// Lines, with routes enough for the rate at any latency that would still be of interest.
const LINES: usize = 2;
const ROUTES: usize = 189;
/// How long the engine polls before it sleeps: at this rate it does not sleep.
const SPIN_US: u32 = 200;
/// A write of the probe, and its alignment.
const WRITE: usize = 4096;
/// The file that the probe writes round and round, as the journal does with its segments.
const FILE: usize = 16 << 20;
/// How long the probe writes between the rounds.
const PROBE: Duration = Duration::from_secs(1);
/// Between the probe's writes beside the load.
const BESIDE: Duration = Duration::from_millis(10);

/// The probe's latencies of a round, microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
struct Probe {
    writes: usize,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
}

/// Measures and prints it.
///
/// # Errors
/// The daemon does not start or dies, or the disk cannot be written as the journal writes it.
pub fn run(args: &CompareArgs, programs: &Programs, rate: u32) -> Result<(), Failure> {
    let dir = fresh_dir("compare-fixed")?;
    let plan = Plan {
        lines: LINES,
        routes: ROUTES,
        core: CORES.0,
        spin_us: SPIN_US,
        ..Plan::default()
    };
    let contestant = start_sekishod(
        "sekishod, durable",
        programs,
        &plan,
        dir.join("durable"),
        CORES,
        &["--spin"],
    )?;
    let path = dir.join("probe");
    let file = prepare(&path).map_err(|error| probe_failed(&path, &error))?;
    let failed = |error: io::Error| probe_failed(&path, &error);
    let (mut runs, mut alone, mut beside) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..args.rounds {
        let start = Instant::now();
        let resting = probe(&file, Duration::ZERO, || start.elapsed() < PROBE);
        alone.push(resting.map_err(failed)?);
        let more = words([&"--links", &"1", &"--spin", &"--gather-us", &"0"]);
        let over = AtomicBool::new(false);
        let (run, probed) = std::thread::scope(|scope| {
            let probing = scope.spawn(|| probe(&file, BESIDE, || !over.load(Ordering::Relaxed)));
            let run = measure(
                &contestant,
                programs,
                CORES.1,
                Arrival::Open(rate),
                args.seconds,
                &more,
            );
            over.store(true, Ordering::Relaxed);
            (run, probing.join())
        });
        runs.push(run?);
        beside.push(probed.map_err(|_| "the probe panicked")?.map_err(failed)?);
    }
    let setting = format!(
        "{rate}/s open loop, durable, {LINES} lines, {LINES} links; engine on core 0 polling {} us before it sleeps, load and centre \
         on core 1, polling",
        plan.spin_us
    );
    let summary = results::summary(&contestant.name, &runs);
    results::print_table(&setting, std::slice::from_ref(&summary), &runs);
    let p50 = summary.p50_us.median;
    for (name, probes) in [("at rest", &alone), ("beside the load", &beside)] {
        let disk = Median::of(probes.iter().map(|probe: &Probe| probe.p50_us));
        println!(
            "  a durable 4 KiB write of the same disk, {name}: p50 {:.0} us ({:.0}-{:.0}), p99 {:.0}, p99.9 {:.0}; a transaction's p50 is \
             {:.2} such writes",
            disk.median,
            disk.least,
            disk.most,
            Median::of(probes.iter().map(|probe| probe.p99_us)).median,
            Median::of(probes.iter().map(|probe| probe.p999_us)).median,
            p50 / disk.median,
        );
    }
    results::write("fixed", &setting, (summary, alone, beside, runs))
}

fn probe_failed(path: &Path, error: &io::Error) -> Failure {
    format!(
        "{} cannot be written with O_DIRECT and O_DSYNC: {error}",
        path.display()
    )
}

/// A block of memory aligned as O_DIRECT asks, with room around it.
struct Aligned {
    memory: Vec<u8>,
    start: usize,
}

impl Aligned {
    fn new() -> Aligned {
        let memory = vec![0x5a; WRITE * 2];
        let start = memory.as_ptr().align_offset(WRITE);
        Aligned { memory, start }
    }

    fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.start + WRITE]
    }
}

/// A file full of data, opened as the journal opens its segments.
fn prepare(path: &Path) -> io::Result<File> {
    let whole = File::create(path)?;
    for at in (0..FILE).step_by(1 << 20) {
        whole.write_all_at(&vec![0; 1 << 20], at as u64)?;
    }
    whole.sync_all()?;
    OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_DIRECT | libc::O_DSYNC)
        .open(path)
}

/// One write after the other, round the file, with a pause before each, for as long as `on` says.
fn probe(file: &File, pause: Duration, on: impl Fn() -> bool) -> io::Result<Probe> {
    let block = Aligned::new();
    let mut times_us = Vec::new();
    let mut at = 0;
    while on() || times_us.is_empty() {
        std::thread::sleep(pause);
        let before = Instant::now();
        file.write_all_at(block.bytes(), at)?;
        times_us.push(before.elapsed().as_nanos() as f64 / 1e3);
        at = (at + WRITE as u64) % FILE as u64;
    }
    times_us.sort_by(f64::total_cmp);
    let quantile = |share: f64| times_us[((times_us.len() - 1) as f64 * share) as usize];
    Ok(Probe {
        writes: times_us.len(),
        p50_us: quantile(0.5),
        p99_us: quantile(0.99),
        p999_us: quantile(0.999),
    })
}
