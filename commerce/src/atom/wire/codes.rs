//! The code tables (`spec/atom.md` 12) as data, and how a message is read by them.
//!
//! A code describes either the payment or our request, and only the first kind may change a payment. A code that is in
//! no table is read as [`Class::Unknown`]: the payment stays pending, a query follows, somebody is told.

use std::fmt;

/// What a callback or a status answer means for the payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Paid.
    Success,
    /// Not decided yet.
    Pending,
    /// Not paid.
    Failed,
    /// Paid, and given back by Atom of its own accord. Believed from a status answer only.
    Reversed,
    /// Atom does not know the attempt (yet).
    NoData,
    /// Says nothing by itself: a status query decides.
    AskStatus,
    /// Contradicts itself, or the bank contradicts Atom: a person decides.
    Hold,
    /// About our request, not about the payment: nothing changes.
    RequestError,
    /// In no table: stays pending, and is asked for.
    Unknown,
}

/// Who should hear of a code, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Alert {
    /// More than one in a hundred of these is too many.
    Rate,
    /// The merchant's set-up at Atom (surcharge) does not fit.
    MerchantSetup,
    /// An amount is not what it should be: an error of ours, the bank's, or tampering.
    Amount,
    /// Our limits and Atom's differ.
    Limits,
    /// Our keys do not fit.
    Keys,
    /// A request of ours was wrong or incomplete.
    Request,
    /// Our clock, or its conversion to Indian time, is wrong.
    ClockOrDate,
    /// Merchant number, password, signature or API name are not accepted.
    Configuration,
    /// A code without an entry in the tables.
    UnknownCode,
    /// Code and message contradict each other.
    Contradiction,
}

impl Alert {
    /// Those that a code of a failed payment can have (`spec/atom.md` 12.2).
    pub const OF_FAILURES: [Alert; 5] = [
        Alert::Rate,
        Alert::MerchantSetup,
        Alert::Amount,
        Alert::Limits,
        Alert::Keys,
    ];

    /// The name in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Alert::Rate => "rate",
            Alert::MerchantSetup => "merchant_setup",
            Alert::Amount => "amount",
            Alert::Limits => "limits",
            Alert::Keys => "keys",
            Alert::Request => "request",
            Alert::ClockOrDate => "clock_or_date",
            Alert::Configuration => "configuration",
            Alert::UnknownCode => "unknown_code",
            Alert::Contradiction => "contradiction",
        }
    }
}

/// How a message was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reading {
    /// What it means for the payment.
    pub class: Class,
    /// Who should hear of it.
    pub alert: Option<Alert>,
    /// Whether the customer can reasonably try again.
    pub may_retry: bool,
}

impl Reading {
    /// A reading that alerts nobody.
    pub const fn quiet(class: Class) -> Reading {
        Reading {
            class,
            alert: None,
            may_retry: false,
        }
    }

    /// A reading that somebody should hear of.
    pub const fn loud(class: Class, alert: Alert) -> Reading {
        Reading {
            class,
            alert: Some(alert),
            may_retry: false,
        }
    }

    const fn again(class: Class) -> Reading {
        Reading {
            class,
            alert: None,
            may_retry: true,
        }
    }
}

/// The code of every kind of success.
pub const SUCCESS: &str = "OTS0000";

/// A success that was forced; an older list gives the code another meaning, so it needs more witnesses.
pub const FORCED_SUCCESS: &str = "OTS0002";

/// Atom's own failure: the fate of the call is unknown.
pub const INTERNAL: &str = "OTS0951";

/// A word that one public kit shows where a code belongs.
pub const CANCELLED_WORD: &str = "CANCELLED";

const FAILED: Reading = Reading::quiet(Class::Failed);
const FAILED_AGAIN: Reading = Reading::again(Class::Failed);
const FAILED_PAGE: Reading = Reading::loud(Class::Failed, Alert::Rate);
const FAILED_SETUP: Reading = Reading::loud(Class::Failed, Alert::MerchantSetup);
const FAILED_AMOUNT: Reading = Reading::loud(Class::Failed, Alert::Amount);
const FAILED_LIMITS: Reading = Reading::loud(Class::Failed, Alert::Limits);
const FAILED_KEYS: Reading = Reading::loud(Class::Failed, Alert::Keys);
const ASK: Reading = Reading::quiet(Class::AskStatus);
const HOLD_AMOUNT: Reading = Reading::loud(Class::Hold, Alert::Amount);
const PENDING: Reading = Reading::quiet(Class::Pending);
const REQUEST: Reading = Reading::loud(Class::RequestError, Alert::Request);
const REQUEST_DATE: Reading = Reading::loud(Class::RequestError, Alert::ClockOrDate);
const REQUEST_CONFIG: Reading = Reading::loud(Class::RequestError, Alert::Configuration);

