//! What a transaction costs in the core and its pipeline, and a timer in the wheel, without sockets or disk.

use std::hint::black_box;

use codec::cafis::control::answer;
use codec::cafis::header::Assigned;
use codec::cafis::mti::Mti;
use codec::cafis::report::{NO_ERROR, report_from};
use codec::link::message::{Hello, Send, VERSION};
use codec::link::{Assembler, Head, Kind};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use engine::core::config::{CoreConfig, LineConfig};
use engine::core::wheel::Wheel;
use engine::core::{Core, Event, LineNo, LinkId, Now, Order, SessionId};
use engine::journal::buffer::AlignedBuf;
use engine::journal::segment::NewSegment;
use engine::journal::writer::{StartPoint, WriterConfig};
use engine::pipeline::{Pipeline, Sink, WritePolicy};

const BLOCK: usize = 256 * 1024;
const ROUTES: u16 = 189;
const SECOND: u64 = 1_000_000_000;

/// Released frames by destination.
#[derive(Default)]
struct Out {
    centre: Vec<u8>,
    link: Vec<u8>,
}

impl Sink for Out {
    fn centre(&mut self, _: SessionId, frame: &[u8]) {
        self.centre.extend_from_slice(frame);
    }
    fn link(&mut self, _: LinkId, frame: &[u8]) {
        self.link.extend_from_slice(frame);
    }
    fn order(&mut self, order: Order) {
        black_box(order);
    }
}

/// A pipeline whose disk completes at once.
struct Bench {
    pipeline: Pipeline<AlignedBuf>,
    out: Out,
    now: Now,
    segment: u64,
    request: u64,
    body: Vec<u8>,
}

impl Bench {
    fn new() -> Bench {
        let now = Now {
            mono_ns: SECOND,
            wall_ns: 1_795_392_000 * SECOND,
        };
        let config = CoreConfig {
            shard: 0,
            boot: 1,
            secret: [1, 2],
            lines: vec![LineConfig::standard("L0001", 1, ROUTES, 1)],
            default_line: "L0001".into(),
            elsewhere: Vec::new(),
            links_max: 16,
            sessions_max: 16,
            recent_max: 65_536,
            credit: 1024,
            resume_grace_ns: SECOND,
            delivery_limit_ns: 60 * SECOND,
            recovery_automatic: true,
            drain_ns: SECOND,
        };
        let writer = WriterConfig {
            shard: 0,
            segment_bytes: 256 << 20,
            block_max: BLOCK,
            blocks_in_flight: 4,
        };
        let policy = WritePolicy {
            in_flight_max: 4,
            beside_bytes: 0,
        };
        let buffers = (0..8).map(|_| AlignedBuf::new(BLOCK));
        let pipeline = Pipeline::new(
            Core::new(config, now),
            writer,
            StartPoint::default(),
            policy,
            buffers,
            Box::new(|| None),
        );
        let mut bench = Bench {
            pipeline,
            out: Out::default(),
            now,
            segment: 0,
            request: 0,
            body: Vec::new(),
        };
        bench.next_segment();
        bench.pipeline.start();
        bench.commit();
        bench.pipeline.step(
            now,
            Event::SessionUp {
                line: LineNo(0),
                session: SessionId(1),
            },
        );
        bench.commit();
        let mut permitted = Vec::new();
        answer(
            &bench.out.centre[..63],
            Mti::SIGN_ON_PERMITTED,
            &mut permitted,
        );
        bench.pipeline.step(
            now,
            Event::Telegram {
                line: LineNo(0),
                session: SessionId(1),
                frame: &permitted,
            },
        );
        bench.pipeline.step(now, Event::LinkUp { link: LinkId(0) });
        let (mut hello, mut frames) = (Vec::new(), Vec::new());
        Hello {
            version_min: VERSION,
            version_max: VERSION,
            features: 0,
            epoch: 0,
            line: "",
        }
        .encode(&mut hello);
        Head::new(Kind::Hello).write(&hello, &mut frames);
        Head::new(Kind::Open).write(&[], &mut frames);
        bench.link(&frames);
        bench.commit();
        let mut data = b"   000000002       1234599000001000012611300000@".to_vec();
        data.truncate(47);
        data[46] = b'@';
        data.extend_from_slice(b"214111111111111111=99121012080000000000                                00000000990000050000000500@");
        let send = Send {
            centre_id: *b"00",
            centre_seq: *b"      ",
            issuer: *b"TEST9000000",
            acquirer: *b"TEST0010000",
            mti: *b"3110",
            data: &data,
        };
        send.encode(&mut bench.body);
        bench
    }

