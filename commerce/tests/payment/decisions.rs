//! What two people decide about payments that are doubted: every issue has a way out, and a decision lasts.

use commerce::atom::flow::{FlowError, Reply};
use commerce::clock::{DAY_MS, MINUTE_MS};
use serde_json::{Value, json};

use super::World;
use super::desk::{ListFate, RefundFate};
use super::refunds::check_refunds;
use crate::common;

/// One operator alone.
async fn one_resolves(world: &World, id: &str, action: &str) -> Result<Reply, FlowError> {
    let body = json!({"action": action, "note": "as agreed"}).to_string();
    let who = world.operator("op_a");
    let key = format!("alone-{action}");
    world
        .flow
        .resolve_issue(&who, id, Some(&key), body.as_bytes())
        .await
}

/// The only open issue of a kind.
async fn the_issue(world: &World, kind: &str) -> String {
    let issues = world.issues_of(kind).await;
    assert_eq!(issues.len(), 1, "{kind}: {:?}", world.issues().await);
    issues[0].clone()
}

/// An order whose payment a status query tells with another amount, so that it is held.
async fn held(world: &World, reference: &str) -> (String, String) {
    let (order_id, merch_txn_id) = world.at_checkout(reference).await;
    world.gateway.pay(&merch_txn_id);
    world
        .gateway
        .change(&merch_txn_id, |txn| txn.other_amount = Some(9_999));
    world.clock.advance(2 * MINUTE_MS);
    world.flow.run_requery_once().await.expect("asks");
    let view = world.view(&order_id).await;
    assert_eq!(view["holds"], json!(["amount_mismatch"]));
    (order_id, merch_txn_id)
}

async fn ships(world: &World, order_id: &str) {
    let view = world.view(order_id).await;
    assert!(view["confirmed_at"].is_string(), "{view}");
    let shipped = world.flow.ship(&world.who, order_id).await;
    shipped.unwrap_or_else(|error| panic!("{error}: {view}"));
}

/// An accepted amount pays the order as if a query had agreed: it can be shipped, is asked for once more after T+2, and what
/// was accepted is no news any more. A reversal still is.
#[tokio::test]
async fn an_accepted_amount() {
    for test in common::stores().await {
        let world = World::new(&test);
        let (order_id, _) = held(&world, "accepted").await;
        let issue = the_issue(&world, "amount_mismatch").await;
        world
            .both_resolve_issue(&issue, "accept_amount")
            .await
            .expect("accepted");
        ships(&world, &order_id).await;
        let (reversed, merch_txn_id) = held(&world, "reversed").await;
        let issue = the_issue(&world, "amount_mismatch").await;
        world
            .both_resolve_issue(&issue, "accept_amount")
            .await
            .expect("accepted");
        world.gateway.reverse(&merch_txn_id);
        let asked = world.gateway.queries();
        world.until_quiet().await;
        assert_eq!(world.gateway.queries() - asked, 2, "{}", test.name());
        assert_eq!(world.issues().await, Vec::<String>::new());
        assert_eq!(
            world.state(&order_id).await,
            ("shipped".into(), "success".into())
        );
        assert_eq!(
            world.state(&reversed).await,
            ("cancelled".into(), "reversed".into()),
            "{}",
            test.name()
        );
    }
}

/// A payment that a callback told right and a query tells otherwise can be accepted too, or the order never ships.
#[tokio::test]
async fn a_doubted_payment_of_a_paid_order() {
    for test in common::stores().await {
        let world = World::new(&test);
        let (order_id, merch_txn_id) = world.paid("doubted").await;
        world
            .gateway
            .change(&merch_txn_id, |txn| txn.other_amount = Some(9_999));
        world.jobs().await;
        assert!(world.view(&order_id).await["confirmed_at"].is_null());
        let issue = the_issue(&world, "amount_mismatch").await;
        world
            .both_resolve_issue(&issue, "accept_amount")
            .await
            .expect("accepted");
        ships(&world, &order_id).await;
        world.until_quiet().await;
        assert_eq!(
            world.issues().await,
            Vec::<String>::new(),
            "{}",
            test.name()
        );
    }
}

