//! Select conditions as data: one list of terms gives the SQL of the select and the test that is repeated on locked rows.

use std::collections::HashMap;

use crate::frex::key::RequestType;
use crate::frex::model::{
    AuthorizeState, BillingState, MoneyInput, OrderStage, PAY_TYPE, Pair, RegState, Request,
    RequestState, ResultState, StrState,
};
use crate::frex::settings::{BillingTrigger, WorkerSettings};

/// One term of a condition; a condition is the conjunction of its terms.
#[derive(Clone, Copy, Debug)]
pub enum Term {
    /// `strState` is this.
    Order(StrState),
    /// `strPayType` is ours and `strMoneyInput` is SBPAYMENT.
    FrexOrder,
    /// There is no `FrexStateInfo` row.
    NoState,
    /// Buyer data was not found wrong or missing before.
    BuyerValid,
    /// `regState` is this.
    Reg(RegState),
    /// `resultState` is this.
    Result(ResultState),
    /// `authorizeState` is one of these.
    Authorize(&'static [AuthorizeState]),
    /// `billingState` is this.
    Billing(BillingState),
    /// The agency's number is known, or is not.
    Np(bool),
    /// The agency has another amount than the order.
    AmountDiffers,
    /// The agency has the amount of the order.
    AmountConfirmed,
    /// The present amount was not refused before.
    NotRefusedAmount,
    /// The agency did not refuse the cancel.
    CancelNotRefused,
    /// The billing trigger is fulfilled.
    BillingDue,
    /// The latest request of the first type is COMPLETE, and the second type has no row of its number yet.
    Accepted(RequestType, RequestType),
    /// The latest request of the type is not one whose outcome nobody knows.
    NotUnclear(RequestType),
    /// No open screening question.
    NoOpenRound,
}

/// The latest request of each type that a step looks at, for one order.
pub type Latest = HashMap<RequestType, Request>;

fn one_of(column: &str, words: impl Iterator<Item = &'static str>) -> String {
    let list: Vec<String> = words.map(|word| format!("'{word}'")).collect();
    match &list[..] {
        [one] => format!("{column} = {one}"),
        _ => format!("{column} IN ({})", list.join(", ")),
    }
}

const LATER: &str = "NOT EXISTS (SELECT 1 FROM frex_request n WHERE n.order_no = r.order_no AND n.type = r.type AND n.seq > r.seq)";

impl Term {
    /// The term in SQL over the tables `o` (order) and `s` (state); `$1` is now. Where the state has a copy of a fact for the sake
    /// of an index, the term asks the copy. Requests are counted, not joined by EXISTS: PostgreSQL would begin the join with all
    /// requests of a type where it believes that there are few.
    #[must_use]
    pub fn sql(self, settings: &WorkerSettings) -> String {
        match self {
            Self::Order(state) => format!("o.str_state = '{state}'"),
            Self::FrexOrder => format!("o.str_pay_type = '{PAY_TYPE}' AND o.str_money_input = '{}'", MoneyInput::SbPayment),
            Self::NoState => "o.has_state = 0".into(),
            Self::BuyerValid => "(SELECT COUNT(*) FROM frex_user_info u WHERE u.order_no = o.order_no AND u.valid = 0) = 0".into(),
            Self::Reg(state) => format!("s.reg_state = '{state}'"),
            Self::Result(state) => format!("s.result_state = '{state}'"),
            Self::Authorize(states) => one_of("s.authorize_state", states.iter().map(|state| state.as_str())),
            Self::Billing(state) => format!("s.billing_state = '{state}'"),
            Self::Np(true) => "s.np_transaction_id NOT IN ('', '0')".into(),
            Self::Np(false) => "s.np_transaction_id IN ('', '0')".into(),
            Self::AmountDiffers => "s.billed_amount <> s.order_amount".into(),
            Self::AmountConfirmed => "s.billed_amount = o.order_complete_amount".into(),
            Self::NotRefusedAmount => "(s.rejected_amount IS NULL OR s.rejected_amount <> o.order_complete_amount)".into(),
            Self::CancelNotRefused => "s.delete_rejected = 0".into(),
            Self::BillingDue => {
                let delay = settings.billing_delay_ms();
                match settings.billing_trigger {
                    BillingTrigger::Authorized => format!("s.authorized_at <= $1 - {delay}"),
                    BillingTrigger::OrderEnd => format!(
                        "o.str_order_state = '{}' AND o.str_money_input = '{}' AND o.order_end_at <= $1 - {delay}",
                        OrderStage::OrderEnd,
                        MoneyInput::TempPayment
                    ),
                }
            }
            Self::Accepted(reg, result) => format!(
                "s.outcome_open = 0 AND (SELECT COUNT(*) FROM frex_request r WHERE r.order_no = s.order_no AND r.type = '{reg}' AND r.state = 'COMPLETE' AND {LATER} \
                 AND NOT EXISTS (SELECT 1 FROM frex_request p WHERE p.order_no = r.order_no AND p.type = '{result}' AND p.seq = r.seq)) > 0"
            ),
            Self::NotUnclear(kind) => format!(
                "(SELECT COUNT(*) FROM frex_request r WHERE r.order_no = s.order_no AND r.type = '{kind}' AND r.unclear = 1 AND {LATER}) = 0"
            ),
            Self::NoOpenRound => "s.screening_open = 0".into(),
        }
    }

