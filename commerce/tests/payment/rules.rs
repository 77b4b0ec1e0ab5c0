//! The rules of orders, attempts and callbacks, one by one.

use commerce::atom::flow::{CallbackAnswer, FailedAttemptPolicy, LandingState, OrderFilter};
use commerce::atom::wire::codes::Refusal;
use commerce::keys::ApiKeys;
use commerce::pages::Pages;
use commerce::pages::shop::settings::ShopSettings;
use serde_json::json;
use sqlx::Row;

use super::gateway::AuthFate;
use super::{World, order_body, text};
use crate::common;

/// The happy path: ordered, paid, told, confirmed, shipped, delivered; and what the answers say on the way.
#[tokio::test]
async fn the_happy_path() {
    for test in common::stores().await {
        let world = World::new(&test);
        let (order_id, merch_txn_id) = world.at_checkout("happy").await;
        assert!(merch_txn_id.starts_with('G') && merch_txn_id.len() == 27);
        world.gateway.pay(&merch_txn_id);
        world.call_back(&world.gateway.message(&merch_txn_id)).await;
        let view = world.view(&order_id).await;
        assert_eq!(
            (text(&view, "status"), text(&view, "payment_method")),
            ("paid".into(), "CC".into())
        );
        assert_eq!(view["attempts"][0]["payment_status"], "completed");
        assert_eq!(
            (&view["refundable_amount"], &view["confirmed_at"]),
            (&json!(10_000), &json!(null))
        );

        let early = world
            .flow
            .ship(&world.who, &order_id)
            .await
            .expect_err("not confirmed");
        assert_eq!((early.code(), early.status()), ("invalid_state", 409));
        world
            .flow
            .run_requery_once()
            .await
            .expect("confirms at once");
        world.flow.ship(&world.who, &order_id).await.expect("ships");
        world
            .flow
            .ship(&world.who, &order_id)
            .await
            .expect("a repeat is harmless");
        world
            .flow
            .deliver(&world.who, &order_id)
            .await
            .expect("delivers");
        let over = world
            .flow
            .cancel(&world.who, &order_id)
            .await
            .expect_err("too late");
        assert_eq!(over.code(), "invalid_state");
        assert_eq!(world.state(&order_id).await.0, "delivered");
        let events =
            world.count("outbox WHERE event IN ('order.paid', 'order.shipped', 'order.delivered')");
        assert_eq!((events.await, world.issues().await), (3, vec![]));
    }
}

/// Idempotency keys and references (13.4, 15.1): the same again, another body, another key, no key.
#[tokio::test]
async fn keys_and_references() {
    for test in common::stores().await {
        let world = World::new(&test);
        let body = order_body("ref-1");
        let create = async |key: Option<&str>, body: &[u8]| {
            world.flow.create_order(&world.who, key, body).await
        };
        let first = create(Some("k1"), &body).await.expect("made");
        let again = create(Some("k1"), &body).await.expect("replayed");
        assert!(
            again.replayed && !first.replayed && again.body == first.body,
            "{}",
            test.name()
        );
        let other = create(Some("k1"), &order_body("ref-2"))
            .await
            .expect_err("another body");
        assert_eq!(
            (other.code(), other.status()),
            ("idempotency_key_reused", 422)
        );
        let same = create(Some("k2"), &body).await.expect("the same order");
        assert_eq!(same.body["order_id"], first.body["order_id"]);
        let changed = String::from_utf8(body.clone())
            .expect("text")
            .replace("10000", "20000");
        let twice = create(Some("k3"), changed.as_bytes())
            .await
            .expect_err("the reference is taken");
        assert_eq!((twice.code(), twice.status()), ("duplicate_order_ref", 409));
        assert_eq!(twice.extra()["order_id"], first.body["order_id"]);
        for bad in [
            None,
            Some(""),
            Some("a b"),
            Some("é"),
            Some(&*"x".repeat(65)),
        ] {
            let error = create(bad, &body).await.expect_err("no key");
            assert_eq!(error.code(), "idempotency_key_required", "{bad:?}");
        }
        assert_eq!(world.count("orders").await, 1);

        let id = text(&first.body, "order_id");
        let token = text(&first.body, "read_token");
        let seen = world
            .flow
            .customer_view(&id, &token)
            .await
            .expect("the customer reads")
            .body;
        assert_eq!(
            seen,
            json!({"order_id": id, "status": "pending", "amount": 10_000, "currency": "INR"})
        );
        assert_eq!(
            world
                .flow
                .customer_view(&id, "rt_0")
                .await
                .expect_err("not it")
                .status(),
            404
        );
        let stored = world
            .count(&format!("orders WHERE read_token_sha256 = '{token}'"))
            .await;
        assert_eq!(stored, 0, "the token itself is not stored");
    }
}

