//! `/admin/frex`: the deferred-payment worker's orders, requests, alerts and runs, and what operators decide about them.
//!
//! Like the other admin pages these decide nothing: they read the tables through `frex::view`, ask `frex::decide` to act, and say
//! in words what it answered. Buyer data never gets here. They exist only where FREX is configured.

pub mod alerts;
pub mod decide;
pub mod handlers;
pub mod history;
pub mod order;
pub mod orders;
pub mod records;
pub mod runs;
pub mod words;

use maud::{Markup, html};

/// The pages of this section, in the order of its menu: address and name.
pub const PAGES: &[(&str, &str)] = &[
    ("/admin/frex/orders", "Orders"),
    ("/admin/frex/alerts", "Alerts"),
    ("/admin/frex/runs", "Runs"),
];

/// The menu of this section, with the page `here` marked.
#[must_use]
pub fn menu(here: &str) -> Markup {
    html! {
        nav.tabs aria-label="Deferred payment" {
            @for (address, name) in PAGES {
                a href=(address) aria-current=[(*address == here).then_some("page")] { (name) }
            }
        }
    }
}
