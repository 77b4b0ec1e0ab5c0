//! The nine steps as data (`spec/frex.md` 5): what each selects, when a request is no longer wanted, and what each outcome writes.
//!
//! [`STEPS`] is also the order of a batch run. It is binding: results run before new requests, screening after change and cancel,
//! billing last.

use super::condition::Term;
use crate::frex::alert::AlertKind;
use crate::frex::key::RequestType;
use crate::frex::model::{
    AuthorizeState, BillingState, CloseReason, RegState, ResultState, StrState,
};

/// One write to the state or the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    /// `regState`.
    Reg(RegState),
    /// `resultState`.
    Result(ResultState),
    /// `authorizeState`.
    Authorize(AuthorizeState),
    /// `billingState`.
    Billing(BillingState),
    /// `npTransactionId` and `regAt` from the answer.
    Registered,
    /// `billedAmount`: what the answer confirms, else what was asked for.
    ConfirmedAmount,
    /// `rejectedAmount` null.
    NothingRejected,
    /// `rejectedAmount` from the request.
    RejectedAmount,
    /// `deleteRejected`.
    DeleteRejected,
    /// resultState CANCEL with this reason, `closedAt`.
    Close(CloseReason),
    /// `authorizedAt`; o.strOrderState ACCEPT unless the shop ended the order; o.strMoneyInput TEMPPAYMENT.
    Approved,
    /// o.strMoneyInput back from TEMPPAYMENT to SBPAYMENT: the approval no longer covers the order.
    ApprovalGone,
    /// `billedAt`; for orders in REG: strOrderState ORDEREND, strMoneyInput PAYMENT.
    Billed,
    /// o.strState DEL.
    OrderDel,
    /// Open reads of screening are dropped: they belong to an earlier amount or to a closed order.
    DropScreening,
}

/// A way into a step.
#[derive(Debug)]
pub struct Branch {
    /// The orders selected.
    pub when: &'static [Term],
    /// What is written to the state of each.
    pub set: &'static [Set],
    /// Whether a request is written too; else the order is closed without a call.
    pub asks: bool,
}

/// A reason not to send a request any more.
#[derive(Debug)]
pub struct Gone {
    /// The order is so.
    pub when: &'static [Term],
    /// Then this is written, and the request is SKIPPED.
    pub set: &'static [Set],
}

/// What an outcome writes.
#[derive(Debug)]
pub struct Writes {
    /// Accepted (mutations) or done (reads).
    pub good: &'static [Set],
    /// Refused.
    pub refused: &'static [Set],
    /// The alert of a refusal.
    pub alert: AlertKind,
}

/// One of the nine steps.
#[derive(Debug)]
pub struct Step {
    /// Its name.
    pub name: &'static str,
    /// The requests it makes.
    pub kind: RequestType,
    /// For a `*_RESULT` step: the mutation whose outcome it fetches.
    pub of: Option<RequestType>,
    /// Which orders need it.
    pub select: &'static [Branch],
    /// When a request of it is no longer wanted.
    pub gone: &'static [Gone],
    /// What its outcomes write.
    pub writes: Writes,
    /// The crash points of its phases.
    pub points: Points,
}

/// Names of the places of a step where a crash is injected.
#[derive(Debug)]
pub struct Points {
    /// Before the intent is durable.
    pub regist: &'static str,
    /// Intent durable, nothing sent.
    pub registered: &'static str,
    /// Before the mark SENDING is durable.
    pub mark: &'static str,
    /// Mark durable, nothing sent.
    pub marked: &'static str,
    /// Answer in hand, nothing applied.
    pub answered: &'static str,
    /// Answer applied, not durable.
    pub apply: &'static str,
    /// Answer durable.
    pub applied: &'static str,
}

impl Points {
    /// All of them.
    #[must_use]
    pub const fn all(&self) -> [&'static str; 7] {
        [
            self.regist,
            self.registered,
            self.mark,
            self.marked,
            self.answered,
            self.apply,
            self.applied,
        ]
    }
}

