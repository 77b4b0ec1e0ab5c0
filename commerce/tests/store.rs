//! The store on both databases: what a transaction promises.

mod common;

use sqlx::Row;

use commerce::store::{Store, StoreError, StoreSettings};

async fn count(store: &Store) -> i64 {
    let row = sqlx::query("SELECT COUNT(*) AS n FROM outbox")
        .fetch_one(store.pool())
        .await;
    row.expect("a count").get("n")
}

async fn put(tx: &mut commerce::store::Tx, id: &str) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO outbox (id, merchant_id, order_id, event, payload, created_at, next_try_at) \
         VALUES ($1, 'm', 'o', 'e', '{}', $2, $3)",
    )
    .bind(id)
    .bind(1_i64)
    .bind(None::<i64>)
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Committed is there, dropped and rolled back is not; a second insert of a key is a duplicate by name; NULL is read back.
#[tokio::test]
async fn all_or_nothing() {
    for test in common::stores().await {
        let store = &test.store;
        let mut tx = store.begin().await.expect("begins");
        put(&mut tx, "a").await.expect("inserts");
        tx.commit().await.expect("commits");
        let mut tx = store.begin().await.expect("begins");
        put(&mut tx, "b").await.expect("inserts");
        drop(tx);
        let mut tx = store.begin().await.expect("begins");
        put(&mut tx, "c").await.expect("inserts");
        let twice = put(&mut tx, "a").await.expect_err("a is there");
        assert!(
            twice.is_duplicate() && !twice.is_conflict(),
            "{}: {twice}",
            test.name()
        );
        tx.rollback().await.expect("rolls back");
        assert_eq!(count(store).await, 1, "{}", test.name());
        let row = sqlx::query("SELECT next_try_at, created_at FROM outbox").fetch_one(store.pool());
        let row = row.await.expect("a row");
        assert_eq!(row.get::<Option<i64>, _>("next_try_at"), None);
        assert_eq!(row.get::<i64, _>("created_at"), 1);
    }
}

/// Many writers through two handles on one database: every one gets its turn, and none is lost.
#[tokio::test]
async fn writers_take_turns() {
    for test in common::stores().await {
        let stores = [test.store.clone(), test.again().await];
        let writers = (0..40).map(|n| {
            let store = stores[n % 2].clone();
            tokio::spawn(async move {
                let mut tx = store.begin().await.expect("begins");
                put(&mut tx, &format!("w{n}")).await.expect("inserts");
                tx.commit().await.expect("commits");
            })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.expect("writes");
        }
        assert_eq!(count(&test.store).await, 40, "{}", test.name());
    }
}

/// SQLite runs as promised: write-ahead log, foreign keys, a commit that is on the disk.
#[tokio::test]
async fn sqlite_is_set_up() {
    let test = common::sqlite().await;
    let pragma = async |name: &'static str| {
        let row = sqlx::query(name)
            .fetch_one(test.store.pool())
            .await
            .expect("a value");
        row.try_get::<String, _>(0)
            .unwrap_or_else(|_| row.get::<i64, _>(0).to_string())
    };
    assert_eq!(pragma("PRAGMA journal_mode").await, "wal");
    assert_eq!(pragma("PRAGMA foreign_keys").await, "1");
    assert_eq!(pragma("PRAGMA synchronous").await, "2");
    assert_eq!(pragma("PRAGMA busy_timeout").await, "10000");
}

/// An address of another kind is refused with what would be right.
#[tokio::test]
async fn other_addresses() {
    for url in ["mysql://x/y", "sqlite:", "commerce.db"] {
        let error = Store::open(url, &StoreSettings::default())
            .await
            .err()
            .expect("refused");
        assert!(error.to_string().contains("sqlite:PATH"), "{error}");
    }
}
