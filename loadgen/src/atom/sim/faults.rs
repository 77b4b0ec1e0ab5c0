//! What goes wrong on purpose: rules that say which fault, where, for which payments and how often.
//!
//! A rule counts the calls that match it by place and pattern, and decides from that count alone, the seed and its own
//! number; what other calls do in between makes no difference. So the same calls meet the same faults in every run.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A place where faults happen.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// All of them, as far as the fault makes sense there.
    #[default]
    Any,
    /// Token issue.
    Auth,
    /// Status query, both forms.
    Status,
    /// Refund.
    Refund,
    /// Status of refunds.
    RefundStatus,
    /// The customer's payment itself.
    Pay,
    /// The callback from server to server.
    Callback,
    /// The message that the browser carries to the return URL.
    Return,
}

const CALLS: &[Place] = &[
    Place::Auth,
    Place::Status,
    Place::Refund,
    Place::RefundStatus,
];
const MESSAGES: &[Place] = &[Place::Callback, Place::Return];
const STATUS: &[Place] = &[Place::Status];
const CALLBACK: &[Place] = &[Place::Callback];
const PAY: &[Place] = &[Place::Pay];

/// What `bankTxnId` becomes.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BankTxnId {
    /// An empty text.
    Empty,
    /// `null`, signed as an empty text.
    Null,
    /// `null`, signed as the four letters.
    NullSigned,
    /// Left out.
    Missing,
}

/// A fault.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum Fault {
    /// The port of this call refuses connections for as long as the rule stands; only where each call has its own port.
    Refuse,
    /// The connection breaks before anything was done.
    DropBefore,
    /// The connection breaks when everything was done.
    DropAfter,
    /// The answer comes late.
    Delay {
        /// By so many real milliseconds.
        ms: u64,
        /// The work is done at the end of the delay too, not before it.
        #[serde(default)]
        work_late: bool,
    },
    /// A bare HTTP status.
    Http {
        /// The status.
        status: u16,
        /// Seconds of `Retry-After`.
        retry_after: Option<u32>,
    },
    /// An empty body.
    Empty,
    /// A page, as a proxy or a firewall sends.
    Html {
        /// With this status.
        status: u16,
    },
    /// Half of the ciphertext.
    TruncatedHex,
    /// One digit too few.
    OddHex,
    /// The ciphertext in lower case.
    LowerHex,
    /// `encData` before `merchId`.
    Reversed,
    /// `encData` twice.
    TwoEncData,
    /// Encrypted with a key that nobody has.
    WrongKey,
    /// Encrypted and signed with the keys before the present ones.
    OldKey,
    /// The error object without encryption.
    PlainError {
        /// With this HTTP status.
        status: u16,
        /// And this code.
        code: String,
    },
    /// Another code than the true one; nothing is done.
    Code {
        /// The code.
        code: String,
        /// Its message.
        #[serde(default = "failed_word")]
        message: String,
    },
    /// One digit of the signature is wrong.
    BadSignature,
    /// `signature: null`.
    NullSignature,
    /// The signature in upper case.
    UpperSignature,
    /// Another total, and the right signature for it.
    TotalChanged,
    /// Another amount and surcharge with the same total, which no signature covers.
    AmountChanged,
    /// Another currency.
    CurrencyChanged,
    /// Another merchant's number, and the right signature for it.
    OtherMerchant,
    /// Something is wrong with `bankTxnId`.
    BankTxnId {
        /// What.
        form: BankTxnId,
    },
    /// `subChannel` as a text instead of an array.
    SubChannelText,
    /// Numbers as texts.
    NumbersAsText,
    /// The message is never sent.
    Lost,
    /// The message comes again.
    Duplicated {
        /// So many times more.
        copies: u32,
    },
    /// The message comes late, on the simulator's clock.
    Delayed {
        /// By so many milliseconds.
        ms: i64,
    },
    /// The message says that a payment failed which succeeded, after it said that it succeeded.
    FailedAfterSuccess,
    /// The message says first that the payment failed, then that it succeeded.
    SuccessAfterFailed,
    /// One more message, about an order that nobody knows.
    UnknownOrder,
    /// A word of the mobile kits in the place of the ciphertext.
    Word {
        /// Such as `cancelTransaction`.
        word: String,
    },
    /// The customer has paid, and the callback has come, before the token is answered.
    BeforeAuthAnswer,
    /// Two captures under one number.
    DoubleCapture,
    /// The status does not show the payment yet.
    StatusLag {
        /// For so many milliseconds of the simulator's clock.
        ms: i64,
    },
    /// Atom takes the payment back by itself on the second day.
    AutoReverse,
    /// An accepted refund fails later.
    RefundFails,
    /// Of several lines every second one is refused.
    MixedLines,
    /// Refunds are listed with 100 times their amount.
    AmountTimes100,
}

fn failed_word() -> String {
    "FAILED".to_owned()
}

impl Fault {
    /// Its name, as rules spell it.
    #[must_use]
    pub fn name(&self) -> String {
        let value = serde_json::to_value(self).unwrap_or_default();
        value["fault"].as_str().unwrap_or_default().to_owned()
    }

