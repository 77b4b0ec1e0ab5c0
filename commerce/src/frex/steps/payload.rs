//! What is sent for a mutation: built from the order when it is first sent, frozen, and built again, byte for byte, from what was
//! frozen when it is sent again.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use time::Date;
use time::macros::format_description;

use crate::clock;
use crate::frex::agency::limits::LimitError;
use crate::frex::agency::{
    Bill, Buyer, Cancel, Delivery, Item as _, NpTransactionId, Registration, Update,
};
use crate::frex::error::FrexError;
use crate::frex::key::RequestType;
use crate::frex::model::{Corrupt, Goods, Order, Pair, Request};
use crate::frex::vault::Vault;

/// Buyer data of an order, as it is sealed in `frex_user_info`. Its `Debug` shows none of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserInfo {
    /// Who pays.
    pub buyer: Buyer,
    /// Who receives.
    pub delivery: Delivery,
}

/// The content of a request without personal fields: those are in the order's `frex_user_info`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Frozen {
    amount: i64,
    goods: Goods,
    day: String,
    np: String,
}

/// One item of a mutating call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Of ORDER_REG.
    Register(Box<Registration>),
    /// Of UPDATE_REG.
    Update(Update),
    /// Of DELETE_REG.
    Cancel(Cancel),
    /// Of BILLING_REG.
    Bill(Bill),
}

impl Payload {
    fn digest(&self) -> String {
        hex::encode(match self {
            Self::Register(item) => item.digest(),
            Self::Update(item) => item.digest(),
            Self::Cancel(item) => item.digest(),
            Self::Bill(item) => item.digest(),
        })
    }

    /// Holds the item against the agency's limits.
    ///
    /// # Errors
    /// The first limit it breaks.
    pub fn check(&self) -> Result<(), LimitError> {
        match self {
            Self::Register(item) => item.check(),
            Self::Update(item) => item.check(),
            Self::Cancel(item) => item.check(),
            Self::Bill(item) => item.check(),
        }
    }
}

/// Opens an order's buyer data.
///
/// # Errors
/// It is missing, does not open, or is no buyer data.
pub fn user_info(
    vault: &Vault,
    order_no: &str,
    sealed: Option<&String>,
) -> Result<UserInfo, FrexError> {
    let missing = || FrexError::Missing {
        what: "buyer data",
        order_no: order_no.to_owned(),
    };
    let plain = vault.open(order_no, sealed.ok_or_else(missing)?)?;
    serde_json::from_slice(&plain).map_err(|_| missing())
}

/// Seals buyer data for its order.
#[must_use]
pub fn seal_user_info(vault: &Vault, order_no: &str, info: &UserInfo) -> String {
    let plain =
        zeroize::Zeroizing::new(serde_json::to_vec(info).expect("texts are representable in JSON"));
    vault.seal(order_no, &plain)
}

/// Reads an order's lines.
///
/// # Errors
/// They are no lines.
pub fn goods(order: &Order) -> Result<Goods, FrexError> {
    let broken = |_| Corrupt {
        field: "goods",
        of: order.order_no.clone(),
        value: order.goods.chars().take(60).collect(),
    };
    Ok(serde_json::from_str(&order.goods).map_err(broken)?)
}

/// Reads a day written `YYYY-MM-DD`.
///
/// # Errors
/// It is none.
pub fn day(of: &str, text: &str) -> Result<Date, FrexError> {
    let broken = |_| Corrupt {
        field: "day",
        of: of.to_owned(),
        value: text.to_owned(),
    };
    Ok(Date::parse(text, format_description!("[year]-[month]-[day]")).map_err(broken)?)
}

