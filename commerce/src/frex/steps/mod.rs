//! The nine steps: their table, and the three phases that walk it.
//!
//! ```text
//! regist ── intent, STANDBY ──> mark ── SENDING, durable ──> call ──> outcome (pure) ──> apply
//!                                 └─ no longer wanted: SKIPPED      lookup of UNKNOWN ──┘
//! ```

pub mod apply;
pub mod condition;
pub mod effect;
pub mod group;
pub mod mark;
pub mod outcome;
pub mod payload;
pub mod regist;
pub mod table;
pub mod trans;
