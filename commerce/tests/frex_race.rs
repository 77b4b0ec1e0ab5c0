//! Races and limits of the worker: edits against the beginning of billing, closing hours, alerts that fold, data that is missing,
//! rows of the old tables.

mod common;
mod frex_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use commerce::frex::key::RequestType;
use commerce::frex::model::Order;
use commerce::frex::settings::{ClosedWindow, WorkerSettings};
use commerce::frex::shop::ShopError;
use commerce::frex::steps::payload;
use commerce::frex::tables;
use commerce::frex::view;
use commerce::points::Points;
use commerce::store::Store;
use frex_support::agency::Manners;
use frex_support::{MINUTE_MS, Ran, World, goods, user};

/// Orders raced for on each database; `FREX_RACES=n` races for more.
const RACES: usize = 1_500;
const AMOUNT: i64 = 1_000;
const AMOUNT_NEW: i64 = 1_700;

async fn new_world(store: Store, settings: WorkerSettings) -> World {
    World::new(store, 3, Manners::healthy(), settings).await
}

async fn run(world: &World, steps: &[&str]) {
    let steps: Vec<String> = steps.iter().map(|&step| step.to_owned()).collect();
    let worker = world.worker(Points::none());
    let report = worker.run_now("test", &steps).await.expect("a run");
    assert!(report.whole(), "{report:?}");
}

/// Many orders in one transaction, each with buyer data of its own.
async fn place_many(world: &World, count: usize) {
    world.place("E00000", AMOUNT).await;
    let shop = &world.shop;
    let mut conn = shop.store.pool().acquire().await.expect("a connection");
    let like = tables::peek_pairs(&mut conn, &["E00000"])
        .await
        .expect("a pair")["E00000"]
        .order
        .clone();
    drop(conn);
    let mut tx = shop.store.begin().await.expect("a transaction");
    for at in 1..count {
        let order = Order {
            order_no: format!("E{at:05}"),
            ..like.clone()
        };
        let sealed = payload::seal_user_info(&shop.vault, &order.order_no, &user());
        tables::insert_order(tx.conn(), &order)
            .await
            .expect("an order");
        let buyer = tables::insert_buyer(tx.conn(), &order.order_no, &sealed, order.created_at);
        buyer.await.expect("its buyer");
    }
    tx.commit().await.expect("a commit");
}

/// The shop changes every order while the worker begins to bill it: of each race exactly one wins. Where the edit won, the bill is
/// over the new amount in the end; where billing won, the edit was refused and the bill is over the old one.
async fn race(world: World, count: usize) -> (usize, usize) {
    place_many(&world, count).await;
    run(&world, &["OrderReg"]).await;
    run(&world, &["OrderResult"]).await;
    run(&world, &["AuthorizeResult"]).await;
    let world = Arc::new(world);
    let next = Arc::new(AtomicUsize::new(0));
    let mut editors = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let (world, next) = (world.clone(), next.clone());
        editors.spawn(async move {
            let mut lost = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= count {
                    return lost;
                }
                let order_no = format!("E{at:05}");
                let version = 2;
                let new = goods(AMOUNT_NEW);
                match world
                    .shop
                    .change_amount(&order_no, version, AMOUNT_NEW, &new)
                    .await
                {
                    Ok(_) => {}
                    Err(ShopError::BillingStarted { .. }) => lost.push(order_no),
                    Err(error) => panic!("{order_no}: {error}"),
                }
            }
        });
    }
    run(&world, &["BillingReg"]).await;
    let lost: Vec<String> = editors.join_all().await.into_iter().flatten().collect();
    for _ in 0..4 {
        world.clock.advance(6 * MINUTE_MS);
        run(&world, &[]).await;
    }
    let picture = world.picture().await;
    assert_eq!(picture.violation(), None);
    for (order_no, pair) in &picture.pairs {
        let expected = if lost.contains(order_no) {
            AMOUNT
        } else {
            AMOUNT_NEW
        };
        assert_eq!(pair.order.amount, expected, "{order_no}");
        assert_eq!(view::stage(pair), "billed", "{order_no}");
    }
    for entry in &picture.ledger {
        let expected = if lost.contains(&entry.shop) {
            AMOUNT
        } else {
            AMOUNT_NEW
        };
        assert_eq!(entry.bills, [expected], "{}", entry.shop);
    }
    (count - lost.len(), lost.len())
}

