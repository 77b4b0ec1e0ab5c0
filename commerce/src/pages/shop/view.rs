//! The shelf, the basket and the page of an order: pure functions from what is known to a page.

use maud::{Markup, html};

use super::basket::{Basket, QUANTITY_MAX, field};
use super::customer::Customer;
use super::settings::ShopSettings;
use super::stage::Stage;
use crate::pages::look::{
    Chrome, Input, Page, Tone, badge, code, facts, hidden, notice, text, time_tag,
};
use crate::pages::order::Order;
use crate::pages::text::{Zone, money};

fn chrome(shop: &ShopSettings) -> Chrome {
    Chrome::Shop {
        name: shop.name.clone(),
    }
}

/// A page of the shop.
#[must_use]
pub fn shop_page(shop: &ShopSettings, title: &str, body: Markup) -> Page {
    Page::new(title, chrome(shop), body)
}

/// Everything that is for sale, with a quantity for each, above the orders that this browser made; `empty_basket` after an order
/// of nothing.
#[must_use]
pub fn shelf(shop: &ShopSettings, orders: &[Order], empty_basket: bool) -> Page {
    let body = html! {
        @if empty_basket {
            (notice(Tone::Bad, &html! { p { "Your basket is empty. Choose how many you would like of at least one item." } }))
        }
        form.card method="get" action="/shop/basket" {
            ul.shelf {
                @for item in &shop.items {
                    li {
                        div {
                            h3 { (item.name) }
                            p.dim { (item.text) }
                            p.price { (money(item.price, &shop.currency)) }
                        }
                        div {
                            label.small for=(field(item)) { "Quantity" }
                            select id=(field(item)) name=(field(item)) {
                                @for n in 0..=QUANTITY_MAX { option value=(n) { (n) } }
                            }
                        }
                    }
                }
            }
            button.big type="submit" { "Go to the basket" }
        }
        @if !orders.is_empty() { (own_orders(orders)) }
    };
    shop_page(shop, "What would you like?", body)
}

/// The way back to what was ordered before.
fn own_orders(orders: &[Order]) -> Markup {
    html! {
        h2 { "Your orders" }
        ul.rows.mine {
            @for order in orders {
                li {
                    a.row href=(format!("/shop/orders/{}", order.order_id)) {
                        span.main { (money(order.amount, &order.currency)) }
                        span.right { (short(order)) }
                        @if let Some(made) = &order.created_at { span.dim.small { (time_tag(made, Zone::Ist)) } }
                    }
                }
            }
        }
    }
}

/// Where an order stands, in a word or two.
fn short(order: &Order) -> Markup {
    match (Stage::of(order, false), order.status.as_str()) {
        (Stage::Unpaid | Stage::Open, _) => badge("not paid yet", Tone::Busy),
        (Stage::Checking | Stage::Held, _) => badge("being checked", Tone::Busy),
        (Stage::Failed, _) => badge("payment failed", Tone::Bad),
        (Stage::Paid, "shipped") => badge("on its way", Tone::Good),
        (Stage::Paid, "delivered") => badge("delivered", Tone::Good),
        (Stage::Paid, _) => badge("paid", Tone::Good),
        (Stage::Refunded, _) => badge("refunded", Tone::Calm),
        (Stage::Closed, _) => badge("closed", Tone::Calm),
    }
}

/// The basket with the form for the customer; `key` makes a second click on its button the same order.
#[must_use]
pub fn basket(shop: &ShopSettings, basket: &Basket<'_>, customer: &Customer, key: &str) -> Page {
    let email = Input {
        name: "email",
        label: "E-mail",
        kind: "email",
        value: &customer.email,
        hint: "For the receipt of your payment.",
        error: customer.email_error,
        autocomplete: "email",
        ..Input::default()
    };
    let mobile = Input {
        name: "mobile",
        label: "Mobile number",
        kind: "tel",
        value: &customer.mobile,
        hint: "Ten digits. Your bank may send a code to it.",
        error: customer.mobile_error,
        keyboard: "tel",
        autocomplete: "tel-national",
        ..Input::default()
    };
    let total = money(basket.total(), &shop.currency);
    let body = html! {
        (lines(shop, basket))
        form.card method="post" action="/shop/orders" {
            h2 { "Your details" }
            @for line in &basket.lines { (hidden(&field(line.item), &line.quantity.to_string())) }
            (hidden("key", key))
            (email.html())
            (mobile.html())
            p.dim.small { "You pay on the secure page of our payment partner. We never see your card." }
            button.big type="submit" { "Pay " (total) }
        }
        p { a href="/shop" { "Change the basket" } }
    };
    shop_page(shop, "Your basket", body)
}

fn lines(shop: &ShopSettings, basket: &Basket<'_>) -> Markup {
    html! {
        section.card {
            ul.shelf {
                @for line in &basket.lines {
                    li {
                        div {
                            h3 { (line.item.name) }
                            p.dim { (line.quantity) " × " (money(line.item.price, &shop.currency)) }
                        }
                        p.right { (money(line.amount(), &shop.currency)) }
                    }
                }
            }
            p.sum { span { "Total" } span { (money(basket.total(), &shop.currency)) } }
        }
    }
}

/// Seconds between two looks at an order, and how often the page looks before it stops: quickly at first, then less.
const LOOKS: &[(u32, u32)] = &[(10, 3), (30, 10), (60, 30)];

fn next_look(look: u32) -> Option<u32> {
    let row = LOOKS.iter().find(|(until, _)| look < *until);
    row.map(|(_, seconds)| *seconds)
}

