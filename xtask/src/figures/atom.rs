//! Orders and payments: created, started, called back; the same callbacks again; bad ones; and a backlog of status queries.

use std::process::Command;

use serde::Serialize;
use serde_json::Value;

use super::{STORES, Store, loadgen};
use crate::Failure;
use crate::commerce::{Desk, Plan, Programs, READY_MAX};
use crate::compare::results::{self, Median};
use crate::demo::output_of;
use crate::ports;
use crate::process::{END_MAX, Process};
use crate::site::fresh_dir;

/// How much is driven.
struct Load {
    orders: &'static str,
    duplicates: &'static str,
    /// Orders a second, and orders, of the run at a fixed rate.
    rate: &'static str,
    at_rate: &'static str,
    bad: &'static str,
    backlog: &'static str,
}

const FULL: Load = Load {
    orders: "3000",
    duplicates: "20000",
    rate: "50",
    at_rate: "1500",
    bad: "2000",
    backlog: "100000",
};
const QUICK: Load = Load {
    orders: "200",
    duplicates: "500",
    rate: "50",
    at_rate: "50",
    bad: "100",
    backlog: "2000",
};

/// Lets status queries go as fast as they can: the backlog is measured, not the limit of what Atom is asked in service.
const UNLIMITED: &str = "queries_per_s_max = 1000000\nqueries_at_once_max = 32";

/// One database in one round.
#[derive(Serialize)]
struct Round {
    store: &'static str,
    /// `loadgen run-atom`, 8 at a time, and its callbacks again.
    closed: Value,
    /// The same at a fixed rate.
    open: Value,
    /// One bad callback for each order.
    bad: Value,
    /// `loadgen drain-atom`, in the first round.
    backlog: Value,
}

/// Measures, prints and writes it.
///
/// # Errors
/// Something did not start, or the books disagree.
pub fn run(programs: &Programs, rounds: usize, quick: bool) -> Result<(), Failure> {
    let load = if quick { &QUICK } else { &FULL };
    let mut done = Vec::new();
    for round in 0..rounds {
        for store in STORES {
            println!("== orders over Atom, round {}, {}", round + 1, store.name());
            done.push(Round {
                store: store.name(),
                closed: Value::Null,
                open: Value::Null,
                bad: Value::Null,
                backlog: if round == 0 {
                    backlog(programs, store, load)?
                } else {
                    Value::Null
                },
            });
            let round = done.last_mut().expect("it was just pushed");
            orders(programs, store, load, round)?;
        }
    }
    for store in STORES {
        show(store, &done);
    }
    if quick {
        return Ok(());
    }
    let setting = "create + start + callback through commerced: 8 orders at a time, then the callbacks again; 50 orders a second; \
                   one bad callback for each order; a backlog of 100,000 status queries; simulator and load share both cores";
    results::write("atom", setting, done)
}

/// A simulator of Atom and a `commerced`.
struct Stage<'a> {
    atom: Process,
    sim: String,
    desk: Desk<'a>,
    commerced: Process,
    database: super::Database,
}

