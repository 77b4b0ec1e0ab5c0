//! Gauges of the store as a whole, read when somebody asks: they are the same whichever of several processes answers.

use prometheus::{GaugeVec, IntGaugeVec, Opts, Registry};
use sqlx::Row;

use super::{encode, register};
use crate::atom::flow::Flow;
use crate::clock::{DAY_MS, HOUR_MS, MINUTE_MS};
use crate::store::StoreError;

/// Ages of unresolved attempts: the label, and from which age on, the oldest first.
const AGES: [(&str, i64); 4] = [
    ("24h", DAY_MS),
    ("1h", HOUR_MS),
    ("15m", 15 * MINUTE_MS),
    ("0", 0),
];

/// The bucket of slips that may still be paid at a counter: they are days old by design.
const SLIP: &str = "slip";

/// Attempts that nobody has settled yet.
const OPEN_ATTEMPTS: &str = "SELECT created_at, \
     CASE WHEN sub_channel = 'NR' OR asked_channel = 'NR' THEN 1 ELSE 0 END AS slip FROM payment_attempts \
     WHERE outcome IN ('none', 'pending') AND phase NOT IN ('auth_failed', 'abandoned')";

/// How long the oldest thing waits, in seconds: name, meaning, and the time it waits since.
const LAGS: [(&str, &str, &str); 2] = [
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
];

/// Since when each merchant has not taken an event that it was told of.
const NOT_TAKEN: &str = "SELECT merchant_id, MIN(created_at) AS n FROM outbox \
     WHERE sent_at IS NULL AND tries > 0 GROUP BY merchant_id";

/// The gauges as text.
///
/// # Errors
/// The store fails.
pub async fn text(flow: &Flow) -> Result<String, StoreError> {
    let (store, now_ms) = (&flow.store, flow.clock.now_ms());
    let registry = Registry::new();
    let gauge = |name, help, labels: &[&str]| {
        register(&registry, IntGaugeVec::new(Opts::new(name, help), labels))
    };
    let attempts = gauge(
        "attempts_open",
        "Unresolved attempts by age",
        &["age_bucket"],
    );
    for label in AGES.map(|(label, _)| label).into_iter().chain([SLIP]) {
        attempts.with_label_values(&[label]).set(0);
    }
    for row in sqlx::query(OPEN_ATTEMPTS).fetch_all(store.pool()).await? {
        let age = now_ms - row.try_get::<i64, _>("created_at")?;
        let slip = row.try_get::<i64, _>("slip")? == 1;
        let label = if slip && age < flow.settings.slip_days() * DAY_MS {
            SLIP
        } else {
            let bucket = AGES.iter().find(|(_, from)| age >= *from);
            bucket.unwrap_or(&AGES[AGES.len() - 1]).0
        };
        attempts.with_label_values(&[label]).inc();
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
    let lag = |name, help, since: Option<i64>| {
        let lag_s = since.map_or(0.0, |since| (now_ms - since).max(0) as f64 / 1e3);
        register(&registry, GaugeVec::new(Opts::new(name, help), &[]))
            .with_label_values(&[] as &[&str])
            .set(lag_s);
    };
    for (name, help, query) in LAGS {
        let row = sqlx::query(query).fetch_one(store.pool()).await?;
        lag(name, help, row.try_get("n")?);
    }
    let help = "How long the oldest event waits that a merchant was told of and has not taken";
    lag("notify_lag_seconds", help, not_taken_since(flow).await?);
    Ok(encode(&registry))
}

/// Since when a merchant that has an address has not taken an event. One whose address was removed is told nothing any more,
/// and nothing of it is late.
async fn not_taken_since(flow: &Flow) -> Result<Option<i64>, StoreError> {
    let mut oldest = None;
    for row in sqlx::query(NOT_TAKEN).fetch_all(flow.store.pool()).await? {
        let merchant = row.try_get::<String, _>("merchant_id")?;
        let known = flow.settings.merchants.get(&merchant);
        if known.is_some_and(|merchant| merchant.is_told) {
            let since = row.try_get::<i64, _>("n")?;
            oldest = Some(oldest.map_or(since, |oldest: i64| oldest.min(since)));
        }
    }
    Ok(oldest)
}
