//! What operators decide by hand (`spec/frex.md` 12): requests whose outcome nobody knows, and orders that need a way on.
//!
//! Each decision is one transaction, is written to `frex_decision` with who made it and why, and obeys the same state machines as
//! the worker. That a billing request never arrived, or is to be taken as
//! refused without the agency's word, must be said by two operators, and not while it may be on its way.

use std::sync::Arc;

use super::agency::settings::Protocol;
use super::alert::{self, Alert, AlertKind};
use super::error::FrexError;
use super::key::{RequestKey, RequestType};
use super::lease;
use super::model::{
    BillingState, Order, Pair, RegState, Request, RequestState, ResultState, StateInfo, StrState,
    words,
};
use super::news;
use super::settings::WorkerSettings;
use super::shop::{Shop, ShopError};
use super::steps::effect::{self, Facts};
use super::steps::table::{self, step_of};
use super::steps::{outcome, payload};
use super::tables;
use crate::id;
use crate::store::Tx;

words! {
    /// A decision about a request; the most careful one first, as pages offer them.
    RequestAction {
        /// Ask the agency again what became of it.
        RetryLookup = "retry_lookup",
        /// The agency says that it accepted it.
        ConfirmAccepted = "confirm_accepted",
        /// The agency says that it never received it: send it again.
        ConfirmNotReceived = "confirm_not_received",
        /// It is settled outside: take it as refused.
        Close = "close",
        /// Where the agency's interface cannot be asked: it says that screening approved the order.
        ConfirmApproved = "confirm_approved",
        /// The same: it says that screening refused the order, which ends.
        ConfirmRefused = "confirm_refused",
    }
}

impl RequestAction {
    /// Whether it may be decided about a request of this type in this state, at an agency with this interface.
    #[must_use]
    pub const fn fits(self, kind: RequestType, state: RequestState, protocol: Protocol) -> bool {
        match (self, kind.is_mutation()) {
            (Self::ConfirmApproved | Self::ConfirmRefused, _) => {
                matches!(kind, RequestType::AuthorizeResult)
                    && matches!(state, RequestState::Standby)
                    && !protocol.tells_screening()
            }
            (Self::RetryLookup | Self::ConfirmAccepted | Self::Close, true) => {
                matches!(state, RequestState::Unknown | RequestState::Error)
            }
            (Self::ConfirmNotReceived, true) => matches!(state, RequestState::Unknown),
            (Self::RetryLookup | Self::Close, false) => {
                matches!(state, RequestState::Standby | RequestState::Error)
            }
            (Self::ConfirmAccepted | Self::ConfirmNotReceived, false) => false,
        }
    }

    /// Whether a second operator must say the same: goods are released and the buyer is billed by it, or may be billed twice, under the
    /// same key or, after a close, under a new one. `refused`: the agency said itself that it did not bill.
    #[must_use]
    pub fn needs_second(self, kind: RequestType, refused: bool) -> bool {
        match self {
            Self::ConfirmNotReceived => kind == RequestType::BillingReg,
            Self::Close => {
                matches!(kind, RequestType::BillingReg | RequestType::BillingResult) && !refused
            }
            Self::ConfirmApproved => true,
            Self::RetryLookup | Self::ConfirmAccepted | Self::ConfirmRefused => false,
        }
    }
}

words! {
    /// A decision about an order.
    OrderAction {
        /// Register again after a refusal.
        RetryRegistration = "retry_registration",
        /// Bill again after a refusal.
        RetryBilling = "retry_billing",
        /// Take back the change that the agency refused.
        RevertAmount = "revert_amount",
        /// Take the amount that the agency confirmed.
        AcceptAgencyAmount = "accept_agency_amount",
        /// The agency billed another amount and has corrected it to the order's.
        AgencyCorrected = "agency_corrected",
        /// Ask again for the cancel that the agency refused.
        ClearDeleteRejected = "clear_delete_rejected",
        /// The cancel that the agency refused is settled outside: the order ends.
        CloseCancel = "close_cancel",
    }
}

