//! The list of runs.

use super::error::FrexError;
use super::report::RunReport;
use crate::store::Store;

/// Notes that a run began. Earlier runs that never said that they ended did not.
///
/// # Errors
/// The database's.
pub async fn began(store: &Store, report: &RunReport, owner: &str) -> Result<(), FrexError> {
    sqlx::query("UPDATE frex_run SET state = 'ABANDONED' WHERE state = 'RUNNING' AND fence < $1")
        .bind(report.fence)
        .execute(store.pool())
        .await?;
    sqlx::query("INSERT INTO frex_run (id, owner, fence, cause, state, started_at, ended_at, report) VALUES ($1, $2, $3, $4, 'RUNNING', $5, 0, '')")
        .bind(report.run_id.as_str())
        .bind(owner)
        .bind(report.fence)
        .bind(report.cause.as_str())
        .bind(report.started_at)
        .execute(store.pool())
        .await?;
    Ok(())
}

/// How a run ended that reached its end. Only the first is a sign of health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All its steps did their work.
    Done,
    /// Those of its steps that an operator named did.
    Part,
    /// The agency lets nobody in.
    Stopped,
    /// A step failed as a whole.
    Failed,
}

impl End {
    const fn word(self) -> &'static str {
        match self {
            Self::Done => "DONE",
            Self::Part => "PART",
            Self::Stopped => "STOPPED",
            Self::Failed => "FAILED",
        }
    }
}

/// Notes that a run ended, how, and what it did.
///
/// # Errors
/// The database's.
pub async fn ended(store: &Store, report: &RunReport, end: End) -> Result<(), FrexError> {
    let text = serde_json::to_string(report).expect("a report is representable in JSON");
    sqlx::query("UPDATE frex_run SET state = $1, ended_at = $2, report = $3 WHERE id = $4")
        .bind(end.word())
        .bind(report.ended_at)
        .bind(text)
        .bind(report.run_id.as_str())
        .execute(store.pool())
        .await?;
    Ok(())
}
