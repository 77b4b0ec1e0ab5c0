//! The ways of a message: an HTTP POST, and SMTP.

use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls as SmtpTls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use sha2::Sha256;

use super::message::Message;
use super::settings::{Mail, NotifySettings, Tls, Webhook};
use crate::frex::duty::Duty;

/// The header with the HMAC-SHA-256 of the body.
const SIGNATURE: &str = "x-frex-signature";

/// A way.
pub enum Channel {
    /// POST of JSON.
    Webhook {
        /// Where.
        webhook: Webhook,
        /// With what.
        client: reqwest::Client,
    },
    /// E-mail.
    Mail {
        /// From whom to whom.
        mail: Mail,
        /// By which server.
        transport: AsyncSmtpTransport<Tokio1Executor>,
    },
}

impl Channel {
    /// The ways of the settings. One that cannot be made is told in the log and left out.
    #[must_use]
    pub fn all(settings: &NotifySettings) -> Vec<Self> {
        let limit = Duration::from_millis(settings.timeout_ms);
        let webhook = settings.webhook.clone().map(|webhook| {
            let client = reqwest::Client::builder()
                .timeout(limit)
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                .build()
                .map_err(|error| error.to_string())?;
            Ok(Self::Webhook { webhook, client })
        });
        let mail = settings.mail.clone().map(|mail| {
            let transport = smtp(&mail, limit).map_err(|error| error.to_string())?;
            Ok(Self::Mail { mail, transport })
        });
        let made: Vec<Result<Self, String>> = [webhook, mail].into_iter().flatten().collect();
        made.into_iter()
            .filter_map(|made| {
                made.map_err(|error| log::error!("frex: no messages this way: {error}"))
                    .ok()
            })
            .collect()
    }

    /// Whose turn it is is noted under this duty.
    #[must_use]
    pub fn duty(&self) -> Duty {
        match self {
            Self::Webhook { .. } => Duty::Webhook,
            Self::Mail { .. } => Duty::Mail,
        }
    }

    /// Sends a message and waits until the other side took it.
    ///
    /// # Errors
    /// It did not, in a sentence without secrets.
    pub async fn send(&self, message: &Message) -> Result<(), String> {
        match self {
            Self::Webhook { webhook, client } => post(webhook, client, message).await,
            Self::Mail { mail, transport } => {
                let letter = letter(mail, message)?;
                let sent = transport.send(letter).await;
                sent.map(drop).map_err(|error| error.to_string())
            }
        }
    }
}

async fn post(
    webhook: &Webhook,
    client: &reqwest::Client,
    message: &Message,
) -> Result<(), String> {
    let body = message.json.to_string();
    let mut request = client
        .post(webhook.url.clone())
        .header("content-type", "application/json");
    if let Some(key) = &webhook.key {
        let mut mac = Hmac::<Sha256>::new_from_slice(key.expose().as_bytes())
            .expect("HMAC takes a key of any length");
        mac.update(body.as_bytes());
        request = request.header(SIGNATURE, hex::encode(mac.finalize().into_bytes()));
    }
    // The address may hold a password of the receiver.
    let answer = request.body(body).send().await;
    let answer = answer.map_err(|error| error.without_url().to_string())?;
    if answer.status().is_success() {
        return Ok(());
    }
    Err(format!("it answered with status {}", answer.status()))
}

fn smtp(
    mail: &Mail,
    limit: Duration,
) -> Result<AsyncSmtpTransport<Tokio1Executor>, lettre::transport::smtp::Error> {
    let tls = match mail.tls {
        Tls::None => SmtpTls::None,
        Tls::StartTls => SmtpTls::Required(TlsParameters::new(mail.host.clone())?),
        Tls::Tls => SmtpTls::Wrapper(TlsParameters::new(mail.host.clone())?),
    };
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(mail.host.as_str())
        .port(mail.port)
        .tls(tls)
        .timeout(Some(limit));
    if let Some((user, password)) = &mail.login {
        let credentials = Credentials::new(user.clone(), password.expose().to_owned());
        builder = builder.credentials(credentials);
    }
    Ok(builder.build())
}

fn letter(mail: &Mail, message: &Message) -> Result<lettre::Message, String> {
    let address = |text: &str| {
        let parsed = text.parse::<lettre::message::Mailbox>();
        parsed.map_err(|error| format!("{text}: {error}"))
    };
    let mut builder = lettre::Message::builder()
        .from(address(&mail.from)?)
        .subject(&message.subject)
        .header(ContentType::TEXT_PLAIN);
    for to in &mail.to {
        builder = builder.to(address(to)?);
    }
    let letter = builder.body(message.text.clone());
    letter.map_err(|error| error.to_string())
}
