//! The rules of refunds (`spec/atom.md` 11), one by one, and the books that hold after each.

use std::collections::BTreeMap;

use commerce::atom::wire::codes::Refusal;
use commerce::clock::DAY_MS;
use serde_json::{Value, json};
use sqlx::Row;

use super::desk::RefundFate;
use super::{World, text};
use crate::common;

/// Invariants 3, 4 and 6 of section 21, from the rows of both sides.
pub async fn check_refunds(world: &World, place: &str) {
    let mut paid: BTreeMap<String, (usize, i64)> = BTreeMap::new();
    for refund in world.gateway.desk(|desk| desk.paid.clone()) {
        let entry = paid.entry(refund.prod_refund_id).or_default();
        entry.0 += 1;
        entry.1 += refund.amount;
    }
    for (id, (times, _)) in &paid {
        assert_eq!(*times, 1, "{place}: Atom paid {id} back {times} times");
    }
    let rows = sqlx::query("SELECT id, state, amount, attempt_id, surplus FROM refunds");
    let rows = rows
        .fetch_all(world.flow.store.pool())
        .await
        .expect("refunds");
    let mut sums: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for row in &rows {
        let (id, state): (String, String) = (row.get("id"), row.get("state"));
        let amount: i64 = row.get("amount");
        let lines: Vec<_> = paid
            .range(id.clone()..)
            .take_while(|(line, _)| line.starts_with(&id))
            .collect();
        let given: i64 = lines.iter().map(|(_, (_, amount))| amount).sum();
        match state.as_str() {
            "accepted" | "processed" => {
                assert_eq!(given, amount, "{place}: refund {id} is {state}");
            }
            "rejected" | "requested" => assert_eq!(given, 0, "{place}: refund {id} is {state}"),
            _ => {}
        }
        let lines: Vec<String> = lines.into_iter().map(|(line, _)| line.clone()).collect();
        paid.retain(|line, _| !lines.contains(line));
        if row.get::<i64, _>("surplus") == 0 {
            let sum = sums.entry(row.get("attempt_id")).or_default();
            sum.0 += if matches!(state.as_str(), "rejected" | "failed") {
                0
            } else {
                amount
            };
            sum.1 += if matches!(state.as_str(), "accepted" | "processed") {
                amount
            } else {
                0
            };
        }
    }
    assert!(
        paid.is_empty(),
        "{place}: Atom paid back what is no refund here: {paid:?}"
    );
    let rows = sqlx::query(
        "SELECT a.id, a.amount, a.refund_reserved, a.refund_done, o.status, o.refunded_amount, \
         o.paid_attempt_id FROM payment_attempts a JOIN orders o ON o.id = a.order_id",
    );
    for row in &rows
        .fetch_all(world.flow.store.pool())
        .await
        .expect("attempts")
    {
        let id: String = row.get("id");
        let (reserved, done) = sums.get(&id).copied().unwrap_or_default();
        let stored: (i64, i64) = (row.get("refund_reserved"), row.get("refund_done"));
        assert_eq!(stored, (reserved, done), "{place}: {id}");
        let captured: i64 = row.get("amount");
        assert!(
            reserved <= captured,
            "{place}: {id}: {reserved} of {captured}"
        );
        if row.get::<Option<String>, _>("paid_attempt_id").as_deref() == Some(&id) {
            let refunded = row.get::<String, _>("status") == "refunded";
            assert_eq!(
                refunded,
                done == captured,
                "{place}: {id}: {done} of {captured}"
            );
            assert_eq!(row.get::<i64, _>("refunded_amount"), done, "{place}: {id}");
        }
    }
}

