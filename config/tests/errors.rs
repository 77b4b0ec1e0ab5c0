//! Each fault of a configuration is named: the file, the line, the key, the value, what is allowed, and the way out.

use std::path::Path;

use config::{Config, Problem};
use proptest::prelude::*;

/// One good line, to append to what is tested.
const LINE: &str =
    "[[line]]\nname = \"a\"\ncompany = \"9x99001\"\naccept_count = 2\nroute_count = 4\n";

fn problems(text: &str) -> Vec<Problem> {
    match Config::parse(text, Path::new(""), "t.toml") {
        Ok(loaded) => panic!("accepted: {loaded:?}"),
        Err(problems) => problems,
    }
}

/// The one problem of a text, as the user reads it.
fn only(text: &str) -> String {
    let problems = problems(text);
    assert_eq!(problems.len(), 1, "{problems:#?}");
    problems[0].to_string()
}

fn warnings(text: &str) -> Vec<String> {
    match Config::parse(text, Path::new(""), "t.toml") {
        Ok(loaded) => loaded.warnings.iter().map(ToString::to_string).collect(),
        Err(problems) => panic!("{problems:#?}"),
    }
}

/// The whole message of each fault of a single value.
#[test]
fn single_values() {
    let before = |text: &str| only(&format!("{text}\n{LINE}"));
    let cases = [
        (
            "[api]\nmax_links = 70000",
            "t.toml:2: api.max_links: 70000 is outside 1..65536 (links). Give a value in that range; the default is 1024.",
        ),
        (
            "[api]\nmax_links = \"many\"",
            "t.toml:2: api.max_links: expected a whole number 1..65536 (links), found the text \"many\". \
             Write the value without quotes if it is a number or true/false.",
        ),
        (
            "[api]\nmax_links = 99999999999999999999999",
            "t.toml:2: api.max_links: 99999999999999999999999 is outside 1..65536 (links). \
             Give a value in that range; the default is 1024.",
        ),
        (
            "[api]\ntcp = \"192.0.2.1:5000\"",
            "t.toml:2: api.tcp: 192.0.2.1:5000 is not a loopback address: without authentication only loopback and Unix \
             sockets are served. Write tcp = \"127.0.0.1:5000\".",
        ),
        (
            "[api]\ntcp = \"localhost\"",
            "t.toml:2: api.tcp: \"localhost\" is no IP address with a port 1..65535. \
             Write address:port in numbers, e.g. \"127.0.0.1:5000\".",
        ),
        (
            "[api]\ntcp = \"\"",
            "t.toml:2: api.tcp: there is neither a TCP address nor a Unix socket: no application could connect. Set tcp or unix.",
        ),
        (
            "masking = \"pci\"",
            "t.toml:1: masking: \"pci\" is none of jcca, pcidss. Write masking = \"jcca\"; the default is \"jcca\".",
        ),
        (
            "masking = 4",
            "t.toml:1: masking: expected one of jcca, pcidss, found the number 4. Write a value of that kind.",
        ),
        (
            "[journal]\nsync = \"yes\"",
            "t.toml:2: journal.sync: expected true or false, found the text \"yes\". \
             Write the value without quotes if it is a number or true/false.",
        ),
        (
            "data_dir = \"\"",
            "t.toml:1: data_dir: \"\" is no directory. Name a directory; the default is \"data\".",
        ),
        (
            "data_dir = true",
            "t.toml:1: data_dir: expected a directory, in quotes, found true. Write a value of that kind.",
        ),
    ];
    for (text, expected) in cases {
        let found: Vec<String> = problems(&format!("{text}\n{LINE}"))
            .iter()
            .map(ToString::to_string)
            .collect();
        assert!(
            found.iter().any(|found| found == expected),
            "{text}: {found:#?}"
        );
    }
    assert!(before("[journal]\nsegment_mib = 8").contains("16..1024"));
}

/// Names that are not known lead to the one that was meant, to its section, or to the list.
#[test]
fn unknown_keys() {
    assert_eq!(
        only(&format!("{LINE}rout_busy = \"buffering\"\n")),
        "t.toml:6: line.rout_busy: unknown key. Write route_busy if that is meant."
    );
    assert_eq!(
        only(&format!("{LINE}t31_ms = 58000\n")),
        "t.toml:6: line.t31_ms: unknown key. This key belongs to [line.timers]: move it there."
    );
    assert_eq!(
        only(&format!("{LINE}[jurnal]\n")),
        "t.toml:6: jurnal: unknown key. Write journal if that is meant."
    );
    assert_eq!(
        only(&format!("colour = 1\n{LINE}")),
        "t.toml:1: colour: unknown key. Known in the top of the file: data_dir, log_level, log_file, masking, shard, \
         api, journal, recovery, line."
    );
    assert!(only(&format!("{LINE}[line.cascade]\nsend_ordered = 1\n")).contains("sends_ordered"));
}

