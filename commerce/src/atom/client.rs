//! The calls to Atom over HTTPS (`spec/atom.md` 3, 13.1, 13.2).
//!
//! One try is: encrypt, post, read at most so many bytes, read the answer, say what it was. What may be tried again is
//! decided in one place, [`may_repeat`], from the call and from what is known of the last try. Redirects are never
//! followed and the HTTP library repeats nothing of its own accord, except a request of which it had written no byte
//! when a pooled connection turned out to be closed.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Response, redirect, retry, tls};
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use url::Url;
use zeroize::Zeroizing;

use super::backoff;
use super::breaker::{Breaker, Outcome};
use super::call::{Api, Atom, CallClass, CallError, CallObserver, CircuitState, Doubt, NotSent};
use super::pins::{self, Pin};
use super::settings::{AtomSecrets, AtomSettings, CallLimits, SettingsError};
use super::wire::answer::{ANSWER_LEN_MAX, AnswerError, Body, Undecodable, open};
use super::wire::callback_open::InboundKeys;
use super::wire::codes::Refusal;
use super::wire::crypt::CipherKey;
use super::wire::messages::{
    AuthAnswer, AuthRequest, RefundAnswer, RefundMark, RefundRequest, RefundStatusAnswer,
    RefundStatusRequest, StatusAnswer, StatusRequest,
};
use super::wire::reply::{self, ReplyError};
use super::wire::request::{RequestError, RequestWriter, member_names};
use crate::clock::Clock;

/// How long an idle connection is kept for the next call.
const POOL_IDLE: Duration = Duration::from_secs(30);

/// Atom over HTTPS.
pub struct AtomClient {
    http: reqwest::Client,
    writer: RequestWriter,
    request_key: CipherKey,
    inbound: Arc<InboundKeys>,
    routes: Vec<Route>,
    bearer: Option<HeaderValue>,
    limits: CallLimits,
    clock: Clock,
    observer: Arc<dyn CallObserver>,
}

/// One call's address and breaker.
struct Route {
    api: Api,
    url: Url,
    breaker: Breaker,
}

impl AtomClient {
    /// Checks the settings and makes the client. Derives the request key, which costs some 50 ms.
    pub fn new(
        settings: &AtomSettings,
        secrets: &AtomSecrets,
        inbound: Arc<InboundKeys>,
        clock: Clock,
        observer: Arc<dyn CallObserver>,
    ) -> Result<AtomClient, SettingsError> {
        settings.check(secrets)?;
        let mut routes = Vec::new();
        for api in Api::ALL {
            routes.push(Route {
                api,
                url: settings.url(api)?,
                breaker: Breaker::new(api, settings.breaker.clone(), observer.clone()),
            });
        }
        Ok(AtomClient {
            http: http_client(settings)?,
            writer: RequestWriter {
                merch_id: settings.merch_id.clone(),
                password: secrets.password.clone(),
                hash_key: secrets.request_hash_key.clone(),
                product: settings.product.clone(),
                switches: settings.messages.clone(),
            },
            request_key: CipherKey::derive(&secrets.request_key.key, &secrets.request_key.salt),
            inbound,
            routes,
            bearer: settings.auth_bearer.then(|| bearer(settings, secrets)),
            limits: settings.calls.clone(),
            clock,
            observer,
        })
    }

    /// Where the breaker of a call stands.
    pub fn circuit(&self, api: Api) -> CircuitState {
        self.route(api).breaker.state()
    }