    /// Where it can happen.
    #[must_use]
    pub fn places(&self) -> &'static [Place] {
        match self {
            Fault::Refuse
            | Fault::DropBefore
            | Fault::DropAfter
            | Fault::Delay { .. }
            | Fault::Http { .. }
            | Fault::Empty
            | Fault::Html { .. }
            | Fault::Reversed
            | Fault::TwoEncData
            | Fault::PlainError { .. }
            | Fault::Code { .. } => CALLS,
            Fault::TruncatedHex
            | Fault::OddHex
            | Fault::LowerHex
            | Fault::WrongKey
            | Fault::OldKey => &[
                Place::Auth,
                Place::Status,
                Place::Refund,
                Place::RefundStatus,
                Place::Callback,
                Place::Return,
            ],
            Fault::BadSignature
            | Fault::NullSignature
            | Fault::UpperSignature
            | Fault::TotalChanged
            | Fault::AmountChanged
            | Fault::CurrencyChanged
            | Fault::OtherMerchant
            | Fault::BankTxnId { .. }
            | Fault::SubChannelText
            | Fault::NumbersAsText
            | Fault::Word { .. } => MESSAGES,
            Fault::Lost
            | Fault::Duplicated { .. }
            | Fault::Delayed { .. }
            | Fault::FailedAfterSuccess
            | Fault::SuccessAfterFailed
            | Fault::UnknownOrder => CALLBACK,
            Fault::BeforeAuthAnswer => &[Place::Auth],
            Fault::DoubleCapture | Fault::AutoReverse => PAY,
            Fault::StatusLag { .. } => STATUS,
            Fault::RefundFails | Fault::MixedLines => &[Place::Refund],
            Fault::AmountTimes100 => &[Place::RefundStatus],
        }
    }
}

/// A rule: a fault and when it happens. Conditions that are left out do not restrict.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Rule {
    /// Where.
    #[serde(default, rename = "api")]
    pub place: Place,
    /// What.
    #[serde(flatten)]
    pub fault: Fault,
    /// The share of matching calls, 0 to 1.
    pub probability: Option<f64>,
    /// Only the nth matching call, counted from 1.
    pub nth: Option<u64>,
    /// So many times at most.
    pub times: Option<u64>,
    /// The `merchTxnId`, with `*` for any characters.
    pub merch_txn_id: Option<String>,
}

/// A rule that makes no sense.
#[derive(Debug, Error, PartialEq)]
pub enum RuleError {
    /// The fault cannot happen there.
    #[error("the fault cannot happen at `{place}`; it can at {possible}")]
    Place {
        /// The rule's place.
        place: String,
        /// Where it can.
        possible: String,
    },
    /// A share beyond 0 to 1.
    #[error("probability {0} is not between 0 and 1")]
    Probability(f64),
    /// A connection is refused before anything is known about the call.
    #[error(
        "`refuse` takes an api and no conditions: a connection is refused before its call is known"
    )]
    Refuse,
}

impl Rule {
    fn check(&self) -> Result<(), RuleError> {
        let places = self.fault.places();
        if self.place != Place::Any && !places.contains(&self.place) {
            return Err(RuleError::Place {
                place: word(self.place),
                possible: places
                    .iter()
                    .map(|place| word(*place))
                    .collect::<Vec<_>>()
                    .join(", "),
            });
        }
        if let Some(share) = self
            .probability
            .filter(|share| !(0.0..=1.0).contains(share))
        {
            return Err(RuleError::Probability(share));
        }
        let conditions = self.probability.is_some()
            || self.nth.is_some()
            || self.times.is_some()
            || self.merch_txn_id.is_some();
        if self.fault == Fault::Refuse && (conditions || self.place == Place::Any) {
            return Err(RuleError::Refuse);
        }
        Ok(())
    }

    fn covers(&self, place: Place, merch_txn_id: &str) -> bool {
        let here = self.place == place || self.place == Place::Any;
        here && self.fault.places().contains(&place)
            && self
                .merch_txn_id
                .as_deref()
                .is_none_or(|pattern| matches(pattern, merch_txn_id))
    }
}

/// The name of a place as rules spell it.
#[must_use]
pub fn word(place: Place) -> String {
    let value = serde_json::to_value(place).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

/// Whether a text fits a pattern in which `*` stands for any characters.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            text.char_indices()
                .map(|(at, _)| &text[at..])
                .chain([""])
                .any(|text| matches(rest, text))
        }),
    }
}

/// A rule, how many calls it has seen, and how often it struck.
#[derive(Clone, Debug, Serialize)]
pub struct Counted {
    /// The rule.
    #[serde(flatten)]
    pub rule: Rule,
    /// Calls that matched by place and pattern.
    pub seen: u64,
    /// Calls that it struck.
    pub struck: u64,
}

/// All rules, and their counts.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    seed: u64,
    rules: Vec<Counted>,
}

impl Faults {
    /// No rules.
    #[must_use]
    pub fn new(seed: u64) -> Faults {
        Faults {
            seed,
            rules: Vec::new(),
        }
    }

