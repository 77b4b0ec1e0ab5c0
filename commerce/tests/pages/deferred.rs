//! Operators at the pages of deferred payment: where orders stand, what happened, what waits, and what two of them decide.

use serde_json::{Value, json};

use crate::browser::{Browser, Screen, bounded, until};
use crate::daemon::{Daemon, Options};
use crate::stage::Simulator;

/// The worker's times, shortened: what takes minutes in service takes seconds here.
const WORKER: &str = "interval_s = 1\nretry_s = [1]\njitter_percent = 0\nhold_poll_s = 1\nquiet_s = 1\nagency_delay_s = 0";
/// A key that seals buyers' data: 32 bytes, made up.
const BUYER_KEY: &str = "test:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
/// The member company of these orders.
const JOINER: &str = "kawabe-tea";

/// `commerced` with its worker, and the simulated agency.
struct Stage {
    daemon: Daemon,
    agency: Simulator,
}

impl Stage {
    async fn start() -> Stage {
        let agency = Simulator::start(&["frex"]);
        let daemon = Daemon::start(&Options {
            more: vec![
                (
                    "[frex]",
                    "enabled = true\nbuyer_keys = [\"file:secrets/frex_buyer_key\"]".to_owned(),
                ),
                ("[frex.worker]", WORKER.to_owned()),
                (
                    "[frex.agency]",
                    format!(
                        "base_url = \"{}\"\nshop_code = \"shop\"\nterminal_id = \"terminal\"\n\
                         passwords = [\"file:secrets/frex_password\"]\ntimeout_ms = 1000\nconnect_timeout_ms = 500",
                        agency.url
                    ),
                ),
            ],
            secrets: vec![("frex_buyer_key", BUYER_KEY), ("frex_password", "password")],
            ..Options::default()
        });
        let stage = Stage { daemon, agency };
        let url = format!("{}/v1/admin/frex/joiners/{JOINER}", stage.daemon.url);
        let sent = reqwest::Client::new()
            .put(url)
            .bearer_auth(&stage.daemon.operator);
        let answer = sent
            .json(&json!({"use_frex": true}))
            .send()
            .await
            .expect("sent");
        assert!(answer.status().is_success(), "{}", answer.status());
        stage
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.daemon.url)
    }

    async fn place(&self, number: &str, amount: i64) {
        let person = json!({
            "company_name": "Kawabe Tea", "customer_name": "Sample Buyer", "zip_code": "1000001",
            "address": "1-1 Chiyoda, Chiyoda-ku, Tokyo", "tel_no": "0300000000",
        });
        let mut buyer = person.clone();
        buyer["email"] = "buyer@example.com".into();
        let body = json!({
            "order_no": number, "joiner_id": JOINER, "amount": amount,
            // The price of a line is without its tax.
            "transaction_details": [{"detail": "tea", "price": amount * 10 / 11, "quantity": 1, "billed_tax_kind": "T10"}],
            "buyer": buyer, "delivery": person,
        });
        let sent = self
            .daemon
            .post("/v1/frex/orders", number, &body)
            .send()
            .await
            .expect("sent");
        let status = sent.status();
        assert_eq!(status, 201, "{}", sent.text().await.unwrap_or_default());
    }

    async fn view(&self, number: &str) -> Value {
        let path = format!("/v1/frex/orders/{number}");
        let sent = self.daemon.get(&path, &self.daemon.merchant).send().await;
        sent.expect("sent").json().await.expect("JSON")
    }

    /// Waits until an order is at this stage.
    async fn becomes(&self, number: &str, wanted: &str) {
        until(wanted, async || {
            let view = self.view(number).await;
            if view["stage"] == wanted {
                return Ok(());
            }
            Err(view.to_string())
        })
        .await;
    }

    async fn log_in(&self, browser: &Browser, key: &str) {
        browser.go(&self.at("/admin/login")).await;
        browser.fill("#key", key).await;
        browser.press("Log in").await;
        browser.find("form.who").await;
    }

    /// How many bills the agency has for an order.
    async fn bills(&self, number: &str) -> usize {
        let ledger = self.agency.shows("ledger").await;
        let all = ledger["transactions"].as_array().into_iter().flatten();
        let ours = all.filter(|it| it["shopTransactionId"] == number);
        ours.filter_map(|it| it["bills"].as_array())
            .map(Vec::len)
            .sum()
    }
}

