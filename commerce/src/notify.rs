//! Tells merchants what happened to their orders: each event of the outbox is posted to the merchant's address until it is
//! taken, at least once.
//!
//! An event is stored in the transaction of the change it tells of, so none is ever lost, and a crash between the answer and
//! the mark repeats one: its id is the same then. It is a hint and carries nothing secret; what counts is what the order API
//! says. A merchant without an address is told nothing, and its events stay where they are.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Row};
use tokio::task::JoinSet;

use crate::clock::{Clock, HOUR_MS, MINUTE_MS, rfc3339};
use crate::config::MerchantSettings;
use crate::store::{Store, StoreError};

/// Events of a merchant in one run.
const BATCH_MAX: i64 = 50;
/// How long a run goes on with a merchant who takes everything, but slowly.
const RUN_MS_MAX: i64 = 10_000;
/// How long a merchant may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// How long a claim keeps other processes away: a run and its last, slowest answer, with room.
const LEASE_MS: i64 = 60_000;
/// The wait after the first refusal; it doubles up to [`WAIT_MS_MAX`].
const WAIT_MS_MIN: i64 = 5_000;
/// The longest wait.
const WAIT_MS_MAX: i64 = HOUR_MS;
/// The longest that a merchant is left alone with all its events: it may be back.
const REST_MS_MAX: i64 = 5 * MINUTE_MS;

/// Tells merchants.
#[derive(Clone)]
pub struct Notifier {
    store: Store,
    clock: Clock,
    http: reqwest::Client,
    /// The address of each merchant that has one.
    addresses: Arc<BTreeMap<String, String>>,
    /// Merchants that did not take their last event.
    resting: Arc<Mutex<BTreeMap<String, Rest>>>,
}

/// A merchant that is left alone.
#[derive(Clone, Copy, Debug, Default)]
struct Rest {
    /// Events one after the other that it did not take.
    refusals: i64,
    /// Since when, unix ms.
    since: i64,
    /// Until when, unix ms.
    until: i64,
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NotifyReport {
    /// Events that were taken.
    pub taken: usize,
    /// Events that were not; they come again.
    pub refused: usize,
}

struct Event {
    id: String,
    merchant_id: String,
    body: Value,
    tries: i64,
}

impl Notifier {
    /// Tells these merchants.
    ///
    /// # Errors
    /// No HTTP client can be made.
    pub fn new(
        store: Store,
        clock: Clock,
        merchants: &[MerchantSettings],
    ) -> Result<Notifier, reqwest::Error> {
        let address = |merchant: &MerchantSettings| {
            let url = merchant.notify_url.clone()?;
            Some((merchant.id.clone(), url))
        };
        Ok(Notifier {
            store,
            clock,
            http: reqwest::Client::builder()
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .timeout(ANSWER_MAX)
                .build()?,
            addresses: Arc::new(merchants.iter().filter_map(address).collect()),
            resting: Arc::default(),
        })
    }

    /// Posts what is due, to all merchants at the same time: one who does not answer keeps no other waiting.
    ///
    /// # Errors
    /// The database fails.
    pub async fn run_once(&self) -> Result<NotifyReport, StoreError> {
        let mut telling = JoinSet::new();
        for merchant_id in self.addresses.keys() {
            let (notifier, merchant_id) = (self.clone(), merchant_id.clone());
            telling.spawn(async move { notifier.tell(&merchant_id).await });
        }
        let mut report = NotifyReport::default();
        let mut failed = None;
        while let Some(told) = telling.join_next().await {
            match told {
                Ok(Ok(told)) => {
                    report.taken += told.taken;
                    report.refused += told.refused;
                }
                Ok(Err(error)) => failed = Some(error),
                Err(gone) => std::panic::resume_unwind(gone.into_panic()),
            }
        }
        failed.map_or(Ok(report), Err)
    }

    /// Posts what is due for a merchant, in order, until one is not taken or the time of a run is over. An event that is not taken
    /// comes again after a wait that grows, and so does everything else for this merchant.
    async fn tell(&self, merchant_id: &str) -> Result<NotifyReport, StoreError> {
        let mut report = NotifyReport::default();
        let began = self.clock.now_ms();
        if self.rests(merchant_id, began) {
            return Ok(report);
        }
        let mut events = self.claim(merchant_id).await?.into_iter();
        for event in events.by_ref() {
            let taken = self.post(&event).await;
            let now_ms = self.clock.now_ms();
            let (sent_at, next_try_at) = match taken {
                true => (Some(now_ms), None),
                false => (None, Some(now_ms + wait_ms(event.tries))),
            };
            sqlx::query(
                "UPDATE outbox SET sent_at = $1, next_try_at = $2, tries = tries + 1 \
                 WHERE id = $3 AND sent_at IS NULL",
            )
            .bind(sent_at)
            .bind(next_try_at)
            .bind(&event.id)
            .execute(self.store.pool())
            .await?;
            report.taken += usize::from(taken);
            report.refused += usize::from(!taken);
            self.rest(merchant_id, taken, now_ms);
            if !taken || now_ms >= began + RUN_MS_MAX {
                break;
            }
        }
        for untried in events {
            sqlx::query("UPDATE outbox SET next_try_at = $1 WHERE id = $2 AND sent_at IS NULL")
                .bind(began)
                .bind(&untried.id)
                .execute(self.store.pool())
                .await?;
        }
        Ok(report)
    }

