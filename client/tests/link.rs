//! The Rust client against a scripted daemon on real sockets: the link may be cut after any frame, and no
//! payment is doubled, and no report is handed out before the daemon confirmed its delivery.

mod fake;

use std::thread;
use std::time::{Duration, Instant};

use client::{
    CentreItem, ClientError, ConnectError, Endpoint, Event, Link, Options, Order, Send, Wait,
};
use codec::link::Head;
use codec::link::frame::{FLAG_AGAIN, Kind};
use fake::{Fake, Fate, OnAck, OnSend, Rules};

/// Short limits, so that the failing paths do not take the application's ten seconds.
const OPTIONS: Options = Options {
    call_limit: Duration::from_millis(400),
    quiet_max: Duration::from_millis(100),
    resume_grace: Duration::from_secs(5),
    events_max: 4,
    thread_start: || {},
};

/// Enough for anything that is meant to happen.
const LONG: Wait = Wait::For(Duration::from_secs(10));

const REQUEST: Send<'static> = Send {
    centre_id: *b"00",
    centre_seq: *b"      ",
    issuer: *b"TEST9000000",
    acquirer: *b"TEST0010000",
    mti: *b"3110",
    data: b"invented data",
};

fn link(fake: &Fake, options: Options) -> Link {
    Link::connect_with(&Endpoint::tcp("127.0.0.1", fake.port), "C01", options).expect("a link")
}

/// The way of one authorisation: sent, reported, acknowledged, confirmed, closed; and the line's name is told.
#[test]
fn an_authorisation_is_delivered() {
    let fake = Fake::start(Rules::default());
    let link = link(&fake, Options::default());
    let mut session = link.open_session().expect("open");
    let id = session.send(&REQUEST, 77).expect("taken");
    let delivery = session.receive(LONG).expect("delivered");
    assert_eq!((delivery.request, delivery.trace), (id, 77));
    assert_eq!(&delivery.telegram.mti, b"3120");
    assert_eq!(delivery.telegram.data, REQUEST.data);
    assert_eq!(fake.book()[0].fate, Fate::Delivered);
    session.close().expect("closed");
    assert_eq!(fake.lines(), ["C01"]);
    assert_eq!(fake.count(Kind::Close), 1);
}

/// Wherever the link is cut, before or behind a frame, the authorisation ends delivered, and once.
#[test]
fn a_cut_at_any_frame_is_only_a_delay() {
    for cut_behind in [false, true] {
        // Frame 1 and 2 are the first handshake, whose failure is the caller's to see.
        for cut_at in 3.. {
            let fake = Fake::start(Rules {
                cut_at: Some(cut_at),
                cut_behind,
                ..Rules::default()
            });
            let link = link(&fake, Options::default());
            let mut session = link.open_session().expect("open");
            session.send(&REQUEST, 1).expect("taken");
            let delivery = session.receive(LONG).expect("delivered");
            assert_eq!(delivery.telegram.data, REQUEST.data, "cut at {cut_at}");
            let book = fake.book();
            assert_eq!(book.len(), 1, "one payment, cut at {cut_at}: {book:?}");
            assert_eq!(book[0].fate, Fate::Delivered, "cut at {cut_at}");
            if fake.frames() < cut_at {
                assert!(cut_at > 8, "the sequence has at least eight frames");
                break;
            }
        }
    }
}

/// Cut again and again in the resume itself, the library still gets through.
#[test]
fn a_link_cut_many_times_over_comes_back() {
    let fake = Fake::start(Rules {
        on_send: OnSend::Accept,
        ..Rules::default()
    });
    let link = link(&fake, Options::default());
    let mut session = link.open_session().expect("open");
    session.send(&REQUEST, 1).expect("taken");
    for round in 0..5 {
        let cut_at = fake.frames() + 2 + round;
        fake.rule(|rules| rules.cut_at = Some(cut_at));
        fake.cut();
        fake.until("another resume", |f| f.count(Kind::Resume) > round);
    }
    fake.rule(|rules| rules.cut_at = None);
    fake.until("the request is repeated", |f| {
        f.heard().contains(&(Kind::Send, FLAG_AGAIN))
    });
    assert_eq!(fake.book().len(), 1);
}

/// A daemon that forgot the session: calls say so, and nothing is sent under a new id.
#[test]
fn a_lost_session_is_named() {
    let fake = Fake::start(Rules {
        on_send: OnSend::Accept,
        ..Rules::default()
    });
    let link = link(&fake, Options::default());
    let mut session = link.open_session().expect("open");
    session.send(&REQUEST, 1).expect("taken");
    fake.rule(|rules| rules.forget_sessions = true);
    fake.cut();
    assert_eq!(session.receive(LONG), Err(ClientError::SessionLost));
    assert_eq!(session.send(&REQUEST, 1), Err(ClientError::SessionLost));
    assert_eq!(ClientError::SessionLost.rc(), 18);
    assert_eq!(fake.book().len(), 1);
    // The link itself lives on.
    let mut other = link.open_session().expect("open");
    assert_eq!(
        other.query(&[b'1'; 24]).expect("answered").request_mti,
        *b"3110"
    );
}

