//! Orders and attempts in the database: every statement that reads or writes these rows whole.
//!
//! A row is loaded, changed in memory, and saved by one guarded statement: it is written only if nobody has written it since
//! and only if the tables of states permit the step.

use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

use super::state::{OrderCause, OrderStatus, Outcome, Phase, Source};
use crate::store::{Store, StoreError, Tx, one};

/// One order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns, which the migration describes")]
pub struct OrderRow {
    pub id: String,
    pub merchant_id: String,
    pub merchant_order_ref: String,
    pub user_id: Option<String>,
    pub amount: i64,
    pub currency: String,
    pub customer_email: String,
    pub customer_mobile: String,
    pub items: String,
    pub return_page: Option<String>,
    pub content_sha256: String,
    pub read_token_sha256: String,
    pub status: OrderStatus,
    pub status_reason: Option<String>,
    pub status_before_refund: Option<OrderStatus>,
    pub paid_attempt_id: Option<String>,
    pub payment_method: Option<String>,
    pub paid_at: Option<i64>,
    pub refunded_amount: i64,
    pub refund_state: String,
    pub confirmed_at: Option<i64>,
    pub expires_at: i64,
    pub version: i64,
    pub created_at: i64,
}

/// One attempt to pay.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns, which the migration describes")]
pub struct AttemptRow {
    pub id: String,
    pub order_id: String,
    pub merch_txn_id: String,
    pub merch_txn_date_ist: String,
    pub amount: i64,
    pub currency: String,
    pub asked_channel: Option<String>,
    pub phase: Phase,
    pub outcome: Outcome,
    pub hold: Option<String>,
    pub atom_token_id: Option<String>,
    pub token_at: Option<i64>,
    pub atom_txn_id: Option<String>,
    pub total_amount: Option<i64>,
    pub surcharge: Option<i64>,
    pub sub_channel: Option<String>,
    pub bank_txn_id: Option<String>,
    pub otsbank_name: Option<String>,
    pub status_code: Option<String>,
    pub status_source: Option<Source>,
    pub recon_status: Option<String>,
    pub txn_init_date: Option<String>,
    pub txn_complete_date: Option<String>,
    pub auth_calls: i64,
    pub auth_at: i64,
    pub auth_in_flight: bool,
    pub auth_error: Option<String>,
    pub next_requery_at: Option<i64>,
    pub requery_count: i64,
    pub queried_at: Option<i64>,
    pub lease_owner: Option<String>,
    pub lease_until: Option<i64>,
    pub settled_at: Option<i64>,
    pub confirmed_at: Option<i64>,
    pub final_at: Option<i64>,
    pub cleared_at: Option<i64>,
    pub accepted: Option<String>,
    pub refund_reserved: i64,
    pub refund_done: i64,
    pub version: i64,
    pub created_at: i64,
}

const ORDER_COLUMNS: &str = "id, merchant_id, merchant_order_ref, user_id, amount, currency, \
     customer_email, customer_mobile, items, return_page, content_sha256, read_token_sha256, status, \
     status_reason, status_before_refund, paid_attempt_id, payment_method, paid_at, refunded_amount, \
     refund_state, confirmed_at, expires_at, version, created_at";

const ATTEMPT_COLUMNS: &str = "id, order_id, merch_txn_id, merch_txn_date_ist, amount, currency, \
     asked_channel, phase, outcome, hold, atom_token_id, token_at, atom_txn_id, total_amount, \
     surcharge, sub_channel, bank_txn_id, otsbank_name, status_code, status_source, recon_status, \
     txn_init_date, txn_complete_date, auth_calls, auth_at, auth_in_flight, auth_error, next_requery_at, \
     requery_count, queried_at, lease_owner, lease_until, settled_at, confirmed_at, final_at, \
     cleared_at, accepted, refund_reserved, refund_done, version, created_at";

fn known<T>(
    row: &AnyRow,
    table: &'static str,
    column: &'static str,
    parse: fn(&str) -> Option<T>,
) -> Result<Option<T>, StoreError> {
    let Some(word) = row.try_get::<Option<String>, _>(column)? else {
        return Ok(None);
    };
    match parse(&word) {
        Some(value) => Ok(Some(value)),
        None => Err(StoreError::broken(
            table,
            &row.try_get::<String, _>("id")?,
            column,
        )),
    }
}

fn needed<T>(
    value: Option<T>,
    row: &AnyRow,
    table: &'static str,
    column: &str,
) -> Result<T, StoreError> {
    match value {
        Some(value) => Ok(value),
        None => Err(StoreError::broken(
            table,
            &row.try_get::<String, _>("id")?,
            column,
        )),
    }
}

