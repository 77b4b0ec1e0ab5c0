//! What the log says and what it never says, and that every metric is there, after a little of everything
//! (`spec/atom.md` 16, invariant 8).

use loadgen::atom::run::bad::{Forger, Kind};
use loadgen::atom::sim::config::Identity;
use serde_json::json;

use super::stage::{Commerced, Stage};
use crate::common;
use crate::daemon::SECRETS;

/// The log points of section 16, as their lines begin, with the fields each must have.
const POINTS: &[(&str, &[&str])] = &[
    (
        "Payment initiated",
        &[
            "orderId=",
            "amount=",
            "attempt=",
            "merchTxnId=",
            "requestId=",
        ],
    ),
    (
        "Token received",
        &["atomTokenId=***", "attempt=", "durationMs="],
    ),
    (
        "Callback received",
        &[
            "atomTxnId=",
            "status=",
            "merchTxnId=",
            "source=",
            "result=",
            "digest=",
        ],
    ),
    (
        "Signature verification failed",
        &["orderId=", "source=", "digest=", "key="],
    ),
    (
        "API call failed",
        &[
            "error=",
            "retryCount=",
            "api=",
            "class=",
            "httpStatus=",
            "durationMs=",
        ],
    ),
    (
        "Order state changed",
        &["orderId=", "from=", "to=", "cause="],
    ),
    (
        "Refund state changed",
        &["refund=", "from=", "to=", "code="],
    ),
    ("Amount mismatch", &["orderId=", "attempt="]),
    ("Issue opened kind=orphan_callback", &["detail="]),
    (
        "Issue opened kind=duplicate_capture",
        &["orderId=", "atom_txn_id", "amount"],
    ),
    (
        "Requery result differs from the callback",
        &["callback=", "status="],
    ),
];

/// The metrics of section 16.
const METRICS: &[&str] = &[
    "payment_success_rate{sub_channel=\"CC\"}",
    "avg_response_time{api=\"auth\",stat=\"mean\"}",
    "avg_response_time{api=\"auth\",stat=\"p95\"}",
    "gateway_call_seconds_bucket{api=\"auth\"",
    "error_rate{api=\"auth\",class=\"all\"}",
    "api_availability{api=\"status\"}",
    "signature_failure_rate ",
    "callbacks_total{result=\"accepted\",source=\"callback\"}",
    "callbacks_total{result=\"duplicate\",source=\"callback\"}",
    "callbacks_total{result=\"decrypt_or_signature\",source=\"callback\"}",
    "callbacks_total{result=\"orphan\",source=\"callback\"}",
    "callbacks_total{result=\"mismatch\",source=\"callback\"}",
    "attempts_open{age_bucket=\"24h\"}",
    "requery_total{result=",
    "requery_lag_seconds ",
    "refunds_total{state=\"accepted\"}",
    "refunds_unknown ",
    "issues_open{kind=\"orphan_callback\"}",
    "late_capture_total ",
    "duplicate_capture_total 1",
    "circuit_state{api=\"auth\"}",
    "retries_total{api=",
    "kdf_derivations_total 3",
    "inbox_apply_lag_seconds ",
];

/// A little of everything that is logged.
async fn everything(stage: &Stage, at: &Commerced) -> Vec<String> {
    let mut seen = vec![stage.merchant.clone()];
    seen.extend(stage.operators.clone());
    let order_id = stage.paid(at, "L1").await.expect("an order");
    stage
        .until(at, &order_id, |view| !view["confirmed_at"].is_null())
        .await;
    let path = format!("/v1/orders/{order_id}/refunds");
    assert_eq!(stage.post(at, &path, "r", &json!({})).await.0, 201);

    let order_id = stage.order(at, "L2").await.expect("an order");
    stage
        .only_faults(&json!([
            {"api": "auth", "fault": "plain_error", "status": 400, "code": "OTS0600", "times": 1},
            {"api": "status", "fault": "html", "status": 502, "times": 1},
        ]))
        .await;
    let started = stage.start_payment(at, &order_id, "L2").await.1;
    let again = stage.start_payment(at, &order_id, "L2-again").await.1;
    for started in [started, again] {
        if let Some(token) = started["checkout"]["options"]["atomTokenId"].as_str() {
            seen.push(token.to_owned());
            let merch_txn_id = started["merch_txn_id"].as_str().expect("an id").to_owned();
            forge(stage, at, &merch_txn_id).await;
        }
    }
    stage.no_faults().await;

    for (number, rule) in [
        json!({"api": "callback", "fault": "duplicated", "copies": 1}),
        json!({"api": "callback", "fault": "amount_changed"}),
        json!({"api": "pay", "fault": "double_capture"}),
        json!({"api": "status", "fault": "code", "code": "OTS0600"}),
    ]
    .iter()
    .enumerate()
    {
        stage.only_faults(rule).await;
        let order_id = stage
            .paid(at, &format!("L3-{number}"))
            .await
            .expect("an order");
        let path = format!("/v1/admin/orders/{order_id}/requery");
        stage
            .post_as(&stage.operators[0], at, &path, "k", &json!({}))
            .await;
        // It is asked for under this fault and not under the next one.
        let unasked =
            format!("payment_attempts WHERE order_id = '{order_id}' AND queried_at IS NULL");
        stage.until_count(&unasked, 0).await;
        seen.extend(order_token(stage, &order_id).await);
    }
    for kind in ["result_contradicts", "duplicate_capture", "amount_mismatch"] {
        let what = format!("issues WHERE kind = '{kind}'");
        stage.until_count(&what, 1).await;
    }
    stage.no_faults().await;
    seen
}

