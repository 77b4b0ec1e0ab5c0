//! The routes, and what every request passes on its way to one.

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post, put};

use super::frex::{admin as frex_admin, orders as frex_orders};
use super::problem::Problem;
use super::{
    App, admin, body, callbacks, health, limits, observe, openapi, orders, refunds, request_id,
};
use crate::pages;

/// Every route of the API with its methods, as `openapi.json` names them.
pub fn routes() -> Vec<(&'static str, &'static [&'static str], MethodRouter<App>)> {
    const GET: &[&str] = &["get"];
    const POST: &[&str] = &["post"];
    vec![
        ("/v1/orders", POST, post(orders::create)),
        ("/v1/orders/{order_id}", GET, get(orders::read)),
        ("/v1/orders/{order_id}/payments", POST, post(orders::pay)),
        ("/v1/orders/{order_id}/refunds", POST, post(refunds::ask)),
        ("/v1/refunds/{refund_id}", GET, get(refunds::read)),
        ("/v1/callbacks/atom", POST, post(callbacks::callback)),
        (
            "/v1/payments/atom/return",
            &["get", "post"],
            get(callbacks::bare).post(callbacks::back),
        ),
        ("/v1/orders/{order_id}/cancel", POST, post(orders::cancel)),
        ("/v1/orders/{order_id}/ship", POST, post(orders::ship)),
        ("/v1/orders/{order_id}/deliver", POST, post(orders::deliver)),
        ("/v1/admin/orders", GET, get(admin::orders)),
        ("/v1/admin/orders/{order_id}", GET, get(admin::order)),
        (
            "/v1/admin/orders/{order_id}/requery",
            POST,
            post(admin::requery),
        ),
        ("/v1/admin/issues", GET, get(admin::issues)),
        (
            "/v1/admin/issues/{issue_id}/resolve",
            POST,
            post(admin::resolve_issue),
        ),
        (
            "/v1/admin/refunds/{refund_id}/resolve",
            POST,
            post(admin::resolve_refund),
        ),
        ("/v1/frex/orders", POST, post(frex_orders::place)),
        (
            "/v1/frex/orders/{order_no}",
            &["get", "patch"],
            get(frex_orders::read).patch(frex_orders::change),
        ),
        (
            "/v1/frex/orders/{order_no}/cancel",
            POST,
            post(frex_orders::cancel),
        ),
        (
            "/v1/frex/orders/{order_no}/complete",
            POST,
            post(frex_orders::complete),
        ),
        ("/v1/admin/frex/batch", POST, post(frex_admin::batch)),
        ("/v1/admin/frex/worker", GET, get(frex_admin::worker)),
        ("/v1/admin/frex/pause", POST, post(frex_admin::pause)),
        ("/v1/admin/frex/resume", POST, post(frex_admin::resume)),
        ("/v1/admin/frex/requests", GET, get(frex_admin::requests)),
        (
            "/v1/admin/frex/requests/{request_key}/resolve",
            POST,
            post(frex_admin::resolve_request),
        ),
        (
            "/v1/admin/frex/orders/{order_no}/resolve",
            POST,
            post(frex_admin::resolve_order),
        ),
        (
            "/v1/admin/frex/orders/{order_no}/history",
            GET,
            get(frex_admin::history),
        ),
        ("/v1/admin/frex/runs", GET, get(frex_admin::runs)),
        ("/v1/admin/frex/alerts", GET, get(frex_admin::alerts)),
        (
            "/v1/admin/frex/alerts/{alert_id}/resolve",
            POST,
            post(frex_admin::resolve_alert),
        ),
        (
            "/v1/admin/frex/joiners/{joiner_id}",
            &["put"],
            put(frex_admin::joiner),
        ),
        ("/healthz", GET, get(health::healthz)),
        ("/readyz", GET, get(health::readyz)),
        ("/metrics", GET, get(health::metrics)),
        ("/openapi.json", GET, get(openapi::read)),
    ]
}

/// The whole surface.
pub fn router(app: App) -> Router {
    let mut router = Router::new();
    for (path, _, methods) in routes() {
        router = router.route(path, methods);
    }
    router
        .route(callbacks::NEUTRAL, get(callbacks::neutral))
        .merge(
            pages::router(app.pages.clone())
                .layer(from_fn_with_state(app.clone(), body::form_in_time)),
        )
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(from_fn_with_state(app.clone(), limits::layer))
        .layer(from_fn(plain_headers))
        .layer(from_fn_with_state(app.clone(), observe::layer))
        .layer(from_fn(request_id::layer))
        .with_state(app)
}

async fn no_route() -> Problem {
    Problem::not_found("No route has this path; /openapi.json lists them")
}

async fn no_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "The header Allow lists what this path takes",
    )
}

/// Answers are about one caller's money: nobody keeps them, and no browser guesses what they are.
async fn plain_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
