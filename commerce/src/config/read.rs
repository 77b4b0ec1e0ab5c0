//! Holds a TOML document against the table of keys: every fault with its line, and the tables as they are with all
//! defaults filled in.
//!
//! A deserialiser stops at the first fault and knows no ranges; so the document is walked by the table first, and only
//! what is sound and complete is handed to the settings' `serde` types. A key of the table that no type takes, or a
//! field that no key fills, stops the tests of the sample.

use std::collections::BTreeSet;

use config::{Problem, nearest};
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::rule::{Fallback, Key, Kind, Rule, Section};
use super::secrets::SecretPlace;

/// A table of the file with its defaults filled in, and where it stands.
#[derive(Debug)]
pub(super) struct Filled {
    /// Its section's path.
    pub path: &'static str,
    /// The values.
    pub values: Table,
    /// The line of its header; 0 where it is not in the file.
    pub line: u32,
    /// The lines of the keys that are given.
    pub lines: Vec<(&'static str, u32)>,
}

impl Filled {
    /// The line a key stands on, or that of its table.
    pub(super) fn line_of(&self, name: &str) -> u32 {
        let given = self.lines.iter().find(|(key, _)| *key == name);
        given.map_or(self.line, |(_, line)| *line)
    }
}

/// Reads one document.
pub(super) struct Reader<'a> {
    file: &'a str,
    line_starts: Vec<usize>,
    /// What is wrong so far.
    pub problems: Vec<Problem>,
    broken_lines: BTreeSet<u32>,
}

/// Reads `text` by `sections`.
///
/// # Errors
/// Every fault, sorted by line.
pub(super) fn read(
    text: &str,
    file: &str,
    sections: &'static [&'static Section],
) -> Result<Vec<Filled>, Vec<Problem>> {
    let (document, faults) = DeTable::parse_recoverable(text);
    let starts = text.bytes().enumerate().filter(|(_, b)| *b == b'\n');
    let mut reader = Reader {
        file,
        line_starts: std::iter::once(0)
            .chain(starts.map(|(at, _)| at + 1))
            .collect(),
        problems: Vec::new(),
        broken_lines: BTreeSet::new(),
    };
    for fault in &faults {
        let line = fault.span().map_or(0, |span| reader.line_at(span.start));
        reader.broken_lines.insert(line);
        let message = format!("not TOML: {}", fault.message().replace('\n', " "));
        reader.bad(line, "", message, "Correct this line");
    }
    let mut filled = Vec::new();
    // What the parser guessed on a broken document is not worth a second message.
    if faults.is_empty() {
        reader.unknown_tables("", document.get_ref(), sections);
        for section in sections {
            for (table, line) in reader.tables_of(document.get_ref(), section) {
                filled.push(reader.fill(section, table, line, sections));
            }
        }
    }
    if reader.problems.is_empty() {
        return Ok(filled);
    }
    reader.problems.sort_by_key(|problem| problem.line);
    Err(reader.problems)
}

impl<'d> Reader<'_> {
    fn line_at(&self, offset: usize) -> u32 {
        let line = self.line_starts.partition_point(|start| *start <= offset);
        u32::try_from(line).unwrap_or(u32::MAX)
    }

    fn bad(&mut self, line: u32, key: &str, message: String, way_out: impl Into<String>) {
        self.problems.push(Problem {
            file: self.file.to_owned(),
            line,
            key: key.to_owned(),
            message,
            way_out: way_out.into(),
        });
    }

