//! `cargo xtask demo`: the gateway at work for half a minute.
//!
//! A simulated centre, the daemon and an open-loop load run as processes of their own. In the middle the centre falls
//! silent: it goes on approving, but nobody hears it. What the daemon then does by itself is shown as it happens, and at
//! the end the books of the application, the journal and the centre are held against each other.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use crate::Failure;
use crate::build::{self, Programs};
use crate::control::Control;
use crate::process::{END_MAX, Process, Start, words};
use crate::site::{Plan, Site, fresh_dir};

/// Options of `cargo xtask demo`.
#[derive(Args, Clone, Debug)]
pub struct DemoArgs {
    /// What to show
    #[arg(long, value_enum, default_value_t = Flow::Cafis)]
    flow: Flow,
    /// Transactions per second that are offered, with the flow `cafis`
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    rate: u32,
}

/// What can be shown.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Flow {
    /// The card gateway with a CAFIS centre, load, and a fault in the middle
    Cafis,
    /// Orders, payments and refunds over Atom
    Atom,
    /// Orders on invoice terms through the deferred-payment agency, with a crash in the middle
    Frex,
}

/// t31 and t32, shortened from 58 s each: with these the fault fits into the demo.
const TIMERS: &str = "t31_ms = 3000\nt32_ms = 2000\nfollow_on_ms = 60000";
const CASCADE: &str = "retry_delay_ms = 1000\nprobe_interval_ms = 1000";
/// Routes of the line: so many transactions at a time.
const ROUTES: usize = 100;
/// Seconds that are measured; the load's warm-up second comes before them.
const LOAD: u64 = 14;
/// When the centre falls silent, after the load began.
const SILENT_AFTER: Duration = Duration::from_secs(4);
/// For how long: one t31, one t32, and a little, so that commands go unanswered too.
const SILENCE: Duration = Duration::from_millis(5600);
/// How long the rest may take after the load's last second: requests that waited, and the cascade.
const SETTLE_MAX: Duration = Duration::from_secs(30);
/// Characters of a line that are shown.
const WIDTH: usize = 150;
/// Lines of the daemon's log that are shown of each kind.
const LOG_LINES: usize = 3;

/// Runs the demo.
///
/// # Errors
/// Whatever did not work.
pub fn run(args: &DemoArgs) -> Result<(), Failure> {
    match args.flow {
        Flow::Cafis => cafis(args),
        Flow::Atom => crate::demo_atom::run(),
        Flow::Frex => crate::demo_frex::run(),
    }
}

fn cafis(args: &DemoArgs) -> Result<(), Failure> {
    println!("== building (release)");
    let programs = build::release_programs()?;
    let dir = fresh_dir("demo")?;
    let plan = Plan {
        routes: ROUTES,
        retention_days: 1,
        timers: TIMERS,
        cascade: CASCADE,
        ..Plan::default()
    };
    let site = Site::prepare(&dir, &plan)?;
    println!(
        "== starting: sekishod with one line of {ROUTES} routes, and a CAFIS centre that opens its 2 sessions"
    );
    println!("   (t31 is 3 s and t32 is 2 s here; with a real centre both are 58 s)");
    let daemon = site.start_daemon(&programs, None)?;
    let ledger = site.file("ledger.txt");
    let keep = ["--ledger", text(&ledger), "--order", "delay 1-3"];
    let (centre, control) = site.start_centre(&programs, None, &keep)?;
    let mut control = Control::connect(&control)?;
    let book = site.file("application.txt");
    println!(
        "== load: {} authorisations a second, open loop, latencies from the intended time of sending",
        args.rate
    );
    let load = start_load(&programs, &site, args.rate, &book)?;
    sleep(SILENT_AFTER);
    fault(&mut control, &daemon, &load)?;
    let limit = Duration::from_secs(LOAD + 1) + SETTLE_MAX;
    let (status, _) = load.wait(limit)?;
    match status.code() {
        Some(0) => {}
        Some(3) => println!(
            "   (this machine was too busy for the generator: its latencies above say little)"
        ),
        _ => return Err(format!("the load failed: {status}")),
    }
    settle(&mut control)?;
    show_log(&site.file("sekishod.log"));
    println!(
        "== stopping in order: the daemon signs off with the centre, then the centre closes its ledger"
    );
    daemon.end(END_MAX)?;
    centre.end(END_MAX)?;
    books(&programs, &site, &book, &ledger)?;
    records(&programs, &site)?;
    println!(
        "== all of it worked; what it left behind is in {}",
        shown(&dir)
    );
    Ok(())
}

/// A path as it is given to a program that takes text.
fn text(path: &Path) -> &str {
    // The target directory's name is chosen by the developer, who can choose one in UTF-8.
    path.to_str()
        .expect("the target directory has a name in UTF-8")
}

/// A path as a reader wants to see it.
pub fn shown(path: &Path) -> String {
    let inside = path.strip_prefix(build::root()).unwrap_or(path);
    inside.display().to_string()
}

fn start_load(
    programs: &Programs,
    site: &Site,
    rate: u32,
    book: &Path,
) -> Result<Process, Failure> {
    let mut args = words([
        &"run",
        &"--live",
        &"--links",
        &"4",
        &"--sessions",
        &"16",
        &"--book",
        &book,
    ]);
    // As many requests as routes: what the daemon would refuse for want of a route waits in the generator.
    args.extend(words([&"--outstanding", &(ROUTES / 4).to_string()]));
    let (rate, seconds) = (rate.to_string(), LOAD.to_string());
    args.extend(words([
        &"--rate",
        &rate,
        &"--duration",
        &seconds,
        &"--drain",
        &"20",
    ]));
    args.extend(site.load_options());
    Process::start(Start {
        name: "the load",
        program: &programs.loadgen,
        args,
        core: None,
        log: site.file("load.log"),
        show: Some("   "),
    })
}

