//! The worker in a process of its own: `loadgen frex-worker`, which `loadgen run-frex` starts and ends.

use std::io::Read as _;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use commerce::clock::Clock;
use commerce::frex::agency::NoObserver;
use commerce::frex::agency::design::DesignClient;
use commerce::frex::agency::settings::{AgencySettings, Protocol};
use commerce::frex::settings::WorkerSettings;
use commerce::frex::shop::Shop;
use commerce::frex::vault::Vault;
use commerce::frex::worker::{Parts, RunError, Worker};
use commerce::points::Points;
use commerce::store::{Store, StoreSettings};
use url::Url;
use zeroize::Zeroizing;

/// Between two looks whether a run is due.
const PAUSE: Duration = Duration::from_millis(50);
/// The key of invented buyers.
const KEY: [u8; 32] = [7; 32];

/// `loadgen frex-worker`: a worker that runs until its standard input ends.
#[derive(Args, Clone, Debug)]
pub struct FrexWorkerArgs {
    /// The worker's database
    #[arg(long, value_name = "URL")]
    pub database: String,
    /// Where the simulated agency listens
    #[arg(long, value_name = "URL")]
    pub agency: Url,
    /// Settings of the worker, as JSON
    #[arg(long, value_name = "JSON")]
    pub settings: String,
}

/// The shop's side of a database, with the settings given as JSON.
///
/// # Errors
/// One sentence: the settings are wrong.
pub fn shop(store: Store, settings: &str) -> Result<Shop, String> {
    let settings: WorkerSettings =
        serde_json::from_str(settings).map_err(|error| format!("--settings: {error}"))?;
    settings
        .check()
        .map_err(|error| format!("--settings: {error}"))?;
    let vault = Vault::new(&[("load".to_owned(), Zeroizing::new(KEY.to_vec()))]);
    Ok(Shop {
        store,
        vault: Arc::new(vault.map_err(|error| error.to_string())?),
        clock: Clock::system(),
        settings: Arc::new(settings),
        protocol: Protocol::Design,
        points: Points::none(),
    })
}

/// Runs `loadgen frex-worker`.
#[must_use]
pub fn main(args: &FrexWorkerArgs) -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| format!("no runtime: {error}"));
    match runtime.and_then(|runtime| runtime.block_on(work(args))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("loadgen frex-worker: {problem}");
            ExitCode::FAILURE
        }
    }
}

async fn work(args: &FrexWorkerArgs) -> Result<(), String> {
    let store = Store::open(&args.database, &StoreSettings::default()).await;
    let shop = shop(store.map_err(|error| error.to_string())?, &args.settings)?;
    let settings = AgencySettings {
        base_url: args.agency.as_str().trim_end_matches('/').to_owned(),
        shop_code: "shop".into(),
        terminal_id: "terminal".into(),
        ..AgencySettings::default()
    };
    let agency = DesignClient::new(&settings, vec!["password".into()], Arc::new(NoObserver));
    let worker = Worker::new(Parts {
        agency: Arc::new(agency.map_err(|error| error.to_string())?),
        store: shop.store,
        vault: shop.vault,
        clock: shop.clock,
        settings: shop.settings,
        points: Points::none(),
        owner: format!("load-{}", std::process::id()),
    });
    let (ended, mut end) = tokio::sync::watch::channel(false);
    std::thread::spawn(move || {
        // Whatever is read is nothing to us; only its end is.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        ended.send_replace(true);
    });
    while !*end.borrow() {
        match worker.run_if_due().await {
            Ok(_) | Err(RunError::Held(_)) => {}
            Err(error) => return Err(error.to_string()),
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            _ = end.changed() => {}
        }
    }
    Ok(())
}

/// How the process is started.
pub struct WorkerProcess<'a> {
    /// Its database.
    pub database: &'a str,
    /// Its agency.
    pub agency: &'a Url,
    /// Its settings as JSON.
    pub settings: &'a str,
}

/// The process at work. Dropped, it is killed.
pub struct Running(Child);

impl WorkerProcess<'_> {
    /// Starts this program once more.
    ///
    /// # Errors
    /// One sentence.
    pub fn start(&self) -> Result<Running, String> {
        let program = std::env::current_exe().map_err(|error| format!("this program: {error}"))?;
        let child = Command::new(program)
            .args(["frex-worker", "--database", self.database])
            .args([
                "--agency",
                self.agency.as_str(),
                "--settings",
                self.settings,
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn();
        Ok(Running(child.map_err(|error| {
            format!("the worker's process does not start: {error}")
        })?))
    }
}

impl Running {
    /// Holds that it still runs.
    ///
    /// # Errors
    /// It has ended.
    pub fn alive(&mut self) -> Result<(), String> {
        match self.0.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(format!("the worker's process ended early: {status}")),
            Err(error) => Err(format!("the worker's process: {error}")),
        }
    }

    /// Lets it end its run, and waits for it.
    ///
    /// # Errors
    /// It ended with an error.
    pub fn end(mut self) -> Result<(), String> {
        drop(self.0.stdin.take());
        match self.0.wait() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("the worker's process ended with {status}")),
            Err(error) => Err(format!("the worker's process: {error}")),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Gone already, or now.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
