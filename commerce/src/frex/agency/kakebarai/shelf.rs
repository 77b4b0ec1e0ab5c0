//! Where the adapter keeps the answers that the public interface gives only once.

use async_trait::async_trait;
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::frex::agency::items::{AcceptNo, NpTransactionId};
use crate::frex::key::{RequestKey, RequestType};
use crate::store::{Store, StoreError};

/// The answer to a request that the agency has executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptAnswer {
    /// Our number for it.
    pub accept_no: AcceptNo,
    /// The request.
    pub request_key: RequestKey,
    /// The transaction.
    pub np_transaction_id: NpTransactionId,
    /// The amount that was registered or billed; 0 for a cancel.
    pub billed_amount: i64,
    /// The screening word of a registration.
    pub authori_result: String,
    /// Why screening refused.
    pub authori_ng: Option<String>,
}

impl KeptAnswer {
    /// The answer as it may be stored with a request.
    #[must_use]
    pub fn response(&self) -> String {
        let kept = serde_json::json!({
            "acceptNo": self.accept_no, "npTransactionId": self.np_transaction_id,
            "billedAmount": self.billed_amount, "authoriResult": self.authori_result,
            "authoriNg": self.authori_ng,
        });
        kept.to_string()
    }
}

/// Why the shelf cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    /// The database.
    #[error("the answers kept of the agency cannot be reached: {0}")]
    Store(#[from] StoreError),
    /// A row that nobody of us has written.
    #[error(
        "the answer kept under {accept_no} is damaged in {column}; restore frex_public_answer from a backup"
    )]
    Damaged {
        /// The row.
        accept_no: String,
        /// The column.
        column: &'static str,
    },
}

/// Keeps answers. What was put is there for good and never changes: a second answer under the same number is dropped.
#[async_trait]
pub trait Shelf: Send + Sync {
    /// Keeps an answer, durably, before it returns.
    async fn put(&self, answer: &KeptAnswer) -> Result<(), ShelfError>;

    /// The answer under a number.
    async fn get(&self, accept_no: &AcceptNo) -> Result<Option<KeptAnswer>, ShelfError>;

    /// The answer by which a transaction was registered.
    async fn registration(&self, np: &NpTransactionId) -> Result<Option<KeptAnswer>, ShelfError>;
}

/// The shelf in the store of the orders.
pub struct StoreShelf {
    store: Store,
}

impl StoreShelf {
    /// A shelf in a store.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }
}

#[async_trait]
impl Shelf for StoreShelf {
    async fn put(&self, answer: &KeptAnswer) -> Result<(), ShelfError> {
        let mut tx = self.store.begin().await?;
        sqlx::query(
            "INSERT INTO frex_public_answer (accept_no, request_key, request_type, np_transaction_id, billed_amount, \
             authori_result, authori_ng) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (accept_no) DO NOTHING",
        )
        .bind(answer.accept_no.as_str())
        .bind(answer.request_key.to_string())
        .bind(answer.request_key.kind.as_str())
        .bind(answer.np_transaction_id.as_str())
        .bind(answer.billed_amount)
        .bind(answer.authori_result.as_str())
        .bind(answer.authori_ng.as_deref().unwrap_or_default())
        .execute(tx.conn())
        .await
        .map_err(StoreError::from)?;
        tx.commit().await?;
        Ok(())
    }

    async fn get(&self, accept_no: &AcceptNo) -> Result<Option<KeptAnswer>, ShelfError> {
        let row = sqlx::query("SELECT * FROM frex_public_answer WHERE accept_no = $1")
            .bind(accept_no.as_str())
            .fetch_optional(self.store.pool())
            .await
            .map_err(StoreError::from)?;
        row.as_ref().map(kept).transpose()
    }

    async fn registration(&self, np: &NpTransactionId) -> Result<Option<KeptAnswer>, ShelfError> {
        let row = sqlx::query(
            "SELECT * FROM frex_public_answer WHERE np_transaction_id = $1 AND request_type = $2",
        )
        .bind(np.as_str())
        .bind(RequestType::OrderReg.as_str())
        .fetch_optional(self.store.pool())
        .await
        .map_err(StoreError::from)?;
        row.as_ref().map(kept).transpose()
    }
}

fn kept(row: &AnyRow) -> Result<KeptAnswer, ShelfError> {
    let text = |column: &str| row.try_get::<String, _>(column).map_err(StoreError::from);
    let number = text("accept_no")?;
    let damaged = |column| ShelfError::Damaged {
        accept_no: number.clone(),
        column,
    };
    let key = text("request_key")?.parse();
    let np = NpTransactionId::parse(&text("np_transaction_id")?);
    let ng = text("authori_ng")?;
    Ok(KeptAnswer {
        accept_no: AcceptNo::parse(&number).ok_or_else(|| damaged("accept_no"))?,
        request_key: key.map_err(|_| damaged("request_key"))?,
        np_transaction_id: np.ok_or_else(|| damaged("np_transaction_id"))?,
        billed_amount: row.try_get("billed_amount").map_err(StoreError::from)?,
        authori_result: text("authori_result")?,
        authori_ng: (!ng.is_empty()).then_some(ng),
    })
}
