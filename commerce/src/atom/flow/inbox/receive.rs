//! Checks 7 to 10 of section 14, after the message was opened, for both addresses.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use sqlx::Row;
use url::Url;

use super::super::apply::Applied;
use super::super::state::{Outcome, Source};
use super::super::{Flow, FlowError};
use crate::atom::wire::callback_open::{Opened, Reason, SignedCallback, Trace};
use crate::atom::wire::messages::Callback;
use crate::id;
use crate::store::StoreError;

/// How long the background applier leaves a fresh message to the request that brought it.
const INLINE_MS: i64 = 5_000;
/// Attempts that a hint without a name pulls.
const HINT_PULLS_MAX: i64 = 5;
/// The least time between two hints without a name that are followed.
const HINT_GAP_MS: i64 = 1_000;

/// What Atom's server is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallbackAnswer {
    /// 200 `OK`: the message is ours to keep.
    Taken,
    /// 400, always the same.
    Refused,
}

/// What the customer's browser is shown at first; the page reads the truth by the order API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LandingState {
    /// Paid.
    Success,
    /// Not paid; another try is possible.
    Failed,
    /// Not known yet.
    Processing,
}

impl LandingState {
    /// As it stands in the address.
    pub fn as_str(self) -> &'static str {
        match self {
            LandingState::Success => "success",
            LandingState::Failed => "failed",
            LandingState::Processing => "processing",
        }
    }
}

/// Where the customer's browser goes from the return address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Landing {
    /// The order, if the message was verified.
    pub order_id: Option<String>,
    /// The merchant's page, if the order has one.
    pub return_page: Option<String>,
    /// What to show.
    pub state: LandingState,
}

impl Landing {
    const NOWHERE: Landing = Landing {
        order_id: None,
        return_page: None,
        state: LandingState::Processing,
    };

    /// The address to go to; `neutral` is our own page for a customer whose merchant is unknown.
    pub fn location(&self, neutral: &str) -> String {
        let page = self
            .return_page
            .as_deref()
            .and_then(|page| Url::parse(page).ok());
        let (Some(mut page), Some(order_id)) = (page, &self.order_id) else {
            return neutral.to_owned();
        };
        page.query_pairs_mut()
            .append_pair("order_id", order_id)
            .append_pair("state", self.state.as_str());
        page.into()
    }
}

impl Flow {
    /// A post to the callback address; `from` is the sender's address, for the log.
    ///
    /// # Errors
    /// The message could not be stored: answer 500, so that Atom sends it again.
    pub async fn receive_callback(
        &self,
        body: &[u8],
        from: &str,
    ) -> Result<CallbackAnswer, FlowError> {
        match self.open(Source::Callback, body, from) {
            Some(signed) => {
                self.take_in(Source::Callback, &signed).await?;
                Ok(CallbackAnswer::Taken)
            }
            None => Ok(CallbackAnswer::Refused),
        }
    }

    /// A browser that comes back from the payment page, or visits the address bare.
    pub async fn receive_return(&self, body: &[u8], from: &str) -> Landing {
        let Some(signed) = self.open(Source::Return, body, from) else {
            return Landing::NOWHERE;
        };
        if let Err(error) = self.take_in(Source::Return, &signed).await {
            log::error!("Return not stored error={error}");
            return Landing::NOWHERE;
        }
        match self.landing(&signed.callback).await {
            Ok(landing) => landing,
            Err(error) => {
                log::error!("Return not shown error={error}");
                Landing::NOWHERE
            }
        }
    }

