//! The ledger as a file: compact lines that are written fast and read by anybody.
//!
//! ```text
//! #sekisho-centre-ledger 1
//! #line <number> <name>
//! <key24> <line> <day> <sequence> <route> <mti> <outcome> <cancelled> <answer> <centre-seq> <request-us> <report-us> <faults> <anomalies>
//! !event <at-us> <line> <anomaly> <mti> <route> <sequence> <code>
//! !count <anomaly> <how many>
//! #end <entries>
//! ```
//!
//! The key is always 24 characters (date, terminal, terminal sequence) and may hold spaces; what follows it is
//! divided by single spaces. Outcome: `approved`, `refused:G54`, `abnormal:C12`, `none`. Cancelled: `-`, the type of
//! the fault command that did it, `centre`. Answer: code of the last 8950, 8960 or 8970, `ok` for spaces, `-` for none.
//! Anomalies: words joined by commas, `-` for none. Times are microseconds since 1970, 0 for never. A file without
//! `#end` was cut short and is refused.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use codec::cafis::mti::Mti;
use codec::cafis::section::TransactionKey;
use thiserror::Error;

use super::checks::Code;
use super::ledger::{ANOMALIES, Anomaly, CancelledBy, Entry, Event, Ledger, NO_CODE, Outcome};

const MAGIC: &str = "#sekisho-centre-ledger 1";
const KEY_LEN: usize = 24;
const BLANK: Code = Code(*b"   ");

/// A ledger read from a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Book {
    /// Names of the lines; an entry's line is a position here.
    pub lines: Vec<String>,
    /// Every request, oldest first.
    pub entries: Vec<Entry>,
    /// Anomalies in full, as far as they were kept.
    pub events: Vec<Event>,
    /// How often each anomaly was seen.
    pub counts: Vec<(Anomaly, u64)>,
}

impl Book {
    /// A copy of a book in memory; names are those of the lines in their order.
    pub fn of(ledger: &Ledger, names: &[&str]) -> Book {
        Book {
            lines: names.iter().map(|&name| name.to_owned()).collect(),
            entries: ledger.entries().to_vec(),
            events: ledger.events().to_vec(),
            counts: ANOMALIES
                .iter()
                .zip(ledger.counts())
                .map(|(row, &count)| (row.0, count))
                .collect(),
        }
    }

    /// How often one anomaly was seen.
    pub fn count(&self, anomaly: Anomaly) -> u64 {
        self.counts
            .iter()
            .find(|row| row.0 == anomaly)
            .map_or(0, |row| row.1)
    }
}

/// Why a file is no ledger.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The file cannot be read.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// A line says nothing known.
    #[error("{path}:{line}: {problem}")]
    Line {
        /// The file.
        path: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        problem: &'static str,
    },
}

/// Writes the book to `path`; names are those of the lines in their order.
pub fn write(path: &Path, ledger: &Ledger, names: &[&str]) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    write_to(&mut out, ledger, names)?;
    out.flush()
}

/// Writes the book as text.
pub fn write_to(out: &mut impl Write, ledger: &Ledger, names: &[&str]) -> io::Result<()> {
    writeln!(out, "{MAGIC}")?;
    for (number, name) in names.iter().enumerate() {
        writeln!(out, "#line {number} {name}")?;
    }
    let mut text = Vec::with_capacity(256);
    for entry in ledger.entries() {
        text.clear();
        put_entry(&mut text, entry);
        out.write_all(&text)?;
    }
    for event in ledger.events() {
        let Event {
            at_us,
            line,
            anomaly,
            mti,
            route,
            sequence,
            code,
        } = event;
        let word = anomaly.word();
        writeln!(
            out,
            "!event {at_us} {line} {word} {mti} {route} {sequence} {}",
            code_word(*code)
        )?;
    }
    for (&(anomaly, word), count) in ANOMALIES.iter().zip(ledger.counts()) {
        debug_assert_eq!(anomaly.word(), word);
        writeln!(out, "!count {word} {count}")?;
    }
    writeln!(out, "#end {}", ledger.entries().len())
}

