//! The refund half of the stand-in for Atom: a ledger of refunds, and what happens to single calls.

use std::collections::BTreeMap;
use std::time::Duration;

use commerce::atom::call::{Api, CallError, Doubt, NotSent};
use commerce::atom::wire::codes::Refusal;
use commerce::atom::wire::messages::{
    RefundAnswer, RefundEntry, RefundLineAnswer, RefundRequest, RefundStatusAnswer,
};

/// What happens to the next refund call of a payment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RefundFate {
    /// No connection.
    NotSent,
    /// The breaker is open.
    CircuitOpen,
    /// The answer is lost before anything was done.
    LostBefore,
    /// The answer is lost after everything was done.
    LostAfter,
    /// Refused.
    Refused(Refusal),
    /// Of several lines every second one is refused.
    Mixed,
    /// No answer, ever; everything is done.
    Hangs,
}

/// What the list of refunds says about a payment from now on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ListFate {
    /// No answer.
    Silent,
    /// Our request is refused.
    OurFault,
    /// A hundred times the amount.
    Hundredfold,
    /// Another amount.
    OtherAmount,
    /// These remarks.
    Says(&'static str),
}

/// One refund in the ledger.
#[derive(Clone, Debug)]
pub struct Paid {
    pub prod_refund_id: String,
    pub atom_txn_id: String,
    pub amount: i64,
    pub number: String,
    pub at_ms: i64,
}

/// How long an accepted refund takes until it is paid out.
const PAID_OUT_AFTER_MS: i64 = 3_600_000;

/// The refunds.
#[derive(Default)]
pub struct Desk {
    /// Every refund that was carried out, in order.
    pub paid: Vec<Paid>,
    /// By `merchTxnId`.
    pub calls: BTreeMap<String, RefundFate>,
    /// By Atom's number of the payment.
    pub lists: BTreeMap<String, ListFate>,
    /// Refund calls that arrived.
    pub arrived: usize,
    /// Whether a repeated `prodRefundId` is carried out again: what nobody may rely on to be refused.
    pub repeats: bool,
}

fn ambiguous(api: Api) -> CallError {
    CallError::Ambiguous {
        api,
        doubt: Doubt::Timeout,
        http_status: None,
        retry_after: None,
    }
}

impl Desk {
    /// A refund call; `captured` is the amount of the payment. `None` never answers.
    pub fn refund(
        &mut self,
        request: &RefundRequest,
        captured: i64,
        now_ms: i64,
    ) -> Option<Result<RefundAnswer, CallError>> {
        let api = Api::Refund;
        let refused = |refusal| {
            let code = "OTS0404".to_owned();
            let http_status = 200;
            Some(Err(CallError::Refused {
                api,
                code,
                refusal,
                http_status,
            }))
        };
        let fate = self.calls.remove(&request.merch_txn_id);
        match fate {
            Some(RefundFate::NotSent) => {
                let why = NotSent::Connect;
                return Some(Err(CallError::NotSent { api, why }));
            }
            Some(RefundFate::CircuitOpen) => {
                let retry_after = Duration::from_secs(15);
                return Some(Err(CallError::CircuitOpen { api, retry_after }));
            }
            _ => self.arrived += 1,
        }
        match fate {
            Some(RefundFate::LostBefore) => return Some(Err(ambiguous(api))),
            Some(RefundFate::Refused(refusal)) => return refused(refusal),
            _ => {}
        }
        let known = |id: &str| self.paid.iter().any(|paid| paid.prod_refund_id == id);
        let repeated = request.lines.iter().any(|line| known(&line.prod_refund_id));
        let before: i64 = self.of(&request.atom_txn_id).map(|paid| paid.amount).sum();
        if (repeated && !self.repeats) || before + request.total() > captured {
            return refused(Refusal::Business);
        }
        let mut answer = RefundAnswer {
            status_code: "OTS0000".to_owned(),
            lines: Vec::new(),
        };
        for (n, line) in request.lines.iter().enumerate() {
            let initiated = fate != Some(RefundFate::Mixed) || n % 2 == 0;
            let number = (700_001 + self.paid.len()).to_string();
            if initiated {
                self.paid.push(Paid {
                    prod_refund_id: line.prod_refund_id.clone(),
                    atom_txn_id: request.atom_txn_id.clone(),
                    amount: line.amount,
                    number: number.clone(),
                    at_ms: now_ms,
                });
            }
            answer.lines.push(RefundLineAnswer {
                prod_refund_id: line.prod_refund_id.clone(),
                refund_txn_id: initiated.then_some(number),
                status_code: if initiated { "OTS0000" } else { "OTS0404" }.to_owned(),
                initiated,
                amount: line.amount,
            });
        }
        match fate {
            Some(RefundFate::LostAfter) => Some(Err(ambiguous(api))),
            Some(RefundFate::Hangs) => None,
            _ => Some(Ok(answer)),
        }
    }

    fn of(&self, atom_txn_id: &str) -> impl Iterator<Item = &Paid> {
        self.paid
            .iter()
            .filter(move |paid| paid.atom_txn_id == atom_txn_id)
    }

    /// The refunds of a payment.
    pub fn list(&self, atom_txn_id: &str, now_ms: i64) -> Result<RefundStatusAnswer, CallError> {
        let api = Api::RefundStatus;
        let fate = self.lists.get(atom_txn_id).copied();
        match fate {
            Some(ListFate::Silent) => return Err(ambiguous(api)),
            Some(ListFate::OurFault) => {
                return Err(CallError::Refused {
                    api,
                    code: "OTS0503".to_owned(),
                    refusal: Refusal::Request,
                    http_status: 200,
                });
            }
            _ => {}
        }
        let entry = |paid: &Paid| RefundEntry {
            prod_name: None,
            prod_refund_id: paid.prod_refund_id.clone(),
            refund_txn_id: Some(paid.number.clone()),
            amount: Some(match fate {
                Some(ListFate::Hundredfold) => paid.amount * 100,
                Some(ListFate::OtherAmount) => paid.amount + 1,
                _ => paid.amount,
            }),
            remarks: match fate {
                Some(ListFate::Says(word)) => word,
                _ if now_ms >= paid.at_ms + PAID_OUT_AFTER_MS => "REFUND PROCESSED",
                _ => "REFUND INITIATED",
            }
            .to_owned(),
            initiated_date: None,
        };
        Ok(RefundStatusAnswer {
            status_code: "OTS0000".to_owned(),
            entries: self.of(atom_txn_id).map(entry).collect(),
        })
    }
}
