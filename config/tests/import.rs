//! An `fx_cf.cf` becomes a configuration that loads, with a report that leaves nothing out; and what cannot become one
//! is refused with the way out.

use std::path::Path;

use config::import::{Imported, Target, import_cf};
use config::{Config, LogLevel, Masking, RouteBusy};

const CF: &[u8] = include_bytes!("data/fx_cf.cf");

/// The invented minimal file of `spec/fexics.md 6.6`, to be varied.
const MINIMAL: &str = "SYSTEM { SETTLEMENT_CENTER CAFIS; LOG_LEVEL INFORMATION; MASKING_MODE PCIDSS; }\n\
    MSG_FIELD { TRANSACTION_ORIGINATOR_INSTITUTION_ID \"9x990010000\"; }\n\
    TIMER { EVENT_RECEIVE_TIMEOUT 90; CAFIS { t31 58; t32 58; t33 30; t34 30; t35 750; } }\n\
    SOCKET_PORT { FXIPC_COM 5000; FXIPC_FXUMAIN_HOST localhost; }\n\
    INTERCONNECT { CAFIS { LOCAL_ADDRESS 192.0.2.10; LOCAL_PORT 2010; ACCEPT_COUNT 2; ROUTE_COUNT 4; } }\n";

/// A directory that need not exist: nothing is written to it.
fn target(data_dir: Option<&Path>) -> Target<'_> {
    Target {
        out_dir: Path::new("etc"),
        data_dir,
    }
}

fn imported(text: &[u8]) -> Imported {
    match import_cf(text, "fx_cf.cf", target(None)) {
        Ok(imported) => imported,
        Err(problems) => panic!("{problems:#?}"),
    }
}

fn loaded(imported: &Imported) -> Config {
    match Config::parse(&imported.toml, Path::new("etc"), "sekisho.toml") {
        Ok(loaded) => loaded.config,
        Err(problems) => panic!("{problems:#?}"),
    }
}

fn refused(text: &str) -> Vec<String> {
    let problems = import_cf(text.as_bytes(), "fx_cf.cf", target(None))
        .expect_err("the file cannot be taken over");
    problems.iter().map(ToString::to_string).collect()
}

/// A file with everything in it, in Shift_JIS with CRLF: the text and the report are those that were once read by a
/// person and found right.
#[test]
fn golden() {
    let imported = imported(CF);
    let both = format!("{}\n---- report ----\n{}", imported.toml, imported.report);
    assert_eq!(
        both,
        include_str!("data/fx_cf.expected"),
        "compare, and replace the golden file if this is meant:\n{both}"
    );
    let config = loaded(&imported);
    assert_eq!(config.log_level, LogLevel::Debug);
    assert_eq!(config.masking, Masking::PciDss);
    assert_eq!(config.data_dir, Path::new("etc/data"));
    let line = &config.lines[0];
    assert_eq!(&line.originator(), b"9x990010000");
    assert_eq!(
        (line.accept_count, line.route_count, line.listen.len()),
        (3, 64, 2)
    );
    assert_eq!(line.route_busy, RouteBusy::Buffering);
    assert_eq!(line.timers.t34.as_secs(), 45);
    assert!(line.keepalive.is_some() && line.auto_reply);
}

/// Every parameter of the file occurs in the report.
#[test]
fn report_leaves_nothing_out() {
    let report = imported(CF).report;
    let told = || {
        report
            .imported
            .iter()
            .chain(&report.unknown)
            .chain(&report.suspicious)
    };
    for parameter in config::cf::parse(CF).expect("the file is right").parameters {
        let told = told().any(|entry| entry.key == parameter.path && entry.line == parameter.line);
        assert!(told, "{parameter:?}");
    }
}

/// The minimal file says nothing suspicious, and a data directory that is given is taken.
#[test]
fn minimal_and_data_dir() {
    let imported = imported(MINIMAL.as_bytes());
    assert_eq!(imported.report.suspicious, []);
    assert_eq!(imported.report.unknown, []);
    assert_eq!(loaded(&imported).lines[0].name, "cafis");
    let given = import_cf(
        MINIMAL.as_bytes(),
        "fx_cf.cf",
        target(Some(Path::new("/var/lib/\"x\""))),
    )
    .expect("the file is right");
    assert_eq!(loaded(&given).data_dir, Path::new("/var/lib/\"x\""));
}

/// The originator has no default, and two forms.
#[test]
fn originator() {
    let with = |code: &str| MINIMAL.replace("\"9x990010000\"", code);
    let missing =
        refused(&MINIMAL.replace("TRANSACTION_ORIGINATOR_INSTITUTION_ID \"9x990010000\";", ""));
    assert_eq!(
        missing,
        [
            "fx_cf.cf: MSG_FIELD.TRANSACTION_ORIGINATOR_INSTITUTION_ID: missing, and there is no default for the originator \
          of a CAFIS line. Give the company code (7) and sub code (4) you agreed with the centre, e.g. \"9x990010000\"."
        ]
    );
    for wrong in [
        "\"9x99001000\"",
        "\"129x990010000\"",
        "\"9x99001 000\"",
        "\"\"",
        "\"9x99001000-\"",
    ] {
        let found = refused(&with(wrong));
        assert!(
            found[0].starts_with("fx_cf.cf:2: MSG_FIELD.")
                && found[0].contains("is neither 11 letters"),
            "{found:?}"
        );
    }
    let with_prefix = loaded(&imported(with("119x990010000").as_bytes()));
    assert_eq!(&with_prefix.lines[0].originator(), b"9x990010000");
    let short = loaded(&imported(with("\"9x99   0000\"").as_bytes()));
    assert_eq!(short.lines[0].company, "9x99");
}

