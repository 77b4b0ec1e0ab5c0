//! Flows of spec/cafis.md with exact bytes: the test plays the centre, the gateway is the real core and journal.

use tests::sim::SEC;
use tests::sim::app::Told;
use tests::sim::plan::Plan;
use tests::sim::world::World;

use codec::cafis::header::{set_mti, set_route, set_sequence};
use codec::cafis::mti::Mti;
use codec::cafis::section::set_error_code;
use codec::link::message::Order;
use codec::link::rc;
use engine::core::Notice;
use engine::core::service::Service;
use engine::core::tx::Outcome;

macro_rules! golden {
    ($name:literal) => {
        include_bytes!(concat!("../golden/cafis/", $name, ".frame")).as_slice()
    };
}

/// A world in which the test is the centre.
struct Stage {
    world: World,
}

impl Stage {
    /// Sessions are up, 7020 has not been answered.
    fn unopened(mut plan: Plan) -> Stage {
        plan.app_ns = 0;
        plan.last_sequence = 122;
        let mut world = World::new(1, plan);
        world.manual = true;
        let mut stage = Stage { world };
        stage.wait(4);
        stage
    }

    /// Service is open, and an application has an API session.
    fn open(plan: Plan) -> Stage {
        let mut stage = Stage::unopened(plan);
        stage.expect(golden!("F01"));
        stage.say(golden!("F02"));
        stage.enter();
        stage
    }

    /// The application connects and opens an API session.
    fn enter(&mut self) {
        self.world.connect_link(0).expect("a place for a link");
        self.wait(1);
        self.world.apps[0].open();
        self.world.flush_app(0);
        self.wait(1);
        assert!(self.world.apps[0].attached(), "the API session is open");
    }

    /// Time passes.
    fn wait(&mut self, seconds: u64) {
        let until = self.world.now + seconds * SEC;
        if let Err(failure) = self.world.run_until(until) {
            panic!("\n{failure}");
        }
    }

    fn session(&self) -> u64 {
        *self.world.sessions().first().expect("a session")
    }

    fn say(&mut self, frame: &[u8]) {
        let session = self.session();
        self.world.centre_says(session, frame);
        self.wait(1);
    }

    /// The next frame that the centre received.
    #[track_caller]
    fn next(&mut self) -> (u64, Vec<u8>) {
        self.world
            .inbox
            .pop_front()
            .expect("the gateway sends something")
    }

    #[track_caller]
    fn expect(&mut self, frame: &[u8]) {
        let (_, got) = self.next();
        assert_eq!(
            got.escape_ascii().to_string(),
            frame.escape_ascii().to_string()
        );
    }

    #[track_caller]
    fn expect_nothing(&mut self) {
        let left: Vec<String> = self
            .world
            .inbox
            .iter()
            .map(|(_, frame)| frame.escape_ascii().to_string())
            .collect();
        assert!(left.is_empty(), "nothing was to be sent: {left:?}");
    }

    /// The application sends the request of this telegram.
    fn send(&mut self, frame: &[u8]) -> usize {
        let World {
            now, apps, deals, ..
        } = &mut self.world;
        let deal = apps[0]
            .send_telegram(*now, frame, deals)
            .expect("a request");
        self.world.flush_app(0);
        self.wait(1);
        deal
    }

    /// The application takes what has arrived.
    fn take(&mut self) {
        self.world.apps[0].acknowledge_all();
        self.world.flush_app(0);
        self.wait(1);
    }

    fn give_up(&mut self) {
        let World { apps, deals, .. } = &mut self.world;
        apps[0].give_up_all(deals);
        self.world.flush_app(0);
        self.wait(1);
    }

    fn order(&mut self, order: Order) {
        let now = self.world.now;
        assert!(
            self.world.apps[0].control(now, order, 0),
            "an order is under way"
        );
        self.world.flush_app(0);
        self.wait(1);
    }

