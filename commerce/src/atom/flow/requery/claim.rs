//! Which attempts are asked for next, and the claim on them.
//!
//! An attempt whose result nobody knows goes before one that is known and only to be confirmed: there a customer may have
//! paid and waits. One query in [`SETTLED_EACH`] goes to the others first, so that they are never put off for good.

use sqlx::Row as _;

use super::super::{Flow, FlowError};
use crate::store::{StoreError, Tx};

/// Of so many queries one goes to settled attempts first.
const SETTLED_EACH: u64 = 4;
/// How long one query may take with its repeats, as a claim reckons it.
const QUERY_MS_MAX: i64 = 60_000;
/// Outcomes that leave open what became of the money.
const OPEN: &[&str] = &["none", "pending"];
/// Outcomes that are looked at once more.
const SETTLED: &[&str] = &["success", "failed", "reversed"];

/// An attempt whose query is due, and since when. In the order in which they are taken.
type Due = (i64, String);

impl Flow {
    /// Claims up to `limit` attempts whose query is due: of those with an unknown result and of the settled ones the longest
    /// due first.
    pub(super) async fn claim(&self, limit: i64) -> Result<Vec<String>, FlowError> {
        let now_ms = self.clock.now_ms();
        let due = sqlx::query(
            "SELECT 1 AS due FROM payment_attempts WHERE next_requery_at <= $1 LIMIT 1",
        );
        // Most runs find nothing; they need no turn to write.
        let due = due
            .bind(now_ms)
            .fetch_optional(self.store.pool())
            .await
            .map_err(StoreError::from)?;
        if due.is_none() {
            return Ok(Vec::new());
        }
        let mut tx = self.store.begin().await?;
        let open = self.due(&mut tx, OPEN, now_ms, limit).await?;
        let settled = self.due(&mut tx, SETTLED, now_ms, limit).await?;
        let chosen = self.pace(|pace, _| choose(open, settled, limit, &mut pace.turn));
        if !chosen.is_empty() {
            let places: Vec<String> = (3..3 + chosen.len()).map(|at| format!("${at}")).collect();
            let update = format!(
                "UPDATE payment_attempts SET lease_owner = $1, lease_until = $2 WHERE id IN ({})",
                places.join(", ")
            );
            let mut update = sqlx::query(sqlx::AssertSqlSafe(update))
                .bind(&*self.process)
                .bind(now_ms + self.lease_ms(limit));
            for id in &chosen {
                update = update.bind(id);
            }
            update.execute(tx.conn()).await.map_err(StoreError::from)?;
        }
        self.points.reach("requery.claimed").await;
        tx.commit().await?;
        self.points.reach("requery.claim_committed").await;
        Ok(chosen)
    }

    /// Up to `limit` attempts of these outcomes whose query is due and that nobody has claimed; they are locked.
    async fn due(
        &self,
        tx: &mut Tx,
        outcomes: &[&str],
        now_ms: i64,
        limit: i64,
    ) -> Result<Vec<Due>, FlowError> {
        let mut found = Vec::new();
        // One outcome at a time, as the index has them: a long backlog is neither read nor sorted.
        for outcome in outcomes {
            let select = format!(
                "SELECT id, next_requery_at FROM payment_attempts WHERE outcome = $1 \
                 AND next_requery_at <= $2 AND (lease_until IS NULL OR lease_until <= $2) \
                 ORDER BY next_requery_at LIMIT $3{}",
                tx.for_update_free()
            );
            let rows = sqlx::query(sqlx::AssertSqlSafe(select))
                .bind(*outcome)
                .bind(now_ms)
                .bind(limit)
                .fetch_all(tx.conn())
                .await
                .map_err(StoreError::from)?;
            for row in rows {
                let at = row.try_get("next_requery_at").map_err(StoreError::from)?;
                let id = row.try_get("id").map_err(StoreError::from)?;
                found.push((at, id));
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// How long a claim of so many attempts keeps others away: as long as a batch of the slowest answers takes. What a
    /// process claimed that died is asked for by another one after that.
    fn lease_ms(&self, claimed: i64) -> i64 {
        let at_once = i64::try_from(self.settings.queries_at_once_max.max(1)).unwrap_or(i64::MAX);
        let rounds = claimed / at_once + 1;
        rounds * QUERY_MS_MAX
    }
}

/// Takes from both lists up to `limit`; `turn` counts the queries of this process.
fn choose(open: Vec<Due>, settled: Vec<Due>, limit: i64, turn: &mut u64) -> Vec<String> {
    let (mut open, mut settled) = (open.into_iter(), settled.into_iter());
    let mut chosen = Vec::new();
    for _ in 0..limit {
        let next = if turn.is_multiple_of(SETTLED_EACH) {
            settled.next().or_else(|| open.next())
        } else {
            open.next().or_else(|| settled.next())
        };
        let Some((_, id)) = next else { break };
        *turn += 1;
        chosen.push(id);
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(name: &str, many: i64) -> Vec<Due> {
        (0..many).map(|n| (n, format!("{name}{n}"))).collect()
    }

    /// Neither list waits for the other to become empty, and a turn is not lost when claims are of one.
    #[test]
    fn both_get_their_share() {
        let mut turn = 0;
        let chosen = choose(list("o", 9), list("s", 9), 8, &mut turn);
        assert_eq!(chosen, ["s0", "o0", "o1", "o2", "s1", "o3", "o4", "o5"]);
        let mut turn = 0;
        let singles: Vec<String> = (0..8)
            .flat_map(|_| choose(list("o", 1), list("s", 1), 1, &mut turn))
            .collect();
        assert_eq!(singles.iter().filter(|id| *id == "s0").count(), 2);
    }

    /// What one list does not use is the other's.
    #[test]
    fn nothing_stays_unused() {
        let mut turn = 0;
        assert_eq!(choose(list("o", 3), Vec::new(), 8, &mut turn).len(), 3);
        assert_eq!(choose(Vec::new(), list("s", 9), 8, &mut turn).len(), 8);
        assert_eq!(choose(list("o", 9), list("s", 1), 8, &mut turn).len(), 8);
    }
}
