//! Metrics of the deferred-payment worker (`spec/frex.md` 13): what this process did is counted as it happens, what is true of
//! the store is read when somebody asks.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};
use sqlx::Row as _;

use super::{CALL_BUCKETS_S, encode, register};
use crate::frex::agency::{Call, CallObserver};
use crate::frex::error::FrexError;
use crate::frex::health;
use crate::frex::invariants::RULES;
use crate::frex::key::RequestType;
use crate::frex::report::{Observer, RunReport, StepReport};
use crate::frex::steps::outcome::Tally;
use crate::frex::steps::table::STEPS;
use crate::store::Store;

/// Upper bounds of the times of runs, in seconds.
const RUN_BUCKETS_S: [f64; 10] = [0.1, 0.5, 1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 240.0, 600.0];

/// Requests that are not done, by type and state, and the oldest of each.
const OPEN: &str = "SELECT type, state, COUNT(*) AS n, MIN(created_at) AS oldest FROM frex_request \
    WHERE state IN ('STANDBY', 'SENDING', 'UNKNOWN') GROUP BY type, state";

/// Since when the oldest held screening is held.
/// A walk from the oldest on, which ends at the first that is held.
const HELD: &str = "SELECT r.created_at AS oldest FROM frex_request r CROSS JOIN frex_state_info s WHERE s.order_no = r.order_no \
    AND r.type = 'AUTHORIZE_RESULT' AND r.state = 'STANDBY' AND s.authorize_state = 'DELAY' ORDER BY r.created_at LIMIT 1";

/// What is counted in this process.
pub struct FrexMetrics {
    run_seconds: Histogram,
    items: IntCounterVec,
    failures: IntCounterVec,
    call_seconds: HistogramVec,
    call_errors: IntCounterVec,
    screened: IntCounterVec,
    billed: IntCounter,
    billed_amount: IntCounter,
    resends: IntCounterVec,
    violations: IntCounterVec,
    notices: IntCounterVec,
}

impl FrexMetrics {
    /// Metrics with nothing counted.
    pub(super) fn new(registry: &Registry) -> Self {
        let counters = |name, help, labels: &[&str]| {
            register(registry, IntCounterVec::new(Opts::new(name, help), labels))
        };
        let counter = |name, help| register(registry, IntCounter::new(name, help));
        let run_seconds = HistogramOpts::new("frex_batch_duration_seconds", "Time of runs")
            .buckets(RUN_BUCKETS_S.to_vec());
        let call_seconds =
            HistogramOpts::new("frex_agency_call_seconds", "Time of calls to the agency")
                .buckets(CALL_BUCKETS_S.to_vec());
        let metrics = Self {
            run_seconds: register(registry, Histogram::with_opts(run_seconds)),
            items: counters(
                "frex_step_items_total",
                "Items of the steps by what became of them",
                &["step", "result"],
            ),
            failures: counters(
                "frex_step_failures_total",
                "Steps that failed as a whole",
                &["step"],
            ),
            call_seconds: register(registry, HistogramVec::new(call_seconds, &["call"])),
            call_errors: counters(
                "frex_agency_errors_total",
                "Calls to the agency that were not answered",
                &["call", "class"],
            ),
            screened: counters("frex_authorize_total", "What screening said", &["result"]),
            billed: counter("frex_billed_total", "Orders billed"),
            billed_amount: counter("frex_billed_amount_total", "Yen billed"),
            resends: counters(
                "frex_resends_total",
                "Requests sent again after the agency said that it never had them",
                &["type"],
            ),
            violations: counters(
                "frex_invariant_violations_total",
                "Orders found to break a rule that must always be true",
                &["rule"],
            ),
            notices: counters(
                "frex_notices_total",
                "Messages to people by how they went",
                &["channel", "result"],
            ),
        };
        metrics.begin_at_zero();
        metrics
    }

    /// What must be 0 in a sound system is there from the start.
    fn begin_at_zero(&self) {
        for rule in &RULES {
            self.violations.with_label_values(&[rule.name]);
        }
        for step in &STEPS {
            self.failures.with_label_values(&[step.name]);
        }
        for (kind, name) in RequestType::NAMES {
            if kind.is_mutation() {
                self.resends.with_label_values(&[name]);
            }
        }
    }
}

/// The word of a tally in metrics.
const fn word(tally: Tally) -> &'static str {
    match tally {
        Tally::Done => "done",
        Tally::Refused => "refused",
        Tally::Unknown => "unknown",
        Tally::Pending => "pending",
        Tally::Skipped => "skipped",
        Tally::Back => "back",
        Tally::Resend => "resend",
    }
}

