//! The list of issues: what went wrong, what an operator should look at, and the form that resolves it.

use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;

use super::proposal::proposal;
use crate::pages::look::{Input, Tone, badge, code, facts, hidden, time_tag};
use crate::pages::session::{CSRF_FIELD, Operator};
use crate::pages::text::Zone;

/// One issue as the API lists it.
#[derive(Clone, Default, Debug, Deserialize)]
#[serde(default)]
pub struct Issue {
    /// Its id.
    pub issue_id: String,
    /// What kind.
    pub kind: String,
    /// `low`, `medium` or `high`.
    pub severity: String,
    /// The order it is about.
    pub order_id: Option<String>,
    /// The refund it is about.
    pub refund_id: Option<String>,
    /// What is known, masked.
    pub detail: Value,
    /// When it was opened.
    pub opened_at: String,
    /// When it was closed.
    pub closed_at: Option<String>,
    /// How it was resolved.
    pub resolution: Option<String>,
    /// What the first of two operators asked for.
    pub proposed_action: Option<String>,
    /// The key of the first operator.
    pub proposed_by: Option<String>,
}

/// A page of the list.
#[derive(Clone, Default, Debug, Deserialize)]
#[serde(default)]
pub struct Issues {
    /// Newest first.
    pub items: Vec<Issue>,
    /// Where the next page begins.
    pub next_cursor: Option<String>,
}

/// What an operator needs to know about each kind.
const ADVICE: &[(&str, &str)] = &[
    (
        "orphan_callback",
        "A genuine message names a payment that we do not have. Find out whether somebody else uses our keys, or data were lost.",
    ),
    (
        "amount_mismatch",
        "Atom reports another amount, currency or order than ours. Nothing is shipped or refunded until this is decided.",
    ),
    (
        "bank_amount",
        "The bank's amount differs from Atom's. Compare both with the merchant's records.",
    ),
    (
        "contradiction",
        "Atom's code and message contradict each other. Ask Atom what became of this payment.",
    ),
    (
        "unknown_code",
        "Atom answered with a code that is in no table. The payment is being asked for again by itself.",
    ),
    (
        "gateway_configuration",
        "Atom does not accept our merchant, password, signature or request. Check the configuration: nothing works until then.",
    ),
    (
        "duplicate_capture",
        "The customer paid this order twice. Compare both payments with Atom's records, then refund the surplus.",
    ),
    (
        "late_capture",
        "Money arrived for an order that was closed already. The system refunds it by itself, unless that is switched off.",
    ),
    (
        "capture_claimed_twice",
        "Two of our payments claim one and the same capture. Ask Atom which of them it belongs to.",
    ),
    (
        "reversed_after_ship",
        "The bank took the money back after the goods had left. Speak with the customer.",
    ),
    (
        "result_contradicts",
        "A status query denies what a message said. Ask Atom before anything is shipped or refunded.",
    ),
    (
        "unconfirmed_success",
        "No status query has agreed with this payment in time. Ask Atom before shipping.",
    ),
    (
        "unresolved_attempt",
        "Nobody could tell what became of this payment. Ask Atom, then close this with what they said.",
    ),
    (
        "settled_but_failed",
        "Atom has settled a payment that we hold for failed. The customer's money is with us: ask Atom.",
    ),
    (
        "inbox_stuck",
        "A stored message cannot be applied. The log has the reason.",
    ),
    (
        "refund_amount_mismatch",
        "Atom lists our refund with another amount. Ask Atom before anything else is done.",
    ),
];

/// What an operator can do with an issue: the code, the words, and whether it moves money.
pub const RESOLUTIONS: &[(&str, &str, bool)] = &[
    ("close", "Close: nothing is left to do", false),
    ("refund_surplus", "Refund the surplus payment", true),
    ("accept_amount", "Accept the amount that arrived", true),
    ("mark_failed", "Mark as failed", true),
];

/// The words about a kind, empty for one without.
#[must_use]
pub fn advice(kind: &str) -> &'static str {
    ADVICE
        .iter()
        .find(|(k, _)| *k == kind)
        .map_or("", |(_, words)| words)
}

