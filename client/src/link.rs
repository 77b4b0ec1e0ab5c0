//! A link and its users: connecting, opening sessions, writing, and the one way in which every call waits.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use codec::link::Head;
use codec::link::frame::Kind;

use crate::connect::{Agreed, Established, establish};
use crate::endpoint::{Endpoint, send_all};
use crate::error::{ClientError, ConnectError};
use crate::pump;
use crate::session::Session;
use crate::table::{Conn, Entry, Fate, SessionKey, Table};

/// The library's own limits. The defaults are right for applications; tests shorten them.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long a call waits for the daemon where no telegram's timer applies, and how long an outage may last
    /// before the calls that meet it fail (spec/fexics.md 4.1: 10 s).
    pub call_limit: Duration,
    /// Silence after which the link is probed; after twice as long it counts as broken.
    pub quiet_max: Duration,
    /// The outage's first part, in which connecting is tried at short intervals: the daemon gives a session's
    /// requests up after its own `resume_grace_ms`.
    pub resume_grace: Duration,
    /// Events kept per session; the oldest is dropped.
    pub events_max: usize,
    /// Runs first on the link's thread; the C library keeps its host's signals off the thread here.
    pub thread_start: fn(),
}

impl Default for Options {
    fn default() -> Self {
        Options {
            call_limit: Duration::from_secs(10),
            quiet_max: Duration::from_secs(5),
            resume_grace: Duration::from_secs(5),
            events_max: 256,
            thread_start: || {},
        }
    }
}

/// A connection to the daemon that many API sessions share. Clones are the same link; it is closed with the last
/// clone and session.
#[derive(Clone)]
pub struct Link {
    pub(crate) core: Arc<Core>,
}

/// A link that is not kept open by this handle.
#[derive(Clone)]
pub struct WeakLink {
    core: Weak<Core>,
}

/// Closes the link when its last user is gone; the link's thread holds only what is inside.
pub(crate) struct Core {
    pub shared: Arc<Shared>,
}

/// What the users of a link and its thread share.
pub(crate) struct Shared {
    pub table: Mutex<Table>,
    /// Held while writing, so that frames leave in the order of the outbox.
    writer: Mutex<Vec<u8>>,
    /// Rung when credit may have become free.
    pub credit_bell: Condvar,
    /// Rung when the link's thread has a reason to connect, or to end.
    pub wake: Condvar,
    pub endpoint: Endpoint,
    pub line: String,
    pub options: Options,
}

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woke {
    /// Something may have changed.
    Look,
    /// The call's own deadline.
    Deadline,
    /// The link has been down for the call limit.
    LinkDown,
}

impl Link {
    /// Connects to the line of this name (empty: the listener's default line), going where the daemon sends us.
    ///
    /// # Errors
    /// Every [`ConnectError`]; nothing is retried here.
    pub fn connect(endpoint: &Endpoint, line: &str) -> Result<Link, ConnectError> {
        Link::connect_with(endpoint, line, Options::default())
    }

    /// [`Link::connect`] with other limits.
    ///
    /// # Errors
    /// As [`Link::connect`].
    pub fn connect_with(
        endpoint: &Endpoint,
        line: &str,
        options: Options,
    ) -> Result<Link, ConnectError> {
        let established = establish(endpoint, line, 0)?;
        let shared = Arc::new(Shared::new(endpoint, line, options, &established));
        let inner = shared.clone();
        let core = Arc::new(Core { shared });
        thread::Builder::new()
            .name("sekisho-link".to_owned())
            .spawn(move || {
                (options.thread_start)();
                pump::run(&inner, established);
            })
            .map_err(|source| ConnectError::Unreachable {
                endpoint: endpoint.to_string(),
                source,
            })?;
        Ok(Link { core })
    }

    /// Opens an API session.
    ///
    /// # Errors
    /// [`ClientError::NotConnected`] after the call limit, or [`ClientError::Refused`] by the daemon.
    pub fn open_session(&self) -> Result<Session, ClientError> {
        let shared = &self.core.shared;
        let deadline = Instant::now() + shared.options.call_limit;
        let mut table = shared.lock();
        let key = table.next_key;
        table.next_key += 1;
        let entry = Entry::new();
        let bell = entry.bell.clone();
        if table.sessions.is_empty()
            && let Conn::Down { since } = &mut table.conn
        {
            // Nobody missed the link until now, so the outage begins for this call.
            *since = Instant::now();
        }
        table.sessions.insert(key, entry);
        shared.wake.notify_all();
        let session = Session::new(self.clone(), key, bell.clone());
        loop {
            let Some(entry) = table.sessions.get(&key) else {
                return leave(table, ClientError::SessionLost);
            };
            if let Fate::Refused(code) = entry.fate {
                return leave(table, ClientError::Refused { code });
            }
            if entry.number.is_some() {
                drop(table);
                return Ok(session);
            }
            if matches!(table.conn, Conn::Up(_)) && !table.opening.contains(&key) {
                table.opening.push_back(key);
                Head::new(Kind::Open).write(&[], &mut table.outbox);
                drop(table);
                shared.flush();
                table = shared.lock();
                continue;
            }
            let woke;
            (table, woke) = shared.wait(table, &bell, deadline);
            match woke {
                Woke::Look => {}
                Woke::Deadline => return leave(table, ClientError::NoAnswer),
                Woke::LinkDown => return leave(table, ClientError::NotConnected),
            }
        }
    }

