//! The sample configuration is what users read first: it must parse, tell the truth about every default, and leave no key
//! out. And a wrong configuration must say where, what, and the way out.

use std::path::Path;

use commerce::config::Config;
use commerce::config::keys::SECTIONS;
use commerce::config::rule::{Fallback, Rule};
use config::Problem;

const SAMPLE: &str = include_str!("../commerced.sample.toml");

/// Parses with a directory in which every secret that the sample names is there.
fn parse(text: &str) -> Result<Config, Vec<Problem>> {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(dir.path().join("secrets")).expect("made");
    for line in SAMPLE.lines() {
        for place in line
            .split('"')
            .filter_map(|part| part.strip_prefix("file:"))
        {
            if !place.contains(['#', ',']) && place != "PATH" {
                std::fs::write(dir.path().join(place), "made-up-secret-0123456789abcdef")
                    .expect("written");
            }
        }
    }
    Config::parse(text, dir.path(), "test.toml")
}

/// A line that shows a default: a "#" with the key right behind it.
fn shows_default(line: &str) -> bool {
    line.strip_prefix('#')
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()))
}

/// The sample as it is, and with every default uncommented, is a sound configuration, and the defaults it shows are those
/// of the table.
#[test]
fn sample_shows_the_defaults() {
    let problems = |text: &str| parse(text).err().unwrap_or_default();
    assert!(problems(SAMPLE).is_empty(), "{:?}", problems(SAMPLE));
    let lines = SAMPLE.lines().map(|line| match shows_default(line) {
        true => &line[1..],
        false => line,
    });
    let uncommented = lines.collect::<Vec<_>>().join("\n");
    let found = problems(&uncommented);
    assert!(found.is_empty(), "{found:?}");
    let shown: toml::Table = uncommented.parse().expect("TOML");
    for section in SECTIONS {
        let mut value = &toml::Value::Table(shown.clone());
        for part in section.path.split('.') {
            value = &value[part];
        }
        let value = if section.many { &value[0] } else { value };
        for key in section.keys {
            let full = format!("{}.{}", section.path, key.name);
            let shown = value.get(key.name);
            let default = match &key.rule {
                Rule::Integer { default, .. } => toml::Value::from(*default),
                Rule::Flag { default } => toml::Value::from(*default),
                Rule::Choice { default, .. } => toml::Value::from(*default),
                Rule::List { default, .. } => toml::Value::from(default.to_vec()),
                Rule::Numbers { default, .. } => toml::Value::from(default.to_vec()),
                Rule::Text {
                    default: Fallback::Value(default),
                    ..
                } => toml::Value::from(*default),
                _ => continue,
            };
            // What stands there without "#" is an example, not a default.
            let is_example = SAMPLE
                .lines()
                .any(|line| line.starts_with(&format!("{} = ", key.name)));
            if !is_example {
                assert_eq!(shown, Some(&default), "{full}");
            }
        }
    }
}

/// Every key of the table stands in its section of the sample exactly once, in the same order, under a comment that gives
/// its range and unit, or its words; and nothing else stands there.
#[test]
fn sample_has_every_key_with_its_range() {
    let (mut section, mut comment, mut seen) = (String::new(), String::new(), Vec::new());
    for line in SAMPLE.lines() {
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']).to_owned();
        } else if line.starts_with("# ") {
            comment.push_str(&line[1..]);
        } else if let Some((name, _)) = line.trim_start_matches('#').split_once(" = ") {
            let key = SECTIONS
                .iter()
                .find(|known| known.path == section)
                .and_then(|known| known.keys.iter().find(|key| key.name == name))
                .unwrap_or_else(|| panic!("[{section}] {name} is no key"));
            for part in said_of(&key.rule) {
                assert!(
                    comment.contains(&part),
                    "[{section}] {name}: the comment does not say {part:?}: {comment}"
                );
            }
            seen.push(format!("{section}.{name}"));
            comment.clear();
        } else {
            comment.clear();
        }
    }
    let known = SECTIONS.iter().flat_map(|section| {
        let keys = section.keys.iter();
        keys.map(|key| format!("{}.{}", section.path, key.name))
    });
    assert_eq!(seen, known.collect::<Vec<_>>());
}

