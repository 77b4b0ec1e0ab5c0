//! Finding the sections of a message (`spec/cafis.md` 4.3 to 4.5).
//!
//! Sections carry no common tag: the first ones follow from the message type and from each other, the extended ones
//! are found by their four-byte id together with an `@` where their length says they end. Binary data may hold any
//! byte, so `@` alone ends a section only where nothing better is known. What cannot be told is named
//! [`SectionKind::Unparsed`], and whoever handles card data treats it as if it held some.

use memchr::{memchr, memchr_iter};

use super::fixed::{SECTION_10_LEN, SECTION_11_LEN, Section10};
use crate::cafis::field::number;
use crate::cafis::mti::Mti;

/// The sections of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SectionKind {
    /// 1-0: error code, master MTI, transaction key.
    S1_0,
    /// 1-1: card and amount.
    S1_1,
    /// 1-2: enquiry code.
    S1_2,
    /// 1-3: original slip of a business cancel.
    S1_3,
    /// 1-4: handling code.
    S1_4,
    /// 1-6: lost or stolen card.
    S1_6,
    /// 2-1 to 2-6: how it is paid.
    S2X,
    /// 2-7: approval number.
    S2_7,
    /// 2-10: card of an enquiry.
    S2_10,
    /// 9-n: reconciliation and end notice.
    S9N,
    /// 9-1-2: 3-D Secure and token, opaque.
    S9_1_2,
    /// 9-1-3: opaque.
    S9_1_3,
    /// 9-6-1: security code.
    S9_6_1,
    /// 9-6-4: iD keys.
    S9_6_4,
    /// 9-6-6: opaque.
    S9_6_6,
    /// 9-7-1: IC online.
    S9_7_1,
    /// 9-7-3: IC advice.
    S9_7_3,
    /// 9-7-4: IC result, opaque.
    S9_7_4,
    /// 9-7-6: iD advice.
    S9_7_6,
    /// 9-10-4: brand data.
    S9_10_4,
    /// E: counters or free text, the whole data part.
    E,
    /// A section that this interface does not describe, up to its `@` (O-23).
    Unknown,
    /// Bytes that are no section: the frame is malformed from here to its end.
    Unparsed,
}

impl SectionKind {
    /// The name that the interface uses.
    pub const fn name(self) -> &'static str {
        match self {
            SectionKind::S1_0 => "1-0",
            SectionKind::S1_1 => "1-1",
            SectionKind::S1_2 => "1-2",
            SectionKind::S1_3 => "1-3",
            SectionKind::S1_4 => "1-4",
            SectionKind::S1_6 => "1-6",
            SectionKind::S2X => "2-X",
            SectionKind::S2_7 => "2-7",
            SectionKind::S2_10 => "2-10",
            SectionKind::S9N => "9-n",
            SectionKind::S9_1_2 => "9-1-2",
            SectionKind::S9_1_3 => "9-1-3",
            SectionKind::S9_6_1 => "9-6-1",
            SectionKind::S9_6_4 => "9-6-4",
            SectionKind::S9_6_6 => "9-6-6",
            SectionKind::S9_7_1 => "9-7-1",
            SectionKind::S9_7_3 => "9-7-3",
            SectionKind::S9_7_4 => "9-7-4",
            SectionKind::S9_7_6 => "9-7-6",
            SectionKind::S9_10_4 => "9-10-4",
            SectionKind::E => "E",
            SectionKind::Unknown => "unknown",
            SectionKind::Unparsed => "unparsed",
        }
    }
}

/// Where a section lies: `start..end`, counted from the first byte after the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Which section.
    pub kind: SectionKind,
    /// Its first byte.
    pub start: usize,
    /// The byte behind its last.
    pub end: usize,
}

/// The sections of a message as slices, in their order, without gap: together they are all of `data`.
#[derive(Clone, Copy, Debug)]
pub struct Sections<'a> {
    data: &'a [u8],
    walk: Walk,
}

