//! The calls to Atom as the flow sees them: four questions, and what it means when there is no answer.
//!
//! The distinction that everything rests on is in [`CallError`]: a call that was never sent may be made again; a call
//! whose fate is unknown may have had its effect; a refusal is an answer. (`spec/atom.md` 13.1.)

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;
use tokio::time::Instant;

use super::wire::answer::Undecodable;
use super::wire::codes::Refusal;
use super::wire::messages::{
    AuthAnswer, AuthRequest, RefundAnswer, RefundMark, RefundRequest, RefundStatusAnswer,
    RefundStatusRequest, StatusAnswer, StatusRequest,
};
use super::wire::request::RequestError;

/// The four calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Api {
    /// Token issue.
    Auth,
    /// Transaction status.
    Status,
    /// Refund.
    Refund,
    /// Refund status.
    RefundStatus,
}

impl Api {
    /// All of them.
    pub const ALL: [Api; 4] = [Api::Auth, Api::Status, Api::Refund, Api::RefundStatus];

    /// The name in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Api::Auth => "auth",
            Api::Status => "status",
            Api::Refund => "refund",
            Api::RefundStatus => "refund_status",
        }
    }

    /// Whether the call only reads, so that it may be repeated after an unknown outcome.
    pub fn is_read_only(self) -> bool {
        matches!(self, Api::Status | Api::RefundStatus)
    }
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Atom, or what stands for it in a test.
#[async_trait]
pub trait Atom: Send + Sync {
    /// Asks for a checkout token. The attempt is stored before this is called. Its time counts from when the customer `began`
    /// to wait, which is before the first call if this is not it.
    async fn auth(&self, request: &AuthRequest, began: Instant) -> Result<AuthAnswer, CallError>;

    /// Asks what became of an attempt.
    async fn status(&self, request: &StatusRequest) -> Result<StatusAnswer, CallError>;

    /// What [`Atom::refund`] will send for this request: to be stored before it is called.
    fn refund_mark(&self, request: &RefundRequest) -> Result<RefundMark, CallError>;

    /// Gives money back. The mark is stored before this is called.
    async fn refund(&self, request: &RefundRequest) -> Result<RefundAnswer, CallError>;

    /// Asks for all refunds of a payment.
    async fn refund_status(
        &self,
        request: &RefundStatusRequest,
    ) -> Result<RefundStatusAnswer, CallError>;
}

/// Why a call has no usable answer. The columns of `spec/atom.md` 13.1, one variant each, and two of our own making.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CallError {
    /// Not a byte reached Atom, and the permitted repeats are used up. The same call may be made again later.
    #[error("{api}: not sent ({why}); the same call may be made again")]
    NotSent {
        /// The call.
        api: Api,
        /// What was in the way.
        why: NotSent,
    },
    /// Atom may or may not have done it. Only a query can tell.
    #[error("{api}: the outcome is unknown ({doubt}); a query must settle it")]
    Ambiguous {
        /// The call.
        api: Api,
        /// What was seen instead of an answer.
        doubt: Doubt,
        /// The HTTP status, if there was one.
        http_status: Option<u16>,
        /// When Atom asked to be called again.
        retry_after: Option<Duration>,
    },
    /// Atom said no, and said it definitely.
    #[error("{api}: refused with {code} ({refusal})")]
    Refused {
        /// The call.
        api: Api,
        /// The code.
        code: String,
        /// What kind of no it is.
        refusal: Refusal,
        /// The HTTP status.
        http_status: u16,
    },
    /// Too many calls failed lately, so none was made.
    #[error("{api}: the circuit is open; call again in {} s", retry_after.as_secs())]
    CircuitOpen {
        /// The call.
        api: Api,
        /// When a trial call will be let through.
        retry_after: Duration,
    },
    /// The request breaks a limit of the interface, so it was not sent. No repeat will help.
    #[error("{api}: {error}; nothing was sent")]
    Invalid {
        /// The call.
        api: Api,
        /// Which limit.
        error: RequestError,
    },
}

impl CallError {
    /// Which call it was.
    pub fn api(&self) -> Api {
        match self {
            CallError::NotSent { api, .. }
            | CallError::Ambiguous { api, .. }
            | CallError::Refused { api, .. }
            | CallError::CircuitOpen { api, .. }
            | CallError::Invalid { api, .. } => *api,
        }
    }

