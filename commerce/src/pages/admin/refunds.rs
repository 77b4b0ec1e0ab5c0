//! Refunds that are not settled: those the system still works on, and those that wait for a person.

use maud::{Markup, html};
use sqlx::Row;

use super::proposal::{Deciding, proposal};
use super::records::words;
use crate::atom::flow::refunds::resolve::{ACTIONS, RefundAction};
use crate::atom::flow::refunds::state::RefundState;
use crate::pages::look::{Input, Tone, badge, code, facts, hidden, text};
use crate::pages::order::tone;
use crate::pages::session::CSRF_FIELD;
use crate::pages::text::{Zone, age, money, when_ms};
use crate::store::{Store, StoreError};

/// Refunds shown at most, the oldest first.
const REFUNDS_MAX: i64 = 200;

/// A refund that is not settled.
#[derive(Clone, Default, Debug)]
pub struct OpenRefund {
    /// Its id.
    pub id: String,
    /// The order.
    pub order_id: String,
    /// The merchant's reference of the order.
    pub order_ref: String,
    /// Minor units.
    pub amount: i64,
    /// ISO code.
    pub currency: String,
    /// State of `spec/atom.md` 11.1.
    pub state: String,
    /// The reason that was entered.
    pub reason: String,
    /// Atom's last code.
    pub gateway_code: String,
    /// When it was entered, in ms.
    pub created_at: i64,
    /// Why it waits for an operator; empty if it does not.
    pub held: String,
    /// What the first of two operators asked for; empty if nobody did.
    pub proposed_action: String,
    /// The key of that operator.
    pub proposed_by: String,
    /// When the system looks again, in ms.
    pub next_check_at: Option<i64>,
}

impl OpenRefund {
    /// Whether the system has given up and a person must decide.
    #[must_use]
    pub fn waits_for_person(&self) -> bool {
        !self.held.is_empty() || (self.next_check_at.is_none() && self.state != "submitting")
    }
}

/// The refunds that are not settled, those that wait for a person first, then by age.
///
/// # Errors
/// The store fails.
pub async fn read(store: &Store) -> Result<Vec<OpenRefund>, StoreError> {
    let rows = sqlx::query(
        "SELECT r.id, r.order_id, o.merchant_order_ref, r.amount, r.currency, r.state, r.reason, r.gateway_code, \
         r.held, r.proposed_action, r.proposed_by, r.created_at, r.next_check_at FROM refunds r JOIN orders o ON o.id = r.order_id \
         WHERE r.state IN ('requested', 'submitting', 'unknown') \
         OR (r.state = 'accepted' AND (r.held IS NOT NULL OR r.next_check_at IS NULL)) \
         ORDER BY r.created_at, r.id LIMIT $1",
    )
    .bind(REFUNDS_MAX)
    .fetch_all(store.pool())
    .await?;
    let refunds = rows.iter().map(|row| {
        Ok(OpenRefund {
            id: words(row, "id")?,
            order_id: words(row, "order_id")?,
            order_ref: words(row, "merchant_order_ref")?,
            amount: row.try_get("amount")?,
            currency: words(row, "currency")?,
            state: words(row, "state")?,
            reason: words(row, "reason")?,
            gateway_code: words(row, "gateway_code")?,
            held: words(row, "held")?,
            proposed_action: words(row, "proposed_action")?,
            proposed_by: words(row, "proposed_by")?,
            created_at: row.try_get("created_at")?,
            next_check_at: row.try_get("next_check_at")?,
        })
    });
    let mut refunds: Vec<OpenRefund> = refunds.collect::<Result<_, StoreError>>()?;
    refunds.sort_by_key(|refund| !refund.waits_for_person());
    Ok(refunds)
}

/// What a decision means, in words. From which states it is offered, and whether it moves money, is the flow's to say.
fn label(action: RefundAction) -> &'static str {
    match action {
        RefundAction::Lookup => "Look it up now",
        RefundAction::Resend => "Send it again",
        RefundAction::MarkAccepted => "Atom has taken it",
        RefundAction::MarkProcessed => "The money was paid out",
        RefundAction::MarkRejected => "Atom never took it: free its amount",
        RefundAction::MarkFailed => "It was not paid out",
    }
}

