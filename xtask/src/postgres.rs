//! A PostgreSQL server in a folder of its own that goes with it. Tests share one: every test makes its own database in it, found
//! by the variable `SEKISHO_TEST_PG`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::Failure;
use crate::build::run;
use crate::ports;
use crate::process::{END_MAX, Process, Start};

/// Where Debian puts what is not on the search path.
const BIN: &str = "/usr/lib/postgresql/15/bin";
/// The program that makes a cluster.
pub const INITDB: &str = "/usr/lib/postgresql/15/bin/initdb";
/// The variable in which tests find the server.
pub const VARIABLE: &str = "SEKISHO_TEST_PG";
/// How long the server may take to listen.
const START_MAX: Duration = Duration::from_secs(30);

/// A server that runs.
pub struct Server {
    process: Option<Process>,
    dir: PathBuf,
    /// Its address, with a superuser's name.
    pub url: String,
}

/// Whether this runs as root, as which PostgreSQL refuses to run.
pub fn is_root() -> bool {
    // The owner of our own entry there is who we are.
    std::fs::metadata("/proc/self")
        .map(|at| std::os::unix::fs::MetadataExt::uid(&at) == 0)
        .unwrap_or(false)
}

impl Server {
    /// Makes a cluster and starts it on a free port of loopback. Without `durable` what is written is not synced.
    ///
    /// # Errors
    /// A program is missing or fails; the end of its log is shown.
    pub fn start(durable: bool) -> Result<Server, Failure> {
        let dir = std::env::temp_dir().join(format!("sekisho-postgres-{}", std::process::id()));
        let made = std::fs::create_dir_all(&dir);
        made.map_err(|error| format!("{}: {error}", dir.display()))?;
        if is_root() {
            run(command("chown", &["postgres", &dir.display().to_string()]))?;
        }
        let data = dir.join("data").display().to_string();
        let initdb = as_postgres(
            INITDB,
            &[
                "-D",
                &data,
                "-U",
                "postgres",
                "--auth=trust",
                "--no-sync",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
            ],
        );
        run(quiet(initdb))?;
        let port = ports::free(1)?[0];
        let server = as_postgres(
            &format!("{BIN}/postgres"),
            &[
                "-D",
                &data,
                "-p",
                &port.to_string(),
                "-h",
                "127.0.0.1",
                "-k",
                &dir.display().to_string(),
                "-c",
                if durable { "fsync=on" } else { "fsync=off" },
                "-c",
                "max_connections=400",
            ],
        );
        let process = Process::start(Start {
            name: "postgres",
            program: Path::new(server.get_program()),
            args: server.get_args().map(Into::into).collect(),
            core: None,
            log: dir.join("log"),
            show: None,
        })?;
        if !ports::listening(port, START_MAX, || process.alive()) {
            return Err(process.failed("does not listen"));
        }
        Ok(Server {
            process: Some(process),
            dir,
            url: format!("postgres://postgres@127.0.0.1:{port}/postgres"),
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A server that cannot be ended in order is killed with its process; the folder is of no further use.
        if let Some(process) = self.process.take() {
            let _ = process.end(END_MAX);
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn command(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args);
    command
}

/// The command as the user that PostgreSQL wants to be run by.
fn as_postgres(program: &str, args: &[&str]) -> Command {
    if !is_root() {
        return command(program, args);
    }
    let mut words = vec!["-u", "postgres", "--", program];
    words.extend(args);
    command("runuser", &words)
}

fn quiet(mut command: Command) -> Command {
    command.stdout(std::process::Stdio::null());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server listens on loopback, and leaves nothing behind when it is dropped.
    #[test]
    fn a_server_comes_and_goes() {
        crate::packages::need_all().expect("PostgreSQL");
        let server = Server::start(true).expect("a server");
        let address = server
            .url
            .trim_start_matches("postgres://postgres@")
            .trim_end_matches("/postgres");
        assert!(std::net::TcpStream::connect(address).is_ok(), "{address}");
        let dir = server.dir.clone();
        drop(server);
        assert!(!dir.exists());
    }
}
