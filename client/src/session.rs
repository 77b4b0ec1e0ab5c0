//! An API session: the calls of an application, each bounded in time.

use std::sync::{Arc, Condvar, MutexGuard};
use std::time::{Duration, Instant};

use codec::link::frame::Kind;
use codec::link::message::{DroppedTelegram, Order, Report, Send, State, Status};
use codec::link::{Head, rc};

use crate::error::ClientError;
use crate::link::{Link, Shared, Woke};
use crate::table::{self, Answer, Arrival, Entry, Fate, Pending, Phase, SessionKey, Table};

/// A wait that no timer bounds in practice: the end of a recovery run. A lost link still ends it.
const UNBOUNDED: Duration = Duration::from_secs(24 * 60 * 60);
/// What the library waits beyond a telegram's own timer (spec/fexics.md 4.1).
const AFTER_TIMER: Duration = Duration::from_secs(10);
/// The longest data part: a frame of 1024 bytes less its header (spec/cafis.md 2.5).
const DATA_MAX: usize = 961;

/// Names a request of an API session; it rises with each, and stays with the request over any number of resumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// How long a receive waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// For something to arrive, this long.
    For(Duration),
    /// Not at all: [`ClientError::NotReady`] if nothing is there.
    Poll,
}

/// A telegram as an application sees it: without the common control header.
#[derive(Clone, PartialEq, Eq)]
pub struct Telegram {
    /// Centre id.
    pub centre_id: [u8; 2],
    /// Centre sequence.
    pub centre_seq: [u8; 6],
    /// Destination company and sub code.
    pub issuer: [u8; 11],
    /// Originating company and sub code.
    pub acquirer: [u8; 11],
    /// Message type, four digits.
    pub mti: [u8; 4],
    /// Centre month-day, MMDD.
    pub date: [u8; 4],
    /// Data part, at most 961 bytes.
    pub data: Vec<u8>,
}

impl std::fmt::Debug for Telegram {
    /// The data part may hold a card number, so only its length is shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Telegram")
            .field("mti", &String::from_utf8_lossy(&self.mti))
            .field("data_len", &self.data.len())
            .finish_non_exhaustive()
    }
}

impl From<Report<'_>> for Telegram {
    fn from(report: Report<'_>) -> Telegram {
        Telegram {
            centre_id: report.centre_id,
            centre_seq: report.centre_seq,
            issuer: report.issuer,
            acquirer: report.acquirer,
            mti: report.mti,
            date: report.date,
            data: report.data.to_vec(),
        }
    }
}

/// A report whose delivery to this application is durable at the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The request it answers.
    pub request: RequestId,
    /// The request's trace id.
    pub trace: u64,
    /// The report.
    pub telegram: Telegram,
}

/// A change of the line's state, codes 41 to 50 of spec/fexics.md 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The event's code.
    pub code: u16,
    /// For code 50: what was discarded.
    pub dropped: Option<DroppedTelegram>,
}

/// What [`Session::receive_centre`] hands out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CentreItem {
    /// An event; every session gets each.
    Event(Event),
    /// A request of the centre; this session alone got it and must answer it with [`Session::send`].
    Request(Telegram),
}

/// An API session. Dropping it closes it; what it had outstanding is then given up and settled by the daemon.
pub struct Session {
    link: Link,
    key: SessionKey,
    bell: Arc<Condvar>,
}

impl Session {
    pub(crate) fn new(link: Link, key: SessionKey, bell: Arc<Condvar>) -> Session {
        Session { link, key, bell }
    }

    /// The link that carries this session.
    #[must_use]
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Sends a telegram and returns when the daemon has taken it: its record is durable and it was handed to a
    /// centre session. `trace` is carried to the journal. Where the line buffers requests, this waits for a route.
    ///
    /// # Errors
    /// [`ClientError::Refused`]: the daemon did not send it. [`ClientError::Credit`], [`ClientError::NotConnected`]:
    /// nothing was sent. Others: the outcome is unknown, and the request is given up.
    pub fn send(&mut self, send: &Send<'_>, trace: u64) -> Result<RequestId, ClientError> {
        if send.data.len() > DATA_MAX {
            return Err(ClientError::TooLong {
                len: send.data.len(),
            });
        }
        let shared = self.shared();
        let deadline = Instant::now() + shared.options.call_limit;
        let mut table = self.wait_for_credit(shared, deadline)?;
        let buffering = table.agreed.t31 + AFTER_TIMER;
        let mut body = Vec::new();
        send.encode(&mut body);
        let entry = usable(&mut table, self.key)?;
        let id = entry.take_id();
        entry.sending = Some(table::Sending {
            request: id,
            outcome: None,
        });
        let pending = Pending {
            body: body.clone(),
            trace,
            answer: matches!(send.mti[2], b'2' | b'5'),
            phase: Phase::Sent,
        };
        entry.pending.insert(id, pending);
        let number = entry.number;
        let mut head = Head::new(Kind::Send);
        (head.request, head.trace) = (id, trace);
        table.put(number, head, &body);
        table.outstanding += 1;
        drop(table);
        shared.flush();
        self.wait_for_accepted(shared, id, Instant::now() + buffering)
    }

