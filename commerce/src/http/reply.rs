//! Between HTTP and the flow: who asks, with which key, and how answers and refusals look on the wire.

use axum::extract::FromRequestParts;
use axum::http::header::{ETAG, IF_NONE_MATCH, LOCATION};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::problem::Problem;
use super::request_id;
use crate::atom::flow::{Caller, FlowError, Reply};
use crate::keys::Principal;

/// What names a request that may come twice.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Says that the answer is a stored one.
const REPLAY: HeaderName = HeaderName::from_static("idempotent-replay");

/// The `Idempotency-Key` of a request, if there is one; whether it is one that counts, the flow decides.
pub struct IdempotencyKey(Option<String>);

impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let value = parts.headers.get(IDEMPOTENCY_KEY);
        Ok(Self(
            value.and_then(|value| Some(value.to_str().ok()?.to_owned())),
        ))
    }
}

impl IdempotencyKey {
    /// The key as the flow takes it.
    pub fn text(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

/// A key's holder as the flow knows callers. An operator's keys for repeated requests are his own, so they stand under
/// his name where a merchant's stand.
pub fn caller(principal: &Principal) -> Caller {
    let own = || format!("operator/{}", principal.key_id);
    Caller {
        merchant_id: principal.merchant_id.clone().unwrap_or_else(own),
        actor: principal.key_id.clone(),
        request_id: request_id::current().unwrap_or_default(),
    }
}

/// An answer of the flow with the headers that belong to it.
pub struct Answer {
    reply: Reply,
    location: Option<String>,
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        Self {
            reply,
            location: None,
        }
    }
}

impl Answer {
    /// Names where the thing can be read: below `path`, by the member `id` of the body.
    #[must_use]
    pub fn at(mut self, path: &str, id: &str) -> Self {
        self.location = self.reply.body[id]
            .as_str()
            .map(|id| format!("{path}/{id}"));
        self
    }

    /// The answer to a reading: 304 where the caller has this version already.
    pub fn unless_known(self, headers: &HeaderMap) -> Response {
        let tag = self.reply.version.map(tag_of);
        let given = headers.get_all(IF_NONE_MATCH);
        let known = given.iter().filter_map(|value| value.to_str().ok());
        let mut known = known.flat_map(|value| value.split(',')).map(str::trim);
        match tag {
            Some(tag)
                if known.any(|given| given == "*" || given.trim_start_matches("W/") == tag) =>
            {
                let mut response = StatusCode::NOT_MODIFIED.into_response();
                if let Ok(value) = HeaderValue::from_str(&tag) {
                    response.headers_mut().insert(ETAG, value);
                }
                response
            }
            _ => self.into_response(),
        }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.reply.status).unwrap_or(StatusCode::OK);
        let mut response = (status, axum::Json(self.reply.body)).into_response();
        let headers = response.headers_mut();
        let mut set = |name, text: String| {
            // Ids and versions are ASCII; what is not is left out.
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.insert(name, value);
            }
        };
        if let Some(version) = self.reply.version {
            set(ETAG, tag_of(version));
        }
        if let Some(location) = self.location {
            set(LOCATION, location);
        }
        if self.reply.replayed {
            set(REPLAY, "true".to_owned());
        }
        response
    }
}

fn tag_of(version: i64) -> String {
    format!("\"{version}\"")
}

impl From<FlowError> for Problem {
    fn from(error: FlowError) -> Self {
        if let FlowError::Store(inner) = &error
            && !inner.is_conflict()
        {
            log::error!("the store failed: {inner}");
        }
        let status =
            StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut problem = Problem::new(status, error.code(), error.detail());
        for (name, value) in error.extra() {
            problem = problem.with(&name, value);
        }
        match error.retry_after_s() {
            Some(seconds) => problem.retry_after(seconds),
            None => problem,
        }
    }
}
