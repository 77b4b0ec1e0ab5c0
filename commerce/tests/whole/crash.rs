//! The real process ends at every point between two durable statements, as `kill -9` would end it, for payments, refunds,
//! callbacks, requery, expiry, operators' decisions and recovery; another one takes over. Nothing is paid or paid back
//! twice, nothing is lost, and the books of both sides agree. On both databases.

use std::future::Future;
use std::time::{Duration, Instant};

use commerce::atom::flow;
use loadgen::atom::run::bad::{Forger, Kind};
use loadgen::atom::sim::config::Identity;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::stage::{Commerced, Stage};
use crate::common::{self, TestStore};

/// Longer than every lease of a process that is gone.
const LEASES_S: i64 = 130;
/// How long a step may take to show.
const SHOWN_MAX: Duration = Duration::from_secs(60);

/// A part of the life of orders in which certain points are reached.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    /// Ordered and cancelled; ordered and expired.
    Order,
    /// Paid, told of, confirmed, shipped, delivered.
    Pay,
    /// A token at the second id.
    NewId,
    /// AUTH hangs until the query takes its caller for dead.
    Hung,
    /// A message about nobody's order.
    Orphan,
    /// Paid back.
    Refund,
    /// Paid back, and the answer lost.
    Lost,
    /// The refund never arrived; two operators free its amount.
    Gone,
    /// Paid after the order was cancelled.
    Late,
    /// Captured twice; two operators give the surplus back.
    Double,
}

/// In which part a point is reached, by the beginning of its name. The first that fits counts.
const PARTS: &[(&str, Part)] = &[
    ("order.", Part::Order),
    ("cleanup.", Part::Order),
    ("payment.start.new_id", Part::NewId),
    ("payment.", Part::Pay),
    ("callback.orphan", Part::Orphan),
    ("callback.", Part::Pay),
    ("requery.given_up", Part::Hung),
    ("requery.", Part::Pay),
    ("refund.look_up.", Part::Lost),
    ("refund.system.", Part::Late),
    ("refund.resolve.", Part::Gone),
    ("refund.", Part::Refund),
    ("recovery.", Part::Refund),
    ("issue.", Part::Double),
];

/// What is reached only by a process that finds another one's crash: the point, and that crash.
const AFTER: &[(&str, &str)] = &[
    ("recovery.refund", "refund.submit.marked"),
    ("refund.give_up.writing", "refund.submit.marked"),
    ("recovery.answer", "refund.submit.written"),
];

/// One try of a part: the stage, the process, and how references begin.
struct Try<'a> {
    stage: &'a Stage,
    at: Commerced,
    name: String,
}

