//! A merchant's orders, payments and refunds over the Atom gateway, and the B2B deferred-payment worker (FREX).

pub mod atom;
pub mod clock;
pub mod frex;
pub mod id;
pub mod pages;
pub mod points;
pub mod secret;
pub mod store;
