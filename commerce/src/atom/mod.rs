//! Card payments and refunds over Atom (`spec/atom.md`).
//!
//! [`wire`] is the interface as text; [`call`] is the interface as our side sees it: typed requests and answers, and
//! what it means when there is no answer; [`client`] makes the calls over HTTPS, with [`settings`], repeats
//! ([`backoff`]) and a [`breaker`]. [`flow`] is what we make of it: orders, attempts, refunds.

pub mod backoff;
pub mod breaker;
pub mod call;
pub mod client;
pub mod flow;
pub mod pins;
pub mod settings;
pub mod wire;
