//! A customer in the shop: pays, fails, closes the window, gives up, and never needs to wonder what became of the money.

use serde_json::{Value, json};

use crate::browser::{Browser, Screen, bounded, until};
use crate::stage::Stage;

/// Fills a basket and the form below it.
async fn order(stage: &Stage, browser: &Browser) {
    browser.go(&stage.at("/shop")).await;
    browser.choose("#n-gyokuro", "2").await;
    browser.choose("#n-hojicha", "1").await;
    browser.press("Go to the basket").await;
    browser.fill("#email", "buyer@example.com").await;
    browser.fill("#mobile", "90000 00000").await;
}

/// Orders, and waits for the hosted page.
async fn begin(stage: &Stage, browser: &Browser) {
    order(stage, browser).await;
    browser.press("Pay ₹1,220.50").await;
    browser.find("#atom-checkout").await;
}

/// Presses a button of the hosted page.
async fn at_atom(browser: &Browser, button: &str) {
    let frame = browser.find("#atom-checkout").await;
    frame.enter_frame().await.expect("the hosted page");
    let button = browser.find(button).await;
    // The page that held the button may be gone before the driver can say that it was pressed.
    let _ = button.click().await;
    browser
        .client
        .enter_parent_frame()
        .await
        .expect("the shop's page");
}

/// The id of the order that is open.
async fn order_id(browser: &Browser) -> String {
    until("the page of an order", async || {
        let url = browser.url().await;
        let (_, end) = url.split_once("/shop/orders/ord_").ok_or(url.clone())?;
        let id: String = end
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric())
            .collect();
        Ok(format!("ord_{id}"))
    })
    .await
}

fn captures(ledger: &Value) -> usize {
    let payments = ledger["payments"].as_array().expect("payments");
    payments
        .iter()
        .filter(|payment| payment["state"] == "captured")
        .count()
}

/// Shows: from the shelf over the basket and the hosted page back to a paid order; what is typed wrongly is said beside the
/// field; the order belongs to this browser, and a second click on the form's button is the same order.
async fn pays(screen: Screen) {
    let stage = Stage::start();
    let browser = Browser::open(screen).await;
    browser.go(&stage.at("/shop")).await;
    browser.look("shop-1-shelf").await;
    browser.press("Go to the basket").await;
    browser.sees("Your basket is empty").await;
    browser.look("shop-2-empty-basket").await;

    order(&stage, &browser).await;
    browser.fill("#mobile", "12345").await;
    browser.press("Pay ₹1,220.50").await;
    browser
        .sees("Please enter a mobile number of ten digits.")
        .await;
    browser.look("shop-3-basket-corrected").await;
    browser.fill("#mobile", "+91 90000-00000").await;
    let read = "return new URLSearchParams(new FormData(document.querySelector('form[method=post]'))).toString()";
    let form = browser.run(read).await;
    let visitor = browser.client.get_named_cookie("shop_visitor").await;
    let visitor = format!("shop_visitor={}", visitor.expect("a cookie").value());
    browser.press("Pay ₹1,220.50").await;
    browser.find("#atom-checkout").await;
    let again = reqwest::Client::new()
        .post(stage.at("/shop/orders"))
        .header("cookie", visitor)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form.as_str().expect("a form").to_owned())
        .send()
        .await
        .expect("an answer");
    assert_eq!(again.status(), 200, "a second click opens the same window");
    browser.picture("shop-4-hosted-page").await;

    at_atom(&browser, "#pay-UP").await;
    browser.sees("Thank you for your order").await;
    browser.sees("₹1,220.50 has arrived").await;
    browser.look("shop-5-paid").await;
    let id = order_id(&browser).await;
    let view = stage.view(&id).await;
    assert_eq!(view["status"], "paid", "{view}");
    assert_eq!(view["attempts"].as_array().map(Vec::len), Some(1), "{view}");
    let ledger = stage.atom.shows("ledger").await;
    assert_eq!(captures(&ledger), 1, "{ledger}");

    browser.press("Tea by the river").await;
    browser.sees("Your orders").await;
    browser.look("shop-6-shelf-with-orders").await;
    browser.click(".mine a").await;
    browser.sees("Thank you for your order").await;
    browser
        .client
        .delete_all_cookies()
        .await
        .expect("a browser without cookies");
    browser.go(&stage.at(&format!("/shop/orders/{id}"))).await;
    browser.sees("placed in another browser").await;
    browser.look("shop-7-foreign-order").await;
    browser.end().await;
}

#[tokio::test]
async fn a_customer_pays_at_a_desk() {
    bounded(pays(Screen::Desk)).await;
}

#[tokio::test]
async fn a_customer_pays_on_a_phone() {
    bounded(pays(Screen::Phone)).await;
}

