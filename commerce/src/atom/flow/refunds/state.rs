//! The states of a refund and the only steps between them (`spec/atom.md` 11.1).
//!
//! An accepted answer of the gateway means *initiated*, not paid back, and silence means nothing at all: a refund
//! whose answer is missing is `Unknown` and keeps its reservation until somebody has looked.

use std::fmt;

/// Where a refund stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefundState {
    /// Stored together with its reservation; no request has left us.
    Requested,
    /// Durably marked before the call; the request may be on its way.
    Submitting,
    /// The call ended without an answer we can trust, or the process died during it.
    Unknown,
    /// The gateway has initiated it.
    Accepted,
    /// The gateway reports the money paid out.
    Processed,
    /// Definitely refused; the reservation is released.
    Rejected,
    /// Accepted once and reported failed later; the reservation is released and the order reverts.
    Failed,
}

use RefundState::{Accepted, Failed, Processed, Rejected, Requested, Submitting, Unknown};

/// What makes a refund go from one state to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The mark before a call to the gateway.
    Mark,
    /// The gateway's answer to the call, or the certainty that it was never sent.
    Answer,
    /// The process that made the call is gone, or has just started again.
    Recovery,
    /// A refund status told it.
    Lookup,
    /// An operator decided it.
    Operator,
}

/// Every permitted step with its cause. What is not listed cannot be written: the guarded update finds no row.
pub const STEPS: &[(RefundState, RefundState, Cause)] = &[
    (Requested, Submitting, Cause::Mark),
    // The payment went back of Atom's own accord before this was sent.
    (Requested, Rejected, Cause::Mark),
    (Requested, Rejected, Cause::Operator),
    (Submitting, Requested, Cause::Answer),
    (Submitting, Accepted, Cause::Answer),
    (Submitting, Rejected, Cause::Answer),
    (Submitting, Unknown, Cause::Answer),
    (Submitting, Unknown, Cause::Recovery),
    // The answer of a call that another process has given up in the meantime is still an answer.
    (Unknown, Requested, Cause::Answer),
    (Unknown, Accepted, Cause::Answer),
    (Unknown, Rejected, Cause::Answer),
    // Of a split refund other lines were looked up before the answer came.
    (Unknown, Processed, Cause::Answer),
    (Unknown, Failed, Cause::Answer),
    (Unknown, Accepted, Cause::Lookup),
    (Unknown, Processed, Cause::Lookup),
    (Unknown, Failed, Cause::Lookup),
    (Unknown, Rejected, Cause::Lookup),
    (Unknown, Submitting, Cause::Mark),
    (Unknown, Accepted, Cause::Operator),
    (Unknown, Processed, Cause::Operator),
    (Unknown, Rejected, Cause::Operator),
    // Of a split refund one line is listed as failed, and another was never taken.
    (Unknown, Failed, Cause::Operator),
    (Accepted, Processed, Cause::Lookup),
    (Accepted, Failed, Cause::Lookup),
    (Accepted, Processed, Cause::Operator),
    (Accepted, Failed, Cause::Operator),
];

impl RefundState {
    /// All states, in the order of a refund's life.
    pub const ALL: [RefundState; 7] = [
        Requested, Submitting, Unknown, Accepted, Processed, Rejected, Failed,
    ];

    /// The word stored in the database and shown in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Requested => "requested",
            Submitting => "submitting",
            Unknown => "unknown",
            Accepted => "accepted",
            Processed => "processed",
            Rejected => "rejected",
            Failed => "failed",
        }
    }

    /// The state of a stored word; `None` for a word that no version of ours has written.
    pub fn parse(word: &str) -> Option<RefundState> {
        RefundState::ALL
            .into_iter()
            .find(|state| state.as_str() == word)
    }

    /// Whether the refund's amount is taken from the refundable balance (11.2, `reserved`).
    pub fn holds_reservation(self) -> bool {
        !matches!(self, Rejected | Failed)
    }

    /// Whether the refund counts in the order's `refunded_amount` (11.2 rule 4).
    pub fn counts_as_refunded(self) -> bool {
        matches!(self, Accepted | Processed)
    }

    /// Whether the gateway or an operator has decided it.
    pub fn is_definite(self) -> bool {
        matches!(self, Accepted | Processed | Rejected | Failed)
    }

    /// Whether the table permits this step.
    pub fn may_become(self, next: RefundState, cause: Cause) -> bool {
        STEPS.contains(&(self, next, cause))
    }
}

impl fmt::Display for RefundState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words go to states and back; an unknown word is no state.
    #[test]
    fn words() {
        for state in RefundState::ALL {
            assert_eq!(RefundState::parse(state.as_str()), Some(state));
        }
        assert_eq!(RefundState::parse("completed"), None);
    }

    /// Nothing leaves an end state, nothing enters `requested` except by the certainty that nothing was sent, and a
    /// refund that counts as refunded always holds its reservation.
    #[test]
    fn the_table_has_ends() {
        for (from, to, cause) in STEPS.iter().copied() {
            assert!(
                !matches!(from, Processed | Rejected | Failed),
                "{from} -> {to}"
            );
            assert_ne!(from, to);
            if to == Requested {
                assert_eq!(cause, Cause::Answer);
            }
            if to == Submitting {
                assert_eq!(cause, Cause::Mark);
            }
        }
        for state in RefundState::ALL {
            assert!(!state.counts_as_refunded() || state.holds_reservation());
        }
    }
}
