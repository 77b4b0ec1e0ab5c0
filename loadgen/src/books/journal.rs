//! The daemon's journal, as the comparison wants it.

use std::path::Path;

use codec::cafis::mti::Mti;
use engine::journal::book::{JournalEntry as Read, read_book};

use super::entry::JournalEntry;

pub use engine::journal::recover::RecoverError as JournalError;

/// Reads the journals of all shards in a directory. The daemon may have stopped in any way; it must not be running.
///
/// # Errors
/// The directory cannot be read, or a journal is damaged.
pub fn read(dir: &Path) -> Result<Vec<JournalEntry>, JournalError> {
    Ok(read_book(dir)?.iter().map(entry).collect())
}

/// What the comparison needs of a journal's entry.
fn entry(read: &Read) -> JournalEntry {
    JournalEntry {
        key: read.key,
        state: read.state,
        request_mti: Mti(read.request_mti).digits(),
        report_mti: read.report_mti.map_or(*b"0000", |mti| Mti(mti).digits()),
        sequence: read.sequence,
    }
}

#[cfg(test)]
mod tests {
    use codec::link::message::TransactionState;

    use super::*;

    /// Numbers become the digits that the books show, and a missing report becomes zeros.
    #[test]
    fn an_entry_is_taken_over() {
        let read = Read {
            key: [b'1'; 24],
            line: 1,
            tx: 9,
            sequence: 17,
            cut_date: 20_261_130,
            request_mti: 3110,
            report_mti: None,
            error: *b"   ",
            delivered: false,
            cancelled: true,
            settled: true,
            state: TransactionState::Cancelled,
        };
        let ours = entry(&read);
        assert_eq!((ours.request_mti, ours.report_mti), (*b"3110", *b"0000"));
        assert_eq!(
            (ours.state, ours.sequence),
            (TransactionState::Cancelled, 17)
        );
    }
}
