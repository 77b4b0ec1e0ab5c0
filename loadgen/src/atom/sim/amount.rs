//! Amounts: paise inside, rupees with decimals on the wire, never a binary fraction (`spec/atom.md` 6).

/// Digits that an integer part may have.
const INTEGER_DIGITS_MAX: usize = 12;

/// The text with exactly two decimals.
#[must_use]
pub fn fixed2(paise: i64) -> String {
    let sign = if paise < 0 { "-" } else { "" };
    let paise = paise.unsigned_abs();
    format!("{sign}{}.{:02}", paise / 100, paise % 100)
}

/// Reads a positive amount: digits, and at most two decimals after a point. No exponent, no sign, no blanks.
#[must_use]
pub fn parse(text: &str) -> Option<i64> {
    let (integer, fraction) = match text.split_once('.') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (text, ""),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let short = integer.len() <= INTEGER_DIGITS_MAX && fraction.len() <= 2;
    if integer.is_empty() || !short || !digits(integer) || !digits(fraction) {
        return None;
    }
    let rupees: i64 = integer.parse().ok()?;
    let paise: i64 = format!("{fraction:0<2}").parse().ok()?;
    Some(rupees * 100 + paise)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written is read back, the short forms mean the same, and anything that is not plainly an amount is refused.
    #[test]
    fn texts_and_paise() {
        for paise in [0, 5, 100, 4233, 2550, 99_999_999_999_999] {
            assert_eq!(parse(&fixed2(paise)), Some(paise));
        }
        assert_eq!(fixed2(5), "0.05");
        assert_eq!((parse("5"), parse("5.5")), (Some(500), Some(550)));
        for bad in [
            "",
            ".5",
            "5.",
            "5.005",
            "1e2",
            "-1",
            "+1",
            " 1",
            "1,000",
            "1234567890123",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
