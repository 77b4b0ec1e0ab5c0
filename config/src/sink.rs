//! Collects the faults of one document, and knows which line everything stands on.

use std::collections::{BTreeSet, HashMap};

use crate::problem::Problem;

/// Where faults go, and which line each key stands on.
pub(crate) struct Sink {
    file: String,
    /// Byte offset of each line's start.
    line_starts: Vec<usize>,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
    /// Lines of keys by slot and name, e.g. `line.0/route_count`, and of tables by their slot alone.
    places: HashMap<String, u32>,
    /// Lines the TOML parser complained about: what is read from them is guesswork and not reported again.
    broken_lines: BTreeSet<u32>,
}

impl Sink {
    pub(crate) fn new(file: &str, text: &str) -> Self {
        let starts = text
            .bytes()
            .enumerate()
            .filter(|(_, byte)| *byte == b'\n')
            .map(|(at, _)| at + 1);
        Self {
            file: file.to_owned(),
            line_starts: std::iter::once(0).chain(starts).collect(),
            problems: Vec::new(),
            warnings: Vec::new(),
            places: HashMap::new(),
            broken_lines: BTreeSet::new(),
        }
    }

    /// A fault of the TOML itself.
    pub(crate) fn syntax(&mut self, error: &toml::de::Error) {
        let line = error.span().map_or(0, |span| self.line_at(span.start));
        self.broken_lines.insert(line);
        let message = format!("not TOML: {}", error.message().replace('\n', " "));
        self.error(line, "", message, "Correct this line");
    }

    pub(crate) fn error(
        &mut self,
        line: u32,
        key: &str,
        message: String,
        way_out: impl Into<String>,
    ) {
        let problem = self.problem(line, key, message, way_out.into());
        self.problems.push(problem);
    }

    pub(crate) fn warning(
        &mut self,
        line: u32,
        key: &str,
        message: String,
        way_out: impl Into<String>,
    ) {
        let problem = self.problem(line, key, message, way_out.into());
        self.warnings.push(problem);
    }

    fn problem(&self, line: u32, key: &str, message: String, way_out: String) -> Problem {
        Problem {
            file: self.file.clone(),
            line,
            key: key.to_owned(),
            message,
            way_out,
        }
    }

    /// The line a key of this slot stands on, else that of its table, else 0.
    pub(crate) fn line_of(&self, slot: &str, name: &str) -> u32 {
        let place = self
            .places
            .get(&format!("{slot}/{name}"))
            .or_else(|| self.places.get(slot));
        place.copied().unwrap_or(0)
    }

    /// Remembers the line of a table.
    pub(crate) fn place_table(&mut self, slot: &str, line: u32) {
        self.places.insert(slot.to_owned(), line);
    }

    /// Remembers the line of a key.
    pub(crate) fn place_key(&mut self, slot: &str, name: &str, line: u32) {
        self.places.insert(format!("{slot}/{name}"), line);
    }

    /// Whether the text is TOML.
    pub(crate) fn is_sound(&self) -> bool {
        self.broken_lines.is_empty()
    }

    /// Whether the TOML parser found nothing wrong with this line.
    pub(crate) fn is_sound_line(&self, line: u32) -> bool {
        !self.broken_lines.contains(&line)
    }

    /// Whether an error of this key is known already, so that no second one follows from it.
    pub(crate) fn has_error(&self, key: &str) -> bool {
        self.problems.iter().any(|problem| problem.key == key)
    }

    /// The line of a byte of the text.
    pub(crate) fn line_at(&self, offset: usize) -> u32 {
        u32::try_from(self.line_starts.partition_point(|start| *start <= offset))
            .unwrap_or(u32::MAX)
    }

    /// Errors and warnings, each sorted by line.
    pub(crate) fn finish(mut self) -> (Vec<Problem>, Vec<Problem>) {
        self.problems.sort_by_key(|problem| problem.line);
        self.warnings.sort_by_key(|problem| problem.line);
        (self.problems, self.warnings)
    }
}
