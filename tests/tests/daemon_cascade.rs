//! The real daemon settles what a fault leaves open: the cascades of spec/cafis.md 8 from outside, against the ledger of the
//! centre simulator.

use std::time::Duration;

use client::{CentreItem, ClientError, Order, Wait};
use codec::cafis::mti::Mti;
use codec::link::frame::FLAG_QUIET;
use codec::link::message::TransactionState::{Cancelled, Delivered, NotProcessed, Unanswered};
use codec::link::{Kind, rc};
use loadgen::centre::Handle;
use loadgen::centre::ledger::{Anomaly, CancelledBy, Entry};
use tests::daemon::{App, Daemon, PATIENCE, Payment, Plan, RawLink, until};

const ROOT: &str = env!("CARGO_TARGET_TMPDIR");

/// A daemon with short timers, its centre, and an application on the open line.
struct Scene {
    app: App,
    centre: Handle,
    daemon: Daemon,
    plan: Plan,
}

impl Scene {
    /// t31 and t32 in milliseconds.
    fn open(name: &str, t31_ms: u32, t32_ms: u32) -> Scene {
        Scene::with(name, t31_ms, t32_ms, |_| {})
    }

    fn with(name: &str, t31_ms: u32, t32_ms: u32, change: impl Fn(&mut Plan)) -> Scene {
        let mut plan = Plan::new(ROOT, name);
        plan.set("line.timers.t31_ms", t31_ms)
            .set("line.timers.t32_ms", t32_ms);
        change(&mut plan);
        let daemon = Daemon::start(&plan);
        let centre = plan.centre();
        let app = App::open(&plan);
        Scene {
            plan,
            app,
            centre,
            daemon,
        }
    }

    /// Gives the centre an order that it has to take.
    fn centre(&self, order: &str) {
        let reply = self.centre.control(order);
        assert!(reply.starts_with("ok"), "{order}: {reply}");
    }

    /// The centre's entry of a payment, once it is there.
    fn entry(&self, payment: &Payment) -> Entry {
        until("the request at the centre", || {
            self.centre
                .ledger()
                .entries
                .into_iter()
                .find(|entry| entry.key.0 == payment.key)
        })
    }

    /// Waits until the payment is cancelled on both sides, and asserts that this fault message did it, the last of so many.
    fn assert_cancelled(&mut self, payment: &Payment, by: u16, faults: u16) {
        self.app.wait_state(payment, Cancelled);
        let entry = self.entry(payment);
        assert_eq!(entry.cancelled, Some(CancelledBy::Command(Mti(by))));
        assert_eq!(entry.faults, faults, "fault messages that the centre saw");
        let book = self.centre.ledger();
        for anomaly in [
            Anomaly::ImageDiffers,
            Anomaly::Unmasked,
            Anomaly::WrongRoute,
            Anomaly::CancelUnknown,
        ] {
            assert_eq!(book.count(anomaly), 0, "{anomaly:?}");
        }
        self.app.wait_idle();
    }
}

/// A report that is lost: t31 ends the request for its application, 8930 undoes it, and the route serves again.
#[test]
fn silence_is_settled_by_8930() {
    let mut scene = Scene::open("8930", 400, 20_000);
    scene.centre("rule effect=silent mti=3110 count=1");
    let payment = Payment::new(1);
    scene.app.send(&payment).expect("sent");
    assert_eq!(scene.app.ended(), rc::TIME_OUT);
    scene.assert_cancelled(&payment, 8930, 1);
    scene.app.approve(2);
    assert_eq!(scene.daemon.count("settled: Cancelled"), 1);
}

/// The request is lost on its way: the centre never saw it, says so with C56, and the transaction ends as not processed.
#[test]
fn what_the_centre_never_got_is_not_processed() {
    let mut scene = Scene::open("c56", 400, 20_000);
    scene.centre("rule effect=deaf mti=3110 count=1");
    let payment = Payment::new(1);
    scene.app.send(&payment).expect("sent");
    assert_eq!(scene.app.ended(), rc::TIME_OUT);
    scene.app.wait_state(&payment, NotProcessed);
    scene.app.wait_idle();
    scene.app.approve(2);
}

