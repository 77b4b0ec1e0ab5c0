//! What customers type about themselves. The flow has the last word; here the words are friendlier.

use crate::pages::form::Fields;

/// Most characters of an e-mail address that Atom takes.
const EMAIL_MAX: usize = 100;

/// E-mail and mobile number, with what is wrong about each.
#[derive(Clone, Default, Debug)]
pub struct Customer {
    /// E-mail address.
    pub email: String,
    /// Mobile number: digits, once it is in order.
    pub mobile: String,
    /// Words beside the e-mail field; empty if it is in order.
    pub email_error: &'static str,
    /// Words beside the mobile field; empty if it is in order.
    pub mobile_error: &'static str,
}

impl Customer {
    /// Reads the fields of the basket's form.
    #[must_use]
    pub fn read(form: &Fields) -> Self {
        let (email, typed) = (form.get("email"), form.get("mobile"));
        let mobile = national(typed);
        Self {
            email: email.to_owned(),
            email_error: email_error(email),
            mobile_error: if mobile.is_some() {
                ""
            } else {
                "Please enter a mobile number of ten digits."
            },
            mobile: mobile.unwrap_or_else(|| typed.to_owned()),
        }
    }

    /// Whether something must be corrected.
    #[must_use]
    pub fn is_wrong(&self) -> bool {
        !(self.email_error.is_empty() && self.mobile_error.is_empty())
    }
}

fn email_error(email: &str) -> &'static str {
    let plain = email
        .bytes()
        .all(|b| b.is_ascii_graphic() && !b"<>\"'(),;:\\[]".contains(&b));
    let parts = email.split_once('@');
    let whole = parts.is_some_and(|(name, host)| {
        !name.is_empty()
            && !host.contains('@')
            && host.contains('.')
            && !host.starts_with('.')
            && !host.ends_with('.')
    });
    if email.len() > EMAIL_MAX {
        "This address is too long for the payment partner: use one of at most 100 characters."
    } else if plain && whole {
        ""
    } else {
        "Please enter an e-mail address, as in name@example.com."
    }
}

/// The ten digits of an Indian number, however they were grouped and with or without the country's code.
fn national(typed: &str) -> Option<String> {
    let digits: String = typed.chars().filter(|c| !matches!(c, ' ' | '-')).collect();
    let digits = digits.strip_prefix("+91").unwrap_or(&digits);
    let fits = digits.len() == 10 && digits.bytes().all(|b| b.is_ascii_digit());
    fits.then(|| digits.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_write_numbers_in_many_ways() {
        // Shows: groupings and the country's code are accepted, too few digits, letters and markup are not.
        for typed in ["9000000000", "90000 00000", "+91 90000-00000"] {
            assert_eq!(national(typed).as_deref(), Some("9000000000"), "{typed}");
        }
        for typed in ["", "900000000", "phone", "<b>9000000000</b>"] {
            assert_eq!(national(typed), None, "{typed}");
        }
    }

    #[test]
    fn an_address_that_cannot_be_one_is_refused() {
        // Shows: what passes as an e-mail address, and that markup and blanks do not.
        assert_eq!(email_error("buyer@example.com"), "");
        for email in [
            "",
            "buyer",
            "@example.com",
            "a@b",
            "a b@example.com",
            "<b>@example.com",
            "a@.com",
            "a@b@c.d",
        ] {
            assert_ne!(email_error(email), "", "{email}");
        }
        assert!(email_error(&format!("{}@example.com", "a".repeat(100))).contains("too long"));
    }
}
