//! What the shop does with its deferred-payment orders.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::http::header::IF_MATCH;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use super::wire::{self, Change};
use super::{Once, Reader, Shopkeeper};
use crate::atom::flow::Reply;
use crate::frex::service::Frex;
use crate::frex::shop::{Cancelled, ShopError};
use crate::frex::view;
use crate::http::App;
use crate::http::body::{Json, Path};
use crate::http::problem::Problem;
use crate::http::reply::{Answer, IdempotencyKey, caller};

/// `POST /v1/frex/orders`
pub async fn place(
    State(app): State<App>,
    merchant: Shopkeeper,
    key: IdempotencyKey,
    body: Json,
) -> Result<Answer, Problem> {
    let new = wire::new_order(&body.0)?;
    let who = caller(&merchant.principal);
    let once = Once::new(&app, &who, "/v1/frex/orders".to_owned(), &key, &body.0);
    // The order's number makes it one however often it comes.
    let reply = once
        .done(|_| async {
            merchant.frex.shop.place_order(&new).await?;
            let mut reply = Reply::new(
                StatusCode::CREATED.as_u16(),
                json!({"order_no": new.order_no, "stage": "placed"}),
            );
            reply.version = Some(1);
            Ok(reply)
        })
        .await?;
    Ok(Answer::from(reply).at("/v1/frex/orders", "order_no"))
}

/// `GET /v1/frex/orders/{order_no}`
pub async fn read(Reader(frex): Reader, Path(order_no): Path) -> Result<Answer, Problem> {
    Ok(shown(&frex, &order_no, StatusCode::OK).await?.into())
}

/// `PATCH /v1/frex/orders/{order_no}`
pub async fn change(
    merchant: Shopkeeper,
    Path(order_no): Path,
    headers: HeaderMap,
    body: Json,
) -> Result<Answer, Problem> {
    let version = if_match(&headers)?;
    let shop = &merchant.frex.shop;
    match wire::change(body.or_empty())? {
        Change::Amount(amount, goods) => {
            shop.change_amount(&order_no, version, amount, &goods)
                .await?;
        }
        Change::User(user) => {
            shop.change_buyer(&order_no, version, &user).await?;
        }
    }
    Ok(shown(&merchant.frex, &order_no, StatusCode::OK)
        .await?
        .into())
}

/// `POST /v1/frex/orders/{order_no}/cancel`
pub async fn cancel(merchant: Shopkeeper, Path(order_no): Path) -> Result<Response, Problem> {
    let cancelled = merchant.frex.shop.cancel(&order_no).await?;
    let (status, stage) = match cancelled {
        Cancelled::Closed => {
            let reply = shown(&merchant.frex, &order_no, StatusCode::OK).await?;
            (StatusCode::OK, reply.body["stage"].clone())
        }
        Cancelled::Cancelling => (StatusCode::ACCEPTED, json!("cancelling")),
    };
    let body = json!({"order_no": order_no, "stage": stage});
    Ok((status, axum::Json(body)).into_response())
}

/// `POST /v1/frex/orders/{order_no}/complete`
pub async fn complete(merchant: Shopkeeper, Path(order_no): Path) -> Result<Answer, Problem> {
    merchant.frex.shop.complete_order(&order_no).await?;
    Ok(shown(&merchant.frex, &order_no, StatusCode::OK)
        .await?
        .into())
}

/// The order as it is now, with its version.
async fn shown(frex: &Frex, order_no: &str, status: StatusCode) -> Result<Reply, Problem> {
    let found = view::order(&frex.shop.store, order_no).await?;
    let (order, body) = found.ok_or_else(|| ShopError::NotFound {
        order_no: order_no.to_owned(),
    })?;
    let mut reply = Reply::new(status.as_u16(), body);
    reply.version = Some(order.version);
    Ok(reply)
}

/// The version that `If-Match` names: `"3"`, as the `ETag` of a reading gave it.
fn if_match(headers: &HeaderMap) -> Result<i64, Problem> {
    let Some(given) = headers.get(IF_MATCH) else {
        return Err(Problem::new(
            StatusCode::PRECONDITION_REQUIRED,
            "version_required",
            "Send If-Match with the ETag of the order as you read it",
        ));
    };
    let version = given.to_str().ok().and_then(|text| {
        let quoted = text.trim().strip_prefix('"')?.strip_suffix('"')?;
        quoted.parse().ok()
    });
    version.ok_or_else(|| Problem::invalid("If-Match", "must be one ETag such as \"3\""))
}