    fn told(&self, deal: usize) -> &Told {
        &self.world.deals[deal].told
    }

    #[track_caller]
    fn outcome(&self, transaction: u64) -> Outcome {
        self.world.book.entries[&transaction].outcome
    }

    fn noticed(&self, what: impl Fn(&Notice) -> bool) -> usize {
        self.world.seen.iter().filter(|notice| what(notice)).count()
    }

    fn open_transactions(&self) -> usize {
        let gateway = self.world.gateway.as_ref().expect("the gateway runs");
        gateway.pipeline.core().usage().transactions
    }

    /// The process dies and is started again; the centre connects.
    fn kill(&mut self) {
        self.world.kill().expect("a crash");
        while self.world.gateway.is_none() {
            self.wait(1);
        }
        self.wait(100);
        self.world.connect_session(0);
        self.wait(1);
    }
}

fn quiet() -> Plan {
    Plan::quiet(4, 1)
}

/// The same telegram with another number, and the terminal sequence that makes it another transaction.
fn another(frame: &[u8], route: u16, sequence: u32) -> Vec<u8> {
    let mut frame = frame.to_vec();
    set_route(&mut frame, route);
    set_sequence(&mut frame, sequence);
    frame[63 + 32..63 + 37].copy_from_slice(format!("{:05}", sequence).as_bytes());
    frame
}

fn with_type(frame: &[u8], mti: u16) -> Vec<u8> {
    let mut frame = frame.to_vec();
    set_mti(&mut frame, Mti(mti));
    frame
}

/// A control telegram of the centre with another type and number than F03.
fn command(mti: u16) -> Vec<u8> {
    with_type(golden!("F03"), mti)
}

/// The plain road: 7020/7110, 3110/3120, and the application has the report only once its delivery is on record.
#[test]
fn an_authorisation_goes_through() {
    let mut stage = Stage::open(quiet());
    let deal = stage.send(golden!("F09"));
    stage.expect(golden!("F09"));
    stage.say(golden!("F10"));
    assert_eq!(*stage.told(deal), Told::Nothing, "nobody has taken it");
    stage.take();
    assert_eq!(
        *stage.told(deal),
        Told::Delivered(*b"3120", golden!("F10")[63..].to_vec())
    );
    assert_eq!(stage.outcome(1), Outcome::Delivered);
    stage.wait(900);
    stage.expect_nothing();
}

/// A refusal and an 8970 are delivered like an approval; an 8970 that nobody takes starts nothing.
#[test]
fn refusals_and_abnormal_reports_end_it() {
    for (report, taken) in [
        (golden!("F11"), true),
        (golden!("F12"), true),
        (golden!("F12"), false),
    ] {
        let mut stage = Stage::open(quiet());
        stage.send(golden!("F09"));
        stage.expect(golden!("F09"));
        stage.say(report);
        if taken {
            stage.take();
        }
        stage.wait(900);
        stage.expect_nothing();
        let expected = if taken {
            Outcome::Delivered
        } else {
            Outcome::NotProcessed
        };
        assert_eq!(stage.outcome(1), expected);
    }
}

/// No report within t31: 8930 on the same route, and 8960 settles it. The application was told, and only then.
#[test]
fn a_lost_report_is_cancelled() {
    let mut stage = Stage::open(quiet());
    let deal = stage.send(golden!("F09"));
    stage.expect(golden!("F09"));
    stage.wait(56);
    stage.expect_nothing();
    assert_eq!(*stage.told(deal), Told::Nothing);
    stage.wait(2);
    stage.expect(golden!("F14"));
    assert_eq!(*stage.told(deal), Told::Ended(rc::TIME_OUT));
    stage.say(golden!("F15"));
    assert_eq!(stage.outcome(1), Outcome::Cancelled);
    assert_eq!(stage.open_transactions(), 0);
}