/// Everything that somebody may send who is not Atom.
async fn forge(stage: &Stage, at: &Commerced, merch_txn_id: &str) {
    let forger = Forger::new(Identity::default());
    for kind in [
        Kind::WrongSignature,
        Kind::NoSignature,
        Kind::OtherKey,
        Kind::OtherMerchant,
        Kind::TotalChanged,
        Kind::NoHex,
        Kind::TwoFields,
        Kind::Word,
        Kind::UnknownOrder,
    ] {
        let body = forger.forge(kind, merch_txn_id, 10_000, None);
        stage.form(at, "/v1/callbacks/atom", body).await;
    }
    let odd = "encData=Test%40123&merchId=%0AINFO+forged".to_owned();
    stage.form(at, "/v1/payments/atom/return", odd).await;
}

async fn order_token(stage: &Stage, order_id: &str) -> Option<String> {
    use sqlx::Row;
    let select = "SELECT atom_token_id FROM payment_attempts WHERE order_id = $1";
    let row = sqlx::query(select)
        .bind(order_id)
        .fetch_one(stage.test.store.pool())
        .await;
    row.expect("an attempt").get("atom_token_id")
}

/// The longest run of hexadecimal digits in a line: ciphertexts, signatures and digests in full are long.
fn hex_run(line: &str) -> usize {
    line.split(|c: char| !c.is_ascii_hexdigit())
        .map(str::len)
        .max()
        .unwrap_or(0)
}

/// Nothing secret is in any line, at the most talkative level; every log point is, with its fields; every metric is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_tells_what_it_may() {
    for test in [common::sqlite().await, common::postgres().await] {
        let stage = Stage::new(test, &[("[flow]", "queries_per_s_max = 1000")]).await;
        let at = stage.start(None).expect("it serves");
        let seen = everything(&stage, &at).await;
        let (_, metrics) = stage.get_as("", &at, "/metrics").await;
        let metrics = metrics.as_str().expect("text").to_owned();
        for name in METRICS {
            assert!(metrics.contains(name), "no {name} in\n{metrics}");
        }
        // Those of deferred payment are there where it is enabled: tests/frex_daemon.
        let names = common::names_in_alerts().into_iter();
        for name in names.filter(|name| !name.starts_with("frex_")) {
            assert!(
                metrics.contains(&name),
                "an alert asks for {name}, which is no metric"
            );
        }
        let log = stage.log();
        for (point, fields) in POINTS {
            let line = log.lines().find(|line| line.contains(point));
            let line = line.unwrap_or_else(|| panic!("no {point} in\n{log}"));
            for field in *fields {
                assert!(line.contains(field), "no {field} in {line}");
            }
        }
        let contact = ["buyer@example.com", "9000000000"];
        let secrets = SECRETS.iter().map(|(_, secret)| *secret).chain(contact);
        for secret in secrets.chain(seen.iter().map(String::as_str)) {
            let line = log.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "{secret} is in the log");
        }
        for word in ["encData", "sek_", "INFO forged", "payInstrument"] {
            assert!(!log.contains(word), "{word} is in the log");
        }
        let token = log
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .find(|word| word.starts_with("rt_"));
        assert_eq!(token, None, "a reading token is in the log");
        let long = log.lines().find(|line| hex_run(line) >= 40);
        assert_eq!(
            long, None,
            "a ciphertext, a signature or a whole digest is in the log"
        );
        assert!(log.contains("DEBUG"), "the most talkative level");
    }
}
