//! A transaction that may write.

use sqlx::any::AnyQueryResult;
use sqlx::{Any, AnyConnection, Transaction};
use tokio::sync::OwnedMutexGuard;

use super::{Kind, StoreError};

/// A transaction. Dropped without [`Tx::commit`], it has changed nothing.
pub struct Tx {
    // The order of the fields is the order of their end: the roll-back is under way before the next writer begins.
    begun: Transaction<'static, Any>,
    kind: Kind,
    _turn: Option<OwnedMutexGuard<()>>,
}

impl Tx {
    pub(super) fn new(
        begun: Transaction<'static, Any>,
        kind: Kind,
        turn: Option<OwnedMutexGuard<()>>,
    ) -> Tx {
        Tx {
            begun,
            kind,
            _turn: turn,
        }
    }

    /// What statements are run on.
    pub fn conn(&mut self) -> &mut AnyConnection {
        &mut self.begun
    }

    /// Which database it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What a `SELECT` ends with that takes the rows it reads, until the transaction ends. On SQLite the transaction has
    /// the whole database already.
    pub fn for_update(&self) -> &'static str {
        match self.kind {
            Kind::Sqlite => "",
            Kind::Postgres => " FOR UPDATE",
        }
    }

    /// What a `SELECT` ends with that takes the rows which nobody else has taken, and leaves out the others.
    pub fn for_update_free(&self) -> &'static str {
        match self.kind {
            Kind::Sqlite => "",
            Kind::Postgres => " FOR UPDATE SKIP LOCKED",
        }
    }

    /// Makes everything durable.
    ///
    /// # Errors
    /// The database refuses; then nothing has changed, or, if the connection broke meanwhile, nobody knows.
    pub async fn commit(self) -> Result<(), StoreError> {
        self.begun.commit().await?;
        Ok(())
    }

    /// Changes nothing.
    ///
    /// # Errors
    /// The connection broke; then nothing has changed either.
    pub async fn rollback(self) -> Result<(), StoreError> {
        self.begun.rollback().await?;
        Ok(())
    }
}

/// Holds that a guarded statement changed exactly one row of `table`.
///
/// # Errors
/// It did not: somebody else was quicker.
pub fn one(done: &AnyQueryResult, table: &'static str, id: &str) -> Result<(), StoreError> {
    match done.rows_affected() {
        1 => Ok(()),
        _ => Err(StoreError::conflict(table, id)),
    }
}
