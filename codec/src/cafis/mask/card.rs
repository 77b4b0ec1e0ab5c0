//! Card numbers in text: encode contents and number fields.

use memchr::memchr;

use super::{MaskingMode, hide, hide_text};

/// Digits of a card number at most (ISO/IEC 7812).
const NUMBER_LEN_MAX: usize = 19;

/// Masks the 69 bytes of a card's encode content by its card class; `service` is `J` for iD.
pub fn encode_content(class: u8, service: u8, content: &mut [u8], mode: MaskingMode) {
    match class {
        b'1' | b'4' | b'5' => track(content, mode),
        b'2' | b'6' => jis2(content, mode),
        b'3' if service == b'J' => id_content(content, mode),
        // Typed in: the interface does not say how, but a separator gives the track-2 style away.
        b'3' if memchr(b'=', content).is_some() => track(content, mode),
        _ => hide_text(content),
    }
}

/// Masks a number field padded with spaces: the digits that the mode hides, or all if they are no card number.
pub fn number(field: &mut [u8], mode: MaskingMode) {
    let digits = field
        .iter()
        .rposition(|&byte| byte != b' ')
        .map_or(0, |last| last + 1);
    let number = &mut field[..digits];
    if number.iter().all(u8::is_ascii_digit) && digits <= NUMBER_LEN_MAX {
        hide(&mut number[mode.hidden(digits)]);
    } else {
        hide(number);
    }
}

/// Masks track-2 style text: number, `=`, expiry 4, service code 3, discretionary data. Discretionary data that is
/// zeroed already is left, as the manual's example shows it.
pub fn track(content: &mut [u8], mode: MaskingMode) {
    let Some(separator) = memchr(b'=', content) else {
        hide_text(content);
        return;
    };
    number(&mut content[..separator], mode);
    let (expiry, rest) = content[separator + 1..]
        .split_at_mut_checked(4)
        .unwrap_or_default();
    hide(expiry);
    let discretionary = rest.get_mut(3..).unwrap_or_default();
    if discretionary.iter().any(|byte| !b"0 ".contains(byte)) {
        discretionary
            .iter_mut()
            .filter(|byte| **byte != b' ')
            .for_each(|byte| *byte = b'*');
    }
}

/// Masks JIS2 content: PIN 3-6, number 11-26, expiry 40-43, counted from 1.
fn jis2(content: &mut [u8], mode: MaskingMode) {
    hide(&mut content[2..6]);
    number(&mut content[10..26], mode);
    hide(&mut content[39..43]);
}

/// Masks iD content: company code 7, member number 16, expiry 4, and what follows.
pub fn id_content(content: &mut [u8], mode: MaskingMode) {
    let digits_or_spaces = |bytes: &[u8]| {
        bytes
            .iter()
            .all(|byte| byte.is_ascii_digit() || *byte == b' ')
    };
    if digits_or_spaces(&content[7..27]) {
        number(&mut content[7..23], mode);
        hide(&mut content[23..27]);
    } else {
        hide_text(content);
    }
}
