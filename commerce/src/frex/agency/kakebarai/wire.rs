//! The public interface's JSON. Numbers go out as texts there.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::frex::agency::items::{Bill, Cancel, Delivery, Item, NpTransactionId, Registration};
use crate::frex::agency::matching::{self, Asked, Unreadable};
use crate::frex::agency::{Answer, ViolationKind};

/// Longest screening word or reason that is read.
const WORD_CHARS_MAX: usize = 20;

#[derive(Serialize)]
struct Envelope<T> {
    request: T,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OfBuyer<'a> {
    np_buyer_id: &'a str,
    transaction_infoes: Vec<Info<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Info<'a> {
    request_id: String,
    shop_transaction_id: &'a str,
    shop_order_date: String,
    total_amount: String,
    transaction_details: Vec<Detail<'a>>,
    tax_rate_summaries: Vec<Summary>,
    delivery_info: &'a Delivery,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Detail<'a> {
    detail: &'a str,
    price: String,
    quantity: String,
    billed_tax_kind: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    tax_rate: String,
    total_amount: String,
}

#[derive(Serialize)]
struct Requests<T> {
    requests: Vec<T>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Settle<'a> {
    np_transaction_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    bill_issue_base_date: Option<String>,
}

/// The name of a registration within a request: eight hexadecimal digits of its key's digest.
fn request_id(item: &Registration) -> String {
    let digest = Sha256::digest(item.key());
    hex::encode(&digest[..4])
}

/// The request of one buyer's registrations; the items are of the same buyer.
pub(super) fn registrations(items: &[&Registration]) -> Vec<u8> {
    let infoes = items.iter().map(|item| Info {
        request_id: request_id(item),
        shop_transaction_id: &item.shop_transaction_id,
        shop_order_date: item.shop_order_date.to_string(),
        total_amount: item.billed_amount.to_string(),
        transaction_details: item
            .transaction_details
            .iter()
            .map(|line| Detail {
                detail: &line.detail,
                price: line.price.to_string(),
                quantity: line.quantity.to_string(),
                billed_tax_kind: &line.billed_tax_kind,
            })
            .collect(),
        tax_rate_summaries: item
            .tax_rate_summaries
            .iter()
            .map(|sum| Summary {
                tax_rate: sum.tax_rate.to_string(),
                total_amount: sum.total_amount.to_string(),
            })
            .collect(),
        delivery_info: &item.delivery_info,
    });
    let np_buyer_id = items.first().map_or("", |item| &item.buyer.np_buyer_id);
    encode(&Envelope {
        request: OfBuyer {
            np_buyer_id,
            transaction_infoes: infoes.collect(),
        },
    })
}

/// The request of cancels.
pub(super) fn cancels(items: &[&Cancel]) -> Vec<u8> {
    let requests = items.iter().map(|item| Settle {
        np_transaction_id: item.np_transaction_id.as_str(),
        bill_issue_base_date: None,
    });
    encode(&Requests {
        requests: requests.collect(),
    })
}

/// The request of bills.
pub(super) fn bills(items: &[&Bill]) -> Vec<u8> {
    let requests = items.iter().map(|item| Settle {
        np_transaction_id: item.np_transaction_id.as_str(),
        bill_issue_base_date: Some(item.bill_issue_base_date.to_string()),
    });
    encode(&Requests {
        requests: requests.collect(),
    })
}

fn encode<T: Serialize>(body: &T) -> Vec<u8> {
    // Texts only.
    serde_json::to_vec(body).expect("texts are representable in JSON")
}

/// A registered transaction with the word of screening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Registered {
    pub np_transaction_id: NpTransactionId,
    pub authori_result: String,
    pub authori_ng: Option<String>,
}

#[derive(Deserialize)]
struct RegisteredBody<'a> {
    #[serde(borrow)]
    result: Option<RegisteredResult<'a>>,
    #[serde(borrow)]
    errors: Option<Vec<&'a RawValue>>,
}

