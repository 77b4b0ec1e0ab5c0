//! The CAFIS centre interface (`spec/cafis.md`): bytes to meaning and back.
//!
//! Everything here works on slices that somebody else owns: views borrow, writers append to a caller's buffer, and
//! nothing allocates once that buffer has room for [`frame::FRAME_MAX`] bytes. Nothing here knows a clock, a
//! socket or a transaction's state. No input makes a parser panic; what a peer got wrong is a named value.
//! A frame holds card data, so no type of this module prints its bytes: what is shown goes through [`mask`].

pub mod control;
pub mod counters;
pub mod fault;
pub mod field;
pub mod frame;
pub mod header;
pub mod mask;
pub mod mti;
pub mod report;
pub mod section;
