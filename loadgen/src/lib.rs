//! Load, the centre simulator, and the reconciliation of the books.
//!
//! Each module is one thing that `loadgen` does, with its options in its own `cli`; tests use them as a library.

pub mod atom;
pub mod backlog;
pub mod books;
pub mod centre;
pub mod frex;
pub mod run;
