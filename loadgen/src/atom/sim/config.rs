//! What the simulator is told: identities and keys, and the switches for what Atom's documents leave open.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use url::Url;

use super::crypt::{Cipher, Signer};

/// What happens to a `merchTxnId` that comes again in AUTH.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RepeatedPayment {
    /// It is refused.
    #[default]
    Refuse,
    /// It gets the token that it got before.
    SameToken,
}

/// What happens to a `prodRefundId` that comes again.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RepeatedRefund {
    /// It is refused.
    #[default]
    Refuse,
    /// It gets the answer that it got before, and nothing moves.
    SameAnswer,
    /// The money is paid back a second time.
    SecondRefund,
}

/// The shape of `refundStatusDetails`.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundStatusShape {
    /// An array of products, each with `refundStatus`.
    #[default]
    Array,
    /// An object with `refundDetails`.
    Object,
}

/// The shape of `payInstrument` in status answers.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StatusShape {
    /// An object, and an array only for several transactions.
    #[default]
    Auto,
    /// Always an array.
    Array,
}

/// How AUTH says no.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthErrors {
    /// By the plain error object with an HTTP status of 400 and above.
    #[default]
    Plain,
    /// Encrypted, with status 200.
    Encrypted,
}

/// How a password is written in a message.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PasswordForm {
    /// As it is.
    #[default]
    Plain,
    /// In Base64.
    Base64,
}

/// Which comes first after a payment.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CallbackOrder {
    /// The callback leaves when the payment is made; the browser goes on at the same time.
    #[default]
    Together,
    /// The browser goes on when the callback was answered.
    CallbackFirst,
    /// The callback leaves two seconds later, when the browser has been there.
    ReturnFirst,
}

/// What may be changed while the simulator runs, by `POST /_sim/switches`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Switches {
    /// A `merchTxnId` that comes again.
    pub repeated_payment: RepeatedPayment,
    /// A `prodRefundId` that comes again.
    pub repeated_refund: RepeatedRefund,
    /// Shape of status answers.
    pub status_shape: StatusShape,
    /// Shape of refund status answers.
    pub refund_status_shape: RefundStatusShape,
    /// How AUTH says no.
    pub auth_errors: AuthErrors,
    /// The password in status queries.
    pub status_password: PasswordForm,
    /// The password in refunds.
    pub refund_password: PasswordForm,
    /// Products of the merchant.
    pub products: Vec<String>,
    /// How long a token lives, in seconds.
    pub token_life_s: i64,
    /// How long after the payment its status becomes visible, in milliseconds.
    pub status_lag_ms: i64,
    /// How long after the payment the callback leaves, in milliseconds.
    pub callback_delay_ms: i64,
    /// Up to so many milliseconds more, drawn by seed, so that callbacks overtake each other.
    pub callback_jitter_ms: i64,
    /// How often a callback that was not answered by 200 is sent again.
    pub callback_retries: u32,
    /// Milliseconds between these.
    pub callback_retry_ms: i64,
    /// Which comes first.
    pub callback_order: CallbackOrder,
    /// Surcharge by sub-channel, in hundredths of a percent.
    pub surcharge_bp: BTreeMap<String, i64>,
    /// How long an accepted refund takes until it is paid out, in seconds.
    pub refund_settle_s: i64,
    /// Refunds of a part are allowed.
    pub partial_refund: bool,
    /// Refunds are allowed for so many days; without it always.
    pub refund_window_days: Option<i64>,
}

impl Default for Switches {
    fn default() -> Self {
        Switches {
            repeated_payment: RepeatedPayment::default(),
            repeated_refund: RepeatedRefund::default(),
            status_shape: StatusShape::default(),
            refund_status_shape: RefundStatusShape::default(),
            auth_errors: AuthErrors::default(),
            status_password: PasswordForm::default(),
            refund_password: PasswordForm::default(),
            products: vec!["NSE".to_owned()],
            token_life_s: 900,
            status_lag_ms: 0,
            callback_delay_ms: 0,
            callback_jitter_ms: 0,
            callback_retries: 3,
            callback_retry_ms: 1000,
            callback_order: CallbackOrder::default(),
            surcharge_bp: BTreeMap::new(),
            refund_settle_s: 86_400,
            partial_refund: true,
            refund_window_days: None,
        }
    }
}

/// The merchant's identity and keys; by default the dummy ones that are published for acceptance tests.
#[derive(Clone)]
pub struct Identity {
    /// Merchant number.
    pub merch_id: String,
    /// Password.
    pub password: String,
    /// Secret of the bearer header of the newer token issue.
    pub api_secret: String,
    /// Key and salt of what the merchant sends.
    pub request: (String, String),
    /// Key and salt of what the simulator sends.
    pub response: (String, String),
    /// The same before the last change of keys.
    pub old_response: (String, String),
    /// Hash key of what the merchant signs.
    pub request_hash: String,
    /// Hash key of what the simulator signs.
    pub response_hash: String,
    /// The same before the last change of keys.
    pub old_response_hash: String,
}

impl Default for Identity {
    fn default() -> Self {
        let twice = |text: &str| (text.to_owned(), text.to_owned());
        Identity {
            merch_id: "317157".to_owned(),
            password: "Test@123".to_owned(),
            api_secret: "simulated-api-secret".to_owned(),
            request: twice("A4476C2062FFA58980DC8F79EB6A799E"),
            response: twice("75AEF0FA1B94B3C10D4F5B268F757F11"),
            old_response: twice("0123456789ABCDEF0123456789ABCDEF"),
            request_hash: "KEY123657234".to_owned(),
            response_hash: "KEYRESP123657234".to_owned(),
            old_response_hash: "KEYRESPOLD".to_owned(),
        }
    }
}

/// The identity with its keys derived.
pub struct Keys {
    /// Who it is.
    pub identity: Identity,
    /// Opens what the merchant sends.
    pub request: Cipher,
    /// Seals what the simulator sends.
    pub response: Cipher,
    /// The same with the old key.
    pub old_response: Cipher,
    /// The same with a key that nobody has.
    pub foreign: Cipher,
    /// Checks what the merchant signed.
    pub request_signer: Signer,
    /// Signs what the simulator sends.
    pub response_signer: Signer,
    /// The same with the old key.
    pub old_response_signer: Signer,
}

impl Keys {
    /// Derives all keys: a fifth of a second.
    #[must_use]
    pub fn derive(identity: Identity) -> Keys {
        let cipher = |(key, salt): &(String, String)| Cipher::derive(key, salt);
        Keys {
            request: cipher(&identity.request),
            response: cipher(&identity.response),
            old_response: cipher(&identity.old_response),
            foreign: Cipher::derive("a key that nobody has", "and its salt"),
            request_signer: Signer::new(&identity.request_hash),
            response_signer: Signer::new(&identity.response_hash),
            old_response_signer: Signer::new(&identity.old_response_hash),
            identity,
        }
    }
}

/// All that a simulator is started with.
#[derive(Clone, Default)]
pub struct SimConfig {
    /// The merchant.
    pub identity: Identity,
    /// Where callbacks go; without it none are sent.
    pub callback: Option<Url>,
    /// Decides every share and jitter.
    pub seed: u64,
    /// The switches at the start, and after a reset.
    pub switches: Switches,
    /// Calls have ports of their own besides the common one.
    pub own_ports: bool,
}
