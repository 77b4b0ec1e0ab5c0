//! The bytes of a journal, once and for all: a change of the format shows here first.

use super::*;
use crate::core::fact::{Booted, Request};
use crate::journal::layout::{BlockFields, RecordFields, SegmentFields};
use std::path::PathBuf;

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/golden/journal")
        .join(name)
}

/// A header, a checkpoint and a block of facts are byte for byte those in `tests/golden/journal`. With the
/// environment variable `SEKISHO_BLESS` set they are written anew, which only a new format version may do.
#[test]
fn bytes_are_as_they_were() {
    let mut shard = Shard::start(MemStore::new(), 2, StartPoint::default());
    shard.switch();
    shard.settle();
    let image = [0x30; 208];
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
        Fact::from(Booted { boot: 1 }),
        request.into(),
        Report { frame: b"a report" }.into(),
        Delivered { request: 7 }.into(),
    ] {
        shard.writer.append(&head(1), &fact).expect("there is room");
    }
    shard.settle();
    let bytes = shard.disk.bytes_mut(1).expect("segment 1");
    let end = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .expect("something was written")
        + 1;
    let bytes = &bytes[..end.next_multiple_of(4096)];
    let path = golden("segment.seg");
    if std::env::var_os("SEKISHO_BLESS").is_some() {
        std::fs::write(&path, bytes).expect("the golden file can be written");
    }
    let wanted = std::fs::read(&path).expect("the golden file is there");
    let difference = wanted.iter().zip(bytes).position(|(a, b)| a != b);
    assert!(
        wanted.len() == bytes.len() && difference.is_none(),
        "{} bytes, {} wanted, first difference at {difference:?}",
        bytes.len(),
        wanted.len()
    );
}

/// The golden file is recovered: today's reader reads what was written then.
#[test]
fn golden_bytes_are_recovered() {
    let mut disk = MemStore::new();
    disk.create(1, SEGMENT_BYTES);
    let bytes = std::fs::read(golden("segment.seg")).expect("the golden file is there");
    disk.bytes_mut(1).expect("it was made")[..bytes.len()].copy_from_slice(&bytes);
    let mut kinds = Vec::new();
    let found = recover(&mut disk, SHARD, &mut |number, _, fact| {
        kinds.push((number.0, fact.kind()))
    });
    assert_eq!(found.expect("it is good").last_record, RecordNo(8));
    assert_eq!(
        kinds,
        [
            (1, 30),
            (2, 32),
            (3, 32),
            (4, 34),
            (5, 1),
            (6, 10),
            (7, 12),
            (8, 13)
        ]
    );
}

/// Every header reads back what it wrote, and no two fields share a byte.
#[test]
fn headers_round_trip() {
    let mut bytes = [0; 128];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = at as u8 + 1;
    }
    let mut out = [0; 128];
    SegmentFields::read(&bytes).write(&mut out);
    assert_eq!(out, bytes);
    BlockFields::read(&bytes).write(&mut out);
    assert_eq!(out, bytes);
    let record: [u8; 48] = *bytes.first_chunk().expect("128 are more than 48");
    let mut out = [0; 48];
    RecordFields::read(&record).write(&mut out);
    assert_eq!(out, record);
    for fields in [
        SegmentFields::FIELDS,
        BlockFields::FIELDS,
        RecordFields::FIELDS,
    ] {
        assert!(
            fields
                .windows(2)
                .all(|pair| pair[0].offset + pair[0].width == pair[1].offset)
        );
    }
}
