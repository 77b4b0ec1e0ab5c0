//! Alerts (`spec/frex.md` 9): what people must know of. The same alert of the same request folds into the open one, and it stays
//! open until the cause is gone or an operator resolves it.

use std::collections::HashSet;

use sqlx::{AnyConnection, AssertSqlSafe};

use super::model::words;

words! {
    /// What an alert is about.
    AlertKind {
        /// The agency refused a registration.
        RegistrationRefused = "registration_refused",
        /// Buyer data breaks the agency's limits; the order waits until it is corrected.
        BuyerDataInvalid = "buyer_data_invalid",
        /// The agency refused a change.
        UpdateRefused = "update_refused",
        /// The agency refused a cancel; money must be settled outside.
        CancelRefused = "cancel_refused",
        /// The agency refused to bill.
        BillingRefused = "billing_refused",
        /// The agency billed another amount than the order's.
        BilledAmountMismatch = "billed_amount_mismatch",
        /// The agency confirmed another amount than was sent.
        AmountMismatch = "amount_mismatch",
        /// Screening refused the buyer.
        ScreeningNg = "screening_ng",
        /// Screening waits for data of the buyer.
        HoldNeedsData = "hold_needs_data",
        /// Nobody knows whether a request was executed.
        RequestUnknown = "request_unknown",
        /// An accepted request has no outcome for too long.
        ResultOverdue = "result_overdue",
        /// A mutation waits too long to be sent.
        StandbyOverdue = "standby_overdue",
        /// A screening is held too long.
        DelayOverdue = "delay_overdue",
        /// The agency rejects our credentials.
        AgencyAuth = "agency_auth",
        /// A step failed as a whole, or our code failed on a row again and again.
        StepFailed = "step_failed",
        /// Another worker took over during a run.
        LeaseLost = "lease_lost",
        /// The agency's answer breaks the contract.
        ContractViolation = "contract_violation",
        /// No run has ended well for three intervals.
        RunOverdue = "run_overdue",
        /// The tables break a rule that must always be true.
        InvariantViolated = "invariant_violated",
        /// Our bills and the agency's are not the same.
        ReconcileMismatch = "reconcile_mismatch",
    }
}

words! {
    /// How urgent an alert is.
    Severity {
        /// To be known.
        Info = "info",
        /// To be looked at today.
        Warning = "warning",
        /// Money may be wrong, or nothing moves: now.
        Critical = "critical",
    }
}

impl AlertKind {
    /// How urgent it is. [`Alert::severity`] raises it for billing.
    #[must_use]
    pub const fn severity(self) -> Severity {
        match self {
            Self::ScreeningNg => Severity::Info,
            Self::BilledAmountMismatch
            | Self::AgencyAuth
            | Self::LeaseLost
            | Self::RunOverdue
            | Self::InvariantViolated
            | Self::ReconcileMismatch => Severity::Critical,
            _ => Severity::Warning,
        }
    }
}

impl AlertKind {
    /// Whether it says that a request in STANDBY waits too long; the request is marked as told of.
    #[must_use]
    pub const fn is_overdue(self) -> bool {
        matches!(
            self,
            Self::StandbyOverdue | Self::ResultOverdue | Self::DelayOverdue
        )
    }

    /// Whether it is about one request and no other of the order: it ends with that request, not with the next good news.
    #[must_use]
    pub const fn is_of_request(self) -> bool {
        matches!(
            self,
            Self::RequestUnknown | Self::StandbyOverdue | Self::ResultOverdue
        )
    }
}

/// Something to tell.
#[derive(Clone, Debug, Default)]
pub struct Alert {
    /// The order, empty = none in particular.
    pub order_no: String,
    /// The request, empty = none in particular.
    pub request_key: String,
    /// The agency's codes.
    pub codes: Vec<String>,
    /// What the reader needs to act; never buyer data.
    pub detail: String,
}

impl Alert {
    /// An alert of a request.
    #[must_use]
    pub fn of(key: &super::key::RequestKey, codes: &[String], detail: impl Into<String>) -> Self {
        Self {
            order_no: key.order_no.clone(),
            request_key: key.to_string(),
            codes: codes.to_vec(),
            detail: detail.into(),
        }
    }

    /// An alert of an order.
    #[must_use]
    pub fn of_order(order_no: &str, detail: impl Into<String>) -> Self {
        Self {
            order_no: order_no.to_owned(),
            detail: detail.into(),
            ..Self::default()
        }
    }

    fn severity(&self, kind: AlertKind) -> Severity {
        let billing = kind == AlertKind::RequestUnknown && self.request_key.contains(":BILLING_");
        if billing {
            Severity::Critical
        } else {
            kind.severity()
        }
    }
}

/// Raises an alert, or counts it on the open one.
///
/// # Errors
/// The database's.
pub async fn raise(
    conn: &mut AnyConnection,
    kind: AlertKind,
    alert: &Alert,
    id: String,
    now: i64,
) -> Result<(), sqlx::Error> {
    let codes = serde_json::Value::from(alert.codes.clone()).to_string();
    sqlx::query(
        "INSERT INTO frex_alert (id, kind, severity, order_no, request_key, codes, detail, first_seen, last_seen, count, resolved_at, resolved_by) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, 1, 0, '') \
         ON CONFLICT (kind, order_no, request_key) WHERE resolved_at = 0 \
         DO UPDATE SET last_seen = excluded.last_seen, count = frex_alert.count + 1, codes = excluded.codes, detail = excluded.detail",
    )
    .bind(id)
    .bind(kind.as_str())
    .bind(alert.severity(kind).as_str())
    .bind(alert.order_no.as_str())
    .bind(alert.request_key.as_str())
    .bind(codes)
    .bind(alert.detail.as_str())
    .bind(now)
    .execute(&mut *conn)
    .await?;
    log::warn!(
        "frex: alert {kind}: order '{}', request '{}', codes {:?}: {}",
        alert.order_no,
        alert.request_key,
        alert.codes,
        alert.detail
    );
    Ok(())
}