impl OrderAction {
    /// Whether it may be decided about an order as it stands.
    ///
    /// # Errors
    /// Why not.
    pub fn fits(self, pair: &Pair) -> Result<(), &'static str> {
        let info = pair
            .info
            .as_ref()
            .ok_or("the worker has not begun with it")?;
        let quiet = info.result == ResultState::Complete;
        let (fits, why) = match self {
            Self::RetryRegistration => (
                pair.order.state == StrState::Reg
                    && info.reg == RegState::Error
                    && info.result == ResultState::Order,
                "only an order whose registration was refused is registered again",
            ),
            Self::RetryBilling => (
                quiet && info.billing == BillingState::Error,
                "only an order whose billing was refused is billed again",
            ),
            Self::RevertAmount => (
                quiet && info.rejected_amount.is_some() && info.billing == BillingState::None,
                "only a change that the agency refused is taken back, and only before billing",
            ),
            Self::AcceptAgencyAmount => (
                quiet && info.billed_amount != pair.order.amount,
                "the agency has no other amount, or something is in progress",
            ),
            Self::AgencyCorrected => (
                quiet
                    && info.billing == BillingState::Complete
                    && info.billed_amount != pair.order.amount,
                "only a bill of another amount than the order's is corrected",
            ),
            Self::ClearDeleteRejected => (
                quiet && info.delete_rejected,
                "only a cancel that the agency refused is asked for again",
            ),
            Self::CloseCancel => (
                quiet && info.delete_rejected && pair.order.state == StrState::Del,
                "only an order whose cancel the agency refused is closed by hand",
            ),
        };
        fits.then_some(()).ok_or(why)
    }
}

/// Characters of the longest note.
const NOTE_CHARS_MAX: usize = 500;

/// Whether a text may be kept as a note: one line of at most 500 characters.
#[must_use]
pub fn is_note(text: &str) -> bool {
    text.chars().count() <= NOTE_CHARS_MAX && !text.chars().any(char::is_control)
}

/// Who decides, and why.
#[derive(Clone, Copy, Debug)]
pub struct Decider<'a> {
    /// The operator.
    pub operator: &'a str,
    /// The reason; never buyer data.
    pub note: &'a str,
}

impl<'a> Decider<'a> {
    /// Somebody who gives no reason.
    #[must_use]
    pub const fn without_note(operator: &'a str) -> Self {
        Self { operator, note: "" }
    }
}

/// The subject of decisions about the worker itself. Order numbers and request keys begin with no colon.
const WORKER: &str = ":worker";
/// What the subject of decisions about a member company begins with; its id follows.
const JOINER: &str = ":joiner:";

/// The decisions `d` that belong to the history of order `$1`: about it, its requests and its alerts, and, since it was placed, about its
/// member company and the worker.
pub const OF_ORDER: &str = "d.subject = $1 OR d.subject IN (SELECT r.request_key FROM frex_request r WHERE r.order_no = $1) \
    OR d.subject IN (SELECT a.id FROM frex_alert a WHERE a.order_no = $1) \
    OR (d.decided_at >= (SELECT o.created_at FROM frex_order o WHERE o.order_no = $1) AND (d.subject = ':worker' \
    OR d.subject = (SELECT ':joiner:' || o.joiner_id FROM frex_order o WHERE o.order_no = $1)))";

/// Whether two names are, or may be, one person's. At a terminal everybody gives the name they like, but not the account of the system,
/// which stands behind it: `cli:NAME (uid N)`.
fn may_be_one(first: &str, second: &str) -> bool {
    let parts = |name: &str| match name.rsplit_once(" (uid ") {
        Some((name, uid)) if name.starts_with("cli:") => (name.to_owned(), Some(uid.to_owned())),
        _ => (name.to_owned(), None),
    };
    let (first, second) = (parts(first), parts(second));
    first.0 == second.0 || (first.1.is_some() && first.1 == second.1)
}

/// What became of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decided {
    /// It is done.
    Done,
    /// It waits for a second operator.
    NeedsSecond,
}

