//! The smaller jobs: orders that expire, keys that are forgotten, data whose time is over.

use sqlx::Row;

use super::rows;
use super::state::{OrderCause, OrderStatus};
use super::{Flow, FlowError, idempotency};
use crate::clock::DAY_MS;
use crate::store::StoreError;

/// Orders looked at in one run.
const BATCH_MAX: i64 = 200;

/// What a run of the clean-up did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CleanupReport {
    /// Idempotency keys forgotten.
    pub keys: u64,
    /// Orders whose contact data were deleted.
    pub contacts: u64,
    /// Raw messages deleted.
    pub messages: u64,
}

impl Flow {
    /// Cancels pending orders whose time is over and that nobody can have paid; the others are under requery and are looked
    /// at again. How many were cancelled.
    ///
    /// # Errors
    /// The database fails.
    pub async fn run_expiry_once(&self) -> Result<usize, FlowError> {
        let now_ms = self.clock.now_ms();
        // An attempt stands in the way unless it was refused, never left us, was seen unpaid after its token's life, or its
        // money went back.
        let rows = sqlx::query(
            "SELECT id FROM orders WHERE status = 'pending' AND expires_at <= $1 AND NOT EXISTS \
             (SELECT 1 FROM payment_attempts a WHERE a.order_id = orders.id \
              AND (a.hold IS NOT NULL OR (a.outcome = 'success' AND (a.refund_done = 0 \
                OR a.refund_done < COALESCE(a.total_amount - COALESCE(a.surcharge, 0), a.amount))) \
               OR (a.outcome NOT IN ('success', 'reversed') \
                AND a.cleared_at IS NULL AND a.phase <> 'auth_failed' \
                AND NOT (a.phase IN ('initializing', 'abandoned') AND a.auth_in_flight = 0 \
                 AND a.atom_token_id IS NULL AND a.auth_error IS NOT NULL)))) \
             ORDER BY expires_at, id LIMIT $2",
        )
        .bind(now_ms)
        .bind(BATCH_MAX)
        .fetch_all(self.store.pool())
        .await
        .map_err(StoreError::from)?;
        let mut expired = 0;
        for row in &rows {
            let id: String = row.try_get("id").map_err(StoreError::from)?;
            expired += usize::from(self.expire(&id).await?);
        }
        Ok(expired)
    }

    async fn expire(&self, id: &str) -> Result<bool, FlowError> {
        let mut tx = self.store.begin().await?;
        let Some(order) = rows::take_order(&mut tx, id).await? else {
            return Ok(false);
        };
        let attempts = rows::attempts_of(tx.conn(), id).await?;
        let free = attempts
            .iter()
            .all(|attempt| attempt.is_over() || attempt.was_never_sent());
        if order.status != OrderStatus::Pending || !free {
            return Ok(false);
        }
        let (to, by) = (OrderStatus::Cancelled, OrderCause::Expiry);
        self.step_order(&mut tx, &order, to, by, &self.process, "expiry")
            .await?;
        self.points.reach("order.expire.stored").await;
        tx.commit().await?;
        self.points.reach("order.expire.committed").await;
        Ok(true)
    }

    /// Forgets what is kept no longer: idempotency keys, and after the dispute period contact data, raw messages and news.
    ///
    /// # Errors
    /// The database fails.
    pub async fn run_cleanup_once(&self) -> Result<CleanupReport, FlowError> {
        let now_ms = self.clock.now_ms();
        let before_ms = now_ms - self.settings.retention_days * DAY_MS;
        let mut tx = self.store.begin().await?;
        let keys = idempotency::forget(&mut tx, now_ms).await?;
        let contacts = sqlx::query(
            "UPDATE orders SET customer_email = '', customer_mobile = '', user_id = NULL \
             WHERE created_at < $1 AND status <> 'pending' AND customer_email <> ''",
        )
        .bind(before_ms)
        .execute(tx.conn())
        .await
        .map_err(StoreError::from)?;
        let messages = sqlx::query(
            "UPDATE callback_inbox SET raw = NULL \
             WHERE received_at < $1 AND applied_at IS NOT NULL AND raw IS NOT NULL",
        )
        .bind(before_ms)
        .execute(tx.conn())
        .await
        .map_err(StoreError::from)?;
        sqlx::query("DELETE FROM outbox WHERE created_at < $1")
            .bind(before_ms)
            .execute(tx.conn())
            .await
            .map_err(StoreError::from)?;
        self.points.reach("cleanup.stored").await;
        tx.commit().await?;
        Ok(CleanupReport {
            keys,
            contacts: contacts.rows_affected(),
            messages: messages.rows_affected(),
        })
    }
}