/// Lets the centre fall silent and speak again.
fn fault(control: &mut Control, daemon: &Process, load: &Process) -> Result<(), Failure> {
    for process in [daemon, load] {
        if !process.alive() {
            return Err(process.failed("ended before the fault"));
        }
    }
    control.order("silent on")?;
    println!("== FAULT: the centre falls silent. It goes on approving, and nobody hears it.");
    println!(
        "   {ROUTES} routes are soon taken; new requests wait. After t31 the daemon sends 8930 for each, after t32 8940."
    );
    sleep(SILENCE);
    let kept = control.counter("silenced")?;
    control.order("silent off")?;
    println!(
        "== the centre speaks again: {kept} answers were lost. 8940 is answered by 8960, routes come free."
    );
    if kept == 0 {
        return Err("the silent centre kept no answer back: the load did not reach it".into());
    }
    Ok(())
}

/// Waits until nothing is open at the centre any more, and shows what the cascade did.
fn settle(control: &mut Control) -> Result<(), Failure> {
    println!("== the cascade, as the centre counted it");
    let end = Instant::now() + SETTLE_MAX;
    let mut last = (0, Instant::now());
    loop {
        let undone = control.counter("undone")?;
        if undone != last.0 {
            last = (undone, Instant::now());
        }
        // Settled means: cancels came, and for longer than t32 no more of them.
        let quiet = last.1.elapsed() > Duration::from_millis(2500);
        if quiet && undone > 0 {
            break;
        }
        if Instant::now() >= end {
            return Err(format!(
                "after {} s the cascade has settled {undone} transactions",
                SETTLE_MAX.as_secs()
            ));
        }
        sleep(Duration::from_millis(100));
    }
    let counters = [
        ("requests", "authorisations it took"),
        ("approved", "of these approved"),
        ("confirms", "8930 and 8940 it got"),
        (
            "undone",
            "8960 and 8950 it answered: cancelled by the daemon, without an operator",
        ),
        ("anomalies", "telegrams it had to complain about"),
    ];
    for (name, meaning) in counters {
        println!("   {:>7}  {meaning}", control.counter(name)?);
    }
    match control.counter("anomalies")? {
        0 => Ok(()),
        count => Err(format!(
            "the centre complained about {count} telegrams: its ledger names them"
        )),
    }
}

/// A few lines of the daemon's log, of each kind that a fault brings.
fn show_log(log: &Path) {
    println!("== from the daemon's log");
    let lines = fs::read_to_string(log).unwrap_or_default();
    for kind in ["ALARM", " 8930 for ", " 8940 for ", " settled: "] {
        let found: Vec<&str> = lines.lines().filter(|line| line.contains(kind)).collect();
        found
            .iter()
            .take(LOG_LINES)
            .for_each(|line| println!("   {line}"));
        if found.len() > LOG_LINES {
            println!("   ... and {} more like these", found.len() - LOG_LINES);
        }
    }
}

/// Holds the three books against each other.
fn books(programs: &Programs, site: &Site, book: &Path, ledger: &Path) -> Result<(), Failure> {
    println!("== the three books: the application's, the journal's, the centre's");
    let mut command = Command::new(&programs.loadgen);
    command
        .arg("books")
        .arg("--app")
        .arg(book)
        .arg("--ledger")
        .arg(ledger);
    command.arg("--journal").arg(site.journal());
    let (output, good) = output_of(command)?;
    indent(&output);
    if good {
        Ok(())
    } else {
        Err("the books disagree".into())
    }
}

/// Shows the records of one transaction that the fault cut off, masked.
fn records(programs: &Programs, site: &Site) -> Result<(), Failure> {
    let log = fs::read_to_string(site.file("sekishod.log")).unwrap_or_default();
    let id = log.lines().find_map(|line| {
        let (_, rest) = line.split_once(" 8930 for transaction ")?;
        rest.split(',').next()
    });
    let id = id.ok_or("the daemon's log names no transaction that it cancelled")?;
    println!("== one of the cancelled transactions, as `sekisho journal show` masks it");
    let mut command = Command::new(&programs.sekisho);
    command
        .args(["journal", "show", "--tx", id])
        .arg(site.journal());
    let (output, good) = output_of(command)?;
    indent(&output);
    let settled = output.contains("FaultReport") && output.contains("8960");
    match (good, settled) {
        (true, true) => Ok(()),
        (true, false) => Err(format!("the journal has no 8960 for transaction {id}")),
        (false, _) => Err("the journal could not be shown".into()),
    }
}

/// Standard output of a command, with its errors behind, and whether it succeeded.
pub fn output_of(mut command: Command) -> Result<(String, bool), Failure> {
    let output = command
        .output()
        .map_err(|error| format!("{:?}: {error}", command.get_program()))?;
    let text = [output.stdout, output.stderr].concat();
    Ok((
        String::from_utf8_lossy(&text).into_owned(),
        output.status.success(),
    ))
}

/// Shows lines, the long ones without their ends.
pub fn indent(text: &str) {
    for line in text.lines() {
        match line.char_indices().nth(WIDTH) {
            Some((end, _)) => println!("   {} ...", &line[..end]),
            None => println!("   {line}"),
        }
    }
}
