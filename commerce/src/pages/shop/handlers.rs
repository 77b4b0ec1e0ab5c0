//! The shop's addresses.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use maud::html;
use serde_json::json;

use super::basket::Basket;
use super::checkout::checkout;
use super::customer::Customer;
use super::view::{self, OrderPage, shop_page};
use super::visitor::{self, Visitor};
use crate::pages::form::Fields;
use crate::pages::look::{Tone, notice};
use crate::pages::{Pages, fresh_key, words};

/// Hexadecimal digits of an order's reference.
const REFERENCE_DIGITS: usize = 16;

/// The routes, if the shop is open.
pub fn router() -> Router<Pages> {
    Router::new()
        .route("/shop", get(shelf))
        .route("/shop/basket", get(basket))
        .route("/shop/orders", post(place))
        .route("/shop/orders/{id}", get(look))
        .route("/shop/orders/{id}/pay", post(pay))
        .route("/shop/return", get(back))
}

async fn shelf(State(pages): State<Pages>, headers: HeaderMap) -> Response {
    let mut orders = Vec::new();
    for id in visitor::remembered(&headers) {
        match pages.order_of(&headers, id).await {
            Ok(order) => orders.extend(order),
            Err(response) => return response,
        }
    }
    view::shelf(&pages.shop, &orders, false).into_response()
}

/// The browser gets its number here, before the order: a double click on the next page's button then comes from one visitor.
async fn basket(
    State(pages): State<Pages>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let form = Fields::parse(query.unwrap_or_default().as_bytes());
    let basket = Basket::read(&pages.shop, &form);
    if basket.lines.is_empty() {
        return view::shelf(&pages.shop, &[], true).into_response();
    }
    let page = view::basket(&pages.shop, &basket, &Customer::default(), &fresh_key());
    let visitor = Visitor::known_or_new(&headers);
    with_cookie(page.into_response(), &visitor.cookie(pages.secure))
}

/// The answer with one more cookie.
fn with_cookie(mut response: Response, cookie: &str) -> Response {
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// Makes the order and starts its payment; the form's key makes a second click both of the same.
async fn place(State(pages): State<Pages>, headers: HeaderMap, body: Bytes) -> Response {
    let form = Fields::parse(&body);
    let basket = Basket::read(&pages.shop, &form);
    if basket.lines.is_empty() {
        return view::shelf(&pages.shop, &[], true).into_response();
    }
    let Some(key) = key_of(&form) else {
        return Redirect::to("/shop").into_response();
    };
    let customer = Customer::read(&form);
    if customer.is_wrong() {
        return view::basket(&pages.shop, &basket, &customer, key)
            .status(StatusCode::UNPROCESSABLE_ENTITY)
            .into_response();
    }
    let visitor = Visitor::known_or_new(&headers);
    let order = json!({
        "merchant_order_ref": reference(key),
        "user_id": visitor.user_id(),
        "amount": basket.total(),
        "currency": pages.shop.currency,
        "customer": {"email": customer.email, "mobile": customer.mobile},
        "return_page": pages.return_page(),
    });
    let made = pages.create_order(key, &order).await;
    let response = match made {
        Ok(order_id) => {
            let cookie = visitor::remember(&headers, &order_id, pages.secure);
            with_cookie(start(&pages, &order_id, key, false).await, &cookie)
        }
        Err(code) => problem_page(&pages, code),
    };
    with_cookie(response, &visitor.cookie(pages.secure))
}

async fn pay(
    State(pages): State<Pages>,
    Path(order_id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let form = Fields::parse(&body);
    let Some(key) = key_of(&form) else {
        return Redirect::to(&format!("/shop/orders/{order_id}")).into_response();
    };
    match pages.order_of(&headers, &order_id).await {
        Ok(Some(_)) => start(&pages, &order_id, key, form.filled("supersede").is_some()).await,
        Ok(None) => unknown(&pages),
        Err(response) => response,
    }
}

/// Starts a payment, or opens the one that is under way, and shows the page with its window.
async fn start(pages: &Pages, order_id: &str, key: &str, supersede: bool) -> Response {
    match pages.start_payment(order_id, key, supersede).await {
        Ok(started) => checkout(&pages.shop, order_id, &started).into_response(),
        Err(code) => {
            Redirect::to(&format!("/shop/orders/{order_id}?problem={code}")).into_response()
        }
    }
}

async fn look(
    State(pages): State<Pages>,
    Path(order_id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let order = match pages.order_of(&headers, &order_id).await {
        Ok(Some(order)) => order,
        Ok(None) => return unknown(&pages),
        Err(response) => return response,
    };
    let query = Fields::parse(query.unwrap_or_default().as_bytes());
    let page = OrderPage {
        order: &order,
        returned: query.filled("returned").is_some(),
        look: query.get("look").parse().unwrap_or(0),
        key: &fresh_key(),
        problem: query.filled("problem").map(words::for_customer),
    };
    view::order(&pages.shop, &page).into_response()
}

/// Where the gateway's return URL sends the customer. What the address says about the payment is not believed: the order is read.
async fn back(
    State(pages): State<Pages>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let query = Fields::parse(query.unwrap_or_default().as_bytes());
    match pages.order_of(&headers, query.get("order_id")).await {
        Ok(Some(order)) => {
            Redirect::to(&format!("/shop/orders/{}?returned=1", order.order_id)).into_response()
        }
        Ok(None) => {
            let body = notice(
                Tone::Busy,
                &html! {
                    p { "Your payment is being processed." }
                    p { "Open the shop in the browser in which you placed the order, and you will see how it went. Please do not pay again." }
                },
            );
            shop_page(&pages.shop, "Welcome back", body).into_response()
        }
        Err(response) => response,
    }
}

fn unknown(pages: &Pages) -> Response {
    let body = notice(
        Tone::Calm,
        &html! { p { "There is no such order, or it was placed in another browser." } },
    );
    shop_page(&pages.shop, "No order here", body)
        .status(StatusCode::NOT_FOUND)
        .into_response()
}

fn problem_page(pages: &Pages, code: &str) -> Response {
    let body = html! {
        (notice(Tone::Bad, &html! { p { (words::for_customer(code)) } }))
        p { a href="/shop" { "Back to the shop" } }
    };
    shop_page(&pages.shop, "Your order was not placed", body)
        .status(StatusCode::CONFLICT)
        .into_response()
}

/// What operators call the order: as much of the form's key as keeps two orders apart.
fn reference(key: &str) -> String {
    let shown = key.get(..REFERENCE_DIGITS).unwrap_or(key);
    format!("SHOP-{}", shown.to_uppercase())
}

/// The key of a form as we made it; nothing else gets through to the books.
fn key_of(form: &Fields) -> Option<&str> {
    form.filled("key")
        .filter(|key| key.len() == 32 && key.bytes().all(|b| b.is_ascii_hexdigit()))
}
