//! Whatever the centre and the applications send, whole frames of nonsense among it, the core goes on: no panic, and every
//! fact that it writes can be applied by recovery. Frames are made from good ones with bytes changed, so that many of
//! them pass the first checks.

use codec::cafis::control::answer;
use codec::cafis::header::{Assigned, HeaderBuilder};
use codec::cafis::mti::Mti;
use codec::cafis::report::report_from;
use codec::link::message::{Hello, Send, VERSION};
use codec::link::{Assembler, Head, Kind};
use engine::core::config::{CoreConfig, LineConfig};
use engine::core::fact::{Fact, FactHead};
use engine::core::{
    CentreSend, Core, Event, Gate, LineNo, LinkId, Notice, Now, Order, Output, RecordNo, SessionId,
};
use proptest::prelude::*;

const SECOND: u64 = 1_000_000_000;
const LINE: LineNo = LineNo(0);
const SESSION: SessionId = SessionId(1);
const LINK: LinkId = LinkId(0);
const ISSUER: [u8; 11] = *b"TEST9000000";
const COMPANY: [u8; 11] = *b"TEST0010000";
const DATA: &str = "   000000002       123459900000100123991130000@\
214111111111111111=99121012080000000000                                00000000990000050000000500@";

/// Everything the core hands out, and a core that is given its facts as recovery would.
struct World {
    shadow: Core,
    records: RecordNo,
    centre: Vec<(CentreSend, Vec<u8>)>,
    link: Vec<(Kind, u32)>,
    closed: bool,
}

impl Output for World {
    fn record(&mut self, head: &FactHead, fact: &Fact<'_>) -> RecordNo {
        self.shadow
            .apply(head, fact)
            .expect("recovery can apply every fact");
        self.records += 1;
        self.records
    }
    fn centre(&mut self, send: CentreSend, frame: &[u8]) {
        self.centre.push((send, frame.to_vec()));
    }
    fn link(&mut self, _: LinkId, _: Gate, head: &Head, _: [&[u8]; 2]) {
        self.link.push((head.kind, head.session));
    }
    fn order(&mut self, order: Order) {
        self.closed |= matches!(order, Order::CloseLink(_) | Order::Stop { .. });
    }
    fn notice(&mut self, _: u32, _: Notice) {}
}

fn config() -> CoreConfig {
    CoreConfig {
        shard: 0,
        boot: 1,
        secret: [1, 2],
        lines: vec![LineConfig::standard("C01", 1, 8, 1)],
        default_line: "C01".into(),
        elsewhere: Vec::new(),
        links_max: 1,
        sessions_max: 4,
        recent_max: 4,
        credit: 16,
        resume_grace_ns: SECOND,
        delivery_limit_ns: 5 * SECOND,
        recovery_automatic: true,
        drain_ns: SECOND,
    }
}

/// A change of one byte of a frame: where, as a share of its length, and to what.
type Change = (u16, u8);

/// What happens next.
#[derive(Clone, Debug)]
enum Act {
    /// The centre answers something it was sent, with a type of this table.
    Answer(usize, usize, Vec<Change>),
    /// The centre sends something of its own on this route.
    Ask(u16, usize, Vec<Change>),
    /// An application's frame of this kind, its body good but for the changes.
    Link(usize, u8, Vec<Change>),
    /// Time passes, milliseconds.
    Wait(u32),
    /// A link or a session breaks and comes back.
    Break(bool),
}

