//! Real files: the keeper prepares and recycles, the tools find what was written, full and unwritable disks are named.

use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use super::*;
use crate::core::fact::{Fault, FaultReport, Open, Request};
use crate::core::tx::Phase;
use crate::journal::book::read_book;
use crate::journal::keeper::{Keeper, KeeperConfig, Prepared, Space};
use crate::journal::search::search;
use crate::journal::store::StoreError;
use crate::journal::store::file::FileStore;
use codec::link::message::TransactionState;

const PATIENCE: Duration = Duration::from_secs(5);

/// A directory of its own, removed in the end.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Dir {
        let dir =
            std::env::temp_dir().join(format!("sekisho-journal-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        Dir(dir)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn config(segments_max: u32) -> KeeperConfig {
    KeeperConfig {
        segment_bytes: SEGMENT_BYTES as u64,
        segments_min: 2,
        segments_max,
        retention: Duration::ZERO,
        reserve_percent: 10,
        direct: false,
        dsync: false,
    }
}

/// A shard's writer on real files, writing one block at a time.
struct Live {
    keeper: Keeper,
    news: Receiver<()>,
    writer: Writer<AlignedBuf>,
    prefix: Prefix,
    current: Option<Prepared>,
    next: Option<Prepared>,
    found: Recovered,
    values: u64,
    /// A transaction that stays open: it stands in every checkpoint.
    open: Option<(Vec<u8>, Vec<u8>)>,
}

impl Live {
    fn start(dir: &Dir, config: KeeperConfig) -> Result<Live, StoreError> {
        let mut store = FileStore::open(&dir.0, SHARD, PATIENCE)?;
        let mut values = 0;
        let found = recover(&mut store, SHARD, &mut |_, _, fact| match fact {
            Fact::CheckpointBegin(begin) => values = begin.last_tx,
            Fact::Delivered(_) => values += 1,
            _ => {}
        });
        let found = found.expect("the journal is good");
        let (wake, news) = channel();
        let keeper = Keeper::start(store, config, &found, move || {
            let _ = wake.send(());
        })?;
        let mut writer = Writer::new(CONFIG, found.start);
        for _ in 0..2 * K {
            writer.give_buffer(AlignedBuf::new(BLOCK_MAX));
        }
        let prefix = Prefix::new(found.last_record);
        let (current, next) = (None, None);
        let mut live = Live {
            keeper,
            news,
            writer,
            prefix,
            current,
            next,
            found,
            values,
            open: None,
        };
        live.switch();
        Ok(live)
    }

    /// Waits for the keeper, by its wake-ups.
    fn wait<T>(&mut self, what: &str, mut look: impl FnMut(&mut Keeper) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(seen) = look(&mut self.keeper) {
                return seen;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{what} did not come");
            let _ = self.news.recv_timeout(left);
        }
    }

    /// Goes on in the next segment; false if there is none and none will come.
    fn switch(&mut self) -> bool {
        self.next = self.wait("a segment", |keeper| match keeper.take() {
            None if keeper.space() == Space::Full => Some(None),
            next => next.map(Some),
        });
        let Some(new) = self.next.as_ref().map(|next| next.segment) else {
            return false;
        };
        let (values, open) = (self.values, &self.open);
        let switched = self.writer.switch(new, |fact| {
            let none = FactHead::default();
            fact(
                &none,
                &CheckpointBegin {
                    last_tx: values,
                    boot: 1,
                }
                .into(),
            );
            if let Some((image, report)) = open {
                fact(&head(1), &opened(image, report).into());
            }
            let facts = 2 + u64::from(open.is_some());
            fact(&none, &CheckpointEnd { facts }.into());
        });
        switched.expect("the checkpoint fits");
        self.flush();
        self.keeper.checkpoint_durable(new.number);
        true
    }

    fn add(&mut self, tx: u64, fact: &Fact<'_>) {
        self.writer.append(&head(tx), fact).expect("there is room");
    }

    fn flush(&mut self) {
        while let Some(sealed) = self.writer.seal_next(self.prefix.synced()) {
            if sealed.block == 0 {
                self.current = self.next.take();
            }
            let current = self.current.as_ref().expect("a segment");
            assert_eq!(sealed.segment, current.segment.number);
            let bytes = &sealed.buffer[..sealed.len];
            current
                .file
                .write_all_at(bytes, sealed.offset)
                .expect("the disk takes it");
            self.prefix.issued(sealed.ticket, sealed.last_record);
            self.prefix.completed(sealed.ticket);
            self.writer.give_buffer(sealed.buffer);
        }
    }

    /// Fills segments; stops when the keeper has no next one.
    fn fill(&mut self, values: u64) -> u64 {
        let frame = [0x40; 700];
        for done in 0..values {
            self.values += 1;
            let value = self.values;
            self.add(0, &Delivered { request: value }.into());
            self.add(0, &Report { frame: &frame }.into());
            self.flush();
            if self.writer.needs_segment() && !self.switch() {
                return done;
            }
        }
        values
    }
}

/// Segments are prepared, switched to and recycled without ever being more than allowed, and after a restart the
/// state is there; with O_DIRECT where the file system has it.
#[test]
fn the_keeper_prepares_and_recycles() {
    for direct in [false, true] {
        let dir = Dir::new(&format!("recycles-{direct}"));
        let config = KeeperConfig {
            direct,
            ..config(6)
        };
        let mut live = match Live::start(&dir, config.clone()) {
            Err(error) if direct && error.to_string().contains("O_DIRECT") => return,
            live => live.expect("the directory is writable"),
        };
        live.fill(1000);
        let last = live.current.as_ref().expect("a segment").segment.number;
        assert!(last > 20, "{last} segments");
        drop(live);
        let names = std::fs::read_dir(&dir.0).expect("it is there");
        let names = names.map(|entry| entry.expect("it is there").file_name());
        let (indexes, files): (Vec<_>, Vec<_>) =
            names.partition(|name| name.to_string_lossy().ends_with(".idx"));
        assert!(files.len() <= 6 + 1, "{files:?}");
        assert!(
            indexes.len() < files.len(),
            "indexes go with their segments: {indexes:?}"
        );
        let live = Live::start(&dir, config).expect("the directory is writable");
        assert_eq!(live.values, 1000);
        assert_eq!(live.found.checkpoint, last);
    }
}

/// A second daemon on the same directory is turned away, with the file named.
#[test]
fn a_second_daemon_is_turned_away() {
    let dir = Dir::new("second");
    let _first = FileStore::open(&dir.0, SHARD, PATIENCE).expect("nobody is there");
    let error = FileStore::open(&dir.0, SHARD, Duration::from_millis(10));
    let text = error.expect_err("the first holds it").to_string();
    assert!(
        text.contains("journal-3.lock is locked by another process"),
        "{text}"
    );
}

/// When no segment is left and none may be recycled, the shard is told in two steps: first only the reserve, then
/// nothing.
#[test]
fn running_out_of_segments_is_told() {
    let dir = Dir::new("out");
    let config = KeeperConfig {
        retention: Duration::from_secs(1000),
        reserve_percent: 50,
        ..config(6)
    };
    let mut live = Live::start(&dir, config).expect("the directory is writable");
    live.wait("plenty of space", |keeper| {
        (keeper.space() == Space::Ok).then_some(())
    });
    while live.current.as_ref().expect("a segment").segment.number < 4 {
        live.fill(10);
    }
    live.wait("low space", |keeper| {
        (keeper.space() == Space::Low).then_some(())
    });
    live.fill(1000);
    live.wait("no space", |keeper| {
        (keeper.space() == Space::Full).then_some(())
    });
}

/// A small file system of its own, if this user may mount one.
struct SmallDisk(Dir);

impl SmallDisk {
    fn mount(name: &str, bytes: usize) -> Option<SmallDisk> {
        let dir = Dir::new(name);
        std::fs::create_dir_all(&dir.0).ok()?;
        let size = format!("size={bytes}");
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(&dir.0);
        let mounted = mount.output().is_ok_and(|done| done.status.success());
        mounted.then_some(SmallDisk(dir))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0.0).output();
    }
}

