//! `FrexOrderProcessWorker`: one batch run at a time over all workers, the nine steps in their order, each on its own.
//!
//! A run takes the lease, turns what an earlier run left in SENDING into UNKNOWN, and walks the steps. A step that fails, panics
//! or takes too long is reported and alerted, and the next one runs. The only end of a run before its last step is the loss of the
//! lease.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::agency::Agency;
use super::alert::{self, Alert, AlertKind};
use super::error::FrexError;
use super::lease::{self, Held};
use super::model::{Pair, Request, RequestState};
use super::report::{Observer, RunReport, Silent, StepReport};
use super::runs::End;
use super::settings::{WorkerSettings, ms};
use super::steps::effect::{self, Facts};
use super::steps::group::caught;
use super::steps::regist::{self, Cursor, Registered};
use super::steps::table::{STEPS, Step};
use super::steps::trans;
use super::vault::Vault;
use super::{runs, sweep, tables};
use crate::clock::{Clock, DAY_MS, rfc3339};
use crate::id;
use crate::points::Points;
use crate::store::{Store, Tx};

/// Crash points of a run outside its steps; those of the steps are in [`STEPS`].
pub const RUN_POINTS: [&str; 4] = [
    "frex.run.leased",
    "frex.run.recovered",
    "frex.run.swept",
    "frex.run.ended",
];

/// The steps of a worker that nobody gave others to.
static STANDARD: [Step; 9] = STEPS;

/// How much longer than its slice a step may be at work before it is ended: a call and what belongs to it.
const OVERRUN_SPARE_S: u64 = 120;

/// What a worker is made of.
#[derive(Clone)]
pub struct Parts {
    /// The database.
    pub store: Store,
    /// The agency.
    pub agency: Arc<dyn Agency>,
    /// Opens buyer data.
    pub vault: Arc<Vault>,
    /// Time.
    pub clock: Clock,
    /// Settings.
    pub settings: Arc<WorkerSettings>,
    /// Crash points.
    pub points: Points,
    /// Name of this worker in the lease.
    pub owner: String,
}

/// The worker. Clones are handles on the same one.
#[derive(Clone)]
pub struct Worker {
    parts: Parts,
    observer: Arc<dyn Observer>,
    steps: &'static [Step],
    /// A run ends at its next page.
    ending: Arc<AtomicBool>,
}

/// A run that has the lease and has not begun its steps. Dropped, its lease runs out.
#[derive(Debug)]
pub struct Begun {
    report: RunReport,
    only: Vec<String>,
}

impl Begun {
    /// The run's id.
    #[must_use]
    pub fn run_id(&self) -> &str {
        &self.report.run_id
    }
}

/// Why a run did not take place, or ended early.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The lease was not given.
    #[error("no run: {}", held_text(.0))]
    Held(Held),
    /// A step of that name does not exist.
    #[error(
        "there is no step '{name}'; the steps are OrderResult, OrderReg, UpdateResult, UpdateReg, DeleteResult, DeleteReg, AuthorizeResult, BillingResult, BillingReg"
    )]
    NoStep {
        /// The name given.
        name: String,
    },
    /// The process is about to end.
    #[error("no run: this process is about to end")]
    Ending,
    /// The run ended early.
    #[error("the run ended early: {0}")]
    Frex(#[from] FrexError),
}

fn held_text(held: &Held) -> String {
    match held {
        Held::Running(view) => format!(
            "run {} of '{}' is active; ask again when it has ended",
            view.fence, view.owner
        ),
        Held::NotDue(view) => format!("the next run is due at {}", rfc3339(view.next_run_at)),
        Held::Paused(view) => format!(
            "'{}' paused the worker; resume it, or ask for a run by hand",
            view.paused_by.as_deref().unwrap_or_default()
        ),
    }
}

