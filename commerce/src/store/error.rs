//! What can go wrong with the database.

use thiserror::Error;

/// A failure of the database, or of a condition on it.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The address is of no known kind.
    #[error(
        "the database address is neither sqlite:PATH nor postgres://USER@HOST/NAME; write one of them"
    )]
    Address,
    /// It cannot be opened.
    #[error(
        "the database cannot be opened ({0}); check its address, its rights and whether it runs"
    )]
    Open(#[source] sqlx::Error),
    /// Its tables cannot be brought up to date.
    #[error(
        "the tables cannot be brought up to date ({0}); restore a backup or use the version that wrote them"
    )]
    Migrate(#[source] sqlx::migrate::MigrateError),
    /// A statement failed.
    #[error("the database failed ({0}); the change was not made")]
    Sql(#[from] sqlx::Error),
    /// A guarded statement found another state than the one it expects: somebody else was quicker.
    #[error("{table} {id} was changed by somebody else meanwhile; read it again")]
    Conflict {
        /// The table.
        table: &'static str,
        /// The row.
        id: String,
    },
    /// A row holds what no version of ours writes.
    #[error("{table} {id} is broken: {what}; restore the row from a backup")]
    Broken {
        /// The table.
        table: &'static str,
        /// The row.
        id: String,
        /// What is wrong with it.
        what: String,
    },
}

impl StoreError {
    /// A guard that did not hold.
    pub fn conflict(table: &'static str, id: &str) -> StoreError {
        StoreError::Conflict {
            table,
            id: id.to_owned(),
        }
    }

    /// A row that cannot be read.
    pub fn broken(table: &'static str, id: &str, what: &str) -> StoreError {
        StoreError::Broken {
            table,
            id: id.to_owned(),
            what: what.to_owned(),
        }
    }

    /// Whether a guard did not hold.
    pub fn is_conflict(&self) -> bool {
        matches!(self, StoreError::Conflict { .. })
    }

    /// Whether a row of that unique value exists already.
    pub fn is_duplicate(&self) -> bool {
        match self {
            StoreError::Sql(sqlx::Error::Database(error)) => error.is_unique_violation(),
            _ => false,
        }
    }
}