/// Shows: the lists with their empty states, orders at each kind of stage, one order with its requests and what happened, alerts,
/// runs; and that the worker is paused and goes on.
async fn tour(screen: Screen) {
    let stage = Stage::start().await;
    let browser = Browser::open(screen).await;
    stage.log_in(&browser, &stage.daemon.operator).await;
    browser.press("Deferred payment").await;
    browser.sees("There are no orders yet").await;
    browser.look("frex-orders-empty").await;
    browser.press("Alerts").await;
    browser.sees("Nothing is waiting for you.").await;
    browser.look("frex-alerts-none").await;

    stage.place("TEA-1", 11_000).await;
    stage.place("TEA-2-HH", 22_000).await;
    stage.place("TEA-3-R21", 33_000).await;
    stage.place("TEA-4-BR", 44_000).await;
    stage.becomes("TEA-1", "billed").await;
    stage.becomes("TEA-2-HH", "held").await;
    stage.becomes("TEA-3-R21", "refused").await;
    stage.becomes("TEA-4-BR", "attention").await;
    browser.go(&stage.at("/admin/frex/orders")).await;
    browser.sees("TEA-4-BR").await;
    browser.look("frex-orders").await;
    browser.press("Filter").await;
    browser.choose("#only", "alerts").await;
    browser.press("Show").await;
    browser.sees("Filter (in use)").await;
    browser.misses("TEA-1").await;
    browser.press("Show all").await;
    browser.sees("TEA-1").await;
    for (number, words) in [
        ("TEA-1", "The agency has billed the buyer."),
        ("TEA-2-HH", "The agency holds the screening."),
        ("TEA-3-R21", "Screening refused the buyer."),
    ] {
        browser
            .go(&stage.at(&format!("/admin/frex/orders/{number}")))
            .await;
        browser.sees(words).await;
        browser.look(&format!("frex-order-{number}")).await;
    }
    browser.misses("Sample Buyer").await;
    browser.go(&stage.at("/admin/frex/orders/nowhere")).await;
    browser.sees("There is no such record.").await;

    browser.press("Runs").await;
    browser.sees("Last runs").await;
    browser.look("frex-runs").await;
    browser.press("Pause the worker").await;
    browser.sees("The worker is paused.").await;
    browser.look("frex-paused").await;
    stage.place("TEA-5", 55_000).await;
    let view = stage.view("TEA-5").await;
    assert_eq!(view["stage"], "placed", "{view}");
    browser.press("Let the worker go on").await;
    browser.sees("The worker goes on").await;
    stage.becomes("TEA-5", "billed").await;
    browser.end().await;
}

#[tokio::test]
async fn deferred_payment_is_watched_at_a_desk() {
    bounded(tour(Screen::Desk)).await;
}

#[tokio::test]
async fn deferred_payment_is_watched_on_a_phone() {
    bounded(tour(Screen::Phone)).await;
}

/// Shows: an order whose billing the agency refused waits with an alert; an operator has it billed again, with a note.
#[tokio::test]
async fn a_refused_billing_is_tried_again() {
    bounded(async {
        let stage = Stage::start().await;
        let number = "RETRY-1";
        let refuse = json!({"orders": [{"order": number, "refuse": [{"call": "bill", "at": "result", "codes": ["E0100132"]}]}]});
        stage.agency.told("rules", &refuse).await;
        stage.place(number, 66_000).await;
        stage.becomes(number, "attention").await;
        let browser = Browser::open(Screen::Phone).await;
        stage.log_in(&browser, &stage.daemon.operator).await;
        browser.go(&stage.at("/admin/frex/alerts")).await;
        browser.sees("billing refused").await;
        browser.look("frex-alerts").await;
        browser.press(number).await;
        browser.sees("It waits for a decision of an operator.").await;
        browser.look("frex-order-attention").await;
        stage.agency.told("rules", &json!({})).await;
        browser.choose("#action-order", "retry_billing").await;
        browser.fill("#note-order", "the agency has mended it").await;
        browser.click("form:has(#note-order) button").await;
        browser.sees("Done, and written down.").await;
        stage.becomes(number, "billed").await;
        assert_eq!(stage.bills(number).await, 1);
        browser.go(&stage.at(&format!("/admin/frex/orders/{number}"))).await;
        browser.sees("retry billing").await;
        browser.sees("the agency has mended it").await;
        browser.end().await;
    })
    .await;
}

/// Shows: a billing that nobody knows the outcome of. That it never arrived must be said by two operators; then it is sent again,
/// and the buyer is billed once.
#[tokio::test]
async fn two_operators_say_that_a_billing_never_arrived() {
    bounded(async {
        let stage = Stage::start().await;
        let number = "LOST-1";
        stage.agency.told("rules", &json!({"lookup": false})).await;
        let lost = json!({"faults": [{"kind": "drop_before", "call": "bill", "times": 1}]});
        stage.agency.told("faults", &lost).await;
        stage.place(number, 77_000).await;
        until("the unknown outcome", async || {
            let view = stage.view(number).await;
            let all = view["requests"].as_array().into_iter().flatten();
            let mut bills = all.filter(|request| request["type"] == "BILLING_REG");
            if bills.any(|request| request["state"] == "UNKNOWN") {
                return Ok(());
            }
            Err(view.to_string())
        })
        .await;
        assert_eq!(stage.bills(number).await, 0, "it never arrived");
        let (first, second) = (
            Browser::open(Screen::Desk).await,
            Browser::open(Screen::Phone).await,
        );
        stage.log_in(&first, &stage.daemon.operator).await;
        let other = stage.daemon.new_operator("Ravi, night shift");
        stage.log_in(&second, &other).await;
        let page = stage.at(&format!("/admin/frex/orders/{number}"));
        let decide = async |browser: &Browser| {
            browser.go(&page).await;
            let id = format!("{number}-BILLING_REG-0");
            browser
                .choose(&format!("#action-{id}"), "confirm_not_received")
                .await;
            browser
                .fill(&format!("#note-{id}"), "asked by telephone")
                .await;
            browser.click(&format!("form:has(#note-{id}) button")).await;
        };
        first.go(&page).await;
        first.look("frex-order-unknown").await;
        decide(&first).await;
        first.sees("A second operator must say the same").await;
        first.look("frex-order-proposed").await;
        decide(&first).await;
        first.sees("A second operator must say the same").await;
        assert_eq!(stage.bills(number).await, 0, "one operator is not enough");
        decide(&second).await;
        second.sees("Done, and written down.").await;
        second.look("frex-order-decided").await;
        stage.becomes(number, "billed").await;
        assert_eq!(stage.bills(number).await, 1);
        first.end().await;
        second.end().await;
    })
    .await;
}
