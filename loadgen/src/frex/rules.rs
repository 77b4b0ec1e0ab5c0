//! How the agency decides: screening, refusals, how long results take, and what repeats are answered with.
//!
//! What an order gets comes from the first entry of `orders` that fits it, then from the suffix of its number, then from the
//! defaults. Nothing is drawn by chance, so that the same orders end the same way in every run.

use serde::{Deserialize, Serialize};

use super::call::Call;

/// What a repeated request is answered with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Repeat {
    /// The first acceptance again; nothing is executed.
    #[default]
    Merge,
    /// The code of "already billed", "already cancelled" or "registered before"; a change is executed again.
    Already,
    /// Executed again, billing included: shows whether the other side guards itself.
    Again,
}

/// What screening decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Plan {
    /// Approved.
    #[default]
    Approve,
    /// Refused.
    Refuse,
    /// Held, then approved.
    HoldApprove,
    /// Held, then refused.
    HoldRefuse,
    /// Held for ever.
    Hold,
}

/// When a refusal is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// In the answer to the request.
    #[default]
    Acceptance,
    /// In the result.
    Result,
}

/// One call of an order that is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// The call.
    pub call: Call,
    /// When it is told.
    #[serde(default)]
    pub at: Moment,
    /// With which codes.
    pub codes: Vec<String>,
}

/// What certain orders get.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OrderRule {
    /// Order numbers: the number itself, or a part with `*` before or after it. None fits every order.
    pub order: Option<String>,
    /// Only orders of this amount when they are registered; for screening also when they are changed.
    pub amount: Option<i64>,
    /// What screening decides.
    pub screening: Plan,
    /// Why screening refuses.
    pub ng: Option<String>,
    /// Calls that are refused.
    pub refuse: Vec<Refusal>,
    /// Questions until a result is ready, instead of the default.
    pub result_polls: Option<u32>,
    /// Time until a result is ready, instead of the default.
    pub result_after_ms: Option<i64>,
}

/// All rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    /// What a repeated request is answered with.
    pub repeat: Repeat,
    /// Whether "already billed" and "already cancelled" name the acceptance number of what was done.
    pub already_names_number: bool,
    /// Whether requests can be looked up.
    pub lookup: bool,
    /// How long a request stays invisible to look-ups.
    pub lookup_lag_ms: i64,
    /// Questions answered with PENDING before a result is ready.
    pub result_polls: u32,
    /// Time from acceptance until a result is ready.
    pub result_after_ms: i64,
    /// Questions answered with "not yet screened".
    pub screening_polls: u32,
    /// Time from registration or change until screening begins.
    pub screening_after_ms: i64,
    /// Questions answered with "held" before a hold ends.
    pub hold_polls: u32,
    /// Time from the beginning of screening until a hold ends.
    pub hold_ms: i64,
    /// What certain orders get; the first that fits counts.
    pub orders: Vec<OrderRule>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            repeat: Repeat::Merge,
            already_names_number: true,
            lookup: true,
            lookup_lag_ms: 0,
            result_polls: 0,
            result_after_ms: 0,
            screening_polls: 0,
            screening_after_ms: 0,
            hold_polls: 2,
            hold_ms: 0,
            orders: Vec::new(),
        }
    }
}

/// The end of an order number, its plan, the reason of a refusal, and the call that goes wrong by which code.
pub type Suffix = (
    &'static str,
    Plan,
    Option<&'static str>,
    Option<(Call, Moment, &'static str)>,
);

/// Ends of order numbers that decide by themselves, so that a demonstration needs no rules.
#[rustfmt::skip]
pub const SUFFIXES: [Suffix; 11] = [
    ("-R21", Plan::Refuse, Some("21"), None),
    ("-R22", Plan::Refuse, Some("22"), None),
    ("-R24", Plan::Refuse, Some("24"), None),
    ("-HA", Plan::HoldApprove, None, None),
    ("-HR", Plan::HoldRefuse, Some("24"), None),
    ("-HH", Plan::Hold, None, None),
    ("-RA", Plan::Approve, None, Some((Call::Register, Moment::Acceptance, "E_ADDRESS"))),
    ("-RR", Plan::Approve, None, Some((Call::Register, Moment::Result, "E_ADDRESS"))),
    ("-UR", Plan::Approve, None, Some((Call::Update, Moment::Result, "E0100131"))),
    ("-CR", Plan::Approve, None, Some((Call::Cancel, Moment::Result, "E0100114"))),
    ("-BR", Plan::Approve, None, Some((Call::Bill, Moment::Result, "E0100132"))),
];

/// The reason of a refusal by screening that names none.
const NG_DEFAULT: &str = "24";

impl Rules {
    /// What an order gets.
    #[must_use]
    pub fn of(&self, order: &str, amount: i64) -> OrderRule {
        let fits = |rule: &&OrderRule| {
            rule.order.as_deref().is_none_or(|it| matches(it, order))
                && rule.amount.is_none_or(|it| it == amount)
        };
        let mut rule = match self.orders.iter().find(fits) {
            Some(rule) => rule.clone(),
            None => by_suffix(order),
        };
        if matches!(rule.screening, Plan::Refuse | Plan::HoldRefuse) {
            rule.ng.get_or_insert_with(|| NG_DEFAULT.to_owned());
        }
        rule
    }
}

fn by_suffix(order: &str) -> OrderRule {
    let Some((_, screening, ng, refuse)) = SUFFIXES.iter().find(|row| order.ends_with(row.0))
    else {
        return OrderRule::default();
    };
    OrderRule {
        screening: *screening,
        ng: ng.map(str::to_owned),
        refuse: refuse
            .iter()
            .map(|&(call, at, code)| Refusal {
                call,
                at,
                codes: vec![code.to_owned()],
            })
            .collect(),
        ..OrderRule::default()
    }
}

/// Whether a text fits a pattern: itself, or a part with `*` before or after it.
#[must_use]
pub fn matches(pattern: &str, text: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(_), Some(_)) => text.contains(pattern.trim_matches('*')),
        (Some(end), None) => text.ends_with(end),
        (None, Some(start)) => text.starts_with(start),
        (None, None) => text == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A rule comes before the suffix, the suffix before the default, and a refusal always has a reason.
    #[test]
    fn rule_then_suffix_then_default() {
        let mut rules = Rules::default();
        assert_eq!(rules.of("F1", 1).screening, Plan::Approve);
        let suffix = rules.of("F1-R22", 1);
        assert_eq!(
            (suffix.screening, suffix.ng.as_deref()),
            (Plan::Refuse, Some("22"))
        );
        rules.orders.push(OrderRule {
            order: Some("F1*".into()),
            amount: Some(7),
            screening: Plan::HoldRefuse,
            ..OrderRule::default()
        });
        let rule = rules.of("F1-R22", 7);
        assert_eq!(
            (rule.screening, rule.ng.as_deref()),
            (Plan::HoldRefuse, Some("24"))
        );
        assert_eq!(rules.of("F1-R22", 8).screening, Plan::Refuse);
        for (pattern, fits) in [("*2", true), ("F*", true), ("*R*", true), ("F1", false)] {
            assert_eq!(matches(pattern, "F1-R22"), fits, "{pattern}");
        }
    }
}
