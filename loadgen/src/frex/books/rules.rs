//! What the worker's tables and the agency's ledger may look like together (`spec/frex.md` 17, invariants 1 to 9).
//!
//! An open alert of an order excuses what a person has on the list: an order that stands still, a state the agency does not
//! share. It never excuses a second transaction, a second bill, or an acceptance that nobody knows of.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::frex::ledger::{Ledger, Transaction};

/// An order with its state, as the tables have them.
#[derive(Clone, Debug, Deserialize)]
pub struct Order {
    /// Its number.
    pub order_no: String,
    /// `REG` or `DEL`.
    pub str_state: String,
    /// `ACCEPT` or `ORDEREND`.
    pub str_order_state: String,
    /// `SBPAYMENT`, `TEMPPAYMENT` or `PAYMENT`.
    pub str_money_input: String,
    /// What it is worth, in yen.
    pub amount: i64,
    /// Its state, once the worker has begun with it.
    pub state: Option<State>,
}

/// The state of an order.
#[derive(Clone, Debug, Deserialize)]
pub struct State {
    /// The agency's number, or none.
    pub np: String,
    /// `regState`.
    pub reg: String,
    /// `resultState`.
    pub result: String,
    /// `authorizeState`.
    pub authorize: String,
    /// `billingState`.
    pub billing: String,
    /// What the agency confirmed last, in yen.
    pub billed_amount: i64,
    /// Whether the agency refused the cancel.
    pub delete_rejected: bool,
    /// Why it is closed.
    pub close_reason: String,
}

/// A request.
#[derive(Clone, Debug, Deserialize)]
pub struct Request {
    /// Its order.
    pub order_no: String,
    /// Its type.
    pub kind: String,
    /// Its count.
    pub seq: i64,
    /// Its key.
    pub key: String,
    /// Its state.
    pub state: String,
    /// The amount in it, in yen.
    pub amount: i64,
    /// What it was accepted under.
    pub accept_no: String,
}

/// The tables.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// Orders.
    pub orders: Vec<Order>,
    /// Requests.
    pub requests: Vec<Request>,
    /// Open alerts: order and kind.
    pub alerts: Vec<(String, String)>,
}

/// All that is compared.
#[derive(Clone, Debug)]
pub struct Books {
    /// The worker's tables.
    pub tables: Tables,
    /// The agency's ledger.
    pub ledger: Ledger,
}

/// What came out.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Findings {
    /// Orders by where they stand.
    pub orders: BTreeMap<&'static str, u64>,
    /// Requests by state.
    pub requests: BTreeMap<String, u64>,
    /// Transactions at the agency.
    pub transactions: u64,
    /// Bills at the agency, and their sum in yen.
    pub bills: (u64, i64),
    /// Orders with an open alert other than that screening refused.
    pub alerted: u64,
    /// Disagreements, each with the number of the invariant that it breaks.
    pub wrong: Vec<(u8, String)>,
}

impl Findings {
    /// Whether the books agree.
    #[must_use]
    pub fn agree(&self) -> bool {
        self.wrong.is_empty()
    }

    /// As text, with so many disagreements.
    #[must_use]
    pub fn shown(&self, list: usize) -> String {
        let parts = |counts: Vec<String>| match counts.is_empty() {
            true => "none".to_owned(),
            false => counts.join(", "),
        };
        let orders = self.orders.iter().map(|(name, n)| format!("{n} {name}"));
        let requests = self.requests.iter().map(|(name, n)| format!("{n} {name}"));
        let mut text = format!(
            "orders    {}\nrequests  {}\nagency    {} transactions, {} bills of {} yen\nalerts    {} orders with an open one\n",
            parts(orders.collect()),
            parts(requests.collect()),
            self.transactions,
            self.bills.0,
            self.bills.1,
            self.alerted,
        );
        for (number, what) in self.wrong.iter().take(list) {
            // Writing to a text cannot fail.
            let _ = writeln!(text, "DISAGREE  invariant {number}: {what}");
        }
        if self.wrong.len() > list {
            let _ = writeln!(text, "DISAGREE  and {} more", self.wrong.len() - list);
        }
        text + if self.agree() {
            "the books agree\n"
        } else {
            "the books DISAGREE\n"
        }
    }
}

