//! The checkout script and the hosted page, as a customer's browser meets them (`spec/atom.md` 7.3).
//!
//! The merchant's page loads the script and constructs `AtomPaynetz`. It lays the hosted page over the merchant's in a
//! frame; what the customer does there comes back as a form that the script posts to the return URL. Opened by itself,
//! without a merchant's page around it, the hosted page posts the form itself.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;

use super::amount::fixed2;
use super::inbound::SUB_CHANNELS;
use super::pay::{self, Outcome, Paid, PayOrder, Then};
use super::records::Token;
use super::{Shared, control};

/// Failures that the page offers.
const FAILURES: [(&str, &str); 4] = [
    ("OTS0600", "the bank refuses"),
    ("OTS0633", "the card has expired"),
    ("OTS0634", "wrong security code"),
    ("OTS0621", "amount outside the limits"),
];

const SCRIPT: &str = include_str!("page/atomcheckout.js");
const STYLE: &str = include_str!("page/hosted.css");
const BACK: &str = include_str!("page/back.js");

/// The pages, by path.
pub fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/staticdata/ots/js/atomcheckout.js", get(script))
        .route("/checkout", get(open).post(act))
}

async fn script(headers: HeaderMap) -> Response {
    // The script tells the merchant's page where the hosted page is: where the script itself came from.
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let origin = format!("http://{}", host.unwrap_or("127.0.0.1"));
    let text = SCRIPT.replace("{{origin}}", &origin);
    (
        [(header::CONTENT_TYPE, "text/javascript; charset=utf-8")],
        text,
    )
        .into_response()
}

#[derive(Debug, Deserialize)]
struct Visit {
    #[serde(rename = "atomTokenId")]
    token: u64,
    #[serde(rename = "merchId")]
    merch_id: String,
    #[serde(rename = "returnUrl")]
    return_url: String,
}

async fn open(State(shared): State<Arc<Shared>>, Query(visit): Query<Visit>) -> Response {
    if visit.merch_id != shared.keys.identity.merch_id {
        return sorry(StatusCode::FORBIDDEN, "This merchant is not known here.");
    }
    let mut world = shared.world();
    let token = match pay::usable(&world, visit.token) {
        Ok(token) => token.clone(),
        Err(error) => return sorry(StatusCode::GONE, &error.to_string()),
    };
    pay::opened(&mut world, token.id);
    drop(world);
    Html(hosted(&token, &visit.return_url, "")).into_response()
}

/// A pressed button.
#[derive(Debug, Deserialize)]
struct Act {
    token: u64,
    return_url: String,
    button: String,
    #[serde(default)]
    code: String,
}

impl Act {
    /// The order behind the button: `pay-CC`, `fail`, `fail-stay`, `pending`, `cancel`, `timeout`, `close`.
    fn order(&self) -> Option<PayOrder> {
        let (outcome, channel, stay) = match self.button.as_str() {
            "fail" => (Outcome::Failed, None, false),
            "fail-stay" => (Outcome::Failed, None, true),
            "pending" => (Outcome::Pending, None, false),
            "cancel" => (Outcome::Cancel, None, false),
            "timeout" => (Outcome::Timeout, None, false),
            "close" => (Outcome::Close, None, false),
            other => (
                Outcome::Success,
                Some(other.strip_prefix("pay-")?.to_owned()),
                false,
            ),
        };
        Some(PayOrder {
            token: self.token,
            outcome,
            channel,
            code: Some(self.code.clone()).filter(|code| !code.is_empty()),
            then: Then::Success,
            after_s: None,
            stay,
            wait: false,
            lost: false,
        })
    }
}

