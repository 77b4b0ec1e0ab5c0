//! Errors as the caller sees them: `application/problem+json` (RFC 9457) with a `code` that programs can rely on.
//!
//! Every error that leaves the HTTP surface is one of these, those of the framework included; only the callback's answers
//! are plain text, because Atom expects them so.

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::request_id;

/// One error answer.
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    extra: Map<String, Value>,
    retry_after_s: Option<u64>,
}

/// The codes of the HTTP surface itself, with their titles.
const TITLES: [(&str, &str); 12] = [
    ("bad_request", "The request cannot be read"),
    ("validation_failed", "The request breaks a rule"),
    ("unauthorized", "An API key is needed"),
    ("forbidden", "This key may not do that"),
    ("not_found", "There is no such thing"),
    ("method_not_allowed", "The address knows other methods"),
    ("request_timeout", "The request took too long to arrive"),
    ("body_too_large", "The body is too large"),
    ("unsupported_media_type", "The body is of another kind"),
    ("rate_limited", "Too many requests"),
    ("internal_error", "Something broke on our side"),
    ("not_ready", "The service is not ready"),
];

impl Problem {
    /// An error of this status and code; `detail` is for people.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            extra: Map::new(),
            retry_after_s: None,
        }
    }

    /// 400: the request cannot be read.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", detail)
    }

    /// 400 with the fields that break a rule.
    pub fn invalid(field: &str, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self::new(
            StatusCode::BAD_REQUEST,
            "validation_failed",
            format!("{field}: {reason}"),
        )
        .with("fields", json!([{"field": field, "reason": reason}]))
    }

    /// 401: no key, or one that does not count.
    pub fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "Send Authorization: Bearer with a valid API key",
        )
    }

    /// 403: the key's role does not reach that far.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// 404.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// 429 with the time to wait.
    pub fn rate_limited(wait_s: u64, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail).retry_after(wait_s.max(1))
    }

    /// 500; what happened stands in the log under the request's id.
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal_error",
            "The log has the reason under this request's id",
        )
    }

    /// Says when to try again.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// Adds a member.
    #[must_use]
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.extra.insert(name.to_owned(), value);
        self
    }

    /// The code.
    pub fn code(&self) -> &'static str {
        self.code
    }

    fn title(&self) -> String {
        let known = TITLES.iter().find(|(code, _)| *code == self.code);
        known.map_or_else(
            || {
                let mut words = self.code.replace('_', " ");
                words[..1].make_ascii_uppercase();
                words
            },
            |(_, title)| (*title).to_owned(),
        )
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = json!({
            "type": format!("urn:sekisho:problem:{}", self.code),
            "title": self.title(),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
        });
        if let Value::Object(members) = &mut body {
            if let Some(id) = request_id::current() {
                members.insert("request_id".to_owned(), Value::String(id));
            }
            members.extend(self.extra);
        }
        let mut response = (self.status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use serde_json::Value;

    /// The words in quotes that can be codes.
    fn words(text: &str) -> impl Iterator<Item = &str> {
        let quoted = text.split('"').skip(1).step_by(2);
        quoted.filter(|word| {
            let plain = |b: u8| b.is_ascii_lowercase() || b == b'_';
            !word.is_empty() && word.bytes().all(plain)
        })
    }

    /// What stands between two marks.
    fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
        let text = &text[text.find(from).expect(from)..];
        &text[..text.find(to).expect(to)]
    }

    /// The codes that our sources of the HTTP surface give a problem by hand.
    fn by_hand(dir: &Path, codes: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(dir).expect("sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                by_hand(&path, codes);
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("a source");
            let parts: Vec<&str> = text.split("::new(").collect();
            for pair in parts.windows(2) {
                let ours = pair[0].ends_with("Problem") || pair[0].ends_with("Self");
                let made: String = pair[1].chars().take(120).collect();
                if ours && made.trim_start().starts_with("StatusCode::") {
                    codes.extend(words(&made).take(1).map(str::to_owned));
                }
            }
        }
    }

    /// Every code that a caller can get is in the document and in the manual, and neither names another one.
    #[test]
    fn every_code_is_described() {
        let mut codes = BTreeSet::new();
        by_hand(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http"),
            &mut codes,
        );
        let flow = include_str!("../atom/flow/error.rs");
        let shop = include_str!("../frex/shop.rs");
        let decide = include_str!("../frex/decide.rs");
        for part in [
            between(flow, "fn kind(", "\n    }\n"),
            between(shop, "fn code(", "fn status("),
            between(decide, "fn code(", "fn status("),
        ] {
            codes.extend(words(part).map(str::to_owned));
        }
        // A failure of deferred payment leaves as internal_error.
        codes.remove("internal");
        let document: Value = serde_json::from_str(crate::http::openapi::DOCUMENT).expect("JSON");
        let listed = &document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"];
        let listed = listed.as_array().expect("a list of codes").iter();
        let listed: BTreeSet<String> = listed
            .map(|code| code.as_str().expect("a code").to_owned())
            .collect();
        assert_eq!(listed, codes);
        let manual = include_str!("../../../docs/commerce.md");
        let table = between(manual, "## What the errors mean", "\n## ");
        let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
        let described: BTreeSet<String> = rows
            .filter_map(|row| row.split('`').next())
            .map(str::to_owned)
            .collect();
        assert_eq!(described, codes);
    }
}