/// A CARDNET file is refused by name, whether it says so or only looks so.
#[test]
fn cardnet() {
    let expected = "SYSTEM.SETTLEMENT_CENTER: this is a CARDNET file, and CARDNET is not supported yet. \
        Import the fx_cf.cf of a CAFIS daemon.";
    assert_eq!(
        refused(&MINIMAL.replace("CAFIS;", "CARDNET;")),
        [format!("fx_cf.cf:1: {expected}")]
    );
    assert_eq!(
        refused("\nINTERCONNECT { CARDNET { LOCAL_PORT 1; } }"),
        [format!("fx_cf.cf:2: {expected}")]
    );
    assert!(
        refused("SYSTEM { SETTLEMENT_CENTER X; }")[0].contains("\"X\" is none of CARDNET, CAFIS")
    );
}

/// Values that cannot be taken over are told with their line and what is allowed; all of them at once.
#[test]
fn wrong_values() {
    let cases = [
        (
            "LOG_LEVEL INFORMATION",
            "LOG_LEVEL LOUD",
            "fx_cf.cf:1: SYSTEM.LOG_LEVEL: \"LOUD\" is not one of IOEVENT, ERROR",
        ),
        (
            "t31 58",
            "t31 3601",
            "fx_cf.cf:3: TIMER.CAFIS.T31: \"3601\" is not a number of seconds, 1..3600",
        ),
        (
            "FXIPC_COM 5000",
            "FXIPC_COM 65536",
            "fx_cf.cf:4: SOCKET_PORT.FXIPC_COM: \"65536\" is no port 1..65535",
        ),
        (
            "192.0.2.10",
            "gateway",
            "fx_cf.cf:5: INTERCONNECT.CAFIS.LOCAL_ADDRESS: \"gateway\" is no IP address",
        ),
        (
            "LOCAL_PORT 2010",
            "LOCAL_PORT 0",
            "fx_cf.cf:5: INTERCONNECT.CAFIS.LOCAL_PORT: \"0\" is no port",
        ),
        (
            "ACCEPT_COUNT 2",
            "ACCEPT_COUNT 11",
            "fx_cf.cf:5: INTERCONNECT.CAFIS.ACCEPT_COUNT: \"11\" is outside 1..10",
        ),
        (
            "ROUTE_COUNT 4;",
            "",
            "fx_cf.cf:5: INTERCONNECT.CAFIS.ROUTE_COUNT: missing in this block",
        ),
        (
            "LOCAL_PORT",
            "CONNECTION_KEEPALIVE YES; LOCAL_PORT",
            "CONNECTION_KEEPALIVE: \"YES\" is not ON or OFF",
        ),
        (
            "MASKING_MODE",
            "DISPOSAL_JOURNAL_DATE 9999; MASKING_MODE",
            "is not a number of days, 0 or 4..3650",
        ),
        (
            "INTERCONNECT",
            "INTERCONECT",
            "fx_cf.cf: INTERCONNECT.CAFIS: missing",
        ),
        (
            "LOG_LEVEL INFORMATION;",
            "LOG_LEVEL INFORMATION",
            "fx_cf.cf:1: the value of SYSTEM.LOG_LEVEL does not end",
        ),
    ];
    for (from, to, expected) in cases {
        let found = refused(&MINIMAL.replacen(from, to, 1));
        assert!(
            found.len() == 1 && found[0].contains(expected),
            "{to}: {found:#?}"
        );
    }
    let several = MINIMAL
        .replace("INFORMATION", "LOUD")
        .replace("5000", "x")
        .replace("2010", "y");
    assert_eq!(refused(&several).len(), 3);
    let block = "CAFIS { LOCAL_ADDRESS 192.0.2.11; LOCAL_PORT 2010; ACCEPT_COUNT 9; ROUTE_COUNT 189; } CAFIS { LOCAL_ADDRESS";
    let summed = refused(&MINIMAL.replace("CAFIS { LOCAL_ADDRESS", block));
    assert!(
        summed[0].contains("the blocks have 11 together, more than 10"),
        "{summed:#?}"
    );
    assert!(
        summed[1].contains("the blocks have 193 together, more than 189"),
        "{summed:#?}"
    );
}

/// What is taken over but odd is explained.
#[test]
fn suspicious_values() {
    let remark = |from: &str, to: &str| {
        let report = imported(MINIMAL.replacen(from, to, 1).as_bytes()).report;
        report
            .suspicious
            .iter()
            .map(|entry| format!("{}: {}: {}", entry.line, entry.key, entry.text))
            .collect::<String>()
    };
    assert!(
        remark("localhost", "gateway.example")
            .contains("applications must run on the daemon's host")
    );
    assert_eq!(remark("localhost", "127.0.0.1"), "");
    assert!(
        remark("t32 58", "t32 40").starts_with("3: line.timers.t32_ms: 40000 ms is not 58000 ms")
    );
    assert!(remark("FXIPC_COM 5000", "FXIPC_COM 4000").contains("5000 and more only"));
    assert!(remark("MASKING", "DISPOSAL_JOURNAL_DATE 0; MASKING").contains("for ever"));
    assert!(remark("MASKING", "DISPOSAL_JOURNAL_DATE 2; MASKING").contains("4 is taken"));
    assert!(
        remark("LOG_LEVEL", "MASKING_MODE JCCA; LOG_LEVEL")
            .contains("\"JCCA\" is overridden by \"PCIDSS\" in line 1")
    );
}
