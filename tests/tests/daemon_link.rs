//! The real daemon and its applications: links that break, stay silent, never read, speak nonsense, or are too many.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use client::{ClientError, ConnectError, Endpoint, Link, Options};
use codec::link::frame::{FLAG_AGAIN, FLAG_QUIET};
use codec::link::message::TransactionState::{Cancelled, Delivered};
use codec::link::message::VERSION;
use codec::link::{Head, Kind, rc};
use tests::daemon::{App, CuttingProxy, Daemon, PATIENCE, Payment, Plan, RawLink, hello, until};

const ROOT: &str = env!("CARGO_TARGET_TMPDIR");
/// Frames of one payment from HELLO to the answer of CLOSE.
const FRAMES: usize = 11;

/// The connection is cut before and behind each frame of the protocol: HELLO and WELCOME, OPEN and OPENED, SEND, ACCEPTED and
/// REPORT, ACK and CONFIRM, CLOSE and DONE. The client library resumes; the payment is made once, and approved, every time.
#[test]
fn a_link_may_break_at_any_frame() {
    let mut plan = Plan::new(ROOT, "cuts");
    plan.set("api.resume_grace_ms", 3000);
    let _daemon = Daemon::start(&plan);
    let centre = plan.centre();
    let mut watch = App::open(&plan);
    let mut paid = Vec::new();
    for at in 0..FRAMES {
        for behind in [false, true] {
            let proxy = CuttingProxy::start(&plan, at, behind);
            let what = format!(
                "cut at frame {at}, {}",
                if behind { "behind it" } else { "before it" }
            );
            let options = Options {
                call_limit: PATIENCE,
                ..Options::default()
            };
            let Ok(link) = Link::connect_with(&proxy.endpoint(), "", options) else {
                assert!(at < 2, "{what}: only the handshake itself is not repeated");
                continue;
            };
            let payment = Payment::new(paid.len() as u32);
            let mut session = link.open_session().expect(&what);
            session.send(&payment.send(), 0).expect(&what);
            let delivery = session.receive(client::Wait::For(PATIENCE)).expect(&what);
            assert_eq!(delivery.telegram.mti, *b"3120", "{what}");
            let closed = session.close();
            assert!(closed.is_ok() || at >= 8, "{what}: {closed:?}");
            assert!(proxy.has_cut(), "{what}: the protocol has {FRAMES} frames");
            assert_eq!(watch.state(&payment), Delivered, "{what}");
            paid.push(payment);
        }
    }
    assert_eq!(
        paid.len(),
        FRAMES * 2 - 3,
        "all but the cuts that keep WELCOME from its reader"
    );
    let book = centre.ledger();
    assert_eq!(
        book.entries.len(),
        paid.len(),
        "each payment is at the centre once"
    );
    assert!(book.entries.iter().all(|entry| entry.faults == 0));
    watch.wait_idle();
}

/// A request id that comes twice is answered from what is on record and never sent again, whatever became of it.
#[test]
fn a_request_id_is_answered_once() {
    let plan = Plan::new(ROOT, "again");
    let _daemon = Daemon::start(&plan);
    let centre = plan.centre();
    let mut app = App::open(&plan);
    let payment = Payment::new(1);
    let (mut link, session, token) = RawLink::open(&plan);
    link.send(session, 1, 0, &payment);
    let (report, body) = link.next_of(Kind::Report);
    assert_eq!(report.request, 1);
    link.cut();
    let mut link = RawLink::connect(&plan);
    link.greet();
    link.frame(Head::new(Kind::Resume), &token);
    let (opened, proof) = link.next_of(Kind::Opened);
    assert_eq!((opened.flags, &proof[..16]), (FLAG_AGAIN, &token[..]));
    assert_eq!(
        proof[16..],
        1u64.to_le_bytes(),
        "the highest request id on record"
    );
    let session = opened.session;
    link.send(session, 1, FLAG_AGAIN, &payment);
    let (again, same) = link.next_of(Kind::Report);
    assert_eq!((again.request, again.flags, same), (1, FLAG_AGAIN, body));
    for _ in 0..2 {
        link.request_frame(Kind::Ack, session, 1);
        assert_eq!(link.next_of(Kind::Confirm).0.code, rc::OK);
    }
    link.send(session, 1, FLAG_AGAIN, &payment);
    assert_eq!(
        link.next_of(Kind::Confirm).0.code,
        rc::OK,
        "it is delivered already"
    );
    assert_eq!(centre.ledger().entries.len(), 1);
    assert_eq!(app.wait_idle().sequence, 1);
}

