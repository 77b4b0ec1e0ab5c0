//! `loadgen books-frex` as a program: it agrees, disagrees loudly, and names what it cannot read.

use std::process::{Command, Output};

use commerce::frex::settings::WorkerSettings;
use loadgen::frex::rules::Rules;

use crate::rig::{self, Rig};

fn books(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .arg("books-frex")
        .args(args)
        .output()
        .expect("loadgen runs")
}

/// After a quiet run the exit code is 0; after the agency lost a bill it is 4 and the order is named; what is missing is named.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_says_so() {
    let rig = Rig::new(Rules::default(), WorkerSettings::default()).await;
    for order in ["F1", "F2-HA", "F3-R21"] {
        rig::place(&rig.shop, order, 1_000).await;
    }
    rig.settle(31, 40).await;
    let sim = format!("http://{}", rig.centre.control);
    let run = |args: Vec<String>| async move {
        let done = tokio::task::spawn_blocking(move || {
            books(&args.iter().map(String::as_str).collect::<Vec<_>>())
        });
        done.await.expect("it ends")
    };
    let args = |database: &str, sim: &str| {
        vec![
            "--database".to_owned(),
            database.to_owned(),
            "--sim".to_owned(),
            sim.to_owned(),
        ]
    };
    let done = run(args(rig.url(), &sim)).await;
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    assert_eq!(done.status.code(), Some(0), "{text}");
    assert!(
        text.contains("orders    2 billed, 1 refused") && text.ends_with("the books agree\n"),
        "{text}"
    );
    let ledger = tempfile::NamedTempFile::new().expect("a file");
    let mut lost = rig.centre.ledger();
    lost.transactions[0].bills.clear();
    std::fs::write(ledger.path(), serde_json::to_string(&lost).expect("JSON")).expect("written");
    let path = ledger.path().display().to_string();
    let done = run(vec![
        "--database".into(),
        rig.url().into(),
        "--ledger".into(),
        path,
    ])
    .await;
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    assert_eq!(done.status.code(), Some(4), "{text}");
    assert!(
        text.contains("DISAGREE  invariant 2: F1: billed here, not at the agency"),
        "{text}"
    );
    let done = run(args("sqlite:/nowhere/frex.db", &sim)).await;
    let text = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(1), "{text}");
    assert!(
        text.contains("--database sqlite:/nowhere/frex.db: "),
        "{text}"
    );
}
