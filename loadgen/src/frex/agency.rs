//! The agency itself: transactions, acceptances, screening, bills (`spec/frex.md` 15).
//!
//! A state machine without sockets: items in, replies out, at a time given. Both faces speak to it, and the book of what it
//! did is its state. What a request does is done when it is executed; what is delayed is only how soon its result is told.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

use super::call::Call;
use super::clock;
use super::item::Item;
use super::ledger::{Acceptance, BillEntry, Transaction};
use super::rules::{Moment, OrderRule, Plan, Repeat, Rules};

/// The first acceptance number is one more.
const ACCEPT_BASE: u64 = 0;
/// The first transaction number is one more.
const NP_BASE: u64 = 18_000_000_000;
/// Hold codes that the agency names while it waits for data.
const HOLD_CODES: [&str; 1] = ["RE009"];
/// How long the buyer has to give data, as the agency says.
const HOLD_DATA_MS: i64 = 86_400_000;

/// What one item is answered with.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// Fields of an entry among the results; the key is added by the face.
    Result(Value),
    /// An entry among the errors.
    Error {
        /// Why.
        codes: Vec<String>,
        /// The acceptance number and the key of what was done before, with "already".
        accepted: Option<(String, String)>,
    },
}

/// Where the screening of a transaction stands.
#[derive(Clone, Debug)]
struct Screening {
    plan: Plan,
    ng: Option<String>,
    since_ms: i64,
    polls: u32,
}

struct Entry {
    transaction: Transaction,
    screening: Screening,
}

struct Accepted {
    acceptance: Acceptance,
    /// Questions answered with PENDING.
    polls_min: u32,
    /// Not ready before.
    ready_ms: i64,
    /// A fault: the agency no longer knows the number.
    forgotten: bool,
    /// A fault: the result tells another amount.
    other_amount: bool,
    /// A fault: the result tells another order number.
    other_shop: bool,
}

/// How a result is spoilt by a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoil {
    /// Its acceptance number is unknown from now on.
    Forgotten,
    /// It tells another amount.
    Amount,
    /// It tells another order number.
    Shop,
}

/// The agency.
pub struct Agency {
    /// How it decides.
    pub rules: Rules,
    transactions: BTreeMap<String, Entry>,
    by_shop: HashMap<String, Vec<String>>,
    acceptances: BTreeMap<String, Accepted>,
    by_key: HashMap<String, Vec<String>>,
}

