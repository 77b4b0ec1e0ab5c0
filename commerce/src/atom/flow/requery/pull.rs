//! Pulls the next status query of an attempt to now.

use serde_json::json;
use sqlx::Row;

use super::super::rows;
use super::super::{Flow, FlowError, Reply};
use crate::store::StoreError;

/// The least time between two queries of one attempt.
pub const QUERY_GAP_MS: i64 = 10_000;

impl Flow {
    /// An operator wants to know: all attempts of the order are asked for. 202.
    ///
    /// # Errors
    /// There is no such order, or the database fails.
    pub async fn requery_now(&self, order_id: &str) -> Result<Reply, FlowError> {
        let order = rows::find_order(&self.store, order_id).await?;
        let order = order.ok_or_else(|| FlowError::no_order(order_id))?;
        let mut conn = self
            .store
            .pool()
            .acquire()
            .await
            .map_err(StoreError::from)?;
        let attempts = rows::attempts_of(&mut conn, order_id).await?;
        drop(conn);
        let sent = attempts.iter().filter(|attempt| !attempt.was_never_sent());
        let ids: Vec<String> = sent.map(|attempt| attempt.id.clone()).collect();
        self.pull_attempts(&ids).await?;
        let body =
            json!({"order_id": order.id, "status": order.status.as_str(), "queued": ids.len()});
        Ok(Reply {
            version: Some(order.version),
            ..Reply::new(202, body)
        })
    }

    /// Pulls the next query of these attempts to now, or to [`QUERY_GAP_MS`] after the last one. When the latest of them
    /// will be due.
    pub(in crate::atom::flow) async fn pull_attempts(
        &self,
        ids: &[String],
    ) -> Result<Option<i64>, FlowError> {
        let now_ms = self.clock.now_ms();
        let mut latest = None;
        for id in ids {
            let sql = "SELECT next_requery_at, queried_at FROM payment_attempts WHERE id = $1";
            let row = sqlx::query(sql)
                .bind(id)
                .fetch_optional(self.store.pool())
                .await
                .map_err(StoreError::from)?;
            let Some(row) = row else { continue };
            let known: Option<i64> = row.try_get("next_requery_at").map_err(StoreError::from)?;
            let queried: Option<i64> = row.try_get("queried_at").map_err(StoreError::from)?;
            let due = now_ms.max(queried.map_or(now_ms, |queried| queried + QUERY_GAP_MS));
            if let Some(known) = known.filter(|known| *known <= due) {
                // Most are due already: a stranger who asks for them all the time makes no writing for it.
                latest = latest.max(Some(known));
                continue;
            }
            // What was claimed or pulled meanwhile stays as it is.
            sqlx::query(
                "UPDATE payment_attempts SET next_requery_at = $1 \
                 WHERE id = $2 AND (next_requery_at IS NULL OR next_requery_at > $1)",
            )
            .bind(due)
            .bind(id)
            .execute(self.store.pool())
            .await
            .map_err(StoreError::from)?;
            latest = latest.max(Some(due));
        }
        Ok(latest)
    }
}
