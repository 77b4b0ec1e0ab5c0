//! A merchant asks for a refund: the rules of `spec/atom.md` 11.2, the reservation, and the answer of 15.4.
//!
//! Rules, reservation, refund and idempotency record are one transaction; the reservation itself is one conditional
//! update of the attempt, so that however many requests come at once they share one balance. Nothing is sent before that
//! transaction is durable.

use serde::Deserialize;
use serde_json::{Value, json};

use super::balance;
use super::lines::{self, Line, LineState};
use super::rows::{self, Origin, RefundRow};
use super::state::RefundState;
use super::submit::{Sending, Submission};
use crate::atom::flow::idempotency::{Begin, REFUND_LIFE_MS, Use};
use crate::atom::flow::operators::{self, Consent, Subject};
use crate::atom::flow::state::OrderCause;
use crate::atom::flow::{
    AttemptRow, Caller, Flow, FlowError, OrderRow, Reply, attempt, take_order,
};
use crate::clock::DAY_MS;
use crate::store::{StoreError, Tx};

/// Characters of the longest reason that is kept.
pub const REASON_CHARS_MAX: usize = 200;
/// The largest amount of a line, in minor units: so that their sum is a number.
pub const LINE_AMOUNT_MAX: i64 = 1_000_000_000_000;
/// Lines of the longest split refund.
pub const LINES_MAX: usize = 20;

/// The body of a refund request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefundAsk {
    /// Minor units; all that is left when absent.
    #[serde(default)]
    pub amount: Option<i64>,
    /// The order's currency, if named.
    #[serde(default)]
    pub currency: Option<String>,
    /// The merchant's words.
    #[serde(default)]
    pub reason: Option<String>,
    /// By product, for split orders only.
    #[serde(default)]
    pub lines: Option<Vec<AskLine>>,
}

/// One product's part of a refund request.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskLine {
    /// The product's name.
    pub product: String,
    /// Minor units.
    pub amount: i64,
}

/// Who asks, and so under which rule.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AskedBy {
    Merchant,
    Operator,
}

/// What a first operator's wish begins with; the amount in minor units follows.
const WISH: &str = "refund ";

/// An order as what operators decide about.
fn about(order: &OrderRow) -> Subject<'_> {
    Subject {
        what: "order",
        id: &order.id,
        order_id: Some(&order.id),
    }
}

/// The amount that a first operator wishes to refund, in minor units, of a stored wish.
#[must_use]
pub fn wished(action: &str) -> Option<i64> {
    action.strip_prefix(WISH)?.parse().ok()
}

impl Flow {
    /// Asks for a refund of an order, once for each idempotency key.
    ///
    /// The answer is 201 with the refund accepted or rejected, 202 with it unknown, or the error of 15.4. With the key of
    /// an earlier request the refund of that request answers, from the state it has by now.
    ///
    /// # Errors
    /// The request breaks a rule, its key is missing or used, nothing could be sent, or the database fails.
    pub async fn refund(
        &self,
        caller: &Caller,
        order_id: &str,
        key: Option<&str>,
        body: &[u8],
    ) -> Result<Reply, FlowError> {
        let route = format!("/v1/orders/{order_id}/refunds");
        let request = Use::new(&caller.merchant_id, route, key, body)?;
        self.ask_for(caller, order_id, &request, body, AskedBy::Merchant)
            .await
    }

    /// An operator asks for a refund of an order of the caller's merchant. Where operators decide by two, the first one's wish is
    /// kept, 202 with `second_operator_needed`, and the refund is made when another one wishes the same amount.
    ///
    /// # Errors
    /// As for [`Flow::refund`], or the same operator wished it before.
    pub async fn refund_by_operator(
        &self,
        caller: &Caller,
        order_id: &str,
        key: Option<&str>,
        body: &[u8],
    ) -> Result<Reply, FlowError> {
        // Not among the keys that the merchant uses.
        let whose = format!("operator/{}", caller.actor);
        let route = format!("/admin/orders/{order_id}/refund");
        let request = Use::new(&whose, route, key, body)?;
        self.ask_for(caller, order_id, &request, body, AskedBy::Operator)
            .await
    }

