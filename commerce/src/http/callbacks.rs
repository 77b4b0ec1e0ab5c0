//! What Atom sends, and the browsers that come back from it (`spec/atom.md 14`, checks 1 and 2; the rest is the flow's).
//!
//! Both addresses are public. What the flow refuses gets the same words whatever is wrong with it.

use axum::extract::{Extension, State};
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use maud::html;

use super::App;
use super::body::Form;
use super::limits::Caller;
use super::problem::Problem;
use crate::atom::flow::CallbackAnswer;
use crate::pages::look::{Chrome, Page};

/// Our own page for customers whose merchant is not known.
pub const NEUTRAL: &str = "/payments/processing";

/// `POST /v1/callbacks/atom`
pub async fn callback(
    State(app): State<App>,
    Extension(Caller(from)): Extension<Caller>,
    body: Form,
) -> Result<Response, Problem> {
    let allowed = &app.callback.allow_ips;
    if !allowed.is_empty() && !allowed.contains(&from) {
        return Err(Problem::forbidden("This address sends no callbacks"));
    }
    // Whoever is listed keeps within the bucket of its own address.
    if allowed.is_empty() {
        app.limits.callback()?;
    }
    let answer = app
        .flow
        .receive_callback(&body.0, &from.to_string())
        .await?;
    Ok(match answer {
        CallbackAnswer::Taken => "OK".into_response(),
        CallbackAnswer::Refused => (StatusCode::BAD_REQUEST, "Bad Request").into_response(),
    })
}

/// `POST /v1/payments/atom/return`
pub async fn back(
    State(app): State<App>,
    Extension(Caller(from)): Extension<Caller>,
    body: Form,
) -> Result<Response, Problem> {
    app.limits.coming_back()?;
    Ok(land(&app, &body.0, &from.to_string()).await)
}

/// `GET /v1/payments/atom/return`: a visit without a message.
pub async fn bare(
    State(app): State<App>,
    Extension(Caller(from)): Extension<Caller>,
) -> Result<Response, Problem> {
    app.limits.coming_back()?;
    Ok(land(&app, b"", &from.to_string()).await)
}

/// Sends the browser to the merchant's page, or to ours where no merchant is known.
async fn land(app: &App, body: &[u8], from: &str) -> Response {
    let place = app.flow.receive_return(body, from).await.location(NEUTRAL);
    let place = HeaderValue::from_str(&place).unwrap_or(HeaderValue::from_static(NEUTRAL));
    (StatusCode::SEE_OTHER, [(LOCATION, place)]).into_response()
}

/// `GET /payments/processing`
pub async fn neutral(State(app): State<App>) -> Page {
    let own_shop = app.pages.shop.enabled;
    let body = html! {
        p { "Your payment is being processed. This can take a few minutes." }
        p { "Please go back to the shop: it shows the state of your order. You need not pay again." }
        @if own_shop { p { a.button href="/shop" { "Back to the shop" } } }
    };
    Page::new("Your payment is being processed", Chrome::Bare, body)
}
