//! The HTTP surface (`spec/atom.md 15`).

pub mod problem;
pub mod request_id;
