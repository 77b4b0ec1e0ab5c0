//! Atom takes a payment back: orders that nobody paid go on, and the money does not go back twice.

use commerce::clock::MINUTE_MS;
use serde_json::json;
use sqlx::Row;

use super::World;
use super::desk::RefundFate;
use super::refunds::check_refunds;
use crate::common;

/// A payment that went back before we knew of it stands in nobody's way: the customer pays again, the merchant cancels, the
/// order expires.
#[tokio::test]
async fn a_reversal_of_an_unpaid_order() {
    for test in common::stores().await {
        let world = World::new(&test);
        let mut orders = Vec::new();
        for reference in ["again", "cancelled", "expiring"] {
            let (order_id, merch_txn_id) = world.at_checkout(reference).await;
            world.gateway.pay(&merch_txn_id);
            world.gateway.reverse(&merch_txn_id);
            orders.push(order_id);
        }
        world.clock.advance(2 * MINUTE_MS);
        world.jobs().await;
        for order_id in &orders {
            assert_eq!(
                world.state(order_id).await,
                ("pending".into(), "reversed".into()),
                "{}",
                test.name()
            );
        }
        world
            .start(&orders[0], "second", json!({}))
            .await
            .expect("pays again");
        world
            .flow
            .cancel(&world.who, &orders[1])
            .await
            .expect("nothing is open");
        world.until_quiet().await;
        for order_id in &orders {
            assert_eq!(
                world.state(order_id).await.0,
                "cancelled",
                "{}",
                test.name()
            );
        }
    }
}

/// A refund that has not left us when Atom takes the payment back is not sent any more, and one of unknown fate not again.
#[tokio::test]
async fn a_reversed_payment_is_not_refunded() {
    for test in common::stores().await {
        let world = World::with(&test, |settings| settings.refund_auto_resend = true);
        let (unsent, first) = world.paid("unsent").await;
        let (unknown, second) = world.paid("unknown").await;
        world.jobs().await;
        world.gateway.next_refund(&first, RefundFate::NotSent);
        world.gateway.next_refund(&second, RefundFate::LostBefore);
        let asked = world.refund(&unsent, "r", json!({})).await;
        assert_eq!(asked.expect_err("not sent").status(), 503);
        let asked = world.refund(&unknown, "r", json!({})).await;
        assert_eq!(asked.expect("nobody knows").status, 202);
        for (order_id, merch_txn_id) in [(&unsent, &first), (&unknown, &second)] {
            world.gateway.reverse(merch_txn_id);
            world.ask_now(order_id).await;
            assert_eq!(
                world.state(order_id).await,
                ("cancelled".into(), "reversed".into()),
                "{}",
                test.name()
            );
        }
        assert_eq!(
            world.issues().await,
            ["reversed_and_refunded", "reversed_and_refunded"]
        );
        world.follow_refunds().await;
        for minutes in [1, 5, 10] {
            world.clock.advance(minutes * MINUTE_MS);
            world.follow_refunds().await;
        }
        let arrived = world.gateway.desk(|desk| desk.arrived);
        assert_eq!(arrived, 1, "{}: only what was lost", test.name());
        let states = sqlx::query("SELECT state FROM refunds ORDER BY state");
        let states = states.fetch_all(test.store.pool()).await.expect("refunds");
        let states: Vec<String> = states.iter().map(|row| row.get("state")).collect();
        assert_eq!(states, ["rejected", "unknown"]);
        assert!(
            world
                .issues()
                .await
                .contains(&"refund_undecided".to_owned())
        );
        let reply = world.refund(&unsent, "r", json!({})).await;
        let reply = reply.expect("it is answered").body;
        assert_eq!(reply["state"], "rejected", "{}", test.name());
        check_refunds(&world, test.name()).await;
    }
}

/// Somebody is told when money that Atom takes back was, in part or in whole, given back before: of a paid order, of a
/// refunded one, and of a late capture.
#[tokio::test]
async fn what_may_have_gone_back_twice() {
    for test in common::stores().await {
        let world = World::new(&test);
        let (part, first) = world.paid("part").await;
        let (whole, second) = world.paid("whole").await;
        let (late, third) = world.at_checkout("late").await;
        world.jobs().await;
        let ask = json!({"amount": 1_000});
        world.refund(&part, "r", ask).await.expect("accepted");
        world
            .refund(&whole, "r", json!({}))
            .await
            .expect("accepted");
        world.clock.advance(16 * MINUTE_MS);
        world.flow.run_requery_once().await.expect("asks");
        world
            .flow
            .cancel(&world.who, &late)
            .await
            .expect("nobody paid");
        world.clock.advance(1_000);
        world.gateway.pay(&third);
        world.call_back(&world.gateway.message(&third)).await;
        world.clock.advance(10_000);
        world.jobs().await;
        world.follow_refunds().await;
        assert_eq!(world.count("refunds WHERE state = 'accepted'").await, 3);
        for (order_id, merch_txn_id) in [(&part, &first), (&whole, &second), (&late, &third)] {
            world.gateway.reverse(merch_txn_id);
            world.ask_now(order_id).await;
            assert_eq!(world.state(order_id).await.1, "reversed", "{}", test.name());
        }
        assert_eq!(
            world.issues().await,
            ["reversed_and_refunded"; 3],
            "{}",
            test.name()
        );
        assert_eq!(world.state(&whole).await.0, "refunded");
    }
}
