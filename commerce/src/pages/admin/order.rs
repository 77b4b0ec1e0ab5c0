//! One order: where it stands, what can be done with it, its attempts and refunds, and everything that happened.

use maud::{Markup, html};

use super::handlers::problem;
use super::proposal::proposal;
use super::records::{AttemptRecord, RefundRecord};
use super::timeline::{Moment, timeline};
use crate::pages::look::{
    Input, Tone, badge, code, facts, hidden, nothing, notice, text, time_tag,
};
use crate::pages::order::{Order, tone};
use crate::pages::session::{CSRF_FIELD, Operator};
use crate::pages::text::{Zone, money, when_ms};

/// What an operator may do with an order by one button: the last part of the form's address, the button, the statuses in which
/// it is offered, and whether it ends something.
pub const ACTIONS: &[(&str, &str, &[&str], bool)] = &[
    ("ship", "Mark as shipped", &["paid"], false),
    ("deliver", "Mark as delivered", &["shipped"], false),
    (
        "requery",
        "Ask Atom now",
        &["pending", "paid", "shipped", "delivered", "cancelled"],
        false,
    ),
    ("cancel", "Cancel the order", &["pending"], true),
];

/// What the page says after an action: the code in the address, the colour, the words.
pub const DONE: &[(&str, Tone, &str)] = &[
    ("ship", Tone::Good, "The order is marked as shipped."),
    ("deliver", Tone::Good, "The order is marked as delivered."),
    ("cancel", Tone::Good, "The order is cancelled."),
    (
        "requery",
        Tone::Busy,
        "Atom is being asked. The answer shows here in a moment: reload the page.",
    ),
    (
        "accepted",
        Tone::Good,
        "Atom has accepted the refund. It counts as paid out once Atom reports so.",
    ),
    ("processed", Tone::Good, "The refund has been paid out."),
    (
        "rejected",
        Tone::Bad,
        "Atom has refused the refund. No money was sent, and the balance is free again.",
    ),
    (
        "requested",
        Tone::Busy,
        "The refund is stored and will be sent as soon as Atom can be reached. Do not enter it again.",
    ),
    (
        "unknown",
        Tone::Busy,
        "Atom's answer did not arrive, so the refund may or may not have happened. It is being looked up; do not enter it again.",
    ),
    (
        "second_needed",
        Tone::Busy,
        "Your refund is noted. It is sent when a second operator enters the same amount.",
    ),
];

/// Everything the page shows.
#[derive(Clone, Copy, Debug)]
pub struct OrderPage<'a> {
    /// Who looks.
    pub operator: &'a Operator,
    /// The order as the API shows it.
    pub order: &'a Order,
    /// Its attempts, oldest first.
    pub attempts: &'a [AttemptRecord],
    /// Its refunds, oldest first.
    pub refunds: &'a [RefundRecord],
    /// What happened, oldest first.
    pub moments: &'a [Moment],
    /// The code of what was just done.
    pub done: &'a str,
    /// Why what was just asked for was refused.
    pub problem: &'a str,
    /// The flow's own words about it; may be empty.
    pub reason: &'a str,
    /// What stands in the refund form.
    pub refund: RefundForm<'a>,
    /// The refund that a first operator asked for, in minor units, and who it was.
    pub wished: Option<(i64, &'a str)>,
}

/// The refund form as it was sent, or as it is offered.
#[derive(Clone, Copy, Default, Debug)]
pub struct RefundForm<'a> {
    /// Amount as text.
    pub amount: &'a str,
    /// Reason.
    pub reason: &'a str,
    /// What is wrong with the amount; empty if nothing is.
    pub amount_error: &'a str,
    /// Makes a second click the same refund.
    pub key: &'a str,
}

/// The page's content.
#[must_use]
pub fn order(page: &OrderPage<'_>) -> Markup {
    let order = page.order;
    html! {
        @if let Some((_, tone, words)) = DONE.iter().find(|(code, ..)| *code == page.done) {
            (notice(*tone, &html! { p { (words) } }))
        }
        @if !page.problem.is_empty() { (problem(page.problem, page.reason)) }
        @for hold in &order.holds {
            (notice(Tone::Bad, &html! {
                p { strong { "On hold: " (hold.replace('_', " ")) ". " } "See " a href="/admin/issues" { "the open issues" } "." }
            }))
        }
        (actions(page))
        div.columns {
            div {
                (summary(order))
                (attempts(page.attempts, &order.currency))
                (refunds(page.refunds, &order.currency))
            }
            div {
                (refund_form(page))
                section.card { h2 { "What happened" } (timeline(page.moments, Zone::Ist)) }
            }
        }
    }
}

fn summary(order: &Order) -> Markup {
    let left = (order.refundable_amount > 0).then_some(order.refundable_amount);
    let back = (order.refunded_amount > 0).then_some(order.refunded_amount);
    let amount = |minor: i64| html! { (money(minor, &order.currency)) };
    let status = html! { (badge(&order.status, tone(&order.status))) };
    let at = |t: &Option<String>| t.as_deref().map(|t| time_tag(t, Zone::Ist));
    html! {
        section.card {
            h2 { "Order" }
            (facts(&[
                ("Status", Some(status)),
                ("Reason", text(order.status_reason.as_deref().unwrap_or_default())),
                ("Amount", Some(amount(order.amount))),
                ("Refunded", back.map(amount)),
                ("Can be refunded", left.map(amount)),
                ("Reference", text(&order.merchant_order_ref)),
                ("Id", code(&order.order_id)),
                ("Paid by", text(order.payment_method.as_deref().map_or("", channel))),
                ("Made", at(&order.created_at)),
                ("Paid", at(&order.paid_at)),
                ("Confirmed by Atom", at(&order.confirmed_at)),
                ("Expires", at(&order.expires_at).filter(|_| order.status == "pending")),
            ]))
        }
    }
}