/// A held payment that was given back holds nothing: the customer pays again, or the order expires. While the money goes back
/// nobody can accept it, and when the refund fails it is held again.
#[tokio::test]
async fn a_held_payment_that_was_given_back() {
    for test in common::stores().await {
        let world = World::new(&test);
        let (order_id, merch_txn_id) = held(&world, "given-back").await;
        world
            .gateway
            .next_refund(&merch_txn_id, RefundFate::NotSent);
        let issue = the_issue(&world, "amount_mismatch").await;
        world
            .both_resolve_issue(&issue, "refund_surplus")
            .await
            .expect("queued");
        world.follow_refunds().await;
        let accepted = world.both_resolve_issue(&issue, "accept_amount").await;
        assert_eq!(accepted.expect_err("it goes back").code(), "invalid_state");
        let more = world.start(&order_id, "early", json!({})).await;
        assert_eq!(more.expect_err("held").code(), "invalid_state");
        world.clock.advance(MINUTE_MS);
        world.follow_refunds().await;
        let view = world.view(&order_id).await;
        assert_eq!(
            (&view["status"], &view["holds"]),
            (&json!("pending"), &json!([])),
            "{}",
            test.name()
        );
        assert_eq!(world.issues().await, Vec::<String>::new());

        let fails = Some(ListFate::Says("Refund Failed"));
        world.gateway.list_says(&merch_txn_id, fails);
        world.clock.advance(60 * MINUTE_MS);
        world.follow_refunds().await;
        assert_eq!(
            world.view(&order_id).await["holds"],
            json!(["amount_mismatch"])
        );
        assert_eq!(the_issue(&world, "amount_mismatch").await, issue);
        world.gateway.list_says(&merch_txn_id, None);
        world.gateway.desk(|desk| desk.paid.clear());
        let body = json!({"action": "refund_surplus", "note": "once more"}).to_string();
        for (name, key) in [("op_a", "k1"), ("op_b", "k2")] {
            let who = world.operator(name);
            let decided = world
                .flow
                .resolve_issue(&who, &issue, Some(key), body.as_bytes());
            decided.await.expect("decided");
        }
        world.follow_refunds().await;
        let again = world.start(&order_id, "again", json!({})).await;
        let again = super::text(&again.expect("pays again").body, "merch_txn_id");
        world.gateway.pay(&again);
        world.call_back(&world.gateway.message(&again)).await;
        world.jobs().await;
        ships(&world, &order_id).await;

        let (expiring, _) = held(&world, "expiring").await;
        let issue = the_issue(&world, "amount_mismatch").await;
        world
            .both_resolve_issue(&issue, "refund_surplus")
            .await
            .expect("queued");
        world.until_quiet().await;
        assert_eq!(
            world.state(&expiring).await.0,
            "cancelled",
            "{}",
            test.name()
        );
    }
}

/// What holds a payment cannot be waved away, and ends with a decision. The same evidence is not told again after it, other
/// evidence is.
#[tokio::test]
async fn a_hold_ends_with_a_decision() {
    for test in common::stores().await {
        let world = World::new(&test);
        let (order_id, merch_txn_id) = held(&world, "held").await;
        let issue = the_issue(&world, "amount_mismatch").await;
        let closed = one_resolves(&world, &issue, "close").await;
        let closed = closed.expect_err("it holds").to_string();
        assert!(closed.contains("mark_failed"), "{closed}");
        world.ask_now(&order_id).await;
        assert_eq!(the_issue(&world, "amount_mismatch").await, issue);
        world
            .both_resolve_issue(&issue, "mark_failed")
            .await
            .expect("nobody paid");
        world.ask_now(&order_id).await;
        let view = world.view(&order_id).await;
        assert_eq!(view["holds"], json!([]), "{}", test.name());
        assert_eq!(world.issues().await, Vec::<String>::new());
        world
            .gateway
            .change(&merch_txn_id, |txn| txn.other_amount = Some(1));
        world.ask_now(&order_id).await;
        let view = world.view(&order_id).await;
        assert_eq!(view["holds"], json!(["amount_mismatch"]), "{}", test.name());
        assert_ne!(the_issue(&world, "amount_mismatch").await, issue);
        assert_eq!(world.count("issues").await, 2);
    }
}

