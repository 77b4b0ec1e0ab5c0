//! Every row of the simulator's table of faults (`spec/atom.md` 17), met by the real process on both databases: what is
//! answered, where the order ends, who is told; and in the end the books of both sides agree.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::stage::{Commerced, Stage};
use crate::common;

/// A row: a fault, what the customer does, and what must come of it.
struct Row {
    name: &'static str,
    /// One rule, as the simulator reads it.
    rule: &'static str,
    /// What the customer does at the payment page.
    outcome: &'static str,
    /// How start-payment is answered. After a failure it is tried again, without the fault, under a new key.
    started: u16,
    /// Status of the order and outcome of its last attempt in the end.
    end: (&'static str, &'static str),
    /// The issue that must be open, if one.
    issue: &'static str,
}

const fn row(name: &'static str, rule: &'static str) -> Row {
    Row {
        name,
        rule,
        outcome: "success",
        started: 201,
        end: ("paid", "success"),
        issue: "",
    }
}

impl Row {
    const fn started(mut self, status: u16) -> Row {
        self.started = status;
        self
    }

    const fn outcome(mut self, outcome: &'static str, end: (&'static str, &'static str)) -> Row {
        self.outcome = outcome;
        self.end = end;
        self
    }

    const fn held(mut self, outcome: &'static str) -> Row {
        self.end = ("pending", outcome);
        self.issue = "amount_mismatch";
        self
    }

    const fn issue(mut self, kind: &'static str) -> Row {
        self.issue = kind;
        self
    }
}

