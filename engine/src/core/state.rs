//! Applying facts: the one place where durable state changes, in live work and in recovery alike.
//!
//! `put` trusts its facts: live work has just decided them, and a journal that holds impossible ones is broken,
//! which is a panic that stops the shard rather than a state nobody can explain.

use super::fact::{self, Fact, FactHead};
use super::recent::Settled;
use super::service::Service;
use super::tx::{Cause, NO_API, NO_TX, Outcome, Phase};
use super::wheel::TimerId;
use super::{Core, LineNo, cascade::Verdict};
use codec::cafis::header::Header;
use codec::cafis::section::TransactionKey;
use codec::link::rc;

impl Core {
    /// Applies a fact of a line.
    pub(super) fn put(&mut self, line: LineNo, index: u32, head: &FactHead, fact: &Fact<'_>) {
        match fact {
            Fact::Request(request) => self.put_request(line, index, request),
            Fact::NotSent(_) => self.finish(index, Outcome::NotSent),
            Fact::Report(report) => self.put_report(index, report.frame),
            Fact::Delivered(_) => self.finish(index, Outcome::Delivered),
            Fact::Fault(fault) => self.put_fault(line, index, fault),
            Fact::FaultReport(report) => self.put_fault_report(index, report.verdict),
            Fact::Held(held) => self.put_waiting(index, Phase::Held, held.next, held.cause),
            Fact::Escalated(stopped) => {
                self.put_waiting(index, Phase::Escalated, stopped.next, stopped.cause)
            }
            Fact::Ended(ended) => self.finish(
                index,
                Outcome::from_byte(ended.outcome).unwrap_or(Outcome::Unresolved),
            ),
            Fact::Open(open) => self.put_open(line, index, head, open),
            Fact::Service(state) => {
                self.lines[usize::from(line.0)].service =
                    Service::from_byte(state.state).unwrap_or(Service::Down);
            }
            Fact::CutDateSet(cut) => {
                self.lines[usize::from(line.0)].sequences.set_date(cut.date);
                self.find_ahead(line);
            }
            Fact::CheckpointLine(at) => {
                let state = &mut self.lines[usize::from(line.0)];
                state.service = Service::from_byte(at.state).unwrap_or(Service::Down);
                let sequences = &mut state.sequences;
                (sequences.cut_date, sequences.dates, sequences.last) =
                    (at.cut_date, at.dates, at.sequences);
            }
            Fact::LateReport(_)
            | Fact::Dropped(_)
            | Fact::Answered(_)
            | Fact::ApiOpened(_)
            | Fact::ApiClosed(_)
            | Fact::Booted(_)
            | Fact::Stopped(_)
            | Fact::CheckpointBegin(_)
            | Fact::CheckpointApi(_)
            | Fact::CheckpointEnd(_) => {}
        }
    }

    fn put_request(&mut self, line: LineNo, index: u32, request: &fact::Request<'_>) {
        let tx = &mut self.txs[index];
        (tx.phase, tx.route, tx.flags) = (Phase::Accepted, request.route, request.flags);
        (tx.sequence, tx.cut_date) = (request.sequence, request.cut_date);
        (tx.token, tx.request) = (request.api, request.request);
        self.put_image(index, request.image);
        let state = &mut self.lines[usize::from(line.0)];
        state.routes.take(request.route, index, request.sequence);
        state.sequences.used(request.cut_date, request.sequence);
        let api = self.txs[index].api;
        if let Some(api) = self.apis.slots.get_mut(api as usize) {
            api.note_recorded(request.request);
        }
    }

    fn put_image(&mut self, index: u32, image: &[u8]) {
        self.txs.set_image(index, image);
        self.txs[index].mti = Header::new(image).map_or(0, |header| header.mti().0);
        if let Some(key) = TransactionKey::of(image) {
            self.txs.enter_key(index, key.0);
        }
    }

    fn put_report(&mut self, index: u32, frame: &[u8]) {
        self.txs.set_report(index, frame);
        let tx = &mut self.txs[index];
        tx.phase = Phase::Reported;
        tx.report_mti = Header::new(frame).map_or(0, |header| header.mti().0);
        self.free_route(index);
    }

    fn put_fault(&mut self, line: LineNo, index: u32, fault: &fact::Fault) {
        self.mark_held(index);
        let tx = &mut self.txs[index];
        if tx.phase == Phase::Escalated {
            self.lines[usize::from(line.0)].escalated -= 1;
        }
        (tx.phase, tx.fault, tx.sends, tx.congested) =
            (Phase::FaultSent, fault.mti, fault.sends, fault.congested);
        tx.cause = Cause::from_byte(fault.cause).unwrap_or(Cause::None);
        if tx.route != fault.route {
            assert!(
                tx.route == 0,
                "transaction {} changes from route {} to {}",
                tx.id,
                tx.route,
                fault.route
            );
            tx.route = fault.route;
            let sequence = tx.sequence;
            self.lines[usize::from(line.0)]
                .routes
                .take(fault.route, index, sequence);
            self.count_held(line, 1);
        }
    }

