//! What orders, refunds and the ledger may look like together (`spec/atom.md` 21, invariants 1 to 6).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::ops::Bound;

use serde::{Deserialize, Serialize};

/// An order as `commerced` shows it.
#[derive(Clone, Debug, Deserialize)]
pub struct Order {
    /// Its id.
    pub order_id: String,
    /// Its status.
    pub status: String,
    /// Paise.
    pub amount: i64,
    /// Currency.
    pub currency: String,
    /// Paise that count as refunded.
    pub refunded_amount: i64,
    /// Attempts to pay it.
    #[serde(default)]
    pub attempts: Vec<Attempt>,
    /// Refunds of it.
    #[serde(default)]
    pub refunds: Vec<Refund>,
    /// Kinds of issues that hold it.
    #[serde(default)]
    pub holds: Vec<String>,
}

/// An attempt as `commerced` shows it.
#[derive(Clone, Debug, Deserialize)]
pub struct Attempt {
    /// Its outcome.
    pub outcome: String,
    /// Atom's number, once there is one.
    pub atom_txn_id: Option<String>,
}

/// A refund as `commerced` shows it.
#[derive(Clone, Debug, Deserialize)]
pub struct Refund {
    /// Its id, with which every `prodRefundId` of it begins.
    pub refund_id: String,
    /// Paise.
    pub amount: i64,
    /// Its state.
    pub state: String,
}

/// An issue as `commerced` shows it.
#[derive(Clone, Debug, Deserialize)]
pub struct Issue {
    /// Its kind.
    pub kind: String,
    /// The order, if it is known.
    pub order_id: Option<String>,
    /// When a person was done with it.
    pub closed_at: Option<String>,
}

/// The simulator's ledger.
#[derive(Clone, Debug, Deserialize)]
pub struct Ledger {
    /// The time on its clock, Unix milliseconds.
    pub now_ms: i64,
    /// Payments.
    pub payments: Vec<Payment>,
    /// Refunds.
    pub refunds: Vec<LedgerRefund>,
}

/// A payment in the ledger.
#[derive(Clone, Debug, Deserialize)]
pub struct Payment {
    /// Atom's number.
    pub atom_txn_id: u64,
    /// The merchant's number.
    pub merch_txn_id: String,
    /// The order's id, as the merchant had sent it along.
    pub udf1: String,
    /// `captured` and so on.
    pub state: String,
    /// Paise.
    pub amount: i64,
    /// Paise that Atom took beside the amount.
    #[serde(default)]
    pub surcharge: i64,
    /// Currency.
    pub currency: String,
    /// When it was decided.
    pub decided_ms: i64,
}

/// A refund in the ledger.
#[derive(Clone, Debug, Deserialize)]
pub struct LedgerRefund {
    /// The merchant's number.
    pub prod_refund_id: String,
    /// Atom's number of the payment.
    pub atom_txn_id: u64,
    /// Paise.
    pub amount: i64,
    /// `initiated`, `processed` or `failed`.
    pub state: String,
}

/// All that is compared.
#[derive(Clone, Debug)]
pub struct Books {
    /// Orders.
    pub orders: Vec<Order>,
    /// Issues.
    pub issues: Vec<Issue>,
    /// The ledger.
    pub ledger: Ledger,
}

