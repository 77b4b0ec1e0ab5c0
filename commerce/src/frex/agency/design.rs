//! The design protocol: JSON over HTTP, acceptance numbers now, outcomes later (`spec/frex.md` 6.1 to 6.6).
//!
//! Says how each call is written and how one entry of its results is read. An entry that does not follow the contract to the
//! letter is a violation, never a guess; unknown fields are ignored.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Deserializer};

use super::codes::{CODE_CHARS_MAX, Codes};
use super::items::{
    AcceptNo, Acceptance, AuthorizationQuery, Bill, Cancel, Found, FoundBy, Item, Lookup,
    LookupQuery, NpTransactionId, Processed, ProcessedStatus, Registration, ResultQuery, Screening,
    ScreeningWord, Update,
};
use super::matching::{self, Asked, CODES_MAX, Read, Unreadable};
use super::settings::{AgencySettings, SettingsError};
use super::transport::{Exchange, Transport};
use super::{Agency, Answer, Call, CallObserver, ViolationKind};
use crate::frex::key::{RequestType, is_order_no};
use crate::secret::Secret;

/// Longest time of the agency's that is kept.
const TIME_CHARS_MAX: usize = 40;

/// The client of the design protocol.
pub struct DesignClient {
    transport: Transport,
}

impl DesignClient {
    /// A client that uses the first password until the agency rejects it, then the second if there is one.
    ///
    /// # Errors
    /// A setting cannot be used.
    pub fn new(
        settings: &AgencySettings,
        passwords: Vec<Secret>,
        observer: Arc<dyn CallObserver>,
    ) -> Result<Self, SettingsError> {
        let transport = Transport::new(settings, passwords, observer)?;
        Ok(Self { transport })
    }

    async fn call<I: Item, T: Entry<I>>(&self, call: Call, items: &[I]) -> Answer<T> {
        let exchange = Exchange {
            call,
            path: call.path(),
            encode: requests,
            decode: T::decode,
        };
        self.transport.run(&exchange, items).await
    }
}

#[async_trait]
impl Agency for DesignClient {
    fn codes(&self) -> &Codes {
        self.transport.codes()
    }

    async fn register(&self, items: &[Registration]) -> Answer<Acceptance> {
        self.call(Call::Register, items).await
    }

    async fn update(&self, items: &[Update]) -> Answer<Acceptance> {
        self.call(Call::Update, items).await
    }

    async fn cancel(&self, items: &[Cancel]) -> Answer<Acceptance> {
        self.call(Call::Cancel, items).await
    }

    async fn bill(&self, items: &[Bill]) -> Answer<Acceptance> {
        self.call(Call::Bill, items).await
    }

    async fn results(&self, items: &[ResultQuery]) -> Answer<Processed> {
        self.call(Call::Results, items).await
    }

    async fn authorizations(&self, items: &[AuthorizationQuery]) -> Answer<Screening> {
        self.call(Call::Authorizations, items).await
    }

    async fn lookup(&self, items: &[LookupQuery]) -> Answer<Lookup> {
        self.call(Call::Lookup, items).await
    }
}

/// `{"requests":[...]}` of the exact bytes of each item, so that a repetition repeats them.
pub(super) fn requests<I: Item>(items: &[&I]) -> Vec<u8> {
    let mut body = b"{\"requests\":[".to_vec();
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            body.push(b',');
        }
        body.extend(item.encode());
    }
    body.extend(b"]}");
    body
}

/// What stands in the results of a call for one item.
pub(super) trait Entry<I: Item>: Sized {
    /// Reads one entry for the item it answers.
    fn read(item: &I, raw: &str) -> Result<Self, ViolationKind>;

    /// Reads a whole answer.
    fn decode(asked: Asked<'_>, body: &[u8], items: &[&I]) -> Result<Answer<Self>, Unreadable> {
        let read: Read<I, Self> = Self::read;
        matching::answer(asked, body, items, read)
    }
}

impl<I: Item> Entry<I> for Acceptance {
    fn read(_item: &I, raw: &str) -> Result<Self, ViolationKind> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Wire {
            accept_no: String,
        }
        let wire: Wire = parse(raw)?;
        let accept_no = AcceptNo::parse(&wire.accept_no).ok_or(ViolationKind::Malformed)?;
        Ok(Self { accept_no })
    }

    fn decode(asked: Asked<'_>, body: &[u8], items: &[&I]) -> Result<Answer<Self>, Unreadable> {
        let mut answer = matching::answer(asked, body, items, <Self as Entry<I>>::read)?;
        matching::reject_shared_numbers(asked.call, items, &mut answer);
        Ok(answer)
    }
}