    /// The term on rows that are locked. `latest` has the order's latest requests of the types that the step looks at.
    /// Terms about rows which only the worker writes, and those on buyer data, hold since the select: they are taken as true.
    #[must_use]
    pub fn holds(self, pair: &Pair, latest: &Latest, settings: &WorkerSettings, now: i64) -> bool {
        let order = &pair.order;
        let Some(info) = &pair.info else {
            return match self {
                Self::Order(state) => order.state == state,
                Self::FrexOrder => {
                    order.pay_type == PAY_TYPE && order.money == MoneyInput::SbPayment
                }
                Self::NoState | Self::BuyerValid => true,
                _ => false,
            };
        };
        match self {
            Self::Order(state) => order.state == state,
            Self::FrexOrder => order.pay_type == PAY_TYPE && order.money == MoneyInput::SbPayment,
            Self::NoState => false,
            Self::BuyerValid | Self::NoOpenRound => true,
            Self::Reg(state) => info.reg == state,
            Self::Result(state) => info.result == state,
            Self::Authorize(states) => states.contains(&info.authorize),
            Self::Billing(state) => info.billing == state,
            Self::Np(set) => info.np_set() == set,
            Self::AmountDiffers => info.billed_amount != order.amount,
            Self::AmountConfirmed => info.billed_amount == order.amount,
            Self::NotRefusedAmount => info.rejected_amount != Some(order.amount),
            Self::CancelNotRefused => !info.delete_rejected,
            Self::BillingDue => {
                let delay = settings.billing_delay_ms();
                match settings.billing_trigger {
                    BillingTrigger::Authorized => info.authorized_at + delay <= now,
                    BillingTrigger::OrderEnd => {
                        order.stage == OrderStage::OrderEnd && order.order_end_at + delay <= now
                    }
                }
            }
            Self::Accepted(reg, _) => latest
                .get(&reg)
                .is_some_and(|row| row.state == RequestState::Complete),
            Self::NotUnclear(kind) => latest.get(&kind).is_none_or(|row| !row.unclear),
        }
    }
}

/// Whether all terms hold.
#[must_use]
pub fn all_hold(
    terms: &[Term],
    pair: &Pair,
    latest: &Latest,
    settings: &WorkerSettings,
    now: i64,
) -> bool {
    terms
        .iter()
        .all(|term| term.holds(pair, latest, settings, now))
}
