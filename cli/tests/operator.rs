//! An operator's day with a real daemon: every order, both transaction commands, and the journal, as texts and exit
//! statuses.

mod daemon;

use std::fs;
use std::io::{Seek, SeekFrom, Write};

use client::{Endpoint, Link, Send, Session, Wait};
use codec::cafis::mti::Mti;
use daemon::{LIMIT, Site, until};
use loadgen::centre::ledger::CancelledBy;

const PAN: &str = "4111111111111111";
const KEY: [&str; 3] = ["261130", "9900100000001", "00012"];

/// Sends an authorisation and takes its report.
fn authorise(session: &mut Session) -> String {
    let [date, terminal, sequence] = KEY;
    let data = format!(
        "   000000002       {terminal}{sequence}{date}000@21{:<69}{}",
        format!("{PAN}=99121012080000000000"),
        "12340000990000050000000500@"
    );
    let send = Send {
        centre_id: *b"00",
        centre_seq: *b"      ",
        issuer: *b"TEST9000000",
        acquirer: *b"TEST0010000",
        mti: *b"3110",
        data: data.as_bytes(),
    };
    session.send(&send, 77).expect("it is sent");
    let delivery = session.receive(Wait::For(LIMIT)).expect("it is answered");
    String::from_utf8_lossy(&delivery.telegram.mti).into_owned()
}

fn open(site: &Site) -> Session {
    let endpoint = Endpoint::parse(&site.api()).expect("an endpoint");
    let link = Link::connect(&endpoint, "cafis-a").expect("the daemon is there");
    link.open_session().expect("a session")
}

/// From the first sign-on to the shutdown, with an authorisation that is cancelled, and what is refused on the way.
#[test]
fn a_day() {
    let mut site = Site::start("operator-day");
    until("the daemon has both sessions", || {
        site.tell(&["status"]).contains("centre sessions  2 of 2")
    });
    let text = site.tell(&["status"]);
    assert!(
        text.contains("service          CLOSED, signed off"),
        "{text}"
    );
    let text = site.tell(&["signon"]);
    assert!(text.contains("is signed on; service is OPEN"), "{text}");

    a_transaction(&site);
    applications_remain(&site);

    cut_dates(&site);
    let text = site.tell(&["recovery"]);
    assert!(
        text.contains("is over; 0 escalated, 0 routes held"),
        "{text}"
    );
    let free = site.ask(&["purge", "2"]);
    assert_eq!(free.status, 9, "{free:?}");
    assert!(
        free.errors
            .contains("RC_INVALID_PARAM (1000), no transaction is on this route"),
        "{free:?}"
    );
    let early = site.ask(&["shutdown"]);
    assert_eq!(early.status, 3, "{early:?}");
    assert!(early.errors.contains("RC_PKG_IS_NOT_SIGNOFF"), "{early:?}");

    let text = site.tell(&["signoff"]);
    assert!(text.contains("is signed off; service is CLOSED"), "{text}");
    let twice = site.ask(&["signoff"]);
    assert_eq!(twice.status, 3, "{twice:?}");
    assert!(
        twice.errors.contains("RC_PKG_IS_SIGNOFF_OR_SWITCHING (25)"),
        "{twice:?}"
    );
    forced_states(&site);
    shutdown_under_an_application(&site);
    // By the configuration this time, which names the line.
    let text = site.run(&["shutdown", "--config", "sekisho.toml"]);
    assert_eq!(
        (text.status, text.text.as_str()),
        (0, "the daemon stops in order.\n")
    );
    assert!(site.ended().success());
    let gone = site.ask(&["status"]);
    assert_eq!(gone.status, 2, "{gone:?}");
    assert!(gone.errors.contains("Is sekishod running"), "{gone:?}");
}

fn a_transaction(site: &Site) {
    let mut session = open(site);
    assert_eq!(authorise(&mut session), "3120");
    let [date, terminal, sequence] = KEY;
    let text = site.tell(&["query", date, terminal, sequence]);
    assert!(
        text.contains("is delivered") && text.contains("request 3110, report 3120"),
        "{text}"
    );
    let json = site.tell(&["status", "--json", "--line", "cafis-a"]);
    let status: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(status["line"], "cafis-a");
    assert_eq!(status["signed_on"], true);
    assert_eq!(
        status["api_sessions"], 1,
        "the command's own is not counted"
    );
    assert_eq!(status["last_sequence"], 1);

    let text = site.tell(&["cancel", date, terminal, sequence]);
    assert!(text.contains("is cancelled at the centre"), "{text}");
    let ledger = site.centre.ledger();
    assert_eq!(ledger.entries.len(), 1);
    assert_eq!(
        ledger.entries[0].cancelled,
        Some(CancelledBy::Command(Mti::CANCEL)),
        "by the centre's book too"
    );
    let text = site.tell(&["query", date, terminal, sequence]);
    assert!(text.contains("is cancelled at the centre"), "{text}");
    let unknown = site.ask(&["query", date, terminal, "99999"]);
    assert_eq!(unknown.status, 6, "{unknown:?}");
    let unknown = site.ask(&["cancel", date, terminal, "99999"]);
    assert_eq!(unknown.status, 6, "{unknown:?}");
    assert!(
        unknown.errors.contains("RC_ERR_SEARCHJOURNAL (31)"),
        "{unknown:?}"
    );
}

