//! `/admin`: orders, issues and refunds for the operators.

pub mod decide;
pub mod handlers;
pub mod issues;
pub mod login;
pub mod order;
pub mod orders;
pub mod proposal;
pub mod records;
pub mod refunds;
pub mod timeline;
