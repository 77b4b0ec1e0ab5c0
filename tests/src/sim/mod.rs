//! The whole system under virtual time: the core with its journal, a disk, a centre, applications, and everything
//! that can go wrong between them. A seed decides everything, so a failure is replayed exactly.
//!
//! [`world::World`] owns the clock and carries frames; [`gateway`] drives `Pipeline` as the shard does, over
//! [`disk::Disk`]; [`centre::Centre`] and [`app::App`] are models that know the interfaces and nothing of the core.
//! [`book`] is what the disk holds, read back independently, and [`check`] holds the books against each other:
//! the invariants of `design.md`, "How it is shown to be right", by their numbers there.

pub mod app;
pub mod book;
pub mod centre;
pub mod check;
pub mod disk;
pub mod gateway;
pub mod plan;
pub mod rng;
pub mod telegram;
pub mod world;

/// Nanoseconds of a millisecond.
pub const MS: u64 = 1_000_000;
/// Nanoseconds of a second.
pub const SEC: u64 = 1_000 * MS;
