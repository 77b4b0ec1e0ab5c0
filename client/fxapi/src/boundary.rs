//! The C side: the `FX_*` symbols. Pointers are checked for NULL and copied at once; panics become RC 15.

#![allow(unsafe_code)] // C hands over pointers, and its symbols have fixed names: the one place that needs it.
#![allow(non_snake_case)] // The names are those of the replaced product's interface.

use std::ffi::{c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};

use client::{Order, Send};
use codec::link::rc;

use crate::calls::{self, Awaited, DATA_MAX, Received};
use crate::codes::Function;
use crate::registry;

const OK: u32 = rc::OK as u32;
const INVALID_PARAM: u32 = rc::INVALID_PARAM as u32;

/// Runs a call and gives its return code; a panic of ours must not unwind into C.
fn guarded(call: impl FnOnce() -> Result<(), u32>) -> u32 {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(())) => OK,
        Ok(Err(code)) => code,
        Err(_) => u32::from(rc::ERROR_API_INTERNAL),
    }
}

/// As [`guarded`], for the BOOL functions: any error reads as FALSE.
fn guarded_is(number: u32, what: impl FnOnce(&client::Status) -> bool) -> c_int {
    c_int::from(catch_unwind(AssertUnwindSafe(|| calls::is(number, what))).unwrap_or(false))
}

/// Copies a fixed-width field.
///
/// # Safety
/// `field` is NULL or points at `N` readable bytes.
unsafe fn read<const N: usize>(field: *const c_char) -> Result<[u8; N], u32> {
    if field.is_null() {
        return Err(INVALID_PARAM);
    }
    // SAFETY: not NULL, and readable for N bytes as the caller promises; bytes need no alignment.
    Ok(unsafe { *field.cast::<[u8; N]>() })
}

/// Writes a field of the caller.
///
/// # Safety
/// `field` points at `bytes.len()` writable bytes that nobody else uses during the call.
unsafe fn write(field: *mut c_char, bytes: &[u8]) {
    // SAFETY: as the caller promises; `bytes` is ours, so the two do not overlap.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), field.cast::<u8>(), bytes.len()) }
}

/// Opens an API session (spec/fexics.md 4.5).
///
/// # Safety
/// `pulSessionId` is NULL or points at a writable ULONG.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn FX_OpenSession_CF(pulSessionId: *mut u32) -> u32 {
    guarded(|| {
        if pulSessionId.is_null() {
            return Err(INVALID_PARAM);
        }
        let number = registry::open()?;
        // SAFETY: not NULL, and the caller's to write as it promises; alignment is not taken for granted.
        unsafe { pulSessionId.write_unaligned(number) };
        Ok(())
    })
}

/// Closes an API session (spec/fexics.md 4.4).
#[unsafe(no_mangle)]
pub extern "C" fn FX_CloseSession(ulSessionId: u32) -> u32 {
    guarded(|| registry::close(ulSessionId))
}

/// Signs on with the centre; returns at its answer or after t34.
#[unsafe(no_mangle)]
pub extern "C" fn FX_Connect(ulSessionId: u32) -> u32 {
    guarded(|| calls::control(ulSessionId, Function::Connect, Order::Connect))
}

/// Signs off from the centre; returns at its answer or after t35.
#[unsafe(no_mangle)]
pub extern "C" fn FX_Disconnect(ulSessionId: u32) -> u32 {
    guarded(|| calls::control(ulSessionId, Function::Connect, Order::Disconnect))
}

/// Sets the daemon's state to signed on; no telegram is sent.
#[unsafe(no_mangle)]
pub extern "C" fn FX_CtrlSignOn(ulSessionId: u32) -> u32 {
    guarded(|| calls::control(ulSessionId, Function::CtrlSign, Order::SignOn))
}

/// Sets the daemon's state to signed off; no telegram is sent.
#[unsafe(no_mangle)]
pub extern "C" fn FX_CtrlSignOff(ulSessionId: u32) -> u32 {
    guarded(|| calls::control(ulSessionId, Function::CtrlSign, Order::SignOff))
}

/// Stops the daemon: FALSE normally, TRUE by force.
#[unsafe(no_mangle)]
pub extern "C" fn FX_CtrlShutdown(ulSessionId: u32, fFource: c_int) -> u32 {
    guarded(|| {
        let order = match fFource {
            0 => Order::Shutdown,
            1 => Order::ShutdownForce,
            _ => return Err(INVALID_PARAM),
        };
        calls::control(ulSessionId, Function::CtrlShutdown, order)
    })
}

/// Settles at the centre what a stop left open; returns when all is done.
#[unsafe(no_mangle)]
pub extern "C" fn FX_CtrlRecovery(ulSessionId: u32) -> u32 {
    guarded(|| calls::control(ulSessionId, Function::CtrlRecovery, Order::Recovery))
}

