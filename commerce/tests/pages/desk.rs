//! An operator's daily work: lists, one order and what happened to it, shipping, refunds.

use serde_json::json;

use crate::browser::{Browser, Screen, bounded};
use crate::stage::Stage;

/// Rows of one page of the list.
const PAGE_ROWS: usize = 50;

/// Shows: the list in pages, with filters that hold on the next page, and what it says when nothing fits; an order from its row;
/// on either screen.
async fn lists(screen: Screen) {
    let stage = Stage::start();
    for n in 0..PAGE_ROWS + 3 {
        stage.order(&format!("LIST-{n}"), 10_100).await;
    }
    let paid = stage.paid_order("LIST-paid", 12_345_678).await;
    stage.becomes(&paid, "/status", "paid").await;
    let browser = Browser::open(screen).await;
    stage.log_in(&browser, &stage.daemon.operator).await;
    browser.sees("LIST-paid").await;
    browser.look("admin-orders").await;
    browser.press("Older orders").await;
    browser.sees("LIST-0").await;
    browser.misses("LIST-paid").await;
    browser.press("Filter").await;
    browser.choose("#status", "pending").await;
    browser.press("Show").await;
    browser.sees("Filter (in use)").await;
    browser.misses("LIST-paid").await;
    browser.press("Older orders").await;
    browser.sees("LIST-0").await;
    browser.sees("Filter (in use)").await;
    browser.choose("#status", "delivered").await;
    browser.press("Show").await;
    browser.sees("No order fits these filters.").await;
    browser.look("admin-orders-none-fits").await;
    browser.press("Show all").await;
    browser.click(".rows a").await;
    browser.sees("What happened").await;
    browser.end().await;
}

#[tokio::test]
async fn orders_are_listed_on_a_desk() {
    bounded(lists(Screen::Desk)).await;
}

#[tokio::test]
async fn orders_are_listed_on_a_phone() {
    bounded(lists(Screen::Phone)).await;
}

/// Shows: a paid order with its timeline, shipped and delivered by buttons; refunded in part, then more than is left, then the rest;
/// what is refused stays in the form; the money at Atom is what the page says.
async fn refunds(screen: Screen) {
    let stage = Stage::start();
    let id = stage.paid_order("DESK-1", 100_000).await;
    let browser = Browser::open(screen).await;
    stage.log_in(&browser, &stage.daemon.operator).await;
    browser.go(&stage.at(&format!("/admin/orders/{id}"))).await;
    browser.press("Ask Atom now").await;
    browser.sees("Atom is being asked").await;
    // Shipping waits for a status query that agrees; the job runs it by itself.
    stage
        .becomes(&id, "/attempts/0/payment_status", "completed")
        .await;
    crate::browser::until("the confirmation", async || {
        let view = stage.view(&id).await;
        if view["confirmed_at"].is_string() {
            return Ok(());
        }
        Err(view.to_string())
    })
    .await;
    browser.go(&stage.at(&format!("/admin/orders/{id}"))).await;
    browser.sees("Order: pending → paid").await;
    browser.look("admin-order-paid").await;
    browser.press("Mark as shipped").await;
    browser.sees("The order is marked as shipped.").await;
    browser.press("Mark as delivered").await;
    browser.sees("The order is marked as delivered.").await;

    browser.fill("#amount", "1,000.01").await;
    browser.fill("#reason", "broken lid").await;
    browser.click("[name=sure]").await;
    browser.press("Refund").await;
    browser.sees("Only ₹1,000.00 can still be refunded.").await;
    browser.look("admin-refund-too-much").await;
    let reason = browser
        .find("#reason")
        .await
        .prop("value")
        .await
        .expect("a value");
    assert_eq!(reason.as_deref(), Some("broken lid"));
    let other = Browser::open(screen).await;
    let colleague = stage.daemon.new_operator("colleague");
    stage.log_in(&other, &colleague).await;
    browser.fill("#amount", "250.50").await;
    browser.click("[name=sure]").await;
    browser.press("Refund").await;
    browser
        .sees("It is sent when a second operator enters the same amount.")
        .await;
    browser.sees("somebody else must confirm it").await;
    browser.look("admin-refund-noted").await;
    browser.click("[name=sure]").await;
    browser.press("Refund").await;
    browser.sees("A second operator must confirm it").await;
    assert_eq!(stage.view(&id).await["refunded_amount"], 0);
    other.go(&stage.at(&format!("/admin/orders/{id}"))).await;
    other.sees("confirm it by choosing the same").await;
    let amount = other
        .find("#amount")
        .await
        .prop("value")
        .await
        .expect("a value");
    assert_eq!(amount.as_deref(), Some("250.50"));
    other.click("[name=sure]").await;
    other.press("Refund").await;
    other.sees("Atom has accepted the refund.").await;
    other.sees("₹749.50 can be refunded").await;
    other.look("admin-refund-part").await;
    let view = stage.view(&id).await;
    assert_eq!(view["refunded_amount"], 25_050, "{view}");
    for (browser, said) in [
        (
            &other,
            "It is sent when a second operator enters the same amount.",
        ),
        (&browser, "Atom has accepted the refund."),
    ] {
        browser.go(&stage.at(&format!("/admin/orders/{id}"))).await;
        browser.click("[name=sure]").await;
        browser.press("Refund").await;
        browser.sees(said).await;
    }
    other.end().await;
    stage.becomes(&id, "/status", "refunded").await;
    browser.misses("can be refunded").await;
    browser.look("admin-order-refunded").await;
    let ledger = stage.atom.shows("ledger").await;
    let sent: i64 = ledger["refunds"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|refund| refund["amount"].as_i64())
        .sum();
    assert_eq!(sent, 100_000, "{ledger}");
    browser.end().await;
}

#[tokio::test]
async fn orders_are_shipped_and_refunded_on_a_desk() {
    bounded(refunds(Screen::Desk)).await;
}

#[tokio::test]
async fn orders_are_shipped_and_refunded_on_a_phone() {
    bounded(refunds(Screen::Phone)).await;
}

/// Shows: an order whose payment is open cannot be cancelled before Atom was asked; the page says so. A failed payment can. What
/// is not there is said in words.
#[tokio::test]
async fn an_order_is_cancelled_once_that_is_safe() {
    bounded(async {
        let stage = Stage::start();
        let open = stage
            .order_with(
                "DESK-open",
                50_000,
                json!({"outcome": "pending", "channel": "NB"}),
            )
            .await;
        let failed = stage
            .order_with("DESK-failed", 50_000, json!({"outcome": "failed"}))
            .await;
        let browser = Browser::open(Screen::Phone).await;
        stage.log_in(&browser, &stage.daemon.operator).await;
        browser
            .go(&stage.at(&format!("/admin/orders/{open}")))
            .await;
        browser.press("Cancel the order").await;
        browser.sees("so Atom is being asked first").await;
        browser.look("admin-cancel-too-early").await;
        let view = stage.view(&open).await;
        assert_eq!(view["status"], "pending", "{view}");
        browser.go(&stage.at("/admin/orders/ord_nowhere")).await;
        browser.sees("There is no such record.").await;
        browser.look("admin-no-such-order").await;
        browser
            .go(&stage.at(&format!("/admin/orders/{failed}")))
            .await;
        browser.look("admin-order-failed").await;
        browser.end().await;
    })
    .await;
}
