//! `loadgen books`: holds three books against each other, and fails loudly where they disagree.
//!
//! The application's book says what its callers were told, the centre's ledger what happened to the money, the journal what the
//! daemon answers for. [`rules`] says what the three may look like together; [`compare`] walks them by transaction key.

pub mod app;
pub mod compare;
pub mod entry;
pub mod journal;
pub mod ledger;
pub mod rules;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use thiserror::Error;

use compare::{Books, Findings, compare};

/// Exit code when the books disagree.
pub const EXIT_DISAGREE: u8 = 4;

/// `loadgen books`: compares the application's book, the centre's ledger and the journal.
#[derive(Args, Clone, Debug)]
pub struct BooksArgs {
    /// The application's book, from `loadgen run --book`; several runs may have several
    #[arg(long, value_name = "FILE", required = true)]
    pub app: Vec<PathBuf>,
    /// The centre's ledger, from `loadgen centre --ledger`
    #[arg(long, value_name = "FILE")]
    pub ledger: PathBuf,
    /// The daemon's journal directory; without it two books are compared
    #[arg(long, value_name = "DIR")]
    pub journal: Option<PathBuf>,
    /// How many disagreements to list
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub list: usize,
    /// Write the findings as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// The books could not be compared.
#[derive(Debug, Error)]
pub enum BooksError {
    /// The application's book.
    #[error(transparent)]
    App(#[from] app::AppBookError),
    /// The centre's ledger.
    #[error(transparent)]
    Ledger(#[from] ledger::LedgerError),
    /// The journal.
    #[error("{}: {source}", path.display())]
    Journal {
        /// Its directory.
        path: PathBuf,
        /// What is wrong with it.
        source: journal::JournalError,
    },
    /// The findings could not be written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Runs `loadgen books`: prints the findings, and answers with the exit code (0 agree, 1 failed, 4 disagree).
#[must_use]
pub fn main(args: &BooksArgs) -> ExitCode {
    match run(args) {
        Ok(findings) => {
            print!("{findings}");
            if findings.agree() {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(EXIT_DISAGREE)
            }
        }
        Err(error) => {
            eprintln!("loadgen books: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Reads the books and compares them.
///
/// # Errors
/// A book cannot be read. That they disagree is no error: the findings say so.
pub fn run(args: &BooksArgs) -> Result<Findings, BooksError> {
    let mut books = Books::default();
    for path in &args.app {
        books.app.append(&mut app::read(path)?);
    }
    books.centre = ledger::read(&args.ledger)?;
    if let Some(path) = &args.journal {
        let read = journal::read(path).map_err(|source| BooksError::Journal {
            path: path.clone(),
            source,
        })?;
        books.journal = Some(read);
    }
    let findings = compare(books, args.list);
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&findings).map_err(io::Error::other);
        text.and_then(|text| std::fs::write(path, text + "\n"))
            .map_err(|source| BooksError::File {
                path: path.clone(),
                source,
            })?;
    }
    Ok(findings)
}
