//! The centre played by hand: golden frames, and each answer it may give to a fault command.

use codec::cafis::frame::{FRAME_MAX, Frame};
use codec::cafis::header::{set_mti, set_originator_day, set_route, set_sequence};
use codec::cafis::mti::Mti;

use super::config::CentreConfig;
use super::ledger::{Anomaly, CancelledBy, Outcome};
use super::sim::{Ended, Now, Sim};

const F01: &[u8] = include_bytes!("../../../tests/golden/cafis/F01.frame");
const F02: &[u8] = include_bytes!("../../../tests/golden/cafis/F02.frame");
const F03: &[u8] = include_bytes!("../../../tests/golden/cafis/F03.frame");
const F04: &[u8] = include_bytes!("../../../tests/golden/cafis/F04.frame");
const F05: &[u8] = include_bytes!("../../../tests/golden/cafis/F05.frame");
const F06: &[u8] = include_bytes!("../../../tests/golden/cafis/F06.frame");
const F09: &[u8] = include_bytes!("../../../tests/golden/cafis/F09.frame");
const F10: &[u8] = include_bytes!("../../../tests/golden/cafis/F10.frame");
const F11: &[u8] = include_bytes!("../../../tests/golden/cafis/F11.frame");
const F12: &[u8] = include_bytes!("../../../tests/golden/cafis/F12.frame");
const F14: &[u8] = include_bytes!("../../../tests/golden/cafis/F14.frame");
const F15: &[u8] = include_bytes!("../../../tests/golden/cafis/F15.frame");
const F16: &[u8] = include_bytes!("../../../tests/golden/cafis/F16.frame");
const F17: &[u8] = include_bytes!("../../../tests/golden/cafis/F17.frame");
const F18: &[u8] = include_bytes!("../../../tests/golden/cafis/F18.frame");
const F19: &[u8] = include_bytes!("../../../tests/golden/cafis/F19.frame");
const F20: &[u8] = include_bytes!("../../../tests/golden/cafis/F20.frame");
const F22: &[u8] = include_bytes!("../../../tests/golden/cafis/F22.frame");
const F23: &[u8] = include_bytes!("../../../tests/golden/cafis/F23.frame");

/// A centre with one line of two sessions, both up, whose numbers are those of the examples.
struct Play(Sim);

impl Play {
    fn new(change: impl FnOnce(&mut CentreConfig)) -> Play {
        let mut config = CentreConfig {
            lines: vec![
                "at=127.0.0.1:1,sessions=2,routes=10"
                    .parse()
                    .expect("a line"),
            ],
            month_day: Some(*b"1130"),
            approval: Some(*b"0012345"),
            first_sequence: 101,
            ledger_capacity: 16,
            ..CentreConfig::default()
        };
        change(&mut config);
        let mut sim = Sim::new(config).expect("a centre");
        sim.actions.clear();
        sim.set_now(Now { ns: 0, us: 1 });
        sim.on_connected(0);
        sim.on_connected(1);
        Play(sim)
    }

    fn open() -> Play {
        let mut play = Play::new(|_| {});
        assert_eq!(play.say(F01), F02);
        play.order("sequence 4711");
        play
    }

    /// Gives a frame to session 0 and takes what comes out of it.
    fn say(&mut self, frame: &[u8]) -> Vec<u8> {
        let long = frame.len() > FRAME_MAX;
        let frame = if long {
            Frame::OverLong(frame)
        } else {
            Frame::Whole(frame)
        };
        self.0.on_frame(0, frame);
        self.hear(0)
    }

    fn hear(&mut self, session: usize) -> Vec<u8> {
        std::mem::take(&mut self.0.sessions[session].out)
    }

    fn order(&mut self, text: &str) {
        let reply = self.0.command(text);
        assert!(reply.starts_with("ok"), "{text}: {reply}");
    }

    fn at_ms(&mut self, ms: u64) -> Vec<u8> {
        self.0.set_now(Now {
            ns: ms * 1_000_000,
            us: ms * 1_000,
        });
        self.0.on_timers();
        self.hear(0)
    }

    /// Type and error code of the only answer.
    fn code(&mut self, frame: &[u8]) -> (u16, String) {
        code_of(&self.say(frame))
    }
}

