//! Many at once, through two processes' worth of handles on one database.

use commerce::atom::flow::CallbackAnswer;
use serde_json::json;

use super::{World, order_body};
use crate::common;

/// The double click: one order and one key forty times at once, over two processes. One attempt, one token.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_double_click() {
    for test in common::stores().await {
        let world = World::new(&test);
        let both = [world.clone(), world.another(test.again().await)];
        let body = order_body("click");
        let creates = (0..40).map(|n| {
            let (world, body) = (both[n % 2].clone(), body.clone());
            tokio::spawn(async move {
                world
                    .flow
                    .create_order(&world.who, Some("key"), &body)
                    .await
            })
        });
        for create in creates.collect::<Vec<_>>() {
            if let Err(error) = create.await.expect("runs") {
                assert_eq!(error.code(), "request_in_progress");
            }
        }
        assert_eq!(world.count("orders").await, 1, "{}", test.name());

        let order_id = world.order("click2").await;
        let starts = (0..40).map(|n| {
            let (world, order_id) = (both[n % 2].clone(), order_id.clone());
            // Half of them with one key, half with a key each.
            let key = if n % 4 < 2 {
                "one".to_owned()
            } else {
                format!("own{n}")
            };
            tokio::spawn(async move { world.start(&order_id, &key, json!({})).await })
        });
        let mut tokens = std::collections::BTreeSet::new();
        for start in starts.collect::<Vec<_>>() {
            match start.await.expect("runs") {
                Ok(reply) => drop(tokens.insert(reply.body["merch_txn_id"].to_string())),
                Err(error) => assert_eq!(error.status(), 409, "{error}"),
            }
        }
        assert_eq!(
            (tokens.len(), world.gateway.ledger().len()),
            (1, 1),
            "{}",
            test.name()
        );
        assert_eq!(world.count("payment_attempts").await, 1);
    }
}

/// The same callback a thousand times, and the same news in other words, over two processes: one effect.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_callbacks() {
    for test in common::stores().await {
        let world = World::new(&test);
        let both = [world.clone(), world.another(test.again().await)];
        let (order_id, merch_txn_id) = world.at_checkout("thousand").await;
        world.gateway.pay(&merch_txn_id);
        let message = world.gateway.message(&merch_txn_id);
        let mut other = message.clone();
        other.surcharge = 0;
        other.code = "OTS0000";
        let senders = (0..20).map(|n| {
            let (world, body) = (both[n % 2].clone(), message.body());
            tokio::spawn(async move {
                for _ in 0..50 {
                    let answer = world.flow.receive_callback(&body, "192.0.2.1").await;
                    assert_eq!(answer.expect("taken"), CallbackAnswer::Taken);
                }
            })
        });
        for sender in senders.collect::<Vec<_>>() {
            sender.await.expect("sends");
        }
        world.until_quiet().await;
        assert_eq!(
            world.state(&order_id).await,
            ("paid".into(), "success".into())
        );
        assert_eq!(world.count("callback_inbox").await, 1, "{}", test.name());
        assert_eq!(world.count("outbox WHERE event = 'order.paid'").await, 1);
        assert_eq!(
            world
                .count("audit WHERE what = 'order' AND state_after = 'paid'")
                .await,
            1
        );
        assert_eq!(world.issues().await, Vec::<String>::new());
    }
}
