//! What people decide, and what is left to them: bills that two must speak of, answers about requests that were followed by others,
//! alerts of one request among several, requests on which our own code fails.

mod common;
mod frex_support;

use commerce::frex::agency::settings::Protocol;
use commerce::frex::decide::{DecideError, Decided, Decider, OrderAction, RequestAction};
use commerce::frex::model::{RegState, RequestState, StrState};
use commerce::frex::settings::WorkerSettings;
use commerce::frex::view;
use commerce::points::Points;
use commerce::store::Store;
use frex_support::agency::{Manners, Repeat};
use frex_support::{MINUTE_MS, World, goods, user};

const AMOUNT: i64 = 1_000;
const BILL: &str = "F1:BILLING_REG:0";
const OUTCOME: &str = "F1:BILLING_RESULT:0";

/// A world with an order that is approved and not billed.
async fn approved(store: Store) -> World {
    let world = World::new(store, 5, Manners::healthy(), WorkerSettings::default()).await;
    world.place("F1", AMOUNT).await;
    run(&world, &["OrderReg", "OrderResult", "AuthorizeResult"]).await;
    world
}

/// One run for each of the steps.
async fn run(world: &World, steps: &[&str]) {
    for step in steps {
        let worker = world.worker(Points::none());
        let report = worker.run_now("test", &[(*step).to_owned()]).await;
        assert!(report.as_ref().is_ok_and(|it| it.whole()), "{report:?}");
    }
}

async fn decide(
    world: &World,
    key: &str,
    action: RequestAction,
    operator: &str,
) -> Result<Decided, &'static str> {
    let by = Decider {
        operator,
        note: "test",
    };
    match world.shop.resolve_request(key, action, None, by).await {
        Ok(decided) => Ok(decided),
        Err(DecideError::NotFitting { why, .. }) => Err(why),
        Err(error) => panic!("{key}: {error}"),
    }
}

async fn bill_again(world: &World) -> bool {
    let by = Decider {
        operator: "one",
        note: "test",
    };
    let again = world
        .shop
        .resolve_order("F1", OrderAction::RetryBilling, by);
    match again.await {
        Ok(_) => true,
        Err(DecideError::NotFitting { .. }) => false,
        Err(error) => panic!("{error}"),
    }
}

async fn decide_order(world: &World, action: OrderAction) -> Result<Decided, &'static str> {
    let by = Decider {
        operator: "one",
        note: "test",
    };
    match world.shop.resolve_order("F1", action, by).await {
        Ok(decided) => Ok(decided),
        Err(DecideError::NotFitting { why, .. }) => Err(why),
        Err(error) => panic!("{action}: {error}"),
    }
}

async fn state(world: &World, key: &str) -> Option<RequestState> {
    let picture = world.picture().await;
    let mut rows = picture.requests.values().flatten();
    rows.find(|row| row.key.to_string() == key)
        .map(|row| row.state)
}

async fn told(world: &World, kind: &str) -> bool {
    let alerts = world.picture().await.alerts;
    alerts.iter().any(|alert| alert.1 == kind)
}

async fn stage(world: &World) -> &'static str {
    view::stage(&world.picture().await.pairs["F1"])
}

async fn execute(world: &World, sql: &'static str) {
    let done = sqlx::query(sql).execute(world.shop.store.pool()).await;
    assert!(done.expect(sql).rows_affected() > 0, "{sql}");
}

/// A bill of which nobody knows whether it was made is taken as not made only when two operators say so, and not while it may be on its
/// way; before that nobody bills again.
#[tokio::test]
async fn an_unclear_bill_is_closed_by_two() {
    for test in common::stores().await {
        let world = approved(test.store.clone()).await;
        world.agency.behave(Manners {
            lost_answer: 100,
            lookup: false,
            ..Manners::healthy()
        });
        run(&world, &["BillingReg"]).await;
        assert_eq!(state(&world, BILL).await, Some(RequestState::Unknown));
        for action in [RequestAction::Close, RequestAction::ConfirmNotReceived] {
            let early = decide(&world, BILL, action, "one").await;
            assert!(early.is_err_and(|why| why.contains("quiet time")));
        }
        world.clock.advance(11 * MINUTE_MS);
        for _ in 0..2 {
            let one = decide(&world, BILL, RequestAction::Close, "one").await;
            assert_eq!(one, Ok(Decided::NeedsSecond), "{}", test.name());
            assert_eq!(state(&world, BILL).await, Some(RequestState::Unknown));
            assert!(!bill_again(&world).await, "{}", test.name());
        }
        let two = decide(&world, BILL, RequestAction::Close, "two").await;
        assert_eq!(two, Ok(Decided::Done));
        assert!(bill_again(&world).await, "{}: two said so", test.name());
    }
}