/// One attempt at a time, unless the customer wants another; five in an hour; and what becomes of refused calls.
#[tokio::test]
async fn attempts_and_their_limits() {
    for test in common::stores().await {
        let world = World::new(&test);
        let (order_id, first) = world.at_checkout("limits").await;
        let replay = world
            .start(&order_id, "limits", json!({}))
            .await
            .expect("replayed");
        assert!(replay.replayed && text(&replay.body, "merch_txn_id") == first);
        let open = world
            .start(&order_id, "k2", json!({}))
            .await
            .expect_err("open");
        assert_eq!((open.code(), open.status()), ("attempt_open", 409));
        assert_eq!(open.extra()["attempt"]["merch_txn_id"], json!(first));
        assert!(open.extra()["attempt"]["checkout"]["options"]["atomTokenId"].is_string());
        for key in ["k3", "k4", "k5", "k6"] {
            world
                .start(&order_id, key, json!({"supersede": true}))
                .await
                .expect("superseded");
        }
        let full = world
            .start(&order_id, "k7", json!({"supersede": true}))
            .await
            .expect_err("five");
        assert_eq!((full.status(), full.retry_after_s()), (429, Some(3600)));
        world.clock.advance(3_600_000);
        world
            .start(&order_id, "k8", json!({}))
            .await
            .expect("the hour is over, and so are the tokens");
        let bad = world
            .start(&order_id, "k9", json!({"sub_channel": "XX"}))
            .await
            .expect_err("no channel");
        assert_eq!(bad.code(), "validation_failed");
    }
}

/// A second id after a refusal is an attempt of the hour like others, and its customer has been waiting since the first one.
#[tokio::test]
async fn a_second_id_counts() {
    for test in common::stores().await {
        let world = World::new(&test);
        let (order_id, _) = world.at_checkout("counts").await;
        for key in ["k2", "k3"] {
            world
                .start(&order_id, key, json!({"supersede": true}))
                .await
                .expect("superseded");
        }
        let refused = AuthFate::Refused(Refusal::NewIdMayPass);
        world.gateway.next_auth([refused]);
        world
            .start(&order_id, "k4", json!({"supersede": true}))
            .await
            .expect("the fifth passes");
        let began = world.gateway.auth_began();
        assert_eq!((began.len(), began[3]), (5, began[4]), "{}", test.name());

        let (order_id, _) = world.at_checkout("full").await;
        for key in ["k2", "k3", "k4"] {
            world
                .start(&order_id, key, json!({"supersede": true}))
                .await
                .expect("superseded");
        }
        world.gateway.next_auth([refused]);
        let full = world
            .start(&order_id, "k5", json!({"supersede": true}))
            .await;
        assert_eq!(full.expect_err("refused").code(), "gateway_rejected");
        let of_order = format!("payment_attempts WHERE order_id = '{order_id}'");
        assert_eq!(world.count(&of_order).await, 5, "{}", test.name());
    }
}

