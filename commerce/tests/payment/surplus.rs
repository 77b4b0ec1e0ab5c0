//! More captures than an order needs, in whatever order a status answer lists them.

use commerce::clock::{DAY_MS, MINUTE_MS};
use serde_json::json;

use super::World;
use super::desk::RefundFate;
use crate::common;

/// A second capture neither takes the confirmation from the first one nor is it lost, wherever it stands in the list.
#[tokio::test]
async fn the_payment_is_confirmed_beside_a_second_capture() {
    for test in common::stores().await {
        let world = World::new(&test);
        for newest_first in [false, true] {
            let (order_id, merch_txn_id) = world.paid(&format!("beside{newest_first}")).await;
            let first = world.view(&order_id).await["attempts"][0]["atom_txn_id"].clone();
            let second = world.gateway.pay(&merch_txn_id);
            world
                .gateway
                .change(&merch_txn_id, |txn| txn.newest_first = newest_first);
            world.jobs().await;
            let view = world.view(&order_id).await;
            let place = format!("{} {newest_first}", test.name());
            assert!(view["confirmed_at"].is_string(), "{place}: {view}");
            assert_eq!(view["attempts"][0]["atom_txn_id"], first, "{place}");
            let details = world.details_of("duplicate_capture").await;
            let told = details
                .iter()
                .find(|told| told["atom_txn_id"] == json!(second))
                .unwrap_or_else(|| panic!("{place}: {details:?}"));
            assert_eq!(told["first_atom_txn_id"], first, "{place}");
            assert_eq!(details.len(), 1 + usize::from(newest_first), "{place}");
            world.flow.ship(&world.who, &order_id).await.expect("ships");
        }
    }
}

/// Atom takes the payment back and keeps a second capture: the order is not paid by what went back, and the second one is
/// still to be returned.
#[tokio::test]
async fn a_reversal_beside_a_second_capture() {
    for test in common::stores().await {
        let world = World::new(&test);
        let (order_id, merch_txn_id) = world.paid("reversed").await;
        world.jobs().await;
        let second = world.gateway.pay(&merch_txn_id);
        world.gateway.reverse(&merch_txn_id);
        world.clock.advance(3 * DAY_MS);
        world.jobs().await;
        assert_eq!(
            world.state(&order_id).await,
            ("cancelled".into(), "reversed".into()),
            "{}",
            test.name()
        );
        assert_eq!(world.issues().await, ["duplicate_capture"]);
        let issue = world.issues_of("duplicate_capture").await[0].clone();
        world
            .both_resolve_issue(&issue, "refund_surplus")
            .await
            .expect("carried out");
        world.follow_refunds().await;
        let paid = world.gateway.desk(|desk| desk.paid.clone());
        assert_eq!(paid.len(), 1, "{}", test.name());
        assert_eq!(paid[0].atom_txn_id, second);
        assert_eq!(world.issues().await, Vec::<String>::new());
    }
}

/// A try that failed and two captures in one answer: the one that pays is not the one that is too many.
#[tokio::test]
async fn two_captures_after_a_failure() {
    for test in common::stores().await {
        let world = World::new(&test);
        let (order_id, merch_txn_id) = world.at_checkout("failed").await;
        let first = world.gateway.pay(&merch_txn_id);
        let mut failed = world.gateway.message(&merch_txn_id);
        (failed.code, failed.message) = ("OTS0603", "FAILED");
        world.call_back(&failed).await;
        assert_eq!(world.state(&order_id).await.1, "failed");
        let second = world.gateway.pay(&merch_txn_id);
        world
            .gateway
            .change(&merch_txn_id, |txn| txn.newest_first = true);
        world.clock.advance(16 * MINUTE_MS);
        world.flow.run_requery_once().await.expect("asks");
        let view = world.view(&order_id).await;
        assert_eq!(view["status"], "paid", "{}", test.name());
        assert_eq!(view["attempts"][0]["atom_txn_id"], json!(second));
        let details = world.details_of("duplicate_capture").await;
        assert_eq!(details.len(), 1);
        assert_eq!(details[0]["atom_txn_id"], json!(first), "{}", test.name());
        assert_eq!(details[0]["first_atom_txn_id"], json!(second));
    }
}

