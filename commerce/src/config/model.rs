//! The values of the configuration in their types, and the relations between them.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::Problem;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::frex::FrexConfig;
use super::read::Filled;
use super::secrets::SecretPlace;
use crate::atom::flow::refunds::finding::RemarkTable;
use crate::atom::flow::{self, FlowSettings};
use crate::atom::settings::{AtomSecrets, AtomSettings, KeyAndSalt, SettingsError};
use crate::jobs::JobSettings;
use crate::logging::LogSettings;
use crate::pages::shop::settings::ShopSettings;
use crate::secret::Secret;
use crate::store::StoreSettings;

/// The keys of `[atom]` that name secrets.
const ATOM_SECRETS: [&str; 8] = [
    "password",
    "req_key",
    "req_salt",
    "res_key",
    "res_salt",
    "req_hash_key",
    "res_hash_key",
    "api_secret",
];

/// The tables in `[atom]`.
const ATOM_TABLES: [&str; 4] = ["url", "messages", "calls", "breaker"];

/// A checked configuration with its secrets.
#[derive(Clone)]
pub struct Config {
    /// Where relative paths start.
    pub base: PathBuf,
    /// `[log]`.
    pub log: LogSettings,
    /// Where orders lie: `sqlite:PATH` or `postgres://...`. It may hold a password: this type has no `Debug`.
    pub store_url: String,
    /// `[store]`.
    pub store: StoreSettings,
    /// `[http]`.
    pub http: HttpSettings,
    /// `[http.limits]`.
    pub limits: LimitSettings,
    /// `[callback]`.
    pub callback: CallbackSettings,
    /// `[[merchant]]`.
    pub merchants: Vec<MerchantSettings>,
    /// `[shop]` and `[[shop.item]]`.
    pub shop: ShopSettings,
    /// `[atom]` and the tables in it.
    pub atom: AtomSettings,
    /// What `[atom]` names and does not hold.
    pub atom_secrets: AtomSecrets,
    /// `[flow]`, with the merchants.
    pub flow: FlowSettings,
    /// From this the reading tokens of orders are made.
    pub read_token_key: Secret,
    /// `[jobs]`.
    pub jobs: JobSettings,
    /// `[frex]`, if it is enabled.
    pub frex: Option<FrexConfig>,
    /// Files with secrets that other users of this machine may read.
    pub exposed: Vec<PathBuf>,
}

/// `[http]`: where and how we listen.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpSettings {
    /// The address and port.
    pub listen: SocketAddr,
    /// How customers and merchants reach us from outside.
    pub public_url: String,
    /// How long a body may take to arrive.
    pub body_timeout_s: u64,
    /// How long running requests may take at the end.
    pub shutdown_s: u64,
    /// Who may read `/metrics`; empty for anybody.
    pub metrics_allow: Vec<IpAddr>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpAddr>,
}

/// `[http.limits]`: rates per second, and bursts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitSettings {
    /// Requests of one address.
    pub address_rate: NonZeroU32,
    /// Requests of one address at once.
    pub address_burst: NonZeroU32,
    /// Requests of one API key.
    pub key_rate: NonZeroU32,
    /// Requests of one API key at once.
    pub key_burst: NonZeroU32,
}

/// `[callback]`: who may send callbacks, and how many.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallbackSettings {
    /// Addresses that may send callbacks; empty for any.
    pub allow_ips: Vec<IpAddr>,
    /// Callbacks and returns of all addresses together, per second.
    pub rate: NonZeroU32,
    /// Callbacks and returns at once.
    pub burst: NonZeroU32,
    /// Callbacks and returns of one address, per second. The limit of other requests does not count for them.
    pub address_rate: NonZeroU32,
    /// Callbacks and returns of one address at once.
    pub address_burst: NonZeroU32,
}

/// `[[merchant]]`: whose orders we take.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MerchantSettings {
    /// The name in API keys and orders.
    pub id: String,
    /// Where customers may be sent back to.
    pub return_origins: Vec<String>,
    /// Where the merchant is told what happened to its orders.
    #[serde(default)]
    pub notify_url: Option<String>,
}

impl HttpSettings {
    /// How long a body may take to arrive.
    pub fn body_timeout(&self) -> Duration {
        Duration::from_secs(self.body_timeout_s)
    }

    /// How long running requests may take at the end.
    pub fn shutdown(&self) -> Duration {
        Duration::from_secs(self.shutdown_s)
    }
}

