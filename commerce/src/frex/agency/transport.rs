//! One exchange over HTTP, and batches made of exchanges (`spec/frex.md` 6.1, 9).
//!
//! Knows statuses, limits and passwords, and nothing of what the items mean. A batch is cut into parts of the configured size;
//! a part that the agency refuses as a whole is halved until the item at fault stands alone. Nothing else is sent twice.

use std::collections::{HashSet, VecDeque};
use std::error::Error;
use std::fmt::Write;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::{Client, Response, StatusCode, redirect, retry};
use url::Url;
use zeroize::Zeroizing;

use super::codes::{Codes, Fault, Verdict};
use super::items::Item;
use super::limits::LimitError;
use super::matching::{self, Asked, Unreadable};
use super::settings::{self, AgencySettings, SettingsError};
use super::{Answer, Call, CallError, CallObserver, Outcome, Refusal};
use crate::secret::Secret;

/// How long an idle connection is kept: shorter than servers keep theirs, so that a call does not meet a connection that is
/// just being closed.
const IDLE: Duration = Duration::from_secs(2);
/// Longest wait the agency can ask for; it is asked again after that.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);
/// The wait when Retry-After is there and is no number of seconds.
const RETRY_AFTER_UNREADABLE: Duration = Duration::from_secs(60);