    fn put_fault_report(&mut self, index: u32, verdict: u8) {
        let verdict_is_final = matches!(
            Verdict::from_byte(verdict),
            Some(Verdict::Cancelled | Verdict::NotProcessed | Verdict::Stop) | None
        );
        if self.txs[index].phase == Phase::Escalated && !verdict_is_final {
            let line = self.txs[index].line;
            self.lines[usize::from(line.0)].escalated -= 1;
        }
        match Verdict::from_byte(verdict).unwrap_or(Verdict::Stop) {
            Verdict::Cancelled => self.finish(index, Outcome::Cancelled),
            Verdict::NotProcessed => self.finish(index, Outcome::NotProcessed),
            Verdict::Stop => self.finish(index, Outcome::Unresolved),
            Verdict::Congested => {
                self.txs[index].phase = Phase::FaultDelay;
                self.txs[index].congested += 1;
            }
            Verdict::Busy | Verdict::Hold | Verdict::NotOpen => {
                self.txs[index].phase = Phase::FaultDelay
            }
            Verdict::NotOpenYet => {
                let tx = &mut self.txs[index];
                (tx.phase, tx.sends) = (Phase::FaultDelay, tx.sends.saturating_sub(1));
            }
        }
    }

    fn put_waiting(&mut self, index: u32, phase: Phase, next: u16, cause: u8) {
        self.mark_held(index);
        let line = self.txs[index].line;
        let state = &mut self.lines[usize::from(line.0)];
        let tx = &mut self.txs[index];
        state.escalated += u32::from(phase == Phase::Escalated);
        state.escalated -= u32::from(tx.phase == Phase::Escalated);
        // What comes next is a new activation.
        (tx.phase, tx.fault, tx.sends, tx.congested) = (phase, next, 0, 0);
        tx.cause = Cause::from_byte(cause).unwrap_or(Cause::None);
    }

    fn put_open(&mut self, line: LineNo, index: u32, head: &FactHead, open: &fact::Open<'_>) {
        let tx = &mut self.txs[index];
        tx.trace = head.trace;
        tx.phase = Phase::from_byte(open.phase).unwrap_or(Phase::Held);
        tx.cause = Cause::from_byte(open.cause).unwrap_or(Cause::None);
        (tx.congested, tx.route, tx.flags) = (open.congested, open.route, open.flags);
        (tx.fault, tx.sends, tx.sequence, tx.cut_date) =
            (open.fault, open.sends, open.sequence, open.cut_date);
        (tx.token, tx.request) = (open.api, open.request);
        let (phase, route, sequence) = (tx.phase, tx.route, tx.sequence);
        self.put_image(index, open.image);
        self.txs.set_report(index, open.report);
        self.txs[index].report_mti = Header::new(open.report).map_or(0, |header| header.mti().0);
        let state = &mut self.lines[usize::from(line.0)];
        state.escalated += u32::from(phase == Phase::Escalated);
        if route != 0 {
            state.routes.take(route, index, sequence);
            if self.txs[index].in_cascade() {
                self.count_held(line, 1);
            }
        }
    }

    /// Counts a route as held when its transaction enters a cascade; called before the phase changes.
    fn mark_held(&mut self, index: u32) {
        let tx = &self.txs[index];
        if tx.route != 0 && !tx.in_cascade() {
            let line = tx.line;
            self.count_held(line, 1);
        }
    }

    fn count_held(&mut self, line: LineNo, change: i32) {
        let held = &mut self.lines[usize::from(line.0)].routes.held;
        *held = held.saturating_add_signed(change as i16);
    }

    /// Frees a transaction's route.
    pub(super) fn free_route(&mut self, index: u32) {
        let tx = &mut self.txs[index];
        let (line, route, cascade) = (
            tx.line,
            std::mem::replace(&mut tx.route, 0),
            tx.in_cascade(),
        );
        if route == 0 {
            return;
        }
        self.lines[usize::from(line.0)].routes.give_back(route);
        if cascade {
            self.count_held(line, -1);
        }
    }