/// Resolves the open alerts of a kind: those of one order, or those of no order in particular.
///
/// # Errors
/// The database's.
pub async fn resolve(
    conn: &mut AnyConnection,
    kind: AlertKind,
    order_no: &str,
    by: &str,
    now: i64,
) -> Result<u64, sqlx::Error> {
    resolve_those(conn, kind, order_no, "", &[], (by, now)).await
}

/// Resolves the open alerts of a kind about some requests of an order; what is said about its other requests stays open.
///
/// # Errors
/// The database's.
pub async fn resolve_requests(
    conn: &mut AnyConnection,
    kind: AlertKind,
    order_no: &str,
    keys: &[String],
    by: &str,
    now: i64,
) -> Result<u64, sqlx::Error> {
    let places: Vec<String> = (3..3 + keys.len()).map(|at| format!("${at}")).collect();
    let of_these = format!("AND a.request_key IN ({})", places.join(", "));
    resolve_those(conn, kind, order_no, &of_these, keys, (by, now)).await
}

/// Resolves the open alerts of a kind that were last seen before a time, whatever they are about.
///
/// # Errors
/// The database's.
pub async fn resolve_older(
    conn: &mut AnyConnection,
    kind: AlertKind,
    before: i64,
    by: &str,
    now: i64,
) -> Result<u64, sqlx::Error> {
    let sql = "UPDATE frex_alert SET resolved_at = $1, resolved_by = $2 WHERE kind = $3 AND resolved_at = 0 AND last_seen < $4";
    let done = sqlx::query(sql)
        .bind(now)
        .bind(by)
        .bind(kind.as_str())
        .bind(before)
        .execute(conn)
        .await?;
    Ok(done.rows_affected())
}

/// The orders with an open alert of a kind about them and none of their requests in particular, or, with `all`, about any of them.
///
/// # Errors
/// The database's.
pub async fn orders_told(
    conn: &mut AnyConnection,
    kind: AlertKind,
    all: bool,
) -> Result<HashSet<String>, sqlx::Error> {
    let sql = "SELECT DISTINCT order_no FROM frex_alert WHERE kind = $1 AND resolved_at = 0 AND order_no <> '' \
               AND (request_key = '' OR $2 = 1)";
    let rows: Vec<String> = sqlx::query_scalar(sql)
        .bind(kind.as_str())
        .bind(i64::from(all))
        .fetch_all(conn)
        .await?;
    Ok(rows.into_iter().collect())
}

async fn resolve_those(
    conn: &mut AnyConnection,
    kind: AlertKind,
    order_no: &str,
    of_these: &str,
    keys: &[String],
    (by, now): (&str, i64),
) -> Result<u64, sqlx::Error> {
    let open = format!("a.kind = $1 AND a.order_no = $2 AND a.resolved_at = 0 {of_these}");
    let mut named = vec![kind.as_str(), order_no];
    named.extend(keys.iter().map(String::as_str));
    if kind.is_overdue() {
        // What was told and still waits after this is told again.
        let sql = format!(
            "UPDATE frex_request SET overdue_told = 0 WHERE request_key IN (SELECT a.request_key FROM frex_alert a WHERE {open})"
        );
        let query = sqlx::query(AssertSqlSafe(sql));
        let query = named.iter().fold(query, |query, name| query.bind(*name));
        query.execute(&mut *conn).await?;
    }
    let (at, who) = (named.len() + 1, named.len() + 2);
    let sql = format!(
        "UPDATE frex_alert AS a SET resolved_at = ${at}, resolved_by = ${who} WHERE {open}"
    );
    let query = sqlx::query(AssertSqlSafe(sql));
    let query = named.iter().fold(query, |query, name| query.bind(*name));
    let done = query.bind(now).bind(by).execute(&mut *conn).await?;
    Ok(done.rows_affected())
}

/// Resolves one open alert by its id. Says whether there was one.
///
/// # Errors
/// The database's.
pub async fn resolve_one(
    conn: &mut AnyConnection,
    id: &str,
    by: &str,
    now: i64,
) -> Result<bool, sqlx::Error> {
    let sql = "SELECT kind, request_key FROM frex_alert WHERE id = $1 AND resolved_at = 0";
    let found: Option<(String, String)> = sqlx::query_as(sql)
        .bind(id)
        .fetch_optional(&mut *conn)
        .await?;
    let Some((kind, request_key)) = found else {
        return Ok(false);
    };
    if AlertKind::from_word(&kind).is_some_and(AlertKind::is_overdue) {
        sqlx::query("UPDATE frex_request SET overdue_told = 0 WHERE request_key = $1")
            .bind(request_key)
            .execute(&mut *conn)
            .await?;
    }
    let done = sqlx::query("UPDATE frex_alert SET resolved_at = $1, resolved_by = $2 WHERE id = $3 AND resolved_at = 0")
        .bind(now)
        .bind(by)
        .bind(id)
        .execute(&mut *conn)
        .await?;
    Ok(done.rows_affected() == 1)
}
