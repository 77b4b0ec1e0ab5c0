//! A flow with a stand-in for Atom and a clock moved by hand.

mod crash;
mod crashes;
mod decisions;
mod desk;
mod gateway;
mod gauges;
mod invariants;
mod many;
mod notify;
mod refund_crash;
mod refund_unknown;
mod refunds;
mod requery;
mod reversals;
mod rules;
mod surplus;
mod tables;

use std::sync::Arc;

use commerce::atom::flow::{
    Caller, Checkout, Flow, FlowError, FlowParts, FlowSettings, MerchantSettings, Reply, Unobserved,
};
use commerce::clock::Clock;
use commerce::points::Points;
use commerce::secret::Secret;
use commerce::store::Store;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Row};

use crate::common::TestStore;
use gateway::Gateway;

/// 2025-01-15 05:00 UTC, the day of the specification's examples.
pub const START_MS: i64 = 1_736_917_200_000;

/// One process of ours.
#[derive(Clone)]
pub struct World {
    pub flow: Flow,
    pub gateway: Arc<Gateway>,
    pub clock: Clock,
    pub points: Points,
    pub who: Caller,
}

impl World {
    /// A process on a fresh database.
    pub fn new(test: &TestStore) -> World {
        World::with(test, |_| {})
    }

    /// The same, with other settings.
    pub fn with(test: &TestStore, change: impl FnOnce(&mut FlowSettings)) -> World {
        let merchant = MerchantSettings {
            return_origins: vec!["https://shop.example".to_owned()],
            is_told: true,
        };
        let mut settings = FlowSettings {
            merchants: [("shop".to_owned(), merchant)].into(),
            queries_per_s_max: 1_000,
            ..FlowSettings::default()
        };
        change(&mut settings);
        let clock = Clock::manual(START_MS);
        World::build(
            test.store.clone(),
            Arc::new(Gateway::new(clock.clone())),
            clock,
            settings,
        )
    }

    /// Another process on the same database, at the same Atom, under the same clock.
    pub fn another(&self, store: Store) -> World {
        let settings = FlowSettings::clone(&self.flow.settings);
        World::build(store, self.gateway.clone(), self.clock.clone(), settings)
    }

    /// The same process, started again with other settings.
    pub fn with_settings(&self, test: &TestStore, change: impl FnOnce(&mut FlowSettings)) -> World {
        let mut settings = FlowSettings::clone(&self.flow.settings);
        change(&mut settings);
        let store = test.store.clone();
        World::build(store, self.gateway.clone(), self.clock.clone(), settings)
    }

    fn build(store: Store, gateway: Arc<Gateway>, clock: Clock, settings: FlowSettings) -> World {
        let points = Points::watched();
        let flow = Flow::new(FlowParts {
            store,
            atom: gateway.clone(),
            inbound: gateway::inbound(),
            clock: clock.clone(),
            points: points.clone(),
            settings,
            checkout: Checkout {
                script: "https://atom.example/atomcheckout.js".to_owned(),
                env: "uat".to_owned(),
                merch_id: gateway::MERCH_ID.to_owned(),
                return_url: "https://pay.example/v1/payments/atom/return".to_owned(),
            },
            read_token_key: Secret::from("a key for tests"),
            observer: Arc::new(Unobserved),
        });
        let who = Caller {
            merchant_id: "shop".to_owned(),
            actor: "key_test".to_owned(),
            request_id: "req_test".to_owned(),
        };
        World {
            flow,
            gateway,
            clock,
            points,
            who,
        }
    }

    /// Orders 100.00 under a reference, which is the key too. The order's id.
    pub async fn order(&self, reference: &str) -> String {
        let reply = self
            .flow
            .create_order(&self.who, Some(reference), &order_body(reference))
            .await;
        text(&reply.expect("an order").body, "order_id")
    }

