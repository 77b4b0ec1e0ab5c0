//! A world for tests of the deferred-payment worker: database, clock, agency, worker, shop, and the invariants of
//! `spec/frex.md` 17 held against the agency's own ledger.

// Each test program uses its own part of this.
#![allow(dead_code)]

pub mod agency;

use std::collections::BTreeMap;
use std::sync::Arc;

use commerce::clock::Clock;
use commerce::frex::agency::settings::Protocol;
use commerce::frex::agency::{Agency, Buyer, Delivery, Detail, TaxRateSummary};
use commerce::frex::decide::Decider;
use commerce::frex::key::RequestType;
use commerce::frex::lease::Held;
use commerce::frex::model::{
    AuthorizeState, BillingState, CloseReason, Goods, MoneyInput, OrderStage, Pair, RegState,
    Request, RequestState, ResultState, StrState,
};
use commerce::frex::report::RunReport;
use commerce::frex::settings::WorkerSettings;
use commerce::frex::shop::{NewOrder, Shop};
use commerce::frex::steps::payload::UserInfo;
use commerce::frex::steps::table::Step;
use commerce::frex::tables;
use commerce::frex::vault::Vault;
use commerce::frex::worker::{Parts, RunError, Worker};
use commerce::points::Points;
use commerce::store::Store;
use zeroize::Zeroizing;

use agency::{Entry, FakeAgency, Manners};

/// 2025-01-15 01:00 UTC.
pub const START_MS: i64 = 1_736_902_800_000;
pub const MINUTE_MS: i64 = 60_000;

pub fn goods(amount: i64) -> Goods {
    Goods {
        transaction_details: vec![Detail {
            detail: "Flyer printing A4".into(),
            price: amount,
            quantity: 1,
            billed_tax_kind: "T00".into(),
        }],
        tax_rate_summaries: vec![TaxRateSummary {
            tax_rate: 0,
            total_amount: amount,
        }],
    }
}

pub fn user() -> UserInfo {
    UserInfo {
        buyer: Buyer {
            np_buyer_id: String::new(),
            company_name: "Example KK".into(),
            department: "Sales".into(),
            customer_name: "Sample Buyer".into(),
            customer_name_kana: String::new(),
            zip_code: "1000001".into(),
            address: "Tokyo Chiyoda 1-1".into(),
            tel_no: "0300000000".into(),
            email: "buyer@example.com".into(),
        },
        delivery: Delivery {
            company_name: "Example KK".into(),
            department: String::new(),
            customer_name: "Sample Buyer".into(),
            zip_code: "1000001".into(),
            address: "Tokyo Chiyoda 1-1".into(),
            tel_no: "0300000000".into(),
        },
    }
}

pub fn vault() -> Arc<Vault> {
    let keys = [("test".to_owned(), Zeroizing::new(vec![7_u8; 32]))];
    Arc::new(Vault::new(&keys).expect("a key of 32 bytes"))
}

/// A whole system, whose worker can be crashed and started again.
pub struct World {
    pub shop: Shop,
    pub clock: Clock,
    pub agency: FakeAgency,
    pub settings: Arc<WorkerSettings>,
    pub steps: Option<&'static [Step]>,
}

/// What became of a run.
pub enum Ran {
    Done(Box<RunReport>),
    NotDue,
    Crashed,
}

impl World {
    pub async fn new(store: Store, seed: u64, manners: Manners, settings: WorkerSettings) -> Self {
        let clock = Clock::manual(START_MS);
        let agency = FakeAgency::new(seed, manners, clock.clone());
        let settings = Arc::new(settings);
        let shop = Shop {
            store,
            vault: vault(),
            clock: clock.clone(),
            settings: settings.clone(),
            protocol: Protocol::Design,
            points: Points::none(),
        };
        shop.set_joiner("J1", true, Decider::without_note("test"))
            .await
            .expect("the company is written");
        Self {
            shop,
            clock,
            agency,
            settings,
            steps: None,
        }
    }

    pub fn parts(&self, points: Points, owner: &str) -> Parts {
        Parts {
            store: self.shop.store.clone(),
            agency: Arc::new(self.agency.clone()) as Arc<dyn Agency>,
            vault: self.shop.vault.clone(),
            clock: self.clock.clone(),
            settings: self.settings.clone(),
            points,
            owner: owner.to_owned(),
        }
    }

    /// A worker, as a process that has just started has it.
    pub fn worker(&self, points: Points) -> Worker {
        let worker = Worker::new(self.parts(points, "w1"));
        match self.steps {
            Some(steps) => worker.with_steps(steps),
            None => worker,
        }
    }

    pub fn new_order(&self, order_no: &str, amount: i64) -> NewOrder {
        NewOrder {
            order_no: order_no.into(),
            joiner_id: "J1".into(),
            amount,
            goods: goods(amount),
            user: user(),
        }
    }

    pub async fn place(&self, order_no: &str, amount: i64) {
        self.shop
            .place_order(&self.new_order(order_no, amount))
            .await
            .expect("the order is placed");
    }

