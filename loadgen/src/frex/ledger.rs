//! The agency's book: what it did, as `GET /_sim/ledger` shows it and as the books are held against it.
//!
//! No buyer data is kept.

use serde::{Deserialize, Serialize};

use super::call::Call;

/// The whole book.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ledger {
    /// The simulator's time, Unix milliseconds, as all times here.
    pub now_ms: i64,
    /// Transactions in the order of their numbers.
    pub transactions: Vec<Transaction>,
    /// Acceptances in the order of their numbers.
    pub acceptances: Vec<Acceptance>,
    /// Every item received, in order.
    pub received: Vec<Received>,
    /// Requests that arrived and are still to be executed.
    pub late: usize,
    /// How often each fault was played, in the order they were given.
    pub faults_fired: Vec<u64>,
}

/// A transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Transaction {
    /// 11 digits.
    pub np_transaction_id: String,
    /// The order number.
    pub shop_transaction_id: String,
    /// Yen, as registered or last changed.
    pub billed_amount: i64,
    /// Key of the request that registered it.
    pub registered_by: String,
    /// When.
    pub registered_ms: i64,
    /// What screening said last, `40` before it said anything.
    pub authori_result: String,
    /// Why it was refused.
    pub authori_ng: Option<String>,
    /// Changes executed.
    pub updates: u32,
    /// Bills, in order. More than one is what must never happen.
    pub bills: Vec<BillEntry>,
    /// When it was cancelled.
    pub cancelled_ms: Option<i64>,
    /// When the buyer paid.
    pub paid_ms: Option<i64>,
}

/// A bill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BillEntry {
    /// Key of the request.
    pub request_key: String,
    /// Its acceptance number.
    pub accept_no: String,
    /// Yen.
    pub amount: i64,
    /// When.
    pub at_ms: i64,
}

/// An accepted request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Acceptance {
    /// Its number.
    pub accept_no: String,
    /// Key of the request.
    pub request_key: String,
    /// Type of the request.
    pub request_type: String,
    /// When.
    pub at_ms: i64,
    /// The transaction; empty if a registration was refused in the result.
    pub np_transaction_id: String,
    /// Yen.
    pub billed_amount: i64,
    /// Codes of the refusal; empty if it is done.
    pub codes: Vec<String>,
    /// Questions asked about it.
    pub polls: u32,
}

/// An item received.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Received {
    /// When it arrived.
    pub at_ms: i64,
    /// The call.
    pub call: Call,
    /// Its request key, or the transaction for screening.
    pub key: String,
    /// Whether it came by the public interface.
    pub public: bool,
    /// Name of the fault that was played, if one was.
    pub fault: Option<String>,
}
