//! What is done at a time by one of the processes: a row says when it is due, and who moves that time on does it.

use super::error::FrexError;
use super::settings::ms;
use crate::store::Store;

/// A duty beside the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// The tables held against the rules of section 17.
    Invariants,
    /// Bills held against the agency.
    Reconcile,
    /// Buyer data removed whose time is over.
    Purge,
    /// Alerts told by webhook.
    Webhook,
    /// Alerts told by e-mail.
    Mail,
}

impl Duty {
    /// Its name in the table.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Invariants => "invariants",
            Self::Reconcile => "reconcile",
            Self::Purge => "purge",
            Self::Webhook => "webhook",
            Self::Mail => "mail",
        }
    }

    /// Takes it if it is due. Nobody else does for `busy_ms`; if this process dies, somebody does after that.
    ///
    /// # Errors
    /// The database's.
    pub async fn take(self, store: &Store, now: i64, busy_ms: i64) -> Result<bool, FrexError> {
        let due: i64 = sqlx::query_scalar("SELECT due_at FROM frex_duty WHERE name = $1")
            .bind(self.name())
            .fetch_one(store.pool())
            .await?;
        if due > now {
            return Ok(false);
        }
        let done = sqlx::query("UPDATE frex_duty SET due_at = $1 WHERE name = $2 AND due_at = $3")
            .bind(now + busy_ms)
            .bind(self.name())
            .bind(due)
            .execute(store.pool())
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// It is done, and due again at a time.
    ///
    /// # Errors
    /// The database's.
    pub async fn done(self, store: &Store, next: i64) -> Result<(), FrexError> {
        sqlx::query("UPDATE frex_duty SET due_at = $1, tries = 0, last_error = '' WHERE name = $2")
            .bind(next)
            .bind(self.name())
            .execute(store.pool())
            .await?;
        Ok(())
    }

    /// It failed, and is tried again after the wait that belongs to the number of failures in a row, which is returned.
    ///
    /// # Errors
    /// The database's.
    pub async fn failed(
        self,
        store: &Store,
        now: i64,
        retry_s: &[u64],
        error: &str,
    ) -> Result<i64, FrexError> {
        let tries: i64 = sqlx::query_scalar("SELECT tries FROM frex_duty WHERE name = $1")
            .bind(self.name())
            .fetch_one(store.pool())
            .await?;
        let at = usize::try_from(tries).unwrap_or(usize::MAX);
        let wait_s = retry_s.get(at).or(retry_s.last()).copied().unwrap_or(60);
        let short: String = error.chars().take(300).collect();
        sqlx::query(
            "UPDATE frex_duty SET due_at = $1, tries = tries + 1, last_error = $2 WHERE name = $3",
        )
        .bind(now + ms(wait_s))
        .bind(short)
        .bind(self.name())
        .execute(store.pool())
        .await?;
        Ok(tries + 1)
    }
}