fn code_of(answer: &[u8]) -> (u16, String) {
    if answer.is_empty() {
        return (0, String::new());
    }
    let text = |range: std::ops::Range<usize>| String::from_utf8_lossy(&answer[range]).into_owned();
    (text(43..47).parse().expect("a type"), text(63..66))
}

fn changed(frame: &[u8], change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut frame = frame.to_vec();
    change(&mut frame);
    frame
}

/// Every example that the centre sends comes out byte for byte, from the example it answers.
#[test]
fn the_centres_examples_come_out() {
    let mut play = Play::open();
    assert_eq!(play.say(F09), F10);
    play.order("sequence 4712");
    assert_eq!(play.say(F14), F15, "8930: undone");
    assert_eq!(play.say(F19), F20, "8910: undone");
    assert_eq!(play.say(F22), F23, "turnaround test");
    play.order("sequence 103");
    assert_eq!(play.say(F05), F06);
    play.order("sequence 102");
    play.order("start");
    assert_eq!([play.hear(0), play.hear(1)].concat(), F03);
    play.say(F04);
    assert!(play.0.command("stats").contains("open_lines=1"));
}

/// The examples in which something is refused come out as well.
#[test]
fn the_refusals_of_the_examples_come_out() {
    let mut play = Play::open();
    assert_eq!(play.say(F14), F18, "8930 for a request that never came");
    play.order("refuse 100 G54");
    assert_eq!(play.say(F09), F11);
    play.order("refuse off");
    play.order("issuer failed");
    assert_eq!(play.say(F16), F17, "8940 while the issuer is down");
    let mut play = Play::open();
    play.order("issuer busy");
    assert_eq!(play.say(F09), F12);
    let mut play = Play::open();
    play.order("code8970 C12");
    assert_eq!(play.say(F09), F12, "the same by a rule");
}

/// Each wrong field of a request gets its code, and none of them becomes the last request of its route.
#[test]
fn wrong_requests_get_their_codes() {
    let mut play = Play::open();
    let cases: [(&str, Vec<u8>); 8] = [
        ("C55", changed(F09, |f| set_route(f, 22))),
        ("C58", changed(F09, |f| f[4] = b'x')),
        ("C53", changed(F09, |f| f[21] = b'X')),
        ("C54", changed(F09, |f| set_mti(f, Mti(3610)))),
        ("C58", changed(F09, |f| set_originator_day(f, *b"32"))),
        ("C56", changed(F09, |f| f[54] = b'1')),
        ("C01", changed(F09, |f| f[32..43].fill(b'0'))),
        ("C34", changed(F09, |f| f[207] = b' ')),
    ];
    for (code, frame) in cases {
        assert_eq!(play.code(&frame), (8970, code.into()));
    }
    assert_eq!(
        play.code(F14),
        (8970, "C56".into()),
        "nothing was accepted on the route"
    );
    let mut closed = Play::new(|_| {});
    assert_eq!(closed.code(F09), (8970, "C60".into()), "before the sign-on");
    let mut long = changed(F09, |f| f[60..63].copy_from_slice(b"970"));
    long.resize(63 + 970, b' ');
    let answer = play.say(&long);
    assert_eq!(
        (answer.len(), code_of(&answer)),
        (110, (8970, "C03".into())),
        "header and 1-0 alone (O-27)"
    );
}

/// A route that waits for the issuer takes no second request; the same route's 8930 wins over the issuer.
#[test]
fn a_cancel_wins_over_a_slow_issuer() {
    let mut play = Play::open();
    play.order("delay 500");
    assert!(play.say(F09).is_empty());
    let second = changed(F09, |f| set_sequence(f, 124));
    assert_eq!(play.code(&second), (8970, "C51".into()));
    play.order("delay off");
    assert_eq!(play.code(F14), (8960, "   ".into()));
    assert!(
        play.at_ms(600).is_empty(),
        "no report for the request any more"
    );
    let entries = play.0.ledger().entries();
    assert_eq!(entries[0].outcome, Outcome::None);
    assert_eq!(entries[0].cancelled, Some(CancelledBy::Command(Mti(8930))));
}

/// A late report was on its way: it comes after the cancel, as 9.1 warns.
#[test]
fn a_late_report_comes_whatever_happens() {
    let mut play = Play::open();
    play.order("late 500");
    assert!(play.say(F09).is_empty());
    play.order("late off");
    assert_eq!(play.code(F14), (8960, "   ".into()));
    assert_eq!(play.at_ms(600), F10);
}