/// Builds the item of a request, and the request with amount, content and digest frozen.
///
/// # Errors
/// Something it needs is missing or broken, or it would not be what was sent before.
pub fn build(
    vault: &Vault,
    pair: &Pair,
    request: &Request,
    sealed: &HashMap<String, String>,
    now: i64,
) -> Result<(Payload, Request), FrexError> {
    let key = request.key.to_string();
    let first = request.payload_digest.is_empty();
    let frozen = if first {
        freeze(pair, request, now)?
    } else {
        thaw(vault, &key, &request.safe_info)?
    };
    let payload = item(vault, request, &frozen, sealed)?;
    let digest = payload.digest();
    let mut marked = request.clone();
    if first {
        marked.amount = frozen.amount;
        let plain =
            serde_json::to_vec(&frozen).expect("texts and numbers are representable in JSON");
        marked.safe_info = vault.seal(&key, &plain);
        marked.payload_digest = digest;
    } else if request.payload_digest != digest {
        return Err(FrexError::Frozen { key });
    }
    Ok((payload, marked))
}

/// The lines that were frozen in a request, with its amount.
///
/// # Errors
/// They do not open.
pub fn frozen_goods(vault: &Vault, request: &Request) -> Result<(i64, Goods), FrexError> {
    let frozen = thaw(vault, &request.key.to_string(), &request.safe_info)?;
    Ok((frozen.amount, frozen.goods))
}

fn thaw(vault: &Vault, key: &str, safe_info: &str) -> Result<Frozen, FrexError> {
    let plain = vault.open(key, safe_info)?;
    serde_json::from_slice(&plain).map_err(|_| FrexError::Frozen {
        key: key.to_owned(),
    })
}

fn freeze(pair: &Pair, request: &Request, now: i64) -> Result<Frozen, FrexError> {
    let Pair { order, info } = pair;
    let with_goods = matches!(
        request.kind(),
        RequestType::OrderReg | RequestType::UpdateReg
    );
    let billed = info.as_ref().map_or(0, |info| info.billed_amount);
    Ok(Frozen {
        amount: match request.kind() {
            RequestType::BillingReg => billed,
            RequestType::DeleteReg => 0,
            _ => order.amount,
        },
        goods: if with_goods {
            goods(order)?
        } else {
            Goods::default()
        },
        day: if request.kind() == RequestType::OrderReg {
            order.order_date.clone()
        } else {
            clock::jst_date(now)
        },
        np: info
            .as_ref()
            .map(|info| info.np.clone())
            .unwrap_or_default(),
    })
}

fn item(
    vault: &Vault,
    request: &Request,
    frozen: &Frozen,
    sealed: &HashMap<String, String>,
) -> Result<Payload, FrexError> {
    let order_no = &request.key.order_no;
    let np = || {
        let missing = || FrexError::Missing {
            what: "the agency's transaction number",
            order_no: order_no.clone(),
        };
        NpTransactionId::parse(&frozen.np).ok_or_else(missing)
    };
    let request_key = request.key.clone();
    Ok(match request.kind() {
        RequestType::OrderReg => {
            let user = user_info(vault, order_no, sealed.get(order_no))?;
            Payload::Register(Box::new(Registration {
                request_key,
                shop_transaction_id: order_no.clone(),
                shop_order_date: day(order_no, &frozen.day)?,
                billed_amount: frozen.amount,
                transaction_details: frozen.goods.transaction_details.clone(),
                tax_rate_summaries: frozen.goods.tax_rate_summaries.clone(),
                buyer: user.buyer,
                delivery_info: user.delivery,
            }))
        }
        RequestType::UpdateReg => Payload::Update(Update {
            request_key,
            np_transaction_id: np()?,
            billed_amount: frozen.amount,
            transaction_details: frozen.goods.transaction_details.clone(),
            tax_rate_summaries: frozen.goods.tax_rate_summaries.clone(),
        }),
        RequestType::DeleteReg => Payload::Cancel(Cancel {
            request_key,
            np_transaction_id: np()?,
        }),
        RequestType::BillingReg => Payload::Bill(Bill {
            request_key,
            np_transaction_id: np()?,
            billed_amount: frozen.amount,
            bill_issue_base_date: day(order_no, &frozen.day)?,
        }),
        _ => unreachable!("{} is a question, not a mutation", request.key),
    })
}
