//! How the two faces write: the design protocol with acceptance numbers, and the public interface of NP Kakebarai
//! (`spec/frex.md` 6.8).
//!
//! A face turns bodies into items and lines into bodies. What the lines say is the agency's matter, how they are spoilt is the
//! faults'.

use serde_json::{Value, json};

use super::agency::Reply;
use super::call::Call;
use super::item::{self, Item, text};

/// A face of the agency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    /// Acceptance numbers.
    Design,
    /// Synchronous.
    Public,
}

/// An entry of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Among the errors.
    pub error: bool,
    /// The entry.
    pub value: Value,
}

impl Face {
    /// The items of a request.
    ///
    /// # Errors
    /// The code by which the whole request is refused.
    pub fn read(self, call: Call, body: &[u8]) -> Result<Vec<Item>, &'static str> {
        match self {
            Self::Design => item::read(call, body),
            Self::Public => read_public(call, body),
        }
    }

    /// The name of the field that names the item of an entry.
    #[must_use]
    pub fn key_field(self, call: Call, error: bool) -> &'static str {
        match (self, call, error) {
            (Self::Design, call, _) => call.key_field(),
            (Self::Public, _, true) => "id",
            (Self::Public, Call::Register, false) => "requestId",
            (Self::Public, _, false) => "npTransactionId",
        }
    }

    /// The entry of an item.
    #[must_use]
    pub fn line(self, call: Call, item: &Item, reply: Reply) -> Line {
        let key = match self {
            Self::Public if call == Call::Register => &item.accept_no,
            Self::Public => &item.np,
            Self::Design => item.key(call),
        };
        let (error, mut value) = match reply {
            Reply::Result(value) => (false, value),
            Reply::Error { codes, accepted } => {
                let message = format!("the request of {} cannot be processed", item.order());
                let mut value = json!({ "codes": codes, "message": message });
                if let Some((number, key)) = accepted.filter(|_| self == Self::Design) {
                    value["acceptNo"] = number.into();
                    value["acceptedKey"] = key.into();
                }
                (true, value)
            }
        };
        value[self.key_field(call, error)] = key.into();
        Line { error, value }
    }

    /// The body of an answer.
    #[must_use]
    pub fn write(self, call: Call, lines: Vec<Line>) -> Value {
        let (errors, results): (Vec<_>, Vec<_>) = lines.into_iter().partition(|line| line.error);
        let values = |lines: Vec<Line>| lines.into_iter().map(|line| line.value).collect::<Value>();
        let (results, errors) = (values(results), values(errors));
        match (self, call) {
            (Self::Public, Call::Register) => json!({
                "result": { "buyer": { "transactionInfoes": results } }, "errors": errors,
            }),
            _ => json!({ "results": results, "errors": errors }),
        }
    }
}

/// The public interface names a registration by `requestId`, the rest by the transaction. The identifier that its answer is
/// matched by goes where the design protocol has the acceptance number; the request key is left to the simulator.
fn read_public(call: Call, body: &[u8]) -> Result<Vec<Item>, &'static str> {
    let body: Value = serde_json::from_slice(body).map_err(|_| "E0100002")?;
    let list = match call {
        Call::Register => body.pointer("/request/transactionInfoes"),
        _ => body.get("requests"),
    };
    let list = list.and_then(Value::as_array).ok_or("EPRO0101")?;
    item::check_count(list.len())?;
    if call == Call::Register && text(&body["request"], "npBuyerId").is_empty() {
        return Err("EPRO0105");
    }
    let items = list.iter().map(|entry| {
        let id = match call {
            Call::Register => text(entry, "requestId"),
            _ => text(entry, "npTransactionId"),
        };
        let mut faults = Vec::new();
        let amount = text(entry, "totalAmount").parse();
        let needs_date = call == Call::Bill && text(entry, "billIssueBaseDate").is_empty();
        let needs_more = call == Call::Register && (amount.is_err() || !has_goods(entry));
        if id.is_empty() || needs_date || needs_more {
            faults.push("EPRO0105".to_owned());
        }
        Item {
            shop: text(entry, "shopTransactionId").to_owned(),
            np: text(entry, "npTransactionId").to_owned(),
            amount: amount.unwrap_or(0),
            accept_no: id.to_owned(),
            faults,
            ..Item::default()
        }
    });
    Ok(items.collect())
}

fn has_goods(entry: &Value) -> bool {
    let has = |name: &str| entry.get(name).is_some_and(|value| !value.is_null());
    let shop = text(entry, "shopTransactionId");
    !shop.is_empty()
        && has("shopOrderDate")
        && has("transactionDetails")
        && has("taxRateSummaries")
        && has("deliveryInfo")
}
