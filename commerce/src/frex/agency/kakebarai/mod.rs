//! The adapter to the public interface of NP Kakebarai (`spec/frex.md` 6.8).
//!
//! That interface answers at once: there are no acceptance numbers, no results to fetch, no change of an amount and no
//! look-up. The adapter makes the acceptance number itself from the request key, keeps the answer on a [`Shelf`] before it
//! says that the request is accepted, and reads results, screening and look-ups from there. What the interface cannot do is
//! [`CallError::Unavailable`], except the look-up of a cancel: repeating a cancel is harmless, so not to have its answer on
//! the shelf is as good as not having sent it.
//!
//! The interface bills what it has registered and takes no amount, so the amount is held against the shelf before.

mod shelf;
mod wire;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use sha2::{Digest, Sha256};

use super::codes::{Codes, Fault};
use super::items::{
    AcceptNo, Acceptance, AuthorizationQuery, Bill, Cancel, Found, FoundBy, Item, Lookup,
    LookupQuery, NpTransactionId, Processed, ProcessedStatus, Registration, ResultQuery, Screening,
    ScreeningWord, Update,
};
use super::limits::LimitError;
use super::settings::{AgencySettings, SettingsError};
use super::transport::{Exchange, Transport, rest_of, too_late};
use super::{Agency, Answer, Call, CallError, CallObserver, Outcome, Refusal};
use crate::frex::key::{RequestKey, RequestType};
use crate::secret::Secret;

pub use shelf::{KeptAnswer, Shelf, ShelfError, StoreShelf};

/// Refused by us: the amount to be billed is not the registered one.
pub const CODE_AMOUNT: &str = "LOCAL_AMOUNT";
/// Refused by us: there is no kept answer under this number.
pub const CODE_NOT_KEPT: &str = "LOCAL_NOT_KEPT";

/// The adapter.
pub struct KakebaraiAdapter {
    transport: Transport,
    shelf: Arc<dyn Shelf>,
    /// Longest time from the first to the last call of a batch.
    timeout: Duration,
}

impl KakebaraiAdapter {
    /// An adapter that keeps its answers on `shelf`.
    ///
    /// # Errors
    /// A setting cannot be used.
    pub fn new(
        settings: &AgencySettings,
        passwords: Vec<Secret>,
        shelf: Arc<dyn Shelf>,
        observer: Arc<dyn CallObserver>,
    ) -> Result<Self, SettingsError> {
        let transport = Transport::new(settings, passwords, observer)?;
        Ok(Self {
            transport,
            shelf,
            timeout: Duration::from_millis(settings.timeout_ms),
        })
    }

    /// Registers the items of one buyer.
    async fn register_for(&self, items: &[Registration]) -> Answer<Acceptance> {
        let exchange = Exchange {
            call: Call::Register,
            path: "/v1/transactions",
            encode: wire::registrations,
            decode: wire::registered,
        };
        let answer = self.transport.run(&exchange, items).await;
        let mut outcomes = Vec::with_capacity(items.len());
        for (item, outcome) in items.iter().zip(answer.outcomes) {
            let kept = |registered: &wire::Registered| KeptAnswer {
                accept_no: accept_no(&item.request_key),
                request_key: item.request_key.clone(),
                np_transaction_id: registered.np_transaction_id.clone(),
                billed_amount: item.billed_amount,
                authori_result: registered.authori_result.clone(),
                authori_ng: registered.authori_ng.clone(),
            };
            outcomes.push(self.keep(outcome, kept).await);
        }
        Answer {
            outcomes,
            violations: answer.violations,
        }
    }

    /// Puts an answer on the shelf; only then it is an acceptance.
    async fn keep<T>(
        &self,
        outcome: Outcome<T>,
        kept: impl Fn(&T) -> KeptAnswer + Send,
    ) -> Outcome<Acceptance>
    where
        T: Send + Sync,
    {
        match outcome {
            Outcome::Answered { value, response } => {
                let kept = kept(&value);
                match self.shelf.put(&kept).await {
                    Ok(()) => Outcome::Answered {
                        value: Acceptance {
                            accept_no: kept.accept_no,
                        },
                        response,
                    },
                    Err(error) => Outcome::Failed(lost(&kept, &error)),
                }
            }
            Outcome::AlreadyDone {
                accept_no,
                accept_key,
                codes,
                response,
            } => Outcome::AlreadyDone {
                accept_no,
                accept_key,
                codes,
                response,
            },
            Outcome::Refused(refusal) => Outcome::Refused(refusal),
            Outcome::Failed(error) => Outcome::Failed(error),
        }
    }

