//! A merchant with a client for Atom's calls and a receiver of callbacks, for tests of the simulator.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use base64::Engine as _;
use loadgen::atom::sim::Sim;
use loadgen::atom::sim::clock::indian_time;
use loadgen::atom::sim::config::{Identity, Keys, SimConfig};
use loadgen::atom::sim::faults::Place;
use serde_json::{Value, json};

/// A rule of a fault at a place.
pub fn rule(api: &str, fault: &Value) -> Value {
    let mut rule = fault.clone();
    rule["api"] = api.into();
    rule
}

/// An answer as it came.
#[derive(Debug)]
pub struct Answer {
    pub http: u16,
    pub label: String,
    pub retry_after: Option<String>,
    pub body: String,
    pub took_ms: u128,
}

impl Answer {
    /// The content of `payInstrument`, or of the whole plaintext where there is none.
    pub fn opened(&self, merchant: &Merchant) -> Value {
        let text = self
            .body
            .rsplit("encData=")
            .next()
            .expect("there is always a last part");
        let plain = merchant.keys.response.open(text).expect("the answer opens");
        let mut value: Value = serde_json::from_str(&plain).expect("JSON");
        match value.get_mut("payInstrument") {
            Some(inner) => inner.take(),
            None => value,
        }
    }
}

/// A callback as it arrived.
#[derive(Clone, Debug)]
pub struct Heard {
    pub text: String,
    pub message: Value,
    pub signed: bool,
    pub old_key: bool,
}

impl Heard {
    fn read(keys: &Keys, body: &str) -> Heard {
        let text = body
            .rsplit("encData=")
            .next()
            .expect("there is always a last part");
        let (plain, old_key) = match keys.response.open(text) {
            Ok(plain) => (plain, false),
            Err(_) => (
                keys.old_response
                    .open(text)
                    .expect("one of the keys opens it"),
                true,
            ),
        };
        let mut message: Value = serde_json::from_str(&plain).expect("JSON");
        let message = message["payInstrument"].take();
        let signer = if old_key {
            &keys.old_response_signer
        } else {
            &keys.response_signer
        };
        let text_of = |value: &Value| match value {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        };
        let mode = &message["payModeSpecificData"];
        let channel = match &mode["subChannel"] {
            Value::Array(all) => text_of(&all[0]),
            other => text_of(other),
        };
        let parts = [
            text_of(&message["merchDetails"]["merchId"]),
            text_of(&message["payDetails"]["atomTxnId"]),
            text_of(&message["merchDetails"]["merchTxnId"]),
            total_of(&plain),
            text_of(&message["responseDetails"]["statusCode"]),
            channel,
            text_of(&mode["bankDetails"]["bankTxnId"]),
        ];
        let signature = message["payDetails"]["signature"]
            .as_str()
            .unwrap_or_default();
        Heard {
            signed: signer.verify(&parts.each_ref().map(String::as_str), signature),
            text: plain,
            message,
            old_key,
        }
    }

    pub fn pay(&self) -> &Value {
        &self.message["payDetails"]
    }

    pub fn success(&self) -> bool {
        self.message["responseDetails"]["statusCode"] == "OTS0000"
    }

    pub fn total(&self) -> String {
        total_of(&self.text)
    }
}

/// The characters of `totalAmount`, which a parsed number would lose.
fn total_of(plain: &str) -> String {
    let rest = plain.split("\"totalAmount\":").nth(1).unwrap_or_default();
    rest.trim_matches('"')
        .chars()
        .take_while(|it| it.is_ascii_digit() || *it == '.')
        .collect()
}

#[derive(Default)]
struct Inbox {
    bodies: Vec<String>,
    answers: VecDeque<u16>,
}

/// The merchant.
pub struct Merchant {
    pub keys: Keys,
    sim: Sim,
    client: reqwest::Client,
    inbox: Arc<Mutex<Inbox>>,
}

