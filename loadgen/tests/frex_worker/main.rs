//! The deferred-payment worker against the simulated agency: real clients over sockets, real databases, and for the crashes a
//! worker in a process of its own. What comes of it is held against the agency's ledger by `loadgen books-frex`'s rules.

#[path = "../../../commerce/tests/common/mod.rs"]
mod common;
#[path = "../../../commerce/tests/frex_support/mod.rs"]
mod frex_support;

mod batch;
mod child;
mod crash;
mod faults;
mod lease;
mod logs;
mod rig;
mod sums;