    /// Cancels and bills name the transaction only; what is done already is kept like what is done now.
    async fn settle<I: Item>(
        &self,
        exchange: &Exchange<I, ()>,
        items: &[I],
        kept: fn(&I) -> KeptAnswer,
    ) -> Answer<Acceptance> {
        let answer = self.transport.run(exchange, items).await;
        let mut outcomes = Vec::with_capacity(items.len());
        for (item, outcome) in items.iter().zip(answer.outcomes) {
            let entry = kept(item);
            outcomes.push(match outcome {
                Outcome::AlreadyDone {
                    codes, response, ..
                } => match self.shelf.put(&entry).await {
                    Ok(()) => Outcome::AlreadyDone {
                        accept_no: Some(entry.accept_no),
                        accept_key: None,
                        codes,
                        response,
                    },
                    Err(error) => Outcome::Failed(lost(&entry, &error)),
                },
                outcome => self.keep(outcome, |()| entry.clone()).await,
            });
        }
        Answer {
            outcomes,
            violations: answer.violations,
        }
    }

    /// Why a bill is not sent: the registered amount is another one, or not known.
    async fn objection(&self, item: &Bill) -> Option<Outcome<Acceptance>> {
        match self.shelf.registration(&item.np_transaction_id).await {
            Err(error) => Some(Outcome::Failed(unread(&error))),
            Ok(Some(kept)) if kept.billed_amount == item.billed_amount => None,
            Ok(_) => Some(refused(CODE_AMOUNT)),
        }
    }
}

#[async_trait]
impl Agency for KakebaraiAdapter {
    fn codes(&self) -> &Codes {
        self.transport.codes()
    }

    async fn register(&self, items: &[Registration]) -> Answer<Acceptance> {
        // One request of the public interface is about one buyer.
        let mut buyers: Vec<&str> = items.iter().map(|it| &*it.buyer.np_buyer_id).collect();
        buyers.sort_unstable();
        buyers.dedup();
        let mut outcomes: Vec<Option<Outcome<Acceptance>>> = items.iter().map(|_| None).collect();
        let mut violations = Vec::new();
        let began = Instant::now();
        let mut ended: Option<CallError> = None;
        for buyer in buyers {
            let of_buyer = |item: &&Registration| item.buyer.np_buyer_id == buyer;
            let part: Vec<_> = items.iter().filter(of_buyer).cloned().collect();
            let answer = if buyer.is_empty() {
                let problem = LimitError::Missing {
                    field: "buyer.npBuyerId",
                };
                Answer::failed(part.len(), &CallError::OverLimit { problem })
            } else if let Some(error) = &ended {
                Answer::failed(part.len(), error)
            } else if began.elapsed() > self.timeout {
                // The quiet time is reckoned from the mark, which all of them have had since before the first call.
                Answer::failed(part.len(), &too_late())
            } else {
                let answer = self.register_for(&part).await;
                // After a call without an answer the next one would wait in vain too.
                ended = answer.outcomes.iter().find_map(ends_the_rest);
                answer
            };
            violations.extend(answer.violations);
            let slots = items.iter().zip(&mut outcomes);
            let slots = slots.filter(|(item, _)| of_buyer(item));
            for ((_, slot), outcome) in slots.zip(answer.outcomes) {
                *slot = Some(outcome);
            }
        }
        let outcomes: Vec<_> = outcomes.into_iter().flatten().collect();
        assert_eq!(outcomes.len(), items.len(), "a buyer lost an outcome");
        Answer {
            outcomes,
            violations,
        }
    }

    async fn update(&self, items: &[Update]) -> Answer<Acceptance> {
        let call = Call::Update;
        Answer::failed(items.len(), &CallError::Unavailable { call })
    }

    async fn cancel(&self, items: &[Cancel]) -> Answer<Acceptance> {
        let exchange = Exchange {
            call: Call::Cancel,
            path: "/v1/transactions/cancel",
            encode: wire::cancels,
            decode: wire::settled,
        };
        let kept = |item: &Cancel| settled(&item.request_key, &item.np_transaction_id, 0);
        self.settle(&exchange, items, kept).await
    }

    async fn bill(&self, items: &[Bill]) -> Answer<Acceptance> {
        let mut outcomes = Vec::with_capacity(items.len());
        let mut sent = Vec::new();
        for item in items {
            let objection = self.objection(item).await;
            if objection.is_none() {
                sent.push(item.clone());
            }
            outcomes.push(objection);
        }
        let exchange = Exchange {
            call: Call::Bill,
            path: "/v1/bills/request",
            encode: wire::bills,
            decode: wire::settled,
        };
        let kept = |item: &Bill| {
            let amount = item.billed_amount;
            settled(&item.request_key, &item.np_transaction_id, amount)
        };
        let answer = self.settle(&exchange, &sent, kept).await;
        let mut rest = answer.outcomes.into_iter();
        let outcomes: Vec<_> = outcomes
            .into_iter()
            .filter_map(|objection| objection.or_else(|| rest.next()))
            .collect();
        assert_eq!(outcomes.len(), items.len(), "a bill lost its outcome");
        Answer {
            outcomes,
            violations: answer.violations,
        }
    }

    fn is_asked_for_results(&self) -> bool {
        false
    }

