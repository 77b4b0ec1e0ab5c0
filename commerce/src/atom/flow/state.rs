//! The states of orders and attempts, and what may follow on what, as tables (`spec/atom.md` 10).
//!
//! The code that writes a row asserts against these tables, and the tests walk them; so a step that is not in a table
//! cannot reach the disk.

use std::fmt;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$vdoc])* $variant,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &'static [$name] = &[$($name::$variant),*];

            /// The stored word, which is also the one of the API.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word),* }
            }

            /// The state of a stored word.
            pub fn parse(word: &str) -> Option<$name> {
                $name::ALL.iter().copied().find(|state| state.as_str() == word)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// Where an order stands.
    OrderStatus {
        /// It waits to be paid.
        Pending = "pending",
        /// Paid.
        Paid = "paid",
        /// Over without being paid, or given back by Atom before it was sent.
        Cancelled = "cancelled",
        /// On its way.
        Shipped = "shipped",
        /// With the customer.
        Delivered = "delivered",
        /// All of it was given back.
        Refunded = "refunded",
    }
}

words! {
    /// What moves an order.
    OrderCause {
        /// An attempt became a success.
        Payment = "payment",
        /// The merchant cancels.
        Cancel = "cancel",
        /// Its time is over.
        Expiry = "expired",
        /// An attempt failed, and the policy is to cancel.
        PaymentFailed = "payment_failed",
        /// The merchant ships.
        Ship = "ship",
        /// The merchant has delivered.
        Deliver = "deliver",
        /// Refunds reach the payment.
        Refund = "refund",
        /// A refund failed after it was accepted.
        RefundFailed = "refund_failed",
        /// Atom gave the payment back.
        Reversal = "auto_reversed",
    }
}

use OrderCause as By;
use OrderStatus as Order;

/// Every step of an order.
pub const ORDER_STEPS: &[(Order, Order, By)] = &[
    (Order::Pending, Order::Paid, By::Payment),
    (Order::Pending, Order::Cancelled, By::Cancel),
    (Order::Pending, Order::Cancelled, By::Expiry),
    (Order::Pending, Order::Cancelled, By::PaymentFailed),
    (Order::Paid, Order::Shipped, By::Ship),
    (Order::Shipped, Order::Delivered, By::Deliver),
    (Order::Paid, Order::Refunded, By::Refund),
    (Order::Shipped, Order::Refunded, By::Refund),
    (Order::Delivered, Order::Refunded, By::Refund),
    (Order::Refunded, Order::Paid, By::RefundFailed),
    (Order::Refunded, Order::Shipped, By::RefundFailed),
    (Order::Refunded, Order::Delivered, By::RefundFailed),
    (Order::Paid, Order::Cancelled, By::Reversal),
];

impl OrderStatus {
    /// Whether this step is in [`ORDER_STEPS`].
    pub fn may_become(self, to: OrderStatus, by: OrderCause) -> bool {
        ORDER_STEPS.contains(&(self, to, by))
    }
}

words! {
    /// How far the processing of an attempt is.
    Phase {
        /// Stored; AUTH is under way or was never sent.
        Initializing = "initializing",
        /// Nobody knows what became of AUTH.
        AuthUnknown = "auth_unknown",
        /// AUTH was refused.
        AuthFailed = "auth_failed",
        /// The token is stored.
        TokenGenerated = "token_generated",
        /// The customer can pay.
        UserPayment = "user_payment",
        /// A message about it is stored.
        CallbackReceived = "callback_received",
        /// The message is believed.
        SignatureVerified = "signature_verified",
        /// Its effect on the order was applied.
        Completed = "completed",
        /// Nobody paid by it in its time.
        Abandoned = "abandoned",
    }
}

/// Every step of an attempt's processing. A message may find it in any phase before it is completed.
pub const PHASE_STEPS: &[(Phase, Phase)] = &[
    (Phase::Initializing, Phase::TokenGenerated),
    (Phase::Initializing, Phase::AuthFailed),
    (Phase::Initializing, Phase::AuthUnknown),
    // Only if AUTH was never sent.
    (Phase::Initializing, Phase::Abandoned),
    (Phase::Initializing, Phase::CallbackReceived),
    (Phase::TokenGenerated, Phase::UserPayment),
    (Phase::TokenGenerated, Phase::Abandoned),
    (Phase::TokenGenerated, Phase::CallbackReceived),
    (Phase::UserPayment, Phase::Abandoned),
    (Phase::UserPayment, Phase::CallbackReceived),
    (Phase::AuthUnknown, Phase::Abandoned),
    (Phase::AuthUnknown, Phase::CallbackReceived),
    (Phase::AuthFailed, Phase::CallbackReceived),
    (Phase::Abandoned, Phase::CallbackReceived),
    (Phase::CallbackReceived, Phase::SignatureVerified),
    (Phase::SignatureVerified, Phase::Completed),
];

