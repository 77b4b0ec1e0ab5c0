//! What can go wrong inside the worker and the shop's functions, apart from what the agency says.

use super::model::{Corrupt, ReadError};
use super::transitions::Quad;
use super::vault::VaultError;
use crate::store::StoreError;

/// A failure of ours.
#[derive(Debug, thiserror::Error)]
pub enum FrexError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A row holds what nobody writes.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
    /// Buyer data does not open.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// A write that the state machine does not have.
    #[error(
        "order {order_no} cannot go from {from:?} to {to:?}: the state machine has no such step; nothing was written"
    )]
    Illegal {
        /// The order.
        order_no: String,
        /// What it held.
        from: Quad,
        /// What it was to hold.
        to: Quad,
    },
    /// A request would move as 3.2 does not know.
    #[error("request {key} cannot go from {from} to {to}: nothing was written")]
    IllegalMove {
        /// The request.
        key: String,
        /// From.
        from: &'static str,
        /// To.
        to: &'static str,
    },
    /// What was frozen when a request was first sent cannot be built again.
    #[error(
        "the content of request {key} is no longer what was sent first; an operator must decide"
    )]
    Frozen {
        /// The request.
        key: String,
    },
    /// A row that must be there is not.
    #[error("{what} of order {order_no} is missing; restore it from a backup")]
    Missing {
        /// What.
        what: &'static str,
        /// Of which order.
        order_no: String,
    },
    /// A newer run exists: this worker's lease was taken over.
    #[error("the lease with number {fence} was taken over; this run ends and writes nothing more")]
    LeaseLost {
        /// Our number.
        fence: i64,
    },
    /// Our code panicked.
    #[error("our code panicked: {message}")]
    Panic {
        /// What it said.
        message: String,
    },
    /// A step ran far beyond its time slice.
    #[error(
        "the step was still at work {seconds} s after its beginning and was ended; its requests are looked up in the next run"
    )]
    Overrun {
        /// How long it ran.
        seconds: u64,
    },
}

impl From<sqlx::Error> for FrexError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<ReadError> for FrexError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Database(error) => error.into(),
            ReadError::Corrupt(error) => error.into(),
        }
    }
}

impl FrexError {
    /// Whether it ends the whole step: the database is gone or the lease is lost, so no other item can fare better.
    #[must_use]
    pub fn ends_step(&self) -> bool {
        match self {
            Self::LeaseLost { .. } | Self::Overrun { .. } => true,
            Self::Store(StoreError::Sql(error)) => {
                matches!(
                    error,
                    sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed
                )
            }
            _ => false,
        }
    }

    /// Whether somebody else changed the row meanwhile: nobody's fault.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_conflict())
    }
}