fn put_entry(out: &mut Vec<u8>, entry: &Entry) {
    out.extend(entry.key.0.iter().map(|&byte| {
        if (b' '..0x7f).contains(&byte) {
            byte
        } else {
            b'?'
        }
    }));
    for number in [
        u64::from(entry.line),
        u64::from(entry.day),
        u64::from(entry.sequence),
        u64::from(entry.route),
    ] {
        put_number(out, number);
    }
    put_number(out, u64::from(entry.mti.0));
    out.push(b' ');
    match entry.outcome {
        Outcome::None => out.extend_from_slice(b"none"),
        Outcome::Approved => out.extend_from_slice(b"approved"),
        Outcome::Refused(code) => put_coded(out, b"refused:", code),
        Outcome::Abnormal(code) => put_coded(out, b"abnormal:", code),
    }
    match entry.cancelled {
        None => out.extend_from_slice(b" -"),
        Some(CancelledBy::Command(mti)) => put_number(out, u64::from(mti.0)),
        Some(CancelledBy::Centre) => out.extend_from_slice(b" centre"),
    }
    out.push(b' ');
    out.extend_from_slice(code_word(entry.cancel_code).as_bytes());
    for number in [
        u64::from(entry.centre_seq),
        entry.request_us,
        entry.report_us,
        u64::from(entry.faults),
    ] {
        put_number(out, number);
    }
    out.push(b' ');
    if entry.anomalies == 0 {
        out.push(b'-');
    }
    let words = ANOMALIES
        .iter()
        .filter(|row| entry.anomalies & row.0.bit() != 0);
    for (at, (_, word)) in words.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(word.as_bytes());
    }
    out.push(b'\n');
}

fn put_coded(out: &mut Vec<u8>, word: &[u8], code: Code) {
    out.extend_from_slice(word);
    out.extend_from_slice(&code.0);
}

/// A space and a number, without the formatting machinery: millions of entries have ten of them each.
fn put_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.push(b' ');
    out.extend_from_slice(&digits[at..]);
}

fn code_word(code: Code) -> String {
    match code {
        NO_CODE => "-".into(),
        BLANK => "ok".into(),
        other => other.to_string(),
    }
}

/// Reads a ledger.
pub fn read(path: &Path) -> Result<Book, ReadError> {
    let name = || path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| ReadError::Io {
        path: name(),
        error,
    })?;
    parse(&bytes).map_err(|(line, problem)| ReadError::Line {
        path: name(),
        line,
        problem,
    })
}

/// Reads a ledger's text; the error is the line from 1, and what is wrong with it.
pub fn parse(bytes: &[u8]) -> Result<Book, (usize, &'static str)> {
    let mut book = Book::default();
    let mut ended = false;
    let mut number = 0;
    for line in bytes
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        number += 1;
        let wrong = |problem| (number, problem);
        let text = std::str::from_utf8(line).map_err(|_| wrong("not text"))?;
        if number == 1 {
            if text != MAGIC {
                return Err(wrong("does not begin as a centre ledger of version 1"));
            }
        } else if let Some(rest) = text.strip_prefix("#line ") {
            let (_, name) = rest.split_once(' ').ok_or(wrong("a line without a name"))?;
            book.lines.push(name.to_owned());
        } else if let Some(rest) = text.strip_prefix("!event ") {
            book.events
                .push(parse_event(rest).ok_or(wrong("not an event"))?);
        } else if let Some(rest) = text.strip_prefix("!count ") {
            book.counts
                .push(parse_count(rest).ok_or(wrong("not a count"))?);
        } else if let Some(rest) = text.strip_prefix("#end ") {
            ended = rest.parse() == Ok(book.entries.len());
        } else {
            book.entries
                .push(parse_entry(text).ok_or(wrong("not an entry"))?);
        }
    }
    if ended {
        Ok(book)
    } else {
        Err((
            number,
            "the ledger was cut short: its #end is missing or counts otherwise",
        ))
    }
}

fn parse_entry(text: &str) -> Option<Entry> {
    let key = TransactionKey::parse(text.as_bytes().get(..KEY_LEN)?)?;
    let mut words = text.get(KEY_LEN + 1..)?.split(' ');
    let entry = Entry {
        key,
        line: words.next()?.parse().ok()?,
        day: words.next()?.parse().ok()?,
        sequence: words.next()?.parse().ok()?,
        route: words.next()?.parse().ok()?,
        mti: Mti(words.next()?.parse().ok()?),
        outcome: parse_outcome(words.next()?)?,
        cancelled: match words.next()? {
            "-" => None,
            "centre" => Some(CancelledBy::Centre),
            mti => Some(CancelledBy::Command(Mti(mti.parse().ok()?))),
        },
        cancel_code: parse_code(words.next()?)?,
        centre_seq: words.next()?.parse().ok()?,
        request_us: words.next()?.parse().ok()?,
        report_us: words.next()?.parse().ok()?,
        faults: words.next()?.parse().ok()?,
        anomalies: match words.next()? {
            "-" => 0,
            list => list
                .split(',')
                .try_fold(0, |bits, word| Some(bits | anomaly(word)?.bit()))?,
        },
        image: 0,
    };
    words.next().is_none().then_some(entry)
}

