//! Every key of the configuration with its default, range and unit: the one table that the reader, its messages, the
//! importer and the test of the sample walk. A key that is not here cannot be read, and one that is here and is not read
//! stops the tests.

use crate::model::{LogLevel, Masking, RecoveryMode, RouteBusy, SignOn};

/// A table of the file.
#[derive(Debug, PartialEq)]
pub struct Section {
    /// As in its header, `""` for the top level.
    pub path: &'static str,
    /// Its keys, in the order of the sample.
    pub keys: &'static [Key],
    /// Names of the tables it may hold.
    pub inside: &'static [&'static str],
}

/// One key.
#[derive(Debug, PartialEq)]
pub struct Key {
    /// As it is written, the unit last.
    pub name: &'static str,
    /// What it may hold.
    pub rule: Rule,
}

/// What a key may hold.
#[derive(Debug, PartialEq)]
pub enum Rule {
    /// A whole number within `min..=max`.
    Integer {
        /// When it is not given.
        default: Fallback<i64>,
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
        /// What is counted.
        unit: &'static str,
    },
    /// `true` or `false`.
    Flag {
        /// When it is not given.
        default: bool,
    },
    /// One word of a list.
    Choice {
        /// When it is not given.
        default: &'static str,
        /// The list.
        allowed: &'static [&'static str],
    },
    /// Letters, digits and the characters of `extra`, `min..=max` of them.
    Code {
        /// When it is not given.
        default: Fallback<&'static str>,
        /// Fewest.
        min: usize,
        /// Most.
        max: usize,
        /// What is allowed besides letters and digits.
        extra: &'static str,
    },
    /// Text with a meaning of its own, checked where it is used.
    Text {
        /// When it is not given.
        default: Fallback<&'static str>,
        /// What it is, as in "expected ...".
        about: &'static str,
    },
    /// A list of `address:port`.
    Addresses {
        /// When it is not given.
        default: &'static [&'static str],
    },
}

/// What holds when a key is not given.
#[derive(Debug, PartialEq)]
pub enum Fallback<T> {
    /// It must be given.
    Required,
    /// This value.
    Value(T),
    /// A value that follows from others, described here.
    Derived(&'static str),
}

impl Section {
    /// The section of this path.
    pub fn find(path: &str) -> &'static Section {
        SECTIONS
            .iter()
            .find(|section| section.path == path)
            .expect("sections are asked for by the names of this table")
    }

    /// The key of this name, if the section has it.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

const fn integer(name: &'static str, default: i64, min: i64, max: i64, unit: &'static str) -> Key {
    assert!(min <= default && default <= max);
    Key {
        name,
        rule: Rule::Integer {
            default: Fallback::Value(default),
            min,
            max,
            unit,
        },
    }
}

const fn count(name: &'static str, default: Fallback<i64>, max: i64, unit: &'static str) -> Key {
    Key {
        name,
        rule: Rule::Integer {
            default,
            min: 1,
            max,
            unit,
        },
    }
}

const fn flag(name: &'static str, default: bool) -> Key {
    Key {
        name,
        rule: Rule::Flag { default },
    }
}

const fn choice(
    name: &'static str,
    default: &'static str,
    allowed: &'static [&'static str],
) -> Key {
    Key {
        name,
        rule: Rule::Choice { default, allowed },
    }
}

const fn code(
    name: &'static str,
    default: Fallback<&'static str>,
    min: usize,
    max: usize,
    extra: &'static str,
) -> Key {
    Key {
        name,
        rule: Rule::Code {
            default,
            min,
            max,
            extra,
        },
    }
}

const fn text(name: &'static str, default: &'static str, about: &'static str) -> Key {
    Key {
        name,
        rule: Rule::Text {
            default: Fallback::Value(default),
            about,
        },
    }
}

/// A waiting time: 10 ms to an hour.
const fn wait_ms(name: &'static str, default: i64) -> Key {
    integer(name, default, 10, 3_600_000, "ms")
}

/// The waiting times that the centre fixes for all (`spec/cafis.md 7`): a different value gets a warning.
pub const FIXED_BY_CENTRE: [&str; 5] = ["t31_ms", "t32_ms", "t33_ms", "t34_ms", "t35_ms"];