/// Gives the line's cut date.
///
/// # Safety
/// `pTm` is NULL or points at a writable `struct tm`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn FX_GetCutDate(ulSessionId: u32, pTm: *mut libc::tm) -> u32 {
    guarded(|| {
        if pTm.is_null() {
            return Err(INVALID_PARAM);
        }
        let status = calls::status(ulSessionId, Function::CutDate)?;
        let day = CalendarDay::of(status.cut_date);
        // SAFETY: all zero is a valid `struct tm`: numbers, and a pointer for which NULL is allowed.
        let mut tm: libc::tm = unsafe { std::mem::zeroed() };
        tm.tm_year = day.year - 1900;
        tm.tm_mon = day.month - 1;
        tm.tm_mday = day.day;
        tm.tm_wday = day.weekday();
        tm.tm_yday = day.of_year();
        tm.tm_isdst = -1;
        // SAFETY: not NULL, and the caller's to write as it promises; alignment is not taken for granted.
        unsafe { pTm.write_unaligned(tm) };
        Ok(())
    })
}

/// TRUE if the daemon answers.
#[unsafe(no_mangle)]
pub extern "C" fn FX_IsRunning(ulSessionId: u32) -> c_int {
    guarded_is(ulSessionId, |_| true)
}

/// TRUE if the line is signed on.
#[unsafe(no_mangle)]
pub extern "C" fn FX_IsSignOn(ulSessionId: u32) -> c_int {
    guarded_is(ulSessionId, client::Status::signed_on)
}

/// TRUE while the line's state changes, or recovery runs.
#[unsafe(no_mangle)]
pub extern "C" fn FX_IsSwitch(ulSessionId: u32) -> c_int {
    guarded_is(ulSessionId, client::Status::switching)
}

/// TRUE while recovery runs.
#[unsafe(no_mangle)]
pub extern "C" fn FX_IsRecoveryMode(ulSessionId: u32) -> c_int {
    guarded_is(ulSessionId, |status| status.recovering)
}

/// Sends a telegram; returns when the daemon has taken it (spec/fexics.md 4.5).
///
/// # Safety
/// Each pointer is NULL or points at as many readable bytes as the parameter is wide; `pcTgram` at `piTgramLen`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn FX_SendMsg_CF(
    ulSessionId: u32,
    pcCenterId: *const c_char,
    pcSeq: *const c_char,
    pcIssuerCd: *const c_char,
    pcAcquirerCd: *const c_char,
    pcTgramKind: *const c_char,
    piTgramLen: c_int,
    pcTgram: *const c_char,
) -> u32 {
    guarded(|| {
        let len = usize::try_from(piTgramLen).map_err(|_| INVALID_PARAM)?;
        if pcTgram.is_null() || len > DATA_MAX {
            return Err(INVALID_PARAM);
        }
        // SAFETY: the widths are those of the interface, as the caller promises.
        let send = unsafe {
            Send {
                centre_id: read(pcCenterId)?,
                centre_seq: read(pcSeq)?,
                issuer: read(pcIssuerCd)?,
                acquirer: read(pcAcquirerCd)?,
                mti: read(pcTgramKind)?,
                data: std::slice::from_raw_parts(pcTgram.cast::<u8>(), len),
            }
        };
        calls::send(ulSessionId, &send)
    })
}

/// Receives a report, an event or a centre request (spec/fexics.md 4.5).
///
/// # Safety
/// Each pointer is NULL or points at as many writable bytes as the parameter is wide: `pcTgramKind` 4, or 6 where it
/// says `CENTER`; `pcTgram` 1024.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn FX_ReceiveMsg_CF(
    ulSessionId: u32,
    ulReceiveMode: u32,
    pcCenterId: *mut c_char,
    pcSeq: *mut c_char,
    pcIssuerCd: *mut c_char,
    pcAcquirerCd: *mut c_char,
    pcTgramKind: *mut c_char,
    pcDate: *mut c_char,
    piTgramLen: *mut c_int,
    pcTgram: *mut c_char,
) -> u32 {
    guarded(|| {
        let texts = [
            pcCenterId,
            pcSeq,
            pcIssuerCd,
            pcAcquirerCd,
            pcTgramKind,
            pcDate,
            pcTgram,
        ];
        if texts.iter().any(|field| field.is_null()) || piTgramLen.is_null() || ulReceiveMode > 1 {
            return Err(INVALID_PARAM);
        }
        // SAFETY: not NULL, and as wide as `awaited` asks for, as the caller promises.
        let awaited = unsafe { awaited(pcTgramKind)? };
        let received: Received = calls::receive(ulSessionId, awaited, ulReceiveMode == 1)?;
        let kind_len = if awaited == Awaited::Centre { 6 } else { 4 };
        // A daemon that sends more than a telegram can hold must not write behind the caller's memory.
        if received.data.len() > DATA_MAX {
            return Err(u32::from(rc::ERROR_CENTER));
        }
        // SAFETY: none is NULL, and each is as wide as the interface says, as the caller promises.
        unsafe {
            write(pcCenterId, &received.centre_id);
            write(pcSeq, &received.centre_seq);
            write(pcIssuerCd, &received.issuer);
            write(pcAcquirerCd, &received.acquirer);
            write(pcTgramKind, &received.kind[..kind_len]);
            write(pcDate, &received.date);
            write(pcTgram, &received.data);
            piTgramLen.write_unaligned(received.data.len() as c_int);
        }
        Ok(())
    })
}