fn parse_outcome(word: &str) -> Option<Outcome> {
    Some(match word.split_once(':') {
        None if word == "none" => Outcome::None,
        None if word == "approved" => Outcome::Approved,
        Some(("refused", code)) => Outcome::Refused(code.parse().ok()?),
        Some(("abnormal", code)) => Outcome::Abnormal(code.parse().ok()?),
        _ => return None,
    })
}

fn parse_code(word: &str) -> Option<Code> {
    match word {
        "-" => Some(NO_CODE),
        "ok" => Some(BLANK),
        code => code.parse().ok(),
    }
}

fn parse_event(text: &str) -> Option<Event> {
    let mut words = text.split(' ');
    Some(Event {
        at_us: words.next()?.parse().ok()?,
        line: words.next()?.parse().ok()?,
        anomaly: anomaly(words.next()?)?,
        mti: words.next()?.parse().ok()?,
        route: words.next()?.parse().ok()?,
        sequence: words.next()?.parse().ok()?,
        code: parse_code(words.next()?)?,
    })
}

fn parse_count(text: &str) -> Option<(Anomaly, u64)> {
    let (word, count) = text.split_once(' ')?;
    Some((anomaly(word)?, count.parse().ok()?))
}

fn anomaly(word: &str) -> Option<Anomaly> {
    ANOMALIES.iter().find(|row| row.1 == word).map(|row| row.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled() -> Ledger {
        let mut ledger = Ledger::new(2, true, 8);
        let outcomes = [
            Outcome::Approved,
            Outcome::Refused(Code(*b"G54")),
            Outcome::Abnormal(Code(*b"C12")),
            Outcome::None,
        ];
        let cancels = [
            None,
            Some(CancelledBy::Command(Mti(8930))),
            Some(CancelledBy::Centre),
            None,
        ];
        let codes = [NO_CODE, BLANK, Code(*b"C13"), NO_CODE];
        for at in 0..4u32 {
            ledger.enter(Entry {
                key: TransactionKey(*b"991130             00001"),
                line: (at % 2) as u16,
                day: 30,
                sequence: 1 + at / 2,
                route: 2,
                mti: Mti(3110),
                outcome: outcomes[at as usize],
                request_us: 1_700_000_000_000_000,
                report_us: 0,
                centre_seq: 4711,
                cancelled: cancels[at as usize],
                cancel_code: codes[at as usize],
                faults: at as u16,
                anomalies: 0,
                image: 0,
            });
        }
        ledger
    }

    /// A book that was written is read as it was, with lines, anomalies, events and counts.
    #[test]
    fn a_ledger_is_read_as_it_was_written() {
        let ledger = filled();
        let mut text = Vec::new();
        write_to(&mut text, &ledger, &["C01", "C02"]).expect("written");
        let book = parse(&text).expect("read");
        assert_eq!(book.lines, ["C01", "C02"]);
        assert_eq!(book.entries, ledger.entries());
        assert_eq!(book.events, ledger.events());
        assert_eq!(book.count(Anomaly::KeyAgain), 3);
        let first = text.split(|&byte| byte == b'\n').nth(3).expect("an entry");
        assert_eq!(
            std::str::from_utf8(first),
            Ok("991130             00001 0 30 1 2 3110 approved - - 4711 1700000000000000 0 0 -")
        );
    }

    /// A ledger that was cut short, or is none, is refused with its line.
    #[test]
    fn a_broken_ledger_is_refused() {
        let mut text = Vec::new();
        write_to(&mut text, &filled(), &["C01", "C02"]).expect("written");
        let end = text
            .windows(4)
            .position(|part| part == b"#end")
            .expect("an end");
        assert!(matches!(parse(&text[..end]), Err((_, problem)) if problem.contains("cut short")));
        assert!(matches!(parse(b"hello\n"), Err((1, _))));
        assert_eq!(
            parse(b"#sekisho-centre-ledger 1\nnonsense\n"),
            Err((2, "not an entry"))
        );
    }
}
