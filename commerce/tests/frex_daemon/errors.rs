//! What is refused, and how it is said.

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use super::agency::Agency;
use super::daemon::{Daemon, Options};
use super::shop::{Setup, Shop, details, order};

/// Sends a request that must be refused with a problem of this status and code.
async fn refused(request: RequestBuilder, status: u16, code: &str) -> Value {
    let answer = request.send().await.expect("sent");
    let found = answer.status().as_u16();
    let kind = answer.headers().get("content-type").cloned();
    let text = answer.text().await.expect("text");
    assert_eq!(found, status, "{code}: {text}");
    assert_eq!(kind.expect("a type"), "application/problem+json", "{text}");
    let body: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(body["code"], code, "{body}");
    body
}

/// Every refusal of the shop's calls is a problem that names the reason and no value of the buyer's data.
#[tokio::test]
async fn the_shop_is_refused_with_reasons() {
    let agency = Agency::start();
    let shop = Shop::start(&agency, &Setup::default()).await;
    shop.admin(Method::POST, "/pause")
        .send()
        .await
        .expect("sent");
    let place = |key: &str, body: &Value| {
        shop.request(Method::POST, "/orders")
            .header("Idempotency-Key", key)
            .json(body)
    };
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut body = order("E1", 11_000);
        change(&mut body);
        body
    };
    let keyless = shop
        .request(Method::POST, "/orders")
        .json(&order("E1", 11_000));
    refused(keyless, 400, "idempotency_key_required").await;
    let foreign = changed(&|body| body["joiner_id"] = json!("J2"));
    refused(place("e1", &foreign), 403, "frex_not_enabled").await;
    let long = "x".repeat(60);
    let long =
        changed(&|body| body["buyer"]["address"] = json!(format!("Osaka Naniwa 7-7 {long}")));
    let problem = refused(place("e1", &long), 422, "data_limits").await;
    shop.shows_no_buyer("the problem", &problem.to_string());
    assert!(
        problem["detail"]
            .as_str()
            .is_some_and(|it| it.contains("buyer.address")),
        "{problem}"
    );
    let sums = changed(&|body| body["amount"] = json!(12_000));
    refused(place("e1", &sums), 422, "data_limits").await;
    let unknown = changed(&|body| body["colour"] = json!("red"));
    let problem = refused(place("e1", &unknown), 400, "validation_failed").await;
    assert_eq!(problem["fields"][0]["field"], "colour");
    let typed = changed(&|body| body["buyer"]["email"] = json!(["hanako@buyer.example"]));
    let problem = refused(place("e1", &typed), 400, "validation_failed").await;
    shop.shows_no_buyer("the problem", &problem.to_string());

    let good = place("e1", &order("E1", 11_000))
        .send()
        .await
        .expect("sent");
    assert_eq!(
        good.status(),
        StatusCode::CREATED,
        "a refused key is free again"
    );
    refused(
        place("e1", &order("E1", 22_000)),
        422,
        "idempotency_key_reused",
    )
    .await;
    refused(place("e2", &order("E1", 22_000)), 409, "order_exists").await;

    refused(shop.request(Method::GET, "/orders/NONE"), 404, "not_found").await;
    refused(
        shop.request(Method::POST, "/orders/NONE/cancel"),
        404,
        "not_found",
    )
    .await;
    refused(
        shop.request(Method::DELETE, "/orders/E1"),
        405,
        "method_not_allowed",
    )
    .await;
    let body = json!({"amount": 9_900, "transaction_details": details(9_900)});
    let patch = || shop.request(Method::PATCH, "/orders/E1").json(&body);
    refused(patch(), 428, "version_required").await;
    refused(patch().header("If-Match", "*"), 400, "validation_failed").await;
    refused(patch().header("If-Match", "\"7\""), 412, "version_mismatch").await;
    let both = json!({"amount": 9_900, "buyer": super::shop::buyer()});
    let both = shop.request(Method::PATCH, "/orders/E1").json(&both);
    refused(both.header("If-Match", "\"1\""), 400, "validation_failed").await;
    refused(
        shop.request(Method::POST, "/orders/E1/complete"),
        409,
        "not_endable",
    )
    .await;
    let cancelled = shop.request(Method::POST, "/orders/E1/cancel").send().await;
    assert_eq!(
        cancelled.expect("sent").status(),
        StatusCode::OK,
        "nothing was sent yet"
    );
    refused(patch().header("If-Match", "\"2\""), 409, "closed").await;
    shop.shows_no_buyer("the log", &shop.daemon.log());
}

/// Roles are kept apart, odd queries and decisions are refused, and what is not enabled is not there.
#[tokio::test]
async fn operators_are_refused_with_reasons() {
    let agency = Agency::start();
    let shop = Shop::start(&agency, &Setup::default()).await;
    let admin = |path: &str| format!("{}/v1/admin/frex{path}", shop.daemon.url);
    let http = reqwest::Client::new();
    refused(http.get(admin("/requests")), 401, "unauthorized").await;
    let merchant = http
        .get(admin("/requests"))
        .bearer_auth(&shop.daemon.merchant);
    refused(merchant, 403, "forbidden").await;
    let operator = http
        .post(format!("{}/v1/frex/orders/E1/cancel", shop.daemon.url))
        .bearer_auth(&shop.daemon.operator);
    refused(operator, 403, "forbidden").await;
    for odd in ["?state=OPEN", "?type=REG", "?limit=0", "?colour=red"] {
        let path = format!("/requests{odd}");
        refused(shop.admin(Method::GET, &path), 400, "validation_failed").await;
    }
    let steps = json!({"steps": ["OrderRegg"]});
    let odd = shop.admin(Method::POST, "/batch").json(&steps);
    refused(odd, 400, "validation_failed").await;
    let decide = |path: &str, body: Value| {
        shop.admin(Method::POST, path)
            .header("Idempotency-Key", "d1")
            .json(&body)
    };
    let unknown = decide("/orders/NONE/resolve", json!({"action": "retry_billing"}));
    refused(unknown, 404, "not_found").await;
    let odd = decide("/orders/NONE/resolve", json!({"action": "give_up"}));
    refused(odd, 400, "validation_failed").await;
    let unknown = decide(
        "/requests/NONE:ORDER_REG:0/resolve",
        json!({"action": "close"}),
    );
    refused(unknown, 404, "not_found").await;
    refused(
        shop.admin(Method::GET, "/orders/NONE/history"),
        404,
        "not_found",
    )
    .await;
    refused(
        shop.admin(Method::POST, "/alerts/NONE/resolve"),
        404,
        "not_found",
    )
    .await;
    shop.place("E2", 11_000).await;
    shop.reaches("E2", "billed").await;
    let misfit = decide("/orders/E2/resolve", json!({"action": "retry_billing"}));
    refused(misfit, 409, "decision_not_fitting").await;
    let misfit = decide(
        "/requests/E2:BILLING_REG:0/resolve",
        json!({"action": "close"}),
    );
    refused(misfit, 409, "decision_not_fitting").await;

    let without = tokio::task::spawn_blocking(|| Daemon::start(&Options::default())).await;
    let without = without.expect("a daemon");
    let there = http
        .get(format!("{}/v1/frex/orders/E1", without.url))
        .bearer_auth(&without.merchant);
    refused(there, 404, "not_found").await;
}
