//! The batch: paused, by hand, shared by processes, and ended.

use std::time::{Duration, Instant};

use commerce::store::{Store, StoreSettings};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::agency::Agency;
use super::common;
use super::shop::{Setup, Shop, number};

/// A paused worker runs only by hand, with the steps asked for; it says who paused it, and goes on when told to.
#[tokio::test]
async fn a_paused_worker_runs_by_hand_only() {
    let agency = Agency::start();
    let shop = Shop::start(&agency, &Setup::default()).await;
    let paused = shop
        .admin(Method::POST, "/pause")
        .send()
        .await
        .expect("sent");
    let state: Value = paused.json().await.expect("JSON");
    assert_eq!(state["paused"], true);
    let since = Instant::now();
    // A run that had begun before may still be at work.
    while shop
        .admin(Method::GET, "/worker")
        .send()
        .await
        .expect("sent")
        .json::<Value>()
        .await
        .expect("JSON")["running"]
        == true
    {
        assert!(since.elapsed() < Duration::from_secs(60));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    shop.place("P1", 11_000).await;
    let before = number(&state["fence"]);
    // Twice the interval, in which a worker that is not paused would have run.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(shop.read("P1").await["stage"], "placed");
    let (good, said) = shop.command(&["status"]);
    assert!(good && said.contains("paused_by"), "{said}");

    let batch = |steps: Value| shop.admin(Method::POST, "/batch").json(&steps);
    let begun = batch(json!({"steps": ["OrderReg"]}))
        .send()
        .await
        .expect("sent");
    assert_eq!(begun.status(), StatusCode::ACCEPTED);
    let run_id = begun.json::<Value>().await.expect("JSON")["run_id"].clone();
    let run = shop
        .listed("/runs", |it| {
            it["run_id"] == run_id && it["state"] == "PART"
        })
        .await;
    assert!(number(&run["fence"]) > before);
    let steps = run["report"]["steps"].as_array().expect("steps");
    assert_eq!(steps.len(), 1, "{run:#}");
    assert_eq!(steps[0]["sent"], 1);
    assert_eq!(shop.read("P1").await["stage"], "registering");
    let (good, said) = shop.command(&[
        "run",
        "--operator",
        "desk",
        "--steps",
        "BillingReg,OrderResult",
    ]);
    assert!(good && said.contains("OrderResult selected 1"), "{said}");
    assert_eq!(shop.read("P1").await["stage"], "screening");

    // A run is active as long as the agency keeps it waiting.
    agency
        .faults(&json!([{"kind": "delay", "call": "authorizations", "delay_ms": 800, "times": 1}]))
        .await;
    let first = batch(json!({})).send().await.expect("sent");
    assert_eq!(first.status(), StatusCode::ACCEPTED);
    let second = batch(json!({})).send().await.expect("sent");
    assert_eq!(second.status(), StatusCode::CONFLICT);
    assert_eq!(
        second.json::<Value>().await.expect("JSON")["code"],
        "run_active"
    );

    let (good, said) = shop.command(&["resume", "--operator", "desk"]);
    assert!(good, "{said}");
    let (good, joined) = shop.command(&["joiner", "J1", "on", "--operator", "desk"]);
    assert!(good && joined.contains("J1: UseFrex on"), "{joined}");
    shop.reaches("P1", "billed").await;

    // Who did what stands in the order's history and in the log, from the terminal too.
    let history = shop.list("/orders/P1/history").await;
    let by = |action: &str| {
        let found = history.iter().find(|it| it["action"] == action);
        let found = found.unwrap_or_else(|| panic!("no {action} in {history:#?}"));
        found["operator"].as_str().expect("a name").to_owned()
    };
    assert!(by("resume").starts_with("cli:desk (uid "), "{history:#?}");
    assert!(by("use_frex_on").starts_with("cli:desk (uid "));
    let log = format!("{said}{}", shop.daemon.log());
    let line = "frex: resume of :worker by 'cli:desk (uid ";
    assert!(log.contains(line), "{log}");
}

/// What the alerts for Prometheus ask of deferred payment is told by a daemon that has it.
#[tokio::test]
async fn the_alerts_ask_for_metrics_that_are_there() {
    let agency = Agency::start();
    let shop = Shop::start(&agency, &Setup::default()).await;
    // A count of what has not happened yet is not told.
    agency
        .faults(&json!([{"kind": "drop_after", "call": "register", "times": 1}]))
        .await;
    shop.place("M1-R22", 11_000).await;
    shop.listed("/alerts", |it| it["kind"] == "screening_ng")
        .await;
    let there = shop.metrics().await;
    let names = common::names_in_alerts().into_iter();
    let names: Vec<String> = names.filter(|name| name.starts_with("frex_")).collect();
    assert!(names.len() >= 6, "{names:?}");
    for name in names {
        assert!(there.contains(&format!("# HELP {name} ")), "no {name}");
    }
}

/// At a stop the run under way comes to its end, gives the lease back, and the process ends well.
#[tokio::test]
async fn a_stop_lets_the_run_end() {
    let agency = Agency::start();
    let setup = Setup {
        timeout_ms: Some(20_000),
        ..Setup::default()
    };
    let mut shop = Shop::start(&agency, &setup).await;
    agency
        .faults(&json!([{"kind": "delay", "call": "register", "delay_ms": 4_000}]))
        .await;
    shop.place("S1", 11_000).await;
    shop.listed("/requests", |it| it["state"] == "SENDING")
        .await;
    let since = Instant::now();
    assert!(shop.daemon.stop(), "{}", shop.daemon.log());
    assert!(since.elapsed() < Duration::from_secs(20));
    let (good, said) = shop.command(&["status"]);
    assert!(good, "{said}");
    let running = said.lines().find(|line| line.starts_with("running"));
    assert!(
        running.is_some_and(|line| line.ends_with("false")),
        "{said}"
    );
    let (_, said) = shop.command(&["requests"]);
    assert!(said.contains("S1:ORDER_REG:0  COMPLETE"), "{said}");
}

/// Two processes on one PostgreSQL share the work: runs never overlap, each has its own number, and every order is billed once.
#[tokio::test]
async fn two_processes_share_the_work() {
    const ORDERS: usize = 30;
    let agency = Agency::start();
    let store = common::postgres().await;
    let setup = Setup {
        store: store.url.clone(),
        ..Setup::default()
    };
    let one = Shop::start(&agency, &setup).await;
    let two = Shop::start(&agency, &setup).await;
    for n in 0..ORDERS {
        let shop = if n % 2 == 0 { &one } else { &two };
        shop.place(
            &format!("T{n}"),
            11_000 + 110 * i64::try_from(n).expect("small"),
        )
        .await;
    }
    for n in 0..ORDERS {
        one.reaches(&format!("T{n}"), "billed").await;
        let bills = agency.bills(&format!("T{n}")).await;
        assert_eq!(bills.len(), 1, "T{n}: {bills:?}");
    }
    one.runs(4).await;
    let mut runs = one.list("/runs?limit=200").await;
    runs.reverse();
    for pair in runs.windows(2) {
        assert!(
            number(&pair[1]["fence"]) > number(&pair[0]["fence"]),
            "{pair:#?}"
        );
        let (ended, began) = (pair[0]["ended_at"].as_str(), pair[1]["started_at"].as_str());
        assert!(ended <= began, "{pair:#?}");
    }
    let pages = one
        .admin(Method::GET, "/requests?limit=7")
        .send()
        .await
        .expect("sent");
    let page: Value = pages.json().await.expect("JSON");
    let cursor = page["next_cursor"]
        .as_str()
        .expect("there is more")
        .to_owned();
    let next = one
        .list(&format!("/requests?limit=7&cursor={cursor}"))
        .await;
    assert_eq!(
        (page["items"].as_array().map(Vec::len), next.len()),
        (Some(7), 7)
    );
    assert!(
        page["items"]
            .as_array()
            .expect("items")
            .iter()
            .all(|it| !next.contains(it))
    );
    let (good, said) = two.command(&["check"]);
    assert!(good, "{said}");
    let (good, said) = two.command(&["reconcile"]);
    assert!(good && said.contains("30 billed"), "{said}");
}

/// A worker that is killed in the middle of a run leaves its lease for a quarter of an hour. Another one on the same machine sees
/// that its process is gone, takes over, and asks what became of what was sent.
#[tokio::test]
async fn a_killed_worker_is_followed_at_once() {
    let agency = Agency::start();
    let store = common::postgres().await;
    let setup = Setup {
        store: store.url.clone(),
        timeout_ms: Some(20_000),
        ..Setup::default()
    };
    let one = Shop::start(&agency, &setup).await;
    agency
        .faults(&json!([{"kind": "delay", "call": "register", "delay_ms": 15_000, "times": 1}]))
        .await;
    one.place("K1", 11_000).await;
    one.listed("/requests", |it| it["state"] == "SENDING").await;
    let killed = one.list("/runs").await.swap_remove(0);
    assert_eq!(killed["state"], "RUNNING");
    drop(one);
    let two = Shop::start(&agency, &setup).await;
    two.listed("/runs", |it| {
        it["run_id"] == killed["run_id"] && it["state"] == "ABANDONED"
    })
    .await;
    two.reaches("K1", "billed").await;
    assert_eq!(agency.bills("K1").await.len(), 1);
    assert_eq!(agency.transactions("K1").await.len(), 1);
    let log = two.daemon.log();
    assert!(log.contains("is gone without an end of its run"), "{log}");
}

/// A bill that only the agency has, and one that only we have, are found by the comparison.
#[tokio::test]
async fn the_books_are_compared() {
    let agency = Agency::start();
    let setup = Setup {
        worker: "billing_trigger = \"order_end\"".to_owned(),
        ..Setup::default()
    };
    let shop = Shop::start(&agency, &setup).await;
    shop.place("R1", 11_000).await;
    let approved = shop.reaches("R1", "approved").await;
    let (good, said) = shop.command(&["reconcile"]);
    assert!(good && said.contains("0 billed, 1 not billed"), "{said}");
    // Somebody else asks for a bill of our order.
    let bill = json!({"requests": [{"requestKey": "R1:BILLING_REG:77", "npTransactionId": approved["np_transaction_id"],
        "billedAmount": 11_000, "billIssueBaseDate": "2025-01-20"}]});
    let asked = reqwest::Client::new()
        .post(format!("{}/frex/v1/bills/request", agency.url))
        .basic_auth("shop", Some("password"))
        .header("x-np-terminal-id", "terminal")
        .json(&bill)
        .send()
        .await
        .expect("sent");
    assert!(asked.status().is_success());
    let (good, said) = shop.command(&["reconcile"]);
    assert!(
        !good && said.contains("1 billed there and not here"),
        "{said}"
    );
    let alert = shop
        .listed("/alerts", |it| it["kind"] == "reconcile_mismatch")
        .await;
    assert_eq!(
        (&alert["severity"], &alert["order_no"]),
        (&json!("critical"), &json!("R1"))
    );
    let path = format!("/alerts/{}/resolve", alert["id"].as_str().expect("an id"));
    let done = shop.admin(Method::POST, &path).send().await.expect("sent");
    assert_eq!(done.status(), StatusCode::OK);
    assert!(shop.list("/alerts").await.is_empty());
}

/// The daemon holds its tables against the rules by itself: a row that somebody broke is a critical alert and a count, once.
#[tokio::test]
async fn a_broken_rule_is_told() {
    let agency = Agency::start();
    let setup = Setup {
        frex: "check_interval_s = 1".to_owned(),
        ..Setup::default()
    };
    let shop = Shop::start(&agency, &setup).await;
    shop.place("B1", 11_000).await;
    shop.reaches("B1", "billed").await;
    let file = shop.daemon.config_file().with_file_name("commerce.db");
    let url = format!("sqlite:{}", file.display());
    let store = Store::open(&url, &StoreSettings::default()).await;
    sqlx::query("UPDATE frex_order SET str_money_input = 'TEMPPAYMENT' WHERE order_no = 'B1'")
        .execute(store.expect("it opens").pool())
        .await
        .expect("broken");
    let rule = "2_billed_columns";
    let alert = shop.listed("/alerts", |it| it["request_key"] == rule).await;
    assert_eq!(
        (&alert["kind"], &alert["severity"]),
        (&json!("invariant_violated"), &json!("critical"))
    );
    // Another check does not find it anew.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let metrics = shop.metrics().await;
    for rule in [rule, "3_approved_columns"] {
        let line = format!("frex_invariant_violations_total{{rule=\"{rule}\"}} 1");
        assert!(metrics.contains(&line), "{line} is not in {metrics}");
    }
}
