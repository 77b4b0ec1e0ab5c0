//! The message types of the interface as data (`spec/cafis.md` 3.1 to 3.4).
//!
//! [`TABLE`] is the single place that knows which types exist, what answers what, who may send it, which timer
//! watches it and which sections it carries. State machines, the parsers, the simulator, displays and tests walk it.

use std::fmt;

use super::field::{number, put_number};
use super::header::data;
use super::section::SECTION_10_LEN;
use super::section::SectionKind::{self, *};

/// A message type: its four digits as a number. `0010` is `Mti(10)`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mti(pub u16);

/// The names that code uses for the types of [`TABLE`].
#[rustfmt::skip]
#[allow(missing_docs, reason = "each row of TABLE names and describes the type")]
impl Mti {
    pub const START_COMMAND: Mti = Mti(10);
    pub const START_READY: Mti = Mti(120);
    pub const END_NOTICE: Mti = Mti(610);
    pub const END_READY: Mti = Mti(620);
    pub const SIGN_OFF: Mti = Mti(720);
    pub const SIGN_OFF_PERMITTED: Mti = Mti(810);
    pub const END_COMMAND: Mti = Mti(910);
    pub const END_REPORT: Mti = Mti(920);
    pub const AUTH_REQUEST: Mti = Mti(3110);
    pub const AUTH_APPROVAL: Mti = Mti(3120);
    pub const AUTH_REFUSAL: Mti = Mti(3150);
    pub const SALE_REQUEST: Mti = Mti(3210);
    pub const SALE_APPROVAL: Mti = Mti(3220);
    pub const SALE_REFUSAL: Mti = Mti(3250);
    pub const BUSINESS_CANCEL_REQUEST: Mti = Mti(3310);
    pub const BUSINESS_CANCEL_APPROVAL: Mti = Mti(3320);
    pub const BUSINESS_CANCEL_REFUSAL: Mti = Mti(3350);
    pub const ENQUIRY_REQUEST: Mti = Mti(3410);
    pub const ENQUIRY_APPROVAL: Mti = Mti(3420);
    pub const ENQUIRY_REFUSAL: Mti = Mti(3450);
    pub const OTHER_REQUEST: Mti = Mti(3510);
    pub const OTHER_APPROVAL: Mti = Mti(3520);
    pub const OTHER_REFUSAL: Mti = Mti(3550);
    pub const COUNTER_NOTICE: Mti = Mti(4110);
    pub const COUNTER_NOTICE_REPORT: Mti = Mti(4120);
    pub const COUNTER_ENQUIRY: Mti = Mti(4910);
    pub const COUNTER_ENQUIRY_REPORT: Mti = Mti(4920);
    pub const LOST_CARD_REQUEST: Mti = Mti(6110);
    pub const LOST_CARD_APPROVAL: Mti = Mti(6120);
    pub const LOST_CARD_REFUSAL: Mti = Mti(6150);
    pub const SIGN_ON: Mti = Mti(7020);
    pub const SIGN_ON_PERMITTED: Mti = Mti(7110);
    pub const CANCEL: Mti = Mti(8910);
    pub const CANCEL_AGAIN: Mti = Mti(8920);
    pub const CANCEL_CONFIRM: Mti = Mti(8930);
    pub const CANCEL_CONFIRM_AGAIN: Mti = Mti(8940);
    pub const CANCEL_REPORT: Mti = Mti(8950);
    pub const CANCEL_CONFIRM_REPORT: Mti = Mti(8960);
    pub const ABNORMAL: Mti = Mti(8970);
    pub const LINE_CHECK: Mti = Mti(9210);
    pub const LINE_CHECK_REPORT: Mti = Mti(9220);
}

impl Mti {
    /// Reads the four bytes of a header or of a master MTI; `None` if they are not digits.
    #[inline]
    pub fn from_digits(digits: [u8; 4]) -> Option<Mti> {
        number(&digits)
            .and_then(|value| u16::try_from(value).ok())
            .map(Mti)
    }

    /// The four bytes.
    ///
    /// # Panics
    /// If the number has more than four digits.
    #[inline]
    pub fn digits(self) -> [u8; 4] {
        let mut out = [0; 4];
        put_number(&mut out, u32::from(self.0));
        out
    }
}

impl fmt::Display for Mti {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}", self.0)
    }
}

