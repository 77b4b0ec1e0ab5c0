//! Sections 1-0 and 1-1, and the transaction key that 1-0 holds (`spec/cafis.md` 4.1, 4.2).

use std::fmt;

use thiserror::Error;

use crate::cafis::field::{Field, FieldKind, number, tiles};
use crate::cafis::frame::HEADER_LEN;
use crate::cafis::header::data;
use crate::cafis::mti::Mti;

/// Bytes of section 1-0.
pub const SECTION_10_LEN: usize = 47;
/// Bytes of section 1-1.
pub const SECTION_11_LEN: usize = 98;

use FieldKind::{Digits, DigitsOrSpaces, End, Text};

/// The layout of section 1-0.
pub const SECTION_10: [Field; 12] = [
    Field::new("error code", 0, 3, Text),
    Field::new("master MTI", 3, 4, Digits),
    Field::new("reserved", 7, 4, Digits),
    Field::new("send class", 11, 1, Digits),
    Field::new("approval number", 12, 7, Text),
    Field::new("terminal id", 19, 13, Text),
    Field::new("terminal sequence", 32, 5, DigitsOrSpaces),
    Field::new("processing date", 37, 6, DigitsOrSpaces),
    Field::new("additional-data indicator", 43, 1, DigitsOrSpaces),
    Field::new("service id", 44, 1, Text),
    Field::new("transaction kind", 45, 1, Text),
    Field::new("end", 46, 1, End),
];

/// The layout of section 1-1.
pub const SECTION_11: [Field; 8] = [
    Field::new("business class", 0, 1, Digits),
    Field::new("card class", 1, 1, Digits),
    Field::new("card encode content", 2, 69, Text),
    Field::new("PIN", 71, 4, Text),
    Field::new("product code", 75, 7, Digits),
    Field::new("amount", 82, 8, Digits),
    Field::new("tax and other", 90, 7, Digits),
    Field::new("end", 97, 1, End),
];

const _: () = assert!(tiles(&SECTION_10, SECTION_10_LEN));
const _: () = assert!(tiles(&SECTION_11, SECTION_11_LEN));

const ERROR_CODE: usize = 0;
const MASTER_MTI: usize = 1;
const APPROVAL: usize = 4;
const TERMINAL_ID: usize = 5;
const TERMINAL_SEQ: usize = 6;
const DATE: usize = 7;
const ENCODE_CONTENT: usize = 2;
const PIN: usize = 3;
const PRODUCT: usize = 4;
const AMOUNT: usize = 5;
const TAX: usize = 6;

/// Why bytes are not the section that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SectionError {
    /// Fewer bytes than the section has.
    #[error("{have} bytes are too few for a section of {want}")]
    TooShort {
        /// How many there were.
        have: usize,
        /// How long the section is.
        want: usize,
    },
    /// The byte where the section has to end is not `@`.
    #[error("a section of {want} bytes does not end in '@'")]
    NoEnd {
        /// How long the section is.
        want: usize,
    },
    /// The master MTI of 1-0 is not digits, so this is some other section.
    #[error("master MTI is not four digits")]
    MasterNotDigits,
}

/// Takes a section of `W` bytes from the front of `bytes`.
fn section<const W: usize>(bytes: &[u8]) -> Result<&[u8; W], SectionError> {
    let Some(section) = bytes.first_chunk::<W>() else {
        return Err(SectionError::TooShort {
            have: bytes.len(),
            want: W,
        });
    };
    if section.last() == Some(&b'@') {
        Ok(section)
    } else {
        Err(SectionError::NoEnd { want: W })
    }
}

/// Copies a field of a section; `W` is the width that the table gives.
#[inline]
fn take<const W: usize>(section: &[u8], field: Field) -> [u8; W] {
    let mut out = [0; W];
    out.copy_from_slice(&section[field.offset..field.offset + W]);
    out
}

/// A view of section 1-0. Invariant: it ends in `@` and its master MTI is digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section10<'a> {
    bytes: &'a [u8; SECTION_10_LEN],
    master_mti: Mti,
}

