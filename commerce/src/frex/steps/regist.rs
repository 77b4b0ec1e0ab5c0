//! Phase *regist*: finds the orders that need a step and writes the intent (`spec/frex.md` 4).

use std::collections::HashMap;

use async_trait::async_trait;
use sqlx::AssertSqlSafe;

use super::condition::{self, Latest, Term};
use super::effect::{self, Facts};
use super::group::{self, Work};
use super::payload;
use super::table::{Branch, Step};
use crate::frex::agency::limits;
use crate::frex::alert::{self, Alert, AlertKind};
use crate::frex::batch::Batch;
use crate::frex::error::FrexError;
use crate::frex::key::{RequestKey, RequestType};
use crate::frex::model::{Order, Pair, Request, ResultState, StateInfo, StrState};
use crate::frex::news;
use crate::frex::settings::{BillingTrigger, WorkerSettings};
use crate::frex::tables;
use crate::frex::worker::Run;
use crate::store::Tx;

/// Place of a page: what was placed after this comes next.
pub type Cursor = (i64, String);

/// How a select walks: the tables, and the columns that give the order and the cursor. What it adds to the terms of the branch
/// follows from them; it is said once more because an index with a condition is used only by a statement that says the same.
struct Walk {
    from: &'static str,
    by: &'static str,
}

/// On SQLite a CROSS JOIN keeps the order of the tables: each select walks the partial index made for it (`0050_frex_pace.sql`).
fn walk(branch: &Branch, trigger: BillingTrigger) -> Walk {
    let has = |wanted: fn(&Term) -> bool| branch.when.iter().any(wanted);
    if has(|term| matches!(term, Term::NoState)) {
        return Walk {
            from: "frex_order o WHERE",
            by: "o.created_at, o.order_no",
        };
    }
    if has(|term| matches!(term, Term::BillingDue)) {
        return match trigger {
            BillingTrigger::Authorized => Walk {
                from: "frex_state_info s CROSS JOIN frex_order o WHERE o.order_no = s.order_no AND",
                by: "s.authorized_at, s.order_no",
            },
            BillingTrigger::OrderEnd => Walk {
                from: "frex_order o CROSS JOIN frex_state_info s WHERE s.order_no = o.order_no AND",
                by: "o.order_end_at, o.order_no",
            },
        };
    }
    let from = if has(|term| matches!(term, Term::Order(StrState::Del))) {
        "frex_state_info s CROSS JOIN frex_order o WHERE o.order_no = s.order_no AND s.order_state = 'DEL' \
         AND s.result_state <> 'CANCEL' AND"
    } else if has(|term| matches!(term, Term::Result(ResultState::Complete))) {
        "frex_state_info s CROSS JOIN frex_order o WHERE o.order_no = s.order_no AND"
    } else {
        "frex_state_info s CROSS JOIN frex_order o WHERE o.order_no = s.order_no AND s.result_state NOT IN ('COMPLETE', 'CANCEL') AND"
    };
    Walk {
        from,
        by: "s.created_at, s.order_no",
    }
}

/// The SQL that selects a page of a branch: `$1` now, `$2` and `$3` the cursor, `$4` the number of rows.
#[must_use]
pub fn select_sql(branch: &Branch, settings: &WorkerSettings) -> String {
    let terms: Vec<String> = branch.when.iter().map(|term| term.sql(settings)).collect();
    let terms = terms.join(" AND ");
    let Walk { from, by } = walk(branch, settings.billing_trigger);
    format!(
        "SELECT {by} FROM {from} CAST($1 AS BIGINT) >= 0 AND {terms} AND ({by}) > ($2, $3) ORDER BY {by} LIMIT $4"
    )
}

/// Reads a page of candidates.
///
/// # Errors
/// The database's.
pub async fn page(
    run: &Run<'_>,
    branch: &Branch,
    after: &Cursor,
) -> Result<Vec<Cursor>, FrexError> {
    let sql = select_sql(branch, run.settings());
    let rows = sqlx::query_as(AssertSqlSafe(sql))
        .bind(run.now())
        .bind(after.0)
        .bind(after.1.as_str())
        .bind(i64::from(run.settings().page_rows))
        .fetch_all(run.store().pool())
        .await?;
    Ok(rows)
}

/// What came of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    /// The intent is written.
    Asked,
    /// The order is closed without a call.
    Closed,
    /// It no longer needs the step, or cannot take it.
    Passed,
}

struct Intent<'a> {
    step: &'a Step,
    branch: &'a Branch,
}

struct Loaded {
    pairs: HashMap<String, Pair>,
    latest: HashMap<String, Latest>,
    sealed: HashMap<String, String>,
}

/// Writes the intents of a page.
///
/// # Errors
/// No item can be done.
pub async fn intents(
    run: &Run<'_>,
    step: &Step,
    branch: &Branch,
    page: &[Cursor],
) -> Result<Vec<Result<Registered, FrexError>>, FrexError> {
    group::all(run, &Intent { step, branch }, page).await
}

/// The types whose latest requests a step looks at.
fn looked_at(step: &Step) -> impl Iterator<Item = RequestType> {
    let registration = (step.kind == RequestType::DeleteReg).then_some(RequestType::OrderReg);
    [Some(step.kind), step.of, registration]
        .into_iter()
        .flatten()
}

