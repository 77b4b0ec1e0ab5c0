//! The real daemon on a system that is not as it should be: a full disk, missing rights, taken ports, wrong keys, a second
//! daemon, no io_uring. It says what is wrong and what to do, and ends, or goes on with what it can still do. These tests need
//! root, for a file system of their own and for becoming another user.

use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use client::ClientError;
use codec::link::message::TransactionState::{Cancelled, Delivered};
use codec::link::rc;
use tests::daemon::{App, Daemon, Payment, Plan, programs, until};

const ROOT: &str = env!("CARGO_TARGET_TMPDIR");
/// A user without any right.
const NOBODY: u32 = 65534;

/// Runs a command that has to succeed.
fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {} {}; these tests need root",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A small ext4 file system of its own, mounted for as long as this lives.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(plan: &Plan, mib: u64) -> SmallDisk {
        let (image, at) = (plan.dir.join("disk.img"), plan.dir.join("disk"));
        std::fs::create_dir(&at).expect("a mount point");
        std::fs::File::create(&image)
            .and_then(|file| file.set_len(mib << 20))
            .expect("an image");
        let text = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
        run(
            "mkfs.ext4",
            &["-q", "-O", "^has_journal", "-m", "0", &text(&image)],
        );
        run("mount", &["-o", "loop", &text(&image), &text(&at)]);
        SmallDisk(at)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, so that a daemon that a failed test left behind does not keep it.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Waits for the end of a daemon that must not start, and gives its exit code and everything it said.
fn refused(mut daemon: Daemon) -> (Option<i32>, String) {
    let status = daemon.wait_end();
    (status.code(), daemon.log().join("\n"))
}

/// The disk fills up under load: new business is refused with RC_ERR_JOURNAL, what is open can still be settled, the orderly
/// stop works, and with room again everything goes on; nothing is lost on the way.
#[test]
fn a_full_disk_refuses_new_business_and_settles_the_old() {
    let mut plan = Plan::new(ROOT, "full-disk");
    let disk = SmallDisk::mount(&plan, 100);
    plan.set("data_dir", format!("\"{}\"", disk.0.join("data").display()));
    let mut daemon = Daemon::start(&plan);
    let centre = plan.centre();
    let mut app = App::open(&plan);
    let first = app.approve(0);
    assert_eq!(
        centre.control("rule effect=silent mti=3110 count=1"),
        "ok silent"
    );
    let open = Payment::new(1);
    app.send(&open).expect("sent");
    let next = Arc::new(AtomicU32::new(2));
    let tellers: Vec<_> = (0..4)
        .map(|_| {
            let (plan, next) = (plan.clone(), next.clone());
            std::thread::spawn(move || {
                let mut app = App::open(&plan);
                loop {
                    let payment = Payment::new(next.fetch_add(1, Ordering::Relaxed));
                    match app.pay(&payment) {
                        Ok(report) => assert_eq!(report.telegram.mti, *b"3120"),
                        Err(ClientError::Refused { code }) => return code,
                        Err(other) => panic!("{other}"),
                    }
                }
            })
        })
        .collect();
    for teller in tellers {
        assert_eq!(teller.join().expect("no panic"), rc::ERR_JOURNAL);
    }
    daemon.wait_log("No space left on device");
    let mut other = App::open(&plan);
    assert_eq!(
        other.session.cancel(&open.key),
        Ok(()),
        "the reserve is for this"
    );
    assert_eq!(app.ended(), rc::TIME_OUT);
    assert_eq!(app.state(&open), Cancelled);
    app.wait_idle();
    assert_eq!(app.session.cancel(&first.key), Ok(()), "and for this");
    daemon.terminate();
    assert_eq!(daemon.wait_end().code(), Some(0));
    drop(other);
    // Old segments may go now.
    plan.set("journal.retention_days", 0);
    let mut daemon = Daemon::start(&plan);
    daemon.wait_log("the last stop was orderly");
    let mut app = App::open(&plan);
    let serial = next.load(Ordering::Relaxed);
    until("room for new business", || {
        match app.pay(&Payment::new(serial + 1)) {
            Ok(_) => Some(()),
            Err(ClientError::Refused {
                code: rc::ERR_JOURNAL,
            }) => None,
            Err(other) => panic!("{other}"),
        }
    });
    assert_eq!(app.state(&first), Cancelled);
    app.wait_idle();
    daemon.terminate();
    assert_eq!(daemon.wait_end().code(), Some(0));
    drop(centre);
}