    /// The tables of a section: one with defaults only where a single one is not given.
    fn tables_of(
        &mut self,
        document: &'d DeTable<'d>,
        section: &'static Section,
    ) -> Vec<(Option<&'d DeTable<'d>>, u32)> {
        let mut table = Some(document);
        let mut found: Option<(&'d Spanned<DeValue<'d>>, u32)> = None;
        for part in section.path.split('.') {
            let place = table.and_then(|table| table.get_key_value(part));
            found = place.map(|(key, value)| (value, self.line_at(key.span().start)));
            table = place.and_then(|(_, value)| match value.get_ref() {
                DeValue::Table(inner) => Some(inner),
                _ => None,
            });
        }
        let single = || vec![(None, 0)];
        match (section.many, found) {
            (false, None) => single(),
            (true, None) => Vec::new(),
            (many, Some((value, line))) => match value.get_ref() {
                DeValue::Table(table) if !many => vec![(Some(table), line)],
                DeValue::Array(items) if many && items.iter().all(is_table) => items
                    .iter()
                    .filter_map(|item| match item.get_ref() {
                        DeValue::Table(table) => {
                            Some((Some(table), self.line_at(item.span().start)))
                        }
                        _ => None,
                    })
                    .collect(),
                _ => {
                    let header = header(section);
                    let message = format!("expected the table {header}");
                    self.bad(
                        line,
                        section.path,
                        message,
                        format!("Write {header} and its keys below it"),
                    );
                    Vec::new()
                }
            },
        }
    }

