//! The world: the clock, what happens when, and every wire. Whoever breaks a rule ends the run with a [`Failure`].

mod chaos;
mod deliver;
mod wires;

use std::collections::{BTreeMap, VecDeque};

use super::app::{App, Deal};
use super::book::{Book, Entry};
use super::centre::{Centre, Later};
use super::check;
use super::disk::Disk;
use super::gateway::{Gateway, Output, first_facts};
use super::plan::{Chaos, Mood, Plan};
use super::rng::Rng;
use super::{MS, SEC};
use engine::core::fact::{Fact, FactHead};
use engine::core::{Event, Notice, Now, Order};
use engine::journal::writer::Ticket;
use wires::Wires;

/// 2026-11-30 10:00 in Japan.
const WALL_START_NS: u64 = 1_796_000_400 * SEC;
/// The gateway's clock starts an hour in, as the shard's does.
const MONO_START_NS: u64 = 3600 * SEC;
/// Lines of trace that a failure shows.
const TRACE_LINES: usize = 120;
/// How long a healed world may take to settle everything.
const HEAL_NS_MAX: u64 = 12 * 3600 * SEC;

/// A rule was broken.
#[derive(Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// The step.
    pub step: u64,
    /// Which rule, and how: the number in front is that of design.md or the centre's code.
    pub what: String,
    /// What happened last.
    pub trace: Vec<String>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for line in &self.trace {
            writeln!(f, "  {line}")?;
        }
        writeln!(
            f,
            "seed {} step {}: invariant {}",
            self.seed, self.step, self.what
        )?;
        write!(
            f,
            "replay: SEKISHO_SEED={} cargo test -p tests --test simulation -- --nocapture",
            self.seed
        )
    }
}

/// What happens at a time.
#[derive(Clone, Debug)]
pub(super) enum Happening {
    /// Something for the gateway.
    Gateway(u64, ToGateway),
    /// A frame reaches the centre.
    CentreFrame(u64, Vec<u8>),
    /// The centre learns that a session is gone.
    CentreDown(u64),
    /// The centre connects.
    CentreConnect(usize),
    /// The centre comes back to something.
    CentreLater(usize, Later),
    /// A frame reaches an application.
    AppFrame(u64, Vec<u8>),
    /// An application learns that its link is gone.
    AppDown(u64),
    /// An application does something.
    App(usize),
    /// A write completes. The first number is the boot.
    Written(u64, Ticket),
    /// The world's own turn: what goes wrong by itself.
    Chaos,
    /// The healed world looks after what is left.
    Heal,
    /// The gateway is started again.
    Restart,
}

/// What reaches the gateway.
#[derive(Clone, Debug)]
pub(super) enum ToGateway {
    SessionUp(u64),
    SessionDown(u64),
    Telegram(u64, Vec<u8>),
    LinkUp(u64),
    LinkDown(u64),
    LinkFrame(u64, Vec<u8>),
    LookedUp(u32, Option<Looked>),
    Terminate,
    Space(engine::core::Space),
}

/// What a search of the journal brings.
#[derive(Clone, Debug)]
pub(super) enum Looked {
    /// This transaction.
    Up(u64, Box<Entry>),
    /// The disk does not give it.
    Unreadable,
}

/// Counters of a run.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Happenings.
    pub steps: u64,
    /// Virtual time.
    pub virtual_ns: u64,
    /// Crashes and stops.
    pub crashes: u64,
    /// Requests of applications.
    pub deals: u64,
    /// How they ended in the journal, by outcome.
    pub outcomes: BTreeMap<String, u64>,
    /// Notices by name.
    pub notices: BTreeMap<String, u64>,
}

impl Stats {
    /// Adds another run's.
    pub fn add(&mut self, other: &Stats) {
        self.steps += other.steps;
        self.virtual_ns += other.virtual_ns;
        self.crashes += other.crashes;
        self.deals += other.deals;
        for (name, count) in &other.outcomes {
            *self.outcomes.entry(name.clone()).or_default() += count;
        }
        for (name, count) in &other.notices {
            *self.notices.entry(name.clone()).or_default() += count;
        }
    }
}

