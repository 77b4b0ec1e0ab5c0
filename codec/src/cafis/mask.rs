//! Masking of what is shown (`spec/fexics.md` 5.5): logs, dumps, viewers, pages.
//!
//! A masked frame has the length of the frame; what is hidden becomes `*`. Both modes hide expiry, PIN, security
//! code, discretionary data and keys; they differ in which digits of the card number stay. Where the layout cannot
//! be told, all text is hidden: a malformed frame shows less, never more. Frames come from peers, so nothing
//! here relies on their being well-formed.

mod card;
mod ic;

use std::ops::Range;

use memchr::memchr2;

use super::field::{Field, number};
use super::frame::HEADER_LEN;
use super::header::{FIELDS, Header, data};
use super::mti::{Mti, lookup};
use super::section::{Section10, SectionKind, Span, Walk};

pub use ic::write_ic_hex;

/// Which part of a card number stays readable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MaskingMode {
    /// All but the last four digits.
    #[default]
    Jcca,
    /// The last four digits at most: the first twelve are hidden, of longer numbers more, shorter ones wholly.
    PciDss,
}

impl MaskingMode {
    /// Which of the `digits` digits of a card number are hidden.
    fn hidden(self, digits: usize) -> Range<usize> {
        match self {
            MaskingMode::Jcca => digits.saturating_sub(4)..digits,
            MaskingMode::PciDss => 0..digits.saturating_sub(4).max(12).min(digits),
        }
    }
}

/// Appends a copy of `frame` in which card data is hidden. Any bytes will do, half a frame too; bytes that are not
/// text (IC data) stay as they are where they are harmless, so the caller escapes what it prints.
pub fn mask_for_display(frame: &[u8], mode: MaskingMode, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(frame);
    mask_in_place(&mut out[start..], mode);
}

/// As [`mask_for_display`], on the bytes themselves.
pub fn mask_in_place(frame: &mut [u8], mode: MaskingMode) {
    let Some(mti) = well_formed(frame) else {
        hide_text(frame);
        return;
    };
    let data = &mut frame[HEADER_LEN..];
    let service = Section10::new(data).map_or(b' ', |section| section.service_id());
    let mut walk = Walk::new(mti);
    while let Some(Span { kind, start, end }) = walk.next(data) {
        mask_section(mti, kind, service, &mut data[start..end], mode);
    }
}

/// The message type, if this is a header beyond doubt and not a piece of a data part that has digits in the right
/// places: a known type, all 17 fields what they may be, no mark of a section among them, and no more data behind it
/// than its trailer says.
fn well_formed(frame: &[u8]) -> Option<Mti> {
    let header = Header::new(frame).ok()?;
    lookup(header.mti())?;
    let bytes = header.bytes();
    let accepted = |field: &Field| field.accepts(&bytes[field.offset..field.offset + field.width]);
    let announced = usize::from(header.trailer()?);
    let sound = FIELDS.iter().all(accepted) && memchr2(b'@', b'=', bytes).is_none();
    (sound && data(frame).len() <= announced).then(|| header.mti())
}

/// Masks one section, whose length is what its kind says. `service` is the service id of section 1-0.
fn mask_section(mti: Mti, kind: SectionKind, service: u8, section: &mut [u8], mode: MaskingMode) {
    let body = 4..section.len().saturating_sub(1);
    match kind {
        SectionKind::S1_1 => {
            let class = section[1];
            card::encode_content(class, service, &mut section[2..71], mode);
            hide(&mut section[71..75]);
        }
        SectionKind::S2_10 => {
            let class = section[0];
            card::encode_content(class, service, &mut section[1..70], mode);
            hide(&mut section[70..74]);
        }
        SectionKind::S1_6 => {
            card::number(&mut section[1..17], mode);
            hide(&mut section[18..22]);
        }
        SectionKind::S9_6_1 => hide(&mut section[6..10]),
        SectionKind::S9_7_1 => ic_data(section, 110, 117, mode),
        SectionKind::S9_7_3 => {
            let class = section[249];
            card::encode_content(class, service, &mut section[250..319], mode);
            ic_data(section, 425, 432, mode);
        }
        SectionKind::S9_7_6 => card::id_content(&mut section[34..103], mode),
        SectionKind::S9_6_4 => keys(section),
        // Their layouts are unknown, and they hold IC data, cryptograms and tokens.
        SectionKind::S9_7_4 | SectionKind::S9_1_2 | SectionKind::S9_1_3 | SectionKind::S9_6_6 => {
            hide(&mut section[body]);
        }
        SectionKind::S9_10_4 => hide_number_like(&mut section[14..]),
        // Free text in the answer to an enquiry; the counters of other messages are long runs of digits.
        SectionKind::E if mti == Mti::ENQUIRY_APPROVAL => hide_number_like(section),
        SectionKind::Unknown | SectionKind::Unparsed => hide_text(section),
        SectionKind::S1_0
        | SectionKind::S1_2
        | SectionKind::S1_3
        | SectionKind::S1_4
        | SectionKind::S2X
        | SectionKind::S2_7
        | SectionKind::S9N
        | SectionKind::E => {}
    }
}

