//! What needs a person: alarms with a kind, a severity and an age (`spec/atom.md` 9, 12.5).
//!
//! An issue is raised in the transaction of what it tells of. As long as it is open, the same one is not raised again; one
//! about a capture is raised once for all time, since the gateway tells of that capture for ever ([`Kind::is_once`]). The
//! details are for people and name no contact data.

use serde_json::{Value, json};
use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Flow, FlowError};
use crate::clock::rfc3339;
use crate::id;
use crate::store::{StoreError, Tx};

/// How soon somebody must look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// With the daily work.
    Low,
    /// Today.
    Medium,
    /// Now: money is where it should not be, or nothing works.
    High,
}

impl Severity {
    /// As it is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
        }
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $severity:ident;)*) => {
        /// What happened.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Kind {
            $($(#[$doc])* $name,)*
        }

        impl Kind {
            /// All of them.
            pub const ALL: &'static [Kind] = &[$(Kind::$name),*];

            /// The stored word.
            pub fn as_str(self) -> &'static str {
                match self { $(Kind::$name => $word),* }
            }

            /// How soon somebody must look.
            pub fn severity(self) -> Severity {
                match self { $(Kind::$name => Severity::$severity),* }
            }
        }
    };
}

kinds! {
    /// A verified message names an attempt that we do not have: somebody else opens tokens in our name, or data were lost.
    OrphanCallback = "orphan_callback", High;
    /// A message disagrees with the attempt in amount, currency, products or order.
    AmountMismatch = "amount_mismatch", High;
    /// The bank's amount differs from Atom's.
    BankAmount = "bank_amount", High;
    /// Code and message contradict each other.
    Contradiction = "contradiction", High;
    /// A code that is in no table.
    UnknownCode = "unknown_code", Medium;
    /// Atom does not accept our merchant, password, signature or request.
    GatewayConfiguration = "gateway_configuration", High;
    /// A second payment of an order that is paid, or a second capture of one attempt.
    DuplicateCapture = "duplicate_capture", High;
    /// A payment of an order that was cancelled or has expired.
    LateCapture = "late_capture", High;
    /// Two attempts claim one capture.
    CaptureClaimedTwice = "capture_claimed_twice", High;
    /// Atom gave a payment back of its own accord after the goods were sent.
    ReversedAfterShip = "reversed_after_ship", High;
    /// Atom gave a payment back of its own accord of which a refund was sent or is asked for: it may have gone back twice.
    ReversedAndRefunded = "reversed_and_refunded", High;
    /// The status query denies what a callback said.
    ResultContradicts = "result_contradicts", High;
    /// No status query has agreed with a payment within the time.
    UnconfirmedSuccess = "unconfirmed_success", Medium;
    /// Nobody could tell up to the last query what became of an attempt.
    UnresolvedAttempt = "unresolved_attempt", Medium;
    /// Atom has settled an attempt that we hold for failed.
    SettledButFailed = "settled_but_failed", High;
    /// A stored message cannot be applied.
    InboxStuck = "inbox_stuck", High;
    /// Atom does not accept a refund request as such: the configuration is to be mended, then the refund sent.
    RefundConfiguration = "refund_configuration", High;
    /// Definite answers do not list a refund of unknown outcome: an operator decides whether it is sent again.
    RefundNotListed = "refund_not_listed", High;
    /// Nobody could tell up to the last look-up, or after sending it again, what became of a refund.
    RefundUndecided = "refund_undecided", High;
    /// A refund is listed with another amount than was sent.
    RefundAmountMismatch = "refund_amount_mismatch", High;
    /// One refund is listed more than once: money may have gone out twice.
    RefundListedTwice = "refund_listed_twice", High;
    /// The gateway accepted a refund that an operator had marked as rejected: its amount may go out twice.
    RefundAcceptedLate = "refund_accepted_late", High;
    /// The gateway says about a refund what is not in the table of remarks.
    RefundRemarksUnknown = "refund_remarks_unknown", Low;
    /// A refund failed, in whole or in part, after it was accepted.
    RefundFailed = "refund_failed", High;
    /// An accepted refund was not reported paid out in its time.
    RefundNotPaidOut = "refund_not_paid_out", Medium;
    /// An order breaks a rule that must always hold.
    InvariantViolated = "invariant_violated", High;
}