    /// What the newest handshake agreed on.
    #[must_use]
    pub fn agreed(&self) -> Agreed {
        self.core.shared.lock().agreed.clone()
    }

    /// A handle that does not keep the link open.
    #[must_use]
    pub fn downgrade(&self) -> WeakLink {
        WeakLink {
            core: Arc::downgrade(&self.core),
        }
    }
}

/// Lets the table go before the half-made session does, whose drop takes the lock again.
fn leave<T>(table: MutexGuard<'_, Table>, error: ClientError) -> Result<T, ClientError> {
    drop(table);
    Err(error)
}

impl WeakLink {
    /// The link, if it is still open.
    #[must_use]
    pub fn upgrade(&self) -> Option<Link> {
        self.core.upgrade().map(|core| Link { core })
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        // What sessions said last (CLOSE) should still reach the daemon.
        self.shared.flush();
        let mut table = self.shared.lock();
        if let Some(socket) = table.socket() {
            // An error means that it is already disconnected, which is what is wanted.
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
        table.conn = Conn::Closed;
        self.shared.wake.notify_all();
    }
}

impl Shared {
    fn new(endpoint: &Endpoint, line: &str, options: Options, established: &Established) -> Shared {
        let table = Table {
            conn: Conn::Resuming {
                socket: established.frames.socket.clone(),
                since: Instant::now(),
            },
            agreed: established.agreed.clone(),
            credit: established.credit.max(1),
            outstanding: 0,
            sessions: std::collections::BTreeMap::new(),
            numbers: std::collections::HashMap::new(),
            opening: std::collections::VecDeque::new(),
            resuming: std::collections::VecDeque::new(),
            outbox: Vec::new(),
            events_max: options.events_max,
            next_key: 1,
        };
        Shared {
            table: Mutex::new(table),
            writer: Mutex::new(Vec::new()),
            credit_bell: Condvar::new(),
            wake: Condvar::new(),
            endpoint: endpoint.clone(),
            line: line.to_owned(),
            options,
        }
    }

    /// The table. A panic elsewhere leaves it usable: every change to it is small and ends whole.
    pub fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the outbox. Frames of several threads leave together. A failed write ends the connection, which the
    /// link's thread then sees; nothing is lost, for a resume repeats what is unanswered.
    pub fn flush(&self) {
        let mut bytes = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let socket = {
                let mut table = self.lock();
                let Some(socket) = table.socket().cloned() else {
                    table.outbox.clear();
                    return;
                };
                if table.outbox.is_empty() {
                    return;
                }
                bytes.clear();
                std::mem::swap(&mut table.outbox, &mut *bytes);
                socket
            };
            if send_all(&socket, &bytes).is_err() {
                // An error means that it is already disconnected, which is what is wanted.
                let _ = socket.shutdown(std::net::Shutdown::Both);
            }
        }
    }

    /// Waits for the bell, until the deadline, and no longer than the call limit while the link is down.
    pub fn wait<'a>(
        &self,
        table: MutexGuard<'a, Table>,
        bell: &Condvar,
        deadline: Instant,
    ) -> (MutexGuard<'a, Table>, Woke) {
        let now = Instant::now();
        let outage_end = table.down_since().map(|s| s + self.options.call_limit);
        if outage_end.is_some_and(|end| now >= end) {
            return (table, Woke::LinkDown);
        }
        if now >= deadline {
            return (table, Woke::Deadline);
        }
        let until = outage_end.map_or(deadline, |end| end.min(deadline));
        let (table, _) = bell
            .wait_timeout(table, until - now)
            .unwrap_or_else(PoisonError::into_inner);
        (table, Woke::Look)
    }

    /// Forgets a session and tells the daemon, without waiting for its answer.
    pub fn abandon(&self, key: SessionKey) {
        let mut table = self.lock();
        if let Some(number) = table.sessions.get(&key).and_then(|entry| entry.number) {
            table.put(Some(number), Head::new(Kind::Close), &[]);
        }
        table.remove(key);
        drop(table);
        self.credit_bell.notify_all();
        self.flush();
    }
}
