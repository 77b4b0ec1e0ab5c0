//! Each row of `spec/frex.md` 3.1 and each cell of section 8, walked one after the other on both databases.

mod common;
mod frex_support;

use std::collections::BTreeSet;

use commerce::frex::decide::{Decider, OrderAction, RequestAction};
use commerce::frex::model::{
    AuthorizeState as A, BillingState as B, CloseReason, MoneyInput, Pair, RegState as R, Request,
    RequestState, ResultState as S,
};
use commerce::frex::settings::WorkerSettings;
use commerce::frex::transitions::{FIRST, Quad, TRANSITIONS, quad};
use commerce::points::Points;
use commerce::store::Store;
use frex_support::agency::Manners;
use frex_support::{MINUTE_MS, World, goods, user};

const AMOUNT: i64 = 1_000;
const AMOUNT_NEW: i64 = 1_700;

/// Something that happens.
#[derive(Clone, Copy, Debug)]
enum Act {
    Run(&'static str),
    Edit(i64),
    Cancel,
    Pay,
    /// The agency behaves so from now on.
    Agency(Mood),
    Minutes(i64),
    Order(OrderAction),
    Request(&'static str, RequestAction),
}

/// How the agency is disposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Well,
    /// No connection.
    Away,
    /// Requests are executed, answers lost; questions are not answered either.
    Mute,
    /// Refuses at once.
    Refuses,
    /// Accepts, and refuses in the result.
    Rejects,
    /// Refuses buyers.
    Ng,
    /// Holds buyers.
    Holds,
}

fn manners(mood: Mood) -> Manners {
    let well = Manners::healthy();
    match mood {
        Mood::Well => well,
        Mood::Away => Manners {
            not_sent: 100,
            ..well
        },
        Mood::Mute => Manners {
            lost_answer: 100,
            ..well
        },
        Mood::Refuses => Manners {
            refused: 100,
            ..well
        },
        Mood::Rejects => Manners {
            rejected: 100,
            ..well
        },
        Mood::Ng => Manners { ng: 100, ..well },
        Mood::Holds => Manners { held: 100, ..well },
    }
}

/// One order in a world of its own numbers.
struct Walk<'a> {
    world: &'a World,
    order_no: String,
}

impl<'a> Walk<'a> {
    async fn begin(world: &'a World, order_no: &str) -> Self {
        world.agency.behave(manners(Mood::Well));
        world.place(order_no, AMOUNT).await;
        Self {
            world,
            order_no: order_no.to_owned(),
        }
    }

    async fn act(&self, act: Act) {
        let (world, no) = (self.world, self.order_no.as_str());
        let by = Decider {
            operator: "operator1",
            note: "test",
        };
        match act {
            Act::Run(step) => {
                let worker = world.worker(Points::none());
                let report = worker
                    .run_now("test", &[step.to_owned()])
                    .await
                    .expect("a run");
                assert!(report.whole(), "{no}: {report:?}");
            }
            Act::Edit(amount) => {
                let version = self.look().await.0.order.version;
                let goods = goods(amount);
                let changed = world.shop.change_amount(no, version, amount, &goods).await;
                changed.expect("the change is allowed");
            }
            Act::Cancel => {
                world.shop.cancel(no).await.expect("the cancel");
            }
            Act::Pay => world.agency.pay(no),
            Act::Agency(mood) => world.agency.behave(manners(mood)),
            Act::Minutes(minutes) => world.clock.advance(minutes * MINUTE_MS),
            Act::Order(action) => {
                world
                    .shop
                    .resolve_order(no, action, by)
                    .await
                    .expect("the decision fits");
            }
            Act::Request(end, action) => {
                let key = format!("{no}:{end}");
                let decided = world.shop.resolve_request(&key, action, None, by).await;
                decided.expect("the decision fits");
            }
        }
    }

    async fn look(&self) -> (Pair, Vec<Request>, Vec<String>) {
        let mut conn = self
            .world
            .shop
            .store
            .pool()
            .acquire()
            .await
            .expect("a connection");
        let no = self.order_no.as_str();
        let mut pairs = commerce::frex::tables::peek_pairs(&mut conn, &[no])
            .await
            .expect("a pair");
        let requests = commerce::frex::tables::requests_of(&mut conn, no)
            .await
            .expect("requests");
        let sql = "SELECT kind FROM frex_alert WHERE order_no = $1 AND resolved_at = 0";
        let alerts = sqlx::query_scalar(sql).bind(no).fetch_all(&mut *conn).await;
        (
            pairs.remove(no).expect("the order"),
            requests,
            alerts.expect("alerts"),
        )
    }

