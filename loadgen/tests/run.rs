//! `loadgen run` against a daemon of a few lines, over real sockets.

mod fake;

use std::collections::HashSet;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use clap::Parser;

use fake::{Fake, Manners};
use loadgen::books::app;
use loadgen::run::options::RunArgs;
use loadgen::run::outcome::Outcome;
use loadgen::run::report::RunReport;
use loadgen::run::{RunError, echo, run};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: RunArgs,
}

/// Runs with these options, which a test machine under load must be able to keep: lag bounds are wide.
fn run_with(options: &str) -> Result<RunReport, RunError> {
    let wide = "loadgen --lag-p99-us 2000000 --late-us 2000000";
    let words = wide.split_whitespace().chain(options.split_whitespace());
    run(&Line::parse_from(words).args, &mut std::io::sink())
}

fn temporary(name: &str) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("loadgen-run-{}-{name}", std::process::id()))
}

/// Every request of the schedule is sent, acknowledged and confirmed, and the books and files say so.
#[test]
fn a_run_accounts_for_every_request() {
    let fake = Fake::start(Manners::default());
    let (book, json, hlog) = (temporary("book"), temporary("json"), temporary("hlog"));
    let report = run_with(&format!(
        "--connect {} --links 3 --sessions 7 --rate 5000 --duration 0.4 --warmup 0.1 --mix 3110=8,3210=1,3310=1 \
         --book {} --json {} --hlog {}",
        fake.address,
        book.display(),
        json.display(),
        hlog.display()
    ))
    .expect("a run");
    assert!(report.valid, "{report}");
    assert_eq!((report.sent, report.count("approved")), (2500, 2000));
    assert_eq!((report.overall.count, report.lag.count), (2000, 2000));
    assert_eq!((report.links, report.sessions), (3, 9));
    assert_eq!(fake.requests.load(SeqCst), 2500);
    assert_eq!(fake.acks.load(SeqCst), 2500);
    let entries = app::read(&book).expect("the book");
    assert_eq!(entries.len(), 2500);
    assert!(
        entries
            .iter()
            .all(|entry| entry.outcome == Outcome::Approved)
    );
    let keys: HashSet<_> = entries.iter().map(|entry| entry.key).collect();
    assert_eq!(keys.len(), 2500);
    let text = std::fs::read_to_string(&json).expect("the JSON");
    assert!(text.contains("\"outcome\": \"approved\""), "{text}");
    assert!(
        std::fs::read_to_string(&hlog)
            .expect("the log")
            .contains("Tag=approved,")
    );
    for path in [book, json, hlog] {
        std::fs::remove_file(path).expect("removed");
    }
}

/// Outcomes are kept apart, and what found no route is sent again until it does.
#[test]
fn outcomes_are_kept_apart() {
    let fake = Fake::start(Manners {
        refuse_every: 10,
        abnormal_every: 7,
        no_route_every: 13,
        ..Manners::default()
    });
    let report = run_with(&format!(
        "--connect {} --rate 4000 --duration 0.5 --warmup 0 --poisson",
        fake.address
    ))
    .expect("a run");
    let (requests, again) = (fake.requests.load(SeqCst), report.sent_again);
    assert_eq!(report.sent + again, requests);
    assert_eq!(report.overall.count, report.sent);
    assert_eq!(again, requests / 13);
    let both = |a: u64, b: u64| requests / a - requests / (a * b);
    assert_eq!(report.count("8970-C12"), both(7, 13));
    assert_eq!(
        report.count("refused"),
        both(10, 13) - requests / 70 + requests / 910
    );
    assert!(report.to_string().contains("8970-C12"));
}

/// A daemon that is too slow costs latency, which counts from the intended times, and does not make the run invalid: the
/// generator kept its schedule and waited for credit.
#[test]
fn a_slow_daemon_costs_latency_not_validity() {
    let fake = Fake::start(Manners {
        credit: 10,
        pause: Duration::from_millis(20),
        ..Manners::default()
    });
    let report = run_with(&format!(
        "--connect {} --rate 2000 --duration 0.5 --warmup 0",
        fake.address
    ))
    .expect("a run");
    assert!(report.valid, "{report}");
    assert_eq!(report.count("approved"), 1000);
    // Ten requests need two turns of 20 ms, so a thousand need about 4 s: the median waited for more than a second.
    assert!(report.overall.p50_us > 1e6, "{report}");
    assert!(report.lag.p99_us < 1e6, "{report}");
}

/// Stands for a terminal that stops the generator for a while with each line.
struct SlowTerminal;

