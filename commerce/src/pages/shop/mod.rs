//! `/shop`: a shelf, a basket, an order, and the way to the gateway's payment window and back.
//!
//! The shop acts as one merchant of the configuration. It keeps nothing of its own: the basket travels in the form, the order is
//! in the flow's books.

pub mod basket;
pub mod checkout;
pub mod customer;
pub mod handlers;
pub mod settings;
pub mod stage;
pub mod view;
pub mod visitor;