    /// One run of a freshly started worker, which crashes if it reaches the point.
    pub async fn run(&self, crash_at: Option<(&str, u64)>) -> Ran {
        let points = Points::watched();
        if let Some((point, nth)) = crash_at {
            points.arm(point, nth);
        }
        let worker = self.worker(points.clone());
        tokio::select! {
            biased;
            done = worker.run_if_due() => match done {
                Ok(report) => Ran::Done(Box::new(report)),
                Err(RunError::Held(Held::NotDue(_) | Held::Running(_))) => Ran::NotDue,
                Err(error) => panic!("the run failed: {error}"),
            },
            () = points.hit() => Ran::Crashed,
        }
    }

    /// Runs every so many minutes until nothing happens any more, at most `runs_max` times. Says how many runs it took.
    pub async fn settle(&self, minutes: i64, runs_max: usize) -> usize {
        for count in 0..runs_max {
            self.clock.advance(minutes * MINUTE_MS);
            let Ran::Done(report) = self.run(None).await else {
                continue;
            };
            assert!(report.whole(), "a step failed: {report:?}");
            if report.idle() && self.open_requests().await == 0 {
                return count;
            }
        }
        runs_max
    }

    pub async fn open_requests(&self) -> i64 {
        let sql =
            "SELECT COUNT(*) FROM frex_request WHERE state IN ('STANDBY', 'SENDING', 'UNKNOWN')";
        sqlx::query_scalar(sql)
            .fetch_one(self.shop.store.pool())
            .await
            .expect("the requests are counted")
    }

    pub async fn picture(&self) -> Picture {
        Picture::of(&self.shop.store, self.agency.ledger()).await
    }
}

/// Everything there is: our tables and the agency's ledger.
pub struct Picture {
    pub pairs: BTreeMap<String, Pair>,
    pub requests: BTreeMap<String, Vec<Request>>,
    pub alerts: Vec<(String, String)>,
    pub ledger: Vec<Entry>,
    /// Orders of which a copy of a fact is not as the fact.
    pub wrong_copies: Vec<String>,
}

const WRONG_COPIES: &str = "SELECT o.order_no FROM frex_order o LEFT JOIN frex_state_info s ON s.order_no = o.order_no \
    WHERE o.has_state <> (CASE WHEN s.order_no IS NULL THEN 0 ELSE 1 END) OR s.order_state <> o.str_state \
    OR s.order_amount <> o.order_complete_amount \
    OR s.screening_open <> (SELECT COUNT(*) FROM frex_request r WHERE r.order_no = o.order_no AND r.type = 'AUTHORIZE_RESULT' \
    AND (r.state = 'STANDBY' OR (r.state = 'ERROR' AND r.faults > 0))) \
    OR s.outcome_open <> (SELECT COUNT(*) FROM frex_request r WHERE r.order_no = o.order_no AND r.state = 'STANDBY' \
    AND r.type IN ('ORDER_RESULT', 'UPDATE_RESULT', 'DELETE_RESULT', 'BILLING_RESULT'))";

impl Picture {
    pub async fn of(store: &Store, ledger: Vec<Entry>) -> Self {
        let mut conn = store.pool().acquire().await.expect("a connection");
        let order_nos: Vec<String> =
            sqlx::query_scalar("SELECT order_no FROM frex_order ORDER BY order_no")
                .fetch_all(&mut *conn)
                .await
                .expect("orders");
        let mut pairs = BTreeMap::new();
        let mut requests = BTreeMap::new();
        for group in order_nos.chunks(100) {
            let group: Vec<&str> = group.iter().map(String::as_str).collect();
            pairs.extend(tables::peek_pairs(&mut conn, &group).await.expect("pairs"));
        }
        for order_no in &order_nos {
            requests.insert(
                order_no.clone(),
                tables::requests_of(&mut conn, order_no)
                    .await
                    .expect("requests"),
            );
        }
        let alerts = sqlx::query_as("SELECT order_no, kind FROM frex_alert WHERE resolved_at = 0")
            .fetch_all(&mut *conn)
            .await;
        let wrong_copies = sqlx::query_scalar(WRONG_COPIES).fetch_all(&mut *conn).await;
        Self {
            wrong_copies: wrong_copies.expect("copies"),
            pairs,
            requests,
            alerts: alerts.expect("alerts"),
            ledger,
        }
    }

    fn alerted(&self, order_no: &str) -> bool {
        self.alerts
            .iter()
            .any(|(order, kind)| order == order_no && kind != "screening_ng")
    }

    /// The first invariant that does not hold, in words.
    pub fn violation(&self) -> Option<String> {
        let copies = self.wrong_copies.first();
        let copies =
            copies.map(|no| format!("{no}: a copy is not as the fact: {:#?}", self.requests[no]));
        copies.or_else(|| {
            self.pairs
                .values()
                .find_map(|pair| self.violation_of(pair).err())
        })
    }

