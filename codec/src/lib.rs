//! Bytes to meaning and back: CAFIS telegrams and the link protocol.
//!
//! No I/O, no clock, and no allocation on the path: views are slices of the input, writers append to the caller's memory.

pub mod cafis;
pub mod link;
