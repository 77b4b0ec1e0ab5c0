//! The real daemon is killed at any moment, and stopped in order: what was open is settled by itself afterwards, and the books
//! of application, journal and centre agree.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use client::{ClientError, Order, Wait};
use codec::link::message::TransactionState::{Cancelled, Delivered, Reported};
use codec::link::{Kind, rc};
use loadgen::books::app::AppEntry;
use tests::daemon::{
    App, Daemon, PATIENCE, Payment, Plan, RawLink, app_entry, assert_books_agree,
    assert_two_books_agree, settled_and_stopped, until,
};

const ROOT: &str = env!("CARGO_TARGET_TMPDIR");
/// How often the daemon is killed under load.
const KILLS: u32 = 30;
/// Applications that pay all the time.
const TELLERS: u32 = 6;

/// What the log says when a segment is full.
const GOES_ON: &str = "journal goes on in";

/// A small generator of numbers, so that a run can be repeated by its seed.
struct Random(u64);

impl Random {
    /// The seed comes from `SEKISHO_SEED`, or from the clock; it is printed, and shown when the test fails.
    fn new() -> Random {
        let given = std::env::var("SEKISHO_SEED")
            .ok()
            .and_then(|text| text.parse().ok());
        let seed = given.unwrap_or_else(|| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            now.expect("after 1970").as_nanos() as u64
        });
        println!("SEKISHO_SEED={seed}");
        Random(seed | 1)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// What the applications did, over all of the daemon's lives.
#[derive(Default)]
struct Till {
    stop: AtomicBool,
    paid: AtomicU32,
    next: AtomicU32,
    book: Mutex<Vec<AppEntry>>,
}

impl Till {
    /// Pays until it is told to stop. A daemon that is away is waited for, as an application would.
    fn teller(&self, plan: &Plan) {
        let mut app: Option<App> = None;
        while !self.stop.load(Ordering::Relaxed) {
            let Some(open) = &mut app else {
                app = App::try_connect(plan);
                // Not there yet, or here: no reason to ask without a pause.
                std::thread::sleep(Duration::from_millis(2));
                continue;
            };
            let payment = Payment::new(self.next.fetch_add(1, Ordering::Relaxed));
            let result = open
                .send(&payment)
                .and_then(|_| open.receive_for(Duration::from_secs(2)));
            let entry = app_entry(&payment, &result);
            let lost = matches!(
                result,
                Err(ClientError::SessionLost | ClientError::LinkLost)
            );
            if result.is_ok() {
                self.paid.fetch_add(1, Ordering::Relaxed);
            } else {
                // Refused while the line is not open: no reason to fill the books with that.
                std::thread::sleep(Duration::from_millis(5));
            }
            self.book.lock().expect("no teller panics").push(entry);
            if lost {
                app = None;
            }
        }
    }
}

/// `kill -9` at random moments of start, recovery and load, thirty times, with payments under way on six applications and a
/// centre that is slow, refuses, and loses answers: afterwards everything is settled by itself. What an application holds is
/// approved at the centre, nothing delivered was cancelled, no sequence number and no payment came twice, and of the card only
/// what a cancel needs is on the disk and nothing in the log.
#[test]
fn the_books_agree_after_kills_at_any_moment() {
    let mut random = Random::new();
    let mut plan = Plan::new(ROOT, "kills");
    plan.set("api.resume_grace_ms", 150)
        .set("line.route_count", 16)
        .set("line.timers.t31_ms", 600)
        .set("line.timers.t32_ms", 300);
    let centre = plan.centre();
    for order in [
        "rule effect=delay ms=0 ms_to=20 mti=3110",
        "refuse 10 G54",
        "rule name=loses-reports effect=silent mti=3110 percent=2",
        "rule name=loses-requests effect=deaf mti=3110 percent=1",
        "rule name=loses-cancels effect=deaf mti=8930 percent=10",
    ] {
        assert!(centre.control(order).starts_with("ok"), "{order}");
    }
    let till = Arc::new(Till::default());
    let tellers: Vec<_> = (0..TELLERS)
        .map(|_| {
            let (till, plan) = (till.clone(), plan.clone());
            std::thread::spawn(move || till.teller(&plan))
        })
        .collect();
    let mut logs = Vec::new();
    for kill in 0..KILLS {
        let mut daemon = Daemon::launch(&plan);
        if kill % 3 == 0 {
            // Somewhere in its start, its recovery or its first payments.
            std::thread::sleep(Duration::from_millis(random.below(500)));
        } else {
            let goal = till.paid.load(Ordering::Relaxed) + 1 + random.below(150) as u32;
            until("payments", || {
                (till.paid.load(Ordering::Relaxed) >= goal || !daemon.runs()).then_some(())
            });
            std::thread::sleep(Duration::from_micros(random.below(20_000)));
        }
        assert!(
            daemon.runs(),
            "kill {kill}: the daemon ended by itself: {:#?}",
            daemon.log()
        );
        daemon.kill();
        logs.extend(daemon.log());
    }
    let mut daemon = Daemon::start(&plan);
    let goal = till.paid.load(Ordering::Relaxed) + 100;
    until("payments after the last kill", || {
        (till.paid.load(Ordering::Relaxed) >= goal).then_some(())
    });
    till.stop.store(true, Ordering::Relaxed);
    for teller in tellers {
        teller.join().expect("no panic");
    }
    settled_and_stopped(&mut App::open(&plan), &mut daemon);
    logs.extend(daemon.log());
    let book = std::mem::take(&mut *till.book.lock().expect("no teller panicked"));
    let findings = assert_books_agree(&plan, &centre, book);
    println!("{findings}");
    assert!(findings.centre > u64::from(KILLS), "{findings}");
    assert_no_card_data(&plan, &logs);
}

/// The same while the journal goes on from segment to segment and recycles the old ones as soon as it may: each kill falls
/// within some milliseconds of such a change. The journal forgets what is settled, so two books are compared.
#[test]
fn kills_while_segments_change() {
    let mut random = Random::new();
    let mut plan = Plan::new(ROOT, "segments");
    plan.set("api.resume_grace_ms", 150)
        .set("line.route_count", 16)
        .set("line.timers.t31_ms", 1000)
        .set("journal.retention_days", 0)
        .set("journal.segments_max", 6);
    let centre = plan.centre();
    let till = Arc::new(Till::default());
    let tellers: Vec<_> = (0..8)
        .map(|_| {
            let (till, plan) = (till.clone(), plan.clone());
            std::thread::spawn(move || till.teller(&plan))
        })
        .collect();
    for kill in 0..4 {
        let mut daemon = Daemon::start(&plan);
        let (first, changes) = (daemon.count(GOES_ON), 1 + kill % 2);
        daemon.wait_log_times(GOES_ON, first + changes);
        std::thread::sleep(Duration::from_micros(random.below(15_000)));
        assert!(daemon.runs(), "{:#?}", daemon.log());
        daemon.kill();
    }
    let mut daemon = Daemon::start(&plan);
    daemon.wait_log_times(GOES_ON, 1);
    till.stop.store(true, Ordering::Relaxed);
    for teller in tellers {
        teller.join().expect("no panic");
    }
    settled_and_stopped(&mut App::open(&plan), &mut daemon);
    assert!(plan.segments(0).len() <= 6, "old segments are recycled");
    let book = std::mem::take(&mut *till.book.lock().expect("no teller panicked"));
    let findings = assert_two_books_agree(&plan, &centre, book);
    assert!(findings.app > 1000, "{findings}");
}

/// Nothing that PCI DSS forbids to keep is in any segment, and no card number in the log.
fn assert_no_card_data(plan: &Plan, logs: &[String]) {
    let holds = |bytes: &[u8], text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
    for path in plan.segments(0) {
        let bytes = std::fs::read(&path).expect("a segment");
        assert!(
            !holds(&bytes, b"=99121012080"),
            "discretionary data in {}",
            path.display()
        );
    }
    for line in logs {
        assert!(!line.contains("4111111111111111"), "{line}");
    }
}

/// A daemon that was killed with one payment in every state settles each as it stands: sent becomes 8930, reported 8910,
/// a cancel under way goes on as 8940, and the delivered one stays.
#[test]
fn each_state_is_settled_as_it_stood() {
    let mut plan = Plan::new(ROOT, "states");
    plan.set("line.timers.t31_ms", 600);
    let mut daemon = Daemon::start(&plan);
    let centre = plan.centre();
    let mut app = App::open(&plan);
    let delivered = app.approve(1);
    for order in [
        "rule effect=silent mti=3110 count=2",
        "rule name=lost effect=deaf mti=8930",
    ] {
        assert!(centre.control(order).starts_with("ok"));
    }
    let cancelling = Payment::new(2);
    app.send(&cancelling).expect("sent");
    daemon.wait_log("8930 for transaction 2, send 1");
    let sent = Payment::new(3);
    app.send(&sent).expect("sent");
    until("two requests", || {
        (centre.ledger().entries.len() == 3).then_some(())
    });
    let reported = Payment::new(4);
    let (mut link, session, _) = RawLink::open(&plan);
    link.send(session, 1, 0, &reported);
    link.next_of(Kind::Report);
    assert_eq!(app.state(&reported), Reported);
    daemon.kill();
    centre.control("clear");
    let daemon = Daemon::start(&plan);
    daemon.wait_log("3 transactions were left open by the last stop");
    daemon.wait_log("the last stop was no shutdown");
    let mut app = App::open(&plan);
    for payment in [&cancelling, &sent, &reported] {
        app.wait_state(payment, Cancelled);
    }
    assert_eq!(app.state(&delivered), Delivered);
    daemon.wait_log("recovery is over");
    let book = centre.ledger();
    let by = |payment: &Payment| {
        let entry = book
            .entries
            .iter()
            .find(|entry| entry.key.0 == payment.key)
            .expect("an entry");
        entry.cancelled.map(|by| format!("{by:?}"))
    };
    assert_eq!(by(&delivered), None);
    assert!(by(&cancelling).expect("cancelled").contains("8940"));
    assert!(by(&sent).expect("cancelled").contains("8930"));
    assert!(by(&reported).expect("cancelled").contains("8910"));
}

/// An application that held the report when the daemon died resumes within `resume_grace` and says so: the payment is
/// delivered, and recovery leaves it alone.
#[test]
fn an_ack_after_the_crash_still_counts() {
    let mut plan = Plan::new(ROOT, "late-ack");
    plan.set("api.resume_grace_ms", 3000);
    let mut daemon = Daemon::start(&plan);
    let centre = plan.centre();
    App::open(&plan);
    let payment = Payment::new(1);
    let (mut link, session, token) = RawLink::open(&plan);
    link.send(session, 1, 0, &payment);
    link.next_of(Kind::Report);
    daemon.kill();
    let _daemon = Daemon::start(&plan);
    let mut link = RawLink::connect(&plan);
    link.greet();
    link.frame(codec::link::Head::new(Kind::Resume), &token);
    let (opened, _) = link.next_of(Kind::Opened);
    link.request_frame(Kind::Ack, opened.session, 1);
    let (confirm, _) = link.next_of(Kind::Confirm);
    assert_eq!((confirm.request, confirm.code), (1, rc::OK));
    let mut app = App::open(&plan);
    assert_eq!(app.state(&payment), Delivered);
    app.wait_idle();
    assert!(
        centre
            .ledger()
            .entries
            .iter()
            .all(|entry| entry.faults == 0 && entry.cancelled.is_none())
    );
}

/// An application whose payment was under way when the daemon died resumes, and is told at once that the daemon settles it:
/// it does not wait for its own timer.
#[test]
fn a_resumed_application_is_told_at_once() {
    let mut plan = Plan::new(ROOT, "told");
    plan.set("api.resume_grace_ms", 1000);
    let mut daemon = Daemon::start(&plan);
    let centre = plan.centre();
    assert_eq!(
        centre.control("rule effect=silent mti=3110 count=1"),
        "ok silent"
    );
    let payment = Payment::new(1);
    let mut app = App::open(&plan);
    app.send(&payment).expect("sent");
    until("the request", || {
        (centre.ledger().entries.len() == 1).then_some(())
    });
    daemon.kill();
    let _daemon = Daemon::start(&plan);
    let begin = Instant::now();
    assert_eq!(app.ended(), rc::TIME_OUT);
    assert!(
        begin.elapsed() < Duration::from_secs(5),
        "{:?}",
        begin.elapsed()
    );
    app.wait_state(&payment, Cancelled);
}

/// Where recovery waits for an order, business is taken meanwhile and the open payment is left alone; the order settles it
/// and returns when that is done.
#[test]
fn recovery_by_command() {
    let mut plan = Plan::new(ROOT, "recovery-command");
    plan.set("recovery.mode", "\"command\"");
    let mut daemon = Daemon::start(&plan);
    let centre = plan.centre();
    assert_eq!(
        centre.control("rule effect=silent mti=3110 count=1"),
        "ok silent"
    );
    let payment = Payment::new(1);
    let mut app = App::open(&plan);
    app.send(&payment).expect("sent");
    until("the request", || {
        (centre.ledger().entries.len() == 1).then_some(())
    });
    daemon.kill();
    let daemon = Daemon::start(&plan);
    daemon.wait_log("1 transactions were left open by the last stop");
    let mut app = App::open(&plan);
    app.approve(2);
    assert_eq!(app.status().routes_held, 1);
    assert_eq!(
        centre.ledger().entries[0].faults,
        0,
        "nothing happens by itself"
    );
    until("the end of the grace", || {
        match app.session.control(Order::Recovery, 0) {
            Ok(()) => Some(()),
            Err(ClientError::Refused {
                code: rc::PKG_IS_SIGNOFF_OR_SWITCHING,
            }) => None,
            other => panic!("{other:?}"),
        }
    });
    assert_eq!(
        app.state(&payment),
        Cancelled,
        "settled when the order returns"
    );
    assert_eq!(app.status().routes_busy, 0);
}

/// SIGTERM signs off, ends with code 0, and the next start says so. What was open then is a hold that goes out with the
/// next start of service.
#[test]
fn an_orderly_stop() {
    let plan = Plan::new(ROOT, "sigterm");
    let mut daemon = Daemon::start(&plan);
    let centre = plan.centre();
    let mut app = App::open(&plan);
    app.approve(1);
    assert_eq!(
        centre.control("rule effect=silent mti=3110 count=1"),
        "ok silent"
    );
    let open = Payment::new(2);
    app.send(&open).expect("sent");
    until("the request", || {
        (centre.ledger().entries.len() == 2).then_some(())
    });
    daemon.terminate();
    let receive = app.receive_for(PATIENCE);
    assert!(receive.is_err(), "{receive:?}");
    assert_eq!(daemon.wait_end().code(), Some(0));
    daemon.wait_log("signal 15: signing off and stopping");
    daemon.wait_log("service is Ending");
    let mut daemon = Daemon::start(&plan);
    daemon.wait_log("the last stop was orderly");
    let mut app = App::open(&plan);
    app.wait_state(&open, Cancelled);
    app.approve(3);
    settled_and_stopped(&mut app, &mut daemon);
}

/// An operator's orders stop it too: an orderly one only when the line is signed off, a forced one at once and with a code
/// of its own, after which the next start recovers.
#[test]
fn shutdown_by_order() {
    let plan = Plan::new(ROOT, "shutdown");
    let mut daemon = Daemon::start(&plan);
    let _centre = plan.centre();
    let mut app = App::open(&plan);
    app.approve(1);
    assert_eq!(
        app.session.control(Order::Shutdown, 0),
        Err(ClientError::Refused {
            code: rc::PKG_IS_NOT_SIGNOFF
        })
    );
    app.session.control(Order::ShutdownForce, 0).expect("taken");
    assert_eq!(daemon.wait_end().code(), Some(3));
    let mut daemon = Daemon::start(&plan);
    daemon.wait_log("the last stop was no shutdown");
    let mut app = App::open(&plan);
    app.session
        .control(Order::Disconnect, 0)
        .expect("a sign-off");
    app.session.control(Order::Shutdown, 0).expect("taken");
    assert_eq!(daemon.wait_end().code(), Some(0));
}

/// A second SIGTERM, and applications that wait, do not keep it from stopping when the centre is silent: t35 bounds the
/// sign-off.
#[test]
fn a_stop_does_not_wait_for_a_silent_centre() {
    let mut plan = Plan::new(ROOT, "silent-stop");
    plan.set("line.timers.t35_ms", 500);
    let mut daemon = Daemon::start(&plan);
    let centre = plan.centre();
    let mut app = App::open(&plan);
    assert_eq!(centre.control("deaf on"), "ok");
    app.send(&Payment::new(1)).expect("sent");
    let begin = Instant::now();
    daemon.terminate();
    daemon.terminate();
    assert!(app.session.receive(Wait::For(PATIENCE)).is_err());
    assert_eq!(daemon.wait_end().code(), Some(0));
    assert!(
        begin.elapsed() < Duration::from_secs(10),
        "{:?}",
        begin.elapsed()
    );
}