    async fn ask_for(
        &self,
        caller: &Caller,
        order_id: &str,
        request: &Use<'_>,
        body: &[u8],
        by: AskedBy,
    ) -> Result<Reply, FlowError> {
        let ask = RefundAsk::read(body)?;
        self.points.reach("refund.ask.begin").await;
        let id = match self
            .store_refund(caller, order_id, request, &ask, by)
            .await?
        {
            Stored::Replay(reply) => return Ok(reply),
            Stored::Refund(id) => id,
        };
        self.points.reach("refund.ask.committed").await;
        let submission = self.submit(&id, Sending::First).await?;
        self.refund_answer(&id, request, &submission).await
    }

    /// Whether an operator may have this refund made now; the answer to give if not.
    async fn second_consents(
        &self,
        tx: &mut Tx,
        order: &OrderRow,
        amount: i64,
        caller: &Caller,
    ) -> Result<Option<Value>, FlowError> {
        let subject = about(order);
        let wish = format!("{WISH}{amount}");
        if self.consent(tx, subject, &wish, caller).await? == Consent::Proposed {
            let mut body = operators::proposed_body(&wish, caller);
            body["order_id"] = json!(order.id);
            return Ok(Some(body));
        }
        Ok(None)
    }

    async fn store_refund(
        &self,
        caller: &Caller,
        order_id: &str,
        request: &Use<'_>,
        ask: &RefundAsk,
        by: AskedBy,
    ) -> Result<Stored, FlowError> {
        let now_ms = self.clock.now_ms();
        let mut tx = self.store.begin().await?;
        match request.begin(&mut tx, now_ms, REFUND_LIFE_MS).await? {
            Begin::First => {}
            Begin::Replay(reply) => return Ok(Stored::Replay(reply)),
            Begin::Running {
                resource_id: Some(id),
            } => return Ok(Stored::Refund(id)),
            Begin::Running { resource_id: None } => return Err(FlowError::RequestInProgress),
        }
        let order = take_order(&mut tx, order_id).await?;
        let ours = order.filter(|order| order.merchant_id == caller.merchant_id);
        let order = ours.ok_or_else(|| FlowError::no_order(order_id))?;
        let plan = self.plan(&mut tx, &order, ask, now_ms).await?;
        if by == AskedBy::Operator
            && let Some(body) = self
                .second_consents(&mut tx, &order, plan.amount, caller)
                .await?
        {
            request.finish(&mut tx, 202, &body).await?;
            tx.commit().await?;
            return Ok(Stored::Replay(Reply::new(202, body)));
        }
        let attempt = &plan.attempt;
        let whole = self.captured(attempt);
        if !balance::reserve(
            &mut tx,
            &attempt.id,
            plan.amount,
            whole,
            Origin::Merchant,
            now_ms,
        )
        .await?
        {
            return Err(FlowError::RefundExceedsBalance {
                remaining: whole - attempt.refund_reserved,
            });
        }
        // Whoever asked: what a first operator wished was wished of an order without this refund.
        operators::forget(&mut tx, about(&order)).await?;
        self.points.reach("refund.ask.reserved").await;
        let mut refund = balance::new_refund(attempt, Origin::Merchant, plan.amount, now_ms);
        refund.reason = ask.reason.clone().unwrap_or_default();
        let lines = number_lines(&refund.id, plan.lines);
        let by = (caller.actor.as_str(), caller.request_id.as_str());
        self.store_requested(&mut tx, &order, &refund, &lines, by)
            .await?;
        request.attach(&mut tx, &refund.id).await?;
        self.points.reach("refund.ask.stored").await;
        tx.commit().await?;
        Ok(Stored::Refund(refund.id))
    }

    /// Stores a refund whose amount is reserved, with its lines and the audit's entry `by` (who, why).
    pub(super) async fn store_requested(
        &self,
        tx: &mut Tx,
        order: &OrderRow,
        refund: &RefundRow,
        lines: &[Line],
        by: (&str, &str),
    ) -> Result<(), FlowError> {
        let (who, cause) = by;
        // What can still be given back is part of the order's view, so this is a new version of it.
        self.write_step(
            tx,
            order,
            &mut order.clone(),
            OrderCause::Refund,
            who,
            cause,
        )
        .await?;
        rows::insert(tx, refund).await?;
        lines::insert(tx, &refund.id, lines).await?;
        let after = format!("{} {}", refund.state, refund.amount);
        self.audit_refund(tx, refund, who, "", &after, cause).await
    }

