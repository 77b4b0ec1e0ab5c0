//! News for merchants: each event reaches them at least once, whatever their side does meanwhile.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use commerce::config::MerchantSettings;
use commerce::notify::{Notifier, NotifyReport};
use serde_json::{Value, json};

use super::World;
use crate::common;

/// What a merchant heard, and how it answers next; 200 after these.
#[derive(Default)]
struct Ear {
    heard: Vec<Value>,
    answers: Vec<u16>,
}

async fn hear(State(ear): State<Arc<Mutex<Ear>>>, body: axum::Json<Value>) -> StatusCode {
    let mut ear = ear.lock().expect("no test panics inside");
    ear.heard.push(body.0);
    let answer = ear.answers.pop().unwrap_or(200);
    StatusCode::from_u16(answer).expect("a status")
}

/// A merchant's server; its address.
async fn merchant(ear: Arc<Mutex<Ear>>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("its number");
    let router = Router::new().route("/news", post(hear)).with_state(ear);
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}/news")
}

fn notifier(world: &World, store: commerce::store::Store, url: Option<&str>) -> Notifier {
    let shop = MerchantSettings {
        id: "shop".to_owned(),
        return_origins: Vec::new(),
        notify_url: url.map(str::to_owned),
    };
    Notifier::new(store, world.clock.clone(), &[shop]).expect("a client")
}

/// In order; a refused event comes again after a wait, with the same id, and what follows waits for it; two processes do not both
/// send one; without an address nothing is sent.
#[tokio::test]
async fn each_event_at_least_once() {
    for test in common::stores().await {
        let world = World::new(&test);
        let ear = Arc::new(Mutex::new(Ear::default()));
        let url = merchant(ear.clone()).await;
        let silent = notifier(&world, test.store.clone(), None);
        let ours = notifier(&world, test.store.clone(), Some(&url));
        let theirs = notifier(&world, test.again().await, Some(&url));
        let (order_id, _) = world.paid("news").await;
        world.jobs().await;
        world.flow.ship(&world.who, &order_id).await.expect("ships");
        let idle = NotifyReport::default();
        assert_eq!(silent.run_once().await.expect("runs"), idle);
        ear.lock().expect("free").answers = vec![500];
        let (a, b) = tokio::join!(ours.run_once(), theirs.run_once());
        let (a, b) = (a.expect("runs"), b.expect("runs"));
        assert_eq!(
            (a.taken + b.taken, a.refused + b.refused),
            (0, 1),
            "{}",
            test.name()
        );
        assert_eq!(ours.run_once().await.expect("runs"), idle, "it waits");
        world.clock.advance(5_000);
        assert_eq!(ours.run_once().await.expect("runs").taken, 2);
        world
            .refund(&order_id, "r", json!({}))
            .await
            .expect("accepted");
        assert_eq!(ours.run_once().await.expect("runs").taken, 2);
        assert_eq!(ours.run_once().await.expect("runs"), idle);
        let heard = ear.lock().expect("free").heard.clone();
        let events: Vec<&str> = heard
            .iter()
            .map(|event| event["event"].as_str().expect("a word"))
            .collect();
        assert_eq!(
            events,
            [
                "order.paid",
                "order.paid",
                "order.shipped",
                "order.refunded",
                "refund.accepted"
            ]
        );
        assert_eq!(heard[0], heard[1], "the same event again");
        assert_eq!(heard[0]["data"]["order_id"], order_id);
        assert_eq!(world.count("outbox WHERE sent_at IS NULL").await, 0);
    }
}

/// A merchant that does not answer is left alone for a while and keeps no other waiting.
#[tokio::test]
async fn a_silent_merchant_is_in_nobodys_way() {
    for test in common::stores().await {
        let world = World::new(&test);
        let ear = Arc::new(Mutex::new(Ear::default()));
        let url = merchant(ear.clone()).await;
        let nobody = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let silent = format!("http://{}/news", nobody.local_addr().expect("its number"));
        drop(nobody);
        let shop = |id: &str, url: &str| MerchantSettings {
            id: id.to_owned(),
            return_origins: Vec::new(),
            notify_url: Some(url.to_owned()),
        };
        let both = [shop("shop", &url), shop("gone", &silent)];
        let notifier =
            Notifier::new(test.store.clone(), world.clock.clone(), &both).expect("a client");
        for n in 0..60 {
            sqlx::query(
                "INSERT INTO outbox (id, merchant_id, order_id, event, payload, created_at, next_try_at) \
                 VALUES ($1, 'gone', 'o', 'order.cancelled', '{}', 0, 0)",
            )
            .bind(format!("evt_{n:02}"))
            .execute(test.store.pool())
            .await
            .expect("stored");
        }
        world.paid("news").await;
        let first = notifier.run_once().await.expect("runs");
        assert_eq!((first.taken, first.refused), (1, 1), "{}", test.name());
        assert_eq!(
            notifier.run_once().await.expect("runs").refused,
            0,
            "it rests"
        );
        world.clock.advance(5_000);
        assert_eq!(notifier.run_once().await.expect("runs").refused, 1);
        assert_eq!(
            world
                .count("outbox WHERE tries > 0 AND sent_at IS NULL")
                .await,
            2
        );
        world.clock.advance(5_000);
        assert_eq!(
            notifier.run_once().await.expect("runs").refused,
            0,
            "it rests longer"
        );
        let restarted = Notifier::new(
            test.store.clone(),
            world.clock.clone(),
            &[shop("gone", &url)],
        );
        let restarted = restarted.expect("a client");
        while restarted.run_once().await.expect("runs").taken > 0 {}
        world.clock.advance(3_600_000);
        while restarted.run_once().await.expect("runs").taken > 0 {}
        assert_eq!(world.count("outbox WHERE sent_at IS NULL").await, 0);
    }
}