impl fmt::Debug for Mti {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mti({:04})", self.0)
    }
}

/// The family of a message type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Opens, closes or tests service: header only.
    Control,
    /// Counters of the centre.
    Service,
    /// Business of cardholders.
    Business,
    /// Undoes one business request.
    Fault,
}

/// Who may send a message type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The gateway alone.
    FromGateway,
    /// The centre alone.
    FromCentre,
    /// Either: the gateway on outward routes, the centre on inward ones, and answers the other way.
    Either,
}

/// The part that a message type plays in an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Asks for business or for a change of service.
    Request,
    /// Instructs.
    Command,
    /// Tells; it is answered by a completion report.
    Notice,
    /// Answers a request: done.
    Approval,
    /// Answers a request: refused by the issuer.
    Refusal,
    /// Answers a command or a notice.
    Report,
    /// Answers anything on an outward route: the centre could not process it.
    Abnormal,
}

/// The supervision timers of `spec/cafis.md` 7 that watch for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "the specification names timers by number; MessageType says what each watches"
)]
pub enum Timer {
    T10,
    T12,
    T13,
    T15,
    T16,
    T31,
    T32,
    T33,
    T34,
    T35,
}

impl Timer {
    /// The interface's default in seconds.
    pub const fn default_s(self) -> u64 {
        match self {
            Timer::T13 | Timer::T15 => 55,
            Timer::T31 | Timer::T32 => 58,
            Timer::T35 => 750,
            Timer::T10 | Timer::T12 | Timer::T16 | Timer::T33 | Timer::T34 => 30,
        }
    }
}

/// Whether a message type carries a section always or at times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectionRule {
    /// Which section.
    pub kind: SectionKind,
    /// Whether every message of the type carries it.
    pub always: bool,
}

/// One row of [`TABLE`].
#[derive(Debug)]
pub struct MessageType {
    /// The type.
    pub mti: Mti,
    /// English name.
    pub name: &'static str,
    /// The interface's own name.
    pub japanese: &'static str,
    /// Family.
    pub class: Class,
    /// Who may send it.
    pub direction: Direction,
    /// Its part in an exchange.
    pub kind: Kind,
    /// The types that answer it; empty if nothing does.
    pub answers: &'static [Mti],
    /// The gateway's timer for the answer, where the gateway sends it.
    pub timer: Option<Timer>,
    /// The centre's timer for the answer, where the centre sends it.
    pub centre_timer: Option<Timer>,
    /// The sections it may carry, in their order as far as that is fixed.
    pub sections: &'static [SectionRule],
}

impl MessageType {
    /// The answer of the given kind, if this type has one.
    pub fn answer(&self, kind: Kind) -> Option<Mti> {
        self.answers
            .iter()
            .copied()
            .find(|&mti| lookup(mti).is_some_and(|answer| answer.kind == kind))
    }

    const fn timers(mut self, timer: Option<Timer>, centre_timer: Option<Timer>) -> MessageType {
        self.timer = timer;
        self.centre_timer = centre_timer;
        self
    }
}

/// The row of a message type, found without a search; `None` if the interface has no such type.
#[inline]
pub fn lookup(mti: Mti) -> Option<&'static MessageType> {
    TABLE.get(usize::from(*INDEX.get(usize::from(mti.0))?))
}

/// Whether `answer` is one of the types that answer `mti` (`spec/cafis.md` 9.1).
#[inline]
pub fn is_answered_by(mti: Mti, answer: Mti) -> bool {
    lookup(mti).is_some_and(|message| message.answers.contains(&answer))
}

/// Whether the centre answers a request itself, so that no fault message may ever follow it
/// (`spec/cafis.md` 8.2): 4910, and 3510 whose section 1-4 is 592, 5D1 or 5A4. `data` is what follows the header.
#[inline]
pub fn is_turnaround(mti: Mti, data: &[u8]) -> bool {
    match mti {
        Mti::COUNTER_ENQUIRY => true,
        Mti::OTHER_REQUEST => data
            .get(SECTION_10_LEN..SECTION_10_LEN + 4)
            .is_some_and(|section| TURNAROUND.iter().any(|code| section == *code)),
        _ => false,
    }
}

/// [`is_turnaround`] for a whole frame.
pub fn is_turnaround_frame(frame: &[u8]) -> bool {
    super::header::Header::new(frame).is_ok_and(|header| is_turnaround(header.mti(), data(frame)))
}