/// The same of an accepted bill whose outcome is not there; what the agency refused itself needs one operator.
#[tokio::test]
async fn an_accepted_bill_is_closed_by_two() {
    let test = common::sqlite().await;
    let world = approved(test.store.clone()).await;
    world.agency.behave(Manners {
        polls_max: 1_000,
        ..Manners::healthy()
    });
    run(&world, &["BillingReg"]).await;
    world.agency.behave(Manners {
        lost_answer: 100,
        ..Manners::healthy()
    });
    world.clock.advance(MINUTE_MS);
    run(&world, &["BillingResult"]).await;
    let one = decide(&world, OUTCOME, RequestAction::Close, "one").await;
    assert_eq!(one, Ok(Decided::NeedsSecond));
    assert!(!bill_again(&world).await);
    let two = decide(&world, OUTCOME, RequestAction::Close, "two").await;
    assert_eq!(two, Ok(Decided::Done));
    assert_eq!(state(&world, BILL).await, Some(RequestState::Error));

    let test = common::sqlite().await;
    let world = approved(test.store.clone()).await;
    world.agency.behave(Manners {
        refused: 100,
        ..Manners::healthy()
    });
    run(&world, &["BillingReg"]).await;
    let one = decide(&world, BILL, RequestAction::Close, "one").await;
    assert_eq!(one, Ok(Decided::Done), "the agency said so itself");
}

/// What one operator said before a request was sent again was said about another sending: the second one's word is the first again.
#[tokio::test]
async fn a_word_about_an_earlier_sending_lapses() {
    for test in common::stores().await {
        let world = approved(test.store.clone()).await;
        let mute = Manners {
            lost_answer: 100,
            ..Manners::healthy()
        };
        let deaf = Manners {
            lost_request: 100,
            ..Manners::healthy()
        };
        world.agency.behave(deaf.clone());
        run(&world, &["BillingReg"]).await;
        world.clock.advance(11 * MINUTE_MS);
        let action = RequestAction::ConfirmNotReceived;
        let one = decide(&world, BILL, action, "one").await;
        assert_eq!(one, Ok(Decided::NeedsSecond));
        // Twice not found: it is sent again, and the answer is lost.
        for _ in 0..3 {
            run(&world, &["BillingReg"]).await;
            world.clock.advance(6 * MINUTE_MS);
        }
        world.agency.behave(mute);
        run(&world, &["BillingReg"]).await;
        assert_eq!(state(&world, BILL).await, Some(RequestState::Unknown));
        world.clock.advance(11 * MINUTE_MS);
        let two = decide(&world, BILL, action, "two").await;
        assert_eq!(two, Ok(Decided::NeedsSecond), "{}", test.name());
        assert_eq!(state(&world, BILL).await, Some(RequestState::Unknown));
        let one = decide(&world, BILL, action, "one").await;
        assert_eq!(one, Ok(Decided::Done), "{}", test.name());
    }
}

/// An answer about a bill that was refused and followed by another is not taken for the other's: nobody may ask again, and if it is
/// asked all the same, nothing of the second bill is touched.
#[tokio::test]
async fn an_old_outcome_touches_no_later_request() {
    for test in common::stores().await {
        let world = approved(test.store.clone()).await;
        world.agency.behave(Manners {
            rejected: 100,
            ..Manners::healthy()
        });
        run(&world, &["BillingReg", "BillingResult"]).await;
        assert_eq!(state(&world, OUTCOME).await, Some(RequestState::Error));
        world.agency.behave(Manners::healthy());
        assert!(bill_again(&world).await);
        run(&world, &["BillingReg"]).await;
        let asked = decide(&world, OUTCOME, RequestAction::RetryLookup, "one").await;
        assert!(asked.is_err_and(|why| why.contains("later request")));
        let again = "UPDATE frex_request SET state = 'STANDBY', next_attempt_at = 0 WHERE request_key = 'F1:BILLING_RESULT:0'";
        execute(&world, again).await;
        execute(&world, "UPDATE frex_state_info SET outcome_open = 1").await;
        run(&world, &["BillingResult"]).await;
        assert_eq!(state(&world, OUTCOME).await, Some(RequestState::Skipped));
        let second = state(&world, "F1:BILLING_REG:1").await;
        assert_eq!(second, Some(RequestState::Complete), "{}", test.name());
        world.settle(6, 20).await;
        let picture = world.picture().await;
        assert_eq!(picture.violation(), None, "{}", test.name());
        assert_eq!(stage(&world).await, "billed", "{}", test.name());
        assert_eq!(picture.ledger[0].bills, [AMOUNT]);
    }
}