/// What the comment above a key must say.
fn said_of(rule: &Rule) -> Vec<String> {
    match rule {
        Rule::Integer {
            default,
            min,
            max,
            unit,
        } => vec![
            format!("{min}..{max}"),
            (*unit).to_owned(),
            format!("default {default}"),
        ],
        Rule::Flag { default } => vec!["true or false".into(), format!("default {default}")],
        Rule::Choice { default, allowed } => allowed
            .iter()
            .map(|word| (*word).to_owned())
            .chain([format!("default {default}")])
            .collect(),
        Rule::Text {
            default: Fallback::Required,
            ..
        } => vec!["no default".into()],
        Rule::Text { .. } | Rule::List { .. } => vec!["efault".into()],
        Rule::Numbers { min, max, unit, .. } => {
            vec![format!("{min}..{max}"), (*unit).to_owned(), "efault".into()]
        }
        Rule::Secret { required: true } | Rule::Secrets { required: true } => {
            vec!["Secret".into()]
        }
        Rule::Secret { required: false } | Rule::Secrets { required: false } => {
            vec!["Secret".into(), "efault".into()]
        }
    }
}

/// Replaces one line of the sample and returns the only problem that follows from it, as text.
fn problem_of(from: &str, to: &str) -> String {
    assert!(SAMPLE.contains(from), "{from} is in the sample");
    let text = SAMPLE.replacen(from, to, 1);
    let problems = parse(&text).err().unwrap_or_default();
    assert_eq!(problems.len(), 1, "{from} -> {to}: {problems:?}");
    let line = 1 + SAMPLE[..SAMPLE.find(from).expect("found")]
        .matches('\n')
        .count();
    let shown = problems[0].to_string();
    let place = format!("test.toml:{line}: ");
    assert!(shown.starts_with(&place), "{shown} stands at {place}");
    shown[place.len()..].to_owned()
}

/// A fault names its line, its key, what is wrong and what to do, whatever kind of fault it is.
#[test]
fn faults_name_place_and_way_out() {
    let cases = [
        (
            "#shutdown_s = 30",
            "shutdown_s = 0",
            "http.shutdown_s: 0 is outside 1..300 (s). Give a value in that range; the default is 30.",
        ),
        (
            "#level = \"info\"",
            "level = \"inform\"",
            "log.level: \"inform\" is none of error, warn, info, debug. Write level = \"info\".",
        ),
        (
            "#listen = ",
            "lisen = ",
            "http.lisen: unknown key. Write listen if that is meant.",
        ),
        (
            "#burst = 10000",
            "shutdown_s = 5",
            "callback.shutdown_s: unknown key. This key belongs to [http]: move it there.",
        ),
        (
            "#rate = 2000",
            "rate = \"fast\"",
            "callback.rate: expected a whole number 1..1000000 (requests/s). Write a value of that kind.",
        ),
        (
            "#trusted_proxies = []",
            "trusted_proxies = [\"proxy\"]",
            "http.trusted_proxies: \"proxy\" is not an address without a port. Write a value of that form.",
        ),
        (
            "public_url = \"https://pay.example\"",
            "public_url = \"https://pay.example/x\"",
            "http.public_url: \"https://pay.example/x\" is not an origin http(s)://host without a path. \
             Write a value of that form.",
        ),
    ];
    for (from, to, expected) in cases {
        assert_eq!(problem_of(from, to), expected);
    }
}

/// All faults of a file are told at once, in the order of their lines, and a missing key names the line of its table.
#[test]
fn all_faults_are_told() {
    let text = "[log]\nlevel = 3\n[http]\n[colours]\n";
    let problems = parse(text).err().expect("faults");
    let lines: Vec<_> = problems.iter().map(|p| (p.line, p.key.as_str())).collect();
    assert!(lines.contains(&(2, "log.level")), "{lines:?}");
    assert!(lines.contains(&(3, "http.public_url")), "{lines:?}");
    assert!(lines.contains(&(4, "colours")), "{lines:?}");
    assert!(lines.is_sorted_by_key(|(line, _)| *line), "{lines:?}");
}

