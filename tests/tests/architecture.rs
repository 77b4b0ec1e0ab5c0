//! What must never be true of the sources.

use std::path::{Path, PathBuf};

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    for path in entries.map(|entry| entry.expect("it can be listed").path()) {
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            into.push(path);
        }
    }
}

/// The code of a line, without its comment.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or("")
}

/// The core is a pure function: it names no socket, file, clock or thread, no map whose order differs from run to
/// run, and nothing of this project but `codec` and itself.
#[test]
fn the_core_is_pure() {
    let core = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/src/core");
    let mut files = Vec::new();
    sources(&core, &mut files);
    assert!(
        files.len() > 10,
        "only {} files of the core were found",
        files.len()
    );
    let forbidden = [
        "std::net",
        "std::fs",
        "std::io",
        "std::os",
        "std::env",
        "std::process",
        "std::thread",
        "std::sync",
        "std::time",
        "Instant",
        "SystemTime",
        "RandomState",
        "std::collections::HashMap",
        "std::collections::HashSet",
        "HashMap<",
        "HashSet<",
        "libc::",
        "io_uring",
        "crate::driver",
        "crate::journal",
        "crate::shard",
        "crate::pipeline",
        "config::Config",
    ];
    for file in files {
        let text = std::fs::read_to_string(&file).expect("it is text");
        for (number, line) in text.lines().enumerate() {
            for word in forbidden {
                assert!(
                    !code(line).contains(word),
                    "{} line {} names {word}: {line}",
                    file.display(),
                    number + 1
                );
            }
        }
    }
}
