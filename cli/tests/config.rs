//! `sekisho config` as an operator runs it: what it writes, what it says, and how it ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const CF: &str = "SYSTEM { SETTLEMENT_CENTER CAFIS; }\n\
    MSG_FIELD { TRANSACTION_ORIGINATOR_INSTITUTION_ID \"9x990010000\"; }\n\
    SOCKET_PORT { FXIPC_COM 5000; FXIPC_FXUMAIN_HOST localhost; }\n\
    INTERCONNECT { CAFIS { LOCAL_ADDRESS 127.0.0.1; LOCAL_PORT 2010; ACCEPT_COUNT 2; ROUTE_COUNT 4; } }\n";

/// A directory of its own for each test, gone with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sekisho-cli-{test}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("the temporary directory is writable");
        fs::write(path.join("fx_cf.cf"), CF).expect("the file is writable");
        Self(path)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sekisho"));
        command
            .arg("config")
            .args(arguments)
            .current_dir(&self.0)
            .output()
            .expect("sekisho starts")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// An import writes a configuration that the check accepts, and says what became of the file.
#[test]
fn import_then_check() {
    let scratch = Scratch::new("import");
    let output = scratch.run(&["import-cf", "fx_cf.cf", "--out", "new/etc"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let report = stdout(&output);
    assert!(
        report.contains("fx_cf.cf:3: SOCKET_PORT.FXIPC_COM: api.tcp = \"127.0.0.1:5000\""),
        "{report}"
    );
    assert!(
        report.contains("new/etc/sekisho.toml is written"),
        "{report}"
    );
    let output = scratch.run(&["check", "new/etc/sekisho.toml"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(
        stdout(&output),
        "new/etc/sekisho.toml: no errors, 0 warning(s), 1 line(s), 1 shard(s)\n"
    );
    let loaded =
        config::Config::load(&scratch.path("new/etc/sekisho.toml")).expect("it was checked");
    assert_eq!(loaded.config.data_dir, scratch.path("new/etc/data"));
}

/// A configuration that is there is left alone, unless the operator insists; a data directory is taken from where the
/// operator stands.
#[test]
fn overwriting_needs_force() {
    let scratch = Scratch::new("force");
    let longer = "# mine\n".repeat(1000);
    fs::write(scratch.path("sekisho.toml"), &longer).expect("the file is writable");
    let output = scratch.run(&["import-cf", "fx_cf.cf", "--out", "."]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains(
        "./sekisho.toml exists and was left as it is. Choose another directory, or say --force"
    ));
    assert_eq!(
        fs::read_to_string(scratch.path("sekisho.toml")).expect("it is there"),
        longer
    );
    let output = scratch.run(&[
        "import-cf",
        "fx_cf.cf",
        "--out",
        ".",
        "--data-dir",
        "d",
        "--force",
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
    let loaded = config::Config::load(&scratch.path("sekisho.toml")).expect("it is right");
    assert!(
        loaded.config.data_dir.ends_with(Path::new("d")) && loaded.config.data_dir.is_absolute()
    );
}

/// A file that cannot be imported leaves nothing behind and says why.
#[test]
fn refused_import_writes_nothing() {
    let scratch = Scratch::new("refused");
    fs::write(
        scratch.path("fx_cn.cf"),
        "SYSTEM { SETTLEMENT_CENTER CARDNET; }",
    )
    .expect("the file is writable");
    let output = scratch.run(&["import-cf", "fx_cn.cf", "--out", "etc"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("fx_cn.cf:1: SYSTEM.SETTLEMENT_CENTER: this is a CARDNET file"),
        "{}",
        stderr(&output)
    );
    assert!(!scratch.path("etc").exists());
    let output = scratch.run(&["import-cf", "none.cf", "--out", "etc"]);
    assert!(
        stderr(&output).contains("cannot read none.cf: No such file"),
        "{}",
        stderr(&output)
    );
}

/// The check lists every problem and counts them; warnings do not fail it.
#[test]
fn check_lists_all_problems() {
    let scratch = Scratch::new("check");
    let line = "[[line]]\nname = \"a\"\ncompany = \"9x99001\"\naccept_count = 2\n";
    fs::write(
        scratch.path("bad.toml"),
        format!("colour = 1\n{line}route_count = 190\n"),
    )
    .expect("the file is writable");
    let output = scratch.run(&["check", "bad.toml"]);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(
        text.contains("bad.toml:1: colour: unknown key")
            && text.contains("bad.toml:6: line.route_count: 190"),
        "{text}"
    );
    assert!(text.ends_with("2 problems\n"), "{text}");
    fs::write(
        scratch.path("odd.toml"),
        format!("[journal]\nsync = false\n{line}route_count = 1\n"),
    )
    .expect("the file is writable");
    let output = scratch.run(&["check", "odd.toml"]);
    assert!(output.status.success());
    assert!(
        stdout(&output).starts_with("warning: odd.toml:2: journal.sync: false"),
        "{}",
        stdout(&output)
    );
}
