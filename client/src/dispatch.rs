//! What each of the daemon's frames changes in the [`Table`]. Frames for what is already over are dropped: after a
//! resume the daemon may repeat itself, and a call that gave up leaves answers behind.

use codec::link::frame::{FLAG_AGAIN, Kind};
use codec::link::message::{DroppedTelegram, Opened, Report, State, Status};
use codec::link::{Frame, Head, LinkError, rc};
use thiserror::Error;

use crate::session::{CentreItem, Delivery, Event, RequestId, Telegram};
use crate::table::{Answer, Arrival, Entry, Fate, Pending, Phase, Table, ends_after_accepted};

/// Why the connection must be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum Misbehaved {
    #[error(transparent)]
    Frame(#[from] LinkError),
    /// A kind that a daemon never sends on a link that is up.
    #[error("unexpected {0:?} frame")]
    UnexpectedKind(Kind),
    /// OPENED, and nothing was to be opened.
    #[error("an OPENED frame that answers nothing")]
    UnexpectedOpened,
}

impl Table {
    /// Takes one frame in. The caller flushes the outbox afterwards.
    pub fn dispatch(&mut self, frame: Frame<'_>) -> Result<(), Misbehaved> {
        let Frame { head, body } = frame;
        if head.credit != 0 {
            self.credit = head.credit;
        }
        match head.kind {
            Kind::Opened => self.opened(&head, &Opened::decode(body)?)?,
            Kind::Ended if head.session == 0 => self.session_refused(head.code),
            Kind::Accepted => self.accepted(&head),
            Kind::Report => {
                let telegram = Telegram::from(Report::decode(body)?);
                self.reported(&head, telegram);
            }
            Kind::Ended => self.ended(&head),
            Kind::Confirm => self.confirmed(&head),
            Kind::Done => self.answered(&head, Answer::Done(head.code)),
            // The journal could not be searched, so the state in the body says nothing.
            Kind::State if !matches!(head.code, rc::OK | rc::ERR_SEARCHJOURNAL) => {
                self.answered(&head, Answer::Done(head.code));
            }
            Kind::State => self.answered(&head, Answer::State(State::decode(body)?)),
            Kind::Status => self.answered(&head, Answer::Status(Status::decode(body)?)),
            Kind::Event => {
                let event = Event {
                    code: head.code,
                    dropped: DroppedTelegram::decode(body)?,
                };
                self.event(event);
            }
            Kind::Request => {
                let telegram = Telegram::from(Report::decode(body)?);
                if let Some(entry) = self.entry(&head) {
                    entry.centre.push_back(CentreItem::Request(telegram));
                    entry.bell.notify_all();
                }
            }
            Kind::Pong => {}
            kind => return Err(Misbehaved::UnexpectedKind(kind)),
        }
        Ok(())
    }

    fn entry(&mut self, head: &Head) -> Option<&mut Entry> {
        let key = self.numbers.get(&head.session)?;
        self.sessions.get_mut(key)
    }

    fn opened(&mut self, head: &Head, opened: &Opened) -> Result<(), Misbehaved> {
        let queue = if head.flags & FLAG_AGAIN != 0 {
            &mut self.resuming
        } else {
            &mut self.opening
        };
        let key = queue.pop_front().ok_or(Misbehaved::UnexpectedOpened)?;
        if self.sessions.contains_key(&key) {
            self.attach(key, head.session, opened.token, opened.highest);
        } else {
            // Its caller went away meanwhile: the daemon must not keep it.
            self.put(Some(head.session), Head::new(Kind::Close), &[]);
        }
        if head.flags & FLAG_AGAIN != 0 {
            self.resume_next();
        }
        Ok(())
    }

    /// ENDED on session 0: the RESUME or OPEN under way is refused.
    fn session_refused(&mut self, code: u16) {
        if let Some(key) = self.resuming.pop_front() {
            self.lose(key, Fate::Lost);
            self.resume_next();
        } else if let Some(key) = self.opening.pop_front() {
            self.lose(key, Fate::Refused(code));
        }
    }

    fn accepted(&mut self, head: &Head) {
        let Some(entry) = self.entry(head) else {
            return;
        };
        let Some(pending) = entry.pending.get_mut(&head.request) else {
            return;
        };
        if matches!(pending.phase, Phase::Sent) {
            pending.phase = Phase::Accepted;
        }
        let over = pending.answer;
        settle_send(entry, head.request, Ok(()));
        if over {
            entry.pending.remove(&head.request);
            self.outstanding -= 1;
        }
    }