    /// Adds a rule.
    ///
    /// # Errors
    /// It makes no sense.
    pub fn add(&mut self, rule: Rule) -> Result<(), RuleError> {
        rule.check()?;
        self.rules.push(Counted {
            rule,
            seen: 0,
            struck: 0,
        });
        Ok(())
    }

    /// Forgets all rules.
    pub fn clear(&mut self) {
        self.rules.clear();
    }

    /// The rules with their counts.
    #[must_use]
    pub fn rules(&self) -> &[Counted] {
        &self.rules
    }

    /// Whether connections for this call are refused now.
    #[must_use]
    pub fn refuses(&self, place: Place) -> bool {
        let refuses =
            |counted: &Counted| counted.rule.fault == Fault::Refuse && counted.rule.place == place;
        self.rules.iter().any(refuses)
    }

    /// What strikes this call; the call is counted.
    pub fn strike(&mut self, place: Place, merch_txn_id: &str) -> Vec<Fault> {
        let mut struck = Vec::new();
        for (number, counted) in self.rules.iter_mut().enumerate() {
            if !counted.rule.covers(place, merch_txn_id) || counted.rule.fault == Fault::Refuse {
                continue;
            }
            counted.seen += 1;
            let rule = &counted.rule;
            let turn = rule.nth.is_none_or(|nth| nth == counted.seen);
            let left = rule.times.is_none_or(|times| counted.struck < times);
            let lot = draw(&[self.seed, number as u64, counted.seen]);
            if turn && left && rule.probability.is_none_or(|share| lot < share) {
                counted.struck += 1;
                struck.push(rule.fault.clone());
            }
        }
        struck
    }
}

/// A number from 0 up to 1 that depends on these numbers and nothing else.
#[must_use]
pub fn draw(from: &[u64]) -> f64 {
    // SplitMix64 over the numbers in turn.
    let mixed = from
        .iter()
        .fold(0x9e37_79b9_7f4a_7c15_u64, |state, number| {
            let mut mixed = (state ^ number).wrapping_add(0x9e37_79b9_7f4a_7c15);
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        });
    (mixed >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(json: &str) -> Rule {
        serde_json::from_str(json).expect("a rule")
    }

    /// A rule strikes at its place, on its turn, for its payments, as often as it may, and nowhere else.
    #[test]
    fn conditions_restrict() {
        let mut faults = Faults::new(1);
        let nth = rule(r#"{"api":"refund","fault":"drop_after","nth":2,"merch_txn_id":"G*7"}"#);
        faults.add(nth).expect("it makes sense");
        faults
            .add(rule(r#"{"api":"auth","fault":"empty","times":1}"#))
            .expect("it makes sense");
        assert!(faults.strike(Place::Refund, "G17").is_empty(), "the first");
        assert!(
            faults.strike(Place::Refund, "G18").is_empty(),
            "another payment"
        );
        assert!(
            faults.strike(Place::Status, "G17").is_empty(),
            "another call"
        );
        assert_eq!(faults.strike(Place::Refund, "G27"), [Fault::DropAfter]);
        assert!(faults.strike(Place::Refund, "G17").is_empty(), "the third");
        assert_eq!(faults.strike(Place::Auth, "G1"), [Fault::Empty]);
        assert!(faults.strike(Place::Auth, "G1").is_empty(), "only once");
    }

    /// With the same seed the same calls are struck whatever happens in between; the share is about what was asked for.
    #[test]
    fn a_share_is_drawn_by_seed() {
        let run = |seed, between: bool| {
            let mut faults = Faults::new(seed);
            faults
                .add(rule(
                    r#"{"api":"status","fault":"empty","probability":0.25}"#,
                ))
                .expect("it makes sense");
            let mut struck = Vec::new();
            for call in 0..1000 {
                if between {
                    faults.strike(Place::Auth, "G");
                }
                if !faults.strike(Place::Status, "G").is_empty() {
                    struck.push(call);
                }
            }
            struck
        };
        assert_eq!(run(7, false), run(7, true));
        assert_ne!(run(7, false), run(8, false));
        assert!((200..300).contains(&run(7, false).len()));
    }

    /// A rule that makes no sense is refused, and told where it would.
    #[test]
    fn nonsense_is_refused() {
        let mut faults = Faults::new(1);
        let refused = faults.add(rule(r#"{"api":"auth","fault":"mixed_lines"}"#));
        let text = refused.expect_err("no lines there").to_string();
        assert!(text.contains("`auth`") && text.contains("refund"), "{text}");
        let refused = faults.add(rule(r#"{"fault":"empty","probability":1.5}"#));
        assert_eq!(refused, Err(RuleError::Probability(1.5)));
        let refused = faults.add(rule(r#"{"api":"auth","fault":"refuse","nth":1}"#));
        assert_eq!(refused, Err(RuleError::Refuse));
    }

    /// A star stands for any characters, none included.
    #[test]
    fn patterns() {
        assert!(matches("G*", "G1") && matches("G*", "G") && matches("*", ""));
        assert!(matches("*7*", "G175") && !matches("*7*", "G15"));
        assert!(!matches("G1", "G12") && matches("G*2", "G2") && !matches("G*2", "G3"));
    }
}
