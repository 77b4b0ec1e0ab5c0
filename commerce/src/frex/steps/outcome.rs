//! What the agency's word on one item means for its request, its order and the alerts: pure functions, no clock, no database.
//!
//! Everything that section 5 says under "accepted", "done", "refused" and "hold", and sections 9 and 10.2 about failures and
//! look-ups, is decided here; [`super::apply`] only writes it down.

use super::table::{self, Set, Step};
use crate::frex::agency::codes::{Codes, Verdict};
use crate::frex::agency::{
    Acceptance, Call, CallError, Found, FoundBy, Lookup, Outcome, Processed, ProcessedStatus,
    Refusal, Screening, ScreeningWord,
};
use crate::frex::alert::{Alert, AlertKind};
use crate::frex::key::{RequestKey, RequestType};
use crate::frex::model::{AuthorizeState, Pair, Request, RequestState, ResultState, StrState};
use crate::frex::settings::{WorkerSettings, ms};
use crate::frex::tables::Detail;

/// "Not found" decides after this many look-ups in a row.
pub const MISSES_NEEDED: i64 = 2;
/// Codes by which the agency says that a registration under this number exists.
const REGISTERED_BEFORE: [&str; 2] = ["E0131006", "E0131011"];
/// Longest text kept of an error.
const ERROR_CHARS_MAX: usize = 300;

/// What was heard about one item.
#[derive(Clone, Debug)]
pub enum Heard {
    /// The answer to a mutation.
    Mutation(Outcome<Acceptance>),
    /// The answer to a look-up.
    Lookup(Outcome<Lookup>),
    /// The answer to a question about an accepted request.
    Result(Outcome<Processed>),
    /// The answer about screening.
    Screening(Outcome<Screening>),
}

/// What an item counts as in the run's report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tally {
    /// Accepted, found or done.
    Done,
    /// Refused.
    Refused,
    /// Outcome unclear.
    Unknown,
    /// Not ready; asked again later.
    Pending,
    /// No longer wanted.
    Skipped,
    /// Not executed; tried again later.
    Back,
    /// Never received; sent again.
    Resend,
}

/// What is to be written.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The request afterwards.
    pub request: Request,
    /// Writes to the state and the order.
    pub sets: Vec<Set>,
    /// The transaction number of the answer.
    pub np: String,
    /// The confirmed amount.
    pub confirmed_amount: i64,
    /// Alerts to raise.
    pub alerts: Vec<(AlertKind, Alert)>,
    /// Alerts of the order whose cause is gone.
    pub resolved: Vec<AlertKind>,
    /// A row of answers.
    pub detail: Option<Detail>,
    /// Whether the `*_REG` row whose outcome this is becomes ERROR too.
    pub fails_reg: bool,
    /// What it counts as.
    pub tally: Tally,
}

/// What a decision is made from.
#[derive(Clone, Copy)]
pub struct Case<'a> {
    /// The step.
    pub step: &'a Step,
    /// Settings.
    pub settings: &'a WorkerSettings,
    /// What the agency's codes mean.
    pub codes: &'a Codes,
    /// Now, unix ms.
    pub now: i64,
    /// The order with its state.
    pub pair: &'a Pair,
    /// The request as it is.
    pub request: &'a Request,
    /// For an outcome: the mutation it belongs to.
    pub reg: Option<&'a Request>,
}

