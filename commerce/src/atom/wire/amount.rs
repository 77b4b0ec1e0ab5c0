//! Amounts as text (`spec/atom.md` 6).
//!
//! Inside, an amount is an `i64` of minor units (paise). On the wire it is a JSON number in rupees, and a signature
//! covers the very characters of that number. So there is one function that makes the characters, the message and the
//! signature both use its result, and no amount ever passes through a binary float.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Minor units in one unit of the currency: INR has two decimals.
pub const MINOR_PER_MAJOR: i64 = 100;

/// Digits before the point that AUTH takes.
pub const AUTH_INTEGER_DIGITS_MAX: usize = 10;

/// Digits before the point that status and refund take, and that we accept from outside.
pub const INTEGER_DIGITS_MAX: usize = 12;

/// How an amount is printed in status and refund requests (`amount_style`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AmountStyle {
    /// Always two decimals: `5.00`.
    #[default]
    Fixed2,
    /// No decimals that say nothing: `5`, `25.5`.
    Minimal,
}

/// How the amount stands in AUTH (`auth_amount_style`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthAmountStyle {
    /// As a text in quotes, as the official kits do.
    #[default]
    String,
    /// As a JSON number, as the reference page shows.
    Number,
}

/// Why a text from outside is not an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AmountError {
    /// A sign, a blank, a letter, an empty part.
    #[error("the amount is not written in plain digits")]
    NotDigits,
    /// The exponent form, which the scheme has no rule for.
    #[error("the amount is in exponent form")]
    Exponent,
    /// More than [`INTEGER_DIGITS_MAX`] digits before the point.
    #[error("the amount has more than {INTEGER_DIGITS_MAX} digits before the point")]
    TooLong,
    /// A third decimal that is not zero.
    #[error("the amount has more than two significant decimals")]
    TooFine,
}

/// The characters of an amount, the same for the JSON literal and for the signature.
///
/// `minor` must not be negative: no message of the interface carries a negative amount.
pub fn text(minor: i64, style: AmountStyle) -> String {
    assert!(minor >= 0, "an amount of {minor} has no wire form");
    let (whole, part) = (minor / MINOR_PER_MAJOR, minor % MINOR_PER_MAJOR);
    match style {
        AmountStyle::Minimal if part == 0 => format!("{whole}"),
        AmountStyle::Minimal if part % 10 == 0 => format!("{whole}.{}", part / 10),
        _ => format!("{whole}.{part:02}"),
    }
}

/// Whether the amount has at most `digits_max` digits before the point.
pub fn fits(minor: i64, digits_max: usize) -> bool {
    minor >= 0 && digits(minor / MINOR_PER_MAJOR) <= digits_max
}

/// Reads the literal text of an amount that came in, without a float between. Units: rupees in, paise out.
pub fn parse(literal: &str) -> Result<i64, AmountError> {
    if literal.bytes().any(|b| b == b'e' || b == b'E') {
        return Err(AmountError::Exponent);
    }
    let (whole, part) = match literal.split_once('.') {
        Some((_, "")) => return Err(AmountError::NotDigits),
        Some(parts) => parts,
        None => (literal, ""),
    };
    let plain = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !plain(whole) || !plain(part) {
        return Err(AmountError::NotDigits);
    }
    if whole.len() > INTEGER_DIGITS_MAX {
        return Err(AmountError::TooLong);
    }
    if part.bytes().skip(2).any(|b| b != b'0') {
        return Err(AmountError::TooFine);
    }
    let digit = |at: usize| part.as_bytes().get(at).map_or(0, |b| i64::from(b - b'0'));
    let whole = whole
        .bytes()
        .fold(0i64, |sum, b| sum * 10 + i64::from(b - b'0'));
    Ok(whole * MINOR_PER_MAJOR + digit(0) * 10 + digit(1))
}

fn digits(whole: i64) -> usize {
    whole.checked_ilog10().unwrap_or(0) as usize + 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Both styles print what section 6 of the specification prints.
    #[test]
    fn the_two_styles() {
        let table = [
            (0, "0.00", "0"),
            (5, "0.05", "0.05"),
            (50, "0.50", "0.5"),
            (500, "5.00", "5"),
            (2_550, "25.50", "25.5"),
            (10_000, "100.00", "100"),
            (99_999_999_999_999, "999999999999.99", "999999999999.99"),
        ];
        for (minor, fixed, minimal) in table {
            assert_eq!(text(minor, AmountStyle::Fixed2), fixed);
            assert_eq!(text(minor, AmountStyle::Minimal), minimal);
        }
    }

    /// Each way in which a literal from outside can be wrong has its own name.
    #[test]
    fn what_is_refused() {
        for bad in [
            "", ".", "5.", ".5", "-1", "+1", " 1", "1 ", "1,0", "0x1", "1.2.3", "NaN", "١",
        ] {
            assert_eq!(parse(bad), Err(AmountError::NotDigits), "{bad:?}");
        }
        assert_eq!(parse("1e2"), Err(AmountError::Exponent));
        assert_eq!(parse("1E-2"), Err(AmountError::Exponent));
        assert_eq!(parse("1000000000000"), Err(AmountError::TooLong));
        assert_eq!(parse("1.001"), Err(AmountError::TooFine));
        assert_eq!(parse("1.000"), Ok(100));
        assert_eq!(parse("999999999999.99"), Ok(99_999_999_999_999));
    }

    /// The digits before the point are counted at the limits of AUTH.
    #[test]
    fn the_limits_of_auth() {
        assert!(fits(999_999_999_999, AUTH_INTEGER_DIGITS_MAX));
        assert!(!fits(1_000_000_000_000, AUTH_INTEGER_DIGITS_MAX));
        assert!(fits(0, 1) && !fits(-1, 12));
    }

    proptest! {
        /// What we print, we read back as the same amount, in either style.
        #[test]
        fn printed_and_read_back(minor in 0i64..=99_999_999_999_999) {
            prop_assert_eq!(parse(&text(minor, AmountStyle::Fixed2)), Ok(minor));
            prop_assert_eq!(parse(&text(minor, AmountStyle::Minimal)), Ok(minor));
        }

        /// No text makes the reader panic.
        #[test]
        fn any_text_is_survived(s in ".{0,40}") {
            let _ = parse(&s);
        }
    }
}
