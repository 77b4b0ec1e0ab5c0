//! Each fault of the agency on each step: what the worker makes of it, and that the books agree in the end.
//!
//! One world per step, in which every fault has two orders of its own that travel in one call. The agency executes again
//! whatever is repeated, so that merging on its side hides nothing.

use commerce::frex::settings::WorkerSettings;
use loadgen::frex::call::Call;
use loadgen::frex::faults::{Fault, Kind};
use loadgen::frex::rules::{Repeat, Rules};

use crate::rig::{self, Rig, TIMEOUT_MS};

const AMOUNT: i64 = 1_000;
const AMOUNT_NEW: i64 = 1_500;
/// Runs during which the faults last: some of them end a step or a run, and the next fault strikes in the next one.
const FAULTY_RUNS: usize = 10;
const RUNS_MAX: usize = 60;

/// What the shop does with the orders on the way to the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Billed,
    Changed,
    Cancelled,
}

/// A step, or the look-up of what a step left unclear, and how orders come to stand before it.
struct Place {
    name: &'static str,
    call: Call,
    way: Way,
    /// Runs of single steps before it; the shop acts after the second.
    before: &'static [&'static str],
    /// For a look-up: the step whose answers are all lost.
    lost: Option<(&'static str, Call)>,
}

const REGISTERED: &[&str] = &["OrderReg", "OrderResult"];
const APPROVED: &[&str] = &["OrderReg", "OrderResult", "AuthorizeResult"];

#[rustfmt::skip]
const PLACES: [Place; 13] = [
    Place { name: "OrderReg", call: Call::Register, way: Way::Billed, before: &[], lost: None },
    Place { name: "OrderResult", call: Call::Results, way: Way::Billed, before: &["OrderReg"], lost: None },
    Place { name: "UpdateReg", call: Call::Update, way: Way::Changed, before: REGISTERED, lost: None },
    Place { name: "UpdateResult", call: Call::Results, way: Way::Changed, before: &["OrderReg", "OrderResult", "UpdateReg"], lost: None },
    Place { name: "DeleteReg", call: Call::Cancel, way: Way::Cancelled, before: REGISTERED, lost: None },
    Place { name: "DeleteResult", call: Call::Results, way: Way::Cancelled, before: &["OrderReg", "OrderResult", "DeleteReg"], lost: None },
    Place { name: "AuthorizeResult", call: Call::Authorizations, way: Way::Billed, before: REGISTERED, lost: None },
    Place { name: "BillingReg", call: Call::Bill, way: Way::Billed, before: APPROVED, lost: None },
    Place { name: "BillingResult", call: Call::Results, way: Way::Billed, before: &["OrderReg", "OrderResult", "AuthorizeResult", "BillingReg"], lost: None },
    Place { name: "look-up of OrderReg", call: Call::Lookup, way: Way::Billed, before: &[], lost: Some(("OrderReg", Call::Register)) },
    Place { name: "look-up of UpdateReg", call: Call::Lookup, way: Way::Changed, before: REGISTERED, lost: Some(("UpdateReg", Call::Update)) },
    Place { name: "look-up of DeleteReg", call: Call::Lookup, way: Way::Cancelled, before: REGISTERED, lost: Some(("DeleteReg", Call::Cancel)) },
    Place { name: "look-up of BillingReg", call: Call::Lookup, way: Way::Billed, before: APPROVED, lost: Some(("BillingReg", Call::Bill)) },
];

fn once(kind: Kind) -> Fault {
    Fault {
        times: Some(1),
        ..Fault::on(kind, Call::Bill)
    }
}

fn status(status: u16, executed: bool, retry_after_s: Option<u64>) -> Fault {
    Fault {
        status,
        executed,
        retry_after_s,
        ..once(Kind::Status)
    }
}

fn delayed(kind: Kind, delay_ms: u64, late_ms: i64) -> Fault {
    Fault {
        delay_ms,
        late_ms,
        ..once(kind)
    }
}

