//! `loadgen centre frex`: options, and the process around a [`Centre`].

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::signal::unix::{SignalKind, signal};

use super::clock::Clock;
use super::faults::Fault;
use super::rules::Rules;
use super::server::{Centre, Options};

/// Which time the simulator has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Time {
    /// The system's
    System,
    /// One that moves only by POST /_sim/clock
    Held,
}

/// Options of `loadgen centre frex`.
#[derive(Debug, Args)]
pub struct FrexArgs {
    /// Loopback address of the agency's interfaces; port 0 lets the system choose, and the choice is printed
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Loopback address of /_sim/ alone, which answers also while connections are refused
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    control: SocketAddr,
    /// User name of HTTP Basic
    #[arg(long, value_name = "CODE", default_value = "shop")]
    shop_code: String,
    /// Password of HTTP Basic; may be repeated while it changes
    #[arg(long = "password", value_name = "PASSWORD", default_value = "password")]
    passwords: Vec<String>,
    /// Value of X-NP-Terminal-Id
    #[arg(long, value_name = "ID", default_value = "terminal")]
    terminal_id: String,
    /// How the agency decides, as JSON (the body of POST /_sim/rules)
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// Faults from the start, as a JSON list
    #[arg(long, value_name = "FILE")]
    faults: Option<PathBuf>,
    /// The simulator's time
    #[arg(long, value_enum, default_value_t = Time::System)]
    time: Time,
    /// Where a held time starts
    #[arg(long, value_name = "RFC3339", default_value = "2025-01-15T00:00:00Z")]
    start: String,
    /// Decides every probability
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Write the ledger here at the end
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
}

impl FrexArgs {
    fn options(&self) -> Result<Options, String> {
        let clock = match self.time {
            Time::System => Clock::System { ahead_ms: 0 },
            Time::Held => {
                let start = OffsetDateTime::parse(&self.start, &Rfc3339);
                let start = start.map_err(|error| format!("--start {}: {error}", self.start))?;
                Clock::Held {
                    now_ms: start.unix_timestamp() * 1_000,
                }
            }
        };
        Ok(Options {
            listen: self.listen,
            control: self.control,
            shop_code: self.shop_code.clone(),
            passwords: self.passwords.clone(),
            terminal_id: self.terminal_id.clone(),
            rules: read(self.rules.as_deref())?.unwrap_or_else(Rules::default),
            clock,
            seed: self.seed,
        })
    }
}

/// Plays the agency until SIGINT or SIGTERM, then writes the ledger.
///
/// # Errors
/// One sentence for the operator.
pub fn run(args: &FrexArgs) -> Result<(), String> {
    let options = args.options()?;
    let faults: Vec<Fault> = read(args.faults.as_deref())?.unwrap_or_default();
    let runtime = tokio::runtime::Runtime::new();
    let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
    runtime.block_on(async {
        let signals = (
            signal(SignalKind::interrupt()),
            signal(SignalKind::terminate()),
        );
        let (Ok(mut interrupt), Ok(mut terminate)) = signals else {
            return Err("signals cannot be caught".to_owned());
        };
        let centre = Centre::start(options).await;
        let centre = centre.map_err(|error| format!("--listen or --control: {error}"))?;
        centre.set_faults(faults);
        println!("control http://{}", centre.control);
        println!("ready http://{}", centre.address);
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        let ledger = centre.ledger();
        let bills: usize = ledger.transactions.iter().map(|it| it.bills.len()).sum();
        println!(
            "transactions={} bills={bills} received={} late={}",
            ledger.transactions.len(),
            ledger.received.len(),
            ledger.late
        );
        let Some(path) = &args.ledger else {
            return Ok(());
        };
        let text = serde_json::to_string(&ledger).map_err(|error| error.to_string())?;
        std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
    })
}

/// A JSON file, if one is given.
fn read<T: serde::de::DeserializeOwned>(path: Option<&Path>) -> Result<Option<T>, String> {
    let Some(path) = path else {
        return Ok(None);
    };
    let name = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
    let value = serde_json::from_str(&text).map_err(|error| format!("{name}: {error}"))?;
    Ok(Some(value))
}
