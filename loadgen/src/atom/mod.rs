//! Atom's side of a card payment, and what measures and audits our side of it (`spec/atom.md` 17 and 21).
//!
//! - [`sim`] plays Atom: token issue, hosted page, callbacks, status, refunds, and every fault of the table.
//! - [`run`] drives orders through `commerced` over HTTP and measures them.
//! - [`books`] holds what `commerced` says against what the simulator knows happened to the money.
//!
//! Nothing here uses a line of `commerce`: cipher, signatures and number texts are made a second time from the
//! specification, with another library, so that a misunderstanding on one side cannot hide on the other.

pub mod books;
pub mod run;
pub mod sim;
