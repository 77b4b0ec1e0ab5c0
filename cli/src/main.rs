//! `sekisho`, the operator's command. This file names the subcommands; each has a module of its own, which says what it
//! did on standard output and fails with sentences that name the thing, the reason and the way out.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod config;

/// The operator's command of Sekisho, the payment-centre gateway.
#[derive(Parser)]
#[command(name = "sekisho", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check a configuration, or make one from an fx_cf.cf.
    #[command(subcommand)]
    Config(config::Command),
}

fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    let result = match command {
        Command::Config(command) => config::run(&command),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}