/// The delay after some tries, with a random part that is the same whenever it is asked for: it depends on the request only.
#[must_use]
pub fn delay_ms(settings: &WorkerSettings, request: &Request, tries: i64) -> i64 {
    let base = settings.retry_ms(tries);
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in request.key.to_string().bytes().chain(tries.to_le_bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    let spread = i64::from(settings.jitter_percent);
    let percent = i64::try_from((hash >> 33) % 201).unwrap_or(100) - 100;
    base + base * spread / 100 * percent / 100
}

/// Whether an order waits for what screening says: nothing else is in progress, and it said nothing final.
#[must_use]
pub fn awaits_screening(pair: &Pair) -> bool {
    pair.order.state == StrState::Reg
        && pair.info.as_ref().is_some_and(|info| {
            info.result == ResultState::Complete
                && matches!(info.authorize, AuthorizeState::None | AuthorizeState::Delay)
        })
}

/// Whether a stored screening answer names hold codes.
fn asks_for_data(response: &str) -> bool {
    let answer: Option<serde_json::Value> = serde_json::from_str(response).ok();
    let codes = answer.and_then(|answer| answer.get("authoriHold")?.as_array().map(Vec::len));
    codes.is_some_and(|codes| codes > 0)
}

fn short(text: &str) -> String {
    text.chars().take(ERROR_CHARS_MAX).collect()
}

/// Decides.
#[must_use]
pub fn decide(case: Case<'_>, heard: Heard) -> Decision {
    match heard {
        Heard::Mutation(outcome) => case.mutation(outcome),
        Heard::Lookup(outcome) => case.lookup(outcome),
        Heard::Result(outcome) => case.result(outcome),
        Heard::Screening(outcome) => case.screening(outcome),
    }
}

impl<'a> Case<'a> {
    fn begin(&self, tally: Tally) -> Decision {
        Decision {
            request: self.request.clone(),
            sets: Vec::new(),
            np: String::new(),
            confirmed_amount: 0,
            alerts: Vec::new(),
            resolved: Vec::new(),
            detail: None,
            fails_reg: false,
            tally,
        }
    }

    fn ended(&self, state: RequestState, tally: Tally) -> Decision {
        let mut decision = self.begin(tally);
        let request = &mut decision.request;
        request.state = state;
        request.done_at = self.now;
        request.unclear = false;
        request.last_error.clear();
        (request.tries, request.misses, request.faults) = (0, 0, 0);
        decision.resolved = vec![
            AlertKind::RequestUnknown,
            AlertKind::StandbyOverdue,
            AlertKind::ResultOverdue,
        ];
        decision
    }

    /// Asked or sent again later; the number of tries grows.
    fn later(&self, state: RequestState, tally: Tally, why: &str) -> Decision {
        let mut decision = self.begin(tally);
        let request = &mut decision.request;
        request.state = state;
        request.last_error = short(why);
        request.next_attempt_at = self.now + delay_ms(self.settings, self.request, request.tries);
        request.tries += 1;
        decision
    }

    fn mutation(&self, outcome: Outcome<Acceptance>) -> Decision {
        match outcome {
            Outcome::Answered { value, response } => {
                self.accepted(value.accept_no.as_str(), None, response)
            }
            // Cancelled already is the outcome itself: there is nothing to ask for under another request's number.
            Outcome::AlreadyDone {
                accept_no,
                response,
                ..
            } if self.request.kind() == RequestType::DeleteReg => {
                let mut decision = self.ended(RequestState::Complete, Tally::Done);
                // Rule 8 of section 17: an accepted row names what accepted it; here the agency's earlier cancel.
                let earlier =
                    accept_no.map_or("ALREADY-CANCELLED".into(), |no| no.as_str().to_owned());
                decision.request.accept_no = earlier;
                decision.request.response = response;
                decision.sets = table::CANCEL_DONE.into();
                decision.resolved.push(AlertKind::CancelRefused);
                decision
            }
            Outcome::AlreadyDone {
                accept_no: Some(accept_no),
                accept_key,
                response,
                ..
            } => self.accepted(accept_no.as_str(), accept_key.as_ref(), response),
            Outcome::AlreadyDone { .. } => self.later(
                RequestState::Unknown,
                Tally::Unknown,
                "done already, under an unknown acceptance number",
            ),
            Outcome::Refused(refusal) => self.mutation_refused(refusal),
            Outcome::Failed(error) => self.mutation_failed(&error),
        }
    }

    /// `accept_key`: the request that it accepted in the place of this one, of the same order and for the same purpose.
    fn accepted(
        &self,
        accept_no: &str,
        accept_key: Option<&RequestKey>,
        response: String,
    ) -> Decision {
        let mut decision = self.ended(RequestState::Complete, Tally::Done);
        let own = &self.request.key;
        let other = accept_key
            .filter(|key| *key != own && key.order_no == own.order_no && key.kind == own.kind);
        decision.request.accept_no = accept_no.to_owned();
        decision.request.accept_key = other.map(ToString::to_string).unwrap_or_default();
        decision.request.response = response;
        decision.sets = self.step.writes.good.into();
        decision
    }

    fn mutation_refused(&self, refusal: Refusal) -> Decision {
        let registered_before = refusal
            .codes
            .iter()
            .any(|code| REGISTERED_BEFORE.contains(&code.as_str()));
        if registered_before
            && self.request.kind() == RequestType::OrderReg
            && self.request.attempt_count > 1
        {
            // An earlier sending did arrive after all: the look-up by order number finds it.
            return self.later(
                RequestState::Unknown,
                Tally::Unknown,
                "registered before; an earlier sending arrived",
            );
        }
        let mut decision = self.refused(&refusal.codes, "the agency refused it");
        decision.request.response = refusal.response;
        decision
    }

    fn refused(&self, codes: &[String], why: &str) -> Decision {
        let mut decision = self.ended(RequestState::Error, Tally::Refused);
        decision.request.last_error = short(&format!("{why}: {}", codes.join(" ")));
        decision.sets = self.step.writes.refused.into();
        let kind = self.step.writes.alert;
        decision
            .alerts
            .push((kind, Alert::of(&self.request.key, codes, why)));
        decision
    }

    fn mutation_failed(&self, error: &CallError) -> Decision {
        let why = error.to_string();
        if let CallError::OverLimit { .. } | CallError::Unavailable { .. } = error {
            let mut decision = self.refused(&[], &why);
            decision.request.attempt_count -= 1;
            return decision;
        }
        if !error.certainly_not_executed() {
            return self.later(RequestState::Unknown, Tally::Unknown, &why);
        }
        let mut decision = self.later(RequestState::Standby, Tally::Back, &why);
        let request = &mut decision.request;
        // It never really left.
        request.attempt_count -= 1;
        if let CallError::NotExecuted {
            retry_after: Some(wait),
            ..
        } = error
        {
            let wait = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
            request.next_attempt_at = request.next_attempt_at.max(self.now.saturating_add(wait));
        }
        if let CallError::Auth { .. } = error {
            request.next_attempt_at = self.now;
            request.tries = self.request.tries;
        }
        decision
    }

    fn lookup(&self, outcome: Outcome<Lookup>) -> Decision {
        let quiet = self.now >= self.request.sent_at + self.settings.quiet_ms();
        match outcome {
            Outcome::Answered {
                value: Lookup::Found(found),
                response,
            } => self.found(&found, response),
            Outcome::Answered {
                value: Lookup::NotFound,
                ..
            } if quiet => self.missed(),
            Outcome::Answered {
                value: Lookup::NotFound,
                ..
            } => {
                let mut decision = self.later(
                    RequestState::Unknown,
                    Tally::Unknown,
                    "not found; the quiet time is not over",
                );
                let request = &mut decision.request;
                request.misses = 0;
                let over = request.sent_at + self.settings.quiet_ms();
                request.next_attempt_at = request.next_attempt_at.min(over);
                decision
            }
            Outcome::Failed(CallError::Unavailable { .. }) => self.no_lookup(quiet),
            Outcome::Failed(error) => self.still_unknown(&error.to_string()),
            // It answers, and says nothing: as good as no look-up.
            Outcome::Refused(_) => self.no_lookup(quiet),
            Outcome::AlreadyDone { .. } => {
                self.still_unknown("the agency answered a look-up with another call's word")
            }
        }
    }

    fn found(&self, found: &Found, response: String) -> Decision {
        let kind = self.request.kind();
        match found.by {
            FoundBy::RequestKey => self.accepted(found.accept_no.as_str(), None, response),
            FoundBy::ShopTransactionId if kind == RequestType::OrderReg => self.accepted(
                found.accept_no.as_str(),
                found.accept_key.as_ref(),
                response,
            ),
            FoundBy::NpTransactionId if kind == RequestType::BillingReg => {
                if found.billed_amount == Some(self.request.amount) {
                    let accept_key = found.accept_key.as_ref();
                    return self.accepted(found.accept_no.as_str(), accept_key, response);
                }
                let mut decision = self.unclear("billed under another request with another amount");
                let detail = format!(
                    "expected {} yen, the agency has {:?}",
                    self.request.amount, found.billed_amount
                );
                decision.alerts.push((
                    AlertKind::BilledAmountMismatch,
                    Alert::of(&self.request.key, &[], detail),
                ));
                decision
            }
            // Another request of the order is no proof about this one.
            FoundBy::ShopTransactionId | FoundBy::NpTransactionId => {
                self.still_unknown("the look-up found another request")
            }
        }
    }

    fn missed(&self) -> Decision {
        let misses = self.request.misses + 1;
        if misses < MISSES_NEEDED {
            let mut decision = self.later(RequestState::Unknown, Tally::Unknown, "not found once");
            decision.request.misses = misses;
            decision.request.next_attempt_at = self.now + delay_ms(self.settings, self.request, 0);
            return decision;
        }
        self.never_received()
    }

    /// Certain by now, or harmless to repeat: back to STANDBY, or given up after the last permitted sending.
    fn never_received(&self) -> Decision {
        if self.request.attempt_count >= i64::from(self.settings.sends) {
            return self.refused(
                &[],
                "sent as often as permitted and never received by the agency",
            );
        }
        let mut decision = self.begin(Tally::Resend);
        let request = &mut decision.request;
        request.state = RequestState::Standby;
        (request.tries, request.misses) = (0, 0);
        request.next_attempt_at = self.now;
        request.last_error = "never received by the agency; sent again".into();
        decision.resolved = vec![AlertKind::RequestUnknown];
        decision
    }

    /// The agency has no look-up (10.2): a cancel is repeated, a change after the quiet time; the others wait for an operator.
    fn no_lookup(&self, quiet: bool) -> Decision {
        match self.request.kind() {
            RequestType::DeleteReg => self.never_received(),
            RequestType::UpdateReg if quiet => self.never_received(),
            RequestType::UpdateReg => self.later(
                RequestState::Unknown,
                Tally::Unknown,
                "the quiet time is not over",
            ),
            _ => {
                let mut decision =
                    self.still_unknown("this agency has no look-up; an operator decides");
                let alert = Alert::of(
                    &self.request.key,
                    &[],
                    "nobody can look up whether it was executed; ask the agency and decide",
                );
                decision.alerts.push((AlertKind::RequestUnknown, alert));
                decision
            }
        }
    }

    fn still_unknown(&self, why: &str) -> Decision {
        if self.now - self.request.sent_at > ms(self.settings.unknown_s) {
            return self.unclear(why);
        }
        let mut decision = self.later(RequestState::Unknown, Tally::Unknown, why);
        // "In a row": a look-up without an answer begins the count anew.
        decision.request.misses = 0;
        if self.now >= self.request.sent_at + self.settings.quiet_ms() {
            decision.alerts.push((
                AlertKind::RequestUnknown,
                Alert::of(&self.request.key, &[], short(why)),
            ));
        }
        decision
    }

    /// Given to an operator without anybody knowing what became of it.
    fn unclear(&self, why: &str) -> Decision {
        let mut decision = self.ended(RequestState::Error, Tally::Refused);
        decision.resolved.clear();
        decision.request.unclear = true;
        decision.request.last_error = short(why);
        decision.sets = self.step.writes.refused.into();
        let detail = format!("outcome unknown to the end: {why}; ask the agency and decide");
        decision.alerts.push((
            AlertKind::RequestUnknown,
            Alert::of(&self.request.key, &[], short(&detail)),
        ));
        decision
    }

    fn result(&self, outcome: Outcome<Processed>) -> Decision {
        if self.reg.is_none() {
            let mut decision = self.ended(RequestState::Skipped, Tally::Skipped);
            // It says nothing about the request that is under way now.
            decision.resolved.clear();
            decision.request.last_error =
                "a later request took the place of the one asked about".into();
            return decision;
        }
        match outcome {
            Outcome::Answered { value, response } => {
                let mut decision = match value.status {
                    ProcessedStatus::Pending => {
                        self.later(RequestState::Standby, Tally::Pending, "not processed yet")
                    }
                    ProcessedStatus::Done => self.done(&value),
                    ProcessedStatus::Rejected => self.rejected(&value),
                };
                decision.request.response = response;
                decision
            }
            Outcome::AlreadyDone { response, .. } => {
                let mut decision = self.done_good(None);
                decision.request.response = response;
                decision
            }
            Outcome::Refused(refusal) => {
                // An unknown acceptance number is never taken as "not done": the state stays, an operator decides.
                let mut decision = self.ended(RequestState::Error, Tally::Refused);
                decision.resolved.clear();
                decision.request.response = refusal.response;
                decision.request.last_error = short(&format!(
                    "the agency does not know the request: {}",
                    refusal.codes.join(" ")
                ));
                let alert = Alert::of(
                    &self.request.key,
                    &refusal.codes,
                    "accepted before, and now the agency does not know it; ask the agency",
                );
                decision.alerts.push((AlertKind::RequestUnknown, alert));
                decision
            }
            Outcome::Failed(error @ CallError::Unavailable { .. }) => {
                self.violation(&error.to_string())
            }
            Outcome::Failed(error) => {
                self.later(RequestState::Standby, Tally::Back, &error.to_string())
            }
        }
    }

    /// The answer contradicts what we know: nothing is adopted.
    fn violation(&self, why: &str) -> Decision {
        let mut decision = self.ended(RequestState::Error, Tally::Refused);
        decision.resolved.clear();
        decision.request.last_error = short(why);
        decision.alerts.push((
            AlertKind::ContractViolation,
            Alert::of(&self.request.key, &[], short(why)),
        ));
        decision
    }

    fn done(&self, value: &Processed) -> Decision {
        let order_no = &self.request.key.order_no;
        if value
            .shop_transaction_id
            .as_ref()
            .is_some_and(|theirs| theirs != order_no)
        {
            return self.violation("the answer belongs to another order; nothing was adopted");
        }
        let np = value
            .np_transaction_id
            .as_ref()
            .map(|np| np.as_str().to_owned());
        let known = self.pair.info.as_ref().map_or("", |info| info.np.as_str());
        if np
            .as_ref()
            .is_some_and(|theirs| !known.is_empty() && theirs != known)
        {
            return self.violation("the answer names another transaction; nothing was adopted");
        }
        if self.request.kind() == RequestType::OrderResult && np.is_none() {
            return self.violation("registered, but the answer names no transaction");
        }
        let mut decision = self.done_good(value.billed_amount);
        decision.detail = Some(Detail {
            np: np.clone().unwrap_or_default(),
            shop: value.shop_transaction_id.clone().unwrap_or_default(),
            codes: value.codes.clone(),
            ..Detail::default()
        });
        decision.np = np.unwrap_or_default();
        decision
    }

    fn done_good(&self, confirmed: Option<i64>) -> Decision {
        let asked = self.reg.map_or(0, |reg| reg.amount);
        let mut decision = self.ended(RequestState::Complete, Tally::Done);
        decision.sets = self.step.writes.good.into();
        decision.confirmed_amount = confirmed.unwrap_or(asked);
        let (kind, expected) = match self.request.kind() {
            RequestType::OrderResult | RequestType::UpdateResult => {
                (AlertKind::AmountMismatch, asked)
            }
            RequestType::BillingResult => (
                AlertKind::BilledAmountMismatch,
                self.pair.info.as_ref().map_or(0, |info| info.billed_amount),
            ),
            _ => {
                decision.resolved.push(AlertKind::CancelRefused);
                return decision;
            }
        };
        decision.resolved.push(match self.request.kind() {
            RequestType::OrderResult => AlertKind::RegistrationRefused,
            RequestType::UpdateResult => AlertKind::UpdateRefused,
            _ => AlertKind::BillingRefused,
        });
        match confirmed {
            // The agency has the amount that it was to have, whatever it confirmed before.
            Some(amount) if amount == expected => decision.resolved.push(AlertKind::AmountMismatch),
            Some(amount) => {
                let detail = format!("expected {expected} yen, the agency confirms {amount} yen");
                decision
                    .alerts
                    .push((kind, Alert::of(&self.request.key, &[], detail)));
            }
            None => {
                let detail = format!(
                    "expected {expected} yen, the agency confirms no amount; compare it by hand"
                );
                decision
                    .alerts
                    .push((kind, Alert::of(&self.request.key, &[], detail)));
            }
        }
        decision
    }

    fn rejected(&self, value: &Processed) -> Decision {
        let call = match self.request.kind() {
            RequestType::DeleteResult => Some(Call::Cancel),
            RequestType::BillingResult => Some(Call::Bill),
            _ => None,
        };
        if call.is_some_and(|call| self.codes.judge(call, &value.codes) == Verdict::AlreadyDone) {
            return self.done_good(value.billed_amount);
        }
        let mut decision = self.refused(&value.codes, "the agency refused it after acceptance");
        decision.fails_reg = self.request.kind() == RequestType::BillingResult;
        decision.detail = Some(Detail {
            np: value
                .np_transaction_id
                .as_ref()
                .map(|np| np.as_str().to_owned())
                .unwrap_or_default(),
            shop: value.shop_transaction_id.clone().unwrap_or_default(),
            codes: value.codes.clone(),
            ..Detail::default()
        });
        decision
    }

    fn screening(&self, outcome: Outcome<Screening>) -> Decision {
        if !awaits_screening(self.pair) {
            return self.ended(RequestState::Skipped, Tally::Skipped);
        }
        match outcome {
            Outcome::Answered { value, response } => {
                let mut decision = self.screened(&value);
                decision.request.response = response;
                decision
            }
            Outcome::Failed(error) => {
                self.later(RequestState::Standby, Tally::Back, &error.to_string())
            }
            Outcome::Refused(Refusal { codes, .. }) | Outcome::AlreadyDone { codes, .. } => {
                let mut decision = self.later(
                    RequestState::Standby,
                    Tally::Back,
                    "the agency refused the question about screening",
                );
                let alert = Alert::of(
                    &self.request.key,
                    &codes,
                    "the agency refused the question about screening",
                );
                decision.alerts.push((AlertKind::ContractViolation, alert));
                decision
            }
        }
    }

    fn screened(&self, value: &Screening) -> Decision {
        let mut reasons = value.hold.clone();
        reasons.extend(value.ng.clone());
        let detail = |word| Detail {
            np: self
                .pair
                .info
                .as_ref()
                .map(|info| info.np.clone())
                .unwrap_or_default(),
            shop: self.request.key.order_no.clone(),
            authori_result: value.authori_result.clone(),
            authori_word: word,
            codes: reasons.clone(),
        };
        match &value.word {
            ScreeningWord::Approved => {
                let mut decision = self.ended(RequestState::Complete, Tally::Done);
                decision.sets = self.step.writes.good.into();
                decision
                    .resolved
                    .extend([AlertKind::HoldNeedsData, AlertKind::DelayOverdue]);
                decision.detail = Some(detail("approved"));
                decision
            }
            ScreeningWord::Refused => {
                let mut decision = self.ended(RequestState::Complete, Tally::Refused);
                decision.sets = self.step.writes.refused.into();
                decision
                    .resolved
                    .extend([AlertKind::HoldNeedsData, AlertKind::DelayOverdue]);
                decision.alerts.push((
                    self.step.writes.alert,
                    Alert::of(
                        &self.request.key,
                        &reasons,
                        "screening refused the buyer; the order is closed",
                    ),
                ));
                decision.detail = Some(detail("refused"));
                decision
            }
            ScreeningWord::Held => {
                let mut decision = self.later(RequestState::Standby, Tally::Pending, "held");
                decision.request.next_attempt_at = self.now + ms(self.settings.hold_poll_s);
                let held_before = self
                    .pair
                    .info
                    .as_ref()
                    .is_some_and(|info| info.authorize == AuthorizeState::Delay);
                // Once, whether the agency asks for data at the beginning of the hold or later.
                let asked_before = held_before && asks_for_data(&self.request.response);
                if !held_before {
                    decision.sets = table::SCREENING_HELD.into();
                }
                if !held_before || (!value.hold.is_empty() && !asked_before) {
                    decision.detail = Some(detail("held"));
                }
                if !value.hold.is_empty() && !asked_before {
                    let until = value.required_date.as_deref().unwrap_or("no date given");
                    let alert = Alert::of(
                        &self.request.key,
                        &value.hold,
                        format!("the agency asks for data until: {}", short(until)),
                    );
                    decision.alerts.push((AlertKind::HoldNeedsData, alert));
                }
                decision
            }
            ScreeningWord::NotYet => {
                self.later(RequestState::Standby, Tally::Pending, "not screened yet")
            }
            ScreeningWord::Other(word) => {
                let mut decision = self.later(
                    RequestState::Standby,
                    Tally::Pending,
                    "unknown screening word",
                );
                let alert = Alert::of(
                    &self.request.key,
                    &[short(word)],
                    "the agency answered with a screening word we do not know",
                );
                decision.alerts.push((AlertKind::ContractViolation, alert));
                decision
            }
        }
    }
}
