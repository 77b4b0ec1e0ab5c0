//! `cargo xtask test` and `cargo xtask ci`.

use clap::Args;

use crate::Failure;
use crate::build::{cargo, need_cc, on_path, run};
use crate::packages;
use crate::postgres::{self, Server};

/// Options of `cargo xtask test`.
#[derive(Args, Clone, Debug)]
pub struct TestArgs {
    /// Names of tests to run, or further options of the test runner, as after `cargo nextest run` or `cargo test`
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "FILTER"
    )]
    rest: Vec<String>,
}

/// Builds the programs and libfxapi.so, which some tests start or load, starts a PostgreSQL and makes a schemathesis for them, then runs every test. The runner's summary comes
/// last, because that is where CI looks for it.
///
/// # Errors
/// Something does not build, or a test fails.
pub fn test(args: &TestArgs) -> Result<(), Failure> {
    need_cc()?;
    packages::need_all()?;
    let schemathesis = packages::schemathesis()?;
    run(cargo(&["build", "--workspace", "--bins", "--lib"]))?;
    let nextest = on_path("cargo-nextest").is_some();
    let mut tests = if nextest {
        if args.rest.is_empty() {
            run(cargo(&["test", "--workspace", "--doc", "--quiet"]))?;
        }
        let mut tests = cargo(&["nextest", "run", "--workspace", "--no-fail-fast"]);
        if std::env::var_os(THREADS).is_none() {
            tests.env(THREADS, threads().to_string());
        }
        tests
    } else {
        cargo(&["test", "--workspace", "--no-fail-fast"])
    };
    let server = Server::start(false)?;
    tests
        .args(&args.rest)
        .env(postgres::VARIABLE, &server.url)
        .env(packages::SCHEMATHESIS, schemathesis);
    run(tests)
}

/// Where nextest is told how many tests run at a time; an option of the command line goes before it.
const THREADS: &str = "NEXTEST_TEST_THREADS";

/// Tests at a time. Many wait for a timer of the daemon or for a database, so there are half as many again as cores.
fn threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    cores + cores.div_ceil(2)
}

/// Formatting, lints and tests.
///
/// # Errors
/// The first of them that fails.
pub fn ci() -> Result<(), Failure> {
    run(cargo(&["fmt", "--all", "--check"]))?;
    run(cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))?;
    test(&TestArgs { rest: Vec::new() })
}
