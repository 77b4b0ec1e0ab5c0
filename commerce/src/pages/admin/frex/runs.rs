//! The worker: whether it works, when it runs next, the pause, and what its last runs did step by step.

use maud::{Markup, html};
use serde_json::Value;

use crate::frex::lease::LeaseView;
use crate::pages::look::{Tone, badge, facts, hidden, notice, text, time_tag};
use crate::pages::session::{CSRF_FIELD, Operator};
use crate::pages::text::{Zone, age, when_ms};

/// What is counted in a run: the report's member, and the word of the table's head.
const COUNTS: &[(&str, &str)] = &[
    ("selected", "needed it"),
    ("sent", "sent"),
    ("done", "done"),
    ("pending", "not ready"),
    ("refused", "refused"),
    ("unknown", "unknown"),
    ("resent", "sent again"),
    ("failed", "failed"),
];

/// The page's content.
#[must_use]
pub fn runs(operator: &Operator, lease: &LeaseView, runs: &[Value], now_ms: i64) -> Markup {
    html! {
        (worker(operator, lease, now_ms))
        h2 { "Last runs" }
        ul.rows {
            @for run in runs { li.inside { (run_html(run)) } }
            @if runs.is_empty() { li.empty { "The worker has not run yet." } }
        }
    }
}

fn worker(operator: &Operator, lease: &LeaseView, now_ms: i64) -> Markup {
    let running = lease.expires_at > now_ms;
    let paused = lease.paused_by.as_deref();
    let button = |action: &str, label: &str, second: bool| {
        html! {
            form method="post" action=(format!("/admin/frex/{action}")) {
                (hidden(CSRF_FIELD, &operator.csrf))
                button.second[second] type="submit" { (label) }
            }
        }
    };
    html! {
        @match (paused, running) {
            (Some(by), _) => (notice(Tone::Busy, &html! {
                p { strong { "The worker is paused" } " by " (by) ". Nothing is sent to the agency by itself." }
            })),
            (None, true) => (notice(Tone::Good, &html! { p { "A run is under way." } })),
            (None, false) => (notice(Tone::Good, &html! {
                p { "The worker works." @if lease.next_run_at > now_ms { " Its next run is at " (when_ms(lease.next_run_at, Zone::Jst)) "." } }
            })),
        }
        div.actions {
            @if paused.is_some() { (button("resume", "Let the worker go on", false)) }
            @else { (button("pause", "Pause the worker", true)) }
        }
    }
}

fn run_html(run: &Value) -> Markup {
    let word = |name: &str| run[name].as_str().unwrap_or_default();
    let at = |name: &str| run[name].as_str().map(|time| time_tag(time, Zone::Jst));
    let (tone, state) = match word("state") {
        "DONE" => (Tone::Good, "done"),
        "PART" => (Tone::Calm, "done, some steps only"),
        "STOPPED" => (Tone::Bad, "stopped: the agency rejects our credentials"),
        "FAILED" => (Tone::Bad, "a step failed"),
        "RUNNING" => (Tone::Busy, "under way"),
        _ => (Tone::Bad, "never said that it ended"),
    };
    let took = run["report"]["ended_at"]
        .as_i64()
        .zip(run["report"]["started_at"].as_i64())
        .map(|(end, start)| end - start);
    let recovered = run["report"]["recovered"]
        .as_i64()
        .filter(|count| *count > 0);
    html! {
        h3 { "Run " (run["fence"]) " " (badge(state, tone)) }
        (facts(&[
            ("Begun", at("started_at")),
            ("Took", took.map(|ms| html! { (span(ms)) })),
            ("Asked for by", text(word("cause"))),
            ("On", text(word("owner"))),
            ("Taken up after a crash", recovered.map(|count| html! { (count) " requests" })),
        ]))
        (steps(&run["report"]["steps"]))
    }
}

/// The steps that had something to do.
fn steps(steps: &Value) -> Markup {
    let busy: Vec<&Value> = steps
        .as_array()
        .into_iter()
        .flatten()
        .filter(|step| had_work(step))
        .collect();
    html! {
        @if busy.is_empty() { p.dim { "There was nothing to do." } }
        @else {
            div.scrolls tabindex="0" role="region" aria-label="What the steps did" {
                table {
                    thead { tr { th scope="col" { "Step" } @for (_, head) in COUNTS { th scope="col" { (head) } } th scope="col" { "took" } } }
                    tbody {
                        @for step in &busy {
                            tr {
                                th scope="row" { (step["step"].as_str().unwrap_or_default()) }
                                @for (name, _) in COUNTS { td { (step[name].as_i64().unwrap_or_default()) } }
                                td { (span(step["duration_ms"].as_i64().unwrap_or_default())) }
                            }
                        }
                    }
                }
            }
            @for step in &busy {
                @if let Some(error) = step["error"].as_str() {
                    p.small { strong { (step["step"].as_str().unwrap_or_default()) ": " } (error) }
                }
            }
        }
    }
}

fn had_work(step: &Value) -> bool {
    let counted = COUNTS
        .iter()
        .any(|(name, _)| step[name].as_i64().unwrap_or_default() > 0);
    counted || !step["error"].is_null()
}

/// A short time in its best unit.
fn span(ms: i64) -> String {
    if ms < 1_000 {
        format!("{ms} ms")
    } else {
        age(ms)
    }
}
