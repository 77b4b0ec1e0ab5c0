//! The messages as the flow sees them: what goes into a request, what an answer or a callback says.
//!
//! Amounts are minor units. Numbers that are only names (`atomTxnId`, `refundTxnId`, the token) are texts. Contact data
//! and the token are here because they travel; what prints these types prints them masked.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::codes::{Class, Reading};

/// The ways to pay, by the two letters of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SubChannel {
    /// Net banking.
    #[serde(rename = "NB")]
    NetBanking,
    /// Credit card.
    #[serde(rename = "CC")]
    CreditCard,
    /// Debit card.
    #[serde(rename = "DC")]
    DebitCard,
    /// Wallet.
    #[serde(rename = "MW")]
    Wallet,
    /// PhonePe.
    #[serde(rename = "PP")]
    PhonePe,
    /// Paytm wallet.
    #[serde(rename = "PW")]
    PaytmWallet,
    /// Instalments.
    #[serde(rename = "EM")]
    Instalments,
    /// Challan, a slip of paper to pay with.
    #[serde(rename = "NR")]
    Challan,
    /// BharatQR.
    #[serde(rename = "BQ")]
    BharatQr,
    /// UPI.
    #[serde(rename = "UP")]
    Upi,
}

impl SubChannel {
    /// All of them, with their letters.
    pub const ALL: [(&'static str, SubChannel); 10] = [
        ("NB", SubChannel::NetBanking),
        ("CC", SubChannel::CreditCard),
        ("DC", SubChannel::DebitCard),
        ("MW", SubChannel::Wallet),
        ("PP", SubChannel::PhonePe),
        ("PW", SubChannel::PaytmWallet),
        ("EM", SubChannel::Instalments),
        ("NR", SubChannel::Challan),
        ("BQ", SubChannel::BharatQr),
        ("UP", SubChannel::Upi),
    ];

    /// The two letters.
    pub fn code(self) -> &'static str {
        let row = Self::ALL.iter().find(|(_, channel)| *channel == self);
        row.expect("every channel is in the table").0
    }

    /// The channel of two letters, exactly as written.
    pub fn from_code(code: &str) -> Option<SubChannel> {
        let row = Self::ALL.iter().find(|(letters, _)| *letters == code);
        row.map(|(_, channel)| *channel)
    }
}

/// One product of a split order, and its share of the amount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProductLine {
    /// The product's name at Atom.
    pub name: String,
    /// Its share, in minor units.
    pub amount: i64,
}

/// A token issue (AUTH, 7.1).
#[derive(Clone)]
pub struct AuthRequest {
    /// The attempt: `G` and a ULID, stored before the call, never used twice.
    pub merch_txn_id: String,
    /// The attempt's creation time in Asia/Kolkata, `YYYY-MM-DD hh:mm:ss`, not rounded up.
    pub merch_txn_date_ist: String,
    /// The amount, in minor units.
    pub amount: i64,
    /// The currency.
    pub currency: String,
    /// The shares of a split order; empty for an order of one product (the configured one).
    pub products: Vec<ProductLine>,
    /// The only way to pay that is offered; all of them when absent.
    pub sub_channel: Option<SubChannel>,
    /// The customer's e-mail.
    pub cust_email: String,
    /// The customer's mobile number, digits.
    pub cust_mobile: String,
    /// The customer's bank account, for merchants with third-party validation.
    pub cust_acc_no: Option<String>,
    /// The merchant's sub-account.
    pub client_code: Option<String>,
    /// Our order id (`udf1`). It comes back unsigned.
    pub order_id: String,
}

impl fmt::Debug for AuthRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The customer's contact and bank data stay out of logs.
        f.debug_struct("AuthRequest")
            .field("merch_txn_id", &self.merch_txn_id)
            .field("amount", &self.amount)
            .field("currency", &self.currency)
            .field("order_id", &self.order_id)
            .finish_non_exhaustive()
    }
}

/// The number that opens the checkout page (`atomTokenId`). It prints as its last four digits.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenId(String);

impl TokenId {
    /// Digits of the longest token that is accepted.
    pub const DIGITS_MAX: usize = 20;

    /// A positive number of at most [`TokenId::DIGITS_MAX`] digits.
    pub fn new(digits: &str) -> Option<TokenId> {
        let plain = digits.bytes().all(|b| b.is_ascii_digit());
        let positive = digits.bytes().any(|b| b != b'0');
        (plain && positive && digits.len() <= Self::DIGITS_MAX).then(|| TokenId(digits.to_owned()))
    }

    /// All digits: for the store and for the customer's browser.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "***{}", &self.0[self.0.len().saturating_sub(4)..])
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenId({self})")
    }
}