/// What came out.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Findings {
    /// Orders by status.
    pub orders: BTreeMap<String, u64>,
    /// Refunds by state.
    pub refunds: BTreeMap<String, u64>,
    /// Payments of the ledger by state.
    pub payments: BTreeMap<String, u64>,
    /// Refunds of the ledger by state.
    pub ledger_refunds: BTreeMap<String, u64>,
    /// Captures that no query has found yet, and that are young enough for it.
    pub young: u64,
    /// Captures that are no paid order, and that a person has on the list.
    pub with_issue: u64,
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
        let counts = |map: &BTreeMap<String, u64>| {
            let parts: Vec<String> = map
                .iter()
                .map(|(name, count)| format!("{count} {name}"))
                .collect();
            if parts.is_empty() {
                "none".to_owned()
            } else {
                parts.join(", ")
            }
        };
        let mut text = String::new();
        // Writing to a text cannot fail.
        let _ = writeln!(text, "orders    {}", counts(&self.orders));
        let _ = writeln!(text, "payments  {} at Atom", counts(&self.payments));
        let _ = writeln!(text, "refunds   {}", counts(&self.refunds));
        let _ = writeln!(text, "refunds   {} at Atom", counts(&self.ledger_refunds));
        if self.young + self.with_issue > 0 {
            let (young, issue) = (self.young, self.with_issue);
            let _ = writeln!(
                text,
                "captures  {young} not found yet, {issue} with an issue"
            );
        }
        for (number, what) in self.wrong.iter().take(list) {
            let _ = writeln!(text, "DISAGREE  invariant {number}: {what}");
        }
        if self.wrong.len() > list {
            let _ = writeln!(text, "DISAGREE  and {} more", self.wrong.len() - list);
        }
        let end = if self.agree() {
            "the books agree"
        } else {
            "the books DISAGREE"
        };
        let _ = writeln!(text, "{end}");
        text
    }

    fn wrong(&mut self, invariant: u8, what: String) {
        self.wrong.push((invariant, what));
    }
}

/// Statuses of an order for which money was taken.
const PAID: [&str; 4] = ["paid", "shipped", "delivered", "refunded"];
/// States of a refund that keep their reservation.
const RESERVED: [&str; 5] = [
    "requested",
    "submitting",
    "unknown",
    "accepted",
    "processed",
];
/// States of a refund that Atom has taken on.
const TAKEN_ON: [&str; 2] = ["accepted", "processed"];

fn count<'a>(words: impl Iterator<Item = &'a str>) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for word in words {
        *counts.entry(word.to_owned()).or_default() += 1;
    }
    counts
}

/// Compares the books. A capture younger than `horizon_ms` need not have been found yet.
#[must_use]
pub fn compare(books: &Books, horizon_ms: i64) -> Findings {
    let all_refunds = || books.orders.iter().flat_map(|order| &order.refunds);
    let mut findings = Findings {
        orders: count(books.orders.iter().map(|it| it.status.as_str())),
        refunds: count(all_refunds().map(|it| it.state.as_str())),
        payments: count(books.ledger.payments.iter().map(|it| it.state.as_str())),
        ledger_refunds: count(books.ledger.refunds.iter().map(|it| it.state.as_str())),
        ..Findings::default()
    };
    let payments: HashMap<String, &Payment> = books
        .ledger
        .payments
        .iter()
        .map(|it| (it.atom_txn_id.to_string(), it))
        .collect();
    paid_once(books, &mut findings);
    let refunded: BTreeMap<&str, String> = books
        .ledger
        .refunds
        .iter()
        .map(|it| (it.prod_refund_id.as_str(), it.atom_txn_id.to_string()))
        .collect();
    for order in &books.orders {
        paid_truly(order, &payments, &mut findings);
        refunded_truly(order, &refunded, &mut findings);
    }
    within_captures(books, &payments, &mut findings);
    captures_known(books, horizon_ms, &mut findings);
    refunds_known(books, &mut findings);
    findings
}

fn succeeded(order: &Order) -> impl Iterator<Item = &Attempt> {
    order
        .attempts
        .iter()
        .filter(|attempt| attempt.outcome == "success")
}

/// Invariant 1: an order is paid by one attempt, and no payment pays two orders.
fn paid_once(books: &Books, findings: &mut Findings) {
    let mut used: HashMap<&str, &str> = HashMap::new();
    for order in &books.orders {
        let several = succeeded(order).count() > 1;
        if several && !has_issue(books, &order.order_id) {
            let what = format!(
                "{} has several successful attempts and no issue",
                order.order_id
            );
            findings.wrong(1, what);
        }
        for attempt in succeeded(order) {
            let Some(id) = attempt.atom_txn_id.as_deref() else {
                findings.wrong(
                    1,
                    format!("{} was paid without a number of Atom", order.order_id),
                );
                continue;
            };
            if let Some(other) = used.insert(id, &order.order_id) {
                let what = format!("payment {id} is in {other} and in {}", order.order_id);
                findings.wrong(1, what);
            }
        }
    }
}

