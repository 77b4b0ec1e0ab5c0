//! The real daemon opens and ends service, and carries payments: every sequence of spec/cafis.md 5 from outside.

use std::time::Duration;

use client::{CentreItem, ClientError, Order, Wait};
use codec::cafis::control::CentreControl::{End, EndNotice, LineCheck, Start};
use codec::cafis::header::set_sequence;
use codec::link::message::TransactionState;
use codec::link::rc;
use loadgen::centre::Centre;
use tests::daemon::{App, Daemon, PATIENCE, Payment, Plan, RawCentre, until};

const ROOT: &str = env!("CARGO_TARGET_TMPDIR");

/// A plan whose only session is a scripted one.
fn one_session(name: &str) -> Plan {
    let mut plan = Plan::new(ROOT, name);
    plan.set("line.accept_count", 1);
    plan
}

/// Waits for an event of this code.
fn wait_event(app: &mut App, code: u16) {
    loop {
        match app
            .session
            .receive_centre(Wait::For(PATIENCE))
            .expect("an event")
        {
            CentreItem::Event(event) if event.code == code => return,
            _ => {}
        }
    }
}

/// FX_Connect signs on, a payment passes, FX_Disconnect signs off, and then business is refused as signed off.
#[test]
fn an_application_opens_and_ends_service() {
    let mut plan = Plan::new(ROOT, "on-off");
    plan.set("line.sign_on", "\"command\"");
    let _daemon = Daemon::start(&plan);
    let mut app = App::connect(&plan);
    assert_eq!(
        app.session.control(Order::Connect, 0),
        Err(ClientError::Refused {
            code: rc::ERR_ALL_CENTER_SESSION
        }),
        "nobody is there yet"
    );
    let centre = plan.centre();
    app.wait_status("both sessions", |status| status.sessions == 2);
    app.wait_service("CLOSED");
    assert_eq!(
        app.send(&Payment::new(1)),
        Err(ClientError::Refused {
            code: rc::PKG_IS_SIGNOFF_OR_SWITCHING
        })
    );
    app.session.control(Order::Connect, 0).expect("a sign-on");
    app.wait_service("OPEN");
    let paid = app.approve(2);
    assert_eq!(app.state(&paid), TransactionState::Delivered);
    app.session
        .control(Order::Disconnect, 0)
        .expect("a sign-off");
    app.wait_service("CLOSED");
    assert_eq!(
        app.send(&Payment::new(3)),
        Err(ClientError::Refused {
            code: rc::PKG_IS_SIGNOFF_OR_SWITCHING
        })
    );
    assert_eq!(centre.ledger().entries.len(), 1);
}

/// The centre starts service by 0010, announces its end by 0610, ends it by 0910, and starts it again.
#[test]
fn the_centre_opens_and_ends_service() {
    let mut plan = Plan::new(ROOT, "by-centre");
    plan.set("line.sign_on", "\"command\"");
    let _daemon = Daemon::start(&plan);
    let mut config = plan.centre_config();
    config.start_by_centre = true;
    let centre = Centre::start_thread(config).expect("a centre");
    let mut app = App::open(&plan);
    app.approve(1);
    assert_eq!(centre.control("notice"), "ok 1 lines");
    app.wait_service("PRE-END");
    assert_eq!(
        app.send(&Payment::new(2)),
        Err(ClientError::Refused {
            code: rc::PKG_IS_SIGNOFF_OR_SWITCHING
        })
    );
    assert_eq!(centre.control("end"), "ok 1 lines");
    app.wait_service("CLOSED");
    wait_event(&mut app, 45);
    assert_eq!(centre.control("start"), "ok 1 lines");
    app.wait_open();
    app.approve(3);
}

/// What is under way when the centre announces its end may finish; a time-out in that state is held, and is settled after
/// the next start of service (spec/cafis.md 5.5, 8.7 "closing").
#[test]
fn an_end_holds_what_is_open_until_the_next_start() {
    let mut plan = one_session("held-end");
    plan.set("line.timers.t31_ms", 300);
    let daemon = Daemon::start(&plan);
    let mut centre = RawCentre::open(&plan);
    let mut app = App::open(&plan);
    let payment = Payment::new(1);
    app.send(&payment).expect("sent");
    let request = centre.next_of(3110);
    centre.control(EndNotice);
    centre.next_of(620);
    assert_eq!(app.ended(), rc::TIME_OUT);
    app.wait_status("a held route", |status| status.routes_held == 1);
    centre.control(End);
    // No fault message came in between: the next frame is the answer.
    centre.next_of(920);
    app.wait_service("CLOSED");
    centre.control(Start);
    centre.next_of(120);
    let cancel = centre.next_of(8930);
    assert_eq!(cancel[..10], request[..10], "the same route and sequence");
    centre.answer(&cancel, 8960);
    app.wait_state(&payment, TransactionState::Cancelled);
    app.wait_idle();
    daemon.wait_log("settled: Cancelled");
}

