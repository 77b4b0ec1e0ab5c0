//! The log: lines from every thread to a file or to standard error, written by one thread.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::core::date::date_of;
use config::LogLevel;

/// Starts the log. Threads that log never wait for the disk.
///
/// # Errors
/// The file cannot be opened, or the thread cannot be made.
pub fn start(path: Option<&Path>, level: LogLevel) -> std::io::Result<()> {
    let out: Box<dyn Write + Send> = match path {
        Some(path) => Box::new(File::options().create(true).append(true).open(path)?),
        None => Box::new(std::io::stderr()),
    };
    let (lines, end) = channel();
    std::thread::Builder::new()
        .name("log".into())
        .spawn(move || write_lines(&end, out))?;
    let level = match level {
        LogLevel::IoEvent | LogLevel::Error => log::LevelFilter::Error,
        LogLevel::Warning => log::LevelFilter::Warn,
        LogLevel::Information => log::LevelFilter::Info,
        LogLevel::Debug => log::LevelFilter::Debug,
    };
    let dispatch = fern::Dispatch::new()
        .level(level)
        .format(|out, message, record| {
            out.finish(format_args!("{} {:5} {message}", stamp(), record.level()))
        })
        .chain(fern::Output::sender(lines, "\n"));
    dispatch.apply().map_err(std::io::Error::other)
}

fn write_lines(lines: &Receiver<String>, mut out: Box<dyn Write + Send>) {
    while let Ok(line) = lines.recv() {
        // A log that cannot be written must not stop payments; the next line tries again.
        let _ = out.write_all(line.as_bytes());
        while let Ok(line) = lines.try_recv() {
            let _ = out.write_all(line.as_bytes());
        }
        let _ = out.flush();
    }
}

/// Date and time in Japan, to the millisecond.
fn stamp() -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let (date, seconds) = (
        date_of(now.as_nanos() as u64),
        (now.as_secs() + 9 * 3600) % 86_400,
    );
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!(
        "{}-{:02}-{:02} {hour:02}:{minute:02}:{second:02}.{:03}",
        date / 10_000,
        date / 100 % 100,
        date % 100,
        now.subsec_millis()
    )
}
