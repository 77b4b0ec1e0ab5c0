//! An agency in memory, under the test's clock and seed: it accepts, processes, screens and bills, loses requests and answers,
//! executes late, and keeps a ledger of what it really did.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use commerce::clock::Clock;
use commerce::frex::agency::codes::{Codes, Fault};
use commerce::frex::agency::{
    AcceptNo, Acceptance, Agency, Answer, AuthorizationQuery, Bill, Call, CallError, Cancel, Found,
    FoundBy, Lookup, LookupQuery, NpTransactionId, Outcome, Processed, ProcessedStatus, Refusal,
    Registration, ResultQuery, Screening, ScreeningWord, Update,
};
use commerce::frex::key::RequestKey;

/// Numbers from a seed, the same on every machine.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// The number of the first transaction.
const FIRST_NP: usize = 18_000_000_001;

/// What the agency does with a billing request for a transaction that it billed before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// The same key gives the same acceptance.
    Merge,
    /// "Already billed".
    AlreadyBilled,
    /// It bills again: only our own guards protect the buyer.
    BillAgain,
}

/// How the agency behaves, in per cent of calls or items.
#[derive(Clone, Debug)]
pub struct Manners {
    /// Mutations that never arrive.
    pub lost_request: u64,
    /// Mutations that are executed, and whose answer is lost.
    pub lost_answer: u64,
    /// Mutations that arrive only after we gave up.
    pub late: u64,
    /// Longest delay of those.
    pub late_ms_max: u64,
    /// Whether the first outcome of an answer is unreadable.
    pub garbles_first: bool,
    /// Items that are missing from an answer.
    pub missing_item: u64,
    /// Calls that certainly do not arrive.
    pub not_sent: u64,
    /// Items refused at acceptance.
    pub refused: u64,
    /// Items refused after acceptance.
    pub rejected: u64,
    /// Buyers that are refused.
    pub ng: u64,
    /// Buyers that are held first.
    pub held: u64,
    /// Most questions before a result is there.
    pub polls_max: u64,
    pub repeat: Repeat,
    /// How much more than the executed amount the outcomes name.
    pub amount_off: i64,
    /// Whether it can look up.
    pub lookup: bool,
    /// Whether it refuses every question of a look-up, as one that has none may do.
    pub lookup_refused: bool,
    /// Whether "already billed" names the acceptance.
    pub names_earlier: bool,
    /// Whether it rejects our credentials.
    pub rejects_us: bool,
    /// Whether its look-up never finds anything: what a worker without a look-up would believe.
    pub blind: bool,
}

impl Manners {
    /// Nothing goes wrong.
    pub fn healthy() -> Self {
        Self {
            lost_request: 0,
            lost_answer: 0,
            late: 0,
            late_ms_max: 1,
            garbles_first: false,
            missing_item: 0,
            not_sent: 0,
            refused: 0,
            rejected: 0,
            ng: 0,
            held: 0,
            polls_max: 0,
            repeat: Repeat::Merge,
            amount_off: 0,
            lookup: true,
            lookup_refused: false,
            names_earlier: false,
            rejects_us: false,
            blind: false,
        }
    }

    /// Everything goes wrong at times.
    pub fn rough(repeat: Repeat) -> Self {
        Self {
            lost_request: 8,
            lost_answer: 8,
            late: 6,
            late_ms_max: 9 * 60_000,
            garbles_first: false,
            missing_item: 3,
            not_sent: 4,
            refused: 2,
            rejected: 3,
            ng: 8,
            held: 15,
            polls_max: 2,
            repeat,
            amount_off: 0,
            lookup: true,
            lookup_refused: false,
            names_earlier: false,
            rejects_us: false,
            blind: false,
        }
    }
}

