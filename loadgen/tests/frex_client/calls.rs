//! Each call as it should go, and the faults that show only later.

use std::sync::{Arc, Mutex};

use commerce::frex::agency::design::DesignClient;
use commerce::frex::agency::{
    Agency, Call, CallObserver, Found, FoundBy, Lookup, NoObserver, Outcome, ProcessedStatus,
    ScreeningWord, ViolationKind,
};
use commerce::frex::key::RequestType;
use loadgen::frex::faults::{Fault, Kind};
use loadgen::frex::rules::{Repeat, Rules};
use loadgen::frex::{call, server::Centre};

use super::support::{self, AMOUNT, AMOUNT_NEW, value};

/// An order through every call: registered, screened, changed, screened again, billed, paid; and the cancel that comes too
/// late is refused.
#[tokio::test]
async fn an_order_through_every_call() {
    let rules = Rules {
        result_polls: 1,
        screening_polls: 1,
        ..Rules::default()
    };
    let centre = support::centre(rules).await;
    let client = support::client(&centre);
    let accepted = value(&client.register(&[support::registration("F-1")]).await);
    let query = support::result("F-1", RequestType::OrderReg, &accepted.accept_no);
    let pending = value(&client.results(std::slice::from_ref(&query)).await);
    assert_eq!(pending.status, ProcessedStatus::Pending);
    let done = value(&client.results(&[query]).await);
    assert_eq!(done.status, ProcessedStatus::Done);
    assert_eq!(done.billed_amount, Some(AMOUNT));
    assert_eq!(done.shop_transaction_id.as_deref(), Some("F-1"));
    let np = done.np_transaction_id.unwrap();
    let words = async |count: usize| {
        let mut words = Vec::new();
        for _ in 0..count {
            words.push(value(&client.authorizations(&[support::authorization(&np)]).await).word);
        }
        words
    };
    let both = [ScreeningWord::NotYet, ScreeningWord::Approved];
    assert_eq!(words(2).await, both);
    value(&client.update(&[support::update("F-1", &np)]).await);
    assert_eq!(words(2).await, both);
    let mut bill = support::bill("F-1", &np);
    let wrong = support::shapes(&client.bill(&[bill.clone()]).await);
    assert_eq!(wrong, ["refused E0102004"]);
    bill.billed_amount = AMOUNT_NEW;
    value(&client.bill(&[bill]).await);
    assert!(centre.pay("F-1"));
    let cancel = support::shapes(&client.cancel(&[support::cancel("F-1", &np)]).await);
    assert_eq!(cancel, ["refused E0100114"]);
    let ledger = centre.ledger();
    let [it] = &ledger.transactions[..] else {
        panic!("{ledger:?}");
    };
    assert_eq!(
        (it.billed_amount, it.updates, it.bills.len()),
        (AMOUNT_NEW, 1, 1)
    );
}

/// The ends of order numbers decide: refusals by screening with their reasons, holds that end or do not, refusals of calls.
#[tokio::test]
async fn suffixes_decide() {
    let centre = support::centre(Rules::default()).await;
    let client = support::client(&centre);
    let refused = ScreeningWord::Refused;
    let cases = [
        ("F-1", vec![ScreeningWord::Approved; 4], None),
        ("F-R21", vec![refused.clone(); 4], Some("21")),
        ("F-R24", vec![refused.clone(); 4], Some("24")),
        ("F-HH", vec![ScreeningWord::Held; 4], None),
        (
            "F-HA",
            [
                vec![ScreeningWord::Held; 2],
                vec![ScreeningWord::Approved; 2],
            ]
            .concat(),
            None,
        ),
        (
            "F-HR",
            [vec![ScreeningWord::Held; 2], vec![refused; 2]].concat(),
            Some("24"),
        ),
    ];
    for (no, words, ng) in cases {
        let order = support::register(&client, no).await;
        for word in words {
            let screening = value(
                &client
                    .authorizations(&[support::authorization(&order.np)])
                    .await,
            );
            assert_eq!(screening.word, word, "{no}");
            assert_eq!(
                screening.hold.is_empty(),
                word != ScreeningWord::Held,
                "{no}"
            );
            let expected = ng.filter(|_| word == ScreeningWord::Refused);
            assert_eq!(screening.ng.as_deref(), expected, "{no}");
        }
    }
    let at_once = client.register(&[support::registration("F-RA")]).await;
    assert_eq!(support::shapes(&at_once), ["refused E_ADDRESS"]);
    let later = value(&client.register(&[support::registration("F-RR")]).await);
    let query = support::result("F-RR", RequestType::OrderReg, &later.accept_no);
    let rejected = value(&client.results(&[query]).await);
    assert_eq!(rejected.status, ProcessedStatus::Rejected);
    assert_eq!(rejected.codes, ["E_ADDRESS"]);
}