    /// Starts a payment.
    pub async fn start(&self, order_id: &str, key: &str, body: Value) -> Result<Reply, FlowError> {
        self.flow
            .start_payment(&self.who, order_id, Some(key), body.to_string().as_bytes())
            .await
    }

    /// An order whose customer is at the payment page: order and `merchTxnId`.
    pub async fn at_checkout(&self, reference: &str) -> (String, String) {
        let order_id = self.order(reference).await;
        let reply = self
            .start(&order_id, reference, json!({}))
            .await
            .expect("an attempt");
        (order_id, text(&reply.body, "merch_txn_id"))
    }

    /// An order that is paid and told of by callback.
    pub async fn paid(&self, reference: &str) -> (String, String) {
        let (order_id, merch_txn_id) = self.at_checkout(reference).await;
        self.gateway.pay(&merch_txn_id);
        self.call_back(&self.gateway.message(&merch_txn_id)).await;
        (order_id, merch_txn_id)
    }

    /// Asks for a refund of an order; of all that is left without an amount.
    pub async fn refund(&self, order_id: &str, key: &str, body: Value) -> Result<Reply, FlowError> {
        self.flow
            .refund(&self.who, order_id, Some(key), body.to_string().as_bytes())
            .await
    }

    /// Another person with this process' rights.
    pub fn operator(&self, name: &str) -> Caller {
        Caller {
            merchant_id: String::new(),
            actor: name.to_owned(),
            request_id: format!("req_{name}"),
        }
    }

    /// Both operators decide the same about an issue.
    pub async fn both_resolve_issue(&self, id: &str, action: &str) -> Result<Reply, FlowError> {
        let body = json!({"action": action, "note": "as agreed"}).to_string();
        let mut last = None;
        for name in ["op_a", "op_b"] {
            let who = self.operator(name);
            let key = format!("{name}-{action}");
            let reply = self
                .flow
                .resolve_issue(&who, id, Some(&key), body.as_bytes())
                .await?;
            last = Some(reply);
        }
        Ok(last.expect("two have decided"))
    }

    /// What the issues of a kind keep of the evidence, the oldest first.
    pub async fn details_of(&self, kind: &str) -> Vec<Value> {
        let rows = sqlx::query("SELECT detail FROM issues WHERE kind = $1 ORDER BY opened_at, id")
            .bind(kind)
            .fetch_all(self.flow.store.pool());
        let rows = rows.await.expect("issues");
        let read = |row| serde_json::from_str(&Row::get::<String, _>(row, "detail"));
        rows.iter().map(|row| read(row).expect("JSON")).collect()
    }

    /// An operator has the order's attempts asked for, and they are.
    pub async fn ask_now(&self, order_id: &str) {
        self.clock.advance(10_000);
        self.flow.requery_now(order_id).await.expect("queued");
        self.flow.run_requery_once().await.expect("asks");
    }

    /// Both operators decide the same about a refund.
    pub async fn both_resolve_refund(&self, id: &str, action: &str) -> Result<Reply, FlowError> {
        let body = json!({"action": action, "note": "as agreed"}).to_string();
        let mut last = None;
        for name in ["op_a", "op_b"] {
            let who = self.operator(name);
            let key = format!("{name}-{action}");
            let reply = self
                .flow
                .resolve_refund(&who, id, Some(&key), body.as_bytes())
                .await?;
            last = Some(reply);
        }
        Ok(last.expect("two have decided"))
    }

    /// Ids of open issues of a kind.
    pub async fn issues_of(&self, kind: &str) -> Vec<String> {
        let rows = sqlx::query("SELECT id FROM issues WHERE closed_at IS NULL AND kind = $1")
            .bind(kind)
            .fetch_all(self.flow.store.pool());
        rows.await
            .expect("issues")
            .iter()
            .map(|row| row.get("id"))
            .collect()
    }

