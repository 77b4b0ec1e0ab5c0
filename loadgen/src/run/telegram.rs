//! The telegrams that are sent: invented, well formed, each with a transaction key of its own.
//!
//! A request is a number. Its terminal, terminal sequence, amount and message type follow from it, so that nothing
//! has to be kept of a request to name its key again, and a retry sends the same bytes.

use std::str::FromStr;

use thiserror::Error;

use super::schedule::splitmix;

/// Terminal sequences of one terminal: 00001 to 99999 (spec/cafis.md 4.1).
const TERMINAL_SEQUENCES: u64 = 99_999;
/// Terminal serials under one installer code: 00000 to 99999.
const TERMINALS: u64 = 100_000;
/// How many requests one `Telegrams` has keys for.
const SERIAL_MAX: u64 = TERMINALS * TERMINAL_SEQUENCES;

/// Section 1-0 before terminal, sequence and date are put in.
const SECTION_1_0: &[u8; 47] = b"   000000002       000009900000000001000000000@";
/// Where they go: terminal id, terminal sequence, date (spec/cafis.md 4.1).
const TERMINAL_AT: usize = 19;
const SEQUENCE_AT: usize = 32;
const DATE_AT: usize = 37;
/// The end of section 1-0, and where the next section starts.
const SECTION_1_0_LEN: usize = 47;
/// Where the amount lies in section 1-1 (spec/cafis.md 4.2).
const AMOUNT_AT: usize = SECTION_1_0_LEN + 82;
/// Track 2 of the well-known test card, 37 characters.
const TRACK2: &[u8; 37] = b"4111111111111111=99121012080000000000";

/// What differs between the kinds of request.
struct KindRow {
    mti: [u8; 4],
    /// First byte of section 1-1; `None` if there is no section 1-1.
    business: Option<u8>,
    /// What follows 1-0 and 1-1.
    tail: &'static [u8],
    /// Turnaround requests have no issuer (spec/cafis.md 2.3).
    turnaround: bool,
}

/// The kinds of request that can be mixed (spec/cafis.md 3.2, 3.3, 4.3).
#[rustfmt::skip]
const KINDS: [KindRow; 4] = [
    KindRow { mti: *b"3110", business: Some(b'2'), tail: b"", turnaround: false },
    KindRow { mti: *b"3210", business: Some(b'1'), tail: b"10@", turnaround: false },
    KindRow { mti: *b"3310", business: Some(b'4'), tail: b"000011110@", turnaround: false },
    KindRow { mti: *b"3510", business: None, tail: b"592@", turnaround: true },
];

/// Shares of the kinds of request, such as `3110=80,3210=15,3310=5`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mix {
    /// Weight of each row of the table of kinds.
    weights: [u32; KINDS.len()],
}

/// A mix cannot be read.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum MixError {
    /// An item is not `MTI=SHARE`.
    #[error("`{item}` is not MTI=SHARE, as in 3110=80,3210=15,3310=5")]
    Item {
        /// The item.
        item: String,
    },
    /// The message type is none that can be mixed.
    #[error("`{mti}` cannot be mixed in: 3110, 3210, 3310 and 3510 can")]
    Mti {
        /// The message type.
        mti: String,
    },
    /// All shares are zero.
    #[error("the shares of the mix are all zero")]
    Empty,
}

impl Default for Mix {
    /// Authorisations only.
    fn default() -> Self {
        Mix {
            weights: [1, 0, 0, 0],
        }
    }
}

impl FromStr for Mix {
    type Err = MixError;

    fn from_str(text: &str) -> Result<Self, MixError> {
        let mut weights = [0; KINDS.len()];
        for item in text.split(',') {
            let bad = || MixError::Item {
                item: item.to_owned(),
            };
            let (mti, share) = item.split_once('=').ok_or_else(bad)?;
            let row = KINDS.iter().position(|row| row.mti == mti.as_bytes());
            let row = row.ok_or_else(|| MixError::Mti {
                mti: mti.to_owned(),
            })?;
            // Bounded so that the sum of all shares cannot overflow.
            weights[row] = share.parse::<u16>().map_err(|_| bad())?.into();
        }
        if weights.iter().all(|weight| *weight == 0) {
            return Err(MixError::Empty);
        }
        Ok(Mix { weights })
    }
}

