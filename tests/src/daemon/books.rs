//! The three books at the end of a test: what the application was told, what the centre's ledger says, and the journal.

use client::{ClientError, Delivery};
use loadgen::books::app::AppEntry;
use loadgen::books::compare::{Books, Findings, compare};
use loadgen::books::entry::JournalEntry;
use loadgen::books::{journal, ledger};
use loadgen::centre::Handle;
use loadgen::centre::ledger::Anomaly;
use loadgen::run::outcome::Outcome;

use super::{App, Daemon, Payment, Plan};

/// The application's entry of a payment, from what its send or receive returned.
pub fn app_entry(payment: &Payment, result: &Result<Delivery, ClientError>) -> AppEntry {
    let outcome = match result {
        Ok(delivery) => {
            let data = &delivery.telegram.data;
            Outcome::of_report(delivery.telegram.mti, [data[0], data[1], data[2]])
        }
        Err(ClientError::TimeOut) => Outcome::TimeOut,
        Err(ClientError::Ended { code, .. } | ClientError::Refused { code }) => {
            Outcome::of_ended(*code)
        }
        Err(ClientError::NotConnected | ClientError::Credit { .. }) => Outcome::Unsent,
        Err(_) => Outcome::Lost,
    };
    AppEntry {
        key: payment.key,
        mti: payment.mti,
        outcome,
    }
}

/// Waits until nothing of the line is open any more, and stops the daemon in order.
///
/// # Panics
/// If either does not come about.
pub fn settled_and_stopped(app: &mut App, daemon: &mut Daemon) {
    app.wait_open();
    app.wait_idle();
    daemon.terminate();
    let status = daemon.wait_end();
    assert_eq!(status.code(), Some(0), "an orderly stop ends with {status}");
}

/// Holds the three books of a stopped daemon against each other, and the centre's own suspicions against the daemon.
///
/// # Panics
/// If they disagree.
pub fn assert_books_agree(plan: &Plan, centre: &Handle, app: Vec<AppEntry>) -> Findings {
    let journal = journal::read(&plan.journal()).expect("a journal");
    assert_agree(plan, centre, app, Some(journal))
}

/// The same without the journal, where it does not keep everything.
///
/// # Panics
/// If they disagree.
pub fn assert_two_books_agree(plan: &Plan, centre: &Handle, app: Vec<AppEntry>) -> Findings {
    assert_agree(plan, centre, app, None)
}

fn assert_agree(
    plan: &Plan,
    centre: &Handle,
    app: Vec<AppEntry>,
    journal: Option<Vec<JournalEntry>>,
) -> Findings {
    let path = plan.dir.join("ledger");
    let written = centre.control(&format!("ledger {}", path.display()));
    assert!(written.starts_with("ok"), "{written}");
    let centre_book = ledger::read(&path).expect("a ledger");
    let books = Books {
        app,
        centre: centre_book,
        journal,
    };
    let findings = compare(books, 20);
    assert!(findings.agree(), "{findings}");
    let book = centre.ledger();
    for anomaly in [
        Anomaly::DuplicateSequence,
        Anomaly::KeyAgain,
        Anomaly::ImageDiffers,
        Anomaly::Unmasked,
        Anomaly::WrongRoute,
        Anomaly::CancelUnknown,
        Anomaly::AnswerDiffers,
        Anomaly::BadControl,
    ] {
        assert_eq!(
            book.count(anomaly),
            0,
            "{anomaly:?} at the centre: {:?}",
            book.events
        );
    }
    findings
}
