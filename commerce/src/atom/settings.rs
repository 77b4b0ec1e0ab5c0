//! What the merchant configures of Atom's interface: where it is, who we are, and how patient we are
//! (`spec/atom.md` 2, 3, 13.2, 19). Secrets are apart, in [`AtomSecrets`], which cannot be printed.

use serde::{Deserialize, Serialize};
use thiserror::Error;
use url::Url;

use super::breaker::BreakerSettings;
use super::call::Api;
use super::pins::Pin;
use super::wire::callback_open::InboundKeys;
use super::wire::crypt::CipherKey;
use super::wire::request::{StatusApi, Switches};
use crate::secret::Secret;

/// Which Atom we talk to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Env {
    /// The acceptance test of NDPS.
    #[default]
    Uat,
    /// Real money.
    Prod,
    /// A simulator on this machine; plain HTTP is allowed.
    Sim,
}

impl Env {
    /// What the checkout script is told: it knows two environments.
    pub fn checkout_name(self) -> &'static str {
        match self {
            Env::Prod => "prod",
            Env::Uat | Env::Sim => "uat",
        }
    }
}

/// The addresses. An absent one is the published one of the environment; a simulator has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Urls {
    /// Token issue.
    pub auth: Option<String>,
    /// Transaction status.
    pub status: Option<String>,
    /// Refund.
    pub refund: Option<String>,
    /// Refund status.
    pub refund_status: Option<String>,
    /// The script of the checkout page.
    pub checkout_js: Option<String>,
}

/// How long a call may take, and how often it is tried. All times in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CallLimits {
    /// To a connection, TLS included.
    pub connect_timeout_ms: u64,
    /// One try of AUTH.
    pub auth_timeout_ms: u64,
    /// One try of a status query.
    pub status_timeout_ms: u64,
    /// One try of a refund.
    pub refund_timeout_ms: u64,
    /// One try of a refund-status query.
    pub refund_status_timeout_ms: u64,
    /// All tries of AUTH together: a customer waits.
    pub auth_deadline_ms: u64,
    /// All tries of another call together.
    pub deadline_ms: u64,
    /// Tries of a call that may be repeated.
    pub tries_max: u32,
    /// The ceiling of the first wait; it doubles with each repeat.
    pub backoff_base_ms: u64,
    /// The ceiling of the longest wait.
    pub backoff_max_ms: u64,
}

impl Default for CallLimits {
    fn default() -> CallLimits {
        CallLimits {
            connect_timeout_ms: 3_000,
            auth_timeout_ms: 15_000,
            status_timeout_ms: 10_000,
            refund_timeout_ms: 30_000,
            refund_status_timeout_ms: 10_000,
            auth_deadline_ms: 20_000,
            deadline_ms: 60_000,
            tries_max: 3,
            backoff_base_ms: 500,
            backoff_max_ms: 8_000,
        }
    }
}

impl CallLimits {
    /// What one try may take.
    pub fn timeout_ms(&self, api: Api) -> u64 {
        match api {
            Api::Auth => self.auth_timeout_ms,
            Api::Status => self.status_timeout_ms,
            Api::Refund => self.refund_timeout_ms,
            Api::RefundStatus => self.refund_status_timeout_ms,
        }
    }

    /// What all tries together may take.
    pub fn deadline_ms(&self, api: Api) -> u64 {
        match api {
            Api::Auth => self.auth_deadline_ms,
            _ => self.deadline_ms,
        }
    }
}

/// The merchant's side of Atom's interface, without its secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AtomSettings {
    /// Which Atom we talk to.
    pub env: Env,
    /// Our merchant number.
    pub merch_id: String,
    /// The product of orders that name none; the acceptance test takes `NSE` only.
    pub product: String,
    /// Adds the bearer header that the newer form of AUTH wants.
    pub auth_bearer: bool,
    /// A proxy for the calls, if there must be one.
    pub proxy: Option<String>,
    /// SHA-256 of the public keys that Atom's servers may show, in Base64; empty trusts the system's roots alone.
    pub public_key_pins: Vec<String>,
    /// The addresses.
    pub url: Urls,
    /// The forms of the messages.
    pub messages: Switches,
    /// Times and tries.
    pub calls: CallLimits,
    /// The circuit breaker.
    pub breaker: BreakerSettings,
}