/// Shows: a payment that fails is told as such, and the next try of the same order pays it.
#[tokio::test]
async fn a_failed_payment_is_tried_again() {
    bounded(async {
        let stage = Stage::start();
        let browser = Browser::open(Screen::Phone).await;
        begin(&stage, &browser).await;
        at_atom(&browser, "#fail").await;
        browser.sees("The payment did not go through").await;
        browser.look("shop-failed").await;
        let id = order_id(&browser).await;
        browser.press("Try again").await;
        at_atom(&browser, "#pay-CC").await;
        browser.sees("Thank you for your order").await;
        assert_eq!(order_id(&browser).await, id, "it is the same order");
        let view = stage.view(&id).await;
        let outcomes: Vec<_> = view["attempts"].as_array().into_iter().flatten().collect();
        assert_eq!(outcomes.len(), 2, "{view}");
        browser.end().await;
    })
    .await;
}

/// Shows: a customer who closes the payment window can open it again; one who pays and never comes back finds the order paid,
/// because the callback settled it.
#[tokio::test]
async fn a_customer_who_never_comes_back_has_paid() {
    bounded(async {
        let stage = Stage::start();
        let browser = Browser::open(Screen::Phone).await;
        begin(&stage, &browser).await;
        at_atom(&browser, "#close").await;
        browser.press("See the state of my order").await;
        browser.sees("Have you paid?").await;
        browser.look("shop-closed-window").await;
        let id = order_id(&browser).await;
        browser.press("Open the payment window again").await;
        browser.find("#atom-checkout").await;

        // The browser leaves while the bank still works; the money is taken all the same.
        let read =
            "return JSON.parse(document.getElementById('checkout').dataset.options).atomTokenId";
        let token = browser.run(read).await;
        browser.go("about:blank").await;
        let act = json!({"token": token, "outcome": "success", "wait": true});
        stage.atom.told("pay", &act).await;
        browser.go(&stage.at("/shop")).await;
        browser.sees("Your orders").await;
        browser.click(".mine a").await;
        browser.sees("Thank you for your order").await;
        assert_eq!(order_id(&browser).await, id);
        browser.end().await;
    })
    .await;
}

/// Shows: the callback is lost and the customer never returns; the waiting page turns to "paid" by itself when the status query
/// has run, without a script and without a click.
#[tokio::test]
async fn a_lost_callback_is_found_by_a_query() {
    bounded(async {
        let stage = Stage::start();
        let browser = Browser::open(Screen::Desk).await;
        begin(&stage, &browser).await;
        let read =
            "return JSON.parse(document.getElementById('checkout').dataset.options).atomTokenId";
        let token = browser.run(read).await;
        let act = json!({"token": token, "outcome": "success", "lost": true});
        stage.atom.told("pay", &act).await;
        let form = "document.querySelector('main form').submit()";
        browser.run(form).await;
        browser.sees("Have you paid?").await;
        let id = order_id(&browser).await;
        let view = stage.view(&id).await;
        assert_eq!(view["status"], "pending", "{view}");
        stage.queries_are_due().await;
        browser.sees("Thank you for your order").await;
        browser.end().await;
    })
    .await;
}

/// Shows: a bank that has not decided is waited for; a customer who cancels at Atom's page finds the way back to the order, and
/// may try again.
#[tokio::test]
async fn a_customer_gives_up_or_the_bank_takes_its_time() {
    bounded(async {
        let stage = Stage::start();
        let browser = Browser::open(Screen::Phone).await;
        begin(&stage, &browser).await;
        at_atom(&browser, "#pending").await;
        browser.sees("We are checking your payment").await;
        browser.look("shop-checking").await;

        begin(&stage, &browser).await;
        at_atom(&browser, "#cancel").await;
        browser.sees("Your payment is being processed").await;
        browser.look("shop-cancelled-at-atom").await;
        browser.press("Back to the shop").await;
        browser.sees("Your orders").await;
        browser.click(".mine a").await;
        // The word of the cancel has the attempt queried; what Atom answers decides.
        browser.sees("The payment did not go through").await;
        browser.press("Try again").await;
        at_atom(&browser, "#pay-UP").await;
        browser.sees("Thank you for your order").await;
        browser.end().await;
    })
    .await;
}

/// Shows: what a customer reads when Atom refuses to open a payment: nothing was charged, and the order is kept.
#[tokio::test]
async fn a_partner_that_refuses_is_told_in_plain_words() {
    bounded(async {
        let stage = Stage::start();
        let browser = Browser::open(Screen::Phone).await;
        let refuses = json!({"api": "auth", "fault": "code", "code": "OTS0621", "times": 1});
        stage.atom.fault(refuses).await;
        order(&stage, &browser).await;
        browser.press("Pay ₹1,220.50").await;
        browser
            .sees("Our payment partner did not open a payment")
            .await;
        browser.look("shop-refused").await;
        browser.end().await;
    })
    .await;
}

/// Shows: what a customer reads when the script of the payment window cannot be loaded.
#[tokio::test]
async fn a_window_that_does_not_open_is_told_in_plain_words() {
    bounded(async {
        let stage = Stage::without_script();
        let browser = Browser::open(Screen::Phone).await;
        order(&stage, &browser).await;
        browser.press("Pay ₹1,220.50").await;
        browser.sees("The payment window could not be loaded").await;
        browser.look("shop-no-window").await;
        browser.end().await;
    })
    .await;
}
