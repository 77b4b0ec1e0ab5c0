//! The centre's checks of what arrives on an outward route, in their order (`spec/cafis.md` 8.4 and 9.5).
//!
//! The orders are tables, because the first failure decides the code that the gateway sees. A check looks at
//! [`Facts`] and nothing else, so that tables and checks are tested without a line or a socket.

use std::fmt;
use std::str::FromStr;

use codec::cafis::field::number;
use codec::cafis::header::{Header, HeaderField, NO_COMPANY};

/// An error code of section 1-0: `C` and two digits from the centre, `G` and two digits from the issuer.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Code(pub [u8; 3]);

impl Code {
    /// Whether an 8970 with this code carries the centre's own numbers (`spec/cafis.md` 2.3).
    pub fn assigns(self) -> bool {
        matches!(&self.0, b"C12" | b"C13" | b"C14" | b"C50")
    }

    /// Whether a fault command gets this code in its 8950 or 8960 instead of an 8970 (`spec/cafis.md` 10.1).
    pub fn rides_on_report(self) -> bool {
        matches!(&self.0, b"C13" | b"C14" | b"C50" | b"C35")
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|&byte| write!(f, "{}", byte as char))
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Code {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.as_bytes() {
            &[kind @ b'A'..=b'Z', a, b] if a.is_ascii_digit() && b.is_ascii_digit() => {
                Ok(Code([kind, a, b]))
            }
            _ => Err(()),
        }
    }
}

/// How the issuer behind the centre stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IssuerState {
    /// Answers.
    #[default]
    Up,
    /// Does not offer the service asked for.
    NoService,
    /// All its routes are busy.
    Busy,
    /// Has failed.
    Failed,
    /// Has ended its service.
    Ended,
    /// Takes requests and never answers.
    Silent,
}

/// What the gateway sent last as a general request on a route. It survives sign-off and reconnection.
#[derive(Clone, Copy, Debug)]
pub struct Last {
    /// Originator sequence.
    pub sequence: u32,
    /// Day of the originator's cut date.
    pub day: [u8; 2],
    /// Proxy report flag.
    pub proxy: [u8; 2],
    /// Destination company and sub code.
    pub issuer: [u8; 11],
}

/// What a check may look at.
pub struct Facts<'a> {
    /// The header of the message.
    pub header: Header<'a>,
    /// Its route, if it is a number.
    pub route: Option<u16>,
    /// Its originator sequence, if it is a number.
    pub sequence: Option<u32>,
    /// Whether the trailer exceeded 961.
    pub over_long: bool,
    /// Highest outward route of the contract.
    pub route_max: u16,
    /// Whether the route carries another transaction.
    pub route_taken: bool,
    /// Company code of the line.
    pub company: [u8; 11],
    /// X2 of the line.
    pub x2: u8,
    /// Registered issuers; empty means all.
    pub issuers: &'a [[u8; 11]],
    /// Whether the message type is a request the centre serves.
    pub served: bool,
    /// Whether the centre itself answers the request.
    pub turnaround: bool,
    /// Whether the sections are a legal combination.
    pub sections: SectionVerdict,
    /// The last general request on the route.
    pub last: Option<Last>,
    /// Whether the centre regards the gateway as open.
    pub open: bool,
    /// Whether the centre is ending.
    pub ending: bool,
    /// Whether the centre is congested.
    pub congested: bool,
    /// The issuer.
    pub issuer: IssuerState,
}

/// What the centre's format checks found (`spec/cafis.md` 4.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SectionVerdict {
    /// Nothing wrong.
    #[default]
    Good,
    /// A combination or a format that is not allowed.
    Forbidden,
    /// Said to be Base64, and is not.
    BadEncoding,
}