impl<'a> Stage<'a> {
    fn new(
        programs: &'a Programs,
        store: Store,
        flow: &str,
        more: &str,
    ) -> Result<Stage<'a>, Failure> {
        let dir = fresh_dir("figures-atom")?;
        let port = ports::free(1)?[0];
        let callback = format!("http://127.0.0.1:{port}/v1/callbacks/atom");
        let args = ["atom", "--listen", "127.0.0.1:0", "--callback", &callback];
        let atom = programs.simulator("the simulator of Atom", &args, dir.join("atom.log"))?;
        let sim = atom.wait_for("ready ", READY_MAX)?;
        let database = store.open(&dir)?;
        let plan = Plan {
            port,
            atom: &sim,
            store: &database.url,
            flow,
            more,
            ..Plan::default()
        };
        let desk = Desk::prepare(programs, &dir, &plan)?;
        let commerced = desk.start("commerced")?;
        Ok(Stage {
            atom,
            sim,
            desk,
            commerced,
            database,
        })
    }

    fn load(&self, programs: &Programs, name: &str, args: &[&str]) -> Result<Value, Failure> {
        let key = self.desk.merchant.file.display().to_string();
        let mut all = vec![
            args[0],
            "--gateway",
            &self.desk.url,
            "--sim",
            &self.sim,
            "--key",
            &key,
        ];
        all.extend(&args[1..]);
        loadgen(programs, self.desk.dir(), name, &all)
    }

    /// Holds the books of both sides against each other and ends everything.
    fn close(self, programs: &Programs) -> Result<(), Failure> {
        let mut command = Command::new(&programs.loadgen);
        command.args([
            "books-atom",
            "--gateway",
            &self.desk.url,
            "--sim",
            &self.sim,
            "--operator-key",
        ]);
        command.arg(&self.desk.operator.file);
        let (said, good) = output_of(command)?;
        self.commerced.end(END_MAX)?;
        self.atom.end(END_MAX)?;
        if good {
            Ok(())
        } else {
            Err(format!("the books disagree:\n{said}"))
        }
    }
}

fn orders(programs: &Programs, store: Store, load: &Load, into: &mut Round) -> Result<(), Failure> {
    let stage = Stage::new(programs, store, "", "")?;
    let closed = [
        "run-atom",
        "--orders",
        load.orders,
        "--duplicates",
        load.duplicates,
    ];
    into.closed = stage.load(programs, "closed", &closed)?;
    let open = ["run-atom", "--orders", load.at_rate, "--rate", load.rate];
    into.open = stage.load(programs, "open", &open)?;
    let bad = [
        "run-atom", "--orders", load.bad, "--bad", "100", "--failed", "20",
    ];
    into.bad = stage.load(programs, "bad", &bad)?;
    stage.close(programs)
}

fn backlog(programs: &Programs, store: Store, load: &Load) -> Result<Value, Failure> {
    let stage = Stage::new(programs, store, UNLIMITED, "")?;
    let drain = [
        "drain-atom",
        "--database",
        &stage.database.url,
        "--attempts",
        load.backlog,
        "--limit",
        "900",
    ];
    let report = stage.load(programs, "drain", &drain)?;
    println!("   the backlog: {report}");
    stage.close(programs)?;
    Ok(report)
}

/// Medians over the rounds, with their spread.
fn show(store: Store, rounds: &[Round]) {
    let of = |figure: &dyn Fn(&Round) -> &Value| {
        let mine = rounds.iter().filter(|round| round.store == store.name());
        Median::of(mine.filter_map(|round| figure(round).as_f64()))
    };
    let text = |it: Median| format!("{:.1} ({:.1}-{:.1})", it.median, it.least, it.most);
    println!("\n{}", store.name());
    println!(
        "  orders a second, 8 at a time     {}",
        text(of(&|it| &it.closed["orders_per_second"]))
    );
    for step in ["order", "create", "start", "callback", "duplicate"] {
        println!(
            "  {step:<10} ms, 8 at a time: p50 {}, p99 {}",
            text(of(&|it| &it.closed[step]["p50_ms"])),
            text(of(&|it| &it.closed[step]["p99_ms"]))
        );
    }
    println!(
        "  the same callbacks again, a second {}",
        text(of(&|it| &it.closed["duplicates_per_second"]))
    );
    for step in ["order", "callback"] {
        println!(
            "  {step:<10} ms at a fixed rate: p50 {}, p99 {}",
            text(of(&|it| &it.open[step]["p50_ms"])),
            text(of(&|it| &it.open[step]["p99_ms"]))
        );
    }
    println!(
        "  status queries of a backlog, a second {}",
        text(of(&|it| &it.backlog["per_second"]))
    );
    let mine = rounds.iter().filter(|round| round.store == store.name());
    let tried: u64 = mine
        .flat_map(|round| round.bad["bad"].as_object().into_iter().flatten())
        .filter_map(|(_, trials)| trials["tried"].as_u64())
        .sum();
    println!(
        "  bad callbacks tried, none with an effect: {tried}; the books agreed after every run"
    );
}
