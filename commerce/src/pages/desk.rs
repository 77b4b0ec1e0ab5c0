//! How the pages ask the flow: one function for each thing a page wants, codes of `spec/atom.md` 15 where it is refused.

use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::Row;

use super::Pages;
use super::admin::issues::Issues;
use super::admin::orders::Rows;
use super::form::Fields;
use super::order::Order;
use super::session::{Operator, broken};
use super::shop::checkout::Checkout;
use super::shop::visitor::Visitor;
use crate::atom::flow::issues::IssueFilter;
use crate::atom::flow::{Caller, FlowError, OrderFilter};
use crate::clock::parse_rfc3339;
use crate::http::request_id;
use crate::store::StoreError;

/// Rows on a page of a list.
const PAGE_ROWS: i64 = 50;

/// Why the flow did not do something, for [`super::words`].
pub type Code = &'static str;

/// Characters of a reason that are shown at most.
const REASON_CHARS_MAX: usize = 300;

/// Why the flow did not do what an operator asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// For [`super::words`].
    pub code: Code,
    /// The flow's own words for this very case, as its API gives them; empty where the code says all.
    pub reason: String,
}

impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        Refusal {
            code,
            reason: String::new(),
        }
    }
}

impl From<FlowError> for Refusal {
    fn from(error: FlowError) -> Self {
        let reason = match error.status() {
            500.. => String::new(),
            _ => error.detail().chars().take(REASON_CHARS_MAX).collect(),
        };
        Refusal {
            reason,
            ..refused(error).into()
        }
    }
}

impl Pages {
    /// Makes an order of the shop and returns its id.
    pub async fn create_order(&self, key: &str, order: &Value) -> Result<String, Code> {
        let caller = self.shop_caller();
        let body = order.to_string();
        let reply = self
            .flow
            .create_order(&caller, Some(key), body.as_bytes())
            .await;
        let made = reply.map_err(refused)?.body;
        Ok(made["order_id"].as_str().unwrap_or_default().to_owned())
    }

    /// Starts a payment of an order of the shop, or opens the one that is under way.
    pub async fn start_payment(
        &self,
        order_id: &str,
        key: &str,
        supersede: bool,
    ) -> Result<Checkout, Code> {
        #[derive(Deserialize)]
        struct Started {
            checkout: Option<Checkout>,
        }
        let body = if supersede {
            json!({"supersede": true})
        } else {
            json!({})
        };
        let body = body.to_string();
        let reply = self
            .flow
            .start_payment(&self.shop_caller(), order_id, Some(key), body.as_bytes())
            .await;
        let started = match reply {
            Ok(reply) => reply.body,
            Err(FlowError::AttemptOpen { attempt, .. }) => attempt,
            Err(error) => return Err(refused(error)),
        };
        let started: Started = serde_json::from_value(started).map_err(|error| {
            log::error!("a started payment of {order_id} cannot be shown: {error}");
            "internal_error"
        })?;
        // Another window of the same customer is being given its token just now.
        started.checkout.ok_or("request_in_progress")
    }

    /// The order of this id, if the browser of the request made it.
    pub async fn order_of(
        &self,
        headers: &HeaderMap,
        order_id: &str,
    ) -> Result<Option<Order>, Response> {
        let Some(visitor) = Visitor::known(headers) else {
            return Ok(None);
        };
        let order = self.order(order_id, &self.shop.merchant).await;
        let order = order.map_err(|_| broken())?;
        Ok(order.filter(|order| order.user_id == visitor.user_id()))
    }

    /// An order of any merchant, for an operator.
    ///
    /// # Errors
    /// The code of the flow's refusal.
    pub async fn any_order(&self, order_id: &str) -> Result<Option<Order>, Code> {
        self.order(order_id, "").await
    }

    /// An order with what only its row knows; of this merchant, or of any if none is named.
    async fn order(&self, order_id: &str, merchant_id: &str) -> Result<Option<Order>, Code> {
        let row = sqlx::query(
            "SELECT merchant_id, merchant_order_ref, user_id, status_reason, created_at, expires_at FROM orders WHERE id = $1",
        )
        .bind(order_id)
        .fetch_optional(self.flow.store.pool())
        .await
        .map_err(|error| refused(StoreError::from(error).into()))?;
        let Some(row) = row else { return Ok(None) };
        let view = self
            .flow
            .order_view(None, order_id)
            .await
            .map_err(refused)?;
        let mut order: Order = read(view.body)?;
        order.add(&row).map_err(|error| refused(error.into()))?;
        Ok(Some(order).filter(|order| merchant_id.is_empty() || order.merchant_id == merchant_id))
    }

    fn shop_caller(&self) -> Caller {
        caller(&self.shop.merchant, "shop")
    }

