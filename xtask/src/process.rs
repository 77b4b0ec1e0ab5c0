//! Processes that a task starts: their output, their end, and what processor time they took.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::Failure;

/// How often a process is asked whether it has ended.
const POLL: Duration = Duration::from_millis(50);
/// How long a process may take to end after it was asked to.
pub const END_MAX: Duration = Duration::from_secs(20);
/// Lines of a log that a failure shows.
const TAIL: usize = 12;

/// Ids of the processes that run; they end with the task, whatever ends it.
static RUNNING: Mutex<Vec<u32>> = Mutex::new(Vec::new());

fn running() -> std::sync::MutexGuard<'static, Vec<u32>> {
    // A panic elsewhere leaves the list as it is, and it is still right.
    RUNNING
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Sends a signal by the shell's own `kill`, which every system has.
fn signal(name: &str, id: u32) {
    // A process that is gone already is what was wanted.
    let _ = Command::new("sh")
        .args([
            "-c",
            "kill -s \"$0\" \"$1\" 2>/dev/null",
            name,
            &id.to_string(),
        ])
        .status();
}

/// Ends every process that still runs.
pub fn end_all() {
    for id in running().drain(..) {
        signal("KILL", id);
    }
}

/// From now on an interrupt ends the processes first and the task after them.
///
/// # Errors
/// The handlers cannot be made.
pub fn end_all_on_signals() -> Result<(), Failure> {
    let handlers = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP]);
    let mut signals = handlers.map_err(|error| format!("no signal handlers: {error}"))?;
    std::thread::spawn(move || {
        if let Some(number) = signals.forever().next() {
            end_all();
            std::process::exit(128 + number);
        }
    });
    Ok(())
}

/// How to start a process.
pub struct Start<'a> {
    /// What messages call it.
    pub name: &'a str,
    /// The program.
    pub program: &'a Path,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// The core it and all its threads are kept on.
    pub core: Option<usize>,
    /// Where its standard error and a copy of its standard output go.
    pub log: PathBuf,
    /// Puts its standard output on the screen as well, each line behind this.
    pub show: Option<&'static str>,
}

/// A process that runs. Dropping it kills it.
pub struct Process {
    name: String,
    child: Child,
    lines: Receiver<String>,
    log: PathBuf,
}

impl Process {
    /// Starts it, with as many descriptors as the system allows.
    ///
    /// # Errors
    /// It cannot be started, or `taskset` is missing.
    pub fn start(start: Start<'_>) -> Result<Process, Failure> {
        let Start {
            name,
            program,
            args,
            core,
            log,
            show,
        } = start;
        let fail = |error: std::io::Error| format!("{name} cannot be started: {error}");
        let errors = File::create(&log).map_err(fail)?;
        let copy = errors.try_clone().map_err(fail)?;
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -S -n \"$(ulimit -H -n)\"; exec \"$@\"", "sh"]);
        if let Some(core) = core {
            if crate::build::on_path("taskset").is_none() {
                return Err(
                    "there is no `taskset` to keep processes on a core: apt-get install util-linux"
                        .into(),
                );
            }
            command.args(["taskset", "-c", &core.to_string()]);
        }
        command
            .arg(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors);
        let mut child = command.spawn().map_err(fail)?;
        running().push(child.id());
        let Some(output) = child.stdout.take() else {
            unreachable!("its standard output is a pipe");
        };
        let (to, lines) = channel();
        std::thread::spawn(move || pass_on(output, copy, show, &to));
        Ok(Process {
            name: name.to_owned(),
            child,
            lines,
            log,
        })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended.
    pub fn alive(&self) -> bool {
        state(self.id()).is_some_and(|state| state != 'Z')
    }

    /// Waits for the first line of its output that begins with `start`; gives what follows it.
    ///
    /// # Errors
    /// It ended, or did not say so within `limit`; the end of its log is shown.
    pub fn wait_for(&self, start: &str, limit: Duration) -> Result<String, Failure> {
        let end = Instant::now() + limit;
        loop {
            match self
                .lines
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(line) => {
                    if let Some(rest) = line.strip_prefix(start) {
                        return Ok(rest.trim().to_owned());
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    return Err(self.failed(&format!(
                        "did not say `{start}` within {} s",
                        limit.as_secs()
                    )));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(self.failed("ended at its start"));
                }
            }
        }
    }

    /// A failure of this process, with the end of its log.
    pub fn failed(&self, what: &str) -> Failure {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let tail = &lines[lines.len().saturating_sub(TAIL)..];
        format!(
            "{} {what}; the end of {}:\n  {}",
            self.name,
            self.log.display(),
            tail.join("\n  ")
        )
    }

    /// Waits until it ends by itself; gives how, and the processor time it took in nanoseconds.
    ///
    /// # Errors
    /// It runs longer than `limit`; it is killed then.
    pub fn wait(mut self, limit: Duration) -> Result<(ExitStatus, u64), Failure> {
        let end = Instant::now() + limit;
        while self.alive() {
            if Instant::now() >= end {
                return Err(self.failed(&format!(
                    "still ran after {} s and was killed",
                    limit.as_secs()
                )));
            }
            std::thread::sleep(POLL);
        }
        // Only now, before it is reaped, does it stand still with all its time on it.
        let cpu_ns = cpu_ns(self.id());
        let status = self
            .child
            .wait()
            .map_err(|error| format!("{}: {error}", self.name))?;
        running().retain(|id| *id != self.child.id());
        Ok((status, cpu_ns))
    }

    /// Kills it, as a crash would: it has no time for anything.
    ///
    /// # Errors
    /// It had ended before.
    pub fn crash(self) -> Result<(), Failure> {
        if !self.alive() {
            return Err(self.failed("had ended before its time"));
        }
        // Dropping it does.
        Ok(())
    }

    /// Asks it to end by SIGTERM and waits until it has.
    ///
    /// # Errors
    /// It had ended before, ends with a failure, or does not end within `limit` and is killed.
    pub fn end(self, limit: Duration) -> Result<(), Failure> {
        if !self.alive() {
            return Err(self.failed("had ended before its time"));
        }
        signal("TERM", self.id());
        let (name, log) = (self.name.clone(), self.log.clone());
        let (status, _) = self.wait(limit)?;
        let by_signal = std::os::unix::process::ExitStatusExt::signal(&status) == Some(SIGTERM);
        if status.success() || by_signal {
            Ok(())
        } else {
            Err(format!("{name} ended with {status}; see {}", log.display()))
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only for one that has ended and was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
        running().retain(|id| *id != self.child.id());
    }
}