    fn reported(&mut self, head: &Head, telegram: Telegram) {
        let Some(entry) = self.entry(head) else {
            return;
        };
        let Some(pending) = entry.pending.get_mut(&head.request) else {
            // Nobody will ever take it: its GIVEUP was lost with a connection. Said now, it is settled now.
            let give_up = Head {
                request: head.request,
                trace: head.trace,
                ..Head::new(Kind::GiveUp)
            };
            return self.put(Some(head.session), give_up, &[]);
        };
        if matches!(pending.phase, Phase::Sent | Phase::Accepted) {
            if head.trace != 0 {
                pending.trace = head.trace;
            }
            pending.phase = Phase::Reported(telegram);
            entry.arrivals.push_back(Arrival::Report(head.request));
            settle_send(entry, head.request, Ok(()));
            entry.bell.notify_all();
        }
    }

    fn ended(&mut self, head: &Head) {
        let Some((entry, pending)) = self.over(head) else {
            return;
        };
        let (request, code) = (head.request, head.code);
        match pending.phase {
            Phase::GivenUp => {}
            Phase::Sent if entry.sending.as_ref().is_some_and(|s| s.request == request) => {
                if ends_after_accepted(code) {
                    entry.arrivals.push_back(Arrival::Ended(request, code));
                    settle_send(entry, request, Ok(()));
                } else {
                    settle_send(entry, request, Err(code));
                }
            }
            Phase::Sent | Phase::Accepted => {
                entry.arrivals.push_back(Arrival::Ended(request, code));
            }
            Phase::Reported(_) => replace_report(entry, request, code),
            Phase::Acked(_) => {
                entry.acked = None;
                entry.arrivals.push_front(Arrival::Ended(request, code));
            }
        }
        entry.bell.notify_all();
    }

    fn confirmed(&mut self, head: &Head) {
        let Some((entry, pending)) = self.over(head) else {
            return;
        };
        let request = head.request;
        match pending.phase {
            Phase::Acked(telegram) => {
                entry.acked = None;
                entry.arrivals.push_front(if head.code == rc::OK {
                    Arrival::Delivered(Delivery {
                        request: RequestId(request),
                        trace: pending.trace,
                        telegram,
                    })
                } else {
                    Arrival::Ended(request, head.code)
                });
            }
            Phase::GivenUp => {}
            // We never said ACK, so nothing of ours can have been delivered: the daemon contradicts itself.
            Phase::Reported(_) => replace_report(entry, request, rc::ERROR_DAEMON),
            Phase::Sent | Phase::Accepted => {
                settle_send(entry, request, Ok(()));
                entry
                    .arrivals
                    .push_back(Arrival::Ended(request, rc::ERROR_DAEMON));
            }
        }
        entry.bell.notify_all();
    }

    /// Takes a request off the account: it is over, however it ended.
    fn over(&mut self, head: &Head) -> Option<(&mut Entry, Pending)> {
        let key = self.numbers.get(&head.session)?;
        let entry = self.sessions.get_mut(key)?;
        let pending = entry.pending.remove(&head.request)?;
        self.outstanding -= 1;
        Some((entry, pending))
    }

    fn answered(&mut self, head: &Head, answer: Answer) {
        if let Some(entry) = self.entry(head)
            && let Some(order) = &mut entry.order
            && order.request == head.request
        {
            order.answer = Some(answer);
            entry.bell.notify_all();
        }
    }

    /// Every session gets the event; a queue that is full loses its oldest event, never a centre request.
    fn event(&mut self, event: Event) {
        for entry in self.sessions.values_mut() {
            if entry.centre.len() >= self.events_max
                && let Some(oldest) = entry
                    .centre
                    .iter()
                    .position(|item| matches!(item, CentreItem::Event(_)))
            {
                entry.centre.remove(oldest);
            }
            entry.centre.push_back(CentreItem::Event(event));
            entry.bell.notify_all();
        }
    }
}

/// Tells the send call under way, if it is about this request, what became of it.
fn settle_send(entry: &mut Entry, request: u64, outcome: Result<(), u16>) {
    if let Some(sending) = &mut entry.sending
        && sending.request == request
        && sending.outcome.is_none()
    {
        sending.outcome = Some(outcome);
        entry.bell.notify_all();
    }
}

/// A report that nobody took is void: its place in the order of arrival now says how the request ended.
fn replace_report(entry: &mut Entry, request: u64, code: u16) {
    if let Some(place) = entry.arrivals.iter_mut().find(|a| a.request() == request) {
        *place = Arrival::Ended(request, code);
    }
}