async fn receive(State(inbox): State<Arc<Mutex<Inbox>>>, body: String) -> StatusCode {
    let mut inbox = inbox.lock().unwrap_or_else(PoisonError::into_inner);
    inbox.bodies.push(body);
    let status = inbox.answers.pop_front().unwrap_or(200);
    StatusCode::from_u16(status).expect("a status")
}

impl Merchant {
    /// A merchant whose callbacks come to a port of its own, and a simulator with a port for each call.
    pub async fn start() -> Merchant {
        let loopback: SocketAddr = ([127, 0, 0, 1], 0).into();
        let inbox = Arc::new(Mutex::new(Inbox::default()));
        let listener = tokio::net::TcpListener::bind(loopback)
            .await
            .expect("a port");
        let callback = format!(
            "http://{}/callback",
            listener.local_addr().expect("an address")
        );
        let router = Router::new()
            .route("/callback", post(receive))
            .with_state(Arc::clone(&inbox));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let config = SimConfig {
            callback: Some(callback.parse().expect("a URL")),
            own_ports: true,
            ..SimConfig::default()
        };
        Merchant {
            keys: Keys::derive(Identity::default()),
            sim: Sim::start(loopback, config).await.expect("it starts"),
            client: reqwest::Client::builder()
                .no_proxy()
                .build()
                .expect("a client"),
            inbox,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.sim.address())
    }