const ANSWERS: [u16; 14] = [
    3120, 3150, 8970, 8950, 8960, 3220, 3520, 4920, 7110, 810, 9220, 120, 3110, 9999,
];
const ASKED: [u16; 14] = [
    10, 610, 910, 9210, 4110, 3110, 3510, 6110, 8910, 8930, 720, 7020, 4910, 1,
];
const KINDS: [Kind; 11] = [
    Kind::Send,
    Kind::Send,
    Kind::Ack,
    Kind::GiveUp,
    Kind::Open,
    Kind::Resume,
    Kind::Close,
    Kind::Query,
    Kind::Cancel,
    Kind::Control,
    Kind::Listen,
];

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let byte = prop_oneof![b'0'..=b'9', any::<u8>(), Just(b'@')];
    prop_oneof![
        2 => Just(Vec::new()),
        1 => proptest::collection::vec((any::<u16>(), byte), 1..6),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..8_usize, 0..ANSWERS.len(), changes()).prop_map(|(which, mti, changes)| Act::Answer(which, mti, changes)),
        2 => (0..20_u16, 0..ASKED.len(), changes()).prop_map(|(route, mti, changes)| Act::Ask(route, mti, changes)),
        6 => (0..KINDS.len(), any::<u8>(), changes()).prop_map(|(kind, number, changes)| Act::Link(kind, number, changes)),
        2 => prop_oneof![0..2_000_u32, 20_000..70_000_u32].prop_map(Act::Wait),
        1 => any::<bool>().prop_map(Act::Break),
    ]
}

fn spoil(frame: &mut [u8], changes: &[Change]) {
    for (at, byte) in changes {
        let len = frame.len();
        if len > 0 {
            frame[usize::from(*at) % len] = *byte;
        }
    }
}

/// The core in the world, and what the tests know of it.
struct Scene {
    core: Core,
    world: World,
    now: Now,
    /// How many frames for the centre were released.
    released: usize,
    api: u32,
    request: u64,
}

impl Scene {
    /// A line that is open, and a welcomed link with an API session.
    fn open() -> Scene {
        let now = Now {
            mono_ns: SECOND,
            wall_ns: 1_795_392_000 * SECOND,
        };
        let world = World {
            shadow: Core::new(config(), now),
            records: 0,
            centre: Vec::new(),
            link: Vec::new(),
            closed: false,
        };
        let mut scene = Scene {
            core: Core::new(config(), now),
            world,
            now,
            released: 0,
            api: 1,
            request: 0,
        };
        scene.core.start(&mut scene.world);
        scene.session_up();
        scene.link_up();
        scene
    }

    fn step(&mut self, event: Event<'_>) {
        self.core.step(self.now, event, &mut self.world);
        // As the shard does: what is released gets its session, and its timer.
        for (send, _) in &self.world.centre[self.released..] {
            self.core.release(self.now, send);
        }
        self.released = self.world.centre.len();
    }

    fn session_up(&mut self) {
        self.step(Event::SessionUp {
            line: LINE,
            session: SESSION,
        });
        let sign_on = self.world.centre.iter().rev();
        let sign_on = sign_on
            .map(|(_, frame)| frame)
            .find(|frame| &frame[43..47] == b"7020");
        if let Some(sign_on) = sign_on {
            let mut permitted = Vec::new();
            answer(sign_on, Mti::SIGN_ON_PERMITTED, &mut permitted);
            self.telegram(&permitted);
        }
    }

    fn link_up(&mut self) {
        self.world.closed = false;
        self.step(Event::LinkUp { link: LINK });
        let mut hello = Vec::new();
        Hello {
            version_min: VERSION,
            version_max: VERSION,
            features: 0,
            epoch: 0,
            line: "",
        }
        .encode(&mut hello);
        self.link_frame(Kind::Hello, 0, 0, &hello);
        self.link_frame(Kind::Open, 0, 1, &[]);
        let opened = self.world.link.iter().rev();
        let opened = opened.map(|(kind, session)| (*kind == Kind::Opened).then_some(*session));
        self.api = opened.flatten().next().unwrap_or(1);
    }

    fn telegram(&mut self, frame: &[u8]) {
        self.step(Event::Telegram {
            line: LINE,
            session: SESSION,
            frame,
        });
    }