const TURNAROUND: [&[u8; 4]; 3] = [b"592@", b"5D1@", b"5A4@"];

use Class::{Business, Control, Fault, Service};
use Direction::{Either, FromCentre, FromGateway};
use Kind::{Abnormal, Approval, Command, Notice, Refusal, Report, Request};
use Timer::*;

/// Every message type of the interface, by number.
#[rustfmt::skip]
pub static TABLE: [MessageType; 41] = [
    row(10, "start command", "開始指令", Control, FromCentre, Command, &[Mti(120)], NONE).timers(None, Some(T10)),
    row(120, "start ready report", "開始準備完了報告", Control, FromGateway, Report, &[], NONE),
    row(610, "end notice", "終了予告指令", Control, FromCentre, Notice, &[Mti(620)], NONE).timers(None, Some(T12)),
    row(620, "end ready report", "終了準備完了報告", Control, FromGateway, Report, &[], NONE),
    row(720, "end request", "終了要求", Control, FromGateway, Request, &[Mti(810)], NONE).timers(Some(T35), None),
    row(810, "end permission", "終了許可指令", Control, FromCentre, Approval, &[], NONE),
    row(910, "end command", "終了指令", Control, FromCentre, Command, &[Mti(920)], NONE).timers(None, Some(T10)),
    row(920, "end report", "終了報告", Control, FromGateway, Report, &[], NONE),
    row(3110, "authorisation request", "与信要求", Business, Either, Request, &[Mti(3120), Mti(3150), Mti(8970)], CARD).timers(Some(T31), Some(T13)),
    row(3120, "authorisation approval", "与信許可報告", Business, Either, Approval, &[], CARD),
    row(3150, "authorisation refusal", "与信拒否報告", Business, Either, Refusal, &[], CARD),
    row(3210, "sale request", "売上要求", Business, Either, Request, &[Mti(3220), Mti(3250), Mti(8970)], SALE).timers(Some(T31), Some(T13)),
    row(3220, "sale approval", "売上許可報告", Business, Either, Approval, &[], SALE),
    row(3250, "sale refusal", "売上拒否報告", Business, Either, Refusal, &[], SALE),
    row(3310, "business cancel request", "取消要求", Business, Either, Request, &[Mti(3320), Mti(3350), Mti(8970)], CANCEL).timers(Some(T31), Some(T13)),
    row(3320, "business cancel approval", "取消許可報告", Business, Either, Approval, &[], CANCEL),
    row(3350, "business cancel refusal", "取消拒否報告", Business, Either, Refusal, &[], CANCEL),
    row(3410, "enquiry request", "照会要求", Business, Either, Request, &[Mti(3420), Mti(3450), Mti(8970)], ENQUIRY).timers(Some(T31), Some(T13)),
    row(3420, "enquiry approval", "照会許可報告", Business, Either, Approval, &[], ENQUIRY_APPROVAL),
    row(3450, "enquiry refusal", "照会拒否報告", Business, Either, Refusal, &[], ENQUIRY),
    row(3510, "other request", "その他要求", Business, Either, Request, &[Mti(3520), Mti(3550), Mti(8970)], OTHER).timers(Some(T31), Some(T13)),
    row(3520, "other approval", "その他許可報告", Business, Either, Approval, &[], OTHER),
    row(3550, "other refusal", "その他拒否報告", Business, Either, Refusal, &[], OTHER),
    row(4110, "counter notification", "カウンタ通知", Service, FromCentre, Notice, &[Mti(4120)], COUNTERS).timers(None, Some(T13)),
    row(4120, "counter complete report", "カウンタ完了報告", Service, FromGateway, Report, &[], COUNTERS),
    row(4910, "counter enquiry", "カウンタ照会要求", Service, FromGateway, Request, &[Mti(4920), Mti(8970)], COMMON).timers(Some(T31), None),
    row(4920, "counter enquiry report", "カウンタ照会報告", Service, FromCentre, Approval, &[], COUNTERS),
    row(6110, "lost card request", "事故カード中継要求", Business, Either, Request, &[Mti(6120), Mti(6150), Mti(8970)], LOST_CARD).timers(Some(T31), Some(T13)),
    row(6120, "lost card approval", "事故カード中継許可報告", Business, Either, Approval, &[], LOST_CARD),
    row(6150, "lost card refusal", "事故カード中継拒否報告", Business, Either, Refusal, &[], LOST_CARD),
    row(7020, "restart request", "再開始要求", Control, FromGateway, Request, &[Mti(7110)], NONE).timers(Some(T34), None),
    row(7110, "restart permission", "再開始許可指令", Control, FromCentre, Approval, &[], NONE),
    row(8910, "cancel command", "取消指令", Fault, Either, Command, &[Mti(8950), Mti(8970)], ANY).timers(Some(T32), Some(T15)),
    row(8920, "cancel re-command", "取消再指令", Fault, Either, Command, &[Mti(8950), Mti(8970)], ANY).timers(Some(T32), Some(T15)),
    row(8930, "cancel-confirm command", "取消確認指令", Fault, Either, Command, &[Mti(8960), Mti(8970)], ANY).timers(Some(T32), Some(T15)),
    row(8940, "cancel-confirm re-command", "取消確認再指令", Fault, Either, Command, &[Mti(8960), Mti(8970)], ANY).timers(Some(T32), Some(T15)),
    row(8950, "cancel report", "取消報告", Fault, Either, Report, &[], ANY),
    row(8960, "cancel-confirm report", "取消確認報告", Fault, Either, Report, &[], ANY),
    row(8970, "abnormal report", "異常報告", Fault, FromCentre, Abnormal, &[], ANY),
    row(9210, "line recovery check", "回線障害回復確認指令", Control, Either, Command, &[Mti(9220)], NONE).timers(Some(T33), Some(T16)),
    row(9220, "line recovery report", "回線障害回復報告", Control, Either, Report, &[], NONE),
];

