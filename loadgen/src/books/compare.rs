//! Putting three books side by side, key by key, and judging each transaction.

use std::fmt::{self, Display, Write};

use serde::Serialize;

use super::app::AppEntry;
use super::entry::{CentreEntry, CentreOutcome, JournalEntry};
use super::rules::{Case, RULES, Rule};
use crate::run::outcome::Outcome;

/// Three books. They are sorted by key when they are compared.
#[derive(Clone, Debug, Default)]
pub struct Books {
    /// The application's.
    pub app: Vec<AppEntry>,
    /// The centre's.
    pub centre: Vec<CentreEntry>,
    /// The daemon's, if it was given.
    pub journal: Option<Vec<JournalEntry>>,
}

/// A transaction that breaks a rule, in the words of the books.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Disagreement {
    /// The transaction key.
    pub key: String,
    /// Names of the rules that are broken.
    pub rules: Vec<&'static str>,
    /// The application's entry.
    pub app: String,
    /// The centre's entry.
    pub centre: String,
    /// The journal's entry.
    pub journal: String,
}

/// What a comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// Different keys in all books together.
    pub keys: u64,
    /// Entries of the application's book.
    pub app: u64,
    /// Entries of the centre's ledger.
    pub centre: u64,
    /// Entries of the journal; none if it was not given.
    pub journal: Option<u64>,
    /// Entries by the words of each book, such as ("journal", "delivered", 12).
    pub counts: Vec<(&'static str, String, u64)>,
    /// How many transactions break each rule, in the rules' order.
    pub broken: Vec<(&'static str, u64)>,
    /// How many transactions break any.
    pub disagree: u64,
    /// The first of them.
    pub examples: Vec<Disagreement>,
}

/// Counts entries under their words.
#[derive(Default)]
struct Counts(Vec<(&'static str, String, u64)>);

impl Counts {
    fn add(&mut self, book: &'static str, word: &str) {
        let at = self.0.iter().position(|row| row.0 == book && row.1 == word);
        match at {
            Some(at) => self.0[at].2 += 1,
            None => self.0.push((book, word.to_owned(), 1)),
        }
    }
}

/// Compares the books and keeps at most `examples_max` disagreements in full.
#[must_use]
pub fn compare(mut books: Books, examples_max: usize) -> Findings {
    let journal_given = books.journal.is_some();
    let mut journal = books.journal.take().unwrap_or_default();
    // Stable: entries of one key stay in the order of their book, so that the last is the newest.
    books.app.sort_by_key(|entry| entry.key);
    books.centre.sort_by_key(|entry| entry.key);
    journal.sort_by_key(|entry| entry.key);
    let mut findings = Findings {
        app: books.app.len() as u64,
        centre: books.centre.len() as u64,
        journal: journal_given.then_some(journal.len() as u64),
        broken: RULES.iter().map(|rule| (rule.name, 0)).collect(),
        ..Findings::default()
    };
    let mut counts = Counts::default();
    let (mut app, mut centre, mut rest) = (&books.app[..], &books.centre[..], &journal[..]);
    let mut word = String::new();
    loop {
        let fronts = [
            app.first().map(|entry| entry.key),
            centre.first().map(|entry| entry.key),
            rest.first().map(|entry| entry.key),
        ];
        let Some(key) = fronts.into_iter().flatten().min() else {
            break;
        };
        let of_app = take_key(&mut app, |entry| entry.key == key);
        let of_centre = take_key(&mut centre, |entry| entry.key == key);
        let of_journal = take_key(&mut rest, |entry| entry.key == key);
        findings.keys += 1;
        let case = Case {
            app: of_app.last().map(|entry| entry.outcome),
            centre: of_centre.last(),
            centre_entries: of_centre.len(),
            journal: of_journal.last(),
            journal_given,
        };
        for (book, text) in words(&case) {
            word.clear();
            // Writing to a String cannot fail.
            let _ = write!(word, "{text}");
            counts.add(book, &word);
        }
        findings.judge(&key, &case, examples_max);
    }
    counts.0.sort();
    findings.counts = counts.0;
    findings
}

/// Takes the entries of one key off the front.
fn take_key<'a, T>(rest: &mut &'a [T], same: impl Fn(&T) -> bool) -> &'a [T] {
    let count = rest.iter().take_while(|entry| same(entry)).count();
    let (taken, left) = rest.split_at(count);
    *rest = left;
    taken
}

/// The books of a case that have an entry, with its words.
fn words<'a>(case: &Case<'a>) -> impl Iterator<Item = (&'static str, Words<'a>)> + use<'a> {
    let app = case.app.map(|outcome| ("application", Words::App(outcome)));
    let centre = case.centre.map(|entry| ("centre", Words::Centre(entry)));
    let journal = case.journal.map(|entry| ("journal", Words::Journal(entry)));
    app.into_iter().chain(centre).chain(journal)
}

