//! The shapes of inbound JSON that callbacks and answers share. Everything may be missing: what a message needs is
//! checked where the message is read. Unknown members are ignored.

use serde::Deserialize;

use super::amount;
use super::json::{Lit, Many};
use super::messages::{Amounts, ProductLine};

/// The wrapper of everything but the AUTH answer. Some answers hold an array of instruments.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound = "T: Deserialize<'de>")]
pub(super) struct Wrapper<T> {
    pub(super) pay_instrument: Many<T>,
}

/// What is said about one payment.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Instrument {
    pub(super) merch_details: Option<MerchDetails>,
    pub(super) pay_details: Option<PayDetails>,
    pub(super) pay_mode_specific_data: Option<PayMode>,
    pub(super) extras: Option<Extras>,
    pub(super) response_details: Option<ResponseDetails>,
    pub(super) settlement_details: Option<SettlementDetails>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct MerchDetails {
    pub(super) merch_id: Lit,
    pub(super) merch_txn_id: Lit,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PayDetails {
    pub(super) atom_txn_id: Lit,
    pub(super) amount: Lit,
    pub(super) surcharge_amount: Lit,
    pub(super) total_amount: Lit,
    pub(super) txn_currency: Lit,
    pub(super) prod_details: Many<Product>,
    pub(super) signature: Lit,
    pub(super) txn_init_date: Lit,
    pub(super) txn_complete_date: Lit,
}

#[derive(Deserialize, Default, Clone)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Product {
    pub(super) prod_name: Lit,
    pub(super) prod_amount: Lit,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PayMode {
    pub(super) sub_channel: Many<Lit>,
    pub(super) bank_details: Option<BankDetails>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct BankDetails {
    pub(super) bank_txn_id: Lit,
    pub(super) ots_bank_name: Lit,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Extras {
    pub(super) udf1: Lit,
}

/// AUTH names these fields with a `txn` in front.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ResponseDetails {
    #[serde(alias = "txnStatusCode")]
    pub(super) status_code: Lit,
    #[serde(alias = "txnMessage")]
    pub(super) message: Lit,
    #[serde(alias = "txnDescription")]
    pub(super) description: Lit,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct SettlementDetails {
    pub(super) recon_status: Lit,
}

impl PayDetails {
    /// The amounts, or nothing at all if one of them is there and is no amount.
    pub(super) fn amounts(&self) -> Option<Amounts> {
        let mut products = Vec::with_capacity(self.prod_details.0.len());
        for product in &self.prod_details.0 {
            // A product without an amount of its own takes no part in the sum.
            if let Some(literal) = product.prod_amount.filled() {
                products.push(ProductLine {
                    name: product.prod_name.to_filled().unwrap_or_default(),
                    amount: amount::parse(literal).ok()?,
                });
            }
        }
        Some(Amounts {
            amount: read_amount(&self.amount)?,
            surcharge: read_amount(&self.surcharge_amount)?,
            total: read_amount(&self.total_amount)?,
            currency: self.txn_currency.to_filled(),
            products,
        })
    }
}

/// An absent amount is `Some(None)`; a text that is no amount is `None`.
pub(super) fn read_amount(literal: &Lit) -> Option<Option<i64>> {
    match literal.filled() {
        None => Some(None),
        Some(text) => amount::parse(text).ok().map(Some),
    }
}

/// Digits that name something at Atom: 1 to 20 of them.
pub(super) fn is_id(text: &str) -> bool {
    (1..=20).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}
