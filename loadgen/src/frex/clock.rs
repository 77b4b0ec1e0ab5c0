//! The simulator's time: the system's with an offset, or a time that only moves when told.

use std::time::{SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A clock in milliseconds of Unix time.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// The system's time and how far ours is ahead of it.
    System {
        /// Milliseconds ahead.
        ahead_ms: i64,
    },
    /// A time that stands still.
    Held {
        /// Now.
        now_ms: i64,
    },
}

impl Clock {
    /// Now.
    #[must_use]
    pub fn now_ms(self) -> i64 {
        match self {
            Self::System { ahead_ms } => system_ms() + ahead_ms,
            Self::Held { now_ms } => now_ms,
        }
    }

    /// Moves forward; never back, whatever the sign.
    pub fn advance(&mut self, ms: i64) {
        let (Self::System { ahead_ms: at } | Self::Held { now_ms: at }) = self;
        *at += ms.max(0);
    }
}

/// A time as the agency writes it.
#[must_use]
pub fn text(ms: i64) -> String {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000);
    at.ok()
        .and_then(|at| at.replace_nanosecond(0).ok())
        .and_then(|at| at.format(&Rfc3339).ok())
        .unwrap_or_default()
}

fn system_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A held clock moves by what it is told and never back; times are written to the second in UTC.
    #[test]
    fn a_held_clock_moves_only_when_told() {
        let mut clock = Clock::Held {
            now_ms: 1_736_902_923_500,
        };
        assert_eq!(text(clock.now_ms()), "2025-01-15T01:02:03Z");
        clock.advance(-5);
        clock.advance(1_500);
        assert_eq!(text(clock.now_ms()), "2025-01-15T01:02:05Z");
    }
}