macro_rules! points {
    ($name:literal) => {
        Points {
            regist: concat!("frex.", $name, ".regist"),
            registered: concat!("frex.", $name, ".registered"),
            mark: concat!("frex.", $name, ".mark"),
            marked: concat!("frex.", $name, ".marked"),
            answered: concat!("frex.", $name, ".answered"),
            apply: concat!("frex.", $name, ".apply"),
            applied: concat!("frex.", $name, ".applied"),
        }
    };
}

use AuthorizeState as A;
use BillingState as B;
use RegState as R;
use RequestType as Q;
use ResultState as S;
use Term::{
    Accepted, AmountConfirmed, AmountDiffers, Authorize, Billing, BillingDue, BuyerValid,
    CancelNotRefused, FrexOrder, NoOpenRound, NoState, NotRefusedAmount, NotUnclear, Np, Order,
    Reg, Result,
};

const UPDATE_REFUSED: &[Set] = &[Set::RejectedAmount, Set::Result(S::Complete)];
const CANCEL_REFUSED: &[Set] = &[Set::DeleteRejected, Set::Result(S::Complete)];
const BILLING_REFUSED: &[Set] = &[Set::Billing(B::Error), Set::Result(S::Complete)];
/// An order whose cancel is done.
pub const CANCEL_DONE: &[Set] = &[Set::Close(CloseReason::Customer), Set::DropScreening];
/// An order whose cancel the agency refused, settled outside.
pub const CANCEL_SETTLED: &[Set] = &[Set::Close(CloseReason::SettledOutside), Set::DropScreening];
/// An order that screening refused: no cancel call, a refused transaction needs none.
pub const SCREENING_REFUSED: &[Set] = &[
    Set::Authorize(A::Ng),
    Set::Close(CloseReason::FrexNg),
    Set::OrderDel,
];
/// An order that screening holds.
pub const SCREENING_HELD: &[Set] = &[Set::Authorize(A::Delay)];

/// The step that fetches outcomes of registrations.
pub const ORDER_RESULT: Step = Step {
    name: "OrderResult",
    kind: Q::OrderResult,
    of: Some(Q::OrderReg),
    // No term on strState: an order cancelled while it is registered must still get its number (16 #7).
    select: &[Branch {
        when: &[
            Reg(R::Standby),
            Result(S::Order),
            Np(false),
            Accepted(Q::OrderReg, Q::OrderResult),
        ],
        set: &[],
        asks: true,
    }],
    gone: &[Gone {
        when: &[Result(S::Cancel)],
        set: &[],
    }],
    writes: Writes {
        good: &[
            Set::Registered,
            Set::ConfirmedAmount,
            Set::Reg(R::Complete),
            Set::Result(S::Complete),
        ],
        refused: &[Set::Reg(R::Error)],
        alert: AlertKind::RegistrationRefused,
    },
    points: points!("OrderResult"),
};

/// The step that registers orders.
pub const ORDER_REG: Step = Step {
    name: "OrderReg",
    kind: Q::OrderReg,
    of: None,
    select: &[Branch {
        when: &[FrexOrder, Order(StrState::Reg), NoState, BuyerValid],
        set: &[],
        asks: true,
    }],
    gone: &[Gone {
        when: &[Order(StrState::Del)],
        set: &[Set::Close(CloseReason::BeforeSend)],
    }],
    writes: Writes {
        good: &[],
        refused: &[Set::Reg(R::Error)],
        alert: AlertKind::RegistrationRefused,
    },
    points: points!("OrderReg"),
};

