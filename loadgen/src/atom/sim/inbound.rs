//! What the merchant sends, as read from the plaintext of `encData` (`spec/atom.md` 7).
//!
//! Numbers and texts are read alike, and always as the characters that were sent: signatures are made over these.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use serde_json::value::RawValue;

/// The characters of a number or a text; `null` and a missing member are empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Text(pub String);

impl Text {
    /// The characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        match raw.get().as_bytes().first() {
            Some(b'"') => serde_json::from_str(raw.get())
                .map(Text)
                .map_err(D::Error::custom),
            Some(b'n') => Ok(Text::default()),
            Some(b'-' | b'0'..=b'9') => Ok(Text(raw.get().to_owned())),
            _ => Err(D::Error::custom("a number or a text is expected")),
        }
    }
}

/// Every message has its content in this member.
#[derive(Debug, Deserialize)]
pub struct Envelope {
    /// The content.
    #[serde(rename = "payInstrument")]
    pub instrument: Request,
}

/// The members of all requests together; each call checks those that it needs.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Request {
    /// What is asked.
    pub head_details: Head,
    /// Who asks, about which payment.
    pub merch_details: Merch,
    /// About what money.
    pub pay_details: Pay,
    /// Who pays.
    pub cust_details: Cust,
    /// Free members, of which texts are kept.
    pub extras: BTreeMap<String, Text>,
    /// The way to pay.
    pub pay_mode_specific_data: Mode,
}

/// `headDetails`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Head {
    /// The call.
    pub api: Text,
    /// Version of the messages.
    pub version: Text,
    /// Platform.
    pub platform: Text,
    /// Source.
    pub source: Text,
}

/// `merchDetails`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Merch {
    /// The merchant's number.
    pub merch_id: Text,
    /// Its password.
    pub password: Text,
    /// The payment's number at the merchant.
    pub merch_txn_id: Text,
    /// Its time or day in India.
    pub merch_txn_date: Text,
}

/// `payDetails`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Pay {
    /// Amount.
    pub amount: Text,
    /// The one product.
    pub product: Text,
    /// Several products, or the lines of a refund.
    pub prod_details: Vec<Product>,
    /// Currency.
    pub txn_currency: Text,
    /// Signature.
    pub signature: Text,
    /// Atom's number of the payment.
    pub atom_txn_id: Text,
    /// What a refund comes to.
    pub total_refund_amount: Text,
}

/// A product of `prodDetails`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Product {
    /// Its name.
    pub prod_name: Text,
    /// Its part of the payment.
    pub prod_amount: Text,
    /// The refund's number at the merchant.
    pub prod_refund_id: Text,
    /// Its part of the refund.
    pub prod_refund_amount: Text,
}

/// `custDetails`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Cust {
    /// Address for mail.
    pub cust_email: Text,
    /// Telephone.
    pub cust_mobile: Text,
}

/// `payModeSpecificData`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Mode {
    /// One of [`SUB_CHANNELS`], or empty.
    pub sub_channel: Text,
}

/// Ways to pay.
pub const SUB_CHANNELS: [(&str, &str); 10] = [
    ("CC", "Credit card"),
    ("DC", "Debit card"),
    ("NB", "Net banking"),
    ("UP", "UPI"),
    ("MW", "Wallet"),
    ("PP", "PhonePe"),
    ("PW", "Paytm wallet"),
    ("EM", "Instalments"),
    ("NR", "Challan"),
    ("BQ", "BharatQR"),
];

/// Whether this is a way to pay.
#[must_use]
pub fn is_sub_channel(text: &str) -> bool {
    SUB_CHANNELS.iter().any(|(code, _)| *code == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers keep the characters that were sent, texts and nulls are read as well, other kinds are refused.
    #[test]
    fn literals_are_kept() {
        let read = |amount: &str| {
            let text = format!(r#"{{"payInstrument":{{"payDetails":{{"amount":{amount}}}}}}}"#);
            serde_json::from_str::<Envelope>(&text).map(|it| it.instrument.pay_details.amount.0)
        };
        assert_eq!(read("100.00").ok().as_deref(), Some("100.00"));
        assert_eq!(read("\"5\"").ok().as_deref(), Some("5"));
        assert_eq!(read("null").ok().as_deref(), Some(""));
        assert!(read("[1]").is_err() && read("true").is_err());
    }
}
