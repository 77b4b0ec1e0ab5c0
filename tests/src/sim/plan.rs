//! What a seed stands for: the configuration of the gateway, and how much of what goes wrong.

use super::rng::Rng;
use super::{MS, SEC};
use engine::core::config::{CoreConfig, LineConfig, RouteBusy};

/// How the centre treats what it receives, in cases of 1,000. What is left over is answered soon and well.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mood {
    /// A request is refused by the issuer.
    pub refuse: u64,
    /// A request is answered 8970.
    pub abnormal: u64,
    /// Nothing is answered, although it was processed.
    pub silent: u64,
    /// The report comes around t31, or later.
    pub late: u64,
    /// The report comes twice.
    pub twice: u64,
    /// A report that fits nothing goes with it.
    pub stray: u64,
    /// A fault message is answered 8970 C12 or C33.
    pub busy: u64,
    /// A fault message is answered that the centre has taken it over (C13, C14, C50).
    pub taken_over: u64,
    /// Service opens with a time of C60 for everything.
    pub synchronous: u64,
}

/// What happens by itself, each so many times in 1,000 chances; there is one about every second.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chaos {
    /// A centre session breaks.
    pub session_reset: u64,
    /// All centre sessions of a line break.
    pub line_lost: u64,
    /// The centre connects once too often.
    pub excess: u64,
    /// The centre ends service with 0610 and 0910, or 0910 alone.
    pub end: u64,
    /// The centre sends 0010.
    pub start: u64,
    /// The centre asks something: 3110, 6110, 9210, 4110.
    pub inward: u64,
    /// The process or the machine dies.
    pub crash: u64,
    /// The operating system asks for a stop.
    pub terminate: u64,
    /// A link breaks, after any frame.
    pub link_cut: u64,
    /// An operator's order.
    pub order: u64,
    /// The disk fills, or has room again.
    pub space: u64,
    /// An operator frees a route by force. 0 for the seeds below [`PURGES_FROM`].
    pub purge: u64,
}

/// Seeds from here on also know operators who purge routes. Those below stand for what they stood for when they failed.
pub const PURGES_FROM: u64 = 1_000_000;

/// A seed's plan.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The gateway's configuration; `boot` is set by the world.
    pub core: CoreConfig,
    /// Bytes of a segment.
    pub segment_bytes: u64,
    /// Writes in flight at most.
    pub in_flight: usize,
    /// The slowest write in normal times.
    pub write_ns_max: u64,
    /// Applications of each line.
    pub apps: usize,
    /// How often an application does something.
    pub app_ns: u64,
    /// The centre.
    pub mood: Mood,
    /// The world.
    pub chaos: Chaos,
    /// How long things go wrong.
    pub wild_ns: u64,
    /// The first number after this one is given to the first request of a cut date.
    pub last_sequence: u32,
    /// Each line begins with a transaction that waits for an order and has this number; 0: it does not.
    pub open_sequence: u32,
}

/// A line as the simulation has it: the interface's timers, few routes.
#[must_use]
pub fn line(number: u16, routes: u16, sessions: u16) -> LineConfig {
    let name = format!("CF{number:02}");
    LineConfig {
        probe_interval_ns: 300 * SEC,
        ..LineConfig::standard(&name, u32::from(number) + 1, routes, sessions)
    }
}

/// A shard of these lines.
#[must_use]
pub fn shard(lines: Vec<LineConfig>) -> CoreConfig {
    CoreConfig {
        shard: 0,
        boot: 1,
        secret: [7, 11],
        default_line: lines[0].name.clone(),
        lines,
        elsewhere: Vec::new(),
        links_max: 16,
        sessions_max: 24,
        recent_max: 64,
        credit: 8,
        resume_grace_ns: 10 * SEC,
        delivery_limit_ns: 30 * SEC,
        recovery_automatic: true,
        drain_ns: 20 * SEC,
    }
}

impl Plan {
    /// A quiet world: one line, nothing goes wrong, nobody does anything by himself.
    #[must_use]
    pub fn quiet(routes: u16, sessions: u16) -> Plan {
        Plan {
            core: shard(vec![line(0, routes, sessions)]),
            segment_bytes: 1 << 20,
            in_flight: 4,
            write_ns_max: MS,
            apps: 1,
            app_ns: SEC,
            mood: Mood::default(),
            chaos: Chaos::default(),
            wild_ns: 0,
            last_sequence: 0,
            open_sequence: 0,
        }
    }

    /// The plan of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Plan {
        let mut rng = Rng::new(seed, 1);
        let lines = (0..rng.between(1, 2) as u16)
            .map(|number| wild_line(&mut rng, number))
            .collect();
        let mut core = shard(lines);
        core.recovery_automatic = !rng.chance(200);
        core.recent_max = *rng.pick(&[1, 8, 64]);
        core.credit = *rng.pick(&[2, 8]);
        core.sessions_max = *rng.pick(&[6, 24]);
        core.delivery_limit_ns = rng.between(3, 60) * SEC;
        let mut some = |most: u64| {
            if rng.chance(600) {
                rng.below(most + 1)
            } else {
                0
            }
        };
        let mood = Mood {
            refuse: some(200),
            abnormal: some(150),
            silent: some(150),
            late: some(200),
            twice: some(100),
            stray: some(100),
            busy: some(200),
            taken_over: some(100),
            synchronous: some(500),
        };
        let chaos = Chaos {
            session_reset: some(20),
            line_lost: some(6),
            excess: some(4),
            end: some(6),
            start: some(8),
            inward: some(40),
            crash: some(8),
            terminate: some(2),
            link_cut: some(10),
            order: some(15),
            space: some(10),
            purge: if seed < PURGES_FROM { 0 } else { some(15) },
        };
        let last_sequence = *rng.pick(&[0, 0, 999_990]);
        let open_sequence = match last_sequence {
            0 => 0,
            _ => rng.below(6) as u32,
        };
        Plan {
            core,
            segment_bytes: *rng.pick(&[512 << 10, 1 << 20]),
            in_flight: *rng.pick(&[1, 4, 8]),
            write_ns_max: *rng.pick(&[MS, 20 * MS, 400 * MS]),
            apps: rng.between(1, 3) as usize,
            app_ns: *rng.pick(&[200 * MS, SEC, 5 * SEC]),
            mood,
            chaos,
            wild_ns: rng.between(200, 900) * SEC,
            last_sequence,
            open_sequence,
        }
    }
}

fn wild_line(rng: &mut Rng, number: u16) -> LineConfig {
    let mut line = line(number, rng.between(2, 8) as u16, rng.between(1, 3) as u16);
    line.sign_on = !rng.chance(250);
    line.automatic = !rng.chance(150);
    line.auto_reply = rng.chance(300);
    line.line_check = rng.chance(300);
    if rng.chance(300) {
        line.route_busy = RouteBusy::Buffering;
    }
    line.sends_automatic = rng.between(1, 6) as u16;
    line.sends_ordered = rng.between(1, 5) as u16;
    line
}
