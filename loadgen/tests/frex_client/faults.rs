//! Each fault on each call: what the client says of each item, and what the agency has done meanwhile.

use commerce::frex::agency::{Agency, CallError};
use loadgen::frex::call::{CALLS, Call};
use loadgen::frex::faults::{Fault, Kind};
use loadgen::frex::rules::Rules;

use super::support::{self, Order, TIMEOUT_MS};

/// A fault, what comes of the item it concerns and of the other two, and whether the agency has executed the request.
struct Row {
    name: &'static str,
    fault: Fault,
    concerned: &'static str,
    others: &'static str,
    executed: usize,
    violations: usize,
}

fn fault(kind: Kind) -> Fault {
    Fault::on(kind, Call::Bill)
}

fn status(status: u16, executed: bool, retry_after_s: Option<u64>) -> Fault {
    Fault {
        status,
        executed,
        retry_after_s,
        ..fault(Kind::Status)
    }
}

fn delayed(kind: Kind, delay_ms: u64) -> Fault {
    Fault {
        delay_ms,
        late_ms: 60_000,
        ..fault(kind)
    }
}

#[rustfmt::skip]
fn table() -> Vec<Row> {
    let all = |name, fault, shape, executed| Row { name, fault, concerned: shape, others: shape, executed, violations: 0 };
    let one = |name, fault, violations| Row { name, fault, concerned: "ambiguous", others: "answered", executed: 3, violations };
    vec![
        all("refused", fault(Kind::Refuse), "not_sent", 0),
        all("dropped before", fault(Kind::DropBefore), "ambiguous", 0),
        all("dropped after", fault(Kind::DropAfter), "ambiguous", 3),
        all("too slow", delayed(Kind::Delay, TIMEOUT_MS + 500), "ambiguous", 3),
        all("slow but in time", delayed(Kind::Delay, 50), "answered", 3),
        all("trickling", delayed(Kind::Trickle, 200), "ambiguous", 3),
        all("executed late", delayed(Kind::Late, 20), "ambiguous", 0),
        all("401", status(401, false, None), "auth", 0),
        all("403", status(403, false, None), "auth", 0),
        all("404", status(404, false, None), "contract", 0),
        all("302", status(302, false, None), "contract", 0),
        all("418", status(418, false, None), "contract", 0),
        all("400 with a system code", status(400, true, None), "ambiguous", 3),
        all("408", status(408, true, None), "ambiguous", 3),
        all("429", status(429, false, None), "not_executed", 0),
        all("500", status(500, false, None), "ambiguous", 0),
        all("500 after", status(500, true, None), "ambiguous", 3),
        all("503", status(503, true, None), "ambiguous", 3),
        all("503 with Retry-After", status(503, false, Some(7)), "not_executed", 0),
        all("html", fault(Kind::Html), "ambiguous", 3),
        all("broken json", fault(Kind::BrokenJson), "ambiguous", 3),
        all("too long", fault(Kind::Oversize), "ambiguous", 3),
        one("item missing", fault(Kind::MissingItem), 1),
        one("item twice", fault(Kind::ItemTwice), 1),
        one("foreign item", fault(Kind::ForeignItem), 2),
        one("both lists", fault(Kind::BothLists), 1),
        Row { name: "batch refused", fault: fault(Kind::BatchRefused), concerned: "refused E0100002", others: "answered", executed: 2, violations: 0 },
    ]
}

/// Three orders ready for a call, the first of which is the one that faults concern.
async fn orders(agency: &dyn Agency, call: Call) -> Vec<Order> {
    let mut orders = Vec::new();
    for no in ["F-9", "F-1", "F-2"] {
        orders.push(support::ready(agency, call, no).await);
    }
    orders
}