/// See [`race`]; on both databases, and neither side always wins.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_and_a_billing_never_both_win() {
    let races =
        std::env::var("FREX_RACES").map_or(RACES, |n| n.parse().expect("FREX_RACES is a number"));
    for test in common::stores().await {
        let settings = WorkerSettings {
            page_rows: 20,
            commit_items: 5,
            step_slice_s: 240,
            ..WorkerSettings::default()
        };
        let world = new_world(test.store.clone(), settings).await;
        let (edited, billed) = race(world, races).await;
        println!("{}: {edited} edits and {billed} billings won", test.name());
        assert!(
            edited > 0 && billed > 0,
            "{}: no race: {edited}, {billed}",
            test.name()
        );
    }
}

/// In the agency's closing hours nothing is sent; questions go on, look-ups among them; afterwards what waited is sent.
#[tokio::test]
async fn closing_hours_stop_mutations_only() {
    let test = common::sqlite().await;
    let settings = WorkerSettings {
        // The test begins at 10:00 in Japan.
        closed: vec![ClosedWindow {
            from_minute: 10 * 60 + 10,
            to_minute: 11 * 60,
        }],
        ..WorkerSettings::default()
    };
    let world = new_world(test.store.clone(), settings).await;
    world.place("F1", AMOUNT).await;
    world.place("F2", AMOUNT).await;
    run(&world, &["OrderReg"]).await;
    world.place("F3", AMOUNT).await;
    world.agency.behave(Manners {
        lost_answer: 100,
        ..Manners::healthy()
    });
    run(&world, &["OrderReg"]).await;
    world.agency.behave(Manners::healthy());
    world.clock.advance(15 * MINUTE_MS);
    world.place("F4", AMOUNT).await;
    run(&world, &[]).await;
    let requests = world.picture().await.requests;
    let state = |order: &str, kind: RequestType| {
        let row = requests[order].iter().find(|row| row.kind() == kind);
        row.map(|row| row.state.as_str())
    };
    assert_eq!(
        state("F1", RequestType::OrderResult),
        Some("COMPLETE"),
        "a question was asked"
    );
    assert_eq!(
        state("F3", RequestType::OrderReg),
        Some("COMPLETE"),
        "a look-up was made"
    );
    assert_eq!(
        state("F4", RequestType::OrderReg),
        Some("STANDBY"),
        "nothing was sent"
    );
    world.clock.advance(50 * MINUTE_MS);
    run(&world, &[]).await;
    let requests = world.picture().await.requests;
    assert_eq!(requests["F4"][0].state.as_str(), "COMPLETE");
}

/// The same trouble again counts on the open alert; when it is resolved and comes back, it is a new one.
#[tokio::test]
async fn alerts_fold() {
    for test in common::stores().await {
        let world = new_world(test.store.clone(), WorkerSettings::default()).await;
        world.place("F1", AMOUNT).await;
        sqlx::query("UPDATE frex_user_info SET sealed = 'broken'")
            .execute(test.store.pool())
            .await
            .expect("broken");
        for _ in 0..3 {
            world.clock.advance(6 * MINUTE_MS);
            run(&world, &[]).await;
        }
        let open = view::alerts(&test.store, &view::AlertFilter::default())
            .await
            .expect("alerts");
        assert_eq!(open.len(), 1, "{open:?}");
        assert_eq!(
            (open[0]["kind"].as_str(), open[0]["count"].as_i64()),
            (Some("step_failed"), Some(3))
        );
        assert_ne!(open[0]["first_seen"], open[0]["last_seen"]);
        let id = open[0]["id"].as_str().expect("an id");
        let mut conn = test.store.pool().acquire().await.expect("a connection");
        let now = world.clock.now_ms();
        assert!(
            commerce::frex::alert::resolve_one(&mut conn, id, "operator1", now)
                .await
                .expect("resolved")
        );
        drop(conn);
        world.clock.advance(6 * MINUTE_MS);
        run(&world, &[]).await;
        let filter = view::AlertFilter {
            resolved: true,
            ..view::AlertFilter::default()
        };
        let counts: Vec<Option<i64>> = view::alerts(&test.store, &filter)
            .await
            .expect("alerts")
            .iter()
            .map(|alert| alert["count"].as_i64())
            .collect();
        assert_eq!(counts, [Some(3), Some(1)], "{}", test.name());
    }
}

