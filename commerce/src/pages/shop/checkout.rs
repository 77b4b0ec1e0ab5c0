//! The page that opens the gateway's window: the options as data, the gateway's script, and ours.
//!
//! There is no inline script. `checkout.js` reads the options from the page and hands them to the gateway's `AtomPaynetz`.

use maud::html;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::settings::{ShopSettings, origin};
use super::view::shop_page;
use crate::pages::look::{Page, Policy, Tone, hidden, notice};

/// `checkout` of the start-payment answer (`spec/atom.md` 15.2).
#[derive(Clone, Debug, Deserialize)]
pub struct Checkout {
    /// Address of the gateway's script.
    pub script: String,
    /// Which of its environments.
    pub env: String,
    /// What the script is given, as it came.
    pub options: Box<RawValue>,
}

/// The page for a started payment of `order_id`.
#[must_use]
pub fn checkout(shop: &ShopSettings, order_id: &str, checkout: &Checkout) -> Page {
    let address = format!("/shop/orders/{order_id}");
    let body = html! {
        div id="checkout" data-env=(checkout.env) data-options=(checkout.options.get()) {
            p { "The secure payment window of our partner opens by itself. If it does not, or if you closed it, open it here:" }
            button.big id="open-window" type="button" { "Open the payment window" }
        }
        div id="window-problem" hidden {
            (notice(Tone::Bad, &html! {
                p { "The payment window could not be loaded. Check your connection and reload this page; nothing was charged." }
            }))
        }
        noscript {
            (notice(Tone::Bad, &html! {
                p { "Our payment partner's window needs JavaScript. Please switch it on for this page and reload it." }
            }))
        }
        form method="get" action=(address) {
            (hidden("look", "0"))
            p {}
            button.second.big type="submit" { "See the state of my order" }
        }
        script src=(checkout.script) {}
        script src="/static/checkout.js" {}
    };
    let mut hosts: Vec<String> = origin(&checkout.script).into_iter().collect();
    hosts.extend(shop.frame_hosts.iter().cloned());
    let back = back(checkout.options.get()).unwrap_or_default();
    shop_page(shop, "Payment", body).policy(Policy::Checkout { hosts, back })
}

/// The origin of the options' return URL.
fn back(options: &str) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Options {
        return_url: String,
    }
    let options: Options = serde_json::from_str(options).ok()?;
    origin(&options.return_url)
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;

    use super::*;

    #[test]
    fn the_options_are_data_and_the_policy_names_the_scripts_host() {
        // Shows: options with quotes and markup stay inside their attribute, and only the script's origin is added to the policy.
        let start: Checkout = serde_json::from_str(
            r#"{"script":"https://pay.example/js/a.js","env":"uat","options":{"custEmail":"\"><script>x</script>@example.com"}}"#,
        )
        .expect("the test's own JSON");
        let response = checkout(&ShopSettings::default(), "ord_1", &start).into_response();
        let policy = response.headers()["content-security-policy"]
            .to_str()
            .expect("ASCII");
        assert!(
            policy.contains("frame-src https://pay.example;"),
            "{policy}"
        );
        let options = format!("{:?}", checkout(&ShopSettings::default(), "ord_1", &start));
        assert!(!options.contains("<script>x"), "{options}");
    }
}