/// Deferred payment is off and asks for nothing; enabled, it names everything that it needs, each at its line.
#[test]
fn deferred_payment_names_what_it_needs() {
    assert!(parse(SAMPLE).expect("the sample").frex.is_none());
    let text = SAMPLE.replacen(
        "#enabled = false\n\n# The id of the",
        "enabled = true\n\n# The id of the",
        1,
    );
    let problems = parse(&text).err().expect("faults");
    let keys: Vec<_> = problems
        .iter()
        .map(|problem| problem.key.as_str())
        .collect();
    for key in [
        "frex.buyer_keys",
        "frex.agency.shop_code",
        "frex.agency.passwords",
    ] {
        assert!(keys.contains(&key), "{key}: {keys:?}");
    }
    let cases = [
        (
            "#closed = []",
            "closed = [\"22:30-6:00\"]",
            "frex.worker.closed: \"22:30-6:00\" is not a part of the day",
        ),
        (
            "#retry_s = [60, 120, 300, 600, 1800, 3600]",
            "retry_s = []",
            "frex.worker.retry_s: expected whole numbers 1..86400 (s)",
        ),
        (
            "#reconcile_hour = 4",
            "reconcile_hour = 24",
            "frex.reconcile_hour: 24 is outside 0..23",
        ),
        (
            "#protocol = \"design\"",
            "protocol = \"desing\"",
            "frex.agency.protocol: \"desing\" is none of design, np_kakebarai",
        ),
    ];
    for (from, to, expected) in cases {
        let told = problem_of(from, to);
        assert!(told.starts_with(expected), "{told}");
    }
}

/// What is enabled is checked against itself before anything starts.
#[test]
fn deferred_payment_is_held_against_itself() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(
        dir.path().join("k"),
        "k1:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n",
    )
    .expect("written");
    let base: String = SAMPLE
        .lines()
        .map(|line| format!("{}\n", line.replace("file:secrets/", "file:")))
        .collect();
    for place in [
        "atom_password",
        "atom_req_key",
        "atom_req_salt",
        "atom_res_key",
        "atom_res_salt",
        "atom_req_hash_key",
        "atom_res_hash_key",
        "read_token_key",
        "frex_password",
    ] {
        std::fs::write(dir.path().join(place), "made-up-secret-0123456789abcdef").expect("written");
    }
    let with = |lines: [&str; 4]| {
        let tables = ["[frex]", "[frex.worker]", "[frex.agency]", "[frex.notify]"];
        let own = [
            "enabled = true\nbuyer_keys = [\"file:k\"]",
            "",
            "base_url = \"https://agency.example\"\nshop_code = \"s\"\nterminal_id = \"t\"\npasswords = [\"file:frex_password\"]",
            "",
        ];
        let mut text = base.clone();
        for ((table, own), lines) in tables.iter().zip(own).zip(lines) {
            text = text.replacen(
                &format!("{table}\n"),
                &format!("{table}\n{own}\n{lines}\n"),
                1,
            );
        }
        Config::parse(&text, dir.path(), "test.toml")
    };
    let good = with([
        "",
        "call_items = 7\nclosed = [\"23:00-05:30\"]",
        "timeout_ms = 12500",
        "mail_to = [\"a@b.example\"]",
    ]);
    let Ok(config) = good else {
        panic!("{:?}", good.err())
    };
    let frex = config.frex.expect("it is enabled");
    assert_eq!((frex.worker.call_items, frex.agency.items_max), (7, 7));
    assert_eq!(frex.worker.call_timeout_s, 13, "a started second counts");
    assert!(frex.worker.closed_at(0) && !frex.worker.closed_at(330));
    assert!(frex.notify.webhook.is_none() && frex.notify.mail.is_none());
    let cases = [
        (
            ["merchant = \"nobody\"", "", "", ""],
            "frex.merchant: \"nobody\" is no merchant",
        ),
        (
            ["", "lease_s = 60", "", ""],
            "frex.worker.lease_s: must be at least 2 x call_timeout_s + 60",
        ),
        (
            ["", "", "connect_timeout_ms = 40000", ""],
            "frex.agency.timeout_ms: timeout_ms must be greater than connect_timeout_ms",
        ),
        (
            ["", "", "", "webhook_url = \"http://hooks.example/x\""],
            "frex.notify.webhook_url: would be told in the clear",
        ),
        (
            [
                "",
                "",
                "",
                "smtp_host = \"mail.example\"\nsmtp_tls = \"none\"",
            ],
            "frex.notify.smtp_tls: none would send e-mail in the clear",
        ),
        (
            ["", "", "", "smtp_host = \"mail.example\""],
            "frex.notify.mail_from: is no mail address",
        ),
    ];
    for (lines, expected) in cases {
        let problems = with(lines).err().unwrap_or_default();
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert!(
            told.len() == 1 && told[0].contains(expected),
            "{expected}: {told:?}"
        );
    }
}

/// A file that cannot be read is one problem with a way out.
#[test]
fn a_missing_file_is_named() {
    let problems = Config::load(Path::new("/nowhere/x.toml"))
        .err()
        .expect("a fault");
    assert_eq!(problems.len(), 1);
    assert!(
        problems[0]
            .to_string()
            .starts_with("/nowhere/x.toml: cannot be read")
    );
}
