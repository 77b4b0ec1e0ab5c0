//! The real daemon and a centre that frames its telegrams wrongly: what costs a session, what is dropped, and that service goes
//! on (spec/cafis.md 2.6, 9.1).

use std::io::Write;
use std::time::Duration;

use client::{CentreItem, ClientError, Wait};
use codec::cafis::header::{set_route, set_trailer};
use codec::link::message::TransactionState::Cancelled;
use codec::link::rc;
use tests::daemon::{App, Daemon, PATIENCE, Payment, Plan, RawCentre, until};

const ROOT: &str = env!("CARGO_TARGET_TMPDIR");
/// Where the header says how long the trailer is.
const TRAILER_AT: usize = 60;

/// A line with one scripted session, open, and an application that listens for events.
struct Scene {
    app: App,
    centre: RawCentre,
    daemon: Daemon,
    plan: Plan,
}

impl Scene {
    fn open(name: &str, change: impl Fn(&mut Plan)) -> Scene {
        let mut plan = Plan::new(ROOT, name);
        plan.set("line.accept_count", 1);
        change(&mut plan);
        let daemon = Daemon::start(&plan);
        let centre = RawCentre::open(&plan);
        let mut app = App::open(&plan);
        while app.session.receive_centre(Wait::Poll) != Err(ClientError::NotReady) {}
        Scene {
            plan,
            daemon,
            centre,
            app,
        }
    }

    /// Sends a payment and gives the request as the centre got it.
    fn request(&mut self, serial: u32) -> Vec<u8> {
        self.app.send(&Payment::new(serial)).expect("sent");
        self.centre.next_of(3110)
    }

    /// A payment passes from end to end.
    fn assert_serves(&mut self, serial: u32) {
        let request = self.request(serial);
        self.centre.answer(&request, 3120);
        assert_eq!(self.app.receive().expect("a report").telegram.mti, *b"3120");
    }

    /// Waits for the next event, which must have this code.
    fn assert_event(&mut self, code: u16) {
        match self.app.session.receive_centre(Wait::For(PATIENCE)) {
            Ok(CentreItem::Event(event)) => assert_eq!(event.code, code),
            other => panic!("not event {code}: {other:?}"),
        }
    }
}

/// A trailer length that is not three digits: where the next frame begins is unknown, so that session is closed, and only it.
/// What was under way on it is settled over the other one.
#[test]
fn a_trailer_without_digits_costs_its_session() {
    let mut plan = Plan::new(ROOT, "no-digits");
    plan.set("line.timers.t31_ms", 600);
    let daemon = Daemon::start(&plan);
    let (mut first, mut second) = (RawCentre::connect(&plan), RawCentre::connect(&plan));
    let open = |first: &mut RawCentre, second: &mut RawCentre, mti: u16| {
        until("a frame on either session", || {
            for (at, centre) in [&mut *first, &mut *second].into_iter().enumerate() {
                if let Some(Some(frame)) = centre.next_within(Duration::from_millis(10)) {
                    assert_eq!(&frame[43..47], format!("{mti:04}").as_bytes());
                    return Some((at, frame));
                }
            }
            None
        })
    };
    let (at, sign_on) = open(&mut first, &mut second, 7020);
    [&mut first, &mut second][at].answer(&sign_on, 7110);
    let mut app = App::open(&plan);
    let payment = Payment::new(1);
    app.send(&payment).expect("sent");
    let (_, request) = open(&mut first, &mut second, 3110);
    let mut spoilt = RawCentre::answer_bytes(&request, 3120);
    spoilt[TRAILER_AT..TRAILER_AT + 3].copy_from_slice(b"1x5");
    first.bytes(&spoilt);
    assert_eq!(first.next_or_end(), None, "closed");
    let line = daemon.wait_log("closed:");
    assert!(
        line.contains("line line-1") && line.contains("[31, 78, 35] is not three digits"),
        "{line}"
    );
    assert_eq!(
        app.wait_status("one session", |status| status.sessions == 1)
            .service,
        4
    );
    assert_eq!(app.ended(), rc::TIME_OUT);
    let cancel = second.next_of(8930);
    second.answer(&cancel, 8960);
    app.wait_state(&payment, Cancelled);
}

/// Trailers of 962 to 999 bytes are framed and dropped with event 48 (O-7); the payment that waited is not touched by them, and
/// the session goes on.
#[test]
fn a_trailer_too_long_is_dropped() {
    let mut scene = Scene::open("too-long", |_| {});
    for (serial, length) in [(1, 962), (2, 999)] {
        let request = scene.request(serial);
        let mut long = RawCentre::answer_bytes(&request, 3120);
        long.resize(63 + usize::from(length), b' ');
        set_trailer(&mut long, length);
        scene.centre.bytes(&long);
        scene.assert_event(48);
        scene
            .daemon
            .wait_log_times("dropped: TooLong", serial as usize);
        scene.centre.answer(&request, 3120);
        assert_eq!(
            scene.app.receive().expect("a report").telegram.mti,
            *b"3120"
        );
    }
    scene.assert_serves(3);
}

