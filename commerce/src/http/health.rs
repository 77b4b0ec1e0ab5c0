//! Whether the process lives, whether it can serve, and its metrics.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::App;
use super::limits::Caller;
use super::problem::Problem;
use crate::clock::MINUTE_MS;
use crate::metrics::gauges;

/// A job that has not come to the end of a run for so long is stuck.
const JOB_SILENT_MS_MAX: i64 = 10 * MINUTE_MS;

/// When each job last came to the end of a run.
#[derive(Default)]
pub struct Health {
    jobs: Mutex<BTreeMap<&'static str, i64>>,
}

impl Health {
    /// A job runs: it was started, or it came to the end of a run.
    pub fn job_ran(&self, name: &'static str, now_ms: i64) {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.insert(name, now_ms);
    }

    fn silent_job(&self, now_ms: i64) -> Option<&'static str> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let silent = |at: i64| now_ms - at > JOB_SILENT_MS_MAX;
        jobs.iter()
            .find(|(_, at)| silent(**at))
            .map(|(name, _)| *name)
    }
}

/// `GET /healthz`
pub async fn healthz() -> Response {
    axum::Json(json!({"status": "ok"})).into_response()
}

/// `GET /readyz`
pub async fn readyz(State(app): State<App>) -> Result<Response, Problem> {
    let not_ready =
        |detail: String| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", detail);
    app.flow.store.ping().await.map_err(|error| {
        log::warn!("not ready: {error}");
        not_ready("The store does not answer".to_owned())
    })?;
    if let Some(job) = app.health.silent_job(app.flow.clock.now_ms()) {
        return Err(not_ready(format!("The job {job} does not come to an end")));
    }
    Ok(axum::Json(json!({"status": "ready"})).into_response())
}

/// `GET /metrics`
pub async fn metrics(
    State(app): State<App>,
    Extension(Caller(address)): Extension<Caller>,
) -> Result<Response, Problem> {
    let allowed = &app.settings.metrics_allow;
    if !allowed.is_empty() && !allowed.contains(&address) {
        return Err(Problem::forbidden("This address may not read metrics"));
    }
    let of_store = gauges::text(&app.flow.store, app.flow.clock.now_ms()).await;
    let of_store = of_store.map_err(|error| {
        log::error!("gauges of the store: {error}");
        Problem::internal()
    })?;
    let text = app.metrics.text() + &of_store;
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response())
}