/// Two messages disagree in two ways: what is accepted is what the issue tells that was decided about, and the other one can
/// be closed then.
#[tokio::test]
async fn the_evidence_that_was_decided_about() {
    for test in common::stores().await {
        let world = World::new(&test);
        let (order_id, merch_txn_id) = held(&world, "twice").await;
        let first = the_issue(&world, "amount_mismatch").await;
        let number = world.gateway.ledger()[&merch_txn_id].captures[0].clone();
        let mut other = world.gateway.message(&merch_txn_id);
        (other.amount, other.total) = (500, 500);
        other.atom_txn_id = "11000000700001".to_owned();
        world.call_back(&other).await;
        assert_eq!(world.issues_of("amount_mismatch").await.len(), 2);
        world
            .both_resolve_issue(&first, "accept_amount")
            .await
            .expect("accepted");
        let view = world.view(&order_id).await;
        assert_eq!(view["attempts"][0]["atom_txn_id"], json!(number));
        assert_eq!(view["refundable_amount"], 9_999, "{}", test.name());
        let second = the_issue(&world, "amount_mismatch").await;
        one_resolves(&world, &second, "close")
            .await
            .expect("nothing is held by it any more");
        ships(&world, &order_id).await;
    }
}

/// Of a held payment of a split order a part may be refused: as long as money is left, it is held and somebody knows.
#[tokio::test]
async fn a_held_payment_that_was_given_back_in_part() {
    for test in common::stores().await {
        let world = World::new(&test);
        let body = json!({"merchant_order_ref": "split", "amount": 10_000, "currency": "INR",
            "customer": {"email": "buyer@example.com", "mobile": "9000000000"},
            "items": [{"product": "TEA", "amount": 6_000}, {"product": "CUP", "amount": 4_000}]});
        let body = body.to_string();
        let made = world
            .flow
            .create_order(&world.who, Some("split"), body.as_bytes());
        let order_id = super::text(&made.await.expect("an order").body, "order_id");
        let started = world.start(&order_id, "split", json!({})).await;
        let merch_txn_id = super::text(&started.expect("an attempt").body, "merch_txn_id");
        world.gateway.pay(&merch_txn_id);
        let mut message = world.gateway.message(&merch_txn_id);
        message.currency = "USD";
        world.call_back(&message).await;
        let issue = the_issue(&world, "amount_mismatch").await;
        world.gateway.next_refund(&merch_txn_id, RefundFate::Mixed);
        world
            .both_resolve_issue(&issue, "refund_surplus")
            .await
            .expect("queued");
        world.follow_refunds().await;
        let parts = "refunds WHERE state = 'accepted' AND amount = 6000";
        assert_eq!(world.count(parts).await, 1, "{}", test.name());
        assert_eq!(the_issue(&world, "amount_mismatch").await, issue);
        let view = world.view(&order_id).await;
        assert_eq!(view["holds"], json!(["amount_mismatch"]), "{}", test.name());
    }
}

/// Atom has settled what it calls failed: the money goes back, or pays the order.
#[tokio::test]
async fn a_settled_failure() {
    for test in common::stores().await {
        let world = World::new(&test);
        for action in ["refund_surplus", "accept_amount"] {
            let (order_id, merch_txn_id) = world.at_checkout(action).await;
            let failed = world.gateway.message(&merch_txn_id);
            world.call_back(&failed).await;
            let number = world.gateway.pay(&merch_txn_id);
            world.gateway.say(&merch_txn_id, "OTS0600");
            world
                .gateway
                .change(&merch_txn_id, |txn| txn.settled = true);
            world.clock.advance(16 * MINUTE_MS);
            world.flow.run_requery_once().await.expect("asks");
            let issue = the_issue(&world, "settled_but_failed").await;
            let place = format!("{} {action}", test.name());
            assert_eq!(world.state(&order_id).await.1, "failed", "{place}");
            world
                .both_resolve_issue(&issue, action)
                .await
                .expect("carried out");
            let view = world.view(&order_id).await;
            assert_eq!(view["attempts"][0]["atom_txn_id"], json!(number), "{place}");
            if action == "accept_amount" {
                ships(&world, &order_id).await;
            } else {
                assert_eq!(view["holds"], json!(["settled_but_failed"]), "{place}");
                world.follow_refunds().await;
                let paid = world.gateway.desk(|desk| desk.paid.clone());
                assert_eq!(paid[0].atom_txn_id, number, "{place}");
                assert_eq!(world.view(&order_id).await["holds"], json!([]), "{place}");
            }
            assert_eq!(world.issues().await, Vec::<String>::new(), "{place}");
        }
        world.until_quiet().await;
        assert_eq!(
            world.issues().await,
            Vec::<String>::new(),
            "{}",
            test.name()
        );
        check_refunds(&world, test.name()).await;
    }
}

