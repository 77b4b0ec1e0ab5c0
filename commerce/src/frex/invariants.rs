//! The rules of `spec/frex.md` 17 as questions to our own tables. Each asks for orders that break it; in a sound system every
//! answer is empty. What the agency did is not in our tables: [`super::reconcile`] compares that.

use sqlx::AssertSqlSafe;

use super::alert::{self, Alert, AlertKind};
use super::error::FrexError;
use super::settings::{BillingTrigger, WorkerSettings, ms};
use crate::id;
use crate::store::Store;

/// A rule.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Its name in metrics: the number of section 17 and a word.
    pub name: &'static str,
    /// What it says when it is broken.
    pub broken: &'static str,
    /// The numbers of orders that break it, at any time.
    always: Option<&'static str>,
    /// The same of what only a quiet system has done: `$1` is a time before which it had time to move everything. Asked only while
    /// runs end well and with all their work done.
    quiet: Option<&'static str>,
}

/// Most orders told of one rule by one check.
const ORDERS_MAX: i64 = 100;

// On SQLite a CROSS JOIN keeps the order of the tables: each question walks an index that holds little, where there is one.
/// Every rule.
pub const RULES: [Rule; 9] = [
    Rule {
        name: "1_one_billing",
        broken: "more than one billing request of the order was accepted",
        always: Some(
            "SELECT r.order_no FROM frex_request r WHERE r.type = 'BILLING_REG' AND r.state IN ('STANDBY', 'SENDING', 'UNKNOWN', 'COMPLETE') \
             AND r.state = 'COMPLETE' GROUP BY r.order_no HAVING COUNT(*) > 1",
        ),
        quiet: None,
    },
    Rule {
        name: "2_billed_columns",
        broken: "billingState is COMPLETE, but the order is not ORDEREND and PAYMENT, or no billing request was accepted",
        always: Some(
            "SELECT s.order_no FROM frex_state_info s CROSS JOIN frex_order o WHERE o.order_no = s.order_no \
             AND s.billing_state = 'COMPLETE' AND ((o.str_state = 'REG' AND (o.str_money_input <> 'PAYMENT' OR o.str_order_state <> 'ORDEREND')) \
             OR NOT EXISTS (SELECT 1 FROM frex_request r WHERE r.order_no = s.order_no AND r.type = 'BILLING_REG' AND r.state = 'COMPLETE'))",
        ),
        quiet: None,
    },
    Rule {
        name: "3_approved_columns",
        broken: "the order is TEMPPAYMENT, but not approved or billed already",
        always: Some(
            "SELECT o.order_no FROM frex_order o LEFT JOIN frex_state_info s ON s.order_no = o.order_no \
             WHERE o.str_state = 'REG' AND o.str_money_input = 'TEMPPAYMENT' \
             AND (s.order_no IS NULL OR s.authorize_state <> 'COMPLETE' OR s.billing_state = 'COMPLETE')",
        ),
        quiet: None,
    },
    Rule {
        name: "4_billed_amount",
        broken: "another amount was billed than the order is worth",
        always: Some(
            "SELECT s.order_no FROM frex_state_info s CROSS JOIN frex_order o JOIN frex_request r ON r.order_no = s.order_no \
             AND r.type = 'BILLING_REG' AND r.state = 'COMPLETE' WHERE o.order_no = s.order_no \
             AND s.billing_state = 'COMPLETE' AND o.str_state = 'REG' AND r.amount <> o.order_complete_amount \
             AND NOT EXISTS (SELECT 1 FROM frex_alert a WHERE a.order_no = s.order_no AND a.kind = 'billed_amount_mismatch')",
        ),
        quiet: None,
    },
    Rule {
        name: "5_cancel_ends",
        broken: "the order is cancelled, but not at the agency, and no open alert says so",
        always: Some(
            "SELECT s.order_no FROM frex_state_info s CROSS JOIN frex_order o WHERE o.order_no = s.order_no \
             AND s.order_state = 'DEL' AND s.result_state <> 'CANCEL' AND o.str_state = 'DEL' AND s.delete_rejected = 1 \
             AND NOT EXISTS (SELECT 1 FROM frex_alert a WHERE a.order_no = s.order_no AND a.kind <> 'invariant_violated' AND a.resolved_at = 0)",
        ),
        quiet: Some(
            "SELECT s.order_no FROM frex_state_info s CROSS JOIN frex_order o WHERE o.order_no = s.order_no \
             AND s.order_state = 'DEL' AND s.result_state <> 'CANCEL' AND o.str_state = 'DEL' AND s.delete_rejected = 0 \
             AND o.cancelled_at < $1 AND s.reg_at < $1 AND NOT EXISTS (SELECT 1 FROM frex_request r WHERE r.order_no = s.order_no \
             AND (r.state IN ('STANDBY', 'SENDING', 'UNKNOWN') OR r.done_at >= $1)) \
             AND NOT EXISTS (SELECT 1 FROM frex_alert a WHERE a.order_no = s.order_no AND a.kind <> 'invariant_violated' AND a.resolved_at = 0)",
        ),
    },
    Rule {
        name: "6_lock_has_owner",
        broken: "something is in progress, but no request is under way and no open alert says so",
        always: Some(
            "SELECT s.order_no FROM frex_state_info s CROSS JOIN frex_order o WHERE o.order_no = s.order_no \
             AND s.result_state NOT IN ('COMPLETE', 'CANCEL') AND ((s.reg_state <> 'ERROR' AND NOT EXISTS \
             (SELECT 1 FROM frex_request r WHERE r.order_no = s.order_no AND r.state IN ('STANDBY', 'SENDING', 'UNKNOWN', 'COMPLETE') \
             AND r.type = CASE s.result_state WHEN 'ORDER' THEN 'ORDER_REG' WHEN 'UPDATE' THEN 'UPDATE_REG' \
             WHEN 'DELETE' THEN 'DELETE_REG' ELSE 'BILLING_REG' END \
             AND NOT EXISTS (SELECT 1 FROM frex_request n WHERE n.order_no = r.order_no AND n.type = r.type AND n.seq > r.seq) \
             AND NOT EXISTS (SELECT 1 FROM frex_request p WHERE p.order_no = r.order_no AND p.seq = r.seq AND p.state = 'ERROR' \
             AND p.type = CASE s.result_state WHEN 'ORDER' THEN 'ORDER_RESULT' WHEN 'UPDATE' THEN 'UPDATE_RESULT' \
             WHEN 'DELETE' THEN 'DELETE_RESULT' ELSE 'BILLING_RESULT' END AND NOT EXISTS (SELECT 1 FROM frex_alert a \
             WHERE a.order_no = p.order_no AND a.request_key = p.request_key AND a.resolved_at = 0)))) \
             OR (s.reg_state = 'ERROR' AND o.str_state = 'REG' AND NOT EXISTS \
             (SELECT 1 FROM frex_alert a WHERE a.order_no = s.order_no AND a.kind <> 'invariant_violated' AND a.resolved_at = 0)))",
        ),
        quiet: None,
    },
    Rule {
        name: "7_no_old_sending",
        broken: "a request is still SENDING although a later run began with its recovery pass",
        always: Some(
            "SELECT r.order_no FROM frex_request r WHERE r.state = 'SENDING' \
             AND EXISTS (SELECT 1 FROM frex_run n WHERE n.state = 'DONE' AND n.started_at > r.sent_at)",
        ),
        quiet: None,
    },
    Rule {
        name: "8_accept_no",
        broken: "an accepted request names no acceptance number",
        always: Some(
            "SELECT r.order_no FROM frex_request r WHERE r.state = 'COMPLETE' AND r.accept_no = '' \
             AND r.type IN ('ORDER_REG', 'UPDATE_REG', 'DELETE_REG', 'BILLING_REG')",
        ),
        quiet: None,
    },
    Rule {
        name: QUIET,
        broken: "nothing is under way for the order and nobody was told, but it is neither billed nor closed",
        always: None,
        quiet: Some(
            "SELECT o.order_no FROM frex_order o WHERE o.str_state = 'REG' AND o.str_money_input = 'SBPAYMENT' AND o.has_state = 0 \
             AND o.created_at < $1 AND NOT EXISTS (SELECT 1 FROM frex_alert a WHERE a.order_no = o.order_no AND a.kind <> 'invariant_violated' AND a.resolved_at = 0) \
             UNION ALL SELECT s.order_no FROM frex_state_info s CROSS JOIN frex_order o WHERE o.order_no = s.order_no \
             AND s.result_state = 'COMPLETE' AND s.billing_state = 'NONE' AND s.authorize_state IN ('NONE', 'DELAY') \
             AND s.screening_open = 0 AND s.reg_at < $1 AND o.str_state = 'REG' AND o.created_at < $1 \
             AND NOT EXISTS (SELECT 1 FROM frex_request r WHERE r.order_no = s.order_no \
             AND (r.state IN ('STANDBY', 'SENDING', 'UNKNOWN') OR r.done_at >= $1)) \
             AND NOT EXISTS (SELECT 1 FROM frex_alert a WHERE a.order_no = s.order_no AND a.kind <> 'invariant_violated' AND a.resolved_at = 0) \
             UNION ALL SELECT s.order_no FROM frex_request r CROSS JOIN frex_state_info s WHERE s.order_no = r.order_no \
             AND r.state = 'ERROR' AND r.type = 'AUTHORIZE_RESULT' AND r.faults > 0 AND s.order_state = 'REG' \
             AND s.result_state = 'COMPLETE' AND s.billing_state = 'NONE' AND s.authorize_state IN ('NONE', 'DELAY') \
             AND NOT EXISTS (SELECT 1 FROM frex_alert a WHERE a.order_no = s.order_no AND a.kind <> 'invariant_violated' AND a.resolved_at = 0)",
        ),
    },
];

