//! The requery job: what became of attempts whose result is missing, late or to be confirmed (`spec/atom.md` 13.3).

mod pull;

pub use pull::QUERY_GAP_MS;
