//! What runs beside the batch: rules that must hold, the worker's health, duties that one process does, and the end of buyer data.

mod common;
mod frex_support;

use std::sync::Arc;

use commerce::clock::DAY_MS;
use commerce::frex::agency::Agency;
use commerce::frex::alert::{Alert, AlertKind};
use commerce::frex::decide::Decider;
use commerce::frex::duty::Duty;
use commerce::frex::reconcile::Reconcile;
use commerce::frex::settings::{BillingTrigger, ClosedWindow, WorkerSettings};
use commerce::frex::shop::NewOrder;
use commerce::frex::steps::regist;
use commerce::frex::steps::table::STEPS;
use commerce::frex::{alert, health, invariants, lease, purge, view};
use commerce::points::Points;
use commerce::store::Store;
use frex_support::agency::Manners;
use frex_support::{MINUTE_MS, Ran, START_MS, World, goods, user};
use sqlx::Row as _;

/// A world with one billed order.
async fn world(store: Store) -> World {
    let world = World::new(store, 1, Manners::healthy(), WorkerSettings::default()).await;
    let new = NewOrder {
        order_no: "C1".into(),
        joiner_id: "J1".into(),
        amount: 11_000,
        goods: goods(11_000),
        user: user(),
    };
    world.shop.place_order(&new).await.expect("placed");
    for _ in 0..40 {
        let worker = world.worker(Points::none());
        worker.run_now("test", &[]).await.expect("it runs");
        world.clock.advance(10 * MINUTE_MS);
    }
    world
}

async fn execute(store: &Store, sql: &'static str) -> u64 {
    let done = sqlx::query(sql).execute(store.pool()).await;
    done.unwrap_or_else(|error| panic!("{sql}: {error}"))
        .rows_affected()
}

async fn open_alerts(store: &Store, kind: AlertKind) -> i64 {
    sqlx::query_scalar("SELECT COUNT(*) FROM frex_alert WHERE kind = $1 AND resolved_at = 0")
        .bind(kind.as_str())
        .fetch_one(store.pool())
        .await
        .expect("counted")
}

/// An alert of the order that somebody resolved: it excuses nothing.
const RESOLVED_ALERT: &str = "INSERT INTO frex_alert (id, kind, severity, order_no, request_key, codes, detail, first_seen, last_seen, \
    count, resolved_at, resolved_by) VALUES ('A', 'cancel_refused', 'warning', 'C1', 'C1:BILLING_RESULT:0', '[]', '', 1, 1, 1, 2, 'desk')";

/// What breaks each rule; the rows are otherwise those of a billed order.
const BREAKS: [(&str, &[&str]); 10] = [
    (
        "2_billed_columns",
        &["UPDATE frex_order SET str_order_state = 'ACCEPT'"],
    ),
    (
        "3_approved_columns",
        &["UPDATE frex_order SET str_money_input = 'TEMPPAYMENT'"],
    ),
    (
        "4_billed_amount",
        &["UPDATE frex_order SET order_complete_amount = 1"],
    ),
    (
        "5_cancel_ends",
        &[
            "UPDATE frex_order SET str_state = 'DEL'",
            "UPDATE frex_state_info SET order_state = 'DEL', delete_rejected = 1",
            RESOLVED_ALERT,
        ],
    ),
    (
        "5_cancel_ends",
        &[
            "UPDATE frex_order SET str_state = 'DEL'",
            "UPDATE frex_state_info SET order_state = 'DEL'",
            RESOLVED_ALERT,
        ],
    ),
    (
        "6_lock_has_owner",
        &["UPDATE frex_state_info SET result_state = 'UPDATE'"],
    ),
    (
        "6_lock_has_owner",
        &[
            "UPDATE frex_state_info SET result_state = 'BILLING'",
            "UPDATE frex_request SET state = 'ERROR' WHERE type = 'BILLING_RESULT'",
            RESOLVED_ALERT,
        ],
    ),
    (
        "7_no_old_sending",
        &["UPDATE frex_request SET state = 'SENDING', sent_at = 1 WHERE type = 'BILLING_REG'"],
    ),
    (
        "8_accept_no",
        &["UPDATE frex_request SET accept_no = '' WHERE type = 'BILLING_REG'"],
    ),
    (
        "9_quiet",
        &[
            "UPDATE frex_request SET state = 'SKIPPED', done_at = 1",
            "UPDATE frex_state_info SET billing_state = 'NONE', authorize_state = 'NONE'",
        ],
    ),
];

