//! A place to run the daemon in: a fresh directory on the disk, a configuration with free ports, and the start of the
//! daemon and of a simulated centre that goes with it.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::Failure;
use crate::build::{self, Programs};
use crate::ports;
use crate::process::{Process, Start, words};

/// How long the daemon may take until it listens: it writes its first segments full of zeros.
const START_MAX: Duration = Duration::from_secs(60);
/// How long the centre may take until all sessions are up.
const SESSIONS_MAX: Duration = Duration::from_secs(60);

/// What a configuration says where it departs from the defaults.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Lines, named by [`Site::line_name`].
    pub lines: usize,
    /// Sessions of each with the centre.
    pub sessions: usize,
    /// Routes of each.
    pub routes: usize,
    /// Days that a closed segment of the journal is kept; 0: it is used again at once.
    pub retention_days: u32,
    /// Writes are durable.
    pub sync: bool,
    /// How long the shard polls before it sleeps.
    pub spin_us: u32,
    /// How long it gathers work before it wakes.
    pub gather_us: u32,
    /// The core that the shard pins itself to.
    pub core: Option<usize>,
    /// Links and API sessions that are let in.
    pub links_max: usize,
    /// API sessions.
    pub api_sessions_max: usize,
    /// Requests that a link may have outstanding.
    pub credit: usize,
    /// Lines of `[line.timers]`.
    pub timers: &'static str,
    /// Lines of `[line.cascade]`.
    pub cascade: &'static str,
}

impl Default for Plan {
    fn default() -> Self {
        Plan {
            lines: 1,
            sessions: 2,
            routes: 100,
            retention_days: 0,
            sync: true,
            spin_us: 50,
            gather_us: 0,
            core: None,
            links_max: 1024,
            api_sessions_max: 4096,
            credit: 256,
            timers: "",
            cascade: "",
        }
    }
}

/// A configured place.
#[derive(Clone, Debug)]
pub struct Site {
    dir: PathBuf,
    lines: usize,
    api: u16,
}

/// A directory under the target directory, empty. It is on the disk that holds the build, since a temporary directory may
/// be in memory, where O_DIRECT says nothing about a disk.
///
/// # Errors
/// It cannot be made.
pub fn fresh_dir(name: &str) -> Result<PathBuf, Failure> {
    let dir = build::target_dir().join(name);
    let fail = |error| format!("{}: {error}", dir.display());
    if dir.exists() {
        fs::remove_dir_all(&dir).map_err(fail)?;
    }
    fs::create_dir_all(&dir).map_err(fail)?;
    Ok(dir)
}

impl Site {
    /// Writes the configuration of a plan into a directory.
    ///
    /// # Errors
    /// There are no free ports, or the directory cannot be written.
    pub fn prepare(dir: &Path, plan: &Plan) -> Result<Site, Failure> {
        let ports = ports::free(plan.lines + 1)?;
        let (api, centres) = (ports[0], &ports[1..]);
        let site = Site {
            dir: dir.to_owned(),
            lines: plan.lines,
            api,
        };
        let text = configuration(&site, plan, centres);
        let fail = |error| format!("{}: {error}", dir.display());
        fs::create_dir_all(dir).map_err(fail)?;
        fs::write(site.config(), text).map_err(fail)?;
        Ok(site)
    }

    /// The configuration's file.
    pub fn config(&self) -> PathBuf {
        self.dir.join("sekisho.toml")
    }

    /// A file of this place.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The directory of the shards' journals.
    pub fn journal(&self) -> PathBuf {
        self.dir.join("data/journal")
    }

    /// The address of the API.
    pub fn api(&self) -> String {
        format!("127.0.0.1:{}", self.api)
    }

    /// The options with which `loadgen run` finds the daemon and all its lines.
    pub fn load_options(&self) -> Vec<std::ffi::OsString> {
        let (count, digits) = (self.lines.to_string(), digits(self.lines).to_string());
        words([
            &"--connect",
            &self.api(),
            &"--lines-prefix",
            &"L",
            &"--lines-count",
            &count,
            &"--lines-digits",
            &digits,
            &"--acquirer",
            &"TEST0010000",
        ])
    }

