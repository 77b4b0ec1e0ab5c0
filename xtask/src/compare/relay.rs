//! The comparison with a blind relay: the same frames, connections and rates through the daemon and through HAProxy, with
//! everything on one core.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::run::{Arrival, Contestant, Measured, measure, start_sekishod};
use super::{CompareArgs, results};
use crate::Failure;
use crate::build::{self, Programs};
use crate::ports;
use crate::process::{Process, Start, words};
use crate::site::{Plan, fresh_dir};

/// The core on which everything runs.
const CORE: Option<usize> = Some(0);
/// Connections of the load.
const LINKS: usize = 64;
/// How long the gathering daemon sleeps on while work comes.
const GATHER_US: u32 = 300;
/// How long the relay may take until it listens.
const START_MAX: Duration = Duration::from_secs(10);

/// A number of connections with so many requests outstanding on each.
struct Shape {
    name: &'static str,
    outstanding: usize,
    /// Lines of the daemon: as many as these requests need, since a line has at most 189 routes.
    lines: usize,
    routes: usize,
}

const SHAPES: [Shape; 2] = [
    Shape {
        name: "64 x 1",
        outstanding: 1,
        lines: 1,
        routes: 128,
    },
    Shape {
        name: "64 x 16",
        outstanding: 16,
        lines: 8,
        routes: 160,
    },
];

/// Where HAProxy is.
///
/// # Errors
/// It is not installed.
pub fn find_haproxy() -> Result<PathBuf, Failure> {
    build::on_path("haproxy")
        .ok_or_else(|| "there is no `haproxy` to compare with: apt-get install haproxy".into())
}

/// Runs the comparison and prints it.
///
/// # Errors
/// A contestant does not start or dies.
pub fn run(args: &CompareArgs, programs: &Programs, haproxy: &Path) -> Result<(), Failure> {
    let mut all = Vec::new();
    for (shape, rate) in SHAPES.iter().zip([args.rate_single, args.rate_deep]) {
        let contestants = contestants(shape, programs, haproxy)?;
        let setting = format!(
            "{} connections x {} outstanding; everything on core 0, polling off. sekishod: {} lines, {LINKS} links, {LINKS} API \
             sessions, {} centre sessions",
            LINKS,
            shape.outstanding,
            shape.lines,
            shape.lines * Plan::default().sessions
        );
        for (name, arrival) in [
            (format!("open loop at {rate}/s"), Arrival::Open(rate)),
            ("closed loop".to_owned(), Arrival::Closed),
        ] {
            let runs = rounds(args, programs, shape, &contestants, arrival)?;
            let names = contestants
                .iter()
                .map(|contestant| contestant.name.as_str());
            let summaries: Vec<_> = names.map(|name| results::summary(name, &runs)).collect();
            results::print_table(
                &format!("{}, {name}; {setting}", shape.name),
                &summaries,
                &runs,
            );
            if let [durable, gathering, unsynced, relay] = &summaries[..] {
                results::print_ratio(durable, relay);
                results::print_ratio(gathering, relay);
                results::print_ratio(durable, unsynced);
            }
            all.push((shape.name, name, setting.clone(), summaries, runs));
        }
    }
    results::write(
        "relay",
        "medians of interleaved rounds; costs in CPU seconds per million transactions",
        all,
    )
}

/// Starts all of them, each with a far end of its own.
fn contestants(
    shape: &Shape,
    programs: &Programs,
    haproxy: &Path,
) -> Result<Vec<Contestant>, Failure> {
    let dir = fresh_dir("compare")?;
    let plan = Plan {
        lines: shape.lines,
        routes: shape.routes,
        spin_us: 0,
        ..Plan::default()
    };
    let gathering = Plan {
        gather_us: GATHER_US,
        ..plan.clone()
    };
    let unsynced = Plan {
        sync: false,
        ..plan.clone()
    };
    let cores = (CORE, CORE);
    Ok(vec![
        start_sekishod(
            "sekishod, durable",
            programs,
            &plan,
            dir.join("durable"),
            cores,
            &[],
        )?,
        start_sekishod(
            "sekishod, gathering",
            programs,
            &gathering,
            dir.join("gathering"),
            cores,
            &[],
        )?,
        start_sekishod(
            "sekishod, without syncs",
            programs,
            &unsynced,
            dir.join("unsynced"),
            cores,
            &[],
        )?,
        start_haproxy(programs, haproxy, dir.join("haproxy"))?,
    ])
}

fn start_haproxy(programs: &Programs, haproxy: &Path, dir: PathBuf) -> Result<Contestant, Failure> {
    let ports = ports::free(2)?;
    let template = include_str!("../../../bench/compare/haproxy.cfg");
    let text = template
        .replace("@LISTEN@", &ports[0].to_string())
        .replace("@ECHO@", &ports[1].to_string());
    let file = dir.join("haproxy.cfg");
    std::fs::create_dir_all(&dir)
        .and_then(|()| std::fs::write(&file, text))
        .map_err(|error| format!("{}: {error}", file.display()))?;
    let far = Process::start(Start {
        name: "loadgen echo",
        program: &programs.loadgen,
        args: words([&"echo", &"--listen", &format!("127.0.0.1:{}", ports[1])]),
        core: CORE,
        log: dir.join("echo.log"),
        show: None,
    })?;
    far.wait_for("ready", START_MAX)?;
    let middle = Process::start(Start {
        name: "haproxy",
        program: haproxy,
        args: words([&"-db", &"-f", &file]),
        core: CORE,
        log: dir.join("haproxy.log"),
        show: None,
    })?;
    if !ports::listening(ports[0], START_MAX, || middle.alive()) {
        return Err(middle.failed("does not listen"));
    }
    let options = words([&"--raw", &format!("127.0.0.1:{}", ports[0])]);
    Ok(Contestant {
        name: "HAProxy, TCP mode".into(),
        middle,
        far,
        options,
        dir,
    })
}

/// All rounds of one arrival; each round begins with another contestant.
fn rounds(
    args: &CompareArgs,
    programs: &Programs,
    shape: &Shape,
    contestants: &[Contestant],
    arrival: Arrival,
) -> Result<Vec<Measured>, Failure> {
    let mut runs = Vec::new();
    for round in 0..args.rounds {
        for turn in 0..contestants.len() {
            let contestant = &contestants[(round + turn) % contestants.len()];
            let outstanding = shape.outstanding.to_string();
            // `--links` is for each line.
            let relayed = contestant.options.iter().any(|word| word == "--raw");
            let links = (if relayed { LINKS } else { LINKS / shape.lines }).to_string();
            let mut more = words([&"--links", &links, &"--outstanding", &outstanding]);
            more.extend(words([&"--sessions", &LINKS.to_string()]));
            runs.push(measure(
                contestant,
                programs,
                CORE,
                arrival,
                args.seconds,
                &more,
            )?);
        }
    }
    Ok(runs)
}