/// A silent issuer costs t13, then C50; for a fault command t15, and the code rides on the report.
#[test]
fn a_silent_issuer_ends_in_c50() {
    let mut play = Play::open();
    play.order("issuer silent");
    assert!(play.say(F09).is_empty());
    assert!(play.at_ms(54_999).is_empty());
    assert_eq!(code_of(&play.at_ms(55_000)), (8970, "C50".into()));
    assert!(play.say(F14).is_empty());
    assert!(
        play.say(F16).is_empty(),
        "8940 takes the place of the 8930 on the route"
    );
    assert_eq!(code_of(&play.at_ms(110_000)), (8960, "C50".into()));
    assert!(play.at_ms(200_000).is_empty(), "one answer for both");
}

/// Silence keeps the answer and not the result: the request stands in the ledger and can be cancelled.
#[test]
fn silence_and_deafness_differ() {
    let mut play = Play::open();
    play.order("silent on");
    assert!(play.say(F09).is_empty());
    play.order("silent off");
    assert_eq!(play.0.ledger().entries()[0].outcome, Outcome::Approved);
    assert_eq!(play.0.ledger().entries()[0].report_us, 0);
    assert_eq!(play.code(F14), (8960, "   ".into()));
    let mut play = Play::open();
    play.order("deaf on");
    assert!(play.say(F09).is_empty());
    play.order("deaf off");
    assert!(play.0.ledger().entries().is_empty());
    assert_eq!(play.code(F14), (8970, "C56".into()));
}

/// The codes of rules reach fault commands where they belong: on the report or as an abnormal one.
#[test]
fn codes_for_fault_commands_ride_where_they_belong() {
    for (code, mti) in [
        ("C12", 8970),
        ("C13", 8960),
        ("C14", 8960),
        ("C50", 8960),
        ("C33", 8970),
        ("C15", 8970),
    ] {
        let mut play = Play::open();
        play.say(F09);
        play.order(&format!("fault-code {code} 100 8930"));
        assert_eq!(play.code(F14), (mti, code.into()));
        let cancelled = play.0.ledger().entries()[0].cancelled.is_some();
        assert_eq!(cancelled, mti == 8960, "{code}");
    }
}

/// What is wrong with a fault command is noted: an open PIN, another image, a request nobody sent.
#[test]
fn fault_commands_are_held_against_their_request() {
    let mut play = Play::open();
    play.say(F09);
    play.say(F14);
    assert_eq!(play.0.ledger().entries()[0].anomalies, 0);
    let unmasked = changed(F14, |f| f[63 + 47 + 71] = b'1');
    play.say(&unmasked);
    assert_eq!(play.0.ledger().count(Anomaly::Unmasked), 1);
    let other_amount = changed(F14, |f| f[63 + 47 + 89] = b'1');
    play.say(&other_amount);
    assert_eq!(
        play.0.ledger().count(Anomaly::ImageDiffers),
        2,
        "the PIN makes another image, too"
    );
    let unknown = changed(F19, |f| set_sequence(f, 900));
    assert_eq!(
        play.code(&unknown),
        (8950, "   ".into()),
        "answered all the same (O-31)"
    );
    assert_eq!(play.0.ledger().count(Anomaly::CancelUnknown), 1);
    let mut late = Play::open();
    late.say(F09);
    assert_eq!(
        late.code(&changed(F14, |f| set_sequence(f, 124))),
        (8970, "C56".into())
    );
    assert_eq!(
        late.code(&changed(F19, |f| f[10] = b'3')),
        (8970, "C56".into()),
        "X1 of a card company"
    );
}

/// A request that comes twice, or another one with its key, is noted; both are answered.
#[test]
fn repetitions_are_noted() {
    let mut play = Play::open();
    play.say(F09);
    assert_eq!(play.code(F09).0, 3120);
    assert_eq!(play.0.ledger().count(Anomaly::DuplicateSequence), 1);
    assert_eq!(play.0.ledger().count(Anomaly::KeyAgain), 1);
}

