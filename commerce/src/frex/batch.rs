//! Writes of many items as few statements: what a phase wrote down for a group goes to the database table by table, all rows of a
//! table in one statement.
//!
//! The guards are those of [`super::tables`]: each move is held against the state machines when it is written down, each row against
//! its version or state when it goes out. If one row was changed by somebody else meanwhile, the statement changes fewer rows than
//! it has, and the group fails as a whole; its items are then done one by one ([`super::steps::group`]).

use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, AssertSqlSafe};

use super::error::FrexError;
use super::model::{Order, Request, StateInfo};
use super::tables::{self, Detail};
use super::transitions;
use crate::store::StoreError;

/// A statement that is being filled.
type Filled<'q> = Query<'q, Any, AnyArguments>;

/// Writes that are still to go out.
#[derive(Default)]
pub struct Batch {
    new_states: Vec<StateInfo>,
    states: Vec<(StateInfo, StateInfo)>,
    orders: Vec<Order>,
    requests: Vec<(Request, Request)>,
    new_requests: Vec<Request>,
    details: Vec<(String, Request, Detail, i64)>,
}

/// Columns of a changed state after its key and version.
const STATE: &[&str] = &[
    "np_transaction_id",
    "accept_no",
    "reg_state",
    "result_state",
    "authorize_state",
    "billing_state",
    "billed_amount",
    "rejected_amount",
    "delete_rejected",
    "close_reason",
    "reg_at",
    "authorized_at",
    "billed_at",
    "closed_at",
];
/// Columns of a changed order after its key and version.
const ORDER: &[&str] = &[
    "str_state",
    "str_order_state",
    "str_money_input",
    "order_complete_amount",
    "goods",
    "order_end_at",
];
/// Columns of a moved request after its key and the state it was in.
const REQUEST: &[&str] = &[
    "state",
    "amount",
    "safe_info",
    "payload_digest",
    "response",
    "accept_no",
    "attempt_count",
    "tries",
    "misses",
    "faults",
    "unclear",
    "sent_at",
    "next_attempt_at",
    "last_error",
    "done_at",
    "accept_key",
];

/// `($1, $2), ($3, $4)` for two rows of two columns.
fn grid(rows: usize, columns: usize) -> String {
    let mut text = String::with_capacity(rows * columns * 6);
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ", (" });
        for column in 1..=columns {
            if column > 1 {
                text.push_str(", ");
            }
            text.push('$');
            text.push_str(&(row * columns + column).to_string());
        }
        text.push(')');
    }
    text
}

/// An update of many rows: the key is the first column of each row, the second holds what `guard` must still be.
fn update(
    table: &str,
    key: &str,
    guard: &str,
    columns: &[&str],
    counted: bool,
    rows: usize,
) -> String {
    let sets: Vec<String> = columns
        .iter()
        .zip(3..)
        .map(|(name, place)| format!("{name} = v.column{place}"))
        .collect();
    let version = if counted {
        ", version = version + 1"
    } else {
        ""
    };
    format!(
        "UPDATE {table} SET {}{version} FROM (VALUES {}) AS v WHERE {table}.{key} = v.column1 AND {table}.{guard} = v.column2",
        sets.join(", "),
        grid(rows, columns.len() + 2)
    )
}

async fn run(
    conn: &mut AnyConnection,
    query: Filled<'_>,
    table: &'static str,
    first: &str,
    rows: usize,
) -> Result<(), FrexError> {
    let done = query.execute(conn).await?;
    if done.rows_affected() == rows as u64 {
        return Ok(());
    }
    Err(StoreError::conflict(table, first).into())
}

impl Batch {
    /// Writes down the first state of an order.
    pub fn insert_state(&mut self, info: StateInfo) {
        assert_eq!(
            transitions::quad(&info),
            transitions::FIRST,
            "a state begins as row 1 of 3.1"
        );
        self.new_states.push(info);
    }

