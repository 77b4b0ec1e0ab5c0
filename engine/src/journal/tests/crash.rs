//! Power cuts: at every step, with every choice of what reached the disk, once and twice.

use super::*;

/// What a crash leaves of the writes in flight.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Nothing,
    Everything,
    /// Whole writes by the bits of a mask, in the order of issue.
    Mask(u64),
    /// Sectors by chance.
    Sectors(u64),
}

const FATES: [Fate; 9] = [
    Fate::Nothing,
    Fate::Everything,
    Fate::Mask(0b1010),
    Fate::Mask(0b0110),
    Fate::Mask(0b1100),
    Fate::Mask(0b0001),
    Fate::Sectors(1),
    Fate::Sectors(2),
    Fate::Sectors(3),
];

fn crash(disk: &mut MemStore, fate: Fate) {
    let first = disk.in_flight().first().map_or(0, |write| write.tag);
    let mut chance = Chance(match fate {
        Fate::Sectors(seed) => seed,
        _ => 0,
    });
    disk.crash(|write, _| match fate {
        Fate::Nothing => false,
        Fate::Everything => true,
        Fate::Mask(mask) => mask >> (write.tag - first) & 1 == 1,
        Fate::Sectors(_) => chance.below(2) == 1,
    });
}

/// The steps of a shard's life around a switch. Returns false when the script is over.
fn step(shard: &mut Shard, number: usize) -> bool {
    match number {
        0 | 1 | 12 | 13 => shard.add(3000),
        2 | 7 | 10 | 14 | 17 => drop(shard.issue()),
        3 => shard.add(6000 - 1),
        4 => shard.switch(),
        5 => shard.add(100),
        // Out of order: the newest write completes first.
        6 | 8 | 9 | 11 | 15 | 16 | 18 => {
            if let Some(write) = shard.disk.in_flight().last() {
                let tag = Ticket(write.tag);
                shard.complete(tag);
            }
        }
        _ => return false,
    }
    true
}

/// A shard that went through the first steps of the script.
fn shard_after(steps: usize) -> Shard {
    let mut shard = Shard::fresh();
    for _ in 0..5 {
        shard.add_block(500);
    }
    for number in 0..steps {
        step(&mut shard, number);
    }
    shard
}

const STEPS: usize = 19;

/// A crash at every step of a switch, with every fate of what was in flight, leaves at least what was durable and at
/// most what was appended, and the shard goes on from there.
#[test]
fn every_step_of_a_switch_survives_a_crash() {
    for steps in 0..=STEPS {
        for fate in FATES {
            let mut shard = shard_after(steps);
            let (durable, appended) = (shard.durable(), shard.value);
            crash(&mut shard.disk, fate);
            let (value, found) = recovered(&mut shard.disk)
                .unwrap_or_else(|error| panic!("step {steps}, {fate:?}: {error}"));
            assert!(
                (durable..=appended).contains(&value),
                "step {steps}, {fate:?}: {value} of {durable} durable, {appended} appended"
            );
            let mut next = Shard::start(shard.disk, value, found.start);
            next.switch();
            next.add(10);
            next.settle();
            let (again, _) = recovered(&mut next.disk).expect("it went on well");
            assert_eq!(again, value + 1);
        }
    }
}

/// A second crash, at every step of the start after the first one, changes nothing that the first recovery found.
#[test]
fn a_crash_during_recovery_changes_nothing() {
    for steps in (0..=STEPS).step_by(2) {
        for first in FATES.into_iter().step_by(2) {
            for second_steps in 0..6 {
                for second in [
                    Fate::Nothing,
                    Fate::Everything,
                    Fate::Mask(2),
                    Fate::Sectors(7),
                ] {
                    let case = (steps, first, second_steps, second);
                    let mut shard = shard_after(steps);
                    crash(&mut shard.disk, first);
                    let (value, found) = recovered(&mut shard.disk).expect("the first recovery");
                    let mut next = Shard::start(shard.disk, value, found.start);
                    restart_steps(&mut next, second_steps);
                    let (durable, appended) = (next.durable(), next.value);
                    crash(&mut next.disk, second);
                    let (again, found) = recovered(&mut next.disk)
                        .unwrap_or_else(|error| panic!("{case:?}: {error}"));
                    assert!(
                        (durable.max(value)..=appended).contains(&again),
                        "{case:?}: {again} after {value}"
                    );
                    let mut last = Shard::start(next.disk, again, found.start);
                    last.switch();
                    last.settle();
                    assert_eq!(recovered(&mut last.disk).expect("at last").0, again);
                }
            }
        }
    }
}

