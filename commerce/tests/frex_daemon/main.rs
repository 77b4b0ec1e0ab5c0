//! The deferred-payment worker in a real `commerced`, against the real simulator of the agency (`loadgen centre frex`).

mod agency;
mod catcher;
#[path = "../common/mod.rs"]
mod common;
#[path = "../daemon/mod.rs"]
mod daemon;
mod decide;
mod errors;
mod orders;
mod shop;
mod tell;
mod worker;