const QUIET: &str = "9_quiet";
/// Rule 9 for approved orders, when nothing but the approval is needed to bill.
const UNBILLED: &str = "SELECT s.order_no FROM frex_state_info s CROSS JOIN frex_order o WHERE o.order_no = s.order_no \
    AND s.result_state = 'COMPLETE' AND s.billing_state = 'NONE' AND s.authorize_state = 'COMPLETE' AND o.str_state = 'REG' \
    AND s.authorized_at < $1 AND NOT EXISTS (SELECT 1 FROM frex_request r WHERE r.order_no = s.order_no \
    AND (r.state IN ('STANDBY', 'SENDING', 'UNKNOWN') OR r.done_at >= $1)) \
    AND NOT EXISTS (SELECT 1 FROM frex_alert a WHERE a.order_no = s.order_no AND a.kind <> 'invariant_violated' AND a.resolved_at = 0)";

/// A quiet system has moved everything after so many intervals.
const INTERVALS: u64 = 3;

/// What a check found: rule, and how many orders break it that were not told of yet.
pub type Found = Vec<(&'static str, usize)>;

/// Asks every rule; each order that breaks one is an alert, once, and the alert of one that breaks it no longer is resolved.
///
/// # Errors
/// The database's.
pub async fn check(store: &Store, settings: &WorkerSettings, now: i64) -> Result<Found, FrexError> {
    let before = now - ms(INTERVALS * (settings.interval_s + settings.run_slice_s));
    let quiet = quiet_is_asked(store, before).await?;
    let mut found = Found::new();
    for rule in &RULES {
        let mut questions = Vec::new();
        questions.extend(rule.always.map(|sql| (sql, None)));
        if let (true, Some(sql)) = (quiet, rule.quiet) {
            questions.push((sql, Some(before)));
            let at_once = settings.billing_trigger == BillingTrigger::Authorized;
            if rule.name == QUIET && at_once && settings.closed.is_empty() {
                questions.push((UNBILLED, Some(before - settings.billing_delay_ms())));
            }
        }
        let mut broken = Vec::new();
        for question in &questions {
            broken.extend(orders(store, *question, rule.name, Told::No).await?);
        }
        found.push((rule.name, broken.len()));
        tell(store, rule, &broken, now).await?;
        // What was not asked may be as it was.
        if quiet || rule.quiet.is_none() {
            resolve(store, rule, &questions, now).await?;
        }
    }
    Ok(found)
}

/// A question to the tables, with the time that it is about.
type Question = (&'static str, Option<i64>);

/// Which orders that break a rule are asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    /// Those with an open alert of it.
    Yes,
    /// Those without, at most [`ORDERS_MAX`].
    No,
}

/// Resolves the open alerts of a rule about orders that no question finds any more.
async fn resolve(
    store: &Store,
    rule: &Rule,
    questions: &[Question],
    now: i64,
) -> Result<(), FrexError> {
    let sql =
        "SELECT order_no FROM frex_alert WHERE kind = $1 AND request_key = $2 AND resolved_at = 0";
    let mut mended: Vec<String> = sqlx::query_scalar(sql)
        .bind(AlertKind::InvariantViolated.as_str())
        .bind(rule.name)
        .fetch_all(store.pool())
        .await?;
    if mended.is_empty() {
        return Ok(());
    }
    for question in questions {
        let broken = orders(store, *question, rule.name, Told::Yes).await?;
        mended.retain(|order_no| !broken.contains(order_no));
    }
    let mut tx = store.begin().await?;
    for order_no in &mended {
        let (kind, of_rule) = (AlertKind::InvariantViolated, [rule.name.to_owned()]);
        alert::resolve_requests(tx.conn(), kind, order_no, &of_rule, "check", now).await?;
    }
    Ok(tx.commit().await?)
}

/// Whether the latest run of all steps ended well, not long ago, and left nothing undone.
async fn quiet_is_asked(store: &Store, before: i64) -> Result<bool, FrexError> {
    let sql = "SELECT state, started_at, report FROM frex_run WHERE state <> 'PART' ORDER BY started_at DESC, id DESC LIMIT 1";
    let latest: Option<(String, i64, String)> =
        sqlx::query_as(sql).fetch_optional(store.pool()).await?;
    Ok(latest.is_some_and(|(state, started_at, report)| {
        state == "DONE" && started_at >= before && !report.contains("\"cut\":true")
    }))
}

/// Orders that break a rule.
async fn orders(
    store: &Store,
    (sql, before): Question,
    rule: &str,
    told: Told,
) -> Result<Vec<String>, FrexError> {
    let (not, limit) = match told {
        Told::Yes => ("", String::new()),
        Told::No => ("NOT", format!("LIMIT {ORDERS_MAX}")),
    };
    let sql = format!(
        "SELECT DISTINCT q.order_no FROM ({sql}) q WHERE {not} EXISTS (SELECT 1 FROM frex_alert t WHERE t.kind = '{}' \
         AND t.order_no = q.order_no AND t.request_key = '{rule}' AND t.resolved_at = 0) ORDER BY q.order_no {limit}",
        AlertKind::InvariantViolated
    );
    let mut query = sqlx::query_scalar(AssertSqlSafe(sql));
    if let Some(before) = before {
        query = query.bind(before);
    }
    Ok(query.fetch_all(store.pool()).await?)
}

async fn tell(store: &Store, rule: &Rule, orders: &[String], now: i64) -> Result<(), FrexError> {
    if orders.is_empty() {
        return Ok(());
    }
    let mut tx = store.begin().await?;
    for order_no in orders {
        let alert = Alert {
            order_no: order_no.clone(),
            // Not a request: it keeps the alerts of several rules about one order apart.
            request_key: rule.name.to_owned(),
            codes: Vec::new(),
            detail: format!("rule {}: {}", rule.name, rule.broken),
        };
        let kind = AlertKind::InvariantViolated;
        alert::raise(tx.conn(), kind, &alert, id::at("", now), now).await?;
    }
    Ok(tx.commit().await?)
}
