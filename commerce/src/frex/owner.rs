//! The name of a worker in the lease, from which another one on the same machine can tell that its process is gone.

use std::fs;
use std::io::ErrorKind;

/// A process, as `host:pid:start:life`. `start` is when it began, in ticks since the machine did; `life` names this start of
/// the machine and the space of process numbers, so that a container is not taken for its neighbour.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Owner {
    host: String,
    pid: u32,
    start: u64,
    life: String,
}

/// The name of this process; without what tells whether it lives where the system does not say that.
#[must_use]
pub fn name() -> String {
    let pid = std::process::id();
    match (life(), start_of(pid)) {
        (Some(life), Some(start)) => format!("{}:{pid}:{start}:{life}", host()),
        _ => format!("{}:{pid}", host()),
    }
}

/// Whether the process of this name ran here and is gone. `false` if that cannot be told.
#[must_use]
pub fn is_gone(name: &str) -> bool {
    let (Some(owner), Some(life)) = (parse(name), life()) else {
        return false;
    };
    if owner.host != host() || owner.life != life {
        return false;
    }
    match fs::read_to_string(format!("/proc/{}/stat", owner.pid)) {
        Ok(stat) => match start_in(&stat) {
            Stat::Runs(start) => start != owner.start,
            Stat::Ended => true,
            Stat::Unreadable => false,
        },
        // Where processes of other users are hidden, one that lives looks missing too; the first process is always there.
        Err(error) if error.kind() == ErrorKind::NotFound => {
            fs::exists("/proc/1/stat").unwrap_or(false) && start_of(std::process::id()).is_some()
        }
        Err(_) => false,
    }
}

/// What the system says about a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stat {
    /// It runs, since this tick.
    Runs(u64),
    /// It ended and only waits to be fetched.
    Ended,
    /// Not what a `stat` looks like.
    Unreadable,
}

fn parse(name: &str) -> Option<Owner> {
    let mut parts = name.rsplitn(4, ':');
    let life = parts.next()?.to_owned();
    let start = parts.next()?.parse().ok()?;
    let pid = parts.next()?.parse().ok()?;
    let host = parts.next()?.to_owned();
    Some(Owner {
        host,
        pid,
        start,
        life,
    })
}

fn host() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname");
    host.map_or_else(|_| "host".to_owned(), |name| name.trim().to_owned())
}

/// This start of the machine and this space of process numbers.
fn life() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let space = fs::read_link("/proc/self/ns/pid").ok()?;
    let space = space.to_str()?;
    let digits: String = space.chars().filter(char::is_ascii_digit).collect();
    Some(format!("{}-{digits}", boot.trim().split('-').next()?))
}

/// When a process began, if it runs and its `stat` can be read.
fn start_of(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    match start_in(&stat) {
        Stat::Runs(start) => Some(start),
        Stat::Ended | Stat::Unreadable => None,
    }
}

/// Fields 22 and 3 of a `stat`, counted behind the name in brackets, which may hold anything.
fn start_in(stat: &str) -> Stat {
    let Some((_, fields)) = stat.rsplit_once(')') else {
        return Stat::Unreadable;
    };
    let mut fields = fields.split_ascii_whitespace();
    match fields.next() {
        Some("Z" | "X") => Stat::Ended,
        Some(_) => match fields.nth(18).and_then(|start| start.parse().ok()) {
            Some(start) => Stat::Runs(start),
            None => Stat::Unreadable,
        },
        None => Stat::Unreadable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process that runs is there, one that ended or whose number another one has is gone, and of others nothing is said.
    #[test]
    fn who_is_gone() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .expect("sleep is there");
        let start = start_of(child.id()).expect("it runs");
        let life = life().expect("this system says so");
        let named = |start: u64| format!("{}:{}:{start}:{life}", host(), child.id());
        let (itself, other) = (named(start), named(start + 1));
        assert!(!is_gone(&name()));
        assert!(!is_gone(&itself));
        assert!(is_gone(&other), "the number is another process's");
        child.kill().expect("it is ours");
        while !is_gone(&itself) {
            // Killed and not fetched yet: it has a moment to end.
            std::thread::yield_now();
        }
        child.wait().expect("it ended");
        assert!(is_gone(&itself));
        for stat in [
            "",
            "1 (x",
            "1 (x) S 1 2",
            "1 (x) S 1 1 1 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 soon",
        ] {
            assert_eq!(
                start_in(stat),
                Stat::Unreadable,
                "{stat}: nothing follows from it"
            );
        }
        let elsewhere = itself.replace(&host(), "elsewhere");
        let before = itself.replace(&life, "00000000-1");
        for name in [&elsewhere, &before, "load-7", "host:7", ""] {
            assert!(!is_gone(name), "{name}");
        }
    }
}
