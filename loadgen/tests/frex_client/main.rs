//! The agency client of `commerce` against the simulated agency, over sockets: every call, every fault of `spec/frex.md` 15,
//! and the adapter against the second face.

mod adapter;
mod calls;
mod faults;
mod support;