/// A session that is not resumed within `resume_grace` is gone: its payment is undone and a late RESUME is refused.
#[test]
fn a_session_is_gone_after_the_grace() {
    let plan = Plan::new(ROOT, "grace");
    let daemon = Daemon::start(&plan);
    let _centre = plan.centre();
    let mut app = App::open(&plan);
    let payment = Payment::new(1);
    let (mut link, session, token) = RawLink::open(&plan);
    link.send(session, 1, FLAG_QUIET, &payment);
    link.next_of(Kind::Report);
    link.cut();
    daemon.wait_log("8910 for transaction 1");
    let mut link = RawLink::connect(&plan);
    link.greet();
    link.frame(Head::new(Kind::Resume), &token);
    let (refused, _) = link.next_frame();
    assert_eq!(
        (refused.kind, refused.code, refused.session),
        (Kind::Ended, rc::NO_SESSION_ID, 0)
    );
    app.wait_state(&payment, Cancelled);
}

/// A client that sends and never reads: its answers pile up to a bound, then the daemon closes it. Others notice nothing.
#[test]
fn a_client_that_never_reads_is_closed() {
    let plan = Plan::new(ROOT, "no-reader");
    let daemon = Daemon::start(&plan);
    let _centre = plan.centre();
    let mut app = App::open(&plan);
    let mut deaf = RawLink::connect(&plan);
    deaf.greet();
    let stream = deaf.stream().try_clone().expect("a socket");
    let sender = std::thread::spawn(move || {
        let pings = Head::new(Kind::Ping).encode(0).repeat(2048);
        let deadline = Instant::now() + PATIENCE;
        let mut stream = stream;
        while Instant::now() < deadline {
            if stream.write_all(&pings).is_err() {
                return true;
            }
        }
        false
    });
    let mut serial = 0;
    while !sender.is_finished() {
        serial += 1;
        app.approve(serial);
    }
    assert!(sender.join().expect("no panic"), "the daemon closed it");
    daemon.wait_log("does not read, it is closed");
    app.approve(serial + 1);
}

/// Bytes that are no frames, frames that nobody may send, and handshakes with the wrong magic: each closes its own link, with
/// a reason where the peer can read one, and nothing else happens.
#[test]
fn garbage_closes_its_own_link_only() {
    let mut plan = Plan::new(ROOT, "garbage");
    plan.set("api.max_links", 4);
    let daemon = Daemon::start(&plan);
    let _centre = plan.centre();
    let mut app = App::open(&plan);
    let mut kind = Head::new(Kind::Ping).encode(0);
    kind[4] = 0x7f;
    for (bytes, why) in [
        (
            &b"GET / HTTP/1.1\r\nHost: sekisho\r\n\r\n"[..],
            "frame length",
        ),
        (&[0; 64][..], "frame length 0"),
        (&[0xff; 64][..], "frame length 4294967295"),
        (&kind[..], "unknown frame kind 0x7f"),
    ] {
        let before = daemon.count(why);
        let mut link = RawLink::connect(&plan);
        link.bytes(bytes);
        assert_eq!(link.end(), [], "{why}");
        daemon.wait_log_times(why, before + 1);
    }
    let mut wrong_magic = hello(VERSION, "");
    wrong_magic[0] = b'X';
    let openings: [(Kind, Vec<u8>); 4] = [
        (Kind::Hello, wrong_magic),
        (Kind::Hello, b"SEKISHO\x1a".to_vec()),
        (Kind::Send, vec![0; 200]),
        (Kind::Welcome, vec![]),
    ];
    for (kind, body) in openings {
        let mut link = RawLink::connect(&plan);
        link.frame(Head::new(kind), &body);
        let (refused, text) = link.next_frame();
        assert_eq!(refused.kind, Kind::Refused, "{kind:?}");
        assert_eq!(text, b"this is not the protocol of this daemon");
        assert_eq!(link.end(), []);
    }
    // What a welcomed link may not send.
    let after: [(Kind, Vec<u8>); 5] = [
        (Kind::Hello, hello(VERSION, "")),
        (Kind::Report, vec![0; 100]),
        (Kind::Control, vec![200]),
        (Kind::Query, vec![1, 2, 3]),
        (Kind::Send, vec![b'x'; 10]),
    ];
    for (kind, body) in after {
        let (mut link, session, _) = RawLink::open(&plan);
        link.frame(
            Head {
                session,
                request: 1,
                ..Head::new(kind)
            },
            &body,
        );
        assert_eq!(
            link.next_of(Kind::Refused).0.code,
            rc::ERROR_SOCKET,
            "{kind:?}"
        );
        assert_eq!(link.end(), []);
    }
    let mut state = 0x5eed_u64;
    for _ in 0..200 {
        let mut link = RawLink::connect(&plan);
        let bytes: Vec<u8> = (0..600)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) as u8
            })
            .collect();
        link.bytes(&bytes);
        link.end();
    }
    app.approve(1);
    // All four places are free again, but for the one that is in use.
    let links: Vec<_> = (0..3).map(|_| RawLink::open(&plan)).collect();
    assert_eq!(links.len(), 3);
}

