//! What of an agency's answer may be stored and logged (`spec/frex.md` 14).
//!
//! An answer can repeat buyer data, in a message of an error for instance. So only fields of the contract are kept, and of
//! these only values that look like codes, numbers or times; everything else is counted, not shown.

use serde_json::{Map, Value};

/// Fields that are kept, design protocol and public interface.
const KEPT: [&str; 21] = [
    "requestKey",
    "requestType",
    "requestId",
    "id",
    "acceptNo",
    "status",
    "npTransactionId",
    "shopTransactionId",
    "billedAmount",
    "codes",
    "processedAt",
    "authoriResult",
    "authorResult",
    "authoriNg",
    "authoriHold",
    "authoriRequiredDate",
    "found",
    "foundBy",
    "acceptedKey",
    "receivedAt",
    "transactionAuthoriInfo",
];
/// Fields of the nested objects that are kept.
const KEPT_INSIDE: [&str; 2] = ["transactionAuthoriResult", "transactionAuthoriNgReason"];
/// Longest value that is kept.
const VALUE_CHARS_MAX: usize = 64;
/// Most entries of a list that are kept.
const LIST_MAX: usize = 20;
/// What stands in place of a value.
const HIDDEN: &str = "***";

/// The text of an answer's item as it may be stored: JSON, at most some kilobytes.
#[must_use]
pub fn item(raw: &str) -> String {
    match serde_json::from_str(raw) {
        Ok(Value::Object(map)) => object(&map, &KEPT).to_string(),
        _ => HIDDEN.to_owned(),
    }
}

/// A key of the agency's that is none of ours, as it may be logged.
#[must_use]
pub fn key(text: &str) -> String {
    if is_plain(text) {
        text.to_owned()
    } else {
        format!("{HIDDEN} ({} characters)", text.chars().count())
    }
}

fn object(map: &Map<String, Value>, kept: &[&str]) -> Value {
    let mut shown = Map::new();
    let mut dropped: u64 = 0;
    for (name, value) in map {
        if kept.contains(&name.as_str()) {
            shown.insert(name.clone(), clean(value, true));
        } else {
            dropped += 1;
        }
    }
    if dropped > 0 {
        shown.insert("hiddenFields".to_owned(), dropped.into());
    }
    Value::Object(shown)
}

/// `nested` allows one level of lists or objects.
fn clean(value: &Value, nested: bool) -> Value {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        Value::String(text) if is_plain(text) => value.clone(),
        Value::Array(list) if nested => list
            .iter()
            .take(LIST_MAX)
            .map(|entry| clean(entry, false))
            .collect(),
        Value::Object(map) if nested => {
            let inner = map
                .iter()
                .filter(|row| KEPT_INSIDE.contains(&row.0.as_str()));
            Value::Object(
                inner
                    .map(|(name, value)| (name.clone(), clean(value, false)))
                    .collect(),
            )
        }
        Value::String(_) | Value::Array(_) | Value::Object(_) => HIDDEN.into(),
    }
}

fn is_plain(text: &str) -> bool {
    let mark = |byte: u8| matches!(byte, b':' | b'.' | b'_' | b'+' | b'-');
    text.len() <= VALUE_CHARS_MAX
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || mark(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Codes and numbers stay; the agency's free text, unknown fields and odd values do not.
    #[test]
    fn only_codes_and_numbers_stay() {
        let raw = r#"{"requestKey":"F1:ORDER_REG:0","codes":["E_ADDRESS","Sample Buyer"],"billedAmount":11000,
            "message":"address Tokyo Chiyoda 1-1 not recognised","buyer":{"email":"buyer@example.com"},
            "status":"see Sample Buyer","transactionAuthoriInfo":{"transactionAuthoriResult":"00","name":"Sample"}}"#;
        let stored = item(raw);
        assert_eq!(
            stored,
            r#"{"billedAmount":11000,"codes":["E_ADDRESS","***"],"hiddenFields":2,"requestKey":"F1:ORDER_REG:0","status":"***","transactionAuthoriInfo":{"transactionAuthoriResult":"00"}}"#
        );
        assert_eq!(item("[\"Sample Buyer\"]"), "***");
        assert_eq!(item("not JSON"), "***");
        assert_eq!(key("F1:ORDER_REG:0"), "F1:ORDER_REG:0");
        assert_eq!(key("Sample Buyer"), "*** (12 characters)");
    }
}