/// 9210 is answered with 9220 on the session that it came on, and on no other.
#[test]
fn a_line_check_is_answered_on_its_own_session() {
    let plan = Plan::new(ROOT, "line-check");
    let _daemon = Daemon::start(&plan);
    let (mut first, mut second) = (RawCentre::connect(&plan), RawCentre::connect(&plan));
    until("a sign-on on either session", || {
        for centre in [&mut first, &mut second] {
            if let Some(Some(request)) = centre.next_within(Duration::from_millis(20)) {
                centre.answer(&request, 7110);
                return Some(());
            }
        }
        None
    });
    App::open(&plan);
    for _ in 0..3 {
        second.control(LineCheck);
        second.next_of(9220);
        first.control(LineCheck);
        first.next_of(9220);
    }
}

/// 0010 crosses 7020: service is open at once, and the late 7110 changes nothing (spec/cafis.md 5.3.3).
#[test]
fn a_start_that_crosses_the_sign_on_opens_at_once() {
    let plan = one_session("crossing-start");
    let daemon = Daemon::start(&plan);
    let mut centre = RawCentre::connect(&plan);
    let request = centre.next_of(7020);
    centre.control(Start);
    centre.next_of(120);
    let mut app = App::open(&plan);
    centre.answer(&request, 7110);
    app.send(&Payment::new(1)).expect("sent");
    let sent = centre.next_of(3110);
    centre.answer(&sent, 3120);
    assert_eq!(app.receive().expect("a report").telegram.mti, *b"3120");
    assert_eq!(daemon.count("dropped"), 0, "it is dropped silently");
}

/// 0910 crosses 0720: 0920 goes out and the sign-off has succeeded. 0610 crosses it: 0620, and then 0910 ends it.
#[test]
fn an_end_that_crosses_the_sign_off_ends_at_once() {
    for notice_first in [false, true] {
        let plan = one_session(&format!("crossing-end-{notice_first}"));
        let _daemon = Daemon::start(&plan);
        let mut centre = RawCentre::open(&plan);
        let mut app = App::open(&plan);
        let order = std::thread::spawn(move || (app.session.control(Order::Disconnect, 0), app));
        centre.next_of(720);
        if notice_first {
            centre.control(EndNotice);
            centre.next_of(620);
        }
        centre.control(End);
        centre.next_of(920);
        let (done, mut app) = order.join().expect("no panic");
        assert_eq!(done, Ok(()));
        app.wait_service("CLOSED");
    }
}

/// A sign-on that nobody answers ends after t34 and is tried again after t36.
#[test]
fn an_unanswered_sign_on_is_repeated() {
    let mut plan = one_session("t34");
    plan.set("line.timers.t34_ms", 150)
        .set("line.timers.t36_ms", 50);
    let daemon = Daemon::start(&plan);
    let mut centre = RawCentre::connect(&plan);
    centre.next_of(7020);
    centre.permit_sign_on();
    App::open(&plan);
    assert_eq!(daemon.count("sign-on was not answered within t34"), 1);
}

/// Approved, refused and abnormal reports reach the application as they are, and are on record as delivered. An 8970 starts
/// no fault message (spec/cafis.md 8.1).
#[test]
fn every_kind_of_report_is_delivered() {
    let plan = Plan::new(ROOT, "reports");
    let _daemon = Daemon::start(&plan);
    let centre = plan.centre();
    let mut app = App::open(&plan);
    app.approve(1);
    assert_eq!(centre.control("refuse 100 G54"), "ok");
    let refused = app.pay(&Payment::new(2)).expect("a report").telegram;
    assert_eq!((refused.mti, &refused.data[..3]), (*b"3150", &b"G54"[..]));
    centre.control("clear");
    for (serial, code) in (3..).zip(["C12", "C50", "C33"]) {
        assert_eq!(centre.control(&format!("code8970 {code}")), "ok");
        let abnormal = app.pay(&Payment::new(serial)).expect("a report").telegram;
        assert_eq!(
            (abnormal.mti, &abnormal.data[..3]),
            (*b"8970", code.as_bytes())
        );
    }
    assert_eq!(app.wait_idle().sequence, 5);
    let book = centre.ledger();
    assert_eq!(book.entries.len(), 5);
    assert!(book.entries.iter().all(|entry| entry.faults == 0));
}

