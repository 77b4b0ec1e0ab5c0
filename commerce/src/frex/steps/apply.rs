//! Phase *proc*: writes down what [`super::outcome`] decided, one item whole or not at all.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use sqlx::AssertSqlSafe;

use super::effect::{self, Facts};
use super::group::{self, Work};
use super::outcome::{self, Case, Decision, Heard, Tally};
use super::table::{self, Set, Step};
use crate::frex::alert::{self, AlertKind};
use crate::frex::batch::Batch;
use crate::frex::error::FrexError;
use crate::frex::model::{BillingState, Pair, Request, RequestState};
use crate::frex::news;
use crate::frex::tables;
use crate::frex::worker::Run;
use crate::store::Tx;

/// What became of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// What it counts as.
    pub tally: Tally,
    /// The amount, if the order was billed by it.
    pub billed: Option<i64>,
    /// What screening said, if it said something new.
    pub screened: Option<&'static str>,
}

struct Apply<'a> {
    step: &'a Step,
}

struct Loaded {
    pairs: HashMap<String, Pair>,
    regs: HashMap<String, Request>,
    alerted: HashSet<(String, String)>,
}

/// Applies what was heard about requests. One result per item.
///
/// # Errors
/// No item can be done.
pub async fn apply(
    run: &Run<'_>,
    step: &Step,
    heard: &[(Request, Heard)],
) -> Result<Vec<Result<Applied, FrexError>>, FrexError> {
    group::all(run, &Apply { step }, heard).await
}

/// Open alerts of orders, as (order, kind).
async fn alerted(tx: &mut Tx, order_nos: &[&str]) -> Result<HashSet<(String, String)>, FrexError> {
    let places: Vec<String> = (1..=order_nos.len()).map(|n| format!("${n}")).collect();
    let sql = format!(
        "SELECT order_no, kind FROM frex_alert WHERE resolved_at = 0 AND order_no IN ({})",
        places.join(", ")
    );
    let mut query = sqlx::query_as::<_, (String, String)>(AssertSqlSafe(sql));
    for order_no in order_nos {
        query = query.bind(*order_no);
    }
    Ok(query.fetch_all(tx.conn()).await?.into_iter().collect())
}

#[async_trait]
impl Work for Apply<'_> {
    type Item = (Request, Heard);
    type Loaded = Loaded;
    type Out = Applied;

    async fn load(
        &self,
        _run: &Run<'_>,
        tx: &mut Tx,
        items: &[(Request, Heard)],
    ) -> Result<Loaded, FrexError> {
        let order_nos: Vec<&str> = items
            .iter()
            .map(|item| item.0.key.order_no.as_str())
            .collect();
        let pairs = tables::pairs(tx, &order_nos).await?;
        let regs = match self.step.of {
            Some(of) => tables::latest(tx.conn(), &order_nos, of).await?,
            None => HashMap::new(),
        };
        let alerted = alerted(tx, &order_nos).await?;
        Ok(Loaded {
            pairs,
            regs,
            alerted,
        })
    }

    async fn one(
        &self,
        run: &Run<'_>,
        tx: &mut Tx,
        item: &(Request, Heard),
        loaded: &mut Loaded,
        batch: &mut Batch,
    ) -> Result<Applied, FrexError> {
        let (request, heard) = item;
        let order_no = &request.key.order_no;
        let missing = || FrexError::Missing {
            what: "the order",
            order_no: order_no.clone(),
        };
        let pair = loaded.pairs.get(order_no).ok_or_else(missing)?;
        // Of an order that went on since, the latest mutation is another one: the answer is not about it.
        let reg = loaded.regs.get(order_no);
        let reg = reg.filter(|reg| reg.key.seq == request.key.seq);
        let case = Case {
            step: self.step,
            settings: run.settings(),
            codes: run.agency().codes(),
            now: run.now(),
            pair,
            request,
            reg,
        };
        let decision = outcome::decide(case, heard.clone());
        write(run, tx, case, &decision, &loaded.alerted, batch).await?;
        let billed = decision
            .sets
            .contains(&Set::Billing(BillingState::Complete));
        Ok(Applied {
            tally: decision.tally,
            billed: billed.then_some(decision.confirmed_amount),
            screened: decision
                .detail
                .as_ref()
                .map(|detail| detail.authori_word)
                .filter(|word| !word.is_empty()),
        })
    }

    fn points(&self) -> (&'static str, &'static str) {
        (self.step.points.apply, self.step.points.applied)
    }
}

