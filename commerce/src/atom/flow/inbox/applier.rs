//! Applies stored messages: at once by the request that brought them, and otherwise by the job.

use serde_json::json;
use sqlx::Row;
use thiserror::Error;

use super::super::apply::{Applied, News};
use super::super::issues::{self, Kind, NewIssue};
use super::super::rows;
use super::super::state::Source;
use super::super::{Flow, FlowError};
use crate::atom::wire::callback_open::Opened;
use crate::atom::wire::messages::Callback;
use crate::clock::MINUTE_MS;
use crate::store::{StoreError, Tx, one};

/// Messages applied in one run.
const BATCH_MAX: i64 = 100;
/// Tries after which somebody is told.
const TRIES_TOLD: i64 = 5;
/// The longest wait between two tries.
const WAIT_MS_MAX: i64 = 5 * MINUTE_MS;

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InboxReport {
    /// Messages applied.
    pub applied: usize,
    /// Messages that could not be applied; they are tried again.
    pub failed: usize,
}

/// Why a stored message stays where it is.
#[derive(Debug, Error)]
enum Unapplied {
    /// It was verified before it was stored, under a key that the configuration does not have any more.
    #[error(
        "no response key opens it any more: put the keys of its time back, behind the current ones of atom.res_key, \
         atom.res_salt and atom.res_hash_key, and start again"
    )]
    NoKey,
    /// The database, or a rule.
    #[error(transparent)]
    Flow(#[from] FlowError),
}

impl Flow {
    /// Applies what was stored and not applied.
    ///
    /// # Errors
    /// The database fails.
    pub async fn run_inbox_once(&self) -> Result<InboxReport, FlowError> {
        let rows = sqlx::query(
            "SELECT id, source, raw FROM callback_inbox WHERE applied_at IS NULL AND next_try_at <= $1 \
             ORDER BY next_try_at, id LIMIT $2",
        )
        .bind(self.clock.now_ms())
        .bind(BATCH_MAX)
        .fetch_all(self.store.pool())
        .await
        .map_err(StoreError::from)?;
        let mut report = InboxReport::default();
        for row in &rows {
            let id: String = row.try_get("id").map_err(StoreError::from)?;
            let source: String = row.try_get("source").map_err(StoreError::from)?;
            let raw: Option<String> = row.try_get("raw").map_err(StoreError::from)?;
            let source = Source::parse(&source)
                .ok_or_else(|| StoreError::broken("callback_inbox", &id, "source"))?;
            match self.apply_stored(&id, source, raw.as_deref()).await {
                Ok(()) => report.applied += 1,
                // Somebody else has applied it, or changed the order meanwhile.
                Err(Unapplied::Flow(FlowError::Store(error))) if error.is_conflict() => {}
                Err(error) => {
                    report.failed += 1;
                    log::error!("Callback not applied inbox={id} error={error}");
                    self.note_failure(&id, &error.to_string()).await?;
                }
            }
        }
        Ok(report)
    }

    async fn apply_stored(
        &self,
        id: &str,
        source: Source,
        raw: Option<&str>,
    ) -> Result<(), Unapplied> {
        // It was verified before it was stored; opening it again needs a key that may be gone by now.
        let opened = self
            .inbound
            .open(format!("encData={}", raw.unwrap_or("")).as_bytes());
        match opened {
            Ok(Opened::Signed(signed)) => {
                self.apply_message(id, source, &signed.callback).await?;
                Ok(())
            }
            _ => Err(Unapplied::NoKey),
        }
    }

