//! A stand-in for Atom: a ledger of captures, scripted faults, and messages encrypted and signed as Atom's are.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, OnceLock};

use async_trait::async_trait;
use commerce::atom::call::{Api, Atom, CallError, Doubt, NotSent};
use commerce::atom::wire::callback_open::InboundKeys;
use commerce::atom::wire::codes::{Class, Reading, Refusal};
use commerce::atom::wire::crypt::CipherKey;
use commerce::atom::wire::messages::{
    Amounts, AuthAnswer, AuthRequest, RefundAnswer, RefundMark, RefundRequest, RefundStatusAnswer,
    RefundStatusRequest, StatusAnswer, StatusRequest, StatusTransaction, TokenId,
};
use commerce::atom::wire::sign::CallbackFields;
use commerce::clock::Clock;
use commerce::secret::Secret;
use tokio::time::Instant;

use super::desk::{Desk, ListFate, RefundFate};

/// The published dummy values of the acceptance test.
pub const MERCH_ID: &str = "317157";
const RESPONSE_KEY: &str = "75AEF0FA1B94B3C10D4F5B268F757F11";
const RESPONSE_HASH_KEY: &str = "KEYRESP123657234";

fn cipher() -> &'static CipherKey {
    static CIPHER: OnceLock<CipherKey> = OnceLock::new();
    CIPHER.get_or_init(derive)
}

fn derive() -> CipherKey {
    CipherKey::derive(&Secret::from(RESPONSE_KEY), &Secret::from(RESPONSE_KEY))
}

/// What opens the messages. The derivation is slow, so all flows of the program share it.
pub fn inbound() -> Arc<InboundKeys> {
    static KEYS: OnceLock<Arc<InboundKeys>> = OnceLock::new();
    let make = || {
        let hash = vec![Secret::from(RESPONSE_HASH_KEY)];
        Arc::new(InboundKeys::new(vec![derive()], hash, MERCH_ID.to_owned()))
    };
    KEYS.get_or_init(make).clone()
}

/// What happens to one AUTH call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AuthFate {
    /// No connection.
    NotSent,
    /// The breaker is open.
    CircuitOpen,
    /// The token is made, and the answer lost.
    LostAfter,
    /// Refused.
    Refused(Refusal),
    /// No answer, ever.
    Hangs,
    /// The token is made when the test says so.
    Waits,
}

/// What happens to one status call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum StatusFate {
    /// No answer.
    Silent,
    /// Our request is refused.
    OurFault,
    /// Atom does not see it yet.
    Lagging,
    /// Another amount.
    OtherAmount,
}

