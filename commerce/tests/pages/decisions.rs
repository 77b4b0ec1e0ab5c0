//! What operators decide where the system must not: issues and undecided refunds, with a second operator where money moves.

use serde_json::json;

use crate::browser::{Browser, Screen, bounded, until};
use crate::stage::Stage;

/// Two operators, each with a browser.
async fn two(stage: &Stage, screen: Screen) -> (Browser, Browser) {
    let (first, second) = (
        Browser::open(screen).await,
        Browser::open(Screen::Desk).await,
    );
    stage.log_in(&first, &stage.daemon.operator).await;
    let other = stage.daemon.new_operator("Ravi, night shift");
    stage.log_in(&second, &other).await;
    (first, second)
}

/// Chooses an action in the form of the only record on the page, notes why, and sends it.
async fn decide(browser: &Browser, action: &str, button: &str) {
    if browser
        .find("details:has(select[name=action])")
        .await
        .attr("open")
        .await
        .expect("a page")
        .is_none()
    {
        browser
            .click("details:has(select[name=action]) > summary")
            .await;
    }
    browser.choose("select[name=action]", action).await;
    browser.fill("[name=note]", "asked Atom by telephone").await;
    let path = "details:has(select[name=action]) button[type=submit]";
    let shown = browser.find(path).await.text().await.expect("a button");
    assert_eq!(shown, button);
    browser.click(path).await;
}

/// Shows: a customer who paid twice makes an issue; one operator proposes to give the surplus back and cannot confirm it alone; a
/// second one does, and the money goes back once.
#[tokio::test]
async fn a_surplus_goes_back_when_two_operators_say_so() {
    bounded(async {
        let stage = Stage::start();
        stage
            .atom
            .fault(json!({"api": "pay", "fault": "double_capture", "times": 1}))
            .await;
        let id = stage.paid_order("TWICE-1", 80_000).await;
        let (first, second) = two(&stage, Screen::Phone).await;
        until("the issue", async || {
            first.go(&stage.at("/admin/issues")).await;
            let text = first.text().await;
            if text.contains("duplicate capture") {
                return Ok(());
            }
            Err(text)
        })
        .await;
        first.look("admin-issues").await;
        decide(&first, "refund_surplus", "Resolve").await;
        first.sees("Your decision is noted.").await;
        first
            .sees("you asked for it, so somebody else must confirm it")
            .await;
        first.look("admin-issue-proposed").await;
        decide(&first, "refund_surplus", "Resolve").await;
        first.sees("Your decision is noted.").await;
        let ledger = stage.atom.shows("ledger").await;
        assert_eq!(ledger["refunds"], json!([]), "one operator moves no money");

        second.go(&stage.at("/admin/issues")).await;
        second.sees("confirm it by choosing the same").await;
        second.look("admin-issue-to-confirm").await;
        decide(&second, "refund_surplus", "Resolve").await;
        second.sees("Done, and written down.").await;
        until("the refund", async || {
            let ledger = stage.atom.shows("ledger").await;
            let refunds = ledger["refunds"].as_array().map_or(0, Vec::len);
            if refunds == 1 {
                return Ok(());
            }
            Err(ledger.to_string())
        })
        .await;
        until("the issue's end", async || {
            second.go(&stage.at("/admin/issues")).await;
            let text = second.text().await;
            if text.contains("Nothing is waiting for you.") {
                return Ok(());
            }
            Err(text)
        })
        .await;
        second.look("admin-issues-none").await;
        second.press("closed issues").await;
        second.sees("duplicate capture").await;
        second.look("admin-issues-closed").await;
        second.go(&stage.at(&format!("/admin/orders/{id}"))).await;
        second.sees("Issue closed: duplicate capture").await;
        second.look("admin-order-with-surplus").await;
        first.end().await;
        second.end().await;
    })
    .await;
}

