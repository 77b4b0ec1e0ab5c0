//! The worker's process is ended at every durable point of every step, started again, and run until quiet: then the tables and
//! the agency's ledger agree, and every order has come to its end.

use commerce::frex::decide::Decider;
use commerce::frex::shop::SHOP_POINTS;
use commerce::frex::steps::table::STEPS;
use commerce::frex::worker::RUN_POINTS;
use loadgen::frex::rules::{Repeat, Rules};

use crate::child::{Process, Start};
use crate::common::{self, TestStore};
use crate::frex_support::{MINUTE_MS, START_MS};
use crate::rig;

/// What a crash leaves behind is taken up when the lease has ended.
const LEASE_MIN: i64 = 16;
/// Longest that a script takes.
const SCRIPT_MIN: i64 = 100;

/// The points of questions about outcomes that lie on the way to SKIPPED: an order whose outcome is awaited is never closed
/// by anybody else, so no run comes by there.
fn unreachable(point: &str) -> bool {
    let question = [
        "OrderResult",
        "UpdateResult",
        "DeleteResult",
        "BillingResult",
    ];
    question
        .iter()
        .any(|step| point == format!("frex.{step}.mark") || point == format!("frex.{step}.marked"))
}

fn all_points() -> Vec<&'static str> {
    let steps = STEPS.iter().flat_map(|step| step.points.all());
    RUN_POINTS
        .into_iter()
        .chain(SHOP_POINTS)
        .chain(steps)
        .collect()
}

async fn killed_everywhere(test: &TestStore) {
    // An agency that executes again whatever is repeated: only the worker's own care keeps orders from being billed twice.
    let centre = rig::centre(Rules {
        repeat: Repeat::Again,
        ..Rules::default()
    })
    .await;
    let agency = centre.address.to_string();
    let settled = |process: &mut Process, after: &str| -> i64 {
        let said = tokio::task::block_in_place(|| process.tell("settle"));
        let said = said.unwrap_or_else(|| panic!("it died after {after}"));
        let now = said.strip_prefix("quiet ").and_then(|now| now.parse().ok());
        now.unwrap_or_else(|| panic!("not quiet after {after}: {said}"))
    };
    let seed = rig::shop(
        test.store.clone(),
        commerce::clock::Clock::manual(START_MS),
        &commerce::frex::settings::WorkerSettings::default(),
        commerce::points::Points::none(),
    );
    seed.set_joiner("J1", true, Decider::without_note("test"))
        .await
        .expect("a company");
    let (mut now, mut survived, mut before) = (START_MS, Vec::new(), "the start");
    let points = all_points();
    for (count, point) in points.iter().enumerate() {
        let mut process = Process::start(&Start {
            url: &test.url,
            agency: agency.clone(),
            now_ms: Some(now + LEASE_MIN * MINUTE_MS),
            settings: "{}",
            owner: point,
            crash_at: Some(point),
        });
        // It takes up what the one before left, and then goes to its own end.
        now = settled(&mut process, before);
        let findings = rig::books(&test.url, &centre).await;
        assert!(
            findings.agree(),
            "{}, after {before}: {}",
            test.name(),
            findings.shown(9)
        );
        let said = tokio::task::block_in_place(|| process.tell(&format!("script {count}")));
        if said.is_some() {
            survived.push(*point);
        }
        now += SCRIPT_MIN * MINUTE_MS;
        before = point;
    }
    let mut last = Process::start(&Start {
        url: &test.url,
        agency,
        now_ms: Some(now + LEASE_MIN * MINUTE_MS),
        settings: "{}",
        owner: "last",
        crash_at: None,
    });
    settled(&mut last, before);
    let findings = rig::books(&test.url, &centre).await;
    println!(
        "{}: {} crash points\n{}",
        test.name(),
        points.len() - survived.len(),
        findings.shown(9)
    );
    assert!(findings.agree(), "{}: {}", test.name(), findings.shown(9));
    assert_eq!(findings.alerted, 0, "an order needs a person");
    let rest: Vec<&&str> = survived
        .iter()
        .filter(|point| !unreachable(point))
        .collect();
    assert!(rest.is_empty(), "{}: never reached: {rest:?}", test.name());
    assert_eq!(
        survived.len(),
        8,
        "a point thought unreachable was reached: {survived:?}"
    );
    let open = findings
        .orders
        .get("in progress")
        .copied()
        .unwrap_or_default();
    assert_eq!(open, 0, "{:?}", findings.orders);
}

/// On SQLite.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_every_point_on_sqlite() {
    killed_everywhere(&common::sqlite().await).await;
}

/// On PostgreSQL.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_every_point_on_postgres() {
    killed_everywhere(&common::postgres().await).await;
}
