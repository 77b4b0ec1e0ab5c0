//! `sekishod`: reads the configuration, starts one thread a shard, and waits for them.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::channel;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Parser;
use config::Config;
use engine::control::{Control, log_file};
use engine::settings;
use engine::shard::{Ended, Setup, Shard, ShardError};

/// The payment-centre gateway between applications and the CAFIS centre.
#[derive(Parser)]
#[command(name = "sekishod", version)]
struct Arguments {
    /// The configuration to run.
    #[arg(long, value_name = "FILE", required_unless_present = "check")]
    config: Option<PathBuf>,
    /// Check a configuration, say what is wrong with it, and end.
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    check: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let (path, check) = match (arguments.check, arguments.config) {
        (Some(path), _) => (path, true),
        (None, Some(path)) => (path, false),
        (None, None) => unreachable!("clap asks for one of them"),
    };
    let loaded = match Config::load(&path) {
        Ok(loaded) => loaded,
        Err(problems) => {
            problems.iter().for_each(|problem| eprintln!("{problem}"));
            return ExitCode::from(2);
        }
    };
    loaded
        .warnings
        .iter()
        .for_each(|warning| eprintln!("warning: {warning}"));
    if check {
        println!(
            "{}: {} lines on {} shards, no errors",
            path.display(),
            loaded.config.lines.len(),
            loaded.config.shards.len()
        );
        return ExitCode::SUCCESS;
    }
    match run(&loaded.config) {
        Ok(Ended::Clean) => ExitCode::SUCCESS,
        Ok(Ended::Forced) => ExitCode::from(3),
        Err(message) => {
            eprintln!("sekishod: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Starts everything and waits until every shard has ended. The first error of a shard ends the daemon: a part of a
/// gateway that goes on alone would look healthy and is not.
fn run(config: &Config) -> Result<Ended, String> {
    log_file::start(config.log_file.as_deref(), config.log_level).map_err(|error| {
        let at = config
            .log_file
            .as_ref()
            .map_or("standard error".into(), |path| path.display().to_string());
        format!("cannot write the log to {at}: {error}; check log_file and its permissions")
    })?;
    let boot = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(1, |time| time.as_nanos() as u64);
    let secret = secret().map_err(|error| format!("cannot read /dev/urandom: {error}"))?;
    let mut control = Control::new(config.shards.len());
    let (ready, wait_ready) = channel();
    let (done, wait_done) = channel();
    for number in 0..config.shards.len() {
        let (console, inbox) = control.ends_of(number);
        let setup = Setup {
            config: config.clone(),
            number,
            boot,
            secret,
            inbox,
            console,
        };
        let (ready, done, core) = (ready.clone(), done.clone(), config.shards[number].core);
        let spawned = std::thread::Builder::new()
            .name(format!("shard-{number}"))
            .spawn(move || {
                if core
                    .is_some_and(|id| !core_affinity::set_for_current(core_affinity::CoreId { id }))
                {
                    log::warn!(
                        "shard {number} cannot be pinned to core {}",
                        core.unwrap_or_default()
                    );
                }
                let ended = Shard::new(setup).and_then(|shard| {
                    let _ = ready.send((number, shard.waker()));
                    shard.run()
                });
                let _ = done.send((number, ended));
            });
        spawned.map_err(|error| format!("cannot start a thread: {error}"))?;
    }
    drop((ready, done));
    let mut wakers: Vec<_> = wait_ready.iter().take(config.shards.len()).collect();
    if wakers.len() == config.shards.len() {
        wakers.sort_by_key(|(number, _)| *number);
        let lines = config
            .lines
            .iter()
            .map(|line| (u32::from(line.id), line.name.clone()))
            .collect();
        let wakers = wakers.into_iter().map(|(_, waker)| waker).collect();
        let started = control.start(settings::journal_dir(config), lines, wakers);
        started.map_err(|error| format!("cannot start the control threads: {error}"))?;
        log::info!("sekishod {} is ready", env!("CARGO_PKG_VERSION"));
    }
    wait(&wait_done, config.shards.len())
}

type Done = (usize, Result<Ended, ShardError>);

fn wait(done: &std::sync::mpsc::Receiver<Done>, shards: usize) -> Result<Ended, String> {
    let mut all = Ended::Clean;
    for _ in 0..shards {
        match done.recv() {
            Ok((number, Ok(ended))) => {
                log::info!("shard {number} has stopped");
                all = if ended == Ended::Forced { Ended::Forced } else { all };
            }
            Ok((number, Err(error))) => return Err(format!("shard {number}: {error}")),
            Err(_) => return Err("a shard died of a broken invariant, see above; the journal is truthful, start the daemon again".into()),
        }
    }
    Ok(all)
}

fn secret() -> std::io::Result<[u64; 2]> {
    let mut bytes = [0; 16];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut bytes)?;
    let (low, high) = bytes.split_at(8);
    let word = |half: &[u8]| {
        half.iter()
            .fold(0, |word, byte| word << 8 | u64::from(*byte))
    };
    Ok([word(low), word(high)])
}
