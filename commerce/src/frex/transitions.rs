//! The state machines of `spec/frex.md` 3 as tables. Every write of a state is held against them; tests walk them.
//!
//! *Invariant*: nothing leaves CANCEL, and nothing takes billing COMPLETE back.

use super::model::{AuthorizeState, BillingState, RegState, RequestState, ResultState, StateInfo};

/// (regState, resultState, authorizeState, billingState).
pub type Quad = (RegState, ResultState, AuthorizeState, BillingState);

/// The four words of a state.
#[must_use]
pub fn quad(info: &StateInfo) -> Quad {
    (info.reg, info.result, info.authorize, info.billing)
}

/// What a step from one state to another may do with one of the four words.
#[derive(Clone, Copy, Debug)]
pub enum Part<T: 'static> {
    /// From any of these, kept.
    Keep(&'static [T]),
    /// From any of these to this.
    To(&'static [T], T),
}

impl<T: Copy + PartialEq> Part<T> {
    fn fits(self, from: T, to: T) -> bool {
        match self {
            Self::Keep(list) => from == to && list.contains(&from),
            Self::To(list, target) => list.contains(&from) && to == target,
        }
    }
}

/// A row of 3.1.
#[derive(Debug)]
pub struct Transition {
    /// Its number in 3.1; from 16 on: what sections 8 and 12 add.
    pub no: u8,
    /// What happened.
    pub event: &'static str,
    /// Registration.
    pub reg: Part<RegState>,
    /// What is in progress.
    pub result: Part<ResultState>,
    /// Screening.
    pub authorize: Part<AuthorizeState>,
    /// Billing.
    pub billing: Part<BillingState>,
}

use AuthorizeState as A;
use BillingState as B;
use Part::{Keep, To};
use RegState as R;
use ResultState as S;

/// The state a row begins with (row 1).
pub const FIRST: Quad = (R::Standby, S::Order, A::None, B::None);

const REGISTERED: Part<R> = Keep(&[R::Complete]);
const ANY_AUTH: Part<A> = Keep(A::ALL);
const UNSCREENED: Part<A> = Keep(&[A::None]);
const UNBILLED: Part<B> = Keep(&[B::None]);
const UNBILLED_OR_QUIET: Part<B> = Keep(&[B::None, B::Complete, B::Error]);

/// Every change of the four words that may happen. Rows 1 and 2 change none of them.
#[rustfmt::skip]
pub const TRANSITIONS: &[Transition] = &[
    Transition { no: 3, event: "registered", reg: To(&[R::Standby], R::Complete), result: To(&[S::Order], S::Complete), authorize: UNSCREENED, billing: UNBILLED },
    Transition { no: 4, event: "registration refused", reg: To(&[R::Standby], R::Error), result: Keep(&[S::Order]), authorize: UNSCREENED, billing: UNBILLED },
    Transition { no: 5, event: "closed locally", reg: Keep(&[R::Standby, R::Error]), result: To(&[S::Order], S::Cancel), authorize: UNSCREENED, billing: UNBILLED },
    Transition { no: 6, event: "change begins", reg: REGISTERED, result: To(&[S::Complete], S::Update), authorize: Keep(&[A::None, A::Delay, A::Complete]), billing: UNBILLED },
    Transition { no: 7, event: "changed", reg: REGISTERED, result: To(&[S::Update], S::Complete), authorize: To(&[A::None, A::Delay, A::Complete], A::None), billing: UNBILLED },
    Transition { no: 8, event: "change refused or needless", reg: REGISTERED, result: To(&[S::Update], S::Complete), authorize: Keep(&[A::None, A::Delay, A::Complete]), billing: UNBILLED },
    Transition { no: 9, event: "approved", reg: REGISTERED, result: Keep(&[S::Complete]), authorize: To(&[A::None, A::Delay], A::Complete), billing: UNBILLED },
    Transition { no: 9, event: "held", reg: REGISTERED, result: Keep(&[S::Complete]), authorize: To(&[A::None], A::Delay), billing: UNBILLED },
    Transition { no: 9, event: "refused by screening", reg: REGISTERED, result: To(&[S::Complete], S::Cancel), authorize: To(&[A::None, A::Delay], A::Ng), billing: UNBILLED },
    Transition { no: 10, event: "billing begins", reg: REGISTERED, result: To(&[S::Complete], S::Billing), authorize: Keep(&[A::Complete]), billing: To(&[B::None], B::Standby) },
    Transition { no: 11, event: "billed", reg: REGISTERED, result: To(&[S::Billing], S::Complete), authorize: Keep(&[A::Complete]), billing: To(&[B::Standby], B::Complete) },
    Transition { no: 12, event: "billing refused", reg: REGISTERED, result: To(&[S::Billing], S::Complete), authorize: Keep(&[A::Complete]), billing: To(&[B::Standby], B::Error) },
    Transition { no: 13, event: "cancel begins", reg: REGISTERED, result: To(&[S::Complete], S::Delete), authorize: ANY_AUTH, billing: UNBILLED_OR_QUIET },
    Transition { no: 14, event: "cancelled", reg: REGISTERED, result: To(&[S::Delete], S::Cancel), authorize: ANY_AUTH, billing: UNBILLED_OR_QUIET },
    Transition { no: 15, event: "cancel refused", reg: REGISTERED, result: To(&[S::Delete], S::Complete), authorize: ANY_AUTH, billing: UNBILLED_OR_QUIET },
    Transition { no: 16, event: "billing not begun: order cancelled", reg: REGISTERED, result: To(&[S::Billing], S::Complete), authorize: Keep(&[A::Complete]), billing: To(&[B::Standby], B::None) },
    Transition { no: 17, event: "operator repeats the registration", reg: To(&[R::Error], R::Standby), result: Keep(&[S::Order]), authorize: UNSCREENED, billing: UNBILLED },
    Transition { no: 18, event: "operator allows billing again", reg: REGISTERED, result: Keep(&[S::Complete]), authorize: Keep(&[A::Complete]), billing: To(&[B::Error], B::None) },
    Transition { no: 19, event: "operator reopens an unclear billing", reg: REGISTERED, result: To(&[S::Complete], S::Billing), authorize: Keep(&[A::Complete]), billing: To(&[B::Error], B::Standby) },
    Transition { no: 20, event: "operator closes a refused cancel", reg: REGISTERED, result: To(&[S::Complete], S::Cancel), authorize: ANY_AUTH, billing: UNBILLED_OR_QUIET },
];

/// The row that leads from one state to another; none if there is no such row. A state that stays as it is needs none,
/// except that CANCEL is never written again.
#[must_use]
pub fn find(from: Quad, to: Quad) -> Option<&'static Transition> {
    TRANSITIONS.iter().find(|row| {
        row.reg.fits(from.0, to.0)
            && row.result.fits(from.1, to.1)
            && row.authorize.fits(from.2, to.2)
            && row.billing.fits(from.3, to.3)
    })
}

