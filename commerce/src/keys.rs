//! API keys: who may call, as what. A key is 256 random bits; the database holds its SHA-256 only, so a copy of the
//! database opens nothing. A fast hash is right here: there is no password to guess, only 256 random bits.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use sqlx::Row;

use crate::clock::Clock;
use crate::id;
use crate::store::{Store, StoreError};

/// What a key begins with, so that a scanner finds one that leaked.
pub const PREFIX: &str = "sek_";

/// Random bytes of a key.
const KEY_BYTES: usize = 32;

/// How long a found key is believed without asking the database: a revoked one works this much longer at most.
const CACHE_TIME: Duration = Duration::from_secs(5);

/// Keys kept in the cache.
const CACHE_KEYS_MAX: usize = 4096;

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Orders, payments and refunds of one merchant.
    Merchant,
    /// Everything below `/v1/admin/`.
    Operator,
}

/// Who is calling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The id of the key, which stands in the audit.
    pub key_id: String,
    /// What the key may do.
    pub role: Role,
    /// Whose orders; none for operators.
    pub merchant_id: Option<String>,
    /// What the key is called.
    pub label: String,
}

/// A key as it is listed.
#[derive(Debug, Clone)]
pub struct KeyEntry {
    /// Whose it is.
    pub principal: Principal,
    /// When it was made, in ms.
    pub created_at: i64,
    /// When it was revoked, in ms.
    pub revoked_at: Option<i64>,
}

/// A key that was just made: shown to its owner once.
pub struct NewKey {
    /// Its id.
    pub id: String,
    /// The key itself.
    pub key: String,
}

/// The keys in the store.
#[derive(Clone)]
pub struct ApiKeys {
    store: Store,
    clock: Clock,
    cache: Arc<Mutex<HashMap<String, (Principal, Instant)>>>,
}

impl Role {
    /// As it is stored and written.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Merchant => "merchant",
            Self::Operator => "operator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.word())
    }
}

impl ApiKeys {
    /// The keys of this store.
    pub fn new(store: Store, clock: Clock) -> Self {
        Self {
            store,
            clock,
            cache: Arc::default(),
        }
    }

    /// Makes a key: for a merchant if one is named, for an operator otherwise.
    ///
    /// # Errors
    /// The store fails.
    pub async fn create(
        &self,
        merchant_id: Option<&str>,
        label: &str,
    ) -> Result<NewKey, StoreError> {
        let mut bytes = [0_u8; KEY_BYTES];
        rand::fill(&mut bytes);
        let key = format!("{PREFIX}{}", hex::encode(bytes));
        let id = id::new("key_");
        let role = merchant_id.map_or(Role::Operator, |_| Role::Merchant);
        sqlx::query(
            "INSERT INTO api_keys (id, key_sha256, role, merchant_id, label, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(&id)
        .bind(digest(&key))
        .bind(role.word())
        .bind(merchant_id)
        .bind(label)
        .bind(self.clock.now_ms())
        .execute(self.store.pool())
        .await?;
        Ok(NewKey { id, key })
    }

    /// All keys, the oldest first.
    ///
    /// # Errors
    /// The store fails.
    pub async fn list(&self) -> Result<Vec<KeyEntry>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, role, merchant_id, label, created_at, revoked_at FROM api_keys \
             ORDER BY created_at, id",
        )
        .fetch_all(self.store.pool())
        .await?;
        let entries = rows.iter().map(|row| {
            Ok(KeyEntry {
                principal: principal(row)?,
                created_at: row.try_get("created_at")?,
                revoked_at: row.try_get("revoked_at")?,
            })
        });
        entries.collect()
    }

    /// Revokes a key; whether there was one to revoke.
    ///
    /// # Errors
    /// The store fails.
    pub async fn revoke(&self, id: &str) -> Result<bool, StoreError> {
        let done =
            sqlx::query("UPDATE api_keys SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL")
                .bind(self.clock.now_ms())
                .bind(id)
                .execute(self.store.pool())
                .await?;
        self.cache().clear();
        Ok(done.rows_affected() == 1)
    }

    /// Whose key this is; nobody's if it is unknown or revoked.
    ///
    /// # Errors
    /// The store fails.
    pub async fn verify(&self, key: &str) -> Result<Option<Principal>, StoreError> {
        let random = key.strip_prefix(PREFIX).unwrap_or_default();
        if random.len() != 2 * KEY_BYTES || !random.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Ok(None);
        }
        // The database compares digests of what the caller sent: how long that takes tells nothing about a key.
        let digest = digest(key);
        if let Some((found, since)) = self.cache().get(&digest)
            && since.elapsed() < CACHE_TIME
        {
            return Ok(Some(found.clone()));
        }
        let row = sqlx::query(
            "SELECT id, role, merchant_id, label FROM api_keys \
             WHERE key_sha256 = $1 AND revoked_at IS NULL",
        )
        .bind(&digest)
        .fetch_optional(self.store.pool())
        .await?;
        let Some(row) = row else {
            self.cache().remove(&digest);
            return Ok(None);
        };
        let found = principal(&row)?;
        let mut cache = self.cache();
        if cache.len() >= CACHE_KEYS_MAX {
            cache.clear();
        }
        cache.insert(digest, (found.clone(), Instant::now()));
        Ok(Some(found))
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, HashMap<String, (Principal, Instant)>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn principal(row: &sqlx::any::AnyRow) -> Result<Principal, StoreError> {
    let role: String = row.try_get("role")?;
    Ok(Principal {
        key_id: row.try_get("id")?,
        role: match role.as_str() {
            "operator" => Role::Operator,
            _ => Role::Merchant,
        },
        merchant_id: row.try_get("merchant_id")?,
        label: row.try_get("label")?,
    })
}

fn digest(key: &str) -> String {
    hex::encode(Sha256::digest(key.as_bytes()))
}
