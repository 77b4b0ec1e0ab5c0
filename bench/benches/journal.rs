//! What the journal costs: laying a fact into a block, sealing blocks, recovering them.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use engine::core::fact::{
    CheckpointBegin, CheckpointEnd, Delivered, Fact, FactHead, Report, Request,
};
use engine::journal::buffer::AlignedBuf;
use engine::journal::durable::{Prefix, Synced};
use engine::journal::index::{Builder, Closed};
use engine::journal::read::header_of;
use engine::journal::recover::recover;
use engine::journal::search::search_store;
use engine::journal::segment::{NewSegment, SegmentHeader};
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

/// Bytes of the segment that is recovered and searched.
const FULL_BYTES: usize = 64 << 20;

/// A request with the key of this number.
fn image(number: u64) -> [u8; 208] {
    let mut image = FRAME;
    let digits = format!("{number:018}");
    // Terminal and terminal sequence of section 1-0.
    image[63 + 19..63 + 37].copy_from_slice(digits.as_bytes());
    image
}

fn key(number: u64) -> [u8; 24] {
    let mut key = [b'0'; 24];
    key[6..].copy_from_slice(format!("{number:018}").as_bytes());
    key
}

/// A disk with one full segment of delivered transactions, with keys from 1 to the number that comes with it; if it
/// is closed, a second segment begins behind it.
fn full_segment(closed: bool) -> (MemStore, u64) {
    let config = WriterConfig {
        shard: 0,
        segment_bytes: FULL_BYTES as u64,
        block_max: 256 * 1024,
        blocks_in_flight: 4,
    };
    let mut writer = Writer::new(config, StartPoint::default());
    for _ in 0..8 {
        writer.give_buffer(AlignedBuf::new(256 * 1024));
    }
    let mut disk = MemStore::new();
    let mut prefix = Prefix::new(Default::default());
    let mut transactions = 0;
    for number in 1..=1 + u64::from(closed) {
        disk.create(number, FULL_BYTES);
        let salt = [7; 16];
        let switched = writer.switch(NewSegment { number, salt }, |fact| {
            let head = FactHead::default();
            let begin = CheckpointBegin {
                last_tx: 0,
                boot: 1,
            };
            fact(&head, &begin.into());
            fact(&head, &CheckpointEnd { facts: 2 }.into());
        });
        switched.expect("a short checkpoint fits");
        let wanted = if number == 1 { u64::MAX } else { transactions };
        while transactions < wanted && !writer.needs_segment() {
            for _ in 0..100 {
                transactions += 1;
                let head = FactHead {
                    tx: transactions,
                    ..HEAD
                };
                let image = image(transactions);
                let request = Request {
                    route: 2,
                    flags: 0,
                    sequence: 123,
                    cut_date: 20_261_130,
                    api: [9; 16],
                    request: 7,
                    image: &image,
                };
                for fact in [
                    Fact::from(request),
                    Report { frame: &image }.into(),
                    Delivered { request: 7 }.into(),
                ] {
                    writer.append(&head, &fact).expect("there is room");
                }
            }
            write_out(&mut writer, &mut disk, &mut prefix);
        }
        write_out(&mut writer, &mut disk, &mut prefix);
    }
    (disk, transactions)
}

/// Writes every block that waits; each is durable at once.
fn write_out(writer: &mut Writer<AlignedBuf>, disk: &mut MemStore, prefix: &mut Prefix) {
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

fn recovery(c: &mut Criterion) {
    let (mut disk, _) = full_segment(false);
    let mut group = c.benchmark_group("journal recovery");
    group.sample_size(10);
    group.throughput(Throughput::Bytes(FULL_BYTES as u64));
    group.bench_function("64 MiB, from memory", |b| {
        b.iter(|| {
            let mut sum = 0;
            let found = recover(&mut disk, 0, &mut |_, head, _| sum += head.tx);
            (found.expect("the journal is good").facts, sum)
        });
    });
    group.finish();
}

/// A search of one closed segment, read whole and by its index, and what the index costs to make.
fn searching(c: &mut Criterion) {
    let (mut disk, transactions) = full_segment(true);
    let find = |disk: &mut MemStore, number: u64| {
        let searched = search_store(disk, 0, None, key(number)).expect("the journal is good");
        assert_eq!(searched.found.is_some(), number <= transactions);
        assert!(searched.bad_indexes.is_empty());
        searched.read.bytes
    };
    let mut group = c.benchmark_group("journal search");
    group.sample_size(10);
    let keys = [("there", transactions / 2), ("not there", transactions + 1)];
    for (name, number) in keys {
        group.bench_function(format!("64 MiB read whole, the key is {name}"), |b| {
            b.iter(|| find(&mut disk, number));
        });
    }
    let header = |disk: &mut MemStore, segment| {
        let header = header_of(disk, 0, segment).expect("memory");
        header.expect("it was written")
    };
    let closed = Closed {
        header: header(&mut disk, 1),
        end: header(&mut disk, 2).previous(),
    };
    let mut make = || {
        let made = Builder::whole(&mut disk, closed).expect("the segment is good");
        made.expect("it is short enough")
    };
    let index = make();
    println!(
        "journal search: {transactions} transactions, index of {} bytes",
        index.len()
    );
    group.throughput(Throughput::Elements(transactions));
    group.bench_function("the index of 64 MiB made, each transaction", |b| {
        b.iter(&mut make);
    });
    group.throughput(Throughput::Elements(1));
    disk.put_index(1, index);
    for (name, number) in keys {
        group.bench_function(format!("64 MiB by index, the key is {name}"), |b| {
            b.iter(|| find(&mut disk, number));
        });
    }
    group.finish();
}

criterion_group!(benches, append, seal, recovery, searching);
criterion_main!(benches);
