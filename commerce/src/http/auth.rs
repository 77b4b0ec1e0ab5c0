//! Who may call what: bearer API keys with the role of a merchant or an operator (`spec/atom.md 15`).

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use super::App;
use super::problem::Problem;
use crate::keys::{Principal, Role};

/// A merchant that calls with its key.
pub struct Merchant {
    /// Whose orders.
    pub id: String,
    /// The key.
    pub principal: Principal,
}

/// An operator that calls with a key.
pub struct Operator(pub Principal);

impl FromRequestParts<App> for Merchant {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let principal = principal(parts, app).await?;
        match (principal.role, principal.merchant_id.clone()) {
            (Role::Merchant, Some(id)) => Ok(Self { id, principal }),
            _ => Err(Problem::forbidden("This needs the key of a merchant")),
        }
    }
}

impl FromRequestParts<App> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let principal = principal(parts, app).await?;
        match principal.role {
            Role::Operator => Ok(Self(principal)),
            Role::Merchant => Err(Problem::forbidden("This needs the key of an operator")),
        }
    }
}

/// The bearer token of a request.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim())
        .filter(|token| !token.is_empty())
}

async fn principal(parts: &Parts, app: &App) -> Result<Principal, Problem> {
    let token = bearer(&parts.headers).ok_or_else(Problem::unauthorized)?;
    let found = app.keys.verify(token).await.map_err(|error| {
        log::error!("api keys cannot be read: {error}");
        Problem::internal()
    })?;
    let principal = found.ok_or_else(Problem::unauthorized)?;
    app.limits.key(&principal.key_id)?;
    Ok(principal)
}