/// A disk that fills: business is told to stop while spares are left, the error is given for the log, what was
/// written is recovered, and with room again the space is well again. Needs the right to mount a small disk.
#[test]
fn a_full_disk_is_told() {
    let Some(disk) = SmallDisk::mount("full", 8 * SEGMENT_BYTES) else {
        eprintln!("not shown: this user may not mount a disk");
        return;
    };
    // With four spares wanted two are left when another cannot be made, and the value that is being written then takes no
    // more than one of them.
    let config = KeeperConfig {
        retention: Duration::from_secs(1000),
        segments_min: 4,
        ..config(1000)
    };
    let mut live = Live::start(&disk.0, config.clone()).expect("the first segment fits");
    while live.keeper.space() == Space::Ok {
        live.fill(1);
    }
    assert_eq!(
        live.keeper.space(),
        Space::Low,
        "spares are left when the disk is full"
    );
    let error = live.wait("the error", Keeper::error);
    assert!(
        error.is_disk_full() && error.to_string().contains("No space left"),
        "{error}"
    );
    let before = live.values;
    live.fill(10_000);
    assert_eq!(live.keeper.space(), Space::Full);
    assert!(live.values > before, "open transactions could go on");
    let values = live.values;
    drop(live);
    // With nothing to be recycled and the disk full, a start is refused; with retention over, it goes on.
    let error = Live::start(&disk.0, config.clone())
        .err()
        .expect("no segment can be made");
    assert!(error.is_disk_full(), "{error}");
    let live = Live::start(
        &disk.0,
        KeeperConfig {
            retention: Duration::ZERO,
            ..config
        },
    );
    assert_eq!(live.expect("old segments are recycled").values, values);
}

