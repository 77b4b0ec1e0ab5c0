//! The requery job: what became of attempts whose result is missing, late or to be confirmed (`spec/atom.md` 13.3).
//!
//! Each due attempt is claimed by a lease, asked for, and what the answer says is applied like any other news. A claim
//! whose process dies is free again when the lease is over; asking twice does no harm.

mod claim;
mod job;
mod pace;
mod pull;
mod schedule;
mod write;

pub use job::RequeryReport;
pub(super) use pace::Pace;
pub use pull::QUERY_GAP_MS;
pub(super) use schedule::{first_query_ms, next_query_ms, reversal_check_ms, soonest_ms};