/// A table in the wrong form is told how it is written.
#[test]
fn wrong_tables() {
    assert_eq!(
        problems("[line]\nname = \"a\"\n")[0].to_string(),
        "t.toml:1: line: expected tables [[line]], found one table. Write [[line]] with two brackets, once for each."
    );
    assert_eq!(
        only(&format!("[[api]]\n{LINE}")),
        "t.toml:1: api: expected a table [api], found several tables. Write [api] once, with one bracket, and its keys below it."
    );
    assert!(
        only(&format!("shard = [1]\n{LINE}"))
            .contains("expected tables [[shard]], found the number 1")
    );
    assert!(only("").contains("there is no line"), "{}", only(""));
}

/// What has no default and is not given is asked for, with its range, at the table that lacks it.
#[test]
fn missing_keys() {
    let found: Vec<String> = problems("# nothing\n[[line]]\n")
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(found.len(), 4, "{found:#?}");
    assert!(found.contains(
        &"t.toml:2: line.route_count: missing, and it has no default. Add route_count = N, with N in 1..189 (routes)."
            .to_owned()
    ));
    assert!(
        found
            .iter()
            .any(|problem| problem.starts_with("t.toml:2: line.name: missing"))
    );
}

/// Codes and addresses of a line.
#[test]
fn values_of_a_line() {
    let replaced = |from: &str, to: &str| only(&LINE.replace(from, to));
    assert_eq!(
        replaced("\"a\"", "\"a b\""),
        "t.toml:2: line.name: \"a b\" is not 1..16 characters of A-Z a-z 0-9 _ -. \
         Use these characters only, and keep to that length."
    );
    assert!(replaced("9x99001", "9x990012").contains("1..7 characters"));
    assert!(only(&format!("{LINE}sub = \"00\"\n")).contains("is not 4 characters"));
    assert!(only(&format!("{LINE}listen = []\n")).contains("the list is empty"));
    assert!(
        only(&format!("{LINE}listen = \"0.0.0.0:2010\"\n"))
            .contains("expected a list of addresses")
    );
    assert!(only(&format!("{LINE}listen = [2010]\n")).contains("found the number 2010"));
    assert!(
        only(&format!("{LINE}listen = [\"0.0.0.0:0\"]\n"))
            .contains("\"0.0.0.0:0\" is no IP address with a port")
    );
    assert_eq!(
        only(&format!("{LINE}keepalive_interval_s = 5\n")),
        "t.toml:1: line.keepalive_count: keepalive_interval_s 5 x keepalive_count 8 = 40 s is less than 48 s, which the \
         centre asks for. With this interval give keepalive_count = 10 or more."
    );
}

/// Lines that get into each other's way, or into the API's.
#[test]
fn collisions() {
    let second = LINE.replace("\"a\"", "\"b\"").replace("9x99001", "9x99002");
    let two = |first: &str, more: &str| only(&format!("{LINE}{first}{second}{more}"));
    assert_eq!(
        two("", ""),
        "t.toml:6: line.listen: 0.0.0.0:2010 is taken: line \"a\" listens there (line 1). Choose another address or port."
    );
    let apart = "listen = [\"192.0.2.1:2011\"]\n";
    assert!(
        only(&format!("{LINE}{LINE}{apart}"))
            .contains("a is taken by another [[line]] (line 2 of this file)")
    );
    assert!(
        two("id = 2\n", apart)
            .contains("line.id: 2 is taken by another [[line]] (line 6 of this file)")
    );
    assert!(
        two("", &format!("{apart}shard = 1\n"))
            .contains("1 is outside 0..0: there are 1 [[shard]] tables")
    );
    assert!(
        two("listen = [\"192.0.2.1:2010\"]\n", "").contains("0.0.0.0:2010 is taken"),
        "an address and all addresses cannot share a port"
    );
    let api = "[[shard]]\n[[shard]]\n[api]\ntcp = \"127.0.0.1:2009\"\n";
    assert!(only(&format!("{api}{LINE}")).contains("the API listens there for shard 1 (api.tcp)"));
    let elsewhere = format!("{api}{LINE}listen = [\"192.0.2.1:2010\"]\n");
    assert_eq!(warnings(&elsewhere), Vec::<String>::new());
    let high = "[[shard]]\n[[shard]]\n[api]\ntcp = \"127.0.0.1:65535\"\n";
    assert!(only(&format!("{high}{LINE}")).contains("port 65535 leaves no port for shard 1"));
    assert!(
        only(&format!("[api]\ndefault_line = \"x\"\n{LINE}"))
            .contains("\"x\" is the name of no line. Name one of: a")
    );
    let long = format!("[api]\nunix = \"/{}\"\n{LINE}", "x".repeat(107));
    assert!(only(&long).contains("has 108 bytes, a Unix socket's path at most 107"));
}