/// That a change ended unclear stays told while other requests of the order end well.
#[tokio::test]
async fn an_alert_ends_with_its_own_request() {
    for test in common::stores().await {
        let settings = WorkerSettings::default();
        let world = World::new(test.store.clone(), 5, Manners::healthy(), settings).await;
        world.place("F1", AMOUNT).await;
        run(&world, &["OrderReg", "OrderResult"]).await;
        let changed = world
            .shop
            .change_amount("F1", 1, 1_700, &goods(1_700))
            .await;
        changed.expect("it is allowed");
        world.agency.behave(Manners {
            lost_answer: 100,
            ..Manners::healthy()
        });
        run(&world, &["UpdateReg"]).await;
        world.clock.advance(25 * 60 * MINUTE_MS);
        run(&world, &["UpdateReg"]).await;
        let key = "F1:UPDATE_REG:0";
        assert_eq!(state(&world, key).await, Some(RequestState::Error));
        assert!(told(&world, "request_unknown").await);
        world.agency.behave(Manners::healthy());
        run(&world, &["AuthorizeResult"]).await;
        let screened = state(&world, "F1:AUTHORIZE_RESULT:0").await;
        assert_eq!(screened, Some(RequestState::Complete));
        assert!(told(&world, "request_unknown").await, "{}", test.name());
        // It is looked for once more, and found: now it is over.
        let asked = decide(&world, key, RequestAction::RetryLookup, "one").await;
        assert_eq!(asked, Ok(Decided::Done));
        world.settle(6, 20).await;
        assert_eq!(stage(&world).await, "billed", "{}", test.name());
        assert!(!told(&world, "request_unknown").await, "{}", test.name());
    }
}

/// An agency without a look-up may also refuse each question: a change and a cancel are repeated all the same, a bill is left to people.
#[tokio::test]
async fn a_refused_look_up_is_none() {
    for (step, way) in [("UpdateReg", "billed"), ("DeleteReg", "cancelled")] {
        for test in common::stores().await {
            let order = "F1".to_owned();
            let settings = WorkerSettings::default();
            let world = World::new(test.store.clone(), 5, Manners::healthy(), settings).await;
            world.place(&order, AMOUNT).await;
            run(&world, &["OrderReg", "OrderResult"]).await;
            if way == "cancelled" {
                world.shop.cancel(&order).await.expect("a cancel");
            } else {
                let changed = world
                    .shop
                    .change_amount(&order, 1, 1_700, &goods(1_700))
                    .await;
                changed.expect("it is allowed");
            }
            world.agency.behave(Manners {
                lost_request: 100,
                ..Manners::healthy()
            });
            run(&world, &[step]).await;
            world.agency.behave(Manners {
                lookup_refused: true,
                ..Manners::healthy()
            });
            world.settle(6, 40).await;
            let picture = world.picture().await;
            assert_eq!(picture.violation(), None, "{}", test.name());
            let pair = &picture.pairs[&order];
            assert_eq!(view::stage(pair), way, "{} {step}", test.name());
        }
    }
    for test in common::stores().await {
        let world = approved(test.store.clone()).await;
        world.agency.behave(Manners {
            lost_request: 100,
            lookup_refused: true,
            ..Manners::healthy()
        });
        run(&world, &["BillingReg"]).await;
        for _ in 0..4 {
            world.clock.advance(11 * MINUTE_MS);
            run(&world, &["BillingReg"]).await;
        }
        assert_eq!(state(&world, BILL).await, Some(RequestState::Unknown));
        assert!(told(&world, "request_unknown").await, "{}", test.name());
    }
}

