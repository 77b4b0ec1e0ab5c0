//! The durable mark before a mutating call: is the request still wanted, what exactly is sent, and SENDING.

use std::collections::HashMap;

use async_trait::async_trait;

use super::condition::{self, Latest};
use super::effect::{self, Facts};
use super::group::{self, Work};
use super::payload::{self, Payload};
use super::table::{Gone, Step};
use crate::frex::alert::{self, AlertKind};
use crate::frex::batch::Batch;
use crate::frex::error::FrexError;
use crate::frex::key::RequestType;
use crate::frex::model::{Pair, Request, RequestState};
use crate::frex::news;
use crate::frex::tables;
use crate::frex::worker::Run;
use crate::store::Tx;

/// A request marked SENDING, with what is to be sent.
pub type Marked = (Request, Payload);

struct Mark<'a> {
    step: &'a Step,
}

struct Loaded {
    pairs: HashMap<String, Pair>,
    sealed: HashMap<String, String>,
}

/// Marks requests. One result per request: what to send, or nothing if it was skipped.
///
/// # Errors
/// No item can be done.
pub async fn mark(
    run: &Run<'_>,
    step: &Step,
    requests: &[Request],
) -> Result<Vec<Result<Option<Marked>, FrexError>>, FrexError> {
    group::all(run, &Mark { step }, requests).await
}

/// Skips requests that are no longer wanted. Used for questions, which have no mark.
///
/// # Errors
/// No item can be done.
pub async fn drop_unwanted(
    run: &Run<'_>,
    step: &Step,
    requests: &[Request],
) -> Result<Vec<Result<bool, FrexError>>, FrexError> {
    group::all(run, &Drop { step }, requests).await
}

/// Why a request of this order is no longer wanted, if so.
#[must_use]
pub fn gone<'a>(run: &Run<'_>, step: &'a Step, pair: &Pair) -> Option<&'a Gone> {
    let none = Latest::new();
    step.gone
        .iter()
        .find(|gone| condition::all_hold(gone.when, pair, &none, run.settings(), run.now()))
}

async fn skip(
    run: &Run<'_>,
    tx: &mut Tx,
    gone: &Gone,
    pair: &Pair,
    request: &Request,
    batch: &mut Batch,
) -> Result<(), FrexError> {
    let mut after = request.clone();
    after.state = RequestState::Skipped;
    after.done_at = run.now();
    batch.save_request(request, &after)?;
    if let (false, Some(before)) = (gone.set.is_empty(), &pair.info) {
        let mut changed = pair.clone();
        effect::apply(
            gone.set,
            &mut changed,
            &Facts {
                now: run.now(),
                ..Facts::default()
            },
        );
        batch.save_state(before, changed.info.as_ref().expect("it was there"))?;
        news::tell(tx, run.settings(), pair, &changed, run.now()).await?;
    }
    let (order_no, keys) = (&request.key.order_no, [request.key.to_string()]);
    for kind in [
        AlertKind::StandbyOverdue,
        AlertKind::DelayOverdue,
        AlertKind::HoldNeedsData,
    ] {
        alert::resolve_requests(tx.conn(), kind, order_no, &keys, "skipped", run.now()).await?;
    }
    log::info!("frex: {} {} -> SKIPPED", request.key, request.state);
    Ok(())
}

fn missing(request: &Request) -> FrexError {
    FrexError::Missing {
        what: "the order",
        order_no: request.key.order_no.clone(),
    }
}

async fn pairs_of(tx: &mut Tx, items: &[Request]) -> Result<HashMap<String, Pair>, FrexError> {
    let order_nos: Vec<&str> = items
        .iter()
        .map(|item| item.key.order_no.as_str())
        .collect();
    tables::pairs(tx, &order_nos).await
}

#[async_trait]
impl Work for Mark<'_> {
    type Item = Request;
    type Loaded = Loaded;
    type Out = Option<Marked>;

    async fn load(
        &self,
        _run: &Run<'_>,
        tx: &mut Tx,
        items: &[Request],
    ) -> Result<Loaded, FrexError> {
        let pairs = pairs_of(tx, items).await?;
        let mut sealed = HashMap::new();
        if self.step.kind == RequestType::OrderReg {
            let order_nos: Vec<&str> = items
                .iter()
                .map(|item| item.key.order_no.as_str())
                .collect();
            sealed = tables::sealed(tx.conn(), &order_nos).await?;
        }
        Ok(Loaded { pairs, sealed })
    }

    async fn one(
        &self,
        run: &Run<'_>,
        tx: &mut Tx,
        request: &Request,
        loaded: &mut Loaded,
        batch: &mut Batch,
    ) -> Result<Option<Marked>, FrexError> {
        let pair = loaded
            .pairs
            .get(&request.key.order_no)
            .ok_or_else(|| missing(request))?;
        if let Some(gone) = gone(run, self.step, pair) {
            skip(run, tx, gone, pair, request, batch).await?;
            return Ok(None);
        }
        let (payload, mut marked) =
            payload::build(run.vault(), pair, request, &loaded.sealed, run.now())?;
        marked.state = RequestState::Sending;
        marked.attempt_count += 1;
        marked.sent_at = run.now();
        batch.save_request(request, &marked)?;
        log::debug!("frex: {} {} -> SENDING", request.key, request.state);
        Ok(Some((marked, payload)))
    }

    fn points(&self) -> (&'static str, &'static str) {
        (self.step.points.mark, self.step.points.marked)
    }
}

struct Drop<'a> {
    step: &'a Step,
}

#[async_trait]
impl Work for Drop<'_> {
    type Item = Request;
    type Loaded = HashMap<String, Pair>;
    type Out = bool;

    async fn load(
        &self,
        _run: &Run<'_>,
        tx: &mut Tx,
        items: &[Request],
    ) -> Result<Self::Loaded, FrexError> {
        pairs_of(tx, items).await
    }

    async fn one(
        &self,
        run: &Run<'_>,
        tx: &mut Tx,
        request: &Request,
        loaded: &mut Self::Loaded,
        batch: &mut Batch,
    ) -> Result<bool, FrexError> {
        let pair = loaded
            .get(&request.key.order_no)
            .ok_or_else(|| missing(request))?;
        let Some(gone) = gone(run, self.step, pair) else {
            return Ok(false);
        };
        skip(run, tx, gone, pair, request, batch).await?;
        Ok(true)
    }

    fn points(&self) -> (&'static str, &'static str) {
        (self.step.points.mark, self.step.points.marked)
    }
}
