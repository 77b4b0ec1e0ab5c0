//! `cargo xtask demo --flow atom`: orders, payments and refunds, each on its own and then many together.
//!
//! The simulator of Atom and `commerced` on a fresh SQLite file run as processes of their own and listen on loopback only.
//! Single orders show the paths: paid, failed and paid at the second try, a callback that is lost and found by a status
//! query, refunds. Then `loadgen` drives a few hundred, some with bad callbacks, and the books of both sides are compared.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::Failure;
use crate::commerce::{self, Desk, Plan, Programs, READY_MAX, tell, wait, word};
use crate::demo::{indent, output_of, shown};
use crate::http;
use crate::ports;
use crate::process::{END_MAX, Process, Start, words};
use crate::site::fresh_dir;

/// How long an order may take to show what was said about it.
const SHOWN_MAX: Duration = Duration::from_secs(20);
/// How long the load may take.
const LOAD_MAX: Duration = Duration::from_secs(240);
/// Orders that `loadgen` drives.
const ORDERS: &str = "400";
/// Lines of the log that make a timeline.
const TIMELINE: usize = 16;

/// Runs the demo.
///
/// # Errors
/// Whatever did not work.
pub fn run() -> Result<(), Failure> {
    println!("== building (release)");
    let programs = Programs::build()?;
    let dir = fresh_dir("demo-atom")?;
    println!(
        "== starting: a simulated Atom, and commerced on a new SQLite file, both on loopback only"
    );
    let port = ports::free(1)?[0];
    let callback = format!("http://127.0.0.1:{port}/v1/callbacks/atom");
    let args = ["atom", "--listen", "127.0.0.1:0", "--callback", &callback];
    let atom = programs.simulator("the simulator of Atom", &args, dir.join("atom.log"))?;
    let sim = atom.wait_for("ready ", READY_MAX)?;
    let plan = Plan {
        port,
        atom: &sim,
        ..Plan::default()
    };
    let desk = Desk::prepare(&programs, &dir, &plan)?;
    let commerced = desk.start("commerced")?;
    println!(
        "   Atom {sim}, commerced {}, files in {}",
        desk.url,
        shown(&dir)
    );
    let stage = Stage { desk: &desk, sim };
    let timeline_of = single_orders(&stage)?;
    many_orders(&programs, &stage, &dir)?;
    timeline(&dir, &timeline_of);
    println!("== from the metrics (rates are of the last minutes)");
    let names = [
        "payment_success_rate",
        "error_rate",
        "api_availability",
        "signature_failure_rate",
        "callbacks_total",
    ];
    indent(&commerce::metrics(&desk, &names)?.join("\n"));
    books(&programs, &stage)?;
    println!("== stopping in order");
    commerced.end(END_MAX)?;
    atom.end(END_MAX)?;
    println!(
        "== all of it worked; what it left behind is in {}",
        shown(&dir)
    );
    Ok(())
}

/// Both programs.
struct Stage<'a> {
    desk: &'a Desk<'a>,
    sim: String,
}

impl Stage<'_> {
    fn order(&self, reference: &str, amount: i64) -> Result<String, Failure> {
        let body = json!({
            "merchant_order_ref": reference, "user_id": "u_77", "amount": amount, "currency": "INR",
            "customer": { "email": "buyer@example.com", "mobile": "9000000000" },
        });
        let made = http::json(self.desk.post("/v1/orders", reference, &body), &[201])?;
        word(&made["order_id"])
    }

    /// Starts a payment; gives the token.
    fn start(&self, order: &str, once: &str) -> Result<String, Failure> {
        let path = format!("/v1/orders/{order}/payments");
        let started = http::json(self.desk.post(&path, once, &json!({})), &[201])?;
        word(&started["checkout"]["options"]["atomTokenId"])
    }

    /// What the customer does at Atom's page.
    fn customer(&self, token: &str, mut act: Value) -> Result<Value, Failure> {
        act["token"] = token.into();
        act["wait"] = true.into();
        tell(&self.sim, "pay", &act)
    }

    fn view(&self, order: &str) -> Result<Value, Failure> {
        let path = format!("/v1/orders/{order}");
        self.desk.get(&path, &self.desk.merchant)
    }

    /// Waits until an order has this status, and shows it.
    fn becomes(&self, order: &str, status: &str) -> Result<(), Failure> {
        let what = format!("{order} becomes {status}");
        let view = wait(&what, SHOWN_MAX, || {
            let view = self.view(order)?;
            Ok((view["status"] == status).then_some(view))
        })?;
        show(&view);
        Ok(())
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
        let (status, text) = http::text(self.desk.post(&path, once, &body))?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
    }
}

/// Paise as rupees, `₹199.00`.
fn rupees(paise: &Value) -> String {
    let paise = paise.as_i64().unwrap_or_default();
    format!("₹{}.{:02}", paise / 100, paise % 100)
}

