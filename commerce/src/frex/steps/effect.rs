//! What a list of writes does to an order and its state: a pure function.

use super::table::Set;
use crate::frex::model::{MoneyInput, OrderStage, Pair, ResultState, StrState};

/// What the writes take their values from.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Now, unix ms.
    pub now: i64,
    /// The transaction number of the answer.
    pub np: String,
    /// The amount the answer confirms, else that of the request.
    pub confirmed_amount: i64,
    /// The amount frozen in the request.
    pub requested_amount: i64,
}

/// Applies writes. Says whether open screening questions are to be dropped.
///
/// # Panics
/// If the order has no state: writes belong to orders that the worker has begun with.
pub fn apply(sets: &[Set], pair: &mut Pair, facts: &Facts) -> bool {
    let order = &mut pair.order;
    let info = pair
        .info
        .as_mut()
        .expect("writes belong to an order with a state");
    let mut drop_screening = false;
    for set in sets {
        match *set {
            Set::Reg(state) => info.reg = state,
            Set::Result(state) => info.result = state,
            Set::Authorize(state) => info.authorize = state,
            Set::Billing(state) => info.billing = state,
            Set::Registered => {
                info.np.clone_from(&facts.np);
                info.reg_at = facts.now;
            }
            Set::ConfirmedAmount => info.billed_amount = facts.confirmed_amount,
            Set::NothingRejected => info.rejected_amount = None,
            Set::RejectedAmount => info.rejected_amount = Some(facts.requested_amount),
            Set::DeleteRejected => info.delete_rejected = true,
            Set::Close(reason) => {
                info.result = ResultState::Cancel;
                info.close_reason = Some(reason);
                info.closed_at = facts.now;
            }
            Set::Approved => {
                info.authorized_at = facts.now;
                order.money = MoneyInput::TempPayment;
                // An order that the shop ended before a change is screened again; it stays ended.
                if order.stage != OrderStage::OrderEnd {
                    order.stage = OrderStage::Accept;
                }
            }
            Set::ApprovalGone => {
                if order.money == MoneyInput::TempPayment {
                    order.money = MoneyInput::SbPayment;
                }
            }
            Set::Billed => {
                info.billed_at = facts.now;
                if order.state == StrState::Reg {
                    order.stage = OrderStage::OrderEnd;
                    order.money = MoneyInput::Payment;
                }
            }
            Set::OrderDel => order.state = StrState::Del,
            Set::DropScreening => drop_screening = true,
        }
    }
    drop_screening
}