impl Agency {
    /// An agency that knows no transaction.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            transactions: BTreeMap::new(),
            by_shop: HashMap::new(),
            acceptances: BTreeMap::new(),
            by_key: HashMap::new(),
        }
    }

    /// Executes one item.
    pub fn execute(&mut self, call: Call, item: &Item, now_ms: i64) -> Reply {
        if !item.faults.is_empty() {
            return refused(&item.faults);
        }
        match call {
            Call::Register => self.register(item, now_ms),
            Call::Update => self.update(item, now_ms),
            Call::Cancel => self.cancel(item, now_ms),
            Call::Bill => self.bill(item, now_ms),
            Call::Results => self.result(item, now_ms),
            Call::Authorizations => self.authorization(item, now_ms),
            Call::Lookup => self.lookup(item, now_ms),
        }
    }

    /// The transactions, screening brought up to date.
    #[must_use]
    pub fn transactions(&self) -> Vec<Transaction> {
        let entries = self.transactions.values();
        entries.map(|entry| entry.transaction.clone()).collect()
    }

    /// The acceptances.
    #[must_use]
    pub fn acceptances(&self) -> Vec<Acceptance> {
        let accepted = self.acceptances.values();
        accepted
            .map(|accepted| accepted.acceptance.clone())
            .collect()
    }

    /// The order of a transaction, empty if there is none.
    #[must_use]
    pub fn order_of(&self, np: &str) -> String {
        let entry = self.transactions.get(np);
        entry.map_or_else(String::new, |it| it.transaction.shop_transaction_id.clone())
    }

    /// The amount of a transaction, 0 if there is none.
    #[must_use]
    pub fn amount_of(&self, np: &str) -> i64 {
        let entry = self.transactions.get(np);
        entry.map_or(0, |it| it.transaction.billed_amount)
    }

    /// The last acceptance of a request key.
    #[must_use]
    pub fn accepted(&self, request_key: &str) -> Option<&Acceptance> {
        let number = self.by_key.get(request_key)?.last()?;
        Some(&self.acceptances.get(number)?.acceptance)
    }

    /// The buyer pays the bill of an order or transaction; false if there is none to pay.
    pub fn pay(&mut self, order_or_np: &str, now_ms: i64) -> bool {
        let found = self.transactions.values_mut().find(|entry| {
            let it = &entry.transaction;
            let named =
                it.np_transaction_id == order_or_np || it.shop_transaction_id == order_or_np;
            named && !it.bills.is_empty() && it.cancelled_ms.is_none()
        });
        if let Some(entry) = found {
            entry.transaction.paid_ms.get_or_insert(now_ms);
            true
        } else {
            false
        }
    }

    /// Spoils the result of an acceptance.
    pub fn spoil(&mut self, accept_no: &str, spoil: Spoil) {
        if let Some(accepted) = self.acceptances.get_mut(accept_no) {
            match spoil {
                Spoil::Forgotten => accepted.forgotten = true,
                Spoil::Amount => accepted.other_amount = true,
                Spoil::Shop => accepted.other_shop = true,
            }
        }
    }

    fn register(&mut self, item: &Item, now_ms: i64) -> Reply {
        if let Some(reply) = self.merged(item) {
            return reply;
        }
        let repeated = self.by_key.contains_key(&item.request_key);
        let again = repeated && self.rules.repeat == Repeat::Again;
        if self.by_shop.contains_key(&item.shop) && !again {
            return refused(&["E0131006"]);
        }
        let rule = self.rules.of(&item.shop, item.amount);
        match refusal(&rule, Call::Register) {
            Some((Moment::Acceptance, codes)) => return refused(&codes),
            Some((Moment::Result, codes)) => {
                return self.accept(Call::Register, item, "", codes, &rule, now_ms);
            }
            None => {}
        }
        let number = NP_BASE + self.transactions.len() as u64 + 1;
        let np = number.to_string();
        let transaction = Transaction {
            np_transaction_id: np.clone(),
            shop_transaction_id: item.shop.clone(),
            billed_amount: item.amount,
            registered_by: item.request_key.clone(),
            registered_ms: now_ms,
            authori_result: "40".into(),
            authori_ng: None,
            updates: 0,
            bills: Vec::new(),
            cancelled_ms: None,
            paid_ms: None,
        };
        let screening = Screening {
            plan: rule.screening,
            ng: rule.ng.clone(),
            since_ms: now_ms,
            polls: 0,
        };
        let entry = Entry {
            transaction,
            screening,
        };
        self.transactions.insert(np.clone(), entry);
        self.by_shop
            .entry(item.shop.clone())
            .or_default()
            .push(np.clone());
        self.accept(Call::Register, item, &np, Vec::new(), &rule, now_ms)
    }

    fn update(&mut self, item: &Item, now_ms: i64) -> Reply {
        if let Some(reply) = self.merged(item) {
            return reply;
        }
        let Some(entry) = self.transactions.get_mut(&item.np) else {
            return refused(&["E0100113"]);
        };
        let it = &mut entry.transaction;
        if it.paid_ms.is_some() {
            return refused(&["E0100114"]);
        }
        if it.cancelled_ms.is_some() {
            return refused(&["E0100118"]);
        }
        if !it.bills.is_empty() {
            return refused(&["E0100115"]);
        }
        let rule = self.rules.of(&it.shop_transaction_id, it.billed_amount);
        let codes = match refusal(&rule, Call::Update) {
            Some((Moment::Acceptance, codes)) => return refused(&codes),
            Some((Moment::Result, codes)) => codes,
            None => {
                // The buyer is screened again, by the rule of the new amount.
                let again = self.rules.of(&it.shop_transaction_id, item.amount);
                it.billed_amount = item.amount;
                it.updates += 1;
                it.authori_result = "40".into();
                it.authori_ng = None;
                entry.screening = Screening {
                    plan: again.screening,
                    ng: again.ng,
                    since_ms: now_ms,
                    polls: 0,
                };
                Vec::new()
            }
        };
        self.accept(Call::Update, item, &item.np, codes, &rule, now_ms)
    }

    fn cancel(&mut self, item: &Item, now_ms: i64) -> Reply {
        if let Some(reply) = self.merged(item) {
            return reply;
        }
        let Some(entry) = self.transactions.get_mut(&item.np) else {
            return refused(&["E0100113"]);
        };
        let it = &mut entry.transaction;
        if it.cancelled_ms.is_some() {
            return self.already(&item.np, "DELETE_REG", "E0100118");
        }
        if it.paid_ms.is_some() {
            return refused(&["E0100114"]);
        }
        let rule = self.rules.of(&it.shop_transaction_id, it.billed_amount);
        let codes = match refusal(&rule, Call::Cancel) {
            Some((Moment::Acceptance, codes)) => return refused(&codes),
            Some((Moment::Result, codes)) => codes,
            None => {
                it.cancelled_ms = Some(now_ms);
                Vec::new()
            }
        };
        self.accept(Call::Cancel, item, &item.np, codes, &rule, now_ms)
    }

    fn bill(&mut self, item: &Item, now_ms: i64) -> Reply {
        if let Some(reply) = self.merged(item) {
            return reply;
        }
        let again = self.rules.repeat == Repeat::Again;
        let Some(entry) = self.transactions.get_mut(&item.np) else {
            return refused(&["E0100113"]);
        };
        let it = &mut entry.transaction;
        if it.cancelled_ms.is_some() {
            return refused(&["E0100118"]);
        }
        if !it.bills.is_empty() && !again {
            return self.already(&item.np, "BILLING_REG", "E0100115");
        }
        if it.authori_result != "00" {
            return refused(&["E0100131"]);
        }
        if it.billed_amount != item.amount {
            return refused(&["E0102004"]);
        }
        let rule = self.rules.of(&it.shop_transaction_id, it.billed_amount);
        let codes = match refusal(&rule, Call::Bill) {
            Some((Moment::Acceptance, codes)) => return refused(&codes),
            Some((Moment::Result, codes)) => codes,
            None => Vec::new(),
        };
        let billed = codes.is_empty();
        let reply = self.accept(Call::Bill, item, &item.np, codes, &rule, now_ms);
        if let (true, Some(accept_no)) = (billed, accept_no_of(&reply)) {
            let bill = BillEntry {
                request_key: item.request_key.clone(),
                accept_no: accept_no.to_owned(),
                amount: item.amount,
                at_ms: now_ms,
            };
            let entry = self.transactions.get_mut(&item.np);
            entry
                .into_iter()
                .for_each(|it| it.transaction.bills.push(bill.clone()));
        }
        reply
    }

    fn result(&mut self, item: &Item, now_ms: i64) -> Reply {
        let accepted = self.acceptances.get_mut(&item.accept_no);
        let known =
            accepted.filter(|it| !it.forgotten && it.acceptance.request_key == item.request_key);
        let Some(accepted) = known else {
            return refused(&["E0100113"]);
        };
        let it = &mut accepted.acceptance;
        it.polls += 1;
        let mut entry = json!({ "acceptNo": it.accept_no, "requestType": it.request_type });
        if it.polls <= accepted.polls_min || now_ms < accepted.ready_ms {
            entry["status"] = "PENDING".into();
            return Reply::Result(entry);
        }
        entry["status"] = if it.codes.is_empty() {
            "DONE"
        } else {
            "REJECTED"
        }
        .into();
        entry["codes"] = it.codes.clone().into();
        entry["processedAt"] = clock::text(accepted.ready_ms.max(it.at_ms)).into();
        if !it.np_transaction_id.is_empty() {
            let amount = it.billed_amount + i64::from(accepted.other_amount);
            let order = if accepted.other_shop {
                "ANOTHER-ORDER"
            } else {
                item.order()
            };
            entry["npTransactionId"] = it.np_transaction_id.clone().into();
            entry["shopTransactionId"] = order.into();
            entry["billedAmount"] = amount.into();
        }
        Reply::Result(entry)
    }

    fn authorization(&mut self, item: &Item, now_ms: i64) -> Reply {
        let rules = &self.rules;
        let Some(entry) = self.transactions.get_mut(&item.np) else {
            return refused(&["E0100113"]);
        };
        entry.screening.polls += 1;
        screen(rules, entry, now_ms);
        let it = &entry.transaction;
        let held = it.authori_result == "10";
        let hold: &[&str] = if held { &HOLD_CODES } else { &[] };
        let required = held.then(|| clock::text(entry.screening.since_ms + HOLD_DATA_MS));
        Reply::Result(json!({
            "npTransactionId": it.np_transaction_id,
            "authoriResult": it.authori_result,
            "authoriNg": it.authori_ng,
            "authoriHold": hold,
            "authoriRequiredDate": required,
        }))
    }

    /// Screens a transaction at once, as the public interface does; gives the word and the reason.
    pub fn screen_now(&mut self, np: &str, now_ms: i64) -> (String, Option<String>) {
        let Some(entry) = self.transactions.get_mut(np) else {
            return ("40".into(), None);
        };
        let at_once = Rules {
            screening_polls: 0,
            screening_after_ms: 0,
            ..self.rules.clone()
        };
        entry.screening.polls += 1;
        screen(&at_once, entry, now_ms);
        let it = &entry.transaction;
        (it.authori_result.clone(), it.authori_ng.clone())
    }

    fn lookup(&self, item: &Item, now_ms: i64) -> Reply {
        if !self.rules.lookup {
            return refused(&["E0100131"]);
        }
        let visible = |number: &&String| {
            let accepted = self.acceptances.get(number.as_str());
            accepted.is_some_and(|it| now_ms >= it.acceptance.at_ms + self.rules.lookup_lag_ms)
        };
        let mut by = "requestKey";
        let mut number = self
            .by_key
            .get(&item.request_key)
            .and_then(|list| list.iter().find(visible));
        if number.is_none() && item.request_key.contains(":ORDER_REG:") {
            by = "shopTransactionId";
            number = self.by_shop.get(&item.shop).and_then(|list| {
                let numbers = list.iter().filter_map(|np| self.number_of(np, "ORDER_REG"));
                numbers.into_iter().find(visible)
            });
        }
        if number.is_none() && item.request_key.contains(":BILLING_REG:") {
            by = "npTransactionId";
            number = self.number_of(&item.np, "BILLING_REG").filter(visible);
        }
        let Some(accepted) = number.and_then(|number| self.acceptances.get(number)) else {
            return Reply::Result(json!({ "found": false }));
        };
        let it = &accepted.acceptance;
        let mut entry = json!({
            "found": true, "acceptNo": it.accept_no, "receivedAt": clock::text(it.at_ms),
        });
        if by != "requestKey" {
            entry["foundBy"] = by.into();
            entry["acceptedKey"] = it.request_key.clone().into();
            entry["npTransactionId"] = it.np_transaction_id.clone().into();
            entry["billedAmount"] = it.billed_amount.into();
        }
        Reply::Result(entry)
    }

    /// The first acceptance of the same key, if repeats are merged.
    fn merged(&self, item: &Item) -> Option<Reply> {
        if self.rules.repeat != Repeat::Merge {
            return None;
        }
        let number = self.by_key.get(&item.request_key)?.first()?;
        Some(Reply::Result(json!({ "acceptNo": number })))
    }

    fn already(&self, np: &str, request_type: &str, code: &str) -> Reply {
        let named = self.rules.already_names_number;
        let number = self.number_of(np, request_type).filter(|_| named);
        let accepted = number.and_then(|number| self.acceptances.get(number));
        let accepted = accepted.map(|it| &it.acceptance);
        Reply::Error {
            codes: vec![code.to_owned()],
            accepted: accepted.map(|it| (it.accept_no.clone(), it.request_key.clone())),
        }
    }

    /// The number of the request of a type that was done for a transaction.
    fn number_of(&self, np: &str, request_type: &str) -> Option<&String> {
        let transaction = &self.transactions.get(np)?.transaction;
        match request_type {
            "BILLING_REG" => transaction.bills.first().map(|bill| &bill.accept_no),
            "ORDER_REG" => self.by_key.get(&transaction.registered_by)?.first(),
            _ => {
                let key = format!("{}:{request_type}:", transaction.shop_transaction_id);
                let done = self.acceptances.values().find(|accepted| {
                    let it = &accepted.acceptance;
                    it.request_key.starts_with(&key) && it.codes.is_empty()
                });
                done.map(|accepted| &accepted.acceptance.accept_no)
            }
        }
    }

    fn accept(
        &mut self,
        call: Call,
        item: &Item,
        np: &str,
        codes: Vec<String>,
        rule: &OrderRule,
        now_ms: i64,
    ) -> Reply {
        let number = ACCEPT_BASE + self.acceptances.len() as u64 + 1;
        let accept_no = format!("A{number:09}");
        let amount = match call {
            Call::Cancel => self.amount_of(np),
            _ => item.amount,
        };
        let acceptance = Acceptance {
            accept_no: accept_no.clone(),
            request_key: item.request_key.clone(),
            request_type: call.request_type().unwrap_or_default().to_owned(),
            at_ms: now_ms,
            np_transaction_id: np.to_owned(),
            billed_amount: amount,
            codes,
            polls: 0,
        };
        let after_ms = rule.result_after_ms.unwrap_or(self.rules.result_after_ms);
        let accepted = Accepted {
            acceptance,
            polls_min: rule.result_polls.unwrap_or(self.rules.result_polls),
            ready_ms: now_ms + after_ms,
            forgotten: false,
            other_amount: false,
            other_shop: false,
        };
        self.acceptances.insert(accept_no.clone(), accepted);
        self.by_key
            .entry(item.request_key.clone())
            .or_default()
            .push(accept_no.clone());
        Reply::Result(json!({ "acceptNo": accept_no }))
    }
}

