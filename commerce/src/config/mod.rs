//! The configuration of `commerced`: one TOML file, held against a table of keys, then handed to the settings of each
//! part.
//!
//! [`keys`] is the table of every key with its default, range and unit; `read` walks the file by it and names *all* its
//! faults with their lines; `model` gives the values their types and holds them against each other. Secrets do not stand in
//! the file but in files, credentials or variables it names (`secrets`).

use std::path::Path;

use config::Problem;

mod frex;
pub mod keys;
mod model;
mod read;
pub mod rule;
mod secrets;

pub use frex::FrexConfig;
pub use model::{CallbackSettings, Config, HttpSettings, LimitSettings, MerchantSettings};
pub use secrets::{SecretError, SecretPlace};

impl Config {
    /// Reads and checks the file at `path` and fetches the secrets it names. Relative paths in it start at the directory
    /// it lies in.
    ///
    /// # Errors
    /// Every problem found, sorted by line. A file that cannot be read is one problem without a line.
    pub fn load(path: &Path) -> Result<Self, Vec<Problem>> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| {
            vec![Problem {
                file: name.clone(),
                line: 0,
                key: String::new(),
                message: format!("cannot be read: {error}"),
                way_out: "Check the path, that this user may read the file, and that it is UTF-8"
                    .to_owned(),
            }]
        })?;
        Self::parse(&text, path.parent().unwrap_or(Path::new("")), &name)
    }

    /// Checks the text of a configuration. `base` is where relative paths start, `name` what problems call the file.
    ///
    /// # Errors
    /// Every problem found, sorted by line.
    pub fn parse(text: &str, base: &Path, name: &str) -> Result<Self, Vec<Problem>> {
        let filled = read::read(text, name, keys::SECTIONS)?;
        model::build(&filled, base, name)
    }
}
