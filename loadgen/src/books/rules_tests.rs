use codec::link::message::TransactionState;

use super::*;

fn centre(outcome: CentreOutcome, undone: bool) -> CentreEntry {
    CentreEntry {
        key: [b'1'; 24],
        mti: *b"3110",
        sequence: 1,
        outcome,
        undone,
        faulty: false,
    }
}

fn journal(state: TransactionState) -> JournalEntry {
    JournalEntry {
        key: [b'1'; 24],
        state,
        request_mti: *b"3110",
        report_mti: *b"3120",
        sequence: 1,
    }
}

/// What a case consists of: the entries of application and centre, and the state in the journal.
type Triple = (Option<Outcome>, Option<CentreEntry>, Option<Journal>);

/// The names of the rules that a triple of books breaks.
fn broken(
    app: Option<Outcome>,
    centre: Option<CentreEntry>,
    journal: Option<JournalEntry>,
) -> Vec<&'static str> {
    let case = Case {
        app,
        centre: centre.as_ref(),
        centre_entries: usize::from(centre.is_some()),
        journal: journal.as_ref(),
        journal_given: true,
    };
    RULES
        .iter()
        .filter(|rule| !rule.holds(&case))
        .map(|rule| rule.name)
        .collect()
}

const APPROVED: CentreOutcome = CentreOutcome::Approved;
const REFUSED: CentreOutcome = CentreOutcome::Refused;
const OPEN: CentreOutcome = CentreOutcome::Open;
const C12: CentreOutcome = CentreOutcome::Abnormal(*b"C12");

/// Every way in which a transaction may rightly end breaks no rule.
#[test]
fn right_ends_agree() {
    use Journal::*;
    use Outcome as App;
    let rows: [Triple; 24] = [
        (
            Some(App::Approved),
            Some(centre(APPROVED, false)),
            Some(Delivered),
        ),
        (
            Some(App::Refused),
            Some(centre(REFUSED, false)),
            Some(Delivered),
        ),
        (
            Some(App::Abnormal(*b"C12")),
            Some(centre(C12, false)),
            Some(Delivered),
        ),
        (Some(App::Abnormal(*b"C12")), None, Some(NotProcessed)),
        (
            Some(App::TimeOut),
            Some(centre(APPROVED, true)),
            Some(Cancelled),
        ),
        (
            Some(App::TimeOut),
            Some(centre(REFUSED, true)),
            Some(Cancelled),
        ),
        (
            Some(App::TimeOut),
            Some(centre(OPEN, true)),
            Some(Cancelled),
        ),
        (Some(App::TimeOut), None, Some(NotProcessed)),
        (
            Some(App::TimeOut),
            Some(centre(APPROVED, false)),
            Some(Escalated),
        ),
        (
            Some(App::TimeOut),
            Some(centre(OPEN, false)),
            Some(Escalated),
        ),
        (
            Some(App::TimeOut),
            Some(centre(APPROVED, false)),
            Some(Unanswered),
        ),
        (
            Some(App::NotDelivered),
            Some(centre(APPROVED, true)),
            Some(Cancelled),
        ),
        (
            Some(App::NotDelivered),
            Some(centre(REFUSED, true)),
            Some(Cancelled),
        ),
        (
            Some(App::Lost),
            Some(centre(APPROVED, false)),
            Some(Delivered),
        ),
        (
            Some(App::Lost),
            Some(centre(APPROVED, true)),
            Some(Cancelled),
        ),
        (Some(App::Lost), None, Some(NotSent)),
        (Some(App::Lost), None, None),
        (
            Some(App::Unanswered),
            Some(centre(APPROVED, true)),
            Some(Cancelled),
        ),
        (Some(App::Ended(25)), None, None),
        (Some(App::Ended(43)), None, Some(NotSent)),
        (
            Some(App::Ended(17)),
            Some(centre(APPROVED, true)),
            Some(Cancelled),
        ),
        (Some(App::Unsent), None, None),
        (None, Some(centre(APPROVED, false)), Some(Delivered)),
        (None, None, Some(NotSent)),
    ];
    for (app, centre, state) in rows {
        let found = broken(app, centre, state.map(journal));
        assert_eq!(found, Vec::<&str>::new(), "{app:?} {centre:?} {state:?}");
    }
}

