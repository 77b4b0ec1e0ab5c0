//! The forms with which operators decide: about a request whose outcome nobody knows, and about an order that needs a way on.
//!
//! What fits is `frex::decide`'s to say; here it is only offered.

use maud::{Markup, html};
use serde_json::Value;

use super::records::Proposed;
use super::words;
use crate::frex::agency::settings::Protocol;
use crate::frex::decide::{OrderAction, RequestAction};
use crate::frex::key::RequestType;
use crate::frex::model::{Pair, RequestState};
use crate::pages::admin::proposal::proposal;
use crate::pages::look::{Input, hidden, nothing};
use crate::pages::session::{CSRF_FIELD, Operator};

/// The form about a request as `frex::view::request` shows it; nothing if there is nothing to decide.
#[must_use]
pub fn about_request(
    operator: &Operator,
    request: &Value,
    proposed: &[Proposed],
    protocol: Protocol,
) -> Markup {
    let text = |name: &str| request[name].as_str().unwrap_or_default();
    let known = RequestType::from_name(text("type")).zip(RequestState::from_word(text("state")));
    let Some((kind, state)) = known else {
        return nothing();
    };
    let fitting: Vec<RequestAction> = RequestAction::ALL
        .iter()
        .copied()
        .filter(|action| action.fits(kind, state, protocol))
        .collect();
    if fitting.is_empty() {
        return nothing();
    }
    let key = text("key");
    let first = proposed.iter().find(|proposed| proposed.key == key);
    let (wanted, by) = match first {
        Some(first) => (first.action.as_str(), first.by.as_str()),
        None => ("", ""),
    };
    let unknown = state == RequestState::Unknown;
    let refused = state == RequestState::Error && request["unclear"] == false && kind.is_mutation();
    let id = key.replace(':', "-");
    let accept_id = format!("accept-{id}");
    let accept = Input {
        name: "accept_no",
        id: &accept_id,
        label: "Acceptance number",
        kind: "text",
        hint: "Only if the agency says that it accepted the request.",
        autocomplete: "off",
        optional: true,
        ..Input::default()
    };
    html! {
        (proposal(operator, wanted, by, words::proposed(wanted)))
        details open[unknown] {
            summary { "Decide" }
            form method="post" action="/admin/frex/requests/resolve" {
                (hidden(CSRF_FIELD, &operator.csrf))
                (hidden("request", key))
                (choice(&id, fitting.iter().map(|action| {
                    let second = if action.needs_second(kind, refused) { " (needs a second operator)" } else { "" };
                    (action.as_str(), format!("{}{second}", words::request_action(*action)))
                }), wanted))
                @if fitting.contains(&RequestAction::ConfirmAccepted) { (accept.html()) }
                (note(&id))
                button type="submit" { "Decide" }
            }
        }
    }
}

/// The form about an order; nothing if there is nothing to decide.
#[must_use]
pub fn about_order(operator: &Operator, pair: &Pair) -> Markup {
    let fitting: Vec<OrderAction> = OrderAction::ALL
        .iter()
        .copied()
        .filter(|action| action.fits(pair).is_ok())
        .collect();
    if fitting.is_empty() {
        return nothing();
    }
    let number = &pair.order.order_no;
    html! {
        section.card {
            h2 { "Decide about the order" }
            form method="post" action=(format!("/admin/frex/orders/{number}/resolve")) {
                (hidden(CSRF_FIELD, &operator.csrf))
                (choice("order", fitting.iter().map(|action| (action.as_str(), words::order_action(*action).to_owned())), ""))
                (note("order"))
                button type="submit" { "Decide" }
            }
        }
    }
}

fn choice<'a>(id: &str, offered: impl Iterator<Item = (&'a str, String)>, chosen: &str) -> Markup {
    let id = format!("action-{id}");
    html! {
        div.field {
            label for=(id) { "What shall be done" }
            select id=(id) name="action" {
                @for (word, label) in offered { option value=(word) selected[word == chosen] { (label) } }
            }
        }
    }
}

/// The field for the reason. Buyers' data has no place in it, and the page says so.
fn note(id: &str) -> Markup {
    let id = format!("note-{id}");
    let note = Input {
        name: "note",
        id: &id,
        label: "Note",
        kind: "text",
        hint: "What you found out; nothing about the buyer's person. It goes into the books with your name.",
        autocomplete: "off",
        ..Input::default()
    };
    note.html()
}