/// A token was issued (7.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthAnswer {
    /// The token.
    pub token: TokenId,
}

/// A status query (7.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusRequest {
    /// The attempt.
    pub merch_txn_id: String,
    /// The time that AUTH was given; its day is what the query carries, so the day is the same one.
    pub merch_txn_date_ist: String,
    /// The attempt's amount, in minor units.
    pub amount: i64,
    /// The currency.
    pub currency: String,
    /// Atom's number of the payment, if it is known.
    pub atom_txn_id: Option<String>,
}

/// What Atom says of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusAnswer {
    /// What it means for the attempt: `NoData` when Atom does not know it.
    pub reading: Reading,
    /// The transaction that decides. Absent only with `NoData`.
    pub transaction: Option<StatusTransaction>,
    /// The other transactions under the same id, as they rank.
    pub others: Vec<StatusTransaction>,
}

impl StatusAnswer {
    /// The same answer, decided by what it says of this payment, if it lists it. To an attempt that has a capture another
    /// one is news of its own: it neither confirms the first nor hides that it went back.
    pub fn about(mut self, atom_txn_id: &str) -> StatusAnswer {
        let is_it = |t: &StatusTransaction| t.atom_txn_id.as_deref() == Some(atom_txn_id);
        if self.transaction.as_ref().is_none_or(is_it) {
            return self;
        }
        if let Some(at) = self.others.iter().position(is_it) {
            let known = self.others.remove(at);
            self.reading = known.reading;
            if let Some(first) = self.transaction.replace(known) {
                self.others.insert(0, first);
            }
        }
        self
    }

    /// Captures in the list besides this one.
    pub fn captures_besides(
        &self,
        atom_txn_id: Option<&str>,
    ) -> impl Iterator<Item = &StatusTransaction> {
        self.others.iter().filter(move |other| {
            other.reading.class == Class::Success && other.atom_txn_id.as_deref() != atom_txn_id
        })
    }
}

/// One transaction of a status answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusTransaction {
    /// What its code and its message mean together.
    pub reading: Reading,
    /// The code as it came.
    pub status_code: String,
    /// Atom's number of the payment.
    pub atom_txn_id: Option<String>,
    /// The amounts; compare them with the attempt before a success is believed.
    pub amounts: Amounts,
    /// How it was paid.
    pub sub_channel: Option<String>,
    /// The bank's number.
    pub bank_txn_id: Option<String>,
    /// The bank's name.
    pub ots_bank_name: Option<String>,
    /// How far settlement is (`RS`, `RNS`, `NRNS`, `PNRNS`, `PNRS`).
    pub recon_status: Option<String>,
}

impl StatusTransaction {
    /// Whether Atom has reconciled and settled the payment.
    pub fn is_settled(&self) -> bool {
        self.recon_status.as_deref() == Some("RS")
    }
}

/// The amounts of a callback or of a status answer, as far as they were there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// The order's amount, in minor units. Unsigned in a callback.
    pub amount: Option<i64>,
    /// What Atom added, in minor units. Unsigned in a callback.
    pub surcharge: Option<i64>,
    /// The sum, in minor units. Signed in a callback.
    pub total: Option<i64>,
    /// The currency. Unsigned in a callback.
    pub currency: Option<String>,
    /// The products. Unsigned in a callback.
    pub products: Vec<ProductLine>,
}

/// Where a message disagrees with the attempt it names (section 14, check 9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// The order's amount is another one, or is missing.
    Amount {
        /// The attempt's amount.
        expected: i64,
        /// The message's amount.
        found: Option<i64>,
    },
    /// Amount and surcharge do not make the total, or the total is missing.
    Total {
        /// Amount and surcharge together.
        expected: i64,
        /// The message's total.
        found: Option<i64>,
    },
    /// The currency is another one.
    Currency {
        /// The message's currency.
        found: String,
    },
    /// The products do not add up to the amount.
    Products {
        /// What they add up to.
        sum: i64,
    },
    /// `udf1` names another order.
    OrderId,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |minor: &Option<i64>| match minor {
            Some(minor) => minor.to_string(),
            None => "none".to_owned(),
        };
        match self {
            Mismatch::Amount { expected, found } => {
                write!(f, "amount {} instead of {expected}", shown(found))
            }
            Mismatch::Total { expected, found } => {
                write!(f, "total {} instead of {expected}", shown(found))
            }
            Mismatch::Currency { found } => write!(f, "currency {found:?}"),
            Mismatch::Products { sum } => write!(f, "products add up to {sum}"),
            Mismatch::OrderId => f.write_str("udf1 names another order"),
        }
    }
}