    /// Holds the request against the rules of 11.2. The order is taken.
    async fn plan(
        &self,
        tx: &mut Tx,
        order: &OrderRow,
        ask: &RefundAsk,
        now_ms: i64,
    ) -> Result<Plan, FlowError> {
        if ask
            .currency
            .as_ref()
            .is_some_and(|currency| *currency != order.currency)
        {
            return Err(FlowError::CurrencyMismatch {
                currency: order.currency.clone(),
            });
        }
        let paid = match &order.paid_attempt_id {
            Some(id) if balance::is_refundable(order.status) => attempt(tx, id).await?,
            _ => None,
        };
        let Some(attempt) = paid else {
            let detail = format!("an order that is {} has nothing to refund", order.status);
            return Err(FlowError::invalid_state(&order.id, detail));
        };
        if let Some(obstacle) = balance::obstacle(&attempt) {
            return Err(FlowError::invalid_state(&order.id, obstacle));
        }
        if let (Some(days), Some(paid_at)) = (self.settings.refund_window_days, order.paid_at)
            && now_ms - paid_at > days * DAY_MS
        {
            let detail = format!("the payment is older than {days} days");
            return Err(FlowError::invalid_state(&order.id, detail));
        }
        let whole = self.captured(&attempt);
        let left = whole - attempt.refund_reserved;
        let amount = ask.amount.unwrap_or(left);
        if amount < 1 || amount > left {
            return Err(FlowError::RefundExceedsBalance { remaining: left });
        }
        if !self.settings.allow_partial_refund && amount != whole {
            return Err(FlowError::PartialNotAllowed);
        }
        let lines = self.plan_lines(tx, order, &attempt, ask, amount).await?;
        Ok(Plan {
            attempt,
            amount,
            lines,
        })
    }

    /// The products of an order that is given back whole; none for an order of one product, or for another amount.
    pub(super) fn split_of(
        &self,
        order: &OrderRow,
        amount: i64,
    ) -> Result<Vec<(String, i64)>, FlowError> {
        let items = items_of(order)?;
        let split = items.len() > 1 && items.iter().map(|item| item.amount).sum::<i64>() == amount;
        let lines = items
            .into_iter()
            .filter(|_| split)
            .map(|item| (item.product, item.amount));
        Ok(lines.collect())
    }

    /// The lines of a split order's refund; none for an order of one product.
    async fn plan_lines(
        &self,
        tx: &mut Tx,
        order: &OrderRow,
        attempt: &AttemptRow,
        ask: &RefundAsk,
        amount: i64,
    ) -> Result<Vec<(String, i64)>, FlowError> {
        let items = items_of(order)?;
        if items.len() < 2 {
            return match ask.lines.as_deref() {
                None => Ok(Vec::new()),
                Some([line]) if line.amount == amount && is_the_product(&items, line) => {
                    Ok(Vec::new())
                }
                Some(_) => Err(FlowError::field("lines", "the order is not split")),
            };
        }
        let atom_txn_id = attempt.atom_txn_id.as_deref().unwrap_or_default();
        let mut left = Vec::with_capacity(items.len());
        for item in &items {
            let reserved = lines::reserved_of_product(tx, atom_txn_id, &item.product).await?;
            left.push((item.product.as_str(), item.amount - reserved));
        }
        let wanted: Vec<(&str, i64)> = match &ask.lines {
            Some(lines) => lines
                .iter()
                .map(|l| (l.product.as_str(), l.amount))
                .collect(),
            None if amount == left.iter().map(|(_, amount)| amount).sum::<i64>() => left
                .iter()
                .copied()
                .filter(|(_, amount)| *amount > 0)
                .collect(),
            None => {
                let why = "a part of a split order is refunded by product";
                return Err(FlowError::field("lines", why));
            }
        };
        if wanted.iter().map(|(_, amount)| amount).sum::<i64>() != amount {
            return Err(FlowError::field(
                "lines",
                "they do not add up to the amount",
            ));
        }
        let mut planned = Vec::with_capacity(wanted.len());
        for (product, amount) in wanted {
            match left.iter().find(|(name, _)| *name == product) {
                None => return Err(FlowError::field("lines", "not a product of the order")),
                Some((_, left)) if amount > *left => {
                    return Err(FlowError::RefundExceedsBalance { remaining: *left });
                }
                Some(_) => planned.push((product.to_owned(), amount)),
            }
        }
        Ok(planned)
    }