/// One payment in the ledger.
#[derive(Clone, Debug, Default)]
pub struct Txn {
    pub order_id: String,
    pub amount: i64,
    pub date: String,
    pub captures: Vec<String>,
    pub reversed: bool,
    pub code: Option<&'static str>,
    pub newest_first: bool,
    pub other_amount: Option<i64>,
    /// A status query lists this payment alone, with this code.
    pub lists_only: Option<(String, &'static str)>,
    pub settled: bool,
}

#[derive(Default)]
struct State {
    txns: BTreeMap<String, Txn>,
    auth: VecDeque<AuthFate>,
    auth_began: Vec<Instant>,
    status: VecDeque<StatusFate>,
    numbers: u64,
    queries: usize,
    desk: Desk,
}

/// Atom.
pub struct Gateway {
    state: Mutex<State>,
    clock: Clock,
    /// Whether a call of AUTH waits to go on.
    at_auth: tokio::sync::watch::Sender<bool>,
}

impl Gateway {
    pub fn new(clock: Clock) -> Gateway {
        Gateway {
            state: Mutex::default(),
            clock,
            at_auth: tokio::sync::watch::Sender::new(false),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no test panics inside")
    }

    /// What happens to the next AUTH calls.
    pub fn next_auth(&self, fates: impl IntoIterator<Item = AuthFate>) {
        self.state().auth.extend(fates);
    }

    /// Waits until a call of AUTH waits.
    pub async fn auth_waits(&self) {
        let _ = self.at_auth.subscribe().wait_for(|at| *at).await;
    }

    /// Lets it go on.
    pub fn auth_goes_on(&self) {
        self.at_auth.send_replace(false);
    }

    /// What happens to the next status calls.
    pub fn next_status(&self, fates: impl IntoIterator<Item = StatusFate>) {
        self.state().status.extend(fates);
    }

    /// Reads or changes the refund half.
    pub fn desk<T>(&self, act: impl FnOnce(&mut Desk) -> T) -> T {
        act(&mut self.state().desk)
    }

    /// What happens to the next refund call of a payment.
    pub fn next_refund(&self, merch_txn_id: &str, fate: RefundFate) {
        self.desk(|desk| desk.calls.insert(merch_txn_id.to_owned(), fate));
    }

    /// What the list of refunds says about the first capture of a payment from now on; `None` for the truth.
    pub fn list_says(&self, merch_txn_id: &str, fate: Option<ListFate>) {
        let number = self.ledger()[merch_txn_id].captures[0].clone();
        self.desk(|desk| match fate {
            Some(fate) => desk.lists.insert(number, fate),
            None => desk.lists.remove(&number),
        });
    }

    /// Status calls so far.
    pub fn queries(&self) -> usize {
        self.state().queries
    }

    /// All payments.
    pub fn ledger(&self) -> BTreeMap<String, Txn> {
        self.state().txns.clone()
    }

    /// The customer pays by this attempt; again if it was paid.
    pub fn pay(&self, merch_txn_id: &str) -> String {
        let mut state = self.state();
        state.numbers += 1;
        let number = (11_000_000_900_000 + state.numbers).to_string();
        let txn = state
            .txns
            .get_mut(merch_txn_id)
            .expect("a token was made for it");
        txn.captures.push(number.clone());
        txn.code = None;
        number
    }

    /// The customer pays by this attempt unless he has.
    pub fn pay_once(&self, merch_txn_id: &str) {
        let known = self
            .state()
            .txns
            .get(merch_txn_id)
            .is_some_and(|txn| txn.captures.is_empty());
        if known {
            self.pay(merch_txn_id);
        }
    }

    /// From now on a status query says this code.
    pub fn say(&self, merch_txn_id: &str, code: &'static str) {
        self.state()
            .txns
            .get_mut(merch_txn_id)
            .expect("it is known")
            .code = Some(code);
    }

    /// Changes what a status query says of an attempt.
    pub fn change(&self, merch_txn_id: &str, change: impl FnOnce(&mut Txn)) {
        let mut state = self.state();
        change(state.txns.get_mut(merch_txn_id).expect("it is known"));
    }

    /// When each call of AUTH says that its customer began to wait.
    pub fn auth_began(&self) -> Vec<Instant> {
        self.state().auth_began.clone()
    }

    /// Atom gives the payment back of its own accord.
    pub fn reverse(&self, merch_txn_id: &str) {
        self.state()
            .txns
            .get_mut(merch_txn_id)
            .expect("it is known")
            .reversed = true;
    }

    /// The message about the first capture, or about a failure if there is none.
    pub fn message(&self, merch_txn_id: &str) -> Message {
        let state = self.state();
        let txn = &state.txns[merch_txn_id];
        let paid = txn.captures.first();
        Message {
            merch_txn_id: merch_txn_id.to_owned(),
            atom_txn_id: paid.cloned().unwrap_or_else(|| "11000000800000".to_owned()),
            amount: txn.amount,
            surcharge: 0,
            total: txn.amount,
            currency: "INR",
            code: if paid.is_some() { "OTS0000" } else { "OTS0603" },
            message: if paid.is_some() { "SUCCESS" } else { "FAILED" },
            order_id: txn.order_id.clone(),
            signed: true,
        }
    }
}

/// A callback, field by field.
#[derive(Clone, Debug)]
pub struct Message {
    pub merch_txn_id: String,
    pub atom_txn_id: String,
    pub amount: i64,
    pub surcharge: i64,
    pub total: i64,
    pub currency: &'static str,
    pub code: &'static str,
    pub message: &'static str,
    pub order_id: String,
    pub signed: bool,
}

fn rupees(minor: i64) -> String {
    format!("{}.{:02}", minor / 100, minor % 100)
}

impl Message {
    /// The form body as Atom posts it.
    pub fn body(&self) -> Vec<u8> {
        let bank = "0011000000900001001";
        let fields = CallbackFields {
            merch_id: MERCH_ID,
            atom_txn_id: &self.atom_txn_id,
            merch_txn_id: &self.merch_txn_id,
            total: &rupees(self.total),
            status_code: self.code,
            sub_channel: "CC",
        };
        let signature = if self.signed {
            format!(
                "{:?}",
                hex::encode(fields.signature(&Secret::from(RESPONSE_HASH_KEY), bank))
            )
        } else {
            "null".to_owned()
        };
        let plain = format!(
            r#"{{"payInstrument":{{"merchDetails":{{"merchId":{MERCH_ID},"merchTxnId":"{}","merchTxnDate":"2025-01-15T10:30:00"}},"payDetails":{{"atomTxnId":{},"prodDetails":[{{"prodName":"NSE","prodAmount":{}}}],"amount":{},"surchargeAmount":{},"totalAmount":{},"txnCurrency":"{}","signature":{signature},"txnInitDate":"2025-01-15 10:30:05","txnCompleteDate":"2025-01-15 10:30:40"}},"payModeSpecificData":{{"subChannel":["CC"],"bankDetails":{{"otsBankId":2,"bankTxnId":"{bank}","otsBankName":"Sim Bank"}}}},"extras":{{"udf1":"{}"}},"custDetails":{{"custEmail":"buyer@example.com","custMobile":"9000000000"}},"responseDetails":{{"statusCode":"{}","message":"{}","description":""}}}}}}"#,
            self.merch_txn_id,
            self.atom_txn_id,
            rupees(self.amount),
            rupees(self.amount),
            rupees(self.surcharge),
            rupees(self.total),
            self.currency,
            self.order_id,
            self.code,
            self.message,
        );
        format!("merchId={MERCH_ID}&encData={}", cipher().encrypt(&plain)).into_bytes()
    }
}

fn ambiguous(api: Api) -> CallError {
    CallError::Ambiguous {
        api,
        doubt: Doubt::Timeout,
        http_status: None,
        retry_after: None,
    }
}

impl Txn {
    fn answer(&self, merch_txn_id: &str, said_amount: i64) -> StatusAnswer {
        let said = |code: &str, class: Class, capture: Option<&String>| StatusTransaction {
            reading: Reading::quiet(class),
            status_code: code.to_owned(),
            atom_txn_id: capture.cloned(),
            amounts: Amounts {
                amount: Some(said_amount),
                total: Some(said_amount),
                ..Amounts::default()
            },
            sub_channel: Some("CC".to_owned()),
            bank_txn_id: Some("0011000000900001001".to_owned()),
            ots_bank_name: None,
            recon_status: Some(if self.settled { "RS" } else { "NRNS" }.to_owned()),
        };
        assert!(!merch_txn_id.is_empty());
        if let Some((number, code)) = &self.lists_only {
            let class = match *code {
                "OTS0000" => Class::Success,
                "OTS0001" => Class::Reversed,
                "OTS0551" => Class::Pending,
                _ => Class::Failed,
            };
            return StatusAnswer {
                reading: Reading::quiet(class),
                transaction: Some(said(code, class, Some(number))),
                others: Vec::new(),
            };
        }
        let first = self.captures.first();
        let transaction = match (self.reversed, first, self.code) {
            (true, _, _) => Some(said("OTS0001", Class::Reversed, first)),
            (_, _, Some("OTS0401")) | (_, None, None) => None,
            (_, _, Some("OTS0551")) => Some(said("OTS0551", Class::Pending, first)),
            (_, _, Some("OTS9999")) => Some(said("OTS9999", Class::Unknown, first)),
            (_, _, Some(code)) => Some(said(code, Class::Failed, first)),
            (_, Some(_), None) => Some(said("OTS0000", Class::Success, first)),
        };
        let further = self.captures.iter().skip(1);
        let further = further.map(|number| said("OTS0000", Class::Success, Some(number)));
        let mut list: Vec<_> = transaction.into_iter().chain(further).collect();
        if self.newest_first {
            list.reverse();
        }
        // A success goes before anything else.
        list.sort_by_key(|said| said.reading.class != Class::Success);
        let mut list = list.into_iter();
        let transaction = list.next();
        StatusAnswer {
            reading: transaction
                .as_ref()
                .map_or(Reading::quiet(Class::NoData), |said| said.reading),
            transaction,
            others: list.collect(),
        }
    }
}

#[async_trait]
impl Atom for Gateway {
    async fn auth(&self, request: &AuthRequest, began: Instant) -> Result<AuthAnswer, CallError> {
        let api = Api::Auth;
        let fate = {
            let mut state = self.state();
            state.auth_began.push(began);
            state.auth.pop_front()
        };
        match fate {
            Some(AuthFate::NotSent) => {
                return Err(CallError::NotSent {
                    api,
                    why: NotSent::Connect,
                });
            }
            Some(AuthFate::CircuitOpen) => {
                return Err(CallError::CircuitOpen {
                    api,
                    retry_after: std::time::Duration::from_secs(15),
                });
            }
            Some(AuthFate::Refused(refusal)) => {
                let code = "OTS0600".to_owned();
                return Err(CallError::Refused {
                    api,
                    code,
                    refusal,
                    http_status: 200,
                });
            }
            Some(AuthFate::Hangs) => std::future::pending().await,
            Some(AuthFate::Waits) => {
                self.at_auth.send_replace(true);
                // The sender lives as long as this Atom.
                let _ = self.at_auth.subscribe().wait_for(|at| !at).await;
            }
            Some(AuthFate::LostAfter) | None => {}
        }
        let now = commerce::clock::ist_datetime(self.clock.now_ms());
        assert!(
            request.merch_txn_date_ist <= now,
            "OTS0639: {}",
            request.merch_txn_date_ist
        );
        let mut state = self.state();
        let txn = Txn {
            order_id: request.order_id.clone(),
            amount: request.amount,
            date: request.merch_txn_date_ist.clone(),
            ..Txn::default()
        };
        let before = state.txns.insert(request.merch_txn_id.clone(), txn);
        assert!(before.is_none(), "{} was sent twice", request.merch_txn_id);
        state.numbers += 1;
        let token = (15_000_000_085_000 + state.numbers).to_string();
        if fate == Some(AuthFate::LostAfter) {
            return Err(ambiguous(api));
        }
        Ok(AuthAnswer {
            token: TokenId::new(&token).expect("a token"),
        })
    }

