//! Phase *trans*: takes due requests, calls the agency, and hands every item's answer to *proc*. No transaction is open during a call.

use std::collections::BTreeMap;

use sqlx::AssertSqlSafe;
use tokio::task::JoinSet;

use super::apply;
use super::mark::{self, Marked};
use super::outcome::{Heard, Tally};
use super::payload::Payload;
use super::regist::Cursor;
use super::table::Step;
use crate::frex::agency::error::Reach;
use crate::frex::agency::{
    AcceptNo, Acceptance, Agency, Answer, AuthorizationQuery, CallError, LookupQuery,
    NpTransactionId, ResultQuery, Violation,
};
use crate::frex::alert::{Alert, AlertKind};
use crate::frex::error::FrexError;
use crate::frex::key::{RequestKey, RequestType};
use crate::frex::model::{Request, RequestState};
use crate::frex::report::StepReport;
use crate::frex::settings::ms;
use crate::frex::tables;
use crate::frex::worker::Run;

/// Sends, asks and looks up everything that is due for a step, page by page.
///
/// # Errors
/// The step cannot go on.
pub async fn trans(run: &Run<'_>, step: &Step, report: &mut StepReport) -> Result<(), FrexError> {
    let mut after: Cursor = (-1, String::new());
    // What becomes due during the step waits for the next run: the walk has an end.
    let until = run.now();
    while !run.stopped() && !run.slice_over(report) {
        let page = due(run, step.kind, until, &after).await?;
        let Some(last) = page.last() else { break };
        after = (last.next_attempt_at, last.key.to_string());
        let full = page.len() >= usize::try_from(run.settings().page_rows).unwrap_or(usize::MAX);
        let go_on = if step.kind.is_mutation() {
            mutations(run, step, page, report).await?
        } else {
            questions(run, step, page, report).await?
        };
        if !go_on || !full {
            break;
        }
    }
    Ok(())
}