/// The name of a sub-channel (`spec/atom.md` 7.1); an unknown one is shown as it is.
#[must_use]
pub fn channel(code: &str) -> &str {
    match code {
        "NB" => "net banking",
        "CC" => "credit card",
        "DC" => "debit card",
        "MW" => "wallet",
        "PP" => "PhonePe",
        "PW" => "Paytm wallet",
        "EM" => "instalments",
        "NR" => "challan",
        "BQ" => "BharatQR",
        "UP" => "UPI",
        other => other,
    }
}

fn attempts(attempts: &[AttemptRecord], currency: &str) -> Markup {
    html! {
        section.card {
            h2 { "Payment attempts" }
            @if attempts.is_empty() { p.dim { "The customer has not tried to pay yet." } }
            @for attempt in attempts { div.part { (attempt_html(attempt, currency)) } }
        }
    }
}

fn attempt_html(attempt: &AttemptRecord, currency: &str) -> Markup {
    let outcome = html! {
        (badge(&attempt.outcome, tone(&attempt.outcome))) " " span.dim { (attempt.phase.replace('_', " ")) }
    };
    let amount = |minor: i64| html! { (money(minor, currency)) };
    facts(&[
        ("Outcome", Some(outcome)),
        ("Our payment id", code(&attempt.merch_txn_id)),
        ("Atom's payment id", code(&attempt.atom_txn_id)),
        (
            "Begun",
            Some(html! { (when_ms(attempt.created_at, Zone::Ist)) }),
        ),
        ("Paid by", text(channel(&attempt.sub_channel))),
        ("Bank", text(&attempt.bank)),
        (
            "Surcharge",
            attempt.surcharge.filter(|s| *s > 0).map(amount),
        ),
        ("Atom's code", code(&attempt.status_code)),
        ("Learned from", text(&attempt.status_source)),
        ("Settlement", code(&attempt.recon_status)),
        ("On hold for", text(&attempt.hold.replace('_', " "))),
        (
            "Next query",
            attempt
                .next_requery_at
                .map(|t| html! { (when_ms(t, Zone::Ist)) }),
        ),
    ])
}

fn refunds(refunds: &[RefundRecord], currency: &str) -> Markup {
    if refunds.is_empty() {
        return nothing();
    }
    html! {
        section.card {
            h2 { "Refunds" }
            @for refund in refunds {
                div.part { (facts(&[
                    ("Amount", Some(html! {
                        strong { (money(refund.amount, currency)) } " " (badge(&refund.state, tone(&refund.state)))
                    })),
                    ("Reason", text(&refund.reason)),
                    ("Asked for by", text(&refund.origin)),
                    ("Id", code(&refund.id)),
                    ("Atom's refund id", code(&refund.refund_txn_id)),
                    ("Atom's code", code(&refund.gateway_code)),
                    ("Atom's remarks", text(&refund.remarks)),
                    ("Entered", Some(html! { (when_ms(refund.created_at, Zone::Ist)) })),
                    ("Next look-up", refund.next_check_at.map(|t| html! { (when_ms(t, Zone::Ist)) })),
                ])) }
            }
        }
    }
}

fn actions(page: &OrderPage<'_>) -> Markup {
    let order = page.order;
    let open = ACTIONS
        .iter()
        .filter(|(_, _, statuses, _)| statuses.contains(&order.status.as_str()));
    html! {
        div.actions {
            @for (name, label, _, ends) in open {
                form method="post" action=(format!("/admin/orders/{}/{name}", order.order_id)) {
                    (hidden(CSRF_FIELD, &page.operator.csrf))
                    button.second[!ends].danger[*ends] type="submit" { (label) }
                }
            }
        }
    }
}

fn refund_form(page: &OrderPage<'_>) -> Markup {
    let (order, form) = (page.order, &page.refund);
    let wanted = order.refundable_amount > 0 || !form.amount_error.is_empty();
    if !wanted {
        return nothing();
    }
    let left = format!(
        "{} can be refunded. A part of it is fine.",
        money(order.refundable_amount, &order.currency)
    );
    let amount = Input {
        name: "amount",
        label: "Amount to send back",
        kind: "text",
        value: form.amount,
        hint: &left,
        error: form.amount_error,
        keyboard: "decimal",
        autocomplete: "off",
        ..Input::default()
    };
    let reason = Input {
        name: "reason",
        label: "Reason",
        kind: "text",
        value: form.reason,
        hint: "For our books; the customer does not see it.",
        autocomplete: "off",
        optional: true,
        ..Input::default()
    };
    let (wish, by) = page.wished.map_or_else(Default::default, |(amount, by)| {
        (format!("Refund {}", money(amount, &order.currency)), by)
    });
    html! {
        section.card {
            h2 { "Refund" }
            (proposal(page.operator, &wish, by, &wish))
            form method="post" action=(format!("/admin/orders/{}/refund", order.order_id)) {
                (hidden(CSRF_FIELD, &page.operator.csrf))
                (hidden("key", form.key))
                (amount.html())
                (reason.html())
                label.check {
                    input type="checkbox" name="sure" value="1" required;
                    span { "I have checked the amount: it leaves our account." }
                }
                button.danger type="submit" { "Refund" }
            }
        }
    }
}
