//! Bills of which nobody knows whether they were asked for.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::agency::Agency;
use super::daemon::commerced;
use super::shop::{Setup, Shop};

const KEY: &str = "D1:BILLING_REG:0";

/// A bill whose answer was lost is found by its key after the fault, and billed once.
#[tokio::test]
async fn a_lost_answer_is_looked_up() {
    let agency = Agency::start();
    let shop = Shop::start(&agency, &Setup::default()).await;
    agency
        .faults(&json!([{"kind": "drop_after", "call": "bill", "times": 1}, {"kind": "drop_after", "call": "register", "times": 1}]))
        .await;
    shop.place("D0", 11_000).await;
    shop.reaches("D0", "billed").await;
    assert_eq!(
        agency.bills("D0").await,
        [("D0:BILLING_REG:0".to_owned(), 11_000)]
    );
    assert_eq!(agency.transactions("D0").await.len(), 1);
    let log = shop.daemon.log();
    assert!(log.contains("D0:BILLING_REG:0 SENDING -> UNKNOWN"), "{log}");
    assert!(
        log.contains("D0:BILLING_REG:0 UNKNOWN -> COMPLETE"),
        "{log}"
    );
    let metrics = shop.metrics().await;
    let failed = "frex_agency_errors_total{call=\"bill\",class=\"ambiguous\"} 1";
    assert!(metrics.contains(failed), "{metrics}");
}

/// Where the agency cannot be asked, operators decide: that a bill never arrived is believed only when two say it. Then it is sent
/// again under the same key, and billed once.
#[tokio::test]
async fn two_operators_decide_about_a_bill() {
    let agency = Agency::start();
    let shop = Shop::start(&agency, &Setup::default()).await;
    agency.rules(&json!({"lookup": false})).await;
    agency
        .faults(&json!([{"kind": "drop_before", "call": "bill"}]))
        .await;
    shop.place("D1", 11_000).await;
    let row = shop
        .listed("/requests?type=BILLING_REG", |it| it["state"] == "UNKNOWN")
        .await;
    assert_eq!(row["key"], KEY);
    let metrics = shop.metrics().await;
    assert!(
        metrics.contains("frex_unknown_open{type=\"BILLING_REG\"} 1"),
        "{metrics}"
    );
    // Unknown for an interval: somebody is told, and it is urgent.
    let alert = shop
        .listed("/alerts?order_no=D1", |it| it["kind"] == "request_unknown")
        .await;
    assert_eq!(alert["severity"], "critical");

    let second = {
        let output = commerced()
            .args(["key", "new", "--role", "operator", "--label", "second"])
            .arg("--config")
            .arg(shop.daemon.config_file())
            .output();
        let text = String::from_utf8(output.expect("commerced runs").stdout).expect("text");
        text.trim().to_owned()
    };
    let path = format!("/requests/{KEY}/resolve");
    let say = |operator: String, key: String| {
        let request = reqwest::Client::new()
            .post(format!("{}/v1/admin/frex{path}", shop.daemon.url))
            .bearer_auth(operator)
            .header("Idempotency-Key", key)
            .json(&json!({"action": "confirm_not_received", "note": "asked by telephone"}));
        async move {
            let answer = request.send().await.expect("sent");
            let status = answer.status();
            (status, answer.json::<Value>().await.expect("JSON"))
        }
    };
    let first = shop.daemon.operator.clone();
    let waits = json!("needs_second_operator");
    // While it may be on its way still, nobody is believed.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(90);
    let mut tries = 0;
    while say(first.clone(), format!("early-{tries}")).await.0 == StatusCode::CONFLICT {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the quiet time has no end"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
        tries += 1;
    }
    for key in ["one", "two"] {
        // The same operator again is still one operator.
        let (status, body) = say(first.clone(), key.to_owned()).await;
        assert_eq!(
            (status, &body["state"]),
            (StatusCode::ACCEPTED, &waits),
            "{body}"
        );
    }
    assert!(agency.bills("D1").await.is_empty());
    let (status, body) = say(second, "three".to_owned()).await;
    assert_eq!(
        (status, &body["state"]),
        (StatusCode::OK, &json!("done")),
        "{body}"
    );
    agency.faults(&json!([])).await;

    // It may have been lost once more before the fault was taken away; the agency can be asked again now.
    agency.rules(&json!({})).await;
    shop.reaches("D1", "billed").await;
    assert_eq!(agency.bills("D1").await, [(KEY.to_owned(), 11_000)]);
    let history = shop.list("/orders/D1/history").await;
    let decided: Vec<_> = history
        .iter()
        .filter(|it| it["what"] == "decided")
        .collect();
    assert_eq!(decided.len(), 2, "{decided:#?}");
    let metrics = shop.metrics().await;
    assert!(
        !metrics.contains("frex_resends_total{type=\"BILLING_REG\"} 0"),
        "{metrics}"
    );
}

/// An operator at a terminal has the agency asked again, and accepts on its word what it cannot say itself.
#[tokio::test]
async fn decisions_are_made_at_a_terminal() {
    let agency = Agency::start();
    let shop = Shop::start(&agency, &Setup::default()).await;
    agency.rules(&json!({"lookup": false})).await;
    agency
        .faults(&json!([{"kind": "drop_after", "call": "bill"}]))
        .await;
    shop.place("D2", 11_000).await;
    shop.listed("/requests?type=BILLING_REG", |it| it["state"] == "UNKNOWN")
        .await;
    let ledger = agency.ledger().await;
    let accepted = ledger["acceptances"].as_array().expect("a list");
    let number = accepted
        .iter()
        .find(|it| it["requestKey"] == "D2:BILLING_REG:0")
        .and_then(|it| it["acceptNo"].as_str())
        .expect("it was accepted")
        .to_owned();
    let (good, said) = shop.command(&["retry", "D2:BILLING_REG:0", "--operator", "desk"]);
    assert!(good, "{said}");
    let decide = |arguments: &[&str]| {
        let mut all = vec!["decide", "--operator", "desk", "D2:BILLING_REG:0"];
        all.extend(arguments);
        shop.command(&all)
    };
    let (good, said) = decide(&["confirm_accepted"]);
    assert!(!good && said.contains("acceptance number"), "{said}");
    let (good, said) = decide(&["accept"]);
    assert!(!good && said.contains("confirm_not_received"), "{said}");
    let (good, said) = decide(&["confirm_accepted", "--accept-no", &number]);
    assert!(good && said.contains("is done"), "{said}");
    shop.reaches("D2", "billed").await;
    assert_eq!(agency.bills("D2").await.len(), 1);
}
