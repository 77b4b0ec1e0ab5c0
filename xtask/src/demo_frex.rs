//! `cargo xtask demo --flow frex`: orders on invoice terms, and a crash in the middle.
//!
//! The simulated agency and `commerced` on a fresh SQLite file run as processes of their own and listen on loopback only. Single
//! orders show the paths: billed, held and then billed, refused, changed, cancelled, and a billing that the agency refuses until
//! an operator decides. Then many are placed, `commerced` is killed while the agency executes what it sent and its answers are
//! lost, and started again. At the end every order is held against the agency's ledger.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::Failure;
use crate::commerce::{self, Desk, Plan, Programs, READY_MAX, ask, tell, wait, word};
use crate::demo::{indent, shown};
use crate::http::{self, Call};
use crate::ports;
use crate::process::{END_MAX, Process};
use crate::site::fresh_dir;

/// How long an order may take to come where it should.
const SHOWN_MAX: Duration = Duration::from_secs(60);
/// Orders that are placed before the crash.
const ORDERS: usize = 120;
/// Of these, each of so many is cancelled while it is under way.
const CANCEL_EACH: usize = 10;
/// The member company of the demo.
const JOINER: &str = "kawabe-tea";
/// Stages in which nothing more happens by itself.
const ENDS: [&str; 3] = ["billed", "cancelled", "refused"];

/// Secrets by the name of their file: the password at the agency, and a key that seals buyers' data (32 bytes, made up).
const SECRETS: [(&str, &str); 2] = [
    ("frex_password", "password"),
    (
        "frex_buyer_key",
        "demo:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    ),
];

/// The worker's times, shortened so that the demo fits into a minute.
const TIMES: &str = "interval_s = 1\nretry_s = [1]\njitter_percent = 0\nhold_poll_s = 1\nquiet_s = 2\nagency_delay_s = 0\n";

/// Runs the demo.
///
/// # Errors
/// Whatever did not work.
pub fn run() -> Result<(), Failure> {
    println!("== building (release)");
    let programs = Programs::build()?;
    let dir = fresh_dir("demo-frex")?;
    println!(
        "== starting: a simulated agency, and commerced on a new SQLite file, both on loopback only"
    );
    println!(
        "   (the worker runs every second and repeats after one; in service it is 5 minutes, and 1 to 60)"
    );
    let agency = programs.simulator("the simulated agency", &["frex"], dir.join("agency.log"))?;
    let control = agency.wait_for("control ", READY_MAX)?;
    let interface = agency.wait_for("ready ", READY_MAX)?;
    let more = format!(
        "[frex]\nenabled = true\nbuyer_keys = [\"file:frex_buyer_key\"]\n\n[frex.worker]\n{TIMES}\n\
         [frex.agency]\nbase_url = \"{interface}\"\nshop_code = \"shop\"\nterminal_id = \"terminal\"\n\
         passwords = [\"file:frex_password\"]\ntimeout_ms = 1000\nconnect_timeout_ms = 500\n"
    );
    let port = ports::free(1)?[0];
    let plan = Plan {
        port,
        more: &more,
        secrets: &SECRETS,
        ..Plan::default()
    };
    let desk = Desk::prepare(&programs, &dir, &plan)?;
    let commerced = desk.start("commerced-1")?;
    println!(
        "   agency {interface}, commerced {}, files in {}",
        desk.url,
        shown(&dir)
    );
    let stage = Stage {
        desk: &desk,
        control,
    };
    let joiner = format!("/v1/admin/frex/joiners/{JOINER}");
    desk.operate("PUT", &joiner, None, &json!({"use_frex": true}))?;
    single_orders(&stage)?;
    refused_billing(&stage)?;
    let commerced = crash(&stage, commerced)?;
    println!("== from the metrics");
    let names = [
        "frex_resends_total",
        "frex_billed_total",
        "frex_unknown_open",
        "frex_invariant_violations_total",
    ];
    indent(&commerce::metrics(&desk, &names)?.join("\n"));
    books(&stage)?;
    println!("== stopping in order");
    commerced.end(END_MAX)?;
    agency.end(END_MAX)?;
    println!(
        "== all of it worked; what it left behind is in {}",
        shown(&dir)
    );
    Ok(())
}

/// Both programs.
struct Stage<'a> {
    desk: &'a Desk<'a>,
    control: String,
}

