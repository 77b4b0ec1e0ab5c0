//! Money and time as people write them, and money as people type it.
//!
//! The books hold whole minor units and milliseconds; a page shows `₹1,23,456.78` and `15 Jan 2025, 10:30:41 IST`. Nothing here
//! rounds and nothing passes through a float: an amount that does not fit the currency is an error with words for the form.

use thiserror::Error;
use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::{format_description, offset};
use time::{OffsetDateTime, UtcOffset};

/// The largest amount a form accepts, in minor units: ten digits before the point, as Atom allows.
pub const FORM_AMOUNT_MINOR_MAX: i64 = 999_999_999_999;

/// How a currency is written.
struct Currency {
    code: &'static str,
    sign: &'static str,
    decimals: usize,
    /// Digits of each group but the last, which always has three.
    group: usize,
}

const CURRENCIES: &[Currency] = &[
    Currency {
        code: "INR",
        sign: "₹",
        decimals: 2,
        group: 2,
    },
    Currency {
        code: "JPY",
        sign: "¥",
        decimals: 0,
        group: 3,
    },
];

fn currency(code: &str) -> Option<&'static Currency> {
    CURRENCIES.iter().find(|c| c.code == code)
}

/// Minor units as money: `₹1,23,456.78`, `¥12,345`; a currency without an entry is written `USD 12.34`.
#[must_use]
pub fn money(minor: i64, code: &str) -> String {
    let (sign, decimals, group) = match currency(code) {
        Some(c) => (c.sign.to_owned(), c.decimals, c.group),
        None => (format!("{code} "), 2, 3),
    };
    let minus = if minor < 0 { "−" } else { "" };
    let (whole, part) = split(minor.unsigned_abs(), decimals);
    let whole = grouped(&whole, group);
    if decimals == 0 {
        format!("{minus}{sign}{whole}")
    } else {
        format!("{minus}{sign}{whole}.{part}")
    }
}

/// Minor units as the value of a number field: `1234.50`, without sign and groups.
#[must_use]
pub fn money_field(minor: i64, code: &str) -> String {
    let decimals = currency(code).map_or(2, |c| c.decimals);
    let (whole, part) = split(minor.unsigned_abs(), decimals);
    if decimals == 0 {
        whole
    } else {
        format!("{whole}.{part}")
    }
}

fn split(minor: u64, decimals: usize) -> (String, String) {
    let digits = format!("{minor:0>width$}", width = decimals + 1);
    let (whole, part) = digits.split_at(digits.len() - decimals);
    (whole.to_owned(), part.to_owned())
}

fn grouped(whole: &str, group: usize) -> String {
    let tail = whole.len().saturating_sub(3);
    let mut out = String::with_capacity(whole.len() + whole.len() / 2);
    for (at, digit) in whole.chars().enumerate() {
        let to_tail = tail.saturating_sub(at);
        if at > 0 && (at == tail || (at < tail && to_tail % group == 0)) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Why typed text is no amount. The words go beside the field.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum MoneyError {
    /// Nothing was typed.
    #[error("Enter an amount, for example 25.50.")]
    Empty,
    /// Something else than digits, separators and one point.
    #[error("Write the amount in digits, for example 25.50.")]
    NotANumber,
    /// More digits behind the point than the currency has.
    #[error("This currency has {0} digits after the point.")]
    TooManyDecimals(usize),
    /// Zero.
    #[error("The amount must be more than zero.")]
    Zero,
    /// Above [`FORM_AMOUNT_MINOR_MAX`].
    #[error("The amount is too large.")]
    TooLarge,
}

/// Typed text to minor units. Group commas, spaces and the currency's sign are ignored.
///
/// # Errors
/// The text is no amount of that currency above zero.
pub fn parse_money(text: &str, code: &str) -> Result<i64, MoneyError> {
    let (sign, decimals) = currency(code).map_or(("", 2), |c| (c.sign, c.decimals));
    let text = text.trim();
    let text = text.strip_prefix(sign).unwrap_or(text);
    let plain: String = text.chars().filter(|c| !matches!(c, ',' | ' ')).collect();
    if plain.is_empty() {
        return Err(MoneyError::Empty);
    }
    let (whole, part) = plain.split_once('.').unwrap_or((&plain, ""));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(part) {
        return Err(MoneyError::NotANumber);
    }
    if part.len() > decimals {
        return Err(MoneyError::TooManyDecimals(decimals));
    }
    let minor: i64 = format!("{whole}{part:0<decimals$}")
        .parse()
        .map_err(|_| MoneyError::TooLarge)?;
    match minor {
        0 => Err(MoneyError::Zero),
        1..=FORM_AMOUNT_MINOR_MAX => Ok(minor),
        _ => Err(MoneyError::TooLarge),
    }
}

/// The zone in which a page tells the time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Zone {
    /// India, for orders over Atom.
    Ist,
    /// Japan, for the deferred-payment worker.
    Jst,
}

impl Zone {
    fn offset(self) -> UtcOffset {
        match self {
            Zone::Ist => offset!(+5:30),
            Zone::Jst => offset!(+9),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Zone::Ist => "IST",
            Zone::Jst => "JST",
        }
    }
}

const DAY_AND_TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[day padding:none] [month repr:short] [year], [hour]:[minute]:[second]");

/// An RFC 3339 time for reading; text that is no time comes back as it is.
#[must_use]
pub fn when(rfc3339: &str, zone: Zone) -> String {
    OffsetDateTime::parse(rfc3339, &Rfc3339)
        .map_or_else(|_| rfc3339.to_owned(), |t| spoken(t, zone))
}

/// Unix milliseconds for reading.
#[must_use]
pub fn when_ms(unix_ms: i64, zone: Zone) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_ms) * 1_000_000)
        .map_or_else(|_| unix_ms.to_string(), |t| spoken(t, zone))
}