impl Worker {
    /// A worker with the standard steps that tells nobody.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self {
            parts,
            observer: Arc::new(Silent),
            steps: &STANDARD,
            ending: Arc::default(),
        }
    }

    /// The run under way ends at its next page, as if its time slice were over, and none begins any more.
    pub fn finish_soon(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    /// Tells an observer.
    #[must_use]
    pub fn observed(self, observer: Arc<dyn Observer>) -> Self {
        Self { observer, ..self }
    }

    /// Walks other steps: a test shows with it what another table would do.
    #[must_use]
    pub fn with_steps(self, steps: &'static [Step]) -> Self {
        Self { steps, ..self }
    }

    /// What it is made of.
    #[must_use]
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Runs if a run is due and nobody else runs.
    ///
    /// # Errors
    /// [`RunError::Held`] is the normal case between runs.
    pub async fn run_if_due(&self) -> Result<RunReport, RunError> {
        if self.ending.load(Ordering::Relaxed) {
            return Err(RunError::Ending);
        }
        self.run("schedule", false, &[]).await
    }

    /// Runs now, by hand; `steps` names those to run in their fixed order, none = all.
    ///
    /// # Errors
    /// A run is active, a step does not exist, or the run ended early.
    pub async fn run_now(&self, cause: &str, steps: &[String]) -> Result<RunReport, RunError> {
        self.go(self.begin(cause, steps).await?).await
    }

    /// Takes the lease for a run by hand, which [`Self::go`] then makes: who asked can be told its id meanwhile.
    ///
    /// # Errors
    /// A run is active, a step does not exist, or the database's.
    pub async fn begin(&self, cause: &str, steps: &[String]) -> Result<Begun, RunError> {
        for name in steps {
            if !self.steps.iter().any(|step| step.name == name) {
                return Err(RunError::NoStep { name: name.clone() });
            }
        }
        self.open(cause, true, steps).await
    }

    async fn run(
        &self,
        cause: &str,
        by_hand: bool,
        only: &[String],
    ) -> Result<RunReport, RunError> {
        self.go(self.open(cause, by_hand, only).await?).await
    }

    async fn open(&self, cause: &str, by_hand: bool, only: &[String]) -> Result<Begun, RunError> {
        let (parts, now) = (&self.parts, self.parts.clock.now_ms());
        let times = (ms(parts.settings.lease_s), ms(parts.settings.interval_s));
        let given = lease::acquire(&parts.store, &parts.owner, by_hand, now, times).await?;
        let report = RunReport {
            run_id: id::at("", now),
            fence: given.map_err(RunError::Held)?,
            cause: cause.to_owned(),
            started_at: now,
            ..RunReport::default()
        };
        let only = only.to_vec();
        Ok(Begun { report, only })
    }

    /// Makes a run that has its lease.
    ///
    /// # Errors
    /// The run ended early.
    pub async fn go(&self, begun: Begun) -> Result<RunReport, RunError> {
        let Begun { mut report, only } = begun;
        let (parts, settings) = (&self.parts, &self.parts.settings);
        let fence = report.fence;
        let run = Run {
            worker: self,
            fence,
            began_at: report.started_at,
            renewed_at: AtomicI64::new(report.started_at),
            stopped: AtomicBool::new(false),
            alerts: Mutex::default(),
        };
        run.reach(RUN_POINTS[0]).await;
        log::info!(
            "frex: run {} begins, number {fence}, because of {}",
            report.run_id,
            report.cause
        );
        let outcome = self.walk(&run, &only, &mut report).await;
        report.ended_at = parts.clock.now_ms();
        if let Err(error) = &outcome {
            self.ended_early(&run, &report, error).await;
        } else {
            let end = if !report.whole() {
                End::Failed
            } else if run.stopped() {
                End::Stopped
            } else if !only.is_empty() {
                End::Part
            } else {
                End::Done
            };
            runs::ended(&parts.store, &report, end).await?;
            // A run of some steps stands for no run of all.
            let next = only
                .is_empty()
                .then_some(report.ended_at + ms(settings.interval_s));
            lease::release(&parts.store, fence, next).await?;
            run.reach(RUN_POINTS[3]).await;
            log::info!("frex: run {} ended: {}", report.run_id, report.summary());
        }
        self.observer.run_ended(&report);
        outcome?;
        Ok(report)
    }

    async fn walk(
        &self,
        run: &Run<'_>,
        only: &[String],
        report: &mut RunReport,
    ) -> Result<(), FrexError> {
        runs::began(&self.parts.store, report, &self.parts.owner).await?;
        report.recovered = recover(run).await?;
        run.reach(RUN_POINTS[1]).await;
        for step in self.steps {
            if !only.is_empty() && !only.iter().any(|name| name == step.name) {
                continue;
            }
            if run.stopped() || run.run_slice_over() {
                break;
            }
            let done = self.step(run, step).await?;
            self.observer.step_ended(&done);
            report.steps.push(done);
        }
        if !run.stopped() && only.is_empty() {
            run.settle(report).await?;
        }
        sweep::overdue(run).await?;
        run.reach(RUN_POINTS[2]).await;
        Ok(())
    }

    /// One step. Its failure is in the report; only the loss of the lease goes further.
    async fn step(&self, run: &Run<'_>, step: &Step) -> Result<StepReport, FrexError> {
        let mut report = StepReport {
            step: step.name.to_owned(),
            began_at: run.now(),
            ..StepReport::default()
        };
        let seconds = self.parts.settings.step_slice_s
            + OVERRUN_SPARE_S
            + 2 * self.parts.settings.call_timeout_s;
        let work =
            tokio::time::timeout(Duration::from_secs(seconds), phases(run, step, &mut report));
        let outcome =
            caught(async { work.await.unwrap_or(Err(FrexError::Overrun { seconds })) }).await;
        report.duration_ms = run.now() - report.began_at;
        match outcome {
            Ok(()) => {}
            Err(error @ FrexError::LeaseLost { .. }) => return Err(error),
            Err(error) => {
                log::error!("frex: step {} failed: {error}", step.name);
                let alert = Alert {
                    detail: format!("step {} failed: {error}", step.name),
                    request_key: step.name.to_owned(),
                    ..Alert::default()
                };
                report.error = Some(error.to_string());
                // If the database is what failed, this fails too; the report and the log still say it.
                if let Err(error) = run.raise(AlertKind::StepFailed, &alert).await {
                    log::error!("frex: the alert could not be written: {error}");
                }
            }
        }
        Ok(report)
    }

    async fn ended_early(&self, run: &Run<'_>, report: &RunReport, error: &FrexError) {
        log::error!("frex: run {} ended early: {error}", report.run_id);
        let kind = if matches!(error, FrexError::LeaseLost { .. }) {
            AlertKind::LeaseLost
        } else {
            AlertKind::StepFailed
        };
        let alert = Alert {
            detail: format!(
                "run {} of '{}' ended early: {error}",
                report.fence, self.parts.owner
            ),
            ..Alert::default()
        };
        if let Err(error) = run.raise_unguarded(kind, &alert).await {
            log::error!("frex: the alert could not be written: {error}");
        }
        if kind == AlertKind::LeaseLost {
            return;
        }
        // Nobody needs to wait for the end of a lease that is ours: what is in SENDING becomes UNKNOWN in the next run.
        let next_run_at = self.parts.clock.now_ms() + ms(self.parts.settings.interval_s);
        if let Err(error) = lease::release(&self.parts.store, run.fence, Some(next_run_at)).await {
            log::error!("frex: the lease could not be given back: {error}");
        }
    }
}

