//! What happened to one order, in the order in which it happened: changes of state from the audit, messages from the inbox, issues.

use maud::{Markup, html};
use sqlx::Row;

use super::records::words;
use crate::pages::look::Tone;
use crate::pages::order::tone;
use crate::pages::text::{Zone, when_ms};
use crate::store::{Store, StoreError};

/// Moments shown at most; an order has a few dozen.
const MOMENTS_MAX: i64 = 500;

/// One thing that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Moment {
    /// Unix milliseconds.
    pub at_ms: i64,
    /// How it is coloured.
    pub tone: Tone,
    /// What happened, in a few words.
    pub what: String,
    /// Who or what caused it; empty for nobody in particular.
    pub who: String,
    /// More about it; empty if there is no more.
    pub detail: String,
}

/// The moments, oldest first, with their times in the zone of the books.
#[must_use]
pub fn timeline(moments: &[Moment], zone: Zone) -> Markup {
    html! {
        ol.timeline {
            @for moment in moments {
                li.(moment.tone.class()) {
                    p {
                        strong { (moment.what) }
                        @if !moment.who.is_empty() { " " span.badge.calm { (moment.who) } }
                    }
                    p.dim.small { (when_ms(moment.at_ms, zone)) }
                    @if !moment.detail.is_empty() { p.small { (moment.detail) } }
                }
            }
        }
    }
}

/// Everything that is known to have happened to an order, oldest first.
///
/// # Errors
/// The store fails.
pub async fn read(store: &Store, order_id: &str) -> Result<Vec<Moment>, StoreError> {
    let mut moments = changes(store, order_id).await?;
    moments.extend(messages(store, order_id).await?);
    moments.extend(issues(store, order_id).await?);
    // Stable: what happened in one millisecond stays in the order in which it was written.
    moments.sort_by_key(|moment| moment.at_ms);
    Ok(moments)
}

async fn changes(store: &Store, order_id: &str) -> Result<Vec<Moment>, StoreError> {
    let rows = sqlx::query(
        "SELECT u.at, u.who, k.label, u.what, u.what_id, u.state_before, u.state_after, u.cause FROM audit u \
         LEFT JOIN api_keys k ON k.id = u.who WHERE u.order_id = $1 ORDER BY u.at, u.id LIMIT $2",
    )
    .bind(order_id)
    .bind(MOMENTS_MAX)
    .fetch_all(store.pool())
    .await?;
    let moments = rows.iter().map(|row| {
        let (thing, id) = (words(row, "what")?, words(row, "what_id")?);
        let (before, after) = (words(row, "state_before")?, words(row, "state_after")?);
        let cause = reason(&words(row, "cause")?);
        let which = if thing == "order" { String::new() } else { id };
        Ok(Moment {
            at_ms: row.try_get("at")?,
            tone: tone(
                after
                    .split_whitespace()
                    .rfind(|word| says(word))
                    .unwrap_or_default(),
            ),
            what: change(&thing, &before, &after),
            who: actor(&words(row, "who")?, &words(row, "label")?),
            detail: [which, cause].join(" ").trim().to_owned(),
        })
    });
    moments.collect()
}

/// Who did something, for people: what a key is called, and one word for our own processes.
fn actor(who: &str, label: &str) -> String {
    match (who, label) {
        (who, _) if who.starts_with("proc_") => "system".to_owned(),
        (who, "") => who.to_owned(),
        (_, label) => label.to_owned(),
    }
}

/// Why something happened: words of the flow as words, the id of a request or a message as it stands in the log.
fn reason(cause: &str) -> String {
    let is_request = cause.len() == 32 && cause.bytes().all(|b| b.is_ascii_hexdigit());
    let is_words = cause
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b == b'_' || b == b' ');
    match (is_request, is_words) {
        (true, _) => format!("request {cause}"),
        (_, true) => cause.replace('_', " "),
        _ => cause.to_owned(),
    }
}

/// Whether a part of a state says something to people: `none` does not, and amounts stand with the refund.
fn says(word: &str) -> bool {
    word != "none" && !word.bytes().all(|b| b.is_ascii_digit())
}

/// A state as the audit has it, `user_payment none`, in words. What stands behind a colon is an operator's note.
fn state(text: &str) -> String {
    if let Some((decided, note)) = text.split_once(": ") {
        return format!("{} ({note})", state(decided));
    }
    let parts: Vec<&str> = text.split_whitespace().filter(|word| says(word)).collect();
    parts.join(", ").replace('_', " ")
}

