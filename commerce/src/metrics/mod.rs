//! Counters, histograms and gauges in the text form of Prometheus (`spec/atom.md 16`).
//!
//! What happens in this process is counted as it happens; rates of the last minutes are computed from windows of those
//! counts when somebody asks. What is true of the store as a whole, whichever process did it, is read from the store at
//! that moment ([`gauges`]).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use prometheus::{
    Encoder, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use crate::atom::call::{Api, CallClass, CallObserver, CircuitState};
use crate::atom::flow::invariants::RULES;
use crate::atom::flow::state::Source;
use crate::atom::flow::{CALLBACK_RESULTS, FlowObserver};
use crate::atom::wire::codes::Alert;
use crate::atom::wire::crypt;
use crate::atom::wire::messages::SubChannel;
use crate::clock::Clock;

pub mod frex;
pub mod gauges;
mod window;

use window::Window;

/// How far back error rate and availability look.
const CALLS_WINDOW_MS: i64 = 5 * 60_000;

/// How far back the rates of failed signatures and of successful attempts look.
const MESSAGES_WINDOW_MS: i64 = 15 * 60_000;

/// Upper bounds of the times of calls to Atom, in seconds; the last stands above the longest timeout.
const CALL_BUCKETS_S: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 35.0,
];

/// Upper bounds of the times of requests to us, in seconds.
const REQUEST_BUCKETS_S: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0,
];

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    clock: Clock,
    gateway_seconds: HistogramVec,
    gateway_calls: IntCounterVec,
    retries: IntCounterVec,
    circuit: IntGaugeVec,
    callbacks: IntCounterVec,
    requery: IntCounterVec,
    attempts: IntCounterVec,
    refunds: IntCounterVec,
    /// Late and duplicate ones.
    captures: (IntCounter, IntCounter),
    failed_codes: IntCounterVec,
    violations: IntCounterVec,
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    kdf: Mutex<IntCounter>,
    derived: Derived,
    frex: Arc<frex::FrexMetrics>,
    calls_window: Window<(Api, CallClass)>,
    /// Messages that decrypted: whether their signature was good.
    signatures_window: Window<bool>,
    /// Attempts that ended, by channel and whether they succeeded.
    attempts_window: Window<(String, bool)>,
}

/// Gauges that are computed when they are read.
struct Derived {
    payment_success_rate: GaugeVec,
    avg_response_time: GaugeVec,
    error_rate: GaugeVec,
    availability: GaugeVec,
    signature_failure_rate: prometheus::Gauge,
}

