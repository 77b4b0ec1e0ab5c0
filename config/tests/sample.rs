//! The sample is what users read first: it must parse, tell the truth about every default, and leave no key out.

use std::path::Path;

use config::keys::{Rule, SECTIONS};
use config::{Config, Loaded};

const SAMPLE: &str = include_str!("../sekisho.toml");
const MINIMAL: &str = include_str!("../minimal.toml");

fn parse(text: &str) -> Loaded {
    match Config::parse(text, Path::new("etc"), "test.toml") {
        Ok(loaded) => loaded,
        Err(problems) => panic!("{problems:#?}"),
    }
}

/// A line that shows a default: a "#" with the key right behind it.
fn shows_default(line: &str) -> bool {
    line.strip_prefix('#')
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()))
}

/// The sample as it is, with every default uncommented, and the minimal file are the same configuration, without
/// warnings: what the sample shows are the defaults.
#[test]
fn sample_shows_the_defaults() {
    let loaded = parse(SAMPLE);
    assert_eq!(loaded.warnings, []);
    let lines = SAMPLE.lines().map(|line| {
        if shows_default(line) {
            &line[1..]
        } else {
            line
        }
    });
    let uncommented = lines.collect::<Vec<_>>().join("\n");
    assert_eq!(parse(&uncommented).config, loaded.config);
    assert_eq!(parse(MINIMAL).config, loaded.config);
}

/// Every key of the table stands in its section of the sample exactly once, under a comment that gives its range and
/// unit, or its words; and nothing else stands there.
#[test]
fn sample_has_every_key_with_its_range() {
    let mut section = String::new();
    let mut comment = String::new();
    let mut seen = Vec::new();
    for line in SAMPLE.lines() {
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']).to_owned();
        } else if line.starts_with("# ") {
            comment.push_str(line);
        } else if let Some((name, _)) = line.trim_start_matches('#').split_once(" = ") {
            let found = SECTIONS
                .iter()
                .find(|known| known.path == section)
                .and_then(|known| known.key(name));
            let key = found.unwrap_or_else(|| panic!("[{section}] {name} is no key"));
            let expected = match &key.rule {
                Rule::Integer { min, max, unit, .. } => {
                    vec![format!("{min}..{max}"), (*unit).to_owned()]
                }
                Rule::Flag { default } => {
                    vec!["true or false".to_owned(), format!("default {default}")]
                }
                Rule::Choice { allowed, .. } => {
                    allowed.iter().map(|word| (*word).to_owned()).collect()
                }
                Rule::Code { max, .. } => vec![max.to_string()],
                Rule::Text { .. } | Rule::Addresses { .. } => vec!["efault".to_owned()],
            };
            for part in expected {
                assert!(
                    comment.contains(&part),
                    "[{section}] {name}: the comment does not say {part:?}: {comment}"
                );
            }
            seen.push((section.clone(), name.to_owned()));
            comment.clear();
        } else {
            comment.clear();
        }
    }
    let known = SECTIONS.iter().flat_map(|s| {
        s.keys
            .iter()
            .map(|key| (s.path.to_owned(), key.name.to_owned()))
    });
    assert_eq!(seen, known.collect::<Vec<_>>());
}

/// Relative paths start at the directory of the file, and the derived defaults are filled in.
#[test]
fn paths_and_derived_defaults() {
    let config = parse(MINIMAL).config;
    assert_eq!(config.data_dir, Path::new("etc/data"));
    assert_eq!(config.log_file, None);
    assert_eq!(config.api.default_line, "cafis-a");
    assert!(config.lines[0].default);
    assert_eq!(config.lines[0].id, 1);
    assert_eq!(config.shards.len(), 1);
    assert_eq!(config.shards[0].core, None);
    assert_eq!(config.lines[0].timers, config::Timers::default());
    assert_eq!(config.lines[0].cascade, config::Cascade::default());
    assert_eq!(config.journal, config::Journal::default());
}

/// What is set arrives: a second shard and line, their ports and sockets, the padded originator.
#[test]
fn values_arrive() {
    let text = format!(
        "[[shard]]\ncore = 2\n[[shard]]\nspin_us = 0\n[api]\ntcp = \"[::1]:6000\"\nunix = \"s\"\ndefault_line = \"b\"\n{MINIMAL}\n\
         [[line]]\nname = \"b\"\nshard = 1\ncompany = \"9x\"\nsub = \"00a1\"\nlisten = [\"192.0.2.1:2011\", \"192.0.2.2:2011\"]\n\
         accept_count = 10\nroute_count = 189\nkeepalive = true\n"
    );
    let loaded = parse(&text);
    let config = loaded.config;
    assert_eq!(config.shards[0].core, Some(2));
    assert_eq!(config.shards[1].spin, std::time::Duration::ZERO);
    assert_eq!(
        config.api.tcp_of(1),
        Some("[::1]:6001".parse().expect("an address"))
    );
    assert_eq!(config.api.unix_of(0).as_deref(), Some(Path::new("etc/s")));
    assert_eq!(config.api.unix_of(1).as_deref(), Some(Path::new("etc/s.1")));
    assert!(!config.lines[0].default && config.lines[1].default);
    assert_eq!(&config.lines[1].originator(), b"9x     00a1");
    assert_eq!(config.lines[1].listen.len(), 2);
    let keepalive = config.lines[1].keepalive.expect("keepalive is on");
    assert_eq!(
        (
            keepalive.idle.as_secs(),
            keepalive.interval.as_secs(),
            keepalive.count
        ),
        (40, 6, 8)
    );
}
