//! `[shop]` and `[[shop.item]]` of the configuration: whether there is a shop, its name, and what stands on its shelf.

use std::collections::HashSet;

use serde::Deserialize;
use thiserror::Error;
use url::Url;

/// Most items a shop may offer; it is a page to try the flow with, not a warehouse.
pub const ITEMS_MAX: usize = 24;

/// Largest price of an item in minor units, so that a full basket stays below Atom's ten digits.
pub const PRICE_MINOR_MAX: i64 = 10_000_000;

/// The `[shop]` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ShopSettings {
    /// Whether `/shop` is served.
    pub enabled: bool,
    /// The name on top of its pages.
    pub name: String,
    /// The merchant in whose name orders are made.
    pub merchant: String,
    /// The currency of all prices.
    pub currency: String,
    /// Origins of the gateway's payment window, beside that of its script.
    pub frame_hosts: Vec<String>,
    /// `[[shop.item]]`: what is for sale.
    #[serde(skip)]
    pub items: Vec<Item>,
}

/// One thing on the shelf.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// Its name in forms: letters, digits and `-`.
    pub id: String,
    /// Its name on the page.
    pub name: String,
    /// A sentence about it.
    #[serde(default)]
    pub text: String,
    /// Price of one, in minor units.
    pub price: i64,
}

impl Default for ShopSettings {
    fn default() -> Self {
        Self {
            enabled: false,
            name: "Tea by the river".into(),
            merchant: "shop".into(),
            currency: "INR".into(),
            frame_hosts: Vec::new(),
            items: Vec::new(),
        }
    }
}

/// What is wrong with `[shop]`, beyond what the table of keys finds.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum ShopSettingsError {
    /// The shop is open and its shelf empty.
    #[error("the shop is open and has nothing to sell; add [[shop.item]], or set enabled = false")]
    NoItems,
    /// More than [`ITEMS_MAX`].
    #[error("{0} items; keep at most {ITEMS_MAX}")]
    TooManyItems(usize),
    /// Two items of one id.
    #[error("the item {0:?} appears twice; give each its own id")]
    Twice(String),
    /// Nobody in whose name orders could be made.
    #[error("{0:?} is no [[merchant]] of this file; name one of them")]
    Merchant(String),
}

impl ShopSettings {
    /// Looks for what would make the shop's pages wrong; `merchants` are the ids of the file.
    ///
    /// # Errors
    /// The first fault found; a shop that is switched off has none.
    pub fn check<'a>(
        &self,
        mut merchants: impl Iterator<Item = &'a str>,
    ) -> Result<(), ShopSettingsError> {
        if !self.enabled {
            return Ok(());
        }
        match self.items.len() {
            0 => return Err(ShopSettingsError::NoItems),
            n if n > ITEMS_MAX => return Err(ShopSettingsError::TooManyItems(n)),
            _ => {}
        }
        let mut seen = HashSet::new();
        for item in &self.items {
            if !seen.insert(&item.id) {
                return Err(ShopSettingsError::Twice(item.id.clone()));
            }
        }
        if !merchants.any(|id| id == self.merchant) {
            return Err(ShopSettingsError::Merchant(self.merchant.clone()));
        }
        Ok(())
    }
}

/// The origin of an address as a security policy writes it; `None` for an address without one.
#[must_use]
pub fn origin(address: &str) -> Option<String> {
    let origin = Url::parse(address).ok()?.origin();
    origin.is_tuple().then(|| origin.ascii_serialization())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shop(ids: &[&str]) -> ShopSettings {
        let item = |id: &&str| Item {
            id: (*id).into(),
            name: "Tea".into(),
            text: String::new(),
            price: 100,
        };
        ShopSettings {
            enabled: true,
            items: ids.iter().map(item).collect(),
            ..ShopSettings::default()
        }
    }

    #[test]
    fn a_shop_that_cannot_sell_is_refused() {
        // Shows: each thing that would break a page is named with its way out; a shop that is off is not judged.
        let merchants = || ["other", "shop"].into_iter();
        assert_eq!(shop(&["tea"]).check(merchants()), Ok(()));
        assert_eq!(
            shop(&[]).check(merchants()),
            Err(ShopSettingsError::NoItems)
        );
        let twice = shop(&["tea", "cup", "tea"]).check(merchants());
        assert_eq!(twice, Err(ShopSettingsError::Twice("tea".into())));
        let nobody = shop(&["tea"]).check(["other"].into_iter());
        assert_eq!(nobody, Err(ShopSettingsError::Merchant("shop".into())));
        assert_eq!(ShopSettings::default().check([].into_iter()), Ok(()));
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        // Shows: what a security policy is given for an address, and that what has no host gives nothing.
        assert_eq!(
            origin("https://pay.example/js/a.js?x").as_deref(),
            Some("https://pay.example")
        );
        assert_eq!(
            origin("http://127.0.0.1:8080/x").as_deref(),
            Some("http://127.0.0.1:8080")
        );
        assert_eq!(origin("data:text/javascript,1"), None);
    }
}
