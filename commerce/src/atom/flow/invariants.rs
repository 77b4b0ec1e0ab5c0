//! The rules that must always hold, as questions to the database (`spec/atom.md` 21).
//!
//! Once a day every rule is asked, outside of any transaction, so that nobody waits for it. An order that breaks one is an
//! issue, once for each rule: nothing is repaired here, a person finds out why. What cannot be asked of these tables is left
//! to the tests: that every capture of Atom's is known here, that each refund went out once, and that the log holds no
//! secret. The sum of refunds of one product of a split order is guarded where a refund is asked for.

use serde_json::json;
use sqlx::{AssertSqlSafe, Row};

use super::issues::{self, Kind, NewIssue};
use super::{Flow, FlowError, take_order};
use crate::store::StoreError;

/// Orders told of for one rule in one run.
const ORDERS_MAX: i64 = 100;

/// One rule.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// The name in issues and metrics.
    pub name: &'static str,
    /// What an order does that breaks it.
    pub broken: &'static str,
    /// Selects `order_id` of every order that breaks it.
    sql: &'static str,
}

impl Rule {
    /// The question as it is asked: orders that break the rule and that nobody was told of yet.
    pub fn question(&self) -> String {
        format!(
            "SELECT DISTINCT q.order_id FROM ({}) q WHERE NOT EXISTS (SELECT 1 FROM issues t \
             WHERE t.order_id = q.order_id AND t.kind = '{}' AND t.subject = q.order_id || '|-|-|{}') \
             ORDER BY q.order_id LIMIT {ORDERS_MAX}",
            self.sql,
            Kind::InvariantViolated.as_str(),
            self.name
        )
    }
}

/// All rules.
pub const RULES: [Rule; 7] = [
    Rule {
        name: "1_paid_once",
        broken: "the order counts as paid, but not by one capture of an attempt of its own",
        sql: "SELECT o.id AS order_id FROM orders o WHERE o.status IN ('paid', 'shipped', 'delivered', 'refunded') \
              AND NOT EXISTS (SELECT 1 FROM payment_attempts a WHERE a.id = o.paid_attempt_id AND a.order_id = o.id \
              AND a.outcome IN ('success', 'reversed') AND a.atom_txn_id IS NOT NULL) \
              UNION ALL SELECT o.id FROM orders o WHERE o.status = 'pending' AND o.paid_attempt_id IS NOT NULL",
    },
    Rule {
        name: "2_paid_agrees",
        broken: "the order is paid with another amount or currency than ordered, and nobody has accepted that",
        sql: "SELECT o.id AS order_id FROM orders o JOIN payment_attempts a ON a.id = o.paid_attempt_id \
              WHERE o.status IN ('paid', 'shipped', 'delivered', 'refunded') AND (a.amount <> o.amount \
              OR a.currency <> o.currency OR a.status_source IS NULL \
              OR (a.accepted IS NULL AND a.total_amount - COALESCE(a.surcharge, 0) <> a.amount))",
    },
    Rule {
        name: "3_refunds_fit",
        broken: "the refunds of a payment exceed what was captured, or are not what its balance says",
        sql: "SELECT a.order_id FROM payment_attempts a WHERE a.outcome IN ('success', 'reversed') \
              AND (a.refund_reserved > a.amount AND a.refund_reserved > COALESCE(a.total_amount, 0) \
              OR a.refund_reserved <> COALESCE((SELECT SUM(r.amount) FROM refunds r WHERE r.attempt_id = a.id \
              AND r.surplus = 0 AND r.state NOT IN ('rejected', 'failed')), 0) \
              OR a.refund_done <> COALESCE((SELECT SUM(r.amount) FROM refunds r WHERE r.attempt_id = a.id \
              AND r.surplus = 0 AND r.state IN ('accepted', 'processed')), 0))",
    },
    Rule {
        name: "4_refunded_is_full",
        broken: "the order's refund state is not what the refunds of its payment say",
        sql: "SELECT o.id AS order_id FROM orders o JOIN payment_attempts a ON a.id = o.paid_attempt_id \
              WHERE o.status IN ('paid', 'shipped', 'delivered', 'refunded') AND (o.refunded_amount <> a.refund_done \
              OR (o.status = 'refunded' AND o.refund_state <> 'full') \
              OR (o.status <> 'refunded' AND o.refund_state = 'full'))",
    },
    Rule {
        name: "5_capture_has_its_place",
        broken: "money was captured that pays no order, and nobody was told",
        sql: "SELECT a.order_id FROM payment_attempts a JOIN orders o ON o.id = a.order_id WHERE a.outcome = 'success' \
              AND (o.paid_attempt_id IS NULL OR o.paid_attempt_id <> a.id) AND NOT EXISTS \
              (SELECT 1 FROM issues i WHERE i.order_id = a.order_id AND i.attempt_id = a.id)",
    },
    Rule {
        name: "6_hold_has_its_issue",
        broken: "a payment is on hold, and no open issue can end that",
        sql: "SELECT a.order_id FROM payment_attempts a WHERE a.hold IS NOT NULL AND NOT EXISTS \
              (SELECT 1 FROM issues i WHERE i.order_id = a.order_id AND i.attempt_id = a.id AND i.kind = a.hold \
              AND i.closed_at IS NULL)",
    },
    Rule {
        name: "7_outcome_rises",
        broken: "a payment that was captured is not any more",
        sql: "SELECT a.order_id FROM payment_attempts a WHERE a.settled_at IS NOT NULL \
              AND a.outcome NOT IN ('success', 'reversed')",
    },
];

/// Rule, and how many orders break it that were not told of before.
pub type Found = Vec<(&'static str, usize)>;

impl Flow {
    /// Asks every rule; each order that breaks one is an issue, once.
    ///
    /// # Errors
    /// The database fails.
    pub async fn run_invariants_once(&self) -> Result<Found, FlowError> {
        let mut found = Found::new();
        for rule in &RULES {
            let rows = sqlx::query(AssertSqlSafe(rule.question()))
                .fetch_all(self.store.pool())
                .await
                .map_err(StoreError::from)?;
            let mut told = 0;
            for row in &rows {
                let order_id: String = row.try_get("order_id").map_err(StoreError::from)?;
                told += usize::from(self.tell_violation(rule, &order_id).await?);
            }
            self.observer.violated(rule.name, told);
            found.push((rule.name, told));
        }
        Ok(found)
    }

    /// Whether nobody was told of it before.
    async fn tell_violation(&self, rule: &Rule, order_id: &str) -> Result<bool, FlowError> {
        let mut tx = self.store.begin().await?;
        take_order(&mut tx, order_id).await?;
        let raised = NewIssue {
            kind: Kind::InvariantViolated,
            order_id: Some(order_id),
            attempt_id: None,
            refund_id: None,
            about: rule.name,
            detail: json!({"rule": rule.name, "broken": rule.broken}),
        };
        let raised = issues::open(&mut tx, self.clock.now_ms(), &raised).await?;
        tx.commit().await?;
        Ok(raised.is_new())
    }
}