/// One check. It passes or fails on [`Facts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Trailer within 961.
    Length,
    /// Route within the contract.
    RouteInContract,
    /// Route not used by another transaction.
    RouteFree,
    /// Originator sequence numeric and not zero.
    SequenceNumeric,
    /// Originator sequence is that of the last request on the route.
    SequenceIsLast,
    /// X1 and X2 of the centre id can belong to this originator.
    CentreId,
    /// Centre sequence numeric.
    CentreSeqNumeric,
    /// Acquirer codes are those of the session.
    Acquirer,
    /// Issuer codes are registered; not asked of turnaround requests.
    IssuerKnown,
    /// Issuer codes are those of the last request on the route.
    IssuerIsLast,
    /// A request that is served.
    TypeServed,
    /// Centre month-day is a day.
    MonthDay,
    /// Originator date 01 to 31.
    OriginatorDay,
    /// Originator date and proxy report flag are those of the last request on the route.
    DayIsLast,
    /// Proxy report flag 00.
    ProxyFlag,
    /// Sections allowed together.
    Sections,
    /// Encoding as announced.
    Encoding,
    /// Gateway open.
    Open,
    /// Centre not ending.
    NotEnding,
    /// Centre not congested.
    NotCongested,
    /// Issuer offers the service.
    IssuerOffers,
    /// Issuer has a free route.
    IssuerFree,
    /// Issuer has not failed.
    IssuerUp,
    /// Issuer has not ended.
    IssuerOpen,
}

/// A check and the code of its failure.
pub type Row = (Check, Code);

const fn row(check: Check, code: &[u8; 3]) -> Row {
    (check, Code(*code))
}

/// Checks of a general request (`spec/cafis.md` 9.5).
pub const GENERAL: [Row; 18] = [
    row(Check::Length, b"C03"),
    row(Check::RouteInContract, b"C55"),
    row(Check::RouteFree, b"C51"),
    row(Check::SequenceNumeric, b"C58"),
    row(Check::Acquirer, b"C53"),
    row(Check::IssuerKnown, b"C01"),
    row(Check::TypeServed, b"C54"),
    row(Check::OriginatorDay, b"C58"),
    row(Check::ProxyFlag, b"C56"),
    row(Check::Sections, b"C34"),
    row(Check::Encoding, b"C17"),
    row(Check::Open, b"C60"),
    row(Check::NotEnding, b"C15"),
    row(Check::NotCongested, b"C33"),
    row(Check::IssuerOffers, b"C57"),
    row(Check::IssuerFree, b"C12"),
    row(Check::IssuerUp, b"C13"),
    row(Check::IssuerOpen, b"C14"),
];

/// Checks of 8910 and 8920 (`spec/cafis.md` 8.4), with the length in front as for every message.
pub const CANCEL: [Row; 13] = [
    row(Check::Length, b"C03"),
    row(Check::RouteInContract, b"C55"),
    row(Check::RouteFree, b"C51"),
    row(Check::SequenceNumeric, b"C58"),
    row(Check::CentreId, b"C56"),
    row(Check::CentreSeqNumeric, b"C58"),
    row(Check::Acquirer, b"C53"),
    row(Check::IssuerKnown, b"C01"),
    row(Check::MonthDay, b"C58"),
    row(Check::OriginatorDay, b"C58"),
    row(Check::Open, b"C60"),
    row(Check::NotEnding, b"C15"),
    row(Check::NotCongested, b"C33"),
];

/// Checks of 8930 and 8940 (`spec/cafis.md` 8.4).
pub const CONFIRM: [Row; 11] = [
    row(Check::Length, b"C03"),
    row(Check::RouteInContract, b"C55"),
    row(Check::RouteFree, b"C51"),
    row(Check::SequenceIsLast, b"C56"),
    row(Check::Acquirer, b"C53"),
    row(Check::IssuerKnown, b"C01"),
    row(Check::IssuerIsLast, b"C56"),
    row(Check::DayIsLast, b"C56"),
    row(Check::Open, b"C60"),
    row(Check::NotEnding, b"C15"),
    row(Check::NotCongested, b"C33"),
];

/// The code of the first check that fails, if one does.
#[inline]
pub fn first_failure(table: &[Row], facts: &Facts<'_>) -> Option<Code> {
    table
        .iter()
        .find(|(check, _)| !passes(*check, facts))
        .map(|&(_, code)| code)
}

