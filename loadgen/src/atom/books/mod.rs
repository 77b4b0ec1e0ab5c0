//! `loadgen books-atom`: holds what `commerced` says of orders and refunds against what the simulator knows of the money.
//!
//! Everything comes over the public interfaces of both: orders, refunds and issues from the operator's calls, payments and refunds from the simulator's ledger. [`rules`] says what the two may look like together
//! (`spec/atom.md` 21, invariants 1 to 6).

pub mod fetch;
pub mod rules;
#[cfg(test)]
mod rules_tests;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use url::Url;

use rules::{Findings, compare};

use super::run::key_of;
use crate::books::EXIT_DISAGREE;

/// `loadgen books-atom`: compares commerced with the simulator's ledger.
#[derive(Args, Clone, Debug)]
pub struct BooksAtomArgs {
    /// Where commerced listens
    #[arg(long, value_name = "URL")]
    pub gateway: Url,
    /// Where the simulator of Atom listens
    #[arg(long, value_name = "URL")]
    pub sim: Url,
    /// File with an operator's API key
    #[arg(long, value_name = "FILE")]
    pub operator_key: PathBuf,
    /// A capture may be so young that no status query has found it yet
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub horizon: u64,
    /// How many disagreements to list
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub list: usize,
    /// Write the findings as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// Runs `loadgen books-atom`: prints the findings; the exit code is 0 if the books agree, 1 if they could not be read, 4 if
/// they disagree.
#[must_use]
pub fn main(args: &BooksAtomArgs) -> ExitCode {
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
            eprintln!("loadgen books-atom: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Reads both books and compares them.
///
/// # Errors
/// One sentence: a book cannot be read. That they disagree is no error.
pub fn run(args: &BooksAtomArgs) -> Result<Findings, String> {
    let fetch = fetch::Fetch::new(
        args.gateway.clone(),
        args.sim.clone(),
        key_of(&args.operator_key)?,
    )?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
    let books = runtime.block_on(fetch.books())?;
    let findings = compare(&books, args.horizon.saturating_mul(1000) as i64);
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&findings).map_err(|error| error.to_string())?;
        std::fs::write(path, text + "\n")
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(findings)
}
