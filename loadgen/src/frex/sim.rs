//! The simulator between sockets and agency: clock, faults, what was received, what is still to be executed.
//!
//! Answers are made here as bytes, with how they are to be sent; nothing in here waits.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::agency::{Agency, Reply, Spoil};
use super::call::{CALLS, Call};
use super::clock::Clock;
use super::face::{Face, Line};
use super::faults::{self, Fault, Faults, Kind, Strike};
use super::item::Item;
use super::ledger::{Ledger, Received};
use super::rules::Rules;

/// Bytes of the answer that nobody wants to read.
const OVERSIZE_BYTES: usize = 24 << 20;
/// The order whose entry comes in place of another's.
const FOREIGN_ORDER: &str = "FOREIGN-1";

/// How an answer is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// HTTP status.
    pub status: u16,
    /// Content type.
    pub content_type: &'static str,
    /// Retry-After in seconds.
    pub retry_after_s: Option<u64>,
    /// The body.
    pub body: Vec<u8>,
    /// Wait before anything is sent.
    pub delay_ms: u64,
    /// Reset the connection instead of sending.
    pub reset: bool,
    /// Pause after each few bytes; 0 sends at once.
    pub trickle_ms: u64,
}

impl Served {
    fn json(status: u16, body: &Value) -> Self {
        Self {
            status,
            content_type: "application/json",
            retry_after_s: None,
            body: body.to_string().into_bytes(),
            delay_ms: 0,
            reset: false,
            trickle_ms: 0,
        }
    }

    fn reset(delay_ms: u64) -> Self {
        Self {
            delay_ms,
            reset: true,
            ..Self::json(200, &Value::Null)
        }
    }

    /// A refusal of a whole request.
    #[must_use]
    pub fn refusal(status: u16, code: &str) -> Self {
        let message = "the request cannot be processed";
        let body = json!({ "results": [], "errors": [{ "codes": [code], "message": message }] });
        Self::json(status, &body)
    }
}

/// What is to be executed later.
struct Late {
    call: Call,
    items: Vec<Item>,
}

/// The simulator's state.
pub struct Sim {
    agency: Agency,
    rules_at_start: Rules,
    clock: Clock,
    faults: Faults,
    received: Vec<Received>,
    late: BTreeMap<(i64, u64), Late>,
    /// Counts requests of the public interface and late ones, which need a name of their own.
    count: u64,
}

impl Sim {
    /// A simulator that has received nothing.
    #[must_use]
    pub fn new(rules: Rules, clock: Clock, seed: u64) -> Self {
        Self {
            agency: Agency::new(rules.clone()),
            rules_at_start: rules,
            clock,
            faults: Faults::new(seed),
            received: Vec::new(),
            late: BTreeMap::new(),
            count: 0,
        }
    }

    /// Forgets everything but the clock, and goes back to the first rules and no faults.
    pub fn reset(&mut self) {
        self.agency = Agency::new(self.rules_at_start.clone());
        self.faults.set(Vec::new());
        self.received.clear();
        self.late.clear();
        self.count = 0;
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.agency.rules
    }

    /// Replaces the rules; what was decided stays.
    pub fn set_rules(&mut self, rules: Rules) {
        self.agency.rules = rules;
    }

    /// The faults with their counts.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Replaces the faults.
    pub fn set_faults(&mut self, faults: Vec<Fault>) {
        self.faults.set(faults);
    }

    /// Moves the clock forward and executes what is due; gives the time.
    pub fn advance(&mut self, ms: i64) -> i64 {
        self.clock.advance(ms);
        self.tick()
    }

    /// The buyer pays; false if there is no bill to pay.
    pub fn pay(&mut self, order_or_np: &str) -> bool {
        let now_ms = self.tick();
        self.agency.pay(order_or_np, now_ms)
    }

    /// The book.
    pub fn ledger(&mut self, with_received: bool) -> Ledger {
        let now_ms = self.tick();
        Ledger {
            now_ms,
            transactions: self.agency.transactions(),
            acceptances: self.agency.acceptances(),
            received: if with_received {
                self.received.clone()
            } else {
                Vec::new()
            },
            late: self.late.len(),
            faults_fired: self.faults.list().iter().map(|it| it.fired).collect(),
        }
    }

