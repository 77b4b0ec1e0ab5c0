//! What is taken from the journal and from the centre's ledger for the comparison.

use codec::link::message::TransactionState;

/// A transaction as the daemon's journal has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalEntry {
    /// Date, terminal, terminal sequence.
    pub key: [u8; 24],
    /// Where it stands.
    pub state: TransactionState,
    /// Message type of the request.
    pub request_mti: [u8; 4],
    /// Message type of the report, zeros if there is none.
    pub report_mti: [u8; 4],
    /// Originator sequence, 0 if it was never sent.
    pub sequence: u32,
}

/// What became of a request at the centre.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CentreOutcome {
    /// No result.
    Open,
    /// xx20.
    Approved,
    /// xx50.
    Refused,
    /// 8970 with this code.
    Abnormal([u8; 3]),
}

/// A transaction as the centre's ledger has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CentreEntry {
    /// Date, terminal, terminal sequence.
    pub key: [u8; 24],
    /// Message type of the request.
    pub mti: [u8; 4],
    /// Originator sequence.
    pub sequence: u32,
    /// What became of it.
    pub outcome: CentreOutcome,
    /// It was cancelled, or the centre has taken the cancellation over (C13, C14, C50: spec/cafis.md 8.5).
    pub undone: bool,
    /// The centre found a doubled sequence, or a fault message that was not the request's.
    pub faulty: bool,
}