/// The world of a seed.
pub struct World {
    /// The seed.
    pub seed: u64,
    /// Its plan.
    pub plan: Plan,
    /// Chance for everything that has no stream of its own.
    pub(super) rng: Rng,
    /// Nanoseconds since the world began.
    pub now: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    order: u64,
    /// The gateway, while it runs.
    pub gateway: Option<Gateway>,
    pub(super) first: Vec<(FactHead, Fact<'static>)>,
    /// The disk.
    pub disk: Disk,
    /// What the disk holds, durable only.
    pub book: Book,
    booked: usize,
    /// One centre for each line.
    pub centres: Vec<Centre>,
    /// The applications; the first of each line never retires before the end.
    pub apps: Vec<App>,
    /// Every request of an application.
    pub deals: Vec<Deal>,
    pub(super) wires: Wires,
    pub(super) stalled: VecDeque<ToGateway>,
    pub(super) boot: u64,
    /// The last stop was in order.
    pub(super) stopped_clean: bool,
    /// Crash when this many points of a turn have passed.
    pub(super) crash_in: Option<u64>,
    pub(super) healing: bool,
    /// Searches of the journal fail.
    pub journal_unreadable: bool,
    /// Frames for the centre are kept in `inbox` instead: a test plays the centre.
    pub manual: bool,
    /// Frames that a test has not looked at.
    pub inbox: VecDeque<(u64, Vec<u8>)>,
    /// Notices since a test looked.
    pub seen: Vec<Notice>,
    pub(super) released: check::Released,
    trace: VecDeque<String>,
    /// Print each line of trace at once.
    pub loud: bool,
    /// Counters.
    pub stats: Stats,
    stuck: (u64, u64),
}

impl World {
    /// The world of a seed, with the plan that the seed stands for.
    #[must_use]
    pub fn of(seed: u64) -> World {
        World::new(seed, Plan::of(seed))
    }

    /// A world before its first event. The gateway is started by the first step.
    #[must_use]
    pub fn new(seed: u64, plan: Plan) -> World {
        let mut centres = Vec::new();
        let mut apps = Vec::new();
        for (number, line) in plan.core.lines.iter().enumerate() {
            let stream = 100 + number as u64;
            let rng = Rng::new(seed, stream);
            centres.push(Centre::new(line.company, line.route_count, plan.mood, rng));
            for app in 0..plan.apps as u64 {
                let rng = Rng::new(seed, 1000 * stream + app);
                apps.push(App::new(number, &line.name, line.company, rng));
            }
        }
        let mut world = World {
            seed,
            rng: Rng::new(seed, 3),
            now: 0,
            queue: BTreeMap::new(),
            order: 0,
            gateway: None,
            first: Vec::new(),
            disk: Disk::new(seed, plan.segment_bytes),
            book: Book::default(),
            booked: 0,
            centres,
            apps,
            deals: Vec::new(),
            wires: Wires::default(),
            stalled: VecDeque::new(),
            boot: 0,
            stopped_clean: true,
            crash_in: None,
            healing: false,
            journal_unreadable: false,
            manual: false,
            inbox: VecDeque::new(),
            seen: Vec::new(),
            released: check::Released::default(),
            trace: VecDeque::new(),
            loud: false,
            stats: Stats::default(),
            stuck: (0, 0),
            plan,
        };
        world.first = first_facts(&world.plan, world.clock());
        world.at(0, Happening::Restart);
        for line in 0..world.centres.len() {
            for _ in 0..world.plan.core.lines[line].accept_count {
                let wait = world.rng.below(3 * SEC);
                world.after(wait, Happening::CentreConnect(line));
            }
        }
        if world.plan.app_ns > 0 {
            (0..world.apps.len()).for_each(|app| world.after(SEC, Happening::App(app)));
        }
        if world.plan.wild_ns > 0 {
            world.after(SEC, Happening::Chaos);
        }
        world
    }

    /// The gateway's clocks.
    #[must_use]
    pub fn clock(&self) -> Now {
        Now {
            mono_ns: MONO_START_NS + self.now,
            wall_ns: WALL_START_NS + self.now,
        }
    }

    pub(super) fn at(&mut self, time: u64, what: Happening) {
        self.order += 1;
        self.queue.insert((time.max(self.now), self.order), what);
    }

