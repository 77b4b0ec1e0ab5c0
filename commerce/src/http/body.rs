//! Bodies, paths and queries, read with our own errors: what the framework would refuse in plain text is a problem here.

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use serde::de::DeserializeOwned;

use super::App;
use super::problem::Problem;

/// Largest body of any request (`spec/atom.md 14`, check 1).
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// How deep JSON may nest.
const DEPTH_MAX: usize = 16;

/// The bytes of a JSON body: sound UTF-8 JSON, an object, of the right content type, and not too large or deep. An empty
/// body counts as `{}` where it is optional.
pub struct Json(pub Bytes);

/// The bytes of a form body.
pub struct Form(pub Bytes);

/// One segment of the path.
pub struct Path(pub String);

/// The query, taken apart strictly: unknown and repeated names are refused.
pub struct Query<T>(pub T);

impl FromRequest<App> for Json {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let typed = content_type(request.headers());
        let json = matches!(typed.as_deref(), Some("application/json"));
        let (parts, body) = request.into_parts();
        let bytes = read(&parts.headers, body, app).await?;
        if bytes.is_empty() && typed.is_none() {
            return Ok(Self(bytes));
        }
        if !json {
            return Err(unsupported("application/json"));
        }
        match serde_json::from_slice::<serde_json::Value>(&bytes) {
            Ok(serde_json::Value::Object(members)) => {
                if depth(&serde_json::Value::Object(members)) > DEPTH_MAX {
                    return Err(Problem::bad_request(format!(
                        "The JSON nests deeper than {DEPTH_MAX}"
                    )));
                }
                Ok(Self(bytes))
            }
            Ok(_) => Err(Problem::invalid("body", "must be a JSON object")),
            Err(error) => Err(Problem::bad_request(format!(
                "The body is not JSON: line {}, column {}",
                error.line(),
                error.column()
            ))),
        }
    }
}

impl Json {
    /// The body, or an empty object where there is none.
    pub fn or_empty(&self) -> &[u8] {
        if self.0.is_empty() { b"{}" } else { &self.0 }
    }
}

impl FromRequest<App> for Form {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        const FORM: &str = "application/x-www-form-urlencoded";
        if content_type(request.headers()).as_deref() != Some(FORM) {
            return Err(unsupported(FORM));
        }
        let (parts, body) = request.into_parts();
        read(&parts.headers, body, app).await.map(Self)
    }
}

impl FromRequestParts<App> for Path {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        axum::extract::Path::<String>::from_request_parts(parts, app)
            .await
            .map(|axum::extract::Path(segment)| Self(segment))
            .map_err(|_| Problem::not_found("The id in the path is no text"))
    }
}

impl<T: DeserializeOwned> FromRequestParts<App> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        axum::extract::Query::<T>::from_request_parts(parts, app)
            .await
            .map(|axum::extract::Query(query)| Self(query))
            .map_err(|refused| {
                let text = refused.body_text();
                let reason = text.rsplit("query string: ").next().unwrap_or("unreadable");
                let field = reason
                    .split('`')
                    .nth(1)
                    .or_else(|| reason.split_once(':').map(|(field, _)| field))
                    .unwrap_or("query")
                    .to_owned();
                Problem::invalid(&field, reason)
            })
    }
}

/// Reads the form of a page whole before the page's own code runs: it has as long as any other body.
pub async fn form_in_time(
    State(app): State<App>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let bytes = read(&parts.headers, body, &app).await?;
    Ok(next
        .run(Request::from_parts(parts, Body::from(bytes)))
        .await)
}

/// The body within its limits of size and time.
async fn read(headers: &HeaderMap, body: Body, app: &App) -> Result<Bytes, Problem> {
    let too_large = || {
        Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            format!("A body has {BODY_BYTES_MAX} bytes at most"),
        )
    };
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > BODY_BYTES_MAX) {
        return Err(too_large());
    }
    let reading = axum::body::to_bytes(body, BODY_BYTES_MAX);
    match tokio::time::timeout(app.settings.body_timeout(), reading).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => {
            let limit = std::error::Error::source(&error)
                .is_some_and(|source| source.to_string().contains("length limit"));
            Err(if limit {
                too_large()
            } else {
                Problem::bad_request("The body broke off")
            })
        }
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "request_timeout",
            "The body did not arrive in time",
        )),
    }
}

/// The media type without its parameters, in lower case.
fn content_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let media = value.split(';').next().unwrap_or_default();
    Some(media.trim().to_ascii_lowercase())
}

fn unsupported(wanted: &str) -> Problem {
    Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        format!("Send the body as {wanted}"),
    )
}

fn depth(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        serde_json::Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}
