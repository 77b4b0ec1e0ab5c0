//! From tables to the types of `model`: one function for each section of `keys`, and the checks that concern a single
//! value. What concerns several is in `check`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeTable;

use crate::model::{
    Api, Cascade, Config, Journal, Keepalive, Line, LogLevel, Masking, Recovery, RecoveryMode,
    RouteBusy, Shard, SignOn, Timers,
};
use crate::read::{Reader, table, tables};
use crate::sink::Sink;

/// A table and the line of its header.
type Place<'a> = Option<(&'a DeTable<'a>, u32)>;

/// Reads the whole document. Where faults were found the result is only good for finding more of them.
pub(crate) fn config(document: &DeTable<'_>, base_dir: &Path, sink: &mut Sink) -> Config {
    let top = Some(document);
    let shards = shards(top, sink);
    let lines = lines(top, sink);
    let place = table(top, "api", sink);
    let api = api(place, base_dir, sink);
    let place = table(top, "journal", sink);
    let journal = journal(place, sink);
    let place = table(top, "recovery", sink);
    let recovery = recovery(place, sink);

    let mut reader = Reader::new("", "", Some((document, 0)), sink);
    let data_dir = reader.text("data_dir").unwrap_or_default();
    if data_dir.is_empty() {
        reader.bad(
            "data_dir",
            "\"\" is no directory".to_owned(),
            "Name a directory; the default is \"data\"",
        );
    }
    let mut config = Config {
        data_dir: base_dir.join(data_dir),
        log_level: reader.choice("log_level", &LogLevel::ALL),
        log_file: path_of(reader.text("log_file"), base_dir),
        masking: reader.choice("masking", &Masking::ALL),
        shards,
        api,
        journal,
        recovery,
        lines,
    };
    reader.finish();
    mark_default_line(&mut config);
    config
}

/// Decides the default line. A name that no line has is left for `check` to report.
fn mark_default_line(config: &mut Config) {
    if config.api.default_line.is_empty()
        && let Some(first) = config.lines.first()
    {
        config.api.default_line.clone_from(&first.name);
    }
    for line in &mut config.lines {
        line.default = line.name == config.api.default_line;
    }
}

fn shards(top: Option<&DeTable<'_>>, sink: &mut Sink) -> Vec<Shard> {
    let found = tables(top, "shard", sink);
    if found.is_empty() {
        return vec![shard(None, 0, sink)];
    }
    found
        .into_iter()
        .enumerate()
        .map(|(position, place)| shard(Some(place), position, sink))
        .collect()
}

fn shard(place: Place<'_>, position: usize, sink: &mut Sink) -> Shard {
    let mut reader = Reader::new("shard", &format!("shard.{position}"), place, sink);
    let core: i64 = reader.integer("core");
    let shard = Shard {
        core: usize::try_from(core).ok(),
        spin: Duration::from_micros(reader.integer("spin_us")),
        gather: Duration::from_micros(reader.integer("gather_us")),
    };
    reader.finish();
    shard
}

fn api(place: Place<'_>, base_dir: &Path, sink: &mut Sink) -> Api {
    let mut reader = Reader::new("api", "api", place, sink);
    let api = Api {
        tcp: loopback(&mut reader),
        unix: path_of(reader.text("unix"), base_dir),
        default_line: reader.text("default_line").unwrap_or_default(),
        max_links: reader.integer("max_links"),
        max_sessions: reader.integer("max_sessions"),
        credit: reader.integer("credit"),
        resume_grace: millis(&mut reader, "resume_grace_ms"),
        delivery_limit: millis(&mut reader, "delivery_limit_ms"),
        event_receive_timeout: millis(&mut reader, "event_receive_timeout_ms"),
        handshake: millis(&mut reader, "handshake_ms"),
        event_queue: reader.integer("event_queue"),
    };
    reader.finish();
    api
}

/// The API's TCP address, which must not be reachable from elsewhere.
fn loopback(reader: &mut Reader<'_>) -> Option<SocketAddr> {
    let text = reader.text("tcp")?;
    if text.is_empty() {
        return None;
    }
    let address = address(reader, "tcp", &text)?;
    if address.ip().is_loopback() {
        return Some(address);
    }
    let message = format!(
        "{address} is not a loopback address: without authentication only loopback and Unix sockets are served"
    );
    reader.bad(
        "tcp",
        message,
        format!("Write tcp = \"127.0.0.1:{}\"", address.port()),
    );
    None
}

fn journal(place: Place<'_>, sink: &mut Sink) -> Journal {
    let mut reader = Reader::new("journal", "journal", place, sink);
    let journal = Journal {
        segment_mib: reader.integer("segment_mib"),
        segments_min: reader.integer("segments_min"),
        segments_max: reader.integer("segments_max"),
        retention_days: reader.integer("retention_days"),
        blocks_in_flight: reader.integer("blocks_in_flight"),
        block_kib_max: reader.integer("block_kib_max"),
        sync: reader.flag("sync"),
        reserve_percent: reader.integer("reserve_percent"),
    };
    reader.finish();
    journal
}

fn recovery(place: Place<'_>, sink: &mut Sink) -> Recovery {
    let mut reader = Reader::new("recovery", "recovery", place, sink);
    let recovery = Recovery {
        mode: reader.choice("mode", &RecoveryMode::ALL),
    };
    reader.finish();
    recovery
}

fn lines(top: Option<&DeTable<'_>>, sink: &mut Sink) -> Vec<Line> {
    let found = tables(top, "line", sink);
    found
        .into_iter()
        .enumerate()
        .map(|(position, place)| line(place, position, sink))
        .collect()
}

