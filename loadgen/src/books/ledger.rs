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
