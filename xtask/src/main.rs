//! `cargo xtask`: what a developer or CI runs in this workspace. This file names the tasks; each has a module of its own.
//!
//! Tasks run the workspace's own programs as other people would, as processes, and know nothing of their insides. Every
//! process they start is ended by its id, also when the task fails or is interrupted, and every wait has a limit.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod build;
mod checks;
mod commerce;
mod compare;
mod control;
mod demo;
mod demo_atom;
mod demo_frex;
mod figures;
mod http;
mod packages;
mod ports;
mod postgres;
mod process;
mod site;

/// A task's failure, in one sentence for the one who ran it.
type Failure = String;

/// The tasks of the Sekisho workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Show the gateway at work, or the flow of orders and refunds: load, faults in the middle, and the books afterwards
    Demo(demo::DemoArgs),
    /// Build what the tests need and run every test of the workspace
    Test(checks::TestArgs),
    /// Formatting, lints and tests, as CI runs them
    Ci,
    /// Measure the gateway against a blind TCP relay, and what its parts cost
    Compare(compare::CompareArgs),
    /// Measure orders, callbacks, status queries and deferred payment, on SQLite and on PostgreSQL
    Figures(figures::FiguresArgs),
}

fn main() -> ExitCode {
    let Arguments { task } = Arguments::parse();
    let done = process::end_all_on_signals().and_then(|()| match task {
        Task::Demo(args) => demo::run(&args),
        Task::Test(args) => checks::test(&args),
        Task::Ci => checks::ci(),
        Task::Compare(args) => compare::run(&args),
        Task::Figures(args) => figures::run(&args),
    });
    process::end_all();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("cargo xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}
