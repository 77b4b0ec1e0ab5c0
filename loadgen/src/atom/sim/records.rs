//! What the simulator remembers: tokens, payments, refunds. The ledger that tests compare with ours is made of these.

use serde::Serialize;

use super::message::Said;

/// A product and its part of a payment, in paise.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// The product.
    pub prod_name: String,
    /// Its part.
    pub amount: i64,
}

/// How a customer's visit ended without a payment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Left {
    /// The customer pressed cancel.
    Cancelled,
    /// The page timed out.
    TimedOut,
}

/// A token: permission to pay once.
#[derive(Clone, Debug, Serialize)]
pub struct Token {
    /// The token itself.
    pub id: u64,
    /// The payment's number at the merchant.
    pub merch_txn_id: String,
    /// Its time in India, as it was sent.
    pub merch_txn_date: String,
    /// Amount in paise.
    pub amount: i64,
    /// Currency.
    pub currency: String,
    /// Products.
    pub lines: Vec<Line>,
    /// The only way to pay, if it was restricted.
    pub sub_channel: Option<String>,
    /// The merchant's free member.
    pub udf1: String,
    /// Address for mail; not in the ledger.
    #[serde(skip)]
    pub email: String,
    /// Telephone; not in the ledger.
    #[serde(skip)]
    pub mobile: String,
    /// Until when it may be used, Unix milliseconds.
    pub expires_ms: i64,
    /// The page was opened.
    pub opened: bool,
    /// It was used.
    pub used: bool,
    /// The customer left without a payment.
    pub left: Option<Left>,
}

/// How a payment stands.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentState {
    /// The bank has not decided.
    Pending,
    /// It failed.
    Failed,
    /// The money was taken.
    Captured,
    /// The money was taken and given back by Atom itself.
    Reversed,
}

/// One try of a callback.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Delivery {
    /// When, Unix milliseconds of the simulator.
    pub at_ms: i64,
    /// How it was answered, or nothing.
    pub http_status: Option<u16>,
    /// How long that took, in real microseconds.
    pub took_us: u64,
}

/// A payment.
#[derive(Clone, Debug, Serialize)]
pub struct Payment {
    /// Its number.
    pub atom_txn_id: u64,
    /// The token that it was made with.
    pub token: u64,
    /// Its number at the merchant.
    pub merch_txn_id: String,
    /// The merchant's free member, where it has its order.
    pub udf1: String,
    /// How it stands.
    pub state: PaymentState,
    /// The code for that.
    pub status_code: String,
    /// Its word.
    pub message: String,
    /// The way it went.
    pub sub_channel: String,
    /// Amount in paise.
    pub amount: i64,
    /// Surcharge in paise.
    pub surcharge: i64,
    /// Currency.
    pub currency: String,
    /// Products.
    pub lines: Vec<Line>,
    /// The bank's number.
    pub bank_txn_id: String,
    /// When it began, Unix milliseconds.
    pub at_ms: i64,
    /// When it was decided.
    pub decided_ms: i64,
    /// From when the status query shows it.
    pub visible_ms: i64,
    /// Callbacks sent for it.
    pub callbacks: Vec<Delivery>,
}

impl Payment {
    /// What messages say about it.
    #[must_use]
    pub fn said(&self) -> Said {
        Said::new(&self.status_code, &self.message)
    }

    /// Amount and surcharge.
    #[must_use]
    pub fn total(&self) -> i64 {
        self.amount + self.surcharge
    }

    /// Decides it.
    pub fn decide(&mut self, state: PaymentState, code: &str, message: &str, now_ms: i64) {
        self.state = state;
        self.status_code = code.to_owned();
        self.message = message.to_owned();
        self.decided_ms = now_ms;
    }
}

/// How a refund stands.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundState {
    /// Accepted, not paid out.
    Initiated,
    /// Paid out.
    Processed,
    /// It was accepted and came to nothing.
    Failed,
}

impl RefundState {
    /// The words of the refund status query.
    #[must_use]
    pub fn remarks(self) -> &'static str {
        match self {
            RefundState::Initiated => "REFUND INITIATED",
            RefundState::Processed => "REFUND PROCESSED",
            RefundState::Failed => "REFUND FAILED",
        }
    }
}

/// A refund of one product of a payment.
#[derive(Clone, Debug, Serialize)]
pub struct Refund {
    /// Its number.
    pub refund_txn_id: u64,
    /// The payment's number.
    pub atom_txn_id: u64,
    /// The payment's number at the merchant.
    pub merch_txn_id: String,
    /// The product.
    pub prod_name: String,
    /// The refund's number at the merchant.
    pub prod_refund_id: String,
    /// Amount in paise.
    pub amount: i64,
    /// How it stands.
    pub state: RefundState,
    /// When it was accepted, Unix milliseconds.
    pub at_ms: i64,
    /// It will fail instead of being paid out.
    #[serde(skip)]
    pub will_fail: bool,
}

/// A call as the simulator saw it, without anything secret.
#[derive(Clone, Debug, Serialize)]
pub struct Seen {
    /// When, Unix milliseconds of the simulator.
    pub at_ms: i64,
    /// Which call.
    pub api: super::faults::Place,
    /// About which payment of the merchant, or of Atom where the call names no other.
    pub about: String,
    /// The code it was answered with.
    pub code: String,
    /// Faults that struck it, by name.
    pub faults: Vec<String>,
}