impl Kind {
    /// The questions about a refund that its end answers.
    pub const OF_UNSETTLED_REFUNDS: &'static [Kind] = &[
        Kind::RefundConfiguration,
        Kind::RefundNotListed,
        Kind::RefundUndecided,
        Kind::RefundAmountMismatch,
    ];

    /// Those whose attempt is on hold until somebody has decided.
    pub const HOLDING: &'static [Kind] = &[
        Kind::AmountMismatch,
        Kind::BankAmount,
        Kind::Contradiction,
        Kind::SettledButFailed,
    ];

    /// Whether it tells of something that happened once and stays told: every later status answer says it again, also after
    /// somebody has decided. An issue of such a kind that was closed is not raised anew; it is opened again when the refund
    /// that closed it fails. What it is about names the evidence, so that other evidence is another issue.
    pub fn is_once(self) -> bool {
        matches!(
            self,
            Kind::DuplicateCapture
                | Kind::LateCapture
                | Kind::AmountMismatch
                | Kind::BankAmount
                | Kind::Contradiction
                | Kind::CaptureClaimedTwice
                | Kind::ReversedAndRefunded
                | Kind::ResultContradicts
                | Kind::SettledButFailed
                | Kind::UnconfirmedSuccess
                | Kind::InvariantViolated
        )
    }

    /// The kind of a stored word.
    pub fn parse(word: &str) -> Option<Kind> {
        Kind::ALL.iter().copied().find(|kind| kind.as_str() == word)
    }
}

/// What is to be raised.
#[derive(Clone, Debug)]
pub struct NewIssue<'a> {
    /// What happened.
    pub kind: Kind,
    /// The order it is about.
    pub order_id: Option<&'a str>,
    /// The attempt it is about.
    pub attempt_id: Option<&'a str>,
    /// The refund it is about.
    pub refund_id: Option<&'a str>,
    /// What else tells it from others of its kind.
    pub about: &'a str,
    /// What a person needs to know, masked.
    pub detail: Value,
}

/// What became of an issue that was raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Raised {
    /// It is open since now.
    New,
    /// The same one is open already.
    Open,
    /// The same one was raised before and is closed: somebody has decided.
    Settled,
}

impl Raised {
    /// Whether nobody was told of it before.
    pub fn is_new(self) -> bool {
        self == Raised::New
    }
}

/// Raises an issue, unless the same one is open or, of a kind that is raised once, was ever raised. For the latter the
/// caller has taken the order, so nobody raises it at the same time.
///
/// # Errors
/// The database fails.
pub async fn open(tx: &mut Tx, now_ms: i64, new: &NewIssue<'_>) -> Result<Raised, StoreError> {
    let subject = subject(new.order_id, new.attempt_id, new.refund_id, new.about);
    if new.kind.is_once()
        && let Some(raised) = raised_before(tx, new, &subject).await?
    {
        return Ok(raised);
    }
    let done = sqlx::query(
        "INSERT INTO issues (id, kind, order_id, attempt_id, refund_id, subject, detail, opened_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
    )
    .bind(id::at("iss_", now_ms))
    .bind(new.kind.as_str())
    .bind(new.order_id)
    .bind(new.attempt_id)
    .bind(new.refund_id)
    .bind(subject)
    .bind(new.detail.to_string())
    .bind(now_ms)
    .execute(tx.conn())
    .await?;
    if done.rows_affected() == 0 {
        return Ok(Raised::Open);
    }
    log::warn!(
        "Issue opened kind={} severity={} orderId={} attempt={} refund={} detail={}",
        new.kind.as_str(),
        new.kind.severity().as_str(),
        new.order_id.unwrap_or(""),
        new.attempt_id.unwrap_or(""),
        new.refund_id.unwrap_or(""),
        new.detail
    );
    Ok(Raised::New)
}

/// What tells an issue from others of its kind.
pub(super) fn subject(
    order_id: Option<&str>,
    attempt_id: Option<&str>,
    refund_id: Option<&str>,
    about: &str,
) -> String {
    let part = |id: Option<&str>| id.unwrap_or("-").to_owned();
    [
        part(order_id),
        part(attempt_id),
        part(refund_id),
        about.to_owned(),
    ]
    .join("|")
}

/// What became of the same issue the last time it was raised.
async fn raised_before(
    tx: &mut Tx,
    new: &NewIssue<'_>,
    subject: &str,
) -> Result<Option<Raised>, StoreError> {
    let found = sqlx::query(
        "SELECT COUNT(*) AS n, COUNT(closed_at) AS closed FROM issues \
         WHERE order_id = $1 AND kind = $2 AND subject = $3",
    )
    .bind(new.order_id)
    .bind(new.kind.as_str())
    .bind(subject)
    .fetch_one(tx.conn())
    .await?;
    let raised: i64 = found.try_get("n")?;
    let closed: i64 = found.try_get("closed")?;
    Ok(match raised {
        0 => None,
        _ if raised > closed => Some(Raised::Open),
        _ => Some(Raised::Settled),
    })
}