impl OrderRow {
    pub(super) fn read(row: &AnyRow) -> Result<OrderRow, StoreError> {
        let status = known(row, "orders", "status", OrderStatus::parse)?;
        Ok(OrderRow {
            id: row.try_get("id")?,
            merchant_id: row.try_get("merchant_id")?,
            merchant_order_ref: row.try_get("merchant_order_ref")?,
            user_id: row.try_get("user_id")?,
            amount: row.try_get("amount")?,
            currency: row.try_get("currency")?,
            customer_email: row.try_get("customer_email")?,
            customer_mobile: row.try_get("customer_mobile")?,
            items: row.try_get("items")?,
            return_page: row.try_get("return_page")?,
            content_sha256: row.try_get("content_sha256")?,
            read_token_sha256: row.try_get("read_token_sha256")?,
            status: needed(status, row, "orders", "status")?,
            status_reason: row.try_get("status_reason")?,
            status_before_refund: known(row, "orders", "status_before_refund", OrderStatus::parse)?,
            paid_attempt_id: row.try_get("paid_attempt_id")?,
            payment_method: row.try_get("payment_method")?,
            paid_at: row.try_get("paid_at")?,
            refunded_amount: row.try_get("refunded_amount")?,
            refund_state: row.try_get("refund_state")?,
            confirmed_at: row.try_get("confirmed_at")?,
            expires_at: row.try_get("expires_at")?,
            version: row.try_get("version")?,
            created_at: row.try_get("created_at")?,
        })
    }
}

impl AttemptRow {
    pub(super) fn read(row: &AnyRow) -> Result<AttemptRow, StoreError> {
        let table = "payment_attempts";
        let phase = known(row, table, "phase", Phase::parse)?;
        let outcome = known(row, table, "outcome", Outcome::parse)?;
        Ok(AttemptRow {
            id: row.try_get("id")?,
            order_id: row.try_get("order_id")?,
            merch_txn_id: row.try_get("merch_txn_id")?,
            merch_txn_date_ist: row.try_get("merch_txn_date_ist")?,
            amount: row.try_get("amount")?,
            currency: row.try_get("currency")?,
            asked_channel: row.try_get("asked_channel")?,
            phase: needed(phase, row, table, "phase")?,
            outcome: needed(outcome, row, table, "outcome")?,
            hold: row.try_get("hold")?,
            atom_token_id: row.try_get("atom_token_id")?,
            token_at: row.try_get("token_at")?,
            atom_txn_id: row.try_get("atom_txn_id")?,
            total_amount: row.try_get("total_amount")?,
            surcharge: row.try_get("surcharge")?,
            sub_channel: row.try_get("sub_channel")?,
            bank_txn_id: row.try_get("bank_txn_id")?,
            otsbank_name: row.try_get("otsbank_name")?,
            status_code: row.try_get("status_code")?,
            status_source: known(row, table, "status_source", Source::parse)?,
            recon_status: row.try_get("recon_status")?,
            txn_init_date: row.try_get("txn_init_date")?,
            txn_complete_date: row.try_get("txn_complete_date")?,
            auth_calls: row.try_get("auth_calls")?,
            auth_at: row.try_get("auth_at")?,
            auth_in_flight: row.try_get::<i64, _>("auth_in_flight")? != 0,
            auth_error: row.try_get("auth_error")?,
            next_requery_at: row.try_get("next_requery_at")?,
            requery_count: row.try_get("requery_count")?,
            queried_at: row.try_get("queried_at")?,
            lease_owner: row.try_get("lease_owner")?,
            lease_until: row.try_get("lease_until")?,
            settled_at: row.try_get("settled_at")?,
            confirmed_at: row.try_get("confirmed_at")?,
            final_at: row.try_get("final_at")?,
            cleared_at: row.try_get("cleared_at")?,
            accepted: row.try_get("accepted")?,
            refund_reserved: row.try_get("refund_reserved")?,
            refund_done: row.try_get("refund_done")?,
            version: row.try_get("version")?,
            created_at: row.try_get("created_at")?,
        })
    }

    /// Whether the money was captured and nothing forbids to use it.
    pub fn is_good(&self) -> bool {
        self.outcome == Outcome::Success && self.hold.is_none()
    }

    /// The disagreements that two people took for right.
    pub fn accepted(&self) -> Vec<String> {
        let list = self.accepted.as_deref().unwrap_or("[]");
        serde_json::from_str(list).unwrap_or_default()
    }

    /// What Atom says that it captured, without its surcharge.
    pub fn told_amount(&self) -> i64 {
        self.total_amount
            .map_or(self.amount, |total| total - self.surcharge.unwrap_or(0))
    }

    /// Whether no captured money is left: Atom took it back, or all of it is refunded.
    pub fn is_given_back(&self) -> bool {
        match self.outcome {
            Outcome::Reversed => true,
            Outcome::Success => self.refund_done > 0 && self.refund_done >= self.told_amount(),
            Outcome::None | Outcome::Pending | Outcome::Failed => false,
        }
    }
}