/// A look-up finds what arrived, by its key and by its second identity, and nothing before it becomes visible.
#[tokio::test]
async fn lookups_find_what_arrived() {
    let rules = Rules {
        lookup_lag_ms: 1_000,
        ..Rules::default()
    };
    let centre = support::centre(rules).await;
    let client = support::client(&centre);
    let order = support::ready(&client, call::Call::Bill, "F-1").await;
    let billed = value(&client.bill(&[support::bill("F-1", &order.np)]).await);
    let ask = async |query| value(&client.lookup(&[query]).await);
    let query = || support::lookup("F-1", RequestType::BillingReg, None);
    assert_eq!(ask(query()).await, Lookup::NotFound);
    centre.advance(1_000);
    let found = |by, np: Option<_>, amount| {
        Lookup::Found(Found {
            by,
            // Another identity finds another request, and the agency says which.
            accept_key: (by != FoundBy::RequestKey).then(|| query().request_key),
            accept_no: billed.accept_no.clone(),
            np_transaction_id: np,
            billed_amount: amount,
        })
    };
    assert_eq!(ask(query()).await, found(FoundBy::RequestKey, None, None));
    let mut other = support::lookup("F-1", RequestType::BillingReg, Some(&order.np));
    other.request_key.seq = 7;
    let by_np = found(
        FoundBy::NpTransactionId,
        Some(order.np.clone()),
        Some(AMOUNT),
    );
    assert_eq!(ask(other).await, by_np);
    let mut other = support::lookup("F-1", RequestType::OrderReg, None);
    other.request_key.seq = 7;
    assert!(matches!(ask(other).await, Lookup::Found(found)
        if found.by == FoundBy::ShopTransactionId && found.accept_no == order.accept_no));
    assert_eq!(
        ask(support::lookup("F-2", RequestType::OrderReg, None)).await,
        Lookup::NotFound
    );
    centre.set_rules(Rules {
        lookup: false,
        ..Rules::default()
    });
    let off = client.lookup(&[query()]).await;
    assert_eq!(support::shapes(&off), ["refused E0100131"]);
}

/// A repeated bill is merged, answered with "already billed" and the first number, or billed again: three agencies.
#[tokio::test]
async fn three_answers_to_a_repeated_bill() {
    for (repeat, shape, bills) in [
        (Repeat::Merge, "answered", 1),
        (Repeat::Already, "already", 1),
        (Repeat::Again, "answered", 2),
    ] {
        let rules = Rules {
            repeat,
            ..Rules::default()
        };
        let centre = support::centre(rules).await;
        let client = support::client(&centre);
        let order = support::ready(&client, call::Call::Bill, "F-1").await;
        let bill = [support::bill("F-1", &order.np)];
        let first = value(&client.bill(&bill).await);
        let again = client.bill(&bill).await;
        assert_eq!(support::shapes(&again), [shape], "{repeat:?}");
        if let Outcome::AlreadyDone { accept_no, .. } = &again.outcomes[0] {
            assert_eq!(accept_no.as_ref(), Some(&first.accept_no));
        }
        assert_eq!(
            centre.ledger().transactions[0].bills.len(),
            bills,
            "{repeat:?}"
        );
        let cancel = [support::cancel("F-1", &order.np)];
        value(&client.cancel(&cancel).await);
        let shape = if repeat == Repeat::Merge {
            "answered"
        } else {
            "already"
        };
        assert_eq!(
            support::shapes(&client.cancel(&cancel).await),
            [shape],
            "{repeat:?}"
        );
    }
}

async fn struck(kind: Kind, call: call::Call) -> (Centre, DesignClient) {
    let centre = support::centre(Rules::default()).await;
    let client = support::client(&centre);
    centre.set_faults(vec![Fault {
        times: Some(1),
        ..Fault::on(kind, call)
    }]);
    (centre, client)
}

/// Acceptance numbers that are swapped show when the results are fetched; numbers given twice show at once.
#[tokio::test]
async fn wrong_acceptance_numbers_show() {
    let (_centre, client) = struck(Kind::SwapAcceptNo, call::Call::Register).await;
    let items = ["F-1", "F-2"].map(support::registration);
    let answer = client.register(&items).await;
    let numbers = answer.outcomes.iter().map(|outcome| match outcome {
        Outcome::Answered { value, .. } => value.accept_no.clone(),
        _ => panic!("{:?}", support::shapes(&answer)),
    });
    for (item, number) in items.iter().zip(numbers) {
        let query = support::result(&item.shop_transaction_id, RequestType::OrderReg, &number);
        let shapes = support::shapes(&client.results(&[query]).await);
        assert_eq!(shapes, ["refused E0100113"]);
    }
    let (_centre, client) = struck(Kind::SameAcceptNo, call::Call::Register).await;
    let answer = client.register(&items).await;
    assert_eq!(support::shapes(&answer), ["ambiguous", "ambiguous"]);
    assert!(
        answer
            .violations
            .iter()
            .all(|it| it.kind == ViolationKind::AcceptNo)
    );
    let (centre, client) = struck(Kind::SwapAcceptNo, call::Call::Results).await;
    let accepted = value(&client.register(&items[..1]).await);
    let query = support::result("F-1", RequestType::OrderReg, &accepted.accept_no);
    let answer = client.results(&[query]).await;
    assert_eq!(support::shapes(&answer), ["ambiguous"]);
    assert_eq!(answer.violations[0].kind, ViolationKind::AcceptNo);
    assert_eq!(centre.ledger().faults_fired, [1]);
}

