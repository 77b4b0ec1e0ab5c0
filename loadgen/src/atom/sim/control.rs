//! What tests may ask of the simulator beyond Atom's own calls, under `/_sim/`.
//!
//! | Call | Does |
//! |---|---|
//! | `POST /_sim/pay` | the customer's visit to the hosted page, without a browser |
//! | `POST /_sim/captures` | many payments like the one a token was for, each under a number of its own, and no callbacks |
//! | `GET`, `POST /_sim/clock` | shows and moves the clock; what was due has happened when the answer comes |
//! | `GET`, `POST`, `DELETE /_sim/faults` | shows, adds and forgets rules |
//! | `GET`, `POST /_sim/switches` | shows and changes switches |
//! | `GET /_sim/ledger`, `/_sim/requests` | what happened to the money; which calls came |
//! | `GET /_sim/merchant` | the merchant's number and products |
//! | `POST /_sim/callback` | sends callbacks to another address from now on |
//! | `POST /_sim/reset` | begins anew |

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::clock::{Clock, parse_rfc3339, rfc3339};
use super::config::{CallbackOrder, Switches};
use super::faults::Rule;
use super::pay::{self, Paid, PayError, PayOrder};
use super::records::Delivery;
use super::{Shared, deliver};

/// The calls, by path.
pub fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/_sim/pay", post(pay_call))
        .route("/_sim/captures", post(captures))
        .route("/_sim/clock", get(clock).post(move_clock))
        .route(
            "/_sim/faults",
            get(faults).post(add_faults).delete(forget_faults),
        )
        .route("/_sim/switches", get(switches).post(switch))
        .route("/_sim/ledger", get(ledger))
        .route("/_sim/requests", get(requests))
        .route("/_sim/callback", post(set_callback))
        .route("/_sim/merchant", get(merchant))
        .route("/_sim/reset", post(reset))
}

/// An order that makes no sense, in one sentence.
fn refused(status: StatusCode, why: impl ToString) -> Response {
    (status, Json(json!({ "error": why.to_string() }))).into_response()
}

async fn pay_call(State(shared): State<Arc<Shared>>, Json(order): Json<PayOrder>) -> Response {
    match pay_and_send(&shared, &order).await {
        Ok((paid, callback)) => {
            let mut answer = serde_json::to_value(paid).unwrap_or_default();
            answer["callback"] = json!(callback);
            Json(answer).into_response()
        }
        Err(error @ PayError::Unknown(_)) => refused(StatusCode::NOT_FOUND, error),
        Err(error) => refused(StatusCode::CONFLICT, error),
    }
}

/// Payments to be made like another one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Captures {
    /// The token of that one.
    like: u64,
    /// What is their own.
    payments: Vec<pay::Copy>,
}

async fn captures(State(shared): State<Arc<Shared>>, Json(order): Json<Captures>) -> Response {
    let mut world = shared.world();
    match pay::captured_like(&mut world, order.like, &order.payments) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => refused(StatusCode::NOT_FOUND, error),
    }
}

/// Lets the customer act and sends what is due; with `wait`, or when the callback is to be first, its answer is waited for.
///
/// # Errors
/// The customer cannot do this.
pub async fn pay_and_send(
    shared: &Arc<Shared>,
    order: &PayOrder,
) -> Result<(Paid, Option<Delivery>), PayError> {
    let (paid, wait, parcels) = {
        let mut world = shared.world();
        let paid = pay::pay(&mut world, &shared.keys, order)?;
        let first = world.switches.callback_order == CallbackOrder::CallbackFirst;
        (paid, order.wait || first, world.pass_time(&shared.keys))
    };
    // What was planned for later wakes the one who lets time pass.
    shared.wake.notify_one();
    let mut answered = None;
    for parcel in parcels {
        let own = shared
            .world()
            .payments
            .get(&parcel.atom_txn_id)
            .is_some_and(|payment| payment.merch_txn_id == paid.merch_txn_id);
        if wait && own {
            answered = deliver::send(Arc::clone(shared), parcel).await;
        } else {
            tokio::spawn(deliver::send(Arc::clone(shared), parcel));
        }
    }
    Ok((paid, answered))
}

fn clock_view(shared: &Shared) -> Json<Value> {
    let world = shared.world();
    let now_ms = world.clock.now_ms();
    let runs = matches!(world.clock, Clock::Runs { .. });
    Json(json!({ "now": rfc3339(now_ms), "now_ms": now_ms, "runs": runs }))
}

