//! `cargo xtask demo --flow atom`: orders, payments and refunds, each on its own and then many together.
//!
//! The simulator of Atom and `commerced` on a fresh SQLite file run as processes of their own and listen on loopback only.
//! Single orders show the paths: paid, failed and paid at the second try, a callback that is lost and found by a status
//! query, refunds. Then `loadgen` drives a few hundred, some with bad callbacks, and the books of both sides are compared.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Failure;
use crate::build;
use crate::demo::{indent, output_of, shown};
use crate::http::{self, Call};
use crate::ports;
use crate::process::{END_MAX, Process, Start, words};
use crate::site::fresh_dir;

/// How long a program may take to say that it is ready.
const READY_MAX: Duration = Duration::from_secs(30);
/// How long an order may take to show what was said about it.
const SHOWN_MAX: Duration = Duration::from_secs(20);
/// Orders that `loadgen` drives.
const ORDERS: &str = "400";
/// Lines of the log that make a timeline.
const TIMELINE: usize = 16;
/// The merchant of the demo.
const MERCHANT: &str = "shop";

/// The dummy secrets that are published for acceptance tests, by the name of their file.
const SECRETS: [(&str, &str); 7] = [
    ("password", "Test@123"),
    ("req_key", "A4476C2062FFA58980DC8F79EB6A799E"),
    ("req_salt", "A4476C2062FFA58980DC8F79EB6A799E"),
    ("res_key", "75AEF0FA1B94B3C10D4F5B268F757F11"),
    ("res_salt", "75AEF0FA1B94B3C10D4F5B268F757F11"),
    ("req_hash_key", "KEY123657234"),
    ("res_hash_key", "KEYRESP123657234"),
];

/// The programs.
struct Programs {
    commerced: PathBuf,
    loadgen: PathBuf,
}

