//! Gauges of the store as a whole, read when somebody asks: they are the same whichever of several processes answers.

use prometheus::{GaugeVec, IntGaugeVec, Opts, Registry};
use sqlx::Row;

use super::{encode, register};
use crate::clock::{DAY_MS, HOUR_MS, MINUTE_MS};
use crate::store::{Store, StoreError};

/// Ages of unresolved attempts: the label, and from which age on, the oldest first.
const AGES: [(&str, i64); 4] = [
    ("24h", DAY_MS),
    ("1h", HOUR_MS),
    ("15m", 15 * MINUTE_MS),
    ("0", 0),
];

/// Attempts that nobody has settled yet.
const OPEN_ATTEMPTS: &str = "SELECT created_at FROM payment_attempts \
     WHERE outcome IN ('none', 'pending') AND phase NOT IN ('auth_failed', 'abandoned')";

/// How long the oldest thing waits, in seconds: name, meaning, and the time it waits since.
const LAGS: [(&str, &str, &str); 3] = [
    (
        "requery_lag_seconds",
        "How long the most overdue status query is overdue",
        "SELECT MIN(next_requery_at) AS n FROM payment_attempts WHERE next_requery_at IS NOT NULL",
    ),
    (
        "inbox_apply_lag_seconds",
        "How long the oldest message waits to be applied",
        "SELECT MIN(received_at) AS n FROM callback_inbox WHERE applied_at IS NULL",
    ),
    (
        "notify_lag_seconds",
        "How long the oldest event waits that a merchant was told of and has not taken",
        "SELECT MIN(created_at) AS n FROM outbox WHERE sent_at IS NULL AND tries > 0",
    ),
];

/// The gauges as text.
///
/// # Errors
/// The store fails.
pub async fn text(store: &Store, now_ms: i64) -> Result<String, StoreError> {
    let registry = Registry::new();
    let gauge = |name, help, labels: &[&str]| {
        register(&registry, IntGaugeVec::new(Opts::new(name, help), labels))
    };
    let attempts = gauge(
        "attempts_open",
        "Unresolved attempts by age",
        &["age_bucket"],
    );
    for (label, _) in AGES {
        attempts.with_label_values(&[label]).set(0);
    }
    for row in sqlx::query(OPEN_ATTEMPTS).fetch_all(store.pool()).await? {
        let age = now_ms - row.try_get::<i64, _>("created_at")?;
        let bucket = AGES.iter().find(|(_, from)| age >= *from);
        let (label, _) = bucket.unwrap_or(&AGES[AGES.len() - 1]);
        attempts.with_label_values(&[*label]).inc();
    }
    let issues = gauge("issues_open", "What needs a person, by kind", &["kind"]);
    let open = "SELECT kind, COUNT(*) AS n FROM issues WHERE closed_at IS NULL GROUP BY kind";
    for row in sqlx::query(open).fetch_all(store.pool()).await? {
        let kind: String = row.try_get("kind")?;
        issues.with_label_values(&[&kind]).set(row.try_get("n")?);
    }
    let unknown = "SELECT COUNT(*) AS n FROM refunds WHERE state = 'unknown'";
    let row = sqlx::query(unknown).fetch_one(store.pool()).await?;
    gauge("refunds_unknown", "Refunds whose outcome is not known", &[])
        .with_label_values(&[] as &[&str])
        .set(row.try_get("n")?);
    for (name, help, query) in LAGS {
        let row = sqlx::query(query).fetch_one(store.pool()).await?;
        let since: Option<i64> = row.try_get("n")?;
        let lag_s = since.map_or(0.0, |since| (now_ms - since).max(0) as f64 / 1e3);
        register(&registry, GaugeVec::new(Opts::new(name, help), &[]))
            .with_label_values(&[] as &[&str])
            .set(lag_s);
    }
    Ok(encode(&registry))
}