impl Stage<'_> {
    fn place(&self, number: &str, amount: i64) -> Result<(), Failure> {
        let person = json!({
            "company_name": "Kawabe Tea", "customer_name": "Sample Buyer", "zip_code": "1000001",
            "address": "1-1 Chiyoda, Chiyoda-ku, Tokyo", "tel_no": "0300000000",
        });
        let mut buyer = person.clone();
        buyer["email"] = "buyer@example.com".into();
        let body = json!({
            "order_no": number, "joiner_id": JOINER, "amount": amount,
            "transaction_details": lines(amount), "buyer": buyer, "delivery": person,
        });
        http::json(self.desk.post("/v1/frex/orders", number, &body), &[201])?;
        Ok(())
    }

    fn view(&self, number: &str) -> Result<Value, Failure> {
        let path = format!("/v1/frex/orders/{number}");
        self.desk.get(&path, &self.desk.merchant)
    }

    /// Waits until an order is at this stage, and says how it stands.
    fn becomes(&self, number: &str, stage: &str) -> Result<Value, Failure> {
        let what = format!("{number} becomes {stage}");
        let view = wait(&what, SHOWN_MAX, || {
            let view = self.view(number)?;
            Ok((view["stage"] == stage).then_some(view))
        })?;
        println!("   {}", sentence(&view));
        Ok(view)
    }

    fn cancel(&self, number: &str) -> Result<Value, Failure> {
        let path = format!("/v1/frex/orders/{number}/cancel");
        let body = json!({});
        let call = Call {
            once: None,
            ..self.desk.post(&path, "", &body)
        };
        http::json(call, &[200, 202])
    }

    /// Changes what an order is worth.
    fn change(&self, number: &str, amount: i64) -> Result<(), Failure> {
        let version = format!("\"{}\"", self.view(number)?["version"]);
        let body = json!({"amount": amount, "transaction_details": lines(amount)});
        let path = format!("/v1/frex/orders/{number}");
        let call = Call {
            method: "PATCH",
            once: None,
            version: Some(&version),
            ..self.desk.post(&path, "", &body)
        };
        http::json(call, &[200])?;
        Ok(())
    }
}

/// One line of tea whose price comes to the amount with its tax of a tenth.
fn lines(amount: i64) -> Value {
    json!([{"detail": "tea", "price": amount * 10 / 11, "quantity": 1, "billed_tax_kind": "T10"}])
}

/// How an order stands, in a line.
fn sentence(view: &Value) -> String {
    let text = |name: &str| view[name].as_str().unwrap_or("none").to_owned();
    let money = match view["agency_amount"].as_i64() {
        Some(0) | None => format!("¥{}, not at the agency", view["order_amount"]),
        Some(agency) => format!("¥{}, ¥{agency} at the agency", view["order_amount"]),
    };
    let closed = match view["close_reason"].as_str() {
        Some(reason) if !reason.is_empty() => format!(", closed by {reason}"),
        _ => String::new(),
    };
    format!("{}: {} ({money}{closed})", text("order_no"), text("stage"))
}

/// The paths one by one.
fn single_orders(stage: &Stage<'_>) -> Result<(), Failure> {
    println!(
        "== an order is placed; the worker registers it, has the buyer screened, and has it billed"
    );
    stage.place("TEA-1", 11_000)?;
    stage.becomes("TEA-1", "billed")?;
    println!("== screening holds the second one for a while, and refuses the third");
    stage.place("TEA-2-HA", 22_000)?;
    stage.place("TEA-3-R21", 33_000)?;
    stage.becomes("TEA-2-HA", "held")?;
    stage.becomes("TEA-3-R21", "refused")?;
    stage.becomes("TEA-2-HA", "billed")?;
    println!(
        "== two orders are held for good: one gets another amount, then both are cancelled by the shop"
    );
    stage.place("TEA-4-HH", 44_000)?;
    stage.place("TEA-5-HH", 55_000)?;
    stage.becomes("TEA-4-HH", "held")?;
    stage.change("TEA-4-HH", 38_500)?;
    let number = "TEA-4-HH";
    let view = wait("the agency has the new amount", SHOWN_MAX, || {
        let view = stage.view(number)?;
        Ok((view["agency_amount"] == 38_500).then_some(view))
    })?;
    println!("   {}", sentence(&view));
    for number in ["TEA-4-HH", "TEA-5-HH"] {
        stage.cancel(number)?;
        stage.becomes(number, "cancelled")?;
    }
    Ok(())
}

/// The agency refuses to bill; an operator has it done again.
fn refused_billing(stage: &Stage<'_>) -> Result<(), Failure> {
    println!("== the agency refuses to bill an order; an alert waits for an operator");
    let number = "TEA-6";
    let refuse = json!({"orders": [{"order": number, "refuse": [{"call": "bill", "at": "result", "codes": ["E0100132"]}]}]});
    tell(&stage.control, "rules", &refuse)?;
    stage.place(number, 66_000)?;
    let view = stage.becomes(number, "attention")?;
    for alert in view["alerts"].as_array().into_iter().flatten() {
        println!(
            "     alert {}: codes {}",
            word(&alert["kind"])?,
            alert["codes"]
        );
    }
    println!(
        "   the agency is asked by telephone and will do it now; the operator decides: bill again"
    );
    tell(&stage.control, "rules", &json!({}))?;
    let path = format!("/v1/admin/frex/orders/{number}/resolve");
    let decision = json!({"action": "retry_billing", "note": "the agency has mended it"});
    stage
        .desk
        .operate("POST", &path, Some("retry-6"), &decision)?;
    stage.becomes(number, "billed")?;
    Ok(())
}

