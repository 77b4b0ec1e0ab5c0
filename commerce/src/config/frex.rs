//! `[frex]` and the tables in it: the deferred-payment worker, its agency, and who is told of what.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use toml::{Table, Value};
use zeroize::Zeroizing;

use super::model::{Builder, MerchantSettings};
use super::read::Filled;
use super::rule;
use crate::frex::agency::settings::AgencySettings;
use crate::frex::notify::settings::NotifySettings;
use crate::frex::settings::{ClosedWindow, WorkerSettings};
use crate::frex::vault::Vault;
use crate::secret::Secret;

/// What `[frex]` says when it is enabled. It holds keys and has no `Debug`.
#[derive(Clone)]
pub struct FrexConfig {
    /// Whose API keys place orders.
    pub merchant: String,
    /// Seals and opens buyer data.
    pub vault: Arc<Vault>,
    /// How long buyer data is kept after the end of an order.
    pub buyer_retention_days: u32,
    /// Between two checks of the invariants.
    pub check_interval_s: u64,
    /// When bills are held against the agency, hour of the day in Japan.
    pub reconcile_hour: u32,
    /// Of how many days.
    pub reconcile_days: u32,
    /// `[frex.worker]`.
    pub worker: Arc<WorkerSettings>,
    /// `[frex.agency]`.
    pub agency: AgencySettings,
    /// Our passwords at the agency.
    pub passwords: Vec<Secret>,
    /// `[frex.notify]`.
    pub notify: NotifySettings,
}

/// The plain values of `[frex]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plain {
    enabled: bool,
    merchant: String,
    buyer_retention_days: u32,
    check_interval_s: u64,
    reconcile_hour: u32,
    reconcile_days: u32,
}

const SAMPLE: &str = "Compare with commerce/commerced.sample.toml";

impl Builder<'_> {
    /// `[frex]`, if it is enabled. Faults are told as problems; then there is nothing.
    pub(super) fn frex(&mut self, merchants: &[MerchantSettings]) -> Option<FrexConfig> {
        let plain: Plain = self.part("frex", &["buyer_keys"], &[])?;
        if !plain.enabled {
            return None;
        }
        if !merchants.iter().any(|known| known.id == plain.merchant) {
            let line = self.line("frex", "merchant");
            let message = format!("\"{}\" is no merchant", plain.merchant);
            self.bad(
                line,
                "frex.merchant",
                message,
                "Give the id of a [[merchant]]",
            );
        }
        let vault = self.vault();
        let agency = self.agency();
        let passwords = self.passwords();
        let worker = self.worker(agency.as_ref());
        let notify = self.notify();
        let mut agency = agency?;
        let mut worker = worker?;
        let told =
            |known: &&MerchantSettings| known.id == plain.merchant && known.notify_url.is_some();
        worker.told_merchant = merchants.iter().find(told).map(|known| known.id.clone());
        agency.items_max = usize::try_from(worker.call_items).unwrap_or(agency.items_max);
        Some(FrexConfig {
            merchant: plain.merchant,
            vault: vault?,
            buyer_retention_days: plain.buyer_retention_days,
            check_interval_s: plain.check_interval_s,
            reconcile_hour: plain.reconcile_hour,
            reconcile_days: plain.reconcile_days,
            worker: Arc::new(worker),
            agency,
            passwords,
            notify: notify?,
        })
    }

    /// The keys of buyer data, each `NAME:BASE64`.
    fn vault(&mut self) -> Option<Arc<Vault>> {
        let texts = self.secrets("frex", "buyer_keys");
        let mut keys = Vec::with_capacity(texts.len());
        let line = self.line("frex", "buyer_keys");
        for text in &texts {
            let taken = text.expose().split_once(':').and_then(|(name, key)| {
                let bytes = STANDARD.decode(key.trim()).ok()?;
                Some((name.trim().to_owned(), Zeroizing::new(bytes)))
            });
            let Some(key) = taken else {
                let message = "a key is not written as NAME:BASE64".to_owned();
                let way_out = "Make one with: echo \"k1:$(openssl rand -base64 32)\"";
                self.bad(line, "frex.buyer_keys", message, way_out);
                return None;
            };
            keys.push(key);
        }
        match Vault::new(&keys) {
            Ok(vault) => Some(Arc::new(vault)),
            Err(error) => {
                let way_out = "Make one with: echo \"k1:$(openssl rand -base64 32)\"";
                self.bad(line, "frex.buyer_keys", error.to_string(), way_out);
                None
            }
        }
    }

    fn agency(&mut self) -> Option<AgencySettings> {
        let agency: AgencySettings = self.part("frex.agency", &["passwords"], &[])?;
        if let Err(error) = agency.check() {
            let text = error.to_string();
            let key = text.split([' ', ':']).next().unwrap_or_default();
            let line = self.line("frex.agency", key);
            let key = format!("frex.agency.{key}");
            self.bad(line, &key, text, SAMPLE);
            return None;
        }
        Some(agency)
    }

    fn passwords(&mut self) -> Vec<Secret> {
        let passwords = self.secrets("frex.agency", "passwords");
        if !(1..=2).contains(&passwords.len()) {
            let line = self.line("frex.agency", "passwords");
            let message = format!("{} passwords of the agency", passwords.len());
            self.bad(
                line,
                "frex.agency.passwords",
                message,
                "Give one, or two while it changes",
            );
        }
        passwords
    }

    /// The worker's settings; how long a call may take is what the agency's client has.
    fn worker(&mut self, agency: Option<&AgencySettings>) -> Option<WorkerSettings> {
        let mut settings: WorkerSettings = self.part("frex.worker", &["closed"], &[])?;
        let filled = self.table("frex.worker")?;
        settings.closed = windows(filled);
        settings.call_timeout_s = agency?.timeout_ms.div_ceil(1_000).max(1);
        if let Err(error) = settings.check() {
            let text = error.to_string();
            let named = text.split_whitespace().next().unwrap_or_default();
            let key = named.trim_start_matches("frex.worker.");
            let line = filled.line_of(key);
            self.bad(
                line,
                named,
                text.trim_start_matches(named).trim().to_owned(),
                SAMPLE,
            );
            return None;
        }
        Some(settings)
    }

    fn notify(&mut self) -> Option<NotifySettings> {
        let filled = self.table("frex.notify")?;
        let mut values: Table = filled.values.clone();
        let mut secret = |key: &str, address: &str| {
            values.remove(key);
            // A key of a way that is not used needs not be there.
            let used = values.get(address).and_then(Value::as_str) != Some("");
            used.then(|| self.secrets("frex.notify", key).pop())
                .flatten()
        };
        let webhook_key = secret("webhook_key", "webhook_url");
        let smtp_password = secret("smtp_password", "smtp_host");
        let raw = self.typed(filled, values)?;
        match NotifySettings::new(raw, webhook_key, smtp_password) {
            Ok(settings) => Some(settings),
            Err(error) => {
                let line = filled.line_of(error.key);
                let key = format!("frex.notify.{}", error.key);
                self.bad(line, &key, error.reason.to_owned(), error.way_out);
                None
            }
        }
    }

    fn line(&self, path: &str, key: &str) -> u32 {
        self.table(path).map_or(0, |filled| filled.line_of(key))
    }
}