async fn write(
    run: &Run<'_>,
    tx: &mut Tx,
    case: Case<'_>,
    decision: &Decision,
    alerted: &HashSet<(String, String)>,
    batch: &mut Batch,
) -> Result<(), FrexError> {
    let (request, after) = (case.request, &decision.request);
    batch.save_request(request, after)?;
    write_order(run, tx, case, decision, alerted, batch).await?;
    if let Some(detail) = &decision.detail {
        batch.insert_detail(run.id(), after, detail, run.now());
    }
    if let (true, Some(reg)) = (decision.fails_reg, case.reg) {
        let failed = Request {
            state: RequestState::Error,
            last_error: after.last_error.clone(),
            ..reg.clone()
        };
        batch.save_request(reg, &failed)?;
    }
    let found = request.state == RequestState::Unknown && after.state == RequestState::Complete;
    if let (true, Some(outcome)) = (found, table::outcome_of(request.kind())) {
        tables::ask_outcome_again(tx.conn(), after, outcome, run.now()).await?;
    }
    resolve(run, tx, case, decision, alerted).await?;
    for (kind, alert) in &decision.alerts {
        alert::raise(tx.conn(), *kind, alert, run.id(), run.now()).await?;
    }
    if request.state != after.state {
        let since = if request.state == RequestState::Sending {
            request.sent_at
        } else {
            request.created_at
        };
        log::info!(
            "frex: {} {} -> {} after {} ms {}",
            request.key,
            request.state,
            after.state,
            run.now() - since,
            after.last_error
        );
    }
    Ok(())
}

/// Resolves what the decision ends. What is told of a request ends with that request: with a good outcome also what was told of
/// earlier ones of its kind, with the order everything.
async fn resolve(
    run: &Run<'_>,
    tx: &mut Tx,
    case: Case<'_>,
    decision: &Decision,
    alerted: &HashSet<(String, String)>,
) -> Result<(), FrexError> {
    let key = &case.request.key;
    let closes = decision.sets.iter().any(|set| matches!(set, Set::Close(_)));
    let good = case.step.of.is_some() && decision.request.state == RequestState::Complete;
    let keys = key.family(if good { 0 } else { key.seq });
    for kind in &decision.resolved {
        if !alerted.contains(&(key.order_no.clone(), kind.as_str().to_owned())) {
            continue;
        }
        let (conn, now) = (tx.conn(), run.now());
        if kind.is_of_request() && !closes {
            alert::resolve_requests(conn, *kind, &key.order_no, &keys, "worker", now).await?;
        } else {
            alert::resolve(conn, *kind, &key.order_no, "worker", now).await?;
        }
    }
    Ok(())
}

async fn write_order(
    run: &Run<'_>,
    tx: &mut Tx,
    case: Case<'_>,
    decision: &Decision,
    alerted: &HashSet<(String, String)>,
    batch: &mut Batch,
) -> Result<(), FrexError> {
    let (pair, reg) = (case.pair, case.reg);
    let request = &decision.request;
    let missing = || FrexError::Missing {
        what: "the state",
        order_no: request.key.order_no.clone(),
    };
    let before = pair.info.as_ref().ok_or_else(missing)?;
    let mut changed = pair.clone();
    let facts = Facts {
        now: run.now(),
        np: decision.np.clone(),
        confirmed_amount: decision.confirmed_amount,
        // A question carries no amount of its own: what was refused is what its mutation asked for.
        requested_amount: reg.map_or(request.amount, |reg| reg.amount),
    };
    let drop_screening = effect::apply(&decision.sets, &mut changed, &facts);
    let after = changed.info.as_mut().expect("it was there");
    if request.kind().is_mutation() && request.state == RequestState::Complete {
        after.accept_no.clone_from(&request.accept_no);
    }
    if after != before {
        batch.save_state(before, after)?;
    }
    if changed.order != pair.order {
        let (old, new) = (&pair.order, &changed.order);
        batch.save_order(new);
        log::info!(
            "frex: order {}: strState {} -> {}, strOrderState {} -> {}, strMoneyInput {} -> {}, because of {}",
            new.order_no,
            old.state,
            new.state,
            old.stage,
            new.stage,
            old.money,
            new.money,
            request.key
        );
    }
    news::tell(tx, run.settings(), pair, &changed, run.now()).await?;
    if drop_screening {
        tables::drop_screening(tx.conn(), &request.key.order_no, &request.id, run.now()).await?;
        for kind in [AlertKind::DelayOverdue, AlertKind::HoldNeedsData] {
            if alerted.contains(&(request.key.order_no.clone(), kind.as_str().to_owned())) {
                alert::resolve(tx.conn(), kind, &request.key.order_no, "worker", run.now()).await?;
            }
        }
    }
    Ok(())
}
