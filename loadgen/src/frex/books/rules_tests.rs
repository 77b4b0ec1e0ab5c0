//! Each invariant is broken once, and the finding names it; what may look odd and is right is not complained about.

use serde_json::{Value, json};

use super::rules::{Books, Findings, Tables, compare};

/// Books in which one order was registered, changed, approved and billed; one is cancelled, one refused, one to be begun.
fn good() -> Value {
    let request = |no: &str, kind: &str, seq: u64, accept_no: &str, amount: u64| {
        json!({ "order_no": no, "kind": kind, "seq": seq, "key": format!("{no}:{kind}:{seq}"),
                "state": "COMPLETE", "accept_no": accept_no, "amount": amount })
    };
    let acceptance = |accept_no: &str, key: &str, np: &str, amount: u64| {
        json!({ "acceptNo": accept_no, "requestKey": key, "requestType": "", "atMs": 0,
                "npTransactionId": np, "billedAmount": amount, "codes": [], "polls": 1 })
    };
    let transaction = |no: &str, np: &str, amount: u64, word: &str| {
        json!({ "npTransactionId": np, "shopTransactionId": no, "billedAmount": amount, "registeredBy": "",
                "registeredMs": 0, "authoriResult": word, "authoriNg": null, "updates": 0, "bills": [],
                "cancelledMs": null, "paidMs": null })
    };
    let mut billed = transaction("F1", "18000000001", 900, "00");
    billed["bills"] =
        json!([{ "requestKey": "F1:BILLING_REG:0", "acceptNo": "A3", "amount": 900, "atMs": 0 }]);
    let mut cancelled = transaction("F2", "18000000002", 500, "00");
    cancelled["cancelledMs"] = 5.into();
    json!({
        "orders": [
            { "order_no": "F1", "str_state": "REG", "str_order_state": "ORDEREND", "str_money_input": "PAYMENT", "amount": 900,
              "state": { "np": "18000000001", "reg": "COMPLETE", "result": "COMPLETE", "authorize": "COMPLETE",
                         "billing": "COMPLETE", "billed_amount": 900, "delete_rejected": false, "close_reason": "" } },
            { "order_no": "F2", "str_state": "DEL", "str_order_state": "ACCEPT", "str_money_input": "SBPAYMENT", "amount": 500,
              "state": { "np": "18000000002", "reg": "COMPLETE", "result": "CANCEL", "authorize": "NONE",
                         "billing": "NONE", "billed_amount": 500, "delete_rejected": false, "close_reason": "CUSTOMER" } },
            { "order_no": "F3", "str_state": "DEL", "str_order_state": "ACCEPT", "str_money_input": "SBPAYMENT", "amount": 700,
              "state": { "np": "18000000003", "reg": "COMPLETE", "result": "CANCEL", "authorize": "NG",
                         "billing": "NONE", "billed_amount": 700, "delete_rejected": false, "close_reason": "FREX_NG" } },
            { "order_no": "F4", "str_state": "DEL", "str_order_state": "ACCEPT", "str_money_input": "SBPAYMENT", "amount": 1,
              "state": null },
        ],
        "requests": [
            request("F1", "ORDER_REG", 0, "A1", 1_000), request("F1", "UPDATE_REG", 0, "A2", 900),
            request("F1", "BILLING_REG", 0, "A3", 900), request("F1", "BILLING_RESULT", 0, "A3", 0),
            request("F2", "DELETE_REG", 0, "ALREADY-CANCELLED", 0),
        ],
        "alerts": [["F3", "screening_ng"]],
        "ledger": {
            "nowMs": 10, "received": [], "late": 0, "faultsFired": [],
            "transactions": [billed, cancelled, transaction("F3", "18000000003", 700, "20")],
            "acceptances": [
                acceptance("A1", "F1:ORDER_REG:0", "18000000001", 1_000),
                acceptance("A2", "F1:UPDATE_REG:0", "18000000001", 900),
                acceptance("A3", "F1:BILLING_REG:0", "18000000001", 900),
                acceptance("A4", "F9:DELETE_REG:public-7", "18000000002", 500),
            ],
        },
    })
}

fn findings(books: &Value, running: bool) -> Findings {
    let part = |name: &str| books[name].clone();
    let tables = Tables {
        orders: serde_json::from_value(part("orders")).expect("orders"),
        requests: serde_json::from_value(part("requests")).expect("requests"),
        alerts: serde_json::from_value(part("alerts")).expect("alerts"),
    };
    let ledger = serde_json::from_value(part("ledger")).expect("a ledger");
    compare(&Books { tables, ledger }, running)
}

