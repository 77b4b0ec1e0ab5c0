//! Tests that span crates. [`daemon`] is the real daemon as tests start and meet it; the tests themselves are in `tests/`.

pub mod daemon;