/// Why a decision is refused.
#[derive(Debug, thiserror::Error)]
pub enum DecideError {
    /// There is no such request.
    #[error("there is no request {key}")]
    NoRequest {
        /// The key.
        key: String,
    },
    /// The decision does not fit.
    #[error("{action} does not fit {subject}: {why}")]
    NotFitting {
        /// The decision.
        action: &'static str,
        /// The request or order.
        subject: String,
        /// Why.
        why: &'static str,
    },
    /// The acceptance number is missing or none.
    #[error(
        "confirm_accepted needs the agency's acceptance number: 1 to 40 letters, digits or '-'"
    )]
    AcceptNo,
    /// The order's side.
    #[error(transparent)]
    Shop(#[from] ShopError),
}

impl DecideError {
    /// The code in answers.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoRequest { .. } => "not_found",
            Self::NotFitting { .. } => "decision_not_fitting",
            Self::AcceptNo => "accept_no_missing",
            Self::Shop(error) => error.code(),
        }
    }

    /// The HTTP status.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::NoRequest { .. } => 404,
            Self::NotFitting { .. } => 409,
            Self::AcceptNo => 422,
            Self::Shop(error) => error.status(),
        }
    }
}

impl From<FrexError> for DecideError {
    fn from(error: FrexError) -> Self {
        Self::Shop(error.into())
    }
}

impl From<sqlx::Error> for DecideError {
    fn from(error: sqlx::Error) -> Self {
        Self::Shop(error.into())
    }
}

/// What a decision about a request works on.
struct Subject {
    pair: Pair,
    info: StateInfo,
    row: Request,
    /// For a question: the mutation whose outcome it fetches.
    reg: Option<Request>,
    protocol: Protocol,
    settings: Arc<WorkerSettings>,
    now: i64,
}

impl Shop {
    /// Decides about a request.
    ///
    /// # Errors
    /// See [`DecideError`].
    pub async fn resolve_request(
        &self,
        key: &str,
        action: RequestAction,
        accept_no: Option<&str>,
        by: Decider<'_>,
    ) -> Result<Decided, DecideError> {
        let no_request = || DecideError::NoRequest {
            key: key.to_owned(),
        };
        let parsed: RequestKey = key.parse().map_err(|_| no_request())?;
        let (mut tx, pair, _) = self.taken(&parsed.order_no).await?;
        let row = tables::request(tx.conn(), key)
            .await?
            .ok_or_else(no_request)?;
        let info = pair.info.clone().ok_or_else(no_request)?;
        let reg = match step_of(parsed.kind).of {
            Some(of) => {
                let reg = RequestKey::new(&parsed.order_no, of, parsed.seq).to_string();
                tables::request(tx.conn(), &reg).await?
            }
            None => None,
        };
        let mut later = false;
        for kind in [Some(parsed.kind), step_of(parsed.kind).of] {
            let Some(kind) = kind else { continue };
            let newest = tables::latest(tx.conn(), &[&parsed.order_no], kind).await?;
            later |= newest.values().any(|row| row.key.seq != parsed.seq);
        }
        let subject = Subject {
            pair,
            info,
            row,
            reg,
            protocol: self.protocol,
            settings: self.settings.clone(),
            now: self.clock.now_ms(),
        };
        if later {
            return Err(subject.misfit(action, "a later request of this type exists"));
        }
        let after = subject.next(action, accept_no)?;
        if subject.may_arrive_yet(action, self.settings.quiet_ms()) {
            return Err(subject.misfit(
                action,
                "it may be on its way still; wait for the end of the quiet time",
            ));
        }
        let sent_at = subject.reg.as_ref().unwrap_or(&subject.row).sent_at;
        if action.needs_second(parsed.kind, subject.refused())
            && !self.seconded(&mut tx, key, action, sent_at, by).await?
        {
            self.commit(tx).await?;
            return Ok(Decided::NeedsSecond);
        }
        subject.write(&mut tx, action, after).await?;
        let mut ended = vec![
            AlertKind::RequestUnknown,
            AlertKind::ContractViolation,
            AlertKind::StepFailed,
            AlertKind::ResultOverdue,
        ];
        if subject.reopens(action) {
            ended.extend([
                AlertKind::RegistrationRefused,
                AlertKind::UpdateRefused,
                AlertKind::CancelRefused,
                AlertKind::BillingRefused,
            ]);
        }
        let keys = parsed.family(parsed.seq);
        for kind in ended {
            let (conn, now) = (tx.conn(), subject.now);
            alert::resolve_requests(conn, kind, &parsed.order_no, &keys, by.operator, now).await?;
        }
        if matches!(
            action,
            RequestAction::ConfirmApproved | RequestAction::ConfirmRefused
        ) {
            for kind in [AlertKind::HoldNeedsData, AlertKind::DelayOverdue] {
                let (conn, now) = (tx.conn(), subject.now);
                alert::resolve(conn, kind, &parsed.order_no, by.operator, now).await?;
            }
        }
        self.note(&mut tx, key, action.as_str(), by).await?;
        self.commit(tx).await?;
        Ok(Decided::Done)
    }