/// Reports on another session than their requests, single bytes a packet, and many frames in one: all of it is the same.
#[test]
fn frames_may_come_in_any_shape_and_on_any_session() {
    let mut plan = Plan::new(ROOT, "shapes");
    plan.set("line.accept_count", 3).set("line.route_count", 16);
    let _daemon = Daemon::start(&plan);
    let centre = plan.centre();
    let mut app = App::open(&plan);
    let mut serial = 0;
    for order in [
        "other-session on",
        "split 1",
        "split 7",
        "split 100",
        "merge 8",
    ] {
        assert_eq!(centre.control(order), "ok");
        for _ in 0..12 {
            serial += 1;
            app.send(&Payment::new(serial)).expect("sent");
        }
        for _ in 0..12 {
            assert_eq!(
                app.receive().expect("a report").telegram.mti,
                *b"3120",
                "{order}"
            );
        }
        centre.control("split off");
        centre.control("merge off");
    }
    app.wait_idle();
    assert_eq!(centre.ledger().entries.len(), 60);
}

/// One session more than contracted closes them all, as the interface asks; the centre connects again and service goes on.
#[test]
fn one_session_too_many_closes_all() {
    let plan = Plan::new(ROOT, "excess");
    let daemon = Daemon::start(&plan);
    let centre = plan.centre();
    let mut app = App::open(&plan);
    app.approve(1);
    assert_eq!(centre.control("excess"), "ok");
    daemon.wait_log("one centre session more than contracted");
    wait_event(&mut app, 43);
    app.wait_status("the contracted sessions", |status| status.sessions == 2);
    app.wait_open();
    app.approve(2);
}

/// One of two sessions is lost: business goes on over the other, and applications hear of it (events 42 and 41).
#[test]
fn service_survives_the_loss_of_a_session() {
    let plan = Plan::new(ROOT, "one-lost");
    let _daemon = Daemon::start(&plan);
    let mut config = plan.centre_config();
    config.timers.reconnect_ms = 500;
    let centre = Centre::start_thread(config).expect("a centre");
    let mut app = App::open(&plan);
    app.approve(1);
    assert_eq!(centre.control("cut"), "ok 1 sessions");
    wait_event(&mut app, 42);
    assert_eq!(app.status().sessions, 1);
    app.approve(2);
    wait_event(&mut app, 41);
    app.approve(3);
}

/// All sessions are lost with payments under way: they are held, and undone when the centre is back (spec/cafis.md 5.6).
#[test]
fn the_loss_of_all_sessions_holds_what_is_open() {
    let plan = Plan::new(ROOT, "all-lost");
    let _daemon = Daemon::start(&plan);
    let centre = plan.centre();
    let mut app = App::open(&plan);
    assert_eq!(centre.control("silent on"), "ok");
    let payments: Vec<Payment> = (1..=3).map(Payment::new).collect();
    for payment in &payments {
        app.send(payment).expect("sent");
    }
    until("the requests at the centre", || {
        (centre.ledger().entries.len() == 3).then_some(())
    });
    assert_eq!(centre.control("clear"), "ok");
    assert_eq!(centre.control("cut all"), "ok 2 sessions");
    for _ in &payments {
        assert_eq!(app.ended(), rc::TIME_OUT);
    }
    payments
        .iter()
        .for_each(|payment| app.wait_state(payment, TransactionState::Cancelled));
    app.wait_open();
    app.wait_idle();
    app.approve(9);
    let book = centre.ledger();
    assert_eq!(
        book.entries
            .iter()
            .filter(|entry| entry.cancelled.is_some())
            .count(),
        3
    );
}

/// The sequence of the gateway's requests rises by one from 000001, whatever becomes of them, and no route is used twice at a
/// time: the smallest free even one is taken.
#[test]
fn sequences_and_routes_are_given_in_order() {
    let plan = one_session("order");
    let _daemon = Daemon::start(&plan);
    let mut centre = RawCentre::open(&plan);
    let mut app = App::open(&plan);
    let mut sent = Vec::new();
    for serial in 0..4 {
        app.send(&Payment::new(serial)).expect("sent");
        sent.push(centre.next_of(3110));
        assert_eq!(
            sent[serial as usize][..10],
            *format!("{:04}{:06}", serial * 2 + 2, serial + 1).as_bytes()
        );
    }
    centre.answer(&sent[1], 3120);
    app.receive().expect("a report");
    app.send(&Payment::new(9)).expect("sent");
    let next = centre.next_of(3110);
    assert_eq!(&next[..10], b"0004000005");
    // A report with another sequence is not this one's.
    let mut wrong = RawCentre::answer_bytes(&next, 3120);
    set_sequence(&mut wrong, 6);
    centre.bytes(&wrong);
    centre.answer(&next, 3120);
    assert_eq!(
        app.receive().expect("a report").telegram.data[32..37],
        Payment::new(9).data[32..37]
    );
}