impl<'a> Section10<'a> {
    /// Views the front of `data`, which is what follows the header.
    #[inline]
    pub fn new(data: &'a [u8]) -> Result<Section10<'a>, SectionError> {
        let bytes = section::<SECTION_10_LEN>(data)?;
        let master = take(bytes, SECTION_10[MASTER_MTI]);
        let master_mti = Mti::from_digits(master).ok_or(SectionError::MasterNotDigits)?;
        Ok(Section10 { bytes, master_mti })
    }

    /// Views section 1-0 of a whole frame.
    #[inline]
    pub fn of(frame: &'a [u8]) -> Result<Section10<'a>, SectionError> {
        Section10::new(data(frame))
    }

    /// The 47 bytes.
    pub fn bytes(&self) -> &'a [u8; SECTION_10_LEN] {
        self.bytes
    }

    /// Error code, three spaces if there is none.
    #[inline]
    pub fn error_code(&self) -> [u8; 3] {
        take(self.bytes, SECTION_10[ERROR_CODE])
    }

    /// Master MTI, 0000 but in fault traffic.
    #[inline]
    pub fn master_mti(&self) -> Mti {
        self.master_mti
    }

    /// Send class: `1` stored, `2` online, `4` result notice.
    #[inline]
    pub fn send_class(&self) -> u8 {
        self.bytes[11]
    }

    /// Approval number, seven spaces if there is none.
    #[inline]
    pub fn approval(&self) -> [u8; 7] {
        take(self.bytes, SECTION_10[APPROVAL])
    }

    /// Terminal id: installer company 5, maker 2, model 1, serial 5.
    #[inline]
    pub fn terminal_id(&self) -> [u8; 13] {
        take(self.bytes, SECTION_10[TERMINAL_ID])
    }

    /// Terminal sequence.
    #[inline]
    pub fn terminal_seq(&self) -> [u8; 5] {
        take(self.bytes, SECTION_10[TERMINAL_SEQ])
    }

    /// Processing date YYMMDD.
    #[inline]
    pub fn date(&self) -> [u8; 6] {
        take(self.bytes, SECTION_10[DATE])
    }

    /// Additional-data indicator: `2` or `3` when sections 9-x-y are present.
    #[inline]
    pub fn additional_data(&self) -> u8 {
        self.bytes[43]
    }

    /// Service id, `J` for iD.
    #[inline]
    pub fn service_id(&self) -> u8 {
        self.bytes[44]
    }

    /// Transaction kind, `0` normally.
    #[inline]
    pub fn transaction_kind(&self) -> u8 {
        self.bytes[45]
    }

    /// The key under which merchant, centre and issuer know the transaction.
    #[inline]
    pub fn key(&self) -> TransactionKey {
        TransactionKey::from_parts(self.date(), self.terminal_id(), self.terminal_seq())
    }

    /// Whether both carry the same key.
    #[inline]
    pub fn has_key_of(&self, other: &Section10<'_>) -> bool {
        self.bytes[KEY.0..KEY.1] == other.bytes[KEY.0..KEY.1]
    }
}

/// The parts of the key lie side by side: terminal id, terminal sequence, date.
const KEY: (usize, usize) = (19, 43);
const _: () =
    assert!(SECTION_10[TERMINAL_ID].offset == KEY.0 && SECTION_10[DATE].offset + 6 == KEY.1);

/// The transaction key: processing date (6), terminal id (13), terminal sequence (5), in this order, so that keys
/// of one day and terminal sort together. The bytes are as in section 1-0 and may be spaces.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionKey(pub [u8; 24]);

impl TransactionKey {
    /// Puts a key together.
    #[inline]
    pub fn from_parts(
        date: [u8; 6],
        terminal_id: [u8; 13],
        terminal_seq: [u8; 5],
    ) -> TransactionKey {
        let mut key = [0; 24];
        key[..6].copy_from_slice(&date);
        key[6..19].copy_from_slice(&terminal_id);
        key[19..].copy_from_slice(&terminal_seq);
        TransactionKey(key)
    }

    /// Reads 24 bytes in the order of the parts; `None` if there are more or fewer.
    pub fn parse(bytes: &[u8]) -> Option<TransactionKey> {
        bytes.try_into().ok().map(TransactionKey)
    }

    /// The key of a whole frame; `None` if it has no section 1-0.
    pub fn of(frame: &[u8]) -> Option<TransactionKey> {
        Section10::of(frame).ok().map(|section| section.key())
    }

    /// Processing date YYMMDD.
    pub fn date(&self) -> [u8; 6] {
        self.part::<0, 6>()
    }

    /// Terminal id.
    pub fn terminal_id(&self) -> [u8; 13] {
        self.part::<6, 13>()
    }

    /// Terminal sequence.
    pub fn terminal_seq(&self) -> [u8; 5] {
        self.part::<19, 5>()
    }