    async fn status(&self, request: &StatusRequest) -> Result<StatusAnswer, CallError> {
        let api = Api::Status;
        let mut state = self.state();
        state.queries += 1;
        let fate = state.status.pop_front();
        let txn = state
            .txns
            .get(&request.merch_txn_id)
            .cloned()
            .unwrap_or_default();
        if !txn.date.is_empty() {
            assert_eq!(
                txn.date[..10],
                request.merch_txn_date_ist[..10],
                "the day of AUTH"
            );
        }
        match fate {
            Some(StatusFate::Silent) => Err(ambiguous(api)),
            Some(StatusFate::OurFault) => Err(CallError::Refused {
                api,
                code: "OTS0506".to_owned(),
                refusal: Refusal::Signature,
                http_status: 200,
            }),
            Some(StatusFate::Lagging) => Ok(Txn::default().answer(&request.merch_txn_id, 0)),
            Some(StatusFate::OtherAmount) => Ok(txn.answer(&request.merch_txn_id, 1)),
            None => {
                let amount = txn.other_amount.unwrap_or(txn.amount);
                Ok(txn.answer(&request.merch_txn_id, amount))
            }
        }
    }

    fn refund_mark(&self, request: &RefundRequest) -> Result<RefundMark, CallError> {
        Ok(RefundMark {
            amount_text: rupees(request.total()),
            digest: format!("{request:?}"),
        })
    }

    async fn refund(&self, request: &RefundRequest) -> Result<RefundAnswer, CallError> {
        let answer = {
            let now_ms = self.clock.now_ms();
            let mut state = self.state();
            let txn = state.txns.get(&request.merch_txn_id);
            let captured = txn.map_or(0, |txn| txn.amount);
            state.desk.refund(request, captured, now_ms)
        };
        match answer {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }

    async fn refund_status(
        &self,
        request: &RefundStatusRequest,
    ) -> Result<RefundStatusAnswer, CallError> {
        let now_ms = self.clock.now_ms();
        self.state().desk.list(&request.atom_txn_id, now_ms)
    }
}
