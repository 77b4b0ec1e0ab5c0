//! Where an order stands for the customer who looks at it: one word out of status, attempts and holds.
//!
//! The customer must never be told "you have not paid" while that is unknown, nor be offered a second payment while the first may
//! still succeed without being warned. So every doubt reads as [`Stage::Checking`] or [`Stage::Open`].

use crate::pages::order::{Attempt, Order};

/// What the customer sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Nobody tried to pay yet.
    Unpaid,
    /// A payment window may be open, or was closed by the customer.
    Open,
    /// The customer came back, or the bank has not decided.
    Checking,
    /// The last attempt failed for good, another may be made.
    Failed,
    /// A person of the shop looks at the payment.
    Held,
    /// Money arrived; shipped and delivered are words on top of it.
    Paid,
    /// All money went back.
    Refunded,
    /// Cancelled or expired.
    Closed,
}

impl Stage {
    /// The stage of an order; `returned` says that the customer came back from the gateway's page just now.
    #[must_use]
    pub fn of(order: &Order, returned: bool) -> Self {
        match order.status.as_str() {
            "paid" | "shipped" | "delivered" => return Stage::Paid,
            "refunded" => return Stage::Refunded,
            "cancelled" => return Stage::Closed,
            _ => {}
        }
        if !order.holds.is_empty() {
            return Stage::Held;
        }
        // An older attempt in doubt weighs more than a newer one that failed: its money may still come.
        let worst = order
            .attempts
            .iter()
            .map(Self::of_attempt)
            .max_by_key(|s| match s {
                Stage::Checking => 2,
                Stage::Open => 1,
                _ => 0,
            });
        match worst {
            None => Stage::Unpaid,
            Some(Stage::Open) if returned => Stage::Checking,
            Some(stage) => stage,
        }
    }

    fn of_attempt(attempt: &Attempt) -> Self {
        match (attempt.phase.as_str(), attempt.outcome.as_str()) {
            (_, "failed") | ("auth_failed" | "abandoned", "none") => Stage::Failed,
            ("user_payment" | "token_generated", "none") => Stage::Open,
            _ => Stage::Checking,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(status: &str, attempts: &[(&str, &str)]) -> Order {
        let attempts = attempts.iter().map(|(phase, outcome)| Attempt {
            phase: (*phase).into(),
            outcome: (*outcome).into(),
            ..Attempt::default()
        });
        Order {
            status: status.into(),
            attempts: attempts.collect(),
            ..Order::default()
        }
    }

    #[test]
    fn doubt_is_never_shown_as_failure() {
        // Shows: the stage of each combination that matters, above all those in which money may be on its way.
        // Status, attempts as (phase, outcome), whether something is being checked, and the stage.
        type Row = (
            &'static str,
            &'static [(&'static str, &'static str)],
            bool,
            Stage,
        );
        let rows: &[Row] = &[
            ("pending", &[], false, Stage::Unpaid),
            ("pending", &[("user_payment", "none")], false, Stage::Open),
            (
                "pending",
                &[("user_payment", "none")],
                true,
                Stage::Checking,
            ),
            (
                "pending",
                &[("auth_unknown", "none")],
                false,
                Stage::Checking,
            ),
            ("pending", &[("auth_failed", "none")], true, Stage::Failed),
            (
                "pending",
                &[("completed", "pending")],
                false,
                Stage::Checking,
            ),
            ("pending", &[("completed", "failed")], true, Stage::Failed),
            (
                "pending",
                &[("user_payment", "none"), ("completed", "failed")],
                false,
                Stage::Open,
            ),
            (
                "pending",
                &[("completed", "pending"), ("completed", "failed")],
                false,
                Stage::Checking,
            ),
            ("paid", &[("completed", "success")], true, Stage::Paid),
            ("shipped", &[("completed", "success")], false, Stage::Paid),
            (
                "refunded",
                &[("completed", "success")],
                false,
                Stage::Refunded,
            ),
            (
                "cancelled",
                &[("completed", "failed")],
                false,
                Stage::Closed,
            ),
        ];
        for (status, attempts, returned, stage) in rows {
            let order = order(status, attempts);
            assert_eq!(
                Stage::of(&order, *returned),
                *stage,
                "{status} {attempts:?} {returned}"
            );
        }
        let held = Order {
            holds: vec!["amount_mismatch".into()],
            ..order("pending", &[("completed", "none")])
        };
        assert_eq!(Stage::of(&held, true), Stage::Held);
    }
}