    /// Checks 3 to 6. What is pulled by a message that nobody vouches for is pulled in a task of its own: the answer must
    /// take as long for it as for any other that is refused.
    fn open(&self, source: Source, body: &[u8], from: &str) -> Option<Box<SignedCallback>> {
        match self.inbound.open(body) {
            Ok(Opened::Signed(signed)) => {
                self.observer.signature(true);
                return Some(signed);
            }
            Ok(Opened::Unsigned {
                merch_txn_id,
                trace,
            }) => {
                self.observer.signature(false);
                self.leave_trace(source, from, "unsigned", &trace);
                self.pull_later(Some(merch_txn_id));
            }
            Ok(Opened::Hint(_)) => {
                self.leave_trace(source, from, "hint", &Trace::default());
                self.pull_later(None);
            }
            Err(rejected) => {
                if matches!(rejected.reason, Reason::Signature) {
                    self.observer.signature(false);
                }
                self.leave_trace(source, from, rejected.reason.name(), &rejected.trace);
                if source == Source::Return && rejected.reason == Reason::NoEncData {
                    self.pull_later(None);
                }
            }
        }
        None
    }

    fn leave_trace(&self, source: Source, from: &str, why: &str, trace: &Trace) {
        // It decrypted and was signed, so no stranger made it.
        let other_merchant = why == Reason::Merchant.name();
        let result = match other_merchant {
            true => "other_merchant",
            false => "decrypt_or_signature",
        };
        self.observer.callback(source.as_str(), result);
        let mut sampler = self.sampler.lock().unwrap_or_else(PoisonError::into_inner);
        if !sampler.allows(self.clock.now_ms()) {
            return;
        }
        let order_id = trace.claimed_order_id.as_deref().unwrap_or("");
        let digest = trace.digest_prefix.as_deref().unwrap_or("");
        let key = trace.key.map(|key| key.to_string()).unwrap_or_default();
        match why {
            "signature" | "unsigned" => log::warn!(
                "Signature verification failed orderId={order_id:?} source={from} digest={digest} key={key}"
            ),
            "merchant" => {
                log::error!("Callback for another merchant source={from} digest={digest}")
            }
            _ => log::info!("Callback refused why={why} source={from} digest={digest}"),
        }
    }

    fn pull_later(&self, merch_txn_id: Option<String>) {
        if merch_txn_id.is_none() && !self.follows_a_hint() {
            return;
        }
        let flow = self.clone();
        tokio::spawn(async move {
            if let Err(error) = flow.pull_hinted(merch_txn_id.as_deref()).await {
                log::error!("Hint not followed error={error}");
            }
        });
    }

