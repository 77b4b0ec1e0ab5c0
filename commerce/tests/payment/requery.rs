//! The requery job: lost messages are found, successes confirmed, reversals seen, and nothing is guessed.

use commerce::clock::{DAY_MS, MINUTE_MS};
use serde_json::json;

use super::World;
use super::gateway::{AuthFate, StatusFate};
use crate::common;

/// A lost callback: the order is paid two minutes later, confirmed by the same answer, and checked once more after T+2.
#[tokio::test]
async fn a_lost_callback() {
    for test in common::stores().await {
        let world = World::new(&test);
        let (order_id, merch_txn_id) = world.at_checkout("lost").await;
        world.gateway.pay(&merch_txn_id);
        world.clock.advance(2 * MINUTE_MS - 1);
        assert_eq!(world.flow.run_requery_once().await.expect("runs").asked, 0);
        world.clock.advance(1);
        assert_eq!(
            world.flow.run_requery_once().await.expect("runs").raised,
            1,
            "{}",
            test.name()
        );
        let view = world.view(&order_id).await;
        assert!(view["confirmed_at"].is_string() && view["status"] == "paid");
        world.until_quiet().await;
        assert_eq!((world.gateway.queries(), world.issues().await), (2, vec![]));
    }
}

/// Atom gives a payment back: before shipping the order is cancelled, after it somebody is told.
#[tokio::test]
async fn reversals() {
    for test in common::stores().await {
        let world = World::new(&test);
        let (kept, first) = world.paid("kept").await;
        let (shipped, second) = world.paid("shipped").await;
        world.jobs().await;
        world.flow.ship(&world.who, &shipped).await.expect("ships");
        world.gateway.reverse(&first);
        world.gateway.reverse(&second);
        world.until_quiet().await;
        assert_eq!(
            world.state(&kept).await,
            ("cancelled".into(), "reversed".into())
        );
        assert_eq!(
            world.state(&shipped).await,
            ("shipped".into(), "reversed".into())
        );
        assert_eq!(
            world.issues().await,
            ["reversed_after_ship"],
            "{}",
            test.name()
        );
        assert!(world.clock.now_ms() >= super::START_MS + 2 * DAY_MS);
    }
}

/// Nobody pays: abandoned after the token's life, asked for again at T+1, the order expires. Nobody can tell: an issue.
#[tokio::test]
async fn nobody_pays_and_nobody_knows() {
    for test in common::stores().await {
        let world = World::new(&test);
        let (nobody, _) = world.at_checkout("nobody").await;
        let (unclear, merch_txn_id) = world.at_checkout("unclear").await;
        world.gateway.say(&merch_txn_id, "OTS0551");
        world.until_quiet().await;
        assert_eq!(
            world.state(&nobody).await,
            ("cancelled".into(), "none".into())
        );
        assert_eq!(
            world.view(&nobody).await["attempts"][0]["phase"],
            "abandoned"
        );
        assert_eq!(
            world.state(&unclear).await,
            ("pending".into(), "pending".into())
        );
        assert_eq!(
            world.issues().await,
            ["unresolved_attempt"],
            "{}",
            test.name()
        );
    }
}

/// Somebody is told when T+1 is over and the bank has not decided; it is asked for on, and when it decides nobody is needed.
#[tokio::test]
async fn undecided_after_the_next_day() {
    for test in common::stores().await {
        let world = World::new(&test);
        let (order_id, merch_txn_id) = world.at_checkout("undecided").await;
        let (slip, other) = world.at_checkout("slip").await;
        for id in [&merch_txn_id, &other] {
            world.gateway.say(id, "OTS0551");
        }
        let set = "UPDATE payment_attempts SET asked_channel = 'NR' WHERE merch_txn_id = $1";
        let set = sqlx::query(set).bind(&other).execute(test.store.pool());
        set.await.expect("a slip that is paid at a counter");
        // 05:00 UTC is 10:30 in India, so the day after the next begins there 37 hours and a half later.
        for _ in 0..37 {
            world.clock.advance(60 * MINUTE_MS);
            world.jobs().await;
        }
        assert_eq!(
            world.issues().await,
            Vec::<String>::new(),
            "{}",
            test.name()
        );
        world.clock.advance(30 * MINUTE_MS);
        world.jobs().await;
        assert_eq!(world.issues().await, ["unresolved_attempt"]);
        assert_eq!(
            world
                .count("payment_attempts WHERE next_requery_at IS NOT NULL")
                .await,
            2,
            "{}: asked for on",
            test.name()
        );
        world.gateway.pay(&merch_txn_id);
        world.clock.advance(DAY_MS);
        world.jobs().await;
        assert_eq!(world.state(&order_id).await.0, "paid");
        assert_eq!(
            world.issues().await,
            Vec::<String>::new(),
            "{}",
            test.name()
        );
        world.until_quiet().await;
        assert_eq!(world.state(&slip).await.1, "pending");
        assert_eq!(world.issues().await, ["unresolved_attempt"]);
    }
}