/// The sections of a message; `data` is what follows the header.
pub fn sections(mti: Mti, data: &[u8]) -> Sections<'_> {
    Sections {
        data,
        walk: Walk::new(mti),
    }
}

impl<'a> Iterator for Sections<'a> {
    type Item = (SectionKind, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let Span { kind, start, end } = self.walk.next(self.data)?;
        Some((kind, &self.data[start..end]))
    }
}

/// What may come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Section 1-0, or E alone.
    First,
    /// The section that says what kind of business it is.
    Body,
    /// 1-3, only in a business cancel.
    Slip,
    /// 2-1 to 2-7.
    Payment,
    /// 2-10.
    Card,
    /// 9-n to the end.
    Reconciliation,
    /// 9-x-y and unknown sections, in any order.
    Extended,
}

/// A walk over the sections that holds no borrow, so that they can be changed on the way (lengths stay).
#[derive(Clone, Copy, Debug)]
pub struct Walk {
    mti: Mti,
    at: usize,
    stage: Stage,
}

impl Walk {
    /// A walk over the data of a message of type `mti`.
    pub fn new(mti: Mti) -> Walk {
        Walk {
            mti,
            at: 0,
            stage: Stage::First,
        }
    }

    /// The next section of `data`, which must be the same at every call; `None` at its end.
    pub fn next(&mut self, data: &[u8]) -> Option<Span> {
        let rest = data.get(self.at..).filter(|rest| !rest.is_empty())?;
        let (kind, length) = self.step(rest);
        let start = self.at;
        self.at += length;
        Some(Span {
            kind,
            start,
            end: self.at,
        })
    }

    /// Recognises what `rest`, which is not empty, begins with, and moves the stage.
    fn step(&mut self, rest: &[u8]) -> (SectionKind, usize) {
        if self.stage == Stage::First {
            return self.first(rest);
        }
        if self.stage == Stage::Body {
            return self.body(rest);
        }
        if self.stage == Stage::Slip {
            self.stage = Stage::Payment;
            if memchr(b'@', rest) == Some(SLIP_LEN - 1) {
                return (SectionKind::S1_3, SLIP_LEN);
            }
        }
        if self.stage == Stage::Payment {
            self.stage = Stage::Extended;
            if let Some(found) = payment(rest) {
                return found;
            }
        }
        if self.stage == Stage::Card {
            self.stage = Stage::Extended;
            return match rest.get(ENQUIRED_CARD_LEN - 1) {
                Some(b'@') => (SectionKind::S2_10, ENQUIRED_CARD_LEN),
                _ => (SectionKind::Unparsed, rest.len()),
            };
        }
        if self.stage == Stage::Reconciliation {
            return (SectionKind::S9N, rest.len());
        }
        extended(rest)
    }

    fn first(&mut self, rest: &[u8]) -> (SectionKind, usize) {
        let counters = [
            Mti::COUNTER_NOTICE,
            Mti::COUNTER_NOTICE_REPORT,
            Mti::COUNTER_ENQUIRY_REPORT,
        ];
        if counters.contains(&self.mti) {
            return (SectionKind::E, rest.len());
        }
        if Section10::new(rest).is_ok() {
            self.stage = Stage::Body;
            return (SectionKind::S1_0, SECTION_10_LEN);
        }
        match self.mti {
            Mti::ENQUIRY_APPROVAL => (SectionKind::E, rest.len()),
            _ => (SectionKind::Unparsed, rest.len()),
        }
    }