/// Many orders; answers are lost, commerced is killed in the middle and started again.
fn crash(stage: &Stage<'_>, commerced: Process) -> Result<Process, Failure> {
    println!(
        "== {ORDERS} orders; the agency executes what it is sent, but every third answer is lost on the way"
    );
    let lost = json!({"faults": [{"kind": "drop_after", "probability": 0.34}]});
    tell(&stage.control, "faults", &lost)?;
    let number = |n: usize| format!("MANY-{n:04}");
    for n in 1..=ORDERS {
        stage.place(
            &number(n),
            1_100 + 11 * i64::try_from(n).unwrap_or_default(),
        )?;
    }
    let bills = || {
        Ok::<_, Failure>(
            ask(&stage.control, "ledger")?["transactions"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|it| it["bills"] != json!([]))
                .count(),
        )
    };
    let before = bills()?;
    for n in (CANCEL_EACH..=ORDERS).step_by(CANCEL_EACH) {
        stage.cancel(&number(n))?;
    }
    println!("   every tenth is cancelled by the shop while it is under way");
    wait("the agency begins to bill", SHOWN_MAX, || {
        Ok((bills()? > before).then_some(()))
    })?;
    commerced.crash()?;
    let left = bills()?;
    println!(
        "   commerced is killed (SIGKILL): the agency has {} of these bills, and nobody has noted all of them",
        left - before
    );
    println!(
        "== commerced starts again, the answers arrive again; the worker asks the agency what became of what it sent"
    );
    let commerced = stage.desk.start("commerced-2")?;
    tell(&stage.control, "faults", &json!({"faults": []}))?;
    let mut stages = BTreeMap::new();
    wait("every order comes to its end", SHOWN_MAX * 2, || {
        stages.clear();
        for n in 1..=ORDERS {
            let stage = word(&stage.view(&number(n))?["stage"])?;
            *stages.entry(stage).or_insert(0) += 1;
        }
        let done = stages.keys().all(|stage| ENDS.contains(&stage.as_str()));
        Ok(done.then_some(()))
    })?;
    let words: Vec<String> = stages
        .iter()
        .map(|(stage, count)| format!("{count} {stage}"))
        .collect();
    println!("   every order has come to its end: {}", words.join(", "));
    Ok(commerced)
}

/// Holds every order of ours against the agency's ledger.
fn books(stage: &Stage<'_>) -> Result<(), Failure> {
    println!("== the books: commerced's orders against what the agency really did");
    let ledger = ask(&stage.control, "ledger")?;
    let transactions: Vec<&Value> = ledger["transactions"]
        .as_array()
        .into_iter()
        .flatten()
        .collect();
    let mut faults = Vec::new();
    let (mut billed, mut cancelled, mut refused, mut yen) = (0, 0, 0, 0);
    for transaction in &transactions {
        let number = word(&transaction["shopTransactionId"])?;
        let ours = stage.view(&number)?;
        let bills: Vec<i64> = transaction["bills"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|bill| bill["amount"].as_i64())
            .collect();
        let amount = ours["order_amount"].as_i64().unwrap_or_default();
        let is_cancelled = !transaction["cancelledMs"].is_null();
        let agrees = match ours["stage"].as_str() {
            Some("billed") => bills == [amount] && !is_cancelled,
            Some("cancelled") => bills.len() <= 1 && is_cancelled,
            Some("refused") => bills.is_empty(),
            _ => false,
        };
        if !agrees {
            faults.push(format!(
                "{number}: {} here, bills {bills:?} and cancelled {is_cancelled} there",
                ours["stage"]
            ));
        }
        match ours["stage"].as_str() {
            Some("billed") => (billed, yen) = (billed + 1, yen + amount),
            Some("cancelled") => cancelled += 1,
            _ => refused += 1,
        }
    }
    let twice = transactions
        .iter()
        .filter(|it| it["bills"].as_array().is_some_and(|bills| bills.len() > 1))
        .count();
    println!(
        "   {} transactions at the agency: {billed} billed (¥{yen}), {cancelled} cancelled, {refused} refused; billed twice: {twice}",
        transactions.len()
    );
    if faults.is_empty() {
        println!("   the books agree");
        Ok(())
    } else {
        indent(&faults.join("\n"));
        Err("the books disagree".into())
    }
}
