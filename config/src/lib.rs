//! The configuration of Sekisho: what can be set, how it is checked, and how an old `fx_cf.cf` is taken over.
//!
//! `keys` is the table of every key with its default, range and unit; reading, messages and the tests of the sample
//! all walk it. `read` takes a TOML document apart by that table, `sections` gives the values their types, `check`
//! holds values against each other. The document is walked by hand instead of being deserialised, because a wrong
//! configuration must name *all* its faults with their lines, and a deserialiser stops at the first.
//!
//! This crate reads files and nothing else: it opens no sockets and does not look at the machine it runs on, so that a
//! configuration can be checked elsewhere than where it will run.

use std::path::Path;

pub mod cf;
mod check;
pub mod import;
pub mod keys;
mod model;
mod problem;
mod read;
mod sections;
mod sink;

pub use model::{
    Api, Cascade, Config, Journal, Keepalive, Line, LogLevel, Masking, Recovery, RecoveryMode,
    RouteBusy, Shard, SignOn, Timers,
};
pub use problem::{Problem, nearest};

use sink::Sink;

/// A configuration that can be run, and what is odd about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The checked configuration. All relations stated in `config/sekisho.toml` hold.
    pub config: Config,
    /// What is allowed, but should be looked at; sorted by line.
    pub warnings: Vec<Problem>,
}

impl Config {
    /// Reads and checks the file at `path`. Relative paths in it are taken from the directory it lies in.
    ///
    /// # Errors
    /// Every problem found, sorted by line. A file that cannot be read is one problem without a line.
    pub fn load(path: &Path) -> Result<Loaded, Vec<Problem>> {
        let name = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|error| {
            vec![Problem::of_file(
                &name,
                format!("cannot be read: {error}"),
                "Check the path and that this user may read the file",
            )]
        })?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let valid = error.utf8_error().valid_up_to();
            let line = 1 + error.as_bytes()[..valid]
                .iter()
                .filter(|byte| **byte == b'\n')
                .count();
            vec![Problem {
                file: name.clone(),
                line: u32::try_from(line).unwrap_or(u32::MAX),
                key: String::new(),
                message: "this line is not UTF-8".to_owned(),
                way_out: "Save the file as UTF-8".to_owned(),
            }]
        })?;
        let base_dir = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, base_dir, &name)
    }

    /// Checks the text of a configuration. `base_dir` is where relative paths start, `name` what problems call the file.
    ///
    /// # Errors
    /// Every problem found, sorted by line.
    pub fn parse(text: &str, base_dir: &Path, name: &str) -> Result<Loaded, Vec<Problem>> {
        let mut sink = Sink::new(name, text);
        let (document, syntax_errors) = toml::de::DeTable::parse_recoverable(text);
        for error in &syntax_errors {
            sink.syntax(error);
        }
        let config = sections::config(document.get_ref(), base_dir, &mut sink);
        if syntax_errors.is_empty() {
            check::relations(&config, &mut sink);
        }
        let (problems, warnings) = sink.finish();
        if problems.is_empty() {
            Ok(Loaded { config, warnings })
        } else {
            Err(problems)
        }
    }
}
