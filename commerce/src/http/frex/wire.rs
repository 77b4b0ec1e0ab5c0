//! Bodies of the deferred-payment calls. Buyer data has no `Debug` here, and no error shows a value of it.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::frex::agency::{Buyer, Delivery, Detail, TaxRateSummary};
use crate::frex::model::Goods;
use crate::frex::shop::NewOrder;
use crate::frex::steps::payload::UserInfo;
use crate::http::problem::Problem;

/// A line of an order.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireDetail {
    detail: String,
    price: i64,
    quantity: i64,
    billed_tax_kind: String,
}

/// What falls under one tax rate.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireSummary {
    tax_rate: i64,
    total_amount: i64,
}

/// Who pays.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireBuyer {
    #[serde(default)]
    np_buyer_id: String,
    company_name: String,
    #[serde(default)]
    department: String,
    customer_name: String,
    #[serde(default)]
    customer_name_kana: String,
    zip_code: String,
    address: String,
    tel_no: String,
    email: String,
}

/// Who receives.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireDelivery {
    #[serde(default)]
    company_name: String,
    #[serde(default)]
    department: String,
    customer_name: String,
    zip_code: String,
    address: String,
    tel_no: String,
}

/// `POST /v1/frex/orders`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireOrder {
    order_no: String,
    joiner_id: String,
    amount: i64,
    transaction_details: Vec<WireDetail>,
    tax_rate_summaries: Option<Vec<WireSummary>>,
    buyer: WireBuyer,
    delivery: WireDelivery,
}

/// `PATCH /v1/frex/orders/{order_no}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireChange {
    amount: Option<i64>,
    transaction_details: Option<Vec<WireDetail>>,
    tax_rate_summaries: Option<Vec<WireSummary>>,
    buyer: Option<WireBuyer>,
    delivery: Option<WireDelivery>,
}

/// A change of an order.
pub enum Change {
    /// Of what it is worth.
    Amount(i64, Goods),
    /// Of who pays and receives.
    User(Box<UserInfo>),
}

/// Reads a body. The reason names the field and what is expected; of a value that stands there it says nothing.
///
/// # Errors
/// It is none of that kind.
pub fn body<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|error| {
        let text = error.to_string();
        let named = text.starts_with("unknown field")
            || text.starts_with("missing field")
            || text.starts_with("duplicate field")
            || text.starts_with("unknown variant");
        if named {
            let field = text.split('`').nth(1).unwrap_or("body").to_owned();
            let what = text
                .split_once('`')
                .map_or("wrong", |(what, _)| what.trim());
            return Problem::invalid(&field, what);
        }
        let (line, column) = (error.line(), error.column());
        Problem::invalid(
            "body",
            format!("a value of another type is expected at line {line}, column {column}"),
        )
    })
}

/// The order of a body.
///
/// # Errors
/// It is none.
pub fn new_order(bytes: &[u8]) -> Result<NewOrder, Problem> {
    let wire: WireOrder = body(bytes)?;
    Ok(NewOrder {
        order_no: wire.order_no,
        joiner_id: wire.joiner_id,
        amount: wire.amount,
        goods: goods(
            wire.amount,
            wire.transaction_details,
            wire.tax_rate_summaries,
        ),
        user: user(wire.buyer, wire.delivery),
    })
}

/// The change of a body: of the amount with its lines, or of buyer and delivery.
///
/// # Errors
/// It is neither, or both.
pub fn change(bytes: &[u8]) -> Result<Change, Problem> {
    let wire: WireChange = body(bytes)?;
    match (wire.amount, wire.buyer, wire.delivery) {
        (Some(amount), None, None) => {
            let lines = match wire.transaction_details {
                Some(lines) => lines,
                None if amount == 0 => Vec::new(),
                None => return Err(Problem::invalid("transaction_details", "is missing")),
            };
            let goods = goods(amount, lines, wire.tax_rate_summaries);
            Ok(Change::Amount(amount, goods))
        }
        (None, Some(buyer), Some(delivery)) => Ok(Change::User(Box::new(user(buyer, delivery)))),
        _ => Err(Problem::invalid(
            "body",
            "must hold amount and transaction_details, or buyer and delivery",
        )),
    }
}

/// Lines and sums. Where no sums are given and the lines have one tax rate, the amount is their sum.
fn goods(amount: i64, lines: Vec<WireDetail>, sums: Option<Vec<WireSummary>>) -> Goods {
    let transaction_details: Vec<Detail> = lines
        .into_iter()
        .map(|line| Detail {
            detail: line.detail,
            price: line.price,
            quantity: line.quantity,
            billed_tax_kind: line.billed_tax_kind,
        })
        .collect();
    let tax_rate_summaries = match sums {
        Some(sums) => sums
            .into_iter()
            .map(|sum| TaxRateSummary {
                tax_rate: sum.tax_rate,
                total_amount: sum.total_amount,
            })
            .collect(),
        None => only_rate(&transaction_details)
            .map(|tax_rate| TaxRateSummary {
                tax_rate,
                total_amount: amount,
            })
            .into_iter()
            .collect(),
    };
    Goods {
        transaction_details,
        tax_rate_summaries,
    }
}

/// The tax rate of all lines, if they have one in common; the limits tell what is wrong otherwise.
fn only_rate(lines: &[Detail]) -> Option<i64> {
    let first = &lines.first()?.billed_tax_kind;
    let same = lines.iter().all(|line| line.billed_tax_kind == *first);
    first.strip_prefix('T')?.parse().ok().filter(|_| same)
}

fn user(buyer: WireBuyer, delivery: WireDelivery) -> UserInfo {
    UserInfo {
        buyer: Buyer {
            np_buyer_id: buyer.np_buyer_id,
            company_name: buyer.company_name,
            department: buyer.department,
            customer_name: buyer.customer_name,
            customer_name_kana: buyer.customer_name_kana,
            zip_code: buyer.zip_code,
            address: buyer.address,
            tel_no: buyer.tel_no,
            email: buyer.email,
        },
        delivery: Delivery {
            company_name: delivery.company_name,
            department: delivery.department,
            customer_name: delivery.customer_name,
            zip_code: delivery.zip_code,
            address: delivery.address,
            tel_no: delivery.tel_no,
        },
    }
}
