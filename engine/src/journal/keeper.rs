//! The keeper: a thread that has the next segment ready before the shard needs it, and recycles what is no longer
//! needed. Everything slow about files happens here, so that the shard never waits.
//!
//! Spare files lie written and zeroed on the disk before they are needed: they are the space that open transactions
//! are finished in when the disk has filled up. One spare at a time gets the next number and is handed over.
//! When nothing of that is to be done, closed segments get their indexes.

mod indexer;
mod plan;

use std::fs::File;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use indexer::Indexer;
use plan::{Ground, Plan};

use super::recover::Recovered;
use super::segment::NewSegment;
use super::store::StoreError;
use super::store::file::{FileStore, fresh_salt};

/// How often retention is looked at, and a full disk tried again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Between two slices of an index: a shard on the same core goes first.
const INDEX_PAUSE: Duration = Duration::from_millis(2);

/// What the keeper goes by.
#[derive(Clone, Debug)]
pub struct KeeperConfig {
    /// Bytes of every segment.
    pub segment_bytes: u64,
    /// Spare segments held ready.
    pub segments_min: u32,
    /// Segments in all.
    pub segments_max: u32,
    /// How long a segment is kept after its last write.
    pub retention: Duration,
    /// Percent of `segments_max` that only open transactions may use.
    pub reserve_percent: u32,
    /// Segments are opened O_DIRECT.
    pub direct: bool,
    /// Segments are opened O_DSYNC. False only for benchmarks.
    pub dsync: bool,
}

/// How much space is left, as admission has to see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// Enough.
    Ok,
    /// Only the reserve is left: new business is refused, open transactions go on.
    Low,
    /// Not a single segment is at hand or can be made.
    Full,
}

/// A segment ready to be written.
#[derive(Debug)]
pub struct Prepared {
    /// For `Writer::switch`.
    pub segment: NewSegment,
    /// The open file, locked: keep it open until every write on it has completed.
    pub file: File,
    /// Its path, for messages.
    pub path: PathBuf,
}

enum Order {
    Taken,
    CheckpointDurable(u64),
}

enum News {
    Ready(Prepared),
    Space(Space),
    Failed(StoreError),
}

/// The shard's handle of its keeper. Dropping it ends the thread after what it is just doing.
#[derive(Debug)]
pub struct Keeper {
    /// `None` while it is being dropped, which ends the thread.
    orders: Option<Sender<Order>>,
    news: Receiver<News>,
    thread: Option<JoinHandle<()>>,
    ready: Option<Prepared>,
    space: Space,
    error: Option<StoreError>,
    lost: bool,
}

impl Keeper {
    /// Starts the thread once the first segment is ready; `segments_min` spares follow. What recovery found unused
    /// is recycled. `wake` is called from the thread whenever there is news to ask for.
    ///
    /// # Errors
    /// The directory is not writable, or the disk does not take a single segment.
    pub fn start(
        mut store: FileStore,
        config: KeeperConfig,
        recovered: &Recovered,
        wake: impl Fn() + Send + 'static,
    ) -> Result<Keeper, StoreError> {
        store.release();
        let indexer = Indexer::new(&mut store, recovered.checkpoint)?;
        let (orders, inbox) = channel();
        let (outbox, news) = channel();
        let ground = Files {
            store,
            config: config.clone(),
            ready: None,
        };
        let mut plan = Plan::new(ground, &config, recovered)?;
        plan.publish()?;
        let first = plan.ground().ready.take();
        let shard = plan.ground().store.shard();
        let thread = std::thread::Builder::new().name(format!("keeper-{shard}"));
        let thread = thread.spawn(move || run(plan, indexer, &inbox, &outbox, &wake));
        Ok(Keeper {
            orders: Some(orders),
            news,
            thread: Some(thread.map_err(|error| StoreError::Thread {
                errno: crate::driver::Errno::of(&error),
            })?),
            ready: first,
            space: Space::Ok,
            error: None,
            lost: false,
        })
    }

    /// The next segment, if it is ready; the one after it is prepared at once.
    pub fn take(&mut self) -> Option<Prepared> {
        self.listen();
        let ready = self.ready.take()?;
        self.order(Order::Taken);
        Some(ready)
    }

    /// The checkpoint in `segment` is durable: what is older may be recycled once its retention is over.
    pub fn checkpoint_durable(&mut self, segment: u64) {
        self.order(Order::CheckpointDurable(segment));
    }

    /// How much space is left.
    pub fn space(&mut self) -> Space {
        self.listen();
        self.space
    }

    /// What the keeper could not do last, for the log; each error is given once.
    pub fn error(&mut self) -> Option<StoreError> {
        self.listen();
        self.error.take()
    }

