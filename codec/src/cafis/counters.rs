//! Section E as the counters of general business: the day's totals that both sides compare (`spec/cafis.md` 4.4).
//!
//! Other contracts use a longer E, so this is for display and for building 4110 and 4920; what is only passed on
//! or echoed stays opaque.

use super::field::{number, put_number};

/// Bytes of section E with the counters of general business.
pub const COUNTERS_LEN: usize = 212;

const BLOCK_LEN: usize = 50;
/// Widths of the six counters of a block; twelve reserved zeros follow.
const WIDTHS: [usize; 6] = [6, 6, 6, 6, 8, 6];
/// Where the two days begin: day of month, originator block, destination block.
const DAYS_AT: [usize; 2] = [7, 109];

const _: () = assert!(DAYS_AT[1] + 2 + 2 * BLOCK_LEN + 1 == COUNTERS_LEN);

/// The counters of one side for one day. Only approvals are counted; cancels may make a counter negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Authorisations.
    pub authorisations: i32,
    /// Sales.
    pub sales: i32,
    /// Business cancels.
    pub cancels: i32,
    /// Cash advances.
    pub cash: i32,
    /// Their amount in thousand yen.
    pub cash_amount: i32,
    /// Everything else.
    pub others: i32,
}

/// What both sides counted on one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayCounters {
    /// Day of the month, two digits.
    pub day: [u8; 2],
    /// As originator.
    pub originator: Counters,
    /// As destination.
    pub destination: Counters,
}

/// Section E of 4110, 4120 and 4920.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CounterSheet {
    /// Company code.
    pub company: [u8; 7],
    /// Today, then the day before.
    pub days: [DayCounters; 2],
}

impl CounterSheet {
    /// Reads a section E; `None` if it is not of this layout.
    pub fn parse(section: &[u8]) -> Option<CounterSheet> {
        let bytes: &[u8; COUNTERS_LEN] = section.try_into().ok()?;
        if !bytes.ends_with(b"@") {
            return None;
        }
        let company = *bytes.first_chunk()?;
        let [today, before] = DAYS_AT.map(|at| day(&bytes[at..]));
        Some(CounterSheet {
            company,
            days: [today?, before?],
        })
    }

    /// Appends the 212 bytes.
    ///
    /// # Panics
    /// If a counter has more digits than its field.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.company);
        for day in &self.days {
            out.extend_from_slice(&day.day);
            write_block(&day.originator, out);
            write_block(&day.destination, out);
        }
        out.push(b'@');
    }
}

fn day(bytes: &[u8]) -> Option<DayCounters> {
    Some(DayCounters {
        day: *bytes.first_chunk()?,
        originator: block(bytes.get(2..2 + BLOCK_LEN)?)?,
        destination: block(bytes.get(2 + BLOCK_LEN..2 + 2 * BLOCK_LEN)?)?,
    })
}

fn block(bytes: &[u8]) -> Option<Counters> {
    let mut values = [0; WIDTHS.len()];
    let mut at = 0;
    for (value, width) in values.iter_mut().zip(WIDTHS) {
        *value = counter(bytes.get(at..at + width)?)?;
        at += width;
    }
    let [authorisations, sales, cancels, cash, cash_amount, others] = values;
    Some(Counters {
        authorisations,
        sales,
        cancels,
        cash,
        cash_amount,
        others,
    })
}

fn counter(field: &[u8]) -> Option<i32> {
    let (sign, digits) = match field {
        [b'-', digits @ ..] => (-1, digits),
        digits => (1, digits),
    };
    Some(sign * i32::try_from(number(digits)?).ok()?)
}

fn write_block(counters: &Counters, out: &mut Vec<u8>) {
    let Counters {
        authorisations,
        sales,
        cancels,
        cash,
        cash_amount,
        others,
    } = *counters;
    let values = [authorisations, sales, cancels, cash, cash_amount, others];
    let start = out.len();
    out.resize(start + BLOCK_LEN, b'0');
    let mut rest = &mut out[start..];
    for (value, width) in values.into_iter().zip(WIDTHS) {
        let (field, next) = rest.split_at_mut(width);
        let sign = usize::from(value < 0);
        field[..sign].fill(b'-');
        put_number(&mut field[sign..], value.unsigned_abs());
        rest = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A negative counter has its sign in the first character and is read back.
    #[test]
    fn negative_counters_round_trip() {
        let counters = Counters {
            cancels: -3,
            cash_amount: -1_234_567,
            ..Counters::default()
        };
        let mut out = Vec::new();
        write_block(&counters, &mut out);
        assert_eq!(&out[12..18], b"-00003");
        assert_eq!(&out[24..32], b"-1234567");
        assert_eq!(block(&out), Some(counters));
    }
}