    fn link_frame(&mut self, kind: Kind, session: u32, request: u64, body: &[u8]) {
        let mut bytes = Vec::new();
        let head = Head {
            session,
            request,
            ..Head::new(kind)
        };
        head.write(body, &mut bytes);
        let mut assembler = Assembler::new();
        let split = assembler.split(&bytes).expect("a frame was written");
        let frame = split.frame.expect("it is whole");
        self.step(Event::LinkFrame { link: LINK, frame });
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Answer(which, mti, changes) => {
                let newest = self.world.centre.iter().rev().nth(*which);
                let Some((_, sent)) = newest else { return };
                let mti = Mti(ANSWERS[*mti]);
                let mut report = sent.clone();
                if sent.len() > 63 + 47 {
                    report.clear();
                    report_from(sent, mti, Assigned::NOT_YET, *b"   ", None, &mut report);
                } else {
                    report[43..47].copy_from_slice(&mti.digits());
                }
                spoil(&mut report, changes);
                self.telegram(&report);
            }
            Act::Ask(route, mti, changes) => {
                let mti = Mti(ASKED[*mti]);
                let data = if mti.0 < 1000 || mti == Mti::LINE_CHECK {
                    ""
                } else {
                    DATA
                };
                let header = HeaderBuilder {
                    route: *route,
                    sequence: 77,
                    acquirer: ISSUER,
                    issuer: COMPANY,
                    mti,
                    originator_day: *b"30",
                    trailer: data.len() as u16,
                    ..HeaderBuilder::default()
                };
                let mut frame = [&header.to_bytes()[..], data.as_bytes()].concat();
                spoil(&mut frame, changes);
                self.telegram(&frame);
            }
            Act::Link(kind, number, changes) => self.application(KINDS[*kind], *number, changes),
            Act::Wait(milliseconds) => {
                self.now.mono_ns += u64::from(*milliseconds) * 1_000_000;
                self.step(Event::Tick);
            }
            Act::Break(true) => {
                self.step(Event::LinkDown { link: LINK });
                self.link_up();
            }
            Act::Break(false) => {
                self.step(Event::SessionDown {
                    line: LINE,
                    session: SESSION,
                });
                self.session_up();
            }
        }
        if self.world.closed {
            self.step(Event::LinkDown { link: LINK });
            self.link_up();
        }
    }

    fn application(&mut self, kind: Kind, number: u8, changes: &[Change]) {
        let mut body = match kind {
            Kind::Send => {
                self.request += 1;
                let mut data = DATA.to_owned();
                data.replace_range(32..37, &format!("{:05}", self.request % 100_000));
                let (mti, data) = match number % 4 {
                    0 => (*b"3510", data[..47].to_owned() + "592@"),
                    1 => (*b"3210", data + "10@"),
                    _ => (*b"3110", data),
                };
                let mut body = Vec::new();
                Send {
                    centre_id: *b"00",
                    centre_seq: *b"      ",
                    issuer: ISSUER,
                    acquirer: COMPANY,
                    mti,
                    data: data.as_bytes(),
                }
                .encode(&mut body);
                body
            }
            Kind::Query | Kind::Cancel => {
                let back = u64::from(number % 8);
                let sequence = self.request.saturating_sub(back) % 100_000;
                format!("9911301234599000001{sequence:05}").into_bytes()
            }
            Kind::Resume => vec![number; 16],
            // All orders but the two that end the shard.
            Kind::Control => match number % 12 {
                5 | 6 => vec![0],
                order => vec![order, number / 12, 0],
            },
            Kind::Listen => vec![number % 2],
            _ => Vec::new(),
        };
        spoil(&mut body, changes);
        let request = match kind {
            Kind::Send => self.request,
            _ => self.request.saturating_sub(u64::from(number % 8)),
        };
        let session = if number % 16 == 15 { 3 } else { self.api };
        self.link_frame(kind, session, request, &body);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    /// No order of good and spoilt frames makes the core panic or write a fact that recovery refuses.
    #[test]
    fn any_frames_are_survived(acts in proptest::collection::vec(act(), 1..120)) {
        let mut scene = Scene::open();
        for act in &acts {
            scene.act(act);
        }
        let usage = scene.core.usage();
        prop_assert!(usage.transactions <= config().transactions_max());
        prop_assert!(scene.world.records > 0);
    }
}