/// Parts until nothing is left; a repeat of a key replays; more than is left is refused with what is left.
#[tokio::test]
async fn parts_up_to_the_whole() {
    for test in common::stores().await {
        let world = World::new(&test);
        let (order_id, _) = world.paid("parts").await;
        let ask = json!({"amount": 2_550, "currency": "INR", "reason": "item returned"});
        let first = world
            .refund(&order_id, "r1", ask.clone())
            .await
            .expect("accepted");
        assert_eq!(
            (
                first.status,
                &first.body["state"],
                &first.body["refundable_amount"]
            ),
            (201, &json!("accepted"), &json!(7_450)),
            "{}",
            test.name()
        );
        assert_eq!(first.body["refund_txn_id"], "700001");
        assert_eq!(first.body["refund_state"], "partial");
        let again = world.refund(&order_id, "r1", ask).await.expect("replayed");
        assert!(again.replayed && again.body == first.body);
        let reused = world.refund(&order_id, "r1", json!({"amount": 1})).await;
        assert_eq!(
            reused.expect_err("another body").code(),
            "idempotency_key_reused"
        );
        let too_much = world
            .refund(&order_id, "r2", json!({"amount": 7_451}))
            .await;
        let too_much = too_much.expect_err("more than is left");
        assert_eq!(
            (too_much.code(), too_much.status()),
            ("refund_exceeds_balance", 422)
        );
        assert_eq!(
            too_much.extra()["remaining"],
            7_450,
            "{:?}",
            too_much.extra()
        );
        let rest = world
            .refund(&order_id, "r3", json!({}))
            .await
            .expect("the rest");
        assert_eq!(rest.body["order_status"], "refunded");
        let view = world.view(&order_id).await;
        assert_eq!(
            (
                &view["refunded_amount"],
                &view["refund_state"],
                &view["refundable_amount"]
            ),
            (&json!(10_000), &json!("full"), &json!(0))
        );
        let over = world.refund(&order_id, "r4", json!({"amount": 1})).await;
        assert_eq!(over.expect_err("refunded").code(), "invalid_state");
        let more = world.start(&order_id, "pay-again", json!({})).await;
        assert_eq!(more.expect_err("refunded").code(), "invalid_state");
        world.until_quiet().await;
        assert_eq!(world.count("refunds WHERE state = 'processed'").await, 2);
        check_refunds(&world, test.name()).await;
    }
}

/// What an order says can be given back is what a refund gives, also where the surcharge goes back.
#[tokio::test]
async fn what_can_be_given_back() {
    for test in common::stores().await {
        let first = World::new(&test);
        for (includes, whole) in [(false, 10_000), (true, 10_150)] {
            let world = first.with_settings(&test, |settings| {
                settings.refund_includes_surcharge = includes
            });
            let (order_id, merch_txn_id) = world.at_checkout(&format!("surcharge{whole}")).await;
            world.gateway.pay(&merch_txn_id);
            let mut message = world.gateway.message(&merch_txn_id);
            (message.surcharge, message.total) = (150, 10_150);
            world.call_back(&message).await;
            let view = world.view(&order_id).await;
            assert_eq!(view["refundable_amount"], whole, "{}", test.name());
            let part = world
                .refund(&order_id, "r1", json!({"amount": 1_000}))
                .await;
            let left = part.expect("accepted").body["refundable_amount"].clone();
            assert_eq!(left, whole - 1_000, "{}", test.name());
            assert_eq!(world.view(&order_id).await["refundable_amount"], left);
        }
    }
}

/// What cannot be refunded: unpaid, foreign and held orders, another currency, keyless requests, parts where none are
/// allowed, and what is older than the window. Nothing is stored of any of them.
#[tokio::test]
async fn what_is_not_refunded() {
    for test in common::stores().await {
        let world = World::with(&test, |settings| {
            settings.allow_partial_refund = false;
            settings.refund_window_days = Some(30);
        });
        let unpaid = world.order("unpaid").await;
        let (paid, _) = world.paid("paid").await;
        let (held, merch_txn_id) = world.at_checkout("held").await;
        world.gateway.pay(&merch_txn_id);
        let mut bent = world.gateway.message(&merch_txn_id);
        bent.currency = "USD";
        world.call_back(&bent).await;
        let none = "ord_none".to_owned();
        let refused = [
            (&unpaid, json!({}), "invalid_state"),
            (&held, json!({}), "invalid_state"),
            (&paid, json!({"currency": "USD"}), "currency_mismatch"),
            (&paid, json!({"amount": 100}), "partial_not_allowed"),
            (&paid, json!({"amount": 0}), "validation_failed"),
            (&paid, json!({"amount": -1}), "validation_failed"),
            (&paid, json!({"amount": i64::MAX}), "refund_exceeds_balance"),
            (&paid, json!({"lines": []}), "validation_failed"),
            (&paid, json!({"colour": "red"}), "validation_failed"),
            (
                &paid,
                json!({"lines": [{"product": "TEA", "amount": 1}]}),
                "validation_failed",
            ),
            (&none, json!({}), "not_found"),
        ];
        for (number, (order_id, body, code)) in refused.into_iter().enumerate() {
            let key = format!("k{number}");
            let error = world.refund(order_id, &key, body.clone()).await;
            let error = error.expect_err("refused");
            assert_eq!(error.code(), code, "{} {body}", test.name());
        }
        let mut stranger = world.who.clone();
        stranger.merchant_id = "other".to_owned();
        let foreign = world.flow.refund(&stranger, &paid, Some("k"), b"{}").await;
        assert_eq!(foreign.expect_err("not theirs").status(), 404);
        let keyless = world.flow.refund(&world.who, &paid, None, b"{}").await;
        assert_eq!(
            keyless.expect_err("no key").code(),
            "idempotency_key_required"
        );
        world.clock.advance(31 * DAY_MS);
        let late = world.refund(&paid, "late", json!({})).await;
        assert_eq!(late.expect_err("too late").code(), "invalid_state");
        assert_eq!(world.count("refunds").await, 0);
        assert_eq!(world.gateway.desk(|desk| desk.arrived), 0);
    }
}

