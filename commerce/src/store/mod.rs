//! The database: SQLite in one file, or PostgreSQL, behind the same statements.
//!
//! The dialect is what both know: TEXT and BIGINT columns, `$1` placeholders, partial unique indexes, `RETURNING`. Every
//! change of state is one [`Tx`], in which each statement that changes a state names the state it expects. A `Tx` is
//! never held across a call to the outside. Who changes something of an order takes the order's row first, so that the
//! changes of one order come one after the other on both databases.

mod error;
mod tx;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::any::AnyPoolOptions;
use sqlx::migrate::Migrator;
use sqlx::{AnyPool, Executor};
use tokio::sync::Mutex;

pub use error::StoreError;
pub use tx::{Tx, one};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// Statements that set up each SQLite connection. `FULL` makes a commit durable before it returns.
const SQLITE_SETUP: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
     PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY;";

/// How often a migration is tried again when another process migrates the same new file.
const MIGRATE_TRIES_MAX: u32 = 10;

/// Which database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One file.
    Sqlite,
    /// A server.
    Postgres,
}

/// How the database is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreSettings {
    /// Connections at most.
    pub connections_max: u32,
    /// How long a caller waits for a connection, in ms.
    pub acquire_ms_max: u64,
    /// How long a statement waits for a lock that another process holds, in ms.
    pub busy_ms_max: u64,
}

impl Default for StoreSettings {
    fn default() -> Self {
        StoreSettings {
            connections_max: 16,
            acquire_ms_max: 10_000,
            busy_ms_max: 10_000,
        }
    }
}

/// An open database. A clone is a handle on the same one.
#[derive(Clone)]
pub struct Store {
    pool: AnyPool,
    kind: Kind,
    /// SQLite has one writer. Its own way to wait is to sleep and look again; this queue is fair and has no gaps.
    writer: Option<Arc<Mutex<()>>>,
}

impl Store {
    /// Opens `sqlite:PATH` (made if it is missing) or `postgres://...`, and brings its tables up to date.
    ///
    /// # Errors
    /// The address is not understood, the database is not reached, or a migration fails.
    pub async fn open(url: &str, settings: &StoreSettings) -> Result<Store, StoreError> {
        sqlx::any::install_default_drivers();
        let (kind, url) = address(url)?;
        let setup = match kind {
            Kind::Sqlite => format!(
                "PRAGMA busy_timeout = {}; {SQLITE_SETUP}",
                settings.busy_ms_max
            ),
            Kind::Postgres => format!("SET lock_timeout = {}", settings.busy_ms_max),
        };
        let pool = AnyPoolOptions::new()
            .max_connections(settings.connections_max)
            .acquire_timeout(Duration::from_millis(settings.acquire_ms_max))
            .after_connect(move |connection, _| {
                let setup = setup.clone();
                Box::pin(async move {
                    connection
                        .execute(sqlx::raw_sql(sqlx::AssertSqlSafe(setup)))
                        .await?;
                    Ok(())
                })
            })
            .connect(&url)
            .await
            .map_err(StoreError::Open)?;
        let writer = (kind == Kind::Sqlite).then(Arc::default);
        let store = Store { pool, kind, writer };
        store.migrate().await?;
        Ok(store)
    }

    /// Two processes may start on one new SQLite file; the slower one finds the work done when it looks again.
    async fn migrate(&self) -> Result<(), StoreError> {
        let mut tries = 1;
        loop {
            match MIGRATIONS.run(&self.pool).await {
                Ok(()) => return Ok(()),
                Err(_) if self.kind == Kind::Sqlite && tries < MIGRATE_TRIES_MAX => {
                    tries += 1;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(error) => return Err(StoreError::Migrate(error)),
            }
        }
    }

    /// Which database it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// For reading, and for single statements that need no transaction.
    pub fn pool(&self) -> &AnyPool {
        &self.pool
    }

    /// Begins a transaction that may write. On SQLite it has the right to write from the start, so that it never has to
    /// be given up half-way. A task holds one at a time.
    ///
    /// # Errors
    /// No connection within the permitted time, or the database is gone.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        let turn = match &self.writer {
            Some(writer) => Some(writer.clone().lock_owned().await),
            None => None,
        };
        let begun = match self.kind {
            Kind::Sqlite => self.pool.begin_with("BEGIN IMMEDIATE").await?,
            Kind::Postgres => self.pool.begin().await?,
        };
        Ok(Tx::new(begun, self.kind, turn))
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").execute(&self.pool).await?;
        Ok(())
    }

    /// Closes all connections, after those that are busy.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

fn address(url: &str) -> Result<(Kind, String), StoreError> {
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return Ok((Kind::Postgres, url.to_owned()));
    }
    match url.strip_prefix("sqlite:") {
        Some(path) if !path.is_empty() => {
            let path = path.split('?').next().unwrap_or(path);
            Ok((Kind::Sqlite, format!("sqlite:{path}?mode=rwc")))
        }
        _ => Err(StoreError::Address),
    }
}
