//! The agency's codes and what they mean for us (`spec/frex.md` 6.7), as one table.

use super::Call;

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

/// The class and meaning of a code, if it is in the table.
#[must_use]
pub fn find(code: &str) -> Option<(Class, &'static str)> {
    let row = CODES.iter().find(|row| row.0 == code);
    row.map(|row| (row.1, row.2))
}

/// What the codes of one error item mean.
///
/// A system error among them makes the outcome unclear whatever stands beside it. "Already" needs to stand alone: with
/// another code beside it nothing says which of the two the state of the transaction is.
#[must_use]
pub fn judge(call: Call, codes: &[String]) -> Verdict {
    let mut fault = Fault::Order;
    let mut already = !codes.is_empty();
    for code in codes {
        match find(code).map(|found| found.0) {
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
                assert_eq!(judge(call, &[code.into()]), expected, "{call} {code}");
            }
        }
    }

    /// A system error outranks everything; an unknown code, or none, is a refusal.
    #[test]
    fn several_codes() {
        let codes = |list: &[&str]| -> Vec<String> { list.iter().map(|&c| c.into()).collect() };
        let judged = |list: &[&str]| judge(Call::Bill, &codes(list));
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
}
