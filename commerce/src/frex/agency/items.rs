//! What is asked about and what is answered: one struct per item of the agency's calls (`spec/frex.md` 6.2 to 6.6).
//!
//! Field order is the order on the wire: [`Item::encode`] gives the exact bytes of an item, the same on every repetition, and
//! [`Item::digest`] their SHA-256. Buyer data has no `Debug` that shows it.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use time::Date;

use super::limits::{self, LimitError};
use crate::frex::key::{RequestKey, RequestType};

time::serde::format_description!(day, Date, "[year]-[month]-[day]");

/// An item of a batch.
pub trait Item: Serialize + Sync {
    /// The name of the field by which the agency's answer is matched.
    const KEY_FIELD: &'static str;

    /// The value of that field; unique within a batch.
    fn key(&self) -> String;

    /// Holds the item against the agency's limits (6.7).
    ///
    /// # Errors
    /// The first limit it breaks.
    fn check(&self) -> Result<(), LimitError>;

    /// The exact bytes of this item in a request.
    #[must_use]
    fn encode(&self) -> Vec<u8> {
        // Structs of texts and numbers with derived serializers: there is nothing in them that JSON cannot hold.
        serde_json::to_vec(self).expect("items are representable in JSON")
    }

    /// SHA-256 of [`Self::encode`]: the `payloadDigest` of the row.
    #[must_use]
    fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.encode()).into()
    }
}

/// The agency's number of a transaction: 11 digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct NpTransactionId(String);

impl NpTransactionId {
    /// The number in a text, if it is one. `''` and `'0'`, which mean "none", are not.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        limits::is_np_transaction_id(text).then(|| Self(text.to_owned()))
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NpTransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An acceptance number: 1 to 40 letters, digits or '-'.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct AcceptNo(String);

impl AcceptNo {
    /// The number in a text, if it is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (1..=limits::ACCEPT_NO_CHARS_MAX).contains(&text.len());
        let clean = text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        (fits && clean).then(|| Self(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AcceptNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A line of the order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Detail {
    /// What it is.
    pub detail: String,
    /// Price of one in yen, without tax; negative for a reduction.
    pub price: i64,
    /// How many.
    pub quantity: i64,
    /// "T" and the tax rate in per cent, such as "T10".
    pub billed_tax_kind: String,
}

/// The part of the amount that falls under one tax rate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaxRateSummary {
    /// In per cent.
    pub tax_rate: i64,
    /// Yen, tax included.
    pub total_amount: i64,
}

/// The buyer. Personal data: `Debug` shows none of it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Buyer {
    /// The agency's number of the buyer, or empty.
    #[serde(default)]
    pub np_buyer_id: String,
    /// Company.
    pub company_name: String,
    /// Department, may be empty.
    #[serde(default)]
    pub department: String,
    /// The person.
    pub customer_name: String,
    /// Reading of the person's name; left out when empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub customer_name_kana: String,
    /// Postal code, 7 digits.
    pub zip_code: String,
    /// Address.
    pub address: String,
    /// Telephone, digits.
    pub tel_no: String,
    /// Mail address.
    pub email: String,
}

impl fmt::Debug for Buyer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Buyer(..)")
    }
}

/// Where the goods go. Personal data: `Debug` shows none of it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// Company.
    pub company_name: String,
    /// Department, may be empty.
    #[serde(default)]
    pub department: String,
    /// The person.
    pub customer_name: String,
    /// Postal code, 7 digits.
    pub zip_code: String,
    /// Address.
    pub address: String,
    /// Telephone, digits.
    pub tel_no: String,
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Delivery(..)")
    }
}

/// Registration of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Registration {
    /// Key of the ORDER_REG row.
    pub request_key: RequestKey,
    /// The order number.
    pub shop_transaction_id: String,
    /// Day of the order in Japan.
    #[serde(with = "day")]
    pub shop_order_date: Date,
    /// Yen, tax included.
    pub billed_amount: i64,
    /// The order's lines.
    pub transaction_details: Vec<Detail>,
    /// Their sums by tax rate.
    pub tax_rate_summaries: Vec<TaxRateSummary>,
    /// Who pays.
    pub buyer: Buyer,
    /// Who receives.
    pub delivery_info: Delivery,
}

/// A new absolute amount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Update {
    /// Key of the UPDATE_REG row.
    pub request_key: RequestKey,
    /// The transaction.
    pub np_transaction_id: NpTransactionId,
    /// Yen, tax included.
    pub billed_amount: i64,
    /// The order's lines as they are now.
    pub transaction_details: Vec<Detail>,
    /// Their sums by tax rate.
    pub tax_rate_summaries: Vec<TaxRateSummary>,
}

/// A cancel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cancel {
    /// Key of the DELETE_REG row.
    pub request_key: RequestKey,
    /// The transaction.
    pub np_transaction_id: NpTransactionId,
}

/// A billing request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Bill {
    /// Key of the BILLING_REG row.
    pub request_key: RequestKey,
    /// The transaction.
    pub np_transaction_id: NpTransactionId,
    /// The amount we expect to be billed, in yen.
    pub billed_amount: i64,
    /// Day in Japan from which the agency reckons the bill.
    #[serde(with = "day")]
    pub bill_issue_base_date: Date,
}

/// A question about an accepted request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResultQuery {
    /// Key of the accepted `*_REG` row.
    pub request_key: RequestKey,
    /// Its type.
    pub request_type: RequestType,
    /// Its acceptance number.
    pub accept_no: AcceptNo,
}

