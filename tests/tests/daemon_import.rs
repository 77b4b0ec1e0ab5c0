//! From the old product to the new one: an `fx_cf.cf` is imported, the daemon runs with what came of it, and a C program that
//! was written for the old interface makes its payment through `libfxapi.so`.

use std::path::Path;
use std::process::Command;

use codec::link::message::TransactionState;
use loadgen::books::journal;
use loadgen::centre::config::company_code;
use tests::daemon::{Daemon, Plan, programs};

const ROOT: &str = env!("CARGO_TARGET_TMPDIR");

/// An invented `fx_cf.cf` of a plan's ports, with CRLF as such files have it.
fn fx_cf(plan: &Plan) -> String {
    format!(
        "# invented\nSYSTEM\n{{\n  SETTLEMENT_CENTER CAFIS;\n  LOG_LEVEL INFORMATION;\n  MASKING_MODE PCIDSS;\n}}\n\
         MSG_FIELD {{ TRANSACTION_ORIGINATOR_INSTITUTION_ID \"TEST0010000\"; }}\n\
         TIMER {{ EVENT_RECEIVE_TIMEOUT 90; CAFIS {{ t31 58; t32 58; t33 30; t34 30; t35 750; }} }}\n\
         SOCKET_PORT {{ FXIPC_COM {}; FXIPC_FXUMAIN_HOST localhost; }}\n\
         INTERCONNECT {{ CAFIS {{ LOCAL_ADDRESS 127.0.0.1; LOCAL_PORT {}; ACCEPT_COUNT 2; ROUTE_COUNT 8; }} }}\n",
        plan.api_port, plan.lines[0].port
    )
    .replace('\n', "\r\n")
}

/// Compiles the example as its own comment says.
fn example(plan: &Plan) -> std::path::PathBuf {
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("../client");
    let program = plan.dir.join("authorise");
    let status = Command::new("cc")
        .args(["-std=c11", "-D_POSIX_C_SOURCE=200809L", "-I"])
        .arg(client.join("include"))
        .arg("-o")
        .arg(&program)
        .arg(client.join("examples/authorise.c"))
        .arg("-L")
        .arg(&programs().library)
        .arg("-lfxapi")
        .status();
    assert!(
        status.expect("cc runs").success(),
        "the example does not compile"
    );
    program
}

/// Import, start, sign-on and payments by the C program: approved, refused, and timed out and settled, as its exit code says,
/// as the centre's ledger has it, and as it stands in the journal.
#[test]
fn an_old_configuration_and_an_old_program_work() {
    let plan = Plan::new(ROOT, "import");
    let old = plan.dir.join("fx_cf.cf");
    std::fs::write(&old, fx_cf(&plan)).expect("written");
    let out = plan.dir.join("imported");
    let import = Command::new(&programs().sekisho)
        .args(["config", "import-cf"])
        .arg(&old)
        .arg("--out")
        .arg(&out)
        .output()
        .expect("sekisho runs");
    assert!(import.status.success(), "{import:?}");
    let mut command = Command::new(&programs().sekishod);
    command.arg("--config").arg(out.join("sekisho.toml"));
    let mut daemon = Daemon::spawn(command);
    daemon.wait_log("is ready");
    let mut config = plan.centre_config();
    config.lines[0].company = company_code("TEST001", "0000").expect("a code");
    let centre = loadgen::centre::Centre::start_thread(config).expect("a centre");
    daemon.wait_log("2 of 2 centre sessions are up");
    let example = example(&plan);
    let pay = |arguments: &[&str]| {
        let output = Command::new(&example)
            .args(arguments)
            .env("LD_LIBRARY_PATH", &programs().library)
            .env("FX_CONF", &plan.dir)
            .output()
            .expect("the example runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (
            output.status.code(),
            text + &String::from_utf8_lossy(&output.stderr),
        )
    };
    let (code, text) = pay(&["00042", "1200", "signon"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("kind 3120 error [   ]"), "{text}");
    assert!(text.contains("terminal sequence 00042"), "{text}");
    assert_eq!(centre.control("refuse 100 G54"), "ok");
    let (code, text) = pay(&["00043"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("kind 3150 error [G54]"), "{text}");
    daemon.terminate();
    assert_eq!(daemon.wait_end().code(), Some(0));
    let (code, text) = pay(&["00044"]);
    assert_eq!(code, Some(4), "no daemon: {text}");
    let mut entries = journal::read(&out.join("data/journal")).expect("the journal");
    entries.sort_by_key(|entry| entry.sequence);
    let found: Vec<_> = entries
        .iter()
        .map(|entry| {
            (
                entry.sequence,
                entry.state,
                entry.report_mti,
                &entry.key[19..],
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            (1, TransactionState::Delivered, *b"3120", &b"00042"[..]),
            (2, TransactionState::Delivered, *b"3150", &b"00043"[..]),
        ]
    );
}
