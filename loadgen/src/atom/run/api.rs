//! The calls of `commerced` and of the simulator that a run makes.

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

/// How long an answer may take; longer than `commerced` itself waits for Atom.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// Both programs, reached over HTTP.
pub struct Api {
    client: reqwest::Client,
    gateway: Url,
    sim: Url,
    key: String,
    operator: Option<String>,
}

/// An answer that is not the expected one, in short: the step, the status and the code.
pub type Unexpected = String;

/// What the customer's act at the simulator came to.
#[derive(Clone, Debug, Deserialize)]
pub struct Acted {
    /// The form that the browser would carry, which is what the callback carried.
    pub return_body: Option<String>,
    /// The callback's delivery.
    pub callback: Option<Delivered>,
}

/// How the callback was answered.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Delivered {
    /// With this status, or not at all.
    pub http_status: Option<u16>,
    /// After so many microseconds.
    pub took_us: u64,
}

impl Api {
    /// Reaches both at these addresses.
    ///
    /// # Errors
    /// No client can be made.
    pub fn new(
        gateway: Url,
        sim: Url,
        key: String,
        operator: Option<String>,
    ) -> Result<Api, String> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(ANSWER_MAX)
            .build()
            .map_err(|error| format!("no client: {error}"))?;
        Ok(Api {
            client,
            gateway,
            sim,
            key,
            operator,
        })
    }

    fn at(base: &Url, path: &str) -> String {
        format!("{}{path}", base.as_str().trim_end_matches('/'))
    }

    /// Sends a call and reads its answer as JSON.
    async fn json(step: &str, call: reqwest::RequestBuilder) -> Result<(u16, Value), Unexpected> {
        let answer = call
            .send()
            .await
            .map_err(|error| format!("{step}: {}", short(&error)))?;
        let status = answer.status().as_u16();
        let text = answer
            .text()
            .await
            .map_err(|error| format!("{step}: {}", short(&error)))?;
        let value = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok((status, value))
    }

    async fn expect(
        step: &str,
        good: &[u16],
        call: reqwest::RequestBuilder,
    ) -> Result<Value, Unexpected> {
        let (status, value) = Api::json(step, call).await?;
        if good.contains(&status) {
            return Ok(value);
        }
        let code = value["code"].as_str().unwrap_or_default();
        Err(format!("{step}: {status} {code}"))
    }

    /// Creates an order; gives its id.
    ///
    /// # Errors
    /// It is refused, or not answered.
    pub async fn create(&self, reference: &str, amount: i64) -> Result<String, Unexpected> {
        let body = json!({
            "merchant_order_ref": reference,
            "user_id": "u_77",
            "amount": amount,
            "currency": "INR",
            "customer": { "email": "buyer@example.com", "mobile": "9000000000" },
        });
        let call = self
            .client
            .post(Api::at(&self.gateway, "/v1/orders"))
            .bearer_auth(&self.key)
            .header("Idempotency-Key", format!("c-{reference}"))
            .json(&body);
        let order = Api::expect("create", &[201], call).await?;
        text(&order["order_id"]).ok_or_else(|| "create: no order_id".to_owned())
    }

    /// Starts a payment; gives the token and the payment's number.
    ///
    /// # Errors
    /// It is refused, or not answered.
    pub async fn start(&self, order: &str, key: &str) -> Result<(String, String), Unexpected> {
        let call = self
            .client
            .post(Api::at(
                &self.gateway,
                &format!("/v1/orders/{order}/payments"),
            ))
            .bearer_auth(&self.key)
            .header("Idempotency-Key", format!("s-{key}"))
            .json(&json!({}));
        let started = Api::expect("start", &[201], call).await?;
        let token = text(&started["checkout"]["options"]["atomTokenId"]);
        let merch_txn_id = text(&started["merch_txn_id"]);
        token
            .zip(merch_txn_id)
            .ok_or_else(|| "start: no atomTokenId or no merch_txn_id".to_owned())
    }

    /// Lets the customer pay or fail at the simulator.
    ///
    /// # Errors
    /// The simulator refuses it.
    pub async fn act(&self, token: &str, failed: bool, lost: bool) -> Result<Acted, Unexpected> {
        let outcome = if failed { "failed" } else { "success" };
        let body = json!({ "token": token, "outcome": outcome, "lost": lost, "wait": true });
        let call = self
            .client
            .post(Api::at(&self.sim, "/_sim/pay"))
            .json(&body);
        let acted = Api::expect("pay", &[200], call).await?;
        serde_json::from_value(acted).map_err(|error| format!("pay: {error}"))
    }

    /// Has the simulator capture payments like the one of a token, under these numbers and for these orders.
    ///
    /// # Errors
    /// The simulator refuses it.
    pub async fn captures(
        &self,
        like: &str,
        payments: &[(String, String)],
    ) -> Result<(), Unexpected> {
        let like: u64 = like.parse().map_err(|_| "captures: no token".to_owned())?;
        let payments: Vec<Value> = payments
            .iter()
            .map(|(merch_txn_id, udf1)| json!({ "merch_txn_id": merch_txn_id, "udf1": udf1 }))
            .collect();
        let call = self
            .client
            .post(Api::at(&self.sim, "/_sim/captures"))
            .json(&json!({ "like": like, "payments": payments }));
        Api::expect("captures", &[204], call).await.map(drop)
    }

    /// The whole view of an order.
    ///
    /// # Errors
    /// It is refused, or not answered.
    pub async fn order(&self, order: &str) -> Result<Value, Unexpected> {
        let call = self
            .client
            .get(Api::at(&self.gateway, &format!("/v1/orders/{order}")))
            .bearer_auth(&self.key);
        Api::expect("read", &[200], call).await
    }

    /// The status of an order.
    ///
    /// # Errors
    /// It is refused, or not answered.
    pub async fn status(&self, order: &str) -> Result<String, Unexpected> {
        let view = self.order(order).await?;
        text(&view["status"]).ok_or_else(|| "read: no status".to_owned())
    }

    /// Asks for a refund of an amount, or of all that is left; gives its state.
    ///
    /// # Errors
    /// It is refused, or not answered.
    pub async fn refund(
        &self,
        order: &str,
        key: &str,
        amount: Option<i64>,
    ) -> Result<String, Unexpected> {
        let mut body = json!({ "currency": "INR", "reason": "item returned" });
        if let Some(amount) = amount {
            body["amount"] = amount.into();
        }
        let call = self
            .client
            .post(Api::at(
                &self.gateway,
                &format!("/v1/orders/{order}/refunds"),
            ))
            .bearer_auth(&self.key)
            .header("Idempotency-Key", format!("r-{key}"))
            .json(&body);
        let refund = Api::expect("refund", &[201, 202], call).await?;
        text(&refund["state"]).ok_or_else(|| "refund: no state".to_owned())
    }

    /// Posts a form as Atom would; gives the status and how many microseconds it took.
    ///
    /// # Errors
    /// It is not answered.
    pub async fn callback(&self, body: String) -> Result<(u16, u64), Unexpected> {
        let sent = Instant::now();
        let answer = self
            .client
            .post(Api::at(&self.gateway, "/v1/callbacks/atom"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body)
            .send()
            .await
            .map_err(|error| format!("callback: {}", short(&error)))?;
        let status = answer.status().as_u16();
        // Read to its end, so that the connection can be used again.
        let _ = answer.bytes().await;
        Ok((status, sent.elapsed().as_micros() as u64))
    }

    /// Pulls the status query of an order to now, if there is an operator's key.
    pub async fn requery(&self, order: &str) {
        if let Some(key) = &self.operator {
            let path = format!("/v1/admin/orders/{order}/requery");
            let call = self
                .client
                .post(Api::at(&self.gateway, &path))
                .bearer_auth(key);
            // Refused or not: whether the order gets paid is what counts.
            let _ = call.send().await;
        }
    }

    /// The merchant's number at the simulator; also shows that both programs are there.
    ///
    /// # Errors
    /// One sentence naming the program that is not there.
    pub async fn merch_id(&self) -> Result<String, String> {
        let health = self
            .client
            .get(Api::at(&self.gateway, "/healthz"))
            .send()
            .await;
        health.map_err(|error| format!("--gateway {}: {}", self.gateway, short(&error)))?;
        let call = self.client.get(Api::at(&self.sim, "/_sim/merchant"));
        let merchant = Api::expect("merchant", &[200], call).await;
        let merchant = merchant.map_err(|error| format!("--sim {}: {error}", self.sim))?;
        text(&merchant["merch_id"]).ok_or_else(|| format!("--sim {}: no merchant", self.sim))
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The kind of an error without its addresses, so that equal ones are counted together.
fn short(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "not answered in time"
    } else if error.is_connect() {
        "not reachable"
    } else {
        "the connection broke"
    }
}
