//! Which bytes a telegram may hold (spec/cafis.md 2.5, spec/fexics.md 11 #14): control characters are refused with
//! RC 11, except the five that the centre allows, and except in the parts of a section that may carry binary data.

use std::ops::Range;

use codec::cafis::mti::Mti;
use codec::cafis::section::{SectionKind, sections};

/// The control characters that the centre allows.
const ALLOWED: [u8; 5] = [0x07, 0x0a, 0x12, 0x18, 0x1a];

/// Whether a fixed field is free of control characters.
pub(crate) fn text(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .all(|byte| !byte.is_ascii_control() || ALLOWED.contains(byte))
}

/// Whether the data part of a telegram of this kind holds only what it may.
pub(crate) fn data(mti: Mti, data: &[u8]) -> bool {
    sections(mti, data).all(|(kind, section)| match binary(kind, section.len()) {
        Some(range) => text(&section[..range.start]) && text(&section[range.end..]),
        None => text(section),
    })
}

/// Where a section of this kind and length keeps its binary data (spec/cafis.md 4.5): behind its fixed fields, up to
/// the follow-on flag and the `@`, or the `@` alone.
fn binary(kind: SectionKind, len: usize) -> Option<Range<usize>> {
    let (start, behind) = match kind {
        SectionKind::S9_7_1 => (117, 2),
        SectionKind::S9_7_3 => (432, 2),
        SectionKind::S9_10_4 => (14, 2),
        SectionKind::S9_6_4 => (33, 1),
        // Opaque, so all of it behind the id.
        SectionKind::S9_7_4 => (4, 1),
        _ => return None,
    };
    let end = len.saturating_sub(behind);
    (start <= end).then_some(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1-0, 1-1 with the test card, and 9-10-4 with the given binary data.
    fn telegram(binary: &[u8]) -> Vec<u8> {
        let mut out = b"   000000002       99001990000010000126112320".to_vec();
        out.extend_from_slice(b"0@");
        assert_eq!(out.len(), 47);
        out.extend_from_slice(format!("21{:<69}00000000000", "4111111111111111=2812").as_bytes());
        out.extend_from_slice(b"000010000000000@");
        assert_eq!(out.len(), 47 + 98);
        out.extend_from_slice(b"10041000000");
        out.extend_from_slice(format!("{:03}", binary.len()).as_bytes());
        out.extend_from_slice(binary);
        out.extend_from_slice(b"0@");
        out
    }

    /// Control characters are allowed where binary data is declared, and nowhere else but for the five.
    #[test]
    fn control_characters_belong_into_binary_parts() {
        let mti = Mti::from_digits(*b"3110").expect("four digits");
        let good = telegram(&[0x00, 0x1f, 0x7f, b'@', 0x02]);
        assert!(data(mti, &good));
        for place in [0, 20, 60, good.len() - 2] {
            let mut bad = good.clone();
            bad[place] = 0x0d;
            assert!(!data(mti, &bad), "at {place}");
        }
        assert!(text(&ALLOWED));
        assert!(!text(b"\0"));
        assert!(!data(mti, b"\x01"));
        assert!(data(mti, b""));
    }
}