/// A question about screening.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthorizationQuery {
    /// The transaction.
    pub np_transaction_id: NpTransactionId,
}

/// A question whether a request ever arrived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LookupQuery {
    /// Key of the UNKNOWN row.
    pub request_key: RequestKey,
    /// The order number: the second identity (10.2).
    pub shop_transaction_id: String,
    /// The transaction, where it is known: lets the agency answer for a billing under another key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub np_transaction_id: Option<NpTransactionId>,
}

/// A request is accepted; its outcome is fetched by [`ResultQuery`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acceptance {
    /// The acceptance number.
    pub accept_no: AcceptNo,
}

/// Where an accepted request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessedStatus {
    /// Not processed yet.
    Pending,
    /// Done.
    Done,
    /// Refused after acceptance.
    Rejected,
}

/// The answer to a [`ResultQuery`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Processed {
    /// Where it stands.
    pub status: ProcessedStatus,
    /// The transaction; always there when a registration is done.
    pub np_transaction_id: Option<NpTransactionId>,
    /// The order number as the agency has it.
    pub shop_transaction_id: Option<String>,
    /// The amount the agency confirms; always there when a registration, change or billing is done.
    pub billed_amount: Option<i64>,
    /// Codes of a refusal.
    pub codes: Vec<String>,
    /// When the agency processed it, as it wrote it.
    pub processed_at: Option<String>,
}

/// The agency's word on a buyer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScreeningWord {
    /// `00`.
    Approved,
    /// `10`: the agency waits for data or checks.
    Held,
    /// `20`.
    Refused,
    /// `40`: not yet screened.
    NotYet,
    /// Another word, or none: worth an alert, changes nothing.
    Other(String),
}

impl ScreeningWord {
    /// The agency's code of each word.
    pub const CODES: [(&'static str, Self); 4] = [
        ("00", Self::Approved),
        ("10", Self::Held),
        ("20", Self::Refused),
        ("40", Self::NotYet),
    ];

    /// The word of a code.
    #[must_use]
    pub fn of_code(code: &str) -> Self {
        let row = Self::CODES.into_iter().find(|row| row.0 == code);
        row.map_or_else(|| Self::Other(code.to_owned()), |row| row.1)
    }
}

/// The answer to an [`AuthorizationQuery`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Screening {
    /// The word.
    pub word: ScreeningWord,
    /// The code as the agency wrote it, empty if it wrote none.
    pub authori_result: String,
    /// Why it is refused.
    pub ng: Option<String>,
    /// Why it is held.
    pub hold: Vec<String>,
    /// Until when the agency wants data, as it wrote it.
    pub required_date: Option<String>,
}

/// The answer to a [`LookupQuery`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The agency has it.
    Found(Found),
    /// The agency has never received it, as far as it can see now.
    NotFound,
}

/// What a look-up found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// How it was found.
    pub by: FoundBy,
    /// The acceptance number of what was found.
    pub accept_no: AcceptNo,
    /// Its key, if it is another one and the agency names it.
    pub accept_key: Option<RequestKey>,
    /// The transaction, if the agency says.
    pub np_transaction_id: Option<NpTransactionId>,
    /// The amount registered or billed, if the agency says.
    pub billed_amount: Option<i64>,
}

/// By which of its identities a request was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoundBy {
    /// By its own key.
    RequestKey,
    /// A registration: by the order number, under another key.
    ShopTransactionId,
    /// A billing: by the transaction, under another key.
    NpTransactionId,
}

impl Item for Registration {
    const KEY_FIELD: &'static str = "requestKey";
    fn key(&self) -> String {
        self.request_key.to_string()
    }
    fn check(&self) -> Result<(), LimitError> {
        limits::registration(self)
    }
}

impl Item for Update {
    const KEY_FIELD: &'static str = "requestKey";
    fn key(&self) -> String {
        self.request_key.to_string()
    }
    fn check(&self) -> Result<(), LimitError> {
        limits::goods(
            self.billed_amount,
            &self.transaction_details,
            &self.tax_rate_summaries,
        )
    }
}

impl Item for Cancel {
    const KEY_FIELD: &'static str = "requestKey";
    fn key(&self) -> String {
        self.request_key.to_string()
    }
    fn check(&self) -> Result<(), LimitError> {
        Ok(())
    }
}

impl Item for Bill {
    const KEY_FIELD: &'static str = "requestKey";
    fn key(&self) -> String {
        self.request_key.to_string()
    }
    fn check(&self) -> Result<(), LimitError> {
        limits::amount(self.billed_amount)
    }
}

impl Item for ResultQuery {
    const KEY_FIELD: &'static str = "requestKey";
    fn key(&self) -> String {
        self.request_key.to_string()
    }
    fn check(&self) -> Result<(), LimitError> {
        Ok(())
    }
}

impl Item for AuthorizationQuery {
    const KEY_FIELD: &'static str = "npTransactionId";
    fn key(&self) -> String {
        self.np_transaction_id.to_string()
    }
    fn check(&self) -> Result<(), LimitError> {
        Ok(())
    }
}

impl Item for LookupQuery {
    const KEY_FIELD: &'static str = "requestKey";
    fn key(&self) -> String {
        self.request_key.to_string()
    }
    fn check(&self) -> Result<(), LimitError> {
        limits::shop_transaction_id(&self.shop_transaction_id)
    }
}
