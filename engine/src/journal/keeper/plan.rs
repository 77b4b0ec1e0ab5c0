//! What the keeper does next, apart from how it is done to files: so that full disks can be tried without one.

use std::collections::VecDeque;

use super::{KeeperConfig, Space};
use crate::journal::recover::Recovered;
use crate::journal::store::StoreError;

/// What is done to files.
pub(super) trait Ground {
    /// Spares that are there already.
    fn spares(&mut self) -> Result<Vec<u64>, StoreError>;
    /// Makes a new spare.
    fn create(&mut self, spare: u64) -> Result<(), StoreError>;
    /// Makes a segment a spare; false if it was removed instead, being of another length.
    fn recycle(&mut self, segment: u64, spare: u64) -> Result<bool, StoreError>;
    /// Gives a spare the number of a segment and has it ready.
    fn publish(&mut self, spare: u64, number: u64) -> Result<(), StoreError>;
    /// Whether the segment need not be kept any longer.
    fn past_retention(&mut self, segment: u64) -> Result<bool, StoreError>;
}

/// The keeper's books.
pub(super) struct Plan<G> {
    ground: G,
    spares_wanted: usize,
    total_max: usize,
    /// Segments that only open transactions may use.
    reserve: usize,
    spares: VecDeque<u64>,
    next_spare: u64,
    /// Segments with records that count, rising, the one in use included.
    live: VecDeque<u64>,
    /// Published and not taken.
    ready: Option<u64>,
    next_number: u64,
    /// The segment of the newest durable checkpoint.
    checkpoint: u64,
    /// The disk refused a new file; not tried again before `retry`.
    disk_full: bool,
}

impl<G: Ground> Plan<G> {
    /// Takes stock; what holds nothing becomes spare.
    pub(super) fn new(
        mut ground: G,
        config: &KeeperConfig,
        recovered: &Recovered,
    ) -> Result<Plan<G>, StoreError> {
        let mut spares: VecDeque<u64> = ground.spares()?.into();
        let mut next_spare = spares.iter().max().map_or(1, |last| last + 1);
        for &segment in &recovered.unused {
            if ground.recycle(segment, next_spare)? {
                spares.push_back(next_spare);
                next_spare += 1;
            }
        }
        let total_max = config.segments_max as usize;
        let reserve = (total_max * config.reserve_percent as usize).div_ceil(100);
        Ok(Plan {
            ground,
            spares_wanted: config.segments_min as usize,
            total_max,
            reserve: reserve.max(1),
            spares,
            next_spare,
            live: recovered.kept.iter().copied().collect(),
            ready: None,
            next_number: recovered.start.segment_highest + 1,
            checkpoint: recovered.checkpoint,
            disk_full: false,
        })
    }

    pub(super) fn ground(&mut self) -> &mut G {
        &mut self.ground
    }

    /// Has one segment ready.
    pub(super) fn publish(&mut self) -> Result<(), StoreError> {
        while self.ready.is_none() {
            if self.spares.is_empty() && !self.make_spare()? {
                return Err(StoreError::NoSegment {
                    segments_max: self.total_max,
                });
            }
            let Some(&spare) = self.spares.front() else {
                continue;
            };
            self.ground.publish(spare, self.next_number)?;
            self.spares.pop_front();
            self.ready = Some(self.next_number);
            self.next_number += 1;
        }
        Ok(())
    }

    /// Does one thing; false if there is nothing to do or to be done about it now. Of the spares that are wanted, half are
    /// handed over only once no other can be made: a full disk is known while spares are left.
    pub(super) fn step(&mut self) -> Result<bool, StoreError> {
        if self.ready.is_none() && self.spares.len() > (self.spares_wanted / 2).max(1) {
            self.publish()?;
            return Ok(true);
        }
        let made = if self.spares.len() < self.spares_wanted {
            self.make_spare()
        } else {
            Ok(false)
        };
        if matches!(made, Ok(true)) || self.ready.is_some() || self.spares.is_empty() {
            return made;
        }
        self.publish()?;
        made.map(|_| true)
    }

    /// One spare more: of an old segment if one may be recycled, else a new file.
    fn make_spare(&mut self) -> Result<bool, StoreError> {
        if let Some(segment) = self.recyclable()? {
            let stays = self.ground.recycle(segment, self.next_spare)?;
            self.live.pop_front();
            if stays {
                self.spares.push_back(self.next_spare);
                self.next_spare += 1;
            }
            return Ok(true);
        }
        if self.disk_full || self.total() >= self.total_max {
            return Ok(false);
        }
        match self.ground.create(self.next_spare) {
            Ok(()) => {
                self.spares.push_back(self.next_spare);
                self.next_spare += 1;
                Ok(true)
            }
            Err(error) => {
                self.disk_full = true;
                Err(error)
            }
        }
    }

