//! `[shop]` of the configuration: whether there is a shop, its name, and what stands on its shelf.

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
    /// What is for sale.
    pub items: Vec<Item>,
}

/// One thing on the shelf.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// Its name in forms: lower-case letters, digits and `-`.
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

/// What is wrong with `[shop]`.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum ShopSettingsError {
    /// The shop is open and its shelf empty.
    #[error(
        "shop.items is empty: add an item ([[shop.items]] with id, name and price), or set shop.enabled = false"
    )]
    NoItems,
    /// More than [`ITEMS_MAX`].
    #[error("shop.items has {0} entries: keep at most {ITEMS_MAX}")]
    TooManyItems(usize),
    /// An id that does not fit a form's field.
    #[error("shop.items: the id {0:?} must be lower-case letters, digits and '-', 1 to 32 of them")]
    Id(String),
    /// Two items of one id.
    #[error("shop.items: the id {0:?} appears twice: give each item its own")]
    Twice(String),
    /// A price that is no price.
    #[error("shop.items: {id:?} costs {price}: write 1 to {PRICE_MINOR_MAX} minor units (paise)")]
    Price {
        /// The item.
        id: String,
        /// What the configuration says.
        price: i64,
    },
    /// A host that is no origin.
    #[error(
        "shop.frame_hosts: {0:?} is no origin: write scheme and host only, as in \"https://pay.example\""
    )]
    FrameHost(String),
}

impl ShopSettings {
    /// Looks for what would make the shop's pages wrong.
    ///
    /// # Errors
    /// The first fault found; a shop that is switched off has none.
    pub fn check(&self) -> Result<(), ShopSettingsError> {
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
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            if !(1..=32).contains(&item.id.len()) || !item.id.bytes().all(plain) {
                return Err(ShopSettingsError::Id(item.id.clone()));
            }
            if !seen.insert(&item.id) {
                return Err(ShopSettingsError::Twice(item.id.clone()));
            }
            if !(1..=PRICE_MINOR_MAX).contains(&item.price) {
                let (id, price) = (item.id.clone(), item.price);
                return Err(ShopSettingsError::Price { id, price });
            }
        }
        for host in &self.frame_hosts {
            if origin(host).as_deref() != Some(host) {
                return Err(ShopSettingsError::FrameHost(host.clone()));
            }
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

    fn shop(items: &str) -> ShopSettings {
        toml::from_str(&format!("enabled = true\n{items}")).expect("the test's own TOML")
    }

    #[test]
    fn a_fault_names_the_key_and_the_way_out() {
        // Shows: each thing that would break a page is refused with words that name it; a shop that is off is not judged.
        let item = |id: &str, price: i64| {
            format!("[[items]]\nid = {id:?}\nname = \"x\"\nprice = {price}\n")
        };
        assert_eq!(shop("").check(), Err(ShopSettingsError::NoItems));
        assert_eq!(
            shop(&item("a b", 1)).check(),
            Err(ShopSettingsError::Id("a b".into()))
        );
        let twice = item("tea", 1) + &item("tea", 2);
        assert_eq!(
            shop(&twice).check(),
            Err(ShopSettingsError::Twice("tea".into()))
        );
        let free = shop(&item("tea", 0)).check().expect_err("a price of 0");
        assert!(free.to_string().contains("tea") && free.to_string().contains("paise"));
        let host = format!(
            "frame_hosts = [\"https://pay.example/x; script-src *\"]\n{}",
            item("tea", 1)
        );
        assert!(matches!(
            shop(&host).check(),
            Err(ShopSettingsError::FrameHost(_))
        ));
        let good = format!(
            "frame_hosts = [\"https://pay.example\", \"http://127.0.0.1:8080\"]\n{}",
            item("tea", 1)
        );
        assert_eq!(shop(&good).check(), Ok(()));
        assert_eq!(ShopSettings::default().check(), Ok(()));
    }
}
