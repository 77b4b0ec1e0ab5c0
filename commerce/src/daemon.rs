//! The process: what is opened in which order at the start, what runs beside the requests, and how everything ends.

use std::path::Path;

use crate::config::Config;
use crate::store::{Store, StoreError};

/// Reads the configuration; all its faults as lines of one text.
///
/// # Errors
/// The faults.
pub fn load(file: &Path) -> Result<Config, String> {
    Config::load(file).map_err(|problems| {
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        lines.join("\n")
    })
}

/// Opens the store of a configuration and brings its tables up to date.
///
/// # Errors
/// It cannot be opened.
pub async fn open_store(config: &Config) -> Result<Store, StoreError> {
    Store::open(&config.store_url, &config.store).await
}