    /// Whether another person said the same before, and about the same sending; if not, this one's word is kept.
    async fn seconded(
        &self,
        tx: &mut Tx,
        key: &str,
        action: RequestAction,
        sent_at: i64,
        by: Decider<'_>,
    ) -> Result<bool, DecideError> {
        // What was said before it last left was said about another sending.
        sqlx::query(
            "UPDATE frex_decision SET state = 'LAPSED' WHERE subject = $1 AND action = $2 AND state = 'PROPOSED' AND decided_at <= $3",
        )
        .bind(key)
        .bind(action.as_str())
        .bind(sent_at)
        .execute(tx.conn())
        .await?;
        let sql = "SELECT operator FROM frex_decision WHERE subject = $1 AND action = $2 AND state = 'PROPOSED'";
        let first: Option<String> = sqlx::query_scalar(sql)
            .bind(key)
            .bind(action.as_str())
            .fetch_optional(tx.conn())
            .await?;
        match first {
            Some(first) if !may_be_one(&first, by.operator) => {
                sqlx::query("UPDATE frex_decision SET state = 'SECONDED' WHERE subject = $1 AND action = $2 AND state = 'PROPOSED'")
                    .bind(key)
                    .bind(action.as_str())
                    .execute(tx.conn())
                    .await?;
                Ok(true)
            }
            Some(_) => Ok(false),
            None => {
                self.note_as(tx, key, action.as_str(), by, "PROPOSED")
                    .await?;
                Ok(false)
            }
        }
    }

    /// Whether this operator's latest decision of this kind about a subject is in force.
    ///
    /// # Errors
    /// The database's.
    pub async fn decided(
        &self,
        subject: &str,
        action: &str,
        by: Decider<'_>,
    ) -> Result<bool, FrexError> {
        let sql = "SELECT state FROM frex_decision WHERE subject = $1 AND action = $2 AND operator = $3 ORDER BY decided_at DESC LIMIT 1";
        let state: Option<String> = sqlx::query_scalar(sql)
            .bind(subject)
            .bind(action)
            .bind(by.operator)
            .fetch_optional(self.store.pool())
            .await?;
        Ok(state.is_some_and(|state| !matches!(state.as_str(), "PROPOSED" | "LAPSED")))
    }

    async fn note(
        &self,
        tx: &mut Tx,
        subject: &str,
        action: &str,
        by: Decider<'_>,
    ) -> Result<(), FrexError> {
        self.note_as(tx, subject, action, by, "DONE").await
    }

    async fn note_as(
        &self,
        tx: &mut Tx,
        subject: &str,
        action: &str,
        by: Decider<'_>,
        state: &str,
    ) -> Result<(), FrexError> {
        let now = self.clock.now_ms();
        sqlx::query("INSERT INTO frex_decision (id, subject, action, operator, note, state, decided_at) VALUES ($1, $2, $3, $4, $5, $6, $7)")
            .bind(id::at("", now))
            .bind(subject)
            .bind(action)
            .bind(by.operator)
            .bind(by.note)
            .bind(state)
            .bind(now)
            .execute(tx.conn())
            .await?;
        log::info!("frex: {action} of {subject} by '{}' ({state})", by.operator);
        Ok(())
    }

    /// Pauses the worker in all processes or lets it go on; a run that is under way ends as it would.
    ///
    /// # Errors
    /// The database's.
    pub async fn set_paused(&self, paused: bool, by: Decider<'_>) -> Result<(), FrexError> {
        let mut tx = self.store.begin().await?;
        lease::set_paused(&mut tx, paused, by.operator).await?;
        let action = if paused { "pause" } else { "resume" };
        self.note(&mut tx, WORKER, action, by).await?;
        self.commit(tx).await
    }