    /// Answers a request.
    pub fn serve(&mut self, face: Face, call: Call, body: &[u8]) -> Served {
        let now_ms = self.tick();
        let mut items = match face.read(call, body) {
            Ok(items) => items,
            Err(code) => return Served::refusal(400, code),
        };
        if face == Face::Public {
            self.name_items(call, &mut items);
        }
        let orders = faults::orders(&items, |np| self.agency.order_of(np));
        let strike = self.faults.strike(call, &orders);
        let name = strike
            .as_ref()
            .map(|strike| format!("{:?}", strike.fault.kind));
        self.received.extend(items.iter().map(|item| Received {
            at_ms: now_ms,
            call,
            key: item.key(call).to_owned(),
            public: face == Face::Public,
            fault: name.clone(),
        }));
        if let Some(served) = strike
            .as_ref()
            .and_then(|it| self.unexecuted(call, &items, it, now_ms))
        {
            return served;
        }
        let mut lines: Vec<Line> = Vec::with_capacity(items.len());
        for item in &items {
            let reply = self.execute(face, call, item, now_ms);
            lines.push(face.line(call, item, reply));
        }
        let row = CALLS.iter().find(|row| row.0 == call);
        let status = if face == Face::Design {
            row.map_or(200, |row| row.2)
        } else {
            200
        };
        let Some(strike) = strike else {
            return Served::json(status, &face.write(call, lines));
        };
        self.spoil_results(&lines, &strike);
        spoil_lines(face, call, &mut lines, &strike);
        spoil_answer(
            Served::json(status, &face.write(call, lines)),
            &strike.fault,
        )
    }

    /// Executes what is due, and gives the time.
    fn tick(&mut self) -> i64 {
        let now_ms = self.clock.now_ms();
        while let Some(entry) = self.late.first_entry() {
            let due_ms = entry.key().0;
            if due_ms > now_ms {
                break;
            }
            let late = entry.remove();
            for item in &late.items {
                self.agency.execute(late.call, item, due_ms);
            }
        }
        now_ms
    }

    /// The faults by which nothing is executed now.
    fn unexecuted(
        &mut self,
        call: Call,
        items: &[Item],
        strike: &Strike,
        now_ms: i64,
    ) -> Option<Served> {
        let fault = &strike.fault;
        match fault.kind {
            Kind::DropBefore => Some(Served::reset(fault.delay_ms)),
            Kind::Late => {
                self.count += 1;
                let late = Late {
                    call,
                    items: items.to_vec(),
                };
                self.late.insert((now_ms + fault.late_ms, self.count), late);
                Some(Served::reset(fault.delay_ms))
            }
            Kind::Status if !fault.executed => Some(status_of(fault)),
            Kind::BatchRefused => Some(Served::refusal(400, "E0100002")),
            _ => None,
        }
    }

    fn execute(&mut self, face: Face, call: Call, item: &Item, now_ms: i64) -> Reply {
        let reply = self.agency.execute(call, item, now_ms);
        if face == Face::Design || matches!(reply, Reply::Error { .. }) {
            return reply;
        }
        let (np, codes) = match self.agency.accepted(&item.request_key) {
            Some(accepted) => (accepted.np_transaction_id.clone(), accepted.codes.clone()),
            None => (String::new(), Vec::new()),
        };
        // What is told later elsewhere is told at once here.
        if !codes.is_empty() {
            return Reply::Error {
                codes,
                accepted: None,
            };
        }
        if call != Call::Register {
            return Reply::Result(json!({}));
        }
        let (word, ng) = self.agency.screen_now(&np, now_ms);
        let screening = json!({
            "transactionAuthoriResult": word, "transactionAuthoriNgReason": ng,
        });
        Reply::Result(json!({
            "shopTransactionId": item.shop,
            "npTransactionId": np,
            "status": { "transactionAuthoriInfo": screening },
        }))
    }

