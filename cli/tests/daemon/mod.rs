//! A real `sekishod` on free ports with a simulated centre, and `sekisho` run against it.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use loadgen::centre::{Centre, CentreConfig, Handle, Timers};

/// How long anything may take that only has to happen at some time.
pub const LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);

/// A daemon and its centre; both end with it.
pub struct Site {
    dir: PathBuf,
    api: u16,
    daemon: Child,
    pub centre: Handle,
}

impl Site {
    /// Starts both, and waits until the centre's sessions are up. The directory is on the disk of the build, since a
    /// temporary one may be in memory, where O_DIRECT says nothing.
    pub fn start(test: &str) -> Site {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).expect("the target directory is writable");
        let [api, centre] = free_ports();
        let config = format!(
            "[api]\ntcp = \"127.0.0.1:{api}\"\n\
             [journal]\nsegment_mib = 16\nsegments_min = 2\nsegments_max = 8\n\
             [[line]]\nname = \"cafis-a\"\ncompany = \"TEST001\"\nlisten = [\"127.0.0.1:{centre}\"]\n\
             accept_count = 2\nroute_count = 4\n"
        );
        fs::write(dir.join("sekisho.toml"), config).expect("the directory is writable");
        let log = fs::File::create(dir.join("daemon.log")).expect("the directory is writable");
        let mut daemon = Command::new(sekishod())
            .arg("--config")
            .arg(dir.join("sekisho.toml"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("sekishod starts");
        until("sekishod listens", || {
            let ended = daemon.try_wait().expect("it can be asked");
            assert_eq!(ended, None, "{}", log_of(&dir));
            TcpStream::connect((Ipv4Addr::LOCALHOST, api)).is_ok()
        });
        let line =
            format!("name=cafis-a,at=127.0.0.1:{centre},sessions=2,company=TEST001,routes=4");
        let handle = Centre::start_thread(CentreConfig {
            lines: vec![line.parse().expect("a line")],
            timers: Timers {
                reconnect_ms: 20,
                reconnect_slow_ms: 20,
                reconnect_orderly_ms: 20,
                ..Timers::default()
            },
            ..CentreConfig::default()
        })
        .expect("a centre");
        handle.wait_ready(LIMIT).expect("the sessions come up");
        Site {
            dir,
            api,
            daemon,
            centre: handle,
        }
    }

    /// Where applications find the daemon.
    pub fn api(&self) -> String {
        format!("127.0.0.1:{}", self.api)
    }

    /// A path in the daemon's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Runs `sekisho` in the daemon's directory.
    pub fn run(&self, arguments: &[&str]) -> Told {
        let output = Command::new(env!("CARGO_BIN_EXE_sekisho"))
            .args(arguments)
            .current_dir(&self.dir)
            .output()
            .expect("sekisho starts");
        Told::of(&output)
    }

    /// Runs `sekisho` against the daemon by its address; it has to succeed.
    pub fn tell(&self, arguments: &[&str]) -> String {
        let told = self.ask(arguments);
        assert_eq!(
            told.status,
            0,
            "{arguments:?}: {}\n{}",
            told.errors,
            log_of(&self.dir)
        );
        told.text
    }

    /// Runs `sekisho` against the daemon by its address.
    pub fn ask(&self, arguments: &[&str]) -> Told {
        let api = self.api();
        let to = [arguments, &["--connect", &api]].concat();
        self.run(&to)
    }

    /// Waits until the daemon has ended by itself.
    pub fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        until("sekishod ends", || {
            status = self.daemon.try_wait().expect("it can be asked");
            status.is_some()
        });
        status.expect("it was waited for")
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // Both fail only for a daemon that has ended.
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// What a run of `sekisho` said.
#[derive(Debug)]
pub struct Told {
    pub status: i32,
    pub text: String,
    pub errors: String,
}

impl Told {
    fn of(output: &Output) -> Told {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("it writes text");
        Told {
            status: output.status.code().expect("it ends by itself"),
            text: text(&output.stdout),
            errors: text(&output.stderr),
        }
    }
}

/// Waits for a condition.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < end, "not within {LIMIT:?}: {what}");
        std::thread::sleep(POLL);
    }
}

/// The daemon's program beside `sekisho`, built the same way if it is not.
fn sekishod() -> PathBuf {
    let dir = Path::new(env!("CARGO_BIN_EXE_sekisho")).parent();
    let dir = dir.expect("a program is in a directory");
    let mut build = Command::new(env!("CARGO"));
    build.args([
        "build",
        "--quiet",
        "--package",
        "engine",
        "--bin",
        "sekishod",
    ]);
    if dir.ends_with("release") {
        build.arg("--release");
    }
    let built = build.current_dir(env!("CARGO_MANIFEST_DIR")).status();
    assert!(built.expect("cargo starts").success(), "sekishod is built");
    dir.join("sekishod")
}

/// All are held until the last is known, so that none comes twice.
fn free_ports<const N: usize>() -> [u16; N] {
    let held: [TcpListener; N] = std::array::from_fn(|_| {
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a free port")
    });
    held.map(|listener| listener.local_addr().expect("it is bound").port())
}

fn log_of(dir: &Path) -> String {
    fs::read_to_string(dir.join("daemon.log")).unwrap_or_default()
}