impl Entry<ResultQuery> for Processed {
    fn read(item: &ResultQuery, raw: &str) -> Result<Self, ViolationKind> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Wire {
            accept_no: String,
            request_type: Option<RequestType>,
            status: String,
            np_transaction_id: Option<String>,
            shop_transaction_id: Option<String>,
            billed_amount: Option<i64>,
            #[serde(default, deserialize_with = "null_is_empty")]
            codes: Vec<String>,
            processed_at: Option<String>,
        }
        let wire: Wire = parse(raw)?;
        if wire.accept_no != item.accept_no.as_str() {
            return Err(ViolationKind::AcceptNo);
        }
        let status = match wire.status.as_str() {
            "PENDING" => ProcessedStatus::Pending,
            "DONE" => ProcessedStatus::Done,
            "REJECTED" => ProcessedStatus::Rejected,
            _ => return Err(ViolationKind::Malformed),
        };
        let processed = Self {
            status,
            np_transaction_id: transaction(wire.np_transaction_id)?,
            shop_transaction_id: wire.shop_transaction_id,
            billed_amount: wire.billed_amount,
            codes: matching::clean_codes(wire.codes).ok_or(ViolationKind::Malformed)?,
            processed_at: wire.processed_at,
        };
        let kind = item.request_key.kind;
        let complete = status != ProcessedStatus::Done
            || match kind {
                RequestType::OrderReg => {
                    processed.np_transaction_id.is_some() && processed.billed_amount.is_some()
                }
                RequestType::UpdateReg | RequestType::BillingReg => {
                    processed.billed_amount.is_some()
                }
                _ => true,
            };
        let shop = processed.shop_transaction_id.as_deref();
        let fits = complete
            && wire.request_type.is_none_or(|it| it == kind)
            && shop.is_none_or(is_order_no)
            && is_short(processed.processed_at.as_deref(), TIME_CHARS_MAX);
        fits.then_some(processed).ok_or(ViolationKind::Malformed)
    }
}

impl Entry<AuthorizationQuery> for Screening {
    fn read(_item: &AuthorizationQuery, raw: &str) -> Result<Self, ViolationKind> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Wire {
            #[serde(alias = "authorResult")]
            authori_result: Option<String>,
            authori_ng: Option<String>,
            authori_hold: Option<Vec<String>>,
            authori_required_date: Option<String>,
        }
        let wire: Wire = parse(raw)?;
        let hold = wire.authori_hold.unwrap_or_default();
        let code = wire.authori_result.unwrap_or_default();
        let short = |text: &str| is_short(Some(text), CODE_CHARS_MAX);
        let fits = short(&code)
            && is_short(wire.authori_ng.as_deref(), CODE_CHARS_MAX)
            && hold.len() <= CODES_MAX
            && hold.iter().all(|code| short(code))
            && is_short(wire.authori_required_date.as_deref(), TIME_CHARS_MAX);
        let screening = Self {
            word: ScreeningWord::of_code(&code),
            authori_result: code,
            ng: wire.authori_ng,
            hold,
            required_date: wire.authori_required_date,
        };
        fits.then_some(screening).ok_or(ViolationKind::Malformed)
    }
}

impl Entry<LookupQuery> for Lookup {
    fn read(_item: &LookupQuery, raw: &str) -> Result<Self, ViolationKind> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Wire {
            found: bool,
            found_by: Option<String>,
            accept_no: Option<String>,
            accepted_key: Option<String>,
            np_transaction_id: Option<String>,
            billed_amount: Option<i64>,
        }
        let wire: Wire = parse(raw)?;
        if !wire.found {
            return Ok(Self::NotFound);
        }
        let by = match wire.found_by.as_deref() {
            None | Some("requestKey") => FoundBy::RequestKey,
            Some("shopTransactionId") => FoundBy::ShopTransactionId,
            Some("npTransactionId") => FoundBy::NpTransactionId,
            Some(_) => return Err(ViolationKind::Malformed),
        };
        let accept_no = wire.accept_no.as_deref().and_then(AcceptNo::parse);
        Ok(Self::Found(Found {
            by,
            accept_no: accept_no.ok_or(ViolationKind::Malformed)?,
            accept_key: wire.accepted_key.and_then(|key| key.parse().ok()),
            np_transaction_id: transaction(wire.np_transaction_id)?,
            billed_amount: wire.billed_amount,
        }))
    }
}

fn parse<'a, T: Deserialize<'a>>(raw: &'a str) -> Result<T, ViolationKind> {
    serde_json::from_str(raw).map_err(|_| ViolationKind::Malformed)
}

/// A transaction number, where `''` and `'0'` mean that there is none.
fn transaction(text: Option<String>) -> Result<Option<NpTransactionId>, ViolationKind> {
    match text.as_deref() {
        None | Some("" | "0") => Ok(None),
        Some(text) => NpTransactionId::parse(text)
            .map(Some)
            .ok_or(ViolationKind::Malformed),
    }
}

fn null_is_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Short and visible, as a code or a time is.
fn is_short(text: Option<&str>, chars_max: usize) -> bool {
    text.is_none_or(|text| {
        text.len() <= chars_max && text.bytes().all(|byte| byte.is_ascii_graphic())
    })
}
