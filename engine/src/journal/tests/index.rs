//! Indexes of closed segments: they find what reading finds, and are never believed without proof.

use std::collections::BTreeSet;

use super::*;
use crate::core::fact::Request;
use crate::journal::index::{self, Builder, Closed, IndexFault};
use crate::journal::layout::{INDEX_FIELDS_LEN, INDEX_PAGE_LEN, IndexFields};
use crate::journal::read::header_of;
use crate::journal::recover::Damage;
use crate::journal::search::{Searched, search_store};
use crate::journal::segment::SegmentHeader;
use crate::journal::store::SegmentStore;
use proptest::prelude::*;

/// Keys that the transactions of a test have, many more than once.
const KEYS: u64 = 60;

fn image(key: u64) -> Vec<u8> {
    let mut frame = format!("{:063}", 0).into_bytes();
    frame.extend(format!("   000000002{:7}T000000000001{key:05}2611300 0@", "").into_bytes());
    frame
}

fn key(key: u64) -> [u8; 24] {
    let text = format!("261130T000000000001{key:05}");
    text.into_bytes().try_into().expect("6 + 13 + 5 bytes")
}

/// Transactions of chance over several segments; each is settled before its segment closes.
fn journal(seed: u64, segments: u64) -> MemStore {
    let mut chance = Chance(seed);
    let mut shard = Shard::fresh();
    let mut tx = 0;
    while shard.segment < segments {
        tx += 1;
        let frame = image(chance.below(KEYS));
        let request = Request {
            route: 2,
            flags: 0,
            sequence: tx as u32,
            cut_date: 20_261_130,
            api: [1; 16],
            request: tx,
            image: &frame,
        };
        let report = Report { frame: &frame };
        for fact in [
            Fact::from(request),
            report.into(),
            Delivered { request: tx }.into(),
        ] {
            shard
                .writer
                .append(&head(tx), &fact)
                .expect("there is room");
            if chance.below(3) == 0 {
                shard.settle();
            }
        }
        shard.settle();
        if shard.writer.needs_segment() {
            shard.switch();
            shard.settle();
        }
    }
    shard.disk
}

/// The closed segments, oldest first.
fn closed(disk: &mut MemStore) -> Vec<Closed> {
    let segments = disk.list().expect("memory");
    let mut header = |segment| {
        header_of(disk, SHARD, segment)
            .expect("memory")
            .expect("it was written")
    };
    let pairs = segments.windows(2);
    pairs
        .map(|pair| Closed {
            header: header(pair[0]),
            end: header(pair[1]).previous(),
        })
        .collect()
}

fn with_indexes(mut disk: MemStore) -> MemStore {
    for closed in closed(&mut disk) {
        let made = Builder::whole(&mut disk, closed).expect("the segment is good");
        disk.put_index(closed.header.segment, made.expect("it is short enough"));
    }
    disk
}

fn look(disk: &mut MemStore, number: u64) -> Searched {
    search_store(disk, SHARD, None, key(number)).expect("the journal is good")
}

/// What a search found, to be compared.
fn told(searched: &Searched) -> Option<(u64, Vec<u64>)> {
    let found = searched.found.as_ref()?;
    let numbers = found.facts.iter().map(|fact| fact.number.0).collect();
    Some((found.tx, numbers))
}

/// With indexes a search finds exactly what it finds by reading all, for every key that is there and some that are not;
/// and it reads little more than the newest segment.
#[test]
fn indexes_find_what_reading_finds() {
    for seed in 1..=4 {
        let mut plain = journal(seed, 6);
        let mut indexed = with_indexes(plain.clone());
        let mut found = 0;
        for number in 0..KEYS + 10 {
            let (by_reading, by_index) = (look(&mut plain, number), look(&mut indexed, number));
            assert!(by_reading.bad_indexes.is_empty() && by_index.bad_indexes.is_empty());
            assert_eq!(
                told(&by_index),
                told(&by_reading),
                "seed {seed} key {number}"
            );
            found += u64::from(by_index.found.is_some());
            if number >= KEYS {
                assert_eq!(by_reading.read.segments, 6);
                assert!(
                    by_index.read.bytes <= SEGMENT_BYTES as u64,
                    "only the newest segment: {:?}",
                    by_index.read
                );
            }
        }
        assert!(found > KEYS / 2 && found <= KEYS, "{found} keys are there");
    }
}