/// CONFIRM 10 means that the daemon gave the report up before: it is not handed out.
#[test]
fn a_report_given_up_before_is_not_handed_out() {
    let fake = Fake::start(Rules {
        on_ack: OnAck::TooLate,
        ..Rules::default()
    });
    let link = link(&fake, Options::default());
    let mut session = link.open_session().expect("open");
    let request = session.send(&REQUEST, 1).expect("taken");
    assert_eq!(
        session.receive(LONG),
        Err(ClientError::Ended { request, code: 10 })
    );
}

/// Without CONFIRM the outcome is unknown; if it comes later, the report is the next to be handed out.
#[test]
fn a_late_confirm_belongs_to_the_next_receive() {
    let fake = Fake::start(Rules {
        on_ack: OnAck::Ignore,
        ..Rules::default()
    });
    let link = link(&fake, OPTIONS);
    let mut session = link.open_session().expect("open");
    session.send(&REQUEST, 1).expect("taken");
    assert_eq!(session.receive(LONG), Err(ClientError::NoAnswer));
    fake.rule(|rules| rules.on_ack = OnAck::Confirm);
    // The repeated ACK of the resume is confirmed.
    fake.cut();
    assert_eq!(
        session.receive(LONG).expect("delivered").telegram.data,
        REQUEST.data
    );
    assert_eq!(fake.count(Kind::Ack), 2);
}

/// A receive whose timer expires gives its requests up; a poll does not.
#[test]
fn a_timed_out_receive_gives_up() {
    let fake = Fake::start(Rules {
        on_send: OnSend::Accept,
        credit: 2,
        ..Rules::default()
    });
    let link = link(&fake, Options::default());
    let mut session = link.open_session().expect("open");
    session.send(&REQUEST, 1).expect("taken");
    session.send(&REQUEST, 2).expect("taken");
    assert_eq!(session.receive(Wait::Poll), Err(ClientError::NotReady));
    let short = Wait::For(Duration::from_millis(20));
    assert_eq!(session.receive(short), Err(ClientError::TimeOut));
    fake.until("both are given up", |f| {
        f.book().iter().all(|t| t.fate == Fate::Ended(10))
    });
    // What comes for them later is nobody's news any more, and is given up again.
    let mut late = Head::new(Kind::Report);
    (late.session, late.request) = (fake.session_number(), 1);
    fake.push(late, &[b'0'; 40]);
    session.query(&[b'1'; 24]).expect("answered");
    assert_eq!(session.receive(Wait::Poll), Err(ClientError::NotReady));
    fake.until("a third GIVEUP", |f| f.count(Kind::GiveUp) == 3);
    // Their credit is free again.
    session.send(&REQUEST, 3).expect("taken");
    session.send(&REQUEST, 4).expect("taken");
}

/// A request given up while the link is down is given up at the resume, and not repeated.
#[test]
fn a_request_given_up_in_an_outage_stays_so() {
    let fake = Fake::start(Rules {
        on_send: OnSend::Accept,
        ..Rules::default()
    });
    let link = link(&fake, Options::default());
    let mut session = link.open_session().expect("open");
    session.send(&REQUEST, 1).expect("taken");
    // The session cannot be resumed until the daemon answers again.
    fake.rule(|rules| rules.mute = true);
    fake.cut();
    fake.until("a resume without answer", |f| f.count(Kind::Resume) == 1);
    let short = Wait::For(Duration::from_millis(20));
    assert_eq!(session.receive(short), Err(ClientError::TimeOut));
    fake.rule(|rules| rules.mute = false);
    fake.cut();
    fake.until("given up", |f| f.book()[0].fate == Fate::Ended(10));
    assert_eq!(fake.count(Kind::Send), 1);
}

/// Reports come in the order of arrival, and one request's end leaves the others alone.
#[test]
fn several_requests_are_outstanding() {
    let fake = Fake::start(Rules::default());
    let link = link(&fake, Options::default());
    let mut session = link.open_session().expect("open");
    let first = session.send(&REQUEST, 1).expect("taken");
    fake.rule(|rules| rules.on_send = OnSend::AcceptThenEnd(10));
    let second = session.send(&REQUEST, 2).expect("taken");
    fake.rule(|rules| rules.on_send = OnSend::Report);
    let third = session.send(&REQUEST, 3).expect("taken");
    assert_eq!(session.receive(LONG).expect("delivered").request, first);
    assert_eq!(
        session.receive(LONG),
        Err(ClientError::Ended {
            request: second,
            code: 10
        })
    );
    assert_eq!(session.receive(LONG).expect("delivered").request, third);
}

