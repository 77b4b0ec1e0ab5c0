//! The gateway: `Pipeline` driven as the shard drives it, over the simulated disk.

use std::collections::BTreeMap;

use super::book::{Shadow, dump};
use super::disk::Disk;
use super::plan::Plan;
use super::{SEC, telegram};
use codec::cafis::fault::make_image;
use codec::cafis::header::HeaderBuilder;
use engine::core::config::{CoreConfig, LineConfig};
use engine::core::fact::{self, Fact, FactHead};
use engine::core::tx::{Cause, Phase};
use engine::core::{Core, Event, LinkId, Notice, Now, Order, SessionId};
use engine::journal::buffer::AlignedBuf;
use engine::journal::recover::{Recovered, recover};
use engine::journal::writer::{Ticket, WriterConfig};
use engine::pipeline::{Pipeline, Sink, WritePolicy};

/// Bytes of the longest block.
const BLOCK_MAX: usize = 32 << 10;

/// What a release hands out, in order.
#[derive(Clone, Debug)]
pub enum Output {
    /// A frame for a centre session.
    Centre(u64, Vec<u8>),
    /// A frame for a link.
    Link(u64, Vec<u8>),
    /// Something else.
    Order(Order),
}

#[derive(Default)]
struct Outputs(Vec<Output>);

impl Sink for Outputs {
    fn centre(&mut self, session: SessionId, frame: &[u8]) {
        self.0.push(Output::Centre(session.0, frame.to_vec()));
    }
    fn link(&mut self, link: LinkId, frame: &[u8]) {
        self.0.push(Output::Link(link.0, frame.to_vec()));
    }
    fn order(&mut self, order: Order) {
        self.0.push(Output::Order(order));
    }
}

/// The facts that stand before the beginning: the last sequence number of the first cut date, and a transaction that
/// has a number ahead of it.
#[must_use]
pub fn first_facts(plan: &Plan, now: Now) -> Vec<(FactHead, Fact<'static>)> {
    let date = engine::core::date::date_of(now.wall_ns);
    let facts = plan.core.lines.iter().map(|line| {
        let (mut dates, mut sequences) = ([0; fact::CUT_DATES], [0; fact::CUT_DATES]);
        (dates[0], sequences[0]) = (date, plan.last_sequence);
        let head = FactHead {
            line: line.id,
            epoch: line.epoch,
            ..FactHead::default()
        };
        let state = 0;
        (
            head,
            fact::CheckpointLine {
                state,
                cut_date: date,
                dates,
                sequences,
            }
            .into(),
        )
    });
    let lines = plan.core.lines.iter().filter(|_| plan.open_sequence != 0);
    let open = lines
        .enumerate()
        .map(|(at, line)| open_ahead(at, line, plan.open_sequence, date));
    facts.chain(open).collect()
}

/// A transaction that waits for an order. The centre never heard of it.
fn open_ahead(
    at: usize,
    line: &LineConfig,
    sequence: u32,
    cut_date: u32,
) -> (FactHead, Fact<'static>) {
    let head = FactHead {
        line: line.id,
        epoch: line.epoch,
        tx: at as u64 + 1,
        ..FactHead::default()
    };
    let key = telegram::key(800_000_000 + at as u64);
    let data = telegram::data(telegram::Business::Authorisation, &key, 1, false);
    let header = HeaderBuilder {
        route: 2,
        sequence,
        acquirer: line.company,
        issuer: telegram::ISSUER,
        mti: codec::cafis::mti::Mti::AUTH_REQUEST,
        originator_day: engine::core::date::day_digits(cut_date),
        trailer: data.len() as u16,
        ..HeaderBuilder::default()
    };
    let mut image = [&header.to_bytes()[..], &data].concat();
    make_image(&mut image).expect("a good request");
    let open = fact::Open {
        phase: Phase::Escalated as u8,
        cause: Cause::NoAutomatic as u8,
        congested: 0,
        route: 2,
        flags: 0,
        fault: 8930,
        sends: 0,
        sequence,
        cut_date,
        api: [0; 16],
        request: 1,
        // Once for each line of a world, which ends with the test.
        image: image.leak(),
        report: &[],
    };
    (head, open.into())
}

/// A running gateway.
pub struct Gateway {
    /// The machine.
    pub pipeline: Pipeline<AlignedBuf>,
    /// A core that was told every fact that went to the disk.
    pub shadow: Shadow,
    next_segment: u64,
    needed_from: u64,
    write_ns_max: u64,
}