    /// Applies a stored message, once. `None` if no attempt is known for it.
    pub(super) async fn apply_message(
        &self,
        inbox_id: &str,
        source: Source,
        said: &Callback,
    ) -> Result<Option<Applied>, FlowError> {
        let mut tx = self.store.begin().await?;
        let found =
            sqlx::query("SELECT id, order_id FROM payment_attempts WHERE merch_txn_id = $1")
                .bind(&said.merch_txn_id)
                .fetch_optional(tx.conn())
                .await
                .map_err(StoreError::from)?;
        let Some(found) = found else {
            self.orphan(&mut tx, inbox_id, said).await?;
            self.points.reach("callback.orphan").await;
            tx.commit().await?;
            return Ok(None);
        };
        let id: String = found.try_get("id").map_err(StoreError::from)?;
        let order_id: String = found.try_get("order_id").map_err(StoreError::from)?;
        let order = rows::take_order(&mut tx, &order_id).await?;
        let order = order.ok_or_else(|| StoreError::broken("orders", &order_id, "is gone"))?;
        let attempt = rows::attempt(&mut tx, &id).await?;
        let attempt =
            attempt.ok_or_else(|| StoreError::broken("payment_attempts", &id, "is gone"))?;
        let news = News::of_callback(source, inbox_id, said, &attempt);
        let applied = self
            .apply(&mut tx, &order, &attempt, &news, attempt.clone())
            .await?;
        self.points.reach("callback.applied").await;
        self.mark_applied(&mut tx, inbox_id, applied.as_str())
            .await?;
        self.points.reach("callback.marked").await;
        tx.commit().await?;
        self.points.reach("callback.committed").await;
        Ok(Some(applied))
    }

    async fn orphan(&self, tx: &mut Tx, inbox_id: &str, said: &Callback) -> Result<(), FlowError> {
        let raised = NewIssue {
            kind: Kind::OrphanCallback,
            order_id: None,
            attempt_id: None,
            refund_id: None,
            about: &said.merch_txn_id,
            detail: json!({
                "merch_txn_id": said.merch_txn_id, "atom_txn_id": said.atom_txn_id,
                "status_code": said.status_code, "total": said.amounts.total,
            }),
        };
        issues::open(tx, self.clock.now_ms(), &raised).await?;
        self.mark_applied(tx, inbox_id, "orphan").await
    }

    async fn mark_applied(
        &self,
        tx: &mut Tx,
        inbox_id: &str,
        result: &str,
    ) -> Result<(), FlowError> {
        let done = sqlx::query(
            "UPDATE callback_inbox SET applied_at = $1, result = $2, next_try_at = NULL \
             WHERE id = $3 AND applied_at IS NULL",
        )
        .bind(self.clock.now_ms())
        .bind(result)
        .bind(inbox_id)
        .execute(tx.conn())
        .await
        .map_err(StoreError::from)?;
        Ok(one(&done, "callback_inbox", inbox_id)?)
    }

    /// Whether the message still waits to be applied.
    pub(in crate::atom::flow) async fn is_stuck(
        &self,
        tx: &mut Tx,
        inbox_id: &str,
    ) -> Result<bool, FlowError> {
        let found =
            sqlx::query("SELECT id FROM callback_inbox WHERE id = $1 AND applied_at IS NULL")
                .bind(inbox_id)
                .fetch_optional(tx.conn())
                .await
                .map_err(StoreError::from)?;
        Ok(found.is_some())
    }

    /// Gives up a message that cannot be applied: two people have said so.
    pub(in crate::atom::flow) async fn discard_message(
        &self,
        tx: &mut Tx,
        inbox_id: &str,
    ) -> Result<(), FlowError> {
        self.mark_applied(tx, inbox_id, "discarded").await
    }

    async fn note_failure(&self, inbox_id: &str, error: &str) -> Result<(), FlowError> {
        let now_ms = self.clock.now_ms();
        let mut tx = self.store.begin().await?;
        let row = sqlx::query(
            "UPDATE callback_inbox SET tries = tries + 1 WHERE id = $1 AND applied_at IS NULL RETURNING tries",
        )
        .bind(inbox_id)
        .fetch_optional(tx.conn())
        .await
        .map_err(StoreError::from)?;
        let Some(row) = row else { return Ok(()) };
        let tries: i64 = row.try_get("tries").map_err(StoreError::from)?;
        let wait_ms = (1000 << tries.clamp(0, 20)).min(WAIT_MS_MAX);
        sqlx::query("UPDATE callback_inbox SET next_try_at = $1 WHERE id = $2")
            .bind(now_ms + wait_ms)
            .bind(inbox_id)
            .execute(tx.conn())
            .await
            .map_err(StoreError::from)?;
        if tries >= TRIES_TOLD {
            let raised = NewIssue {
                kind: Kind::InboxStuck,
                order_id: None,
                attempt_id: None,
                refund_id: None,
                about: inbox_id,
                detail: json!({"inbox_id": inbox_id, "tries": tries, "error": error}),
            };
            issues::open(&mut tx, now_ms, &raised).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}