/// A query denies a payment: two people confirm it, or say that it was none. Neither is asked again.
#[tokio::test]
async fn a_denied_payment() {
    for test in common::stores().await {
        let world = World::new(&test);
        let denied = async |reference: &str| {
            let (order_id, merch_txn_id) = world.paid(reference).await;
            world.gateway.say(&merch_txn_id, "OTS0600");
            world.jobs().await;
            (order_id, the_issue(&world, "result_contradicts").await)
        };
        let (confirmed, issue) = denied("confirmed").await;
        world
            .both_resolve_issue(&issue, "accept_amount")
            .await
            .expect("confirmed");
        ships(&world, &confirmed).await;
        let (unpaid, issue) = denied("unpaid").await;
        let alone = one_resolves(&world, &issue, "mark_failed").await;
        let alone = alone.expect("proposed").body["result"].clone();
        assert_eq!(alone, "second_operator_needed");
        world
            .both_resolve_issue(&issue, "mark_failed")
            .await
            .expect_err("op_a proposed it");
        let body = json!({"action": "mark_failed", "note": "no money came"}).to_string();
        let second = world.operator("op_b");
        let done = world
            .flow
            .resolve_issue(&second, &issue, Some("k"), body.as_bytes());
        assert_eq!(done.await.expect("carried out").body["result"], "done");
        assert_eq!(
            world.state(&unpaid).await,
            ("cancelled".into(), "reversed".into()),
            "{}",
            test.name()
        );
        let (closed, issue) = denied("closed").await;
        one_resolves(&world, &issue, "close").await.expect("closed");
        world.ask_now(&closed).await;
        world.clock.advance(3 * DAY_MS);
        world.jobs().await;
        let told: Vec<Value> = world.details_of("result_contradicts").await;
        assert_eq!(told.len(), 3, "{}: {told:?}", test.name());
    }
}

