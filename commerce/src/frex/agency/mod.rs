//! The agency as the worker sees it: seven calls, batches in, one outcome per item out (`spec/frex.md` 6).
//!
//! [`Agency`] is the only door. Behind it stand [`design::DesignClient`], which speaks the protocol with acceptance numbers,
//! and [`kakebarai::KakebaraiAdapter`], which maps the same calls to the public interface of NP Kakebarai; [`connect`] chooses
//! by the configuration. Nothing in here repeats a call, keeps a state of an order or reads the clock: whether something is sent again is
//! the worker's decision, made from the [`Outcome`].
//!
//! *Invariant*: an outcome never claims more than is certain. `NotSent`, `NotExecuted`, `Auth`, `OverLimit` and `Unavailable`
//! say that nothing was executed; everything unclear is `Ambiguous`.

pub mod codes;
pub mod design;
pub mod error;
#[cfg(test)]
mod golden_tests;
pub mod items;
pub mod kakebarai;
pub mod limits;
pub mod mask;
mod matching;
#[cfg(test)]
mod samples;
pub mod settings;
mod transport;

use std::sync::Arc;

use crate::frex::key::RequestKey;
use async_trait::async_trait;

use crate::secret::Secret;
use codes::Codes;
use design::DesignClient;
use kakebarai::{KakebaraiAdapter, Shelf};
use settings::{AgencySettings, Protocol, SettingsError};

pub use error::{CallError, Violation, ViolationKind};
pub use items::{
    AcceptNo, Acceptance, AuthorizationQuery, Bill, Buyer, Cancel, Delivery, Detail, Found,
    FoundBy, Item, Lookup, LookupQuery, NpTransactionId, Processed, ProcessedStatus, Registration,
    ResultQuery, Screening, ScreeningWord, TaxRateSummary, Update,
};

/// The calls of the agency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// Register transactions.
    Register,
    /// Change amounts.
    Update,
    /// Cancel transactions.
    Cancel,
    /// Ask for bills.
    Bill,
    /// Fetch outcomes by acceptance number.
    Results,
    /// Fetch screening answers.
    Authorizations,
    /// Ask whether a request ever arrived.
    Lookup,
}

impl Call {
    /// Every call, its name in logs and metrics, and its path below the base of the design protocol.
    pub const TABLE: [(Self, &'static str, &'static str); 7] = [
        (Self::Register, "register", "/frex/v1/transactions"),
        (Self::Update, "update", "/frex/v1/transactions/update"),
        (Self::Cancel, "cancel", "/frex/v1/transactions/cancel"),
        (Self::Bill, "bill", "/frex/v1/bills/request"),
        (Self::Results, "results", "/frex/v1/results/find"),
        (
            Self::Authorizations,
            "authorizations",
            "/frex/v1/authorizations/find",
        ),
        (Self::Lookup, "lookup", "/frex/v1/requests/find"),
    ];

    /// The name in logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        Self::TABLE[self as usize].1
    }

    /// The path below the base of the design protocol.
    #[must_use]
    pub const fn path(self) -> &'static str {
        Self::TABLE[self as usize].2
    }

    /// Whether the agency changes something because of it.
    #[must_use]
    pub const fn is_mutation(self) -> bool {
        matches!(
            self,
            Self::Register | Self::Update | Self::Cancel | Self::Bill
        )
    }
}

impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What became of one item of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<T> {
    /// The agency answered this item, once and readably.
    Answered {
        /// The answer.
        value: T,
        /// The item's answer as it may be stored: no free text, no unknown field.
        response: String,
    },
    /// Cancel: it is cancelled already. Billing: it is billed already (`spec/frex.md` 6.7). The amount is not verified by it.
    AlreadyDone {
        /// The acceptance number of the request that did it, if the agency names it.
        accept_no: Option<AcceptNo>,
        /// The key of that request, if the agency names it.
        accept_key: Option<RequestKey>,
        /// The agency's codes.
        codes: Vec<String>,
        /// The item's answer as it may be stored.
        response: String,
    },
    /// The agency definitely refused this item: nothing was changed.
    Refused(Refusal),
    /// No answer for this item: the error says what is certain.
    Failed(CallError),
}

/// A definite refusal of one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The agency's codes; empty if it named none.
    pub codes: Vec<String>,
    /// Whose fault the codes say it is.
    pub fault: codes::Fault,
    /// The item's answer as it may be stored.
    pub response: String,
}

/// The outcomes of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<T> {
    /// One outcome per item given, in the order given.
    pub outcomes: Vec<Outcome<T>>,
    /// Where the agency broke the contract; each is worth an alert.
    pub violations: Vec<Violation>,
}

