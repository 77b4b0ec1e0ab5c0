//! What can be set about the worker (`spec/frex.md` 11): each value with its unit in its name, its default and its range.

use serde::Deserialize;

use crate::clock::{DAY_MS, HOUR_MS, MINUTE_MS};

const MINUTES_OF_DAY: u32 = 1_440;
/// How far Japan is ahead.
pub(super) const JAPAN_AHEAD_MS: i64 = 9 * HOUR_MS;

/// When a bill is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BillingTrigger {
    /// As soon as screening approved the order.
    #[default]
    Authorized,
    /// When the shop marked delivery.
    OrderEnd,
}

/// A part of the day, Japan time, in which no mutation is sent; reads go on. It may run over midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClosedWindow {
    /// First minute of the day, 0 to 1439.
    pub from_minute: u32,
    /// First minute after it, 0 to 1439.
    pub to_minute: u32,
}

impl ClosedWindow {
    /// Whether a minute of the day lies in it.
    #[must_use]
    pub fn contains(&self, minute: u32) -> bool {
        if self.from_minute <= self.to_minute {
            (self.from_minute..self.to_minute).contains(&minute)
        } else {
            minute >= self.from_minute || minute < self.to_minute
        }
    }
}

/// The worker's settings. The defaults are those of the specification.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorkerSettings {
    /// From the end of a run to the next, over all workers.
    pub interval_s: u64,
    /// How long the lease lives without renewal.
    pub lease_s: u64,
    /// How often it is renewed during a run.
    pub lease_renew_s: u64,
    /// Time slice of a run.
    pub run_slice_s: u64,
    /// Time slice of a step; it stops at a page border and goes on in the next run.
    pub step_slice_s: u64,
    /// Rows of a page.
    pub page_rows: u32,
    /// Items of a call.
    pub call_items: u32,
    /// Calls at the same time in the reading steps.
    pub read_calls: u32,
    /// Items that share one commit; 1 = a transaction of its own for each.
    pub commit_items: u32,
    /// Time limit of a call, as the agency's client has it.
    pub call_timeout_s: u64,
    /// Longest time the agency may take to begin with a request it received.
    pub agency_delay_s: u64,
    /// Least quiet time before "not found" counts.
    pub quiet_s: u64,
    /// After this an unclear request is given to an operator.
    pub unknown_s: u64,
    /// Delays between tries, the last one repeats.
    pub retry_s: Vec<u64>,
    /// Random part of a delay, in per cent up and down.
    pub jitter_percent: u32,
    /// Between questions about a held screening.
    pub hold_poll_s: u64,
    /// An outcome is overdue after.
    pub result_overdue_s: u64,
    /// A held screening is overdue after.
    pub hold_overdue_s: u64,
    /// A mutation that was not sent is overdue after.
    pub standby_overdue_s: u64,
    /// Most times a mutation really leaves.
    pub sends: u32,
    /// A row on which our code fails so often is given up.
    pub faults: u32,
    /// When to bill.
    pub billing_trigger: BillingTrigger,
    /// Least time from the trigger to the billing request.
    pub billing_delay_s: u64,
    /// The agency's closing hours.
    pub closed: Vec<ClosedWindow>,
    /// The merchant of the orders, if it has an address at which it is told of them.
    #[serde(skip)]
    pub told_merchant: Option<String>,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            interval_s: 300,
            lease_s: 900,
            lease_renew_s: 60,
            run_slice_s: 240,
            step_slice_s: 60,
            page_rows: 200,
            call_items: 100,
            read_calls: 1,
            commit_items: 100,
            call_timeout_s: 30,
            agency_delay_s: 600,
            quiet_s: 600,
            unknown_s: 86_400,
            retry_s: vec![60, 120, 300, 600, 1_800, 3_600],
            jitter_percent: 20,
            hold_poll_s: 1_800,
            result_overdue_s: 86_400,
            hold_overdue_s: 259_200,
            standby_overdue_s: 1_800,
            sends: 3,
            faults: 5,
            billing_trigger: BillingTrigger::Authorized,
            billing_delay_s: 0,
            closed: Vec::new(),
            told_merchant: None,
        }
    }
}

/// A number of the settings with its range, for the check, the sample and the messages.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// The key.
    pub key: &'static str,
    /// Least value.
    pub least: u64,
    /// Greatest value.
    pub greatest: u64,
    /// Reads it.
    pub of: fn(&WorkerSettings) -> u64,
}