#[allow(
    clippy::too_many_arguments,
    reason = "a table row reads better in columns than as a struct literal of ten lines"
)]
const fn row(
    number: u16,
    name: &'static str,
    japanese: &'static str,
    class: Class,
    direction: Direction,
    kind: Kind,
    answers: &'static [Mti],
    sections: &'static [SectionRule],
) -> MessageType {
    MessageType {
        mti: Mti(number),
        name,
        japanese,
        class,
        direction,
        kind,
        answers,
        timer: None,
        centre_timer: None,
        sections,
    }
}

const fn always(kind: SectionKind) -> SectionRule {
    SectionRule { kind, always: true }
}

const fn may(kind: SectionKind) -> SectionRule {
    SectionRule {
        kind,
        always: false,
    }
}

const NONE: &[SectionRule] = &[];
const COMMON: &[SectionRule] = &[always(S1_0)];
const COUNTERS: &[SectionRule] = &[always(E)];
const LOST_CARD: &[SectionRule] = &[always(S1_0), always(S1_6)];
const CARD: &[SectionRule] = &[
    always(S1_0),
    always(S1_1),
    may(S2X),
    may(S9_6_1),
    may(S9_7_1),
    may(S9_1_2),
    may(S9_1_3),
    may(S9_10_4),
];
const SALE: &[SectionRule] = &[
    always(S1_0),
    always(S1_1),
    always(S2X),
    may(S9_6_1),
    may(S9_7_1),
    may(S9_7_4),
    may(S9_1_2),
    may(S9_1_3),
    may(S9_10_4),
    may(S9_6_6),
];
const CANCEL: &[SectionRule] = &[
    always(S1_0),
    always(S1_1),
    always(S1_3),
    may(S2_7),
    may(S9_7_1),
    may(S9_7_4),
    may(S9_10_4),
    may(S9_6_6),
];
const ENQUIRY: &[SectionRule] = &[always(S1_0), always(S1_2), may(S2_10), may(S9N)];
/// The approval of an enquiry of counters (codes 01, 02) carries section E and nothing else.
const ENQUIRY_APPROVAL: &[SectionRule] = &[may(S1_0), may(S1_2), may(S2_10), may(S9N), may(E)];
const OTHER: &[SectionRule] = &[
    always(S1_0),
    always(S1_4),
    may(S2_10),
    may(S9N),
    may(S9_7_3),
    may(S9_10_4),
    may(S9_6_4),
    may(S9_7_6),
];
/// A fault message carries the sections of the request that it undoes.
const ANY: &[SectionRule] = &[
    may(S1_0),
    may(S1_1),
    may(S1_2),
    may(S1_3),
    may(S1_4),
    may(S1_6),
    may(S2X),
    may(S2_7),
    may(S2_10),
    may(S9N),
    may(S9_6_1),
    may(S9_7_1),
    may(S9_7_3),
    may(S9_7_4),
    may(S9_7_6),
    may(S9_1_2),
    may(S9_1_3),
    may(S9_10_4),
    may(S9_6_4),
    may(S9_6_6),
];

