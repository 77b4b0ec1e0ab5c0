//! Which parameter of a `.cf` becomes which key (`spec/fexics.md 6.2`, `6.4`), and which have no counterpart and why.

use crate::keys::{Fallback, Rule, Section};

/// A parameter that becomes one key.
pub(super) struct Mapped {
    /// Its path in the `.cf`.
    pub cf: &'static str,
    /// The section of the key.
    pub section: &'static str,
    /// The key.
    pub key: &'static str,
    /// How the value is turned.
    pub how: How,
}

/// How a value of a `.cf` is turned into one of the configuration.
pub(super) enum How {
    /// A word for a word.
    Words(&'static [(&'static str, &'static str)]),
    /// ON and OFF.
    OnOff,
    /// Seconds become milliseconds, 1 to 3600.
    Seconds,
    /// Days of the journal: 0 kept it for ever, which a recycled journal cannot.
    JournalDays,
}

/// Days FEXICS kept its journal at least.
const JOURNAL_DAYS_MIN: u32 = 4;

const fn seconds(cf: &'static str, section: &'static str, key: &'static str) -> Mapped {
    Mapped {
        cf,
        section,
        key,
        how: How::Seconds,
    }
}

/// All parameters that become one key.
pub(super) const MAPPED: [Mapped; 11] = [
    Mapped {
        cf: "SYSTEM.LOG_LEVEL",
        section: "",
        key: "log_level",
        how: How::Words(&[
            ("IOEVENT", "ioevent"),
            ("ERROR", "error"),
            ("WARNING", "warning"),
            ("INFORMATION", "information"),
            ("DEBUG", "debug"),
        ]),
    },
    Mapped {
        cf: "SYSTEM.MASKING_MODE",
        section: "",
        key: "masking",
        how: How::Words(&[("JCCA", "jcca"), ("PCIDSS", "pcidss")]),
    },
    Mapped {
        cf: "SYSTEM.DISPOSAL_JOURNAL_DATE",
        section: "journal",
        key: "retention_days",
        how: How::JournalDays,
    },
    Mapped {
        cf: "SYSTEM.CAFIS_ROUTE_BUSY_FUNCTION",
        section: "line",
        key: "route_busy",
        how: How::Words(&[("ERROR_REPLY", "error_reply"), ("BUFFERING", "buffering")]),
    },
    Mapped {
        cf: "SYSTEM.CAFIS_RECONCILE_AUTO_REPLY",
        section: "line",
        key: "auto_reply",
        how: How::OnOff,
    },
    seconds(
        "TIMER.EVENT_RECEIVE_TIMEOUT",
        "api",
        "event_receive_timeout_ms",
    ),
    seconds("TIMER.CAFIS.T31", "line.timers", "t31_ms"),
    seconds("TIMER.CAFIS.T32", "line.timers", "t32_ms"),
    seconds("TIMER.CAFIS.T33", "line.timers", "t33_ms"),
    seconds("TIMER.CAFIS.T34", "line.timers", "t34_ms"),
    seconds("TIMER.CAFIS.T35", "line.timers", "t35_ms"),
];

/// Known parameters of which nothing is made, and why. A star stands for any ending.
pub(super) const WITHOUT_COUNTERPART: [(&str, &str); 9] = [
    (
        "SYSTEM.OP_MODE",
        "belongs to CARDNET; a CAFIS line does not use it",
    ),
    (
        "SYSTEM.ORIGINATOR_CODE",
        "belongs to CARDNET; a CAFIS line does not use it",
    ),
    (
        "SYSTEM.DISPOSAL_JOURNAL_COMPRESSION",
        "Sekisho's journal is recycled by segments and has nothing to compress",
    ),
    (
        "SYSTEM.DISPOSAL_EVENTLOG_DATE",
        "control telegrams are in the journal: journal.retention_days keeps them",
    ),
    (
        "SYSTEM.DISPOSAL_RECONCILLOG_DATE",
        "reconciliation telegrams are in the journal: journal.retention_days keeps them",
    ),
    (
        "SYSTEM.DISPOSAL_SUMDAT_DATE",
        "counters have no files of their own",
    ),
    (
        "SYSTEM.DISPOSAL_LOG_DATE",
        "Sekisho deletes no log: rotate log_file with the system's own tool",
    ),
    (
        "MSG_FIELD.*",
        "belongs to CARDNET; a CAFIS line uses the originator only",
    ),
    (
        "TIMER.CARDNET.*",
        "belongs to CARDNET; a CAFIS line does not use it",
    ),
];

impl How {
    /// The value as TOML.
    ///
    /// # Errors
    /// What was expected.
    pub(super) fn value(&self, given: &str) -> Result<String, String> {
        match self {
            Self::Words(words) => {
                let found = words
                    .iter()
                    .find(|(word, _)| word.eq_ignore_ascii_case(given));
                let allowed = || {
                    words
                        .iter()
                        .map(|(word, _)| *word)
                        .collect::<Vec<_>>()
                        .join(", ")
                };
                found
                    .map(|(_, value)| format!("\"{value}\""))
                    .ok_or_else(|| format!("one of {}", allowed()))
            }
            Self::OnOff if given.eq_ignore_ascii_case("ON") => Ok("true".to_owned()),
            Self::OnOff if given.eq_ignore_ascii_case("OFF") => Ok("false".to_owned()),
            Self::OnOff => Err("ON or OFF".to_owned()),
            Self::Seconds => match given.parse::<u32>() {
                Ok(seconds @ 1..=3600) => Ok(format!("{}", u64::from(seconds) * 1000)),
                _ => Err("a number of seconds, 1..3600".to_owned()),
            },
            Self::JournalDays => match given.parse::<u32>() {
                Ok(0) => Ok(default_of("journal", "retention_days")),
                Ok(days @ ..=3650) => Ok(days.max(JOURNAL_DAYS_MIN).to_string()),
                _ => Err("a number of days, 0 or 4..3650".to_owned()),
            },
        }
    }
}

impl Mapped {
    /// Section and key.
    pub(super) fn full_key(&self) -> String {
        if self.section.is_empty() {
            self.key.to_owned()
        } else {
            format!("{}.{}", self.section, self.key)
        }
    }