/// Gives the tables of a sound file their types.
///
/// # Errors
/// Every relation that does not hold, sorted by line.
pub(super) fn build(filled: &[Filled], base: &Path, file: &str) -> Result<Config, Vec<Problem>> {
    let mut builder = Builder {
        filled,
        base,
        file,
        problems: Vec::new(),
        exposed: Vec::new(),
    };
    let config = builder.config();
    let mut problems = builder.problems;
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => {
            problems.sort_by_key(|problem| problem.line);
            Err(problems)
        }
    }
}

/// Gives tables their types and gathers what is wrong with them.
pub(super) struct Builder<'a> {
    filled: &'a [Filled],
    base: &'a Path,
    file: &'a str,
    problems: Vec<Problem>,
    exposed: Vec<PathBuf>,
}

impl<'a> Builder<'a> {
    fn config(&mut self) -> Option<Config> {
        let mut merchants = self.all::<MerchantSettings>("merchant");
        self.check_merchants(&merchants);
        let shop = self.shop(&merchants);
        // Each part is taken before any is missed, so that all faults are told.
        let (log, http) = (self.one("log"), self.one::<HttpSettings>("http"));
        let (limits, callback) = (self.one("http.limits"), self.one("callback"));
        let store_url = self.store_url();
        let store = self.part("store", &["url"], &[]);
        let atom = self.part::<AtomSettings>("atom", &ATOM_SECRETS, &ATOM_TABLES);
        let atom_secrets = self.atom_secrets();
        if let (Some(atom), Some(secrets)) = (&atom, &atom_secrets)
            && let Err(error) = atom.check(secrets)
        {
            self.refused_atom(&error);
        }
        if let (Some(shop), Some(http)) = (&shop, &http) {
            shop_returns_to_us(shop, http, &mut merchants);
        }
        let flow = self.flow(&merchants);
        let read_token_key = self.secrets("flow", "read_token_key").pop();
        let jobs = self.one("jobs");
        let frex = self.frex(&merchants);
        Some(Config {
            base: self.base.to_owned(),
            log: log?,
            store_url: store_url?,
            store: store?,
            http: http?,
            limits: limits?,
            callback: callback?,
            merchants,
            shop: shop?,
            atom: atom?,
            atom_secrets: atom_secrets?,
            flow: flow?,
            read_token_key: read_token_key?,
            jobs: jobs?,
            frex,
            exposed: std::mem::take(&mut self.exposed),
        })
    }

    fn check_merchants(&mut self, merchants: &[MerchantSettings]) {
        if merchants.is_empty() {
            let message = "there is no merchant".to_owned();
            self.bad(0, "merchant", message, "Add [[merchant]] with its id");
        }
        let mut seen = HashSet::new();
        for (merchant, filled) in merchants.iter().zip(self.tables("merchant")) {
            if !seen.insert(&merchant.id) {
                let message = format!("\"{}\" appears twice", merchant.id);
                let line = filled.line_of("id");
                self.bad(
                    line,
                    "merchant.id",
                    message,
                    "Give each merchant its own id",
                );
            }
        }
    }

    fn shop(&mut self, merchants: &[MerchantSettings]) -> Option<ShopSettings> {
        let mut shop = self.one::<ShopSettings>("shop")?;
        shop.items = self.all("shop.item");
        if let Err(error) = shop.check(merchants.iter().map(|merchant| merchant.id.as_str())) {
            let line = self.table("shop").map_or(0, |filled| filled.line);
            let text = error.to_string();
            let (message, way_out) = text.split_once("; ").unwrap_or((&text, ""));
            self.bad(line, "shop", message.to_owned(), way_out);
        }
        Some(shop)
    }

    /// The address of the store; a relative file starts at the directory of the configuration.
    fn store_url(&self) -> Option<String> {
        let url = self.table("store")?.values.get("url")?.as_str()?;
        Some(match url.strip_prefix("sqlite:") {
            Some(path) => format!("sqlite:{}", self.base.join(path).display()),
            None => url.to_owned(),
        })
    }

