//! `loadgen drain-atom`: many payments whose callbacks were all lost at once, as after an outage, and how fast the status
//! queries of `commerced` find out what became of them.
//!
//! One order is made and paid as usual; the others are written into the tables beside it as copies, because making them is not
//! what is measured. Atom captured every second one and knows nothing of the rest, so half of the queries pay an order and half
//! learn that there is nothing yet. Unlike [`crate::atom`], this module uses the store of `commerce`: it makes work, it judges
//! nothing. The books are held against each other by `loadgen books-atom`.

use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use commerce::store::{Store, StoreError, StoreSettings};
use serde::Serialize;
use url::Url;

use crate::atom::run::api::Api;
use crate::atom::run::key_of;

/// How often the tables are looked at.
const LOOK: Duration = Duration::from_millis(500);
/// Captures of one call.
const GROUP: usize = 1_000;
/// So that all numbers have the same length and sort.
const FIRST: usize = 1_000_000;
/// What the copies' numbers at Atom begin with.
const PREFIX: &str = "GDRAIN";
/// What the copies' orders begin with.
const ORDER_PREFIX: &str = "ord_DRAIN";

/// Makes so many orders as copies of the template.
const COPY_ORDERS: &str = "\
    INSERT INTO orders (id, merchant_id, merchant_order_ref, user_id, amount, currency, customer_email, customer_mobile, items, \
     content_sha256, read_token_sha256, status, expires_at, version, created_at, updated_at) \
    WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < $1 - 1) \
    SELECT 'ord_DRAIN' || CAST(1000000 + i AS TEXT), merchant_id, 'DRAIN' || CAST(1000000 + i AS TEXT), user_id, amount, currency, \
     customer_email, customer_mobile, items, content_sha256, read_token_sha256, 'pending', expires_at, 1, created_at, updated_at \
    FROM orders, n WHERE id = $2";
/// And their attempts, not due yet.
const COPY_ATTEMPTS: &str = "\
    INSERT INTO payment_attempts (id, order_id, merch_txn_id, merch_txn_date_ist, amount, currency, phase, outcome, \
     token_at, auth_calls, auth_at, version, created_at, updated_at) \
    WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < $1 - 1) \
    SELECT 'att_DRAIN' || CAST(1000000 + i AS TEXT), 'ord_DRAIN' || CAST(1000000 + i AS TEXT), \
     'GDRAIN' || CAST(1000000 + i AS TEXT), merch_txn_date_ist, amount, currency, 'user_payment', 'none', \
     token_at, 1, auth_at, 1, created_at, updated_at FROM payment_attempts, n WHERE order_id = $2";
/// Makes them due, all at once.
const DUE: &str =
    "UPDATE payment_attempts SET next_requery_at = $1 WHERE merch_txn_id LIKE 'GDRAIN%'";

/// `loadgen drain-atom`: a backlog of status queries.
#[derive(Args, Clone, Debug)]
pub struct DrainAtomArgs {
    /// The database of commerced: sqlite:PATH or postgres://...
    #[arg(long, value_name = "URL")]
    pub database: String,
    /// Where commerced listens
    #[arg(long, value_name = "URL")]
    pub gateway: Url,
    /// Where the simulator of Atom listens
    #[arg(long, value_name = "URL")]
    pub sim: Url,
    /// File with a merchant's API key
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// Payments that wait for a query
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub attempts: u32,
    /// Give up after
    #[arg(long, value_name = "SECONDS", default_value_t = 170)]
    pub limit: u64,
    /// Write the result as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// The result.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Payments that waited.
    pub attempts: i64,
    /// Of these, asked for within the time.
    pub asked: i64,
    /// Orders that were paid by it.
    pub paid: i64,
    /// Of these, confirmed by a second query.
    pub confirmed: i64,
    /// Seconds until all were asked for, or until it was given up.
    pub seconds: f64,
    /// Payments asked for in a second.
    pub per_second: f64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} of {} payments asked for in {:.1} s: {:.0} a second; {} orders paid by it, {} confirmed by then",
            self.asked, self.attempts, self.seconds, self.per_second, self.paid, self.confirmed
        )
    }
}

