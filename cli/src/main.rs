//! `sekisho`, the operator's command. This file names the subcommands; each has a module of its own, which says what it
//! did on standard output and fails with sentences that name the thing, the reason and the way out.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod config;
mod failure;
mod journal;
mod order;
mod place;
mod status;
mod transaction;

use failure::{Exit, Failure};

/// The operator's command of Sekisho, the payment-centre gateway.
#[derive(Parser)]
#[command(name = "sekisho", version, after_help = Exit::HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check a configuration, or make one from an fx_cf.cf.
    #[command(subcommand)]
    Config(config::Command),
    /// Show how the lines of a running daemon stand.
    Status(status::Arguments),
    #[command(flatten)]
    Order(order::Command),
    #[command(flatten)]
    Transaction(transaction::Command),
    /// Read a journal, beside a running daemon or without one; card data is masked.
    #[command(subcommand)]
    Journal(journal::Command),
}

fn main() -> ExitCode {
    let command = match Arguments::try_parse() {
        Ok(Arguments { command }) => command,
        Err(error) => {
            // Help and version come this way too, and are no errors.
            let exit = if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Success
            };
            // Nothing is left to be done where even this cannot be written.
            let _ = error.print();
            return exit.into();
        }
    };
    let result = match command {
        Command::Config(command) => config::run(&command).map_err(Failure::from),
        Command::Status(arguments) => status::run(&arguments),
        Command::Order(command) => order::run(&command),
        Command::Transaction(command) => transaction::run(&command),
        Command::Journal(command) => journal::run(&command),
    };
    match result {
        Ok(()) => Exit::Success.into(),
        // Whoever read our output has seen enough.
        Err(Failure::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            Exit::Success.into()
        }
        Err(failure) => {
            eprintln!("{failure}");
            failure.exit().into()
        }
    }
}
