//! The real daemon and a journal that is not as it was written. Every byte of a last block is tried in `engine`; here a few
//! dozen positions with the whole daemon behind them.

use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use codec::link::message::TransactionState::{Cancelled, Delivered};
use codec::link::rc;
use engine::core::fact::Fact;
use engine::journal::read::walk_dir;
use loadgen::centre::Handle;
use tests::daemon::{App, Daemon, Payment, Plan, until};

const ROOT: &str = env!("CARGO_TARGET_TMPDIR");

/// A block starts with so many bytes that say that it is one.
const MAGIC_LEN: u64 = 8;

/// A journal of a killed daemon with delivered payments and one that is open, kept to be damaged again and again.
struct Wreck {
    centre: Handle,
    paid: Vec<Payment>,
    open: Payment,
    pristine: PathBuf,
    plan: Plan,
}

impl Wreck {
    fn make(name: &str) -> Wreck {
        let plan = Plan::new(ROOT, name);
        let mut daemon = Daemon::start(&plan);
        let centre = plan.centre();
        let mut app = App::open(&plan);
        let paid = (0..30).map(|serial| app.approve(serial)).collect();
        assert_eq!(
            centre.control("rule effect=silent mti=3110 count=1"),
            "ok silent"
        );
        let open = Payment::new(99);
        app.send(&open).expect("sent");
        until("the request", || {
            (centre.ledger().entries.len() == 31).then_some(())
        });
        daemon.kill();
        let pristine = plan.dir.join("pristine");
        copy(&plan.journal(), &pristine);
        Wreck {
            plan,
            centre,
            paid,
            open,
            pristine,
        }
    }

    /// Puts the journal back as it was after the kill.
    fn restore(&self) {
        fs::remove_dir_all(self.plan.journal()).expect("the damaged journal");
        copy(&self.pristine, &self.plan.journal());
    }

    /// Offset and length of every block in the newest segment, and its file.
    fn blocks(&self) -> (PathBuf, u64, Vec<(u64, u64)>) {
        let mut blocks: Vec<(u64, u64, u64)> = Vec::new();
        walk_dir(&self.plan.journal(), 0, &mut |block, _| {
            let found = (block.segment, block.offset, block.bytes.len() as u64);
            if blocks.last() != Some(&found) {
                blocks.push(found);
            }
            ControlFlow::Continue(())
        })
        .expect("a journal");
        let newest = blocks.last().expect("blocks").0;
        let of_newest = blocks
            .iter()
            .filter(|block| block.0 == newest)
            .map(|block| (block.1, block.2))
            .collect();
        (
            self.plan
                .journal()
                .join(format!("journal-0-{newest:012}.seg")),
            newest,
            of_newest,
        )
    }
}

/// Copies the files of a directory.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
    }
}

/// The last block is cut at positions all over it: the daemon starts, says what it cut and where, settles what is open,
/// and knows every payment of before.
#[test]
fn a_torn_last_block_is_cut() {
    let wreck = Wreck::make("torn");
    let (path, segment, blocks) = wreck.blocks();
    let &(offset, len) = blocks.last().expect("blocks");
    let before = wreck.centre.ledger().entries.len();
    let positions: Vec<u64> = (0..24)
        .map(|part| len * part / 24)
        .chain([1, 63, 64, len - 1])
        .collect();
    for at in positions {
        wreck.restore();
        let file = fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .expect("the segment");
        // What was in flight and never reached the disk: zeros, as the segment was prepared.
        file.write_all_at(&vec![0; (len - at) as usize], offset + at)
            .expect("cut");
        let kept =
            fs::read(wreck.pristine.join(path.file_name().expect("a name"))).expect("the segment");
        let changed = fs::read(&path).expect("the segment") != kept;
        drop(file);
        let daemon = Daemon::start(&wreck.plan);
        let cut = format!("torn tail cut in segment {segment} at offset {offset}");
        let said = daemon.count(&cut) == 1;
        // A block of which less than its magic is left never was one, and one cut within its padding is whole.
        assert!(said || at < MAGIC_LEN || !changed, "cut at {at} of {len}");
        let mut app = App::open(&wreck.plan);
        app.wait_idle();
        for paid in &wreck.paid {
            assert_eq!(app.state(paid), Delivered);
        }
        if !changed {
            assert_eq!(app.state(&wreck.open), Cancelled);
        }
    }
    assert_eq!(
        wreck.centre.ledger().entries.len(),
        before,
        "no business came of it"
    );
}

/// A bit that flipped in the middle of what was durable: the daemon refuses to start and names segment and offset; with the
/// byte put back it starts.
#[test]
fn damage_in_the_middle_is_refused() {
    let wreck = Wreck::make("flipped");
    let (path, segment, blocks) = wreck.blocks();
    for part in [1, 2, 3] {
        wreck.restore();
        let (offset, len) = blocks[blocks.len() * part / 4];
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .expect("the segment");
        let mut byte = [0];
        let at = offset + len.min(200) / 2;
        file.read_exact_at(&mut byte, at).expect("a byte");
        file.write_all_at(&[byte[0] ^ 0x10], at).expect("flipped");
        let mut daemon = Daemon::launch(&wreck.plan);
        assert_eq!(daemon.wait_end().code(), Some(1));
        let line = daemon.wait_log("is damaged");
        let place = format!("journal segment {segment} is damaged at offset {offset}");
        assert!(line.contains(&place), "{line}");
        assert!(line.contains("restore the journal directory"), "{line}");
        file.write_all_at(&byte, at).expect("put back");
        let daemon = Daemon::start(&wreck.plan);
        assert_eq!(daemon.count("torn"), 0);
        let mut app = App::open(&wreck.plan);
        app.wait_idle();
        assert_eq!(app.state(&wreck.paid[7]), Delivered);
    }
}