    pub(super) fn after(&mut self, ns: u64, what: Happening) {
        self.at(self.now + ns, what);
    }

    /// Notes what happens, for a failure's message.
    pub(super) fn note(&mut self, text: impl FnOnce() -> String) {
        let line = format!("{:>11.3} {}", self.now as f64 / 1e9, text());
        if self.loud {
            println!("{line}");
        }
        if self.trace.len() == TRACE_LINES {
            self.trace.pop_front();
        }
        self.trace.push_back(line);
    }

    fn failure(&self, what: String) -> Failure {
        Failure {
            seed: self.seed,
            step: self.stats.steps,
            what,
            trace: self.trace.iter().cloned().collect(),
        }
    }

    /// Everything of a seed: what goes wrong, then the healing, then the last account.
    ///
    /// # Errors
    /// A broken rule.
    pub fn run(&mut self) -> Result<(), Failure> {
        self.run_until(self.plan.wild_ns)?;
        self.heal();
        let limit = self.now + HEAL_NS_MAX;
        while !self.settled() {
            if self.now > limit {
                let what = check::unsettled(self);
                return Err(self.failure(what));
            }
            self.step()?;
        }
        self.part()?;
        check::account(self).map_err(|what| self.failure(what))?;
        self.stats.virtual_ns = self.now;
        self.stats.deals = self.deals.len() as u64;
        for entry in self.book.entries.values() {
            let name = format!("{:?}", entry.outcome);
            *self.stats.outcomes.entry(name).or_default() += 1;
        }
        Ok(())
    }

    /// Runs to a time.
    ///
    /// # Errors
    /// A broken rule.
    pub fn run_until(&mut self, time: u64) -> Result<(), Failure> {
        while self.next_time().is_some_and(|next| next <= time) {
            self.step()?;
        }
        self.now = self.now.max(time);
        Ok(())
    }

    /// When something happens next.
    fn next_time(&self) -> Option<u64> {
        let queued = self.queue.first_key_value().map(|(key, _)| key.0);
        match (queued, self.timer_time()) {
            (Some(queued), Some(timer)) => Some(queued.min(timer)),
            (queued, timer) => queued.or(timer),
        }
    }

    fn timer_time(&self) -> Option<u64> {
        let timer = self.gateway.as_ref()?.timer_ns()?;
        Some(timer.saturating_sub(MONO_START_NS).max(self.now))
    }

    /// The next thing that happens, and what follows from it at once.
    ///
    /// # Errors
    /// A broken rule.
    pub fn step(&mut self) -> Result<(), Failure> {
        self.stats.steps += 1;
        self.take_step().map_err(|what| self.failure(what))
    }

    fn take_step(&mut self) -> Result<(), String> {
        let queued = self.queue.first_key_value().map(|(key, _)| key.0);
        let timer = self
            .timer_time()
            .filter(|timer| queued.is_none_or(|queued| *timer < queued));
        if let Some(time) = timer {
            self.watch_for_standstill(time)?;
            self.now = time;
            let now = self.clock();
            if let Some(gateway) = &mut self.gateway {
                gateway.step(now, Event::Tick);
            }
        } else if let Some(((time, _), what)) = self.queue.pop_first() {
            self.now = time;
            self.happen(what)?;
        }
        self.turn()
    }

    fn watch_for_standstill(&mut self, time: u64) -> Result<(), String> {
        self.stuck = match self.stuck {
            (at, count) if at == time => (at, count + 1),
            _ => (time, 0),
        };
        match self.stuck.1 > 10_000 {
            true => Err("7: the timers do not get on".into()),
            false => Ok(()),
        }
    }

    /// A point at which the machine may stop.
    fn crash_point(&mut self) -> bool {
        match &mut self.crash_in {
            Some(0) => {
                self.crash_in = None;
                true
            }
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        }
    }

