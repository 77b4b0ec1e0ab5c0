//! The C interface as a C program sees it: programs compiled with the system's `cc` against the header and the built
//! library, run against a scripted daemon on real sockets. Every return code that a function may give is reached.

#[path = "../../tests/fake/mod.rs"]
mod fake;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;

use client::{DroppedTelegram, Status};
use codec::link::frame::Kind;
use codec::link::message::Report;
use codec::link::{Head, rc};
use fake::{Fake, Fate, OnAck, OnSend, Rules};

/// A place for this run's files.
fn scratch() -> &'static Path {
    static SCRATCH: OnceLock<PathBuf> = OnceLock::new();
    SCRATCH.get_or_init(|| {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("c_api");
        std::fs::create_dir_all(&path).expect("a directory");
        path
    })
}

/// The directory of `libfxapi.so`, which cargo has built beside this test.
fn library() -> PathBuf {
    let test = std::env::current_exe().expect("this test's path");
    let directory = test.parent().expect("a directory").to_owned();
    assert!(
        directory.join("libfxapi.so").exists(),
        "libfxapi.so is not beside {}",
        test.display()
    );
    directory
}

/// Compiles a program of the client folder, once, with every warning an error.
fn compiled(source: &str) -> PathBuf {
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let name = Path::new(source).file_stem().expect("a file name");
    let program = scratch().join(name);
    // Tests may be processes of their own and compile at the same time: none may start another's half-written program.
    let fresh = program.with_extension(std::process::id().to_string());
    let status = Command::new("cc")
        .args([
            "-std=c11",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-pedantic",
            "-D_POSIX_C_SOURCE=200809L",
        ])
        .arg("-I")
        .arg(client.join("include"))
        .arg("-o")
        .arg(&fresh)
        .arg(client.join(source))
        .arg("-L")
        .arg(library())
        .args(["-lfxapi", "-lpthread"])
        .status()
        .expect("cc runs");
    assert!(status.success(), "{source} does not compile");
    std::fs::rename(&fresh, &program).expect("in the same directory");
    program
}

fn driver() -> &'static Path {
    static DRIVER: OnceLock<PathBuf> = OnceLock::new();
    DRIVER.get_or_init(|| compiled("fxapi/tests/c/driver.c"))
}

fn example() -> &'static Path {
    static EXAMPLE: OnceLock<PathBuf> = OnceLock::new();
    EXAMPLE.get_or_init(|| compiled("examples/authorise.c"))
}

/// A directory with the `fx_cf.cf` of a daemon on this port.
fn configuration(port: u16) -> PathBuf {
    let directory = scratch().join(format!("conf-{port}"));
    std::fs::create_dir_all(&directory).expect("a directory");
    let text = format!(
        "# where the daemon is\r\nSOCKET_PORT\r\n{{\r\n  FXIPC_COM {port};\r\n  FXIPC_FXUMAIN_HOST \"127.0.0.1\";\r\n}}\r\n"
    );
    // A program that has just been started may be reading the same file: it sees the old or the new one, never a part.
    let (fresh, file) = (directory.join("fresh"), directory.join("fx_cf.cf"));
    std::fs::write(&fresh, text).expect("written");
    std::fs::rename(fresh, file).expect("in the same directory");
    directory
}

fn command(program: &Path, port: u16) -> Command {
    let mut command = Command::new(program);
    command
        .env("LD_LIBRARY_PATH", library())
        .env("FX_CONF", configuration(port));
    command
}

/// Runs the driver and returns its lines.
fn run(fake: &Fake, words: &str) -> Vec<String> {
    let mut running = Running::start(fake, words);
    let lines = running.lines();
    running.end();
    lines
}

/// A driver that pauses where its words say so.
struct Running {
    child: Child,
    input: ChildStdin,
    output: BufReader<std::process::ChildStdout>,
}

impl Running {
    fn start(fake: &Fake, words: &str) -> Running {
        let mut child = command(driver(), fake.port)
            .args(words.split_whitespace())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the driver runs");
        let input = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        Running {
            child,
            input,
            output,
        }
    }

    /// Lines up to the next pause, or the end. Text that is no UTF-8 is shown with replacement characters.
    fn lines(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut line = Vec::new();
        while self.output.read_until(b'\n', &mut line).expect("readable") > 0 {
            let text = String::from_utf8_lossy(&line)
                .trim_end_matches('\n')
                .to_owned();
            if text == "pause" {
                break;
            }
            lines.push(text);
            line.clear();
        }
        lines
    }

    fn go_on(&mut self) {
        self.input.write_all(b"\n").expect("written");
    }

    fn end(mut self) {
        assert!(self.child.wait().expect("ended").success());
    }
}

