//! Fixed-width fields: where they lie and what they may hold.
//!
//! Layouts are tables of [`Field`], which readers, writers, tests and displays walk alike.

/// What the bytes of a field may be (the types N and AN of `spec/cafis.md` 2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// ASCII digits, padded with zeros on the left.
    Digits,
    /// ASCII digits, or spaces throughout where the value is not set.
    DigitsOrSpaces,
    /// Printable single-byte text, padded with spaces on the right.
    Text,
    /// The byte `@` that ends a section.
    End,
}

/// One fixed-width field of a header or a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// English name, as the specification gives it.
    pub name: &'static str,
    /// First byte, counted from the start of the header or section.
    pub offset: usize,
    /// Width in bytes.
    pub width: usize,
    /// What the bytes may be.
    pub kind: FieldKind,
}

impl Field {
    /// A table row.
    pub(crate) const fn new(
        name: &'static str,
        offset: usize,
        width: usize,
        kind: FieldKind,
    ) -> Field {
        Field {
            name,
            offset,
            width,
            kind,
        }
    }

    /// Whether `bytes` are what the field may hold, width included.
    pub fn accepts(&self, bytes: &[u8]) -> bool {
        let digits = || bytes.iter().all(u8::is_ascii_digit);
        bytes.len() == self.width
            && match self.kind {
                FieldKind::Digits => digits(),
                FieldKind::DigitsOrSpaces => digits() || bytes.iter().all(|&b| b == b' '),
                FieldKind::Text => bytes.iter().all(|&b| b >= b' ' && b != 0x7f),
                FieldKind::End => bytes == b"@",
            }
    }
}

/// Whether the fields of a layout follow each other without gap or overlap and fill `length` bytes.
pub(crate) const fn tiles(fields: &[Field], length: usize) -> bool {
    let mut next = 0;
    let mut index = 0;
    while index < fields.len() {
        if fields[index].offset != next {
            return false;
        }
        next += fields[index].width;
        index += 1;
    }
    next == length
}

/// Reads a field of ASCII digits; `None` if a byte is none, or if there are more than nine, which no field has.
#[inline]
pub fn number(bytes: &[u8]) -> Option<u32> {
    if bytes.len() > 9 {
        return None;
    }
    let mut value = 0u32;
    let mut all_digits = true;
    // Without a branch in the loop: a header has five such fields and nearly all are digits.
    for byte in bytes {
        let digit = byte.wrapping_sub(b'0');
        all_digits &= digit <= 9;
        value = value.wrapping_mul(10).wrapping_add(u32::from(digit));
    }
    all_digits.then_some(value)
}

/// Fills `field` with the decimal digits of `value`, padded with zeros on the left.
///
/// # Panics
/// If the value has more digits than the field is wide: a number that does not fit is a fault of ours.
#[inline]
pub fn put_number(field: &mut [u8], value: u32) {
    let mut rest = value;
    for byte in field.iter_mut().rev() {
        *byte = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    assert!(
        rest == 0,
        "{value} does not fit into a field of {} digits",
        field.len()
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number is read as it was written, and anything but digits is refused.
    #[test]
    fn numbers_round_trip_and_refuse_other_bytes() {
        let mut field = [0u8; 6];
        put_number(&mut field, 123);
        assert_eq!(&field, b"000123");
        assert_eq!(number(&field), Some(123));
        assert_eq!(number(b"12 "), None);
        assert_eq!(number(b"99999999999"), None);
        assert_eq!(number(b""), Some(0));
    }

    /// A value wider than its field is refused loudly instead of being cut.
    #[test]
    #[should_panic(expected = "10000 does not fit into a field of 4 digits")]
    fn a_number_too_wide_is_refused() {
        put_number(&mut [0u8; 4], 10_000);
    }
}