impl Amounts {
    /// Everything in which the message disagrees with an attempt of this amount and currency.
    ///
    /// An absent surcharge is none; an absent currency or product list says nothing.
    pub fn mismatches(&self, amount: i64, currency: &str) -> Vec<Mismatch> {
        let mut found = Vec::new();
        if self.amount != Some(amount) {
            found.push(Mismatch::Amount {
                expected: amount,
                found: self.amount,
            });
        }
        // Both are at most 12 digits of rupees by their reader, so the sum stays far inside an i64.
        let sum = self.amount.unwrap_or(amount) + self.surcharge.unwrap_or(0);
        if self.total != Some(sum) {
            found.push(Mismatch::Total {
                expected: sum,
                found: self.total,
            });
        }
        if let Some(other) = self.currency.as_ref().filter(|c| *c != currency) {
            found.push(Mismatch::Currency {
                found: other.clone(),
            });
        }
        let products: i64 = self.products.iter().map(|line| line.amount).sum();
        if !self.products.is_empty() && products != amount {
            found.push(Mismatch::Products { sum: products });
        }
        found
    }
}

/// A callback or a browser return whose signature was verified (7.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callback {
    /// The attempt (signed).
    pub merch_txn_id: String,
    /// Atom's number of the payment (signed).
    pub atom_txn_id: String,
    /// The amounts; only `total` is signed.
    pub amounts: Amounts,
    /// The code as it came (signed).
    pub status_code: String,
    /// What code and message mean together.
    pub reading: Reading,
    /// The first way to pay it names (signed).
    pub sub_channel: Option<String>,
    /// The bank's number (signed).
    pub bank_txn_id: Option<String>,
    /// The bank's name.
    pub ots_bank_name: Option<String>,
    /// When the payment began, in Atom's words.
    pub txn_init_date: Option<String>,
    /// When the payment ended, in Atom's words.
    pub txn_complete_date: Option<String>,
    /// What should be our order id. Unsigned: compare it, never look up by it.
    pub udf1: Option<String>,
}

impl Callback {
    /// Everything in which the callback disagrees with an attempt of this amount and currency for this order.
    pub fn mismatches(&self, amount: i64, currency: &str, order_id: &str) -> Vec<Mismatch> {
        let mut found = self.amounts.mismatches(amount, currency);
        if self.udf1.as_deref().is_some_and(|udf1| udf1 != order_id) {
            found.push(Mismatch::OrderId);
        }
        found
    }
}

/// A refund (7.6). The lines' sum is the total.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundRequest {
    /// The attempt that was paid.
    pub merch_txn_id: String,
    /// Atom's number of the payment.
    pub atom_txn_id: String,
    /// The currency.
    pub currency: String,
    /// What is given back, by product. One line for an order of one product.
    pub lines: Vec<RefundLine>,
}

impl RefundRequest {
    /// What is given back in all, in minor units.
    pub fn total(&self) -> i64 {
        self.lines.iter().map(|line| line.amount).sum()
    }
}

/// One line of a refund.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundLine {
    /// The product's name at Atom; the configured product when empty.
    pub product: String,
    /// Our number of this line, unique for ever.
    pub prod_refund_id: String,
    /// Its part, in minor units.
    pub amount: i64,
}

/// What a refund request will look like, to be stored before it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundMark {
    /// The total's characters exactly as they will be sent and signed.
    pub amount_text: String,
    /// SHA-256 of the encrypted body, in hex. The same request gives the same digest.
    pub digest: String,
}

/// Atom took the refund: every line is answered, and at least one is initiated. Initiated is not paid back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundAnswer {
    /// The overall code.
    pub status_code: String,
    /// The lines, in the order of the request.
    pub lines: Vec<RefundLineAnswer>,
}

impl RefundAnswer {
    /// Whether every line was initiated.
    pub fn is_complete(&self) -> bool {
        self.lines.iter().all(|line| line.initiated)
    }

    /// The sum of the lines that were initiated, in minor units.
    pub fn initiated_total(&self) -> i64 {
        let initiated = self.lines.iter().filter(|line| line.initiated);
        initiated.map(|line| line.amount).sum()
    }
}

/// What became of one line of a refund.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundLineAnswer {
    /// Our number of the line.
    pub prod_refund_id: String,
    /// Atom's number of it.
    pub refund_txn_id: Option<String>,
    /// The line's code.
    pub status_code: String,
    /// Whether it was initiated; otherwise it was definitely refused.
    pub initiated: bool,
    /// Its amount, in minor units, as sent and as answered.
    pub amount: i64,
}

/// A question for all refunds of a payment (7.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundStatusRequest {
    /// Atom's number of the payment.
    pub atom_txn_id: String,
    /// The products asked for; the configured one when empty.
    pub products: Vec<String>,
}

