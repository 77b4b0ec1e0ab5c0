//! Finds each item's answer in an answer's two lists (`spec/frex.md` 6.1).
//!
//! Pure: bytes in, outcomes out, whatever the bytes are. An item has an answer only if it stands exactly once in exactly one
//! list and can be read; in every other case nobody knows what happened to it, and the outcome says so.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::codes::{self, Codes, Verdict};
use super::items::{AcceptNo, Acceptance, Item};
use super::{Answer, Call, CallError, Outcome, Refusal, Violation, ViolationKind, mask};

/// Most codes of one item that are read.
pub(super) const CODES_MAX: usize = 20;

/// An answer that is none: no JSON, or none of the two lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    /// Not JSON, or a list of it is no list.
    #[error("the answer is not the JSON of the contract")]
    Json,
    /// Neither results nor errors.
    #[error("the answer has neither results nor errors")]
    Empty,
}

/// The call whose answer is read, and what the codes in it mean.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    /// The call.
    pub call: Call,
    /// The codes.
    pub codes: &'a Codes,
}

/// Reads one entry of the results for the item it answers.
pub(super) type Read<I, T> = fn(&I, &str) -> Result<T, ViolationKind>;

#[derive(Deserialize)]
struct Lists<'a> {
    #[serde(borrow)]
    results: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    errors: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Keys {
    request_key: Option<String>,
    np_transaction_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ErrorItem {
    #[serde(default)]
    codes: Vec<String>,
    accept_no: Option<String>,
    accepted_key: Option<String>,
}

/// What was found for one item: entries among the results, entries among the errors.
#[derive(Clone, Default)]
struct Found<'a> {
    results: Vec<&'a str>,
    errors: Vec<&'a str>,
}

/// Gives every item of a call its outcome.
pub(super) fn answer<I: Item, T>(
    asked: Asked<'_>,
    body: &[u8],
    items: &[&I],
    read: Read<I, T>,
) -> Result<Answer<T>, Unreadable> {
    let lists: Lists<'_> = serde_json::from_slice(body).map_err(|_| Unreadable::Json)?;
    if lists.results.is_none() && lists.errors.is_none() {
        return Err(Unreadable::Empty);
    }
    let keys: HashMap<String, usize> = items.iter().map(|item| item.key()).zip(0..).collect();
    let place = |raw: &str| {
        let key = key_of(raw, I::KEY_FIELD);
        keys.get(&key).copied().ok_or(key)
    };
    let results = lists.results.unwrap_or_default();
    let errors = lists.errors.unwrap_or_default();
    Ok(sort(asked, [results, errors], items, &place, read))
}

/// Gives every item of a call its outcome from the entries of the two lists. `place` says which item an entry is about, or
/// under which name it goes if it is about none.
pub(super) fn sort<I: Item, T>(
    asked: Asked<'_>,
    [results, errors]: [Vec<&RawValue>; 2],
    items: &[&I],
    place: &dyn Fn(&str) -> Result<usize, String>,
    read: Read<I, T>,
) -> Answer<T> {
    let mut found = vec![Found::default(); items.len()];
    let mut violations = Vec::new();
    let entries = results.into_iter().map(|raw| (raw, false));
    for (raw, error) in entries.chain(errors.into_iter().map(|raw| (raw, true))) {
        match place(raw.get()) {
            Ok(at) if error => found[at].errors.push(raw.get()),
            Ok(at) => found[at].results.push(raw.get()),
            Err(name) => violations.push(Violation {
                call: asked.call,
                kind: ViolationKind::Foreign,
                key: mask::key(&name),
            }),
        }
    }
    let mut answer = Answer {
        outcomes: Vec::with_capacity(items.len()),
        violations,
    };
    for (&item, found) in items.iter().zip(&found) {
        let outcome = outcome(asked, item, found, read, &mut answer.violations);
        answer.outcomes.push(outcome);
    }
    answer
}

