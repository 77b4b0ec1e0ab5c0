//! Damage: what is wrong and cannot be a torn tail is refused, and the message says where.

use super::*;
use crate::journal::block::Seed;
use crate::journal::durable::Synced;
use crate::journal::layout::{
    BLOCK_HEADER_LEN, BlockFields, FORMAT_VERSION, SEGMENT_FIELDS_LEN, SEGMENT_HEADER_LEN,
    SegmentFields,
};
use crate::journal::recover::Damage;
use crate::journal::segment::SegmentFault;
use proptest::prelude::*;

/// A journal cut at every byte of its last block is recovered to the block before, whether the file ends there or is
/// zero from there on.
#[test]
fn a_journal_cut_in_its_last_block_recovers() {
    let mut shard = Shard::fresh();
    for _ in 0..4 {
        shard.add_block(200);
    }
    let (offset, len) = shard.add_block(200);
    let block = shard.disk.bytes_mut(1).expect("segment 1")[offset as usize..][..len].to_vec();
    for cut in 0..=len {
        for truncate in [false, true] {
            let mut disk = shard.disk.clone();
            let bytes = disk.bytes_mut(1).expect("segment 1");
            bytes[offset as usize + cut..].fill(0);
            if truncate {
                bytes.truncate(offset as usize + cut);
            }
            let lost_zeros = block[cut..].iter().all(|byte| *byte == 0);
            let full = cut == len || (lost_zeros && !truncate);
            let (value, found) = recovered(&mut disk).expect("a torn tail");
            assert_eq!(value, if full { 5 } else { 4 }, "cut at {cut}");
            assert_eq!(
                found.start.previous.offset,
                offset + if full { len as u64 } else { 0 }
            );
        }
    }
}

/// A flipped bit at any byte of a block that a later block knows to be durable is damage, named with segment and
/// offset.
#[test]
fn a_flipped_bit_in_the_middle_is_named() {
    let mut shard = Shard::fresh();
    let (offset, len) = shard.add_block(300);
    shard.add_block(300);
    shard.add_block(300);
    for at in 0..len {
        let mut disk = shard.disk.clone();
        disk.bytes_mut(1).expect("segment 1")[offset as usize + at] ^= 1 << (at % 8);
        let error = recovered(&mut disk).expect_err("it is damaged");
        let text = error.to_string();
        let RecoverError::Corrupt {
            segment,
            offset: found,
            ..
        } = error
        else {
            panic!("byte {at}: {text}")
        };
        assert_eq!((segment, found), (1, offset), "byte {at}: {text}");
        assert!(text.contains("segment 1 is damaged at offset"), "{text}");
    }
}

/// A flipped bit in the header of a segment that was written to is never taken for a segment that was not.
#[test]
fn a_flipped_bit_in_the_header_is_refused() {
    let mut shard = Shard::fresh();
    shard.add_block(10);
    for at in 0..SEGMENT_HEADER_LEN {
        let mut disk = shard.disk.clone();
        disk.bytes_mut(1).expect("segment 1")[at] ^= 0x10;
        recovered(&mut disk).expect_err("it is damaged");
    }
}

/// More than K blocks cannot be missing in front of a good one, even if no mark says that they were durable.
#[test]
fn more_than_k_missing_is_damage() {
    for missing in 1..=K + 1 {
        let mut shard = Shard::fresh();
        let mut places = Vec::new();
        let mark = shard.prefix.synced().record;
        for _ in 0..=missing {
            shard.add(10);
            // The writer is told that writes complete, and still no mark rises.
            let issued = shard.prefix.synced().ticket;
            let sealed = shard
                .writer
                .seal_next(Synced {
                    ticket: issued,
                    record: mark,
                })
                .expect("a block waits");
            places.push((sealed.offset as usize, sealed.len));
            let ticket = sealed.ticket;
            shard.write(sealed);
            shard.complete(ticket);
        }
        for (offset, len) in &places[..missing] {
            shard.disk.bytes_mut(1).expect("segment 1")[*offset..offset + len].fill(0);
        }
        let outcome = recovered(&mut shard.disk);
        if missing < K {
            let (value, found) = outcome.expect("K blocks may be missing or cut");
            assert_eq!(
                (value, found.cut.map(|cut| cut.blocks_behind)),
                (0, Some(1))
            );
        } else {
            let error = outcome.expect_err("too many are missing").to_string();
            assert!(error.contains("later blocks show"), "{error}");
        }
    }
}

/// Patches a segment's header and puts the checksum right again.
fn patch_header(disk: &mut MemStore, segment: u64, patch: impl FnOnce(&mut SegmentFields)) {
    let whole = &mut disk.bytes_mut(segment).expect("it is there")[..SEGMENT_HEADER_LEN];
    let raw = whole
        .first_chunk_mut::<SEGMENT_FIELDS_LEN>()
        .expect("it is longer");
    let mut fields = SegmentFields::read(raw);
    patch(&mut fields);
    fields.write(raw);
    fields.crc = Seed::of(&fields.salt).checksum(whole);
    fields.write(whole.first_chunk_mut().expect("it is longer"));
}