/// A directory that cannot be written is named with the way out, and so is one that is not there.
#[test]
fn an_unwritable_directory_is_named() {
    let error =
        FileStore::open("/proc/sekisho".as_ref(), 0, PATIENCE).expect_err("proc is no place");
    let text = error.to_string();
    assert!(
        text.contains("/proc/sekisho cannot be written") && text.contains("data_dir"),
        "{text}"
    );
    let error = FileStore::read_only("/no/such/place".as_ref(), 0).expect_err("it is not there");
    assert!(
        error
            .to_string()
            .contains("there is no journal directory /no/such/place")
    );
}

/// A frame with the key of this terminal sequence.
fn frame(mti: &str, sequence: u32) -> Vec<u8> {
    let header = format!(
        "0002{sequence:06}00000      1111111    2222222    {mti}1130000{:02}00000047",
        0
    );
    let mut frame = header.into_bytes();
    frame.resize(63, b'0');
    let section = format!(
        "   000000002{:7}{:13}{sequence:05}2611300 0@",
        "", "T000000000001"
    );
    frame.extend(section.into_bytes());
    frame
}

fn key(sequence: u32) -> [u8; 24] {
    let key = format!("261130T000000000001{sequence:05}");
    key.into_bytes().try_into().expect("6 + 13 + 5 bytes")
}

fn request(image: &[u8], sequence: u32) -> Request<'_> {
    Request {
        route: 2,
        flags: 0,
        sequence,
        cut_date: 20_261_130,
        api: [1; 16],
        request: 1,
        image,
    }
}

fn opened<'a>(image: &'a [u8], report: &'a [u8]) -> Open<'a> {
    Open {
        phase: Phase::Reported as u8,
        cause: 0,
        congested: 0,
        route: 0,
        flags: 0,
        fault: 0,
        sends: 0,
        sequence: 1,
        cut_date: 20_261_130,
        api: [1; 16],
        request: 1,
        image,
        report,
    }
}