async fn act(State(shared): State<Arc<Shared>>, Form(act): Form<Act>) -> Response {
    let Some(order) = act.order() else {
        return sorry(StatusCode::BAD_REQUEST, "This button does not exist.");
    };
    let done = control::pay_and_send(&shared, &order).await;
    let paid = match done {
        Ok((paid, _)) => paid,
        Err(error) => return sorry(StatusCode::CONFLICT, &error.to_string()),
    };
    if order.stay {
        let token = shared.world().tokens.get(&act.token).cloned();
        let said = "The payment failed. You may try again.";
        return match token {
            Some(token) => Html(hosted(&token, &act.return_url, said)).into_response(),
            None => sorry(StatusCode::GONE, "This payment is over."),
        };
    }
    Html(back(&paid, &act.return_url)).into_response()
}

/// Text as it may stand in a page.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn frame(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title}</title><style>{STYLE}</style></head><body>{body}</body></html>"
    )
}

fn sorry(status: StatusCode, why: &str) -> Response {
    let body = format!("<main><h1>Not possible</h1><p>{}</p></main>", escape(why));
    (status, Html(frame("Not possible", &body))).into_response()
}

/// The hosted page of a token.
fn hosted(token: &Token, return_url: &str, said: &str) -> String {
    let button = |value: &str, kind: &str, text: &str| {
        format!(
            "<button class=\"{kind}\" name=\"button\" value=\"{value}\" id=\"{value}\">{text}</button>"
        )
    };
    let offered = |code: &&(&str, &str)| {
        token
            .sub_channel
            .as_deref()
            .is_none_or(|only| only == code.0)
    };
    let channels: String = SUB_CHANNELS
        .iter()
        .filter(offered)
        .map(|(code, name)| button(&format!("pay-{code}"), "pay", &format!("Pay by {name}")))
        .collect();
    let failures: String = FAILURES
        .iter()
        .map(|(code, why)| format!("<option value=\"{code}\">{code}: {why}</option>"))
        .collect();
    let said = match said {
        "" => String::new(),
        said => format!("<p class=\"said\" role=\"status\">{}</p>", escape(said)),
    };
    let body = format!(
        "<main><h1>Atom payment page <small>simulated</small></h1>{said}\
         <p class=\"amount\">{currency} {amount}</p><p>Payment {id}</p>\
         <form method=\"post\" action=\"/checkout\">\
         <input type=\"hidden\" name=\"token\" value=\"{token}\">\
         <input type=\"hidden\" name=\"return_url\" value=\"{url}\">\
         <section>{channels}</section>\
         <section><label for=\"code\">Reason of a failure</label>\
         <select name=\"code\" id=\"code\">{failures}</select>{fail}{stay}</section>\
         <section>{pending}{cancel}{timeout}{close}</section></form></main>",
        currency = escape(&token.currency),
        amount = fixed2(token.amount),
        id = escape(&token.merch_txn_id),
        token = token.id,
        url = escape(return_url),
        fail = button("fail", "bad", "Fail"),
        stay = button("fail-stay", "bad", "Fail and stay here"),
        pending = button("pending", "other", "Pending at the bank"),
        cancel = button("cancel", "other", "Cancel"),
        timeout = button("timeout", "other", "Time out"),
        close = button("close", "other", "Close the window"),
    );
    frame("Atom payment page (simulated)", &body)
}

/// The page that carries the outcome back, or closes the frame.
fn back(paid: &Paid, return_url: &str) -> String {
    let fields = paid.return_body.as_deref().unwrap_or_default();
    let inputs: String = url::form_urlencoded::parse(fields.as_bytes())
        .map(|(name, value)| {
            let (name, value) = (escape(&name), escape(&value));
            format!("<input type=\"hidden\" name=\"{name}\" value=\"{value}\">")
        })
        .collect();
    let (kind, text) = match paid.return_body {
        Some(_) => ("return", "Back to the shop"),
        None => (
            "close",
            "The window is closed. You can go back to the shop.",
        ),
    };
    let button = if kind == "return" {
        format!("<button class=\"pay\">{text}</button>")
    } else {
        format!("<p>{text}</p>")
    };
    let body = format!(
        "<main><form id=\"back\" data-kind=\"{kind}\" method=\"post\" action=\"{url}\">{inputs}{button}</form></main>\
         <script>{BACK}</script>",
        url = escape(return_url),
    );
    frame("Back to the shop", &body)
}