async fn phases(run: &Run<'_>, step: &Step, report: &mut StepReport) -> Result<(), FrexError> {
    for branch in step.select {
        let mut after: Cursor = (-1, String::new());
        // Half of the slice at most, so that what is written down is sent too.
        while !run.slice_over(report) && !run.half_over(report) {
            let page = regist::page(run, branch, &after).await?;
            let Some(last) = page.last() else { break };
            after.clone_from(last);
            run.renew().await?;
            let mut conn = run.store().pool().acquire().await?;
            let failed = alert::orders_told(&mut conn, AlertKind::StepFailed, false).await?;
            drop(conn);
            for (candidate, out) in page
                .iter()
                .zip(regist::intents(run, step, branch, &page).await?)
            {
                let went_well = matches!(out, Ok(Registered::Asked | Registered::Closed));
                if went_well && failed.contains(&candidate.1) {
                    run.recovered(&candidate.1).await?;
                }
                match out {
                    Ok(Registered::Asked) => report.selected += 1,
                    Ok(Registered::Closed) => report.closed += 1,
                    Ok(Registered::Passed) => {}
                    Err(error) => {
                        report.failed += 1;
                        log::error!("frex: {} of order {}: {error}", step.name, candidate.1);
                        let alert =
                            Alert::of_order(&candidate.1, format!("{}: {error}", step.name));
                        run.raise(AlertKind::StepFailed, &alert).await?;
                    }
                }
            }
            if page.len() < usize::try_from(run.settings().page_rows).unwrap_or(usize::MAX) {
                break;
            }
        }
    }
    trans::trans(run, step, report).await
}

/// What an earlier run left in SENDING is UNKNOWN: nobody knows whether it left, and nobody resends it.
async fn recover(run: &Run<'_>) -> Result<u64, FrexError> {
    let mut tx = run.begin().await?;
    lease::guard(&mut tx, run.fence).await?;
    let done = sqlx::query(
        "UPDATE frex_request SET state = 'UNKNOWN', next_attempt_at = $1, last_error = 'an earlier run ended before its answer was written' \
         WHERE state = 'SENDING' \
         AND type IN ('ORDER_REG', 'UPDATE_REG', 'DELETE_REG', 'BILLING_REG')",
    )
    .bind(run.now())
    .execute(tx.conn())
    .await?;
    tx.commit().await?;
    if done.rows_affected() > 0 {
        log::warn!(
            "frex: {} requests were found in SENDING and are UNKNOWN now",
            done.rows_affected()
        );
    }
    Ok(done.rows_affected())
}