/// A second window of the shop that starts the same payment while the first waits for its token is asked to wait, and then
/// opens what the first one has.
#[tokio::test]
async fn a_second_window_of_the_shop() {
    for test in common::stores().await {
        let world = World::new(&test);
        let keys = ApiKeys::new(test.store.clone(), world.clock.clone());
        let shop = ShopSettings::default();
        let pages = Pages::new(&world.flow, &keys, &shop, "https://pay.example", None);
        let order_id = world.order("windows").await;
        world.gateway.next_auth([AuthFate::Waits]);
        let first = tokio::spawn({
            let (pages, order_id) = (pages.clone(), order_id.clone());
            async move { pages.start_payment(&order_id, "first", false).await }
        });
        world.gateway.auth_waits().await;
        let second = pages.start_payment(&order_id, "second", false).await;
        assert_eq!(second.map(drop), Err("request_in_progress"));
        world.gateway.auth_goes_on();
        first.await.expect("runs").expect("the token");
        pages
            .start_payment(&order_id, "third", false)
            .await
            .expect("the same token");
        assert_eq!(world.count("payment_attempts").await, 1, "{}", test.name());
    }
}

/// A token that comes when its order is paid already goes to nobody, whoever asks how often; also when a message about its
/// attempt came before it.
#[tokio::test]
async fn a_token_of_a_paid_order() {
    for test in common::stores().await {
        let world = World::new(&test);
        for told in [false, true] {
            let place = format!("{} {told}", test.name());
            let (order_id, first) = world.at_checkout(&format!("overtaken{told}")).await;
            world.gateway.next_auth([AuthFate::Waits]);
            let second = || {
                let (world, order_id) = (world.clone(), order_id.clone());
                async move {
                    let ask = json!({"supersede": true});
                    world.start(&order_id, "second", ask).await
                }
            };
            let starting = tokio::spawn(second());
            world.gateway.auth_waits().await;
            world.gateway.pay(&first);
            let paid = world.gateway.message(&first);
            world.call_back(&paid).await;
            assert_eq!(world.view(&order_id).await["status"], "paid", "{place}");
            if told {
                let waiting = "SELECT merch_txn_id FROM payment_attempts WHERE auth_in_flight = 1";
                let waiting = sqlx::query(waiting).fetch_one(test.store.pool()).await;
                let mut failed = paid.clone();
                failed.merch_txn_id = waiting.expect("the second").get("merch_txn_id");
                failed.atom_txn_id = "11000000700001".to_owned();
                (failed.code, failed.message) = ("OTS0603", "FAILED");
                world.call_back(&failed).await;
            }
            world.gateway.auth_goes_on();
            let late = starting.await.expect("runs").expect_err("paid");
            assert_eq!(late.code(), "invalid_state", "{place}");
            let again = second().await.expect_err("still paid");
            assert_eq!(again.code(), "invalid_state", "{place}");
        }
    }
}

/// What AUTH may answer (15.2): not sent, circuit open, refused, a new id that passes, an answer that is lost.
#[tokio::test]
async fn what_auth_may_answer() {
    for test in common::stores().await {
        let world = World::new(&test);
        let order_id = world.order("auth").await;
        world
            .gateway
            .next_auth([AuthFate::NotSent, AuthFate::CircuitOpen]);
        let unsent = world
            .start(&order_id, "a", json!({}))
            .await
            .expect_err("not sent");
        assert_eq!(
            (unsent.code(), unsent.status()),
            ("gateway_unavailable", 503)
        );
        let circuit = world
            .start(&order_id, "a", json!({}))
            .await
            .expect_err("the same key tries again");
        assert_eq!(circuit.retry_after_s(), Some(16));
        let sent = world
            .start(&order_id, "a", json!({}))
            .await
            .expect("the third time it is sent");
        assert_eq!(
            (world.count("payment_attempts").await, sent.status),
            (1, 201)
        );

        let order_id = world.order("auth2").await;
        world
            .gateway
            .next_auth([AuthFate::Refused(Refusal::Merchant)]);
        let refused = world
            .start(&order_id, "b", json!({}))
            .await
            .expect_err("refused");
        assert_eq!(
            (refused.code(), refused.status()),
            ("gateway_rejected", 502)
        );
        assert_eq!(refused.extra()["class"], "authentication");
        let again = world
            .start(&order_id, "b", json!({}))
            .await
            .expect_err("the same key, the same answer");
        assert_eq!(again.extra()["class"], "authentication");
        assert_eq!(world.issues().await, ["gateway_configuration"]);
        world
            .gateway
            .next_auth([AuthFate::Refused(Refusal::NewIdMayPass)]);
        world
            .start(&order_id, "c", json!({}))
            .await
            .expect("a new id passes");

        let order_id = world.order("auth3").await;
        world.gateway.next_auth([AuthFate::LostAfter]);
        let lost = world
            .start(&order_id, "d", json!({}))
            .await
            .expect_err("lost");
        assert_eq!((lost.code(), lost.status()), ("gateway_timeout", 504));
        assert_eq!(
            world
                .start(&order_id, "d", json!({}))
                .await
                .expect_err("still")
                .status(),
            504
        );
        assert_eq!(
            world.view(&order_id).await["attempts"][0]["phase"],
            "auth_unknown"
        );
        world
            .start(&order_id, "e", json!({}))
            .await
            .expect("a new key, a new attempt");
        let states = world.view(&order_id).await["attempts"]
            .as_array()
            .map(Vec::len);
        assert_eq!(states, Some(2));
    }
}

