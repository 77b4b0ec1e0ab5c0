//! The centre over real sockets, against a gateway that is a script: it listens, says frames and hears answers.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use codec::cafis::frame::{Assembler, FrameError};
use codec::cafis::header::{Header, set_mti, set_route, set_sequence};
use codec::cafis::mti::Mti;
use loadgen::centre::ledger::{Anomaly, CancelledBy, Outcome};
use loadgen::centre::{Centre, CentreConfig, Handle, LineConfig, Timers};

const F01: &[u8] = include_bytes!("../../tests/golden/cafis/F01.frame");
const F02: &[u8] = include_bytes!("../../tests/golden/cafis/F02.frame");
const F09: &[u8] = include_bytes!("../../tests/golden/cafis/F09.frame");
const F10: &[u8] = include_bytes!("../../tests/golden/cafis/F10.frame");
const F14: &[u8] = include_bytes!("../../tests/golden/cafis/F14.frame");
const F19: &[u8] = include_bytes!("../../tests/golden/cafis/F19.frame");

const LIMIT: Duration = Duration::from_secs(10);

/// One session as the gateway has it.
struct Session {
    stream: TcpStream,
    assembler: Assembler,
    bytes: Vec<u8>,
}

impl Session {
    fn accept(listener: &TcpListener) -> Session {
        let (stream, _) = listener.accept().expect("the centre connects");
        stream.set_read_timeout(Some(LIMIT)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        Session {
            stream,
            assembler: Assembler::new(1_000_000_000),
            bytes: Vec::new(),
        }
    }

    fn say(&mut self, frame: &[u8]) {
        self.stream.write_all(frame).expect("said");
    }

    /// The next frame; `Err` if what comes is none, `Ok(None)` at the end of the stream.
    fn try_hear(&mut self) -> Result<Option<Vec<u8>>, FrameError> {
        let mut buffer = [0; 4096];
        loop {
            while !self.bytes.is_empty() {
                let split = self.assembler.split(0, &self.bytes)?;
                let frame = split.frame.map(|frame| frame.bytes().to_vec());
                let consumed = split.consumed;
                self.bytes.drain(..consumed);
                if frame.is_some() {
                    return Ok(frame);
                }
            }
            match self
                .stream
                .read(&mut buffer)
                .expect("the centre answers in time")
            {
                0 => return Ok(None),
                have => self.bytes.extend_from_slice(&buffer[..have]),
            }
        }
    }

    fn hear(&mut self) -> Vec<u8> {
        self.try_hear().expect("a frame").expect("not the end")
    }

    fn ask(&mut self, frame: &[u8]) -> Vec<u8> {
        self.say(frame);
        self.hear()
    }

    /// Type and error code of the answer.
    fn ask_code(&mut self, frame: &[u8]) -> (u16, String) {
        let answer = self.ask(frame);
        let mti = Header::new(&answer).expect("a header").mti().0;
        (mti, String::from_utf8_lossy(&answer[63..66]).into_owned())
    }
}

/// A centre with one line and a gateway whose sessions it has connected.
struct Scene {
    listener: TcpListener,
    centre: Handle,
    sessions: Vec<Session>,
}

impl Scene {
    fn new(sessions: usize, change: impl FnOnce(&mut CentreConfig)) -> Scene {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let mut config = CentreConfig {
            lines: vec![line(listener.local_addr().expect("an address"), sessions)],
            month_day: Some(*b"1130"),
            approval: Some(*b"0012345"),
            first_sequence: 101,
            timers: Timers {
                reconnect_ms: 20,
                reconnect_slow_ms: 20,
                reconnect_orderly_ms: 20,
                follow_on_ms: 300,
                ..Timers::default()
            },
            ..CentreConfig::default()
        };
        change(&mut config);
        let centre = Centre::start_thread(config).expect("a centre");
        let sessions = (0..sessions).map(|_| Session::accept(&listener)).collect();
        centre.wait_ready(LIMIT).expect("all sessions up");
        Scene {
            listener,
            centre,
            sessions,
        }
    }

    fn open(sessions: usize) -> Scene {
        let mut scene = Scene::new(sessions, |_| {});
        assert_eq!(scene.sessions[0].ask(F01), F02);
        scene.order("sequence 4711");
        scene
    }

    fn order(&self, text: &str) {
        let reply = self.centre.control(text);
        assert!(reply.starts_with("ok"), "{text}: {reply}");
    }

