//! `commerced`: the daemon of the order and refund flow.

fn main() {}