    /// Whether a merchant that did not take the last event is left alone for now.
    fn rests(&self, merchant_id: &str, now_ms: i64) -> bool {
        let resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        resting
            .get(merchant_id)
            .is_some_and(|rest| (rest.since..rest.until).contains(&now_ms))
    }

    fn rest(&self, merchant_id: &str, taken: bool, now_ms: i64) {
        let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        if taken {
            resting.remove(merchant_id);
            return;
        }
        let rest = resting.entry(merchant_id.to_owned()).or_default();
        *rest = Rest {
            refusals: rest.refusals + 1,
            since: now_ms,
            until: now_ms + wait_ms(rest.refusals).min(REST_MS_MAX),
        };
    }

    /// Takes events of a merchant that are due away from other processes; in order.
    async fn claim(&self, merchant_id: &str) -> Result<Vec<Event>, StoreError> {
        let now_ms = self.clock.now_ms();
        // Most runs find nothing; they need no turn to write.
        let due = sqlx::query(
            "SELECT 1 AS due FROM outbox WHERE sent_at IS NULL AND merchant_id = $1 AND next_try_at <= $2 LIMIT 1",
        );
        let due = due
            .bind(merchant_id)
            .bind(now_ms)
            .fetch_optional(self.store.pool())
            .await?;
        if due.is_none() {
            return Ok(Vec::new());
        }
        let mut tx = self.store.begin().await?;
        let update = format!(
            "UPDATE outbox SET next_try_at = $1 WHERE id IN \
             (SELECT id FROM outbox WHERE sent_at IS NULL AND merchant_id = $2 AND next_try_at <= $3 \
              ORDER BY next_try_at, id LIMIT $4{}) \
             RETURNING id, merchant_id, order_id, event, payload, created_at, tries",
            tx.for_update_free()
        );
        let rows = sqlx::query(AssertSqlSafe(update))
            .bind(now_ms + LEASE_MS)
            .bind(merchant_id)
            .bind(now_ms)
            .bind(BATCH_MAX)
            .fetch_all(tx.conn())
            .await?;
        tx.commit().await?;
        let mut events = Vec::with_capacity(rows.len());
        for row in &rows {
            let id: String = row.try_get("id")?;
            let payload: String = row.try_get("payload")?;
            let data: Value = serde_json::from_str(&payload)
                .map_err(|_| StoreError::broken("outbox", &id, "payload"))?;
            events.push(Event {
                body: json!({
                    "event_id": id, "event": row.try_get::<String, _>("event")?,
                    "created_at": rfc3339(row.try_get("created_at")?), "data": data,
                }),
                id,
                merchant_id: row.try_get("merchant_id")?,
                tries: row.try_get("tries")?,
            });
        }
        // The claim gives them in no order; their ids have one.
        events.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(events)
    }

    async fn post(&self, event: &Event) -> bool {
        let Some(address) = self.addresses.get(&event.merchant_id) else {
            return false;
        };
        let sent = self.http.post(address).json(&event.body).send().await;
        match sent {
            Ok(answer) if answer.status().is_success() => true,
            Ok(answer) => {
                let (id, status) = (&event.id, answer.status().as_u16());
                log::warn!(
                    "Merchant not told merchant={} event={id} httpStatus={status}",
                    event.merchant_id
                );
                false
            }
            // The error's text names the address, which may hold a secret of the merchant's.
            Err(error) => {
                let why = if error.is_timeout() {
                    "timeout"
                } else {
                    "not reachable"
                };
                log::warn!(
                    "Merchant not told merchant={} event={} error={why:?}",
                    event.merchant_id,
                    event.id
                );
                false
            }
        }
    }
}

fn wait_ms(tries: i64) -> i64 {
    (WAIT_MS_MIN << tries.clamp(0, 16)).min(WAIT_MS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits double and are capped.
    #[test]
    fn waits_grow() {
        assert_eq!([0, 1, 2].map(wait_ms), [5_000, 10_000, 20_000]);
        assert_eq!(wait_ms(60), HOUR_MS);
    }
}
