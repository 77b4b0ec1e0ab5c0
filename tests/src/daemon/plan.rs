//! Generated configurations: what a test does not set has a value that suits tests.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use client::Endpoint;
use loadgen::centre::config::company_code;
use loadgen::centre::{Centre, CentreConfig, Handle, LineConfig, Timers};

/// Keys of all lines and of the daemon that differ from the defaults; each is `table.key`, a TOML value behind it.
const DEFAULTS: [(&str, &str); 21] = [
    ("data_dir", "\"data\""),
    ("log_level", "\"debug\""),
    ("shard.spin_us", "0"),
    ("api.resume_grace_ms", "300"),
    ("api.delivery_limit_ms", "20000"),
    ("api.handshake_ms", "3000"),
    ("journal.segment_mib", "16"),
    ("journal.segments_min", "2"),
    ("journal.segments_max", "256"),
    ("line.accept_count", "2"),
    ("line.route_count", "8"),
    ("line.sign_on", "\"automatic\""),
    ("line.timers.t31_ms", "20000"),
    ("line.timers.t32_ms", "20000"),
    ("line.timers.t34_ms", "5000"),
    ("line.timers.t35_ms", "5000"),
    ("line.timers.t36_ms", "100"),
    ("line.timers.follow_on_ms", "20000"),
    ("line.cascade.retry_delay_ms", "150"),
    ("line.cascade.probe_interval_ms", "200"),
    ("line.cascade.automatic", "true"),
];

/// A line of a plan.
#[derive(Clone, Debug)]
pub struct PlanLine {
    /// Connection code.
    pub name: String,
    /// Where the daemon waits for the centre.
    pub port: u16,
    /// The shard that owns it.
    pub shard: usize,
    /// Company code, seven characters; the sub code is 0000.
    pub company: String,
}

/// A configuration, and the directory that it and its daemon work in.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The directory, emptied when the plan is made, and removed with it unless the test has failed.
    pub dir: PathBuf,
    /// The API port of shard 0; shard n has this plus n.
    pub api_port: u16,
    /// How many shards.
    pub shards: usize,
    /// The lines.
    pub lines: Vec<PlanLine>,
    keys: BTreeMap<String, String>,
    _scratch: Arc<Scratch>,
}

/// The directory goes with the last plan that works in it; after a failed test it stays, to be looked at.
#[derive(Debug)]
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // What cannot be removed is removed with the target directory.
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