    /// Writes down a changed state.
    ///
    /// # Errors
    /// The state machine has no such step.
    pub fn save_state(&mut self, before: &StateInfo, after: &StateInfo) -> Result<(), FrexError> {
        tables::may_change(before, after)?;
        self.states.push((before.clone(), after.clone()));
        Ok(())
    }

    /// Writes down a changed order.
    pub fn save_order(&mut self, order: &Order) {
        self.orders.push(order.clone());
    }

    /// Writes down a new request.
    pub fn insert_request(&mut self, request: Request) {
        self.new_requests.push(request);
    }

    /// Writes down a moved request.
    ///
    /// # Errors
    /// 3.2 has no such move.
    pub fn save_request(&mut self, before: &Request, after: &Request) -> Result<(), FrexError> {
        tables::may_move(before, after)?;
        self.requests.push((before.clone(), after.clone()));
        Ok(())
    }

    /// Writes down what the agency answered.
    pub fn insert_detail(&mut self, id: String, request: &Request, detail: &Detail, now: i64) {
        self.details
            .push((id, request.clone(), detail.clone(), now));
    }

    /// Sends everything to the database.
    ///
    /// # Errors
    /// The database's, or somebody else changed one of the rows.
    pub async fn flush(self, conn: &mut AnyConnection) -> Result<(), FrexError> {
        self.flush_states(conn).await?;
        self.flush_orders(conn).await?;
        self.flush_requests(conn).await?;
        self.count_questions(conn).await?;
        self.flush_details(conn).await
    }

    async fn flush_states(&self, conn: &mut AnyConnection) -> Result<(), FrexError> {
        if let Some(first) = self.new_states.first() {
            let rows = self.new_states.len();
            let sql = format!(
                "INSERT INTO frex_state_info (order_no, created_at, version, reg_state, result_state, authorize_state, billing_state, \
                 np_transaction_id, accept_no, billed_amount, rejected_amount, delete_rejected, close_reason, reg_at, authorized_at, \
                 billed_at, closed_at) SELECT column1, column2, column3, column4, column5, column6, column7, '', '', 0, NULL, 0, '', 0, 0, 0, 0 \
                 FROM (VALUES {}) AS v",
                grid(rows, 7)
            );
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for info in &self.new_states {
                query = query
                    .bind(info.order_no.as_str())
                    .bind(info.created_at)
                    .bind(info.version)
                    .bind(info.reg.as_str())
                    .bind(info.result.as_str())
                    .bind(info.authorize.as_str())
                    .bind(info.billing.as_str());
            }
            run(conn, query, "frex_state_info", &first.order_no, rows).await?;
            let order_nos: Vec<&str> = self.new_states.iter().map(|info| &*info.order_no).collect();
            tables::begun(conn, &order_nos).await?;
        }
        if let Some((first, _)) = self.states.first() {
            let rows = self.states.len();
            let sql = update("frex_state_info", "order_no", "version", STATE, true, rows);
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for (before, after) in &self.states {
                query = query
                    .bind(before.order_no.as_str())
                    .bind(before.version)
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
                    .bind(after.closed_at);
            }
            run(conn, query, "frex_state_info", &first.order_no, rows).await?;
        }
        Ok(())
    }

    async fn flush_orders(&self, conn: &mut AnyConnection) -> Result<(), FrexError> {
        let Some(first) = self.orders.first() else {
            return Ok(());
        };
        let rows = self.orders.len();
        let sql = update("frex_order", "order_no", "version", ORDER, true, rows);
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for order in &self.orders {
            query = query
                .bind(order.order_no.as_str())
                .bind(order.version)
                .bind(order.state.as_str())
                .bind(order.stage.as_str())
                .bind(order.money.as_str())
                .bind(order.amount)
                .bind(order.goods.as_str())
                .bind(order.order_end_at);
        }
        run(conn, query, "frex_order", &first.order_no, rows).await?;
        let order_nos: Vec<&str> = self.orders.iter().map(|order| &*order.order_no).collect();
        tables::copy_orders(conn, &order_nos).await
    }

