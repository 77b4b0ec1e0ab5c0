//! What is shown of a refund (`spec/atom.md` 15.4).

use serde_json::{Value, json};

use super::lines;
use super::rows::RefundRow;
use super::state::RefundState;
use crate::atom::flow::{Caller, Flow, FlowError, Reply, attempt, take_order};
use crate::clock::rfc3339;
use crate::store::{StoreError, Tx};

impl Flow {
    /// One refund of the caller's orders.
    ///
    /// # Errors
    /// There is none of this id, or the database fails.
    pub async fn refund_view(&self, caller: &Caller, id: &str) -> Result<Reply, FlowError> {
        let missing = || FlowError::NotFound {
            what: "refund",
            id: id.to_owned(),
        };
        let mut tx = self.store.begin().await?;
        let refund = self.known_refund(&mut tx, id).await?;
        let order = take_order(&mut tx, &refund.order_id)
            .await?
            .ok_or_else(missing)?;
        if order.merchant_id != caller.merchant_id {
            return Err(missing());
        }
        let body = self.refund_body(&mut tx, &refund).await?;
        let mut reply = Reply::new(200, body);
        reply.version = Some(refund.version);
        Ok(reply)
    }

    /// The body of the answer about a refund that is stored.
    pub(in crate::atom::flow) async fn refund_answer_body(
        &self,
        tx: &mut Tx,
        id: &str,
    ) -> Result<Value, FlowError> {
        let refund = self.known_refund(tx, id).await?;
        self.refund_body(tx, &refund).await
    }

    /// The body that every answer about a refund has.
    pub(super) async fn refund_body(
        &self,
        tx: &mut Tx,
        refund: &RefundRow,
    ) -> Result<Value, FlowError> {
        let broken = |what| StoreError::broken("refunds", &refund.id, what);
        let order = take_order(tx, &refund.order_id)
            .await?
            .ok_or_else(|| broken("no order"))?;
        let refundable = match &order.paid_attempt_id {
            Some(id) => {
                let paid = attempt(tx, id).await?.ok_or_else(|| broken("no attempt"))?;
                self.refundable(&order, &paid)
            }
            None => 0,
        };
        let mut body = json!({
            "refund_id": refund.id,
            "order_id": refund.order_id,
            "state": refund.state.as_str(),
            "amount": refund.amount,
            "currency": refund.currency,
            "refund_txn_id": refund.refund_txn_id,
            "order_status": order.status.as_str(),
            "refund_state": order.refund_state,
            "refundable_amount": refundable,
            "origin": refund.origin.as_str(),
            "reason": refund.reason,
            "created_at": rfc3339(refund.created_at),
        });
        let lines = lines::load(tx, refund).await?;
        if lines.iter().any(|line| line.prod_refund_id != refund.id) {
            let shown = lines.iter().map(|line| {
                json!({
                    "product": line.product, "amount": line.amount, "state": line.state.as_str(),
                    "refund_txn_id": line.refund_txn_id,
                })
            });
            body["lines"] = shown.collect();
        }
        if refund.state == RefundState::Rejected {
            body["code"] = json!(refund.gateway_code);
        }
        Ok(body)
    }
}