/// The fault message is lost as well: t32 repeats it as 8940, which is settled.
#[test]
fn a_lost_8930_is_repeated_as_8940() {
    let mut scene = Scene::open("8940", 400, 250);
    scene.centre("rule effect=silent mti=3110 count=1");
    scene.centre("rule name=lost effect=deaf mti=8930");
    let payment = Payment::new(1);
    scene.app.send(&payment).expect("sent");
    scene.assert_cancelled(&payment, 8940, 1);
}

/// The application closes its session before the report comes: 8910 undoes the approval; a lost 8910 is repeated as 8920.
#[test]
fn a_closed_session_gives_its_report_up() {
    let mut scene = Scene::open("close", 20_000, 250);
    scene.centre("rule effect=late ms=200 mti=3110");
    for (serial, by) in [(1, 8910), (2, 8920)] {
        if by == 8920 {
            scene.centre("rule effect=deaf mti=8910");
        }
        let payment = Payment::new(serial);
        let mut other = App::open(&scene.plan);
        other.send(&payment).expect("sent");
        other.session.close().expect("closed");
        scene.assert_cancelled(&payment, by, 1);
    }
}

/// The link breaks and is not resumed within `resume_grace`: the report that came meanwhile is undone by 8910.
#[test]
fn a_lost_link_gives_its_reports_up() {
    let mut scene = Scene::open("lost-link", 20_000, 20_000);
    let (mut link, session, _) = RawLink::open(&scene.plan);
    let payment = Payment::new(1);
    link.send(session, 1, FLAG_QUIET, &payment);
    assert_eq!(link.next_frame().0.kind, Kind::Report);
    link.cut();
    scene.assert_cancelled(&payment, 8910, 1);
}

/// A receive that ends with RC_TIME_OUT gives the report up: it is undone when it comes.
#[test]
fn a_receive_that_timed_out_gives_its_report_up() {
    let mut scene = Scene::open("give-up", 20_000, 20_000);
    scene.centre("rule effect=late ms=300 mti=3110");
    let payment = Payment::new(1);
    scene.app.send(&payment).expect("sent");
    assert_eq!(
        scene.app.receive_for(Duration::from_millis(30)),
        Err(ClientError::TimeOut)
    );
    scene.assert_cancelled(&payment, 8910, 1);
}

/// A report that nobody acknowledges is undone after `delivery_limit`; an ACK after that is told that it came too late.
#[test]
fn an_unacknowledged_report_is_undone() {
    let mut scene = Scene::with("limit", 20_000, 20_000, |plan| {
        plan.set("api.delivery_limit_ms", 200);
    });
    let (mut link, session, _) = RawLink::open(&scene.plan);
    let payment = Payment::new(1);
    link.send(session, 7, FLAG_QUIET, &payment);
    assert_eq!(link.next_frame().0.kind, Kind::Report);
    let (ended, _) = link.next_frame();
    assert_eq!(
        (ended.kind, ended.request, ended.code),
        (Kind::Ended, 7, rc::TIME_OUT)
    );
    link.request_frame(Kind::Ack, session, 7);
    let (confirm, _) = link.next_frame();
    assert_eq!((confirm.kind, confirm.code), (Kind::Confirm, rc::TIME_OUT));
    scene.assert_cancelled(&payment, 8910, 1);
}

/// A refusal that nobody took is undone like an approval; an 8970 that nobody took needs nothing.
#[test]
fn an_undelivered_refusal_is_undone_and_an_abnormal_report_is_not() {
    let mut scene = Scene::open("undelivered-kinds", 20_000, 20_000);
    let (mut link, session, _) = RawLink::open(&scene.plan);
    scene.centre("refuse 100 G54");
    let (refused, abnormal) = (Payment::new(1), Payment::new(2));
    link.send(session, 1, FLAG_QUIET, &refused);
    link.next_of(Kind::Report);
    scene.centre("clear");
    scene.centre("code8970 C12");
    link.send(session, 2, FLAG_QUIET, &abnormal);
    link.next_of(Kind::Report);
    link.cut();
    scene.assert_cancelled(&refused, 8910, 1);
    scene.app.wait_state(&abnormal, NotProcessed);
    assert_eq!(scene.entry(&abnormal).faults, 0);
}