/// A forgotten number is an error of its item, another amount or order number is passed on as it is, and a screening word
/// that nobody knows is no decision.
#[tokio::test]
async fn faults_that_show_later() {
    for kind in [Kind::ForgetAcceptNo, Kind::ResultAmount, Kind::ResultShop] {
        let (_centre, client) = struck(kind, call::Call::Register).await;
        let accepted = value(&client.register(&[support::registration("F-1")]).await);
        let query = [support::result(
            "F-1",
            RequestType::OrderReg,
            &accepted.accept_no,
        )];
        let answer = client.results(&query).await;
        if kind == Kind::ForgetAcceptNo {
            assert_eq!(support::shapes(&answer), ["refused E0100113"]);
            continue;
        }
        let done = value(&answer);
        let amount = AMOUNT + i64::from(kind == Kind::ResultAmount);
        assert_eq!(done.billed_amount, Some(amount));
        let same = done.shop_transaction_id.as_deref() == Some("F-1");
        assert_eq!(same, kind != Kind::ResultShop);
    }
    let (_centre, client) = struck(Kind::ScreeningWord, call::Call::Authorizations).await;
    let order = support::register(&client, "F-1").await;
    let query = [support::authorization(&order.np)];
    let word = value(&client.authorizations(&query).await).word;
    assert_eq!(word, ScreeningWord::Other("77".into()));
    let word = value(&client.authorizations(&query).await).word;
    assert_eq!(word, ScreeningWord::Approved);
}

/// What breaks a limit is never sent, and does not hold back its batch; the same key twice is sent once.
#[tokio::test]
async fn what_breaks_a_limit_is_never_sent() {
    let centre = support::centre(Rules::default()).await;
    let client = support::client(&centre);
    let mut items = ["F-1", "F-2", "F-3", "F-3"].map(support::registration);
    items[1].buyer.tel_no = "03-0000-0000".into();
    let shapes = support::shapes(&client.register(&items).await);
    assert_eq!(shapes, ["answered", "over_limit", "answered", "over_limit"]);
    assert_eq!(centre.ledger().received.len(), 2);
    let none = client.register(&[]).await;
    assert_eq!(none.outcomes.len(), 0);
    assert_eq!(centre.ledger().received.len(), 2);
}

#[derive(Default)]
struct Heard(Mutex<Vec<(Call, Option<&'static str>)>>);

impl CallObserver for Heard {
    fn call_ended(&self, call: Call, seconds: f64, class: Option<&'static str>) {
        assert!(seconds >= 0.0);
        self.0.lock().unwrap().push((call, class));
    }
}

/// While the agency changes the password, the one it rejects is replaced by the other within the call, and the one it accepts
/// is used from then on. Every exchange is observed, with the class of its failure.
#[tokio::test]
async fn two_passwords_during_a_change() {
    let centre = support::centre(Rules::default()).await;
    let settings = support::settings(&centre);
    let heard = Arc::new(Heard::default());
    let passwords = vec!["old".into(), "password".into()];
    let client = DesignClient::new(&settings, passwords, heard.clone()).unwrap();
    value(&client.register(&[support::registration("F-1")]).await);
    value(&client.register(&[support::registration("F-2")]).await);
    let passwords = vec!["old".into(), "older".into()];
    let stranger = DesignClient::new(&settings, passwords, heard.clone()).unwrap();
    let answer = stranger.register(&[support::registration("F-3")]).await;
    assert_eq!(support::shapes(&answer), ["auth"]);
    let terminal_id = "another".into();
    let elsewhere = commerce::frex::agency::settings::AgencySettings {
        terminal_id,
        ..settings
    };
    let passwords = vec!["password".into()];
    let elsewhere = DesignClient::new(&elsewhere, passwords, Arc::new(NoObserver)).unwrap();
    let answer = elsewhere.register(&[support::registration("F-3")]).await;
    assert_eq!(support::shapes(&answer), ["auth"]);
    let heard = heard.0.lock().unwrap();
    let good = (Call::Register, None);
    assert_eq!(*heard, [good, good, (Call::Register, Some("auth"))]);
    assert_eq!(centre.ledger().transactions.len(), 2);
}
