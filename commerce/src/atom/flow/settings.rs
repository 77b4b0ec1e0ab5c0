//! The numbers and switches of the flow's rules (`spec/atom.md` 19).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::refunds::finding::RemarkTable;
use crate::clock::MINUTE_MS;

/// What a failed attempt does to its order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailedAttemptPolicy {
    /// The order stays pending; the customer may try again until it expires.
    #[default]
    KeepPending,
    /// The order is cancelled.
    CancelOrder,
}

/// The rules' numbers and switches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FlowSettings {
    /// How long a checkout token is taken to live, in seconds.
    pub token_lifetime_s: i64,
    /// How long an order waits to be paid, in seconds.
    pub order_ttl_s: i64,
    /// Attempts to pay one order in an hour.
    pub attempts_per_hour_max: i64,
    /// The least that may be ordered, in minor units.
    pub amount_min: i64,
    /// The most that may be ordered, in minor units.
    pub amount_max: i64,
    /// The currencies that are taken.
    pub currencies: Vec<String>,
    /// What a failed attempt does to its order.
    pub failed_attempt_policy: FailedAttemptPolicy,
    /// Whether shipping waits for an agreeing status query.
    pub require_confirm_before_ship: bool,
    /// Whether a payment that comes after its order was cancelled is given back of our own accord.
    pub auto_refund_late_capture: bool,
    /// Whether a refund that the gateway does not list is sent again of our own accord.
    pub refund_auto_resend: bool,
    /// Whether a part of a payment may be given back.
    pub allow_partial_refund: bool,
    /// Whether a refund may include what Atom added.
    pub refund_includes_surcharge: bool,
    /// How many days after the payment a refund may be asked for; no limit if absent.
    pub refund_window_days: Option<i64>,
    /// What the gateway's words about a refund mean.
    pub refund_remarks: RemarkTable,
    /// Whether an operator's action that moves money needs a second operator.
    pub require_second_operator: bool,
    /// Status queries in a second, of this process.
    pub queries_per_s_max: u32,
    /// When an attempt without a result is asked for at first.
    pub requery_minutes: Minutes,
    /// Up to when it is asked for, in days.
    pub requery_days: i64,
    /// Whether new payments are begun.
    pub accept_payments: bool,
    /// Status queries at the same time, of this process.
    pub queries_at_once_max: usize,
    /// How long a slip of paper (challan) may wait to be paid, in days.
    pub challan_days: i64,
    /// How long raw callbacks and contact data are kept, in days.
    pub retention_days: i64,
    /// The merchants, by id.
    pub merchants: BTreeMap<String, MerchantSettings>,
}

/// Whole minutes since something happened, each more than the one before: `"2 5 10"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Minutes(Vec<i64>);

impl Default for Minutes {
    fn default() -> Minutes {
        Minutes(vec![2, 5, 10, 20, 40, 60])
    }
}

impl TryFrom<String> for Minutes {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Minutes, &'static str> {
        let numbers: Result<Vec<i64>, _> = text.split_whitespace().map(str::parse).collect();
        let numbers =
            numbers.map_err(|_| "requery_minutes: only whole numbers, with blanks between them")?;
        let rising =
            numbers.first().is_some_and(|first| *first >= 1) && numbers.is_sorted_by(|a, b| a < b);
        match numbers.last() {
            Some(last) if rising && *last <= 24 * 60 => Ok(Minutes(numbers)),
            _ => Err("requery_minutes: from 1 to 1440, each more than the one before"),
        }
    }
}

impl From<Minutes> for String {
    fn from(minutes: Minutes) -> String {
        let texts: Vec<String> = minutes.0.iter().map(i64::to_string).collect();
        texts.join(" ")
    }
}

impl Minutes {
    /// In ms, in their order.
    pub fn ms(&self) -> impl Iterator<Item = i64> {
        self.0.iter().map(|minutes| minutes * MINUTE_MS)
    }

    /// The first, in ms.
    pub fn first_ms(&self) -> i64 {
        self.0[0] * MINUTE_MS
    }
}

/// One merchant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MerchantSettings {
    /// The origins (`https://shop.example`) to which customers may be sent back.
    pub return_origins: Vec<String>,
    /// Whether it has an address to which news is posted.
    pub is_told: bool,
}

impl Default for FlowSettings {
    fn default() -> FlowSettings {
        FlowSettings {
            token_lifetime_s: 15 * 60,
            order_ttl_s: 24 * 3600,
            attempts_per_hour_max: 5,
            amount_min: 100,
            amount_max: 100_000_000,
            currencies: vec!["INR".to_owned()],
            failed_attempt_policy: FailedAttemptPolicy::default(),
            require_confirm_before_ship: true,
            auto_refund_late_capture: true,
            refund_auto_resend: false,
            allow_partial_refund: true,
            refund_includes_surcharge: false,
            refund_window_days: None,
            refund_remarks: RemarkTable::default(),
            require_second_operator: true,
            queries_per_s_max: 5,
            requery_minutes: Minutes::default(),
            requery_days: 3,
            accept_payments: true,
            queries_at_once_max: 8,
            challan_days: 7,
            retention_days: 400,
            merchants: BTreeMap::new(),
        }
    }
}

impl FlowSettings {
    /// How long a checkout token is taken to live, in ms.
    pub fn token_lifetime_ms(&self) -> i64 {
        self.token_lifetime_s * 1000
    }

    /// For how many days a slip that is paid at a counter may be open.
    pub fn slip_days(&self) -> i64 {
        self.challan_days.max(self.requery_days)
    }
}

/// What the checkout page is told, besides token and customer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkout {
    /// The address of Atom's script.
    pub script: String,
    /// The environment as the script names it.
    pub env: String,
    /// Our merchant number.
    pub merch_id: String,
    /// Where the browser comes back to us.
    pub return_url: String,
}