/// The acceptance number of a reply, if it accepts.
#[must_use]
pub fn accept_no_of(reply: &Reply) -> Option<&str> {
    match reply {
        Reply::Result(entry) => entry.get("acceptNo").and_then(Value::as_str),
        Reply::Error { .. } => None,
    }
}

/// Brings the screening of a transaction up to date. A word once said stays, unless it was "held".
fn screen(rules: &Rules, entry: &mut Entry, now_ms: i64) {
    let it = &entry.screening;
    if !matches!(entry.transaction.authori_result.as_str(), "40" | "10") {
        return;
    }
    let begins_ms = it.since_ms + rules.screening_after_ms;
    let begun = it.polls > rules.screening_polls && now_ms >= begins_ms;
    let polls_held = it.polls.saturating_sub(rules.screening_polls);
    let hold_over = polls_held > rules.hold_polls && now_ms >= begins_ms + rules.hold_ms;
    let word = match it.plan {
        _ if !begun => "40",
        Plan::Approve => "00",
        Plan::Refuse => "20",
        Plan::HoldApprove if hold_over => "00",
        Plan::HoldRefuse if hold_over => "20",
        Plan::HoldApprove | Plan::HoldRefuse | Plan::Hold => "10",
    };
    entry.transaction.authori_result = word.to_owned();
    entry.transaction.authori_ng = if word == "20" { it.ng.clone() } else { None };
}

fn refusal(rule: &OrderRule, call: Call) -> Option<(Moment, Vec<String>)> {
    let refusal = rule.refuse.iter().find(|refusal| refusal.call == call)?;
    Some((refusal.at, refusal.codes.clone()))
}

fn refused<T: ToString>(codes: &[T]) -> Reply {
    Reply::Error {
        codes: codes.iter().map(ToString::to_string).collect(),
        accepted: None,
    }
}
