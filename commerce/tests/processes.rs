//! The whole, as real processes over real sockets: `commerced` on both databases against the simulator of Atom.

mod common;
mod daemon;
mod whole;
