//! `loadgen run-frex`: puts orders into the shop's side, has the worker bring them through all stages, and measures it.
//!
//! The worker is a process of its own ([`worker`]), as in service. Orders are placed through the shop's own code, many in one
//! transaction, because placing is not what is measured. What is measured is read from the tables ([`report`]): when each order
//! was registered, approved and billed. Besides, any number of orders can stand open at the agency's hold, which every step has to
//! pass over.
//!
//! Unlike the simulator and the books, this module uses `commerce`: it makes work, it judges nothing.

pub mod place;
pub mod report;
pub mod worker;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use commerce::store::{Store, StoreSettings};
use url::Url;

use place::Shares;
use report::Report;
use worker::{Running, WorkerProcess};

/// How often the tables are looked at.
const LOOK: Duration = Duration::from_millis(200);

/// `loadgen run-frex`: orders through all stages of deferred payment.
#[derive(Args, Clone, Debug)]
pub struct RunFrexArgs {
    /// The worker's database: sqlite:PATH or postgres://...
    #[arg(long, value_name = "URL")]
    pub database: String,
    /// Where the simulated agency listens
    #[arg(long, value_name = "URL")]
    pub agency: Url,
    /// Orders to bring through all stages
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub orders: u32,
    /// Orders that stand open beside them, held by the agency's screening
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub open: u32,
    /// Of the orders, how many per cent are changed while they are registered
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub changed: u32,
    /// Of the orders, how many per cent are cancelled while they are registered
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub cancelled: u32,
    /// Give up after
    #[arg(long, value_name = "SECONDS", default_value_t = 170)]
    pub limit: u64,
    /// Settings of the worker, as JSON: the keys of [frex.worker]
    #[arg(long, value_name = "JSON", default_value = "{\"interval_s\": 1}")]
    pub settings: String,
    /// Write the report as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// Runs `loadgen run-frex`: prints the report; the exit code is 1 if something failed or not every order came to its end in time.
#[must_use]
pub fn main(args: &RunFrexArgs) -> ExitCode {
    match run(args) {
        Ok(report) => {
            print!("{}", report.shown());
            if report.whole() {
                ExitCode::SUCCESS
            } else {
                eprintln!(
                    "loadgen run-frex: not every order came to its end within {} s",
                    args.limit
                );
                ExitCode::FAILURE
            }
        }
        Err(problem) => {
            eprintln!("loadgen run-frex: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Makes the load and measures it.
///
/// # Errors
/// One sentence: the database, the agency or the worker's process fails.
pub fn run(args: &RunFrexArgs) -> Result<Report, String> {
    if args.changed + args.cancelled > 100 {
        return Err(
            "--changed and --cancelled are parts of the same orders: together at most 100"
                .to_owned(),
        );
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
    let report = runtime.block_on(drive(args))?;
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?;
        std::fs::write(path, text + "\n")
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(report)
}

async fn drive(args: &RunFrexArgs) -> Result<Report, String> {
    let store = Store::open(&args.database, &StoreSettings::default()).await;
    let store = store.map_err(|error| format!("--database: {error}"))?;
    let shop = worker::shop(store, &args.settings)?;
    let fail = |error: &dyn std::fmt::Display| format!("the orders could not be placed: {error}");
    place::open_ones(&shop, args.open)
        .await
        .map_err(|error| fail(&error))?;
    let orders = place::orders(&shop, args.orders)
        .await
        .map_err(|error| fail(&error))?;
    place::analyse(&shop).await.map_err(|error| fail(&error))?;
    let began = Instant::now();
    let began_ms = shop.clock.now_ms();
    let mut process: Running = WorkerProcess {
        database: &args.database,
        agency: &args.agency,
        settings: &args.settings,
    }
    .start()?;
    let shares = Shares {
        changed: args.changed,
        cancelled: args.cancelled,
    };
    let acting = tokio::spawn(place::act(shop.clone(), orders, shares));
    let limit = began + Duration::from_secs(args.limit);
    let mut report = loop {
        tokio::time::sleep(LOOK).await;
        process.alive()?;
        let report = Report::read(&shop.store, began_ms).await;
        let report = report.map_err(|error| format!("--database: {error}"))?;
        if report.whole() || Instant::now() > limit {
            break report;
        }
    };
    report.seconds = began.elapsed().as_secs_f64();
    process.end()?;
    if report.whole() {
        let acted = acting.await.map_err(|error| error.to_string())?;
        (report.changed, report.cancels) = acted.map_err(|error| fail(&error))?;
    } else {
        acting.abort();
    }
    Ok(report)
}
