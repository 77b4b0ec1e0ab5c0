//! `sekisho config`: checks a configuration, and makes one from an `fx_cf.cf`. Works on files only; no daemon is asked.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use config::import::{Target, import_cf};
use config::{Config, Problem};

/// The name of a configuration that is made here.
const FILE_NAME: &str = "sekisho.toml";

/// What `sekisho config` can do.
#[derive(Subcommand)]
pub enum Command {
    /// Check a configuration and list every problem with its line.
    Check {
        /// The configuration, commonly sekisho.toml.
        file: PathBuf,
    },
    /// Make DIR/sekisho.toml from the fx_cf.cf of a CAFIS daemon, and report what became of each parameter.
    ImportCf {
        /// The fx_cf.cf, in Shift_JIS.
        file: PathBuf,
        /// The directory for sekisho.toml; it is created if it is missing.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// The data directory, from here; "data" beside sekisho.toml if it is not given.
        #[arg(long, value_name = "DIR")]
        data_dir: Option<PathBuf>,
        /// Overwrite a sekisho.toml that is there.
        #[arg(long)]
        force: bool,
    },
}

/// Why a subcommand failed.
#[derive(Debug)]
pub enum Failure {
    /// A file is wrong, for each of these reasons.
    Problems(Vec<Problem>),
    /// There is a configuration already, and no order to overwrite it.
    Exists(PathBuf),
    /// The system refused something.
    Io {
        /// What was to be done, as in "cannot ...".
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Its reason.
        error: io::Error,
    },
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Problems(problems) => {
                for problem in problems {
                    writeln!(out, "{problem}")?;
                }
                let plural = if problems.len() == 1 { "" } else { "s" };
                write!(out, "{} problem{plural}", problems.len())
            }
            Self::Exists(path) => write!(
                out,
                "{} exists and was left as it is. Choose another directory, or say --force to overwrite it.",
                path.display()
            ),
            Self::Io {
                action,
                path,
                error,
            } => write!(
                out,
                "cannot {action} {}: {error}. Check the path and the rights of this user.",
                path.display()
            ),
        }
    }
}

/// Runs a subcommand.
///
/// # Errors
/// What stopped it; a failed import has written nothing.
pub fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Check { file } => check(file),
        Command::ImportCf {
            file,
            out,
            data_dir,
            force,
        } => import(file, out, data_dir.as_deref(), *force),
    }
}

fn check(file: &Path) -> Result<(), Failure> {
    let loaded = Config::load(file).map_err(Failure::Problems)?;
    for warning in &loaded.warnings {
        println!("warning: {warning}");
    }
    let (lines, shards) = (loaded.config.lines.len(), loaded.config.shards.len());
    println!(
        "{}: no errors, {} warning(s), {lines} line(s), {shards} shard(s)",
        file.display(),
        loaded.warnings.len()
    );
    Ok(())
}

fn import(file: &Path, out: &Path, data_dir: Option<&Path>, force: bool) -> Result<(), Failure> {
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |error| Failure::Io {
            action,
            path,
            error,
        }
    };
    let bytes = fs::read(file).map_err(failed("read", file))?;
    // The path is given from where the operator stands, not from where the configuration will lie.
    let data_dir = match data_dir {
        Some(dir) => Some(std::path::absolute(dir).map_err(failed("resolve", dir))?),
        None => None,
    };
    let name = file.display().to_string();
    let target = Target {
        out_dir: out,
        data_dir: data_dir.as_deref(),
    };
    let imported = import_cf(&bytes, &name, target).map_err(Failure::Problems)?;

    fs::create_dir_all(out).map_err(failed("create", out))?;
    let path = out.join(FILE_NAME);
    let mut options = OpenOptions::new();
    options
        .write(true)
        .create_new(!force)
        .create(true)
        .truncate(force);
    let mut toml = match options.open(&path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(Failure::Exists(path));
        }
        opened => opened.map_err(failed("write", &path))?,
    };
    toml.write_all(imported.toml.as_bytes())
        .map_err(failed("write", &path))?;
    toml.sync_all().map_err(failed("write", &path))?;
    print!("{}", imported.report);
    println!(
        "{} is written. Check the points to be looked at before you start the daemon with it.",
        path.display()
    );
    Ok(())
}