/// The accept number of a cancel that the agency says was done before, without naming by what.
const ALREADY_CANCELLED: &str = "ALREADY-CANCELLED";
/// States of a request in which something is still to come.
const OPEN: [&str; 3] = ["STANDBY", "SENDING", "UNKNOWN"];

/// One order, with everything either side has on it.
struct Case<'a> {
    order: &'a Order,
    requests: &'a [&'a Request],
    transactions: &'a [&'a Transaction],
    alerted: bool,
    running: bool,
    wrong: &'a mut Vec<(u8, String)>,
}

/// Compares the books. While the worker runs, orders in progress are no disagreement.
#[must_use]
pub fn compare(books: &Books, running: bool) -> Findings {
    let Books { tables, ledger } = books;
    let bills = || ledger.transactions.iter().flat_map(|it| &it.bills);
    let mut findings = Findings {
        transactions: ledger.transactions.len() as u64,
        bills: (bills().count() as u64, bills().map(|it| it.amount).sum()),
        ..Findings::default()
    };
    let mut requests: HashMap<&str, Vec<&Request>> = HashMap::new();
    for request in &tables.requests {
        *findings.requests.entry(request.state.clone()).or_default() += 1;
        requests.entry(&request.order_no).or_default().push(request);
    }
    let mut transactions: HashMap<&str, Vec<&Transaction>> = HashMap::new();
    for it in &ledger.transactions {
        transactions
            .entry(&it.shop_transaction_id)
            .or_default()
            .push(it);
    }
    let alerted: HashSet<&str> = tables
        .alerts
        .iter()
        .filter(|(_, kind)| kind != "screening_ng")
        .map(|(order_no, _)| order_no.as_str())
        .collect();
    let mut wrong = Vec::new();
    for order in &tables.orders {
        let no = order.order_no.as_str();
        *findings.orders.entry(stage(order)).or_default() += 1;
        findings.alerted += u64::from(alerted.contains(no));
        let mut case = Case {
            order,
            requests: requests.get(no).map_or(&[], Vec::as_slice),
            transactions: transactions.get(no).map_or(&[], Vec::as_slice),
            alerted: alerted.contains(no),
            running,
            wrong: &mut wrong,
        };
        case.check();
    }
    nothing_foreign(books, &transactions, &mut wrong);
    acceptances_known(books, &mut wrong);
    findings.wrong = wrong;
    findings
}

fn stage(order: &Order) -> &'static str {
    let Some(state) = &order.state else {
        return if order.str_state == "DEL" {
            "cancelled"
        } else {
            "placed"
        };
    };
    match (
        state.result.as_str(),
        state.close_reason.as_str(),
        state.billing.as_str(),
    ) {
        ("CANCEL", "FREX_NG", _) => "refused",
        ("CANCEL", ..) => "cancelled",
        _ if order.str_state == "DEL" && state.delete_rejected => "cancel refused",
        ("COMPLETE", _, "COMPLETE") if order.str_state == "REG" => "billed",
        _ => "in progress",
    }
}

