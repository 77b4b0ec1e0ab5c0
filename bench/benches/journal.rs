//! What the journal costs: laying a fact into a block, sealing blocks, recovering them.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use engine::core::fact::{
    CheckpointBegin, CheckpointEnd, Delivered, Fact, FactHead, Report, Request,
};
use engine::journal::buffer::AlignedBuf;
use engine::journal::durable::{Prefix, Synced};
use engine::journal::recover::recover;
use engine::journal::search::search_store;
use engine::journal::segment::NewSegment;
use engine::journal::store::mem::MemStore;
use engine::journal::writer::{StartPoint, Writer, WriterConfig};

const SEGMENT_BYTES: usize = 256 << 20;
const FRAME: [u8; 208] = [0x30; 208];
const HEAD: FactHead = FactHead {
    line: 1,
    epoch: 0,
    tx: 77,
    trace: 78,
    wall_ns: 1_790_000_000_000_000_000,
};

fn request() -> Fact<'static> {
    Fact::from(Request {
        route: 2,
        flags: 0,
        sequence: 123,
        cut_date: 20_261_130,
        api: [9; 16],
        request: 7,
        image: &FRAME,
    })
}

/// A writer whose every sealed block counts as durable at once.
struct Bed {
    writer: Writer<AlignedBuf>,
    synced: Synced,
    segment: u64,
}

impl Bed {
    fn new(block_max: usize) -> Bed {
        let config = WriterConfig {
            shard: 0,
            segment_bytes: SEGMENT_BYTES as u64,
            block_max,
            blocks_in_flight: 4,
        };
        let mut writer = Writer::new(config, StartPoint::default());
        for _ in 0..8 {
            writer.give_buffer(AlignedBuf::new(block_max));
        }
        let mut bed = Bed {
            writer,
            synced: Synced::default(),
            segment: 0,
        };
        bed.switch();
        bed
    }

    fn switch(&mut self) {
        self.segment += 1;
        let new = NewSegment {
            number: self.segment,
            salt: [7; 16],
        };
        let switched = self.writer.switch(new, |fact| {
            let head = FactHead::default();
            fact(
                &head,
                &CheckpointBegin {
                    last_tx: 0,
                    boot: 1,
                }
                .into(),
            );
            fact(&head, &CheckpointEnd { facts: 2 }.into());
        });
        switched.expect("a short checkpoint fits");
        self.drain();
    }

    /// Seals everything; gives the time that took.
    fn drain(&mut self) -> Duration {
        let start = Instant::now();
        while let Some(sealed) = self.writer.seal_next(self.synced) {
            self.synced = Synced {
                ticket: sealed.ticket,
                record: sealed.last_record,
            };
            self.writer.give_buffer(black_box(sealed.buffer));
        }
        start.elapsed()
    }
}

fn append(c: &mut Criterion) {
    let facts = [
        ("Request of 208 bytes", request()),
        ("Report of 208 bytes", Report { frame: &FRAME }.into()),
        ("Delivered", Delivered { request: 7 }.into()),
    ];
    let mut group = c.benchmark_group("journal append");
    for (name, fact) in facts {
        let mut bed = Bed::new(256 * 1024);
        group.bench_function(name, |b| {
            b.iter_custom(|count| {
                let (mut left, mut spent) = (count, Duration::ZERO);
                while left > 0 {
                    let batch = left.min(500);
                    let start = Instant::now();
                    for _ in 0..batch {
                        bed.writer
                            .append(&HEAD, black_box(&fact))
                            .expect("there is room");
                    }
                    spent += start.elapsed();
                    left -= batch;
                    bed.drain();
                    if bed.writer.needs_segment() {
                        bed.switch();
                    }
                }
                spent
            });
        });
    }
    group.finish();
}

fn seal(c: &mut Criterion) {
    let mut group = c.benchmark_group("journal seal");
    for kib in [4_usize, 64, 256] {
        let mut bed = Bed::new(256 * 1024);
        let fact = request();
        // A request takes 336 bytes.
        let records = (kib * 1024 - 128) / 336;
        group.throughput(Throughput::Bytes(kib as u64 * 1024));
        group.bench_function(BenchmarkId::from_parameter(format!("{kib} KiB")), |b| {
            b.iter_custom(|count| {
                let mut spent = Duration::ZERO;
                for _ in 0..count {
                    for _ in 0..records {
                        bed.writer.append(&HEAD, &fact).expect("there is room");
                    }
                    spent += bed.drain();
                    if bed.writer.needs_segment() {
                        bed.switch();
                    }
                }
                spent
            });
        });
    }
    group.finish();
}

fn recovery(c: &mut Criterion) {
    const BYTES: usize = 64 << 20;
    let config = WriterConfig {
        shard: 0,
        segment_bytes: BYTES as u64,
        block_max: 256 * 1024,
        blocks_in_flight: 4,
    };
    let mut writer = Writer::new(config, StartPoint::default());
    for _ in 0..8 {
        writer.give_buffer(AlignedBuf::new(256 * 1024));
    }
    let mut disk = MemStore::new();
    disk.create(1, BYTES);
    let new = NewSegment {
        number: 1,
        salt: [7; 16],
    };
    let switched = writer.switch(new, |fact| {
        let head = FactHead::default();
        fact(
            &head,
            &CheckpointBegin {
                last_tx: 0,
                boot: 1,
            }
            .into(),
        );
        fact(&head, &CheckpointEnd { facts: 2 }.into());
    });
    switched.expect("a short checkpoint fits");
    let mut prefix = Prefix::new(Default::default());
    while !writer.needs_segment() {
        for _ in 0..150 {
            writer.append(&HEAD, &request()).expect("there is room");
            writer
                .append(&HEAD, &Delivered { request: 7 }.into())
                .expect("there is room");
        }
        while let Some(sealed) = writer.seal_next(prefix.synced()) {
            disk.write(
                sealed.ticket.0,
                sealed.segment,
                sealed.offset,
                &sealed.buffer[..sealed.len],
            );
            disk.complete(sealed.ticket.0);
            prefix.issued(sealed.ticket, sealed.last_record);
            prefix.completed(sealed.ticket);
            writer.give_buffer(sealed.buffer);
        }
    }
    let mut group = c.benchmark_group("journal recovery");
    group.sample_size(10);
    group.throughput(Throughput::Bytes(BYTES as u64));
    group.bench_function("64 MiB, from memory", |b| {
        b.iter(|| {
            let mut sum = 0;
            let found = recover(&mut disk, 0, &mut |_, head, _| sum += head.tx);
            (found.expect("the journal is good").facts, sum)
        });
    });
    group.bench_function("64 MiB, searched for a key that is not there", |b| {
        b.iter(|| {
            search_store(&mut disk, 0, None, [0x31; 24])
                .expect("the journal is good")
                .is_none()
        });
    });
    group.finish();
}

criterion_group!(benches, append, seal, recovery);
criterion_main!(benches);