/// An index says the places of a key's blocks and, but for a rare equal hash, no others.
#[test]
fn places_are_those_of_the_key() {
    let mut disk = with_indexes(journal(7, 2));
    let closed = closed(&mut disk)[0];
    let all: BTreeSet<u64> = (0..KEYS)
        .flat_map(|number| {
            let places = index::find(&mut disk, &closed, &key(number)).expect("it is good");
            assert!(places.is_sorted(), "{places:?}");
            places
        })
        .collect();
    assert!(all.iter().all(|place| *place < closed.end.offset));
    assert!(all.len() > 10, "{all:?}");
    let none = index::find(&mut disk, &closed, &key(90_000)).expect("it is good");
    assert_eq!(none, [0_u64; 0]);
}

/// Whatever byte of an index is changed, and wherever it is cut: it is named or does not matter, and what is found is
/// what reading finds.
#[test]
fn a_spoiled_index_is_named_and_not_believed() {
    let mut plain = journal(11, 2);
    let closed = closed(&mut plain)[0];
    let good = Builder::whole(&mut plain, closed);
    let good = good.expect("the segment is good").expect("it is short");
    let pages = good.len() / INDEX_PAGE_LEN - 1;
    assert!(pages >= 1);
    let wanted: Vec<_> = (0..3)
        .map(|number| told(&look(&mut plain, number)))
        .collect();
    let mut named = 0;
    let mut tried = 0;
    let mut try_it = |spoiled: Vec<u8>, what: &str| {
        plain.put_index(1, spoiled);
        tried += 1;
        let (number, wanted) = (tried % 3, &wanted[tried % 3]);
        let searched = look(&mut plain, number as u64);
        assert_eq!(told(&searched), *wanted, "{what}");
        named += searched.bad_indexes.len();
        for (closed, fault) in &searched.bad_indexes {
            assert_eq!(closed.header.segment, 1);
            let expected = matches!(
                fault,
                IndexFault::Damaged { .. } | IndexFault::Version { .. }
            );
            assert!(expected, "{what}: {fault}");
        }
    };
    for at in 0..good.len() {
        let mut spoiled = good.clone();
        spoiled[at] ^= 1 << (at % 8);
        try_it(spoiled, &format!("byte {at}"));
    }
    for len in (1..good.len()).step_by(97) {
        try_it(good[..len].to_vec(), &format!("cut at {len}"));
    }
    // A key in the newest segment is found without the index; for the others every change is met.
    assert!(
        named > good.len() / 4,
        "{named} searches met a spoiled index"
    );
}

/// A whole index of another segment, or of the same one before it reached its end, is stale; and one that leaves
/// something out is found by comparing.
#[test]
fn a_stale_index_is_named() {
    let mut disk = with_indexes(journal(13, 3));
    let both = closed(&mut disk);
    let first = Builder::whole(&mut disk, both[0]);
    let first = first.expect("it is good").expect("it is short");
    disk.put_index(2, first.clone());
    let fault = index::judge(&mut disk, &both[1]).expect_err("it is the first's");
    assert!(matches!(fault, IndexFault::Stale), "{fault}");
    assert!(
        look(&mut disk, 90_000)
            .bad_indexes
            .iter()
            .any(|(closed, fault)| closed.header.segment == 2
                && fault.to_string().contains("another segment")),
    );
    let mut later = both[0];
    later.end.chain ^= 1;
    let fault = index::judge(&mut disk, &later).expect_err("the end is another");
    assert!(matches!(fault, IndexFault::Stale), "{fault}");
    let mut other = first.clone();
    let last = other.len() - INDEX_PAGE_LEN;
    other[last..].fill(0);
    index::verify(&mut disk, &both[0], &first).expect("it is the same");
    let fault = index::verify(&mut disk, &both[0], &other).expect_err("a page differs");
    assert!(matches!(fault, IndexFault::Wrong), "{fault}");
}