    async fn flush_requests(&self, conn: &mut AnyConnection) -> Result<(), FrexError> {
        if let Some((first, _)) = self.requests.first() {
            let rows = self.requests.len();
            let sql = update("frex_request", "id", "state", REQUEST, false, rows);
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for (before, after) in &self.requests {
                query = query
                    .bind(before.id.as_str())
                    .bind(before.state.as_str())
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
                    .bind(after.accept_key.as_str());
            }
            run(conn, query, "frex_request", &first.key.to_string(), rows).await?;
        }
        let Some(first) = self.new_requests.first() else {
            return Ok(());
        };
        let rows = self.new_requests.len();
        let sql = format!(
            "INSERT INTO frex_request (id, order_no, type, seq, request_key, state, accept_no, next_attempt_at, created_at, accept_key, amount, \
             safe_info, payload_digest, response, attempt_count, tries, misses, faults, unclear, sent_at, last_error, done_at) \
             SELECT column1, column2, column3, column4, column5, column6, column7, column8, column9, column10, 0, '', '', '', 0, 0, 0, 0, 0, 0, '', 0 \
             FROM (VALUES {}) AS v",
            grid(rows, 10)
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for request in &self.new_requests {
            query = query
                .bind(request.id.as_str())
                .bind(request.key.order_no.as_str())
                .bind(request.kind().as_str())
                .bind(i64::from(request.key.seq))
                .bind(request.key.to_string())
                .bind(request.state.as_str())
                .bind(request.accept_no.as_str())
                .bind(request.next_attempt_at)
                .bind(request.created_at)
                .bind(request.accept_key.as_str());
        }
        run(conn, query, "frex_request", &first.key.to_string(), rows).await
    }

    async fn count_questions(&self, conn: &mut AnyConnection) -> Result<(), FrexError> {
        let moved = self
            .requests
            .iter()
            .filter(|(before, after)| tables::counts_anew(before, after));
        let moved = moved.map(|(before, _)| before);
        let new = self
            .new_requests
            .iter()
            .filter(|request| !request.kind().is_mutation());
        let order_nos: Vec<&str> = moved
            .chain(new)
            .map(|request| &*request.key.order_no)
            .collect();
        tables::count_questions(conn, &order_nos).await
    }

    async fn flush_details(&self, conn: &mut AnyConnection) -> Result<(), FrexError> {
        let Some((_, first, ..)) = self.details.first() else {
            return Ok(());
        };
        let rows = self.details.len();
        let sql = format!(
            "INSERT INTO frex_response_detail (id, request_key, request_type, accept_no, np_transaction_id, shop_transaction_id, \
             authori_result, authori_word, codes, received_at) VALUES {}",
            grid(rows, 10)
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for (id, request, detail, now) in &self.details {
            query = query
                .bind(id.as_str())
                .bind(request.key.to_string())
                .bind(request.kind().as_str())
                .bind(request.accept_no.as_str())
                .bind(detail.np.as_str())
                .bind(detail.shop.as_str())
                .bind(detail.authori_result.as_str())
                .bind(detail.authori_word)
                .bind(serde_json::Value::from(detail.codes.clone()).to_string())
                .bind(*now);
        }
        run(
            conn,
            query,
            "frex_response_detail",
            &first.key.to_string(),
            rows,
        )
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows and columns count on over the whole statement; an update guards every row by its own second column.
    #[test]
    fn statements_count_on() {
        assert_eq!(grid(2, 3), "($1, $2, $3), ($4, $5, $6)");
        assert_eq!(
            update("t", "id", "version", &["a", "b"], true, 1),
            "UPDATE t SET a = v.column3, b = v.column4, version = version + 1 FROM (VALUES ($1, $2, $3, $4)) AS v \
             WHERE t.id = v.column1 AND t.version = v.column2"
        );
    }
}
