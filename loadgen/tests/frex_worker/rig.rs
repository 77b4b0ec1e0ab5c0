//! A simulated agency, a database, the shop's side and a worker of this process, under one clock that moves when told.

use std::sync::Arc;

use commerce::clock::Clock;
use commerce::frex::agency::NoObserver;
use commerce::frex::agency::design::DesignClient;
use commerce::frex::agency::settings::{AgencySettings, Protocol};
use commerce::frex::decide::Decider;
use commerce::frex::report::RunReport;
use commerce::frex::settings::WorkerSettings;
use commerce::frex::shop::Shop;
use commerce::frex::worker::{Parts, RunError, Worker};
use commerce::points::Points;
use commerce::store::Store;
use loadgen::frex::books::fetch;
use loadgen::frex::books::rules::{Books, Findings, compare};
use loadgen::frex::clock as sim_clock;
use loadgen::frex::rules::Rules;
use loadgen::frex::server::{Centre, Options};

use crate::frex_support::{self, MINUTE_MS, START_MS};

/// The client's total time: short, because faults wait for its end.
pub const TIMEOUT_MS: u64 = 250;
/// Longest answer that the client reads: some faults send more.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// A client of the agency at an address.
pub fn client(address: &str, timeout_ms: u64) -> DesignClient {
    let settings = AgencySettings {
        base_url: format!("http://{address}"),
        shop_code: "shop".into(),
        terminal_id: "terminal".into(),
        connect_timeout_ms: timeout_ms / 2,
        timeout_ms,
        answer_bytes_max: ANSWER_BYTES_MAX,
        ..AgencySettings::default()
    };
    DesignClient::new(&settings, vec!["password".into()], Arc::new(NoObserver)).expect("a client")
}

/// A simulated agency whose time stands still.
pub async fn centre(rules: Rules) -> Centre {
    let options = Options {
        rules,
        clock: sim_clock::Clock::Held { now_ms: START_MS },
        ..Options::default()
    };
    Centre::start(options).await.expect("the simulator starts")
}

/// Everything but the agency, on a database.
pub fn shop(store: Store, clock: Clock, settings: &WorkerSettings, points: Points) -> Shop {
    Shop {
        store,
        vault: frex_support::vault(),
        clock,
        settings: Arc::new(settings.clone()),
        protocol: Protocol::Design,
        points,
    }
}

/// A worker beside a shop.
pub fn worker(shop: &Shop, agency: DesignClient, points: Points, owner: &str) -> Worker {
    Worker::new(Parts {
        store: shop.store.clone(),
        agency: Arc::new(agency),
        vault: shop.vault.clone(),
        clock: shop.clock.clone(),
        settings: shop.settings.clone(),
        points,
        owner: owner.to_owned(),
    })
}

/// The world of a test.
pub struct Rig {
    pub centre: Centre,
    pub clock: Clock,
    pub shop: Shop,
    pub worker: Worker,
    url: String,
    _dir: tempfile::TempDir,
}

impl Rig {
    /// On a fresh SQLite file in memory: these tests cut no power.
    pub async fn new(rules: Rules, settings: WorkerSettings) -> Self {
        Self::patient(rules, settings, TIMEOUT_MS).await
    }

    /// With a client that waits so long for an answer.
    pub async fn patient(rules: Rules, settings: WorkerSettings, timeout_ms: u64) -> Self {
        let dir = tempfile::tempdir_in("/dev/shm")
            .or_else(|_| tempfile::tempdir())
            .expect("a folder");
        let url = format!("sqlite:{}", dir.path().join("frex.db").display());
        let store = Store::open(&url, &commerce::store::StoreSettings::default())
            .await
            .expect("SQLite opens");
        let centre = centre(rules).await;
        let clock = Clock::manual(START_MS);
        let shop = shop(store, clock.clone(), &settings, Points::none());
        shop.set_joiner("J1", true, Decider::without_note("test"))
            .await
            .expect("a company");
        let client = client(&centre.address.to_string(), timeout_ms);
        let worker = worker(&shop, client, Points::none(), "w1");
        Self {
            centre,
            clock,
            shop,
            worker,
            url,
            _dir: dir,
        }
    }

