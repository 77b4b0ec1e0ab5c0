//! The grammar of `.cf` files, point by point (`spec/fexics.md 6.1`).

use config::cf::{CfError, parse, socket_port};
use proptest::prelude::*;

/// Path and value of each parameter.
fn parameters(text: &[u8]) -> Vec<(String, String)> {
    let cf = parse(text).unwrap_or_else(|errors| panic!("{errors:?}"));
    cf.parameters
        .into_iter()
        .map(|parameter| (parameter.path, parameter.value))
        .collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected
        .iter()
        .map(|(path, value)| ((*path).to_owned(), (*value).to_owned()))
        .collect()
}

fn errors(text: &str) -> Vec<CfError> {
    parse(text.as_bytes()).expect_err("the text is wrong")
}

/// Nesting, comments, braces on the next line even after a comment, several items in a line, blanks and tabs, no
/// newline at the end, capitals or not.
#[test]
fn layout_is_free() {
    let text = b"# head\nSystem { log_level\tINFO; MASKING_MODE  JCCA; }\nTIMER # why\n\n# more\n{\n CAFIS{t31 58;t32 58;};\n}\nX 1;";
    assert_eq!(
        parameters(text),
        pairs(&[
            ("SYSTEM.LOG_LEVEL", "INFO"),
            ("SYSTEM.MASKING_MODE", "JCCA"),
            ("TIMER.CAFIS.T31", "58"),
            ("TIMER.CAFIS.T32", "58"),
            ("X", "1"),
        ])
    );
    assert_eq!(parameters(b""), []);
}

/// In quotes blanks, semicolons, braces and number signs are text, and a doubled quote is a quote.
#[test]
fn quotes() {
    let text = br#"A "x y;#{}"; B ""; C """"; D "say ""hi""" ;"#;
    assert_eq!(
        parameters(text),
        pairs(&[
            ("A", "x y;#{}"),
            ("B", ""),
            ("C", "\""),
            ("D", "say \"hi\"")
        ])
    );
}

/// CRLF counts as one line, and Shift_JIS is decoded before the grammar: the second byte of a character may be a
/// backslash or a brace, and must not be taken for one. Half-width katakana that would be valid UTF-8 stay katakana.
#[test]
fn shift_jis_and_crlf() {
    // U+8868 is 0x95 0x5C, U+30DC is 0x83 0x7B.
    let text = b"# \x83\x7b\x95\x5c\r\nSYSTEM {\r\n NAME \"\x95\x5c\x83\x7b\";\r\n}\r\n";
    let cf = parse(text).expect("it is right");
    assert_eq!(cf.parameters[0].value, "\u{8868}\u{30dc}");
    assert_eq!(cf.parameters[0].line, 3);
    assert_eq!(
        parameters("# 関所\nA \"関\";".as_bytes()),
        pairs(&[("A", "関")]),
        "a file saved as UTF-8 is recognised"
    );
    assert_eq!(parameters(b"A \"\xc3\xb1\";"), pairs(&[("A", "ﾃｱ")]));
}

/// Sections of one name are blocks of their own, and a repeated parameter holds last.
#[test]
fn blocks_and_repeats() {
    let cf = parse(b"I { C { P 1; P 2; }\nC { P 3; } }").expect("it is right");
    let found: Vec<(usize, &str)> = cf
        .parameters
        .iter()
        .map(|p| (p.block, p.value.as_str()))
        .collect();
    assert_eq!(found, [(2, "1"), (2, "2"), (3, "3")]);
    assert_eq!(cf.blocks[3].path, "I.C");
    assert_eq!(cf.blocks[3].line, 2);
    assert_eq!(cf.last("I.C.P").map(|p| p.value.as_str()), Some("3"));
}

