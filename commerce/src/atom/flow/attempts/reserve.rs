//! May another attempt begin, and if so the row for it: the part of start-payment before anything is sent.

use super::super::requery::first_query_ms;
use super::super::rows::{self, AttemptRow, OrderRow};
use super::super::state::{OrderStatus, Outcome, Phase};
use super::super::{Caller, Flow, FlowError, audit};
use super::{AUTH_LEASE_MS, shown};
use crate::clock::{HOUR_MS, ist_datetime};
use crate::id;
use crate::store::Tx;

/// What stands in the way of a new attempt.
enum Other {
    /// Nothing.
    Over,
    /// It may still be paid.
    Open,
    /// Its call never left us, and nobody is sending it now.
    Unsent,
    /// Its caller died over the call.
    Orphaned,
}

impl Flow {
    /// Stores a new attempt of a taken order, its AUTH call marked as under way, if the rules permit one.
    pub(super) async fn reserve(
        &self,
        tx: &mut Tx,
        who: &Caller,
        order: &OrderRow,
        channel: Option<&str>,
        supersede: bool,
    ) -> Result<AttemptRow, FlowError> {
        let now_ms = self.clock.now_ms();
        self.must_accept_payments()?;
        self.must_wait_for_payment(order, now_ms)?;
        let others = rows::attempts_of(tx.conn(), &order.id).await?;
        for other in &others {
            self.settle_other(tx, order, other, supersede, now_ms)
                .await?;
        }
        self.must_be_few(&others, now_ms)?;
        self.insert_attempt(tx, who, order, channel).await
    }

    /// The order has not had its attempts of this hour.
    pub(super) fn must_be_few(&self, others: &[AttemptRow], now_ms: i64) -> Result<(), FlowError> {
        let recent = others
            .iter()
            .filter(|other| other.created_at > now_ms - HOUR_MS);
        let max = self.settings.attempts_per_hour_max;
        if recent.clone().count() >= usize::try_from(max).unwrap_or(usize::MAX) {
            let oldest = recent.map(|other| other.created_at).min().unwrap_or(now_ms);
            let wait_ms = (oldest + HOUR_MS - now_ms).max(0).unsigned_abs();
            return Err(FlowError::TooManyAttempts {
                max,
                retry_after_s: wait_ms.div_ceil(1000),
            });
        }
        Ok(())
    }

    /// Stores a new attempt, its first AUTH call marked as under way.
    pub(super) async fn insert_attempt(
        &self,
        tx: &mut Tx,
        who: &Caller,
        order: &OrderRow,
        channel: Option<&str>,
    ) -> Result<AttemptRow, FlowError> {
        let now_ms = self.clock.now_ms();
        let attempt = AttemptRow {
            id: id::at("att_", now_ms),
            order_id: order.id.clone(),
            merch_txn_id: id::at("G", now_ms),
            merch_txn_date_ist: ist_datetime(now_ms),
            amount: order.amount,
            currency: order.currency.clone(),
            asked_channel: channel.map(str::to_owned),
            phase: Phase::Initializing,
            outcome: Outcome::None,
            hold: None,
            atom_token_id: None,
            token_at: None,
            atom_txn_id: None,
            total_amount: None,
            surcharge: None,
            sub_channel: None,
            bank_txn_id: None,
            otsbank_name: None,
            status_code: None,
            status_source: None,
            recon_status: None,
            txn_init_date: None,
            txn_complete_date: None,
            auth_calls: 1,
            auth_at: now_ms,
            auth_in_flight: true,
            auth_error: None,
            next_requery_at: Some(first_query_ms(&self.settings, now_ms)),
            requery_count: 0,
            queried_at: None,
            lease_owner: None,
            lease_until: None,
            settled_at: None,
            confirmed_at: None,
            final_at: None,
            cleared_at: None,
            accepted: None,
            refund_reserved: 0,
            refund_done: 0,
            version: 1,
            created_at: now_ms,
        };
        rows::insert_attempt(tx, &attempt).await?;
        audit::write(
            tx,
            now_ms,
            &audit::Entry {
                who: &who.actor,
                what: "attempt",
                id: &attempt.id,
                order_id: Some(&order.id),
                before: "",
                after: attempt.phase.as_str(),
                cause: &who.request_id,
            },
        )
        .await?;
        Ok(attempt)
    }

    /// Nobody has stopped new payments.
    pub(super) fn must_accept_payments(&self) -> Result<(), FlowError> {
        match self.settings.accept_payments {
            true => Ok(()),
            false => Err(FlowError::PaymentsStopped),
        }
    }

    /// An order that waits to be paid, and still may.
    pub(super) fn must_wait_for_payment(
        &self,
        order: &OrderRow,
        now_ms: i64,
    ) -> Result<(), FlowError> {
        if order.status != OrderStatus::Pending {
            let detail = format!("the order is {} and takes no payment", order.status);
            return Err(FlowError::invalid_state(&order.id, detail));
        }
        if order.expires_at <= now_ms {
            return Err(FlowError::invalid_state(&order.id, "the order has expired"));
        }
        Ok(())
    }

    /// A token goes to the customer as long as his order can be paid, or was paid by this very attempt.
    pub(super) fn must_be_payable(
        &self,
        order: &OrderRow,
        attempt: &AttemptRow,
        now_ms: i64,
    ) -> Result<(), FlowError> {
        match order.paid_attempt_id.as_deref() == Some(&attempt.id) {
            true => Ok(()),
            false => self.must_wait_for_payment(order, now_ms),
        }
    }

    async fn settle_other(
        &self,
        tx: &mut Tx,
        order: &OrderRow,
        other: &AttemptRow,
        supersede: bool,
        now_ms: i64,
    ) -> Result<(), FlowError> {
        if other.hold.is_some() {
            let detail =
                "a payment of the order waits for an operator's decision; it takes no other";
            return Err(FlowError::invalid_state(&order.id, detail));
        }
        let mut after = other.clone();
        match self.other(other, supersede, now_ms) {
            Other::Over => return Ok(()),
            Other::Open => {
                let attempt = shown(order, other, &self.checkout, &self.settings);
                return Err(FlowError::AttemptOpen {
                    order_id: order.id.clone(),
                    attempt,
                });
            }
            Other::Unsent => {
                after.phase = Phase::Abandoned;
                after.next_requery_at = None;
            }
            Other::Orphaned => {
                after.phase = Phase::AuthUnknown;
                after.auth_in_flight = false;
                after.auth_error = Some("caller_gone".to_owned());
            }
        }
        rows::save_attempt(tx, other, &mut after, now_ms).await?;
        Ok(())
    }

    fn other(&self, other: &AttemptRow, supersede: bool, now_ms: i64) -> Other {
        let lives = |since: Option<i64>| {
            since.is_some_and(|since| now_ms < since + self.settings.token_lifetime_ms())
        };
        match (other.phase, other.outcome) {
            (_, Outcome::Failed) => Other::Over,
            // The bank has not decided: a second payment is the customer's explicit wish only.
            (_, Outcome::Pending) if !supersede => Other::Open,
            // A call under way cannot be superseded: that is the double click.
            (Phase::Initializing, _) if other.auth_in_flight => {
                if now_ms < other.auth_at + AUTH_LEASE_MS {
                    Other::Open
                } else {
                    Other::Orphaned
                }
            }
            (Phase::Initializing, _) => Other::Unsent,
            (Phase::TokenGenerated | Phase::UserPayment, Outcome::None)
                if lives(other.token_at) && !supersede =>
            {
                Other::Open
            }
            _ => Other::Over,
        }
    }
}
