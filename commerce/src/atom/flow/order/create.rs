//! Create-order (`spec/atom.md` 15.1): order and idempotency record in one transaction.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::super::idempotency::{Begin, PAYMENT_LIFE_MS, Use};
use super::super::rows::{self, OrderRow};
use super::super::state::OrderStatus;
use super::super::{Caller, Flow, FlowError, Reply, audit};
use super::ask::OrderAsk;
use crate::clock::rfc3339;
use crate::id;
use crate::store::{StoreError, Tx};

impl Flow {
    /// Makes an order. 201 with the order and its reading token.
    ///
    /// A reference that was used for the same content gives that order again; nothing new is made.
    ///
    /// # Errors
    /// The codes of section 15.1 and of 13.4.
    pub async fn create_order(
        &self,
        who: &Caller,
        key: Option<&str>,
        body: &[u8],
    ) -> Result<Reply, FlowError> {
        let claim = Use::new(&who.merchant_id, "/v1/orders".to_owned(), key, body)?;
        let ask = OrderAsk::read(body, &self.settings, &who.merchant_id)?;
        let now_ms = self.clock.now_ms();
        let mut tx = self.store.begin().await?;
        match claim.begin(&mut tx, now_ms, PAYMENT_LIFE_MS).await? {
            Begin::First => {}
            Begin::Replay(reply) => return Ok(self.with_token(reply)),
            // Record and answer are one transaction, so one that runs belongs to a request of this very moment.
            Begin::Running { .. } => return Err(FlowError::RequestInProgress),
        }
        let order = self.new_order(&who.merchant_id, ask, now_ms);
        let (order, is_new) = store(&mut tx, order).await?;
        if is_new {
            audit::write(
                &mut tx,
                now_ms,
                &audit::Entry {
                    who: &who.actor,
                    what: "order",
                    id: &order.id,
                    order_id: Some(&order.id),
                    before: "",
                    after: order.status.as_str(),
                    cause: &who.request_id,
                },
            )
            .await?;
        }
        let reply = Reply {
            replayed: !is_new,
            version: Some(order.version),
            ..Reply::new(201, shown(&order))
        };
        claim.attach(&mut tx, &order.id).await?;
        claim.finish(&mut tx, reply.status, &reply.body).await?;
        self.points.reach("order.create.stored").await;
        tx.commit().await?;
        self.points.reach("order.create.committed").await;
        Ok(self.with_token(reply))
    }

    fn new_order(&self, merchant_id: &str, ask: OrderAsk, now_ms: i64) -> OrderRow {
        let id = id::at("ord_", now_ms);
        let token = self.read_token(&id);
        OrderRow {
            merchant_id: merchant_id.to_owned(),
            content_sha256: ask.digest(),
            read_token_sha256: hex::encode(Sha256::digest(token)),
            merchant_order_ref: ask.merchant_order_ref,
            user_id: ask.user_id,
            amount: ask.amount,
            currency: ask.currency,
            customer_email: ask.email,
            customer_mobile: ask.mobile,
            items: json!(ask.items).to_string(),
            return_page: ask.return_page,
            status: OrderStatus::Pending,
            status_reason: None,
            status_before_refund: None,
            paid_attempt_id: None,
            payment_method: None,
            paid_at: None,
            refunded_amount: 0,
            refund_state: "none".to_owned(),
            confirmed_at: None,
            expires_at: now_ms + self.settings.order_ttl_s * 1000,
            version: 1,
            created_at: now_ms,
            id,
        }
    }

    /// The token with which the customer's browser reads this order. It is made from the order's id, so that a repeated
    /// request gets the same one although only its digest is stored.
    pub fn read_token(&self, order_id: &str) -> String {
        let key = self.read_token_key.expose().as_bytes();
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
        mac.update(order_id.as_bytes());
        let full = hex::encode(mac.finalize().into_bytes());
        format!("rt_{}", &full[..32])
    }

    fn with_token(&self, mut reply: Reply) -> Reply {
        if let Some(id) = reply.body["order_id"].as_str().map(str::to_owned) {
            reply.body["read_token"] = Value::String(self.read_token(&id));
        }
        reply
    }
}

/// Stores the order, or finds the one that has its reference already.
async fn store(tx: &mut Tx, order: OrderRow) -> Result<(OrderRow, bool), FlowError> {
    if rows::insert_order(tx, &order).await? {
        return Ok((order, true));
    }
    let known = rows::order_of_ref(tx, &order.merchant_id, &order.merchant_order_ref).await?;
    let known = known.ok_or_else(|| StoreError::conflict("orders", &order.id))?;
    if known.content_sha256 == order.content_sha256 {
        Ok((known, false))
    } else {
        Err(FlowError::DuplicateOrderRef { order_id: known.id })
    }
}

fn shown(order: &OrderRow) -> Value {
    json!({
        "order_id": order.id,
        "status": order.status.as_str(),
        "amount": order.amount,
        "currency": order.currency,
        "refunded_amount": order.refunded_amount,
        "refund_state": order.refund_state,
        "expires_at": rfc3339(order.expires_at),
        "created_at": rfc3339(order.created_at),
    })
}