/// A disk that does not even take the first segment keeps the daemon from starting, with words.
#[test]
fn a_disk_without_room_is_refused_at_start() {
    let mut plan = Plan::new(ROOT, "no-room");
    let disk = SmallDisk::mount(&plan, 12);
    plan.set("data_dir", format!("\"{}\"", disk.0.join("data").display()));
    let (code, log) = refused(Daemon::launch(&plan));
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("No space left on device"), "{log}");
}

/// A plan in the system's temporary directory, which every user may enter, with a copy of the daemon beside it.
fn plan_for_anybody(name: &str) -> Plan {
    let root = std::env::temp_dir();
    let plan = Plan::new(root.to_str().expect("a path in UTF-8"), name);
    std::fs::copy(&programs().sekishod, plan.dir.join("sekishod")).expect("a copy of the daemon");
    std::fs::set_permissions(&plan.dir, PermissionsExt::from_mode(0o755)).expect("rights");
    plan
}

/// Starts such a plan's daemon as a user without rights, with the memory to lock of an ordinary account, 8 MiB.
fn launch_as_nobody(plan: &Plan) -> Daemon {
    let mut command = Command::new("prlimit");
    let (user, group) = (format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"));
    command
        .args([
            "--memlock=8388608:8388608",
            "setpriv",
            &user,
            &group,
            "--clear-groups",
        ])
        .arg(plan.dir.join("sekishod"))
        .arg("--config")
        .arg(plan.write());
    Daemon::spawn(command)
}

/// An ordinary user with 8 MiB of lockable memory runs the daemon, with the sizes of the default configuration.
#[test]
fn an_unprivileged_user_runs_it() {
    let mut plan = plan_for_anybody("nobody");
    plan.set("journal.blocks_in_flight", 4)
        .set("journal.block_kib_max", 256);
    let data = plan.dir.join("data");
    std::fs::create_dir(&data).expect("a directory");
    chown(&data, Some(NOBODY), Some(NOBODY)).expect("root gives it away");
    let daemon = launch_as_nobody(&plan);
    daemon.wait_log("is ready");
    let _centre = plan.centre();
    let mut app = App::open(&plan);
    for serial in 0..20 {
        app.approve(serial);
    }
    let owner = std::fs::metadata(plan.journal()).expect("the journal");
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&owner), NOBODY);
    assert_eq!(
        owner.permissions().mode() & 0o077,
        0,
        "it is nobody else's to read"
    );
}

/// A directory that the user may not write, for the journal and for the log: named, with the way out.
#[test]
fn an_unwritable_directory_is_named() {
    let plan = plan_for_anybody("unwritable");
    let (code, log) = refused(launch_as_nobody(&plan));
    assert_eq!(code, Some(1), "{log}");
    let words = format!(
        "cannot make the journal directory {}: Permission denied",
        plan.journal().display()
    );
    assert!(
        log.contains(&words) && log.contains("check data_dir and its permissions"),
        "{log}"
    );
    // There, but another user's.
    std::fs::create_dir_all(plan.journal()).expect("a directory of root's");
    let (code, log) = refused(launch_as_nobody(&plan));
    assert_eq!(code, Some(1), "{log}");
    assert!(
        log.contains("make it writable for the daemon's user"),
        "{log}"
    );
    let mut logged = plan.clone();
    logged.set(
        "log_file",
        format!("\"{}\"", plan.dir.join("sekishod.log").display()),
    );
    let (code, log) = refused(launch_as_nobody(&logged));
    assert_eq!(code, Some(1), "{log}");
    assert!(
        log.contains("cannot write the log to") && log.contains("check log_file"),
        "{log}"
    );
}

