//! Reads both books: the worker's tables, and the agency's ledger.

use std::path::Path;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyRow};
use sqlx::{AnyConnection, ConnectOptions, Connection, Row};
use url::Url;

use super::rules::{Order, Request, State, Tables};
use crate::frex::ledger::Ledger;

/// How long the agency may take for its ledger, which may be long.
const ANSWER_MAX: Duration = Duration::from_secs(120);

const ORDERS: &str = "SELECT o.order_no, o.str_state, o.str_order_state, o.str_money_input, o.order_complete_amount, s.np_transaction_id, \
     s.reg_state, s.result_state, s.authorize_state, s.billing_state, s.billed_amount, s.delete_rejected, s.close_reason \
     FROM frex_order o LEFT JOIN frex_state_info s ON s.order_no = o.order_no ORDER BY o.order_no";
const REQUESTS: &str = "SELECT order_no, type, seq, request_key, state, amount, accept_no FROM frex_request ORDER BY request_key";
const ALERTS: &str =
    "SELECT order_no, kind FROM frex_alert WHERE resolved_at = 0 ORDER BY order_no, kind";

/// Reads the tables of `sqlite:PATH` or `postgres://...`, all of one moment.
///
/// # Errors
/// One sentence naming the database.
pub async fn tables(url: &str) -> Result<Tables, String> {
    sqlx::any::install_default_drivers();
    let sqlite = url.starts_with("sqlite:");
    let plain = url.split('?').next().unwrap_or(url);
    // A file that is missing is a wrong address, not an empty book.
    let address = if sqlite {
        format!("{plain}?mode=rw")
    } else {
        url.to_owned()
    };
    read(&address, sqlite)
        .await
        .map_err(|error| format!("--database {url}: {error}"))
}

async fn read(address: &str, sqlite: bool) -> Result<Tables, sqlx::Error> {
    let options: AnyConnectOptions = address.parse()?;
    let mut connection: AnyConnection = options.connect().await?;
    let begin = if sqlite {
        "BEGIN"
    } else {
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
    };
    sqlx::query(begin).execute(&mut connection).await?;
    let mut tables = Tables::default();
    for row in sqlx::query(ORDERS).fetch_all(&mut connection).await? {
        tables.orders.push(order(&row)?);
    }
    for row in sqlx::query(REQUESTS).fetch_all(&mut connection).await? {
        tables.requests.push(request(&row)?);
    }
    tables.alerts = sqlx::query_as(ALERTS).fetch_all(&mut connection).await?;
    sqlx::query("COMMIT").execute(&mut connection).await?;
    connection.close().await?;
    Ok(tables)
}

fn order(row: &AnyRow) -> Result<Order, sqlx::Error> {
    let state = match row.try_get::<Option<String>, _>("reg_state")? {
        None => None,
        Some(reg) => Some(State {
            np: row.try_get("np_transaction_id")?,
            reg,
            result: row.try_get("result_state")?,
            authorize: row.try_get("authorize_state")?,
            billing: row.try_get("billing_state")?,
            billed_amount: row.try_get("billed_amount")?,
            delete_rejected: row.try_get::<i64, _>("delete_rejected")? != 0,
            close_reason: row.try_get("close_reason")?,
        }),
    };
    Ok(Order {
        order_no: row.try_get("order_no")?,
        str_state: row.try_get("str_state")?,
        str_order_state: row.try_get("str_order_state")?,
        str_money_input: row.try_get("str_money_input")?,
        amount: row.try_get("order_complete_amount")?,
        state,
    })
}

fn request(row: &AnyRow) -> Result<Request, sqlx::Error> {
    Ok(Request {
        order_no: row.try_get("order_no")?,
        kind: row.try_get("type")?,
        seq: row.try_get("seq")?,
        key: row.try_get("request_key")?,
        state: row.try_get("state")?,
        amount: row.try_get("amount")?,
        accept_no: row.try_get("accept_no")?,
    })
}

/// Asks the agency for its ledger, without the list of what it received.
///
/// # Errors
/// One sentence naming the address.
pub async fn ledger(sim: &Url) -> Result<Ledger, String> {
    let url = format!(
        "{}/_sim/ledger?received=false",
        sim.as_str().trim_end_matches('/')
    );
    let fail = |error: &dyn std::fmt::Display| format!("{url}: {error}");
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(ANSWER_MAX)
        .build()
        .map_err(|error| fail(&error))?;
    let answer = client
        .get(&url)
        .send()
        .await
        .map_err(|error| fail(&error))?;
    let status = answer.status();
    let bytes = answer.bytes().await.map_err(|error| fail(&error))?;
    if !status.is_success() {
        return Err(fail(&format!("answered by {status}")));
    }
    serde_json::from_slice(&bytes).map_err(|error| fail(&error))
}

/// Reads the ledger that the agency wrote at its end.
///
/// # Errors
/// One sentence naming the file.
pub fn ledger_file(path: &Path) -> Result<Ledger, String> {
    let fail = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let bytes = std::fs::read(path).map_err(|error| fail(&error))?;
    serde_json::from_slice(&bytes).map_err(|error| fail(&error))
}
