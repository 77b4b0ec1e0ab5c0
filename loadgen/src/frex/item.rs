//! One item of a request as the agency reads it, and the checks that refuse a request as a whole.

use std::collections::HashSet;

use serde_json::Value;

use super::call::{CALLS, Call};

/// Most items of one request.
pub const ITEMS_MAX: usize = 1_000;
/// Longest order number.
const SHOP_CHARS_MAX: usize = 40;
/// Digits of a transaction number.
const NP_DIGITS: usize = 11;

/// An item: the fields that any call reads, empty or none where the call has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Item {
    /// The request's key.
    pub request_key: String,
    /// The order number.
    pub shop: String,
    /// The transaction.
    pub np: String,
    /// Yen.
    pub amount: i64,
    /// The acceptance number asked about.
    pub accept_no: String,
    /// Codes by which the item is refused whatever the state; empty if it is in order.
    pub faults: Vec<String>,
}

impl Item {
    /// The key by which its answer is matched.
    #[must_use]
    pub fn key(&self, call: Call) -> &str {
        match call {
            Call::Authorizations => &self.np,
            _ => &self.request_key,
        }
    }

    /// The order number; that of the request key if the call does not name it.
    #[must_use]
    pub fn order(&self) -> &str {
        if self.shop.is_empty() {
            self.request_key.split(':').next().unwrap_or_default()
        } else {
            &self.shop
        }
    }
}

/// Reads a request's items.
///
/// # Errors
/// The code by which the whole request is refused.
pub fn read(call: Call, body: &[u8]) -> Result<Vec<Item>, &'static str> {
    let body: Value = serde_json::from_slice(body).map_err(|_| "E0100002")?;
    let Some(list) = body.get("requests").and_then(Value::as_array) else {
        return Err("EPRO0101");
    };
    check_count(list.len())?;
    let mut items = Vec::with_capacity(list.len());
    let mut keys = HashSet::new();
    for entry in list {
        let key = text(entry, call.key_field());
        if key.is_empty() {
            return Err("EPRO0105");
        }
        if !keys.insert(key) {
            return Err("EPRO0106");
        }
        items.push(item(call, entry));
    }
    Ok(items)
}

/// The code by which a request of this many items is refused.
///
/// # Errors
/// None or too many.
pub fn check_count(count: usize) -> Result<(), &'static str> {
    match count {
        0 => Err("EPRO0101"),
        1..=ITEMS_MAX => Ok(()),
        _ => Err("EPRO0102"),
    }
}

fn item(call: Call, entry: &Value) -> Item {
    let mut item = Item {
        request_key: text(entry, "requestKey").to_owned(),
        shop: text(entry, "shopTransactionId").to_owned(),
        np: text(entry, "npTransactionId").to_owned(),
        amount: entry
            .get("billedAmount")
            .and_then(Value::as_i64)
            .unwrap_or(0),
        accept_no: text(entry, "acceptNo").to_owned(),
        faults: Vec::new(),
    };
    let mut fault = |code: &str| item.faults.push(code.to_owned());
    let row = CALLS.iter().find(|row| row.0 == call);
    let required = row.map_or(&[][..], |row| row.3);
    if required
        .iter()
        .any(|&name| entry.get(name).is_none_or(Value::is_null))
    {
        fault("EPRO0105");
    }
    let np = text(entry, "npTransactionId");
    let digits = np.len() == NP_DIGITS && np.bytes().all(|byte| byte.is_ascii_digit());
    if required.contains(&"npTransactionId") && !digits {
        fault("E0100002");
    }
    if text(entry, "shopTransactionId").len() > SHOP_CHARS_MAX {
        fault("E0100003");
    }
    if required.contains(&"taxRateSummaries") && !sums_agree(entry) {
        fault("E0102004");
    }
    item
}

/// The sums by tax rate come to the billed amount.
fn sums_agree(entry: &Value) -> bool {
    let sums = entry.get("taxRateSummaries").and_then(Value::as_array);
    let sum: Option<i64> = sums.map(|sums| {
        let amounts = sums
            .iter()
            .filter_map(|sum| sum.get("totalAmount")?.as_i64());
        amounts.sum()
    });
    sum.is_some() && sum == entry.get("billedAmount").and_then(Value::as_i64)
}

/// A text field, empty if it is none.
pub(super) fn text<'a>(entry: &'a Value, name: &str) -> &'a str {
    entry.get(name).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request without items, with too many, without a key or with one key twice is refused as a whole, by its code.
    #[test]
    fn whole_requests_are_refused_by_code() {
        let many = vec![r#"{"npTransactionId":"1"}"#; ITEMS_MAX + 1].join(",");
        let cases = [
            ("", "E0100002"),
            ("{}", "EPRO0101"),
            (r#"{"requests":[]}"#, "EPRO0101"),
            (&format!(r#"{{"requests":[{many}]}}"#), "EPRO0102"),
            (r#"{"requests":[{}]}"#, "EPRO0105"),
            (
                r#"{"requests":[{"npTransactionId":"1"},{"npTransactionId":"1"}]}"#,
                "EPRO0106",
            ),
        ];
        for (body, code) in cases {
            assert_eq!(read(Call::Authorizations, body.as_bytes()), Err(code));
        }
    }

    /// An item that lacks a field, has a wrong number, or goods of another amount, is refused alone.
    #[test]
    fn items_are_refused_alone() {
        let faults = |call, entry: &str| {
            let body = format!(r#"{{"requests":[{entry}]}}"#);
            read(call, body.as_bytes()).unwrap()[0].faults.clone()
        };
        let cancel = r#"{"requestKey":"F1:DELETE_REG:0","npTransactionId":"18000000001"}"#;
        assert!(faults(Call::Cancel, cancel).is_empty());
        assert_eq!(faults(Call::Bill, cancel), ["EPRO0105"]);
        let short = r#"{"requestKey":"F1:DELETE_REG:0","npTransactionId":"1"}"#;
        assert_eq!(faults(Call::Cancel, short), ["E0100002"]);
        let sums = r#"{"requestKey":"F1:UPDATE_REG:0","npTransactionId":"18000000001","billedAmount":5,
            "transactionDetails":[],"taxRateSummaries":[{"taxRate":10,"totalAmount":4}]}"#;
        assert_eq!(faults(Call::Update, sums), ["E0102004"]);
    }
}
