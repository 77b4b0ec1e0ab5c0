//! Start-payment (`spec/atom.md` 15.2): the attempt is stored, AUTH is called, the token is stored and handed over.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::super::idempotency::{Begin, PAYMENT_LIFE_MS, Use};
use super::super::order::Item;
use super::super::rows::{self, AttemptRow, OrderRow};
use super::super::state::Phase;
use super::super::{Caller, Flow, FlowError, Reply};
use super::token::Called;
use super::{AUTH_CALLS_MAX, AUTH_LEASE_MS, shown};
use crate::atom::backoff;
use crate::atom::call::ErrorClass;
use crate::atom::wire::codes::Refusal;
use crate::atom::wire::messages::{AuthRequest, ProductLine, SubChannel};
use crate::store::{StoreError, Tx};

/// What start-payment asks.
struct Ask {
    channel: Option<String>,
    supersede: bool,
}

/// Whether there is a call to make.
enum Prepared {
    /// This attempt is stored and marked; it is to be sent.
    Send(Box<OrderRow>, Box<AttemptRow>),
    /// The answer is known without a call.
    Answer(Reply),
}

impl Flow {
    /// Begins a payment of an order. 201 with what the checkout page needs.
    ///
    /// # Errors
    /// The codes of section 15.2 and of 13.4.
    pub async fn start_payment(
        &self,
        who: &Caller,
        order_id: &str,
        key: Option<&str>,
        body: &[u8],
    ) -> Result<Reply, FlowError> {
        let route = format!("/v1/orders/{order_id}/payments");
        let claim = Use::new(&who.merchant_id, route, key, body)?;
        let ask = Ask::read(body)?;
        self.points.reach("payment.start.begin").await;
        let (order, mut attempt) = match self.prepare(who, order_id, &claim, &ask).await? {
            Prepared::Answer(reply) => return Ok(reply),
            Prepared::Send(order, attempt) => (order, attempt),
        };
        // The customer waits for all of it, also if a second id is tried.
        let began = Instant::now();
        let mut again = true;
        loop {
            log::info!(
                "Payment initiated orderId={order_id} amount={} attempt={} merchTxnId={} requestId={}",
                attempt.amount,
                attempt.id,
                attempt.merch_txn_id,
                who.request_id
            );
            self.points.reach("payment.start.before_call").await;
            let outcome = self
                .atom
                .auth(&auth_request(&order, &attempt)?, began)
                .await;
            self.points.reach("payment.start.after_call").await;
            match self
                .write_token(who, &claim, &attempt, outcome, again)
                .await?
            {
                Called::Answer(answer) => return answer,
                Called::Again(next) => attempt = next,
            }
            again = false;
            self.points.reach("payment.start.new_id").await;
            tokio::time::sleep(backoff::delay(0, 500, 8_000).min(Duration::from_millis(500))).await;
        }
    }

    /// Stores what is sent, or finds what an earlier request with this key has stored.
    async fn prepare(
        &self,
        who: &Caller,
        order_id: &str,
        claim: &Use<'_>,
        ask: &Ask,
    ) -> Result<Prepared, FlowError> {
        let now_ms = self.clock.now_ms();
        let mut tx = self.store.begin().await?;
        let begun = claim.begin(&mut tx, now_ms, PAYMENT_LIFE_MS).await?;
        if let Begin::Replay(reply) = begun {
            return Ok(Prepared::Answer(reply));
        }
        let order = self.take_of(&mut tx, who, order_id).await?;
        if let Begin::Running { resource_id } = begun {
            let id = resource_id.ok_or(FlowError::RequestInProgress)?;
            return self.go_on(tx, who, claim, order, &id).await;
        }
        let attempt = self
            .reserve(&mut tx, who, &order, ask.channel.as_deref(), ask.supersede)
            .await?;
        claim.attach(&mut tx, &attempt.id).await?;
        self.points.reach("payment.start.reserved").await;
        tx.commit().await?;
        self.points.reach("payment.start.reserve_committed").await;
        Ok(Prepared::Send(Box::new(order), Box::new(attempt)))
    }

