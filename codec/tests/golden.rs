//! The example frames of `spec/cafis.md` 11, decoded and encoded again byte for byte.
//!
//! The files under `tests/golden/cafis` hold one frame each, as it goes over the wire.

use std::path::PathBuf;

use codec::cafis::control::{CentreControl, GatewayControl, answer};
use codec::cafis::counters::CounterSheet;
use codec::cafis::fault::{
    Mismatch, ReportFields, make_image, matches, matches_sent, write_cancel, write_cancel_confirm,
};
use codec::cafis::field::Field;
use codec::cafis::frame::{Assembler, Frame, HEADER_LEN};
use codec::cafis::header::{Assigned, FIELDS, Header, HeaderBuilder, data};
use codec::cafis::mask::{MaskingMode, mask_for_display};
use codec::cafis::mti::{Mti, is_turnaround_frame, lookup};
use codec::cafis::report::{NO_ERROR, counter_report, refuse, report_from};
use codec::cafis::section::{
    SECTION_10, SECTION_10_LEN, SECTION_11, Section10, Section11, SectionKind, TransactionKey,
    sections,
};

/// Every example, with the length and message type that the specification states.
const FRAMES: [(&str, usize, u16); 24] = [
    ("F01", 63, 7020),
    ("F02", 63, 7110),
    ("F03", 63, 10),
    ("F04", 63, 120),
    ("F05", 63, 720),
    ("F06", 63, 810),
    ("F09", 208, 3110),
    ("F10", 208, 3120),
    ("F11", 208, 3150),
    ("F12", 208, 8970),
    ("F14", 208, 8930),
    ("F15", 208, 8960),
    ("F16", 208, 8940),
    ("F17", 208, 8960),
    ("F18", 208, 8970),
    ("F19", 208, 8910),
    ("F20", 208, 8950),
    ("F22", 114, 3510),
    ("F23", 114, 3520),
    ("F24", 275, 4110),
    ("F27", 152, 3510),
    ("F30", 256, 3510),
    ("F31", 140, 6110),
    ("F32", 140, 6150),
];

const GATEWAY: [u8; 11] = *b"TEST0010000";

