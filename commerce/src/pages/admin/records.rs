//! Attempts and refunds of one order, read from the books for the operator: more than the API tells a merchant.

use sqlx::Row;
use sqlx::any::AnyRow;

use crate::atom::flow::refunds::request::wished;
use crate::store::{Store, StoreError};

/// One payment attempt.
#[derive(Clone, Default, Debug)]
pub struct AttemptRecord {
    /// Our id at Atom.
    pub merch_txn_id: String,
    /// How far processing went.
    pub phase: String,
    /// What Atom decided.
    pub outcome: String,
    /// The kind of the issue that holds it; empty if none does.
    pub hold: String,
    /// Atom's id.
    pub atom_txn_id: String,
    /// Sub-channel.
    pub sub_channel: String,
    /// The bank's name.
    pub bank: String,
    /// Atom's code.
    pub status_code: String,
    /// `callback`, `return` or `status`.
    pub status_source: String,
    /// Settlement as Atom reports it.
    pub recon_status: String,
    /// Minor units on top of the amount.
    pub surcharge: Option<i64>,
    /// When Atom is asked next, in ms.
    pub next_requery_at: Option<i64>,
    /// When it was begun, in ms.
    pub created_at: i64,
}

/// One refund.
#[derive(Clone, Default, Debug)]
pub struct RefundRecord {
    /// Its id.
    pub id: String,
    /// Minor units.
    pub amount: i64,
    /// State of `spec/atom.md` 11.1.
    pub state: String,
    /// The reason that was entered.
    pub reason: String,
    /// `merchant` or `system`.
    pub origin: String,
    /// Atom's id.
    pub refund_txn_id: String,
    /// Atom's code.
    pub gateway_code: String,
    /// Atom's words.
    pub remarks: String,
    /// When it was entered, in ms.
    pub created_at: i64,
    /// When it is looked up next, in ms.
    pub next_check_at: Option<i64>,
}

/// The attempts of an order, oldest first.
///
/// # Errors
/// The store fails.
pub async fn attempts(store: &Store, order_id: &str) -> Result<Vec<AttemptRecord>, StoreError> {
    let rows = sqlx::query(
        "SELECT merch_txn_id, phase, outcome, hold, atom_txn_id, sub_channel, otsbank_name, status_code, \
         status_source, recon_status, surcharge, next_requery_at, created_at \
         FROM payment_attempts WHERE order_id = $1 ORDER BY created_at, id",
    )
    .bind(order_id)
    .fetch_all(store.pool())
    .await?;
    let records = rows.iter().map(|row| {
        Ok(AttemptRecord {
            merch_txn_id: words(row, "merch_txn_id")?,
            phase: words(row, "phase")?,
            outcome: words(row, "outcome")?,
            hold: words(row, "hold")?,
            atom_txn_id: words(row, "atom_txn_id")?,
            sub_channel: words(row, "sub_channel")?,
            bank: words(row, "otsbank_name")?,
            status_code: words(row, "status_code")?,
            status_source: words(row, "status_source")?,
            recon_status: words(row, "recon_status")?,
            surcharge: row.try_get("surcharge")?,
            next_requery_at: row.try_get("next_requery_at")?,
            created_at: row.try_get("created_at")?,
        })
    });
    records.collect()
}

/// The refunds of an order, oldest first.
///
/// # Errors
/// The store fails.
pub async fn refunds(store: &Store, order_id: &str) -> Result<Vec<RefundRecord>, StoreError> {
    let rows = sqlx::query(
        "SELECT id, amount, state, reason, origin, refund_txn_id, gateway_code, remarks, created_at, next_check_at \
         FROM refunds WHERE order_id = $1 ORDER BY created_at, id",
    )
    .bind(order_id)
    .fetch_all(store.pool())
    .await?;
    let records = rows.iter().map(|row| {
        Ok(RefundRecord {
            id: words(row, "id")?,
            amount: row.try_get("amount")?,
            state: words(row, "state")?,
            reason: words(row, "reason")?,
            origin: words(row, "origin")?,
            refund_txn_id: words(row, "refund_txn_id")?,
            gateway_code: words(row, "gateway_code")?,
            remarks: words(row, "remarks")?,
            created_at: row.try_get("created_at")?,
            next_check_at: row.try_get("next_check_at")?,
        })
    });
    records.collect()
}

/// The refund that a first operator asked for and a second one has to ask for as well: minor units, and the first one's key.
pub async fn wished_refund(
    store: &Store,
    order_id: &str,
) -> Result<Option<(i64, String)>, StoreError> {
    let row = sqlx::query("SELECT proposed_action, proposed_by FROM orders WHERE id = $1")
        .bind(order_id)
        .fetch_optional(store.pool())
        .await?;
    let Some(row) = row else { return Ok(None) };
    let amount = wished(&words(&row, "proposed_action")?);
    let by = words(&row, "proposed_by")?;
    Ok(amount.map(|amount| (amount, by)))
}

/// A text column, empty for NULL.
pub(super) fn words(row: &AnyRow, column: &str) -> Result<String, StoreError> {
    Ok(row
        .try_get::<Option<String>, _>(column)?
        .unwrap_or_default())
}