impl Default for AtomSettings {
    fn default() -> AtomSettings {
        AtomSettings {
            env: Env::Uat,
            merch_id: String::new(),
            product: "NSE".to_owned(),
            auth_bearer: false,
            proxy: None,
            public_key_pins: Vec::new(),
            url: Urls::default(),
            messages: Switches::default(),
            calls: CallLimits::default(),
            breaker: BreakerSettings::default(),
        }
    }
}

/// A key that a cipher key is derived from, and its salt. Today they are the same text; they stay two items.
#[derive(Clone)]
pub struct KeyAndSalt {
    /// The key's text as issued.
    pub key: Secret,
    /// The salt's text as issued.
    pub salt: Secret,
}

/// What must not be seen.
#[derive(Clone)]
pub struct AtomSecrets {
    /// The merchant's password.
    pub password: Secret,
    /// Encrypts what we send.
    pub request_key: KeyAndSalt,
    /// Decrypts what Atom sends, the current key first.
    pub response_keys: Vec<KeyAndSalt>,
    /// Signs what we send.
    pub request_hash_key: Secret,
    /// Verifies what Atom signs, the current key first.
    pub response_hash_keys: Vec<Secret>,
    /// Goes into the bearer header.
    pub api_secret: Option<Secret>,
}

impl AtomSecrets {
    /// Derives the keys for inbound messages. Costs some 50 ms a key: once, at start.
    pub fn inbound_keys(&self, merch_id: &str) -> InboundKeys {
        let derive = |pair: &KeyAndSalt| CipherKey::derive(&pair.key, &pair.salt);
        InboundKeys::new(
            self.response_keys.iter().map(derive).collect(),
            self.response_hash_keys.clone(),
            merch_id.to_owned(),
        )
    }
}

/// What is wrong in the configuration of Atom. The key is given as it is written there, under `atom`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SettingsError {
    /// A value is missing.
    #[error("atom.{key} is missing; {way_out}")]
    Missing {
        /// The key.
        key: &'static str,
        /// What to do.
        way_out: &'static str,
    },
    /// A value is not what it must be.
    #[error("atom.{key} is not {wanted}")]
    Value {
        /// The key.
        key: &'static str,
        /// What it must be.
        wanted: &'static str,
    },
    /// A dummy value of the public guides stands where real money moves.
    #[error("atom.{key} is a published dummy value; env = \"prod\" needs the value issued to you")]
    Dummy {
        /// The key.
        key: &'static str,
    },
    /// The HTTP client cannot be made of these settings.
    #[error(
        "the HTTPS client cannot be made: {0}; look at atom.proxy and at the system's certificates"
    )]
    Client(String),
}

/// Values that NDPS publishes for everybody.
const DUMMY_MERCHANTS: [&str; 3] = ["317157", "317159", "446442"];
const DUMMY_PASSWORD: &str = "Test@123";
const DUMMY_KEYS: [&str; 2] = [
    "A4476C2062FFA58980DC8F79EB6A799E",
    "75AEF0FA1B94B3C10D4F5B268F757F11",
];
const DUMMY_HASH_KEYS: [&str; 2] = ["KEY123657234", "KEYRESP123657234"];

