//! The style sheet, the icon and the one script, compiled into the daemon.

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// The files, with the address and the type of each.
const FILES: &[(&str, &str, &str)] = &[
    (
        "/static/pages.css",
        "text/css; charset=utf-8",
        include_str!("assets/pages.css"),
    ),
    (
        "/static/checkout.js",
        "text/javascript; charset=utf-8",
        include_str!("assets/checkout.js"),
    ),
    (
        "/static/icon.svg",
        "image/svg+xml",
        include_str!("assets/icon.svg"),
    ),
];

/// Seconds a browser may keep a file; short, since the addresses do not change with the content.
const KEEP_S: &str = "max-age=300";

/// Routes of all files.
pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES
        .iter()
        .fold(Router::new(), |router, (path, kind, text)| {
            router.route(path, get(move || async move { file(kind, text) }))
        })
}

fn file(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CACHE_CONTROL, HeaderValue::from_static(KEEP_S)),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
    ];
    (headers, text).into_response()
}
