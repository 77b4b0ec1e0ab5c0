//! The common control header: 63 bytes in front of every telegram (`spec/cafis.md` 2.1).
//!
//! [`Header`] reads in place, [`HeaderBuilder`] writes a new one, the `set_*` functions patch one that lies in a
//! buffer. Whether the values make sense together is for the state machines; here only the layout is known.

use std::fmt;

use thiserror::Error;

use super::field::{Field, FieldKind, number, put_number, tiles};
use super::frame::HEADER_LEN;
use super::mti::Mti;

/// The 17 fields in the order in which they lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderField {
    /// Logical channel; 0000 and 0001 are the control routes.
    Route,
    /// Number of the request, given by its originator.
    Sequence,
    /// Which part of the centre handled it.
    CentreId,
    /// 000 between centres.
    Line,
    /// Number given by the centre, spaces before it is assigned.
    CentreSeq,
    /// Originating company.
    AcquirerCompany,
    /// Its sub code.
    AcquirerSub,
    /// Destination company.
    IssuerCompany,
    /// Its sub code.
    IssuerSub,
    /// Message type.
    Mti,
    /// MMDD on which the centre accepted the request.
    MonthDay,
    /// Transmission status.
    Status,
    /// Day of the originator's cut date.
    OriginatorDay,
    /// Proxy report flag.
    ProxyReport,
    /// Proxy error.
    ProxyError,
    /// Proxy redirect.
    ProxyRedirect,
    /// Number of bytes after the header.
    Trailer,
}

use FieldKind::{Digits, DigitsOrSpaces, Text};

/// The layout of the header, indexed by [`HeaderField`].
pub const FIELDS: [Field; 17] = [
    Field::new("route number", 0, 4, Digits),
    Field::new("originator sequence", 4, 6, Digits),
    Field::new("centre id", 10, 2, Text),
    Field::new("line number", 12, 3, Digits),
    Field::new("centre sequence", 15, 6, DigitsOrSpaces),
    Field::new("acquirer company code", 21, 7, Text),
    Field::new("acquirer sub code", 28, 4, Text),
    Field::new("issuer company code", 32, 7, Text),
    Field::new("issuer sub code", 39, 4, Text),
    Field::new("message type", 43, 4, Digits),
    Field::new("centre month-day", 47, 4, Digits),
    Field::new("transmission status", 51, 1, Digits),
    Field::new("originator date", 52, 2, Digits),
    Field::new("proxy report flag", 54, 2, Digits),
    Field::new("proxy error", 56, 3, Digits),
    Field::new("proxy redirect", 59, 1, Digits),
    Field::new("trailer length", 60, 3, Digits),
];

const _: () = assert!(tiles(&FIELDS, HEADER_LEN));
const _: () = assert!(FIELDS[HeaderField::Trailer as usize].offset == 60);

impl HeaderField {
    /// Where the field lies and what it may hold.
    #[inline]
    pub const fn field(self) -> Field {
        FIELDS[self as usize]
    }
}

/// Why bytes are not a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// Fewer than 63 bytes.
    #[error("{have} bytes are too few for a header of 63")]
    TooShort {
        /// How many there were.
        have: usize,
    },
    /// The message type holds something else than digits.
    #[error("message type {bytes:02x?} is not four digits")]
    TypeNotDigits {
        /// The four bytes.
        bytes: [u8; 4],
    },
}

/// A view of a header. Invariant: its message type is four digits; every other field may hold anything.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    bytes: &'a [u8; HEADER_LEN],
    mti: Mti,
}

impl<'a> Header<'a> {
    /// Views the first 63 bytes of `frame`; what follows them is not looked at.
    #[inline]
    pub fn new(frame: &'a [u8]) -> Result<Header<'a>, HeaderError> {
        let Some(bytes) = frame.first_chunk::<HEADER_LEN>() else {
            return Err(HeaderError::TooShort { have: frame.len() });
        };
        let digits = take(bytes, HeaderField::Mti);
        match Mti::from_digits(digits) {
            Some(mti) => Ok(Header { bytes, mti }),
            None => Err(HeaderError::TypeNotDigits { bytes: digits }),
        }
    }

    /// The 63 bytes.
    pub fn bytes(&self) -> &'a [u8; HEADER_LEN] {
        self.bytes
    }

