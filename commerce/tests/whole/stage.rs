//! A stage for real processes: the simulator of Atom, a database, and `commerced` as often as a test wants it, started,
//! crashed and killed.

// Each test program uses its own part of this.
#![allow(dead_code)]

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use commerce::clock::Clock;
use commerce::keys::ApiKeys;
use loadgen::atom::books::fetch::Fetch;
use loadgen::atom::books::rules::{Findings, compare};
use loadgen::atom::sim::Sim;
use loadgen::atom::sim::config::SimConfig;
use reqwest::Client;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use url::Url;

use crate::common::TestStore;
use crate::daemon::{self, Options, commerced};

/// How long a start may take on a busy machine.
const START_MAX: Duration = Duration::from_secs(60);
/// How long anything may take to come about.
const SHOWN_MAX: Duration = Duration::from_secs(60);
/// Where a process crashes, by its variable.
const CRASH_AT: &str = commerce::points::VARIABLE;

/// What the simulator used before the last change of keys.
const OLD_SECRETS: [(&str, &str); 3] = [
    ("res_key", "0123456789ABCDEF0123456789ABCDEF"),
    ("res_salt", "0123456789ABCDEF0123456789ABCDEF"),
    ("res_hash_key", "KEYRESPOLD"),
];

/// The stage.
pub struct Stage {
    /// The database; the test's own handle on it.
    pub test: TestStore,
    /// Atom.
    pub sim: Sim,
    /// Where the simulator listens.
    pub sim_url: String,
    /// The merchant's key.
    pub merchant: String,
    /// Two operators' keys.
    pub operators: [String; 2],
    http: Client,
    dir: tempfile::TempDir,
}

/// A running `commerced`.
pub struct Commerced {
    child: Child,
    /// Its address.
    pub url: String,
}

/// An answer: status and body. Status 0 stands for none, because the process is gone.
pub type Answer = (u16, Value);

