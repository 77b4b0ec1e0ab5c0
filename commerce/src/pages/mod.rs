//! The pages for people: a small shop to pay in, and the admin pages for the operators.
//!
//! Everything is rendered here on the server and works without a script, except the gateway's own payment window. A page never
//! decides anything: it reads through the flow, asks the flow to act, and says in words what the flow answered.

pub mod admin;
pub mod assets;
pub mod form;
pub mod look;
pub mod order;
pub mod session;
pub mod shop;
pub mod text;
pub mod words;