    /// Waits until one more request may be outstanding and the session is attached.
    fn wait_for_credit<'a>(
        &self,
        shared: &'a Shared,
        deadline: Instant,
    ) -> Result<MutexGuard<'a, Table>, ClientError> {
        let mut table = shared.lock();
        loop {
            let attached = usable(&mut table, self.key)?.number.is_some();
            let credit_free = table.outstanding < table.credit;
            if attached && credit_free {
                return Ok(table);
            }
            // The bell that rings for what is missing; attaching rings both.
            let bell = if attached {
                &shared.credit_bell
            } else {
                &*self.bell
            };
            let woke;
            (table, woke) = shared.wait(table, bell, deadline);
            match woke {
                Woke::Look => {}
                Woke::LinkDown => return Err(ClientError::NotConnected),
                Woke::Deadline if !attached => return Err(ClientError::NotConnected),
                Woke::Deadline => {
                    return Err(ClientError::Credit {
                        credit: table.credit,
                    });
                }
            }
        }
    }

    fn wait_for_accepted(
        &self,
        shared: &Shared,
        id: u64,
        deadline: Instant,
    ) -> Result<RequestId, ClientError> {
        let mut table = shared.lock();
        loop {
            let entry = usable(&mut table, self.key)?;
            if let Some(table::Sending {
                outcome: Some(outcome),
                ..
            }) = entry.sending
            {
                entry.sending = None;
                return match outcome {
                    Ok(()) => Ok(RequestId(id)),
                    Err(code) => Err(ClientError::Refused { code }),
                };
            }
            let woke;
            (table, woke) = shared.wait(table, &self.bell, deadline);
            let error = match woke {
                Woke::Look => continue,
                Woke::Deadline => ClientError::NoAnswer,
                Woke::LinkDown => ClientError::LinkLost,
            };
            // The caller takes it for failed, so a report to it must not be handed out any more.
            usable(&mut table, self.key)?.sending = None;
            table.give_up(self.key, Some(id));
            drop(table);
            shared.flush();
            return Err(error);
        }
    }

    /// Takes the next report of this session in the order of arrival, or waits for one.
    ///
    /// # Errors
    /// [`ClientError::TimeOut`]: this wait is over, and everything outstanding on the session is given up.
    /// [`ClientError::Ended`]: one request is over without a report; the others go on. Others: unknown.
    pub fn receive(&mut self, wait: Wait) -> Result<Delivery, ClientError> {
        let shared = self.shared();
        let confirm_limit = shared.options.call_limit;
        let mut table = shared.lock();
        let mut deadline = deadline_of(wait);
        if table.confirming(self.key) {
            // An earlier call took a report and could not wait for its CONFIRM: that report comes first.
            deadline = Instant::now() + confirm_limit;
        }
        loop {
            match table.take_arrival(self.key) {
                Some(Arrival::Delivered(delivery)) => return Ok(delivery),
                Some(Arrival::Ended(request, code)) => {
                    let request = RequestId(request);
                    return Err(ClientError::Ended { request, code });
                }
                Some(Arrival::Report(request)) => {
                    acknowledge(&mut table, self.key, request);
                    deadline = Instant::now() + confirm_limit;
                    drop(table);
                    shared.flush();
                    table = shared.lock();
                    continue;
                }
                None => {}
            }
            usable(&mut table, self.key)?;
            let woke;
            (table, woke) = shared.wait(table, &self.bell, deadline);
            match woke {
                Woke::Look => {}
                Woke::LinkDown => return Err(ClientError::LinkLost),
                Woke::Deadline if table.confirming(self.key) => return Err(ClientError::NoAnswer),
                Woke::Deadline if wait == Wait::Poll => return Err(ClientError::NotReady),
                Woke::Deadline => {
                    table.give_up(self.key, None);
                    drop(table);
                    shared.flush();
                    return Err(ClientError::TimeOut);
                }
            }
        }
    }

    /// Takes the next event or centre request. The first call announces this session as a listener.
    ///
    /// # Errors
    /// [`ClientError::TimeOut`] or [`ClientError::NotReady`] if nothing came; nothing is given up.
    pub fn receive_centre(&mut self, wait: Wait) -> Result<CentreItem, ClientError> {
        let shared = self.shared();
        let listening = usable(&mut shared.lock(), self.key)?.listening;
        if !listening {
            let limit = shared.options.call_limit;
            match self.order(Kind::Listen, &[1], true, limit)? {
                Answer::Done(rc::OK) => usable(&mut shared.lock(), self.key)?.listening = true,
                Answer::Done(code) => return Err(ClientError::Refused { code }),
                _ => return Err(ClientError::WrongAnswer),
            }
        }
        let deadline = deadline_of(wait);
        let mut table = shared.lock();
        loop {
            if let Some(item) = usable(&mut table, self.key)?.centre.pop_front() {
                return Ok(item);
            }
            let woke;
            (table, woke) = shared.wait(table, &self.bell, deadline);
            match woke {
                Woke::Look => {}
                Woke::Deadline if wait == Wait::Poll => return Err(ClientError::NotReady),
                Woke::Deadline => return Err(ClientError::TimeOut),
                Woke::LinkDown => return Err(ClientError::LinkLost),
            }
        }
    }

    /// Where the transaction of this key (date 6, terminal id 13, terminal sequence 5) stands.
    ///
    /// # Errors
    /// The link's errors, and [`ClientError::Refused`].
    pub fn query(&mut self, key: &[u8; 24]) -> Result<State, ClientError> {
        let limit = self.shared().options.call_limit;
        match self.order(Kind::Query, key, true, limit)? {
            Answer::State(state) => Ok(state),
            Answer::Done(code) => Err(ClientError::Refused { code }),
            _ => Err(ClientError::WrongAnswer),
        }
    }

    /// Cancels the transaction of this key at the centre; returns when it is settled (spec/fexics.md 4.5).
    ///
    /// # Errors
    /// [`ClientError::Refused`] with the code of the outcome; [`ClientError::TimeOut`] if the daemon gave no result
    /// in the time that all its sends may take.
    pub fn cancel(&mut self, key: &[u8; 24]) -> Result<(), ClientError> {
        let agreed = self.link.agreed();
        let limit = agreed.t32 * agreed.sends_ordered.max(1) + AFTER_TIMER;
        let answer = self
            .order(Kind::Cancel, key, true, limit)
            .map_err(|error| timer_expired(error, true))?;
        done(answer)
    }

    /// Gives an order. `route` is used by [`Order::Purge`] only. For [`Order::Status`] use [`Session::status`].
    ///
    /// # Errors
    /// [`ClientError::Refused`] with the daemon's code; [`ClientError::LinkLost`] if the link broke under an order
    /// that must not be given twice; [`ClientError::TimeOut`] where the order has a telegram's timer.
    pub fn control(&mut self, order: Order, route: u16) -> Result<(), ClientError> {
        let agreed = self.link.agreed();
        let (limit, repeatable) = match order {
            Order::Connect => (agreed.t34 + AFTER_TIMER, false),
            Order::Disconnect => (agreed.t35 + AFTER_TIMER, false),
            Order::Recovery => (UNBOUNDED, true),
            Order::Status | Order::SignOn | Order::SignOff | Order::CutOver => {
                (self.shared().options.call_limit, true)
            }
            Order::Shutdown | Order::ShutdownForce | Order::CutRequest | Order::Purge => {
                (self.shared().options.call_limit, false)
            }
        };
        let mut body = vec![order as u8];
        if order == Order::Purge {
            body.extend_from_slice(&route.to_le_bytes());
        }
        let timed = matches!(order, Order::Connect | Order::Disconnect);
        let answer = self
            .order(Kind::Control, &body, repeatable, limit)
            .map_err(|error| timer_expired(error, timed))?;
        done(answer)
    }

    /// The line's state, cut date and counts.
    ///
    /// # Errors
    /// The link's errors, and [`ClientError::Refused`].
    pub fn status(&mut self) -> Result<Status, ClientError> {
        let limit = self.shared().options.call_limit;
        match self.order(Kind::Control, &[Order::Status as u8], true, limit)? {
            Answer::Status(status) => Ok(status),
            Answer::Done(code) => Err(ClientError::Refused { code }),
            _ => Err(ClientError::WrongAnswer),
        }
    }

    /// Closes the session and waits for the daemon to say so. Dropping a session does the same without waiting.
    ///
    /// # Errors
    /// The link's errors; the session is closed for the caller whatever happens.
    pub fn close(self) -> Result<(), ClientError> {
        let limit = self.shared().options.call_limit;
        let attached = usable(&mut self.shared().lock(), self.key)?
            .number
            .is_some();
        if !attached {
            return Err(ClientError::NotConnected);
        }
        let answer = self.order(Kind::Close, &[], false, limit)?;
        // Closed at the daemon: dropping need not say it again.
        self.shared().lock().remove(self.key);
        done(answer)
    }

    /// Sends an order and waits for its answer, repeating it after a resume where that does no harm.
    fn order(
        &self,
        kind: Kind,
        body: &[u8],
        repeatable: bool,
        limit: Duration,
    ) -> Result<Answer, ClientError> {
        let shared = self.shared();
        let deadline = deadline_of(Wait::For(limit));
        let mut table = shared.lock();
        let entry = usable(&mut table, self.key)?;
        let (number, request) = (entry.number, entry.take_id());
        entry.order = Some(table::Order {
            request,
            kind,
            body: body.to_vec(),
            repeatable,
            written: number.is_some(),
            answer: None,
        });
        let mut head = Head::new(kind);
        head.request = request;
        table.put(number, head, body);
        drop(table);
        shared.flush();
        let answer = self.wait_for_answer(shared, deadline);
        if let Some(entry) = shared.lock().sessions.get_mut(&self.key) {
            entry.order = None;
        }
        answer
    }

    fn wait_for_answer(&self, shared: &Shared, deadline: Instant) -> Result<Answer, ClientError> {
        let mut table = shared.lock();
        loop {
            let order = usable(&mut table, self.key)?.order.as_ref();
            let written = order.is_some_and(|order| order.written);
            match order.and_then(|order| order.answer) {
                Some(Answer::Lost) => return Err(ClientError::LinkLost),
                Some(answer) => return Ok(answer),
                None => {}
            }
            let woke;
            (table, woke) = shared.wait(table, &self.bell, deadline);
            match woke {
                Woke::Look => {}
                Woke::Deadline | Woke::LinkDown if !written => {
                    return Err(ClientError::NotConnected);
                }
                Woke::Deadline => return Err(ClientError::NoAnswer),
                Woke::LinkDown => return Err(ClientError::LinkLost),
            }
        }
    }

    fn shared(&self) -> &Shared {
        &self.link.core.shared
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.link.core.shared.abandon(self.key);
    }
}