/// The wire rules spoil the next answer and only that one.
#[test]
fn wire_rules_spoil_one_answer() {
    let mut play = Play::open();
    play.order("duplicate");
    assert_eq!(play.say(F09).len(), 2 * F10.len());
    assert_eq!(play.say(F09).len(), F10.len());
    play.order("wrong-seq");
    assert_eq!(&play.say(F09)[4..10], b"000124");
    play.order("bad-trailer");
    assert_eq!(&play.say(F09)[60..63], b"A12");
    play.order("long-trailer 999");
    assert_eq!(play.say(F09).len(), 63 + 999);
    play.order("unmatched");
    let both = play.say(F09);
    assert_eq!(
        (&both[..10], &both[208..218]),
        (&b"0002000123"[..], &b"0020999999"[..])
    );
    play.order("half-frame");
    assert_eq!(play.say(F09).len(), 104);
    play.say(F09);
    assert_eq!(
        (play.hear(0).len(), play.hear(1).len()),
        (0, 208),
        "the session says nothing more"
    );
}

/// The end by the centre: requests get C15 after 0610, and C60 after 0910 was answered.
#[test]
fn the_end_by_the_centre_closes_the_line() {
    let mut play = Play::open();
    play.order("notice");
    let notice = [play.hear(0), play.hear(1)].concat();
    assert_eq!(&notice[43..47], b"0610");
    assert_eq!(play.code(F09), (8970, "C15".into()));
    assert!(
        play.say(&changed(&notice, |f| set_mti(f, Mti(620))))
            .is_empty()
    );
    assert_eq!(play.code(F09), (8970, "C15".into()));
    assert!(play.say(F01).is_empty(), "no sign-on while the centre ends");
    play.order("end");
    let end = [play.hear(0), play.hear(1)].concat();
    play.say(&changed(&end, |f| set_mti(f, Mti(920))));
    assert_eq!(play.code(F09), (8970, "C60".into()));
    assert_eq!(
        play.say(&changed(&end, |f| set_mti(f, Mti(920)))),
        b"",
        "an answer to nothing"
    );
    assert_eq!(play.0.ledger().count(Anomaly::AnswerDiffers), 1);
}

/// An incoming request that is not answered is undone by 8930 on the same route; an answer ends it.
#[test]
fn incoming_requests_are_supervised() {
    let mut play = Play::open();
    play.order("request 6110");
    let request = [play.hear(0), play.hear(1)].concat();
    assert_eq!(
        (&request[..4], &request[43..47]),
        (&b"0003"[..], &b"6110"[..])
    );
    play.say(&changed(&request, |f| set_mti(f, Mti(6150))));
    assert_eq!(play.0.stats().inward_answered, 1);
    play.order("request 3110");
    play.hear(0);
    play.hear(1);
    let undo = [play.at_ms(55_000), play.hear(1)].concat();
    assert_eq!((&undo[..4], &undo[43..47]), (&b"0003"[..], &b"8930"[..]));
    assert_eq!(play.0.stats().inward_expired, 1);
}

/// Losing every session fails the gateway: what waits is undone at the issuer, and the line is closed.
#[test]
fn losing_all_sessions_fails_the_gateway() {
    let mut play = Play::open();
    play.order("delay 500");
    play.say(F09);
    play.0.on_closed(0, Ended::Broken);
    play.0.on_closed(1, Ended::Broken);
    assert_eq!(
        play.0.ledger().entries()[0].cancelled,
        Some(CancelledBy::Centre)
    );
    play.0.on_connected(0);
    play.order("delay off");
    assert_eq!(play.code(F09), (8970, "C60".into()));
    play.say(F01);
    assert_eq!(
        play.code(F14),
        (8960, "   ".into()),
        "the last request of the route survives"
    );
}

/// The session beyond the agreed number is not connected again once it is closed; an agreed one is.
#[test]
fn only_agreed_sessions_return() {
    let mut play = Play::open();
    play.order("excess");
    play.0.on_connected(2);
    play.0.on_closed(2, Ended::Orderly);
    assert_eq!(play.0.next_ns(), None);
    play.0.on_closed(1, Ended::Orderly);
    assert_eq!(
        play.0.next_ns(),
        Some(1_000_000_000),
        "1 s after an orderly close (O-37)"
    );
    let mut play = Play::open();
    play.0.on_closed(1, Ended::Broken);
    assert_eq!(
        play.0.next_ns(),
        Some(80_000_000_000),
        "80 s after a failure (5.1.7)"
    );
}
