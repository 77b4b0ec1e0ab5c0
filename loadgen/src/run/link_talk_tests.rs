use codec::link::message::REPORT_HEAD_LEN;

use super::super::telegram::Identity;
use super::*;

fn plan() -> LinkPlan {
    LinkPlan {
        line: "C01".into(),
        sessions: 2,
        outstanding: 0,
        quiet: true,
        retry_busy: true,
    }
}

fn telegrams() -> Telegrams {
    let identity = Identity {
        acquirer: *b"TEST0010000",
        issuer: *b"TEST9000000",
        installer: *b"12345",
        date: *b"991130",
    };
    Telegrams::new(identity, "3110=1".parse().expect("a mix"))
}

/// The bytes of a frame from the daemon.
fn frame(kind: Kind, change: impl FnOnce(&mut Head), body: &[u8]) -> Vec<u8> {
    let (mut head, mut out) = (Head::new(kind), Vec::new());
    change(&mut head);
    head.write(body, &mut out);
    out
}

fn welcome(credit: u32, go_to: &str) -> Vec<u8> {
    let welcome = Welcome {
        version: VERSION,
        shard: 0,
        features: 0,
        epoch: 1,
        line_id: 1,
        t31_ms: 58_000,
        t32_ms: 58_000,
        t34_ms: 30_000,
        t35_ms: 750_000,
        event_ms: 1000,
        sends_ordered: 5,
        go_to,
        endpoints: "",
    };
    let mut body = Vec::new();
    welcome.encode(&mut body);
    frame(Kind::Welcome, |head| head.credit = credit, &body)
}

fn opened(session: u32) -> Vec<u8> {
    let opened = Opened {
        token: [1; 16],
        highest: 0,
    };
    frame(
        Kind::Opened,
        |head| head.session = session,
        &opened.encode(),
    )
}

/// A link through its handshake, with this credit.
fn ready(plan: LinkPlan, credit: u32) -> LinkTalk {
    let (mut talk, mut out) = (LinkTalk::new(plan), Vec::new());
    talk.begin(&mut out);
    let input = [welcome(credit, ""), opened(11), opened(12)].concat();
    talk.receive(0, &input, &mut out, &mut Vec::new())
        .expect("a handshake");
    assert!(talk.ready());
    talk
}

/// The heads of the frames in a buffer.
fn heads(bytes: &[u8]) -> Vec<Head> {
    let (mut assembler, mut rest, mut heads) = (Assembler::new(), bytes, Vec::new());
    while !rest.is_empty() {
        let split = assembler.split(rest).expect("frames");
        heads.extend(split.frame.map(|frame| frame.head));
        rest = &rest[split.consumed..];
    }
    heads
}

fn report(head: &Head, mti: &[u8; 4]) -> Vec<u8> {
    let report = Report {
        centre_id: *b"11",
        centre_seq: *b"000047",
        issuer: *b"TEST9000000",
        acquirer: *b"TEST0010000",
        mti: *mti,
        date: *b"1130",
        data: &[],
    };
    let mut body = [0; REPORT_HEAD_LEN + 3];
    body[..REPORT_HEAD_LEN].copy_from_slice(&report.encode_head());
    body[REPORT_HEAD_LEN..].copy_from_slice(b"C12");
    answer(head, Kind::Report, 0, &body)
}

fn answer(to: &Head, kind: Kind, code: u16, body: &[u8]) -> Vec<u8> {
    let fill =
        |head: &mut Head| (head.session, head.request, head.code) = (to.session, to.request, code);
    frame(kind, fill, body)
}

/// Sends as much as there is room for; returns the heads of the SENDs.
fn send_all(talk: &mut LinkTalk) -> Vec<Head> {
    let (mut out, mut telegrams, mut serial) = (Vec::new(), telegrams(), 0);
    while talk.room(0) > 0 {
        talk.send(
            Order {
                serial,
                intended_ns: 5,
            },
            &mut telegrams,
            &mut out,
        );
        serial += 1;
    }
    heads(&out)
}

/// The handshake says HELLO and opens the sessions; requests go round over them with rising ids, quiet, up to the credit.
#[test]
fn requests_keep_to_sessions_and_credit() {
    let (mut talk, mut out) = (LinkTalk::new(plan()), Vec::new());
    talk.begin(&mut out);
    assert_eq!(talk.room(0), 0);
    talk.receive(0, &welcome(3, ""), &mut out, &mut Vec::new())
        .expect("welcome");
    let kinds: Vec<Kind> = heads(&out).iter().map(|head| head.kind).collect();
    assert_eq!(kinds, [Kind::Hello, Kind::Open, Kind::Open]);
    assert!(!talk.ready());
    let input = [opened(11), opened(12)].concat();
    talk.receive(0, &input, &mut out, &mut Vec::new())
        .expect("opened");
    let sent = send_all(&mut talk);
    assert_eq!(
        sent.iter().map(|head| head.session).collect::<Vec<_>>(),
        [11, 12, 11]
    );
    assert!(
        sent.iter()
            .all(|head| head.kind == Kind::Send && head.flags == FLAG_QUIET)
    );
    assert!(sent.is_sorted_by(|a, b| a.request < b.request));
    assert_eq!((talk.room(0), talk.in_flight()), (0, 3));
}

