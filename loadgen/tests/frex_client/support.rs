//! A simulator, a client of it, and orders brought to where a call is possible.

use std::sync::Arc;

use commerce::frex::agency::design::DesignClient;
use commerce::frex::agency::settings::AgencySettings;
use commerce::frex::agency::{
    AcceptNo, Agency, Answer, AuthorizationQuery, Bill, Buyer, Cancel, Delivery, Detail,
    LookupQuery, NoObserver, NpTransactionId, Outcome, Registration, ResultQuery, TaxRateSummary,
    Update,
};
use commerce::frex::key::{RequestKey, RequestType};
use loadgen::frex::call::Call;
use loadgen::frex::clock::Clock;
use loadgen::frex::ledger::Transaction;
use loadgen::frex::rules::Rules;
use loadgen::frex::server::{Centre, Options};
use time::macros::date;

/// What every order is worth.
pub const AMOUNT: i64 = 11_000;
/// What an update makes of it.
pub const AMOUNT_NEW: i64 = 9_900;
/// The client's total time.
pub const TIMEOUT_MS: u64 = 1_000;

/// A simulator whose time stands still.
pub async fn centre(rules: Rules) -> Centre {
    let options = Options {
        rules,
        clock: Clock::Held {
            now_ms: 1_736_899_200_000,
        },
        ..Options::default()
    };
    Centre::start(options).await.expect("the simulator starts")
}

/// Settings of a client of it.
pub fn settings(centre: &Centre) -> AgencySettings {
    AgencySettings {
        base_url: format!("http://{}", centre.address),
        shop_code: "shop".into(),
        terminal_id: "terminal".into(),
        connect_timeout_ms: 500,
        timeout_ms: TIMEOUT_MS,
        ..AgencySettings::default()
    }
}

/// A client of the design protocol.
pub fn client(centre: &Centre) -> DesignClient {
    let passwords = vec!["password".into()];
    DesignClient::new(&settings(centre), passwords, Arc::new(NoObserver)).expect("a client")
}

pub fn key(order: &str, kind: RequestType) -> RequestKey {
    RequestKey::new(order, kind, 0)
}

fn goods(amount: i64) -> (Vec<Detail>, Vec<TaxRateSummary>) {
    let detail = Detail {
        detail: "Flyer printing A4".into(),
        price: amount / 11 * 10,
        quantity: 1,
        billed_tax_kind: "T10".into(),
    };
    let summary = TaxRateSummary {
        tax_rate: 10,
        total_amount: amount,
    };
    (vec![detail], vec![summary])
}

pub fn registration(order: &str) -> Registration {
    let (transaction_details, tax_rate_summaries) = goods(AMOUNT);
    Registration {
        request_key: key(order, RequestType::OrderReg),
        shop_transaction_id: order.into(),
        shop_order_date: date!(2025 - 01 - 15),
        billed_amount: AMOUNT,
        transaction_details,
        tax_rate_summaries,
        buyer: Buyer {
            np_buyer_id: "00000000001".into(),
            company_name: "Example KK".into(),
            department: "Sales".into(),
            customer_name: "Sample Buyer".into(),
            customer_name_kana: String::new(),
            zip_code: "1000001".into(),
            address: "Tokyo Chiyoda 1-1".into(),
            tel_no: "0300000000".into(),
            email: "buyer@example.com".into(),
        },
        delivery_info: Delivery {
            company_name: "Example KK".into(),
            department: String::new(),
            customer_name: "Sample Buyer".into(),
            zip_code: "1000001".into(),
            address: "Tokyo Chiyoda 1-1".into(),
            tel_no: "0300000000".into(),
        },
    }
}

pub fn update(order: &str, np: &NpTransactionId) -> Update {
    let (transaction_details, tax_rate_summaries) = goods(AMOUNT_NEW);
    Update {
        request_key: key(order, RequestType::UpdateReg),
        np_transaction_id: np.clone(),
        billed_amount: AMOUNT_NEW,
        transaction_details,
        tax_rate_summaries,
    }
}

pub fn cancel(order: &str, np: &NpTransactionId) -> Cancel {
    Cancel {
        request_key: key(order, RequestType::DeleteReg),
        np_transaction_id: np.clone(),
    }
}

pub fn bill(order: &str, np: &NpTransactionId) -> Bill {
    Bill {
        request_key: key(order, RequestType::BillingReg),
        np_transaction_id: np.clone(),
        billed_amount: AMOUNT,
        bill_issue_base_date: date!(2025 - 01 - 20),
    }
}

