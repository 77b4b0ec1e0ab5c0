//! The list of orders: filters on top, a page of rows, and the way to the next page.

use maud::{Markup, html};
use serde::Deserialize;

use crate::pages::form::Fields;
use crate::pages::look::{Tone, badge, nothing, time_tag};
use crate::pages::order::tone;
use crate::pages::text::{Zone, money};

/// One order of the list (`spec/atom.md` 15.6).
#[derive(Clone, Default, Debug, Deserialize)]
#[serde(default)]
pub struct Row {
    /// Its id.
    pub order_id: String,
    /// The merchant's own reference.
    pub merchant_order_ref: String,
    /// Status of the order.
    pub status: String,
    /// Minor units.
    pub amount: i64,
    /// ISO code.
    pub currency: String,
    /// `none`, `partial` or `full`.
    pub refund_state: String,
    /// Minor units.
    pub refunded_amount: i64,
    /// Kinds of the issues that hold it.
    pub holds: Vec<String>,
    /// Masked contact data.
    pub customer: Contact,
    /// When it was made.
    pub created_at: String,
}

/// Contact data as the list shows it: masked by the flow, never by the page.
#[derive(Clone, Default, Debug, Deserialize)]
#[serde(default)]
pub struct Contact {
    /// `b***@example.com`.
    pub email: String,
    /// `*******000`.
    pub mobile: String,
}

/// A page of the list.
#[derive(Clone, Default, Debug, Deserialize)]
#[serde(default)]
pub struct Rows {
    /// Newest first.
    pub items: Vec<Row>,
    /// Where the next page begins, if there is one.
    pub next_cursor: Option<String>,
}

/// The filters of the list: the form's field, its label, and what may be chosen (nothing: free text).
pub const FILTERS: &[(&str, &str, &[&str])] = &[
    (
        "status",
        "Status",
        &[
            "pending",
            "paid",
            "shipped",
            "delivered",
            "cancelled",
            "refunded",
        ],
    ),
    ("refund_state", "Refunds", &["none", "partial", "full"]),
    (
        "hold",
        "On hold for",
        &["amount_mismatch", "duplicate_capture", "late_capture"],
    ),
    ("from", "Made on or after", &[]),
    ("to", "Made before", &[]),
    ("merch_txn_id", "Our payment id", &[]),
    ("atom_txn_id", "Atom's payment id", &[]),
];

/// The list with its filters as they were sent.
#[must_use]
pub fn orders(rows: &Rows, filters: &Fields) -> Markup {
    html! {
        (filter_form(filters))
        ul.rows {
            @for row in &rows.items { li { (row_html(row)) } }
            @if rows.items.is_empty() { li.empty { (nothing_here(in_use(filters))) } }
        }
        @if let Some(cursor) = &rows.next_cursor {
            a.button.second href=(next(cursor, filters)) { "Older orders" }
        }
    }
}

fn row_html(row: &Row) -> Markup {
    html! {
        a.row.orders href=(format!("/admin/orders/{}", row.order_id)) {
            span {
                span.main { (row.merchant_order_ref) }
                br;
                span.dim.small { (row.customer.email) " " (row.customer.mobile) }
            }
            span.right {
                strong { (money(row.amount, &row.currency)) }
                (refunded(row))
            }
            span.dim.small { (time_tag(&row.created_at, Zone::Ist)) }
            span.right {
                (badge(&row.status, tone(&row.status)))
                @for hold in &row.holds { " " (badge(hold, Tone::Bad)) }
            }
        }
    }
}

fn refunded(row: &Row) -> Markup {
    if row.refunded_amount == 0 {
        return nothing();
    }
    html! { br; span.small.dim { (money(row.refunded_amount, &row.currency)) " refunded" } }
}

/// Whether the list is filtered.
fn in_use(filters: &Fields) -> bool {
    let mut names = FILTERS.iter();
    names.any(|(name, ..)| filters.filled(name).is_some())
}

fn nothing_here(filtered: bool) -> &'static str {
    if filtered {
        "No order fits these filters."
    } else {
        "There are no orders yet. They come from the shop, or from a merchant through the API."
    }
}

fn filter_form(filters: &Fields) -> Markup {
    let used = in_use(filters);
    html! {
        details.card open[used] {
            summary { "Filter" @if used { " (in use)" } }
            form method="get" action="/admin/orders" {
                div.filters {
                    @for (name, label, choices) in FILTERS {
                        @if choices.is_empty() { (typed(name, label, filters.get(name))) }
                        @else { (chosen(name, label, choices, filters.get(name))) }
                    }
                }
                div.actions {
                    button type="submit" { "Show" }
                    a.button.second href="/admin/orders" { "Show all" }
                }
            }
        }
    }
}

fn typed(name: &str, label: &str, value: &str) -> Markup {
    let kind = if matches!(name, "from" | "to") {
        "date"
    } else {
        "text"
    };
    html! {
        div.field {
            label for=(name) { (label) }
            input id=(name) name=(name) type=(kind) value=(value) autocomplete="off";
        }
    }
}

fn chosen(name: &str, label: &str, choices: &[&str], value: &str) -> Markup {
    html! {
        div.field {
            label for=(name) { (label) }
            select id=(name) name=(name) {
                option value="" { "any" }
                @for choice in choices {
                    option value=(choice) selected[*choice == value] { (choice.replace('_', " ")) }
                }
            }
        }
    }
}

fn next(cursor: &str, filters: &Fields) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, ..) in FILTERS {
        if let Some(value) = filters.filled(name) {
            query.append_pair(name, value);
        }
    }
    query.append_pair("cursor", cursor);
    format!("/admin/orders?{}", query.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_keeps_the_filters() {
        // Shows: the link to older orders carries every filter in use, escaped, and the cursor.
        let filters = Fields::parse(b"status=paid&hold=&merch_txn_id=a%26b&else=1");
        assert_eq!(
            next("c=1", &filters),
            "/admin/orders?status=paid&merch_txn_id=a%26b&cursor=c%3D1"
        );
    }
}
