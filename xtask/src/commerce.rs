//! What the demos and the figures of `commerced` share: its programs, a configuration with keys on a new SQLite file, and calls with a wait.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Failure;
use crate::build;
use crate::http::{self, Call};
use crate::ports;
use crate::process::{Process, Start, words};

/// How long a program may take to say that it is ready.
pub const READY_MAX: Duration = Duration::from_secs(30);
/// An address at which nobody listens, for those who need no Atom.
const NO_ATOM: &str = "http://127.0.0.1:9";
/// The merchant of the demos.
pub const MERCHANT: &str = "shop";

/// The dummy secrets that are published for acceptance tests, by the name of their file, and one of our own.
const SECRETS: [(&str, &str); 8] = [
    ("atom_password", "Test@123"),
    ("atom_req_key", "A4476C2062FFA58980DC8F79EB6A799E"),
    ("atom_req_salt", "A4476C2062FFA58980DC8F79EB6A799E"),
    ("atom_res_key", "75AEF0FA1B94B3C10D4F5B268F757F11"),
    ("atom_res_salt", "75AEF0FA1B94B3C10D4F5B268F757F11"),
    ("atom_req_hash_key", "KEY123657234"),
    ("atom_res_hash_key", "KEYRESP123657234"),
    ("read_token_key", "a-made-up-key-for-reading-tokens"),
];

/// The programs.
pub struct Programs {
    /// `commerced`.
    pub commerced: PathBuf,
    /// `loadgen`, which has the simulators.
    pub loadgen: PathBuf,
}

impl Programs {
    /// Builds them.
    ///
    /// # Errors
    /// They do not build.
    pub fn build() -> Result<Programs, Failure> {
        build::need_cc()?;
        let args = [
            "build",
            "--release",
            "-p",
            "commerce",
            "-p",
            "loadgen",
            "--bins",
        ];
        build::run(build::cargo(&args))?;
        let dir = build::target_dir().join("release");
        Ok(Programs {
            commerced: dir.join("commerced"),
            loadgen: dir.join("loadgen"),
        })
    }

    /// Starts a simulator of `loadgen centre`; it says `ready URL` when it is.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn simulator(&self, name: &str, args: &[&str], log: PathBuf) -> Result<Process, Failure> {
        let mut all = words([&"centre"]);
        all.extend(args.iter().map(Into::into));
        Process::start(Start {
            name,
            program: &self.loadgen,
            args: all,
            core: None,
            log,
            show: None,
        })
    }
}

/// An API key and the file it lies in.
pub struct Key {
    /// The key.
    pub text: String,
    /// The file.
    pub file: PathBuf,
}

/// How a `commerced` is configured.
pub struct Plan<'a> {
    /// The port it listens on.
    pub port: u16,
    /// Where Atom is.
    pub atom: &'a str,
    /// Where it keeps its tables.
    pub store: &'a str,
    /// Further lines of `[flow]`.
    pub flow: &'a str,
    /// Further tables.
    pub more: &'a str,
    /// Further files of secrets, by name.
    pub secrets: &'a [(&'a str, &'a str)],
}

impl Default for Plan<'_> {
    fn default() -> Self {
        Plan {
            port: 0,
            atom: NO_ATOM,
            store: "sqlite:commerce.db",
            flow: "",
            more: "",
            secrets: &[],
        }
    }
}

/// A `commerced` with its folder.
pub struct Desk<'a> {
    programs: &'a Programs,
    dir: PathBuf,
    config: PathBuf,
    port: u16,
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    /// For orders and refunds.
    pub merchant: Key,
    /// For what operators do.
    pub operator: Key,
}

impl<'a> Desk<'a> {
    /// Writes secrets and configuration into `dir` and makes the keys.
    ///
    /// # Errors
    /// Something cannot be written, or a key not made.
    pub fn prepare(
        programs: &'a Programs,
        dir: &Path,
        plan: &Plan<'_>,
    ) -> Result<Desk<'a>, Failure> {
        for (name, text) in SECRETS.iter().chain(plan.secrets) {
            write(dir, name, text)?;
        }
        let config = write(dir, "commerced.toml", &config(plan))?;
        let key = |role: &str| new_key(&programs.commerced, &config, dir, role);
        let (merchant, operator) = (key("merchant")?, key("operator")?);
        Ok(Desk {
            programs,
            dir: dir.to_owned(),
            config,
            port: plan.port,
            url: format!("http://127.0.0.1:{}", plan.port),
            merchant,
            operator,
        })
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Starts it and waits until it listens; `name` tells its starts apart in the folder.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(&self, name: &str) -> Result<Process, Failure> {
        let commerced = Process::start(Start {
            name: "commerced",
            program: &self.programs.commerced,
            args: words([&"serve", &"--config", &self.config]),
            core: None,
            log: self.dir.join(format!("{name}.out")),
            show: None,
        })?;
        if ports::listening(self.port, READY_MAX, || commerced.alive()) {
            Ok(commerced)
        } else {
            Err(commerced.failed("does not listen"))
        }
    }

    /// A call with the merchant's key and a body.
    pub fn post<'b>(&'b self, path: &'b str, once: &'b str, body: &'b Value) -> Call<'b> {
        Call {
            base: &self.url,
            method: "POST",
            path,
            key: Some(&self.merchant.text),
            once: Some(once),
            body: Some(body),
            ..Call::default()
        }
    }