    /// The bytes of one field as they lie.
    #[inline]
    pub fn raw(&self, field: HeaderField) -> &'a [u8] {
        let Field { offset, width, .. } = field.field();
        &self.bytes[offset..offset + width]
    }

    /// Route number; `None` if it is not digits.
    #[inline]
    pub fn route(&self) -> Option<u16> {
        number(&take::<4>(self.bytes, HeaderField::Route)).map(|value| value as u16)
    }

    /// Route number as it lies.
    #[inline]
    pub fn route_digits(&self) -> [u8; 4] {
        take(self.bytes, HeaderField::Route)
    }

    /// Originator sequence, 1 to 999999, 0 in control messages; `None` if it is not digits.
    #[inline]
    pub fn sequence(&self) -> Option<u32> {
        number(&take::<6>(self.bytes, HeaderField::Sequence))
    }

    /// Centre id, `00` while not assigned.
    #[inline]
    pub fn centre_id(&self) -> [u8; 2] {
        take(self.bytes, HeaderField::CentreId)
    }

    /// Line number.
    #[inline]
    pub fn line(&self) -> [u8; 3] {
        take(self.bytes, HeaderField::Line)
    }

    /// Centre sequence, six spaces while not assigned.
    #[inline]
    pub fn centre_seq(&self) -> [u8; 6] {
        take(self.bytes, HeaderField::CentreSeq)
    }

    /// Acquirer company code (7) and sub code (4).
    #[inline]
    pub fn acquirer(&self) -> [u8; 11] {
        take(self.bytes, HeaderField::AcquirerCompany)
    }

    /// Issuer company code (7) and sub code (4).
    #[inline]
    pub fn issuer(&self) -> [u8; 11] {
        take(self.bytes, HeaderField::IssuerCompany)
    }

    /// Message type.
    #[inline]
    pub fn mti(&self) -> Mti {
        self.mti
    }

    /// Centre id, centre sequence and centre month-day together.
    #[inline]
    pub fn assigned(&self) -> Assigned {
        Assigned {
            centre_id: self.centre_id(),
            centre_seq: self.centre_seq(),
            month_day: self.month_day(),
        }
    }

    /// Month and day (MMDD) of the centre, `0000` while not assigned.
    #[inline]
    pub fn month_day(&self) -> [u8; 4] {
        take(self.bytes, HeaderField::MonthDay)
    }

    /// Transmission status, normally `b'0'`.
    #[inline]
    pub fn status(&self) -> u8 {
        take::<1>(self.bytes, HeaderField::Status)[0]
    }

    /// Day of the originator's cut date, `00` in control messages.
    #[inline]
    pub fn originator_day(&self) -> [u8; 2] {
        take(self.bytes, HeaderField::OriginatorDay)
    }

    /// Proxy report flag.
    #[inline]
    pub fn proxy_report(&self) -> [u8; 2] {
        take(self.bytes, HeaderField::ProxyReport)
    }

    /// Proxy error.
    #[inline]
    pub fn proxy_error(&self) -> [u8; 3] {
        take(self.bytes, HeaderField::ProxyError)
    }

    /// Proxy redirect, normally `b'0'`.
    #[inline]
    pub fn proxy_redirect(&self) -> u8 {
        take::<1>(self.bytes, HeaderField::ProxyRedirect)[0]
    }

    /// Bytes after the header; `None` if it is not digits.
    #[inline]
    pub fn trailer(&self) -> Option<u16> {
        number(&take::<3>(self.bytes, HeaderField::Trailer)).map(|value| value as u16)
    }
}