impl Stage {
    /// A stage on a fresh database; `more` are further lines of the configuration by table.
    pub async fn new(test: TestStore, more: &[(&'static str, &str)]) -> Stage {
        let listen: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        let config = SimConfig {
            own_ports: true,
            seed: 7,
            ..SimConfig::default()
        };
        let sim = Sim::start(listen, config).await.expect("the simulator");
        let sim_url = format!("http://{}", sim.address());
        let dir = tempfile::tempdir().expect("a folder");
        let keys = ApiKeys::new(test.store.clone(), Clock::system());
        let key = async |merchant, label| keys.create(merchant, label).await.expect("a key").key;
        let stage = Stage {
            merchant: key(Some("shop"), "shop").await,
            operators: [key(None, "op_a").await, key(None, "op_b").await],
            http: Client::builder()
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .build()
                .expect("a client"),
            test,
            sim,
            sim_url,
            dir,
        };
        stage.configure(more);
        stage
    }

    fn configure(&self, more: &[(&'static str, &str)]) {
        const FAST: &str =
            "key_rate = 100000\nkey_burst = 100000\naddress_rate = 100000\naddress_burst = 100000";
        let mut lines = vec![
            ("[store]", format!("url = \"{}\"", self.test.url)),
            ("[http.limits]", FAST.to_owned()),
            ("[callback]", "rate = 100000\nburst = 100000".to_owned()),
            ("[atom.breaker]", "errors_in_row = 1000\nwindow_calls_min = 100000".to_owned()),
            ("[atom.calls]", "refund_timeout_ms = 1500\nauth_timeout_ms = 1500\nstatus_timeout_ms = 1500\nbackoff_base_ms = 20".to_owned()),
            ("[jobs]", "requery_ms = 20\ninbox_ms = 50\nrefunds_ms = 50\nexpiry_ms = 50".to_owned()),
        ];
        lines.extend(
            more.iter()
                .map(|(table, text)| (*table, (*text).to_owned())),
        );
        let file = daemon::write_config(
            self.dir.path(),
            &Options {
                atom: self.sim_url.clone(),
                more: lines,
                ..Options::default()
            },
        );
        // Each call goes to a port of its own, which can refuse connections, and the keys before the present ones are known.
        let mut text = std::fs::read_to_string(&file).expect("it was just written");
        for (place, address) in self.sim.own_ports() {
            let name = loadgen::atom::sim::faults::word(*place);
            let from = format!("\n{name} = \"{}", self.sim_url);
            assert!(text.contains(&from), "{name}");
            text = text.replace(&from, &format!("\n{name} = \"http://{address}"));
        }
        for (name, secret) in OLD_SECRETS {
            let path = self
                .dir
                .path()
                .join("secrets")
                .join(format!("atom_{name}_old"));
            std::fs::write(path, secret).expect("written");
            let current = format!("{name} = [\"file:secrets/atom_{name}\"");
            assert!(text.contains(&current), "{name}");
            text = text.replace(
                &current,
                &format!("{current}, \"file:secrets/atom_{name}_old\""),
            );
        }
        std::fs::write(&file, text).expect("written");
    }

    /// Starts a process, which crashes at `crash_at` if that is given, and lets callbacks go to it. `None` if it crashed
    /// before it served.
    pub fn start(&self, crash_at: Option<&str>) -> Option<Commerced> {
        let mut command = commerced();
        command
            .args(["serve", "--config"])
            .arg(self.dir.path().join("commerced.toml"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .env_remove(CRASH_AT);
        if let Some(point) = crash_at {
            command.env(CRASH_AT, point);
        }
        let mut child = command.spawn().expect("commerced runs");
        let stdout = child.stdout.take().expect("piped");
        let (line, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for read in BufReader::new(stdout).lines().map_while(Result::ok) {
                // Nobody listens any more once it is ready.
                let _ = line.send(read);
            }
        });
        let ready = match lines.recv_timeout(START_MAX) {
            Ok(line) => line,
            Err(_) if crash_at.is_some() => {
                child.wait().expect("it ended");
                return None;
            }
            Err(_) => panic!("no start: {}", self.log()),
        };
        let url = ready.strip_prefix("ready ").expect(&ready).to_owned();
        self.send_callbacks_to(&url);
        Some(Commerced { child, url })
    }

    /// Lets the simulator's callbacks go to this process.
    pub fn send_callbacks_to(&self, url: &str) {
        let callback = Url::parse(&format!("{url}/v1/callbacks/atom")).expect("an address");
        self.sim.shared().set_callback(Some(callback));
    }

    /// The log of all processes so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("commerced.log")).unwrap_or_default()
    }

    /// The folder of the configuration.
    pub fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let Ok(response) = request.send().await else {
            return (0, Value::Null);
        };
        let status = response.status().as_u16();
        match response.text().await {
            Ok(text) => (
                status,
                serde_json::from_str(&text).unwrap_or(Value::String(text)),
            ),
            Err(_) => (0, Value::Null),
        }
    }

    /// A merchant's request.
    pub async fn post(&self, at: &Commerced, path: &str, key: &str, body: &Value) -> Answer {
        self.post_as(&self.merchant, at, path, key, body).await
    }

    /// A request with this API key.
    pub async fn post_as(
        &self,
        who: &str,
        at: &Commerced,
        path: &str,
        key: &str,
        body: &Value,
    ) -> Answer {
        let request = self
            .http
            .post(format!("{}{path}", at.url))
            .bearer_auth(who)
            .header("Idempotency-Key", key)
            .json(body);
        self.send(request).await
    }

    /// A form, as Atom or a browser posts it.
    pub async fn form(&self, at: &Commerced, path: &str, body: String) -> Answer {
        let request = self
            .http
            .post(format!("{}{path}", at.url))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body);
        self.send(request).await
    }

    /// A reading with this API key.
    pub async fn get_as(&self, who: &str, at: &Commerced, path: &str) -> Answer {
        self.send(self.http.get(format!("{}{path}", at.url)).bearer_auth(who))
            .await
    }

    /// An order as its merchant reads it.
    pub async fn view(&self, at: &Commerced, order_id: &str) -> Value {
        self.get_as(&self.merchant, at, &format!("/v1/orders/{order_id}"))
            .await
            .1
    }

    /// A call of the simulator's control.
    pub async fn control(&self, path: &str, body: &Value) -> Answer {
        self.send(
            self.http
                .post(format!("{}/_sim/{path}", self.sim_url))
                .json(body),
        )
        .await
    }

    /// Lets this fault happen, and no other.
    pub async fn only_faults(&self, rules: &Value) {
        self.no_faults().await;
        let (status, answer) = self.control("faults", rules).await;
        assert_eq!(status, 200, "{rules}: {answer}");
    }

    /// Nothing goes wrong any more.
    pub async fn no_faults(&self) {
        let gone = self
            .http
            .delete(format!("{}/_sim/faults", self.sim_url))
            .send();
        assert!(
            gone.await
                .expect("the simulator answers")
                .status()
                .is_success()
        );
    }

    /// Orders 100.00; the order's id, unless the process is gone.
    pub async fn order(&self, at: &Commerced, reference: &str) -> Option<String> {
        let body = daemon::order(reference, 10_000);
        let answer = self.post(at, "/v1/orders", reference, &body).await;
        answer.1["order_id"].as_str().map(str::to_owned)
    }

    /// Starts a payment.
    pub async fn start_payment(&self, at: &Commerced, order_id: &str, key: &str) -> Answer {
        let path = format!("/v1/orders/{order_id}/payments");
        self.post(at, &path, key, &json!({"supersede": true})).await
    }

    /// The customer acts at the payment page and the callback is answered: what the simulator says of it.
    pub async fn act(&self, started: &Value, outcome: &str) -> Answer {
        let token = &started["checkout"]["options"]["atomTokenId"];
        self.control(
            "pay",
            &json!({"token": token, "outcome": outcome, "wait": true}),
        )
        .await
    }

    /// Order, payment, callback.
    pub async fn paid(&self, at: &Commerced, reference: &str) -> Option<String> {
        let order_id = self.order(at, reference).await?;
        let (_, started) = self.start_payment(at, &order_id, reference).await;
        self.act(&started, "success").await;
        Some(order_id)
    }

    /// Waits until an order shows what is wanted.
    pub async fn until(
        &self,
        at: &Commerced,
        order_id: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        let deadline = Instant::now() + SHOWN_MAX;
        loop {
            let view = self.view(at, order_id).await;
            if wanted(&view) {
                return view;
            }
            assert!(
                Instant::now() < deadline,
                "it never came: {view}\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until a number of the database is so.
    pub async fn until_count(&self, what: &str, wanted: i64) {
        let deadline = Instant::now() + SHOWN_MAX;
        while self.count(what).await != wanted {
            let now = self.count(what).await;
            assert!(
                Instant::now() < deadline,
                "{what}: {now}, not {wanted}\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// One number of the database.
    pub async fn count(&self, what: &str) -> i64 {
        use sqlx::Row;
        let select = AssertSqlSafe(format!("SELECT COUNT(*) AS n FROM {what}"));
        let row = sqlx::query(select).fetch_one(self.test.store.pool()).await;
        row.expect("a count").get("n")
    }

    /// Lets time pass for both sides: the simulator's clock goes on, and in the database everything happened earlier.
    pub async fn age(&self, seconds: i64) {
        for (table, columns) in AGING {
            let set: Vec<String> = columns
                .iter()
                .map(|column| format!("{column} = {column} - {}", seconds * 1000))
                .collect();
            let update = format!("UPDATE {table} SET {}", set.join(", "));
            let done = sqlx::query(AssertSqlSafe(update))
                .execute(self.test.store.pool())
                .await;
            done.unwrap_or_else(|error| panic!("{table}: {error}"));
        }
        let (status, _) = self.control("clock", &json!({"advance_s": seconds})).await;
        assert_eq!(status, 200);
    }

    /// The books of both sides.
    pub async fn books(&self, at: &Commerced) -> Findings {
        let url = |text: &str| Url::parse(text).expect("an address");
        let fetch = Fetch::new(url(&at.url), url(&self.sim_url), self.operators[0].clone());
        let books = fetch
            .expect("a client")
            .books()
            .await
            .expect("both books are read");
        compare(&books, 0)
    }
}

/// The columns with times that rules look at.
const AGING: [(&str, &[&str]); 4] = [
    (
        "orders",
        &["created_at", "expires_at", "paid_at", "confirmed_at"],
    ),
    (
        "payment_attempts",
        &[
            "created_at",
            "token_at",
            "auth_at",
            "next_requery_at",
            "queried_at",
            "lease_until",
            "settled_at",
            "confirmed_at",
            "final_at",
            "cleared_at",
        ],
    ),
    ("callback_inbox", &["received_at", "next_try_at"]),
    (
        "refunds",
        &["created_at", "submitted_at", "next_check_at", "lease_until"],
    ),
];

impl Commerced {
    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it ended");
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended of its own accord.
    pub fn is_gone(&mut self) -> bool {
        self.child.try_wait().expect("it is ours").is_some()
    }
}

impl Drop for Commerced {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
