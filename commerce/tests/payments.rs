//! The payment half of the flow, on both databases: what the rules say, crashes at every point, and many at once.

mod common;
mod payment;
