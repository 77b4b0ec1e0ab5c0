//! News of an attempt becomes its outcome, and the order follows: the rank rules of `spec/atom.md` 10.2.
//!
//! News is a verified callback, a verified browser return, or an agreeing status answer; whatever was not verified never
//! gets here. All of it happens in one transaction, in which the order is taken. A callback changes what it may change
//! alone; what it may not decide alone pulls a status query.

mod capture;
mod hold;

use serde_json::json;

use super::issues::{self, Kind, NewIssue, Raised};
use super::requery;
use super::rows::{self, AttemptRow, OrderRow};
use super::state::{OrderCause, OrderStatus, Outcome, Phase, Source};
use super::{Caller, FailedAttemptPolicy, Flow, FlowError};
use crate::atom::wire::codes::{Alert, Class, Reading};
use crate::atom::wire::messages::{Amounts, Callback, Mismatch, StatusTransaction};
use crate::store::Tx;

/// What somebody who was verified says of an attempt.
#[derive(Clone, Debug)]
pub(super) struct News<'a> {
    pub(super) source: Source,
    /// What it is known by: the inbox id, or the request of a query.
    pub(super) cause: &'a str,
    pub(super) reading: Reading,
    pub(super) code: &'a str,
    pub(super) atom_txn_id: Option<&'a str>,
    pub(super) amounts: &'a Amounts,
    pub(super) mismatches: Vec<Mismatch>,
    pub(super) sub_channel: Option<&'a str>,
    pub(super) bank_txn_id: Option<&'a str>,
    pub(super) bank_name: Option<&'a str>,
    pub(super) recon_status: Option<&'a str>,
    pub(super) dates: (Option<&'a str>, Option<&'a str>),
}

impl<'a> News<'a> {
    /// What a callback or a browser return says.
    pub(super) fn of_callback(
        source: Source,
        cause: &'a str,
        callback: &'a Callback,
        attempt: &AttemptRow,
    ) -> News<'a> {
        News {
            source,
            cause,
            reading: callback.reading,
            code: &callback.status_code,
            atom_txn_id: Some(&callback.atom_txn_id),
            amounts: &callback.amounts,
            mismatches: callback.mismatches(attempt.amount, &attempt.currency, &attempt.order_id),
            sub_channel: callback.sub_channel.as_deref(),
            bank_txn_id: callback.bank_txn_id.as_deref(),
            bank_name: callback.ots_bank_name.as_deref(),
            recon_status: None,
            dates: (
                callback.txn_init_date.as_deref(),
                callback.txn_complete_date.as_deref(),
            ),
        }
    }

    /// What a status answer says.
    pub(super) fn of_status(
        cause: &'a str,
        said: &'a StatusTransaction,
        attempt: &AttemptRow,
    ) -> News<'a> {
        News {
            source: Source::Status,
            cause,
            reading: said.reading,
            code: &said.status_code,
            atom_txn_id: said.atom_txn_id.as_deref(),
            amounts: &said.amounts,
            mismatches: said.amounts.mismatches(attempt.amount, &attempt.currency),
            sub_channel: said.sub_channel.as_deref(),
            bank_txn_id: said.bank_txn_id.as_deref(),
            bank_name: said.ots_bank_name.as_deref(),
            recon_status: said.recon_status.as_deref(),
            dates: (None, None),
        }
    }

    /// Disagreements that count: what is merely absent from a message that reports no payment says nothing.
    fn disagreements(&self) -> Vec<&Mismatch> {
        let paid = self.reading.class == Class::Success;
        let counts = |mismatch: &&Mismatch| {
            paid || !matches!(
                mismatch,
                Mismatch::Amount { found: None, .. } | Mismatch::Total { found: None, .. }
            )
        };
        self.mismatches.iter().filter(counts).collect()
    }
}

/// What news did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Applied {
    /// The outcome rose.
    Raised(Outcome),
    /// What is known already, or older than what is known.
    NoEffect,
    /// It agreed with a success that is known.
    Confirmed,
    /// It disagrees with the attempt; a person decides.
    Mismatch,
    /// It contradicts itself; a person decides.
    Held,
    /// It says nothing by itself; a status query was pulled.
    Asks,
    /// A capture that no order needs.
    Surplus,
}