    /// The rules, and the merchants they hold for. A window of 0 days is none.
    fn flow(&mut self, merchants: &[MerchantSettings]) -> Option<FlowSettings> {
        let mut flow: FlowSettings = self.part("flow", &["read_token_key"], &[])?;
        flow.refund_remarks = self.remarks()?;
        flow.refund_window_days = flow.refund_window_days.filter(|days| *days > 0);
        if flow.amount_min > flow.amount_max {
            let line = self.table("flow")?.line_of("amount_max");
            let message = format!(
                "{} is below amount_min {}",
                flow.amount_max, flow.amount_min
            );
            self.bad(line, "flow.amount_max", message, "Give amount_min or more");
        }
        flow.merchants = merchants
            .iter()
            .map(|merchant| {
                let known = flow::MerchantSettings {
                    return_origins: merchant.return_origins.clone(),
                    is_told: merchant.notify_url.is_some(),
                };
                (merchant.id.clone(), known)
            })
            .collect();
        Some(flow)
    }

    /// What Atom's words about refunds mean: lists of words by meaning, turned into meanings by word.
    fn remarks(&mut self) -> Option<RemarkTable> {
        let filled = self.table("flow.remarks")?;
        let mut by_word = Table::new();
        for (meaning, words) in &filled.values {
            for word in words.as_array()?.iter().filter_map(Value::as_str) {
                let before = by_word.insert(word.to_owned(), Value::from(meaning.as_str()));
                if before.is_some() {
                    let line = filled.line_of(meaning);
                    let message = format!("\"{}\" has two meanings", word.escape_debug());
                    let key = format!("flow.remarks.{meaning}");
                    self.bad(line, &key, message, "Leave it in one list");
                }
            }
        }
        self.typed(filled, by_word)
    }

    /// What the settings of Atom find wrong themselves, at the line of the key they name.
    fn refused_atom(&mut self, error: &SettingsError) {
        let text = error.to_string();
        let named = text.split_whitespace().next().unwrap_or("atom");
        let (path, key) = named.rsplit_once('.').unwrap_or(("atom", ""));
        let line = self.table(path).map_or(0, |filled| filled.line_of(key));
        let named = named.to_owned();
        let message = text.trim_start_matches(&*named).trim_start().to_owned();
        self.bad(
            line,
            &named,
            message,
            "Compare with commerce/commerced.sample.toml",
        );
    }

    fn atom_secrets(&mut self) -> Option<AtomSecrets> {
        let [password, req_key, req_salt, req_hash_key] =
            ["password", "req_key", "req_salt", "req_hash_key"].map(|key| self.secret(key));
        let [res_key, res_salt, res_hash_key] =
            ["res_key", "res_salt", "res_hash_key"].map(|key| self.secrets("atom", key));
        let api_secret = self.secret("api_secret");
        if res_key.len() != res_salt.len() {
            let line = self.table("atom")?.line_of("res_salt");
            let message = format!("{} keys, but {} salts", res_key.len(), res_salt.len());
            self.bad(
                line,
                "atom.res_salt",
                message,
                "Give one salt for each of res_key",
            );
        }
        Some(AtomSecrets {
            password: password?,
            request_key: KeyAndSalt {
                key: req_key?,
                salt: req_salt?,
            },
            response_keys: res_key
                .into_iter()
                .zip(res_salt)
                .map(|(key, salt)| KeyAndSalt { key, salt })
                .collect(),
            request_hash_key: req_hash_key?,
            response_hash_keys: res_hash_key,
            api_secret,
        })
    }

    /// One secret of `[atom]`.
    fn secret(&mut self, key: &str) -> Option<Secret> {
        self.secrets("atom", key).pop()
    }

    /// The secrets that a key names, fetched from where they lie.
    pub(super) fn secrets(&mut self, path: &'static str, key: &str) -> Vec<Secret> {
        let Some(filled) = self.table(path) else {
            return Vec::new();
        };
        let places = match filled.values.get(key) {
            Some(Value::String(place)) => vec![place.as_str()],
            Some(Value::Array(places)) => places.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let mut found = Vec::new();
        for place in places.into_iter().filter_map(SecretPlace::parse) {
            match place.fetch(self.base) {
                Ok(secret) => {
                    found.push(secret);
                    self.exposed.extend(place.exposed(self.base));
                }
                Err(error) => {
                    let line = filled.line_of(key);
                    let way_out = "Put the secret there, readable for this user only";
                    self.bad(line, &format!("{path}.{key}"), error.to_string(), way_out);
                }
            }
        }
        found
    }

    fn tables(&self, path: &str) -> Vec<&'a Filled> {
        self.filled.iter().filter(|f| f.path == path).collect()
    }