    /// Says whether a member company may use the method (`joiner.UseFrex`).
    ///
    /// # Errors
    /// The database's.
    pub async fn set_joiner(
        &self,
        joiner_id: &str,
        use_frex: bool,
        by: Decider<'_>,
    ) -> Result<(), FrexError> {
        let mut tx = self.store.begin().await?;
        sqlx::query(
            "INSERT INTO frex_joiner (joiner_id, use_frex) VALUES ($1, $2) ON CONFLICT (joiner_id) DO UPDATE SET use_frex = excluded.use_frex",
        )
        .bind(joiner_id)
        .bind(i64::from(use_frex))
        .execute(tx.conn())
        .await?;
        let action = if use_frex {
            "use_frex_on"
        } else {
            "use_frex_off"
        };
        let subject = format!("{JOINER}{joiner_id}");
        self.note(&mut tx, &subject, action, by).await?;
        self.commit(tx).await
    }

    /// Puts an alert away. Says whether there was an open one of this id.
    ///
    /// # Errors
    /// The database's.
    pub async fn resolve_alert(&self, id: &str, by: Decider<'_>) -> Result<bool, FrexError> {
        let mut tx = self.store.begin().await?;
        let now = self.clock.now_ms();
        let done = alert::resolve_one(tx.conn(), id, by.operator, now).await?;
        if done {
            self.note(&mut tx, id, "resolve_alert", by).await?;
        }
        self.commit(tx).await?;
        Ok(done)
    }

    /// Decides about an order.
    ///
    /// # Errors
    /// See [`DecideError`].
    pub async fn resolve_order(
        &self,
        order_no: &str,
        action: OrderAction,
        by: Decider<'_>,
    ) -> Result<Decided, DecideError> {
        let (mut tx, pair, registration) = self.taken(order_no).await?;
        let misfit = |why| DecideError::NotFitting {
            action: action.as_str(),
            subject: order_no.to_owned(),
            why,
        };
        let info = pair
            .info
            .clone()
            .ok_or_else(|| misfit("the worker has not begun with it"))?;
        let now = self.clock.now_ms();
        action.fits(&pair).map_err(misfit)?;
        let mut after = info.clone();
        let resolved: &[AlertKind] = match action {
            OrderAction::RetryRegistration => {
                let registration = registration.ok_or_else(|| misfit("it was never registered"))?;
                if registration.unclear {
                    return Err(misfit(
                        "nobody knows whether it is registered; decide about the request first",
                    ));
                }
                after.reg = RegState::Standby;
                after.accept_no = String::new();
                let key =
                    RequestKey::new(order_no, RequestType::OrderReg, registration.key.seq + 1);
                tables::insert_request(tx.conn(), &Request::new(id::at("", now), key, now)).await?;
                &[AlertKind::RegistrationRefused, AlertKind::StepFailed]
            }
            OrderAction::RetryBilling => {
                let bill = tables::latest(tx.conn(), &[order_no], RequestType::BillingReg)
                    .await?
                    .remove(order_no);
                if bill.is_some_and(|bill| bill.unclear) {
                    return Err(misfit(
                        "nobody knows whether it is billed; decide about the request first",
                    ));
                }
                after.billing = BillingState::None;
                &[AlertKind::BillingRefused, AlertKind::StepFailed]
            }
            OrderAction::RevertAmount => {
                self.revert(&mut tx, &pair.order, &info).await?;
                after.rejected_amount = None;
                &[AlertKind::UpdateRefused]
            }
            OrderAction::AcceptAgencyAmount => {
                let order = Order {
                    amount: info.billed_amount,
                    ..pair.order.clone()
                };
                tables::save_order(tx.conn(), &order).await?;
                after.rejected_amount = None;
                &[
                    AlertKind::BilledAmountMismatch,
                    AlertKind::UpdateRefused,
                    AlertKind::AmountMismatch,
                ]
            }
            OrderAction::AgencyCorrected => {
                after.billed_amount = pair.order.amount;
                &[AlertKind::BilledAmountMismatch]
            }
            OrderAction::ClearDeleteRejected => {
                after.delete_rejected = false;
                &[AlertKind::CancelRefused]
            }
            OrderAction::CloseCancel => {
                let mut ended = pair.clone();
                let facts = Facts {
                    now,
                    ..Facts::default()
                };
                effect::apply(table::CANCEL_SETTLED, &mut ended, &facts);
                news::tell(&mut tx, &self.settings, &pair, &ended, now).await?;
                after = ended.info.expect("it was there");
                tables::drop_screening(tx.conn(), order_no, "", now).await?;
                &[
                    AlertKind::CancelRefused,
                    AlertKind::UpdateRefused,
                    AlertKind::BillingRefused,
                    AlertKind::DelayOverdue,
                    AlertKind::HoldNeedsData,
                ]
            }
        };
        tables::save_state(tx.conn(), &info, &after).await?;
        for kind in resolved {
            alert::resolve(tx.conn(), *kind, order_no, by.operator, now).await?;
        }
        self.note(&mut tx, order_no, action.as_str(), by).await?;
        self.commit(tx).await?;
        Ok(Decided::Done)
    }

