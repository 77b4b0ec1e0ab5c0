//! The list of issues: what went wrong, what an operator should look at, and the form that resolves it.

use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;

use super::proposal::{Deciding, proposal};
use crate::atom::flow::issues::Kind;
use crate::atom::flow::resolution::IssueAction;
use crate::pages::look::{Input, Tone, badge, code, facts, hidden, time_tag};
use crate::pages::session::CSRF_FIELD;
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
    /// Whether something stays open until it is decided, so that closing it is refused.
    pub undecided: bool,
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
        "reversed_and_refunded",
        "The bank took money back of which we had sent a refund too. The customer may have it twice: compare with Atom's records.",
    ),
    (
        "result_contradicts",
        "A status query denies what a message said. Ask Atom, then accept the payment or mark it as failed.",
    ),
    (
        "unconfirmed_success",
        "No status query has agreed with this payment in time. Ask Atom, and accept the payment if they have it.",
    ),
    (
        "unresolved_attempt",
        "Nobody could tell what became of this payment. Ask Atom: if they have the money, accept the payment under their number of it, else mark it as failed.",
    ),
    (
        "settled_but_failed",
        "Atom has settled a payment that we hold for failed. Ask Atom, then accept the payment or give it back.",
    ),
    (
        "inbox_stuck",
        "A stored message cannot be applied; the reason stands below and in the log. If keys were changed, put those of its time back: the message is applied then by itself. If it can never be applied, ask Atom for each payment of that time, then discard it.",
    ),
    (
        "refund_configuration",
        "Atom does not accept our refund request as such. Check the configuration, then send the refund again.",
    ),
    (
        "refund_not_listed",
        "Atom does not list a refund that was sent. Ask Atom, then send it again or free its amount.",
    ),
    (
        "refund_undecided",
        "Nobody could tell what became of a refund. Ask Atom, then decide under Refunds.",
    ),
    (
        "refund_amount_mismatch",
        "Atom lists our refund with another amount. Ask Atom before anything else is done.",
    ),
    (
        "refund_listed_twice",
        "Atom lists one refund of ours twice: the customer may have got the money twice. Ask Atom.",
    ),
    (
        "refund_accepted_late",
        "Atom accepted a refund that two operators had marked as rejected. Its amount is free again here: do not give it back once more, and close this when the books are set right.",
    ),
    (
        "refund_remarks_unknown",
        "Atom describes a refund in words that we do not know. Add them to the table, or close this.",
    ),
    (
        "refund_failed",
        "Atom accepted a refund and did not pay it out. The order is as before; refund it again if it is still due.",
    ),
    (
        "refund_not_paid_out",
        "An accepted refund has not been reported as paid out for long. Ask Atom.",
    ),
    (
        "invariant_violated",
        "The order breaks a rule that must always hold. Send and refund nothing of it before it is known why, and close this when its records are right.",
    ),
];

/// What an operator can do with an issue, in words. Which suits which kind, and what moves money, is the flow's to say.
const RESOLUTIONS: &[(IssueAction, &str)] = &[
    (
        IssueAction::RefundSurplus,
        "Give the money of this payment back",
    ),
    (
        IssueAction::AcceptAmount,
        "Accept the payment as it is: the order counts as paid",
    ),
    (
        IssueAction::MarkFailed,
        "Mark the payment as failed: no money came",
    ),
    (
        IssueAction::Discard,
        "Discard the message: it is never applied",
    ),
    (IssueAction::Close, "Close: nothing is left to do"),
];

