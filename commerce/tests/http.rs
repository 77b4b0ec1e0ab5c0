//! The conventions of the HTTP surface, against the real daemon: who may call, how errors look, what is limited, what is
//! told twice.

mod daemon;

use daemon::{Daemon, Options, commerced, order};
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;

/// A response that must be a problem of this status and code.
async fn problem(response: reqwest::Response, status: u16, code: &str) -> Value {
    let kind = response.headers().get("content-type").cloned();
    assert_eq!(response.status().as_u16(), status, "{code}");
    assert_eq!(kind.expect("a type"), "application/problem+json", "{code}");
    let id = response.headers().get("x-request-id").cloned();
    let body: Value = response.json().await.expect("JSON");
    assert_eq!(body["code"], code, "{body}");
    assert_eq!(body["status"], status, "{body}");
    assert_eq!(
        body["request_id"],
        id.expect("an id").to_str().expect("text")
    );
    body
}

/// Every error is a problem, those of the framework included, and none reaches a handler that it must not reach.
#[tokio::test]
async fn every_error_is_a_problem() {
    let daemon = Daemon::start(&Options::default());
    let http = Client::new();
    let url = |path: &str| format!("{}{path}", daemon.url);
    let send =
        |request: reqwest::RequestBuilder| async { request.send().await.expect("an answer") };

    problem(send(http.get(url("/nowhere"))).await, 404, "not_found").await;
    let wrong = send(http.delete(url("/v1/orders"))).await;
    assert_eq!(wrong.headers()["allow"], "POST");
    problem(wrong, 405, "method_not_allowed").await;
    let anonymous = send(http.post(url("/v1/orders")).json(&order("a", 100))).await;
    assert_eq!(anonymous.headers()["www-authenticate"], "Bearer");
    problem(anonymous, 401, "unauthorized").await;
    let made_up = format!("sek_{}", "0".repeat(64));
    problem(
        send(daemon.get("/v1/orders/ord_1", &made_up)).await,
        401,
        "unauthorized",
    )
    .await;
    problem(
        send(daemon.get("/v1/admin/orders", &daemon.merchant)).await,
        403,
        "forbidden",
    )
    .await;
    problem(
        send(daemon.get("/v1/orders/ord_1", &daemon.operator)).await,
        403,
        "forbidden",
    )
    .await;
    problem(
        send(daemon.get("/v1/orders/%FF", &daemon.merchant)).await,
        404,
        "not_found",
    )
    .await;

    let post = || {
        http.request(Method::POST, url("/v1/orders"))
            .bearer_auth(&daemon.merchant)
            .header("Idempotency-Key", "k")
    };
    problem(
        send(post().body("a=b")).await,
        415,
        "unsupported_media_type",
    )
    .await;
    let json = || post().header("content-type", "application/json; charset=utf-8");
    problem(send(json().body("{\"a\":")).await, 400, "bad_request").await;
    problem(send(json().body("[]")).await, 400, "validation_failed").await;
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(40), "]".repeat(40));
    problem(send(json().body(deep)).await, 400, "bad_request").await;
    problem(
        send(json().body(vec![b' '; 70_000])).await,
        413,
        "body_too_large",
    )
    .await;
    let faulty = problem(
        send(json().body("{\"amount\":1.5}")).await,
        400,
        "validation_failed",
    )
    .await;
    assert!(
        faulty["fields"]
            .as_array()
            .is_some_and(|fields| fields.len() > 2),
        "{faulty}"
    );
    let limit = send(daemon.get("/v1/admin/orders?limit=0", &daemon.operator)).await;
    assert_eq!(
        problem(limit, 400, "validation_failed").await["fields"][0]["field"],
        "limit"
    );
    let unknown = send(daemon.get("/v1/admin/orders?colour=red", &daemon.operator)).await;
    problem(unknown, 400, "validation_failed").await;
}