impl Metrics {
    /// Metrics with nothing counted.
    pub fn new(clock: Clock) -> Arc<Self> {
        let registry = Registry::new();
        let counters = |name, help, labels: &[&str]| {
            let made = IntCounterVec::new(Opts::new(name, help), labels);
            register(&registry, made)
        };
        let counter = |name, help| register(&registry, IntCounter::new(name, help));
        let gauges = |name, help, labels: &[&str]| {
            let made = GaugeVec::new(Opts::new(name, help), labels);
            register(&registry, made)
        };
        let seconds = |name, help, labels: &[&str], buckets: &[f64]| {
            let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            register(&registry, HistogramVec::new(options, labels))
        };
        let metrics = Self {
            gateway_seconds: seconds(
                "gateway_call_seconds",
                "Time of calls to Atom",
                &["api"],
                &CALL_BUCKETS_S,
            ),
            gateway_calls: counters(
                "gateway_calls_total",
                "Calls to Atom by how they ended",
                &["api", "class"],
            ),
            retries: counters("retries_total", "Calls to Atom made again", &["api"]),
            circuit: circuits(&registry),
            callbacks: counters(
                "callbacks_total",
                "Callbacks and returns by what became of them",
                &["source", "result"],
            ),
            attempts: counters(
                "attempts_total",
                "Attempts that ended",
                &["sub_channel", "outcome"],
            ),
            refunds: counters("refunds_total", "States that refunds reached", &["state"]),
            captures: (
                counter("late_capture_total", "Payments after their order was over"),
                counter("duplicate_capture_total", "Payments of orders paid already"),
            ),
            failed_codes: counters(
                "failed_codes_total",
                "Attempts that failed by a code that somebody should look at, by what is to be looked at",
                &["class"],
            ),
            violations: counters(
                "invariant_violations_total",
                "Orders that broke a rule which must always hold, by rule",
                &["rule"],
            ),
            requery: counters(
                "requery_total",
                "Status queries by their result",
                &["result"],
            ),
            requests: counters(
                "http_requests_total",
                "Requests to us",
                &["method", "route", "status"],
            ),
            request_seconds: seconds(
                "http_request_seconds",
                "Time of requests to us",
                &["route"],
                &REQUEST_BUCKETS_S,
            ),
            kdf: Mutex::new(counter(
                "kdf_derivations_total",
                "Keys derived; grows at start only",
            )),
            derived: Derived {
                payment_success_rate: gauges(
                    "payment_success_rate",
                    "Successful attempts / ended ones, 15 minutes",
                    &["sub_channel"],
                ),
                avg_response_time: gauges(
                    "avg_response_time",
                    "Seconds a call to Atom takes since the start: mean and quantiles",
                    &["api", "stat"],
                ),
                error_rate: gauges(
                    "error_rate",
                    "Share of calls to Atom without a definite answer, 5 minutes",
                    &["api", "class"],
                ),
                availability: gauges(
                    "api_availability",
                    "1 - system errors / calls to Atom, 5 minutes",
                    &["api"],
                ),
                signature_failure_rate: register(
                    &registry,
                    prometheus::Gauge::new(
                        "signature_failure_rate",
                        "Share of decrypted messages whose signature failed, 15 minutes",
                    ),
                ),
            },
            frex: Arc::new(frex::FrexMetrics::new(&registry)),
            calls_window: Window::new(CALLS_WINDOW_MS),
            signatures_window: Window::new(MESSAGES_WINDOW_MS),
            attempts_window: Window::new(MESSAGES_WINDOW_MS),
            registry,
            clock,
        };
        metrics.begin_at_zero();
        Arc::new(metrics)
    }

    /// Makes the lines that alerts ask for: a counter whose first line begins at 1 shows no increase.
    fn begin_at_zero(&self) {
        for source in Source::ALL.iter().filter(|s| **s != Source::Status) {
            for result in CALLBACK_RESULTS {
                self.callbacks.with_label_values(&[source.as_str(), result]);
            }
        }
        for (channel, _) in SubChannel::ALL {
            for outcome in ["success", "failed"] {
                self.attempts.with_label_values(&[channel, outcome]);
            }
        }
        for alert in Alert::OF_FAILURES {
            self.failed_codes.with_label_values(&[alert.name()]);
        }
        for rule in RULES {
            self.violations.with_label_values(&[rule.name]);
        }
        for api in Api::ALL {
            self.gateway_seconds.with_label_values(&[api.name()]);
        }
    }

    /// A request was served.
    pub fn request(&self, method: &str, route: &str, status: StatusCode, took: Duration) {
        self.requests
            .with_label_values(&[method, route, status.as_str()])
            .inc();
        self.request_seconds
            .with_label_values(&[route])
            .observe(took.as_secs_f64());
    }

    /// What the deferred-payment worker tells.
    pub fn frex(&self) -> &Arc<frex::FrexMetrics> {
        &self.frex
    }

    /// Everything counted here, as text. The gauges of the store are not in it.
    pub fn text(&self) -> String {
        self.derive();
        encode(&self.registry)
    }

    /// Computes the derived gauges from what was counted.
    fn derive(&self) {
        {
            let kdf = self.kdf.lock().unwrap_or_else(PoisonError::into_inner);
            kdf.inc_by(crypt::derivations() - kdf.get());
        }
        let now = self.clock.now_ms();
        let calls = self.calls_window.sums(now);
        self.derived.error_rate.reset();
        for api in Api::ALL {
            let of_api = || calls.iter().filter(move |((a, _), _)| *a == api);
            let all: u64 = of_api().map(|(_, count)| count).sum();
            let bad: u64 = of_api()
                .filter(|((_, class), _)| !class.is_definite())
                .map(|(_, count)| count)
                .sum();
            let name = api.name();
            self.derived
                .availability
                .with_label_values(&[name])
                .set(1.0 - share(bad, all));
            for ((_, class), count) in of_api().filter(|((_, class), _)| !class.is_definite()) {
                self.derived
                    .error_rate
                    .with_label_values(&[name, class.name()])
                    .add(share(*count, all));
            }
            self.derived
                .error_rate
                .with_label_values(&[name, "all"])
                .set(share(bad, all));
            self.derive_times(api);
        }
        self.derive_success(now);
        let signatures = self.signatures_window.sums(now);
        let failed = signatures.get(&false).copied().unwrap_or(0);
        let all = failed + signatures.get(&true).copied().unwrap_or(0);
        self.derived.signature_failure_rate.set(share(failed, all));
    }