    fn next_segment(&mut self) {
        self.segment += 1;
        let segment = NewSegment {
            number: self.segment,
            salt: [self.segment as u8; 16],
        };
        self.pipeline.switch(segment).expect("a small state");
    }

    fn link(&mut self, mut bytes: &[u8]) {
        let mut assembler = Assembler::new();
        while !bytes.is_empty() {
            let split = assembler.split(bytes).expect("good frames");
            if let Some(frame) = split.frame {
                self.pipeline.step(
                    self.now,
                    Event::LinkFrame {
                        link: LinkId(0),
                        frame,
                    },
                );
            }
            bytes = &bytes[split.consumed..];
        }
    }

    /// Writes what there is and releases it.
    fn commit(&mut self) {
        self.out.centre.clear();
        self.out.link.clear();
        if self.pipeline.needs_segment() {
            self.next_segment();
        }
        while let Some(sealed) = self.pipeline.next_write() {
            self.pipeline.written(sealed.ticket, sealed.buffer);
        }
        self.pipeline.release(self.now, &mut self.out);
    }

    /// `count` transactions, each step for all of them before the next, as under load.
    fn transactions(&mut self, count: usize) {
        self.now.mono_ns += 1_000_000;
        self.now.wall_ns += 1_000_000;
        let mut frames = Vec::with_capacity(count * 256);
        for _ in 0..count {
            self.request += 1;
            // A key of its own for each: the terminal sequence.
            let digits = format!("{:05}", self.request % 100_000);
            self.body[34 + 32..34 + 37].copy_from_slice(digits.as_bytes());
            Head {
                session: 1,
                flags: 1,
                request: self.request,
                ..Head::new(Kind::Send)
            }
            .write(&self.body, &mut frames);
        }
        self.link(&frames);
        self.commit();
        let mut reports = Vec::with_capacity(self.out.centre.len());
        let assigned = Assigned {
            centre_id: *b"11",
            centre_seq: *b"000047",
            month_day: *b"1130",
        };
        for request in self.out.centre.chunks(208) {
            report_from(
                request,
                Mti::AUTH_APPROVAL,
                assigned,
                NO_ERROR,
                None,
                &mut reports,
            );
        }
        assert_eq!(reports.len(), count * 208, "every request was sent");
        for frame in reports.chunks(208) {
            self.pipeline.step(
                self.now,
                Event::Telegram {
                    line: LineNo(0),
                    session: SessionId(1),
                    frame,
                },
            );
        }
        self.commit();
        frames.clear();
        for at in 0..count {
            let request = self.request - (count - 1 - at) as u64;
            Head {
                session: 1,
                request,
                ..Head::new(Kind::Ack)
            }
            .write(&[], &mut frames);
        }
        self.link(&frames);
        self.commit();
        assert_eq!(
            self.out.link.len(),
            count * 32,
            "every delivery was confirmed"
        );
        self.pipeline.step(self.now, Event::Tick);
    }
}

fn core(c: &mut Criterion) {
    let mut group = c.benchmark_group("core");
    for count in [1, 16, 180] {
        let mut bench = Bench::new();
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(format!("transaction, {count} at a time"), |b| {
            b.iter(|| bench.transactions(count))
        });
    }
    group.finish();
}

fn wheel(c: &mut Criterion) {
    let mut group = c.benchmark_group("wheel");
    let timers = 1_000_000;
    let mut wheel = Wheel::new(timers + 1, 0);
    for n in 0..timers as u64 {
        wheel.arm(58 * SECOND + n * 1000, n);
    }
    group.bench_function("arm and cancel beside a million", |b| {
        b.iter(|| {
            let id = wheel.arm(black_box(30 * SECOND), 7);
            wheel.cancel(id);
        });
    });
    group.bench_function("nothing due", |b| {
        b.iter(|| black_box(wheel.expire(SECOND)))
    });
    group.bench_function("when is the next", |b| {
        b.iter(|| black_box(wheel.next_ns()))
    });
    let mut now = 59 * SECOND;
    group.bench_function("expire and arm again", |b| {
        b.iter(|| {
            now += 1000;
            if let Some(what) = wheel.expire(now) {
                wheel.arm(now + 58 * SECOND, what);
            }
        });
    });
    group.finish();
}

criterion_group!(benches, core, wheel);
criterion_main!(benches);