/// The faults of a payment.
const PAYMENTS: &[Row] = &[
    row(
        "no fault",
        r#"{"api":"auth","fault":"lower_hex","nth":999}"#,
    ),
    // Connections and answers of AUTH.
    row("auth refused", r#"{"api":"auth","fault":"refuse"}"#).started(503),
    row(
        "auth dropped before",
        r#"{"api":"auth","fault":"drop_before"}"#,
    )
    .started(504),
    row(
        "auth dropped after",
        r#"{"api":"auth","fault":"drop_after"}"#,
    )
    .started(504),
    row("auth late", r#"{"api":"auth","fault":"delay","ms":2500}"#).started(504),
    row(
        "auth late and done late",
        r#"{"api":"auth","fault":"delay","ms":2500,"work_late":true}"#,
    )
    .started(504),
    row("auth 500", r#"{"api":"auth","fault":"http","status":500}"#).started(504),
    row("auth empty", r#"{"api":"auth","fault":"empty"}"#).started(504),
    row(
        "auth page 200",
        r#"{"api":"auth","fault":"html","status":200}"#,
    )
    .started(504),
    row(
        "auth page 502",
        r#"{"api":"auth","fault":"html","status":502}"#,
    )
    .started(504),
    row(
        "auth page 503",
        r#"{"api":"auth","fault":"html","status":503}"#,
    )
    .started(504),
    row(
        "auth truncated",
        r#"{"api":"auth","fault":"truncated_hex"}"#,
    )
    .started(504),
    row("auth odd", r#"{"api":"auth","fault":"odd_hex"}"#).started(504),
    row("auth lower case", r#"{"api":"auth","fault":"lower_hex"}"#),
    row("auth reversed", r#"{"api":"auth","fault":"reversed"}"#),
    row(
        "auth two fields",
        r#"{"api":"auth","fault":"two_enc_data"}"#,
    )
    .started(504),
    row("auth wrong key", r#"{"api":"auth","fault":"wrong_key"}"#).started(504),
    row("auth old key", r#"{"api":"auth","fault":"old_key"}"#),
    row(
        "auth plain 400",
        r#"{"api":"auth","fault":"plain_error","status":400,"code":"OTS0451"}"#,
    )
    .started(502)
    .issue("gateway_configuration"),
    row(
        "auth plain 403",
        r#"{"api":"auth","fault":"plain_error","status":403,"code":"OTS0451"}"#,
    )
    .started(502)
    .issue("gateway_configuration"),
    row(
        "auth code",
        r#"{"api":"auth","fault":"code","code":"OTS0600"}"#,
    )
    .started(502),
    row(
        "callback before the answer",
        r#"{"api":"auth","fault":"before_auth_answer"}"#,
    ),
    // What a callback says, and how.
    row(
        "bad signature",
        r#"{"api":"callback","fault":"bad_signature"}"#,
    ),
    row(
        "no signature",
        r#"{"api":"callback","fault":"null_signature"}"#,
    ),
    row(
        "signature in upper case",
        r#"{"api":"callback","fault":"upper_signature"}"#,
    ),
    row(
        "total changed",
        r#"{"api":"callback","fault":"total_changed"}"#,
    )
    .held("success"),
    row(
        "amount changed",
        r#"{"api":"callback","fault":"amount_changed"}"#,
    )
    .held("success"),
    row(
        "currency changed",
        r#"{"api":"callback","fault":"currency_changed"}"#,
    )
    .held("success"),
    row(
        "other merchant",
        r#"{"api":"callback","fault":"other_merchant"}"#,
    ),
    row(
        "callback truncated",
        r#"{"api":"callback","fault":"truncated_hex"}"#,
    ),
    row("callback odd", r#"{"api":"callback","fault":"odd_hex"}"#),
    row(
        "callback lower case",
        r#"{"api":"callback","fault":"lower_hex"}"#,
    ),
    row(
        "callback wrong key",
        r#"{"api":"callback","fault":"wrong_key"}"#,
    ),
    row(
        "callback old key",
        r#"{"api":"callback","fault":"old_key"}"#,
    ),
    row(
        "bank id missing",
        r#"{"api":"callback","fault":"bank_txn_id","form":"missing"}"#,
    ),
    row(
        "bank id empty, failed",
        r#"{"api":"callback","fault":"bank_txn_id","form":"empty"}"#,
    )
    .outcome("failed", ("pending", "failed")),
    row(
        "bank id null, failed",
        r#"{"api":"callback","fault":"bank_txn_id","form":"null"}"#,
    )
    .outcome("failed", ("pending", "failed")),
    row(
        "bank id null signed, failed",
        r#"{"api":"callback","fault":"bank_txn_id","form":"null_signed"}"#,
    )
    .outcome("failed", ("pending", "failed")),
    row(
        "bank id missing, failed",
        r#"{"api":"callback","fault":"bank_txn_id","form":"missing"}"#,
    )
    .outcome("failed", ("pending", "failed")),
    row(
        "channel as text",
        r#"{"api":"callback","fault":"sub_channel_text"}"#,
    ),
    row(
        "numbers as text",
        r#"{"api":"callback","fault":"numbers_as_text"}"#,
    ),
    row("callback lost", r#"{"api":"callback","fault":"lost"}"#),
    row(
        "callback six times",
        r#"{"api":"callback","fault":"duplicated","copies":5}"#,
    ),
    row(
        "failed after success",
        r#"{"api":"callback","fault":"failed_after_success"}"#,
    ),
    row(
        "success after failed",
        r#"{"api":"callback","fault":"success_after_failed"}"#,
    ),
    row(
        "unknown order",
        r#"{"api":"callback","fault":"unknown_order"}"#,
    )
    .issue("orphan_callback"),
    row(
        "cancel word",
        r#"{"api":"callback","fault":"word","word":"cancelTransaction"}"#,
    ),
    row(
        "timeout word",
        r#"{"api":"callback","fault":"word","word":"sessionTimeout"}"#,
    ),
    row("cancelled", r#"{"api":"callback","fault":"lost"}"#)
        .outcome("cancel", ("pending", "failed")),
    row("window closed", r#"{"api":"callback","fault":"lost"}"#)
        .outcome("close", ("pending", "pending")),
    row("two captures", r#"{"api":"pay","fault":"double_capture"}"#).issue("duplicate_capture"),
];

/// The faults of a status query, each on the first query of a payment whose callback was lost.
const QUERIES: &[&str] = &[
    r#"{"fault":"drop_before"}"#,
    r#"{"fault":"drop_after"}"#,
    r#"{"fault":"delay","ms":2500}"#,
    r#"{"fault":"http","status":503,"retry_after":1}"#,
    r#"{"fault":"empty"}"#,
    r#"{"fault":"html","status":200}"#,
    r#"{"fault":"truncated_hex"}"#,
    r#"{"fault":"odd_hex"}"#,
    r#"{"fault":"lower_hex"}"#,
    r#"{"fault":"reversed"}"#,
    r#"{"fault":"two_enc_data"}"#,
    r#"{"fault":"wrong_key"}"#,
    r#"{"fault":"old_key"}"#,
    r#"{"fault":"code","code":"OTS0951"}"#,
    r#"{"fault":"code","code":"OTS0401"}"#,
    r#"{"fault":"code","code":"OTS0201"}"#,
    r#"{"fault":"code","code":"OTS9999"}"#,
    r#"{"fault":"plain_error","status":200,"code":"OTS0506"}"#,
    r#"{"fault":"status_lag","ms":20000}"#,
];

/// The faults of a refund: how it is answered, and the state in which the refund ends.
const REFUNDS: &[(&str, u16, &str)] = &[
    (r#"{"api":"refund","fault":"refuse"}"#, 503, "accepted"),
    (r#"{"api":"refund","fault":"drop_before"}"#, 202, "accepted"),
    (r#"{"api":"refund","fault":"drop_after"}"#, 202, "accepted"),
    (
        r#"{"api":"refund","fault":"delay","ms":2500}"#,
        202,
        "accepted",
    ),
    (
        r#"{"api":"refund","fault":"delay","ms":2500,"work_late":true}"#,
        202,
        "accepted",
    ),
    (
        r#"{"api":"refund","fault":"http","status":500}"#,
        202,
        "accepted",
    ),
    (r#"{"api":"refund","fault":"empty"}"#, 202, "accepted"),
    (
        r#"{"api":"refund","fault":"html","status":200}"#,
        202,
        "accepted",
    ),
    (
        r#"{"api":"refund","fault":"truncated_hex"}"#,
        202,
        "accepted",
    ),
    (r#"{"api":"refund","fault":"odd_hex"}"#, 202, "accepted"),
    (r#"{"api":"refund","fault":"lower_hex"}"#, 201, "accepted"),
    (r#"{"api":"refund","fault":"reversed"}"#, 201, "accepted"),
    (
        r#"{"api":"refund","fault":"two_enc_data"}"#,
        202,
        "accepted",
    ),
    (r#"{"api":"refund","fault":"wrong_key"}"#, 202, "accepted"),
    (r#"{"api":"refund","fault":"old_key"}"#, 201, "accepted"),
    (
        r#"{"api":"refund","fault":"code","code":"OTS0405"}"#,
        201,
        "rejected",
    ),
    (
        r#"{"api":"refund","fault":"code","code":"OTS0951"}"#,
        202,
        "accepted",
    ),
    (r#"{"api":"refund","fault":"refund_fails"}"#, 201, "failed"),
];

async fn requery(stage: &Stage, at: &Commerced, order_id: &str) {
    let path = format!("/v1/admin/orders/{order_id}/requery");
    let (status, answer) = stage
        .post_as(&stage.operators[0], at, &path, "any", &json!({}))
        .await;
    assert_eq!(status, 202, "{answer}");
}

fn state_of(view: &Value) -> (String, String) {
    let last = view["attempts"].as_array().and_then(|all| all.last());
    let outcome = last.map_or("", |attempt| attempt["outcome"].as_str().unwrap_or(""));
    (
        view["status"].as_str().unwrap_or("").to_owned(),
        outcome.to_owned(),
    )
}

/// Lets time pass and queries be made until the order is as it must be.
async fn settle(stage: &Stage, at: &Commerced, order_id: &str, name: &str, end: (&str, &str)) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let view = stage.view(at, order_id).await;
        let now = state_of(&view);
        if (now.0.as_str(), now.1.as_str()) == end {
            return;
        }
        assert!(Instant::now() < deadline, "{name}: {view}\n{}", stage.log());
        stage.age(15).await;
        requery(stage, at, order_id).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn issues_of(stage: &Stage, order_id: &str) -> Vec<String> {
    use sqlx::Row;
    let rows = sqlx::query(
        "SELECT kind FROM issues WHERE (order_id = $1 OR order_id IS NULL) AND closed_at IS NULL",
    );
    let rows = rows.bind(order_id).fetch_all(stage.test.store.pool()).await;
    rows.expect("issues")
        .iter()
        .map(|row| row.get("kind"))
        .collect()
}

async fn payment(stage: &Stage, at: &Commerced, number: usize, row: &Row) -> String {
    let order_id = stage
        .order(at, &format!("P{number}"))
        .await
        .expect("an order");
    let rule: Value = serde_json::from_str(row.rule).expect("a rule");
    stage.only_faults(&rule).await;
    let (status, mut started) = stage
        .start_payment(at, &order_id, &format!("P{number}"))
        .await;
    assert_eq!(status, row.started, "{}: {started}", row.name);
    if status != 201 {
        assert!(
            started["code"]
                .as_str()
                .is_some_and(|code| code.starts_with("gateway_"))
        );
        stage.no_faults().await;
        // A refusal of the merchant opens the circuit, here for a tenth of a second.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let again = stage
            .start_payment(at, &order_id, &format!("P{number}-again"))
            .await;
        assert_eq!(again.0, 201, "{}: {}", row.name, again.1);
        started = again.1;
    }
    if !row.rule.contains("before_auth_answer") {
        let (status, acted) = stage.act(&started, row.outcome).await;
        assert_eq!(status, 200, "{}: {acted}", row.name);
    }
    stage.no_faults().await;
    settle(stage, at, &order_id, row.name, row.end).await;
    if !row.issue.is_empty() {
        // Some are seen by a query only.
        let deadline = Instant::now() + Duration::from_secs(30);
        while !issues_of(stage, &order_id)
            .await
            .contains(&row.issue.to_owned())
        {
            assert!(Instant::now() < deadline, "{}: no {}", row.name, row.issue);
            stage.age(15).await;
            requery(stage, at, &order_id).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    order_id
}

async fn query(stage: &Stage, at: &Commerced, number: usize, fault: &str) {
    let order_id = stage
        .order(at, &format!("Q{number}"))
        .await
        .expect("an order");
    let (_, started) = stage.start_payment(at, &order_id, "pay").await;
    let mut rule: Value = serde_json::from_str(fault).expect("a rule");
    rule["api"] = json!("status");
    // Whatever strikes for good strikes one query with its repeats.
    if rule["fault"] != "status_lag" {
        rule["times"] = json!(3);
    }
    stage
        .only_faults(&json!([rule, {"api": "callback", "fault": "lost"}]))
        .await;
    assert_eq!(stage.act(&started, "success").await.0, 200);
    settle(stage, at, &order_id, fault, ("paid", "success")).await;
}

async fn refund(stage: &Stage, at: &Commerced, number: usize, row: &(&str, u16, &str)) {
    let (fault, answered, end) = *row;
    stage.no_faults().await;
    let order_id = stage
        .paid(at, &format!("R{number}"))
        .await
        .expect("an order");
    stage
        .until(at, &order_id, |view| !view["confirmed_at"].is_null())
        .await;
    stage
        .only_faults(&serde_json::from_str(fault).expect("a rule"))
        .await;
    let path = format!("/v1/orders/{order_id}/refunds");
    let (status, answer) = stage.post(at, &path, "refund", &json!({})).await;
    assert_eq!(status, answered, "{fault}: {answer}");
    stage.no_faults().await;
    let state = |view: &Value| {
        view["refunds"][0]["state"]
            .as_str()
            .unwrap_or("")
            .to_owned()
    };
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut aged = 0;
    loop {
        let view = stage.view(at, &order_id).await;
        if state(&view) == end {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "{fault}: {view}\n{}",
            stage.log()
        );
        // A refund comes to its end at the simulator after a day.
        let step = if end == "failed" { 90_000 } else { 301 };
        stage.age(step).await;
        aged += step;
        tokio::time::sleep(Duration::from_millis(150)).await;
        let unlisted = issues_of(stage, &order_id).await;
        if unlisted.contains(&"refund_not_listed".to_owned()) {
            resend(stage, at, &view["refunds"][0]["refund_id"]).await;
        }
    }
    assert!(
        aged == 0 || answered != 201 || end == "failed",
        "{fault}: it was known at once"
    );
}

/// Two operators send a refund again that Atom has said it does not list. Should it have it after all, the books show it:
/// here a repeated number is carried out twice.
async fn resend(stage: &Stage, at: &Commerced, refund_id: &Value) {
    let id = refund_id.as_str().expect("an id");
    for (who, key) in stage.operators.iter().zip(["a", "b"]) {
        let path = format!("/v1/admin/refunds/{id}/resolve");
        let body = json!({"action": "resend", "note": "Atom says it never came"});
        let (status, answer) = stage.post_as(who, at, &path, key, &body).await;
        assert_eq!(status, 200, "{id}: {answer}");
    }
}

async fn all_rows(test: common::TestStore) {
    let stage = Stage::new(
        test,
        &[
            ("[flow]", "queries_per_s_max = 1000"),
            ("[atom.breaker]", "open_ms = 100"),
        ],
    )
    .await;
    let at = stage.start(None).expect("it serves");
    // What nobody may rely on: a repeated refund is carried out again.
    let (status, _) = stage
        .control("switches", &json!({"repeated_refund": "second_refund"}))
        .await;
    assert_eq!(status, 200);
    let mut ends = Vec::new();
    for (number, row) in PAYMENTS.iter().enumerate() {
        ends.push(payment(&stage, &at, number, row).await);
    }
    for (number, fault) in QUERIES.iter().enumerate() {
        query(&stage, &at, number, fault).await;
    }
    // What the customer left open is decided by time, and not looked at here.
    for (order_id, row) in ends
        .iter()
        .zip(PAYMENTS)
        .filter(|(_, row)| row.outcome != "close")
    {
        let now = state_of(&stage.view(&at, order_id).await);
        assert_eq!(
            (now.0.as_str(), now.1.as_str()),
            row.end,
            "{} later",
            row.name
        );
    }
    for (number, row) in REFUNDS.iter().enumerate() {
        refund(&stage, &at, number, row).await;
    }
    contradicting_status(&stage, &at).await;
    late_capture(&stage, &at).await;
    amounts_times_100(&stage, &at).await;
    reversal(&stage, &at).await;
    let books = stage.books(&at).await;
    assert!(books.agree(), "{}", books.shown(20));
    let faults = PAYMENTS.len() + QUERIES.len() + REFUNDS.len() + 4;
    println!(
        "{faults} faults on {}; {}",
        stage.test.name(),
        books.shown(0)
    );
}

/// The status denies what the callback said.
async fn contradicting_status(stage: &Stage, at: &Commerced) {
    let rule = json!({"api": "status", "fault": "code", "code": "OTS0600"});
    stage.only_faults(&rule).await;
    let order_id = stage.paid(at, "contradiction").await.expect("an order");
    let deadline = Instant::now() + Duration::from_secs(30);
    while !issues_of(stage, &order_id)
        .await
        .contains(&"result_contradicts".to_owned())
    {
        assert!(
            Instant::now() < deadline,
            "nobody was told\n{}",
            stage.log()
        );
        stage.age(15).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (status, answer) = stage
        .post(at, &format!("/v1/orders/{order_id}/ship"), "k", &json!({}))
        .await;
    assert_eq!((status, &answer["code"]), (409, &json!("invalid_state")));
    stage.no_faults().await;
}

/// A callback that comes after the order expired: the money goes back by itself.
async fn late_capture(stage: &Stage, at: &Commerced) {
    let order_id = stage.order(at, "late").await.expect("an order");
    let (_, started) = stage.start_payment(at, &order_id, "pay").await;
    // The customer has paid, and neither callback nor query tells of it before the order is over.
    stage
        .only_faults(&json!([
            {"api": "callback", "fault": "delayed", "ms": 100_000_000},
            {"api": "status", "fault": "code", "code": "OTS0401"},
        ]))
        .await;
    let token = &started["checkout"]["options"]["atomTokenId"];
    let (status, _) = stage
        .control("pay", &json!({"token": token, "outcome": "success"}))
        .await;
    assert_eq!(status, 200);
    stage.age(86_500).await;
    let expired = stage
        .until(at, &order_id, |view| view["status"] == "cancelled")
        .await;
    assert_eq!(expired["attempts"][0]["phase"], "abandoned");
    stage.no_faults().await;
    stage.age(20_000).await;
    let given_back = stage
        .until(at, &order_id, |view| {
            view["refunds"][0]["state"] == "accepted"
        })
        .await;
    assert_eq!(given_back["status"], "cancelled");
    stage
        .until_count(
            "issues WHERE kind = 'late_capture' AND closed_at IS NULL",
            0,
        )
        .await;
}

/// The list of refunds shows paise for rupees: an issue, and the refund stays as it is.
async fn amounts_times_100(stage: &Stage, at: &Commerced) {
    let order_id = stage.paid(at, "paise").await.expect("an order");
    stage
        .only_faults(&json!([
            {"api": "refund", "fault": "drop_after"},
            {"api": "refund_status", "fault": "amount_times100"},
        ]))
        .await;
    let path = format!("/v1/orders/{order_id}/refunds");
    assert_eq!(stage.post(at, &path, "r", &json!({})).await.0, 202);
    let wanted = "refund_amount_mismatch".to_owned();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !issues_of(stage, &order_id).await.contains(&wanted) {
        assert!(Instant::now() < deadline, "nobody was told");
        stage.age(61).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(
        stage.view(at, &order_id).await["refunds"][0]["state"],
        "unknown"
    );
    stage.no_faults().await;
    stage.age(4_000).await;
    stage
        .until(at, &order_id, |view| {
            view["refunds"][0]["state"] == "accepted"
        })
        .await;
}

/// Atom gives a payment back by itself on the second day.
async fn reversal(stage: &Stage, at: &Commerced) {
    stage
        .only_faults(&json!({"api": "pay", "fault": "auto_reverse"}))
        .await;
    let order_id = stage.paid(at, "reversed").await.expect("an order");
    stage
        .until(at, &order_id, |view| !view["confirmed_at"].is_null())
        .await;
    stage.age(3 * 86_400).await;
    let view = stage
        .until(at, &order_id, |view| view["status"] == "cancelled")
        .await;
    assert_eq!(state_of(&view).1, "reversed");
}

/// All rows on SQLite.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_on_sqlite() {
    all_rows(common::sqlite().await).await;
}

/// All rows on PostgreSQL.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_on_postgres() {
    all_rows(common::postgres().await).await;
}
