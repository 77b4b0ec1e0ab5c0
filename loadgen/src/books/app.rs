//! The application's book: a text file with a line a request, written by `loadgen run --book`.
//!
//! ```text
//! #sekisho-application-book 1
//! <key24> <mti> <outcome>
//! #end <entries>
//! ```
//!
//! The key is 24 characters (date, terminal, terminal sequence); outcomes are the names of [`Outcome`]. A book without
//! its last line was cut short and is refused.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::run::outcome::Outcome;
use crate::run::telegram::Telegrams;

const MAGIC: &str = "#sekisho-application-book 1";
const KEY_LEN: usize = 24;

/// A request as the application knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppEntry {
    /// Date, terminal, terminal sequence.
    pub key: [u8; 24],
    /// Message type of the request.
    pub mti: [u8; 4],
    /// How it ended.
    pub outcome: Outcome,
}

/// Why a file is no application's book.
#[derive(Debug, Error)]
pub enum AppBookError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A line says nothing known.
    #[error("{}:{line}: {problem}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// Writes the outcomes of requests 0, 1, 2... to `path`.
pub(crate) fn write(path: &Path, telegrams: &Telegrams, outcomes: &[Outcome]) -> io::Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    writeln!(file, "{MAGIC}")?;
    for (serial, outcome) in (0u64..).zip(outcomes) {
        file.write_all(&telegrams.key(serial))?;
        file.write_all(b" ")?;
        file.write_all(&telegrams.mti(serial))?;
        match outcome {
            // By far the most frequent: spared the formatting machinery.
            Outcome::Approved => file.write_all(b" approved\n")?,
            other => writeln!(file, " {other}")?,
        }
    }
    writeln!(file, "#end {}", outcomes.len())?;
    file.flush()
}

/// Reads a book.
///
/// # Errors
/// The file cannot be read, or is no whole book: see [`AppBookError`].
pub fn read(path: &Path) -> Result<Vec<AppEntry>, AppBookError> {
    let text = fs::read(path).map_err(|source| AppBookError::Io {
        path: path.to_owned(),
        source,
    })?;
    parse(&text).map_err(|(line, problem)| AppBookError::Line {
        path: path.to_owned(),
        line,
        problem,
    })
}

/// Reads the text of a book; an error is the line, from 1, and what is wrong with it.
fn parse(text: &[u8]) -> Result<Vec<AppEntry>, (usize, &'static str)> {
    let mut lines = text.split(|byte| *byte == b'\n');
    if lines.next() != Some(MAGIC.as_bytes()) {
        return Err((1, "does not begin as an application's book of version 1"));
    }
    let mut entries = Vec::with_capacity(text.len() / (KEY_LEN + 15));
    let mut last = 1;
    for (line, number) in lines.zip(2..) {
        last = number;
        if let Some(count) = line.strip_prefix(b"#end ") {
            return if count == entries.len().to_string().as_bytes() {
                Ok(entries)
            } else {
                Err((number, "counts other entries than there are"))
            };
        }
        entries.push(entry(line).ok_or((number, "is not KEY MTI OUTCOME"))?);
    }
    Err((last, "the book was cut short: its #end is missing"))
}

/// Reads one line.
fn entry(line: &[u8]) -> Option<AppEntry> {
    let (key, rest) = line.split_first_chunk::<KEY_LEN>()?;
    let (mti, rest) = rest.strip_prefix(b" ")?.split_first_chunk::<4>()?;
    let outcome = rest.strip_prefix(b" ")?;
    Some(AppEntry {
        key: *key,
        mti: *mti,
        outcome: match outcome {
            b"approved" => Outcome::Approved,
            other => std::str::from_utf8(other).ok()?.parse().ok()?,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::telegram::Identity;

    fn book() -> (Telegrams, Vec<Outcome>) {
        let identity = Identity {
            acquirer: *b"TEST0010000",
            issuer: *b"TEST9000000",
            installer: *b"12345",
            date: *b"991130",
        };
        let telegrams = Telegrams::new(identity, "3110=1,3210=1".parse().expect("a mix"));
        let outcomes = vec![
            Outcome::Approved,
            Outcome::Abnormal(*b"C12"),
            Outcome::Unanswered,
            Outcome::Ended(25),
        ];
        (telegrams, outcomes)
    }

    /// A book that was written is read as it was, under the keys of its requests.
    #[test]
    fn a_book_reads_back() {
        let (telegrams, outcomes) = book();
        let path = std::env::temp_dir().join(format!("loadgen-book-{}", std::process::id()));
        write(&path, &telegrams, &outcomes).expect("written");
        let entries = read(&path).expect("read");
        fs::remove_file(&path).expect("removed");
        assert_eq!(entries.len(), 4);
        for (serial, entry) in (0u64..).zip(&entries) {
            assert_eq!(entry.key, telegrams.key(serial));
            assert_eq!(entry.mti, telegrams.mti(serial));
            assert_eq!(entry.outcome, outcomes[serial as usize]);
        }
    }

    /// What is no whole book is refused with its line.
    #[test]
    fn a_broken_book_is_refused() {
        let good = "#sekisho-application-book 1\n991130123459990000000001 3110 approved\n#end 1\n";
        assert_eq!(parse(good.as_bytes()).expect("good").len(), 1);
        let cut = &good[..good.len() - 7];
        assert!(matches!(parse(cut.as_bytes()), Err((_, problem)) if problem.contains("KEY")));
        let miscounted = good.replace("#end 1", "#end 2");
        assert!(
            matches!(parse(miscounted.as_bytes()), Err((3, problem)) if problem.contains("counts"))
        );
        let odd = good.replace("approved", "paid");
        assert!(matches!(parse(odd.as_bytes()), Err((2, problem)) if problem.contains("OUTCOME")));
        assert!(matches!(parse(b"hello\n"), Err((1, _))));
    }
}
