//! Refunds in the database: every statement that reads or writes `refunds`.
//!
//! A row is loaded, changed in memory and saved by one guarded statement: it is written only if nobody has written it
//! since, and only if the table of states permits the step. Amounts are minor units, times are unix milliseconds.

use sqlx::Row;
use sqlx::any::AnyRow;

use super::state::{Cause, RefundState};
use crate::store::{StoreError, Tx};

/// Who asked for a refund.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The merchant, for an order.
    Merchant,
    /// Ourselves, for a capture that no order covers.
    System,
}

impl Origin {
    /// The stored word.
    pub fn as_str(self) -> &'static str {
        match self {
            Origin::Merchant => "merchant",
            Origin::System => "system",
        }
    }
}

/// Why a refund makes no call without an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// The gateway did not understand or accept our request as such; the configuration is to be mended first.
    Configuration,
    /// The gateway does not list it, so it may be sent again, but only a person may say so.
    NotListed,
    /// It was sent a second time and that outcome is unknown too, or nothing was learned up to the last look-up.
    Undecided,
    /// The gateway lists it in a way that contradicts what was sent.
    Contradiction,
}

impl Held {
    const ALL: [Held; 4] = [
        Held::Configuration,
        Held::NotListed,
        Held::Undecided,
        Held::Contradiction,
    ];

    /// The stored word.
    pub fn as_str(self) -> &'static str {
        match self {
            Held::Configuration => "configuration",
            Held::NotListed => "not_listed",
            Held::Undecided => "undecided",
            Held::Contradiction => "contradiction",
        }
    }
}

/// One refund.
#[derive(Clone, Debug, PartialEq)]
pub struct RefundRow {
    /// Our number; the only line of an order that is not split carries it as `prodRefundId`.
    pub id: String,
    /// The order.
    pub order_id: String,
    /// The attempt whose money it is.
    pub attempt_id: String,
    /// The capture it gives back.
    pub atom_txn_id: String,
    /// Whether that capture is not the attempt's own.
    pub surplus: bool,
    /// Minor units: what was asked, and after a mixed answer what was accepted.
    pub amount: i64,
    /// ISO code.
    pub currency: String,
    /// The merchant's words.
    pub reason: String,
    /// Who asked.
    pub origin: Origin,
    /// The issue it settles.
    pub issue_id: Option<String>,
    /// Where it stands.
    pub state: RefundState,
    /// The gateway's number.
    pub refund_txn_id: Option<String>,
    /// The code of the last answer.
    pub gateway_code: Option<String>,
    /// The last remarks of a refund status.
    pub remarks: Option<String>,
    /// Calls marked so far; it numbers the call whose answer may be written.
    pub attempts: i64,
    /// Calls made again after an unknown outcome.
    pub resends: i64,
    /// Tries in a row that never left us.
    pub unsent: i64,
    /// Definite answers since the last call that did not list it.
    pub misses: i64,
    /// Why it waits for an operator.
    pub held: Option<Held>,
    /// When the follow-up job takes it next.
    pub next_check_at: Option<i64>,
    /// When the last call was marked.
    pub submitted_at: Option<i64>,
    /// The characters of the total of the last call.
    pub amount_text: Option<String>,
    /// Digest of the last call.
    pub request_digest: Option<String>,
    /// Who is busy with it.
    pub lease_owner: Option<String>,
    /// Until when.
    pub lease_until: Option<i64>,
    /// Number of writes.
    pub version: i64,
    /// When it was asked for.
    pub created_at: i64,
}

/// The columns of [`RefundRow`], for a `SELECT`.
macro_rules! columns {
    () => {
        "id, order_id, attempt_id, atom_txn_id, surplus, amount, currency, reason, origin, \
         issue_id, state, refund_txn_id, gateway_code, remarks, attempts, resends, unsent, \
         misses, held, next_check_at, submitted_at, amount_text, request_digest, lease_owner, \
         lease_until, version, created_at"
    };
}

impl RefundRow {
    /// What it takes from the refundable balance.
    pub fn reserved(&self) -> i64 {
        if self.state.holds_reservation() {
            self.amount
        } else {
            0
        }
    }

    /// What it adds to the refunded amount.
    pub fn done(&self) -> i64 {
        if self.state.counts_as_refunded() {
            self.amount
        } else {
            0
        }
    }

