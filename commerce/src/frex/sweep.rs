//! The end of a run: what has waited too long is told (`spec/frex.md` 11).

use sqlx::AssertSqlSafe;

use super::alert::{self, Alert, AlertKind};
use super::error::FrexError;
use super::key::RequestKey;
use super::lease;
use super::settings::{WorkerSettings, ms};
use super::tables;
use super::worker::Run;

/// A way of waiting too long.
struct Overdue {
    kind: AlertKind,
    /// The requests `r` that wait so and were not told of; `$1` is the time before which they began to.
    sql: &'static str,
    /// Since when they wait.
    by: &'static str,
    limit_s: fn(&WorkerSettings) -> u64,
    detail: &'static str,
}

/// What stands in STANDBY is marked when it is told of: many may wait long. Of what is UNKNOWN there is little, and other places tell
/// of it too, so its alerts are looked for.
const OVERDUE: [Overdue; 5] = [
    Overdue {
        kind: AlertKind::StandbyOverdue,
        sql: "r.type IN ('ORDER_REG', 'UPDATE_REG', 'DELETE_REG', 'BILLING_REG') AND r.state = 'STANDBY' AND r.overdue_told = 0 \
              AND r.created_at <= $1",
        by: "r.created_at",
        limit_s: |settings| settings.standby_overdue_s,
        detail: "waits too long to be sent",
    },
    Overdue {
        kind: AlertKind::ResultOverdue,
        sql: "r.type IN ('ORDER_RESULT', 'UPDATE_RESULT', 'DELETE_RESULT', 'BILLING_RESULT') AND r.state = 'STANDBY' \
              AND r.overdue_told = 0 AND r.created_at <= $1",
        by: "r.created_at",
        limit_s: |settings| settings.result_overdue_s,
        detail: "accepted, and no outcome for too long",
    },
    Overdue {
        kind: AlertKind::DelayOverdue,
        sql: "r.type = 'AUTHORIZE_RESULT' AND r.state = 'STANDBY' AND r.overdue_told = 0 AND r.created_at <= $1",
        by: "r.created_at",
        limit_s: |settings| settings.hold_overdue_s,
        detail: "screening takes too long",
    },
    Overdue {
        kind: AlertKind::RequestUnknown,
        sql: "r.state = 'UNKNOWN' AND r.sent_at <= $1 AND NOT EXISTS (SELECT 1 FROM frex_alert a WHERE a.kind = 'request_unknown' \
              AND a.order_no = r.order_no AND a.request_key = r.request_key AND a.resolved_at = 0)",
        by: "r.sent_at",
        limit_s: |settings| settings.quiet_s * 6,
        detail: "outcome unknown for too long; ask the agency and decide",
    },
    Overdue {
        kind: AlertKind::RequestUnknown,
        sql: "r.state = 'UNKNOWN' AND r.sent_at <= $1 AND r.type = 'BILLING_REG' AND NOT EXISTS (SELECT 1 FROM frex_alert a \
              WHERE a.kind = 'request_unknown' AND a.order_no = r.order_no AND a.request_key = r.request_key AND a.resolved_at = 0)",
        by: "r.sent_at",
        limit_s: |settings| settings.interval_s,
        detail: "nobody knows whether the bill was asked for; the look-up goes on",
    },
];

/// Most alerts of a kind raised by one run; the others follow when these are dealt with.
const ALERTS_MAX: i64 = 100;

/// Raises an alert for each request that waits too long and has none open.
///
/// # Errors
/// The database's, or the lease was taken over.
pub async fn overdue(run: &Run<'_>) -> Result<(), FrexError> {
    for row in OVERDUE {
        let limit_ms = ms((row.limit_s)(run.settings()));
        let before = match row.kind {
            // While the agency is closed nothing waits for us.
            AlertKind::StandbyOverdue => run.settings().open_since(run.now(), limit_ms),
            _ => Some(run.now() - limit_ms),
        };
        let Some(before) = before else { continue };
        let sql = format!(
            "SELECT r.request_key FROM frex_request r WHERE {} ORDER BY {}, r.request_key LIMIT {ALERTS_MAX}",
            row.sql, row.by
        );
        let keys: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(before)
            .fetch_all(run.store().pool())
            .await?;
        if keys.is_empty() {
            continue;
        }
        let mut tx = run.begin().await?;
        lease::guard(&mut tx, run.fence).await?;
        for key in &keys {
            let order_no = key
                .parse::<RequestKey>()
                .map(|key| key.order_no)
                .unwrap_or_default();
            let alert = Alert {
                order_no,
                request_key: key.clone(),
                codes: Vec::new(),
                detail: row.detail.to_owned(),
            };
            alert::raise(tx.conn(), row.kind, &alert, run.id(), run.now()).await?;
            if row.kind.is_overdue() {
                tables::overdue_told(tx.conn(), key).await?;
            }
        }
        tx.commit().await?;
    }
    Ok(())
}