impl Try<'_> {
    fn key(&self, what: &str) -> String {
        format!("{}-{what}", self.name)
    }

    /// Waits until something is so; `false` if the process ended before.
    async fn wait(&mut self, order_id: &str, wanted: impl Fn(&Value) -> bool) -> bool {
        let deadline = Instant::now() + SHOWN_MAX;
        loop {
            let view = self.stage.view(&self.at, order_id).await;
            if wanted(&view) {
                return true;
            }
            if !self.goes_on(deadline, &view) {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
    }

    /// Whether the process still lives; then what is waited for must not be late.
    fn goes_on(&mut self, deadline: Instant, seen: &Value) -> bool {
        let lives = !self.at.is_gone();
        assert!(
            !lives || Instant::now() < deadline,
            "{}: {seen}\n{}",
            self.name,
            self.stage.log()
        );
        lives
    }

    /// Orders, and has a token, under one key after the other as a shop does that got no answer.
    async fn started(&self, what: &str) -> Option<(String, Value)> {
        let order_id = self.stage.order(&self.at, &self.key(what)).await?;
        for n in 0..4 {
            let key = self.key(&format!("{what}-{n}"));
            let (status, started) = self.stage.start_payment(&self.at, &order_id, &key).await;
            match status {
                201 if started["checkout"].is_object() => return Some((order_id, started)),
                0 => return None,
                409 => return Some((order_id, Value::Null)),
                _ => {}
            }
        }
        Some((order_id, Value::Null))
    }

    /// An order that is paid and confirmed.
    async fn paid(&mut self, what: &str) -> Option<String> {
        let order_id = self.stage.order(&self.at, &self.key(what)).await?;
        let is_paid = |view: &Value| !matches!(view["status"].as_str(), Some("pending") | None);
        if !is_paid(&self.stage.view(&self.at, &order_id).await) {
            let (_, started) = self.started(what).await?;
            if started.is_object() {
                self.stage.act(&started, "success").await;
            } else {
                self.requery(&order_id).await;
            }
        }
        let confirmed = |view: &Value| !view["confirmed_at"].is_null();
        self.wait(&order_id, confirmed).await.then_some(order_id)
    }

    async fn requery(&self, order_id: &str) {
        let path = format!("/v1/admin/orders/{order_id}/requery");
        let who = &self.stage.operators[0];
        self.stage
            .post_as(who, &self.at, &path, "any", &json!({}))
            .await;
    }

    async fn merchant(&self, order_id: &str, what: &str) -> (u16, Value) {
        let path = format!("/v1/orders/{order_id}/{what}");
        self.stage
            .post(&self.at, &path, &self.key(what), &json!({}))
            .await
    }

    async fn both_decide(&self, what: &str, id: &str, action: &str) {
        for (who, name) in self.stage.operators.iter().zip(["a", "b"]) {
            let path = format!("/v1/admin/{what}/{id}/resolve");
            let body = json!({"action": action, "note": "as agreed"});
            self.stage.post_as(who, &self.at, &path, name, &body).await;
        }
    }

    /// Lives through a part. Whether it came to its end, or the process did before.
    async fn live(&mut self, part: Part) -> bool {
        match part {
            Part::Order => self.order().await,
            Part::Pay => self.pay().await,
            Part::NewId => self.new_id().await,
            Part::Hung => self.hung().await,
            Part::Orphan => self.orphan().await,
            Part::Refund | Part::Lost | Part::Gone => self.refund(part).await,
            Part::Late => self.late().await,
            Part::Double => self.double().await,
        }
        .unwrap_or(false)
    }

    async fn order(&mut self) -> Option<bool> {
        let order_id = self.stage.order(&self.at, &self.key("cancelled")).await?;
        self.merchant(&order_id, "cancel").await;
        let expiring = self.stage.order(&self.at, &self.key("expiring")).await?;
        self.stage.age(86_500).await;
        let over = |view: &Value| view["status"] == "cancelled";
        Some(self.wait(&order_id, over).await && self.wait(&expiring, over).await)
    }

    async fn pay(&mut self) -> Option<bool> {
        let order_id = self.paid("paid").await?;
        self.merchant(&order_id, "ship").await;
        self.merchant(&order_id, "deliver").await;
        Some(
            self.wait(&order_id, |view| view["status"] == "delivered")
                .await,
        )
    }

    async fn new_id(&mut self) -> Option<bool> {
        let rule = json!({"api": "auth", "fault": "code", "code": "OTS0600",
            "message": "TOKEN GENERATION FAILED", "times": 1});
        self.stage.only_faults(&rule).await;
        let paid = self.paid("newid").await;
        self.stage.no_faults().await;
        Some(paid.is_some())
    }

    async fn hung(&mut self) -> Option<bool> {
        let order_id = self.stage.order(&self.at, &self.key("hung")).await?;
        let before = self
            .stage
            .count("payment_attempts WHERE phase = 'initializing'")
            .await;
        self.stage
            .only_faults(&json!({"api": "auth", "fault": "delay", "ms": 5000, "times": 1}))
            .await;
        {
            let key = self.key("hung-first");
            let starting = self.stage.start_payment(&self.at, &order_id, &key);
            let aging = async {
                let deadline = Instant::now() + Duration::from_secs(1);
                while Instant::now() < deadline
                    && self
                        .stage
                        .count("payment_attempts WHERE phase = 'initializing'")
                        .await
                        == before
                {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                self.stage.age(125).await;
            };
            tokio::join!(starting, aging);
        }
        self.stage.no_faults().await;
        let paid = self.paid("hung").await;
        Some(paid.is_some())
    }

    async fn orphan(&mut self) -> Option<bool> {
        let forger = Forger::new(Identity::default());
        let body = forger.forge(
            Kind::UnknownOrder,
            "GZ000000000000000000000000",
            10_000,
            None,
        );
        let (status, _) = self.stage.form(&self.at, "/v1/callbacks/atom", body).await;
        Some(status == 200)
    }

    async fn refund(&mut self, part: Part) -> Option<bool> {
        let order_id = self.paid("refund").await?;
        let fault = match part {
            Part::Lost => json!([{"api": "refund", "fault": "drop_after", "times": 1}]),
            Part::Gone => json!([{"api": "refund", "fault": "drop_before", "times": 1}]),
            _ => json!([]),
        };
        self.stage.only_faults(&fault).await;
        self.merchant(&order_id, "refunds").await;
        self.stage.no_faults().await;
        let state = |view: &Value| {
            view["refunds"][0]["state"]
                .as_str()
                .unwrap_or("")
                .to_owned()
        };
        let ends: &[&str] = match part {
            Part::Gone => &["rejected", "accepted", "processed"],
            _ => &["accepted", "processed"],
        };
        let deadline = Instant::now() + SHOWN_MAX;
        loop {
            let view = self.stage.view(&self.at, &order_id).await;
            if ends.contains(&state(&view).as_str()) {
                // The answer of the request that was cut off is there for its key.
                return Some(self.merchant(&order_id, "refunds").await.0 == 201);
            }
            if !self.goes_on(deadline, &view) {
                return None;
            }
            self.stage.age(301).await;
            tokio::time::sleep(Duration::from_millis(120)).await;
            // A call that its process did not live to make is not listed either: people decide what becomes of it.
            let action = match part {
                Part::Gone => "mark_rejected",
                _ => "resend",
            };
            if let Some(id) = view["refunds"][0]["refund_id"].as_str()
                && self
                    .stage
                    .count(&format!("refunds WHERE id = '{id}' AND held IS NOT NULL"))
                    .await
                    == 1
            {
                self.both_decide("refunds", id, action).await;
            }
        }
    }

    async fn late(&mut self) -> Option<bool> {
        let order_id = self.stage.order(&self.at, &self.key("late")).await?;
        let view = self.stage.view(&self.at, &order_id).await;
        if view["status"] == "pending" {
            let (_, started) = self.started("late").await?;
            self.stage
                .only_faults(&json!([
                    {"api": "callback", "fault": "lost"},
                    {"api": "status", "fault": "code", "code": "OTS0401"},
                ]))
                .await;
            self.stage.act(&started, "success").await;
            self.stage.age(86_500).await;
            let over = self
                .wait(&order_id, |view| view["status"] == "cancelled")
                .await;
            self.stage.no_faults().await;
            if !over {
                return None;
            }
        }
        self.stage.no_faults().await;
        let given_back = |view: &Value| {
            matches!(
                view["refunds"][0]["state"].as_str(),
                Some("accepted" | "processed")
            )
        };
        let deadline = Instant::now() + SHOWN_MAX;
        while !given_back(&self.stage.view(&self.at, &order_id).await) {
            if !self.goes_on(deadline, &Value::Null) {
                return None;
            }
            self.stage.age(301).await;
            self.requery(&order_id).await;
            tokio::time::sleep(Duration::from_millis(120)).await;
        }
        Some(true)
    }

    async fn double(&mut self) -> Option<bool> {
        self.stage
            .only_faults(&json!({"api": "pay", "fault": "double_capture"}))
            .await;
        let paid = self.paid("double").await;
        self.stage.no_faults().await;
        let order_id = paid?;
        let of_order = format!("kind = 'duplicate_capture' AND order_id = '{order_id}'");
        let back = format!(
            "refunds WHERE order_id = '{order_id}' AND surplus = 1 AND state IN ('accepted', 'processed')"
        );
        let deadline = Instant::now() + SHOWN_MAX;
        while self.stage.count(&back).await == 0 {
            if !self.goes_on(deadline, &Value::Null) {
                return None;
            }
            self.requery(&order_id).await;
            for id in self
                .ids(&format!("issues WHERE {of_order} AND closed_at IS NULL"))
                .await
            {
                self.both_decide("issues", &id, "refund_surplus").await;
            }
            self.stage.age(15).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Some(true)
    }

    async fn ids(&self, what: &str) -> Vec<String> {
        use sqlx::Row;
        let select = sqlx::AssertSqlSafe(format!("SELECT id FROM {what}"));
        let rows = sqlx::query(select)
            .fetch_all(self.stage.test.store.pool())
            .await;
        rows.expect("ids").iter().map(|row| row.get("id")).collect()
    }
}

/// Starts a process that crashes at `point` and lives through `part` with it. Whether it crashed.
async fn crash(stage: &Stage, name: &str, part: Part, point: &str) -> bool {
    let Some(at) = stage.start(Some(point)) else {
        return true;
    };
    let mut first = Try {
        stage,
        at,
        name: name.to_owned(),
    };
    first.live(part).await;
    // What the part ends with may be answered a moment before the process is seen to be gone.
    let deadline = Instant::now() + Duration::from_secs(5);
    while !first.at.is_gone() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stage.no_faults().await;
    first.at.is_gone()
}

/// Every so many points a stage of their own, all at the same time: most of it is waiting.
const STAGES: usize = 6;

async fn all_points<F>(store: impl Fn() -> F)
where
    F: Future<Output = TestStore>,
{
    let points: Vec<&str> = flow::POINTS
        .iter()
        .chain(flow::refunds::POINTS)
        .copied()
        .collect();
    let mut running = JoinSet::new();
    for at in 0..STAGES {
        let mine: Vec<&str> = points.iter().skip(at).step_by(STAGES).copied().collect();
        running.spawn(some_points(store().await, mine));
    }
    while let Some(done) = running.join_next().await {
        done.expect("every point is recovered from");
    }
    println!("{} crashes of the process", points.len());
}

async fn some_points(test: TestStore, points: Vec<&'static str>) {
    let limits = "queries_per_s_max = 50\nqueries_at_once_max = 50\nattempts_per_hour_max = 100";
    let stage = Stage::new(test, &[("[flow]", limits)]).await;
    for (number, point) in points.iter().enumerate() {
        let (_, part) = PARTS
            .iter()
            .find(|(begin, _)| point.starts_with(begin))
            .expect("every point is reached in some part");
        let name = format!("C{number}");
        if let Some((_, before)) = AFTER.iter().find(|(after, _)| after == point) {
            assert!(
                crash(&stage, &name, *part, before).await,
                "{before} was not reached"
            );
        }
        assert!(
            crash(&stage, &name, *part, point).await,
            "{point} was not reached\n{}",
            stage.log()
        );
        stage.age(LEASES_S).await;
        let mut second = Try {
            stage: &stage,
            at: stage.start(None).expect("it serves again"),
            name,
        };
        assert!(
            second.live(*part).await,
            "{point}: not recovered\n{}",
            stage.log()
        );
        second.at.kill();
    }
    let at = stage.start(None).expect("it serves");
    stage
        .until_count("callback_inbox WHERE applied_at IS NULL", 0)
        .await;
    let books = stage.books(&at).await;
    assert!(books.agree(), "{}", books.shown(20));
}

/// On SQLite.
#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn every_point_on_sqlite() {
    all_points(common::sqlite).await;
}

/// On PostgreSQL.
#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn every_point_on_postgres() {
    all_points(common::postgres).await;
}