impl Gateway {
    /// Starts: recovers the journal, takes a fresh segment, begins work.
    ///
    /// # Errors
    /// The journal is refused, or invariant 8: it holds something else than what was durable.
    pub fn start(
        plan: &Plan,
        disk: &mut Disk,
        cfg: &CoreConfig,
        first: &[(FactHead, Fact<'static>)],
        now: Now,
    ) -> Result<(Gateway, Recovered), String> {
        let mut core = Core::new(cfg.clone(), now);
        let mut fault = None;
        let floor = disk.durable;
        let recovered = recover(&mut disk.store, 0, &mut |number, head, fact| {
            if let Err(error) = core.apply(head, fact)
                && fault.is_none()
            {
                fault = Some(format!("8: record {number}: {error}"));
            }
        });
        let recovered = recovered.map_err(|error| format!("8: recovery refuses: {error}"))?;
        if let Some(fault) = fault {
            return Err(fault);
        }
        if recovered.last_record.0 < floor {
            return Err(format!(
                "8: record {floor} was durable, recovery ends at {}",
                recovered.last_record
            ));
        }
        disk.cut_back(recovered.last_record);
        if recovered.checkpoint == 0 {
            for (head, fact) in first {
                core.apply(head, fact).map_err(|error| error.to_string())?;
            }
        }
        let mut shadow = Shadow::new(cfg, first);
        for block in &disk.blocks {
            shadow.take(block)?;
        }
        let mut recovered_dump = dump(&core);
        let mut shadow_dump = shadow.dump();
        if recovered.checkpoint == 0 {
            // Nothing was ever durable but a part of the first checkpoint.
            recovered_dump.clear();
            shadow_dump.clear();
        }
        if let Some(difference) = super::book::difference(&recovered_dump, &shadow_dump) {
            return Err(format!(
                "8: recovered state and the fold of all durable facts differ:{difference}"
            ));
        }
        let writer = WriterConfig {
            shard: 0,
            segment_bytes: plan.segment_bytes,
            block_max: BLOCK_MAX,
            blocks_in_flight: plan.in_flight,
        };
        let policy = WritePolicy {
            in_flight_max: plan.in_flight,
            beside_bytes: 1 << 12,
        };
        let buffers = (0..plan.in_flight * 2 + 4).map(|_| AlignedBuf::new(BLOCK_MAX));
        let more = Box::new(|| Some(AlignedBuf::new(BLOCK_MAX)));
        let pipeline = Pipeline::new(core, writer, recovered.start, policy, buffers, more);
        let mut gateway = Gateway {
            pipeline,
            shadow,
            next_segment: recovered.start.segment_highest + 1,
            needed_from: recovered.checkpoint,
            write_ns_max: plan.write_ns_max,
        };
        gateway.switch(disk)?;
        gateway.pipeline.start();
        Ok((gateway, recovered))
    }

    fn switch(&mut self, disk: &mut Disk) -> Result<(), String> {
        let segment = disk.prepare(self.next_segment, self.needed_from);
        self.next_segment += 1;
        self.pipeline
            .switch(segment)
            .map_err(|error| format!("journal: {error}"))
    }

    /// One event.
    pub fn step(&mut self, now: Now, event: Event<'_>) {
        self.pipeline.step(now, event);
    }

    /// Hands what may leave to the disk; gives each write's ticket and how long it takes.
    ///
    /// # Errors
    /// Invariants 8 and 11.
    pub fn write(&mut self, disk: &mut Disk) -> Result<Vec<(Ticket, u64)>, String> {
        let stuck = !self.pipeline.has_room() && self.pipeline.writes_in_flight() == 0;
        if self.pipeline.needs_segment() || (stuck && self.pipeline.pending_bytes() == 0) {
            self.switch(disk)?;
        }
        let mut issued = Vec::new();
        while let Some(sealed) = self.pipeline.next_write() {
            let ticket = sealed.ticket;
            if let Some(block) = disk.write(sealed)? {
                self.shadow.take(block)?;
            }
            issued.push((ticket, disk.latency(self.write_ns_max)));
        }
        if let Some(fault) = self.pipeline.fault() {
            return Err(format!("journal: {fault}"));
        }
        Ok(issued)
    }

    /// A write has completed.
    pub fn written(&mut self, disk: &mut Disk, ticket: Ticket) {
        let buffer = disk.complete(ticket);
        self.pipeline.written(ticket, buffer);
        if let Some(segment) = self.pipeline.checkpoint_durable() {
            self.needed_from = segment;
        }
    }

    /// What the durable prefix lets go.
    pub fn release(&mut self, now: Now) -> Vec<Output> {
        let mut outputs = Outputs::default();
        self.pipeline.release(now, &mut outputs);
        outputs.0
    }

    /// Notices since the last call.
    pub fn notices(&mut self, into: &mut BTreeMap<String, u64>) -> Vec<(u32, Notice)> {
        let mut notices = Vec::new();
        self.pipeline
            .notices(|line, notice| notices.push((line, notice)));
        for (_, notice) in &notices {
            let text = format!("{notice:?}");
            let name = text.split([' ', '{', '(']).next().unwrap_or("").to_owned();
            *into.entry(name).or_default() += 1;
        }
        notices
    }

    /// When the gateway wants to be woken.
    #[must_use]
    pub fn timer_ns(&self) -> Option<u64> {
        self.pipeline.next_timer_ns()
    }

    /// Invariant 8 while it runs: the live state is the fold of the facts. Can be said only while nothing waits to be
    /// written.
    ///
    /// # Errors
    /// They differ.
    pub fn compare(&self) -> Result<(), String> {
        if self.pipeline.pending_bytes() > 0 {
            return Ok(());
        }
        let difference = super::book::difference(&dump(self.pipeline.core()), &self.shadow.dump());
        match difference {
            None => Ok(()),
            Some(difference) => Err(format!(
                "8: the live state and the fold of its facts differ:{difference}"
            )),
        }
    }
}

/// How long after a crash the gateway is started again at most.
pub const DOWN_NS_MAX: u64 = 90 * SEC;
