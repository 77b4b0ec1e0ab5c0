//! `commerced frex ...`: what operators see and decide at a terminal, straight in the store, also while daemons run on it.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::Value;

use crate::clock::Clock;
use crate::config::Config;
use crate::daemon;
use crate::frex::decide::{Decided, Decider, OrderAction, RequestAction, is_note};
use crate::frex::key::RequestType;
use crate::frex::model::RequestState;
use crate::frex::service::Frex;
use crate::frex::view::{self, AlertFilter, RequestFilter};
use crate::logging;
use crate::metrics::Metrics;
use crate::store::Store;

/// What can be seen and done.
#[derive(Subcommand)]
pub enum FrexCommand {
    /// Show an order, its requests, its open alerts and its history
    Order {
        /// Which store
        #[command(flatten)]
        at: At,
        /// The order's number
        order_no: String,
    },
    /// List requests to the agency, the oldest first
    Requests {
        /// Which store
        #[command(flatten)]
        at: At,
        /// Only in this state: STANDBY, SENDING, UNKNOWN, COMPLETE, ERROR or SKIPPED
        #[arg(long, value_parser = state)]
        state: Option<RequestState>,
        /// Only of this type, such as BILLING_REG
        #[arg(long = "type", value_parser = kind)]
        kind: Option<RequestType>,
        /// At most so many
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// List alerts
    Alerts {
        /// Which store
        #[command(flatten)]
        at: At,
        /// Resolved ones too
        #[arg(long)]
        all: bool,
        /// At most so many
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// List runs, the newest first
    Runs {
        /// Which store
        #[command(flatten)]
        at: At,
        /// At most so many
        #[arg(long, default_value_t = 10)]
        limit: u32,
    },
    /// Show whether the worker runs, is paused, and when it runs next
    Status {
        /// Which store
        #[command(flatten)]
        at: At,
    },
    /// Pause the worker in all processes; a run under way ends as it would
    Pause {
        /// Which store, and who decides
        #[command(flatten)]
        by: By,
    },
    /// Let the worker go on
    Resume {
        /// Which store, and who decides
        #[command(flatten)]
        by: By,
    },
    /// Run the worker once, here and now, unless a run is active
    Run {
        /// Which store, and who decides
        #[command(flatten)]
        by: By,
        /// Only these steps, separated by commas, such as OrderReg,BillingResult; they keep their fixed order
        #[arg(long, value_delimiter = ',')]
        steps: Vec<String>,
    },
    /// Ask the agency once more what became of a request
    Retry {
        /// Which store, and who decides
        #[command(flatten)]
        by: By,
        /// The request's key, as listed
        request_key: String,
    },
    /// Decide about a request (its key) or about an order (its number)
    Decide {
        /// Which store, and who decides
        #[command(flatten)]
        by: By,
        /// The request's key or the order's number
        subject: String,
        /// For a request: retry_lookup, confirm_accepted, confirm_not_received, close, and, about screening at an
        /// agency that cannot be asked, confirm_approved or confirm_refused. For an order: retry_registration,
        /// retry_billing, revert_amount, accept_agency_amount, agency_corrected, clear_delete_rejected or close_cancel
        action: String,
        /// With confirm_accepted: the agency's acceptance number
        #[arg(long, value_name = "NUMBER")]
        accept_no: Option<String>,
        /// Why; no buyer data
        #[arg(long, value_name = "TEXT", default_value = "")]
        note: String,
    },
    /// Put an alert away that somebody has seen to
    ResolveAlert {
        /// Which store, and who decides
        #[command(flatten)]
        by: By,
        /// The alert's id, as listed
        alert_id: String,
        /// What was done; no buyer data
        #[arg(long, value_name = "TEXT", default_value = "")]
        note: String,
    },
    /// Say whether a member company may use deferred payment (joiner.UseFrex)
    Joiner {
        /// Which store, and who decides
        #[command(flatten)]
        by: By,
        /// The company
        joiner_id: String,
        /// on or off
        #[arg(value_parser = ["on", "off"])]
        use_frex: String,
    },
    /// Hold the tables against the rules that must always be true
    Check {
        /// Which store
        #[command(flatten)]
        at: At,
    },
    /// Hold our bills of the last days against the agency's
    Reconcile {
        /// Which store
        #[command(flatten)]
        at: At,
    },
}

/// Which store.
#[derive(Args)]
pub struct At {
    /// The configuration of the daemon whose store is meant
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// Which store, and who decides.
#[derive(Args)]
pub struct By {
    #[command(flatten)]
    at: At,
    /// Your name, for the record, beside your account of the system; a second operator must have another account
    #[arg(long, value_name = "NAME")]
    operator: String,
}

fn state(text: &str) -> Result<RequestState, String> {
    RequestState::from_word(text).ok_or_else(|| {
        let all: Vec<_> = RequestState::ALL.iter().map(|it| it.as_str()).collect();
        format!("the states are {}", all.join(", "))
    })
}

fn kind(text: &str) -> Result<RequestType, String> {
    RequestType::from_name(text).ok_or_else(|| {
        let all: Vec<_> = RequestType::NAMES.iter().map(|it| it.1).collect();
        format!("the types are {}", all.join(", "))
    })
}

/// Runs one command.
///
/// # Errors
/// A sentence for the person at the terminal.
pub async fn run(command: FrexCommand) -> Result<(), String> {
    match command {
        FrexCommand::Order { at, order_no } => order(&open(&at).await?.1, &order_no).await,
        FrexCommand::Requests {
            at,
            state,
            kind,
            limit,
        } => {
            let filter = RequestFilter {
                state,
                kind,
                limit: limit.into(),
                ..RequestFilter::default()
            };
            let rows = view::requests(&open(&at).await?.1, filter).await;
            print_all(rows.map_err(text)?.iter().map(|(_, row)| request_line(row)))
        }
        FrexCommand::Alerts { at, all, limit } => {
            let filter = AlertFilter {
                resolved: all,
                limit: i64::from(limit),
                ..AlertFilter::default()
            };
            let rows = view::alerts(&open(&at).await?.1, &filter).await;
            print_all(rows.map_err(text)?.iter().map(alert_line))
        }
        FrexCommand::Runs { at, limit } => {
            let rows = view::runs(&open(&at).await?.1, limit.into()).await;
            print_all(rows.map_err(text)?.iter().map(run_line))
        }
        FrexCommand::Status { at } => status(&open(&at).await?.1).await,
        FrexCommand::Pause { by } => set_paused(&by, true).await,
        FrexCommand::Resume { by } => set_paused(&by, false).await,
        FrexCommand::Run { by, steps } => {
            let frex = parts(&by.at).await?;
            let report = frex.worker.run_now(&by.name()?, &steps).await;
            let report = report.map_err(text)?;
            print(&format!("{}: {}", report.run_id, report.summary()))
        }
        FrexCommand::Retry { by, request_key } => {
            decide(&by, &request_key, "retry_lookup", None, "").await
        }
        FrexCommand::Decide {
            by,
            subject,
            action,
            accept_no,
            note,
        } => decide(&by, &subject, &action, accept_no.as_deref(), &note).await,
        FrexCommand::ResolveAlert { by, alert_id, note } => {
            let operator = by.name()?;
            let decider = decider(&operator, &note)?;
            let shop = parts(&by.at).await?.shop;
            match shop.resolve_alert(&alert_id, decider).await.map_err(text)? {
                true => print(&format!("{alert_id}: resolved")),
                false => Err(format!("there is no open alert {alert_id}")),
            }
        }
        FrexCommand::Joiner {
            by,
            joiner_id,
            use_frex,
        } => {
            let operator = by.name()?;
            let shop = parts(&by.at).await?.shop;
            let decider = Decider::without_note(&operator);
            let done = shop.set_joiner(&joiner_id, use_frex == "on", decider);
            done.await.map_err(text)?;
            print(&format!("{joiner_id}: UseFrex {use_frex}"))
        }
        FrexCommand::Check { at } => check(&parts(&at).await?).await,
        FrexCommand::Reconcile { at } => reconcile(&parts(&at).await?).await,
    }
}

async fn reconcile(frex: &Frex) -> Result<(), String> {
    let done = frex.reconcile_now().await.map_err(text)?;
    if done.not_compared {
        return print(
            "nothing was compared: the agency's interface does not tell its bills; compare with its own report",
        );
    }
    let asked = format!("{} billed, {} not billed", done.billed, done.unbilled);
    if done.missing + done.amounts + done.surplus > 0 {
        return Err(format!(
            "asked about {asked}: {} missing at the agency, {} with another amount, {} billed there and not here. \
             See: commerced frex alerts",
            done.missing, done.amounts, done.surplus
        ));
    }
    let no_lookup = if done.no_lookup {
        "; this agency cannot be asked about orders that are not billed"
    } else {
        ""
    };
    print(&format!("asked about {asked}: both sides agree{no_lookup}"))
}

async fn order(store: &Store, order_no: &str) -> Result<(), String> {
    let found = view::order(store, order_no).await.map_err(text)?;
    let (_, shown) = found.ok_or_else(|| format!("there is no order {order_no}"))?;
    for (name, value) in shown.as_object().into_iter().flatten() {
        if !value.is_array() {
            print(&format!("{name:18} {}", word(value)))?;
        }
    }
    let list = |name: &str| shown[name].as_array().cloned().unwrap_or_default();
    print("requests")?;
    print_all(list("requests").iter().map(request_line))?;
    print("open alerts")?;
    print_all(list("alerts").iter().map(alert_line))?;
    print("history")?;
    let history = view::history(store, order_no).await.map_err(text)?;
    print_all(history.unwrap_or_default().iter().map(history_line))
}

async fn status(store: &Store) -> Result<(), String> {
    let shown = view::worker(store, Clock::system().now_ms()).await;
    for (name, value) in shown.map_err(text)?.as_object().into_iter().flatten() {
        print(&format!("{name:16} {}", word(value)))?;
    }
    Ok(())
}

async fn set_paused(by: &By, paused: bool) -> Result<(), String> {
    let operator = by.name()?;
    let shop = parts(&by.at).await?.shop;
    let done = shop.set_paused(paused, Decider::without_note(&operator));
    done.await.map_err(text)?;
    print(if paused { "paused" } else { "goes on" })
}

async fn decide(
    by: &By,
    subject: &str,
    action: &str,
    accept_no: Option<&str>,
    note: &str,
) -> Result<(), String> {
    let operator = by.name()?;
    let decider = decider(&operator, note)?;
    let shop = parts(&by.at).await?.shop;
    let word = action;
    let decided = if subject.contains(':') {
        let action = RequestAction::from_word(action);
        let action = action.ok_or_else(|| {
            no_decision(
                subject,
                word,
                RequestAction::ALL.iter().map(|it| it.as_str()),
            )
        })?;
        shop.resolve_request(subject, action, accept_no, decider)
            .await
    } else {
        let action = OrderAction::from_word(action);
        let action = action.ok_or_else(|| {
            no_decision(subject, word, OrderAction::ALL.iter().map(|it| it.as_str()))
        })?;
        shop.resolve_order(subject, action, decider).await
    };
    match decided.map_err(text)? {
        Decided::Done => print(&format!("{subject}: {action} is done")),
        Decided::NeedsSecond => print(&format!(
            "{subject}: {action} waits for a second operator, who must say the same from another account or over HTTP"
        )),
    }
}

fn decider<'a>(operator: &'a str, note: &'a str) -> Result<Decider<'a>, String> {
    if !is_note(note) {
        return Err("--note must be one line of at most 500 characters".to_owned());
    }
    Ok(Decider { operator, note })
}

fn no_decision<'a>(subject: &str, given: &str, words: impl Iterator<Item = &'a str>) -> String {
    let all: Vec<_> = words.collect();
    format!(
        "{given} is no decision about {subject}; those are {}",
        all.join(", ")
    )
}

async fn check(frex: &Frex) -> Result<(), String> {
    let found = frex.check_now().await.map_err(text)?;
    let broken: usize = found.iter().map(|(_, count)| count).sum();
    print_all(
        found
            .iter()
            .map(|(rule, count)| format!("{rule:26} {count} orders newly found to break it")),
    )?;
    if broken == 0 {
        return Ok(());
    }
    Err("rules are broken; see: commerced frex alerts".to_owned())
}

impl By {
    /// The name under which a decision at a terminal is kept.
    fn name(&self) -> Result<String, String> {
        let name = self.operator.trim();
        if name.is_empty() || name.chars().any(char::is_control) {
            return Err("--operator must be your name".to_owned());
        }
        let uid = account().map_err(|error| format!("the account of this process: {error}"))?;
        Ok(format!("cli:{name} (uid {uid})"))
    }
}

/// The account with which the person at the terminal logged in, also behind `sudo`; where the system keeps none, that of the process.
fn account() -> std::io::Result<u32> {
    const NOBODY_LOGGED_IN: u32 = u32::MAX;
    let login = std::fs::read_to_string("/proc/self/loginuid").ok();
    let login = login.and_then(|text| text.trim().parse().ok());
    match login.filter(|uid| *uid != NOBODY_LOGGED_IN) {
        Some(uid) => Ok(uid),
        None => Ok(std::fs::metadata("/proc/self")?.uid()),
    }
}

async fn open(at: &At) -> Result<(Config, Store), String> {
    let config = daemon::load(&at.config)?;
    let store = daemon::open_store(&config).await.map_err(text)?;
    Ok((config, store))
}

/// Everything, as the daemon has it, with its log: what is done here is told there too.
async fn parts(at: &At) -> Result<Frex, String> {
    let (config, store) = open(at).await?;
    logging::start(&config.log, &config.base).map_err(text)?;
    let points = daemon::points(&config);
    let frex = config
        .frex
        .ok_or_else(|| format!("{}: [frex] is not enabled", at.config.display()))?;
    let clock = Clock::system();
    let metrics = Metrics::new(clock.clone());
    Frex::new(&frex, &store, &clock, &points, metrics.frex()).map_err(text)
}

fn word(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn request_line(row: &Value) -> String {
    let [key, state, label, accept_no, attempts, next, error] = [
        "key",
        "state",
        "label",
        "accept_no",
        "attempts",
        "next_attempt_at",
        "last_error",
    ]
    .map(|name| word(&row[name]));
    format!(
        "  {key}  {state} ({label})  accept no {accept_no}  sent {attempts}x  due {next}  {error}"
    )
}

fn alert_line(row: &Value) -> String {
    let [id, severity, kind, order_no, key, count, since, detail, by] = [
        "id",
        "severity",
        "kind",
        "order_no",
        "request_key",
        "count",
        "first_seen",
        "detail",
        "resolved_by",
    ]
    .map(|name| word(&row[name]));
    let resolved = if by == "-" {
        String::new()
    } else {
        format!("  resolved by {by}")
    };
    format!(
        "  {id}  {severity} {kind}  {order_no} {key}  {count}x since {since}  {detail}{resolved}"
    )
}

fn run_line(row: &Value) -> String {
    let [id, state, cause, owner, began, ended] = [
        "run_id",
        "state",
        "cause",
        "owner",
        "started_at",
        "ended_at",
    ]
    .map(|it| word(&row[it]));
    let steps = row["report"]["steps"].as_array();
    let counts: Vec<String> = steps
        .into_iter()
        .flatten()
        .filter(|step| step["selected"] != 0 || step["sent"] != 0)
        .map(|step| {
            let [name, selected, sent, done, failed] =
                ["step", "selected", "sent", "done", "failed"].map(|it| word(&step[it]));
            format!("{name} selected {selected} sent {sent} done {done} failed {failed}")
        })
        .collect();
    format!(
        "{id}  {state}  because of {cause}  at {owner}  {began} to {ended}  {}",
        counts.join("; ")
    )
}

fn history_line(row: &Value) -> String {
    let members = row.as_object().into_iter().flatten();
    let rest: Vec<String> = members
        .filter(|(name, value)| !matches!(name.as_str(), "at" | "what") && word(value) != "-")
        .map(|(name, value)| format!("{name}={}", word(value)))
        .collect();
    format!(
        "  {}  {}  {}",
        word(&row["at"]),
        word(&row["what"]),
        rest.join(" ")
    )
}

fn print_all(lines: impl Iterator<Item = String>) -> Result<(), String> {
    for line in lines {
        print(&line)?;
    }
    Ok(())
}

fn print(line: &str) -> Result<(), String> {
    writeln!(std::io::stdout(), "{}", logging::one_line(line))
        .map_err(|error| format!("standard output: {error}"))
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