    /// What the default is, for the report.
    pub(super) fn default_text(&self) -> String {
        let text = format!(
            "{} = {}",
            self.full_key(),
            default_of(self.section, self.key)
        );
        match self.how {
            How::JournalDays => format!("{text} (FEXICS kept everything)"),
            _ => text,
        }
    }

    /// What is odd about a value that was taken over. Timers that differ from the centre's are found by the checks of
    /// the configuration itself.
    pub(super) fn remark(&self, given: &str) -> Option<String> {
        let How::JournalDays = self.how else {
            return None;
        };
        match given.parse::<u32>() {
            Ok(0) => Some(format!(
                "0 kept the journal for ever; Sekisho recycles it after {} days: raise journal.retention_days and \
                 journal.segments_max for more, and export what must be kept longer",
                default_of(self.section, self.key)
            )),
            Ok(1..JOURNAL_DAYS_MIN) => Some(format!(
                "less than {JOURNAL_DAYS_MIN} was never allowed; {JOURNAL_DAYS_MIN} is taken"
            )),
            _ => None,
        }
    }
}

/// The default of a key as TOML.
fn default_of(section: &str, key: &str) -> String {
    match Section::find(section).key(key).map(|key| &key.rule) {
        Some(Rule::Integer {
            default: Fallback::Value(value),
            ..
        }) => value.to_string(),
        Some(Rule::Flag { default }) => default.to_string(),
        Some(Rule::Choice { default, .. }) => format!("\"{default}\""),
        _ => panic!("{section}.{key} has a default in the table of keys"),
    }
}