/// A transaction in the ledger.
#[derive(Clone, Debug)]
pub struct Entry {
    pub shop: String,
    pub np: String,
    pub amount: i64,
    pub cancelled: bool,
    pub paid: bool,
    /// Amounts of its bills: more than one is what must never be.
    pub bills: Vec<i64>,
    word: Word,
    rounds: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Approve,
    Refuse,
    HoldThenApprove(u64),
}

#[derive(Clone, Debug)]
struct Received {
    accept_no: String,
    np: String,
    polls: u64,
    rejected: Vec<String>,
    amount: Option<i64>,
}

#[derive(Clone, Debug)]
enum Item {
    Register(Box<Registration>),
    Update(Update),
    Cancel(Cancel),
    Bill(Bill),
}

impl Item {
    fn key(&self) -> String {
        match self {
            Self::Register(item) => item.request_key.to_string(),
            Self::Update(item) => item.request_key.to_string(),
            Self::Cancel(item) => item.request_key.to_string(),
            Self::Bill(item) => item.request_key.to_string(),
        }
    }
}

struct Inner {
    rng: Rng,
    manners: Manners,
    entries: Vec<Entry>,
    received: BTreeMap<String, Received>,
    by_accept: BTreeMap<String, String>,
    late: Vec<(i64, Item)>,
    count: u64,
    calls: u64,
}

/// The agency. Clones are the same one.
#[derive(Clone)]
pub struct FakeAgency {
    inner: Arc<Mutex<Inner>>,
    clock: Clock,
    codes: Codes,
}

fn answered<T>(value: T) -> Outcome<T> {
    Outcome::Answered {
        value,
        response: "{}".into(),
    }
}

fn refused<T>(codes: &[&str]) -> Outcome<T> {
    let codes = codes.iter().map(|code| (*code).to_owned()).collect();
    Outcome::Refused(Refusal {
        codes,
        fault: Fault::Order,
        response: "{}".into(),
    })
}

fn ambiguous<T>() -> Outcome<T> {
    Outcome::Failed(CallError::Ambiguous {
        reason: "timeout".into(),
    })
}

impl FakeAgency {
    pub fn new(seed: u64, manners: Manners, clock: Clock) -> Self {
        let inner = Inner {
            rng: Rng::new(seed),
            manners,
            entries: Vec::new(),
            received: BTreeMap::new(),
            by_accept: BTreeMap::new(),
            late: Vec::new(),
            count: 0,
            calls: 0,
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
            clock,
            codes: Codes::default(),
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = self
            .inner
            .lock()
            .expect("no test panics while it holds the agency");
        inner.execute_late(self.clock.now_ms());
        act(&mut inner)
    }

    /// From now on it behaves so; what is under way still arrives.
    pub fn behave(&self, manners: Manners) {
        self.with(|inner| inner.manners = manners);
    }

    pub fn manners(&self) -> Manners {
        self.with(|inner| inner.manners.clone())
    }

    pub fn ledger(&self) -> Vec<Entry> {
        self.with(|inner| inner.entries.clone())
    }

    /// Whether a request was accepted, and under which number: what the agency says on the telephone.
    pub fn acceptance(&self, key: &str) -> Option<String> {
        self.with(|inner| inner.received.get(key).map(|seen| seen.accept_no.clone()))
    }

    pub fn calls(&self) -> u64 {
        self.with(|inner| inner.calls)
    }

    /// The buyer pays the bill of an order.
    pub fn pay(&self, shop: &str) {
        self.with(|inner| {
            for entry in inner
                .entries
                .iter_mut()
                .filter(|entry| entry.shop == shop && !entry.bills.is_empty())
            {
                entry.paid = true;
            }
        });
    }

    fn mutate(&self, items: Vec<Item>) -> Answer<Acceptance> {
        let now = self.clock.now_ms();
        self.with(|inner| inner.mutate(items, now))
    }
}

impl Inner {
    fn execute_late(&mut self, now: i64) {
        let (due, rest) = std::mem::take(&mut self.late)
            .into_iter()
            .partition(|(at, _)| *at <= now);
        self.late = rest;
        let due: Vec<(i64, Item)> = due;
        for (_, item) in due {
            let _ = self.execute(&item);
        }
    }