/// No answer within t32: 8940, the same bytes but for the type; 8960 with C13 settles it as well.
#[test]
fn a_lost_cancel_is_repeated() {
    let mut stage = Stage::open(quiet());
    stage.send(golden!("F09"));
    stage.wait(58);
    stage.expect(golden!("F09"));
    stage.expect(golden!("F14"));
    stage.wait(58);
    stage.expect(golden!("F16"));
    stage.say(golden!("F17"));
    assert_eq!(stage.outcome(1), Outcome::Cancelled);
}

/// The centre never received the request: 8970 C56 to the 8930 ends it, and the route is free.
#[test]
fn a_request_that_never_arrived() {
    let mut stage = Stage::open(quiet());
    stage.send(golden!("F09"));
    stage.wait(58);
    stage.expect(golden!("F09"));
    stage.expect(golden!("F14"));
    stage.say(golden!("F18"));
    assert_eq!(stage.outcome(1), Outcome::NotProcessed);
    let next = another(golden!("F09"), 2, 124);
    stage.send(&next);
    stage.expect(&next);
}

/// A report that comes while the cancel is on its way is recorded, and the cancel wins.
#[test]
fn a_late_report_changes_nothing() {
    let mut stage = Stage::open(quiet());
    let deal = stage.send(golden!("F09"));
    stage.wait(58);
    stage.expect(golden!("F09"));
    stage.expect(golden!("F14"));
    stage.say(golden!("F10"));
    stage.take();
    assert_eq!(*stage.told(deal), Told::Ended(rc::TIME_OUT));
    stage.say(golden!("F15"));
    assert_eq!(stage.outcome(1), Outcome::Cancelled);
}

/// A report that nobody takes within the limit: 8910 on the smallest free route, since the request's own was given
/// away; t32, 8920 on the same route, and 8950 settles it.
#[test]
fn an_undelivered_report_is_cancelled() {
    let mut stage = Stage::open(quiet());
    let deal = stage.send(golden!("F09"));
    stage.expect(golden!("F09"));
    stage.say(golden!("F10"));
    let other = another(golden!("F09"), 2, 124);
    stage.send(&other);
    stage.expect(&other);
    stage.wait(30);
    stage.expect(golden!("F19"));
    assert_eq!(*stage.told(deal), Told::Ended(rc::TIME_OUT));
    stage.take();
    assert_eq!(
        *stage.told(deal),
        Told::Ended(rc::TIME_OUT),
        "an ACK that comes too late"
    );
    stage.wait(24);
    stage.expect_nothing();
    stage.wait(35);
    // The second request's t31 is over before the 8910's t32.
    let mut confirm = another(golden!("F14"), 2, 124);
    stage.expect(&confirm);
    stage.expect(&with_type(golden!("F19"), 8920));
    stage.say(golden!("F20"));
    assert_eq!(stage.outcome(1), Outcome::Cancelled);
    set_mti(&mut confirm, Mti(8960));
    stage.say(&confirm);
    assert_eq!(stage.open_transactions(), 0);
}

/// A request that was given up: its report is never handed out, and is cancelled on its own route.
#[test]
fn a_request_given_up_is_cancelled_when_its_report_comes() {
    let mut stage = Stage::open(quiet());
    stage.send(golden!("F09"));
    stage.expect(golden!("F09"));
    stage.give_up();
    stage.say(golden!("F10"));
    let mut cancel = golden!("F19").to_vec();
    set_route(&mut cancel, 2);
    stage.expect(&cancel);
    set_mti(&mut cancel, Mti(8950));
    stage.say(&cancel);
    assert_eq!(stage.outcome(1), Outcome::Cancelled);
}