/// Every number, its range and where it stands.
#[rustfmt::skip]
pub const RANGES: [Range; 21] = [
    Range { key: "interval_s", least: 1, greatest: 86_400, of: |s| s.interval_s },
    Range { key: "lease_s", least: 60, greatest: 86_400, of: |s| s.lease_s },
    Range { key: "lease_renew_s", least: 1, greatest: 3_600, of: |s| s.lease_renew_s },
    Range { key: "run_slice_s", least: 1, greatest: 86_400, of: |s| s.run_slice_s },
    Range { key: "step_slice_s", least: 1, greatest: 86_400, of: |s| s.step_slice_s },
    Range { key: "page_rows", least: 1, greatest: 5_000, of: |s| s.page_rows.into() },
    Range { key: "call_items", least: 1, greatest: 1_000, of: |s| s.call_items.into() },
    Range { key: "read_calls", least: 1, greatest: 4, of: |s| s.read_calls.into() },
    Range { key: "commit_items", least: 1, greatest: 1_000, of: |s| s.commit_items.into() },
    Range { key: "call_timeout_s", least: 1, greatest: 300, of: |s| s.call_timeout_s },
    Range { key: "agency_delay_s", least: 0, greatest: 604_800, of: |s| s.agency_delay_s },
    Range { key: "quiet_s", least: 1, greatest: 604_800, of: |s| s.quiet_s },
    Range { key: "unknown_s", least: 3_600, greatest: 2_592_000, of: |s| s.unknown_s },
    Range { key: "jitter_percent", least: 0, greatest: 50, of: |s| s.jitter_percent.into() },
    Range { key: "hold_poll_s", least: 1, greatest: 86_400, of: |s| s.hold_poll_s },
    Range { key: "result_overdue_s", least: 600, greatest: 2_592_000, of: |s| s.result_overdue_s },
    Range { key: "hold_overdue_s", least: 600, greatest: 2_592_000, of: |s| s.hold_overdue_s },
    Range { key: "standby_overdue_s", least: 1, greatest: 86_400, of: |s| s.standby_overdue_s },
    Range { key: "sends", least: 1, greatest: 10, of: |s| s.sends.into() },
    Range { key: "faults", least: 1, greatest: 100, of: |s| s.faults.into() },
    Range { key: "billing_delay_s", least: 0, greatest: 7_776_000, of: |s| s.billing_delay_s },
];

/// What is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A number is out of its range.
    #[error("frex.worker.{key} = {value} is out of range; it must be {least} to {greatest}")]
    Range {
        /// The key.
        key: &'static str,
        /// Its value.
        value: u64,
        /// Least.
        least: u64,
        /// Greatest.
        greatest: u64,
    },
    /// Two values do not go together.
    #[error("frex.worker.{0}")]
    Relation(&'static str),
}

/// The least a worker must outlive its own run: a lease that ends during a run would be taken over.
const LEASE_SPARE_S: u64 = 60;

impl WorkerSettings {
    /// Checks ranges and relations.
    ///
    /// # Errors
    /// The first thing wrong, with the key and what it must be.
    pub fn check(&self) -> Result<(), SettingsError> {
        for range in RANGES {
            let value = (range.of)(self);
            if !(range.least..=range.greatest).contains(&value) {
                return Err(SettingsError::Range {
                    key: range.key,
                    value,
                    least: range.least,
                    greatest: range.greatest,
                });
            }
        }
        let relations = [
            (
                self.lease_s < 2 * self.call_timeout_s + LEASE_SPARE_S,
                "lease_s must be at least 2 x call_timeout_s + 60: a call must end within the lease",
            ),
            (
                self.lease_renew_s * 2 > self.lease_s,
                "lease_renew_s must be at most half of lease_s",
            ),
            (
                self.step_slice_s > self.run_slice_s,
                "step_slice_s must be at most run_slice_s",
            ),
            (
                self.retry_s.is_empty() || self.retry_s.contains(&0),
                "retry_s must name at least one delay, each at least 1",
            ),
            (
                self.unknown_s * 1_000 <= self.quiet_ms().unsigned_abs(),
                "unknown_s must be longer than the quiet time",
            ),
            (
                self.closed
                    .iter()
                    .any(|window| window.from_minute > 1_439 || window.to_minute > 1_439),
                "closed has minutes of the day from 0 to 1439",
            ),
        ];
        match relations.into_iter().find(|relation| relation.0) {
            Some((_, text)) => Err(SettingsError::Relation(text)),
            None => Ok(()),
        }
    }

    /// How long "not found" does not count: twice the client's limit, the agency's delay, and the least quiet time.
    #[must_use]
    pub fn quiet_ms(&self) -> i64 {
        ms((2 * self.call_timeout_s)
            .max(self.agency_delay_s)
            .max(self.quiet_s))
    }

    /// Least time from the trigger to the billing request.
    #[must_use]
    pub fn billing_delay_ms(&self) -> i64 {
        ms(self.billing_delay_s)
    }

    /// The delay after a number of tries, without its random part.
    #[must_use]
    pub fn retry_ms(&self, tries: i64) -> i64 {
        let index = usize::try_from(tries.max(0))
            .unwrap_or(usize::MAX)
            .min(self.retry_s.len().saturating_sub(1));
        ms(self.retry_s.get(index).copied().unwrap_or(60))
    }

    /// Whether the agency takes no mutations at a minute of the day.
    #[must_use]
    pub fn closed_at(&self, minute: u32) -> bool {
        self.closed.iter().any(|window| window.contains(minute))
    }

