//! Refunds of which nobody knows what became: looked up, never guessed, never sent again blindly (`spec/atom.md` 11.3).

use commerce::clock::{DAY_MS, MINUTE_MS};
use serde_json::json;

use super::World;
use super::desk::{ListFate, RefundFate};
use super::refunds::check_refunds;
use crate::common;

/// A refund whose call ended in doubt; the order and its payment.
async fn in_doubt(world: &World, reference: &str, fate: RefundFate) -> (String, String) {
    let (order_id, merch_txn_id) = world.paid(reference).await;
    world.gateway.next_refund(&merch_txn_id, fate);
    let reply = world
        .refund(&order_id, reference, json!({}))
        .await
        .expect("answered");
    assert_eq!(
        (reply.status, &reply.body["state"]),
        (202, &json!("unknown"))
    );
    let still = world
        .refund(&order_id, reference, json!({}))
        .await
        .expect("the same");
    assert_eq!(still.status, 202, "the key looks again, and sends nothing");
    (order_id, merch_txn_id)
}

async fn refund_of(world: &World, order_id: &str) -> (String, String) {
    let refund = world.view(order_id).await["refunds"][0].clone();
    (
        super::text(&refund, "refund_id"),
        super::text(&refund, "state"),
    )
}

/// The answer was lost and the refund was done: the first look-up, after a minute, finds it.
#[tokio::test]
async fn a_lost_answer_is_found() {
    for test in common::stores().await {
        let world = World::new(&test);
        let (order_id, _) = in_doubt(&world, "lost", RefundFate::LostAfter).await;
        world.clock.advance(MINUTE_MS - 1);
        world.follow_refunds().await;
        assert_eq!(refund_of(&world, &order_id).await.1, "unknown");
        world.clock.advance(1);
        world.follow_refunds().await;
        assert_eq!(
            refund_of(&world, &order_id).await.1,
            "accepted",
            "{}",
            test.name()
        );
        let reply = world
            .refund(&order_id, "lost", json!({}))
            .await
            .expect("known now");
        assert_eq!(
            (reply.status, &reply.body["order_status"]),
            (201, &json!("refunded"))
        );
        assert_eq!(world.gateway.desk(|desk| desk.arrived), 1);
        check_refunds(&world, test.name()).await;
    }
}

/// Not done, and not listed by three definite answers: an operator decides; the reservation stays until then, and two
/// operators may free it or send it again, under the same number.
#[tokio::test]
async fn what_is_not_listed_waits_for_an_operator() {
    for test in common::stores().await {
        let world = World::new(&test);
        for action in ["mark_rejected", "resend"] {
            let (order_id, _) = in_doubt(&world, action, RefundFate::LostBefore).await;
            let (id, _) = refund_of(&world, &order_id).await;
            if action == "resend" {
                let early = world
                    .both_resolve_refund(&id, action)
                    .await
                    .expect_err("not looked up yet");
                assert_eq!(early.code(), "invalid_state");
            }
            for minutes in [1, 4, 10] {
                world.clock.advance(minutes * MINUTE_MS);
                world.follow_refunds().await;
            }
            assert_eq!(
                world.issues().await,
                ["refund_not_listed"],
                "{}",
                test.name()
            );
            let taken = world.refund(&order_id, "more", json!({"amount": 1})).await;
            assert_eq!(
                taken.expect_err("reserved").code(),
                "refund_exceeds_balance"
            );
            let done = world.both_resolve_refund(&id, action).await;
            assert_eq!(done.expect("decided").body["result"], "done");
            world.follow_refunds().await;
            let end = if action == "resend" {
                "accepted"
            } else {
                "rejected"
            };
            assert_eq!(refund_of(&world, &order_id).await, (id, end.to_owned()));
            assert_eq!(world.issues().await, Vec::<String>::new());
        }
        check_refunds(&world, test.name()).await;
    }
}

/// With the switch for it, what is not listed is sent once more by itself under the same number, and only once; a second
/// doubt is a person's.
#[tokio::test]
async fn one_automatic_resend() {
    for test in common::stores().await {
        let world = World::with(&test, |settings| settings.refund_auto_resend = true);
        let (order_id, _) = in_doubt(&world, "resent", RefundFate::LostBefore).await;
        let (other, merch_txn_id) = in_doubt(&world, "doubt", RefundFate::LostBefore).await;
        world
            .gateway
            .next_refund(&merch_txn_id, RefundFate::LostBefore);
        for minutes in [1, 4, 10] {
            world.clock.advance(minutes * MINUTE_MS);
            world.follow_refunds().await;
        }
        assert_eq!(
            refund_of(&world, &order_id).await.1,
            "accepted",
            "{}",
            test.name()
        );
        assert_eq!(refund_of(&world, &other).await.1, "unknown");
        assert_eq!(world.issues().await, ["refund_undecided"]);
        world.clock.advance(4 * DAY_MS);
        world.follow_refunds().await;
        assert_eq!(
            world.gateway.desk(|desk| desk.arrived),
            4,
            "not a third time"
        );
        check_refunds(&world, test.name()).await;
    }
}