/// The header of the newest segment is damaged, a segment is missing that the next one needs, or the directory is another
/// shard's: each is refused with the file and the way out.
#[test]
fn damage_of_whole_files_is_refused() {
    let wreck = Wreck::make("files");
    let (path, segment, _) = wreck.blocks();
    let refused = |words: &[&str]| {
        let mut daemon = Daemon::launch(&wreck.plan);
        assert_eq!(daemon.wait_end().code(), Some(1));
        let log = daemon.log().join("\n");
        assert!(
            words.iter().all(|word| log.contains(word)),
            "{words:?}: {log}"
        );
    };
    let file = fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .expect("the segment");
    file.write_all_at(&[0xff; 16], 16).expect("damaged");
    refused(&[&format!("journal segment {segment} is damaged at offset 0")]);
    wreck.restore();
    let other = path.with_file_name(format!("journal-0-{:012}.seg", segment + 7));
    fs::rename(&path, &other).expect("renamed");
    refused(&[&format!("segment {}", segment + 7)]);
    wreck.restore();
    // A journal of shard 1 under shard 0's names.
    let mut two = wreck.plan.clone();
    two.dir = wreck.plan.dir.join("two");
    fs::create_dir(&two.dir).expect("a directory");
    two.shards = 2;
    two.add_line(1);
    drop(Daemon::start(&two));
    let theirs = two.segments(1).pop().expect("a segment");
    let number = theirs
        .file_stem()
        .expect("a name")
        .to_string_lossy()
        .replace("journal-1-", "journal-0-");
    fs::remove_dir_all(wreck.plan.journal()).expect("removed");
    fs::create_dir(wreck.plan.journal()).expect("a directory");
    fs::copy(theirs, wreck.plan.journal().join(format!("{number}.seg"))).expect("copied");
    refused(&["belongs to shard 1, this is shard 0"]);
}

/// A search by key goes by the index of a segment that has closed; a spoiled index is named, not believed, and made anew.
/// A damaged segment is answered with RC 40, never as if the key were unknown, and the daemon goes on.
#[test]
fn searches_believe_nothing_that_is_spoiled() {
    let plan = Plan::new(ROOT, "index");
    let _centre = plan.centre();
    let mut daemon = Daemon::start(&plan);
    let mut app = App::open(&plan);
    let payment = app.approve(1);
    // The second start still remembers it from the first segment, which it recovers from; the third does not.
    for _ in 0..2 {
        drop(app);
        daemon.terminate();
        daemon.wait_end();
        daemon = Daemon::start(&plan);
        app = App::open(&plan);
    }
    let index = plan.journal().join("journal-0-000000000001.idx");
    until("the index", || index.exists().then_some(()));
    assert_eq!(app.state(&payment), Delivered);
    let good = fs::read(&index).expect("it is there");
    let mut spoiled = good.clone();
    spoiled[5000] ^= 1;
    fs::write(&index, &spoiled).expect("it is writable");
    assert_eq!(app.state(&payment), Delivered, "the segment was read");
    let said = daemon.wait_log("is not believed");
    assert!(
        said.contains("journal-0-000000000001.idx")
            && said.contains("checksum at offset 4096 is wrong"),
        "{said}"
    );
    until("the index made anew", || {
        (fs::read(&index).ok()? == good).then_some(())
    });

    let mut request = None;
    walk_dir(&plan.journal(), 0, &mut |block, record| {
        if matches!(record.fact(), Ok(Fact::Request(_))) {
            request = Some((block.segment, block.offset));
        }
        ControlFlow::Continue(())
    })
    .expect("the journal is good");
    let (segment, offset) = request.expect("the request is on record");
    assert_eq!(segment, 1);
    let path = plan.journal().join("journal-0-000000000001.seg");
    let file = fs::OpenOptions::new().read(true).write(true).open(path);
    let file = file.expect("the segment is there");
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset + 300)
        .expect("it is longer");
    file.write_all_at(&[byte[0] ^ 1], offset + 300)
        .expect("it is writable");
    let unknown = app.session.query(&payment.key);
    assert_eq!(unknown.expect_err("nobody knows").rc(), rc::ERR_JOURNAL);
    let cancel = app.session.cancel(&payment.key);
    assert_eq!(cancel.expect_err("nobody knows").rc(), rc::ERR_JOURNAL);
    let said = daemon.wait_log("search of the journal");
    let place = format!("segment 1 is damaged at offset {offset}");
    assert!(said.contains(&place), "{said}");
    app.approve(2);
}