/// A status that denies what a callback said: the outcome does not fall, shipping stays shut, somebody is told.
#[tokio::test]
async fn a_contradiction() {
    for test in common::stores().await {
        let world = World::new(&test);
        let (order_id, merch_txn_id) = world.paid("contradiction").await;
        world.gateway.say(&merch_txn_id, "OTS0600");
        world.jobs().await;
        assert_eq!(
            world.state(&order_id).await,
            ("paid".into(), "success".into())
        );
        assert!(world.flow.ship(&world.who, &order_id).await.is_err());
        assert_eq!(
            world.issues().await,
            ["result_contradicts"],
            "{}",
            test.name()
        );
    }
}

/// No answer, a refused question, a lag, another amount: none of them changes the attempt, and it is asked for again.
#[tokio::test]
async fn answers_that_are_none() {
    for test in common::stores().await {
        let world = World::new(&test);
        let (order_id, merch_txn_id) = world.paid("patience").await;
        world.gateway.next_status([
            StatusFate::Silent,
            StatusFate::OurFault,
            StatusFate::Lagging,
        ]);
        for _ in 0..3 {
            world.jobs().await;
            world.clock.advance(10 * MINUTE_MS);
        }
        assert_eq!(
            world.state(&order_id).await,
            ("paid".into(), "success".into())
        );
        assert_eq!(world.issues().await, ["gateway_configuration"]);
        world.clock.advance(10 * MINUTE_MS);
        world.jobs().await;
        assert!(
            world.view(&order_id).await["confirmed_at"].is_string(),
            "{}",
            test.name()
        );

        let (other, unseen) = world.at_checkout("amount").await;
        world.gateway.pay(&unseen);
        world.gateway.next_status([StatusFate::OtherAmount]);
        world.clock.advance(2 * MINUTE_MS);
        world.jobs().await;
        assert_eq!(world.view(&other).await["holds"][0], "amount_mismatch");
        world.until_quiet().await;
        assert_eq!(
            world.state(&other).await,
            ("pending".into(), "success".into()),
            "held, not paid"
        );
        assert_eq!(world.gateway.ledger()[&merch_txn_id].captures.len(), 1);
    }
}

/// An operator and a customer pull a query to now, and never more than one in ten seconds.
#[tokio::test]
async fn pulled_queries() {
    for test in common::stores().await {
        let world = World::new(&test);
        let (order_id, _) = world.at_checkout("pull").await;
        for _ in 0..5 {
            let reply = world.flow.requery_now(&order_id).await.expect("queued");
            assert_eq!(
                (reply.status, &reply.body["queued"]),
                (202, &serde_json::json!(1))
            );
            world.jobs().await;
        }
        assert_eq!(world.gateway.queries(), 1, "{}", test.name());
        world.clock.advance(10_000);
        world.jobs().await;
        assert_eq!(world.gateway.queries(), 2);
        assert_eq!(
            world
                .flow
                .requery_now("ord_none")
                .await
                .expect_err("unknown")
                .status(),
            404
        );
    }
}

/// A slow process keeps to its pace, and two processes never ask for the same attempt at the same time.
#[tokio::test]
async fn pace_and_leases() {
    for test in common::stores().await {
        let world = World::with(&test, |settings| settings.queries_per_s_max = 5);
        for n in 0..12 {
            world.at_checkout(&format!("pace{n}")).await;
        }
        world.clock.advance(2 * MINUTE_MS);
        let other = world.another(test.again().await);
        let (ours, theirs) =
            tokio::join!(world.flow.run_requery_once(), other.flow.run_requery_once());
        let asked = [ours.expect("runs").asked, theirs.expect("runs").asked];
        assert_eq!(
            (asked, world.gateway.queries()),
            ([5, 5], 10),
            "{}",
            test.name()
        );
        assert_eq!(
            world.flow.run_requery_once().await.expect("runs").asked,
            0,
            "the second is not over"
        );
        world.clock.advance(1_000);
        assert_eq!(world.flow.run_requery_once().await.expect("runs").asked, 2);
    }
}

