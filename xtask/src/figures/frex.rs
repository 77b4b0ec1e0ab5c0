//! Deferred payment: orders through all stages beside many that stand open.

use serde::Serialize;
use serde_json::Value;

use super::{STORES, Store, loadgen};
use crate::Failure;
use crate::commerce::{Programs, READY_MAX, ask};
use crate::compare::results::{self, Median};
use crate::process::END_MAX;
use crate::site::fresh_dir;

/// One database in one round.
#[derive(Serialize)]
struct Round {
    store: &'static str,
    /// Orders that came through all stages in a minute.
    per_minute: f64,
    /// `loadgen run-frex`.
    report: Value,
}

/// Measures, prints and writes it.
///
/// # Errors
/// Something did not start, an order did not come to its end, or one was billed twice.
pub fn run(programs: &Programs, rounds: usize, quick: bool) -> Result<(), Failure> {
    let (orders, open) = if quick {
        ("300", "1000")
    } else {
        ("10000", "100000")
    };
    let mut done = Vec::new();
    for round in 0..rounds {
        for store in STORES {
            println!("== deferred payment, round {}, {}", round + 1, store.name());
            done.push(measure(programs, store, orders, open)?);
        }
    }
    println!();
    for store in STORES {
        let mine = done.iter().filter(|round| round.store == store.name());
        let rate = Median::of(mine.map(|round| round.per_minute));
        println!(
            "{}: {:.0} ({:.0}-{:.0}) orders a minute through all stages, {orders} of them beside {open} open ones; each billed once",
            store.name(),
            rate.median,
            rate.least,
            rate.most
        );
    }
    if quick {
        return Ok(());
    }
    let setting = "10,000 orders registered, screened and billed by one worker beside 100,000 that screening holds; simulated agency \
                   and load share both cores";
    results::write("frex", setting, done)
}

fn measure(programs: &Programs, store: Store, orders: &str, open: &str) -> Result<Round, Failure> {
    let dir = fresh_dir("figures-frex")?;
    let agency = programs.simulator("the simulated agency", &["frex"], dir.join("agency.log"))?;
    let control = agency.wait_for("control ", READY_MAX)?;
    let interface = agency.wait_for("ready ", READY_MAX)?;
    let database = store.open(&dir)?;
    let args = [
        "run-frex",
        "--database",
        &database.url,
        "--agency",
        &interface,
        "--orders",
        orders,
        "--open",
        open,
        "--limit",
        "900",
    ];
    let report = loadgen(programs, &dir, "report", &args)?;
    let ledger = ask(&control, "ledger")?;
    let transactions = ledger["transactions"].as_array();
    let bills = transactions
        .into_iter()
        .flatten()
        .filter_map(|it| it["bills"].as_array());
    let (mut once, mut more) = (0, 0);
    for bills in bills {
        match bills.len() {
            0 => {}
            1 => once += 1,
            _ => more += 1,
        }
    }
    agency.end(END_MAX)?;
    if more > 0 || once.to_string() != orders {
        return Err(format!(
            "of {orders} orders {once} were billed once and {more} more than once"
        ));
    }
    let seconds = report["seconds"].as_f64().unwrap_or(f64::NAN);
    Ok(Round {
        store: store.name(),
        per_minute: f64::from(once) * 60.0 / seconds,
        report,
    })
}
