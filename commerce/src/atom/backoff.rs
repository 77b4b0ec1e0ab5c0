//! How long to wait before a call is made again (`spec/atom.md` 13.2): full jitter, and what `Retry-After` asks for.

use std::time::Duration;

use time::PrimitiveDateTime;
use time::macros::format_description;

/// The longest wait that `Retry-After` can ask of us.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// A wait between zero and the ceiling of the `n`-th repeat (counted from 0): `base · 2ⁿ`, at most `max`.
pub fn delay(n: u32, base_ms: u64, max_ms: u64) -> Duration {
    Duration::from_millis(rand::random_range(0..=ceiling_ms(n, base_ms, max_ms)))
}

/// Reads `Retry-After`: seconds, or a date. A longer wait than [`RETRY_AFTER_MAX`] is cut to it.
pub fn retry_after(value: &str, now_ms: i64) -> Option<Duration> {
    let wait = match value.trim().parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let shape = format_description!(
                "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
            );
            let at = PrimitiveDateTime::parse(value.trim(), &shape).ok()?;
            let left_ms = at.assume_utc().unix_timestamp().checked_mul(1000)? - now_ms;
            Duration::from_millis(u64::try_from(left_ms).unwrap_or(0))
        }
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

fn ceiling_ms(n: u32, base_ms: u64, max_ms: u64) -> u64 {
    let factor = 1u64.checked_shl(n).unwrap_or(u64::MAX);
    base_ms.saturating_mul(factor).min(max_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ceiling doubles from half a second to eight seconds and stays there.
    #[test]
    fn the_ceiling() {
        let ceilings: Vec<_> = (0..6).map(|n| ceiling_ms(n, 500, 8_000)).collect();
        assert_eq!(ceilings, [500, 1_000, 2_000, 4_000, 8_000, 8_000]);
        assert_eq!(ceiling_ms(200, 500, 8_000), 8_000);
    }

    /// Jitter is full: waits are spread from zero to the ceiling, and never above it.
    #[test]
    fn the_jitter_is_full() {
        let waits: Vec<_> = (0..2_000)
            .map(|_| delay(1, 500, 8_000).as_millis())
            .collect();
        assert!(waits.iter().all(|ms| *ms <= 1_000));
        assert!(waits.iter().any(|ms| *ms < 100) && waits.iter().any(|ms| *ms > 900));
    }

    /// Seconds and dates are understood, a past date is now, a long wait is cut, anything else is ignored.
    #[test]
    fn what_retry_after_asks_for() {
        let seconds = |s| Some(Duration::from_secs(s));
        assert_eq!(retry_after("7", 0), seconds(7));
        assert_eq!(retry_after(" 3600 ", 0), seconds(60));
        let at = "Wed, 15 Jan 2025 05:00:10 GMT";
        assert_eq!(retry_after(at, 1_736_917_200_000), seconds(10));
        assert_eq!(retry_after(at, 1_736_917_300_000), seconds(0));
        for bad in ["", "-1", "soon", "1.5"] {
            assert_eq!(retry_after(bad, 0), None);
        }
    }
}