impl Observer for FrexMetrics {
    fn item(&self, step: &'static str, tally: Tally) {
        self.items.with_label_values(&[step, word(tally)]).inc();
    }

    fn resent(&self, kind: RequestType, count: usize) {
        let by = u64::try_from(count).unwrap_or(u64::MAX);
        self.resends.with_label_values(&[kind.as_str()]).inc_by(by);
    }

    fn billed(&self, amount: i64) {
        self.billed.inc();
        self.billed_amount.inc_by(amount.max(0).unsigned_abs());
    }

    fn screened(&self, word: &'static str) {
        self.screened.with_label_values(&[word]).inc();
    }

    fn violated(&self, rule: &'static str, count: usize) {
        let by = u64::try_from(count).unwrap_or(u64::MAX);
        self.violations.with_label_values(&[rule]).inc_by(by);
    }

    fn notice(&self, channel: &'static str, result: &'static str) {
        self.notices.with_label_values(&[channel, result]).inc();
    }

    fn step_ended(&self, report: &StepReport) {
        let counts = [
            ("selected", report.selected),
            ("closed", report.closed),
            ("sent", report.sent),
            ("failed", report.failed),
        ];
        for (result, count) in counts {
            self.items
                .with_label_values(&[report.step.as_str(), result])
                .inc_by(count);
        }
        if report.error.is_some() {
            self.failures
                .with_label_values(&[report.step.as_str()])
                .inc();
        }
    }

    fn run_ended(&self, report: &RunReport) {
        let ms = report.ended_at - report.started_at;
        self.run_seconds.observe(ms.max(0) as f64 / 1e3);
    }
}

impl CallObserver for FrexMetrics {
    fn call_ended(&self, call: Call, seconds: f64, class: Option<&'static str>) {
        let name = call.name();
        self.call_seconds
            .with_label_values(&[name])
            .observe(seconds);
        if let Some(class) = class {
            self.call_errors.with_label_values(&[name, class]).inc();
        }
    }
}

/// The gauges of the store as text.
///
/// # Errors
/// The database's.
pub async fn gauges(store: &Store, now_ms: i64) -> Result<String, FrexError> {
    let registry = Registry::new();
    let vec = |name, help, labels: &[&str]| {
        register(&registry, IntGaugeVec::new(Opts::new(name, help), labels))
    };
    let one = |name, help| register(&registry, IntGauge::new(name, help));
    let age_s = |since: i64| (now_ms - since).max(0) / 1_000;

    one(
        "frex_batch_last_success_time",
        "When a run last ended well, unix seconds; 0 = never",
    )
    .set(health::last_success(store).await? / 1_000);

    let open = vec(
        "frex_requests_open",
        "Requests that are not done",
        &["type", "state"],
    );
    let age = vec(
        "frex_request_age_seconds",
        "Age of the oldest of them",
        &["type", "state"],
    );
    let unknown = vec(
        "frex_unknown_open",
        "Requests of which nobody knows whether they were executed",
        &["type"],
    );
    for (kind, name) in RequestType::NAMES {
        if kind.is_mutation() {
            unknown.with_label_values(&[name]).set(0);
        }
    }
    for row in sqlx::query(OPEN).fetch_all(store.pool()).await? {
        let (kind, state): (String, String) = (row.try_get("type")?, row.try_get("state")?);
        let count: i64 = row.try_get("n")?;
        open.with_label_values(&[&kind, &state]).set(count);
        age.with_label_values(&[&kind, &state])
            .set(age_s(row.try_get("oldest")?));
        if state == "UNKNOWN" {
            unknown.with_label_values(&[&kind]).set(count);
        }
    }

    let held: Option<i64> = sqlx::query_scalar(HELD)
        .fetch_optional(store.pool())
        .await?;
    one(
        "frex_hold_age_seconds",
        "How long the agency has held the oldest screening that it holds",
    )
    .set(held.map_or(0, age_s));

    let alerts = vec(
        "frex_alerts_open",
        "What people must know of",
        &["kind", "severity"],
    );
    let sql = "SELECT kind, severity, COUNT(*) AS n FROM frex_alert WHERE resolved_at = 0 GROUP BY kind, severity";
    for row in sqlx::query(sql).fetch_all(store.pool()).await? {
        let (kind, severity): (String, String) = (row.try_get("kind")?, row.try_get("severity")?);
        alerts
            .with_label_values(&[&kind, &severity])
            .set(row.try_get("n")?);
    }
    Ok(encode(&registry))
}
