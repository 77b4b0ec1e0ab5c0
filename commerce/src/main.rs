//! `commerced`: the daemon of the order and refund flow, and of the deferred-payment worker.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use commerce::config::Config;
use commerce::{daemon, frex_commands, key_commands};

/// Orders, payments and refunds over the Atom gateway
#[derive(Parser)]
#[command(name = "commerced", version, args_conflicts_with_subcommands = true)]
#[command(arg_required_else_help = true)]
struct Arguments {
    /// Check a configuration and end, like `check FILE`
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until SIGTERM or SIGINT
    Serve {
        /// The configuration; commerce/commerced.sample.toml explains every key
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Check a configuration and the secrets it names, and end
    Check {
        /// The configuration
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Make, list and revoke API keys
    #[command(subcommand)]
    Key(key_commands::KeyCommand),
    /// See and decide what the deferred-payment worker does
    #[command(subcommand)]
    Frex(frex_commands::FrexCommand),
}

#[tokio::main]
async fn main() -> ExitCode {
    // Database, journal and log of this process are for its user alone.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let arguments = Arguments::parse();
    let done = match (arguments.check, arguments.command) {
        (Some(file), _) | (None, Some(Command::Check { file })) => check(&file),
        (None, Some(Command::Serve { config })) => serve(&config).await,
        (None, Some(Command::Key(command))) => key_commands::run(command).await,
        (None, Some(Command::Frex(command))) => frex_commands::run(command).await,
        (None, None) => unreachable!("clap asks for a command"),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn check(file: &std::path::Path) -> Result<(), String> {
    let config = daemon::load(file)?;
    for warning in daemon::warnings(&config) {
        println!("warning: {warning}");
    }
    println!("{}: in order", file.display());
    Ok(())
}

async fn serve(file: &std::path::Path) -> Result<(), String> {
    let config: Config = daemon::load(file)?;
    daemon::serve(config)
        .await
        .map_err(|error| error.to_string())
}
