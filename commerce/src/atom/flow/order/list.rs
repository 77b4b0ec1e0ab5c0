//! The operators' list of orders (`spec/atom.md` 15.6): filters, and pages that stay stable while orders come in.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

use super::super::state::OrderStatus;
use super::super::{Flow, FlowError, Reply};
use crate::clock::rfc3339;
use crate::store::StoreError;

/// Orders on one page at most.
const LIMIT_MAX: i64 = 200;

/// Which orders are listed. Times are unix milliseconds; `from` is included, `to` is not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the query parameters of 15.6")]
pub struct OrderFilter {
    pub status: Option<String>,
    pub refund_state: Option<String>,
    /// A kind of hold, or `any`.
    pub hold: Option<String>,
    pub from: Option<i64>,
    pub to: Option<i64>,
    pub merch_txn_id: Option<String>,
    pub atom_txn_id: Option<String>,
    /// Only this merchant's.
    pub merchant_id: Option<String>,
    pub limit: i64,
    pub cursor: Option<String>,
}

impl Flow {
    /// A page of orders, the newest first: `{items, next_cursor}`.
    ///
    /// # Errors
    /// A filter or the cursor has no meaning, or the database fails.
    pub async fn list_orders(&self, filter: &OrderFilter) -> Result<Reply, FlowError> {
        filter.check()?;
        let (at, after) = cursor_of(filter.cursor.as_deref())?;
        let rows = sqlx::query(
            "SELECT o.id, o.merchant_order_ref, o.status, o.amount, o.currency, o.refund_state, \
             o.refunded_amount, o.customer_email, o.customer_mobile, o.created_at, \
             a.merch_txn_id, a.atom_txn_id FROM orders o LEFT JOIN payment_attempts a ON a.id = \
             COALESCE(o.paid_attempt_id, (SELECT l.id FROM payment_attempts l \
              WHERE l.order_id = o.id ORDER BY l.created_at DESC, l.id DESC LIMIT 1)) \
             WHERE (o.created_at < $1 OR (o.created_at = $1 AND o.id < $2)) \
             AND ($3 IS NULL OR o.status = $3) AND ($4 IS NULL OR o.refund_state = $4) \
             AND ($5 IS NULL OR o.created_at >= $5) AND ($6 IS NULL OR o.created_at < $6) \
             AND ($7 IS NULL OR EXISTS (SELECT 1 FROM payment_attempts h WHERE h.order_id = o.id \
              AND h.hold IS NOT NULL AND ($7 = 'any' OR h.hold = $7))) \
             AND ($8 IS NULL OR EXISTS (SELECT 1 FROM payment_attempts m \
              WHERE m.order_id = o.id AND m.merch_txn_id = $8)) \
             AND ($9 IS NULL OR EXISTS (SELECT 1 FROM payment_attempts t \
              WHERE t.order_id = o.id AND t.atom_txn_id = $9)) \
             AND ($10 IS NULL OR o.merchant_id = $10) \
             ORDER BY o.created_at DESC, o.id DESC LIMIT $11",
        )
        .bind(at)
        .bind(after)
        .bind(&filter.status)
        .bind(&filter.refund_state)
        .bind(filter.from)
        .bind(filter.to)
        .bind(&filter.hold)
        .bind(&filter.merch_txn_id)
        .bind(&filter.atom_txn_id)
        .bind(&filter.merchant_id)
        .bind(filter.limit + 1)
        .fetch_all(self.store.pool())
        .await
        .map_err(StoreError::from)?;
        let shown = usize::try_from(filter.limit)
            .expect("it was checked")
            .min(rows.len());
        let page = &rows[..shown];
        let holds = self.holds_of(page).await?;
        let items = page
            .iter()
            .map(|row| item(row, &holds))
            .collect::<Result<Vec<_>, _>>()?;
        let next = match page.last().filter(|_| rows.len() > shown) {
            Some(row) => Some(cursor(
                row.try_get("created_at").map_err(StoreError::from)?,
                row.try_get("id").map_err(StoreError::from)?,
            )),
            None => None,
        };
        Ok(Reply::new(
            200,
            json!({"items": items, "next_cursor": next}),
        ))
    }

    async fn holds_of(&self, page: &[AnyRow]) -> Result<Vec<(String, String)>, StoreError> {
        if page.is_empty() {
            return Ok(Vec::new());
        }
        let places = (1..=page.len())
            .map(|n| format!("${n}"))
            .collect::<Vec<_>>()
            .join(", ");
        let select = format!(
            "SELECT order_id, hold FROM payment_attempts WHERE hold IS NOT NULL AND order_id IN ({places})"
        );
        let mut query = sqlx::query(AssertSqlSafe(select));
        for row in page {
            query = query.bind(row.try_get::<String, _>("id")?);
        }
        let rows = query.fetch_all(self.store.pool()).await?;
        rows.iter()
            .map(|row| Ok((row.try_get("order_id")?, row.try_get("hold")?)))
            .collect()
    }
}

