//! Takes a TOML document apart by the table of `keys` and keeps every fault with its line. Values that are wrong are
//! replaced by their default (or the smallest value allowed), so that the reading goes on and finds the rest.

use std::collections::BTreeSet;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::keys::{Fallback, Key, Rule, SECTIONS, Section};
use crate::problem::nearest;
use crate::sink::Sink;

/// Reads one table by its section.
pub(crate) struct Reader<'a> {
    section: &'static Section,
    table: Option<&'a DeTable<'a>>,
    slot: String,
    line: u32,
    read: BTreeSet<&'static str>,
    pub(crate) sink: &'a mut Sink,
}

impl<'a> Reader<'a> {
    /// A reader for the table at `place`; without one everything has its default. `slot` is the name of this table
    /// among its like: `line.0`.
    pub(crate) fn new(
        path: &str,
        slot: &str,
        place: Option<(&'a DeTable<'a>, u32)>,
        sink: &'a mut Sink,
    ) -> Reader<'a> {
        let (table, line) = place.map_or((None, 0), |(table, line)| (Some(table), line));
        sink.place_table(slot, line);
        Reader {
            section: Section::find(path),
            table,
            slot: slot.to_owned(),
            line,
            read: BTreeSet::new(),
            sink,
        }
    }

    /// The line of a key, or of the table where the key is not given.
    pub(crate) fn line_of(&self, name: &str) -> u32 {
        self.sink.line_of(&self.slot, name)
    }

    /// Records a fault of a key.
    pub(crate) fn bad(&mut self, name: &str, message: String, way_out: impl Into<String>) {
        let line = self.line_of(name);
        self.error(line, name, message, way_out);
    }

    /// A whole number in the range of its rule.
    pub(crate) fn integer<T: TryFrom<i64>>(&mut self, name: &'static str) -> T {
        self.integer_or(name, |min| min)
    }

    /// Like [`Reader::integer`], with a derived default, which is given the smallest value allowed.
    pub(crate) fn integer_or<T: TryFrom<i64>>(
        &mut self,
        name: &'static str,
        derived: impl FnOnce(i64) -> i64,
    ) -> T {
        let key = self.key(name);
        let Rule::Integer {
            default,
            min,
            max,
            unit,
        } = &key.rule
        else {
            panic!(
                "{}.{name} is no integer in the table of keys",
                self.section.path
            );
        };
        let fallback = match default {
            Fallback::Value(value) => *value,
            Fallback::Required => *min,
            Fallback::Derived(_) => derived(*min),
        };
        let value = match self.value(key) {
            None => fallback,
            Some(DeValue::Integer(given)) => {
                let number = i64::from_str_radix(given.as_str(), given.radix());
                match number {
                    Ok(number) if (*min..=*max).contains(&number) => number,
                    _ => {
                        let message = format!("{given} is outside {min}..{max} ({unit})");
                        self.bad(
                            name,
                            message,
                            format!("Give a value in that range{}", default_hint(key)),
                        );
                        fallback
                    }
                }
            }
            Some(other) => {
                self.mismatch(
                    name,
                    &format!("a whole number {min}..{max} ({unit})"),
                    other,
                );
                fallback
            }
        };
        T::try_from(value)
            .unwrap_or_else(|_| panic!("{}.{name}: {value} passed its range", self.section.path))
    }

    /// `true` or `false`.
    pub(crate) fn flag(&mut self, name: &'static str) -> bool {
        let key = self.key(name);
        let Rule::Flag { default } = key.rule else {
            panic!(
                "{}.{name} is no flag in the table of keys",
                self.section.path
            );
        };
        match self.value(key) {
            None => default,
            Some(DeValue::Boolean(value)) => *value,
            Some(other) => {
                self.mismatch(name, "true or false", other);
                default
            }
        }
    }

    /// One of `values`, which are in the order of the words the rule allows.
    pub(crate) fn choice<T: Copy>(&mut self, name: &'static str, values: &[T]) -> T {
        let key = self.key(name);
        let Rule::Choice { default, allowed } = key.rule else {
            panic!(
                "{}.{name} is no choice in the table of keys",
                self.section.path
            );
        };
        assert_eq!(
            allowed.len(),
            values.len(),
            "{name} allows as many words as it has values"
        );
        let word = match self.value(key) {
            None => default,
            Some(DeValue::String(word)) if allowed.contains(&word.as_ref()) => word.as_ref(),
            Some(DeValue::String(word)) => {
                let near = nearest(word, allowed.iter().copied()).unwrap_or(default);
                let message = format!(
                    "\"{}\" is none of {}",
                    word.escape_debug(),
                    allowed.join(", ")
                );
                self.bad(
                    name,
                    message,
                    format!("Write {name} = \"{near}\"{}", default_hint(key)),
                );
                default
            }
            Some(other) => {
                self.mismatch(name, &format!("one of {}", allowed.join(", ")), other);
                default
            }
        };
        let position = allowed.iter().position(|known| *known == word);
        values[position.unwrap_or_else(|| panic!("the default of {name} is allowed"))]
    }

    /// A code of letters and digits; `""` stands in for one that is wrong or missing.
    pub(crate) fn code(&mut self, name: &'static str) -> String {
        let key = self.key(name);
        let Rule::Code {
            min, max, extra, ..
        } = key.rule
        else {
            panic!(
                "{}.{name} is no code in the table of keys",
                self.section.path
            );
        };
        let Some(given) = self.string(key) else {
            return String::new();
        };
        let fits = given
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || extra.contains(c));
        if fits && (min..=max).contains(&given.len()) {
            return given;
        }
        let length = if min == max {
            format!("{min}")
        } else {
            format!("{min}..{max}")
        };
        let besides: String = extra.chars().map(|c| format!(" {c}")).collect();
        let message = format!(
            "\"{}\" is not {length} characters of A-Z a-z 0-9{besides}",
            given.escape_debug()
        );
        self.bad(
            name,
            message,
            "Use these characters only, and keep to that length",
        );
        String::new()
    }

    /// A text; none where the default is derived and nothing is given, or where it is no text.
    pub(crate) fn text(&mut self, name: &'static str) -> Option<String> {
        let key = self.key(name);
        self.string(key)
    }

    /// A list of texts; what is no text is a fault and left out.
    pub(crate) fn list(&mut self, name: &'static str) -> Vec<String> {
        let key = self.key(name);
        let Rule::Addresses { default } = key.rule else {
            panic!(
                "{}.{name} is no list in the table of keys",
                self.section.path
            );
        };
        let items = match self.value(key) {
            None => return default.iter().map(|item| (*item).to_owned()).collect(),
            Some(DeValue::Array(items)) => items,
            Some(other) => {
                self.mismatch(name, "a list of addresses, [\"address:port\"]", other);
                return Vec::new();
            }
        };
        if items.is_empty() {
            self.bad(
                name,
                "the list is empty".to_owned(),
                "Name one address:port at least",
            );
        }
        let mut texts = Vec::with_capacity(items.len());
        for item in items.iter() {
            match item.get_ref() {
                DeValue::String(text) => texts.push(text.as_ref().to_owned()),
                other => self.mismatch(name, "a list of texts, [\"address:port\"]", other),
            }
        }
        texts
    }

    /// Reports keys that are not known, and asserts that every known one was read.
    pub(crate) fn finish(mut self) {
        for key in self.section.keys {
            assert!(
                self.read.contains(key.name),
                "{}.{} is in the table of keys, but not read",
                self.section.path,
                key.name
            );
        }
        let Some(table) = self.table else { return };
        for name in table.keys() {
            let given = name.get_ref().as_ref();
            if self.section.key(given).is_none() && !self.section.inside.contains(&given) {
                let line = self.sink.line_at(name.span().start);
                let way_out = way_out_of_unknown(self.section, given);
                self.error(
                    line,
                    &given.escape_debug().to_string(),
                    "unknown key".to_owned(),
                    way_out,
                );
            }
        }
    }

    fn key(&mut self, name: &'static str) -> &'static Key {
        let key = self
            .section
            .key(name)
            .unwrap_or_else(|| panic!("{}.{name} is not in the table", self.section.path));
        self.read.insert(key.name);
        key
    }

    /// The value of a key; reports a required one that is missing.
    fn value(&mut self, key: &'static Key) -> Option<&'a DeValue<'a>> {
        let found = self.table.and_then(|table| table.get_key_value(key.name));
        let Some((name, value)) = found else {
            if required(key) {
                self.error(
                    self.line,
                    key.name,
                    "missing, and it has no default".to_owned(),
                    example(key),
                );
            }
            return None;
        };
        let line = self.sink.line_at(name.span().start);
        self.sink.place_key(&self.slot, key.name, line);
        Some(value.get_ref())
    }

    fn string(&mut self, key: &'static Key) -> Option<String> {
        let (default, about) = match &key.rule {
            Rule::Text { default, about } => (default, *about),
            Rule::Code { default, .. } => (default, "a text"),
            _ => panic!("{} is no text in the table of keys", key.name),
        };
        match self.value(key) {
            None => match default {
                Fallback::Value(text) => Some((*text).to_owned()),
                Fallback::Required | Fallback::Derived(_) => None,
            },
            Some(DeValue::String(text)) => Some(text.as_ref().to_owned()),
            Some(other) => {
                self.mismatch(key.name, &format!("{about}, in quotes"), other);
                None
            }
        }
    }

    fn mismatch(&mut self, name: &str, expected: &str, found: &DeValue<'_>) {
        let message = format!("expected {expected}, found {}", describe(found));
        let way_out = match found {
            DeValue::String(_) if !expected.contains("list") => {
                "Write the value without quotes if it is a number or true/false"
            }
            _ => "Write a value of that kind",
        };
        self.bad(name, message, way_out);
    }

    fn error(&mut self, line: u32, name: &str, message: String, way_out: impl Into<String>) {
        // Where the TOML is broken, values and tables are what the parser guessed: what it found on a sound line counts,
        // what it did not find (told at the line of the table) does not.
        let missing = line == self.line;
        if !self.sink.is_sound_line(line) || (missing && !self.sink.is_sound()) {
            return;
        }
        let key = if self.section.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.section.path)
        };
        self.sink.error(line, &key, message, way_out);
    }
}

