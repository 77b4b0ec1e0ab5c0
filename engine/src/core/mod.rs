//! The core.
pub mod fact;