/// Takes the order: until the transaction ends, nobody else changes anything of it.
///
/// # Errors
/// The database fails.
pub async fn take_order(tx: &mut Tx, id: &str) -> Result<Option<OrderRow>, StoreError> {
    let select = format!(
        "SELECT {ORDER_COLUMNS} FROM orders WHERE id = $1{}",
        tx.for_update()
    );
    let row = sqlx::query(AssertSqlSafe(select))
        .bind(id)
        .fetch_optional(tx.conn())
        .await?;
    row.as_ref().map(OrderRow::read).transpose()
}

/// The order as it stands, without taking it.
///
/// # Errors
/// The database fails.
pub async fn find_order(store: &Store, id: &str) -> Result<Option<OrderRow>, StoreError> {
    let select = format!("SELECT {ORDER_COLUMNS} FROM orders WHERE id = $1");
    let row = sqlx::query(AssertSqlSafe(select))
        .bind(id)
        .fetch_optional(store.pool())
        .await?;
    row.as_ref().map(OrderRow::read).transpose()
}

/// The order of a merchant's reference.
pub(super) async fn order_of_ref(
    tx: &mut Tx,
    merchant_id: &str,
    reference: &str,
) -> Result<Option<OrderRow>, StoreError> {
    let select = format!(
        "SELECT {ORDER_COLUMNS} FROM orders WHERE merchant_id = $1 AND merchant_order_ref = $2"
    );
    let found = sqlx::query(AssertSqlSafe(select))
        .bind(merchant_id)
        .bind(reference);
    found
        .fetch_optional(tx.conn())
        .await?
        .as_ref()
        .map(OrderRow::read)
        .transpose()
}

/// The attempt of this id. Its order should have been taken.
///
/// # Errors
/// The database fails.
pub async fn attempt(tx: &mut Tx, id: &str) -> Result<Option<AttemptRow>, StoreError> {
    attempt_on(tx.conn(), id).await
}

/// The attempt as it stands, on any connection.
pub(super) async fn attempt_on(
    conn: &mut sqlx::AnyConnection,
    id: &str,
) -> Result<Option<AttemptRow>, StoreError> {
    let select = format!("SELECT {ATTEMPT_COLUMNS} FROM payment_attempts WHERE id = $1");
    let row = sqlx::query(AssertSqlSafe(select))
        .bind(id)
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(AttemptRow::read).transpose()
}

/// The attempts of an order, the oldest first.
///
/// # Errors
/// The database fails.
pub async fn attempts_of(
    conn: &mut sqlx::AnyConnection,
    order_id: &str,
) -> Result<Vec<AttemptRow>, StoreError> {
    let select = format!(
        "SELECT {ATTEMPT_COLUMNS} FROM payment_attempts WHERE order_id = $1 ORDER BY created_at, id"
    );
    let rows = sqlx::query(AssertSqlSafe(select))
        .bind(order_id)
        .fetch_all(conn)
        .await?;
    rows.iter().map(AttemptRow::read).collect()
}

/// Stores a new order.
pub(super) async fn insert_order(tx: &mut Tx, order: &OrderRow) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "INSERT INTO orders (id, merchant_id, merchant_order_ref, user_id, amount, currency, \
         customer_email, customer_mobile, items, return_page, content_sha256, read_token_sha256, \
         status, expires_at, version, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 1, $15, $15) \
         ON CONFLICT DO NOTHING",
    )
    .bind(&order.id)
    .bind(&order.merchant_id)
    .bind(&order.merchant_order_ref)
    .bind(&order.user_id)
    .bind(order.amount)
    .bind(&order.currency)
    .bind(&order.customer_email)
    .bind(&order.customer_mobile)
    .bind(&order.items)
    .bind(&order.return_page)
    .bind(&order.content_sha256)
    .bind(&order.read_token_sha256)
    .bind(order.status.as_str())
    .bind(order.expires_at)
    .bind(order.created_at)
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Writes what changed of an order's status between `before` and `after`, if `before` is still what is stored. Refunded
/// amounts are not written here.
///
/// # Errors
/// It is not, or the database fails.
///
/// # Panics
/// If the table of states does not have the step: a broken invariant of ours, which must not reach the disk.
pub async fn save_order(
    tx: &mut Tx,
    before: &OrderRow,
    after: &mut OrderRow,
    by: OrderCause,
    now_ms: i64,
) -> Result<(), StoreError> {
    assert!(
        before.status == after.status || before.status.may_become(after.status, by),
        "order {}: {} may not become {} by {by}",
        before.id,
        before.status,
        after.status
    );
    let done = sqlx::query(
        "UPDATE orders SET status = $1, status_reason = $2, status_before_refund = $3, \
         paid_attempt_id = $4, payment_method = $5, paid_at = $6, confirmed_at = $7, updated_at = $8, \
         version = version + 1 WHERE id = $9 AND version = $10 AND status = $11",
    )
    .bind(after.status.as_str())
    .bind(&after.status_reason)
    .bind(after.status_before_refund.map(OrderStatus::as_str))
    .bind(&after.paid_attempt_id)
    .bind(&after.payment_method)
    .bind(after.paid_at)
    .bind(after.confirmed_at)
    .bind(now_ms)
    .bind(&before.id)
    .bind(before.version)
    .bind(before.status.as_str())
    .execute(tx.conn())
    .await?;
    one(&done, "orders", &before.id)?;
    after.version = before.version + 1;
    Ok(())
}

