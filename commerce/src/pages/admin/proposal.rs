//! What a first operator asked for and a second one must confirm (`spec/atom.md` 15.6).

use maud::{Markup, html};

use crate::pages::look::{Tone, badge, nothing};
use crate::pages::session::Operator;

/// Who decides on a page of decisions, and under which rule.
#[derive(Clone, Copy, Debug)]
pub struct Deciding<'a> {
    /// Who looks.
    pub operator: &'a Operator,
    /// Whether what moves money needs two operators.
    pub two: bool,
    /// Makes a second click on a form of this page the same decision.
    pub key: &'a str,
}

impl Deciding<'_> {
    /// The key of the form about one record.
    #[must_use]
    pub fn key_for(&self, id: &str) -> String {
        let tail = id.get(id.len().saturating_sub(12)..).unwrap_or_default();
        format!("{}-{tail}", self.key)
    }

    /// What stands behind a choice that one operator alone cannot make.
    #[must_use]
    pub fn second(&self, moves_money: bool) -> &'static str {
        if self.two && moves_money {
            " (needs a second operator)"
        } else {
            ""
        }
    }
}

/// Says to whoever looks whether they may confirm it; nothing if nobody asked for anything.
#[must_use]
pub fn proposal(operator: &Operator, action: &str, by: &str, words: &str) -> Markup {
    if action.is_empty() {
        return nothing();
    }
    html! {
        p {
            (badge("waits for a second operator", Tone::Busy)) " "
            strong { (words) }
            @if by == operator.key_id { ": you asked for it, so somebody else must confirm it." }
            @else { ": confirm it by choosing the same, or decide otherwise." }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_operator_is_told_so_and_the_first_too() {
        // Shows: who asked reads that another must confirm; another operator reads that they can; without a proposal there is nothing.
        let operator = |id: &str| Operator {
            key_id: id.into(),
            name: "A".into(),
            csrf: "c".into(),
            frex: false,
        };
        let said =
            |id: &str| proposal(&operator(id), "resend", "key_1", "Send it again").into_string();
        assert!(said("key_1").contains("somebody else must confirm"));
        assert!(said("key_2").contains("confirm it by choosing the same"));
        assert_eq!(proposal(&operator("key_2"), "", "", "").into_string(), "");
    }
}