/// The tables `[[name]]` of a table, each with its line. A single `[name]` is reported: which of several is meant must
/// be seen in the file.
pub(crate) fn tables<'a>(
    parent: Option<&'a DeTable<'a>>,
    name: &str,
    sink: &mut Sink,
) -> Vec<(&'a DeTable<'a>, u32)> {
    let Some((key, value)) = parent.and_then(|table| table.get_key_value(name)) else {
        return Vec::new();
    };
    let line = sink.line_at(key.span().start);
    let wrong = |sink: &mut Sink, line, found: &DeValue<'_>| {
        let message = format!("expected tables [[{name}]], found {}", describe(found));
        sink.error(
            line,
            name,
            message,
            format!("Write [[{name}]] with two brackets, once for each"),
        );
    };
    let DeValue::Array(items) = value.get_ref() else {
        wrong(sink, line, value.get_ref());
        return Vec::new();
    };
    let mut tables = Vec::with_capacity(items.len());
    for item in items.iter() {
        match table_of(item) {
            Some(table) => tables.push((table, sink.line_at(item.span().start))),
            None => wrong(sink, line, item.get_ref()),
        }
    }
    tables
}

/// The table `[name]` of a table with its line.
pub(crate) fn table<'a>(
    parent: Option<&'a DeTable<'a>>,
    name: &str,
    sink: &mut Sink,
) -> Option<(&'a DeTable<'a>, u32)> {
    let (key, value) = parent?.get_key_value(name)?;
    let line = sink.line_at(key.span().start);
    let Some(table) = table_of(value) else {
        let message = format!(
            "expected a table [{name}], found {}",
            describe(value.get_ref())
        );
        sink.error(
            line,
            name,
            message,
            format!("Write [{name}] once, with one bracket, and its keys below it"),
        );
        return None;
    };
    Some((table, line))
}