/// A definite refusal is an answer (201, rejected) that its key replays, gives the reservation back, and a new refund may
/// be asked for; a refusal of our request itself holds the refund for an operator.
#[tokio::test]
async fn refusals() {
    for test in common::stores().await {
        let world = World::new(&test);
        let (order_id, merch_txn_id) = world.paid("no").await;
        world
            .gateway
            .next_refund(&merch_txn_id, RefundFate::Refused(Refusal::Business));
        let no = world
            .refund(&order_id, "r1", json!({}))
            .await
            .expect("answered");
        assert_eq!((no.status, &no.body["state"]), (201, &json!("rejected")));
        assert_eq!(
            (&no.body["code"], &no.body["refundable_amount"]),
            (&json!("OTS0404"), &json!(10_000))
        );
        assert!(
            world
                .refund(&order_id, "r1", json!({}))
                .await
                .expect("replayed")
                .replayed
        );
        world
            .refund(&order_id, "r2", json!({}))
            .await
            .expect("a new one is accepted");

        let (order_id, merch_txn_id) = world.paid("ours").await;
        world
            .gateway
            .next_refund(&merch_txn_id, RefundFate::Refused(Refusal::Signature));
        let held = world
            .refund(&order_id, "r3", json!({}))
            .await
            .expect_err("not sent");
        assert_eq!(held.status(), 503, "{held}");
        assert_eq!(
            world.issues().await,
            ["refund_configuration"],
            "{}",
            test.name()
        );
        world.follow_refunds().await;
        world.clock.advance(DAY_MS);
        world.follow_refunds().await;
        let arrived = world.gateway.desk(|desk| desk.arrived);
        let again = world.refund(&order_id, "r3", json!({})).await;
        assert_eq!(again.expect_err("it is held").status(), 503);
        assert_eq!(
            world.gateway.desk(|desk| desk.arrived),
            arrived,
            "nobody sends it by asking again"
        );
        assert_eq!(
            world.count("refunds WHERE state = 'requested'").await,
            1,
            "no automatic resend"
        );
        let id = world.view(&order_id).await["refunds"][0]["refund_id"].clone();
        let id = id.as_str().expect("an id");
        world
            .both_resolve_refund(id, "resend")
            .await
            .expect("sent again");
        world.follow_refunds().await;
        assert_eq!(world.view(&order_id).await["status"], "refunded");
        assert_eq!(world.issues().await, Vec::<String>::new());
        check_refunds(&world, test.name()).await;
    }
}