/// A link of another version, and one for a line that does not exist, are refused with words that say what to do.
#[test]
fn a_refused_handshake_says_why() {
    let plan = Plan::new(ROOT, "refused");
    let _daemon = Daemon::start(&plan);
    for version in [0, VERSION + 1, u16::MAX] {
        let mut link = RawLink::connect(&plan);
        link.frame(Head::new(Kind::Hello), &hello(version, ""));
        let (refused, text) = link.next_frame();
        assert_eq!(refused.kind, Kind::Refused);
        let text = String::from_utf8(text).expect("text");
        assert!(
            text.contains("speaks version 1; install the matching library"),
            "{text}"
        );
        assert_eq!(link.end(), []);
    }
    let refused = Link::connect(&plan.endpoint(), "line-9")
        .err()
        .expect("no such line");
    assert!(
        matches!(
            refused,
            ConnectError::Refused {
                code: rc::INVALID_PARAM,
                ..
            }
        ),
        "{refused}"
    );
    assert!(
        refused
            .to_string()
            .contains("no line of this name: see the [[line]] tables"),
        "{refused}"
    );
    Link::connect(&plan.endpoint(), "line-1").expect("the line by its name");
}

/// Ten thousand links at a time, each answered, and payments beside them; one more is closed and the log says which setting
/// it was.
#[test]
fn ten_thousand_links() {
    const LINKS: usize = 10_000;
    let raised = Command::new("prlimit")
        .args(["--pid", &std::process::id().to_string(), "--nofile=20000:"])
        .status();
    assert!(
        raised.expect("prlimit runs").success(),
        "20,000 descriptors are needed for this test"
    );
    let mut plan = Plan::new(ROOT, "many");
    plan.set("api.max_links", LINKS);
    let daemon = Daemon::start(&plan);
    let _centre = plan.centre();
    let mut app = App::open(&plan);
    let mut links = Vec::with_capacity(LINKS);
    for _ in 1..LINKS {
        let mut link = RawLink::connect(&plan);
        link.frame(Head::new(Kind::Hello), &hello(VERSION, ""));
        links.push(link);
    }
    for link in &mut links {
        assert_eq!(link.next_frame().0.kind, Kind::Welcome);
    }
    app.approve(1);
    let mut excess = RawLink::connect(&plan);
    assert_eq!(excess.end(), []);
    daemon.wait_log("all 10000 links are in use, one more was closed: see api.max_links");
    for link in &mut links {
        link.frame(Head::new(Kind::Ping), &[]);
    }
    for link in &mut links {
        assert_eq!(link.next_frame().0.kind, Kind::Pong);
    }
    app.approve(2);
    drop(links);
    until("places that are free again", || {
        let mut link = TcpStream::connect(("127.0.0.1", plan.api_port)).ok()?;
        let mut greeting = Vec::new();
        Head::new(Kind::Hello).write(&hello(VERSION, ""), &mut greeting);
        link.write_all(&greeting).ok()?;
        let mut byte = [0];
        (link.read(&mut byte).ok()? == 1).then_some(())
    });
    app.approve(3);
}