    fn derive_success(&self, now: i64) {
        self.derived.payment_success_rate.reset();
        let ended = self.attempts_window.sums(now);
        for channel in ended.keys().map(|(channel, _)| channel) {
            let of = |good| ended.get(&(channel.clone(), good)).copied().unwrap_or(0);
            let rate = share(of(true), of(true) + of(false));
            self.derived
                .payment_success_rate
                .with_label_values(&[channel])
                .set(rate);
        }
    }

    fn derive_times(&self, api: Api) {
        let histogram = self.gateway_seconds.with_label_values(&[api.name()]);
        let count = histogram.get_sample_count();
        if count == 0 {
            return;
        }
        let set = |stat, value| {
            self.derived
                .avg_response_time
                .with_label_values(&[api.name(), stat])
                .set(value);
        };
        set("mean", histogram.get_sample_sum() / count as f64);
        let buckets = buckets(&self.gateway_seconds, api.name());
        for (stat, q) in [("p50", 0.50), ("p95", 0.95), ("p99", 0.99)] {
            set(stat, quantile(&buckets, count, q));
        }
    }
}

impl FlowObserver for Metrics {
    fn callback(&self, source: &'static str, result: &'static str) {
        self.callbacks.with_label_values(&[source, result]).inc();
    }

    fn signature(&self, good: bool) {
        self.signatures_window.add(self.clock.now_ms(), good);
    }

    fn attempt(&self, channel: &str, success: bool) {
        let outcome = if success { "success" } else { "failed" };
        self.attempts.with_label_values(&[channel, outcome]).inc();
        let key = (channel.to_owned(), success);
        self.attempts_window.add(self.clock.now_ms(), key);
    }

    fn requery(&self, result: &'static str) {
        self.requery.with_label_values(&[result]).inc();
    }

    fn refund(&self, state: &'static str) {
        self.refunds.with_label_values(&[state]).inc();
    }

    fn failed_code(&self, alert: Alert) {
        self.failed_codes.with_label_values(&[alert.name()]).inc();
    }

    fn violated(&self, rule: &'static str, orders: usize) {
        let violations = self.violations.with_label_values(&[rule]);
        violations.inc_by(orders as u64);
    }

    fn late_capture(&self) {
        self.captures.0.inc();
    }

    fn duplicate_capture(&self) {
        self.captures.1.inc();
    }
}

impl CallObserver for Metrics {
    fn call(&self, api: Api, class: CallClass, elapsed: Duration) {
        self.gateway_seconds
            .with_label_values(&[api.name()])
            .observe(elapsed.as_secs_f64());
        self.gateway_calls
            .with_label_values(&[api.name(), class.name()])
            .inc();
        self.calls_window.add(self.clock.now_ms(), (api, class));
    }

    fn retry(&self, api: Api) {
        self.retries.with_label_values(&[api.name()]).inc();
    }

    fn circuit(&self, api: Api, state: CircuitState) {
        self.circuit
            .with_label_values(&[api.name()])
            .set(state.gauge());
    }
}

/// The state of each circuit, closed as they begin: an alert on one that never moved needs its line too.
fn circuits(registry: &Registry) -> IntGaugeVec {
    let options = Opts::new("circuit_state", "0 closed, 1 half open, 2 open");
    let circuits = register(registry, IntGaugeVec::new(options, &["api"]));
    for api in Api::ALL {
        circuits
            .with_label_values(&[api.name()])
            .set(CircuitState::Closed.gauge());
    }
    circuits
}