/// A sound system breaks no rule; each rule finds the row that breaks it and tells it once. On both databases.
#[tokio::test]
async fn each_rule_finds_what_breaks_it() {
    for test in common::stores().await {
        let world = world(test.store.clone()).await;
        let settings = WorkerSettings::default();
        let (store, now) = (&world.shop.store, world.clock.now_ms());
        let found = invariants::check(store, &settings, now)
            .await
            .expect("checked");
        assert!(
            found.iter().all(|(_, count)| *count == 0),
            "{}: {found:?}",
            test.name()
        );
        assert_eq!(found.len(), invariants::RULES.len());
        for (rule, statements) in BREAKS {
            // Each breaks the sound rows anew.
            let kept = keep(store).await;
            for sql in statements {
                assert!(execute(store, sql).await > 0, "{sql}");
            }
            let count = |found: invariants::Found| {
                let found = found.into_iter().find(|it| it.0 == rule);
                found.map(|it| it.1)
            };
            let first = invariants::check(store, &settings, now)
                .await
                .expect("checked");
            assert_eq!(count(first), Some(1), "{}: {rule}", test.name());
            let again = invariants::check(store, &settings, now)
                .await
                .expect("checked");
            assert_eq!(
                count(again),
                Some(0),
                "{}: {rule} is told once",
                test.name()
            );
            let kind = AlertKind::InvariantViolated;
            assert!(open_alerts(store, kind).await > 0, "{rule} is broken still");
            put_back(store, kept).await;
            invariants::check(store, &settings, now)
                .await
                .expect("checked");
            assert_eq!(open_alerts(store, kind).await, 0, "{rule} holds again");
            execute(store, "DELETE FROM frex_alert").await;
        }
    }
}

/// The columns that the breaks touch, by their tables.
type Kept = (
    String,
    String,
    i64,
    Vec<(String, String, String, i64, i64)>,
    (String, String, String, i64),
);

async fn keep(store: &Store) -> Kept {
    let order: (String, String, i64) = sqlx::query_as(
        "SELECT str_order_state, str_money_input, order_complete_amount FROM frex_order",
    )
    .fetch_one(store.pool())
    .await
    .expect("the order");
    let requests =
        sqlx::query_as("SELECT id, state, accept_no, sent_at, done_at FROM frex_request")
            .fetch_all(store.pool())
            .await
            .expect("the requests");
    let info = sqlx::query_as(
        "SELECT result_state, billing_state, authorize_state, delete_rejected FROM frex_state_info",
    )
    .fetch_one(store.pool())
    .await
    .expect("the state");
    (order.0, order.1, order.2, requests, info)
}

async fn put_back(store: &Store, kept: Kept) {
    let (stage, money, amount, requests, info) = kept;
    sqlx::query("UPDATE frex_order SET str_state = 'REG', str_order_state = $1, str_money_input = $2, order_complete_amount = $3")
        .bind(stage)
        .bind(money)
        .bind(amount)
        .execute(store.pool())
        .await
        .expect("put back");
    for (id, state, accept_no, sent_at, done_at) in requests {
        sqlx::query("UPDATE frex_request SET state = $1, accept_no = $2, sent_at = $3, done_at = $4 WHERE id = $5")
            .bind(state)
            .bind(accept_no)
            .bind(sent_at)
            .bind(done_at)
            .bind(id)
            .execute(store.pool())
            .await
            .expect("put back");
    }
    sqlx::query("UPDATE frex_state_info SET result_state = $1, billing_state = $2, authorize_state = $3, delete_rejected = $4, order_state = 'REG'")
        .bind(info.0)
        .bind(info.1)
        .bind(info.2)
        .bind(info.3)
        .execute(store.pool())
        .await
        .expect("put back");
}

