//! A real `commerced` with a configuration of its own: started in a fresh folder on a free port of the loopback, ended
//! with the test.

// Each test program uses its own part of this.
#![allow(dead_code)]

use std::fs::Permissions;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

/// How long a start may take on a busy machine.
const START: Duration = Duration::from_secs(60);

/// The published dummy secrets, by the file each lies in.
pub const SECRETS: [(&str, &str); 12] = [
    ("atom_password", "Test@123"),
    ("atom_req_key", "A4476C2062FFA58980DC8F79EB6A799E"),
    ("atom_req_salt", "A4476C2062FFA58980DC8F79EB6A799E"),
    ("atom_res_key", "75AEF0FA1B94B3C10D4F5B268F757F11"),
    ("atom_res_salt", "75AEF0FA1B94B3C10D4F5B268F757F11"),
    ("atom_req_hash_key", "KEY123657234"),
    ("atom_res_hash_key", "KEYRESP123657234"),
    ("read_token_key", "a-made-up-key-for-reading-tokens"),
    (
        "frex_buyer_key",
        "k1:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=",
    ),
    ("frex_password", "password"),
    ("frex_webhook_key", "a-made-up-key-for-webhooks"),
    ("frex_smtp_password", "a-made-up-password-for-mail"),
];

/// A running daemon.
pub struct Daemon {
    child: Child,
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    /// The key of the merchant `shop`.
    pub merchant: String,
    /// The key of an operator.
    pub operator: String,
    dir: tempfile::TempDir,
}

/// What a daemon is started with.
#[derive(Default)]
pub struct Options {
    /// Where Atom is; nowhere if empty.
    pub atom: String,
    /// Where browsers find Atom's script; at `atom` if empty.
    pub checkout: String,
    /// The port to listen on, when browsers must find their way back; 0 for a free one.
    pub port: u16,
    /// Further files below `secrets`.
    pub secrets: Vec<(&'static str, &'static str)>,
    /// Further lines by table: `("[http.limits]", "key_rate = 1")`.
    pub more: Vec<(&'static str, String)>,
    /// Further variables of its environment.
    pub env: Vec<(&'static str, PathBuf)>,
}

impl Daemon {
    /// Starts one with keys for a merchant and an operator, and waits until it serves.
    pub fn start(options: &Options) -> Daemon {
        let dir = tempfile::tempdir().expect("a folder");
        let config = write_config(dir.path(), options);
        let merchant = new_key(&config, &["--role", "merchant", "--merchant", "shop"]);
        let operator = new_key(&config, &["--role", "operator", "--label", "test"]);
        let mut child = commerced()
            .args(["serve", "--config"])
            .arg(&config)
            .envs(options.env.iter().cloned())
            .stdout(Stdio::piped())
            .spawn()
            .expect("commerced runs");
        let stdout = child.stdout.take().expect("piped");
        let (line, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for read in BufReader::new(stdout).lines().map_while(Result::ok) {
                // Nobody listens any more once it is ready.
                let _ = line.send(read);
            }
        });
        let ready = lines.recv_timeout(START).unwrap_or_else(|_| {
            let log = std::fs::read_to_string(dir.path().join("commerced.log"));
            panic!("no start within {START:?}: {}", log.unwrap_or_default())
        });
        let url = ready.strip_prefix("ready ").expect(&ready).to_owned();
        Daemon {
            child,
            url,
            merchant,
            operator,
            dir,
        }
    }

    /// What stands in the log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// The log file.
    pub fn log_file(&self) -> PathBuf {
        self.dir.path().join("commerced.log")
    }

    /// The configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.dir.path().join("commerced.toml")
    }

    /// Makes the key of one more operator.
    pub fn new_operator(&self, label: &str) -> String {
        let words = ["--role", "operator", "--label", label];
        new_key(&self.config_file(), &words)
    }