/// C12 to the fault message: it is repeated after the retry delay, as often as it takes within the budget.
#[test]
fn a_busy_issuer_is_asked_again() {
    let mut scene = Scene::open("c12", 400, 20_000);
    scene.centre("rule effect=silent mti=3110 count=1");
    scene.centre("rule name=busy effect=code code=C12 mti=8930");
    scene.centre("rule name=again effect=code code=C12 mti=8940 count=2");
    let payment = Payment::new(1);
    scene.app.send(&payment).expect("sent");
    scene.assert_cancelled(&payment, 8940, 4);
}

/// C33 is repeated once; the second C33 raises the alarm and keeps the hold. A probe finds that the centre works again.
#[test]
fn a_congested_centre_is_asked_once_more_and_then_escalated() {
    let mut scene = Scene::open("c33", 400, 20_000);
    scene.centre("rule effect=silent mti=3110 count=1");
    scene.centre("fault-code C33");
    let payment = Payment::new(1);
    scene.app.send(&payment).expect("sent");
    scene
        .daemon
        .wait_log("ALARM transaction 1 is not settled (Congested)");
    assert_eq!(scene.entry(&payment).faults, 2);
    let status = scene.app.status();
    assert_eq!((status.escalated, status.routes_held), (1, 1));
    scene.centre("fault-code off");
    scene.app.wait_state(&payment, Cancelled);
    scene.app.wait_idle();
}

/// C15: the centre has ended service, so the message waits for the next start of it.
#[test]
fn a_cancel_refused_with_c15_waits_for_the_next_start() {
    let mut scene = Scene::open("c15", 400, 20_000);
    scene.centre("rule effect=silent mti=3110 count=1");
    scene.centre("rule name=ended effect=code code=C15 mti=8930");
    let payment = Payment::new(1);
    scene.app.send(&payment).expect("sent");
    until("the refused 8930", || {
        (scene.entry(&payment).faults == 1).then_some(())
    });
    scene
        .app
        .wait_status("a held route", |status| status.routes_held == 1);
    scene
        .app
        .session
        .control(Order::Disconnect, 0)
        .expect("a sign-off");
    scene
        .app
        .session
        .control(Order::Connect, 0)
        .expect("a sign-on");
    scene.assert_cancelled(&payment, 8940, 2);
}

/// C60 to a fault message soon after the opening: the state may not have reached that part of the centre, so the message
/// waits ten seconds and goes again (spec/cafis.md O-18).
#[test]
fn a_cancel_refused_with_c60_waits_and_goes_again() {
    let mut scene = Scene::open("c60", 400, 20_000);
    scene.centre("rule effect=silent mti=3110 count=1");
    scene.centre("rule name=closed effect=code code=C60 mti=8930");
    let payment = Payment::new(1);
    scene.app.send(&payment).expect("sent");
    scene.assert_cancelled(&payment, 8940, 2);
}

/// C13, C14 and C50 in the 8960: the centre has taken the cancel over, and the cascade is over.
#[test]
fn a_cancel_that_the_centre_takes_over_is_settled() {
    let mut scene = Scene::open("taken-over", 400, 20_000);
    for (serial, code) in (1..).zip(["C13", "C14", "C50"]) {
        scene.centre("rule effect=silent mti=3110 count=1");
        scene.centre(&format!("fault-code {code}"));
        let payment = Payment::new(serial);
        scene.app.send(&payment).expect("sent");
        scene.app.wait_state(&payment, Cancelled);
        let entry = scene.entry(&payment);
        assert_eq!(
            (entry.faults, &entry.cancel_code.0),
            (1, code.as_bytes().try_into().expect("three"))
        );
    }
    scene.app.wait_idle();
}