/// Runs `loadgen drain-atom`: prints the result; the exit code is 1 if something failed or the backlog was not asked for in time.
#[must_use]
pub fn main(args: &DrainAtomArgs) -> ExitCode {
    let done = match run(args) {
        Ok(report) => {
            print!("{report}");
            if report.asked == report.attempts && report.paid == (report.attempts + 1) / 2 {
                return ExitCode::SUCCESS;
            }
            format!(
                "within {} s the backlog was not asked for, or not every order was paid that Atom has captured",
                args.limit
            )
        }
        Err(problem) => problem,
    };
    eprintln!("loadgen drain-atom: {done}");
    ExitCode::FAILURE
}

/// Makes the backlog and watches it.
///
/// # Errors
/// One sentence: the database, `commerced` or the simulator fails.
pub fn run(args: &DrainAtomArgs) -> Result<Report, String> {
    let api = Api::new(
        args.gateway.clone(),
        args.sim.clone(),
        key_of(&args.key)?,
        None,
    )?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
    let report = runtime.block_on(drain(args, &api))?;
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?;
        std::fs::write(path, text + "\n")
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(report)
}

async fn drain(args: &DrainAtomArgs, api: &Api) -> Result<Report, String> {
    let database = |error: StoreError| format!("--database: {error}");
    let settings = StoreSettings::default();
    let store = Store::open(&args.database, &settings)
        .await
        .map_err(database)?;
    let order = api.create("DRAIN-TEMPLATE", 50_000).await?;
    let (token, _) = api.start(&order, "DRAIN-TEMPLATE").await?;
    let attempts = i64::from(args.attempts);
    for copy in [COPY_ORDERS, COPY_ATTEMPTS] {
        let done = sqlx::query(copy).bind(attempts).bind(&order);
        done.execute(store.pool())
            .await
            .map_err(|error| database(error.into()))?;
    }
    let captured: Vec<(String, String)> = (0..args.attempts as usize)
        .step_by(2)
        .map(|at| {
            (
                format!("{PREFIX}{}", FIRST + at),
                format!("{ORDER_PREFIX}{}", FIRST + at),
            )
        })
        .collect();
    for group in captured.chunks(GROUP) {
        api.captures(&token, group).await?;
    }
    let now_ms = commerce::clock::Clock::system().now_ms();
    let began = Instant::now();
    let due = sqlx::query(DUE).bind(now_ms).execute(store.pool()).await;
    due.map_err(|error| database(error.into()))?;
    let limit = began + Duration::from_secs(args.limit);
    loop {
        tokio::time::sleep(LOOK).await;
        let mut report = read(&store).await.map_err(|error| database(error.into()))?;
        report.seconds = began.elapsed().as_secs_f64();
        report.per_second = report.asked as f64 / report.seconds;
        if report.asked >= report.attempts || Instant::now() > limit {
            return Ok(report);
        }
    }
}

async fn read(store: &Store) -> Result<Report, sqlx::Error> {
    let one = async |sql: &'static str| sqlx::query_scalar(sql).fetch_one(store.pool()).await;
    Ok(Report {
        attempts: one("SELECT COUNT(*) FROM payment_attempts WHERE merch_txn_id LIKE 'GDRAIN%'").await?,
        asked: one("SELECT COUNT(*) FROM payment_attempts WHERE merch_txn_id LIKE 'GDRAIN%' AND queried_at IS NOT NULL").await?,
        paid: one("SELECT COUNT(*) FROM orders WHERE id LIKE 'ord_DRAIN%' AND status = 'paid'").await?,
        confirmed: one("SELECT COUNT(*) FROM orders WHERE id LIKE 'ord_DRAIN%' AND confirmed_at IS NOT NULL").await?,
        ..Report::default()
    })
}