/// Masks the IC data of a section, which reaches from `start` to the follow-on flag and the `@`.
fn ic_data(section: &mut [u8], encoding_at: usize, start: usize, mode: MaskingMode) {
    let end = section.len().saturating_sub(2);
    let raw = section[encoding_at] == b'0';
    let Some(data) = section.get_mut(start..end) else {
        return;
    };
    // In Base64 no digit of the number has a place of its own.
    if raw {
        ic::mask(data, mode)
    } else {
        hide(data)
    }
}

/// Hides both key blocks of section 9-6-4 and leaves their lengths.
fn keys(section: &mut [u8]) {
    let new_length = number(&section[29..33]).unwrap_or(0) as usize;
    let old_start = 37 + new_length;
    let end = section.len() - 1;
    for range in [33..33 + new_length, old_start..end] {
        if let Some(key) = section.get_mut(range) {
            hide(key);
        }
    }
}

/// Hides all of `bytes`.
fn hide(bytes: &mut [u8]) {
    bytes.fill(b'*');
}

/// Hides everything but the marks that let a reader see where he is: spaces, `=` and `@`.
fn hide_text(bytes: &mut [u8]) {
    bytes
        .iter_mut()
        .filter(|byte| !b" =@".contains(byte))
        .for_each(|byte| *byte = b'*');
}

