//! The real daemon and requests of the centre on odd routes (spec/cafis.md 9.4): handed to an application that listens,
//! answered by the daemon where none does, and every answer byte for byte what it has to be.

use std::time::Duration;

use client::{CentreItem, ClientError, Send, Wait};
use codec::cafis::header::{Header, HeaderBuilder, data};
use codec::cafis::mti::Mti;
use codec::link::rc;
use tests::daemon::{App, Daemon, PATIENCE, Plan, RawCentre};

const ROOT: &str = env!("CARGO_TARGET_TMPDIR");
const COMPANY: [u8; 11] = *b"TEST0010000";
const SECTION_10: &str = "   000000002       123459900000100123991130000@";
const CARD: &str = "214111111111111111=99121012080000000000                                00000000990000050000000500@";

struct Scene {
    centre: RawCentre,
    _daemon: Daemon,
    plan: Plan,
}

impl Scene {
    fn open(name: &str, change: impl Fn(&mut Plan)) -> Scene {
        let mut plan = Plan::new(ROOT, name);
        plan.set("line.accept_count", 1);
        change(&mut plan);
        let daemon = Daemon::start(&plan);
        let centre = RawCentre::open(&plan);
        App::open(&plan);
        Scene {
            centre,
            _daemon: daemon,
            plan,
        }
    }

    /// An application that waits for requests of the centre, and has seen the events of before.
    fn listener(&self) -> App {
        let mut app = App::open(&self.plan);
        while app.session.receive_centre(Wait::Poll) != Err(ClientError::NotReady) {}
        app
    }

    /// Sends a telegram of the centre and expects exactly this answer.
    fn assert_answer(&mut self, frame: &[u8], answer: &[u8]) {
        self.centre.bytes(frame);
        let got = self.centre.next_frame();
        assert_eq!(text(&got), text(answer));
    }
}

fn text(frame: &[u8]) -> String {
    String::from_utf8_lossy(frame).into_owned()
}

/// A telegram of the centre on an inward route.
fn inward(route: u16, mti: u16, data: &str) -> Vec<u8> {
    let header = HeaderBuilder {
        route,
        sequence: 77,
        centre_id: *b"31",
        centre_seq: *b"004711",
        month_day: *b"1130",
        acquirer: *b"TEST9000000",
        issuer: COMPANY,
        mti: Mti(mti),
        originator_day: *b"30",
        trailer: data.len() as u16,
        ..HeaderBuilder::default()
    };
    [&header.to_bytes()[..], data.as_bytes()].concat()
}

/// The same bytes with another type and, where one is given, another error code.
fn answer(frame: &[u8], mti: &str, code: Option<&str>) -> Vec<u8> {
    let mut answer = frame.to_vec();
    answer[43..47].copy_from_slice(mti.as_bytes());
    if let Some(code) = code {
        answer[63..66].copy_from_slice(code.as_bytes());
    }
    answer
}

fn authorisation(route: u16) -> Vec<u8> {
    inward(route, 3110, &format!("{SECTION_10}{CARD}"))
}

/// Without an application that listens, every request is refused at once: the same bytes, xx50 and G98.
#[test]
fn nobody_listens() {
    let mut scene = Scene::open("inward-nobody", |_| {});
    let sections = [
        (3110, CARD),
        (3210, &format!("{CARD}10@")),
        (3310, &format!("{CARD}123451110@")),
        (3410, "301@"),
        (3510, "598@10@"),
        (6110, "14111111111111111199120100000@"),
    ];
    for (at, (mti, rest)) in sections.into_iter().enumerate() {
        let frame = inward(at as u16 * 2 + 3, mti, &format!("{SECTION_10}{rest}"));
        let refusal = answer(&frame, &(mti + 40).to_string(), Some("G98"));
        scene.assert_answer(&frame, &refusal);
    }
}

/// With the setting for it the daemon refuses although an application listens, and answers the notice of a service end in
/// a reconciliation with 3520 and code 20; other reconciliations are refused until their counters are known (O-24).
#[test]
fn the_daemon_answers_by_itself() {
    let mut scene = Scene::open("inward-auto", |plan| {
        plan.set("line.auto_reply", true);
    });
    let mut app = scene.listener();
    let frame = authorisation(3);
    scene.assert_answer(&frame, &answer(&frame, "3150", Some("G98")));
    let notice = inward(5, 3510, &format!("{SECTION_10}598@10@"));
    let mut ready = answer(&notice, "3520", None);
    let code = ready.len() - 3;
    ready[code..code + 2].copy_from_slice(b"20");
    scene.assert_answer(&notice, &ready);
    for code in ["12", "50"] {
        let counters = inward(5, 3510, &format!("{SECTION_10}598@{code}@"));
        scene.assert_answer(&counters, &answer(&counters, "3550", Some("G98")));
    }
    assert_eq!(
        app.session.receive_centre(Wait::Poll),
        Err(ClientError::NotReady)
    );
}