/// What was not sent stays requested, and the job sends it; the same key tells how it went.
#[tokio::test]
async fn what_was_not_sent() {
    for test in common::stores().await {
        let world = World::new(&test);
        for (n, fate) in [RefundFate::NotSent, RefundFate::CircuitOpen]
            .into_iter()
            .enumerate()
        {
            let (order_id, merch_txn_id) = world.paid(&format!("unsent{n}")).await;
            world.gateway.next_refund(&merch_txn_id, fate);
            let unsent = world
                .refund(&order_id, "r1", json!({}))
                .await
                .expect_err("not sent");
            assert_eq!(
                (unsent.code(), unsent.status()),
                ("gateway_unavailable", 503)
            );
            assert!(
                unsent.extra()["refund_id"].is_string(),
                "{:?}",
                unsent.extra()
            );
            world.clock.advance(60_000);
            world.follow_refunds().await;
            let reply = world
                .refund(&order_id, "r1", json!({}))
                .await
                .expect("sent meanwhile");
            assert_eq!(
                (reply.status, &reply.body["state"]),
                (201, &json!("accepted"))
            );
        }
        assert_eq!(
            world.gateway.desk(|desk| desk.arrived),
            2,
            "{}",
            test.name()
        );
        check_refunds(&world, test.name()).await;
    }
}

fn split_body(reference: &str) -> Value {
    json!({"merchant_order_ref": reference, "amount": 10_000, "currency": "INR",
        "customer": {"email": "buyer@example.com", "mobile": "9000000000"},
        "items": [{"product": "TEA", "amount": 6_000}, {"product": "CUP", "amount": 4_000}]})
}

/// A split order: parts by product only and within each product; a mixed answer is handled line by line and corrects the
/// refund's amount.
#[tokio::test]
async fn lines_of_a_split_order() {
    for test in common::stores().await {
        let world = World::new(&test);
        let body = split_body("split").to_string();
        let made = world
            .flow
            .create_order(&world.who, Some("split"), body.as_bytes())
            .await;
        let order_id = text(&made.expect("an order").body, "order_id");
        let started = world
            .start(&order_id, "split", json!({}))
            .await
            .expect("an attempt");
        let merch_txn_id = text(&started.body, "merch_txn_id");
        world.gateway.pay(&merch_txn_id);
        let query = world.flow.requery_now(&order_id).await;
        query.expect("queued");
        world.flow.run_requery_once().await.expect("asks");
        assert_eq!(world.view(&order_id).await["status"], "paid");

        let part = world
            .refund(&order_id, "r1", json!({"amount": 1_000}))
            .await;
        assert_eq!(part.expect_err("by product").code(), "validation_failed");
        let cup = |amount: i64| json!({"amount": amount, "lines": [{"product": "CUP", "amount": amount}]});
        let over = world.refund(&order_id, "r2", cup(4_001)).await;
        assert_eq!(
            over.expect_err("more than the cup").code(),
            "refund_exceeds_balance"
        );
        let some = world
            .refund(&order_id, "r3", cup(1_000))
            .await
            .expect("a part of the cup");
        assert_eq!(some.body["lines"][0]["product"], "CUP");
        let over = world.refund(&order_id, "r4", cup(3_001)).await;
        assert_eq!(
            over.expect_err("of the cup is left less").extra()["remaining"],
            3_000
        );

        world.gateway.next_refund(&merch_txn_id, RefundFate::Mixed);
        let rest = world
            .refund(&order_id, "r5", json!({}))
            .await
            .expect("answered");
        assert_eq!(
            (&rest.body["state"], &rest.body["amount"]),
            (&json!("accepted"), &json!(6_000))
        );
        let states: Vec<&Value> = rest.body["lines"]
            .as_array()
            .expect("lines")
            .iter()
            .map(|l| &l["state"])
            .collect();
        assert_eq!(states, ["accepted", "rejected"], "{}", test.name());
        assert_eq!(rest.body["refundable_amount"], 3_000);
        let last = world
            .refund(&order_id, "r6", json!({}))
            .await
            .expect("the last part");
        assert_eq!(last.body["order_status"], "refunded");
        check_refunds(&world, test.name()).await;
    }
}

/// Shipped and delivered orders are refunded too, and a refund that fails later gives the order its status back.
#[tokio::test]
async fn a_refund_that_fails_later() {
    for test in common::stores().await {
        let world = World::new(&test);
        let (order_id, merch_txn_id) = world.paid("fails").await;
        world.jobs().await;
        world.flow.ship(&world.who, &order_id).await.expect("ships");
        world
            .refund(&order_id, "r1", json!({}))
            .await
            .expect("accepted");
        assert_eq!(world.view(&order_id).await["status"], "refunded");
        world.gateway.list_says(
            &merch_txn_id,
            Some(super::desk::ListFate::Says("Refund Failed")),
        );
        world.clock.advance(3_600_000);
        world.follow_refunds().await;
        let view = world.view(&order_id).await;
        assert_eq!(
            (
                &view["status"],
                &view["refund_state"],
                &view["refundable_amount"]
            ),
            (&json!("shipped"), &json!("none"), &json!(10_000)),
            "{}",
            test.name()
        );
        assert_eq!(world.issues().await, ["refund_failed"]);
        assert_eq!(world.count("outbox WHERE event = 'refund.failed'").await, 1);
    }
}

