//! What must hold for every input of the CAFIS module, on generated ones.

use codec::cafis::counters::{COUNTERS_LEN, CounterSheet};
use codec::cafis::fault::{make_image, matches, matches_sent};
use codec::cafis::frame::{ANNOUNCED_MAX, Assembler, FrameError, HEADER_LEN};
use codec::cafis::header::{Header, HeaderBuilder, data};
use codec::cafis::mask::{MaskingMode, mask_for_display, write_ic_hex};
use codec::cafis::mti::{Mti, TABLE, is_turnaround_frame};
use codec::cafis::report::{refuse, refuse_over_long};
use codec::cafis::section::{Section10, Section11, TransactionKey, sections};
use proptest::collection::vec;
use proptest::prelude::*;

/// A header with arbitrary values, whose trailer says `trailer`.
fn any_header(trailer: u16) -> impl Strategy<Value = HeaderBuilder> {
    let codes = ("[A-Z0-9 ]{11}", "[A-Z0-9 ]{11}", "[0-9]{2}", "[0-9 ]{6}");
    (
        0u16..=9999,
        0u32..=999_999,
        0..TABLE.len(),
        codes,
        "[0-9]{4}",
        "[0-9]{12}",
    )
        .prop_map(
            move |(
                route,
                sequence,
                row,
                (acquirer, issuer, centre_id, centre_seq),
                month_day,
                rest,
            )| {
                let rest = rest.as_bytes();
                HeaderBuilder {
                    route,
                    sequence,
                    centre_id: bytes(centre_id.as_bytes()),
                    line: bytes(&rest[..3]),
                    centre_seq: bytes(centre_seq.as_bytes()),
                    acquirer: bytes(acquirer.as_bytes()),
                    issuer: bytes(issuer.as_bytes()),
                    mti: TABLE[row].mti,
                    month_day: bytes(month_day.as_bytes()),
                    status: rest[3],
                    originator_day: bytes(&rest[4..6]),
                    proxy_report: bytes(&rest[6..8]),
                    proxy_error: bytes(&rest[8..11]),
                    proxy_redirect: rest[11],
                    trailer,
                }
            },
        )
}

fn bytes<const W: usize>(from: &[u8]) -> [u8; W] {
    from.try_into().expect("the strategy gives this width")
}

/// A frame with a well-formed header and any data.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..1000).prop_flat_map(|data| {
        any_header(data.len() as u16)
            .prop_map(move |header| [&header.to_bytes()[..], &data].concat())
    })
}

