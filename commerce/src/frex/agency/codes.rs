//! The agency's codes and what they mean for us (`spec/frex.md` 6.7): one table, to which the configuration adds.

use std::collections::HashMap;

use super::Call;

/// Longest code that is read.
pub(super) const CODE_CHARS_MAX: usize = 20;

/// What a code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// A fault of our program.
    OurBug,
    /// The whole batch has a wrong number of items: send it in parts.
    Split,
    /// Refused: the state or the data does not allow it.
    Refused,
    /// Cancel: it is cancelled. Every other call: refused.
    DoneIfCancel,
    /// Billing: it is billed. Every other call: refused.
    DoneIfBilling,
    /// The agency failed; for a mutation the outcome is unknown.
    System,
}

impl Class {
    /// Every class, as the configuration calls it.
    const WORDS: [(&'static str, Self); 6] = [
        ("our_bug", Self::OurBug),
        ("split", Self::Split),
        ("refused", Self::Refused),
        ("done_if_cancel", Self::DoneIfCancel),
        ("done_if_billing", Self::DoneIfBilling),
        ("system", Self::System),
    ];
}

/// Whose fault a refusal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The order's data or state.
    Order,
    /// Our program.
    OurBug,
    /// The code is not in our table.
    UnknownCode,
}

/// Every code known, its class, and what it means.
#[rustfmt::skip]
pub const CODES: [(&str, Class, &str); 17] = [
    ("EPRO0101", Class::Split, "no item"),
    ("EPRO0102", Class::Split, "more than 1,000 items"),
    ("EPRO0105", Class::OurBug, "identifier missing"),
    ("EPRO0106", Class::OurBug, "same identifier twice in one request"),
    ("E0100002", Class::OurBug, "identifier format"),
    ("E0100003", Class::OurBug, "identifier format"),
    ("E0100113", Class::Refused, "transaction not found"),
    ("E0100114", Class::Refused, "already paid by the buyer"),
    ("E0100115", Class::DoneIfBilling, "already billed"),
    ("E0100118", Class::DoneIfCancel, "already cancelled"),
    ("E0102004", Class::Refused, "goods total and billed amount differ"),
    ("E0109002", Class::System, "system error"),
    ("E0109003", Class::System, "system error"),
    ("E0100131", Class::Refused, "state does not allow it"),
    ("E0100132", Class::Refused, "state does not allow it"),
    ("E0131006", Class::Refused, "registered before"),
    ("E0131011", Class::Refused, "registered before"),
];

/// What a set of codes means for one item of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is done already.
    AlreadyDone,
    /// It is refused.
    Refused(Fault),
    /// The agency failed.
    System,
}

/// A code and its class as the configuration writes them: `E0100119=refused`.
#[must_use]
pub fn configured(text: &str) -> Option<(&str, Class)> {
    let (code, word) = text.split_once('=')?;
    let class = Class::WORDS.iter().find(|row| row.0 == word)?;
    is_code(code).then_some((code, class.1))
}

/// Whether a text looks like a code: short, of letters, digits and underscores.
#[must_use]
pub fn is_code(text: &str) -> bool {
    (1..=CODE_CHARS_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// What codes mean: those of the configuration, and [`CODES`] for the others.
#[derive(Clone, Debug, Default)]
pub struct Codes(HashMap<String, Class>);

impl Codes {
    /// With these of the configuration; what is none is left out.
    #[must_use]
    pub fn new(own: &[String]) -> Self {
        let own = own.iter().filter_map(|text| configured(text));
        Self(own.map(|(code, class)| (code.to_owned(), class)).collect())
    }

    /// The class of a code, if it is known.
    fn class(&self, code: &str) -> Option<Class> {
        let known = || CODES.iter().find(|row| row.0 == code).map(|row| row.1);
        self.0.get(code).copied().or_else(known)
    }

    /// What the codes of one error item mean.
    ///
    /// A system error among them makes the outcome unclear whatever stands beside it. "Already" needs to stand alone: with
    /// another code beside it nothing says which of the two the state of the transaction is.
    #[must_use]
    pub fn judge(&self, call: Call, codes: &[String]) -> Verdict {
        let mut fault = Fault::Order;
        let mut already = !codes.is_empty();
        for code in codes {
            match self.class(code) {
                Some(Class::System) => return Verdict::System,
                Some(Class::DoneIfCancel) if call == Call::Cancel => continue,
                Some(Class::DoneIfBilling) if call == Call::Bill => continue,
                Some(Class::OurBug | Class::Split) => fault = Fault::OurBug,
                Some(_) => {}
                None if fault == Fault::Order => fault = Fault::UnknownCode,
                None => {}
            }
            already = false;
        }
        if already {
            Verdict::AlreadyDone
        } else {
            Verdict::Refused(fault)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "Already cancelled" is done for a cancel and refused for every other call; the same for billing.
    #[test]
    fn already_means_done_for_its_own_call_only() {
        for (call, _, _) in Call::TABLE {
            for (code, own) in [("E0100118", Call::Cancel), ("E0100115", Call::Bill)] {
                let expected = if call == own {
                    Verdict::AlreadyDone
                } else {
                    Verdict::Refused(Fault::Order)
                };
                assert_eq!(
                    Codes::default().judge(call, &[code.into()]),
                    expected,
                    "{call} {code}"
                );
            }
        }
    }

    /// A system error outranks everything; an unknown code, or none, is a refusal.
    #[test]
    fn several_codes() {
        let codes = |list: &[&str]| -> Vec<String> { list.iter().map(|&c| c.into()).collect() };
        let judged = |list: &[&str]| Codes::default().judge(Call::Bill, &codes(list));
        assert_eq!(judged(&["E0100115", "E0109002"]), Verdict::System);
        assert_eq!(
            judged(&["E0100115", "E0100114"]),
            Verdict::Refused(Fault::Order)
        );
        assert_eq!(judged(&["E9999999"]), Verdict::Refused(Fault::UnknownCode));
        assert_eq!(judged(&["EPRO0106"]), Verdict::Refused(Fault::OurBug));
        assert_eq!(judged(&[]), Verdict::Refused(Fault::Order));
        assert_eq!(judged(&["E0131011"]), Verdict::Refused(Fault::Order));
    }

    /// The configuration adds codes and gives known ones another meaning; the others keep theirs.
    #[test]
    fn the_configuration_adds_codes() {
        let own = ["E0100119=done_if_cancel", "E0109002=refused"].map(String::from);
        let codes = Codes::new(&own);
        let judged = |call, code: &str| codes.judge(call, &[code.to_owned()]);
        assert_eq!(judged(Call::Cancel, "E0100119"), Verdict::AlreadyDone);
        let refused = Verdict::Refused(Fault::Order);
        assert_eq!(judged(Call::Bill, "E0100119"), refused);
        assert_eq!(judged(Call::Bill, "E0109002"), refused);
        assert_eq!(judged(Call::Bill, "E0109003"), Verdict::System);
        for wrong in [
            "E1",
            "E1=",
            "=refused",
            "E-1=refused",
            "E1=perhaps",
            "E1=refused ",
        ] {
            assert_eq!(configured(wrong), None, "{wrong}");
        }
    }
}
