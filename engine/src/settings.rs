//! From the configuration to the sizes and times that the core, the driver and the journal take.

use std::path::PathBuf;
use std::time::Duration;

use crate::core::config::{CoreConfig, LineConfig, RouteBusy};
use crate::driver::{DriverConfig, KeepAlive, SocketOptions};
use crate::journal::keeper::KeeperConfig;
use crate::journal::writer::WriterConfig;
use crate::pipeline::WritePolicy;
use config::{Config, Line, RecoveryMode, SignOn};

/// Settled transactions that a query answers without the journal.
const RECENT_MAX: usize = 65_536;
/// How long an orderly stop may take before the rest is held.
const DRAIN: Duration = Duration::from_secs(60);
/// Bytes a link or session may have waiting before it counts as one that does not read.
const OUT_MAX: usize = 4 << 20;
/// A block of at least this many bytes is written although another write is in flight.
const BESIDE_BYTES: usize = 2 << 10;

fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The lines that a shard owns, in the order of the file.
pub fn lines_of(config: &Config, shard: usize) -> impl Iterator<Item = &Line> {
    config.lines.iter().filter(move |line| line.shard == shard)
}

/// What the core of a shard is told.
#[must_use]
pub fn core(config: &Config, shard: usize, boot: u64, secret: [u64; 2]) -> CoreConfig {
    let elsewhere = config.lines.iter().filter(|line| line.shard != shard);
    CoreConfig {
        shard: shard as u16,
        boot,
        secret,
        lines: lines_of(config, shard)
            .map(|line| line_config(config, line))
            .collect(),
        default_line: config.api.default_line.clone(),
        elsewhere: elsewhere
            .map(|line| (line.name.clone(), endpoint(config, line.shard)))
            .collect(),
        links_max: sockets_max(config, shard) as usize,
        sessions_max: config.api.max_sessions,
        recent_max: RECENT_MAX,
        credit: config.api.credit,
        resume_grace_ns: ns(config.api.resume_grace),
        delivery_limit_ns: ns(config.api.delivery_limit),
        recovery_automatic: config.recovery.mode == RecoveryMode::Automatic,
        drain_ns: ns(DRAIN),
    }
}

/// Where applications find a shard.
fn endpoint(config: &Config, shard: usize) -> String {
    let unix = || {
        config
            .api
            .unix_of(shard)
            .map(|path| path.display().to_string())
    };
    config
        .api
        .tcp_of(shard)
        .map(|address| address.to_string())
        .or_else(unix)
        .unwrap_or_default()
}

fn line_config(config: &Config, line: &Line) -> LineConfig {
    let (timers, cascade) = (&line.timers, &line.cascade);
    LineConfig {
        name: line.name.clone(),
        id: u32::from(line.id),
        epoch: 1,
        company: line.originator(),
        accept_count: line.accept_count as u16,
        route_count: line.route_count,
        sign_on: line.sign_on == SignOn::Automatic,
        route_busy: match line.route_busy {
            config::RouteBusy::ErrorReply => RouteBusy::ErrorReply,
            config::RouteBusy::Buffering => RouteBusy::Buffering,
        },
        auto_reply: line.auto_reply,
        t13_ns: ns(timers.t13),
        t31_ns: ns(timers.t31),
        t32_ns: ns(timers.t32),
        t33_ns: ns(timers.t33),
        line_check: line.line_check,
        t34_ns: ns(timers.t34),
        t35_ns: ns(timers.t35),
        t36_ns: ns(timers.t36),
        event_ns: ns(config.api.event_receive_timeout),
        automatic: cascade.automatic,
        id_cascade: cascade.id_cascade,
        sends_automatic: cascade.sends_automatic as u16,
        sends_ordered: cascade.sends_ordered as u16,
        c33_repeats: cascade.c33_repeats as u8,
        retry_delay_ns: ns(cascade.retry_delay),
        probe_interval_ns: ns(cascade.probe_interval),
        hold_alarm_percent: cascade.hold_alarm_percent as u16,
    }
}

/// Sockets of a shard: links, and one session more than contracted for each line.
fn sockets_max(config: &Config, shard: usize) -> u32 {
    let sessions: u32 = lines_of(config, shard)
        .map(|line| line.accept_count + 1)
        .sum();
    config.api.max_links as u32 + sessions
}

/// What the driver of a shard is told.
#[must_use]
pub fn driver(config: &Config, shard: usize) -> DriverConfig {
    DriverConfig {
        sockets_max: sockets_max(config, shard),
        out_max: OUT_MAX,
        writes_max: config.journal.blocks_in_flight,
        block_buffers: config.journal.blocks_in_flight * 2 + 4,
        block_len: config.journal.block_bytes_max() as u32,
        ..DriverConfig::default()
    }
}

/// What the journal of a shard is told.
#[must_use]
pub fn writer(config: &Config, shard: usize) -> WriterConfig {
    WriterConfig {
        shard: shard as u32,
        segment_bytes: config.journal.segment_bytes(),
        block_max: config.journal.block_bytes_max() as usize,
        blocks_in_flight: config.journal.blocks_in_flight as usize,
    }
}

/// When blocks are written.
#[must_use]
pub fn policy(config: &Config) -> WritePolicy {
    WritePolicy {
        in_flight_max: config.journal.blocks_in_flight as usize,
        beside_bytes: BESIDE_BYTES,
    }
}

/// What the keeper of segments is told.
#[must_use]
pub fn keeper(config: &Config) -> KeeperConfig {
    KeeperConfig {
        segment_bytes: config.journal.segment_bytes(),
        segments_min: config.journal.segments_min,
        segments_max: config.journal.segments_max,
        retention: Duration::from_secs(u64::from(config.journal.retention_days) * 86_400),
        reserve_percent: config.journal.reserve_percent,
        direct: true,
        dsync: config.journal.sync,
    }
}

/// Where the journals lie.
#[must_use]
pub fn journal_dir(config: &Config) -> PathBuf {
    config.data_dir.join("journal")
}

/// Options of a line's listeners.
#[must_use]
pub fn centre_socket(line: &Line) -> SocketOptions {
    SocketOptions {
        keepalive: line.keepalive.map(|keep| KeepAlive {
            idle: keep.idle,
            interval: keep.interval,
            count: keep.count,
        }),
        ..SocketOptions::default()
    }
}