/// The library never exceeds the credit: the send beyond it waits, goes when one ends, and else says why it failed.
#[test]
fn credit_is_kept() {
    let fake = Fake::start(Rules {
        credit: 2,
        ..Rules::default()
    });
    let link = link(&fake, OPTIONS);
    let mut session = link.open_session().expect("open");
    let mut other = link.open_session().expect("open");
    session.send(&REQUEST, 1).expect("taken");
    session.send(&REQUEST, 2).expect("taken");
    let error = other.send(&REQUEST, 3).expect_err("no credit");
    assert_eq!((error, error.rc()), (ClientError::Credit { credit: 2 }, 18));
    assert_eq!(fake.book().len(), 2, "nothing was sent");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| other.send(&REQUEST, 4));
        session.receive(LONG).expect("delivered");
        waiting.join().expect("no panic").expect("taken");
    });
    assert_eq!(fake.book().len(), 3);
}

/// A SEND that is refused says with which code, and is over.
#[test]
fn a_refused_send_is_over() {
    let fake = Fake::start(Rules {
        on_send: OnSend::Refuse(43),
        credit: 1,
        ..Rules::default()
    });
    let link = link(&fake, OPTIONS);
    let mut session = link.open_session().expect("open");
    for _ in 0..3 {
        assert_eq!(
            session.send(&REQUEST, 1),
            Err(ClientError::Refused { code: 43 })
        );
    }
    assert_eq!(session.receive(Wait::Poll), Err(ClientError::NotReady));
}

/// A daemon that goes silent is noticed by the probe, and calls end within the call limit.
#[test]
fn a_silent_daemon_is_noticed() {
    let fake = Fake::start(Rules::default());
    let link = link(&fake, OPTIONS);
    let mut session = link.open_session().expect("open");
    fake.rule(|rules| rules.mute = true);
    let start = Instant::now();
    let error = session.send(&REQUEST, 1).expect_err("silence");
    assert_eq!(error, ClientError::LinkLost);
    assert!(start.elapsed() < Duration::from_secs(5));
    assert!(fake.count(Kind::Ping) > 0);
}

/// A daemon that is gone for good: nothing is sent, the calls say so, and a new one picks the session up again.
#[test]
fn a_stopped_daemon_is_named() {
    let fake = Fake::start(Rules::default());
    let link = link(&fake, OPTIONS);
    let mut session = link.open_session().expect("open");
    fake.stop();
    assert_eq!(session.receive(LONG), Err(ClientError::LinkLost));
    assert_eq!(session.send(&REQUEST, 1), Err(ClientError::NotConnected));
    assert_eq!(session.status(), Err(ClientError::NotConnected));
    assert!(link.open_session().is_err());
    let error = Link::connect(&Endpoint::tcp("127.0.0.1", fake.port), "")
        .err()
        .expect("refused");
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("Is sekishod running"), "{error}");
}

/// A link that broke while nobody used it is connected again for the next session.
#[test]
fn an_idle_link_comes_back_on_demand() {
    let fake = Fake::start(Rules::default());
    let link = link(&fake, OPTIONS);
    link.open_session().expect("open").close().expect("closed");
    fake.cut();
    let mut session = link.open_session().expect("open");
    session.send(&REQUEST, 1).expect("taken");
    session.receive(LONG).expect("delivered");
}

/// An order that must not be given twice is not repeated after a cut; one that may be is.
#[test]
fn orders_are_repeated_only_where_harmless() {
    let fake = Fake::start(Rules {
        ignore_orders: true,
        ..Rules::default()
    });
    let link = link(&fake, Options::default());
    let mut session = link.open_session().expect("open");
    thread::scope(|scope| {
        let call = scope.spawn(|| session.control(Order::CutRequest, 0));
        fake.until("the order", |f| f.count(Kind::Control) == 1);
        fake.cut();
        assert_eq!(call.join().expect("no panic"), Err(ClientError::LinkLost));
    });
    thread::scope(|scope| {
        let call = scope.spawn(|| session.cancel(&[b'1'; 24]));
        fake.until("the cancel", |f| f.count(Kind::Cancel) == 1);
        fake.rule(|rules| rules.ignore_orders = false);
        fake.cut();
        assert_eq!(call.join().expect("no panic"), Ok(()));
    });
    assert_eq!(fake.count(Kind::Control), 1);
    assert_eq!(fake.count(Kind::Cancel), 2);
}