/// A link that says nothing, and one that stops in the middle of its first frame, are closed after the handshake's time; a
/// link that has shaken hands may be silent as long as it likes.
#[test]
fn a_handshake_does_not_take_for_ever() {
    let mut plan = Plan::new(ROOT, "handshake");
    plan.set("api.handshake_ms", 300);
    let _daemon = Daemon::start(&plan);
    let mut greeted = RawLink::connect(&plan);
    greeted.greet();
    for opening in [&[][..], &[52], &[52, 0, 0, 0, 1, 0, 0, 0, 0]] {
        let begin = Instant::now();
        let mut link = RawLink::connect(&plan);
        link.bytes(opening);
        assert_eq!(link.end(), [], "closed without a word");
        let took = begin.elapsed();
        assert!(
            took >= Duration::from_millis(300) && took < PATIENCE,
            "{took:?}"
        );
    }
    greeted.frame(Head::new(Kind::Ping), &[]);
    assert_eq!(greeted.next_frame().0.kind, Kind::Pong);
}

/// A link may have as many requests outstanding as its credit says; one more is refused, and the library waits instead.
#[test]
fn credit_bounds_what_a_link_has_outstanding() {
    let mut plan = Plan::new(ROOT, "credit");
    plan.set("api.credit", 2);
    let _daemon = Daemon::start(&plan);
    let centre = plan.centre();
    let mut app = App::open(&plan);
    assert_eq!(centre.control("late 200"), "ok");
    let (mut link, session, _) = RawLink::open(&plan);
    for request in 1..=3 {
        link.send(session, request, FLAG_QUIET, &Payment::new(request as u32));
    }
    let (refused, _) = link.next_frame();
    assert_eq!(
        (refused.kind, refused.request, refused.code),
        (Kind::Ended, 3, rc::ERROR_DAEMON)
    );
    assert_eq!(refused.credit, 2);
    let mut second = app
        .session
        .link()
        .open_session()
        .expect("a session of the same link");
    for serial in 11..=12 {
        app.send(&Payment::new(serial)).expect("sent");
    }
    let waiting = std::thread::spawn(move || {
        let sent = second.send(&Payment::new(13).send(), 0);
        (sent, second)
    });
    for _ in 0..2 {
        app.receive().expect("a report");
    }
    let (sent, mut second) = waiting.join().expect("no panic");
    sent.expect("sent, when the credit was free");
    second
        .receive(client::Wait::For(PATIENCE))
        .expect("a report");
}

/// The API on a Unix socket is the same API; its file is for the daemon's user and group, and one left by a killed daemon
/// does not keep the next from starting.
#[test]
fn a_unix_socket_serves_as_well() {
    use std::os::unix::fs::PermissionsExt;
    let mut plan = Plan::new(ROOT, "unix");
    // A socket's path has 107 bytes, which the directory of a test may exceed.
    let path = std::path::PathBuf::from(format!("/tmp/sekisho-test-{}.sock", std::process::id()));
    plan.set("api.unix", format!("\"{}\"", path.display()))
        .set("api.tcp", "\"\"");
    let mut daemon = Daemon::start(&plan);
    let _centre = plan.centre();
    for serial in 0..2 {
        let mut app = App::connect_to(&Endpoint::Unix(path.clone()), "line-1");
        app.wait_open();
        app.approve(serial);
        let mode = std::fs::metadata(&path)
            .expect("the socket")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o660);
        daemon.kill();
        daemon = Daemon::start(&plan);
    }
    drop(daemon);
    std::fs::remove_file(&path).expect("the socket's file");
}

/// As many API sessions as the daemon has room for; one more is refused and the others go on.
#[test]
fn api_sessions_are_bounded() {
    let mut plan = Plan::new(ROOT, "sessions");
    plan.set("api.max_sessions", 8);
    let _daemon = Daemon::start(&plan);
    let _centre = plan.centre();
    let mut app = App::open(&plan);
    let link = app.session.link().clone();
    let mut sessions: Vec<_> = (1..8)
        .map(|_| link.open_session().expect("a session"))
        .collect();
    assert_eq!(
        link.open_session().err(),
        Some(ClientError::Refused {
            code: rc::ERROR_DAEMON
        })
    );
    app.approve(1);
    sessions.pop().expect("one").close().expect("closed");
    link.open_session().expect("a session again");
}