/// A late capture goes back of our own accord once a query has confirmed it, and only then; with the switch off it waits.
#[tokio::test]
async fn late_captures_go_back() {
    for automatic in [true, false] {
        for test in common::stores().await {
            let world = World::with(&test, |settings| {
                settings.auto_refund_late_capture = automatic
            });
            let (order_id, merch_txn_id) = world.at_checkout("late").await;
            world.clock.advance(16 * 60_000);
            world.flow.run_requery_once().await.expect("asks");
            world
                .flow
                .cancel(&world.who, &order_id)
                .await
                .expect("cancelled");
            world.clock.advance(1_000);
            world.gateway.pay(&merch_txn_id);
            world.call_back(&world.gateway.message(&merch_txn_id)).await;
            world.follow_refunds().await;
            assert_eq!(world.count("refunds").await, 0, "not confirmed yet");
            world.clock.advance(10_000);
            world.jobs().await;
            world.follow_refunds().await;
            let refunds = world
                .count("refunds WHERE origin = 'system' AND state = 'accepted'")
                .await;
            assert_eq!(refunds, i64::from(automatic), "{}", test.name());
            assert_eq!(world.state(&order_id).await.0, "cancelled");
            let open = if automatic {
                vec![]
            } else {
                vec!["late_capture".to_owned()]
            };
            assert_eq!(world.issues().await, open);
            check_refunds(&world, test.name()).await;
        }
    }
}

/// The surplus of a second capture goes back when two operators say so: one alone only proposes, and cannot confirm himself.
#[tokio::test]
async fn a_surplus_needs_two_operators() {
    for test in common::stores().await {
        let world = World::new(&test);
        let (order_id, first) = world.paid("double").await;
        world.gateway.pay(&first);
        let mut second = world.gateway.message(&first);
        second.atom_txn_id = world.gateway.ledger()[&first].captures[1].clone();
        world.call_back(&second).await;
        let issue = world.issues_of("duplicate_capture").await[0].clone();
        let body = json!({"action": "refund_surplus", "note": "paid twice"}).to_string();
        let decide = async |name: &str, key: &str| {
            world
                .flow
                .resolve_issue(&world.operator(name), &issue, Some(key), body.as_bytes())
                .await
        };
        let proposed = decide("op_a", "k1").await.expect("proposed");
        assert_eq!(
            proposed.body["result"],
            "second_operator_needed",
            "{}",
            test.name()
        );
        let alone = decide("op_a", "k2").await.expect_err("the same person");
        assert_eq!(alone.code(), "second_operator_required", "{alone}");
        assert_eq!(world.count("refunds").await, 0);
        let done = decide("op_b", "k3").await.expect("carried out");
        assert_eq!(done.body["result"], "done");
        world.follow_refunds().await;
        let paid = world.gateway.desk(|desk| desk.paid.clone());
        assert_eq!(paid.len(), 1);
        assert_eq!(
            paid[0].atom_txn_id, second.atom_txn_id,
            "the surplus, not the payment of the order"
        );
        assert_eq!(world.view(&order_id).await["status"], "paid");
        assert_eq!(world.issues().await, Vec::<String>::new());
        check_refunds(&world, test.name()).await;
        // The gateway lists the second capture for ever, and may tell of it again; it is given back all the same.
        let asked = world.gateway.queries();
        world.until_quiet().await;
        assert!(world.gateway.queries() > asked);
        second.message = "Success";
        world.call_back(&second).await;
        world.until_quiet().await;
        assert_eq!(world.count("callback_inbox").await, 3, "{}", test.name());
        assert_eq!(world.count("issues").await, 1, "{}", test.name());
        assert_eq!(world.issues().await, Vec::<String>::new());
    }
}