    /// A page of the list of orders, by the filters of its form.
    ///
    /// # Errors
    /// The code of the flow's refusal.
    pub async fn list_orders(&self, query: &Fields) -> Result<Rows, Code> {
        let text = |name: &str| query.filled(name).map(str::to_owned);
        let day = |name: &str| query.filled(name).and_then(day_begin_ms);
        let filter = OrderFilter {
            status: text("status"),
            refund_state: text("refund_state"),
            hold: text("hold"),
            from: day("from"),
            to: day("to"),
            merch_txn_id: text("merch_txn_id"),
            atom_txn_id: text("atom_txn_id"),
            merchant_id: None,
            limit: PAGE_ROWS,
            cursor: text("cursor"),
        };
        read(self.flow.list_orders(&filter).await.map_err(refused)?.body)
    }

    /// A page of issues, open or closed.
    ///
    /// # Errors
    /// The code of the flow's refusal.
    pub async fn issues(&self, closed: bool, cursor: Option<&str>) -> Result<Issues, Code> {
        let filter = IssueFilter {
            open: Some(!closed),
            limit: PAGE_ROWS,
            cursor: cursor.map(str::to_owned),
            ..IssueFilter::default()
        };
        let mut issues: Issues = read(self.flow.issues(&filter).await.map_err(refused)?.body)?;
        if !closed {
            self.add_proposals(&mut issues)
                .await
                .map_err(|error| refused(error.into()))?;
            let undecided = self.flow.undecided_issues().await.map_err(refused)?;
            for issue in &mut issues.items {
                issue.undecided = undecided.contains(&issue.issue_id);
            }
        }
        Ok(issues)
    }

    /// Adds what first operators asked for.
    async fn add_proposals(&self, issues: &mut Issues) -> Result<(), StoreError> {
        let rows = sqlx::query(
            "SELECT id, proposed_action, proposed_by FROM issues \
             WHERE closed_at IS NULL AND proposed_action IS NOT NULL",
        )
        .fetch_all(self.flow.store.pool())
        .await?;
        for row in rows {
            let id: String = row.try_get("id")?;
            if let Some(issue) = issues.items.iter_mut().find(|issue| issue.issue_id == id) {
                issue.proposed_action = row.try_get("proposed_action")?;
                issue.proposed_by = row.try_get("proposed_by")?;
            }
        }
        Ok(())
    }

    /// Does what a button of an order's page says.
    ///
    /// # Errors
    /// The flow's refusal.
    pub async fn act(
        &self,
        operator: &Operator,
        order_id: &str,
        action: &str,
    ) -> Result<(), Refusal> {
        let order = self.any_order(order_id).await?.ok_or("not_found")?;
        let who = caller(&order.merchant_id, &operator.key_id);
        let done = match action {
            "ship" => self.flow.ship(&who, order_id).await,
            "deliver" => self.flow.deliver(&who, order_id).await,
            "cancel" => self.flow.cancel(&who, order_id).await,
            "requery" => self.flow.requery_now(order_id).await,
            _ => return Err("not_found".into()),
        };
        Ok(done.map(drop)?)
    }
}

/// The first millisecond in India of a day as a date field sends it, `2025-01-15`.
fn day_begin_ms(day: &str) -> Option<i64> {
    parse_rfc3339(&format!("{day}T00:00:00+05:30"))
}

/// Who asks, as the flow and its audit name them.
pub(super) fn caller(merchant_id: &str, actor: &str) -> Caller {
    Caller {
        merchant_id: merchant_id.to_owned(),
        actor: actor.to_owned(),
        request_id: request_id::current().unwrap_or_default(),
    }
}

/// The flow's answer as the pages' own type.
pub fn read<T: serde::de::DeserializeOwned>(body: Value) -> Result<T, Code> {
    serde_json::from_value(body).map_err(|error| {
        log::error!("an answer of the flow cannot be shown: {error}");
        "internal_error"
    })
}

/// The code of a refusal; a failure of our own goes to the log.
pub fn refused(error: FlowError) -> Code {
    if error.status() >= 500 {
        log::error!("a page could not be served: {error}");
    }
    error.code()
}

/// The page for a store that fails; the reason goes to the log.
pub fn failed(error: &StoreError) -> Response {
    log::error!("a page could not be served: {error}");
    broken()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_why_and_a_failure_of_ours_does_not() {
        // Shows: an operator reads the flow's own reason, cut to a length; what the database said stays in the log.
        let held = FlowError::invalid_state("ord_1", "the payment is on hold: mark_failed ends it");
        let held = Refusal::from(held);
        assert_eq!(held.code, "invalid_state");
        assert!(held.reason.contains("mark_failed ends it"));
        let long = Refusal::from(FlowError::invalid_state("ord_1", "x".repeat(2_000)));
        assert_eq!(long.reason.len(), REASON_CHARS_MAX);
        let ours = Refusal::from(FlowError::from(StoreError::broken(
            "orders", "ord_1", "gone",
        )));
        assert_eq!((ours.code, ours.reason.as_str()), ("internal_error", ""));
    }
}