    pub(super) fn table(&self, path: &str) -> Option<&'a Filled> {
        self.filled.iter().find(|f| f.path == path)
    }

    fn one<T: DeserializeOwned>(&mut self, path: &'static str) -> Option<T> {
        self.part(path, &[], &[])
    }

    fn all<T: DeserializeOwned>(&mut self, path: &'static str) -> Vec<T> {
        let tables = self.tables(path).into_iter();
        tables
            .filter_map(|filled| self.typed(filled, filled.values.clone()))
            .collect()
    }

    /// A table as the settings of a part, without the keys in `but`, and with the tables below it.
    pub(super) fn part<T: DeserializeOwned>(
        &mut self,
        path: &'static str,
        but: &[&str],
        below: &[&str],
    ) -> Option<T> {
        let filled = self.table(path)?;
        let mut values = filled.values.clone();
        values.retain(|key, _| !but.contains(&key));
        for name in below {
            let inner = self.table(&format!("{path}.{name}"))?;
            values.insert((*name).to_owned(), Value::Table(inner.values.clone()));
        }
        self.typed(filled, values)
    }

    pub(super) fn typed<T: DeserializeOwned>(
        &mut self,
        filled: &Filled,
        values: Table,
    ) -> Option<T> {
        let found = values.try_into();
        let refused = |error: toml::de::Error| {
            let message = error.message().to_owned();
            let way_out = "Compare with commerce/commerced.sample.toml";
            self.bad(filled.line, filled.path, message, way_out);
        };
        found.map_err(refused).ok()
    }

    pub(super) fn bad(&mut self, line: u32, key: &str, message: String, way_out: &str) {
        self.problems.push(Problem {
            file: self.file.to_owned(),
            line,
            key: key.to_owned(),
            message,
            way_out: way_out.to_owned(),
        });
    }
}

/// The shop's own page is one that its customers may be sent back to.
fn shop_returns_to_us(
    shop: &ShopSettings,
    http: &HttpSettings,
    merchants: &mut [MerchantSettings],
) {
    let own = merchants
        .iter_mut()
        .find(|merchant| shop.enabled && merchant.id == shop.merchant);
    if let Some(merchant) = own
        && !merchant.return_origins.contains(&http.public_url)
    {
        merchant.return_origins.push(http.public_url.clone());
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::super::keys::SECTIONS;
    use super::super::rule::{Fallback, Rule};
    use super::*;

    /// The defaults of a part's own settings.
    fn defaults(of: impl Serialize) -> Table {
        Table::try_from(of).expect("settings are a table")
    }

    /// What Atom's words mean by the table of keys is what the flow takes them for when nobody configures them.
    #[test]
    fn remarks_agree_with_the_flow() {
        let section = SECTIONS.iter().find(|s| s.path == "flow.remarks");
        let mut by_word = Table::new();
        for key in section.expect("the section").keys {
            let Rule::List { default, .. } = &key.rule else {
                panic!("{} is a list", key.name)
            };
            for word in *default {
                by_word.insert((*word).to_owned(), Value::from(key.name));
            }
        }
        let flow = defaults(FlowSettings::default());
        assert_eq!(flow["refund_remarks"].as_table(), Some(&by_word));
    }

    /// What the table of keys says is what the parts do when nobody configures them: same keys, same defaults.
    #[test]
    fn the_table_agrees_with_the_parts() {
        let atom = defaults(AtomSettings::default());
        let inner = |name: &str| atom[name].as_table().expect("a table").clone();
        let parts = [
            ("flow", defaults(FlowSettings::default())),
            ("jobs", defaults(JobSettings::default())),
            ("store", defaults(StoreSettings::default())),
            ("atom", atom.clone()),
            ("atom.url", inner("url")),
            ("atom.messages", inner("messages")),
            ("atom.calls", inner("calls")),
            ("atom.breaker", inner("breaker")),
        ];
        for (path, part) in parts {
            let section = SECTIONS.iter().find(|s| s.path == path).expect(path);
            for (name, value) in part.iter().filter(|(_, value)| !value.is_table()) {
                let key = section.keys.iter().find(|key| key.name == name);
                let key = key.unwrap_or_else(|| panic!("{path}.{name} is not in the table"));
                let default = match &key.rule {
                    Rule::Integer { default, .. } => Value::from(*default),
                    Rule::Flag { default } => Value::from(*default),
                    Rule::Choice { default, .. } => Value::from(*default),
                    Rule::Text {
                        default: Fallback::Value(default),
                        ..
                    } => Value::from(*default),
                    _ => continue,
                };
                assert_eq!(value, &default, "{path}.{name}");
            }
        }
    }
}