/// The list stands in `result`, or within `buyer` in it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RegisteredResult<'a> {
    #[serde(borrow)]
    transaction_infoes: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    buyer: Option<RegisteredBuyer<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RegisteredBuyer<'a> {
    #[serde(borrow)]
    transaction_infoes: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Names {
    request_id: Option<String>,
    shop_transaction_id: Option<String>,
    np_transaction_id: Option<String>,
    id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SettledBody<'a> {
    #[serde(borrow)]
    results: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    errors: Option<Vec<&'a RawValue>>,
}

/// The answer to registrations: entries are found by the order number, or by the name within the request.
pub(super) fn registered(
    asked: Asked<'_>,
    body: &[u8],
    items: &[&Registration],
) -> Result<Answer<Registered>, Unreadable> {
    let body: RegisteredBody<'_> = serde_json::from_slice(body).map_err(|_| Unreadable::Json)?;
    if body.result.is_none() && body.errors.is_none() {
        return Err(Unreadable::Empty);
    }
    let result = body.result.unwrap_or(RegisteredResult {
        transaction_infoes: None,
        buyer: None,
    });
    let of_buyer = result.buyer.and_then(|buyer| buyer.transaction_infoes);
    let results = result.transaction_infoes.or(of_buyer).unwrap_or_default();
    let place = |raw: &str| {
        let names = names(raw);
        let shop = names.shop_transaction_id.as_ref();
        let id = names.request_id.as_ref().or(names.id.as_ref());
        let by_shop = |item: &&Registration| shop == Some(&item.shop_transaction_id);
        let by_id = |item: &&Registration| id.is_some_and(|id| *id == request_id(item));
        let at = match shop {
            Some(_) => items.iter().position(by_shop),
            None => items.iter().position(by_id),
        };
        at.ok_or_else(|| shop.or(id).cloned().unwrap_or_default())
    };
    let lists = [results, body.errors.unwrap_or_default()];
    Ok(matching::sort(asked, lists, items, &place, read_registered))
}