    /// The order is again what the agency confirmed last, with the lines it had then.
    async fn revert(
        &self,
        tx: &mut Tx,
        order: &Order,
        info: &StateInfo,
    ) -> Result<(), DecideError> {
        let requests = tables::requests_of(tx.conn(), &order.order_no).await?;
        let mut confirmed = None;
        for row in requests
            .iter()
            .rev()
            .filter(|row| matches!(row.kind(), RequestType::OrderReg | RequestType::UpdateReg))
        {
            if row.state != RequestState::Complete {
                continue;
            }
            let (amount, goods) = payload::frozen_goods(&self.vault, row)?;
            if amount == info.billed_amount {
                confirmed = Some(
                    serde_json::to_string(&goods)
                        .expect("texts and numbers are representable in JSON"),
                );
                break;
            }
        }
        // An amount that we never sent has no lines of ours; the order keeps those it has.
        let goods = confirmed.unwrap_or_else(|| order.goods.clone());
        tables::save_order(
            tx.conn(),
            &Order {
                amount: info.billed_amount,
                goods,
                ..order.clone()
            },
        )
        .await?;
        Ok(())
    }
}

impl Subject {
    fn misfit(&self, action: RequestAction, why: &'static str) -> DecideError {
        DecideError::NotFitting {
            action: action.as_str(),
            subject: self.row.key.to_string(),
            why,
        }
    }

    /// Whether the agency said itself that it did not do it, or it never left: nobody need be believed for it.
    fn refused(&self) -> bool {
        match self.row.kind().is_mutation() {
            true => self.row.state == RequestState::Error && !self.row.unclear,
            false => !self.in_progress(),
        }
    }

    /// Whether a decision that it was not executed comes too early: it may arrive after it, and after what follows. A cancel does no harm
    /// however late it is.
    fn may_arrive_yet(&self, action: RequestAction, quiet_ms: i64) -> bool {
        matches!(
            action,
            RequestAction::ConfirmNotReceived | RequestAction::Close
        ) && self.row.kind().is_mutation()
            && self.row.kind() != RequestType::DeleteReg
            && !self.refused()
            && self.now < self.row.sent_at + quiet_ms
    }

