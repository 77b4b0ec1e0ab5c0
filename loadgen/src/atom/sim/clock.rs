//! The simulator's clock: the system's time moved by any amount, or a time that stands until it is told to move.
//!
//! Days are those of India, where Atom's day ends.

use std::time::{SystemTime, UNIX_EPOCH};

use time::format_description::well_known::Rfc3339;
use time::macros::{format_description, offset};
use time::{OffsetDateTime, UtcOffset};

/// Milliseconds of a day.
pub const DAY_MS: i64 = 86_400_000;
/// India's distance from UTC.
const IST: UtcOffset = offset!(+5:30);
/// The same in milliseconds.
const IST_MS: i64 = 19_800_000;

/// A clock that can be moved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Clock {
    /// Runs with the system's time, so many milliseconds ahead of it.
    Runs {
        /// Milliseconds ahead; negative is behind.
        ahead_ms: i64,
    },
    /// Stands.
    Stands {
        /// At this time, in Unix milliseconds.
        now_ms: i64,
    },
}

impl Clock {
    /// Unix milliseconds.
    #[must_use]
    pub fn now_ms(self) -> i64 {
        match self {
            Clock::Runs { ahead_ms } => system_ms() + ahead_ms,
            Clock::Stands { now_ms } => now_ms,
        }
    }

    /// The same clock, so much later.
    #[must_use]
    pub fn moved(self, by_ms: i64) -> Clock {
        match self {
            Clock::Runs { ahead_ms } => Clock::Runs {
                ahead_ms: ahead_ms + by_ms,
            },
            Clock::Stands { now_ms } => Clock::Stands {
                now_ms: now_ms + by_ms,
            },
        }
    }

    /// A clock that shows this time now and runs on, or stands.
    #[must_use]
    pub fn at(now_ms: i64, runs: bool) -> Clock {
        if runs {
            Clock::Runs {
                ahead_ms: now_ms - system_ms(),
            }
        } else {
            Clock::Stands { now_ms }
        }
    }
}

fn system_ms() -> i64 {
    // A system whose clock stands before 1970 has other worries.
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as i64)
}

/// The number of the Indian day that a time lies in.
#[must_use]
pub fn day_of(ms: i64) -> i64 {
    (ms + IST_MS).div_euclid(DAY_MS)
}

/// When an Indian day begins.
#[must_use]
pub fn day_begins(day: i64) -> i64 {
    day * DAY_MS - IST_MS
}

fn indian(ms: i64) -> OffsetDateTime {
    let time = OffsetDateTime::from_unix_timestamp(ms.div_euclid(1000));
    // Times of this simulator are thousands of years away from the ends of the calendar.
    time.expect("a time of the calendar").to_offset(IST)
}

/// `YYYY-MM-DD hh:mm:ss` in India.
#[must_use]
pub fn indian_time(ms: i64) -> String {
    let form = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    indian(ms).format(&form).expect("a time has all its parts")
}

/// `YYYY-MM-DD` in India.
#[must_use]
pub fn indian_date(ms: i64) -> String {
    indian_time(ms)[..10].to_owned()
}

/// Reads `YYYY-MM-DD hh:mm:ss` of India, as Unix milliseconds.
#[must_use]
pub fn parse_indian(text: &str) -> Option<i64> {
    let form = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    let time = time::PrimitiveDateTime::parse(text, &form).ok()?;
    Some(time.assume_offset(IST).unix_timestamp() * 1000)
}

/// A time as RFC 3339 in UTC.
#[must_use]
pub fn rfc3339(ms: i64) -> String {
    let time = indian(ms).to_offset(UtcOffset::UTC);
    time.format(&Rfc3339).expect("a time has all its parts")
}

/// Reads RFC 3339, as Unix milliseconds.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    Some((time.unix_timestamp_nanos() / 1_000_000) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// India's midnight, not that of UTC, parts the days, and times are read back as they are written.
    #[test]
    fn days_of_india() {
        let before = parse_rfc3339("2025-01-15T18:29:59Z").expect("a time");
        let after = before + 1000;
        assert_eq!(indian_time(before), "2025-01-15 23:59:59");
        assert_eq!(indian_date(after), "2025-01-16");
        assert_eq!(day_of(after), day_of(before) + 1);
        assert_eq!(day_begins(day_of(after)), after);
        assert_eq!(parse_indian(&indian_time(after)), Some(after));
        assert_eq!(rfc3339(after), "2025-01-15T18:30:00Z");
        assert_eq!(parse_indian("2025-01-15T10:30:00"), None);
    }

    /// A clock that stands moves only when it is told to; one that runs goes on from where it was put.
    #[test]
    fn standing_and_running() {
        let stands = Clock::at(1_000, false).moved(DAY_MS);
        assert_eq!(stands.now_ms(), 1_000 + DAY_MS);
        let runs = Clock::at(5_000_000, true);
        assert!((5_000_000..5_060_000).contains(&runs.now_ms()));
    }
}