impl<T> Answer<T> {
    /// The same error for every item of a call.
    #[must_use]
    pub fn failed(count: usize, error: &CallError) -> Self {
        Self {
            outcomes: (0..count).map(|_| Outcome::Failed(error.clone())).collect(),
            violations: Vec::new(),
        }
    }

    /// The failure that concerns more than its own item, if there is one: rejected credentials first, then a broken
    /// contract, then a pause the agency asked for, then a connection that could not be made.
    #[must_use]
    pub fn stop(&self) -> Option<&CallError> {
        let failures = self.outcomes.iter().filter_map(|outcome| match outcome {
            Outcome::Failed(error) => Some(error),
            _ => None,
        });
        failures
            .filter(|error| error.reach() > error::Reach::Item)
            .max_by_key(|error| error.reach())
    }
}

/// The agency's calls. An empty batch calls nobody and answers with no outcomes.
///
/// Implementations check every item's limits before the first byte leaves, cut a batch that is too large, and find the item
/// at fault when a whole batch is refused, so that one bad item never holds the others back.
#[async_trait]
pub trait Agency: Send + Sync {
    /// What the agency's codes mean.
    fn codes(&self) -> &Codes;

    /// Registers transactions (`spec/frex.md` 6.2). Not safe to repeat without a look-up.
    async fn register(&self, items: &[Registration]) -> Answer<Acceptance>;

    /// Sets absolute new amounts (6.3).
    async fn update(&self, items: &[Update]) -> Answer<Acceptance>;

    /// Cancels transactions (6.3).
    async fn cancel(&self, items: &[Cancel]) -> Answer<Acceptance>;

    /// Asks the agency to bill the buyers (6.3). Never safe to repeat without a look-up.
    async fn bill(&self, items: &[Bill]) -> Answer<Acceptance>;

    /// Whether [`Agency::results`] asks the agency. If not, it tells what was kept of earlier answers, and to compare with it says
    /// nothing.
    fn is_asked_for_results(&self) -> bool {
        true
    }

    /// Fetches what became of accepted requests (6.4).
    async fn results(&self, items: &[ResultQuery]) -> Answer<Processed>;

    /// Fetches screening answers (6.5).
    async fn authorizations(&self, items: &[AuthorizationQuery]) -> Answer<Screening>;

    /// Asks whether requests ever arrived (6.6). That nothing was found counts only after the quiet time.
    async fn lookup(&self, items: &[LookupQuery]) -> Answer<Lookup>;
}

/// The agency of a configuration. `shelf` is used only by the public interface, which has no memory of its answers.
///
/// # Errors
/// A setting cannot be used.
pub fn connect(
    settings: &AgencySettings,
    passwords: Vec<Secret>,
    shelf: Arc<dyn Shelf>,
    observer: Arc<dyn CallObserver>,
) -> Result<Arc<dyn Agency>, SettingsError> {
    Ok(match settings.protocol {
        Protocol::Design => Arc::new(DesignClient::new(settings, passwords, observer)?),
        Protocol::NpKakebarai => {
            Arc::new(KakebaraiAdapter::new(settings, passwords, shelf, observer)?)
        }
    })
}

/// Hears of every exchange with the agency, for metrics.
pub trait CallObserver: Send + Sync {
    /// One exchange ended. `class` is none if the agency answered, else [`CallError::class`] or `bad_batch`.
    fn call_ended(&self, call: Call, seconds: f64, class: Option<&'static str>);
}

/// An observer that does nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObserver;

impl CallObserver for NoObserver {
    fn call_ended(&self, _call: Call, _seconds: f64, _class: Option<&'static str>) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of calls follows the variants, so that names and paths belong to their call.
    #[test]
    fn the_table_follows_the_variants() {
        for (index, (call, name, path)) in Call::TABLE.into_iter().enumerate() {
            assert_eq!(call as usize, index);
            assert_eq!((call.name(), call.path()), (name, path));
        }
    }

    /// Rejected credentials outrank everything else in one answer; an item's own failure stops nothing.
    #[test]
    fn the_widest_failure_stops() {
        let ambiguous = CallError::Ambiguous {
            reason: "timeout".into(),
        };
        let mut answer: Answer<Acceptance> = Answer::failed(2, &ambiguous);
        assert_eq!(answer.stop(), None);
        let pause = CallError::NotExecuted {
            status: 429,
            retry_after: None,
        };
        let auth = CallError::Auth { status: 401 };
        answer.outcomes.push(Outcome::Failed(auth.clone()));
        answer.outcomes.push(Outcome::Failed(pause));
        assert_eq!(answer.stop(), Some(&auth));
    }
}