/// What becomes of another payment under the same attempt says nothing about the one that paid: neither that it went back, nor that it
/// failed or waits.
#[tokio::test]
async fn news_of_another_payment() {
    for test in common::stores().await {
        let world = World::new(&test);
        let (order_id, merch_txn_id) = world.paid("another").await;
        let second = world.gateway.pay(&merch_txn_id);
        let mut told = world.gateway.message(&merch_txn_id);
        told.atom_txn_id.clone_from(&second);
        world.call_back(&told).await;
        assert_eq!(world.issues().await, ["duplicate_capture"]);
        for (number, code) in [
            (second, "OTS0001"),
            ("11000000700000".to_owned(), "OTS0600"),
            ("11000000700001".to_owned(), "OTS0551"),
        ] {
            world
                .gateway
                .change(&merch_txn_id, |txn| txn.lists_only = Some((number, code)));
            world.ask_now(&order_id).await;
            let place = format!("{} {code}", test.name());
            assert_eq!(
                world.state(&order_id).await,
                ("paid".into(), "success".into()),
                "{place}"
            );
            assert_eq!(world.issues().await, Vec::<String>::new(), "{place}");
            let view = world.view(&order_id).await;
            assert!(view["confirmed_at"].is_null(), "{place}: {view}");
        }
        world
            .gateway
            .change(&merch_txn_id, |txn| txn.lists_only = None);
        world.ask_now(&order_id).await;
        let view = world.view(&order_id).await;
        assert!(view["confirmed_at"].is_string(), "{view}");
        world.flow.ship(&world.who, &order_id).await.expect("ships");
    }
}

/// A payment of another amount holds the attempt, and a second one is right. Once the first is given back, with the amount that Atom
/// named, the second pays the order: nothing is left on hold.
#[tokio::test]
async fn a_hold_by_another_payment() {
    for test in common::stores().await {
        let world = World::new(&test);
        let (order_id, merch_txn_id) = world.at_checkout("held").await;
        let first = world.gateway.pay(&merch_txn_id);
        let mut wrong = world.gateway.message(&merch_txn_id);
        (wrong.amount, wrong.total) = (9_999, 9_999);
        world.call_back(&wrong).await;
        let second = world.gateway.pay(&merch_txn_id);
        let mut right = world.gateway.message(&merch_txn_id);
        right.atom_txn_id.clone_from(&second);
        world.call_back(&right).await;
        let view = world.view(&order_id).await;
        assert_eq!(view["status"], "pending", "{view}");
        assert_eq!(view["holds"], json!(["amount_mismatch"]), "{view}");
        world.gateway.change(&merch_txn_id, |txn| {
            txn.lists_only = Some((second.clone(), "OTS0000"));
        });
        world.ask_now(&order_id).await;
        let issue = world.issues_of("amount_mismatch").await[0].clone();
        world
            .both_resolve_issue(&issue, "refund_surplus")
            .await
            .expect("carried out");
        world.follow_refunds().await;
        let paid = world.gateway.desk(|desk| desk.paid.clone());
        assert_eq!(paid.len(), 1, "{}", test.name());
        assert_eq!((&paid[0].atom_txn_id, paid[0].amount), (&first, 9_999));
        let view = world.view(&order_id).await;
        assert_eq!(view["status"], "paid", "{}: {view}", test.name());
        assert_eq!(view["holds"], json!([]), "{view}");
        assert_eq!(view["attempts"][0]["atom_txn_id"], json!(second));
        assert_eq!(world.issues().await, Vec::<String>::new());
        // A query has agreed with the second one while the first was in its way.
        world.flow.ship(&world.who, &order_id).await.expect("ships");
    }
}

/// Atom takes a further capture back whose refund was asked for: one that has not left us is not sent any more, and one that has may have
/// given it back twice, which is told.
#[tokio::test]
async fn a_surplus_that_is_reversed() {
    for sent in [false, true] {
        for test in common::stores().await {
            let world = World::new(&test);
            let place = format!("{} {sent}", test.name());
            let (order_id, merch_txn_id) = world.paid("taken-back").await;
            let second = world.gateway.pay(&merch_txn_id);
            let mut told = world.gateway.message(&merch_txn_id);
            told.atom_txn_id.clone_from(&second);
            world.call_back(&told).await;
            let issue = world.issues_of("duplicate_capture").await[0].clone();
            if !sent {
                world
                    .gateway
                    .next_refund(&merch_txn_id, RefundFate::NotSent);
            }
            world
                .both_resolve_issue(&issue, "refund_surplus")
                .await
                .expect("queued");
            world.follow_refunds().await;
            world.gateway.change(&merch_txn_id, |txn| {
                txn.lists_only = Some((second.clone(), "OTS0001"));
            });
            world.ask_now(&order_id).await;
            world.ask_now(&order_id).await;
            world.clock.advance(5 * MINUTE_MS);
            world.follow_refunds().await;
            let (left, refunds) = if sent {
                (vec!["reversed_and_refunded"], 1)
            } else {
                (Vec::new(), 0)
            };
            assert_eq!(world.issues().await, left, "{place}");
            let paid = world.gateway.desk(|desk| desk.paid.len());
            assert_eq!(paid, refunds, "{place}");
            assert_eq!(
                world.state(&order_id).await,
                ("paid".into(), "success".into()),
                "{place}"
            );
        }
    }
}