/// Opens an issue again whose answer did not last. Its kind, if it was closed.
pub(super) async fn reopen(tx: &mut Tx, id: &str) -> Result<Option<Kind>, StoreError> {
    let done = sqlx::query(
        "UPDATE issues SET closed_at = NULL, resolution = NULL \
         WHERE id = $1 AND closed_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM issues o \
         WHERE o.kind = issues.kind AND o.subject = issues.subject AND o.closed_at IS NULL) \
         RETURNING kind",
    )
    .bind(id)
    .fetch_optional(tx.conn())
    .await?;
    let Some(row) = done else { return Ok(None) };
    log::warn!("Issue opened again issue={id}");
    Ok(Kind::parse(&row.try_get::<String, _>("kind")?))
}

/// Which issues are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IssueFilter {
    /// Only of this kind.
    pub kind: Option<String>,
    /// Only open ones, or only closed ones.
    pub open: Option<bool>,
    /// Only of this order.
    pub order_id: Option<String>,
    /// At most so many, 1 to 200.
    pub limit: i64,
    /// Where the last page ended.
    pub cursor: Option<String>,
}

impl Flow {
    /// A page of issues, the newest first: `{items, next_cursor}`.
    ///
    /// # Errors
    /// The cursor is not one of ours, or the database fails.
    pub async fn issues(&self, filter: &IssueFilter) -> Result<super::Reply, FlowError> {
        let (at, after) = super::order::cursor_of(filter.cursor.as_deref())?;
        let limit = filter.limit.clamp(1, 200);
        let open = filter.open.map(i64::from);
        let rows = sqlx::query(
            "SELECT id, kind, order_id, attempt_id, refund_id, detail, opened_at, closed_at, resolution \
             FROM issues WHERE ($1 IS NULL OR kind = $1) AND ($2 IS NULL OR order_id = $2) \
             AND ($3 IS NULL OR (closed_at IS NULL AND $3 = 1) OR (closed_at IS NOT NULL AND $3 = 0)) \
             AND (opened_at < $4 OR (opened_at = $4 AND id < $5)) \
             ORDER BY opened_at DESC, id DESC LIMIT $6",
        )
        .bind(&filter.kind)
        .bind(&filter.order_id)
        .bind(open)
        .bind(at)
        .bind(after)
        .bind(limit + 1)
        .fetch_all(self.store.pool())
        .await
        .map_err(StoreError::from)?;
        let more = rows.len() > limit as usize;
        let page = &rows[..rows.len().min(limit as usize)];
        let now_ms = self.clock.now_ms();
        let items = page
            .iter()
            .map(|row| shown(row, now_ms))
            .collect::<Result<Vec<_>, _>>()?;
        let next = match page.last().filter(|_| more) {
            Some(row) => Some(super::order::cursor(
                row.try_get("opened_at").map_err(StoreError::from)?,
                row.try_get("id").map_err(StoreError::from)?,
            )),
            None => None,
        };
        Ok(super::Reply::new(
            200,
            json!({"items": items, "next_cursor": next}),
        ))
    }
}

fn shown(row: &AnyRow, now_ms: i64) -> Result<Value, StoreError> {
    let text = |name: &str| row.try_get::<Option<String>, _>(name);
    let kind: String = row.try_get("kind")?;
    let opened_at: i64 = row.try_get("opened_at")?;
    let closed_at: Option<i64> = row.try_get("closed_at")?;
    let detail: String = row.try_get("detail")?;
    let severity = Kind::parse(&kind).map_or(Severity::High, Kind::severity);
    Ok(json!({
        "issue_id": row.try_get::<String, _>("id")?,
        "kind": kind,
        "severity": severity.as_str(),
        "order_id": text("order_id")?,
        "attempt_id": text("attempt_id")?,
        "refund_id": text("refund_id")?,
        "detail": serde_json::from_str::<Value>(&detail).unwrap_or(Value::String(detail)),
        "opened_at": rfc3339(opened_at),
        "age_s": (closed_at.unwrap_or(now_ms) - opened_at).max(0) / 1000,
        "closed_at": closed_at.map(rfc3339),
        "resolution": text("resolution")?,
    }))
}
