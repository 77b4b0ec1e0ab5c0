//! Orders and their payments, for merchants; one order also for the customer who has its reading token.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;

use super::App;
use super::auth::{self, Merchant};
use super::body::{Json, Path};
use super::problem::Problem;
use super::reply::{Answer, IdempotencyKey, caller};

/// What a reading token begins with.
const READ_TOKEN: &str = "rt_";

/// `POST /v1/orders`
pub async fn create(
    State(app): State<App>,
    merchant: Merchant,
    key: IdempotencyKey,
    body: Json,
) -> Result<Answer, Problem> {
    let who = caller(&merchant.principal);
    let reply = app.flow.create_order(&who, key.text(), &body.0).await?;
    Ok(Answer::from(reply).at("/v1/orders", "order_id"))
}

/// `GET /v1/orders/{order_id}`
pub async fn read(
    State(app): State<App>,
    reader: Reader,
    Path(id): Path,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let reply = match reader {
        Reader::Customer(token) => app.flow.customer_view(&id, &token).await?,
        Reader::Merchant(merchant) => app.flow.order_view(Some(&merchant.id), &id).await?,
    };
    Ok(Answer::from(reply).unless_known(&headers))
}

/// Who may read an order.
pub enum Reader {
    /// Its merchant.
    Merchant(Merchant),
    /// Who has its reading token.
    Customer(String),
}

impl axum::extract::FromRequestParts<App> for Reader {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut axum::http::request::Parts,
        app: &App,
    ) -> Result<Self, Problem> {
        match auth::bearer(&parts.headers) {
            Some(token) if token.starts_with(READ_TOKEN) => Ok(Self::Customer(token.to_owned())),
            _ => Merchant::from_request_parts(parts, app)
                .await
                .map(Self::Merchant),
        }
    }
}

/// `POST /v1/orders/{order_id}/payments`
pub async fn pay(
    State(app): State<App>,
    merchant: Merchant,
    Path(id): Path,
    key: IdempotencyKey,
    body: Json,
) -> Result<Answer, Problem> {
    let who = caller(&merchant.principal);
    let reply = app
        .flow
        .start_payment(&who, &id, key.text(), body.or_empty())
        .await?;
    Ok(reply.into())
}

/// `POST /v1/orders/{order_id}/cancel`
pub async fn cancel(
    State(app): State<App>,
    merchant: Merchant,
    Path(id): Path,
) -> Result<Answer, Problem> {
    Ok(app
        .flow
        .cancel(&caller(&merchant.principal), &id)
        .await?
        .into())
}

/// `POST /v1/orders/{order_id}/ship`
pub async fn ship(
    State(app): State<App>,
    merchant: Merchant,
    Path(id): Path,
) -> Result<Answer, Problem> {
    Ok(app
        .flow
        .ship(&caller(&merchant.principal), &id)
        .await?
        .into())
}

/// `POST /v1/orders/{order_id}/deliver`
pub async fn deliver(
    State(app): State<App>,
    merchant: Merchant,
    Path(id): Path,
) -> Result<Answer, Problem> {
    Ok(app
        .flow
        .deliver(&caller(&merchant.principal), &id)
        .await?
        .into())
}