/// Registers a metric that was made from constants of this module.
fn register<M: prometheus::core::Collector + Clone + 'static>(
    registry: &Registry,
    made: prometheus::Result<M>,
) -> M {
    let metric = made.expect("names and labels of metrics are sound");
    registry
        .register(Box::new(metric.clone()))
        .expect("each metric is registered once");
    metric
}

/// A registry in the text form.
fn encode(registry: &Registry) -> String {
    let mut text = Vec::new();
    TextEncoder::new()
        .encode(&registry.gather(), &mut text)
        .expect("writing to memory does not fail");
    String::from_utf8(text).expect("the text form is UTF-8")
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    part as f64 / whole as f64
}

/// Cumulative counts by upper bound of one histogram of a vector.
fn buckets(histograms: &HistogramVec, api: &str) -> Vec<(f64, u64)> {
    use prometheus::core::Collector;
    let families = histograms.collect();
    let metrics = families.iter().flat_map(|family| family.get_metric());
    metrics
        .filter(|metric| metric.get_label().iter().any(|label| label.value() == api))
        .flat_map(|metric| metric.get_histogram().get_bucket())
        .map(|bucket| (bucket.upper_bound(), bucket.cumulative_count()))
        .collect()
}

/// The value below which the share `q` of `count` samples lies, linear within its bucket; the last bound for samples
/// above it.
fn quantile(buckets: &[(f64, u64)], count: u64, q: f64) -> f64 {
    let rank = q * count as f64;
    let (mut below, mut floor) = (0_u64, 0.0_f64);
    for &(bound, cumulative) in buckets {
        if cumulative as f64 >= rank && cumulative > below {
            let inside = (rank - below as f64) / (cumulative - below) as f64;
            return floor + (bound - floor) * inside.clamp(0.0, 1.0);
        }
        (below, floor) = (cumulative, bound);
    }
    floor
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Quantiles lie within the bucket that holds them.
    #[test]
    fn quantiles_are_read_from_buckets() {
        let buckets = [(0.1, 50), (0.5, 90), (1.0, 100)];
        assert_eq!(quantile(&buckets, 100, 0.5), 0.1);
        let p95 = quantile(&buckets, 100, 0.95);
        assert!((0.5..=1.0).contains(&p95), "{p95}");
        assert_eq!(quantile(&buckets, 200, 0.99), 1.0);
    }

    /// What alerts ask for the increase of is there before the first event, at zero.
    #[test]
    fn counters_of_alerts_begin_at_zero() {
        let text = Metrics::new(Clock::manual(0)).text();
        for line in [
            "callbacks_total{result=\"orphan\",source=\"callback\"} 0",
            "callbacks_total{result=\"mismatch\",source=\"return\"} 0",
            "callbacks_total{result=\"other_merchant\",source=\"callback\"} 0",
            "attempts_total{outcome=\"failed\",sub_channel=\"UP\"} 0",
            "failed_codes_total{class=\"merchant_setup\"} 0",
            "invariant_violations_total{rule=\"1_paid_once\"} 0",
            "gateway_call_seconds_count{api=\"refund\"} 0",
            "late_capture_total 0",
            "duplicate_capture_total 0",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
    }

    /// Error rate and availability follow the calls of the window; a definite refusal is no error of the system.
    #[test]
    fn rates_follow_the_calls() {
        let clock = Clock::manual(1_000_000);
        let metrics = Metrics::new(clock.clone());
        let took = Duration::from_millis(20);
        for class in [
            CallClass::Done,
            CallClass::Refused,
            CallClass::Done,
            CallClass::NotSent,
        ] {
            metrics.call(Api::Auth, class, took);
        }
        let text = metrics.text();
        for line in [
            "api_availability{api=\"auth\"} 0.75",
            "error_rate{api=\"auth\",class=\"not_sent\"} 0.25",
            "gateway_calls_total{api=\"auth\",class=\"refused\"} 1",
            "api_availability{api=\"refund\"} 1",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
        clock.advance(2 * CALLS_WINDOW_MS);
        assert!(metrics.text().contains("api_availability{api=\"auth\"} 1"));
    }
}
