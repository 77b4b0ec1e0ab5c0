//! The OpenAPI document against the running service: schemathesis makes requests of every kind from it, good and bad, and
//! holds every answer against it. The numbers are fixed, so that every run makes the same cases.
//!
//! `cargo xtask test` makes the virtual environment in which schemathesis lies and names it in `SEKISHO_TEST_SCHEMATHESIS`.

mod common;
mod daemon;
#[path = "whole/stage.rs"]
mod stage;

use std::path::PathBuf;
use std::process::Command;

use serde_json::json;

use stage::{Commerced, Stage};

const VARIABLE: &str = "SEKISHO_TEST_SCHEMATHESIS";
/// Cases made up for each operation beside the examples and the edges.
const CASES: &str = "10";
/// What is held against the document. Not among them: that whatever fits the schemas is taken. A schema cannot say which
/// amounts, origins and cursors are ours.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
     response_headers_conformance,response_schema_conformance,negative_data_rejection,\
     missing_required_header,unsupported_method,allow_header_conformance,ignored_auth";
/// Deferred payment, with nobody at the agency's address: orders wait, and operators still see and decide.
const DEFERRED: [(&str, &str); 2] = [
    (
        "[frex]",
        "enabled = true\nbuyer_keys = [\"file:secrets/frex_buyer_key\"]",
    ),
    (
        "[frex.agency]",
        "base_url = \"http://127.0.0.1:9\"\nshop_code = \"shop\"\nterminal_id = \"terminal\"\n\
         passwords = [\"file:secrets/frex_password\"]",
    ),
];
/// What decides which.
const SEED: &str = "20250115";

fn program() -> PathBuf {
    let made = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/schemathesis/bin/st");
    let program = std::env::var_os(VARIABLE).map_or(made, PathBuf::from);
    assert!(
        program.exists(),
        "{} is missing: `cargo xtask test` makes it, or set {VARIABLE} to a schemathesis",
        program.display()
    );
    program
}

/// Ids that exist, so that not every case ends at "not found".
struct Known {
    order: String,
    paid: String,
    refund: String,
    issue: String,
    deferred: String,
    request: String,
}

async fn known(stage: &Stage, at: &Commerced) -> Known {
    use sqlx::Row;
    let order = stage.order(at, "K1").await.expect("an order");
    let paid = stage.paid(at, "K2").await.expect("an order");
    let path = format!("/v1/orders/{paid}/refunds");
    let (_, refund) = stage.post(at, &path, "r", &json!({"amount": 100})).await;
    stage
        .only_faults(&json!({"api": "callback", "fault": "amount_changed"}))
        .await;
    stage.paid(at, "K3").await;
    stage.no_faults().await;
    let issue = sqlx::query("SELECT id FROM issues")
        .fetch_one(stage.test.store.pool())
        .await;
    let deferred = "DEFERRED-1".to_owned();
    let person = json!({
        "company_name": "Kawabe Tea", "customer_name": "Sample Buyer", "zip_code": "1000001",
        "address": "1-1 Chiyoda, Chiyoda-ku, Tokyo", "tel_no": "0300000000", "email": "buyer@example.com",
    });
    let mut delivery = person.clone();
    delivery.as_object_mut().expect("an object").remove("email");
    let body = json!({
        "order_no": deferred, "joiner_id": "kawabe-tea", "amount": 11_000, "buyer": person, "delivery": delivery,
        "transaction_details": [{"detail": "tea", "price": 10_000, "quantity": 1, "billed_tax_kind": "T10"}],
    });
    sqlx::query("INSERT INTO frex_joiner (joiner_id, use_frex) VALUES ('kawabe-tea', 1)")
        .execute(stage.test.store.pool())
        .await
        .expect("a company");
    let (status, said) = stage.post(at, "/v1/frex/orders", "d", &body).await;
    assert_eq!(status, 201, "{said}");
    let operator = &stage.operators[0];
    let (status, said) = stage
        .post_as(operator, at, "/v1/admin/frex/batch", "run", &json!({}))
        .await;
    // The worker may be at it by itself already.
    assert!(matches!(status, 202 | 409), "{said}");
    let request = format!("{deferred}:ORDER_REG:0");
    stage
        .until_count(&format!("frex_request WHERE request_key = '{request}'"), 1)
        .await;
    Known {
        deferred,
        request,
        order,
        paid,
        refund: refund["refund_id"].as_str().expect("an id").to_owned(),
        issue: issue.expect("an issue").get("id"),
    }
}

/// How schemathesis is told who may call what, and which ids there are.
fn settings(stage: &Stage, known: &Known) -> String {
    let operator = &stage.operators[0];
    format!(
        "[headers]\nAuthorization = \"Bearer {}\"\n\n\
         [parameters]\n\"path.order_id\" = [\"{}\", \"{}\"]\n\"path.refund_id\" = \"{}\"\n\"path.issue_id\" = \"{}\"\n\
         \"path.order_no\" = \"{}\"\n\"path.request_key\" = \"{}\"\n\n\
         [checks.missing_required_header]\nexpected-statuses = [400, 401, 403, 406, 415, 422, 428]\n\n\
         [checks.negative_data_rejection]\nexpected-statuses = [400, 401, 403, 404, 406, 409, 413, 415, 422, 428]\n\n\
         [[operations]]\ninclude-path-regex = \"^/v1/admin\"\nheaders = {{ Authorization = \"Bearer {operator}\" }}\n",
        stage.merchant,
        known.order,
        known.paid,
        known.refund,
        known.issue,
        known.deferred,
        known.request
    )
}

async fn conforms(test: common::TestStore) {
    let name = test.name();
    // A page of made-up requests is no merchant's traffic.
    let mut more = vec![("[flow]", "attempts_per_hour_max = 1000")];
    more.extend(DEFERRED);
    let stage = Stage::new(test, &more).await;
    let at = stage.start(None).expect("it serves");
    let known = known(&stage, &at).await;
    let config = stage.dir().join("schemathesis.toml");
    std::fs::write(&config, settings(&stage, &known)).expect("written");
    let mut command = Command::new(program());
    command
        .current_dir(stage.dir())
        .arg("--config-file")
        .arg(&config)
        .args(["run", &format!("{}/openapi.json", at.url), "--url", &at.url])
        .args([
            "--seed",
            SEED,
            "--max-examples",
            CASES,
            "--workers",
            // Python 3.11 trips over its own syntax trees when two threads make cases.
            "1",
            "--no-color",
        ])
        .args(["--checks", CHECKS, "--generation-database", "none"]);
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = output.await.expect("it runs").expect("schemathesis runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {said}\n{errors}");
    println!(
        "{name}: {}",
        said.lines().rev().take(25).collect::<Vec<_>>().join("\n")
    );
    let broken = stage
        .log()
        .lines()
        .filter(|line| line.contains("broke off"))
        .count();
    assert_eq!(broken, 0, "a request ended in a panic");
    let books = stage.books(&at).await;
    assert!(books.agree(), "{}", books.shown(20));
}

/// On SQLite.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_conforms_on_sqlite() {
    conforms(common::sqlite().await).await;
}

/// On PostgreSQL.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_conforms_on_postgres() {
    conforms(common::postgres().await).await;
}
