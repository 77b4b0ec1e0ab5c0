//! Orders through all stages.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::agency::Agency;
use super::shop::{Setup, Shop, details, number, order};

/// An order is registered, screened, billed once and ends with the columns of section 7; the same order sent again is the same
/// answer; metrics, log, terminal and history tell of it, and none of them shows buyer data.
#[tokio::test]
async fn an_order_is_billed() {
    let agency = Agency::start();
    let shop = Shop::start(&agency, &Setup::default()).await;
    let place = || {
        shop.request(Method::POST, "/orders")
            .header("Idempotency-Key", "k1")
            .json(&order("F1", 11_000))
    };
    let first = place().send().await.expect("sent");
    assert_eq!(first.status(), StatusCode::CREATED);
    assert_eq!(first.headers()["location"], "/v1/frex/orders/F1");
    let body: Value = first.json().await.expect("JSON");
    assert_eq!(body, json!({"order_no": "F1", "stage": "placed"}));
    let again = place().send().await.expect("sent");
    assert_eq!(again.status(), StatusCode::CREATED);
    assert_eq!(again.headers()["idempotent-replay"], "true");

    let billed = shop.reaches("F1", "billed").await;
    for (member, value) in [
        ("strState", "REG"),
        ("strOrderState", "ORDEREND"),
        ("strMoneyInput", "PAYMENT"),
        ("reg_state", "COMPLETE"),
        ("result_state", "COMPLETE"),
        ("authorize_state", "COMPLETE"),
        ("billing_state", "COMPLETE"),
    ] {
        assert_eq!(billed[member], value, "{member}: {billed:#}");
    }
    assert_eq!(billed["agency_amount"], 11_000);
    assert_eq!(
        agency.bills("F1").await,
        [("F1:BILLING_REG:0".to_owned(), 11_000)]
    );

    let metrics = shop.metrics().await;
    for line in [
        "frex_billed_total 1",
        "frex_billed_amount_total 11000",
        "frex_authorize_total{result=\"approved\"} 1",
        "frex_step_items_total{result=\"done\",step=\"BillingResult\"} 1",
        "frex_step_failures_total{step=\"OrderReg\"} 0",
        "frex_unknown_open{type=\"BILLING_REG\"} 0",
        "frex_resends_total{type=\"BILLING_REG\"} 0",
        "frex_invariant_violations_total{rule=\"1_one_billing\"} 0",
        "frex_agency_call_seconds_count{call=\"bill\"} 1",
        "frex_hold_age_seconds 0",
        "frex_batch_duration_seconds_count",
        "frex_batch_last_success_time 1",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    let (good, shown) = shop.command(&["order", "F1"]);
    assert!(good, "{shown}");
    for part in [
        "billed",
        "F1:BILLING_RESULT:0",
        "result received",
        "screening=approved",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    for command in ["check", "reconcile", "status", "runs", "requests", "alerts"] {
        let (good, shown) = shop.command(&[command]);
        assert!(good, "{command}: {shown}");
        shop.shows_no_buyer(command, &shown);
    }
    let history = shop.list("/orders/F1/history").await;
    assert_eq!(history[0]["what"], "placed");
    let log = shop.daemon.log();
    for part in [
        "frex: run ",
        "F1:BILLING_REG:0 SENDING -> COMPLETE",
        "strMoneyInput TEMPPAYMENT -> PAYMENT",
    ] {
        assert!(log.contains(part), "{part} is not in {log}");
    }
    for (name, text) in [
        ("the log", &log),
        ("the metrics", &metrics),
        ("the terminal", &shown),
    ] {
        shop.shows_no_buyer(name, text);
    }
    shop.shows_no_buyer("the order", &billed.to_string());
    shop.shows_no_buyer("the history", &Value::from(history).to_string());
}

/// With the trigger `order_end` an approved order waits; a change of its amount is screened again; the delivery makes the bill,
/// over the new amount. Before the approval nothing can be delivered, and after the bill nothing changed.
#[tokio::test]
async fn a_changed_order_is_billed_after_delivery() {
    let agency = Agency::start();
    let setup = Setup {
        worker: "billing_trigger = \"order_end\"".to_owned(),
        ..Setup::default()
    };
    let shop = Shop::start(&agency, &setup).await;
    let holds = |polls: u32| json!({"hold_polls": polls, "orders": [{"order": "F2", "screening": "hold_approve"}]});
    agency.rules(&holds(1_000_000)).await;
    shop.place("F2", 11_000).await;
    shop.reaches("F2", "held").await;
    let complete = || shop.request(Method::POST, "/orders/F2/complete");
    let early = complete().send().await.expect("sent");
    assert_eq!(early.status(), StatusCode::CONFLICT);
    assert_eq!(
        early.json::<Value>().await.expect("JSON")["code"],
        "not_endable"
    );

    let version = number(&shop.read("F2").await["version"]);
    let change = |tag: String| {
        let body = json!({"amount": 9_900, "transaction_details": details(9_900)});
        shop.request(Method::PATCH, "/orders/F2")
            .header("If-Match", tag)
            .json(&body)
    };
    let stale = change("\"99\"".to_owned()).send().await.expect("sent");
    assert_eq!(stale.status(), StatusCode::PRECONDITION_FAILED);
    let changed = change(format!("\"{version}\"")).send().await.expect("sent");
    assert_eq!(changed.status(), StatusCode::OK);
    assert!(changed.headers().contains_key("etag"));
    shop.listed(
        "/requests?type=UPDATE_RESULT&order_no=F2&state=COMPLETE",
        |_| true,
    )
    .await;
    // Until now the agency held it, so that its version did not move.
    agency.rules(&holds(0)).await;
    let approved = shop.reaches("F2", "approved").await;
    assert_eq!(approved["agency_amount"], 9_900);
    assert_eq!(approved["strMoneyInput"], "TEMPPAYMENT");
    shop.runs(2).await;
    assert!(
        agency.bills("F2").await.is_empty(),
        "nothing is billed before the delivery"
    );

    let done = complete().send().await.expect("sent");
    assert_eq!(done.status(), StatusCode::OK);
    shop.reaches("F2", "billed").await;
    assert_eq!(
        agency.bills("F2").await,
        [("F2:BILLING_REG:0".to_owned(), 9_900)]
    );
    let version = number(&shop.read("F2").await["version"]);
    let late = change(format!("\"{version}\"")).send().await.expect("sent");
    assert_eq!(late.status(), StatusCode::CONFLICT);
    assert_eq!(
        late.json::<Value>().await.expect("JSON")["code"],
        "billing_started"
    );
}

/// A cancel closes the order here and at the agency; one that screening refuses is closed by itself, and told; one that the
/// agency does not take can be corrected and registered again.
#[tokio::test]
async fn orders_end_in_other_ways() {
    let agency = Agency::start();
    let setup = Setup {
        worker: "billing_trigger = \"order_end\"".to_owned(),
        ..Setup::default()
    };
    let shop = Shop::start(&agency, &setup).await;
    shop.place("F3", 11_000).await;
    shop.place("F4-R21", 11_000).await;
    agency
        .rules(&json!({"orders": [{"order": "F5", "refuse": [{"call": "register", "codes": ["E_ADDRESS"]}]}]}))
        .await;
    shop.place("F5", 11_000).await;

    shop.reaches("F3", "approved").await;
    let cancel = || shop.request(Method::POST, "/orders/F3/cancel");
    let asked = cancel().send().await.expect("sent");
    assert_eq!(asked.status(), StatusCode::ACCEPTED);
    assert_eq!(
        asked.json::<Value>().await.expect("JSON")["stage"],
        "cancelling"
    );
    shop.reaches("F3", "cancelled").await;
    assert!(agency.transactions("F3").await[0]["cancelledMs"].is_i64());
    let again = cancel().send().await.expect("sent");
    assert_eq!(again.status(), StatusCode::OK);
    assert_eq!(
        again.json::<Value>().await.expect("JSON")["stage"],
        "cancelled"
    );

    shop.reaches("F4-R21", "refused").await;
    let told = shop
        .listed("/alerts?order_no=F4-R21", |it| it["kind"] == "screening_ng")
        .await;
    assert_eq!(told["codes"], json!(["21"]));

    shop.reaches("F5", "attention").await;
    let version = number(&shop.read("F5").await["version"]);
    let body = json!({"buyer": super::shop::buyer(), "delivery": super::shop::delivery()});
    let corrected = shop
        .request(Method::PATCH, "/orders/F5")
        .header("If-Match", format!("\"{version}\""))
        .json(&body);
    assert_eq!(
        corrected.send().await.expect("sent").status(),
        StatusCode::OK
    );
    agency.rules(&json!({})).await;
    let retry = shop
        .admin(Method::POST, "/orders/F5/resolve")
        .header("Idempotency-Key", "r1")
        .json(&json!({"action": "retry_registration", "note": "address corrected"}));
    let retried = retry.send().await.expect("sent");
    assert_eq!(retried.status(), StatusCode::OK);
    assert_eq!(
        retried.json::<Value>().await.expect("JSON")["state"],
        "done"
    );
    shop.reaches("F5", "approved").await;
    let history = shop.list("/orders/F5/history").await;
    assert!(
        history
            .iter()
            .any(|it| it["what"] == "decided" && it["note"] == "address corrected"),
        "{history:#?}"
    );
    shop.shows_no_buyer("the log", &shop.daemon.log());
}

/// By the public interface of the agency, which answers at once and knows no look-up, an order comes to its bill all the same; only
/// the configuration says which interface it is.
#[tokio::test]
async fn the_public_interface_bills_too() {
    let agency = Agency::start();
    let setup = Setup {
        agency: "protocol = \"np_kakebarai\"".to_owned(),
        ..Setup::default()
    };
    let shop = Shop::start(&agency, &setup).await;
    for order_no in ["K1", "K2-R22"] {
        let mut body = order(order_no, 11_000);
        // This interface knows buyers by number only.
        body["buyer"]["np_buyer_id"] = json!("18000000099");
        let placed = shop
            .request(Method::POST, "/orders")
            .header("Idempotency-Key", order_no)
            .json(&body);
        assert_eq!(
            placed.send().await.expect("sent").status(),
            StatusCode::CREATED
        );
    }
    let nameless = shop
        .request(Method::POST, "/orders")
        .header("Idempotency-Key", "K3")
        .json(&order("K3", 11_000));
    let refused = nameless.send().await.expect("sent");
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let text = refused.text().await.expect("text");
    assert!(text.contains("buyer.npBuyerId must be given"), "{text}");
    shop.reaches("K1", "billed").await;
    shop.reaches("K2-R22", "refused").await;
    let bills = agency.bills("K1").await;
    assert_eq!(bills.len(), 1, "{bills:?}");
    let ledger = agency.ledger().await;
    let received = ledger["received"].as_array().expect("a list");
    assert!(
        received.iter().all(|it| it["public"] == true),
        "{received:#?}"
    );
    // It tells no bills: what we kept of its answers is nothing to compare with.
    let (good, said) = shop.command(&["reconcile"]);
    assert!(good && said.contains("nothing was compared"), "{said}");
    assert!(!said.contains("agree"), "{said}");
}
