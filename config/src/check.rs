//! Relations between values: what is right by itself and wrong together. Each check names the key to change.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::keys::{FIXED_BY_CENTRE, Fallback, Rule, Section};
use crate::model::{Config, Line, Timers};
use crate::sink::Sink;

/// Bytes of one open transaction in a checkpoint, at most: its fault image and what recovery must know of it.
const CHECKPOINT_BYTES_PER_TRANSACTION: u64 = 1280;
/// A route of either direction may hold a transaction.
const TRANSACTIONS_PER_ROUTE_COUNT: u64 = 2;
/// Bytes of a Unix socket's path at most: `sockaddr_un` has room for 108 with the final zero.
const UNIX_PATH_BYTES_MAX: usize = 107;

/// Runs every check. The lists it is given may be empty where their reading failed.
pub(crate) fn relations(config: &Config, sink: &mut Sink) {
    lines_are_there(config, sink);
    unique(config, sink, "name", |line| {
        (!line.name.is_empty()).then(|| line.name.clone())
    });
    unique(config, sink, "id", |line| Some(line.id));
    shards(config, sink);
    api(config, sink);
    addresses(config, sink);
    journal(config, sink);
    checkpoint(config, sink);
    originators(config, sink);
    for (position, line) in config.lines.iter().enumerate() {
        timers(position, &line.timers, sink);
    }
}

fn slot(position: usize) -> String {
    format!("line.{position}")
}

fn lines_are_there(config: &Config, sink: &mut Sink) {
    if config.lines.is_empty() && !sink.has_error("line") {
        sink.error(
            0,
            "line",
            "there is no line".to_owned(),
            "Add a table [[line]]; config/minimal.toml is an example",
        );
    }
}

/// Each value of a key may occur once.
fn unique<T: Eq + Hash + std::fmt::Display>(
    config: &Config,
    sink: &mut Sink,
    key: &str,
    value_of: impl Fn(&Line) -> Option<T>,
) {
    let mut seen: HashMap<T, usize> = HashMap::new();
    for (position, line) in config.lines.iter().enumerate() {
        let Some(value) = value_of(line) else {
            continue;
        };
        if let Some(first) = seen.get(&value) {
            let at = sink.line_of(&slot(*first), key);
            let message = format!("{value} is taken by another [[line]] (line {at} of this file)");
            sink.error(
                sink.line_of(&slot(position), key),
                &format!("line.{key}"),
                message,
                "Give each line its own",
            );
            continue;
        }
        seen.insert(value, position);
    }
}

fn shards(config: &Config, sink: &mut Sink) {
    let count = config.shards.len();
    for (position, line) in config.lines.iter().enumerate() {
        if line.shard >= count {
            let message = format!(
                "{} is outside 0..{}: there are {count} [[shard]] tables",
                line.shard,
                count - 1
            );
            let way_out = "Name one of them, or add a [[shard]]";
            sink.error(
                sink.line_of(&slot(position), "shard"),
                "line.shard",
                message,
                way_out,
            );
        }
    }
    let mut pinned = HashMap::new();
    for (number, core) in config
        .shards
        .iter()
        .enumerate()
        .filter_map(|(n, shard)| Some((n, shard.core?)))
    {
        if let Some(first) = pinned.insert(core, number) {
            let line = sink.line_of(&format!("shard.{number}"), "core");
            let message = format!("shards {first} and {number} are pinned to the same core {core}");
            sink.warning(
                line,
                "shard.core",
                message,
                "Give each its own, or they take turns",
            );
        }
    }
}

fn api(config: &Config, sink: &mut Sink) {
    let (api, last) = (&config.api, config.shards.len() - 1);
    let tcp_line = sink.line_of("api", "tcp");
    if let Some(tcp) = api.tcp
        && usize::from(tcp.port()) + last > usize::from(u16::MAX)
    {
        let message = format!(
            "port {} leaves no port for shard {last}, which listens on port + {last}",
            tcp.port()
        );
        sink.error(
            tcp_line,
            "api.tcp",
            message,
            format!("Give a port of {} at most", usize::from(u16::MAX) - last),
        );
    }
    let tcp_given_up = api.tcp.is_none() && !sink.has_error("api.tcp");
    if tcp_given_up && api.unix.is_none() {
        let message =
            "there is neither a TCP address nor a Unix socket: no application could connect"
                .to_owned();
        sink.error(tcp_line, "api.tcp", message, "Set tcp or unix");
    }
    if let Some(path) = api.unix_of(last)
        && path.as_os_str().len() > UNIX_PATH_BYTES_MAX
    {
        let message = format!(
            "{} has {} bytes, a Unix socket's path at most {UNIX_PATH_BYTES_MAX}",
            path.display(),
            path.as_os_str().len()
        );
        sink.error(
            sink.line_of("api", "unix"),
            "api.unix",
            message,
            "Choose a shorter path",
        );
    }
    let default_exists = config.lines.iter().any(|line| line.default);
    if !default_exists && !config.lines.is_empty() {
        let names: Vec<&str> = config.lines.iter().map(|line| line.name.as_str()).collect();
        let message = format!(
            "\"{}\" is the name of no line",
            api.default_line.escape_debug()
        );
        let line = sink.line_of("api", "default_line");
        sink.error(
            line,
            "api.default_line",
            message,
            format!("Name one of: {}", names.join(", ")),
        );
    }
}