    /// The oldest segment, if recovery does not need it and it was kept long enough.
    fn recyclable(&mut self) -> Result<Option<u64>, StoreError> {
        match self.live.front().copied() {
            Some(segment) if segment < self.checkpoint => {
                let over = self.ground.past_retention(segment)?;
                Ok(over.then_some(segment))
            }
            _ => Ok(None),
        }
    }

    /// The ready segment is in use.
    pub(super) fn taken(&mut self) {
        self.live.extend(self.ready.take());
    }

    /// A checkpoint is durable.
    pub(super) fn checkpoint_durable(&mut self, segment: u64) {
        self.checkpoint = self.checkpoint.max(segment);
    }

    /// A full disk may have room again.
    pub(super) fn retry(&mut self) {
        self.disk_full = false;
    }

    fn total(&self) -> usize {
        self.live.len() + self.spares.len() + usize::from(self.ready.is_some())
    }

    /// How much space is left: segments at hand, those that may be recycled, and those that may still be made.
    pub(super) fn space(&mut self) -> Space {
        let at_hand = self.spares.len() + usize::from(self.ready.is_some());
        let to_make = if self.disk_full {
            0
        } else {
            self.total_max.saturating_sub(self.total())
        };
        let checkpoint = self.checkpoint;
        let mut to_recycle = 0;
        for segment in self
            .live
            .iter()
            .take_while(|segment| **segment < checkpoint)
        {
            // What cannot be judged is not counted on.
            if !self.ground.past_retention(*segment).unwrap_or(false) {
                break;
            }
            to_recycle += 1;
            if at_hand + to_make + to_recycle >= self.reserve {
                break;
            }
        }
        match at_hand + to_make + to_recycle {
            0 => Space::Full,
            left if left < self.reserve => Space::Low,
            _ => Space::Ok,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::journal::recover::recover;
    use crate::journal::store::mem::MemStore;

    const WANTED: u32 = 4;

    /// A disk that takes so many files and keeps every segment.
    struct SmallDisk(usize);

    impl Ground for SmallDisk {
        fn spares(&mut self) -> Result<Vec<u64>, StoreError> {
            Ok(Vec::new())
        }

        fn create(&mut self, _: u64) -> Result<(), StoreError> {
            self.0 = self.0.checked_sub(1).ok_or(StoreError::KeeperGone)?;
            Ok(())
        }

        fn recycle(&mut self, _: u64, _: u64) -> Result<bool, StoreError> {
            unreachable!("every segment is kept")
        }

        fn publish(&mut self, _: u64, _: u64) -> Result<(), StoreError> {
            Ok(())
        }

        fn past_retention(&mut self, _: u64) -> Result<bool, StoreError> {
            Ok(false)
        }
    }

    proptest! {
        /// However fast a shard takes its segments, it is told that the disk is full before it gets the last of the
        /// spares, and gets every one of them in the end.
        #[test]
        fn a_full_disk_is_told_before_the_spares_are_used(
            files in 1_usize..20,
            steps in prop::collection::vec(1_usize..4, 100),
        ) {
            let config = KeeperConfig {
                segment_bytes: 1 << 20,
                segments_min: WANTED,
                segments_max: 1000,
                retention: Duration::from_secs(1),
                reserve_percent: 10,
                direct: false,
                dsync: false,
            };
            let new = recover(&mut MemStore::default(), 0, &mut |_, _, _| {}).expect("there is nothing");
            let mut plan = Plan::new(SmallDisk(files), &config, &new).expect("there is nothing");
            plan.publish().expect("one file fits");
            let (mut taken, mut low_at) = (0, None);
            for steps in steps {
                for _ in 0..steps {
                    let refused = plan.step().is_err();
                    prop_assert_eq!(refused && plan.space() == Space::Ok, false);
                }
                if plan.space() != Space::Ok {
                    low_at = low_at.or(Some(taken));
                }
                if plan.ready.is_some() {
                    plan.taken();
                    taken += 1;
                }
            }
            prop_assert_eq!(taken, files);
            prop_assert_eq!(plan.space(), Space::Full);
            let left = files - low_at.expect("it was told");
            // The first file is in use from the start.
            prop_assert!(left >= (WANTED as usize / 2).min(files - 1), "{left} of {files} left");
        }
    }
}
