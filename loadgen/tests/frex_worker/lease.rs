//! Two workers, each a process of its own, on one PostgreSQL: one batch at a time, and the survivor takes over.

use std::time::{Duration, Instant};

use commerce::clock::Clock;
use commerce::frex::decide::Decider;
use commerce::frex::settings::WorkerSettings;
use commerce::points::Points;
use loadgen::frex::rules::{Repeat, Rules};

use crate::child::{Process, Start};
use crate::common;
use crate::rig;

const ORDERS: usize = 120;
/// Settings under which a lease ends soon, and the next run is due at once.
const SETTINGS: &str = r#"{"interval_s":0,"lease_s":2,"lease_renew_s":1,"retry_s":[1],"call_items":10,"page_rows":20,"commit_items":5,"quiet_s":1,"agency_delay_s":0,"call_timeout_s":1}"#;
const DEADLINE: Duration = Duration::from_secs(60);

/// Both start at once and compete for every run. One is killed in the middle of its work; the other ends it. Every request was
/// sent by one of them only, and the books agree.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_share_the_work() {
    let test = common::postgres().await;
    let centre = rig::centre(Rules {
        repeat: Repeat::Again,
        ..Rules::default()
    })
    .await;
    let shop = rig::shop(
        test.store.clone(),
        Clock::system(),
        &WorkerSettings::default(),
        Points::none(),
    );
    shop.set_joiner("J1", true, Decider::without_note("test"))
        .await
        .expect("a company");
    let start = |owner| {
        Process::start(&Start {
            url: &test.url,
            agency: centre.address.to_string(),
            now_ms: None,
            settings: SETTINGS,
            owner,
            crash_at: None,
        })
    };
    let (mut first, mut second) = (start("first"), start("second"));
    first.say("compete");
    second.say("compete");
    for count in 0..ORDERS {
        rig::place(&shop, &format!("L{count:03}"), 1_000).await;
    }
    let billed = async || -> i64 {
        let sql = "SELECT COUNT(*) FROM frex_state_info WHERE billing_state = 'COMPLETE'";
        sqlx::query_scalar(sql)
            .fetch_one(test.store.pool())
            .await
            .expect("a count")
    };
    let deadline = Instant::now() + DEADLINE;
    let reached = async |count: i64| {
        while billed().await < count {
            assert!(Instant::now() < deadline, "only {} billed", billed().await);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    // Not before both had a run, so that the one that is killed was at work.
    reached(1).await;
    loop {
        let owners: i64 = sqlx::query_scalar("SELECT COUNT(DISTINCT owner) FROM frex_run")
            .fetch_one(test.store.pool())
            .await
            .expect("a count");
        if owners == 2 {
            break;
        }
        assert!(Instant::now() < deadline, "only one of them ever ran");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    first.kill();
    reached(i64::try_from(ORDERS).expect("small")).await;
    let said = tokio::task::block_in_place(|| second.tell("stop")).expect("it lives");
    assert!(said.starts_with("runs "), "{said}");
    let findings = rig::books(&test.url, &centre).await;
    assert!(findings.agree(), "{}", findings.shown(9));
    assert_eq!(findings.bills.0, ORDERS as u64);
    // Runs never overlap: the one began after the other had ended, unless that one was killed.
    let runs: Vec<(String, i64, i64)> =
        sqlx::query_as("SELECT state, started_at, ended_at FROM frex_run ORDER BY fence")
            .fetch_all(test.store.pool())
            .await
            .expect("runs");
    for pair in runs.windows(2) {
        let (before, after) = (&pair[0], &pair[1]);
        assert!(
            before.0 == "ABANDONED" || before.2 <= after.1,
            "{before:?} {after:?}"
        );
    }
    let abandoned = runs.iter().filter(|run| run.0 == "ABANDONED").count();
    assert!(
        abandoned <= 1,
        "{abandoned} runs abandoned, one process killed"
    );
    let fences: i64 = sqlx::query_scalar("SELECT COUNT(DISTINCT fence) FROM frex_run")
        .fetch_one(test.store.pool())
        .await
        .expect("a count");
    assert_eq!(fences, i64::try_from(runs.len()).expect("small"));
}