/// A search that meets a damaged block of a closed segment says so, by index and by reading, and never that the key is
/// not there.
#[test]
fn damage_of_a_closed_segment_is_named() {
    for indexes in [false, true] {
        let mut disk = journal(17, 2);
        if indexes {
            disk = with_indexes(disk);
        }
        let closed = closed(&mut disk)[0];
        let (number, place) = (0..KEYS)
            .find_map(|number| {
                // Not in the newest segment, or it would not be looked for in this one.
                let mut indexed = with_indexes(disk.clone());
                let places = index::find(&mut indexed, &closed, &key(number)).ok()?;
                let newest = look(&mut disk.clone(), number).read.segments == 1;
                (!newest).then_some((number, *places.last()?))
            })
            .expect("a key of the first segment");
        disk.bytes_mut(1).expect("it is there")[place as usize + 200] ^= 1;
        let error = search_store(&mut disk, SHARD, None, key(number)).expect_err("it is damaged");
        let RecoverError::Corrupt {
            segment,
            offset,
            reason,
        } = error
        else {
            panic!("{error}");
        };
        assert_eq!((segment, offset), (1, place));
        assert!(matches!(reason, Damage::Block { .. }), "{reason}");
    }
}

/// A closed segment whose header is spoiled, or whose file is missing in the middle, is named too: it is not passed over.
#[test]
fn a_hole_in_the_sequence_is_named() {
    let key = key(90_000);
    let mut disk = with_indexes(journal(29, 4));
    disk.bytes_mut(2).expect("it is there")[64] ^= 1;
    let error = search_store(&mut disk, SHARD, None, key).expect_err("its header is bad");
    let text = error.to_string();
    assert!(
        text.contains("segment 2 is damaged at offset 0: the header's checksum"),
        "{text}"
    );
    disk.remove(2);
    let error = search_store(&mut disk, SHARD, None, key).expect_err("it is missing");
    let text = error.to_string();
    assert!(
        text.contains("segment 2 is missing, segment 3 follows it"),
        "{text}"
    );
    // The oldest ones are recycled in the course of things.
    disk.remove(1);
    let found = search_store(&mut disk, SHARD, None, key).expect("nothing is wrong");
    assert!(found.found.is_none() && found.bad_indexes.is_empty());
}

/// The first page of an index is as it was when the format was made.
#[test]
fn index_bytes_are_as_they_were() {
    let mut disk = journal(19, 2);
    let closed = closed(&mut disk)[0];
    let made = Builder::whole(&mut disk, closed);
    let made = made.expect("it is good").expect("it is short");
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/golden/journal/segment.idx");
    if std::env::var_os("SEKISHO_BLESS").is_some() {
        std::fs::write(&path, &made).expect("the golden file can be written");
    }
    let wanted = std::fs::read(&path).expect("the golden file is there");
    assert!(
        wanted == made,
        "{} bytes, {} wanted",
        made.len(),
        wanted.len()
    );
    let front: &[u8; INDEX_FIELDS_LEN] = made.first_chunk().expect("a page is longer");
    let fields = IndexFields::read(front);
    let mut out = [0; INDEX_FIELDS_LEN];
    fields.write(&mut out);
    assert_eq!(out, *front);
    assert_eq!((fields.segment, fields.shard), (1, SHARD));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any bytes as an index, and any changes to a good one, never make a search panic, nor
    /// find something else than reading.
    #[test]
    fn any_index_is_survived(
        bytes in proptest::collection::vec(any::<u8>(), 0..10_000),
        changes in proptest::collection::vec((0..8192_usize, any::<u8>()), 0..20),
    ) {
        let mut disk = with_indexes(journal(23, 2));
        let wanted = told(&look(&mut disk, 5));
        let closed = closed(&mut disk)[0];
        let good = Builder::whole(&mut disk, closed).expect("it is good").expect("it is short");
        disk.put_index(1, bytes);
        prop_assert_eq!(told(&look(&mut disk, 5)), wanted.clone());
        let mut changed = good;
        for (at, byte) in changes {
            if let Some(place) = changed.get_mut(at) {
                *place = byte;
            }
        }
        disk.put_index(1, changed);
        prop_assert_eq!(told(&look(&mut disk, 5)), wanted);
    }
}
