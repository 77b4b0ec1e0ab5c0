//! The path of a telegram takes no memory: a counting allocator watches every function that a transaction calls.
//!
//! The test has a process of its own, and the counter belongs to the thread, so that nothing else is counted.

#![allow(
    unsafe_code,
    reason = "a global allocator is an unsafe trait; this one only counts and passes on"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::path::PathBuf;

use codec::cafis::control::{GatewayControl, answer};
use codec::cafis::fault::{
    ReportFields, make_image, matches, matches_sent, write_cancel, write_cancel_confirm,
};
use codec::cafis::frame::{Assembler, FRAME_MAX};
use codec::cafis::header::{Assigned, Header, HeaderBuilder, data, set_engine_fields};
use codec::cafis::mask::{MaskingMode, mask_for_display};
use codec::cafis::mti::{Mti, is_turnaround_frame, lookup};
use codec::cafis::report::{NO_ERROR, report_from};
use codec::cafis::section::{Section10, Section11, sections};

struct Counting;

thread_local! {
    static TAKEN: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is passed to the system's allocator unchanged; the counter is a plain cell of the thread.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        TAKEN.set(TAKEN.get() + 1);
        // SAFETY: the caller's obligations are passed on as they are.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `System` through `alloc` or `realloc` above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        TAKEN.set(TAKEN.get() + 1);
        // SAFETY: the pointer came from `System` through `alloc` or `realloc` above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn golden(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/golden/cafis")
        .join(format!("{name}.frame"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Cuts two frames out of three pieces, so that one lies whole and one is put together.
fn split(assembler: &mut Assembler, stream: &[u8]) -> usize {
    let (first, rest) = stream.split_at(100);
    let (second, third) = rest.split_at(200);
    let mut frames = 0;
    for piece in [first, second, third] {
        let mut rest = piece;
        while !rest.is_empty() {
            let split = assembler
                .split(1, rest)
                .expect("golden frames can be framed");
            frames += usize::from(split.frame.is_some());
            rest = &rest[split.consumed..];
        }
    }
    frames
}

/// Framing, header, sections, matching, fault messages, control messages, reports and masking take no memory
/// when the output buffer has room for a frame.
#[test]
fn the_path_of_a_telegram_takes_no_memory() {
    let (request, approval) = (golden("F09"), golden("F10"));
    let stream = [&request[..], &approval, &golden("F15")].concat();
    let mut assembler = Assembler::new(1);
    let mut image = request.clone();
    let mut out: Vec<u8> = Vec::with_capacity(FRAME_MAX);
    let before = TAKEN.get();
    for _ in 0..100 {
        assert_eq!(split(&mut assembler, &stream), 3);
        let header = Header::new(&request).expect("a header");
        let builder = HeaderBuilder::from_header(&header).expect("numbers");
        black_box((
            builder.to_bytes(),
            lookup(header.mti()),
            is_turnaround_frame(&request),
        ));
        black_box((
            Section10::of(&request).map(|section| section.key()).is_ok(),
            Section11::of(&request).is_ok(),
        ));
        black_box(sections(header.mti(), data(&request)).count());
        image.copy_from_slice(&request);
        set_engine_fields(&mut image, 2, 123, *b"30");
        make_image(&mut image).expect("F09 has an image");
        assert_eq!(matches(&request, &approval), Ok(()));
        assert!(matches_sent(&request, Mti::CANCEL, 2, &approval).is_err());
        out.clear();
        write_cancel_confirm(&image, false, &mut out);
        out.clear();
        let report = ReportFields::of(&Header::new(&approval).expect("a header"));
        write_cancel(&image, &report, 4, true, &mut out);
        out.clear();
        GatewayControl::SignOn.write(*b"TEST0010000", &mut out);
        answer(&request, Mti::START_READY, &mut out);
        out.clear();
        report_from(
            &request,
            Mti::AUTH_APPROVAL,
            Assigned::NOT_YET,
            NO_ERROR,
            Some(*b"0012345"),
            &mut out,
        );
        out.clear();
        mask_for_display(&request, MaskingMode::Jcca, &mut out);
    }
    assert_eq!(TAKEN.get() - before, 0, "allocations in 100 transactions");
}

/// The counter counts: without this, the test above would pass with a broken one.
#[test]
fn the_counter_sees_an_allocation() {
    let before = TAKEN.get();
    black_box(Box::new(7u64));
    assert_eq!(TAKEN.get() - before, 1);
}
