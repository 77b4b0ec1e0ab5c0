//! What came of the load, read from the tables.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use commerce::frex::error::FrexError;
use commerce::frex::report::RunReport;
use commerce::store::{Kind, Store};
use serde::Serialize;

/// What a step did over all runs.
#[derive(Clone, Debug, Default, Serialize)]
pub struct StepSum {
    /// Items that came to an end in it.
    pub done: u64,
    /// Items sent or asked about.
    pub sent: u64,
    /// Time it took, in ms.
    pub took_ms: i64,
}

/// The report.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// `sqlite` or `postgres`.
    pub store: &'static str,
    /// Orders placed.
    pub orders: i64,
    /// Orders that were open beside them.
    pub open: i64,
    /// Orders changed while they were on their way.
    pub changed: u64,
    /// Orders cancelled while they were on their way.
    pub cancels: u64,
    /// Orders registered, and how long after the beginning the last one was, in ms.
    pub registered: (i64, i64),
    /// Orders approved.
    pub approved: (i64, i64),
    /// Orders billed.
    pub billed: (i64, i64),
    /// Orders closed by cancel.
    pub closed: (i64, i64),
    /// Runs.
    pub runs: usize,
    /// Steps by their order of a run.
    pub steps: BTreeMap<String, StepSum>,
    /// How long it was watched.
    pub seconds: f64,
}

/// The orders of the load are those whose number begins so; those that stand open begin with H.
const OURS: &str = "FROM frex_order o LEFT JOIN frex_state_info s ON s.order_no = o.order_no WHERE o.order_no >= 'L' AND o.order_no < 'M'";

impl Report {
    /// Reads how far the orders are that were placed for a load that began at a time.
    ///
    /// # Errors
    /// The database's.
    pub async fn read(store: &Store, began_ms: i64) -> Result<Self, FrexError> {
        let sql = format!(
            "SELECT COUNT(*), COALESCE(SUM(CASE WHEN s.reg_at > 0 THEN 1 ELSE 0 END), 0), COALESCE(MAX(s.reg_at), 0), \
             COALESCE(SUM(CASE WHEN s.authorized_at > 0 THEN 1 ELSE 0 END), 0), COALESCE(MAX(s.authorized_at), 0), \
             COALESCE(SUM(CASE WHEN s.billed_at > 0 AND o.str_state = 'REG' THEN 1 ELSE 0 END), 0), COALESCE(MAX(s.billed_at), 0), \
             COALESCE(SUM(CASE WHEN s.closed_at > 0 OR (o.str_state = 'DEL' AND s.order_no IS NULL) THEN 1 ELSE 0 END), 0), \
             COALESCE(MAX(s.closed_at), 0) {OURS}"
        );
        let sql = match store.kind() {
            Kind::Sqlite => sql,
            // Sums and counts of PostgreSQL are wider than what they are made of.
            Kind::Postgres => sql.replace(", 0), COALESCE(MAX", ", 0)::BIGINT, COALESCE(MAX"),
        };
        type Row = (i64, i64, i64, i64, i64, i64, i64, i64, i64);
        let row: Row = sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .fetch_one(store.pool())
            .await?;
        let open: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM frex_state_info WHERE result_state <> 'CANCEL' AND order_no >= 'H' AND order_no < 'I'",
        )
        .fetch_one(store.pool())
        .await?;
        let after = |at: i64| if at == 0 { 0 } else { at - began_ms };
        let mut report = Self {
            store: match store.kind() {
                Kind::Sqlite => "sqlite",
                Kind::Postgres => "postgres",
            },
            orders: row.0,
            open,
            registered: (row.1, after(row.2)),
            approved: (row.3, after(row.4)),
            billed: (row.5, after(row.6)),
            closed: (row.7, after(row.8)),
            ..Self::default()
        };
        report.read_runs(store, began_ms).await?;
        Ok(report)
    }

    async fn read_runs(&mut self, store: &Store, began_ms: i64) -> Result<(), FrexError> {
        let sql = "SELECT report FROM frex_run WHERE state = 'DONE' AND started_at >= $1";
        let texts: Vec<String> = sqlx::query_scalar(sql)
            .bind(began_ms)
            .fetch_all(store.pool())
            .await?;
        self.runs = texts.len();
        for text in &texts {
            let run: RunReport = serde_json::from_str(text).unwrap_or_default();
            for (place, step) in run.steps.iter().enumerate() {
                let sum = self
                    .steps
                    .entry(format!("{} {}", place + 1, step.step))
                    .or_default();
                sum.done += step.done;
                sum.sent += step.sent;
                sum.took_ms += step.duration_ms;
            }
        }
        Ok(())
    }

    /// Whether every order came to its end.
    #[must_use]
    pub fn whole(&self) -> bool {
        self.orders > 0 && self.billed.0 + self.closed.0 == self.orders
    }

    /// As text.
    #[must_use]
    pub fn shown(&self) -> String {
        let mut text = format!(
            "store     {}, {} orders, {} open beside them, {} changed, {} cancelled on the way, {} runs\n",
            self.store, self.orders, self.open, self.changed, self.cancels, self.runs
        );
        let stages = [
            ("registered", self.registered),
            ("approved", self.approved),
            ("billed", self.billed),
            ("closed", self.closed),
        ];
        for (name, (count, after_ms)) in stages {
            // Writing to a text cannot fail.
            let _ = writeln!(
                text,
                "{name:<10}{count} orders, the last after {:.1} s",
                after_ms as f64 / 1e3
            );
        }
        for (name, sum) in &self.steps {
            let each = sum.took_ms as f64 * 1e3 / sum.sent.max(1) as f64;
            let _ = writeln!(
                text,
                "step      {name:<18} {:>7} ms, {:>7} sent, {:>7} done, {each:.0} us each",
                sum.took_ms, sum.sent, sum.done
            );
        }
        let last_ms = self.billed.1.max(self.closed.1).max(1);
        let ended = self.billed.0 + self.closed.0;
        let _ = writeln!(
            text,
            "through all stages: {:.0} orders a minute",
            ended as f64 * 60_000.0 / last_ms as f64
        );
        text
    }
}