    async fn quad(&self) -> Option<Quad> {
        self.look().await.0.info.as_ref().map(quad)
    }
}

/// A row of 3.1: how an order comes to stand before it, the step (or decision) that is the row, and what it leaves.
struct Row {
    no: u8,
    before: &'static [Act],
    from: Option<Quad>,
    event: &'static [Act],
    to: Quad,
    /// The alert that is open then.
    alert: Option<&'static str>,
    also: fn(&Pair, &[Request]) -> bool,
}

use Act::{Agency, Cancel, Edit, Minutes, Pay, Run};
use Mood::{Away, Holds, Mute, Ng, Refuses, Rejects, Well};

const OPEN: Quad = (R::Complete, S::Complete, A::None, B::None);
const HELD: Quad = (R::Complete, S::Complete, A::Delay, B::None);
const APPROVED: Quad = (R::Complete, S::Complete, A::Complete, B::None);
const BILLING: Quad = (R::Complete, S::Billing, A::Complete, B::Standby);
const BILLED: Quad = (R::Complete, S::Complete, A::Complete, B::Complete);
const UNBILLABLE: Quad = (R::Complete, S::Complete, A::Complete, B::Error);
const REFUSED: Quad = (R::Error, S::Order, A::None, B::None);

const fn with(result: S, quad: Quad) -> Quad {
    (quad.0, result, quad.2, quad.3)
}

fn state_of(requests: &[Request], key_end: &str) -> Option<RequestState> {
    let found = requests
        .iter()
        .rev()
        .find(|row| row.key.to_string().ends_with(key_end));
    found.map(|row| row.state)
}

fn nothing(_: &Pair, _: &[Request]) -> bool {
    true
}

fn closed(pair: &Pair, reason: CloseReason) -> bool {
    let info = pair.info.as_ref().expect("a state");
    info.close_reason == Some(reason) && info.closed_at > 0
}

const TO_OPEN: &[Act] = &[Run("OrderReg"), Run("OrderResult")];
const TO_HELD: &[Act] = &[
    Agency(Holds),
    Run("OrderReg"),
    Run("OrderResult"),
    Run("AuthorizeResult"),
];
const TO_APPROVED: &[Act] = &[Run("OrderReg"), Run("OrderResult"), Run("AuthorizeResult")];
const TO_BILLING: &[Act] = &[
    Run("OrderReg"),
    Run("OrderResult"),
    Run("AuthorizeResult"),
    Run("BillingReg"),
];
const TO_BILLED: &[Act] = &[
    Run("OrderReg"),
    Run("OrderResult"),
    Run("AuthorizeResult"),
    Run("BillingReg"),
    Run("BillingResult"),
];
const TO_UNBILLABLE: &[Act] = &[
    Run("OrderReg"),
    Run("OrderResult"),
    Run("AuthorizeResult"),
    Agency(Rejects),
    Run("BillingReg"),
    Run("BillingResult"),
    Agency(Well),
];
const TO_REG_REFUSED: &[Act] = &[Agency(Refuses), Run("OrderReg"), Agency(Well)];
const TO_CHANGING: &[Act] = &[
    Run("OrderReg"),
    Run("OrderResult"),
    Run("AuthorizeResult"),
    Edit(AMOUNT_NEW),
    Run("UpdateReg"),
];
const TO_CANCELLING: &[Act] = &[
    Run("OrderReg"),
    Run("OrderResult"),
    Cancel,
    Run("DeleteReg"),
];