/// Reads the kind that a receive waits for. Two more bytes are read only where the first four begin `CENTER`.
///
/// # Safety
/// `kind` points at 4 readable bytes, and at 6 where the first four are `CENT`.
unsafe fn awaited(kind: *const c_char) -> Result<Awaited, u32> {
    // SAFETY: four bytes are there, as the caller promises.
    let four: [u8; 4] = unsafe { read(kind)? };
    if four.iter().all(u8::is_ascii_digit) {
        return Ok(Awaited::Report(four));
    }
    // SAFETY: no kind of four bytes begins like this, so that the field is the six-byte one.
    if &four == b"CENT" && unsafe { read::<6>(kind)? } == *b"CENTER" {
        return Ok(Awaited::Centre);
    }
    Err(INVALID_PARAM)
}

/// Cancels a transaction by its key; returns when that is settled (spec/fexics.md 4.5).
///
/// # Safety
/// Each pointer is NULL or points at as many readable bytes as the parameter is wide: 6, 13 and 5.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn FX_SendSystemCancel_CF(
    ulSessionId: u32,
    pcDate: *const c_char,
    pcTerminalNo: *const c_char,
    pcTerminalSeq: *const c_char,
) -> u32 {
    guarded(|| {
        let mut key = [0; 24];
        // SAFETY: the widths are those of the interface, as the caller promises.
        unsafe {
            key[..6].copy_from_slice(&read::<6>(pcDate)?);
            key[6..19].copy_from_slice(&read::<13>(pcTerminalNo)?);
            key[19..].copy_from_slice(&read::<5>(pcTerminalSeq)?);
        }
        calls::system_cancel(ulSessionId, &key)
    })
}

/// Changes the cut date by the rule of spec/fexics.md 2.6; no telegram is sent.
#[unsafe(no_mangle)]
pub extern "C" fn FX_SendCutOverMsg(ulSessionId: u32) -> u32 {
    guarded(|| calls::control(ulSessionId, Function::CutOver, Order::CutRequest))
}

/// Keeps the program's signals off the calling thread, which is the library's own: a handler of the program must run
/// where the program expects it.
pub(crate) fn block_signals() {
    let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigfillset` initialises the set it is given; the old mask is not asked for, which NULL says.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), std::ptr::null_mut());
    }
}

/// A day of the Gregorian calendar.
struct CalendarDay {
    year: c_int,
    month: c_int,
    day: c_int,
}

impl CalendarDay {
    /// The day of a number YYYYMMDD.
    fn of(number: u32) -> CalendarDay {
        let part = |divisor: u32, modulus: u32| (number / divisor % modulus) as c_int;
        CalendarDay {
            year: part(10_000, 10_000),
            month: part(100, 100),
            day: part(1, 100),
        }
    }

    /// Days since 1 January, from 0.
    fn of_year(&self) -> c_int {
        const BEFORE: [c_int; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
        let leap = self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0);
        let month = (self.month - 1).clamp(0, 11) as usize;
        BEFORE[month] + self.day - 1 + c_int::from(leap && self.month > 2)
    }

    /// Days since Sunday, from 0: counted from 1 January of the year 1, a Monday.
    fn weekday(&self) -> c_int {
        let years = self.year - 1;
        (years * 365 + years / 4 - years / 100 + years / 400 + self.of_year() + 1).rem_euclid(7)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A panic of ours is RC 15 in C, and FALSE where the function has no code.
    #[test]
    fn panics_stay_inside() {
        assert_eq!(guarded(|| panic!("a test's own panic")), 15);
        assert_eq!(guarded(|| Err(7)), 7);
    }

    /// Weekday and day of the year of known days.
    #[test]
    fn days_are_counted_right() {
        let cases = [
            (20_261_130, 1, 333),
            (20_240_229, 4, 59),
            (20_241_231, 2, 365),
            (20_000_101, 6, 0),
        ];
        for (number, weekday, of_year) in cases {
            let day = CalendarDay::of(number);
            assert_eq!(
                (day.weekday(), day.of_year()),
                (weekday, of_year),
                "{number}"
            );
        }
    }
}