/// Every fault that strikes requests of certain orders.
fn faults() -> Vec<(&'static str, Fault)> {
    let beyond = TIMEOUT_MS + 150;
    vec![
        ("dropped before", once(Kind::DropBefore)),
        ("dropped after", once(Kind::DropAfter)),
        ("too slow", delayed(Kind::Delay, beyond, 0)),
        ("trickling", delayed(Kind::Trickle, 100, 0)),
        ("late", delayed(Kind::Late, 5, 9 * 60_000)),
        ("401", status(401, false, None)),
        ("403", status(403, false, None)),
        ("404", status(404, false, None)),
        ("302", status(302, false, None)),
        ("system error", status(400, true, None)),
        ("408", status(408, true, None)),
        ("429", status(429, false, None)),
        ("500 before", status(500, false, None)),
        ("500 after", status(500, true, None)),
        ("503", status(503, true, None)),
        ("503 with a wait", status(503, false, Some(7))),
        ("html", once(Kind::Html)),
        ("broken json", once(Kind::BrokenJson)),
        ("too long", once(Kind::Oversize)),
        ("item missing", once(Kind::MissingItem)),
        ("item twice", once(Kind::ItemTwice)),
        ("foreign item", once(Kind::ForeignItem)),
        ("both lists", once(Kind::BothLists)),
        ("numbers swapped", once(Kind::SwapAcceptNo)),
        ("same number", once(Kind::SameAcceptNo)),
        ("number forgotten", once(Kind::ForgetAcceptNo)),
        ("another amount", once(Kind::ResultAmount)),
        ("another order", once(Kind::ResultShop)),
        ("strange word", once(Kind::ScreeningWord)),
        (
            "batch refused",
            Fault {
                times: None,
                ..once(Kind::BatchRefused)
            },
        ),
    ]
}

/// The alert with which an order waits for a person after a fault; none if it goes its way by itself.
fn told(name: &str, place: &Place) -> Option<&'static str> {
    // A request, or the look-up of one.
    let of_request = place.call.request_type().is_some() || place.call == Call::Lookup;
    match (name, place.name) {
        // The first acceptance numbers are no longer known, or were never theirs: nothing is guessed.
        ("numbers swapped" | "number forgotten", _) if of_request => Some("request_unknown"),
        ("same number", _) if place.call == Call::Lookup => Some("request_unknown"),
        ("another order", _) if of_request => Some("contract_violation"),
        ("batch refused", "OrderReg") => Some("registration_refused"),
        ("batch refused", "UpdateReg") => Some("update_refused"),
        ("batch refused", "DeleteReg") => Some("cancel_refused"),
        ("batch refused", "BillingReg") => Some("billing_refused"),
        ("batch refused", _) if place.call == Call::Results => Some("request_unknown"),
        _ => None,
    }
}

fn order_no(fault: usize, of: char) -> String {
    format!("X{fault:02}{of}")
}

async fn prepare(rig: &Rig, place: &Place, orders: &[String]) {
    for order in orders {
        rig::place(&rig.shop, order, AMOUNT).await;
    }
    let act = async || {
        for order in orders {
            match place.way {
                Way::Billed => {}
                Way::Changed => rig.edit(order, AMOUNT_NEW).await,
                Way::Cancelled => {
                    rig.shop.cancel(order).await.expect("a cancel");
                }
            }
        }
    };
    for (count, step) in place.before.iter().enumerate() {
        rig.advance(1);
        let report = rig.run(&[step]).await;
        assert_eq!(
            report.steps[0].done,
            orders.len() as u64,
            "{}: {report:?}",
            place.name
        );
        if count == 1 {
            act().await;
        }
    }
    if let Some((step, call)) = place.lost {
        rig.centre
            .set_faults(vec![Fault::on(Kind::DropAfter, call)]);
        rig.advance(1);
        let report = rig.run(&[step]).await;
        assert_eq!(
            report.steps[0].unknown,
            orders.len() as u64,
            "{}",
            place.name
        );
    }
}

async fn walked(place: &Place) {
    let settings = WorkerSettings {
        // Both orders of a fault in one call, and no other: they stay due at the same time.
        call_items: 2,
        jitter_percent: 0,
        ..WorkerSettings::default()
    };
    let rules = Rules {
        repeat: Repeat::Again,
        ..Rules::default()
    };
    let rig = Rig::new(rules, settings).await;
    let faults = faults();
    let orders: Vec<String> = (0..faults.len())
        .flat_map(|fault| ['a', 'b'].map(|of| order_no(fault, of)))
        .collect();
    prepare(&rig, place, &orders).await;
    let own = faults.iter().enumerate().map(|(at, (_, fault))| Fault {
        call: Some(place.call),
        order: Some(order_no(at, 'a')),
        ..fault.clone()
    });
    rig.centre.set_faults(own.collect());
    for _ in 0..FAULTY_RUNS {
        rig.advance(6);
        let report = rig.run(&[]).await;
        assert!(report.whole(), "{}: {report:?}", place.name);
    }
    // No connection at all during one run.
    rig.centre
        .set_faults(vec![Fault::on(Kind::Refuse, place.call)]);
    rig.advance(6);
    assert!(rig.run(&[]).await.whole());
    rig.centre.set_faults(Vec::new());
    rig.settle(11, RUNS_MAX).await;
    let findings = rig.books().await;
    assert!(findings.agree(), "{}: {}", place.name, findings.shown(9));
    for (at, (name, _)) in faults.iter().enumerate() {
        for of in ['a', 'b'] {
            let order = order_no(at, of);
            let (stage, alerts) = (rig.stage(&order).await, rig.alerts(&order).await);
            let what = format!("{name} on {}: {order} is {stage}, {alerts:?}", place.name);
            // Swapped numbers strike both orders of the call; the same number twice is the first one's.
            let struck = match *name {
                "numbers swapped" => true,
                "same number" => of == 'b',
                _ => of == 'a',
            };
            match told(name, place) {
                Some(kind) if struck => assert!(alerts.iter().any(|it| it == kind), "{what}"),
                _ if place.way == Way::Cancelled => assert_eq!(stage, "cancelled", "{what}"),
                _ => assert_eq!(stage, "billed", "{what}"),
            }
        }
    }
}

