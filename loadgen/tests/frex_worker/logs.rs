//! No buyer data in logs, tables or alerts (`spec/frex.md` 13, 14).

use std::sync::{Mutex, OnceLock};

use commerce::frex::settings::WorkerSettings;
use loadgen::frex::call::Call;
use loadgen::frex::faults::{Fault, Kind};
use loadgen::frex::rules::Rules;
use sqlx::Row as _;

use crate::frex_support;
use crate::rig::{self, Rig};

static LOG: OnceLock<Mutex<String>> = OnceLock::new();

struct Keep;

impl log::Log for Keep {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        let line = format!("{} {} {}\n", record.level(), record.target(), record.args());
        LOG.get_or_init(Mutex::default)
            .lock()
            .expect("a log")
            .push_str(&line);
    }
    fn flush(&self) {}
}

/// Values of the sample buyer that stand nowhere else.
fn secrets() -> Vec<String> {
    let user = frex_support::user();
    let (buyer, delivery) = (user.buyer, user.delivery);
    let mut all = vec![
        buyer.company_name,
        buyer.customer_name,
        buyer.zip_code,
        buyer.address,
        buyer.tel_no,
        buyer.email,
        delivery.customer_name,
        delivery.address,
        // What the daemon itself must not tell.
        "c2hvcDpwYXNzd29yZA==".to_owned(),
    ];
    all.dedup();
    all
}

/// Every column of every table of ours, as text.
async fn all_tables(rig: &Rig) -> Vec<(String, String)> {
    let pool = rig.shop.store.pool();
    let names = "SELECT m.name, i.name FROM sqlite_master m, pragma_table_info(m.name) i WHERE m.type = 'table' AND m.name LIKE 'frex_%'";
    let columns: Vec<(String, String)> = sqlx::query_as(names)
        .fetch_all(pool)
        .await
        .expect("columns");
    let mut texts = Vec::new();
    for (table, column) in columns {
        let sql =
            format!("SELECT CAST({column} AS TEXT) AS it FROM {table} WHERE {column} IS NOT NULL");
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .fetch_all(pool)
            .await
            .expect("rows");
        let name = format!("{table}.{column}");
        texts.extend(
            rows.iter()
                .map(|row| (name.clone(), row.get::<String, _>("it"))),
        );
    }
    texts
}

/// Orders through every step, with refusals, unreadable answers, a panic-free fault of ours (buyer data that does not open), edits
/// and cancels, at the most talkative level of every library: no line and no column shows buyer data or the password.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_buyer_data_in_logs_and_tables() {
    log::set_logger(&Keep).expect("the only logger");
    log::set_max_level(log::LevelFilter::Trace);
    let rig = Rig::new(Rules::default(), WorkerSettings::default()).await;
    for end in [
        "A", "B", "C", "R21", "RA", "RR", "UR", "CR", "BR", "HA", "Z",
    ] {
        rig::place(&rig.shop, &format!("S-{end}"), 1_000).await;
    }
    sqlx::query("UPDATE frex_user_info SET sealed = 'broken' WHERE order_no = 'S-Z'")
        .execute(rig.shop.store.pool())
        .await
        .expect("a broken row");
    let strikes = [
        Kind::Html,
        Kind::BrokenJson,
        Kind::MissingItem,
        Kind::ForeignItem,
        Kind::BatchRefused,
    ];
    rig.centre.set_faults(
        [Call::Register, Call::Results, Call::Bill]
            .into_iter()
            .flat_map(|call| {
                strikes.map(|kind| Fault {
                    times: Some(1),
                    ..Fault::on(kind, call)
                })
            })
            .collect(),
    );
    rig.advance(6);
    rig.run(&[]).await;
    rig.edit("S-B", 1_500).await;
    rig.edit("S-UR", 1_500).await;
    for order in ["S-C", "S-CR"] {
        rig.shop.cancel(order).await.expect("a cancel");
    }
    for _ in 0..20 {
        rig.advance(11);
        rig.run(&[]).await;
    }
    let log = LOG
        .get_or_init(Mutex::default)
        .lock()
        .expect("a log")
        .clone();
    assert!(
        log.contains("frex: order S-B") && log.contains("alert registration_refused"),
        "{log}"
    );
    let texts = all_tables(&rig).await;
    assert!(
        texts
            .iter()
            .any(|(name, _)| name == "frex_request.response")
    );
    for secret in secrets() {
        // What libraries say of bytes on the wire is not ours to write; the daemon's log leaves them out below warnings.
        let line = log.lines().find(|line| {
            let (level, rest) = line.split_once(' ').unwrap_or_default();
            let library = rest.starts_with("hyper")
                || rest.starts_with("sqlx")
                || rest.starts_with("reqwest");
            line.contains(&secret) && (!library || matches!(level, "WARN" | "ERROR"))
        });
        assert_eq!(line, None, "'{secret}' in the log");
        let cell = texts.iter().find(|(_, text)| text.contains(&secret));
        assert_eq!(cell, None, "'{secret}' in a table");
    }
}
