//! Reports made from the request they answer: the centre simulator's, and the gateway's automatic refusals.
//!
//! The rule of the interface is that a report echoes everything but what it has to say (`spec/cafis.md` 2.3, 4.1),
//! so a report is a copy with fields replaced.

use super::fault::append;
use super::frame::HEADER_LEN;
use super::header::{Assigned, Header, set_assigned, set_mti, set_trailer};
use super::mti::{Kind, Mti, lookup};
use super::section::{SECTION_10_LEN, Section10, set_approval, set_error_code};

/// Three spaces: no error.
pub const NO_ERROR: [u8; 3] = *b"   ";

/// Appends a report of type `mti` to a request or command. `error` goes into section 1-0, as does `approval` if there
/// is one; a refusal carries spaces for it. Frames without 1-0 (control messages) get their header fields alone.
///
/// # Panics
/// If `request` has no header.
pub fn report_from(
    request: &[u8],
    mti: Mti,
    assigned: Assigned,
    error: [u8; 3],
    approval: Option<[u8; 7]>,
    out: &mut Vec<u8>,
) {
    let frame = append(request, out);
    set_mti(frame, mti);
    set_assigned(frame, assigned);
    set_error_code(frame, error);
    let refusal = lookup(mti).is_some_and(|message| message.kind == Kind::Refusal);
    if let Some(approval) = approval.or(refusal.then_some(*b"       ")) {
        set_approval(frame, approval);
    }
}

/// Appends the automatic refusal (xx50) of an incoming request: the same bytes with type and error code replaced
/// (`spec/cafis.md` 9.4). `false`, and nothing appended, if the request's type has no refusal.
pub fn refuse(request: &[u8], error: [u8; 3], out: &mut Vec<u8>) -> bool {
    let refusal = Header::new(request)
        .ok()
        .and_then(|header| lookup(header.mti()))
        .and_then(|message| message.answer(Kind::Refusal));
    let Some(mti) = refusal else {
        return false;
    };
    let frame = append(request, out);
    set_mti(frame, mti);
    set_error_code(frame, error);
    true
}

/// Appends the 4920 to a counter enquiry: its header, and `counters` (section E) instead of section 1-0.
///
/// # Panics
/// If `request` has no header, or `counters` is longer than 999 bytes.
pub fn counter_report(request: &[u8], assigned: Assigned, counters: &[u8], out: &mut Vec<u8>) {
    assert!(
        request.len() >= HEADER_LEN,
        "a request of {} bytes has no header to answer",
        request.len()
    );
    assert!(
        counters.len() <= 999,
        "a section E of {} bytes does not fit a frame",
        counters.len()
    );
    let start = out.len();
    out.extend_from_slice(&request[..HEADER_LEN]);
    out.extend_from_slice(counters);
    let frame = &mut out[start..];
    set_mti(frame, Mti::COUNTER_ENQUIRY_REPORT);
    set_assigned(frame, assigned);
    set_trailer(frame, counters.len() as u16);
}

/// Appends the 8970 C03 to an over-long frame, which echoes header and section 1-0 alone (O-27). `false`, and
/// nothing appended, if the frame has none that could hold the code.
pub fn refuse_over_long(frame: &[u8], out: &mut Vec<u8>) -> bool {
    if Header::new(frame).is_err() || Section10::of(frame).is_err() {
        return false;
    }
    let report = append(&frame[..HEADER_LEN + SECTION_10_LEN], out);
    set_mti(report, Mti::ABNORMAL);
    set_assigned(report, Assigned::NOT_YET);
    set_error_code(report, *b"C03");
    set_trailer(report, SECTION_10_LEN as u16);
    true
}
