//! `loadgen books-frex`: holds the tables of the deferred-payment worker against what the agency really did.
//!
//! The tables are read by plain statements, not by the worker's code, and the agency's book comes from the simulator: over
//! `GET /_sim/ledger`, or from the file it wrote at its end. [`rules`] says what the two may look like together
//! (`spec/frex.md` 10.4, 17): nothing billed twice, amounts agree, nothing stuck, nothing lost.

pub mod fetch;
pub mod rules;
#[cfg(test)]
mod rules_tests;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use url::Url;

use rules::{Books, Findings, compare};

use crate::books::EXIT_DISAGREE;

/// `loadgen books-frex`: compares the worker's tables with the agency's ledger.
#[derive(Args, Clone, Debug)]
pub struct BooksFrexArgs {
    /// The worker's database: sqlite:PATH or postgres://...
    #[arg(long, value_name = "URL")]
    pub database: String,
    /// Where the simulated agency answers /_sim/ledger
    #[arg(long, value_name = "URL", required_unless_present = "ledger")]
    pub sim: Option<Url>,
    /// The ledger that the simulated agency wrote at its end, instead of asking it
    #[arg(long, value_name = "FILE", conflicts_with = "sim")]
    pub ledger: Option<PathBuf>,
    /// The worker is still at work: an order in progress is no disagreement yet
    #[arg(long)]
    pub running: bool,
    /// How many disagreements to list
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub list: usize,
    /// Write the findings as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// Runs `loadgen books-frex`: prints the findings; the exit code is 0 if the books agree, 1 if they could not be read, 4 if
/// they disagree.
#[must_use]
pub fn main(args: &BooksFrexArgs) -> ExitCode {
    match run(args) {
        Ok(findings) => {
            print!("{}", findings.shown(args.list));
            if findings.agree() {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(EXIT_DISAGREE)
            }
        }
        Err(problem) => {
            eprintln!("loadgen books-frex: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Reads both books and compares them.
///
/// # Errors
/// One sentence: a book cannot be read. That they disagree is no error.
pub fn run(args: &BooksFrexArgs) -> Result<Findings, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
    let books: Books = runtime.block_on(async {
        let tables = fetch::tables(&args.database).await?;
        // The ledger last: what the agency did in between is seen as newer than the tables, never the other way round.
        let ledger = match (&args.sim, &args.ledger) {
            (Some(sim), _) => fetch::ledger(sim).await?,
            (None, Some(path)) => fetch::ledger_file(path)?,
            (None, None) => return Err("--sim or --ledger is needed".to_owned()),
        };
        Ok::<_, String>(Books { tables, ledger })
    })?;
    let findings = compare(&books, args.running);
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&findings).map_err(|error| error.to_string())?;
        std::fs::write(path, text + "\n")
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(findings)
}
