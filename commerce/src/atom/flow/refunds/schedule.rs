//! When a refund is looked up again (`spec/atom.md` 11.3). Pure arithmetic on milliseconds; no clock, no jitter.

/// One minute in milliseconds.
const MINUTE_MS: i64 = 60_000;
/// One hour in milliseconds.
const HOUR_MS: i64 = 60 * MINUTE_MS;
/// One day in milliseconds.
const DAY_MS: i64 = 24 * HOUR_MS;

/// The first look-ups, counted from the submission.
pub const FIRST_LOOKUPS_MS: [i64; 3] = [MINUTE_MS, 5 * MINUTE_MS, 15 * MINUTE_MS];
/// After the first look-ups one an hour until this age, then one a day.
pub const HOURLY_UNTIL_MS: i64 = DAY_MS;
/// An unknown refund that nobody could clear by this age is left to a person (T+3).
pub const UNKNOWN_UNTIL_MS: i64 = 3 * DAY_MS;
/// A refund not found by this many definite answers was not taken by the gateway.
pub const MISSES_NEEDED: i64 = 3;
/// The last of those answers must be at least this long after the submission.
pub const MISS_AGE_MS: i64 = 15 * MINUTE_MS;
/// An accepted refund that is not reported paid out by this age is left to a person.
pub const ACCEPTED_UNTIL_MS: i64 = 30 * DAY_MS;

/// The waits of a refund that could not be sent: doubled from the first to the last.
pub const UNSENT_FIRST_MS: i64 = 5_000;
/// Longest wait between two tries of a refund that could not be sent.
pub const UNSENT_LAST_MS: i64 = 10 * MINUTE_MS;

const _: () = assert!(
    FIRST_LOOKUPS_MS[2] == MISS_AGE_MS,
    "the third look-up must be able to be the deciding one"
);
const _: () = assert!(HOURLY_UNTIL_MS < UNKNOWN_UNTIL_MS && UNKNOWN_UNTIL_MS < ACCEPTED_UNTIL_MS);

/// When to look up an unknown refund next, strictly after `now_ms`; `None` when it is a person's turn.
pub fn next_unknown_check_ms(submitted_ms: i64, now_ms: i64) -> Option<i64> {
    next_ms(submitted_ms, now_ms, &FIRST_LOOKUPS_MS, UNKNOWN_UNTIL_MS)
}

/// When to ask whether an accepted refund was paid out, strictly after `now_ms`; `None` when it is a person's turn.
pub fn next_accepted_check_ms(submitted_ms: i64, now_ms: i64) -> Option<i64> {
    next_ms(submitted_ms, now_ms, &[], ACCEPTED_UNTIL_MS)
}

/// When to try again to send a refund that has not left us after `tries` tries.
pub fn next_unsent_try_ms(tries: i64, now_ms: i64) -> i64 {
    let doublings = tries.clamp(0, 16) as u32;
    now_ms + (UNSENT_FIRST_MS << doublings).min(UNSENT_LAST_MS)
}

fn next_ms(from_ms: i64, now_ms: i64, first: &[i64], until_ms: i64) -> Option<i64> {
    let age_ms = (now_ms - from_ms).max(0);
    let next_age_ms = match first.iter().find(|at| **at > age_ms) {
        Some(at) => *at,
        None if age_ms < HOURLY_UNTIL_MS => (age_ms / HOUR_MS + 1) * HOUR_MS,
        None => (age_ms / DAY_MS + 1) * DAY_MS,
    };
    (next_age_ms <= until_ms).then_some(from_ms + next_age_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From submission to T+3 an unknown refund is looked up at 1, 5 and 15 minutes, hourly to 24 h, daily, and then
    /// no more.
    #[test]
    fn unknown_refunds() {
        let mut times = Vec::new();
        let mut now = 0;
        while let Some(next) = next_unknown_check_ms(0, now) {
            assert!(next > now);
            times.push(next);
            now = next;
        }
        assert_eq!(
            times[..4],
            [MINUTE_MS, 5 * MINUTE_MS, 15 * MINUTE_MS, HOUR_MS]
        );
        assert_eq!(times[26], 24 * HOUR_MS);
        assert_eq!(times[27..], [2 * DAY_MS, 3 * DAY_MS]);
    }

    /// A job that was asleep past a due time asks once and goes on from now, not through all that was missed.
    #[test]
    fn missed_times_are_not_made_up() {
        assert_eq!(
            next_unknown_check_ms(0, 7 * MINUTE_MS),
            Some(15 * MINUTE_MS)
        );
        assert_eq!(next_unknown_check_ms(0, 5 * HOUR_MS + 1), Some(6 * HOUR_MS));
        assert_eq!(next_unknown_check_ms(0, 4 * DAY_MS), None);
        assert_eq!(next_accepted_check_ms(0, 4 * DAY_MS), Some(5 * DAY_MS));
        assert_eq!(next_accepted_check_ms(0, 31 * DAY_MS), None);
    }

    /// Waits of an unsent refund double and are capped.
    #[test]
    fn unsent_refunds() {
        assert_eq!(next_unsent_try_ms(0, 100), 100 + UNSENT_FIRST_MS);
        assert_eq!(next_unsent_try_ms(1, 100), 100 + 2 * UNSENT_FIRST_MS);
        assert_eq!(next_unsent_try_ms(60, 100), 100 + UNSENT_LAST_MS);
    }
}
