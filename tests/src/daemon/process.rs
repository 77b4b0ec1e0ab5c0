//! The daemon's process: built once, started, watched by its log, and ended by its number.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;

use super::{Plan, until};

/// What is built for the tests of this crate, in the profile of the tests themselves.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The daemon.
    pub sekishod: PathBuf,
    /// The operator's command.
    pub sekisho: PathBuf,
    /// The directory of `libfxapi.so`.
    pub library: PathBuf,
}

/// Builds the programs, once in each test program. Cargo does not by itself build the programs of other packages for a
/// test, and what lies there from an earlier build would be the wrong one.
///
/// # Panics
/// If they cannot be built.
pub fn programs() -> &'static Programs {
    static BUILT: OnceLock<Programs> = OnceLock::new();
    BUILT.get_or_init(|| {
        let test = std::env::current_exe().expect("the path of this test");
        let dir = test
            .parent()
            .and_then(Path::parent)
            .expect("<target>/<profile>/deps")
            .to_owned();
        let profile = match dir.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => "dev",
            Some(name) => name,
        };
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        let status = Command::new(cargo)
            .args(["build", "--quiet", "--profile", profile])
            .args([
                "--package",
                "engine",
                "--package",
                "cli",
                "--package",
                "fxapi",
                "--target-dir",
            ])
            .arg(dir.parent().expect("the target directory"))
            .arg("--manifest-path")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml"))
            .status()
            .expect("cargo runs");
        assert!(status.success(), "the daemon cannot be built");
        Programs {
            sekishod: dir.join("sekishod"),
            sekisho: dir.join("sekisho"),
            library: dir,
        }
    })
}

/// A daemon that runs, or has ended. Dropping it kills it; after a failed test its log is shown.
pub struct Daemon {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
    ended: Option<ExitStatus>,
}

impl Daemon {
    /// Starts the daemon of a plan, and waits until it is ready.
    pub fn start(plan: &Plan) -> Daemon {
        let daemon = Daemon::launch(plan);
        daemon.wait_log("is ready");
        daemon
    }

    /// Starts the daemon of a plan, and does not wait.
    pub fn launch(plan: &Plan) -> Daemon {
        let mut command = Command::new(&programs().sekishod);
        command.arg("--config").arg(plan.write());
        Daemon::spawn(command)
    }

    /// Starts a daemon as this command says.
    ///
    /// # Panics
    /// If the program cannot be started.
    pub fn spawn(mut command: Command) -> Daemon {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the daemon can be started");
        let log = child.stderr.take().expect("piped");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let into = lines.clone();
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(log).lines().map_while(Result::ok) {
                into.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(line);
            }
        });
        Daemon {
            child,
            lines,
            reader: Some(reader),
            ended: None,
        }
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The log so far.
    pub fn log(&self) -> Vec<String> {
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// How many lines of the log hold this text.
    pub fn count(&self, text: &str) -> usize {
        self.log().iter().filter(|line| line.contains(text)).count()
    }

    /// Waits for a line of the log that holds this text, and returns it.
    pub fn wait_log(&self, text: &str) -> String {
        self.wait_log_times(text, 1)
    }

    /// Waits until so many lines of the log hold this text, and returns the last.
    pub fn wait_log_times(&self, text: &str, times: usize) -> String {
        until(&format!("{times} lines of the log with '{text}'"), || {
            let log = self.log();
            log.iter()
                .filter(|line| line.contains(text))
                .nth(times - 1)
                .cloned()
        })
    }

    /// Kills it as `kill -9` does, and waits until it is gone.
    ///
    /// # Panics
    /// If the system does not let us.
    pub fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.ended = Some(self.child.wait().expect("it was started here"));
        self.join_reader();
    }

    /// Asks it to stop, as an operator's SIGTERM does.
    ///
    /// # Panics
    /// If the signal cannot be sent.
    pub fn terminate(&self) {
        let status = Command::new("kill")
            .arg("-TERM")
            .arg(self.pid().to_string())
            .status();
        assert!(
            status.expect("kill runs").success(),
            "the daemon was gone before SIGTERM"
        );
    }

    /// Waits until it has ended by itself; afterwards its log is whole.
    ///
    /// # Panics
    /// If it does not end.
    pub fn wait_end(&mut self) -> ExitStatus {
        if let Some(status) = self.ended {
            return status;
        }
        let child = &mut self.child;
        let status = until("the end of the daemon", || {
            child.try_wait().expect("it was started here")
        });
        self.ended = Some(status);
        self.join_reader();
        status
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.ended.is_none() && matches!(self.child.try_wait(), Ok(None))
    }

    fn join_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            // It only reads lines: it cannot fail.
            let _ = reader.join();
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.ended.is_none() {
            // It may have ended by itself a moment ago.
            let _ = self.child.kill();
            let _ = self.child.wait();
            self.join_reader();
        }
        if std::thread::panicking() {
            eprintln!("the daemon's log ({:?}):", self.ended);
            self.log().iter().for_each(|line| eprintln!("    {line}"));
        }
    }
}