    async fn results(&self, items: &[ResultQuery]) -> Answer<Processed> {
        let mut outcomes = Vec::with_capacity(items.len());
        for item in items {
            outcomes.push(match self.shelf.get(&item.accept_no).await {
                Err(error) => Outcome::Failed(unread(&error)),
                Ok(Some(kept)) if kept.request_key == item.request_key => Outcome::Answered {
                    response: kept.response(),
                    value: processed(&kept),
                },
                Ok(_) => refused(CODE_NOT_KEPT),
            });
        }
        of(outcomes)
    }

    async fn authorizations(&self, items: &[AuthorizationQuery]) -> Answer<Screening> {
        let mut outcomes = Vec::with_capacity(items.len());
        for item in items {
            outcomes.push(
                match self.shelf.registration(&item.np_transaction_id).await {
                    Err(error) => Outcome::Failed(unread(&error)),
                    Ok(Some(kept)) => Outcome::Answered {
                        response: kept.response(),
                        value: Screening {
                            word: ScreeningWord::of_code(&kept.authori_result),
                            authori_result: kept.authori_result,
                            ng: kept.authori_ng,
                            hold: Vec::new(),
                            required_date: None,
                        },
                    },
                    Ok(None) => refused(CODE_NOT_KEPT),
                },
            );
        }
        of(outcomes)
    }

    async fn lookup(&self, items: &[LookupQuery]) -> Answer<Lookup> {
        let mut outcomes = Vec::with_capacity(items.len());
        for item in items {
            let kept = self.shelf.get(&accept_no(&item.request_key)).await;
            outcomes.push(match kept {
                Err(error) => Outcome::Failed(unread(&error)),
                Ok(Some(kept)) => Outcome::Answered {
                    response: kept.response(),
                    value: Lookup::Found(Found {
                        by: FoundBy::RequestKey,
                        accept_no: kept.accept_no,
                        accept_key: None,
                        np_transaction_id: Some(kept.np_transaction_id),
                        billed_amount: Some(kept.billed_amount),
                    }),
                },
                Ok(None) if item.request_key.kind == RequestType::DeleteReg => Outcome::Answered {
                    response: r#"{"found":false}"#.to_owned(),
                    value: Lookup::NotFound,
                },
                Ok(None) => Outcome::Failed(CallError::Unavailable { call: Call::Lookup }),
            });
        }
        of(outcomes)
    }
}

/// The acceptance number that stands for a request: made from its key, so that the same request always has the same.
#[must_use]
pub fn accept_no(key: &RequestKey) -> AcceptNo {
    let digest = Sha256::digest(key.to_string());
    let text = format!("L{}", hex::encode(&digest[..10]));
    // A letter and 20 hexadecimal digits.
    AcceptNo::parse(&text).expect("a local acceptance number has the form of one")
}

/// What becomes of the calls after one with this outcome, if they are not to be made.
fn ends_the_rest(outcome: &Outcome<Acceptance>) -> Option<CallError> {
    match outcome {
        Outcome::Failed(CallError::OverLimit { .. } | CallError::Unavailable { .. }) => None,
        Outcome::Failed(error) => Some(rest_of(error)),
        _ => None,
    }
}

/// What is kept of a cancel or a bill.
fn settled(key: &RequestKey, np: &NpTransactionId, billed_amount: i64) -> KeptAnswer {
    KeptAnswer {
        accept_no: accept_no(key),
        request_key: key.clone(),
        np_transaction_id: np.clone(),
        billed_amount,
        authori_result: String::new(),
        authori_ng: None,
    }
}

/// The result of what is on the shelf: only what was done is there.
fn processed(kept: &KeptAnswer) -> Processed {
    Processed {
        status: ProcessedStatus::Done,
        np_transaction_id: Some(kept.np_transaction_id.clone()),
        shop_transaction_id: Some(kept.request_key.order_no.clone()),
        billed_amount: Some(kept.billed_amount),
        codes: Vec::new(),
        processed_at: None,
    }
}

fn of<T>(outcomes: Vec<Outcome<T>>) -> Answer<T> {
    Answer {
        outcomes,
        violations: Vec::new(),
    }
}

fn refused<T>(code: &str) -> Outcome<T> {
    Outcome::Refused(Refusal {
        codes: vec![code.to_owned()],
        fault: Fault::Order,
        response: serde_json::json!({ "codes": [code] }).to_string(),
    })
}

/// The agency has done it and we could not keep its answer: for an operator, with the number to look for.
fn lost(kept: &KeptAnswer, error: &ShelfError) -> CallError {
    let key = &kept.request_key;
    let np = &kept.np_transaction_id;
    log::error!("frex: {key} is done as transaction {np}, but its answer is not kept: {error}");
    CallError::Ambiguous {
        reason: format!("done as transaction {np}, but the answer could not be kept: {error}"),
    }
}

fn unread(error: &ShelfError) -> CallError {
    CallError::NotSent {
        reason: error.to_string(),
    }
}
