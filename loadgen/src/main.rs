//! `loadgen`: plays the centre, makes load, and holds the books against each other.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use loadgen::atom;
use loadgen::backlog;
use loadgen::books::{self, BooksArgs};
use loadgen::centre::cli::CentreCommand;
use loadgen::frex;
use loadgen::run::echo::{self, EchoArgs};
use loadgen::run::{self, options::RunArgs};

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
    /// Send requests at times decided beforehand, and measure from these times
    Run(Box<RunArgs>),
    /// Answer plain centre frames with themselves, for comparisons with a blind relay
    Echo(EchoArgs),
    /// Drive orders through commerced, with the simulator of Atom in the customer's place, and measure them
    RunAtom(Box<atom::run::RunAtomArgs>),
    /// Make a backlog of payments whose callbacks were lost, and measure how fast commerced's status queries work it off
    DrainAtom(backlog::DrainAtomArgs),
    /// Hold commerced's orders and refunds against the ledger of the simulator of Atom
    BooksAtom(atom::books::BooksAtomArgs),
    /// Put orders into the shop's side of deferred payment, and measure a worker that brings them through all stages
    RunFrex(Box<frex::run::RunFrexArgs>),
    /// A worker of deferred payment for `run-frex`, until its standard input ends
    #[command(hide = true)]
    FrexWorker(frex::run::worker::FrexWorkerArgs),
    /// Hold the deferred-payment worker's tables against the ledger of the simulated agency
    BooksFrex(frex::books::BooksFrexArgs),
    /// Hold the application's book, the journal and the centre's ledger against each other
    Books(BooksArgs),
}

fn main() -> ExitCode {
    let Options { command } = Options::parse();
    match command {
        Command::Centre(command) => conclude(loadgen::centre::cli::run(command)),
        Command::Run(args) => run::main(&args),
        Command::Echo(args) => echo::main(&args),
        Command::RunAtom(args) => atom::run::main(&args),
        Command::DrainAtom(args) => backlog::main(&args),
        Command::BooksAtom(args) => atom::books::main(&args),
        Command::RunFrex(args) => frex::run::main(&args),
        Command::FrexWorker(args) => frex::run::worker::main(&args),
        Command::BooksFrex(args) => frex::books::main(&args),
        Command::Books(args) => books::main(&args),
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