impl OrderFilter {
    fn check(&self) -> Result<(), FlowError> {
        if !(1..=LIMIT_MAX).contains(&self.limit) {
            return Err(FlowError::field(
                "limit",
                format!("must be 1 to {LIMIT_MAX}"),
            ));
        }
        if self
            .status
            .as_ref()
            .is_some_and(|status| OrderStatus::parse(status).is_none())
        {
            return Err(FlowError::field("status", "is no status of an order"));
        }
        let known = |state: &String| ["none", "partial", "full"].contains(&state.as_str());
        if !self.refund_state.as_ref().is_none_or(known) {
            return Err(FlowError::field(
                "refund_state",
                "must be none, partial or full",
            ));
        }
        let texts = [
            ("hold", &self.hold),
            ("merch_txn_id", &self.merch_txn_id),
            ("atom_txn_id", &self.atom_txn_id),
        ];
        for (field, text) in texts {
            if text
                .as_ref()
                .is_some_and(|text| text.chars().any(char::is_control))
            {
                return Err(FlowError::field(field, "must not have control characters"));
            }
        }
        Ok(())
    }
}

fn item(row: &AnyRow, holds: &[(String, String)]) -> Result<Value, StoreError> {
    let text = |name: &str| row.try_get::<String, _>(name);
    let maybe = |name: &str| row.try_get::<Option<String>, _>(name);
    let id = text("id")?;
    let of_order = holds.iter().filter(|(order_id, _)| *order_id == id);
    Ok(json!({
        "merchant_order_ref": text("merchant_order_ref")?,
        "status": text("status")?,
        "amount": row.try_get::<i64, _>("amount")?,
        "currency": text("currency")?,
        "refund_state": text("refund_state")?,
        "refunded_amount": row.try_get::<i64, _>("refunded_amount")?,
        "merch_txn_id": maybe("merch_txn_id")?,
        "atom_txn_id": maybe("atom_txn_id")?,
        "holds": of_order.map(|(_, hold)| hold).collect::<Vec<_>>(),
        "customer": {
            "email": masked_email(&text("customer_email")?),
            "mobile": masked_mobile(&text("customer_mobile")?),
        },
        "created_at": rfc3339(row.try_get("created_at")?),
        "order_id": id,
    }))
}

/// The first letter and the host.
fn masked_email(email: &str) -> String {
    match (email.chars().next(), email.rsplit_once('@')) {
        (Some(first), Some((_, host))) => format!("{first}***@{host}"),
        _ => String::new(),
    }
}

/// The last three digits.
fn masked_mobile(mobile: &str) -> String {
    let shown = mobile.len().saturating_sub(3);
    mobile
        .char_indices()
        .map(|(at, c)| if at < shown { '*' } else { c })
        .collect()
}

/// A place in a list, as the caller gets it.
pub(in crate::atom::flow) fn cursor(at_ms: i64, id: String) -> String {
    URL_SAFE_NO_PAD.encode(format!("{at_ms}:{id}"))
}

/// The place of a cursor; before everything if there is none.
pub(in crate::atom::flow) fn cursor_of(cursor: Option<&str>) -> Result<(i64, String), FlowError> {
    let Some(cursor) = cursor else {
        return Ok((i64::MAX, String::new()));
    };
    let place = || {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
        let (at, id) = text.split_once(':')?;
        let plain = id.bytes().all(|b| b.is_ascii_graphic());
        Some((at.parse().ok()?, plain.then(|| id.to_owned())?))
    };
    place().ok_or_else(|| FlowError::field("cursor", "must be the next_cursor of an answer"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cursor is read back, and anything else is refused by name.
    #[test]
    fn cursors() {
        let text = cursor(1_736_917_200_000, "ord_1".to_owned());
        assert_eq!(
            cursor_of(Some(&text)).expect("ours"),
            (1_736_917_200_000, "ord_1".to_owned())
        );
        for bad in ["", "x", "b3JkXzAx", "%00"] {
            assert_eq!(
                cursor_of(Some(bad)).expect_err(bad).code(),
                "validation_failed"
            );
        }
    }

    /// Contact data are masked as 15.6 shows.
    #[test]
    fn masks() {
        assert_eq!(masked_email("buyer@example.com"), "b***@example.com");
        assert_eq!(masked_mobile("9000000000"), "*******000");
        assert_eq!(
            (masked_email("").as_str(), masked_mobile("12").as_str()),
            ("", "12")
        );
    }
}
