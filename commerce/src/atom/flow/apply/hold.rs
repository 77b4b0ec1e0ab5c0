//! News that nobody may act on: it disagrees with the attempt, or with itself. The attempt is held, and a person decides.

use serde_json::json;

use super::super::issues::{Kind, Raised};
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
        let about = format!("{}; {}", change.evidence(), found.join("; "));
        let detail = json!({"disagrees": found});
        self.hold(tx, change, Kind::AmountMismatch, &about, detail)
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
        let about = change.evidence();
        let detail = json!({"disagrees": [change.code()]});
        self.hold(tx, change, kind, &about, detail).await?;
        Ok(Applied::Held)
    }

    async fn hold(
        &self,
        tx: &mut Tx,
        change: &mut Change<'_>,
        kind: Kind,
        about: &str,
        mut detail: serde_json::Value,
    ) -> Result<(), FlowError> {
        detail["source"] = json!(change.news.source.as_str());
        detail["status_code"] = json!(change.news.code);
        detail["atom_txn_id"] = json!(change.news.atom_txn_id);
        detail["total"] = json!(change.news.amounts.total);
        detail["surcharge"] = json!(change.news.amounts.surcharge);
        let raised = self.open_issue(tx, change, kind, about, detail).await?;
        // A payment that is known to be good is not taken back by a message that disagrees with it. And what was decided
        // holds nothing any more: there is never a hold without an open issue that ends it.
        if change.before.outcome.is_captured() || raised == Raised::Settled {
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
