//! Fault messages: the image of a request that is kept, the commands made from it, and what answers them
//! (`spec/cafis.md` 8.3, 9.1).
//!
//! The image is the request as a fault command may carry it: PIN, security code and discretionary data are zero.
//! It is the only form in which a request is stored, so that recovery can cancel what it never has to be trusted
//! with. Commands are copies of the image with a few fields replaced; nothing is built anew.

use memchr::memchr;
use thiserror::Error;

use super::frame::HEADER_LEN;
use super::header::{
    Assigned, Header, HeaderError, HeaderField, data, set_assigned, set_mti, set_route, set_status,
};
use super::mti::{Mti, is_answered_by};
use super::section::{SECTION_10_LEN, Section10, SectionKind, Span, Walk, set_master_mti};

/// Why no image can be made of a request. The bytes given may be changed in part and must not be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ImageError {
    /// The frame has no header.
    #[error("no header: {0}")]
    Header(#[from] HeaderError),
    /// From here on the data part is no section, so that card data in it could not be found.
    #[error("the data part cannot be divided into sections from byte {at}")]
    Unparsed {
        /// Offset into the data part.
        at: usize,
    },
}

/// Turns a request into its fault image in place; the length stays.
pub fn make_image(frame: &mut [u8]) -> Result<(), ImageError> {
    let mti = Header::new(frame)?.mti();
    let data = &mut frame[HEADER_LEN..];
    let mut walk = Walk::new(mti);
    while let Some(Span { kind, start, end }) = walk.next(data) {
        let section = &mut data[start..end];
        match kind {
            SectionKind::S1_1 => {
                let class = section[1];
                zero_discretionary(class, CHIP_OR_MAGNETIC, &mut section[2..71]);
                section[71..75].fill(b'0');
            }
            SectionKind::S2_10 => {
                let class = section[0];
                zero_discretionary(class, MAGNETIC, &mut section[1..70]);
                section[70..74].fill(b'0');
            }
            SectionKind::S9_7_3 => {
                let class = section[249];
                zero_discretionary(class, CHIP_OR_MAGNETIC, &mut section[250..319]);
            }
            SectionKind::S9_6_1 => section[6..10].fill(b'0'),
            SectionKind::Unparsed => return Err(ImageError::Unparsed { at: start }),
            _ => {}
        }
    }
    Ok(())
}

const CHIP_OR_MAGNETIC: &[u8] = b"15";
const MAGNETIC: &[u8] = b"1";
/// Characters of track-2 style content at most.
const TRACK_LEN: usize = 37;
/// Where the discretionary data begins, counted from the separator: behind expiry (4) and service code (3).
const DISCRETIONARY_AT: usize = 8;
/// Digits of a card number at most.
const NUMBER_LEN_MAX: usize = 19;

/// Sets zeros behind the service code of track-2 style content, if `class` is one of `classes`.
fn zero_discretionary(class: u8, classes: &[u8], content: &mut [u8]) {
    if !classes.contains(&class) {
        return;
    }
    match memchr(b'=', &content[..TRACK_LEN]) {
        Some(separator) => {
            let start = (separator + DISCRETIONARY_AT).min(TRACK_LEN);
            content[start..TRACK_LEN].fill(b'0');
        }
        // Malformed: nothing tells where the number ends, so nothing stays that cannot belong to it.
        None => content[NUMBER_LEN_MAX..]
            .iter_mut()
            .filter(|byte| **byte != b' ')
            .for_each(|byte| *byte = b'0'),
    }
}

/// What an 8910 or 8920 takes from the report that could not be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportFields {
    /// Message type of the report, 3x20 or 3x50.
    pub mti: Mti,
    /// Centre id.
    pub centre_id: [u8; 2],
    /// Centre sequence.
    pub centre_seq: [u8; 6],
    /// Centre month-day.
    pub month_day: [u8; 4],
    /// Transmission status.
    pub status: u8,
}

impl ReportFields {
    /// The fields of a report received.
    pub fn of(report: &Header<'_>) -> ReportFields {
        ReportFields {
            mti: report.mti(),
            centre_id: report.centre_id(),
            centre_seq: report.centre_seq(),
            month_day: report.month_day(),
            status: report.status(),
        }
    }
}