    /// The request after the decision.
    fn next(&self, action: RequestAction, accept_no: Option<&str>) -> Result<Request, DecideError> {
        let mut after = self.row.clone();
        (after.tries, after.misses, after.faults) = (0, 0, 0);
        after.next_attempt_at = self.now;
        let mutation = self.row.kind().is_mutation();
        if !action.fits(self.row.kind(), self.row.state, self.protocol) {
            let why = match action {
                RequestAction::ConfirmApproved | RequestAction::ConfirmRefused
                    if self.protocol.tells_screening() =>
                {
                    "the agency's interface tells what screening says, and is asked for it"
                }
                _ => "the request is in another state",
            };
            return Err(self.misfit(action, why));
        }
        match action {
            RequestAction::RetryLookup if mutation => {
                after.state = RequestState::Unknown;
                (after.unclear, after.done_at) = (false, 0);
            }
            // The order has gone on: an answer now would be taken for one about what follows.
            RequestAction::RetryLookup if self.reg.is_some() && !self.in_progress() => {
                return Err(self.misfit(action, "nothing waits for its outcome any more"));
            }
            RequestAction::RetryLookup => {
                after.state = RequestState::Standby;
                after.done_at = 0;
            }
            RequestAction::ConfirmAccepted => {
                let accept_no = accept_no
                    .and_then(super::agency::AcceptNo::parse)
                    .ok_or(DecideError::AcceptNo)?;
                accept_no.as_str().clone_into(&mut after.accept_no);
                after.accept_key.clear();
                after.state = RequestState::Complete;
                (after.unclear, after.done_at) = (false, self.now);
            }
            RequestAction::ConfirmNotReceived => after.state = RequestState::Standby,
            RequestAction::ConfirmApproved | RequestAction::ConfirmRefused
                if !outcome::awaits_screening(&self.pair) =>
            {
                return Err(self.misfit(action, "the order waits for no screening any more"));
            }
            RequestAction::ConfirmApproved | RequestAction::ConfirmRefused => {
                after.state = RequestState::Complete;
                after.done_at = self.now;
            }
            RequestAction::Close => {
                after.state = RequestState::Error;
                after.done_at = self.now;
                if mutation {
                    after.unclear = false;
                }
            }
        }
        Ok(after)
    }

    /// What the order's state becomes with it.
    async fn write(
        &self,
        tx: &mut Tx,
        action: RequestAction,
        after: Request,
    ) -> Result<(), DecideError> {
        if after.state != self.row.state {
            tables::save_request(tx.conn(), &self.row, &after).await?;
        } else {
            tables::save_faults(tx.conn(), &self.row, &after).await?;
            tables::make_due(tx.conn(), &after).await?;
        }
        let mut info = self.info.clone();
        match action {
            RequestAction::Close if self.in_progress() => {
                let mut pair = Pair {
                    info: Some(info),
                    ..self.pair.clone()
                };
                let requested_amount = self.reg.as_ref().map_or(self.row.amount, |reg| reg.amount);
                let facts = Facts {
                    now: self.now,
                    requested_amount,
                    ..Facts::default()
                };
                effect::apply(step_of(self.row.kind()).writes.refused, &mut pair, &facts);
                info = pair.info.expect("it was there");
                self.fail_reg(tx).await?;
                if matches!(
                    self.row.kind(),
                    RequestType::DeleteReg | RequestType::DeleteResult
                ) {
                    let detail = "an operator took the cancel for refused; settle the money outside, then close_cancel";
                    let alert = Alert::of(&self.row.key, &[], detail);
                    let (kind, id) = (AlertKind::CancelRefused, id::at("", self.now));
                    alert::raise(tx.conn(), kind, &alert, id, self.now).await?;
                }
            }
            RequestAction::ConfirmApproved | RequestAction::ConfirmRefused => {
                info = self.screened(tx, action).await?;
            }
            RequestAction::RetryLookup | RequestAction::ConfirmAccepted
                if self.row.kind().is_mutation() =>
            {
                if self.reopens(action) {
                    info = self.reopened(action)?;
                }
                info.accept_no.clone_from(&after.accept_no);
                if let (RequestAction::ConfirmAccepted, Some(outcome)) =
                    (action, table::outcome_of(self.row.kind()))
                {
                    tables::ask_outcome_again(tx.conn(), &after, outcome, self.now).await?;
                }
            }
            _ => {}
        }
        if info != self.info {
            tables::save_state(tx.conn(), &self.info, &info).await?;
        }
        Ok(())
    }