#[rustfmt::skip]
const ROWS: &[Row] = &[
    Row { no: 1, before: &[], from: None, event: &[Agency(Away), Run("OrderReg")], to: FIRST, alert: None,
          also: |_, requests| state_of(requests, "ORDER_REG:0") == Some(RequestState::Standby) },
    Row { no: 2, before: &[Agency(Away), Run("OrderReg"), Agency(Well), Minutes(5)], from: Some(FIRST), event: &[Run("OrderReg")], to: FIRST, alert: None,
          also: |pair, requests| !pair.info.as_ref().expect("a state").accept_no.is_empty()
              && state_of(requests, "ORDER_REG:0") == Some(RequestState::Complete) },
    Row { no: 3, before: &[Run("OrderReg")], from: Some(FIRST), event: &[Run("OrderResult")], to: OPEN, alert: None,
          also: |pair, _| { let info = pair.info.as_ref().expect("a state"); info.np_set() && info.billed_amount == AMOUNT && info.reg_at > 0 } },
    Row { no: 4, before: &[], from: None, event: &[Agency(Refuses), Run("OrderReg")], to: REFUSED, alert: Some("registration_refused"),
          also: |_, requests| state_of(requests, "ORDER_REG:0") == Some(RequestState::Error) },
    Row { no: 4, before: &[Agency(Rejects), Run("OrderReg")], from: Some(FIRST), event: &[Run("OrderResult")], to: REFUSED, alert: Some("registration_refused"),
          also: |_, requests| state_of(requests, "ORDER_RESULT:0") == Some(RequestState::Error) },
    Row { no: 5, before: &[Agency(Away), Run("OrderReg"), Agency(Well), Cancel, Minutes(5)], from: Some(FIRST), event: &[Run("OrderReg")],
          to: with(S::Cancel, FIRST), alert: None,
          also: |pair, requests| closed(pair, CloseReason::BeforeSend) && state_of(requests, "ORDER_REG:0") == Some(RequestState::Skipped) },
    Row { no: 5, before: &[Agency(Refuses), Run("OrderReg"), Agency(Well), Cancel], from: Some(REFUSED), event: &[Run("DeleteReg")],
          to: with(S::Cancel, REFUSED), alert: None,
          also: |pair, requests| closed(pair, CloseReason::RegError) && state_of(requests, "DELETE_REG:0").is_none() },
    Row { no: 6, before: &[Run("OrderReg"), Run("OrderResult"), Edit(AMOUNT_NEW)], from: Some(OPEN), event: &[Run("UpdateReg")], to: with(S::Update, OPEN), alert: None, also: nothing },
    Row { no: 6, before: &[Agency(Holds), Run("OrderReg"), Run("OrderResult"), Run("AuthorizeResult"), Edit(AMOUNT_NEW)], from: Some(HELD), event: &[Run("UpdateReg")], to: with(S::Update, HELD), alert: Some("hold_needs_data"), also: nothing },
    Row { no: 6, before: &[Run("OrderReg"), Run("OrderResult"), Run("AuthorizeResult"), Edit(AMOUNT_NEW)], from: Some(APPROVED), event: &[Run("UpdateReg")], to: with(S::Update, APPROVED), alert: None,
          also: |_, requests| requests.iter().any(|row| row.amount == AMOUNT_NEW) },
    Row { no: 7, before: TO_CHANGING, from: Some(with(S::Update, APPROVED)), event: &[Run("UpdateResult")], to: OPEN, alert: None,
          also: |pair, _| pair.order.money == MoneyInput::SbPayment && pair.info.as_ref().is_some_and(|info| info.billed_amount == AMOUNT_NEW && info.rejected_amount.is_none()) },
    Row { no: 8, before: &[Run("OrderReg"), Run("OrderResult"), Run("AuthorizeResult"), Edit(AMOUNT_NEW), Agency(Rejects), Run("UpdateReg")], from: Some(with(S::Update, APPROVED)),
          event: &[Run("UpdateResult")], to: APPROVED, alert: Some("update_refused"),
          also: |pair, _| pair.order.money == MoneyInput::TempPayment && pair.info.as_ref().is_some_and(|info| info.rejected_amount == Some(AMOUNT_NEW) && info.billed_amount == AMOUNT) },
    Row { no: 8, before: &[Run("OrderReg"), Run("OrderResult"), Edit(AMOUNT_NEW), Agency(Away), Run("UpdateReg"), Agency(Refuses), Minutes(5)], from: Some(with(S::Update, OPEN)),
          event: &[Run("UpdateReg")], to: OPEN, alert: Some("update_refused"),
          also: |_, requests| state_of(requests, "UPDATE_REG:0") == Some(RequestState::Error) },
    Row { no: 8, before: &[Run("OrderReg"), Run("OrderResult"), Edit(AMOUNT_NEW), Agency(Away), Run("UpdateReg"), Agency(Well), Edit(AMOUNT), Minutes(5)], from: Some(with(S::Update, OPEN)),
          event: &[Run("UpdateReg")], to: OPEN, alert: None,
          also: |_, requests| state_of(requests, "UPDATE_REG:0") == Some(RequestState::Skipped) },
    Row { no: 9, before: TO_OPEN, from: Some(OPEN), event: &[Run("AuthorizeResult")], to: APPROVED, alert: None,
          also: |pair, _| pair.order.money == MoneyInput::TempPayment },
    Row { no: 9, before: &[Agency(Holds), Run("OrderReg"), Run("OrderResult")], from: Some(OPEN), event: &[Run("AuthorizeResult")], to: HELD, alert: Some("hold_needs_data"),
          also: |pair, requests| pair.order.money == MoneyInput::SbPayment && state_of(requests, "AUTHORIZE_RESULT:0") == Some(RequestState::Standby) },
    Row { no: 9, before: TO_HELD, from: Some(HELD), event: &[Minutes(31), Run("AuthorizeResult"), Minutes(31), Run("AuthorizeResult")], to: APPROVED, alert: None, also: nothing },
    Row { no: 9, before: &[Agency(Ng), Run("OrderReg"), Run("OrderResult")], from: Some(OPEN), event: &[Run("AuthorizeResult")],
          to: (R::Complete, S::Cancel, A::Ng, B::None), alert: Some("screening_ng"),
          also: |pair, requests| closed(pair, CloseReason::FrexNg) && pair.order.state.as_str() == "DEL" && state_of(requests, "DELETE_REG:0").is_none() },
    Row { no: 10, before: TO_APPROVED, from: Some(APPROVED), event: &[Run("BillingReg")], to: BILLING, alert: None,
          also: |pair, requests| pair.order.money == MoneyInput::TempPayment && requests.iter().any(|row| row.key.to_string().ends_with("BILLING_REG:0") && row.amount == AMOUNT) },
    Row { no: 11, before: TO_BILLING, from: Some(BILLING), event: &[Run("BillingResult")], to: BILLED, alert: None,
          also: |pair, _| pair.order.money == MoneyInput::Payment && pair.order.stage.as_str() == "ORDEREND" && pair.info.as_ref().is_some_and(|info| info.billed_at > 0) },
    Row { no: 12, before: &[Run("OrderReg"), Run("OrderResult"), Run("AuthorizeResult"), Agency(Rejects), Run("BillingReg")], from: Some(BILLING), event: &[Run("BillingResult")], to: UNBILLABLE, alert: Some("billing_refused"),
          also: |_, requests| state_of(requests, "BILLING_REG:0") == Some(RequestState::Error) && state_of(requests, "BILLING_RESULT:0") == Some(RequestState::Error) },
    Row { no: 12, before: &[Run("OrderReg"), Run("OrderResult"), Run("AuthorizeResult"), Agency(Away), Run("BillingReg"), Agency(Refuses), Minutes(5)], from: Some(BILLING), event: &[Run("BillingReg")], to: UNBILLABLE, alert: Some("billing_refused"), also: nothing },
    Row { no: 13, before: &[Run("OrderReg"), Run("OrderResult"), Cancel], from: Some(OPEN), event: &[Run("DeleteReg")], to: with(S::Delete, OPEN), alert: None, also: nothing },
    Row { no: 13, before: &[Agency(Holds), Run("OrderReg"), Run("OrderResult"), Run("AuthorizeResult"), Cancel], from: Some(HELD), event: &[Run("DeleteReg")], to: with(S::Delete, HELD), alert: Some("hold_needs_data"), also: nothing },
    Row { no: 13, before: &[Run("OrderReg"), Run("OrderResult"), Run("AuthorizeResult"), Run("BillingReg"), Run("BillingResult"), Cancel], from: Some(BILLED), event: &[Run("DeleteReg")], to: with(S::Delete, BILLED), alert: None, also: nothing },
    Row { no: 13, before: &[Run("OrderReg"), Run("OrderResult"), Run("AuthorizeResult"), Agency(Rejects), Run("BillingReg"), Run("BillingResult"), Agency(Well), Cancel], from: Some(UNBILLABLE), event: &[Run("DeleteReg")], to: with(S::Delete, UNBILLABLE), alert: Some("billing_refused"), also: nothing },
    Row { no: 14, before: TO_CANCELLING, from: Some(with(S::Delete, OPEN)), event: &[Run("DeleteResult")], to: with(S::Cancel, OPEN), alert: None,
          also: |pair, _| closed(pair, CloseReason::Customer) },
    Row { no: 14, before: &[Run("OrderReg"), Run("OrderResult"), Run("AuthorizeResult"), Run("BillingReg"), Run("BillingResult"), Cancel, Run("DeleteReg")], from: Some(with(S::Delete, BILLED)), event: &[Run("DeleteResult")], to: with(S::Cancel, BILLED), alert: None, also: nothing },
    Row { no: 15, before: &[Run("OrderReg"), Run("OrderResult"), Run("AuthorizeResult"), Run("BillingReg"), Run("BillingResult"), Pay, Cancel, Run("DeleteReg")], from: Some(with(S::Delete, BILLED)), event: &[Run("DeleteResult")], to: BILLED, alert: Some("cancel_refused"),
          also: |pair, _| pair.info.as_ref().is_some_and(|info| info.delete_rejected) },
    Row { no: 15, before: &[Run("OrderReg"), Run("OrderResult"), Cancel, Agency(Away), Run("DeleteReg"), Agency(Refuses), Minutes(5)], from: Some(with(S::Delete, OPEN)), event: &[Run("DeleteReg")], to: OPEN, alert: Some("cancel_refused"), also: nothing },
    Row { no: 16, before: &[Run("OrderReg"), Run("OrderResult"), Run("AuthorizeResult"), Agency(Away), Run("BillingReg"), Agency(Well), Cancel, Minutes(5)], from: Some(BILLING), event: &[Run("BillingReg")], to: APPROVED, alert: None,
          also: |_, requests| state_of(requests, "BILLING_REG:0") == Some(RequestState::Skipped) },
    Row { no: 17, before: TO_REG_REFUSED, from: Some(REFUSED), event: &[Act::Order(OrderAction::RetryRegistration)], to: FIRST, alert: None,
          also: |_, requests| state_of(requests, "ORDER_REG:1") == Some(RequestState::Standby) },
    Row { no: 18, before: TO_UNBILLABLE, from: Some(UNBILLABLE), event: &[Act::Order(OrderAction::RetryBilling)], to: APPROVED, alert: None, also: nothing },
    Row { no: 19, before: &[Run("OrderReg"), Run("OrderResult"), Run("AuthorizeResult"), Agency(Mute), Run("BillingReg"), Minutes(25 * 60), Run("BillingReg")], from: Some(UNBILLABLE),
          event: &[Act::Request("BILLING_REG:0", RequestAction::RetryLookup)], to: BILLING, alert: None,
          also: |_, requests| state_of(requests, "BILLING_REG:0") == Some(RequestState::Unknown) },
    Row { no: 20, before: &[Run("OrderReg"), Run("OrderResult"), Run("AuthorizeResult"), Run("BillingReg"), Run("BillingResult"), Pay, Cancel, Run("DeleteReg"), Run("DeleteResult")], from: Some(BILLED),
          event: &[Act::Order(OrderAction::CloseCancel)], to: with(S::Cancel, BILLED), alert: None,
          also: |pair, _| closed(pair, CloseReason::SettledOutside) },
    Row { no: 20, before: &[Agency(Holds), Run("OrderReg"), Run("OrderResult"), Run("AuthorizeResult"), Cancel, Agency(Away), Run("DeleteReg"), Agency(Refuses), Minutes(5), Run("DeleteReg")], from: Some(HELD),
          event: &[Act::Order(OrderAction::CloseCancel)], to: with(S::Cancel, HELD), alert: None,
          also: |pair, requests| closed(pair, CloseReason::SettledOutside) && state_of(requests, "AUTHORIZE_RESULT:0") != Some(RequestState::Standby) },
];