    /// The end of a turn, as in the shard: what is durable leaves, blocks go to the disk.
    fn turn(&mut self) -> Result<(), String> {
        loop {
            self.unstall()?;
            if self.gateway.is_none() {
                return Ok(());
            }
            if self.crash_point() {
                return self.crash();
            }
            let now = self.clock();
            let Some(gateway) = &mut self.gateway else {
                return Ok(());
            };
            let outputs = gateway.release(now);
            let quiet = outputs.is_empty();
            for output in outputs {
                if self.crash_point() {
                    return self.crash();
                }
                if self.released(output)? {
                    return Ok(());
                }
            }
            let Some(gateway) = &mut self.gateway else {
                return Ok(());
            };
            let issued = gateway.write(&mut self.disk)?;
            for (ticket, ns) in issued {
                self.after(ns, Happening::Written(self.boot, ticket));
            }
            let Some(gateway) = &mut self.gateway else {
                return Ok(());
            };
            for (line, notice) in gateway.notices(&mut self.stats.notices) {
                check::notice(self, &notice)?;
                self.note(|| format!("  notice line {line} {notice:?}"));
                self.seen.push(notice);
            }
            if self.crash_point() {
                return self.crash();
            }
            if quiet {
                break;
            }
        }
        if self.stats.steps.is_multiple_of(16)
            && let Some(gateway) = &self.gateway
        {
            gateway.compare()?;
            let usage = gateway.pipeline.core().usage();
            if usage.outstanding != usage.awaited {
                return Err(format!("9: the links' credit does not add up: {usage:?}"));
            }
        }
        Ok(())
    }

    /// One thing that the gateway hands out. True if the gateway has stopped.
    fn released(&mut self, output: Output) -> Result<bool, String> {
        check::released(self, &output)?;
        match output {
            Output::Centre(session, frame) => self.send_centre(session, frame),
            Output::Link(link, frame) => self.send_app(link, frame),
            Output::Order(order) => return self.order(order),
        }
        Ok(false)
    }

    fn order(&mut self, order: Order) -> Result<bool, String> {
        self.note(|| format!("  order {order:?}"));
        match order {
            Order::CloseSession(session) => self.close_wire(session.0),
            Order::CloseLink(link) => self.close_wire(link.0),
            Order::Lookup { cookie, line, key } => {
                let found = match self.journal_unreadable {
                    true => Some(Looked::Unreadable),
                    false => self
                        .book
                        .newest(line, &key)
                        .map(|(tx, entry)| Looked::Up(tx, Box::new(entry.clone()))),
                };
                let wait = *self.rng.pick(&[0, 10 * MS, 3 * SEC]);
                let what = ToGateway::LookedUp(cookie, found);
                self.after(wait, Happening::Gateway(self.boot, what));
            }
            Order::Stop { clean } => {
                self.stop(clean)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Books what has become durable.
    pub(super) fn book_durable(&mut self) -> Result<(), String> {
        while let Some(block) = self.disk.blocks.get(self.booked)
            && block.last <= self.disk.durable
        {
            self.book.take(block)?;
            self.booked += 1;
        }
        // Whoever purges a route settles its transaction with the centre by telephone.
        for (id, key) in std::mem::take(&mut self.book.purged) {
            let lines = &self.plan.core.lines;
            if let Some(line) = lines.iter().position(|line| line.id == id) {
                self.centres[line].settle_by_hand(key);
            }
        }
        Ok(())
    }

    /// The book after a start: exactly what recovery found.
    pub(super) fn rebook(&mut self) -> Result<(), String> {
        (self.book, self.booked) = (Book::new(&self.first), 0);
        self.book_durable()
    }

    fn heal(&mut self) {
        self.healing = true;
        self.crash_in = None;
        self.plan.chaos = Chaos::default();
        self.note(|| "the world heals".into());
        for centre in &mut self.centres {
            centre.mood = Mood::default();
        }
        self.apps.iter_mut().for_each(|app| app.retired = true);
        self.after(SEC, Happening::Heal);
    }

    /// Everybody leaves; what is left must be nothing.
    fn part(&mut self) -> Result<(), Failure> {
        for app in 0..self.apps.len() {
            self.apps[app].operator = false;
            if let Some(link) = self.apps[app].link() {
                self.break_wire(link, SEC);
            }
        }
        let until = self.now + 800 * SEC;
        self.run_until(until)?;
        check::baseline(self).map_err(|what| self.failure(what))
    }
}