/// An operator's refund needs another operator who wishes the same amount; a second click is the same wish, another amount a new
/// one. Where one operator may decide it is made at once.
#[tokio::test]
async fn a_refund_by_operators() {
    for test in common::stores().await {
        let world = World::new(&test);
        let (order_id, _) = world.paid("wished").await;
        world.jobs().await;
        let wish = async |name: &str, key: &str, amount: i64| {
            let who = commerce::atom::flow::Caller {
                merchant_id: "shop".to_owned(),
                ..world.operator(name)
            };
            let body = json!({"amount": amount}).to_string();
            let body = body.as_bytes();
            let reply = world
                .flow
                .refund_by_operator(&who, &order_id, Some(key), body);
            reply.await
        };
        for _ in 0..2 {
            let noted = wish("op_a", "first", 500).await.expect("noted");
            assert_eq!(noted.status, 202, "{}", test.name());
            assert_eq!(noted.body["result"], "second_operator_needed");
        }
        let alone = wish("op_a", "again", 500).await;
        assert_eq!(alone.expect_err("alone").code(), "second_operator_required");
        let other = wish("op_b", "other", 400).await.expect("noted");
        assert_eq!(other.body["result"], "second_operator_needed");
        let late = wish("op_b", "late", 1_000_000).await;
        assert_eq!(late.expect_err("too much").code(), "refund_exceeds_balance");
        assert_eq!(world.count("refunds").await, 0, "{}", test.name());
        for _ in 0..2 {
            let made = wish("op_a", "second", 400).await.expect("made");
            assert_eq!(
                (made.status, &made.body["state"]),
                (201, &json!("accepted"))
            );
        }
        let paid = world.gateway.desk(|desk| desk.paid.clone());
        assert_eq!(paid.len(), 1, "{}", test.name());
        assert_eq!(paid[0].amount, 400);
        let next = wish("op_b", "next", 400).await.expect("noted");
        assert_eq!(
            next.body["result"], "second_operator_needed",
            "a wish is used once"
        );
        // The merchant's own refund makes it another order than the one that was wished about.
        world
            .refund(&order_id, "merchant", json!({"amount": 100}))
            .await
            .expect("accepted");
        let anew = wish("op_a", "anew", 400).await.expect("noted");
        assert_eq!(anew.body["result"], "second_operator_needed");
        check_refunds(&world, test.name()).await;

        let world = world.with_settings(&test, |settings| settings.require_second_operator = false);
        let who = commerce::atom::flow::Caller {
            merchant_id: "shop".to_owned(),
            ..world.operator("op_a")
        };
        let body = json!({"amount": 100}).to_string();
        let made = world
            .flow
            .refund_by_operator(&who, &order_id, Some("alone"), body.as_bytes());
        assert_eq!(made.await.expect("made").status, 201, "{}", test.name());
    }
}

/// Both operators accept a payment under Atom's number of it.
async fn both_accept(world: &World, id: &str, numbers: [&str; 2]) -> Result<Reply, FlowError> {
    let mut last = None;
    for (name, number) in ["op_a", "op_b"].into_iter().zip(numbers) {
        let body =
            json!({"action": "accept_amount", "note": "by telephone", "atom_txn_id": number});
        let who = world.operator(name);
        let key = format!("{name}-{id}");
        let body = body.to_string();
        let reply = world
            .flow
            .resolve_issue(&who, id, Some(&key), body.as_bytes());
        last = Some(reply.await?);
    }
    Ok(last.expect("two have decided"))
}

/// Nobody could tell what became of a payment. The issue is not waved away while that is so: two people accept the payment
/// under one number of Atom's, or say that nobody paid. Then the order ships, expires, or has a surplus to give back.
#[tokio::test]
async fn a_payment_of_which_nobody_could_tell() {
    for test in common::stores().await {
        let world = World::new(&test);
        let place = test.name();
        let mut unclear = Vec::new();
        for name in ["told-paid", "told-unpaid", "paid-besides"] {
            let (order_id, merch_txn_id) = world.at_checkout(name).await;
            world.gateway.say(&merch_txn_id, "OTS0551");
            unclear.push(order_id);
        }
        let body = json!({"supersede": true});
        let other = world.start(&unclear[2], "besides", body).await;
        let other = super::text(&other.expect("another attempt").body, "merch_txn_id");
        world.gateway.pay(&other);
        world.call_back(&world.gateway.message(&other)).await;
        world.until_quiet().await;
        assert_eq!(world.issues().await, ["unresolved_attempt"; 3], "{place}");
        let mut issues = Vec::new();
        for order_id in &unclear {
            let row = sqlx::query("SELECT id FROM issues WHERE order_id = $1").bind(order_id);
            let row = row.fetch_one(test.store.pool()).await.expect("its issue");
            let id: String = sqlx::Row::get(&row, "id");
            let closed = one_resolves(&world, &id, "close").await;
            let closed = closed.expect_err("nobody knows").to_string();
            assert!(closed.contains("accept_amount") && closed.contains("mark_failed"));
            issues.push(id);
        }
        let nameless = world.both_resolve_issue(&issues[0], "accept_amount").await;
        let nameless = nameless.expect_err("which one").to_string();
        assert!(nameless.contains("atom_txn_id"), "{nameless}");
        for wrong in ["", "0", "12x", "123456789012345"] {
            let refused = both_accept(&world, &issues[0], [wrong, wrong]).await;
            assert_eq!(refused.expect_err(wrong).code(), "validation_failed");
        }
        let two = ["11000000900777", "11000000900778"];
        let waits = both_accept(&world, &issues[0], two).await.expect("noted");
        assert_eq!(waits.body["result"], "second_operator_needed", "{place}");
        assert_eq!(world.state(&unclear[0]).await.0, "pending", "{place}");
        let body = json!({"action": "accept_amount", "note": "so it is", "atom_txn_id": two[1]});
        let (who, body) = (world.operator("op_a"), body.to_string());
        let agreed = world
            .flow
            .resolve_issue(&who, &issues[0], Some("agreed"), body.as_bytes());
        assert_eq!(agreed.await.expect("both say so").body["result"], "done");
        let view = world.view(&unclear[0]).await;
        assert_eq!(view["attempts"][0]["atom_txn_id"], two[1], "{place}");
        ships(&world, &unclear[0]).await;

        world
            .both_resolve_issue(&issues[1], "mark_failed")
            .await
            .expect("nobody paid");
        both_accept(&world, &issues[2], ["11000000900999"; 2])
            .await
            .expect("paid twice");
        assert_eq!(world.issues().await, ["duplicate_capture"], "{place}");
        world.until_quiet().await;
        assert_eq!(
            world.state(&unclear[1]).await,
            ("cancelled".into(), "failed".into()),
            "{place}"
        );
        assert_eq!(world.state(&unclear[2]).await.0, "paid", "{place}");
        let open = "payment_attempts WHERE outcome IN ('none', 'pending')";
        assert_eq!(world.count(open).await, 0, "{place}");
    }
}