/// A list that shows another amount, a hundredfold one, or unknown words changes nothing, and a person is told.
#[tokio::test]
async fn lists_that_contradict() {
    for (fate, kind, state) in [
        (ListFate::Hundredfold, "refund_amount_mismatch", "unknown"),
        (ListFate::OtherAmount, "refund_amount_mismatch", "unknown"),
        (
            ListFate::Says("Queued at the bank"),
            "refund_remarks_unknown",
            "accepted",
        ),
        (ListFate::OurFault, "refund_configuration", "unknown"),
    ] {
        for test in common::stores().await {
            let world = World::new(&test);
            let reference = format!("list{fate:?}").replace(['(', ')', '"', ' '], "");
            let (order_id, merch_txn_id) =
                in_doubt(&world, &reference, RefundFate::LostAfter).await;
            world.gateway.list_says(&merch_txn_id, Some(fate));
            world.clock.advance(MINUTE_MS);
            world.follow_refunds().await;
            assert_eq!(
                refund_of(&world, &order_id).await.1,
                state,
                "{}: {fate:?}",
                test.name()
            );
            assert!(world.issues().await.contains(&kind.to_owned()), "{fate:?}");
            let (id, _) = refund_of(&world, &order_id).await;
            let resend = world.both_resolve_refund(&id, "resend").await;
            assert_eq!(
                resend.expect_err("it is listed, or nobody knows").code(),
                "invalid_state"
            );
            world.gateway.list_says(&merch_txn_id, None);
            world.until_quiet().await;
            assert_eq!(refund_of(&world, &order_id).await.1, "processed");
            check_refunds(&world, test.name()).await;
        }
    }
}

/// No definite answer up to T+3: asked hourly, then daily, and then a person; the reservation is never freed by time.
#[tokio::test]
async fn silence_never_frees() {
    for test in common::stores().await {
        let world = World::new(&test);
        let (order_id, merch_txn_id) = in_doubt(&world, "silent", RefundFate::LostAfter).await;
        world
            .gateway
            .list_says(&merch_txn_id, Some(ListFate::Silent));
        world.until_quiet().await;
        assert_eq!(
            refund_of(&world, &order_id).await.1,
            "unknown",
            "{}",
            test.name()
        );
        assert_eq!(world.issues().await, ["refund_undecided"]);
        assert!(world.clock.now_ms() >= super::START_MS + 3 * DAY_MS);
        let taken = world.refund(&order_id, "more", json!({"amount": 1})).await;
        assert_eq!(
            taken.expect_err("reserved").code(),
            "refund_exceeds_balance"
        );
        check_refunds(&world, test.name()).await;
    }
}

/// One refund that cannot be worked on does not keep the others from being followed.
#[tokio::test]
async fn a_broken_refund_is_alone() {
    for test in common::stores().await {
        let world = World::new(&test);
        let (broken, _) = in_doubt(&world, "broken", RefundFate::LostAfter).await;
        let (sound, _) = in_doubt(&world, "sound", RefundFate::LostAfter).await;
        let (id, _) = refund_of(&world, &broken).await;
        // A row as nobody of ours writes it: a line whose state is no word.
        let line = "INSERT INTO refund_lines (refund_id, prod_name, prod_refund_id, amount, state) \
             VALUES ($1, 'TEA', 'X', 1, 'odd')";
        let put = sqlx::query(line).bind(&id).execute(test.store.pool()).await;
        put.expect("a broken line");
        world.clock.advance(MINUTE_MS);
        let report = world.flow.run_refund_followup_once().await.expect("runs");
        assert_eq!((report.failed, report.looked_up), (1, 1), "{}", test.name());
        assert_eq!(refund_of(&world, &sound).await.1, "accepted");
    }
}

/// A refund that may still arrive is not released, whatever two people say; later it is theirs to say.
#[tokio::test]
async fn not_released_while_it_may_arrive() {
    for test in common::stores().await {
        let world = World::new(&test);
        let (order_id, _) = in_doubt(&world, "early", RefundFate::LostBefore).await;
        let (refund, _) = refund_of(&world, &order_id).await;
        world.clock.advance(15 * MINUTE_MS - 1);
        let early = world.both_resolve_refund(&refund, "mark_rejected").await;
        assert_eq!(early.expect_err("too early").code(), "invalid_state");
        let more = world.refund(&order_id, "more", json!({"amount": 1})).await;
        assert_eq!(more.expect_err("reserved").code(), "refund_exceeds_balance");
        world.clock.advance(1);
        world
            .both_resolve_refund(&refund, "mark_rejected")
            .await
            .expect("they know");
        assert_eq!(refund_of(&world, &order_id).await.1, "rejected");
        check_refunds(&world, test.name()).await;
    }
}