impl Applied {
    /// The stored word.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Applied::Raised(outcome) => outcome.as_str(),
            Applied::NoEffect => "no_effect",
            Applied::Confirmed => "confirmed",
            Applied::Mismatch => "mismatch",
            Applied::Held => "held",
            Applied::Asks => "asks",
            Applied::Surplus => "surplus",
        }
    }
}

/// One application: the order that is taken, the attempt as it was, and as it becomes.
pub(super) struct Change<'a> {
    pub(super) order: &'a OrderRow,
    pub(super) before: &'a AttemptRow,
    pub(super) after: AttemptRow,
    pub(super) news: &'a News<'a>,
    pub(super) now_ms: i64,
}

impl Flow {
    /// Applies news to an attempt of a taken order, and writes both. The query schedule of the attempt is set anew.
    pub(super) async fn apply(
        &self,
        tx: &mut Tx,
        order: &OrderRow,
        attempt: &AttemptRow,
        news: &News<'_>,
        prepared: AttemptRow,
    ) -> Result<Applied, FlowError> {
        let now_ms = self.clock.now_ms();
        let mut change = Change {
            order,
            before: attempt,
            after: prepared,
            news,
            now_ms,
        };
        if let Some(alert) = news.reading.alert {
            self.tell_of_code(tx, &change, alert).await?;
        }
        let applied = self.decide(tx, &mut change).await?;
        // An answer of the query itself that says nothing is asked for again by the schedule only.
        if applied == Applied::Asks && news.source != Source::Status {
            change.after.next_requery_at = Some(requery::soonest_ms(&change.after, now_ms));
        } else {
            change.after.next_requery_at =
                requery::next_query_ms(&change.after, &self.settings, now_ms);
        }
        if news.source != Source::Status && !change.after.phase.is_told() {
            // It was believed, whatever it says; the effect on the order follows with the query.
            change.after.phase = Phase::SignatureVerified;
            if change.after.outcome == Outcome::None {
                // Somebody has paid, or tried to, after all.
                change.after.cleared_at = None;
                change.after.final_at = None;
            }
            change.after.status_source = Some(news.source);
        }
        if matches!(applied, Applied::Raised(outcome) if outcome >= Outcome::Failed) {
            self.close_unresolved(tx, &change.after).await?;
        }
        let actor = Caller {
            merchant_id: order.merchant_id.clone(),
            actor: "atom".to_owned(),
            request_id: format!("{} {}", news.source, news.cause),
        };
        self.save_step(tx, &actor, attempt, &mut change.after)
            .await?;
        Ok(applied)
    }

    async fn decide(&self, tx: &mut Tx, change: &mut Change<'_>) -> Result<Applied, FlowError> {
        let class = self.class_of(change);
        let captured = change.before.outcome.is_captured();
        if captured && change.is_other_capture() {
            return self.of_other_capture(tx, change, class).await;
        }
        let money = matches!(
            class,
            Class::Success | Class::Pending | Class::Failed | Class::Reversed
        );
        if money && !change.agrees() {
            return self.hold_mismatch(tx, change).await;
        }
        match class {
            Class::Success => self.success(tx, change).await,
            Class::Pending => Ok(self.raise(change, Outcome::Pending, Phase::SignatureVerified)),
            Class::Failed => self.failed(tx, change).await,
            Class::Reversed => self.reversed(tx, change).await,
            Class::Hold => self.hold_contradiction(tx, change).await,
            Class::NoData | Class::AskStatus | Class::RequestError | Class::Unknown => {
                Ok(if captured {
                    Applied::NoEffect
                } else {
                    Applied::Asks
                })
            }
        }
    }

