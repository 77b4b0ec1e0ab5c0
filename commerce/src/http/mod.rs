//! The HTTP surface (`spec/atom.md 15`): orders, payments, refunds, callbacks, administration, health and metrics.
//!
//! A request passes, from the outside in: its id ([`request_id`]), its task, log line and count ([`observe`]), the limit of
//! its address ([`limits`]), then the route, where the key is checked ([`auth`]) and the body read ([`body`]). Handlers
//! translate between HTTP and the flow and decide nothing themselves. Whatever goes wrong on the way is a [`problem`].

use std::sync::Arc;

use tokio::sync::RwLock;

use crate::atom::flow::Flow;
use crate::config::{CallbackSettings, HttpSettings};
use crate::frex::service::Frex;
use crate::keys::ApiKeys;
use crate::metrics::Metrics;
use crate::notify::Notifier;
use crate::pages::Pages;

pub mod admin;
pub mod auth;
pub mod body;
pub mod callbacks;
pub mod frex;
pub mod health;
pub mod limits;
pub mod observe;
pub mod openapi;
pub mod orders;
pub mod problem;
pub mod refunds;
pub mod reply;
pub mod request_id;
pub mod router;
pub mod serve;

/// What handlers share.
pub type App = Arc<AppState>;

/// The parts behind the surface.
pub struct AppState {
    /// Orders, payments and refunds.
    pub flow: Flow,
    /// Who may call.
    pub keys: ApiKeys,
    /// How often.
    pub limits: limits::Limits,
    /// What people see.
    pub pages: Pages,
    /// The deferred-payment worker, where it is enabled.
    pub frex: Option<Frex>,
    /// Tells merchants.
    pub notifier: Notifier,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// `[http]`.
    pub settings: HttpSettings,
    /// `[callback]`.
    pub callback: CallbackSettings,
    /// Whether we are fit to serve.
    pub health: health::Health,
    /// Held for reading by every running request: who gets it for writing knows that none runs.
    pub busy: Arc<RwLock<()>>,
}