/// Bytes that come close to data sections: pieces of them in any order.
fn near_sections() -> impl Strategy<Value = Vec<u8>> {
    let common = b"   000000002       123459900000100123991130000@".to_vec();
    let card = [b"21", [b'1'; 69].as_slice(), b"12340000000000050000000500@"].concat();
    let piece = prop_oneof![
        4 => Just(common),
        2 => Just(card),
        1 => prop::sample::select(vec!["301@", "350@", "592@", "561@", "598@", "10@", "0704", "0606", "@0601", "1004"])
            .prop_map(|text| text.as_bytes().to_vec()),
        1 => ("0(102|103|601|604|701|703|706)", vec(b'0'..=b'9', 0..500)).prop_map(|(id, rest)| {
            let mut piece = id.into_bytes();
            piece.extend(rest);
            piece.push(b'@');
            piece
        }),
        1 => vec(any::<u8>(), 0..120),
    ];
    vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

/// A frame that comes close to a telegram.
fn near_telegram() -> impl Strategy<Value = Vec<u8>> {
    near_sections().prop_flat_map(|mut data| {
        data.truncate(999);
        any_header(data.len() as u16)
            .prop_map(move |header| [&header.to_bytes()[..], &data].concat())
    })
}

/// Feeds `stream` in pieces that end at `cuts` and returns the frames that come out.
fn split_all(stream: &[u8], cuts: &[usize]) -> Result<Vec<Vec<u8>>, FrameError> {
    let mut assembler = Assembler::new(1);
    let mut frames = Vec::new();
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
    ends.push(stream.len());
    ends.sort_unstable();
    let mut start = 0;
    for end in ends {
        let mut piece = &stream[start..end];
        while !piece.is_empty() {
            let split = assembler.split(0, piece)?;
            assert!(
                split.consumed > 0,
                "a call without progress would loop for ever"
            );
            frames.extend(split.frame.map(|frame| frame.bytes().to_vec()));
            piece = &piece[split.consumed..];
        }
        start = end;
    }
    assert_eq!(
        assembler.end_of_stream(),
        None,
        "the stream ends with a frame"
    );
    Ok(frames)
}

proptest! {
    /// Any split of any concatenation of frames gives the same frames.
    #[test]
    fn framing_does_not_depend_on_the_split(frames in vec(any_frame(), 1..6), cuts in vec(any::<usize>(), 0..12)) {
        let stream = frames.concat();
        prop_assert_eq!(split_all(&stream, &cuts), Ok(frames));
    }

    /// One byte at a time is such a split.
    #[test]
    fn framing_byte_by_byte(frames in vec(any_frame(), 1..3)) {
        let stream = frames.concat();
        let cuts: Vec<usize> = (0..stream.len()).collect();
        prop_assert_eq!(split_all(&stream, &cuts), Ok(frames));
    }

    /// Garbage never makes framing panic, stall, or hold more than one frame.
    #[test]
    fn framing_survives_garbage(stream in vec(prop_oneof![3 => b'0'..=b'9', 1 => any::<u8>()], 0..3000)) {
        let mut assembler = Assembler::new(1);
        let mut rest = &stream[..];
        while let (false, Ok(split)) = (rest.is_empty(), assembler.split(0, rest)) {
            prop_assert!(split.consumed > 0);
            prop_assert!(split.frame.is_none_or(|frame| frame.bytes().len() <= ANNOUNCED_MAX));
            rest = &rest[split.consumed..];
        }
        prop_assert!(assembler.partial().len() < ANNOUNCED_MAX);
    }

    /// A header is read as it was written.
    #[test]
    fn headers_round_trip(header in any_header(145)) {
        let written = header.to_bytes();
        let read = Header::new(&written).expect("a header was written");
        prop_assert_eq!(HeaderBuilder::from_header(&read), Some(header));
    }

    /// A message type is read as it was written, and only digits are one.
    #[test]
    fn message_types_round_trip(number in 0u16..=9999, digits in any::<[u8; 4]>()) {
        prop_assert_eq!(Mti::from_digits(Mti(number).digits()), Some(Mti(number)));
        prop_assert_eq!(Mti::from_digits(digits).is_some(), digits.iter().all(u8::is_ascii_digit));
    }

    /// No bytes make any reader panic, and sections cover their data without gap.
    #[test]
    fn any_bytes_never_panic(
        frame in prop_oneof![vec(any::<u8>(), 0..1100), any_frame(), near_telegram()],
        other in near_telegram(),
        number in 0u16..=9999,
    ) {
        let _ = (Header::new(&frame), Section10::of(&frame), Section11::of(&frame), TransactionKey::of(&frame));
        let _ = (matches(&frame, &other), matches(&other, &frame), matches_sent(&frame, Mti(number), 2, &other));
        let _ = (is_turnaround_frame(&frame), CounterSheet::parse(&frame));
        let joined: usize = sections(Mti(number), &frame).map(|(_, section)| section.len()).sum();
        prop_assert_eq!(joined, frame.len());
        let mut out = Vec::new();
        let _ = (refuse(&frame, *b"G98", &mut out), refuse_over_long(&frame, &mut out));
        for mode in [MaskingMode::Jcca, MaskingMode::PciDss] {
            let mut shown = Vec::new();
            mask_for_display(&frame, mode, &mut shown);
            prop_assert_eq!(shown.len(), frame.len());
            let mut hex = Vec::new();
            write_ic_hex(&frame, mode, &mut hex);
            prop_assert_eq!(hex.len(), 2 * frame.len());
        }
        let mut image = frame.clone();
        let first = make_image(&mut image);
        prop_assert_eq!(image.len(), frame.len());
        if first.is_ok() {
            let once = image.clone();
            prop_assert_eq!(make_image(&mut image), Ok(()));
            prop_assert!(image == once, "an image of an image is the image");
        }
    }

    /// Counters of any size that fits are read as they were written.
    #[test]
    fn counter_sheets_round_trip(values in vec(-99_999i32..=999_999, 24), company in "[A-Z0-9 ]{7}", days in "[0-9]{4}") {
        use codec::cafis::counters::{Counters, DayCounters};
        let block = |at: usize| Counters {
            authorisations: values[at],
            sales: values[at + 1],
            cancels: values[at + 2],
            cash: values[at + 3],
            cash_amount: values[at + 4],
            others: values[at + 5],
        };
        let day = |at: usize, day: &str| DayCounters {
            day: bytes(day.as_bytes()),
            originator: block(at),
            destination: block(at + 6),
        };
        let sheet = CounterSheet {
            company: bytes(company.as_bytes()),
            days: [day(0, &days[..2]), day(12, &days[2..])],
        };
        let mut written = Vec::new();
        sheet.write(&mut written);
        prop_assert_eq!(written.len(), COUNTERS_LEN);
        prop_assert_eq!(CounterSheet::parse(&written), Some(sheet));
    }

    /// Whatever the card and wherever it stands, what is shown never holds its number, expiry, PIN, security code or
    /// discretionary data; the image keeps number, expiry and service code and nothing more.
    #[test]
    fn card_data_does_not_show(
        class in prop::sample::select(b"123456789".to_vec()),
        service in prop::sample::select(b"0J".to_vec()),
        card in card(),
        extended in any::<bool>(),
        cut in 0usize..400,
    ) {
        let frame = authorisation(class, service, &card, extended);
        for mode in [MaskingMode::Jcca, MaskingMode::PciDss] {
            let mut shown = Vec::new();
            mask_for_display(&frame, mode, &mut shown);
            prop_assert_eq!(shown.len(), frame.len());
            card.assert_hidden(data(&shown));

            // Half a frame shows nothing either, and neither does a data part that lost its header.
            shown.clear();
            mask_for_display(&frame[..cut.min(frame.len())], mode, &mut shown);
            mask_for_display(&frame[cut.min(frame.len())..], mode, &mut shown);
            card.assert_hidden(shown.get(HEADER_LEN + 47..).unwrap_or(&[]));
        }
        let mut image = frame.clone();
        prop_assert_eq!(make_image(&mut image), Ok(()));
        prop_assert!(!contains(data(&image), card.pin.as_bytes()));
        prop_assert!(!contains(data(&image), card.security_code.as_bytes()));
        if class == b'1' || class == b'5' {
            prop_assert!(!contains(data(&image), card.discretionary.as_bytes()));
            let kept = format!("{}={}{}", card.number, card.expiry, card.service_code);
            prop_assert!(contains(data(&image), kept.as_bytes()));
        }
    }
}

/// What a card holds. Each value has characters of its own, so that finding it means that it is shown.
#[derive(Clone, Debug)]
struct Card {
    number: String,
    expiry: String,
    service_code: String,
    discretionary: String,
    pin: String,
    security_code: String,
}

fn card() -> impl Strategy<Value = Card> {
    ("4[1-4]{12,18}", "[89]{4}", "[67]{3}", "5{5,9}").prop_map(
        |(number, expiry, service_code, discretionary)| Card {
            number,
            expiry,
            service_code,
            discretionary,
            pin: "PQRS".to_owned(),
            security_code: "WXYZ".to_owned(),
        },
    )
}

impl Card {
    /// Fails if anything of the card that must not be shown is in `shown`.
    fn assert_hidden(&self, shown: &[u8]) {
        let track = format!("={}", self.expiry);
        let tail = format!("{}{}", self.service_code, self.discretionary);
        for secret in [&self.number, &track, &tail, &self.pin, &self.security_code] {
            assert!(
                !contains(shown, secret.as_bytes()),
                "shown: {}",
                shown.escape_ascii()
            );
        }
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

/// An authorisation with the card in its encode content, laid out as its class and service ask.
fn authorisation(class: u8, service: u8, card: &Card, extended: bool) -> Vec<u8> {
    let Card {
        number,
        expiry,
        service_code,
        discretionary,
        pin,
        security_code,
    } = card;
    let content = match class {
        b'2' | b'6' => format!("a9    0000{number:<16.16}5010000000000{expiry}"),
        b'3' if service == b'J' => format!("TEST900{number:<16.16}{expiry}00001"),
        _ => format!("{number}={expiry}{service_code}{discretionary}"),
    };
    let service = char::from(service);
    let class = char::from(class);
    let mut data = format!(
        "   000000002       1234599000001001239911302{service}0@2{class}{content:<69}{pin}"
    );
    data.push_str("0000000000050000000500@");
    if extended {
        data.push_str(&format!("060111{security_code}0000000000000000000@"));
    }
    let header = HeaderBuilder {
        mti: Mti::AUTH_REQUEST,
        trailer: data.len() as u16,
        ..HeaderBuilder::default()
    };
    [&header.to_bytes()[..], data.as_bytes()].concat()
}
