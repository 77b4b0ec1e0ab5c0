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
use super::requery::next_query_ms;
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
    /// What is doubted is right: the hold ends, the order is paid, and the payment is as good as confirmed. An attempt of which
    /// nobody could tell is captured under the number that Atom gives for it.
    AcceptAmount,
    /// Nobody paid by this attempt.
    MarkFailed,
    /// Give up a stored message that cannot be applied.
    Discard,
    /// Nothing more to do.
    Close,
}

use IssueAction::{AcceptAmount, Close, Discard, MarkFailed, RefundSurplus};

impl IssueAction {
    /// The word of the API.
    pub fn as_str(self) -> &'static str {
        match self {
            RefundSurplus => "refund_surplus",
            AcceptAmount => "accept_amount",
            MarkFailed => "mark_failed",
            Discard => "discard",
            Close => "close",
        }
    }

    /// Whether money goes, or goods may go, because of it, or the news of a payment is given up.
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
            AcceptAmount => Some(&[
                Kind::AmountMismatch,
                Kind::BankAmount,
                Kind::Contradiction,
                Kind::ResultContradicts,
                Kind::SettledButFailed,
                Kind::UnconfirmedSuccess,
                Kind::UnresolvedAttempt,
            ]),
            MarkFailed => Some(&[
                Kind::AmountMismatch,
                Kind::BankAmount,
                Kind::Contradiction,
                Kind::ResultContradicts,
                Kind::UnresolvedAttempt,
            ]),
            Discard => Some(&[Kind::InboxStuck]),
            Close => None,
        }
    }

    /// Whether it is for issues of this kind.
    pub fn suits(self, kind: Kind) -> bool {
        self.kinds().is_none_or(|kinds| kinds.contains(&kind))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IssueDecision {
    action: IssueAction,
    note: String,
    /// Atom's number of the payment, where an attempt is accepted of which no capture is known.
    atom_txn_id: Option<String>,
}

impl IssueDecision {
    fn check(&self) -> Result<(), FlowError> {
        check_note(&self.note)?;
        match &self.atom_txn_id {
            Some(number) if !is_atom_txn_id(number) => Err(FlowError::field(
                "atom_txn_id",
                "a number of 1 to 14 digits",
            )),
            Some(_) if self.action != AcceptAmount => Err(FlowError::field(
                "atom_txn_id",
                "goes with accept_amount only",
            )),
            _ => Ok(()),
        }
    }

    /// What a second operator has to ask for as well: the same action, under the same number.
    fn asked(&self) -> String {
        let word = self.action.as_str();
        match &self.atom_txn_id {
            Some(number) => format!("{word} {number}"),
            None => word.to_owned(),
        }
    }
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
        decision.check()?;
        let now_ms = self.clock.now_ms();
        let mut tx = self.store.begin().await?;
        match request.begin(&mut tx, now_ms, REFUND_LIFE_MS).await? {
            Begin::First => {}
            Begin::Replay(reply) => return Ok(reply),
            // Record and decision are one transaction, so one that runs belongs to a request of this very moment.
            Begin::Running { .. } => return Err(FlowError::RequestInProgress),
        }
        let issue = open_issue(&mut tx, id).await?;
        if !decision.action.suits(issue.kind) {
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

    /// Ids of open issues that are not closed without a decision, because something hangs on them.
    ///
    /// # Errors
    /// The database fails.
    pub async fn undecided_issues(&self) -> Result<Vec<String>, FlowError> {
        let rows = sqlx::query(
            "SELECT i.id FROM issues i JOIN payment_attempts a ON a.id = i.attempt_id \
             WHERE i.closed_at IS NULL AND (a.hold = i.kind OR (i.kind = 'unresolved_attempt' \
             AND a.outcome IN ('none', 'pending') AND a.cleared_at IS NULL AND a.phase <> 'auth_failed')) \
             UNION ALL SELECT i.id FROM callback_inbox c JOIN issues i ON i.kind = 'inbox_stuck' \
             AND i.subject = '-|-|-|' || c.id AND i.closed_at IS NULL WHERE c.applied_at IS NULL",
        )
        .fetch_all(self.store.pool())
        .await
        .map_err(StoreError::from)?;
        let ids = rows.iter().map(|row| row.try_get("id"));
        Ok(ids.collect::<Result<_, _>>().map_err(StoreError::from)?)
    }

    async fn decide_issue(
        &self,
        tx: &mut Tx,
        issue: &Issue,
        decision: &IssueDecision,
        caller: &Caller,
    ) -> Result<Value, FlowError> {
        let word = decision.asked();
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
            && self.consent(tx, subject, &word, caller).await? == Consent::Proposed
        {
            let mut body = operators::proposed_body(decision.action.as_str(), caller);
            body["issue_id"] = json!(issue.id);
            return Ok(body);
        }
        let mut body =
            json!({"issue_id": issue.id, "result": "done", "action": decision.action.as_str()});
        let mut closed = true;
        if decision.action == Close {
            must_not_be_open(tx, issue).await?;
            if issue.kind == Kind::InboxStuck && self.is_stuck(tx, &stuck_message(issue)?).await? {
                return Err(unfit(
                    issue,
                    "the message is not applied: put the keys of its time back, or discard it",
                ));
            }
        } else if decision.action == Discard {
            let inbox_id = stuck_message(issue)?;
            if !self.is_stuck(tx, &inbox_id).await? {
                return Err(unfit(
                    issue,
                    "the message was applied meanwhile; close the issue",
                ));
            }
            self.discard_message(tx, &inbox_id).await?;
        } else {
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
                AcceptAmount => {
                    let number = decision.atom_txn_id.as_deref();
                    self.accept(tx, issue, &order, &paid, (number, caller))
                        .await?;
                }
                MarkFailed => {
                    self.mark_failed(tx, issue, &order, &paid, caller).await?;
                }
                Discard | Close => {}
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
        // The issue is about the attempt's own capture, which nobody has believed yet, or about one that it has or has besides.
        let unbelieved = Kind::HOLDING.contains(&issue.kind) && !paid.outcome.is_captured();
        let second = match unbelieved {
            true => None,
            false => self.second_of(&issue.detail, paid),
        };
        if order.paid_attempt_id.as_deref() == Some(&paid.id) && second.is_none() {
            return Err(unfit(
                issue,
                "the order is paid by this capture; refund the order instead",
            ));
        }
        if unbelieved {
            let hold = Some(issue.kind.as_str().to_owned());
            let evidence = Evidence::read(issue)?;
            self.believe_capture(tx, issue, paid, evidence, hold)
                .await?;
        }
        let surplus = Surplus {
            issue_id: issue.id.clone(),
            order_id: order.id.clone(),
            attempt_id: paid.id.clone(),
            second,
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

    /// Two people say that the payment is right, instead of an agreeing query: the hold ends, and an order that waits is paid
    /// by it. What nobody could tell of is captured under the `number` that Atom gave; an order that does not wait for it has
    /// a surplus then, like with any other payment.
    async fn accept(
        &self,
        tx: &mut Tx,
        issue: &Issue,
        order: &OrderRow,
        doubted: &AttemptRow,
        (number, caller): (Option<&str>, &Caller),
    ) -> Result<(), FlowError> {
        if doubted.outcome == Outcome::Reversed {
            return Err(unfit(issue, "the gateway has taken this payment back"));
        }
        let unresolved = issue.kind == Kind::UnresolvedAttempt;
        let mut evidence = Evidence::read(issue)?;
        if unresolved && doubted.hold.is_some() {
            return Err(unfit(
                issue,
                "the payment is on hold by another issue; decide that one",
            ));
        }
        if unresolved {
            evidence.atom_txn_id = number.map(str::to_owned);
        } else if number.is_some() {
            return Err(unfit(
                issue,
                "the issue itself tells which capture it is about",
            ));
        }
        let after = self
            .believe_capture(tx, issue, doubted, evidence, None)
            .await?;
        let order = if doubted.is_good() {
            order.clone()
        } else {
            if order.status != OrderStatus::Pending && !unresolved {
                return Err(unfit(
                    issue,
                    "the order does not wait for a payment; refund the surplus",
                ));
            }
            if doubted.refund_reserved > 0 {
                return Err(unfit(issue, "its money goes back to the customer"));
            }
            self.pay(tx, order, &after, &issue.id).await?
        };
        let by = (caller.actor.as_str(), issue.id.as_str());
        self.confirm_order(tx, &order, &after.id, by).await
    }

    /// Two people say that money was captured: the attempt is a confirmed success, and on `hold` or free of it. What the
    /// issue names as disagreeing is no disagreement any more.
    async fn believe_capture(
        &self,
        tx: &mut Tx,
        issue: &Issue,
        doubted: &AttemptRow,
        evidence: Evidence,
        hold: Option<String>,
    ) -> Result<AttemptRow, FlowError> {
        let now_ms = self.clock.now_ms();
        let mut after = doubted.clone();
        let mut source = doubted.status_source.unwrap_or(Source::Callback);
        if matches!(issue.kind, Kind::SettledButFailed | Kind::UnresolvedAttempt) {
            // It is a status query that told of this money, or Atom's own word in its place.
            source = Source::Status;
        }
        if !doubted.outcome.is_captured() {
            // What this issue tells is what was decided about, whatever a later message said.
            after.atom_txn_id = evidence.atom_txn_id.or(after.atom_txn_id);
            after.total_amount = evidence.total.or(after.total_amount);
            after.surcharge = evidence.surcharge.or(after.surcharge);
        }
        if after.atom_txn_id.is_none() {
            return Err(unfit(
                issue,
                "no capture of this attempt is known: give Atom's number of the payment as atom_txn_id",
            ));
        }
        if doubted.outcome != Outcome::Success {
            if !doubted.outcome.may_become(Outcome::Success, source) {
                return Err(unfit(
                    issue,
                    "only a status query can turn this attempt into a payment",
                ));
            }
            after.status_source = Some(source);
            after.outcome = Outcome::Success;
            after.settled_at = Some(now_ms);
            after.cleared_at = None;
            after.final_at = None;
        }
        after.phase = Phase::Completed;
        after.hold = hold;
        after.confirmed_at = after.confirmed_at.or(Some(now_ms));
        if !evidence.disagrees.is_empty() {
            let accepted = [doubted.accepted(), evidence.disagrees].concat();
            after.accepted = Some(json!(accepted).to_string());
        }
        after.next_requery_at = next_query_ms(&after, &self.settings, now_ms);
        match save_attempt(tx, doubted, &mut after, now_ms).await {
            Err(error) if error.is_duplicate() => {
                Err(unfit(issue, "another attempt has this capture"))
            }
            saved => Ok(saved.map(|()| after)?),
        }
    }

    /// Two people say that nobody paid. The rank of an outcome never falls, so a success that a query denies ends as one that
    /// was taken back.
    async fn mark_failed(
        &self,
        tx: &mut Tx,
        issue: &Issue,
        order: &OrderRow,
        held: &AttemptRow,
        caller: &Caller,
    ) -> Result<(), FlowError> {
        let now_ms = self.clock.now_ms();
        let denied = issue.kind == Kind::ResultContradicts && held.outcome == Outcome::Success;
        if held.outcome.is_captured() && !denied {
            return Err(unfit(
                issue,
                "the gateway has captured money; refund it instead",
            ));
        }
        let mut after = held.clone();
        after.hold = None;
        after.next_requery_at = None;
        if denied {
            after.outcome = Outcome::Reversed;
            after.status_source = Some(Source::Status);
            after.final_at = after.final_at.or(Some(now_ms));
        } else {
            after.cleared_at = after.cleared_at.or(Some(now_ms));
            if held.outcome != Outcome::Failed {
                after.outcome = Outcome::Failed;
                after.status_source = held.status_source.or(Some(Source::Status));
            }
        }
        save_attempt(tx, held, &mut after, now_ms).await?;
        if denied {
            let by = (caller.actor.as_str(), issue.id.as_str());
            self.follow_reversal(tx, order, held, by).await?;
        }
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

/// What an issue about a message keeps of it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Evidence {
    atom_txn_id: Option<String>,
    total: Option<i64>,
    surcharge: Option<i64>,
    disagrees: Vec<String>,
}

impl Evidence {
    fn read(issue: &Issue) -> Result<Evidence, StoreError> {
        serde_json::from_str(&issue.detail)
            .map_err(|_| StoreError::broken("issues", &issue.id, "detail"))
    }
}

/// The message that an issue about the inbox names.
fn stuck_message(issue: &Issue) -> Result<String, StoreError> {
    let detail: Option<Value> = serde_json::from_str(&issue.detail).ok();
    let id = detail.and_then(|detail| Some(detail.get("inbox_id")?.as_str()?.to_owned()));
    id.ok_or_else(|| StoreError::broken("issues", &issue.id, "detail"))
}

/// An issue that holds its attempt, or of whose attempt nobody knows the end, is not closed without a decision: nothing else
/// would ever end the hold, or settle the attempt.
async fn must_not_be_open(tx: &mut Tx, issue: &Issue) -> Result<(), FlowError> {
    let about = match &issue.attempt_id {
        Some(id) => attempt(tx, id).await?,
        None => None,
    };
    let Some(about) = about else { return Ok(()) };
    if about.hold.as_deref() == Some(issue.kind.as_str()) {
        let ways = [AcceptAmount, MarkFailed, RefundSurplus]
            .into_iter()
            .filter(|action| action.suits(issue.kind))
            .map(IssueAction::as_str)
            .collect::<Vec<_>>()
            .join(" or ");
        let why = format!("the payment is on hold by this issue: {ways} ends it");
        return Err(unfit(issue, &why));
    }
    if issue.kind == Kind::UnresolvedAttempt && about.is_unresolved() {
        return Err(unfit(
            issue,
            "nobody knows yet what became of the payment: accept_amount with Atom's number of it, or mark_failed",
        ));
    }
    Ok(())
}

/// Whether it can be a number that Atom gives a payment, as a refund carries it (`spec/atom.md` 7.6).
fn is_atom_txn_id(text: &str) -> bool {
    let plain = text.bytes().all(|b| b.is_ascii_digit());
    plain && (1..=14).contains(&text.len()) && !text.starts_with('0')
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

#[cfg(test)]
mod tests {
    use super::*;

    const ACTIONS: [IssueAction; 5] = [RefundSurplus, AcceptAmount, MarkFailed, Discard, Close];

    /// The manual has a row for every kind of issue, with the decisions that suit it and no others.
    #[test]
    fn the_manual_has_every_kind() {
        let manual = include_str!("../../../../docs/commerce.md");
        for kind in Kind::ALL {
            let begins = format!("| `{}` |", kind.as_str());
            let mut rows = manual.lines().filter_map(|line| line.strip_prefix(&begins));
            let row = rows.find(|row| row.matches('|').count() == 3);
            let row = row.unwrap_or_else(|| panic!("no row of {}", kind.as_str()));
            let decisions = row.split('|').nth(1).expect("decisions");
            let about_the_issue = decisions.split("of the refund:").next().unwrap_or("");
            for action in ACTIONS.into_iter().filter(|action| *action != Close) {
                let named = about_the_issue.contains(&format!("`{}`", action.as_str()));
                assert_eq!(named, action.suits(*kind), "{} {action:?}", kind.as_str());
            }
        }
    }
}