/// Shows what identifies the message; the bytes of a malformed frame could be card data.
impl fmt::Debug for Header<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Header");
        shown
            .field("mti", &self.mti)
            .field("route", &self.route())
            .field("sequence", &self.sequence());
        shown.finish_non_exhaustive()
    }
}

/// Copies `W` bytes from where `field` begins; company and sub code are taken together this way.
#[inline]
fn take<const W: usize>(bytes: &[u8; HEADER_LEN], field: HeaderField) -> [u8; W] {
    let offset = field.field().offset;
    let mut out = [0; W];
    out.copy_from_slice(&bytes[offset..offset + W]);
    out
}

/// The data sections of a frame: what follows the header, nothing if there is no whole header.
#[inline]
pub fn data(frame: &[u8]) -> &[u8] {
    frame.get(HEADER_LEN..).unwrap_or(&[])
}

/// The values of a header to be written; numbers are padded with zeros. The default is an unassigned,
/// empty header: route, sequence and dates zero, no codes, message type 0000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderBuilder {
    /// Route number, at most 9999.
    pub route: u16,
    /// Originator sequence, at most 999999.
    pub sequence: u32,
    /// Centre id.
    pub centre_id: [u8; 2],
    /// Line number.
    pub line: [u8; 3],
    /// Centre sequence.
    pub centre_seq: [u8; 6],
    /// Acquirer company code (7) and sub code (4).
    pub acquirer: [u8; 11],
    /// Issuer company code (7) and sub code (4).
    pub issuer: [u8; 11],
    /// Message type.
    pub mti: Mti,
    /// Centre month-day.
    pub month_day: [u8; 4],
    /// Transmission status.
    pub status: u8,
    /// Day of the originator's cut date.
    pub originator_day: [u8; 2],
    /// Proxy report flag.
    pub proxy_report: [u8; 2],
    /// Proxy error.
    pub proxy_error: [u8; 3],
    /// Proxy redirect.
    pub proxy_redirect: u8,
    /// Bytes after the header, at most 999.
    pub trailer: u16,
}

impl Default for HeaderBuilder {
    fn default() -> Self {
        HeaderBuilder {
            route: 0,
            sequence: 0,
            centre_id: Assigned::NOT_YET.centre_id,
            line: *b"000",
            centre_seq: Assigned::NOT_YET.centre_seq,
            acquirer: NO_COMPANY,
            issuer: NO_COMPANY,
            mti: Mti(0),
            month_day: Assigned::NOT_YET.month_day,
            status: b'0',
            originator_day: *b"00",
            proxy_report: *b"00",
            proxy_error: *b"000",
            proxy_redirect: b'0',
            trailer: 0,
        }
    }
}

/// Company and sub code of nobody: the centre itself.
pub const NO_COMPANY: [u8; 11] = *b"00000000000";

/// What the centre assigns to a message when it accepts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// Centre id.
    pub centre_id: [u8; 2],
    /// Centre sequence.
    pub centre_seq: [u8; 6],
    /// Centre month-day MMDD.
    pub month_day: [u8; 4],
}

impl Assigned {
    /// What a request carries, and an answer that assigned nothing.
    pub const NOT_YET: Assigned = Assigned {
        centre_id: *b"00",
        centre_seq: *b"      ",
        month_day: *b"0000",
    };
}

impl HeaderBuilder {
    /// The values of a header read; `None` if route, sequence or trailer are not digits.
    pub fn from_header(header: &Header<'_>) -> Option<HeaderBuilder> {
        Some(HeaderBuilder {
            route: header.route()?,
            sequence: header.sequence()?,
            centre_id: header.centre_id(),
            line: header.line(),
            centre_seq: header.centre_seq(),
            acquirer: header.acquirer(),
            issuer: header.issuer(),
            mti: header.mti(),
            month_day: header.month_day(),
            status: header.status(),
            originator_day: header.originator_day(),
            proxy_report: header.proxy_report(),
            proxy_error: header.proxy_error(),
            proxy_redirect: header.proxy_redirect(),
            trailer: header.trailer()?,
        })
    }

