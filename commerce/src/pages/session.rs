//! Sessions of operators in the admin pages.
//!
//! An operator logs in with an API key. The browser gets a random token in a cookie that no script reads and no other site can
//! send (`HttpOnly`, `SameSite=Strict`); the store keeps its SHA-256, so a copy of the store opens nothing. A session ends by
//! logging out, by time, and with its key: a revoked key's sessions are dead at once. Every form carries a second token, derived
//! from the first, that another site cannot know; [`Signed`] is the only way to read an admin form, so none goes unchecked.

use axum::body::Bytes;
use axum::extract::{FromRef, FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use maud::html;
use sha2::{Digest, Sha256};
use sqlx::Row;
use subtle::ConstantTimeEq;

use super::form::Fields;
use super::look::{Chrome, Page, Tone, notice};
use crate::clock::Clock;
use crate::keys::{ApiKeys, Role};
use crate::store::{Store, StoreError};

/// Name of the cookie.
pub const COOKIE: &str = "commerced_admin";

/// How long a session lasts after the login: a working day.
pub const LIFE_MS: i64 = 8 * 3_600_000;

/// Random bytes of a token.
const TOKEN_BYTES: usize = 32;

/// Name of the field with a form's token.
pub const CSRF_FIELD: &str = "csrf";

/// The sessions in the store.
#[derive(Clone)]
pub struct Sessions {
    store: Store,
    clock: Clock,
    keys: ApiKeys,
    /// Whether the cookie may travel over https only.
    secure: bool,
    /// Whether the pages of deferred payment are there.
    frex: bool,
}

/// An operator who is logged in.
#[derive(Clone, Debug)]
pub struct Operator {
    /// The id of the key, which stands in the audit.
    pub key_id: String,
    /// What the key is called.
    pub name: String,
    /// The token of this session's forms.
    pub csrf: String,
    /// Whether the menu has deferred payment.
    pub frex: bool,
}

impl Sessions {
    /// Sessions over these keys; `secure` keeps the cookie to https, `frex` says that deferred payment is configured.
    #[must_use]
    pub fn new(store: Store, clock: Clock, keys: ApiKeys, secure: bool, frex: bool) -> Self {
        Self {
            store,
            clock,
            keys,
            secure,
            frex,
        }
    }

    /// Begins a session for an operator's key and returns the cookie's header; `None` for any other key.
    ///
    /// # Errors
    /// The store fails.
    pub async fn begin(&self, key: &str) -> Result<Option<String>, StoreError> {
        let Some(owner) = self.keys.verify(key).await? else {
            return Ok(None);
        };
        if owner.role != Role::Operator {
            return Ok(None);
        }
        let mut bytes = [0_u8; TOKEN_BYTES];
        rand::fill(&mut bytes);
        let token = hex::encode(bytes);
        let now = self.clock.now_ms();
        sqlx::query("DELETE FROM admin_sessions WHERE expires_at <= $1")
            .bind(now)
            .execute(self.store.pool())
            .await?;
        sqlx::query(
            "INSERT INTO admin_sessions (token_sha256, key_id, created_at, expires_at) \
             VALUES ($1, $2, $3, $4)",
        )
        .bind(digest(&token))
        .bind(&owner.key_id)
        .bind(now)
        .bind(now + LIFE_MS)
        .execute(self.store.pool())
        .await?;
        log::info!("operator {} logged in to the admin pages", owner.key_id);
        Ok(Some(self.cookie(&token, LIFE_MS / 1000)))
    }

    /// The operator whose cookie came with a request, if the session lives.
    ///
    /// # Errors
    /// The store fails.
    pub async fn find(&self, headers: &HeaderMap) -> Result<Option<Operator>, StoreError> {
        let Some(token) = token(headers) else {
            return Ok(None);
        };
        let row = sqlx::query(
            "SELECT k.id, k.label FROM admin_sessions s JOIN api_keys k ON k.id = s.key_id \
             WHERE s.token_sha256 = $1 AND s.expires_at > $2 AND k.revoked_at IS NULL",
        )
        .bind(digest(token))
        .bind(self.clock.now_ms())
        .fetch_optional(self.store.pool())
        .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Operator {
            key_id: row.try_get("id")?,
            name: row.try_get("label")?,
            csrf: csrf(token),
            frex: self.frex,
        }))
    }

    /// Ends the session of a request and returns the header that removes its cookie.
    ///
    /// # Errors
    /// The store fails.
    pub async fn end(&self, headers: &HeaderMap) -> Result<String, StoreError> {
        if let Some(token) = token(headers) {
            sqlx::query("DELETE FROM admin_sessions WHERE token_sha256 = $1")
                .bind(digest(token))
                .execute(self.store.pool())
                .await?;
        }
        Ok(self.cookie("", 0))
    }

    fn cookie(&self, token: &str, life_s: i64) -> String {
        let secure = if self.secure { "; Secure" } else { "" };
        format!(
            "{COOKIE}={token}; Path=/admin; Max-Age={life_s}; HttpOnly; SameSite=Strict{secure}"
        )
    }
}

