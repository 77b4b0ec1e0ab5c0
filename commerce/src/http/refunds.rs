//! Refunds, for merchants.

use axum::extract::State;

use super::App;
use super::auth::Merchant;
use super::body::{Json, Path};
use super::problem::Problem;
use super::reply::{Answer, IdempotencyKey, caller};

/// `POST /v1/orders/{order_id}/refunds`
pub async fn ask(
    State(app): State<App>,
    merchant: Merchant,
    Path(id): Path,
    key: IdempotencyKey,
    body: Json,
) -> Result<Answer, Problem> {
    let who = caller(&merchant.principal);
    let reply = app
        .flow
        .refund(&who, &id, key.text(), body.or_empty())
        .await?;
    Ok(Answer::from(reply).at("/v1/refunds", "refund_id"))
}

/// `GET /v1/refunds/{refund_id}`
pub async fn read(
    State(app): State<App>,
    merchant: Merchant,
    Path(id): Path,
) -> Result<Answer, Problem> {
    Ok(app
        .flow
        .refund_view(&caller(&merchant.principal), &id)
        .await?
        .into())
}