/// The centre ends while a request is open: t31 makes a held message and sends nothing; the next start sends it.
#[test]
fn closing_holds_and_the_next_start_sends() {
    let mut stage = Stage::open(quiet());
    stage.send(golden!("F09"));
    stage.expect(golden!("F09"));
    stage.say(&command(610));
    stage.expect(&command(620));
    stage.wait(60);
    stage.expect_nothing();
    stage.say(&command(910));
    stage.expect(&command(920));
    stage.wait(100);
    stage.expect_nothing();
    stage.say(golden!("F03"));
    stage.expect(golden!("F04"));
    stage.expect(golden!("F14"));
    stage.say(golden!("F15"));
    assert_eq!(stage.outcome(1), Outcome::Cancelled);
}

/// A turnaround request: its report goes through; without one, or when nobody takes it, nothing is ever cancelled.
#[test]
fn turnaround_is_never_cancelled() {
    let test = |sequence| {
        let mut frame = golden!("F22").to_vec();
        set_sequence(&mut frame, sequence);
        frame
    };
    for (answered, taken) in [(true, true), (true, false), (false, false)] {
        let mut stage = Stage::open(quiet());
        let deal = stage.send(golden!("F22"));
        stage.expect(&test(123));
        if answered {
            let mut report = golden!("F23").to_vec();
            set_sequence(&mut report, 123);
            stage.say(&report);
        }
        if taken {
            stage.take();
            assert!(matches!(stage.told(deal), Told::Delivered(..)));
        }
        stage.wait(900);
        stage.expect_nothing();
        assert_eq!(stage.open_transactions(), 0, "the route is free");
        let expected = if taken {
            Outcome::Delivered
        } else {
            Outcome::Unanswered
        };
        assert_eq!(stage.outcome(1), expected);
    }
}

/// A centre that answers nothing: routes are held one by one, the alarm rises at half of them, new business is refused;
/// after six sends each is escalated, one of them probes, and its answer wakes the rest.
#[test]
fn a_silent_centre_and_its_return() {
    let mut stage = Stage::open(quiet());
    let requests: Vec<Vec<u8>> = (0..4)
        .map(|n| another(golden!("F09"), n * 2 + 2, 123 + u32::from(n)))
        .collect();
    for request in &requests {
        stage.send(request);
        stage.expect(request);
    }
    let refused = stage.send(golden!("F09"));
    assert_eq!(*stage.told(refused), Told::Refused(rc::ROUTE_BUSY));
    let held = |notice: &Notice| matches!(notice, Notice::RoutesHeld { .. });
    assert_eq!(stage.noticed(held), 0);
    stage.wait(60);
    assert_eq!(stage.noticed(held), 1, "at half of the routes, once");
    stage.wait(6 * 60);
    let escalated = |notice: &Notice| matches!(notice, Notice::Escalated { .. });
    assert_eq!(stage.noticed(escalated), 4);
    for send in 0..6 {
        for request in &requests {
            let mti = if send == 0 { 8930 } else { 8940 };
            let mut expected = with_type(request, mti);
            expected[63 + 3..63 + 7].copy_from_slice(b"3110");
            expected[63 + 47 + 26..63 + 47 + 39].copy_from_slice(b"0000000000000");
            let (_, got) = stage.next();
            assert_eq!(got[43..47], expected[43..47]);
            assert_eq!(got[..43], expected[..43]);
            assert_eq!(got[63..110], expected[63..110]);
        }
    }
    stage.expect_nothing();
    let refused = stage.send(golden!("F09"));
    assert_eq!(
        *stage.told(refused),
        Told::Refused(rc::ROUTE_BUSY),
        "every hold is kept"
    );
    stage.wait(300);
    let (_, probe) = stage.next();
    assert_eq!(&probe[..4], b"0002", "the oldest probes");
    stage.expect_nothing();
    stage.say(&with_type(&probe, 8960));
    for route in [b"0004", b"0006", b"0008"] {
        let (_, cancel) = stage.next();
        assert_eq!((&cancel[..4], &cancel[43..47]), (&route[..], &b"8940"[..]));
        stage.say(&with_type(&cancel, 8960));
    }
    assert_eq!(stage.open_transactions(), 0);
    let last = another(golden!("F09"), 2, 127);
    stage.send(&last);
    stage.expect(&last);
}