/// A bill that was made after all, although two operators closed it: the next one hears "already billed" with the number and the key of the
/// first, and its outcome is asked for under that key.
#[tokio::test]
async fn an_earlier_acceptance_is_asked_for_under_its_key() {
    for test in common::stores().await {
        let world = approved(test.store.clone()).await;
        world.agency.behave(Manners {
            lost_answer: 100,
            lookup: false,
            ..Manners::healthy()
        });
        run(&world, &["BillingReg"]).await;
        world.clock.advance(11 * MINUTE_MS);
        for operator in ["one", "two"] {
            let closed = decide(&world, BILL, RequestAction::Close, operator).await;
            assert!(closed.is_ok());
        }
        world.agency.behave(Manners {
            repeat: Repeat::AlreadyBilled,
            names_earlier: true,
            ..Manners::healthy()
        });
        assert!(bill_again(&world).await);
        run(&world, &["BillingReg", "BillingResult"]).await;
        let picture = world.picture().await;
        assert_eq!(stage(&world).await, "billed", "{:#?}", picture.requests);
        assert_eq!(picture.ledger[0].bills, [AMOUNT]);
        assert_eq!(picture.violation(), None, "{}", test.name());
    }
}

/// A registration on which our code fails again and again is given up and lets go of the order: people are told, mend it, and it is
/// registered.
#[tokio::test]
async fn a_poisonous_registration_lets_go() {
    for test in common::stores().await {
        let world = World::new(
            test.store.clone(),
            5,
            Manners {
                not_sent: 100,
                ..Manners::healthy()
            },
            WorkerSettings::default(),
        )
        .await;
        world.place("F1", AMOUNT).await;
        run(&world, &["OrderReg"]).await;
        execute(&world, "UPDATE frex_user_info SET sealed = 'broken'").await;
        for _ in 0..8 {
            world.clock.advance(60 * MINUTE_MS);
            run(&world, &["OrderReg"]).await;
        }
        let picture = world.picture().await;
        let pair = &picture.pairs["F1"];
        let info = pair.info.as_ref().expect("a state");
        assert_eq!(info.reg, RegState::Error, "{:#?}", picture.requests);
        assert_eq!(view::stage(pair), "attention");
        assert!(told(&world, "step_failed").await, "{}", test.name());
        world.agency.behave(Manners::healthy());
        let version = pair.order.version;
        let mended = world.shop.change_buyer("F1", version, &user()).await;
        mended.expect("nothing was sent");
        let by = Decider {
            operator: "one",
            note: "test",
        };
        let action = OrderAction::RetryRegistration;
        let again = world.shop.resolve_order("F1", action, by).await;
        again.expect("it fits");
        world.settle(6, 20).await;
        assert_eq!(stage(&world).await, "billed", "{}", test.name());
        assert_eq!(world.picture().await.alerts, [], "{}", test.name());
    }
}

/// A question about screening on which our code fails is given up once, not in one round after the other; an operator lets it be asked
/// again.
#[tokio::test]
async fn a_poisonous_screening_is_one_round() {
    for test in common::stores().await {
        let settings = WorkerSettings::default();
        let world = World::new(test.store.clone(), 5, Manners::healthy(), settings).await;
        world.place("F1", AMOUNT).await;
        run(&world, &["OrderReg", "OrderResult"]).await;
        let np: String = sqlx::query_scalar("SELECT np_transaction_id FROM frex_state_info")
            .fetch_one(test.store.pool())
            .await
            .expect("a number");
        execute(&world, "UPDATE frex_state_info SET np_transaction_id = 'x'").await;
        for _ in 0..12 {
            world.clock.advance(MINUTE_MS);
            run(&world, &["AuthorizeResult"]).await;
        }
        let picture = world.picture().await;
        let rounds = picture.requests["F1"].len() - 2;
        assert_eq!(rounds, 1, "{}: {:#?}", test.name(), picture.requests);
        assert_eq!(picture.wrong_copies, Vec::<String>::new());
        assert!(told(&world, "step_failed").await);
        sqlx::query("UPDATE frex_state_info SET np_transaction_id = $1")
            .bind(np)
            .execute(test.store.pool())
            .await
            .expect("mended");
        let key = "F1:AUTHORIZE_RESULT:0";
        let again = decide(&world, key, RequestAction::RetryLookup, "one").await;
        assert_eq!(again, Ok(Decided::Done));
        world.settle(6, 20).await;
        assert_eq!(stage(&world).await, "billed", "{}", test.name());
        assert_eq!(world.picture().await.alerts, [], "{}", test.name());
    }
}