    fn mutate(&mut self, items: Vec<Item>, now: i64) -> Answer<Acceptance> {
        self.calls += 1;
        let manners = self.manners.clone();
        let dice = self.rng.below(100);
        let count = items.len();
        if manners.rejects_us {
            return Answer::failed(count, &CallError::Auth { status: 401 });
        }
        let lost = manners.lost_request;
        let late = lost + manners.late;
        let not_sent = late + manners.not_sent;
        let lost_answer = not_sent + manners.lost_answer;
        if dice < lost {
            return Answer::failed(
                count,
                &CallError::Ambiguous {
                    reason: "request lost".into(),
                },
            );
        }
        if dice < late {
            for item in items {
                let wait = i64::try_from(1 + self.rng.below(manners.late_ms_max)).expect("small");
                self.late.push((now + wait, item));
            }
            return Answer::failed(
                count,
                &CallError::Ambiguous {
                    reason: "timeout".into(),
                },
            );
        }
        if dice < not_sent {
            return Answer::failed(
                count,
                &CallError::NotSent {
                    reason: "connection refused".into(),
                },
            );
        }
        let mut outcomes: Vec<Outcome<Acceptance>> =
            items.iter().map(|item| self.execute(item)).collect();
        if dice < lost_answer {
            return Answer::failed(
                count,
                &CallError::Ambiguous {
                    reason: "answer lost".into(),
                },
            );
        }
        for outcome in &mut outcomes {
            if self.rng.percent(manners.missing_item) {
                *outcome = ambiguous();
            }
        }
        Answer {
            outcomes,
            violations: Vec::new(),
        }
    }

    fn execute(&mut self, item: &Item) -> Outcome<Acceptance> {
        let key = item.key();
        if self.manners.repeat != Repeat::BillAgain
            && let Some(seen) = self.received.get(&key)
        {
            return answered(Acceptance {
                accept_no: AcceptNo::parse(&seen.accept_no).expect("ours"),
            });
        }
        if self.rng.percent(self.manners.refused) {
            return refused(&["E_DATA"]);
        }
        let reject = self.rng.percent(self.manners.rejected);
        let mut rejected: Vec<String> = Vec::new();
        if reject {
            rejected.push("E0100131".into());
        }
        let (np, amount) = match item {
            Item::Register(item) => (self.register(item, reject), Some(item.billed_amount)),
            Item::Update(item) => {
                let np = item.np_transaction_id.as_str().to_owned();
                let word = self.word();
                let entry = self.entry(&np);
                if !reject && entry.bills.is_empty() && !entry.cancelled {
                    entry.amount = item.billed_amount;
                    (entry.word, entry.rounds) = (word, 0);
                } else if !reject {
                    rejected.push("E0100131".into());
                }
                (np, Some(item.billed_amount))
            }
            Item::Cancel(item) => {
                let np = item.np_transaction_id.as_str().to_owned();
                let entry = self.entry(&np);
                if entry.cancelled {
                    return Outcome::AlreadyDone {
                        accept_no: None,
                        accept_key: None,
                        codes: vec!["E0100118".into()],
                        response: "{}".into(),
                    };
                }
                if entry.paid && !reject {
                    rejected.push("E0100114".into());
                }
                entry.cancelled |= rejected.is_empty();
                (np, None)
            }
            Item::Bill(item) => {
                let np = item.np_transaction_id.as_str().to_owned();
                let repeat = self.manners.repeat;
                let entry = self.entry(&np);
                if entry.cancelled || entry.amount != item.billed_amount {
                    return refused(&["E0102004"]);
                }
                if !entry.bills.is_empty() && repeat != Repeat::BillAgain {
                    let (accept_no, accept_key) = self.billed_by(&np).unzip();
                    return Outcome::AlreadyDone {
                        accept_no,
                        accept_key,
                        codes: vec!["E0100115".into()],
                        response: "{}".into(),
                    };
                }
                if !reject {
                    entry.bills.push(item.billed_amount);
                }
                (np, Some(item.billed_amount))
            }
        };
        self.count += 1;
        let accept_no = format!("A{:09}", self.count);
        let polls = if self.manners.polls_max == 0 {
            0
        } else {
            self.rng.below(self.manners.polls_max + 1)
        };
        self.by_accept.insert(accept_no.clone(), key.clone());
        self.received.insert(
            key,
            Received {
                accept_no: accept_no.clone(),
                np,
                polls,
                rejected,
                amount,
            },
        );
        answered(Acceptance {
            accept_no: AcceptNo::parse(&accept_no).expect("ours"),
        })
    }

