//! FREX: the deferred-payment agency on loopback, and the books held against it (`spec/frex.md` 15, 17).
//!
//! [`server::Centre`] plays the agency: the design protocol and the public interface over one [`agency::Agency`], with rules,
//! faults, a clock that can be moved, and a [`ledger::Ledger`] of everything it did. It shares no code with the worker that is
//! tested against it. [`books`] holds that ledger against the worker's tables. Only [`run`], which makes load and judges
//! nothing, uses the worker's own code.

pub mod agency;
pub mod books;
pub mod call;
pub mod cli;
pub mod clock;
pub mod face;
pub mod faults;
pub mod item;
pub mod ledger;
pub mod rules;
pub mod run;
pub mod server;
pub mod sim;
mod socket;