    /// News of another payment under the same attempt. It says nothing about the attempt's own, which stays as it is.
    async fn of_other_capture(
        &self,
        tx: &mut Tx,
        change: &Change<'_>,
        class: Class,
    ) -> Result<Applied, FlowError> {
        let (news, order, paid) = (change.news, change.order, change.before);
        let number = news.atom_txn_id.unwrap_or("");
        match class {
            Class::Success => {
                self.surplus_capture(tx, order, paid, number, news.amounts)
                    .await?;
                Ok(Applied::Surplus)
            }
            Class::Reversed => {
                self.surplus_is_gone(tx, order, paid, number).await?;
                Ok(Applied::NoEffect)
            }
            _ => Ok(Applied::NoEffect),
        }
    }

    /// A success that names no payment cannot be one (12.3), and a code that two people have overruled denies none.
    fn class_of(&self, change: &Change<'_>) -> Class {
        match change.news.reading.class {
            Class::Success if change.news.atom_txn_id.is_none() => Class::Unknown,
            Class::Failed | Class::Hold if change.is_overruled() => Class::Success,
            class => class,
        }
    }

    /// Raises the outcome if the table has the step, with everything the news tells.
    fn raise(&self, change: &mut Change<'_>, to: Outcome, phase: Phase) -> Applied {
        if !change.before.outcome.may_become(to, change.news.source) {
            return if change.before.outcome < to {
                Applied::Asks
            } else {
                Applied::NoEffect
            };
        }
        change.after.outcome = to;
        if to == Outcome::Pending {
            // It is with the bank: that nobody had paid so far clears nothing any more.
            change.after.cleared_at = None;
            change.after.final_at = None;
        }
        if change.after.phase != Phase::Completed {
            change.after.phase = phase;
        }
        change.take_over();
        Applied::Raised(to)
    }

    async fn failed(&self, tx: &mut Tx, change: &mut Change<'_>) -> Result<Applied, FlowError> {
        if change.before.outcome.is_captured() && change.news.source == Source::Status {
            let detail = json!({
                "held": change.before.status_code, "status_says": change.news.code,
                "disagrees": [change.code()],
            });
            let about = change.evidence();
            self.open_issue(tx, change, Kind::ResultContradicts, &about, detail)
                .await?;
            return Ok(Applied::NoEffect);
        }
        if change.news.recon_status == Some("RS") {
            let detail = json!({
                "recon_status": "RS", "status_code": change.news.code, "disagrees": [change.code()],
                "atom_txn_id": change.news.atom_txn_id, "amount": change.before.amount,
                "total": change.news.amounts.total, "surcharge": change.news.amounts.surcharge,
            });
            let about = change.evidence();
            self.open_issue(tx, change, Kind::SettledButFailed, &about, detail)
                .await?;
        }
        let applied = self.raise(change, Outcome::Failed, Phase::Completed);
        if applied == Applied::Raised(Outcome::Failed) {
            self.observer
                .attempt(change.after.sub_channel.as_deref().unwrap_or(""), false);
            if let Some(alert) = change.news.reading.alert {
                self.observer.failed_code(alert);
            }
            let cancels = self.settings.failed_attempt_policy == FailedAttemptPolicy::CancelOrder;
            if cancels && change.order.status == OrderStatus::Pending {
                self.cancel_failed(tx, change).await?;
            }
        }
        Ok(applied)
    }

    async fn cancel_failed(&self, tx: &mut Tx, change: &Change<'_>) -> Result<(), FlowError> {
        let others = rows::attempts_of(tx.conn(), &change.order.id).await?;
        let open = |other: &AttemptRow| {
            other.id != change.before.id && other.outcome != Outcome::Failed && !other.is_over()
        };
        if !others.iter().any(open) {
            let by = OrderCause::PaymentFailed;
            self.step_order(
                tx,
                change.order,
                OrderStatus::Cancelled,
                by,
                "atom",
                change.news.code,
            )
            .await?;
        }
        Ok(())
    }

