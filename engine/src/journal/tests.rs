//! The journal as a whole: a small shard in memory writes, loses power and is recovered.
//!
//! The shard's state is the numbers 1 to n, one fact each, so that what recovery gives can be judged at a glance:
//! it must be 1 to some n, at least what was durable and at most what was appended.

mod crash;
mod damage;
mod files;
mod golden;
mod index;

use super::RecordNo;
use super::buffer::AlignedBuf;
use super::durable::Prefix;
use super::recover::{RecoverError, Recovered, recover};
use super::segment::NewSegment;
use super::store::mem::MemStore;
use super::writer::{Sealed, StartPoint, Ticket, Writer, WriterConfig};
use crate::core::fact::{
    CheckpointApi, CheckpointBegin, CheckpointEnd, Delivered, Fact, FactHead, Report, Stopped,
};

pub(super) const SHARD: u32 = 3;
pub(super) const SEGMENT_BYTES: usize = 128 * 1024;
pub(super) const BLOCK_MAX: usize = 8 * 1024;
pub(super) const K: usize = 4;

pub(super) const CONFIG: WriterConfig = WriterConfig {
    shard: SHARD,
    segment_bytes: SEGMENT_BYTES as u64,
    block_max: BLOCK_MAX,
    blocks_in_flight: K,
};

pub(super) fn head(tx: u64) -> FactHead {
    FactHead {
        line: 1,
        epoch: 0,
        tx,
        trace: tx + 1000,
        wall_ns: 1_790_000_000_000_000_000 + tx,
    }
}

/// A shard on a disk of memory.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) disk: MemStore,
    pub(super) writer: Writer<AlignedBuf>,
    pub(super) prefix: Prefix,
    /// Its state: 1 to this number.
    pub(super) value: u64,
    /// The record that made each value: value n at n - 1; 0 for those that came from the journal.
    pub(super) records: Vec<RecordNo>,
    pub(super) segment: u64,
}

impl Shard {
    /// A shard that goes on from what recovery found.
    pub(super) fn start(disk: MemStore, value: u64, start: StartPoint) -> Shard {
        let mut writer = Writer::new(CONFIG, start);
        for _ in 0..2 * K {
            writer.give_buffer(AlignedBuf::new(BLOCK_MAX));
        }
        Shard {
            disk,
            writer,
            prefix: Prefix::new(start.last_record),
            value,
            records: vec![RecordNo(0); value as usize],
            segment: start.segment_highest,
        }
    }

    /// A new shard in its first segment, everything durable.
    pub(super) fn fresh() -> Shard {
        let mut shard = Shard::start(MemStore::new(), 0, StartPoint::default());
        shard.switch();
        shard.settle();
        shard
    }

    /// Goes on in a new segment.
    pub(super) fn switch(&mut self) {
        self.segment += 1;
        self.disk.create(self.segment, SEGMENT_BYTES);
        self.switch_to(self.segment);
    }

    /// Goes on in a segment that is there.
    pub(super) fn switch_to(&mut self, number: u64) {
        self.segment = number;
        let new = NewSegment {
            number,
            salt: [number as u8 ^ 0x5a; 16],
        };
        let value = self.value;
        let ended = self
            .writer
            .switch(new, |fact| checkpoint(value, fact))
            .expect("the checkpoint fits");
        assert_eq!(ended, self.writer.last_record());
    }

    /// Adds one to the state, with as many bytes of company as asked for.
    pub(super) fn add(&mut self, company: usize) {
        self.value += 1;
        let record = self
            .writer
            .append(
                &head(self.value),
                &Fact::from(Delivered {
                    request: self.value,
                }),
            )
            .expect("there is room");
        self.records.push(record);
        if company > 0 {
            let frame = vec![0x40; company];
            let fact = Fact::from(Report { frame: &frame });
            self.writer
                .append(&head(self.value), &fact)
                .expect("there is room");
        }
    }

    /// Seals and issues what may leave; gives the tickets.
    pub(super) fn issue(&mut self) -> Vec<Ticket> {
        let mut issued = Vec::new();
        while let Some(sealed) = self.seal_one() {
            issued.push(sealed.ticket);
            self.write(sealed);
        }
        issued
    }

    pub(super) fn seal_one(&mut self) -> Option<Sealed<AlignedBuf>> {
        self.writer.seal_next(self.prefix.synced())
    }

    pub(super) fn write(&mut self, sealed: Sealed<AlignedBuf>) {
        let Sealed {
            ticket,
            segment,
            offset,
            len,
            last_record,
            buffer,
            ..
        } = sealed;
        self.disk.write(ticket.0, segment, offset, &buffer[..len]);
        self.prefix.issued(ticket, last_record);
        assert!(self.prefix.in_flight() <= K, "never more than K in flight");
        self.writer.give_buffer(buffer);
    }

    pub(super) fn complete(&mut self, ticket: Ticket) {
        self.disk.complete(ticket.0);
        self.prefix.completed(ticket);
    }

    /// Everything appended leaves and becomes durable.
    pub(super) fn settle(&mut self) {
        loop {
            let in_flight: Vec<u64> = self
                .disk
                .in_flight()
                .iter()
                .map(|write| write.tag)
                .collect();
            for tag in in_flight {
                self.complete(Ticket(tag));
            }
            if self.issue().is_empty() {
                break;
            }
        }
        assert_eq!(self.prefix.synced().record, self.writer.last_record());
        assert_eq!(self.writer.pending_bytes(), 0);
    }