    /// When to call again, if Atom or the breaker said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            CallError::CircuitOpen { retry_after, .. } => Some(*retry_after),
            CallError::Ambiguous { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The class of the seed's error table (12.5), which decides who is told.
    pub fn class(&self) -> ErrorClass {
        match self {
            CallError::Ambiguous {
                http_status: Some(401 | 403),
                ..
            } => ErrorClass::Authentication,
            CallError::Refused {
                http_status: 401 | 403,
                ..
            } => ErrorClass::Authentication,
            CallError::Refused { refusal, .. } => match refusal {
                Refusal::Merchant => ErrorClass::Authentication,
                Refusal::Signature => ErrorClass::Signature,
                _ => ErrorClass::Other,
            },
            CallError::Invalid { .. } => ErrorClass::Other,
            _ => ErrorClass::System,
        }
    }
}

/// The seed's classes of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// Atom does not accept who we are: calls stop, the configuration is to be mended.
    Authentication,
    /// Atom does not accept our signature: no repeat.
    Signature,
    /// No definite answer: back-off, then a report.
    System,
    /// Everything else: an issue for a person.
    Other,
}

impl ErrorClass {
    /// The name in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            ErrorClass::Authentication => "authentication",
            ErrorClass::Signature => "signature",
            ErrorClass::System => "system",
            ErrorClass::Other => "other",
        }
    }
}

/// What kept a call from being sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum NotSent {
    /// The name has no address.
    #[error("the host name does not resolve")]
    Dns,
    /// Nobody took the connection within the time.
    #[error("the connection timed out")]
    ConnectTimeout,
    /// The connection was refused, or the TLS handshake failed.
    #[error("no connection, or no TLS handshake")]
    Connect,
    /// The time that the caller gave was over before a connection was tried.
    #[error("the caller's time was over")]
    Deadline,
}

/// What was seen in place of a definite answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum Doubt {
    /// No complete answer within the time.
    #[error("no answer in time")]
    Timeout,
    /// The connection broke after bytes may have left.
    #[error("the connection broke")]
    Broken,
    /// An HTTP status of the 500s.
    #[error("a server error")]
    ServerError,
    /// An answer without a body: the known symptom of a wrong key, salt, IV or payload.
    #[error("an empty answer")]
    Empty,
    /// A page of a proxy or a firewall.
    #[error("an HTML page")]
    Html,
    /// An answer that cannot be read.
    #[error("an unreadable answer: {0}")]
    Undecodable(Undecodable),
    /// An answer about something else than what was asked.
    #[error("an answer that does not fit the question: {0}")]
    Contradiction(&'static str),
    /// Atom reports an internal error (OTS0951).
    #[error("an internal error of Atom")]
    Internal,
}

impl Doubt {
    /// The name in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Doubt::Timeout => "timeout",
            Doubt::Broken => "broken",
            Doubt::ServerError => "server_error",
            Doubt::Empty => "empty_response",
            Doubt::Html => "html_response",
            Doubt::Undecodable(_) => "undecodable",
            Doubt::Contradiction(_) => "contradiction",
            Doubt::Internal => "internal",
        }
    }
}

/// How one try of a call ended, for counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallClass {
    /// A definite answer: done.
    Done,
    /// A definite answer: refused.
    Refused,
    /// Not sent.
    NotSent,
    /// The outcome is unknown, and why.
    Ambiguous(Doubt),
}

impl CallClass {
    /// The name in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            CallClass::Done => "done",
            CallClass::Refused => "refused",
            CallClass::NotSent => "not_sent",
            CallClass::Ambiguous(doubt) => doubt.name(),
        }
    }

    /// Whether Atom gave a definite answer; otherwise it counts as a system error.
    pub fn is_definite(self) -> bool {
        matches!(self, CallClass::Done | CallClass::Refused)
    }
}

/// Sees every try of every call. Metrics implement it; it must not block.
pub trait CallObserver: Send + Sync {
    /// A try ended after `elapsed`.
    fn call(&self, api: Api, class: CallClass, elapsed: Duration);

    /// A try will be made again.
    fn retry(&self, api: Api);

    /// The circuit of a call changed.
    fn circuit(&self, api: Api, state: CircuitState);
}

/// Nobody watches.
pub struct Unobserved;

impl CallObserver for Unobserved {
    fn call(&self, _: Api, _: CallClass, _: Duration) {}
    fn retry(&self, _: Api) {}
    fn circuit(&self, _: Api, _: CircuitState) {}
}

/// Where a circuit breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CircuitState {
    /// Calls pass.
    Closed,
    /// One trial call passes.
    HalfOpen,
    /// No call passes.
    Open,
}

impl CircuitState {
    /// The value of the gauge `circuit_state`.
    pub fn gauge(self) -> i64 {
        match self {
            CircuitState::Closed => 0,
            CircuitState::HalfOpen => 1,
            CircuitState::Open => 2,
        }
    }
}