    /// Whether somebody is busy with it at `now_ms`.
    pub fn is_leased(&self, now_ms: i64) -> bool {
        self.lease_until.is_some_and(|until| until > now_ms)
    }

    /// Takes the lease in memory; [`save`] makes it count.
    pub fn lease(&mut self, me: &str, until_ms: i64) {
        self.lease_owner = Some(me.to_owned());
        self.lease_until = Some(until_ms);
    }

    /// Gives the lease back in memory; [`save`] makes it count.
    pub fn release(&mut self) {
        self.lease_owner = None;
        self.lease_until = None;
    }

    fn read(row: &AnyRow) -> Result<RefundRow, StoreError> {
        let id: String = row.try_get("id")?;
        let broken = |what: &str| StoreError::broken("refunds", &id, what);
        let state: String = row.try_get("state")?;
        let held: Option<String> = row.try_get("held")?;
        let origin: String = row.try_get("origin")?;
        Ok(RefundRow {
            state: RefundState::parse(&state).ok_or_else(|| broken("state"))?,
            held: match held {
                None => None,
                Some(word) => {
                    let known = Held::ALL.into_iter().find(|held| held.as_str() == word);
                    Some(known.ok_or_else(|| broken("held"))?)
                }
            },
            origin: match origin.as_str() {
                "merchant" => Origin::Merchant,
                "system" => Origin::System,
                _ => return Err(broken("origin")),
            },
            order_id: row.try_get("order_id")?,
            attempt_id: row.try_get("attempt_id")?,
            atom_txn_id: row.try_get("atom_txn_id")?,
            surplus: row.try_get::<i64, _>("surplus")? != 0,
            amount: row.try_get("amount")?,
            currency: row.try_get("currency")?,
            reason: row.try_get("reason")?,
            issue_id: row.try_get("issue_id")?,
            refund_txn_id: row.try_get("refund_txn_id")?,
            gateway_code: row.try_get("gateway_code")?,
            remarks: row.try_get("remarks")?,
            attempts: row.try_get("attempts")?,
            resends: row.try_get("resends")?,
            unsent: row.try_get("unsent")?,
            misses: row.try_get("misses")?,
            next_check_at: row.try_get("next_check_at")?,
            submitted_at: row.try_get("submitted_at")?,
            amount_text: row.try_get("amount_text")?,
            request_digest: row.try_get("request_digest")?,
            lease_owner: row.try_get("lease_owner")?,
            lease_until: row.try_get("lease_until")?,
            version: row.try_get("version")?,
            created_at: row.try_get("created_at")?,
            id,
        })
    }
}

/// The refund of this id.
pub async fn load(tx: &mut Tx, id: &str) -> Result<Option<RefundRow>, StoreError> {
    let row = sqlx::query(concat!(
        "SELECT ",
        columns!(),
        " FROM refunds WHERE id = $1"
    ))
    .bind(id)
    .fetch_optional(tx.conn())
    .await?;
    row.as_ref().map(RefundRow::read).transpose()
}

/// The refunds of an order, the oldest first.
pub async fn of_order(tx: &mut Tx, order_id: &str) -> Result<Vec<RefundRow>, StoreError> {
    let rows = sqlx::query(concat!(
        "SELECT ",
        columns!(),
        " FROM refunds WHERE order_id = $1 ORDER BY created_at, id"
    ))
    .bind(order_id)
    .fetch_all(tx.conn())
    .await?;
    rows.iter().map(RefundRow::read).collect()
}

/// The first refund that an issue asked for.
pub async fn of_issue(tx: &mut Tx, issue_id: &str) -> Result<Option<RefundRow>, StoreError> {
    let row = sqlx::query(concat!(
        "SELECT ",
        columns!(),
        " FROM refunds WHERE issue_id = $1 ORDER BY created_at, id LIMIT 1"
    ))
    .bind(issue_id)
    .fetch_optional(tx.conn())
    .await?;
    row.as_ref().map(RefundRow::read).transpose()
}

