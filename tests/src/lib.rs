//! Tests that span crates. [`sim`] is the seeded simulation of the whole system, [`daemon`] the real daemon as tests start
//! and meet it; the tests themselves are in `tests/`.

pub mod daemon;
pub mod sim;
