//! The log of the daemon: one line an event, to standard error or a file, each with the id of the request it belongs to.
//!
//! No secret and no full contact datum may reach a line. The types see to the first: a `Secret` shows itself nowhere.
//! [`mask`] sees to the second. And what came from outside cannot forge a line, because control characters are
//! written as escapes.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use crate::http::request_id;

/// Where the log goes, and how much.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSettings {
    /// The least level that is written.
    pub level: Level,
    /// A file; `""` for standard error.
    pub file: PathBuf,
}

/// How much is written; each level holds those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// What failed.
    Error,
    /// What should be looked at.
    Warn,
    /// What happened to payments.
    Info,
    /// Every request.
    Debug,
}

impl From<Level> for log::LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => Self::Error,
            Level::Warn => Self::Warn,
            Level::Info => Self::Info,
            Level::Debug => Self::Debug,
        }
    }
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file cannot be opened.
    #[error("the log file {path} cannot be opened: {reason}. Check the directory and its rights")]
    File {
        /// Which.
        path: String,
        /// Why.
        reason: std::io::Error,
    },
    /// There is a log already.
    #[error("the log was started twice in one process")]
    Twice,
}

const STAMP: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// Libraries that are loud below this level: what they say of a request may hold its headers or statements.
const LIBRARIES: [&str; 6] = ["hyper", "hyper_util", "reqwest", "rustls", "sqlx", "h2"];

/// Starts the log and sends panics into it.
///
/// # Errors
/// The file cannot be opened, or there is a log already.
pub fn start(settings: &LogSettings, base: &Path) -> Result<(), LogError> {
    let mut dispatch =
        fern::Dispatch::new()
            .level(settings.level.into())
            .format(|out, message, record| {
                let id = request_id::current();
                let text = message.to_string();
                out.finish(format_args!(
                    "{} {:5} {} {}",
                    stamp(),
                    record.level(),
                    id.as_deref().unwrap_or("-"),
                    one_line(&text)
                ));
            });
    for library in LIBRARIES {
        dispatch = dispatch.level_for(library, log::LevelFilter::Warn);
    }
    let dispatch = if settings.file.as_os_str().is_empty() {
        dispatch.chain(std::io::stderr())
    } else {
        let path = base.join(&settings.file);
        dispatch.chain(fern::log_file(&path).map_err(|reason| LogError::File {
            path: path.display().to_string(),
            reason,
        })?)
    };
    dispatch.apply().map_err(|_| LogError::Twice)?;
    std::panic::set_hook(Box::new(|panic| log::error!("{panic}")));
    Ok(())
}

/// What is shown of values that are not to be read in full.
pub mod mask {
    /// The last four characters of a token: `***8523`.
    pub fn token(text: &str) -> String {
        last(text, 4)
    }

    /// The first letter and the domain of an address: `b***@example.com`.
    pub fn email(text: &str) -> String {
        match text.rsplit_once('@') {
            Some((name, domain)) => {
                let first = name.chars().next().map(String::from).unwrap_or_default();
                format!("{first}***@{domain}")
            }
            None => "***".to_owned(),
        }
    }

    /// The last three digits of a number, at its length: `*******000`.
    pub fn mobile(text: &str) -> String {
        let length = text.chars().count();
        let kept = if length > 6 { 3 } else { 0 };
        "*".repeat(length - kept) + &text.chars().skip(length - kept).collect::<String>()
    }

    fn last(text: &str, kept: usize) -> String {
        let length = text.chars().count();
        // Of a short text four characters would be most of it.
        let kept = if length >= 2 * kept { kept } else { 0 };
        format!(
            "***{}",
            text.chars().skip(length - kept).collect::<String>()
        )
    }
}

fn stamp() -> String {
    OffsetDateTime::from(SystemTime::now())
        .format(STAMP)
        .unwrap_or_default()
}

/// A text with its control characters written as escapes, so that it stays one line and orders a terminal nothing.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    if text.chars().any(char::is_control) {
        let escape = |c: char| {
            if c.is_control() {
                c.escape_default().collect()
            } else {
                String::from(c)
            }
        };
        return Cow::Owned(text.chars().map(escape).collect());
    }
    Cow::Borrowed(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line that came from outside stays one line.
    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(one_line("a\nINFO b\u{1b}[1m"), "a\\nINFO b\\u{1b}[1m");
        assert_eq!(one_line("plain ₹ text"), "plain ₹ text");
    }

    /// Masks keep what helps support and no more.
    #[test]
    fn masks_keep_little() {
        assert_eq!(mask::token("15000000085228"), "***5228");
        assert_eq!(mask::token("12345"), "***");
        assert_eq!(mask::email("buyer@example.com"), "b***@example.com");
        assert_eq!(mask::email("odd"), "***");
        assert_eq!(mask::mobile("9000000000"), "*******000");
        assert_eq!(mask::mobile("12345"), "*****");
    }
}
