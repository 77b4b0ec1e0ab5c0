//! The simulator on loopback: both faces, and control under `/_sim/`.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, DefaultBodyLimit, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::call::{CALLS, Call, PUBLIC_CALLS};
use super::clock::Clock;
use super::face::Face;
use super::faults::Fault;
use super::ledger::Ledger;
use super::rules::Rules;
use super::sim::{Served, Sim};
use super::socket::{Gate, Grip};

/// Longest request: 1,000 items of generous size.
const REQUEST_BYTES_MAX: usize = 16 << 20;

/// What to play.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where both faces listen; loopback only.
    pub listen: SocketAddr,
    /// Where control listens as well, also while connections are refused; loopback only.
    pub control: SocketAddr,
    /// User name of HTTP Basic.
    pub shop_code: String,
    /// Passwords that are accepted.
    pub passwords: Vec<String>,
    /// The terminal that is accepted.
    pub terminal_id: String,
    /// How it decides.
    pub rules: Rules,
    /// Its time.
    pub clock: Clock,
    /// Decides probabilities.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            listen: anywhere,
            control: anywhere,
            shop_code: "shop".into(),
            passwords: vec!["password".into()],
            terminal_id: "terminal".into(),
            rules: Rules::default(),
            clock: Clock::System { ahead_ms: 0 },
            seed: 1,
        }
    }
}

/// A running simulator. It ends when this is dropped.
pub struct Centre {
    /// Where the faces listen.
    pub address: SocketAddr,
    /// Where control listens.
    pub control: SocketAddr,
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

struct Shared {
    sim: Mutex<Sim>,
    open: watch::Sender<bool>,
    accepted: Vec<String>,
    terminal_id: String,
}

impl Shared {
    /// The state. A handler that panicked has left it between two items, which is as good as any other moment.
    fn sim(&self) -> MutexGuard<'_, Sim> {
        self.sim.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the faults and opens or closes the port as they want it.
    fn set_faults(&self, faults: Vec<Fault>) {
        let mut sim = self.sim();
        sim.set_faults(faults);
        self.open.send_replace(!sim.faults().refuses());
    }
}

type Site = State<Arc<Shared>>;

impl Centre {
    /// Starts a simulator in the running tokio runtime.
    ///
    /// # Errors
    /// An address is taken, or is not loopback.
    pub async fn start(options: Options) -> io::Result<Self> {
        for address in [options.listen, options.control] {
            if !address.ip().is_loopback() {
                let reason =
                    format!("{address} is no loopback address, and control has no password");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
            }
        }
        let (open, watched) = watch::channel(true);
        let gate = Gate::bind(options.listen, watched).await?;
        let listener = TcpListener::bind(options.control).await?;
        let (address, control) = (gate.address(), listener.local_addr()?);
        let basic = |password: &String| {
            let pair = STANDARD.encode(format!("{}:{password}", options.shop_code));
            format!("Basic {pair}")
        };
        let shared = Arc::new(Shared {
            sim: Mutex::new(Sim::new(options.rules, options.clock, options.seed)),
            open,
            accepted: options.passwords.iter().map(basic).collect(),
            terminal_id: options.terminal_id,
        });
        let faces = faces().merge(controls()).with_state(shared.clone());
        let faces = faces.into_make_service_with_connect_info::<Grip>();
        let controls = controls().with_state(shared.clone());
        // Serving ends with the task; until then accepting never fails for good.
        let tasks = vec![
            tokio::spawn(async move { drop(axum::serve(gate, faces).await) }),
            tokio::spawn(async move { drop(axum::serve(listener, controls).await) }),
        ];
        Ok(Self {
            address,
            control,
            shared,
            tasks,
        })
    }

    /// Replaces the rules.
    pub fn set_rules(&self, rules: Rules) {
        self.shared.sim().set_rules(rules);
    }

    /// Replaces the faults.
    pub fn set_faults(&self, faults: Vec<Fault>) {
        self.shared.set_faults(faults);
    }

    /// Moves the clock.
    pub fn advance(&self, ms: i64) {
        self.shared.sim().advance(ms);
    }

    /// The buyer pays; false if there is no bill to pay.
    pub fn pay(&self, order_or_np: &str) -> bool {
        self.shared.sim().pay(order_or_np)
    }