    fn part<const AT: usize, const W: usize>(&self) -> [u8; W] {
        let mut out = [0; W];
        out.copy_from_slice(&self.0[AT..AT + W]);
        out
    }
}

impl From<([u8; 6], [u8; 13], [u8; 5])> for TransactionKey {
    fn from((date, terminal_id, terminal_seq): ([u8; 6], [u8; 13], [u8; 5])) -> Self {
        TransactionKey::from_parts(date, terminal_id, terminal_seq)
    }
}

/// Date, terminal and sequence between slashes; bytes that are not ASCII are escaped.
impl fmt::Display for TransactionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (date, rest) = self.0.split_at(6);
        let (terminal, sequence) = rest.split_at(13);
        write!(
            f,
            "{}/{}/{}",
            date.escape_ascii(),
            terminal.escape_ascii(),
            sequence.escape_ascii()
        )
    }
}

impl fmt::Debug for TransactionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TransactionKey({self})")
    }
}

/// A card's encode content, 69 bytes. It shows no digit, whoever prints it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CardContent<'a>(&'a [u8]);

impl<'a> CardContent<'a> {
    /// The bytes, for those who may have them.
    pub fn bytes(&self) -> &'a [u8] {
        self.0
    }
}

impl fmt::Debug for CardContent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CardContent(..)")
    }
}

/// A view of section 1-1. Invariant: it ends in `@`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Section11<'a> {
    bytes: &'a [u8; SECTION_11_LEN],
}

impl<'a> Section11<'a> {
    /// Views the front of `bytes`, which is what follows section 1-0.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Result<Section11<'a>, SectionError> {
        section::<SECTION_11_LEN>(bytes).map(|bytes| Section11 { bytes })
    }

    /// Views section 1-1 of a whole frame that has one.
    #[inline]
    pub fn of(frame: &'a [u8]) -> Result<Section11<'a>, SectionError> {
        Section10::of(frame)?;
        Section11::new(&data(frame)[SECTION_10_LEN..])
    }

    /// Business class: `1` sale, `2` authorisation, `4` cancel.
    pub fn business_class(&self) -> u8 {
        self.bytes[0]
    }

    /// Card class: how the encode content is laid out.
    pub fn card_class(&self) -> u8 {
        self.bytes[1]
    }

    /// The encode content.
    pub fn encode_content(&self) -> CardContent<'a> {
        CardContent(self.raw(ENCODE_CONTENT))
    }

    /// The PIN field, four bytes.
    pub fn pin(&self) -> CardContent<'a> {
        CardContent(self.raw(PIN))
    }

    /// Product code.
    pub fn product(&self) -> [u8; 7] {
        take(self.bytes, SECTION_11[PRODUCT])
    }

    /// Amount in yen; `None` if it is not digits.
    pub fn amount(&self) -> Option<u32> {
        number(self.raw(AMOUNT))
    }

    /// Tax and other in yen; `None` if it is not digits.
    pub fn tax(&self) -> Option<u32> {
        number(self.raw(TAX))
    }

    fn raw(&self, index: usize) -> &'a [u8] {
        let Field { offset, width, .. } = SECTION_11[index];
        &self.bytes[offset..offset + width]
    }
}

impl fmt::Debug for Section11<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Section11")
            .field("amount", &self.amount())
            .finish_non_exhaustive()
    }
}

/// Replaces the error code of section 1-0 in a frame. `false`, and nothing changed, if the frame has no 1-0.
pub fn set_error_code(frame: &mut [u8], code: [u8; 3]) -> bool {
    set(frame, SECTION_10[ERROR_CODE], &code)
}

/// Replaces the master MTI of section 1-0 in a frame. `false`, and nothing changed, if the frame has no 1-0.
pub fn set_master_mti(frame: &mut [u8], master: Mti) -> bool {
    set(frame, SECTION_10[MASTER_MTI], &master.digits())
}

/// Replaces the approval number of section 1-0 in a frame. `false`, and nothing changed, if the frame has no 1-0.
pub fn set_approval(frame: &mut [u8], approval: [u8; 7]) -> bool {
    set(frame, SECTION_10[APPROVAL], &approval)
}

fn set(frame: &mut [u8], field: Field, value: &[u8]) -> bool {
    if Section10::of(frame).is_err() {
        return false;
    }
    let start = HEADER_LEN + field.offset;
    frame[start..start + field.width].copy_from_slice(value);
    true
}
