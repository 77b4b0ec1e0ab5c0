//! Statements on the tables: reading orders with their state, and guarded writes.
//!
//! Who changes something of an order has read it with [`pairs`] in the same transaction, which takes the order's row. Every
//! write of a state is conditional on its version and held against the state machine; every move of a request on its state.
//!
//! A few facts are copied to where an index can use them: `frex_order.has_state`; `order_state`, `order_amount`, `screening_open` and
//! `outcome_open` of `frex_state_info`. Whoever writes such a fact, here or in [`super::batch`], brings the copy up to date in the same
//! transaction; versions do not count copies.

use std::collections::HashMap;

use sqlx::{AnyConnection, AssertSqlSafe};

use super::error::FrexError;
use super::key::{RequestKey, RequestType};
use super::model::{Order, Pair, Request, RequestState, StateInfo};
use super::transitions;
use crate::store::{Kind, Tx, one};

/// `$from, $from+1, ...` for a list.
fn places(from: usize, count: usize) -> String {
    let list: Vec<String> = (from..from + count).map(|n| format!("${n}")).collect();
    list.join(", ")
}

/// Orders with their states, taken until the transaction ends. Numbers of no order are left out.
pub async fn pairs(tx: &mut Tx, order_nos: &[&str]) -> Result<HashMap<String, Pair>, FrexError> {
    if tx.kind() == Kind::Postgres && !order_nos.is_empty() {
        // The order's row stands for both: every writer takes it first. It is taken by a statement of its own, because a
        // statement that waits for a row sees the others as they were before it waited: the state would be an old one.
        let sql = format!(
            "SELECT o.order_no FROM frex_order o WHERE o.order_no IN ({}) ORDER BY o.order_no FOR UPDATE",
            places(1, order_nos.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for order_no in order_nos {
            query = query.bind(*order_no);
        }
        query.fetch_all(tx.conn()).await?;
    }
    peek_pairs(tx.conn(), order_nos).await
}

/// Orders with their states, as they are just now.
pub async fn peek_pairs(
    conn: &mut AnyConnection,
    order_nos: &[&str],
) -> Result<HashMap<String, Pair>, FrexError> {
    if order_nos.is_empty() {
        return Ok(HashMap::new());
    }
    let sql = format!(
        "SELECT {}, {} FROM frex_order o LEFT JOIN frex_state_info s ON s.order_no = o.order_no WHERE o.order_no IN ({})",
        Order::COLUMNS,
        StateInfo::COLUMNS,
        places(1, order_nos.len())
    );
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for order_no in order_nos {
        query = query.bind(*order_no);
    }
    let mut found = HashMap::with_capacity(order_nos.len());
    for row in query.fetch_all(&mut *conn).await? {
        let order = Order::read(&row)?;
        let info = StateInfo::read(&row, &order.order_no)?;
        found.insert(order.order_no.clone(), Pair { order, info });
    }
    Ok(found)
}

/// The latest request of a type of each order that has one.
pub async fn latest(
    conn: &mut AnyConnection,
    order_nos: &[&str],
    kind: RequestType,
) -> Result<HashMap<String, Request>, FrexError> {
    if order_nos.is_empty() {
        return Ok(HashMap::new());
    }
    let sql = format!(
        "SELECT {} FROM frex_request r WHERE r.type = $1 AND r.order_no IN ({}) \
         AND NOT EXISTS (SELECT 1 FROM frex_request n WHERE n.order_no = r.order_no AND n.type = r.type AND n.seq > r.seq)",
        Request::COLUMNS,
        places(2, order_nos.len())
    );
    let mut query = sqlx::query(AssertSqlSafe(sql)).bind(kind.as_str());
    for order_no in order_nos {
        query = query.bind(*order_no);
    }
    let mut found = HashMap::with_capacity(order_nos.len());
    for row in query.fetch_all(&mut *conn).await? {
        let request = Request::read(&row)?;
        found.insert(request.key.order_no.clone(), request);
    }
    Ok(found)
}

/// All requests of an order, in the order they were written.
pub async fn requests_of(
    conn: &mut AnyConnection,
    order_no: &str,
) -> Result<Vec<Request>, FrexError> {
    let sql = format!(
        "SELECT {} FROM frex_request r WHERE r.order_no = $1 ORDER BY r.created_at, r.id",
        Request::COLUMNS
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(order_no)
        .fetch_all(&mut *conn)
        .await?;
    rows.iter()
        .map(|row| Request::read(row).map_err(Into::into))
        .collect()
}

/// One request by its key.
pub async fn request(conn: &mut AnyConnection, key: &str) -> Result<Option<Request>, FrexError> {
    let sql = format!(
        "SELECT {} FROM frex_request r WHERE r.request_key = $1",
        Request::COLUMNS
    );
    let row = sqlx::query(AssertSqlSafe(sql))
        .bind(key)
        .fetch_optional(&mut *conn)
        .await?;
    row.map(|row| Request::read(&row).map_err(Into::into))
        .transpose()
}

/// Sealed buyer data of orders.
pub async fn sealed(
    conn: &mut AnyConnection,
    order_nos: &[&str],
) -> Result<HashMap<String, String>, FrexError> {
    if order_nos.is_empty() {
        return Ok(HashMap::new());
    }
    let sql = format!(
        "SELECT order_no, sealed FROM frex_user_info WHERE order_no IN ({})",
        places(1, order_nos.len())
    );
    let mut query = sqlx::query_as::<_, (String, String)>(AssertSqlSafe(sql));
    for order_no in order_nos {
        query = query.bind(*order_no);
    }
    Ok(query.fetch_all(&mut *conn).await?.into_iter().collect())
}

/// Marks buyer data as found wrong, or as corrected with a new sealed text.
pub async fn save_buyer(
    conn: &mut AnyConnection,
    order_no: &str,
    sealed: Option<&str>,
    valid: bool,
    now: i64,
) -> Result<(), FrexError> {
    let done = sqlx::query("UPDATE frex_user_info SET valid = $1, updated_at = $2, sealed = COALESCE($3, sealed) WHERE order_no = $4")
        .bind(i64::from(valid))
        .bind(now)
        .bind(sealed)
        .bind(order_no)
        .execute(&mut *conn)
        .await?;
    Ok(one(&done, "frex_user_info", order_no)?)
}

/// Writes a new order.
pub async fn insert_order(conn: &mut AnyConnection, order: &Order) -> Result<(), FrexError> {
    sqlx::query(
        "INSERT INTO frex_order (order_no, joiner_id, str_state, str_order_state, str_money_input, str_pay_type, order_complete_amount, \
         goods, order_date, order_end_at, content_digest, created_at, version) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
    )
    .bind(order.order_no.as_str())
    .bind(order.joiner_id.as_str())
    .bind(order.state.as_str())
    .bind(order.stage.as_str())
    .bind(order.money.as_str())
    .bind(order.pay_type.as_str())
    .bind(order.amount)
    .bind(order.goods.as_str())
    .bind(order.order_date.as_str())
    .bind(order.order_end_at)
    .bind(order.content_digest.as_str())
    .bind(order.created_at)
    .bind(order.version)
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// Writes the buyer data of a new order.
pub async fn insert_buyer(
    conn: &mut AnyConnection,
    order_no: &str,
    sealed: &str,
    now: i64,
) -> Result<(), FrexError> {
    sqlx::query(
        "INSERT INTO frex_user_info (order_no, sealed, valid, updated_at) VALUES ($1, $2, 1, $3)",
    )
    .bind(order_no)
    .bind(sealed)
    .bind(now)
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// Writes a changed order; its version counts up. Returns the order as written.
pub async fn save_order(conn: &mut AnyConnection, order: &Order) -> Result<Order, FrexError> {
    let done = sqlx::query(
        "UPDATE frex_order SET str_state = $1, str_order_state = $2, str_money_input = $3, order_complete_amount = $4, goods = $5, \
         order_end_at = $6, version = version + 1 WHERE order_no = $7 AND version = $8",
    )
    .bind(order.state.as_str())
    .bind(order.stage.as_str())
    .bind(order.money.as_str())
    .bind(order.amount)
    .bind(order.goods.as_str())
    .bind(order.order_end_at)
    .bind(order.order_no.as_str())
    .bind(order.version)
    .execute(&mut *conn)
    .await?;
    one(&done, "frex_order", &order.order_no)?;
    copy_orders(conn, &[&order.order_no]).await?;
    Ok(Order {
        version: order.version + 1,
        ..order.clone()
    })
}

/// Notes when an order was cancelled.
pub async fn cancelled(
    conn: &mut AnyConnection,
    order_no: &str,
    now: i64,
) -> Result<(), FrexError> {
    sqlx::query("UPDATE frex_order SET cancelled_at = $1 WHERE order_no = $2")
        .bind(now)
        .bind(order_no)
        .execute(&mut *conn)
        .await?;
    Ok(())
}

/// Writes the first state of an order.
pub async fn insert_state(conn: &mut AnyConnection, info: &StateInfo) -> Result<(), FrexError> {
    assert_eq!(
        transitions::quad(info),
        transitions::FIRST,
        "a state begins as row 1 of 3.1"
    );
    sqlx::query(
        "INSERT INTO frex_state_info (order_no, np_transaction_id, accept_no, reg_state, result_state, authorize_state, billing_state, \
         billed_amount, rejected_amount, delete_rejected, close_reason, created_at, reg_at, authorized_at, billed_at, closed_at, version) \
         VALUES ($1, '', '', $2, $3, $4, $5, 0, NULL, 0, '', $6, 0, 0, 0, 0, $7)",
    )
    .bind(info.order_no.as_str())
    .bind(info.reg.as_str())
    .bind(info.result.as_str())
    .bind(info.authorize.as_str())
    .bind(info.billing.as_str())
    .bind(info.created_at)
    .bind(info.version)
    .execute(&mut *conn)
    .await?;
    begun(conn, &[&info.order_no]).await
}

/// Notes on orders that they have a state now, and on the states what they copy from the orders.
pub async fn begun(conn: &mut AnyConnection, order_nos: &[&str]) -> Result<(), FrexError> {
    let places = places(1, order_nos.len());
    let sql = format!("UPDATE frex_order SET has_state = 1 WHERE order_no IN ({places})");
    on_orders(conn, sql, order_nos).await?;
    copy_orders(conn, order_nos).await
}

/// Brings the copies in the states up to date: what the orders are worth, and whether they are cancelled.
pub async fn copy_orders(conn: &mut AnyConnection, order_nos: &[&str]) -> Result<(), FrexError> {
    let sql = format!(
        "UPDATE frex_state_info SET order_state = o.str_state, order_amount = o.order_complete_amount FROM frex_order o \
         WHERE o.order_no = frex_state_info.order_no AND frex_state_info.order_no IN ({}) \
         AND (order_state <> o.str_state OR order_amount <> o.order_complete_amount)",
        places(1, order_nos.len())
    );
    on_orders(conn, sql, order_nos).await
}

/// Counts the open questions of orders anew.
pub async fn count_questions(
    conn: &mut AnyConnection,
    order_nos: &[&str],
) -> Result<(), FrexError> {
    let sql = format!(
        "UPDATE frex_state_info SET screening_open = (SELECT COUNT(*) FROM frex_request r WHERE r.order_no = frex_state_info.order_no \
         AND r.type = 'AUTHORIZE_RESULT' AND (r.state = 'STANDBY' OR (r.state = 'ERROR' AND r.faults > 0))), \
         outcome_open = (SELECT COUNT(*) FROM frex_request r WHERE r.order_no = frex_state_info.order_no \
         AND r.type IN ('ORDER_RESULT', 'UPDATE_RESULT', 'DELETE_RESULT', 'BILLING_RESULT') AND r.state = 'STANDBY') \
         WHERE order_no IN ({})",
        places(1, order_nos.len())
    );
    on_orders(conn, sql, order_nos).await
}

/// A statement whose parameters are numbers of orders.
async fn on_orders(
    conn: &mut AnyConnection,
    sql: String,
    order_nos: &[&str],
) -> Result<(), FrexError> {
    if order_nos.is_empty() {
        return Ok(());
    }
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for order_no in order_nos {
        query = query.bind(*order_no);
    }
    query.execute(&mut *conn).await?;
    Ok(())
}

/// Whether a move of a request changes how many questions of its order are open.
#[must_use]
pub fn counts_anew(before: &Request, after: &Request) -> bool {
    let open = |request: &Request| match request.state {
        RequestState::Standby => true,
        RequestState::Error => request.kind() == RequestType::AuthorizeResult && request.faults > 0,
        _ => false,
    };
    !before.kind().is_mutation() && open(before) != open(after)
}

async fn count_if_moved(
    conn: &mut AnyConnection,
    before: &Request,
    after: &Request,
) -> Result<(), FrexError> {
    if counts_anew(before, after) {
        count_questions(conn, &[&before.key.order_no]).await?;
    }
    Ok(())
}

/// Holds a change of a state against the state machine.
///
/// # Errors
/// It has no such step, or the agency's number would change.
pub fn may_change(before: &StateInfo, after: &StateInfo) -> Result<(), FrexError> {
    let (from, to) = (transitions::quad(before), transitions::quad(after));
    if transitions::legal(from, to) && (!before.np_set() || before.np == after.np) {
        return Ok(());
    }
    Err(FrexError::Illegal {
        order_no: before.order_no.clone(),
        from,
        to,
    })
}

/// Holds a move of a request against 3.2.
///
/// # Errors
/// It has no such move.
pub fn may_move(before: &Request, after: &Request) -> Result<(), FrexError> {
    if transitions::may_move(before.state, after.state, before.kind().is_mutation()) {
        return Ok(());
    }
    Err(FrexError::IllegalMove {
        key: before.key.to_string(),
        from: before.state.as_str(),
        to: after.state.as_str(),
    })
}

/// Writes a changed state, if the state machine has the step and nobody changed it meanwhile. Returns it as written.
pub async fn save_state(
    conn: &mut AnyConnection,
    before: &StateInfo,
    after: &StateInfo,
) -> Result<StateInfo, FrexError> {
    may_change(before, after)?;
    let done = sqlx::query(
        "UPDATE frex_state_info SET np_transaction_id = $1, accept_no = $2, reg_state = $3, result_state = $4, authorize_state = $5, \
         billing_state = $6, billed_amount = $7, rejected_amount = $8, delete_rejected = $9, close_reason = $10, reg_at = $11, \
         authorized_at = $12, billed_at = $13, closed_at = $14, version = version + 1 WHERE order_no = $15 AND version = $16",
    )
    .bind(after.np.as_str())
    .bind(after.accept_no.as_str())
    .bind(after.reg.as_str())
    .bind(after.result.as_str())
    .bind(after.authorize.as_str())
    .bind(after.billing.as_str())
    .bind(after.billed_amount)
    .bind(after.rejected_amount)
    .bind(i64::from(after.delete_rejected))
    .bind(after.close_reason.map_or("", |reason| reason.as_str()))
    .bind(after.reg_at)
    .bind(after.authorized_at)
    .bind(after.billed_at)
    .bind(after.closed_at)
    .bind(after.order_no.as_str())
    .bind(before.version)
    .execute(&mut *conn)
    .await?;
    one(&done, "frex_state_info", &after.order_no)?;
    Ok(StateInfo {
        version: before.version + 1,
        ..after.clone()
    })
}

/// Writes a new request.
pub async fn insert_request(conn: &mut AnyConnection, request: &Request) -> Result<(), FrexError> {
    sqlx::query(
        "INSERT INTO frex_request (id, order_no, type, seq, request_key, state, amount, safe_info, payload_digest, response, accept_no, \
         attempt_count, tries, misses, faults, unclear, sent_at, next_attempt_at, last_error, created_at, done_at, accept_key) \
         VALUES ($1, $2, $3, $4, $5, $6, 0, '', '', '', $7, 0, 0, 0, 0, 0, 0, $8, '', $9, 0, $10)",
    )
    .bind(request.id.as_str())
    .bind(request.key.order_no.as_str())
    .bind(request.kind().as_str())
    .bind(i64::from(request.key.seq))
    .bind(request.key.to_string())
    .bind(request.state.as_str())
    .bind(request.accept_no.as_str())
    .bind(request.next_attempt_at)
    .bind(request.created_at)
    .bind(request.accept_key.as_str())
    .execute(&mut *conn)
    .await?;
    if !request.kind().is_mutation() {
        count_questions(conn, &[&request.key.order_no]).await?;
    }
    Ok(())
}

/// Writes a changed request, if 3.2 has the move and it is still in the state it was read in.
pub async fn save_request(
    conn: &mut AnyConnection,
    before: &Request,
    after: &Request,
) -> Result<(), FrexError> {
    may_move(before, after)?;
    let done = sqlx::query(
        "UPDATE frex_request SET state = $1, amount = $2, safe_info = $3, payload_digest = $4, response = $5, accept_no = $6, \
         attempt_count = $7, tries = $8, misses = $9, faults = $10, unclear = $11, sent_at = $12, next_attempt_at = $13, last_error = $14, \
         done_at = $15, accept_key = $16 WHERE id = $17 AND state = $18",
    )
    .bind(after.state.as_str())
    .bind(after.amount)
    .bind(after.safe_info.as_str())
    .bind(after.payload_digest.as_str())
    .bind(after.response.as_str())
    .bind(after.accept_no.as_str())
    .bind(after.attempt_count)
    .bind(after.tries)
    .bind(after.misses)
    .bind(after.faults)
    .bind(i64::from(after.unclear))
    .bind(after.sent_at)
    .bind(after.next_attempt_at)
    .bind(after.last_error.as_str())
    .bind(after.done_at)
    .bind(after.accept_key.as_str())
    .bind(before.id.as_str())
    .bind(before.state.as_str())
    .execute(&mut *conn)
    .await?;
    one(&done, "frex_request", &before.key.to_string())?;
    count_if_moved(conn, before, after).await
}

/// An accepted mutation that was refused before, or given up, is asked for again: its outcome is open once more.
pub async fn ask_outcome_again(
    conn: &mut AnyConnection,
    accepted: &Request,
    outcome: RequestType,
    now: i64,
) -> Result<(), FrexError> {
    let key = RequestKey::new(&accepted.key.order_no, outcome, accepted.key.seq).to_string();
    let Some(refused) = request(conn, &key).await? else {
        return Ok(());
    };
    if refused.state != RequestState::Error {
        return Ok(());
    }
    let again = Request {
        state: RequestState::Standby,
        accept_no: accepted.accept_no.clone(),
        accept_key: accepted.accept_key.clone(),
        next_attempt_at: now,
        tries: 0,
        misses: 0,
        faults: 0,
        done_at: 0,
        ..refused.clone()
    };
    save_request(conn, &refused, &again).await
}

/// Drops the open screening questions of an order.
pub async fn drop_screening(
    conn: &mut AnyConnection,
    order_no: &str,
    but: &str,
    now: i64,
) -> Result<(), FrexError> {
    sqlx::query(
        "UPDATE frex_request SET state = 'SKIPPED', done_at = $1 WHERE order_no = $2 AND type = 'AUTHORIZE_RESULT' AND state = 'STANDBY' AND id <> $3",
    )
    .bind(now)
    .bind(order_no)
    .bind(but)
    .execute(&mut *conn)
    .await?;
    count_questions(conn, &[order_no]).await
}

/// Marks a request as told of: it waits too long.
pub async fn overdue_told(conn: &mut AnyConnection, key: &str) -> Result<(), FrexError> {
    sqlx::query("UPDATE frex_request SET overdue_told = 1 WHERE request_key = $1")
        .bind(key)
        .execute(&mut *conn)
        .await?;
    Ok(())
}

/// What the agency answered about one request; rows are only added.
#[derive(Clone, Debug, Default)]
pub struct Detail {
    /// The agency's transaction number.
    pub np: String,
    /// The order number as the agency has it.
    pub shop: String,
    /// The screening code.
    pub authori_result: String,
    /// What it means.
    pub authori_word: &'static str,
    /// Codes.
    pub codes: Vec<String>,
}

/// Counts a fault of our code on a request; it stays where it is unless it is given up.
pub async fn save_faults(
    conn: &mut AnyConnection,
    before: &Request,
    after: &Request,
) -> Result<(), FrexError> {
    let done = sqlx::query("UPDATE frex_request SET faults = $1, last_error = $2, state = $3, unclear = $4, done_at = $5 WHERE id = $6 AND state = $7")
        .bind(after.faults)
        .bind(after.last_error.as_str())
        .bind(after.state.as_str())
        .bind(i64::from(after.unclear))
        .bind(after.done_at)
        .bind(before.id.as_str())
        .bind(before.state.as_str())
        .execute(&mut *conn)
        .await?;
    one(&done, "frex_request", &before.key.to_string())?;
    count_if_moved(conn, before, after).await
}

/// Makes a request due.
pub async fn make_due(conn: &mut AnyConnection, request: &Request) -> Result<(), FrexError> {
    sqlx::query(
        "UPDATE frex_request SET next_attempt_at = $1, tries = 0, misses = 0 WHERE id = $2",
    )
    .bind(request.next_attempt_at)
    .bind(request.id.as_str())
    .execute(&mut *conn)
    .await?;
    Ok(())
}
