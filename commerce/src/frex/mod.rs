//! FREX: business orders on invoice terms through an external agency (`spec/frex.md`).
//!
//! The shop's side ([`shop`]) writes orders, edits and cancels. The [`worker`] registers, changes, cancels, screens and bills them
//! through the [`agency`], step by step ([`steps`]), and tells people of what it cannot do ([`alert`]). Operators decide the
//! rest ([`decide`]). [`service`] makes a part of the process of it, with checks and messages beside the batch. All of it meets in the tables ([`tables`]), under the rules of [`transitions`]: the worker never trusts
//! that a call arrived or did not, and nothing is sent whose intent is not durable.

pub mod agency;
pub mod alert;
mod batch;
pub mod decide;
pub mod duty;
pub mod error;
pub mod health;
pub mod invariants;
pub mod key;
pub mod lease;
pub mod model;
mod news;
pub mod notify;
mod owner;
pub mod purge;
pub mod reconcile;
pub mod report;
mod runs;
pub mod service;
pub mod settings;
pub mod shop;
pub mod steps;
mod sweep;
pub mod tables;
pub mod transitions;
pub mod vault;
pub mod view;
pub mod worker;