/// For every fault and every call, the client claims what is certain and no more, the items that are not concerned are
/// answered, and the agency has done what the fault says, never twice.
#[tokio::test]
async fn every_fault_on_every_call() {
    for (call, _, _, _) in CALLS {
        for row in table() {
            let name = format!("{} on {}", row.name, call.name());
            let centre = support::centre(Rules::default()).await;
            let client = support::client(&centre);
            let orders = orders(&client, call).await;
            centre.set_faults(vec![Fault {
                call: Some(call),
                order: Some("F-9".into()),
                ..row.fault
            }]);
            let (shapes, violations) = support::make(&client, call, &orders).await;
            assert_eq!(shapes, [row.concerned, row.others, row.others], "{name}");
            assert_eq!(violations, row.violations, "{name}");
            let executed = support::executed(&centre, call);
            assert!(
                executed.is_none_or(|it| it == row.executed),
                "{name}: {executed:?}"
            );
            centre.set_faults(Vec::new());
            centre.advance(60_000);
            let late = row.name == "executed late" && call.request_type().is_some();
            let expected = if late { 3 } else { row.executed };
            let executed = support::executed(&centre, call);
            assert!(
                executed.is_none_or(|it| it == expected),
                "{name}: {executed:?}"
            );
        }
    }
}

/// When the fault is over, the same requests go through: each is accepted, or found to be executed.
#[tokio::test]
async fn repeats_merge_after_the_fault() {
    for call in [Call::Register, Call::Update, Call::Cancel, Call::Bill] {
        let centre = support::centre(Rules::default()).await;
        let client = support::client(&centre);
        let orders = orders(&client, call).await;
        centre.set_faults(vec![Fault::on(Kind::DropAfter, call)]);
        let (lost, _) = support::make(&client, call, &orders).await;
        assert_eq!(lost, ["ambiguous"; 3], "{}", call.name());
        centre.set_faults(Vec::new());
        let (again, _) = support::make(&client, call, &orders).await;
        assert_eq!(again, ["answered"; 3], "{}", call.name());
        assert_eq!(support::executed(&centre, call), Some(3));
    }
}

/// Retry-After reaches the worker, and the item of a pause stops the step rather than the run.
#[tokio::test]
async fn a_pause_says_how_long() {
    let centre = support::centre(Rules::default()).await;
    let client = support::client(&centre);
    centre.set_faults(vec![Fault {
        call: Some(Call::Register),
        ..status(429, false, Some(7))
    }]);
    let answer = client.register(&[support::registration("F-1")]).await;
    let Some(CallError::NotExecuted { retry_after, .. }) = answer.stop() else {
        panic!("{:?}", answer.stop());
    };
    assert_eq!(retry_after.map(|it| it.as_secs()), Some(7));
}

/// One bad item among 250: the batch is cut into parts of 100, the bad one is found by halving, all others are accepted, and
/// none is executed twice.
#[tokio::test]
async fn a_bad_item_is_found_by_halving() {
    let centre = support::centre(Rules::default()).await;
    let client = support::client(&centre);
    centre.set_faults(vec![Fault {
        order: Some("F-177".into()),
        ..Fault::on(Kind::BatchRefused, Call::Register)
    }]);
    let items: Vec<_> = (0..250)
        .map(|n| support::registration(&format!("F-{n:03}")))
        .collect();
    let answer = client.register(&items).await;
    let shapes = support::shapes(&answer);
    for (at, shape) in shapes.iter().enumerate() {
        let expected = if at == 177 {
            "refused E0100002"
        } else {
            "answered"
        };
        assert_eq!(shape, expected, "item {at}");
    }
    let ledger = centre.ledger();
    assert_eq!(ledger.transactions.len(), 249);
    // 100 + 50 + 25 + 13 + 7 + 4 + 2 + 1 at most, on the way down.
    assert!(ledger.faults_fired[0] <= 8, "{:?}", ledger.faults_fired);
}

/// After a failure in the middle of a batch the rest is not sent, and says so.
#[tokio::test]
async fn the_rest_of_a_failed_batch_is_not_sent() {
    let centre = support::centre(Rules::default()).await;
    let client = support::client(&centre);
    centre.set_faults(vec![Fault {
        order: Some("F-150".into()),
        ..Fault::on(Kind::DropAfter, Call::Register)
    }]);
    let items: Vec<_> = (0..300)
        .map(|n| support::registration(&format!("F-{n:03}")))
        .collect();
    let shapes = support::shapes(&client.register(&items).await);
    assert!(shapes[..100].iter().all(|it| it == "answered"));
    assert!(shapes[100..200].iter().all(|it| it == "ambiguous"));
    assert!(shapes[200..].iter().all(|it| it == "not_sent"));
    assert_eq!(centre.ledger().transactions.len(), 200);
}
