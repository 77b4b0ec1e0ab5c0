//! What a telegram costs in the codec: framing, header, sections, fault image, matching, masking.
//!
//! The frames are the golden authorisation, its approval and its fault messages, 208 bytes each.

use std::hint::black_box;
use std::path::PathBuf;

use codec::cafis::fault::{ReportFields, make_image, matches, write_cancel, write_cancel_confirm};
use codec::cafis::frame::{Assembler, FRAME_MAX};
use codec::cafis::header::{Header, HeaderBuilder};
use codec::cafis::mask::{MaskingMode, mask_for_display};
use codec::cafis::mti::{Mti, lookup};
use codec::cafis::section::Section10;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const FOLLOW_ON_NS: u64 = 60_000_000_000;

fn golden(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/golden/cafis")
        .join(format!("{name}.frame"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Cuts `stream`, received in pieces of `piece` bytes, and returns the number of frames.
fn split_all(assembler: &mut Assembler, stream: &[u8], piece: usize) -> usize {
    let mut frames = 0;
    for received in stream.chunks(piece) {
        let mut rest = received;
        while !rest.is_empty() {
            let split = assembler
                .split(1, black_box(rest))
                .expect("golden frames can be framed");
            frames += usize::from(split.frame.is_some());
            rest = &rest[split.consumed..];
        }
    }
    frames
}

fn framing(c: &mut Criterion) {
    const FRAMES: usize = 64;
    let stream = golden("F09").repeat(FRAMES);
    let mut group = c.benchmark_group("framing");
    group.throughput(Throughput::Elements(FRAMES as u64));
    for (name, piece) in [
        ("64 frames, whole", stream.len()),
        ("64 frames, pieces of 150 bytes", 150),
    ] {
        let mut assembler = Assembler::new(FOLLOW_ON_NS);
        group.bench_function(name, |b| {
            b.iter(|| assert_eq!(split_all(&mut assembler, &stream, piece), FRAMES));
        });
    }
    group.finish();
}

fn header(c: &mut Criterion) {
    let frame = golden("F10");
    let mut group = c.benchmark_group("header");
    group.bench_function("parse: route, sequence, type, table row", |b| {
        b.iter(|| {
            let header = Header::new(black_box(&frame)).expect("a header");
            black_box((header.route(), header.sequence(), lookup(header.mti())))
        });
    });
    group.bench_function("transaction key", |b| {
        b.iter(|| Section10::of(black_box(&frame)).map(|section| section.key()));
    });
    let builder = HeaderBuilder {
        route: 2,
        sequence: 123,
        mti: Mti::AUTH_REQUEST,
        ..HeaderBuilder::default()
    };
    group.bench_function("write", |b| b.iter(|| black_box(&builder).to_bytes()));
    group.finish();
}

fn fault(c: &mut Criterion) {
    let (request, approval) = (golden("F09"), golden("F10"));
    let mut image = request.clone();
    let mut out = Vec::with_capacity(FRAME_MAX);
    let mut group = c.benchmark_group("fault");
    group.bench_function("image of a request, copy included", |b| {
        b.iter(|| {
            image.copy_from_slice(black_box(&request));
            make_image(&mut image)
        });
    });
    group.bench_function("8930 from the image", |b| {
        b.iter(|| {
            out.clear();
            write_cancel_confirm(black_box(&image), false, &mut out);
        });
    });
    let report = ReportFields::of(&Header::new(&approval).expect("a header"));
    group.bench_function("8910 from the image", |b| {
        b.iter(|| {
            out.clear();
            write_cancel(black_box(&image), &report, 4, false, &mut out);
        });
    });
    group.bench_function("match a report", |b| {
        b.iter(|| matches(black_box(&request), black_box(&approval)));
    });
    group.finish();
}

fn masking(c: &mut Criterion) {
    let request = golden("F09");
    let mut out = Vec::with_capacity(FRAME_MAX);
    c.bench_function("mask a request for display", |b| {
        b.iter(|| {
            out.clear();
            mask_for_display(black_box(&request), MaskingMode::PciDss, &mut out);
        });
    });
}

criterion_group!(benches, framing, header, fault, masking);
criterion_main!(benches);
