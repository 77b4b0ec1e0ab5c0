//! Many orders at once.

use std::time::{Duration, Instant};

use commerce::frex::settings::WorkerSettings;
use commerce::frex::steps::payload;
use commerce::frex::tables;
use loadgen::frex::call::Call;
use loadgen::frex::faults::{Fault, Kind};
use loadgen::frex::rules::Rules;

use crate::frex_support;
use crate::rig::{self, Rig};

const ORDERS: usize = 10_000;
/// Items of a call, one of which is bad.
const CALL: usize = 100;

/// 10,000 orders in one run, in calls of 100 of which one item has the whole call refused: within the step's time slice all
/// others are registered, and each bad one is found and told, alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_orders_in_one_run() {
    let settings = WorkerSettings::default();
    let slice = Duration::from_secs(settings.step_slice_s);
    let rig = Rig::patient(Rules::default(), settings, 10_000).await;
    let bad = |at: usize| at % CALL == CALL / 3;
    rig::place(&rig.shop, "B99999", 1_000).await;
    let like = order(&rig, "B99999").await;
    let mut tx = rig.shop.store.begin().await.expect("a transaction");
    for at in 0..ORDERS - 1 {
        let end = if bad(at) { "X" } else { "" };
        let order = commerce::frex::model::Order {
            order_no: format!("B{at:05}{end}"),
            ..like.clone()
        };
        let sealed =
            payload::seal_user_info(&rig.shop.vault, &order.order_no, &frex_support::user());
        tables::insert_order(tx.conn(), &order)
            .await
            .expect("an order");
        tables::insert_buyer(tx.conn(), &order.order_no, &sealed, order.created_at)
            .await
            .expect("its buyer");
    }
    tx.commit().await.expect("a commit");
    rig.centre.set_faults(vec![Fault {
        order: Some("*X".into()),
        ..Fault::on(Kind::BatchRefused, Call::Register)
    }]);
    let began = Instant::now();
    let report = rig.run(&["OrderReg"]).await;
    let took = began.elapsed();
    println!("10,000 orders in {took:?}: {:?}", report.steps[0]);
    let refused = (ORDERS / CALL) as u64;
    let step = &report.steps[0];
    assert!(report.whole() && !step.cut, "{report:?}");
    assert_eq!(
        (step.done, step.refused),
        (ORDERS as u64 - refused, refused)
    );
    assert!(took < slice, "{took:?}");
    let told: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM frex_alert WHERE kind = 'registration_refused' AND order_no LIKE '%X'",
    )
    .fetch_one(rig.shop.store.pool())
    .await
    .expect("a count");
    assert_eq!(told, i64::try_from(refused).expect("small"));
    assert_eq!(
        rig.centre.ledger().transactions.len(),
        ORDERS - ORDERS / CALL
    );
}

async fn order(rig: &Rig, order_no: &str) -> commerce::frex::model::Order {
    let mut conn = rig.shop.store.pool().acquire().await.expect("a connection");
    let mut pairs = tables::peek_pairs(&mut conn, &[order_no])
        .await
        .expect("a pair");
    pairs.remove(order_no).expect("the order").order
}