    /// The end of a transaction: its slot is free, its outcome remembered for a while.
    fn finish(&mut self, index: u32, outcome: Outcome) {
        self.free_route(index);
        let tx = &mut self.txs[index];
        let timer = std::mem::replace(&mut tx.timer, TimerId::NONE);
        self.wheel.cancel(timer);
        let tx = &self.txs[index];
        let (line, escalated, in_recovery) =
            (tx.line, tx.phase == Phase::Escalated, tx.in_recovery);
        let code = if outcome == Outcome::Delivered {
            rc::OK
        } else {
            rc::TIME_OUT
        };
        self.recent.push(Settled {
            id: tx.id,
            line,
            outcome,
            code,
            mti: tx.mti,
            report_mti: tx.report_mti,
            request: tx.request,
            token: tx.token,
            key: tx.key,
        });
        self.unlink_api(index);
        self.txs.give_back(index);
        let state = &mut self.lines[usize::from(line.0)];
        state.escalated -= u32::from(escalated);
        state.in_recovery -= u32::from(in_recovery);
    }

    /// Rebuilds the state from a journal: every fact of the newest complete checkpoint and of what follows it, in
    /// order. Facts of lines that are no longer configured are an error of the operator and named as such.
    ///
    /// # Errors
    /// [`ApplyError`], which names what the configuration lacks.
    pub fn apply(&mut self, head: &FactHead, fact: &Fact<'_>) -> Result<(), ApplyError> {
        self.last_tx = self.last_tx.max(head.tx);
        match fact {
            Fact::CheckpointBegin(begin) => {
                assert!(
                    self.txs.open() == 0,
                    "a checkpoint in the middle of a state"
                );
                self.last_tx = self.last_tx.max(begin.last_tx);
                return Ok(());
            }
            Fact::Booted(_) | Fact::Stopped(_) => {
                self.stopped_clean = matches!(fact, Fact::Stopped(_));
                return Ok(());
            }
            Fact::CheckpointEnd(_) => return Ok(()),
            _ => {}
        }
        let Some(at) = self.cfg.lines.iter().position(|line| line.id == head.line) else {
            return Err(ApplyError::UnknownLine { line: head.line });
        };
        let line = LineNo(at as u16);
        match fact {
            Fact::ApiOpened(opened) => return self.restore_api(line, opened.token, 0),
            Fact::CheckpointApi(api) => return self.restore_api(line, api.token, api.highest),
            Fact::ApiClosed(closed) => {
                self.forget_api(&closed.token);
                return Ok(());
            }
            _ => {}
        }
        let index = self.locate(line, head, fact)?;
        let route = match fact {
            Fact::Request(request) => request.route,
            Fact::Open(open) => open.route,
            Fact::Fault(fault) => fault.route,
            _ => 0,
        };
        if route > self.cfg.lines[at].route_count * 2 {
            return Err(ApplyError::UnknownRoute {
                line: head.line,
                route,
            });
        }
        self.put(line, index, head, fact);
        if let Fact::Request(fact::Request { api, .. }) | Fact::Open(fact::Open { api, .. }) = fact
            && let Some(owner) = self.apis.by_token(api)
        {
            self.link_api(index, owner);
            let request = self.txs[index].request;
            self.apis.slots[owner as usize].note_recorded(request);
        }
        Ok(())
    }

    /// The slot of the transaction that a fact is about; a new one for its first fact.
    fn locate(
        &mut self,
        line: LineNo,
        head: &FactHead,
        fact: &Fact<'_>,
    ) -> Result<u32, ApplyError> {
        if head.tx == 0 {
            return Ok(NO_TX);
        }
        if matches!(fact, Fact::Request(_) | Fact::Open(_)) {
            let Some(index) = self.txs.take(head.tx, line) else {
                return Err(ApplyError::TooManyOpen {
                    capacity: self.cfg.transactions_max(),
                });
            };
            (self.txs[index].trace, self.txs[index].api) = (head.trace, NO_API);
            self.by_id.insert(head.tx, index);
            return Ok(index);
        }
        let known = self.by_id.get(&head.tx).copied();
        let known = known.filter(|index| self.txs.get(*index).is_some_and(|tx| tx.id == head.tx));
        match (known, fact) {
            (Some(index), _) => Ok(index),
            (None, Fact::Dropped(_) | Fact::Answered(_) | Fact::LateReport(_)) => Ok(NO_TX),
            (None, _) => Err(ApplyError::NoBeginning {
                tx: head.tx,
                kind: fact.kind(),
            }),
        }
    }

    fn restore_api(
        &mut self,
        line: LineNo,
        token: [u8; 16],
        highest: u64,
    ) -> Result<(), ApplyError> {
        let Some(index) = self.apis.take(token, line) else {
            return Err(ApplyError::TooManySessions {
                capacity: self.cfg.sessions_max,
            });
        };
        self.apis.slots[index as usize].note_recorded(highest);
        Ok(())
    }

    fn forget_api(&mut self, token: &[u8; 16]) {
        let Some(index) = self.apis.by_token(token) else {
            return;
        };
        while self
            .txs
            .get(self.apis.slots[index as usize].first_tx)
            .is_some()
        {
            let tx = self.apis.slots[index as usize].first_tx;
            self.unlink_api(tx);
            self.txs[tx].api = NO_API;
        }
        self.apis.give_back(index);
    }