macro_rules! walk {
    ($($test:ident: $from:expr, $to:expr;)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                for place in &PLACES[$from..$to] {
                    walked(place).await;
                }
            }
        )+
    };
}

// In parts, so that they run side by side.
walk! {
    faults_on_registration: 0, 2;
    faults_on_change: 2, 4;
    faults_on_cancel: 4, 6;
    faults_on_screening: 6, 7;
    faults_on_billing: 7, 9;
    faults_on_look_ups: 9, 13;
}

/// A billing that is executed after we gave up on it, by an agency that bills again on every repeat: the quiet time outlasts it,
/// the look-up finds it, and it is billed once. The same for the other three mutations.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_execution_is_found_and_not_repeated() {
    for place in PLACES
        .iter()
        .filter(|place| place.call.request_type().is_some())
    {
        for late_min in [1, 9] {
            let rules = Rules {
                repeat: Repeat::Again,
                ..Rules::default()
            };
            let rig = Rig::new(rules, WorkerSettings::default()).await;
            prepare(&rig, place, &["F1".to_owned()]).await;
            rig.centre.set_faults(vec![Fault {
                late_ms: late_min * 60_000,
                delay_ms: 5,
                times: Some(1),
                ..Fault::on(Kind::Late, place.call)
            }]);
            rig.settle(2, 120).await;
            let findings = rig.books().await;
            assert!(
                findings.agree(),
                "{} {late_min}: {}",
                place.name,
                findings.shown(9)
            );
            assert_eq!(findings.alerted, 0, "{} {late_min}", place.name);
            let ledger = rig.centre.ledger();
            let kind = place.call.request_type().expect("a mutation");
            let executed = ledger
                .acceptances
                .iter()
                .filter(|it| it.request_type == kind)
                .count();
            assert_eq!(executed, 1, "{} executed more than once", place.name);
        }
    }
}

/// The fault that a quiet time cannot cure is told: an agency that executes later than it ever may. Then it bills twice, and
/// the books say so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_books_see_a_second_bill() {
    let rules = Rules {
        repeat: Repeat::Again,
        ..Rules::default()
    };
    let rig = Rig::new(rules, WorkerSettings::default()).await;
    let billing = PLACES.iter().find(|place| place.name == "BillingReg");
    prepare(&rig, billing.expect("a step"), &["F1".to_owned()]).await;
    rig.centre.set_faults(vec![Fault {
        late_ms: 60 * 60_000,
        delay_ms: 5,
        times: Some(1),
        ..Fault::on(Kind::Late, Call::Bill)
    }]);
    rig.settle(6, 60).await;
    assert!(rig.books().await.agree());
    rig.advance(60);
    let findings = rig.books().await;
    assert_eq!(findings.wrong[0].0, 1, "{}", findings.shown(9));
}

/// An agency that answers repeats by "already": the first acceptance is taken on, with its number and without.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn already_done_is_taken_on() {
    for already_names_number in [true, false] {
        for place in PLACES
            .iter()
            .filter(|place| place.call.request_type().is_some())
        {
            let rules = Rules {
                repeat: Repeat::Already,
                already_names_number,
                // Long invisible to look-ups: the request is sent again, although it had arrived.
                lookup_lag_ms: 25 * 60_000,
                ..Rules::default()
            };
            let rig = Rig::new(rules, WorkerSettings::default()).await;
            prepare(&rig, place, &["F1".to_owned()]).await;
            rig.centre.set_faults(vec![Fault {
                times: Some(1),
                ..Fault::on(Kind::DropAfter, place.call)
            }]);
            rig.settle(6, 120).await;
            let findings = rig.books().await;
            assert!(findings.agree(), "{}: {}", place.name, findings.shown(9));
            let end = if place.way == Way::Cancelled {
                "cancelled"
            } else {
                "billed"
            };
            assert_eq!(
                rig.stage("F1").await,
                end,
                "{} {already_names_number}: {:?}",
                place.name,
                rig.alerts("F1").await
            );
        }
    }
}
