//! The pages under docs/ say what the code says. They are written for readers without the code, so nothing but a test
//! would notice when one of the two moves on.

use std::fs;
use std::path::Path;

use codec::link::frame::Kind;
use codec::link::{message, rc};
use engine::core::fact::Fact;
use engine::journal::layout::{
    BlockFields, Field, IndexFields, IndexPageFields, RecordFields, SegmentFields,
};

fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs")
        .join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The rows of a table whose heading is `heading`, as their cells.
fn table(page: &str, heading: &str) -> Vec<Vec<String>> {
    let (_, below) = page
        .split_once(heading)
        .unwrap_or_else(|| panic!("no `{heading}`"));
    let lines = below
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .skip(2);
    let rows = lines.take_while(|line| line.starts_with('|'));
    let cells = |line: &str| {
        line.trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().to_owned())
            .collect()
    };
    rows.map(cells).collect()
}

/// docs/journal.md has every field of every header, in its place and width, and no other.
#[test]
fn the_headers_of_the_journal_are_as_written() {
    let page = page("journal.md");
    let headers: [(&str, &[Field]); 5] = [
        ("## Segment", SegmentFields::FIELDS),
        ("## Block", BlockFields::FIELDS),
        ("## Record", RecordFields::FIELDS),
        ("## Index", IndexFields::FIELDS),
        ("A **page of entries**", IndexPageFields::FIELDS),
    ];
    for (heading, fields) in headers {
        let found: Vec<[String; 3]> = table(&page, heading)
            .into_iter()
            .map(|row| [row[0].clone(), row[1].clone(), row[2].clone()])
            .collect();
        let wanted: Vec<[String; 3]> = fields
            .iter()
            .map(|field| {
                [
                    field.offset.to_string(),
                    field.width.to_string(),
                    format!("`{}`", field.name),
                ]
            })
            .collect();
        assert_eq!(found, wanted, "{heading}");
    }
}

/// docs/journal.md lists every fact by its number, in the order of the code.
#[test]
fn the_facts_of_the_journal_are_as_written() {
    let found: Vec<(u16, String)> = table(&page("journal.md"), "Records are **facts**")
        .into_iter()
        .map(|row| (row[0].parse().expect("a number"), row[1].clone()))
        .collect();
    let wanted: Vec<(u16, String)> = Fact::KINDS
        .iter()
        .map(|(kind, name)| (*kind, (*name).to_owned()))
        .collect();
    assert_eq!(found, wanted);
}

/// docs/link.md lists every kind of frame, every return code with its name, and the version.
#[test]
fn the_link_is_as_written() {
    let page = page("link.md");
    assert!(page.starts_with(&format!(
        "# The link protocol, version {}",
        message::VERSION
    )));
    let bytes: Vec<String> = table(&page, "## Kinds")
        .into_iter()
        .map(|row| row[0].clone())
        .collect();
    let wanted: Vec<String> = Kind::ALL
        .iter()
        .map(|kind| format!("0x{:02X}", *kind as u8))
        .collect();
    assert_eq!(bytes, wanted);
    let codes = table(&page, "## Return codes");
    assert!(codes.len() > 20);
    for row in codes {
        let code: u16 = row[0].parse().expect("a number");
        assert_eq!(row[1], format!("`{}`", rc::name(code)));
    }
    let all = (0..=1100).filter(|code| rc::name(*code) != "RC_?").count();
    assert_eq!(table(&page, "## Return codes").len(), all);
}