/// What is the same in every request of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Originating company 7 and sub code 4.
    pub acquirer: [u8; 11],
    /// Destination company 7 and sub code 4.
    pub issuer: [u8; 11],
    /// Installer company, the first five characters of every terminal id: sets the keys of runs apart.
    pub installer: [u8; 5],
    /// Processing date, YYMMDD.
    pub date: [u8; 6],
}

/// A request before it is wrapped for a link or a centre connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Telegram<'a> {
    pub(crate) mti: [u8; 4],
    pub(crate) issuer: [u8; 11],
    pub(crate) acquirer: [u8; 11],
    pub(crate) data: &'a [u8],
}

/// Makes the telegram of a request's number, in place.
pub(crate) struct Telegrams {
    identity: Identity,
    mix: Mix,
    total: u64,
    data: [Vec<u8>; KINDS.len()],
}

impl Telegrams {
    pub(crate) fn new(identity: Identity, mix: Mix) -> Telegrams {
        let data = KINDS.each_ref().map(|row| {
            let mut data = SECTION_1_0.to_vec();
            data[TERMINAL_AT..TERMINAL_AT + 5].copy_from_slice(&identity.installer);
            data[DATE_AT..DATE_AT + 6].copy_from_slice(&identity.date);
            if let Some(business) = row.business {
                data.extend_from_slice(&[business, b'1']);
                data.extend_from_slice(TRACK2);
                data.resize(SECTION_1_0_LEN + 71, b' ');
                // PIN, product code, amount, tax: the amount is set for each request.
                data.extend_from_slice(b"0000");
                data.extend_from_slice(b"0000990");
                data.extend_from_slice(b"00000000");
                data.extend_from_slice(b"0000500@");
            }
            data.extend_from_slice(row.tail);
            data
        });
        let total = mix.weights.iter().map(|weight| u64::from(*weight)).sum();
        Telegrams {
            identity,
            mix,
            total,
            data,
        }
    }

    /// The message type of request number `serial`.
    pub(crate) fn mti(&self, serial: u64) -> [u8; 4] {
        KINDS[self.row(serial)].mti
    }

    /// The row of the kind of request number `serial`: random by weight, yet always the same.
    fn row(&self, serial: u64) -> usize {
        if self.total == u64::from(self.mix.weights[0]) {
            return 0;
        }
        let mut at = splitmix(&mut serial.clone()) % self.total;
        for (row, weight) in self.mix.weights.iter().enumerate() {
            match at.checked_sub(u64::from(*weight)) {
                Some(rest) => at = rest,
                None => return row,
            }
        }
        0
    }

    /// The telegram of request number `serial`, which lives until the next call.
    pub(crate) fn make(&mut self, serial: u64) -> Telegram<'_> {
        let row = self.row(serial);
        let kind = &KINDS[row];
        let (terminal, sequence) = terminal_of(serial);
        let data = &mut self.data[row];
        put_digits(&mut data[TERMINAL_AT + 8..TERMINAL_AT + 13], terminal);
        put_digits(&mut data[SEQUENCE_AT..SEQUENCE_AT + 5], sequence);
        if kind.business.is_some() {
            let amount = 100 + (serial.wrapping_mul(7919) % 99_900) as u32;
            put_digits(&mut data[AMOUNT_AT..AMOUNT_AT + 8], amount);
        }
        Telegram {
            mti: kind.mti,
            issuer: if kind.turnaround {
                *b"00000000000"
            } else {
                self.identity.issuer
            },
            acquirer: self.identity.acquirer,
            data,
        }
    }

    /// The transaction key of request number `serial`: date, terminal, terminal sequence.
    pub(crate) fn key(&self, serial: u64) -> [u8; 24] {
        let (terminal, sequence) = terminal_of(serial);
        let mut key = [0; 24];
        key[..6].copy_from_slice(&self.identity.date);
        key[6..19].copy_from_slice(&SECTION_1_0[TERMINAL_AT..SEQUENCE_AT]);
        key[6..11].copy_from_slice(&self.identity.installer);
        put_digits(&mut key[14..19], terminal);
        put_digits(&mut key[19..24], sequence);
        key
    }
}

/// Terminal serial and terminal sequence of a request's number.
fn terminal_of(serial: u64) -> (u32, u32) {
    assert!(
        serial < SERIAL_MAX,
        "request {serial} has no key of its own"
    );
    // Neighbours come from different terminals, as they would in life.
    ((serial % TERMINALS) as u32, (serial / TERMINALS + 1) as u32)
}

