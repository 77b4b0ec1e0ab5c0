//! What must be true of one transaction in three books, as a table.
//!
//! The rules never say what to do; they say what a pair or a triple of entries may not look like. Each is tested with a
//! case that holds and cases that do not. A book that was not given is not held against the others.

use codec::link::message::TransactionState as Journal;

use super::entry::{CentreEntry, CentreOutcome, JournalEntry};
use crate::run::outcome::Outcome;

/// One transaction in the three books.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The application's entry; none if it does not know the key (another application may).
    pub app: Option<Outcome>,
    /// The centre's entry, the newest if there are several.
    pub centre: Option<&'a CentreEntry>,
    /// How many entries the centre has.
    pub centre_entries: usize,
    /// The journal's entry, the newest if there are several.
    pub journal: Option<&'a JournalEntry>,
    /// A journal was given.
    pub journal_given: bool,
}

/// One rule.
pub struct Rule {
    /// A short name, for the summary.
    pub name: &'static str,
    /// What must be true.
    pub text: &'static str,
    holds: fn(&Case<'_>) -> bool,
}

impl Rule {
    /// Whether the rule holds for a transaction.
    #[must_use]
    pub fn holds(&self, case: &Case<'_>) -> bool {
        (self.holds)(case)
    }
}

/// Every rule. A transaction is reported under each one that it breaks.
#[rustfmt::skip]
pub const RULES: [Rule; 15] = [
    Rule { name: "delivery-on-record", text: "what was delivered to the application is delivered in the journal", holds: delivery_on_record },
    Rule { name: "approval-stands", text: "what the application holds as approved is approved at the centre and not cancelled", holds: approval_stands },
    Rule { name: "refusal-stands", text: "what the application holds as refused is refused at the centre", holds: refusal_stands },
    Rule { name: "abnormal-agrees", text: "an 8970 that the application holds is the centre's, or the centre kept nothing of it", holds: abnormal_agrees },
    Rule { name: "given-up-not-delivered", text: "a time-out or an undelivered report is cancelled, not processed or escalated in the journal", holds: given_up },
    Rule { name: "refused-not-sent", text: "what the daemon refused was not sent, or it was settled", holds: refused_not_sent },
    Rule { name: "unsent-is-nowhere", text: "what the application never sent is in no book", holds: unsent_is_nowhere },
    Rule { name: "settled", text: "nothing is still open in the journal", holds: settled },
    Rule { name: "not-both", text: "nothing is cancelled at the centre and delivered", holds: not_both },
    Rule { name: "cancel-done", text: "what the journal says is cancelled is undone at the centre, or never got there", holds: cancel_done },
    Rule { name: "no-orphan-approval", text: "an approval that stands at the centre was delivered, or is escalated", holds: no_orphan },
    Rule { name: "journal-knows", text: "the centre has nothing that the journal does not know", holds: journal_knows },
    Rule { name: "centre-knows", text: "what the journal says was answered, the centre has", holds: centre_knows },
    Rule { name: "sent-once", text: "a key is at the centre once", holds: sent_once },
    Rule { name: "clean-at-centre", text: "the centre found no doubled sequence and no wrong fault message", holds: clean },
];

fn state(case: &Case<'_>) -> Option<Journal> {
    case.journal.map(|entry| entry.state)
}

/// The journal has this transaction in one of these states; true without a journal.
fn journal_in(case: &Case<'_>, states: &[Journal]) -> bool {
    !case.journal_given || state(case).is_some_and(|state| states.contains(&state))
}

/// Money moves: approved at the centre and not undone.
fn stands(case: &Case<'_>) -> bool {
    case.centre
        .is_some_and(|entry| entry.outcome == CentreOutcome::Approved && !entry.undone)
}

fn delivery_on_record(case: &Case<'_>) -> bool {
    match case.app {
        // An 8970 ends the request by itself: the journal may call it not processed rather than delivered.
        Some(Outcome::Abnormal(_)) => {
            journal_in(case, &[Journal::Delivered, Journal::NotProcessed])
        }
        Some(outcome) if outcome.delivered() => journal_in(case, &[Journal::Delivered]),
        _ => true,
    }
}

fn approval_stands(case: &Case<'_>) -> bool {
    case.app != Some(Outcome::Approved) || stands(case)
}

fn refusal_stands(case: &Case<'_>) -> bool {
    case.app != Some(Outcome::Refused)
        || case
            .centre
            .is_some_and(|entry| matches!(entry.outcome, CentreOutcome::Refused) && !entry.undone)
}

fn abnormal_agrees(case: &Case<'_>) -> bool {
    let Some(Outcome::Abnormal(code)) = case.app else {
        return true;
    };
    case.centre.is_none_or(|entry| match entry.outcome {
        CentreOutcome::Abnormal(other) => other == code,
        CentreOutcome::Open => true,
        CentreOutcome::Approved | CentreOutcome::Refused => entry.undone,
    })
}

fn given_up(case: &Case<'_>) -> bool {
    let given_up = matches!(case.app, Some(Outcome::TimeOut | Outcome::NotDelivered));
    // Cancelling is a fault of its own, see `settled`; it is no contradiction to a time-out.
    let settled = [
        Journal::Cancelled,
        Journal::Cancelling,
        Journal::NotProcessed,
        Journal::Escalated,
        Journal::NotSent,
        Journal::Unanswered,
    ];
    !given_up || journal_in(case, &settled)
}

fn refused_not_sent(case: &Case<'_>) -> bool {
    if !matches!(case.app, Some(Outcome::Ended(_))) {
        return true;
    }
    let unsent = case.centre.is_none() && matches!(state(case), None | Some(Journal::NotSent));
    let settled = [
        Journal::Cancelled,
        Journal::Cancelling,
        Journal::NotProcessed,
        Journal::Escalated,
        Journal::Unanswered,
    ];
    unsent || (journal_in(case, &settled) && (case.journal_given || !stands(case)))
}

fn unsent_is_nowhere(case: &Case<'_>) -> bool {
    case.app != Some(Outcome::Unsent) || (case.centre.is_none() && case.journal.is_none())
}

fn settled(case: &Case<'_>) -> bool {
    !matches!(
        state(case),
        Some(Journal::Open | Journal::Reported | Journal::Cancelling | Journal::Unknown)
    )
}

fn not_both(case: &Case<'_>) -> bool {
    let undone = case.centre.is_some_and(|entry| entry.undone);
    let held = case.app.is_some_and(Outcome::delivered) || state(case) == Some(Journal::Delivered);
    !(undone && held)
}

fn cancel_done(case: &Case<'_>) -> bool {
    // A refusal needs no undoing: nothing stands.
    state(case) != Some(Journal::Cancelled) || !stands(case)
}

fn no_orphan(case: &Case<'_>) -> bool {
    if !stands(case) || case.app == Some(Outcome::Approved) {
        return true;
    }
    match state(case) {
        // The application lost the link after its ACK, or is another one: it learns of the delivery by a query.
        Some(Journal::Delivered) => case.app.is_none_or(Outcome::unknown),
        Some(Journal::Escalated | Journal::Unanswered) => true,
        Some(_) => false,
        None => !case.journal_given && case.app.is_none_or(Outcome::unknown),
    }
}

fn journal_knows(case: &Case<'_>) -> bool {
    !case.journal_given || case.centre.is_none() || case.journal.is_some()
}

fn centre_knows(case: &Case<'_>) -> bool {
    let answered = case.journal.is_some_and(|entry| {
        entry.state == Journal::Delivered && !matches!(&entry.report_mti, b"8970" | b"0000")
    });
    !answered || case.centre.is_some()
}

fn sent_once(case: &Case<'_>) -> bool {
    case.centre_entries <= 1
}

fn clean(case: &Case<'_>) -> bool {
    case.centre.is_none_or(|entry| !entry.faulty)
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