/// A second C33 escalates at once; C12 is repeated after the pause, within the budget.
#[test]
fn congestion_is_repeated_once() {
    let mut stage = Stage::open(quiet());
    stage.send(golden!("F09"));
    stage.wait(58);
    stage.expect(golden!("F09"));
    stage.expect(golden!("F14"));
    let mut busy = with_type(golden!("F14"), 8970);
    for (code, repeated) in [(b"C12", true), (b"C33", true), (b"C33", false)] {
        set_error_code(&mut busy, *code);
        stage.say(&busy);
        stage.wait(56);
        stage.expect_nothing();
        stage.wait(5);
        if repeated {
            stage.expect(golden!("F16"));
        }
    }
    stage.expect_nothing();
    assert_eq!(
        stage.noticed(|notice| matches!(notice, Notice::Escalated { .. })),
        1
    );
}

/// 0010 crosses 7020: it is answered, service is open at once, and the 7110 that follows is dropped without a word.
#[test]
fn a_start_crosses_the_sign_on() {
    let mut stage = Stage::unopened(quiet());
    stage.expect(golden!("F01"));
    stage.say(golden!("F03"));
    stage.expect(golden!("F04"));
    stage.enter();
    stage.send(golden!("F09"));
    stage.expect(golden!("F09"));
    stage.say(golden!("F02"));
    stage.say(golden!("F10"));
    stage.take();
    assert_eq!(stage.outcome(1), Outcome::Delivered);
    assert_eq!(
        stage.noticed(|notice| matches!(notice, Notice::Dropped { .. })),
        0
    );
}

/// 0910 crosses 0720: it is answered, service is closed at once, the sign-off has succeeded, and a 0810 is not awaited.
#[test]
fn an_end_crosses_the_sign_off() {
    let mut stage = Stage::open(quiet());
    stage.order(Order::Disconnect);
    stage.expect(golden!("F05"));
    assert!(
        !stage.world.apps[0].idle(),
        "the order waits for the centre"
    );
    stage.say(&command(910));
    stage.expect(&command(920));
    assert!(stage.world.apps[0].idle(), "the order is answered");
    assert_eq!(
        stage.noticed(|notice| *notice == Notice::Service(Service::Closed)),
        2
    );
    stage.wait(900);
    stage.expect_nothing();
}

/// 0720 and 0810, in order.
#[test]
fn a_sign_off_in_order() {
    let mut stage = Stage::open(quiet());
    stage.order(Order::Disconnect);
    stage.expect(golden!("F05"));
    stage.say(golden!("F06"));
    assert!(stage.world.apps[0].idle(), "the order is answered");
    let refused = stage.send(golden!("F09"));
    assert_eq!(
        *stage.told(refused),
        Told::Refused(rc::PKG_IS_SIGNOFF_OR_SWITCHING)
    );
    stage.expect_nothing();
}

/// One session too many: all are closed, also the new one, and what was open is held for the next start.
#[test]
fn one_session_too_many_closes_all() {
    let mut stage = Stage::open(Plan::quiet(4, 2));
    assert_eq!(stage.world.sessions().len(), 2);
    stage.send(golden!("F09"));
    stage.expect(golden!("F09"));
    stage.world.connect_session(0);
    stage.wait(1);
    assert!(stage.world.sessions().is_empty(), "every session is closed");
    assert_eq!(stage.noticed(|notice| *notice == Notice::ExcessSession), 1);
    stage.world.connect_session(0);
    stage.world.connect_session(0);
    stage.wait(1);
    stage.expect(golden!("F01"));
    stage.say(golden!("F02"));
    stage.expect(golden!("F14"));
}

