//! The real daemon with two shards, each with its own lines, sockets and journal.

use client::ClientError;
use codec::link::message::TransactionState::{Cancelled, Delivered};
use codec::link::message::{Order, VERSION, Welcome};
use codec::link::{Head, Kind, rc};
use tests::daemon::{
    App, Daemon, Payment, Plan, RawLink, app_entry, assert_books_agree, hello, until,
};

const ROOT: &str = env!("CARGO_TARGET_TMPDIR");

/// Three lines: two on shard 0, one on shard 1.
fn plan(name: &str) -> Plan {
    let mut plan = Plan::new(ROOT, name);
    plan.shards = 2;
    plan.add_line(1);
    plan.add_line(0);
    plan
}

/// Pays over a line of a plan that an application reaches at shard 0's port.
fn pay(plan: &Plan, line: usize, serial: u32) -> (App, Payment) {
    let mut app = App::connect_to(&plan.endpoint(), &plan.lines[line].name);
    app.wait_open();
    let payment = Payment::new(serial);
    app.session
        .send(&payment.send_from(&plan.lines[line].company), 0)
        .expect("sent");
    assert_eq!(app.receive().expect("a report").telegram.mti, *b"3120");
    (app, payment)
}

/// An application that asks shard 0 for a line of shard 1 is told where that line lives, and the client library goes there; each
/// line's payments are in its own shard's journal.
#[test]
fn an_application_is_sent_to_the_shard_of_its_line() {
    let plan = plan("redirect");
    let mut daemon = Daemon::start(&plan);
    let centre = plan.centre();
    let mut raw = RawLink::connect(&plan);
    raw.frame(Head::new(Kind::Hello), &hello(VERSION, "line-2"));
    let (head, body) = raw.next_frame();
    assert_eq!(head.kind, Kind::Welcome);
    let welcome = Welcome::decode(&body).expect("a welcome");
    assert_eq!(welcome.go_to, format!("127.0.0.1:{}", plan.api_port + 1));
    assert_eq!(raw.end(), [], "and nothing else is served there");
    let mut book = Vec::new();
    for (line, shard) in [(0, 0), (1, 1), (2, 0)] {
        let (mut app, payment) = pay(&plan, line, line as u32);
        assert_eq!(app.session.link().agreed().shard, shard);
        assert_eq!(app.state(&payment), Delivered);
        book.push((payment, app.status().sequence));
    }
    assert!(
        book.iter().all(|(_, sequence)| *sequence == 1),
        "each line counts for itself"
    );
    daemon.terminate();
    assert_eq!(daemon.wait_end().code(), Some(0), "both shards stop");
    assert_eq!(centre.ledger().entries.len(), 3);
    assert!(!plan.segments(0).is_empty() && !plan.segments(1).is_empty());
}

/// One shard's payment stays open when the daemon is killed: both shards recover, and the books of both agree.
#[test]
fn both_shards_recover() {
    let mut plan = plan("recover");
    plan.set("api.resume_grace_ms", 1000);
    let mut daemon = Daemon::start(&plan);
    let centre = plan.centre();
    let mut entries = Vec::new();
    let mut open = Vec::new();
    for line in 0..3 {
        let (mut app, paid) = pay(&plan, line, line as u32);
        entries.push((paid, Delivered));
        assert_eq!(
            centre.control(&format!("silent on {}", plan.lines[line].name)),
            "ok"
        );
        let payment = Payment::new(10 + line as u32);
        app.session
            .send(&payment.send_from(&plan.lines[line].company), 0)
            .expect("sent");
        open.push((app, payment));
    }
    until("all requests", || {
        (centre.ledger().entries.len() == 6).then_some(())
    });
    daemon.kill();
    assert_eq!(centre.control("silent off"), "ok");
    let mut book = Vec::new();
    let mut daemon = Daemon::start(&plan);
    for (line, (mut app, payment)) in open.into_iter().enumerate() {
        let result = app.receive();
        assert!(
            matches!(
                result,
                Err(ClientError::Ended {
                    code: rc::TIME_OUT,
                    ..
                })
            ),
            "{result:?}"
        );
        book.push(app_entry(&payment, &result));
        drop(app);
        let mut app = App::connect_to(&plan.endpoint(), &plan.lines[line].name);
        app.wait_open();
        app.wait_state(&payment, Cancelled);
        app.wait_idle();
        assert_eq!(app.state(&entries[line].0), Delivered);
    }
    daemon.terminate();
    assert_eq!(daemon.wait_end().code(), Some(0));
    assert_books_agree(&plan, &centre, book);
}

/// FX_CtrlShutdown speaks for the shard of its line: as long as a line of that shard is signed on it is refused, and no
/// shard does anything; once it is accepted, the other shard signs off and stops in order as well.
#[test]
fn a_shutdown_is_refused_or_ends_both_shards() {
    let plan = plan("shard-shutdown");
    let mut daemon = Daemon::start(&plan);
    let _centre = plan.centre();
    let mut apps: Vec<App> = plan
        .lines
        .iter()
        .map(|line| App::connect_to(&plan.endpoint(), &line.name))
        .collect();
    apps.iter_mut().for_each(App::wait_open);
    let open = |apps: &mut [App]| -> Vec<bool> {
        apps.iter_mut()
            .map(|app| app.status().signed_on())
            .collect()
    };
    // Lines 1 and 3 are on shard 0; one of them signed off is not enough.
    apps[0].session.control(Order::Disconnect, 0).expect("0810");
    let refused = apps[0].session.control(Order::Shutdown, 0);
    assert_eq!(
        refused.expect_err("line 3 is on").rc(),
        rc::PKG_IS_NOT_SIGNOFF
    );
    assert_eq!(open(&mut apps), [false, true, true], "nothing has happened");
    assert!(daemon.runs());
    apps[2].session.control(Order::Disconnect, 0).expect("0810");
    assert_eq!(open(&mut apps), [false, true, false]);
    apps[0].session.control(Order::Shutdown, 0).expect("taken");
    assert_eq!(
        daemon.wait_end().code(),
        Some(0),
        "both shards stop in order"
    );
}
