//! The agency's calls, and what each of their items must carry.

use serde::{Deserialize, Serialize};

/// A call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// Register transactions.
    Register,
    /// Change amounts.
    Update,
    /// Cancel transactions.
    Cancel,
    /// Ask for bills.
    Bill,
    /// Fetch outcomes.
    Results,
    /// Fetch screening answers.
    Authorizations,
    /// Ask whether requests arrived.
    Lookup,
}

/// Every call of the design protocol: path, status of the answer, fields that each item must have.
#[rustfmt::skip]
pub const CALLS: [(Call, &str, u16, &[&str]); 7] = [
    (Call::Register, "/frex/v1/transactions", 202,
        &["requestKey", "shopTransactionId", "shopOrderDate", "billedAmount", "transactionDetails", "taxRateSummaries", "buyer", "deliveryInfo"]),
    (Call::Update, "/frex/v1/transactions/update", 202,
        &["requestKey", "npTransactionId", "billedAmount", "transactionDetails", "taxRateSummaries"]),
    (Call::Cancel, "/frex/v1/transactions/cancel", 202, &["requestKey", "npTransactionId"]),
    (Call::Bill, "/frex/v1/bills/request", 202, &["requestKey", "npTransactionId", "billedAmount", "billIssueBaseDate"]),
    (Call::Results, "/frex/v1/results/find", 200, &["requestKey", "requestType", "acceptNo"]),
    (Call::Authorizations, "/frex/v1/authorizations/find", 200, &["npTransactionId"]),
    (Call::Lookup, "/frex/v1/requests/find", 200, &["requestKey", "shopTransactionId"]),
];

/// The calls of the public interface and their paths.
pub const PUBLIC_CALLS: [(Call, &str); 3] = [
    (Call::Register, "/v1/transactions"),
    (Call::Cancel, "/v1/transactions/cancel"),
    (Call::Bill, "/v1/bills/request"),
];

impl Call {
    /// The name of the call as rules and faults write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Update => "update",
            Self::Cancel => "cancel",
            Self::Bill => "bill",
            Self::Results => "results",
            Self::Authorizations => "authorizations",
            Self::Lookup => "lookup",
        }
    }

    /// The type of request that the call makes; none for the calls that only read.
    #[must_use]
    pub const fn request_type(self) -> Option<&'static str> {
        match self {
            Self::Register => Some("ORDER_REG"),
            Self::Update => Some("UPDATE_REG"),
            Self::Cancel => Some("DELETE_REG"),
            Self::Bill => Some("BILLING_REG"),
            Self::Results | Self::Authorizations | Self::Lookup => None,
        }
    }

    /// The field by which an answer names its item.
    #[must_use]
    pub const fn key_field(self) -> &'static str {
        match self {
            Self::Authorizations => "npTransactionId",
            _ => "requestKey",
        }
    }
}
