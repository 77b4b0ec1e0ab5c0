//! The description of this surface (OpenAPI 3.1), served as it stands in the repository.

use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

/// The document.
pub const DOCUMENT: &str = include_str!("../../openapi.json");

/// `GET /openapi.json`
pub async fn read() -> Response {
    let mut response = DOCUMENT.into_response();
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use crate::http::router::routes;

    /// Every route stands in the document with its methods, and the document names no other.
    #[test]
    fn the_document_has_every_route() {
        let document: Value = serde_json::from_str(super::DOCUMENT).expect("JSON");
        let paths = document["paths"].as_object().expect("paths");
        let mut described: Vec<(String, String)> = Vec::new();
        for (path, methods) in paths {
            for method in methods.as_object().expect("methods").keys() {
                described.push((path.clone(), method.clone()));
            }
        }
        let mut served: Vec<(String, String)> = Vec::new();
        for (path, methods, _) in routes() {
            for method in methods {
                served.push((path.to_owned(), (*method).to_owned()));
            }
        }
        described.sort();
        served.sort();
        assert_eq!(described, served);
    }
}
