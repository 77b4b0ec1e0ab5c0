//! The list of orders with their stage.

use maud::{Markup, html};

use super::records::{Listed, SHOWN};
use super::words;
use crate::pages::form::Fields;
use crate::pages::look::{Tone, badge};
use crate::pages::text::{Zone, money, when_ms};

/// The currency of all these orders.
pub const YEN: &str = "JPY";

/// The list with its filter as it was sent; `next` is the number after which the next page begins.
#[must_use]
pub fn orders(rows: &[Listed], next: Option<&str>, filter: &Fields) -> Markup {
    let used = filter.filled("number").is_some() || filter.filled("only").is_some();
    html! {
        (filter_form(filter, used))
        ul.rows {
            @for row in rows { li { (row_html(row)) } }
            @if rows.is_empty() {
                li.empty {
                    @if used { "No order fits this filter." }
                    @else { "There are no orders yet. They come from the shop through the API." }
                }
            }
        }
        @if let Some(number) = next { a.button.second href=(older(number, filter)) { "Older orders" } }
    }
}

fn row_html(row: &Listed) -> Markup {
    let order = &row.pair.order;
    let agency = row.pair.info.as_ref().map_or(0, |info| info.billed_amount);
    let (tone, _) = words::stage(row.stage);
    html! {
        a.row.orders href=(format!("/admin/frex/orders/{}", order.order_no)) {
            span { span.main { (order.order_no) } br; span.dim.small { (order.joiner_id) } }
            span.right {
                strong { (money(order.amount, YEN)) }
                @if agency != 0 && agency != order.amount { br; span.dim.small { "agency: " (money(agency, YEN)) } }
            }
            span.dim.small { (when_ms(order.created_at, Zone::Jst)) }
            span.right {
                (badge(row.stage, tone))
                @match row.alerts {
                    0 => {},
                    1 => { " " (badge("one alert", Tone::Bad)) },
                    n => { " " (badge(&format!("{n} alerts"), Tone::Bad)) },
                }
            }
        }
    }
}

fn filter_form(filter: &Fields, used: bool) -> Markup {
    html! {
        details.card open[used] {
            summary { "Filter" @if used { " (in use)" } }
            form method="get" action="/admin/frex/orders" {
                div.filters {
                    div.field {
                        label for="number" { "Order number begins with" }
                        input id="number" name="number" type="text" value=(filter.get("number")) autocomplete="off";
                    }
                    div.field {
                        label for="only" { "Show" }
                        select id="only" name="only" {
                            @for (word, label, _) in SHOWN {
                                option value=(word) selected[*word == filter.get("only")] { (label) }
                            }
                        }
                    }
                }
                div.actions {
                    button type="submit" { "Show" }
                    a.button.second href="/admin/frex/orders" { "Show all" }
                }
            }
        }
    }
}

fn older(number: &str, filter: &Fields) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for name in ["number", "only"] {
        if let Some(value) = filter.filled(name) {
            query.append_pair(name, value);
        }
    }
    query.append_pair("before", number);
    format!("/admin/frex/orders?{}", query.finish())
}
