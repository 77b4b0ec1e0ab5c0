//! What the flow refuses, by the codes of `spec/atom.md` 15.

use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::store::StoreError;

/// When to ask again whether payments are taken, in seconds.
const STOPPED_RETRY_S: u64 = 60;

/// One field of a body that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Where in the body: `customer.email`.
    pub field: String,
    /// What it must be.
    pub reason: String,
}

/// Why there is no reply. Each has a code that programs can rely on, an HTTP status, and a sentence for people.
#[derive(Debug, Error)]
pub enum FlowError {
    /// The body breaks rules.
    #[error("{}", listed(.fields))]
    Validation {
        /// Each field that does, once.
        fields: Vec<FieldError>,
    },
    /// No `Idempotency-Key` where one is needed.
    #[error(
        "send an Idempotency-Key header: 1 to 64 visible ASCII characters, a new one for each new request"
    )]
    IdempotencyKeyRequired,
    /// The first request with this key is not finished.
    #[error(
        "the first request with this Idempotency-Key is still running; send it again in a second"
    )]
    RequestInProgress,
    /// The key belongs to another body.
    #[error("this Idempotency-Key was used with another body; take a new one")]
    IdempotencyKeyReused,
    /// The reference belongs to an order with other content.
    #[error(
        "merchant_order_ref belongs to {order_id}, which has other content; take another reference"
    )]
    DuplicateOrderRef {
        /// That order.
        order_id: String,
    },
    /// The amount is outside what may be ordered.
    #[error("amount must be from {min} to {max} minor units")]
    AmountOutOfRange {
        /// The least.
        min: i64,
        /// The most.
        max: i64,
    },
    /// The currency is not taken.
    #[error("currency must be one of {}", .supported.join(", "))]
    CurrencyNotSupported {
        /// Those that are.
        supported: Vec<String>,
    },
    /// No such thing, or of another merchant.
    #[error("there is no {what} {id}")]
    NotFound {
        /// `order`, `refund`, `issue`.
        what: &'static str,
        /// What was asked for.
        id: String,
    },
    /// The state does not permit it.
    #[error("{detail}")]
    InvalidState {
        /// The order.
        order_id: String,
        /// Which state, and what would be needed.
        detail: String,
    },
    /// Another attempt to pay is open.
    #[error(
        "an attempt to pay is open; reopen its page, wait for its result, or send \"supersede\": true"
    )]
    AttemptOpen {
        /// The order.
        order_id: String,
        /// The attempt as start-payment answered it.
        attempt: Value,
    },
    /// The order cannot be cancelled before a query has told what became of an attempt.
    #[error(
        "an attempt to pay is not settled; it is being asked for, try again after the given time"
    )]
    AttemptUnsettled {
        /// The order.
        order_id: String,
        /// When the query will have run, in seconds.
        retry_after_s: u64,
    },
    /// Too many attempts of one order in an hour.
    #[error("at most {max} attempts to pay an order in an hour; wait")]
    TooManyAttempts {
        /// How many may be.
        max: i64,
        /// When the next may be, in seconds.
        retry_after_s: u64,
    },
    /// Atom refused definitely.
    #[error(
        "the gateway refused ({class}); the attempt is over, and a new one needs a new Idempotency-Key"
    )]
    GatewayRejected {
        /// What kind of refusal; never Atom's own text.
        class: &'static str,
    },
    /// Nothing was sent to Atom.
    #[error("the gateway cannot be reached; nothing was sent, try again after the given time")]
    GatewayUnavailable {
        /// When, in seconds.
        retry_after_s: u64,
    },
    /// Nobody knows whether Atom did it.
    #[error("the gateway did not answer in time; a new Idempotency-Key starts a new attempt")]
    GatewayTimeout,
    /// More than is left.
    #[error("at most {remaining} minor units can still be given back")]
    RefundExceedsBalance {
        /// What is left.
        remaining: i64,
    },
    /// Parts cannot be given back.
    #[error("this account gives back whole payments only; leave amount out")]
    PartialNotAllowed,
    /// The refund names another currency than the order.
    #[error("the order was paid in {currency}")]
    CurrencyMismatch {
        /// The order's.
        currency: String,
    },
    /// An operator has stopped new payments.
    #[error("new payments are stopped for the moment; nothing was begun")]
    PaymentsStopped,
    /// The refund is stored, and could not be sent.
    #[error(
        "the refund {refund_id} is stored, the gateway cannot be reached; it is sent as soon as that is possible"
    )]
    RefundQueued {
        /// The refund.
        refund_id: String,
        /// When the next try is due, in seconds.
        retry_after_s: u64,
    },
    /// A money-moving action needs another operator.
    #[error("{detail}")]
    SecondOperator {
        /// Who has to do what.
        detail: String,
    },
    /// The database failed, or somebody else was quicker.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl FlowError {
    /// One field that breaks a rule.
    pub fn field(field: &str, reason: impl Into<String>) -> FlowError {
        FlowError::Validation {
            fields: vec![FieldError {
                field: field.to_owned(),
                reason: reason.into(),
            }],
        }
    }

    /// An order that is not there for this caller.
    pub fn no_order(id: &str) -> FlowError {
        FlowError::NotFound {
            what: "order",
            id: id.to_owned(),
        }
    }

    /// A state that does not permit it.
    pub fn invalid_state(order_id: &str, detail: impl Into<String>) -> FlowError {
        FlowError::InvalidState {
            order_id: order_id.to_owned(),
            detail: detail.into(),
        }
    }

    /// The code of section 15.
    pub fn code(&self) -> &'static str {
        self.kind().0
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.kind().1
    }

    fn kind(&self) -> (&'static str, u16) {
        match self {
            FlowError::Validation { .. } => ("validation_failed", 400),
            FlowError::IdempotencyKeyRequired => ("idempotency_key_required", 400),
            FlowError::RequestInProgress => ("request_in_progress", 409),
            FlowError::IdempotencyKeyReused => ("idempotency_key_reused", 422),
            FlowError::DuplicateOrderRef { .. } => ("duplicate_order_ref", 409),
            FlowError::AmountOutOfRange { .. } => ("amount_out_of_range", 422),
            FlowError::CurrencyNotSupported { .. } => ("currency_not_supported", 422),
            FlowError::NotFound { .. } => ("not_found", 404),
            FlowError::InvalidState { .. } => ("invalid_state", 409),
            FlowError::AttemptOpen { .. } | FlowError::AttemptUnsettled { .. } => {
                ("attempt_open", 409)
            }
            FlowError::TooManyAttempts { .. } => ("too_many_attempts", 429),
            FlowError::GatewayRejected { .. } => ("gateway_rejected", 502),
            FlowError::GatewayUnavailable { .. } => ("gateway_unavailable", 503),
            FlowError::GatewayTimeout => ("gateway_timeout", 504),
            FlowError::PaymentsStopped => ("payments_stopped", 503),
            FlowError::RefundExceedsBalance { .. } => ("refund_exceeds_balance", 422),
            FlowError::PartialNotAllowed => ("partial_not_allowed", 422),
            FlowError::CurrencyMismatch { .. } => ("currency_mismatch", 422),
            FlowError::RefundQueued { .. } => ("gateway_unavailable", 503),
            FlowError::SecondOperator { .. } => ("second_operator_required", 403),
            FlowError::Store(StoreError::Conflict { .. }) => ("request_in_progress", 409),
            FlowError::Store(_) => ("internal_error", 500),
        }
    }

    /// What a person is told. A failure of our own tells nothing: the log has it.
    pub fn detail(&self) -> String {
        match self {
            FlowError::Store(StoreError::Conflict { .. }) => {
                "another request changed the order at the same moment; send this one again"
                    .to_owned()
            }
            FlowError::Store(_) => "the log has the reason under this request's id".to_owned(),
            other => other.to_string(),
        }
    }

    /// After how many seconds to try again.
    pub fn retry_after_s(&self) -> Option<u64> {
        match self {
            FlowError::RequestInProgress | FlowError::Store(StoreError::Conflict { .. }) => Some(1),
            FlowError::AttemptUnsettled { retry_after_s, .. }
            | FlowError::TooManyAttempts { retry_after_s, .. }
            | FlowError::GatewayUnavailable { retry_after_s }
            | FlowError::RefundQueued { retry_after_s, .. } => Some((*retry_after_s).max(1)),
            FlowError::PaymentsStopped => Some(STOPPED_RETRY_S),
            _ => None,
        }
    }

    /// Further members of the problem document.
    pub fn extra(&self) -> Map<String, Value> {
        let members = match self {
            FlowError::Validation { fields } => json!({
                "fields": fields
                    .iter()
                    .map(|bad| json!({"field": bad.field, "reason": bad.reason}))
                    .collect::<Vec<_>>()
            }),
            FlowError::DuplicateOrderRef { order_id }
            | FlowError::InvalidState { order_id, .. }
            | FlowError::AttemptUnsettled { order_id, .. } => json!({"order_id": order_id}),
            FlowError::AttemptOpen { order_id, attempt } => {
                json!({"order_id": order_id, "attempt": attempt})
            }
            FlowError::GatewayRejected { class } => json!({"class": class}),
            FlowError::RefundExceedsBalance { remaining } => json!({"remaining": remaining}),
            FlowError::RefundQueued { refund_id, .. } => json!({"refund_id": refund_id}),
            _ => json!({}),
        };
        match members {
            Value::Object(members) => members,
            _ => Map::new(),
        }
    }
}

fn listed(fields: &[FieldError]) -> String {
    let fields = fields
        .iter()
        .map(|bad| format!("{}: {}", bad.field, bad.reason));
    fields.collect::<Vec<_>>().join("; ")
}