/// Each select of the steps walks the index made for it, whatever else is in the tables: it says what the index says. On SQLite, which
/// tells its plans in words, and for both triggers.
#[tokio::test]
async fn each_select_walks_its_index() {
    let test = common::sqlite().await;
    let plan = |step: &'static str, at: usize, trigger: BillingTrigger| {
        let (store, settings) = (
            test.store.clone(),
            WorkerSettings {
                billing_trigger: trigger,
                ..WorkerSettings::default()
            },
        );
        async move {
            let found = STEPS.iter().find(|it| it.name == step).expect("a step");
            let sql = regist::select_sql(&found.select[at], &settings);
            let rows = sqlx::query(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")))
                .bind(START_MS)
                .bind(-1_i64)
                .bind("")
                .bind(200_i64)
                .fetch_all(store.pool())
                .await
                .expect("a plan");
            let lines = rows.iter().map(|row| row.get::<String, _>("detail"));
            lines.collect::<Vec<String>>()
        }
    };
    for (step, at, trigger, index) in [
        (
            "OrderResult",
            0,
            BillingTrigger::Authorized,
            "INDEX frex_state_unanswered",
        ),
        (
            "OrderReg",
            0,
            BillingTrigger::Authorized,
            "INDEX frex_order_unregistered",
        ),
        (
            "UpdateResult",
            0,
            BillingTrigger::Authorized,
            "INDEX frex_state_unanswered",
        ),
        (
            "UpdateReg",
            0,
            BillingTrigger::Authorized,
            "INDEX frex_state_changed",
        ),
        (
            "DeleteResult",
            0,
            BillingTrigger::Authorized,
            "INDEX frex_state_",
        ),
        (
            "DeleteReg",
            0,
            BillingTrigger::Authorized,
            "INDEX frex_state_cancelling",
        ),
        (
            "DeleteReg",
            1,
            BillingTrigger::Authorized,
            "INDEX frex_state_cancelling",
        ),
        (
            "AuthorizeResult",
            0,
            BillingTrigger::Authorized,
            "INDEX frex_state_unscreened",
        ),
        (
            "BillingResult",
            0,
            BillingTrigger::Authorized,
            "INDEX frex_state_unanswered",
        ),
        (
            "BillingReg",
            0,
            BillingTrigger::Authorized,
            "INDEX frex_state_approved",
        ),
        (
            "BillingReg",
            0,
            BillingTrigger::OrderEnd,
            "INDEX frex_order_ended",
        ),
    ] {
        let lines = plan(step, at, trigger).await;
        assert!(lines[0].contains(index), "{step} {at}: {lines:?}");
        assert!(
            !lines.iter().any(|line| line.contains("TEMP B-TREE")),
            "{step} {at} sorts: {lines:?}"
        );
    }
}

/// What waits too long is told once; resolved by a person while it still waits, it is told again. On both databases.
#[tokio::test]
async fn what_waits_is_told_once() {
    for test in common::stores().await {
        let world = World::new(
            test.store.clone(),
            1,
            Manners {
                held: 100,
                ..Manners::healthy()
            },
            WorkerSettings {
                hold_overdue_s: 600,
                hold_poll_s: 86_400,
                ..WorkerSettings::default()
            },
        )
        .await;
        world.place("C1", 11_000).await;
        let store = &world.shop.store;
        let kind = AlertKind::DelayOverdue;
        for (resolve, expected) in [(false, 1), (false, 1), (true, 1), (true, 1)] {
            for _ in 0..3 {
                world.clock.advance(10 * MINUTE_MS);
                let worker = world.worker(Points::none());
                worker.run_now("test", &[]).await.expect("it runs");
            }
            assert_eq!(open_alerts(store, kind).await, expected, "{}", test.name());
            if resolve {
                let id: String = sqlx::query_scalar(
                    "SELECT id FROM frex_alert WHERE kind = 'delay_overdue' AND resolved_at = 0",
                )
                .fetch_one(store.pool())
                .await
                .expect("an alert");
                let mut conn = store.pool().acquire().await.expect("a connection");
                let done = alert::resolve_one(&mut conn, &id, "desk", 1).await;
                assert!(done.expect("resolved"));
            }
        }
        let told: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM frex_alert WHERE kind = 'delay_overdue'")
                .fetch_one(store.pool())
                .await
                .expect("counted");
        assert_eq!(told, 2, "{}: once, and once again", test.name());
    }
}

