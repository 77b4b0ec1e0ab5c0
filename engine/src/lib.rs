//! Placeholder while the crate is being built.
pub mod driver;
