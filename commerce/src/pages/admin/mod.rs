//! `/admin`: orders, issues and refunds for the operators.

pub mod login;
pub mod orders;
pub mod timeline;
