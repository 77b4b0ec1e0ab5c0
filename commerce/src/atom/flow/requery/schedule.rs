//! When an attempt is asked for next: a pure function of the attempt, so that any process computes the same.

use super::super::rows::AttemptRow;
use super::super::settings::FlowSettings;
use super::super::state::{Outcome, Phase};
use super::QUERY_GAP_MS;
use crate::clock::{DAY_MS, HOUR_MS, ist_day_end_ms};

/// Up to when the check for a reversal is tried, in days.
const REVERSAL_LAST_DAYS: i64 = 7;

/// When an attempt that is handed over now is asked for first.
pub(in crate::atom::flow) fn first_query_ms(settings: &FlowSettings, now_ms: i64) -> i64 {
    now_ms + settings.requery_minutes.first_ms()
}

/// The next time at which the attempt may be asked for.
pub(in crate::atom::flow) fn soonest_ms(attempt: &AttemptRow, now_ms: i64) -> i64 {
    attempt
        .queried_at
        .map_or(now_ms, |queried| now_ms.max(queried + QUERY_GAP_MS))
}

/// When a success is asked for once more: T+2, the last day on which Atom reverses, is over.
pub(in crate::atom::flow) fn reversal_check_ms(settled_ms: i64) -> i64 {
    ist_day_end_ms(settled_ms, 2)
}

/// When a failure is final: T+1 is over.
pub(super) fn failure_check_ms(attempt: &AttemptRow) -> i64 {
    ist_day_end_ms(attempt.created_at, 1)
}

/// When it should be known what became of the attempt: T+1 is over, or a slip that is paid at a counter has expired.
pub(super) fn resolved_ms(attempt: &AttemptRow, settings: &FlowSettings) -> i64 {
    if is_slip(attempt) {
        began_ms(attempt) + query_days(attempt, settings) * DAY_MS
    } else {
        failure_check_ms(attempt)
    }
}

fn is_slip(attempt: &AttemptRow) -> bool {
    [&attempt.sub_channel, &attempt.asked_channel]
        .map(Option::as_deref)
        .contains(&Some("NR"))
}

/// For so many days an attempt is asked for of which nothing is known.
fn query_days(attempt: &AttemptRow, settings: &FlowSettings) -> i64 {
    if is_slip(attempt) {
        settings.slip_days()
    } else {
        settings.requery_days
    }
}

fn began_ms(attempt: &AttemptRow) -> i64 {
    attempt.token_at.unwrap_or(attempt.auth_at)
}

/// When the attempt's token is taken to be dead, whoever holds it.
pub(super) fn token_end_ms(attempt: &AttemptRow, settings: &FlowSettings) -> i64 {
    began_ms(attempt) + settings.token_lifetime_ms()
}

/// When the attempt is asked for next; never again if there is nothing left to learn, or nobody could tell for too long.
pub(in crate::atom::flow) fn next_query_ms(
    attempt: &AttemptRow,
    settings: &FlowSettings,
    now_ms: i64,
) -> Option<i64> {
    match attempt.outcome {
        Outcome::Reversed => None,
        Outcome::Success => after_success(attempt, settings, now_ms),
        Outcome::Failed => after_failure(attempt, settings, now_ms),
        Outcome::None | Outcome::Pending => match attempt.phase {
            Phase::AuthFailed => None,
            Phase::Initializing if !attempt.auth_in_flight => None,
            Phase::Abandoned => after_failure(attempt, settings, now_ms),
            _ => {
                let days = query_days(attempt, settings);
                let due = slot(settings, began_ms(attempt), now_ms, days)?;
                // Somebody is told by then, and not on the word of an older answer.
                let resolved = resolved_ms(attempt, settings);
                Some(if now_ms < resolved {
                    due.min(resolved)
                } else {
                    due
                })
            }
        },
    }
}

fn after_success(attempt: &AttemptRow, settings: &FlowSettings, now_ms: i64) -> Option<i64> {
    let settled = attempt.settled_at.unwrap_or(attempt.created_at);
    if attempt.confirmed_at.is_none() {
        let asked = attempt.queried_at.is_some_and(|queried| queried >= settled);
        return if asked {
            slot(settings, settled, now_ms, settings.requery_days)
        } else {
            Some(soonest_ms(attempt, now_ms))
        };
    }
    if attempt.final_at.is_some() {
        return None;
    }
    let check = reversal_check_ms(settled);
    if now_ms < check {
        return Some(check);
    }
    let next = if attempt.queried_at.is_some_and(|queried| queried >= check) {
        now_ms + DAY_MS
    } else {
        soonest_ms(attempt, now_ms)
    };
    (next <= settled + REVERSAL_LAST_DAYS * DAY_MS).then_some(next)
}

fn after_failure(attempt: &AttemptRow, settings: &FlowSettings, now_ms: i64) -> Option<i64> {
    let since = |at: i64| attempt.queried_at.is_some_and(|queried| queried >= at);
    if attempt.cleared_at.is_none() {
        let end = token_end_ms(attempt, settings);
        return match () {
            () if now_ms < end => Some(end),
            () if !since(end) => Some(soonest_ms(attempt, now_ms)),
            () => slot(settings, end, now_ms, settings.requery_days),
        };
    }
    let check = failure_check_ms(attempt);
    match () {
        () if attempt.final_at.is_some() => None,
        () if now_ms < check => Some(check),
        () if !since(check) => Some(soonest_ms(attempt, now_ms)),
        () => slot(settings, check, now_ms, settings.requery_days),
    }
}

/// The first time of the schedule after `now_ms`: the configured minutes, then hourly to a day, then daily.
fn slot(settings: &FlowSettings, since_ms: i64, now_ms: i64, days: i64) -> Option<i64> {
    let mut first = settings.requery_minutes.ms().map(|after| since_ms + after);
    if let Some(due) = first.find(|due| *due > now_ms) {
        return Some(due);
    }
    let passed = now_ms - since_ms;
    let step = if passed < DAY_MS { HOUR_MS } else { DAY_MS };
    let due = since_ms + (passed / step + 1) * step;
    (due <= since_ms + days * DAY_MS).then_some(due)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::MINUTE_MS;

    /// The schedule is 2, 5, 10, 20, 40, 60 minutes, hourly to a day, daily to T+3, and then ends.
    #[test]
    fn the_schedule() {
        let settings = FlowSettings::default();
        let (mut at, days) = (0, settings.requery_days);
        let mut due = Vec::new();
        while let Some(next) = slot(&settings, 0, at, days) {
            due.push(next);
            at = next;
        }
        let minutes: Vec<i64> = due.iter().map(|at| at / MINUTE_MS).collect();
        assert_eq!(minutes[..7], [2, 5, 10, 20, 40, 60, 120]);
        assert_eq!(minutes[due.len() - 3..], [24 * 60, 48 * 60, 72 * 60]);
        assert_eq!(due.len(), 6 + 23 + 2);
        assert_eq!(
            slot(&settings, 0, 90 * MINUTE_MS, days),
            Some(120 * MINUTE_MS)
        );
    }
}