/// An order whose buyer data is missing is not registered; the shop is told once, and when it gives the data, it goes on.
#[tokio::test]
async fn missing_buyer_data_is_told_and_mended() {
    for test in common::stores().await {
        let world = new_world(test.store.clone(), WorkerSettings::default()).await;
        world.place("F1", AMOUNT).await;
        sqlx::query("DELETE FROM frex_user_info")
            .execute(test.store.pool())
            .await
            .expect("gone");
        for _ in 0..2 {
            world.clock.advance(6 * MINUTE_MS);
            run(&world, &[]).await;
        }
        let picture = world.picture().await;
        assert_eq!(
            picture.alerts,
            [("F1".to_owned(), "buyer_data_invalid".to_owned())]
        );
        let version = picture.pairs["F1"].order.version;
        world
            .shop
            .change_buyer("F1", version, &user())
            .await
            .expect("allowed");
        world.settle(6, 20).await;
        let picture = world.picture().await;
        assert_eq!(
            view::stage(&picture.pairs["F1"]),
            "billed",
            "{}",
            test.name()
        );
        assert!(picture.alerts.is_empty());
    }
}

/// Rows as the old tables have them, with '0' for "no transaction" on several orders, are taken up where they stand; what is written
/// is the empty text.
#[tokio::test]
async fn old_rows_go_on() {
    for test in common::stores().await {
        let world = new_world(test.store.clone(), WorkerSettings::default()).await;
        for order in ["F1", "F2", "F3"] {
            world.place(order, AMOUNT).await;
        }
        run(&world, &["OrderReg"]).await;
        sqlx::query("UPDATE frex_state_info SET np_transaction_id = '0'")
            .execute(test.store.pool())
            .await
            .expect("several orders may have none");
        world.shop.cancel("F2").await.expect("a cancel");
        world.settle(6, 20).await;
        let picture = world.picture().await;
        assert_eq!(
            (picture.violation(), picture.stuck()),
            (None, Vec::new()),
            "{}",
            test.name()
        );
        assert_eq!(view::stage(&picture.pairs["F1"]), "billed");
        assert_eq!(view::stage(&picture.pairs["F2"]), "cancelled");
        let zeros: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM frex_state_info WHERE np_transaction_id = '0'",
        )
        .fetch_one(test.store.pool())
        .await
        .expect("a count");
        assert_eq!(zeros, 0, "{}", test.name());
    }
}

/// A run that the database ends early gives its lease back: the next one need not wait for its end.
#[tokio::test]
async fn a_run_that_ends_early_gives_the_lease_back() {
    let test = common::sqlite().await;
    let world = new_world(test.store.clone(), WorkerSettings::default()).await;
    world.place("F1", AMOUNT).await;
    sqlx::query("ALTER TABLE frex_request RENAME TO frex_request_away")
        .execute(test.store.pool())
        .await
        .expect("away");
    let worker = world.worker(Points::none());
    let failed = worker.run_if_due().await.expect_err("no table");
    assert!(failed.to_string().contains("ended early"), "{failed}");
    sqlx::query("ALTER TABLE frex_request_away RENAME TO frex_request")
        .execute(test.store.pool())
        .await
        .expect("back");
    world.clock.advance(6 * MINUTE_MS);
    assert!(matches!(world.run(None).await, Ran::Done(report) if report.whole()));
}

/// The same order sent twice at the same time is one order, and neither caller hears that it was another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_placed_twice_at_once() {
    for test in common::stores().await {
        let world = Arc::new(new_world(test.store.clone(), WorkerSettings::default()).await);
        for n in 0..40 {
            let new = Arc::new(world.new_order(&format!("T{n:03}"), AMOUNT));
            let mut both = tokio::task::JoinSet::new();
            for _ in 0..2 {
                let (world, new) = (world.clone(), new.clone());
                both.spawn(async move { world.shop.place_order(&new).await });
            }
            let created = both
                .join_all()
                .await
                .into_iter()
                .filter(|placed| placed.as_ref().expect("the same order").created)
                .count();
            assert_eq!(created, 1, "{}", test.name());
        }
    }
}