    /// Waits until the centre's counters say something.
    fn until(&self, what: &str) {
        let start = Instant::now();
        while !self
            .centre
            .control("stats")
            .split(' ')
            .any(|word| word == what)
        {
            assert!(
                start.elapsed() < LIMIT,
                "{what} never came: {}",
                self.centre.control("stats")
            );
            std::thread::yield_now();
        }
    }
}

fn line(gateway: SocketAddr, sessions: usize) -> LineConfig {
    LineConfig {
        name: "C01".into(),
        gateways: vec![gateway],
        sessions,
        company: *b"TEST0010000",
        x2: b'1',
        routes: 10,
    }
}

fn changed(frame: &[u8], change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut frame = frame.to_vec();
    change(&mut frame);
    frame
}

/// The first road: sign-on, authorisation, a cancel of each kind, and a ledger that tells it.
#[test]
fn a_transaction_is_approved_and_undone() {
    let mut scene = Scene::open(1);
    let gateway = &mut scene.sessions[0];
    assert_eq!(gateway.ask(F09), F10);
    assert_eq!(gateway.ask_code(F14), (8960, "   ".into()));
    assert_eq!(
        gateway.ask_code(F19),
        (8950, "   ".into()),
        "already undone: answered at once"
    );
    let book = scene.centre.ledger();
    let [entry] = &book.entries[..] else {
        panic!("{} entries", book.entries.len());
    };
    assert_eq!(&entry.key.0, b"991130123459900000100123");
    assert_eq!(
        (entry.line, entry.sequence, entry.route, entry.mti),
        (0, 123, 2, Mti(3110))
    );
    assert_eq!(
        (entry.outcome, entry.cancelled),
        (Outcome::Approved, Some(CancelledBy::Command(Mti(8930))))
    );
    assert_eq!(
        (entry.faults, entry.anomalies, entry.centre_seq),
        (2, 0, 4711)
    );
    assert!(entry.report_us >= entry.request_us && entry.request_us > 0);
    let finished = scene.centre.stop().expect("stopped");
    assert_eq!(finished.ledger().entries(), &book.entries[..]);
}

/// What is not as it should be gets the code the interface gives it.
#[test]
fn wrong_frames_get_their_codes() {
    let mut scene = Scene::open(2);
    scene.order("delay 60000");
    scene.sessions[0].say(F09);
    scene.until("requests=1");
    scene.order("delay off");
    let second = changed(F09, |frame| set_sequence(frame, 124));
    let gateway = &mut scene.sessions[1];
    assert_eq!(
        gateway.ask_code(&second),
        (8970, "C51".into()),
        "the route is taken, whatever the session"
    );
    assert_eq!(
        gateway.ask_code(&changed(F09, |f| f[21] = b'X')).1,
        "C51",
        "the first failure wins"
    );
    let free = changed(&second, |frame| set_route(frame, 4));
    assert_eq!(gateway.ask_code(&changed(&free, |f| f[21] = b'X')).1, "C53");
    assert_eq!(
        gateway.ask_code(&changed(&free, |f| set_route(f, 22))).1,
        "C55"
    );
    assert_eq!(
        gateway.ask_code(&changed(F14, |f| set_route(f, 6))).1,
        "C56"
    );
    assert_eq!(gateway.ask_code(&changed(&free, |f| f[9] = b'x')).1, "C58");
    scene.order("end");
    let end = scene.sessions.iter_mut().map(|session| {
        session
            .stream
            .set_read_timeout(Some(Duration::from_millis(100)))
            .expect("a timeout");
        session.stream.peek(&mut [0; 1]).is_ok()
    });
    let came: Vec<bool> = end.collect();
    let which = came.iter().position(|&came| came).expect("the 0910 came");
    let command = scene.sessions[which].hear();
    scene.sessions[which].say(&changed(&command, |f| set_mti(f, Mti(920))));
    scene.until("open_lines=0");
    scene.sessions[which]
        .stream
        .set_read_timeout(Some(LIMIT))
        .expect("a timeout");
    assert_eq!(scene.sessions[which].ask_code(&free).1, "C60");
}

/// Frames that come byte by byte, or several in one segment, are heard alike; and so they are said on order.
#[test]
fn frames_may_be_cut_and_gathered() {
    let mut scene = Scene::open(1);
    for byte in F09 {
        scene.sessions[0].say(&[*byte]);
    }
    assert_eq!(scene.sessions[0].hear(), F10);
    let three: Vec<u8> = (1..=3u16)
        .flat_map(|at| {
            changed(F09, |frame| {
                set_route(frame, 2 * at);
                set_sequence(frame, u32::from(at) + 200);
                frame[63 + 36] = b'5' + at as u8;
            })
        })
        .collect();
    scene.order("split 1");
    scene.sessions[0].say(&three);
    for at in 1..=3u16 {
        let answer = scene.sessions[0].hear();
        assert_eq!(
            Header::new(&answer).expect("a header").route(),
            Some(2 * at)
        );
    }
    scene.order("split 0");
    scene.order("merge 3");
    for frame in three.chunks(F09.len()) {
        scene.sessions[0].say(frame);
    }
    let mut all = vec![0; 3 * F10.len()];
    scene.sessions[0]
        .stream
        .read_exact(&mut all)
        .expect("three answers");
    assert_eq!(scene.centre.ledger().count(Anomaly::DuplicateSequence), 3);
}

/// Silence is heard as nothing, late reports after the cancel, duplicates twice, and another session on another one.
#[test]
fn the_centre_misbehaves_on_order() {
    let mut scene = Scene::open(2);
    scene.order("silent on C01");
    scene.sessions[0].say(F09);
    scene.until("silenced=1");
    scene.order("silent off");
    assert_eq!(
        scene.sessions[0].ask_code(F14),
        (8960, "   ".into()),
        "nothing was before it"
    );
    scene.order("late 50");
    let second = changed(F09, |frame| {
        set_sequence(frame, 124);
        frame[63 + 36] = b'4';
    });
    scene.sessions[0].say(&second);
    scene.until("approved=2");
    scene.order("late off");
    assert_eq!(
        scene.sessions[0].ask_code(&changed(F14, |f| {
            set_sequence(f, 124);
            f[63 + 36] = b'4';
        })),
        (8960, "   ".into())
    );
    assert_eq!(
        Header::new(&scene.sessions[0].hear())
            .expect("a header")
            .mti(),
        Mti(3120),
        "late"
    );
    scene.order("duplicate");
    assert_eq!(scene.sessions[0].ask(F09), scene.sessions[0].hear());
    scene.order("other-session on");
    scene.sessions[0].say(F09);
    assert_eq!(
        Header::new(&scene.sessions[1].hear())
            .expect("a header")
            .mti(),
        Mti(3120)
    );
    scene.order("other-session off");
    assert_eq!(scene.centre.ledger().count(Anomaly::ImageDiffers), 0);
}

/// A bad trailer cannot be framed, half a frame ends in mid-frame, and the centre comes back after each.
#[test]
fn broken_frames_end_the_session_and_the_centre_returns() {
    let mut scene = Scene::open(1);
    scene.order("bad-trailer");
    scene.sessions[0].say(F09);
    assert!(matches!(
        scene.sessions[0].try_hear(),
        Err(FrameError::TrailerNotDigits {
            bytes: [b'A', b'1', b'2']
        })
    ));
    scene.sessions[0]
        .stream
        .shutdown(Shutdown::Both)
        .expect("closed");
    scene.sessions[0] = Session::accept(&scene.listener);
    assert_eq!(scene.sessions[0].ask(F01).len(), 63);
    scene.order("half-frame close");
    scene.sessions[0].say(F09);
    assert_eq!(scene.sessions[0].try_hear(), Ok(None));
    assert_eq!(
        scene.sessions[0].assembler.end_of_stream(),
        Some(FrameError::EndInMidFrame { have: 104 })
    );
    scene.sessions[0] = Session::accept(&scene.listener);
    scene.sessions[0].ask(F01);
    scene.sessions[0].say(&F09[..100]);
    assert_eq!(
        scene.sessions[0].try_hear(),
        Ok(None),
        "the centre's follow-on timer closes the session"
    );
    scene.sessions[0] = Session::accept(&scene.listener);
    scene.sessions[0].ask(F01);
    scene.sessions[0].say(&changed(F09, |frame| frame[60] = b'x'));
    assert_eq!(scene.sessions[0].try_hear(), Ok(None));
    assert_eq!(scene.centre.ledger().count(Anomaly::Framing), 2);
}

/// Sessions are cut on order, connected again, and one too many is connected on order.
#[test]
fn sessions_are_cut_and_exceeded() {
    let mut scene = Scene::open(2);
    scene.order("cut all");
    for session in &mut scene.sessions {
        assert_eq!(session.try_hear(), Ok(None));
    }
    scene.sessions = (0..2).map(|_| Session::accept(&scene.listener)).collect();
    scene.until("sessions_up=2");
    assert_eq!(
        scene.sessions[0].ask_code(F09),
        (8970, "C60".into()),
        "losing all sessions closed the line"
    );
    scene.order("excess");
    let mut extra = Session::accept(&scene.listener);
    extra.ask(F01);
    drop(extra);
    assert_eq!(scene.sessions[0].ask_code(F09).0, 3120);
}

/// Two centres in one process keep apart, and orders that are wrong say why.
#[test]
fn centres_keep_apart_and_name_wrong_orders() {
    let mut one = Scene::open(1);
    let mut other = Scene::open(1);
    one.order("refuse 100 G54");
    assert_eq!(one.sessions[0].ask_code(F09), (3150, "G54".into()));
    assert_eq!(other.sessions[0].ask_code(F09), (3120, "   ".into()));
    let wrong = [
        ("sulk", "no order 'sulk'"),
        ("silent on C09", "no line is called 'C09'"),
        ("refuse 101 G54", "101 is no percentage"),
        ("code8970 12", "'12' is no code"),
        ("code8970 C12 5 8930", "not for 8930"),
        ("long-trailer 100", "962 to 999"),
        ("request 9999", "no incoming message of type 9999"),
        ("rule effect=delay", "delay needs ms"),
        ("rule effect=delay mtis=3110", "unknown field"),
    ];
    for (order, reason) in wrong {
        let reply = one.centre.control(order);
        assert!(
            reply.starts_with("error") && reply.contains(reason),
            "{order}: {reply}"
        );
    }
    one.order("refuse off");
    one.order(
        "rule effect=code code=C33 mti=3110 nth=2 terminal=1234599000001 terminal_seq=123 name=odd",
    );
    assert_eq!(one.sessions[0].ask_code(F09).0, 3120);
    assert_eq!(one.sessions[0].ask_code(F09), (8970, "C33".into()));
    one.order("rule off odd");
}