/// An entry as it is shown.
enum Words<'a> {
    App(Outcome),
    Centre(&'a CentreEntry),
    Journal(&'a JournalEntry),
}

impl Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Words::App(outcome) => write!(f, "{outcome}"),
            Words::Centre(entry) => {
                match entry.outcome {
                    CentreOutcome::Open => f.write_str("no result")?,
                    CentreOutcome::Approved => f.write_str("approved")?,
                    CentreOutcome::Refused => f.write_str("refused")?,
                    CentreOutcome::Abnormal(code) => write!(f, "8970-{}", code.escape_ascii())?,
                }
                f.write_str(if entry.undone { ", cancelled" } else { "" })?;
                f.write_str(if entry.faulty { ", faulty" } else { "" })
            }
            Words::Journal(entry) => write!(f, "{}", format!("{:?}", entry.state).to_lowercase()),
        }
    }
}

impl Findings {
    /// The books agree.
    #[must_use]
    pub fn agree(&self) -> bool {
        self.disagree == 0
    }

    fn judge(&mut self, key: &[u8; 24], case: &Case<'_>, examples_max: usize) {
        let mut first = true;
        for (at, rule) in RULES.iter().enumerate() {
            if rule.holds(case) {
                continue;
            }
            self.broken[at].1 += 1;
            if first {
                self.disagree += 1;
                first = false;
                if self.examples.len() < examples_max {
                    self.examples.push(show(key, case));
                }
            }
        }
    }
}

/// A disagreement in words.
fn show(key: &[u8; 24], case: &Case<'_>) -> Disagreement {
    let broken = |rule: &&Rule| !rule.holds(case);
    let text = |entry: Option<String>| entry.unwrap_or_else(|| "-".to_owned());
    Disagreement {
        key: key.escape_ascii().to_string(),
        rules: RULES.iter().filter(broken).map(|rule| rule.name).collect(),
        app: text(case.app.map(|outcome| Words::App(outcome).to_string())),
        centre: text(case.centre.map(|entry| {
            let mti = entry.mti.escape_ascii();
            format!(
                "{mti} sequence {:06} {}",
                entry.sequence,
                Words::Centre(entry)
            )
        })),
        journal: text(case.journal.map(|entry| {
            let (request, report) = (
                entry.request_mti.escape_ascii(),
                entry.report_mti.escape_ascii(),
            );
            format!(
                "{request}/{report} sequence {:06} {}",
                entry.sequence,
                Words::Journal(entry)
            )
        })),
    }
}

