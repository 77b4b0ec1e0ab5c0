//! How the agency is reached: the `[frex.agency]` part of the configuration.

use std::collections::HashSet;

use serde::Deserialize;
use url::{Host, Url};

use super::codes;
use super::limits::ITEMS_AGENCY_MAX;
use crate::secret::Secret;

/// Which interface the agency offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// Acceptance numbers, fetched results, look-up by request key (`spec/frex.md` 6.1 to 6.6).
    #[default]
    Design,
    /// The public interface of NP Kakebarai: synchronous, without update and look-up (6.8).
    NpKakebarai,
}

impl Protocol {
    /// Whether the agency can be asked what screening says. If not, its answer to the registration is all it ever tells.
    #[must_use]
    pub const fn tells_screening(self) -> bool {
        matches!(self, Self::Design)
    }

    /// Whether the agency knows buyers by its own number only.
    #[must_use]
    pub const fn needs_buyer_number(self) -> bool {
        matches!(self, Self::NpKakebarai)
    }
}

/// Settings of the agency client. Passwords come beside them, as secrets.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AgencySettings {
    /// Which interface.
    pub protocol: Protocol,
    /// Where the interface starts, such as `https://agency.example`; plain `http` on loopback only.
    pub base_url: String,
    /// User name of HTTP Basic.
    pub shop_code: String,
    /// `X-NP-Terminal-Id`.
    pub terminal_id: String,
    /// Longest wait for a connection, TLS included.
    pub connect_timeout_ms: u64,
    /// Longest wait for a whole answer, connection included.
    pub timeout_ms: u64,
    /// Most items in one request.
    pub items_max: usize,
    /// Longest answer that is read.
    pub answer_bytes_max: usize,
    /// Codes that are not in [`codes::CODES`], or mean something else: `CODE=MEANING`.
    pub codes: Vec<String>,
}

impl Default for AgencySettings {
    fn default() -> Self {
        Self {
            protocol: Protocol::Design,
            base_url: String::new(),
            shop_code: String::new(),
            terminal_id: String::new(),
            connect_timeout_ms: 5_000,
            timeout_ms: 30_000,
            items_max: 100,
            answer_bytes_max: 1 << 20,
            codes: Vec::new(),
        }
    }
}

/// Why the settings cannot be used; each names the key and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Not a URL we may use.
    #[error(
        "base_url = \"{url}\": {reason}; give https://HOST[:PORT][/PATH], or http:// on a loopback address"
    )]
    BaseUrl {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A text is empty or does not fit into a header.
    #[error("{key} must be 1 to 100 visible ASCII characters{more}")]
    Text {
        /// The key.
        key: &'static str,
        /// What else is asked of it.
        more: &'static str,
    },
    /// A number is out of range.
    #[error("{key} = {value}: must be {min} to {max}")]
    Range {
        /// The key.
        key: &'static str,
        /// What was given.
        value: u64,
        /// Least value.
        min: u64,
        /// Greatest value.
        max: u64,
    },
    /// A code is not one, or stands twice.
    #[error(
        "codes: \"{given}\" must be CODE=MEANING, each code once; the meanings are our_bug, split, refused, done_if_cancel, done_if_billing, system"
    )]
    Code {
        /// What was given.
        given: String,
    },
    /// The total time is not longer than the time to connect.
    #[error("timeout_ms must be greater than connect_timeout_ms")]
    Timeouts,
    /// Not one or two passwords.
    #[error(
        "{count} agency passwords: give one, or two while the agency changes from one to the other, none empty"
    )]
    Passwords {
        /// How many were given.
        count: usize,
    },
    /// The HTTP client could not be made.
    #[error("the HTTP client cannot start: {reason}; check the system's certificate store")]
    Client {
        /// What it said.
        reason: String,
    },
}

