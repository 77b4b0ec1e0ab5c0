//! Callbacks that must have no effect: what somebody on the network, somebody who repeats, or somebody who holds the keys
//! might send (`spec/atom.md` 14).

use serde::Serialize;

use super::super::sim::callback;
use super::super::sim::clock::{Clock, indian_time};
use super::super::sim::config::{Identity, Keys};
use super::super::sim::faults::Fault;
use super::super::sim::message::Said;
use super::super::sim::records::{Line, Payment, PaymentState, Token};
use super::super::sim::wire;

/// A kind of bad callback.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The genuine message again.
    Replayed,
    /// A bit of the genuine ciphertext is turned.
    BitTurned,
    /// The last block of the genuine ciphertext is gone.
    BlockGone,
    /// Encrypted with another key.
    OtherKey,
    /// One digit of the signature is wrong.
    WrongSignature,
    /// No signature.
    NoSignature,
    /// Another total under the old signature.
    TotalChanged,
    /// Another amount with the same total, which the signature does not cover.
    AmountChanged,
    /// Another merchant's message.
    OtherMerchant,
    /// A payment that never began.
    UnknownOrder,
    /// A failure after the success, rightly signed.
    FailedAfter,
    /// No hexadecimal digits.
    NoHex,
    /// Two ciphertexts.
    TwoFields,
    /// A word instead of a ciphertext.
    Word,
}

/// What the answer must be.
struct Rule {
    kind: Kind,
    /// Comes before the customer pays.
    before: bool,
    /// Statuses that are right.
    answers: &'static [u16],
    /// Leaves the attempt on hold.
    holds: bool,
}

const fn rule(kind: Kind, before: bool, answers: &'static [u16]) -> Rule {
    Rule {
        kind,
        before,
        answers,
        holds: false,
    }
}

/// Every kind with what the specification says about it.
const RULES: [Rule; 14] = [
    rule(Kind::Replayed, false, &[200]),
    rule(Kind::BitTurned, false, &[400]),
    rule(Kind::BlockGone, false, &[400]),
    rule(Kind::FailedAfter, false, &[200]),
    Rule {
        kind: Kind::AmountChanged,
        before: false,
        answers: &[200],
        holds: true,
    },
    rule(Kind::OtherKey, true, &[400]),
    rule(Kind::WrongSignature, true, &[400]),
    // It may be kept as a hint, and it may be refused: it must not pay.
    rule(Kind::NoSignature, true, &[200, 400]),
    rule(Kind::TotalChanged, true, &[400]),
    rule(Kind::OtherMerchant, true, &[400]),
    rule(Kind::UnknownOrder, true, &[200]),
    rule(Kind::NoHex, true, &[400]),
    rule(Kind::TwoFields, true, &[400]),
    // The words are hints, and hints are taken.
    rule(Kind::Word, true, &[200, 400]),
];

impl Kind {
    fn rule(self) -> &'static Rule {
        let found = RULES.iter().find(|rule| rule.kind == self);
        found.expect("every kind has its rule")
    }

    /// The kind that a number from 0 up to 1 chooses; an order that is not paid gets none that follows a payment.
    #[must_use]
    pub fn by_lot(lot: f64, unpaid: bool) -> Kind {
        let fitting = || RULES.iter().filter(|rule| rule.before || !unpaid);
        let number = (lot * fitting().count() as f64) as usize;
        fitting().nth(number).map_or(Kind::Word, |rule| rule.kind)
    }

    /// Whether it comes before the customer pays.
    #[must_use]
    pub fn before_payment(self) -> bool {
        self.rule().before
    }

    /// Whether it leaves the attempt on hold.
    #[must_use]
    pub fn holds(self) -> bool {
        self.rule().holds
    }
}

/// A bad callback that was tried.
#[derive(Clone, Debug)]
pub struct Trial {
    /// Which.
    pub kind: Kind,
    /// How it was answered.
    pub status: u16,
    /// The status that the order took by it, if it took one.
    pub effect: Option<String>,
}

impl Trial {
    /// Answered as it must be, and without effect.
    #[must_use]
    pub fn right(&self) -> bool {
        self.effect.is_none() && self.kind.rule().answers.contains(&self.status)
    }
}

/// Makes bad callbacks, with the keys that the simulator has.
pub struct Forger(Keys);

impl Forger {
    /// With the keys of this identity.
    #[must_use]
    pub fn new(identity: Identity) -> Forger {
        Forger(Keys::derive(identity))
    }