    /// The acceptance by which a transaction was billed, if it is told: the number and the key.
    fn billed_by(&self, np: &str) -> Option<(AcceptNo, RequestKey)> {
        let of_bill = |(key, seen): &(&String, &Received)| {
            key.contains(":BILLING_REG:") && seen.np == np && seen.rejected.is_empty()
        };
        let (key, seen) = self.received.iter().find(of_bill)?;
        let number = AcceptNo::parse(&seen.accept_no).expect("ours");
        let named = self.manners.names_earlier;
        named.then(|| (number, key.parse().expect("ours")))
    }

    fn word(&mut self) -> Word {
        let dice = self.rng.below(100);
        if dice < self.manners.ng {
            Word::Refuse
        } else if dice < self.manners.ng + self.manners.held {
            Word::HoldThenApprove(1 + self.rng.below(2))
        } else {
            Word::Approve
        }
    }

    fn register(&mut self, item: &Registration, reject: bool) -> String {
        if reject {
            return String::new();
        }
        let np = format!("{:011}", FIRST_NP + self.entries.len());
        let word = self.word();
        self.entries.push(Entry {
            shop: item.shop_transaction_id.clone(),
            np: np.clone(),
            amount: item.billed_amount,
            cancelled: false,
            paid: false,
            bills: Vec::new(),
            word,
            rounds: 0,
        });
        np
    }

    /// Numbers count up from the first, so the place is in the number.
    fn entry(&mut self, np: &str) -> &mut Entry {
        let place = np
            .parse::<usize>()
            .ok()
            .and_then(|np| np.checked_sub(FIRST_NP));
        let entry = place.and_then(|place| self.entries.get_mut(place));
        entry.expect("we ask about our own transactions only")
    }

    fn read_fails(&mut self) -> bool {
        self.calls += 1;
        self.rng.percent(self.manners.lost_answer)
    }

    fn processed(&mut self, query: &ResultQuery) -> Outcome<Processed> {
        let key = query.request_key.to_string();
        let Some(received) = self
            .received
            .get_mut(&key)
            .filter(|seen| seen.accept_no == query.accept_no.as_str())
        else {
            return refused(&["E0100113"]);
        };
        let mut answer = Processed {
            status: ProcessedStatus::Pending,
            np_transaction_id: None,
            shop_transaction_id: None,
            billed_amount: None,
            codes: Vec::new(),
            processed_at: None,
        };
        if received.polls > 0 {
            received.polls -= 1;
        } else if !received.rejected.is_empty() {
            answer.status = ProcessedStatus::Rejected;
            answer.codes.clone_from(&received.rejected);
        } else {
            answer.status = ProcessedStatus::Done;
            answer.np_transaction_id = NpTransactionId::parse(&received.np);
            answer.shop_transaction_id = Some(query.request_key.order_no.clone());
            let off = self.manners.amount_off;
            answer.billed_amount = received.amount.map(|amount| amount + off);
        }
        answered(answer)
    }