/// The list.
#[must_use]
pub fn refunds(desk: &Deciding<'_>, refunds: &[OpenRefund], now_ms: i64) -> Markup {
    let waiting = refunds.iter().filter(|r| r.waits_for_person()).count();
    html! {
        p {
            @match waiting {
                0 => "No refund waits for a person.",
                1 => "One refund waits for a person.",
                n => { (n) " refunds wait for a person." },
            }
            " The system works on the others by itself."
        }
        ul.rows {
            @for refund in refunds { li.inside { (refund_html(desk, refund, now_ms)) } }
            @if refunds.is_empty() { li.empty { "Every refund is settled." } }
        }
    }
}

fn refund_html(desk: &Deciding<'_>, refund: &OpenRefund, now_ms: i64) -> Markup {
    let person = refund.waits_for_person();
    html! {
        h3 {
            (money(refund.amount, &refund.currency)) " "
            (badge(&refund.state, tone(&refund.state)))
            @if person { " " (badge("waits for a person", Tone::Bad)) }
        }
        (facts(&[
            ("Order", Some(html! { a href=(format!("/admin/orders/{}", refund.order_id)) { (refund.order_ref) } })),
            ("Reason", text(&refund.reason)),
            ("Waits because", text(held_words(&refund.held))),
            ("Id", code(&refund.id)),
            ("Atom's code", code(&refund.gateway_code)),
            ("Entered", Some(html! { (when_ms(refund.created_at, Zone::Ist)) ", " (age(now_ms - refund.created_at)) " ago" })),
            ("Next look-up", refund.next_check_at.map(|t| html! { (when_ms(t, Zone::Ist)) })),
        ]))
        (proposal(desk.operator, &refund.proposed_action, &refund.proposed_by, words_of(&refund.proposed_action)))
        @if refund.state != "submitting" { (decide_form(desk, refund)) }
    }
}

/// Why a refund waits, in words.
fn held_words(held: &str) -> &str {
    match held {
        "configuration" => {
            "Atom does not accept our request as such. Check the configuration, then send it."
        }
        "not_listed" => "Atom does not list it. It may be sent again, or its amount freed.",
        "undecided" => "Nobody could tell what became of it. Ask Atom.",
        "contradiction" => "Atom lists it in a way that contradicts what was sent. Ask Atom.",
        other => other,
    }
}

fn words_of(action: &str) -> &str {
    let row = ACTIONS.iter().find(|(_, word, ..)| *word == action);
    row.map_or(action, |(action, ..)| label(*action))
}

fn decide_form(desk: &Deciding<'_>, refund: &OpenRefund) -> Markup {
    let note_id = format!("note-{}", refund.id);
    let note = Input {
        name: "note",
        id: &note_id,
        label: "Note",
        kind: "text",
        hint: "What you found out. It goes into the audit with your name.",
        autocomplete: "off",
        ..Input::default()
    };
    let state = RefundState::parse(&refund.state);
    let offered = ACTIONS
        .iter()
        .filter(|(_, _, states, _)| state.is_some_and(|state| states.contains(&state)));
    html! {
        details open[refund.waits_for_person()] {
            summary { "Decide" }
            form method="post" action=(format!("/admin/refunds/{}/resolve", refund.id)) {
                (hidden(CSRF_FIELD, &desk.operator.csrf))
                (hidden("key", &desk.key_for(&refund.id)))
                div.field {
                    label for=(format!("action-{}", refund.id)) { "What shall be done" }
                    select id=(format!("action-{}", refund.id)) name="action" {
                        @for (action, word, _, moves_money) in offered {
                            option value=(word) selected[refund.proposed_action == *word] {
                                (label(*action)) (desk.second(*moves_money))
                            }
                        }
                    }
                }
                (note.html())
                button type="submit" { "Decide" }
            }
        }
    }
}