/// The list; `closed` shows those that are done.
#[must_use]
pub fn issues(operator: &Operator, issues: &Issues, closed: bool, key: &str) -> Markup {
    html! {
        p {
            @if closed { a href="/admin/issues" { "Open issues" } " · closed issues" }
            @else { "Open issues · " a href="/admin/issues?closed=1" { "closed issues" } }
        }
        ul.rows {
            @for issue in &issues.items { li.inside id=(issue.issue_id) { (issue_html(operator, issue, key)) } }
            @if issues.items.is_empty() {
                li.empty { @if closed { "No issue has been closed yet." } @else { "Nothing is waiting for you." } }
            }
        }
        @if let Some(cursor) = &issues.next_cursor {
            a.button.second href=(older(closed, cursor)) { "Older issues" }
        }
    }
}

fn older(closed: bool, cursor: &str) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    if closed {
        query.append_pair("closed", "1");
    }
    format!(
        "/admin/issues?{}",
        query.append_pair("cursor", cursor).finish()
    )
}

fn issue_html(operator: &Operator, issue: &Issue, key: &str) -> Markup {
    let order = issue.order_id.as_deref().map(|id| {
        html! { a href=(format!("/admin/orders/{id}")) { code { (id) } } }
    });
    let open = issue.closed_at.is_none();
    html! {
        h3 {
            (badge(&issue.kind, if open { Tone::Bad } else { Tone::Calm })) " "
            span.dim.small { (urgency(&issue.severity)) }
        }
        p { (advice(&issue.kind)) }
        (facts(&[
            ("Order", order),
            ("Refund", code(issue.refund_id.as_deref().unwrap_or_default())),
            ("Opened", Some(time_tag(&issue.opened_at, Zone::Ist))),
            ("Closed", issue.closed_at.as_deref().map(|t| time_tag(t, Zone::Ist))),
            ("Resolution", issue.resolution.as_ref().map(|r| html! { (r) })),
            ("Known", known(&issue.detail)),
        ]))
        @if open { (resolve_form(operator, issue, key)) }
    }
}

/// How soon somebody must look.
fn urgency(severity: &str) -> &'static str {
    match severity {
        "high" => "look at it now",
        "medium" => "look at it today",
        "low" => "look at it with the daily work",
        _ => "",
    }
}

/// The detail as lines; a text stays a text.
fn known(detail: &Value) -> Option<Markup> {
    match detail {
        Value::Null => None,
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => Some(html! { (text) }),
        Value::Object(members) => Some(html! {
            @for (name, value) in members {
                @let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                div { (name.replace('_', " ")) ": " code { (value) } }
            }
        }),
        other => Some(html! { code { (other.to_string()) } }),
    }
}

fn resolve_form(operator: &Operator, issue: &Issue, key: &str) -> Markup {
    let note_id = format!("note-{}", issue.issue_id);
    let note = Input {
        name: "note",
        id: &note_id,
        label: "Note",
        kind: "text",
        hint: "What you found out. It goes into the audit with your name.",
        autocomplete: "off",
        ..Input::default()
    };
    let action = issue.proposed_action.as_deref().unwrap_or_default();
    let by = issue.proposed_by.as_deref().unwrap_or_default();
    html! {
        (proposal(operator, action, by, words_of(action)))
        details open[issue.proposed_action.is_some()] {
            summary { "Resolve" }
            form method="post" action=(format!("/admin/issues/{}/resolve", issue.issue_id)) {
                (hidden(CSRF_FIELD, &operator.csrf))
                (hidden("key", &format!("{key}-{}", issue.issue_id)))
                div.field {
                    label for=(format!("action-{}", issue.issue_id)) { "What shall be done" }
                    select id=(format!("action-{}", issue.issue_id)) name="action" {
                        @for (action, label, money) in RESOLUTIONS {
                            option value=(action) selected[issue.proposed_action.as_deref() == Some(action)] {
                                (label) @if *money { " (needs a second operator)" }
                            }
                        }
                    }
                }
                (note.html())
                button type="submit" { "Resolve" }
            }
        }
    }
}

fn words_of(action: &str) -> &str {
    RESOLUTIONS
        .iter()
        .find(|(a, ..)| *a == action)
        .map_or(action, |(_, words, _)| words)
}