pub fn result(order: &str, kind: RequestType, accept_no: &AcceptNo) -> ResultQuery {
    ResultQuery {
        request_key: key(order, kind),
        request_type: kind,
        accept_no: accept_no.clone(),
    }
}

pub fn authorization(np: &NpTransactionId) -> AuthorizationQuery {
    AuthorizationQuery {
        np_transaction_id: np.clone(),
    }
}

pub fn lookup(order: &str, kind: RequestType, np: Option<&NpTransactionId>) -> LookupQuery {
    LookupQuery {
        request_key: key(order, kind),
        shop_transaction_id: order.into(),
        np_transaction_id: np.cloned(),
    }
}

/// An order that is registered, with its numbers.
#[derive(Clone)]
pub struct Order {
    pub no: String,
    pub np: NpTransactionId,
    pub accept_no: AcceptNo,
}

/// The one answered value.
pub fn value<T: Clone>(answer: &Answer<T>) -> T {
    assert_eq!(answer.violations, []);
    match &answer.outcomes[..] {
        [Outcome::Answered { value, .. }] => value.clone(),
        _ => panic!("no single answer: {}", shapes(answer).join(",")),
    }
}

/// Registers an order and fetches its result; the agency approves it unless rules say otherwise.
pub async fn register(agency: &dyn Agency, no: &str) -> Order {
    let accepted = value(&agency.register(&[registration(no)]).await);
    let query = result(no, RequestType::OrderReg, &accepted.accept_no);
    let done = value(&agency.results(&[query]).await);
    let np = done.np_transaction_id.expect("a transaction");
    Order {
        no: no.into(),
        np,
        accept_no: accepted.accept_no,
    }
}

/// Brings an order to where `call` is possible.
pub async fn ready(agency: &dyn Agency, call: Call, no: &str) -> Order {
    if call == Call::Register {
        return Order {
            no: no.into(),
            np: NpTransactionId::parse("18000000000").expect("digits"),
            accept_no: AcceptNo::parse("A0").expect("a number"),
        };
    }
    let order = register(agency, no).await;
    if call == Call::Bill {
        value(&agency.authorizations(&[authorization(&order.np)]).await);
    }
    order
}

/// Makes a call about orders and gives the shape of each outcome.
pub async fn make(agency: &dyn Agency, call: Call, orders: &[Order]) -> (Vec<String>, usize) {
    macro_rules! made {
        ($method:ident, $item:expr) => {{
            let items: Vec<_> = orders.iter().map($item).collect();
            let answer = agency.$method(&items).await;
            (shapes(&answer), answer.violations.len())
        }};
    }
    match call {
        Call::Register => made!(register, |it| registration(&it.no)),
        Call::Update => made!(update, |it| update(&it.no, &it.np)),
        Call::Cancel => made!(cancel, |it| cancel(&it.no, &it.np)),
        Call::Bill => made!(bill, |it| bill(&it.no, &it.np)),
        Call::Results => made!(results, |it| result(
            &it.no,
            RequestType::OrderReg,
            &it.accept_no
        )),
        Call::Authorizations => made!(authorizations, |it| authorization(&it.np)),
        Call::Lookup => made!(lookup, |it| lookup(&it.no, RequestType::OrderReg, None)),
    }
}

/// Each outcome in one word: answered, already, refused CODES, or the class of its error.
pub fn shapes<T>(answer: &Answer<T>) -> Vec<String> {
    let shape = |outcome: &Outcome<T>| match outcome {
        Outcome::Answered { .. } => "answered".to_owned(),
        Outcome::AlreadyDone { .. } => "already".to_owned(),
        Outcome::Refused(refusal) => format!("refused {}", refusal.codes.join(",")),
        Outcome::Failed(error) => error.class().to_owned(),
    };
    answer.outcomes.iter().map(shape).collect()
}

/// How many of the orders the agency has executed a call for; none for the calls that only read.
pub fn executed(centre: &Centre, call: Call) -> Option<usize> {
    let done = |it: &Transaction| match call {
        Call::Register => true,
        Call::Update => it.updates > 0,
        Call::Cancel => it.cancelled_ms.is_some(),
        Call::Bill => !it.bills.is_empty(),
        _ => false,
    };
    let transactions = centre.ledger().transactions;
    assert!(transactions.iter().all(|it| it.bills.len() <= 1));
    call.request_type()?;
    Some(transactions.iter().filter(|it| done(it)).count())
}