    fn screen(&mut self, query: &AuthorizationQuery) -> Outcome<Screening> {
        let entry = self.entry(query.np_transaction_id.as_str());
        entry.rounds += 1;
        let (word, code) = match entry.word {
            Word::HoldThenApprove(rounds) if entry.rounds <= rounds => (ScreeningWord::Held, "10"),
            Word::Approve | Word::HoldThenApprove(_) => (ScreeningWord::Approved, "00"),
            Word::Refuse => (ScreeningWord::Refused, "20"),
        };
        let hold = if code == "10" {
            vec!["RE009".to_owned()]
        } else {
            Vec::new()
        };
        let ng = (code == "20").then(|| "22".to_owned());
        Outcome::Answered {
            response: serde_json::json!({ "authoriResult": code, "authoriHold": hold }).to_string(),
            value: Screening {
                word,
                authori_result: code.into(),
                ng,
                hold,
                required_date: None,
            },
        }
    }

    fn find(&self, query: &LookupQuery) -> Outcome<Lookup> {
        if !self.manners.lookup {
            return Outcome::Failed(CallError::Unavailable { call: Call::Lookup });
        }
        if self.manners.lookup_refused {
            return refused(&["E0100131"]);
        }
        match self.received.get(&query.request_key.to_string()) {
            Some(seen) if !self.manners.blind => answered(Lookup::Found(Found {
                by: FoundBy::RequestKey,
                accept_no: AcceptNo::parse(&seen.accept_no).expect("ours"),
                accept_key: None,
                np_transaction_id: NpTransactionId::parse(&seen.np),
                billed_amount: seen.amount,
            })),
            _ => answered(Lookup::NotFound),
        }
    }
}

#[async_trait]
impl Agency for FakeAgency {
    fn codes(&self) -> &Codes {
        &self.codes
    }

    async fn register(&self, items: &[Registration]) -> Answer<Acceptance> {
        self.mutate(
            items
                .iter()
                .map(|item| Item::Register(Box::new(item.clone())))
                .collect(),
        )
    }

    async fn update(&self, items: &[Update]) -> Answer<Acceptance> {
        self.mutate(items.iter().cloned().map(Item::Update).collect())
    }

    async fn cancel(&self, items: &[Cancel]) -> Answer<Acceptance> {
        self.mutate(items.iter().cloned().map(Item::Cancel).collect())
    }

    async fn bill(&self, items: &[Bill]) -> Answer<Acceptance> {
        self.mutate(items.iter().cloned().map(Item::Bill).collect())
    }

    async fn results(&self, items: &[ResultQuery]) -> Answer<Processed> {
        self.with(|inner| {
            if inner.read_fails() {
                return Answer::failed(
                    items.len(),
                    &CallError::Ambiguous {
                        reason: "timeout".into(),
                    },
                );
            }
            let mut outcomes: Vec<_> = items.iter().map(|item| inner.processed(item)).collect();
            if let (true, Some(first)) = (inner.manners.garbles_first, outcomes.first_mut()) {
                *first = Outcome::Failed(CallError::Ambiguous {
                    reason: "unreadable".into(),
                });
            }
            Answer {
                outcomes,
                violations: Vec::new(),
            }
        })
    }

    async fn authorizations(&self, items: &[AuthorizationQuery]) -> Answer<Screening> {
        self.with(|inner| {
            if inner.read_fails() {
                return Answer::failed(
                    items.len(),
                    &CallError::Ambiguous {
                        reason: "timeout".into(),
                    },
                );
            }
            Answer {
                outcomes: items.iter().map(|item| inner.screen(item)).collect(),
                violations: Vec::new(),
            }
        })
    }

    async fn lookup(&self, items: &[LookupQuery]) -> Answer<Lookup> {
        self.with(|inner| {
            if inner.read_fails() {
                return Answer::failed(
                    items.len(),
                    &CallError::Ambiguous {
                        reason: "timeout".into(),
                    },
                );
            }
            Answer {
                outcomes: items.iter().map(|item| inner.find(item)).collect(),
                violations: Vec::new(),
            }
        })
    }
}