impl AgencySettings {
    /// Ranges of the numbers: key, least, greatest.
    pub const RANGES: [(&'static str, u64, u64); 4] = [
        ("connect_timeout_ms", 100, 60_000),
        ("timeout_ms", 200, 120_000),
        ("items_max", 1, ITEMS_AGENCY_MAX as u64),
        ("answer_bytes_max", 64 << 10, 16 << 20),
    ];

    /// Checks everything and gives the base address.
    ///
    /// # Errors
    /// The first value that cannot be used.
    pub fn check(&self) -> Result<Url, SettingsError> {
        for (key, text, more) in [
            ("shop_code", &self.shop_code, " without ':'"),
            ("terminal_id", &self.terminal_id, ""),
        ] {
            let fits = (1..=100).contains(&text.len());
            let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
            if !fits || !visible || (key == "shop_code" && text.contains(':')) {
                return Err(SettingsError::Text { key, more });
            }
        }
        let values = [
            self.connect_timeout_ms,
            self.timeout_ms,
            self.items_max as u64,
            self.answer_bytes_max as u64,
        ];
        for ((key, min, max), value) in Self::RANGES.into_iter().zip(values) {
            if !(min..=max).contains(&value) {
                let range = SettingsError::Range {
                    key,
                    value,
                    min,
                    max,
                };
                return Err(range);
            }
        }
        let mut seen = HashSet::new();
        for given in &self.codes {
            let code = codes::configured(given).map(|it| it.0);
            if !code.is_some_and(|code| seen.insert(code)) {
                let given = given.clone();
                return Err(SettingsError::Code { given });
            }
        }
        if self.timeout_ms <= self.connect_timeout_ms {
            return Err(SettingsError::Timeouts);
        }
        self.base()
    }

    fn base(&self) -> Result<Url, SettingsError> {
        let refuse = |reason| SettingsError::BaseUrl {
            url: self.base_url.clone(),
            reason,
        };
        let url = Url::parse(&self.base_url).map_err(|_| refuse("is no URL"))?;
        let loopback = match url.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => return Err(refuse("names no host")),
        };
        match url.scheme() {
            "https" => {}
            "http" if loopback => {}
            _ => return Err(refuse("would carry the password in the clear")),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refuse("must not carry a password"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refuse("must end with its path"));
        }
        Ok(url)
    }
}

/// Checks the passwords that come beside the settings.
///
/// # Errors
/// None, more than two, or an empty one.
pub fn check_passwords(passwords: &[Secret]) -> Result<(), SettingsError> {
    let count = passwords.len();
    if (1..=2).contains(&count) && passwords.iter().all(|password| !password.is_empty()) {
        Ok(())
    } else {
        Err(SettingsError::Passwords { count })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> AgencySettings {
        AgencySettings {
            base_url: "https://agency.example/base".into(),
            shop_code: "shop".into(),
            terminal_id: "terminal".into(),
            ..AgencySettings::default()
        }
    }

    /// The defaults pass once the three texts are given, and every wrong value is named by its key.
    #[test]
    fn wrong_values_are_named() {
        type Change = fn(&mut AgencySettings);
        assert!(good().check().is_ok());
        let wrong: [(&str, Change); 13] = [
            ("base_url", |s| s.base_url = "agency".into()),
            ("in the clear", |s| {
                s.base_url = "http://agency.example".into()
            }),
            ("in the clear", |s| s.base_url = "http://192.0.2.1".into()),
            ("password", |s| {
                s.base_url = "https://a:b@agency.example".into()
            }),
            ("path", |s| {
                s.base_url = "https://agency.example/?a=b".into()
            }),
            ("shop_code", |s| s.shop_code = "a:b".into()),
            ("terminal_id", |s| s.terminal_id = String::new()),
            ("items_max", |s| s.items_max = 1_001),
            ("answer_bytes_max", |s| s.answer_bytes_max = 1),
            ("connect_timeout_ms", |s| s.connect_timeout_ms = 0),
            ("timeout_ms", |s| s.timeout_ms = 5_000),
            ("codes: \"E1=perhaps\"", |s| {
                s.codes = vec!["E1=perhaps".into()]
            }),
            ("codes: \"E1=system\"", |s| {
                s.codes = vec!["E1=refused".into(), "E1=system".into()];
            }),
        ];
        for (name, change) in wrong {
            let mut settings = good();
            change(&mut settings);
            let message = settings.check().unwrap_err().to_string();
            assert!(message.contains(name), "{name}: {message}");
        }
        for loopback in ["http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1"] {
            let base_url = loopback.into();
            assert!(AgencySettings { base_url, ..good() }.check().is_ok());
        }
    }

    /// One password, or two during a change; never none, three, or an empty one.
    #[test]
    fn one_or_two_passwords() {
        let ask = |texts: &[&str]| {
            let secrets: Vec<_> = texts.iter().map(|&text| Secret::from(text)).collect();
            check_passwords(&secrets).is_ok()
        };
        assert!(ask(&["a"]) && ask(&["a", "b"]));
        assert!(!ask(&[]) && !ask(&["a", "b", "c"]) && !ask(&["a", ""]));
    }
}
