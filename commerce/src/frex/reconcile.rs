//! Once a day our bills are held against the agency's (`spec/frex.md` 10.4), where its interface tells them.
//!
//! The agency's interface has no list of bills, so each side is asked item by item: every order that we have as billed must be
//! billed there with the same amount, and no order that we have not billed may have a bill there that we do not know of. Nothing
//! is changed by it; what differs is a critical alert, which ends when a later comparison finds that both sides agree: what is told of
//! is asked about again however old it is.

use std::collections::HashSet;
use std::sync::Arc;

use super::agency::error::Reach;
use super::agency::{
    AcceptNo, Agency, Answer, CallError, Lookup, LookupQuery, NpTransactionId, Outcome,
    ProcessedStatus, ResultQuery,
};
use super::alert::{self, Alert, AlertKind};
use super::error::FrexError;
use super::key::{RequestKey, RequestType};
use crate::clock::DAY_MS;
use crate::id;
use crate::store::Store;

/// What a reconciliation found.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Reconciled {
    /// Billed orders that were asked about.
    pub billed: u64,
    /// Orders not billed that were asked about.
    pub unbilled: u64,
    /// Billed here, not there.
    pub missing: u64,
    /// Billed with different amounts.
    pub amounts: u64,
    /// Billed there, not here.
    pub surplus: u64,
    /// Orders about which the agency's answer could not be read, while it could about others.
    pub unread: Vec<String>,
    /// Whether the agency offers nothing to compare with: no order was asked about.
    pub not_compared: bool,
    /// Whether the agency offers no look-up, or refused some: nothing is known about those orders that we have not billed.
    pub no_lookup: bool,
}

/// Why it is not finished.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The agency did not answer.
    #[error("the agency did not answer: {0}")]
    Agency(CallError),
    /// It answered, but not about every order; the others are compared.
    #[error(
        "of {count} orders, {first} first, the agency's answer could not be read; the others are compared"
    )]
    Unread {
        /// How many.
        count: usize,
        /// The first one.
        first: String,
    },
    /// A failure of ours.
    #[error(transparent)]
    Frex(#[from] FrexError),
}

impl From<sqlx::Error> for ReconcileError {
    fn from(error: sqlx::Error) -> Self {
        Self::Frex(error.into())
    }
}

/// A comparison under way.
pub struct Reconcile<'a> {
    /// The database.
    pub store: &'a Store,
    /// The agency.
    pub agency: &'a Arc<dyn Agency>,
    /// Items of a call.
    pub items: u32,
    /// Now, unix ms.
    pub now: i64,
}

// On SQLite a CROSS JOIN keeps the order of the tables: the walk is over the bills, in the order they were made.
const BILLED: &str = "SELECT s.order_no, s.billed_amount, r.seq, r.accept_no, s.billed_at, r.accept_key FROM frex_state_info s CROSS JOIN frex_request r \
    WHERE r.order_no = s.order_no AND r.type = 'BILLING_REG' AND r.state = 'COMPLETE' \
    AND s.billing_state = 'COMPLETE' AND (s.billed_at, s.order_no) > ($1, $2) ORDER BY s.billed_at, s.order_no LIMIT $3";

/// The same of bills before the days that are compared, as far as they were told of.
const TOLD: &str = "SELECT s.order_no, s.billed_amount, r.seq, r.accept_no, s.billed_at, r.accept_key FROM frex_state_info s CROSS JOIN frex_request r \
    WHERE r.order_no = s.order_no AND r.type = 'BILLING_REG' AND r.state = 'COMPLETE' \
    AND s.billing_state = 'COMPLETE' AND (s.billed_at, s.order_no) > ($1, $2) AND s.billed_at <= $4 \
    AND s.order_no IN (SELECT a.order_no FROM frex_alert a WHERE a.kind = 'reconcile_mismatch' AND a.resolved_at = 0) \
    ORDER BY s.billed_at, s.order_no LIMIT $3";

const UNBILLED: &str = "SELECT s.order_no, s.np_transaction_id, \
    (SELECT COALESCE(MAX(r.seq) + 1, 0) FROM frex_request r WHERE r.order_no = s.order_no AND r.type = 'BILLING_REG') AS seq \
    FROM frex_state_info s WHERE s.billing_state IN ('NONE', 'ERROR') AND s.authorized_at > 0 AND s.np_transaction_id <> '' \
    AND (s.result_state = 'COMPLETE' OR (s.result_state = 'CANCEL' AND (s.closed_at >= $1 OR s.order_no IN \
    (SELECT a.order_no FROM frex_alert a WHERE a.kind = 'reconcile_mismatch' AND a.resolved_at = 0)))) \
    AND s.order_no > $2 ORDER BY s.order_no LIMIT $3";