    /// Whether a hint without a name is followed now. Anybody can send them, and one pulls for all that came around it.
    fn follows_a_hint(&self) -> bool {
        let now_ms = self.clock.now_ms();
        let last = self.hinted_at.load(Ordering::Relaxed);
        let gone = now_ms < last || now_ms >= last + HINT_GAP_MS;
        // Of several at the same time one wins.
        gone && self
            .hinted_at
            .compare_exchange(last, now_ms, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    /// Pulls the attempt of this name, or, without one, the newest that are with their customers.
    async fn pull_hinted(&self, merch_txn_id: Option<&str>) -> Result<(), FlowError> {
        let rows = sqlx::query(
            "SELECT id FROM payment_attempts WHERE next_requery_at IS NOT NULL \
             AND ($1 IS NULL OR merch_txn_id = $1) AND ($1 IS NOT NULL OR created_at >= $2) \
             AND outcome IN ('none', 'pending') ORDER BY created_at DESC, id DESC LIMIT $3",
        )
        .bind(merch_txn_id)
        .bind(self.clock.now_ms() - self.settings.token_lifetime_ms())
        .bind(HINT_PULLS_MAX)
        .fetch_all(self.store.pool())
        .await
        .map_err(StoreError::from)?;
        let ids = rows
            .iter()
            .map(|row| row.try_get("id"))
            .collect::<Result<Vec<String>, _>>();
        self.pull_attempts(&ids.map_err(StoreError::from)?).await?;
        Ok(())
    }

    /// Stores the message and applies it. Once it is stored, a failure to apply it is the applier's matter.
    async fn take_in(&self, source: Source, signed: &SignedCallback) -> Result<(), FlowError> {
        let now_ms = self.clock.now_ms();
        let said = &signed.callback;
        let known =
            sqlx::query("SELECT id FROM callback_inbox WHERE sha256 = $1").bind(&signed.digest);
        let known = known
            .fetch_optional(self.store.pool())
            .await
            .map_err(StoreError::from)?;
        let inbox_id = id::at("cb_", now_ms);
        if known.is_some() || !self.store_message(source, signed, &inbox_id).await? {
            self.told_of(source, signed, "duplicate");
            return Ok(());
        }
        match self.apply_message(&inbox_id, source, said).await {
            Ok(applied) => self.told_of(source, signed, result_of(applied)),
            Err(error) => {
                self.told_of(source, signed, "accepted");
                log::error!("Callback stored and not applied yet inbox={inbox_id} error={error}");
            }
        }
        Ok(())
    }

    async fn store_message(
        &self,
        source: Source,
        signed: &SignedCallback,
        inbox_id: &str,
    ) -> Result<bool, FlowError> {
        let now_ms = self.clock.now_ms();
        let said = &signed.callback;
        self.points.reach("callback.verified").await;
        let mut tx = self.store.begin().await?;
        let done = sqlx::query(
            "INSERT INTO callback_inbox (id, sha256, source, merch_txn_id, atom_txn_id, status_code, \
             raw, received_at, next_try_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
             ON CONFLICT DO NOTHING",
        )
        .bind(inbox_id)
        .bind(&signed.digest)
        .bind(source.as_str())
        .bind(&said.merch_txn_id)
        .bind(&said.atom_txn_id)
        .bind(&said.status_code)
        .bind(&signed.enc_data)
        .bind(now_ms)
        .bind(now_ms + INLINE_MS)
        .execute(tx.conn())
        .await
        .map_err(StoreError::from)?;
        self.points.reach("callback.stored").await;
        tx.commit().await?;
        self.points.reach("callback.store_committed").await;
        Ok(done.rows_affected() == 1)
    }

    fn told_of(&self, source: Source, signed: &SignedCallback, result: &'static str) {
        self.observer.callback(source.as_str(), result);
        log::info!(
            "Callback received atomTxnId={} status={} merchTxnId={} source={source} result={result} digest={}",
            signed.callback.atom_txn_id,
            signed.callback.status_code,
            signed.callback.merch_txn_id,
            signed.digest.get(..12).unwrap_or("")
        );
    }

    async fn landing(&self, said: &Callback) -> Result<Landing, FlowError> {
        let row = sqlx::query(
            "SELECT a.order_id, a.outcome, a.hold, o.return_page FROM payment_attempts a \
             JOIN orders o ON o.id = a.order_id WHERE a.merch_txn_id = $1",
        )
        .bind(&said.merch_txn_id)
        .fetch_optional(self.store.pool())
        .await
        .map_err(StoreError::from)?;
        let Some(row) = row else {
            return Ok(Landing::NOWHERE);
        };
        let outcome: String = row.try_get("outcome").map_err(StoreError::from)?;
        let hold: Option<String> = row.try_get("hold").map_err(StoreError::from)?;
        let state = match Outcome::parse(&outcome) {
            Some(Outcome::Success) if hold.is_none() => LandingState::Success,
            Some(Outcome::Failed) if hold.is_none() => LandingState::Failed,
            _ => LandingState::Processing,
        };
        Ok(Landing {
            order_id: row.try_get("order_id").map_err(StoreError::from)?,
            return_page: row.try_get("return_page").map_err(StoreError::from)?,
            state,
        })
    }
}

/// The word of the counter for what a message did; `None` is a message that no attempt is known for.
fn result_of(applied: Option<Applied>) -> &'static str {
    match applied {
        None => "orphan",
        Some(Applied::Mismatch | Applied::Held) => "mismatch",
        Some(_) => "accepted",
    }
}
