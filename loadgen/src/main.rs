//! `loadgen`: plays the centre, makes load, and holds the books against each other.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use loadgen::centre::cli::CentreCommand;

/// Plays card network centres, makes load, and reconciles what came of it.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Play a card network centre, and the issuers behind it
    #[command(subcommand)]
    Centre(CentreCommand),
}

fn main() -> ExitCode {
    let Options { command } = Options::parse();
    match command {
        Command::Centre(command) => conclude(loadgen::centre::cli::run(command)),
    }
}

/// Says what went wrong, if something did.
fn conclude(result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("loadgen: {problem}");
            ExitCode::FAILURE
        }
    }
}
