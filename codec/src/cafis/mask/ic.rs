//! Card data in IC data: BER-TLV objects whose values are packed digits.

use std::ops::Range;

use super::{MaskingMode, hide};

/// What the value of an object holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Secret {
    /// A card number.
    Number,
    /// A date of validity.
    Date,
    /// Track-2 equivalent data.
    Track,
    /// Other track data, hidden wholly.
    Whole,
}

/// The objects with card data. 57, 9F6B and DF4F hold tracks; 56, 9F1F and 9F20 are track 1 and discretionary data.
const SECRETS: [(u32, Secret); 9] = [
    (0x5a, Secret::Number),
    (0x5f24, Secret::Date),
    (0x5f25, Secret::Date),
    (0x57, Secret::Track),
    (0x9f6b, Secret::Track),
    (0xdf4f, Secret::Track),
    (0x56, Secret::Whole),
    (0x9f1f, Secret::Whole),
    (0x9f20, Secret::Whole),
];

/// Masks raw IC data in place. A byte holds two digits and is hidden if either is.
pub fn mask(data: &mut [u8], mode: MaskingMode) {
    let mut at = 0;
    while let Some(step) = Step::read(data, at) {
        match step {
            Step::Object { value, secret, .. } => {
                for range in hidden(&data[value.clone()], secret, mode) {
                    hide(
                        &mut data
                            [value.start + range.start / 2..value.start + range.end.div_ceil(2)],
                    );
                }
                at = value.end;
            }
            Step::Enter { next, .. } => at = next,
            Step::Malformed => {
                hide(&mut data[at..]);
                return;
            }
        }
    }
}

/// Appends raw IC data as lower-case hex, two characters a byte, each hidden digit a `*`.
pub fn write_ic_hex(data: &[u8], mode: MaskingMode, out: &mut Vec<u8>) {
    let mut at = 0;
    while let Some(step) = Step::read(data, at) {
        match step {
            Step::Object { value, secret, .. } => {
                write_hex(&data[at..value.start], out);
                let start = out.len();
                write_hex(&data[value.clone()], out);
                for range in hidden(&data[value.clone()], secret, mode) {
                    hide(&mut out[start + range.start..start + range.end]);
                }
                at = value.end;
            }
            Step::Enter { next, .. } => {
                write_hex(&data[at..next], out);
                at = next;
            }
            Step::Malformed => {
                out.resize(out.len() + 2 * (data.len() - at), b'*');
                return;
            }
        }
    }
}

fn write_hex(bytes: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.push(HEX[usize::from(byte >> 4)]);
        out.push(HEX[usize::from(byte & 15)]);
    }
}

/// What stands at a place in IC data.
enum Step {
    /// An object with a value.
    Object {
        value: Range<usize>,
        secret: Option<Secret>,
    },
    /// The head of a template, whose objects follow, or padding.
    Enter { next: usize },
    /// No object.
    Malformed,
}

impl Step {
    /// Reads tag and length at `at`; `None` at the end of `data`.
    fn read(data: &[u8], at: usize) -> Option<Step> {
        let first = *data.get(at)?;
        if first == 0 {
            return Some(Step::Enter { next: at + 1 });
        }
        Some(Step::object(data, at, first).unwrap_or(Step::Malformed))
    }

    fn object(data: &[u8], at: usize, first: u8) -> Option<Step> {
        let mut tag = u32::from(first);
        let mut next = at + 1;
        if first & 0x1f == 0x1f {
            loop {
                let byte = *data.get(next)?;
                next += 1;
                tag = tag.checked_mul(256)? | u32::from(byte);
                if byte & 0x80 == 0 {
                    break;
                }
            }
        }
        let length = *data.get(next)?;
        next += 1;
        let length = match length {
            0..=0x7f => usize::from(length),
            0x81 => {
                next += 1;
                usize::from(*data.get(next - 1)?)
            }
            _ => return None,
        };
        let value = next..next + length;
        data.get(value.clone())?;
        if first & 0x20 != 0 {
            return Some(Step::Enter { next });
        }
        let secret = SECRETS
            .iter()
            .find(|(known, _)| *known == tag)
            .map(|(_, secret)| *secret);
        Some(Step::Object { value, secret })
    }
}

/// The half-bytes of `value` to hide.
fn hidden(value: &[u8], secret: Option<Secret>, mode: MaskingMode) -> [Range<usize>; 3] {
    let all = 2 * value.len();
    match secret {
        None => [0..0, 0..0, 0..0],
        Some(Secret::Date | Secret::Whole) => [0..all, 0..0, 0..0],
        Some(Secret::Number) => [number(value, all, mode), 0..0, 0..0],
        Some(Secret::Track) => track(value, mode),
    }
}

/// Half-byte `index`, the higher one first.
fn half(value: &[u8], index: usize) -> u8 {
    let byte = value[index / 2];
    if index.is_multiple_of(2) {
        byte >> 4
    } else {
        byte & 15
    }
}

/// The half-bytes to hide of a number that ends before half-byte `end`, padded with F.
fn number(value: &[u8], end: usize, mode: MaskingMode) -> Range<usize> {
    let digits = (0..end)
        .rev()
        .find(|&index| half(value, index) != 0xf)
        .map_or(0, |last| last + 1);
    if (0..digits).all(|index| half(value, index) <= 9) && digits <= 19 {
        mode.hidden(digits)
    } else {
        0..end
    }
}

/// The half-bytes to hide of a track: number, D, expiry 4, service code 3, discretionary data. All of it if it is
/// not packed that way, or holds text.
fn track(value: &[u8], mode: MaskingMode) -> [Range<usize>; 3] {
    let all = 2 * value.len();
    let Some(separator) = (0..all).find(|&index| half(value, index) == 0xd) else {
        return [0..all, 0..0, 0..0];
    };
    // Text has its '=' as the byte 3D, so that a D there follows digits that are not a number.
    if value.contains(&b'=') && value.iter().all(|byte| (b' '..0x7f).contains(byte)) {
        return [0..all, 0..0, 0..0];
    }
    let expiry = separator + 1..(separator + 5).min(all);
    let discretionary = (separator + 8).min(all)..all;
    [number(value, separator, mode), expiry, discretionary]
}
