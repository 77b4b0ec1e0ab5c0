//! One order: its stage, its state and columns, its open alerts, its requests with what can be decided, and its history.

use maud::{Markup, html};
use serde_json::Value;

use super::alerts::alert_html;
use super::decide::{about_order, about_request};
use super::orders::YEN;
use super::records::Proposed;
use super::words;
use crate::frex::agency::settings::Protocol;
use crate::frex::model::Pair;
use crate::pages::admin::timeline::{Moment, timeline};
use crate::pages::look::{Tone, badge, code, facts, notice, text, time_tag};
use crate::pages::session::Operator;
use crate::pages::text::{Zone, money, when_ms};

/// Everything the page shows.
#[derive(Clone, Copy, Debug)]
pub struct OrderPage<'a> {
    /// Who looks.
    pub operator: &'a Operator,
    /// The order and its state.
    pub pair: &'a Pair,
    /// The order as `frex::view::order` shows it.
    pub view: &'a Value,
    /// What waits for a second operator.
    pub proposed: &'a [Proposed],
    /// The agency's interface.
    pub protocol: Protocol,
    /// What happened, oldest first.
    pub moments: &'a [Moment],
}

/// The page's content.
#[must_use]
pub fn order(page: &OrderPage<'_>) -> Markup {
    let stage = page.view["stage"].as_str().unwrap_or_default();
    let (tone, meaning) = words::stage(stage);
    let members = |name: &str| page.view[name].as_array().cloned().unwrap_or_default();
    let requests = members("requests");
    html! {
        (notice(tone, &html! { p { (badge(stage, tone)) " " (meaning) } }))
        @for alert in &members("alerts") { section.card { (alert_html(page.operator, alert, false)) } }
        div.columns {
            div {
                (summary(page.pair, page.view))
                section.card {
                    h2 { "Requests to the agency" }
                    @if requests.is_empty() { p.dim { "The worker has not begun with this order." } }
                    @for request in &requests { (request_html(page, request)) }
                }
            }
            div {
                (about_order(page.operator, page.pair))
                section.card { h2 { "What happened" } (timeline(page.moments, Zone::Jst)) }
            }
        }
    }
}

fn summary(pair: &Pair, view: &Value) -> Markup {
    let order = &pair.order;
    let word = |name: &str| code(view[name].as_str().unwrap_or_default());
    let yen = |amount: i64| html! { (money(amount, YEN)) };
    let agency = view["agency_amount"]
        .as_i64()
        .filter(|amount| *amount != 0)
        .map(yen);
    html! {
        section.card {
            h2 { "Order" }
            (facts(&[
                ("Amount", Some(yen(order.amount))),
                ("At the agency", agency),
                ("Refused amount", view["rejected_amount"].as_i64().map(yen)),
                ("Member company", text(&order.joiner_id)),
                ("Placed", Some(html! { (when_ms(order.created_at, Zone::Jst)) })),
                ("Agency's number", word("np_transaction_id")),
                ("Closed because", word("close_reason")),
                ("Cancel", view["delete_rejected"].as_bool().filter(|refused| *refused).map(|_| badge("refused by the agency", Tone::Bad))),
            ]))
            details {
                summary { "Columns of the tables" }
                (facts(&[
                    ("strState", word("strState")),
                    ("strOrderState", word("strOrderState")),
                    ("strMoneyInput", word("strMoneyInput")),
                    ("strPayType", word("strPayType")),
                    ("regState", word("reg_state")),
                    ("resultState", word("result_state")),
                    ("authorizeState", word("authorize_state")),
                    ("billingState", word("billing_state")),
                ]))
            }
        }
    }
}

fn request_html(page: &OrderPage<'_>, request: &Value) -> Markup {
    let word = |name: &str| text_of(request, name);
    let at = |name: &str| request[name].as_str().map(|time| time_tag(time, Zone::Jst));
    let open = !matches!(word("state"), "COMPLETE" | "ERROR" | "SKIPPED");
    let amount = request["amount"].as_i64().filter(|amount| *amount != 0);
    let sends = request["attempts"].as_i64().filter(|sends| *sends > 1);
    html! {
        div.part {
            h3 { (words::request(word("type"))) " " (badge(word("label"), tone(word("state")))) }
            (facts(&[
                ("Key", code(word("key"))),
                ("Amount", amount.map(|amount| html! { (money(amount, YEN)) })),
                ("Acceptance", code(word("accept_no"))),
                ("Sent", at("sent_at")),
                ("Sent so often", sends.map(|sends| html! { (sends) " times" })),
                ("Last trouble", text(word("last_error"))),
                ("Next try", at("next_attempt_at").filter(|_| open)),
                ("Ended", at("done_at")),
            ]))
            (about_request(page.operator, request, page.proposed, page.protocol))
        }
    }
}

fn text_of<'a>(view: &'a Value, name: &str) -> &'a str {
    view[name].as_str().unwrap_or_default()
}

/// The colour of a request's state.
fn tone(state: &str) -> Tone {
    match state {
        "COMPLETE" => Tone::Good,
        "ERROR" | "UNKNOWN" => Tone::Bad,
        "SKIPPED" => Tone::Calm,
        _ => Tone::Busy,
    }
}