/// Codes of the payment stage (12.2). What is not here is looked up in [`STATUS_CODES`].
pub const PAYMENT_CODES: &[(&str, Reading)] = &[
    ("OTS0601", FAILED_PAGE),
    ("OTS0602", FAILED_SETUP),
    ("OTS0603", FAILED_AGAIN),
    ("OTS0604", FAILED_AGAIN),
    ("OTS0605", FAILED_AGAIN),
    ("OTS0606", FAILED_AGAIN),
    ("OTS0607", FAILED_AGAIN),
    ("OTS0608", FAILED_PAGE),
    ("OTS0609", FAILED_AGAIN),
    ("OTS0610", FAILED_AGAIN),
    ("OTS0611", FAILED_AGAIN),
    ("OTS0612", FAILED_SETUP),
    ("OTS0613", ASK),
    ("OTS0614", HOLD_AMOUNT),
    ("OTS0615", FAILED_AGAIN),
    ("OTS0616", FAILED_AGAIN),
    ("OTS0617", FAILED_PAGE),
    ("OTS0618", FAILED_AMOUNT),
    ("OTS0619", FAILED_AGAIN),
    ("OTS0620", FAILED_AGAIN),
    ("OTS0621", FAILED_LIMITS),
    ("OTS0622", FAILED_AGAIN),
    ("OTS0623", FAILED_SETUP),
    ("OTS0624", ASK),
    ("OTS0625", HOLD_AMOUNT),
    ("OTS0626", FAILED_AMOUNT),
    ("OTS0627", FAILED_PAGE),
    ("OTS0628", FAILED_PAGE),
    ("OTS0629", FAILED_SETUP),
    ("OTS0630", FAILED_AGAIN),
    ("OTS0631", FAILED_AGAIN),
    ("OTS0632", FAILED_AGAIN),
    ("OTS0633", FAILED_AGAIN),
    ("OTS0634", FAILED_AGAIN),
    ("OTS0635", FAILED_PAGE),
    ("OTS0636", FAILED),
    ("OTS0637", FAILED_KEYS),
    ("OTS0638", REQUEST),
    ("OTS0639", REQUEST_DATE),
    ("OTS0640", REQUEST_DATE),
    ("OTS0641", REQUEST),
];

/// Codes of a status answer (12.3). The two successes have rules of their own, see [`read_status`].
pub const STATUS_CODES: &[(&str, Reading)] = &[
    ("OTS0001", Reading::quiet(Class::Reversed)),
    ("OTS0101", FAILED),
    ("OTS0201", PENDING),
    ("OTS0301", PENDING),
    ("OTS0351", PENDING),
    ("OTS0401", Reading::quiet(Class::NoData)),
    ("OTS0451", REQUEST_CONFIG),
    ("OTS0501", REQUEST_CONFIG),
    ("OTS0503", REQUEST_CONFIG),
    ("OTS0504", REQUEST_CONFIG),
    ("OTS0506", REQUEST_CONFIG),
    ("OTS0507", REQUEST_CONFIG),
    ("OTS0508", REQUEST_CONFIG),
    ("OTS0509", REQUEST_CONFIG),
    ("OTS0510", REQUEST_CONFIG),
    ("OTS0522", REQUEST_CONFIG),
    ("OTS0551", PENDING),
    ("OTS0600", FAILED),
    ("OTS0951", Reading::quiet(Class::RequestError)),
];

/// Words for the operator about refund refusals, from an early dictionary that was replaced: hints, no rules (12.4).
pub const REFUND_HINTS: &[(&str, &str)] = &[
    ("OTS0404", "perhaps: the payment was not found"),
    ("OTS0405", "perhaps: the amount exceeds the payment"),
    ("OTS0406", "perhaps: partial refunds are not allowed"),
    ("OTS0407", "perhaps: the refund window is over"),
    ("OTS0408", "perhaps: the refund was already made"),
    ("OTS0601", "perhaps: the refund was refused as a duplicate"),
];