    fn order(&mut self, order: Order) {
        if let Some(orders) = &self.orders {
            // A thread that is gone is noticed by `listen`.
            let _ = orders.send(order);
        }
    }

    fn listen(&mut self) {
        loop {
            match self.news.try_recv() {
                Ok(news) => self.hear(news),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) if self.lost => return,
                Err(TryRecvError::Disconnected) => {
                    (self.lost, self.space) = (true, Space::Full);
                    self.error = Some(StoreError::KeeperGone);
                }
            }
        }
    }

    fn hear(&mut self, news: News) {
        match news {
            News::Ready(prepared) => self.ready = Some(prepared),
            News::Space(space) => self.space = space,
            News::Failed(error) => self.error = Some(error),
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // Its panic has been reported on stderr already.
            let _ = thread.join();
        }
    }
}

/// A thread begins on the core of the one that started it, and a shard's core is for the shard alone: this one may go
/// wherever the process may, as its first thread still does. If that is refused it works all the same.
fn leave_the_shards_core() {
    let first = rustix::process::getpid();
    if let Ok(everywhere) = rustix::thread::sched_getaffinity(Some(first)) {
        let _ = rustix::thread::sched_setaffinity(None, &everywhere);
    }
}

/// The thread: works until there is nothing to do, then waits for an order or for time to pass.
fn run(
    mut plan: Plan<Files>,
    mut indexer: Indexer,
    inbox: &Receiver<Order>,
    outbox: &Sender<News>,
    wake: &dyn Fn(),
) {
    leave_the_shards_core();
    let tell = |news| {
        if outbox.send(news).is_ok() {
            wake();
        }
    };
    let (mut told, mut failing) = (None, false);
    loop {
        let step = plan.step();
        let space = plan.space();
        if told != Some(space) {
            told = Some(space);
            tell(News::Space(space));
        }
        if let Some(ready) = plan.ground().ready.take() {
            tell(News::Ready(ready));
        }
        let more = match step {
            Ok(more) => {
                // A step that did something ends a run of failures.
                failing &= !more;
                more
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tell(News::Failed(error));
                }
                false
            }
        };
        let heard = if more {
            inbox.recv_timeout(Duration::ZERO)
        } else {
            listen(inbox, &mut indexer, &mut plan.ground().store)
        };
        match heard {
            Ok(Order::Taken) => plan.taken(),
            Ok(Order::CheckpointDurable(segment)) => {
                plan.checkpoint_durable(segment);
                indexer.checkpoint_durable(segment);
            }
            Err(RecvTimeoutError::Timeout) => plan.retry(),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Waits for an order until it is time to look again, and makes indexes meanwhile.
fn listen(
    inbox: &Receiver<Order>,
    indexer: &mut Indexer,
    store: &mut FileStore,
) -> Result<Order, RecvTimeoutError> {
    let deadline = Instant::now() + LOOK_AGAIN;
    while indexer.step(store) && Instant::now() < deadline {
        match inbox.recv_timeout(INDEX_PAUSE) {
            Err(RecvTimeoutError::Timeout) => {}
            heard => return heard,
        }
    }
    inbox.recv_timeout(deadline.saturating_duration_since(Instant::now()))
}

/// The keeper's ground in real life: files.
struct Files {
    store: FileStore,
    config: KeeperConfig,
    /// Published, to be handed over.
    ready: Option<Prepared>,
}

impl Ground for Files {
    fn spares(&mut self) -> Result<Vec<u64>, StoreError> {
        let mut spares = Vec::new();
        for spare in self.store.spares()? {
            if self.store.keep_spare(spare, self.config.segment_bytes)? {
                spares.push(spare);
            }
        }
        Ok(spares)
    }

    fn create(&mut self, spare: u64) -> Result<(), StoreError> {
        let config = &self.config;
        self.store
            .create_spare(spare, config.segment_bytes, config.direct)
    }

    fn recycle(&mut self, segment: u64, spare: u64) -> Result<bool, StoreError> {
        self.store
            .recycle(segment, spare, self.config.segment_bytes)
    }

    fn publish(&mut self, spare: u64, number: u64) -> Result<(), StoreError> {
        let (direct, dsync) = (self.config.direct, self.config.dsync);
        let salt = fresh_salt()?;
        let file = self.store.publish(spare, number, direct, dsync)?;
        self.ready = Some(Prepared {
            segment: NewSegment { number, salt },
            file,
            path: self.store.path(number),
        });
        Ok(())
    }

    fn past_retention(&mut self, segment: u64) -> Result<bool, StoreError> {
        if self.config.retention.is_zero() {
            return Ok(true);
        }
        let written = self.store.written(segment)?;
        // A clock that went back makes it young, which keeps it longer.
        let age = SystemTime::now().duration_since(written);
        Ok(age.unwrap_or_default() >= self.config.retention)
    }
}