impl Reconcile<'_> {
    /// Compares the bills of the last days, and all orders that are not billed.
    ///
    /// # Errors
    /// The agency does not answer, or the database fails.
    pub async fn run(&self, days: u32) -> Result<Reconciled, ReconcileError> {
        let since = self.now - i64::from(days) * DAY_MS;
        let mut done = Reconciled::default();
        if !self.agency.is_asked_for_results() {
            log::info!(
                "frex: nothing was reconciled: the agency's interface does not tell its bills"
            );
            done.not_compared = true;
            return Ok(done);
        }
        let mut conn = self.store.pool().acquire().await?;
        let told = alert::orders_told(&mut conn, AlertKind::ReconcileMismatch, true).await?;
        drop(conn);
        self.billed((since, None), &told, &mut done).await?;
        if !told.is_empty() {
            self.billed((-1, Some(since)), &told, &mut done).await?;
        }
        self.unbilled(since, &told, &mut done).await?;
        log::info!("frex: reconciled {done:?}");
        if let Some(first) = done.unread.first() {
            return Err(ReconcileError::Unread {
                count: done.unread.len(),
                first: first.clone(),
            });
        }
        Ok(done)
    }

    /// Compares the bills after a time, unix ms; with an end, only those of the orders in `told`.
    async fn billed(
        &self,
        (since, until): (i64, Option<i64>),
        told: &HashSet<String>,
        done: &mut Reconciled,
    ) -> Result<(), ReconcileError> {
        let mut after = (since, String::new());
        loop {
            let mut query = sqlx::query_as(if until.is_some() { TOLD } else { BILLED })
                .bind(after.0)
                .bind(after.1.as_str())
                .bind(i64::from(self.items));
            if let Some(until) = until {
                query = query.bind(until);
            }
            let rows: Vec<(String, i64, i64, String, i64, String)> =
                query.fetch_all(self.store.pool()).await?;
            let Some(last) = rows.last() else {
                return Ok(());
            };
            after = (last.4, last.0.clone());
            let queries: Vec<ResultQuery> = rows
                .iter()
                .filter_map(|(order_no, _, seq, accept_no, _, accept_key)| {
                    Some(ResultQuery {
                        request_key: accept_key.parse().unwrap_or_else(|_| key(order_no, *seq)),
                        request_type: RequestType::BillingReg,
                        accept_no: AcceptNo::parse(accept_no)?,
                    })
                })
                .collect();
            let answer = self.agency.results(&queries).await;
            answered(&answer)?;
            for (query, outcome) in queries.iter().zip(answer.outcomes) {
                let order_no = &query.request_key.order_no;
                let ours = rows
                    .iter()
                    .find(|row| row.0 == *order_no)
                    .map_or(0, |row| row.1);
                done.billed += 1;
                let found = match outcome {
                    Outcome::Answered { value, .. } if value.status == ProcessedStatus::Done => {
                        match value.billed_amount {
                            Some(amount) if amount == ours => {
                                self.agree(order_no, told).await?;
                                continue;
                            }
                            Some(amount) => {
                                done.amounts += 1;
                                format!("we billed {ours} yen, the agency {amount} yen")
                            }
                            None => continue,
                        }
                    }
                    Outcome::Failed(CallError::Unavailable { .. }) => continue,
                    Outcome::Failed(error) if error.reach() == Reach::Item => {
                        log::warn!("frex: bill of {order_no} not compared: {error}");
                        done.unread.push(order_no.clone());
                        continue;
                    }
                    Outcome::Failed(error) => return Err(ReconcileError::Agency(error)),
                    _ => {
                        done.missing += 1;
                        format!("we have {ours} yen as billed, the agency has no such bill")
                    }
                };
                self.tell(&query.request_key, found).await?;
            }
        }
    }

    async fn unbilled(
        &self,
        since: i64,
        told: &HashSet<String>,
        done: &mut Reconciled,
    ) -> Result<(), ReconcileError> {
        let mut after = String::new();
        loop {
            let rows: Vec<(String, String, i64)> = sqlx::query_as(UNBILLED)
                .bind(since)
                .bind(after.as_str())
                .bind(i64::from(self.items))
                .fetch_all(self.store.pool())
                .await?;
            let Some(last) = rows.last() else {
                return Ok(());
            };
            after.clone_from(&last.0);
            let queries: Vec<LookupQuery> = rows
                .iter()
                .map(|(order_no, np, seq)| LookupQuery {
                    request_key: key(order_no, *seq),
                    shop_transaction_id: order_no.clone(),
                    np_transaction_id: NpTransactionId::parse(np),
                })
                .collect();
            let answer = self.agency.lookup(&queries).await;
            answered(&answer)?;
            for (query, outcome) in queries.iter().zip(answer.outcomes) {
                let found = match outcome {
                    Outcome::Answered {
                        value: Lookup::Found(found),
                        ..
                    } => found,
                    Outcome::Failed(CallError::Unavailable { .. }) => {
                        done.no_lookup = true;
                        return Ok(());
                    }
                    Outcome::Failed(error) if error.reach() == Reach::Item => {
                        let order_no = &query.request_key.order_no;
                        log::warn!("frex: {order_no} not compared: {error}");
                        done.unread.push(order_no.clone());
                        continue;
                    }
                    Outcome::Failed(error) => return Err(ReconcileError::Agency(error)),
                    // A look-up that it refuses says nothing about the bill.
                    Outcome::Refused(_) => {
                        done.no_lookup = true;
                        continue;
                    }
                    _ => {
                        done.unbilled += 1;
                        self.agree(&query.request_key.order_no, told).await?;
                        continue;
                    }
                };
                done.unbilled += 1;
                let order_no = &query.request_key.order_no;
                // A request of ours that the agency accepted and then refused is known and told.
                if self.ours(order_no, found.accept_no.as_str()).await? {
                    continue;
                }
                done.surplus += 1;
                let amount = found.billed_amount.map_or_else(
                    || "an unknown amount".to_owned(),
                    |amount| format!("{amount} yen"),
                );
                let detail = format!(
                    "the agency billed {amount} under {}, which we did not ask for or do not know of",
                    found.accept_no
                );
                self.tell(&query.request_key, detail).await?;
            }
        }
    }

    /// Whether an acceptance belongs to a billing request in our tables, or the order was billed since it was read.
    async fn ours(&self, order_no: &str, accept_no: &str) -> Result<bool, FrexError> {
        let sql = "SELECT COUNT(*) FROM frex_request WHERE order_no = $1 AND type = 'BILLING_REG' \
                   AND (accept_no = $2 OR state IN ('STANDBY', 'SENDING', 'UNKNOWN', 'COMPLETE'))";
        let count: i64 = sqlx::query_scalar(sql)
            .bind(order_no)
            .bind(accept_no)
            .fetch_one(self.store.pool())
            .await?;
        Ok(count > 0)
    }

    /// Both sides have the same of an order; what was told of it is over.
    async fn agree(&self, order_no: &str, told: &HashSet<String>) -> Result<(), FrexError> {
        if !told.contains(order_no) {
            return Ok(());
        }
        let mut tx = self.store.begin().await?;
        let kind = AlertKind::ReconcileMismatch;
        alert::resolve(tx.conn(), kind, order_no, "reconciliation", self.now).await?;
        Ok(tx.commit().await?)
    }

    async fn tell(&self, key: &RequestKey, detail: String) -> Result<(), FrexError> {
        let mut tx = self.store.begin().await?;
        let alert = Alert::of(key, &[], detail);
        let kind = AlertKind::ReconcileMismatch;
        alert::raise(tx.conn(), kind, &alert, id::at("", self.now), self.now).await?;
        Ok(tx.commit().await?)
    }
}

fn key(order_no: &str, seq: i64) -> RequestKey {
    RequestKey::new(
        order_no,
        RequestType::BillingReg,
        u32::try_from(seq).unwrap_or(u32::MAX),
    )
}

/// Whether the call as a whole was answered.
/// Whether it answered at all. A call without an answer leaves all its items open, and breaks no contract.
fn answered<T>(answer: &Answer<T>) -> Result<(), ReconcileError> {
    let lost =
        |outcome: &Outcome<T>| matches!(outcome, Outcome::Failed(CallError::Ambiguous { .. }));
    if let (Some(Outcome::Failed(error)), true) = (
        answer.outcomes.first(),
        answer.violations.is_empty() && answer.outcomes.iter().all(lost),
    ) {
        return Err(ReconcileError::Agency(error.clone()));
    }
    match answer.stop() {
        Some(CallError::Unavailable { .. }) | None => Ok(()),
        Some(error) => Err(ReconcileError::Agency(error.clone())),
    }
}
