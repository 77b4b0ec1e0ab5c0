//! What comes in at the callback and return addresses: verified, stored, and only then applied (`spec/atom.md` 14).
//!
//! A message is durable before Atom is told that we have it. Applying it is a step of its own, which is repeated until it
//! succeeds; so a message that we answered with 200 is never lost. What is not verified changes nothing.

mod applier;
mod receive;
mod sample;

pub use applier::InboxReport;
pub use receive::{CallbackAnswer, Landing, LandingState};
pub(super) use sample::Sampler;
