//! The pages for people: a small shop to pay in, and the admin pages for the operators.
//!
//! Everything is rendered here on the server and works without a script, except the gateway's own payment window. A page never
//! decides anything: it reads through the flow, asks the flow to act, and says in words what the flow answered.

pub mod admin;
pub mod assets;
pub mod decisions;
pub mod desk;
pub mod form;
pub mod look;
pub mod order;
pub mod session;
pub mod shop;
pub mod text;
pub mod words;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRef, Request};
use axum::http::Method;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;

use crate::atom::flow::Flow;
use crate::frex;
use crate::keys::ApiKeys;
use session::Sessions;
use shop::settings::ShopSettings;

/// Bytes of the largest form; ours have a few hundred.
const FORM_BYTES_MAX: usize = 16 * 1024;

/// What the pages share.
#[derive(Clone)]
pub struct Pages {
    /// Orders, payments and refunds.
    pub flow: Flow,
    /// Who is logged in.
    pub sessions: Sessions,
    /// `[shop]`.
    pub shop: Arc<ShopSettings>,
    /// Deferred payment, if it is configured.
    pub frex: Option<frex::shop::Shop>,
    /// The address under which browsers reach us, without a slash at its end.
    pub public_url: Arc<str>,
    /// Whether that address is https, so that cookies may be kept to it.
    pub secure: bool,
}

impl FromRef<Pages> for Sessions {
    fn from_ref(pages: &Pages) -> Self {
        pages.sessions.clone()
    }
}

impl Pages {
    /// Pages over a flow, and over deferred payment if there is any; `public_url` is the origin under which browsers reach us.
    /// Cookies keep to https if that is https.
    #[must_use]
    pub fn new(
        flow: &Flow,
        keys: &ApiKeys,
        shop: &ShopSettings,
        public_url: &str,
        frex: Option<frex::shop::Shop>,
    ) -> Self {
        let secure = public_url.starts_with("https://");
        let (store, clock) = (flow.store.clone(), flow.clock.clone());
        Self {
            sessions: Sessions::new(store, clock, keys.clone(), secure, frex.is_some()),
            frex,
            flow: flow.clone(),
            shop: Arc::new(shop.clone()),
            public_url: public_url.trim_end_matches('/').into(),
            secure,
        }
    }

    /// The page to which the gateway's return URL sends customers of the shop.
    #[must_use]
    pub fn return_page(&self) -> String {
        format!("{}/shop/return", self.public_url)
    }
}

/// All pages: the admin pages always, the shop if it is open, deferred payment if it is configured.
pub fn router<S: Clone + Send + Sync + 'static>(pages: Pages) -> Router<S> {
    let shop = if pages.shop.enabled {
        shop::handlers::router()
    } else {
        Router::new()
    };
    let frex = pages.frex.clone().map_or_else(Router::new, |shop| {
        let sessions = pages.sessions.clone();
        admin::frex::handlers::router(admin::frex::handlers::Desk { shop, sessions })
    });
    Router::new()
        .route("/admin", get(|| async { Redirect::to("/admin/orders") }))
        .merge(admin::handlers::router())
        .merge(admin::decide::router())
        .merge(shop)
        .merge(frex)
        .merge(assets::router())
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX))
        .layer(middleware::from_fn(own_forms_only))
        .with_state(pages)
}

/// Refuses forms that a page of another site sent. Browsers say where a form comes from; what is no browser says nothing, and
/// has no cookie that could be misused.
pub async fn own_forms_only(request: Request, next: Next) -> Response {
    let from = request.headers().get("sec-fetch-site");
    let own = from.is_none_or(|from| from == "same-origin" || from == "none");
    if request.method() == Method::POST && !own {
        return session::foreign().into_response();
    }
    next.run(request).await
}

/// A key that makes a second click on a form's button the same request.
#[must_use]
pub fn fresh_key() -> String {
    let mut bytes = [0_u8; 16];
    rand::fill(&mut bytes);
    hex::encode(bytes)
}
