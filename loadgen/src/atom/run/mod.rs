//! `loadgen run-atom`: orders through `commerced`, with the simulator in the customer's place.
//!
//! An order is created, its payment started, and the customer acts at the simulator, which sends the callback; [`order`] is
//! that one order. [`bad`] sends callbacks that must have no effect. [`report`] is what comes out: orders per second, the
//! time of each step, and everything that did not go as it should. What the gateway says at the end is held against the
//! simulator's ledger by `loadgen books-atom`, not here.

pub mod api;
pub mod bad;
pub mod order;
pub mod report;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use tokio::sync::{Semaphore, mpsc};
use url::Url;

use api::Api;
use order::{Done, Plan};
use report::Report;

use super::sim::config::Identity;
use super::sim::faults::draw;

/// Exit code of a run in which something had an effect that it must not have, or went wrong on the way.
pub const EXIT_WRONG: u8 = 4;
/// Orders under way at a time when they begin at a fixed rate.
const OPEN_MAX: usize = 2048;

/// `loadgen run-atom`: drives orders and measures them.
#[derive(Args, Clone, Debug)]
pub struct RunAtomArgs {
    /// Where commerced listens
    #[arg(long, value_name = "URL")]
    pub gateway: Url,
    /// Where the simulator of Atom listens
    #[arg(long, value_name = "URL")]
    pub sim: Url,
    /// File with a merchant's API key
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// File with an operator's API key, to ask for requeries of lost callbacks
    #[arg(long, value_name = "FILE")]
    pub operator_key: Option<PathBuf>,
    /// Orders to drive
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub orders: u64,
    /// Orders that are driven first and not measured
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub warm_up: u64,
    /// Orders at a time; each worker begins the next when one is done
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub workers: usize,
    /// Begin so many orders a second instead, however long they take; times count from when an order should have begun
    #[arg(long, value_name = "N")]
    pub rate: Option<f64>,
    /// Percent of orders whose payment fails
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub failed: u8,
    /// Percent of orders whose callback is lost
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub lost: u8,
    /// Percent of paid orders that get a refund, half of them of a part
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub refund: u8,
    /// Percent of orders that meet one bad callback
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub bad: u8,
    /// After the run, send so many of its callbacks once more, by as many workers
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub duplicates: u64,
    /// After the run, wait so long for orders whose callback was lost to be paid
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub settle: u64,
    /// Begins every order reference; another for each run on the same books
    #[arg(long, value_name = "TEXT")]
    pub name: Option<String>,
    /// Decides what happens to which order
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Write the result as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// Runs `loadgen run-atom`: prints the result; the exit code is 0, 1 if it could not run, 4 if something was wrong.
#[must_use]
pub fn main(args: &RunAtomArgs) -> ExitCode {
    match run(args) {
        Ok(report) => {
            print!("{report}");
            if report.wrong() == 0 {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(EXIT_WRONG)
            }
        }
        Err(problem) => {
            eprintln!("loadgen run-atom: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// A key from its file, without what surrounds it.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn key_of(path: &std::path::Path) -> Result<String, String> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(text.trim().to_owned())
}

/// Drives the orders.
///
/// # Errors
/// One sentence: the options make no sense, or the programs cannot be reached.
pub fn run(args: &RunAtomArgs) -> Result<Report, String> {
    let operator = args.operator_key.as_deref().map(key_of).transpose()?;
    let api = Api::new(
        args.gateway.clone(),
        args.sim.clone(),
        key_of(&args.key)?,
        operator,
    )?;
    if args.rate.is_some_and(|rate| rate <= 0.0) {
        return Err("--rate: must be more than 0".to_owned());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
    let report = runtime.block_on(drive(args, Arc::new(api)))?;
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?;
        std::fs::write(path, text + "\n")
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(report)
}

/// What decides about each order, the same for the same seed.
fn plan(args: &RunAtomArgs, name: &str, number: u64) -> Plan {
    let lot = |which: u64| (draw(&[args.seed, number, which]) * 100.0) as u8;
    let failed = lot(1) < args.failed;
    Plan {
        reference: format!("{name}-{number}"),
        amount: 10_000 + (draw(&[args.seed, number, 5]) * 90_000.0) as i64,
        failed,
        lost: !failed && lot(2) < args.lost,
        refund: (lot(3) < args.refund).then_some(lot(6) < 50),
        bad: (lot(4) < args.bad).then_some(draw(&[args.seed, number, 7])),
    }
}

async fn drive(args: &RunAtomArgs, api: Arc<Api>) -> Result<Report, String> {
    let name = args
        .name
        .clone()
        .unwrap_or_else(|| format!("RUN{:x}", rand::random::<u32>()));
    let bad = Arc::new(bad::Forger::new(Identity {
        merch_id: api.merch_id().await?,
        ..Identity::default()
    }));
    let mut warm = Report::default();
    let mut waiting = Vec::new();
    for number in 0..args.warm_up {
        let plan = plan(args, &format!("{name}-W"), number);
        let done = order::drive(&api, &bad, &plan, Instant::now()).await;
        warm.add(&done);
        waiting.extend(done.waiting);
    }
    if let Some((what, count)) = warm.errors.first_key_value() {
        return Err(format!(
            "of {} orders before the measurement {count} ended with: {what}",
            args.warm_up
        ));
    }
    let (to, mut done) = mpsc::unbounded_channel::<Done>();
    let next = Arc::new(AtomicU64::new(0));
    let begin = Instant::now();
    let args_shared = Arc::new(args.clone());
    match args.rate {
        Some(rate) => {
            let (args, name) = (Arc::clone(&args_shared), name.clone());
            tokio::spawn(at_rate(args, name, rate, begin, Arc::clone(&api), bad, to));
        }
        None => {
            for _ in 0..args.workers.max(1) {
                let (api, bad, to) = (Arc::clone(&api), Arc::clone(&bad), to.clone());
                let (next, args, name) =
                    (Arc::clone(&next), Arc::clone(&args_shared), name.clone());
                tokio::spawn(async move {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= args.orders {
                            break;
                        }
                        let plan = plan(&args, &name, number);
                        let done = order::drive(&api, &bad, &plan, Instant::now()).await;
                        // Nobody listens only when the run was given up.
                        let _ = to.send(done);
                    }
                });
            }
            drop(to);
        }
    }
    let mut report = Report::default();
    let mut callbacks = Vec::new();
    while let Some(done) = done.recv().await {
        report.add(&done);
        waiting.extend(done.waiting);
        callbacks.extend(done.callback);
    }
    report.finish(begin.elapsed(), args);
    if args.duplicates > 0 && !callbacks.is_empty() {
        send_again(&api, callbacks, args, &mut report).await;
    }
    settle(&api, waiting, Duration::from_secs(args.settle), &mut report).await;
    Ok(report)
}

/// Begins orders at fixed times. One that finds too many under way waits, and the wait counts.
async fn at_rate(
    args: Arc<RunAtomArgs>,
    name: String,
    rate: f64,
    begin: Instant,
    api: Arc<Api>,
    bad: Arc<bad::Forger>,
    to: mpsc::UnboundedSender<Done>,
) {
    let room = Arc::new(Semaphore::new(OPEN_MAX));
    for number in 0..args.orders {
        let intended = begin + Duration::from_secs_f64(number as f64 / rate);
        tokio::time::sleep_until(intended.into()).await;
        let Ok(place) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let plan = plan(&args, &name, number);
        let (api, bad, to) = (Arc::clone(&api), Arc::clone(&bad), to.clone());
        tokio::spawn(async move {
            // As above: nobody listens only when the run was given up.
            let _ = to.send(order::drive(&api, &bad, &plan, intended).await);
            drop(place);
        });
    }
}

/// Sends callbacks that were taken once more, one after the other and again from the first.
async fn send_again(
    api: &Arc<Api>,
    callbacks: Vec<String>,
    args: &RunAtomArgs,
    report: &mut Report,
) {
    let (callbacks, next) = (Arc::new(callbacks), Arc::new(AtomicU64::new(0)));
    let (to, mut answers) = mpsc::unbounded_channel();
    let begin = Instant::now();
    for _ in 0..args.workers.max(1) {
        let (api, to, total) = (Arc::clone(api), to.clone(), args.duplicates);
        let (callbacks, next) = (Arc::clone(&callbacks), Arc::clone(&next));
        tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= total {
                    break;
                }
                let body = callbacks[number as usize % callbacks.len()].clone();
                // Nobody listens only when the run was given up.
                let _ = to.send(api.callback(body).await);
            }
        });
    }
    drop(to);
    while let Some(answer) = answers.recv().await {
        report.add_duplicate(answer);
    }
    report.duplicates_per_second = args.duplicates as f64 / begin.elapsed().as_secs_f64();
}

/// Waits until the orders whose callback was lost are paid, pulling the query where an operator's key allows it.
async fn settle(api: &Api, mut waiting: Vec<String>, limit: Duration, report: &mut Report) {
    let end = Instant::now() + limit;
    if !limit.is_zero() {
        for order in &waiting {
            api.requery(order).await;
        }
    }
    while !waiting.is_empty() && Instant::now() < end {
        let mut still = Vec::new();
        for order in waiting {
            match api.status(&order).await.as_deref() {
                Ok("paid") => report.settled += 1,
                _ => still.push(order),
            }
        }
        waiting = still;
        if !waiting.is_empty() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    report.unsettled = waiting.len() as u64;
}