fn programs() -> Result<Programs, Failure> {
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

/// Runs the demo.
///
/// # Errors
/// Whatever did not work.
pub fn run() -> Result<(), Failure> {
    println!("== building (release)");
    let programs = programs()?;
    let dir = fresh_dir("demo-atom")?;
    println!(
        "== starting: a simulated Atom, and commerced on a new SQLite file, both on loopback only"
    );
    let port = ports::free(1)?[0];
    let gateway = format!("http://127.0.0.1:{port}");
    let callback = format!("{gateway}/v1/callbacks/atom");
    let atom = Process::start(Start {
        name: "the simulator of Atom",
        program: &programs.loadgen,
        args: words([
            &"centre",
            &"atom",
            &"--listen",
            &"127.0.0.1:0",
            &"--callback",
            &callback,
        ]),
        core: None,
        log: dir.join("atom.log"),
        show: None,
    })?;
    let sim = atom.wait_for("ready ", READY_MAX)?;
    let config = configure(&dir, port, &sim)?;
    let keys = Keys {
        merchant: new_key(&programs, &config, &dir, "merchant")?,
        operator: new_key(&programs, &config, &dir, "operator")?,
    };
    let commerced = Process::start(Start {
        name: "commerced",
        program: &programs.commerced,
        args: words([&"serve", &"--config", &config]),
        core: None,
        log: dir.join("commerced.out"),
        show: None,
    })?;
    if !ports::listening(port, READY_MAX, || commerced.alive()) {
        return Err(commerced.failed("does not listen"));
    }
    println!(
        "   Atom {sim}, commerced {gateway}, files in {}",
        shown(&dir)
    );
    let stage = Stage {
        gateway,
        sim,
        merchant: keys.merchant.text.clone(),
        operator: keys.operator.text.clone(),
    };
    let timeline_of = single_orders(&stage)?;
    many_orders(&programs, &stage, &keys, &dir)?;
    timeline(&dir, &timeline_of);
    metrics(&stage)?;
    books(&programs, &stage, &keys)?;
    println!("== stopping in order");
    commerced.end(END_MAX)?;
    atom.end(END_MAX)?;
    println!(
        "== all of it worked; what it left behind is in {}",
        shown(&dir)
    );
    Ok(())
}

/// An API key and the file it lies in.
struct Key {
    text: String,
    file: PathBuf,
}

struct Keys {
    merchant: Key,
    operator: Key,
}

/// Writes the secrets and the configuration; gives the configuration's path.
fn configure(dir: &Path, port: u16, sim: &str) -> Result<PathBuf, Failure> {
    let write = |name: &str, text: &str| {
        let path = dir.join(name);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok::<PathBuf, Failure>(path)
    };
    for (name, text) in SECRETS {
        write(&format!("atom_{name}"), text)?;
    }
    let text = format!(
        "[log]\nfile = \"commerced.log\"\n\n\
         [store]\nurl = \"sqlite:commerce.db\"\n\n\
         [http]\nlisten = \"127.0.0.1:{port}\"\npublic_url = \"http://127.0.0.1:{port}\"\n\n\
         # The load comes from one address with one key.\n\
         [http.limits]\naddress_rate = 100000\naddress_burst = 100000\nkey_rate = 100000\nkey_burst = 100000\n\n\
         [callback]\nrate = 100000\nburst = 100000\n\n\
         [[merchant]]\nid = \"{MERCHANT}\"\n\n\
         [atom]\nenv = \"sim\"\nmerch_id = \"317157\"\npassword = \"file:atom_password\"\n\
         req_key = \"file:atom_req_key\"\nreq_salt = \"file:atom_req_salt\"\n\
         res_key = [\"file:atom_res_key\"]\nres_salt = [\"file:atom_res_salt\"]\n\
         req_hash_key = \"file:atom_req_hash_key\"\nres_hash_key = [\"file:atom_res_hash_key\"]\n\n\
         [atom.url]\nauth = \"{sim}/ots/aipay/auth\"\nstatus = \"{sim}/ots/payment/status\"\n\
         refund = \"{sim}/ots/payment/refund\"\nrefund_status = \"{sim}/ots/payment/status\"\n\
         checkout_js = \"{sim}/staticdata/ots/js/atomcheckout.js\"\n"
    );
    write("commerced.toml", &text)
}

/// Makes an API key by commerced's own command.
fn new_key(programs: &Programs, config: &Path, dir: &Path, role: &str) -> Result<Key, Failure> {
    let mut command = Command::new(&programs.commerced);
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
    let file = dir.join(format!("{role}.key"));
    fs::write(&file, &text).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(Key { text, file })
}

/// Both programs at their addresses, and the keys for commerced.
struct Stage {
    gateway: String,
    sim: String,
    merchant: String,
    operator: String,
}

impl Stage {
    fn order(&self, reference: &str, amount: i64) -> Result<String, Failure> {
        let body = json!({
            "merchant_order_ref": reference, "user_id": "u_77", "amount": amount, "currency": "INR",
            "customer": { "email": "buyer@example.com", "mobile": "9000000000" },
        });
        let made = http::json(self.post("/v1/orders", reference, &body), &[201])?;
        word(&made["order_id"])
    }

    fn post<'a>(&'a self, path: &'a str, once: &'a str, body: &'a Value) -> Call<'a> {
        Call {
            base: &self.gateway,
            method: "POST",
            path,
            key: Some(&self.merchant),
            once: Some(once),
            body: Some(body),
        }
    }

    /// Starts a payment; gives the token.
    fn start(&self, order: &str, once: &str) -> Result<String, Failure> {
        let path = format!("/v1/orders/{order}/payments");
        let started = http::json(self.post(&path, once, &json!({})), &[201])?;
        word(&started["checkout"]["options"]["atomTokenId"])
    }

    /// What the customer does at Atom's page.
    fn customer(&self, token: &str, mut act: Value) -> Result<Value, Failure> {
        act["token"] = token.into();
        act["wait"] = true.into();
        let call = Call {
            base: &self.sim,
            method: "POST",
            path: "/_sim/pay",
            body: Some(&act),
            ..Call::default()
        };
        http::json(call, &[200])
    }

    fn view(&self, order: &str) -> Result<Value, Failure> {
        let path = format!("/v1/orders/{order}");
        let call = Call {
            base: &self.gateway,
            method: "GET",
            path: &path,
            key: Some(&self.merchant),
            ..Call::default()
        };
        http::json(call, &[200])
    }

    /// Waits until an order has this status, and shows it.
    fn becomes(&self, order: &str, status: &str) -> Result<(), Failure> {
        let end = Instant::now() + SHOWN_MAX;
        loop {
            let view = self.view(order)?;
            if view["status"] == status {
                show(&view);
                return Ok(());
            }
            if Instant::now() >= end {
                return Err(format!("{order} did not become {status}: {view}"));
            }
            sleep(Duration::from_millis(50));
        }
    }

    /// Asks for a refund; gives the status of the answer and the answer.
    fn refund(
        &self,
        order: &str,
        once: &str,
        amount: Option<i64>,
    ) -> Result<(u16, Value), Failure> {
        let path = format!("/v1/orders/{order}/refunds");
        let mut body = json!({ "currency": "INR", "reason": "item returned" });
        if let Some(amount) = amount {
            body["amount"] = amount.into();
        }
        let (status, text) = http::text(self.post(&path, once, &body))?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
    }
}

fn word(value: &Value) -> Result<String, Failure> {
    let text = value.as_str().map(str::to_owned);
    text.ok_or_else(|| format!("a text was expected, not {value}"))
}

/// One line about an order, and one about each of its attempts and refunds.
fn show(view: &Value) {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    println!(
        "   {}: {}, {} of {} paise refunded ({})",
        text(&view["order_id"]),
        text(&view["status"]),
        view["refunded_amount"],
        view["amount"],
        text(&view["refund_state"])
    );
    for attempt in view["attempts"].as_array().into_iter().flatten() {
        println!(
            "     attempt {}: {}, {}, code {}",
            text(&attempt["attempt_id"]),
            text(&attempt["phase"]),
            text(&attempt["outcome"]),
            text(&attempt["status_code"])
        );
    }
    for refund in view["refunds"].as_array().into_iter().flatten() {
        let (id, state) = (text(&refund["refund_id"]), text(&refund["state"]));
        println!("     refund {id}: {} paise, {state}", refund["amount"]);
    }
}

/// The paths one by one; gives the order whose timeline is worth showing.
fn single_orders(stage: &Stage) -> Result<String, Failure> {
    println!(
        "== an order is paid: created, payment started, the customer pays by card at Atom's page, Atom calls back"
    );
    let paid = stage.order("SHOP-1", 49_900)?;
    let token = stage.start(&paid, "pay-1")?;
    stage.customer(&token, json!({ "outcome": "success", "channel": "CC" }))?;
    stage.becomes(&paid, "paid")?;

    println!("== a payment fails, and the customer tries again with UPI");
    let second = stage.order("SHOP-2", 120_000)?;
    let token = stage.start(&second, "pay-2a")?;
    stage.customer(&token, json!({ "outcome": "failed", "code": "OTS0633" }))?;
    show(&stage.view(&second)?);
    let token = stage.start(&second, "pay-2b")?;
    stage.customer(&token, json!({ "outcome": "success", "channel": "UP" }))?;
    stage.becomes(&second, "paid")?;

    println!("== a callback is lost: the customer has paid, and commerced does not know");
    let third = stage.order("SHOP-3", 75_000)?;
    let token = stage.start(&third, "pay-3")?;
    stage.customer(&token, json!({ "outcome": "success", "lost": true }))?;
    show(&stage.view(&third)?);
    println!("   an operator pulls the status query, which would come by itself after two minutes");
    let path = format!("/v1/admin/orders/{third}/requery");
    let body = json!({});
    let call = Call {
        key: Some(&stage.operator),
        once: None,
        ..stage.post(&path, "", &body)
    };
    http::json(call, &[202])?;
    stage.becomes(&third, "paid")?;

    println!("== refunds: a part, then more than is left, then the rest");
    let (status, part) = stage.refund(&paid, "refund-1", Some(19_900))?;
    println!("   19900 paise: {status}, {}", part["state"]);
    let (status, over) = stage.refund(&paid, "refund-2", Some(30_001))?;
    println!("   30001 paise: {status}, {}", over["code"]);
    if status != 422 {
        return Err(format!(
            "a refund beyond the balance was answered by {status}: {over}"
        ));
    }
    let (status, again) = stage.refund(&paid, "refund-1", Some(19_900))?;
    println!(
        "   the first again with its key: {status}, the same refund {}",
        again["refund_id"]
    );
    if again["refund_id"] != part["refund_id"] {
        return Err(format!("the same key made another refund: {again}"));
    }
    stage.refund(&paid, "refund-3", None)?;
    stage.becomes(&paid, "refunded")?;
    Ok(second)
}

/// Many orders, some of them in trouble.
fn many_orders(programs: &Programs, stage: &Stage, keys: &Keys, dir: &Path) -> Result<(), Failure> {
    println!(
        "== {ORDERS} orders, 8 at a time: 10 % fail, 3 % lose their callback, 20 % are refunded, 20 % meet a bad callback"
    );
    let mut args = words([
        &"run-atom",
        &"--gateway",
        &stage.gateway,
        &"--sim",
        &stage.sim,
        &"--key",
        &keys.merchant.file,
        &"--operator-key",
        &keys.operator.file,
    ]);
    args.extend(words([
        &"--orders",
        &ORDERS,
        &"--failed",
        &"10",
        &"--lost",
        &"3",
    ]));
    args.extend(words([
        &"--refund",
        &"20",
        &"--bad",
        &"20",
        &"--settle",
        &"60",
    ]));
    let load = Process::start(Start {
        name: "the load",
        program: &programs.loadgen,
        args,
        core: None,
        log: dir.join("load.log"),
        show: Some("   "),
    })?;
    let (status, _) = load.wait(Duration::from_secs(240))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!(
            "the load ended with {status}; its lines above and {} say why",
            shown(&dir.join("load.log"))
        ))
    }
}