/// A surplus whose refund fails after it was accepted is to be decided again: the same issue is open, and a further refund
/// closes it.
#[tokio::test]
async fn a_surplus_whose_refund_fails() {
    for test in common::stores().await {
        let world = World::new(&test);
        let (order_id, first) = world.paid("double").await;
        let number = world.gateway.pay(&first);
        let mut second = world.gateway.message(&first);
        second.atom_txn_id = number.clone();
        world.call_back(&second).await;
        let issues = world.issues_of("duplicate_capture").await;
        let issue = issues[0].clone();
        world
            .both_resolve_issue(&issue, "refund_surplus")
            .await
            .expect("carried out");
        world.follow_refunds().await;
        assert_eq!(world.issues().await, Vec::<String>::new());
        let fails = super::desk::ListFate::Says("Refund Failed");
        world
            .gateway
            .desk(|desk| desk.lists.insert(number.clone(), fails));
        world.clock.advance(3_600_000);
        world.jobs().await;
        assert_eq!(world.issues_of("duplicate_capture").await, issues);
        assert_eq!(
            world.issues().await,
            ["duplicate_capture", "refund_failed"],
            "{}",
            test.name()
        );
        world.gateway.desk(|desk| {
            desk.lists.remove(&number);
            // What failed was not paid.
            desk.paid.clear();
        });
        let body = json!({"action": "refund_surplus", "note": "once more"}).to_string();
        for (name, key) in [("op_a", "k1"), ("op_b", "k2")] {
            world
                .flow
                .resolve_issue(&world.operator(name), &issue, Some(key), body.as_bytes())
                .await
                .expect("decided");
        }
        world.follow_refunds().await;
        assert_eq!(world.issues().await, ["refund_failed"], "{}", test.name());
        assert_eq!(world.view(&order_id).await["status"], "paid");
        check_refunds(&world, test.name()).await;
    }
}

/// A hundred refunds of one order at once, each with a key of its own, through two processes: together they never exceed
/// what was captured, and those that fit are all accepted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_refunds_at_once() {
    for test in common::stores().await {
        let world = World::new(&test);
        let both = [world.clone(), world.another(test.again().await)];
        let (order_id, _) = world.paid("hundred").await;
        let asks = (0..100).map(|n| {
            let (world, order_id) = (both[n % 2].clone(), order_id.clone());
            tokio::spawn(async move {
                let key = format!("r{n}");
                world
                    .refund(&order_id, &key, json!({"amount": 3_000, "currency": "INR"}))
                    .await
            })
        });
        let (mut accepted, mut refused) = (0, 0);
        for ask in asks.collect::<Vec<_>>() {
            match ask.await.expect("runs") {
                Ok(reply) => {
                    assert_eq!(reply.body["state"], "accepted");
                    accepted += 1;
                }
                Err(error) => {
                    assert_eq!(error.code(), "refund_exceeds_balance", "{error}");
                    refused += 1;
                }
            }
        }
        assert_eq!((accepted, refused), (3, 97), "{}", test.name());
        let total: i64 = world
            .gateway
            .desk(|desk| desk.paid.iter().map(|paid| paid.amount).sum());
        assert_eq!(total, 9_000);
        check_refunds(&world, test.name()).await;
    }
}

/// One refund forty times at once with one key: sent once, and every answer is about the same refund.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_double_click_on_a_refund() {
    for test in common::stores().await {
        let world = World::new(&test);
        let both = [world.clone(), world.another(test.again().await)];
        let (order_id, _) = world.paid("click").await;
        let asks = (0..40).map(|n| {
            let (world, order_id) = (both[n % 2].clone(), order_id.clone());
            tokio::spawn(
                async move { world.refund(&order_id, "one", json!({"amount": 100})).await },
            )
        });
        for ask in asks.collect::<Vec<_>>() {
            match ask.await.expect("runs") {
                Ok(reply) => assert!(matches!(reply.status, 201 | 202)),
                Err(error) => assert_eq!(error.code(), "request_in_progress", "{error}"),
            }
        }
        assert_eq!(world.count("refunds").await, 1, "{}", test.name());
        assert_eq!(world.gateway.desk(|desk| desk.arrived), 1);
        check_refunds(&world, test.name()).await;
    }
}