/// What the page of an order is made of.
#[derive(Clone, Copy, Debug)]
pub struct OrderPage<'a> {
    /// The order as it is now.
    pub order: &'a Order,
    /// The customer came back from the gateway's page.
    pub returned: bool,
    /// How often the page has looked already.
    pub look: u32,
    /// Makes a second click on a payment button the same attempt.
    pub key: &'a str,
    /// Why the last thing the customer asked for was not done.
    pub problem: Option<&'a str>,
}

/// The page of an order: says where it stands and offers what can be done next.
#[must_use]
pub fn order(shop: &ShopSettings, page: &OrderPage<'_>) -> Page {
    let stage = Stage::of(page.order, page.returned);
    let waits = matches!(stage, Stage::Open | Stage::Checking);
    let wait = next_look(page.look).filter(|_| waits && page.problem.is_none());
    let again = again(page);
    let body = html! {
        @if let Some(problem) = page.problem { (notice(Tone::Bad, &html! { p { (problem) } })) }
        (words(stage, page.order))
        (buttons(stage, page, &again))
        (summary(page.order))
        @if waits {
            p.dim.small {
                @if wait.is_some() { "This page looks again by itself. " }
                @else { "This page has stopped looking by itself. " }
                a href=(again) { "Look now" }
            }
        }
        p { a href="/shop" { "Back to the shop" } }
    };
    let shown = shop_page(shop, title(stage, &page.order.status), body);
    match wait {
        Some(seconds) => shown.refresh(seconds, again),
        None => shown,
    }
}

fn again(page: &OrderPage<'_>) -> String {
    let returned = if page.returned { "&returned=1" } else { "" };
    format!(
        "/shop/orders/{}?look={}{returned}",
        page.order.order_id,
        page.look.saturating_add(1)
    )
}

fn title(stage: Stage, status: &str) -> &'static str {
    match (stage, status) {
        (Stage::Unpaid, _) => "Your order is waiting for its payment",
        (Stage::Open, _) => "Have you paid?",
        (Stage::Checking, _) => "We are checking your payment",
        (Stage::Failed, _) => "The payment did not go through",
        (Stage::Held, _) => "We are looking into your payment",
        (Stage::Paid, "shipped") => "Your order is on its way",
        (Stage::Paid, "delivered") => "Your order has arrived",
        (Stage::Paid, _) => "Thank you for your order",
        (Stage::Refunded, _) => "Your money is on its way back",
        (Stage::Closed, _) => "This order is closed",
    }
}

fn words(stage: Stage, order: &Order) -> Markup {
    let amount = money(order.amount, &order.currency);
    let back = money(order.refunded_amount, &order.currency);
    let (tone, body) = match stage {
        Stage::Unpaid => (
            Tone::Calm,
            html! { p { "Your order is kept. Pay " (amount) " to complete it." } },
        ),
        Stage::Open => (
            Tone::Busy,
            html! {
                p { strong { "If you have paid, just stay here." } " We will know within a minute or two." }
                p { "If you closed the payment window before paying, open it again or start over." }
            },
        ),
        Stage::Checking => (
            Tone::Busy,
            html! {
                p { "The bank has not given its final answer yet. This usually takes less than a minute." }
                p { "Please do not pay a second time. You may close this page: your order is kept, and this address shows how it went." }
            },
        ),
        Stage::Failed => (
            Tone::Bad,
            html! {
                p { "Your bank or card issuer did not approve the payment. Your order is kept, and you can try again, with another card if you like." }
                p { "Should your statement show the amount all the same, write to us before you pay again." }
            },
        ),
        Stage::Held => (
            Tone::Busy,
            html! { p { "Something about your payment needs a person to look at it. Please do not pay again: we will write to you." } },
        ),
        Stage::Paid => (
            Tone::Good,
            html! {
                p { "Your payment of " (amount) " has arrived." }
                @if order.refunded_amount > 0 { p { (back) " of it has been refunded." } }
            },
        ),
        Stage::Refunded => (
            Tone::Calm,
            html! { p { "We have refunded " (back) ". Your bank needs a few days to show it." } },
        ),
        Stage::Closed => (
            Tone::Calm,
            html! { p { "It was cancelled or not paid in time. Nothing more will be charged for it." } },
        ),
    };
    notice(tone, &body)
}

fn buttons(stage: Stage, page: &OrderPage<'_>, again: &str) -> Markup {
    let pay = |label: &str, second: bool, supersede: bool| {
        html! {
            form method="post" action=(format!("/shop/orders/{}/pay", page.order.order_id)) {
                (hidden("key", page.key))
                @if supersede { (hidden("supersede", "1")) }
                button.second[second] type="submit" { (label) }
            }
        }
    };
    html! {
        div.actions {
            @match stage {
                Stage::Unpaid => (pay("Pay now", false, false)),
                Stage::Failed => (pay("Try again", false, false)),
                Stage::Open => {
                    (pay("Open the payment window again", false, false))
                    (pay("Start over", true, true))
                },
                Stage::Checking => a.button.second href=(again) { "Look now" },
                _ => {},
            }
        }
    }
}

fn summary(order: &Order) -> Markup {
    let made = order.created_at.as_deref();
    html! {
        section.card {
            h2 { "Order" }
            (facts(&[
                ("Number", code(&order.order_id)),
                ("Amount", text(&money(order.amount, &order.currency))),
                ("Placed", made.map(|t| time_tag(t, Zone::Ist))),
                ("Paid", order.paid_at.as_deref().map(|t| time_tag(t, Zone::Ist))),
            ]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_waits_looks_less_and_less_and_then_stops() {
        // Shows: the refreshes of a page that nobody closes come to an end.
        let looks: Vec<_> = (0..200).map_while(next_look).collect();
        assert_eq!(looks.len(), 60);
        assert!(looks.is_sorted());
    }
}
