//! The rules that must always hold, asked of the tables: each finds its planted violation and nothing else does.

use commerce::atom::flow::invariants::RULES;
use serde_json::json;
use sqlx::{AssertSqlSafe, Row};

use super::World;
use crate::common;

/// For each rule, what breaks it: a statement about one paid order.
const PLANTED: [(&str, &str); 7] = [
    (
        "1_paid_once",
        "UPDATE orders SET paid_attempt_id = NULL WHERE id = $1",
    ),
    (
        "2_paid_agrees",
        "UPDATE payment_attempts SET total_amount = 1 WHERE order_id = $1",
    ),
    (
        "3_refunds_fit",
        "UPDATE payment_attempts SET refund_reserved = 5 WHERE order_id = $1",
    ),
    (
        "4_refunded_is_full",
        "UPDATE orders SET refund_state = 'full' WHERE id = $1",
    ),
    (
        "5_capture_has_its_place",
        "UPDATE orders SET paid_attempt_id = NULL, status = 'cancelled' WHERE id = $1",
    ),
    (
        "6_hold_has_its_issue",
        "UPDATE payment_attempts SET hold = 'amount_mismatch' WHERE order_id = $1",
    ),
    (
        "7_outcome_rises",
        "UPDATE payment_attempts SET outcome = 'failed' WHERE order_id = $1",
    ),
];

async fn is_told(world: &World, order_id: &str, rule: &str) -> bool {
    let what = format!(
        "issues WHERE kind = 'invariant_violated' AND order_id = '{order_id}' AND subject LIKE '%|{rule}'"
    );
    world.count(&what).await == 1
}

/// A healthy run breaks no rule; each planted violation is one issue about its order, once, also after somebody has closed it.
#[tokio::test]
async fn each_rule_finds_what_breaks_it() {
    for test in common::stores().await {
        let world = World::new(&test);
        let (refunded, _) = world.paid("refunded").await;
        let whole = world.refund(&refunded, "whole", json!({})).await;
        whole.expect("a refund");
        let (part, _) = world.paid("part").await;
        let some = world.refund(&part, "some", json!({"amount": 100})).await;
        some.expect("a refund");
        world.jobs().await;
        let healthy = world.flow.run_invariants_once().await.expect("the rules");
        assert_eq!(healthy.len(), RULES.len());
        assert!(healthy.iter().all(|(_, n)| *n == 0), "{healthy:?}");

        for (rule, breaks) in PLANTED {
            let (order_id, _) = world.paid(rule).await;
            let planted = sqlx::query(breaks).bind(&order_id);
            planted.execute(test.store.pool()).await.expect(rule);
            let found = world.flow.run_invariants_once().await.expect("the rules");
            let place = format!("{} {rule}: {found:?}", test.name());
            assert!(found.contains(&(rule, 1)), "{place}");
            assert!(is_told(&world, &order_id, rule).await, "{place}");
            let closed = sqlx::query("UPDATE issues SET closed_at = 1, resolution = 'seen'");
            closed.execute(test.store.pool()).await.expect("closed");
            let again = world.flow.run_invariants_once().await.expect("the rules");
            assert!(again.iter().all(|(_, n)| *n == 0), "{place} {again:?}");
        }
        assert_eq!(PLANTED.map(|(rule, _)| rule), RULES.map(|rule| rule.name));
    }
}

/// Each question reads one table from end to end at most, and looks up by index what it asks of the others.
#[tokio::test]
async fn the_questions_are_cheap() {
    let test = common::sqlite().await;
    for rule in RULES {
        let explain = format!("EXPLAIN QUERY PLAN {}", rule.question());
        let steps = sqlx::query(AssertSqlSafe(explain));
        let steps = steps.fetch_all(test.store.pool()).await.expect("a plan");
        let steps: Vec<String> = steps.iter().map(|row| row.get("detail")).collect();
        let looked_up = ["SCAN i", "SCAN r", "SCAN t"];
        for step in &steps {
            assert!(
                !looked_up.contains(&step.as_str()),
                "{}: {steps:?}",
                rule.name
            );
            assert!(!step.contains("AUTOMATIC"), "{}: {steps:?}", rule.name);
        }
        let tables = |step: &&String| step.starts_with("SCAN ") && !step.starts_with("SCAN q");
        assert!(
            steps.iter().filter(tables).count() <= 1,
            "{}: {steps:?}",
            rule.name
        );
    }
}