/// Another shard's, another format's, another schema's and a sealed journal are refused, each by its name.
#[test]
fn a_journal_of_another_kind_is_refused() {
    type Patch = fn(&mut SegmentFields);
    let cases: [(Patch, &str); 5] = [
        (
            |fields| fields.shard = 9,
            "segment 1 belongs to shard 9, this is shard 3",
        ),
        (
            |fields| fields.format = FORMAT_VERSION + 1,
            "its format is version 2",
        ),
        (|fields| fields.schema ^= 1, "its records have schema"),
        (|fields| fields.key = 5, "sealed with key 5"),
        (
            |fields| fields.segment = 7,
            "the header is that of segment 7",
        ),
    ];
    for (patch, wanted) in cases {
        let mut shard = Shard::fresh();
        patch_header(&mut shard.disk, 1, patch);
        let error = recovered(&mut shard.disk).expect_err(wanted).to_string();
        assert!(error.contains(wanted), "{error}");
    }
    let mut disk = Shard::fresh().disk;
    patch_header(&mut disk, 1, |fields| fields.format = 2);
    let error = recovered(&mut disk).expect_err("another format");
    assert!(matches!(
        error,
        RecoverError::OtherBuild {
            segment: 1,
            reason: SegmentFault::Format { format: 2 }
        }
    ));
}

/// Patches a block's bytes and puts the checksum right again.
fn patch_block(disk: &mut MemStore, offset: u64, len: usize, patch: impl FnOnce(&mut [u8])) {
    let bytes = disk.bytes_mut(1).expect("segment 1");
    let salt = SegmentFields::read(bytes.first_chunk().expect("a header")).salt;
    let block = &mut bytes[offset as usize..offset as usize + len];
    patch(block);
    let mut fields = BlockFields::read(block.first_chunk().expect("a header"));
    fields.crc = Seed::of(&salt).checksum(block);
    fields.write(block.first_chunk_mut().expect("a header"));
}

/// A record of an unknown type, of an unknown version, or with bytes that are no archive is refused and named, even
/// with a good checksum; so are records that do not fill their block.
#[test]
fn a_record_that_is_no_fact_is_refused() {
    type Patch = fn(&mut [u8]);
    const RECORD: usize = BLOCK_HEADER_LEN;
    let cases: [(Patch, &str); 4] = [
        (
            |block| block[RECORD] = 99,
            "record type 99 version 1 is unknown",
        ),
        (|block| block[RECORD + 2] = 7, "version 7 is unknown"),
        (
            |block| block[RECORD + 12] = 40,
            "the block's records do not fill it",
        ),
        (|block| block[RECORD + 12] = 15, "no valid archive"),
    ];
    for (patch, wanted) in cases {
        let mut shard = Shard::fresh();
        let (offset, len) = shard.add_block(0);
        patch_block(&mut shard.disk, offset, len, patch);
        let error = recovered(&mut shard.disk).expect_err(wanted).to_string();
        assert!(
            error.contains(wanted) && error.contains("segment 1"),
            "{wanted}: {error}"
        );
    }
}

/// A whole block in the wrong place is damage, even in the tail.
#[test]
fn a_block_in_the_wrong_place_is_damage() {
    let mut shard = Shard::fresh();
    let (first, len) = shard.add_block(0);
    let (second, _) = shard.add_block(0);
    let bytes = shard.disk.bytes_mut(1).expect("segment 1");
    bytes.copy_within(first as usize..first as usize + len, second as usize);
    let error = recovered(&mut shard.disk).expect_err("block 2 twice");
    let RecoverError::Corrupt {
        offset,
        reason: Damage::Order { found, wanted },
        ..
    } = error
    else {
        panic!("{error}")
    };
    assert_eq!((offset, found + 1), (second, wanted));
}

/// A missing segment that the checkpoint needs is named, and so is one that ends before its successor says.
#[test]
fn a_missing_or_shortened_segment_is_named() {
    let torn = || {
        let mut shard = Shard::fresh();
        let (offset, len) = shard.add_block(0);
        shard.switch();
        let header = shard.seal_one().expect("the header");
        shard.write(header);
        let tag = shard.disk.in_flight()[0].tag;
        shard.complete(Ticket(tag));
        (shard, offset as usize, len)
    };
    let (mut shard, ..) = torn();
    shard.disk.remove(1);
    let error = recovered(&mut shard.disk)
        .expect_err("it is gone")
        .to_string();
    assert!(
        error.contains("segment 1 is missing, segment 2 follows it"),
        "{error}"
    );
    let (mut shard, offset, len) = torn();
    shard.disk.bytes_mut(1).expect("segment 1")[offset..offset + len].fill(0);
    let error = recovered(&mut shard.disk)
        .expect_err("it lost a block")
        .to_string();
    assert!(error.contains("segment 1 is damaged at offset"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any bytes as a segment, and any change to a good one, never make recovery panic.
    #[test]
    fn any_bytes_never_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..20_000),
        changes in proptest::collection::vec((0..40_000_usize, any::<u8>()), 0..20),
        fix in any::<bool>(),
    ) {
        let mut disk = MemStore::new();
        disk.create(1, 0);
        *disk.bytes_mut(1).expect("it was made") = bytes;
        let _ = recovered(&mut disk);

        let mut shard = Shard::fresh();
        let mut places = Vec::new();
        for _ in 0..4 {
            places.push(shard.add_block(500));
        }
        for (at, byte) in changes {
            shard.disk.bytes_mut(1).expect("segment 1")[at] = byte;
        }
        if fix {
            for (offset, len) in places {
                patch_block(&mut shard.disk, offset, len, |_| ());
            }
        }
        let _ = recover(&mut shard.disk, SHARD, &mut |_, _, _| {});
    }
}