#[inline]
fn passes(check: Check, facts: &Facts<'_>) -> bool {
    let header = &facts.header;
    match check {
        Check::Length => !facts.over_long,
        Check::RouteInContract => facts
            .route
            .is_some_and(|route| route >= 2 && route % 2 == 0 && route <= facts.route_max),
        Check::RouteFree => !facts.route_taken,
        Check::SequenceNumeric => facts.sequence.is_some_and(|sequence| sequence > 0),
        Check::SequenceIsLast => facts
            .last
            .is_some_and(|last| facts.sequence == Some(last.sequence)),
        Check::CentreId => {
            let [x1, x2] = header.centre_id();
            x1 == b'1' && x2 == facts.x2
        }
        Check::CentreSeqNumeric => header.centre_seq().iter().all(u8::is_ascii_digit),
        Check::Acquirer => header.acquirer() == facts.company,
        Check::IssuerKnown => issuer_known(facts),
        Check::IssuerIsLast => facts
            .last
            .is_some_and(|last| header.issuer() == last.issuer),
        Check::TypeServed => facts.served,
        Check::MonthDay => is_month_day(header.month_day()),
        Check::OriginatorDay => is_day(header.originator_day()),
        Check::DayIsLast => facts.last.is_some_and(|last| {
            header.originator_day() == last.day && header.proxy_report() == last.proxy
        }),
        Check::ProxyFlag => header.raw(HeaderField::ProxyReport) == b"00",
        Check::Sections => facts.sections != SectionVerdict::Forbidden,
        Check::Encoding => facts.sections != SectionVerdict::BadEncoding,
        Check::Open => facts.open,
        Check::NotEnding => !facts.ending,
        Check::NotCongested => !facts.congested,
        Check::IssuerOffers => facts.turnaround || facts.issuer != IssuerState::NoService,
        Check::IssuerFree => facts.turnaround || facts.issuer != IssuerState::Busy,
        Check::IssuerUp => facts.turnaround || facts.issuer != IssuerState::Failed,
        Check::IssuerOpen => facts.turnaround || facts.issuer != IssuerState::Ended,
    }
}

fn issuer_known(facts: &Facts<'_>) -> bool {
    let issuer = facts.header.issuer();
    if issuer == NO_COMPANY {
        return facts.turnaround;
    }
    facts.issuers.is_empty() || facts.issuers.contains(&issuer)
}

fn is_day(digits: [u8; 2]) -> bool {
    number(&digits).is_some_and(|day| (1..=31).contains(&day))
}

fn is_month_day([a, b, c, d]: [u8; 4]) -> bool {
    number(&[a, b]).is_some_and(|month| (1..=12).contains(&month)) && is_day([c, d])
}

#[cfg(test)]
mod tests {
    use super::*;
    use codec::cafis::header::HeaderBuilder;
    use codec::cafis::mti::Mti;

    fn good_header(mti: Mti) -> [u8; 63] {
        HeaderBuilder {
            route: 2,
            sequence: 123,
            centre_id: *b"11",
            centre_seq: *b"004711",
            acquirer: *b"TEST0010000",
            issuer: *b"TEST9000000",
            mti,
            month_day: *b"1130",
            originator_day: *b"30",
            ..HeaderBuilder::default()
        }
        .to_bytes()
    }

    const REGISTERED: [[u8; 11]; 1] = [*b"TEST9000000"];