/// Each fault has its name, its line and its words.
#[test]
fn faults_are_named() {
    let cases = [
        (
            "A {\nB 1\nC 2;\n}",
            CfError::NoSemicolon {
                line: 2,
                name: "A.B".into(),
            },
        ),
        (
            "A b c;",
            CfError::NoSemicolon {
                line: 1,
                name: "A".into(),
            },
        ),
        (
            "A b",
            CfError::NoSemicolon {
                line: 1,
                name: "A".into(),
            },
        ),
        (
            "A {\nB ;\n}",
            CfError::NoValue {
                line: 2,
                name: "A.B".into(),
            },
        ),
        (
            "A\n",
            CfError::NoValue {
                line: 1,
                name: "A".into(),
            },
        ),
        (
            "A \"x\n;",
            CfError::OpenQuote {
                line: 1,
                name: "A".into(),
            },
        ),
        (
            "\nA {\nB { C 1; }",
            CfError::OpenSection {
                line: 2,
                name: "A".into(),
            },
        ),
        ("A 1;\n}", CfError::NoSection { line: 2 }),
        (
            "= 1;",
            CfError::NoName {
                line: 1,
                found: '=',
            },
        ),
        (
            "{ A 1; }",
            CfError::NoName {
                line: 1,
                found: '{',
            },
        ),
    ];
    for (text, expected) in cases {
        let found = errors(text);
        assert_eq!(found[0], expected, "{text:?}");
        let message = found[0].to_string();
        assert!(
            message.starts_with(&format!("line {}: ", expected.line())),
            "{message}"
        );
    }
    assert_eq!(
        errors("A b c;")[0].to_string(),
        "line 1: the value of A does not end with a semicolon; a value with blanks needs quotes"
    );
    assert_eq!(errors(&"A {".repeat(20)), [CfError::TooDeep { line: 1 }]);
}

/// One run reports all faults, and a fault causes no others.
#[test]
fn faults_do_not_hide_others() {
    let found = errors("A 1\nB 2;\n= 3;\nC { D x y; E 1; }\n項 { F 1; }\nG ;\nH 1;\n");
    let lines: Vec<u32> = found.iter().map(CfError::line).collect();
    assert_eq!(lines, [1, 3, 4, 5, 6], "{found:?}");
}

/// The C library's lookup: host and port, their defaults, and a port that is none.
#[test]
fn host_and_port() {
    let of = |text: &[u8]| socket_port(text);
    assert_eq!(
        of(b"SOCKET_PORT { FXIPC_COM 5010; FXIPC_FXUMAIN_HOST 127.0.0.1; }"),
        Ok(("127.0.0.1".into(), 5010))
    );
    assert_eq!(
        of(b"socket_port { fxipc_com 1; FXIPC_COM 5020; }"),
        Ok(("localhost".into(), 5020))
    );
    assert_eq!(
        of(b"FXIPC_COM 1;"),
        Ok(("localhost".into(), 5000)),
        "outside its section it is something else"
    );
    let error = of(b"SOCKET_PORT {\nFXIPC_COM 65536; }").expect_err("no port");
    assert_eq!(
        error.to_string(),
        "line 2: SOCKET_PORT.FXIPC_COM \"65536\" is no port 1..65535"
    );
    assert!(of(b"SOCKET_PORT { FXIPC_COM 0; }").is_err());
    assert_eq!(
        of(b"SOCKET_PORT {\n"),
        Err(CfError::OpenSection {
            line: 1,
            name: "SOCKET_PORT".into()
        })
    );
}

proptest! {
    /// Any bytes are a file or faults, never a panic; and faults are never an empty list.
    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Err(errors) = parse(&bytes) {
            prop_assert!(!errors.is_empty());
        }
        let _ = socket_port(&bytes);
    }

    /// Nor do bytes of the grammar's own letters, which get further.
    #[test]
    fn any_grammar_is_answered(text in "[AB \t\r\n{};#\"1]{0,200}") {
        if let Err(errors) = parse(text.as_bytes()) {
            prop_assert!(!errors.is_empty());
        }
    }

    /// Any text in quotes comes back as it was written.
    #[test]
    fn quoted_text_comes_back(value in "[ -~]{0,60}") {
        let text = format!("A {{ B \"{}\"; }}", value.replace('"', "\"\""));
        prop_assert_eq!(parameters(text.as_bytes()), pairs(&[("A.B", &value)]));
    }
}
