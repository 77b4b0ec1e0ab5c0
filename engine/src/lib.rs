//! The engine of `sekishod`: the sans-IO core, the journal, the io_uring driver and the shard loop that joins them.

pub mod control;
pub mod core;
pub mod driver;
pub mod journal;
pub mod pipeline;
pub mod settings;
pub mod shard;
