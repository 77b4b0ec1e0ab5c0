//! The deferred-payment calls (`spec/frex.md` 12): who may call them, repeated requests, and how refusals look.

pub mod admin;
pub mod orders;
mod wire;

use std::future::Future;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;

use super::App;
use super::auth::{Merchant, Operator};
use super::problem::Problem;
use super::reply::IdempotencyKey;
use crate::atom::flow::idempotency::{Begin, PAYMENT_LIFE_MS, Use};
use crate::atom::flow::{Caller, FlowError, Reply};
use crate::frex::decide::DecideError;
use crate::frex::error::FrexError;
use crate::frex::service::Frex;
use crate::frex::shop::ShopError;
use crate::frex::worker::RunError;
use crate::keys::Principal;
use crate::store::StoreError;

/// The parts, where they are enabled.
pub struct Enabled(pub Frex);

/// The merchant whose orders these are.
pub struct Shopkeeper {
    /// The parts.
    pub frex: Frex,
    /// Who calls.
    pub principal: Principal,
}

/// An operator, where the parts are enabled.
pub struct Desk {
    /// The parts.
    pub frex: Frex,
    /// Who calls.
    pub principal: Principal,
}

/// Who may read an order: the merchant or an operator.
pub struct Reader(pub Frex);

impl FromRequestParts<App> for Enabled {
    type Rejection = Problem;

    async fn from_request_parts(_: &mut Parts, app: &App) -> Result<Self, Problem> {
        let frex = app.frex.clone();
        frex.map(Self)
            .ok_or_else(|| Problem::not_found("Deferred payment is not enabled here ([frex])"))
    }
}

impl FromRequestParts<App> for Shopkeeper {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let merchant = Merchant::from_request_parts(parts, app).await?;
        let Enabled(frex) = Enabled::from_request_parts(parts, app).await?;
        if *merchant.id != *frex.merchant {
            return Err(Problem::forbidden(
                "Deferred payment belongs to another merchant (frex.merchant)",
            ));
        }
        Ok(Self {
            frex,
            principal: merchant.principal,
        })
    }
}

impl FromRequestParts<App> for Desk {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let Operator(principal) = Operator::from_request_parts(parts, app).await?;
        let Enabled(frex) = Enabled::from_request_parts(parts, app).await?;
        Ok(Self { frex, principal })
    }
}

impl FromRequestParts<App> for Reader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        match Shopkeeper::from_request_parts(parts, app).await {
            Ok(merchant) => Ok(Self(merchant.frex)),
            Err(refused) => match Desk::from_request_parts(parts, app).await {
                Ok(desk) => Ok(Self(desk.frex)),
                Err(_) => Err(refused),
            },
        }
    }
}

/// A request that may come twice.
pub struct Once<'a> {
    app: &'a App,
    who: &'a Caller,
    route: String,
    key: Option<&'a str>,
    body: &'a [u8],
}

impl<'a> Once<'a> {
    /// A request by its route (the concrete path) and what names it.
    pub fn new(
        app: &'a App,
        who: &'a Caller,
        route: String,
        key: &'a IdempotencyKey,
        body: &'a [u8],
    ) -> Self {
        Self {
            app,
            who,
            route,
            key: key.text(),
            body,
        }
    }

    /// Does `work` unless the request was answered before, and keeps a good answer. `work` learns whether the request was
    /// begun before and its answer is not known: it must find out what it did then. A refusal is not kept: the same request
    /// may succeed later.
    ///
    /// # Errors
    /// The key does not count or belongs to another body, or `work`'s own.
    pub async fn done<F, Fut>(self, work: F) -> Result<Reply, Problem>
    where
        F: FnOnce(bool) -> Fut,
        Fut: Future<Output = Result<Reply, Problem>>,
    {
        let (store, now) = (&self.app.flow.store, self.app.flow.clock.now_ms());
        let named = Use::new(&self.who.merchant_id, self.route, self.key, self.body)?;
        let mut tx = store.begin().await.map_err(FlowError::from)?;
        let again = match named.begin(&mut tx, now, PAYMENT_LIFE_MS).await? {
            Begin::Replay(reply) => return Ok(reply),
            Begin::First => false,
            Begin::Running { .. } => true,
        };
        tx.commit().await.map_err(FlowError::from)?;
        let done = work(again).await;
        let mut tx = store.begin().await.map_err(FlowError::from)?;
        match &done {
            // Somebody who repeated the request meanwhile may have kept the same answer already.
            Ok(reply) => match named.finish(&mut tx, reply.status, &reply.body).await {
                Err(error) if !error.is_conflict() => return Err(FlowError::from(error).into()),
                _ => {}
            },
            Err(_) => named.abandon(&mut tx).await.map_err(FlowError::from)?,
        }
        tx.commit().await.map_err(FlowError::from)?;
        done
    }
}

/// A failure of ours: the log has it, the caller its id. That somebody else was quicker is no failure.
fn failed(error: &FrexError) -> Problem {
    if error.is_conflict() {
        let detail = "The order was changed meanwhile; read it again and decide";
        return Problem::new(StatusCode::CONFLICT, "changed_meanwhile", detail);
    }
    log::error!("frex: {error}");
    Problem::internal()
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

impl From<FrexError> for Problem {
    fn from(error: FrexError) -> Self {
        failed(&error)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        failed(&error.into())
    }
}

impl From<ShopError> for Problem {
    fn from(error: ShopError) -> Self {
        match &error {
            ShopError::Frex(inner) => failed(inner),
            _ => Self::new(status(error.status()), error.code(), error.to_string()),
        }
    }
}

impl From<DecideError> for Problem {
    fn from(error: DecideError) -> Self {
        match error {
            DecideError::Shop(error) => error.into(),
            _ => Self::new(status(error.status()), error.code(), error.to_string()),
        }
    }
}

impl From<RunError> for Problem {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Held(_) => Self::new(StatusCode::CONFLICT, "run_active", error.to_string()),
            RunError::NoStep { .. } => Self::invalid("steps", error.to_string()),
            RunError::Ending => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "not_ready",
                error.to_string(),
            ),
            RunError::Frex(error) => failed(&error),
        }
    }
}
