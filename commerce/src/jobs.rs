//! What runs beside the requests. Each job is one task that does its work again and again: at once while there is more
//! to do, after its interval otherwise, and after a pause where it failed. A panic ends that run of it and nothing else.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::frex::service::Frex;
use crate::http::App;
use crate::http::health::JOB_SILENT_MS_MAX;

/// `[jobs]`: how often each job looks for work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JobSettings {
    /// Whether jobs run in this process.
    pub enabled: bool,
    /// Between two looks for attempts to query.
    pub requery_ms: u64,
    /// Between two looks into the inbox.
    pub inbox_ms: u64,
    /// Between two looks for refunds to follow.
    pub refunds_ms: u64,
    /// Between two looks for news that merchants have not been told.
    pub notify_ms: u64,
    /// Between two looks for orders that expired, and for idle callers to forget.
    pub expiry_ms: u64,
    /// Between two looks whether a run of the deferred-payment worker, a check or a message is due.
    pub frex_ms: u64,
    /// Between two clean-ups: keys of repeated requests, contact data and messages past their time.
    pub cleanup_ms: u64,
}

impl Default for JobSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            requery_ms: 500,
            inbox_ms: 1_000,
            refunds_ms: 1_000,
            notify_ms: 1_000,
            expiry_ms: 10_000,
            frex_ms: 1_000,
            cleanup_ms: 3_600_000,
        }
    }
}

/// How a run of a job ended: whether there is more to do at once, or in what it failed.
type Ran = Result<bool, Box<dyn std::error::Error + Send + Sync>>;

/// One run of a job.
type Once = fn(App) -> Pin<Box<dyn Future<Output = Ran> + Send>>;

/// The running jobs.
pub struct Jobs {
    tasks: Vec<JoinHandle<()>>,
}

/// Between two checks of the rules that must always hold.
const INVARIANTS_MS: u64 = 24 * 3_600_000;

/// A job that failed waits this long.
const AFTER_FAILURE: Duration = Duration::from_secs(2);

impl Jobs {
    /// Starts the jobs. They end when `stopped` says so, each after the run it is at.
    pub fn start(app: &App, settings: &JobSettings, stopped: &watch::Receiver<bool>) -> Self {
        let mut jobs = Self { tasks: Vec::new() };
        if !settings.enabled {
            log::info!("jobs.enabled = false: another process must run the jobs");
            return jobs;
        }
        let mut job = |name, every_ms, once| {
            let silent_ms = JOB_SILENT_MS_MAX + i64::try_from(every_ms).unwrap_or(i64::MAX / 2);
            jobs.spawn(name, every_ms, silent_ms, app, stopped, once);
        };
        job("requery", settings.requery_ms, requery);
        job("inbox", settings.inbox_ms, inbox);
        job("refunds", settings.refunds_ms, refunds);
        job("notify", settings.notify_ms, notify);
        job("expiry", settings.expiry_ms, expiry);
        job("cleanup", settings.cleanup_ms, cleanup);
        job("invariants", INVARIANTS_MS, invariants);
        if let Some(frex) = &app.frex {
            job("frex_watch", settings.frex_ms, frex_watch);
            job("frex_notify", settings.frex_ms, frex_notify);
            let silent_ms = JOB_SILENT_MS_MAX + frex.run_ms();
            jobs.spawn("frex", settings.frex_ms, silent_ms, app, stopped, frex_run);
            jobs.tasks
                .push(tokio::spawn(end_run(frex.clone(), stopped.clone())));
        }
        jobs
    }