/// Stores a new attempt, whose AUTH call begins when the transaction is committed.
pub(super) async fn insert_attempt(tx: &mut Tx, row: &AttemptRow) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO payment_attempts (id, order_id, merch_txn_id, merch_txn_date_ist, amount, \
         currency, asked_channel, phase, outcome, auth_calls, auth_at, auth_in_flight, next_requery_at, \
         version, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 1, $14, $14)",
    )
    .bind(&row.id)
    .bind(&row.order_id)
    .bind(&row.merch_txn_id)
    .bind(&row.merch_txn_date_ist)
    .bind(row.amount)
    .bind(&row.currency)
    .bind(&row.asked_channel)
    .bind(row.phase.as_str())
    .bind(row.outcome.as_str())
    .bind(row.auth_calls)
    .bind(row.auth_at)
    .bind(i64::from(row.auth_in_flight))
    .bind(row.next_requery_at)
    .bind(row.created_at)
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Writes what changed of an attempt between `before` and `after`, if `before` is still what is stored. Identity, amount,
/// refunded amounts and the lease are not written here.
///
/// # Errors
/// It is not, or the database fails.
///
/// # Panics
/// If the tables of states do not have the step: a broken invariant of ours, which must not reach the disk.
pub async fn save_attempt(
    tx: &mut Tx,
    before: &AttemptRow,
    after: &mut AttemptRow,
    now_ms: i64,
) -> Result<(), StoreError> {
    assert!(
        before.phase.leads_to(after.phase),
        "attempt {}: {} may not become {}",
        before.id,
        before.phase,
        after.phase
    );
    let believed = |source| before.outcome.may_become(after.outcome, source);
    assert!(
        before.outcome == after.outcome || after.status_source.is_some_and(believed),
        "attempt {}: {} may not become {} by {:?}",
        before.id,
        before.outcome,
        after.outcome,
        after.status_source
    );
    let done = sqlx::query(
        "UPDATE payment_attempts SET phase = $1, outcome = $2, hold = $3, atom_token_id = $4, \
         token_at = $5, atom_txn_id = $6, total_amount = $7, surcharge = $8, sub_channel = $9, \
         bank_txn_id = $10, otsbank_name = $11, status_code = $12, status_source = $13, \
         recon_status = $14, txn_init_date = $15, txn_complete_date = $16, auth_calls = $17, \
         auth_in_flight = $18, auth_error = $19, next_requery_at = $20, requery_count = $21, \
         queried_at = $22, settled_at = $23, confirmed_at = $24, final_at = $25, cleared_at = \
         $26, auth_at = $27, accepted = $28, updated_at = $29, version = version + 1 WHERE id = $30 \
         AND version = $31 AND phase = $32 AND outcome = $33",
    )
    .bind(after.phase.as_str())
    .bind(after.outcome.as_str())
    .bind(&after.hold)
    .bind(&after.atom_token_id)
    .bind(after.token_at)
    .bind(&after.atom_txn_id)
    .bind(after.total_amount)
    .bind(after.surcharge)
    .bind(&after.sub_channel)
    .bind(&after.bank_txn_id)
    .bind(&after.otsbank_name)
    .bind(&after.status_code)
    .bind(after.status_source.map(Source::as_str))
    .bind(&after.recon_status)
    .bind(&after.txn_init_date)
    .bind(&after.txn_complete_date)
    .bind(after.auth_calls)
    .bind(i64::from(after.auth_in_flight))
    .bind(&after.auth_error)
    .bind(after.next_requery_at)
    .bind(after.requery_count)
    .bind(after.queried_at)
    .bind(after.settled_at)
    .bind(after.confirmed_at)
    .bind(after.final_at)
    .bind(after.cleared_at)
    .bind(after.auth_at)
    .bind(&after.accepted)
    .bind(now_ms)
    .bind(&before.id)
    .bind(before.version)
    .bind(before.phase.as_str())
    .bind(before.outcome.as_str())
    .execute(tx.conn())
    .await?;
    one(&done, "payment_attempts", &before.id)?;
    after.version = before.version + 1;
    Ok(())
}