/// The step that fetches outcomes of changes.
pub const UPDATE_RESULT: Step = Step {
    name: "UpdateResult",
    kind: Q::UpdateResult,
    of: Some(Q::UpdateReg),
    select: &[Branch {
        when: &[
            Reg(R::Complete),
            Result(S::Update),
            Np(true),
            Accepted(Q::UpdateReg, Q::UpdateResult),
        ],
        set: &[],
        asks: true,
    }],
    gone: &[Gone {
        when: &[Result(S::Cancel)],
        set: &[],
    }],
    writes: Writes {
        good: &[
            Set::ConfirmedAmount,
            Set::NothingRejected,
            Set::Authorize(A::None),
            Set::Result(S::Complete),
            Set::ApprovalGone,
            Set::DropScreening,
        ],
        refused: UPDATE_REFUSED,
        alert: AlertKind::UpdateRefused,
    },
    points: points!("UpdateResult"),
};

/// The step that changes amounts.
pub const UPDATE_REG: Step = Step {
    name: "UpdateReg",
    kind: Q::UpdateReg,
    of: None,
    select: &[Branch {
        when: &[
            Reg(R::Complete),
            Result(S::Complete),
            Billing(B::None),
            Np(true),
            Order(StrState::Reg),
            Authorize(&[A::None, A::Delay, A::Complete]),
            AmountDiffers,
            NotRefusedAmount,
        ],
        set: &[Set::Result(S::Update)],
        asks: true,
    }],
    gone: &[
        Gone {
            when: &[Order(StrState::Del)],
            set: &[Set::Result(S::Complete)],
        },
        Gone {
            when: &[AmountConfirmed],
            set: &[Set::Result(S::Complete)],
        },
    ],
    writes: Writes {
        good: &[],
        refused: UPDATE_REFUSED,
        alert: AlertKind::UpdateRefused,
    },
    points: points!("UpdateReg"),
};

/// The step that fetches outcomes of cancels.
pub const DELETE_RESULT: Step = Step {
    name: "DeleteResult",
    kind: Q::DeleteResult,
    of: Some(Q::DeleteReg),
    select: &[Branch {
        when: &[
            Reg(R::Complete),
            Result(S::Delete),
            Np(true),
            Order(StrState::Del),
            Accepted(Q::DeleteReg, Q::DeleteResult),
        ],
        set: &[],
        asks: true,
    }],
    gone: &[Gone {
        when: &[Result(S::Cancel)],
        set: &[],
    }],
    writes: Writes {
        good: CANCEL_DONE,
        refused: CANCEL_REFUSED,
        alert: AlertKind::CancelRefused,
    },
    points: points!("DeleteResult"),
};

/// The step that cancels.
pub const DELETE_REG: Step = Step {
    name: "DeleteReg",
    kind: Q::DeleteReg,
    of: None,
    select: &[
        Branch {
            when: &[
                Order(StrState::Del),
                Reg(R::Complete),
                Np(true),
                Result(S::Complete),
                CancelNotRefused,
            ],
            set: &[Set::Result(S::Delete)],
            asks: true,
        },
        Branch {
            // Not while nobody knows whether the registration arrived: the transaction may live at the agency.
            when: &[
                Order(StrState::Del),
                Reg(R::Error),
                Result(S::Order),
                NotUnclear(Q::OrderReg),
            ],
            set: &[Set::Close(CloseReason::RegError)],
            asks: false,
        },
    ],
    // DEL is final, so this never happens; if it does, nothing is cancelled.
    gone: &[Gone {
        when: &[Order(StrState::Reg)],
        set: &[Set::Result(S::Complete)],
    }],
    writes: Writes {
        good: &[],
        refused: CANCEL_REFUSED,
        alert: AlertKind::CancelRefused,
    },
    points: points!("DeleteReg"),
};