/// Reads the outcomes of items from the body of an answer.
type Decode<I, T> = fn(Asked<'_>, &[u8], &[&I]) -> Result<Answer<T>, Unreadable>;

/// How one call is written and read.
pub(super) struct Exchange<I, T> {
    /// The call.
    pub call: Call,
    /// Path below the base address.
    pub path: &'static str,
    /// The body of a request.
    pub encode: fn(&[&I]) -> Vec<u8>,
    /// The outcomes from the body of an answer.
    pub decode: Decode<I, T>,
}

/// The way to the agency.
pub(super) struct Transport {
    http: Client,
    base: Url,
    codes: Codes,
    shop_code: String,
    passwords: Vec<Secret>,
    /// Which password was last accepted.
    password_now: AtomicUsize,
    timeout: Duration,
    items_max: usize,
    answer_bytes_max: usize,
    observer: Arc<dyn CallObserver>,
}

/// Why an exchange has no answer.
enum ExchangeError {
    /// The whole request was refused by its format; nothing was executed.
    BadBatch {
        /// The agency's codes.
        codes: Vec<String>,
    },
    /// Anything else.
    Call(CallError),
}

impl From<CallError> for ExchangeError {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl ExchangeError {
    fn class(&self) -> &'static str {
        match self {
            Self::BadBatch { .. } => "bad_batch",
            Self::Call(error) => error.class(),
        }
    }
}

impl Transport {
    /// A client of the agency at the configured address.
    pub fn new(
        settings: &AgencySettings,
        passwords: Vec<Secret>,
        observer: Arc<dyn CallObserver>,
    ) -> Result<Self, SettingsError> {
        let base = settings.check()?;
        settings::check_passwords(&passwords)?;
        let mut headers = HeaderMap::new();
        let terminal = HeaderValue::from_str(&settings.terminal_id);
        let terminal = terminal.map_err(|_| SettingsError::Text {
            key: "terminal_id",
            more: "",
        })?;
        headers.insert("x-np-terminal-id", terminal);
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let http = Client::builder()
            .default_headers(headers)
            .connect_timeout(Duration::from_millis(settings.connect_timeout_ms))
            .timeout(Duration::from_millis(settings.timeout_ms))
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .no_proxy()
            .http1_only()
            .pool_idle_timeout(IDLE)
            .build()
            .map_err(|error| SettingsError::Client {
                reason: chain(&error),
            })?;
        Ok(Self {
            http,
            base,
            codes: Codes::new(&settings.codes),
            shop_code: settings.shop_code.clone(),
            passwords,
            password_now: AtomicUsize::new(0),
            items_max: settings.items_max,
            timeout: Duration::from_millis(settings.timeout_ms),
            answer_bytes_max: settings.answer_bytes_max,
            observer,
        })
    }

    /// What the agency's codes mean.
    pub fn codes(&self) -> &Codes {
        &self.codes
    }

    fn asked(&self, call: Call) -> Asked<'_> {
        let codes = &self.codes;
        Asked { call, codes }
    }

    /// Sends all items that keep their limits and gives each its outcome.
    pub async fn run<I: Item, T>(&self, exchange: &Exchange<I, T>, items: &[I]) -> Answer<T> {
        let mut outcomes: Vec<Option<Outcome<T>>> = Vec::new();
        let mut sent = Vec::new();
        let mut keys = HashSet::new();
        for (at, item) in items.iter().enumerate() {
            let twice = LimitError::KeyTwice { key: item.key() };
            let unique = keys.insert(item.key());
            match item.check().and(if unique { Ok(()) } else { Err(twice) }) {
                Ok(()) => {
                    sent.push(at);
                    outcomes.push(None);
                }
                Err(problem) => {
                    outcomes.push(Some(Outcome::Failed(CallError::OverLimit { problem })))
                }
            }
        }
        let wanted: Vec<&I> = sent.iter().map(|&at| &items[at]).collect();
        let answer = self.run_checked(exchange, &wanted).await;
        for (at, outcome) in sent.into_iter().zip(answer.outcomes) {
            outcomes[at] = Some(outcome);
        }
        let outcomes: Vec<_> = outcomes.into_iter().flatten().collect();
        assert_eq!(outcomes.len(), items.len(), "an item lost its outcome");
        Answer {
            outcomes,
            violations: answer.violations,
        }
    }

    /// Parts, halves where a part is refused as a whole, and an end where going on makes no sense.
    async fn run_checked<I: Item, T>(&self, exchange: &Exchange<I, T>, items: &[&I]) -> Answer<T> {
        let mut outcomes: Vec<Option<Outcome<T>>> = items.iter().map(|_| None).collect();
        let mut violations = Vec::new();
        let mut parts: VecDeque<Range<usize>> = (0..items.len())
            .step_by(self.items_max)
            .map(|start| start..items.len().min(start + self.items_max))
            .collect();
        let began = Instant::now();
        while let Some(part) = parts.pop_front() {
            // The quiet time of a mutation is reckoned from its mark, so what has not left by now must not leave under this one.
            if began.elapsed() > self.timeout {
                parts.push_front(part);
                for slot in parts.drain(..).flatten() {
                    outcomes[slot] = Some(Outcome::Failed(too_late()));
                }
                break;
            }
            match self.exchange(exchange, &items[part.clone()]).await {
                Ok(answer) => {
                    for (slot, outcome) in outcomes[part].iter_mut().zip(answer.outcomes) {
                        *slot = Some(outcome);
                    }
                    violations.extend(answer.violations);
                }
                Err(ExchangeError::BadBatch { codes }) if part.len() == 1 => {
                    outcomes[part.start] =
                        Some(Outcome::Refused(refusal(self.asked(exchange.call), codes)));
                }
                Err(ExchangeError::BadBatch { .. }) => {
                    let middle = part.start + part.len() / 2;
                    parts.push_front(middle..part.end);
                    parts.push_front(part.start..middle);
                }
                Err(ExchangeError::Call(error)) => {
                    for slot in &mut outcomes[part] {
                        *slot = Some(Outcome::Failed(error.clone()));
                    }
                    let rest = rest_of(&error);
                    for slot in outcomes.iter_mut().filter(|slot| slot.is_none()) {
                        *slot = Some(Outcome::Failed(rest.clone()));
                    }
                    break;
                }
            }
        }
        let outcomes: Vec<_> = outcomes.into_iter().flatten().collect();
        assert_eq!(outcomes.len(), items.len(), "a part lost its outcome");
        Answer {
            outcomes,
            violations,
        }
    }

    /// One request and its answer, observed and logged.
    async fn exchange<I: Item, T>(
        &self,
        exchange: &Exchange<I, T>,
        items: &[&I],
    ) -> Result<Answer<T>, ExchangeError> {
        let call = exchange.call;
        let body = (exchange.encode)(items);
        let request_id = format!("{:032x}", rand::random::<u128>());
        let started = Instant::now();
        let read = match self.post(exchange, &request_id, body).await {
            Ok(body) => (exchange.decode)(self.asked(call), &body, items).map_err(|error| {
                CallError::Ambiguous {
                    reason: error.to_string(),
                }
                .into()
            }),
            Err(error) => Err(error),
        };
        let seconds = started.elapsed().as_secs_f64();
        let class = read.as_ref().err().map(ExchangeError::class);
        self.observer.call_ended(call, seconds, class);
        let count = items.len();
        match &read {
            Ok(answer) => {
                log::debug!(
                    "frex {call}: {count} items answered in {seconds:.3} s, id {request_id}"
                );
                for violation in &answer.violations {
                    let kind = violation.kind.as_str();
                    let key = &violation.key;
                    log::warn!("frex {call}: contract violation {kind} at {key}, id {request_id}");
                }
            }
            Err(ExchangeError::BadBatch { codes }) => {
                let codes = codes.join(",");
                log::warn!("frex {call}: batch of {count} refused: {codes}, id {request_id}");
            }
            Err(ExchangeError::Call(error)) => {
                log::warn!("frex {call}: {count} items: {error}, id {request_id}");
            }
        }
        read
    }

    /// Posts with the password that was accepted last, and with the other one if that is rejected.
    async fn post<I, T>(
        &self,
        exchange: &Exchange<I, T>,
        request_id: &str,
        body: Vec<u8>,
    ) -> Result<Vec<u8>, ExchangeError> {
        let first = self.password_now.load(Ordering::Relaxed);
        for turn in 0..self.passwords.len() {
            let at = (first + turn) % self.passwords.len();
            let last = turn + 1 == self.passwords.len();
            let response = self
                .send(exchange.path, request_id, body.clone(), at)
                .await?;
            if response.status() == StatusCode::UNAUTHORIZED && !last {
                log::warn!(
                    "frex: agency password {} is rejected, trying the other",
                    at + 1
                );
                continue;
            }
            if response.status() != StatusCode::UNAUTHORIZED {
                self.password_now.store(at, Ordering::Relaxed);
            }
            return self.judge(exchange.call, response).await;
        }
        unreachable!("there is at least one password");
    }

    async fn send(
        &self,
        path: &str,
        request_id: &str,
        body: Vec<u8>,
        password: usize,
    ) -> Result<Response, CallError> {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        let request = self
            .http
            .post(url)
            .header(header::CONTENT_TYPE, "application/json; charset=utf-8")
            .header("x-request-id", request_id)
            .header(header::AUTHORIZATION, self.basic(password))
            .body(body);
        request.send().await.map_err(|error| {
            // The connector speaks before the first byte of the request: name, connection, TLS.
            let sent = !error.is_connect();
            let reason = chain(&error.without_url());
            if sent {
                CallError::Ambiguous { reason }
            } else {
                CallError::NotSent { reason }
            }
        })
    }

    fn basic(&self, password: usize) -> HeaderValue {
        let shop_code = &self.shop_code;
        let password = self.passwords[password].expose();
        let pair = Zeroizing::new(format!("{shop_code}:{password}"));
        let text = Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
        // Base64 is made of characters that a header can hold.
        let mut value = HeaderValue::from_str(&text).expect("base64 fits into a header");
        value.set_sensitive(true);
        value
    }

    /// What a status means; the body is read where it matters.
    async fn judge(&self, call: Call, response: Response) -> Result<Vec<u8>, ExchangeError> {
        let status = response.status().as_u16();
        let retry_after = response.headers().get(header::RETRY_AFTER).map(|value| {
            let seconds = value
                .to_str()
                .ok()
                .and_then(|text| text.trim().parse().ok());
            let asked = seconds.map_or(RETRY_AFTER_UNREADABLE, Duration::from_secs);
            asked.min(RETRY_AFTER_MAX)
        });
        match status {
            200 | 202 => Ok(self.body(response).await?),
            400 | 413 | 422 => {
                let body = self.body(response).await?;
                match matching::batch_codes(&body) {
                    Some(codes) if self.codes.judge(call, &codes) == Verdict::System => Err(
                        ambiguous(format!("the agency failed: {}", codes.join(", "))),
                    ),
                    Some(codes) => Err(ExchangeError::BadBatch { codes }),
                    None if status == 413 => Err(ExchangeError::BadBatch {
                        codes: vec!["HTTP_413".into()],
                    }),
                    None => Err(ambiguous(format!("status {status} without a code"))),
                }
            }
            401 | 403 => Err(CallError::Auth { status }.into()),
            429 => Err(CallError::NotExecuted {
                status,
                retry_after,
            }
            .into()),
            503 if retry_after.is_some() => Err(CallError::NotExecuted {
                status,
                retry_after,
            }
            .into()),
            408 | 500..=599 => Err(ambiguous(format!("status {status}"))),
            _ => Err(CallError::Contract {
                reason: format!("status {status}"),
            }
            .into()),
        }
    }

    /// The body, as long as it keeps the limit.
    async fn body(&self, mut response: Response) -> Result<Vec<u8>, ExchangeError> {
        let mut body = Vec::new();
        loop {
            let chunk = response.chunk().await;
            let chunk = chunk.map_err(|error| ambiguous(chain(&error.without_url())))?;
            let Some(chunk) = chunk else {
                return Ok(body);
            };
            if body.len() + chunk.len() > self.answer_bytes_max {
                let max = self.answer_bytes_max;
                return Err(ambiguous(format!("the answer is longer than {max} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
    }
}

/// For what did not get its turn within the time of one call.
pub(super) fn too_late() -> CallError {
    CallError::NotSent {
        reason: "the parts before it took too long".into(),
    }
}

/// What the items get that were not sent because an earlier part failed.
pub(super) fn rest_of(error: &CallError) -> CallError {
    match error {
        CallError::Auth { .. } | CallError::NotExecuted { .. } | CallError::NotSent { .. } => {
            error.clone()
        }
        _ => CallError::NotSent {
            reason: "an earlier part of the batch failed".into(),
        },
    }
}

/// The refusal of the one item that makes a request unacceptable.
fn refusal(asked: Asked<'_>, codes: Vec<String>) -> Refusal {
    let fault = match asked.codes.judge(asked.call, &codes) {
        Verdict::Refused(fault) => fault,
        // The agency says that it refused the request as a whole: whatever the code, nothing was done by it.
        Verdict::AlreadyDone | Verdict::System => Fault::UnknownCode,
    };
    let response = serde_json::json!({ "codes": codes }).to_string();
    Refusal {
        codes,
        fault,
        response,
    }
}

fn ambiguous(reason: String) -> ExchangeError {
    CallError::Ambiguous { reason }.into()
}

/// An error with its causes, in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a String cannot fail.
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}