/// Nobody may listen where another one does, be it by name or because one of them listens on all addresses.
fn addresses(config: &Config, sink: &mut Sink) {
    let mut by_port: HashMap<u16, Vec<(IpAddr, String)>> = HashMap::new();
    let top_port = u16::try_from(config.shards.len() - 1).unwrap_or(u16::MAX);
    if let Some(tcp) = config.api.tcp {
        for shard in 0..=top_port {
            let Some(port) = tcp.port().checked_add(shard) else {
                break;
            };
            by_port.entry(port).or_default().push((
                tcp.ip(),
                format!("the API listens there for shard {shard} (api.tcp)"),
            ));
        }
    }
    for (position, line) in config.lines.iter().enumerate() {
        let at = sink.line_of(&slot(position), "listen");
        for address in &line.listen {
            let others = by_port.entry(address.port()).or_default();
            if let Some((_, other)) = others.iter().find(|(ip, _)| overlap(*ip, address)) {
                let message = format!("{address} is taken: {other}");
                sink.error(at, "line.listen", message, "Choose another address or port");
                continue;
            }
            others.push((
                address.ip(),
                format!("line \"{}\" listens there (line {at})", line.name),
            ));
        }
    }
}

fn overlap(ip: IpAddr, address: &SocketAddr) -> bool {
    ip == address.ip() || ip.is_unspecified() || address.ip().is_unspecified()
}

fn journal(config: &Config, sink: &mut Sink) {
    let journal = &config.journal;
    if journal.segments_min > journal.segments_max {
        let message = format!(
            "segments_min {} is more than segments_max {}",
            journal.segments_min, journal.segments_max
        );
        sink.error(
            sink.line_of("journal", "segments_min"),
            "journal.segments_min",
            message,
            "Lower it, or raise segments_max",
        );
    }
    let in_flight = u64::from(journal.blocks_in_flight) * journal.block_bytes_max();
    if in_flight > journal.segment_bytes() / 4 {
        let message = format!(
            "blocks_in_flight {} x block_kib_max {} KiB is more than a quarter of segment_mib {} MiB",
            journal.blocks_in_flight, journal.block_kib_max, journal.segment_mib
        );
        let needed = (in_flight * 4).div_ceil(1 << 20);
        sink.error(
            sink.line_of("journal", "segment_mib"),
            "journal.segment_mib",
            message,
            format!("Set segment_mib = {needed} or more, or lower one of them"),
        );
    }
    if !journal.sync {
        let message =
            "false: a power cut loses transactions that applications hold as done".to_owned();
        sink.warning(
            sink.line_of("journal", "sync"),
            "journal.sync",
            message,
            "Use it for benchmarks only",
        );
    }
}

/// A checkpoint of everything that can be open must leave a quarter of its segment to work in.
fn checkpoint(config: &Config, sink: &mut Sink) {
    for shard in 0..config.shards.len() {
        let lines = config.lines.iter().filter(|line| line.shard == shard);
        let routes: u64 = lines.map(|line| u64::from(line.route_count)).sum();
        let needed = routes * TRANSACTIONS_PER_ROUTE_COUNT * CHECKPOINT_BYTES_PER_TRANSACTION;
        if needed <= config.journal.segment_bytes() / 4 * 3 {
            continue;
        }
        let message = format!(
            "{} MiB is too small for shard {shard}: a checkpoint of its {routes} routes takes up to {} MiB, which must fit into three quarters of a segment",
            config.journal.segment_mib,
            needed.div_ceil(1 << 20)
        );
        let segment_mib = (needed * 4).div_ceil(3 << 20);
        let way_out = if segment_mib <= largest("journal", "segment_mib") {
            format!("Set segment_mib = {segment_mib} or more")
        } else {
            "No segment is large enough: spread the lines over more shards".to_owned()
        };
        sink.error(
            sink.line_of("journal", "segment_mib"),
            "journal.segment_mib",
            message,
            way_out,
        );
    }
}

/// The largest value a key may have.
fn largest(section: &str, name: &str) -> u64 {
    match Section::find(section).key(name).map(|key| &key.rule) {
        Some(Rule::Integer { max, .. }) => u64::try_from(*max).unwrap_or(0),
        _ => panic!("{section}.{name} is no integer in the table of keys"),
    }
}

/// Sequence numbers are counted by originator, so two lines of one originator would use the same ones.
fn originators(config: &Config, sink: &mut Sink) {
    let mut seen: HashMap<(&str, &str), &Line> = HashMap::new();
    for (position, line) in config
        .lines
        .iter()
        .enumerate()
        .filter(|(_, line)| !line.company.is_empty())
    {
        if let Some(first) = seen.get(&(line.company.as_str(), line.sub.as_str())) {
            let message = format!(
                "{}/{} is the originator of line \"{}\" already: both count their own sequence numbers under it",
                line.company, line.sub, first.name
            );
            let at = sink.line_of(&slot(position), "company");
            sink.warning(
                at,
                "line.company",
                message,
                "Make sure that the centre agreed to this",
            );
            continue;
        }
        seen.insert((&line.company, &line.sub), line);
    }
}

fn timers(position: usize, timers: &Timers, sink: &mut Sink) {
    let values = [timers.t31, timers.t32, timers.t33, timers.t34, timers.t35];
    let section = Section::find("line.timers");
    for (name, value) in FIXED_BY_CENTRE.into_iter().zip(values) {
        let Some(Rule::Integer {
            default: Fallback::Value(default),
            ..
        }) = section.key(name).map(|key| &key.rule)
        else {
            panic!("{name} has a default in the table of keys");
        };
        if value != Duration::from_millis(default.unsigned_abs()) {
            let message = format!(
                "{} ms is not {default} ms, which is fixed by the centre",
                value.as_millis()
            );
            let at = sink.line_of(&format!("line.{position}.timers"), name);
            sink.warning(
                at,
                &format!("line.timers.{name}"),
                message,
                "Leave the default in production",
            );
        }
    }
}
