//! What happened to one order, in the order in which it happened: changes of state from the audit, messages from the inbox, issues.

use maud::{Markup, html};
use sqlx::Row;

use super::records::words;
use crate::pages::look::{Tone, badge};
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
                        @if !moment.who.is_empty() { " " (badge(&moment.who, Tone::Calm)) }
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
        "SELECT at, who, what, what_id, state_before, state_after, cause FROM audit \
         WHERE order_id = $1 ORDER BY at, id LIMIT $2",
    )
    .bind(order_id)
    .bind(MOMENTS_MAX)
    .fetch_all(store.pool())
    .await?;
    let moments = rows.iter().map(|row| {
        let (thing, id) = (words(row, "what")?, words(row, "what_id")?);
        let (before, after) = (words(row, "state_before")?, words(row, "state_after")?);
        let cause = words(row, "cause")?;
        let which = if thing == "order" { String::new() } else { id };
        Ok(Moment {
            at_ms: row.try_get("at")?,
            tone: tone(after.split('/').next_back().unwrap_or_default()),
            what: change(&thing, &before, &after),
            who: words(row, "who")?,
            detail: [which, cause.replace('_', " ")].join(" ").trim().to_owned(),
        })
    });
    moments.collect()
}

/// A change of state in words: `Order: pending → paid`.
fn change(thing: &str, before: &str, after: &str) -> String {
    let mut thing = thing.replace('_', " ");
    if let Some(first) = thing.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    let (before, after) = (before.replace('_', " "), after.replace('_', " "));
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
            change("attempt", "user_payment", "completed"),
            "Attempt: user payment → completed"
        );
        assert_eq!(
            change("refund", "unknown", "unknown"),
            "Refund: still unknown"
        );
    }
}
