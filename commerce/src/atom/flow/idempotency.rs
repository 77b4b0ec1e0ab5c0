//! A request that comes twice is done once (`spec/atom.md` 13.4).
//!
//! The record is stored in the same transaction as what the request makes, so there is never one without the other. A
//! request that was cut off leaves a record that runs and names its resource; the repeated request goes on from that
//! resource's state. Only definite answers are stored.

use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::Row;

use super::{FlowError, Reply};
use crate::clock::{DAY_MS, HOUR_MS};
use crate::store::{StoreError, Tx, one};

/// Characters of the longest key.
pub const KEY_CHARS_MAX: usize = 64;
/// How long a key of orders and payments is remembered.
pub const PAYMENT_LIFE_MS: i64 = 24 * HOUR_MS;
/// How long a key of refunds is remembered.
pub const REFUND_LIFE_MS: i64 = 400 * DAY_MS;

/// A request that may come twice.
#[derive(Clone, Debug)]
pub struct Use<'a> {
    merchant_id: &'a str,
    route: String,
    key: &'a str,
    digest: String,
}

/// What is known of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Begin {
    /// It comes for the first time; a record runs from here on, if the transaction commits.
    First,
    /// It was answered.
    Replay(Reply),
    /// It came, and was not answered.
    Running {
        /// What it made.
        resource_id: Option<String>,
    },
}

impl<'a> Use<'a> {
    /// A request of a merchant. `route` is the concrete path, so that one key on two orders is two uses.
    ///
    /// # Errors
    /// The key is missing or has another form.
    pub fn new(
        merchant_id: &'a str,
        route: String,
        key: Option<&'a str>,
        body: &[u8],
    ) -> Result<Use<'a>, FlowError> {
        let visible = |key: &&str| {
            (1..=KEY_CHARS_MAX).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic())
        };
        let key = key
            .filter(visible)
            .ok_or(FlowError::IdempotencyKeyRequired)?;
        Ok(Use {
            merchant_id,
            route,
            key,
            digest: hex::encode(Sha256::digest(body)),
        })
    }

    /// Looks whether it came before, and if not stores that it did.
    ///
    /// # Errors
    /// The key belongs to another body, or the database fails.
    pub async fn begin(&self, tx: &mut Tx, now_ms: i64, life_ms: i64) -> Result<Begin, FlowError> {
        sqlx::query(
            "DELETE FROM idempotency_keys WHERE merchant_id = $1 AND route = $2 AND idem_key = $3 \
             AND expires_at <= $4 AND state = 'done'",
        )
        .bind(self.merchant_id)
        .bind(&self.route)
        .bind(self.key)
        .bind(now_ms)
        .execute(tx.conn())
        .await
        .map_err(StoreError::from)?;
        let inserted = sqlx::query(
            "INSERT INTO idempotency_keys \
             (merchant_id, route, idem_key, body_sha256, state, created_at, expires_at) \
             VALUES ($1, $2, $3, $4, 'running', $5, $6) ON CONFLICT DO NOTHING",
        )
        .bind(self.merchant_id)
        .bind(&self.route)
        .bind(self.key)
        .bind(&self.digest)
        .bind(now_ms)
        .bind(now_ms + life_ms)
        .execute(tx.conn())
        .await
        .map_err(StoreError::from)?;
        if inserted.rows_affected() == 1 {
            return Ok(Begin::First);
        }
        self.found(tx).await
    }

    async fn found(&self, tx: &mut Tx) -> Result<Begin, FlowError> {
        let row = sqlx::query(
            "SELECT body_sha256, state, response_status, response_body, resource_id \
             FROM idempotency_keys WHERE merchant_id = $1 AND route = $2 AND idem_key = $3",
        )
        .bind(self.merchant_id)
        .bind(&self.route)
        .bind(self.key)
        .fetch_one(tx.conn())
        .await
        .map_err(StoreError::from)?;
        let read = |error: sqlx::Error| FlowError::Store(error.into());
        if row.try_get::<String, _>("body_sha256").map_err(read)? != self.digest {
            return Err(FlowError::IdempotencyKeyReused);
        }
        if row.try_get::<String, _>("state").map_err(read)? == "running" {
            return Ok(Begin::Running {
                resource_id: row.try_get("resource_id").map_err(read)?,
            });
        }
        let broken = |what| StoreError::broken("idempotency_keys", self.key, what);
        let status: i64 = row.try_get("response_status").map_err(read)?;
        let body: String = row.try_get("response_body").map_err(read)?;
        Ok(Begin::Replay(Reply {
            status: u16::try_from(status).map_err(|_| broken("response_status"))?,
            body: serde_json::from_str(&body).map_err(|_| broken("response_body"))?,
            replayed: true,
            version: None,
        }))
    }

    /// Stores what the request made, from which a repeated one goes on.
    ///
    /// # Errors
    /// The database fails, or the record is not there.
    pub async fn attach(&self, tx: &mut Tx, resource_id: &str) -> Result<(), StoreError> {
        let done = sqlx::query(
            "UPDATE idempotency_keys SET resource_id = $1 \
             WHERE merchant_id = $2 AND route = $3 AND idem_key = $4 AND state = 'running'",
        )
        .bind(resource_id)
        .bind(self.merchant_id)
        .bind(&self.route)
        .bind(self.key)
        .execute(tx.conn())
        .await?;
        one(&done, "idempotency_keys", self.key)
    }

    /// Stores the answer, which is given again from now on.
    ///
    /// # Errors
    /// The database fails, or the record was finished by somebody else.
    pub async fn finish(&self, tx: &mut Tx, status: u16, body: &Value) -> Result<(), StoreError> {
        let done = sqlx::query(
            "UPDATE idempotency_keys SET state = 'done', response_status = $1, response_body = $2 \
             WHERE merchant_id = $3 AND route = $4 AND idem_key = $5 AND state = 'running'",
        )
        .bind(i64::from(status))
        .bind(body.to_string())
        .bind(self.merchant_id)
        .bind(&self.route)
        .bind(self.key)
        .execute(tx.conn())
        .await?;
        one(&done, "idempotency_keys", self.key)
    }

    /// Forgets that the request came: it was refused, and the same one may succeed later.
    ///
    /// # Errors
    /// The database fails.
    pub async fn abandon(&self, tx: &mut Tx) -> Result<(), StoreError> {
        sqlx::query(
            "DELETE FROM idempotency_keys WHERE merchant_id = $1 AND route = $2 AND idem_key = $3 \
             AND state = 'running'",
        )
        .bind(self.merchant_id)
        .bind(&self.route)
        .bind(self.key)
        .execute(tx.conn())
        .await?;
        Ok(())
    }
}

/// Forgets keys whose life is over, unless what they made is still open. The number forgotten.
///
/// # Errors
/// The database fails.
pub async fn forget(tx: &mut Tx, now_ms: i64) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "DELETE FROM idempotency_keys WHERE expires_at <= $1 AND NOT EXISTS \
         (SELECT 1 FROM payment_attempts a WHERE a.id = idempotency_keys.resource_id \
          AND a.outcome IN ('none', 'pending') AND a.next_requery_at IS NOT NULL)",
    )
    .bind(now_ms)
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected())
}
