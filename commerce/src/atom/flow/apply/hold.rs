//! News that nobody may act on: it disagrees with the attempt, or with itself. The attempt is held, and a person decides.

use serde_json::json;

use super::super::issues::Kind;
use super::super::state::Phase;
use super::super::{Flow, FlowError};
use super::{Applied, Change};
use crate::atom::wire::codes::Alert;
use crate::store::Tx;

impl Flow {
    /// Check 9 of section 14.
    pub(super) async fn hold_mismatch(
        &self,
        tx: &mut Tx,
        change: &mut Change<'_>,
    ) -> Result<Applied, FlowError> {
        let found = change
            .news
            .disagreements()
            .iter()
            .map(|m| m.to_string())
            .collect::<Vec<_>>();
        self.hold(
            tx,
            change,
            Kind::AmountMismatch,
            json!({"disagrees": found}),
        )
        .await?;
        log::warn!(
            "Amount mismatch orderId={} attempt={} source={} {}",
            change.order.id,
            change.before.id,
            change.news.source,
            found.join("; ")
        );
        Ok(Applied::Mismatch)
    }

    /// The bank contradicts Atom, or the message its code.
    pub(super) async fn hold_contradiction(
        &self,
        tx: &mut Tx,
        change: &mut Change<'_>,
    ) -> Result<Applied, FlowError> {
        let kind = match change.news.reading.alert {
            Some(Alert::Amount) => Kind::BankAmount,
            _ => Kind::Contradiction,
        };
        self.hold(tx, change, kind, json!({})).await?;
        Ok(Applied::Held)
    }

    async fn hold(
        &self,
        tx: &mut Tx,
        change: &mut Change<'_>,
        kind: Kind,
        mut detail: serde_json::Value,
    ) -> Result<(), FlowError> {
        detail["source"] = json!(change.news.source.as_str());
        detail["status_code"] = json!(change.news.code);
        detail["atom_txn_id"] = json!(change.news.atom_txn_id);
        self.open_issue(tx, change, kind, "", detail).await?;
        // A payment that is known to be good is not taken back by a message that disagrees with it.
        if change.before.outcome.is_captured() {
            return Ok(());
        }
        change.after.hold.get_or_insert(kind.as_str().to_owned());
        // What was said is kept for the one who decides.
        change.take_over();
        if change.after.phase != Phase::Completed {
            change.after.phase = Phase::SignatureVerified;
        }
        Ok(())
    }
}