fn numbers(findings: &Findings) -> Vec<u8> {
    let mut numbers: Vec<u8> = findings.wrong.iter().map(|(number, _)| *number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// Books after changes at some places.
fn changed(changes: &[(&str, Value)]) -> Value {
    let mut books = good();
    for (path, value) in changes {
        *books
            .pointer_mut(path)
            .unwrap_or_else(|| panic!("no {path}")) = value.clone();
    }
    books
}

/// Good books agree, at rest and while the worker runs, and every line of what is shown has its counts.
#[test]
fn good_books_agree() {
    for running in [false, true] {
        let findings = findings(&good(), running);
        assert!(findings.agree(), "{:?}", findings.wrong);
        let shown = findings.shown(20);
        assert!(
            shown.contains("orders    1 billed, 2 cancelled, 1 refused\n"),
            "{shown}"
        );
        assert!(shown.contains("requests  5 COMPLETE\n"), "{shown}");
        assert!(
            shown.contains("agency    3 transactions, 1 bills of 900 yen\n"),
            "{shown}"
        );
        assert!(shown.ends_with("the books agree\n"), "{shown}");
    }
}

/// Each change breaks the invariant it is about, and no other.
#[test]
fn each_break_is_named() {
    let bill = |amount: u64| json!({ "requestKey": "F1:BILLING_REG:0", "acceptNo": "A3", "amount": amount, "atMs": 0 });
    let second = {
        let mut it = good()["ledger"]["transactions"][1].clone();
        it["shopTransactionId"] = "F1".into();
        it["npTransactionId"] = "18000000009".into();
        it["cancelledMs"] = Value::Null;
        it
    };
    let order = |at: usize, name: &str| format!("/orders/{at}/{name}");
    /// What is wrong, the changes that make it so, and the rules that must see it.
    type Case = (&'static str, Vec<(String, Value)>, &'static [u8]);
    let cases: Vec<Case> = vec![
        (
            "billed twice",
            vec![(
                "/ledger/transactions/0/bills".into(),
                json!([bill(900), bill(900)]),
            )],
            &[1, 2],
        ),
        (
            "registered twice",
            vec![("/ledger/transactions/2".into(), second)],
            &[1, 9],
        ),
        (
            "a foreign transaction",
            vec![(
                "/ledger/transactions/1/shopTransactionId".into(),
                "X1".into(),
            )],
            &[1],
        ),
        (
            "begun there only",
            vec![("/orders/1/state".into(), Value::Null)],
            &[1],
        ),
        (
            "billed here only",
            vec![("/ledger/transactions/0/bills".into(), json!([]))],
            &[2],
        ),
        (
            "billed there only",
            vec![(order(0, "state/billing"), "NONE".into())],
            &[2, 9],
        ),
        (
            "another amount billed",
            vec![("/ledger/transactions/0/bills".into(), json!([bill(899)]))],
            &[4],
        ),
        (
            "the order is worth more",
            vec![(order(0, "amount"), 901.into())],
            &[4],
        ),
        (
            "the agency has another amount",
            vec![("/ledger/transactions/0/billedAmount".into(), 901.into())],
            &[4],
        ),
        (
            "columns of a billed order",
            vec![(order(0, "str_money_input"), "SBPAYMENT".into())],
            &[2],
        ),
        (
            "released without approval",
            vec![
                (order(0, "str_money_input"), "TEMPPAYMENT".into()),
                (order(0, "state/billing"), "NONE".into()),
                (order(0, "state/authorize"), "NONE".into()),
                ("/ledger/transactions/0/bills".into(), json!([])),
            ],
            &[3, 9],
        ),
        (
            "alive at the agency",
            vec![("/ledger/transactions/1/cancelledMs".into(), Value::Null)],
            &[5],
        ),
        (
            "cancel refused in silence",
            vec![
                (order(1, "state/delete_rejected"), true.into()),
                (order(1, "state/result"), "COMPLETE".into()),
                (order(1, "state/close_reason"), "".into()),
            ],
            &[5],
        ),
        (
            "nothing holds the lock",
            vec![(order(1, "state/result"), "UPDATE".into())],
            &[6, 9],
        ),
        (
            "left in SENDING",
            vec![("/requests/1/state".into(), "SENDING".into())],
            &[7],
        ),
        (
            "no number",
            vec![("/requests/0/accept_no".into(), "".into())],
            &[8],
        ),
        (
            "a number of nobody",
            vec![("/requests/0/accept_no".into(), "A9".into())],
            &[8],
        ),
        (
            "accepted, unknown here",
            vec![("/requests/1/key".into(), "F1:UPDATE_REG:5".into())],
            &[8],
        ),
        (
            "accepted, skipped here",
            vec![("/requests/1/state".into(), "SKIPPED".into())],
            &[8],
        ),
        (
            "refused here only",
            vec![("/ledger/transactions/2/authoriResult".into(), "00".into())],
            &[9],
        ),
        (
            "never begun",
            vec![(order(3, "str_state"), "REG".into())],
            &[9],
        ),
        (
            "another transaction",
            vec![(order(0, "state/np"), "18000000007".into())],
            &[9],
        ),
        (
            "cancelled there only",
            vec![("/ledger/transactions/0/cancelledMs".into(), 3.into())],
            &[9],
        ),
    ];
    for (name, changes, expected) in cases {
        let changes: Vec<(&str, Value)> = changes
            .iter()
            .map(|(path, value)| (path.as_str(), value.clone()))
            .collect();
        let findings = findings(&changed(&changes), false);
        assert_eq!(numbers(&findings), expected, "{name}: {:?}", findings.wrong);
        assert!(
            findings.shown(0).ends_with("the books DISAGREE\n"),
            "{name}"
        );
    }
}

/// An open alert excuses an order that stands still, and while the worker runs so does time; neither excuses a second bill.
#[test]
fn alerts_and_time_excuse_what_stands_still() {
    let open = [("/orders/3/str_state", json!("REG"))];
    assert_eq!(numbers(&findings(&changed(&open), false)), [9]);
    assert!(findings(&changed(&open), true).agree());
    let told = [
        open[0].clone(),
        ("/alerts", json!([["F4", "buyer_data_invalid"]])),
    ];
    assert!(findings(&changed(&told), false).agree());
    let twice = json!([{ "requestKey": "", "acceptNo": "A3", "amount": 900, "atMs": 0 }, { "requestKey": "", "acceptNo": "A3", "amount": 900, "atMs": 0 }]);
    let told = [
        ("/alerts", json!([["F1", "billed_amount_mismatch"]])),
        ("/ledger/transactions/0/bills", twice),
    ];
    assert!(numbers(&findings(&changed(&told), true)).contains(&1));
}