fn golden(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/golden/cafis")
        .join(format!("{name}.frame"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn assigned(frame: &[u8]) -> Assigned {
    Header::new(frame)
        .expect("a golden frame has a header")
        .assigned()
}

/// Names the first byte that differs instead of printing two frames.
fn assert_frame(built: &[u8], name: &str) {
    let wanted = golden(name);
    let differs = built.iter().zip(&wanted).position(|(a, b)| a != b);
    assert_eq!(
        (differs, built.len()),
        (None, wanted.len()),
        "{name}: first difference, length"
    );
}

/// The golden directory holds exactly the frames that the tests know.
#[test]
fn the_golden_directory_and_the_list_agree() {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/cafis");
    let mut files: Vec<String> = std::fs::read_dir(directory)
        .expect("the golden directory exists")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("a plain name")
        })
        .collect();
    files.sort();
    assert_eq!(files, FRAMES.map(|(name, ..)| format!("{name}.frame")));
}

/// Every frame is cut out of the stream whole, and its header is written back from its 15 values.
#[test]
fn every_header_is_decoded_and_encoded() {
    for (name, length, number) in FRAMES {
        let bytes = golden(name);
        assert_eq!(bytes.len(), length, "{name}");
        let mut assembler = Assembler::new(0);
        let split = assembler
            .split(0, &bytes)
            .expect("a golden frame can be framed");
        assert_eq!(split.frame, Some(Frame::Whole(&bytes)), "{name}");
        let header = Header::new(&bytes).expect("a golden frame has a header");
        assert_eq!(header.mti(), Mti(number), "{name}");
        assert_eq!(
            header.trailer().map(usize::from),
            Some(length - HEADER_LEN),
            "{name}"
        );
        let builder = HeaderBuilder::from_header(&header).expect("its numbers are digits");
        assert_eq!(&builder.to_bytes(), header.bytes(), "{name}");
        assert_table(name, &FIELDS, &bytes);
    }
}

/// Every data part is divided without gap into sections which the message type may and must carry, and every field of
/// 1-0 and 1-1 holds what its table says.
#[test]
fn every_data_part_is_divided_into_its_sections() {
    for (name, _, number) in FRAMES {
        let bytes = golden(name);
        let row = lookup(Mti(number)).expect("a known type");
        let found: Vec<(SectionKind, &[u8])> = sections(row.mti, data(&bytes)).collect();
        let joined: Vec<u8> = found
            .iter()
            .flat_map(|(_, section)| section.iter().copied())
            .collect();
        assert_eq!(joined, data(&bytes), "{name}");
        for (kind, section) in &found {
            assert!(
                row.sections.iter().any(|rule| rule.kind == *kind),
                "{name} {}",
                kind.name()
            );
            assert!(section.ends_with(b"@"), "{name} {}", kind.name());
            match kind {
                SectionKind::S1_0 => assert_table(name, &SECTION_10, section),
                SectionKind::S1_1 => assert_table(name, &SECTION_11, section),
                _ => {}
            }
        }
        for rule in row.sections.iter().filter(|rule| rule.always) {
            assert!(
                found.iter().any(|(kind, _)| *kind == rule.kind),
                "{name} lacks {}",
                rule.kind.name()
            );
        }
    }
}

fn assert_table(name: &str, table: &[Field], bytes: &[u8]) {
    for field in table {
        let value = &bytes[field.offset..field.offset + field.width];
        assert!(
            field.accepts(value),
            "{name}: {} does not hold what it may",
            field.name
        );
    }
}

/// The values that the specification names for the authorisation and its approval are found in their fields.
#[test]
fn the_authorisation_is_read_field_by_field() {
    let (request, approval) = (golden("F09"), golden("F10"));
    let header = Header::new(&request).expect("a header");
    assert_eq!((header.route(), header.sequence()), (Some(2), Some(123)));
    assert_eq!(
        (header.acquirer(), header.issuer()),
        (GATEWAY, *b"TEST9000000")
    );
    assert_eq!(
        (header.originator_day(), header.assigned()),
        (*b"30", Assigned::NOT_YET)
    );
    let common = Section10::of(&request).expect("1-0");
    assert_eq!(
        (
            common.error_code(),
            common.master_mti(),
            common.send_class()
        ),
        (NO_ERROR, Mti(0), b'2')
    );
    assert_eq!(common.key().to_string(), "991130/1234599000001/00123");
    assert_eq!(TransactionKey::parse(&common.key().0), Some(common.key()));
    let card = Section11::of(&request).expect("1-1");
    assert_eq!((card.business_class(), card.card_class()), (b'2', b'1'));
    assert_eq!(
        (card.amount(), card.tax(), card.product()),
        (Some(5000), Some(500), *b"0000990")
    );
    let report = Header::new(&approval).expect("a header");
    assert_eq!(
        (report.centre_id(), report.centre_seq(), report.month_day()),
        (*b"11", *b"004711", *b"1130")
    );
    assert_eq!(
        Section10::of(&approval).map(|section| section.approval()),
        Ok(*b"0012345")
    );
}

/// Control messages are built from the gateway's code, and their answers are the command with another type.
#[test]
fn control_messages_are_built() {
    let build = |control: GatewayControl| {
        let mut out = Vec::new();
        control.write(GATEWAY, &mut out);
        out
    };
    assert_frame(&build(GatewayControl::SignOn), "F01");
    assert_frame(&build(GatewayControl::SignOff), "F05");
    assert_eq!(
        Header::new(&build(GatewayControl::LineCheck)).map(|header| header.mti()),
        Ok(Mti::LINE_CHECK)
    );
    for (request, reply) in [("F01", "F02"), ("F05", "F06")] {
        let (wanted, mut out) = (golden(reply), Vec::new());
        let mti = Header::new(&wanted).expect("a header").mti();
        report_from(
            &golden(request),
            mti,
            assigned(&wanted),
            NO_ERROR,
            None,
            &mut out,
        );
        assert_frame(&out, reply);
    }
    let mut start = Vec::new();
    CentreControl::Start.write(GATEWAY, assigned(&golden("F03")), &mut start);
    assert_frame(&start, "F03");
    let mut ready = Vec::new();
    answer(&start, Mti::START_READY, &mut ready);
    assert_frame(&ready, "F04");
}

/// All reports of the examples are made from what they answer.
#[test]
fn reports_are_made_from_their_request() {
    let cases = [
        ("F09", "F10", NO_ERROR, Some(*b"0012345")),
        ("F09", "F11", *b"G54", None),
        ("F09", "F12", *b"C12", None),
        ("F14", "F15", NO_ERROR, None),
        ("F16", "F17", *b"C13", None),
        ("F14", "F18", *b"C56", None),
        ("F19", "F20", NO_ERROR, None),
        ("F22", "F23", NO_ERROR, None),
    ];
    for (request, report, error, approval) in cases {
        let (wanted, mut out) = (golden(report), Vec::new());
        let mti = Header::new(&wanted).expect("a header").mti();
        report_from(
            &golden(request),
            mti,
            assigned(&wanted),
            error,
            approval,
            &mut out,
        );
        assert_frame(&out, report);
    }
    let mut refusal = Vec::new();
    assert!(refuse(&golden("F31"), *b"G98", &mut refusal));
    assert_frame(&refusal, "F32");
    assert!(
        !refuse(&golden("F24"), *b"G98", &mut refusal),
        "a notice has no refusal"
    );
}

/// The fault messages of the authorisation are made from its image, byte for byte.
#[test]
fn fault_messages_are_made_from_the_image() {
    let mut image = golden("F09");
    make_image(&mut image).expect("F09 has an image");
    let build = |again| {
        let mut out = Vec::new();
        write_cancel_confirm(&image, again, &mut out);
        out
    };
    assert_frame(&build(false), "F14");
    assert_frame(&build(true), "F16");

    let approval = golden("F10");
    let report = ReportFields::of(&Header::new(&approval).expect("a header"));
    let mut cancel = Vec::new();
    write_cancel(&image, &report, 4, false, &mut cancel);
    assert_frame(&cancel, "F19");
    let mut again = Vec::new();
    write_cancel(&image, &report, 4, true, &mut again);
    assert_eq!(
        Header::new(&again).map(|header| header.mti()),
        Ok(Mti::CANCEL_AGAIN)
    );
    assert_eq!(again.len(), cancel.len());
    assert!(
        again[..43] == cancel[..43] && again[47..] == cancel[47..],
        "8920 is its 8910 but for the type"
    );
}

/// An image of an image is the image, and frames without card data are their own image.
#[test]
fn images_are_stable() {
    for (name, ..) in FRAMES {
        let mut image = golden(name);
        make_image(&mut image).unwrap_or_else(|error| panic!("{name}: {error}"));
        let once = image.clone();
        make_image(&mut image).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(image == once, "{name}");
        let has_track = ["F09", "F10", "F11", "F12"].contains(&name);
        assert_eq!(once != golden(name), has_track, "{name}");
    }
}

/// Each report of the examples answers what was sent, by the frame or by image, type and route, although centre
/// fields differ (F15) or are echoed unassigned (F18), and answers nothing else.
#[test]
fn reports_match_what_was_sent() {
    let pairs = [
        ("F01", "F02"),
        ("F03", "F04"),
        ("F05", "F06"),
        ("F09", "F10"),
        ("F09", "F11"),
        ("F09", "F12"),
        ("F14", "F15"),
        ("F16", "F17"),
        ("F14", "F18"),
        ("F19", "F20"),
        ("F22", "F23"),
        ("F31", "F32"),
    ];
    for (sent, report) in pairs {
        assert_eq!(
            matches(&golden(sent), &golden(report)),
            Ok(()),
            "{sent} {report}"
        );
    }
    let request = golden("F09");
    assert_eq!(
        matches_sent(&request, Mti::CANCEL_CONFIRM, 2, &golden("F15")),
        Ok(())
    );
    assert_eq!(
        matches_sent(&request, Mti::CANCEL, 4, &golden("F20")),
        Ok(())
    );
    assert_eq!(
        matches_sent(&request, Mti::CANCEL, 2, &golden("F20")),
        Err(Mismatch::Route)
    );
    let late = Mismatch::Type {
        sent: Mti::CANCEL_CONFIRM,
        got: Mti::AUTH_APPROVAL,
    };
    assert_eq!(
        matches(&golden("F14"), &golden("F10")),
        Err(late),
        "a late report"
    );
    assert_eq!(matches(&request, &golden("F20")), Err(Mismatch::Route));
}

/// Each protected field of 9.1 is compared and named, and what the centre assigns is not.
#[test]
fn every_protected_field_is_compared() {
    let request = golden("F09");
    let cases = [
        (3, Mismatch::Route),
        (9, Mismatch::Sequence),
        (14, Mismatch::Line),
        (21, Mismatch::Acquirer),
        (31, Mismatch::Acquirer),
        (32, Mismatch::Issuer),
        (42, Mismatch::Issuer),
        (53, Mismatch::OriginatorDay),
        (55, Mismatch::ProxyReport),
        (58, Mismatch::ProxyError),
        (HEADER_LEN + 19, Mismatch::TransactionKey),
        (HEADER_LEN + 36, Mismatch::TransactionKey),
        (HEADER_LEN + 42, Mismatch::TransactionKey),
        (HEADER_LEN + 46, Mismatch::NoCommonSection),
    ];
    for (at, mismatch) in cases {
        let mut report = golden("F10");
        report[at] = b'7';
        assert_eq!(matches(&request, &report), Err(mismatch), "byte {at}");
    }
    for at in [
        10,
        11,
        15,
        20,
        47,
        50,
        51,
        59,
        60,
        HEADER_LEN,
        HEADER_LEN + 12,
    ] {
        let mut report = golden("F10");
        report[at] = b'7';
        assert_eq!(matches(&request, &report), Ok(()), "byte {at}");
    }
}

/// A report to a counter enquiry carries section E instead of 1-0 and still matches; the counters are decoded and
/// encoded, and the notification is answered by itself with another type.
#[test]
fn counters_are_decoded_and_encoded() {
    let notice = golden("F24");
    let sheet = CounterSheet::parse(data(&notice)).expect("the counters of general business");
    assert_eq!(
        (sheet.company, sheet.days[0].day, sheet.days[1].day),
        (*b"TEST001", *b"30", *b"29")
    );
    assert_eq!(
        (
            sheet.days[0].originator.authorisations,
            sheet.days[0].originator.sales
        ),
        (12, 34)
    );
    let header =
        HeaderBuilder::from_header(&Header::new(&notice).expect("a header")).expect("numbers");
    let mut built = header.to_bytes().to_vec();
    sheet.write(&mut built);
    assert_frame(&built, "F24");

    let mut complete = Vec::new();
    answer(&notice, Mti::COUNTER_NOTICE_REPORT, &mut complete);
    assert_eq!(matches(&notice, &complete), Ok(()));
    assert!(
        complete[..43] == notice[..43]
            && &complete[43..47] == b"4120"
            && complete[47..] == notice[47..]
    );

    let mut enquiry = golden("F22")[..HEADER_LEN + SECTION_10_LEN].to_vec();
    codec::cafis::header::set_mti(&mut enquiry, Mti::COUNTER_ENQUIRY);
    codec::cafis::header::set_trailer(&mut enquiry, SECTION_10_LEN as u16);
    let mut report = Vec::new();
    counter_report(&enquiry, assigned(&notice), data(&notice), &mut report);
    assert_eq!(matches(&enquiry, &report), Ok(()));
    assert_eq!(
        Header::new(&report).map(|header| header.trailer()),
        Ok(Some(212))
    );
}

/// Of the examples, the centre answers the test, the iD key request and the iD advice itself.
#[test]
fn turnaround_requests_are_recognised() {
    let turnaround: Vec<&str> = FRAMES
        .iter()
        .map(|(name, ..)| *name)
        .filter(|name| is_turnaround_frame(&golden(name)))
        .collect();
    assert_eq!(turnaround, ["F22", "F27", "F30"]);
}

/// What is shown of the examples: the card number by mode, never expiry, PIN or discretionary data; all else as it is.
#[test]
fn examples_are_masked() {
    let show = |name: &str, mode| {
        let mut out = Vec::new();
        mask_for_display(&golden(name), mode, &mut out);
        String::from_utf8(out).expect("text stays text")
    };
    let request = show("F09", MaskingMode::Jcca);
    assert!(
        request.contains("@21411111111111****=****101*************  "),
        "{request}"
    );
    assert!(
        request.ends_with("  ****0000990000050000000500@"),
        "{request}"
    );
    assert!(
        show("F09", MaskingMode::PciDss).contains("@21************1111=****101*************  ")
    );
    assert!(show("F14", MaskingMode::Jcca).contains("@21411111111111****=****1010000000000000  "));
    assert!(show("F31", MaskingMode::Jcca).ends_with("@1411111111111****1****0100000@"));
    assert!(show("F31", MaskingMode::PciDss).ends_with("@1************11111****0100000@"));
    assert!(show("F30", MaskingMode::Jcca).contains("13TEST900699999999999********00001"));
    assert!(show("F30", MaskingMode::PciDss).contains("13TEST900************9999****00001"));
    for name in ["F01", "F02", "F22", "F24", "F27"] {
        assert_eq!(
            show(name, MaskingMode::PciDss).as_bytes(),
            golden(name),
            "{name}"
        );
    }
}