/// The session's entry, if the session can still be used.
fn usable(table: &mut Table, key: SessionKey) -> Result<&mut Entry, ClientError> {
    let entry = table
        .sessions
        .get_mut(&key)
        .ok_or(ClientError::SessionLost)?;
    match entry.fate {
        Fate::Living => Ok(entry),
        Fate::Lost => Err(ClientError::SessionLost),
        Fate::Refused(code) => Err(ClientError::Refused { code }),
    }
}

/// The application takes this report: asks the daemon to make its delivery durable.
fn acknowledge(table: &mut Table, key: SessionKey, request: u64) {
    let Some(entry) = table.sessions.get_mut(&key) else {
        return;
    };
    let Some(pending) = entry.pending.get_mut(&request) else {
        return;
    };
    let phase = std::mem::replace(&mut pending.phase, Phase::GivenUp);
    let Phase::Reported(telegram) = phase else {
        unreachable!("request {request} is in the arrivals and has no report");
    };
    pending.phase = Phase::Acked(telegram);
    entry.acked = Some(request);
    let mut head = Head::new(Kind::Ack);
    (head.request, head.trace) = (request, pending.trace);
    let number = entry.number;
    table.put(number, head, &[]);
}

/// A poll's deadline is now. A wait too long for the clock is as good as [`UNBOUNDED`].
fn deadline_of(wait: Wait) -> Instant {
    let now = Instant::now();
    match wait {
        Wait::For(limit) => now + limit.min(UNBOUNDED),
        Wait::Poll => now,
    }
}

fn done(answer: Answer) -> Result<(), ClientError> {
    match answer {
        Answer::Done(rc::OK) => Ok(()),
        Answer::Done(code) => Err(ClientError::Refused { code }),
        _ => Err(ClientError::WrongAnswer),
    }
}

/// Where an order has a telegram's timer, the daemon's silence is that timer's expiry.
fn timer_expired(error: ClientError, timed: bool) -> ClientError {
    match error {
        ClientError::NoAnswer if timed => ClientError::TimeOut,
        error => error,
    }
}
