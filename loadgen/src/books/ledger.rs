//! The centre's ledger, as the comparison wants it.

use std::path::Path;

use super::entry::{CentreEntry, CentreOutcome};
use crate::centre::Code;
use crate::centre::ledger::{self, Anomaly, Entry, Outcome};

pub use crate::centre::ledger::ReadError as LedgerError;

/// Codes of an 8950 or 8960 with which the centre has taken the cancellation over (spec/cafis.md 8.5).
const TAKEN_OVER: [Code; 3] = [Code(*b"C13"), Code(*b"C14"), Code(*b"C50")];

/// Anomalies that are a fault of the daemon's, whatever became of the transaction.
const FAULTS: [Anomaly; 5] = [
    Anomaly::DuplicateSequence,
    Anomaly::CancelUnknown,
    Anomaly::ImageDiffers,
    Anomaly::Unmasked,
    Anomaly::WrongRoute,
];

/// Reads the ledger of `loadgen centre --ledger`.
///
/// # Errors
/// The file cannot be read, or is no whole ledger.
pub fn read(path: &Path) -> Result<Vec<CentreEntry>, LedgerError> {
    let book = ledger::read(path)?;
    Ok(book.entries.iter().map(entry).collect())
}

/// What the comparison needs of a ledger entry.
fn entry(entry: &Entry) -> CentreEntry {
    CentreEntry {
        key: entry.key.0,
        mti: entry.mti.digits(),
        sequence: entry.sequence,
        outcome: match entry.outcome {
            Outcome::None => CentreOutcome::Open,
            Outcome::Approved => CentreOutcome::Approved,
            Outcome::Refused(_) => CentreOutcome::Refused,
            Outcome::Abnormal(code) => CentreOutcome::Abnormal(code.0),
        },
        undone: entry.cancelled.is_some() || TAKEN_OVER.contains(&entry.cancel_code),
        faulty: FAULTS
            .iter()
            .any(|anomaly| entry.anomalies & anomaly.bit() != 0),
    }
}

#[cfg(test)]
mod tests {
    use codec::cafis::mti::Mti;
    use codec::cafis::section::TransactionKey;

    use super::*;
    use crate::centre::ledger::{CancelledBy, NO_CODE};

    /// A cancellation counts whether the centre did it or took it over, and a doubled sequence is a fault.
    #[test]
    fn cancellations_and_faults_are_taken_over() {
        let plain = Entry {
            key: TransactionKey([b'1'; 24]),
            line: 0,
            day: 30,
            sequence: 17,
            route: 2,
            mti: Mti(3110),
            outcome: Outcome::Abnormal(Code(*b"C12")),
            request_us: 1,
            report_us: 2,
            centre_seq: 3,
            cancelled: None,
            cancel_code: NO_CODE,
            faults: 0,
            anomalies: 0,
            image: 0,
        };
        let ours = entry(&plain);
        assert_eq!(
            (ours.mti, ours.outcome, ours.undone, ours.faulty),
            (*b"3110", CentreOutcome::Abnormal(*b"C12"), false, false)
        );
        let undone = Entry {
            cancelled: Some(CancelledBy::Command(Mti(8930))),
            ..plain.clone()
        };
        let taken_over = Entry {
            cancel_code: Code(*b"C50"),
            ..plain.clone()
        };
        assert!(entry(&undone).undone && entry(&taken_over).undone);
        let doubled = Entry {
            anomalies: Anomaly::DuplicateSequence.bit(),
            ..plain
        };
        assert!(entry(&doubled).faulty);
    }
}