/// The step that asks for screening answers.
pub const AUTHORIZE_RESULT: Step = Step {
    name: "AuthorizeResult",
    kind: Q::AuthorizeResult,
    of: None,
    select: &[Branch {
        when: &[
            Reg(R::Complete),
            Result(S::Complete),
            Billing(B::None),
            Np(true),
            Order(StrState::Reg),
            Authorize(&[A::None, A::Delay]),
            NoOpenRound,
        ],
        set: &[],
        asks: true,
    }],
    gone: &[
        Gone {
            when: &[Order(StrState::Del)],
            set: &[],
        },
        Gone {
            when: &[Result(S::Update)],
            set: &[],
        },
        Gone {
            when: &[Result(S::Delete)],
            set: &[],
        },
        Gone {
            when: &[Result(S::Cancel)],
            set: &[],
        },
    ],
    writes: Writes {
        good: &[Set::Authorize(A::Complete), Set::Approved],
        refused: SCREENING_REFUSED,
        alert: AlertKind::ScreeningNg,
    },
    points: points!("AuthorizeResult"),
};

/// The step that fetches outcomes of billing requests.
pub const BILLING_RESULT: Step = Step {
    name: "BillingResult",
    kind: Q::BillingResult,
    of: Some(Q::BillingReg),
    select: &[Branch {
        when: &[
            Reg(R::Complete),
            Result(S::Billing),
            Billing(B::Standby),
            Np(true),
            Accepted(Q::BillingReg, Q::BillingResult),
        ],
        set: &[],
        asks: true,
    }],
    gone: &[Gone {
        when: &[Result(S::Cancel)],
        set: &[],
    }],
    writes: Writes {
        good: &[
            // Another amount than the order's is told, and stays here until people settle whose is right.
            Set::ConfirmedAmount,
            Set::Billing(B::Complete),
            Set::Result(S::Complete),
            Set::Billed,
        ],
        refused: BILLING_REFUSED,
        alert: AlertKind::BillingRefused,
    },
    points: points!("BillingResult"),
};

/// The step that asks for bills.
pub const BILLING_REG: Step = Step {
    name: "BillingReg",
    kind: Q::BillingReg,
    of: None,
    select: &[Branch {
        when: &[
            Reg(R::Complete),
            Result(S::Complete),
            Billing(B::None),
            Np(true),
            Order(StrState::Reg),
            Authorize(&[A::Complete]),
            AmountConfirmed,
            BillingDue,
        ],
        set: &[Set::Billing(B::Standby), Set::Result(S::Billing)],
        asks: true,
    }],
    gone: &[Gone {
        when: &[Order(StrState::Del)],
        set: &[Set::Billing(B::None), Set::Result(S::Complete)],
    }],
    writes: Writes {
        good: &[],
        refused: BILLING_REFUSED,
        alert: AlertKind::BillingRefused,
    },
    points: points!("BillingReg"),
};

/// The nine steps in the order of a run.
pub const STEPS: [Step; 9] = [
    ORDER_RESULT,
    ORDER_REG,
    UPDATE_RESULT,
    UPDATE_REG,
    DELETE_RESULT,
    DELETE_REG,
    AUTHORIZE_RESULT,
    BILLING_RESULT,
    BILLING_REG,
];

/// The step that makes requests of a type.
#[must_use]
pub fn step_of(kind: RequestType) -> &'static Step {
    static TABLE: [Step; 9] = STEPS;
    let found = TABLE.iter().find(|step| step.kind == kind);
    found.expect("each of the nine request types has its step")
}

/// The request type that fetches the outcome of a mutation.
#[must_use]
pub fn outcome_of(mutation: RequestType) -> Option<RequestType> {
    let found = STEPS.iter().find(|step| step.of == Some(mutation));
    found.map(|step| step.kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each request type has one step, a result step names its mutation, and points have names of their own.
    #[test]
    fn the_table_is_whole() {
        let mut points: Vec<&str> = STEPS.iter().flat_map(|step| step.points.all()).collect();
        points.sort_unstable();
        let count = points.len();
        points.dedup();
        assert_eq!((count, points.len()), (63, 63));
        for (kind, name) in RequestType::NAMES {
            let step = step_of(kind);
            assert_eq!(step.kind, kind);
            if let Some(of) = step.of {
                assert_eq!(of.as_str().replace("_REG", "_RESULT"), name);
                assert!(of.is_mutation());
            }
        }
    }
}