    /// Posts a message to the callback address; it must be taken.
    pub async fn call_back(&self, message: &gateway::Message) {
        use commerce::atom::flow::CallbackAnswer;
        let answer = self
            .flow
            .receive_callback(&message.body(), "192.0.2.1")
            .await;
        assert_eq!(answer.expect("stored"), CallbackAnswer::Taken);
    }

    /// The order as its merchant reads it.
    pub async fn view(&self, order_id: &str) -> Value {
        self.flow
            .order_view(Some("shop"), order_id)
            .await
            .expect("the order")
            .body
    }

    /// Status, and the outcome of the last attempt.
    pub async fn state(&self, order_id: &str) -> (String, String) {
        let view = self.view(order_id).await;
        let last = view["attempts"]
            .as_array()
            .and_then(|all| all.last().cloned());
        (
            text(&view, "status"),
            last.map(|attempt| text(&attempt, "outcome"))
                .unwrap_or_default(),
        )
    }

    /// The kinds of the open issues, sorted.
    pub async fn issues(&self) -> Vec<String> {
        let rows = sqlx::query("SELECT kind FROM issues WHERE closed_at IS NULL ORDER BY kind")
            .fetch_all(self.flow.store.pool());
        rows.await
            .expect("issues")
            .iter()
            .map(|row| row.get("kind"))
            .collect()
    }

    /// One number.
    pub async fn count(&self, what: &str) -> i64 {
        let select = format!("SELECT COUNT(*) AS n FROM {what}");
        let row = sqlx::query(AssertSqlSafe(select))
            .fetch_one(self.flow.store.pool())
            .await;
        row.expect("a count").get("n")
    }

    /// Runs the follow-up of refunds until nothing is due now.
    pub async fn follow_refunds(&self) {
        while !self
            .flow
            .run_refund_followup_once()
            .await
            .expect("the follow-up")
            .is_idle()
        {}
    }

    /// Runs every job once.
    pub async fn jobs(&self) {
        self.flow.run_inbox_once().await.expect("the inbox");
        self.flow.run_requery_once().await.expect("the requery");
        self.follow_refunds().await;
        self.flow.run_expiry_once().await.expect("the expiry");
        self.flow.run_cleanup_once().await.expect("the clean-up");
    }

    /// Moves the clock from one due thing to the next until nothing is due for ever.
    pub async fn until_quiet(&self) {
        for _ in 0..500 {
            self.jobs().await;
            let now = self.clock.now_ms();
            let next = sqlx::query(
                "SELECT MIN(due) AS due FROM (SELECT MIN(next_requery_at) AS due FROM payment_attempts \
                 UNION ALL SELECT MIN(next_try_at) FROM callback_inbox WHERE applied_at IS NULL \
                 UNION ALL SELECT MIN(next_check_at) FROM refunds \
                 UNION ALL SELECT MIN(expires_at) FROM orders WHERE status = 'pending' AND expires_at > $1) AS t",
            )
            .bind(now)
            .fetch_one(self.flow.store.pool())
            .await
            .expect("what is due");
            match next.get::<Option<i64>, _>("due") {
                None => {
                    let broken = self.flow.run_invariants_once().await.expect("the rules");
                    assert!(broken.iter().all(|(_, orders)| *orders == 0), "{broken:?}");
                    return;
                }
                // What is due and leased to a process that is gone waits for the end of the lease.
                Some(due) => self.clock.advance((due - now).max(30_000)),
            }
        }
        panic!("it never became quiet");
    }
}

/// The body of an order of 100.00.
pub fn order_body(reference: &str) -> Vec<u8> {
    json!({"merchant_order_ref": reference, "amount": 10_000, "currency": "INR",
        "customer": {"email": "buyer@example.com", "mobile": "9000000000"},
        "return_page": "https://shop.example/thanks"})
    .to_string()
    .into_bytes()
}

/// A text of an object.
pub fn text(body: &Value, name: &str) -> String {
    body[name]
        .as_str()
        .unwrap_or_else(|| panic!("{name} in {body}"))
        .to_owned()
}
