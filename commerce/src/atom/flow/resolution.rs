//! What an operator decides about an issue (`POST /v1/admin/issues/{id}/resolve`, `spec/atom.md` 15.6).
//!
//! A table says which action suits which kind. What moves money needs two people. The decision and what follows from it in
//! the database are one transaction; a call to Atom is never part of it.

use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::Row;

use super::idempotency::{Begin, REFUND_LIFE_MS, Use};
use super::issues::Kind;
use super::operators::{self, Consent, Subject};
use super::refunds::resolve::check_note;
use super::refunds::system::Surplus;
use super::state::{OrderStatus, Outcome, Phase, Source};
use super::{
    AttemptRow, Caller, Flow, FlowError, OrderRow, Reply, attempt, save_attempt, take_order,
};
use crate::store::{StoreError, Tx, one};

/// What an operator can do with an issue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IssueAction {
    /// Give the captured money back. The issue closes when the refund is accepted.
    RefundSurplus,
    /// The amount that disagrees is right: the hold ends and the order is paid.
    AcceptAmount,
    /// Nobody paid by this attempt.
    MarkFailed,
    /// Nothing more to do.
    Close,
}

use IssueAction::{AcceptAmount, Close, MarkFailed, RefundSurplus};

impl IssueAction {
    /// The word of the API.
    pub fn as_str(self) -> &'static str {
        match self {
            RefundSurplus => "refund_surplus",
            AcceptAmount => "accept_amount",
            MarkFailed => "mark_failed",
            Close => "close",
        }
    }

    /// Whether money goes, or goods may go, because of it.
    pub fn moves_money(self) -> bool {
        self != Close
    }

    /// The kinds it is for; `None` for all.
    pub fn kinds(self) -> Option<&'static [Kind]> {
        match self {
            RefundSurplus => Some(&[
                Kind::DuplicateCapture,
                Kind::LateCapture,
                Kind::AmountMismatch,
                Kind::BankAmount,
                Kind::Contradiction,
                Kind::SettledButFailed,
            ]),
            AcceptAmount => Some(&[Kind::AmountMismatch, Kind::BankAmount, Kind::Contradiction]),
            MarkFailed => Some(&[
                Kind::AmountMismatch,
                Kind::BankAmount,
                Kind::Contradiction,
                Kind::ResultContradicts,
                Kind::UnresolvedAttempt,
            ]),
            Close => None,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IssueDecision {
    action: IssueAction,
    note: String,
}

struct Issue {
    id: String,
    kind: Kind,
    order_id: Option<String>,
    attempt_id: Option<String>,
    detail: String,
}

impl Flow {
    /// Carries out what an operator decides, or stores it as proposed where a second one is needed.
    ///
    /// # Errors
    /// The request breaks a rule, the issue is closed or of another kind, the same operator proposed it, or the database
    /// fails.
    pub async fn resolve_issue(
        &self,
        caller: &Caller,
        id: &str,
        key: Option<&str>,
        body: &[u8],
    ) -> Result<Reply, FlowError> {
        let route = format!("/v1/admin/issues/{id}/resolve");
        let request = Use::new(&caller.merchant_id, route, key, body)?;
        let decision: IssueDecision = serde_json::from_slice(body)
            .map_err(|error| FlowError::field("body", error.to_string()))?;
        check_note(&decision.note)?;
        let now_ms = self.clock.now_ms();
        let mut tx = self.store.begin().await?;
        match request.begin(&mut tx, now_ms, REFUND_LIFE_MS).await? {
            Begin::First => {}
            Begin::Replay(reply) => return Ok(reply),
            // Record and decision are one transaction, so one that runs belongs to a request of this very moment.
            Begin::Running { .. } => return Err(FlowError::RequestInProgress),
        }
        let issue = open_issue(&mut tx, id).await?;
        let suits = decision
            .action
            .kinds()
            .is_none_or(|kinds| kinds.contains(&issue.kind));
        if !suits {
            let word = decision.action.as_str();
            let detail = format!("{word} is not for an issue of kind {}", issue.kind.as_str());
            return Err(FlowError::invalid_state(
                issue.order_id.as_deref().unwrap_or(""),
                detail,
            ));
        }
        let body = self
            .decide_issue(&mut tx, &issue, &decision, caller)
            .await?;
        request.finish(&mut tx, 200, &body).await?;
        self.points.reach("issue.resolve.writing").await;
        tx.commit().await?;
        self.points.reach("issue.resolve.written").await;
        Ok(Reply::new(200, body))
    }

    async fn decide_issue(
        &self,
        tx: &mut Tx,
        issue: &Issue,
        decision: &IssueDecision,
        caller: &Caller,
    ) -> Result<Value, FlowError> {
        let word = decision.action.as_str();
        let subject = Subject {
            what: "issue",
            id: &issue.id,
            order_id: issue.order_id.as_deref(),
        };
        // The order first, as everywhere, so that two operators and a callback come one after the other.
        let order = match &issue.order_id {
            Some(id) => take_order(tx, id).await?,
            None => None,
        };
        if decision.action.moves_money()
            && self.consent(tx, subject, word, caller).await? == Consent::Proposed
        {
            let mut body = operators::proposed_body(word, caller);
            body["issue_id"] = json!(issue.id);
            return Ok(body);
        }
        let mut body = json!({"issue_id": issue.id, "result": "done", "action": word});
        let mut closed = true;
        if decision.action != Close {
            let order = order.ok_or_else(|| unfit(issue, "the issue names no order"))?;
            let paid = attempt_of(tx, issue).await?;
            match decision.action {
                RefundSurplus => {
                    body["refund_id"] = json!(
                        self.refund_surplus(tx, issue, &order, &paid, caller)
                            .await?
                    );
                    closed = false;
                }
                AcceptAmount => self.accept_amount(tx, issue, &order, &paid).await?,
                MarkFailed => self.mark_failed(tx, issue, &paid, caller).await?,
                Close => {}
            }
        }
        if closed {
            close(
                tx,
                &issue.id,
                &format!("{word}: {}", decision.note),
                self.clock.now_ms(),
            )
            .await?;
        }
        operators::forget(tx, subject).await?;
        let after = format!("{word}: {}", decision.note);
        self.audit_decision(tx, subject, caller, issue.kind.as_str(), &after)
            .await?;
        Ok(body)
    }

    async fn refund_surplus(
        &self,
        tx: &mut Tx,
        issue: &Issue,
        order: &OrderRow,
        paid: &AttemptRow,
        caller: &Caller,
    ) -> Result<String, FlowError> {
        if order.paid_attempt_id.as_deref() == Some(&paid.id)
            && Surplus::second_of(&issue.detail, paid).is_none()
        {
            return Err(unfit(
                issue,
                "the order is paid by this capture; refund the order instead",
            ));
        }
        if paid.hold.is_some() && paid.atom_txn_id.is_some() && !paid.outcome.is_captured() {
            self.believe_capture(tx, issue, paid, paid.hold.clone())
                .await?;
        }
        let surplus = Surplus {
            issue_id: issue.id.clone(),
            order_id: order.id.clone(),
            attempt_id: paid.id.clone(),
            second: Surplus::second_of(&issue.detail, paid),
        };
        let by = (caller.actor.as_str(), caller.request_id.as_str());
        let queued = self.queue_surplus(tx, order, &surplus, by).await?;
        let refund = queued.ok_or_else(|| {
            unfit(
                issue,
                "nothing captured is left, or its refund is under way",
            )
        })?;
        self.points.reach("issue.surplus.stored").await;
        Ok(refund.id)
    }

    /// The hold ends and the order is paid, by two people's word instead of agreeing amounts.
    async fn accept_amount(
        &self,
        tx: &mut Tx,
        issue: &Issue,
        order: &OrderRow,
        held: &AttemptRow,
    ) -> Result<(), FlowError> {
        if order.status != OrderStatus::Pending {
            return Err(unfit(
                issue,
                "the order does not wait for a payment; refund the surplus",
            ));
        }
        if held.atom_txn_id.is_none() || held.outcome == Outcome::Reversed {
            return Err(unfit(issue, "no capture of this attempt is known"));
        }
        let after = self.believe_capture(tx, issue, held, None).await?;
        self.pay(tx, order, &after, &issue.id).await?;
        Ok(())
    }

    /// Two people say that money was captured: the attempt is a success, and on `hold` or free of it.
    async fn believe_capture(
        &self,
        tx: &mut Tx,
        issue: &Issue,
        held: &AttemptRow,
        hold: Option<String>,
    ) -> Result<AttemptRow, FlowError> {
        let now_ms = self.clock.now_ms();
        let mut after = held.clone();
        after.hold = hold;
        after.phase = Phase::Completed;
        after.outcome = Outcome::Success;
        after.settled_at = after.settled_at.or(Some(now_ms));
        let source = held.status_source.unwrap_or(Source::Callback);
        if held.outcome != Outcome::Success && !held.outcome.may_become(Outcome::Success, source) {
            return Err(unfit(
                issue,
                "only a status query can turn this attempt into a payment",
            ));
        }
        after.status_source = Some(source);
        save_attempt(tx, held, &mut after, now_ms).await?;
        Ok(after)
    }

    async fn mark_failed(
        &self,
        tx: &mut Tx,
        issue: &Issue,
        held: &AttemptRow,
        caller: &Caller,
    ) -> Result<(), FlowError> {
        if held.outcome.is_captured() {
            return Err(unfit(
                issue,
                "the gateway has captured money; refund it instead",
            ));
        }
        let now_ms = self.clock.now_ms();
        let mut after = held.clone();
        after.hold = None;
        after.next_requery_at = None;
        after.cleared_at = after.cleared_at.or(Some(now_ms));
        if held.outcome != Outcome::Failed {
            after.outcome = Outcome::Failed;
            after.status_source = held.status_source.or(Some(Source::Status));
        }
        save_attempt(tx, held, &mut after, now_ms).await?;
        let subject = Subject {
            what: "attempt",
            id: &held.id,
            order_id: Some(&held.order_id),
        };
        let before = held.outcome.as_str();
        self.audit_decision(tx, subject, caller, before, after.outcome.as_str())
            .await
    }
}

fn unfit(issue: &Issue, why: &str) -> FlowError {
    FlowError::invalid_state(issue.order_id.as_deref().unwrap_or(""), why)
}

async fn attempt_of(tx: &mut Tx, issue: &Issue) -> Result<AttemptRow, FlowError> {
    let found = match &issue.attempt_id {
        Some(id) => attempt(tx, id).await?,
        None => None,
    };
    found.ok_or_else(|| unfit(issue, "the issue names no attempt"))
}

async fn open_issue(tx: &mut Tx, id: &str) -> Result<Issue, FlowError> {
    let row = sqlx::query(
        "SELECT kind, order_id, attempt_id, detail, closed_at FROM issues WHERE id = $1",
    )
    .bind(id)
    .fetch_optional(tx.conn())
    .await
    .map_err(StoreError::from)?;
    let row = row.ok_or_else(|| FlowError::NotFound {
        what: "issue",
        id: id.to_owned(),
    })?;
    let text = |name: &str| {
        row.try_get::<Option<String>, _>(name)
            .map_err(StoreError::from)
    };
    let kind = text("kind")?.and_then(|word| Kind::parse(&word));
    let issue = Issue {
        id: id.to_owned(),
        kind: kind.ok_or_else(|| StoreError::broken("issues", id, "kind"))?,
        order_id: text("order_id")?,
        attempt_id: text("attempt_id")?,
        detail: text("detail")?.unwrap_or_default(),
    };
    if row
        .try_get::<Option<i64>, _>("closed_at")
        .map_err(StoreError::from)?
        .is_some()
    {
        return Err(unfit(&issue, "the issue is closed"));
    }
    Ok(issue)
}

async fn close(tx: &mut Tx, id: &str, resolution: &str, now_ms: i64) -> Result<(), StoreError> {
    let done = sqlx::query(
        "UPDATE issues SET closed_at = $1, resolution = $2 WHERE id = $3 AND closed_at IS NULL",
    )
    .bind(now_ms)
    .bind(resolution)
    .bind(id)
    .execute(tx.conn())
    .await?;
    one(&done, "issues", id)
}