/// A hint for the operator about a refused refund, if there is one.
pub fn refund_hint(code: &str) -> Option<&'static str> {
    find(REFUND_HINTS, code)
}

/// Reads the code and the message of a callback. A reversal and a cancellation by word are not believed from here.
pub fn read_callback(code: &str, message: &str) -> Reading {
    if let Some(reading) = find(PAYMENT_CODES, code) {
        return reading;
    }
    match read_status(code, message) {
        reading if matches!(reading.class, Class::Reversed | Class::NoData) => ASK,
        _ if code == CANCELLED_WORD || code == INTERNAL => ASK,
        reading => reading,
    }
}

/// Reads the code and the message of a status answer.
///
/// A forced success needs more than this: the caller also asks for an `atomTxnId` and agreeing amounts.
pub fn read_status(code: &str, message: &str) -> Reading {
    let says_success = message.trim().eq_ignore_ascii_case("SUCCESS");
    match code {
        SUCCESS if says_success => Reading::quiet(Class::Success),
        SUCCESS => Reading::loud(Class::Hold, Alert::Contradiction),
        FORCED_SUCCESS if says_success => Reading::quiet(Class::Success),
        CANCELLED_WORD => FAILED,
        _ => find(STATUS_CODES, code).unwrap_or(Reading::loud(Class::Unknown, Alert::UnknownCode)),
    }
}

/// What kind of definite no an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Atom does not accept the merchant or its password: no repeat, the configuration is to be mended.
    Merchant,
    /// Atom does not accept our signature: no repeat.
    Signature,
    /// Our request was wrong in another way: no repeat, and never a result of a payment or of a refund.
    Request,
    /// The token could not be made; one try with a new `merchTxnId` may succeed.
    NewIdMayPass,
    /// A refusal of the business itself.
    Business,
}

