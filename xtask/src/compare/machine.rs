//! The machine's own books of processor time, read from /proc.

use std::collections::HashMap;
use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::process::{cpu_ns, task_ns};

/// Nanoseconds of a tick of /proc/stat (USER_HZ is 100 on every Linux that we run on).
const TICK_NS: u64 = 10_000_000;

/// What the figures were measured on.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    cpu: String,
    cores: usize,
    kernel: String,
    commit: String,
    seconds_since_1970: u64,
}

impl Machine {
    /// This machine, now.
    pub fn here() -> Machine {
        let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpus
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Machine {
            cpu: model.map_or_else(String::new, |(_, name)| name.to_owned()),
            cores: cores(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
                .unwrap_or_default()
                .trim()
                .to_owned(),
            commit: commit(),
            seconds_since_1970: now.map_or(0, |since| since.as_secs()),
        }
    }
}

/// The commit that is checked out; empty outside of a repository.
fn commit() -> String {
    let mut git = Command::new("git");
    let output = git
        .current_dir(crate::build::root())
        .args(["describe", "--always", "--dirty"])
        .output();
    output.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

/// Cores that are online.
pub fn cores() -> usize {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let core = |line: &&str| line.starts_with("cpu") && !line.starts_with("cpu ");
    stat.lines().filter(core).count().max(1)
}

/// Nanoseconds that all cores together were idle since boot. Idle time is clocked, not sampled, so what is left of the
/// wall time is busy to the tick.
fn idle_ns() -> u64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields: Vec<u64> = stat
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .map_while(|field| field.parse().ok())
        .collect();
    // Idle, and idle with a disk request outstanding.
    fields.iter().skip(3).take(2).sum::<u64>() * TICK_NS
}

/// The running time of each thread of the kernel's own.
fn kernel_threads() -> HashMap<u32, u64> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let kernel = ids.filter(|id| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // State, then the parent: 2 is kthreadd.
        stat.rsplit_once(") ")
            .and_then(|(_, rest)| rest.split(' ').nth(1))
            == Some("2")
    });
    kernel
        .filter_map(|id| Some((id, task_ns(format!("/proc/{id}/schedstat").as_ref())?)))
        .collect()
}

/// Processor time over a stretch of time, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Used {
    /// How long the stretch was.
    pub wall_ns: u64,
    /// By the process in the middle.
    pub middle_ns: u64,
    /// By the far end, which is part of the load.
    pub far_ns: u64,
    /// By this task itself.
    pub own_ns: u64,
    /// By the kernel's threads.
    pub kernel_ns: u64,
    /// By anything at all, interrupts included.
    pub busy_ns: u64,
}

impl Used {
    /// What the machine was busy with besides the measuring itself and the far end.
    pub fn rest_ns(&self) -> u64 {
        self.busy_ns.saturating_sub(self.own_ns + self.far_ns)
    }

    /// The share of all cores' time that was busy for anything but the measuring itself and the far end, which may poll.
    pub fn idle_share(&self) -> f64 {
        self.rest_ns() as f64 / (self.wall_ns * cores() as u64).max(1) as f64
    }
}

/// The start of a stretch.
pub struct Meter {
    middle: u32,
    far: u32,
    start: Instant,
    middle_ns: u64,
    far_ns: u64,
    own_ns: u64,
    idle_ns: u64,
    kernel: HashMap<u32, u64>,
}

impl Meter {
    /// Begins to measure the process in the middle and the one at the far end.
    pub fn start(middle: u32, far: u32) -> Meter {
        Meter {
            middle,
            far,
            kernel: kernel_threads(),
            start: Instant::now(),
            middle_ns: cpu_ns(middle),
            far_ns: cpu_ns(far),
            own_ns: cpu_ns(std::process::id()),
            idle_ns: idle_ns(),
        }
    }

    /// Ends the stretch.
    pub fn stop(self) -> Used {
        let wall_ns = self.start.elapsed().as_nanos() as u64;
        let idle = idle_ns() - self.idle_ns;
        let own_ns = cpu_ns(std::process::id()).saturating_sub(self.own_ns);
        let kernel = kernel_threads();
        let grown = kernel
            .iter()
            .map(|(id, ns)| ns.saturating_sub(*self.kernel.get(id).unwrap_or(&0)));
        Used {
            wall_ns,
            middle_ns: cpu_ns(self.middle) - self.middle_ns,
            far_ns: cpu_ns(self.far) - self.far_ns,
            own_ns,
            kernel_ns: grown.sum(),
            busy_ns: (wall_ns * cores() as u64).saturating_sub(idle),
        }
    }
}

/// Measures a stretch in which nothing is asked of anybody.
pub fn baseline(middle: u32, far: u32, time: Duration) -> Used {
    let meter = Meter::start(middle, far);
    sleep(time);
    meter.stop()
}