/// A journal whose segments do not hold what they must.
#[test]
fn journal_sizes() {
    let lines = |count: usize| -> String {
        let line = |n: usize| {
            let own = LINE
                .replace("\"a\"", &format!("\"a{n}\""))
                .replace("9x99001", &format!("9x{n}"));
            format!(
                "{}listen = [\"192.0.2.1:{}\"]\n",
                own.replace("route_count = 4", "route_count = 189"),
                20_000 + n
            )
        };
        (0..count).map(line).collect()
    };
    assert_eq!(
        only(&lines(105)),
        "t.toml: journal.segment_mib: 64 MiB is too small for shard 0: a checkpoint of its 19845 routes takes up to 49 MiB, \
         which must fit into three quarters of a segment. Set segment_mib = 65 or more."
    );
    assert!(Config::parse(&lines(104), Path::new(""), "t.toml").is_ok());
    assert!(
        Config::parse(
            &format!("[journal]\nsegment_mib = 65\n{}", lines(105)),
            Path::new(""),
            "t.toml"
        )
        .is_ok()
    );
    assert!(only(&lines(1700)).contains("spread the lines over more shards"));
    let small = "[journal]\nsegment_mib = 16\nblocks_in_flight = 16\nblock_kib_max = 1024\n";
    assert!(only(&format!("{small}{LINE}")).contains("Set segment_mib = 64 or more"));
    let few = "[journal]\nsegments_min = 9\nsegments_max = 8\n";
    assert!(only(&format!("{few}{LINE}")).contains("segments_min 9 is more than segments_max 8"));
}

/// What is allowed but odd is a warning with its line.
#[test]
fn warnings_name_their_lines() {
    assert_eq!(
        warnings(&format!(
            "{LINE}[line.timers]\nt31_ms = 50000\nt36_ms = 20\n"
        )),
        [
            "t.toml:7: line.timers.t31_ms: 50000 ms is not 58000 ms, which is fixed by the centre. Leave the default in production."
        ]
    );
    assert!(warnings(&format!("[journal]\nsync = false\n{LINE}"))[0].contains("a power cut loses"));
    assert!(
        warnings(&format!("[[shard]]\ncore = 1\n[[shard]]\ncore = 1\n{LINE}"))[0]
            .contains("same core 1")
    );
    let twin = LINE.replace("\"a\"", "\"b\"");
    let twins = format!("{LINE}{twin}listen = [\"192.0.2.1:2011\"]\n");
    assert!(warnings(&twins)[0].contains("9x99001/0000 is the originator of line \"a\" already"));
}

/// All faults of a file are told at once, in the order of their lines, those of the TOML itself among them.
#[test]
fn all_faults_at_once() {
    let text = format!(
        "log_level = \"loud\"\ncolour = 1\n[api]\ncredit = 0\n[journal]\nsync = 1\n{LINE}shard = 3\n"
    );
    let lines: Vec<u32> = problems(&text).iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [1, 2, 4, 6, 12]);

    let text = format!("log_level = \"loud\"\n[api]\ncredit = \n{LINE}rout = 1\n");
    let found = problems(&text);
    let lines: Vec<u32> = found.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [1, 3, 9], "{found:#?}");
    assert!(
        found[1].to_string().starts_with("t.toml:3: not TOML: "),
        "{}",
        found[1]
    );

    let twice = format!("[api]\ncredit = 1\ncredit = 2\n{LINE}");
    assert_eq!(
        only(&twice),
        "t.toml:3: not TOML: duplicate key. Correct this line."
    );
}

/// A file that cannot be read, or is no text, is named.
#[test]
fn unreadable_files() {
    let dir = std::env::temp_dir().join(format!("sekisho-config-errors-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("the temporary directory is writable");
    let missing = Config::load(&dir.join("none.toml")).expect_err("there is no such file");
    assert!(
        missing[0]
            .to_string()
            .contains("none.toml: cannot be read: No such file"),
        "{}",
        missing[0]
    );
    let binary = dir.join("binary.toml");
    std::fs::write(&binary, b"# fine\n\xff\n").expect("the file is writable");
    let broken = Config::load(&binary).expect_err("it is not UTF-8");
    assert!(
        broken[0]
            .to_string()
            .contains("binary.toml:2: this line is not UTF-8. Save the file as UTF-8.")
    );
    std::fs::write(dir.join("good.toml"), LINE).expect("the file is writable");
    let good = Config::load(&dir.join("good.toml")).expect("it is right");
    assert_eq!(good.config.data_dir, dir.join("data"));
    std::fs::remove_dir_all(&dir).expect("the directory is ours");
}

proptest! {
    /// Any text gives a configuration or problems, never a panic.
    #[test]
    fn any_text_is_answered(text in "\\PC*") {
        let _ = Config::parse(&text, Path::new(""), "t.toml");
    }

    /// Known keys with any small value in any section neither.
    #[test]
    fn any_assignment_is_answered(
        section in proptest::sample::select(vec!["", "[[shard]]", "[api]", "[journal]", "[[line]]", "[line.timers]", "[[x]]"]),
        key in "(core|tcp|listen|id|shard|unix|name|company|t31_ms|segment_mib|keepalive_count)",
        value in "(-?[0-9]{1,20}|\"[ -!#-~]{0,9}\"|true|\\[\\]|\\[1\\]|\\{\\}|1979-05-27|0x1f|inf)",
    ) {
        let _ = Config::parse(&format!("{section}\n{key} = {value}\n{LINE}"), Path::new(""), "t.toml");
    }
}