/// Signing off and recovering are refused as long as an application has a session, with RC 20 and the way out.
fn applications_remain(site: &Site) {
    let application = open(site);
    for (order, action) in [("signoff", "sign off"), ("recovery", "recover")] {
        let told = site.ask(&[order]);
        assert_eq!(told.status, 3, "{told:?}");
        assert!(
            told.errors.contains(&format!("cannot {action}"))
                && told.errors.contains("RC_APPL_IS_REMAINED (20)")
                && told.errors.contains("has 1 open API session(s)"),
            "{told:?}"
        );
    }
    drop(application);
    no_application_is_left(site);
}

/// A daemon is not shut down under an application either, although its line is signed off.
fn shutdown_under_an_application(site: &Site) {
    let application = open(site);
    let told = site.ask(&["shutdown"]);
    assert_eq!(told.status, 3, "{told:?}");
    assert!(
        told.errors
            .contains("cannot shut the daemon down: RC_APPL_IS_REMAINED (20)"),
        "{told:?}"
    );
    drop(application);
    no_application_is_left(site);
}

fn no_application_is_left(site: &Site) {
    until("the application has left", || {
        site.tell(&["status"]).contains("API sessions     0")
    });
}

fn cut_dates(site: &Site) {
    let text = site.tell(&["cutreq"]);
    assert!(text.contains("changed its cut date from"), "{text}");
    let text = site.tell(&["cutreq"]);
    assert!(
        text.contains("keeps its cut date"),
        "once a day only: {text}"
    );
    let text = site.tell(&["cutover"]);
    assert!(text.contains("changed its cut date from"), "{text}");
}

fn forced_states(site: &Site) {
    let text = site.tell(&["force-signon"]);
    assert!(
        text.contains("set to signed on without a telegram"),
        "{text}"
    );
    let text = site.tell(&["force-signoff"]);
    assert!(
        text.contains("set to signed off without a telegram; service is CLOSED"),
        "{text}"
    );
}

/// The journal is read beside the running daemon, and nothing of a card or a PIN is shown; a forced stop and a flipped bit
/// are told apart.
#[test]
fn the_journal() {
    let mut site = Site::start("operator-journal");
    site.tell(&["signon"]);
    assert_eq!(authorise(&mut open(&site)), "3120");
    let [date, terminal, sequence] = KEY;
    site.tell(&["cancel", date, terminal, sequence]);

    let shown = site.run(&["journal", "show", "data"]);
    assert_eq!(shown.status, 0, "{}", shown.errors);
    for fact in [
        "Booted",
        "CheckpointBegin",
        "Request",
        "Report",
        "Delivered",
        "Fault",
        "FaultReport",
    ] {
        let named = shown
            .text
            .lines()
            .any(|line| line.ends_with(&format!("  {fact}")));
        assert!(named, "{fact}: {}", shown.text);
    }
    let masked = "card encode content='411111111111****=****1010000000000000'";
    assert!(shown.text.contains(masked), "{}", shown.text);
    assert!(shown.text.contains("PIN='****'"), "{}", shown.text);
    assert!(shown.text.contains(" trace 77 "), "{}", shown.text);
    assert!(shown.text.contains("verdict=Cancelled"), "{}", shown.text);

    let key = KEY.join("/");
    let pcidss = site.run(&[
        "journal",
        "show",
        "data/journal",
        "--masking",
        "pcidss",
        "--key",
        &key,
    ]);
    assert!(
        pcidss
            .text
            .contains("'************1111=****1010000000000000'"),
        "{}",
        pcidss.text
    );
    assert!(!pcidss.text.contains("Booted"), "{}", pcidss.text);
    let raw = site.run(&["journal", "show", "data", "--raw-facts", "--tx", "1"]);
    assert!(raw.text.contains("    image=0002000001"), "{}", raw.text);
    let last = site.run(&["journal", "show", "data", "--last", "1", "--tx", "1"]);
    assert_eq!(
        last.text
            .lines()
            .filter(|line| line.starts_with('#'))
            .count(),
        1
    );
    assert!(last.text.contains("  FaultReport\n"), "{}", last.text);
    let found = site.run(&["journal", "find", "data", "--key", &key]);
    assert!(
        found.text.contains("is cancelled at the centre; settled."),
        "{found:?}"
    );
    for told in [&shown, &pcidss, &raw, &last, &found] {
        assert!(!told.text.contains(PAN) && !told.errors.contains(PAN));
    }
    let none = site.run(&[
        "journal",
        "find",
        "data",
        "--key",
        "261130/9900100000001/99999",
    ]);
    assert_eq!(none.status, 6, "{none:?}");
    let none = site.run(&["journal", "show", "data", "--tx", "99"]);
    assert_eq!(none.status, 6, "{none:?}");

    let sound = site.run(&["journal", "verify", "data"]);
    assert_eq!(sound.status, 0, "{sound:?}");
    assert!(sound.text.contains("; sound"), "{sound:?}");
    site.tell(&["shutdown", "--force"]);
    assert_eq!(site.ended().code(), Some(3), "a forced stop says so");
    let sound = site.run(&["journal", "verify", "data"]);
    assert_eq!(sound.status, 0, "{sound:?}");
    damage(&site);
}