/// Each rule is broken by the case that it is there for.
#[test]
fn each_rule_finds_its_fault() {
    use Journal::*;
    use Outcome as App;
    let yes = Some(centre(APPROVED, false));
    let cancelled = Some(centre(APPROVED, true));
    let rows: [(&str, Triple); 22] = [
        (
            "delivery-on-record",
            (Some(App::Approved), yes, Some(Reported)),
        ),
        ("delivery-on-record", (Some(App::Approved), yes, None)),
        (
            "delivery-on-record",
            (
                Some(App::Refused),
                Some(centre(REFUSED, false)),
                Some(Cancelled),
            ),
        ),
        (
            "delivery-on-record",
            (
                Some(App::Abnormal(*b"C12")),
                Some(centre(C12, false)),
                Some(Open),
            ),
        ),
        (
            "approval-stands",
            (Some(App::Approved), cancelled, Some(Delivered)),
        ),
        (
            "approval-stands",
            (Some(App::Approved), None, Some(Delivered)),
        ),
        (
            "approval-stands",
            (
                Some(App::Approved),
                Some(centre(REFUSED, false)),
                Some(Delivered),
            ),
        ),
        ("refusal-stands", (Some(App::Refused), yes, Some(Delivered))),
        (
            "abnormal-agrees",
            (Some(App::Abnormal(*b"C12")), yes, Some(Delivered)),
        ),
        (
            "abnormal-agrees",
            (
                Some(App::Abnormal(*b"C33")),
                Some(centre(C12, false)),
                Some(Delivered),
            ),
        ),
        (
            "given-up-not-delivered",
            (Some(App::TimeOut), yes, Some(Delivered)),
        ),
        (
            "given-up-not-delivered",
            (Some(App::NotDelivered), yes, None),
        ),
        (
            "refused-not-sent",
            (Some(App::Ended(25)), yes, Some(Delivered)),
        ),
        ("refused-not-sent", (Some(App::Ended(19)), yes, None)),
        (
            "unsent-is-nowhere",
            (Some(App::Unsent), None, Some(NotSent)),
        ),
        ("settled", (Some(App::TimeOut), yes, Some(Cancelling))),
        ("not-both", (Some(App::Lost), cancelled, Some(Delivered))),
        ("cancel-done", (Some(App::TimeOut), yes, Some(Cancelled))),
        (
            "no-orphan-approval",
            (Some(App::Lost), yes, Some(NotProcessed)),
        ),
        (
            "no-orphan-approval",
            (Some(App::TimeOut), yes, Some(NotSent)),
        ),
        ("journal-knows", (None, cancelled, None)),
        ("centre-knows", (Some(App::Lost), None, Some(Delivered))),
    ];
    for (rule, (app, centre, state)) in rows {
        let found = broken(app, centre, state.map(journal));
        assert!(
            found.contains(&rule),
            "{rule}: {app:?} {centre:?} {state:?} gave {found:?}"
        );
    }
    for rule in &RULES[..13] {
        assert!(
            rows.iter().any(|row| row.0 == rule.name),
            "{} has no case",
            rule.name
        );
    }
}

/// A key that is twice at the centre, and an entry that the centre found faulty, are found whatever else is right.
#[test]
fn what_the_centre_found_is_told() {
    let entry = CentreEntry {
        faulty: true,
        ..centre(APPROVED, false)
    };
    let journal = journal(Journal::Delivered);
    let case = Case {
        app: Some(Outcome::Approved),
        centre: Some(&entry),
        centre_entries: 2,
        journal: Some(&journal),
        journal_given: true,
    };
    let found: Vec<_> = RULES
        .iter()
        .filter(|rule| !rule.holds(&case))
        .map(|rule| rule.name)
        .collect();
    assert_eq!(found, ["sent-once", "clean-at-centre"]);
}

/// Without a journal the two other books are still held against each other.
#[test]
fn two_books_are_enough_for_most() {
    let found = |app, entry: Option<CentreEntry>| {
        let case = Case {
            app: Some(app),
            centre: entry.as_ref(),
            centre_entries: usize::from(entry.is_some()),
            journal: None,
            journal_given: false,
        };
        RULES
            .iter()
            .filter(|rule| !rule.holds(&case))
            .map(|rule| rule.name)
            .collect::<Vec<_>>()
    };
    assert!(found(Outcome::Approved, Some(centre(APPROVED, false))).is_empty());
    assert!(found(Outcome::TimeOut, Some(centre(APPROVED, true))).is_empty());
    assert!(found(Outcome::Lost, Some(centre(APPROVED, false))).is_empty());
    assert!(found(Outcome::Ended(25), None).is_empty());
    assert_eq!(
        found(Outcome::TimeOut, Some(centre(APPROVED, false))),
        ["no-orphan-approval"]
    );
    assert!(found(Outcome::Approved, Some(centre(APPROVED, true))).contains(&"not-both"));
    assert!(found(Outcome::Ended(19), Some(centre(APPROVED, false))).contains(&"refused-not-sent"));
}