/// The refunds of a further capture of an attempt that are neither rejected nor failed.
pub async fn of_surplus(
    tx: &mut Tx,
    attempt_id: &str,
    atom_txn_id: &str,
) -> Result<Vec<RefundRow>, StoreError> {
    let rows = sqlx::query(concat!(
        "SELECT ",
        columns!(),
        " FROM refunds WHERE attempt_id = $1 AND atom_txn_id = $2 AND surplus = 1 \
         AND state NOT IN ('rejected', 'failed') ORDER BY created_at, id"
    ))
    .bind(attempt_id)
    .bind(atom_txn_id)
    .fetch_all(tx.conn())
    .await?;
    rows.iter().map(RefundRow::read).collect()
}

/// The refunds whose check is due and that nobody is busy with, the longest due first.
pub async fn due(tx: &mut Tx, now_ms: i64, limit: i64) -> Result<Vec<RefundRow>, StoreError> {
    let rows = sqlx::query(concat!(
        "SELECT ",
        columns!(),
        " FROM refunds WHERE next_check_at <= $1 AND (lease_until IS NULL OR lease_until <= $1) \
         ORDER BY next_check_at, id LIMIT $2"
    ))
    .bind(now_ms)
    .bind(limit)
    .fetch_all(tx.conn())
    .await?;
    rows.iter().map(RefundRow::read).collect()
}

/// The ids of all refunds in a state.
pub async fn ids_in(tx: &mut Tx, state: RefundState) -> Result<Vec<String>, StoreError> {
    let rows = sqlx::query("SELECT id FROM refunds WHERE state = $1 ORDER BY id")
        .bind(state.as_str())
        .fetch_all(tx.conn())
        .await?;
    rows.iter().map(|row| Ok(row.try_get("id")?)).collect()
}

/// Stores a new refund.
pub async fn insert(tx: &mut Tx, row: &RefundRow) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO refunds (id, order_id, attempt_id, atom_txn_id, surplus, amount, currency, \
         reason, origin, issue_id, state, attempts, next_check_at, version, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0, $12, 1, $13, $13)",
    )
    .bind(&row.id)
    .bind(&row.order_id)
    .bind(&row.attempt_id)
    .bind(&row.atom_txn_id)
    .bind(i64::from(row.surplus))
    .bind(row.amount)
    .bind(&row.currency)
    .bind(&row.reason)
    .bind(row.origin.as_str())
    .bind(&row.issue_id)
    .bind(row.state.as_str())
    .bind(row.next_check_at)
    .bind(row.created_at)
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Writes what changed in memory between `before` and `after`, if `before` is still what is stored.
///
/// # Panics
///
/// If the table of states does not have the step: a broken invariant of ours, which must not reach the disk.
pub async fn save(
    tx: &mut Tx,
    before: &RefundRow,
    after: &RefundRow,
    cause: Cause,
    now_ms: i64,
) -> Result<(), StoreError> {
    assert!(
        before.state == after.state || before.state.may_become(after.state, cause),
        "refund {}: {} may not become {} by {cause:?}",
        before.id,
        before.state,
        after.state
    );
    let done = sqlx::query(
        "UPDATE refunds SET amount = $1, state = $2, refund_txn_id = $3, gateway_code = $4, \
         remarks = $5, attempts = $6, resends = $7, unsent = $8, misses = $9, held = $10, \
         next_check_at = $11, submitted_at = $12, amount_text = $13, request_digest = $14, \
         lease_owner = $15, lease_until = $16, updated_at = $17, version = version + 1 \
         WHERE id = $18 AND version = $19 AND state = $20",
    )
    .bind(after.amount)
    .bind(after.state.as_str())
    .bind(&after.refund_txn_id)
    .bind(&after.gateway_code)
    .bind(&after.remarks)
    .bind(after.attempts)
    .bind(after.resends)
    .bind(after.unsent)
    .bind(after.misses)
    .bind(after.held.map(Held::as_str))
    .bind(after.next_check_at)
    .bind(after.submitted_at)
    .bind(&after.amount_text)
    .bind(&after.request_digest)
    .bind(&after.lease_owner)
    .bind(after.lease_until)
    .bind(now_ms)
    .bind(&before.id)
    .bind(before.version)
    .bind(before.state.as_str())
    .execute(tx.conn())
    .await?;
    match done.rows_affected() {
        1 => Ok(()),
        _ => Err(StoreError::conflict("refunds", &before.id)),
    }
}
