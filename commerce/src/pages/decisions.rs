//! What an operator decides about money, asked of the flow: refunds, and the ways out of issues.

use serde_json::json;

use super::Pages;
use super::desk::{Code, Refusal, caller, refused};
use super::form::Fields;
use super::order::Order;
use super::session::{Operator, Signed};
use crate::atom::flow::{Caller, FlowError, Reply};

impl Pages {
    /// Refunds a part of an order and returns the state that the refund is in; `second_needed` if it waits for another operator.
    ///
    /// # Errors
    /// The code of the flow's refusal.
    pub async fn refund(
        &self,
        operator: &Operator,
        order: &Order,
        amount: i64,
        form: &Fields,
    ) -> Result<String, Code> {
        let who = caller(&order.merchant_id, &operator.key_id);
        let reason = form.filled("reason").unwrap_or("by an operator");
        let body =
            json!({"amount": amount, "currency": order.currency, "reason": reason}).to_string();
        let reply = self
            .flow
            .refund_by_operator(&who, &order.order_id, form.filled("key"), body.as_bytes())
            .await;
        match reply {
            Ok(reply) if reply.body["result"] == "second_operator_needed" => {
                Ok("second_needed".to_owned())
            }
            Ok(reply) => Ok(reply.body["state"].as_str().unwrap_or_default().to_owned()),
            Err(FlowError::RefundQueued { .. }) => Ok("requested".to_owned()),
            Err(error) => Err(refused(error)),
        }
    }

    /// Carries out what an operator decides about an issue. The code `second_operator_required` says that it is noted and waits.
    ///
    /// # Errors
    /// The flow's refusal.
    pub async fn resolve_issue(&self, signed: &Signed, issue_id: &str) -> Result<(), Refusal> {
        let (who, key, body) = decision(signed);
        let reply = self
            .flow
            .resolve_issue(&who, issue_id, key, body.as_bytes())
            .await;
        decided(reply)
    }

    /// Carries out what an operator decides about a refund, like [`Pages::resolve_issue`].
    ///
    /// # Errors
    /// The flow's refusal.
    pub async fn resolve_refund(&self, signed: &Signed, refund_id: &str) -> Result<(), Refusal> {
        let (who, key, body) = decision(signed);
        let reply = self
            .flow
            .resolve_refund(&who, refund_id, key, body.as_bytes())
            .await;
        decided(reply)
    }
}

/// Who decides, the key against a second click, and what is decided. Operators decide about all merchants' records, so the
/// caller names none.
fn decision(signed: &Signed) -> (Caller, Option<&str>, String) {
    let form = &signed.form;
    let mut body = json!({"action": form.get("action"), "note": form.get("note")});
    if let Some(number) = form.filled("atom_txn_id") {
        body["atom_txn_id"] = json!(number);
    }
    (
        caller("", &signed.operator.key_id),
        form.filled("key"),
        body.to_string(),
    )
}

fn decided(reply: Result<Reply, FlowError>) -> Result<(), Refusal> {
    match reply?.body["result"].as_str() {
        Some("second_operator_needed") => Err("second_operator_required".into()),
        _ => Ok(()),
    }
}
