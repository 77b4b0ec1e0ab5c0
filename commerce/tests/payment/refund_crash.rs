//! A crash at every point of the refund path: the process ends there, another one takes over, and nothing is paid back
//! twice, lost, or left reserved for ever.

use std::collections::BTreeSet;
use std::time::Duration;

use commerce::atom::flow::refunds::POINTS;
use serde_json::json;
use sqlx::Row;

use super::World;
use super::crashes::{Story, at_every_point};
use super::desk::RefundFate;
use super::refunds::check_refunds;
use crate::common;

/// Orders of [`life`], and the state in which their only refund ends.
const ENDS: [(&str, &str); 6] = [
    ("whole", "processed"),
    ("lost", "processed"),
    ("gone", "rejected"),
    ("unsent", "processed"),
    ("hung", "processed"),
    ("late", "processed"),
];

/// Everything that happens to refunds, with the same keys every time: it can be run again from the start. What requests
/// answer is not looked at; the books are.
async fn life(world: &World) {
    for (reference, _) in ENDS {
        prepare(world, reference).await;
    }
    let orders = by_reference(world).await;
    for (reference, order_id, merch_txn_id) in &orders {
        let fate = match reference.as_str() {
            "lost" => Some(RefundFate::LostAfter),
            "gone" => Some(RefundFate::LostBefore),
            "unsent" => Some(RefundFate::NotSent),
            "hung" => Some(RefundFate::Hangs),
            "late" | "double" => continue,
            _ => None,
        };
        let sent = format!("refunds WHERE order_id = '{order_id}' AND attempts > 0");
        if let Some(fate) = fate
            && world.count(&sent).await == 0
        {
            world.gateway.next_refund(merch_txn_id, fate);
        }
        let before = world.gateway.desk(|desk| desk.arrived);
        let asking = world.refund(order_id, "refund", json!({}));
        if reference == "hung" {
            // Its caller gives it up when the call is at Atom: that is what a process leaves that is gone.
            let arrived = async {
                while world.gateway.desk(|desk| desk.arrived) == before {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::select! {
                answer = asking => drop(answer),
                () = arrived => {}
            }
        } else {
            drop(asking.await);
        }
    }
    surplus(world).await;
    // Another process starts, and finds what the hung call left.
    drop(world.flow.recover_refunds_at_start().await);
    for minutes in [1, 4, 10] {
        world.clock.advance(minutes * 60_000);
        world.follow_refunds().await;
    }
    drop(world.flow.recover_refunds_at_start().await);
    for (reference, order_id, _) in &orders {
        let refund = world.view(order_id).await["refunds"][0].clone();
        let Some(id) = refund["refund_id"].as_str() else {
            continue;
        };
        if reference == "gone" {
            drop(world.both_resolve_refund(id, "mark_rejected").await);
        } else if refund["state"] == "unknown" {
            // Of a call that was marked and never made nobody but an operator can know that it may be made again.
            drop(world.both_resolve_refund(id, "resend").await);
        }
    }
    world.until_quiet().await;
}

/// An order with a confirmed payment; for `late` one that comes after the order was cancelled.
async fn prepare(world: &World, reference: &str) {
    let order_id = world.order(reference).await;
    let Ok(reply) = world.start(&order_id, reference, json!({})).await else {
        return;
    };
    let merch_txn_id = super::text(&reply.body, "merch_txn_id");
    if reference == "late" {
        world.clock.advance(16 * 60_000);
        world.flow.run_requery_once().await.expect("asks");
        drop(world.flow.cancel(&world.who, &order_id).await);
    }
    world.gateway.pay_once(&merch_txn_id);
    world.call_back(&world.gateway.message(&merch_txn_id)).await;
    world.flow.run_requery_once().await.expect("asks");
}

/// A payment that was captured twice, whose surplus two operators give back.
async fn surplus(world: &World) {
    prepare(world, "double").await;
    let orders = by_reference(world).await;
    let double = orders.iter().find(|order| order.0 == "double");
    let (_, _, merch_txn_id) = double.expect("it was ordered");
    if world.gateway.ledger()[merch_txn_id].captures.len() < 2 {
        world.gateway.pay(merch_txn_id);
    }
    let mut second = world.gateway.message(merch_txn_id);
    second.atom_txn_id = world.gateway.ledger()[merch_txn_id].captures[1].clone();
    world.call_back(&second).await;
    for issue in world.issues_of("duplicate_capture").await {
        drop(world.both_resolve_issue(&issue, "refund_surplus").await);
    }
}

/// Reference, order and the attempt that is or was tried; in the order of [`ENDS`], so that every run meets the same.
async fn by_reference(world: &World) -> Vec<(String, String, String)> {
    let rows = sqlx::query(
        "SELECT o.merchant_order_ref, o.id, a.merch_txn_id FROM orders o \
         JOIN payment_attempts a ON a.order_id = o.id",
    );
    let rows = rows
        .fetch_all(world.flow.store.pool())
        .await
        .expect("orders");
    let read = rows.iter().map(|row| {
        (
            row.get("merchant_order_ref"),
            row.get("id"),
            row.get("merch_txn_id"),
        )
    });
    let mut read: Vec<(String, String, String)> = read.collect();
    let place = |reference: &str| ENDS.iter().position(|end| end.0 == reference);
    read.sort_by_key(|(reference, ..)| place(reference).unwrap_or(ENDS.len()));
    read
}

async fn check(world: &World, place: &str) {
    check_refunds(world, place).await;
    for (reference, end) in ENDS {
        let what = format!(
            "refunds r JOIN orders o ON o.id = r.order_id \
             WHERE o.merchant_order_ref = '{reference}' AND r.state = '{end}'"
        );
        assert_eq!(
            world.count(&what).await,
            1,
            "{place}: {reference} is not {end}"
        );
    }
    assert_eq!(world.count("refunds").await, 7, "{place}");
    assert_eq!(
        world
            .count("refunds WHERE surplus = 1 AND state = 'processed'")
            .await,
        1,
        "{place}"
    );
    assert_eq!(world.issues().await, Vec::<String>::new(), "{place}");
    let running = "idempotency_keys WHERE state = 'running' AND route LIKE '%/refunds'";
    world
        .flow
        .recover_refunds_at_start()
        .await
        .expect("recovers");
    assert_eq!(
        world.count(running).await,
        0,
        "{place}: an answer was not stored"
    );
}

/// All points of the table are reached by the life above, and of the refund path no others.
#[tokio::test]
async fn every_point_of_refunds_is_in_the_table() {
    let test = common::sqlite().await;
    let world = World::new(&test);
    life(&world).await;
    check(&world, "no crash").await;
    let payments: BTreeSet<&str> = commerce::atom::flow::POINTS.iter().copied().collect();
    let seen: BTreeSet<&str> = world.points.seen().difference(&payments).copied().collect();
    assert_eq!(seen, POINTS.iter().copied().collect());
}

/// The life of refunds.
struct Refunds;

impl Story for Refunds {
    const POINTS: &'static [&'static str] = POINTS;

    async fn life(world: &World) {
        life(world).await;
    }

    async fn take_over(first: &World, second: &World) {
        // What was to happen to a call that was never made happens to no other call.
        first.gateway.desk(|desk| desk.calls.clear());
        second.clock.advance(130_000);
        let recovered = second.flow.recover_refunds_at_start().await;
        recovered.expect("recovers");
    }

    async fn check(world: &World, place: &str) {
        check(world, place).await;
    }
}

/// A crash at every point on SQLite.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_every_point_of_refunds_on_sqlite() {
    at_every_point::<Refunds, _>(common::sqlite).await;
}

/// A crash at every point on PostgreSQL.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_every_point_of_refunds_on_postgres() {
    at_every_point::<Refunds, _>(common::postgres).await;
}