    /// Fault messages and abnormal reports carry the sections of a request of any type, so that the section behind
    /// 1-0 is told by its own shape.
    fn body(&mut self, rest: &[u8]) -> (SectionKind, usize) {
        let (kind, length, next) = match rest {
            [b'3', b'0', b'1' | b'2', b'@', ..] => (SectionKind::S1_2, 4, Stage::Reconciliation),
            [b'3', _, _, b'@', ..] => (SectionKind::S1_2, 4, Stage::Card),
            [b'5', b'9', b'8', b'@', ..] => (SectionKind::S1_4, 4, Stage::Reconciliation),
            [b'5', b'5'..=b'8', _, b'@', ..] => (SectionKind::S1_4, 4, Stage::Card),
            [b'5', _, _, b'@', ..] => (SectionKind::S1_4, 4, Stage::Extended),
            _ if rest.len() == LOST_CARD_LEN && rest.ends_with(b"@") => {
                (SectionKind::S1_6, LOST_CARD_LEN, Stage::Extended)
            }
            [class, ..] if rest.get(SECTION_11_LEN - 1) == Some(&b'@') => {
                let next = if *class == b'4' {
                    Stage::Slip
                } else {
                    Stage::Payment
                };
                (SectionKind::S1_1, SECTION_11_LEN, next)
            }
            _ => (SectionKind::Unparsed, rest.len(), Stage::Extended),
        };
        self.stage = next;
        (kind, length)
    }
}

const SLIP_LEN: usize = 10;
const ENQUIRED_CARD_LEN: usize = 75;
const LOST_CARD_LEN: usize = 30;
const PAYMENT_LEN_MAX: usize = 84;
const PRIOR_APPROVAL_LEN: usize = 8;

/// Recognises one of 2-1 to 2-7 at the front of `rest`.
fn payment(rest: &[u8]) -> Option<(SectionKind, usize)> {
    if identified(rest).is_some() {
        return None;
    }
    let length = memchr(b'@', &rest[..rest.len().min(PAYMENT_LEN_MAX)])? + 1;
    let tagged = matches!(
        rest,
        [b'2', b'1'..=b'5', ..] | [b'6', b'1'..=b'3', ..] | [b'8', b'1'..=b'4', ..]
    );
    match length {
        PRIOR_APPROVAL_LEN => Some((SectionKind::S2_7, length)),
        3 => Some((SectionKind::S2X, length)),
        _ if tagged => Some((SectionKind::S2X, length)),
        _ => None,
    }
}

/// The ids that [`identified`] knows.
const IDS: [&[u8; 4]; 8] = [
    b"0102", b"0103", b"0601", b"0604", b"0701", b"0703", b"0706", b"1004",
];

/// Recognises what an extended part begins with.
fn extended(rest: &[u8]) -> (SectionKind, usize) {
    if let Some(found) = identified(rest) {
        return found;
    }
    // The interface would search on behind the next '@'; but what has the id of a section with card data and not
    // its shape must not be taken for something harmless.
    if IDS.iter().any(|id| rest.starts_with(*id)) {
        return (SectionKind::Unparsed, rest.len());
    }
    // These two have an id but no known length: they end at an '@' behind which something known begins, or nothing.
    let unmeasured = match rest {
        [b'0', b'7', b'0', b'4', ..] => Some(SectionKind::S9_7_4),
        [b'0', b'6', b'0', b'6', ..] => Some(SectionKind::S9_6_6),
        _ => None,
    };
    if let Some(kind) = unmeasured {
        let ends = |end: &usize| *end == rest.len() || identified(&rest[*end..]).is_some();
        return match memchr_iter(b'@', rest).map(|at| at + 1).find(ends) {
            Some(end) => (kind, end),
            None => (SectionKind::Unparsed, rest.len()),
        };
    }
    match memchr(b'@', rest) {
        Some(2) if rest[..2].iter().all(u8::is_ascii_digit) => (SectionKind::S9N, 3),
        Some(at) => (SectionKind::Unknown, at + 1),
        None => (SectionKind::Unparsed, rest.len()),
    }
}

