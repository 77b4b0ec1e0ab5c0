//! Alerts: what the worker wants people to know, and the button that says that somebody has seen to it.

use maud::{Markup, html};
use serde_json::Value;

use super::words;
use crate::frex::alert::AlertKind;
use crate::pages::look::{Tone, badge, code, facts, hidden, text, time_tag};
use crate::pages::session::{CSRF_FIELD, Operator};
use crate::pages::text::Zone;

/// The list; `all` shows resolved ones too.
#[must_use]
pub fn alerts(operator: &Operator, alerts: &[Value], all: bool, next: Option<&str>) -> Markup {
    html! {
        p {
            @if all { a href="/admin/frex/alerts" { "Open alerts" } " · all alerts" }
            @else { "Open alerts · " a href="/admin/frex/alerts?all=1" { "all alerts" } }
        }
        ul.rows {
            @for alert in alerts { li.inside { (alert_html(operator, alert, true)) } }
            @if alerts.is_empty() {
                li.empty { @if all { "There has been no alert yet." } @else { "Nothing is waiting for you." } }
            }
        }
        @if let Some(id) = next {
            a.button.second href=(format!("/admin/frex/alerts?after={id}{}", if all { "&all=1" } else { "" })) { "Newer alerts" }
        }
    }
}

/// One alert as `frex::view::alerts` shows it, with its order's number where that is not plain.
#[must_use]
pub fn alert_html(operator: &Operator, alert: &Value, with_order: bool) -> Markup {
    let word = |name: &str| alert[name].as_str().unwrap_or_default();
    let at = |name: &str| alert[name].as_str().map(|time| time_tag(time, Zone::Jst));
    let kind = AlertKind::from_word(word("kind"));
    let open = alert["resolved_at"].is_null();
    let codes: Vec<&str> = alert["codes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let order = Some(word("order_no")).filter(|number| with_order && !number.is_empty());
    let count = alert["count"].as_i64().filter(|count| *count > 1);
    html! {
        h3 {
            (badge(word("kind"), if open { Tone::Bad } else { Tone::Calm })) " "
            span.dim.small { (urgency(word("severity"))) }
        }
        p { (kind.map_or("", words::advice)) }
        (facts(&[
            ("Order", order.map(|number| html! { a href=(format!("/admin/frex/orders/{number}")) { (number) } })),
            ("Request", code(word("request_key"))),
            ("Agency's codes", code(&codes.join(", "))),
            ("Known", text(word("detail"))),
            ("First seen", at("first_seen")),
            ("Last seen", count.and_then(|_| at("last_seen"))),
            ("Seen so often", count.map(|count| html! { (count) " times" })),
            ("Resolved", at("resolved_at")),
            ("Resolved by", text(word("resolved_by"))),
        ]))
        @if open {
            form method="post" action=(format!("/admin/frex/alerts/{}/resolve", word("id"))) {
                (hidden(CSRF_FIELD, &operator.csrf))
                (hidden("order", if with_order { "" } else { word("order_no") }))
                button.second type="submit" { "I have seen to it" }
            }
        }
    }
}

/// How soon somebody must look.
fn urgency(severity: &str) -> &'static str {
    match severity {
        "critical" => "look at it now",
        "warning" => "look at it today",
        "info" => "for your information",
        _ => "",
    }
}
