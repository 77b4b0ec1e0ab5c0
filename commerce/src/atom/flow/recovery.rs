//! What a start finds and puts right: everything that a crash can leave half done (`spec/atom.md` 11.1, 13.4).
//!
//! Nothing is sent here and nothing is guessed. What may have left us becomes unknown and is looked up; what is known but
//! was not answered is made the answer. It may run while other processes work: their calls go on and are taken.

use sqlx::Row;

use super::refunds::rows;
use super::refunds::state::RefundState;
use super::{Flow, FlowError};
use crate::store::{StoreError, one};

/// What a start put right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Refunds that were being submitted, now unknown.
    pub refunds_unknown: usize,
    /// Answers stored for requests whose refund is settled.
    pub answers_stored: usize,
}

impl Flow {
    /// Puts right what the last run left. To be run once at start, before requests are taken.
    ///
    /// # Errors
    /// The database fails.
    pub async fn recover_refunds_at_start(&self) -> Result<RecoveryReport, FlowError> {
        let mut report = RecoveryReport::default();
        let mut tx = self.store.begin().await?;
        let submitting = rows::ids_in(&mut tx, RefundState::Submitting).await?;
        drop(tx);
        for id in submitting {
            self.give_up(&id, true).await?;
            self.points.reach("recovery.refund").await;
            report.refunds_unknown += 1;
        }
        report.answers_stored = self.store_refund_answers().await?;
        log::info!(
            "Recovered refundsUnknown={} answersStored={}",
            report.refunds_unknown,
            report.answers_stored
        );
        Ok(report)
    }

    /// A refund was settled after its request was cut off: the answer is stored for the next request with the key.
    async fn store_refund_answers(&self) -> Result<usize, FlowError> {
        let waiting = sqlx::query(
            "SELECT k.merchant_id, k.route, k.idem_key, k.resource_id FROM idempotency_keys k \
             JOIN refunds r ON r.id = k.resource_id WHERE k.state = 'running' \
             AND r.state IN ('accepted', 'processed', 'rejected', 'failed')",
        )
        .fetch_all(self.store.pool())
        .await
        .map_err(StoreError::from)?;
        let mut stored = 0;
        for row in &waiting {
            let read = |name: &str| row.try_get::<String, _>(name).map_err(StoreError::from);
            let mut tx = self.store.begin().await?;
            let body = self
                .refund_answer_body(&mut tx, &read("resource_id")?)
                .await?;
            let done = sqlx::query(
                "UPDATE idempotency_keys SET state = 'done', response_status = 201, \
                 response_body = $1 WHERE merchant_id = $2 AND route = $3 AND idem_key = $4 \
                 AND state = 'running'",
            )
            .bind(body.to_string())
            .bind(read("merchant_id")?)
            .bind(read("route")?)
            .bind(read("idem_key")?)
            .execute(tx.conn())
            .await
            .map_err(StoreError::from)?;
            if one(&done, "idempotency_keys", &read("idem_key")?).is_ok() {
                self.points.reach("recovery.answer").await;
                tx.commit().await?;
                stored += 1;
            }
        }
        Ok(stored)
    }
}