    fn fill(
        &mut self,
        section: &'static Section,
        table: Option<&'d DeTable<'d>>,
        line: u32,
        sections: &'static [&'static Section],
    ) -> Filled {
        let mut filled = Filled {
            path: section.path,
            values: Table::new(),
            line,
            lines: Vec::new(),
        };
        for key in section.keys {
            let place = table.and_then(|table| table.get_key_value(key.name));
            let full = format!("{}.{}", section.path, key.name);
            let value = match place {
                None => self.default_of(key, &full, line),
                Some((name, value)) => {
                    let line = self.line_at(name.span().start);
                    filled.lines.push((key.name, line));
                    self.value_of(key, &full, value.get_ref(), line)
                }
            };
            if let Some(value) = value {
                filled.values.insert(key.name.to_owned(), value);
            }
        }
        self.unknown_keys(section, table, sections);
        filled
    }

    fn default_of(&mut self, key: &'static Key, full: &str, line: u32) -> Option<Value> {
        let missing = match &key.rule {
            Rule::Integer { default, .. } => return Some(Value::Integer(*default)),
            Rule::Flag { default } => return Some(Value::Boolean(*default)),
            Rule::Choice { default, .. } => return Some(Value::String((*default).to_owned())),
            Rule::List { default, .. } => {
                let items = default.iter().map(|item| Value::String((*item).to_owned()));
                return Some(Value::Array(items.collect()));
            }
            Rule::Text { default, .. } => match default {
                Fallback::Value(text) => return Some(Value::String((*text).to_owned())),
                Fallback::Derived(_) => return None,
                Fallback::Required => format!("Add {} = \"...\"", key.name),
            },
            Rule::Numbers { default, .. } => {
                let items = default.iter().map(|item| Value::Integer(*item));
                return Some(Value::Array(items.collect()));
            }
            Rule::Secret { required: false } | Rule::Secrets { required: false } => return None,
            Rule::Secret { required: true } => {
                format!("Add {} = \"{}\"", key.name, SecretPlace::FORMS)
            }
            Rule::Secrets { required: true } => {
                format!("Add {} = [\"{}\"]", key.name, SecretPlace::FORMS)
            }
        };
        let message = "missing, and it has no default".to_owned();
        self.bad(
            line,
            full,
            message,
            format!("{missing}; commerce/commerced.sample.toml explains it"),
        );
        None
    }

    fn value_of(
        &mut self,
        key: &'static Key,
        full: &str,
        found: &DeValue<'_>,
        line: u32,
    ) -> Option<Value> {
        match (&key.rule, found) {
            (
                Rule::Integer {
                    default,
                    min,
                    max,
                    unit,
                },
                DeValue::Integer(given),
            ) => {
                let number = i64::from_str_radix(given.as_str(), given.radix());
                if let Some(number) = number.ok().filter(|n| (*min..=*max).contains(n)) {
                    return Some(Value::Integer(number));
                }
                let message = format!("{given} is outside {min}..{max} ({unit})");
                let way_out = format!("Give a value in that range; the default is {default}");
                self.bad(line, full, message, way_out);
                None
            }
            (Rule::Flag { .. }, DeValue::Boolean(value)) => Some(Value::Boolean(*value)),
            (Rule::Choice { default, allowed }, DeValue::String(word)) => {
                if allowed.contains(&word.as_ref()) {
                    return Some(Value::String(word.to_string()));
                }
                let near = nearest(word, allowed.iter().copied()).unwrap_or(default);
                let message = format!("{} is none of {}", quoted(word), allowed.join(", "));
                let way_out = format!("Write {} = \"{near}\"", key.name);
                self.bad(line, full, message, way_out);
                None
            }
            (Rule::Text { kind, .. }, DeValue::String(text)) => {
                self.text_of(*kind, full, text, line)
            }
            (Rule::List { kind, .. }, DeValue::Array(items)) => {
                let texts = items.iter().filter_map(|item| match item.get_ref() {
                    DeValue::String(text) => self.text_of(*kind, full, text, line),
                    _ => {
                        let message = format!("expected a list of {}", kind.about());
                        self.bad(line, full, message, "Write each entry in quotes");
                        None
                    }
                });
                Some(Value::Array(texts.collect()))
            }
            (Rule::Secret { .. }, DeValue::String(text)) => self.secret_of(full, text, line),
            (
                Rule::Numbers {
                    min,
                    max,
                    unit,
                    default,
                },
                DeValue::Array(items),
            ) => {
                let numbers = items.iter().map(|item| match item.get_ref() {
                    DeValue::Integer(given) => i64::from_str_radix(given.as_str(), given.radix())
                        .ok()
                        .filter(|number| (*min..=*max).contains(number)),
                    _ => None,
                });
                let numbers: Option<Vec<i64>> = numbers.collect();
                if let Some(numbers) = numbers.filter(|numbers| !numbers.is_empty()) {
                    return Some(numbers.into());
                }
                let message = format!("expected whole numbers {min}..{max} ({unit}), one or more");
                let way_out = format!("Give a list in that range; the default is {default:?}");
                self.bad(line, full, message, way_out);
                None
            }
            (Rule::Secrets { .. }, DeValue::Array(items)) if !items.is_empty() => {
                let places = items.iter().filter_map(|item| match item.get_ref() {
                    DeValue::String(text) => self.secret_of(full, text, line),
                    _ => self.secret_of(full, "", line),
                });
                Some(Value::Array(places.collect()))
            }
            (rule, _) => {
                let message = format!("expected {}", expected(rule));
                self.bad(line, full, message, "Write a value of that kind");
                None
            }
        }
    }

    fn text_of(&mut self, kind: Kind, full: &str, text: &str, line: u32) -> Option<Value> {
        if kind.fits(text) {
            return Some(Value::String(text.to_owned()));
        }
        // A database address may hold a password.
        let shown = match kind {
            Kind::Store => "this".to_owned(),
            _ => quoted(text),
        };
        let message = format!("{shown} is not {}", kind.about());
        self.bad(line, full, message, "Write a value of that form");
        None
    }

    /// A place of a secret; what is given instead may be the secret itself and is not shown.
    fn secret_of(&mut self, full: &str, text: &str, line: u32) -> Option<Value> {
        if SecretPlace::parse(text).is_some() {
            return Some(Value::String(text.to_owned()));
        }
        let message =
            "a secret does not stand in this file, only the place where it lies".to_owned();
        self.bad(line, full, message, format!("Write {}", SecretPlace::FORMS));
        None
    }

    fn unknown_keys(
        &mut self,
        section: &'static Section,
        table: Option<&'d DeTable<'d>>,
        sections: &'static [&'static Section],
    ) {
        let known = || section.keys.iter().map(|key| key.name);
        for (name, value) in table.into_iter().flatten() {
            let given = name.get_ref().as_ref();
            let inside = format!("{}.{given}", section.path);
            let is_section = sections.iter().any(|other| other.path == inside);
            if known().any(|key| key == given) || is_section || is_table(value) {
                continue;
            }
            let line = self.line_at(name.span().start);
            let elsewhere = sections
                .iter()
                .find(|other| other.keys.iter().any(|key| key.name == given));
            let way_out = match (elsewhere, nearest(given, known())) {
                (Some(other), _) => format!("This key belongs to {}: move it there", header(other)),
                (None, Some(near)) => format!("Write {near} if that is meant"),
                (None, None) => format!(
                    "Known in {}: {}",
                    header(section),
                    known().collect::<Vec<_>>().join(", ")
                ),
            };
            let full = format!("{}.{}", section.path, given.escape_debug());
            self.bad(line, &full, "unknown key".to_owned(), way_out);
        }
    }

    /// Reports tables that no section names, at any depth, and keys outside all tables.
    fn unknown_tables(
        &mut self,
        above: &str,
        table: &'d DeTable<'d>,
        sections: &'static [&'static Section],
    ) {
        for (name, value) in table {
            let given = name.get_ref().as_ref();
            let path = match above {
                "" => given.to_owned(),
                _ => format!("{above}.{given}"),
            };
            let inside = format!("{path}.");
            let known = sections
                .iter()
                .any(|s| s.path == path || s.path.starts_with(&inside));
            match value.get_ref() {
                DeValue::Table(inner) if known => self.unknown_tables(&path, inner, sections),
                DeValue::Table(_) => {
                    let line = self.line_at(name.span().start);
                    let near = nearest(&path, sections.iter().map(|s| s.path));
                    let way_out = near.map_or_else(
                        || {
                            let all: Vec<_> = sections.iter().map(|s| header(s)).collect();
                            format!("Known: {}", all.join(", "))
                        },
                        |near| format!("Write [{near}] if that is meant"),
                    );
                    let path = path.escape_debug().to_string();
                    self.bad(line, &path, "unknown table".to_owned(), way_out);
                }
                _ if above.is_empty() && !known => {
                    let line = self.line_at(name.span().start);
                    let home = sections
                        .iter()
                        .find(|s| s.keys.iter().any(|key| key.name == given))
                        .map_or("a table".to_owned(), |s| header(s));
                    let given = given.escape_debug().to_string();
                    let message = "a key outside all tables".to_owned();
                    self.bad(line, &given, message, format!("Move it below {home}"));
                }
                _ => {}
            }
        }
    }
}

fn is_table(value: &Spanned<DeValue<'_>>) -> bool {
    matches!(value.get_ref(), DeValue::Table(_))
}

fn header(section: &Section) -> String {
    match section.many {
        true => format!("[[{}]]", section.path),
        false => format!("[{}]", section.path),
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.escape_debug())
}

fn expected(rule: &Rule) -> String {
    match rule {
        Rule::Integer { min, max, unit, .. } => format!("a whole number {min}..{max} ({unit})"),
        Rule::Flag { .. } => "true or false".to_owned(),
        Rule::Choice { allowed, .. } => format!("one of {}, in quotes", allowed.join(", ")),
        Rule::Text { kind, .. } => format!("{}, in quotes", kind.about()),
        Rule::List { kind, .. } => format!("a list of {}, each in quotes", kind.about()),
        Rule::Secret { .. } => format!("the place of a secret, {}", SecretPlace::FORMS),
        Rule::Numbers { min, max, unit, .. } => {
            format!("a list of whole numbers {min}..{max} ({unit})")
        }
        Rule::Secrets { .. } => format!("a list of places of secrets, [{}]", SecretPlace::FORMS),
    }
}