/// An amount of zero is a cancel: it is allowed whenever a cancel is, while a bill is on its way too; another amount is not.
#[tokio::test]
async fn zero_is_a_cancel() {
    for test in common::stores().await {
        let world = approved(test.store.clone()).await;
        run(&world, &["BillingReg"]).await;
        let other = world
            .shop
            .change_amount("F1", 2, 1_700, &goods(1_700))
            .await;
        assert_eq!(other.expect_err("too late").code(), "billing_started");
        let zero = world.shop.change_amount("F1", 2, 0, &goods(0)).await;
        zero.expect("a cancel is never refused");
        let pair = &world.picture().await.pairs["F1"];
        assert_eq!(pair.order.state, StrState::Del);
        let version = pair.order.version;
        let again = world.shop.change_amount("F1", version, 0, &goods(0)).await;
        assert_eq!(again.expect_err("it is closed").code(), "closed");
        world.settle(6, 20).await;
        assert_eq!(stage(&world).await, "cancelled", "{}", test.name());
    }
}

/// A bill of another amount than the order's is told, and ends in one of two ways: the order takes the agency's amount, or the agency
/// has corrected its bill.
#[tokio::test]
async fn a_bill_of_another_amount_is_settled() {
    let ways = [
        (OrderAction::AcceptAgencyAmount, AMOUNT + 7),
        (OrderAction::AgencyCorrected, AMOUNT),
    ];
    for (action, settled) in ways {
        for test in common::stores().await {
            let world = approved(test.store.clone()).await;
            world.agency.behave(Manners {
                amount_off: 7,
                ..Manners::healthy()
            });
            run(&world, &["BillingReg", "BillingResult"]).await;
            assert!(told(&world, "billed_amount_mismatch").await);
            let before = world.picture().await.pairs["F1"].clone();
            let info = before.info.expect("a state");
            assert_eq!(
                (before.order.amount, info.billed_amount),
                (AMOUNT, AMOUNT + 7)
            );
            let decided = decide_order(&world, action).await;
            assert_eq!(decided, Ok(Decided::Done), "{} {action}", test.name());
            assert_eq!(world.picture().await.alerts, [], "{} {action}", test.name());
            let after = world.picture().await.pairs["F1"].clone();
            let info = after.info.expect("a state");
            assert_eq!((after.order.amount, info.billed_amount), (settled, settled));
            assert!(decide_order(&world, action).await.is_err(), "it is settled");
        }
    }
}

/// A registration that the agency confirms with another amount is followed by a change to ours; when that is confirmed, nobody is asked
/// any more.
#[tokio::test]
async fn another_amount_is_changed_back() {
    for test in common::stores().await {
        let settings = WorkerSettings::default();
        let world = World::new(test.store.clone(), 5, Manners::healthy(), settings).await;
        world.place("F1", AMOUNT).await;
        run(&world, &["OrderReg"]).await;
        world.agency.behave(Manners {
            amount_off: 7,
            ..Manners::healthy()
        });
        run(&world, &["OrderResult"]).await;
        assert!(told(&world, "amount_mismatch").await, "{}", test.name());
        world.agency.behave(Manners::healthy());
        run(&world, &["UpdateReg", "UpdateResult"]).await;
        assert_eq!(world.picture().await.alerts, [], "{}", test.name());
        world.settle(6, 20).await;
        assert_eq!(stage(&world).await, "billed", "{}", test.name());
    }
}