/// Runs that do not end well for three intervals are told once, not while the worker is paused, and no longer when one ended well.
#[tokio::test]
async fn a_silent_worker_is_told() {
    let test = common::sqlite().await;
    let world = World::new(
        test.store.clone(),
        1,
        Manners::healthy(),
        WorkerSettings::default(),
    )
    .await;
    let (store, settings) = (&world.shop.store, WorkerSettings::default());
    let kind = AlertKind::RunOverdue;
    let check = |now| health::check(store, &settings, START_MS, now);
    check(START_MS + 15 * MINUTE_MS).await.expect("checked");
    assert_eq!(open_alerts(store, kind).await, 0);
    for _ in 0..2 {
        check(START_MS + 20 * MINUTE_MS).await.expect("checked");
        assert_eq!(open_alerts(store, kind).await, 1);
    }
    let desk = Decider::without_note("desk");
    world.shop.set_paused(true, desk).await.expect("paused");
    check(START_MS + 20 * MINUTE_MS).await.expect("checked");
    assert_eq!(
        open_alerts(store, kind).await,
        0,
        "a paused worker is not late"
    );
    world.shop.set_paused(false, desk).await.expect("resumed");
    check(START_MS + 20 * MINUTE_MS).await.expect("checked");
    assert_eq!(open_alerts(store, kind).await, 1);
    world.clock.advance(20 * MINUTE_MS);
    let worker = world.worker(Points::none());
    worker.run_now("test", &[]).await.expect("it runs");
    check(world.clock.now_ms() + MINUTE_MS)
        .await
        .expect("checked");
    assert_eq!(open_alerts(store, kind).await, 0);
}

/// A run of some steps, and one that the agency let nobody into, are no sign of health; the first leaves the schedule as it was.
#[tokio::test]
async fn half_a_run_is_no_success() {
    for test in common::stores().await {
        let settings = WorkerSettings::default();
        let world = World::new(test.store.clone(), 1, Manners::healthy(), settings).await;
        let store = &world.shop.store;
        let due = async || lease::view(store).await.expect("a lease").next_run_at;
        let run = async |steps: &[String]| {
            world.clock.advance(MINUTE_MS);
            let worker = world.worker(Points::none());
            worker.run_now("test", steps).await.expect("it runs");
            health::last_success(store).await.expect("asked")
        };
        let whole = run(&[]).await;
        assert_eq!(whole, world.clock.now_ms(), "{}", test.name());
        let before = due().await;
        assert_eq!(run(&["OrderReg".to_owned()]).await, whole);
        assert_eq!(due().await, before, "{}", test.name());
        world.agency.behave(Manners {
            rejects_us: true,
            ..Manners::healthy()
        });
        world.place("C1", 11_000).await;
        assert_eq!(run(&[]).await, whole, "{}", test.name());
        assert_eq!(open_alerts(store, AlertKind::AgencyAuth).await, 1);
        world.agency.behave(Manners::healthy());
        assert_eq!(run(&[]).await, world.clock.now_ms(), "{}", test.name());
    }
}

/// A duty is done by one of two processes that look at the same time; who dies with it is followed by another, and a failure waits
/// longer each time.
#[tokio::test]
async fn a_duty_is_done_by_one() {
    for test in common::stores().await {
        let (one, two) = (test.store.clone(), test.again().await);
        let duty = Duty::Reconcile;
        let taken = tokio::join!(duty.take(&one, 1_000, 500), duty.take(&two, 1_000, 500));
        let taken = [taken.0.expect("asked"), taken.1.expect("asked")];
        assert_eq!(taken.iter().filter(|it| **it).count(), 1, "{}", test.name());
        assert!(!duty.take(&two, 1_499, 500).await.expect("asked"));
        assert!(
            duty.take(&two, 1_500, 500).await.expect("asked"),
            "its owner is gone"
        );
        for wait_ms in [60_000, 600_000, 600_000] {
            duty.failed(&two, 2_000, &[60, 600], "no answer")
                .await
                .expect("noted");
            assert!(
                !duty
                    .take(&two, 2_000 + wait_ms - 1, 0)
                    .await
                    .expect("asked")
            );
            assert!(duty.take(&two, 2_000 + wait_ms, 0).await.expect("asked"));
        }
        duty.done(&one, 5_000_000).await.expect("noted");
        assert!(!duty.take(&two, 4_999_999, 0).await.expect("asked"));
    }
}

