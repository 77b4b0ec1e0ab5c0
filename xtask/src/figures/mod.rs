//! `cargo xtask figures`: what `commerced` does in a second, on both databases, with its own simulators beside it.
//!
//! Everything runs as processes of their own on loopback; the databases write durably. Both cores are shared by all of them, so
//! the figures are of the whole: gateway, database, simulator and load. Databases take turns within a round.

mod atom;
mod frex;

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::{Args, ValueEnum};
use serde_json::Value;

use crate::Failure;
use crate::commerce::Programs;
use crate::demo::output_of;
use crate::postgres::Server;

/// Options of `cargo xtask figures`.
#[derive(Args, Clone, Debug)]
pub struct FiguresArgs {
    /// Only this flow
    #[arg(long, value_enum)]
    flow: Option<Flow>,
    /// Rounds in which the databases take turns
    #[arg(long, default_value_t = 3, value_name = "N")]
    rounds: usize,
    /// One round with little load: shows that it works, no more
    #[arg(long)]
    quick: bool,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Flow {
    /// Orders and payments over Atom
    Atom,
    /// Deferred payment
    Frex,
}

/// A database to be measured on.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Store {
    Sqlite,
    Postgres,
}

/// Both.
const STORES: [Store; 2] = [Store::Sqlite, Store::Postgres];

impl Store {
    fn name(self) -> &'static str {
        match self {
            Store::Sqlite => "SQLite",
            Store::Postgres => "PostgreSQL",
        }
    }

    /// A new, empty one.
    fn open(self, dir: &Path) -> Result<Database, Failure> {
        Ok(match self {
            Store::Sqlite => Database {
                url: format!("sqlite:{}", dir.join("commerce.db").display()),
                _server: None,
            },
            Store::Postgres => {
                let server = Server::start(true)?;
                Database {
                    url: server.url.clone(),
                    _server: Some(server),
                }
            }
        })
    }
}

/// An empty database; its server ends with it.
struct Database {
    url: String,
    _server: Option<Server>,
}

/// Measures what was asked for.
///
/// # Errors
/// Something does not build or start, or did not do what it should have done.
pub fn run(args: &FiguresArgs) -> Result<(), Failure> {
    println!("== building (release)");
    let programs = Programs::build()?;
    let rounds = if args.quick { 1 } else { args.rounds };
    if args.flow != Some(Flow::Frex) {
        atom::run(&programs, rounds, args.quick)?;
    }
    if args.flow != Some(Flow::Atom) {
        frex::run(&programs, rounds, args.quick)?;
    }
    Ok(())
}

/// Runs `loadgen` and reads the report that it writes.
///
/// # Errors
/// It ends otherwise than well; what it said is shown.
fn loadgen(programs: &Programs, dir: &Path, name: &str, args: &[&str]) -> Result<Value, Failure> {
    let report: PathBuf = dir.join(format!("{name}.json"));
    let mut command = Command::new(&programs.loadgen);
    command.args(args).arg("--json").arg(&report);
    let (said, good) = output_of(command)?;
    if !good {
        return Err(format!("loadgen {}: {said}", args[0]));
    }
    let text = std::fs::read_to_string(&report);
    let text = text.map_err(|error| format!("{}: {error}", report.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", report.display()))
}
