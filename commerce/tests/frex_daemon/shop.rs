//! A daemon with deferred payment and a shop that uses it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use super::agency::Agency;
use super::daemon::{Daemon, Options, commerced};

/// What no log, metric, message or answer may show.
pub const BUYER: [&str; 5] = [
    "Kaede Trading KK",
    "Hanako Sample",
    "Osaka Naniwa 7-7",
    "0612345678",
    "hanako@buyer.example",
];

/// How long something may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// How a daemon is started; every time in it is as short as it may be.
#[derive(Clone, Default)]
pub struct Setup {
    /// Further lines of `[frex.worker]`.
    pub worker: String,
    /// Further lines of `[frex]`.
    pub frex: String,
    /// Further lines of `[frex.agency]`.
    pub agency: String,
    /// Lines of `[frex.notify]`.
    pub notify: String,
    /// Address of the store; a file of its own if empty.
    pub store: String,
    /// A file with the authorities that are trusted, instead of the system's.
    pub authorities: Option<PathBuf>,
    /// How long the agency may take, if not a second.
    pub timeout_ms: Option<u64>,
}

/// A daemon and what its shop does.
pub struct Shop {
    /// The daemon.
    pub daemon: Daemon,
}

impl Shop {
    /// Starts a daemon for an agency, with the company `J1` enabled.
    pub async fn start(agency: &Agency, setup: &Setup) -> Self {
        let worker = format!(
            "interval_s = 1\nretry_s = [1]\njitter_percent = 0\nagency_delay_s = 0\nquiet_s = 1\nhold_poll_s = 1\n{}",
            setup.worker
        );
        let place = format!(
            "base_url = \"{}\"\nshop_code = \"shop\"\nterminal_id = \"terminal\"\npasswords = [\"file:secrets/frex_password\"]\n\
             connect_timeout_ms = 500\ntimeout_ms = {}\n{}",
            agency.url,
            setup.timeout_ms.unwrap_or(1_000),
            setup.agency
        );
        let mut more = vec![
            (
                "[frex]",
                format!(
                    "enabled = true\nbuyer_keys = [\"file:secrets/frex_buyer_key\"]\n{}",
                    setup.frex
                ),
            ),
            ("[frex.worker]", worker),
            ("[frex.agency]", place),
            ("[jobs]", "frex_ms = 50".to_owned()),
        ];
        if !setup.notify.is_empty() {
            more.push(("[frex.notify]", setup.notify.clone()));
        }
        if !setup.store.is_empty() {
            more.push(("[store]", format!("url = \"{}\"", setup.store)));
        }
        let authorities = setup.authorities.iter();
        let options = Options {
            more,
            env: authorities
                .map(|file| ("SSL_CERT_FILE", file.clone()))
                .collect(),
            ..Options::default()
        };
        let daemon = tokio::task::spawn_blocking(move || Daemon::start(&options)).await;
        let shop = Self {
            daemon: daemon.expect("a daemon"),
        };
        let enabled = shop
            .admin(Method::PUT, "/joiners/J1")
            .json(&json!({"use_frex": true}));
        assert_eq!(enabled.send().await.expect("sent").status(), StatusCode::OK);
        shop
    }