/// Messages that disagree with the attempt hold it, whatever their signature; nobody is paid by them (14, check 9; V21).
#[tokio::test]
async fn messages_that_disagree() {
    for test in common::stores().await {
        let world = World::new(&test);
        for (n, bend) in [
            (|m: &mut super::gateway::Message| (m.amount, m.surcharge) = (100, 9_900))
                as fn(&mut _),
            |m| (m.amount, m.total) = (9_999, 9_999),
            |m| m.total = 10_001,
            |m| m.currency = "USD",
            |m| m.order_id = "ord_other".to_owned(),
        ]
        .into_iter()
        .enumerate()
        {
            let (order_id, merch_txn_id) = world.at_checkout(&format!("bent{n}")).await;
            world.gateway.pay(&merch_txn_id);
            let mut message = world.gateway.message(&merch_txn_id);
            bend(&mut message);
            world.call_back(&message).await;
            let view = world.view(&order_id).await;
            assert_eq!(
                (&view["status"], &view["holds"]),
                (&json!("pending"), &json!(["amount_mismatch"])),
                "{n}"
            );
            let more = world
                .start(&order_id, &format!("more{n}"), json!({"supersede": true}))
                .await;
            assert_eq!(more.expect_err("held").code(), "invalid_state");
            assert!(world.flow.cancel(&world.who, &order_id).await.is_err());
        }
        world.until_quiet().await;
        assert_eq!(
            world.count("orders WHERE status <> 'pending'").await,
            0,
            "{}",
            test.name()
        );
        let (order_id, merch_txn_id) = world.at_checkout("surcharge").await;
        world.gateway.pay(&merch_txn_id);
        let mut message = world.gateway.message(&merch_txn_id);
        (message.surcharge, message.total) = (150, 10_150);
        world.call_back(&message).await;
        let view = world.view(&order_id).await;
        assert_eq!(
            (&view["status"], &view["attempts"][0]["surcharge"]),
            (&json!("paid"), &json!(150))
        );
    }
}