/// The same order asked for twice is made once; read again it is not sent again; its customer sees less of it.
#[tokio::test]
async fn an_order_is_made_once_and_read() {
    let daemon = Daemon::start(&Options::default());
    let http = Client::new();
    let made = daemon
        .post("/v1/orders", "k1", &order("S-1", 10_000))
        .send()
        .await
        .expect("sent");
    assert_eq!(made.status(), StatusCode::CREATED);
    let place = made.headers()["location"]
        .to_str()
        .expect("text")
        .to_owned();
    let body: Value = made.json().await.expect("JSON");
    assert_eq!(
        place,
        format!("/v1/orders/{}", body["order_id"].as_str().expect("an id"))
    );

    let again = daemon
        .post("/v1/orders", "k1", &order("S-1", 10_000))
        .send()
        .await
        .expect("sent");
    assert_eq!(again.headers()["idempotent-replay"], "true");
    assert_eq!(again.json::<Value>().await.expect("JSON"), body);
    let other = daemon
        .post("/v1/orders", "k1", &order("S-2", 20_000))
        .send()
        .await
        .expect("sent");
    problem(other, 422, "idempotency_key_reused").await;
    let keyless = http
        .post(format!("{}/v1/orders", daemon.url))
        .bearer_auth(&daemon.merchant)
        .json(&order("S-3", 10_000));
    problem(
        keyless.send().await.expect("sent"),
        400,
        "idempotency_key_required",
    )
    .await;

    let read = daemon
        .get(&place, &daemon.merchant)
        .send()
        .await
        .expect("sent");
    let tag = read.headers()["etag"].to_str().expect("text").to_owned();
    let full: Value = read.json().await.expect("JSON");
    let same = daemon
        .get(&place, &daemon.merchant)
        .header("If-None-Match", &tag);
    assert_eq!(
        same.send().await.expect("sent").status(),
        StatusCode::NOT_MODIFIED
    );
    let token = body["read_token"].as_str().expect("a token");
    let seen = daemon.get(&place, token).send().await.expect("sent");
    assert_eq!(seen.status(), StatusCode::OK);
    let seen: Value = seen.json().await.expect("JSON");
    assert_eq!(seen["amount"], full["amount"]);
    assert!(seen.as_object().expect("members").len() < full.as_object().expect("members").len());
    let foreign = daemon
        .get(&place, "rt_00000000000000000000000000000000")
        .send()
        .await;
    assert!(foreign.expect("sent").status().is_client_error());
}

/// Pages of the operators' list are taken one after the other without a gap or a repetition, though orders come in.
#[tokio::test]
async fn pages_follow_each_other() {
    let daemon = Daemon::start(&Options::default());
    for n in 0..5 {
        let reference = format!("P-{n}");
        let made = daemon
            .post("/v1/orders", &reference, &order(&reference, 500))
            .send()
            .await;
        assert_eq!(made.expect("sent").status(), StatusCode::CREATED);
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/admin/orders?limit=2{cursor}");
        let page: Value = daemon
            .get(&path, &daemon.operator)
            .send()
            .await
            .expect("sent")
            .json()
            .await
            .expect("JSON");
        for item in page["items"].as_array().expect("items") {
            seen.push(
                item["merchant_order_ref"]
                    .as_str()
                    .expect("a reference")
                    .to_owned(),
            );
            assert_eq!(item["customer"]["email"], "b***@example.com");
        }
        let late = daemon.post(
            "/v1/orders",
            &seen.len().to_string(),
            &order(&format!("L-{}", seen.len()), 500),
        );
        assert_eq!(
            late.send().await.expect("sent").status(),
            StatusCode::CREATED
        );
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ["P-4", "P-3", "P-2", "P-1", "P-0"]);
}

/// A key that sends too fast is told to wait, and others are not.
#[tokio::test]
async fn a_fast_key_waits() {
    let daemon = Daemon::start(&Options {
        more: vec![("[http.limits]", "key_rate = 1\nkey_burst = 3".to_owned())],
        ..Options::default()
    });
    for _ in 0..3 {
        let read = daemon
            .get("/v1/orders/ord_1", &daemon.merchant)
            .send()
            .await
            .expect("sent");
        assert_eq!(read.status(), StatusCode::NOT_FOUND);
    }
    let refused = daemon
        .get("/v1/orders/ord_1", &daemon.merchant)
        .send()
        .await
        .expect("sent");
    let wait: u64 = refused.headers()["retry-after"]
        .to_str()
        .expect("text")
        .parse()
        .expect("a number");
    assert!(wait >= 1);
    problem(refused, 429, "rate_limited").await;
    let other = daemon
        .get("/v1/admin/orders", &daemon.operator)
        .send()
        .await
        .expect("sent");
    assert_eq!(other.status(), StatusCode::OK);
}

/// Health, readiness, metrics and the description are there; request ids are taken over where they are sound.
#[tokio::test]
async fn the_service_shows_itself() {
    let daemon = Daemon::start(&Options::default());
    let http = Client::new();
    for (path, word) in [
        ("/healthz", "ok"),
        ("/readyz", "ready"),
        ("/metrics", "kdf_derivations_total "),
        ("/metrics", "api_availability{api=\"auth\"} 1"),
        ("/metrics", "attempts_open{age_bucket=\"24h\"} 0"),
        ("/metrics", "inbox_apply_lag_seconds 0"),
        ("/openapi.json", "\"openapi\": \"3.1.0\""),
    ] {
        let response = http
            .get(format!("{}{path}", daemon.url))
            .header("X-Request-Id", "mine-1")
            .send()
            .await
            .expect("sent");
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(response.headers()["x-request-id"], "mine-1");
        let text = response.text().await.expect("text");
        assert!(text.contains(word), "{path} has no {word}: {text}");
    }
    let odd = http
        .get(format!("{}/healthz", daemon.url))
        .header("X-Request-Id", "a b")
        .send()
        .await
        .expect("sent");
    assert_eq!(odd.headers()["x-request-id"].len(), 32);
}