    /// Asks it to end and waits; whether it ended well.
    pub fn stop(&mut self) -> bool {
        let pid = self.child.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(asked.expect("kill runs").success());
        self.child.wait().expect("it ends").success()
    }

    /// A request with the merchant's key.
    pub fn post(&self, path: &str, idempotency_key: &str, body: &Value) -> reqwest::RequestBuilder {
        reqwest::Client::new()
            .post(format!("{}{path}", self.url))
            .bearer_auth(&self.merchant)
            .header("Idempotency-Key", idempotency_key)
            .json(body)
    }

    /// A reading with some key.
    pub fn get(&self, path: &str, key: &str) -> reqwest::RequestBuilder {
        reqwest::Client::new()
            .get(format!("{}{path}", self.url))
            .bearer_auth(key)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program under test.
pub fn commerced() -> Command {
    Command::new(env!("CARGO_BIN_EXE_commerced"))
}

/// Makes an API key by commerced's own command.
fn new_key(config: &Path, arguments: &[&str]) -> String {
    let output = commerced()
        .args(["key", "new", "--config"])
        .arg(config)
        .args(arguments)
        .output()
        .expect("commerced runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let key = String::from_utf8(output.stdout).expect("text");
    key.trim().to_owned()
}

/// Writes a configuration and its secrets into a folder.
pub fn write_config(dir: &Path, options: &Options) -> PathBuf {
    std::fs::create_dir_all(dir.join("secrets")).expect("a folder");
    for (name, secret) in SECRETS.iter().chain(&options.secrets) {
        let path = dir.join("secrets").join(name);
        std::fs::write(&path, secret).expect("written");
        // Others must not read it, or the log warns and names the file.
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("for us alone");
    }
    let atom = match options.atom.as_str() {
        // A port that nobody listens on: what must not be called cannot be.
        "" => "http://127.0.0.1:9",
        url => url,
    };
    let checkout = match options.checkout.as_str() {
        "" => atom,
        url => url,
    };
    // Port 1 is nobody's: where no port is given, nobody comes back.
    let public = format!("http://127.0.0.1:{}", options.port.max(1));
    let listen = format!("listen = \"127.0.0.1:{}\"", options.port);
    let sample = include_str!("../../commerced.sample.toml")
        .replace("#listen = \"127.0.0.1:8700\"", &listen)
        .replace("#file = \"\"", "file = \"commerced.log\"")
        .replace("#level = \"info\"", "level = \"debug\"")
        .replace("https://pay.example", &public)
        .replace("#env = \"uat\"", "env = \"sim\"")
        .replace(
            "#return_origins = []",
            "return_origins = [\"https://shop.example\"]",
        )
        .replace(
            "#auth = \"https://paynetzuat.atomtech.in",
            &format!("auth = \"{atom}"),
        )
        .replace(
            "#status = \"https://paynetzuat.atomtech.in",
            &format!("status = \"{atom}"),
        )
        .replace(
            "#refund = \"https://caller.atomtech.in",
            &format!("refund = \"{atom}"),
        )
        .replace(
            "#refund_status = \"https://caller.atomtech.in",
            &format!("refund_status = \"{atom}"),
        )
        .replace(
            "#checkout_js = \"https://pgtest.atomtech.in",
            &format!("checkout_js = \"{checkout}"),
        );
    let mut text = sample;
    for (table, lines) in &options.more {
        text = text.replacen(&format!("{table}\n"), &format!("{table}\n{lines}\n"), 1);
    }
    let file = dir.join("commerced.toml");
    std::fs::write(&file, text).expect("written");
    file
}

/// An order that is in order.
pub fn order(reference: &str, amount: i64) -> Value {
    serde_json::json!({
        "merchant_order_ref": reference,
        "user_id": "u_77",
        "amount": amount,
        "currency": "INR",
        "customer": {"email": "buyer@example.com", "mobile": "9000000000"},
        "return_page": "https://shop.example/thanks",
    })
}