/// No row: an index behind the table.
const ABSENT: u8 = u8::MAX;

/// For every number of four digits the row of [`TABLE`], or [`ABSENT`].
static INDEX: [u8; 10_000] = {
    let mut index = [ABSENT; 10_000];
    let mut at = 0;
    while at < TABLE.len() {
        index[TABLE[at].mti.0 as usize] = at as u8;
        at += 1;
    }
    index
};

#[cfg(test)]
mod tests {
    use super::*;

    /// The table is in order, every number finds its own row, and no other number finds one.
    #[test]
    fn every_type_is_found_by_its_number() {
        assert!(TABLE.is_sorted_by(|a, b| a.mti < b.mti));
        for value in 0..=u16::MAX {
            let listed = TABLE
                .iter()
                .find(|row| row.mti == Mti(value))
                .map(|row| row.mti);
            assert_eq!(lookup(Mti(value)).map(|row| row.mti), listed);
        }
    }

    /// The rows agree with each other: answers exist, travel the other way, and are awaited under a timer of the
    /// side that may ask; what asks has answers, what answers has none.
    #[test]
    fn the_table_is_consistent() {
        for row in &TABLE {
            let asks = matches!(row.kind, Kind::Request | Kind::Command | Kind::Notice);
            assert_eq!(asks, !row.answers.is_empty(), "{}", row.mti);
            let from_gateway = row.direction != Direction::FromCentre;
            let from_centre = row.direction != Direction::FromGateway;
            assert_eq!(row.timer.is_some(), asks && from_gateway, "{}", row.mti);
            assert_eq!(
                row.centre_timer.is_some(),
                asks && from_centre,
                "{}",
                row.mti
            );
            assert_eq!(
                row.class == Class::Control,
                row.sections.is_empty(),
                "{}",
                row.mti
            );
            for answer in row.answers {
                let answer = lookup(*answer).expect("an answer is a type");
                assert!(
                    answer.direction == Direction::Either || answer.direction != row.direction,
                    "{}",
                    row.mti
                );
                assert!(is_answered_by(row.mti, answer.mti));
            }
        }
        assert!(!is_answered_by(Mti::AUTH_REQUEST, Mti::SALE_APPROVAL));
        assert!(!is_answered_by(Mti::CANCEL, Mti::CANCEL_CONFIRM_REPORT));
    }

    /// The rule of 3.3: approval is the request's number + 10, refusal + 40, for every business type.
    #[test]
    fn approvals_and_refusals_follow_their_request() {
        for row in TABLE
            .iter()
            .filter(|row| row.class == Class::Business && row.kind == Kind::Request)
        {
            assert_eq!(row.answer(Kind::Approval), Some(Mti(row.mti.0 + 10)));
            assert_eq!(row.answer(Kind::Refusal), Some(Mti(row.mti.0 + 40)));
            assert_eq!(row.answer(Kind::Abnormal), Some(Mti::ABNORMAL));
        }
        assert_eq!(
            lookup(Mti::SIGN_ON).and_then(|row| row.answer(Kind::Refusal)),
            None
        );
    }

    /// Exactly 4910 and the three handling codes are answered by the centre itself; advice A1 may be relayed.
    #[test]
    fn turnaround_requests_are_told_by_their_handling_code() {
        let with = |code: &str| [&[b' '; SECTION_10_LEN], code.as_bytes()].concat();
        for code in ["592@", "5D1@", "5A4@0706"] {
            assert!(is_turnaround(Mti::OTHER_REQUEST, &with(code)), "{code}");
            assert!(!is_turnaround(Mti::OTHER_APPROVAL, &with(code)), "{code}");
        }
        for code in ["5A1@", "591@", "598@", "592", ""] {
            assert!(!is_turnaround(Mti::OTHER_REQUEST, &with(code)), "{code}");
        }
        assert!(is_turnaround(Mti::COUNTER_ENQUIRY, &[]));
        assert!(!is_turnaround(Mti::AUTH_REQUEST, &with("592@")));
    }
}