/// A change of state in words: `Order: pending → paid`.
fn change(thing: &str, before: &str, after: &str) -> String {
    let mut thing = thing.replace('_', " ");
    if let Some(first) = thing.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    let (before, after) = (state(before), state(after));
    match (before.as_str(), after.as_str()) {
        ("", after) => format!("{thing}: {after}"),
        (before, after) if before == after => format!("{thing}: still {after}"),
        (before, after) => format!("{thing}: {before} → {after}"),
    }
}

async fn messages(store: &Store, order_id: &str) -> Result<Vec<Moment>, StoreError> {
    let rows = sqlx::query(
        "SELECT i.source, i.status_code, i.atom_txn_id, i.received_at, i.result FROM callback_inbox i \
         JOIN payment_attempts a ON a.merch_txn_id = i.merch_txn_id \
         WHERE a.order_id = $1 ORDER BY i.received_at, i.id LIMIT $2",
    )
    .bind(order_id)
    .bind(MOMENTS_MAX)
    .fetch_all(store.pool())
    .await?;
    let moments = rows.iter().map(|row| {
        let source = words(row, "source")?;
        let what = if source == "return" {
            "Customer came back with a signed message"
        } else {
            "Signed message from Atom"
        };
        let (code, txn) = (words(row, "status_code")?, words(row, "atom_txn_id")?);
        let result = words(row, "result")?.replace('_', " ");
        let parts = [code, txn, result];
        let known: Vec<&str> = parts
            .iter()
            .map(String::as_str)
            .filter(|p| !p.is_empty())
            .collect();
        Ok(Moment {
            at_ms: row.try_get("received_at")?,
            tone: Tone::Calm,
            what: what.to_owned(),
            who: source,
            detail: known.join(" · "),
        })
    });
    moments.collect()
}

async fn issues(store: &Store, order_id: &str) -> Result<Vec<Moment>, StoreError> {
    let rows = sqlx::query(
        "SELECT kind, opened_at, closed_at, resolution FROM issues WHERE order_id = $1 ORDER BY opened_at, id LIMIT $2",
    )
    .bind(order_id)
    .bind(MOMENTS_MAX)
    .fetch_all(store.pool())
    .await?;
    let mut moments = Vec::with_capacity(2 * rows.len());
    for row in &rows {
        let kind = words(row, "kind")?.replace('_', " ");
        let moment = |at_ms, tone, what: &str, detail| Moment {
            at_ms,
            tone,
            what: format!("{what}: {kind}"),
            who: String::new(),
            detail,
        };
        moments.push(moment(
            row.try_get("opened_at")?,
            Tone::Bad,
            "Issue opened",
            String::new(),
        ));
        if let Some(at_ms) = row.try_get::<Option<i64>, _>("closed_at")? {
            let resolution = words(row, "resolution")?;
            moments.push(moment(at_ms, Tone::Good, "Issue closed", resolution));
        }
    }
    Ok(moments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_reads_as_a_line() {
        // Shows: the words for a first state, a change, and an entry that changed nothing.
        assert_eq!(change("order", "", "pending"), "Order: pending");
        assert_eq!(
            change("issue", "open", "refund_surplus: asked Atom by telephone"),
            "Issue: open → refund surplus (asked Atom by telephone)"
        );
        assert_eq!(
            change("attempt", "user_payment", "completed"),
            "Attempt: user payment → completed"
        );
        assert_eq!(
            change("refund", "unknown 25000", "unknown 25000"),
            "Refund: still unknown"
        );
        assert_eq!(
            change("attempt", "user_payment none", "completed success"),
            "Attempt: user payment → completed, success"
        );
    }

    #[test]
    fn who_and_why_are_said_for_people() {
        // Shows: keys by their name, our processes by one word; ids stay as the log has them, words lose their underscores.
        assert_eq!(actor("key_1", "Ravi"), "Ravi");
        assert_eq!(actor("proc_01M8", ""), "system");
        assert_eq!(actor("atom", ""), "atom");
        let id = "0123456789abcdef0123456789abcdef";
        assert_eq!(reason(id), format!("request {id}"));
        assert_eq!(reason("late_capture"), "late capture");
        assert_eq!(reason("callback cb_01M8"), "callback cb_01M8");
    }
}