    /// The book.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        self.shared.sim().ledger(true)
    }
}

impl Drop for Centre {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

fn faces() -> Router<Arc<Shared>> {
    let mut router = Router::new();
    for (call, path, _, _) in CALLS {
        router = router.route(
            path,
            post(move |site: Site, grip, headers, body| {
                answer(site, grip, headers, body, Face::Design, call)
            }),
        );
    }
    for (call, path) in PUBLIC_CALLS {
        router = router.route(
            path,
            post(move |site: Site, grip, headers, body| {
                answer(site, grip, headers, body, Face::Public, call)
            }),
        );
    }
    router.layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
}

async fn answer(
    State(shared): Site,
    ConnectInfo(grip): ConnectInfo<Grip>,
    headers: HeaderMap,
    body: Bytes,
    face: Face,
    call: Call,
) -> Response {
    let served = match stranger(&shared, &headers) {
        Some(served) => served,
        None => shared.sim().serve(face, call, &body),
    };
    if served.delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(served.delay_ms)).await;
    }
    if served.reset {
        grip.reset();
    }
    grip.trickle(served.trickle_ms);
    into_response(served)
}

/// The refusal of a caller without the right password or terminal.
fn stranger(shared: &Shared, headers: &HeaderMap) -> Option<Served> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let basic = text("authorization").unwrap_or_default();
    if !shared.accepted.iter().any(|accepted| accepted == basic) {
        return Some(Served::refusal(401, "E0100131"));
    }
    if text("x-np-terminal-id") != Some(&shared.terminal_id) {
        return Some(Served::refusal(403, "E0100131"));
    }
    None
}

/// Every connection carries one request, so that refusing connections strikes the next one.
fn into_response(served: Served) -> Response {
    let status = StatusCode::from_u16(served.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, Body::from(served.body)).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(served.content_type),
    );
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    if let Some(seconds) = served.retry_after_s {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultList {
    faults: Vec<Fault>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    advance_ms: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Payment {
    /// Order number or transaction number.
    order: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    #[serde(default = "yes")]
    received: bool,
}

fn yes() -> bool {
    true
}

#[derive(Serialize)]
struct Now {
    now_ms: i64,
}

fn controls() -> Router<Arc<Shared>> {
    Router::new()
        .route("/_sim/rules", get(rules).post(set_rules))
        .route("/_sim/faults", get(faults).post(set_faults))
        .route("/_sim/clock", get(now).post(advance))
        .route("/_sim/ledger", get(ledger))
        .route("/_sim/pay", post(pay))
        .route("/_sim/reset", post(reset))
}

async fn rules(State(shared): Site) -> Json<Rules> {
    Json(shared.sim().rules().clone())
}

async fn set_rules(State(shared): Site, Json(rules): Json<Rules>) -> Json<Rules> {
    shared.sim().set_rules(rules.clone());
    Json(rules)
}

async fn faults(State(shared): Site) -> Response {
    Json(json!({ "faults": shared.sim().faults().list() })).into_response()
}

async fn set_faults(State(shared): Site, Json(list): Json<FaultList>) -> Response {
    shared.set_faults(list.faults);
    faults(State(shared)).await
}

async fn now(State(shared): Site) -> Json<Now> {
    let now_ms = shared.sim().advance(0);
    Json(Now { now_ms })
}

async fn advance(State(shared): Site, Json(wanted): Json<Advance>) -> Json<Now> {
    let now_ms = shared.sim().advance(wanted.advance_ms);
    Json(Now { now_ms })
}

async fn ledger(State(shared): Site, Query(wanted): Query<Wanted>) -> Json<Ledger> {
    Json(shared.sim().ledger(wanted.received))
}

async fn pay(State(shared): Site, Json(payment): Json<Payment>) -> Response {
    if shared.sim().pay(&payment.order) {
        Json(json!({ "paid": payment.order })).into_response()
    } else {
        let body = Json(json!({ "error": "no bill to pay" }));
        (StatusCode::NOT_FOUND, body).into_response()
    }
}

async fn reset(State(shared): Site) -> Response {
    shared.sim().reset();
    shared.open.send_replace(true);
    Json(json!({ "reset": true })).into_response()
}
