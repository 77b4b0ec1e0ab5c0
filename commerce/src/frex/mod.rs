//! FREX: business orders on invoice terms through an external agency (`spec/frex.md`).
//!
//! The shop's side ([`shop`]) writes orders, edits and cancels. The [`worker`] registers, changes, cancels, screens and bills them
//! through the [`agency`], step by step ([`steps`]), and tells people of what it cannot do ([`alert`]). Operators decide the
//! rest ([`decide`]). All of it meets in the tables ([`tables`]), under the rules of [`transitions`]: the worker never trusts
//! that a call arrived or did not, and nothing is sent whose intent is not durable.

pub mod agency;
pub mod alert;
mod batch;
pub mod decide;
pub mod error;
pub mod key;
pub mod lease;
pub mod model;
pub mod report;
mod runs;
pub mod settings;
pub mod shop;
pub mod steps;
mod sweep;
pub mod tables;
pub mod transitions;
pub mod vault;
pub mod view;
pub mod worker;