/// All sections, in the order of the sample.
pub const SECTIONS: [Section; 8] = [
    Section {
        path: "",
        inside: &["shard", "api", "journal", "recovery", "line"],
        keys: &[
            text("data_dir", "data", "a directory"),
            choice("log_level", "information", &LogLevel::NAMES),
            text("log_file", "", "a file, or \"\" for standard error"),
            choice("masking", "jcca", &Masking::NAMES),
        ],
    },
    Section {
        path: "shard",
        inside: &[],
        keys: &[
            integer("core", -1, -1, 1023, "core number, -1 for unpinned"),
            integer("spin_us", 50, 0, 10_000, "us"),
            integer("gather_us", 0, 0, 10_000, "us"),
        ],
    },
    Section {
        path: "api",
        inside: &[],
        keys: &[
            text(
                "tcp",
                "127.0.0.1:5000",
                "a loopback address and port, or \"\" for none",
            ),
            text("unix", "", "a path for a Unix socket, or \"\" for none"),
            Key {
                name: "default_line",
                rule: Rule::Text {
                    default: Fallback::Derived("the first line"),
                    about: "the name of a line",
                },
            },
            integer("max_links", 1024, 1, 65_536, "links"),
            integer("max_sessions", 4096, 1, 1_048_576, "sessions"),
            integer("credit", 256, 1, 65_536, "requests"),
            integer("resume_grace_ms", 5_000, 0, 3_600_000, "ms"),
            wait_ms("delivery_limit_ms", 60_000),
            wait_ms("event_receive_timeout_ms", 90_000),
            wait_ms("handshake_ms", 5_000),
            integer("event_queue", 256, 1, 65_536, "events"),
        ],
    },
    Section {
        path: "journal",
        inside: &[],
        keys: &[
            integer("segment_mib", 64, 16, 1024, "MiB"),
            integer("segments_min", 4, 2, 65_536, "segments"),
            integer("segments_max", 1024, 2, 65_536, "segments"),
            integer("retention_days", 7, 0, 3_650, "days"),
            integer("blocks_in_flight", 4, 1, 16, "blocks"),
            integer("block_kib_max", 256, 64, 1024, "KiB"),
            flag("sync", true),
            integer("reserve_percent", 10, 1, 50, "percent"),
        ],
    },
    Section {
        path: "recovery",
        inside: &[],
        keys: &[choice("mode", "automatic", &RecoveryMode::NAMES)],
    },
    Section {
        path: "line",
        inside: &["timers", "cascade"],
        keys: &[
            code("name", Fallback::Required, 1, 16, "_-"),
            count(
                "id",
                Fallback::Derived("its position in the file, from 1"),
                65_535,
                "line number",
            ),
            integer("shard", 0, 0, 1023, "shard number"),
            code("company", Fallback::Required, 1, 7, ""),
            code("sub", Fallback::Value("0000"), 4, 4, ""),
            Key {
                name: "listen",
                rule: Rule::Addresses {
                    default: &["0.0.0.0:2010"],
                },
            },
            count("accept_count", Fallback::Required, 10, "sessions"),
            count("route_count", Fallback::Required, 189, "routes"),
            flag("keepalive", false),
            integer("keepalive_idle_s", 40, 1, 3_600, "s"),
            integer("keepalive_interval_s", 6, 1, 3_600, "s"),
            integer("keepalive_count", 8, 1, 127, "probes"),
            choice("sign_on", "command", &SignOn::NAMES),
            choice("route_busy", "error_reply", &RouteBusy::NAMES),
            flag("auto_reply", false),
            flag("line_check", false),
        ],
    },
    Section {
        path: "line.timers",
        inside: &[],
        keys: &[
            wait_ms("t31_ms", 58_000),
            wait_ms("t32_ms", 58_000),
            wait_ms("t33_ms", 30_000),
            wait_ms("t34_ms", 30_000),
            wait_ms("t35_ms", 750_000),
            wait_ms("t36_ms", 60_000),
            wait_ms("t13_ms", 55_000),
            wait_ms("follow_on_ms", 60_000),
        ],
    },
    Section {
        path: "line.cascade",
        inside: &[],
        keys: &[
            flag("automatic", true),
            integer("sends_automatic", 6, 1, 100, "messages"),
            integer("sends_ordered", 5, 1, 100, "messages"),
            integer("c33_repeats", 1, 0, 100, "messages"),
            wait_ms("retry_delay_ms", 60_000),
            wait_ms("probe_interval_ms", 60_000),
            integer("hold_alarm_percent", 50, 1, 100, "percent"),
            flag("id_cascade", true),
        ],
    },
];
