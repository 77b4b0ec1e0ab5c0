//! The deferred-payment worker as a part of a process: made from the configuration, with what runs beside the batch.

use std::sync::Arc;

use super::agency::kakebarai::StoreShelf;
use super::agency::settings::SettingsError;
use super::agency::{self, CallObserver};
use super::alert::{self, Alert, AlertKind};
use super::duty::Duty;
use super::error::FrexError;
use super::notify::Notifier;
use super::reconcile::{Reconcile, ReconcileError, Reconciled};
use super::report::Observer;
use super::settings::{JAPAN_AHEAD_MS, ms};
use super::shop::Shop;
use super::worker::{Parts, RunError, Worker};
use super::{health, invariants, owner, purge};
use crate::clock::{Clock, DAY_MS, HOUR_MS};
use crate::config::FrexConfig;
use crate::id;
use crate::points::Points;
use crate::store::Store;

/// How long one process keeps a check or a reconciliation to itself.
const DUTY_BUSY_MS: i64 = 30 * 60_000;
/// Waits after a check or reconciliation that failed.
const DUTY_RETRY_S: [u64; 3] = [60, 600, 3_600];
/// After so many failures in a row people are told.
const DUTY_TRIES_TOLD: i64 = 3;

/// The shop's side, the worker, and what runs beside it. Clones are handles on the same ones.
#[derive(Clone)]
pub struct Frex {
    /// Orders, edits, cancels and operators' decisions.
    pub shop: Shop,
    /// The batch.
    pub worker: Worker,
    /// Whose API keys place orders.
    pub merchant: Arc<str>,
    notifier: Notifier,
    observer: Arc<dyn Observer>,
    config: Arc<FrexConfig>,
    watched_since: i64,
}

