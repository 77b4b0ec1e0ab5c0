//! What the flow's error codes (`spec/atom.md` 15) mean to people: to a customer, and to an operator.
//!
//! The code travels in an address (`?problem=...`), never the words, so nobody can make a page say something else.

/// Code, words for a customer, words for an operator.
const WORDS: &[(&str, &str, &str)] = &[
    (
        "invalid_state",
        "That is no longer possible: the order has moved on. Here is how it stands now.",
        "The order's state does not allow this. It may have changed since the page was loaded.",
    ),
    (
        "attempt_open",
        "A payment of this order is still under way. Please wait until we know how it ended.",
        "A payment of this order may still succeed, so Atom is being asked first. Try again in a moment.",
    ),
    (
        "gateway_rejected",
        "Our payment partner did not open a payment. Nothing was charged. Please try again later.",
        "Atom refused the call. The log has its code.",
    ),
    (
        "gateway_unavailable",
        "Our payment partner cannot be reached at the moment. Nothing was charged. Please try again in a few minutes.",
        "Atom cannot be reached. What was asked for is kept and will be sent later; do not enter it again.",
    ),
    (
        "gateway_timeout",
        "Our payment partner did not answer in time. Nothing was charged. Please try again.",
        "Atom did not answer in time.",
    ),
    (
        "request_in_progress",
        "Your last click is still being worked on. Please wait a moment.",
        "The same request is still being worked on. Reload the page in a moment.",
    ),
    (
        "idempotency_key_reused",
        "This form was sent before with other details. Please begin again with the basket.",
        "This form was sent before with other values. Reload the page and enter it again if it is still needed.",
    ),
    (
        "too_many_attempts",
        "You have tried several times within an hour. Please wait a while before the next try.",
        "The customer has tried too often within an hour.",
    ),
    (
        "rate_limited",
        "That was a little too fast. Please wait a minute and try again.",
        "Too many requests. Wait a moment and try again.",
    ),
    (
        "amount_out_of_range",
        "We cannot take an order of this amount. Please change the basket.",
        "The amount is outside the permitted range.",
    ),
    (
        "validation_failed",
        "Please check what you entered.",
        "Something in the form is not as expected.",
    ),
    (
        "refund_exceeds_balance",
        "",
        "This is more than can still be refunded.",
    ),
    (
        "partial_not_allowed",
        "",
        "This account may only refund the whole amount that is left.",
    ),
    (
        "currency_mismatch",
        "",
        "The currency is not that of the order.",
    ),
    (
        "second_operator_required",
        "",
        "Your decision is noted. A second operator must confirm it before money moves.",
    ),
    (
        "payments_stopped",
        "We take no payments for the moment. Nothing was charged, and your order is kept. Please try again a little later.",
        "New payments are stopped (flow.accept_payments). What is under way goes on.",
    ),
    (
        "duplicate_order_ref",
        "This order was placed before. Please look at it in your orders.",
        "The reference belongs to another order.",
    ),
    (
        "currency_not_supported",
        "We cannot take an order in this currency.",
        "The currency is not one of those that are taken.",
    ),
    (
        "internal_error",
        "",
        "Something broke on our side. The log has the reason at this time.",
    ),
    (
        "not_found",
        "There is no such order.",
        "There is no such record.",
    ),
];

/// What a customer reads.
#[must_use]
pub fn for_customer(code: &str) -> &'static str {
    let row = WORDS
        .iter()
        .find(|(c, words, _)| *c == code && !words.is_empty());
    row.map_or(
        "Something broke on our side. Nothing was lost; please try again in a minute.",
        |(_, words, _)| words,
    )
}

/// What an operator reads.
#[must_use]
pub fn for_operator(code: &str) -> &'static str {
    let row = WORDS.iter().find(|(c, ..)| *c == code);
    row.map_or(
        "This did not work, and nothing was changed by it. Reload the page and look how it stands.",
        |(_, _, words)| words,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_code_has_words_too() {
        // Shows: whatever stands in the address, the page says one of our own sentences.
        assert!(for_customer("<script>").starts_with("Something broke"));
        assert!(for_customer("currency_mismatch").starts_with("Something broke"));
        assert!(for_operator("currency_mismatch").contains("currency"));
        assert!(!for_operator("unheard_of").contains("log"));
    }

    #[test]
    fn a_stop_of_payments_is_not_told_as_a_failure() {
        // Shows: what the shop can be refused has words of its own, so that nobody calls for a repair that is not needed.
        for code in [
            "payments_stopped",
            "duplicate_order_ref",
            "currency_not_supported",
        ] {
            assert!(!for_customer(code).starts_with("Something broke"), "{code}");
            assert_ne!(for_operator(code), for_operator("unheard_of"), "{code}");
        }
    }
}