    /// Makes one call, with the repeats it may have. Its time counts from `began`.
    async fn call<T>(
        &self,
        api: Api,
        began: Instant,
        plain: Result<Zeroizing<String>, RequestError>,
        read: impl Fn(&Body) -> Result<T, ReplyError>,
    ) -> Result<T, CallError> {
        let plain = plain.map_err(|error| CallError::Invalid { api, error })?;
        let body = self.form(&plain);
        let deadline = began + Duration::from_millis(self.limits.deadline_ms(api));
        let mut last = None;
        for n in 0..self.limits.tries_max {
            let permit = match self.route(api).breaker.admit(self.clock.now_ms()) {
                Ok(permit) => permit,
                Err(retry_after) => {
                    return Err(last.unwrap_or(CallError::CircuitOpen { api, retry_after }));
                }
            };
            let began = Instant::now();
            let result = self.try_once(api, &body, deadline, &read).await;
            let class = class_of(&result);
            permit.done(outcome_of(&result), self.clock.now_ms());
            self.observer.call(api, class, began.elapsed());
            let error = match result {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let wait = self.wait_before_repeat(n, &error);
            let goes_on = may_repeat(&error)
                && n + 1 < self.limits.tries_max
                && Instant::now() + wait < deadline;
            log_failure(&error, class, n, began.elapsed(), &plain);
            if !goes_on {
                return Err(error);
            }
            self.observer.retry(api);
            tokio::time::sleep(wait).await;
            last = Some(error);
        }
        Err(last.expect("tries_max is at least 1, so a try was made"))
    }

    async fn try_once<T>(
        &self,
        api: Api,
        body: &str,
        deadline: Instant,
        read: impl Fn(&Body) -> Result<T, ReplyError>,
    ) -> Result<T, CallError> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let why = NotSent::Deadline;
            return Err(CallError::NotSent { api, why });
        }
        let timeout = Duration::from_millis(self.limits.timeout_ms(api)).min(left);
        let mut request = self
            .http
            .post(self.route(api).url.clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .timeout(timeout)
            .body(body.to_owned());
        if let Some(bearer) = self.bearer.as_ref().filter(|_| api == Api::Auth) {
            request = request.header(AUTHORIZATION, bearer.clone());
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Err(classify_send(api, &error)),
        };
        let status = response.status().as_u16();
        let retry_after = self.retry_after(response.headers());
        let ambiguous = |doubt| CallError::Ambiguous {
            api,
            doubt,
            http_status: Some(status),
            retry_after,
        };
        let bytes = read_limited(response).await.map_err(ambiguous)?;
        let body = match open(&bytes, self.inbound.ciphers(), &self.writer.merch_id) {
            Ok(_) if status >= 500 => return Err(ambiguous(Doubt::ServerError)),
            Err(AnswerError::Html) => return Err(ambiguous(Doubt::Html)),
            Err(_) if status >= 500 => return Err(ambiguous(Doubt::ServerError)),
            Err(AnswerError::Empty) => return Err(ambiguous(Doubt::Empty)),
            Err(AnswerError::Undecodable(why)) => return Err(ambiguous(Doubt::Undecodable(why))),
            Ok(body) => body,
        };
        match read(&body) {
            Ok(_) if !(200..300).contains(&status) => Err(ambiguous(Doubt::Contradiction(
                "a success under the HTTP status of a failure",
            ))),
            Ok(answer) => Ok(answer),
            Err(ReplyError::Refused { code, refusal }) => Err(CallError::Refused {
                api,
                code,
                refusal,
                http_status: status,
            }),
            Err(ReplyError::Undecodable(why)) => Err(ambiguous(Doubt::Undecodable(why))),
            Err(ReplyError::Contradiction(what)) => Err(ambiguous(Doubt::Contradiction(what))),
            Err(ReplyError::Internal) => Err(ambiguous(Doubt::Internal)),
        }
    }

    fn form(&self, plain: &str) -> String {
        let enc_data = self.request_key.encrypt(plain);
        format!("merchId={}&encData={enc_data}", self.writer.merch_id)
    }

    fn route(&self, api: Api) -> &Route {
        let route = self.routes.iter().find(|route| route.api == api);
        route.expect("every call has a route")
    }

    fn retry_after(&self, headers: &HeaderMap) -> Option<Duration> {
        let value = headers.get(RETRY_AFTER)?.to_str().ok()?;
        backoff::retry_after(value, self.clock.now_ms())
    }

    /// Jitter, or longer if Atom asked for it.
    fn wait_before_repeat(&self, n: u32, error: &CallError) -> Duration {
        let limits = &self.limits;
        let jitter = backoff::delay(n, limits.backoff_base_ms, limits.backoff_max_ms);
        jitter.max(error.retry_after().unwrap_or_default())
    }
}

#[async_trait]
impl Atom for AtomClient {
    async fn auth(&self, request: &AuthRequest, began: Instant) -> Result<AuthAnswer, CallError> {
        let plain = self.writer.auth(request);
        self.call(Api::Auth, began, plain, reply::auth).await
    }

    async fn status(&self, request: &StatusRequest) -> Result<StatusAnswer, CallError> {
        let plain = self.writer.status(request);
        let read = |body: &Body| reply::status(body, request, &self.writer.merch_id);
        self.call(Api::Status, Instant::now(), plain, read).await
    }

    fn refund_mark(&self, request: &RefundRequest) -> Result<RefundMark, CallError> {
        let api = Api::Refund;
        let plain = self.writer.refund(request);
        let plain = plain.map_err(|error| CallError::Invalid { api, error })?;
        Ok(RefundMark {
            amount_text: self.writer.refund_amount_text(request),
            // Of the ciphertext: a digest of the plaintext would let who reads it guess at the password.
            digest: hex::encode(Sha256::digest(self.request_key.encrypt(&plain))),
        })
    }

    async fn refund(&self, request: &RefundRequest) -> Result<RefundAnswer, CallError> {
        let plain = self.writer.refund(request);
        let read = |body: &Body| reply::refund(body, request);
        self.call(Api::Refund, Instant::now(), plain, read).await
    }

    async fn refund_status(
        &self,
        request: &RefundStatusRequest,
    ) -> Result<RefundStatusAnswer, CallError> {
        let plain = self.writer.refund_status(request);
        let read = |body: &Body| reply::refund_status(body, request);
        self.call(Api::RefundStatus, Instant::now(), plain, read)
            .await
    }
}

