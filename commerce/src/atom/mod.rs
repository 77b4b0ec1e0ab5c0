//! Card payments and refunds over Atom (`spec/atom.md`).
//!
//! [`wire`] is the interface as text; [`call`] is the interface as our side sees it: typed requests and answers, and
//! what it means when there is no answer.

pub mod call;
pub mod wire;