/// Appends the 8930 of a request, or its 8940 if `again`: same route, sequence and date, centre fields as in the
/// request, master MTI that of the request.
///
/// # Panics
/// If `image` has no header; [`make_image`] vouches for it.
pub fn write_cancel_confirm(image: &[u8], again: bool, out: &mut Vec<u8>) {
    let request = image_header(image);
    let frame = append(image, out);
    set_mti(
        frame,
        if again {
            Mti::CANCEL_CONFIRM_AGAIN
        } else {
            Mti::CANCEL_CONFIRM
        },
    );
    set_master_mti(frame, request.mti());
}

/// Appends the 8910 of a request, or its 8920 if `again`, on `route`: centre fields and master MTI are those of the
/// report, error code and approval number stay as in the request.
///
/// # Panics
/// If `image` has no header; [`make_image`] vouches for it.
pub fn write_cancel(
    image: &[u8],
    report: &ReportFields,
    route: u16,
    again: bool,
    out: &mut Vec<u8>,
) {
    image_header(image);
    let frame = append(image, out);
    set_mti(
        frame,
        if again {
            Mti::CANCEL_AGAIN
        } else {
            Mti::CANCEL
        },
    );
    set_route(frame, route);
    set_status(frame, report.status);
    let ReportFields {
        centre_id,
        centre_seq,
        month_day,
        ..
    } = *report;
    set_assigned(
        frame,
        Assigned {
            centre_id,
            centre_seq,
            month_day,
        },
    );
    set_master_mti(frame, report.mti);
}

fn image_header(image: &[u8]) -> Header<'_> {
    match Header::new(image) {
        Ok(header) => header,
        Err(error) => panic!(
            "a stored fault image of {} bytes has no header: {error}",
            image.len()
        ),
    }
}

/// Copies `frame` behind what `out` holds and returns the copy.
pub(super) fn append<'a>(frame: &[u8], out: &'a mut Vec<u8>) -> &'a mut [u8] {
    let start = out.len();
    out.extend_from_slice(frame);
    &mut out[start..]
}

/// The first thing in which a report differs from what it would have to answer. They are compared in the order of the
/// variants, so that [`Mismatch::Type`] means that everything else fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Mismatch {
    /// What was sent has no header.
    #[error("what was sent has no header: {0}")]
    Sent(HeaderError),
    /// The report has no header.
    #[error("the report has no header: {0}")]
    Report(HeaderError),
    /// Another route.
    #[error("another route")]
    Route,
    /// Another originator sequence.
    #[error("another originator sequence")]
    Sequence,
    /// Another line number.
    #[error("another line number")]
    Line,
    /// Another acquirer company or sub code.
    #[error("another acquirer code")]
    Acquirer,
    /// Another issuer company or sub code.
    #[error("another issuer code")]
    Issuer,
    /// Another originator date.
    #[error("another originator date")]
    OriginatorDay,
    /// Another proxy report flag.
    #[error("another proxy report flag")]
    ProxyReport,
    /// Another proxy error.
    #[error("another proxy error")]
    ProxyError,
    /// The report should carry section 1-0 and does not.
    #[error("section 1-0 is missing")]
    NoCommonSection,
    /// Another transaction key.
    #[error("another transaction key")]
    TransactionKey,
    /// All fits, but this type does not answer what was sent: a late report, if a fault command is open.
    #[error("{got} does not answer {sent}")]
    Type {
        /// The type of what was sent.
        sent: Mti,
        /// The type of the report.
        got: Mti,
    },
}

/// Whether `report` answers `sent`, a request, its image, or a fault command (`spec/cafis.md` 9.1). What the centre
/// assigns, the trailer and the other data are not compared.
pub fn matches(sent: &[u8], report: &[u8]) -> Result<(), Mismatch> {
    let header = Header::new(sent).map_err(Mismatch::Sent)?;
    compare(&header, sent, header.mti(), header.route_digits(), report)
}

