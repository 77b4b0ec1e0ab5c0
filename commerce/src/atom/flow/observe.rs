//! What is counted (`spec/atom.md` 16), told to whoever counts.

use crate::atom::wire::codes::Alert;

/// What becomes of a message at the callback or return address.
pub const CALLBACK_RESULTS: [&str; 6] = [
    "accepted",
    "duplicate",
    "decrypt_or_signature",
    "other_merchant",
    "orphan",
    "mismatch",
];

/// Sees what happens. Metrics implement it; it must not block.
pub trait FlowObserver: Send + Sync {
    /// A message came in by `source` (`callback`, `return`) and ended as `result`, one of [`CALLBACK_RESULTS`].
    fn callback(&self, _source: &'static str, _result: &'static str) {}

    /// A message decrypted, and its signature was right or not.
    fn signature(&self, _good: bool) {}

    /// An attempt became a success or a failure, paid by `channel`.
    fn attempt(&self, _channel: &str, _success: bool) {}

    /// An attempt failed by a code that somebody should hear of.
    fn failed_code(&self, _alert: Alert) {}

    /// So many orders broke a rule that must always hold, and nobody was told of it before.
    fn violated(&self, _rule: &'static str, _orders: usize) {}

    /// A requery ended as `result`.
    fn requery(&self, _result: &'static str) {}

    /// A refund reached a state.
    fn refund(&self, _state: &'static str) {}

    /// A payment came for an order that no longer waits for one.
    fn late_capture(&self) {}

    /// A payment came for an order that is paid.
    fn duplicate_capture(&self) {}
}

/// Nobody counts.
pub struct Unobserved;

impl FlowObserver for Unobserved {}