    /// Whether the agency takes no mutations at a time, unix ms.
    #[must_use]
    pub fn closed_hours(&self, at_ms: i64) -> bool {
        self.closed_at(minute_of_day(at_ms))
    }

    /// The latest time, unix ms, since which the agency has been open for so long. None if it never opens.
    #[must_use]
    pub fn open_since(&self, now_ms: i64, open_ms: i64) -> Option<i64> {
        if self.closed.is_empty() {
            return Some(now_ms - open_ms);
        }
        let open_of_day = (0..MINUTES_OF_DAY).filter(|it| !self.closed_at(*it));
        let day_open_ms = i64::try_from(open_of_day.count()).unwrap_or(0) * MINUTE_MS;
        if day_open_ms == 0 {
            return None;
        }
        // Whole days have the same open time wherever they begin; of the rest each minute is looked at.
        let mut since = now_ms - open_ms / day_open_ms * DAY_MS;
        let mut left = open_ms % day_open_ms;
        while left > 0 {
            // The part of a minute that lies before `since`, or the whole one before it.
            let minute_began = (since - 1).div_euclid(MINUTE_MS) * MINUTE_MS;
            let part = since - minute_began;
            if self.closed_hours(minute_began) {
                since = minute_began;
            } else {
                since -= part.min(left);
                left -= part.min(left);
            }
        }
        Some(since)
    }
}

/// The minute of the day in Japan.
fn minute_of_day(at_ms: i64) -> u32 {
    let minute = (at_ms + JAPAN_AHEAD_MS).rem_euclid(DAY_MS) / MINUTE_MS;
    // It is below 1440.
    u32::try_from(minute).unwrap_or(0)
}

/// Seconds as milliseconds.
#[must_use]
pub fn ms(seconds: u64) -> i64 {
    i64::try_from(seconds.saturating_mul(1_000)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The defaults are within their ranges and go together.
    #[test]
    fn defaults_are_sound() {
        assert_eq!(WorkerSettings::default().check(), Ok(()));
        assert_eq!(WorkerSettings::default().quiet_ms(), 600_000);
    }

    /// A value out of range is refused with its key and range.
    #[test]
    fn a_bad_value_is_named() {
        let settings = WorkerSettings {
            call_items: 1_001,
            ..WorkerSettings::default()
        };
        let message = settings.check().expect_err("out of range").to_string();
        assert_eq!(
            message,
            "frex.worker.call_items = 1001 is out of range; it must be 1 to 1000"
        );
        let settings = WorkerSettings {
            lease_s: 100,
            ..WorkerSettings::default()
        };
        assert!(
            settings
                .check()
                .expect_err("too short")
                .to_string()
                .contains("lease_s must be at least")
        );
    }

    /// Delays follow the list, and the last one repeats for ever.
    #[test]
    fn delays_end_in_the_last() {
        let settings = WorkerSettings::default();
        let delays: Vec<i64> = [0, 1, 2, 3, 4, 5, 6, 1_000]
            .map(|tries| settings.retry_ms(tries) / 60_000)
            .into();
        assert_eq!(delays, [1, 2, 5, 10, 30, 60, 60, 60]);
    }

    /// Only the time in which the agency is open counts, over nights and whole days; where it never opens, none does.
    #[test]
    fn closed_time_does_not_count() {
        let mut settings = WorkerSettings::default();
        let at = |text: &str| crate::clock::parse_rfc3339(text).expect("a time");
        let morning = at("2025-01-15T06:10:30+09:00");
        let since = |settings: &WorkerSettings, minutes: i64| {
            settings.open_since(morning, minutes * MINUTE_MS)
        };
        assert_eq!(since(&settings, 30), Some(morning - 30 * MINUTE_MS));
        settings.closed = vec![ClosedWindow {
            from_minute: 1_350,
            to_minute: 360,
        }];
        for (minutes, begins) in [
            (0, "2025-01-15T06:10:30+09:00"),
            (10, "2025-01-15T06:00:30+09:00"),
            (30, "2025-01-14T22:10:30+09:00"),
            // 16 and a half hours of a day are open.
            (990 + 30, "2025-01-13T22:10:30+09:00"),
        ] {
            assert_eq!(since(&settings, minutes), Some(at(begins)), "{minutes}");
        }
        settings.closed = vec![
            ClosedWindow {
                from_minute: 0,
                to_minute: 720,
            },
            ClosedWindow {
                from_minute: 720,
                to_minute: 0,
            },
        ];
        assert_eq!(since(&settings, 30), None);
    }

    /// A window over midnight holds the minutes on both sides of it.
    #[test]
    fn windows_run_over_midnight() {
        let window = ClosedWindow {
            from_minute: 1_380,
            to_minute: 60,
        };
        assert!(
            window.contains(1_400)
                && window.contains(0)
                && !window.contains(60)
                && !window.contains(700)
        );
    }
}
