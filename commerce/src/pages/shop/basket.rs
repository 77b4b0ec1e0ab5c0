//! What a customer wants: items of the shelf and how many of each, priced by the configuration and never by the browser.

use super::settings::{Item, ShopSettings};
use crate::pages::form::Fields;

/// Most pieces of one item in an order.
pub const QUANTITY_MAX: u32 = 9;

/// Prefix of the form's field with the quantity of an item.
pub const FIELD_PREFIX: &str = "n-";

/// An item and how many of it, at least one.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// The item of the shelf.
    pub item: &'a Item,
    /// Pieces.
    pub quantity: u32,
}

impl Line<'_> {
    /// Price of the line in minor units.
    #[must_use]
    pub fn amount(&self) -> i64 {
        self.item.price * i64::from(self.quantity)
    }
}

/// The lines of a form, in the shelf's order.
#[derive(Clone, Debug)]
pub struct Basket<'a> {
    /// Lines with at least one piece.
    pub lines: Vec<Line<'a>>,
}

impl<'a> Basket<'a> {
    /// Reads quantities from a form. What is not on the shelf, or is no quantity, counts as none; more than
    /// [`QUANTITY_MAX`] counts as that.
    #[must_use]
    pub fn read(shop: &'a ShopSettings, form: &Fields) -> Self {
        let lines = shop.items.iter().filter_map(|item| {
            let typed = form.get(&field(item));
            let quantity = typed.parse::<u32>().unwrap_or(0).min(QUANTITY_MAX);
            (quantity > 0).then_some(Line { item, quantity })
        });
        Self {
            lines: lines.collect(),
        }
    }

    /// Price of everything in minor units.
    #[must_use]
    pub fn total(&self) -> i64 {
        self.lines.iter().map(Line::amount).sum()
    }
}

/// The form's field with the quantity of an item.
#[must_use]
pub fn field(item: &Item) -> String {
    format!("{FIELD_PREFIX}{}", item.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_come_from_the_shelf() {
        // Shows: the total is made of configured prices whatever the form claims, and odd quantities do no harm.
        let item = |id, price| {
            toml::from_str(&format!("id = '{id}'\nname = '{id}'\nprice = {price}")).expect("TOML")
        };
        let shop = ShopSettings {
            items: vec![item("a", 100), item("b", 250), item("c", 1)],
            ..ShopSettings::default()
        };
        let form = Fields::parse(b"n-a=2&n-b=99&n-c=-1&n-zzz=5&price=1&total=1");
        let basket = Basket::read(&shop, &form);
        let lines: Vec<_> = basket
            .lines
            .iter()
            .map(|l| (l.item.id.as_str(), l.quantity))
            .collect();
        assert_eq!(lines, [("a", 2), ("b", QUANTITY_MAX)]);
        assert_eq!(basket.total(), 200 + 9 * 250);
    }
}