fn table_of<'a>(value: &'a Spanned<DeValue<'a>>) -> Option<&'a DeTable<'a>> {
    match value.get_ref() {
        DeValue::Table(table) => Some(table),
        _ => None,
    }
}

fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the text \"{}\"", text.escape_debug()),
        DeValue::Integer(number) => format!("the number {number}"),
        DeValue::Float(number) => format!("the number {number}"),
        DeValue::Boolean(value) => format!("{value}"),
        DeValue::Datetime(value) => format!("the date {value}"),
        DeValue::Array(items) if items.iter().any(|item| table_of(item).is_some()) => {
            "several tables".to_owned()
        }
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "one table".to_owned(),
    }
}

fn required(key: &Key) -> bool {
    matches!(
        key.rule,
        Rule::Integer {
            default: Fallback::Required,
            ..
        } | Rule::Code {
            default: Fallback::Required,
            ..
        } | Rule::Text {
            default: Fallback::Required,
            ..
        }
    )
}

/// How a missing key is given.
fn example(key: &Key) -> String {
    match &key.rule {
        Rule::Integer { min, max, unit, .. } => {
            format!("Add {} = N, with N in {min}..{max} ({unit})", key.name)
        }
        _ => format!(
            "Add {} = \"...\"; config/sekisho.toml explains it",
            key.name
        ),
    }
}

fn default_hint(key: &Key) -> String {
    match &key.rule {
        Rule::Integer {
            default: Fallback::Value(value),
            ..
        } => format!("; the default is {value}"),
        Rule::Integer {
            default: Fallback::Derived(about),
            ..
        } => format!("; the default is {about}"),
        Rule::Choice { default, .. } => format!("; the default is \"{default}\""),
        _ => String::new(),
    }
}

/// What to do about an unknown key: the nearest of its section, or the section that has it, or the whole list.
fn way_out_of_unknown(section: &'static Section, given: &str) -> String {
    let known = || {
        section
            .keys
            .iter()
            .map(|key| key.name)
            .chain(section.inside.iter().copied())
    };
    let header = |path: &str| match path {
        "" => "the top of the file".to_owned(),
        "line" | "shard" => format!("[[{path}]]"),
        _ => format!("[{path}]"),
    };
    if let Some(other) = SECTIONS.iter().find(|other| other.key(given).is_some()) {
        return format!("This key belongs to {}: move it there", header(other.path));
    }
    match nearest(given, known()) {
        Some(near) => format!("Write {near} if that is meant"),
        None => format!(
            "Known in {}: {}",
            header(section.path),
            known().collect::<Vec<_>>().join(", ")
        ),
    }
}