fn spoken(t: OffsetDateTime, zone: Zone) -> String {
    t.to_offset(zone.offset())
        .format(DAY_AND_TIME)
        .map_or_else(|_| t.to_string(), |s| format!("{s} {}", zone.name()))
}

/// How long ago, in the largest unit that fits: `40 s`, `12 min`, `5 h`, `3 days`.
#[must_use]
pub fn age(ms: i64) -> String {
    let s = ms.max(0) / 1000;
    match s {
        0..=89 => format!("{s} s"),
        90..=5_399 => format!("{} min", s / 60),
        5_400..=172_799 => format!("{} h", s / 3_600),
        _ => format!("{} days", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_written_as_its_country_writes_it() {
        // Shows: Indian grouping, Japanese whole yen, the smallest amounts, and a currency nobody prepared for.
        for (minor, code, text) in [
            (0, "INR", "₹0.00"),
            (5, "INR", "₹0.05"),
            (10_000, "INR", "₹100.00"),
            (12_345_678, "INR", "₹1,23,456.78"),
            (123_456_789_012, "INR", "₹1,23,45,67,890.12"),
            (-2_550, "INR", "−₹25.50"),
            (12_345, "JPY", "¥12,345"),
            (1_234_567, "JPY", "¥1,234,567"),
            (123_456_789, "USD", "USD 1,234,567.89"),
        ] {
            assert_eq!(money(minor, code), text);
        }
    }

    #[test]
    fn what_a_field_shows_is_what_it_accepts() {
        // Shows: the text put into a field parses back to the same amount, and so does the text shown beside it.
        for minor in [
            1,
            99,
            100,
            2_550,
            10_000,
            123_456_789,
            FORM_AMOUNT_MINOR_MAX,
        ] {
            for code in ["INR", "JPY", "USD"] {
                assert_eq!(parse_money(&money_field(minor, code), code), Ok(minor));
            }
            assert_eq!(parse_money(&money(minor, "INR"), "INR"), Ok(minor));
        }
    }

    #[test]
    fn typed_nonsense_is_named() {
        // Shows: each way to mistype an amount has its own sentence, and none becomes another amount.
        for (text, error) in [
            ("", MoneyError::Empty),
            ("  ", MoneyError::Empty),
            ("abc", MoneyError::NotANumber),
            ("-5", MoneyError::NotANumber),
            (".5", MoneyError::NotANumber),
            ("1.2.3", MoneyError::NotANumber),
            ("1e3", MoneyError::NotANumber),
            ("١٢", MoneyError::NotANumber),
            ("25.505", MoneyError::TooManyDecimals(2)),
            ("0.00", MoneyError::Zero),
            ("10000000000", MoneyError::TooLarge),
            ("99999999999999999999", MoneyError::TooLarge),
        ] {
            assert_eq!(parse_money(text, "INR"), Err(error), "{text:?}");
        }
    }

    #[test]
    fn times_are_told_in_the_zone_of_the_books() {
        // Shows: the same moment in both zones, past midnight in Japan; and that text which is no time is left alone.
        assert_eq!(
            when("2025-01-15T05:00:41Z", Zone::Ist),
            "15 Jan 2025, 10:30:41 IST"
        );
        assert_eq!(
            when("2025-01-15T15:00:00Z", Zone::Jst),
            "16 Jan 2025, 00:00:00 JST"
        );
        assert_eq!(
            when_ms(1_736_917_241_000, Zone::Ist),
            "15 Jan 2025, 10:30:41 IST"
        );
        assert_eq!(when("soon", Zone::Ist), "soon");
        assert_eq!(age(40_000), "40 s");
        assert_eq!(age(12 * 60_000), "12 min");
        assert_eq!(age(5 * 3_600_000), "5 h");
        assert_eq!(age(3 * 86_400_000), "3 days");
    }
}
