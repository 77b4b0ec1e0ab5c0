//! Two processes on one database under load, with everything going wrong that may, and each of them killed in turn: nothing
//! is paid or paid back twice, and in the end the books of both sides agree.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::RwLock;

use super::stage::{Commerced, Stage};
use crate::common::{self, TestStore};

/// Orders of a run.
const ORDERS: usize = 150;
/// Orders at a time.
const WORKERS: usize = 8;
/// How often a request is sent again that finds its twin under way, every 50 ms: longer than a call of a process that was
/// killed keeps its order to itself (30 s).
const BUSY_TRIES: usize = 900;
/// At so many finished orders a process is killed, one after the other.
const KILL_EVERY: usize = 30;

/// Faults of every call, with their shares.
fn weather() -> Value {
    let fault = |api: &str, fault: &str, share: f64| json!({"api": api, "fault": fault, "probability": share});
    json!([
        fault("auth", "drop_after", 0.05),
        fault("auth", "empty", 0.05),
        fault("status", "drop_before", 0.1),
        {"api": "status", "fault": "code", "code": "OTS0951", "probability": 0.1},
        fault("refund", "drop_after", 0.2),
        fault("refund", "truncated_hex", 0.1),
        fault("refund_status", "empty", 0.1),
        fault("callback", "lost", 0.1),
        fault("callback", "bad_signature", 0.1),
        {"api": "callback", "fault": "duplicated", "copies": 3, "probability": 0.2},
        fault("callback", "failed_after_success", 0.1),
        fault("pay", "double_capture", 0.03),
    ])
}

/// Both processes; either may be gone for a moment.
struct Pair {
    stage: Stage,
    both: [RwLock<Commerced>; 2],
    done: AtomicUsize,
}

impl Pair {
    /// A merchant's request to one of them, and with the same key to the other if that one is gone or says it is busy.
    async fn post(&self, first: usize, path: &str, key: &str, body: &Value) -> (u16, Value) {
        for n in 0..BUSY_TRIES {
            let at = self.both[(first + n) % 2].read().await;
            let answer = self.stage.post(&at, path, key, body).await;
            let busy = answer.1["code"] == "request_in_progress";
            if answer.0 != 0 && !busy {
                return answer;
            }
            drop(at);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("neither process answers {path}");
    }

    /// One order, and for every second one a refund, asked for at both processes at the same time with one key, and once
    /// more with a key of its own.
    async fn order(&self, number: usize) {
        let reference = format!("S{number}");
        let order = crate::daemon::order(&reference, 10_000);
        let (status, made) = self.post(number, "/v1/orders", &reference, &order).await;
        assert_eq!(status, 201, "{made}");
        let order_id = made["order_id"].as_str().expect("an id").to_owned();
        for n in 0..5 {
            let path = format!("/v1/orders/{order_id}/payments");
            let key = format!("{reference}-{n}");
            let body = json!({"supersede": true});
            let (_, started) = self.post(number + n, &path, &key, &body).await;
            if started["checkout"].is_object() {
                self.stage.act(&started, "success").await;
                break;
            }
        }
        if number.is_multiple_of(2) {
            let path = format!("/v1/orders/{order_id}/refunds");
            let part = json!({"amount": 6_000});
            let ask = |at: usize, key: &'static str| {
                let (path, part) = (path.clone(), part.clone());
                async move { self.post(at, &path, key, &part).await.0 }
            };
            // Not paid yet (the callback is lost), accepted, unknown, over the balance: whatever it is, the books show it.
            tokio::join!(ask(0, "one"), ask(1, "one"), ask(0, "other"));
        }
        self.done.fetch_add(1, Ordering::SeqCst);
    }

    /// Kills one process in the middle of its work, and starts another one in its place.
    async fn kill(&self, which: usize) {
        // Killed while requests run on it: only the handle is taken, when the process is gone.
        let pid = self.both[which].read().await.pid();
        let sent = std::process::Command::new("kill")
            .args(["-KILL", &pid.to_string()])
            .status();
        assert!(sent.expect("kill runs").success());
        let other = self.both[1 - which].read().await.url.clone();
        self.stage.send_callbacks_to(&other);
        let mut place = self.both[which].write().await;
        *place = self.stage.start(None).expect("it serves again");
    }
}

async fn two_processes(test: TestStore) {
    let limits = "queries_per_s_max = 50\nqueries_at_once_max = 50\nattempts_per_hour_max = 100";
    let stage = Stage::new(test, &[("[flow]", limits)]).await;
    let both = [0, 1].map(|_| RwLock::new(stage.start(None).expect("it serves")));
    stage.only_faults(&weather()).await;
    let done = AtomicUsize::new(0);
    let pair = Arc::new(Pair { stage, both, done });
    let next = Arc::new(AtomicUsize::new(0));
    let workers: Vec<_> = (0..WORKERS)
        .map(|_| {
            let (pair, next) = (Arc::clone(&pair), Arc::clone(&next));
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    if number >= ORDERS {
                        break;
                    }
                    pair.order(number).await;
                }
            })
        })
        .collect();
    let mut kills = 0;
    while pair.done.load(Ordering::SeqCst) + KILL_EVERY < ORDERS {
        if pair.done.load(Ordering::SeqCst) >= (kills + 1) * KILL_EVERY {
            pair.kill(kills % 2).await;
            kills += 1;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for worker in workers {
        worker.await.expect("it drives its orders");
    }
    assert!(kills >= 3, "{kills}");
    clear_up(&pair).await;
    let at = pair.both[0].read().await;
    let books = pair.stage.books(&at).await;
    assert!(books.agree(), "{}", books.shown(20));
    let paid = books.orders.get("paid").unwrap_or(&0) + books.orders.get("refunded").unwrap_or(&0);
    assert!(paid as usize > ORDERS / 2, "{}", books.shown(0));
    println!(
        "{kills} kills on {}; {}",
        pair.stage.test.name(),
        books.shown(0)
    );
}

/// The weather clears; what is open is asked for until all is known.
async fn clear_up(pair: &Pair) {
    pair.stage.no_faults().await;
    let open =
        "payment_attempts WHERE atom_token_id IS NOT NULL AND outcome IN ('none', 'pending')";
    let unknown = "refunds WHERE state IN ('requested', 'submitting', 'unknown') AND held IS NULL";
    let unconfirmed = "payment_attempts WHERE outcome = 'success' AND confirmed_at IS NULL";
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        let left = pair.stage.count(open).await
            + pair.stage.count(unknown).await
            + pair.stage.count(unconfirmed).await
            + pair
                .stage
                .count("callback_inbox WHERE applied_at IS NULL")
                .await;
        if left == 0 {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "{left} left\n{}",
            pair.stage.log()
        );
        pair.stage.age(301).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// On PostgreSQL, as it is meant to be run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_on_postgres() {
    two_processes(common::postgres().await).await;
}

/// On one SQLite file, which two processes can share as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_on_sqlite() {
    two_processes(common::sqlite().await).await;
}