    /// The answer of 15.4 for a refund as it stands now. Only a definite one is kept for the key; for the others the next
    /// request with the key looks again.
    async fn refund_answer(
        &self,
        id: &str,
        request: &Use<'_>,
        submission: &Submission,
    ) -> Result<Reply, FlowError> {
        let mut tx = self.store.begin().await?;
        let refund = self.known_refund(&mut tx, id).await?;
        let body = self.refund_body(&mut tx, &refund).await?;
        let status = match refund.state {
            RefundState::Requested => {
                let wait = match submission {
                    Submission::NotSent(wait) => wait.as_secs().max(1),
                    Submission::Done | Submission::NotNow => 5,
                };
                return Err(FlowError::RefundQueued {
                    refund_id: id.to_owned(),
                    retry_after_s: wait,
                });
            }
            RefundState::Submitting => return Err(FlowError::RequestInProgress),
            RefundState::Unknown => return Ok(Reply::new(202, body)),
            RefundState::Accepted
            | RefundState::Processed
            | RefundState::Rejected
            | RefundState::Failed => 201,
        };
        match request.finish(&mut tx, status, &body).await {
            // The same request came twice at the same time, and the other one has stored this very answer.
            Err(error) if error.is_conflict() => return Ok(Reply::new(status, body)),
            done => done?,
        }
        self.points.reach("refund.reply.storing").await;
        tx.commit().await?;
        self.points.reach("refund.reply.stored").await;
        Ok(Reply::new(status, body))
    }
}

enum Stored {
    Replay(Reply),
    Refund(String),
}

struct Plan {
    attempt: AttemptRow,
    amount: i64,
    /// Product and amount; empty for an order that is not split.
    lines: Vec<(String, i64)>,
}

impl RefundAsk {
    /// Reads a body.
    fn read(body: &[u8]) -> Result<RefundAsk, FlowError> {
        let ask: RefundAsk = serde_json::from_slice(body)
            .map_err(|error| FlowError::field("body", error.to_string()))?;
        ask.check()?;
        Ok(ask)
    }

    /// What can be said of the request without the order.
    fn check(&self) -> Result<(), FlowError> {
        if self.amount.is_some_and(|amount| amount < 1) {
            return Err(FlowError::field("amount", "at least 1 minor unit"));
        }
        if self
            .reason
            .as_ref()
            .is_some_and(|reason| reason.chars().count() > REASON_CHARS_MAX)
        {
            return Err(FlowError::field("reason", "at most 200 characters"));
        }
        let lines = self.lines.as_deref().unwrap_or_default();
        let repeated =
            |line: &AskLine| lines.iter().filter(|l| l.product == line.product).count() > 1;
        if self.lines.is_some() && (lines.is_empty() || lines.len() > LINES_MAX) {
            return Err(FlowError::field("lines", "1 to 20 lines"));
        }
        if lines
            .iter()
            .any(|line| line.amount < 1 || line.amount > LINE_AMOUNT_MAX)
        {
            return Err(FlowError::field(
                "lines",
                "each amount is at least 1 minor unit",
            ));
        }
        if lines.iter().any(repeated) {
            return Err(FlowError::field("lines", "each product once"));
        }
        Ok(())
    }
}

/// The lines of a split refund; each `prodRefundId` is the refund's id and the line's number.
pub(super) fn number_lines(refund_id: &str, planned: Vec<(String, i64)>) -> Vec<Line> {
    let line = |(n, (product, amount))| Line {
        product,
        prod_refund_id: format!("{refund_id}{n:02}"),
        amount,
        state: LineState::Open,
        refund_txn_id: None,
    };
    (1..).zip(planned).map(line).collect()
}

fn items_of(order: &OrderRow) -> Result<Vec<AskLine>, StoreError> {
    serde_json::from_str(&order.items).map_err(|_| StoreError::broken("orders", &order.id, "items"))
}

fn is_the_product(items: &[AskLine], line: &AskLine) -> bool {
    items
        .first()
        .is_none_or(|item| item.product == line.product)
}