/// An application that listens is handed the request whole, and its answer goes back with the header of the request, on its
/// route; a second answer, and one to nothing, is refused.
#[test]
fn an_application_answers() {
    let mut scene = Scene::open("inward-app", |_| {});
    let mut app = scene.listener();
    let frame = authorisation(3);
    scene.centre.bytes(&frame);
    let telegram = match app.session.receive_centre(Wait::For(PATIENCE)) {
        Ok(CentreItem::Request(telegram)) => telegram,
        other => panic!("no request: {other:?}"),
    };
    assert_eq!(
        (telegram.mti, &telegram.centre_id, &telegram.centre_seq),
        (*b"3110", b"31", b"004711")
    );
    assert_eq!(text(&telegram.data), text(data(&frame)));
    let mut reply = format!("{SECTION_10}{CARD}");
    reply.replace_range(12..19, "0012345");
    let send = |centre_seq| Send {
        centre_id: *b"31",
        centre_seq,
        issuer: *b"TEST0010000",
        acquirer: *b"TEST9000000",
        mti: *b"3120",
        data: reply.as_bytes(),
    };
    let refused = app.session.send(&send(*b"009999"), 0);
    assert_eq!(
        refused.expect_err("nobody asked that").rc(),
        rc::INVALID_PARAM
    );
    app.session.send(&send(*b"004711"), 0).expect("it is taken");
    let mut wanted = answer(&frame, "3120", None);
    wanted.truncate(63);
    wanted.extend_from_slice(reply.as_bytes());
    let trailer = format!("{:03}", reply.len());
    wanted[60..63].copy_from_slice(trailer.as_bytes());
    assert_eq!(text(&scene.centre.next_frame()), text(&wanted));
    let refused = app.session.send(&send(*b"004711"), 0);
    assert_eq!(refused.expect_err("it is answered").rc(), rc::INVALID_PARAM);
}

/// An application that does not answer within t13, or goes away, gets the centre the automatic refusal: the same bytes.
#[test]
fn no_answer_in_time() {
    let mut scene = Scene::open("inward-t13", |plan| {
        plan.set("line.timers.t13_ms", 300);
    });
    let app = scene.listener();
    for route in [3, 5] {
        let frame = authorisation(route);
        scene.assert_answer(&frame, &answer(&frame, "3150", Some("G98")));
    }
    drop(app);
    let mut slow = Scene::open("inward-gone", |_| {});
    let mut app = slow.listener();
    let frame = authorisation(3);
    slow.centre.bytes(&frame);
    assert!(matches!(
        app.session.receive_centre(Wait::For(PATIENCE)),
        Ok(CentreItem::Request(_))
    ));
    drop(app);
    let refusal = answer(&frame, "3150", Some("G98"));
    assert_eq!(text(&slow.centre.next_frame()), text(&refusal));
}

/// Fault commands of the centre are answered whether their request is known or not (O-12), counter notices are confirmed,
/// and what has no business on an odd route is dropped with event 50 and no answer.
#[test]
fn the_daemon_answers_faults_and_counters() {
    let mut scene = Scene::open("inward-faults", |_| {});
    let mut app = scene.listener();
    for (mti, report) in [
        (8910, "8950"),
        (8920, "8950"),
        (8930, "8960"),
        (8940, "8960"),
    ] {
        let frame = inward(3, mti, &format!("{SECTION_10}{CARD}"));
        scene.assert_answer(&frame, &answer(&frame, report, None));
    }
    let mut counters = "TEST00101".to_owned();
    counters.push_str(&"0".repeat(202));
    counters.push('@');
    let notice = inward(5, 4110, &counters);
    scene.assert_answer(&notice, &answer(&notice, "4120", None));
    for mti in [4910, 8950, 8960, 8970, 9999] {
        scene
            .centre
            .bytes(&inward(7, mti, &format!("{SECTION_10}{CARD}")));
        match app.session.receive_centre(Wait::For(PATIENCE)) {
            Ok(CentreItem::Event(event)) => assert_eq!(event.code, 50, "{mti}"),
            other => panic!("{mti}: {other:?}"),
        }
    }
    // An authorisation that the application was given and has not answered is undone: no refusal follows.
    let frame = authorisation(9);
    scene.centre.bytes(&frame);
    assert!(matches!(
        app.session.receive_centre(Wait::For(PATIENCE)),
        Ok(CentreItem::Request(_))
    ));
    let undo = inward(9, 8930, &format!("{SECTION_10}{CARD}"));
    scene.assert_answer(&undo, &answer(&undo, "8960", None));
    drop(app);
    assert_eq!(
        scene.centre.next_within(Duration::from_millis(300)),
        None,
        "nothing more is said of it"
    );
    let header = Header::new(&frame).expect("a header");
    assert_eq!(header.route(), Some(9));
}
