//! The link's thread: reads the connection, and makes a new one when it breaks.

use std::io;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use codec::link::Head;
use codec::link::frame::Kind;

use crate::connect::{Established, FrameReader, establish};
use crate::endpoint::Endpoint;
use crate::link::Shared;
use crate::table::Conn;

/// The first pause between two attempts to connect; it doubles.
const PAUSE_FIRST: Duration = Duration::from_millis(5);
/// The longest pause within the resume grace.
const PAUSE_MAX_IN_GRACE: Duration = Duration::from_millis(100);
/// The longest pause afterwards.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Reads until the link is closed, over as many connections as it takes.
pub(crate) fn run(shared: &Arc<Shared>, first: Established) {
    let mut next = Some(first);
    let mut last_good = shared.endpoint.clone();
    while let Some(connection) = next.take().or_else(|| reconnect(shared, &last_good)) {
        last_good = connection.endpoint.clone();
        if attach(shared, &connection) {
            read(shared, connection.frames);
        }
        let mut table = shared.lock();
        if let Some(socket) = table.socket() {
            // A caller may hang in a write to it; an error means that it is already disconnected.
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
        table.detach(Instant::now());
        shared.credit_bell.notify_all();
    }
}

/// Puts a fresh connection under the link and begins to take its sessions over. False if the link was closed.
fn attach(shared: &Shared, connection: &Established) -> bool {
    let mut table = shared.lock();
    if matches!(table.conn, Conn::Closed) {
        return false;
    }
    let since = table.down_since().unwrap_or_else(Instant::now);
    table.conn = Conn::Resuming {
        socket: connection.frames.socket.clone(),
        since,
    };
    table.agreed = connection.agreed.clone();
    if connection.credit != 0 {
        table.credit = connection.credit;
    }
    table.outbox.clear();
    table.resuming = table
        .sessions
        .iter()
        .filter(|(_, entry)| entry.token.is_some() && entry.fate == crate::table::Fate::Living)
        .map(|(key, _)| *key)
        .collect();
    table.resume_next();
    drop(table);
    shared.credit_bell.notify_all();
    shared.flush();
    true
}

/// Dispatches frames until the connection ends, breaks, misbehaves, or stays silent.
fn read(shared: &Shared, mut frames: FrameReader) {
    if frames
        .socket
        .set_read_timeout(Some(shared.options.quiet_max))
        .is_err()
    {
        return;
    }
    let mut probed = false;
    loop {
        if dispatch_read(shared, &mut frames).is_err() {
            return;
        }
        match frames.fill() {
            Ok(()) => probed = false,
            Err(error) if is_time_out(&error) => {
                let mut table = shared.lock();
                if table.sessions.is_empty() {
                    continue;
                }
                if probed {
                    return;
                }
                probed = true;
                Head::new(Kind::Ping).write(&[], &mut table.outbox);
                drop(table);
                shared.flush();
            }
            Err(_) => return,
        }
    }
}

/// Dispatches every frame that has been read, and writes what they led to.
fn dispatch_read(
    shared: &Shared,
    frames: &mut FrameReader,
) -> Result<(), crate::dispatch::Misbehaved> {
    let mut table = shared.lock();
    while let Some(frame) = frames.take()? {
        table.dispatch(frame)?;
    }
    let write = !table.outbox.is_empty();
    drop(table);
    shared.credit_bell.notify_all();
    if write {
        shared.flush();
    }
    Ok(())
}

/// Connects again as long as a session wants the link: first where the line lived last, then as configured, then
/// wherever the daemon once said. `None` when the link is closed.
fn reconnect(shared: &Shared, last_good: &Endpoint) -> Option<Established> {
    let mut pause = PAUSE_FIRST;
    loop {
        let (epoch, candidates, since) = {
            let mut table = shared.lock();
            loop {
                match table.conn {
                    Conn::Closed => return None,
                    _ if !table.sessions.is_empty() => break,
                    _ => {
                        table = shared
                            .wake
                            .wait(table)
                            .unwrap_or_else(PoisonError::into_inner);
                        pause = PAUSE_FIRST;
                    }
                }
            }
            let mut candidates = vec![last_good.clone(), shared.endpoint.clone()];
            candidates.extend(table.agreed.endpoints.iter().cloned());
            candidates.dedup();
            (table.agreed.epoch, candidates, table.down_since())
        };
        for endpoint in &candidates {
            if let Ok(established) = establish(endpoint, &shared.line, epoch) {
                return Some(established);
            }
        }
        let in_grace = since.is_none_or(|s| s.elapsed() < shared.options.resume_grace);
        let longest = if in_grace {
            PAUSE_MAX_IN_GRACE
        } else {
            PAUSE_MAX
        };
        pause = (pause * 2).min(longest);
        let table = shared.lock();
        if matches!(table.conn, Conn::Closed) {
            return None;
        }
        // Woken early by a new session or the end of the link; both are looked at above.
        drop(
            shared
                .wake
                .wait_timeout(table, pause)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }
}

fn is_time_out(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}