impl Refusal {
    /// The name in metrics, in logs and in the answer to the merchant.
    pub fn name(self) -> &'static str {
        match self {
            Refusal::Merchant => "merchant",
            Refusal::Signature => "signature",
            Refusal::Request => "request",
            Refusal::NewIdMayPass => "new_id_may_pass",
            Refusal::Business => "business",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Codes that say what kind of refusal it is, the same in every call.
pub const REFUSALS: &[(&str, Refusal)] = &[
    ("OTS0451", Refusal::Merchant),
    ("OTS0501", Refusal::Request),
    ("OTS0503", Refusal::Request),
    ("OTS0504", Refusal::Request),
    ("OTS0506", Refusal::Signature),
    ("OTS0507", Refusal::Request),
    ("OTS0508", Refusal::Request),
    ("OTS0509", Refusal::Request),
    ("OTS0510", Refusal::Request),
    ("OTS0522", Refusal::Merchant),
];

/// Codes with which AUTH refuses what it was sent (12.1 and the request errors of 12.2).
pub const AUTH_REFUSALS: &[(&str, Refusal)] = &[
    ("OTS0626", Refusal::Request),
    ("OTS0637", Refusal::Request),
    ("OTS0638", Refusal::Request),
    ("OTS0639", Refusal::Request),
    ("OTS0640", Refusal::Request),
    ("OTS0641", Refusal::Request),
];

/// What kind of refusal a code of AUTH is. OTS0600 has three texts, and the one about validation is our fault.
pub fn refuse_auth(code: &str, texts: [&str; 2]) -> Refusal {
    if code == "OTS0600" {
        let validation = texts
            .iter()
            .any(|text| text.to_ascii_lowercase().contains("validation"));
        return if validation {
            Refusal::Request
        } else {
            Refusal::NewIdMayPass
        };
    }
    find(AUTH_REFUSALS, code).unwrap_or_else(|| refuse(code))
}

/// What kind of refusal a code of status, refund or refund status is.
pub fn refuse(code: &str) -> Refusal {
    find(REFUSALS, code).unwrap_or(Refusal::Business)
}

fn find<T: Copy>(table: &[(&str, T)], code: &str) -> Option<T> {
    let row = table.iter().find(|(known, _)| *known == code);
    row.map(|(_, value)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every alert of a code by which a payment fails has its counter.
    #[test]
    fn failures_are_counted() {
        let tables = PAYMENT_CODES.iter().chain(STATUS_CODES);
        for (code, reading) in tables.filter(|(_, reading)| reading.class == Class::Failed) {
            let counted = reading
                .alert
                .is_none_or(|alert| Alert::OF_FAILURES.contains(&alert));
            assert!(counted, "{code}");
        }
    }

    /// The tables are ordered and have no code twice, so a second entry cannot hide.
    #[test]
    fn the_tables_are_ordered() {
        let ordered = |codes: Vec<&str>| codes.windows(2).all(|pair| pair[0] < pair[1]);
        assert!(ordered(PAYMENT_CODES.iter().map(|row| row.0).collect()));
        assert!(ordered(STATUS_CODES.iter().map(|row| row.0).collect()));
        assert!(ordered(REFUSALS.iter().map(|row| row.0).collect()));
        assert!(ordered(AUTH_REFUSALS.iter().map(|row| row.0).collect()));
    }

    /// The payment stage has an entry for each code from 0601 to 0641, without a gap.
    #[test]
    fn the_payment_stage_is_complete() {
        let expected = (601..=641).map(|n| format!("OTS{n:04}"));
        assert!(expected.eq(PAYMENT_CODES.iter().map(|row| row.0)));
    }

    /// What 12.2 wants of the codes that are not plain failures.
    #[test]
    fn what_is_not_a_plain_failure() {
        for code in ["OTS0613", "OTS0624"] {
            assert_eq!(read_callback(code, "FAILED").class, Class::AskStatus);
        }
        for code in ["OTS0614", "OTS0625"] {
            assert_eq!(read_callback(code, "FAILED"), HOLD_AMOUNT);
        }
        for code in ["OTS0638", "OTS0639", "OTS0640", "OTS0641"] {
            assert_eq!(read_callback(code, "FAILED").class, Class::RequestError);
        }
    }

    /// A success needs its message as second witness; a reversal is believed from a status answer alone.
    #[test]
    fn success_and_reversal() {
        assert_eq!(read_callback(SUCCESS, "SUCCESS").class, Class::Success);
        assert_eq!(read_callback(SUCCESS, "FAILED").class, Class::Hold);
        assert_eq!(read_status(SUCCESS, "").class, Class::Hold);
        assert_eq!(read_status(FORCED_SUCCESS, "success").class, Class::Success);
        assert_eq!(read_status(FORCED_SUCCESS, "FAILED").class, Class::Unknown);
        assert_eq!(read_status("OTS0001", "").class, Class::Reversed);
        assert_eq!(read_callback("OTS0001", "").class, Class::AskStatus);
        assert_eq!(read_callback("OTS0401", "").class, Class::AskStatus);
        assert_eq!(read_status(CANCELLED_WORD, "").class, Class::Failed);
        assert_eq!(read_callback(CANCELLED_WORD, "").class, Class::AskStatus);
    }

    /// A request error never changes a payment, and an unknown code is pending with an alert.
    #[test]
    fn request_errors_and_unknown_codes() {
        for (code, _) in REFUSALS {
            assert_eq!(read_status(code, "FAILED").class, Class::RequestError);
            assert_eq!(read_callback(code, "FAILED").class, Class::RequestError);
        }
        for code in ["", "OTS9999", "ots0000", "0000"] {
            let reading = read_callback(code, "SUCCESS");
            assert_eq!(
                (reading.class, reading.alert),
                (Class::Unknown, Some(Alert::UnknownCode))
            );
        }
    }

    /// OTS0600 of AUTH is told apart by its text.
    #[test]
    fn the_three_texts_of_auth() {
        assert_eq!(
            refuse_auth("OTS0600", ["FAILED", "VALIDATION FAILED"]),
            Refusal::Request
        );
        assert_eq!(
            refuse_auth("OTS0600", ["Token generation failed", ""]),
            Refusal::NewIdMayPass
        );
        assert_eq!(
            refuse_auth("OTS0600", ["FAILED", "SERVICE FAILED"]),
            Refusal::NewIdMayPass
        );
        assert_eq!(refuse_auth("OTS0451", ["", ""]), Refusal::Merchant);
        assert_eq!(refuse_auth("OTS0639", ["", ""]), Refusal::Request);
        assert_eq!(refuse_auth("OTS1234", ["", ""]), Refusal::Business);
        assert_eq!(refuse("OTS0506"), Refusal::Signature);
        assert!(refund_hint("OTS0408").is_some() && refund_hint("OTS0000").is_none());
    }
}