/// A query that is pulled while AUTH is under way leaves the attempt to its caller: anybody can pull one by posting a
/// word to the callback address, and must not end a customer's start of a payment by it.
#[tokio::test]
async fn a_pull_during_auth() {
    for test in common::stores().await {
        let world = World::new(&test);
        let order_id = world.order("calling").await;
        world.gateway.next_auth([AuthFate::Waits]);
        let starting = tokio::spawn({
            let (world, order_id) = (world.clone(), order_id.clone());
            async move { world.start(&order_id, "calling", json!({})).await }
        });
        world.gateway.auth_waits().await;
        let reply = world.flow.requery_now(&order_id).await.expect("queued");
        assert_eq!(reply.body["queued"], 1);
        world.flow.run_requery_once().await.expect("runs");
        assert_eq!(world.gateway.queries(), 0, "{}", test.name());
        world.gateway.auth_goes_on();
        let started = starting.await.expect("runs").expect("the token is taken");
        assert_eq!(started.body["phase"], "user_payment");

        // A caller that is gone is one after his time.
        let order_id = world.order("gone").await;
        world.gateway.next_auth([AuthFate::Hangs]);
        let hung = world.start(&order_id, "gone", json!({}));
        drop(tokio::time::timeout(std::time::Duration::from_millis(30), hung).await);
        world.clock.advance(31_000);
        world.flow.requery_now(&order_id).await.expect("queued");
        world.flow.run_requery_once().await.expect("runs");
        assert_eq!(world.gateway.queries(), 1, "{}", test.name());
        let view = world.view(&order_id).await;
        assert_eq!(view["attempts"][0]["phase"], "auth_unknown");
    }
}

/// The schedule is what the configuration says.
#[tokio::test]
async fn a_configured_schedule() {
    for test in common::stores().await {
        let world = World::with(&test, |settings| {
            let minutes = "3 4".to_owned();
            settings.requery_minutes = minutes.try_into().expect("rising minutes");
            settings.requery_days = 1;
        });
        let (_, merch_txn_id) = world.at_checkout("schedule").await;
        world.gateway.say(&merch_txn_id, "OTS0551");
        let mut asked = Vec::new();
        for minute in 1..=130 {
            world.clock.advance(MINUTE_MS);
            if world.flow.run_requery_once().await.expect("runs").asked > 0 {
                asked.push(minute);
            }
        }
        assert_eq!(asked, [3, 4, 60, 120], "{}", test.name());
    }
    for wrong in ["", "0 1", "2 2", "5 3", "1441", "a"] {
        let read = commerce::atom::flow::Minutes::try_from(wrong.to_owned());
        assert!(read.is_err(), "{wrong:?}");
    }
}

/// A payment that comes to the bank after a query has seen none is not over: the order is neither cancelled nor does it expire
/// meanwhile, and in the end somebody is told.
#[tokio::test]
async fn a_payment_that_came_late() {
    for test in common::stores().await {
        let world = World::new(&test);
        let mut orders = Vec::new();
        for reference in ["told", "asked"] {
            orders.push(world.at_checkout(reference).await);
        }
        world.clock.advance(16 * MINUTE_MS);
        world.flow.run_requery_once().await.expect("asks");
        for (order_id, _) in &orders {
            let view = world.view(order_id).await;
            assert_eq!(view["attempts"][0]["phase"], "abandoned", "{view}");
        }
        let mut told = world.gateway.message(&orders[0].1);
        (told.code, told.message) = ("OTS0551", "PENDING");
        for (order_id, merch_txn_id) in &orders {
            world.gateway.say(merch_txn_id, "OTS0551");
            match *order_id == orders[0].0 {
                true => world.call_back(&told).await,
                false => world.ask_now(order_id).await,
            }
            assert_eq!(world.state(order_id).await.1, "pending", "{}", test.name());
            let cancelled = world.flow.cancel(&world.who, order_id).await;
            assert_eq!(cancelled.expect_err("it may be paid").status(), 409);
        }
        world.until_quiet().await;
        for (order_id, _) in &orders {
            assert_eq!(world.state(order_id).await.0, "pending", "{}", test.name());
        }
        assert_eq!(
            world.issues().await,
            ["unresolved_attempt", "unresolved_attempt"],
            "{}",
            test.name()
        );
    }
}