    /// An earlier request with this key was cut off, or had an answer that is not kept. Its attempt decides.
    async fn go_on(
        &self,
        mut tx: Tx,
        who: &Caller,
        claim: &Use<'_>,
        order: OrderRow,
        id: &str,
    ) -> Result<Prepared, FlowError> {
        let now_ms = self.clock.now_ms();
        let before = rows::attempt(&mut tx, id).await?;
        let before = before.ok_or_else(|| StoreError::broken("payment_attempts", id, "is gone"))?;
        let mut after = before.clone();
        match before.phase {
            Phase::Initializing if before.auth_in_flight => {
                if now_ms < before.auth_at + AUTH_LEASE_MS {
                    return Err(FlowError::RequestInProgress);
                }
                after.phase = Phase::AuthUnknown;
                after.auth_in_flight = false;
                after.auth_error = Some("caller_gone".to_owned());
                self.save_step(&mut tx, who, &before, &mut after).await?;
                tx.commit().await?;
                Err(FlowError::GatewayTimeout)
            }
            // It never left us, so the same id may be sent.
            Phase::Initializing => {
                self.must_accept_payments()?;
                self.must_wait_for_payment(&order, now_ms)?;
                if before.auth_calls >= AUTH_CALLS_MAX {
                    let detail =
                        "the gateway could not be reached; start again with a new Idempotency-Key";
                    return Err(FlowError::invalid_state(&order.id, detail));
                }
                after.auth_calls += 1;
                after.auth_at = now_ms;
                after.auth_in_flight = true;
                after.next_requery_at = Some(super::super::requery::first_query_ms(
                    &self.settings,
                    now_ms,
                ));
                self.save_step(&mut tx, who, &before, &mut after).await?;
                tx.commit().await?;
                Ok(Prepared::Send(Box::new(order), Box::new(after)))
            }
            Phase::AuthUnknown => Err(FlowError::GatewayTimeout),
            Phase::AuthFailed => Err(FlowError::GatewayRejected {
                class: refusal_class(&before),
            }),
            Phase::Abandoned if before.atom_token_id.is_none() => Err(FlowError::invalid_state(
                &order.id,
                "this attempt was given up for another one",
            )),
            _ => {
                self.must_be_payable(&order, &before, now_ms)?;
                let reply = Reply::new(201, shown(&order, &before, &self.checkout, &self.settings));
                claim.finish(&mut tx, reply.status, &reply.body).await?;
                tx.commit().await?;
                Ok(Prepared::Answer(reply))
            }
        }
    }
}

/// The class of the refusal that ended an attempt, as it was first answered.
fn refusal_class(attempt: &AttemptRow) -> &'static str {
    let class = match attempt.auth_error.as_deref() {
        Some(word) if word == Refusal::Merchant.name() => ErrorClass::Authentication,
        Some(word) if word == Refusal::Signature.name() => ErrorClass::Signature,
        _ => ErrorClass::Other,
    };
    class.name()
}

impl Ask {
    fn read(body: &[u8]) -> Result<Ask, FlowError> {
        let body = if body.trim_ascii().is_empty() {
            b"{}".as_slice()
        } else {
            body
        };
        let Ok(Value::Object(mut fields)) = serde_json::from_slice(body) else {
            return Err(FlowError::field("body", "must be a JSON object"));
        };
        let channel = match fields.remove("sub_channel") {
            None | Some(Value::Null) => None,
            Some(Value::String(code)) if SubChannel::from_code(&code).is_some() => Some(code),
            Some(_) => {
                let codes = SubChannel::ALL.map(|(code, _)| code).join(", ");
                return Err(FlowError::field(
                    "sub_channel",
                    format!("must be one of {codes}"),
                ));
            }
        };
        let supersede = match fields.remove("supersede") {
            None => false,
            Some(Value::Bool(supersede)) => supersede,
            Some(_) => return Err(FlowError::field("supersede", "must be true or false")),
        };
        match fields.keys().next() {
            Some(field) => Err(FlowError::field(field, "is no field of this request")),
            None => Ok(Ask { channel, supersede }),
        }
    }
}

fn auth_request(order: &OrderRow, attempt: &AttemptRow) -> Result<AuthRequest, FlowError> {
    let items: Vec<Item> = serde_json::from_str(&order.items)
        .map_err(|_| StoreError::broken("orders", &order.id, "items"))?;
    let lines = items.into_iter().map(|item| ProductLine {
        name: item.product,
        amount: item.amount,
    });
    let products: Vec<ProductLine> = lines.collect();
    Ok(AuthRequest {
        merch_txn_id: attempt.merch_txn_id.clone(),
        merch_txn_date_ist: attempt.merch_txn_date_ist.clone(),
        amount: attempt.amount,
        currency: attempt.currency.clone(),
        products: if products.len() > 1 {
            products
        } else {
            Vec::new()
        },
        sub_channel: attempt
            .asked_channel
            .as_deref()
            .and_then(SubChannel::from_code),
        cust_email: order.customer_email.clone(),
        cust_mobile: order.customer_mobile.clone(),
        cust_acc_no: None,
        client_code: None,
        order_id: order.id.clone(),
    })
}