/// Shows: an amount that disagrees holds its order; accepting it takes two operators, and then the order is paid.
#[tokio::test]
async fn a_wrong_amount_is_held_and_accepted() {
    bounded(async {
        let stage = Stage::start();
        stage
            .atom
            .fault(json!({"api": "callback", "fault": "total_changed"}))
            .await;
        let act = json!({"outcome": "success", "channel": "UP"});
        let id = stage.order_with("HOLD-1", 60_000, act).await;
        let (first, second) = two(&stage, Screen::Desk).await;
        first.go(&stage.at(&format!("/admin/orders/{id}"))).await;
        first.sees("On hold: amount mismatch").await;
        first.look("admin-order-on-hold").await;
        first.press("the open issues").await;
        decide(&first, "accept_amount", "Resolve").await;
        first.sees("Your decision is noted.").await;
        second.go(&stage.at("/admin/issues")).await;
        decide(&second, "accept_amount", "Resolve").await;
        second.sees("Done, and written down.").await;
        stage.becomes(&id, "/status", "paid").await;
        first.end().await;
        second.end().await;
    })
    .await;
}

/// Shows: a refund whose answer never came is not entered again but looked up; what Atom does not list waits for a decision, which
/// takes two operators; then its amount is free again.
#[tokio::test]
async fn an_undecided_refund_is_decided() {
    bounded(async {
        let stage = Stage::start();
        let id = stage.paid_order("LOST-1", 70_000).await;
        stage
            .atom
            .fault(json!({"api": "refund", "fault": "drop_before"}))
            .await;
        let (first, second) = two(&stage, Screen::Phone).await;
        for (browser, said) in [
            (
                &second,
                "It is sent when a second operator enters the same amount.",
            ),
            (&first, "Atom's answer did not arrive"),
        ] {
            browser.go(&stage.at(&format!("/admin/orders/{id}"))).await;
            browser.fill("#amount", "700").await;
            browser.click("[name=sure]").await;
            browser.press("Refund").await;
            browser.sees(said).await;
        }
        first.look("admin-refund-unknown").await;
        first.go(&stage.at("/admin/refunds")).await;
        decide(&first, "mark_rejected", "Decide").await;
        first
            .sees("its request may still arrive at the gateway")
            .await;
        first.look("admin-refund-too-early").await;
        stage.refunds_are_old().await;
        first.go(&stage.at("/admin/refunds")).await;
        first.look("admin-refunds").await;
        decide(&first, "mark_rejected", "Decide").await;
        first.sees("Your decision is noted.").await;
        first.look("admin-refund-proposed").await;
        second.go(&stage.at("/admin/refunds")).await;
        decide(&second, "mark_rejected", "Decide").await;
        second.sees("Done, and written down.").await;
        second.sees("Every refund is settled.").await;
        second.look("admin-refunds-none").await;
        let view = stage.view(&id).await;
        assert_eq!(view["refundable_amount"], 70_000, "{view}");
        first.end().await;
        second.end().await;
    })
    .await;
}

/// Shows: where the configuration wants no second operator, one decides alone.
#[tokio::test]
async fn one_operator_decides_where_that_is_configured() {
    bounded(async {
        let alone = "require_second_operator = false".to_owned();
        let stage = Stage::with(vec![("[flow]", alone)]);
        let id = stage.paid_order("ALONE-1", 70_000).await;
        stage
            .atom
            .fault(json!({"api": "refund", "fault": "drop_before"}))
            .await;
        let browser = Browser::open(Screen::Desk).await;
        stage.log_in(&browser, &stage.daemon.operator).await;
        browser.go(&stage.at(&format!("/admin/orders/{id}"))).await;
        browser.fill("#amount", "100").await;
        browser.click("[name=sure]").await;
        browser.press("Refund").await;
        browser.sees("Atom's answer did not arrive").await;
        stage.refunds_are_old().await;
        browser.go(&stage.at("/admin/refunds")).await;
        browser.misses("needs a second operator").await;
        decide(&browser, "mark_rejected", "Decide").await;
        browser.sees("Done, and written down.").await;
        browser.end().await;
    })
    .await;
}
