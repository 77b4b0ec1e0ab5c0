//! Cargo from within a task: where the workspace and its target directory are, and how things get built.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Failure;

/// The directory of the workspace.
pub fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_owned()
}

/// The target directory, as cargo itself would choose it.
pub fn target_dir() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// Cargo, run in the workspace.
pub fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).args(args);
    command
}

/// Runs a command to its end, with its output shown.
///
/// # Errors
/// It cannot be started, or does not succeed.
pub fn run(mut command: Command) -> Result<(), Failure> {
    let words: Vec<_> = command
        .get_args()
        .map(|word| word.to_string_lossy())
        .collect();
    let name = Path::new(command.get_program())
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy();
    let shown = format!("{name} {}", words.join(" "));
    let status = command
        .status()
        .map_err(|error| format!("`{shown}` cannot be started: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("`{shown}` failed: {status}"))
    }
}

/// Makes sure that there is a linker, which rustc takes from the C compiler.
///
/// # Errors
/// There is none; the sentence says what to install.
pub fn need_cc() -> Result<(), Failure> {
    match on_path("cc") {
        Some(_) => Ok(()),
        None => Err("there is no C compiler `cc`: apt-get install gcc libc6-dev".into()),
    }
}

/// A program on the search path, or in the directories of system programs.
pub fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path)
        .chain(system)
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// The release programs that the demo and the measurements run.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The daemon.
    pub sekishod: PathBuf,
    /// The operator's command.
    pub sekisho: PathBuf,
    /// The load generator and centre simulator.
    pub loadgen: PathBuf,
}

/// Builds the release programs, showing what cargo shows.
///
/// # Errors
/// There is no compiler, or the build fails.
pub fn release_programs() -> Result<Programs, Failure> {
    need_cc()?;
    run(cargo(&[
        "build",
        "--release",
        "-p",
        "engine",
        "-p",
        "cli",
        "-p",
        "loadgen",
        "--bins",
    ]))?;
    let dir = target_dir().join("release");
    Ok(Programs {
        sekishod: dir.join("sekishod"),
        sekisho: dir.join("sekisho"),
        loadgen: dir.join("loadgen"),
    })
}