/// A code that says that our data is wrong: the cascade stops, an operator is called, and the route is free.
#[test]
fn a_refused_cancel_calls_an_operator() {
    let mut scene = Scene::open("c55", 400, 20_000);
    scene.centre("rule effect=silent mti=3110 count=1");
    scene.centre("fault-code C55");
    let payment = Payment::new(1);
    scene.app.send(&payment).expect("sent");
    scene
        .daemon
        .wait_log("ALARM the centre refused the cancel of transaction 1 with C55");
    scene.app.wait_idle();
    assert_eq!(scene.entry(&payment).faults, 1);
}

/// The report comes while 8930 is on its way: it is journalled and nothing more, the cancel wins (spec/cafis.md O-30).
#[test]
fn a_late_report_does_not_stop_the_cancel() {
    let mut scene = Scene::open("late", 400, 20_000);
    scene.centre("rule name=report effect=late ms=600 mti=3110");
    scene.centre("rule name=cancel effect=late ms=500 mti=8930");
    let payment = Payment::new(1);
    scene.app.send(&payment).expect("sent");
    assert_eq!(scene.app.ended(), rc::TIME_OUT);
    scene.assert_cancelled(&payment, 8930, 1);
    assert_eq!(
        scene.daemon.count("dropped"),
        0,
        "it is no foreign telegram"
    );
    assert_eq!(
        scene.app.session.receive(Wait::Poll),
        Err(ClientError::NotReady),
        "nobody gets it"
    );
}

/// A report that comes twice, one on a route that asked for nothing, and one with another sequence: each is dropped with an
/// event that names it, and the payment that waits is untouched.
#[test]
fn reports_that_match_nothing_are_dropped_and_told() {
    let mut scene = Scene::open("no-match", 400, 20_000);
    let mut listener = App::open(&scene.plan);
    assert_eq!(
        listener.session.receive_centre(Wait::Poll),
        Err(ClientError::NotReady)
    );
    for (serial, order, why) in [(1, "duplicate", "Duplicate"), (2, "unmatched", "NoMatch")] {
        scene.centre(order);
        scene.app.approve(serial);
        scene.daemon.wait_log(&format!("dropped: {why}"));
        let dropped = loop {
            match listener
                .session
                .receive_centre(Wait::For(PATIENCE))
                .expect("an event")
            {
                CentreItem::Event(event) if event.code == 50 => {
                    break event.dropped.expect("which one");
                }
                _ => {}
            }
        };
        assert_eq!(
            (dropped.mti, dropped.key),
            (*b"3120", Payment::new(serial).key)
        );
    }
    scene.centre("wrong-seq");
    let payment = Payment::new(3);
    scene.app.send(&payment).expect("sent");
    assert_eq!(scene.app.ended(), rc::TIME_OUT);
    assert_eq!(scene.daemon.count("dropped: NoMatch"), 2);
    scene.assert_cancelled(&payment, 8930, 1);
}

/// A turnaround request that stays unanswered is never cancelled: its route is free at t31, and an undelivered answer of one
/// starts nothing either. It cannot be cancelled by order.
#[test]
fn a_turnaround_request_is_never_cancelled() {
    let mut scene = Scene::open("turnaround", 400, 20_000);
    scene.centre("rule effect=silent mti=3510 count=1");
    let silent = Payment::turnaround(1);
    scene.app.send(&silent).expect("sent");
    assert_eq!(scene.app.ended(), rc::TIME_OUT);
    scene.app.wait_idle();
    assert_eq!(scene.app.state(&silent), Unanswered);
    let (mut link, session, _) = RawLink::open(&scene.plan);
    let unread = Payment::turnaround(2);
    link.send(session, 1, FLAG_QUIET, &unread);
    link.next_of(Kind::Report);
    link.cut();
    scene.app.wait_state(&unread, Unanswered);
    let delivered = scene.app.pay(&Payment::turnaround(3)).expect("a report");
    assert_eq!(delivered.telegram.mti, *b"3520");
    assert_eq!(
        scene.app.session.cancel(&Payment::turnaround(3).key),
        Err(ClientError::Refused { code: rc::NG })
    );
    assert!(
        scene
            .centre
            .ledger()
            .entries
            .iter()
            .all(|entry| entry.faults == 0)
    );
}