impl Case<'_> {
    fn hold(&mut self, holds: bool, invariant: u8, what: &str) {
        if !holds {
            self.wrong
                .push((invariant, format!("{}: {what}", self.order.order_no)));
        }
    }

    fn check(&mut self) {
        let twice = self.transactions.iter().any(|it| it.bills.len() > 1);
        self.hold(
            self.transactions.len() <= 1,
            1,
            "several transactions at the agency",
        );
        self.hold(!twice, 1, "billed more than once");
        self.numbered();
        let Some(state) = self.order.state.clone() else {
            let live = !self.transactions.is_empty();
            self.hold(!live, 1, "not begun here, and the agency has it");
            let waits = self.running || self.alerted || self.order.str_state == "DEL";
            self.hold(waits, 9, "the worker has never begun with it");
            return;
        };
        self.billed(&state);
        self.columns(&state);
        self.locked(&state);
        if !self.running {
            self.at_rest(&state);
        }
    }

    /// Invariants 7 and 8: accepted requests have their number, and none is left in SENDING.
    fn numbered(&mut self) {
        for request in self.requests {
            let mutation = request.kind.ends_with("_REG");
            let named = !mutation || request.state != "COMPLETE" || !request.accept_no.is_empty();
            self.hold(named, 8, &format!("{} has no number", request.key));
            let sending = request.state == "SENDING" && !self.running;
            self.hold(!sending, 7, &format!("{} is in SENDING", request.key));
        }
    }

    /// Invariants 2 and 4: what we take as billed is billed, once, with the order's amount; and what is billed we know of.
    fn billed(&mut self, state: &State) {
        let bills: Vec<i64> = self
            .transactions
            .iter()
            .flat_map(|it| &it.bills)
            .map(|it| it.amount)
            .collect();
        let regular = self.order.str_state == "REG";
        if state.billing == "COMPLETE" {
            self.hold(bills.len() == 1, 2, "billed here, not at the agency");
            let amount = bills.first() == Some(&state.billed_amount);
            self.hold(
                amount || self.alerted || bills.is_empty(),
                4,
                "the bill has another amount than we believe",
            );
            let whole = !regular || bills.first() == Some(&self.order.amount);
            self.hold(
                whole || self.alerted || bills.is_empty(),
                4,
                "the bill has another amount than the order",
            );
        } else {
            let known = bills.is_empty()
                || self.alerted
                || (state.result == "BILLING" && self.running)
                || state.result == "CANCEL";
            self.hold(known, 2, "billed at the agency, and not here");
        }
        let asked = self
            .requests
            .iter()
            .filter(|it| it.kind == "BILLING_REG" && it.state == "COMPLETE")
            .map(|it| it.amount);
        let expected: Vec<i64> = asked.collect();
        if let ([asked], [billed]) = (&expected[..], &bills[..]) {
            let same = asked == billed || self.alerted;
            self.hold(same, 4, "the bill has another amount than we asked for");
        }
    }

    /// Invariants 2 and 3: the order's columns say what the state says.
    fn columns(&mut self, state: &State) {
        if self.order.str_state != "REG" {
            return;
        }
        let billed = state.billing == "COMPLETE";
        let ended = self.order.str_order_state == "ORDEREND";
        let paid = self.order.str_money_input == "PAYMENT";
        self.hold(
            billed == paid && (!billed || ended),
            2,
            "the order's columns are not those of its billing",
        );
        let released = self.order.str_money_input == "TEMPPAYMENT";
        let approved = state.authorize == "COMPLETE" && !billed;
        self.hold(!released || approved, 3, "TEMPPAYMENT without approval");
    }

    /// Invariant 6: what is in progress is held by exactly one request.
    fn locked(&mut self, state: &State) {
        let kind = match state.result.as_str() {
            "ORDER" => "ORDER",
            "UPDATE" => "UPDATE",
            "DELETE" => "DELETE",
            "BILLING" => "BILLING",
            _ => return,
        };
        let (reg, result) = (format!("{kind}_REG"), format!("{kind}_RESULT"));
        let resolved = |seq: i64| {
            let ended = |it: &&&Request| it.state == "COMPLETE" || it.state == "ERROR";
            let mut outcomes = self.requests.iter().filter(ended);
            outcomes.any(|it| it.kind == result && it.seq == seq)
        };
        let holds = |it: &&&Request| {
            OPEN.contains(&it.state.as_str()) && it.kind.ends_with("_REG")
                || it.kind == reg && it.state == "COMPLETE" && !resolved(it.seq)
        };
        let held = self.requests.iter().filter(holds).count();
        self.hold(
            held == 1 || self.alerted,
            6,
            "nothing, or more than one request, holds its lock",
        );
    }

    /// Invariants 5 and 9, and that both sides agree on an order that is at rest.
    fn at_rest(&mut self, state: &State) {
        let live = self.transactions.iter().any(|it| it.cancelled_ms.is_none());
        let cancelled = !self.transactions.is_empty() && !live;
        // Neither is cancelled at the agency: it refused the buyer, or it refused the cancel and people settled it.
        let uncancelled = ["FREX_NG", "SETTLED_OUTSIDE"].contains(&state.close_reason.as_str());
        match stage(self.order) {
            "refused" => {
                let refused = self.transactions.iter().all(|it| it.authori_result == "20");
                self.hold(refused, 9, "refused here, not by the agency");
            }
            "cancelled" => self.hold(!live || uncancelled, 5, "closed here, alive at the agency"),
            "cancel refused" => self.hold(self.alerted, 5, "cancel refused, and nobody was told"),
            "billed" => {
                self.hold(!cancelled, 9, "billed here, cancelled at the agency");
                self.agreed(state);
            }
            _ => {
                self.hold(self.alerted, 9, "it stands still, and nobody was told");
                self.agreed(state);
            }
        }
    }

    /// Both sides have the same transaction and amount.
    fn agreed(&mut self, state: &State) {
        let [theirs] = self.transactions else {
            let unregistered = state.reg != "COMPLETE" || self.alerted;
            self.hold(unregistered, 9, "registered here, lost at the agency");
            return;
        };
        let named = state.np == theirs.np_transaction_id || state.reg != "COMPLETE";
        self.hold(
            named,
            9,
            "our transaction number is not that of the agency's transaction",
        );
        let quiet = state.result == "COMPLETE" && state.reg == "COMPLETE";
        let same = state.billed_amount == theirs.billed_amount || self.alerted;
        self.hold(
            !quiet || same,
            4,
            "the agency has another amount than we believe",
        );
    }
}