/// The first steps after a recovery: header issued, header durable, checkpoint issued, durable, and a fact behind it.
fn restart_steps(shard: &mut Shard, steps: usize) {
    if steps > 0 {
        shard.switch();
        shard.issue();
    }
    if steps > 1 {
        shard.complete(Ticket(1));
    }
    if steps > 2 {
        shard.issue();
    }
    if steps > 3 {
        shard.settle();
    }
    if steps > 4 {
        shard.add(0);
        shard.issue();
    }
}

/// Of K blocks in flight every subset may be missing: what counts is the run before the first missing one, and what
/// lies behind it is cut and named.
#[test]
fn every_subset_of_the_blocks_in_flight_may_be_missing() {
    for mask in 0..1_u64 << K {
        let mut shard = Shard::fresh();
        for _ in 0..3 {
            shard.add_block(100);
        }
        for _ in 0..K {
            shard.add(100);
            let sealed = shard.seal_one().expect("a block waits");
            shard.write(sealed);
        }
        crash(&mut shard.disk, Fate::Mask(mask));
        let run = u64::from((!mask).trailing_zeros()).min(K as u64);
        let behind = (mask >> run).count_ones();
        let (value, found) = recovered(&mut shard.disk).expect("a torn tail is no damage");
        assert_eq!(value, 3 + run, "mask {mask:04b}");
        assert_eq!(
            found.cut.map_or(0, |cut| cut.blocks_behind),
            behind,
            "mask {mask:04b}"
        );
        assert_eq!(found.start.previous.cut, behind > 0);
    }
}

/// What was cut stays cut: the next header says so, and even if the cut blocks are there, a crash before the next
/// checkpoint is complete does not bring them back.
#[test]
fn what_was_cut_never_comes_back() {
    let mut shard = Shard::fresh();
    for _ in 0..K {
        shard.add(100);
        let sealed = shard.seal_one().expect("a block waits");
        shard.write(sealed);
    }
    // Kept aside: the bytes that the first recovery does not see.
    let late = shard.disk.in_flight()[0].clone();
    crash(&mut shard.disk, Fate::Mask(0b1110));
    let (value, found) = recovered(&mut shard.disk).expect("a torn tail");
    assert_eq!(
        (value, found.cut.expect("three are cut").blocks_behind),
        (0, 3)
    );
    let mut next = Shard::start(shard.disk, value, found.start);
    next.switch();
    let header = next.seal_one().expect("the header");
    next.write(header);
    next.complete(Ticket(1));
    let bytes = next.disk.bytes_mut(late.segment).expect("it is there");
    bytes[late.offset as usize..][..late.bytes.len()].copy_from_slice(&late.bytes);
    let (again, _) = recovered(&mut next.disk).expect("the cut holds");
    assert_eq!(again, 0);
}

/// A recycled segment's old blocks never pass, wherever the new ones end.
#[test]
fn recycled_blocks_never_pass() {
    let mut shard = Shard::fresh();
    for round in 0..40 {
        for _ in 0..round % 9 {
            shard.add_block(round * 10);
        }
        let (value, _) = recovered(&mut shard.disk.clone()).expect("nothing is wrong");
        assert_eq!(value, shard.value, "round {round}");
        let (old, new) = (shard.segment, shard.segment + 2);
        if round > 0 {
            shard.disk.recycle(old - 1, new - 1);
            shard.switch_to(new - 1);
        } else {
            shard.switch();
        }
        shard.settle();
        let (value, found) = recovered(&mut shard.disk.clone()).expect("nothing is wrong");
        assert_eq!((value, found.cut), (shard.value, None), "round {round}");
    }
}

/// A header that never became durable leaves a file that holds nothing; the segment before goes on counting, and a
/// later start with another number does not mind the file.
#[test]
fn a_file_without_header_is_unused() {
    let mut shard = Shard::fresh();
    shard.add_block(10);
    shard.switch();
    shard.issue();
    crash(&mut shard.disk, Fate::Nothing);
    let (value, found) = recovered(&mut shard.disk).expect("nothing is wrong");
    assert_eq!(
        (value, found.unused, found.start.segment_highest),
        (1, vec![2], 2)
    );
    let mut next = Shard::start(shard.disk, value, found.start);
    next.switch();
    next.add(0);
    next.settle();
    let (value, found) = recovered(&mut next.disk).expect("nothing is wrong");
    assert_eq!(
        (value, found.kept, found.unused),
        (2, vec![1, 2, 3], Vec::new())
    );
}