    /// Writes one block of a value and some company, durable, and gives where it lies.
    pub(super) fn add_block(&mut self, company: usize) -> (u64, usize) {
        self.add(company);
        let sealed = self.seal_one().expect("a block waits");
        let place = (sealed.offset, sealed.len);
        let ticket = sealed.ticket;
        self.write(sealed);
        self.complete(ticket);
        place
    }

    /// The values that are durable.
    pub(super) fn durable(&self) -> u64 {
        let synced = self.prefix.synced().record;
        self.records
            .iter()
            .filter(|record| **record <= synced)
            .count() as u64
    }
}

/// The whole state as a checkpoint.
pub(super) fn checkpoint(value: u64, fact: &mut dyn FnMut(&FactHead, &Fact<'_>)) {
    let none = FactHead::default();
    fact(
        &none,
        &CheckpointBegin {
            last_tx: value,
            boot: 1,
        }
        .into(),
    );
    for highest in 1..=value {
        let token = [highest as u8; 16];
        fact(&none, &CheckpointApi { token, highest }.into());
    }
    fact(&none, &CheckpointEnd { facts: value + 2 }.into());
}

/// Recovers the state, and checks that record numbers rise by one.
pub(super) fn recovered(disk: &mut MemStore) -> Result<(u64, Recovered), RecoverError> {
    let (mut value, mut last) = (0, None);
    let recovered = recover(disk, SHARD, &mut |number, _, fact| {
        assert!(last.is_none_or(|last: RecordNo| last.next() == number));
        last = Some(number);
        match fact {
            Fact::CheckpointBegin(_) => value = 0,
            Fact::CheckpointApi(api) => {
                value += 1;
                assert_eq!(api.highest, value);
            }
            Fact::Delivered(delivered) => {
                value += 1;
                assert_eq!(delivered.request, value, "no value is missing or doubled");
            }
            _ => {}
        }
    })?;
    Ok((value, recovered))
}

/// A small generator, so that a failing case is found again by its seed.
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Facts of several segments come back as the state they made, with the numbers that the writer gave.
#[test]
fn state_round_trips_over_segments() {
    let mut shard = Shard::fresh();
    for round in 0..300 {
        shard.add(round % 700);
        if round % 7 == 0 {
            shard.issue();
        }
        if shard.writer.needs_segment() {
            shard.switch();
        }
        if round % 3 == 0 {
            shard.settle();
        }
    }
    shard.settle();
    assert!(shard.segment > 2, "segments were switched");
    let (value, recovered) = recovered(&mut shard.disk).expect("nothing is wrong");
    assert_eq!(value, shard.value);
    assert_eq!(recovered.last_record, shard.writer.last_record());
    assert_eq!(recovered.checkpoint, shard.segment);
    assert_eq!(recovered.kept, (1..=shard.segment).collect::<Vec<_>>());
    assert!(recovered.cut.is_none() && recovered.unused.is_empty() && !recovered.clean);
}

/// A checkpoint longer than all buffers leaves through the few there are, while later facts wait behind it.
#[test]
fn a_long_checkpoint_needs_no_more_buffers() {
    let mut shard = Shard::start(MemStore::new(), 1000, StartPoint::default());
    shard.switch();
    shard.add(0);
    assert!(
        shard.writer.buffers_free() < 2 * K,
        "one is filled, one is kept back"
    );
    shard.settle();
    let (value, _) = recovered(&mut shard.disk).expect("nothing is wrong");
    assert_eq!(value, 1001);
}

/// What `room` promises, `append` takes; and a segment or the buffers that are full say so.
#[test]
fn room_is_kept() {
    let mut shard = Shard::fresh();
    let frame = [0x40; 900];
    let fact = Fact::from(Report { frame: &frame });
    let mut refusals = std::collections::BTreeSet::new();
    for _ in 0..400 {
        let promised = shard.writer.room() >= 1000;
        match shard.writer.append(&head(1), &fact) {
            Ok(_) => {}
            Err(error) => {
                assert!(!promised, "room was promised: {error}");
                refusals.insert(error.to_string());
                shard.issue();
                shard.settle();
                if shard.writer.needs_segment() {
                    shard.switch();
                }
            }
        }
    }
    let refusals: Vec<_> = refusals.into_iter().collect();
    assert!(
        refusals
            .iter()
            .any(|text| text.contains("no journal buffer")),
        "{refusals:?}"
    );
}

/// A journal that ends with `Stopped` is clean, and so is a new one; one more fact and it is not.
#[test]
fn an_orderly_stop_is_seen() {
    let (_, found) = recovered(&mut MemStore::new()).expect("an empty disk is a new journal");
    assert!(found.clean && found.start == StartPoint::default());
    let mut shard = Shard::fresh();
    shard.add_block(0);
    let stopped = Fact::from(Stopped { boot: 1 });
    let append = shard.writer.append(&FactHead::default(), &stopped);
    append.expect("there is room");
    shard.settle();
    assert!(
        recovered(&mut shard.disk)
            .expect("nothing is wrong")
            .1
            .clean
    );
    shard.add_block(0);
    assert!(
        !recovered(&mut shard.disk)
            .expect("nothing is wrong")
            .1
            .clean
    );
}