/// The table of `spec/atom.md` 13.1: what was not sent is repeated, what only reads is repeated, nothing else is.
fn may_repeat(error: &CallError) -> bool {
    match error {
        CallError::NotSent { .. } => true,
        CallError::Ambiguous { api, .. } => api.is_read_only(),
        CallError::Refused { .. } | CallError::CircuitOpen { .. } | CallError::Invalid { .. } => {
            false
        }
    }
}

fn http_client(settings: &AtomSettings) -> Result<reqwest::Client, SettingsError> {
    let failed = |error: reqwest::Error| SettingsError::Client(error.to_string());
    let mut builder = reqwest::Client::builder()
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .no_proxy()
        .referer(false)
        .http1_only()
        .tls_version_min(tls::Version::TLS_1_2)
        .connect_timeout(Duration::from_millis(settings.calls.connect_timeout_ms))
        .pool_idle_timeout(POOL_IDLE);
    if let Some(proxy) = &settings.proxy {
        builder = builder.proxy(reqwest::Proxy::all(proxy).map_err(failed)?);
    }
    if !settings.public_key_pins.is_empty() {
        let pins = settings.public_key_pins.iter();
        let pins = pins.filter_map(|pin| Pin::parse(pin)).collect();
        let config = pins::tls_config(pins);
        let config = config.map_err(|error| SettingsError::Client(error.to_string()))?;
        builder = builder.tls_backend_preconfigured(config);
    }
    builder.build().map_err(failed)
}

fn bearer(settings: &AtomSettings, secrets: &AtomSecrets) -> HeaderValue {
    let secret = secrets.api_secret.as_ref();
    let secret = secret.expect("the settings were checked: a bearer has its secret");
    let pair = Zeroizing::new(format!("{}:{}", settings.merch_id, secret.expose()));
    let mut value = HeaderValue::from_str(&format!("Bearer {}", BASE64.encode(&*pair)))
        .expect("Base64 fits a header");
    value.set_sensitive(true);
    value
}

/// A failure to connect is the one case in which surely no byte of the request left.
fn classify_send(api: Api, error: &reqwest::Error) -> CallError {
    if error.is_connect() {
        let why = if error.is_timeout() {
            NotSent::ConnectTimeout
        } else if error.is_dns() {
            NotSent::Dns
        } else {
            NotSent::Connect
        };
        return CallError::NotSent { api, why };
    }
    CallError::Ambiguous {
        api,
        doubt: doubt_of(error),
        http_status: None,
        retry_after: None,
    }
}

fn doubt_of(error: &reqwest::Error) -> Doubt {
    if error.is_timeout() {
        Doubt::Timeout
    } else {
        Doubt::Broken
    }
}

async fn read_limited(mut response: Response) -> Result<Vec<u8>, Doubt> {
    let mut bytes = Vec::new();
    loop {
        match response.chunk().await {
            Ok(None) => return Ok(bytes),
            Ok(Some(chunk)) if bytes.len() + chunk.len() > ANSWER_LEN_MAX => {
                return Err(Doubt::Undecodable(Undecodable::TooLong));
            }
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Err(error) => return Err(doubt_of(&error)),
        }
    }
}

fn class_of<T>(result: &Result<T, CallError>) -> CallClass {
    match result {
        Ok(_) => CallClass::Done,
        Err(CallError::Ambiguous { doubt, .. }) => CallClass::Ambiguous(*doubt),
        Err(CallError::Refused { .. }) => CallClass::Refused,
        Err(_) => CallClass::NotSent,
    }
}

fn outcome_of<T>(result: &Result<T, CallError>) -> Outcome {
    match result {
        Ok(_) => Outcome::Definite,
        Err(CallError::Refused {
            refusal: Refusal::Merchant,
            ..
        }) => Outcome::Stop,
        Err(CallError::Refused {
            http_status: 401 | 403,
            ..
        }) => Outcome::Stop,
        Err(CallError::Refused { .. }) => Outcome::Definite,
        Err(_) => Outcome::SystemError,
    }
}

/// The log point "API call failed". It holds names and numbers only: no field of the message, no text of Atom.
fn log_failure(error: &CallError, class: CallClass, n: u32, elapsed: Duration, plain: &str) {
    let status = match error {
        CallError::Ambiguous {
            http_status: Some(status),
            ..
        } => *status,
        CallError::Refused { http_status, .. } => *http_status,
        _ => 0,
    };
    log::error!(
        "API call failed: error=\"{error}\" retryCount={n} api={} class={} httpStatus={status} durationMs={}",
        error.api(),
        class.name(),
        elapsed.as_millis(),
    );
    if let CallError::Refused {
        api: Api::Auth,
        refusal: Refusal::Request,
        ..
    } = error
    {
        log::error!("the refused request had the fields {}", member_names(plain));
    }
}