/// Events reach every session, the oldest goes first; a centre request reaches its listener and is answered.
#[test]
fn events_and_centre_requests_arrive() {
    let fake = Fake::start(Rules {
        credit: 1,
        ..Rules::default()
    });
    let link = link(&fake, OPTIONS);
    let mut one = link.open_session().expect("open");
    let mut two = link.open_session().expect("open");
    assert_eq!(one.receive_centre(Wait::Poll), Err(ClientError::NotReady));
    for code in 41..=46 {
        let mut head = Head::new(Kind::Event);
        head.code = code;
        fake.push(head, b"");
    }
    // The answer comes behind the events, so they are all here.
    two.status().expect("answered");
    for session in [&mut one, &mut two] {
        for code in 43..=46 {
            let item = session.receive_centre(LONG).expect("an event");
            let dropped = None;
            assert_eq!(item, CentreItem::Event(Event { code, dropped }));
        }
    }
    assert_eq!(fake.count(Kind::Listen), 2);
    let answer = Send {
        mti: *b"3150",
        ..REQUEST
    };
    // Answers end with ACCEPTED and free their credit.
    one.send(&answer, 1).expect("taken");
    one.send(&answer, 2).expect("taken");
}

/// The first handshake's failures are each named, with the way out.
#[test]
fn handshake_failures_are_named() {
    let cases: [(Rules, &str); 5] = [
        (
            Rules {
                version: 9,
                ..Rules::default()
            },
            "another version of the link protocol",
        ),
        (
            Rules {
                refuse_hello: Some(18),
                ..Rules::default()
            },
            "another version of the link protocol",
        ),
        (
            Rules {
                refuse_hello: Some(1000),
                ..Rules::default()
            },
            "RC_INVALID_PARAM (1000): in the daemon's words",
        ),
        (
            Rules {
                garbage: Some(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
                ..Rules::default()
            },
            "does not speak the link protocol",
        ),
        (
            Rules {
                garbage: Some(Vec::new()),
                ..Rules::default()
            },
            "did not answer the handshake",
        ),
    ];
    for (rules, text) in cases {
        let fake = Fake::start(rules);
        let error = Link::connect(&Endpoint::tcp("127.0.0.1", fake.port), "")
            .err()
            .expect("refused");
        assert!(error.to_string().contains(text), "{error}");
    }
}

/// WELCOME's `go_to` is followed to the shard that owns the line, and a circle is noticed.
#[test]
fn a_link_goes_where_it_is_sent() {
    let there = Fake::start(Rules::default());
    let here = Fake::start(Rules {
        go_to: format!("127.0.0.1:{}", there.port),
        ..Rules::default()
    });
    link(&here, OPTIONS).open_session().expect("open");
    assert_eq!((here.count(Kind::Open), there.count(Kind::Open)), (0, 1));
    let circle = format!("127.0.0.1:{}", here.port);
    there.rule(|rules| rules.go_to = circle);
    let error = Link::connect(&Endpoint::tcp("127.0.0.1", here.port), "")
        .err()
        .expect("refused");
    assert!(matches!(error, ConnectError::Redirects { .. }), "{error}");
}

/// Garbage on a link that is up breaks it, and the library resumes over it.
#[test]
fn garbage_on_a_live_link_is_survived() {
    let fake = Fake::start(Rules::default());
    let link = link(&fake, Options::default());
    let mut session = link.open_session().expect("open");
    session.send(&REQUEST, 1).expect("taken");
    // A HELLO is what a daemon never sends; then bytes that are no frame at all.
    fake.push(Head::new(Kind::Hello), b"");
    fake.until("a resume", |f| f.count(Kind::Resume) == 1);
    session.status().expect("answered");
    assert_eq!(
        session.receive(LONG).expect("delivered").telegram.data,
        REQUEST.data
    );
}

/// Many sessions of many threads share a link, and each gets its own reports.
#[test]
fn sessions_share_a_link() {
    let fake = Fake::start(Rules {
        credit: 3,
        ..Rules::default()
    });
    let link = link(&fake, Options::default());
    thread::scope(|scope| {
        for number in 0..8u8 {
            let link = &link;
            scope.spawn(move || {
                let mut session = link.open_session().expect("open");
                for round in 0..20u8 {
                    let data = [number, round];
                    let request = Send {
                        data: &data,
                        ..REQUEST
                    };
                    session.send(&request, 1).expect("taken");
                    let delivery = session.receive(LONG).expect("delivered");
                    assert_eq!(delivery.telegram.data, data);
                }
            });
        }
        // Cuts in the middle of it all.
        for _ in 0..10 {
            let before = fake.count(Kind::Send);
            fake.until("some progress", |f| {
                f.count(Kind::Send) > before + 3 || f.book().len() == 160
            });
            fake.cut();
        }
    });
    assert_eq!(fake.book().len(), 160, "no payment is lost or doubled");
    assert!(fake.book().iter().all(|t| t.fate == Fate::Delivered));
}