async fn new_world(store: Store) -> World {
    World::new(store, 7, Manners::healthy(), WorkerSettings::default()).await
}

/// Every row leads from where it says to where it says, with the order's columns, the requests and the alert that belong to it; and
/// none is left out.
#[tokio::test]
async fn each_row_of_the_state_machine() {
    for test in common::stores().await {
        let world = new_world(test.store.clone()).await;
        for (count, row) in ROWS.iter().enumerate() {
            let what = format!("{}: row {} (case {count})", test.name(), row.no);
            let walk = Walk::begin(&world, &format!("W{count:02}")).await;
            for act in row.before {
                walk.act(*act).await;
            }
            assert_eq!(walk.quad().await, row.from, "{what}: before");
            for act in row.event {
                walk.act(*act).await;
            }
            let (pair, requests, alerts) = walk.look().await;
            assert_eq!(
                pair.info.as_ref().map(quad),
                Some(row.to),
                "{what}: {requests:#?}"
            );
            let told: Vec<&str> = alerts.iter().map(String::as_str).collect();
            assert_eq!(told, Vec::from_iter(row.alert), "{what}");
            assert!(
                (row.also)(&pair, &requests),
                "{what}: {pair:?} {requests:#?}"
            );
            // The rows walk each on its own order; what a row leaves open must not be taken up by the next.
            sqlx::query("UPDATE frex_request SET next_attempt_at = 9000000000000 WHERE state IN ('STANDBY', 'UNKNOWN')")
                .execute(test.store.pool())
                .await
                .expect("put aside");
            sqlx::query("UPDATE frex_state_info SET result_state = 'CANCEL'")
                .execute(test.store.pool())
                .await
                .expect("put aside");
        }
        let walked: BTreeSet<u8> = ROWS.iter().map(|row| row.no).collect();
        let all: BTreeSet<u8> = TRANSITIONS.iter().map(|row| row.no).chain([1, 2]).collect();
        assert_eq!(walked, all);
    }
}

