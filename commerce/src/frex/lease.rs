//! The lease: one runner for the whole batch, with a fencing number (`spec/frex.md` 10.1 rule 8).
//!
//! Each run takes a number above all earlier ones. Every transaction of the worker begins with [`guard`], which holds the number
//! against the table and keeps it from being taken over until the transaction ends. The same row says when the next run is
//! due, over all workers, and whether the worker is paused.
//!
//! The lease of a worker that crashed runs out; a worker on the same machine sees that its process is gone and need not wait.

use sqlx::Row as _;

use super::error::FrexError;
use super::owner as process;
use crate::store::{Kind, Store, Tx};

/// What the row says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseView {
    /// Who holds it, or held it last.
    pub owner: String,
    /// Number of the latest run.
    pub fence: i64,
    /// Until when it is held, unix ms.
    pub expires_at: i64,
    /// When the next run is due, unix ms.
    pub next_run_at: i64,
    /// Who paused the worker, if it is paused.
    pub paused_by: Option<String>,
}

/// Why no lease was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// A run is active.
    Running(LeaseView),
    /// The next run is not due.
    NotDue(LeaseView),
    /// An operator paused the worker.
    Paused(LeaseView),
}

const VIEW: &str = "SELECT owner, fence, expires_at, next_run_at, paused, paused_by FROM frex_lease WHERE name = 'batch'";

/// How the lease stands.
///
/// # Errors
/// The database's.
pub async fn view(store: &Store) -> Result<LeaseView, FrexError> {
    let row = sqlx::query(VIEW).fetch_one(store.pool()).await?;
    let paused: i64 = row.try_get("paused")?;
    let paused_by: String = row.try_get("paused_by")?;
    Ok(LeaseView {
        owner: row.try_get("owner")?,
        fence: row.try_get("fence")?,
        expires_at: row.try_get("expires_at")?,
        next_run_at: row.try_get("next_run_at")?,
        paused_by: (paused != 0).then_some(paused_by),
    })
}

/// Takes the lease with a new number if nobody holds it, or nobody who still lives. A run by hand needs not be due, and runs while the worker is paused.
///
/// # Errors
/// The database's.
pub async fn acquire(
    store: &Store,
    owner: &str,
    by_hand: bool,
    now: i64,
    (lasts_ms, interval_ms): (i64, i64),
) -> Result<Result<i64, Held>, FrexError> {
    let before = view(store).await?;
    let orphaned = before.expires_at > now && process::is_gone(&before.owner);
    if before.expires_at > now && !orphaned {
        return Ok(Err(Held::Running(before)));
    }
    if !by_hand && before.paused_by.is_some() {
        return Ok(Err(Held::Paused(before)));
    }
    // A time much further off than the interval was set by a clock that has gone back since.
    if !by_hand && (now + 1..=now + 2 * interval_ms).contains(&before.next_run_at) {
        return Ok(Err(Held::NotDue(before)));
    }
    let done = sqlx::query("UPDATE frex_lease SET owner = $1, fence = fence + 1, expires_at = $2 WHERE name = 'batch' AND fence = $3 AND expires_at = $4")
        .bind(owner)
        .bind(now + lasts_ms)
        .bind(before.fence)
        .bind(before.expires_at)
        .execute(store.pool())
        .await?;
    if done.rows_affected() == 1 {
        if orphaned {
            log::warn!(
                "frex: '{}' is gone without an end of its run {}; this worker takes over",
                before.owner,
                before.fence
            );
        }
        return Ok(Ok(before.fence + 1));
    }
    Ok(Err(Held::Running(view(store).await?)))
}

/// Holds the lease for longer.
///
/// # Errors
/// The database's, or the lease was taken over.
pub async fn renew(store: &Store, fence: i64, now: i64, lasts_ms: i64) -> Result<(), FrexError> {
    let done =
        sqlx::query("UPDATE frex_lease SET expires_at = $1 WHERE name = 'batch' AND fence = $2")
            .bind(now + lasts_ms)
            .bind(fence)
            .execute(store.pool())
            .await?;
    lost_unless_one(done.rows_affected(), fence)
}

/// Gives the lease back and says when the next run is due; none leaves that as it was.
///
/// # Errors
/// The database's, or the lease was taken over.
pub async fn release(store: &Store, fence: i64, next_run_at: Option<i64>) -> Result<(), FrexError> {
    let done = sqlx::query("UPDATE frex_lease SET expires_at = 0, next_run_at = COALESCE($1, next_run_at) WHERE name = 'batch' AND fence = $2")
        .bind(next_run_at)
        .bind(fence)
        .execute(store.pool())
        .await?;
    lost_unless_one(done.rows_affected(), fence)
}

fn lost_unless_one(rows: u64, fence: i64) -> Result<(), FrexError> {
    if rows == 1 {
        Ok(())
    } else {
        Err(FrexError::LeaseLost { fence })
    }
}

/// Holds that the number is the newest, and keeps it so until the transaction ends.
///
/// # Errors
/// The database's, or the lease was taken over.
pub async fn guard(tx: &mut Tx, fence: i64) -> Result<(), FrexError> {
    let sql = match tx.kind() {
        Kind::Sqlite => "SELECT fence FROM frex_lease WHERE name = 'batch'",
        Kind::Postgres => "SELECT fence FROM frex_lease WHERE name = 'batch' FOR SHARE",
    };
    let newest: i64 = sqlx::query_scalar(sql).fetch_one(tx.conn()).await?;
    if newest == fence {
        Ok(())
    } else {
        Err(FrexError::LeaseLost { fence })
    }
}

/// Pauses the worker or lets it go on; a run that is under way ends as it would.
///
/// # Errors
/// The database's.
pub async fn set_paused(tx: &mut Tx, paused: bool, by: &str) -> Result<(), FrexError> {
    sqlx::query("UPDATE frex_lease SET paused = $1, paused_by = $2 WHERE name = 'batch'")
        .bind(i64::from(paused))
        .bind(by)
        .execute(tx.conn())
        .await?;
    Ok(())
}
