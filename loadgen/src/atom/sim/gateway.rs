//! Atom's calls over HTTP: token issue, both status forms, refund, refund status (`spec/atom.md` 2 and 3).

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine as _;

use super::Shared;
use super::auth::{self, Answer};
use super::faults::{Fault, Place};
use super::inbound::Request;
use super::message::{Said, text_of};
use super::pay::{self, Outcome, PayOrder};
use super::port::Cut;
use super::records::Seen;
use super::status::{self, Form};
use super::wire::{self, FormError};
use super::{control, refund};

/// The page of a proxy or a firewall.
const PAGE: &str =
    "<html><head><title>Attention</title></head><body>The request was blocked.</body></html>";

/// The calls, by path.
pub fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/ots/aipay/auth", post(issue))
        .route("/otsv2/aipay/auth", post(issue_by_bearer))
        .route("/ots/v2/payment/status", post(status_v2))
        .route("/ots/payment/status", post(status_by_name))
        .route("/ots/payment/refund", post(refunds))
}

type Parts = (State<Arc<Shared>>, ConnectInfo<Cut>, Bytes);

async fn issue(state: State<Arc<Shared>>, cut: ConnectInfo<Cut>, body: Bytes) -> Response {
    call(Call::Auth, (state, cut, body)).await
}

async fn issue_by_bearer(
    state: State<Arc<Shared>>,
    cut: ConnectInfo<Cut>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let identity = &state.keys.identity;
    let pair = format!("{}:{}", identity.merch_id, identity.api_secret);
    let right = format!(
        "Bearer {}",
        base64::engine::general_purpose::STANDARD.encode(pair)
    );
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    if given != Some(right.as_str()) {
        let error = auth::plain_error(401, "OTS0600", "AUTH SERVICE FAILED");
        return respond(&state, &error, &[]);
    }
    call(Call::Auth, (state, cut, body)).await
}

async fn status_v2(state: State<Arc<Shared>>, cut: ConnectInfo<Cut>, body: Bytes) -> Response {
    call(Call::StatusV2, (state, cut, body)).await
}

async fn status_by_name(state: State<Arc<Shared>>, cut: ConnectInfo<Cut>, body: Bytes) -> Response {
    call(Call::ByName, (state, cut, body)).await
}

async fn refunds(state: State<Arc<Shared>>, cut: ConnectInfo<Cut>, body: Bytes) -> Response {
    call(Call::Refund, (state, cut, body)).await
}

/// What a path stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Call {
    Auth,
    StatusV2,
    /// The message itself says which of two calls it is.
    ByName,
    Refund,
}

impl Call {
    /// The place of faults for this call with this message.
    fn place(self, request: &Request) -> Place {
        match self {
            Call::Auth => Place::Auth,
            Call::StatusV2 => Place::Status,
            Call::ByName if request.head_details.api.as_str() == "REFUNDSTATUS" => {
                Place::RefundStatus
            }
            Call::ByName => Place::Status,
            Call::Refund => Place::Refund,
        }
    }
}

async fn call(call: Call, (State(shared), ConnectInfo(cut), body): Parts) -> Response {
    let request = match wire::open(&shared.keys, &body) {
        Ok(request) => request,
        Err(error) => return unreadable(&shared, &error),
    };
    let place = call.place(&request);
    let about = match request.merch_details.merch_txn_id.as_str() {
        "" => request.pay_details.atom_txn_id.0.clone(),
        id => id.to_owned(),
    };
    let faults = shared.world().faults.strike(place, &about);
    if faults.contains(&Fault::DropBefore) {
        note(&shared, place, &about, "dropped before", &faults);
        cut.cut();
        return StatusCode::OK.into_response();
    }
    if let Some(answer) = untouched(&faults) {
        note(&shared, place, &about, "not handled", &faults);
        return answer;
    }
    let late = delay(&faults);
    if let Some((time, true)) = late {
        tokio::time::sleep(time).await;
    }
    let answer = work(&shared, call, place, &request, &faults).await;
    note(&shared, place, &about, &answer.code, &faults);
    if let Some((time, false)) = late {
        tokio::time::sleep(time).await;
    }
    if faults.contains(&Fault::DropAfter) {
        cut.cut();
        return StatusCode::OK.into_response();
    }
    respond(&shared, &answer, &faults)
}

/// How late an answer is, and whether the work is too.
fn delay(faults: &[Fault]) -> Option<(Duration, bool)> {
    faults.iter().find_map(|fault| match fault {
        Fault::Delay { ms, work_late } => Some((Duration::from_millis(*ms), *work_late)),
        _ => None,
    })
}