/// What suits an issue of this kind, of which something is `undecided` or not.
fn offered(
    kind: &str,
    undecided: bool,
) -> impl Iterator<Item = &'static (IssueAction, &'static str)> {
    let kind = Kind::parse(kind);
    RESOLUTIONS.iter().filter(move |(action, _)| match action {
        IssueAction::Close => !undecided,
        _ => kind.is_some_and(|kind| action.suits(kind)),
    })
}

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
pub fn issues(desk: &Deciding<'_>, issues: &Issues, closed: bool) -> Markup {
    html! {
        p {
            @if closed { a href="/admin/issues" { "Open issues" } " · closed issues" }
            @else { "Open issues · " a href="/admin/issues?closed=1" { "closed issues" } }
        }
        ul.rows {
            @for issue in &issues.items { li.inside id=(issue.issue_id) { (issue_html(desk, issue)) } }
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

fn issue_html(desk: &Deciding<'_>, issue: &Issue) -> Markup {
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
        @if open { (resolve_form(desk, issue)) }
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

fn resolve_form(desk: &Deciding<'_>, issue: &Issue) -> Markup {
    let note_id = format!("note-{}", issue.issue_id);
    let number_id = format!("number-{}", issue.issue_id);
    let number = Input {
        name: "atom_txn_id",
        id: &number_id,
        label: "Atom's number of the payment",
        kind: "text",
        hint: "If you accept it: up to 14 digits, as Atom tells it. Whoever confirms it gives the same.",
        keyboard: "numeric",
        autocomplete: "off",
        optional: true,
        ..Input::default()
    };
    let note = Input {
        name: "note",
        id: &note_id,
        label: "Note",
        kind: "text",
        hint: "What you found out. It goes into the audit with your name.",
        autocomplete: "off",
        ..Input::default()
    };
    let proposed = issue.proposed_action.as_deref().unwrap_or_default();
    let by = issue.proposed_by.as_deref().unwrap_or_default();
    // The flow puts Atom's number behind the action where it is part of what was asked for.
    let (proposed, said_number) = proposed.split_once(' ').unwrap_or((proposed, ""));
    let words = match said_number {
        "" => words_of(proposed).to_owned(),
        number => format!("{}, under {number}", words_of(proposed)),
    };
    html! {
        (proposal(desk.operator, proposed, by, &words))
        details open[issue.proposed_action.is_some()] {
            summary { "Resolve" }
            form method="post" action=(format!("/admin/issues/{}/resolve", issue.issue_id)) {
                (hidden(CSRF_FIELD, &desk.operator.csrf))
                (hidden("key", &desk.key_for(&issue.issue_id)))
                div.field {
                    label for=(format!("action-{}", issue.issue_id)) { "What shall be done" }
                    select id=(format!("action-{}", issue.issue_id)) name="action" {
                        @for (action, label) in offered(&issue.kind, issue.undecided) {
                            option value=(action.as_str()) selected[proposed == action.as_str()] {
                                (label)
                                (desk.second(action.moves_money()))
                            }
                        }
                    }
                }
                @if issue.kind == Kind::UnresolvedAttempt.as_str() { (number.html()) }
                (note.html())
                button type="submit" { "Resolve" }
            }
        }
    }
}

fn words_of(action: &str) -> &str {
    let row = RESOLUTIONS.iter().find(|(a, _)| a.as_str() == action);
    row.map_or(action, |(_, words)| words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_advice_and_a_way_out() {
        // Shows: whatever issue the flow raises, the page says what it means and offers at least to close it.
        for kind in Kind::ALL {
            assert!(!advice(kind.as_str()).is_empty(), "{}", kind.as_str());
            assert!(
                offered(kind.as_str(), false).count() >= 1,
                "{}",
                kind.as_str()
            );
        }
        assert_eq!(offered("unheard_of", false).count(), 1);
    }

    #[test]
    fn what_would_be_refused_is_not_offered() {
        // Shows: as long as a payment hangs on an issue, closing it is no choice, and every kind that can be so has another.
        let holding = [Kind::UnresolvedAttempt, Kind::InboxStuck];
        for kind in Kind::HOLDING.iter().chain(&holding) {
            let left: Vec<IssueAction> = offered(kind.as_str(), true).map(|row| row.0).collect();
            assert!(!left.is_empty(), "{}", kind.as_str());
            assert!(!left.contains(&IssueAction::Close), "{}", kind.as_str());
        }
    }
}