/// One line about an order, and one about each of its attempts and refunds.
fn show(view: &Value) {
    let text = |value: &Value| value.as_str().unwrap_or("none").to_owned();
    let refunded = match view["refunded_amount"].as_i64() {
        Some(0) | None => String::new(),
        Some(_) => format!(", {} of it refunded", rupees(&view["refunded_amount"])),
    };
    println!(
        "   order {}: {} {}{refunded}",
        text(&view["order_id"]),
        rupees(&view["amount"]),
        text(&view["status"]),
    );
    for attempt in view["attempts"].as_array().into_iter().flatten() {
        println!(
            "     attempt {}: outcome {}, Atom's code {}",
            text(&attempt["attempt_id"]),
            text(&attempt["outcome"]),
            text(&attempt["status_code"])
        );
    }
    for refund in view["refunds"].as_array().into_iter().flatten() {
        let (id, state) = (text(&refund["refund_id"]), text(&refund["state"]));
        println!("     refund {id}: {}, {state}", rupees(&refund["amount"]));
    }
}

/// The paths one by one; gives the order whose timeline is worth showing.
fn single_orders(stage: &Stage<'_>) -> Result<String, Failure> {
    println!(
        "== an order is paid: created, payment started, the customer pays by card at Atom's page, Atom calls back"
    );
    let paid = stage.order("SHOP-1", 49_900)?;
    let token = stage.start(&paid, "pay-1")?;
    stage.customer(&token, json!({ "outcome": "success", "channel": "CC" }))?;
    stage.becomes(&paid, "paid")?;

    println!("== a payment fails (the card has expired), and the customer tries again with UPI");
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
    println!(
        "   a status query would find it after two minutes; here an operator asks for it at once"
    );
    let path = format!("/v1/admin/orders/{third}/requery");
    stage.desk.operate("POST", &path, None, &json!({}))?;
    stage.becomes(&third, "paid")?;
    refunds(stage, &paid)?;
    Ok(second)
}

/// Refunds of one paid order, with what must be refused in between.
fn refunds(stage: &Stage<'_>, paid: &str) -> Result<(), Failure> {
    println!("== refunds of the first order: a part, then more than is left, then the rest");
    let (status, part) = stage.refund(paid, "refund-1", Some(19_900))?;
    let state = word(&part["state"])?;
    println!("   ₹199.00: answered {status}, the refund is {state}");
    let (status, over) = stage.refund(paid, "refund-2", Some(30_001))?;
    println!(
        "   ₹300.01: answered {status}, {}; {} are left",
        word(&over["code"])?,
        rupees(&stage.view(paid)?["refundable_amount"])
    );
    if status != 422 {
        return Err(format!(
            "a refund beyond the balance was answered by {status}: {over}"
        ));
    }
    let (status, again) = stage.refund(paid, "refund-1", Some(19_900))?;
    if again["refund_id"] != part["refund_id"] {
        return Err(format!("the same key made another refund: {again}"));
    }
    println!(
        "   ₹199.00 once more with the first one's idempotency key: answered {status}, it is the same refund, nothing is sent twice"
    );
    stage.refund(paid, "refund-3", None)?;
    stage.becomes(paid, "refunded")
}

/// Many orders, some of them in trouble.
fn many_orders(programs: &Programs, stage: &Stage<'_>, dir: &Path) -> Result<(), Failure> {
    println!(
        "== {ORDERS} orders, 8 at a time: 10 % fail, 3 % lose their callback, 20 % are refunded, 20 % meet a bad callback"
    );
    let desk = stage.desk;
    let mut args = words([
        &"run-atom",
        &"--gateway",
        &desk.url,
        &"--sim",
        &stage.sim,
        &"--key",
        &desk.merchant.file,
        &"--operator-key",
        &desk.operator.file,
    ]);
    let shares = [
        "--orders", ORDERS, "--failed", "10", "--lost", "3", "--refund", "20", "--bad", "20",
        "--settle", "60",
    ];
    args.extend(shares.iter().map(Into::into));
    let load = Process::start(Start {
        name: "the load",
        program: &programs.loadgen,
        args,
        core: None,
        log: dir.join("load.log"),
        show: Some("   "),
    })?;
    let (status, _) = load.wait(LOAD_MAX)?;
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
    println!("== the second order's life (failed, then paid), as commerced's log has it");
    let text = fs::read_to_string(dir.join("commerced.log")).unwrap_or_default();
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| line.contains(order))
        .take(TIMELINE)
        .collect();
    indent(&lines.join("\n"));
}

/// Holds the books of both sides against each other.
fn books(programs: &Programs, stage: &Stage<'_>) -> Result<(), Failure> {
    println!(
        "== the books: commerced's orders and refunds against what happened to the money at Atom"
    );
    let mut command = Command::new(&programs.loadgen);
    command.args([
        "books-atom",
        "--gateway",
        &stage.desk.url,
        "--sim",
        &stage.sim,
        "--operator-key",
    ]);
    command.arg(&stage.desk.operator.file);
    let (output, good) = output_of(command)?;
    indent(&output);
    if good {
        Ok(())
    } else {
        Err("the books disagree".into())
    }
}
