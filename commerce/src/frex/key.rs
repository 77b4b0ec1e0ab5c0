//! Request types and request keys (`spec/frex.md` 2.2): the names under which the worker and the agency speak of one request.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest order number: the agency's limit on `shopTransactionId`.
pub const ORDER_NO_CHARS_MAX: usize = 40;

/// Kind of a `FrexRequest` row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RequestType {
    /// Register the order's transaction.
    OrderReg,
    /// Fetch the outcome of a registration.
    OrderResult,
    /// Change the amount of a transaction.
    UpdateReg,
    /// Fetch the outcome of a change.
    UpdateResult,
    /// Cancel a transaction.
    DeleteReg,
    /// Fetch the outcome of a cancel.
    DeleteResult,
    /// Fetch the answer of screening.
    AuthorizeResult,
    /// Ask the agency to bill the buyer.
    BillingReg,
    /// Fetch the outcome of a billing request.
    BillingResult,
}

impl RequestType {
    /// Every type and its name in tables and messages.
    pub const NAMES: [(Self, &'static str); 9] = [
        (Self::OrderReg, "ORDER_REG"),
        (Self::OrderResult, "ORDER_RESULT"),
        (Self::UpdateReg, "UPDATE_REG"),
        (Self::UpdateResult, "UPDATE_RESULT"),
        (Self::DeleteReg, "DELETE_REG"),
        (Self::DeleteResult, "DELETE_RESULT"),
        (Self::AuthorizeResult, "AUTHORIZE_RESULT"),
        (Self::BillingReg, "BILLING_REG"),
        (Self::BillingResult, "BILLING_RESULT"),
    ];

    /// The name in tables and messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        // The table lists the variants in their order; a test walks it.
        Self::NAMES[self as usize].1
    }

    /// The type of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let row = Self::NAMES.iter().find(|row| row.1 == name);
        row.map(|row| row.0)
    }

    /// Whether the agency changes something because of it; the others only read.
    #[must_use]
    pub const fn is_mutation(self) -> bool {
        matches!(
            self,
            Self::OrderReg | Self::UpdateReg | Self::DeleteReg | Self::BillingReg
        )
    }
}

impl fmt::Display for RequestType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `orderNo:type:seq`: unique for ever, the same on every repetition, and the first identity of a request at the agency.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestKey {
    /// The order's number, which is also its `shopTransactionId`.
    pub order_no: String,
    /// What the request is for.
    pub kind: RequestType,
    /// Count of the order's requests of this type, from 0.
    pub seq: u32,
}

impl RequestKey {
    /// The key of an order's request.
    #[must_use]
    pub fn new(order_no: &str, kind: RequestType, seq: u32) -> Self {
        Self {
            order_no: order_no.to_owned(),
            kind,
            seq,
        }
    }

    /// The keys, from a number up to this one's, of the mutation and of the question about its outcome that this key is one of.
    #[must_use]
    pub fn family(&self, from: u32) -> Vec<String> {
        let stem = |kind: RequestType| kind.as_str().rsplit_once('_').map(|parts| parts.0);
        let kinds = RequestType::NAMES.map(|row| row.0);
        let kinds = kinds
            .into_iter()
            .filter(|kind| stem(*kind) == stem(self.kind));
        let keys = kinds.flat_map(|kind| {
            (from..=self.seq).map(move |seq| Self::new(&self.order_no, kind, seq).to_string())
        });
        keys.collect()
    }
}

/// Why a text is no request key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not three parts.
    #[error("a request key is ORDER:TYPE:NUMBER")]
    Shape,
    /// The order number is empty, longer than 40 characters, or holds other than letters, digits, '-' and '_'.
    #[error("the order number of a request key is 1 to 40 letters, digits, '-' or '_'")]
    OrderNo,
    /// The type is none of the nine.
    #[error("the type of a request key is one of the nine request types, such as ORDER_REG")]
    Type,
    /// The number is no number.
    #[error("the number of a request key is written in digits without leading zeros")]
    Number,
}

/// Whether a text can be an order number here and at the agency.
#[must_use]
pub fn is_order_no(text: &str) -> bool {
    let fits = (1..=ORDER_NO_CHARS_MAX).contains(&text.len());
    fits && text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

impl FromStr for RequestKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let mut parts = text.split(':');
        let (Some(order_no), Some(kind), Some(seq), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(KeyError::Shape);
        };
        if !is_order_no(order_no) {
            return Err(KeyError::OrderNo);
        }
        let kind = RequestType::from_name(kind).ok_or(KeyError::Type)?;
        let number: u32 = seq.parse().map_err(|_| KeyError::Number)?;
        // One spelling only: the key is compared as text at the agency and in the tables.
        if number.to_string() != seq {
            return Err(KeyError::Number);
        }
        Ok(Self::new(order_no, kind, number))
    }
}

impl fmt::Display for RequestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.order_no, self.kind, self.seq)
    }
}

impl Serialize for RequestKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RequestKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for RequestType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for RequestType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_name(&text).ok_or_else(|| serde::de::Error::custom(KeyError::Type))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request, the question about it, and those before them; screening has no other half.
    #[test]
    fn a_family_is_a_mutation_and_its_question() {
        let family = |text: &str, from| text.parse::<RequestKey>().expect("a key").family(from);
        assert_eq!(
            family("F1:BILLING_RESULT:2", 2),
            ["F1:BILLING_REG:2", "F1:BILLING_RESULT:2"]
        );
        assert_eq!(family("F1:UPDATE_REG:1", 0).len(), 4);
        assert_eq!(
            family("F1:AUTHORIZE_RESULT:0", 0),
            ["F1:AUTHORIZE_RESULT:0"]
        );
    }

    /// The table of names follows the variants, and a name leads back to its type.
    #[test]
    fn names_lead_back() {
        for (index, (kind, name)) in RequestType::NAMES.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
            assert_eq!(kind.as_str(), name);
            assert_eq!(RequestType::from_name(name), Some(kind));
            assert_eq!(kind.is_mutation(), name.ends_with("_REG"));
        }
    }

    /// A key is read back from its own text, and each other spelling is refused by name.
    #[test]
    fn keys_have_one_spelling() {
        let key = RequestKey::new("F20250115-0001", RequestType::BillingReg, 12);
        assert_eq!(key.to_string().parse(), Ok(key));
        let cases = [
            ("F1:ORDER_REG", KeyError::Shape),
            ("F1:ORDER_REG:0:1", KeyError::Shape),
            (":ORDER_REG:0", KeyError::OrderNo),
            ("F 1:ORDER_REG:0", KeyError::OrderNo),
            ("F1:order_reg:0", KeyError::Type),
            ("F1:ORDER_REG:00", KeyError::Number),
            ("F1:ORDER_REG:+1", KeyError::Number),
            ("F1:ORDER_REG:4294967296", KeyError::Number),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<RequestKey>(), Err(error), "{text}");
        }
    }
}