    /// The address of its database.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Moves both clocks.
    pub fn advance(&self, minutes: i64) {
        self.clock.advance(minutes * MINUTE_MS);
        self.centre.advance(minutes * MINUTE_MS);
    }

    /// A run of these steps, or of all.
    pub async fn run(&self, steps: &[&str]) -> RunReport {
        let steps: Vec<String> = steps.iter().map(|&step| step.to_owned()).collect();
        match self.worker.run_now("test", &steps).await {
            Ok(report) => report,
            Err(RunError::Frex(error)) => panic!("the run failed: {error}"),
            Err(error) => panic!("no run: {error}"),
        }
    }

    /// Runs every so many minutes until nothing is left to do.
    pub async fn settle(&self, minutes: i64, runs_max: usize) {
        for _ in 0..runs_max {
            self.advance(minutes);
            let report = self.run(&[]).await;
            assert!(report.whole(), "a step failed: {report:?}");
            if report.idle() && open_requests(&self.shop.store).await == 0 {
                return;
            }
        }
        panic!(
            "not quiet after {runs_max} runs: {}",
            self.books().await.shown(20)
        );
    }

    /// The tables held against the ledger, at rest.
    pub async fn books(&self) -> Findings {
        books(&self.url, &self.centre).await
    }

    /// The open alerts of an order.
    pub async fn alerts(&self, order_no: &str) -> Vec<String> {
        let sql =
            "SELECT kind FROM frex_alert WHERE order_no = $1 AND resolved_at = 0 ORDER BY kind";
        sqlx::query_scalar(sql)
            .bind(order_no)
            .fetch_all(self.shop.store.pool())
            .await
            .expect("alerts")
    }

    /// The order in one word.
    pub async fn stage(&self, order_no: &str) -> String {
        let found = commerce::frex::view::order(&self.shop.store, order_no).await;
        let (_, view) = found.expect("a view").expect("the order");
        view["stage"].as_str().expect("a word").to_owned()
    }

    /// Changes what an order is worth.
    pub async fn edit(&self, order_no: &str, amount: i64) {
        edit(&self.shop, order_no, amount).await;
    }
}

/// Places an order.
pub async fn place(shop: &Shop, order_no: &str, amount: i64) {
    let new = commerce::frex::shop::NewOrder {
        order_no: order_no.into(),
        joiner_id: "J1".into(),
        amount,
        goods: frex_support::goods(amount),
        user: frex_support::user(),
    };
    shop.place_order(&new).await.expect("the order is placed");
}

/// Changes what an order is worth, whatever its version.
pub async fn edit(shop: &Shop, order_no: &str, amount: i64) {
    let version: i64 = sqlx::query_scalar("SELECT version FROM frex_order WHERE order_no = $1")
        .bind(order_no)
        .fetch_one(shop.store.pool())
        .await
        .expect("the order");
    let goods = frex_support::goods(amount);
    shop.change_amount(order_no, version, amount, &goods)
        .await
        .expect("the change is allowed");
}

pub async fn open_requests(store: &Store) -> i64 {
    let sql = "SELECT COUNT(*) FROM frex_request WHERE state IN ('STANDBY', 'SENDING', 'UNKNOWN')";
    sqlx::query_scalar(sql)
        .fetch_one(store.pool())
        .await
        .expect("the requests are counted")
}

/// The tables of a database at rest held against a ledger.
pub async fn books(url: &str, centre: &Centre) -> Findings {
    let tables = fetch::tables(url).await.expect("the tables are read");
    let ledger = centre.ledger();
    compare(&Books { tables, ledger }, false)
}