/// Where the agency cannot be asked what screening says, a held order goes on by its word: two operators approve, one refuses. Where it
/// can be asked, it is.
#[tokio::test]
async fn screening_is_decided_where_it_is_not_told() {
    for (action, way) in [
        (RequestAction::ConfirmApproved, "billed"),
        (RequestAction::ConfirmRefused, "refused"),
    ] {
        for test in common::stores().await {
            let settings = WorkerSettings::default();
            let mut world = World::new(test.store.clone(), 5, Manners::healthy(), settings).await;
            world.agency.behave(Manners {
                held: 100,
                ..Manners::healthy()
            });
            world.place("F1", AMOUNT).await;
            run(&world, &["OrderReg", "OrderResult", "AuthorizeResult"]).await;
            assert!(told(&world, "hold_needs_data").await, "{}", test.name());
            let key = "F1:AUTHORIZE_RESULT:0";
            let asked = decide(&world, key, action, "one").await;
            assert!(asked.is_err_and(|why| why.contains("interface tells")));
            world.shop.protocol = Protocol::NpKakebarai;
            if action == RequestAction::ConfirmApproved {
                let one = decide(&world, key, action, "one").await;
                assert_eq!(one, Ok(Decided::NeedsSecond), "{}", test.name());
                assert_eq!(stage(&world).await, "held");
            }
            let two = decide(&world, key, action, "two").await;
            assert_eq!(two, Ok(Decided::Done), "{}", test.name());
            assert!(decide(&world, key, action, "two").await.is_err());
            assert!(!told(&world, "hold_needs_data").await);
            world.settle(6, 20).await;
            let picture = world.picture().await;
            assert_eq!(stage(&world).await, way, "{}", test.name());
            assert_eq!(picture.violation(), None, "{}", test.name());
        }
    }
}

/// A merchant with an address is told of each order once that it is approved and billed, refused, or cancelled; one without is not.
#[tokio::test]
async fn the_merchant_is_told() {
    for told in [Some("shop".to_owned()), None] {
        for test in common::stores().await {
            let settings = WorkerSettings {
                told_merchant: told.clone(),
                ..WorkerSettings::default()
            };
            let world = World::new(test.store.clone(), 5, Manners::healthy(), settings).await;
            world.place("F1", AMOUNT).await;
            world.settle(6, 20).await;
            world.place("F2", AMOUNT).await;
            run(&world, &["OrderReg", "OrderResult"]).await;
            world.shop.cancel("F2").await.expect("a cancel");
            world.settle(6, 20).await;
            world.agency.behave(Manners {
                ng: 100,
                ..Manners::healthy()
            });
            world.place("F3", AMOUNT).await;
            world.settle(6, 20).await;
            let sql = "SELECT merchant_id, order_id, event FROM outbox ORDER BY id";
            let events: Vec<(String, String, String)> = sqlx::query_as(sql)
                .fetch_all(test.store.pool())
                .await
                .expect("events");
            let wanted = [
                ("F1", "frex.approved"),
                ("F1", "frex.billed"),
                ("F2", "frex.cancelled"),
                ("F3", "frex.refused"),
            ];
            let wanted = wanted.map(|(no, event)| ("shop".into(), no.into(), event.into()));
            let wanted = if told.is_some() { &wanted[..] } else { &[] };
            assert_eq!(events, wanted, "{}", test.name());
        }
    }
}

/// A refused bill that is looked for once more is asked about again when it is found: the order is not left with a lock that nobody
/// opens.
#[tokio::test]
async fn a_reopened_bill_is_asked_about() {
    for test in common::stores().await {
        let world = approved(test.store.clone()).await;
        world.agency.behave(Manners {
            rejected: 100,
            ..Manners::healthy()
        });
        run(&world, &["BillingReg", "BillingResult"]).await;
        assert!(told(&world, "billing_refused").await);
        let asked = decide(&world, BILL, RequestAction::RetryLookup, "one").await;
        assert_eq!(asked, Ok(Decided::Done));
        assert!(!told(&world, "billing_refused").await, "{}", test.name());
        run(&world, &["BillingReg"]).await;
        assert_eq!(state(&world, BILL).await, Some(RequestState::Complete));
        assert_eq!(state(&world, OUTCOME).await, Some(RequestState::Standby));
        assert_eq!(stage(&world).await, "billing", "{}", test.name());
        world.clock.advance(MINUTE_MS);
        run(&world, &["BillingResult"]).await;
        assert_eq!(state(&world, OUTCOME).await, Some(RequestState::Error));
        assert_eq!(stage(&world).await, "attention", "{}", test.name());
        assert!(told(&world, "billing_refused").await);
        let picture = world.picture().await;
        assert_eq!(picture.wrong_copies, Vec::<String>::new());
        assert_eq!(picture.violation(), None, "{}", test.name());
    }
}
