//! What runs beside the requests. Each job is one task that does its work again and again: at once while there is more
//! to do, after its interval otherwise, and after a pause where it failed. A panic ends that run of it and nothing else.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::http::App;

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
    /// Between two looks for what is over: orders, keys, buckets of callers.
    pub tidy_ms: u64,
}

impl Default for JobSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            requery_ms: 500,
            inbox_ms: 1_000,
            refunds_ms: 1_000,
            tidy_ms: 10_000,
        }
    }
}

/// How a run of a job ended: whether there is more to do at once, or in what it failed.
pub type Ran = Result<bool, String>;

/// The running jobs.
pub struct Jobs {
    tasks: Vec<JoinHandle<()>>,
}

/// A job that failed waits this long.
const AFTER_FAILURE: Duration = Duration::from_secs(2);

impl Jobs {
    /// Starts the jobs. They end when `stopped` says so, each after the run it is at.
    pub fn start(app: &App, settings: &JobSettings, stopped: &watch::Receiver<bool>) -> Self {
        let mut jobs = Self { tasks: Vec::new() };
        let tidy_ms = settings.tidy_ms;
        jobs.spawn("tidy", tidy_ms, app, stopped, |app: App| async move {
            app.limits.forget_idle();
            Ok(false)
        });
        jobs
    }

    /// Runs `once` again and again.
    fn spawn<F, R>(
        &mut self,
        name: &'static str,
        every_ms: u64,
        app: &App,
        stopped: &watch::Receiver<bool>,
        once: F,
    ) where
        F: Fn(App) -> R + Send + 'static,
        R: Future<Output = Ran> + Send + 'static,
    {
        let (app, mut stopped) = (Arc::clone(app), stopped.clone());
        let every = Duration::from_millis(every_ms);
        app.health.job_ran(name, app.flow.clock.now_ms());
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
                app.health.job_ran(name, app.flow.clock.now_ms());
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
