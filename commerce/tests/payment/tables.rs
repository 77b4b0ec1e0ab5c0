//! The tables of states, walked: a row in every state, every step tried on it, and only the table's steps reach the disk.

use commerce::atom::flow::state::{OrderCause, OrderStatus};
use commerce::atom::flow::{save_order, take_order};

use super::World;
use crate::common;

/// Every pair of states with every cause: what is in the table is written, and what is not never is.
#[tokio::test]
async fn every_step_of_an_order() {
    for test in common::stores().await {
        let world = World::new(&test);
        let order_id = world.order("walk").await;
        for from in OrderStatus::ALL {
            for to in OrderStatus::ALL.iter().filter(|to| *to != from) {
                for by in OrderCause::ALL {
                    let set = sqlx::query("UPDATE orders SET status = $1 WHERE id = $2");
                    let set = set
                        .bind(from.as_str())
                        .bind(&order_id)
                        .execute(test.store.pool())
                        .await;
                    set.expect("a state to start from");
                    let (store, id, to, by) = (test.store.clone(), order_id.clone(), *to, *by);
                    let tried = tokio::spawn(async move {
                        let mut tx = store.begin().await.expect("begins");
                        let before = take_order(&mut tx, &id)
                            .await
                            .expect("reads")
                            .expect("is there");
                        let mut after = before.clone();
                        after.status = to;
                        save_order(&mut tx, &before, &mut after, by, 1)
                            .await
                            .expect("writes");
                        tx.commit().await.expect("commits");
                    });
                    let written = tried.await.is_ok();
                    assert_eq!(
                        written,
                        from.may_become(to, by),
                        "{}: {from} -> {to} by {by}",
                        test.name()
                    );
                    let now = world.view(&order_id).await["status"].clone();
                    assert_eq!(now, if written { to.as_str() } else { from.as_str() });
                }
            }
        }
    }
}

/// A row that somebody else has written meanwhile is not written over.
#[tokio::test]
async fn an_old_copy_is_not_written() {
    for test in common::stores().await {
        let world = World::new(&test);
        let order_id = world.order("stale").await;
        let mut tx = test.store.begin().await.expect("begins");
        let old = take_order(&mut tx, &order_id)
            .await
            .expect("reads")
            .expect("is there");
        drop(tx);
        world
            .flow
            .cancel(&world.who, &order_id)
            .await
            .expect("cancelled");
        let mut tx = test.store.begin().await.expect("begins");
        let mut after = old.clone();
        after.status = OrderStatus::Paid;
        let lost = save_order(&mut tx, &old, &mut after, OrderCause::Payment, 1).await;
        assert!(lost.expect_err("refused").is_conflict(), "{}", test.name());
    }
}