    fn violation_of(&self, pair: &Pair) -> Result<(), String> {
        let (order, rows) = (&pair.order, &self.requests[&pair.order.order_no]);
        let no = &order.order_no;
        let ours: Vec<&Entry> = self
            .ledger
            .iter()
            .filter(|entry| &entry.shop == no)
            .collect();
        let hold = |holds: bool, rule: u8, what: &str| {
            if holds {
                Ok(())
            } else {
                Err(format!(
                    "invariant {rule} of {no}: {what}\n{pair:?}\n{rows:#?}\n{ours:?}"
                ))
            }
        };
        hold(ours.len() <= 1, 1, "more than one transaction")?;
        hold(
            ours.iter().all(|entry| entry.bills.len() <= 1),
            1,
            "billed more than once",
        )?;
        for row in rows
            .iter()
            .filter(|row| row.kind().is_mutation() && row.state == RequestState::Complete)
        {
            hold(
                !row.accept_no.is_empty(),
                8,
                "an accepted request without acceptance number",
            )?;
        }
        let Some(info) = &pair.info else {
            return Ok(());
        };
        let regular = order.state == StrState::Reg;
        if info.billing == BillingState::Complete {
            let bills: usize = ours.iter().map(|entry| entry.bills.len()).sum();
            hold(bills == 1, 2, "COMPLETE without exactly one bill")?;
            if regular {
                hold(
                    order.money == MoneyInput::Payment && order.stage == OrderStage::OrderEnd,
                    2,
                    "order columns of a billed order",
                )?;
                hold(
                    ours[0].bills[0] == order.amount,
                    4,
                    "the amount billed is not the order's",
                )?;
            }
        }
        if regular && order.money == MoneyInput::TempPayment {
            let approved = info.authorize == AuthorizeState::Complete
                && info.billing != BillingState::Complete;
            hold(approved, 3, "TEMPPAYMENT without approval")?;
        }
        if regular && info.billing == BillingState::Standby {
            hold(
                info.billed_amount == order.amount,
                4,
                "billing an amount that is not the order's",
            )?;
        }
        if !matches!(info.result, ResultState::Complete | ResultState::Cancel) {
            let held = self.lock_holders(info.result, rows);
            hold(
                held == 1 || (info.reg == RegState::Error && self.alerted(no)) || self.alerted(no),
                6,
                "the lock is held by nothing",
            )?;
        }
        Ok(())
    }

    /// Mutations that are open, or accepted and not resolved, of the kind that holds the lock.
    fn lock_holders(&self, result: ResultState, rows: &[Request]) -> usize {
        let (reg, outcome) = match result {
            ResultState::Order => (RequestType::OrderReg, RequestType::OrderResult),
            ResultState::Update => (RequestType::UpdateReg, RequestType::UpdateResult),
            ResultState::Delete => (RequestType::DeleteReg, RequestType::DeleteResult),
            _ => (RequestType::BillingReg, RequestType::BillingResult),
        };
        let resolved = |seq: u32| {
            let mut outcomes = rows
                .iter()
                .filter(|row| row.kind() == outcome && row.key.seq == seq);
            outcomes.any(|row| matches!(row.state, RequestState::Complete | RequestState::Error))
        };
        let open = |row: &&Request| match row.state {
            RequestState::Standby | RequestState::Sending | RequestState::Unknown => true,
            RequestState::Complete => row.kind() == reg && !resolved(row.key.seq),
            RequestState::Error | RequestState::Skipped => false,
        };
        rows.iter()
            .filter(|row| row.kind().is_mutation())
            .filter(open)
            .count()
    }

    /// Rows in SENDING: none after a start-up pass (invariant 7).
    pub fn sending(&self) -> usize {
        self.requests
            .values()
            .flatten()
            .filter(|row| row.state == RequestState::Sending)
            .count()
    }

    /// Orders that have not come to an end and of which nobody was told (invariants 5 and 9), and ends that the agency does
    /// not share.
    pub fn stuck(&self) -> Vec<String> {
        self.pairs
            .values()
            .filter_map(|pair| self.stuck_of(pair))
            .collect()
    }

    fn stuck_of(&self, pair: &Pair) -> Option<String> {
        let (order, no) = (&pair.order, &pair.order.order_no);
        let live = self
            .ledger
            .iter()
            .any(|entry| &entry.shop == no && !entry.cancelled);
        let say = |what: &str| Some(format!("{no}: {what}\n{pair:?}\n{:#?}", self.requests[no]));
        let Some(info) = &pair.info else {
            return if order.state == StrState::Del && !live {
                None
            } else {
                say("never begun")
            };
        };
        if info.result == ResultState::Cancel {
            // A transaction that screening refused needs no cancel, and one may be settled outside; every other closed order must
            // not live at the agency.
            let uncancelled = [CloseReason::FrexNg, CloseReason::SettledOutside].map(Some);
            return if live && !uncancelled.contains(&info.close_reason) {
                say("closed here, alive at the agency")
            } else {
                None
            };
        }
        let billed = order.state == StrState::Reg
            && info.billing == BillingState::Complete
            && info.result == ResultState::Complete;
        if billed || self.alerted(no) {
            None
        } else {
            say("stuck without an alert")
        }
    }
}