    fn good(bytes: &[u8; 63]) -> Facts<'_> {
        let header = Header::new(bytes).expect("a header");
        Facts {
            header,
            route: header.route(),
            sequence: header.sequence(),
            over_long: false,
            route_max: 20,
            route_taken: false,
            company: *b"TEST0010000",
            x2: b'1',
            issuers: &REGISTERED,
            served: true,
            turnaround: false,
            sections: SectionVerdict::Good,
            last: Some(Last {
                sequence: 123,
                day: *b"30",
                proxy: *b"00",
                issuer: *b"TEST9000000",
            }),
            open: true,
            ending: false,
            congested: false,
            issuer: IssuerState::Up,
        }
    }

    /// Makes exactly the check named fail.
    fn spoil(check: Check, bytes: &mut [u8; 63]) -> impl Fn(&mut Facts<'_>) + use<> {
        match check {
            Check::CentreId => bytes[10] = b'3',
            Check::CentreSeqNumeric => bytes[16] = b' ',
            Check::Acquirer => bytes[21] = b'X',
            Check::IssuerKnown => bytes[32..43].copy_from_slice(b"TEST9010000"),
            Check::MonthDay => bytes[47..51].copy_from_slice(b"1330"),
            Check::OriginatorDay => bytes[52..54].copy_from_slice(b"32"),
            Check::ProxyFlag => bytes[54] = b'1',
            _ => {}
        }
        move |facts| match check {
            Check::Length => facts.over_long = true,
            Check::RouteInContract => facts.route = Some(22),
            Check::RouteFree => facts.route_taken = true,
            Check::SequenceNumeric => facts.sequence = None,
            Check::SequenceIsLast => facts.sequence = Some(124),
            Check::IssuerKnown => {
                let last = facts.last.as_mut().expect("a last request");
                last.issuer = *b"TEST9010000";
            }
            Check::IssuerIsLast => facts.last.as_mut().expect("a last request").issuer[4] = b'8',
            Check::TypeServed => facts.served = false,
            Check::DayIsLast => facts.last.as_mut().expect("a last request").day = *b"29",
            Check::Sections => facts.sections = SectionVerdict::Forbidden,
            Check::Encoding => facts.sections = SectionVerdict::BadEncoding,
            Check::Open => facts.open = false,
            Check::NotEnding => facts.ending = true,
            Check::NotCongested => facts.congested = true,
            Check::IssuerOffers => facts.issuer = IssuerState::NoService,
            Check::IssuerFree => facts.issuer = IssuerState::Busy,
            Check::IssuerUp => facts.issuer = IssuerState::Failed,
            Check::IssuerOpen => facts.issuer = IssuerState::Ended,
            _ => {}
        }
    }

    /// Of every two rows of a table, the one that stands first decides the code; and each row alone gives its own.
    #[test]
    fn the_first_failure_wins_in_every_table() {
        for table in [&GENERAL[..], &CANCEL, &CONFIRM] {
            let clean = good_header(Mti(3110));
            assert_eq!(first_failure(table, &good(&clean)), None);
            for (first, &(early, code)) in table.iter().enumerate() {
                for &(late, _) in &table[first..] {
                    // The issuer has one state at a time.
                    if early >= Check::IssuerOffers && early != late
                        || pair_is_one_fact(early, late)
                    {
                        continue;
                    }
                    let mut bytes = good_header(Mti(3110));
                    let spoil_late = spoil(late, &mut bytes);
                    let spoil_early = spoil(early, &mut bytes);
                    let mut facts = good(&bytes);
                    spoil_late(&mut facts);
                    spoil_early(&mut facts);
                    assert_eq!(
                        first_failure(table, &facts),
                        Some(code),
                        "{early:?} before {late:?}"
                    );
                }
            }
        }
    }

    impl PartialOrd for Check {
        fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
            Some((*self as u8).cmp(&(*other as u8)))
        }
    }

    fn pair_is_one_fact(early: Check, late: Check) -> bool {
        matches!((early, late), (Check::Sections, Check::Encoding))
    }

    /// The orders are the ones the interface gives, code by code.
    #[test]
    fn the_codes_stand_in_the_order_of_the_interface() {
        let codes = |table: &[Row]| {
            table
                .iter()
                .map(|row| row.1.to_string())
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(
            codes(&GENERAL),
            "C03 C55 C51 C58 C53 C01 C54 C58 C56 C34 C17 C60 C15 C33 C57 C12 C13 C14"
        );
        assert_eq!(
            codes(&CANCEL),
            "C03 C55 C51 C58 C56 C58 C53 C01 C58 C58 C60 C15 C33"
        );
        assert_eq!(
            codes(&CONFIRM),
            "C03 C55 C51 C56 C53 C01 C56 C56 C60 C15 C33"
        );
    }

    /// The all-zero issuer is for requests that the centre answers itself, and for no other.
    #[test]
    fn only_turnaround_requests_may_name_no_issuer() {
        let mut bytes = good_header(Mti(3510));
        bytes[32..43].copy_from_slice(&NO_COMPANY);
        let mut facts = good(&bytes);
        assert_eq!(first_failure(&GENERAL, &facts), Some(Code(*b"C01")));
        facts.turnaround = true;
        assert_eq!(first_failure(&GENERAL, &facts), None);
    }
}
