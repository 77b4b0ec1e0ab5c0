//! A centre that says nothing until every route is held, and its return.

use client::ClientError;
use codec::link::message::TransactionState::{Cancelled, NotProcessed};
use codec::link::rc;
use tests::daemon::{App, Daemon, Payment, Plan, until};

const ROOT: &str = env!("CARGO_TARGET_TMPDIR");

/// A line of four routes that gives up after two fault messages.
fn plan(name: &str) -> Plan {
    let mut plan = Plan::new(ROOT, name);
    plan.set("line.route_count", 4)
        .set("line.timers.t31_ms", 400)
        .set("line.timers.t32_ms", 100)
        .set("line.cascade.sends_automatic", 2);
    plan
}

/// Every route is held by payments that a deaf centre never saw: the alarm is raised at half of them, new business is
/// refused as route busy, and nothing is lost. When the centre hears again a probe wakes all of them, each is settled, and
/// the routes serve again.
#[test]
fn a_line_survives_a_silent_centre() {
    let plan = plan("silent");
    let daemon = Daemon::start(&plan);
    let centre = plan.centre();
    let mut app = App::open(&plan);
    app.approve(100);
    assert_eq!(centre.control("deaf on"), "ok");
    let payments: Vec<Payment> = (1..=4).map(Payment::new).collect();
    for payment in &payments {
        app.send(payment).expect("sent");
    }
    for _ in &payments {
        assert_eq!(app.ended(), rc::TIME_OUT);
    }
    daemon.wait_log("ALARM 2 of 4 routes are held");
    daemon.wait_log_times("is not settled (SendsUsedUp)", 4);
    assert_eq!(
        app.send(&Payment::new(5)),
        Err(ClientError::Refused {
            code: rc::ROUTE_BUSY
        })
    );
    let status = app.status();
    assert_eq!(
        (status.service, status.routes_held, status.escalated),
        (4, 4, 4)
    );
    assert_eq!(centre.control("deaf off"), "ok");
    for payment in &payments {
        app.wait_state(payment, NotProcessed);
    }
    let status = app.wait_idle();
    assert_eq!((status.routes_held, status.sequence), (0, 5));
    for serial in 6..12 {
        app.approve(serial);
    }
}

/// The centre processes everything and its answers are lost: on its return every approval is undone at the centre.
#[test]
fn approvals_behind_the_silence_are_undone() {
    let plan = plan("mute");
    let daemon = Daemon::start(&plan);
    let centre = plan.centre();
    let mut app = App::open(&plan);
    assert_eq!(centre.control("silent on"), "ok");
    let payments: Vec<Payment> = (1..=4).map(Payment::new).collect();
    for payment in &payments {
        app.send(payment).expect("sent");
    }
    for _ in &payments {
        assert_eq!(app.ended(), rc::TIME_OUT);
    }
    daemon.wait_log_times("is not settled (SendsUsedUp)", 4);
    assert_eq!(centre.control("silent off"), "ok");
    for payment in &payments {
        app.wait_state(payment, Cancelled);
    }
    app.wait_idle();
    let book = centre.ledger();
    assert!(book.entries.iter().all(|entry| entry.cancelled.is_some()));
    app.approve(9);
}

/// Where the line buffers, a fifth payment waits for a route and is approved when one is free; with a silent centre it ends
/// after t31 as route busy, and was never sent.
#[test]
fn buffered_payments_wait_their_turn() {
    let mut plan = plan("buffering");
    plan.set("line.route_busy", "\"buffering\"")
        .set("line.timers.t31_ms", 800);
    let _daemon = Daemon::start(&plan);
    let centre = plan.centre();
    let mut app = App::open(&plan);
    let mut waiting = App::open(&plan);
    assert_eq!(centre.control("late 300"), "ok");
    for serial in 1..=4 {
        app.send(&Payment::new(serial)).expect("sent");
    }
    // Its send returns when it has a route, so after the first report.
    waiting.approve(5);
    for _ in 1..=4 {
        assert_eq!(app.receive().expect("a report").telegram.mti, *b"3120");
    }
    assert_eq!(centre.control("clear"), "ok");
    assert_eq!(centre.control("deaf on"), "ok");
    for serial in 6..=9 {
        app.send(&Payment::new(serial)).expect("sent");
    }
    let late = waiting.send(&Payment::new(10)).expect_err("no route");
    assert_eq!(
        late,
        ClientError::Refused {
            code: rc::ROUTE_BUSY
        }
    );
    assert_eq!(centre.control("deaf off"), "ok");
    app.wait_idle();
    until("the fifth was never sent", || {
        let book = centre.ledger();
        (!book
            .entries
            .iter()
            .any(|entry| entry.key.0 == Payment::new(10).key))
        .then_some(())
    });
}