/// Invariant 2: a paid order has a capture with its amount and currency.
fn paid_truly(order: &Order, payments: &HashMap<String, &Payment>, findings: &mut Findings) {
    if !PAID.contains(&order.status.as_str()) {
        return;
    }
    let id = &order.order_id;
    let mut found = succeeded(order)
        .filter_map(|attempt| attempt.atom_txn_id.as_deref())
        .filter_map(|number| payments.get(number))
        .filter(|payment| matches!(payment.state.as_str(), "captured" | "reversed"))
        .peekable();
    if found.peek().is_none() {
        findings.wrong(
            2,
            format!("{id} is {} and Atom took no money for it", order.status),
        );
    } else if !found.any(|it| (it.amount, &it.currency) == (order.amount, &order.currency)) {
        findings.wrong(
            2,
            format!(
                "{id} is {} over another amount than Atom took",
                order.status
            ),
        );
    }
}

/// Invariants 3 and 4: refunds are within the captured amount, and the order is refunded exactly when they reach it. What went
/// back of a capture that did not pay the order says nothing about it; `refunded` has Atom's number of the payment by that of
/// each refund's line.
fn refunded_truly(order: &Order, refunded: &BTreeMap<&str, String>, findings: &mut Findings) {
    let is_surplus = |refund: &Refund| {
        let from = (Bound::Included(refund.refund_id.as_str()), Bound::Unbounded);
        let mut lines = refunded
            .range::<str, _>(from)
            .take_while(|(line, _)| line.starts_with(&refund.refund_id));
        lines.any(|(_, of)| !succeeded(order).any(|it| it.atom_txn_id.as_ref() == Some(of)))
    };
    let own: Vec<&Refund> = order.refunds.iter().filter(|it| !is_surplus(it)).collect();
    let sum = |states: &[&str]| -> i64 {
        let counted = own.iter().filter(|it| states.contains(&it.state.as_str()));
        counted.map(|it| it.amount).sum()
    };
    let (reserved, taken_on) = (sum(&RESERVED), sum(&TAKEN_ON));
    let (id, amount) = (&order.order_id, order.amount);
    let captures = succeeded(order).count().max(1) as i64;
    if reserved > amount * captures {
        findings.wrong(
            3,
            format!("{id}: refunds of {reserved} exceed the captured {amount}"),
        );
    }
    let full = taken_on >= amount;
    let late = order.status == "cancelled";
    if (order.status == "refunded") != full && !late && captures == 1 {
        let what = format!(
            "{id} is {} and {taken_on} of {amount} went back",
            order.status
        );
        findings.wrong(4, what);
    }
    if order.refunded_amount != taken_on && captures == 1 && !late {
        let what = format!(
            "{id} says {} refunded, its refunds {taken_on}",
            order.refunded_amount
        );
        findings.wrong(4, what);
    }
}

/// Invariant 3, as Atom sees it: no more went back of a payment than was taken.
fn within_captures(books: &Books, payments: &HashMap<String, &Payment>, findings: &mut Findings) {
    let mut back: BTreeMap<u64, i64> = BTreeMap::new();
    for refund in books
        .ledger
        .refunds
        .iter()
        .filter(|it| it.state != "failed")
    {
        *back.entry(refund.atom_txn_id).or_default() += refund.amount;
    }
    for (number, sum) in back {
        let taken = payments
            .get(&number.to_string())
            .map_or(0, |it| it.amount + it.surcharge);
        if sum > taken {
            findings.wrong(
                3,
                format!("of payment {number} over {taken} {sum} went back"),
            );
        }
    }
}

fn has_issue(books: &Books, order_id: &str) -> bool {
    books
        .issues
        .iter()
        .any(|issue| issue.order_id.as_deref() == Some(order_id))
}