/// The last line of a run.
fn last(fake: &Fake, words: &str) -> String {
    run(fake, words).pop().expect("a line")
}

/// A payment through C: every output has its width, no zero is added, nothing is written behind it.
#[test]
fn a_payment_fills_its_fields() {
    let fake = Fake::start(Rules::default());
    let report = "01#|000042#|TEST9000000#|TEST0010000#|3120###|1123#|4|data#";
    assert_eq!(
        run(&fake, "open connect poll send receive poll close"),
        [
            "open 0",
            "connect 0",
            "poll 14",
            "send 0",
            report,
            "receive 0",
            "poll 14",
            "close 0",
        ]
    );
    assert_eq!(fake.book()[0].fate, Fate::Delivered);
    fake.rule(|rules| rules.on_send = OnSend::Accept);
    let mut running = Running::start(&fake, "open send poll pause is poll");
    assert_eq!(running.lines(), ["open 0", "send 0", "poll 14"]);
    fake.report_open();
    running.go_on();
    // The answer to "is" comes behind the report, so the poll finds it.
    assert_eq!(running.lines()[2..], [report, "poll 0"]);
    running.end();
}

/// The example program approves, and declares what it was told by its exit code.
#[test]
fn the_example_authorises() {
    let fake = Fake::start(Rules::default());
    let output = command(example(), fake.port)
        .args(["00042", "1200", "signon"])
        .output()
        .expect("the example runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text.contains("kind 3120 error [   ]"), "{text}");
    assert!(text.contains("terminal sequence 00042"), "{text}");
    assert_eq!(fake.book()[0].data.len(), 47 + 98);
}

/// Wherever the link is cut, before or behind a frame, the example approves once.
#[test]
fn the_example_survives_a_cut_at_any_frame() {
    for cut_behind in [false, true] {
        for cut_at in 3.. {
            let fake = Fake::start(Rules {
                cut_at: Some(cut_at),
                cut_behind,
                ..Rules::default()
            });
            let output = command(example(), fake.port)
                .arg("1")
                .output()
                .expect("the example runs");
            assert_eq!(output.status.code(), Some(0), "cut at {cut_at}: {output:?}");
            let book = fake.book();
            assert_eq!(book.len(), 1, "one payment, cut at {cut_at}: {book:?}");
            assert_eq!(book[0].fate, Fate::Delivered, "cut at {cut_at}");
            if fake.frames() < cut_at {
                break;
            }
        }
    }
}

/// A report that the daemon gave up before is not taken for a payment: the example cancels by key.
#[test]
fn the_example_settles_what_is_unknown() {
    let fake = Fake::start(Rules {
        on_ack: OnAck::TooLate,
        ..Rules::default()
    });
    let output = command(example(), fake.port)
        .arg("7")
        .output()
        .expect("the example runs");
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let keys = fake.keys_cancelled();
    assert_eq!(&keys[0][6..], b"990019900000100007");
}

/// NULL and values out of range give RC 1000, wherever they stand.
#[test]
fn bad_arguments_give_1000() {
    let fake = Fake::start(Rules::default());
    let lines = run(&fake, "open nulls send");
    let (first, rest) = lines.split_first().expect("lines");
    let (last, bad) = rest.split_last().expect("lines");
    assert_eq!((first.as_str(), last.as_str()), ("open 0", "send 0"));
    assert_eq!(bad.len(), 28);
    for line in bad {
        assert!(line.ends_with(" 1000"), "{line}");
    }
    assert_eq!(fake.book().len(), 1, "nothing else was sent");
}

/// Sessions that are unknown, closed, or busy in another thread.
#[test]
fn sessions_are_exclusive() {
    let fake = Fake::start(Rules {
        on_send: OnSend::Accept,
        ..Rules::default()
    });
    assert_eq!(
        run(
            &fake,
            "send receive cancel connect close open close close is"
        ),
        [
            "send 7",
            "receive 7",
            "cancel 7",
            "connect 7",
            "close 7",
            "open 0",
            "close 0",
            "close 7",
            "running 0 signon 0 switch 0 recovery 0",
            "is 0",
        ]
    );
    let mut running = Running::start(&fake, "open send pause threads close");
    assert_eq!(running.lines(), ["open 0", "send 0"]);
    running.go_on();
    let mut lines = Vec::new();
    for _ in 0..4 {
        let mut line = String::new();
        running.output.read_line(&mut line).expect("a line");
        lines.push(line.trim_end().to_owned());
    }
    assert_eq!(lines, ["send 13", "close 13", "connect 13", "cutdate 13"]);
    fake.report_open();
    assert_eq!(running.lines(), ["receive 0", "close 0"]);
    running.end();
}

/// The daemon's codes come through FX_SendMsg_CF, FX_SendSystemCancel_CF and the orders; what a function does not know
/// becomes RC 16, or RC 18 where it does not know that either.
#[test]
fn the_daemons_codes_come_through() {
    let fake = Fake::start(Rules::default());
    for (given, returned) in [
        (16, 16),
        (19, 19),
        (25, 25),
        (34, 34),
        (40, 40),
        (43, 43),
        (36, 16),
    ] {
        fake.rule(|rules| rules.on_send = OnSend::Refuse(given));
        assert_eq!(last(&fake, "open send"), format!("send {returned}"));
    }
    let orders: [(&str, &[u16]); 8] = [
        ("cancel", &[0, 1, 12, 16, 17, 25, 31, 34, 36, 40, 43]),
        ("connect", &[0, 1, 10, 16, 25, 43]),
        ("disconnect", &[0, 1, 10, 16, 25, 43]),
        ("signon", &[0, 24]),
        ("signoff", &[0, 24]),
        ("shutdown", &[0, 23]),
        ("recovery", &[0, 1, 12, 16, 17, 25, 34, 40, 43]),
        ("cutover", &[0]),
    ];
    for (word, codes) in orders {
        for code in codes {
            fake.rule(|rules| rules.done = *code);
            let words = format!("open {word}");
            assert_eq!(last(&fake, &words), format!("{word} {code}"));
        }
    }
    fake.rule(|rules| rules.done = rc::ERR_JOURNAL);
    assert_eq!(last(&fake, "open cutover"), "cutover 18");
    assert_eq!(last(&fake, "open force"), "force 18");
    let errors: [(u16, u16); 5] = [(10, 10), (16, 16), (17, 17), (40, 40), (19, 16)];
    for (given, returned) in errors {
        fake.rule(|rules| rules.on_send = OnSend::AcceptThenEnd(given));
        let lines = run(&fake, "open send receive poll");
        assert_eq!(lines[2], format!("receive {returned}"));
        assert_eq!(lines[3], "poll 14", "an end is told once");
    }
    assert_eq!(last(&fake, "open send-control"), "send-control 11");
    assert_eq!(last(&fake, "send-control"), "send-control 7");
}

/// The timers: a report's wait ends 10 s after the kind's timer and gives the request up; the wait for events ends
/// with its own setting and gives nothing up; an order without an answer ends as its timer says.
#[test]
fn waits_end_in_time() {
    let fake = Fake::start(Rules {
        t31_ms: 0,
        event_ms: 30,
        on_send: OnSend::Accept,
        ..Rules::default()
    });
    assert_eq!(
        run(&fake, "open centre centre-poll send receive"),
        [
            "open 0",
            "centre 10",
            "centre-poll 14",
            "send 0",
            "receive 10"
        ]
    );
    fake.until("given up", |f| f.book()[0].fate == Fate::Ended(10));
    fake.rule(|rules| rules.ignore_orders = true);
    let mut calls =
        ["connect", "cancel", "signon"].map(|word| Running::start(&fake, &format!("open {word}")));
    let ends: Vec<String> = calls
        .iter_mut()
        .map(|call| call.lines().pop().expect("a line"))
        .collect();
    assert_eq!(ends, ["connect 10", "cancel 10", "signon 18"]);
}

/// Events and centre requests reach "CENTER": kind FEXICS and zeros, a block of 257 bytes; a request in 6 bytes of kind.
#[test]
fn events_reach_the_centre_call() {
    let fake = Fake::start(Rules::default());
    let words = "open centre-poll pause centre centre centre answer close";
    let mut running = Running::start(&fake, words);
    assert_eq!(running.lines(), ["open 0", "centre-poll 14"]);
    let mut event = Head::new(Kind::Event);
    event.code = 41;
    fake.push(event, b"");
    event.code = 50;
    let dropped = DroppedTelegram {
        mti: *b"3520",
        issuer: *b"TEST9000000",
        sequence: *b"000100",
        key: *b"260401990019900000100001",
    };
    fake.push(event, &dropped.encode());
    let mut request = Head::new(Kind::Request);
    request.session = fake.session_number();
    let mut body = Report {
        centre_id: *b"01",
        centre_seq: *b"000007",
        issuer: *b"TEST0010000",
        acquirer: *b"TEST9000000",
        mti: *b"3110",
        date: *b"1123",
        data: b"",
    }
    .encode_head()
    .to_vec();
    body.extend_from_slice(b"asked");
    fake.push(request, &body);
    running.go_on();
    let lines = running.lines();
    let zeros = "00#|000000#|00000000000#|00000000000#|FEXICS#|0000#|257|";
    assert!(lines[0].starts_with(&format!("{zeros}41")), "{lines:?}");
    assert!(lines[0].ends_with(" #"), "{lines:?}");
    assert!(lines[2].starts_with(&format!("{zeros}50")), "{lines:?}");
    assert!(lines.iter().any(|l| l.ends_with("=\"9900199000001\"")));
    let asked = "01#|000007#|TEST0010000#|TEST9000000#|3110  #|1123#|5|asked#";
    assert!(lines.iter().any(|l| l == asked), "{lines:?}");
    let end = &lines[lines.len() - 3..];
    assert_eq!(end, ["centre 0", "answer 0", "close 0"]);
    running.end();
}

/// The cut date as a `struct tm`, and the FX_Is functions over the line's states.
#[test]
fn status_functions_read_the_line() {
    let fake = Fake::start(Rules::default());
    let text = "2026-11-30 wday 1 yday 333 dst -1";
    assert_eq!(run(&fake, "open cutdate")[1], text);
    for (service, recovering, is) in [
        (0, false, "running 1 signon 0 switch 0 recovery 0"),
        (2, false, "running 1 signon 0 switch 1 recovery 0"),
        (4, false, "running 1 signon 1 switch 0 recovery 0"),
        (4, true, "running 1 signon 1 switch 1 recovery 1"),
    ] {
        fake.rule(|rules| {
            rules.status = Status {
                service,
                recovering,
                ..Status::default()
            };
        });
        assert_eq!(run(&fake, "open is")[1], is);
    }
    fake.rule(|rules| rules.ignore_orders = true);
    assert_eq!(last(&fake, "open cutdate"), "cutdate 18");
}

/// No daemon, no configuration, another version, garbage, a refusal: FX_OpenSession_CF fails with its two codes.
#[test]
fn a_daemon_that_cannot_be_used_gives_18() {
    let fake = Fake::start(Rules::default());
    fake.rule(|rules| rules.version = 9);
    assert_eq!(last(&fake, "open"), "open 18");
    fake.rule(|rules| rules.garbage = Some(b"SSH-2.0-not-a-link\r\n".to_vec()));
    assert_eq!(last(&fake, "open"), "open 18");
    let fake = Fake::start(Rules {
        refuse_open: Some(rc::ERROR_DAEMON),
        ..Rules::default()
    });
    assert_eq!(last(&fake, "open"), "open 18");
    fake.stop();
    assert_eq!(last(&fake, "open"), "open 18");
    let output = command(driver(), fake.port)
        .env("FX_CONF", scratch().join("nothing-here"))
        .arg("open")
        .output()
        .expect("the driver runs");
    assert_eq!(output.stdout, b"open 15\n");
}

/// A daemon that is gone for good: RC 18, or RC 24 where the function knows it; then the session is to be closed.
#[test]
fn a_daemon_that_went_away_gives_18_or_24() {
    let fake = Fake::start(Rules::default());
    let mut running = Running::start(
        &fake,
        "open send pause receive signon send cutdate is close",
    );
    assert_eq!(running.lines(), ["open 0", "send 0"]);
    fake.stop();
    running.go_on();
    assert_eq!(
        running.lines(),
        [
            "receive 18",
            "signon 24",
            "send 18",
            "cutdate 18",
            "running 0 signon 0 switch 0 recovery 0",
            "is 0",
            "close 0"
        ]
    );
    running.end();
}

/// Credit that is used up makes the send wait its ten seconds, then RC 18, and nothing was sent.
#[test]
fn used_up_credit_gives_18() {
    let fake = Fake::start(Rules {
        credit: 1,
        on_send: OnSend::Accept,
        ..Rules::default()
    });
    assert_eq!(
        run(&fake, "open send send"),
        ["open 0", "send 0", "send 18"]
    );
    assert_eq!(fake.book().len(), 1);
}

/// The header's codes are the codec's codes, name by name.
#[test]
fn the_header_agrees_with_the_link() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../include/fxapi.h");
    let header = std::fs::read_to_string(path).expect("the header");
    let mut seen = 0;
    for line in header.lines() {
        let mut words = line.split_whitespace();
        if let (Some("#define"), Some(name), Some(value)) =
            (words.next(), words.next(), words.next())
            && let Ok(value) = value.parse::<u16>()
        {
            let known = rc::name(value);
            assert!(
                known == "RC_?" || known == name || !name.starts_with("RC_"),
                "{line}"
            );
            seen += usize::from(known == name);
        }
    }
    let known = (0..=1000).filter(|c| rc::name(*c) != "RC_?").count();
    assert_eq!(seen, known, "every code of the link is in the header");
}
