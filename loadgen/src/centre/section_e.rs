//! Section E of 4110 and 4920: the centre's counters of a line (`spec/cafis.md` 4.4).

use codec::cafis::field::put_number;

use super::line::Counters;

/// Bytes of the section.
pub const LEN: usize = 212;
const BLOCK: usize = 50;
const ORIGINATOR_AT: usize = 9;
const PREVIOUS_DAY_AT: usize = 109;

/// The counters of today; what the line received, and the previous day, are zero.
pub fn counters(company: &[u8; 11], month_day: &[u8; 4], counters: &Counters) -> [u8; LEN] {
    let mut out = [b'0'; LEN];
    out[..7].copy_from_slice(&company[..7]);
    out[7..9].copy_from_slice(&month_day[2..]);
    let block = &mut out[ORIGINATOR_AT..ORIGINATOR_AT + BLOCK];
    put_signed(&mut block[0..6], counters.authorisations);
    put_signed(&mut block[6..12], counters.sales);
    put_signed(&mut block[12..18], counters.cancels);
    put_signed(&mut block[32..38], counters.others);
    out[PREVIOUS_DAY_AT..PREVIOUS_DAY_AT + 2].copy_from_slice(&previous(month_day));
    out[LEN - 1] = b'@';
    out
}

/// A counter: six digits that wrap, or `-` and five.
fn put_signed(field: &mut [u8], value: i64) {
    let digits = field.len() as u32 - u32::from(value < 0);
    let shown = (value.unsigned_abs() % 10u64.pow(digits)) as u32;
    if value < 0 {
        field[0] = b'-';
        put_number(&mut field[1..], shown);
    } else {
        put_number(field, shown);
    }
}

/// The day before, as far as a day of the month tells it.
fn previous(month_day: &[u8; 4]) -> [u8; 2] {
    const LAST_DAYS: [u8; 13] = [31, 31, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30];
    let two = |at: usize| (month_day[at] - b'0') * 10 + (month_day[at + 1] - b'0');
    let (month, day) = (two(0), two(2));
    let before = if day > 1 {
        day - 1
    } else {
        LAST_DAYS[usize::from(month.min(12))]
    };
    [b'0' + before / 10, b'0' + before % 10]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fields lie where the interface puts them, and a negative counter begins with a minus.
    #[test]
    fn the_section_is_laid_out_as_the_interface_says() {
        let values = Counters {
            authorisations: 12,
            sales: 34,
            cancels: -5,
            others: 0,
        };
        let section = counters(b"TEST0010000", b"1130", &values);
        assert!(section.starts_with(b"TEST00130000012000034-00005"));
        assert_eq!(&section[109..111], b"29");
        assert!(section.ends_with(b"0@"));
        assert_eq!(&counters(b"TEST0010000", b"0301", &values)[109..111], b"28");
    }
}