/// Hides runs of digits that are as long as a card number, alone or behind one more digit.
fn hide_number_like(bytes: &mut [u8]) {
    for run in bytes.chunk_by_mut(|a, b| a.is_ascii_digit() == b.is_ascii_digit()) {
        if run[0].is_ascii_digit() && (12..=20).contains(&run.len()) {
            hide(run);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [MaskingMode; 2] = [MaskingMode::Jcca, MaskingMode::PciDss];

    fn content(class: u8, service: u8, text: &str, mode: MaskingMode) -> String {
        let mut content = format!("{text:<69}").into_bytes();
        card::encode_content(class, service, &mut content, mode);
        String::from_utf8(content)
            .expect("text stays text")
            .trim_end()
            .to_owned()
    }

    /// The manual's own examples of track-2 style and JIS2 content come out as it prints them.
    #[test]
    fn the_manuals_examples() {
        let track = "1234567890123456=99121010000000000000";
        assert_eq!(
            content(b'1', b'0', track, BOTH[0]),
            "123456789012****=****1010000000000000"
        );
        assert_eq!(
            content(b'1', b'0', track, BOTH[1]),
            "************3456=****1010000000000000"
        );
        let tail = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
        let jis2 = format!("a912340000123456789012345650100000000009912{tail}");
        let shown = |number: &str| format!("a9****0000{number}5010000000000****{tail}");
        assert_eq!(
            content(b'2', b'0', &jis2, BOTH[0]),
            shown("123456789012****")
        );
        assert_eq!(
            content(b'6', b'0', &jis2, BOTH[1]),
            shown("************3456")
        );
    }

    /// IC data as hex, with the manual's examples, a track with an odd number of digits, and a template around it.
    #[test]
    fn ic_data_as_hex() {
        let hex = |data: &[u8], mode| {
            let mut out = Vec::new();
            write_ic_hex(data, mode, &mut out);
            String::from_utf8(out).expect("hex is text")
        };
        let number = b"\x5a\x08\x12\x34\x56\x78\x90\x12\x34\x56";
        assert_eq!(hex(number, BOTH[0]), "5a08123456789012****");
        assert_eq!(hex(number, BOTH[1]), "5a08************3456");
        assert_eq!(
            hex(b"\x5f\x25\x03\x26\x04\x01\x5f\x24\x03\x28\x12\x31", BOTH[0]),
            "5f2503******5f2403******"
        );
        let odd = b"\x70\x0e\x57\x0c\x37\x82\x82\x24\x63\x10\x00\x5d\x99\x12\x10\x12";
        assert_eq!(hex(odd, BOTH[0]), "700e570c37828224631****d****101*");
        assert_eq!(hex(odd, BOTH[1]), "700e570c************005d****101*");
        assert_eq!(
            hex(b"\x9a\x03\x26\x04\x01", BOTH[1]),
            "9a03260401",
            "a transaction date is no secret"
        );
        assert_eq!(
            hex(b"\x9a\x03\x26\x04\x01\x5a\x08\x12", BOTH[1]),
            "9a03260401******",
            "cut short"
        );
    }

    /// In place a byte of IC data is hidden whole when either of its digits is.
    #[test]
    fn ic_data_in_place() {
        let mut number = *b"\x5a\x08\x37\x82\x82\x24\x63\x10\x00\x5f";
        ic::mask(&mut number, MaskingMode::Jcca);
        assert_eq!(&number, b"\x5a\x08\x37\x82\x82\x24\x63***");
    }

    /// Numbers of every length keep what their mode allows, and nothing that is no number is taken for one.
    #[test]
    fn numbers_by_length() {
        let shown = |text: &str, mode| {
            let mut field = text.as_bytes().to_vec();
            card::number(&mut field, mode);
            String::from_utf8(field).expect("text stays text")
        };
        for (text, jcca, pci) in [
            (
                "4111111111111111111",
                "411111111111111****",
                "***************1111",
            ),
            ("378282246310005 ", "37828224631**** ", "************005 "),
            ("123456789012", "12345678****", "************"),
            ("12345678901", "1234567****", "***********"),
            ("123", "***", "***"),
            ("", "", ""),
            ("41111111X1111111", "****************", "****************"),
            (
                "41111111111111111111",
                "********************",
                "********************",
            ),
        ] {
            assert_eq!(
                (shown(text, BOTH[0]).as_str(), shown(text, BOTH[1]).as_str()),
                (jcca, pci),
                "{text}"
            );
        }
    }

    /// What is typed in, or of a class that nobody knows, is hidden unless its layout is certain.
    #[test]
    fn contents_of_uncertain_layout_are_hidden() {
        for mode in BOTH {
            assert_eq!(
                content(b'3', b'0', "41111111111111119912", mode),
                "*".repeat(20)
            );
            assert_eq!(
                content(b'9', b'0', "4111111111111111=9912", mode),
                "****************=****"
            );
            assert_eq!(
                content(b'1', b'0', "41111111111111119912", mode),
                "*".repeat(20)
            );
            assert_eq!(
                content(b'3', b'J', "TEST900X111111111111111991200001", mode),
                "*".repeat(32)
            );
        }
        assert_eq!(
            content(b'3', b'0', "4111111111111111=9912", BOTH[0]),
            "411111111111****=****"
        );
    }

    /// Bytes that are no telegram show nothing but their length and the marks.
    #[test]
    fn what_is_no_telegram_is_hidden() {
        let mut out = b"> ".to_vec();
        mask_for_display(b"111111111=9912 \x00\xff@", MaskingMode::Jcca, &mut out);
        assert_eq!(out, b"> *********=**** **@");
    }

    /// A piece of a data part whose digits would pass for a header is no header.
    #[test]
    fn a_piece_of_data_is_not_taken_for_a_header() {
        let piece =
            b"1234599000001001239911302 00@26a9    00004111111111111111501000000000099120000@";
        let mut out = Vec::new();
        mask_for_display(piece, MaskingMode::Jcca, &mut out);
        assert!(
            out.iter().all(|byte| b"* @".contains(byte)),
            "{}",
            out.escape_ascii()
        );
    }
}