/// Answers that are given without doing anything.
fn untouched(faults: &[Fault]) -> Option<Response> {
    faults.iter().find_map(|fault| match fault {
        Fault::Http {
            status,
            retry_after,
        } => {
            let mut response = code(*status).into_response();
            if let Some(seconds) = retry_after {
                response
                    .headers_mut()
                    .insert(header::RETRY_AFTER, (*seconds).into());
            }
            Some(response)
        }
        Fault::PlainError {
            status,
            code: error,
        } => {
            let answer = auth::plain_error(*status, error, "SERVICE FAILED");
            Some((code(*status), json_label(), answer.plain).into_response())
        }
        _ => None,
    })
}

fn code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// All answers say that they are JSON; most are not.
fn json_label() -> [(header::HeaderName, &'static str); 1] {
    [(header::CONTENT_TYPE, "application/json")]
}

async fn work(
    shared: &Arc<Shared>,
    call: Call,
    place: Place,
    request: &Request,
    faults: &[Fault],
) -> Answer {
    let keys = &shared.keys;
    let name = request.head_details.api.as_str();
    let expected = match (call, place) {
        (Call::Auth, _) => "AUTH",
        (Call::StatusV2, _) => name,
        (Call::ByName, Place::RefundStatus) => "REFUNDSTATUS",
        (Call::ByName, _) => "TXNVERIFICATION",
        (Call::Refund, _) => "REFUNDINIT",
    };
    if name != expected && call != Call::Auth {
        let said = Said::because("OTS0504", "FAILED", "INVALID API NAME");
        return Answer {
            http: 200,
            code: said.status_code.clone(),
            plain: text_of(serde_json::json!({ "responseDetails": said })),
            open: false,
        };
    }
    match place {
        Place::Auth => {
            let (answer, token) = auth::answer(&mut shared.world(), keys, request, faults);
            if let Some(token) = token.filter(|_| faults.contains(&Fault::BeforeAuthAnswer)) {
                pay_at_once(shared, token).await;
            }
            answer
        }
        Place::RefundStatus => refund::status(&shared.world(), keys, request, faults),
        Place::Refund => {
            let answer = refund::answer(&mut shared.world(), keys, request, faults);
            shared.wake.notify_one();
            answer
        }
        _ if call == Call::StatusV2 => {
            status::answer(&shared.world(), keys, request, Form::V2, faults)
        }
        _ => status::answer(
            &shared.world(),
            keys,
            request,
            Form::TxnVerification,
            faults,
        ),
    }
}

/// The customer pays, and the callback is answered, before the merchant has its token.
async fn pay_at_once(shared: &Arc<Shared>, token: u64) {
    let order = PayOrder {
        token,
        outcome: Outcome::Success,
        channel: None,
        code: None,
        then: pay::Then::Success,
        after_s: None,
        stay: false,
        wait: true,
        lost: false,
    };
    // It cannot be refused: the token is a moment old.
    let _ = control::pay_and_send(shared, &order).await;
}

fn note(shared: &Shared, place: Place, about: &str, code: &str, faults: &[Fault]) {
    let mut world = shared.world();
    let at_ms = world.clock.now_ms();
    world.note(Seen {
        at_ms,
        api: place,
        about: about.to_owned(),
        code: code.to_owned(),
        faults: faults.iter().map(Fault::name).collect(),
    });
}

/// A request that cannot be read gets an empty answer, as Atom's callers know it; a wrong merchant is told.
fn unreadable(shared: &Shared, error: &FormError) -> Response {
    match error {
        FormError::Merchant(_) => {
            let error = auth::plain_error(403, "OTS0451", "INVALID MERCHANT INFORMATION");
            respond(shared, &error, &[])
        }
        FormError::Fields => {
            let error = auth::plain_error(400, "OTS0641", "MERCHANT ID OR ENCDATA MISSING");
            respond(shared, &error, &[])
        }
        FormError::Open(_) | FormError::Json(_) => (json_label(), String::new()).into_response(),
    }
}

fn respond(shared: &Shared, answer: &Answer, faults: &[Fault]) -> Response {
    for fault in faults {
        if let Fault::Html { status } = fault {
            let html = [(header::CONTENT_TYPE, "text/html")];
            return (code(*status), html, PAGE).into_response();
        }
    }
    let body = if answer.open {
        answer.plain.clone()
    } else {
        wire::answer(&shared.keys, &answer.plain, faults)
    };
    (code(answer.http), json_label(), body).into_response()
}