fn line(place: (&DeTable<'_>, u32), position: usize, sink: &mut Sink) -> Line {
    let slot = format!("line.{position}");
    let inner = table(Some(place.0), "timers", sink);
    let timers = timers(inner, &slot, sink);
    let inner = table(Some(place.0), "cascade", sink);
    let cascade = cascade(inner, &slot, sink);

    let mut reader = Reader::new("line", &slot, Some(place), sink);
    let number = i64::try_from(position + 1).unwrap_or(i64::MAX);
    let line = Line {
        name: reader.code("name"),
        // A position beyond the range cannot be a number of its own: `check` finds it taken.
        id: reader.integer_or("id", |_| number.min(i64::from(u16::MAX))),
        shard: reader.integer("shard"),
        company: reader.code("company"),
        sub: reader.code("sub"),
        listen: listen(&mut reader),
        accept_count: reader.integer("accept_count"),
        route_count: reader.integer("route_count"),
        keepalive: keepalive(&mut reader),
        sign_on: reader.choice("sign_on", &SignOn::ALL),
        route_busy: reader.choice("route_busy", &RouteBusy::ALL),
        auto_reply: reader.flag("auto_reply"),
        line_check: reader.flag("line_check"),
        default: false,
        timers,
        cascade,
    };
    reader.finish();
    line
}

fn listen(reader: &mut Reader<'_>) -> Vec<SocketAddr> {
    let texts = reader.list("listen");
    texts
        .iter()
        .filter_map(|text| address(reader, "listen", text))
        .collect()
}

/// Keepalive as a whole: its numbers are checked even where it is off, so that switching it on holds no surprise.
fn keepalive(reader: &mut Reader<'_>) -> Option<Keepalive> {
    let on = reader.flag("keepalive");
    let idle: u64 = reader.integer("keepalive_idle_s");
    let interval: u64 = reader.integer("keepalive_interval_s");
    let count: u32 = reader.integer("keepalive_count");
    let product = interval * u64::from(count);
    if product < KEEPALIVE_S_MIN {
        let message = format!(
            "keepalive_interval_s {interval} x keepalive_count {count} = {product} s is less than {KEEPALIVE_S_MIN} s, which the centre asks for"
        );
        let needed = KEEPALIVE_S_MIN.div_ceil(interval.max(1));
        reader.bad(
            "keepalive_count",
            message,
            format!("With this interval give keepalive_count = {needed} or more"),
        );
    }
    let keepalive = Keepalive {
        idle: Duration::from_secs(idle),
        interval: Duration::from_secs(interval),
        count,
    };
    on.then_some(keepalive)
}

fn timers(place: Place<'_>, slot: &str, sink: &mut Sink) -> Timers {
    let mut reader = Reader::new("line.timers", &format!("{slot}.timers"), place, sink);
    let timers = Timers {
        t31: millis(&mut reader, "t31_ms"),
        t32: millis(&mut reader, "t32_ms"),
        t33: millis(&mut reader, "t33_ms"),
        t34: millis(&mut reader, "t34_ms"),
        t35: millis(&mut reader, "t35_ms"),
        t36: millis(&mut reader, "t36_ms"),
        t13: millis(&mut reader, "t13_ms"),
        follow_on: millis(&mut reader, "follow_on_ms"),
    };
    reader.finish();
    timers
}

fn cascade(place: Place<'_>, slot: &str, sink: &mut Sink) -> Cascade {
    let mut reader = Reader::new("line.cascade", &format!("{slot}.cascade"), place, sink);
    let cascade = Cascade {
        automatic: reader.flag("automatic"),
        sends_automatic: reader.integer("sends_automatic"),
        sends_ordered: reader.integer("sends_ordered"),
        c33_repeats: reader.integer("c33_repeats"),
        retry_delay: millis(&mut reader, "retry_delay_ms"),
        probe_interval: millis(&mut reader, "probe_interval_ms"),
        hold_alarm_percent: reader.integer("hold_alarm_percent"),
        id_cascade: reader.flag("id_cascade"),
    };
    reader.finish();
    cascade
}

fn millis(reader: &mut Reader<'_>, name: &'static str) -> Duration {
    Duration::from_millis(reader.integer(name))
}

/// A path relative to the directory of the file; none where it is empty.
fn path_of(text: Option<String>, base_dir: &Path) -> Option<PathBuf> {
    text.filter(|text| !text.is_empty())
        .map(|text| base_dir.join(text))
}

fn address(reader: &mut Reader<'_>, name: &'static str, text: &str) -> Option<SocketAddr> {
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() > 0 => Some(address),
        _ => {
            let message = format!(
                "\"{}\" is no IP address with a port 1..65535",
                text.escape_debug()
            );
            reader.bad(
                name,
                message,
                "Write address:port in numbers, e.g. \"127.0.0.1:5000\"",
            );
            None
        }
    }
}

/// What keepalive's interval x count must come to at least (`spec/cafis.md 5.1`).
const KEEPALIVE_S_MIN: u64 = 48;

impl Default for Shard {
    fn default() -> Self {
        shard(None, 0, &mut Sink::new("", ""))
    }
}

impl Default for Journal {
    fn default() -> Self {
        journal(None, &mut Sink::new("", ""))
    }
}

impl Default for Recovery {
    fn default() -> Self {
        recovery(None, &mut Sink::new("", ""))
    }
}

impl Default for Timers {
    fn default() -> Self {
        timers(None, "", &mut Sink::new("", ""))
    }
}

impl Default for Cascade {
    fn default() -> Self {
        cascade(None, "", &mut Sink::new("", ""))
    }
}