/// Buyer data of an order that ended long enough ago goes, and only that; the order stays.
#[tokio::test]
async fn buyer_data_has_an_end() {
    let test = common::sqlite().await;
    let world = world(test.store.clone()).await;
    let new = NewOrder {
        order_no: "C2".into(),
        joiner_id: "J1".into(),
        amount: 11_000,
        goods: goods(11_000),
        user: user(),
    };
    world.shop.place_order(&new).await.expect("placed");
    let store = &world.shop.store;
    let now = world.clock.now_ms();
    assert_eq!(purge::buyer_data(store, 30, now).await.expect("purged"), 0);
    let later = now + 31 * DAY_MS;
    assert_eq!(
        purge::buyer_data(store, 30, later).await.expect("purged"),
        1
    );
    let left: Vec<String> = sqlx::query_scalar("SELECT order_no FROM frex_user_info")
        .fetch_all(store.pool())
        .await
        .expect("read");
    assert_eq!(left, ["C2"], "an order that has not ended keeps it");
    let orders: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM frex_order")
        .fetch_one(store.pool())
        .await
        .expect("counted");
    assert_eq!(orders, 2);
}

/// What is wanted while the agency is closed is sent when it opens, and is not told before it has waited in open time.
#[tokio::test]
async fn a_night_is_no_delay() {
    for test in common::stores().await {
        // The world begins at 10:00 in Japan.
        let settings = WorkerSettings {
            closed: vec![ClosedWindow {
                from_minute: 600,
                to_minute: 1_080,
            }],
            ..WorkerSettings::default()
        };
        let world = World::new(test.store.clone(), 1, Manners::healthy(), settings).await;
        let (store, kind) = (&world.shop.store, AlertKind::StandbyOverdue);
        world.place("C1", 11_000).await;
        let run = async |minutes: i64| {
            world.clock.advance(minutes * MINUTE_MS);
            let worker = world.worker(Points::none());
            worker.run_now("test", &[]).await.expect("it runs");
            open_alerts(store, kind).await
        };
        assert_eq!(run(0).await, 0);
        assert_eq!(run(7 * 60).await, 0, "{}: seven hours closed", test.name());
        world.agency.behave(Manners {
            not_sent: 100,
            ..Manners::healthy()
        });
        assert_eq!(run(80).await, 0, "{}: open for 20 minutes", test.name());
        assert_eq!(run(15).await, 1, "{}: open for 35 minutes", test.name());
    }
}

/// An alert, as it was raised at a time.
async fn raised(world: &World, kind: AlertKind, order_no: &str, request_key: &str, at_ms: i64) {
    let mut conn = world.shop.store.pool().acquire().await.expect("connected");
    let alert = Alert {
        order_no: order_no.to_owned(),
        request_key: request_key.to_owned(),
        ..Alert::default()
    };
    let id = format!("{kind}-{order_no}{request_key}");
    alert::raise(&mut conn, kind, &alert, id, at_ms)
        .await
        .expect("raised");
}

/// Alerts whose cause is seen to be gone end with the next run that ends well; what was told just now stays.
#[tokio::test]
async fn alerts_end_with_their_cause() {
    for test in common::stores().await {
        let settings = WorkerSettings::default();
        let world = World::new(test.store.clone(), 1, Manners::healthy(), settings).await;
        world.place("C1", 11_000).await;
        let now = world.clock.now_ms();
        raised(&world, AlertKind::LeaseLost, "", "", now - 1).await;
        raised(&world, AlertKind::StepFailed, "C1", "", now - 1).await;
        raised(
            &world,
            AlertKind::ContractViolation,
            "",
            "OrderReg",
            now - 1,
        )
        .await;
        raised(&world, AlertKind::ScreeningNg, "C8", "", now - DAY_MS - 1).await;
        raised(&world, AlertKind::ScreeningNg, "C9", "", now - 1).await;
        // Nothing is asked of this step in the run.
        raised(
            &world,
            AlertKind::ContractViolation,
            "",
            "DeleteReg",
            now - 1,
        )
        .await;
        let worker = world.worker(Points::none());
        worker.run_now("test", &[]).await.expect("it runs");
        let store = &world.shop.store;
        for (kind, open) in [
            (AlertKind::LeaseLost, 0),
            (AlertKind::StepFailed, 0),
            (AlertKind::ContractViolation, 1),
            (AlertKind::ScreeningNg, 1),
        ] {
            assert_eq!(
                open_alerts(store, kind).await,
                open,
                "{}: {kind}",
                test.name()
            );
        }
    }
}