impl std::io::Write for SlowTerminal {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if bytes.contains(&b'\n') {
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A generator that is held up says that the run is invalid, and still skips nothing.
#[test]
fn a_stalled_generator_is_invalid() {
    let fake = Fake::start(Manners::default());
    let options = format!(
        "loadgen --connect {} --rate 1000 --duration 2.2 --warmup 0 --live --lag-p99-us 100000",
        fake.address
    );
    let args = Line::parse_from(options.split_whitespace()).args;
    let report = run(&args, &mut SlowTerminal).expect("a run");
    assert!(!report.valid, "{report}");
    assert_eq!(report.overall.count, 2200);
    assert!(report.overall.p99_us > 100_000.0, "{report}");
    assert!(
        report.to_string().contains("INVALID: the generator lagged"),
        "{report}"
    );
}

/// A daemon that stops reading does not stop the generator: what was sent is unanswered, what found no room is unsent,
/// and both together are the whole schedule.
#[test]
fn a_deaf_daemon_is_survived() {
    let fake = Fake::start(Manners {
        credit: 100_000,
        deaf_after: 100,
        ..Manners::default()
    });
    let report = run_with(&format!(
        "--connect {} --rate 60000 --duration 0.5 --warmup 0 --drain 0.2",
        fake.address
    ))
    .expect("a run");
    assert_eq!(report.overall.count, 30_000);
    let (approved, unanswered, unsent) = (
        report.count("approved"),
        report.count("unanswered"),
        report.count("unsent"),
    );
    assert!(unanswered > 0, "{report}");
    assert_eq!(approved + unanswered + unsent, 30_000);
    assert_eq!(report.sent + unsent, 30_000);
    assert!(
        unsent == 0 || report.lag.max_us < 500_000.0,
        "waiting for room is no lag: {report}"
    );
}

/// Requests without an answer end as unanswered when the drain is over; a link that breaks loses what was open on it
/// and is made anew.
#[test]
fn silence_and_a_cut_are_told_apart() {
    let fake = Fake::start(Manners {
        silent_every: 100,
        ..Manners::default()
    });
    let options = "--rate 2000 --duration 0.5 --warmup 0 --drain 0.3";
    let report = run_with(&format!("--connect {} {options}", fake.address)).expect("a run");
    assert_eq!(
        (report.count("unanswered"), report.count("approved")),
        (10, 990)
    );

    let fake = Fake::start(Manners {
        cut_after: 300,
        ..Manners::default()
    });
    let report = run_with(&format!("--connect {} {options}", fake.address)).expect("a run");
    assert_eq!(report.links_broken, 1);
    assert!(report.count("lost") >= 1, "{report}");
    assert_eq!(report.count("lost") + report.count("approved"), 1000);
}

/// Each link asks for its line and follows it to where it lives.
#[test]
fn links_follow_their_line() {
    let there = Fake::start(Manners::default());
    let here = Fake::start(Manners {
        go_to: Some(("L1".into(), there.address.to_string())),
        ..Manners::default()
    });
    let report = run_with(&format!(
        "--connect {} --lines-prefix L --lines-count 2 --links 2 --rate 1000 --duration 0.2 --warmup 0",
        here.address
    ))
    .expect("a run");
    assert_eq!(
        (report.links, report.lines, report.count("approved")),
        (4, 2, 200)
    );
    assert_eq!(here.requests.load(SeqCst), 100);
    assert_eq!(there.requests.load(SeqCst), 100);
}

/// The closed mode keeps its requests open and no more; the search finds a rate that a slow daemon keeps up with.
#[test]
fn closed_and_search_modes_work() {
    let fake = Fake::start(Manners::default());
    let report = run_with(&format!(
        "--connect {} --closed --links 2 --outstanding 8 --duration 0.3 --warmup 0.1",
        fake.address
    ))
    .expect("a run");
    assert!(report.count("approved") > 1000, "{report}");
    assert_eq!(report.mode, "closed");

    // Ten requests every two turns of 5 ms: 1000 a second at most.
    let fake = Fake::start(Manners {
        credit: 10,
        pause: Duration::from_millis(5),
        ..Manners::default()
    });
    let report = run_with(&format!(
        "--connect {} --search 100..20000 --search-percent 30 --search-p99-ms 200 --duration 0.4 --warmup 0.1",
        fake.address
    ))
    .expect("a run");
    let peak = report.peak.expect("a peak");
    assert!((100.0..2500.0).contains(&peak), "{report}");
}

/// Raw frames go through an echo server and come back as approvals, one outstanding on each route.
#[test]
fn raw_frames_come_back() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let stop = Arc::new(AtomicBool::new(false));
    let seen = stop.clone();
    let server = std::thread::spawn(move || echo::serve(&listener, false, || seen.load(SeqCst)));
    let report = run_with(&format!(
        "--raw {address} --links 4 --outstanding 16 --rate 5000 --duration 0.4 --warmup 0.1 --mix 3110=1,3210=1"
    ))
    .expect("a run");
    assert_eq!(report.count("approved"), 2000, "{report}");
    let report = run_with(&format!(
        "--raw {address} --closed --links 4 --outstanding 1 --duration 0.2 --warmup 0"
    ))
    .expect("a run");
    assert!(report.count("approved") > 100, "{report}");
    stop.store(true, SeqCst);
    server.join().expect("no panic").expect("no error");
}

/// What is wrong with options or addresses is said in a sentence that names it.
#[test]
fn faults_are_named() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("an address");
    let silent = run_with(&format!("--connect {address} --connect-timeout 0"));
    let text = silent.expect_err("nobody answers").to_string();
    assert!(text.contains("0 of 1 connections were ready"), "{text}");
    drop(free);
    let text = run_with(&format!("--connect {address}"))
        .expect_err("closed")
        .to_string();
    assert!(
        text.contains(&format!("cannot connect to {address}")),
        "{text}"
    );
    for (options, part) in [
        ("--duration 0", "--duration"),
        ("--links 0", "--links"),
        ("--issuer X", "--issuer: `X` is not 11"),
        ("--date today", "--date"),
        ("--lines AAAAAAAAAAAAAAAAAAAAA", "--lines"),
    ] {
        let text = run_with(&format!("--connect {address} {options}"))
            .expect_err(options)
            .to_string();
        assert!(text.contains(part), "{options}: {text}");
    }
}
