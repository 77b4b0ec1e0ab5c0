//! Time: the system's, or one that a test moves by hand.
//!
//! Everything in the crate that acts by time takes a [`Clock`]; nothing else asks the system. Times are unix
//! milliseconds. Atom wants Indian time and the agency wants Japanese days, so both conversions are here.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::format_description::well_known::Rfc3339;
use time::macros::{format_description, offset};
use time::{OffsetDateTime, UtcOffset};
use tokio::sync::watch;

/// Milliseconds of a minute.
pub const MINUTE_MS: i64 = 60_000;
/// Milliseconds of an hour.
pub const HOUR_MS: i64 = 60 * MINUTE_MS;
/// Milliseconds of a day.
pub const DAY_MS: i64 = 24 * HOUR_MS;

const IST: UtcOffset = offset!(+5:30);
const JST: UtcOffset = offset!(+9);

/// A source of time. Clones share it.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    System,
    Manual(Arc<watch::Sender<i64>>),
}

impl Clock {
    /// The system's time.
    pub fn system() -> Clock {
        Clock(Source::System)
    }

    /// A time that stands still at `now_ms` until it is moved.
    pub fn manual(now_ms: i64) -> Clock {
        Clock(Source::Manual(Arc::new(watch::Sender::new(now_ms))))
    }

    /// Unix milliseconds.
    pub fn now_ms(&self) -> i64 {
        match &self.0 {
            Source::Manual(now) => *now.borrow(),
            Source::System => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH);
                let since = since.expect("the system's clock is set after 1970");
                i64::try_from(since.as_millis()).expect("the year is below 292 million")
            }
        }
    }

    /// Moves a manual clock on.
    ///
    /// # Panics
    /// If this is the system's clock, or the step goes back: a test that does so is wrong.
    pub fn advance(&self, by_ms: i64) {
        assert!(by_ms >= 0, "time does not go back by {by_ms} ms");
        match &self.0 {
            Source::Manual(now) => now.send_modify(|now| *now += by_ms),
            Source::System => panic!("the system's clock is not ours to move"),
        }
    }

    /// Waits until the clock shows this time; a manual one must be moved there.
    pub async fn sleep_until(&self, at_ms: i64) {
        match &self.0 {
            Source::System => {
                let left = at_ms.saturating_sub(self.now_ms()).max(0);
                tokio::time::sleep(Duration::from_millis(left.unsigned_abs())).await;
            }
            Source::Manual(now) => {
                let mut seen = now.subscribe();
                // The sender lives in this very clock, so the wait can end in one way only.
                let _ = seen.wait_for(|now| *now >= at_ms).await;
            }
        }
    }
}

/// `YYYY-MM-DD hh:mm:ss` in Asia/Kolkata, rounded down.
pub fn ist_datetime(ms: i64) -> String {
    let shape = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    shown(at(ms).to_offset(IST).format(&shape))
}

/// `YYYY-MM-DD` in Asia/Kolkata.
pub fn ist_date(ms: i64) -> String {
    shown(
        at(ms)
            .to_offset(IST)
            .format(&format_description!("[year]-[month]-[day]")),
    )
}

/// `YYYY-MM-DD` in Asia/Tokyo.
pub fn jst_date(ms: i64) -> String {
    shown(
        at(ms)
            .to_offset(JST)
            .format(&format_description!("[year]-[month]-[day]")),
    )
}

/// The Indian midnight that ends the `days`-th day after the day of `ms`: after it, T+`days` is over.
pub fn ist_day_end_ms(ms: i64, days: i64) -> i64 {
    let ahead = i64::from(IST.whole_seconds()) * 1000;
    let day = (ms + ahead).div_euclid(DAY_MS);
    (day + days + 1) * DAY_MS - ahead
}

/// RFC 3339 in UTC, whole seconds: `2025-01-15T05:00:00Z`.
pub fn rfc3339(ms: i64) -> String {
    shown(at(ms - ms.rem_euclid(1000)).format(&Rfc3339))
}

/// The unix milliseconds of an RFC 3339 text.
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    i64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok()
}

fn at(ms: i64) -> OffsetDateTime {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000);
    at.unwrap_or_else(|_| panic!("{ms} ms is no time that a clock of ours shows"))
}

fn shown(text: Result<String, time::error::Format>) -> String {
    text.expect("these shapes fit every time of ours")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2025-01-15 18:29:59.999 UTC is the last moment of the Indian day, and already the next day in Japan.
    #[test]
    fn the_days_of_two_countries() {
        let last = parse_rfc3339("2025-01-15T18:29:59.999Z").expect("a time");
        assert_eq!(ist_datetime(last), "2025-01-15 23:59:59");
        assert_eq!(
            (ist_date(last + 1).as_str(), jst_date(last).as_str()),
            ("2025-01-16", "2025-01-16")
        );
        assert_eq!(ist_day_end_ms(last, 0), last + 1);
        assert_eq!(ist_day_end_ms(last + 1, 2), last + 1 + 3 * DAY_MS);
        assert_eq!(rfc3339(last), "2025-01-15T18:29:59Z");
        assert_eq!(parse_rfc3339("yesterday"), None);
    }

    /// Who sleeps on a manual clock wakes when it is moved far enough, not earlier.
    #[tokio::test]
    async fn a_manual_clock_wakes_sleepers() {
        let clock = Clock::manual(1_000);
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep_until(1_500).await }
        });
        clock.advance(499);
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        clock.advance(1);
        sleeper.await.expect("it wakes");
        assert_eq!(clock.now_ms(), 1_500);
    }
}
