//! A merchant's orders, payments and refunds over the Atom gateway, and the B2B deferred-payment worker (FREX).

pub mod atom;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod frex;
pub mod frex_commands;
pub mod http;
pub mod id;
pub mod jobs;
pub mod key_commands;
pub mod keys;
pub mod logging;
pub mod metrics;
pub mod notify;
pub mod pages;
pub mod points;
pub mod secret;
pub mod store;