/// A column of section 8: how an order comes there, and what becomes of the three wishes of the shop: the code of the refusal, or
/// the stage in which the order comes to rest.
struct Column {
    name: &'static str,
    before: &'static [Act],
    amount: &'static str,
    cancel: &'static str,
    buyer: &'static str,
}

#[rustfmt::skip]
const COLUMNS: &[Column] = &[
    Column { name: "not begun", before: &[], amount: "billed", cancel: "cancelled", buyer: "billed" },
    Column { name: "nothing sent", before: &[Agency(Away), Act::Run("regist only")], amount: "billed", cancel: "cancelled", buyer: "billed" },
    Column { name: "ORDER in flight", before: &[Run("OrderReg")], amount: "billed", cancel: "cancelled", buyer: "buyer_sent" },
    Column { name: "ORDER unclear", before: &[Agency(Mute), Run("OrderReg"), Agency(Well)], amount: "billed", cancel: "cancelled", buyer: "buyer_sent" },
    Column { name: "registration refused", before: TO_REG_REFUSED, amount: "attention", cancel: "cancelled", buyer: "attention" },
    Column { name: "registered", before: TO_OPEN, amount: "billed", cancel: "cancelled", buyer: "buyer_sent" },
    Column { name: "held", before: TO_HELD, amount: "billed", cancel: "cancelled", buyer: "buyer_sent" },
    Column { name: "approved", before: TO_APPROVED, amount: "billed", cancel: "cancelled", buyer: "buyer_sent" },
    Column { name: "UPDATE in flight", before: TO_CHANGING, amount: "billed", cancel: "cancelled", buyer: "buyer_sent" },
    Column { name: "BILLING in flight", before: TO_BILLING, amount: "billing_started", cancel: "cancelled", buyer: "buyer_sent" },
    Column { name: "billed", before: TO_BILLED, amount: "billing_started", cancel: "cancelled", buyer: "buyer_sent" },
    Column { name: "billed and paid", before: &[
        Run("OrderReg"), Run("OrderResult"), Run("AuthorizeResult"), Run("BillingReg"), Run("BillingResult"), Pay,
    ], amount: "billing_started", cancel: "attention", buyer: "buyer_sent" },
    Column { name: "billing refused", before: TO_UNBILLABLE, amount: "billing_started", cancel: "cancelled", buyer: "buyer_sent" },
    Column { name: "cancelling", before: TO_CANCELLING, amount: "closed", cancel: "cancelled", buyer: "closed" },
    Column { name: "cancelled", before: &[
        Run("OrderReg"), Run("OrderResult"), Cancel, Run("DeleteReg"), Run("DeleteResult"),
    ], amount: "closed", cancel: "cancelled", buyer: "closed" },
    Column { name: "refused by screening", before: &[
        Agency(Ng), Run("OrderReg"), Run("OrderResult"), Run("AuthorizeResult"), Agency(Well),
    ], amount: "closed", cancel: "refused", buyer: "closed" },
];