impl Phase {
    /// Whether steps of [`PHASE_STEPS`] lead there. One transaction may take several: a message is received, verified and
    /// applied at once.
    pub fn leads_to(self, to: Phase) -> bool {
        let mut reached = vec![self];
        let mut next = 0;
        while next < reached.len() {
            for (from, step) in PHASE_STEPS {
                if *from == reached[next] && !reached.contains(step) {
                    reached.push(*step);
                }
            }
            next += 1;
        }
        reached.contains(&to)
    }

    /// Whether a message was believed.
    pub fn is_told(self) -> bool {
        matches!(self, Phase::SignatureVerified | Phase::Completed)
    }
}

words! {
    /// What Atom decided about an attempt. The order is the rank, which only rises.
    Outcome {
        /// Nothing yet.
        None = "none",
        /// Not decided.
        Pending = "pending",
        /// Not paid.
        Failed = "failed",
        /// Paid.
        Success = "success",
        /// Paid, and given back by Atom.
        Reversed = "reversed",
    }
}

impl Outcome {
    /// Whether money was captured.
    pub fn is_captured(self) -> bool {
        self >= Outcome::Success
    }
}

words! {
    /// Where news of an attempt came from.
    Source {
        /// Atom's server.
        Callback = "callback",
        /// The customer's browser.
        Return = "return",
        /// A status query of ours.
        Status = "status",
    }
}

/// Every rise of an outcome, and from where it is believed. A failed attempt that is said to be paid after all is
/// believed from a status query alone, and so is a reversal.
pub const OUTCOME_STEPS: &[(Outcome, Outcome, &[Source])] = &[
    (Outcome::None, Outcome::Pending, Source::ALL),
    (Outcome::None, Outcome::Failed, Source::ALL),
    (Outcome::None, Outcome::Success, Source::ALL),
    (Outcome::None, Outcome::Reversed, &[Source::Status]),
    (Outcome::Pending, Outcome::Failed, Source::ALL),
    (Outcome::Pending, Outcome::Success, Source::ALL),
    (Outcome::Pending, Outcome::Reversed, &[Source::Status]),
    (Outcome::Failed, Outcome::Success, &[Source::Status]),
    (Outcome::Failed, Outcome::Reversed, &[Source::Status]),
    (Outcome::Success, Outcome::Reversed, &[Source::Status]),
];

impl Outcome {
    /// Whether this rise is in [`OUTCOME_STEPS`].
    pub fn may_become(self, to: Outcome, source: Source) -> bool {
        let step = OUTCOME_STEPS
            .iter()
            .find(|(from, rise, _)| (*from, *rise) == (self, to));
        step.is_some_and(|(_, _, sources)| sources.contains(&source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Outcomes only rise in rank, by the table, whatever the source.
    #[test]
    fn outcomes_only_rise() {
        for (from, to, sources) in OUTCOME_STEPS {
            assert!(from < to && !sources.is_empty(), "{from} -> {to}");
        }
        for from in Outcome::ALL {
            for to in Outcome::ALL.iter().filter(|to| *to <= from) {
                assert!(!from.may_become(*to, Source::Status), "{from} -> {to}");
            }
        }
        assert!(!Outcome::Failed.may_become(Outcome::Success, Source::Callback));
        assert!(!Outcome::Success.may_become(Outcome::Reversed, Source::Callback));
    }

    /// Nothing leaves an order that is cancelled, and what was refunded comes back only to where it was.
    #[test]
    fn orders_that_are_over() {
        assert!(
            ORDER_STEPS
                .iter()
                .all(|(from, _, _)| *from != Order::Cancelled)
        );
        let back = ORDER_STEPS
            .iter()
            .filter(|(from, _, _)| *from == Order::Refunded);
        assert!(back.into_iter().all(|(_, _, by)| *by == By::RefundFailed));
    }

    /// A message finds an attempt in any phase, and a completed one stays so.
    #[test]
    fn phases_end_in_completed() {
        for phase in Phase::ALL {
            assert!(phase.leads_to(Phase::Completed), "{phase}");
        }
        let ends = PHASE_STEPS
            .iter()
            .filter(|(from, _)| *from == Phase::Completed);
        assert_eq!(ends.count(), 0);
        assert!(!Phase::Completed.leads_to(Phase::UserPayment));
        assert!(!Phase::AuthFailed.leads_to(Phase::TokenGenerated));
    }

    /// Every stored word is read back as its state.
    #[test]
    fn words_are_read_back() {
        for status in Order::ALL {
            assert_eq!(Order::parse(status.as_str()), Some(*status));
        }
        for phase in Phase::ALL {
            assert_eq!(Phase::parse(phase.as_str()), Some(*phase));
        }
        for outcome in Outcome::ALL {
            assert_eq!(Outcome::parse(outcome.as_str()), Some(*outcome));
        }
        assert_eq!(Order::parse("Paid"), None);
    }
}