    /// What a code asks to be told to somebody (section 12).
    async fn tell_of_code(
        &self,
        tx: &mut Tx,
        change: &Change<'_>,
        alert: Alert,
    ) -> Result<(), FlowError> {
        let code = change.news.code;
        let kind = match alert {
            Alert::UnknownCode => Kind::UnknownCode,
            Alert::Configuration | Alert::Request | Alert::ClockOrDate | Alert::Keys => {
                Kind::GatewayConfiguration
            }
            // A hold opens its own issue, with its attempt; the rest is a matter of rates and of the log.
            Alert::Contradiction
            | Alert::Amount
            | Alert::Rate
            | Alert::MerchantSetup
            | Alert::Limits => {
                log::warn!(
                    "Code to look at code={code} alert={} attempt={}",
                    alert.name(),
                    change.before.id
                );
                return Ok(());
            }
        };
        let raised = NewIssue {
            kind,
            order_id: None,
            attempt_id: None,
            refund_id: None,
            about: code,
            detail: json!({"code": code, "alert": alert.name(), "attempt_id": change.before.id}),
        };
        issues::open(tx, change.now_ms, &raised).await?;
        Ok(())
    }

    pub(super) async fn open_issue(
        &self,
        tx: &mut Tx,
        change: &Change<'_>,
        kind: Kind,
        about: &str,
        detail: serde_json::Value,
    ) -> Result<Raised, FlowError> {
        let raised = NewIssue {
            kind,
            order_id: Some(&change.order.id),
            attempt_id: Some(&change.before.id),
            refund_id: None,
            about,
            detail,
        };
        Ok(issues::open(tx, change.now_ms, &raised).await?)
    }
}

impl Change<'_> {
    /// Whether the news tells of another capture than the attempt's own.
    fn is_other_capture(&self) -> bool {
        let ours = self.before.atom_txn_id.as_deref();
        self.news.atom_txn_id.is_some() && ours.is_some() && self.news.atom_txn_id != ours
    }

    /// Whether the news agrees with the attempt, or disagrees only in what two people took for right.
    fn agrees(&self) -> bool {
        let found = self.news.disagreements();
        if found.is_empty() || self.is_other_capture() {
            return found.is_empty();
        }
        let accepted = self.before.accepted();
        let known = |mismatch: &&Mismatch| accepted.contains(&mismatch.to_string());
        found.iter().all(known)
    }

    /// Whether two people have said of this very code that the payment is good all the same.
    fn is_overruled(&self) -> bool {
        self.before.outcome == Outcome::Success
            && !self.is_other_capture()
            && self.before.accepted().contains(&self.code())
    }

    /// The code as a disagreement.
    fn code(&self) -> String {
        format!("code {}", self.news.code)
    }

    /// What the news says, as one text: what an issue about it is told from others by.
    fn evidence(&self) -> String {
        let amounts = &self.news.amounts;
        let minor = |amount: Option<i64>| amount.map_or("-".to_owned(), |minor| minor.to_string());
        let parts = [
            self.news.atom_txn_id.unwrap_or("-").to_owned(),
            minor(amounts.amount),
            minor(amounts.surcharge),
            minor(amounts.total),
            amounts.currency.clone().unwrap_or("-".to_owned()),
            self.news.code.to_owned(),
        ];
        parts.join(" ")
    }

    /// Takes over what the news tells besides the outcome.
    fn take_over(&mut self) {
        let News {
            source,
            code,
            atom_txn_id,
            amounts,
            sub_channel,
            bank_txn_id,
            ..
        } = *self.news;
        let or = |new: Option<&str>, old: &Option<String>| {
            new.map(str::to_owned).or_else(|| old.clone())
        };
        let after = &mut self.after;
        after.atom_txn_id = or(atom_txn_id, &after.atom_txn_id);
        after.total_amount = amounts.total.or(after.total_amount);
        after.surcharge = amounts.surcharge.or(after.surcharge);
        after.sub_channel = or(sub_channel, &after.sub_channel);
        after.bank_txn_id = or(bank_txn_id, &after.bank_txn_id);
        after.otsbank_name = or(self.news.bank_name, &after.otsbank_name);
        after.recon_status = or(self.news.recon_status, &after.recon_status);
        after.txn_init_date = or(self.news.dates.0, &after.txn_init_date);
        after.txn_complete_date = or(self.news.dates.1, &after.txn_complete_date);
        after.status_code = Some(code.to_owned());
        after.status_source = Some(source);
    }
}
