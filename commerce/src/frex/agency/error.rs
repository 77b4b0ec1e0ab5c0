//! What can go wrong with a call, told by what is certain about it (`spec/frex.md` 9).

use std::time::Duration;

use super::Call;
use super::limits::LimitError;

/// Why an item has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No byte of the request left: connection refused, name not found, TLS handshake failed, or an earlier part of the
    /// same batch ended the call. The row goes back to STANDBY.
    #[error("not sent: {reason}; it is sent again later")]
    NotSent {
        /// What failed.
        reason: String,
    },
    /// 429, or 503 with Retry-After: documented as not executed. The row goes back to STANDBY, the step pauses.
    #[error("the agency asked to wait (status {status}); nothing was executed")]
    NotExecuted {
        /// The HTTP status.
        status: u16,
        /// How long the agency asked to wait.
        retry_after: Option<Duration>,
    },
    /// 401 or 403: not executed, and no call will be until the credentials are put right.
    #[error(
        "the agency rejects our shop code or password (status {status}); correct the credentials"
    )]
    Auth {
        /// The HTTP status.
        status: u16,
    },
    /// It may or may not have been executed: timeout, reset, 408, 5xx, an unreadable body, or an answer without this item.
    /// A mutation becomes UNKNOWN, a read is repeated later.
    #[error("outcome unknown: {reason}; a look-up decides")]
    Ambiguous {
        /// What happened.
        reason: String,
    },
    /// The agency does not speak our protocol at this address: 404, a redirect, another status that the contract does not
    /// have. Not a proof that nothing was executed.
    #[error("the agency breaks the contract: {reason}; check the base address and the protocol")]
    Contract {
        /// What happened.
        reason: String,
    },
    /// The item breaks a limit of the agency; it was never sent.
    #[error("not sent: {problem}")]
    OverLimit {
        /// Which limit.
        problem: LimitError,
    },
    /// This agency has no such call; an operator decides.
    #[error("the agency offers no call '{call}'; an operator must decide")]
    Unavailable {
        /// The call.
        call: Call,
    },
}

/// How much a failure says about the calls that would follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// Only this item or this exchange.
    Item,
    /// The agency cannot be reached just now.
    Connection,
    /// The step pauses.
    Pause,
    /// The step stops.
    Step,
    /// Every step of this run that needs the agency stops.
    Run,
}

impl CallError {
    /// The class in metrics and logs.
    #[must_use]
    pub const fn class(&self) -> &'static str {
        match self {
            Self::NotSent { .. } => "not_sent",
            Self::NotExecuted { .. } => "not_executed",
            Self::Auth { .. } => "auth",
            Self::Ambiguous { .. } => "ambiguous",
            Self::Contract { .. } => "contract",
            Self::OverLimit { .. } => "over_limit",
            Self::Unavailable { .. } => "unavailable",
        }
    }

    /// Whether it is certain that the agency executed nothing, so that the row may go back to STANDBY.
    #[must_use]
    pub const fn certainly_not_executed(&self) -> bool {
        match self {
            Self::NotSent { .. }
            | Self::NotExecuted { .. }
            | Self::Auth { .. }
            | Self::OverLimit { .. }
            | Self::Unavailable { .. } => true,
            Self::Ambiguous { .. } | Self::Contract { .. } => false,
        }
    }

    /// How much it says about the calls that would follow.
    #[must_use]
    pub const fn reach(&self) -> Reach {
        match self {
            Self::Ambiguous { .. } | Self::OverLimit { .. } | Self::Unavailable { .. } => {
                Reach::Item
            }
            Self::NotSent { .. } => Reach::Connection,
            Self::NotExecuted { .. } => Reach::Pause,
            Self::Contract { .. } => Reach::Step,
            Self::Auth { .. } => Reach::Run,
        }
    }
}

/// One place where an answer broke the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The call.
    pub call: Call,
    /// What is wrong.
    pub kind: ViolationKind,
    /// The request key or transaction number concerned; shortened and cleaned if it is not one of ours.
    pub key: String,
}

/// What an answer can have wrong with one item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ViolationKind {
    /// In neither list.
    Missing,
    /// Twice in one list.
    Twice,
    /// Among the results and among the errors.
    InBoth,
    /// An item we did not ask about, or one without a readable key.
    Foreign,
    /// Its fields do not follow the contract.
    Malformed,
    /// Its acceptance number is that of another item of the same answer, or not the one we asked about.
    AcceptNo,
}

impl ViolationKind {
    /// The word for logs and alerts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Twice => "twice",
            Self::InBoth => "in_both_lists",
            Self::Foreign => "foreign",
            Self::Malformed => "malformed",
            Self::AcceptNo => "accept_no",
        }
    }
}