/// As [`matches()`], where only the request or its image is at hand and `mti` was sent on `route` for it.
pub fn matches_sent(image: &[u8], mti: Mti, route: u16, report: &[u8]) -> Result<(), Mismatch> {
    let header = Header::new(image).map_err(Mismatch::Sent)?;
    let mut digits = [0; 4];
    super::field::put_number(&mut digits, u32::from(route));
    compare(&header, image, mti, digits, report)
}

/// The protected fields and what it is called when they differ, in the order of comparison; the route comes before.
const PROTECTED: [(HeaderField, Mismatch); 9] = [
    (HeaderField::Sequence, Mismatch::Sequence),
    (HeaderField::Line, Mismatch::Line),
    (HeaderField::AcquirerCompany, Mismatch::Acquirer),
    (HeaderField::AcquirerSub, Mismatch::Acquirer),
    (HeaderField::IssuerCompany, Mismatch::Issuer),
    (HeaderField::IssuerSub, Mismatch::Issuer),
    (HeaderField::OriginatorDay, Mismatch::OriginatorDay),
    (HeaderField::ProxyReport, Mismatch::ProxyReport),
    (HeaderField::ProxyError, Mismatch::ProxyError),
];

/// Whether all of [`PROTECTED`] are equal, in as few comparisons as they allow: neighbours go together. The fields are
/// looked at one by one only to name the difference.
#[inline]
fn protected_equal(sent: &Header<'_>, got: &Header<'_>) -> bool {
    let (sent, got) = (sent.bytes(), got.bytes());
    sent[4..10] == got[4..10]
        && sent[12..15] == got[12..15]
        && sent[21..43] == got[21..43]
        && sent[52..59] == got[52..59]
}

/// The runs of [`protected_equal`] are the protected fields and nothing else.
const _: () = {
    const fn spans(first: HeaderField, last: HeaderField, start: usize, end: usize) -> bool {
        let (first, last) = (first.field(), last.field());
        first.offset == start && last.offset + last.width == end
    }
    assert!(spans(HeaderField::Sequence, HeaderField::Sequence, 4, 10));
    assert!(spans(HeaderField::Line, HeaderField::Line, 12, 15));
    assert!(spans(
        HeaderField::AcquirerCompany,
        HeaderField::IssuerSub,
        21,
        43
    ));
    assert!(spans(
        HeaderField::OriginatorDay,
        HeaderField::ProxyError,
        52,
        59
    ));
};

fn compare(
    sent: &Header<'_>,
    sent_frame: &[u8],
    mti: Mti,
    route: [u8; 4],
    report: &[u8],
) -> Result<(), Mismatch> {
    let got = Header::new(report).map_err(Mismatch::Report)?;
    if got.route_digits() != route {
        return Err(Mismatch::Route);
    }
    if !protected_equal(sent, &got) {
        for (field, mismatch) in PROTECTED {
            if sent.raw(field) != got.raw(field) {
                return Err(mismatch);
            }
        }
    }
    if let Ok(common) = Section10::of(sent_frame)
        && !is_counters_alone(sent_frame, got.mti())
    {
        let answer = Section10::of(report).map_err(|_| Mismatch::NoCommonSection)?;
        if !answer.has_key_of(&common) {
            return Err(Mismatch::TransactionKey);
        }
    }
    if is_answered_by(mti, got.mti()) {
        Ok(())
    } else {
        Err(Mismatch::Type {
            sent: mti,
            got: got.mti(),
        })
    }
}