/// Invariant 5: what Atom captured is a paid order, is being given back, or is on a person's list.
fn captures_known(books: &Books, horizon_ms: i64, findings: &mut Findings) {
    let orders: HashMap<&str, &Order> = books
        .orders
        .iter()
        .map(|order| (order.order_id.as_str(), order))
        .collect();
    let issues: HashSet<&str> = books
        .issues
        .iter()
        .filter(|issue| issue.closed_at.is_none())
        .filter_map(|issue| issue.order_id.as_deref())
        .collect();
    let mut given_back: HashMap<u64, i64> = HashMap::new();
    for refund in &books.ledger.refunds {
        *given_back.entry(refund.atom_txn_id).or_default() += refund.amount;
    }
    for payment in books
        .ledger
        .payments
        .iter()
        .filter(|it| it.state == "captured")
    {
        let number = payment.atom_txn_id.to_string();
        let Some(order) = orders.get(payment.udf1.as_str()) else {
            let what = format!(
                "Atom took money under {}, which is no order here",
                payment.merch_txn_id
            );
            findings.wrong(5, what);
            continue;
        };
        let mine = |attempt: &Attempt| attempt.atom_txn_id.as_deref() == Some(number.as_str());
        let paid = PAID.contains(&order.status.as_str()) && succeeded(order).any(mine);
        let refunding = order.status == "cancelled" && !order.refunds.is_empty();
        let returned = given_back.get(&payment.atom_txn_id).copied();
        if paid || refunding || returned.is_some_and(|sum| sum >= payment.amount) {
            continue;
        }
        if issues.contains(order.order_id.as_str()) || !order.holds.is_empty() {
            findings.with_issue += 1;
        } else if books.ledger.now_ms - payment.decided_ms < horizon_ms {
            findings.young += 1;
        } else {
            let what = format!(
                "{} is {} and Atom took {number} for it",
                order.order_id, order.status
            );
            findings.wrong(5, what);
        }
    }
}

/// Invariant 6: every refund of the ledger is ours, once, with its amount; and those that we count are in the ledger.
fn refunds_known(books: &Books, findings: &mut Findings) {
    let mut by_id: BTreeMap<&str, Vec<&LedgerRefund>> = BTreeMap::new();
    for refund in &books.ledger.refunds {
        by_id
            .entry(&refund.prod_refund_id)
            .or_default()
            .push(refund);
    }
    for (id, same) in by_id.iter().filter(|(_, same)| same.len() > 1) {
        findings.wrong(6, format!("Atom paid {id} back {} times", same.len()));
    }
    let mut left = by_id;
    for refund in books.orders.iter().flat_map(|order| &order.refunds) {
        // A split refund has lines, whose numbers begin with that of the refund.
        let from = (Bound::Included(refund.refund_id.as_str()), Bound::Unbounded);
        let own = left
            .range::<str, _>(from)
            .take_while(|(id, _)| id.starts_with(&refund.refund_id));
        let own: Vec<&str> = own.map(|(id, _)| *id).collect();
        let lines: Vec<&LedgerRefund> = own
            .into_iter()
            .filter_map(|id| left.remove(id))
            .flatten()
            .collect();
        let paid: i64 = lines
            .iter()
            .filter(|it| it.state != "failed")
            .map(|it| it.amount)
            .sum();
        let taken_on = TAKEN_ON.contains(&refund.state.as_str());
        let (id, amount, state) = (&refund.refund_id, refund.amount, &refund.state);
        if taken_on && paid != amount && lines.iter().all(|it| it.state != "failed") {
            findings.wrong(
                6,
                format!("refund {id} of {amount} is {state}, Atom has {paid} of it"),
            );
        }
        if matches!(state.as_str(), "rejected" | "requested") && !lines.is_empty() {
            findings.wrong(6, format!("refund {id} is {state}, and Atom has it"));
        }
    }
    for id in left.keys() {
        findings.wrong(6, format!("Atom paid {id} back, which is no refund here"));
    }
}
