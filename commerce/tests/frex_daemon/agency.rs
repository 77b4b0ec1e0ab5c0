//! The simulator of the agency as a process of its own.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

/// A running simulator, ended with the test.
pub struct Agency {
    child: Child,
    /// Where the daemon reaches it.
    pub url: String,
    control: String,
}

/// The program, which lies beside `commerced` wherever that is.
fn program() -> PathBuf {
    let folder = Path::new(env!("CARGO_BIN_EXE_commerced")).parent();
    let program = folder.expect("a folder").join("loadgen");
    assert!(
        program.exists(),
        "{} is missing: build it with `cargo build -p loadgen`",
        program.display()
    );
    program
}

impl Agency {
    /// Starts one that accepts everything at once.
    pub fn start() -> Self {
        let mut child = Command::new(program())
            .args(["centre", "frex"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("loadgen runs");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut line = |word: &str| {
            let line = lines.next().expect("a line").expect("text");
            let url = line.strip_prefix(word);
            url.unwrap_or_else(|| panic!("{line}")).trim().to_owned()
        };
        let (control, url) = (line("control"), line("ready"));
        Self {
            child,
            url,
            control,
        }
    }

    async fn post(&self, path: &str, body: &Value) {
        let url = format!("{}{path}", self.control);
        let answer = reqwest::Client::new().post(url).json(body).send().await;
        let status = answer.expect("the simulator answers").status();
        assert!(status.is_success(), "{path}: {status}");
    }

    /// Replaces the rules.
    pub async fn rules(&self, rules: &Value) {
        self.post("/_sim/rules", rules).await;
    }

    /// Replaces the faults.
    pub async fn faults(&self, faults: &Value) {
        self.post("/_sim/faults", &json!({"faults": faults})).await;
    }

    /// The book.
    pub async fn ledger(&self) -> Value {
        let url = format!("{}/_sim/ledger", self.control);
        let answer = reqwest::get(url).await.expect("the simulator answers");
        answer.json().await.expect("JSON")
    }

    /// The transactions of an order.
    pub async fn transactions(&self, order_no: &str) -> Vec<Value> {
        let ledger = self.ledger().await;
        let all = ledger["transactions"].as_array().expect("a list").clone();
        all.into_iter()
            .filter(|it| it["shopTransactionId"] == order_no)
            .collect()
    }

    /// The bills of an order, as key of the request and amount.
    pub async fn bills(&self, order_no: &str) -> Vec<(String, i64)> {
        let mut bills = Vec::new();
        for transaction in self.transactions(order_no).await {
            for bill in transaction["bills"].as_array().expect("a list") {
                let key = bill["requestKey"].as_str().expect("a key").to_owned();
                bills.push((key, bill["amount"].as_i64().expect("an amount")));
            }
        }
        bills
    }
}

impl Drop for Agency {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