    /// Writes what the agency's word about screening makes of the order, and gives what it makes of the state.
    async fn screened(&self, tx: &mut Tx, action: RequestAction) -> Result<StateInfo, FrexError> {
        let writes = &step_of(RequestType::AuthorizeResult).writes;
        let approved = action == RequestAction::ConfirmApproved;
        let sets = if approved {
            writes.good
        } else {
            writes.refused
        };
        let facts = Facts {
            now: self.now,
            ..Facts::default()
        };
        let mut pair = self.pair.clone();
        effect::apply(sets, &mut pair, &facts);
        if pair.order != self.pair.order {
            tables::save_order(tx.conn(), &pair.order).await?;
        }
        if !approved {
            let detail = "an operator has the agency's word that screening refused the buyer; the order is closed";
            let alert = Alert::of(&self.row.key, &[], detail);
            let id = id::at("", self.now);
            alert::raise(tx.conn(), writes.alert, &alert, id, self.now).await?;
        }
        news::tell(tx, &self.settings, &self.pair, &pair, self.now).await?;
        Ok(pair.info.expect("it was there"))
    }

    /// Whether what was taken for refused is open again by this decision.
    fn reopens(&self, action: RequestAction) -> bool {
        let again = matches!(
            action,
            RequestAction::RetryLookup | RequestAction::ConfirmAccepted
        );
        again && self.row.kind().is_mutation() && self.row.state == RequestState::Error
    }

    /// Whether the order's lock is held by this request.
    fn in_progress(&self) -> bool {
        let expected = match self.row.kind() {
            RequestType::OrderReg | RequestType::OrderResult => ResultState::Order,
            RequestType::UpdateReg | RequestType::UpdateResult => ResultState::Update,
            RequestType::DeleteReg | RequestType::DeleteResult => ResultState::Delete,
            RequestType::BillingReg | RequestType::BillingResult => ResultState::Billing,
            RequestType::AuthorizeResult => return false,
        };
        self.info.result == expected
            && (expected != ResultState::Order || self.info.reg == RegState::Standby)
    }

    /// A billing that did not take place gives its place free for the next one.
    async fn fail_reg(&self, tx: &mut Tx) -> Result<(), FrexError> {
        let Some(reg) = &self.reg else { return Ok(()) };
        if reg.kind() == RequestType::BillingReg && reg.state == RequestState::Complete {
            let failed = Request {
                state: RequestState::Error,
                ..reg.clone()
            };
            tables::save_request(tx.conn(), reg, &failed).await?;
        }
        Ok(())
    }

    /// The state with the lock taken again by a request that had ended unclear.
    fn reopened(&self, action: RequestAction) -> Result<StateInfo, DecideError> {
        let mut info = self.info.clone();
        let quiet = info.result == ResultState::Complete;
        match self.row.kind() {
            RequestType::OrderReg
                if info.result == ResultState::Order && info.reg == RegState::Error =>
            {
                info.reg = RegState::Standby
            }
            RequestType::UpdateReg if quiet && info.billing == BillingState::None => {
                info.result = ResultState::Update;
                info.rejected_amount = None;
            }
            RequestType::DeleteReg if quiet => {
                info.result = ResultState::Delete;
                info.delete_rejected = false;
            }
            RequestType::BillingReg if quiet && info.billing == BillingState::Error => {
                info.result = ResultState::Billing;
                info.billing = BillingState::Standby;
            }
            _ if self.in_progress() => {}
            _ => {
                return Err(self.misfit(
                    action,
                    "the order has gone on since; nothing can be reopened",
                ));
            }
        }
        Ok(info)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A note is one line of bounded length; what could order a terminal something is none.
    #[test]
    fn notes_are_plain() {
        assert!(is_note("asked by telephone, 電話で確認") && is_note(&"x".repeat(500)));
        assert!(!is_note(&"x".repeat(501)) && !is_note("a\nb") && !is_note("a\u{1b}[2J"));
    }

    /// A name is easily changed, an account of the system is not; who has no account is known by the name alone.
    #[test]
    fn one_account_is_one_person() {
        assert!(may_be_one("cli:mari (uid 7)", "cli:ken (uid 7)"));
        assert!(may_be_one("cli:mari (uid 7)", "cli:mari (uid 8)"));
        assert!(may_be_one("cli:mari", "cli:mari (uid 8)"));
        assert!(may_be_one("key_1", "key_1"));
        assert!(!may_be_one("cli:mari (uid 7)", "cli:ken (uid 8)"));
        assert!(!may_be_one("key_1", "cli:ken (uid 8)") && !may_be_one("key_1", "key_2"));
    }
}
