//! `/admin`: orders, issues and refunds for the operators, and deferred payment where it is configured.

pub mod decide;
pub mod frex;
pub mod handlers;
pub mod issues;
pub mod login;
pub mod order;
pub mod orders;
pub mod proposal;
pub mod records;
pub mod refunds;
pub mod timeline;