    /// A request with the merchant's key.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        reqwest::Client::new()
            .request(method, format!("{}/v1/frex{path}", self.daemon.url))
            .bearer_auth(&self.daemon.merchant)
    }

    /// A request with the operator's key.
    pub fn admin(&self, method: Method, path: &str) -> RequestBuilder {
        reqwest::Client::new()
            .request(method, format!("{}/v1/admin/frex{path}", self.daemon.url))
            .bearer_auth(&self.daemon.operator)
    }

    /// Places an order.
    pub async fn place(&self, order_no: &str, amount: i64) {
        let request = self
            .request(Method::POST, "/orders")
            .header("Idempotency-Key", order_no)
            .json(&order(order_no, amount));
        let answer = request.send().await.expect("sent");
        let status = answer.status();
        let text = answer.text().await.expect("text");
        assert_eq!(status, StatusCode::CREATED, "{order_no}: {text}");
    }

    /// The order as the shop sees it.
    pub async fn read(&self, order_no: &str) -> Value {
        let path = format!("/orders/{order_no}");
        let answer = self.request(Method::GET, &path).send().await.expect("sent");
        assert_eq!(answer.status(), StatusCode::OK, "{order_no}");
        answer.json().await.expect("JSON")
    }

    /// Waits until an order has come to a stage.
    pub async fn reaches(&self, order_no: &str, stage: &str) -> Value {
        let since = Instant::now();
        loop {
            let order = self.read(order_no).await;
            if order["stage"] == stage {
                return order;
            }
            assert!(
                since.elapsed() < PATIENCE,
                "{order_no} never came to {stage}: {order:#}\n{}",
                self.daemon.log()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the log says something.
    pub async fn logs(&self, what: &str) {
        let since = Instant::now();
        while !self.daemon.log().contains(what) {
            assert!(since.elapsed() < PATIENCE, "{}", self.daemon.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A page of an admin list.
    pub async fn list(&self, path: &str) -> Vec<Value> {
        let answer = self.admin(Method::GET, path).send().await.expect("sent");
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        let page: Value = answer.json().await.expect("JSON");
        page["items"].as_array().expect("items").clone()
    }

    /// Waits until a list holds something that fits.
    pub async fn listed(&self, path: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let since = Instant::now();
        loop {
            let list = self.list(path).await;
            if let Some(found) = list.iter().find(|it| fits(it)) {
                return found.clone();
            }
            assert!(
                since.elapsed() < PATIENCE,
                "{path}: {list:#?}\n{}",
                self.daemon.log()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until so many more runs have begun and ended well.
    pub async fn runs(&self, count: i64) {
        let newest = self.list("/runs?limit=1").await;
        let fence = newest.first().map_or(0, |run| number(&run["fence"]));
        self.listed("/runs?limit=5", |run| {
            run["state"] == "DONE" && number(&run["fence"]) >= fence + count
        })
        .await;
    }

    /// The metrics.
    pub async fn metrics(&self) -> String {
        let answer = reqwest::get(format!("{}/metrics", self.daemon.url)).await;
        answer.expect("sent").text().await.expect("text")
    }

    /// A command of an operator: whether it succeeded, and what it printed.
    pub fn command(&self, arguments: &[&str]) -> (bool, String) {
        let output = commerced()
            .arg("frex")
            .args(arguments)
            .arg("--config")
            .arg(self.daemon.config_file())
            .output()
            .expect("commerced runs");
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    }

    /// Holds that no buyer data stands in a text.
    pub fn shows_no_buyer(&self, name: &str, text: &str) {
        for secret in BUYER {
            assert!(!text.contains(secret), "{name} shows {secret}");
        }
        for secret in ["BwcHBwcH", "c2hvcDpwYXNzd29yZA"] {
            assert!(!text.contains(secret), "{name} shows a key or password");
        }
    }
}

/// A number of an answer.
pub fn number(value: &Value) -> i64 {
    value
        .as_i64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}

/// The lines of an order of one tax rate of 10 %.
pub fn details(amount: i64) -> Value {
    json!([{"detail": "Flyer printing A4", "price": amount * 10 / 11, "quantity": 1, "billed_tax_kind": "T10"}])
}

/// Who pays.
pub fn buyer() -> Value {
    json!({
        "company_name": BUYER[0], "customer_name": BUYER[1], "zip_code": "5560000", "address": BUYER[2],
        "tel_no": BUYER[3], "email": BUYER[4],
    })
}

/// Who receives.
pub fn delivery() -> Value {
    json!({
        "company_name": BUYER[0], "customer_name": BUYER[1], "zip_code": "5560000", "address": BUYER[2], "tel_no": BUYER[3],
    })
}

/// An order that is in order.
pub fn order(order_no: &str, amount: i64) -> Value {
    json!({
        "order_no": order_no, "joiner_id": "J1", "amount": amount, "transaction_details": details(amount),
        "buyer": buyer(), "delivery": delivery(),
    })
}