    /// A form of this kind about this payment; some kinds are made of the genuine form.
    #[must_use]
    pub fn forge(
        &self,
        kind: Kind,
        merch_txn_id: &str,
        amount: i64,
        genuine: Option<&str>,
    ) -> String {
        let keys = &self.0;
        let ok = Said::new("OTS0000", "SUCCESS");
        let made = |said: &Said, faults: &[Fault]| {
            let (token, payment) = invented(merch_txn_id, amount);
            callback::body(keys, &token, &payment, said, faults)
        };
        let genuine = || genuine.map_or_else(|| made(&ok, &[]), str::to_owned);
        match kind {
            Kind::Replayed => genuine(),
            Kind::BitTurned => turned(&genuine()),
            Kind::BlockGone => {
                let mut body = genuine();
                body.truncate(body.len() - 32);
                body
            }
            Kind::OtherKey => made(&ok, &[Fault::WrongKey]),
            Kind::WrongSignature => made(&ok, &[Fault::BadSignature]),
            Kind::NoSignature => made(&ok, &[Fault::NullSignature]),
            Kind::TotalChanged => {
                self.resealed(&made(&ok, &[]), "\"totalAmount\":", "\"totalAmount\":9")
            }
            Kind::AmountChanged => {
                // The same payment with another split of its total; the signature stays right.
                let halves = (
                    super::super::sim::amount::fixed2(amount),
                    super::super::sim::amount::fixed2(amount / 2),
                );
                let from = format!("\"amount\":{}", halves.0);
                self.resealed(&genuine(), &from, &format!("\"amount\":{}", halves.1))
            }
            Kind::OtherMerchant => made(&ok, &[Fault::OtherMerchant]),
            Kind::UnknownOrder => {
                let (token, payment) = invented(&format!("GX{}", &merch_txn_id[2..]), amount);
                callback::body(keys, &token, &payment, &ok, &[])
            }
            Kind::FailedAfter => made(&Said::new("OTS0600", "FAILED"), &[]),
            Kind::NoHex => wire::form(&keys.identity.merch_id, "XYZ0"),
            Kind::TwoFields => {
                let body = made(&ok, &[]);
                let (_, field) = body.split_once('&').unwrap_or_default();
                format!("{body}&{field}")
            }
            Kind::Word => wire::form(&keys.identity.merch_id, "cancelTransaction"),
        }
    }

    /// Opens a form, changes its text, and seals it again.
    fn resealed(&self, body: &str, from: &str, to: &str) -> String {
        let (_, enc_data) = body.rsplit_once('=').unwrap_or_default();
        let plain = self.0.response.open(enc_data).unwrap_or_default();
        wire::form(
            &self.0.identity.merch_id,
            &self.0.response.seal(&plain.replacen(from, to, 1)),
        )
    }
}

/// A form with one bit of its ciphertext turned, in the middle.
fn turned(body: &str) -> String {
    let middle = body.len() / 2;
    let digit = &body[middle..=middle];
    let value = u8::from_str_radix(digit, 16).unwrap_or(0) ^ 1;
    format!("{}{value:X}{}", &body[..middle], &body[middle + 1..])
}

/// A payment that the simulator never made.
fn invented(merch_txn_id: &str, amount: i64) -> (Token, Payment) {
    let now_ms = Clock::Runs { ahead_ms: 0 }.now_ms();
    let lines = vec![Line {
        prod_name: "NSE".to_owned(),
        amount,
    }];
    let token = Token {
        id: 0,
        merch_txn_id: merch_txn_id.to_owned(),
        merch_txn_date: indian_time(now_ms),
        amount,
        currency: "INR".to_owned(),
        lines: lines.clone(),
        sub_channel: None,
        udf1: String::new(),
        email: "buyer@example.com".to_owned(),
        mobile: "9000000000".to_owned(),
        expires_ms: now_ms,
        opened: true,
        used: true,
        left: None,
    };
    let id = 11_900_000_000_000 + rand::random_range(0..100_000_000);
    let payment = Payment {
        atom_txn_id: id,
        token: 0,
        merch_txn_id: merch_txn_id.to_owned(),
        udf1: String::new(),
        state: PaymentState::Captured,
        status_code: "OTS0000".to_owned(),
        message: "SUCCESS".to_owned(),
        sub_channel: "CC".to_owned(),
        amount,
        surcharge: 0,
        currency: "INR".to_owned(),
        lines,
        bank_txn_id: format!("00{id}001"),
        at_ms: now_ms,
        decided_ms: now_ms,
        visible_ms: now_ms,
        callbacks: Vec::new(),
    };
    (token, payment)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every kind has a rule, is chosen by some lot, and makes another form than the genuine one, except the replay.
    #[test]
    fn every_kind_is_made() {
        let forger = Forger::new(Identity::default());
        let (token, payment) = invented("G01", 10_000);
        let genuine = callback::body(&forger.0, &token, &payment, &payment.said(), &[]);
        let count = RULES.len();
        for (number, rule) in RULES.iter().enumerate() {
            let lot = (number as f64 + 0.5) / count as f64;
            assert_eq!(Kind::by_lot(lot, false), rule.kind);
            let forged = forger.forge(rule.kind, "G01", 10_000, Some(&genuine));
            assert_eq!(
                forged == genuine,
                rule.kind == Kind::Replayed,
                "{:?}",
                rule.kind
            );
        }
        assert!((0..100).all(|lot| Kind::by_lot(f64::from(lot) / 100.0, true).before_payment()));
    }

    /// A forged amount keeps its total and its signature; a changed total is read as another one.
    #[test]
    fn forged_amounts_are_what_they_say() {
        let forger = Forger::new(Identity::default());
        let plain = |kind| {
            let body = forger.forge(kind, "G01", 10_000, None);
            forger
                .0
                .response
                .open(body.rsplit_once('=').expect("a form").1)
                .expect("it opens")
        };
        let text = plain(Kind::AmountChanged);
        assert!(
            text.contains("\"amount\":50.00") && text.contains("\"totalAmount\":100.00"),
            "{text}"
        );
        assert!(plain(Kind::TotalChanged).contains("\"totalAmount\":9100.00"));
    }
}