/// Half a frame and then silence: the follow-on timer closes the session; half a frame and then the end is named too. Every
/// time the centre connects again and what was open is settled.
#[test]
fn half_a_frame_is_not_waited_for() {
    let mut scene = Scene::open("half", |plan| {
        plan.set("line.timers.follow_on_ms", 300);
    });
    for (serial, have) in [(1, 1), (2, 62), (3, 63), (4, 207)] {
        let request = scene.request(serial);
        let whole = RawCentre::answer_bytes(&request, 3120);
        scene.centre.bytes(&whole[..have]);
        if serial % 2 == 1 {
            assert_eq!(scene.centre.next_or_end(), None, "closed by the daemon");
        } else {
            scene
                .centre
                .stream()
                .shutdown(std::net::Shutdown::Write)
                .expect("ended by us");
            assert_eq!(scene.centre.next_or_end(), None);
        }
        let line = scene.daemon.wait_log_times(" bytes ", serial as usize);
        assert!(line.contains(&format!("{have} bytes")), "{line}");
        assert_eq!(scene.app.ended(), rc::TIME_OUT);
        scene.centre = RawCentre::open(&scene.plan);
        let cancel = scene.centre.next_of(8930);
        scene.centre.answer(&cancel, 8960);
        scene.app.wait_state(&Payment::new(serial), Cancelled);
        scene.app.wait_open();
    }
    scene.assert_serves(9);
}

/// A frame that comes byte by byte, each just before the follow-on time is over, is whole in the end: the timer counts from
/// the latest byte (O-29).
#[test]
fn a_slow_frame_is_a_frame() {
    let mut scene = Scene::open("slow", |plan| {
        plan.set("line.timers.follow_on_ms", 2000);
    });
    let request = scene.request(1);
    let whole = RawCentre::answer_bytes(&request, 3120);
    for chunk in whole.chunks(40) {
        scene.centre.bytes(chunk);
        std::thread::sleep(Duration::from_millis(600));
    }
    assert_eq!(
        scene.app.receive().expect("a report").telegram.mti,
        *b"3120"
    );
    assert_eq!(scene.daemon.count("closed"), 0);
}

/// Reports on routes that asked for nothing, outside the contract, or that are no numbers; unknown types, requests and commands
/// that are not for us, answers to nothing: each is dropped and told, and the payment beside them is untouched.
#[test]
fn frames_for_nobody_are_dropped() {
    let mut scene = Scene::open("nobody", |_| {});
    let request = scene.request(1);
    let report = RawCentre::answer_bytes(&request, 3120);
    let on_route = |route: u16| {
        let mut frame = report.clone();
        set_route(&mut frame, route);
        frame
    };
    let of_type = |mti: &[u8; 4]| {
        let mut frame = report.clone();
        frame[43..47].copy_from_slice(mti);
        frame
    };
    let raw = |at: usize, bytes: &[u8]| {
        let mut frame = report.clone();
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        frame
    };
    let frames: [(Vec<u8>, u16); 17] = [
        (on_route(4), 50),
        (on_route(16), 50),
        (on_route(18), 50),
        (on_route(9998), 50),
        (on_route(0), 50),
        (on_route(1), 50),
        (on_route(3), 50),
        (raw(0, b"00x2"), 48),
        (raw(4, b"000009"), 50),
        (raw(4, b"00000x"), 50),
        (raw(21, b"OTHER01"), 50),
        (raw(52, b"31"), 50),
        (of_type(b"1234"), 50),
        (of_type(b"12x4"), 48),
        (of_type(b"8960"), 50),
        (of_type(b"0810"), 50),
        (of_type(b"3220"), 50),
    ];
    let count = frames.len();
    for (frame, event) in frames {
        scene.centre.bytes(&frame);
        scene.assert_event(event);
    }
    scene.daemon.wait_log_times("dropped: ", count);
    scene.centre.bytes(&report);
    assert_eq!(
        scene.app.receive().expect("a report").telegram.mti,
        *b"3120"
    );
    scene.centre.bytes(&report);
    scene.assert_event(50);
    scene.daemon.wait_log("dropped: Duplicate");
    scene.assert_serves(2);
}

/// A report of this transaction that breaks off in the middle of a section is a format error: event 48, and the payment waits on.
#[test]
fn a_report_without_whole_sections_is_a_format_error() {
    let mut scene = Scene::open("sections", |_| {});
    let request = scene.request(1);
    let mut broken = RawCentre::answer_bytes(&request, 3120);
    broken.truncate(63 + 100);
    set_trailer(&mut broken, 100);
    scene.centre.bytes(&broken);
    scene.assert_event(48);
    scene.daemon.wait_log("dropped: Format");
    scene.centre.answer(&request, 3120);
    assert_eq!(
        scene.app.receive().expect("a report").telegram.mti,
        *b"3120"
    );
}

/// Whatever bytes a session brings, whole frames of nonsense among them, the daemon goes on, and the next session serves.
#[test]
fn any_bytes_are_survived() {
    let mut scene = Scene::open("any-bytes", |_| {});
    let report = {
        let request = scene.request(1);
        RawCentre::answer_bytes(&request, 3120)
    };
    let mut state = 0x5eed_u64;
    let mut random = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    for round in 0..60 {
        let mut bytes = Vec::new();
        for _ in 0..20 {
            let mut frame = report.clone();
            for _ in 0..random() % 12 {
                let at = random() % frame.len();
                // Mostly digits, so that many of them stay frames.
                frame[at] = if random() % 4 == 0 {
                    random() as u8
                } else {
                    b'0' + (random() % 10) as u8
                };
            }
            bytes.extend_from_slice(&frame);
        }
        // The daemon may close the session before it has read everything.
        let _ = scene.centre.stream().write_all(&bytes);
        let _ = scene.centre.stream().shutdown(std::net::Shutdown::Both);
        scene
            .app
            .wait_status("no session", |status| status.sessions == 0);
        scene.centre = RawCentre::connect(&scene.plan);
        if round == 59 {
            scene.centre.permit_sign_on();
        } else {
            scene
                .app
                .wait_status("a session", |status| status.sessions == 1);
        }
    }
    // Some frames were the report as it has to be. If none of them came in time, the payment is cancelled.
    if scene.app.receive().is_err() {
        let cancel = scene.centre.next_of(8930);
        scene.centre.answer(&cancel, 8960);
    }
    scene.app.wait_open();
    scene.assert_serves(2);
}