    /// Writes all 63 bytes.
    ///
    /// # Panics
    /// If route, sequence, message type or trailer have more digits than their field.
    pub fn write(&self, out: &mut [u8; HEADER_LEN]) {
        put_number(slot(out, HeaderField::Route), u32::from(self.route));
        put_number(slot(out, HeaderField::Sequence), self.sequence);
        put(out, HeaderField::CentreId, &self.centre_id);
        put(out, HeaderField::Line, &self.line);
        put(out, HeaderField::CentreSeq, &self.centre_seq);
        put(out, HeaderField::AcquirerCompany, &self.acquirer);
        put(out, HeaderField::IssuerCompany, &self.issuer);
        put_number(slot(out, HeaderField::Mti), u32::from(self.mti.0));
        put(out, HeaderField::MonthDay, &self.month_day);
        put(out, HeaderField::Status, &[self.status]);
        put(out, HeaderField::OriginatorDay, &self.originator_day);
        put(out, HeaderField::ProxyReport, &self.proxy_report);
        put(out, HeaderField::ProxyError, &self.proxy_error);
        put(out, HeaderField::ProxyRedirect, &[self.proxy_redirect]);
        put_number(slot(out, HeaderField::Trailer), u32::from(self.trailer));
    }

    /// The 63 bytes.
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        self.write(&mut out);
        out
    }
}

/// The bytes of one field of a frame to be patched. The caller's frame is one of ours, so a short one is our fault.
fn slot(frame: &mut [u8], field: HeaderField) -> &mut [u8] {
    assert!(
        frame.len() >= HEADER_LEN,
        "a frame of {} bytes has no header to patch",
        frame.len()
    );
    let Field { offset, width, .. } = field.field();
    &mut frame[offset..offset + width]
}

/// Writes `value` from where `field` begins; company and sub code are written together this way.
fn put(frame: &mut [u8], field: HeaderField, value: &[u8]) {
    let offset = field.field().offset;
    frame[offset..offset + value.len()].copy_from_slice(value);
}

/// Replaces the message type in place. Panics, like all `set_*`, if `frame` has fewer than 63 bytes.
pub fn set_mti(frame: &mut [u8], mti: Mti) {
    put_number(slot(frame, HeaderField::Mti), u32::from(mti.0));
}

/// Replaces the route number in place.
pub fn set_route(frame: &mut [u8], route: u16) {
    put_number(slot(frame, HeaderField::Route), u32::from(route));
}

/// Replaces the originator sequence in place.
pub fn set_sequence(frame: &mut [u8], sequence: u32) {
    put_number(slot(frame, HeaderField::Sequence), sequence);
}

/// Replaces the originator's day in place.
pub fn set_originator_day(frame: &mut [u8], day: [u8; 2]) {
    slot(frame, HeaderField::OriginatorDay).copy_from_slice(&day);
}

/// Replaces the transmission status in place.
pub fn set_status(frame: &mut [u8], status: u8) {
    slot(frame, HeaderField::Status)[0] = status;
}

/// Replaces what the centre assigns, in place: centre id, centre sequence and centre month-day.
pub fn set_assigned(frame: &mut [u8], assigned: Assigned) {
    slot(frame, HeaderField::CentreId).copy_from_slice(&assigned.centre_id);
    slot(frame, HeaderField::CentreSeq).copy_from_slice(&assigned.centre_seq);
    slot(frame, HeaderField::MonthDay).copy_from_slice(&assigned.month_day);
}

/// Replaces the trailer length in place.
pub fn set_trailer(frame: &mut [u8], trailer: u16) {
    put_number(slot(frame, HeaderField::Trailer), u32::from(trailer));
}

