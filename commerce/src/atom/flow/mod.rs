//! The flow of an order: what is stored, when, and what may follow on what (`spec/atom.md` 9 to 13).
//!
//! A [`Flow`] is the whole business behind the HTTP surface, without HTTP: functions that take a caller and a body and
//! give the JSON of section 15, and jobs that run once and report. It owns the rules; Atom, time, database and crash points
//! are given to it. It never keeps anything in memory that another process would need: two of them on one database are as
//! good as one.
//!
//! *Invariant*: whatever leaves for Atom was stored and committed before. No transaction is open during a call. Who changes
//! anything of an order takes the order's row first.

mod apply;
mod attempts;
pub mod audit;
mod error;
pub mod idempotency;
mod inbox;
pub mod invariants;
pub mod issues;
mod jobs;
mod observe;
mod operators;
mod order;
pub mod outbox;
pub mod recovery;
pub mod refunds;
pub mod requery;
pub mod resolution;
mod rows;
mod settings;
pub mod state;

use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex};

use serde_json::Value;

pub use error::{FieldError, FlowError};
pub use inbox::{CallbackAnswer, InboxReport, Landing, LandingState};
pub use jobs::CleanupReport;
pub use observe::{CALLBACK_RESULTS, FlowObserver, Unobserved};
pub use order::{ITEMS_MAX, Item, OrderAsk, OrderFilter, payment_status};
pub use rows::{
    AttemptRow, OrderRow, attempt, attempts_of, find_order, save_attempt, save_order, take_order,
};
pub use settings::{Checkout, FailedAttemptPolicy, FlowSettings, MerchantSettings, Minutes};

use crate::atom::call::Atom;
use crate::atom::wire::callback_open::InboundKeys;
use crate::clock::Clock;
use crate::id;
use crate::points::Points;
use crate::secret::Secret;
use crate::store::Store;

/// What a flow is made of.
pub struct FlowParts {
    /// The database.
    pub store: Store,
    /// Atom, or what stands for it.
    pub atom: Arc<dyn Atom>,
    /// What opens callbacks.
    pub inbound: Arc<InboundKeys>,
    /// Time.
    pub clock: Clock,
    /// Where crashes are tried.
    pub points: Points,
    /// The rules' numbers and switches.
    pub settings: FlowSettings,
    /// What the checkout page is told.
    pub checkout: Checkout,
    /// From this the reading tokens of orders are made. All processes on one database have the same.
    pub read_token_key: Secret,
    /// Who counts.
    pub observer: Arc<dyn FlowObserver>,
}

/// The flow. A clone is a handle on the same one.
#[derive(Clone)]
pub struct Flow {
    /// The database.
    pub store: Store,
    /// Atom.
    pub atom: Arc<dyn Atom>,
    /// What opens callbacks.
    pub inbound: Arc<InboundKeys>,
    /// Time.
    pub clock: Clock,
    /// Where crashes are tried.
    pub points: Points,
    /// The rules' numbers and switches.
    pub settings: Arc<FlowSettings>,
    /// What the checkout page is told.
    pub checkout: Arc<Checkout>,
    /// Who counts.
    pub observer: Arc<dyn FlowObserver>,
    /// This process, as leases and the audit name it.
    pub process: Arc<str>,
    read_token_key: Secret,
    pace: Arc<Mutex<requery::Pace>>,
    sampler: Arc<Mutex<inbox::Sampler>>,
    /// When a hint without a name was followed last, unix ms.
    hinted_at: Arc<AtomicI64>,
}

impl Flow {
    /// Puts a flow together.
    pub fn new(parts: FlowParts) -> Flow {
        Flow {
            store: parts.store,
            atom: parts.atom,
            inbound: parts.inbound,
            clock: parts.clock,
            points: parts.points,
            settings: Arc::new(parts.settings),
            checkout: Arc::new(parts.checkout),
            observer: parts.observer,
            process: id::new("proc_").into(),
            read_token_key: parts.read_token_key,
            pace: Arc::default(),
            sampler: Arc::default(),
            hinted_at: Arc::default(),
        }
    }
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Whose orders.
    pub merchant_id: String,
    /// Who is named in the audit.
    pub actor: String,
    /// The request, as logs name it.
    pub request_id: String,
}

/// An answer of the flow: exactly what section 15 says.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Value,
    /// Whether this is the stored answer to an earlier request with the same key.
    pub replayed: bool,
    /// The version of what is shown, for an `ETag`.
    pub version: Option<i64>,
}

impl Reply {
    /// An answer that was made now.
    pub fn new(status: u16, body: Value) -> Reply {
        Reply {
            status,
            body,
            replayed: false,
            version: None,
        }
    }
}

/// The points of the payment half, in the order of an order's life.
pub const POINTS: &[&str] = &[
    "order.create.stored",
    "order.create.committed",
    "payment.start.begin",
    "payment.start.reserved",
    "payment.start.reserve_committed",
    "payment.start.before_call",
    "payment.start.after_call",
    "payment.start.token_stored",
    "payment.start.token_committed",
    "payment.start.new_id",
    "callback.verified",
    "callback.stored",
    "callback.store_committed",
    "callback.applied",
    "callback.marked",
    "callback.committed",
    "callback.orphan",
    "requery.claimed",
    "requery.claim_committed",
    "requery.given_up",
    "requery.before_call",
    "requery.after_call",
    "requery.writing",
    "requery.written",
    "order.move.stored",
    "order.move.committed",
    "order.expire.stored",
    "order.expire.committed",
    "cleanup.stored",
];
