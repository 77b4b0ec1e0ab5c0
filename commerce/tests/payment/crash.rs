//! A crash at every point: the process ends there, another one takes over, and nothing is paid twice or lost.

use std::collections::BTreeSet;
use std::time::Duration;

use commerce::atom::flow::POINTS;
use commerce::atom::wire::codes::Refusal;
use serde_json::json;
use sqlx::Row;

use super::crashes::{Story, at_every_point};
use super::gateway::AuthFate;
use super::{World, order_body};
use crate::common;

/// The orders that are paid in [`life`].
const PAID: [&str; 3] = ["told", "untold", "new-id"];

/// Every kind of thing that happens to orders. It can be run again from the start: that is what a shop does after a crash,
/// with the same keys. What a request answers is not looked at; the invariants are.
async fn life(world: &World) {
    let flow = &world.flow;
    let mut ids = Vec::new();
    for reference in ["told", "untold", "new-id", "gone", "unwanted", "expiring"] {
        let made = flow
            .create_order(&world.who, Some(reference), &order_body(reference))
            .await;
        match made {
            Ok(reply) => ids.push(reply.body["order_id"].as_str().expect("an id").to_owned()),
            Err(error) => panic!("{reference}: {error}"),
        }
    }
    for (reference, id) in PAID.iter().zip(&ids) {
        if *reference == "new-id" {
            world
                .gateway
                .next_auth([AuthFate::Refused(Refusal::NewIdMayPass)]);
        }
        pay(world, id, *reference != "untold").await;
    }
    // A customer's request that hangs until its process is gone.
    world.gateway.next_auth([AuthFate::Hangs]);
    let before = world.gateway.auth_began().len();
    let at_atom = async {
        while world.gateway.auth_began().len() == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        answer = world.start(&ids[3], "gone", json!({})) => drop(answer),
        () = at_atom => {}
    }
    let orphan = super::gateway::Message {
        merch_txn_id: "GNOBODYKNOWSTHIS".to_owned(),
        atom_txn_id: "11000000700001".to_owned(),
        amount: 10_000,
        surcharge: 0,
        total: 10_000,
        currency: "INR",
        code: "OTS0000",
        message: "SUCCESS",
        order_id: "ord_nobody".to_owned(),
        signed: true,
    };
    drop(flow.receive_callback(&orphan.body(), "192.0.2.1").await);
    drop(flow.cancel(&world.who, &ids[4]).await);
    world.until_quiet().await;
    drop(flow.ship(&world.who, &ids[0]).await);
    drop(flow.deliver(&world.who, &ids[0]).await);
}

/// Starts a payment as a page does, with a new key after an answer that asks for one; the customer pays what he gets.
async fn pay(world: &World, order_id: &str, told: bool) {
    for key in ["first", "second", "third"] {
        let started = world.start(order_id, key, json!({})).await;
        let Ok(reply) = started else {
            // The caller of the first request may be held for alive; a customer waits and tries again.
            world.clock.advance(31_000);
            continue;
        };
        let merch_txn_id = reply.body["merch_txn_id"]
            .as_str()
            .expect("an id")
            .to_owned();
        world.gateway.pay_once(&merch_txn_id);
        if told {
            drop(
                world
                    .flow
                    .receive_callback(&world.gateway.message(&merch_txn_id).body(), "")
                    .await,
            );
        }
        return;
    }
}

/// Invariants 1, 2, 5 and 7 of section 21.
async fn check(world: &World, place: &str) {
    let paid = sqlx::query(
        "SELECT o.id, o.status, o.amount, a.merch_txn_id, a.atom_txn_id, a.amount AS paid, a.outcome, a.total_amount \
         FROM orders o JOIN payment_attempts a ON a.id = o.paid_attempt_id",
    )
    .fetch_all(world.flow.store.pool())
    .await
    .expect("paid orders");
    let ledger = world.gateway.ledger();
    let mut settled = BTreeSet::new();
    for row in &paid {
        let (amount, sum): (i64, i64) = (row.get("amount"), row.get("paid"));
        assert_eq!(
            (amount, row.get::<String, _>("outcome").as_str()),
            (sum, "success"),
            "{place}"
        );
        let txn = &ledger[&row.get::<String, _>("merch_txn_id")];
        let number: String = row.get("atom_txn_id");
        assert!(
            txn.captures.contains(&number) && txn.amount == amount,
            "{place}: paid without a payment"
        );
        assert!(
            settled.insert(number),
            "{place}: one payment for two orders"
        );
    }
    let details = sqlx::query("SELECT detail FROM issues WHERE closed_at IS NULL");
    let details = details
        .fetch_all(world.flow.store.pool())
        .await
        .expect("issues");
    let details: String = details
        .iter()
        .map(|row| row.get::<String, _>("detail"))
        .collect();
    for number in ledger.values().flat_map(|txn| &txn.captures) {
        let known = settled.contains(number) || details.contains(number);
        assert!(
            known,
            "{place}: the capture {number} is neither a paid order nor an issue"
        );
    }
    let steps = sqlx::query(
        "SELECT what_id, state_after FROM audit WHERE what = 'attempt' ORDER BY what_id, at, id",
    );
    let steps = steps
        .fetch_all(world.flow.store.pool())
        .await
        .expect("the audit");
    let ranks = ["none", "pending", "failed", "success", "reversed"];
    let mut last = (String::new(), 0);
    for row in &steps {
        let (id, after): (String, String) = (row.get("what_id"), row.get("state_after"));
        let outcome = after.rsplit(' ').next().unwrap_or("none");
        let rank = ranks.iter().position(|rank| *rank == outcome).unwrap_or(0);
        assert!(
            last.0 != id || last.1 <= rank,
            "{place}: the outcome of {id} fell"
        );
        last = (id, rank);
    }
    for reference in PAID {
        let what = format!(
            "orders WHERE merchant_order_ref = '{reference}' AND paid_attempt_id IS NOT NULL"
        );
        assert_eq!(
            world.count(&what).await,
            1,
            "{place}: {reference} is not paid"
        );
    }
    assert_eq!(
        world.count("callback_inbox WHERE applied_at IS NULL").await,
        0,
        "{place}"
    );
}

/// All points of the table are reached by the life above, and no others; after it all invariants hold.
#[tokio::test]
async fn every_point_is_in_the_table() {
    let test = common::sqlite().await;
    let world = World::new(&test);
    life(&world).await;
    check(&world, "no crash").await;
    let table: BTreeSet<&str> = POINTS.iter().copied().collect();
    assert_eq!(world.points.seen(), table);
}

/// The life of payments.
struct Payments;

impl Story for Payments {
    const POINTS: &'static [&'static str] = POINTS;

    async fn life(world: &World) {
        life(world).await;
    }

    async fn take_over(_: &World, second: &World) {
        second.clock.advance(31_000);
    }

    async fn check(world: &World, place: &str) {
        world.until_quiet().await;
        check(world, place).await;
    }
}

/// A crash at every point on SQLite.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_every_point_on_sqlite() {
    at_every_point::<Payments, _>(common::sqlite).await;
}

/// A crash at every point on PostgreSQL.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_every_point_on_postgres() {
    at_every_point::<Payments, _>(common::postgres).await;
}