/// Fills in what the gateway engine owns of a client's request, in place (`spec/cafis.md` 2.4): route, sequence,
/// day, and the fixed values of line, month-day, status, proxy fields and trailer length.
pub fn set_engine_fields(frame: &mut [u8], route: u16, sequence: u32, day: [u8; 2]) {
    set_route(frame, route);
    set_sequence(frame, sequence);
    set_originator_day(frame, day);
    slot(frame, HeaderField::Line).copy_from_slice(b"000");
    slot(frame, HeaderField::MonthDay).copy_from_slice(b"0000");
    slot(frame, HeaderField::Status).copy_from_slice(b"0");
    slot(frame, HeaderField::ProxyReport).copy_from_slice(b"00");
    slot(frame, HeaderField::ProxyError).copy_from_slice(b"000");
    slot(frame, HeaderField::ProxyRedirect).copy_from_slice(b"0");
    let trailer = (frame.len() - HEADER_LEN) as u32;
    put_number(slot(frame, HeaderField::Trailer), trailer);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that are no header are named with what is wrong.
    #[test]
    fn what_is_no_header_is_named() {
        assert_eq!(
            Header::new(&[b'0'; 62]),
            Err(HeaderError::TooShort { have: 62 })
        );
        let mut bytes = HeaderBuilder::default().to_bytes();
        bytes[46] = b' ';
        assert_eq!(
            Header::new(&bytes),
            Err(HeaderError::TypeNotDigits { bytes: *b"000 " })
        );
    }

    /// Each patch changes its own field and no byte besides.
    #[test]
    fn patches_change_their_field_alone() {
        let start = HeaderBuilder {
            acquirer: *b"TEST0010000",
            ..HeaderBuilder::default()
        };
        let assigned = Assigned {
            centre_id: *b"11",
            centre_seq: *b"004711",
            month_day: *b"1130",
        };
        let mut frame = start.to_bytes();
        set_mti(&mut frame, Mti(3110));
        set_route(&mut frame, 378);
        set_sequence(&mut frame, 999_999);
        set_originator_day(&mut frame, *b"30");
        set_status(&mut frame, b'1');
        set_assigned(&mut frame, assigned);
        set_trailer(&mut frame, 145);
        let wanted = HeaderBuilder {
            mti: Mti(3110),
            route: 378,
            sequence: 999_999,
            originator_day: *b"30",
            status: b'1',
            centre_id: assigned.centre_id,
            centre_seq: assigned.centre_seq,
            month_day: assigned.month_day,
            trailer: 145,
            ..start
        };
        assert_eq!(
            Header::new(&frame)
                .ok()
                .and_then(|header| HeaderBuilder::from_header(&header)),
            Some(wanted)
        );
    }

    /// The engine overwrites every field that is its own, whatever the client put there, and none of the client's.
    #[test]
    fn the_engine_fills_its_own_fields() {
        let client = HeaderBuilder {
            route: 9,
            sequence: 9,
            line: *b"999",
            month_day: *b"9999",
            status: b'9',
            originator_day: *b"99",
            proxy_report: *b"99",
            proxy_error: *b"999",
            proxy_redirect: b'9',
            trailer: 999,
            acquirer: *b"TEST0010000",
            issuer: *b"TEST9000000",
            mti: Mti(3110),
            ..HeaderBuilder::default()
        };
        let mut frame = [&client.to_bytes()[..], &[b' '; 145]].concat();
        set_engine_fields(&mut frame, 2, 123, *b"30");
        let wanted = HeaderBuilder {
            route: 2,
            sequence: 123,
            originator_day: *b"30",
            trailer: 145,
            acquirer: client.acquirer,
            issuer: client.issuer,
            mti: client.mti,
            ..HeaderBuilder::default()
        };
        assert_eq!(frame[..HEADER_LEN], wanted.to_bytes());
    }

    /// A frame too short to have a header is a fault of ours, and patching it says so.
    #[test]
    #[should_panic(expected = "a frame of 62 bytes has no header to patch")]
    fn a_short_frame_is_not_patched() {
        set_mti(&mut [b'0'; 62], Mti(3110));
    }
}