/// Invariant 1: the agency has no transaction that is no order here.
fn nothing_foreign(
    books: &Books,
    transactions: &HashMap<&str, Vec<&Transaction>>,
    wrong: &mut Vec<(u8, String)>,
) {
    let ours: HashSet<&str> = books
        .tables
        .orders
        .iter()
        .map(|it| it.order_no.as_str())
        .collect();
    let mut foreign: Vec<&&str> = transactions
        .keys()
        .filter(|no| !ours.contains(**no))
        .collect();
    foreign.sort_unstable();
    for no in foreign {
        wrong.push((
            1,
            format!("{no}: a transaction at the agency, no order here"),
        ));
    }
}

/// Invariant 8, from both ends: the numbers we keep are the agency's for these very requests, and every acceptance of the
/// agency belongs to a request of ours that was sent.
fn acceptances_known(books: &Books, wrong: &mut Vec<(u8, String)>) {
    let requests: HashMap<&str, &Request> = books
        .tables
        .requests
        .iter()
        .map(|it| (it.key.as_str(), it))
        .collect();
    let alerted: HashSet<&str> = books
        .tables
        .alerts
        .iter()
        .map(|(order_no, _)| order_no.as_str())
        .collect();
    let mut numbers: HashMap<&str, &str> = HashMap::new();
    for it in &books.ledger.acceptances {
        numbers.insert(&it.accept_no, &it.request_key);
        // The public interface names no request, so the simulator does, in a way of its own.
        if it.request_key.contains(":public-") {
            continue;
        }
        match requests.get(it.request_key.as_str()) {
            None => wrong.push((
                8,
                format!("{}: accepted, and no request here", it.request_key),
            )),
            Some(request) if request.state == "SKIPPED" => {
                wrong.push((8, format!("{}: accepted, and skipped here", it.request_key)));
            }
            Some(_) => {}
        }
    }
    for request in requests.values().filter(|it| {
        it.kind.ends_with("_REG") && it.state == "COMPLETE" && it.accept_no != ALREADY_CANCELLED
    }) {
        // The adapter of the public interface, which gives no numbers, makes its own: L and 20 hexadecimal digits.
        let local = request.accept_no.starts_with('L') && request.accept_no.len() == 21;
        let known = numbers.contains_key(request.accept_no.as_str()) || local;
        if !known && !alerted.contains(request.order_no.as_str()) {
            wrong.push((
                8,
                format!("{}: its number is none of the agency's", request.key),
            ));
        }
    }
}