/// Copies a process's output to its log, to the screen, and to whoever waits for a line.
fn pass_on(output: ChildStdout, mut copy: File, show: Option<&'static str>, to: &Sender<String>) {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        if let Some(before) = show {
            println!("{before}{line}");
        }
        let _ = writeln!(copy, "{line}");
        // Most lines are waited for by nobody.
        let _ = to.send(line);
    }
}

/// The state letter of a process; nothing once it is reaped.
fn state(id: u32) -> Option<char> {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    text.rsplit_once(") ")?.1.chars().next()
}

/// Nanoseconds that all threads of a process have run, the threads that ended while it ran left out.
pub fn cpu_ns(id: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{id}/task"));
    let tasks = tasks.into_iter().flatten().flatten();
    tasks
        .filter_map(|task| task_ns(&task.path().join("schedstat")))
        .sum()
}

/// The running time in a `schedstat` file, its first number.
pub fn task_ns(file: &Path) -> Option<u64> {
    fs::read_to_string(file)
        .ok()?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

/// Words as arguments.
pub fn words<const N: usize>(words: [&dyn AsRef<OsStr>; N]) -> Vec<OsString> {
    words.iter().map(|word| word.as_ref().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shell that runs a script.
    fn shell(name: &str, script: &str) -> Process {
        let log = std::env::temp_dir().join(format!("xtask-{}-{name}.log", std::process::id()));
        let args = words([&"-c", &script]);
        let start = Start {
            name,
            program: Path::new("/bin/sh"),
            args,
            core: None,
            log,
            show: None,
        };
        Process::start(start).expect("a shell")
    }

    /// A line of output is waited for, a process ends when it is asked to, and its time is known when it has.
    #[test]
    fn a_process_speaks_and_ends() {
        let speaker = shell("speaker", "echo port 12; exec sleep 60");
        assert_eq!(speaker.wait_for("port ", END_MAX), Ok("12".to_owned()));
        assert!(speaker.alive());
        assert_eq!(speaker.end(END_MAX), Ok(()));
        let (status, cpu_ns) = shell("worker", "exit 3").wait(END_MAX).expect("it ends");
        assert_eq!(status.code(), Some(3));
        assert!(cpu_ns > 0);
    }

    /// What ends too early or too late is named, with the end of what it wrote; the late one is killed.
    #[test]
    fn failures_are_named() {
        let early = shell("early", "echo no disk >&2; exit 1");
        let failure = early.wait_for("ready", END_MAX).expect_err("it ended");
        assert!(
            failure.contains("early ended at its start") && failure.contains("no disk"),
            "{failure}"
        );
        let late = shell("late", "exec sleep 60");
        let id = late.id();
        let failure = late
            .wait(Duration::from_millis(100))
            .expect_err("it sleeps");
        assert!(failure.contains("late still ran"), "{failure}");
        assert_eq!(state(id), None, "it was killed and reaped");
    }
}