async fn clock(State(shared): State<Arc<Shared>>) -> Json<Value> {
    clock_view(&shared)
}

/// How to move the clock: to a time, by a while, and whether it runs from there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MoveClock {
    /// RFC 3339.
    now: Option<String>,
    now_ms: Option<i64>,
    advance_s: Option<i64>,
    runs: Option<bool>,
}

async fn move_clock(State(shared): State<Arc<Shared>>, Json(order): Json<MoveClock>) -> Response {
    let to_ms = match order.now.as_deref().map(parse_rfc3339) {
        Some(None) => return refused(StatusCode::BAD_REQUEST, "`now` is no time of RFC 3339"),
        Some(time) => time,
        None => order.now_ms,
    };
    let parcels = {
        let mut world = shared.world();
        let runs = order
            .runs
            .unwrap_or(matches!(world.clock, Clock::Runs { .. }));
        if to_ms.is_some() || order.runs.is_some() {
            world.clock = Clock::at(to_ms.unwrap_or(world.clock.now_ms()), runs);
        }
        world.clock = world.clock.moved(order.advance_s.unwrap_or(0) * 1000);
        world.pass_time(&shared.keys)
    };
    for parcel in parcels {
        deliver::send(Arc::clone(&shared), parcel).await;
    }
    shared.wake.notify_one();
    clock_view(&shared).into_response()
}

async fn faults(State(shared): State<Arc<Shared>>) -> Response {
    let world = shared.world();
    Json(world.faults.rules()).into_response()
}

/// One rule or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Rules {
    Several(Vec<Rule>),
    One(Box<Rule>),
}

async fn add_faults(State(shared): State<Arc<Shared>>, Json(rules): Json<Rules>) -> Response {
    let rules = match rules {
        Rules::Several(rules) => rules,
        Rules::One(rule) => vec![*rule],
    };
    for rule in rules {
        let added = shared.world().faults.add(rule);
        if let Err(error) = added {
            return refused(StatusCode::BAD_REQUEST, error);
        }
    }
    shared.move_doors();
    faults(State(shared)).await
}

async fn forget_faults(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.world().faults.clear();
    shared.move_doors();
    StatusCode::NO_CONTENT
}

async fn switches(State(shared): State<Arc<Shared>>) -> Json<Switches> {
    Json(shared.world().switches.clone())
}

async fn switch(State(shared): State<Arc<Shared>>, Json(changes): Json<Value>) -> Response {
    let mut world = shared.world();
    let mut all = serde_json::to_value(&world.switches).unwrap_or_default();
    let (Value::Object(all_members), Value::Object(changes)) = (&mut all, changes) else {
        return refused(
            StatusCode::BAD_REQUEST,
            "an object with switches is expected",
        );
    };
    all_members.extend(changes);
    match serde_json::from_value::<Switches>(all) {
        Ok(switches) => {
            world.switches = switches.clone();
            Json(switches).into_response()
        }
        Err(error) => refused(StatusCode::BAD_REQUEST, error),
    }
}

async fn merchant(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let products = shared.world().switches.products.clone();
    Json(json!({ "merch_id": shared.keys.identity.merch_id, "products": products }))
}

async fn ledger(State(shared): State<Arc<Shared>>) -> Response {
    let world = shared.world();
    Json(world.ledger()).into_response()
}

async fn requests(State(shared): State<Arc<Shared>>) -> Response {
    let world = shared.world();
    Json(json!({ "counts": world.counts, "last": world.seen })).into_response()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SetCallback {
    url: Option<String>,
}

async fn set_callback(
    State(shared): State<Arc<Shared>>,
    Json(order): Json<SetCallback>,
) -> Response {
    match order.url.as_deref().map(Url::parse).transpose() {
        Ok(url) => {
            shared.set_callback(url);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => refused(StatusCode::BAD_REQUEST, format!("`url`: {error}")),
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reset {
    seed: Option<u64>,
}

async fn reset(State(shared): State<Arc<Shared>>, order: Option<Json<Reset>>) -> StatusCode {
    let seed = order
        .and_then(|Json(order)| order.seed)
        .unwrap_or(shared.config.seed);
    shared.reset(seed);
    StatusCode::NO_CONTENT
}