impl Operator {
    /// The frame of an admin page for this operator, with the section `here` open.
    #[must_use]
    pub fn chrome(&self, here: &'static str) -> Chrome {
        Chrome::Admin {
            operator: self.name.clone(),
            csrf: self.csrf.clone(),
            here,
            frex: self.frex,
        }
    }
}

impl<S> FromRequestParts<S> for Operator
where
    Sessions: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        match Sessions::from_ref(state).find(&parts.headers).await {
            Ok(Some(operator)) => Ok(operator),
            Ok(None) if token(&parts.headers).is_some() => {
                Err(Redirect::to("/admin/login?expired=1").into_response())
            }
            Ok(None) => Err(Redirect::to("/admin/login").into_response()),
            Err(error) => {
                log::error!("admin sessions cannot be read: {error}");
                Err(broken())
            }
        }
    }
}

/// A form that an operator sent from a page of this session.
#[derive(Clone, Debug)]
pub struct Signed {
    /// Who sent it.
    pub operator: Operator,
    /// What stands in it.
    pub form: Fields,
}

impl<S> FromRequest<S> for Signed
where
    Sessions: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let operator = Operator::from_request_parts(&mut parts, state).await?;
        let body = Bytes::from_request(Request::from_parts(parts, body), state)
            .await
            .map_err(IntoResponse::into_response)?;
        let form = Fields::parse(&body);
        let sent = form.get(CSRF_FIELD).as_bytes();
        if bool::from(sent.ct_eq(operator.csrf.as_bytes())) {
            Ok(Self { operator, form })
        } else {
            Err(foreign())
        }
    }
}

/// The answer to a form that did not come from one of our pages.
#[must_use]
pub fn foreign() -> Response {
    let body = notice(
        Tone::Bad,
        &html! { p { "This form did not come from a page of this session, so nothing was done. Go back, reload the page and try again." } },
    );
    Page::new("Nothing was done", Chrome::Bare, body)
        .status(StatusCode::FORBIDDEN)
        .into_response()
}

/// The answer when the store fails; the reason is in the log.
#[must_use]
pub fn broken() -> Response {
    let body = notice(
        Tone::Bad,
        &html! { p { "Something broke on our side. Nothing was lost; please try again in a minute." } },
    );
    Page::new("That did not work", Chrome::Bare, body)
        .status(StatusCode::INTERNAL_SERVER_ERROR)
        .into_response()
}

/// The value of a cookie of a request.
#[must_use]
pub fn cookie_value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(n, value)| (n == name).then_some(value))
}

fn token(headers: &HeaderMap) -> Option<&str> {
    cookie_value(headers, COOKIE).filter(|token| token.len() == 2 * TOKEN_BYTES)
}

fn digest(token: &str) -> String {
    hex::encode(Sha256::digest(token.as_bytes()))
}

/// The token of a session's forms: it follows from the session's token, which other sites cannot read.
fn csrf(token: &str) -> String {
    hex::encode(Sha256::digest(format!("csrf of {token}")))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_cookie_is_found_among_others() {
        // Shows: reading a cookie from several headers and pairs, and that one whose name only ends alike is not taken for it.
        let mut headers = HeaderMap::new();
        headers.append(
            header::COOKIE,
            HeaderValue::from_static("a=1; xcommerced_admin=no"),
        );
        headers.append(
            header::COOKIE,
            HeaderValue::from_static("b=2; commerced_admin=yes; c=3"),
        );
        assert_eq!(cookie_value(&headers, COOKIE), Some("yes"));
        assert_eq!(cookie_value(&headers, "c"), Some("3"));
        assert_eq!(cookie_value(&headers, "d"), None);
    }
}