/// System cancel by key: of an open request by 8930, of a delivered one, found in the journal, by 8910; a cancelled one is
/// a success again, and an unknown key is not in the journal.
#[test]
fn an_application_cancels_by_key() {
    let mut scene = Scene::open("by-key", 20_000, 20_000);
    let mut teller = App::open(&scene.plan);
    let paid = scene.app.approve(1);
    scene.centre("rule effect=silent mti=3110 count=1");
    let open = Payment::new(2);
    scene.app.send(&open).expect("sent");
    scene.entry(&open);
    assert_eq!(teller.session.cancel(&open.key), Ok(()));
    assert_eq!(scene.app.ended(), rc::TIME_OUT);
    scene.assert_cancelled(&open, 8930, 1);
    assert_eq!(scene.app.state(&paid), Delivered);
    assert_eq!(teller.session.cancel(&paid.key), Ok(()));
    scene.assert_cancelled(&paid, 8910, 1);
    assert_eq!(
        teller.session.cancel(&paid.key),
        Ok(()),
        "it is done already"
    );
    assert_eq!(
        scene.entry(&paid).faults,
        1,
        "and nothing was sent for that"
    );
    assert_eq!(
        teller.session.cancel(&Payment::new(77).key),
        Err(ClientError::Refused {
            code: rc::ERR_SEARCHJOURNAL
        })
    );
}

/// A delivered payment of before a restart is found in the journal and cancelled; the terminal's key is all it takes.
#[test]
fn a_cancel_reaches_back_over_a_restart() {
    let mut scene = Scene::open("by-key-restart", 20_000, 20_000);
    let paid = scene.app.approve(1);
    scene.daemon.terminate();
    assert_eq!(scene.daemon.wait_end().code(), Some(0));
    scene.daemon = Daemon::start(&scene.plan);
    scene.app = App::open(&scene.plan);
    assert_eq!(scene.app.session.cancel(&paid.key), Ok(()));
    scene.assert_cancelled(&paid, 8910, 1);
}

/// Two applications order the same cancel while it runs: one fault message goes out, and both are told.
#[test]
fn two_cancels_of_one_payment_are_one() {
    let mut scene = Scene::open("joined", 20_000, 20_000);
    scene.centre("rule name=mute effect=silent mti=3110 count=1");
    scene.centre("rule name=slow effect=late ms=300 mti=8930");
    let payment = Payment::new(1);
    scene.app.send(&payment).expect("sent");
    scene.entry(&payment);
    let tellers: Vec<_> = (0..2)
        .map(|_| {
            let (mut teller, key) = (App::open(&scene.plan), payment.key);
            std::thread::spawn(move || teller.session.cancel(&key))
        })
        .collect();
    for teller in tellers {
        assert_eq!(teller.join().expect("no panic"), Ok(()));
    }
    scene.assert_cancelled(&payment, 8930, 1);
}

/// An ordered cancel that stays unanswered uses up its sends, is told so, and stays alive: it is settled when the centre is back.
#[test]
fn an_ordered_cancel_that_finds_nobody_is_kept() {
    let mut scene = Scene::with("retry-over", 20_000, 120, |plan| {
        plan.set("line.cascade.sends_ordered", 3);
    });
    scene.centre("rule name=mute effect=silent mti=3110 count=1");
    scene.centre("rule name=first effect=deaf mti=8930");
    scene.centre("rule name=again effect=deaf mti=8940");
    let payment = Payment::new(1);
    scene.app.send(&payment).expect("sent");
    scene.entry(&payment);
    assert_eq!(
        scene.app.session.cancel(&payment.key),
        Err(ClientError::Refused {
            code: rc::ERR_RETRY_OVER
        })
    );
    assert_eq!(scene.daemon.count("for transaction 1, send 3"), 1);
    scene.centre("clear");
    scene.app.wait_state(&payment, Cancelled);
    scene.app.wait_idle();
}