    /// Runs `once` again and again.
    fn spawn(
        &mut self,
        name: &'static str,
        every_ms: u64,
        silent_ms_max: i64,
        app: &App,
        stopped: &watch::Receiver<bool>,
        once: Once,
    ) {
        let (app, mut stopped) = (Arc::clone(app), stopped.clone());
        let every = Duration::from_millis(every_ms);
        app.health
            .job_ran(name, app.flow.clock.now_ms(), silent_ms_max);
        self.tasks.push(tokio::spawn(async move {
            while !*stopped.borrow() {
                // A task of its own, so that a panic is an error here.
                let pause = match tokio::spawn(once(Arc::clone(&app))).await {
                    Ok(Ok(true)) => Duration::ZERO,
                    Ok(Ok(false)) => every,
                    Ok(Err(reason)) => {
                        log::error!("job {name} failed: {reason}");
                        AFTER_FAILURE
                    }
                    Err(gone) => {
                        log::error!("job {name} broke off: {gone}");
                        AFTER_FAILURE
                    }
                };
                app.health
                    .job_ran(name, app.flow.clock.now_ms(), silent_ms_max);
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    // The sender lives as long as the service.
                    _ = stopped.changed() => {}
                }
            }
        }));
    }

    /// Waits until every job has ended.
    pub async fn finish(self) {
        for task in self.tasks {
            if let Err(gone) = task.await {
                log::error!("a job broke off: {gone}");
            }
        }
    }
}

/// Asks Atom about attempts that are due. As long as the pace lets it ask there may be more.
fn requery(app: App) -> Pin<Box<dyn Future<Output = Ran> + Send>> {
    Box::pin(async move { Ok(app.flow.run_requery_once().await?.asked > 0) })
}

fn inbox(app: App) -> Pin<Box<dyn Future<Output = Ran> + Send>> {
    Box::pin(async move { Ok(app.flow.run_inbox_once().await?.applied > 0) })
}

/// What another process was quicker to take is not looked for again at once.
fn refunds(app: App) -> Pin<Box<dyn Future<Output = Ran> + Send>> {
    Box::pin(async move {
        let report = app.flow.run_refund_followup_once().await?;
        Ok(!report.is_idle() && report.lost == 0)
    })
}

fn notify(app: App) -> Pin<Box<dyn Future<Output = Ran> + Send>> {
    Box::pin(async move { Ok(app.notifier.run_once().await?.taken > 0) })
}

fn expiry(app: App) -> Pin<Box<dyn Future<Output = Ran> + Send>> {
    Box::pin(async move { Ok(app.flow.run_expiry_once().await? > 0) })
}

fn cleanup(app: App) -> Pin<Box<dyn Future<Output = Ran> + Send>> {
    Box::pin(async move {
        let report = app.flow.run_cleanup_once().await?;
        log::info!("Cleaned up {report:?}");
        Ok(false)
    })
}

fn invariants(app: App) -> Pin<Box<dyn Future<Output = Ran> + Send>> {
    Box::pin(async move {
        let found = app.flow.run_invariants_once().await?;
        log::info!("Rules checked {found:?}");
        Ok(false)
    })
}

/// The parts that are there when these jobs run.
fn frex_of(app: &App) -> &Frex {
    app.frex
        .as_ref()
        .expect("its jobs start only where it is enabled")
}

/// The batch of the deferred-payment worker, if it is due and no other process is at it.
fn frex_run(app: App) -> Pin<Box<dyn Future<Output = Ran> + Send>> {
    Box::pin(async move {
        frex_of(&app).run_if_due().await?;
        Ok(false)
    })
}

/// At a stop the run under way comes to its end at its next page, long before its time slice is over.
async fn end_run(frex: Frex, mut stopped: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is the end as well.
    let _ = stopped.wait_for(|stop| *stop).await;
    frex.worker.finish_soon();
}

fn frex_watch(app: App) -> Pin<Box<dyn Future<Output = Ran> + Send>> {
    Box::pin(async move {
        frex_of(&app).watch_once().await?;
        Ok(false)
    })
}

fn frex_notify(app: App) -> Pin<Box<dyn Future<Output = Ran> + Send>> {
    Box::pin(async move {
        frex_of(&app).tell_once().await?;
        Ok(false)
    })
}
