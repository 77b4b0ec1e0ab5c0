//! FREX: business orders on invoice terms through an external agency (`spec/frex.md`).

pub mod agency;
pub mod key;