#[async_trait]
impl Work for Intent<'_> {
    type Item = Cursor;
    type Loaded = Loaded;
    type Out = Registered;

    async fn load(
        &self,
        _run: &Run<'_>,
        tx: &mut Tx,
        items: &[Cursor],
    ) -> Result<Loaded, FrexError> {
        let order_nos: Vec<&str> = items.iter().map(|item| item.1.as_str()).collect();
        let pairs = tables::pairs(tx, &order_nos).await?;
        let mut latest: HashMap<String, Latest> = HashMap::new();
        let mut sealed = HashMap::new();
        if self.step.kind == RequestType::OrderReg {
            sealed = tables::sealed(tx.conn(), &order_nos).await?;
        } else {
            for kind in looked_at(self.step) {
                for (order_no, request) in tables::latest(tx.conn(), &order_nos, kind).await? {
                    latest.entry(order_no).or_default().insert(kind, request);
                }
            }
        }
        Ok(Loaded {
            pairs,
            latest,
            sealed,
        })
    }

    async fn one(
        &self,
        run: &Run<'_>,
        tx: &mut Tx,
        item: &Cursor,
        loaded: &mut Loaded,
        batch: &mut Batch,
    ) -> Result<Registered, FrexError> {
        let order_no = item.1.as_str();
        let none = Latest::new();
        let latest = loaded.latest.get(order_no).unwrap_or(&none);
        let Some(pair) = loaded.pairs.get(order_no) else {
            return Ok(Registered::Passed);
        };
        if !condition::all_hold(self.branch.when, pair, latest, run.settings(), run.now()) {
            return Ok(Registered::Passed);
        }
        if self.step.kind == RequestType::OrderReg
            && !buyer_is_sound(run, tx, &pair.order, loaded.sealed.get(order_no)).await?
        {
            return Ok(Registered::Passed);
        }
        self.write(run, tx, pair, latest, batch).await
    }

    fn points(&self) -> (&'static str, &'static str) {
        (self.step.points.regist, self.step.points.registered)
    }
}

impl Intent<'_> {
    async fn write(
        &self,
        run: &Run<'_>,
        tx: &mut Tx,
        pair: &Pair,
        latest: &Latest,
        batch: &mut Batch,
    ) -> Result<Registered, FrexError> {
        let order_no = &pair.order.order_no;
        match &pair.info {
            None => batch.insert_state(StateInfo::new(&pair.order)),
            Some(before) if !self.branch.set.is_empty() => {
                let mut changed = pair.clone();
                effect::apply(
                    self.branch.set,
                    &mut changed,
                    &Facts {
                        now: run.now(),
                        ..Facts::default()
                    },
                );
                let after = changed.info.as_ref().expect("it was there");
                batch.save_state(before, after)?;
                news::tell(tx, run.settings(), pair, &changed, run.now()).await?;
            }
            Some(_) => {}
        }
        if !self.branch.asks {
            alert::resolve(
                tx.conn(),
                AlertKind::RegistrationRefused,
                order_no,
                "cancelled",
                run.now(),
            )
            .await?;
            return Ok(Registered::Closed);
        }
        batch.insert_request(self.request(run, order_no, latest));
        Ok(Registered::Asked)
    }

    /// A result row takes number and acceptance number of its mutation; every other row counts up.
    fn request(&self, run: &Run<'_>, order_no: &str, latest: &Latest) -> Request {
        let of = self.step.of.and_then(|of| latest.get(&of));
        let seq = match of {
            Some(reg) => reg.key.seq,
            None => latest
                .get(&self.step.kind)
                .map_or(0, |last| last.key.seq + 1),
        };
        let mut request = Request::new(
            run.id(),
            RequestKey::new(order_no, self.step.kind, seq),
            run.now(),
        );
        if let Some(reg) = of {
            request.accept_no.clone_from(&reg.accept_no);
            request.accept_key.clone_from(&reg.accept_key);
        }
        request
    }
}

/// Whether an order may be registered. If not, it is left out until the shop corrects it, and people are told.
async fn buyer_is_sound(
    run: &Run<'_>,
    tx: &mut Tx,
    order: &Order,
    sealed: Option<&String>,
) -> Result<bool, FrexError> {
    let problem = match sealed.filter(|text| !text.is_empty()) {
        None => "there is no buyer data".to_owned(),
        Some(_) => {
            let user = payload::user_info(run.vault(), &order.order_no, sealed)?;
            let goods = payload::goods(order)?;
            let checked = limits::buyer(&user.buyer)
                .and_then(|()| limits::delivery(&user.delivery))
                .and_then(|()| {
                    limits::goods(
                        order.amount,
                        &goods.transaction_details,
                        &goods.tax_rate_summaries,
                    )
                });
            match checked {
                Ok(()) => return Ok(true),
                Err(problem) => problem.to_string(),
            }
        }
    };
    if sealed.is_none() {
        // A place for what the shop will give, and the sign that it was asked for.
        tables::insert_buyer(tx.conn(), &order.order_no, "", run.now()).await?;
    }
    tables::save_buyer(tx.conn(), &order.order_no, None, false, run.now()).await?;
    let alert = Alert::of_order(
        &order.order_no,
        format!("not registered: {problem}; correct the buyer data"),
    );
    alert::raise(
        tx.conn(),
        AlertKind::BuyerDataInvalid,
        &alert,
        run.id(),
        run.now(),
    )
    .await?;
    Ok(false)
}
