//! What a refund status says about one of our refunds (`spec/atom.md` 7.7, 11.3). No I/O.
//!
//! The answer lists every refund of a payment. Ours are found by `prodRefundId` and believed only when the amount is
//! the one we sent; what the gateway calls their state is free text, so its meaning comes from a configurable table.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::atom::wire::messages::{AmountMatch, RefundEntry};

/// What a word in `remarks` means to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Meaning {
    /// Initiated or under way.
    Accepted,
    /// Paid out.
    Processed,
    /// Taken up and then failed.
    Failed,
    /// Never taken up.
    Rejected,
}

/// The words of `remarks` and their meaning. Only the first is published; the others have been seen in integrations
/// of third parties.
pub const REMARKS: &[(&str, Meaning)] = &[
    ("REFUND INITIATED", Meaning::Accepted),
    ("INITIATED", Meaning::Accepted),
    ("PENDING", Meaning::Accepted),
    ("REFUND PENDING", Meaning::Accepted),
    ("REFUND IN PROCESS", Meaning::Accepted),
    ("PROCESSED", Meaning::Processed),
    ("REFUND PROCESSED", Meaning::Processed),
    ("REFUND COMPLETED", Meaning::Processed),
    ("FAILED", Meaning::Failed),
    ("REFUND FAILED", Meaning::Failed),
    ("REJECTED", Meaning::Rejected),
    ("REFUND REJECTED", Meaning::Rejected),
];

/// The table of `remarks`, matched without regard to case and outer blanks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RemarkTable(BTreeMap<String, Meaning>);

impl Default for RemarkTable {
    fn default() -> Self {
        RemarkTable(
            REMARKS
                .iter()
                .map(|(word, meaning)| (word.to_string(), *meaning))
                .collect(),
        )
    }
}

impl RemarkTable {
    /// The meaning of a word, `None` if the table does not have it.
    pub fn meaning(&self, remarks: &str) -> Option<Meaning> {
        let word = remarks.trim();
        self.0
            .iter()
            .find(|(known, _)| known.trim().eq_ignore_ascii_case(word))
            .map(|(_, m)| *m)
    }
}

/// What the list says about one line of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineFinding {
    /// Listed once with our amount.
    Listed {
        /// The meaning of its remarks; a word we do not know counts as accepted.
        meaning: Meaning,
        /// Whether the table has the word.
        word_known: bool,
        /// The remarks, for the record.
        remarks: String,
        /// The gateway's own number of the refund.
        refund_txn_id: Option<String>,
    },
    /// Listed with exactly a hundred times our amount: most likely paise where rupees were expected.
    TimesHundred,
    /// Listed with another amount, or with none.
    OtherAmount {
        /// The amount listed, in minor units.
        listed: Option<i64>,
    },
    /// Listed more than once: the gateway has refunded the same line again.
    Repeated {
        /// How many times.
        times: usize,
    },
    /// Not in the list.
    Absent,
}

/// Looks for one line of ours, of this amount in minor units, in the list.
pub fn find_line(
    list: &[RefundEntry],
    prod_refund_id: &str,
    amount: i64,
    table: &RemarkTable,
) -> LineFinding {
    let mut ours = list
        .iter()
        .filter(|entry| entry.prod_refund_id == prod_refund_id);
    let Some(entry) = ours.next() else {
        return LineFinding::Absent;
    };
    let more = ours.count();
    if more > 0 {
        return LineFinding::Repeated { times: more + 1 };
    }
    match entry.compare(amount) {
        AmountMatch::Hundredfold => return LineFinding::TimesHundred,
        AmountMatch::Different => {
            return LineFinding::OtherAmount {
                listed: entry.amount,
            };
        }
        AmountMatch::Equal => {}
    }
    let meaning = table.meaning(&entry.remarks);
    LineFinding::Listed {
        meaning: meaning.unwrap_or(Meaning::Accepted),
        word_known: meaning.is_some(),
        remarks: entry.remarks.clone(),
        refund_txn_id: entry.refund_txn_id.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &str, amount: Option<i64>, remarks: &str) -> RefundEntry {
        RefundEntry {
            prod_name: None,
            prod_refund_id: id.to_owned(),
            refund_txn_id: Some("700001".to_owned()),
            amount,
            remarks: remarks.to_owned(),
            initiated_date: None,
        }
    }

    /// Ours is found among others by id, whatever the case of its remarks.
    #[test]
    fn found_by_id() {
        let list = [
            entry("RF1", Some(100), "REFUND FAILED"),
            entry("RF2", Some(2550), " refund Initiated "),
        ];
        let table = RemarkTable::default();
        assert_eq!(
            find_line(&list, "RF2", 2550, &table),
            LineFinding::Listed {
                meaning: Meaning::Accepted,
                word_known: true,
                remarks: " refund Initiated ".to_owned(),
                refund_txn_id: Some("700001".to_owned()),
            }
        );
        assert_eq!(find_line(&list, "RF3", 2550, &table), LineFinding::Absent);
    }

    /// Every word of the published and observed vocabulary has its meaning, and no other word has one.
    #[test]
    fn vocabulary() {
        let table = RemarkTable::default();
        for (word, meaning) in REMARKS {
            assert_eq!(table.meaning(&word.to_lowercase()), Some(*meaning));
        }
        assert_eq!(table.meaning("REFUND QUEUED"), None);
        let finding = find_line(&[entry("RF1", Some(5), "REFUND QUEUED")], "RF1", 5, &table);
        assert!(matches!(
            finding,
            LineFinding::Listed {
                meaning: Meaning::Accepted,
                word_known: false,
                ..
            }
        ));
    }

    /// An amount that is not ours is never believed; a hundredfold one is named as such.
    #[test]
    fn amounts() {
        let table = RemarkTable::default();
        for (amount, finding) in [
            (Some(255_000), LineFinding::TimesHundred),
            (Some(2551), LineFinding::OtherAmount { listed: Some(2551) }),
            (None, LineFinding::OtherAmount { listed: None }),
        ] {
            assert_eq!(
                find_line(&[entry("RF1", amount, "PROCESSED")], "RF1", 2550, &table),
                finding
            );
        }
    }

    /// The same id listed twice is told apart from a refund that went well.
    #[test]
    fn listed_twice() {
        let list = [
            entry("RF1", Some(5), "PROCESSED"),
            entry("RF1", Some(5), "PROCESSED"),
        ];
        assert_eq!(
            find_line(&list, "RF1", 5, &RemarkTable::default()),
            LineFinding::Repeated { times: 2 }
        );
    }
}
