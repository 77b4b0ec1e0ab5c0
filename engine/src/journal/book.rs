//! The journal's book: how every transaction in it ended, to be held against the applications' and the centre's.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;

use codec::link::message::TransactionState;

use super::read::walk_dir;
use super::recover::RecoverError;
use super::store::file::FileStore;
use super::track::{Track, key_of};

/// How a transaction stands in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalEntry {
    /// Transaction key: date, terminal, terminal sequence.
    pub key: [u8; 24],
    /// Its line.
    pub line: u32,
    /// Its id in the shard.
    pub tx: u64,
    /// Originator sequence.
    pub sequence: u32,
    /// Cut date of the sequence, YYYYMMDD.
    pub cut_date: u32,
    /// Message type of the request.
    pub request_mti: u16,
    /// Message type of the report, if there is one.
    pub report_mti: Option<u16>,
    /// Error code of the report, spaces if it has none.
    pub error: [u8; 3],
    /// Its application holds the report.
    pub delivered: bool,
    /// 8950 or 8960 says that it is undone.
    pub cancelled: bool,
    /// Nothing more happens to it by itself.
    pub settled: bool,
    /// Where it stands.
    pub state: TransactionState,
}

impl From<&Track> for JournalEntry {
    fn from(track: &Track) -> JournalEntry {
        JournalEntry {
            key: track.key,
            line: track.line,
            tx: track.tx,
            sequence: track.sequence,
            cut_date: track.cut_date,
            request_mti: track.request_mti,
            report_mti: track.report_mti,
            error: track.error,
            delivered: track.state == TransactionState::Delivered,
            cancelled: track.state == TransactionState::Cancelled,
            settled: track.settled,
            state: track.state,
        }
    }
}

/// Reads the journals of all shards in a directory: one entry per transaction key, of the newest transaction that is
/// not settled, else the newest; sorted by key.
///
/// # Errors
/// The directory cannot be read, or a journal is damaged.
pub fn read_book(dir: &Path) -> Result<Vec<JournalEntry>, RecoverError> {
    let mut all = read_transactions(dir)?;
    // The one to keep comes first of its key.
    all.sort_unstable_by_key(|entry| (entry.key, entry.settled, std::cmp::Reverse(entry.tx)));
    all.dedup_by_key(|entry| entry.key);
    Ok(all)
}

/// Reads the journals of all shards in a directory: every transaction, in no order.
///
/// # Errors
/// As [`read_book`].
pub fn read_transactions(dir: &Path) -> Result<Vec<JournalEntry>, RecoverError> {
    let mut all = Vec::new();
    for shard in FileStore::shards(dir)? {
        let mut tracks: HashMap<u64, Track> = HashMap::new();
        let mut unreadable = None;
        walk_dir(dir, shard, &mut |block, record| {
            if record.fields.tx == 0 {
                return ControlFlow::Continue(());
            }
            let fact = match record.fact() {
                Ok(fact) => fact,
                Err(reason) => {
                    unreadable = Some(RecoverError::UnknownRecord {
                        segment: block.segment,
                        offset: block.offset,
                        reason,
                    });
                    return ControlFlow::Break(());
                }
            };
            let (tx, line) = (record.fields.tx, record.fields.line);
            if let Some(track) = tracks.get_mut(&tx) {
                track.apply(&fact);
            } else if let Some(key) = key_of(&fact) {
                let mut track = Track::new(key, line, tx);
                track.apply(&fact);
                tracks.insert(tx, track);
            }
            ControlFlow::Continue(())
        })?;
        if let Some(error) = unreadable {
            return Err(error);
        }
        all.extend(tracks.values().map(JournalEntry::from));
    }
    Ok(all)
}
