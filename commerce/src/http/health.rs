//! Whether the process lives, whether it can serve, and its metrics.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use axum::extract::{ConnectInfo, Extension, State};
use axum::http::header::{CONTENT_TYPE, FORWARDED};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::App;
use super::limits::{Caller, FORWARDED_FOR};
use super::problem::Problem;
use crate::clock::MINUTE_MS;
use crate::metrics::{frex, gauges};

/// A job that has not come to the end of a run for so long is stuck.
pub const JOB_SILENT_MS_MAX: i64 = 10 * MINUTE_MS;

/// When each job last came to the end of a run, and how long it may be silent.
#[derive(Default)]
pub struct Health {
    jobs: Mutex<BTreeMap<&'static str, (i64, i64)>>,
}

impl Health {
    /// A job runs: it was started, or it came to the end of a run. The next end is expected within `silent_ms_max`.
    pub fn job_ran(&self, name: &'static str, now_ms: i64, silent_ms_max: i64) {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.insert(name, (now_ms, silent_ms_max));
    }

    fn silent_job(&self, now_ms: i64) -> Option<&'static str> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.iter()
            .find(|(_, (at, silent_ms_max))| now_ms - at > *silent_ms_max)
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
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let settings = &app.settings;
    let proxied = headers.contains_key(FORWARDED_FOR) || headers.contains_key(FORWARDED);
    let known = settings.trusted_proxies.contains(&peer.ip().to_canonical());
    let allowed = &settings.metrics_allow;
    if !allowed.is_empty() && proxied && !known {
        return Err(Problem::forbidden(
            "This came through a proxy that http.trusted_proxies does not name, so nobody knows for whom",
        ));
    }
    if !allowed.is_empty() && !allowed.contains(&address) {
        return Err(Problem::forbidden("This address may not read metrics"));
    }
    let of_store = gauges::text(&app.flow).await;
    let of_store = of_store.map_err(|error| {
        log::error!("gauges of the store: {error}");
        Problem::internal()
    })?;
    let mut text = app.metrics.text() + &of_store;
    if app.frex.is_some() {
        let of_frex = frex::gauges(&app.flow.store, app.flow.clock.now_ms()).await;
        text += &of_frex.map_err(|error| {
            log::error!("gauges of frex: {error}");
            Problem::internal()
        })?;
    }
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response())
}
