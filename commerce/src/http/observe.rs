//! What surrounds every request: a task of its own, a line in the log, a count and a time.
//!
//! The task matters. A caller that hangs up must not cut a payment off between two steps as if the process had died; in
//! a task of its own the request runs to its end. And a panic ends that task only: the caller gets a 500, nobody else
//! notices.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::Problem;
use super::{App, request_id};

/// Serves the request and tells what became of it.
pub async fn layer(State(app): State<App>, request: Request, next: Next) -> Response {
    let method = known(request.method());
    // The pattern, not the path: ids in labels would make one time series for each order.
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let since = Instant::now();
    // Held until the request is done, so that the end of the process can wait for it.
    let busy = app.busy.clone().read_owned().await;
    let id = request_id::current().unwrap_or_default();
    let serving = tokio::spawn(async move {
        let response = request_id::scope(id, next.run(request)).await;
        drop(busy);
        response
    });
    let response = match serving.await {
        Ok(response) => response,
        Err(gone) => {
            // The hook of the log wrote the message and the place.
            log::error!("{method} {route} broke off: {gone}");
            Problem::internal().into_response()
        }
    };
    let (took, status) = (since.elapsed(), response.status());
    app.metrics.request(method, &route, status, took);
    log::debug!(
        "{method} {route} {} {:.1} ms",
        status.as_u16(),
        took.as_secs_f64() * 1e3
    );
    response
}

/// The method as a label. A stranger may send any word as a method, and a series stays for as long as the process.
fn known(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
    KNOWN
        .into_iter()
        .find(|known| *known == method.as_str())
        .unwrap_or("other")
}