/// A bound of our own is kept below the credit, and a credit that grows is used.
#[test]
fn the_smaller_bound_holds() {
    let mut talk = ready(
        LinkPlan {
            outstanding: 2,
            ..plan()
        },
        100,
    );
    assert_eq!(send_all(&mut talk).len(), 2);
    let mut talk = ready(plan(), 1);
    let sent = send_all(&mut talk);
    let more = frame(Kind::Pong, |head| head.credit = 4, &[]);
    talk.receive(0, &more, &mut Vec::new(), &mut Vec::new())
        .expect("pong");
    assert_eq!((sent.len(), talk.room(0)), (1, 3));
}

/// A report is acknowledged at once, and the request ends with CONFIRM and the outcome of its report.
#[test]
fn a_request_ends_with_its_confirm() {
    let mut talk = ready(plan(), 4);
    let sent = send_all(&mut talk);
    let (mut out, mut done) = (Vec::new(), Vec::new());
    let mtis = [b"3120", b"3150", b"8970", b"3120"];
    for (head, mti) in sent.iter().zip(mtis) {
        talk.receive(9, &report(head, mti), &mut out, &mut done)
            .expect("a report");
    }
    let acks = heads(&out);
    assert!(acks.iter().zip(&sent).all(|(ack, send)| {
        ack.kind == Kind::Ack && (ack.session, ack.request) == (send.session, send.request)
    }));
    assert!(done.is_empty());
    for (head, code) in sent.iter().zip([0, 0, 0, 10]) {
        talk.receive(
            9,
            &answer(head, Kind::Confirm, code, &[]),
            &mut out,
            &mut done,
        )
        .expect("a confirm");
    }
    let fates: Vec<Fate> = done.iter().map(|done| done.fate).collect();
    let ends = [
        Outcome::Approved,
        Outcome::Refused,
        Outcome::Abnormal(*b"C12"),
        Outcome::NotDelivered,
    ];
    assert_eq!(fates, ends.map(Fate::Over));
    assert_eq!(talk.in_flight(), 0);
}

/// ENDED ends a request; RC 19 gives it back to be sent again, and holds the link until an answer or a moment later.
#[test]
fn no_route_means_again() {
    let mut talk = ready(plan(), 3);
    let sent = send_all(&mut talk);
    let (mut out, mut done) = (Vec::new(), Vec::new());
    talk.receive(
        1000,
        &answer(&sent[0], Kind::Ended, 19, &[]),
        &mut out,
        &mut done,
    )
    .expect("ended");
    assert_eq!(done[0].fate, Fate::Again);
    assert_eq!(talk.room(1000), 0);
    assert_eq!(talk.room(1000 + BUSY_HOLD_NS), 1);
    talk.receive(
        2000,
        &answer(&sent[1], Kind::Ended, 10, &[]),
        &mut out,
        &mut done,
    )
    .expect("ended");
    assert_eq!(done[1].fate, Fate::Over(Outcome::TimeOut));
    assert_eq!(talk.room(2000), 2);
}

/// Late answers and answers to nothing change nothing; a lost link ends what is open.
#[test]
fn strays_are_ignored_and_a_lost_link_ends_all() {
    let mut talk = ready(plan(), 2);
    let sent = send_all(&mut talk);
    let (mut out, mut done) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        talk.receive(
            0,
            &answer(&sent[0], Kind::Ended, 43, &[]),
            &mut out,
            &mut done,
        )
        .expect("ended");
        talk.receive(0, &report(&sent[0], b"3120"), &mut out, &mut done)
            .expect("a report");
    }
    assert_eq!((done.len(), out.len()), (1, 0));
    talk.abandon(Outcome::Lost, &mut done);
    assert_eq!(done[1].fate, Fate::Over(Outcome::Lost));
    assert_eq!(talk.in_flight(), 0);
}

/// A line that lives elsewhere is followed, but not for ever; a refusal and garbage are named.
#[test]
fn the_handshake_can_lead_away_or_fail() {
    let mut talk = LinkTalk::new(plan());
    for _ in 0..HOPS_MAX {
        talk.begin(&mut Vec::new());
        talk.receive(
            0,
            &welcome(1, "127.0.0.1:7"),
            &mut Vec::new(),
            &mut Vec::new(),
        )
        .expect("moved");
        assert_eq!(talk.moved(), Some("127.0.0.1:7".into()));
    }
    talk.begin(&mut Vec::new());
    let error = talk.receive(
        0,
        &welcome(1, "127.0.0.1:7"),
        &mut Vec::new(),
        &mut Vec::new(),
    );
    assert!(matches!(error, Err(TalkError::GoneAround { .. })));

    let mut talk = LinkTalk::new(plan());
    talk.begin(&mut Vec::new());
    let refused = frame(Kind::Refused, |head| head.code = 1000, b"no such line");
    let error = talk
        .receive(0, &refused, &mut Vec::new(), &mut Vec::new())
        .expect_err("refused");
    assert_eq!(
        error.to_string(),
        "the daemon refused the link for line `C01`: RC_INVALID_PARAM (1000): no such line"
    );
    let error = talk.receive(0, b"HTTP/1.1 400", &mut Vec::new(), &mut Vec::new());
    assert!(matches!(error, Err(TalkError::Link(_))));
}