/// Writes a number in digits, filled with zeros on the left.
pub(crate) fn put_digits(out: &mut [u8], mut value: u32) {
    for digit in out.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// Today's processing date YYMMDD at the centres, which live nine hours east of UTC.
#[must_use]
pub fn date_of(unix_seconds: u64) -> [u8; 6] {
    // Days to a civil date in eras of 400 years that start on the 1st of March.
    let days = (unix_seconds + 9 * 3600) / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    let year = year_of_era + era * 400 + carry;
    let mut out = [0; 6];
    put_digits(&mut out[..2], (year % 100) as u32);
    put_digits(&mut out[2..4], month as u32);
    put_digits(&mut out[4..6], day as u32);
    out
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    fn telegrams(mix: &str) -> Telegrams {
        let identity = Identity {
            acquirer: *b"TEST0010000",
            issuer: *b"TEST9000000",
            installer: *b"12345",
            date: *b"991130",
        };
        Telegrams::new(identity, mix.parse().expect("a mix"))
    }

    /// An authorisation is the data of example F09, but for the numbers of the terminal and the amount, and each
    /// kind has the length that its sections add up to.
    #[test]
    fn the_telegrams_are_the_specifications() {
        let f09 = "   000000002       123459900000100123991130000@214111111111111111=99121012080000000000                                00000000990000050000000500@";
        let mut made = telegrams("3110=1");
        let telegram = made.make(4711);
        assert_eq!((telegram.mti, telegram.data.len()), (*b"3110", 145));
        for (at, (ours, example)) in telegram.data.iter().zip(f09.bytes()).enumerate() {
            let differs = (27..37).contains(&at) || (129..137).contains(&at);
            assert!(
                differs || *ours == example,
                "byte {at}: {ours} for {example}"
            );
        }
        for (mti, len) in [("3110", 145), ("3210", 148), ("3310", 155), ("3510", 51)] {
            let mut made = telegrams(&format!("{mti}=1"));
            let telegram = made.make(7);
            assert_eq!(telegram.mti, mti.as_bytes());
            assert_eq!(telegram.data.len(), len);
            assert_eq!(telegram.data.last(), Some(&b'@'));
            assert_eq!(telegram.issuer == *b"00000000000", mti == "3510");
        }
    }

    /// Every request has its own key, and the key is the one in its telegram.
    #[test]
    fn keys_are_unique_and_match() {
        let mut made = telegrams("3110=3,3210=2,3310=1");
        let mut keys = HashSet::new();
        for serial in (0..300_000).step_by(7).chain([SERIAL_MAX - 1]) {
            let key = made.key(serial);
            let data = made.make(serial).data;
            assert_eq!(key[..6], data[37..43]);
            assert_eq!(key[6..19], data[19..32]);
            assert_eq!(key[19..], data[32..37]);
            assert!(keys.insert(key), "key of {serial} was there before");
        }
    }

    /// The shares of a mix are kept, and a request's kind never changes.
    #[test]
    fn a_mix_keeps_its_shares() {
        let made = telegrams("3110=80,3210=15,3310=5");
        let mut counts: HashMap<[u8; 4], u32> = HashMap::new();
        for serial in 0..100_000 {
            *counts.entry(made.mti(serial)).or_default() += 1;
        }
        assert!(counts[b"3110"].abs_diff(80_000) < 800);
        assert!(counts[b"3210"].abs_diff(15_000) < 500);
        assert!(counts[b"3310"].abs_diff(5_000) < 300);
    }

    /// A bad mix names what is wrong with it.
    #[test]
    fn a_bad_mix_is_named() {
        assert!(matches!("3110".parse::<Mix>(), Err(MixError::Item { .. })));
        assert!(matches!(
            "3110=x".parse::<Mix>(),
            Err(MixError::Item { .. })
        ));
        assert!(matches!("9999=1".parse::<Mix>(), Err(MixError::Mti { .. })));
        assert_eq!("3110=0".parse::<Mix>(), Err(MixError::Empty));
    }

    /// The date turns at midnight in Japan, and leap days are there.
    #[test]
    fn the_date_is_japans() {
        assert_eq!(&date_of(0), b"700101");
        assert_eq!(&date_of(1_709_132_399), b"240228");
        assert_eq!(&date_of(1_709_132_400), b"240229");
        assert_eq!(&date_of(1_709_218_800), b"240301");
    }
}