/// Who is not verified changes nothing: wrong signature, garbage, hints; an unsigned message only pulls a query.
#[tokio::test]
async fn the_unverified() {
    for test in common::stores().await {
        let world = World::new(&test);
        let (order_id, merch_txn_id) = world.at_checkout("forged").await;
        let mut forged = world.gateway.message(&merch_txn_id).body();
        let flipped = forged.len() - 40;
        forged[flipped] = if forged[flipped] == b'0' { b'1' } else { b'0' };
        let bodies: [&[u8]; 4] = [
            &forged,
            b"encData=cancelTransaction",
            b"",
            b"encData=00&encData=00",
        ];
        for body in bodies {
            let answer = world
                .flow
                .receive_callback(body, "192.0.2.9")
                .await
                .expect("an answer");
            assert_eq!(answer, CallbackAnswer::Refused);
        }
        assert_eq!(
            (
                world.count("callback_inbox").await,
                world.state(&order_id).await.1
            ),
            (0, "none".into())
        );

        world.gateway.pay(&merch_txn_id);
        let mut unsigned = world.gateway.message(&merch_txn_id);
        unsigned.signed = false;
        let answer = world
            .flow
            .receive_callback(&unsigned.body(), "192.0.2.9")
            .await
            .expect("an answer");
        assert_eq!(answer, CallbackAnswer::Refused);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while world.state(&order_id).await.0 != "paid" {
            assert!(
                std::time::Instant::now() < deadline,
                "{}: the query was not pulled",
                test.name()
            );
            tokio::task::yield_now().await;
            world.flow.run_requery_once().await.expect("asks");
        }
        let orphan = super::gateway::Message {
            merch_txn_id: "GUNKNOWN".into(),
            ..world.gateway.message(&merch_txn_id)
        };
        world.call_back(&orphan).await;
        assert_eq!(world.issues().await, ["orphan_callback"]);
    }
}

/// The browser's return carries the same message; where it leads, and that a stranger's leads nowhere.
#[tokio::test]
async fn where_the_browser_goes() {
    for test in common::stores().await {
        let world = World::new(&test);
        let (order_id, merch_txn_id) = world.at_checkout("return").await;
        let failed = world
            .flow
            .receive_return(&world.gateway.message(&merch_txn_id).body(), "")
            .await;
        assert_eq!(failed.state, LandingState::Failed);
        world.gateway.pay(&merch_txn_id);
        let message = world.gateway.message(&merch_txn_id).body();
        let asked = world.flow.receive_return(&message, "").await;
        assert_eq!(
            asked.state,
            LandingState::Failed,
            "a failed attempt is believed paid from a query only"
        );
        world.flow.run_requery_once().await.expect("asks");
        let paid = world.flow.receive_return(&message, "").await;
        let page = format!("https://shop.example/thanks?order_id={order_id}&state=success");
        assert_eq!(paid.location("/neutral"), page);
        let nobody = world.flow.receive_return(b"merchId=1", "").await;
        assert_eq!(
            (nobody.state, nobody.location("/neutral").as_str()),
            (LandingState::Processing, "/neutral")
        );
        assert_eq!(
            world.state(&order_id).await,
            ("paid".into(), "success".into())
        );
    }
}

/// Two payments of one order: the second is a surplus; a payment of a cancelled order is late. Neither changes the order.
#[tokio::test]
async fn payments_that_nobody_needs() {
    for test in common::stores().await {
        let world = World::new(&test);
        let (order_id, first) = world.at_checkout("double").await;
        let second = world
            .start(&order_id, "again", json!({"supersede": true}))
            .await
            .expect("superseded");
        let second = text(&second.body, "merch_txn_id");
        for merch_txn_id in [&first, &second] {
            world.gateway.pay(merch_txn_id);
            world.call_back(&world.gateway.message(merch_txn_id)).await;
        }
        world.gateway.pay(&first);
        let mut third = world.gateway.message(&first);
        third.atom_txn_id = world.gateway.ledger()[&first].captures[1].clone();
        world.call_back(&third).await;
        assert_eq!(
            world.issues().await,
            ["duplicate_capture", "duplicate_capture"]
        );
        assert_eq!(
            world.view(&order_id).await["attempts"][0]["outcome"],
            "success"
        );

        let (late, merch_txn_id) = world.at_checkout("late").await;
        let wait = world
            .flow
            .cancel(&world.who, &late)
            .await
            .expect_err("not settled");
        assert_eq!(wait.code(), "attempt_open");
        world.clock.advance(16 * 60_000);
        world.flow.run_requery_once().await.expect("asks");
        world
            .flow
            .cancel(&world.who, &late)
            .await
            .expect("nobody paid in time");
        world.gateway.pay(&merch_txn_id);
        world.call_back(&world.gateway.message(&merch_txn_id)).await;
        assert_eq!(
            world.state(&late).await,
            ("cancelled".into(), "success".into())
        );
        assert!(
            world.issues().await.contains(&"late_capture".to_owned()),
            "{}",
            test.name()
        );
    }
}

