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

/// Recognises what an extended part begins with.
fn extended(rest: &[u8]) -> (SectionKind, usize) {
    if let Some(found) = identified(rest) {
        return found;
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
        b"0601" => (SectionKind::S9_6_1, 30),
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