/// The closing hours; the reader has held each against its form.
fn windows(filled: &Filled) -> Vec<ClosedWindow> {
    let texts = filled.values.get("closed").and_then(Value::as_array);
    let texts = texts.into_iter().flatten().filter_map(Value::as_str);
    let windows = texts.filter_map(rule::window);
    windows
        .map(|(from_minute, to_minute)| ClosedWindow {
            from_minute,
            to_minute,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::keys::SECTIONS;
    use super::super::rule::Rule;
    use crate::frex::settings::{RANGES, WorkerSettings};

    /// The table of keys has the ranges and defaults that the worker itself has, except for what it takes from the agency's
    /// client.
    #[test]
    fn the_worker_agrees_with_the_table() {
        let section = SECTIONS.iter().find(|s| s.path == "frex.worker");
        let section = section.expect("the section");
        let settings = WorkerSettings::default();
        for range in RANGES {
            let key = section.keys.iter().find(|key| key.name == range.key);
            let Some(key) = key else {
                assert_eq!(range.key, "call_timeout_s");
                continue;
            };
            let Rule::Integer {
                default, min, max, ..
            } = key.rule
            else {
                panic!("{} is a number", range.key)
            };
            let number = |value: u64| i64::try_from(value).expect("small");
            assert_eq!(
                (default, min, max),
                (
                    number((range.of)(&settings)),
                    number(range.least),
                    number(range.greatest)
                ),
                "{}",
                range.key
            );
        }
        let retry = section.keys.iter().find(|key| key.name == "retry_s");
        let Rule::Numbers { default, .. } = &retry.expect("the key").rule else {
            panic!("retry_s is a list")
        };
        let own: Vec<u64> = default.iter().map(|it| it.unsigned_abs()).collect();
        assert_eq!(own, settings.retry_s);
    }
}