/// Whether a row may be written with these words when it held those.
#[must_use]
pub fn legal(from: Quad, to: Quad) -> bool {
    (from == to && from.1 != S::Cancel) || find(from, to).is_some()
}

/// The moves of a request (3.2): from, to, mutation only, and when.
#[rustfmt::skip]
pub const MOVES: &[(RequestState, RequestState, bool, &str)] = {
    use RequestState::{Complete, Error, Sending, Skipped, Standby, Unknown};
    &[
        (Standby, Skipped, false, "the reason for it is gone"),
        (Standby, Sending, true, "durable mark before the call"),
        (Standby, Standby, false, "not ready yet, or to be asked again"),
        (Standby, Complete, false, "a read was answered"),
        (Standby, Error, false, "a read was refused; our code failed on it; an operator closed it"),
        (Sending, Complete, true, "accepted"),
        (Sending, Error, true, "refused"),
        (Sending, Standby, true, "not executed for sure"),
        (Sending, Unknown, true, "timeout, reset, 5xx, crash"),
        (Unknown, Complete, true, "found at the agency"),
        (Unknown, Standby, true, "never received, after the quiet time"),
        (Unknown, Error, true, "too old, or an operator closed it"),
        (Unknown, Unknown, true, "still unclear"),
        (Error, Unknown, true, "an operator asks again what became of it"),
        (Error, Complete, true, "an operator knows that it was accepted"),
        (Error, Standby, false, "an operator lets a read be asked again"),
        (Complete, Error, true, "refused after acceptance"),
    ]
};

/// Whether a request may move so.
#[must_use]
pub fn may_move(from: RequestState, to: RequestState, mutation: bool) -> bool {
    MOVES
        .iter()
        .any(|row| row.0 == from && row.1 == to && (mutation || !row.2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> impl Iterator<Item = Quad> {
        R::ALL.iter().flat_map(|&r| {
            S::ALL.iter().flat_map(move |&s| {
                A::ALL
                    .iter()
                    .flat_map(move |&a| B::ALL.iter().map(move |&b| (r, s, a, b)))
            })
        })
    }

    /// No row leaves CANCEL, and none takes billing COMPLETE back: over every pair of states.
    #[test]
    fn terminal_states_only_rise() {
        for from in all() {
            for to in all() {
                if from.1 == S::Cancel || (from.3 == B::Complete && to.3 != B::Complete) {
                    assert!(!legal(from, to), "{from:?} -> {to:?}");
                }
            }
        }
    }

    /// A mutation starts only from COMPLETE: UPDATE, DELETE and BILLING are entered from nowhere else.
    #[test]
    fn the_lock_is_taken_from_complete_only() {
        for from in all() {
            for to in all().filter(|to| matches!(to.1, S::Update | S::Delete | S::Billing)) {
                if from.1 != to.1 && legal(from, to) {
                    assert_eq!(from.1, S::Complete, "{from:?} -> {to:?}");
                }
            }
        }
    }

    /// Each row of 3.1 permits a change that no other row of another number permits, except 7 and 8, which meet where
    /// nothing was screened.
    #[test]
    fn rows_are_distinct() {
        for row in TRANSITIONS {
            let own = all()
                .flat_map(|from| all().map(move |to| (from, to)))
                .any(|(from, to)| {
                    from != to
                        && TRANSITIONS
                            .iter()
                            .filter(|other| {
                                other.reg.fits(from.0, to.0)
                                    && other.result.fits(from.1, to.1)
                                    && other.authorize.fits(from.2, to.2)
                                    && other.billing.fits(from.3, to.3)
                            })
                            .all(|other| other.no == row.no)
                        && find(from, to).is_some_and(|found| found.no == row.no)
                });
            assert!(
                own,
                "row {} ({}) permits nothing of its own",
                row.no, row.event
            );
        }
    }

    /// A request that ended well never moves except to ERROR when it is refused after acceptance; a skipped one never moves.
    #[test]
    fn ended_requests_stay() {
        for &to in RequestState::ALL {
            assert!(!may_move(RequestState::Skipped, to, true));
            assert_eq!(
                may_move(RequestState::Complete, to, true),
                to == RequestState::Error
            );
            assert!(!may_move(RequestState::Complete, to, false));
        }
        assert!(
            !may_move(RequestState::Sending, RequestState::Sending, true),
            "nobody resends a SENDING row"
        );
    }
}