/// What a comparison of the bills told of ends when a later one finds that both sides agree, however old the bill is by then.
#[tokio::test]
async fn a_mismatch_ends_with_agreement() {
    for test in common::stores().await {
        let world = world(test.store.clone()).await;
        let store = &world.shop.store;
        let agency: Arc<dyn Agency> = Arc::new(world.agency.clone());
        let compare = async || {
            let reconcile = Reconcile {
                store,
                agency: &agency,
                items: 100,
                now: world.clock.now_ms(),
            };
            let done = reconcile.run(3).await.expect("compared");
            (
                done.amounts,
                open_alerts(store, AlertKind::ReconcileMismatch).await,
            )
        };
        world.agency.behave(Manners {
            amount_off: 7,
            ..Manners::healthy()
        });
        assert_eq!(compare().await, (1, 1), "{}", test.name());
        world.clock.advance(40 * DAY_MS);
        assert_eq!(compare().await, (1, 1), "{}: asked again", test.name());
        world.agency.behave(Manners::healthy());
        assert_eq!(compare().await, (0, 0), "{}", test.name());
    }
}

/// An alert that somebody put away is gone, and the books say who it was and why.
#[tokio::test]
async fn an_alert_is_put_away_with_a_note() {
    for test in common::stores().await {
        let world = world(test.store.clone()).await;
        raised(&world, AlertKind::UpdateRefused, "C1", "", 1).await;
        let by = Decider {
            operator: "one",
            note: "settled by telephone",
        };
        let id = "update_refused-C1";
        assert!(world.shop.resolve_alert(id, by).await.expect("asked"));
        assert!(!world.shop.resolve_alert(id, by).await.expect("asked"));
        let history = view::history(&world.shop.store, "C1").await;
        let history = history.expect("read").expect("the order");
        let kept = history.iter().find(|it| it["action"] == "resolve_alert");
        let kept = kept.expect("a record");
        assert_eq!(kept["note"], "settled by telephone", "{}", test.name());
        assert_eq!(kept["operator"], "one");
    }
}

/// One answer that cannot be read keeps no other order from being compared, and the comparison is not called done.
#[tokio::test]
async fn an_unreadable_bill_is_alone() {
    for test in common::stores().await {
        let world = world(test.store.clone()).await;
        world.place("C2", 12_000).await;
        world.settle(6, 20).await;
        let store = &world.shop.store;
        let agency: Arc<dyn Agency> = Arc::new(world.agency.clone());
        let reconcile = Reconcile {
            store,
            agency: &agency,
            items: 100,
            now: world.clock.now_ms(),
        };
        world.agency.behave(Manners {
            garbles_first: true,
            amount_off: 7,
            ..Manners::healthy()
        });
        let done = reconcile.run(3).await;
        let error = done.expect_err("not all are compared").to_string();
        assert!(error.starts_with("of 1 orders, C1 first"), "{error}");
        let told = open_alerts(store, AlertKind::ReconcileMismatch).await;
        assert_eq!(told, 1, "{}: the other one is", test.name());
        world.agency.behave(Manners::healthy());
        let done = reconcile.run(3).await.expect("compared");
        assert_eq!((done.billed, done.amounts), (2, 0), "{}", test.name());
    }
}

/// A clock that was far ahead and is right again stops nothing: the next run begins, and that none ends is told.
#[tokio::test]
async fn a_clock_that_went_back() {
    for test in common::stores().await {
        let world = world(test.store.clone()).await;
        let store = &world.shop.store;
        for ahead in [
            "UPDATE frex_lease SET next_run_at = next_run_at + 86400000",
            "UPDATE frex_run SET ended_at = ended_at + 86400000",
        ] {
            let done = sqlx::query(ahead).execute(store.pool()).await;
            assert!(done.expect("moved").rows_affected() > 0);
        }
        let now = world.clock.now_ms();
        let settings = WorkerSettings::default();
        health::check(store, &settings, now - DAY_MS, now)
            .await
            .expect("checked");
        let told = open_alerts(store, AlertKind::RunOverdue).await;
        assert_eq!(told, 1, "{}", test.name());
        assert!(
            matches!(world.run(None).await, Ran::Done(_)),
            "{}",
            test.name()
        );
    }
}