    /// The state as the facts of a checkpoint, in an order that [`Core::apply`] takes.
    pub fn checkpoint(&self, write: &mut dyn FnMut(&FactHead, &Fact<'_>)) {
        let shard = FactHead {
            wall_ns: self.now.wall_ns,
            ..FactHead::default()
        };
        let mut facts = 2;
        write(
            &shard,
            &fact::CheckpointBegin {
                last_tx: self.last_tx,
                boot: self.cfg.boot,
            }
            .into(),
        );
        let head_of = |line: LineNo| {
            let cfg = &self.lines[usize::from(line.0)].cfg;
            FactHead {
                line: cfg.id,
                epoch: cfg.epoch,
                ..shard
            }
        };
        for line in &self.lines {
            let at = fact::CheckpointLine {
                state: line.service as u8,
                cut_date: line.sequences.cut_date,
                dates: line.sequences.dates,
                sequences: line.sequences.last,
            };
            facts += 1;
            write(
                &FactHead {
                    line: line.cfg.id,
                    epoch: line.cfg.epoch,
                    ..shard
                },
                &at.into(),
            );
        }
        for api in self.apis.slots.iter().filter(|api| api.open) {
            facts += 1;
            write(
                &head_of(api.line),
                &fact::CheckpointApi {
                    token: api.token,
                    highest: api.recorded,
                }
                .into(),
            );
        }
        // In the order of acceptance, so that each API session's list comes back as it was.
        let mut open: Vec<u32> = self
            .txs
            .indices()
            .filter(|i| {
                self.txs
                    .get(*i)
                    .is_some_and(|tx| tx.phase != Phase::Buffered)
            })
            .collect();
        open.sort_unstable_by_key(|index| self.txs[*index].id);
        let mut masked = Vec::with_capacity(codec::cafis::frame::FRAME_MAX);
        for index in open {
            facts += 1;
            let tx = &self.txs[index];
            masked.clear();
            masked.extend_from_slice(self.txs.report(index));
            mask_report(&mut masked);
            let fact = self.open_fact(index, &masked);
            write(
                &FactHead {
                    tx: tx.id,
                    trace: tx.trace,
                    ..head_of(tx.line)
                },
                &fact.into(),
            );
        }
        write(&shard, &fact::CheckpointEnd { facts }.into());
    }

    fn open_fact<'a>(&'a self, index: u32, report: &'a [u8]) -> fact::Open<'a> {
        let tx = &self.txs[index];
        fact::Open {
            // Whether an accepted request has left for the centre is not durable, so it counts as sent.
            phase: if tx.phase == Phase::Sent {
                Phase::Accepted
            } else {
                tx.phase
            } as u8,
            cause: tx.cause as u8,
            congested: tx.congested,
            route: tx.route,
            flags: tx.flags,
            fault: tx.fault,
            sends: tx.sends,
            sequence: tx.sequence,
            cut_date: tx.cut_date,
            api: tx.token,
            request: tx.request,
            image: self.txs.image(index),
            report,
        }
    }
}

/// Masks a report as it stands on record. It was taken in only because it can be masked, and masking twice changes nothing.
fn mask_report(report: &mut [u8]) {
    if !report.is_empty() && codec::cafis::fault::make_image(report).is_err() {
        panic!(
            "a report of {} bytes was taken in although it cannot be masked",
            report.len()
        );
    }
}

/// Why a journal does not fit the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The journal has facts of a line that is not configured.
    #[error(
        "the journal holds transactions of line id {line}, which the configuration does not have on this shard: put the [[line]] back, or start with an empty data directory once that line is settled"
    )]
    UnknownLine {
        /// Stable id.
        line: u32,
    },
    /// A route of the journal is not of the contract any more.
    #[error(
        "the journal holds route {route} of line id {line}, which route_count does not reach: raise route_count until it is settled"
    )]
    UnknownRoute {
        /// Stable id.
        line: u32,
        /// Route number.
        route: u16,
    },
    /// More is open than the configuration has room for.
    #[error(
        "the journal holds more open transactions than the {capacity} that the configured routes allow: raise route_count until they are settled"
    )]
    TooManyOpen {
        /// Room.
        capacity: usize,
    },
    /// More API sessions were open than the configuration has room for.
    #[error("the journal holds more API sessions than api.max_sessions = {capacity}: raise it")]
    TooManySessions {
        /// Room.
        capacity: usize,
    },
    /// A fact of a transaction that never began: the journal is not what this daemon wrote.
    #[error(
        "the journal holds a record of type {kind} for transaction {tx}, which never began: the journal is damaged or not complete"
    )]
    NoBeginning {
        /// Transaction id.
        tx: u64,
        /// Record type.
        kind: u16,
    },
}
