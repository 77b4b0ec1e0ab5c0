//! Whether runs still end well: the alert of `spec/frex.md` 13.

use super::alert::{self, Alert, AlertKind};
use super::error::FrexError;
use super::lease;
use super::settings::{WorkerSettings, ms};
use crate::clock;
use crate::id;
use crate::store::Store;

/// Runs older than this many intervals are no sign of health.
const INTERVALS: u64 = 3;

/// When the last run ended well, unix ms; 0 = never.
///
/// # Errors
/// The database's.
pub async fn last_success(store: &Store) -> Result<i64, FrexError> {
    let sql = "SELECT COALESCE(MAX(ended_at), 0) FROM frex_run WHERE state = 'DONE'";
    Ok(sqlx::query_scalar(sql).fetch_one(store.pool()).await?)
}

/// Raises or resolves the alert. `watched_since` is when this process began to look: what was before is not held against the
/// worker. A paused worker is not late.
///
/// # Errors
/// The database's.
pub async fn check(
    store: &Store,
    settings: &WorkerSettings,
    watched_since: i64,
    now: i64,
) -> Result<(), FrexError> {
    let last = last_success(store).await?;
    let paused = lease::view(store).await?.paused_by.is_some();
    let limit = ms(INTERVALS * settings.interval_s + settings.run_slice_s);
    // What ended far in the future ended before the clock went back, nobody knows when. A little ahead is another process.
    let counted = if last > now + limit { 0 } else { last };
    let late = !paused && now - counted.max(watched_since) > limit;
    let open: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM frex_alert WHERE kind = $1 AND order_no = '' AND resolved_at = 0",
    )
    .bind(AlertKind::RunOverdue.as_str())
    .fetch_one(store.pool())
    .await?;
    if late == (open > 0) {
        return Ok(());
    }
    let mut tx = store.begin().await?;
    if late {
        let since = if last == 0 {
            "ever".to_owned()
        } else {
            format!("since {}", clock::rfc3339(last))
        };
        let alert = Alert {
            detail: format!(
                "no run has ended well {since}; look at the log, the database and the lease"
            ),
            ..Alert::default()
        };
        alert::raise(
            tx.conn(),
            AlertKind::RunOverdue,
            &alert,
            id::at("", now),
            now,
        )
        .await?;
    } else {
        alert::resolve(tx.conn(), AlertKind::RunOverdue, "", "worker", now).await?;
    }
    Ok(tx.commit().await?)
}