    /// A reading with some key.
    ///
    /// # Errors
    /// It is answered by something else than 200.
    pub fn get(&self, path: &str, key: &Key) -> Result<Value, Failure> {
        let call = Call {
            base: &self.url,
            method: "GET",
            path,
            key: Some(&key.text),
            ..Call::default()
        };
        http::json(call, &[200])
    }

    /// What an operator asks for.
    ///
    /// # Errors
    /// It is answered by something else than 200 or 202.
    pub fn operate(
        &self,
        method: &str,
        path: &str,
        once: Option<&str>,
        body: &Value,
    ) -> Result<Value, Failure> {
        let call = Call {
            base: &self.url,
            method,
            path,
            key: Some(&self.operator.text),
            once,
            body: Some(body),
            ..Call::default()
        };
        http::json(call, &[200, 202])
    }
}

/// Looks again and again until there is something to give, within `limit`.
///
/// # Errors
/// A look failed, or there was nothing in time: `what` did not happen.
pub fn wait<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<Option<T>, Failure>,
) -> Result<T, Failure> {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if Instant::now() >= end {
            return Err(format!("{what}: not within {} s", limit.as_secs()));
        }
        sleep(Duration::from_millis(50));
    }
}

/// A text of an answer.
///
/// # Errors
/// It is none.
pub fn word(value: &Value) -> Result<String, Failure> {
    let text = value.as_str().map(str::to_owned);
    text.ok_or_else(|| format!("a text was expected, not {value}"))
}

/// Tells a simulator something at `/_sim/`.
///
/// # Errors
/// It does not answer by 200 or 204.
pub fn tell(sim: &str, what: &str, body: &Value) -> Result<Value, Failure> {
    let path = format!("/_sim/{what}");
    let call = Call {
        base: sim,
        method: "POST",
        path: &path,
        body: Some(body),
        ..Call::default()
    };
    http::json(call, &[200, 204])
}

/// What a simulator shows at `/_sim/`.
///
/// # Errors
/// It does not answer by 200.
pub fn ask(sim: &str, what: &str) -> Result<Value, Failure> {
    let path = format!("/_sim/{what}");
    let call = Call {
        base: sim,
        method: "GET",
        path: &path,
        ..Call::default()
    };
    http::json(call, &[200])
}

/// The lines of `/metrics` that begin with one of these names.
///
/// # Errors
/// The metrics cannot be read.
pub fn metrics(desk: &Desk<'_>, names: &[&str]) -> Result<Vec<String>, Failure> {
    let call = Call {
        base: &desk.url,
        method: "GET",
        path: "/metrics",
        ..Call::default()
    };
    let (_, text) = http::text(call)?;
    let wanted = |line: &&str| names.iter().any(|name| line.starts_with(name));
    Ok(text.lines().filter(wanted).map(str::to_owned).collect())
}

fn write(dir: &Path, name: &str, text: &str) -> Result<PathBuf, Failure> {
    let path = dir.join(name);
    fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

fn config(plan: &Plan<'_>) -> String {
    let Plan {
        port,
        atom,
        store,
        flow,
        more,
        ..
    } = plan;
    format!(
        "[log]\nfile = \"commerced.log\"\n\n\
         [store]\nurl = \"{store}\"\n\n\
         [http]\nlisten = \"127.0.0.1:{port}\"\npublic_url = \"http://127.0.0.1:{port}\"\n\n\
         # The load comes from one address with one key.\n\
         [http.limits]\naddress_rate = 100000\naddress_burst = 100000\nkey_rate = 100000\nkey_burst = 100000\n\n\
         [callback]\nrate = 100000\nburst = 100000\naddress_rate = 100000\naddress_burst = 100000\n\n\
         [[merchant]]\nid = \"{MERCHANT}\"\n\n\
         [flow]\nread_token_key = \"file:read_token_key\"\n{flow}\n\
         [atom]\nenv = \"sim\"\nmerch_id = \"317157\"\npassword = \"file:atom_password\"\n\
         req_key = \"file:atom_req_key\"\nreq_salt = \"file:atom_req_salt\"\n\
         res_key = [\"file:atom_res_key\"]\nres_salt = [\"file:atom_res_salt\"]\n\
         req_hash_key = \"file:atom_req_hash_key\"\nres_hash_key = [\"file:atom_res_hash_key\"]\n\n\
         [atom.url]\nauth = \"{atom}/ots/aipay/auth\"\nstatus = \"{atom}/ots/payment/status\"\n\
         refund = \"{atom}/ots/payment/refund\"\nrefund_status = \"{atom}/ots/payment/status\"\n\
         checkout_js = \"{atom}/staticdata/ots/js/atomcheckout.js\"\n\n{more}"
    )
}

/// Makes an API key by commerced's own command.
fn new_key(commerced: &Path, config: &Path, dir: &Path, role: &str) -> Result<Key, Failure> {
    let mut command = Command::new(commerced);
    command
        .args(["key", "new", "--role", role, "--config"])
        .arg(config);
    if role == "merchant" {
        command.args(["--merchant", MERCHANT]);
    }
    let output = command
        .output()
        .map_err(|error| format!("commerced key new: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("commerced key new: {said}"));
    }
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let file = write(dir, &format!("{role}.key"), &text)?;
    Ok(Key { text, file })
}
