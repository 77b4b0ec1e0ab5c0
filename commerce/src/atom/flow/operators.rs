//! Two people for actions that move money (`spec/atom.md` 15.6).
//!
//! The first operator proposes, a second one does: the proposal is stored with the thing it is about, and the same action
//! asked for by somebody else carries it out. Another action replaces the proposal. Both are audited.

use serde_json::{Value, json};
use sqlx::Row;

use super::audit::{self, Entry};
use super::{Caller, Flow, FlowError};
use crate::store::{StoreError, Tx, one};

/// What is decided about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    /// `issue`, `refund` or `order`.
    pub(super) what: &'static str,
    pub(super) id: &'a str,
    pub(super) order_id: Option<&'a str>,
}

/// Whether an action may be carried out now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Consent {
    /// Yes.
    Given,
    /// It is stored as proposed, and waits for somebody else.
    Proposed,
}

impl Flow {
    /// Asks whether the caller may carry out a money-moving action, and stores it as proposed if not.
    pub(super) async fn consent(
        &self,
        tx: &mut Tx,
        subject: Subject<'_>,
        action: &str,
        caller: &Caller,
    ) -> Result<Consent, FlowError> {
        if !self.settings.require_second_operator {
            return Ok(Consent::Given);
        }
        let (proposed, by) = proposal(tx, subject).await?;
        match (proposed.as_deref() == Some(action), by) {
            (true, Some(by)) if by != caller.actor => Ok(Consent::Given),
            (true, Some(by)) => Err(FlowError::SecondOperator {
                detail: format!("{by} proposed {action}; another operator has to confirm it"),
            }),
            _ => {
                propose(tx, subject, Some((action, &caller.actor))).await?;
                let after = format!("{action} proposed");
                self.audit_decision(tx, subject, caller, "", &after).await?;
                Ok(Consent::Proposed)
            }
        }
    }

    /// Audits what an operator did.
    pub(super) async fn audit_decision(
        &self,
        tx: &mut Tx,
        subject: Subject<'_>,
        caller: &Caller,
        before: &str,
        after: &str,
    ) -> Result<(), FlowError> {
        let entry = Entry {
            who: &caller.actor,
            what: subject.what,
            id: subject.id,
            order_id: subject.order_id,
            before,
            after,
            cause: &caller.request_id,
        };
        audit::write(tx, self.clock.now_ms(), &entry).await?;
        Ok(())
    }
}

/// The members that show a proposal.
pub(super) fn proposed_body(action: &str, caller: &Caller) -> Value {
    json!({"result": "second_operator_needed", "action": action, "proposed_by": caller.actor})
}

/// Forgets the proposal: it was carried out.
pub(super) async fn forget(tx: &mut Tx, subject: Subject<'_>) -> Result<(), StoreError> {
    propose(tx, subject, None).await
}

async fn proposal(
    tx: &mut Tx,
    subject: Subject<'_>,
) -> Result<(Option<String>, Option<String>), StoreError> {
    let select = match subject.what {
        "issue" => "SELECT proposed_action, proposed_by FROM issues WHERE id = $1",
        "order" => "SELECT proposed_action, proposed_by FROM orders WHERE id = $1",
        _ => "SELECT proposed_action, proposed_by FROM refunds WHERE id = $1",
    };
    let row = sqlx::query(select)
        .bind(subject.id)
        .fetch_one(tx.conn())
        .await?;
    Ok((row.try_get("proposed_action")?, row.try_get("proposed_by")?))
}

async fn propose(
    tx: &mut Tx,
    subject: Subject<'_>,
    what: Option<(&str, &str)>,
) -> Result<(), StoreError> {
    let (table, update) = match subject.what {
        "issue" => (
            "issues",
            "UPDATE issues SET proposed_action = $1, proposed_by = $2 WHERE id = $3",
        ),
        "order" => (
            "orders",
            "UPDATE orders SET proposed_action = $1, proposed_by = $2 WHERE id = $3",
        ),
        _ => (
            "refunds",
            "UPDATE refunds SET proposed_action = $1, proposed_by = $2 WHERE id = $3",
        ),
    };
    let done = sqlx::query(update)
        .bind(what.map(|(action, _)| action))
        .bind(what.map(|(_, by)| by))
        .bind(subject.id)
        .execute(tx.conn())
        .await?;
    one(&done, table, subject.id)
}