    async fn order(&self, path: &str, body: &Value) -> (u16, Value) {
        let sent = self
            .client
            .post(self.url(path))
            .json(body)
            .send()
            .await
            .expect("an answer");
        let status = sent.status().as_u16();
        let text = sent.text().await.expect("a body");
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    pub async fn only_fault(&self, rule: Value) {
        let (status, answer) = self.order("/_sim/faults", &rule).await;
        assert_eq!(status, 200, "{rule}: {answer}");
    }

    pub async fn no_faults(&self) {
        self.client
            .delete(self.url("/_sim/faults"))
            .send()
            .await
            .expect("an answer");
    }

    pub async fn switch(&self, switches: Value) {
        let (status, answer) = self.order("/_sim/switches", &switches).await;
        assert_eq!(status, 200, "{switches}: {answer}");
    }

    pub async fn stop_clock(&self) {
        // Eleven in the morning in India, far from midnight.
        let order = json!({"now": "2025-01-15T05:30:00Z", "runs": false});
        assert_eq!(self.order("/_sim/clock", &order).await.0, 200);
    }

    pub async fn advance_s(&self, seconds: i64) {
        assert_eq!(
            self.order("/_sim/clock", &json!({"advance_s": seconds}))
                .await
                .0,
            200
        );
    }

    pub async fn ledger(&self) -> Value {
        let got = self
            .client
            .get(self.url("/_sim/ledger"))
            .send()
            .await
            .expect("an answer");
        got.json().await.expect("JSON")
    }

    /// How the next callbacks are answered; 200 after these.
    pub fn answer_with(&self, statuses: &[u16]) {
        let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        inbox.answers = statuses.iter().copied().collect();
    }

    /// The callbacks that came since this was asked last.
    pub fn heard(&self) -> Vec<Heard> {
        let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        inbox
            .bodies
            .drain(..)
            .map(|body| Heard::read(&self.keys, &body))
            .collect()
    }

    fn now(&self) -> String {
        indian_time(self.sim.shared().world().clock.now_ms())
    }

    async fn call(&self, place: Place, path: &str, plain: Value) -> reqwest::Result<Answer> {
        let own = self.sim.own_ports().iter().find(|(own, _)| *own == place);
        let address = own.expect("every call has its port").1;
        // Amounts stand in the texts as marks, and become numbers with exactly these characters here.
        let plain = plain.to_string().replace("\"#", "").replace("#\"", "");
        let body = format!("merchId=317157&encData={}", self.keys.request.seal(&plain));
        let sent = Instant::now();
        let answer = self
            .client
            .post(format!("http://{address}{path}"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body)
            .send()
            .await?;
        let header = |name: &str| {
            answer
                .headers()
                .get(name)
                .and_then(|it| it.to_str().ok())
                .map(str::to_owned)
        };
        Ok(Answer {
            http: answer.status().as_u16(),
            label: header("content-type").unwrap_or_default(),
            retry_after: header("retry-after"),
            body: answer.text().await?,
            took_ms: sent.elapsed().as_millis(),
        })
    }

    pub async fn auth(&self, id: &str, amount: &str) -> Answer {
        self.auth_with(
            id,
            json!({"amount": amount, "product": "NSE", "txnCurrency": "INR"}),
        )
        .await
    }

    async fn auth_with(&self, id: &str, pay_details: Value) -> Answer {
        let plain = json!({"payInstrument": {
            "headDetails": {"version": "OTSv1.1", "api": "AUTH", "platform": "FLASH"},
            "merchDetails": {"merchId": "317157", "userId": "", "password": "Test@123",
                             "merchTxnId": id, "merchTxnDate": self.now()},
            "payDetails": pay_details,
            "custDetails": {"custEmail": "buyer@example.com", "custMobile": "9000000000"},
            "extras": {"udf1": "ord_1"},
        }});
        self.call(Place::Auth, "/ots/aipay/auth", plain)
            .await
            .expect("AUTH is answered")
    }

    fn token_of(&self, answer: &Answer) -> String {
        assert_eq!(answer.http, 200, "{answer:?}");
        answer.opened(self)["atomTokenId"].to_string()
    }

    pub async fn token(&self, id: &str, amount: &str) -> String {
        self.token_of(&self.auth(id, amount).await)
    }

    pub async fn split_token(&self, id: &str, parts: &[(&str, &str)]) -> String {
        let details: Vec<Value> = parts
            .iter()
            .map(|(name, amount)| json!({"prodName": name, "prodAmount": amount}))
            .collect();
        let pay = json!({"amount": "100.00", "prodDetails": details, "txnCurrency": "INR"});
        self.token_of(&self.auth_with(id, pay).await)
    }

    pub async fn try_pay(&self, token: &str, outcome: &str) -> (u16, Value) {
        let order = json!({"token": token, "outcome": outcome, "wait": true});
        self.order("/_sim/pay", &order).await
    }

    pub async fn pay(&self, token: &str, outcome: &str) -> Value {
        let (status, answer) = self.try_pay(token, outcome).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    async fn status_of(&self, id: &str, amount: &str, path: &str) -> Answer {
        let v2 = path.contains("v2");
        let signer = &self.keys.request_signer;
        let signature = if v2 {
            signer.sign(&["317157", id, amount, "INR"])
        } else {
            signer.sign(&["317157", "Test@123", id, amount, "INR", "TXNVERIFICATION"])
        };
        let mut merch =
            json!({"merchId": 317157, "merchTxnId": id, "merchTxnDate": &self.paid_on(id)});
        let mut instrument = json!({"payDetails": {
            "amount": format!("#{amount}#"), "txnCurrency": "INR", "signature": signature}});
        if !v2 {
            merch["password"] = "Test@123".into();
            instrument["headDetails"] = json!({"api": "TXNVERIFICATION", "source": "OTS"});
        }
        instrument["merchDetails"] = merch;
        let plain = json!({ "payInstrument": instrument });
        self.call(Place::Status, path, plain)
            .await
            .expect("the status is answered")
    }

    /// The day of a payment's AUTH.
    fn paid_on(&self, id: &str) -> String {
        let world = self.sim.shared().world();
        let token = world
            .known
            .get(id)
            .and_then(|known| world.tokens.get(&known.token));
        let time = token.map_or_else(
            || indian_time(world.clock.now_ms()),
            |it| it.merch_txn_date.clone(),
        );
        time[..10].to_owned()
    }

    pub async fn status(&self, id: &str) -> Answer {
        self.status_of(id, "100.00", "/ots/payment/status").await
    }

    pub async fn status_code_of(&self, id: &str, amount: &str) -> String {
        let answer = self
            .status_of(id, amount, "/ots/payment/status")
            .await
            .opened(self);
        answer["responseDetails"]["statusCode"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    pub async fn status_code(&self, id: &str) -> String {
        self.status_code_of(id, "100.00").await
    }

    pub async fn status_v2_code(&self, id: &str) -> String {
        let answer = self
            .status_of(id, "100.00", "/ots/v2/payment/status")
            .await
            .opened(self);
        answer["responseDetails"]["statusCode"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    pub async fn refund(
        &self,
        atom: u64,
        id: &str,
        refund: &str,
        amount: &str,
    ) -> reqwest::Result<Value> {
        self.refund_lines(atom, id, &[("NSE", refund, amount)])
            .await
    }

    pub async fn refund_lines(
        &self,
        atom: u64,
        id: &str,
        lines: &[(&str, &str, &str)],
    ) -> reqwest::Result<Value> {
        let paise: i64 = lines
            .iter()
            .map(|(_, _, amount)| {
                amount
                    .replace('.', "")
                    .parse::<i64>()
                    .expect("two decimals")
            })
            .sum();
        let total = format!("{}.{:02}", paise / 100, paise % 100);
        let parts = ["317157", "Test@123", id, &total, "INR", "REFUNDINIT"];
        let details: Vec<Value> = lines
            .iter()
            .map(|(name, refund, amount)| {
                json!({"prodName": name, "prodRefundId": refund, "prodRefundAmount": format!("#{amount}#")})
            })
            .collect();
        let plain = json!({"payInstrument": {
            "headDetails": {"api": "REFUNDINIT", "source": "OTS"},
            "merchDetails": {"merchId": 317157, "password": "Test@123", "merchTxnId": id},
            "payDetails": {"atomTxnId": atom, "signature": self.keys.request_signer.sign(&parts),
                           "prodDetails": details, "txnCurrency": "INR",
                           "totalRefundAmount": format!("#{total}#")},
        }});
        let answer = self
            .call(Place::Refund, "/ots/payment/refund", plain)
            .await?;
        Ok(answer.opened(self))
    }

    pub async fn refund_status(&self, atom: u64) -> Value {
        let password = base64::engine::general_purpose::STANDARD.encode("Test@123");
        let plain = json!({"payInstrument": {
            "headDetails": {"api": "REFUNDSTATUS", "source": "OTS_ARS"},
            "merchDetails": {"merchId": 317157, "password": password},
            "payDetails": {"atomTxnId": atom, "prodDetails": [{"prodName": "NSE"}]},
        }});
        let answer = self
            .call(Place::RefundStatus, "/ots/payment/status", plain)
            .await;
        answer.expect("the refund status is answered").opened(self)
    }

    pub async fn remarks(&self, atom: u64) -> Vec<String> {
        let listed = self.refund_status(atom).await;
        let entries = listed["refundStatusDetails"][0]["refundStatus"]
            .as_array()
            .cloned();
        let word = |entry: &Value| entry["remarks"].as_str().unwrap_or_default().to_owned();
        entries.unwrap_or_default().iter().map(word).collect()
    }

    pub async fn page(&self, token: &str) -> String {
        let path = format!(
            "/checkout?atomTokenId={token}&merchId=317157&returnUrl=http%3A%2F%2Fshop%2Freturn"
        );
        self.client
            .get(self.url(&path))
            .send()
            .await
            .expect("a page")
            .text()
            .await
            .expect("text")
    }

    pub async fn press(&self, token: &str, button: &str) -> String {
        let form = [
            ("token", token),
            ("return_url", "http://shop/return"),
            ("button", button),
            ("code", "OTS0633"),
        ];
        let sent = self
            .client
            .post(self.url("/checkout"))
            .form(&form)
            .send()
            .await;
        sent.expect("a page").text().await.expect("text")
    }
}