/// The published addresses: key, acceptance test, production.
const PUBLISHED: [(&str, &str, &str); 6] = [
    (
        "url.auth",
        "https://paynetzuat.atomtech.in/ots/aipay/auth",
        "https://payment1.atomtech.in/ots/aipay/auth",
    ),
    (
        "url.status",
        "https://paynetzuat.atomtech.in/ots/payment/status",
        "https://payment1.atomtech.in/ots/payment/status",
    ),
    (
        "url.status v2",
        "https://paynetzuat.atomtech.in/ots/v2/payment/status",
        "https://payment1.atomtech.in/ots/v2/payment/status",
    ),
    (
        "url.refund",
        "https://caller.atomtech.in/ots/payment/refund",
        "https://payment.atomtech.in/ots/payment/refund",
    ),
    (
        "url.refund_status",
        "https://caller.atomtech.in/ots/payment/status",
        "https://payment1.atomtech.in/ots/payment/status",
    ),
    (
        "url.checkout_js",
        "https://pgtest.atomtech.in/staticdata/ots/js/atomcheckout.js",
        "https://psa.atomtech.in/staticdata/ots/js/atomcheckout.js",
    ),
];

impl AtomSettings {
    /// The address of a call.
    pub fn url(&self, api: Api) -> Result<Url, SettingsError> {
        match api {
            Api::Auth => self.address("url.auth", "url.auth", &self.url.auth),
            Api::Refund => self.address("url.refund", "url.refund", &self.url.refund),
            Api::RefundStatus => self.address(
                "url.refund_status",
                "url.refund_status",
                &self.url.refund_status,
            ),
            Api::Status => {
                let published = match self.messages.status_api {
                    StatusApi::TxnVerification => "url.status",
                    StatusApi::V2 => "url.status v2",
                };
                self.address("url.status", published, &self.url.status)
            }
        }
    }

    /// The address of the checkout script.
    pub fn checkout_js(&self) -> Result<Url, SettingsError> {
        self.address("url.checkout_js", "url.checkout_js", &self.url.checkout_js)
    }

    /// Checks everything that can be checked without a call.
    pub fn check(&self, secrets: &AtomSecrets) -> Result<(), SettingsError> {
        let id = &self.merch_id;
        if id.is_empty() {
            return Err(SettingsError::Missing {
                key: "merch_id",
                way_out: "give the merchant number that NDPS issued",
            });
        }
        if id.len() > 10 || id.starts_with('0') || !id.bytes().all(|b| b.is_ascii_digit()) {
            return Err(value("merch_id", "a number of at most 10 digits"));
        }
        if self.product.is_empty() || self.product.chars().count() > 50 {
            return Err(value("product", "a text of 1 to 50 characters"));
        }
        for api in Api::ALL {
            self.url(api)?;
        }
        self.checkout_js()?;
        if let Some(proxy) = &self.proxy {
            Url::parse(proxy).map_err(|_| value("proxy", "an address"))?;
        }
        if self
            .public_key_pins
            .iter()
            .any(|pin| Pin::parse(pin).is_none())
        {
            return Err(value(
                "public_key_pins",
                "a list of SHA-256 digests in Base64 (44 characters each)",
            ));
        }
        self.check_limits()?;
        check_secrets(self.auth_bearer, secrets)?;
        match self.env {
            Env::Prod => self.refuse_dummies(secrets),
            Env::Uat | Env::Sim => Ok(()),
        }
    }

    fn address(
        &self,
        key: &'static str,
        published: &str,
        configured: &Option<String>,
    ) -> Result<Url, SettingsError> {
        let row = PUBLISHED.iter().find(|row| row.0 == published);
        let (_, uat, prod) = row.expect("every address is in the table");
        let text = match (configured, self.env) {
            (Some(text), _) => text.as_str(),
            (None, Env::Uat) => uat,
            (None, Env::Prod) => prod,
            (None, Env::Sim) => {
                return Err(SettingsError::Missing {
                    key,
                    way_out: "env = \"sim\" has no published addresses: give the simulator's",
                });
            }
        };
        let url = Url::parse(text).map_err(|_| value(key, "an address"))?;
        match (url.scheme(), self.env) {
            ("https", _) | ("http", Env::Sim) => Ok(url),
            _ => Err(value(
                key,
                "an https address (plain http is for env = \"sim\")",
            )),
        }
    }