/// The outcome of one item from the entries found for it.
fn outcome<I: Item, T>(
    asked: Asked<'_>,
    item: &I,
    found: &Found<'_>,
    read: Read<I, T>,
    violations: &mut Vec<Violation>,
) -> Outcome<T> {
    let outcome = match (&found.results[..], &found.errors[..]) {
        (&[raw], []) => read(item, raw).map(|value| Outcome::Answered {
            value,
            response: mask::item(raw),
        }),
        ([], &[raw]) => refused(asked, raw),
        ([], []) => Err(ViolationKind::Missing),
        ([], _) | (_, []) => Err(ViolationKind::Twice),
        _ => Err(ViolationKind::InBoth),
    };
    outcome.unwrap_or_else(|kind| {
        violations.push(Violation {
            call: asked.call,
            kind,
            key: item.key(),
        });
        Outcome::Failed(unclear(kind))
    })
}

/// The error of an item that the answer leaves in the dark.
pub(super) fn unclear(kind: ViolationKind) -> CallError {
    CallError::Ambiguous {
        reason: format!("the item in the answer is {}", kind.as_str()),
    }
}

/// Takes back acceptances that share their number: at most one of them can be right, and nothing says which.
pub(super) fn reject_shared_numbers<I: Item>(
    call: Call,
    items: &[&I],
    answer: &mut Answer<Acceptance>,
) {
    let mut counts: HashMap<AcceptNo, u32> = HashMap::new();
    for outcome in &answer.outcomes {
        if let Outcome::Answered { value, .. } = outcome {
            *counts.entry(value.accept_no.clone()).or_default() += 1;
        }
    }
    for (item, outcome) in items.iter().zip(&mut answer.outcomes) {
        if matches!(outcome, Outcome::Answered { value, .. } if counts[&value.accept_no] > 1) {
            *outcome = Outcome::Failed(unclear(ViolationKind::AcceptNo));
            answer.violations.push(Violation {
                call,
                kind: ViolationKind::AcceptNo,
                key: item.key(),
            });
        }
    }
}

/// The codes of a batch that was refused as a whole; none if the body names none.
pub(super) fn batch_codes(body: &[u8]) -> Option<Vec<String>> {
    let lists: Lists<'_> = serde_json::from_slice(body).ok()?;
    let mut codes = Vec::new();
    for raw in lists.errors? {
        let item: ErrorItem = serde_json::from_str(raw.get()).ok()?;
        codes.extend(clean_codes(item.codes)?);
    }
    codes.truncate(CODES_MAX);
    (!codes.is_empty()).then_some(codes)
}

/// Codes as they may be kept; none if one does not look like a code.
pub(super) fn clean_codes(codes: Vec<String>) -> Option<Vec<String>> {
    (codes.len() <= CODES_MAX && codes.iter().all(|code| codes::is_code(code))).then_some(codes)
}

fn key_of(raw: &str, field: &str) -> String {
    let keys: Option<Keys> = serde_json::from_str(raw).ok();
    let key = keys.and_then(|keys| match field {
        "npTransactionId" => keys.np_transaction_id,
        _ => keys.request_key,
    });
    key.unwrap_or_default()
}

fn refused<T>(asked: Asked<'_>, raw: &str) -> Result<Outcome<T>, ViolationKind> {
    let item: ErrorItem = serde_json::from_str(raw).map_err(|_| ViolationKind::Malformed)?;
    let codes = clean_codes(item.codes).ok_or(ViolationKind::Malformed)?;
    let response = mask::item(raw);
    Ok(match asked.codes.judge(asked.call, &codes) {
        Verdict::AlreadyDone => Outcome::AlreadyDone {
            accept_no: item.accept_no.as_deref().and_then(AcceptNo::parse),
            accept_key: item.accepted_key.and_then(|key| key.parse().ok()),
            codes,
            response,
        },
        Verdict::Refused(fault) => Outcome::Refused(Refusal {
            codes,
            fault,
            response,
        }),
        Verdict::System => Outcome::Failed(CallError::Ambiguous {
            reason: format!("the agency failed: {}", codes.join(", ")),
        }),
    })
}
