//! The real programs on both sides of the pages: `commerced` with an open shop, and the simulated Atom with its hosted page.
//!
//! Browsers load the hosted page under another name than the shop's, so that it is a foreign site to them, as Atom's is.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use commerce::store::{Store, StoreSettings};
use serde_json::{Value, json};

use crate::browser::{Browser, until};
use crate::daemon::{Daemon, Options, order};

/// What stands on the shelf beside the sample's own tea.
const SHELF: &str = "enabled = true\n\n\
     [[shop.item]]\nid = \"gyokuro\"\nname = \"Gyokuro, shaded, 100 g\"\ntext = \"Soft and full.\"\nprice = 45000\n\n\
     [[shop.item]]\nid = \"hojicha\"\nname = \"Hojicha, roasted, 200 g\"\ntext = \"Warm, with hardly any caffeine.\"\nprice = 32050\n\n\
     [[shop.item]]\nid = \"pot\"\nname = \"Small teapot of red clay\"\nprice = 125000\n";

/// Both programs.
pub struct Stage {
    /// `commerced`.
    pub daemon: Daemon,
    /// The simulated Atom.
    pub atom: Simulator,
}

/// A simulator of `loadgen`, as a process.
pub struct Simulator {
    child: Child,
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    /// Where it answers under `/_sim/`.
    control: String,
}

impl Stage {
    /// Starts both.
    pub fn start() -> Stage {
        Self::with(Vec::new())
    }

    /// Starts both; `more` are further lines of the configuration by table.
    pub fn with(more: Vec<(&'static str, String)>) -> Stage {
        Self::build(more, |atom| atom.replace("127.0.0.1", "localhost"))
    }

    /// Starts both, and browsers are told a place of Atom's script where nobody is.
    pub fn without_script() -> Stage {
        Self::build(Vec::new(), |_| format!("http://127.0.0.1:{}", free_port()))
    }

    fn build(
        mut more: Vec<(&'static str, String)>,
        checkout: impl FnOnce(&str) -> String,
    ) -> Stage {
        let port = free_port();
        let callback = format!("http://127.0.0.1:{port}/v1/callbacks/atom");
        let atom = Simulator::start(&["atom", "--callback", &callback]);
        more.push(("[shop]", SHELF.to_owned()));
        let daemon = Daemon::start(&Options {
            atom: atom.url.clone(),
            port,
            checkout: checkout(&atom.url),
            more,
            ..Options::default()
        });
        Stage { daemon, atom }
    }

    /// An address of ours.
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.daemon.url)
    }

    /// The daemon's own store, to put its clocks forward or to read its books.
    pub async fn store(&self) -> Store {
        let file = self.daemon.config_file().with_file_name("commerce.db");
        let url = format!("sqlite:{}", file.display());
        let store = Store::open(&url, &StoreSettings::default()).await;
        store.expect("the daemon's store opens")
    }

    /// Every refund was sent a quarter of an hour ago: none is under way any more.
    pub async fn refunds_are_old(&self) {
        let store = self.store().await;
        sqlx::query("UPDATE refunds SET submitted_at = submitted_at - 900000")
            .execute(store.pool())
            .await
            .expect("the refunds are there");
        store.close().await;
    }

    /// Makes the next query of every attempt due now.
    pub async fn queries_are_due(&self) {
        let store = self.store().await;
        sqlx::query(
            "UPDATE payment_attempts SET next_requery_at = 1 WHERE next_requery_at IS NOT NULL",
        )
        .execute(store.pool())
        .await
        .expect("the attempts are due");
        store.close().await;
    }

    /// An order of a merchant's own shop, without a browser; its id.
    pub async fn order(&self, reference: &str, amount: i64) -> String {
        let made = self
            .posted("/v1/orders", reference, &order(reference, amount))
            .await;
        made["order_id"].as_str().expect("an order").to_owned()
    }