    fn check_limits(&self) -> Result<(), SettingsError> {
        let calls = &self.calls;
        let times = [
            ("calls.connect_timeout_ms", calls.connect_timeout_ms),
            ("calls.auth_timeout_ms", calls.auth_timeout_ms),
            ("calls.status_timeout_ms", calls.status_timeout_ms),
            ("calls.refund_timeout_ms", calls.refund_timeout_ms),
            (
                "calls.refund_status_timeout_ms",
                calls.refund_status_timeout_ms,
            ),
            ("calls.auth_deadline_ms", calls.auth_deadline_ms),
            ("calls.deadline_ms", calls.deadline_ms),
        ];
        for (key, ms) in times {
            if !(100..=300_000).contains(&ms) {
                return Err(value(key, "100 to 300000"));
            }
        }
        if !(1..=3).contains(&calls.tries_max) {
            return Err(value("calls.tries_max", "1 to 3"));
        }
        if calls.backoff_base_ms > calls.backoff_max_ms || calls.backoff_max_ms > 60_000 {
            return Err(value("calls.backoff_max_ms", "backoff_base_ms to 60000"));
        }
        let breaker = &self.breaker;
        if breaker.errors_in_row == 0 || breaker.window_calls_min == 0 {
            return Err(value(
                "breaker.errors_in_row or window_calls_min",
                "at least 1",
            ));
        }
        if !(1_000..=600_000).contains(&breaker.window_ms)
            || !(100..=600_000).contains(&breaker.open_ms)
        {
            return Err(value(
                "breaker.window_ms or open_ms",
                "at most 600000 and not too small",
            ));
        }
        Ok(())
    }

    fn refuse_dummies(&self, secrets: &AtomSecrets) -> Result<(), SettingsError> {
        let dummy = |key| Err(SettingsError::Dummy { key });
        if DUMMY_MERCHANTS.contains(&self.merch_id.as_str()) {
            return dummy("merch_id");
        }
        if secrets.password.is_same(DUMMY_PASSWORD) {
            return dummy("password");
        }
        let among = |secret: &Secret, known: &[&str]| known.iter().any(|k| secret.is_same(k));
        let is_dummy =
            |pair: &KeyAndSalt| among(&pair.key, &DUMMY_KEYS) || among(&pair.salt, &DUMMY_KEYS);
        if is_dummy(&secrets.request_key) {
            return dummy("req_key or req_salt");
        }
        if secrets.response_keys.iter().any(is_dummy) {
            return dummy("res_key or res_salt");
        }
        if among(&secrets.request_hash_key, &DUMMY_HASH_KEYS) {
            return dummy("req_hash_key");
        }
        let mut hash_keys = secrets.response_hash_keys.iter();
        if hash_keys.any(|key| among(key, &DUMMY_HASH_KEYS)) {
            return dummy("res_hash_key");
        }
        Ok(())
    }
}

fn check_secrets(auth_bearer: bool, secrets: &AtomSecrets) -> Result<(), SettingsError> {
    let lacks = |pair: &KeyAndSalt| pair.key.is_empty() || pair.salt.is_empty();
    let response = &secrets.response_keys;
    let hash_keys = &secrets.response_hash_keys;
    let missing = [
        ("password", secrets.password.is_empty()),
        ("req_key or req_salt", lacks(&secrets.request_key)),
        (
            "res_key or res_salt",
            response.is_empty() || response.iter().any(lacks),
        ),
        ("req_hash_key", secrets.request_hash_key.is_empty()),
        (
            "res_hash_key",
            hash_keys.is_empty() || hash_keys.iter().any(Secret::is_empty),
        ),
        ("api_secret", auth_bearer && secrets.api_secret.is_none()),
    ];
    match missing.iter().find(|(_, is_missing)| *is_missing) {
        None => Ok(()),
        Some((key, _)) => Err(SettingsError::Missing {
            key,
            way_out: "give it in a file, a credential or the environment",
        }),
    }
}

fn value(key: &'static str, wanted: &'static str) -> SettingsError {
    SettingsError::Value { key, wanted }
}