/// All refunds that Atom has of a payment. No entry is a definite answer too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundStatusAnswer {
    /// The overall code.
    pub status_code: String,
    /// The refunds.
    pub entries: Vec<RefundEntry>,
}

impl RefundStatusAnswer {
    /// The entry of one of our lines.
    pub fn find(&self, prod_refund_id: &str) -> Option<&RefundEntry> {
        let ours = |entry: &&RefundEntry| entry.prod_refund_id == prod_refund_id;
        self.entries.iter().find(ours)
    }
}

/// One refund in a refund-status answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundEntry {
    /// The product, where the shape of the answer names it.
    pub prod_name: Option<String>,
    /// Our number of the line; empty if Atom names none.
    pub prod_refund_id: String,
    /// Atom's number of it.
    pub refund_txn_id: Option<String>,
    /// The amount read as rupees, in minor units; absent if it was no amount.
    pub amount: Option<i64>,
    /// How far it is, in Atom's words.
    pub remarks: String,
    /// The day it was initiated, in Atom's words.
    pub initiated_date: Option<String>,
}

/// How the amount of a [`RefundEntry`] compares with what we sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AmountMatch {
    /// Equal.
    Equal,
    /// A hundred times as much: the account may answer in paise. An issue, and no change of state.
    Hundredfold,
    /// Another amount.
    Different,
}

impl RefundEntry {
    /// Compares with the line's amount, in minor units.
    pub fn compare(&self, amount: i64) -> AmountMatch {
        match self.amount {
            Some(found) if found == amount => AmountMatch::Equal,
            Some(found) if Some(found) == amount.checked_mul(100) => AmountMatch::Hundredfold,
            _ => AmountMatch::Different,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A token prints as its last four digits, and only a positive number of at most 20 digits is one.
    #[test]
    fn tokens() {
        let token = TokenId::new("15000000085228").expect("a token");
        assert_eq!(format!("{token} {token:?}"), "***5228 TokenId(***5228)");
        assert_eq!(token.expose(), "15000000085228");
        for bad in ["", "0", "000", "-1", "1.0", "1e3", "123456789012345678901"] {
            assert!(TokenId::new(bad).is_none(), "{bad:?}");
        }
    }

    /// Every channel is found by its letters, and no other text is a channel.
    #[test]
    fn channels() {
        for (code, channel) in SubChannel::ALL {
            assert_eq!(channel.code(), code);
            assert_eq!(SubChannel::from_code(code), Some(channel));
            assert_eq!(
                serde_json::to_string(&channel).expect("json"),
                format!("{code:?}")
            );
        }
        assert_eq!(SubChannel::from_code("cc"), None);
    }

    /// Each disagreement of amounts has its name, and agreement has none.
    #[test]
    fn amounts_that_disagree() {
        let good = Amounts {
            amount: Some(10_000),
            surcharge: Some(100),
            total: Some(10_100),
            currency: Some("INR".to_owned()),
            products: vec![ProductLine {
                name: "NSE".to_owned(),
                amount: 10_000,
            }],
        };
        assert_eq!(good.mismatches(10_000, "INR"), []);
        let bare = Amounts {
            amount: Some(10_000),
            total: Some(10_000),
            ..Amounts::default()
        };
        assert_eq!(bare.mismatches(10_000, "INR"), []);

        let found = good.mismatches(9_000, "USD");
        assert!(matches!(
            found[0],
            Mismatch::Amount {
                expected: 9_000,
                ..
            }
        ));
        assert!(matches!(found[1], Mismatch::Currency { .. }));
        assert!(matches!(found[2], Mismatch::Products { sum: 10_000 }));
        let short = Amounts {
            total: Some(10_099),
            ..good
        };
        assert!(matches!(
            short.mismatches(10_000, "INR")[..],
            [Mismatch::Total {
                expected: 10_100,
                found: Some(10_099)
            }]
        ));
    }

    /// A refund's amount in paise is recognised as such, not taken for a different refund.
    #[test]
    fn refund_amounts() {
        let entry = |amount| RefundEntry {
            prod_name: None,
            prod_refund_id: "RF1".to_owned(),
            refund_txn_id: None,
            amount,
            remarks: String::new(),
            initiated_date: None,
        };
        assert_eq!(entry(Some(2_550)).compare(2_550), AmountMatch::Equal);
        assert_eq!(
            entry(Some(255_000)).compare(2_550),
            AmountMatch::Hundredfold
        );
        assert_eq!(entry(Some(1)).compare(2_550), AmountMatch::Different);
        assert_eq!(entry(None).compare(2_550), AmountMatch::Different);
    }
}
