//! The adapter to the public interface against the simulator's second face, answers kept in SQLite.

use std::sync::Arc;

use commerce::frex::agency::kakebarai::{StoreShelf, accept_no};
use commerce::frex::agency::settings::{AgencySettings, Protocol};
use commerce::frex::agency::{self, Agency, CallError, Lookup, NoObserver, Outcome, ScreeningWord};
use commerce::frex::key::RequestType;
use commerce::store::{Store, StoreSettings};
use loadgen::frex::call::{Call, PUBLIC_CALLS};
use loadgen::frex::faults::{Fault, Kind};
use loadgen::frex::rules::{Repeat, Rules};
use loadgen::frex::server::Centre;

use super::support::{self, AMOUNT, Order, value};

struct Site {
    centre: Centre,
    agency: Arc<dyn Agency>,
    settings: AgencySettings,
    folder: tempfile::TempDir,
}

async fn site(rules: Rules) -> Site {
    let centre = support::centre(rules).await;
    let settings = AgencySettings {
        protocol: Protocol::NpKakebarai,
        ..support::settings(&centre)
    };
    let folder = tempfile::tempdir().unwrap();
    let agency = connect(&settings, folder.path()).await;
    Site {
        centre,
        agency,
        settings,
        folder,
    }
}

async fn connect(settings: &AgencySettings, folder: &std::path::Path) -> Arc<dyn Agency> {
    let url = format!("sqlite:{}", folder.join("commerce.db").display());
    let store = Store::open(&url, &StoreSettings::default()).await.unwrap();
    let shelf = Arc::new(StoreShelf::new(store));
    let passwords = vec!["password".into()];
    agency::connect(settings, passwords, shelf, Arc::new(NoObserver)).unwrap()
}

/// An order through the public interface: acceptance numbers are ours, results and screening come from the shelf, also after
/// a restart; bills are held against the registered amount before they are sent.
#[tokio::test]
async fn an_order_through_the_public_interface() {
    let site = site(Rules::default()).await;
    let order = support::register(&*site.agency, "F-1").await;
    assert_eq!(
        order.accept_no,
        accept_no(&support::key("F-1", RequestType::OrderReg))
    );
    let agency = connect(&site.settings, site.folder.path()).await;
    let screening = value(
        &agency
            .authorizations(&[support::authorization(&order.np)])
            .await,
    );
    assert_eq!(screening.word, ScreeningWord::Approved);
    let mut bill = support::bill("F-1", &order.np);
    bill.billed_amount = AMOUNT + 1;
    let wrong = agency.bill(&[bill.clone()]).await;
    assert_eq!(support::shapes(&wrong), ["refused LOCAL_AMOUNT"]);
    bill.billed_amount = AMOUNT;
    let billed = value(&agency.bill(&[bill.clone()]).await);
    let query = support::result("F-1", RequestType::BillingReg, &billed.accept_no);
    let done = value(&agency.results(&[query]).await);
    assert_eq!(done.billed_amount, Some(AMOUNT));
    assert_eq!(support::shapes(&agency.bill(&[bill]).await), ["already"]);
    let cancel = [support::cancel("F-1", &order.np)];
    value(&agency.cancel(&cancel).await);
    let again = agency.cancel(&cancel).await;
    assert!(matches!(
        &again.outcomes[0],
        Outcome::AlreadyDone {
            accept_no: Some(_),
            ..
        }
    ));
    let ledger = site.centre.ledger();
    assert_eq!(ledger.transactions[0].bills.len(), 1);
    assert!(ledger.transactions[0].cancelled_ms.is_some());
    assert!(ledger.received.iter().all(|it| it.public));
}

/// Screening answers at once: approved, refused with its reason, held; and orders of several buyers go in one batch.
#[tokio::test]
async fn screening_answers_at_once() {
    let site = site(Rules::default()).await;
    let cases = [
        ("F-1", ScreeningWord::Approved, None),
        ("F-R22", ScreeningWord::Refused, Some("22")),
        ("F-HA", ScreeningWord::Held, None),
    ];
    let mut items = cases.clone().map(|case| support::registration(case.0));
    items[1].buyer.np_buyer_id = "00000000002".into();
    let mut without = support::registration("F-2");
    without.buyer.np_buyer_id = String::new();
    let items = [&items[..], &[without]].concat();
    let answer = site.agency.register(&items).await;
    let expected = ["answered", "answered", "answered", "over_limit"];
    assert_eq!(support::shapes(&answer), expected);
    for (at, (no, word, ng)) in cases.into_iter().enumerate() {
        let Outcome::Answered {
            value: accepted, ..
        } = &answer.outcomes[at]
        else {
            panic!("{no}");
        };
        let query = support::result(no, RequestType::OrderReg, &accepted.accept_no);
        let np = value(&site.agency.results(&[query]).await)
            .np_transaction_id
            .unwrap();
        let screening = value(
            &site
                .agency
                .authorizations(&[support::authorization(&np)])
                .await,
        );
        assert_eq!(
            (screening.word, screening.ng.as_deref()),
            (word, ng),
            "{no}"
        );
    }
    let refused = site.agency.register(&[support::registration("F-RR")]).await;
    assert_eq!(support::shapes(&refused), ["refused E_ADDRESS"]);
}