#[derive(Clone, Copy, Debug)]
enum Wish {
    Amount,
    Cancel,
    Buyer,
}

const WISHES: [Wish; 3] = [Wish::Amount, Wish::Cancel, Wish::Buyer];

impl Column {
    fn end(&self, wish: Wish) -> &'static str {
        match wish {
            Wish::Amount => self.amount,
            Wish::Cancel => self.cancel,
            Wish::Buyer => self.buyer,
        }
    }
}

/// Whether the end of a wish is a stage, not the code of a refusal.
fn granted(end: &str) -> bool {
    ["billed", "cancelled", "refused", "attention"].contains(&end)
}

/// The wish, and the code of its refusal if it is refused.
async fn wish(walk: &Walk<'_>, wish: Wish) -> Option<&'static str> {
    let (shop, no) = (&walk.world.shop, walk.order_no.as_str());
    let version = walk.look().await.0.order.version;
    let done = match wish {
        Wish::Amount => shop
            .change_amount(no, version, AMOUNT_NEW, &goods(AMOUNT_NEW))
            .await
            .map(drop),
        Wish::Cancel => shop.cancel(no).await.map(drop),
        Wish::Buyer => {
            let mut user = user();
            user.buyer.department = "Accounts".into();
            shop.change_buyer(no, version, &user).await.map(drop)
        }
    };
    done.err().map(|error| error.code())
}

/// Every wish in every situation is granted or refused as section 8 says; a refusal changes nothing, and what was granted comes to
/// its end, at the agency too.
#[tokio::test]
async fn each_cell_of_the_conflict_table() {
    for test in common::stores().await {
        let world = new_world(test.store.clone()).await;
        for (count, column) in COLUMNS.iter().enumerate() {
            let mut walks = Vec::new();
            for kind in WISHES {
                walks.push((
                    kind,
                    Walk::begin(&world, &format!("C{count:02}{kind:?}")).await,
                ));
            }
            for act in column.before {
                match act {
                    Act::Run("regist only") => nothing_sent(&world).await,
                    // What the worker and the agency do is done once for all three.
                    Act::Run(_) | Act::Agency(_) | Act::Minutes(_) => walks[0].1.act(*act).await,
                    act => {
                        for (_, walk) in &walks {
                            walk.act(*act).await;
                        }
                    }
                }
            }
            for (kind, walk) in &walks {
                let what = format!("{}: {kind:?} when {}", test.name(), column.name);
                let before = walk.look().await;
                let refused = wish(walk, *kind).await;
                if !granted(column.end(*kind)) {
                    assert_eq!(refused, Some(column.end(*kind)), "{what}");
                    let after = walk.look().await;
                    assert_eq!(
                        (before.0.order, before.0.info),
                        (after.0.order, after.0.info),
                        "{what}"
                    );
                } else {
                    assert_eq!(refused, None, "{what}");
                }
            }
            world.agency.behave(manners(Mood::Well));
            world.settle(31, 60).await;
            for (kind, walk) in &walks {
                let what = format!("{}: {kind:?} when {}", test.name(), column.name);
                let (pair, ..) = walk.look().await;
                if granted(column.end(*kind)) {
                    assert_eq!(
                        commerce::frex::view::stage(&pair),
                        column.end(*kind),
                        "{what}: {pair:?}"
                    );
                }
                if granted(column.end(*kind)) && matches!(kind, Wish::Amount) {
                    assert_eq!(pair.order.amount, AMOUNT_NEW, "{what}");
                }
            }
        }
        let picture = world.picture().await;
        assert_eq!(picture.violation(), None, "{}", test.name());
        assert_eq!(picture.stuck(), Vec::<String>::new(), "{}", test.name());
    }
}

/// The intent is written and nothing more: the worker stops between the two.
async fn nothing_sent(world: &World) {
    let points = Points::watched();
    points.arm("frex.OrderReg.registered", 1);
    let worker = world.worker(points.clone());
    let step = ["OrderReg".to_owned()];
    tokio::select! {
        biased;
        done = worker.run_now("test", &step) => panic!("it was to stop: {done:?}"),
        () = points.hit() => {}
    }
    world.clock.advance(16 * MINUTE_MS);
    let sql = "SELECT COUNT(*) FROM frex_request WHERE state = 'STANDBY' AND payload_digest = ''";
    let unsent: i64 = sqlx::query_scalar(sql)
        .fetch_one(world.shop.store.pool())
        .await
        .expect("a count");
    assert_eq!(unsent, 3);
}