/// A revoked key stops to work within seconds, keys are listed without themselves, and the daemon ends cleanly when asked.
#[tokio::test]
async fn keys_are_revoked_and_the_daemon_ends() {
    let mut daemon = Daemon::start(&Options::default());
    let config = daemon.config_file();
    let key = |arguments: &[&str]| {
        let output = commerced()
            .arg("key")
            .args(arguments)
            .arg("--config")
            .arg(&config)
            .output();
        let output = output.expect("commerced runs");
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    };
    let (_, listed) = key(&["list"]);
    assert_eq!(listed.lines().count(), 2, "{listed}");
    assert!(!listed.contains(&daemon.operator), "{listed}");
    let line = listed
        .lines()
        .find(|line| line.contains("operator"))
        .expect("the operator's key");
    let id = line.split_whitespace().next().expect("an id");
    assert!(key(&["revoke", id]).0);
    assert!(!key(&["revoke", id]).0, "it is revoked once");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let answer = daemon
            .get("/v1/admin/orders", &daemon.operator)
            .send()
            .await
            .expect("sent");
        if answer.status() == StatusCode::UNAUTHORIZED {
            break;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "a revoked key still works"
        );
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert!(daemon.stop(), "{}", daemon.log());
    assert!(daemon.log().contains("ended"));
}

/// `check` says that a configuration is in order, or names the fault and fails.
#[test]
fn check_judges_a_file() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = daemon::write_config(dir.path(), &Options::default());
    let good = commerced()
        .arg("check")
        .arg(&file)
        .output()
        .expect("commerced runs");
    assert!(
        good.status.success(),
        "{}",
        String::from_utf8_lossy(&good.stderr)
    );
    std::fs::remove_file(dir.path().join("secrets/atom_req_key")).expect("removed");
    let bad = commerced()
        .arg("--check")
        .arg(&file)
        .output()
        .expect("commerced runs");
    assert!(!bad.status.success());
    let message = String::from_utf8_lossy(&bad.stderr).into_owned();
    assert!(
        message.contains("atom.req_key") && message.contains("secrets/atom_req_key"),
        "{message}"
    );
}

/// What strangers send leaves no more behind than what they may: a made-up method makes no series of its own, whoever comes through a
/// proxy that we do not know reads no metrics, and the database is for its user alone.
#[tokio::test]
async fn strangers_leave_nothing_behind() {
    use std::os::unix::fs::PermissionsExt;

    let daemon = Daemon::start(&Options::default());
    let http = Client::new();
    let url = |path: &str| format!("{}{path}", daemon.url);
    for n in 0..50 {
        let method = Method::from_bytes(format!("MADE-UP-{n}").as_bytes()).expect("a token");
        let sent = http.request(method, url("/v1/orders")).send().await;
        problem(sent.expect("an answer"), 405, "method_not_allowed").await;
    }
    let metrics = http.get(url("/metrics")).send().await.expect("an answer");
    let metrics = metrics.text().await.expect("text");
    assert!(!metrics.contains("MADE-UP"), "{metrics}");
    let others = "http_requests_total{method=\"other\",route=\"/v1/orders\",status=\"405\"} 50";
    assert!(metrics.contains(others), "{metrics}");
    for header in ["X-Forwarded-For", "Forwarded"] {
        let proxied = http.get(url("/metrics")).header(header, "127.0.0.1");
        let proxied = proxied.send().await.expect("an answer");
        problem(proxied, 403, "forbidden").await;
    }
    let dir = daemon.config_file();
    let dir = dir.parent().expect("a folder");
    for made in std::fs::read_dir(dir).expect("there").flatten() {
        let name = made.file_name().into_string().expect("text");
        if name.contains(".db") || name.ends_with(".log") {
            let mode = made.metadata().expect("there").permissions().mode();
            assert_eq!(mode & 0o077, 0, "{name}: {mode:o}");
        }
    }
}

/// Connections that never say what they want, and forms that never come, hold up neither others nor the end.
#[tokio::test]
async fn silent_connections_hold_nothing_up() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let options = Options {
        more: vec![("[http]", "body_timeout_s = 1\nshutdown_s = 3".to_owned())],
        ..Options::default()
    };
    let mut daemon = Daemon::start(&options);
    let address = daemon.url.trim_start_matches("http://").to_owned();
    let connect = || async {
        let stream = tokio::net::TcpStream::connect(&address).await;
        stream.expect("a connection")
    };
    let mut silent = connect().await;
    silent.write_all(b"GET / HT").await.expect("sent");
    let mut form = connect().await;
    let head = b"POST /admin/login HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nkey=";
    form.write_all(head).await.expect("sent");
    let mut answer = [0; 64];
    let read = form.read(&mut answer).await.expect("an answer");
    let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(
        daemon.stop(),
        "it ends although one has not said what it wants"
    );
    let log = daemon.log();
    assert!(log.contains("some work did not end within 3 s"), "{log}");
}
