//! The lines of a refund: one for each product that gives back.
//!
//! Only a split order has rows in `refund_lines`. Any other refund is its own only line, with the refund's id, and that
//! line's state follows the refund's; so what talks to the gateway sees lines in both cases.

use sqlx::Row;

use super::rows::RefundRow;
use super::state::RefundState;
use crate::store::{StoreError, Tx};

/// Where a line stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineState {
    /// Not settled: not sent, or nobody knows.
    Open,
    /// Initiated.
    Accepted,
    /// Paid out.
    Processed,
    /// Refused.
    Rejected,
    /// Initiated and failed later.
    Failed,
}

impl LineState {
    /// All of them.
    pub const ALL: [LineState; 5] = [
        LineState::Open,
        LineState::Accepted,
        LineState::Processed,
        LineState::Rejected,
        LineState::Failed,
    ];

    /// The stored word.
    pub fn as_str(self) -> &'static str {
        match self {
            LineState::Open => "open",
            LineState::Accepted => "accepted",
            LineState::Processed => "processed",
            LineState::Rejected => "rejected",
            LineState::Failed => "failed",
        }
    }

    /// Whether the line's money is given back, or on its way.
    pub fn counts_as_refunded(self) -> bool {
        matches!(self, LineState::Accepted | LineState::Processed)
    }

    fn of_whole(state: RefundState) -> LineState {
        match state {
            RefundState::Requested | RefundState::Submitting | RefundState::Unknown => {
                LineState::Open
            }
            RefundState::Accepted => LineState::Accepted,
            RefundState::Processed => LineState::Processed,
            RefundState::Rejected => LineState::Rejected,
            RefundState::Failed => LineState::Failed,
        }
    }
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The product at the gateway; empty for the configured one.
    pub product: String,
    /// `prodRefundId`.
    pub prod_refund_id: String,
    /// Minor units.
    pub amount: i64,
    /// Where it stands.
    pub state: LineState,
    /// The gateway's number.
    pub refund_txn_id: Option<String>,
}

/// The lines of a refund, in the order they were asked for.
pub async fn load(tx: &mut Tx, refund: &RefundRow) -> Result<Vec<Line>, StoreError> {
    let rows = sqlx::query(
        "SELECT prod_name, prod_refund_id, amount, state, refund_txn_id FROM refund_lines \
         WHERE refund_id = $1 ORDER BY prod_refund_id",
    )
    .bind(&refund.id)
    .fetch_all(tx.conn())
    .await?;
    if rows.is_empty() {
        return Ok(vec![Line {
            product: String::new(),
            prod_refund_id: refund.id.clone(),
            amount: refund.amount,
            state: LineState::of_whole(refund.state),
            refund_txn_id: refund.refund_txn_id.clone(),
        }]);
    }
    let mut lines = Vec::with_capacity(rows.len());
    for row in &rows {
        let word: String = row.try_get("state")?;
        let state = LineState::ALL
            .into_iter()
            .find(|state| state.as_str() == word);
        lines.push(Line {
            product: row.try_get("prod_name")?,
            prod_refund_id: row.try_get("prod_refund_id")?,
            amount: row.try_get("amount")?,
            state: state.ok_or_else(|| StoreError::broken("refund_lines", &refund.id, "state"))?,
            refund_txn_id: row.try_get("refund_txn_id")?,
        });
    }
    Ok(lines)
}

/// Stores the lines of a split order's refund.
pub async fn insert(tx: &mut Tx, refund_id: &str, lines: &[Line]) -> Result<(), StoreError> {
    for line in lines {
        sqlx::query(
            "INSERT INTO refund_lines (refund_id, prod_name, prod_refund_id, amount, state) \
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(refund_id)
        .bind(&line.product)
        .bind(&line.prod_refund_id)
        .bind(line.amount)
        .bind(line.state.as_str())
        .execute(tx.conn())
        .await?;
    }
    Ok(())
}

/// Writes the state of each line that has a row. The caller holds the refund by its own guarded write.
pub async fn save(tx: &mut Tx, refund_id: &str, lines: &[Line]) -> Result<(), StoreError> {
    for line in lines {
        sqlx::query(
            "UPDATE refund_lines SET state = $1, refund_txn_id = $2 \
             WHERE refund_id = $3 AND prod_refund_id = $4",
        )
        .bind(line.state.as_str())
        .bind(&line.refund_txn_id)
        .bind(refund_id)
        .bind(&line.prod_refund_id)
        .execute(tx.conn())
        .await?;
    }
    Ok(())
}

/// What refunds of one capture already take from a product, in minor units.
pub async fn reserved_of_product(
    tx: &mut Tx,
    atom_txn_id: &str,
    product: &str,
) -> Result<i64, StoreError> {
    let row = sqlx::query(
        "SELECT CAST(COALESCE(SUM(l.amount), 0) AS BIGINT) AS reserved \
         FROM refund_lines l JOIN refunds r ON r.id = l.refund_id \
         WHERE r.atom_txn_id = $1 AND l.prod_name = $2 \
         AND l.state NOT IN ('rejected', 'failed')",
    )
    .bind(atom_txn_id)
    .bind(product)
    .fetch_one(tx.conn())
    .await?;
    Ok(row.try_get("reserved")?)
}