impl Plan {
    /// A plan with one line, in a directory of its own under `root`, the `CARGO_TARGET_TMPDIR` of the test.
    ///
    /// # Panics
    /// If the directory cannot be made.
    pub fn new(root: &str, name: &str) -> Plan {
        let dir = Path::new(root).join(format!("daemon-{name}-{}", std::process::id()));
        // What an earlier run with the same process number left.
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).expect("a directory for the test");
        let keys = DEFAULTS.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let mut plan = Plan {
            _scratch: Arc::new(Scratch(dir.clone())),
            dir,
            api_port: free_ports(4),
            shards: 1,
            lines: Vec::new(),
            keys: keys.into(),
        };
        plan.add_line(0);
        plan
    }

    /// Adds a line on a shard; its name is `line-` and its number from 1.
    pub fn add_line(&mut self, shard: usize) {
        let number = self.lines.len() + 1;
        self.lines.push(PlanLine {
            name: format!("line-{number}"),
            port: free_ports(1),
            shard,
            company: format!("TEST{number:03}"),
        });
    }

    /// Sets a key: `api.credit`, `line.timers.t31_ms`, or of the file's top, `masking`. Keys of lines are for all lines.
    pub fn set(&mut self, key: &str, value: impl Display) -> &mut Plan {
        self.keys.insert(key.to_owned(), value.to_string());
        self
    }

    /// The configuration file, written anew.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn write(&self) -> PathBuf {
        let path = self.dir.join("sekisho.toml");
        std::fs::write(&path, self.text()).expect("the configuration can be written");
        path
    }

    fn text(&self) -> String {
        let mut text = String::new();
        self.table("", &mut text);
        for _ in 0..self.shards {
            text.push_str("\n[[shard]]\n");
            self.table("shard", &mut text);
        }
        text.push_str("\n[api]\n");
        if !self.keys.contains_key("api.tcp") {
            let _ = writeln!(text, "tcp = \"127.0.0.1:{}\"", self.api_port);
        }
        self.table("api", &mut text);
        for table in ["journal", "recovery"] {
            let _ = write!(text, "\n[{table}]\n");
            self.table(table, &mut text);
        }
        for line in &self.lines {
            let _ = write!(
                text,
                "\n[[line]]\nname = \"{}\"\nshard = {}\ncompany = \"{}\"\nlisten = [\"127.0.0.1:{}\"]\n",
                line.name, line.shard, line.company, line.port
            );
            self.table("line", &mut text);
            for table in ["timers", "cascade"] {
                let _ = writeln!(text, "[line.{table}]");
                self.table(&format!("line.{table}"), &mut text);
            }
        }
        text
    }

    /// The keys of one table; the name is empty for the file's top.
    fn table(&self, name: &str, text: &mut String) {
        for (key, value) in &self.keys {
            let (table, key) = key.rsplit_once('.').unwrap_or(("", key));
            if table == name {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{key} = {value}");
            }
        }
    }

    /// The number that a key has.
    ///
    /// # Panics
    /// If it has none.
    pub fn number(&self, key: &str) -> u64 {
        self.keys[key].parse().expect("a number")
    }

    /// Where applications find shard 0.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint::tcp("127.0.0.1", self.api_port)
    }

    /// Where the centre finds a line.
    pub fn centre_address(&self, line: usize) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.lines[line].port).into()
    }

    /// The journals' directory.
    pub fn journal(&self) -> PathBuf {
        self.dir.join("data/journal")
    }

    /// The segments of a shard that were begun, rising.
    ///
    /// # Panics
    /// If the journal's directory cannot be read.
    pub fn segments(&self, shard: usize) -> Vec<PathBuf> {
        let prefix = format!("journal-{shard}-");
        let entries = std::fs::read_dir(self.journal()).expect("the journal's directory");
        let mut found: Vec<PathBuf> = entries
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                name.starts_with(&prefix) && name.ends_with(".seg")
            })
            .collect();
        found.sort();
        found
    }

    /// The centre of all lines, for a test to change before it starts it. It connects again quickly.
    ///
    /// # Panics
    /// If a company code is none.
    pub fn centre_config(&self) -> CentreConfig {
        let lines = self.lines.iter().enumerate().map(|(at, line)| LineConfig {
            name: line.name.clone(),
            gateways: vec![self.centre_address(at)],
            sessions: self.number("line.accept_count") as usize,
            company: company_code(&line.company, "0000").expect("a company code"),
            x2: b'1',
            routes: self.number("line.route_count") as u16,
        });
        CentreConfig {
            lines: lines.collect(),
            timers: Timers {
                reconnect_ms: 30,
                reconnect_count: 1_000,
                reconnect_slow_ms: 30,
                reconnect_orderly_ms: 30,
                ..Timers::default()
            },
            ..CentreConfig::default()
        }
    }

    /// Starts the centre of all lines.
    ///
    /// # Panics
    /// If it cannot start.
    pub fn centre(&self) -> Handle {
        Centre::start_thread(self.centre_config()).expect("a centre")
    }
}

/// The first of so many neighbouring ports that nothing listens on. Below the ports that the system gives to outgoing
/// connections, so that no connection of this or another test takes one before the daemon does.
fn free_ports(count: u16) -> u16 {
    const FIRST: u16 = 12_000;
    const RANGE: u16 = 20_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test programs that run at the same time start at different places.
    let start = (std::process::id() % 400) as u16 * 50;
    let free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    for _ in 0..RANGE {
        let at = NEXT.fetch_add(count, Ordering::Relaxed);
        let first = FIRST + start.wrapping_add(at) % (RANGE - count);
        if (first..first + count).all(free) {
            return first;
        }
    }
    panic!("no {count} free ports beside each other");
}
