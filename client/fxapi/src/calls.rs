//! The functions behind the C boundary: arguments are values here, and results are return codes and values.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use client::{Agreed, CentreItem, ClientError, Delivery, Order, Send, Status, Telegram, Wait};
use codec::cafis::mti::Mti;
use codec::link::rc;

use crate::characters;
use crate::codes::Function;
use crate::events;
use crate::registry;

/// The longest data part.
pub(crate) const DATA_MAX: usize = 961;
/// What the library waits beyond a telegram's timer.
const AFTER_TIMER: Duration = Duration::from_secs(10);
const INVALID_PARAM: u32 = rc::INVALID_PARAM as u32;

/// What FX_ReceiveMsg_CF waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// The report to a request of this kind.
    Report([u8; 4]),
    /// An event or a centre request.
    Centre,
}

/// What FX_ReceiveMsg_CF gives back.
pub(crate) struct Received {
    pub centre_id: [u8; 2],
    pub centre_seq: [u8; 6],
    pub issuer: [u8; 11],
    pub acquirer: [u8; 11],
    /// Four digits and two spaces, or `FEXICS`.
    pub kind: [u8; 6],
    pub date: [u8; 4],
    pub data: Vec<u8>,
}

/// FX_SendMsg_CF. The order of the checks that need no daemon: parameters, then characters.
pub(crate) fn send(number: u32, send: &Send<'_>) -> Result<(), u32> {
    let kind = send.mti;
    // 89xx is the daemon's own (spec/fexics.md 11 #30), as are the control messages 0xxx, 7xxx and 9xxx.
    let theirs = matches!(&kind, [b'0' | b'7' | b'9', ..] | [b'8', b'9', ..]);
    let mti = Mti::from_digits(kind)
        .filter(|_| !theirs)
        .ok_or(INVALID_PARAM)?;
    if send.data.len() > DATA_MAX {
        return Err(INVALID_PARAM);
    }
    let fixed: [&[u8]; 4] = [
        &send.centre_id,
        &send.centre_seq,
        &send.issuer,
        &send.acquirer,
    ];
    let clean = fixed.iter().all(|field| characters::text(field));
    if !clean || !characters::data(mti, send.data) {
        // An unknown session is told before the characters of a telegram that could not be sent anyway.
        registry::with(number, |_| ())?;
        return Err(u32::from(rc::INVALID_MSG));
    }
    let result = registry::with(number, |session| session.send(send, next_trace()))?;
    ok(Function::Send.code(result.map(|_| ())))
}

/// FX_ReceiveMsg_CF. `poll` is its asynchronous mode.
pub(crate) fn receive(number: u32, awaited: Awaited, poll: bool) -> Result<Received, u32> {
    registry::with(number, |session| {
        let agreed = session.link().agreed();
        let limit = match awaited {
            Awaited::Centre => agreed.event_wait,
            Awaited::Report(kind) => match timer(kind, &agreed) {
                Some(timer) => timer + AFTER_TIMER,
                None => return Err(INVALID_PARAM),
            },
        };
        let wait = if poll { Wait::Poll } else { Wait::For(limit) };
        let received = match awaited {
            Awaited::Centre => session.receive_centre(wait).map(Received::from),
            Awaited::Report(_) => session.receive(wait).map(Received::from),
        };
        received.map_err(|error| Function::Receive.code(Err(error)))
    })?
}

/// The timer of a request's kind (spec/fexics.md 4.5); `None` for a kind that no report answers.
fn timer(kind: [u8; 4], agreed: &Agreed) -> Option<Duration> {
    match &kind {
        [b'3', b'1'..=b'5', ..] | [b'6', b'1', ..] | [b'4', b'9', ..] => Some(agreed.t31),
        [b'8', b'9', ..] => Some(agreed.t32),
        _ => None,
    }
}

/// FX_SendSystemCancel_CF.
pub(crate) fn system_cancel(number: u32, key: &[u8; 24]) -> Result<(), u32> {
    if !characters::text(key) {
        registry::with(number, |_| ())?;
        return Err(u32::from(rc::INVALID_MSG));
    }
    let result = registry::with(number, |session| session.cancel(key))?;
    ok(Function::SystemCancel.code(result))
}

/// The functions that are one order.
pub(crate) fn control(number: u32, function: Function, order: Order) -> Result<(), u32> {
    let result = registry::with(number, |session| session.control(order, 0))?;
    ok(function.code(result))
}

/// The line's status, for FX_GetCutDate.
pub(crate) fn status(number: u32, function: Function) -> Result<Status, u32> {
    let status = registry::with(number, client::Session::status)?;
    status.map_err(|error| function.code(Err(error)))
}

/// The `FX_Is*` functions: any error reads as false.
pub(crate) fn is(number: u32, what: impl FnOnce(&Status) -> bool) -> bool {
    let status: Result<Result<Status, ClientError>, u32> =
        registry::with(number, client::Session::status);
    matches!(status, Ok(Ok(status)) if what(&status))
}

fn ok(code: u32) -> Result<(), u32> {
    if code == u32::from(rc::OK) {
        Ok(())
    } else {
        Err(code)
    }
}

/// A trace id that no other process is likely to have: when this one first sent, and a count.
fn next_trace() -> u64 {
    static FIRST: LazyLock<u64> = LazyLock::new(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let micros = now.unwrap_or_default().as_micros() as u64;
        micros << 20 ^ u64::from(std::process::id()) << 44
    });
    static COUNT: AtomicU64 = AtomicU64::new(1);
    FIRST.wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed))
}

impl From<Telegram> for Received {
    fn from(telegram: Telegram) -> Received {
        let mut kind = [b' '; 6];
        kind[..4].copy_from_slice(&telegram.mti);
        Received {
            centre_id: telegram.centre_id,
            centre_seq: telegram.centre_seq,
            issuer: telegram.issuer,
            acquirer: telegram.acquirer,
            kind,
            date: telegram.date,
            data: telegram.data,
        }
    }
}

impl From<Delivery> for Received {
    fn from(delivery: Delivery) -> Received {
        Received::from(delivery.telegram)
    }
}

impl From<CentreItem> for Received {
    fn from(item: CentreItem) -> Received {
        match item {
            CentreItem::Request(telegram) => Received::from(telegram),
            CentreItem::Event(event) => Received {
                centre_id: [b'0'; 2],
                centre_seq: [b'0'; 6],
                issuer: [b'0'; 11],
                acquirer: [b'0'; 11],
                kind: *b"FEXICS",
                date: [b'0'; 4],
                data: events::block(&event).to_vec(),
            },
        }
    }
}
