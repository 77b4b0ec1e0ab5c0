//! Gauges that alerts look at: what waits as designed is not counted with what is late.

use commerce::clock::{DAY_MS, HOUR_MS};
use commerce::metrics::gauges;

use super::World;
use crate::common;

/// A slip that may still be paid at a counter is no payment without a result; after its days it is one.
#[tokio::test]
async fn a_slip_is_open_by_design() {
    for test in common::stores().await {
        let world = World::new(&test);
        world.at_checkout("card").await;
        let (_, slip) = world.at_checkout("slip").await;
        let set = "UPDATE payment_attempts SET asked_channel = 'NR' WHERE merch_txn_id = $1";
        let set = sqlx::query(set).bind(&slip).execute(test.store.pool());
        set.await.expect("a slip");
        world.clock.advance(25 * HOUR_MS);
        let text = gauges::text(&world.flow).await.expect("gauges");
        for line in ["age_bucket=\"24h\"} 1", "age_bucket=\"slip\"} 1"] {
            assert!(text.contains(line), "{}: {text}", test.name());
        }
        world.clock.advance(6 * DAY_MS);
        let text = gauges::text(&world.flow).await.expect("gauges");
        for line in ["age_bucket=\"24h\"} 2", "age_bucket=\"slip\"} 0"] {
            assert!(text.contains(line), "{}: {text}", test.name());
        }
    }
}

/// What a merchant with an address does not take is late; what one had not taken whose address was removed is not.
#[tokio::test]
async fn a_merchant_without_an_address_is_not_late() {
    for test in common::stores().await {
        let world = World::new(&test);
        world.paid("told").await;
        let set = sqlx::query("UPDATE outbox SET tries = 1").execute(test.store.pool());
        set.await.expect("an event that was not taken");
        world.clock.advance(2 * HOUR_MS);
        let text = gauges::text(&world.flow).await.expect("gauges");
        assert!(text.contains("notify_lag_seconds 7200"), "{text}");
        let alone = world.with_settings(&test, |settings| {
            for merchant in settings.merchants.values_mut() {
                merchant.is_told = false;
            }
        });
        let text = gauges::text(&alone.flow).await.expect("gauges");
        assert!(text.contains("notify_lag_seconds 0"), "{text}");
    }
}