/// The tools find a transaction by its key and how it ended, over several segments: the newest that is not settled,
/// else the newest; and the book has one entry per key.
#[test]
fn transactions_are_found_by_key() {
    let dir = Dir::new("search");
    let config = KeeperConfig {
        retention: Duration::from_secs(1000),
        ..config(100)
    };
    let mut live = Live::start(&dir, config).expect("the directory is writable");
    let (image, report) = (frame("3110", 77), frame("3120", 77));
    let fault = Fault {
        mti: 8930,
        route: 2,
        sends: 1,
        cause: 1,
        congested: 0,
    };
    let undone = frame("8960", 78);
    for (tx, fact) in [
        (1, Fact::from(request(&image, 1))),
        (2, request(&image, 2).into()),
        (1, Report { frame: &report }.into()),
        (2, Report { frame: &report }.into()),
        (2, Delivered { request: 1 }.into()),
        (3, request(&undone, 3).into()),
        (3, fault.into()),
        (
            3,
            FaultReport {
                verdict: 1,
                frame: &undone,
            }
            .into(),
        ),
    ] {
        live.add(tx, &fact);
    }
    live.open = Some((image.clone(), report.clone()));
    live.fill(200);
    let look = |sequence| {
        let searched = search(&dir.0, SHARD, None, key(sequence)).expect("the journal is good");
        assert!(
            searched.bad_indexes.is_empty(),
            "{:?}",
            searched.bad_indexes
        );
        searched.found
    };
    let found = look(77).expect("it is there");
    assert_eq!(
        (found.tx, found.state, found.settled),
        (1, TransactionState::Reported, false)
    );
    assert_eq!((found.request_image, found.report), (image, Some(report)));
    let kinds: Vec<_> = found.facts.iter().map(|fact| fact.fields.kind).collect();
    assert_eq!(kinds[..3], [10, 12, 33], "from its request on");
    live.add(1, &Delivered { request: 1 }.into());
    live.flush();
    assert_eq!(look(77).expect("it is there").tx, 2, "the newest");
    let undone = look(78).expect("it is there");
    assert_eq!(
        (undone.state, undone.facts.len()),
        (TransactionState::Cancelled, 3)
    );
    assert!(look(79).is_none());
    let book = read_book(&dir.0).expect("the journal is good");
    let seen: Vec<_> = book
        .iter()
        .map(|entry| (entry.key, entry.tx, entry.delivered, entry.cancelled))
        .collect();
    assert_eq!(seen, [(key(77), 2, true, false), (key(78), 3, false, true)]);
    assert_eq!(
        (book[0].request_mti, book[0].report_mti, book[0].sequence),
        (3110, Some(3120), 2)
    );
}

/// Closed segments get their indexes from the keeper; a search then reads hardly more than the newest segment. An index
/// that was spoiled is made anew at the next start, and one whose segment is gone is removed.
#[test]
fn the_keeper_makes_indexes() {
    let dir = Dir::new("indexes");
    let config = KeeperConfig {
        retention: Duration::from_secs(1000),
        ..config(100)
    };
    let mut live = Live::start(&dir, config.clone()).expect("the directory is writable");
    let image = frame("3110", 77);
    live.add(1, &request(&image, 1).into());
    live.add(1, &Delivered { request: 1 }.into());
    live.fill(400);
    let last = live.current.as_ref().expect("a segment").segment.number;
    assert!(last > 3, "{last} segments");
    let store = FileStore::read_only(&dir.0, SHARD).expect("it is there");
    let indexes = |wanted: Vec<u64>| {
        let deadline = Instant::now() + PATIENCE;
        while store.indexes().expect("the directory is readable") != wanted {
            assert!(Instant::now() < deadline, "{:?}", store.indexes());
            std::thread::yield_now();
        }
    };
    indexes((1..last).collect());
    let look = || search(&dir.0, SHARD, None, key(77)).expect("the journal is good");
    let searched = look();
    assert_eq!(searched.found.expect("it is there").tx, 1);
    assert!(searched.bad_indexes.is_empty());
    let newest_and_a_little = SEGMENT_BYTES as u64 + 3 * BLOCK_MAX as u64;
    assert!(
        searched.read.bytes < newest_and_a_little,
        "{:?}",
        searched.read
    );
    drop(live);

    let spoiled = store.index_path(1);
    let mut bytes = std::fs::read(&spoiled).expect("it is there");
    let good = bytes.clone();
    bytes[40] ^= 1;
    std::fs::write(&spoiled, &bytes).expect("it is writable");
    std::fs::write(store.index_path(999), &good).expect("the directory is writable");
    let searched = look();
    assert_eq!(searched.found.expect("it is there all the same").tx, 1);
    assert_eq!(searched.bad_indexes.len(), 1);
    let live = Live::start(&dir, config).expect("the directory is writable");
    let deadline = Instant::now() + PATIENCE;
    while std::fs::read(&spoiled).expect("it is there") != good {
        assert!(Instant::now() < deadline, "it is not made anew");
        std::thread::yield_now();
    }
    indexes((1..=last).collect());
    drop(live);
}