/// Bytes lost of the last block are a torn tail; bytes changed in a block that others follow are damage at its place.
fn damage(site: &Site) {
    let path = site.path("data/journal/journal-0-000000000001.seg");
    let bytes = fs::read(&path).expect("a segment");
    let blocks = bytes.chunks(4096).enumerate().skip(1);
    let last = blocks
        .filter(|(_, block)| block.starts_with(b"SKBLOCK1"))
        .map(|(at, _)| at as u64 * 4096)
        .next_back()
        .expect("it has blocks");
    let spoil = |offset| {
        let mut segment = fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .expect("a segment");
        segment
            .seek(SeekFrom::Start(offset + 200))
            .expect("it is longer");
        segment.write_all(b"\xee\xee").expect("it is writable");
        site.run(&["journal", "verify", "data"])
    };
    let told = spoil(last);
    assert_eq!(told.status, 0, "{told:?}");
    let place = format!("  segment 1, offset {last}: torn tail: 0 whole blocks behind it");
    assert!(told.text.contains(&place), "{told:?}");
    let told = spoil(4096);
    assert_eq!(told.status, 9, "{told:?}");
    assert!(
        told.text
            .contains("  segment 1, offset 4096: DAMAGE: checksum"),
        "{told:?}"
    );
    assert!(told.errors.contains("damaged in 1 place(s)"), "{told:?}");
    let none = site.run(&["journal", "verify", "nowhere"]);
    assert_eq!(none.status, 6, "{none:?}");
}

/// What is wrong with the command line is said with exit status 1, before any daemon is asked.
#[test]
fn wrong_usage() {
    let run = |arguments: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_sekisho"))
            .args(arguments)
            .output()
            .expect("sekisho starts");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), errors)
    };
    let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("operator-usage");
    fs::create_dir_all(&dir).expect("the target directory is writable");
    let file = dir.join("two.toml");
    let line = |name: &str, port: u16| {
        format!(
            "[[line]]\nname = \"{name}\"\ncompany = \"TEST001\"\nlisten = [\"127.0.0.1:{port}\"]\n\
             accept_count = 1\nroute_count = 4\n"
        )
    };
    fs::write(&file, line("a", 2010) + &line("b", 2011)).expect("the directory is writable");
    let file = file.to_str().expect("a path in UTF-8");
    for (arguments, said) in [
        (
            &["purge", "2", "--config", file][..],
            "say --line with one of a, b",
        ),
        (
            &["status", "--config", file, "--line", "c"],
            "has no line \"c\"; it has a, b",
        ),
        (
            &["query", "261130", "short", "00001"][..],
            "13 printable ASCII characters",
        ),
        (&["query", "26113x", "9900100000001", "00001"], "six digits"),
        (
            &["journal", "find", ".", "--key", "261130-1"],
            "YYMMDD/TERMINAL13/SEQ5",
        ),
        (&["status", "--connect", "nowhere"], "give HOST:PORT"),
        (&["frobnicate"], "unrecognized subcommand"),
    ] {
        let (code, errors) = run(arguments);
        assert_eq!(code, Some(1), "{arguments:?}: {errors}");
        assert!(errors.contains(said), "{arguments:?}: {errors}");
    }
    assert_eq!(run(&["--help"]).0, Some(0));
}
