//! Each invariant is broken once, and the finding names it; what may look odd and is right is not complained about.

use serde_json::{Value, json};

use super::rules::{Books, Findings, compare};

/// Books in which one order of 100.00 was paid and a third of it refunded.
fn good() -> Value {
    json!({
        "orders": [{
            "order_id": "ord_1", "status": "paid", "amount": 10_000, "currency": "INR",
            "refunded_amount": 3_000,
            "attempts": [
                { "outcome": "failed", "atom_txn_id": null },
                { "outcome": "success", "atom_txn_id": "11000000900001" },
            ],
            "refunds": [
                { "refund_id": "RF1", "amount": 3_000, "state": "accepted" },
                { "refund_id": "RF2", "amount": 9_000, "state": "rejected" },
            ],
            "holds": [],
        }],
        "issues": [],
        "ledger": {
            "now_ms": 1_000_000,
            "payments": [{
                "atom_txn_id": 11_000_000_900_001_u64, "merch_txn_id": "G1", "udf1": "ord_1",
                "state": "captured", "amount": 10_000, "currency": "INR", "decided_ms": 0,
            }],
            "refunds": [{
                "prod_refund_id": "RF1", "atom_txn_id": 11_000_000_900_001_u64, "amount": 3_000,
                "state": "initiated",
            }],
        },
    })
}

fn findings(books: &Value, horizon_ms: i64) -> Findings {
    let part = |name: &str| books[name].clone();
    let books = Books {
        orders: serde_json::from_value(part("orders")).expect("orders"),
        issues: serde_json::from_value(part("issues")).expect("issues"),
        ledger: serde_json::from_value(part("ledger")).expect("a ledger"),
    };
    compare(&books, horizon_ms)
}

/// The invariants that the books break after something in them was changed.
fn broken(path: &str, value: Value) -> Vec<u8> {
    let mut books = good();
    *books.pointer_mut(path).unwrap_or_else(|| panic!("{path}")) = value;
    let mut numbers: Vec<u8> = findings(&books, 0)
        .wrong
        .iter()
        .map(|(number, _)| *number)
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// Books that agree are found to agree.
#[test]
fn good_books_agree() {
    let findings = findings(&good(), 0);
    assert!(findings.agree(), "{:?}", findings.wrong);
    assert!(findings.shown(5).ends_with("the books agree\n"));
}

/// Each invariant has changes that break it.
#[test]
fn broken_books_are_found() {
    let second = json!([
        { "outcome": "success", "atom_txn_id": "11000000900001" },
        { "outcome": "success", "atom_txn_id": "11000000900002" },
    ]);
    let cases = [
        ("/orders/0/attempts", second, vec![1]),
        (
            "/orders/0/attempts/1/atom_txn_id",
            json!(null),
            vec![1, 2, 4, 5],
        ),
        ("/orders/0/amount", json!(20_000), vec![2]),
        ("/orders/0/currency", json!("USD"), vec![2]),
        ("/ledger/payments/0/state", json!("failed"), vec![2]),
        ("/orders/0/refunds/1/state", json!("unknown"), vec![3]),
        ("/orders/0/status", json!("refunded"), vec![4]),
        ("/orders/0/refunded_amount", json!(2_000), vec![4]),
        ("/orders/0/refunds/0/state", json!("rejected"), vec![4, 6]),
        ("/ledger/refunds/0/amount", json!(3_001), vec![6]),
        ("/ledger/refunds/0/prod_refund_id", json!("RX"), vec![6]),
        ("/ledger/payments/0/udf1", json!("ord_9"), vec![5]),
    ];
    for (path, value, expected) in cases {
        assert_eq!(broken(path, value.clone()), expected, "{path} = {value}");
    }
}

/// Money paid back twice under one number is found, and so is a capture that nobody knows of when its time is over.
#[test]
fn doubles_and_lost_captures() {
    let mut books = good();
    let again = books["ledger"]["refunds"][0].clone();
    books["ledger"]["refunds"]
        .as_array_mut()
        .expect("an array")
        .push(again);
    let text = findings(&books, 0).shown(9);
    assert!(
        text.contains("invariant 6: Atom paid RF1 back 2 times"),
        "{text}"
    );

    let mut books = good();
    books["orders"][0]["status"] = "pending".into();
    books["orders"][0]["attempts"] = json!([{ "outcome": "none", "atom_txn_id": null }]);
    books["orders"][0]["refunds"] = json!([]);
    books["orders"][0]["refunded_amount"] = 0.into();
    books["ledger"]["refunds"] = json!([]);
    let late = findings(&books, 500_000);
    assert_eq!(late.wrong.first().map(|(number, _)| *number), Some(5));
    assert!(findings(&books, 2_000_000).agree(), "it is young");
    books["issues"] = json!([{ "kind": "amount_mismatch", "order_id": "ord_1" }]);
    let listed = findings(&books, 0);
    assert!(
        listed.agree() && listed.with_issue == 1,
        "a person has it on the list"
    );
}

/// A surplus that went back leaves its order paid; more than was taken is found, whoever it belonged to.
#[test]
fn a_surplus_that_went_back() {
    let mut books = good();
    let surplus = json!({
        "atom_txn_id": 11_000_000_900_002_u64, "merch_txn_id": "G1", "udf1": "ord_1",
        "state": "captured", "amount": 10_000, "currency": "INR", "decided_ms": 0,
    });
    let back = json!({
        "prod_refund_id": "RF3", "atom_txn_id": 11_000_000_900_002_u64, "amount": 10_000, "state": "initiated",
    });
    let ours = json!({ "refund_id": "RF3", "amount": 10_000, "state": "accepted" });
    let list = |books: &mut Value, path: &str, item: Value| {
        let list = books.pointer_mut(path).and_then(Value::as_array_mut);
        list.expect(path).push(item);
    };
    list(&mut books, "/ledger/payments", surplus);
    list(&mut books, "/ledger/refunds", back);
    list(&mut books, "/orders/0/refunds", ours);
    let found = findings(&books, 0);
    assert!(found.agree(), "{:?}", found.wrong);
    books["ledger"]["payments"][1]["amount"] = 9_999.into();
    let text = findings(&books, 0).shown(9);
    let wanted = "invariant 3: of payment 11000000900002 over 9999 10000 went back";
    assert!(text.contains(wanted), "{text}");
}