/// What the log has about one order, oldest first.
fn timeline(dir: &Path, order: &str) {
    println!("== the second order's life, as commerced's log has it");
    let text = fs::read_to_string(dir.join("commerced.log")).unwrap_or_default();
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| line.contains(order))
        .take(TIMELINE)
        .collect();
    indent(&lines.join("\n"));
}

/// The five figures that the seed names, as far as they can be seen in the metrics.
fn metrics(stage: &Stage) -> Result<(), Failure> {
    println!("== from the metrics");
    let call = Call {
        base: &stage.gateway,
        method: "GET",
        path: "/metrics",
        ..Call::default()
    };
    let (_, text) = http::text(call)?;
    let names = [
        "payment_success_rate",
        "error_rate",
        "api_availability",
        "signature_failure_rate",
        "callbacks_total",
    ];
    let wanted = |line: &&str| names.iter().any(|name| line.starts_with(name));
    let lines: Vec<&str> = text.lines().filter(wanted).collect();
    indent(&lines.join("\n"));
    Ok(())
}

/// Holds the books of both sides against each other.
fn books(programs: &Programs, stage: &Stage, keys: &Keys) -> Result<(), Failure> {
    println!(
        "== the books: commerced's orders and refunds against what happened to the money at Atom"
    );
    let mut command = Command::new(&programs.loadgen);
    command.args([
        "books-atom",
        "--gateway",
        &stage.gateway,
        "--sim",
        &stage.sim,
        "--operator-key",
    ]);
    command.arg(&keys.operator.file);
    let (output, good) = output_of(command)?;
    indent(&output);
    if good {
        Ok(())
    } else {
        Err("the books disagree".into())
    }
}
