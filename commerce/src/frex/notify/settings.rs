//! Whom alerts are told to, and how: `[frex.notify]`.

use serde::Deserialize;
use url::{Host, Url};

use crate::frex::alert::Severity;
use crate::secret::Secret;

/// How the connection to the mail server is kept secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    /// Encrypted after a plain beginning; refused if the server does not offer it.
    StartTls,
    /// Encrypted from the start.
    Tls,
    /// Not at all: only to this machine.
    None,
}

/// Where a webhook is.
#[derive(Clone)]
pub struct Webhook {
    /// The address.
    pub url: Url,
    /// Signs each message.
    pub key: Option<Secret>,
}

/// How e-mail is sent.
#[derive(Clone)]
pub struct Mail {
    /// The server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is kept secret.
    pub tls: Tls,
    /// Our name and password there.
    pub login: Option<(String, Secret)>,
    /// Whom it comes from.
    pub from: String,
    /// Whom it goes to.
    pub to: Vec<String>,
}

/// Checked settings.
#[derive(Clone)]
pub struct NotifySettings {
    /// The least urgent alert that is told.
    pub least: Severity,
    /// How long the first alert of a message waits for others.
    pub gather_s: u64,
    /// Most alerts of a message.
    pub items_max: u32,
    /// After this a critical alert that is still open is told again.
    pub remind_s: u64,
    /// Waits after messages that did not get through.
    pub retry_s: Vec<u64>,
    /// How long a message may take.
    pub timeout_ms: u64,
    /// The webhook, if there is one.
    pub webhook: Option<Webhook>,
    /// E-mail, if it is sent.
    pub mail: Option<Mail>,
}

/// The values as they stand in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    least: String,
    gather_s: u64,
    items_max: u32,
    remind_s: u64,
    retry_s: Vec<u64>,
    timeout_ms: u64,
    webhook_url: String,
    smtp_host: String,
    smtp_port: u16,
    smtp_tls: Tls,
    smtp_user: String,
    mail_from: String,
    mail_to: Vec<String>,
}

/// Why the settings cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotifyError {
    /// The key.
    pub key: &'static str,
    /// What is wrong.
    pub reason: &'static str,
    /// What to do.
    pub way_out: &'static str,
}

impl NotifySettings {
    /// Holds values against each other.
    ///
    /// # Errors
    /// The first that cannot be used.
    pub fn new(
        raw: Raw,
        webhook_key: Option<Secret>,
        smtp_password: Option<Secret>,
    ) -> Result<Self, NotifyError> {
        let least = Severity::from_word(&raw.least).ok_or(NotifyError {
            key: "least",
            reason: "is no severity",
            way_out: "Write info, warning or critical",
        })?;
        Ok(Self {
            least,
            gather_s: raw.gather_s,
            items_max: raw.items_max,
            remind_s: raw.remind_s,
            retry_s: raw.retry_s.clone(),
            timeout_ms: raw.timeout_ms,
            webhook: webhook(&raw.webhook_url, webhook_key)?,
            mail: mail(raw, smtp_password)?,
        })
    }
}

fn webhook(text: &str, key: Option<Secret>) -> Result<Option<Webhook>, NotifyError> {
    if text.is_empty() {
        return Ok(None);
    }
    let refuse = |reason| NotifyError {
        key: "webhook_url",
        reason,
        way_out: "Give https://HOST[:PORT]/PATH, or http:// on a loopback address",
    };
    let url = Url::parse(text).map_err(|_| refuse("is no URL"))?;
    let host = url.host().ok_or_else(|| refuse("names no host"))?;
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&host) => {}
        _ => return Err(refuse("would be told in the clear")),
    }
    Ok(Some(Webhook { url, key }))
}

fn is_loopback<S: AsRef<str>>(host: &Host<S>) -> bool {
    match host {
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
        Host::Domain(name) => name.as_ref() == "localhost",
    }
}

fn mail(raw: Raw, password: Option<Secret>) -> Result<Option<Mail>, NotifyError> {
    if raw.smtp_host.is_empty() {
        return Ok(None);
    }
    let refuse = |key, reason, way_out| {
        Err(NotifyError {
            key,
            reason,
            way_out,
        })
    };
    let Ok(host) = Host::parse(&raw.smtp_host) else {
        return refuse(
            "smtp_host",
            "is no host",
            "Give a name or an address without a port",
        );
    };
    if raw.smtp_tls == Tls::None && !is_loopback(&host) {
        return refuse(
            "smtp_tls",
            "none would send e-mail in the clear",
            "Write starttls or tls",
        );
    }
    let address = |text: &str| text.parse::<lettre::message::Mailbox>().is_ok();
    if !address(&raw.mail_from) {
        return refuse(
            "mail_from",
            "is no mail address",
            "Write one, such as frex@shop.example",
        );
    }
    if raw.mail_to.is_empty() || !raw.mail_to.iter().all(|text| address(text)) {
        return refuse(
            "mail_to",
            "names no mail address, or something else",
            "Write at least one, such as [\"desk@shop.example\"]",
        );
    }
    let login = match (raw.smtp_user.is_empty(), password) {
        (true, _) => None,
        (false, Some(password)) => Some((raw.smtp_user, password)),
        (false, None) => {
            return refuse(
                "smtp_password",
                "is missing, and smtp_user is given",
                "Write the place where it lies",
            );
        }
    };
    Ok(Some(Mail {
        host: raw.smtp_host,
        port: raw.smtp_port,
        tls: raw.smtp_tls,
        login,
        from: raw.mail_from,
        to: raw.mail_to,
    }))
}