async fn due(
    run: &Run<'_>,
    kind: RequestType,
    until: i64,
    after: &Cursor,
) -> Result<Vec<Request>, FrexError> {
    let sql = format!(
        "SELECT {} FROM frex_request r WHERE r.type = $1 AND r.state IN ('STANDBY', 'SENDING', 'UNKNOWN') AND r.state <> 'SENDING' \
         AND r.next_attempt_at <= $2 AND (r.next_attempt_at, r.request_key) > ($3, $4) ORDER BY r.next_attempt_at, r.request_key LIMIT $5",
        Request::COLUMNS
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(kind.as_str())
        .bind(until)
        .bind(after.0)
        .bind(after.1.as_str())
        .bind(i64::from(run.settings().page_rows))
        .fetch_all(run.store().pool())
        .await?;
    rows.iter()
        .map(|row| Request::read(row).map_err(Into::into))
        .collect()
}

fn chunk_size(run: &Run<'_>) -> usize {
    usize::try_from(run.settings().call_items)
        .unwrap_or(1)
        .max(1)
}

/// What an answer says beyond its items.
struct Signals {
    stop: Option<CallError>,
    violations: Vec<Violation>,
    items: u64,
}

impl Signals {
    fn of<T>(answer: &Answer<T>) -> Self {
        Self {
            stop: answer.stop().cloned(),
            violations: answer.violations.clone(),
            items: u64::try_from(answer.outcomes.len()).unwrap_or(u64::MAX),
        }
    }
}

/// Whether the step goes on after an answer; alerts what the answer breaks.
async fn heed(
    run: &Run<'_>,
    step: &Step,
    signals: &Signals,
    report: &mut StepReport,
) -> Result<bool, FrexError> {
    for violation in &signals.violations {
        let parsed = violation.key.parse::<RequestKey>();
        let order_no = parsed.map(|key| key.order_no).unwrap_or_default();
        let detail = format!(
            "the agency's answer to '{}' breaks the contract: {}",
            violation.call,
            violation.kind.as_str()
        );
        let alert = Alert {
            order_no,
            request_key: violation.key.clone(),
            codes: Vec::new(),
            detail,
        };
        run.raise(AlertKind::ContractViolation, &alert).await?;
    }
    let Some(error) = &signals.stop else {
        report.answered += signals.items;
        return Ok(true);
    };
    let alert = Alert {
        detail: format!("{}: {error}", step.name),
        ..Alert::default()
    };
    match error.reach() {
        Reach::Run => {
            run.stop();
            run.raise(AlertKind::AgencyAuth, &alert).await?;
        }
        Reach::Step => {
            // Not a request: by it the alert ends when this step is answered as agreed again.
            let request_key = step.name.to_owned();
            let alert = Alert {
                request_key,
                ..alert
            };
            run.raise(AlertKind::ContractViolation, &alert).await?;
        }
        Reach::Pause | Reach::Connection => log::warn!("frex: {} pauses: {error}", step.name),
        Reach::Item => return Ok(true),
    }
    Ok(false)
}

/// Applies what was heard and counts it.
async fn hear(
    run: &Run<'_>,
    step: &Step,
    heard: Vec<(Request, Heard)>,
    report: &mut StepReport,
) -> Result<(), FrexError> {
    if heard.is_empty() {
        return Ok(());
    }
    run.reach(step.points.answered).await;
    let outs = apply::apply(run, step, &heard).await?;
    for ((request, _), out) in heard.iter().zip(outs) {
        match out {
            Ok(applied) => {
                report.count(applied.tally);
                run.observer().item(step.name, applied.tally);
                if let Some(amount) = applied.billed {
                    run.observer().billed(amount);
                }
                if let Some(word) = applied.screened {
                    run.observer().screened(word);
                }
            }
            Err(error) => run.fault(step, request, &error, report).await?,
        }
    }
    Ok(())
}

async fn mutations(
    run: &Run<'_>,
    step: &Step,
    page: Vec<Request>,
    report: &mut StepReport,
) -> Result<bool, FrexError> {
    let (unknown, standby): (Vec<Request>, Vec<Request>) = page
        .into_iter()
        .partition(|row| row.state == RequestState::Unknown);
    for chunk in unknown.chunks(chunk_size(run)) {
        if !look_up(run, step, chunk, report).await? {
            return Ok(false);
        }
    }
    // In the agency's closing hours nothing is sent; look-ups only read, and go on, on the pages to come too.
    if run.closed_hours() {
        return Ok(true);
    }
    for chunk in standby.chunks(chunk_size(run)) {
        if run.stopped() || run.slice_over(report) || !send(run, step, chunk, report).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn look_up(
    run: &Run<'_>,
    step: &Step,
    rows: &[Request],
    report: &mut StepReport,
) -> Result<bool, FrexError> {
    run.renew().await?;
    let order_nos: Vec<&str> = rows.iter().map(|row| row.key.order_no.as_str()).collect();
    let pairs = tables::peek_pairs(&mut *run.store().pool().acquire().await?, &order_nos).await?;
    let np_of = |row: &Request| {
        let info = pairs
            .get(&row.key.order_no)
            .and_then(|pair| pair.info.as_ref());
        info.and_then(|info| NpTransactionId::parse(&info.np))
    };
    let items: Vec<LookupQuery> = rows
        .iter()
        .map(|row| LookupQuery {
            request_key: row.key.clone(),
            shop_transaction_id: row.key.order_no.clone(),
            np_transaction_id: np_of(row),
        })
        .collect();
    let answer = run.agency().lookup(&items).await;
    let go_on = heed(run, step, &Signals::of(&answer), report).await?;
    let heard = rows
        .iter()
        .cloned()
        .zip(answer.outcomes.into_iter().map(Heard::Lookup))
        .collect();
    hear(run, step, heard, report).await?;
    Ok(go_on)
}

async fn send(
    run: &Run<'_>,
    step: &Step,
    rows: &[Request],
    report: &mut StepReport,
) -> Result<bool, FrexError> {
    run.renew().await?;
    let mut marked: Vec<Marked> = Vec::with_capacity(rows.len());
    for (row, out) in rows.iter().zip(mark::mark(run, step, rows).await?) {
        match out {
            Ok(Some(one)) => marked.push(one),
            Ok(None) => report.count(Tally::Skipped),
            Err(error) => run.fault(step, row, &error, report).await?,
        }
    }
    if marked.is_empty() {
        return Ok(true);
    }
    report.sent += u64::try_from(marked.len()).unwrap_or(u64::MAX);
    let resent = marked
        .iter()
        .filter(|(row, _)| row.attempt_count > 1)
        .count();
    if resent > 0 {
        run.observer().resent(step.kind, resent);
    }
    let answer = call(run, &marked).await;
    let go_on = heed(run, step, &Signals::of(&answer), report).await?;
    let heard = marked
        .into_iter()
        .map(|(row, _)| row)
        .zip(answer.outcomes.into_iter().map(Heard::Mutation))
        .collect();
    hear(run, step, heard, report).await?;
    Ok(go_on)
}

/// The call, unless the mark is too old for it: the quiet time is reckoned from the mark, so nothing may leave long after it.
async fn call(run: &Run<'_>, marked: &[Marked]) -> Answer<Acceptance> {
    let oldest = marked
        .iter()
        .map(|(row, _)| row.sent_at)
        .min()
        .unwrap_or(i64::MAX);
    if run.now() - oldest > ms(run.settings().call_timeout_s) {
        let reason = "too much time passed since the mark".to_owned();
        return Answer::failed(marked.len(), &CallError::NotSent { reason });
    }
    let agency = run.agency();
    let payloads = marked.iter().map(|(_, payload)| payload.clone());
    match &marked[0].1 {
        Payload::Register(_) => {
            let items: Vec<_> = payloads
                .filter_map(|p| {
                    if let Payload::Register(item) = p {
                        Some(*item)
                    } else {
                        None
                    }
                })
                .collect();
            agency.register(&items).await
        }
        Payload::Update(_) => {
            let items: Vec<_> = payloads
                .filter_map(|p| {
                    if let Payload::Update(item) = p {
                        Some(item)
                    } else {
                        None
                    }
                })
                .collect();
            agency.update(&items).await
        }
        Payload::Cancel(_) => {
            let items: Vec<_> = payloads
                .filter_map(|p| {
                    if let Payload::Cancel(item) = p {
                        Some(item)
                    } else {
                        None
                    }
                })
                .collect();
            agency.cancel(&items).await
        }
        Payload::Bill(_) => {
            let items: Vec<_> = payloads
                .filter_map(|p| {
                    if let Payload::Bill(item) = p {
                        Some(item)
                    } else {
                        None
                    }
                })
                .collect();
            agency.bill(&items).await
        }
    }
}

/// A question to the agency.
enum Question {
    Result(ResultQuery),
    Screening(AuthorizationQuery),
}

async fn questions(
    run: &Run<'_>,
    step: &Step,
    page: Vec<Request>,
    report: &mut StepReport,
) -> Result<bool, FrexError> {
    let order_nos: Vec<&str> = page.iter().map(|row| row.key.order_no.as_str()).collect();
    let pairs = tables::peek_pairs(&mut *run.store().pool().acquire().await?, &order_nos).await?;
    let (unwanted, wanted): (Vec<Request>, Vec<Request>) = page.into_iter().partition(|row| {
        pairs
            .get(&row.key.order_no)
            .is_some_and(|pair| mark::gone(run, step, pair).is_some())
    });
    for (row, out) in unwanted
        .iter()
        .zip(mark::drop_unwanted(run, step, &unwanted).await?)
    {
        match out {
            Ok(_) => report.count(Tally::Skipped),
            Err(error) => run.fault(step, row, &error, report).await?,
        }
    }
    let mut asked: Vec<(Request, Question)> = Vec::with_capacity(wanted.len());
    for row in wanted {
        let np = pairs
            .get(&row.key.order_no)
            .and_then(|pair| pair.info.as_ref())
            .map_or("", |info| info.np.as_str());
        match question(step, &row, np) {
            Ok(question) => asked.push((row, question)),
            Err(error) => run.fault(step, &row, &error, report).await?,
        }
    }
    let mut chunks = Vec::new();
    while !asked.is_empty() {
        let rest = asked.split_off(asked.len().min(chunk_size(run)));
        chunks.push(std::mem::replace(&mut asked, rest));
    }
    ask_all(run, step, chunks, report).await
}

fn question(step: &Step, row: &Request, np: &str) -> Result<Question, FrexError> {
    let missing = |what| FrexError::Missing {
        what,
        order_no: row.key.order_no.clone(),
    };
    Ok(match step.of {
        Some(of) => Question::Result(ResultQuery {
            // The agency knows an acceptance by the key of the request that it accepted.
            request_key: row
                .accept_key
                .parse()
                .unwrap_or_else(|_| RequestKey::new(&row.key.order_no, of, row.key.seq)),
            request_type: of,
            accept_no: AcceptNo::parse(&row.accept_no)
                .ok_or_else(|| missing("the acceptance number"))?,
        }),
        None => Question::Screening(AuthorizationQuery {
            np_transaction_id: NpTransactionId::parse(np)
                .ok_or_else(|| missing("the agency's transaction number"))?,
        }),
    })
}

/// Asks in several calls, as many at a time as permitted; answers are applied in the order of the chunks.
async fn ask_all(
    run: &Run<'_>,
    step: &Step,
    chunks: Vec<Vec<(Request, Question)>>,
    report: &mut StepReport,
) -> Result<bool, FrexError> {
    let width = usize::try_from(run.settings().read_calls)
        .unwrap_or(1)
        .max(1);
    let mut chunks = chunks.into_iter().peekable();
    let mut go_on = true;
    while chunks.peek().is_some() && go_on && !run.stopped() && !run.slice_over(report) {
        run.renew().await?;
        let mut calls = JoinSet::new();
        for (place, chunk) in chunks.by_ref().take(width).enumerate() {
            let agency = run.agency().clone();
            report.sent += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
            calls.spawn(async move { (place, ask(&*agency, chunk).await) });
        }
        let mut replies = BTreeMap::new();
        while let Some(joined) = calls.join_next().await {
            match joined {
                Ok((place, reply)) => {
                    replies.insert(place, reply);
                }
                Err(error) => {
                    return Err(FrexError::Panic {
                        message: format!("in a call of {}: {error}", step.name),
                    });
                }
            }
        }
        for reply in replies.into_values() {
            go_on &= heed(run, step, &reply.signals, report).await?;
            hear(run, step, reply.heard, report).await?;
        }
    }
    Ok(go_on)
}

struct Reply {
    heard: Vec<(Request, Heard)>,
    signals: Signals,
}

async fn ask(agency: &dyn Agency, chunk: Vec<(Request, Question)>) -> Reply {
    let mut results = Vec::new();
    let mut screenings = Vec::new();
    let mut rows = Vec::with_capacity(chunk.len());
    // A step asks one kind of question, so one of the two lists stays empty.
    for (row, question) in chunk {
        rows.push(row);
        match question {
            Question::Result(query) => results.push(query),
            Question::Screening(query) => screenings.push(query),
        }
    }
    let (signals, heard): (Signals, Vec<Heard>) = if screenings.is_empty() {
        let answer = agency.results(&results).await;
        (
            Signals::of(&answer),
            answer.outcomes.into_iter().map(Heard::Result).collect(),
        )
    } else {
        let answer = agency.authorizations(&screenings).await;
        (
            Signals::of(&answer),
            answer.outcomes.into_iter().map(Heard::Screening).collect(),
        )
    };
    Reply {
        heard: rows.into_iter().zip(heard).collect(),
        signals,
    }
}
