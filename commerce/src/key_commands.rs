//! `commerced key ...`: API keys made, listed and revoked, straight in the store, so that the first key needs no key.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::clock::Clock;
use crate::config::Config;
use crate::daemon;
use crate::keys::{ApiKeys, Role};
use crate::store::StoreError;

/// What can be done with API keys.
#[derive(Subcommand)]
pub enum KeyCommand {
    /// Make a key and show it, once
    New {
        /// Which store
        #[command(flatten)]
        at: At,
        /// What the key may do: merchant (with --merchant) or operator
        #[arg(long, value_parser = ["merchant", "operator"])]
        role: String,
        /// Whose orders the key reaches, an id of [[merchant]]
        #[arg(long, value_name = "ID")]
        merchant: Option<String>,
        /// What the key is called in lists and in the audit
        #[arg(long, value_name = "TEXT", default_value = "")]
        label: String,
    },
    /// List all keys, without the keys themselves
    List {
        /// Which store
        #[command(flatten)]
        at: At,
    },
    /// Revoke a key; it stops to work within seconds
    Revoke {
        /// Which store
        #[command(flatten)]
        at: At,
        /// The id of the key, as listed
        #[arg(value_name = "KEY_ID")]
        id: String,
    },
}

/// Which store.
#[derive(Args)]
pub struct At {
    /// The configuration of the daemon whose keys are meant
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// Runs one command.
///
/// # Errors
/// A sentence for the person at the terminal.
pub async fn run(command: KeyCommand) -> Result<(), String> {
    match command {
        KeyCommand::New {
            at,
            role,
            merchant,
            label,
        } => {
            let (config, keys) = open(&at).await?;
            let merchant = owner(&config, &role, merchant)?;
            let made = keys.create(merchant.as_deref(), &label).await;
            let made = made.map_err(failed)?;
            eprintln!("{}: keep this key, it is not shown again", made.id);
            print(&made.key)
        }
        KeyCommand::List { at } => {
            let (_, keys) = open(&at).await?;
            for entry in keys.list().await.map_err(failed)? {
                let who = &entry.principal;
                let owner = who.merchant_id.as_deref().unwrap_or("-");
                let state = entry
                    .revoked_at
                    .map_or_else(|| "valid".to_owned(), |at| format!("revoked {}", day(at)));
                print(&format!(
                    "{}  {:8}  {owner}  made {}  {state}  {}",
                    who.key_id,
                    who.role.word(),
                    day(entry.created_at),
                    who.label
                ))?;
            }
            Ok(())
        }
        KeyCommand::Revoke { at, id } => {
            let (_, keys) = open(&at).await?;
            if keys.revoke(&id).await.map_err(failed)? {
                return print(&format!("{id}: revoked"));
            }
            Err(format!(
                "{id}: no valid key has this id. See: commerced key list"
            ))
        }
    }
}

/// Whose key it is to be: a merchant of the configuration, or nobody's for an operator.
fn owner(config: &Config, role: &str, merchant: Option<String>) -> Result<Option<String>, String> {
    let known = || {
        let ids: Vec<_> = config.merchants.iter().map(|m| m.id.as_str()).collect();
        ids.join(", ")
    };
    match (role == Role::Operator.word(), merchant) {
        (true, None) => Ok(None),
        (true, Some(_)) => {
            Err("an operator's key belongs to no merchant. Leave --merchant out".into())
        }
        (false, None) => Err(format!(
            "a merchant's key needs its owner. Add --merchant with one of: {}",
            known()
        )),
        (false, Some(id)) if config.merchants.iter().any(|m| m.id == id) => Ok(Some(id)),
        (false, Some(id)) => Err(format!(
            "{id}: no such merchant in the configuration. Known: {}",
            known()
        )),
    }
}

async fn open(at: &At) -> Result<(Config, ApiKeys), String> {
    let config = daemon::load(&at.config)?;
    let store = daemon::open_store(&config)
        .await
        .map_err(|error| error.to_string())?;
    Ok((config, ApiKeys::new(store, Clock::system())))
}

fn print(line: &str) -> Result<(), String> {
    writeln!(std::io::stdout(), "{line}").map_err(|error| format!("standard output: {error}"))
}

fn failed(error: StoreError) -> String {
    format!("the store failed: {error}")
}

fn day(at_ms: i64) -> String {
    OffsetDateTime::from_unix_timestamp(at_ms / 1000)
        .ok()
        .and_then(|at| at.format(&Rfc3339).ok())
        .unwrap_or_default()
}