impl Frex {
    /// The parts of a configuration over a store.
    ///
    /// # Errors
    /// The agency's client cannot be made.
    pub fn new<O: Observer + CallObserver + 'static>(
        config: &FrexConfig,
        store: &Store,
        clock: &Clock,
        points: &Points,
        observer: &Arc<O>,
    ) -> Result<Self, SettingsError> {
        let agency = agency::connect(
            &config.agency,
            config.passwords.clone(),
            Arc::new(StoreShelf::new(store.clone())),
            observer.clone(),
        )?;
        let parts = Parts {
            store: store.clone(),
            agency,
            vault: config.vault.clone(),
            clock: clock.clone(),
            settings: config.worker.clone(),
            points: points.clone(),
            owner: owner::name(),
        };
        let heard: Arc<dyn Observer> = observer.clone();
        Ok(Self {
            shop: Shop {
                store: store.clone(),
                vault: config.vault.clone(),
                clock: clock.clone(),
                settings: config.worker.clone(),
                protocol: config.agency.protocol,
                points: points.clone(),
            },
            notifier: Notifier::new(store, clock, &config.notify, heard.clone()),
            worker: Worker::new(parts).observed(heard.clone()),
            merchant: config.merchant.as_str().into(),
            observer: heard,
            config: Arc::new(config.clone()),
            watched_since: clock.now_ms(),
        })
    }

    /// How long a run may last, for who watches the job.
    #[must_use]
    pub fn run_ms(&self) -> i64 {
        ms(self.config.worker.run_slice_s)
    }

    /// A run, if one is due here.
    ///
    /// # Errors
    /// It ended early.
    pub async fn run_if_due(&self) -> Result<(), RunError> {
        match self.worker.run_if_due().await {
            Ok(_) | Err(RunError::Held(_) | RunError::Ending) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether runs end well; and what of checks, reconciliation and clean-up is due.
    ///
    /// # Errors
    /// The database's.
    pub async fn watch_once(&self) -> Result<(), FrexError> {
        let (store, settings) = (&self.shop.store, &self.config.worker);
        let now = self.shop.clock.now_ms();
        health::check(store, settings, self.watched_since, now).await?;
        if Duty::Invariants.take(store, now, DUTY_BUSY_MS).await? {
            let next = now + ms(self.config.check_interval_s);
            self.settle(Duty::Invariants, next, self.check_now().await)
                .await?;
        }
        if Duty::Purge.take(store, now, DUTY_BUSY_MS).await? {
            let purged = purge::buyer_data(store, self.config.buyer_retention_days, now).await;
            self.settle(Duty::Purge, now + DAY_MS, purged).await?;
        }
        // The first of all days begins with a comparison too: it costs little and shows that the agency answers.
        if Duty::Reconcile.take(store, now, DUTY_BUSY_MS).await? {
            let next = next_hour(now, self.config.reconcile_hour);
            self.settle(Duty::Reconcile, next, self.reconcile_now().await)
                .await?;
        }
        Ok(())
    }

    async fn settle<T, E: std::fmt::Display>(
        &self,
        duty: Duty,
        next: i64,
        done: Result<T, E>,
    ) -> Result<(), FrexError> {
        let store = &self.shop.store;
        match done {
            Ok(_) => {
                duty.done(store, next).await?;
                let now = self.shop.clock.now_ms();
                let (kind, keys) = (AlertKind::StepFailed, [duty.name().to_owned()]);
                let mut tx = store.begin().await?;
                alert::resolve_requests(tx.conn(), kind, "", &keys, "worker", now).await?;
                Ok(tx.commit().await?)
            }
            Err(error) => {
                log::error!("frex: {} failed: {error}", duty.name());
                let now = self.shop.clock.now_ms();
                let tries = duty
                    .failed(store, now, &DUTY_RETRY_S, &error.to_string())
                    .await?;
                if tries < DUTY_TRIES_TOLD {
                    return Ok(());
                }
                let alert = Alert {
                    // Not a request: the duty keeps what is told of it apart from what is told of steps.
                    request_key: duty.name().to_owned(),
                    detail: format!("{} has failed {tries} times: {error}", duty.name()),
                    ..Alert::default()
                };
                let mut tx = store.begin().await?;
                alert::raise(
                    tx.conn(),
                    AlertKind::StepFailed,
                    &alert,
                    id::at("", now),
                    now,
                )
                .await?;
                Ok(tx.commit().await?)
            }
        }
    }

    /// Holds the tables against the rules of section 17.
    ///
    /// # Errors
    /// The database's.
    pub async fn check_now(&self) -> Result<invariants::Found, FrexError> {
        let now = self.shop.clock.now_ms();
        let found = invariants::check(&self.shop.store, &self.config.worker, now).await?;
        for (rule, count) in &found {
            self.observer.violated(rule, *count);
        }
        Ok(found)
    }

    /// Holds our bills against the agency's.
    ///
    /// # Errors
    /// The agency does not answer, or the database fails.
    pub async fn reconcile_now(&self) -> Result<Reconciled, ReconcileError> {
        let reconcile = Reconcile {
            store: &self.shop.store,
            agency: &self.worker.parts().agency,
            items: self.config.worker.call_items,
            now: self.shop.clock.now_ms(),
        };
        reconcile.run(self.config.reconcile_days).await
    }

    /// Tells what is to be told.
    ///
    /// # Errors
    /// The database's.
    pub async fn tell_once(&self) -> Result<(), FrexError> {
        self.notifier.tell_once().await
    }
}

/// The next time that it is this hour in Japan.
fn next_hour(now: i64, hour: u32) -> i64 {
    let here = now + JAPAN_AHEAD_MS;
    let today = here - here.rem_euclid(DAY_MS) + i64::from(hour) * HOUR_MS;
    let next = if today > here { today } else { today + DAY_MS };
    next - JAPAN_AHEAD_MS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{parse_rfc3339, rfc3339};

    /// The hour is Japan's, and it is always ahead.
    #[test]
    fn the_hour_is_ahead() {
        for (now, next) in [
            ("2025-01-14T18:59:59Z", "2025-01-14T19:00:00Z"),
            ("2025-01-14T19:00:00Z", "2025-01-15T19:00:00Z"),
            ("2025-01-15T03:00:00Z", "2025-01-15T19:00:00Z"),
        ] {
            let now = parse_rfc3339(now).expect("a time");
            assert_eq!(rfc3339(next_hour(now, 4)), next);
        }
    }
}
