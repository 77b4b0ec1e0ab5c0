//! The shard's journal files: recovery at start, segments, and block writes on the ring.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::Duration;

use super::ShardError;
use crate::core::config::CoreConfig;
use crate::core::{Core, Now, Space};
use crate::driver::{BlockBuf, BlockPool, Driver, FileSlot};
use crate::journal::keeper::{self, Keeper, Prepared};
use crate::journal::recover::recover;
use crate::journal::store::file::FileStore;
use crate::journal::writer::Ticket;
use crate::pipeline::Pipeline;
use crate::settings;
use config::Config;

/// How long a start waits for a dying daemon to let the journal go.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// A segment that is being written.
struct Open {
    number: u64,
    slot: FileSlot,
    path: PathBuf,
    in_flight: u32,
}

/// The files.
pub(super) struct Files {
    keeper: Keeper,
    /// The newest last; older ones only while writes to them are in flight.
    open: Vec<Open>,
    /// Segment of each write in flight.
    writes: Vec<(u64, u64)>,
}

/// Recovers the journal into a core, and opens a fresh segment with its state.
pub(super) fn open(
    config: &Config,
    number: usize,
    core: CoreConfig,
    now: Now,
    driver: &mut Driver,
) -> Result<(Files, Pipeline<BlockBuf>), ShardError> {
    let dir = settings::journal_dir(config);
    // What is made here holds card numbers: it is for the daemon's user alone.
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&dir)
        .map_err(|error| ShardError::Directory {
            path: dir.clone(),
            error,
        })?;
    let mut store = FileStore::open(&dir, number as u32, LOCK_PATIENCE)?;
    let mut core = Core::new(core, now);
    let mut refused = None;
    let recovered = recover(&mut store, number as u32, &mut |_, head, fact| {
        if refused.is_none() {
            refused = core.apply(head, fact).err();
        }
    })?;
    if let Some(error) = refused {
        return Err(error.into());
    }
    log::info!(
        "shard {number}: journal read up to record {}: {} facts from {} MiB, the last stop was {}",
        recovered.last_record,
        recovered.facts,
        recovered.bytes >> 20,
        if recovered.clean {
            "orderly"
        } else {
            "no shutdown: what is open will be settled at the centre"
        },
    );
    if let Some(cut) = &recovered.cut {
        log::warn!(
            "shard {number}: torn tail cut in segment {} at offset {}: {} blocks behind it never took effect",
            cut.segment,
            cut.offset,
            cut.blocks_behind
        );
    }
    let waker = driver.waker();
    let mut keeper = Keeper::start(store, settings::keeper(config), &recovered, move || {
        waker.wake()
    })?;
    let first = loop {
        match keeper.take() {
            Some(first) => break first,
            None => std::thread::yield_now(),
        }
    };
    let mut buffers = Vec::new();
    while let Some(buffer) = driver.block_buffer() {
        buffers.push(buffer);
    }
    let block_len = config.journal.block_bytes_max() as u32;
    // Beyond the pool only when one event appends more than all buffers hold: everything of a large line at once.
    let more = Box::new(move || {
        BlockPool::new(1, block_len)
            .ok()
            .and_then(|pool| pool.take())
    });
    let writer = settings::writer(config, number);
    let mut pipeline = Pipeline::new(
        core,
        writer,
        recovered.start,
        settings::policy(config),
        buffers.into_iter(),
        more,
    );
    let mut files = Files {
        keeper,
        open: Vec::with_capacity(8),
        writes: Vec::with_capacity(32),
    };
    files.switch(&mut pipeline, driver, first)?;
    pipeline.start();
    files.write_blocks(&mut pipeline, driver)?;
    Ok((files, pipeline))
}

impl Files {
    fn switch(
        &mut self,
        pipeline: &mut Pipeline<BlockBuf>,
        driver: &mut Driver,
        next: Prepared,
    ) -> Result<(), ShardError> {
        let slot = driver.open_disk(next.file)?;
        self.open.push(Open {
            number: next.segment.number,
            slot,
            path: next.path,
            in_flight: 0,
        });
        pipeline.switch(next.segment).map_err(ShardError::Append)
    }

    /// Hands what may leave to the disk; goes on in the next segment when the current one is nearly full.
    pub(super) fn write_blocks(
        &mut self,
        pipeline: &mut Pipeline<BlockBuf>,
        driver: &mut Driver,
    ) -> Result<(), ShardError> {
        if pipeline.needs_segment()
            && let Some(next) = self.keeper.take()
        {
            log::debug!("journal goes on in {}", next.path.display());
            self.switch(pipeline, driver, next)?;
        }
        while let Some(sealed) = pipeline.next_write() {
            let Some(file) = self
                .open
                .iter_mut()
                .find(|open| open.number == sealed.segment)
            else {
                unreachable!("a block of segment {}, which is not open", sealed.segment);
            };
            file.in_flight += 1;
            self.writes.push((sealed.ticket.0, sealed.segment));
            driver.write_at(
                file.slot,
                sealed.offset,
                sealed.buffer,
                sealed.len as u32,
                sealed.ticket.0,
            );
        }
        Ok(())
    }

    /// A write has completed; files that are full and written are given up.
    pub(super) fn written(
        &mut self,
        pipeline: &mut Pipeline<BlockBuf>,
        driver: &mut Driver,
        tag: u64,
        buffer: BlockBuf,
    ) {
        pipeline.written(Ticket(tag), buffer);
        let Some(at) = self.writes.iter().position(|(ticket, _)| *ticket == tag) else {
            unreachable!("write {tag} completed and was never issued");
        };
        let (_, segment) = self.writes.swap_remove(at);
        if let Some(open) = self.open.iter_mut().find(|open| open.number == segment) {
            open.in_flight -= 1;
        }
        if let Some(durable) = pipeline.checkpoint_durable() {
            self.keeper.checkpoint_durable(durable);
            while self.open.len() > 1
                && self.open[0].number < durable
                && self.open[0].in_flight == 0
            {
                let old = self.open.remove(0);
                log::debug!("journal segment {} is closed", old.path.display());
                drop(driver.close_disk(old.slot));
            }
        }
    }

    /// Room on the disk, as admission has to see it.
    pub(super) fn space(&mut self) -> Space {
        if let Some(error) = self.keeper.error() {
            log::error!("journal: {error}");
        }
        match self.keeper.space() {
            keeper::Space::Ok => Space::Ok,
            keeper::Space::Low | keeper::Space::Full => Space::Low,
        }
    }
}
