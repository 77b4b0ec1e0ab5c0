//! `cargo xtask compare`: the gateway measured from outside, as design.md says ("How it is shown to be right").
//!
//! A polling loop burns its core whether it works or not, and block-layer threads of the kernel work for a process without
//! being part of it. So processor time is compared at equal, fixed, open-loop rates with polling off, and is given three
//! times: the process's own, with the kernel's threads, and the machine's busy time less its idle baseline and less the
//! load's own. Contestants take turns within one run, so that a machine that changes its pace changes it for all.

mod fixed;
mod lines;
mod load;
mod machine;
mod memory;
mod peak;
mod relay;
pub mod results;
mod run;

use clap::Args;

use crate::Failure;
use crate::build;

/// Options of `cargo xtask compare`. Without one of the first five it compares with the relay.
#[derive(Args, Clone, Debug)]
pub struct CompareArgs {
    /// The same load through sekishod durable, sekishod without syncs, and HAProxy in TCP mode, all on one core
    #[arg(long)]
    relay: bool,
    /// The durable peak: the engine on core 0, load and centre on core 1
    #[arg(long)]
    peak: bool,
    /// What a transaction costs at these numbers of lines, all on one core
    #[arg(long, value_delimiter = ',', value_name = "N,...", num_args = 0..=1, default_missing_value = "1,10,100,1000")]
    lines: Option<Vec<usize>>,
    /// Latency at this fixed rate, beside the durable write latency of the same disk
    #[arg(long, value_name = "RATE", num_args = 0..=1, default_missing_value = "20000")]
    fixed: Option<u32>,
    /// Resident memory with 1,000 API sessions under load
    #[arg(long)]
    memory: bool,
    /// All of these
    #[arg(long)]
    all: bool,
    /// Two rounds of two seconds: shows that it works, no more
    #[arg(long)]
    quick: bool,
    /// Rounds in which the contestants take turns
    #[arg(long, default_value_t = 5, value_name = "N")]
    rounds: usize,
    /// Seconds that each run is measured
    #[arg(long, default_value_t = 8, value_name = "S")]
    seconds: u64,
    /// Requests per second with 64 connections of one outstanding request each
    #[arg(long, default_value_t = 30_000, value_name = "RATE")]
    rate_single: u32,
    /// Requests per second with 64 connections of 16 outstanding requests each
    #[arg(long, default_value_t = 100_000, value_name = "RATE")]
    rate_deep: u32,
}

/// Runs what was asked for.
///
/// # Errors
/// Something is not installed, does not build, or does not do its work.
pub fn run(args: &CompareArgs) -> Result<(), Failure> {
    let mut args = args.clone();
    if args.quick {
        (args.rounds, args.seconds) = (2, 2);
    }
    if args.all {
        (args.relay, args.peak, args.memory) = (true, true, true);
        args.lines.get_or_insert_with(|| vec![1, 10, 100, 1000]);
        args.fixed.get_or_insert(20_000);
    }
    let named = args.peak || args.memory || args.lines.is_some() || args.fixed.is_some();
    let relay = args.relay || !named;
    let haproxy = if relay {
        Some(relay::find_haproxy()?)
    } else {
        None
    };
    let programs = build::release_programs()?;
    // One part that fails does not keep the others from their results.
    let mut failures = Vec::new();
    let mut note = |done: Result<(), Failure>| failures.extend(done.err());
    if let Some(haproxy) = haproxy {
        note(relay::run(&args, &programs, &haproxy));
    }
    if let Some(counts) = &args.lines {
        note(lines::run(&args, &programs, counts));
    }
    if let Some(rate) = args.fixed {
        note(fixed::run(&args, &programs, rate));
    }
    if args.peak {
        note(peak::run(&args, &programs));
    }
    if args.memory {
        note(memory::run(&args, &programs));
    }
    if failures.is_empty() {
        Ok(())
    } else {
        Err(failures.join("; "))
    }
}