/// A port that somebody has, the applications' or a line's: named with the reason.
#[test]
fn a_port_in_use_is_named() {
    let plan = Plan::new(ROOT, "port");
    for port in [plan.api_port, plan.lines[0].port] {
        let held = TcpListener::bind(("127.0.0.1", port)).expect("the port was free");
        let (code, log) = refused(Daemon::launch(&plan));
        assert_eq!(code, Some(1), "{log}");
        let words = format!("cannot listen on 127.0.0.1:{port}: Address already in use");
        assert!(
            log.contains(&words) && log.contains("in the configuration"),
            "{log}"
        );
        drop(held);
    }
    Daemon::start(&plan);
}

/// A key that does not exist, a value that cannot be, and a file that is not there: every fault with its line, and exit code 2.
/// `--check` says the same and starts nothing.
#[test]
fn a_wrong_configuration_is_refused_with_its_line() {
    let mut plan = Plan::new(ROOT, "wrong-key");
    plan.set("line.timers.t31_sec", 58)
        .set("journal.segment_mib", 1);
    let path = plan.write();
    let line_of = |text: &str| {
        let file = std::fs::read_to_string(&path).expect("the configuration");
        1 + file
            .lines()
            .position(|line| line.contains(text))
            .expect("the line")
    };
    for option in ["--config", "--check"] {
        let mut command = Command::new(&programs().sekishod);
        command.arg(option).arg(&path);
        let (code, log) = refused(Daemon::spawn(command));
        assert_eq!(code, Some(2), "{log}");
        for (text, word) in [("t31_sec", "t31_sec"), ("segment_mib", "16..1024")] {
            let place = format!("sekisho.toml:{}:", line_of(text));
            assert!(
                log.lines()
                    .any(|line| line.contains(&place) && line.contains(word)),
                "{log}"
            );
        }
    }
    assert!(!plan.journal().exists(), "nothing was made");
    let mut command = Command::new(&programs().sekishod);
    command.arg("--config").arg(plan.dir.join("nowhere.toml"));
    let (code, log) = refused(Daemon::spawn(command));
    assert_eq!(code, Some(2), "{log}");
    assert!(log.contains("nowhere.toml"), "{log}");
}

/// A second daemon on the journal of one that runs is refused, and the first goes on.
#[test]
fn a_journal_has_one_daemon() {
    let plan = Plan::new(ROOT, "first");
    let _daemon = Daemon::start(&plan);
    let _centre = plan.centre();
    let mut app = App::open(&plan);
    let paid = app.approve(1);
    let mut second = Plan::new(ROOT, "second");
    second.set(
        "data_dir",
        format!("\"{}\"", plan.dir.join("data").display()),
    );
    let (code, log) = refused(Daemon::launch(&second));
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("is locked by another process"), "{log}");
    assert!(
        log.contains("is a second daemon running on this journal?"),
        "{log}"
    );
    app.approve(2);
    assert_eq!(app.state(&paid), Delivered);
}

/// A kernel without io_uring, or with a container around it that forbids it: the message says which, and what to allow.
#[test]
fn a_kernel_without_io_uring_is_named() {
    let plan = Plan::new(ROOT, "no-uring");
    let wrapper = plan.dir.join("without_io_uring");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c/without_io_uring.c");
    let compiled = Command::new("cc")
        .arg("-o")
        .arg(&wrapper)
        .arg(source)
        .status();
    assert!(compiled.expect("cc runs").success());
    const ENOSYS: &str = "38";
    const EPERM: &str = "1";
    for (errno, words) in [
        (ENOSYS, "Linux 6.1 or newer"),
        (EPERM, "seccomp profile forbids it"),
    ] {
        let mut command = Command::new(&wrapper);
        command
            .arg(errno)
            .arg(&programs().sekishod)
            .arg("--config")
            .arg(plan.write());
        let (code, log) = refused(Daemon::spawn(command));
        assert_eq!(code, Some(1), "{log}");
        assert!(
            log.contains("io_uring is not available") && log.contains(words),
            "{log}"
        );
    }
}
