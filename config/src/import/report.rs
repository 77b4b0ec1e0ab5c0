//! What became of each parameter of a `.cf`.

use std::fmt;

use crate::cf::Parameter;

/// The report of an import. Every parameter of the file is in `imported`, `unknown` or `suspicious`, and every one that
/// is not in the file and has a default in `defaulted`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The `.cf` as the caller named it.
    pub file: String,
    /// Taken over.
    pub imported: Vec<Entry>,
    /// Not in the file: the default holds.
    pub defaulted: Vec<Entry>,
    /// In the file, and nothing was made of it.
    pub unknown: Vec<Entry>,
    /// To be looked at by a person.
    pub suspicious: Vec<Entry>,
}

/// One parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its line, from 1; 0 where it is not in the file.
    pub line: u32,
    /// Its path, `SECTION.NAME`.
    pub key: String,
    /// What became of it, or what is odd.
    pub text: String,
}

impl Report {
    pub(super) fn new(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            imported: Vec::new(),
            defaulted: Vec::new(),
            unknown: Vec::new(),
            suspicious: Vec::new(),
        }
    }

    /// Puts the entries of each list in the order of the file.
    pub(super) fn sort(&mut self) {
        for entries in [&mut self.imported, &mut self.unknown, &mut self.suspicious] {
            entries.sort_by_key(|entry| entry.line);
        }
    }

    pub(super) fn imported(&mut self, found: &Parameter, text: impl Into<String>) {
        self.imported.push(Entry::of(found, text));
    }

    /// A default; the same one for several blocks is told once.
    pub(super) fn defaulted(&mut self, path: &str, text: impl Into<String>) {
        let entry = Entry {
            line: 0,
            key: path.to_owned(),
            text: text.into(),
        };
        if !self.defaulted.contains(&entry) {
            self.defaulted.push(entry);
        }
    }

    pub(super) fn unknown(&mut self, found: &Parameter, text: impl Into<String>) {
        self.unknown.push(Entry::of(found, text));
    }

    pub(super) fn suspicious(&mut self, found: &Parameter, text: impl Into<String>) {
        self.suspicious.push(Entry::of(found, text));
    }

    pub(super) fn suspicious_at(&mut self, line: u32, path: &str, text: impl Into<String>) {
        self.suspicious.push(Entry {
            line,
            key: path.to_owned(),
            text: text.into(),
        });
    }
}

impl Entry {
    fn of(found: &Parameter, text: impl Into<String>) -> Self {
        Self {
            line: found.line,
            key: found.path.clone(),
            text: text.into(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            ("Imported", &self.imported),
            ("Not in the file, default taken", &self.defaulted),
            ("Not taken over", &self.unknown),
            ("To be looked at", &self.suspicious),
        ];
        for (title, entries) in parts {
            writeln!(out, "{title}: {}", entries.len())?;
            for entry in entries {
                match entry.line {
                    0 => writeln!(out, "  {}: {}", entry.key, entry.text)?,
                    line => writeln!(out, "  {}:{line}: {}: {}", self.file, entry.key, entry.text)?,
                }
            }
        }
        Ok(())
    }
}