/// A run under way.
pub struct Run<'a> {
    worker: &'a Worker,
    /// Its number.
    pub fence: i64,
    began_at: i64,
    renewed_at: AtomicI64,
    stopped: AtomicBool,
    /// The alerts raised, each with its request or step.
    alerts: Mutex<Vec<(AlertKind, String)>>,
}

impl Run<'_> {
    /// Settings.
    #[must_use]
    pub fn settings(&self) -> &WorkerSettings {
        &self.worker.parts.settings
    }

    /// The database.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.worker.parts.store
    }

    /// The agency.
    #[must_use]
    pub fn agency(&self) -> &Arc<dyn Agency> {
        &self.worker.parts.agency
    }

    /// Opens buyer data.
    #[must_use]
    pub fn vault(&self) -> &Vault {
        &self.worker.parts.vault
    }

    /// Who hears of it.
    #[must_use]
    pub fn observer(&self) -> &dyn Observer {
        &*self.worker.observer
    }

    /// Now, unix ms.
    #[must_use]
    pub fn now(&self) -> i64 {
        self.worker.parts.clock.now_ms()
    }

    /// A new id.
    #[must_use]
    pub fn id(&self) -> String {
        id::at("", self.now())
    }

    /// A crash point.
    pub async fn reach(&self, point: &'static str) {
        self.worker.parts.points.reach(point).await;
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// The database's.
    pub async fn begin(&self) -> Result<Tx, FrexError> {
        Ok(self.store().begin().await?)
    }

    /// No step of this run calls the agency any more.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Whether no step calls the agency any more.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Whether a step's time slice, or the run's, is over.
    pub fn slice_over(&self, report: &mut StepReport) -> bool {
        let over = self.now() - report.began_at >= ms(self.settings().step_slice_s)
            || self.run_slice_over();
        report.cut |= over;
        over
    }

    /// Whether the first half of a step's time slice is over.
    fn half_over(&self, report: &StepReport) -> bool {
        self.now() - report.began_at >= ms(self.settings().step_slice_s) / 2
    }

    fn run_slice_over(&self) -> bool {
        self.worker.ending.load(Ordering::Relaxed)
            || self.now() - self.began_at >= ms(self.settings().run_slice_s)
    }

    /// Whether the agency takes no mutations now.
    #[must_use]
    pub fn closed_hours(&self) -> bool {
        self.settings().closed_hours(self.now())
    }

    /// Renews the lease if it is time.
    ///
    /// # Errors
    /// The database's, or the lease was taken over.
    pub async fn renew(&self) -> Result<(), FrexError> {
        let now = self.now();
        if now - self.renewed_at.load(Ordering::Relaxed) < ms(self.settings().lease_renew_s) {
            return Ok(());
        }
        lease::renew(self.store(), self.fence, now, ms(self.settings().lease_s)).await?;
        self.renewed_at.store(now, Ordering::Relaxed);
        Ok(())
    }

    /// Raises an alert, unless the lease is lost.
    ///
    /// # Errors
    /// The database's, or the lease was taken over.
    pub async fn raise(&self, kind: AlertKind, alert: &Alert) -> Result<(), FrexError> {
        self.alerts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((kind, alert.request_key.clone()));
        let mut tx = self.begin().await?;
        lease::guard(&mut tx, self.fence).await?;
        alert::raise(tx.conn(), kind, alert, self.id(), self.now()).await?;
        Ok(tx.commit().await?)
    }

    async fn raise_unguarded(&self, kind: AlertKind, alert: &Alert) -> Result<(), FrexError> {
        let mut tx = self.begin().await?;
        alert::raise(tx.conn(), kind, alert, self.id(), self.now()).await?;
        Ok(tx.commit().await?)
    }

    /// Alerts whose cause is seen to be gone are resolved: credentials were taken, no step failed, those that asked were answered as
    /// agreed, and no other worker took over. What screening refused needs nobody, and has been told for a day.
    async fn settle(&self, report: &RunReport) -> Result<(), FrexError> {
        let raised = self
            .alerts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let was_raised = |kind| raised.iter().any(|it| it.0 == kind);
        let asked = report.steps.iter().filter(|step| step.answered > 0);
        let answered: Vec<String> = asked
            .map(|step| step.step.clone())
            .filter(|step| !raised.contains(&(AlertKind::ContractViolation, step.clone())))
            .collect();
        let (by, now) = ("worker", self.now());
        let mut tx = self.begin().await?;
        lease::guard(&mut tx, self.fence).await?;
        if !answered.is_empty() {
            let kind = AlertKind::ContractViolation;
            alert::resolve_requests(tx.conn(), kind, "", &answered, by, now).await?;
        }
        if report.steps.iter().any(|step| step.answered > 0) && !was_raised(AlertKind::AgencyAuth) {
            alert::resolve(tx.conn(), AlertKind::AgencyAuth, "", by, now).await?;
        }
        if report.whole() {
            if !was_raised(AlertKind::StepFailed) {
                // Not what failed beside the batch.
                let steps = STEPS.iter().map(|step| step.name.to_owned());
                let keys: Vec<String> = steps.chain([String::new()]).collect();
                let (kind, conn) = (AlertKind::StepFailed, tx.conn());
                alert::resolve_requests(conn, kind, "", &keys, by, now).await?;
            }
            let lost = AlertKind::LeaseLost;
            alert::resolve_older(tx.conn(), lost, self.began_at, by, now).await?;
        }
        alert::resolve_older(tx.conn(), AlertKind::ScreeningNg, now - DAY_MS, by, now).await?;
        Ok(tx.commit().await?)
    }

    /// A step went well for an order: what was told of its failure for it is over.
    async fn recovered(&self, order_no: &str) -> Result<(), FrexError> {
        let mut tx = self.begin().await?;
        lease::guard(&mut tx, self.fence).await?;
        let (kind, of_no_request) = (AlertKind::StepFailed, [String::new()]);
        let (conn, now) = (tx.conn(), self.now());
        alert::resolve_requests(conn, kind, order_no, &of_no_request, "worker", now).await?;
        Ok(tx.commit().await?)
    }

    /// A mutation that is given up holds the order no longer: what people do next begins from where a refusal leaves it.
    async fn unlock(
        &self,
        tx: &mut Tx,
        step: &Step,
        mut pair: Pair,
        request: &Request,
    ) -> Result<(), FrexError> {
        let Some(before) = pair.info.clone() else {
            return Ok(());
        };
        let facts = Facts {
            now: self.now(),
            requested_amount: request.amount,
            ..Facts::default()
        };
        effect::apply(step.writes.refused, &mut pair, &facts);
        let after = pair.info.as_ref().expect("it was there");
        tables::save_state(tx.conn(), &before, after).await?;
        Ok(())
    }

    /// Our code failed on a request: counted on its row, and given up after some times.
    ///
    /// # Errors
    /// The database's, or the lease was taken over.
    pub async fn fault(
        &self,
        step: &Step,
        request: &Request,
        error: &FrexError,
        report: &mut StepReport,
    ) -> Result<(), FrexError> {
        if error.is_conflict() {
            // An operator or the shop was quicker; the next run sees what they did.
            log::info!("frex: {}: {error}", request.key);
            return Ok(());
        }
        report.failed += 1;
        log::error!("frex: {} of {}: {error}", step.name, request.key);
        let key = request.key.to_string();
        let mut tx = self.begin().await?;
        lease::guard(&mut tx, self.fence).await?;
        let order_no = request.key.order_no.as_str();
        let pair = tables::pairs(&mut tx, &[order_no]).await?.remove(order_no);
        let Some(present) = tables::request(tx.conn(), &key).await? else {
            return Ok(());
        };
        if matches!(
            present.state,
            RequestState::Complete | RequestState::Error | RequestState::Skipped
        ) {
            return Ok(());
        }
        let mut after = present.clone();
        after.faults += 1;
        after.last_error = error.to_string().chars().take(300).collect();
        if after.faults >= i64::from(self.settings().faults) {
            after.unclear = matches!(present.state, RequestState::Sending | RequestState::Unknown);
            after.state = RequestState::Error;
            after.done_at = self.now();
            let alert = Alert::of(
                &request.key,
                &[],
                format!("our code failed on it {} times: {error}", after.faults),
            );
            alert::raise(
                tx.conn(),
                AlertKind::StepFailed,
                &alert,
                self.id(),
                self.now(),
            )
            .await?;
            if let (true, Some(pair)) = (present.kind().is_mutation(), pair) {
                self.unlock(&mut tx, step, pair, &present).await?;
            }
        }
        tables::save_faults(tx.conn(), &present, &after).await?;
        Ok(tx.commit().await?)
    }
}