/// A stored message that no key opens any more: the issue says which keys to put back, is not closed while the message waits,
/// and two people can give the message up; or the keys come back, and then it is applied.
#[tokio::test]
async fn a_message_that_cannot_be_applied() {
    for test in common::stores().await {
        let world = World::new(&test);
        let place = test.name();
        for (name, gives_up) in [("given-up", true), ("keys-back", false)] {
            let (order_id, _) = world.paid(name).await;
            let of_order =
                "merch_txn_id = (SELECT merch_txn_id FROM payment_attempts WHERE order_id = $1)";
            let run = async |set: &str| {
                let update = format!("UPDATE callback_inbox SET {set} WHERE {of_order}");
                let update = sqlx::query(sqlx::AssertSqlSafe(update)).bind(&order_id);
                update.execute(test.store.pool()).await.expect(set);
            };
            run("applied_at = NULL, next_try_at = 0, raw = 'AB' || raw").await;
            for _ in 0..5 {
                world.clock.advance(5 * MINUTE_MS);
                world.flow.run_inbox_once().await.expect("the inbox");
            }
            let issue = the_issue(&world, "inbox_stuck").await;
            let told = world.details_of("inbox_stuck").await;
            let told = told.last().expect("a detail")["error"].to_string();
            assert!(told.contains("atom.res_key"), "{told}");
            let closed = one_resolves(&world, &issue, "close").await;
            let closed = closed.expect_err("it waits").to_string();
            assert!(closed.contains("discard it"), "{closed}");
            let waits = "callback_inbox WHERE applied_at IS NULL";
            if gives_up {
                world
                    .both_resolve_issue(&issue, "discard")
                    .await
                    .expect("given up");
                let audited = "audit WHERE what = 'issue' AND state_after LIKE 'discard: %'";
                assert_eq!(world.count(audited).await, 1, "{place}");
            } else {
                run("raw = SUBSTR(raw, 3)").await;
                world.clock.advance(5 * MINUTE_MS);
                world.flow.run_inbox_once().await.expect("the inbox");
                let given_up = world.both_resolve_issue(&issue, "discard").await;
                assert_eq!(given_up.expect_err("applied").code(), "invalid_state");
                let closed = one_resolves(&world, &issue, "close").await;
                closed.expect("nothing is left to do");
            }
            assert_eq!(world.count(waits).await, 0, "{place}");
            assert_eq!(world.issues().await, Vec::<String>::new(), "{place}");
        }
    }
}