/// The policy that cancels an order whose payment failed, and the one that keeps it.
#[tokio::test]
async fn failed_payments() {
    for test in common::stores().await {
        let world = World::with(&test, |settings| {
            settings.failed_attempt_policy = FailedAttemptPolicy::CancelOrder;
        });
        let (order_id, merch_txn_id) = world.at_checkout("strict").await;
        world.call_back(&world.gateway.message(&merch_txn_id)).await;
        assert_eq!(
            world.state(&order_id).await,
            ("cancelled".into(), "failed".into())
        );
        let world = World::new(&test);
        let (order_id, merch_txn_id) = world.at_checkout("patient").await;
        world.call_back(&world.gateway.message(&merch_txn_id)).await;
        assert_eq!(
            world.state(&order_id).await,
            ("pending".into(), "failed".into())
        );
        world
            .start(&order_id, "second-try", json!({}))
            .await
            .expect("may try again");
    }
}

/// The operators' list: filters, masks, and pages that stay stable while orders come in.
#[tokio::test]
async fn the_list() {
    for test in common::stores().await {
        let world = World::new(&test);
        for n in 0..7 {
            world.order(&format!("old{n}")).await;
        }
        let (_, merch_txn_id) = world.paid("paid").await;
        let page = async |cursor: Option<String>| {
            let filter = OrderFilter {
                limit: 3,
                cursor,
                ..OrderFilter::default()
            };
            world.flow.list_orders(&filter).await.expect("a page").body
        };
        let mut seen = Vec::new();
        let mut cursor = None;
        loop {
            let body = page(cursor).await;
            for item in body["items"].as_array().expect("items") {
                seen.push(text(item, "merchant_order_ref"));
            }
            cursor = body["next_cursor"].as_str().map(str::to_owned);
            if cursor.is_none() {
                break;
            }
            world.clock.advance(1);
            world.order(&format!("new{}", seen.len())).await;
        }
        seen.sort();
        assert_eq!(seen.len(), 8, "{}: {seen:?}", test.name());
        seen.dedup();
        assert_eq!(seen.len(), 8);
        let filter = OrderFilter {
            limit: 9,
            merch_txn_id: Some(merch_txn_id),
            ..OrderFilter::default()
        };
        let found = world.flow.list_orders(&filter).await.expect("a page").body;
        assert_eq!(
            found["items"][0]["customer"],
            json!({"email": "b***@example.com", "mobile": "*******000"})
        );
        assert_eq!(found["items"].as_array().map(Vec::len), Some(1));
        let bad = OrderFilter {
            limit: 9,
            cursor: Some("no".into()),
            ..OrderFilter::default()
        };
        assert_eq!(
            world
                .flow
                .list_orders(&bad)
                .await
                .expect_err("no cursor")
                .status(),
            400
        );
    }
}

/// In an emergency new payments are stopped; those that are under way, queries and refunds go on.
#[tokio::test]
async fn payments_can_be_stopped() {
    for test in common::stores().await {
        let before = World::new(&test);
        let (paid, _) = before.paid("before").await;
        let (waiting, merch_txn_id) = before.at_checkout("waiting").await;
        let stopped = before.with_settings(&test, |settings| settings.accept_payments = false);
        let order_id = stopped.order("after").await;
        let no = stopped
            .start(&order_id, "k", json!({}))
            .await
            .expect_err("stopped");
        assert_eq!(
            (no.code(), no.status(), no.retry_after_s()),
            ("payments_stopped", 503, Some(60))
        );
        let replay = stopped.start(&waiting, "waiting", json!({})).await;
        assert!(replay.expect("what was begun is known").replayed);
        stopped.gateway.pay(&merch_txn_id);
        stopped
            .call_back(&stopped.gateway.message(&merch_txn_id))
            .await;
        assert_eq!(stopped.state(&waiting).await.0, "paid", "{}", test.name());
        stopped
            .refund(&paid, "r", json!({}))
            .await
            .expect("refunds go on");
    }
}