/// Whether a report of type `mti` carries section E and nothing else: 4920, and the 3420 to an enquiry of counters.
fn is_counters_alone(request: &[u8], mti: Mti) -> bool {
    match mti {
        Mti::COUNTER_ENQUIRY_REPORT => true,
        Mti::ENQUIRY_APPROVAL => {
            matches!(
                data(request).get(SECTION_10_LEN..),
                Some([b'3', b'0', b'1' | b'2', b'@', ..])
            )
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cafis::header::HeaderBuilder;

    fn frame(mti: Mti, parts: &[&[u8]]) -> Vec<u8> {
        let data = parts.concat();
        let header = HeaderBuilder {
            mti,
            trailer: data.len() as u16,
            ..HeaderBuilder::default()
        };
        [&header.to_bytes()[..], &data].concat()
    }

    const COMMON: &[u8] = b"   000000002       123459900000100123991130200@";

    /// Rule 3 of 8.3 in every section that it names, and in no other class than it names: `before` becomes `after`.
    #[test]
    fn the_image_zeroes_what_the_rule_names() {
        let track = format!("{:<69}", "4111111111111111=99121012080123456789");
        let zeroed = format!("{:<69}", "4111111111111111=99121010000000000000");
        let longest = format!("{:<69}", "4111111111111111110=99121012080123456");
        let longest_zeroed = format!("{:<69}", "4111111111111111110=99121010000000000");
        let short = format!("{:<69}", "378282246310005=991210120801");
        let short_zeroed = format!("{:<69}", "378282246310005=991210100000000000000");
        let without = format!("{:<69}", "41111111111111119912101208");
        let without_zeroed = format!("{:<69}", "41111111111111119910000000");
        let card = |class: u8, content: &str, pin: &str| {
            format!(
                "2{}{content}{pin}0000000000050000000500@",
                char::from(class)
            )
            .into_bytes()
        };
        for (class, before, after) in [
            (b'1', &track, &zeroed),
            (b'5', &track, &zeroed),
            (b'1', &longest, &longest_zeroed),
            (b'1', &short, &short_zeroed),
            (b'1', &without, &without_zeroed),
            (b'2', &track, &track),
            (b'3', &track, &track),
            (b'4', &track, &track),
            (b'6', &track, &track),
        ] {
            let mut image = frame(Mti::AUTH_REQUEST, &[COMMON, &card(class, before, "1234")]);
            assert_eq!(make_image(&mut image), Ok(()));
            let wanted = frame(Mti::AUTH_REQUEST, &[COMMON, &card(class, after, "0000")]);
            assert_eq!(
                image.escape_ascii().to_string(),
                wanted.escape_ascii().to_string()
            );
        }
        for (class, after) in [('1', &zeroed), ('5', &track)] {
            let mut image = frame(
                Mti::ENQUIRY_REQUEST,
                &[COMMON, format!("350@{class}{track}1234@").as_bytes()],
            );
            assert_eq!(make_image(&mut image), Ok(()));
            assert!(image.ends_with(format!("350@{class}{after}0000@").as_bytes()));
        }
        let advice = |content: &str| {
            format!("5A1@0703{:244}1{:1}{content}{:105}B0  00000@", "", "5", "").into_bytes()
        };
        let mut image = frame(Mti::OTHER_REQUEST, &[COMMON, &advice(&track)]);
        assert_eq!(make_image(&mut image), Ok(()));
        assert_eq!(
            image,
            frame(Mti::OTHER_REQUEST, &[COMMON, &advice(&zeroed)])
        );
        for zeros in [18, 19] {
            let part = |code: &str| format!("060111{code}{:0>zeros$}@", 0).into_bytes();
            let mut image = frame(
                Mti::AUTH_REQUEST,
                &[COMMON, &card(b'1', &zeroed, "0000"), &part("9876")],
            );
            assert_eq!(make_image(&mut image), Ok(()));
            assert!(
                image.ends_with(&part("0000")),
                "a section of {} bytes",
                part("0000").len()
            );
        }
    }

    /// A request whose card data cannot be found has no image, and the error says where it stopped making sense.
    #[test]
    fn a_request_that_cannot_be_parsed_has_no_image() {
        let mut cut = frame(Mti::AUTH_REQUEST, &[COMMON, b"214111111111111111=9912"]);
        assert_eq!(make_image(&mut cut), Err(ImageError::Unparsed { at: 47 }));
        let advice = format!("5A1@0703{:99}@4111111111111111=99121012080123456789@", "");
        let mut odd = frame(Mti::OTHER_REQUEST, &[COMMON, advice.as_bytes()]);
        assert_eq!(
            make_image(&mut odd),
            Err(ImageError::Unparsed { at: 51 }),
            "an id whose length is wrong"
        );
        let error = make_image(&mut cut[..20]).expect_err("too short");
        assert_eq!(
            error.to_string(),
            "no header: 20 bytes are too few for a header of 63"
        );
    }
}