    /// Starts the daemon and waits until it serves applications.
    ///
    /// # Errors
    /// It cannot be started, ends, or does not listen in time.
    pub fn start_daemon(
        &self,
        programs: &Programs,
        core: Option<usize>,
    ) -> Result<Process, Failure> {
        let daemon = Process::start(Start {
            name: "sekishod",
            program: &programs.sekishod,
            args: words([&"--config", &self.config()]),
            core,
            log: self.file("sekishod.log"),
            show: None,
        })?;
        if ports::listening(self.api, START_MAX, || daemon.alive()) {
            Ok(daemon)
        } else if daemon.alive() {
            Err(daemon.failed(&format!("did not listen within {} s", START_MAX.as_secs())))
        } else {
            Err(daemon.failed("ended at its start"))
        }
    }

    /// Starts the centre that the lines belong to, and waits until all sessions are up. Gives also the address of its
    /// control port.
    ///
    /// # Errors
    /// It cannot be started, or its sessions are not up in time.
    pub fn start_centre(
        &self,
        programs: &Programs,
        core: Option<usize>,
        more: &[&str],
    ) -> Result<(Process, String), Failure> {
        let mut args = words([
            &"centre",
            &"cafis",
            &"--daemon",
            &self.config(),
            &"--control",
            &"127.0.0.1:0",
            &"--reconnect-ms",
            &"100",
        ]);
        args.extend(more.iter().map(Into::into));
        let centre = Process::start(Start {
            name: "the centre",
            program: &programs.loadgen,
            args,
            core,
            log: self.file("centre.log"),
            show: None,
        })?;
        let end = Instant::now() + SESSIONS_MAX;
        let control = centre.wait_for("control ", SESSIONS_MAX)?;
        centre.wait_for("ready", end.saturating_duration_since(Instant::now()))?;
        Ok((centre, control))
    }
}

/// Digits of the lines' numbers.
fn digits(lines: usize) -> usize {
    lines.to_string().len()
}

/// The whole text of a configuration.
fn configuration(site: &Site, plan: &Plan, centres: &[u16]) -> String {
    let mut text = String::new();
    let core = plan.core.map_or(-1, |core| core as i64);
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "# Made by cargo xtask. Codes and card numbers are invented.\n\n[[shard]]\ncore = {core}\nspin_us = {}\ngather_us = {}\n\n[api]\n\
         tcp = \"{}\"\nmax_links = {}\nmax_sessions = {}\ncredit = {}\n\n[journal]\nretention_days = {}\nsync = {}\n",
        plan.spin_us,
        plan.gather_us,
        site.api(),
        plan.links_max,
        plan.api_sessions_max,
        plan.credit,
        plan.retention_days,
        plan.sync,
    );
    let digits = digits(plan.lines);
    for (at, port) in centres.iter().enumerate() {
        let _ = writeln!(
            text,
            "[[line]]\nname = \"L{:0digits$}\"\ncompany = \"TEST001\"\nlisten = [\"127.0.0.1:{port}\"]\n\
             accept_count = {}\nroute_count = {}\nsign_on = \"automatic\"\n",
            at + 1,
            plan.sessions,
            plan.routes,
        );
        for (table, lines) in [("timers", plan.timers), ("cascade", plan.cascade)] {
            if !lines.is_empty() {
                let _ = writeln!(text, "[line.{table}]\n{lines}\n");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The daemon takes the configurations that are made here, the largest included.
    #[test]
    fn configurations_are_good() {
        let large = Plan {
            lines: 1000,
            sessions: 1,
            routes: 8,
            links_max: 1064,
            ..Plan::default()
        };
        let timed = Plan {
            core: Some(0),
            sync: false,
            timers: "t31_ms = 3000",
            cascade: "probe_interval_ms = 1000",
            ..Plan::default()
        };
        for plan in [Plan::default(), large, timed] {
            let site = Site {
                dir: PathBuf::new(),
                lines: plan.lines,
                api: 20_000,
            };
            let centres: Vec<u16> = (0..plan.lines as u16).map(|line| 20_001 + line).collect();
            let text = configuration(&site, &plan, &centres);
            let loaded = config::Config::parse(&text, Path::new("/"), "sekisho.toml");
            let loaded = loaded.unwrap_or_else(|problems| panic!("{problems:?}"));
            assert_eq!(loaded.config.lines.len(), plan.lines);
        }
    }
}
