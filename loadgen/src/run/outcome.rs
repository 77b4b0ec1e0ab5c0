//! How a request ended, as the application sees it.

use std::fmt;
use std::str::FromStr;

use codec::link::rc;

/// The end of one request. Everything up to `Abnormal` was delivered and confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// An approval (xx20), confirmed.
    Approved,
    /// A refusal (xx50), confirmed.
    Refused,
    /// An abnormal report (8970) with this error code, confirmed.
    Abnormal([u8; 3]),
    /// A report came, but CONFIRM said that it came too late: it is not the application's.
    NotDelivered,
    /// The daemon gave up waiting for the report (RC 10).
    TimeOut,
    /// The daemon refused or ended the request with another return code.
    Ended(u16),
    /// The link broke while the request was open: the application does not know.
    Lost,
    /// Nothing came until the run was over: the application does not know.
    Unanswered,
    /// It was due, but no connection had room for it until the run was over.
    Unsent,
}

impl Outcome {
    /// The outcome of a report of this message type; `error` is the first field of its section 1-0.
    #[must_use]
    pub fn of_report(mti: [u8; 4], error: [u8; 3]) -> Outcome {
        match &mti {
            b"8970" => Outcome::Abnormal(error),
            [_, _, b'5', _] => Outcome::Refused,
            _ => Outcome::Approved,
        }
    }

    /// The outcome of a request that ENDED with this return code.
    #[must_use]
    pub fn of_ended(code: u16) -> Outcome {
        if code == rc::TIME_OUT {
            Outcome::TimeOut
        } else {
            Outcome::Ended(code)
        }
    }

    /// The application holds a report and knows that the daemon counts it as delivered.
    #[must_use]
    pub const fn delivered(self) -> bool {
        matches!(
            self,
            Outcome::Approved | Outcome::Refused | Outcome::Abnormal(_)
        )
    }

    /// The application does not know what became of the request.
    #[must_use]
    pub const fn unknown(self) -> bool {
        matches!(self, Outcome::Lost | Outcome::Unanswered)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Approved => f.write_str("approved"),
            Outcome::Refused => f.write_str("refused"),
            Outcome::Abnormal(code) => write!(f, "8970-{}", code.escape_ascii()),
            Outcome::NotDelivered => f.write_str("not-delivered"),
            Outcome::TimeOut => f.write_str("time-out"),
            Outcome::Ended(code) => write!(f, "ended-{code}"),
            Outcome::Lost => f.write_str("lost"),
            Outcome::Unanswered => f.write_str("unanswered"),
            Outcome::Unsent => f.write_str("unsent"),
        }
    }
}

impl FromStr for Outcome {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Ok(match text {
            "approved" => Outcome::Approved,
            "refused" => Outcome::Refused,
            "not-delivered" => Outcome::NotDelivered,
            "time-out" => Outcome::TimeOut,
            "lost" => Outcome::Lost,
            "unanswered" => Outcome::Unanswered,
            "unsent" => Outcome::Unsent,
            _ => {
                if let Some(code) = text.strip_prefix("8970-") {
                    Outcome::Abnormal(code.as_bytes().try_into().map_err(|_| ())?)
                } else {
                    let code = text.strip_prefix("ended-").ok_or(())?;
                    Outcome::Ended(code.parse().map_err(|_| ())?)
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written to a book reads back as the same outcome.
    #[test]
    fn names_read_back() {
        use Outcome::*;
        for outcome in [
            Approved,
            Refused,
            Abnormal(*b"C12"),
            NotDelivered,
            TimeOut,
            Ended(19),
            Lost,
            Unanswered,
            Unsent,
        ] {
            assert_eq!(outcome.to_string().parse(), Ok(outcome));
        }
        for bad in ["", "8970-C1", "8970-C123", "ended-", "ended-x", "paid"] {
            assert_eq!(bad.parse::<Outcome>(), Err(()));
        }
    }

    /// Message types and return codes mean what spec/cafis.md 3 and spec/fexics.md 4.2 say.
    #[test]
    fn reports_and_codes_are_sorted() {
        assert_eq!(Outcome::of_report(*b"3120", *b"   "), Outcome::Approved);
        assert_eq!(Outcome::of_report(*b"3250", *b"G54"), Outcome::Refused);
        assert_eq!(
            Outcome::of_report(*b"8970", *b"C12"),
            Outcome::Abnormal(*b"C12")
        );
        assert_eq!(Outcome::of_ended(10), Outcome::TimeOut);
        assert_eq!(Outcome::of_ended(25), Outcome::Ended(25));
    }
}