impl Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} transactions in all books together", self.keys)?;
        for (book, word, count) in &self.counts {
            writeln!(f, "  {book:<12} {word:<24} {count:>11}")?;
        }
        if self.journal.is_none() {
            writeln!(f, "  (no journal was given: two books only)")?;
        }
        if self.agree() {
            return writeln!(f, "the books agree");
        }
        writeln!(
            f,
            "THE BOOKS DISAGREE about {} transactions:",
            self.disagree
        )?;
        for ((name, count), rule) in self.broken.iter().zip(&RULES) {
            if *count > 0 {
                writeln!(f, "  {count:>9} break {name}: {}", rule.text)?;
            }
        }
        for example in &self.examples {
            writeln!(f, "{}: {}", example.key, example.rules.join(", "))?;
            writeln!(f, "    application: {}", example.app)?;
            writeln!(f, "    journal:     {}", example.journal)?;
            writeln!(f, "    centre:      {}", example.centre)?;
        }
        let more = self.disagree - self.examples.len() as u64;
        if more > 0 {
            writeln!(f, "... and {more} more")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use codec::link::message::TransactionState;

    use super::*;

    fn key(n: usize) -> [u8; 24] {
        let mut key = [b'0'; 24];
        key[16..].copy_from_slice(format!("{n:08}").as_bytes());
        key
    }

    /// Books of `count` approved transactions, each in an order of its own.
    fn books(count: usize) -> Books {
        let app = (0..count).map(|n| AppEntry {
            key: key(n),
            mti: *b"3110",
            outcome: Outcome::Approved,
        });
        let centre = (0..count).rev().map(|n| CentreEntry {
            key: key(n),
            mti: *b"3110",
            sequence: n as u32 + 1,
            outcome: CentreOutcome::Approved,
            undone: false,
            faulty: false,
        });
        let journal = (0..count).map(|n| JournalEntry {
            key: key((n + 7) % count),
            state: TransactionState::Delivered,
            request_mti: *b"3110",
            report_mti: *b"3120",
            sequence: 0,
        });
        Books {
            app: app.collect(),
            centre: centre.collect(),
            journal: Some(journal.collect()),
        }
    }

    /// Books that say the same agree, whatever order they are in, and the summary counts their entries.
    #[test]
    fn equal_books_agree() {
        let findings = compare(books(1000), 5);
        assert!(findings.agree(), "{findings}");
        assert_eq!(findings.keys, 1000);
        assert!(
            findings
                .counts
                .contains(&("journal", "delivered".into(), 1000))
        );
        assert!(findings.to_string().contains("the books agree"));
    }

    /// One entry that is missing, doubled or cancelled in one book is found among a thousand, shown with all three
    /// entries, and the list of examples is cut where it was asked to be.
    #[test]
    fn single_faults_are_found_and_shown() {
        let mut with_faults = books(1000);
        with_faults.centre.retain(|entry| entry.key != key(17));
        if let Some(journal) = &mut with_faults.journal {
            journal.retain(|entry| entry.key != key(400));
        }
        for entry in with_faults
            .centre
            .iter_mut()
            .filter(|entry| entry.key == key(900))
        {
            entry.undone = true;
        }
        let again = with_faults.centre[0];
        with_faults.centre.push(again);
        let findings = compare(with_faults.clone(), 10);
        assert_eq!(findings.disagree, 4, "{findings}");
        let of = |n: usize| {
            let key = key(n).escape_ascii().to_string();
            findings
                .examples
                .iter()
                .find(|example| example.key == key)
                .expect("an example")
        };
        assert_eq!(of(17).rules, ["approval-stands", "centre-knows"]);
        assert_eq!(of(400).rules, ["delivery-on-record", "journal-knows"]);
        assert_eq!(of(900).rules, ["approval-stands", "not-both"]);
        assert_eq!(of(999).rules, ["sent-once"]);
        assert_eq!(of(900).centre, "3110 sequence 000901 approved, cancelled");
        assert_eq!(of(900).journal, "3110/3120 sequence 000000 delivered");
        let short = compare(with_faults, 1);
        assert_eq!((short.disagree, short.examples.len()), (4, 1));
        assert!(short.to_string().contains("... and 3 more"), "{short}");
    }
}