    /// The same, and its customer does `act` at Atom's page.
    pub async fn order_with(&self, reference: &str, amount: i64, mut act: Value) -> String {
        let id = self.order(reference, amount).await;
        let path = format!("/v1/orders/{id}/payments");
        let started = self
            .posted(&path, &format!("pay-{reference}"), &json!({}))
            .await;
        act["token"] = started["checkout"]["options"]["atomTokenId"].clone();
        act["wait"] = true.into();
        self.atom.told("pay", &act).await;
        id
    }

    /// A paid order.
    pub async fn paid_order(&self, reference: &str, amount: i64) -> String {
        let act = json!({"outcome": "success", "channel": "UP"});
        let id = self.order_with(reference, amount, act).await;
        self.becomes(&id, "/status", "paid").await;
        id
    }

    /// Waits until the API shows this value at this place of an order.
    pub async fn becomes(&self, order_id: &str, place: &str, value: &str) {
        until(value, async || {
            let view = self.view(order_id).await;
            let found = view.pointer(place).and_then(Value::as_str);
            if found == Some(value) {
                return Ok(());
            }
            Err(format!("{view}"))
        })
        .await;
    }

    /// An order as the API shows it.
    pub async fn view(&self, order_id: &str) -> Value {
        let path = format!("/v1/admin/orders/{order_id}");
        let sent = self.daemon.get(&path, &self.daemon.operator).send().await;
        sent.expect("sent").json().await.expect("JSON")
    }

    async fn posted(&self, path: &str, key: &str, body: &Value) -> Value {
        let sent = self
            .daemon
            .post(path, key, body)
            .send()
            .await
            .expect("sent");
        let answer: Value = sent.json().await.expect("JSON");
        answer
    }

    /// Logs an operator in; the first page is the list of orders.
    pub async fn log_in(&self, browser: &Browser, key: &str) {
        browser.go(&self.at("/admin/login")).await;
        browser.fill("#key", key).await;
        browser.press("Log in").await;
        browser.find("form.who").await;
    }
}

impl Simulator {
    /// Starts `loadgen centre` with these words on a free port.
    pub fn start(words: &[&str]) -> Simulator {
        let loadgen = Path::new(env!("CARGO_BIN_EXE_commerced")).with_file_name("loadgen");
        let mut child = Command::new(&loadgen)
            .arg("centre")
            .args(words)
            .args(["--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                panic!(
                    "{}: {error}; build it: cargo build -p loadgen",
                    loadgen.display()
                )
            });
        let stdout = child.stdout.take().expect("piped");
        // It prints its addresses at once or ends.
        let mut control = String::new();
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            match line.split_once(' ') {
                Some(("control", url)) => url.clone_into(&mut control),
                Some(("ready", url)) => {
                    let control = if control.is_empty() { url } else { &control };
                    return Simulator {
                        child,
                        url: url.to_owned(),
                        control: control.to_owned(),
                    };
                }
                _ => {}
            }
        }
        panic!("the simulator {words:?} does not start")
    }

    /// Tells it something at `/_sim/`, and gives its answer.
    pub async fn told(&self, what: &str, body: &Value) -> Value {
        let url = format!("{}/_sim/{what}", self.control);
        let sent = reqwest::Client::new().post(url).json(body).send().await;
        let sent = sent.expect("the simulator answers");
        assert!(
            sent.status().is_success(),
            "{what} {body}: {}",
            sent.status()
        );
        sent.json().await.unwrap_or_default()
    }

    /// What it shows at `/_sim/`.
    pub async fn shows(&self, what: &str) -> Value {
        let sent = reqwest::get(format!("{}/_sim/{what}", self.control)).await;
        sent.expect("the simulator answers")
            .json()
            .await
            .expect("JSON")
    }

    /// Makes something go wrong.
    pub async fn fault(&self, rule: Value) {
        self.told("faults", &rule).await;
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that is free now. The daemon must know it before it listens, since browsers are sent back to it.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}
