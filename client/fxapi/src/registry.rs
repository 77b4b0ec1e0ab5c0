//! The API sessions of this process, by the number that the C program holds, and the links under them.
//!
//! All sessions to one daemon share one link; it is closed with the last of them. A session serves one call at a
//! time: a second one is told so (RC 13) and does not wait.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, TryLockError};

use client::{Endpoint, Link, Options, Session, WeakLink};
use codec::link::rc;

use crate::boundary::block_signals;
use crate::codes::Function;
use crate::locate;

/// A session's place; empty once it was closed by another call.
type Slot = Arc<Mutex<Option<Session>>>;

#[derive(Default)]
struct Sessions {
    slots: HashMap<u32, Slot>,
    /// The number given out last. Numbers are not used again before all others were.
    last: u32,
}

static SESSIONS: LazyLock<Mutex<Sessions>> = LazyLock::new(Mutex::default);
static LINKS: LazyLock<Mutex<HashMap<Endpoint, WeakLink>>> = LazyLock::new(Mutex::default);

/// Opens a session to the daemon of the configuration and gives its number, which is never 0.
pub(crate) fn open() -> Result<u32, u32> {
    // Without a readable fx_cf.cf there is no daemon to reach; that is ours to report, not the link's.
    let endpoint = locate::daemon().ok_or(u32::from(rc::ERROR_API_INTERNAL))?;
    let link = link(&endpoint).ok_or(u32::from(rc::ERROR_SOCKET))?;
    let session = link
        .open_session()
        .map_err(|error| Function::Open.code(Err(error)))?;
    let mut sessions = lock(&SESSIONS);
    let mut number = sessions.last.wrapping_add(1);
    while number == 0 || sessions.slots.contains_key(&number) {
        number = number.wrapping_add(1);
    }
    sessions.last = number;
    let slot = Arc::new(Mutex::new(Some(session)));
    sessions.slots.insert(number, slot);
    Ok(number)
}

/// The link to this endpoint, connected if there is none.
fn link(endpoint: &Endpoint) -> Option<Link> {
    let mut links = lock(&LINKS);
    if let Some(link) = links.get(endpoint).and_then(WeakLink::upgrade) {
        return Some(link);
    }
    // The C interface has one number for every cause, and a library has no log: the cause is not told.
    let options = Options {
        thread_start: block_signals,
        ..Options::default()
    };
    let link = Link::connect_with(endpoint, "", options).ok()?;
    links.insert(endpoint.clone(), link.downgrade());
    Some(link)
}

/// Runs a call with its session to itself.
pub(crate) fn with<T>(number: u32, call: impl FnOnce(&mut Session) -> T) -> Result<T, u32> {
    let slot = slot(number)?;
    let mut guard = try_lock(&slot)?;
    let session = guard.as_mut().ok_or(u32::from(rc::NO_SESSION_ID))?;
    Ok(call(session))
}

/// Closes a session. Its number is free at once, whatever the daemon has to say.
pub(crate) fn close(number: u32) -> Result<(), u32> {
    let slot = slot(number)?;
    let session = try_lock(&slot)?
        .take()
        .ok_or(u32::from(rc::NO_SESSION_ID))?;
    lock(&SESSIONS).slots.remove(&number);
    // A daemon that does not answer gives up by itself what this session had outstanding.
    let _ = session.close();
    Ok(())
}

fn slot(number: u32) -> Result<Slot, u32> {
    let slot = lock(&SESSIONS).slots.get(&number).cloned();
    slot.ok_or(u32::from(rc::NO_SESSION_ID))
}

fn try_lock(slot: &Slot) -> Result<MutexGuard<'_, Option<Session>>, u32> {
    match slot.try_lock() {
        Ok(guard) => Ok(guard),
        // A call that panicked returned RC 15; the session itself holds no half-made state.
        Err(TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => Err(u32::from(rc::USE_SESSION_ID)),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