/// What the interface does not have is said to be unavailable, and left to an operator; only a cancel that left no answer is
/// not found, since repeating it is harmless.
#[tokio::test]
async fn what_is_missing_goes_to_the_operator() {
    let site = site(Rules::default()).await;
    let agency = &site.agency;
    let order = support::register(&**agency, "F-1").await;
    let update = agency.update(&[support::update("F-1", &order.np)]).await;
    assert_eq!(support::shapes(&update), ["unavailable"]);
    let ask = async |kind| {
        let answer = agency.lookup(&[support::lookup("F-1", kind, None)]).await;
        match &answer.outcomes[0] {
            Outcome::Answered { value, .. } => Ok(value.clone()),
            Outcome::Failed(error) => Err(error.clone()),
            _ => panic!("{:?}", support::shapes(&answer)),
        }
    };
    let unavailable = CallError::Unavailable {
        call: agency::Call::Lookup,
    };
    assert!(
        matches!(ask(RequestType::OrderReg).await, Ok(Lookup::Found(found))
        if found.accept_no == order.accept_no)
    );
    assert_eq!(ask(RequestType::BillingReg).await, Err(unavailable));
    assert_eq!(ask(RequestType::DeleteReg).await, Ok(Lookup::NotFound));
    let stranger = support::result("F-1", RequestType::BillingReg, &order.accept_no);
    let answer = agency.results(&[stranger]).await;
    assert_eq!(support::shapes(&answer), ["refused LOCAL_NOT_KEPT"]);
}

/// The faults on each of the three calls: the adapter claims what is certain and no more, and nothing is billed twice even by
/// an agency that bills again.
#[tokio::test]
async fn faults_of_the_public_interface() {
    let kinds = [
        (Kind::Refuse, ["not_sent"; 2]),
        (Kind::DropBefore, ["ambiguous"; 2]),
        (Kind::DropAfter, ["ambiguous"; 2]),
        (Kind::Html, ["ambiguous"; 2]),
        (Kind::BrokenJson, ["ambiguous"; 2]),
        (Kind::Oversize, ["ambiguous"; 2]),
        (Kind::Status, ["ambiguous"; 2]),
        (Kind::MissingItem, ["ambiguous", "answered"]),
        (Kind::ItemTwice, ["ambiguous", "answered"]),
        (Kind::BothLists, ["ambiguous", "answered"]),
        (Kind::BatchRefused, ["refused E0100002", "answered"]),
    ];
    for (call, _) in PUBLIC_CALLS {
        for (kind, expected) in kinds {
            let name = format!("{kind:?} on {}", call.name());
            let rules = Rules {
                repeat: Repeat::Again,
                ..Rules::default()
            };
            let site = site(rules).await;
            let mut orders: Vec<Order> = Vec::new();
            for no in ["F-9", "F-1"] {
                orders.push(support::ready(&*site.agency, call, no).await);
            }
            site.centre.set_faults(vec![Fault {
                order: Some("F-9".into()),
                ..Fault::on(kind, call)
            }]);
            let (shapes, _) = support::make(&*site.agency, call, &orders).await;
            assert_eq!(shapes, expected, "{name}");
            site.centre.set_faults(Vec::new());
            let lookup = |kind| support::lookup("F-9", kind, None);
            let answer = site.agency.lookup(&[lookup(RequestType::BillingReg)]).await;
            let kept = call == Call::Bill && shapes[0] == "answered";
            assert_eq!(support::shapes(&answer) == ["unavailable"], !kept, "{name}");
            assert!(support::executed(&site.centre, call) <= Some(2), "{name}");
        }
    }
}

/// Registrations of several buyers are several calls: after one without an answer no other leaves, and those that did not are not
/// unclear. A refusal of one buyer holds up nobody.
#[tokio::test]
async fn a_lost_call_ends_the_registrations_after_it() {
    let items = |numbers: [&str; 3]| {
        let mut items = numbers.map(support::registration);
        for (at, item) in items.iter_mut().enumerate() {
            item.buyer.np_buyer_id = format!("0000000000{at}");
        }
        items
    };
    let site = site(Rules::default()).await;
    site.centre.set_faults(vec![Fault {
        order: Some("F-2".into()),
        ..Fault::on(Kind::DropBefore, Call::Register)
    }]);
    let answer = site.agency.register(&items(["F-1", "F-2", "F-3"])).await;
    assert_eq!(
        support::shapes(&answer),
        ["answered", "ambiguous", "not_sent"]
    );
    assert_eq!(support::executed(&site.centre, Call::Register), Some(1));
    site.centre.set_faults(Vec::new());
    let answer = site.agency.register(&items(["F-4", "F-RR", "F-5"])).await;
    assert_eq!(
        support::shapes(&answer),
        ["answered", "refused E_ADDRESS", "answered"]
    );
}