/// A line check is answered on the session on which it came.
#[test]
fn a_line_check_is_answered_where_it_came() {
    let mut stage = Stage::open(Plan::quiet(4, 3));
    for session in stage.world.sessions().repeat(2) {
        stage.world.centre_says(session, &command(9210));
        stage.wait(1);
        let (on, answer) = stage.next();
        assert_eq!((on, &answer[..]), (session, &command(9220)[..]));
    }
}

/// The process dies with one transaction delivered, one reported and one sent. After the sign-on and the grace the
/// second gets its 8910, the third its 8930, the first nothing.
#[test]
fn recovery_settles_what_a_stop_left_open() {
    for automatic in [true, false] {
        let mut plan = quiet();
        plan.core.recovery_automatic = automatic;
        let mut stage = Stage::open(plan);
        stage.send(golden!("F09"));
        stage.expect(golden!("F09"));
        stage.say(golden!("F10"));
        stage.take();
        let (second, third) = (
            another(golden!("F09"), 2, 124),
            another(golden!("F09"), 2, 125),
        );
        stage.send(&second);
        stage.expect(&second);
        stage.say(&another(golden!("F10"), 2, 124));
        stage.send(&third);
        stage.expect(&third);
        stage.kill();
        stage.expect(golden!("F01"));
        stage.say(golden!("F02"));
        if !automatic {
            stage.expect_nothing();
            stage.enter();
            stage.order(Order::Recovery);
        }
        stage.wait(11);
        let confirm = another(golden!("F14"), 2, 125);
        let cancel = another(golden!("F19"), 4, 124);
        stage.expect(&cancel);
        stage.expect(&confirm);
        stage.say(&with_type(&confirm, 8960));
        stage.say(&with_type(&cancel, 8950));
        stage.wait(900);
        stage.expect_nothing();
        let outcomes: Vec<_> = (1..=3).map(|tx| stage.outcome(tx)).collect();
        assert_eq!(
            outcomes,
            [Outcome::Delivered, Outcome::Cancelled, Outcome::Cancelled]
        );
        assert_eq!(stage.noticed(|notice| *notice == Notice::RecoveryDone), 1);
    }
}

/// The sequence goes on after a crash, and 999999 is followed by 1.
#[test]
fn sequence_numbers_go_on() {
    let mut stage = Stage::open(quiet());
    stage.send(golden!("F09"));
    stage.expect(golden!("F09"));
    stage.kill();
    stage.expect(golden!("F01"));
    stage.say(golden!("F02"));
    stage.wait(11);
    stage.expect(golden!("F14"));
    stage.say(golden!("F15"));
    stage.enter();
    let next = another(golden!("F09"), 2, 124);
    stage.send(&next);
    stage.expect(&next);
}

/// A cancel that an application orders and that finds no route: the application is told RC 36 when all its sends might have
/// been used up, and the cancel goes out all the same once a route is free.
#[test]
fn an_ordered_cancel_without_a_route_is_bounded() {
    let mut stage = Stage::open(Plan::quiet(1, 1));
    let deal = stage.send(golden!("F09"));
    stage.expect(golden!("F09"));
    stage.say(golden!("F10"));
    stage.take();
    let silent = another(golden!("F09"), 2, 124);
    stage.send(&silent);
    stage.expect(&silent);
    let World {
        now, apps, deals, ..
    } = &mut stage.world;
    apps[0].cancel(*now, 0, deal, deals);
    stage.world.flush_app(0);
    stage.wait(285);
    assert_eq!(stage.world.apps[0].last_code, None, "it waits for a route");
    stage.wait(10);
    assert_eq!(stage.world.apps[0].last_code, Some(rc::ERR_RETRY_OVER));
    let faults: Vec<_> = stage
        .world
        .inbox
        .drain(..)
        .map(|(_, frame)| frame)
        .collect();
    let last = faults.last().expect("fault messages of the silent one");
    stage.say(&with_type(last, 8960));
    let (_, cancel) = stage.next();
    assert_eq!(&cancel[43..47], b"8910");
    assert_eq!(&cancel[4..10], b"000123", "of the first request");
    stage.say(&with_type(&cancel, 8950));
    assert_eq!(stage.outcome(1), Outcome::Cancelled);
    assert_eq!(stage.open_transactions(), 0);
}