/// Recognises a section 9-x-y by its id and by the `@` where its length says it ends.
fn identified(rest: &[u8]) -> Option<(SectionKind, usize)> {
    let length_at =
        |at: usize, width: usize| number(rest.get(at..at + width)?).map(|length| length as usize);
    let (kind, length) = match rest.first_chunk::<4>()? {
        b"0102" => (SectionKind::S9_1_2, 111),
        b"0103" => (SectionKind::S9_1_3, 138),
        // Fixed at 30, but the widths of its fields add up to 29; a security code must not be missed for that.
        b"0601" if rest.get(29) == Some(&b'@') => (SectionKind::S9_6_1, 30),
        b"0601" => (SectionKind::S9_6_1, 29),
        b"0604" => {
            let new_length = length_at(29, 4)?;
            (
                SectionKind::S9_6_4,
                38 + new_length + length_at(33 + new_length, 4)?,
            )
        }
        b"0701" => (SectionKind::S9_7_1, 119 + length_at(113, 4)?),
        b"0703" => (SectionKind::S9_7_3, 434 + length_at(428, 4)?),
        b"0706" => (SectionKind::S9_7_6, 142),
        b"1004" => (SectionKind::S9_10_4, 16 + length_at(11, 3)?),
        _ => return None,
    };
    (rest.get(length - 1) == Some(&b'@')).then_some((kind, length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use SectionKind::*;

    const COMMON: &[u8] = b"   000000002       123459900000100123991130200@";

    fn kinds(mti: Mti, parts: &[&[u8]]) -> Vec<(SectionKind, usize)> {
        let data = parts.concat();
        sections(mti, &data)
            .map(|(kind, section)| (kind, section.len()))
            .collect()
    }

    fn card(class: u8) -> Vec<u8> {
        [
            &[class, b'1'],
            [b' '; 69].as_slice(),
            b"00000000000000050000000500@",
        ]
        .concat()
    }

    /// A section of `length` bytes with `id`, in which every other byte that is not fixed by `patches` is an `@`,
    /// as binary data may have it.
    fn extended(id: &str, length: usize, patches: &[(usize, &str)]) -> Vec<u8> {
        let mut section = vec![b'@'; length];
        for (at, text) in [(0, id)].iter().chain(patches) {
            section[*at..at + text.len()].copy_from_slice(text.as_bytes());
        }
        section
    }

    /// Extended sections are found by id and length in any order, whatever binary data they hold.
    #[test]
    fn extended_sections_are_found_by_their_length() {
        let online = extended("0701", 119 + 25, &[(113, "0025")]);
        let brand = extended("1004", 16 + 7, &[(11, "007")]);
        let code = extended("0601", 30, &[]);
        let token = extended("0102", 111, &[]);
        let more = extended("0103", 138, &[]);
        assert_eq!(
            kinds(
                Mti::SALE_REQUEST,
                &[
                    COMMON,
                    &card(b'1'),
                    b"61C03@",
                    &brand,
                    &online,
                    &token,
                    &more,
                    &code
                ]
            ),
            [
                (S1_0, 47),
                (S1_1, 98),
                (S2X, 6),
                (S9_10_4, 23),
                (S9_7_1, 144),
                (S9_1_2, 111),
                (S9_1_3, 138),
                (S9_6_1, 30)
            ]
        );
        let advice = extended("0703", 434 + 3, &[(428, "0003")]);
        assert_eq!(
            kinds(Mti::OTHER_REQUEST, &[COMMON, b"5A1@", &advice])[2],
            (S9_7_3, 437)
        );
        let keys = extended("0604", 38 + 40 + 20, &[(29, "0040"), (73, "0020")]);
        assert_eq!(
            kinds(Mti::OTHER_APPROVAL, &[COMMON, b"5D1@", &keys])[2],
            (S9_6_4, 98)
        );
        assert_eq!(
            kinds(
                Mti::OTHER_REQUEST,
                &[COMMON, b"5A4@", &extended("0706", 142, &[])]
            )[2],
            (S9_7_6, 142)
        );
    }

    /// Section 9-6-1 is given as 30 bytes while the widths of its fields add up to 29: both are taken, the security code
    /// is zeroed in either, and what follows is found behind it.
    #[test]
    fn a_security_code_has_either_length() {
        let brand = extended("1004", 16, &[(11, "000")]);
        for length in [29, 30] {
            let code = extended("0601", length, &[(6, "1234")]);
            assert_eq!(
                kinds(
                    Mti::AUTH_REQUEST,
                    &[COMMON, &card(b'1'), &code, &brand, &code]
                )[2..],
                [(S9_6_1, length), (S9_10_4, 16), (S9_6_1, length)]
            );
            let data = [COMMON, &card(b'1'), &code].concat();
            let header = crate::cafis::header::HeaderBuilder {
                mti: Mti::AUTH_REQUEST,
                trailer: data.len() as u16,
                ..Default::default()
            };
            let mut image = [&header.to_bytes()[..], &data].concat();
            crate::cafis::fault::make_image(&mut image).expect("it has sections");
            let at = 63 + COMMON.len() + card(b'1').len();
            assert_eq!(&image[at..at + 10], b"0601@@0000");
        }
    }

    /// A section without a length ends where something known begins, or at the end.
    #[test]
    fn sections_without_a_length_end_where_another_begins() {
        let result = b"0704 any@thing at all@";
        let brand = extended("1004", 16, &[(11, "000")]);
        assert_eq!(
            kinds(
                Mti::SALE_REQUEST,
                &[COMMON, &card(b'1'), b"10@", result, &brand]
            )[3..],
            [(S9_7_4, result.len()), (S9_10_4, 16)]
        );
        assert_eq!(
            kinds(
                Mti::SALE_REQUEST,
                &[COMMON, &card(b'1'), b"10@", b"0606 any@thing@"]
            )[3..],
            [(S9_6_6, 15)]
        );
    }

    /// The sections behind 1-0 follow from each other, in reports and fault messages as in requests.
    #[test]
    fn fixed_sections_follow_from_each_other() {
        let enquired = [[b'1'; 74].as_slice(), b"@"].concat();
        let cases: [(&[&[u8]], &[SectionKind]); 7] = [
            (
                &[&card(b'4'), b"123451110@", b"1234567@"],
                &[S1_1, S1_3, S2_7],
            ),
            (&[&card(b'4'), b"123451110@"], &[S1_1, S1_3]),
            (&[&card(b'2'), b"11@"], &[S1_1, S2X]),
            (&[b"301@", b"10@"], &[S1_2, S9N]),
            (&[b"350@", &enquired], &[S1_2, S2_10]),
            (&[b"561@", &enquired, b"10@"], &[S1_4, S2_10, S9N]),
            (
                &[&card(b'1'), b"10@", b"C nobody knows@"],
                &[S1_1, S2X, Unknown],
            ),
        ];
        for (parts, wanted) in cases {
            for mti in [Mti::SALE_REQUEST, Mti::CANCEL_CONFIRM, Mti::ABNORMAL] {
                let found = kinds(mti, &[&[COMMON], parts].concat());
                let found: Vec<SectionKind> = found.into_iter().map(|(kind, _)| kind).collect();
                assert_eq!(found[1..], *wanted, "{mti}");
            }
        }
    }

    /// Bytes that are no section are said to be none, up to the end.
    #[test]
    fn bytes_that_are_no_section_are_named() {
        let cut = &card(b'1')[..90];
        assert_eq!(kinds(Mti::AUTH_REQUEST, &[COMMON, cut])[1], (Unparsed, 90));
        assert_eq!(kinds(Mti::AUTH_REQUEST, &[b"@@@"]), [(Unparsed, 3)]);
        assert_eq!(
            kinds(Mti::ENQUIRY_REQUEST, &[COMMON, b"350@", b"1411111@"])[2],
            (Unparsed, 8)
        );
        assert_eq!(
            kinds(Mti::AUTH_REQUEST, &[COMMON, &card(b'1'), b"0601123"])[2],
            (Unparsed, 7)
        );
        assert_eq!(kinds(Mti::ENQUIRY_APPROVAL, &[b"free text@"]), [(E, 10)]);
        assert_eq!(kinds(Mti::AUTH_REQUEST, &[]), []);
    }
}
