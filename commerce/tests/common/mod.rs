//! Fresh databases for tests: one file of SQLite, and one database on a PostgreSQL server.
//!
//! The server is the one of `SEKISHO_TEST_PG` (`postgres://` of a superuser). Without the variable a private server is
//! started in a folder below `/tmp`, once for each test program; a keeper process ends it and removes the folder when the test
//! program is gone, however it went.

// Each test program uses its own part of this.
#![allow(dead_code)]

mod postgres;

use commerce::store::{Kind, Store, StoreSettings};

/// A fresh database, which is gone when this is dropped.
pub struct TestStore {
    /// The open database.
    pub store: Store,
    /// Its address, for a second process or a second handle.
    pub url: String,
    _gone: Gone,
}

enum Gone {
    File(#[expect(dead_code, reason = "held for its end")] tempfile::TempDir),
    Database(#[expect(dead_code, reason = "held for its end")] postgres::Database),
}

impl TestStore {
    /// `sqlite` or `postgres`, for messages.
    pub fn name(&self) -> &'static str {
        match self.store.kind() {
            Kind::Sqlite => "sqlite",
            Kind::Postgres => "postgres",
        }
    }

    /// A second handle on the same database, as another process would have.
    pub async fn again(&self) -> Store {
        Store::open(&self.url, &StoreSettings::default())
            .await
            .expect("the database opens again")
    }
}

/// One of each.
pub async fn stores() -> [TestStore; 2] {
    [sqlite().await, postgres().await]
}

/// A file of its own.
pub async fn sqlite() -> TestStore {
    let dir = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite:{}", dir.path().join("commerce.db").display());
    let store = Store::open(&url, &StoreSettings::default())
        .await
        .expect("SQLite opens");
    TestStore {
        store,
        url,
        _gone: Gone::File(dir),
    }
}

/// A database of its own.
pub async fn postgres() -> TestStore {
    let database = postgres::Database::new().await;
    let url = database.url.clone();
    let store = Store::open(&url, &StoreSettings::default())
        .await
        .expect("PostgreSQL opens");
    TestStore {
        store,
        url,
        _gone: Gone::Database(database),
    }
}

/// The metrics that the alerts ask for.
pub fn names_in_alerts() -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/commerce-alerts.yml");
    let text = std::fs::read_to_string(path).expect("the alerts");
    let exprs = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("expr: "));
    let names: Vec<String> = exprs
        .flat_map(|expr| expr.split(|c: char| !(c.is_ascii_lowercase() || c == '_')))
        // A metric's name has several words; functions and labels of the language have their own list.
        .filter(|word| {
            word.contains('_')
                && !["sub_channel", "histogram_quantile", "age_bucket"].contains(word)
        })
        .map(str::to_owned)
        .collect();
    assert!(names.len() > 15, "{names:?}");
    names
}