/// A question or a cancel for a key whose journal cannot be read is answered with RC 40, not as if the key were unknown.
#[test]
fn an_unreadable_journal_is_told() {
    let mut stage = Stage::open(quiet());
    let deal = stage.send(golden!("F09"));
    stage.say(golden!("F10"));
    stage.take();
    stage.world.journal_unreadable = true;
    let World {
        now, apps, deals, ..
    } = &mut stage.world;
    apps[0].cancel(*now, 0, deal, deals);
    stage.world.flush_app(0);
    stage.wait(5);
    assert_eq!(stage.world.apps[0].last_code, Some(rc::ERR_JOURNAL));
    assert_eq!(stage.outcome(1), Outcome::Delivered);
}

/// A change of the cut date gives new requests another day and the number 1; the fault message of an older one keeps its
/// own. Asked a second time that day it changes nothing, and a return to the old date goes on where its numbers stopped.
#[test]
fn a_cut_date_change_leaves_older_requests_alone() {
    let on_the_first = |frame: &[u8]| {
        let mut frame = another(frame, 4, 1);
        frame[52..54].copy_from_slice(b"01");
        frame
    };
    let mut stage = Stage::open(quiet());
    stage.send(golden!("F09"));
    stage.expect(golden!("F09"));
    stage.order(Order::CutRequest);
    stage.send(&on_the_first(golden!("F09")));
    stage.expect(&on_the_first(golden!("F09")));
    stage.say(&on_the_first(golden!("F10")));
    stage.take();
    assert_eq!(stage.outcome(2), Outcome::Delivered);
    stage.wait(58);
    stage.expect(golden!("F14"));
    stage.say(golden!("F15"));
    assert_eq!(stage.outcome(1), Outcome::Cancelled);
    let changes = |notice: &Notice| matches!(notice, Notice::CutDate { .. });
    stage.order(Order::CutRequest);
    assert_eq!(stage.noticed(changes), 1);
    stage.order(Order::CutOver);
    assert_eq!(stage.noticed(changes), 2);
    let next = another(golden!("F09"), 2, 124);
    stage.send(&next);
    stage.expect(&next);
}

/// A system cancel reaches back three cut dates and no further: then the key counts as not in the journal.
#[test]
fn a_cancel_reaches_back_three_cut_dates() {
    for (days, code) in [(3, None), (4, Some(rc::ERR_SEARCHJOURNAL))] {
        let mut stage = Stage::open(quiet());
        let deal = stage.send(golden!("F09"));
        stage.expect(golden!("F09"));
        stage.say(golden!("F10"));
        stage.take();
        stage.wait(days * 24 * 3600);
        stage.order(Order::CutRequest);
        let World {
            now, apps, deals, ..
        } = &mut stage.world;
        apps[0].last_code = None;
        apps[0].cancel(*now, 0, deal, deals);
        stage.world.flush_app(0);
        stage.wait(5);
        assert_eq!(stage.world.apps[0].last_code, code, "after {days} days");
        let sent = stage.world.inbox.len();
        assert_eq!(sent, usize::from(code.is_none()), "8910 after {days} days");
    }
}

/// A line that waited for its second session and signed on when it came has no timer left that would sign it on again
/// after an operator has signed it off.
#[test]
fn a_sign_off_is_not_undone_by_an_old_timer() {
    let mut stage = Stage::open(Plan::quiet(4, 2));
    stage.order(Order::Disconnect);
    let (_, request) = stage.next();
    assert_eq!(&request[43..47], b"0720");
    stage.say(&with_type(&request, 810));
    stage.wait(200);
    stage.expect_nothing();
}
