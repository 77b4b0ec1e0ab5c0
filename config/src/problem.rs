//! What is wrong, where, and the way out; and the nearest known name for one that is not known.

use std::fmt;

/// One fault of a configuration: an error, or a warning where it stands in a list of warnings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file as the caller named it.
    pub file: String,
    /// The line in it, from 1; 0 where the whole file is meant.
    pub line: u32,
    /// The key with its section, e.g. `line.route_count`; empty where no key is meant.
    pub key: String,
    /// What is wrong: the value, and the allowed range where there is one. No full stop at the end.
    pub message: String,
    /// What to do about it. No full stop at the end.
    pub way_out: String,
}

impl Problem {
    /// A problem of a whole file.
    pub(crate) fn of_file(file: &str, message: String, way_out: &str) -> Self {
        Self {
            file: file.to_owned(),
            line: 0,
            key: String::new(),
            message,
            way_out: way_out.to_owned(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:", self.file)?;
        if self.line > 0 {
            write!(out, "{}:", self.line)?;
        }
        if !self.key.is_empty() {
            write!(out, " {}:", self.key)?;
        }
        write!(out, " {}. {}.", self.message, self.way_out)
    }
}

/// The known name that differs least from `given`, if it is near enough to be a slip of the pen: at most a third of
/// its letters, and at least two, may differ.
pub fn nearest<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (given.chars().count() / 3).max(2);
    known
        .map(|name| (distance(given, name), name))
        .filter(|(distance, name)| *distance <= allowed && *distance < name.chars().count())
        .min()
        .map(|(_, name)| name)
}

/// How many letters must be changed, added or dropped to make `left` into `right` (Levenshtein), one row at a time.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, r) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(!l.eq_ignore_ascii_case(r));
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A problem reads as one sentence with its place, and a place that is not known is left out.
    #[test]
    fn display_names_place_and_way_out() {
        let mut problem = Problem {
            file: "s.toml".into(),
            line: 7,
            key: "line.route_count".into(),
            message: "190 is outside 1..189 routes".into(),
            way_out: "Give a value in that range".into(),
        };
        assert_eq!(
            problem.to_string(),
            "s.toml:7: line.route_count: 190 is outside 1..189 routes. Give a value in that range."
        );
        problem.line = 0;
        problem.key.clear();
        assert_eq!(
            problem.to_string(),
            "s.toml: 190 is outside 1..189 routes. Give a value in that range."
        );
    }

    /// A slip of the pen finds its key; something else finds none.
    #[test]
    fn nearest_finds_slips_only() {
        let known = ["route_count", "route_busy", "accept_count"];
        assert_eq!(
            nearest("rout_count", known.into_iter()),
            Some("route_count")
        );
        assert_eq!(
            nearest("Accept_Counts", known.into_iter()),
            Some("accept_count")
        );
        assert_eq!(nearest("colour", known.into_iter()), None);
        assert_eq!(nearest("", known.into_iter()), None);
    }
}