fn read_registered(_item: &Registration, raw: &str) -> Result<Registered, ViolationKind> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Screened {
        transaction_authori_result: Option<String>,
        transaction_authori_ng_reason: Option<String>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Status {
        transaction_authori_info: Option<Screened>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Entry {
        np_transaction_id: String,
        transaction_authori_info: Option<Screened>,
        status: Option<Status>,
    }
    let entry: Entry = serde_json::from_str(raw).map_err(|_| ViolationKind::Malformed)?;
    let inner = entry
        .status
        .and_then(|status| status.transaction_authori_info);
    let screened = entry.transaction_authori_info.or(inner);
    let (word, ng) = screened.map_or((None, None), |it| {
        (
            it.transaction_authori_result,
            it.transaction_authori_ng_reason,
        )
    });
    let np = NpTransactionId::parse(&entry.np_transaction_id);
    let is_word = |text: &String| {
        text.len() <= WORD_CHARS_MAX && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    if !word.iter().chain(&ng).all(is_word) {
        return Err(ViolationKind::Malformed);
    }
    Ok(Registered {
        np_transaction_id: np.ok_or(ViolationKind::Malformed)?,
        authori_result: word.unwrap_or_default(),
        authori_ng: ng,
    })
}

/// An item that is about one transaction.
pub(super) trait OfTransaction: Item {
    /// The transaction.
    fn np(&self) -> &NpTransactionId;
}

impl OfTransaction for Cancel {
    fn np(&self) -> &NpTransactionId {
        &self.np_transaction_id
    }
}

impl OfTransaction for Bill {
    fn np(&self) -> &NpTransactionId {
        &self.np_transaction_id
    }
}

/// The answer to cancels and bills: entries are found by the transaction and say no more than that it is done.
pub(super) fn settled<I: OfTransaction>(
    asked: Asked<'_>,
    body: &[u8],
    items: &[&I],
) -> Result<Answer<()>, Unreadable> {
    let body: SettledBody<'_> = serde_json::from_slice(body).map_err(|_| Unreadable::Json)?;
    if body.results.is_none() && body.errors.is_none() {
        return Err(Unreadable::Empty);
    }
    let numbers = items.iter().map(|item| item.np().as_str().to_owned());
    let numbers: HashMap<String, usize> = numbers.zip(0..).collect();
    let place = |raw: &str| {
        let names = names(raw);
        let number = names.np_transaction_id.or(names.id).unwrap_or_default();
        numbers.get(&number).copied().ok_or(number)
    };
    let lists = [
        body.results.unwrap_or_default(),
        body.errors.unwrap_or_default(),
    ];
    Ok(matching::sort(asked, lists, items, &place, |_, _| Ok(())))
}

fn names(raw: &str) -> Names {
    serde_json::from_str(raw).unwrap_or(Names {
        request_id: None,
        shop_transaction_id: None,
        np_transaction_id: None,
        id: None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::codes::Codes;
    use super::super::super::{Call, Outcome, samples};
    use super::*;

    /// A registration goes out as the public interface wants it, numbers as texts, without the buyer's data.
    #[test]
    fn a_registration_is_these_bytes() {
        let mut item = samples::registration("F20250115-0001", 11_000);
        item.buyer.np_buyer_id = "00000000001".into();
        let body = String::from_utf8(registrations(&[&item])).unwrap();
        let id = request_id(&item);
        assert_eq!(
            body,
            format!(
                r#"{{"request":{{"npBuyerId":"00000000001","transactionInfoes":[{{"requestId":"{id}","shopTransactionId":"F20250115-0001","shopOrderDate":"2025-01-15","totalAmount":"11000","transactionDetails":[{{"detail":"Flyer printing A4","price":"10000","quantity":"1","billedTaxKind":"T10"}}],"taxRateSummaries":[{{"taxRate":"10","totalAmount":"11000"}}],"deliveryInfo":{{"companyName":"Example KK","department":"","customerName":"Sample Buyer","zipCode":"1000001","address":"Tokyo Chiyoda 1-1","telNo":"0300000000"}}}}]}}}}"#
            )
        );
    }

    /// The screening word is found beside the transaction or in its status, the entry by order number or by request.
    #[test]
    fn both_shapes_of_an_answer_are_read() {
        let item = samples::registration("F-1", 11_000);
        let id = request_id(&item);
        let info = r#""transactionAuthoriInfo":{"transactionAuthoriResult":"20","transactionAuthoriNgReason":"22"}"#;
        let bodies = [
            format!(
                r#"{{"result":{{"transactionInfoes":[{{"shopTransactionId":"F-1","npTransactionId":"18000000001",{info}}}]}}}}"#
            ),
            format!(
                r#"{{"result":{{"buyer":{{"transactionInfoes":[{{"requestId":"{id}","npTransactionId":"18000000001","status":{{{info}}}}}]}}}},"errors":[]}}"#
            ),
        ];
        let asked = Asked {
            call: Call::Register,
            codes: &Codes::default(),
        };
        for body in bodies {
            let answer = registered(asked, body.as_bytes(), &[&item]).unwrap();
            let Outcome::Answered { value, .. } = &answer.outcomes[0] else {
                panic!("{body}: {:?}", answer.outcomes[0]);
            };
            assert_eq!(value.authori_result, "20");
            assert_eq!(value.authori_ng.as_deref(), Some("22"));
        }
        let body = format!(r#"{{"errors":[{{"id":"{id}","codes":["E0131006"]}}]}}"#);
        let answer = registered(asked, body.as_bytes(), &[&item]).unwrap();
        assert!(matches!(&answer.outcomes[0], Outcome::Refused(it) if it.codes == ["E0131006"]));
    }
}
