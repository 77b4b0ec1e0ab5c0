//! The text of an imported configuration: what differs from the `.cf`'s silence is written, with the line it came from.

use std::fmt::Write;

use crate::cf::Parameter;
use crate::keys::SECTIONS;

pub(super) struct TomlText {
    file: String,
    /// Section, key, value as TOML, line in the `.cf` or 0.
    values: Vec<(&'static str, &'static str, String, u32)>,
}

impl TomlText {
    pub(super) fn new(file: &str) -> Self {
        // The name goes into comments, which end with their line.
        let file = file
            .chars()
            .map(|c| if c.is_control() { '?' } else { c })
            .collect();
        Self {
            file,
            values: Vec::new(),
        }
    }

    /// Sets a key to a value, which is TOML already.
    pub(super) fn set(
        &mut self,
        section: &'static str,
        key: &'static str,
        value: &str,
        from: &Parameter,
    ) {
        self.set_at(section, key, value, from.line);
    }

    pub(super) fn set_at(
        &mut self,
        section: &'static str,
        key: &'static str,
        value: &str,
        line: u32,
    ) {
        self.values.push((section, key, value.to_owned(), line));
    }

    /// The line of the `.cf` a key came from, 0 where it came from none.
    pub(super) fn source_line(&self, full_key: &str) -> u32 {
        let (section, key) = full_key.rsplit_once('.').unwrap_or(("", full_key));
        let found = self
            .values
            .iter()
            .find(|(path, name, ..)| *path == section && *name == key);
        found.map_or(0, |(.., line)| *line)
    }

    /// The sections and keys in the order of the sample.
    pub(super) fn text(&self) -> String {
        let mut text = format!(
            "# Made by `sekisho config import-cf` from {}.\n# Keys that are not here have their defaults; the sample sekisho.toml explains all of them.\n",
            self.file
        );
        for section in &SECTIONS {
            let mut values = Vec::new();
            for key in section.keys {
                values.extend(
                    self.values
                        .iter()
                        .filter(|(path, name, ..)| *path == section.path && *name == key.name),
                );
            }
            if values.is_empty() {
                continue;
            }
            text.push('\n');
            match section.path {
                "" => {}
                "line" => text.push_str("[[line]]\n"),
                path => text.push_str(&format!("[{path}]\n")),
            }
            for (_, key, value, line) in values {
                let written = match line {
                    0 => writeln!(text, "{key} = {value}"),
                    line => writeln!(text, "{key} = {value}  # {}:{line}", self.file),
                };
                written.expect("a String takes all that is written to it");
            }
        }
        text
    }
}