    /// The public interface has no request keys, and its bills no amounts.
    fn name_items(&mut self, call: Call, items: &mut [Item]) {
        for item in items {
            self.count += 1;
            let order = match call {
                Call::Register => item.shop.clone(),
                _ => self.agency.order_of(&item.np),
            };
            let kind = call.request_type().unwrap_or_default();
            item.request_key = format!("{order}:{kind}:public-{}", self.count);
            if call == Call::Bill {
                item.amount = self.agency.amount_of(&item.np);
            }
        }
    }

    /// Faults that show in the result of what is accepted now.
    fn spoil_results(&mut self, lines: &[Line], strike: &Strike) {
        let spoil = match strike.fault.kind {
            Kind::ForgetAcceptNo => Spoil::Forgotten,
            Kind::ResultAmount => Spoil::Amount,
            Kind::ResultShop => Spoil::Shop,
            _ => return,
        };
        let line = lines.get(strike.item).map(|line| &line.value["acceptNo"]);
        if let Some(accept_no) = line.and_then(Value::as_str) {
            self.agency.spoil(accept_no, spoil);
        }
    }
}

/// Faults of single entries.
fn spoil_lines(face: Face, call: Call, lines: &mut Vec<Line>, strike: &Strike) {
    let at = strike.item;
    let Some(line) = lines.get(at).cloned() else {
        return;
    };
    match strike.fault.kind {
        Kind::MissingItem => {
            lines.remove(at);
        }
        Kind::ItemTwice => lines.push(line),
        Kind::ForeignItem => {
            let key = match face.key_field(call, line.error) {
                "requestKey" => format!("{FOREIGN_ORDER}:ORDER_REG:0"),
                _ => "18999999999".to_owned(),
            };
            lines[at].value[face.key_field(call, line.error)] = key.into();
        }
        Kind::BothLists => {
            let error = !line.error;
            let mut value = if error {
                json!({ "codes": ["E0100131"] })
            } else {
                line.value.clone()
            };
            let key = line.value[face.key_field(call, line.error)].clone();
            value[face.key_field(call, error)] = key;
            lines.push(Line { error, value });
        }
        Kind::SwapAcceptNo => {
            let other = if at + 1 < lines.len() { at + 1 } else { 0 };
            let mine = lines[at].value["acceptNo"].take();
            let theirs = if other == at {
                "A999999999".into()
            } else {
                lines[other].value["acceptNo"].take()
            };
            if other != at {
                lines[other].value["acceptNo"] = mine;
            }
            lines[at].value["acceptNo"] = theirs;
        }
        Kind::SameAcceptNo => {
            for other in lines.iter_mut().filter(|it| !it.error) {
                other.value["acceptNo"] = line.value["acceptNo"].clone();
            }
        }
        Kind::ScreeningWord => {
            if let Some(word) = lines[at].value.get_mut("authoriResult") {
                *word = "77".into();
            }
        }
        _ => {}
    }
}

/// Faults of the whole answer.
fn spoil_answer(mut served: Served, fault: &Fault) -> Served {
    match fault.kind {
        Kind::DropAfter => Served::reset(fault.delay_ms),
        Kind::Status => status_of(fault),
        Kind::Delay => Served {
            delay_ms: fault.delay_ms,
            ..served
        },
        Kind::Trickle => Served {
            trickle_ms: fault.delay_ms,
            ..served
        },
        Kind::Html => Served {
            content_type: "text/html",
            body: b"<html><body>maintenance</body></html>".to_vec(),
            ..served
        },
        Kind::BrokenJson => {
            served.body.truncate(served.body.len() - 2);
            served
        }
        Kind::Oversize => {
            served.body.resize(OVERSIZE_BYTES, b' ');
            served
        }
        _ => served,
    }
}

fn status_of(fault: &Fault) -> Served {
    let code = if fault.status == 400 {
        "E0109002"
    } else {
        "E0100131"
    };
    Served {
        retry_after_s: fault.retry_after_s,
        delay_ms: fault.delay_ms,
        ..Served::refusal(fault.status, code)
    }
}
